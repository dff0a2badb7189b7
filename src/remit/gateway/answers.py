"""Come in here for what a client answers to a server's questions: read strictly, and only to what was asked.

Whether an answer fits its form is decided with the call (step 3), so that a misfit is a Deny with an event. Here it is
made sure that an answer is one: rebuilt from the members that we know, flat, and small enough to be shown whole.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from remit.core.canonical import Json, canonical
from remit.core.errors import Malformed
from remit.gateway import wire
from remit.gateway.questions import ELICIT

MAX_ANSWERS: Final = 16_384
"""Canonical bytes of all answers of one round: what a person can be asked to read."""
_MAX_MODEL: Final = 128
_ACTIONS: Final = frozenset({"accept", "decline", "cancel"})


def read(asked: Mapping[str, Json], responses: Json) -> dict[str, Json] | None:
    """The answers, rebuilt; None where a question has none. Raises ``wire.Fault`` for what nobody asked."""
    if not isinstance(responses, Mapping):
        raise wire.Fault(wire.INVALID_PARAMS, "inputResponses is an object")
    if not responses.keys() <= asked.keys():
        raise wire.Fault(wire.INVALID_PARAMS, "inputResponses answers what was not asked")
    if responses.keys() != asked.keys():
        return None
    answers = {name: _answer(asked[name], responses[name]) for name in asked}
    try:
        size = len(canonical(answers))
    except Malformed as error:
        raise wire.Fault(wire.INVALID_PARAMS, f"inputResponses: {error.detail}") from error
    if size > MAX_ANSWERS:
        raise wire.Fault(wire.INVALID_PARAMS, f"inputResponses is longer than {MAX_ANSWERS} bytes")
    return answers


def _answer(question: Json, response: Json) -> Json:
    asked = question if isinstance(question, Mapping) else {}
    if not isinstance(response, Mapping):
        raise wire.Fault(wire.INVALID_PARAMS, "an input response is an object")
    return _elicited(asked, response) if asked.get("method") == ELICIT else _sampled(response)


def _elicited(asked: Mapping[str, Json], response: Mapping[str, Json]) -> Json:
    """The user's answer. Whoever declines or cancels says nothing beside it, and nor does who opens an address."""
    action, params = response.get("action"), asked.get("params")
    if not isinstance(action, str) or action not in _ACTIONS:
        raise wire.Fault(wire.INVALID_PARAMS, "an elicitation is accepted, declined or cancelled")
    if action != "accept" or not isinstance(params, Mapping) or params.get("mode") != "form":
        return {"action": action}
    content = response.get("content", {})
    if not isinstance(content, Mapping) or not all(map(_is_plain, content.values())):
        raise wire.Fault(wire.INVALID_PARAMS, "the content of an elicitation is an object of plain values")
    return {"action": action, "content": dict(content)}


def _is_plain(value: Json) -> bool:
    if isinstance(value, list):
        return all(isinstance(one, str) for one in value)
    return isinstance(value, (str, int, Decimal))


def _sampled(response: Mapping[str, Json]) -> Json:
    """What the client's model wrote: text alone."""
    content, model, stopped = response.get("content"), response.get("model"), response.get("stopReason")
    blocks = content if isinstance(content, list) else [content]
    texts: list[Json] = []
    for one in blocks:
        text = one.get("text") if isinstance(one, Mapping) and one.get("type") == "text" else None
        if not isinstance(text, str):
            raise wire.Fault(wire.INVALID_PARAMS, "a model's answer is text")
        texts.append({"type": "text", "text": text})
    named = isinstance(model, str) and 0 < len(model) <= _MAX_MODEL
    if response.get("role") != "assistant" or not named or not texts:
        raise wire.Fault(wire.INVALID_PARAMS, "a model's answer has the role assistant, and names the model")
    out: dict[str, Json] = {"role": "assistant", "content": texts if isinstance(content, list) else texts[0]}
    reason: dict[str, Json] = {"stopReason": stopped} if isinstance(stopped, str) and len(stopped) <= _MAX_MODEL else {}
    return {**out, "model": model, **reason}
