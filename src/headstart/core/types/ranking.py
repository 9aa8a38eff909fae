"""Candidates ranked on the same folds."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.core.types.score import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRow:
    """One candidate: a backbone at one feature level, judged by probes on the same folds as all others.

    Attributes:
        candidate: `backbone@depth`.
        probe: The better of the linear probes: `logistic` or `ridge`; for a histogram `logistic`.
        scores: The metric, balanced accuracy and accuracy of `probe`, and each probe's metric (`knn_log_loss`, …).
        paired: Metric of this row minus the best row's, on the same pictures and folds; None where not comparable.
        status: `chosen`, `tied`, `beaten`, `screened_out` or `control`.
        rows_seen: Pictures it was judged on.
        flops: Of one picture through the trunk.
        seconds: Of the probes (embedding not counted).
        prior: Of the backbone.
        logme: Log evidence per picture (You 2021), rank-truncated.
        over_random: Metric of the backbone's best level minus that of its random-init control at its own best, on the
            pictures that the control saw; None where there is none.
        beats_random: Whether the interval of that says that pre-training helps; None where there is no control.
    """

    candidate: str
    backbone: str
    depth: str
    probe: str
    scores: tuple[Score, ...]
    paired: Score | None
    status: str
    rows_seen: int
    flops: int
    seconds: float
    prior: float
    logme: float
    over_random: Score | None = None
    beats_random: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """All candidates, best first, and which one is taken and why.

    Attributes:
        best_by_probe: The candidate with the lowest mean loss.
        best_by_prior: The backbone of which most is expected before anything is measured; empty where nothing is known.
        prior_why: What that rests on.
    """

    metric: str
    rows: tuple[RankRow, ...]
    chosen: str
    why: str
    ties: tuple[str, ...]
    survivors: tuple[str, ...]  # backbones whose features of all pictures go on to adapt
    best_by_probe: str = ""
    best_by_prior: str = ""
    prior_why: str = ""
