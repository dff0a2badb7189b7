"""What the rules of flow cost alone: deciding and learning in process, over more and more values, and hostile results.

    python bench/flow.py

``flow.decide`` is ``misses`` on a payment whose every value is looked up; ``flow.learn`` makes the lesson of ten
records and folds it. The figures are CPU microseconds a call, and beside each size how it compares with the smallest.
``flow.hostile`` doubles the size of results that are made to be slow: learning may double with it, deciding may not.
"""

import json
import sys
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from time import process_time_ns
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from remit.core.sessions import Segment
from remit.core.tools import ArgumentReview, FieldReview, OutputReview, RecordsReview, ToolReview
from remit.core.values import EMAIL, Atom
from remit.guards.json_in import parse
from remit.policy.demands import endorsed_by, misses
from remit.policy.lessons import lesson
from remit.policy.memory import Memory
from remit.policy.task import Task

SIZES: Final = (50, 500, 5_000, 19_000)
ROUNDS: Final = 300
OURS: Final = "DE89370400440532013000"
TASK: Final = (
    f"Pay the bill Acme March to {OURS}, 10 EUR, on 2031-05-06. Send ann@corp.test the largest one, and 19 % of it."
)
FIELDS: Final = {
    "id": ("system", "invoice"),
    "title": ("anyone", "text"),
    "payee": ("system", "iban"),
    "total": ("system", "money"),
}


def review(name: str, **members: Any) -> ToolReview:
    """A review with the usual members."""
    usual: dict[str, Any] = {
        "org": "main", "id": name, "tool": f"office/{name}", "fingerprint": "", "effect": "read", "arguments": {},
        "output": OutputReview(), "mints": {}, "discloses": (), "limits": (), "reversible": False, "inverse": None,
        "intent": ("pay",), "idempotency": None, "reconcile": None, "reviewed_by": "", "reviewed_at": 0,
    }  # fmt: skip
    return ToolReview(**{**usual, **members})


PAY: Final = review(
    "pay",
    effect="spend",
    arguments={
        "/to": ArgumentReview(role="who", type="iban"),
        "/amount": ArgumentReview(role="how_much", type="money"),
        "/invoice": ArgumentReview(role="reference", type="invoice"),
        "/note": ArgumentReview(role="free_text"),
    },
)
READ: Final = review(
    "invoices",
    output=OutputReview(
        form="structured",
        fields={
            f"/items/*/{name}": FieldReview(writer=writer, type=kind, naming=name == "title")  # type: ignore[arg-type]
            for name, (writer, kind) in FIELDS.items()
        },
        records=RecordsReview(at="/items/*", id="/items/*/id", listing="anyone"),
    ),
)
CALL: Final[dict[str, Any]] = {
    "to": "GB33BUKB20201555555555",
    "amount": Decimal("77.5"),
    "invoice": "i7",
    "note": "see it",
}


def rows(start: int, count: int, title: str = "Other bill") -> dict[str, Any]:
    """So many invoices, each another."""
    listed = [
        {"id": f"i{at}", "title": title, "payee": f"DE{at:020d}", "total": at % 900 + 1}
        for at in range(start, start + count)
    ]
    return {"content": [], "structuredContent": {"items": listed}}


def learn(memory: Memory, result: dict[str, Any], call: str) -> None:
    """One finished read."""
    memory.learn(
        lesson(
            call, READ, {}, result, task=memory.task, endorsed=endorsed_by(memory, READ, {}), targets=(), parse=parse
        )
    )


def filled(values: int) -> Memory:
    """A memory of so many values, three to a record."""
    memory = Memory(Task([Segment(TASK, "principal")], [Atom(EMAIL, "me@corp.test")]))
    for start in range(0, max(values // 3, 1), 100):
        learn(memory, rows(start, min(100, values // 3 - start)), f"c{start}")
    return memory


def microseconds(work: Callable[[int], object], rounds: int) -> float:
    """CPU a round, the least of three goes."""
    found = []
    for _ in range(3):
        began = process_time_ns()
        for at in range(rounds):
            work(at)
        found.append((process_time_ns() - began) / rounds / 1_000)
    return min(found)


def flow_rows() -> list[dict[str, Any]]:
    """The table."""
    out: list[dict[str, Any]] = []
    first: dict[str, float] = {}
    for size in SIZES:
        memory = filled(size)
        costs = {
            "flow.decide": microseconds(partial(_decide, memory), ROUNDS),
            "flow.learn ten records": microseconds(partial(_learn_more, memory), ROUNDS // 10),
        }
        for name, cost in costs.items():
            first.setdefault(name, cost)
            out.append(
                {"name": name, "values": size, "cpu_us": round(cost, 1), "of_first": round(cost / first[name], 2)}
            )
    for name, make in HOSTILE.items():
        for count in (1_000, 2_000, 4_000):
            memory = filled(50)
            began = process_time_ns()
            learn(memory, make(count), "h")
            learned = (process_time_ns() - began) / 1_000
            decided = microseconds(partial(_decide, memory), 20)
            sizes = {"records": count, "learn_cpu_us": round(learned, 1), "decide_cpu_us": round(decided, 1)}
            out.append({"name": f"flow.hostile {name}", **sizes})
    return out


def _decide(memory: Memory, _: int) -> None:
    misses(memory, PAY, CALL, tainted=True)


def _learn_more(memory: Memory, at: int) -> None:
    learn(memory, rows(10 * at, 10), f"x{at}")


def _alike(count: int) -> dict[str, Any]:
    """The call's own payee and amount in every record, each named as the task's."""
    row = {"title": "Acme March", "payee": CALL["to"], "total": CALL["amount"]}
    return {"content": [], "structuredContent": {"items": [{"id": f"i{at}", **row} for at in range(count)]}}


HOSTILE: Final[dict[str, Callable[[int], dict[str, Any]]]] = {
    "every title is the task's": lambda count: rows(0, count, "Acme March"),
    "long titles": lambda count: rows(0, count, "largest " * 50),
    "all alike": _alike,
}


if __name__ == "__main__":
    for row in flow_rows():
        sys.stdout.write(f"{json.dumps(row)}\n")
