"""The root of a rising function of a positive number, such as the slope of a loss by a temperature."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_STEPS, _CLOSE, _REACH = 100, 1e-10, 4.0  # at most, of which some eight are taken; relative; factor of one halving


def find_root(measure: Callable[[float], tuple[float, float]], low: float, high: float) -> float:
    """Where a rising function is 0, or the end of the bracket nearest to it; `measure` gives value and derivative.

    Newton's steps from 1; where one leaves the bracket or the last took off less than half, a halving in the logarithm,
    by a factor of 4 at most.
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
        if low < root < high and abs(value) < previous / 2:
            at, previous = root, abs(value)
        else:
            at, previous = float(np.clip(np.sqrt(low * high), at / _REACH, at * _REACH)), np.inf
    return at
