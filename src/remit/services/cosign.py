"""Come in here for who may sign a review: the people that its file names, and two of them where it asks for four eyes.

Both are demands of the file that is applied, so they hold for whoever applies that file. They are no wall against a
reviewer who signs another one: that he did is in the log.
"""

from dataclasses import replace

from remit.core.credentials import PersonCaller
from remit.core.errors import Forbidden
from remit.core.people import Person
from remit.core.ports import Unit
from remit.core.tools import ToolReview
from remit.services.documents import Document, texts


def check_signer(document: Document, caller: PersonCaller) -> None:
    """Pass if the file names no reviewers, or names this one; else ``Forbidden``, which says who may sign."""
    named = texts(document["reviewers"]) if "reviewers" in document else None
    if named is not None and not {caller.person.email, caller.person.id} & set(named):
        raise Forbidden(
            f"{document['server']}/{document['tool']} is reviewed by {', '.join(named)}",
            hint="Ask one of them to apply this file.",
        )


async def signed_by_another(unit: Unit, review: ToolReview) -> bool:
    """Whether another person, who may still review, has signed exactly this review of this definition."""
    for other in await unit.nouns.all(ToolReview):
        if other.reviewed_by != review.reviewed_by and _same(other, review):
            person = await unit.nouns.get(Person, other.reviewed_by)
            if person is not None and person.state == "active" and person.has("reviewer"):
                return True
    return False


def _same(one: ToolReview, other: ToolReview) -> bool:
    return replace(one, id=other.id, reviewed_by=other.reviewed_by, reviewed_at=other.reviewed_at) == other
