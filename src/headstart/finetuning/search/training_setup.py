"""All that the trainings of a run share, and how a recipe becomes something to train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from headstart.core.recipe import Recipe
from headstart.core.run.context import Context
from headstart.core.types import Dataset, Embeddings, FitResult, Splits
from headstart.finetuning import starting_points
from headstart.finetuning.network.trainable_head import HeadStart
from headstart.finetuning.search.network_factory import NetworkFactory
from headstart.finetuning.search.recipe_space import RecipeSpace
from headstart.finetuning.search.training_cost import TrainingCost
from headstart.finetuning.search.training_set import TrainingSet
from headstart.finetuning.search.training_source import PreparedTraining, TrainingSources
from headstart.finetuning.starting_points import StartingPoint
from headstart.finetuning.tracking.epoch_tracking import EpochTracker
from headstart.selection.cv_problem import CvProblem

WORK = ".work"  # folder of weights that go when the run has its network


@dataclass(kw_only=True, eq=False)
class TrainingSetup:
    """Shared by the trainings of a run; `left_out` is what there was no time for."""

    training_set: TrainingSet
    recipe_space: RecipeSpace
    networks: NetworkFactory
    ctx: Context
    left_out: list[str] = field(default_factory=list)
    tracker: EpochTracker | None = None
    _printed: set[str] = field(default_factory=set)

    @cached_property
    def sources(self) -> TrainingSources:
        """What networks learn from."""
        return TrainingSources(training_set=self.training_set, networks=self.networks, ctx=self.ctx)

    @cached_property
    def cost(self) -> TrainingCost:
        """What trainings cost."""
        return TrainingCost(training_set=self.training_set, networks=self.networks, sources=self.sources, ctx=self.ctx)

    @property
    def work_folder(self) -> Path:
        """Where weights lie until the search is over."""
        return self.ctx.make_step_folder("adapt") / WORK

    def print_once(self, line: str) -> None:
        """Say a line that every trial would repeat."""
        if line not in self._printed:
            self._printed.add(line)
            self.ctx.console.print_line("adapt", line)

    def prepare(self, recipe: Recipe, positions: np.ndarray) -> PreparedTraining:
        """A network that starts from the head fitted on the (M,) int64 `positions`, and what it learns from them."""
        network = self.networks.build_network(recipe, self.fit_start(recipe, positions))
        source = self.sources.find_or_make(network, recipe)
        feed = source.make_feed(positions, recipe)
        return PreparedTraining(network=network, recipe=recipe, source=source, feed=feed, notes=source.notes)

    def fit_start(self, recipe: Recipe, positions: np.ndarray) -> HeadStart | None:
        """The head fitted on the (M,) int64 `positions` that a network starts from; None where it starts at random."""
        if recipe.start != "probe":
            return None
        point, training_set = self.recipe_space.find_starting_point(recipe), self.training_set
        rows, targets = training_set.rows[positions], training_set.targets[positions]
        return starting_points.fit_start(
            point, training_set.embeddings, rows, targets, training_set.problem, self.networks.objective
        )


def make_training_setup(
    data: Dataset,
    splits: Splits,
    embeddings: Sequence[Embeddings],
    points: Sequence[StartingPoint],
    probe: FitResult,
    problem: CvProblem,
    *,
    ctx: Context,
) -> TrainingSetup:
    """Trainings from some points, the best first."""
    specs = {e.spec.name: e.spec for e in embeddings}
    is_given, metric = bool(ctx.job.recipe), problem.metric
    space = RecipeSpace(starting_points=points, specs=specs, is_given=is_given, metric=metric, seed=ctx.seed)
    training_set = TrainingSet(data=data, splits=splits, embeddings=embeddings, probe=probe, problem=problem)
    return TrainingSetup(
        training_set=training_set,
        recipe_space=space,
        networks=NetworkFactory(objective=training_set.objective, store=ctx.store),
        ctx=ctx,
    )
