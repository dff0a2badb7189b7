"""Which messages of a server may be shown before its answer: progress and log messages, checked one by one.

A frame is parsed strictly and built anew from the members that the protocol names; nothing else of it is passed on.
The token of progress towards a server is one of ours and is put back here, so no server learns the client's own or
speaks on another call. Our credentials are taken out. Whatever is not as it should be is dropped and counted; the call
goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, TypeGuard

from remit.core.canonical import Json, canonical
from remit.core.errors import BadInput
from remit.gateway import wire
from remit.guards.json_in import JsonLimits, as_json, parse
from remit.guards.secrets import KnownSecrets, redact_known

PROGRESS: Final = "notifications/progress"
LOG: Final = "notifications/message"
LEVEL: Final = "io.modelcontextprotocol/logLevel"
TOKEN: Final = "progressToken"  # noqa: S105 - the protocol's word, no credential
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
MOST_FRAMES: Final = 1_000
"""Frames of one call that are looked at; what comes after them is only counted."""
MOST_BYTES: Final = 262_144
"""Bytes of one call's frames that are shown, and so kept for an auditor."""
FRAME_LIMITS: Final = JsonLimits(max_bytes=16_384, max_depth=32, max_values=2_000)
_MAX_TOKEN: Final = 1_024
# Members of `_meta` in which only the protocol's next neighbour, or Remit, speaks.
_NOT_THEIRS: Final = ("remit/", "io.modelcontextprotocol/")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asked to be told while its call is under way. ``level`` is a place in ``LEVELS``."""

    token: str | int | None
    level: int | None


def wanted(request: wire.Request, accept: str) -> Wanted | None:
    """What this client asked for and can be told; None for nothing. Only stateless ones ask for log messages."""
    meta = request.meta
    if TOKEN not in meta and LEVEL not in meta:
        return None
    token, level = meta.get(TOKEN), meta.get(LEVEL)
    if not isinstance(token, (str, int)) or isinstance(token, bool) or len(as_json(token)) > _MAX_TOKEN:
        token = None
    known = request.terms.stateless and isinstance(level, str) and level in LEVELS
    asked = Wanted(token, LEVELS.index(str(level)) if known else None)
    return asked if asked != Wanted(None, None) and takes_events(accept) else None


def takes_events(accept: str) -> bool:
    """Whether an ``Accept`` header names event streams; what it would take for want of anything else is not enough."""
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        if kind == "text/event-stream":
            return not any(one.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for one in parameters)
    return False


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as it may be shown: its bytes, and what of it an auditor reads."""

    raw: bytes
    kept: Json


@dataclass(slots=True)
class FrameCheck:
    """The frames of one call. ``token`` is the one that its server was given."""

    wanted: Wanted
    token: int | None
    secrets: KnownSecrets | None
    dropped: int = 0
    _seen: int = 0
    _size: int = 0
    _progress: int | Decimal | None = field(default=None)

    def checked(self, data: bytes) -> Frame | None:
        """The frame in these bytes as it may be shown; None for one that is not, which is counted."""
        self._seen += 1
        frame = self._built(data) if self._seen <= MOST_FRAMES and self._size < MOST_BYTES else None
        # As the log keeps it: `1e-300` is six bytes here and 302 there.
        size = len(canonical(frame.kept)) if frame is not None else 0
        if frame is None or self._size + size > MOST_BYTES:
            self.dropped += 1
            return None
        self._size += size
        return frame

    def _built(self, data: bytes) -> Frame | None:
        try:
            message = parse(data, FRAME_LIMITS)
        except BadInput:
            return None
        params = message.get("params") if isinstance(message, Mapping) else None
        if not isinstance(message, Mapping) or not isinstance(params, Mapping) or "id" in message:
            return None
        if message.get("method") == PROGRESS:
            return self._redacted(PROGRESS, self._progress_params(params))
        if message.get("method") == LOG:
            return self._redacted(LOG, self._log_params(params))
        return None

    def _progress_params(self, params: Mapping[str, Json]) -> dict[str, Json] | None:
        token, progress, total = params.get(TOKEN), params.get("progress"), params.get("total")
        if self.token is None or isinstance(token, bool) or token != self.token:
            return None
        if not _is_number(progress) or not (total is None or _is_number(total)):
            return None
        if self._progress is not None and progress <= self._progress:
            return None
        message = params.get("message")
        if not (message is None or isinstance(message, str)):
            return None
        self._progress = progress
        found: dict[str, Json] = {TOKEN: self.wanted.token, "progress": progress}
        found |= {name: value for name, value in (("total", total), ("message", message)) if value is not None}
        return found | _meta(params)

    def _log_params(self, params: Mapping[str, Json]) -> dict[str, Json] | None:
        level, logger = params.get("level"), params.get("logger")
        if self.wanted.level is None or not isinstance(level, str) or level not in LEVELS or "data" not in params:
            return None
        if LEVELS.index(level) < self.wanted.level or not (logger is None or isinstance(logger, str)):
            return None
        named: dict[str, Json] = {} if logger is None else {"logger": logger}
        return {"level": level, **named, "data": params["data"], **_meta(params)}

    def _redacted(self, method: str, params: dict[str, Json] | None) -> Frame | None:
        if params is None:
            return None
        message: Json = {"jsonrpc": "2.0", "method": method, "params": params}
        raw = as_json(message)
        if self.secrets is not None:
            raw, count = redact_known(raw, self.secrets)
            if count:
                try:
                    message = parse(raw, FRAME_LIMITS)
                except BadInput:
                    return None
        return Frame(raw, message)


def _meta(params: Mapping[str, Json]) -> dict[str, Json]:
    """``_meta`` without what stands there in Remit's name or in the protocol's."""
    meta = params.get("_meta")
    if not isinstance(meta, Mapping):
        return {}
    theirs = {name: value for name, value in meta.items() if not name.startswith(_NOT_THEIRS)}
    return {"_meta": theirs} if theirs else {}


def _is_number(value: Json) -> TypeGuard[int | Decimal]:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)
