"""Means, deviations and shrunk correlations of features, and what moves those of one domain to another's.

All in float64. With more columns than rows everything happens in the span of the rows: no (D, D) matrix is made.
Legend: M rows, D columns, Q the smaller of both, B some rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.core.errors import NoOpError
from headstart.core.types import NO_ADAPTATION
from headstart.domain_adaptation.method_base import FeatureMap
from headstart.statistics.sampling import draw_rows

LEAST = 8  # pictures of a domain, below which its spread says nothing
_LARGEST_SIDE = 2_000  # rows or columns whose products are decomposed: under 4 s on one core
_BLOCK_ROWS = 4_096
_FLAT = 1e-6  # deviation below this part of the mean's size is rounding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColumnMoments:
    """Of each column."""

    mean: np.ndarray  # (D,) float64
    deviation: np.ndarray  # (D,) float64, 0 for a constant column

    @property
    def scale(self) -> np.ndarray:
        """(D,) the deviation, 1 where it is 0."""
        return np.where(self.deviation > 0, self.deviation, 1.0)

    def scale_of(self, source: ColumnMoments) -> np.ndarray:
        """(D,) the deviation of this domain where the other one varies too; else 0, so that noise is not blown up."""
        return np.where(source.deviation > 0, self.deviation, 0.0)

    def standardize(self, x: np.ndarray) -> np.ndarray:
        """(B, D) float64."""
        return np.asarray((x - self.mean) / self.scale)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Correlations:
    """Eigenvectors and eigenvalues of the correlations of standardised columns, of which Q are not 0."""

    vectors: np.ndarray  # (D, Q) float64
    values: np.ndarray  # (Q,) float64, descending

    def apply_power(self, z: np.ndarray, power: float, shrinkage: float) -> np.ndarray:
        """(B, D) rows times a power of (1 - g) R + g I, with R the correlations and g the shrinkage, above 0."""
        inside, outside = ((1 - shrinkage) * self.values + shrinkage) ** power, shrinkage**power
        return np.asarray(outside * z + (z @ self.vectors * (inside - outside)) @ self.vectors.T)


def require_pictures(source: np.ndarray, target: np.ndarray, least: int = LEAST) -> None:
    """Refuse to learn a domain from a handful of pictures; raises NoOpError."""
    for name, x in (("source", source), ("target", target)):
        if len(x) < least:
            raise NoOpError(
                f"{len(x)} {name} pictures are too few: {least} are needed", hint=f"`{NO_ADAPTATION}` stays"
            )


def measure_moments(x: np.ndarray) -> ColumnMoments:
    """Of x (M, D), in blocks of rows."""
    mean, squares = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for start in range(0, len(x), _BLOCK_ROWS):
        mean += x[start : start + _BLOCK_ROWS].sum(axis=0, dtype=np.float64)
    mean /= len(x)
    for start in range(0, len(x), _BLOCK_ROWS):
        squares += np.square(x[start : start + _BLOCK_ROWS] - mean).sum(axis=0)
    deviation = np.sqrt(squares / len(x))
    return ColumnMoments(mean=mean, deviation=np.where(deviation > _FLAT * np.abs(mean), deviation, 0.0))


def decompose_correlations(x: np.ndarray, moments: ColumnMoments) -> Correlations:
    """Of x (M, D), or of drawn rows where both sides are large."""
    rows = draw_rows(len(x), _LARGEST_SIDE) if x.shape[1] > _LARGEST_SIDE else slice(None)
    z = moments.standardize(x[rows])
    wide = z.shape[1] > len(z)
    values, vectors = np.linalg.eigh((z @ z.T if wide else z.T @ z) / len(z))
    keep = np.flatnonzero(values > 1e-9 * max(float(values[-1]), 1e-300))[::-1]
    values, vectors = values[keep], vectors[:, keep]
    if wide:
        vectors = z.T @ vectors / np.sqrt(values * len(z))
    return Correlations(vectors=vectors, values=values)


def match_columns(source: ColumnMoments, target: ColumnMoments) -> FeatureMap:
    """Moves the mean and the deviation of each column to the target's; a constant column moves by its mean alone."""
    return map_blocks(lambda x: source.standardize(x) * target.scale_of(source) + target.mean)


def map_blocks(map_block: FeatureMap) -> FeatureMap:
    """The same, over blocks of rows, as float32."""

    def map_rows(x: np.ndarray) -> np.ndarray:
        starts = range(0, max(len(x), 1), _BLOCK_ROWS)
        blocks = [map_block(x[start : start + _BLOCK_ROWS]).astype(np.float32) for start in starts]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    return map_rows


def match_correlations(source: np.ndarray, target: np.ndarray, shrinkage: float) -> FeatureMap:
    """CORAL (Sun, Feng and Saenko, AAAI 2016): the source whitened, then coloured as the target is.

    Columns are standardised first, so that full shrinkage ends in `match_columns`.
    """
    require_pictures(source, target)
    of_source, of_target = measure_moments(source), measure_moments(target)
    whiten, colour = decompose_correlations(source, of_source), decompose_correlations(target, of_target)
    scale = of_target.scale_of(of_source)

    def map_block(x: np.ndarray) -> np.ndarray:
        z = whiten.apply_power(of_source.standardize(x), -0.5, shrinkage)
        return np.asarray(colour.apply_power(z, 0.5, shrinkage) * scale + of_target.mean)

    return map_blocks(map_block)


def project_on_leading(x: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """(D, Q) float64 leading directions of x (M, D), at most so many, per unit of raw columns; (D,) their origin."""
    moments = measure_moments(x)
    vectors = decompose_correlations(x, moments).vectors[:, :most]
    return vectors / moments.scale[:, None], moments.mean
