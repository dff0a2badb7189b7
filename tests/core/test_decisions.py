"""Decisions: values with reasons from a closed list, in the document form of INTERFACES section 4."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.core.decisions import PLAN, REASONS, Allow, Ask, Decision, Deny, Reason, Verdict
from remit.core.errors import InvalidDocument
from remit.guards.documents import check_answer, schema

SESSION = "ses_0" + "1" * 25
HASH = "sha256:" + "0" * 64
# INTERFACES section 4, in its order.
MEMBERS = [
    *("decision", "session", "call_id", "tool", "fingerprint", "arguments_hash", "reasons", "policy_version"),
    *("authority_version", "intent", "event", "approval", "idempotency_key", "expires_at"),
]

reasons = st.builds(
    Reason,
    code=st.sampled_from(sorted(REASONS)),
    detail=st.text(max_size=20),
    rule=st.none() | st.text(max_size=10),
    argument=st.none() | st.sampled_from(["", "/amount", "/a~1b/0"]),
)
some = st.lists(reasons, min_size=1, max_size=3).map(tuple)
verdicts: st.SearchStrategy[Verdict] = st.one_of(
    st.builds(Allow, st.integers(0, 2**62)), st.builds(Deny, some), st.builds(Ask, st.just("apr_1"), some)
)


def decision(verdict: Verdict, *, event: int | None = 7) -> Decision:
    return Decision(
        verdict=verdict,
        session=SESSION,
        call_id="c-1",
        tool="office/pay_invoice",
        fingerprint=None,
        arguments_hash=HASH,
        policy_version=HASH,
        authority_version=HASH,
        event=event,
        expires_at="2027-06-30T00:00:00.000Z",
    )


# Only where they say something.
OPTIONAL = ["replayed", "request_access"]
LINK = {"url": "http://localhost:8765/access-requests/acr_1", "command": "remit access show acr_1"}


@given(verdicts)
def test_every_decision_has_the_document_form_of_the_interface(verdict: Verdict) -> None:
    document = decision(verdict).document()
    check_answer("Decision", document)
    assert list(document) == MEMBERS
    word = {Allow: "allow", Deny: "deny", Ask: "ask"}[type(verdict)]
    assert document["decision"] == word
    assert (document["intent"] is not None) is (word == "allow")
    assert bool(document["reasons"]) is (word != "allow")


def test_the_schema_of_decisions_has_the_members_of_the_interface_and_no_others() -> None:
    whole = schema("Decision")
    assert list(whole["properties"]) == MEMBERS + OPTIONAL
    assert sorted(whole["required"]) == sorted(MEMBERS)
    assert whole["additionalProperties"] is False


def test_a_document_that_says_no_without_a_reason_is_no_decision() -> None:
    document = decision(Deny((Reason("policy.denied"),))).document()
    for word in ("deny", "ask"):
        with pytest.raises(InvalidDocument):
            check_answer("Decision", {**document, "decision": word, "reasons": []})
    check_answer("Decision", {**document, "decision": "allow", "reasons": []})
    with pytest.raises(InvalidDocument):
        check_answer("Decision", {**document, "decision": True})


@pytest.mark.parametrize(
    "make",
    [lambda: Deny(()), lambda: Ask("apr_1", ()), lambda: Reason("made.up"), lambda: Reason("")],
    ids=["a denial that gives no reason", "a question that gives none", "a code of one's own", "no code"],
)
def test_a_no_without_a_known_reason_can_t_be_made(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="reason"):
        make()


def test_the_codes_are_a_closed_list_each_with_a_step_words_and_a_way_on() -> None:
    pattern = schema("Reason")["properties"]["code"]["pattern"]
    for code, form in REASONS.items():
        assert re.fullmatch(pattern, code), code
        assert 1 <= form.step <= 8, "a decision is made in the steps of open"
        assert form.text
        assert form.text[0].islower()
        assert form.hint.endswith(".")
    steps = [form.step for form in REASONS.values()]
    assert steps == sorted(steps)


@given(reasons)
def test_a_reason_says_its_code_its_step_its_words_and_what_is_particular(reason: Reason) -> None:
    document = reason.document()
    check_answer("Reason", document)
    assert document["step"] == REASONS[reason.code].step
    assert str(document["text"]).startswith(REASONS[reason.code].text)
    assert str(document["text"]).endswith(reason.detail)
    assert ("rule" in document, "argument" in document) == (reason.rule is not None, reason.argument is not None)


def test_the_sentence_for_the_agent_is_that_of_the_interface() -> None:
    denied = decision(Deny((Reason("policy.denied"),)))
    assert denied.sentence() == (
        "Remit refused office/pay_invoice: policy does not allow this call. "
        "Do not retry; ask the agent's owner. [policy.denied, event 7]"
    )
    assert "has not yet allowed" in decision(Ask("apr_1", (Reason("approval.needed"),))).sentence()


def test_what_a_person_could_have_otherwise_next_time_says_where_they_look() -> None:
    denied = replace(decision(Deny((Reason("policy.denied"),))), request_access=LINK)
    assert denied.sentence().endswith(
        "Do not retry; ask the agent's owner. "
        "Access can be requested at http://localhost:8765/access-requests/acr_1. [policy.denied, event 7]"
    )
    check_answer("Decision", denied.document())
    assert denied.document()["request_access"] == LINK


def test_an_allow_that_is_given_again_says_so_and_nothing_else_does() -> None:
    again = replace(decision(Allow(7)), replayed=True)
    check_answer("Decision", again.document())
    assert again.document()["replayed"] is True
    for other in (decision(Allow(7)), replace(decision(Deny((Reason("tool.unknown"),))), replayed=True)):
        assert "replayed" not in other.document()


def test_what_nobody_could_have_otherwise_is_not_to_be_asked_for() -> None:
    askable = {code for code in REASONS if Reason(code).askable}
    wanted = {"tool.unknown", "tool.changed", "server.quarantined", "policy.denied", "budget.exceeded"}
    assert askable == wanted
    assert not Reason("budget.exceeded", rule=PLAN).askable


def test_without_a_log_the_answer_is_still_a_decision_and_names_no_event() -> None:
    document = decision(Deny((Reason("log.unavailable"),)), event=None).document()
    check_answer("Decision", document)
    assert document["event"] is None
