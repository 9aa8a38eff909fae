"""How a network from somebody else's file wants its pictures scaled: read from its graph, else a stated guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_TINY = 0.05  # norm of a first filter; those of ImageNet networks that see numbers near 1 have 0.3 to 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What turns 0..255 into what the file takes: `(channels(x) * scale - mean) / std`.

    Attributes:
        why: `given`, or one clause that says where it comes from.
        guess: Nothing in the file told it.
    """

    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    why: str
    guess: bool = False


NONE: dict[str, Any] = {"scale": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
UNIT: dict[str, Any] = {**NONE, "scale": 1 / 255}
TORCH: dict[str, Any] = {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
SIGNED: dict[str, Any] = {"scale": 1 / 127.5, "mean": (1.0,) * 3, "std": (1.0,) * 3}


def guess_scaling(first: tuple[np.ndarray, np.ndarray] | None, kernel: np.ndarray | None, *, nchw: bool) -> Scaling:
    """The scaling of a file that says nothing but its graph.

    Args:
        first: (a, b) of `a x + b`, what the graph does to values before its first layer with weights; None for nothing.
        kernel: (filters, n) of the first layer with weights; None where there is none.
        nchw: Channels come first, as PyTorch has them.
    """
    if first is not None:
        return _scaling_of_arithmetic(*first)
    if kernel is not None and len(kernel):
        norms = np.linalg.norm(kernel.astype(np.float64), axis=1)
        typical = float(np.median(norms[norms > 0])) if (norms > 0).any() else 1.0
        if typical < _TINY:
            why = f"in the weights: the first filters are so small (norm {typical:.2g}) that they take 0..255"
            return Scaling(**NONE, why=why)
    if nchw:
        return Scaling(**TORCH, why="a guess: ImageNet's mean and std, as PyTorch networks want", guess=True)
    return Scaling(**SIGNED, why="a guess: -1..1, as TensorFlow networks want", guess=True)


def _scaling_of_arithmetic(a: np.ndarray, b: np.ndarray) -> Scaling:
    """Whether `a x + b` was made for 0..255 or for 0..1: by its centre and its slope."""
    slope = float(np.abs(a).max())
    centre = float(np.abs(b / np.where(a == 0, 1, a)).max())
    if centre > 2 or (slope <= 0.1 and slope > 0):
        return Scaling(**NONE, why=f"in the graph, made for 0..255 (slope {slope:.3g}, centre {centre:.3g})")
    return Scaling(**UNIT, why=f"in the graph, made for 0..1 (slope {slope:.3g}, centre {centre:.3g})")
