"""The final training: the best recipe on all training pictures, for the epochs that its folds chose.

Where the folds say that averaging the weights of several recipes helps, it is a soup of them (Wortsman et al., ICML
2022). The network becomes a `keras.Model` file, and at the same time a trunk with a linear head, so that it is
measured, exported and served as a frozen probe is.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.types import BackboneSpec, FeatureLevel, FittedHead, TrainingLog, TunedNetwork
from headstart.finetuning.network import plain_model
from headstart.finetuning.search import fold_training, search_space
from headstart.finetuning.search.recipe_search import RecipeTrial
from headstart.finetuning.search.training_setup import PreparedTraining, Workbench
from headstart.finetuning.tracking import epoch_tracking
from headstart.finetuning.training import trainer, weight_averaging
from headstart.heads.prediction import softmax
from headstart.networks import flops
from headstart.networks.formats import keras_writer
from headstart.statistics.losses import per_picture_loss

TUNED, SCRATCH = "tuned:", "scratch:"
FILES = {TUNED: "adapt/model.keras", SCRATCH: "adapt/from_random.keras"}
Weights = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What is told of a network besides its weights.

    Attributes:
        members: Numbers of the trials whose weights were averaged, the chosen one first.
        epochs: Trained, of all members together.
        alpha: Part of the way from the first weights, of the chosen one.
        temperature: By which logits are divided.
        n_train: Pictures that were learnt from.
    """

    members: tuple[int, ...]
    epochs: int
    alpha: float
    temperature: float
    n_train: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Final:
    """What the final training made: the network with the weights that count, and the log of each training."""

    job: PreparedTraining
    result: Result
    logs: tuple[TrainingLog, ...]


def final(bench: Workbench, best: Sequence[RecipeTrial]) -> Final:
    """Train the winner, or the soup, on all training pictures.

    Args:
        bench: Pictures, features, trunks and folds.
        best: Finalists, the best first, all judged.
    """
    members, heat = _soup(bench, best)
    made = [trained(bench, a, bench.ctx.callbacks if a is best[0] else ()) for a in members]
    logs = [log for *_, log in made]
    if any(map(broke_off, logs)):  # what the folds said is of networks that went through
        made, members, heat = made[:1], members[:1], temperature(best[0], logs[0])
    job = made[0][0]
    job.network.set(weight_averaging.mean([weights for _, weights, _ in made]))
    result = Result(
        members=tuple(a.number for a in members),
        epochs=sum(len(log.epochs) for *_, log in made),
        alpha=_alpha(best[0], logs[0]),
        temperature=heat,
        n_train=len(bench.rows),
    )
    return Final(job=job, result=result, logs=tuple(logs))


def handed_over(bench: Workbench, made: Final) -> TunedNetwork:
    """Write what the final training made, and describe it."""
    return _saved(bench, made.job, made.result, TUNED)


def of_fold(bench: Workbench, attempt: RecipeTrial) -> TunedNetwork:
    """The network of the first fold as it is: what an interruption leaves time for."""
    assert attempt.judged is not None
    first = attempt.runs[0]
    job = bench.prepare(attempt.recipe, bench.learnt(first.log.fold))
    epoch, alpha = attempt.judged.epoch, attempt.judged.alpha
    job.network.set(fold_training.weights(bench, job, attempt.number, first, epoch, alpha))
    result = Result(
        members=(attempt.number,),
        epochs=min(epoch, len(first.log.epochs)),
        alpha=alpha,
        temperature=attempt.judged.temperature,
        n_train=first.log.n_train,
    )
    return _saved(bench, job, result, TUNED)


def from_random(
    bench: Workbench, tuned: TunedNetwork, epochs: int, positions: np.ndarray
) -> tuple[TunedNetwork, TrainingLog]:
    """The same network from random weights, trained on the same pictures.

    Args:
        bench: Pictures and trunks.
        tuned: What it is compared with.
        epochs: Of the training.
        positions: (M,) int64 pictures to learn from.
    """
    recipe = dataclasses.replace(search_space.from_random(tuned.recipe), epochs=epochs)
    job = bench.prepare(recipe, positions)
    made = _fit(bench, job, "from random weights", epochs)
    log = _log(job, made, "from random weights", -1, len(positions))
    job.network.set(made.weights(len(made.rows)))
    result = Result(members=(-1,), epochs=len(made.rows), alpha=1.0, temperature=1.0, n_train=len(positions))
    return _saved(bench, job, result, SCRATCH), log


# ---------------------------------------------------------------- training


def trained(
    bench: Workbench, attempt: RecipeTrial, callbacks: Sequence[Any] = ()
) -> tuple[PreparedTraining, Weights, TrainingLog]:
    """A judged recipe on all training pictures of a bench: its network, the weights that count, its log.

    A training that breaks off, at a loss that is not finite, leaves the first weights: the folds chose epoch and alpha
    for one that goes through.
    """
    assert attempt.judged is not None
    name = f"final, trial {attempt.number}"
    job = bench.prepare(attempt.recipe, bench.everything)
    first = job.network.get()
    epochs = max(attempt.judged.epoch, 1)
    made = _fit(bench, job, name, epochs, callbacks)
    log = _log(job, made, name, attempt.number, len(bench.rows))
    if broke_off(log):
        bench.ctx.console.print_warning(f"{name}: {log.stopped}; the network stays as it was before the first step")
        return job, first, dataclasses.replace(log, notes=(*log.notes, "broke off: the first weights count"))
    last = made.weights(len(made.rows))
    return job, job.network.between(first, last, attempt.judged.alpha), log


def broke_off(log: TrainingLog) -> bool:
    """Whether a training met numbers that are not finite."""
    return "not finite" in log.stopped


def temperature(attempt: RecipeTrial, log: TrainingLog) -> float:
    """What the logits of `trained` are divided by: as the folds chose, or of their first weights if it broke off."""
    assert attempt.judged is not None
    if not broke_off(log):
        return attempt.judged.temperature
    start = np.concatenate([run.logits[0] for run in attempt.runs])
    return weight_averaging.temperature(start, attempt.judged.y)


def _alpha(attempt: RecipeTrial, log: TrainingLog) -> float:
    assert attempt.judged is not None
    return 0.0 if broke_off(log) else attempt.judged.alpha


def _fit(
    bench: Workbench, job: PreparedTraining, name: str, epochs: int, callbacks: Sequence[Any] = ()
) -> trainer.Trained:
    made = trainer.train(
        job.network,
        job.recipe,
        job.feed,
        held=None,
        class_weight=bench.on.class_weight,
        folder=bench.work / name.replace(" ", "-").replace(",", ""),
        stop_after=epochs,
        on_epoch=epoch_tracking.live(bench.follow, name, job.recipe),
        callbacks=callbacks,
        console=bench.ctx.console,
        name=name,
    )
    fold_training.tell_profile(bench, name, made.profile)
    return made


def _log(job: PreparedTraining, made: trainer.Trained, name: str, trial: int, n_train: int) -> TrainingLog:
    return TrainingLog(
        name=name,
        trial=trial,
        recipe=job.recipe,
        fold=-1,
        n_train=n_train,
        start=made.start,
        epochs=made.rows,
        best=len(made.rows),
        stopped=made.stopped,
        trainable_params=job.network.trainable_params,
        notes=(*job.notes, *made.notes),
    )


# ---------------------------------------------------------------- soup


def _soup(bench: Workbench, best: Sequence[RecipeTrial]) -> tuple[list[RecipeTrial], float]:
    """The chosen recipe and the finalists whose weights, averaged with its own, do better on the folds; temperature."""
    assert best[0].judged is not None
    alike = [a for a in best if bench.same_shape(a.runs[0].log.recipe, best[0].runs[0].log.recipe)]
    if len(alike) < 2:
        return [best[0]], best[0].judged.temperature
    count, heats = min(len(a.runs) for a in alike), dict[tuple[int, ...], float]()

    def loss(members: Sequence[RecipeTrial]) -> float:
        logits, y = _soup_logits(bench, members, count)
        heat = heats[tuple(a.number for a in members)] = weight_averaging.temperature(logits, y)
        return float(np.mean(per_picture_loss(bench.on.metric, y, softmax(logits / heat))))

    chosen = [alike[at] for at in weight_averaging.soup(alike, loss)]
    if len(chosen) == 1:
        return chosen, best[0].judged.temperature
    return chosen, heats[tuple(a.number for a in chosen)]


def _soup_logits(bench: Workbench, members: Sequence[RecipeTrial], count: int) -> tuple[np.ndarray, np.ndarray]:
    """(M, C) float64 of averaged weights on the held-out pictures of some folds, and their (M,) classes."""
    found, y = [], []
    for at in range(count):
        run = members[0].runs[at]
        job = bench.prepare(members[0].recipe, bench.learnt(run.log.fold))
        weights = [_at_best(bench, job, member, at) for member in members]
        found.append(fold_training.logits(bench, job, weight_averaging.mean(weights), run))
        y += [bench.y_of[row] for row in run.rows.tolist()]
    return np.concatenate(found).astype(np.float64), np.array(y)


def _at_best(bench: Workbench, job: PreparedTraining, member: RecipeTrial, at: int) -> dict[str, np.ndarray]:
    assert member.judged is not None
    return fold_training.weights(bench, job, member.number, member.runs[at], member.judged.epoch, member.judged.alpha)


# ---------------------------------------------------------------- the result


def _saved(bench: Workbench, job: PreparedTraining, result: Result, prefix: str) -> TunedNetwork:
    """Write the `keras.Model`, and describe it as a trunk and a head."""
    trunk, model = bench.trunk(job.recipe.backbone)
    made = plain_model.finish(job.network, model, trunk.spec, temperature=result.temperature)
    file = FILES[prefix]
    keras_writer.write_keras(made.model, bench.ctx.make_step_folder("adapt") / file.rpartition("/")[2])
    head = FittedHead(
        head=job.recipe.head if job.recipe.head == "mlp" else "softmax",
        kind="linear",
        params={},
        arrays={"weights": made.weights, "bias": made.bias},
        trainable_params=job.network.trainable_params,
    )
    return TunedNetwork(
        spec=_spec(trunk.spec, prefix, made),
        backbone=trunk.name,
        recipe=job.recipe,
        file=file,
        fitted=head,
        epochs=result.epochs,
        alpha=result.alpha,
        temperature=result.temperature,
        soup=result.members,
        trainable_params=job.network.trainable_params,
        n_train=result.n_train,
        flops=bench.price.training_flops(job, result.epochs, result.n_train),
    )


def _spec(of: BackboneSpec, prefix: str, made: plain_model.PlainModel) -> BackboneSpec:
    digest = hashlib.sha256()
    for weight in made.trunk.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return dataclasses.replace(
        of,
        name=prefix + of.name,
        revision=f"{of.revision}-{digest.hexdigest()[:16]}",
        depths=(FeatureLevel(name="features", dim=int(made.weights.shape[0])),),
        params=int(made.trunk.count_params()),
        flops=int(flops.count_flops(made.trunk)),
        pretrained_on="nothing: random weights" if prefix == SCRATCH else f"{of.pretrained_on}; then tuned",
        prior=0.0 if prefix == SCRATCH else of.prior,
    )
