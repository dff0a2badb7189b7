"""Come in here for a suggested review of a tool: the judgement of ``policy.suggest``, written as a file that applies.

A suggestion changes nothing and is no signature. Applied as it comes it stays marked ``suggested``, in the log too, so
that whoever asks what an agent can do also learns how much of the answer nobody has gone through.
"""

from collections.abc import Mapping, Sequence

from remit.core.canonical import Json
from remit.core.credentials import PersonCaller
from remit.core.errors import InvalidDocument, WrongState
from remit.core.ids import split_ref
from remit.core.servers import Server
from remit.core.tools import Definition, Tool, ToolReview, definition_id
from remit.guards.json_in import parse
from remit.policy.suggest.suggestion import Suggestion, suggest
from remit.services.deps import Deps
from remit.services.registry import find, require_reader
from remit.services.review_document import check_fit, review_document


async def suggestion(deps: Deps, caller: PersonCaller, ref: str, results: Sequence[Json] = ()) -> dict[str, Json]:
    """A suggested review of the definition that is offered now, with why, member by member.

    Raises ``NotFound``, and ``WrongState`` for a tool that is gone.
    """
    require_reader(caller)
    async with deps.store.view(deps.org) as view:
        tool = await find(view, Tool, ref)
        server = await view.nouns.get(Server, tool.server)
        if tool.offered is None or server is None:
            raise WrongState(f"{tool.ref} is no longer listed by its server", hint="Sync the server and look again.")
        kept = await view.nouns.get(Definition, definition_id(tool.ref, tool.offered))
    definition = parse(kept.body.encode()) if kept is not None else None
    if kept is None or not isinstance(definition, Mapping):
        raise InvalidDocument(f"the definition of {tool.ref} is not there")
    name = split_ref(tool.ref)[0]
    found = suggest(definition, server=name, operator=server.operator or name, parse=parse, results=results)
    return suggestion_document(tool.ref, tool.offered, definition, found)


def suggestion_document(ref: str, fingerprint: str, definition: Json, found: Suggestion) -> dict[str, Json]:
    """A suggestion as a ToolReview document: what applies, then why."""
    review = ToolReview(
        org="",
        id="",
        tool=ref,
        fingerprint=fingerprint,
        effect=found.effect,
        arguments=found.arguments,
        output=found.output,
        mints=found.mints,
        discloses=found.discloses,
        limits=found.limits,
        reversible=False,
        inverse=None,
        intent=found.intent,
        idempotency=None,
        reconcile=None,
        reviewed_by="",
        reviewed_at=0,
        suggested=True,
    )
    check_fit(review, definition)
    document = review_document(review, "")
    del document["reviewed"]
    return document | {
        "because": [finding.document() for finding in found.findings],
        "look_at": list(found.flags),
    }
