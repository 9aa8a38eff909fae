"""Importance weighting: source pictures that look like the target's count more.

Weights are the odds of a classifier of the domains, cut off and flattened until enough pictures count (Shimodaira 2000;
Sugiyama et al. 2007). They only help where the source holds such pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.domain_adaptation.density_ratio import estimate_ratio, flatten_weights
from headstart.domain_adaptation.feature_moments import require_pictures
from headstart.domain_adaptation.method_base import FeatureMap, HeadFit, HeadTraining, LabelledFeatures

EFFECTIVE = 0.3  # part of the pictures that is to count at least, by Kish's effective number


class ImportanceWeighting:
    """See the module."""

    name = "importance"
    title = "source pictures weighted by their likeness"
    extra = ""
    is_default = True
    uses_labels = False
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
        require_pictures(source.x, target)
        weights = flatten_weights(estimate_ratio(source.x, target), EFFECTIVE)
        if source.weights is not None:
            weights = weights * source.weights
        return HeadTraining(x=source.x, y=source.y, weights=weights / weights.mean())


PLUGIN = ImportanceWeighting()
