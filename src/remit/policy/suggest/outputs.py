"""What the fields of a tool's results are, from its output schema and from results recorded in a sandbox.

Everything is written by anyone, but for ids, times and counts that a system mints at a known place: at the root of the
result, or of a record. Nobody is a custodian. How secret a field is goes by its name, its title and its description;
the latter two can only make it more secret. Recorded results show what there is; what stands in them is somebody
else's text, and of that only its kind is looked at.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Final

from remit.core.canonical import Json
from remit.core.errors import BadInput
from remit.core.schema_leaves import Node, last_name, part, schema_leaves, types
from remit.core.tools import FieldReview, OutputForm, OutputReview, RecordsReview
from remit.policy.suggest.arguments import _kind
from remit.policy.suggest.findings import Finding, Sure
from remit.policy.suggest.words import listed, pairs, sentence, words

Parse = Callable[[bytes], Json]
MAX_FIELDS: Final = 256
MAX_RESULTS: Final = 50
MAX_TEXT: Final = 262_144
_MAX_SEEN: Final = 4_000
_SECRETS: Final = ("credential", "card", "government_id", "personal")
_GRAVE: Final = ("credential", "card", "government_id")
_MINTED: Final = re.compile(
    r"[0-9]{1,20}|[0-9a-fA-F]{8,64}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9A-Za-z_-]{16,64}"
)
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.,]{4,20}(Z|[+-][0-9]{2}:?[0-9]{2})?)?")
_LONGEST_VALUE: Final = 128
_ABOUT: Final = 12
"""Words of a field's title and description that are looked at."""


@dataclass(slots=True)
class _Seen:
    """One field as it was met: what the schema says of it, and the kinds of values that stood there."""

    nodes: tuple[Node, ...] = ()
    told: tuple[str, ...] = ()
    kinds: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Output:
    """The suggested output member, with its findings."""

    review: OutputReview
    mints: Mapping[str, str]
    findings: tuple[Finding, ...]
    flags: tuple[str, ...] = ()


def suggested_output(
    definition: Mapping[str, Json],
    results: Sequence[Json],
    *,
    server: str,
    noun: str | None,
    creates: bool,
    looks: bool,
    page: Sequence[str],
    parse: Parse,
) -> Output:
    """How results can be read.

    ``creates`` and ``looks`` say what the tool does; ``page`` are the arguments that cut a listing into pages.
    """
    schema = definition.get("outputSchema")
    leaves, whole = schema_leaves(schema, MAX_FIELDS) if isinstance(schema, Mapping) else ((), True)
    form, documents, why = _form(schema, results, parse)
    seen = {leaf.pointer: _Seen(leaf.nodes, leaf.told) for leaf in leaves}
    for document in documents:
        _look(document, seen)
    if form != "opaque" and not seen:
        form, why = "opaque", "its output schema names no field"
    if form == "opaque":
        return _opaque(definition, why)
    work = _Work(server=server, noun=noun, looks=looks, seen=dict(list(seen.items())[:MAX_FIELDS]))
    records = work.records(page)
    fields = {pointer: work.field(pointer) for pointer in work.seen}
    _told_secrets(definition, work, fields)
    mints = work.mints() if creates and form == "structured" else {}
    flags = (
        () if whole else ("Its output schema has more, or deeper, fields than are looked at: the rest is anyone's.",)
    )
    head = Finding("/output/from", why, "high" if isinstance(schema, Mapping) else "medium", laxer=True)
    return Output(OutputReview(form=form, fields=fields, records=records), mints, (head, *work.findings), flags)


# The form


def _form(schema: Json, results: Sequence[Json], parse: Parse) -> tuple[OutputForm, list[Json], str]:
    """Where fields can be read from, and the documents that were recorded."""
    good = [one for one in results[:MAX_RESULTS] if isinstance(one, Mapping) and one.get("isError") is not True]
    structured = [one["structuredContent"] for one in good if isinstance(one.get("structuredContent"), Mapping)]
    if isinstance(schema, Mapping):
        return "structured", structured, "it has an output schema"
    if good and len(structured) == len(good):
        return "structured", structured, f"each of {len(good)} recorded results has structured content"
    parsed = [_parsed(one, parse) for one in good]
    texts: list[Json] = [one for one in parsed if one is not None]
    if good and len(texts) == len(good):
        return "json_text", texts, f"each of {len(good)} recorded results is one text block that is JSON"
    return "opaque", [], "it has no output schema, and no recorded result that has fields"


def _parsed(result: Mapping[str, Json], parse: Parse) -> Json:
    content = result.get("content")
    blocks = content if isinstance(content, list) else []
    text = blocks[0].get("text") if len(blocks) == 1 and isinstance(blocks[0], Mapping) else None
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        return None
    try:
        found = parse(text.encode())
    except (BadInput, UnicodeEncodeError):
        return None
    return found if isinstance(found, (Mapping, list)) else None


def _look(document: Json, seen: dict[str, _Seen]) -> None:
    """Note every scalar of a document by general pointer, and its kind."""
    pending: list[tuple[str, Json]] = [("", document)]
    count = 0
    while pending and count < _MAX_SEEN:
        count += 1
        pointer, value = pending.pop()
        if isinstance(value, Mapping):
            named = [
                (key, item)
                for key, item in value.items()
                if key.isprintable() and key != "*" and len(key) <= _LONGEST_VALUE
            ]
            pending.extend((f"{pointer}/{part(key)}", item) for key, item in reversed(named[:MAX_FIELDS]))
        elif isinstance(value, list):
            pending.extend((f"{pointer}/*", item) for item in value[:MAX_FIELDS])
        elif pointer and len(pointer) <= 512 and (pointer in seen or len(seen) < MAX_FIELDS):  # noqa: PLR2004 - a pointer's bound
            seen.setdefault(pointer, _Seen()).kinds.add(_kind_of(value))


def _kind_of(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, Decimal)):
        return "number"
    text = str(value)
    if len(text) > _LONGEST_VALUE:
        return "text"
    return "moment" if _MOMENT.fullmatch(text) else "minted" if _MINTED.fullmatch(text) else "text"


# The fields


@dataclass(slots=True)
class _Work:
    """One suggestion under way: which record there is, and what was found."""

    server: str
    noun: str | None
    looks: bool
    seen: dict[str, _Seen]
    roots: tuple[str, ...] = ("",)
    findings: list[Finding] = field(default_factory=list)

    def records(self, page: Sequence[str]) -> RecordsReview | None:
        """The one list of records that a result holds, if there is just one and its rows have an id."""
        lists = {pointer[: pointer.index("/*") + 2] for pointer in self.seen if "/*" in pointer}
        if len(lists) != 1:
            return None
        at = lists.pop()
        self.roots = ("", at)
        ids = [
            pointer for pointer in self.seen if pointer.rpartition("/")[0] == at and words(last_name(pointer)) in _IDS
        ]
        if len(ids) != 1:
            return None
        self._note(
            "/output/records",
            f"`{at}` is the one list, and `{last_name(ids[0])}` the id of its rows; anyone may add one",
            "medium",
            laxer=True,
        )
        return RecordsReview(at=at, id=ids[0], page=tuple(page))

    def field(self, pointer: str) -> FieldReview:
        """The labels of one field."""
        name, seen = last_name(pointer), self.seen[pointer]
        said = words(name)
        at_root = pointer.rpartition("/")[0] in self.roots and not pointer.endswith("/*")
        secret = _secrets(said, seen)
        system = self._minted(said, seen) if at_root else None
        # What a tool that changes something gives back repeats its own arguments.
        naming = self.looks and at_root and bool(said) and said[-1] in listed("field.naming")
        kind = self._type(said, seen, at_root=at_root)
        member = f"/output/fields/{part(pointer)}"
        if system is not None:
            self._note(member, system, "medium", laxer=True)
        elif naming:
            self._note(
                member,
                f"`{said[-1]}` is what people call the record by; anyone can have written it",
                "medium",
                laxer=True,
            )
        else:
            self._note(member, "anyone may have written it: the default", "low")
        if secret:
            self._note(f"{member}/confidentiality", f"its name or description says {', '.join(secret)}", "medium")
        return FieldReview(
            writer="system" if system is not None else "anyone", type=kind, naming=naming, confidentiality=secret
        )

    def mints(self) -> dict[str, str]:
        """The id at the root of a creating call's result, and nothing else (rule B2)."""
        for pointer in self.seen:
            kind = _kind(self.server, self.noun)
            if (
                pointer.count("/") == 1
                and words(last_name(pointer)) in _IDS
                and kind is not None
                and not self._guessed(pointer)
            ):
                self._note(
                    f"/output/mints/{part(pointer)}",
                    f"`{last_name(pointer)}` at the root of what a creating call gives back",
                    "medium",
                    laxer=True,
                )
                return {pointer: kind}
        return {}

    def _guessed(self, pointer: str) -> bool:
        """Whether what stood there looks like words that somebody chose."""
        return "text" in self.seen[pointer].kinds

    def _minted(self, said: tuple[str, ...], seen: _Seen) -> str | None:
        """Why a field is plainly the system's own, or None."""
        schema_kinds = {kind for node in seen.nodes for kind in types(node)} - {"null"}
        formats = {text for node in seen.nodes if isinstance(text := node.get("format"), str)}
        shown = seen.kinds - {"null"}
        if not said:
            return None
        if said in _IDS and "text" not in shown and (schema_kinds | shown):
            return f"`{'_'.join(said)}` of a record: systems mint ids"
        number = (schema_kinds and schema_kinds <= {"integer", "number"}) or (not schema_kinds and shown == {"number"})
        if number and said[-1] in listed("field.number"):
            return f"`{said[-1]}`, a number that a system counts"
        moment = "date-time" in formats or (shown and shown <= {"moment"})
        if moment and any(word in listed("field.time") for word in said):
            return f"`{'_'.join(said)}`, a time that a system notes"
        return None

    def _type(self, said: tuple[str, ...], seen: _Seen, *, at_root: bool) -> str | None:
        formats = {text for node in seen.nodes if isinstance(text := node.get("format"), str)}
        if formats & {"email", "idn-email"}:
            return "email"
        if formats & {"uri", "url", "iri"}:
            return "url"
        if formats & {"date", "date-time"} or (seen.kinds and seen.kinds <= {"moment", "null"}):
            return "date"
        if not said:
            return None
        if said[-1] in ("email", "iban", "url", "phone"):
            return said[-1]
        if said in _IDS and at_root:
            return _kind(self.server, self.noun)
        if said[-1] in ("id", "ids") and len(said) > 1:
            return _kind(self.server, said[-2])
        return "money" if said[-1] in ("amount", "price", "balance", "total") else None

    def _note(self, member: str, why: str, sure: Sure, *, laxer: bool = False) -> None:
        self.findings.append(Finding(member, why, sure, laxer=laxer))


_IDS: Final = (("id",), ("uuid",), ("guid",))


# How secret


def _secrets(said: tuple[str, ...], seen: _Seen) -> tuple[str, ...]:
    named = [said, *(sentence(node.get("title"))[:_ABOUT] for node in seen.nodes)]
    told = [*named, *(sentence(text)[:_ABOUT] for text in seen.told)]
    # What is personal is too often spoken of (the subject of the email) to go by descriptions.
    return tuple(one for one in _SECRETS if any(_says(one, text) for text in (told if one in _GRAVE else named)))


def _says(secret: str, said: Sequence[str]) -> bool:
    place = f"secret.{secret}"
    return any(word in listed(place) for word in said) or any(two in pairs(place) for two in pairwise(said))


def _whole(definition: Mapping[str, Json]) -> tuple[str, ...]:
    """What a tool's own name and description say is in its results, of the kinds that D1 speaks of."""
    told = (words(str(definition.get("name", ""))), sentence(definition.get("description")))
    return tuple(one for one in _SECRETS if any(_says(one, text) for text in (told if one in _GRAVE else told[:1])))


def _opaque(definition: Mapping[str, Json], why: str) -> Output:
    secret = _whole(definition)
    findings = [Finding("/output/from", f"{why}: all of it is third-party text", "low")]
    fields: dict[str, FieldReview] = {}
    if secret:
        fields["/*"] = FieldReview(writer="anyone", confidentiality=secret)
        findings.append(
            Finding("/output/fields/~1*/confidentiality", f"its name or description says {', '.join(secret)}", "low")
        )
    return Output(OutputReview(form="opaque", fields=fields), {}, tuple(findings))


def _told_secrets(definition: Mapping[str, Json], work: _Work, fields: dict[str, FieldReview]) -> None:
    """Where no field has a name that says so, a secret that the description speaks of is in any of them."""
    named = {label for one in fields.values() for label in one.confidentiality}
    missing = tuple(one for one in _whole(definition) if one not in named)
    if not missing:
        return
    targets = list(fields) or ["/*"]
    for pointer in targets:
        old = fields.get(pointer, FieldReview(writer="anyone"))
        labels = tuple(dict.fromkeys((*old.confidentiality, *missing)))
        fields[pointer] = FieldReview(writer=old.writer, type=old.type, naming=old.naming, confidentiality=labels)
    work.findings.append(
        Finding("/output/fields", f"its description speaks of {', '.join(missing)}: any field may hold it", "low")
    )
