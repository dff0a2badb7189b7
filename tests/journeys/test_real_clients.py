"""Every real server driven by every real client: what they may do is done, and nothing else is.

Six servers as they are published stand behind one served Remit. Before it stand the official Python client, both
generations of the official TypeScript client, and the inspector's command line. What happened is read from the servers'
own stores.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.journeys.real import (
    Desk,
    Seen,
    Visit,
    inspector_visits,
    opened,
    programs,
    python_visits,
    typescript_visits,
)
from tests.journeys.servers import DENIED, Call, RealServer, real_servers

# The first of them installs what is not installed yet.
pytestmark = pytest.mark.timeout(600)

Drive = Callable[[Sequence[Visit]], Awaitable[list[Seen]]]
SERVERS: Final = ("filesystem", "memory", "everything", "git", "time", "sqlite")
DOORS: Final = ("own", "flat")
REVISIONS: Final[Mapping[str, str]] = {
    "python": "2026-07-28",
    "python-legacy": "2025-11-25",
    "typescript-1": "2025-11-25",
    "typescript-2": "2026-07-28",
    "typescript-2-legacy": "2025-11-25",
    "inspector": "",
}


def drive_of(client: str, home: Path) -> Drive:
    """How a client is driven."""
    drives: Mapping[str, Drive] = {
        "python": partial(python_visits, "auto"),
        "python-legacy": partial(python_visits, "legacy"),
        "typescript-1": partial(typescript_visits, "v1", None),
        "typescript-2": partial(typescript_visits, "v2", "auto"),
        "typescript-2-legacy": partial(typescript_visits, "v2", "legacy"),
        "inspector": partial(inspector_visits, home),
    }
    return drives[client]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, RealServer]:
    """All six; skipped where they can't be had (tests/skips.toml)."""
    programs()
    return {server.name: server for server in real_servers(tmp_path_factory.mktemp("stores"))}


@pytest.fixture(scope="module")
def desk(servers: Mapping[str, RealServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A served Remit with all of them under control."""
    with opened(tmp_path_factory.mktemp("remit") / "home") as made:
        for server in servers.values():
            but, when = server.withheld(), server.when
            made.govern(server.name, server.command, server.env, but=but, when=when, shared=True)
        yield made


@dataclass(frozen=True)
class Tour:
    """What one client saw at each server, at its own door and at the one for all."""

    client: str
    own: Mapping[str, Seen]
    flat: Mapping[str, Seen]


@pytest.fixture(scope="module", params=REVISIONS)
def tour(
    request: pytest.FixtureRequest,
    desk: Desk,
    servers: Mapping[str, RealServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Tour:
    """One client at each server's own door, then at the one for all: it works, and tries what is denied or hidden.

    The inspector does not try what it finds in no list; and as it starts anew for each call, it goes to one server only
    through the door for all.
    """
    client, key = str(request.param), desk.new_key("session")
    own, flat = ({name: server.calls(f"{client}-{door}") for name, server in servers.items()} for door in DOORS)
    if client == "inspector":
        own, flat = {name: calls[:-1] for name, calls in own.items()}, {"sqlite": flat["sqlite"][:-1]}
    visits = [Visit(calls, f"{desk.mcp}/{name}", key) for name, calls in own.items()]
    visits += [Visit(_flat(name, calls), desk.mcp, key) for name, calls in flat.items()]
    seen = anyio.run(drive_of(client, tmp_path_factory.mktemp("client")), visits)
    return Tour(client, dict(zip(own, seen, strict=False)), dict(zip(flat, seen[len(own) :], strict=True)))


def _flat(name: str, calls: Sequence[Call]) -> list[Call]:
    return [(f"{name}__{tool}", arguments) for tool, arguments in calls]


@pytest.mark.claim("tool:no-effect-ungranted")
@pytest.mark.parametrize("name", SERVERS)
def test_a_real_client_does_at_a_real_server_what_its_agent_may_and_nothing_else(
    tour: Tour, servers: Mapping[str, RealServer], name: str
) -> None:
    server = servers[name]
    for door, prefix, tour_there in (("own", "", tour.own), ("flat", f"{name}__", tour.flat)):
        if (seen := tour_there.get(name)) is None:
            assert tour.client == "inspector"
            continue
        assert seen.revision == REVISIONS[tour.client]
        assert f"{prefix}{server.granted()}" in seen.tools
        assert f"{prefix}{server.withheld()}" not in seen.tools
        codes = ["policy.denied", "tool.unknown"][: 1 if tour.client == "inspector" else 2]
        worked, refused = seen.calls[: -len(codes)], seen.calls[-len(codes) :]
        assert not any(error for error, _ in worked), worked
        assert server.said in worked[-1][1]
        for (error, said), code in zip(refused, codes, strict=True):
            assert error
            assert code in said
        if server.effects is not None:
            mark = f"{tour.client}-{door}"
            assert [effect for effect in server.effects() if effect.endswith(mark)] == [mark]


@pytest.mark.parametrize("name", SERVERS)
def test_the_same_calls_have_their_effects_where_no_remit_stands_between(
    servers: Mapping[str, RealServer], name: str
) -> None:
    server = servers[name]
    visit = Visit(server.calls("control"), command=server.command, env=server.env)
    [seen] = anyio.run(typescript_visits, "v1", None, [visit])
    assert not any(error for error, _ in seen.calls), seen.calls
    if server.effects is not None:
        found = sorted(effect for effect in server.effects() if effect.endswith("control"))
        changed = {"filesystem": ["moved-control"], "memory": [], "git": ["branch-control", "control"]}
        assert found == sorted([f"{DENIED}-control", *changed.get(name, ["control", "table-control"])])
