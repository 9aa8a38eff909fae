"""What linear heads share: standardised features as an operator, arrays for the runtime.

`Design` stands for z = (x - centre) / scale without holding it when large: products over blocks of rows in float32,
sums in float64. Legend: M rows, D columns, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from headstart.core import blas_threads
from headstart.core.settings import count_threads
from headstart.core.types import FittedHead

DENSE_NUMBERS = 1 << 23  # up to this many numbers are held in float64
HELD_NUMBERS = 1 << 26  # up to this many standardised numbers are held in float32
_THREADED_NUMBERS = 1 << 27  # from here on blocks run in threads; below, folds do
_BLOCK_NUMBERS = 1 << 19
_FLAT = 1e-6  # standard deviation below this part of the mean's size is rounding, not signal
FROM_NAMES_SUFFIX = "_from_names"  # after the name of a head that starts from the names of the classes
ABSENT = -1e6  # bias of a class that was not there to be learnt: probability 0


class Moments(NamedTuple):
    """Of each column: the mean (D,), and one over the standard deviation (D,), 0 for a constant column."""

    centre: np.ndarray
    inverse: np.ndarray


def row_blocks(x: np.ndarray) -> list[slice]:
    """Slices of rows small enough for the processor's cache."""
    step = max(64, _BLOCK_NUMBERS // max(x.shape[1], 1))
    return [slice(start, start + step) for start in range(0, len(x), step)]


def column_moments(x: np.ndarray, weight: np.ndarray | None = None) -> Moments:
    """Means and standard deviations of x (M, D) float32, memory-mapped or not, in one pass; `weight` (M,)."""
    shift = np.asarray(x[: min(len(x), 256)], np.float64).mean(axis=0)
    total, squares, weighted = np.zeros((3, x.shape[1]))
    for rows in row_blocks(x):
        block: np.ndarray = np.asarray(x[rows], np.float64) - shift
        total += block.sum(axis=0)
        squares += np.einsum("md,md->d", block, block)
        weighted += 0.0 if weight is None else weight[rows] @ block
    mean = total / len(x)
    deviation = np.sqrt(np.maximum(squares / len(x) - mean**2, 0.0))
    varies = deviation > _FLAT * np.abs(mean + shift)
    inverse = np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0)
    return Moments(shift + (mean if weight is None else weighted / weight.sum()), inverse)


@dataclass(eq=False)
class Design:
    """Standardised features as an operator.

    Attributes:
        x: (M, D) float32.
        root: (M,) factor of each row (the root of its weight), or None.
        labels: (M,) positions in `means` to take off each row, or None.
        means: (C, D) in standardised units.
    """

    x: np.ndarray
    moments: Moments
    root: np.ndarray | None = None
    labels: np.ndarray | None = None
    means: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def dense(self) -> bool:
        """Whether the standardised features are held in float64."""
        return self.x.size <= DENSE_NUMBERS or self.wide

    def take_rows(self, rows: slice | np.ndarray, dtype: type = np.float64) -> np.ndarray:
        """(B, D) standardised features of some rows."""
        if "standardized" in self.__dict__:
            return np.asarray(self.standardized[rows].astype(dtype, copy=False))
        block: np.ndarray = np.asarray(self.x[rows], dtype) - self.moments.centre.astype(dtype)
        block *= self.moments.inverse.astype(dtype)
        if self.labels is not None:
            block -= self.means.astype(dtype)[self.labels[rows]]
        if self.root is not None:
            block *= self.root[rows, None].astype(dtype)
        return block

    def subtract_means(self, labels: np.ndarray, means: np.ndarray, root: np.ndarray | None) -> Design:
        """The design less the mean of each row's class, rows times `root`; takes over the rows that this one holds."""
        deviations = Design(self.x, self.moments, root=root, labels=labels, means=means)
        if (rows := self.__dict__.pop("standardized", None)) is not None:
            rows -= means[labels]
            if root is not None:
                rows *= root[:, None]
            deviations.__dict__["standardized"] = rows
        return deviations

    @property
    def wide(self) -> bool:
        """Whether there are more columns than rows."""
        return bool(len(self.x) < self.x.shape[1])

    @cached_property
    def standardized(self) -> np.ndarray:
        """(M, D) float64."""
        return self.take_rows(slice(None))

    @cached_property
    def _standardized_f32(self) -> np.ndarray | None:
        return self.take_rows(slice(None), np.float32) if self.x.size <= HELD_NUMBERS else None

    def _take_f32(self, rows: slice) -> np.ndarray:
        return self.take_rows(rows, np.float32) if self._standardized_f32 is None else self._standardized_f32[rows]

    def multiply(self, v: np.ndarray) -> np.ndarray:
        """(D, C) -> (M, C) float64."""
        if self.dense:
            return np.asarray(self.standardized @ v)
        small = v.astype(np.float32)
        return np.concatenate(list(self._map_blocks(lambda rows: self._take_f32(rows) @ small))).astype(np.float64)

    def multiply_transposed(self, r: np.ndarray) -> np.ndarray:
        """(M, C) -> (D, C) float64."""
        if self.dense:
            return np.asarray(self.standardized.T @ r)
        small = r.astype(np.float32)
        return self._sum_blocks(lambda rows: self._take_f32(rows).T @ small[rows])

    def compute_gram(self) -> np.ndarray:
        """(D, D) float64, the mean of z z^T."""
        if self.dense:
            return np.asarray(self.standardized.T @ self.standardized / len(self.x))
        return np.asarray(self._sum_blocks(self._block_gram) / len(self.x))

    def _block_gram(self, rows: slice) -> np.ndarray:
        block = self._take_f32(rows)
        return np.asarray(block.T @ block)

    def _sum_blocks(self, product: Callable[[slice], np.ndarray]) -> np.ndarray:
        """The sum over blocks in float64, always in the same order."""
        total: np.ndarray | float = 0.0
        for part in self._map_blocks(product):
            total = total + part.astype(np.float64)
        return np.asarray(total)

    def _map_blocks(self, product: Callable[[slice], np.ndarray]) -> Iterator[np.ndarray]:
        """Results block by block, a few of them on their way at once."""
        workers = count_threads() if self.x.size > _THREADED_NUMBERS else 1
        if workers == 1:
            yield from map(product, row_blocks(self.x))
            return
        slices = row_blocks(self.x)
        with ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(slices), 4 * workers):
                yield from pool.map(product, slices[start : start + 4 * workers])


def row_weights(
    y: np.ndarray, class_weight: np.ndarray | None, sample_weight: np.ndarray | None = None
) -> np.ndarray | None:
    """(M,) each row's own weight times that of its class, scaled to 1 on average; None when all are equal."""
    if class_weight is None and sample_weight is None:
        return None
    weight = np.ones(len(y)) if class_weight is None else np.asarray(class_weight, np.float64)[y]
    weight = weight if sample_weight is None else weight * np.asarray(sample_weight, np.float64)
    return np.asarray(weight / weight.mean())


def linear_head_arrays(
    weights: np.ndarray, bias: np.ndarray, standardization: Moments, present: Sequence[int] | np.ndarray, n_classes: int
) -> dict[str, np.ndarray]:
    """A linear head's arrays on raw features, from weights (D, P) and bias (P,) on standardised ones.

    Of C classes those that are not among the P present ones get probability 0.
    """
    raw = weights * standardization.inverse[:, None]
    raw_weights = np.zeros((len(raw), n_classes), np.float32)
    raw_weights[:, present] = raw
    raw_bias = np.full(n_classes, ABSENT, np.float32)
    # the bias answers for the weights as they were rounded
    raw_bias[present] = bias - standardization.centre @ raw_weights[:, present].astype(np.float64)
    return {"weights": raw_weights, "bias": raw_bias}


def class_means(design: Design, y: np.ndarray, n_classes: int, weight: np.ndarray | None = None) -> np.ndarray:
    """(C, D) float64 means of the standardised rows of each class, by `weight` (M,); every class is present."""
    mass = np.bincount(y, weights=weight, minlength=n_classes)
    parts = np.eye(n_classes)[y] / mass[y][:, None]
    return design.multiply_transposed(parts if weight is None else parts * weight[:, None]).T


def class_shares(
    y: np.ndarray, present: np.ndarray, class_weight: np.ndarray | None, weight: np.ndarray | None = None
) -> np.ndarray:
    """(P,) share of each present class in `y` (M,), positions in `present`, times its weight; sums to 1.

    `weight` (M,) is the rows' own.
    """
    shares = np.bincount(y, weights=weight, minlength=len(present)).astype(np.float64)
    if class_weight is not None:
        shares *= np.asarray(class_weight, np.float64)[present]
    return np.asarray(shares / shares.sum())


def fit_path(
    head: str,
    params: Sequence[Mapping[str, Any]],
    n_classes: int,
    solve: Callable[[Mapping[str, Any]], dict[str, np.ndarray]],
    *,
    kind: str = "linear",
) -> Iterator[FittedHead]:
    """One linear head for each setting, in this order, solved on one BLAS thread when it is asked for.

    `solve` gives `weights` (D, C) and `bias` (C,) for a setting; `kind` is as of `FittedHead`.
    """
    for setting in params:
        with blas_threads.single_blas_thread():
            arrays = solve(setting)
        size = arrays["weights"].size + n_classes
        yield FittedHead(head=head, kind=kind, params=dict(setting), arrays=arrays, trainable_params=size)
