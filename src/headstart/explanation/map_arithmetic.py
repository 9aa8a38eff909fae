"""Arithmetic of maps: what each place adds to a linear score, and maps of several sizes on one grid.

A score that is linear in means of maps is the mean of its values if the whole picture were like one place
(CAM, Zhou 2016; where it holds HiResCAM and Grad-CAM give the same, Draelos and Carin 2020). Nothing approximates:
maps go from one grid to another by the areas that cells share, so that their mean stays what it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headstart.heads.design_matrix import ABSENT

Box = tuple[float, float, float, float]  # left, top, right, bottom
_TINY = float(np.finfo(np.float32).tiny)


def linear_form(kind: str, arrays: Mapping[str, np.ndarray], x: np.ndarray, of: int) -> tuple[np.ndarray, float]:
    """A head's score of one class as a linear function of raw features (D,): weights (D,) float64 and a bias.

    Of a `linear` head it is the class's logit minus the mean of the other logits, classes without a picture to learn
    from left out; of `linear_sigmoid` the label's own logit, of `linear_identity` the number. Of `neighbours` it is
    half the difference of mean squared distances to the nearest pictures of other classes and of the class, these
    pictures held fixed: linear too, for the square of the picture's own length cancels.

    Raises:
        ValueError: The kind is unknown.
    """
    if kind in ("linear_identity", "linear_sigmoid"):
        return np.asarray(arrays["weights"], np.float64)[:, of], float(arrays["bias"][of])
    if kind == "linear":
        weights, bias = np.asarray(arrays["weights"], np.float64), np.asarray(arrays["bias"], np.float64)
        learnt = np.flatnonzero((bias > ABSENT / 10) | (np.arange(len(bias)) == of))
        position = int(np.searchsorted(learnt, of))
        return against_others(weights[..., learnt], position), float(against_others(bias[learnt], position))
    if kind == "neighbours":
        return _between_neighbours(arrays, np.asarray(x, np.float64), of)
    raise ValueError(f"no kind of head is named `{kind}`")


def against_others(scores: np.ndarray, of: int) -> np.ndarray:
    """(…, C) -> (…): one class's score minus the mean of the others'."""
    count = scores.shape[-1]
    class_score = scores[..., of]
    others: np.ndarray = (scores.sum(axis=-1) - class_score) / max(count - 1, 1)
    return np.asarray(class_score - others)


def logit_margin(probabilities: np.ndarray, of: int) -> np.ndarray:
    """(B, C) probabilities -> (B,) log-probability of a class minus the mean of the others'; its logit margin."""
    return against_others(np.log(np.maximum(np.asarray(probabilities, np.float64), _TINY)), of)


def _between_neighbours(arrays: Mapping[str, np.ndarray], x: np.ndarray, of: int) -> tuple[np.ndarray, float]:
    points, labels = np.asarray(arrays["points"], np.float64), np.asarray(arrays["labels"])
    centre, scale = np.asarray(arrays["centre"], np.float64), np.asarray(arrays["scale"], np.float64)
    distances = ((points - (x - centre) / scale) ** 2).sum(axis=1)
    means, squares = [], []
    for group in (labels == of, labels != of):
        near = np.flatnonzero(group)
        near = near[np.argsort(distances[near], kind="stable")[: int(arrays["k"])]]
        chosen = points[near] if len(near) else np.zeros((1, points.shape[1]))
        means.append(chosen.mean(axis=0))
        squares.append(float((chosen**2).sum(axis=1).mean()))
    weights = (means[0] - means[1]) / scale
    return weights, (squares[1] - squares[0]) / 2 - float(centre @ weights)


def resample_map(values: np.ndarray, source: Box, target: Box, shape: tuple[int, int]) -> np.ndarray:
    """(rows, columns) float64 of a map over `source` on a grid over `target`, by shared areas: the mean stays."""
    down = _shared_areas(values.shape[0], source[1], source[3], shape[0], target[1], target[3])
    across = _shared_areas(values.shape[1], source[0], source[2], shape[1], target[0], target[2])
    return np.asarray(down @ np.asarray(values, np.float64) @ across.T)


def _shared_areas(count: int, low: float, high: float, rows: int, first: float, last: float) -> np.ndarray:
    """(rows, count): for each new cell the old ones' shares, scaled so that the mean over all new cells is the old."""
    old, new = np.linspace(low, high, count + 1), np.linspace(first, last, rows + 1)
    shared = np.minimum(new[1:, None], old[None, 1:]) - np.maximum(new[:-1, None], old[None, :-1])
    return np.asarray(np.maximum(shared, 0.0) * (rows / (high - low)))


def resize_map(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) to (rows, columns) float32, linear between the centres of cells, flat beyond the outer ones."""
    rows, columns = (
        np.clip((np.arange(count) + 0.5) * old / count - 0.5, 0, old - 1)
        for count, old in zip(shape, values.shape, strict=True)
    )
    return interpolate_map(values, rows, columns)


def interpolate_map(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(len(rows), len(columns)) float32 of a map at places between its cells, in cells from the first's centre."""
    interpolated = np.asarray(values, np.float64)
    for axis, at in enumerate((rows, columns)):
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, interpolated.shape[axis] - 1)
        share = np.expand_dims(at - low, 1 - axis)
        interpolated = np.take(interpolated, low, axis) * (1 - share) + np.take(interpolated, high, axis) * share
    return interpolated.astype(np.float32)


def positive_share(values: np.ndarray) -> np.ndarray:
    """What speaks for a class, 0..1 float32: negative values are 0, the largest is 1; all 0 where none is positive."""
    above = np.maximum(values, 0.0)
    most = float(above.max(initial=0.0))
    return (above / most).astype(np.float32) if most > 0 else np.zeros(values.shape, np.float32)


def surrounding_box(boxes: tuple[Box, ...]) -> Box:
    """The smallest box that holds all."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)
