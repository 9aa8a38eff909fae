"""The root of a rising function of a positive number, such as the slope of a loss by a temperature."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_STEPS, _CLOSE = 100, 1e-12  # at most; some eight are taken


def find_root(measure: Callable[[float], tuple[float, float]], low: float, high: float) -> float:
    """Where a rising function is 0, or the end of the bracket nearest to it; `measure` gives value and derivative.

    Newton's steps from 1; halvings in the logarithm where one leaves the bracket or takes off less than nine tenths.
    """
    if measure(low)[0] > 0 or measure(high)[0] < 0:
        return low if measure(low)[0] > 0 else high
    at, previous = 1.0, np.inf
    for _ in range(_STEPS):
        value, rise = measure(at)
        low, high = (at, high) if value < 0 else (low, at)
        root = at - value / rise if rise > 0 else np.inf
        if abs(root - at) <= _CLOSE * at or high - low <= _CLOSE * low:
            break
        at = root if low < root < high and abs(value) < previous / 10 else float(np.sqrt(low * high))
        previous = abs(value)
    return at
