"""What a store writes it reads back equal: a law for everything that is kept as bytes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.errors import StoreUnavailable
from remit.core.servers import HttpTransport, Server
from remit.storage.codec import dumps, loads
from tests.storage.nouns import STORED, any_of, approval, call, examples, session

anything = st.sampled_from(STORED).flatmap(any_of)


@given(noun=anything)
def test_everything_stored_comes_back_equal(noun: Any) -> None:
    assert loads(dumps(noun), type(noun)) == noun


@pytest.mark.parametrize("noun", [*examples(), session(), call(), approval()], ids=lambda noun: type(noun).__name__)
def test_the_examples_come_back_equal(noun: Any) -> None:
    assert loads(dumps(noun), type(noun)) == noun


def test_a_server_that_was_stored_before_records_had_more_members_is_read_as_it_was() -> None:
    old = (
        b'{"org":"main","id":"srv_1","name":"office","transport":{"is":"HttpTransport","url":"https://h.test/"},'
        b'"secrets":[{"place":"header","name":"X"}],"shared":false,"operator":"","clearance":[],'
        b'"allow_elicitation":false,"allow_sampling":false,"state":"active","pinned":null,"seen":null,"created":7}'
    )
    found = loads(old, Server)
    assert found.transport == HttpTransport("https://h.test/", tls=None, insecure=False)
    assert (found.timeout, found.concurrency, found.observing(0)) == (None, None, False)
    assert loads(dumps(found), Server) == found


@given(noun=anything, data=st.data())
def test_bytes_cut_short_are_refused_and_never_read_as_less(noun: Any, data: st.DataObject) -> None:
    whole = dumps(noun)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(StoreUnavailable):
        loads(whole[:cut], type(noun))


@given(noun=anything)
def test_a_member_that_this_version_does_not_know_is_refused_and_not_dropped(noun: Any) -> None:
    with pytest.raises(StoreUnavailable):
        loads(dumps(noun)[:-1] + b',"unheard_of":1}', type(noun))


@given(text=st.binary(max_size=60))
def test_bytes_that_were_never_written_here_are_refused(text: bytes) -> None:
    for kind in STORED:
        with pytest.raises(StoreUnavailable):
            loads(text, kind)
