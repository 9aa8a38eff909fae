"""The final training: the best recipe on all training pictures, for the epochs that its folds chose.

Where the folds say that it helps, weights of several recipes are averaged (soup, Wortsman et al., ICML 2022). The
network becomes a `keras.Model` file and a trunk with a linear head: it is measured and exported as a probe is.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.types import BackboneSpec, FeatureLevel, FittedHead, TrainingLog, TunedNetwork
from headstart.finetuning.network import plain_model
from headstart.finetuning.objectives import Objective
from headstart.finetuning.search import fold_training, recipe_proposals
from headstart.finetuning.search.recipe_space import train_same_weights
from headstart.finetuning.search.recipe_trial import RecipeTrial
from headstart.finetuning.search.training_setup import TrainingSetup
from headstart.finetuning.search.training_source import PreparedTraining
from headstart.finetuning.tracking import epoch_tracking
from headstart.finetuning.training import trainer, weight_averaging
from headstart.networks import flops
from headstart.networks.formats import keras_writer
from headstart.statistics.losses import per_picture_loss

TUNED, SCRATCH = "tuned:", "scratch:"
_FILES = {TUNED: "adapt/model.keras", SCRATCH: "adapt/from_random.keras"}
Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """Of a network besides its weights: `epochs` of all `members`, trials by number, together; `alpha` of the first."""

    members: tuple[int, ...]
    epochs: int
    alpha: float
    temperature: float
    n_train: int


@dataclass(frozen=True, kw_only=True, eq=False)
class FinalNetwork:
    """The network with the weights that count, and the log of each training."""

    training: PreparedTraining
    facts: TrainingFacts
    logs: tuple[TrainingLog, ...]


def train_final_network(setup: TrainingSetup, finalists: Sequence[RecipeTrial]) -> FinalNetwork:
    """Train the winner, or the soup, on all training pictures; `finalists` are judged, the best first."""
    best = finalists[0]
    members, temperature = _choose_soup(setup, finalists)
    results = [train_on_all(setup, t, setup.ctx.callbacks if t is best else ()) for t in members]
    logs = [log for *_, log in results]
    if any(map(is_broken_off, logs)):  # what the folds said is of networks that went through
        results, members, temperature = (
            results[:1],
            members[:1],
            choose_temperature(best, logs[0], setup.training_set.objective),
        )
    training = results[0][0]
    training.network.set(weight_averaging.average_weights([weights for _, weights, _ in results]))
    facts = TrainingFacts(
        members=tuple(trial.number for trial in members),
        epochs=sum(len(log.epochs) for *_, log in results),
        alpha=0.0 if is_broken_off(logs[0]) else best.require_verdict().alpha,
        temperature=temperature,
        n_train=len(setup.training_set.rows),
    )
    return FinalNetwork(training=training, facts=facts, logs=tuple(logs))


def save_final_network(setup: TrainingSetup, final: FinalNetwork) -> TunedNetwork:
    """Write what the final training made, and describe it."""
    return save_network(setup, final.training, final.facts, TUNED)


def save_first_fold(setup: TrainingSetup, trial: RecipeTrial) -> TunedNetwork:
    """The network of the first fold as it is: what an interruption leaves time for."""
    first, verdict = trial.runs[0], trial.require_verdict()
    training = setup.prepare(trial.recipe, setup.training_set.training_positions(first.log.fold))
    epoch, alpha = verdict.epoch, verdict.alpha
    training.network.set(fold_training.load_weights(setup, training, trial.number, first, epoch, alpha))
    facts = TrainingFacts(
        members=(trial.number,),
        epochs=min(epoch, len(first.log.epochs)),
        alpha=alpha,
        temperature=verdict.temperature,
        n_train=first.log.n_train,
    )
    return save_network(setup, training, facts, TUNED)


def train_from_random(
    setup: TrainingSetup, tuned: TunedNetwork, epochs: int, positions: np.ndarray
) -> tuple[TunedNetwork, TrainingLog]:
    """The same network from random weights, trained on the (M,) int64 `positions`."""
    recipe = dataclasses.replace(recipe_proposals.make_scratch_recipe(tuned.recipe), epochs=epochs)
    training, name, n_train = setup.prepare(recipe, positions), "from random weights", len(positions)
    trained = _train(setup, training, name, epochs)
    count = len(trained.rows)
    log = fold_training.make_log(training, trained, name=name, trial=-1, fold=-1, n_train=n_train, best=count)
    training.network.set(trained.weights(count))
    facts = TrainingFacts(members=(-1,), epochs=count, alpha=1.0, temperature=1.0, n_train=n_train)
    return save_network(setup, training, facts, SCRATCH), log


def train_on_all(
    setup: TrainingSetup, trial: RecipeTrial, callbacks: Sequence[Any] = ()
) -> tuple[PreparedTraining, Weights, TrainingLog]:
    """A judged recipe on all training pictures: network, weights that count (the first, if it broke off), log."""
    verdict, name = trial.require_verdict(), f"final, trial {trial.number}"
    training = setup.prepare(trial.recipe, setup.training_set.positions)
    first = training.network.get()
    trained = _train(setup, training, name, max(verdict.epoch, 1), callbacks)
    count, n_train = len(trained.rows), len(setup.training_set.rows)
    log = fold_training.make_log(training, trained, name=name, trial=trial.number, fold=-1, n_train=n_train, best=count)
    if is_broken_off(log):
        setup.ctx.console.print_warning(f"{name}: {log.stopped}; the network stays as it was before the first step")
        return training, first, dataclasses.replace(log, notes=(*log.notes, "broke off: the first weights count"))
    return training, training.network.interpolate_weights(first, trained.weights(count), verdict.alpha), log


def is_broken_off(log: TrainingLog) -> bool:
    """Whether a training met numbers that are not finite."""
    return "not finite" in log.stopped


def choose_temperature(trial: RecipeTrial, log: TrainingLog, objective: Objective) -> float:
    """What the logits are divided by: as the folds chose, or of their first weights if the training broke off."""
    verdict = trial.require_verdict()
    if not is_broken_off(log):
        return verdict.temperature
    start = np.concatenate([run.logits[0] for run in trial.runs])
    return objective.fit_temperature(start, verdict.targets)


def _train(
    setup: TrainingSetup, training: PreparedTraining, name: str, epochs: int, callbacks: Sequence[Any] = ()
) -> trainer.TrainingResult:
    trained = trainer.train_network(
        training.network,
        training.recipe,
        training.feed,
        held=None,
        class_weight=setup.training_set.problem.class_weight,
        folder=setup.work_folder / name.replace(" ", "-").replace(",", ""),
        stop_after=epochs,
        on_epoch=epoch_tracking.follow_epochs(setup.tracker, name, training.recipe),
        callbacks=callbacks,
        console=setup.ctx.console,
        name=name,
        places=setup.cost.choose_places(training),
    )
    fold_training.print_profile(setup.ctx, name, trained.profile)
    return trained


def _choose_soup(setup: TrainingSetup, finalists: Sequence[RecipeTrial]) -> tuple[list[RecipeTrial], float]:
    """The chosen recipe and the finalists whose weights, averaged with its own, do better on the folds; temperature."""
    best, metric, objective = finalists[0], setup.training_set.problem.metric, setup.training_set.objective
    alike = [t for t in finalists if train_same_weights(t.runs[0].log.recipe, best.runs[0].log.recipe)]
    if len(alike) < 2:
        return [best], best.require_verdict().temperature
    folds, temperatures = min(len(trial.runs) for trial in alike), dict[tuple[int, ...], float]()

    def mean_loss(members: Sequence[RecipeTrial]) -> float:
        logits, y = _predict_soup(setup, members, folds)
        temperature = objective.fit_temperature(logits, y)
        temperatures[tuple(trial.number for trial in members)] = temperature
        return float(np.mean(per_picture_loss(metric, y, objective.answer(logits, temperature))))

    members = [alike[at] for at in weight_averaging.choose_soup(alike, mean_loss)]
    if len(members) == 1:
        return members, best.require_verdict().temperature
    return members, temperatures[tuple(trial.number for trial in members)]


def _predict_soup(setup: TrainingSetup, members: Sequence[RecipeTrial], folds: int) -> tuple[np.ndarray, np.ndarray]:
    """(M, C) float64 of averaged weights on the held-out pictures of some folds, and their (M, …) targets."""
    logits, y = [], []
    for at in range(folds):
        run = members[0].runs[at]
        training = setup.prepare(members[0].recipe, setup.training_set.training_positions(run.log.fold))
        weights = [_load_best_weights(setup, training, member, at) for member in members]
        logits.append(fold_training.predict_held_out(setup, training, weight_averaging.average_weights(weights), run))
        y.append(setup.training_set.targets_of(run.rows))
    return np.concatenate(logits).astype(np.float64), np.concatenate(y)


def _load_best_weights(setup: TrainingSetup, training: PreparedTraining, member: RecipeTrial, at: int) -> Weights:
    verdict, run = member.require_verdict(), member.runs[at]
    return fold_training.load_weights(setup, training, member.number, run, verdict.epoch, verdict.alpha)


def save_network(setup: TrainingSetup, training: PreparedTraining, facts: TrainingFacts, prefix: str) -> TunedNetwork:
    """Write a network with the weights that it has now; `prefix` of its trunk's name tells the file."""
    trunk, model = setup.networks.load_trunk(training.recipe.backbone)
    plain = plain_model.make_plain_model(training.network, model, trunk.spec, temperature=facts.temperature)
    file = network_file_name(prefix)
    keras_writer.write_keras(plain.model, setup.ctx.make_step_folder("adapt") / file.rpartition("/")[2])
    is_untrained = facts.alpha == 0 and len(facts.members) == 1
    head = FittedHead(
        head="mlp" if training.recipe.head == "mlp" else training.network.objective.head,
        kind=training.network.objective.kind,
        params={},
        arrays={"weights": plain.weights, "bias": plain.bias},
        trainable_params=plain.weights.size + plain.bias.size if is_untrained else training.network.trainable_params,
    )
    return TunedNetwork(
        spec=describe_trunk(trunk.spec, prefix, plain, "" if is_untrained else "; then tuned"),
        backbone=trunk.name,
        recipe=training.recipe,
        file=file,
        fitted=head,
        epochs=facts.epochs,
        alpha=facts.alpha,
        temperature=facts.temperature,
        soup=facts.members,
        trainable_params=0 if is_untrained else training.network.trainable_params,
        n_train=facts.n_train,
        flops=setup.cost.training_flops(training.recipe, facts.epochs, facts.n_train),
    )


def network_file_name(prefix: str) -> str:
    """Where a run keeps the network whose trunk's name begins so."""
    return _FILES.get(prefix, f"adapt/{prefix.rstrip(':')}.keras")


def describe_trunk(spec: BackboneSpec, prefix: str, plain: plain_model.PlainModel, tuned: str) -> BackboneSpec:
    """What is known of a trunk that grew from `spec`; `tuned` is added to what it was pre-trained on."""
    digest = hashlib.sha256()
    for weight in plain.trunk.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return dataclasses.replace(
        spec,
        name=prefix + spec.name,
        revision=f"{spec.revision}-{digest.hexdigest()[:16]}",
        depths=(FeatureLevel(name="features", dim=int(plain.weights.shape[0])),),
        params=int(plain.trunk.count_params()),
        flops=int(flops.count_flops(plain.trunk)),
        pretrained_on="nothing: random weights" if prefix == SCRATCH else f"{spec.pretrained_on}{tuned}",
        prior=0.0 if prefix == SCRATCH else spec.prior,
    )
