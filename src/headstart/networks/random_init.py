"""Random weights: of a trunk's random-init control, and of what is learnt from scratch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def fill_random(model: Any, seed: int) -> None:
    """Draw every kernel anew, by fan-in; biases and normalisation stay as they are made.

    Variance 2 / fan-in (He et al. 2015), or 1 / fan-in (LeCun et al. 1998) where branches are summed: He's doubles the
    signal in every residual block. NumPy draws: the same numbers under every Keras backend.
    """
    rng = np.random.default_rng(seed)
    gain = 1.0 if any(type(operation).__name__.endswith("Add") for operation in model.operations) else 2.0
    for weight in model.weights:
        if len(weight.shape) < 2:
            continue
        depthwise = len(weight.shape) == 4 and weight.shape[-1] == 1  # (H, W, channels, multiplier)
        fan_in = math.prod(weight.shape[:-2] if depthwise else weight.shape[:-1])
        values = rng.standard_normal(weight.shape, dtype=np.float32) * np.float32(math.sqrt(gain / fan_in))
        weight.assign(values)
