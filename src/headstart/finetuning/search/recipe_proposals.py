"""Which recipes are tried: a few by the number of labelled pictures a class, then what Optuna's TPE proposes.

TPE (Bergstra et al., NeurIPS 2011) learns from the trials that ended; the median rule prunes those that fall behind
(Golovin et al., KDD 2017). Every proposal is recorded, so a resumed run repeats it whatever Optuna would say now.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.core import recipe as recipes
from headstart.core.recipe import Recipe

PROPOSALS = 12  # asked for when the dear ones do not fit the time
FEW, SOME = 20, 75  # pictures a class: below the first only the last block trains, from the second on also all
STEPS, EPOCHS = 320, (10, 40)  # steps that a recipe wants, within so many epochs
MOST_BLOCKS = 6  # stands for all of them
_WARM = 2  # trials before the median rule and the model of TPE have a say
STRENGTHS = (0.0, 0.5, 1.0)  # few, for views of each are kept


def make_first_recipes(
    strategy: str, per_class: int, n_train: int, blocks: int, shared: Mapping[str, Any]
) -> list[Recipe]:
    """The first recipes, the most promising first; docs/evidence/adapt.md shows what they were measured at.

    `per_class` is the typical number of training pictures a class, `blocks` those up to the deepest level that is read.
    """
    few = per_class < FEW
    epochs = min(max(EPOCHS[0], round(STEPS * Recipe().batch / n_train)), EPOCHS[1])
    usual = Recipe(**shared, rate=5e-4 if few else 2e-3, decay=0.8, weight_decay=2e-2, epochs=epochs, augment=0.5)
    if strategy == "lora":
        return [usual.with_fields(strategy="lora", rate=2e-3, blocks=min(2, blocks))]
    if strategy == "norms":
        return [usual.with_fields(strategy="norms", part="all", rate=3e-3, decay=1.0)]
    if strategy == "scratch":
        return [make_scratch_recipe(usual.with_fields(epochs=30))]
    first = [usual.with_fields(blocks=min(k, blocks)) for k in ((1,) if few else (1, 2))]
    if per_class >= SOME:  # the best of all where it fits the budget: `benchmarks/strategies.py`
        first.append(usual.with_fields(part="all", decay=0.6))
    if strategy == "auto":
        first.append(usual.with_fields(strategy="lora", rate=2e-3, blocks=min(2, blocks)))
        first.append(usual.with_fields(strategy="probe", head="mlp", rate=1e-3, dropout=0.3, augment=0.0))
    return list(dict.fromkeys(first))


def make_scratch_recipe(recipe: Recipe) -> Recipe:
    """The same network from random weights: everything trains, at rates that suit a start from nothing."""
    return recipe.with_fields(
        strategy="scratch",
        start="random",
        part="all",
        gradual=False,
        batch_norm="train",
        rate=1e-3,
        decay=1.0,
        trunk_rate=1.0,
        l2_sp=0.0,
        wise=False,
        patience=0,
    )


def make_distributions(strategy: str, backbones: Sequence[str]) -> dict[str, Any]:
    """The space; a probe's head is never proposed, and from random weights everything trains at one rate."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    all_train = strategy == "scratch"
    kinds = ("finetune", "lora", "norms") if strategy == "auto" else (strategy,)
    return {
        "strategy": CategoricalDistribution(kinds),
        "backbone": CategoricalDistribution(tuple(backbones)),
        "blocks": IntDistribution(MOST_BLOCKS if all_train else 1, MOST_BLOCKS),
        "rate": FloatDistribution(3e-5, 1e-2, log=True),
        "decay": FloatDistribution(1.0 if all_train else 0.3, 1.0),
        "weight_decay": FloatDistribution(1e-5, 1e-1, log=True),
        "dropout": FloatDistribution(0.0, 0.6),
        "epochs": IntDistribution(4, EPOCHS[1]),
        "augment": CategoricalDistribution(STRENGTHS),
        "mixup": FloatDistribution(0.0, 0.4),
        "ema": CategoricalDistribution((0.0, 0.99)),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedTrial:
    """For the model of TPE and the median rule."""

    recipe: Recipe
    loss: float
    course: Mapping[int, float]  # epoch -> held-out log loss


def _lies_in(values: Mapping[str, Any], space: Mapping[str, Any]) -> bool:
    """Whether a recipe lies in the space; one given by hand may not, and one of the strategy `probe` never does."""
    return all(
        values[name] in each.choices if hasattr(each, "choices") else each.low <= values[name] <= each.high
        for name, each in space.items()
    )


class Proposer:
    """Optuna's study, rebuilt from the trials that ended."""

    def __init__(self, strategy: str, backbones: Sequence[str], finished: Sequence[FinishedTrial], seed: int) -> None:
        import optuna

        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # it tells of each study that it makes
        self.space = make_distributions(strategy, backbones)
        self.study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed + len(finished), n_startup_trials=_WARM),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_WARM, n_warmup_steps=_WARM),
        )
        optuna.logging.set_verbosity(verbosity)
        make = functools.partial(optuna.trial.create_trial, distributions=self.space)
        for trial in finished:
            values, part = recipes.field_values(trial.recipe), trial.recipe.trunk.part
            params = {name: values[name] for name in self.space} | ({"blocks": MOST_BLOCKS} if part == "all" else {})
            if _lies_in(params, self.space):
                self.study.add_trial(make(params=params, value=trial.loss, intermediate_values=dict(trial.course)))

    def propose(self) -> dict[str, Any]:
        """Values of the space's parameters."""
        return dict(self.study.ask(self.space).params)

    def is_behind(self, course: Mapping[int, float]) -> bool:
        """Whether a course of losses is worse than the median of the trials that ended, at its last epoch."""
        trial = self.study.ask()
        for epoch, loss in course.items():
            trial.report(loss, epoch)
        return bool(trial.should_prune())
