"""What a method of domain adaptation gets and gives, as plain arrays.

A method turns labelled source features and unlabelled target features into what a head learns from, so that whatever
it does ends in an ordinary linear head of raw features, which every export format has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from headstart.heads.design_matrix import class_shares

FeatureMap = Callable[[np.ndarray], np.ndarray]  # (B, D) float32 -> (B, D') float32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledFeatures:
    """Source pictures that a method may learn from."""

    x: np.ndarray  # (M, D) float32 raw features
    y: np.ndarray  # (M,) int64 in 0..C-1
    weights: np.ndarray | None  # (M,) float64, positive, mean 1; None where all count alike
    n_classes: int
    class_weight: np.ndarray | None = None  # (C,) float64 by which the head weighs each class besides
    target_shares: np.ndarray | None = None  # (C,) float64 of the classes in the target where they are others

    @property
    def shares(self) -> np.ndarray:
        """(C,) float64 shares of the classes, each picture by its weight."""
        return class_shares(self.y, np.arange(self.n_classes), None, self.weights)

    @property
    def prior(self) -> np.ndarray:
        """(C,) float64 shares that a head takes the classes to have: those of `shares`, each by its weight."""
        return class_shares(self.y, np.arange(self.n_classes), self.class_weight, self.weights)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadTraining:
    """What a head learns from after adaptation; `None` leaves out a step.

    Attributes:
        x: (P, D') float32, source pictures as the target would show them, or pseudo-labelled target pictures too.
        y: (P,) int64.
        weights: (P,) float64, positive.
        map_source: (B, D) raw features of source pictures -> (B, D') as the target would show them, after the
            projection; held-out source pictures are measured with it.
        projection: (D, D') float32 and offset (D',) float32: what raw target features pass; folded into the head.
        log_prior: (C,) float64 that is added to the log probabilities; folded into the head's bias.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None
    map_source: FeatureMap | None = None
    projection: tuple[np.ndarray, np.ndarray] | None = None
    log_prior: np.ndarray | None = None


HeadFit = Callable[[HeadTraining], FeatureMap]  # fits the run's head: raw target features (B, D) -> (B, C) float32


class AdaptationMethod(Protocol):
    """A file in `headstart.domain_adaptation.methods`: `PLUGIN` has these attributes."""

    name: str
    title: str  # in words, for the report
    extra: str  # of `headstart.core.extras`, without which it cannot run; empty for none
    is_default: bool  # whether it competes where nobody names methods
    uses_labels: (
        bool  # whether source labels shape what it gives beyond `y`, so that each fold adapts anew; else `x` are
    )
    # the source pictures in their order
    grid: Sequence[Mapping[str, Any]]  # settings to try, at least one

    def adapt(
        self,
        source: LabelledFeatures,
        target: np.ndarray,
        *,
        answer: FeatureMap,
        fit: HeadFit,
        params: Mapping[str, Any],
        seed: int,
    ) -> HeadTraining:
        """What the head learns from, by (T, D) float32 raw target features.

        `answer` gives the (B, C) float32 probabilities of the head that learnt from the source alone, `fit` fits such a
        head to what an intermediate round gives.

        Raises:
            NoOpError: The method would change nothing, or cannot be computed from so few pictures; the reason is told.
        """
