"""What a training takes: operations, counted from the network, over a pace that is measured once; and the time left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from headstart.core.console import format_duration
from headstart.core.errors import SetupError
from headstart.core.recipe import Recipe
from headstart.core.run.context import Context
from headstart.core.run.time_plan import plan_time
from headstart.finetuning.inputs import data_path
from headstart.finetuning.search.network_factory import NetworkFactory
from headstart.finetuning.search.training_set import TrainingSet
from headstart.finetuning.search.training_source import PreparedTraining, TrainingSources
from headstart.finetuning.training import replicas, trainer
from headstart.finetuning.training.domain_loss import DomainLoss
from headstart.networks import flops
from headstart.networks.devices import list_replicas

TRAIN_FLOPS_PER_S = 4e10  # of training, before it was measured
UNCUT = 0.3  # of that pace where the wide maps of the first layers train too
BACKWARD = 2  # operations of the way back for one of the way forth


@dataclass(kw_only=True, eq=False)
class TrainingCost:
    """Operations and seconds of recipes; what was measured is recorded in the run."""

    training_set: TrainingSet
    networks: NetworkFactory
    sources: TrainingSources
    ctx: Context
    _paces: dict[str, float] = field(default_factory=dict)
    _printed: set[str] = field(default_factory=set)

    def flops_per_s(self, recipe: Recipe) -> float:
        """Operations of training a second: of this kind of network, else of the last kind that trained a trunk."""
        own = self._paces.get(self._decision_name(recipe))
        others = [pace for name, pace in self._paces.items() if not name.startswith("adapt/pace/probe/")]
        slower = 1.0 if self.networks.measure_shape(recipe).cut else UNCUT
        return own or (others[-1] if others else TRAIN_FLOPS_PER_S) * slower

    def fold_seconds(self, recipe: Recipe) -> float:
        """Seconds that one fold of a recipe will take, its frozen pass left out when it is done already."""
        judged = int((self.training_set.folds >= 0).sum())
        learnt = int(judged * (1 - 1 / max(len(self.training_set.fold_numbers), 2)))
        count = len(self.training_set.rows)
        shape = self.networks.measure_shape(recipe)
        steps = recipe.epochs * ((1 + BACKWARD) * learnt + count - learnt) * shape.trained_flops
        views = 1 + (recipe.augmentation.views or data_path.VIEWS if recipe.augmentation.augment else 0)
        frozen = 0.0 if self.sources.has(recipe, shape.cut) else shape.frozen_flops * views * count
        return float(steps / self.flops_per_s(recipe) + frozen / flops.PASS_FLOPS_PER_S)

    def choose_places(self, training: PreparedTraining, domain: DomainLoss | None = None) -> tuple[str, ...]:
        """Where a kind of network trains, empty for the device in use; all of its kind if a step is faster there.

        Raises:
            SetupError: The run trained such a network on more devices than are here.
        """
        recipe, devices = training.recipe, list_replicas()
        if not devices[0].is_gpu:
            return ()
        name, count = self._decision_name(recipe, "devices"), len(devices)
        reason = replicas.explain_one_device(training.network, domain)
        if reason:
            if count > 1:
                self._print_once(f"{name}: {reason}", f"{recipe.backbone} trains on one device: {reason}")
            return ()
        places, why = (
            tuple(device.place for device in devices),
            "seconds of a step on one device and on all of its kind",
        )
        steps = self.ctx.record_decision(name, lambda: _time_steps(training, places), why)
        if steps["count"] > count:
            raise SetupError(
                f"the run trained {recipe.backbone} on {steps['count']} devices, here are {count} of the kind",
                where=str(self.ctx.run.path),
                hint="end it on such a machine, or begin another run with --out",
            )
        if "of" in steps:
            times = f"a step takes {steps['all_s']:.3g} s on {steps['of']} devices, {steps['one_s']:.3g} s on one"
            self._print_once(name, f"{recipe.backbone} trains on {steps['count']} x {devices[0].name}: {times}")
        return places[: steps["count"]] if steps["count"] > 1 else ()

    def _print_once(self, name: str, line: str) -> None:
        if name not in self._printed:
            self._printed.add(name)
            self.ctx.console.print_line("train", line)

    def measure_pace(self, training: PreparedTraining, places: Sequence[str] = ()) -> None:
        """Time a few steps of a kind of network that was not measured yet; decided once a run."""
        recipe = training.recipe
        name = self._decision_name(recipe)
        if name in self._paces or self.ctx.job.recipe:
            return
        trained_flops = self.networks.measure_shape(recipe).trained_flops
        step_flops = (1 + BACKWARD) * trained_flops * min(recipe.batch, training.feed.n)

        def measure() -> float:
            step_s = trainer.measure_step_s(training.network, recipe, training.feed, places=places)
            return float(step_flops / max(step_s, 1e-6))

        why = "operations a second while training, measured on a few steps"
        self._paces[name] = float(self.ctx.record_decision(name, measure, why))

    def recall_pace(self, recipe: Recipe) -> None:
        """Take up what an earlier process of the run measured."""
        name = self._decision_name(recipe)
        pace = self.ctx.run.find_decision(name)
        if pace is not None:
            self._paces.setdefault(name, float(pace))

    def _decision_name(self, recipe: Recipe, about: str = "pace") -> str:
        cut = self.networks.measure_shape(recipe).cut or "pictures"
        return f"adapt/{about}/{recipe.strategy}/{recipe.backbone}/{cut}/{recipe.batch}"

    def training_flops(self, recipe: Recipe, epochs: int, n_train: int) -> float:
        """Operations of a training with its frozen pass."""
        shape = self.networks.measure_shape(recipe)
        return float(n_train * ((1 + BACKWARD) * shape.trained_flops * epochs + shape.frozen_flops))

    def epoch_flops(self, recipe: Recipe) -> float:
        """Operations of one epoch over all training pictures, the frozen pass left out."""
        trained_flops = self.networks.measure_shape(recipe).trained_flops
        return float((1 + BACKWARD) * trained_flops * len(self.training_set.rows))

    def inference_flops(self, recipe: Recipe) -> float:
        """Operations for one picture through the whole network."""
        shape = self.networks.measure_shape(recipe)
        return shape.trained_flops + shape.frozen_flops

    @property
    def probe_flops(self) -> float:
        """Operations for one picture through all trunks that the frozen probe reads."""
        needed = {feature.backbone for feature in self.training_set.probe.features}
        return float(sum(e.spec.flops for e in self.training_set.embeddings if e.spec.name in needed))


def _time_steps(training: PreparedTraining, places: tuple[str, ...]) -> dict[str, Any]:
    """Seconds of a step on one device and on all `places`, and on how many of them it is faster."""
    if len(places) == 1:
        return {"count": 1}
    one_s, all_s = (
        trainer.measure_step_s(training.network, training.recipe, training.feed, places=where) for where in ((), places)
    )
    return {"count": len(places) if all_s < one_s else 1, "of": len(places), "one_s": one_s, "all_s": all_s}


@dataclass(frozen=True, kw_only=True)
class TimeBudget:
    """Of the `total_s` seconds that fine-tuning may take."""

    ctx: Context
    total_s: float

    def left_s(self, until: float) -> float:
        """Seconds until a part of the time is over, on this machine's clock; only for recorded decisions."""
        if math.isinf(self.total_s):
            return math.inf
        return plan_time(self.ctx.job).phase_left_s(until, self.total_s, self.ctx.left_s())


def make_time_budget(ctx: Context) -> TimeBudget:
    """What is left now, decided once a run; endless where the recipe is given, so that two runs of one are equal."""
    if ctx.job.recipe:
        return TimeBudget(ctx=ctx, total_s=math.inf)
    plan, why = plan_time(ctx.job), "seconds left for fine-tuning"
    total_s = float(ctx.record_decision("adapt/time", lambda: plan.fine_tuning_s(ctx.left_s()), why))
    ctx.console.print_line("adapt", f"{format_duration(total_s)} of the budget are left for fine-tuning")
    return TimeBudget(ctx=ctx, total_s=total_s)
