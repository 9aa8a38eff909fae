"""What to try: which heads by the number of pictures a class, and which features side by side.

Under 5 pictures a class only the nearest class mean is honest; up to 20 a regularised linear head; above that all heads
compete, and a short list of combinations: a search that is longer than the data can judge finds luck.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headstart.core import registry
from headstart.core.run.context import Context
from headstart.core.types import Dataset, Embeddings, Feature, NameInitialization, Ranking, RankRow, Splits
from headstart.features import feature_matrix
from headstart.heads.design_matrix import FROM_NAMES_SUFFIX
from headstart.selection import limits

FEW, SOME = 5, 20  # pictures a class
HEADS = {
    "few": ("nearest_mean",),
    "some": ("ridge", "logistic"),
    "many": ("nearest_mean", "knn", "ridge", "logistic", "lda"),
}
ORDERED = ("adjacent_category",)  # heads that compete too where the classes have an order
FROM_NAMES = "ridge" + FROM_NAMES_SUFFIX
WIDEST = 8_192  # columns of a combination
LARGEST = 1 << 25  # numbers in it, so that its folds fit in memory


class Strategy(NamedTuple):
    """How much the data allow: the heads to try, whether to combine features, and the reason."""

    heads: tuple[str, ...]
    combine: bool
    why: str


def choose_strategy(data: Dataset, splits: Splits) -> Strategy:
    """The strategy by the median number of training pictures a class; of numbers by that of pictures."""
    if heads := data.learning_task.heads:
        count = len(splits.train)
        return Strategy(heads, count >= FEW * SOME, f"{count:,} training pictures")
    counts = np.bincount(np.asarray(data.targets)[splits.train], minlength=len(data.class_names))
    typical = int(np.median(counts[counts > 0]))
    reason, ordered = f"about {typical:,} training pictures a class", ORDERED if data.learning_task.ordered else ()
    if typical < FEW:
        heads, names = HEADS["few"] + ordered, "nearest class mean" + " or adjacent categories" * bool(ordered)
        return Strategy(heads, False, f"{reason}: {names}, and no claim can rest on so few")
    if typical < SOME:
        return Strategy(HEADS["some"] + ordered, False, f"{reason}: a linear head whose strength alone is tuned")
    heads = HEADS["many"] + ordered
    if data.weights is not None:
        heads = tuple(name for name in heads if "weights" not in registry.load_plugin("heads", name).cannot)
    return Strategy(heads, True, reason)


def make_feature(embeddings: Sequence[Embeddings], candidate: str) -> Feature:
    """`backbone@depth` as a feature."""
    backbone, _, name = candidate.rpartition("@")
    spec = next(e.spec for e in embeddings if e.spec.name == backbone)
    return Feature(backbone=backbone, depth=name, dim=next(d.dim for d in spec.depths if d.name == name))


def features_with_names(chosen: Feature, names: NameInitialization | None) -> list[tuple[Feature, ...]]:
    """Features for a head that starts from the names of the classes: those that they speak of, and the chosen too."""
    if names is None:
        return []
    return [(names.feature,)] if chosen == names.feature else [(names.feature,), (chosen, names.feature)]


def list_combinations(ranking: Ranking, embeddings: Sequence[Embeddings], rows: int) -> list[tuple[Feature, ...]]:
    """Features to put side by side, each combination once: within the chosen backbone, then with the next best ones.

    Combinations that would be too large for `rows` pictures are left out.
    """
    widest = min(WIDEST, LARGEST // max(rows, 1))
    best = _best_levels(ranking, embeddings)
    chosen = make_feature(embeddings, ranking.chosen)
    levels = list_levels(embeddings, chosen.backbone)
    inner, last = levels[:-1], levels[-1]
    proposals = [levels, inner, (chosen, last)]
    others = [f for f in best if f.backbone != chosen.backbone]
    if others:
        proposals += [(chosen, others[0]), (*inner, *list_levels(embeddings, others[0].backbone)[:-1])]
    if len(others) > 1:
        proposals.append((chosen, *others[:2]))
    combinations: dict[frozenset[Feature], tuple[Feature, ...]] = {}
    for features in proposals:
        distinct = tuple(dict.fromkeys(features))
        if len(distinct) > 1 and sum(f.dim for f in distinct) <= widest:
            combinations.setdefault(frozenset(distinct), distinct)
    return list(combinations.values())


def filter_by_limits(
    combinations: Sequence[tuple[Feature, ...]], embeddings: Sequence[Embeddings], ctx: Context
) -> list[tuple[Feature, ...]]:
    """The combinations that obey the job's limits; trunks that answer together add up. The others are told."""
    if not limits.has_limits(ctx.job):
        return list(combinations)
    latency_ms = ctx.run.find_decision(limits.LATENCIES) or {}
    specs = {e.spec.name: e.spec for e in embeddings}
    allowed = []
    for features in combinations:
        backbones = dict.fromkeys(f.backbone for f in features)
        why = limits.format_broken_limits([specs[name] for name in backbones], ctx.job, latency_ms)
        if why:
            ctx.console.print_line("adapt", f"{feature_matrix.format_features(features)} is not tried together: {why}")
        else:
            allowed.append(features)
    return allowed


def list_levels(embeddings: Sequence[Embeddings], backbone: str) -> tuple[Feature, ...]:
    """The feature levels of a backbone, shallow to deep."""
    spec = next(e.spec for e in embeddings if e.spec.name == backbone)
    return tuple(Feature(backbone=backbone, depth=d.name, dim=d.dim) for d in spec.depths)


def _best_levels(ranking: Ranking, embeddings: Sequence[Embeddings]) -> list[Feature]:
    best: dict[str, Feature] = {}
    for row in list_judged_rows(ranking, embeddings):
        best.setdefault(row.backbone, make_feature(embeddings, row.candidate))
    return list(best.values())


def list_judged_rows(ranking: Ranking, embeddings: Sequence[Embeddings]) -> list[RankRow]:
    """Candidates, but no controls, whose features are at hand, in the order of the ranking."""
    at_hand = {e.spec.name for e in embeddings}
    return [r for r in ranking.rows if r.backbone in at_hand and r.status in ("chosen", "tied", "beaten")]
