"""The chosen recipe trained once more, with a loss on unlabelled target pictures beside that on labelled source ones.

The first fold of the source is held out: it gives the temperature and the held-out answers. Nothing of the target
chooses an epoch, nor does the source, which would choose the one that is adapted least: the last epoch counts.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.backbones.earlier_runs.tuned_network import ADAPTED_FOLDER
from headstart.core.errors import NoOpError
from headstart.core.recipe import Recipe
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Embeddings, Feature, FitResult, Splits, TunedNetwork
from headstart.core.types.domain import NetworkCandidate, TargetDomain
from headstart.finetuning import final_training, starting_points
from headstart.finetuning.domain.candidate_features import embed_network
from headstart.finetuning.domain.losses import LOSSES
from headstart.finetuning.domain.paired_feed import STRONG_VIEWS, make_paired_feed
from headstart.finetuning.network.determinism import repeat_bit_for_bit
from headstart.finetuning.search.training_cost import BACKWARD
from headstart.finetuning.search.training_setup import TrainingSetup, make_training_setup
from headstart.finetuning.search.training_source import PreparedTraining
from headstart.finetuning.training import trainer
from headstart.finetuning.training.epoch_metrics import predict_logits
from headstart.networks import devices, flops
from headstart.selection.probe import head_selection

_EMA = 0.99  # of the weights under the consistency loss (mean teacher, Tarvainen and Valpola 2017)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoldAnswers:
    """(M, C) float32 answers to the pictures of the held-out fold."""

    probabilities: np.ndarray


def find_recipe(adapted: FitResult) -> Recipe:
    """The recipe that the search chose.

    Raises:
        NoOpError: There is none, or nothing of its trunk trains.
    """
    network = adapted.tuning.network if adapted.tuning else None
    if network is None:
        raise NoOpError("no recipe was chosen that a training on both domains could follow")
    if network.recipe.strategy == "probe":
        raise NoOpError("the chosen recipe trains the head alone, whose features no loss can bring together")
    return network.recipe


def make_adaptation_setup(
    data: Dataset, splits: Splits, embeddings: Sequence[Embeddings], adapted: FitResult, *, ctx: Context
) -> TrainingSetup:
    """What the trainings on both domains share; raises as `find_recipe` does."""
    recipe = find_recipe(adapted)
    own = next(each for each in embeddings if each.spec.name == recipe.backbone)
    dims = {level.name: level.dim for level in own.spec.depths}
    features = tuple(Feature(backbone=recipe.backbone, depth=depth, dim=dims[depth]) for depth in recipe.depths)
    problem = head_selection.make_training_problem(data, splits, ctx)
    setup = make_training_setup(data, splits, [own], [], adapted, problem, ctx=ctx)
    head = setup.training_set.objective.start
    point = starting_points.judge_starting_point(features, [own], problem, head)
    setup.recipe_space.starting_points = [point]
    return setup


def estimate_training_seconds(setup: TrainingSetup, recipe: Recipe, n_target: int, method: str) -> float:
    """Of a training on both domains, by the pace that the search measured."""
    setup.cost.recall_pace(recipe)
    shape, groups = setup.networks.measure_shape(recipe), LOSSES[method].groups
    count, views = len(setup.training_set.rows), STRONG_VIEWS if groups > 2 else 0
    steps = recipe.epochs * (1 + BACKWARD) * groups * count * shape.trained_flops / setup.cost.flops_per_s(recipe)
    passes = (n_target * (1 + views) * shape.frozen_flops + (count + n_target) * setup.cost.inference_flops(recipe)) / (
        flops.PASS_FLOPS_PER_S
    )
    return float(steps + passes)


def make_trained_candidate(
    method: str, setup: TrainingSetup, recipe: Recipe, target: TargetDomain, *, ctx: Context
) -> NetworkCandidate:
    """The network of a recipe after a training with the loss of a name of `LOSSES`.

    Raises:
        NoOpError: The training broke off, or no fold of the source can be held out.
        SetupError: Memory or disk space are missing, or the network could not be exported.
    """
    started = time.monotonic()
    training_set, folder = setup.training_set, ctx.make_step_folder(ADAPTED_FOLDER)
    fold = np.asarray(training_set.splits.folds)[0][training_set.rows]
    held_out, learning = np.flatnonzero(fold == 0), np.flatnonzero(fold != 0)
    if not len(held_out) or not len(learning):
        raise NoOpError("no fold of the source can be held out")
    work = setup.work_folder / f"domain-{method}"
    network = serialization.find_value(TunedNetwork, folder, method)
    answers = serialization.find_value(FoldAnswers, folder, f"{method}-held-out")
    if network is None or answers is None or not (ctx.run.path / network.file).is_file():
        with devices.run_on(devices.choose_device(ctx)):
            network, answers = _train(method, setup, recipe, target, held_out, learning)
        serialization.save_value(answers, folder, f"{method}-held-out")
        serialization.save_value(network, folder, method)
    shutil.rmtree(work, ignore_errors=True)  # the last to go, so that a killed run comes here again
    source_x, target_x, features = embed_network(network, training_set.data, training_set.rows, target, ctx=ctx)
    probabilities = np.full((len(training_set.rows), answers.probabilities.shape[1]), np.nan, np.float32)
    probabilities[held_out] = answers.probabilities
    return NetworkCandidate(
        method=method,
        params={"epochs": network.epochs},
        network=network,
        features=features,
        source_x=source_x,
        target_x=target_x,
        head_x=None,
        source_probabilities=probabilities,
        seconds=time.monotonic() - started,
    )


def _train(
    method: str,
    setup: TrainingSetup,
    recipe: Recipe,
    target: TargetDomain,
    held_out: np.ndarray,
    learning: np.ndarray,
) -> tuple[TunedNetwork, FoldAnswers]:
    kind, name = LOSSES[method], f"{method}, both domains"
    recipe = recipe.with_fields(patience=0, batch=min(recipe.batch, len(learning), len(target.pictures.uris)))
    if method == "consistency":
        recipe = recipe.with_fields(ema=recipe.averaging.ema or _EMA)
    training = setup.prepare(recipe, learning)
    domain = kind(steps=training.feed.steps * recipe.epochs, seed=recipe.seed)
    trained = trainer.train_network(
        training.network,
        recipe,
        make_paired_feed(setup, training, target, kind.groups),
        held=None,
        class_weight=setup.training_set.problem.class_weight,
        folder=setup.work_folder / f"domain-{method}",
        domain=domain,
        places=setup.cost.choose_places(training, domain),
        console=setup.ctx.console,
        name=name,
    )
    if "not finite" in trained.stopped:
        raise NoOpError(f"the training broke off: {trained.stopped}")
    objective, y = setup.training_set.objective, setup.training_set.targets[held_out]
    logits = _predict(training, held_out).astype(np.float64)
    temperature = objective.fit_temperature(logits, y)
    facts = final_training.TrainingFacts(
        members=(-1,), epochs=len(trained.rows), alpha=1.0, temperature=temperature, n_train=len(learning)
    )
    network = final_training.save_network(setup, training, facts, f"{method}:")
    probabilities = objective.answer(logits, temperature).astype(np.float32)
    return network, FoldAnswers(probabilities=probabilities)


@repeat_bit_for_bit()
def _predict(training: PreparedTraining, positions: np.ndarray) -> np.ndarray:
    """(M, C) float32 logits of source pictures."""
    return predict_logits(training.network, training.source.make_held_out(positions))
