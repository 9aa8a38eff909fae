"""Label-shift correction: the shares of the classes in the target are estimated, and the answers follow them.

Saerens, Latinne and Decaestecker, Neural Computation 2002 (EM); it holds where the classes look alike in both domains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core.errors import NoOpError
from headstart.domain_adaptation.feature_moments import require_pictures
from headstart.domain_adaptation.method_base import FeatureMap, HeadFit, HeadTraining, LabelledFeatures
from headstart.statistics.intervals import Z

STEPS = 100
DRAWN = 0.05  # part of the source's shares in every step: an overconfident head ends in one class without
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
        of_source, prior = source.shares, source.prior
        of_target = estimate_shares(answer(target), of_source, prior)
        noise = Z * np.sqrt(of_source * (1 - of_source) * (1 / len(target) + 1 / len(source.y)))
        for shares, whose in ((of_source, "that they have in the source"), (prior, "that the head takes them to have")):
            if np.all(np.abs(of_target - shares) <= noise):
                raise NoOpError(f"the classes seem to have the shares {whose}")
        ratio = np.clip(of_target / np.where(prior > 0, prior, 1.0), 1 / MOST, MOST)
        log_prior = np.where(prior > 0, np.log(ratio), 0.0)
        return HeadTraining(x=source.x, y=source.y, weights=source.weights, log_prior=log_prior)


def estimate_shares(p_TC: np.ndarray, of_source: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(C,) float64 by expectation and maximisation, from those of the source (C,) on.

    Answers (T, C) are of a head that took classes to have the shares `prior` (C,): other ones where it weighs them.
    """
    p_TC, shares = p_TC.astype(np.float64), of_source.copy()
    ratio = np.where(prior > 0, 1 / np.where(prior > 0, prior, 1.0), 0.0)
    for _ in range(STEPS):
        posterior = p_TC * (shares * ratio)
        posterior /= np.maximum(posterior.sum(axis=1, keepdims=True), 1e-300)
        shares = (1 - DRAWN) * posterior.mean(axis=0) + DRAWN * of_source
    return np.asarray(shares)


PLUGIN = LabelShift()
