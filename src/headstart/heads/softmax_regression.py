"""Logistic regression with an L2 penalty, of one class or of labels, solved along strengths; and a temperature.

Minimises mean_i w_i CE(softmax(z_i W + b), y_i) + strength / 2 |W|^2, the intercept free: scikit-learn's problem with
C = 1 / (strength M). Of labels the cross-entropies of sigmoids are summed. L-BFGS (Nocedal 1980) runs in variables
scaled by the Cholesky factor of the expected curvature; the line search works on the scores. Each strength starts from
the solution of the one before.

Of ordered classes W may be w r^T of their ranks r: the adjacent-category logit with proportional odds (Agresti 2010),
whose one direction w needs fewer pictures.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from headstart.heads.covariance import Coordinates, factorize
from headstart.heads.prediction import sigmoid
from headstart.statistics.root_finding import find_root

PARTS = (10.0, 2.5, 0.8, 0.3, 0.1, 0.03)  # strengths that are tried, over columns per picture
MEMORY = 10
MAX_STEPS = 300
_FEW_CLASSES = 16
# Nats of the objective left, as the local quadratic model foresees; 1e-8 moves probabilities by 0.006.
TOLERANCE = 2e-10
_LEAST_SPREAD = 1e-3
_ROUNDING = 1e-6  # of the trace, added to the expected curvature: it steers, so that sums in float32 suffice for it


def softmax_rows(scores: np.ndarray) -> np.ndarray:
    """(M, C) scores -> probabilities."""
    powers: np.ndarray = scores - _reduce_classes(np.maximum, scores)
    np.exp(powers, out=powers)
    powers /= _reduce_classes(np.add, powers)
    return powers


def _reduce_classes(operation: np.ufunc, rows: np.ndarray) -> np.ndarray:
    """(M, C) -> (M, 1). Few classes are taken column by column: numpy is slow at short rows."""
    if rows.shape[1] > _FEW_CLASSES:
        return np.asarray(operation.reduce(rows, axis=1, keepdims=True))
    return np.asarray(functools.reduce(operation, rows.T))[:, None]


@dataclass(eq=False)
class _Problem:
    """One strength's objective; theta is (Q + 1, C), the intercept last."""

    coordinates: Coordinates
    target: np.ndarray  # (M, C) one-hot, or any labels where the link is `sigmoid`
    weight: np.ndarray  # (M, 1) weights over M
    strength: float
    link: Callable[[np.ndarray], np.ndarray] = softmax_rows

    def start(self, intercept: np.ndarray) -> np.ndarray:
        """theta with no weights and an intercept (C,)."""
        return np.concatenate([np.zeros((self.coordinates.width, len(intercept))), intercept[None]])

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (Q, C) and intercept (C,)."""
        return theta[:-1], theta[-1]

    def multiply_penalised(self, theta: np.ndarray, other: np.ndarray) -> float:
        """The inner product of what the penalty is about."""
        return float(np.vdot(theta[: self.coordinates.width], other[: self.coordinates.width]))

    def compute_residual(self, scores: np.ndarray) -> np.ndarray:
        return np.asarray(self.weight * (self.link(scores) - self.target))

    def compute_gradient(self, theta: np.ndarray, residual: np.ndarray) -> np.ndarray:
        pull = self.coordinates.multiply_transposed(residual)
        return np.concatenate([pull + self.strength * theta[:-1], residual.sum(axis=0, keepdims=True)])

    def compute_scores(self, theta: np.ndarray) -> np.ndarray:
        return np.asarray(self.coordinates.multiply(theta[:-1]) + theta[-1])

    def make_scale(self, scores: np.ndarray) -> _Scale:
        """By the expected second derivatives, each row's in proportion to how unsure it is."""
        p_MC, column = self.link(scores), np.ones(1)
        if self.link is softmax_rows:
            spread = self.weight * (1 - np.sum(p_MC**2, axis=1, keepdims=True)) / (p_MC.shape[1] - 1)
        else:
            each = self.weight * p_MC * (1 - p_MC)
            spread = each.mean(axis=1, keepdims=True)
            column = np.sqrt(np.maximum(each.sum(axis=0) / spread.sum(), _LEAST_SPREAD))  # rare labels curve less
        spread += _LEAST_SPREAD * self.weight
        gram = self.coordinates.weigh_gram(spread)
        floor = self.strength + _ROUNDING * float(np.trace(gram))
        return _Scale(factorize(gram, floor).astype(np.float32), float(spread.sum()) ** 0.5, column)


@dataclass(eq=False)
class _RankProblem(_Problem):
    """The same with weights w r^T; theta is (Q + C, 1), w and then the intercepts; r (C,) is of length 1."""

    ranks: np.ndarray = field(kw_only=True)

    def start(self, intercept: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros(self.coordinates.width), intercept])[:, None]

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        width = self.coordinates.width
        return theta[:width] * self.ranks, theta[width:, 0]

    def compute_gradient(self, theta: np.ndarray, residual: np.ndarray) -> np.ndarray:
        pull = self.coordinates.multiply_transposed((residual @ self.ranks)[:, None])
        return np.concatenate([pull + self.strength * theta[: len(pull)], residual.sum(axis=0)[:, None]])

    def compute_scores(self, theta: np.ndarray) -> np.ndarray:
        width = self.coordinates.width
        return np.asarray(self.coordinates.multiply(theta[:width]) * self.ranks + theta[width:, 0])

    def make_scale(self, scores: np.ndarray) -> _Scale:
        p_MC = softmax_rows(scores)
        spread = p_MC @ self.ranks**2 - (p_MC @ self.ranks) ** 2
        gram = self.coordinates.weigh_gram(self.weight * (np.maximum(spread, 0)[:, None] + _LEAST_SPREAD))
        floor = self.strength + _ROUNDING * float(np.trace(gram))
        of_intercepts = np.sum(self.weight * (p_MC * (1 - p_MC) + _LEAST_SPREAD), axis=0)[:, None]
        return _Scale(factorize(gram, floor).astype(np.float32), np.sqrt(of_intercepts), np.ones(1))


class _Scale(NamedTuple):
    """Variables in which the objective curves alike in all directions: theta times the root of the curvature."""

    factor: np.ndarray  # (Q, Q) float32 lower
    intercept: float | np.ndarray  # (C, 1) where they are one under the other
    column: np.ndarray  # (C,) or (1,)

    def scale_gradient(self, gradient: np.ndarray) -> np.ndarray:
        return self._solve(gradient, 0)

    def to_move(self, direction: np.ndarray) -> np.ndarray:
        return self._solve(direction, 1)

    def _solve(self, v: np.ndarray, trans: int) -> np.ndarray:
        from scipy.linalg.lapack import strtrs

        width = len(self.factor)
        inner, _ = strtrs(self.factor, v[:width], lower=1, trans=trans)
        return np.asarray(np.concatenate([inner, v[width:] / self.intercept]) / self.column)


class _Point(NamedTuple):
    """Where the search stands; scores and their residual are kept, for each costs as much as a step."""

    theta: np.ndarray
    scores: np.ndarray  # (M, C)
    residual: np.ndarray  # (M, C)


def solve_path(
    coordinates: Coordinates,
    y: np.ndarray,
    n_classes: int,
    strengths: Iterable[float],
    weight: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
    ranks: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weights (D, P) on the standardised features and intercept (P,) for each strength, drawn one by one.

    `y` (M,) has classes 0..P-1, all present, at least two. `tolerance` is in nats of the objective left.
    With `ranks` (P,), those of ordered classes, the weights are along one direction.
    """
    share = np.ones(len(y)) if weight is None else weight
    prior = np.log(np.bincount(y, weights=share, minlength=n_classes) / share.sum())
    target, weight = np.eye(n_classes)[y], (share / len(y))[:, None]
    problem = _Problem(coordinates, target, weight, 0.0)
    if ranks is not None:
        centred = ranks - ranks.mean()
        problem = _RankProblem(coordinates, target, weight, 0.0, ranks=centred / np.linalg.norm(centred))
    for weights, intercept in _follow_path(problem, prior, strengths, tolerance):
        yield coordinates.to_columns(weights), intercept - intercept.mean()


def solve_binary_path(
    coordinates: Coordinates,
    y: np.ndarray,
    strengths: Iterable[float],
    weight: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same for labels `y` (M, C) bool, each by itself; each is there in some rows and not in all."""
    share = np.ones(len(y)) if weight is None else weight
    mean = share @ y / share.sum()
    problem = _Problem(coordinates, y.astype(np.float64), (share / len(y))[:, None], 0.0, sigmoid)
    for weights, intercept in _follow_path(problem, np.log(mean / (1 - mean)), strengths, tolerance):
        yield coordinates.to_columns(weights), intercept


def _follow_path(
    problem: _Problem, intercept: np.ndarray, strengths: Iterable[float], tolerance: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weights (Q, C) and intercept (C,) for each strength, the first from a given intercept on."""
    theta, scores = problem.start(intercept), np.tile(intercept, (len(problem.target), 1))
    move, moved = np.zeros_like(theta), np.zeros_like(scores)
    for strength in strengths:
        problem = replace(problem, strength=strength)
        start = _Point(theta, scores, problem.compute_residual(scores))
        slope = float(np.vdot(start.residual, moved)) + strength * problem.multiply_penalised(theta, move)
        sign = -1.0 if slope > 0 else 1.0  # on the way that the last strength took, or back
        _, start = _search_line(problem, start, sign * move, sign * moved, sign * slope)
        end = _minimize(problem, start, tolerance)
        move, moved, theta, scores = end.theta - theta, end.scores - scores, end.theta, end.scores
        yield problem.split(theta)


def _minimize(problem: _Problem, point: _Point, tolerance: float) -> _Point:
    """L-BFGS in scaled variables from a start to where the objective is within `tolerance` of its least."""
    scale = problem.make_scale(point.scores)
    gradient = scale.scale_gradient(problem.compute_gradient(point.theta, point.residual))
    pairs: list[tuple[np.ndarray, np.ndarray, float]] = []
    for _ in range(MAX_STEPS):
        if np.vdot(gradient, gradient) <= 2 * tolerance:
            break
        direction = _lbfgs_direction(gradient, pairs)
        move = scale.to_move(direction)
        slope = float(np.vdot(gradient, direction))
        length, point = _search_line(problem, point, move, problem.compute_scores(move), slope)
        new_gradient = scale.scale_gradient(problem.compute_gradient(point.theta, point.residual))
        step, change = length * direction, new_gradient - gradient
        rise = float(np.vdot(step, change))
        if rise > 0:
            pairs = [*pairs[-MEMORY + 1 :], (step, change, 1 / rise)]
        gradient = new_gradient
    return point


def _lbfgs_direction(gradient: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray, float]]) -> np.ndarray:
    """The two-loop recursion."""
    q, parts = gradient.copy(), []
    for step, change, inverse in reversed(pairs):
        part = inverse * float(np.vdot(step, q))
        q -= part * change
        parts.append(part)
    if pairs:
        _, change, inverse = pairs[-1]
        q /= inverse * float(np.vdot(change, change))
    for (step, change, inverse), part in zip(pairs, reversed(parts), strict=True):
        q += step * (part - inverse * float(np.vdot(change, q)))
    return -q


def _search_line(
    problem: _Problem, point: _Point, move: np.ndarray, moved: np.ndarray, start: float
) -> tuple[float, _Point]:
    """A length at which the slope along the line, `start` at 0, has halved, and the point there.

    The objective is convex, so the slope rises.
    """
    inner = problem.strength * problem.multiply_penalised(point.theta, move)
    square = problem.strength * problem.multiply_penalised(move, move)
    low, low_slope, high, high_slope, length = 0.0, start, np.inf, np.inf, 1.0
    for _ in range(40):
        scores = point.scores + length * moved
        residual = problem.compute_residual(scores)
        slope = float(np.vdot(residual, moved)) + inner + length * square
        if abs(slope) <= 0.5 * abs(start):
            break
        if slope < 0:
            low, low_slope = length, slope
        else:
            high, high_slope = length, slope
        if np.isinf(high):
            length *= 3.0
        else:
            cut = low - low_slope * (high - low) / (high_slope - low_slope)
            length = min(max(cut, low + 0.1 * (high - low)), high - 0.1 * (high - low))
    return length, _Point(point.theta + length * move, scores, residual)


def fit_temperature(
    scores: np.ndarray, y: np.ndarray, *, weight: np.ndarray | None = None, offset: np.ndarray | float = 0.0
) -> float:
    """The factor t for which softmax(t scores + offset) has the least log loss (Guo 2017, with t = 1 / T).

    Labels are smoothed as by Platt (1999), so that t stays finite when held-out scores (M, C) float64 make no error.
    `offset` (C,) is added after scaling.
    """
    n, classes = scores.shape
    if not n:
        return 1.0
    blur = classes / (n + classes)
    share = np.full(n, 1 / n) if weight is None else weight / weight.sum()
    centred = scores - scores.mean(axis=1, keepdims=True)
    true_values = (1 - blur) * centred[np.arange(n), y]  # the rest of a label is spread over values that sum to 0
    scale = float(np.sqrt(np.mean(centred**2)))
    if scale == 0:
        return 1.0

    def measure_slope(t: float) -> tuple[float, float]:
        p_MC = softmax_rows(t / scale * centred + offset)
        means = np.sum(p_MC * centred, axis=1)
        rise = share @ (np.sum(p_MC * centred**2, axis=1) - means**2) / scale
        return float(share @ (means - true_values)), float(rise)

    return find_root(measure_slope, 1e-6, 1e6) / scale
