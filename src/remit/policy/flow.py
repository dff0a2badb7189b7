"""Flow: what a result teaches a session, and (from the flow rules on) which values may go where.

This file holds the labels of results: FLOW_RULES H4 and E. A field counts as written by the system only where the
review says so *and* it stands in structured content, or in one text block that parses whole as JSON. Everything else
that an agent is shown is untrusted: other text, pictures, links, an error, a field nobody reviewed, a member that no
review can speak of. Where the fields can't be told apart, every secret that the review names was shown.

And it holds what is demanded of answers to a server's questions. Nobody reviewed them, so each is a sink, as FLOW_RULES
E has it. Nothing endorses a value in this version, so in an untrusted session a sink is a person's to judge.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from remit.core.canonical import Json, canonical
from remit.core.errors import BadInput
from remit.core.inputs import Inputs
from remit.core.labels import TRUSTED, Labels
from remit.core.tools import Effect, FieldReview, OutputReview

Parse = Callable[[bytes], Json]
_MAX_FIELDS: Final = 20_000
_PLAIN: Final = frozenset({str, int, bool, Decimal, type(None)})
_EMPTY: Final[Mapping[str, Json]] = {}
# What a result may hold beside its content without saying anything to a reader.
_SILENT: Final[tuple[tuple[str, Json], ...]] = (("isError", False), ("_meta", _EMPTY), ("resultType", "complete"))


# Words in the name of a yes or a choice that make it one about how far a call goes (FLOW_RULES E).
_WIDENING: Final = ("force", "overwrite", "recursive", "permanent", "public", "permission")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One scalar of a document and the JSON pointer it stands at; ``general`` has ``*`` for each array position."""

    pointer: str
    value: Json
    general: str = ""
    rest: bool = False


def result_labels(review: OutputReview, result: Json, parse: Parse) -> Labels:
    """The join of the labels of everything in a CallToolResult, as its review has them."""
    everything = unseen_labels(review)
    if not isinstance(result, Mapping):
        return everything
    document = reviewable(review, result, parse)
    if document is None:
        return everything
    label, fields = TRUSTED, _Fields(review.fields)
    for leaf in leaves(document, _MAX_FIELDS, empties=True):
        label = label.join(everything if leaf.rest else fields.label(leaf))
    return label


def unseen_labels(review: OutputReview) -> Labels:
    """What a result that can't be told apart, or that Remit never saw, may have shown."""
    return Labels("untrusted", frozenset(label for field in review.fields.values() for label in field.confidentiality))


def input_sinks(inputs: Inputs, effect: Effect, labels: Labels) -> tuple[str, ...]:
    """The pointers of answers that are sinks of a call with this effect in a session with these labels.

    A read demands nothing of its arguments and a fetch something of links alone (FLOW_RULES C); text that the client's
    model wrote is no better than a text that it was given.
    """
    if labels.integrity == "trusted" or effect == "read":
        return ()
    found = [f"/inputs/{_escape(name)}" for name, answer in inputs.samples() if effect != "fetch" or _links(answer)]
    for name, _, content in inputs.forms():
        filled = leaves(content, _MAX_FIELDS)
        sinks = (one for one in filled if (_links(one.value) if effect == "fetch" else not _is_free(one)))
        found += [f"/inputs/{_escape(name)}{one.pointer}" for one in sinks]
    return tuple(found)


def _links(value: Json) -> bool:
    """Whether an address may stand anywhere in a value."""
    texts = (str(leaf.value) for leaf in leaves(value, _MAX_FIELDS))
    return any(mark in text for text in texts for mark in ("://", "www.", "mailto:"))


def _is_free(leaf: Leaf) -> bool:
    """Whether an answer only says yes or no, and not about how far the call goes.

    A choice from a list is not free as it is in a reviewed schema: nobody reviewed this list, and a server may well
    make it of what strangers wrote.
    """
    return isinstance(leaf.value, bool) and not any(word in leaf.pointer.casefold() for word in _WIDENING)


def leaves(document: Json, bound: int, *, empties: bool = False) -> Iterator[Leaf]:
    """Every scalar of ``document``, depth first; past ``bound`` one nameless leaf stands for the rest.

    With ``empties`` an empty object or array is a leaf too: its own name was shown.
    """
    pending: list[Leaf] = [Leaf("", document)]
    count = 0
    while pending:
        leaf = pending.pop()
        inner = _inner(leaf)
        if inner is None or (empties and not inner):
            count += 1
            if count > bound:
                yield Leaf("", None, rest=True)
                return
            yield leaf
        else:
            pending.extend(inner)


class _Fields:
    """Reviewed output fields by pointer, and for every place above one the secrets that are reviewed below it."""

    def __init__(self, fields: Mapping[str, FieldReview]) -> None:
        self._fields = fields
        self._below: dict[str, frozenset[str]] = {}
        for pointer, field in fields.items():
            for above in _above(pointer):
                self._below[above] = self._below.get(above, frozenset()) | frozenset(field.confidentiality)

    def label(self, leaf: Leaf) -> Labels:
        """What one leaf teaches; ``*`` in a reviewed pointer stands for one array position."""
        field = self._fields.get(leaf.pointer) or self._fields.get(leaf.general)
        if field is not None:
            return Labels("trusted" if field.writer == "system" else "untrusted", frozenset(field.confidentiality))
        if leaf.general in self._below and isinstance(leaf.value, (Mapping, list, tuple)):
            return TRUSTED  # an empty container of reviewed fields: nothing was shown that the review does not name
        return Labels("untrusted", frozenset().union(*self._near(leaf.pointer), *self._near(leaf.general)))

    def _near(self, pointer: str) -> Iterator[Iterable[str]]:
        """Where something else stands than was reviewed, it is as secret as what was expected there."""
        yield self._below.get(pointer, ())
        yield from (self._fields[above].confidentiality for above in _above(pointer) if above in self._fields)


def _above(pointer: str) -> Iterator[str]:
    """The pointers of everything that holds what ``pointer`` names, nearest first."""
    while pointer:
        pointer = pointer.rpartition("/")[0]
        yield pointer


def _inner(leaf: Leaf) -> list[Leaf] | None:
    """What stands directly under an object or array, else None."""
    value = leaf.value
    # Most leaves are plain, and to ask an abstract class takes long.
    if type(value) in _PLAIN:
        return None
    if isinstance(value, Mapping):
        steps = ((_escape(key), item) for key, item in value.items())
        return [Leaf(f"{leaf.pointer}/{step}", item, f"{leaf.general}/{step}") for step, item in steps]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [Leaf(f"{leaf.pointer}/{at}", item, f"{leaf.general}/*") for at, item in enumerate(value)]
    return None


def reviewable(review: OutputReview, result: Mapping[str, Json], parse: Parse) -> Json:
    """The one document that the reviewed fields speak of, or None when something else is shown beside it."""
    members = set(result) - {"content", "structuredContent"}
    content = result.get("content", ())
    if any((name, result[name]) not in _SILENT for name in members) or not isinstance(content, (list, tuple)):
        return None
    texts = [_text(block) for block in content]
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


def _escape(key: str) -> str:
    # A member that is named `*` is no array position; `~*` is in no reviewed pointer.
    return key.replace("~", "~0").replace("/", "~1") if key != "*" else "~*"
