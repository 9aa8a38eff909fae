"""Which weights count, by held-out pictures alone; of equal scores the earlier, the smaller or the fewer is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def choose_epoch(losses: np.ndarray, counts: np.ndarray) -> int:
    """The epoch with the lowest loss over the held-out pictures of all folds together, 0 for the start.

    Args:
        losses: (F, E + 1) mean loss of each fold at the start and after each epoch; NaN where a fold stopped earlier,
            and such an epoch does not count.
        counts: (F,) held-out pictures of each fold.

    Raises:
        ValueError: A fold has no score of the start.
    """
    if np.isnan(losses[:, 0]).any():
        raise ValueError("a fold has no score of the start")
    reached = np.cumprod(~np.isnan(losses).any(axis=0)).astype(bool)
    pooled = np.asarray(counts, np.float64) @ losses[:, reached] / np.sum(counts)
    return int(np.argmin(pooled))


def choose_alpha(losses: Mapping[float, float]) -> float:
    """The point between first (0) and tuned weights (1) with least loss (WiSE-FT, Wortsman 2022)."""
    return min(sorted(losses), key=lambda alpha: losses[alpha])


def choose_soup(members: Sequence[T], score: Callable[[Sequence[T]], float]) -> tuple[int, ...]:
    """Whose weights to average, as rising positions: the greedy soup (Wortsman 2022).

    The first member, the chosen one, is always in it; then each in the given order, best score first, stays if the mean
    with it is better. `score` is of averaged weights, lower is better; it is called once a set.
    """
    chosen, best = [0], score(members[:1])
    for at in range(1, len(members)):
        with_it = score([members[position] for position in [*chosen, at]])
        if with_it < best:
            chosen, best = [*chosen, at], with_it
    return tuple(chosen)


def average_weights(weights: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The mean of several networks' weights, name by name; summed in float64, in their order."""
    means = {name: np.mean([each[name] for each in weights], axis=0, dtype=np.float64) for name in weights[0]}
    return {name: mean.astype(weights[0][name].dtype) for name, mean in means.items()}
