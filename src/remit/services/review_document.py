"""Come in here for how a tool review is written, read back, and held against the definition that it reviews.

``read_review`` and ``review_document`` are each other's inverse, so that what ``review export`` writes applies again.
``check_fit`` is what makes a review more than words: every argument that it names must be a leaf of the tool's own
input schema, every countable must be something that can be counted.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast

from remit.core.canonical import Json
from remit.core.entitlements import CALL, input_schema, method_of
from remit.core.errors import InvalidDocument
from remit.core.ids import split_ref, tool_ref
from remit.core.schema_leaves import leaves_at, types
from remit.core.times import to_text
from remit.core.tools import (
    ArgumentReview,
    ArgumentRole,
    Effect,
    FieldReview,
    LimitReview,
    OtherCall,
    OutputForm,
    OutputReview,
    RecordsReview,
    ToolReview,
    Writer,
)
from remit.guards.documents import check_document
from remit.services.documents import CALLS, Document, items, texts

_NUMERIC: Final = frozenset({"number", "integer"})


def read_review(document: Document, *, org: str, id: str, reviewed_by: str, reviewed_at: int) -> ToolReview:
    """The review that ``document`` states, signed by ``reviewed_by``. Raises ``InvalidDocument``.

    ``reviewed`` in the document is not read: who signs is who is signed in.
    """
    check_document("ToolReview", document)
    reversible, idempotency = document.get("reversible", False), document.get("idempotency")
    return ToolReview(
        org=org,
        id=id,
        tool=tool_ref(str(document["server"]), str(document["tool"])),
        fingerprint=str(document["fingerprint"]),
        effect=cast("Effect", document["effect"]),
        arguments={name: _argument(item) for name, item in _members(document.get("arguments"))},
        output=_output(document.get("output")),
        mints=_mints(document.get("output")),
        discloses=tuple(_text_map(item) for item in items(document.get("discloses", ()))),
        limits=tuple(_limit(item) for item in items(document.get("limits", ())) if isinstance(item, Mapping)),
        reversible=reversible is True or isinstance(reversible, Mapping),
        inverse=_other_call(reversible),
        intent=tuple(texts(document.get("intent", ()))),
        idempotency=str(idempotency["argument"]) if isinstance(idempotency, Mapping) else None,
        reconcile=_other_call(document.get("reconcile")),
        reviewed_by=reviewed_by,
        reviewed_at=reviewed_at,
        suggested=document.get("suggested") is True,
    )


def review_document(review: ToolReview, reviewer: str) -> dict[str, Json]:
    """The review as a file. ``reviewer`` is the e-mail address (or id) of who signed it."""
    server, tool = split_ref(review.tool)
    out: dict[str, Json] = {
        "kind": "ToolReview",
        "apiVersion": "remit/v1",
        "server": server,
        "tool": tool,
        "fingerprint": review.fingerprint,
        "effect": review.effect,
        "arguments": {name: _without_none(_argument_members(item)) for name, item in review.arguments.items()},
        "output": _output_document(review.output) | {"mints": dict(review.mints)},
        "discloses": [dict(item) for item in review.discloses],
        "limits": [_without_none({"name": one.name, "of": one.of, "unit": one.unit}) for one in review.limits],
        "reversible": _other_document(review.inverse) if review.inverse else review.reversible,
        "intent": list(review.intent),
        "idempotency": {"argument": review.idempotency} if review.idempotency else "none",
    }
    if review.reconcile:
        out["reconcile"] = _other_document(review.reconcile)
    if review.suggested:
        out["suggested"] = True
    return out | {"reviewed": {"by": reviewer, "at": to_text(review.reviewed_at)}}


def _mints(output: Json) -> dict[str, str]:
    return _text_map(output.get("mints")) if isinstance(output, Mapping) else {}


def check_fit(review: ToolReview, definition: Json) -> None:
    """Pass if the review speaks of this definition; else ``InvalidDocument`` at the member that does not.

    Pointers into the result are not held against an output schema: a server need not have one, nor keep to it.
    """
    schema = input_schema(review.tool, definition)
    if review.output.form != "opaque" and method_of(review.tool) != CALL:
        raise InvalidDocument("only a tool's output has fields; this one's is opaque", pointer="/output/from")
    for member, pointer in _argument_pointers(review):
        if not leaves_at(schema, pointer):
            raise InvalidDocument(
                f"{pointer} is no argument of {review.tool}: name its leaves, with * for items", pointer=member
            )
    _check_limits(review, schema)


def _check_limits(review: ToolReview, schema: Json) -> None:
    names: set[str] = set()
    for position, limit in enumerate(review.limits):
        at = f"/limits/{position}"
        if limit.name in names or limit.name == "per":
            raise InvalidDocument(f"the limit name {limit.name!r} is taken", pointer=f"{at}/name")
        if limit.name == CALLS and limit.of != "call":
            raise InvalidDocument("a limit called calls counts calls: of: call", pointer=f"{at}/name")
        names.add(limit.name)
        if limit.of != "call" and not _countable(review.arguments.get(limit.of), leaves_at(schema, limit.of)):
            raise InvalidDocument(
                f"{limit.of} can't be counted: it must be a listed argument of role how_much, type money or a number",
                pointer=f"{at}/of",
            )


def _countable(argument: ArgumentReview | None, nodes: Iterable[Mapping[str, Json]]) -> bool:
    if argument is None:
        return False
    numeric = any(_NUMERIC & set(types(node)) for node in nodes)
    return argument.role == "how_much" or argument.type == "money" or numeric


def _argument_pointers(review: ToolReview) -> Iterator[tuple[str, str]]:
    """Every pointer into this call's arguments: the member of the review that holds it, and the pointer itself."""
    for pointer in review.arguments:
        yield f"/arguments/{_escape(pointer)}", pointer
    for position, disclosed in enumerate(review.discloses):
        if "readers_of" in disclosed:
            yield f"/discloses/{position}/readers_of", disclosed["readers_of"]
    if review.output.records:
        for position, pointer in enumerate(review.output.records.page):
            yield f"/output/records/page/{position}", pointer
    if review.idempotency:
        yield "/idempotency/argument", review.idempotency
    if review.reconcile:
        for target, source in review.reconcile.arguments.items():
            yield f"/reconcile/with/{_escape(target)}", source


# Members, one way and the other


def _argument(item: Json) -> ArgumentReview:
    found = item if isinstance(item, Mapping) else {}
    return ArgumentReview(
        role=cast("ArgumentRole", found["role"]), type=_text(found, "type"), unit=_text(found, "unit")
    )


def _argument_members(argument: ArgumentReview) -> dict[str, Json]:
    return {"role": argument.role, "type": argument.type, "unit": argument.unit}


def _output(value: Json) -> OutputReview:
    found = value if isinstance(value, Mapping) else {}
    records = found.get("records")
    return OutputReview(
        form=cast("OutputForm", found.get("from", "opaque")),
        fields={name: _field(item) for name, item in _members(found.get("fields"))},
        records=_records(records) if isinstance(records, Mapping) else None,
    )


def _field(item: Json) -> FieldReview:
    found = item if isinstance(item, Mapping) else {}
    return FieldReview(
        writer=cast("Writer", found["writer"]),
        type=_text(found, "type"),
        naming=found.get("naming") is True,
        custodian=found.get("custodian") is True,
        confidentiality=tuple(texts(found.get("confidentiality", ()))),
    )


def _records(found: Mapping[str, Json]) -> RecordsReview:
    return RecordsReview(
        at=str(found["at"]),
        id=str(found["id"]),
        page=tuple(texts(found.get("page", ()))),
        listing=cast("Writer", found.get("listing", "anyone")),
    )


def _output_document(output: OutputReview) -> dict[str, Json]:
    out: dict[str, Json] = {
        "from": output.form,
        "fields": {name: _field_document(item) for name, item in output.fields.items()},
    }
    if output.records:
        one = output.records
        out["records"] = {"at": one.at, "id": one.id, "page": list(one.page), "listing": one.listing}
    return out


def _field_document(field: FieldReview) -> dict[str, Json]:
    out = _without_none({"writer": field.writer, "type": field.type})
    out |= {name: True for name in ("naming", "custodian") if getattr(field, name)}
    return out | ({"confidentiality": list(field.confidentiality)} if field.confidentiality else {})


def _limit(item: Mapping[str, Json]) -> LimitReview:
    return LimitReview(name=str(item["name"]), of=str(item["of"]), unit=_text(item, "unit"))


def _other_call(value: Json) -> OtherCall | None:
    if not isinstance(value, Mapping):
        return None
    return OtherCall(tool=str(value["tool"]), arguments=_text_map(value.get("with")), done_if=_text(value, "done_if"))


def _other_document(other: OtherCall) -> dict[str, Json]:
    return _without_none({"tool": other.tool, "with": dict(other.arguments), "done_if": other.done_if})


def _members(value: Json) -> Iterable[tuple[str, Json]]:
    return value.items() if isinstance(value, Mapping) else ()


def _text_map(value: Json) -> dict[str, str]:
    return {name: str(item) for name, item in _members(value)}


def _text(found: Mapping[str, Json], member: str) -> str | None:
    value = found.get(member)
    return None if value is None else str(value)


def _without_none(members: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in members.items() if value is not None}


def _escape(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1")
