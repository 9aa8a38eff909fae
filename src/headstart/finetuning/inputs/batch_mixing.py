"""Mixed pictures with mixed targets, and the order of an epoch."""

from __future__ import annotations

import numpy as np

from headstart.core.recipe import Recipe

WITH_AREA = "pictures", "map"  # inputs (B, H, W, channels); all others are mixed as a whole
_ORDER = 77_000  # no other draw has this stream


def mix_batch(
    batch: dict[str, np.ndarray], y: np.ndarray, recipe: Recipe, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """New arrays: each picture of a batch mixed with another one, and the targets in the same shares.

    Mixup (Zhang 2018) adds pictures; CutMix (Yun 2019) pastes a box where an input has an area, and adds by the box's
    share of the area where it has none. The share is drawn once a batch from Beta(alpha, alpha); with both, one of them
    is drawn for the batch. Inputs are by name, (B, ...) float32; targets (B, T) float32
    as an `Objective` encodes them.
    """
    if not (recipe.mixup or recipe.cutmix):
        return batch, y
    pastes = recipe.cutmix > 0 and (recipe.mixup == 0 or rng.random() < 0.5)
    alpha = recipe.cutmix if pastes else recipe.mixup
    partner, share = rng.permutation(len(y)), float(rng.beta(alpha, alpha))
    grids = [x.shape[1:3] for name, x in batch.items() if name in WITH_AREA]
    if pastes and grids:
        (height, width), centre = grids[0], rng.random(2)
        box = _mixed_box(height, width, share, centre)
        area = (box[0].stop - box[0].start) * (box[1].stop - box[1].start)
        share = 1 - area / (height * width)
        mixed = {
            name: _paste_box(x, x[partner], box) if name in WITH_AREA else _blend(x, x[partner], share)
            for name, x in batch.items()
        }
    else:
        mixed = {name: _blend(x, x[partner], share) for name, x in batch.items()}
    return mixed, _blend(y, y[partner], share)


def _mixed_box(height: int, width: int, share: float, centre: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a box with 1 - share of the area, cut off at the edges."""
    sides = []
    for length, at in zip((height, width), centre, strict=True):
        half = length * np.sqrt(1 - share) / 2
        low, high = np.clip(np.rint([length * at - half, length * at + half]), 0, length).astype(int)
        sides.append(slice(int(low), int(high)))
    return sides[0], sides[1]


def _paste_box(picture: np.ndarray, other: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
    out = picture.copy()
    out[:, box[0], box[1]] = other[:, box[0], box[1]]
    return out


def _blend(first: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    return np.asarray(first * first.dtype.type(share) + other * first.dtype.type(1 - share))


def draw_order(y: np.ndarray, recipe: Recipe, epoch: int) -> np.ndarray:
    """Which pictures an epoch (from 1) sees, and when: (n,) int64 positions in `y`.

    `natural` sees each once. `balanced` sees as many of each class as of any other, to within one: no picture of a
    class comes again before all others of the class have come as often.
    """
    rng = np.random.default_rng([recipe.seed, _ORDER, epoch])
    if recipe.sampling == "natural":
        return rng.permutation(len(y))
    present = np.unique(y)
    counts = np.full(len(present), len(y) // len(present))
    counts[rng.permutation(len(present))[: len(y) % len(present)]] += 1
    drawn = []
    for label, count in zip(present, counts, strict=True):
        positions = np.flatnonzero(y == label)
        rounds = [rng.permutation(positions) for _ in range(-(-count // len(positions)))]
        drawn.append(np.concatenate([*rounds, positions[:0]])[:count])
    return rng.permutation(np.concatenate(drawn))
