"""Come in here for how a command reaches Remit: one client, whether a server runs or not.

When ``run/server.json`` in the home names a process that lives and answers, the client speaks HTTP to it. Otherwise the
same application is opened here, over an in-memory transport. Both write through the same services to one log, so no
command knows which of the two it got.

Credentials: a person's commands use the local person key that ``init`` made. A host's and an agent's commands use what
they are given and never fall back on the person key, because a person's word is not an agent's.
"""

import contextlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import httpx
from pydantic import ValidationError

from remit import settings, wiring
from remit.cli.commands import Invocation
from remit.core.errors import (
    BadInput,
    Forbidden,
    InvalidDocument,
    Malformed,
    NotFound,
    StoreUnavailable,
    Unauthenticated,
)
from remit.sdk.answers import read_json
from remit.sdk.client import TIMEOUT, RemitClient
from remit.storage.instances import alive

Clients: TypeAlias = Callable[[str], RemitClient]
"""What makes a client for a credential; whoever asks for one closes it."""

_LOCAL: Final = "http://localhost"
_PROBE_SECONDS: Final = 2.0
_MAX_KEY: Final = 8_192
_OTHERS: Final = 0o077

HOST_KEY: Final = "REMIT_HOST_KEY"
SESSION_TOKEN: Final = "REMIT_SESSION_TOKEN"  # noqa: S105  # the name of a variable


@contextlib.asynccontextmanager
async def as_person(job: Invocation, email: str | None = None) -> AsyncIterator[RemitClient]:
    """A client for the holder of the local person key. Raises ``NotFound``, ``Forbidden``, ``Unauthenticated``."""
    check_home(job.home)
    async with connect(job.home, person_key(job.home, email)) as client:
        yield client


@contextlib.asynccontextmanager
async def as_host(job: Invocation, key_file: Path | None) -> AsyncIterator[RemitClient]:
    """A client for a host key from ``key_file`` or the environment. Raises ``Unauthenticated`` without one."""
    check_home(job.home)
    key = host_key(key_file)
    if key is None:
        raise no_host_key()
    async with connect(job.home, key) as client:
        yield client


@contextlib.asynccontextmanager
async def as_session(job: Invocation, token: str | None) -> AsyncIterator[RemitClient]:
    """A client for a session token or session key. Raises ``Unauthenticated`` without one."""
    check_home(job.home)
    found = (token or os.environ.get(SESSION_TOKEN, "")).strip()
    if not found:
        raise Unauthenticated(
            "this needs a session token, and a person's key does not stand in for it",
            hint=f"Start a session with `remit session start --agent NAME`, then give its token in {SESSION_TOKEN} "
            "or with --token. The host key for that comes from `remit key create --for host`.",
        )
    async with connect(job.home, found) as client:
        yield client


@contextlib.asynccontextmanager
async def connect(home: Path, credential: str) -> AsyncIterator[RemitClient]:
    """A client to the live server of this home, or to the application opened in this process."""
    async with reached(home) as clients, clients(credential) as client:
        yield client


@contextlib.asynccontextmanager
async def reached(home: Path, timeout: float = TIMEOUT, *, lasting: bool = False) -> AsyncIterator[Clients]:
    """Clients, all of them to the live server of this home, or to one application opened in this process.

    ``timeout`` is how many seconds a live server may be silent. ``lasting`` is for who stays: an application opened
    here then also does what a server does now and then.
    """
    url = await live_url(home)
    if url is not None:
        yield partial(RemitClient, url, timeout=timeout)
        return
    async with wiring.open_remit(home, load_settings(home)) as remit:
        transport = httpx.ASGITransport(app=remit.app, raise_app_exceptions=False)
        async with wiring.chores(remit) if lasting else contextlib.nullcontext():
            yield partial(RemitClient, _LOCAL, transport=transport)


async def live_url(home: Path) -> str | None:
    """Where this home's server listens, if it lives; a left-over note of a dead one counts for nothing."""
    try:
        facts = read_json((home / "run" / "server.json").read_bytes())
    except (OSError, Malformed):
        return None
    url, pid = (facts.get("url"), facts.get("pid")) if isinstance(facts, dict) else (None, None)
    if not isinstance(url, str) or not isinstance(pid, int) or not _lives(home / "run", pid):
        return None
    async with RemitClient(url, None, timeout=_PROBE_SECONDS) as client:
        return url if await client.healthy() else None


def check_home(home: Path) -> None:
    """Pass if there is a home here that this user can use. Raises ``NotFound``, ``StoreUnavailable``."""
    hint = "Make one with `remit init`, or name another with --home or REMIT_HOME."
    try:
        found = (home / "home.json").is_file()
    except PermissionError:
        found = False
    if found and os.access(home, os.R_OK | os.W_OK | os.X_OK):
        return
    with contextlib.suppress(OSError):
        if home.is_dir() and not os.access(home, os.R_OK | os.W_OK | os.X_OK):
            raise StoreUnavailable(f"{home} can't be used by this user", hint=f"Run as its owner, or chmod 700 {home}.")
    raise NotFound(f"{home} is not a Remit home", hint=hint)


def load_settings(home: Path) -> settings.Settings:
    """The settings of a home. Raises ``InvalidDocument`` naming the first member that is wrong."""
    hint = f"Correct {home / 'remit.toml'} or the REMIT_ variable of that name."
    try:
        return settings.load(home)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        member = ".".join(str(part) for part in first["loc"])
        raise InvalidDocument(f"setting {member}: {first['msg']}", hint=hint) from error
    except ValueError as error:  # not TOML at all
        raise InvalidDocument(f"{home / 'remit.toml'} is not TOML: {error}", hint=hint) from error


def host_key(key_file: Path | None) -> str | None:
    """The host key from ``key_file``, else from the environment; None where neither holds one."""
    return read_key(key_file) if key_file is not None else os.environ.get(HOST_KEY, "").strip() or None


def no_host_key() -> Unauthenticated:
    """What is said where a host key is needed and there is none."""
    return Unauthenticated(
        "this needs a host key, and a person's key does not stand in for it",
        hint=f"Make one with `remit key create --agent NAME --for host --expires P30D`, then give it in {HOST_KEY} "
        "or with --key-file FILE.",
    )


def person_key(home: Path, email: str | None = None) -> str:
    """The local person key, or, with ``email``, the one that was put beside it as ``keys/<email>.key``."""
    folder = home / "keys"
    wanted = "person.key" if email is None else f"{email}.key"
    try:
        there = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise StoreUnavailable(f"{folder} can't be read: {error.strerror}", hint="Run `remit doctor`.") from error
    if wanted not in there:  # held against a listing: an address may hold a slash, a file name may not
        raise Unauthenticated(
            f"there is no person key {wanted} in {folder}",
            hint="The key that `remit init` made is used when --as is left out.",
        )
    return read_key(folder / wanted)


def read_key(path: Path) -> str:
    """A key from a file that only its owner may read. Raises ``Forbidden`` for one that others may."""
    try:
        mode = path.stat().st_mode
        text = path.read_bytes()[: _MAX_KEY + 1]
    except FileNotFoundError as error:
        raise NotFound(f"there is no key file {path}", hint="Check the path.") from error
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}", hint="Check who owns it.") from error
    if stat.S_ISREG(mode) and mode & _OTHERS:
        hint = f"chmod 600 {path}; if it has been seen, make a new one."
        raise Forbidden(f"others may read the key in {path}", hint=hint)
    key = text.decode("ascii", "replace").strip()
    if not key or len(text) > _MAX_KEY:
        raise BadInput(f"{path} holds no key", hint="It holds one key on one line.")
    return key


def _lives(run: Path, pid: int) -> bool:
    """Whether the process of this number still holds its lock in this home.

    A number alone may have been given to another process since, and its port to a stranger who would be sent our key.
    """
    return any(alive(run, path.stem) for path in run.glob(f"i-{pid}-*.lock"))
