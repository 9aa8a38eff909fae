"""Penalised problems on a design, by Cholesky factors on the smaller side of its matrix.

A factor takes a tenth of the time of an eigen-decomposition, so that each strength can have its own. Legend: M rows,
D columns, Q the smaller of both, B some rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.heads.design_matrix import Design, Moments
from headstart.statistics.sampling import evenly_spaced

# Rows from which large sets take their expected curvature: it steers, the optimum is exact.
APPROXIMATE_ROWS = 16_384
_RANK = 1e-10  # of the trace: variance below counts as none


@dataclass(eq=False)
class Covariance:
    """Second moments of a design, on the smaller side of the matrix: what ridge and discriminants are solved by.

    Attributes:
        gram: (D, D) float64, the mean of z z^T; with more columns than rows (M, M), Z Z^T / M.
    """

    design: Design
    gram: np.ndarray

    @property
    def mean_power(self) -> float:
        """The mean variance of a column."""
        return float(np.trace(self.gram) / self.design.x.shape[1])

    def shrink(self, share: float, floor: float) -> ShrunkCovariance:
        """Factorise `share` times the covariance plus `floor` times the identity, both above 0."""
        return ShrunkCovariance(self.design, share, floor, factorize(share * self.gram, floor))


@dataclass(eq=False)
class ShrunkCovariance:
    """A = share S + floor I of a covariance S.

    Attributes:
        factor: Lower Cholesky factor of A; with more columns than rows of share Z Z^T / M + floor I.
    """

    design: Design
    share: float
    floor: float
    factor: np.ndarray

    def solve(self, v: np.ndarray) -> np.ndarray:
        """A^-1 v of the standardised columns (D, C)."""
        from scipy.linalg import cho_solve

        if not self.design.wide:
            return np.asarray(cho_solve((self.factor, True), v, check_finite=False))
        return (v - self.share * self.regress(self.design.multiply(v))) / self.floor

    def regress(self, r: np.ndarray) -> np.ndarray:
        """A^-1 Z^T r / M of values for the rows (M, C)."""
        from scipy.linalg import cho_solve

        if not self.design.wide:
            return self.solve(self.design.multiply_transposed(r) / len(r))
        return self.design.multiply_transposed(cho_solve((self.factor, True), r, check_finite=False)) / len(r)

    def compute_leverages(self, rows: slice | np.ndarray) -> np.ndarray:
        """(B,) z^T A^-1 z of some rows, summed in float32: of one over rows they move the last digits alone."""
        from scipy.linalg.lapack import strtri, strtrs

        factor, n = self.factor.astype(np.float32), len(self.design.x)
        if self.design.wide:
            inverse = strtri(factor, lower=1, overwrite_c=1)[0][:, rows]
            squares = np.einsum("qb,qb->b", inverse, inverse).astype(np.float64)
            return np.asarray((1 - self.floor * squares) * n / self.share)
        roots, _ = strtrs(factor, self.design.take_rows(rows, np.float32).T, lower=1, overwrite_b=1)
        return np.asarray(np.einsum("qb,qb->b", roots, roots), np.float64)


@dataclass(eq=False)
class Coordinates:
    """The rows in as many coordinates as the smaller side of the matrix has, products between them unchanged.

    Attributes:
        root: (M, M) float64 lower Cholesky factor of Z Z^T where there are more columns than rows, else None: then the
            coordinates are the columns themselves.
        rows_f32: (M, Q) float32, half the memory to walk through; None where they are too many to hold.
        gram: (D, D) the mean of z z^T, or about that, where they are not held.
    """

    design: Design
    root: np.ndarray | None
    rows_f32: np.ndarray | None
    gram: np.ndarray | None

    @property
    def width(self) -> int:
        """Q."""
        return int(min(self.design.x.shape))

    def weigh_gram(self, weight: np.ndarray) -> np.ndarray:
        """(Q, Q) sum of the coordinates' products by row weights (M, 1); about that where they are not held."""
        if self.rows_f32 is None:
            assert self.gram is not None
            return np.asarray(self.gram * weight.sum())
        weighted = self.rows_f32 * np.sqrt(weight).astype(np.float32)
        return np.asarray(weighted.T @ weighted)

    def multiply(self, v: np.ndarray) -> np.ndarray:
        """(Q, C) -> (M, C)."""
        if self.rows_f32 is None:
            return self.design.multiply(v)
        return np.asarray(self.rows_f32 @ v.astype(np.float32), np.float64)

    def multiply_transposed(self, r: np.ndarray) -> np.ndarray:
        """(M, C) -> (Q, C)."""
        if self.rows_f32 is None:
            return self.design.multiply_transposed(r)
        return np.asarray(self.rows_f32.T @ r.astype(np.float32), np.float64)

    def to_columns(self, v: np.ndarray) -> np.ndarray:
        """(Q, C) in these coordinates -> (D, C) of the standardised columns."""
        from scipy.linalg import solve_triangular

        if self.root is None:
            return v
        return self.design.multiply_transposed(solve_triangular(self.root, v, lower=True, trans=1, check_finite=False))


def measure_covariance(design: Design) -> Covariance:
    """The covariance of a design about 0."""
    if not design.wide:
        return Covariance(design, design.compute_gram())
    return Covariance(design, design.standardized @ design.standardized.T / len(design.x))


def make_coordinates(design: Design, gram: np.ndarray | None = None) -> Coordinates:
    """Coordinates of a design; `gram` (D, D) is the mean of z z^T where it is approximated."""
    root = None
    if design.wide:
        products = design.standardized @ design.standardized.T
        root = factorize(products, max(_RANK * float(np.trace(products)), 1e-300))
    rows_f32 = design.standardized if root is None and design.dense else root
    if rows_f32 is not None:
        return Coordinates(design, root, rows_f32.astype(np.float32), None)
    return Coordinates(design, root, None, design.compute_gram() if gram is None else gram)


def approximate_gram(x: np.ndarray, moments: Moments) -> np.ndarray | None:
    """(D, D) second moments of evenly spaced rows where there are many; None where all rows are used."""
    max_rows = max(APPROXIMATE_ROWS, 2 * x.shape[1])
    if len(x) <= max_rows:
        return None
    return Design(np.asarray(x[evenly_spaced(len(x), max_rows)]), moments).compute_gram()


def factorize(matrix: np.ndarray, floor: float) -> np.ndarray:
    """(Q, Q) lower Cholesky factor, of the same type, of a matrix plus `floor` times the identity."""
    from scipy.linalg import cholesky

    shifted = np.array(matrix)
    shifted[np.diag_indices_from(shifted)] += floor
    return np.asarray(cholesky(shifted.T, lower=True, overwrite_a=True, check_finite=False))  # LAPACK's order: no copy
