"""An ensemble of linear heads, pooled by the normalised geometric mean of their probabilities: one linear head again.

Members are taken from heads that were fitted anyway, one by one and each as often as it lowers the held-out log loss:
greedy selection with replacement (Caruana et al., ICML 2004). The log probability of a linear head is linear in its
features but for a number that all classes share, so the mean of several (Genest and Zidek 1986) is linear in the
columns that they read together: one product to answer, to export and to explain.
Legend: K heads, M pictures, D columns, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core import registry
from headstart.core.types import FittedHead, Head, IterativeHead
from headstart.heads.prediction import softmax

NAME = "ensemble"
MEMBERS = "members"  # its one parameter: of each head name, columns, share and setting
ROUNDS = 20  # members at most, counted as often as they were taken


class Ensemble:
    """See the module; a `Head` whose members a search names.

    Its setting is `{"members": [{"name": …, "head": "lda", "columns": [[0, 320]], "share": 0.4, "params": {…}}, …]}`:
    `columns` are half-open ranges of `x`, the shares sum to 1.
    """

    name = NAME
    cannot: Mapping[str, str] = {}

    def __init__(self, tolerance: float | None = None) -> None:
        self.tolerance = tolerance

    def with_tolerance(self, tolerance: float) -> Ensemble:
        """See `headstart.core.types.IterativeHead`."""
        return Ensemble(tolerance)

    def grid(self, n_train: int, dim: int, n_classes: int) -> Sequence[Mapping[str, Any]]:
        """Nothing: who belongs to it is searched outside."""
        return ()

    def path(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        n_classes: int,
        params: Sequence[Mapping[str, Any]],
        class_weight: np.ndarray | None,
        seed: int,
        sample_weight: np.ndarray | None = None,
    ) -> Iterator[FittedHead]:
        """See `headstart.core.types.Head`."""
        shared: dict[str, Any] = {"n_classes": n_classes, "class_weight": class_weight, "seed": seed}
        shared |= {} if sample_weight is None else {"sample_weight": sample_weight}
        for setting in params:
            weights, bias, size = np.zeros((x.shape[1], n_classes)), np.zeros(n_classes), 0
            for member in setting[MEMBERS]:
                columns = np.concatenate([np.arange(first, last) for first, last in member["columns"]])
                head = registry.load_plugin("heads", member["head"])
                if self.tolerance is not None:
                    head = loosen_head(head, self.tolerance)
                fitted = next(iter(head.path(x[:, columns], y, params=[member["params"]], **shared)))
                weights[columns] += member["share"] * fitted.arrays["weights"]
                bias += member["share"] * fitted.arrays["bias"]
                size += fitted.trainable_params
            arrays = {"weights": weights.astype(np.float32), "bias": bias.astype(np.float32)}
            yield FittedHead(head=NAME, kind="linear", params=dict(setting), arrays=arrays, trainable_params=size)


def loosen_head(head: Head, tolerance: float) -> Head:
    """The head solved to a tolerance, where it is solved in steps."""
    return head.with_tolerance(tolerance) if isinstance(head, IterativeHead) else head


def select_members(log_p_KMC: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(K,) float64 share of each head, the greedy choice by log loss; it ends when no head lowers the loss further."""
    total, counts, best = np.zeros(log_p_KMC.shape[1:]), np.zeros(len(log_p_KMC)), np.inf
    for taken in range(1, ROUNDS + 1):
        losses = [_mean_loss((total + log_p) / taken, y) for log_p in log_p_KMC]
        position = int(np.argmin(losses))
        if losses[position] >= best:
            break
        best = losses[position]
        total += log_p_KMC[position]
        counts[position] += 1
    return np.asarray(counts / counts.sum())


def pool_probabilities(log_p_KMC: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(M, C) float32: the weighted geometric mean of probabilities, normalised."""
    return softmax(np.einsum("k,kmc->mc", shares, log_p_KMC)).astype(np.float32)


def pool_held_out(log_p_KMC: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(M, C) float32 of held-out log probabilities, each fold pooled by shares that the other folds chose.

    NaN where `folds` (M,) is -1.
    """
    pooled = np.full(log_p_KMC.shape[1:], np.nan, np.float32)
    for fold in np.unique(folds[folds >= 0]):
        inside, others = folds == fold, (folds != fold) & (folds >= 0)
        pooled[inside] = pool_probabilities(log_p_KMC[:, inside], select_members(log_p_KMC[:, others], y[others]))
    return pooled


def _mean_loss(scores: np.ndarray, y: np.ndarray) -> float:
    top = scores.max(axis=1)
    return float((top + np.log(np.exp(scores - top[:, None]).sum(axis=1)) - scores[np.arange(len(y)), y]).mean())


def format_params(params: Mapping[str, Any]) -> str:
    """A head's setting for people: `strength 0.01`, or the members of an ensemble with their shares."""
    if MEMBERS in params:
        return ", ".join(f"{member['share']:.0%} {member['name']}" for member in params[MEMBERS])
    return ", ".join(f"{name} {value:.3g}" for name, value in params.items())
