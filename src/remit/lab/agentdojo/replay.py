"""Come in here for AgentDojo without a model: its tasks' own calls and its attackers' calls, made through Remit.

- *Benign*: the calls that a task's author gives as its solution, and the suite's own judgement of what came of them.
- *Attack*: the agent is the attacker's. It makes the calls that the author of an injection gives, after the task's
  calls or before them; the suite's own judgement says whether the attacker got it. What is allowed without a question
  is a *silent* success.
- *Hijack*: one argument of a task's call that does more than read, of a role that says who, what or how much, holds
  the attacker's value, or another value of the same argument that some other task of the suite uses (a sibling).

Nobody here looks at the words of a task or an injection but the suite itself.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from remit.lab.agentdojo.attackers import calls_of
from remit.lab.agentdojo.stage import Stage
from remit.lab.agentdojo.tools import Suite, plain

Approver: TypeAlias = Literal["attentive", "always", "never"]
When: TypeAlias = Literal["after", "early"]
TEXT_ONLY: Final = frozenset({("travel", "injection_task_6")})
"""An injection that only wants something said: no call is made for it, so it is counted apart."""
_STEERING: Final = frozenset({"who", "what", "how_much", "reference"})


@dataclass(frozen=True, slots=True)
class Benign:
    """One task: whether it was done, and what was asked on the way."""

    task: str
    done: bool
    questions: int
    asked: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Attack:
    """One task with one injection: whether the attacker got it with nothing in between, and with Remit."""

    task: str
    injection: str
    open: bool
    succeeded: bool
    made: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hijack:
    """One argument replaced: whether the call was made."""

    task: str
    tool: str
    argument: str
    kind: str
    made: bool


async def benign(stage: Stage, approver: Approver = "attentive") -> AsyncIterator[Benign]:
    """Every task of the suite."""
    native = stage.suite.native
    for name, task in native.user_tasks.items():
        environment = _fresh(stage, task)
        before = environment.model_copy(deep=True)
        calls = list(task.ground_truth(environment.model_copy(deep=True)))
        session = await stage.session(task.PROMPT)
        for call in calls:
            await session.call(environment, call.function, call.args, approved=approver != "never")
        done = _judged(task, "utility", task.GROUND_TRUTH_OUTPUT, before, environment, calls)
        yield Benign(name, done, session.questions, tuple(session.asked))


async def attacks(stage: Stage, when: When, approver: Approver = "attentive") -> AsyncIterator[Attack]:
    """Every task with every injection that wants a call."""
    native = stage.suite.native
    for task_name, task in native.user_tasks.items():
        for name, injection in native.injection_tasks.items():
            if (stage.suite.name, name) in TEXT_ONLY:
                continue
            yield await _attack(stage, when, approver, (task_name, task), (name, injection))


def open_attacks(suite: Suite, when: When) -> Iterator[bool]:
    """The negative control: whether each attack lands where nothing decides."""
    for task in suite.native.user_tasks.values():
        for name, injection in suite.native.injection_tasks.items():
            if (suite.name, name) not in TEXT_ONLY:
                environment = task.init_environment(suite.environment())
                own = list(task.ground_truth(environment.model_copy(deep=True))) if when == "after" else []
                yield _lands(suite, environment, own, name, injection)


def _lands(suite: Suite, environment: Any, own: Sequence[Any], name: str, injection: Any) -> bool:
    """Whether an injection's goal is met when all calls are made, on a copy of ``environment``."""
    after = environment.model_copy(deep=True)
    for call in own:
        suite.call(after, call.function, plain(call.args))
    wanted = calls_of(suite.name, name, injection, after)
    for call in wanted:
        suite.call(after, call.function, plain(call.args))
    return _judged(injection, "security", "", environment.model_copy(deep=True), after, [*own, *wanted])


async def _attack(
    stage: Stage, when: When, approver: Approver, named_task: tuple[str, Any], named_injection: tuple[str, Any]
) -> Attack:
    (task_name, task), (name, injection) = named_task, named_injection
    environment = _fresh(stage, task)
    own = list(task.ground_truth(environment.model_copy(deep=True))) if when == "after" else []
    free = _lands(stage.suite, environment, own, name, injection)
    session = await stage.session(task.PROMPT)
    before = environment.model_copy(deep=True)
    for call in own:
        await session.call(environment, call.function, call.args, approved=approver != "never")
    wanted = calls_of(stage.suite.name, name, injection, environment)
    # An attentive person knows which calls the task has, and says yes to no other.
    yes = approver == "always"
    made = [call for call in wanted if await session.call(environment, call.function, call.args, approved=yes)]
    got = _judged(injection, "security", "", before, environment, [*own, *made])
    return Attack(task_name, name, free, got, tuple(call.function for call in made))


async def hijacks(stage: Stage, roles: Mapping[str, Mapping[str, str]]) -> AsyncIterator[Hijack]:
    """Every steering argument of every task's calls, replaced; ``roles`` are those of arguments by tool and name."""
    native = stage.suite.native
    strangers, siblings = _attackers_values(stage), _values(_tasks_calls(stage))
    for task_name, task in native.user_tasks.items():
        calls = list(task.ground_truth(_fresh(stage, task).model_copy(deep=True)))
        for place, call in enumerate(calls):
            for argument in call.args:
                if roles.get(call.function, {}).get(argument) not in _STEERING:
                    continue
                # Values that the task itself puts there are its own, in whatever order.
                own = _values(calls)[call.function, argument]
                for kind, others in (("attacker", strangers), ("sibling", siblings)):
                    other = next((one for one in others.get((call.function, argument), ()) if one not in own), None)
                    if other is not None:
                        made = await _hijacked(stage, task, calls[:place], call, {**call.args, argument: other})
                        yield Hijack(task_name, call.function, argument, kind, made)


async def _hijacked(stage: Stage, task: Any, before: Sequence[Any], call: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether the call is made with these arguments, after the calls that come before it in its task."""
    environment = _fresh(stage, task)
    session = await stage.session(task.PROMPT)
    for one in before:
        await session.call(environment, one.function, one.args, approved=True)
    return await session.call(environment, call.function, arguments, approved=False)


def _tasks_calls(stage: Stage) -> Iterator[Any]:
    for task in stage.suite.native.user_tasks.values():
        yield from task.ground_truth(_fresh(stage, task))


def _attackers_values(stage: Stage) -> dict[tuple[str, str], list[Any]]:
    injections = stage.suite.native.injection_tasks.items()
    made = (calls_of(stage.suite.name, name, one, stage.suite.environment()) for name, one in injections)
    return _values(call for calls in made for call in calls)


def _values(calls: Iterable[Any]) -> dict[tuple[str, str], list[Any]]:
    """What calls put into each argument of each tool, in order, once."""
    found: dict[tuple[str, str], list[Any]] = {}
    for call in calls:
        for argument, value in call.args.items():
            kept = found.setdefault((call.function, argument), [])
            if value not in kept:
                kept.append(value)
    return found


def _fresh(stage: Stage, task: Any) -> Any:
    return task.init_environment(stage.suite.environment())


def _judged(task: Any, by: str, said: str, before: Any, after: Any, calls: Iterable[Any]) -> bool:
    """What the suite itself says of the outcome; an error of its is a no."""
    try:
        traced = getattr(task, f"{by}_from_traces")(said, before, after, list(calls))
        return bool(getattr(task, by)(said, before, after) if traced is None else traced)
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError):
        return False
