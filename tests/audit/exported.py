"""Small logs written with Remit's own parts, so that a test can say what goes wrong with one and let it be verified."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from remit.audit.checkpoint import Signer, sign_checkpoint, signer_from_seed
from remit.audit.commitments import commit_bytes
from remit.audit.tree import Frontier
from remit.core.canonical import Json, b64, canonical

ORIGIN = "localhost:8765/main"
SIGNER = signer_from_seed(ORIGIN, bytes(range(32)))
OTHER_SIGNER = signer_from_seed(ORIGIN, bytes(range(32, 64)))
KEY = SIGNER.verifier_key_text
START = 1_790_000_000_000
SESSION = "ses_0198c0a0jg7x3nqf2v0t5d8m4k"
SALT = bytes(range(100, 132))


def line(content: Mapping[str, Json]) -> bytes:
    """One line of an export."""
    return canonical(content) + b"\n"


def event(kind: int, **members: Json) -> dict[str, Json]:
    """A leaf's members but for index and time; None leaves a member out."""
    plain: dict[str, Json] = {"v": 1, "k": kind, "org": "main", "actor": "per_0198c0a0jg7x3nqf2v0t5d8m4k", "codes": []}
    return {name: value for name, value in (plain | members).items() if value is not None}


def genesis(signer: Signer = SIGNER, **members: Json) -> dict[str, Json]:
    """The first event."""
    return event(1, **({"origin": signer.name, "key": signer.verifier_key_text} | members))


def of_call(kind: int, call: str | None = "c1", **members: Json) -> dict[str, Json]:
    """An event of a call in the one session."""
    return event(kind, **({"session": SESSION, "call": call, "tool": "office/pay_invoice"} | members))


@dataclass
class Export:
    """An export under construction. Leaves are written as given, so a test may also write what Remit never would."""

    signer: Signer = SIGNER
    lines: list[bytes] = field(default_factory=list)
    frontier: Frontier = field(default_factory=Frontier)

    def __post_init__(self) -> None:
        """The first line."""
        key = self.signer.verifier_key_text
        self.lines.append(line({"t": "log", "v": 1, "origin": self.signer.name, "verifier_key": key}))

    def add(self, members: Mapping[str, Json], payload: Mapping[str, bytes] | None = None) -> "Export":
        """One event at the next index; ``payload`` maps pointers to canonical values, committed to under one salt."""
        index = self.frontier.size
        members = {"i": index, "t": START + index} | dict(members)
        if payload:
            members |= {"commit": {pointer: b64(commit_bytes(SALT, value)) for pointer, value in payload.items()}}
        return self.add_bytes(canonical(members), payload)

    def add_bytes(self, leaf: bytes, payload: Mapping[str, bytes] | None = None) -> "Export":
        """A leaf of any bytes."""
        content: dict[str, Json] = {"t": "leaf", "i": self.frontier.size, "leaf": b64(leaf)}
        if payload:
            content["payload"] = {at: {"salt": b64(SALT), "value": b64(value)} for at, value in payload.items()}
        self.lines.append(line(content))
        # Not leaf_hash(): that refuses a leaf which is too large.
        self.frontier = self.frontier.append(hashlib.sha256(b"\0" + leaf).digest())
        return self

    def note(self, signers: Sequence[Signer] = ()) -> str:
        """A checkpoint over what is there, signed by the export's signer or by these."""
        first, *others = signers or [self.signer]
        text = sign_checkpoint(first.name, self.frontier.size, self.frontier.root(), first)
        body = text[: text.rindex("\n\n") + 1]
        return text + "".join(one.sign(body.encode()) for one in others)

    def checkpoint(self, signers: Sequence[Signer] = ()) -> "Export":
        """The checkpoint line."""
        self.lines.append(line({"t": "checkpoint", "note": self.note(signers)}))
        return self


def export_of(events: Iterable[Mapping[str, Json]]) -> list[bytes]:
    """The lines of a log of these events under one checkpoint."""
    export = Export()
    for one in events:
        export.add(one)
    return export.checkpoint().lines


def ten_events() -> Export:
    """A log of ten events and two checkpoints: three calls, one of them settled later, one still unknown."""
    export = Export().add(genesis()).add(event(10, about="agt_0198c0a0jg7x3nqf2v0t5d8m4k"))
    export.add(of_call(62, decision="allow"), {"/arguments": b'{"amount":12.5,"to":"Zo\xc3\xab"}'})
    export.add(of_call(66, intent=2, codes=["result.redacted"])).checkpoint()
    export.add(of_call(63, intent=2, outcome="done", labels={"integrity": "untrusted", "confidentiality": ["finance"]}))
    export.add(of_call(62, "c2", decision="allow")).add(of_call(62, "c3", decision="allow"))
    export.add(of_call(64, "c2", intent=5, outcome="unknown")).add(of_call(64, "c3", intent=6, outcome="unknown"))
    return export.add(of_call(65, "c2", intent=5, outcome="failed")).checkpoint()


def content_of(text: bytes) -> dict[str, Json]:
    """The object of a line, for a test that changes it."""
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def leaf_of(text: bytes) -> bytes:
    """The leaf bytes of a line."""
    return base64.b64decode(str(content_of(text)["leaf"]))
