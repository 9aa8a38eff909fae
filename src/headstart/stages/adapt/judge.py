"""From the curves of a recipe's folds to one verdict: how many epochs, how far from the start, how sure.

Three numbers are chosen on all held-out pictures together: the epoch, the part `alpha` of the way from the first
weights to the tuned ones (WiSE-FT, Wortsman et al., CVPR 2022; 0 when nothing that was learnt helps) and one
temperature (Guo et al., ICML 2017). The same three are used when the recipe is trained on all pictures. They are chosen
on the pictures that judge, as a head's strength is; nested cross-validation tells what that flatters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.kit import average
from headstart.kit.fitted import softmax
from headstart.kit.losses import log_losses, per_picture_loss
from headstart.stages.adapt.folds import FoldRun

ALPHAS = (0.0, 0.25, 0.5, 0.75)  # tried beside 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """How a recipe did on some folds.

    Attributes:
        epoch: Whose weights count, the same in all folds; at least 1.
        alpha: Part of the way from the first weights to those.
        temperature: By which logits are divided.
        rows: (M,) int64 pictures of these folds.
        y: (M,) int64.
        probabilities: (M, C) float32.
        losses: (M,) float64 by the metric.
    """

    epoch: int
    alpha: float
    temperature: float
    rows: np.ndarray
    y: np.ndarray
    probabilities: np.ndarray
    losses: np.ndarray

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(np.mean(self.losses))


def judged(
    runs: Sequence[FoldRun],
    y_of: Mapping[int, int],
    metric: str,
    interpolated: Callable[[int, float], np.ndarray] | None = None,
) -> Judged:
    """Choose epoch, alpha and temperature, and judge.

    Args:
        runs: The folds' trainings.
        y_of: Row of the data set -> class.
        metric: What losses are of.
        interpolated: Called with an epoch and an alpha, gives the (M, C) logits of all folds' held-out pictures with
            interpolated weights; None to stay at alpha 1.
    """
    rows = np.concatenate([run.rows for run in runs])
    y = np.array([y_of[row] for row in rows.tolist()], np.int64)
    counts = np.array([len(run.rows) for run in runs])
    epoch = 1 + average.choose_epoch(_curves(runs, y_of)[:, 1:], counts)
    logits = np.concatenate([run.logits[min(epoch, len(run.logits) - 1)] for run in runs]).astype(np.float64)
    alpha = 1.0
    if interpolated is not None:
        options = {1.0: logits, **{part: interpolated(epoch, part) for part in ALPHAS}}
        alpha = average.choose_alpha(options, y, metric)
        logits = options[alpha]
    heat = average.temperature(logits, y)
    p = softmax(logits / heat).astype(np.float32)
    return Judged(
        epoch=epoch,
        alpha=alpha,
        temperature=heat,
        rows=rows,
        y=y,
        probabilities=p,
        losses=np.asarray(per_picture_loss(metric, y, p), np.float64),
    )


def _curves(runs: Sequence[FoldRun], y_of: Mapping[int, int]) -> np.ndarray:
    """(F, E + 1) mean log loss of each fold at the start and after each epoch; NaN after a fold stopped.

    A fold that broke off in its first epoch stays at its start.
    """
    curves = np.full((len(runs), max(2, *(len(run.logits) for run in runs))), np.nan)
    for at, run in enumerate(runs):
        y = np.array([y_of[row] for row in run.rows.tolist()], np.int64)
        for epoch, logits in enumerate(run.logits):
            curves[at, epoch] = np.mean(log_losses(y, softmax(logits.astype(np.float64))))
        if len(run.logits) == 1:
            curves[at, 1] = curves[at, 0]
    return curves
