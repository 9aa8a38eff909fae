"""CORAL: correlations, deviations and mean of the source become the target's.

Sun, Feng and Saenko, AAAI 2016. Correlations are shrunk towards none, for pictures are few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.domain_adaptation.feature_moments import match_correlations
from headstart.domain_adaptation.method_base import FeatureMap, HeadFit, HeadTraining, LabelledFeatures


class Coral:
    """See the module."""

    name = "coral"
    title = "correlations matched (CORAL)"
    extra = ""
    is_default = True
    uses_labels = False
    grid: Sequence[Mapping[str, Any]] = ({"shrinkage": 0.1}, {"shrinkage": 0.5})  # a light and a strong shrinkage

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
        return HeadTraining(x=move(source.x), y=source.y, weights=source.weights, map_source=move)


PLUGIN = Coral()
