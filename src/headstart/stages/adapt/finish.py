"""The final training: the best recipe on all training pictures, for the epochs that its folds chose.

Where the folds say that averaging the weights of several recipes helps, it is a soup of them (Wortsman et al., ICML
2022). The network becomes a `keras.Model` file, and at the same time a trunk with a linear head, so that it is
measured, exported and served as a frozen probe is.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from headstart.core.types import BackboneSpec, Depth, FittedHead, TrainingLog, TunedNetwork
from headstart.kit import average, cost, finish, train
from headstart.kit.fitted import softmax
from headstart.kit.losses import log_losses
from headstart.stages.adapt import folds, space
from headstart.stages.adapt.search import Attempt
from headstart.stages.adapt.workbench import Ready, Workbench

TUNED, SCRATCH = "tuned:", "scratch:"
FILES = {TUNED: "adapt/model.keras", SCRATCH: "adapt/from_random.keras"}
Weights = dict[str, np.ndarray]


def final(bench: Workbench, best: Sequence[Attempt]) -> tuple[TunedNetwork, list[TrainingLog]]:
    """Train the winner, or the soup, on all training pictures.

    Args:
        bench: Pictures, features, trunks and folds.
        best: Finalists, the best first, all judged.

    Returns:
        The network and the log of each training.
    """
    members = _soup(bench, best)
    weights: list[Weights] = []
    logs: list[TrainingLog] = []
    job: Ready | None = None
    for attempt in members:
        job, made, log = trained(bench, attempt)
        weights.append(made)
        logs.append(log)
    assert job is not None
    job.network.set(average.mean(weights))
    return _saved(bench, job, members, len(bench.rows), TUNED), logs


def of_fold(bench: Workbench, attempt: Attempt) -> TunedNetwork:
    """The network of the first fold as it is: what an interruption leaves time for."""
    assert attempt.judged is not None
    first = attempt.runs[0]
    job = bench.prepare(attempt.recipe, bench.learnt(first.log.fold))
    epoch, alpha = attempt.judged.epoch, attempt.judged.alpha
    job.network.set(folds.weights(bench, job, attempt.number, first, epoch, alpha))
    return _saved(bench, job, [attempt], first.log.n_train, TUNED)


def from_random(
    bench: Workbench, tuned: TunedNetwork, epochs: int, positions: np.ndarray
) -> tuple[TunedNetwork, TrainingLog]:
    """The same network from random weights, trained on the same pictures.

    Args:
        bench: Pictures and trunks.
        tuned: What it is compared with.
        epochs: As many as take the operations that the tuned network took.
        positions: (M,) int64 pictures to learn from.
    """
    recipe = dataclasses.replace(space.from_random(tuned.recipe), epochs=epochs)
    job = bench.prepare(recipe, positions)
    made = _fit(bench, job, "from random weights", epochs)
    log = _log(job, made, "from random weights", -1, len(positions))
    job.network.set(made.weights(len(made.rows)))
    ended = Attempt(number=-1, recipe=job.recipe, origin="baseline")
    return _saved(bench, job, [ended], len(positions), SCRATCH), log


# ---------------------------------------------------------------- training


def trained(bench: Workbench, attempt: Attempt) -> tuple[Ready, Weights, TrainingLog]:
    """A judged recipe on all training pictures of a bench: its network, the weights that count, its log."""
    assert attempt.judged is not None
    name = f"final, trial {attempt.number}"
    job = bench.prepare(attempt.recipe, bench.everything)
    first = job.network.get()
    epochs = max(attempt.judged.epoch, 1)
    made = _fit(bench, job, name, epochs)
    last = made.weights(len(made.rows))
    mixed = job.network.between(first, last, attempt.judged.alpha)
    return job, mixed, _log(job, made, name, attempt.number, len(bench.rows))


def _fit(bench: Workbench, job: Ready, name: str, epochs: int) -> train.Trained:
    made = train.train(
        job.network,
        job.recipe,
        job.feed,
        held=None,
        class_weight=bench.on.class_weight,
        folder=bench.work / name.replace(" ", "-").replace(",", ""),
        stop_after=epochs,
        callbacks=bench.ctx.callbacks,
        say=bench.ctx.say,
        name=name,
    )
    folds.tell_profile(bench, name, made.profile)
    return made


def _log(job: Ready, made: train.Trained, name: str, trial: int, n_train: int) -> TrainingLog:
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


def _soup(bench: Workbench, best: Sequence[Attempt]) -> list[Attempt]:
    """The finalists whose averaged weights do better on the folds than the best alone; mostly only the best."""
    alike = [a for a in best if bench.same_shape(a.recipe, best[0].recipe)]
    count = min(len(a.runs) for a in alike)
    if len(alike) < 2:
        return list(best[:1])
    chosen = average.soup(alike, lambda members: _soup_loss(bench, members, count))
    return [alike[at] for at in chosen]


def _soup_loss(bench: Workbench, members: Sequence[Attempt], count: int) -> float:
    found, y = [], []
    for at in range(count):
        run = members[0].runs[at]
        job = bench.prepare(members[0].recipe, bench.learnt(run.log.fold))
        weights = [_at_best(bench, job, member, at) for member in members]
        found.append(folds.logits(bench, job, average.mean(weights), run))
        y += [bench.y_of[row] for row in run.rows.tolist()]
    joined, truth = np.concatenate(found).astype(np.float64), np.array(y)
    return float(np.mean(log_losses(truth, softmax(joined / average.temperature(joined, truth)))))


def _at_best(bench: Workbench, job: Ready, member: Attempt, at: int) -> dict[str, np.ndarray]:
    assert member.judged is not None
    return folds.weights(bench, job, member.number, member.runs[at], member.judged.epoch, member.judged.alpha)


# ---------------------------------------------------------------- the result


def _saved(bench: Workbench, job: Ready, members: Sequence[Attempt], n_train: int, prefix: str) -> TunedNetwork:
    """Write the `keras.Model`, and describe it as a trunk and a head."""
    verdict = members[0].judged
    heat = verdict.temperature if verdict else 1.0
    trunk, model = bench.trunk(job.recipe.backbone)
    made = finish.finish(job.network, model, trunk.spec, temperature=heat)
    file = FILES[prefix]
    finish.write_keras(made.model, bench.ctx.folder("adapt") / file.rpartition("/")[2])
    head = FittedHead(
        head=job.recipe.head if job.recipe.head == "mlp" else "softmax",
        kind="linear",
        params={},
        arrays={"weights": made.weights, "bias": made.bias},
        trainable_params=job.network.trainable_params,
    )
    epochs = sum(max(a.judged.epoch, 1) for a in members if a.judged) or job.recipe.epochs
    return TunedNetwork(
        spec=_spec(trunk.spec, prefix, made),
        backbone=trunk.name,
        recipe=job.recipe,
        file=file,
        fitted=head,
        epochs=epochs,
        alpha=verdict.alpha if verdict else 1.0,
        temperature=heat,
        soup=tuple(a.number for a in members),
        trainable_params=job.network.trainable_params,
        n_train=n_train,
        flops=bench.price.training_flops(job, epochs, n_train),
    )


def _spec(of: BackboneSpec, prefix: str, made: finish.Finished) -> BackboneSpec:
    digest = hashlib.sha256()
    for weight in made.trunk.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return dataclasses.replace(
        of,
        name=prefix + of.name,
        revision=f"{of.revision}-{digest.hexdigest()[:16]}",
        depths=(Depth(name="features", dim=int(made.weights.shape[0])),),
        params=int(made.trunk.count_params()),
        flops=int(cost.flops(made.trunk)),
        pretrained_on="nothing: random weights" if prefix == SCRATCH else f"{of.pretrained_on}; then tuned",
        prior=0.0 if prefix == SCRATCH else of.prior,
    )
