"""Standardisation: the mean and the deviation of every source column become the target's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.domain_adaptation.feature_moments import match_columns, measure_moments, require_pictures
from headstart.domain_adaptation.method_base import FeatureMap, HeadFit, HeadTraining, LabelledFeatures


class Standardisation:
    """See the module."""

    name = "standardise"
    title = "mean and deviation matched"
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
        move = match_columns(measure_moments(source.x), measure_moments(target))
        return HeadTraining(x=move(source.x), y=source.y, weights=source.weights, map_source=move)


PLUGIN = Standardisation()
