"""The verifier of an exported log, whole in this one file: copy it away from Remit, to a machine that you trust.

    python verify.py EXPORT.jsonl [--key VERIFIER_KEY] [--seen CHECKPOINT_FILE ...]

It needs Python 3.11 and ``cryptography``, imports nothing of Remit, and reads the file once, line by line. Exit status:
0 the log holds, 1 it does not, 2 this can't be read as an export at all. The answer is one JSON document on stdout.

The export: JSON lines. Each line is the canonical spelling (RFC 8785) of its object and ends in one newline, so that
no byte of the file is free to change. Members not named here refuse.

    {"origin":O,"t":"log","v":1,"verifier_key":K}           the first line, and only the first
    {"i":N,"leaf":B,"t":"leaf"}                             event N; B is base64 of the exact leaf bytes
    {"i":N,"leaf":B,"payload":{P:{"salt":B,"value":B}},"t":"leaf"}
                                                            the same, with private values: P is a pointer of the leaf's
                                                            ``commit``, ``value`` the value's canonical bytes
    {"note":C,"t":"checkpoint"}                             C is a C2SP checkpoint over exactly the events before it

What is checked:
1. every line: its spelling, its members, indexes from 0 without a gap;
2. every leaf: canonical JSON, version, index, one org, known members of the right type, a time between 2020 and 2100;
3. the first event, and no other, is the genesis (kind 1), which names the origin and the first key;
4. calls: an outcome, a redaction and "unknown" name an intent (kind 62) before them of the same session and call;
   only what is unknown is settled; no intent has two outcomes;
5. payloads: each opens the commitment that the leaf holds for its pointer;
6. every checkpoint: origin, size, root of the RFC 6962 tree over the leaves, and its signatures. A key is good from the
   event that announces it (kinds 1 and 2). The last checkpoint must be signed by the trusted key: ``--key``, and once
   a checkpoint that it signed covers the announcement of another, that one. A signature by a key that was never
   announced is ignored, as C2SP demands (witnesses sign so);
7. every event is covered by such a checkpoint;
8. with ``--seen``, the log contains the log of that earlier checkpoint: keep one from time to time, somewhere else
   (the last line of an export will do).

What it can't tell: whether a log that ends at a checkpoint once was longer, or was rewritten by someone who holds the
key (both show with ``--seen``); whether payloads were left out; whether what an event says is true. Without ``--key``
the key comes from the export itself and proves nothing about who signed.
"""

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_LINE: Final = 16 * 1024 * 1024
MAX_LEAF: Final = 65_535
MAX_PROBLEMS: Final = 100
MAX_SEEN: Final = 1024 * 1024
KEY_FROM_EXPORT: Final = "key taken from the export, which proves nothing about who signed"

_GENESIS, _NEW_KEY = 1, 2
_INTENT, _OUTCOME, _UNKNOWN, _SETTLED, _REDACTED = 62, 63, 64, 65, 66
_LAST_KIND = 199
_EARLIEST, _LATEST = 1_577_836_800_000, 4_102_444_800_000
_I64_MIN, _I64_MAX = -(2**63), 2**63 - 1
_MIN_EXPONENT, _MAX_EXPONENT = -324, 308
_HASH_SIZE, _KEY_ID_SIZE, _PUBLIC_SIZE, _SALT_SIZE = 32, 4, 32, 32
_NOTE_LINES = 3
_COUNT = re.compile(r"0|[1-9][0-9]{0,18}")
_HASH_TEXT = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9]")
_LEAF_END = b'","t":"leaf"}\n'
_EMPTY_ROOT = hashlib.sha256(b"").digest()


class Unusable(ValueError):
    """What was handed in beside the export (a key, an earlier checkpoint) can't be used."""


class _Bad(Exception):
    """Something does not hold; the message says what."""


class _Stop(Exception):
    """It makes no sense to read on."""


def verify(lines: Iterable[bytes], trusted_key: str | None = None, seen: Sequence[str] = ()) -> dict[str, Any]:
    """Check an export, given as its lines with their newlines.

    The answer: ``ok``, ``origin`` (None when the first line is none), ``size`` and ``root`` (base64) of what the last
    trusted checkpoint covers, ``signers`` of that checkpoint, and ``problems``, each ``{"index": int | None, "what"}``.
    ``seen`` are texts of checkpoints that the log must contain. Raises ``Unusable`` for a bad key or such text;
    whatever is wrong with the export itself is a problem, never an exception.
    """
    check = _Check(trusted_key, seen)
    try:
        check.read(iter(lines))
    except _Stop:
        pass
    else:
        check.finish()
    return check.answer()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program: print the answer, return the exit status."""
    parser = argparse.ArgumentParser(description="Verify an exported log.")
    parser.add_argument("export", help="the export, or - for standard input")
    parser.add_argument("--key", help="the verifier key that you trust: <origin>+<key id>+<base64>")
    parser.add_argument("--seen", action="append", default=[], help="a file with an earlier checkpoint of this log")
    given = parser.parse_args(arguments)
    try:
        seen = [read_seen(Path(name)) for name in given.seen]
        if given.export == "-":
            answer = verify(bounded_lines(sys.stdin.buffer), given.key, seen)
        else:
            with Path(given.export).open("rb") as file:
                answer = verify(bounded_lines(file), given.key, seen)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if given.key is None:
        sys.stderr.write(f"No --key was given: {KEY_FROM_EXPORT}.\n")
    sys.stdout.write(json.dumps(answer, ensure_ascii=True) + "\n")
    if answer["origin"] is None:
        return 2
    return 0 if answer["ok"] else 1


@dataclass(frozen=True, slots=True)
class _Key:
    """An Ed25519 key as C2SP signed-note names it."""

    name: str
    id: bytes
    text: str
    public: Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class _Note:
    """A checkpoint, read but not yet believed."""

    body: bytes
    origin: str
    size: int
    root: bytes
    signatures: tuple[tuple[str, bytes], ...]


class _Tree:
    """The roots of the complete subtrees so far, largest first (RFC 6962 section 2.1)."""

    __slots__ = ("hashes", "size")

    def __init__(self) -> None:
        self.size = 0
        self.hashes: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        sha256, hashes, index = hashlib.sha256, self.hashes, self.size
        current = sha256(b"\x00" + leaf).digest()
        while index & 1:
            current = sha256(b"\x01" + hashes.pop() + current).digest()
            index >>= 1
        hashes.append(current)
        self.size += 1

    def root(self) -> bytes:
        if not self.hashes:
            return _EMPTY_ROOT
        current = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            current = hashlib.sha256(b"\x01" + left + current).digest()
        return current


class _Calls:
    """Intents without their final outcome; memory grows with those only."""

    __slots__ = ("open", "unknown")

    def __init__(self) -> None:
        self.open: dict[int, tuple[str, str]] = {}
        self.unknown: dict[int, tuple[str, str]] = {}

    def see(self, event: dict[str, Any]) -> None:
        kind, intent = event["k"], event.get("intent")
        if kind == _INTENT:
            self.open[event["i"]] = self._call(event)
        elif kind == _OUTCOME:
            self._take(self.open, intent, event)
        elif kind == _UNKNOWN:
            self.unknown[event["intent"]] = self._take(self.open, intent, event)
        elif kind == _SETTLED:
            self._take(self.unknown, intent, event)
        elif kind == _REDACTED:
            self.open[event["intent"]] = self._take(self.open, intent, event)
        elif intent is not None and intent >= event["i"]:
            raise _Bad("the event names an intent that is not before it")

    @staticmethod
    def _call(event: dict[str, Any]) -> tuple[str, str]:
        if "session" not in event or "call" not in event:
            raise _Bad("an event of a call names no session or call")
        return event["session"], event["call"]

    def _take(self, waiting: dict[int, tuple[str, str]], intent: int | None, event: dict[str, Any]) -> tuple[str, str]:
        """The call of that intent, which no longer waits. A wrong claim leaves the intent as it was."""
        if intent is None:
            raise _Bad("an event of a call names no intent")
        call = waiting.get(intent)
        if call is None:
            state = "unknown" if waiting is self.unknown else "open"
            raise _Bad(f"event {intent} is no {state} intent before this event, or has its outcome already")
        if call != self._call(event):
            raise _Bad(f"the intent at {intent} is of another session or call")
        return waiting.pop(intent)


class _Check:
    """One verification under way."""

    def __init__(self, trusted_key: str | None, seen: Sequence[str]) -> None:
        self._pinned = trusted_key is not None
        self._trusted = _given_key(trusted_key)
        self._seen = sorted(_given_checkpoints(seen), key=lambda note: note.size)
        self._problems: list[dict[str, Any]] = []
        self._tree = _Tree()
        self._calls = _Calls()
        self._announced: dict[tuple[str, bytes], _Key] = {}
        self._newest: _Key | None = None
        self._origin: str | None = None
        self._org: str | None = None
        self._last_size = -1
        self._covered = 0
        self._root: bytes | None = None
        self._signers: list[str] = []
        self._header_key = ""

    def read(self, lines: Iterator[bytes]) -> None:
        """Every line once."""
        self._header(next(lines, b""))
        for line in lines:
            # The one spelling of a leaf line without payload, so nothing is left to parse but the base64.
            start = b'{"i":%d,"leaf":"' % self._tree.size
            if line.startswith(start) and line.endswith(_LEAF_END):
                try:
                    leaf = _unbase64(line[len(start) : -len(_LEAF_END)])
                except _Bad as error:
                    self._stop(self._tree.size, f"the leaf: {error}")
                self._leaf(leaf, None)
            else:
                self._other_line(line)

    def finish(self) -> None:
        """What can be said only at the end."""
        size = self._tree.size
        if size == 0:
            self._problem(None, "the log is empty: it has not even its first event")
        elif self._header_key not in {key.text for key in self._announced.values()}:
            self._problem(None, "no event of the log announces the key in the first line")
        if self._covered < size:
            what = f"no checkpoint by the trusted key covers the events {self._covered} to {size - 1} yet"
            self._problem(self._covered, what)
        for note in self._seen:
            self._problem(None, f"the log has {size} events, fewer than the {note.size} of a checkpoint seen earlier")

    def answer(self) -> dict[str, Any]:
        """The result so far."""
        root = None if self._root is None else base64.b64encode(self._root).decode("ascii")
        return {
            "ok": not self._problems,
            "origin": self._origin,
            "size": self._covered,
            "root": root,
            "signers": self._signers,
            "problems": self._problems,
        }

    def _header(self, line: bytes) -> None:
        try:
            self._origin, key = _parse_head(line)
        except _Bad as error:
            self._stop(None, f"the first line: {error}")
        self._header_key = key.text
        self._trusted = self._trusted or key
        if self._trusted.name != self._origin:
            self._problem(None, f"the trusted key is of {self._trusted.name}, not of this log")
        self._compare_seen()

    def _other_line(self, line: bytes) -> None:
        """A checkpoint, a leaf with payload, or a line that is none."""
        try:
            content = _line(line)
            if content.get("t") == "checkpoint":
                note = _member(content, "note", {"note", "t"})
            else:
                leaf = _parse_leaf_line(content, self._tree.size)
        except _Bad as error:
            self._stop(self._tree.size, f"a line: {error}")
        if content["t"] == "checkpoint":
            self._checkpoint(note)
        else:
            self._leaf(leaf, content)

    def _leaf(self, leaf: bytes, opened: dict[str, Any] | None) -> None:
        """One event, with its line's members if that has a payload.

        It enters the tree whatever it holds, so that one problem stays one.
        """
        index = self._tree.size
        self._tree.append(leaf)
        try:
            event = _event(leaf, index)
            if event["org"] != self._org:
                self._first_org(event)
            self._meaning(event)
            if opened is not None:
                _check_payload(opened["payload"], event.get("commit", {}))
        except _Bad as error:
            self._problem(index, str(error))
        if self._seen:
            self._compare_seen()

    def _meaning(self, event: dict[str, Any]) -> None:
        """(3) and (4): what kinds allow."""
        kind = event["k"]
        if (kind == _GENESIS) is not (event["i"] == 0):
            raise _Bad("the genesis is the first event and only the first")
        if kind in (_GENESIS, _NEW_KEY):
            self._announce(event)
        elif "origin" in event or "key" in event:
            raise _Bad("only events of kind 1 and 2 have the members origin and key")
        if kind >= _INTENT or "intent" in event:
            self._calls.see(event)

    def _first_org(self, event: dict[str, Any]) -> None:
        if self._org is not None:
            raise _Bad(f"the event is of org {event['org']!r}, the log is of {self._org!r}")
        self._org = event["org"]
        if not (self._origin or "").endswith(f"/{self._org}"):
            raise _Bad("the origin does not end in the org")

    def _announce(self, event: dict[str, Any]) -> None:
        """(3) and (6): the genesis names origin and first key, an event of kind 2 the next key."""
        origin = event.get("origin", self._origin if event["k"] == _NEW_KEY else None)
        if origin != self._origin:
            raise _Bad("the event does not name the origin of the first line")
        if "key" not in event:
            raise _Bad("the event announces no key")
        key = _parse_key(event["key"])
        if key.name != self._origin:
            raise _Bad("the announced key is not named as the origin is")
        self._announced[key.name, key.id] = self._newest = key

    def _checkpoint(self, text: str) -> None:
        """(6): a problem with a checkpoint does not stop the reading, it only does not count."""
        try:
            note = _parse_note(text)
            self._fits(note)
            self._believe(note, self._good_signers(note))
        except _Bad as error:
            self._problem(None, f"the checkpoint after {self._tree.size} events: {error}")

    def _fits(self, note: _Note) -> None:
        if note.origin != self._origin:
            raise _Bad("it is of another log")
        if note.size != self._tree.size:
            raise _Bad(f"it is over {note.size} events")
        if note.size <= self._last_size:
            raise _Bad("there is one of its size already")
        self._last_size = note.size
        if note.root != self._tree.root():
            raise _Bad("its root is not the root of the events before it")

    def _good_signers(self, note: _Note) -> list[_Key]:
        good: list[_Key] = []
        for name, blob in note.signatures:
            key = self._announced.get((name, blob[:_KEY_ID_SIZE]))
            if key is None:
                continue
            if key in good:
                raise _Bad("a key signed it twice")
            try:
                key.public.verify(blob[_KEY_ID_SIZE:], note.body)
            except InvalidSignature:
                raise _Bad(f"the signature by {key.text} is not good") from None
            good.append(key)
        if not good:
            raise _Bad("no key that the log has announced by then signed it")
        return good

    def _believe(self, note: _Note, signers: list[_Key]) -> None:
        """Coverage grows only with the trusted key's signature; then the newest announced key is the trusted one.

        An older key is not trusted on: once it was replaced, who steals it can't extend the log with it.
        """
        if self._trusted is None or self._trusted.text not in {key.text for key in signers}:
            return
        self._covered, self._root = note.size, note.root
        note_on_key = "" if self._pinned else f" ({KEY_FROM_EXPORT})"
        self._signers = [key.text + note_on_key for key in signers]
        self._trusted = self._newest

    def _compare_seen(self) -> None:
        """(8): each checkpoint seen earlier is compared when the tree has its size."""
        while self._seen and self._seen[0].size == self._tree.size:
            note = self._seen.pop(0)
            if note.origin != self._origin:
                self._problem(None, f"the checkpoint seen earlier is of {note.origin}")
            elif note.root != self._tree.root():
                self._problem(None, f"the first {note.size} events are not those of a checkpoint seen earlier")

    def _problem(self, index: int | None, what: str) -> None:
        self._problems.append({"index": index, "what": what})
        if len(self._problems) >= MAX_PROBLEMS:
            self._problems.append({"index": None, "what": f"reading ended after {MAX_PROBLEMS} problems"})
            raise _Stop

    def _stop(self, index: int | None, what: str) -> NoReturn:
        self._problem(index, f"{what}; reading ended here")
        raise _Stop


class _Decimal(str):
    """A number that is no integer, in the spelling that was read and found to be the canonical one."""

    __slots__ = ()


def _decimal(text: str) -> _Decimal:
    if _DECIMAL.fullmatch(text) is None or not _MIN_EXPONENT <= Decimal(text).adjusted() <= _MAX_EXPONENT:
        raise _Bad("a number is not in its canonical spelling")
    return _Decimal(text)


def _no_number(_text: str) -> NoReturn:
    raise _Bad("it holds a number that is no integer")


_READ = json.JSONDecoder(parse_float=_no_number, parse_constant=_no_number).raw_decode
_READ_VALUE = json.JSONDecoder(parse_float=_decimal, parse_constant=_no_number).raw_decode
_WRITE = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":")).encode


def _canonical(data: bytes, *, decimals: bool = False) -> object:
    """The value whose canonical bytes these are.

    Reading is lenient and writing is not: whatever was lost or tolerated on the way in (a duplicate member, white
    space, an order, an escape, a number's spelling, something after the end) makes the written text differ.
    """
    try:
        text = data.decode()
        value, _ = _READ_VALUE(text) if decimals else _READ(text)
        # Python sorts by code points, RFC 8785 by UTF-16 units: for ASCII that is the same.
        written = _WRITE(value) if not decimals and text.isascii() else _spell(value)
    except (ValueError, RecursionError):
        raise _Bad("it is not JSON as Remit writes it") from None
    if written != text:
        raise _Bad("it is not in its canonical spelling")
    return value


def _spell(value: object) -> str:
    """RFC 8785, with integers of 64 bits in full and decimals as they were checked while reading."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{_WRITE(key)}:{_spell(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_spell(item) for item in value) + "]"
    if isinstance(value, _Decimal):
        return str(value)
    if type(value) is int and not _I64_MIN <= value <= _I64_MAX:
        raise _Bad("an integer is outside 64 bits")
    return _WRITE(value)


def _line(line: bytes) -> dict[str, Any]:
    """The object of one line."""
    if len(line) > MAX_LINE:
        raise _Bad(f"it is longer than {MAX_LINE} bytes")
    if not line.endswith(b"\n"):
        raise _Bad("it does not end in a newline: the export is cut off")
    content = _canonical(line[:-1])
    if not isinstance(content, dict):
        raise _Bad("it is not an object")
    return content


def _member(content: dict[str, Any], name: str, names: set[str]) -> str:
    """The text under ``name`` of an object that has exactly these members."""
    if set(content) != names or not _is_text(content[name]):
        raise _Bad(f"it has not exactly the members {', '.join(sorted(names))}")
    return str(content[name])


def _parse_head(line: bytes) -> tuple[str, _Key]:
    """Origin and key of the first line."""
    head = _line(line)
    origin = _member(head, "origin", {"origin", "t", "v", "verifier_key"})
    if head["t"] != "log" or type(head["v"]) is not int or head["v"] != 1:
        raise _Bad("it does not begin an export of version 1")
    return origin, _parse_key(head["verifier_key"])


def _parse_leaf_line(content: dict[str, Any], index: int) -> bytes:
    """The leaf of a line that also has a payload; a line without one has only one spelling and never comes here."""
    number = content.get("i")
    if content.get("t") != "leaf" or type(number) is not int or number != index:
        raise _Bad(f"it is neither event {index}, which comes next, nor a checkpoint")
    return _unbase64(_member(content, "leaf", {"i", "leaf", "payload", "t"}).encode())


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_index(value: object) -> bool:
    return type(value) is int and 0 <= value <= _I64_MAX


def _is_texts(value: object) -> bool:
    return value == [] or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def _is_labels(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"integrity", "confidentiality"}
        and value["integrity"] in ("trusted", "untrusted")
        and _is_texts(value["confidentiality"])
    )


def _is_commit(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(item, str) and _HASH_TEXT.fullmatch(item) is not None for item in value.values()
    )


# Every member that a leaf may have. Another one refuses: it could carry what a leaf must not hold, and a log that is
# newer than this file is better checked with a newer copy of it.
_MEMBERS: Final[dict[str, Callable[[Any], bool]]] = {
    "v": lambda value: type(value) is int and value == 1,
    "k": lambda value: type(value) is int and 1 <= value <= _LAST_KIND,
    "i": _is_index,
    "t": lambda value: type(value) is int and _EARLIEST <= value < _LATEST,
    "org": _is_text,
    "actor": _is_text,
    "codes": _is_texts,
    "agent": _is_text,
    "chain": _is_texts,
    "session": _is_text,
    "call": _is_text,
    "tool": _is_text,
    "fp": _is_text,
    "policy": _is_text,
    "authority": _is_text,
    "decision": lambda value: value in ("allow", "deny", "ask"),
    "intent": _is_index,
    "outcome": lambda value: value in ("done", "failed", "unknown"),
    "labels": _is_labels,
    "about": _is_text,
    "origin": _is_text,
    "key": _is_text,
    "commit": _is_commit,
}
# Most members are text; asking for that first saves a tenth of the whole time.
_TEXTS: Final = frozenset(name for name, check in _MEMBERS.items() if check is _is_text)
_REQUIRED: Final = ("v", "k", "i", "t", "org", "actor", "codes")


def _event(leaf: bytes, index: int) -> dict[str, Any]:
    """(2): a leaf's object, its members known, of their types and complete."""
    if len(leaf) > MAX_LEAF:
        raise _Bad(f"a leaf is at most {MAX_LEAF} bytes")
    value = _canonical(leaf)
    if not isinstance(value, dict):
        raise _Bad("the leaf is not an object")
    for name, member in value.items():
        if name in _TEXTS and type(member) is str and member:
            continue
        check = _MEMBERS.get(name)
        if check is None:
            raise _Bad(f"the leaf has a member {name!r} that version 1 does not know")
        if not check(member):
            raise _Bad(f"the leaf's member {name} is not what it may be")
    for name in _REQUIRED:
        if name not in value:
            raise _Bad(f"the leaf has no member {name}")
    if value["i"] != index:
        raise _Bad(f"the leaf says that it is event {value['i']}")
    return value


def _check_payload(payload: object, commitments: dict[str, str]) -> None:
    """(5): salt and value open the commitment at the same pointer."""
    if not isinstance(payload, dict) or not payload:
        raise _Bad("the payload is not an object with members")
    for pointer, opening in payload.items():
        if pointer not in commitments:
            raise _Bad(f"the leaf commits to nothing at {pointer!r}")
        if not isinstance(opening, dict) or set(opening) != {"salt", "value"}:
            raise _Bad(f"the payload at {pointer!r} is not a salt and a value")
        if not isinstance(opening["salt"], str) or not isinstance(opening["value"], str):
            raise _Bad(f"the payload at {pointer!r} is not base64")
        salt, value = _unbase64(opening["salt"].encode()), _unbase64(opening["value"].encode())
        if len(salt) != _SALT_SIZE:
            raise _Bad(f"the salt at {pointer!r} has not 32 bytes")
        if hashlib.sha256(b"remit/v1\x00" + salt + value).digest() != _unbase64(commitments[pointer].encode()):
            raise _Bad(f"the payload at {pointer!r} is not what the leaf commits to")
        _canonical(value, decimals=True)


def _parse_key(text: object) -> _Key:
    """C2SP signed-note: ``<name>+<8 hex of the key id>+<base64 of 0x01 and the public key>``."""
    name, _, rest = text.partition("+") if isinstance(text, str) else ("", "", "")
    key_id, _, encoded = rest.partition("+")
    data = _unbase64(encoded.encode())
    if not _is_name(name) or len(data) != 1 + _PUBLIC_SIZE or data[0] != 1:
        raise _Bad("a verifier key is not of the form <name>+<key id>+<base64>")
    expected = hashlib.sha256(name.encode() + b"\n" + data).digest()[:_KEY_ID_SIZE]
    if key_id != expected.hex():
        raise _Bad("a verifier key's id is not that of its name and key")
    return _Key(name, expected, f"{name}+{key_id}+{encoded}", Ed25519PublicKey.from_public_bytes(data[1:]))


def _is_name(name: str) -> bool:
    return name != "" and not any(char.isspace() or char < " " or char == "+" for char in name)


def _parse_note(text: str) -> _Note:
    """C2SP tlog-checkpoint in its one spelling, without extension lines."""
    if any(char < " " and char != "\n" for char in text):
        raise _Bad("it holds control characters")
    body, blank, rest = text.rpartition("\n\n")
    lines = body.split("\n")
    if not blank or not rest.endswith("\n") or len(lines) != _NOTE_LINES:
        raise _Bad("it is not origin, size and root, an empty line, and signatures")
    root = _unbase64(lines[2].encode())
    if _COUNT.fullmatch(lines[1]) is None or len(root) != _HASH_SIZE:
        raise _Bad("its size or root is not in the one spelling")
    signatures = tuple(_signature(line) for line in rest[:-1].split("\n"))
    return _Note(f"{body}\n".encode(), lines[0], int(lines[1]), root, signatures)


def _signature(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    blob = _unbase64(encoded.encode())
    if dash != "\u2014" or not _is_name(name) or len(blob) <= _KEY_ID_SIZE:
        raise _Bad("a signature line is not a dash, a name and base64")
    return name, blob


def _unbase64(data: bytes) -> bytes:
    """Base64 in its one spelling: what the decoder tolerates does not survive the way back."""
    try:
        found = binascii.a2b_base64(data)
    except binascii.Error:
        raise _Bad("it is not base64") from None
    if binascii.b2a_base64(found, newline=False) != data:
        raise _Bad("it is not the one spelling of its base64")
    return found


def _given_key(text: str | None) -> _Key | None:
    try:
        return None if text is None else _parse_key(text)
    except _Bad as error:
        raise Unusable(f"the given key: {error}") from None


def _given_checkpoints(texts: Sequence[str]) -> list[_Note]:
    try:
        return [_parse_note(text) for text in texts]
    except _Bad as error:
        raise Unusable(f"a checkpoint seen earlier: {error}") from None


def read_seen(path: Path) -> str:
    """The text of a checkpoint kept earlier: a file that holds it, or the last line of an export.

    Raises ``OSError``, ``Unusable`` for what is longer than any checkpoint or no text.
    """
    with path.open("rb") as file:
        data = file.read(MAX_SEEN + 1)
    if len(data) > MAX_SEEN:
        raise Unusable(f"{path} is longer than a checkpoint can be")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Unusable(f"{path} holds no checkpoint") from None
    if not text.startswith("{"):
        return text
    try:
        content = _line(data if data.endswith(b"\n") else data + b"\n")
        if content.get("t") != "checkpoint":
            raise _Bad("it is not the last line of an export")
        return _member(content, "note", {"note", "t"})
    except _Bad as error:
        raise Unusable(f"{path}: {error}") from None


def bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines, none of them longer in memory than one byte over the bound; a longer one is refused by what reads it."""
    while line := file.readline(MAX_LINE + 1):
        yield line


if __name__ == "__main__":
    sys.exit(main())
