"""What the domains have in common, and so which rule may judge and what may compete.

Where a classifier cannot tell the domains apart among pictures that are answered alike, at most the shares of the
classes differ. Labelled pictures then judge for the target as well, each weighted by how much more often the target
shows its class. Elsewhere classes look different, so that their shares cannot be told; where the domains are apart in
part only, there is little to gain by moving features and, with other shares, much to lose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.core.types import NO_ADAPTATION
from headstart.domain_adaptation.adapt_head import AdaptationProblem
from headstart.domain_adaptation.shift.domain_classifier import compare_domains, draw_unlike
from headstart.statistics.intervals import Interval

LABEL_SHIFT = "label_shift"  # the method that moves no feature
APART = 0.9  # area under the ROC curve within answered classes, from which on features may be moved
ALPHA = 0.05
LEAST_A_CLASS = 20  # target pictures a class, below which estimated shares are too rough to judge by


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DomainGate:
    """What may compete.

    Attributes:
        auc: Of telling the domains apart among pictures that are answered alike; None where there are too few.
        looks_alike: Whether that may be chance.
        class_weights: (C,) float64, how much more often the target shows a class than the source, where the domains
            look alike; 1 where shares may be the same, or cannot be told from so few pictures.
    """

    auc: Interval | None
    looks_alike: bool
    class_weights: np.ndarray

    def find_refusal(self, method: str) -> str:
        """Why a method may not compete; empty where it may."""
        if method == NO_ADAPTATION or self.looks_alike:
            return ""
        if self.auc is None:
            return "too few pictures are answered alike to tell how far the domains are apart"
        area = f"AUC {self.auc.value:.2f} among pictures that are answered alike"
        if method == LABEL_SHIFT:
            return f"classes look different in the new domain ({area}), so that their shares cannot be told"
        return "" if self.auc.value >= APART else f"the domains are too much alike to move features ({area})"


def measure_gate(problem: AdaptationProblem, plain: np.ndarray) -> DomainGate:
    """By the features of both domains and the answers `plain` (T, C) of the head that learnt from the source alone.

    A trunk that learnt from the source knows its pictures from all others, so that frozen features count.
    """
    x_source, x_target = problem.frozen or (problem.source.x, problem.target)
    judged = np.flatnonzero(np.isfinite(problem.held_out[:, 0]))
    rows = judged[draw_unlike(problem.clusters[judged], problem.seed)]
    places = draw_unlike(problem.target_clusters, problem.seed)
    strata = np.concatenate([problem.held_out[rows].argmax(axis=1), plain[places].argmax(axis=1)])
    test = compare_domains(x_source[rows], x_target[places], strata)
    weights = np.ones(plain.shape[1])
    if test is None or test.p < ALPHA:
        return DomainGate(auc=None if test is None else test.auc, looks_alike=False, class_weights=weights)
    of_target = problem.source.target_shares
    if of_target is not None and len(plain) >= LEAST_A_CLASS * len(weights):
        of_source = np.bincount(problem.source.y, minlength=len(weights)) / len(problem.source.y)
        weights = np.where(of_source > 0, of_target / np.where(of_source > 0, of_source, 1.0), 0.0)
    return DomainGate(auc=test.auc, looks_alike=True, class_weights=weights)
