"""Subspace alignment: the source's leading directions are turned to the target's, where the head reads.

Fernando et al., ICCV 2013. Each domain is standardised by itself, as there. It competes where it is named: on most
pairs of domains that were tried it hurts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.domain_adaptation import feature_moments as moments
from headstart.domain_adaptation.method_base import FeatureMap, HeadFit, HeadTraining, LabelledFeatures


class SubspaceAlignment:
    """See the module."""

    name = "subspace"
    title = "leading directions aligned"
    extra = ""
    is_default = False
    uses_labels = False
    grid: Sequence[Mapping[str, Any]] = ({"directions": 64},)  # how many directions, at most

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
        moments.require_pictures(source.x, target)
        of_source, of_target = moments.measure_moments(source.x), moments.measure_moments(target)
        from_source = moments.decompose_correlations(source.x, of_source).vectors[:, : params["directions"]]
        to_target = moments.decompose_correlations(target, of_target).vectors[:, : params["directions"]]
        turned = from_source @ (from_source.T @ to_target)  # (D, Q)
        projection = to_target / of_target.scale[:, None]
        move = moments.map_blocks(lambda x: of_source.standardize(x) @ turned)
        return HeadTraining(
            x=move(source.x),
            y=source.y,
            weights=source.weights,
            map_source=move,
            projection=(projection.astype(np.float32), (-of_target.mean @ projection).astype(np.float32)),
        )


PLUGIN = SubspaceAlignment()
