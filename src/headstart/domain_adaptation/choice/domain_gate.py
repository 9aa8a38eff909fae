"""Which ways to adapt may compete, by how the domains differ among pictures that are answered alike.

Where a classifier cannot tell the domains apart there, at most the shares of the classes differ: features need no move,
and matching them would take away what the shares explain. Where it tells them apart only in part, the target is much
like the source, so that there is little to gain and, with other shares, much to lose. The rules see neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.core.types import NO_ADAPTATION
from headstart.domain_adaptation.adapt_head import AdaptationProblem
from headstart.domain_adaptation.shift.domain_classifier import compare_domains, draw_unlike
from headstart.domain_adaptation.shift.label_shift import Answers, estimate_label_shift
from headstart.statistics.intervals import Interval

LABEL_SHIFT = "label_shift"  # the method that moves no feature
APART = 0.9  # area under the ROC curve within answered classes, from which on features may be moved
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainGate:
    """What may compete.

    Attributes:
        auc: Of telling the domains apart among pictures that are answered alike; None where there are too few.
        looks_alike: Whether that may be chance.
        shares_differ: Whether the shares of the classes differ, where the domains look alike.
    """

    auc: Interval | None
    looks_alike: bool
    shares_differ: bool

    def find_refusal(self, method: str) -> str:
        """Why a method may not compete; empty where it may."""
        if method == NO_ADAPTATION or self.auc is None:
            return ""
        area = f"AUC {self.auc.value:.2f} among pictures that are answered alike"
        if self.looks_alike:
            if method == LABEL_SHIFT:
                return "" if self.shares_differ else "no sign of other class shares"
            return f"the domains cannot be told apart ({area}): features need no move"
        if method == LABEL_SHIFT:
            return f"classes look different in the target ({area}), so that their shares cannot be told"
        return "" if self.auc.value >= APART else f"the domains are too much alike to move features ({area})"


def measure_gate(problem: AdaptationProblem, plain: np.ndarray, names: tuple[str, ...] = ()) -> DomainGate:
    """By the features of both domains and the answers `plain` (T, C) of the head that learnt from the source alone."""
    known = np.flatnonzero(np.isfinite(problem.held_out[:, 0]))
    rows = known[draw_unlike(problem.clusters[known], problem.seed)]
    asked = draw_unlike(np.arange(len(plain)), problem.seed)
    strata = np.concatenate([problem.held_out[rows].argmax(axis=1), plain[asked].argmax(axis=1)])
    test = compare_domains(problem.source.x[rows], problem.target[asked], strata)
    if test is None or test.p < ALPHA:
        return DomainGate(auc=None if test is None else test.auc, looks_alike=False, shares_differ=False)
    source = Answers(
        p=problem.held_out[known].astype(np.float64), y=problem.source.y[known], clusters=problem.clusters[known]
    )
    target = Answers(p=plain.astype(np.float64), y=np.empty(0, np.int64), clusters=np.arange(len(plain)))
    labels = names or tuple(map(str, range(plain.shape[1])))
    shares = estimate_label_shift(source, target, labels, problem.seed)
    return DomainGate(auc=test.auc, looks_alike=True, shares_differ=shares.p < ALPHA)
