"""A call that is at its server when the switch is thrown: its client is told that it was stopped, and nothing else."""

import pytest

from remit.services import agents, sessions
from tests.simulators import Request
from tests.web.house import House, answered, refused, text_of

pytestmark = pytest.mark.anyio

SECRET = b'{"content":[{"type":"text","text":"the combination is 1-2-3-4"}]}'
ERROR = b'{"code":-32000,"message":"the combination is 1-2-3-4"}'


async def kill(house: House, name: str) -> None:
    """Throw the switch."""
    if name == "agent":
        await agents.kill(house.world.deps, house.world.admin, "bookkeeper", "leak")
    else:
        await sessions.kill(house.world.deps, house.world.admin, house.session, "leak")


@pytest.mark.claim("kill:nothing-in-flight-is-shown")
@pytest.mark.parametrize("name", ["agent", "session", "none"])
@pytest.mark.parametrize("answers", ["result", "error"])
async def test_neither_a_result_nor_an_error_of_a_killed_call_reaches_its_client(
    house: House, name: str, answers: str
) -> None:
    """The switch is thrown while the server works. Where it is not, the client is shown what came: the control."""

    async def during(request: Request) -> bytes:
        if name != "none":
            await kill(house, name)
        return answered(request, SECRET) if answers == "result" else refused(request, ERROR)

    house.upstream.on_call = during
    shown = text_of(await house.call("office__read_mail", {"id": "m1"}))
    assert ("combination" in shown) is (name == "none")
    kinds = await house.world.kinds()
    assert kinds.count(67) == (name != "none")
    assert kinds.count(63) == 1, "and its outcome is recorded all the same"
    if name != "none":
        assert "killed" in shown
