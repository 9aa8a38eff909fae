"""Transfer components: directions of much variance along which the means of both domains are close.

Pan et al., IEEE Transactions on Neural Networks 2011, with a linear kernel: the distance of the means is one direction,
so that the problem is an eigenvalue problem of the columns, and the head stays linear in raw features. It competes
where it is named: on most pairs of domains that were tried it hurts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.domain_adaptation import feature_moments as moments
from headstart.domain_adaptation.method_base import FeatureMap, HeadFit, HeadTraining, LabelledFeatures

TRADE_OFF = 1.0  # of the regulariser, mu there


class TransferComponents:
    """See the module."""

    name = "transfer_components"
    title = "transfer components (linear kernel)"
    extra = ""
    is_default = False
    uses_labels = False
    grid: Sequence[Mapping[str, Any]] = ({"components": 64},)  # how many components, at most

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
        pooled = np.concatenate([source.x, target])
        both = moments.measure_moments(pooled)
        gap = (moments.measure_moments(source.x).mean - moments.measure_moments(target).mean) / both.scale
        squared = float(gap @ gap)
        # (mu I + gap gap^T)^-1/2 leaves every direction but that of the gap alone, up to one factor.
        shrink = (1 - 1 / np.sqrt(1 + squared / TRADE_OFF)) / max(squared, 1e-12)
        rows = both.standardize(pooled)
        rows -= shrink * np.outer(rows @ gap, gap)
        plain = moments.ColumnMoments(mean=np.zeros(len(gap)), deviation=np.ones(len(gap)))
        vectors = moments.decompose_correlations(rows, plain).vectors[:, : params["components"]]
        projection = (vectors - shrink * np.outer(gap, gap @ vectors)) / both.scale[:, None]
        move = moments.map_blocks(lambda x: (x - both.mean) @ projection)
        return HeadTraining(
            x=move(source.x),
            y=source.y,
            weights=source.weights,
            map_source=move,
            projection=(projection.astype(np.float32), (-both.mean @ projection).astype(np.float32)),
        )


PLUGIN = TransferComponents()
