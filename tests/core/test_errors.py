"""Errors: a tree with stable codes, and one table that gives each a status, an exit code and a next step."""

import json
import re

import pytest

from remit.core import errors
from remit.core.errors import RemitError
from remit.guards.documents import check_answer
from remit.problems import TABLE, TYPE, document, exit_code, form, problem

# INTERFACES section 6: what each status class means to who called a command.
EXITS = {400: 2, 401: 4, 403: 4, 404: 3, 409: 5, 413: 2, 415: 2, 422: 2, 500: 70, 503: 6}


def every(kind: type[RemitError] = RemitError) -> list[type[RemitError]]:
    return [kind, *(below for sub in kind.__subclasses__() for below in every(sub))]


OURS = [kind for kind in every() if kind.__module__ == errors.__name__]
kinds = pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)


def test_every_error_there_is_has_a_line_of_its_own_in_the_table() -> None:
    assert set(OURS) == set(TABLE)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(drawn) == sorted(kind.__name__ for kind in OURS if kind is not RemitError)


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in OURS]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


@kinds
def test_an_error_says_what_what_now_and_no_more(kind: type[RemitError]) -> None:
    body = document(kind("the detail", pointer="/a", event=7))
    assert (body["type"], body["code"]) == (TYPE + kind.code, kind.code)
    assert (body["detail"], body["event"], body["pointer"]) == ("the detail", 7, "/a")
    assert body["title"]
    assert body["hint"]
    bare = document(kind())
    check_answer("Problem", bare)
    assert bare["detail"] == bare["title"]
    assert "pointer" not in bare


@kinds
def test_status_and_exit_code_agree(kind: type[RemitError]) -> None:
    found = form(kind())
    assert EXITS[found.status] == found.exit == exit_code(kind())


@kinds
def test_a_problem_is_one_document_and_challenges_only_who_is_unknown(kind: type[RemitError]) -> None:
    status, body, headers = problem(kind("line\nbreak \u202e"))
    assert json.loads(body)["status"] == status
    assert (headers != ()) is (status == 401)


def test_an_error_without_a_line_is_answered_as_its_parent() -> None:
    class Odd(errors.NameTaken):
        """Something new."""

    assert form(Odd()) == TABLE[errors.NameTaken]
    # It is no part of the tree: what the tests above see must not depend on which test ran first.
    assert Odd not in OURS
