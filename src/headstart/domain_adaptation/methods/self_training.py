"""Self-training: the surest answers to target pictures become labels, a few rounds long.

Starts from CORAL. Of every class the same part is taken, by the entropy of the answers, so that no class crowds out the
others (Zou et al., ECCV 2018; Grandvalet and Bengio 2005).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core.errors import NoOpError
from headstart.domain_adaptation.feature_moments import match_correlations
from headstart.domain_adaptation.method_base import FeatureMap, HeadFit, HeadTraining, LabelledFeatures

PARTS = (0.3, 0.5, 0.7)  # of the target pictures that each class seems to have, by round
SUREST = 0.6  # entropy up to which an answer is a label, in parts of that of a guess
SHRINKAGE = 0.1


class SelfTraining:
    """See the module."""

    name = "self_training"
    title = "correlations matched, then self-training"
    extra = ""
    is_default = True
    uses_labels = True
    grid: Sequence[Mapping[str, Any]] = ({},)

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
        move = match_correlations(source.x, target, SHRINKAGE)
        mapped = move(source.x)
        training = HeadTraining(x=mapped, y=source.y, weights=source.weights, map_source=move)
        for part in PARTS:
            p_TC = fit(training)(target)
            rows = choose_sure(p_TC, part)
            if not len(rows):
                raise NoOpError("no answer to a target picture is sure enough to be a label")
            weights = np.ones(len(mapped)) if source.weights is None else source.weights
            training = HeadTraining(
                x=np.concatenate([mapped, target[rows]]),
                y=np.concatenate([source.y, p_TC[rows].argmax(axis=1)]),
                weights=np.concatenate([weights, np.ones(len(rows))]),
                map_source=move,
            )
        return training


def choose_sure(p_TC: np.ndarray, part: float) -> np.ndarray:
    """(P,) int64 rows: of each answered class the part with the lowest entropy, none of them unsure."""
    p = np.maximum(p_TC.astype(np.float64), 1e-12)
    entropy, answers = -(p * np.log(p)).sum(axis=1) / np.log(max(p.shape[1], 2)), p.argmax(axis=1)
    rows = []
    for c in np.unique(answers):
        of_class = np.flatnonzero(answers == c)
        surest = of_class[np.argsort(entropy[of_class], kind="stable")[: int(np.ceil(part * len(of_class)))]]
        rows.append(surest[entropy[surest] <= SUREST])
    return np.sort(np.concatenate(rows)).astype(np.int64)


PLUGIN = SelfTraining()
