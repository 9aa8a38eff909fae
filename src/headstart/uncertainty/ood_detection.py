"""How far a picture is from all that the model learnt from, by its features.

Features are standardised and turned to at most 256 directions, the widest of the training pictures; how much of a
picture lies outside of these is one number more. `nearest` is the distance to the fifth nearest training picture
(Sun 2022), `mahalanobis` the distance to the nearest class in units of the spread inside classes (Lee 2018, shrunk
after Ledoit and Wolf 2004). Both are one computation, `distances`, which needs numpy alone.
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


def unable(measured: bool, floors: np.ndarray) -> str:
    """One sentence where a model cannot take a picture for strange, without a full stop; else empty.

    Args:
        measured: Whether novelty is measured.
        floors: (C,) of the run; all infinite where no prediction set is ever empty.
    """
    if measured:
        return ""
    few = f"too few pictures (under {LEAST}, or under {LEAST} held back from a trained network) tell what looks strange"
    if np.isfinite(floors).any():
        return f"this model says `unknown` only where its prediction set is empty: {few}"
    return f"this model cannot say `unknown`: {few}. It names one of its classes, whatever a picture shows"


def distances(arrays: Mapping[str, np.ndarray], k: int, x: np.ndarray) -> np.ndarray:
    """Distance of pictures to the k-th nearest reference.

    Args:
        arrays: From `fit`.
        k: From `fit`.
        x: (B, D) raw features.

    Returns:
        (B,) float64.
    """
    points, found = np.asarray(arrays["references"], np.float64), np.empty(len(x))
    lengths = arrays["lengths"] if "lengths" in arrays else np.einsum("rp,rp->r", points, points)
    step = max(1, _BLOCK // len(points))
    for at in range(0, len(x), step):
        asked = mapped(arrays, x[at : at + step])
        squared = np.einsum("bp,bp->b", asked, asked)[:, None] + lengths - 2 * asked @ points.T
        found[at : at + step] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return np.asarray(np.sqrt(np.maximum(found, 0.0)))


def ready(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same for many calls: in float64, with the squared lengths of the references as `lengths` (R,).

    Args:
        arrays: From `fit`; others are left as they are.
    """
    names = ("centre", "scale", "projection", "whitening", "references")
    made = {name: array.astype(np.float64) if name in names else array for name, array in arrays.items()}
    points = made.get("references")
    return made if points is None else made | {"lengths": np.einsum("rp,rp->r", points, points)}


def mapped(arrays: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """(B, D) raw features -> (B, P) float64 where distances are taken."""
    found: np.ndarray = (np.asarray(x, np.float64) - arrays["centre"]) / arrays["scale"]
    if "projection" in arrays:
        inside = found @ np.asarray(arrays["projection"], np.float64)
        rest = np.einsum("bd,bd->b", found, found) - np.einsum("bp,bp->b", inside, inside)
        found = np.column_stack([inside, np.sqrt(np.maximum(rest, 0.0))])
    return found @ np.asarray(arrays["whitening"], np.float64) if "whitening" in arrays else found


def fit(x: np.ndarray, y: np.ndarray, method: str) -> tuple[dict[str, np.ndarray], int]:
    """What `distances` needs.

    Args:
        x: (M, D) raw features of training pictures, M up to `MOST`.
        y: (M,) int64 their classes.
        method: One of `METHODS`.

    Returns:
        float32 arrays `centre` (D,), `scale` (D,), where D is above 256 `projection` (D, P), for `mahalanobis`
        `whitening` (P, P), and `references` (R, P); and which neighbour counts.
    """
    wide = np.asarray(x, np.float64)
    spread = wide.std(axis=0)
    made = {"centre": wide.mean(axis=0), "scale": np.where(spread > 0, spread, 1.0)}
    if wide.shape[1] > WIDEST:
        made["projection"] = _directions(mapped(made, wide))
    made = {name: array.astype(np.float32) for name, array in made.items()}
    points, k = mapped(made, wide), min(NEIGHBOUR, len(wide))
    if method == "mahalanobis":
        classes, at = np.unique(y, return_inverse=True)
        means = np.stack([points[at == c].mean(axis=0) for c in range(len(classes))])
        made["whitening"] = _whitening(points - means[at]).astype(np.float32)
        points, k = means @ made["whitening"].astype(np.float64), 1
    return made | {"references": points.astype(np.float32)}, k


def _directions(z: np.ndarray) -> np.ndarray:
    """(D, P) the widest orthogonal directions of at most 512 of the pictures."""
    some = z[np.linspace(0, len(z) - 1, min(len(z), _BASE)).astype(np.int64)]
    widths, found = np.linalg.eigh(some @ some.T)
    kept = widths > widths[-1] * 1e-10
    kept[:-WIDEST] = False
    made: np.ndarray = some.T @ (found[:, kept] / np.sqrt(widths[kept]))
    return made


def _whitening(inside: np.ndarray) -> np.ndarray:
    """(P, P) that makes the spread inside classes equal in all directions."""
    from sklearn.covariance import ledoit_wolf

    widths, directions = np.linalg.eigh(ledoit_wolf(inside, assume_centered=True)[0])
    floor = max(float(widths[-1]) * 1e-10, float(np.finfo(np.float32).tiny))
    made: np.ndarray = directions / np.sqrt(np.maximum(widths, floor))
    return made
