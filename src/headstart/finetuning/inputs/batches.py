"""Batches for training and for watching: from kept activations, from pooled features, or from pictures.

Pictures left over from the last whole batch of an epoch open the next one, so none is seen less often. An epoch depends
on the recipe's seed and its number alone. Feeds hold positions in shared arrays, which folds and trials all read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from headstart.core.recipe import Recipe
from headstart.core.settings import count_threads
from headstart.finetuning.inputs import augmentation
from headstart.finetuning.inputs.batch_mixing import draw_order, mix_batch
from headstart.finetuning.inputs.cached_activations import CachedMaps, LowerTrunk
from headstart.finetuning.objectives import Objective

HELD_BATCH = 64
_MIX, _VIEW, _AUGMENT = 77_101, 77_102, 77_103  # streams of draws; no two share one

Inputs = dict[str, np.ndarray]
Batch = tuple[Inputs, np.ndarray, np.ndarray]


class _BatchFeed:
    """The order of the (n,) `positions` among all pictures, their targets, and mixing; a subclass gives the inputs.

    `weights` (n,) are how much each picture counts in the loss.
    """

    def __init__(
        self,
        *,
        positions: np.ndarray,
        y: np.ndarray,
        objective: Objective,
        recipe: Recipe,
        weights: np.ndarray | None = None,
    ) -> None:
        if len(positions) != len(y) or not len(y):
            raise ValueError(f"{len(positions)} positions and {len(y)} targets: there must be as many, at least one")
        self.positions, self.y = np.asarray(positions, np.int64), np.asarray(y)
        self.recipe, self.objective, self.n = recipe, objective, len(y)
        self.weights = None if weights is None else np.asarray(weights, np.float32)
        self.batch = min(recipe.batch, self.n)
        self.steps = self.n // self.batch

    def epoch(self, number: int) -> Iterator[Batch]:
        """Inputs by name (b, …) float32; targets for the loss (b, T) float32, those scored (b, …)."""
        rng = np.random.default_rng([self.recipe.seed, _MIX, number])
        for drawn, inputs in self._make_inputs(number, self._draw_batches(number)):
            weights = None if self.weights is None else self.weights[drawn]
            encoded = self.objective.encode_targets(self.y[drawn], weights)
            inputs, encoded = mix_batch(inputs, encoded, self.recipe, rng)
            yield inputs, encoded, self.objective.decode_targets(encoded)

    def _draw_batches(self, number: int) -> Iterator[np.ndarray]:
        """Which of the n pictures each batch of an epoch has, (b,) int64."""
        at = (number - 1) * self.steps * self.batch
        turn, skipped = divmod(at, self.n)
        row = draw_order(self.y, self.recipe, turn + 1)[skipped:]
        for _ in range(self.steps):
            if len(row) < self.batch:
                turn += 1
                row = np.concatenate([row, draw_order(self.y, self.recipe, turn + 1)])
            yield row[: self.batch]
            row = row[self.batch :]

    def _make_inputs(self, number: int, batches: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, Inputs]]:
        raise NotImplementedError


class MapFeed(_BatchFeed):
    """Trains on kept activations, of each picture's views one drawn each time, and on pooled `low` depths."""

    def __init__(self, *, maps: CachedMaps, low: Sequence[str] = (), **shared: Any) -> None:
        super().__init__(**shared)
        self.maps, self.low = maps, tuple(low)

    def _make_inputs(self, number: int, batches: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, Inputs]]:
        rng = np.random.default_rng([self.recipe.seed, _VIEW, number])
        for drawn in batches:
            views = rng.integers(self.maps.views, size=len(drawn))
            yield drawn, self.maps.read_inputs(self.positions[drawn], views, self.low)


class PooledFeed(_BatchFeed):
    """Trains a head on the pooled (N, D) float32 features of all pictures, depths side by side."""

    def __init__(self, *, features: np.ndarray, **shared: Any) -> None:
        super().__init__(**shared)
        self.features = features

    def _make_inputs(self, number: int, batches: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, Inputs]]:
        for drawn in batches:
            yield drawn, {"pooled": np.asarray(self.features[self.positions[drawn]], np.float32)}


class PictureFeed(_BatchFeed):
    """Trains on (N, S, S, 3) pictures, augmented anew each time, through the trunk `below` the cut if any."""

    def __init__(
        self, *, pictures: np.ndarray, below: LowerTrunk | None = None, low: Sequence[str] = (), **shared: Any
    ) -> None:
        super().__init__(**shared)
        self.pictures, self.below, self.low = pictures, below, tuple(low)
        settings = self.recipe.augmentation
        self.policy = augmentation.Policy(domain=settings.domain, strength=settings.augment)

    def _make_inputs(self, number: int, batches: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, Inputs]]:
        jobs = (
            (drawn, self.pictures[self.positions[drawn]], self._augmentation_seeds(number, step))
            for step, drawn in enumerate(batches)
        )
        augmented = augmentation.augment_batches(jobs, self.policy, threads=count_threads())
        return _run_lower_trunk(self.below, self.low, augmented)

    def _augmentation_seeds(self, number: int, step: int) -> list[tuple[int, ...]]:
        return [(self.recipe.seed, _AUGMENT, number, step * self.batch + place) for place in range(self.batch)]


def _run_lower_trunk(
    below: LowerTrunk | None, low: Sequence[str], decoded: Iterator[tuple[np.ndarray, np.ndarray]]
) -> Iterator[tuple[np.ndarray, Inputs]]:
    if below is not None:
        yield from below.run_batches(decoded, low)
        return
    for key, pictures in decoded:
        yield key, {"pictures": pictures.astype(np.float32)}


class _HeldOut:
    """Pictures to watch, at most `HELD_BATCH` at a time; a subclass gives the inputs."""

    def __init__(self, *, positions: np.ndarray, y: np.ndarray) -> None:
        self.positions, self.y = np.asarray(positions, np.int64), np.asarray(y)

    def batches(self) -> Iterator[Inputs]:
        """Inputs by name (b, …) float32, in the order of `y`."""
        for start in range(0, len(self.positions), HELD_BATCH):
            yield self._make_inputs(self.positions[start : start + HELD_BATCH])

    def _make_inputs(self, positions: np.ndarray) -> Inputs:
        raise NotImplementedError


class HeldOutMaps(_HeldOut):
    """Watched through kept activations of the pictures themselves (view 0)."""

    def __init__(self, *, maps: CachedMaps, low: Sequence[str] = (), **shared: Any) -> None:
        super().__init__(**shared)
        self.maps, self.low = maps, tuple(low)

    def _make_inputs(self, positions: np.ndarray) -> Inputs:
        return self.maps.read_inputs(positions, np.zeros(len(positions), np.int64), self.low)


class HeldOutPooled(_HeldOut):
    """Watched through pooled features."""

    def __init__(self, *, features: np.ndarray, **shared: Any) -> None:
        super().__init__(**shared)
        self.features = features

    def _make_inputs(self, positions: np.ndarray) -> Inputs:
        return {"pooled": np.asarray(self.features[positions], np.float32)}


class HeldOutPictures(_HeldOut):
    """Watched through the pictures as they are."""

    def __init__(
        self, *, pictures: np.ndarray, below: LowerTrunk | None = None, low: Sequence[str] = (), **shared: Any
    ) -> None:
        super().__init__(**shared)
        self.pictures, self.below, self.low = pictures, below, tuple(low)

    def _make_inputs(self, positions: np.ndarray) -> Inputs:
        ((_, inputs),) = _run_lower_trunk(self.below, self.low, iter([(positions, self.pictures[positions])]))
        return inputs
