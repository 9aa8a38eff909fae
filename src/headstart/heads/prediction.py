"""From features to probabilities with numpy alone: the same code answers in cross-validation and in a saved model.

`linear` is a softmax over `x @ weights + bias`, `linear_sigmoid` the probability of each sum by itself,
`linear_identity` the sums themselves; `neighbours` counts the votes of the nearest training pictures. Sums are taken in
float64, over blocks of rows, so that memory does not grow with the pictures.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from headstart.core.types import FittedHead

_BLOCK_ROWS = 2048
_BLOCK_NUMBERS = 1 << 24  # of distances held at once


def predict_probabilities(kind: str, arrays: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """(B, C) float32 by one fitted head of raw features (B, D); a `ValueError` for an unknown kind or another width."""
    return _find_predictor(kind)([arrays], x)[0]


def predict_many(fitted: Sequence[FittedHead], x: np.ndarray) -> np.ndarray:
    """(G, B, C) float32 by G heads that differ in what was tuned, sharing one product or one search for neighbours."""
    return np.stack(_find_predictor(fitted[0].kind)([head.arrays for head in fitted], x))


def _find_predictor(kind: str) -> Callable[[Sequence[Mapping[str, np.ndarray]], np.ndarray], list[np.ndarray]]:
    if kind not in _PREDICT:
        raise ValueError(f"no kind of head is named `{kind}`; known: {', '.join(_PREDICT)}")
    return _PREDICT[kind]


def softmax(scores: np.ndarray) -> np.ndarray:
    """(…, C) float64 scores -> probabilities, without overflow."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """Scores of any shape -> the probability of each by itself, without overflow."""
    powers = np.exp(-np.abs(scores))
    return np.asarray(np.where(scores >= 0, 1.0, powers) / (1.0 + powers))


def _predict_linear(
    heads: Sequence[Mapping[str, np.ndarray]], x: np.ndarray, link: Callable[[np.ndarray], np.ndarray] = softmax
) -> list[np.ndarray]:
    weights = np.concatenate([head["weights"] for head in heads], axis=1).astype(np.float64)
    bias = np.stack([head["bias"] for head in heads]).astype(np.float64)
    _require_width(x, len(weights))
    out = np.empty((len(heads), len(x), bias.shape[1]), np.float32)
    for start in range(0, len(x), _BLOCK_ROWS):
        scores = np.asarray(x[start : start + _BLOCK_ROWS], np.float64) @ weights
        out[:, start : start + _BLOCK_ROWS] = link(scores.reshape(-1, *bias.shape) + bias).transpose(1, 0, 2)
    return list(out)


def _predict_neighbours(heads: Sequence[Mapping[str, np.ndarray]], x: np.ndarray) -> list[np.ndarray]:
    first = heads[0]
    if any(head[name] is not first[name] for head in heads for name in ("points", "labels", "centre", "scale")):
        return [_predict_neighbours([head], x)[0] for head in heads]
    points, max_k = first["points"], max(int(head["k"]) for head in heads)
    _require_width(x, points.shape[1])
    lengths = np.einsum("md,md->m", points, points)
    results = [np.empty((len(x), len(first["prior"])), np.float32) for _ in heads]
    rows = max(1, min(_BLOCK_ROWS, _BLOCK_NUMBERS // max(len(points), 1)))
    for start in range(0, len(x), rows):
        queries = ((x[start : start + rows] - first["centre"]) / first["scale"]).astype(np.float32)
        labels = first["labels"][_find_nearest(lengths - 2 * (queries @ points.T), max_k)]
        for head, result in zip(heads, results, strict=True):
            result[start : start + rows] = _share_votes(labels[:, : int(head["k"])], head)
    return results


def _find_nearest(distances: np.ndarray, k: int) -> np.ndarray:
    """(B, M) -> (B, k) positions, the nearest first; of equals the earlier one."""
    if k < distances.shape[1]:
        near = np.sort(np.argpartition(distances, k - 1, axis=1)[:, :k], axis=1)
    else:
        near = np.broadcast_to(np.arange(distances.shape[1]), distances.shape)
    order = np.argsort(np.take_along_axis(distances, near, axis=1), axis=1, kind="stable")
    return np.take_along_axis(near, order, axis=1)


def _share_votes(labels: np.ndarray, head: Mapping[str, np.ndarray]) -> np.ndarray:
    """(B, k) classes of the nearest -> (B, C): weighted votes, smoothed by as much as `prior`."""
    prior = head["prior"].astype(np.float64)
    hits = np.stack([(labels == c).sum(axis=1) for c in range(len(prior))], axis=1)
    votes = hits * head["vote"].astype(np.float64) + prior
    return np.asarray(votes / votes.sum(axis=1, keepdims=True))


def _require_width(x: np.ndarray, width: int) -> None:
    if x.ndim != 2 or x.shape[1] != width:
        raise ValueError(f"features of shape {x.shape} do not fit a head of width {width}")


_PREDICT: dict[str, Callable[[Sequence[Mapping[str, np.ndarray]], np.ndarray], list[np.ndarray]]] = {
    "linear": _predict_linear,
    "linear_identity": functools.partial(_predict_linear, link=np.asarray),
    "linear_sigmoid": functools.partial(_predict_linear, link=sigmoid),
    "neighbours": _predict_neighbours,
}
