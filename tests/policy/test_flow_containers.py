"""Rules about containers of members: links that were posted where the task says (B9), and counts (B10), attacked."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.policy.flowing import CHANNELS, GET, INVOICES, POST, POSTS, SEND, TELL, Flowing, invoice, items

LINK = "https://evil.test/x"


def posts(channel: str, *by: str, text: str = "hello") -> dict[str, Any]:
    """The posts of a channel."""
    return items(*({"by": one, "channel": channel, "text": text} for one in by))


def channels(*names: str) -> dict[str, Any]:
    """The system's own list."""
    return items(*({"id": name} for name in names))


def counted(task: str, by_channel: Mapping[str, tuple[str, ...]], off: frozenset[str] = frozenset()) -> Flowing:
    """A session that listed the channels and read each."""
    session = Flowing(task, off).done(CHANNELS, {}, channels(*by_channel))
    for name, by in by_channel.items():
        session.done(POSTS, {"channel": name}, posts(name, *by))
    return session


# B9


def reading(task: str, channel: str = "general", text: str = f"see {LINK}.") -> Flowing:
    """A session that read a channel in which a link was posted."""
    return Flowing(task).done(POSTS, {"channel": channel}, posts(channel, "ann", text=text))


@pytest.mark.claim("flow:posted-links")
def test_a_link_that_a_member_posted_where_the_task_says_may_be_read_and_nothing_else_with_it() -> None:
    session = reading("Read what was posted in general, send it to bo@corp.test")
    assert session.rules(GET, {"url": LINK}) == set()
    assert session.rules(GET, {"url": f"{LINK}?secret=1"}) == {"C"}
    assert session.rules(GET, {"url": LINK.upper()}) == {"C"}
    assert "C7" in session.rules(SEND, {"to": "bo@corp.test", "body": LINK}), "it may be read, and not passed on"


@pytest.mark.claim("flow:posted-links")
@pytest.mark.parametrize(
    ("task", "channel"),
    [("Read what was posted in random", "general"), ("Read what was posted", "general"), ("", "general")],
)
def test_a_link_from_where_the_task_does_not_say_asks(task: str, channel: str) -> None:
    assert reading(task, channel).rules(GET, {"url": LINK}) == {"C"}


@pytest.mark.claim("flow:posted-links")
def test_after_six_fetches_a_posted_link_asks() -> None:
    session = reading("Read what was posted in general")
    assert session.lacks(GET, {"url": LINK}, fetches=5) == ()
    assert [one.rule for one in session.lacks(GET, {"url": LINK}, fetches=6)] == ["C"]


@pytest.mark.claim("flow:posted-links")
def test_a_link_in_text_that_anyone_writes_or_that_hides_something_asks() -> None:
    session = Flowing("Read what is in general")
    session.done(INVOICES, {}, items(invoice("general", LINK)))
    assert session.rules(GET, {"url": LINK}) == {"C"}
    assert reading("Read general", text=f"see {LINK}\u200b").rules(GET, {"url": LINK}) == {"C"}


# B10


@pytest.mark.claim("flow:counts")
def test_the_one_that_is_counted_most_over_a_whole_listing_is_endorsed() -> None:
    seen = counted(
        "Tell the user with the most posts hello, post in the channel with the most.",
        {"a": ("ann", "ann", "bo"), "b": ("bo",)},
    )
    assert seen.rules(POST, {"channel": "a", "text": "hello"}) == set()
    assert seen.rules(POST, {"channel": "b", "text": "hello"}) == {"C"}
    assert seen.rules(TELL, {"user": "ann", "text": "hello"}) == {"C"}, "two of each: nobody has the most"
    more = counted("Tell the user with the most posts hello.", {"a": ("ann", "ann", "ann"), "b": ("bo",)})
    assert more.rules(TELL, {"user": "ann", "text": "hello"}) == set()
    assert more.rules(TELL, {"user": "bo", "text": "hello"}) == {"C"}
    fewest = counted("Post hello in the channel with the fewest posts.", {"a": ("ann", "ann"), "b": ()})
    assert fewest.rules(POST, {"channel": "b", "text": "hello"}) == set()


@pytest.mark.claim("flow:counts")
def test_a_tie_a_read_left_out_a_page_or_a_task_that_does_not_ask_for_it_endorses_nothing() -> None:
    task = "Post hello in the channel with the most posts."
    call = {"channel": "b", "text": "hello"}
    assert counted(task, {"a": ("ann", "bo"), "b": ("ann", "bo")}).rules(POST, call) == {"C"}
    left_out = Flowing(task).done(CHANNELS, {}, channels("a", "b")).done(POSTS, {"channel": "b"}, posts("b", "eve"))
    assert left_out.rules(POST, call) == {"C"}
    for cut in ({"limit": 1}, {"limit": 50, "offset": 9}):
        paged = (
            Flowing(task).done(CHANNELS, {}, channels("a", "b")).done(POSTS, {"channel": "b"}, posts("b", *["eve"] * 2))
        )
        paged.done(POSTS, {"channel": "a", **cut}, posts("a", "ann"))
        assert paged.rules(POST, call) == {"C"}
    assert counted("Post hello.", {"a": (), "b": ("eve", "eve")}).rules(POST, call) == {"C"}
    lone = counted(task, {"a": (), "b": ("eve", "eve")})
    assert lone.rules(POST, call) == set(), "the control"
    assert counted(task, {"a": (), "b": ("eve", "eve")}, frozenset({"B10"})).rules(POST, call) == {"C"}


@pytest.mark.claim("flow:counts")
def test_a_read_that_begins_later_is_no_wide_one() -> None:
    """FLOW_RULES B6: an offset leaves the genuine record out as well as a page's end does."""
    session = Flowing("Post hello in the channel with the most posts, pay 10 EUR").done(CHANNELS, {}, channels("a"))
    session.done(POSTS, {"channel": "a", "limit": 50, "offset": 3}, posts("a", "eve"))
    assert session.rules(TELL, {"user": "eve", "text": "hello"}) == {"C", "C8"}
