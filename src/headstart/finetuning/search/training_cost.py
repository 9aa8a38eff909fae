"""What a training takes: operations, counted from the network, over a pace that is measured once and recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headstart.core.recipe import Recipe
from headstart.finetuning.inputs import data_path
from headstart.finetuning.network import trainable_network
from headstart.finetuning.training import trainer
from headstart.networks import flops

if TYPE_CHECKING:
    from headstart.finetuning.search.training_setup import PreparedTraining, Workbench

TRAIN_FLOPS_PER_S = 4e10  # of training, before it was measured
UNCUT = 0.3  # of that pace where the wide maps of the first layers train too
BACKWARD = 2  # operations of the way back for one of the way forth


@dataclass(kw_only=True, eq=False)
class TrainingCost:
    """Operations and seconds of recipes.

    Attributes:
        bench: Trunks, pictures and folds.
    """

    bench: Workbench
    _shapes: dict[Any, tuple[float, float, str]] = field(default_factory=dict)
    _paces: dict[str, float] = field(default_factory=dict)

    def pace(self, recipe: Recipe) -> float:
        """Operations of training a second: of this kind of network, else of the last kind that trained a trunk."""
        own = self._paces.get(self._key(recipe))
        others = [pace for key, pace in self._paces.items() if not key.startswith("pace/probe/")]
        slower = UNCUT if not self.cut(recipe) else 1.0
        return own or (others[-1] if others else TRAIN_FLOPS_PER_S) * slower

    def seconds(self, recipe: Recipe) -> float:
        """Seconds that one fold of a recipe will take, its frozen pass left out when it is done already."""
        learnt = int((self.bench.folds >= 0).sum() * (1 - 1 / max(len(self.bench.fold_numbers), 2)))
        held = len(self.bench.rows) - learnt
        upper, lower = self._flops(recipe)
        steps = recipe.epochs * ((1 + BACKWARD) * learnt + held) * upper
        views = 1 + (recipe.augmentation.views or data_path.VIEWS if recipe.augmentation.augment else 0)
        frozen = 0.0 if self.bench.has_source(recipe, self.cut(recipe)) else lower * views * len(self.bench.rows)
        return float(steps / self.pace(recipe) + frozen / flops.PASS_FLOPS_PER_S)

    def learn(self, job: PreparedTraining) -> None:
        """Measure a few steps of a kind of network that was not measured yet; decided once a run."""
        key = self._key(job.recipe)
        if key in self._paces or self.bench.explicit:
            return
        upper = self._flops(job.recipe)[0]
        done = (1 + BACKWARD) * upper * min(job.recipe.batch, job.feed.n)

        def measured() -> float:
            return float(done / max(trainer.measure(job.network, job.recipe, job.feed), 1e-6))

        why = "operations a second while training, measured on a few steps"
        self._paces[key] = float(self.bench.decide(key, measured, why))

    def recall(self, recipe: Recipe) -> None:
        """Take up what an earlier process of the run measured."""
        key = self._key(recipe)
        known = self.bench.ctx.run.find_decision(f"adapt/{key}")
        if known is not None:
            self._paces.setdefault(key, float(known))

    def _key(self, recipe: Recipe) -> str:
        return f"pace/{recipe.strategy}/{recipe.backbone}/{self.cut(recipe) or 'pictures'}/{recipe.batch}"

    def training_flops(self, job: PreparedTraining, epochs: int, n_train: int) -> float:
        """Operations of a training with its frozen pass."""
        upper, lower = self._flops(job.recipe)
        return float(n_train * ((1 + BACKWARD) * upper * epochs + lower))

    def epoch_flops(self, recipe: Recipe) -> float:
        """Operations of one epoch over all training pictures, the frozen pass left out."""
        return float((1 + BACKWARD) * self._flops(recipe)[0] * len(self.bench.rows))

    def cut(self, recipe: Recipe) -> str:
        """Depth below which nothing of a recipe's network trains; empty where there is none."""
        return self._shape(recipe)[2]

    def answering_flops(self, recipe: Recipe) -> float:
        """Operations for one picture through the whole network."""
        return float(sum(self._flops(recipe)))

    def lower_flops(self, recipe: Recipe) -> float:
        """Operations for one picture through the frozen part."""
        return self._flops(recipe)[1]

    @property
    def probe_flops(self) -> float:
        """Operations for one picture through all trunks that the frozen probe reads."""
        needed = {feature.backbone for feature in self.bench.probe.features}
        return float(sum(e.spec.flops for e in self.bench.embeddings if e.spec.name in needed))

    def _flops(self, recipe: Recipe) -> tuple[float, float]:
        """Operations for one picture above the cut and below it."""
        return self._shape(recipe)[:2]

    def _shape(self, recipe: Recipe) -> tuple[float, float, str]:
        """The same, and the cut."""
        key = (recipe.backbone, recipe.depths, recipe.strategy, recipe.trunk.part, recipe.trunk.blocks)
        if key not in self._shapes:
            found, model = self.bench.trunk(recipe.backbone)
            made = trainable_network.build(model, found.spec, recipe, start=None, n_classes=self.bench.on.n_classes)
            lower = flops.count_flops(trainable_network.lower(model, found.spec, made.cut)) if made.cut else 0.0
            if not made.cut and made.low:  # features alone come in: the whole trunk lies below
                lower = float(found.spec.flops)
            self._shapes[key] = flops.count_flops(made.model), lower, made.cut
        return self._shapes[key]
