"""A recipe that is tried, and the verdict on its folds: how many epochs, how far from the start, how sure.

Chosen on all held-out pictures together: the epoch, the part `alpha` of the way from the first weights to the tuned
ones (WiSE-FT, Wortsman et al., CVPR 2022) and a temperature (Guo et al., ICML 2017).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from headstart.core.recipe import Recipe
from headstart.finetuning.search.fold_training import FoldRun
from headstart.finetuning.search.training_set import TrainingSet
from headstart.finetuning.training import weight_averaging
from headstart.statistics.losses import is_gain, per_picture_loss
from headstart.statistics.sampling import evenly_spaced

ALPHAS = (0.0, 0.25, 0.5, 0.75)  # tried beside 1
SAMPLE = 2_000  # pictures that suffice to compare epochs after a temperature; the last temperature is of all


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldVerdict:
    """How a recipe did on some folds."""

    epoch: int  # whose weights count, the same in all folds; at least 1
    alpha: float  # part of the way from the first weights to those
    temperature: float
    rows: np.ndarray  # (M,) int64 pictures of these folds
    targets: np.ndarray  # (M, …)
    probabilities: np.ndarray  # (M, C) float32 answers
    losses: np.ndarray  # (M,) float64 by the metric

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(np.mean(self.losses))


@dataclass(kw_only=True, eq=False)
class RecipeTrial:
    """A trial on its way."""

    number: int
    recipe: Recipe
    origin: str
    runs: list[FoldRun] = field(default_factory=list)  # once judged, `best` of a log is what counts
    verdict: FoldVerdict | None = None  # on these folds; None when it failed
    why: str = ""  # what ended it, when it failed or was pruned
    pruned: bool = False

    def take_verdict(self, verdict: FoldVerdict) -> None:
        """Each log's `best` becomes the epoch that counts, or the last one of a fold that ended before it."""
        self.verdict = verdict
        self.runs = [
            dataclasses.replace(run, log=dataclasses.replace(run.log, best=min(verdict.epoch, len(run.log.epochs))))
            for run in self.runs
        ]

    def require_verdict(self) -> FoldVerdict:
        """The verdict of a trial that was judged."""
        assert self.verdict is not None
        return self.verdict

    @property
    def loss(self) -> float:
        """The mean loss on the folds done; infinite when it failed."""
        return self.verdict.loss if self.verdict else float("inf")


def rank_trials(trials: Sequence[RecipeTrial]) -> list[RecipeTrial]:
    """Those that ended, the best first."""
    return sorted((t for t in trials if t.verdict and not t.pruned), key=lambda t: (t.loss, t.number))


def judge_folds(
    runs: Sequence[FoldRun], training_set: TrainingSet, interpolate: Callable[[int, float], np.ndarray] | None = None
) -> FoldVerdict:
    """Judge by the best epoch, temperature and alpha (`interpolate`: (M, C) held-out logits by epoch and alpha)."""
    metric, objective = training_set.problem.metric, training_set.objective
    rows = np.concatenate([run.rows for run in runs])
    y = training_set.targets_of(rows)
    counts = np.array([len(run.rows) for run in runs])
    epoch = 1 + weight_averaging.choose_epoch(_loss_curves(runs, y, training_set), counts)
    logits = _logits_at(runs, epoch)
    alpha = 1.0
    if interpolate is not None:
        options = {1.0: logits, **{part: interpolate(epoch, part) for part in ALPHAS}}
        losses = {part: _measure_losses(part_logits, y, training_set).mean() for part, part_logits in options.items()}
        alpha = weight_averaging.choose_alpha(losses)
        logits = options[alpha]
    temperature = objective.fit_temperature(logits, y)
    p = objective.answer(logits, temperature).astype(np.float32)
    return FoldVerdict(
        epoch=epoch,
        alpha=alpha,
        temperature=temperature,
        rows=rows,
        targets=y,
        probabilities=p,
        losses=np.asarray(per_picture_loss(metric, y, p), np.float64),
    )


def _loss_curves(runs: Sequence[FoldRun], y: np.ndarray, training_set: TrainingSet) -> np.ndarray:
    """(F, E) mean loss of each fold after each epoch that all reached; of the start if one broke off in the first."""
    ends = np.cumsum([len(run.rows) for run in runs])[:-1]
    curves = []
    for epoch in range(1, max(2, min(len(run.logits) for run in runs))):
        losses = _measure_losses(_logits_at(runs, epoch), y, training_set)
        curves.append([part.mean() for part in np.split(losses, ends)])
    return np.array(curves).T


def _logits_at(runs: Sequence[FoldRun], epoch: int) -> np.ndarray:
    """(M, C) float64 logits of all folds after an epoch; of one that ended before it, after its last."""
    return np.concatenate([run.logits[min(epoch, len(run.logits) - 1)] for run in runs]).astype(np.float64)


def _measure_losses(logits: np.ndarray, y: np.ndarray, training_set: TrainingSet) -> np.ndarray:
    """(M,) by the metric; losses are taken after one temperature, for with one the network answers."""
    metric, objective, temperature = training_set.problem.metric, training_set.objective, 1.0
    if not is_gain(metric):
        sample = evenly_spaced(len(y), SAMPLE)
        temperature = objective.fit_temperature(logits[sample], y[sample])
    return per_picture_loss(metric, y, objective.answer(logits, temperature))
