"""Inputs: what a server asked of a client in the middle of a call, and what the client answered.

To the server an answer is an argument like any other, so it is decided as one (INTERFACES section 5): it is part of
what is hashed, logged and shown to a person. The question stands beside it, in the server's own words, because *yes*
means nothing without it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from remit.core.canonical import Json

InputMethod: TypeAlias = Literal["elicitation/create", "sampling/createMessage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Questions and answers by the server's names for them; every question has an answer.

    ``after`` is the hash of the call in whose course the server asked, so that rounds hang together; ``fingerprint``
    is the definition that was called then.
    """

    after: str
    fingerprint: str
    asked: Mapping[str, Json]
    answers: Mapping[str, Json]

    def document(self) -> dict[str, Json]:
        """All of it, as it is hashed and shown."""
        each: dict[str, Json] = {
            name: {"asked": asked, "answer": self.answers[name]} for name, asked in self.asked.items()
        }
        return {"after": self.after, "fingerprint": self.fingerprint, "each": each}

    def forms(self) -> Iterator[tuple[str, Json, Json]]:
        """The forms that were filled in: name, the schema that was asked for, and the content."""
        for name, asked in self.asked.items():
            match asked, self.answers[name]:
                case {"params": {"requestedSchema": schema}}, {"content": content}:
                    yield name, schema, content

    def samples(self) -> Iterator[tuple[str, Json]]:
        """What the client's model wrote, by name."""
        for name, asked in self.asked.items():
            if isinstance(asked, Mapping) and asked.get("method") == "sampling/createMessage":
                yield name, self.answers[name]
