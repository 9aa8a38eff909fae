"""Whether a step of training fits into memory: a bound from the network's layers, and what the device has free.

Where it does not, a batch goes through in halves, quarters, …: the result changes by rounding alone; it is told.
"""

from __future__ import annotations

import math
from typing import Any

from headstart.core.console import format_bytes
from headstart.networks.devices import current_device
from headstart.networks.flops import iterate_output_bytes
from headstart.networks.hardware import count_available_bytes

_KEPT = 1.2  # all layers' outputs, and gradients on the way; 1.0 was measured (EfficientNet-Lite0, all layers, 16)
_USED = 0.8  # of the free memory
_MOST = 3_200_000_000  # of this machine, whatever is free: with it the whole process stays under 4 GB
_COPIES = 5  # weights, gradients, two moments, running mean


def count_parts(model: Any, batch: int) -> tuple[int, str]:
    """Into how many parts a batch must be cut, a power of 2, and one sentence about it (empty for one part)."""
    limit, count = _find_limit_bytes(), 1
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


def _find_limit_bytes() -> int:
    """What a step may take: of a GPU most of its memory, of this machine's no more than keeps the process small."""
    device = current_device()
    if device.is_gpu and device.memory_bytes is not None:
        return int(_USED * device.memory_bytes)
    free = count_available_bytes()
    return _MOST if free is None else min(_MOST, int(_USED * free))


def step_bytes(model: Any, batch: int) -> int:
    """About how many bytes a training step takes at its peak."""
    weights = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    return int(batch * sum(iterate_output_bytes(model)) * _KEPT + 4 * weights * _COPIES)
