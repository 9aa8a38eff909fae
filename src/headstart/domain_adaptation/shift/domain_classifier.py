"""How well a classifier tells target pictures from source ones, and which look least like the source.

The classifier two-sample test of Lopez-Paz and Oquab (2017). Near-duplicates would be recognised without any shift, so
that one picture of each cluster takes part, as far as there are enough clusters.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from headstart.core import registry
from headstart.core.types import Dataset, TargetDomain
from headstart.data.duplicates.clusters import chain_cap, find_capped_clusters
from headstart.data.duplicates.copy_detection import find_near_pairs
from headstart.data.split_drift import SideTest, compare_sides
from headstart.heads.cross_validation import fit_and_predict, loosen_head, predict_held_out

MOST = 1_000  # pictures of a side that take part
ENOUGH = 60  # pictures below which several of one cluster take part
FARTHEST = 12  # pictures that are shown
STRANGEST = 100  # pictures of which these are chosen
_FOLDS = 5


def find_target_clusters(pictures: Dataset) -> np.ndarray:
    """(T,) int64 clusters of target pictures that look alike, by their hashes; labels play no part."""
    count = len(pictures.uris)
    pairs, _, _ = find_near_pairs(dataclasses.replace(pictures, targets=np.zeros(count, np.int64)))
    return find_capped_clusters(count, np.empty((0, 2), np.int64), pairs, cap=chain_cap(count))[0]


def list_judged(target: TargetDomain) -> np.ndarray:
    """(L,) int64 ascending rows with a label, one of each cluster of near-duplicates."""
    if not len(target.labelled):
        return target.labelled
    clusters = find_target_clusters(target.pictures)[target.labelled]
    return target.labelled[np.sort(np.unique(clusters, return_index=True)[1])]


def draw_unlike(clusters: np.ndarray, seed: int) -> np.ndarray:
    """(B,) int64 ascending positions, at most `MOST`: of each of `clusters` (M,) as few as give `ENOUGH` in all."""
    rng = np.random.default_rng([seed, 91_000])
    order = rng.permutation(len(clusters))
    turn = np.empty(len(clusters), np.int64)  # how many of its cluster come before a picture
    by_cluster = order[np.argsort(clusters[order], kind="stable")]
    _, first, sizes = np.unique(clusters[by_cluster], return_index=True, return_counts=True)
    turn[by_cluster] = np.arange(len(clusters)) - np.repeat(first, sizes)
    turns = np.sort(turn)
    limit = turns[min(ENOUGH, len(turns)) - 1]
    return np.sort(order[turn[order] <= limit][:MOST])


def compare_domains(source: np.ndarray, target: np.ndarray, strata: np.ndarray | None = None) -> SideTest | None:
    """Compare features of source (A, D) and target (B, D), within each of `strata` (A + B,) where there are any."""
    second = np.arange(len(source) + len(target)) >= len(source)
    strata = np.zeros(len(second), np.int64) if strata is None else strata
    return compare_sides(np.concatenate([source, target]), strata, second)


def measure_strangeness(source: np.ndarray, target: np.ndarray, drawn: np.ndarray, seed: int) -> np.ndarray:
    """(T,) float32 log-odds of each target picture (T, D) of being of the target rather than the source (A, D).

    By logistic regression that weighs both sides alike and learns from the source and the target pictures `drawn`
    (B,): those are judged by folds that left them out.
    """
    head = loosen_head(registry.load_plugin("heads", "logistic"))
    x = np.concatenate([source, target[drawn]])
    y = (np.arange(len(x)) >= len(source)).astype(np.int64)
    folds = np.random.default_rng([seed, 92_000]).permutation(len(x)) % _FOLDS
    weight = len(y) / (2 * np.bincount(y, minlength=2))
    grid = [{"strength": x.shape[1] / len(x)}]
    shared: dict[str, Any] = {"n_classes": 2, "grid": grid, "class_weight": weight, "seed": seed}
    p = np.empty((len(target), 2), np.float64)
    p[drawn] = predict_held_out(head, x, y, folds, **shared)[0, 0, len(source) :]
    others = np.setdiff1d(np.arange(len(target)), drawn)
    if len(others):
        every = np.concatenate([x, target[others]])
        learnt, unseen = np.arange(len(x)), np.arange(len(x), len(every))
        padded = np.concatenate([y, np.ones(len(others), np.int64)])
        p[others] = fit_and_predict(head, every, padded, learnt, unseen, **shared)[0]
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p[:, 1] / p[:, 0]), np.float32)


def choose_farthest(strangeness: np.ndarray, clusters: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(F,) int64 rows, the strangest first, that look unlike each other by the features x (T, D).

    Of the strangest tenth, at most `STRANGEST` and one of each of `clusters` (T,), the one farthest from those taken
    comes next (Gonzalez 1985).
    """
    order = np.argsort(-strangeness, kind="stable")
    _, first = np.unique(clusters[order], return_index=True)
    drawn = order[np.sort(first)][: max(FARTHEST, min(STRANGEST, len(order) // 10))]
    taken, gaps = [0], np.full(len(drawn), np.inf)
    while len(taken) < min(FARTHEST, len(drawn)):
        gaps = np.minimum(gaps, np.linalg.norm(x[drawn] - x[drawn[taken[-1]]], axis=1))
        gaps[taken] = -1
        taken.append(int(gaps.argmax()))
    return np.asarray(drawn[np.sort(taken)], np.int64)
