"""Leaves of the log: golden bytes of every kind, a closed set of members, and nothing in them that was not meant to be."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.canonical import canonical
from remit.core.errors import LogUnavailable
from remit.core.events import MAX_LEAF, EventDraft, Kind, leaf
from remit.core.labels import Labels
from remit.guards.documents import check_answer, schema
from remit.guards.json_in import parse

GOLDEN: dict[str, str] = json.loads((Path(__file__).parents[1] / "vectors" / "events.json").read_text("utf-8"))

# INTERFACES section 8, and what docs/decisions/0006 adds to it.
MEMBERS = {
    *("v", "k", "i", "t", "org", "actor", "agent", "chain", "session", "call", "tool", "fp", "policy", "authority"),
    *("decision", "codes", "intent", "outcome", "labels", "commit"),
}
ADDED = {"about", "origin", "key"}
TENS = {
    "log and store": range(1, 10),
    "agents, and the people they belong to": range(10, 20),
    "servers, tools, reviews": range(20, 30),
    "grants and policies": range(30, 40),
    "credentials": range(40, 50),
    "sessions": range(50, 60),
    "calls": range(60, 70),
    "approvals": range(70, 80),
    "clients, consents and sign-ins": range(100, 120),
    "departures and blueprints": range(120, 130),
}
FIXED = {"DENIED": 60, "ASKED": 61, "INTENT": 62, "OUTCOME": 63, "UNKNOWN": 64, "SETTLED": 65, "REDACTED": 66}

AGENT, PERSON, SESSION = "agt_0" + "1" * 25, "per_0" + "2" * 25, "ses_0" + "3" * 25
HASH = "sha256:" + "0" * 64
CALL: dict[str, Any] = {
    "agent": AGENT,
    "chain": (PERSON, AGENT),
    "session": SESSION,
    "call": "c-1",
    "tool": "office/pay_invoice",
    "fingerprint": HASH,
}
DECIDED: dict[str, Any] = {
    **CALL,
    "policy": HASH,
    "authority": HASH,
    "labels": Labels("untrusted", frozenset({"hr", "finance"})),
}
SPECIAL: dict[Kind, dict[str, Any]] = {
    Kind.GENESIS: {"origin": "localhost:8765/main", "key": "localhost:8765/main+00000000+AA=="},
    Kind.CHECKPOINT_KEY: {"key": "localhost:8765/main+00000000+AA=="},
    Kind.TOOL_REVIEWED: {
        "about": AGENT,
        "tool": "office/pay_invoice",
        "fingerprint": HASH,
        "codes": ("first_of_two", "suggested"),
    },
    Kind.DENIED: {**DECIDED, "decision": "deny", "codes": ("tool.unknown", "policy.denied")},
    Kind.ASKED: {**DECIDED, "decision": "ask", "codes": ("approval.needed",)},
    Kind.INTENT: {**DECIDED, "decision": "allow"},
    Kind.OUTCOME: {**CALL, "intent": 6, "outcome": "done", "labels": Labels("untrusted")},
    Kind.UNKNOWN: {**CALL, "intent": 6, "outcome": "unknown"},
    Kind.SETTLED: {**CALL, "intent": 6, "outcome": "failed"},
    Kind.REDACTED: {**CALL, "intent": 6, "codes": ("result.redacted",)},
    Kind.INTERRUPTED: {**CALL, "intent": 6},
}
COMMITTED = {Kind.DENIED, Kind.ASKED, Kind.INTENT, Kind.OUTCOME, Kind.SETTLED}


def draft(kind: Kind) -> EventDraft:
    """A sample event of this kind, with the members that it carries in life."""
    return EventDraft(kind=kind, actor=AGENT, subject=PERSON, **SPECIAL.get(kind, {"about": AGENT}))


def written(kind: Kind) -> bytes:
    commitments = {"/arguments": "A" * 43 + "="} if kind in COMMITTED else {}
    return leaf(draft(kind), org="main", index=7, now=1_795_000_000_000, commitments=commitments)


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
def test_a_leaf_of_each_kind_is_the_golden_one(kind: Kind) -> None:
    assert written(kind).decode() == GOLDEN[kind.name]


def test_every_kind_has_a_golden_leaf_and_no_golden_leaf_has_lost_its_kind() -> None:
    assert [json.loads(line)["k"] for line in GOLDEN.values()] == [Kind[name].value for name in GOLDEN]
    assert list(GOLDEN) == [kind.name for kind in Kind]


def test_no_number_is_used_twice_and_each_stands_among_its_like() -> None:
    assert len(Kind) == len(Kind.__members__)
    assert [int(kind) for kind in Kind if not any(int(kind) in span for span in TENS.values())] == []
    assert {name: int(Kind[name]) for name in FIXED} == FIXED
    assert (Kind.GENESIS, Kind.CHECKPOINT_KEY, Kind.ERASED) == (1, 2, 3)


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
def test_a_leaf_is_its_own_canonical_form_and_fits_the_schema_of_events(kind: Kind) -> None:
    data = written(kind)
    assert canonical(parse(data)) == data
    check_answer("Event", parse(data))


def test_the_members_of_a_leaf_are_a_closed_set() -> None:
    everything = EventDraft(
        kind=Kind.OUTCOME,
        actor=AGENT,
        subject=PERSON,
        **{**DECIDED, "decision": "allow", "codes": ("a.b",), "intent": 1, "outcome": "done"},
        about=AGENT,
        origin="o",
        key="k",
    )
    found = json.loads(leaf(everything, org="main", index=0, now=0, commitments={"/a": "AA=="}))
    assert set(found) == MEMBERS | ADDED
    assert set(schema("Event")["properties"]) == MEMBERS | ADDED | {"payload"}
    barest = json.loads(
        leaf(EventDraft(kind=Kind.ERASED, actor="a", subject="s"), org="o", index=0, now=0, commitments={})
    )
    assert set(barest) == {"v", "k", "i", "t", "org", "actor", "codes"} == set(schema("Event")["required"])


@pytest.mark.claim("log:commitments-hide")
@given(st.text(min_size=6), st.text(min_size=6), st.text(min_size=6))
def test_neither_private_values_nor_whose_they_are_stand_in_a_leaf(name: str, value: str, subject: str) -> None:
    secret = EventDraft(kind=Kind.DENIED, actor="a", subject=f"¶{subject}", private={f"¶{name}": f"¶{value}"})
    data = leaf(secret, org="main", index=0, now=0, commitments={"/p": "AA=="})
    assert "¶" not in data.decode()
    # The control: what is meant to stand in a leaf does.
    told = EventDraft(kind=Kind.DENIED, actor=f"¶{value}", subject="s")
    assert "¶" in leaf(told, org="main", index=0, now=0, commitments={}).decode()


@given(st.text())
def test_no_text_in_a_leaf_can_break_its_line(text: str) -> None:
    data = leaf(EventDraft(kind=Kind.DENIED, actor=text, subject="s"), org="main", index=0, now=0, commitments={})
    assert not {0x0A, 0x0D} & set(data)
    assert json.loads(data)["actor"] == text


def test_the_largest_leaf_is_written_and_one_byte_more_is_refused() -> None:
    def of(length: int) -> bytes:
        large = EventDraft(kind=Kind.DENIED, actor="a", subject="s", codes=("x" * length,))
        return leaf(large, org="main", index=0, now=0, commitments={})

    room = MAX_LEAF - len(of(0))
    assert len(of(room)) == MAX_LEAF == 65_535
    with pytest.raises(LogUnavailable):
        of(room + 1)
