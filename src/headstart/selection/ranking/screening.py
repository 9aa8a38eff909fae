"""Screen backbones on few pictures, so that only those worth it see all of them.

Successive halving (`headstart.selection.successive_halving`): the better half goes on to more pictures, and the best by
prior too. A round's pictures are among those of the next. After the last one it is judged what would be handed over:
each backbone alone, or two side by side. No test split is drawn from the pictures used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.run.context import Context
from headstart.core.types import Dataset, Embeddings, RankRow
from headstart.data.groups import find_groups, find_learnable, join_clusters
from headstart.data.splits import estimate_training_count
from headstart.data.strata import find_strata
from headstart.selection import successive_halving
from headstart.selection.cv_problem import CvProblem, make_cv_problem
from headstart.selection.probe import candidate_heads, head_selection
from headstart.selection.published_accuracy import make_option
from headstart.selection.ranking.probe_scores import judge_levels
from headstart.statistics.paired_selection import TOLERANCE, CandidateLosses, choose_candidate, paired_difference

FOLDS = 5
WHOLE = 2.5  # a round sees at most this part of all pictures, where none are given for judging
CALIBRATED = 256  # pictures of the one round in int8: another draw would calibrate, and so embed, all anew


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Screening:
    """Which backbones go on, the best by probe first.

    Attributes:
        pictures: (M,) int64 rows that were looked at.
        rows: One row for each level of the backbones that do not, those that went furthest first.
    """

    pictures: np.ndarray
    survivors: tuple[str, ...]
    rows: tuple[RankRow, ...]


def draw_rows(data: Dataset, count: int, seed: int, among: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """(M,) int64 ascending, a stratified draw of rows `among`; a small class keeps at least two where `count` allows.

    All of them where there are no more than `count`.
    Of `groups` (N,) few are drawn whole, not many in part, as those touched stay out of the test split; a small class
    keeps two of them.
    """
    if len(among) <= count:
        return np.sort(np.asarray(among, np.int64))
    order = np.random.default_rng([seed, count]).permutation(np.sort(among))
    labels = order if groups is None else groups[order]
    _, first, group = np.unique(labels, return_index=True, return_inverse=True)
    order, labels = order[np.argsort(first[group], kind="stable")], np.sort(first[group])
    place = np.empty(len(order))
    targets = find_strata(data).labels[order]
    for c in np.unique(targets):
        inside = np.flatnonzero(targets == c)
        place[inside] = (np.arange(len(inside)) + 0.5) / len(inside)
        place[inside[np.unique(labels[inside], return_index=True)[1][:2]]] = -1.0  # first in line
    return np.sort(order[np.argsort(place, kind="stable")[:count]]).astype(np.int64)


def list_round_sizes(data: Dataset, *, ctx: Context) -> list[int]:
    """Pictures that a round may look at, ascending; none where all are passed anyway."""
    learnable = len(find_learnable(data, ctx.job.test_size))
    is_judged = any(data.split) or learnable < len(data.uris)
    sizes = successive_halving.list_sizes(
        learnable if is_judged else int(learnable / WHOLE), len(find_strata(data).names)
    )
    return [count for count in sizes if ctx.job.precision == "f32" or count == CALIBRATED]


def draw_rounds(data: Dataset, *, ctx: Context) -> dict[int, np.ndarray]:
    """(M,) int64 rows for each size that a round may have, each among those of the next; the smallest come first."""
    among, groups, rounds = find_learnable(data, ctx.job.test_size), find_groups(data), dict[int, np.ndarray]()
    for count in reversed(list_round_sizes(data, ctx=ctx)):
        rounds[count] = among = draw_rows(data, count, ctx.seed, among, groups)
    return dict(reversed(rounds.items()))


def plan_round(
    data: Dataset, options: Sequence[successive_halving.Option], previous: Screening | None, *, ctx: Context
) -> int:
    """Pictures that the next round looks at, 0 where all `options` go on or one is left; no clock has a say."""
    from headstart.backbones import loading

    if "auto" not in ctx.job.backbones:
        return 0
    free = {loading.find_backbone(name).name for name in ctx.job.backbones if name != "auto"}
    training = estimate_training_count(data, ctx.job) if ctx.job.strategy == "probe" else 0  # tuning tries both
    looks = {row.backbone: float(row.flops * row.rows_seen) for row in (previous.rows if previous else ())}
    return successive_halving.plan_round(
        options,
        len(data.uris),
        training,
        list_round_sizes(data, ctx=ctx),
        seen=len(previous.pictures) if previous else 0,
        lost=sum(cost for name, cost in looks.items() if name not in free),
        free=free,
    )


def screen_backbones(
    data: Dataset, embeddings: tuple[Embeddings, ...], *, ctx: Context, previous: Screening | None = None
) -> Screening:
    """One round: judge backbones on the pictures that they were all given; `embeddings` are all of the same rows.

    Of more than two the better half goes on; of two it is told whether one alone is handed over.
    """
    rows = np.asarray(embeddings[0].rows)
    problem = make_screening_problem(data, rows, ctx)
    judged, clusters = [judge_levels(e, problem) for e in embeddings], problem.clusters
    best = {levels[0].row.backbone: min(levels, key=lambda s: s.losses.mean_loss) for levels in judged}
    choice = choose_candidate([b.losses for b in best.values()], clusters=clusters, metric=problem.metric)
    options = [make_option(e.spec) for e in embeddings]
    losses = [dataclasses.replace(b.losses, name=name) for name, b in best.items()]
    survivors: list[str] = ctx.record_decision(
        f"rank/survivors/{len(rows)}/{len(embeddings)}",
        lambda: (
            list(successive_halving.halve_options(options, losses, clusters=clusters).survivors)
            if len(embeddings) > 2
            else _choose_handed_over(data, embeddings, losses, problem, ctx)
        ),
        choice.why,
    )
    leader = best[survivors[0]].losses
    dropped_rows = [
        dataclasses.replace(
            j.row,
            status="screened_out",
            paired=problem.make_difference_score(paired_difference(j.losses, leader, clusters)),
        )
        for levels in judged
        for j in sorted(levels, key=lambda s: s.losses.mean_loss)
        if j.row.backbone not in survivors
    ]
    _print_survivors(survivors, successive_halving.best_by_prior(options), len(best), len(rows), ctx)
    earlier_rows = previous.rows if previous else ()
    return Screening(pictures=rows, survivors=tuple(survivors), rows=(*dropped_rows, *earlier_rows))


def _choose_handed_over(
    data: Dataset, embeddings: tuple[Embeddings, ...], losses: list[CandidateLosses], problem: CvProblem, ctx: Context
) -> list[str]:
    """Of two backbones both, where side by side they do not lose to the one that would answer alone.

    That is the best by prior, unless the other is better beyond chance: on few pictures a probe knows less. Beside it
    the second gains with the number of pictures, so it stays behind only where both lose as much as the paired rule
    heeds. Under 20 training pictures a class features are not combined.
    """
    prior = successive_halving.best_by_prior(make_option(e.spec) for e in embeddings)
    other = next(e.spec.name for e in embeddings if e.spec.name != prior)
    by_name = {candidate.name: candidate for candidate in losses}
    if paired_difference(by_name[other], by_name[prior], problem.clusters).high < 0:
        prior, other = other, prior
    if estimate_training_count(data, ctx.job) < candidate_heads.SOME * len(find_strata(data).names):
        return [prior]
    alone = [embedded for embedded in embeddings if embedded.spec.name == prior]
    lead = _judge_side_by_side(embeddings, problem) - _judge_side_by_side(alone, problem)
    tolerance = TOLERANCE["accurate"] if problem.prefer == "accurate" else -TOLERANCE["fast"]
    return [prior, other] if lead < tolerance else [prior]


def _judge_side_by_side(embeddings: Sequence[Embeddings], problem: CvProblem) -> float:
    """The mean loss of a head on the inner levels of all, or on their last ones, whichever does better."""
    levels = [candidate_heads.list_levels(embeddings, each.spec.name) for each in embeddings]
    sets = [[f for of_one in levels for f in of_one[:-1] or of_one], [of_one[-1] for of_one in levels]]
    heads = [head_selection.tune_heads((problem.task.scout,), tuple(s), embeddings, problem) for s in sets]
    return min(float(np.nanmean(entry.tuned.losses)) for entries in heads for entry in entries)


def _print_survivors(survivors: list[str], by_prior: str, count: int, pictures: int, ctx: Context) -> None:
    roles = {survivors[0]: [successive_halving.BY_PROBE]}
    roles.setdefault(by_prior, []).append(successive_halving.BY_PRIOR)
    described = [f"{name} ({' and '.join(roles[name])})" if name in roles else name for name in survivors]
    ctx.console.print_line(
        "screen", f"{len(survivors)} of {count} backbones go on after {pictures:,} pictures: {', '.join(described)}"
    )


def make_screening_problem(data: Dataset, rows: np.ndarray, ctx: Context) -> CvProblem:
    """Folds for pictures whose audit is not finished: stratified, groups and equal fingerprints together.

    A fingerprint that a tenth of the pictures share (blank ones) tells nothing and binds nothing together.
    """
    targets, clusters = find_strata(data).labels, _cluster_by_fingerprint(data, rows)
    least = min(len(np.unique(clusters[rows[targets[rows] == c]])) for c in np.unique(targets[rows]))
    count = max(2, min(FOLDS, ctx.job.folds, least))
    folds = np.full((1, len(targets)), -1, np.int16)
    order = rows[np.random.default_rng([ctx.seed, len(rows)]).permutation(len(rows))]
    fold_of_cluster: dict[int, int] = {}
    for c in np.unique(targets[rows]):
        labels = clusters[order[targets[order] == c]].tolist()
        places = {cluster: place for place, cluster in enumerate(dict.fromkeys(labels))}
        fold_of_cluster = {cluster: place % count for cluster, place in places.items()} | fold_of_cluster
    folds[0, rows] = [fold_of_cluster[cluster] for cluster in clusters[rows].tolist()]
    return make_cv_problem(rows, data, folds, clusters, ctx=ctx, split="screen")


def _cluster_by_fingerprint(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """(N,) the first row with the same perceptual hash, its own where too many of `rows` share it; groups joined."""
    _, first, same = np.unique(data.facts.phash, return_index=True, return_inverse=True)
    common = np.bincount(same[rows], minlength=int(same.max()) + 1) > len(rows) / 10
    clusters = np.where(common[same], np.arange(len(same)), first[same])
    return join_clusters(clusters, find_groups(data)) if data.groups else clusters
