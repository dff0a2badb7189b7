"""Step 3 of a tool call, for what its server asked for: does each answer fit the form that was asked for?

The form is the server's own, so it protects the server and not the agent. What protects is that nothing passes which
nobody asked for, and that a person is shown the question with the answer.
"""

from remit.core.errors import InvalidDocument
from remit.core.inputs import Inputs
from remit.guards.shape import ArgumentShape, ShapeFault


def input_faults(inputs: Inputs) -> tuple[ShapeFault, ...]:
    """What does not fit, nothing when all does. A form that can't be held against is a fault."""
    faults: list[ShapeFault] = []
    for name, schema, content in inputs.forms():
        place = f"/inputs/{name.replace('~', '~0').replace('/', '~1')}"
        try:
            found = ArgumentShape.compile(schema).check(content)
        except InvalidDocument as error:
            found = (ShapeFault("", error.detail),)
        faults += [ShapeFault(place + fault.pointer, fault.text) for fault in found]
    return tuple(faults)
