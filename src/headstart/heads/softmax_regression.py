"""Multinomial logistic regression with an L2 penalty, solved along a path of strengths; and a temperature.

Minimises mean_i w_i CE(softmax(z_i W + b), y_i) + strength / 2 |W|^2, the intercept free: scikit-learn's problem with
C = 1 / (strength M). L-BFGS (Nocedal 1980) runs in the principal directions, each scaled by its expected curvature; the
line search works on the scores. Each strength starts from the solution of the one before.

scipy's L-BFGS in the same scaled directions takes 0.96 times the CPU where probabilities end up to 0.039 apart, and 1.6
to 2.2 times where they are up to 0.004 apart: 1,000 x 1,280 features, 5 folds, 6 strengths (`benchmarks/heads.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.heads.design_matrix import Basis

MEMORY = 10
MAX_STEPS = 300
_FEW_CLASSES = 16
# Nats of the objective left, as the local quadratic model foresees; 1e-8 moves probabilities by 0.006.
TOLERANCE = 2e-10


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

    basis: Basis
    coordinates: np.ndarray | None  # (M, Q) float32 coordinates where they are held
    target: np.ndarray  # (M, C) one-hot
    weight: np.ndarray  # (M, 1) weights over M
    strength: float

    def compute_residual(self, scores: np.ndarray) -> np.ndarray:
        return np.asarray(self.weight * (softmax_rows(scores) - self.target))

    def compute_gradient(self, theta: np.ndarray, scores: np.ndarray) -> np.ndarray:
        r_MC = self.compute_residual(scores)
        if self.coordinates is None:
            pull = self.basis.multiply_transposed(r_MC)
        else:
            pull = (self.coordinates.T @ r_MC.astype(np.float32)).astype(np.float64)
        return np.concatenate([pull + self.strength * theta[:-1], r_MC.sum(axis=0, keepdims=True)])

    def compute_scores(self, theta: np.ndarray) -> np.ndarray:
        if self.coordinates is None:
            return np.asarray(self.basis.multiply(theta[:-1]) + theta[-1])
        return np.asarray((self.coordinates @ theta[:-1].astype(np.float32)).astype(np.float64) + theta[-1])

    def compute_curvature(self, scores: np.ndarray) -> np.ndarray:
        """(Q + 1, 1) root of the expected second derivative along each direction."""
        p_MC = softmax_rows(scores)
        impurity = float((self.weight * (1 - np.sum(p_MC**2, axis=1, keepdims=True))).sum())
        spread = max(impurity / (p_MC.shape[1] - 1), 1e-3)
        return np.asarray(np.sqrt(np.append(spread * self.basis.power + self.strength, spread))[:, None])


def solve_path(
    basis: Basis, y: np.ndarray, n_classes: int, strengths: Sequence[float], weight: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weights (D, P) on the standardised features and intercept (P,) for each strength, best from strong to weak.

    `y` (M,) has classes 0..P-1, all present, at least two.
    """
    theta = np.zeros((len(basis.power) + 1, n_classes))
    share = np.ones(len(y)) if weight is None else weight
    theta[-1] = np.log(np.bincount(y, weights=share, minlength=n_classes) / share.sum())
    scores = np.tile(theta[-1], (len(y), 1))
    target = np.eye(n_classes)[y]
    # float32 halves the time of a step; the steps themselves and all sums over classes are float64
    coordinates = basis.coordinates.astype(np.float32) if basis.design.dense else None
    for strength in strengths:
        problem = _Problem(basis, coordinates, target, (share / len(y))[:, None], strength)
        theta, scores = _minimize(problem, theta, scores)
        yield basis.to_columns(theta[:-1]), theta[-1] - theta[-1].mean()


def _minimize(problem: _Problem, theta: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """L-BFGS in scaled variables from a start; the end and its scores."""
    scale = problem.compute_curvature(scores)
    gradient = problem.compute_gradient(theta, scores) / scale
    pairs: list[tuple[np.ndarray, np.ndarray, float]] = []
    for _ in range(MAX_STEPS):
        if np.vdot(gradient, gradient) <= 2 * TOLERANCE:
            break
        direction = _lbfgs_direction(gradient, pairs)
        move = direction / scale
        moved = problem.compute_scores(move)
        length = _search_line(problem, theta, scores, move, moved)
        theta, scores = theta + length * move, scores + length * moved
        new_gradient = problem.compute_gradient(theta, scores) / scale
        step, change = length * direction, new_gradient - gradient
        rise = float(np.vdot(step, change))
        if rise > 0:
            pairs = [*pairs[-MEMORY + 1 :], (step, change, 1 / rise)]
        gradient = new_gradient
    return theta, scores


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
    problem: _Problem, theta: np.ndarray, scores: np.ndarray, move: np.ndarray, moved: np.ndarray
) -> float:
    """A length at which the slope along the line has halved; the objective is convex, so the slope rises."""
    inner = problem.strength * float(np.sum(theta[:-1] * move[:-1]))
    square = problem.strength * float(np.sum(move[:-1] ** 2))

    def slope(length: float) -> float:
        return float(np.vdot(problem.compute_residual(scores + length * moved), moved)) + inner + length * square

    start = slope(0.0)
    low, low_slope, high, high_slope, length = 0.0, start, np.inf, np.inf, 1.0
    for _ in range(40):
        now = slope(length)
        if abs(now) <= 0.5 * abs(start):
            break
        if now < 0:
            low, low_slope = length, now
        else:
            high, high_slope = length, now
        if np.isinf(high):
            length *= 3.0
        else:
            cut = low - low_slope * (high - low) / (high_slope - low_slope)
            length = min(max(cut, low + 0.1 * (high - low)), high - 0.1 * (high - low))
    return length


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
    target = np.eye(classes)[y] * (1 - blur) + blur / classes
    share = np.full(n, 1 / n) if weight is None else weight / weight.sum()
    centred = scores - scores.mean(axis=1, keepdims=True)
    scale = float(np.sqrt(np.mean(centred**2)))
    if scale == 0:
        return 1.0

    def slope(t: float) -> float:
        p_MC = softmax_rows(t / scale * centred + offset)
        return float(share @ np.sum((p_MC - target) * centred, axis=1))

    low, high = 1e-6, 1e6
    for _ in range(60):  # halving in the logarithm: the slope rises with t
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(np.sqrt(low * high)) / scale
