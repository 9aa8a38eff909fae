"""How fast to learn, and when what: the rate of every step, which blocks are free, and a test that finds a rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headstart.core.recipe import Recipe

_CYCLE = 25.0  # one cycle starts and nearly ends at the peak over this (Smith 2018),
_CYCLE_END = 100.0  # and ends at that over this
_SURE = 6.0  # standard errors by which a loss must fall or rise to count
_SAFE = 10.0  # how far below the rate at which the loss rises it is safe to learn


def schedule_rates(recipe: Recipe, steps: int, peak: float | None = None) -> np.ndarray:
    """(steps,) float64, the learning rate of every step, all above 0; `peak` is the recipe's rate if not given.

    The rate rises in equal steps over the part `warmup` and is at its peak in the step after it. Then it stays
    (`constant`), or falls along half a cosine towards 0 (`cosine`, Loshchilov 2017). `one_cycle` rises from peak / 25
    and falls back to it in straight lines, and in the last tenth of the steps to peak / 2500 (Smith 2018).
    """
    peak = recipe.rate if peak is None else peak
    if steps < 1 or peak <= 0:
        raise ValueError(f"no schedule has {steps} steps and peak {peak:g}")
    rise = min(round(recipe.warmup * steps), steps - 1)
    fall = steps - rise
    if recipe.schedule == "one_cycle":
        low, tail = peak / _CYCLE, min(round(0.1 * steps), fall - 1)
        up = np.linspace(low, peak, rise, endpoint=False)
        down = np.linspace(peak, low, fall - tail)
        return np.concatenate([up, down, np.linspace(low, low / _CYCLE_END, tail + 1)[1:]])
    up = peak * np.arange(1, rise + 1) / (rise + 1)
    after = np.full(fall, peak)
    if recipe.schedule == "cosine":
        after = peak / 2 * (1 + np.cos(np.pi * np.arange(fall) / fall))
    return np.concatenate([up, after])


def factors_in_epoch(
    recipe: Recipe, blocks: Sequence[Sequence[str]], epoch: int, factors: Mapping[str, float]
) -> dict[str, float]:
    """The factors in an epoch (from 1): with `gradual` one block more is free at a time, the head first (Howard 2018).

    A block is freed every epochs / (2 blocks), so that all train in the second half; in the last epoch at the latest.
    `blocks` are paths of each block's variables, shallow to deep, the head last; `factors` those when all are free.
    """
    if not recipe.trunk.gradual or epoch >= recipe.epochs:
        return dict(factors)
    free = 1 + (epoch - 1) * 2 * len(blocks) // recipe.epochs
    frozen = {path for block in blocks[: max(len(blocks) - free, 0)] for path in block}
    return {path: 0.0 if path in frozen else factor for path, factor in factors.items()}


def find_rate(losses: np.ndarray, rates: np.ndarray) -> float:
    """The rate that a rising-rate test suggests (Smith 2017), by the (S,) losses at rising rates.

    Losses are smoothed over a tenth of the steps; what comes after the first that is not finite does not count. Where
    they fall by more than their noise, it is the rate at which they fall fastest; else (the network starts from its
    optimum) a tenth of the rate from which on they rise.
    """
    finite = np.isfinite(losses)
    end = len(losses) if finite.all() else int(np.argmin(finite))
    if end < 3:
        return float(rates[0])
    losses, rates, reach = losses[:end], rates[:end], max(1, end // 20)
    smooth = np.array([losses[max(0, at - reach) : at + reach + 1].mean() for at in range(end)])
    deviation = 1.05 * np.median(np.abs(np.diff(losses)))  # 1.05: of normal noise, whose differences are wider
    sure = _SURE * deviation / np.sqrt(2 * reach + 1)
    start, low = smooth[reach], int(np.argmin(smooth))
    if low and start - smooth[low] > sure:
        return float(rates[int(np.argmin(np.gradient(smooth[: low + 1], np.log(rates[: low + 1]))))])
    risen = np.flatnonzero(smooth > start + sure)
    return float(rates[risen[0] if len(risen) else end - 1] / _SAFE)
