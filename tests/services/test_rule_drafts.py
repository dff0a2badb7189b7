"""Rules from a policy document: every sentence comes back, and none is turned into less than it says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.policy.rule_draft import Offered, draft, sentences, written
from remit.services import rules
from tests.services.desk import Desk

TOOLS = (
    Offered("office/pay_invoice", frozenset({"pay", "invoice"}), {"eur": "EUR"}, ("/invoice", "/amount")),
    Offered("mail/send", frozenset({"send"}), {}, ("/to", "/text")),
)
TEXT = """# Payments

An invoice is paid only once. Agents may pay at most 500 EUR per
day.

- No invoice may be paid twice.
- Each agent may send no more than 20 mails a day; at most 5 mails a session are sent.
- At most five mails a session are sent.
1. Be kind to suppliers.
"""


def one(text: str) -> dict[str, Any]:
    """The answer to a text of one sentence."""
    (answer,) = draft(text, TOOLS)
    return answer


@pytest.mark.claim("rule:draft-drops-nothing")
def test_each_sentence_comes_back_with_its_lines_as_a_rule_or_with_why_not() -> None:
    answers = draft(TEXT, TOOLS)
    lines = [(answer["line"], answer["last_line"], "rule" in answer) for answer in answers]
    assert lines == [
        (1, 1, False),
        (3, 3, True),
        (3, 4, True),
        (6, 6, True),
        (7, 7, False),
        (8, 8, True),
        (9, 9, False),
    ]
    assert all(answer["why"] for answer in answers if "rule" not in answer)
    first, second, fourth = (answers[at]["rule"] for at in (1, 2, 5))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert isinstance(fourth, dict)
    assert (first["once"], first["tools"]) == ({"by": ["/invoice"]}, ["office/pay_invoice"])
    assert (second["limit"], second["window"]) == ({"eur": "500", "unit": "EUR"}, "P1D")
    assert (fourth["limit"], fourth["per"]) == ({"calls": 5}, "session")
    assert "# line 3: An invoice is paid only once." in written(answers)


@pytest.mark.parametrize(
    "text",
    [
        "At most 500 EUR are paid per day unless a manager agrees.",
        "At most 500 EUR are paid per day, except for rent.",
        "At most 500 EUR are paid per day or 900 EUR per week.",
        "At most 500 EUR or 600 USD are paid per day.",
        "Payments are not limited to at most 500 EUR per day.",
        "At most 500 EUR are paid.",
        "Each single payment is at most 500 EUR a day.",
        "At most 500 EUR are paid per month.",
        "At most 500 CHF are paid per day by 3 agents.",
        "At most 500 USD are paid per day.",
        "At most 1.5 payments are made per day.",
        "At most 500 EUR are juggled per day.",
        "An invoice is paid twice.",
        "An invoice need not be paid once.",
        "An invoice is never paid once.",
        "An invoice is paid once per supplier.",
        "An invoice is paid once if it is approved.",
        "A supplier is paid once.",
        "Invoices are checked before they are paid.",
        "At most 500 EUR are paid per day; rent is free.",
        "At most 500 EUR are paid per day (rent is free).",
        "At most 500 EUR are paid per day, e.g. for rent.",
        "An invoice is paid once, at most 500 EUR per day.",
        "At most 500 EUR are paid per day " + "and so on " * 60 + ".",
        "At most 500 EUR are paid per day\u202e.",
    ],
)
@pytest.mark.anyio
async def test_a_sentence_that_says_more_or_other_is_listed_and_not_turned(desk: Desk, text: str) -> None:
    answer = await rules.propose(desk.deps, desk.world.admin, text)
    assert answer["file"] == ""
    listed = answer["sentences"]
    assert isinstance(listed, list)
    assert all(isinstance(item, dict) and item["why"] for item in listed)


@pytest.mark.claim("rule:draft-drops-nothing")
@given(st.text(st.sampled_from("aB1.;!?- \n\t\r*#\x0c\u2028€"), max_size=60))
def test_nothing_but_white_space_is_dropped_and_all_stands_in_its_order(text: str) -> None:
    found = list(sentences(text))
    assert "".join("".join(one.text.split()) for one in found) == "".join(text.split())
    lines = text.split("\n")
    for sentence in found:
        assert "".join(sentence.text.split()) in "".join("".join(lines[sentence.line - 1 : sentence.last]).split())
    assert draft(text, TOOLS) == draft(text, TOOLS)
    assert len(draft(text, TOOLS)) == len(found)


@pytest.mark.anyio
async def test_what_is_proposed_for_the_reviewed_tools_can_be_applied(desk: Desk) -> None:
    text = "At most 500 EUR are paid per day.\nNobody is unkind."
    answer = await rules.propose(desk.deps, desk.world.admin, text)
    listed = answer["sentences"]
    assert isinstance(listed, list)
    proposed = listed[0]
    assert isinstance(proposed, dict)
    assert isinstance(proposed["rule"], dict)
    made = await rules.apply(desk.deps, desk.world.admin, proposed["rule"])
    assert (made["limit"], made["per"]) == ({"eur": "500", "unit": "EUR"}, "organisation")
