"""Come in here for what ``remit doctor`` looks at: each check says what it found and how to put it right."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from remit.cli.commands import Invocation
from remit.cli.connection import as_person, check_home, live_url, load_settings, person_key
from remit.cli.observing import still_observing
from remit.core.errors import RemitError
from remit.sdk.client import Document, RemitClient

_OTHERS: Final = 0o077
_SHOWN: Final = 3


async def look_over(job: Invocation) -> list[Document]:
    """Every check, in the order in which one depends on another; it ends early where the next would only repeat."""
    try:
        check_home(job.home)
    except RemitError as error:
        return [_failed("home", error)]
    checks = [_check("home", ok=True, found=str(job.home)), _modes(job.home), _settings(job.home), _key(job.home)]
    if not all(check["ok"] for check in checks):
        return checks
    try:
        async with as_person(job) as client:
            checks += await _inside(client)
    except RemitError as error:
        return [*checks, _failed("store", error)]
    except Exception as error:  # noqa: BLE001  # a home too broken to be opened is a finding, and no fault of ours
        found = f"can't be opened: {type(error).__name__}: {error}"
        return [*checks, _check("store", ok=False, found=found, fix=f"Restore {job.home} from your copy of it.")]
    url = await live_url(job.home)
    return [*checks, _check("server", ok=True, found=f"serves at {url}" if url else "not running")]


async def _inside(client: RemitClient) -> list[Document]:
    """What only Remit itself can tell: store, log, lost calls, upstreams."""
    found = await client.status()
    health, counts = found["health"], found["counts"]
    store = _check("store", ok=health["ok"], found=health["reason"] or "opens and answers", fix="Mend what it names.")
    lines = (await client.checkpoint()).splitlines()
    # C2SP checkpoint: origin, size, root hash, blank, signatures. Whole proof: `remit audit verify`.
    signed = len(lines) > _SHOWN and lines[1].isdigit()
    told = f"{lines[0]}, {lines[1]} events signed; `remit audit verify` checks each" if signed else "no signed head"
    log = _check("log", ok=signed, found=told, fix="Keep a copy of the home, then `remit audit verify`.")
    unknown = counts.get("unknown", 0)
    calls = _check("calls", ok=not unknown, found=f"{unknown} unknown", fix="`remit audit unknown` lists them.")
    watched = [
        agent for agent in await client.listing("agents") if agent.get("attention") and agent["state"] != "draft"
    ]
    living = [server for server in await client.listing("servers") if server.get("state") != "retired"]
    warnings = (check for server in living for check in _warnings(server))
    return [store, log, calls, *map(_agent, watched), *map(_server, living), *warnings]


def _agent(agent: Document) -> Document:
    """An agent that nobody owns any more, or whose review is due."""
    name = str(agent["name"])
    if "orphan" in agent["attention"]:
        fix = f"`remit person depart` with --to, or `remit agent retire {name}`."
        return _check(f"agent:{name}", ok=False, found="no active person owns it, so it is refused everything", fix=fix)
    found = f"to be reviewed by {agent['review_by']}; from then on it is refused everything"
    return _check(f"agent:{name}", ok=False, found=found, fix=f"Look at it, then `remit agent review {name}`.")


def _warnings(server: Document) -> Iterator[Document]:
    """What is meant to be so and is no protection all the same, and how the server answered of late."""
    name, health = str(server["name"]), server.get("health")
    if still_observing(server):
        fix = f"`remit server observed {name}`, grant what is needed, then `remit server observe {name} --off`."
        found = f"observe mode until {server['observe']['until']}: what would be refused is let through"
        yield _check(f"observe:{name}", ok=False, found=found, fix=fix)
    if server.get("insecure") is True:
        fix = f"Use https, and `remit server change` without insecure for {name}."
        found = "plain http: everyone on the way can read and change every call"
        yield _check(f"insecure:{name}", ok=False, found=found, fix=fix)
    if isinstance(health, dict) and health.get("state") in ("failing", "resting"):
        found = f"{health['failures']} failures in a row, the last: {health.get('failure')}"
        yield _check(f"health:{name}", ok=False, found=found, fix=f"`remit server check {name}` says what to do.")


def _server(server: Document) -> Document:
    name, state = str(server["name"]), server.get("state")
    if server.get("caller") or server.get("seen"):
        fix = f"Look at `remit server list`, then `remit server approve {name}`."
        return _check(f"server:{name}", ok=state == "active", found=str(state), fix=fix)
    return _check(f"server:{name}", ok=False, found="never reached", fix=f"`remit server sync {name}`.")


def _modes(home: Path) -> Document:
    """Nothing in a home is for anybody but its owner."""
    loose = sorted(str(path.relative_to(home)) or "." for path in _kept(home) if _open_to_others(path))
    shown = ", ".join(loose[:_SHOWN]) + (f" and {len(loose) - _SHOWN} more" if len(loose) > _SHOWN else "")
    found = f"others may enter or read {shown}" if loose else "for its owner only"
    return _check("permissions", ok=not loose, found=found, fix=f"chmod -R go-rwx {home}")


def _kept(home: Path) -> Iterator[Path]:
    """What must be closed: the home itself, its store, and every key within. A closed home closes the rest."""
    yield home
    yield from home.glob("remit.db*")
    for folder in (home / "keys", home / "subjects"):
        if folder.is_dir():
            yield folder
            yield from (path for path in folder.iterdir() if path.name != "log.vkey")


def _open_to_others(path: Path) -> bool:
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & _OTHERS)
    except OSError:
        return False


def _settings(home: Path) -> Document:
    try:
        load_settings(home)
    except RemitError as error:
        return _failed("settings", error)
    return _check("settings", ok=True, found="valid")


def _key(home: Path) -> Document:
    try:
        person_key(home)
    except RemitError as error:
        return _failed("person-key", error)
    return _check("person-key", ok=True, found=str(home / "keys" / "person.key"))


def _failed(name: str, error: RemitError) -> Document:
    return _check(name, ok=False, found=error.detail, fix=error.hint)


def _check(name: str, *, ok: bool, found: str, fix: str = "") -> Document:
    return {"id": name, "ok": ok, "found": found, "fix": None if ok else fix}
