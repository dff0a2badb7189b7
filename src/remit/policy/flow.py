"""Flow: what a result teaches a session, and (from the flow rules on) which values may go where.

This file holds the labels of results: FLOW_RULES H4 and E. A field counts as written by the system only where the
review says so *and* it stands in structured content, or in one text block that parses whole as JSON. Everything else
that an agent is shown is untrusted: other text, pictures, links, an error, a field nobody reviewed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from remit.core.canonical import Json, canonical
from remit.core.errors import BadInput
from remit.core.labels import TRUSTED, UNTRUSTED, Labels
from remit.core.tools import FieldReview, OutputReview

Parse = Callable[[bytes], Json]
_MAX_FIELDS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Leaf:
    """One scalar of a document and the JSON pointer it stands at."""

    pointer: str
    value: Json


def result_labels(review: OutputReview, result: Json, parse: Parse) -> Labels:
    """The join of the labels of everything in a CallToolResult, as its review has them."""
    if not isinstance(result, Mapping) or result.get("isError") is True:
        return UNTRUSTED
    document = _reviewable(review, result, parse)
    if document is None:
        return UNTRUSTED.join(Labels("untrusted", _all_confidentiality(review)))
    label = TRUSTED
    for leaf in leaves(document, _MAX_FIELDS):
        field = field_at(review.fields, leaf.pointer)
        label = label.join(_label(field))
    return label


def leaves(document: Json, bound: int) -> Iterator[Leaf]:
    """Every scalar of ``document``, depth first; past ``bound`` one nameless leaf stands for the rest."""
    pending: list[tuple[str, Json]] = [("", document)]
    count = 0
    while pending:
        pointer, value = pending.pop()
        if isinstance(value, Mapping):
            pending.extend((f"{pointer}/{_escape(key)}", item) for key, item in value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            pending.extend((f"{pointer}/{position}", item) for position, item in enumerate(value))
        else:
            count += 1
            if count > bound:
                yield Leaf("", None)
                return
            yield Leaf(pointer, value)


def field_at(fields: Mapping[str, FieldReview], pointer: str) -> FieldReview | None:
    """The review of the field at ``pointer``; ``*`` in a reviewed pointer stands for one array position."""
    found = fields.get(pointer)
    if found is None:
        general = "/".join("*" if part.isdecimal() else part for part in pointer.split("/"))
        found = fields.get(general)
    return found


def _label(field: FieldReview | None) -> Labels:
    if field is None:
        return UNTRUSTED
    return Labels("trusted" if field.writer == "system" else "untrusted", frozenset(field.confidentiality))


def _reviewable(review: OutputReview, result: Mapping[str, Json], parse: Parse) -> Json:
    """The one document that the reviewed fields speak of, or None when something else is shown beside it."""
    content = result.get("content")
    blocks = content if isinstance(content, Sequence) and not isinstance(content, str) else ()
    texts = [_text(block) for block in blocks]
    parsed = [_parsed(text, parse) if text is not None else None for text in texts]
    if review.form == "json_text":
        return parsed[0] if len(parsed) == 1 and "structuredContent" not in result else None
    if review.form == "structured":
        structured = result.get("structuredContent")
        if structured is None or any(item is None for item in parsed):
            return None
        return structured if all(canonical(item) == canonical(structured) for item in parsed) else None
    return None


def _text(block: Json) -> str | None:
    if not isinstance(block, Mapping) or block.get("type") != "text" or set(block) - {"type", "text"}:
        return None
    text = block.get("text")
    return text if isinstance(text, str) else None


def _parsed(text: str, parse: Parse) -> Json:
    try:
        document = parse(text.encode())
    except (BadInput, UnicodeEncodeError):
        return None
    return document if isinstance(document, (Mapping, list, tuple)) else None


def _all_confidentiality(review: OutputReview) -> frozenset[str]:
    return frozenset(label for field in review.fields.values() for label in field.confidentiality)


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
