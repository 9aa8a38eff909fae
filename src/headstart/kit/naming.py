"""Which backbones can guess by the names of classes, and how: the one place that asks a source for it.

A source with a dense layer of ImageNet's classes guesses by ConSE (`headstart.kit.conse`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from headstart.core.say import Say
from headstart.core.store import Store
from headstart.kit import conse
from headstart.kit.trunk import Trunk


class Naming(Protocol):
    """Guesses among C classes from a trunk's features at its depth `last`."""

    def similarities(self, features: np.ndarray) -> np.ndarray:
        """(M, D) -> (M, C) float32; the largest is the guess."""
        ...

    def linear(self) -> np.ndarray:
        """(D, C) float32 weights on these features that guess much alike; of no particular size."""
        ...


def can(trunk: Trunk) -> bool:
    """Whether a trunk can guess by names."""
    return trunk.seed is None and trunk.preset in getattr(trunk.source, "classifiers", ())


def how(trunk: Trunk) -> str:
    """In a few words, how a trunk that can does it."""
    return f"ConSE, {conse.MODEL} over the ImageNet classes of {trunk.name}"


def of(trunk: Trunk, classes: Sequence[str], store: Store, say: Say, *, where: str = "", hint: str = "") -> Naming:
    """What guesses; the models that it needs are fetched when missing, the trunk's own weights are at hand.

    Args:
        trunk: One that `can`.
        classes: C names that passed `class_names.require`.
        store: The cache.
        say: The terminal.
        where: Where the names were given, for errors.
        hint: What to do about them, for errors.

    Raises:
        UsageError: A name cannot be read, or two read alike.
        SetupError: A model cannot be had.
    """
    dense, bias = trunk.source.classifier(trunk.preset, store)  # type: ignore[attr-defined]
    return conse.of_names(classes, dense, bias, store, say, where=where, hint=hint)
