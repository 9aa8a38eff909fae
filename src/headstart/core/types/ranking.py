"""Candidates ranked on the same folds."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.core.types.score import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRow:
    """One candidate: a backbone at one feature level, judged by probes on the same folds as all others."""

    candidate: str  # `backbone@depth`
    backbone: str
    depth: str
    probe: str  # the better of the linear probes: `logistic` or `ridge`; for a histogram `logistic`
    scores: tuple[Score, ...]  # metric, balanced accuracy and accuracy of `probe`; `knn_log_loss`, …
    paired: Score | None  # metric minus the best row's, on the same pictures and folds; None where not comparable
    status: str  # `chosen`, `tied`, `beaten`, `screened_out` or `control`
    rows_seen: int  # pictures it was judged on
    flops: int  # of one picture through the trunk
    seconds: float  # of the probes (embedding not counted)
    prior: float  # of the backbone
    logme: float  # log evidence per picture (You 2021), rank-truncated
    over_random: Score | None = None  # metric of the backbone's best level minus its random-init control's
    beats_random: bool | None = None  # whether that interval says that pre-training helps; None without a control


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """All candidates, best first, and which one is taken and why."""

    metric: str
    rows: tuple[RankRow, ...]
    chosen: str
    why: str
    ties: tuple[str, ...]
    survivors: tuple[str, ...]  # backbones whose features of all pictures go on to adapt
    best_by_probe: str = ""  # the candidate with the lowest mean loss
    best_by_prior: str = ""  # the backbone of which most is expected unmeasured; empty where nothing is known
    prior_why: str = ""  # what that rests on
