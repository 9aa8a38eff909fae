"""CORAL by class: after CORAL, the mean of every class moves to where the head sees that class in the target.

Pseudo-labels of the target count by their probability, and are asked twice. A class of which the target seems to hold
few pictures keeps its place: its move is shrunk by their number. A kin of conditional transfer components (Gong et al.,
ICML 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.domain_adaptation.feature_moments import map_blocks, match_correlations
from headstart.domain_adaptation.method_base import FeatureMap, HeadFit, HeadTraining, LabelledFeatures

ROUNDS = 2
TRUSTED = 10.0  # pictures of a class in the target at which half of its move is believed
SHRINKAGE = 0.1


class CoralByClass:
    """See the module."""

    name = "coral_by_class"
    title = "correlations, and means by class, matched"
    extra = ""
    is_default = True
    uses_labels = True
    grid: Sequence[Mapping[str, Any]] = ({"shrinkage": SHRINKAGE},)

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
        """See `headstart.domain_adaptation.method_base.AdaptationMethod`."""
        move = match_correlations(source.x, target, float(params["shrinkage"]))
        mapped = move(source.x)
        training = HeadTraining(x=mapped, y=source.y, weights=source.weights, map_source=move)
        present = np.unique(source.y)
        means = np.stack([mapped[source.y == c].mean(axis=0, dtype=np.float64) for c in present])
        for _ in range(ROUNDS):
            p_TC = fit(training)(target)[:, present].astype(np.float64)
            mass = p_TC.sum(axis=0)
            shift = (p_TC.T @ target) / np.maximum(mass, 1e-9)[:, None] - means
            shift *= (mass / (mass + TRUSTED))[:, None]
            positions = np.searchsorted(present, source.y)
            moved = (mapped + shift[positions]).astype(np.float32)
            training = HeadTraining(
                x=moved, y=source.y, weights=source.weights, map_source=_move_by_answers(move, answer, present, shift)
            )
        return training


def _move_by_answers(move: FeatureMap, answer: FeatureMap, present: np.ndarray, shift: np.ndarray) -> FeatureMap:
    """For pictures whose class must not be used: each moves as the classes do that the source head sees in it."""
    return map_blocks(lambda x: move(x) + answer(x)[:, present].astype(np.float64) @ shift)


PLUGIN = CoralByClass()
