"""Whether a step of training fits into memory: a bound from the network's layers, and what the machine has free.

Where it does not, a batch goes through in halves, quarters, …: the result changes by rounding alone; it is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from headstart.core.console import format_bytes
from headstart.networks.hardware import count_available_bytes

_KEPT = 1.2  # all layers' outputs, and gradients on the way; 1.0 was measured (EfficientNet-Lite0, all layers, 16)
_USED = 0.8  # of the free memory
_MOST = 3_200_000_000  # whatever is free: with it the whole process stays under 4 GB
_COPIES = 5  # weights, gradients, two moments, running mean
_FULL = ("ResourceExhaustedError", "OutOfMemoryError", "MemoryError")


def count_parts(model: Any, batch: int) -> tuple[int, str]:
    """Into how many parts a batch must be cut, a power of 2, and one sentence about it (empty for one part)."""
    free, count = count_available_bytes(), 1
    limit = _MOST if free is None else min(_MOST, int(_USED * free))
    while count < batch and step_bytes(model, math.ceil(batch / count)) > limit:
        count *= 2
    if count == 1:
        return 1, ""
    return (
        count,
        f"{format_parts(batch, count)}: at once they need about {format_bytes(step_bytes(model, batch))} of "
        f"{format_bytes(limit)}",
    )


def format_parts(batch: int, count: int) -> str:
    """The parts in words."""
    return f"{batch} pictures a step go through in parts of {math.ceil(batch / count)}"


def is_out_of_memory(err: BaseException) -> bool:
    """Whether an error says that memory ran out, whatever the backend."""
    return any(kind.__name__ in _FULL for kind in type(err).__mro__) or "RESOURCE_EXHAUSTED" in str(err)[:200]


def step_bytes(model: Any, batch: int) -> int:
    """About how many bytes a training step takes at its peak."""
    weights = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    return int(batch * sum(_output_bytes(model)) * _KEPT + 4 * weights * _COPIES)


def _output_bytes(model: Any) -> Iterator[int]:
    import keras

    inside = model.layers if isinstance(model, keras.Sequential) else model.operations
    for operation in inside:
        if isinstance(operation, keras.Model):
            yield from _output_bytes(operation)
            continue
        for output in keras.tree.flatten(operation.output):
            width = 2 if output.dtype in ("bfloat16", "float16") else 4
            yield width * math.prod(int(side or 1) for side in output.shape[1:])
