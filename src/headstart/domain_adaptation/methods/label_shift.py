"""Label-shift correction: answers follow the shares that the classes are expected to have in the target.

Saerens, Latinne and Decaestecker, Neural Computation 2002; it holds where the classes look alike in both domains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core.errors import NoOpError
from headstart.domain_adaptation.feature_moments import require_pictures
from headstart.domain_adaptation.method_base import FeatureMap, HeadFit, HeadTraining, LabelledFeatures
from headstart.statistics.intervals import Z

MOST = 10.0  # by which the odds of a class may change


class LabelShift:
    """See the module."""

    name = "label_shift"
    title = "shares of the classes corrected"
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
        of_target, prior = source.target_shares, source.prior
        if of_target is None:
            raise NoOpError("the classes seem to have the shares that they have in the source")
        noise = Z * np.sqrt(prior * (1 - prior) * (1 / len(target) + 1 / len(source.y)))
        if np.all(np.abs(of_target - prior) <= noise):
            raise NoOpError("the classes seem to have the shares that the head takes them to have")
        ratio = np.clip(of_target / np.where(prior > 0, prior, 1.0), 1 / MOST, MOST)
        log_prior = np.where(prior > 0, np.log(ratio), 0.0)
        return HeadTraining(x=source.x, y=source.y, weights=source.weights, log_prior=log_prior)


PLUGIN = LabelShift()
