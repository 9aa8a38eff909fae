"""How far a picture is from all that the model learnt from, by its features.

Features are standardised and turned to at most the 256 widest directions of the training pictures; how much of a
picture lies outside of these is one number more. `nearest` is the distance to the fifth nearest training picture
(Sun 2022), `mahalanobis` that to the nearest class in units of the spread inside classes (Lee 2018, shrunk after
Ledoit and Wolf 2004).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

METHODS = ("nearest", "mahalanobis")
NEIGHBOUR = 5
WIDEST = 256  # directions
LEAST = 30  # training pictures, one of each cluster, without which nothing is measured
MOST = 2000  # training pictures that are kept
_BASE = 512  # pictures that tell the directions
_BLOCK = 1 << 22  # distances held at once


def format_inability(measured: bool, floors: np.ndarray) -> str:
    """One sentence where a model cannot take a picture for strange, without a full stop; else empty.

    `floors` are all infinite where no prediction set is ever empty.
    """
    if measured:
        return ""
    few = f"too few pictures (under {LEAST}, or under {LEAST} held back from a trained network) tell what looks strange"
    if np.isfinite(floors).any():
        return f"this model says `unknown` only where its prediction set is empty: {few}"
    return f"this model cannot say `unknown`: {few}. It always answers, whatever a picture shows"


def compute_distances(arrays: Mapping[str, np.ndarray], k: int, x: np.ndarray) -> np.ndarray:
    """(B,) float64 distances of (B, D) raw features to the k-th nearest reference of `fit_references`."""
    points, distances = np.asarray(arrays["references"], np.float64), np.empty(len(x))
    lengths = arrays["lengths"] if "lengths" in arrays else np.einsum("rp,rp->r", points, points)
    step = max(1, _BLOCK // len(points))
    for start in range(0, len(x), step):
        queries = map_features(arrays, x[start : start + step])
        squared = np.einsum("bp,bp->b", queries, queries)[:, None] + lengths - 2 * queries @ points.T
        distances[start : start + step] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return np.asarray(np.sqrt(np.maximum(distances, 0.0)))


def prepare_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same for many calls: in float64, with the squared lengths of the references as `lengths` (R,)."""
    names = ("centre", "scale", "projection", "whitening", "references")
    prepared = {name: array.astype(np.float64) if name in names else array for name, array in arrays.items()}
    points = prepared.get("references")
    return prepared if points is None else prepared | {"lengths": np.einsum("rp,rp->r", points, points)}


def map_features(arrays: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """(B, D) raw features -> (B, P) float64 where distances are taken."""
    standardised: np.ndarray = (np.asarray(x, np.float64) - arrays["centre"]) / arrays["scale"]
    if "projection" in arrays:
        inside = standardised @ np.asarray(arrays["projection"], np.float64)
        outside = np.einsum("bd,bd->b", standardised, standardised) - np.einsum("bp,bp->b", inside, inside)
        standardised = np.column_stack([inside, np.sqrt(np.maximum(outside, 0.0))])
    return standardised @ np.asarray(arrays["whitening"], np.float64) if "whitening" in arrays else standardised


def fit_references(x: np.ndarray, y: np.ndarray, method: str) -> tuple[dict[str, np.ndarray], int]:
    """What `compute_distances` needs, from (M, D) raw features, M up to `MOST`.

    Returns:
        float32 arrays `centre` (D,), `scale` (D,), where D is above 256 `projection` (D, P), for `mahalanobis`
        `whitening` (P, P), and `references` (R, P); and which neighbour counts.
    """
    return place_references(*fit_directions(x), y, method)


def fit_directions(x: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What both methods share: the arrays that map raw features (M, D), and (M, P) float64 where they map them to."""
    wide = np.asarray(x, np.float64)
    spread = wide.std(axis=0)
    fitted = {"centre": wide.mean(axis=0), "scale": np.where(spread > 0, spread, 1.0)}
    if wide.shape[1] > WIDEST:
        fitted["projection"] = _widest_directions(map_features(fitted, wide))
    fitted = {name: array.astype(np.float32) for name, array in fitted.items()}
    return fitted, map_features(fitted, wide)


def place_references(
    fitted: dict[str, np.ndarray], points: np.ndarray, y: np.ndarray, method: str
) -> tuple[dict[str, np.ndarray], int]:
    """The same as `fit_references`, from what `fit_directions` gives."""
    k = min(NEIGHBOUR, len(points))
    if method == "mahalanobis":
        classes, class_of = np.unique(y, return_inverse=True)
        means = np.stack([points[class_of == c].mean(axis=0) for c in range(len(classes))])
        whitening = _whitening_matrix(points - means[class_of]).astype(np.float32)
        fitted, points, k = fitted | {"whitening": whitening}, means @ whitening.astype(np.float64), 1
    return fitted | {"references": points.astype(np.float32)}, k


def _widest_directions(z: np.ndarray) -> np.ndarray:
    """(D, P) the widest orthogonal directions of at most 512 of the pictures."""
    some = z[np.linspace(0, len(z) - 1, min(len(z), _BASE)).astype(np.int64)]
    widths, vectors = np.linalg.eigh(some @ some.T)
    chosen = widths > widths[-1] * 1e-10
    chosen[:-WIDEST] = False
    directions: np.ndarray = some.T @ (vectors[:, chosen] / np.sqrt(widths[chosen]))
    return directions


def estimate_covariance(centred: np.ndarray) -> np.ndarray:
    """(P, P) covariance of centred rows (M, P), drawn towards a multiple of the identity (Ledoit and Wolf 2004)."""
    rows, columns = centred.shape
    empirical = centred.T @ centred / rows
    mean = float(np.trace(empirical)) / columns
    size = float(np.sum(empirical**2))
    spread = size - columns * mean**2
    noise = (float(np.mean(np.sum(centred**2, axis=1) ** 2)) - size) / rows
    shrinkage = min(noise / spread, 1.0) if spread > 0 and noise > 0 else float(spread <= 0)
    return np.asarray((1 - shrinkage) * empirical + shrinkage * mean * np.eye(columns))


def _whitening_matrix(inside: np.ndarray) -> np.ndarray:
    """(P, P) that makes the spread inside classes equal in all directions."""
    widths, directions = np.linalg.eigh(estimate_covariance(inside))
    floor = max(float(widths[-1]) * 1e-10, float(np.finfo(np.float32).tiny))
    matrix: np.ndarray = directions / np.sqrt(np.maximum(widths, floor))
    return matrix
