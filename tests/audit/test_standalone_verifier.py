"""The verifier finds every change to an export: each byte, each line, each claim a log could make that is not so."""

import ast
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.audit import verify as verifier
from remit.audit.checkpoint import signer_from_seed
from remit.audit.verify import Unusable, verify
from remit.core.canonical import Json, b64, canonical
from remit.core.events import EventDraft, Kind, leaf
from remit.core.labels import UNTRUSTED
from tests.audit.exported import (
    KEY,
    ORIGIN,
    OTHER_SIGNER,
    SALT,
    SESSION,
    SIGNER,
    START,
    Export,
    content_of,
    event,
    export_of,
    genesis,
    leaf_of,
    line,
    of_call,
    ten_events,
)

SOURCE = Path(verifier.__file__)
LINES = ten_events().lines
DATA = b"".join(LINES)


def split(data: bytes) -> list[bytes]:
    """The lines of a file, newlines kept."""
    return [text + b"\n" for text in data.split(b"\n")[:-1]] + [tail for tail in data.split(b"\n")[-1:] if tail]


def problems(lines: Sequence[bytes], key: str | None = KEY) -> str:
    """Everything that is wrong, as one text."""
    answer = verify(lines, key)
    assert answer["ok"] is (not answer["problems"])
    return "; ".join(problem["what"] for problem in answer["problems"])


def test_a_whole_log_verifies_under_its_key() -> None:
    export = ten_events()
    assert verify(export.lines, KEY) == {
        "ok": True,
        "origin": ORIGIN,
        "size": 10,
        "root": b64(export.frontier.root()),
        "signers": [KEY],
        "problems": [],
    }


def test_without_a_key_the_answer_says_that_the_signer_is_not_known() -> None:
    answer = verify(LINES)
    assert answer["ok"] is True
    assert answer["signers"] == [f"{KEY} (key taken from the export, which proves nothing about who signed)"]


def test_leaves_that_the_log_writes_pass_as_they_are() -> None:
    export = Export()
    drafts = [
        EventDraft(kind=Kind.GENESIS, actor="per_1", subject="per_1", origin=ORIGIN, key=KEY),
        EventDraft(
            kind=Kind.INTENT,
            actor="agt_1",
            subject="per_1",
            agent="agt_1",
            chain=("per_1", "agt_1"),
            session=SESSION,
            call="c",
            tool="office/pay",
            fingerprint="sha256:00",
            policy="sha256:01",
            authority="sha256:02",
            decision="allow",
            labels=UNTRUSTED,
            about="apr_1",
        ),
    ]
    for index, draft in enumerate(drafts):
        commitments = {"/arguments": b64(bytes(32))} if index else {}
        export.add_bytes(leaf(draft, org="main", index=index, now=START, commitments=commitments))
    assert problems(export.checkpoint().lines) == ""


@pytest.mark.claim("log:tamper-evident")
@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_every_single_byte_that_is_changed_is_found(mask: int) -> None:
    unfound = []
    for at in range(len(DATA)):
        broken = bytearray(DATA)
        broken[at] ^= mask
        if verify(split(bytes(broken)), KEY)["ok"]:
            unfound.append(at)
    assert unfound == []


def reads_as_json(data: bytes) -> bool:
    """All the checking that a log without a tree and signatures would get."""
    try:
        return all(isinstance(json.loads(text), dict) for text in split(data))
    except ValueError:
        return False


def test_without_the_verifier_most_changed_bytes_would_pass() -> None:
    changed = (DATA[:at] + bytes([DATA[at] ^ 0x01]) + DATA[at + 1 :] for at in range(len(DATA)))
    assert sum(reads_as_json(data) for data in changed) > len(DATA) // 2


@pytest.mark.claim("log:tamper-evident")
def test_every_changed_byte_is_found_even_without_a_key_from_elsewhere() -> None:
    assert not any(
        verify(split(DATA[:at] + bytes([DATA[at] ^ 0x01]) + DATA[at + 1 :]))["ok"] for at in range(len(DATA))
    )


@pytest.mark.claim("log:tamper-evident")
def test_white_space_put_in_anywhere_and_every_byte_left_out_are_found() -> None:
    for at in range(len(DATA)):
        assert not verify(split(DATA[:at] + b" " + DATA[at:]), KEY)["ok"], at
        assert not verify(split(DATA[:at] + DATA[at + 1 :]), KEY)["ok"], at


@pytest.mark.claim("log:tamper-evident")
def test_an_export_that_is_cut_off_anywhere_is_found_unless_it_ends_at_a_checkpoint() -> None:
    at_first_checkpoint = sum(len(text) for text in LINES[:6])
    whole = [cut for cut in range(len(DATA)) if verify(split(DATA[:cut]), KEY)["ok"]]
    assert whole == [at_first_checkpoint]


def test_a_log_cut_back_to_an_older_checkpoint_is_found_by_one_who_saw_the_newer() -> None:
    newest = ten_events().note()
    assert verify(LINES, KEY, [newest])["ok"] is True
    answer = verify(LINES[:6], KEY, [newest])
    assert "fewer than the 10 of a checkpoint seen earlier" in answer["problems"][0]["what"]
    # The control: who saw nothing can't tell.
    assert verify(LINES[:6], KEY)["ok"] is True


@pytest.mark.claim("log:append-only")
def test_a_history_rewritten_with_the_right_key_is_found_by_one_who_saw_a_checkpoint() -> None:
    seen = Export().add(genesis()).add(event(10, about="agt_1")).note()
    honest = Export().add(genesis()).add(event(10, about="agt_1")).add(event(12)).checkpoint()
    rewritten = Export().add(genesis()).add(event(10, about="agt_2")).add(event(12)).checkpoint()
    assert verify(honest.lines, KEY, [seen])["ok"] is True
    answer = verify(rewritten.lines, KEY, [seen])
    assert [one["what"] for one in answer["problems"]] == [
        "the first 2 events are not those of a checkpoint seen earlier"
    ]
    # The control: without a witness, the holder of the key can rewrite, as the docstring says.
    assert verify(rewritten.lines, KEY)["ok"] is True


@pytest.mark.claim("log:tamper-evident")
def test_a_line_dropped_doubled_or_moved_is_found() -> None:
    middle_checkpoint = 5
    for at, text in enumerate(LINES):
        others = LINES[:at] + LINES[at + 1 :]
        assert verify(others, KEY)["ok"] is (at == middle_checkpoint), "only an earlier checkpoint may be left out"
        for place in range(len(LINES) + 1):
            assert not verify([*LINES[:place], text, *LINES[place:]], KEY)["ok"], (at, place)
        for place in range(len(others) + 1):
            if place != at:
                assert not verify([*others[:place], text, *others[place:]], KEY)["ok"], (at, place)


def test_two_lines_changed_for_one_another_are_found() -> None:
    for first in range(len(LINES)):
        for second in range(first):
            changed = list(LINES)
            changed[first], changed[second] = changed[second], changed[first]
            assert not verify(changed, KEY)["ok"], (first, second)


def test_events_after_the_last_checkpoint_are_not_yet_covered() -> None:
    export = ten_events().add(event(10)).add(event(10))
    answer = verify(export.lines, KEY)
    assert answer["ok"] is False
    assert answer["size"] == 10
    assert answer["problems"] == [
        {"index": 10, "what": "no checkpoint by the trusted key covers the events 10 to 11 yet"}
    ]


@pytest.mark.claim("log:tamper-evident")
def test_a_log_signed_by_another_key_of_that_name_is_refused() -> None:
    forged = Export(OTHER_SIGNER).add(genesis(OTHER_SIGNER)).checkpoint()
    assert "no checkpoint by the trusted key" in problems(forged.lines)
    assert verify(forged.lines, KEY)["root"] is None
    # The control: on its own word alone, the forged log is fine.
    assert problems(forged.lines, None) == ""


def test_a_checkpoint_of_another_log_does_not_count() -> None:
    other = signer_from_seed("localhost:8765/other", bytes(range(32)))
    export = Export().add(genesis())
    note = Export(other).add(genesis()).note()
    assert "it is of another log" in problems([*export.lines, line({"t": "checkpoint", "note": note})])
    assert problems(export.checkpoint().lines) == ""


def test_a_checkpoint_must_fit_the_events_before_it() -> None:
    first, second = Export().add(genesis()), Export().add(genesis()).add(event(10))
    early = line({"t": "checkpoint", "note": second.note()})
    assert "it is over 2 events" in problems([*first.lines, early])
    other = Export().add(genesis()).add(event(11))
    assert "not the root" in problems([*second.lines, line({"t": "checkpoint", "note": other.note()})])
    assert "one of its size already" in problems(second.checkpoint().checkpoint().lines)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda note: note.replace("\n\n", "\nextension\n\n"), "origin, size and root"),
        (lambda note: note.replace("\n2\n", "\n02\n"), "one spelling"),
        (lambda note: note + note.split("\n\n")[1], "signed it twice"),
        (lambda note: note + "x", "and signatures"),
        (lambda note: note + "x\n", "signature line"),
        (lambda note: note.replace("\u2014 ", "\u2014  "), "base64"),
        (lambda note: note.replace("\n", "\r\n"), "control characters"),
        (lambda note: note.split("\n\n")[0] + "\n\n\u2014 witness.example AAAAAAAA\n", "no key that the log"),
    ],
)
def test_a_checkpoint_in_another_spelling_does_not_count(change: Callable[[str], str], what: str) -> None:
    export = Export().add(genesis()).add(event(10))
    assert what in problems([*export.lines, line({"t": "checkpoint", "note": change(export.note())})])


def test_signatures_of_witnesses_do_no_harm_and_are_not_named() -> None:
    witness = signer_from_seed("witness.example", bytes(32))
    answer = verify(Export().add(genesis()).checkpoint([SIGNER, witness]).lines, KEY)
    assert answer["ok"] is True
    assert answer["signers"] == [KEY]


def second_key(export: Export, **members: Json) -> Export:
    """The event that announces another key."""
    return export.add(event(2, key=OTHER_SIGNER.verifier_key_text, **members))


def test_trust_goes_over_to_a_new_key_through_a_checkpoint_by_the_old() -> None:
    export = second_key(Export().add(genesis())).checkpoint().add(event(10)).checkpoint([OTHER_SIGNER])
    assert problems(export.lines) == ""
    assert verify(export.lines, KEY)["signers"] == [OTHER_SIGNER.verifier_key_text]
    assert problems(export.lines, OTHER_SIGNER.verifier_key_text) == ""


def test_a_bad_signature_by_an_announced_key_spoils_a_checkpoint_beside_a_good_one() -> None:
    export = second_key(Export().add(genesis()))
    bad = f"\u2014 {ORIGIN} {b64(OTHER_SIGNER.verifier.id + bytes(64))}\n"
    assert "is not good" in problems([*export.lines, line({"t": "checkpoint", "note": export.note() + bad})])
    # The control: without the bad signature the same checkpoint counts.
    assert problems(export.checkpoint().lines) == ""


def test_a_key_that_was_replaced_can_not_extend_the_log() -> None:
    export = second_key(Export().add(genesis())).checkpoint([SIGNER, OTHER_SIGNER]).add(event(10)).checkpoint()
    for key in (KEY, OTHER_SIGNER.verifier_key_text):
        assert "no checkpoint by the trusted key covers the events 2 to 2" in problems(export.lines, key)


def test_a_new_key_that_the_old_never_signed_for_is_not_trusted() -> None:
    export = second_key(Export().add(genesis())).checkpoint([OTHER_SIGNER])
    assert "no checkpoint by the trusted key" in problems(export.lines)
    # The control: whoever pins the new key may trust it.
    assert problems(export.lines, OTHER_SIGNER.verifier_key_text) == ""


def test_a_key_counts_only_from_the_event_that_announces_it() -> None:
    export = second_key(Export().add(genesis()).checkpoint([OTHER_SIGNER])).checkpoint([OTHER_SIGNER])
    assert "no key that the log has announced by then" in problems(export.lines, OTHER_SIGNER.verifier_key_text)


def test_a_second_genesis_and_a_log_without_one_are_found() -> None:
    only_first = "the genesis is the first event and only the first"
    assert problems(export_of([genesis(), genesis()])) == only_first
    assert only_first in problems(export_of([event(10), genesis()]))
    assert "the log is empty" in problems(Export().lines)


@pytest.mark.parametrize(
    ("events", "what"),
    [
        ([genesis(origin="localhost:8765/other")], "does not name the origin"),
        ([genesis(origin=None)], "does not name the origin"),
        ([genesis(origin=1)], "member origin"),
        ([genesis(key=None)], "announces no key"),
        ([genesis(key=KEY[:-1])], "base64"),
        ([genesis(key="key")], "base64"),
        ([genesis(key=signer_from_seed("other", bytes(32)).verifier_key_text)], "not named as the origin"),
        ([genesis(org="other")], "does not end in the org"),
        ([genesis(), event(2)], "announces no key"),
        ([genesis(), event(10, key=KEY)], "only events of kind 1 and 2"),
        ([genesis(), event(10, origin=ORIGIN)], "only events of kind 1 and 2"),
        ([genesis(), event(10, org="other")], "the event is of org"),
        ([genesis(), event(10, v=2)], "member v"),
        ([genesis(), event(10, v=True)], "member v"),
        ([genesis(), event(10, i=2)], "says that it is event 2"),
        ([genesis(), event(10, i=True)], "member i"),
        ([genesis(), event(0)], "member k"),
        ([genesis(), event(200)], "member k"),
        ([genesis(), event(10, t=0)], "member t"),
        ([genesis(), event(10, t=4_102_444_800_000)], "member t"),
        ([genesis(), event(10, t=Decimal("1.5"))], "no integer"),
        ([genesis(), event(10, actor="")], "member actor"),
        ([genesis(), event(10, actor=None)], "no member actor"),
        ([genesis(), event(10, codes=None)], "no member codes"),
        ([genesis(), event(10, codes=[1])], "member codes"),
        ([genesis(), event(10, chain="per_1")], "member chain"),
        ([genesis(), event(10, decision="maybe")], "member decision"),
        ([genesis(), event(10, outcome="perhaps")], "member outcome"),
        ([genesis(), event(10, labels={"integrity": "trusted"})], "member labels"),
        ([genesis(), event(10, labels={"integrity": "high", "confidentiality": []})], "member labels"),
        ([genesis(), event(10, commit={"/a": "short"})], "member commit"),
        ([genesis(), event(10, commit={"/a": "A" * 42 + "B="})], "member commit"),
        ([genesis(), event(10, commit=["a"])], "member commit"),
        ([genesis(), event(10, note="free text")], "does not know"),
        ([genesis(), event(10, intent=1)], "not before it"),
        ([genesis(), event(10, intent=-1)], "member intent"),
    ],
)
def test_a_leaf_that_says_what_no_log_says_is_found_although_it_is_signed(
    events: list[dict[str, Json]], what: str
) -> None:
    answer = verify(export_of(events), KEY)
    assert what in "; ".join(one["what"] for one in answer["problems"])
    assert answer["problems"][0]["index"] == len(events) - 1


INTENT = of_call(62)


@pytest.mark.parametrize(
    ("events", "what"),
    [
        ([of_call(63, intent=1)], "event 1 is no open intent"),
        ([INTENT, of_call(63)], "names no intent"),
        ([INTENT, of_call(64)], "names no intent"),
        ([INTENT, of_call(65)], "names no intent"),
        ([INTENT, of_call(66)], "names no intent"),
        ([INTENT, of_call(63, intent=0)], "event 0 is no open intent"),
        ([INTENT, of_call(63, intent=1), of_call(63, intent=1)], "event 1 is no open intent"),
        ([INTENT, of_call(63, intent=1), of_call(64, intent=1)], "event 1 is no open intent"),
        ([INTENT, of_call(63, intent=1), of_call(66, intent=1)], "event 1 is no open intent"),
        ([INTENT, of_call(65, intent=1)], "event 1 is no unknown intent"),
        ([INTENT, of_call(64, intent=1), of_call(63, intent=1)], "event 1 is no open intent"),
        ([INTENT, of_call(64, intent=1), of_call(65, intent=1), of_call(65, intent=1)], "is no unknown intent"),
        ([INTENT, of_call(63, intent=1, session="ses_2")], "another session or call"),
        ([INTENT, of_call(63, "c2", intent=1)], "another session or call"),
        ([INTENT, of_call(63, intent=1, session=None)], "names no session"),
        ([of_call(62, call=None)], "names no session or call"),
        ([of_call(63, intent=2), INTENT], "event 2 is no open intent"),
    ],
)
def test_an_outcome_belongs_to_one_earlier_intent_of_its_call(events: list[dict[str, Json]], what: str) -> None:
    assert what in problems(export_of([genesis(), *events]))


def test_a_wrong_outcome_does_not_use_up_the_intent() -> None:
    lines = export_of([genesis(), INTENT, of_call(63, "c2", intent=1), of_call(63, intent=1)])
    assert [one["index"] for one in verify(lines, KEY)["problems"]] == [2]


@pytest.mark.parametrize(
    "leaf_bytes",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"not json",
        canonical(event(10, i=1, t=START)) + b" ",
        canonical(event(10, i=1, t=START)).replace(b'"k":10', b'"k":10,"k":10'),
        canonical(event(10, i=1, t=START)).replace(b'"k":10', b'"k": 10'),
        canonical(event(10, i=1, t=START)).replace(b'"k":10', b'"k":1e1'),
        canonical(event(10, i=1, t=START)).replace(b'"k":10', b'"k":10.0'),
        canonical(event(10, i=1, t=START)).replace(b'"k":10', b'"k":NaN'),
        canonical(event(10, i=1, t=START)).replace(b'"k":10', b'"k":-0'),
        canonical(event(10, i=1, t=START)).replace(b'"k":10', b'"k":' + b"9" * 5_000),
        canonical(event(10, i=1, t=START)).replace(b'"main"', b'"m\\u0061in"'),
        canonical(event(10, i=1, t=START, about="x")).replace(b'"x"', b'"\\ud800"'),
        canonical(event(10, i=1, t=START, about="\u00e9")).replace(b"\xc3\xa9", b"\\u00e9"),
        b"[" * 60_000,
        b'{"v":' + b'{"v":' * 10_000 + b"1" + b"}" * 10_001,
        json.dumps(event(10, i=1, t=START), separators=(",", ":")).encode(),
        canonical(event(10, i=1, t=START, about="x" * 65_600)),
    ],
)
def test_a_leaf_that_is_not_canonical_json_of_an_event_is_found_although_it_is_signed(leaf_bytes: bytes) -> None:
    answer = verify(Export().add(genesis()).add_bytes(leaf_bytes).checkpoint().lines, KEY)
    assert [one["index"] for one in answer["problems"]] == [1]


def test_members_are_sorted_by_utf_16_units() -> None:
    high, low = "\U00010000", "\uffff"
    commit: dict[str, Json] = {low: b64(bytes(32)), high: b64(bytes(32))}
    good = Export().add(genesis()).add(event(10, commit=commit)).checkpoint()
    assert problems(good.lines) == ""
    data = leaf_of(good.lines[2])
    one, other = (f'"{name}":"{b64(bytes(32))}"'.encode() for name in (high, low))
    swapped = data.replace(one + b"," + other, other + b"," + one)
    assert swapped != data
    assert "canonical spelling" in problems(Export().add(genesis()).add_bytes(swapped).checkpoint().lines)


HEAD = content_of(LINES[0])
OTHER_KEY = OTHER_SIGNER.verifier_key_text


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n",
        LINES[0][:-1],
        LINES[0][:-1] + b"\r\n",
        LINES[1],
        line(HEAD | {"v": 2}),
        line(HEAD | {"v": True}),
        line(HEAD | {"t": "leaf"}),
        line(HEAD | {"more": 1}),
        line({name: value for name, value in HEAD.items() if name != "origin"}),
        line(HEAD | {"origin": ""}),
        line(HEAD | {"origin": "localhost:8765/wain"}),
        line(HEAD | {"verifier_key": OTHER_KEY}),
        line(HEAD | {"verifier_key": 1}),
        line(HEAD | {"verifier_key": KEY + "\n"}),
        json.dumps(HEAD).encode() + b"\n",
        b"[1]\n",
    ],
)
def test_another_first_line_is_refused_whatever_follows(head: bytes) -> None:
    assert not verify([head, *LINES[1:]], KEY)["ok"]
    assert not verify([head, *LINES[1:]])["ok"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"\xff\n",
        line({"t": "leaf"}),
        line({"t": "note", "note": "x"}),
        line({"t": "checkpoint"}),
        line({"t": "checkpoint", "note": 1}),
        line({"t": "checkpoint", "note": "x", "more": 1}),
        line({"t": "leaf", "i": 1, "leaf": 1, "payload": {}}),
        line({"t": "leaf", "i": True, "leaf": "e30=", "payload": {}}),
        line({"t": "leaf", "i": 0, "leaf": "e30="}),
        line({"t": "leaf", "i": 1, "leaf": "e31="}),
        line({"t": "leaf", "i": 1, "leaf": "e3"}),
        line({"t": "leaf", "i": 1, "leaf": "e30=", "more": 1}),
        line({"t": "leaf", "i": 1, "leaf": "e30=", "payload": {}, "more": 1}),
        line({"t": "checkpoint", "note": "x" * (16 * 1024 * 1024)}),
    ],
)
def test_a_line_that_is_none_ends_the_reading_with_a_problem(text: bytes) -> None:
    found = problems([*LINES[:2], text, *LINES[2:]])
    assert "reading ended here" in found


def payload_line(payload: Json) -> list[bytes]:
    """The ten events with another payload at event 2."""
    return [*LINES[:3], line(content_of(LINES[3]) | {"payload": payload}), *LINES[4:]]


OPENING = {"salt": b64(SALT), "value": b64(b'{"amount":12.5,"to":"Zo\xc3\xab"}')}


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        ({}, "not an object with members"),
        (None, "not an object with members"),
        ([], "not an object with members"),
        ({"/other": OPENING}, "commits to nothing"),
        ({"/arguments": {"salt": b64(SALT)}}, "not a salt and a value"),
        ({"/arguments": OPENING | {"more": 1}}, "not a salt and a value"),
        ({"/arguments": OPENING | {"value": 1}}, "not base64"),
        ({"/arguments": OPENING | {"salt": b64(SALT[:31])}}, "not 32 bytes"),
        ({"/arguments": OPENING | {"salt": b64(bytes(32))}}, "not what the leaf commits to"),
        ({"/arguments": OPENING | {"value": b64(b"{}")}}, "not what the leaf commits to"),
    ],
)
def test_a_payload_that_does_not_open_its_commitment_is_found(payload: Json, what: str) -> None:
    found = problems(payload_line(payload))
    assert what in found
    assert problems(payload_line({"/arguments": OPENING})) == ""


def test_a_payload_may_be_left_out_because_it_may_be_erased() -> None:
    without = {name: value for name, value in content_of(LINES[3]).items() if name != "payload"}
    assert problems([*LINES[:3], line(without), *LINES[4:]]) == ""


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**63 - 1)
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=6)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def payload_problems(value: bytes) -> str:
    """What is wrong with a log that commits to these value bytes."""
    return problems(Export().add(genesis()).add(event(10), {"/value": value}).checkpoint().lines)


@settings(max_examples=80)
@given(value=json_values)
def test_the_verifier_and_the_log_agree_on_canonical_values(value: Json) -> None:
    data = canonical(value)
    assert payload_problems(data) == ""
    assert "canonical spelling" in payload_problems(data + b" ")


@pytest.mark.parametrize(
    "data",
    [
        b"1.0",
        b"1e3",
        b"-0",
        b"-0.0",
        b"0.10",
        b"01",
        b"1" * 20,
        b"1.5e0",
        b"NaN",
        b"",
        b'"\\/"',
        b"0." + b"0" * 330 + b"1",
    ],
)
def test_a_committed_value_in_another_spelling_is_found(data: bytes) -> None:
    assert payload_problems(data) != ""


def test_problems_are_counted_only_so_far() -> None:
    export = Export().add(genesis())
    for _ in range(150):
        export.add(event(10, note="free text"))
    answer = verify(export.checkpoint().lines, KEY)
    assert len(answer["problems"]) == 101
    assert answer["problems"][-1]["what"] == "reading ended after 100 problems"


@pytest.mark.parametrize("key", ["", "key", KEY + " ", KEY.replace("main", "wain")])
def test_a_key_that_is_none_is_the_caller_s_fault(key: str) -> None:
    with pytest.raises(Unusable):
        verify(LINES, key)
    with pytest.raises(Unusable):
        verify(LINES, KEY, ["not a checkpoint"])


def test_a_key_or_a_seen_checkpoint_of_another_log_is_a_problem() -> None:
    other = signer_from_seed("localhost:8765/other", bytes(range(32)))
    assert "the trusted key is of localhost:8765/other" in problems(LINES, other.verifier_key_text)
    answer = verify(LINES, KEY, [Export(other).add(genesis()).note()])
    assert [one["what"] for one in answer["problems"]] == ["the checkpoint seen earlier is of localhost:8765/other"]


@settings(max_examples=60)
@given(lines=st.lists(st.sampled_from(LINES) | st.binary(max_size=60), max_size=12))
def test_no_lines_make_the_verifier_stumble(lines: list[bytes]) -> None:
    answer = verify(lines)
    assert answer["ok"] is (lines in (LINES, LINES[:6], LINES[:5] + LINES[6:]))


@pytest.mark.parametrize("lines", [LINES, LINES[:-1], [], LINES[1:], [LINES[0]]])
def test_every_answer_fits_its_schema(lines: list[bytes]) -> None:
    folder = SOURCE.parents[1] / "schemas"
    schema = json.loads((folder / "VerifyAnswer.json").read_text("utf-8"))
    # Without the references to other files, which are about ranges of integers only.
    schema["properties"]["size"] = {"type": "integer", "minimum": 0}
    jsonschema_rs.validate(schema, verify(lines, KEY))


def test_memory_does_not_grow_with_the_log() -> None:
    def lines() -> Iterator[bytes]:
        export = Export().add(genesis())
        yield from export.lines
        for number in range(3_000):
            export.lines.clear()
            intent = export.frontier.size
            export.add(of_call(62, f"c{number}")).add(of_call(63, f"c{number}", intent=intent, outcome="done"))
            yield from export.lines
        export.lines.clear()
        yield from export.checkpoint().lines

    tracemalloc.start()
    try:
        answer = verify(lines(), KEY)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer["ok"] is True
    assert answer["size"] == 6_001
    assert peak < 500_000, "the leaves alone are over a megabyte"


@pytest.mark.claim("log:verifier-shares-no-code")
def test_the_verifier_imports_nothing_but_the_standard_library_and_cryptography() -> None:
    tree = ast.parse(SOURCE.read_text("utf-8"))
    roots = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            roots.add(str(node.module).split(".")[0])
    assert roots - {"cryptography"} <= sys.stdlib_module_names
    assert not {"importlib", "runpy", "remit"} & roots


def run_copy(folder: Path, *arguments: str, without: str = "remit") -> subprocess.CompletedProcess[str]:
    """A copy of the one file, alone in a folder, in an isolated interpreter in which ``without`` can't be imported."""
    copy = folder / "copy.py"
    copy.write_bytes(SOURCE.read_bytes())
    program = (
        f"import sys, runpy; sys.modules[{without!r}] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-I", "-W", "error", "-c", program, str(copy), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.claim("log:verifier-shares-no-code")
def test_a_copy_alone_in_an_empty_folder_verifies_an_export(tmp_path: Path) -> None:
    (tmp_path / "export.jsonl").write_bytes(DATA)
    plain = subprocess.run(
        [sys.executable, "-I", str(SOURCE), str(tmp_path / "export.jsonl"), "--key", KEY],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    alone = run_copy(tmp_path, "export.jsonl", "--key", KEY)
    assert (alone.returncode, alone.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(alone.stdout)
    assert answer == verify(LINES, KEY) == json.loads(plain.stdout)
    # The control: the same run fails where something that it does need is missing.
    assert run_copy(tmp_path, "export.jsonl", without="cryptography").returncode == 1
    assert run_copy(tmp_path, "export.jsonl", without="cryptography").stdout == ""


def test_the_program_exits_with_what_it_found(tmp_path: Path) -> None:
    good, bad, none = tmp_path / "good", tmp_path / "bad", tmp_path / "none"
    good.write_bytes(DATA)
    bad.write_bytes(DATA.replace(b'"i":3', b'"i":4'))
    none.write_bytes(b"something else\n")
    seen = tmp_path / "seen"
    seen.write_text(ten_events().add(event(10)).note(), "utf-8")
    runs = [
        (("good",), 0),
        (("good", "--key", KEY), 0),
        (("bad", "--key", KEY), 1),
        (("good", "--key", OTHER_KEY), 1),
        (("good", "--key", KEY, "--seen", "seen"), 1),
        (("none",), 2),
        (("absent",), 2),
        (("good", "--key", "nonsense"), 2),
        (("good", "--seen", "good"), 2),
        ((), 2),
    ]
    for arguments, status in runs:
        assert run_copy(tmp_path, *arguments).returncode == status, arguments


def test_the_program_says_when_the_key_came_from_the_export(tmp_path: Path) -> None:
    (tmp_path / "export").write_bytes(DATA)
    assert "proves nothing about who signed" in run_copy(tmp_path, "export").stderr
    assert "proves nothing" not in run_copy(tmp_path, "export", "--key", KEY).stderr
