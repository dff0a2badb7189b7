"""Under whose key the private values of an event are kept: the person whom the work is for, else the agent's owner.

INVARIANT: all values of one call are sealed for one person, so that erasing that person reaches every one of them.
"""

from remit.core.agents import Agent
from remit.core.ports import Unit
from remit.core.sessions import Session


def subject(session: Session, agent: Agent | None) -> str:
    """The person behind a session run by ``agent``; the agent's own id only where it has no owner left."""
    return session.principal or (agent.owner if agent else None) or session.agent


async def subject_of(unit: Unit, session: Session) -> str:
    """The same, where the agent is still to be read."""
    return subject(session, await unit.nouns.get(Agent, session.agent))


async def owner_of(unit: Unit, agent_id: str) -> str:
    """The owner of an agent, or the agent's own id where it is unknown or has none."""
    agent = await unit.nouns.get(Agent, agent_id)
    return (agent.owner if agent else None) or agent_id
