"""Where a trunk is best read, and how strongly a head is held back, by cross-validation on one set of pictures.

For whoever has features and labels and no run folder; a fit's own search, with repeats, clusters and several backbones,
are the stages `rank` and `adapt`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.core.types import FittedHead, Head, Score
from headstart.heads import cross_validation
from headstart.statistics import metrics
from headstart.statistics.paired_selection import CandidateLosses, choose_candidate

Depths = tuple[str, ...]
_SCORES = ("accuracy", "balanced_accuracy", "log_loss")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthSearchResult:
    """What the search came to."""

    depths: Depths
    head: FittedHead  # fitted on all pictures
    why: str
    scores: tuple[Score, ...]  # on the folds that were searched on; empty where nothing could be held out


def search_depths(
    head: Head,
    features: Mapping[str, np.ndarray],
    candidates: Sequence[Depths],
    labels: np.ndarray,
    folds: int,
    *,
    n_classes: int,
    class_weight: np.ndarray | None,
    seed: int,
    sample_weight: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> DepthSearchResult:
    """Try each candidate on the same folds, take the one with the lowest log loss, and fit it on all pictures.

    `features` are (N, D) float32 a depth, `labels` (N,) int64, `class_weight` (C,), `sample_weight` (N,); a group of
    `groups` (N,) int64 is never divided. A candidate is some depths side by side; the cheapest come first.
    """
    weights = {"class_weight": class_weight, "sample_weight": sample_weight}
    shared: dict[str, Any] = {"n_classes": n_classes, "seed": seed, **weights}
    fold_of_row, scores = deal_folds(labels, folds, seed, groups), tuple[Score, ...]()
    if fold_of_row is None:  # the deepest alone, with the middle of the head's grid
        names = candidates[max(len(candidates) - 2, 0)]
        grid = list(head.grid(len(labels), join_depths(features, names).shape[1], n_classes))
        params = grid[len(grid) // 2]
        why = f"nothing could be held out: a class has one {'picture' if groups is None else 'group'}, or is alone"
    else:
        settings = {
            n: cross_validation.tune_head(head, join_depths(features, n), labels, fold_of_row, **shared)
            for n in candidates
        }
        names, why = _choose_depths(settings)
        params, held_out = settings[names].params, settings[names].held_out[0]
        n_folds = cross_validation.count_folds(fold_of_row[None])
        of_folds: dict[str, Any] = {"split": "cv", "n_folds": n_folds, "clusters": groups}
        scores = tuple(metrics.compute_score(n, labels, held_out, **of_folds) for n in _SCORES)
    x = join_depths(features, names)
    fitted_head = next(cross_validation.fit_rows(head, x, labels, slice(None), params=[params], **shared))
    return DepthSearchResult(depths=names, head=fitted_head, why=why, scores=scores)


def deal_folds(labels: np.ndarray, max_folds: int, seed: int, groups: np.ndarray | None = None) -> np.ndarray | None:
    """(N,) fold of each picture, dealt out class by class, groups whole; None where a class has one, or is alone."""
    parts = np.arange(len(labels)) if groups is None else groups
    counts = [len(np.unique(parts[labels == c])) for c in range(int(labels.max()) + 1)]
    count = min(max_folds, *counts)
    if count < 2 or len(counts) < 2:
        return None
    folds, rows_dealt = np.empty(len(labels), np.int64), 0
    if groups is not None:
        from sklearn.model_selection import StratifiedGroupKFold

        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        for fold, (_, rows) in enumerate(splitter.split(labels, labels, groups)):
            folds[rows] = fold
        apart = min(len(np.unique(folds[labels == c])) for c in range(len(counts)))
        return folds if apart > 1 else None
    rng = np.random.default_rng([seed, 91_000])
    for c in range(len(counts)):
        rows = rng.permutation(np.flatnonzero(labels == c))
        folds[rows] = (rows_dealt + np.arange(len(rows))) % count
        rows_dealt += len(rows)
    return folds


def _choose_depths(settings: Mapping[Depths, cross_validation.TunedSetting]) -> tuple[Depths, str]:
    by_name = {"+".join(names): names for names in settings}
    losses = [(name, settings[names].losses) for name, names in by_name.items()]
    candidates = [CandidateLosses(name=name, rows=np.arange(len(each)), losses=each, cost=1.0) for name, each in losses]
    choice = choose_candidate(candidates, metric="log_loss")
    return by_name[choice.winner], choice.why


def join_depths(features: Mapping[str, np.ndarray], names: Depths) -> np.ndarray:
    """(N, D) features of some depths side by side."""
    return np.concatenate([features[name] for name in names], axis=1) if len(names) > 1 else features[names[0]]
