"""Whether an ensemble of the heads that were tried beats the best of them, on folds that did not choose its members.

It reads no trunk that the best head does not read, so an answer takes the passes that it took before. Both are compared
with temperatures that other pictures set, for a mean of several heads is less sure than one; of equals the one head is
taken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from headstart.core.types import Embeddings, Feature
from headstart.features.feature_matrix import IN_MEMORY_BYTES, sum_flops
from headstart.heads import cross_validation, ensemble
from headstart.selection.cv_problem import CvProblem
from headstart.selection.probe.head_selection import HeadResult
from headstart.statistics.losses import per_picture_loss
from headstart.statistics.paired_selection import CandidateLosses, PairedChoice, choose_candidate
from headstart.uncertainty import temperature

LINEAR = ("nearest_mean", "ridge", "logistic", "lda", "adjacent_category")


@dataclass(frozen=True, kw_only=True, eq=False)
class EnsembleTrial:
    """An ensemble, and the paired rule's choice between it and one head."""

    entry: HeadResult
    choice: PairedChoice

    @property
    def is_better(self) -> bool:
        """Whether the ensemble is taken."""
        return self.choice.winner == self.entry.name


def try_ensemble(
    single: HeadResult, entries: Sequence[HeadResult], embeddings: Sequence[Embeddings], problem: CvProblem
) -> EnsembleTrial | None:
    """Pool the linear ones of `entries` that read the trunks of `single`, on the first repeat of the folds.

    None where fewer than two help each other, or their columns are too many to hold.
    """
    started, trunks = time.monotonic(), {f.backbone for f in single.features}
    pool = [e for e in entries if e.head in LINEAR and {f.backbone for f in e.features} <= trunks]
    folds, is_judged = problem.folds[0], problem.folds[0] >= 0
    if not pool:
        return None
    log_p_KMC = np.log(np.maximum([e.tuned.held_out[0] for e in pool], np.finfo(np.float32).tiny, dtype=np.float64))
    shares = ensemble.select_members(log_p_KMC[:, is_judged], problem.y[is_judged])
    members = [(pool[position], float(shares[position])) for position in np.flatnonzero(shares)]
    features = tuple(dict.fromkeys(f for entry, _ in members for f in entry.features))
    if len(members) < 2 or len(problem.rows) * sum(f.dim for f in features) * 4 > IN_MEMORY_BYTES:
        return None
    held_out = ensemble.pool_held_out(log_p_KMC, problem.y, folds)[None]
    tuned = cross_validation.TunedSetting(
        params={ensemble.MEMBERS: [_describe_member(entry, share, features) for entry, share in members]},
        held_out=held_out,
        losses=cross_validation.average_losses(problem.metric, problem.y, held_out),
        grid_losses=(),
    )
    seconds = time.monotonic() - started
    cost = sum_flops(embeddings, features)
    entry = HeadResult(head=ensemble.NAME, features=features, flops=cost, tuned=tuned, seconds=seconds)
    tempered = [_tempered_losses(each, problem, cost) for cost, each in enumerate((single, entry))]
    metric = f"{problem.metric} with a temperature set by other pictures"
    choice = choose_candidate(tempered, prefer=problem.prefer, clusters=problem.clusters, metric=metric)
    return EnsembleTrial(entry=entry, choice=choice)


def _describe_member(entry: HeadResult, share: float, features: Sequence[Feature]) -> dict[str, object]:
    ends = pairwise(accumulate((f.dim for f in features), initial=0))
    columns = {feature: [first, last] for feature, (first, last) in zip(features, ends, strict=True)}
    return {
        "name": entry.name,
        "head": entry.head,
        "columns": [columns[feature] for feature in entry.features],
        "share": share,
        "params": dict(entry.tuned.params),
    }


def _tempered_losses(entry: HeadResult, problem: CvProblem, cost: float) -> CandidateLosses:
    """On the pictures that the first repeat judged; `cost` orders equals."""
    judged = np.flatnonzero(problem.folds[0] >= 0)
    rows, y = problem.rows[judged], problem.y[judged]
    p = temperature.apply_cross_fitted_temperature(
        entry.tuned.held_out[0, judged], y, problem.clusters[rows], problem.seed
    )
    return CandidateLosses(name=entry.name, rows=rows, losses=per_picture_loss(problem.metric, y, p), cost=cost)
