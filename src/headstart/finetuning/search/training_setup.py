"""What every training of a run shares: pictures, features, trunks, folds, and how a recipe becomes a job to train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones import loading as trunk
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core import recipe as recipes
from headstart.core.recipe import Recipe
from headstart.core.run.context import Context
from headstart.core.types import Dataset, Embeddings, FitResult, Splits
from headstart.features.embeddings import find_positions
from headstart.finetuning import starting_points as bases
from headstart.finetuning.network import trainable_network as network
from headstart.finetuning.network.trainable_network import Network
from headstart.finetuning.search import search_space
from headstart.finetuning.search.training_cost import TrainingCost
from headstart.finetuning.search.training_source import Source, source, source_key
from headstart.finetuning.starting_points import StartingPoint
from headstart.finetuning.tracking.epoch_tracking import EpochTracker
from headstart.networks import hardware
from headstart.selection.probe.head_selection import HeadCvProblem
from headstart.selection.successive_halving import Finalist

_JUDGED = "among those that the frozen probe was judged by"
WORK = ".work"  # folder of weights that go when the run has its network

_SHAPE = ("backbone", "depths", "strategy", "part", "blocks", "head", "hidden", "start", "lora_rank", "batch_norm")


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedTraining:
    """Something to train.

    Attributes:
        network: What trains.
        recipe: With everything filled in.
        source: Gives feeds and held-out batches of any of the training pictures.
        feed: What it learns from.
        notes: Choices made, with their numbers.
    """

    network: Network
    recipe: Recipe
    source: Source
    feed: Any
    notes: tuple[str, ...]


@dataclass(kw_only=True, eq=False)
class Workbench:
    """See the module. Positions are places in `rows`, the training pictures.

    Attributes:
        data: The data set.
        splits: Folds and clusters.
        embeddings: Features of all pictures.
        bases: Where networks start, the best first.
        starts: Their backbones, each with the reason why it is worth a start.
        probe: The frozen probe.
        on: How heads met: metric, classes, weights, seed.
        ctx: The run.
        domain: Which augmentations keep the label.
        left_out: What there was no time for.
        follow: Told of every epoch, if the job asks for a tracker.
    """

    data: Dataset
    splits: Splits
    embeddings: Sequence[Embeddings]
    bases: Sequence[StartingPoint]
    probe: FitResult
    on: HeadCvProblem
    ctx: Context
    starts: Sequence[Finalist] = ()
    domain: str = "photo"
    left_out: list[str] = field(default_factory=list)
    follow: EpochTracker | None = None
    _trunks: dict[str, tuple[ResolvedBackbone, Any]] = field(default_factory=dict)
    _sources: dict[Any, Source] = field(default_factory=dict)

    # -- pictures

    @cached_property
    def rows(self) -> np.ndarray:
        """(M,) int64 training pictures."""
        return np.asarray(self.splits.train, np.int64)

    @cached_property
    def y(self) -> np.ndarray:
        """(M,) int64 their classes."""
        return np.asarray(np.asarray(self.data.targets)[self.rows], np.int64)

    @cached_property
    def y_of(self) -> Mapping[int, int]:
        """Row of the data set -> class."""
        return dict(zip(self.rows.tolist(), self.y.tolist(), strict=True))

    @cached_property
    def folds(self) -> np.ndarray:
        """(M,) fold of each training picture; -1 where the probe was not judged, as heads are on some of many."""
        judged = np.isin(self.rows, self.probe.cv_rows)
        return np.where(judged, np.asarray(self.splits.folds)[0][self.rows], -1)

    @property
    def fold_numbers(self) -> list[int]:
        """All folds."""
        return [int(k) for k in np.unique(self.folds[self.folds >= 0])]

    @property
    def everything(self) -> np.ndarray:
        """Positions of all training pictures."""
        return np.arange(len(self.rows))

    def learnt(self, fold: int) -> np.ndarray:
        """Positions that learn when a fold is held out."""
        return np.flatnonzero((self.folds != fold) & (self.folds >= 0))

    def held_out(self, fold: int) -> np.ndarray:
        """Positions that a fold holds out."""
        return np.flatnonzero(self.folds == fold)

    def overlap(self, fold: int) -> int:
        """Held-out pictures that have a look-alike among those that learn."""
        groups = np.asarray(self.splits.clusters)[self.rows]
        return int(np.isin(groups[self.held_out(fold)], groups[self.learnt(fold)]).sum())

    def probe_of(self, rows: np.ndarray) -> np.ndarray:
        """(B, C) the probe's held-out probabilities of some rows of the data set."""
        at = find_positions(np.asarray(self.probe.cv_rows), rows, _JUDGED)
        return np.asarray(np.asarray(self.probe.cv_probabilities)[at])

    # -- recipes

    @property
    def explicit(self) -> bool:
        """Whether the user gave the recipe: then no clock has a say."""
        return bool(self.ctx.job.recipe)

    @property
    def backbones(self) -> tuple[str, ...]:
        """Where networks may start."""
        return tuple(dict.fromkeys(base.backbone for base in self.bases))

    def base(self, recipe: Recipe) -> StartingPoint:
        """The starting point of a recipe."""
        return next(b for b in self.bases if (b.backbone, b.depths) == (recipe.backbone, recipe.depths))

    def where(self, base: StartingPoint) -> dict[str, Any]:
        """The fields of a recipe that a base fixes."""
        return {"backbone": base.backbone, "depths": base.depths}

    def blocks(self, base: StartingPoint) -> int:
        """How many blocks of the trunk lie below the deepest depth that is read."""
        names = [d.name for d in self.trunk(base.backbone)[0].spec.depths]
        return max(names.index(depth) for depth in base.depths) + 1

    @property
    def shared(self) -> dict[str, Any]:
        """The fields of a recipe that all of a search share."""
        told = {"seed": self.ctx.seed, "monitor": self.on.metric, "domain": self.domain}
        return {**told, "precision": hardware.choose_training_precision()}

    def proposed(self, values: Mapping[str, Any]) -> Recipe:
        """A proposal of the search as a recipe, blocks kept within what the backbone has."""
        base = next(b for b in self.bases if b.backbone == values["backbone"])
        most = self.blocks(base)
        part = "all" if values["blocks"] >= most or values["strategy"] == "norms" else "last"
        told = {name: float(f"{one:.3g}") if isinstance(one, float) else one for name, one in values.items()}
        blocks = min(int(values["blocks"]), most)
        recipe = recipes.make({**self.shared, **self.where(base), **told, "part": part, "blocks": blocks})
        return (
            search_space.from_random(recipe).with_fields(rate=recipe.rate) if recipe.strategy == "scratch" else recipe
        )

    def decide(self, name: str, make: Callable[[], Any], why: str) -> Any:
        """A decision of fine-tuning, recorded once a run."""
        return self.ctx.record_decision(f"adapt/{name}", make, why)

    def same_shape(self, one: Recipe, other: Recipe) -> bool:
        """Whether two recipes train the same weights, so that these may be averaged."""
        first, second = map(recipes.field_values, (one, other))
        return all(first[name] == second[name] for name in _SHAPE)

    def has_source(self, recipe: Recipe, cut: str) -> bool:
        """Whether what a recipe learns from was computed already in this process."""
        return source_key(recipe, cut) in self._sources

    # -- trainings

    @property
    def work(self) -> Path:
        """Where weights lie until the search is over."""
        return self.ctx.make_step_folder("adapt") / WORK

    def trunk(self, name: str) -> tuple[ResolvedBackbone, Any]:
        """A backbone and its frozen `keras.Model`, built once."""
        if name not in self._trunks:
            from headstart.networks.openvino_conversion import silence_frameworks

            found = trunk.find_backbone(name)
            with silence_frameworks():
                self._trunks[name] = found, found.build(self.ctx.store)
        return self._trunks[name]

    @cached_property
    def price(self) -> TrainingCost:
        """What trainings cost."""
        return TrainingCost(bench=self)

    def prepare(self, recipe: Recipe, positions: np.ndarray) -> PreparedTraining:
        """Build a network that starts from the head fitted on some pictures, and what it learns from.

        Args:
            recipe: As asked for.
            positions: (M,) int64 pictures that it learns from.
        """
        found, model = self.trunk(recipe.backbone)
        base, rows = self.base(recipe), self.rows[positions]
        start = None
        if recipe.start == "probe":
            start = bases.fitted(base, self.embeddings, rows, self.y[positions], self.on)
        made = network.build(model, found.spec, recipe, start=start, n_classes=self.on.n_classes)
        key = source_key(recipe, made.cut)
        if key not in self._sources:
            self._sources[key] = source(self, made, recipe)
        feeds = self._sources[key]
        feed = feeds.feed(positions, recipe)
        return PreparedTraining(network=made, recipe=recipe, source=feeds, feed=feed, notes=feeds.notes)
