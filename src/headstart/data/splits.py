"""Splits: which pictures train and which test, drawn after the audit so that near-duplicates stay on one side.

Given splits are kept, and what straddles them is reported. Otherwise the newest pictures are the test, where times
are known, or one is drawn by class, if classes that have enough in it hold half of all pictures; the others are named.
Folds are drawn inside `train`, repeated where pictures are few, and fewer where a class has fewer clusters than folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from headstart.core.errors import DataError
from headstart.core.job import Job
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Splits
from headstart.data.check_base import format_count, format_names
from headstart.data.duplicates.copy_detection import find_first_copies
from headstart.data.groups import can_judge, find_groups, find_newest, join_clusters
from headstart.data.strata import Strata, find_strata
from headstart.data.stratified_group_split import deal_clusters

LEAST_TEST = 10  # pictures of a class in a test split that is drawn, from which on it has enough
MOST_NAMED = 5  # classes with fewer
# Repeats of the cross-validation: below so many pictures to learn from, so many.
REPEATS = ((200, 10), (500, 3))
REPEATS_WITHOUT_TEST = 3  # at least, when cross-validation is all there is
_ATTEMPTS = 20
_YEARS = 1e8, 1e11  # seconds since 1970 of the years 1973 to 5138


def draw_splits(data: Dataset, clusters: np.ndarray, *, ctx: Context, screened: np.ndarray | None = None) -> Splits:
    """Keep the given splits or draw them by `clusters` (N,) int64 of the audit.

    Clusters hold near-duplicates and groups whole. Rows that helped to choose backbones (`screened`, (M,)) stay out of
    a drawn test split, with their clusters.

    Raises:
        DataError: A class's pictures are all of one group or copies of one, so that it cannot be cross-validated.
    """
    if not can_judge(data):
        return _keep_all(data, np.asarray(clusters, np.int64), ctx)
    clusters, why = _loosen_clusters(data, np.asarray(clusters, np.int64))
    if any(data.split):
        part, why_tested = _read_given_splits(data, clusters)
    else:
        part, why_tested = _draw_test_split(data, clusters, ctx.job, ctx.seed, screened)
    train = np.flatnonzero(part == 0)
    folds, why_folds = _draw_folds(data, clusters, train, ctx.job, tested=bool((part > 0).any()))
    splits = Splits(
        train=train,
        val=np.flatnonzero(part == 1),
        test=np.flatnonzero(part == 2),
        folds=folds,
        clusters=clusters,
        given=any(data.split) and not ctx.job.test_of,
        straddling=find_straddling(part, clusters),
        seed=ctx.seed,
        why="; ".join([*_format_groups(data, clusters), *why, why_tested, why_folds]),
    )
    serialization.save_value(splits, ctx.make_step_folder("splits"))
    ctx.console.print_line("splits", splits.why)
    return splits


def _keep_all(data: Dataset, clusters: np.ndarray, ctx: Context) -> Splits:
    """No test split and no folds: all is learnt from."""
    n = len(data.uris)
    splits = Splits(
        train=np.arange(n),
        val=np.empty(0, np.int64),
        test=np.empty(0, np.int64),
        folds=np.full((1, n), -1, np.int16),
        clusters=clusters,
        given=False,
        straddling=np.empty((0, 2), np.int64),
        seed=ctx.seed,
        why=f"all {n:,} pictures are learnt from and none judges: a class has a single one",
    )
    serialization.save_value(splits, ctx.make_step_folder("splits"))
    ctx.console.print_line("splits", splits.why)
    return splits


def estimate_training_count(data: Dataset, job: Job) -> int:
    """How many pictures a draw is going to leave for training; near-duplicates are not known yet."""
    strata, in_train = find_strata(data), np.array([split in ("", "train") for split in data.split], bool)
    counts, newest = strata.count_rows(in_train), find_newest(data, job.test_size)
    test_counts = np.floor(counts * job.test_size + 0.5).astype(np.int64)
    if data.times is not None:
        test_counts = strata.count_rows(newest)
    if in_train.all() and _is_worth_testing(test_counts, counts):
        shares = np.floor(np.bincount(strata.labels) * job.test_size + 0.5)
        return len(in_train) - int(shares.sum() if data.times is None else newest.sum())
    return int(in_train.sum())


def find_straddling(side: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """(P, 2) int64: for each row of val and test the smallest row of its cluster on each earlier side, and itself.

    `side` (N,) is 0 for train, 1 for val, 2 for test, -1 for none.
    """
    first: dict[tuple[int, int], int] = {}
    for row, key in enumerate(zip(clusters.tolist(), side.tolist(), strict=True)):
        first.setdefault(key, row)
    pairs = []
    for row, (cluster, part) in enumerate(zip(clusters.tolist(), side.tolist(), strict=True)):
        pairs += [(first[cluster, earlier], row) for earlier in range(part) if (cluster, earlier) in first]
    return np.array(pairs, np.int64).reshape(-1, 2)


def count_straddling(splits: Splits, rows: np.ndarray) -> int:
    """How many of some rows look like a picture of another split; given splits alone can have such."""
    return int(np.isin(np.asarray(rows), np.asarray(splits.straddling).ravel()).sum())


def describe_straddling(data: Dataset) -> str:
    """What such pictures do, in the plural."""
    bond = "share a group with a picture of another split, or look like one"
    return bond if data.groups else "look like a picture of another split"


def _loosen_clusters(data: Dataset, clusters: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Keep only exact copies together where likeness makes a whole class one cluster, such as an empty belt."""
    learn = np.array([side in ("", "train") for side in data.split], bool)
    targets, class_names, word, _ = find_strata(data)
    single_cluster_classes = [
        c for c in np.unique(targets[learn]) if len(np.unique(clusters[learn & (targets == c)])) < 2
    ]
    if not single_cluster_classes:
        return clusters, []
    is_loosened = np.isin(clusters, np.unique(clusters[np.isin(targets, single_cluster_classes)]))
    copies = find_first_copies(data.digests)
    loosened = np.where(is_loosened, join_clusters(copies, find_groups(data)) if data.groups else copies, clusters)
    stuck = [c for c in single_cluster_classes if len(np.unique(loosened[learn & (targets == c)])) < 2]
    if stuck:
        names = format_names(class_names[c] for c in stuck)
        bond = "of one group or copies" if data.groups else "copies of one"
        raise DataError(
            f"all pictures to learn from in {names} are {bond}: no cross-validation is possible",
            hint=f"add different pictures to the {word}, merge it with another, or remove it",
        )
    names = format_names(class_names[c] for c in single_cluster_classes)
    bond = "their groups and exact copies are" if data.groups else "their exact copies are"
    return loosened, [f"all pictures of {names} look alike: only {bond} kept together"]


def _format_groups(data: Dataset, clusters: np.ndarray) -> list[str]:
    if not data.groups:
        return []
    count, joined = len(set(data.groups) - {""}), len(np.unique(find_groups(data))) - len(np.unique(clusters))
    near = f", {joined:,} of them joined to another by near-duplicates" if joined else ""
    return [f"{count:,} groups kept whole{near}"]


def _read_given_splits(data: Dataset, clusters: np.ndarray) -> tuple[np.ndarray, str]:
    """Pictures without a split where others have one are learnt from, unless they look like one that judges."""
    side = np.array([("", "train", "val", "test").index(name) - 1 for name in data.split], np.int64)
    is_leak = (side < 0) & np.isin(clusters, clusters[side > 0])
    side[(side < 0) & ~is_leak] = 0
    sizes = [f"{name} {int((side == number).sum()):,}" for number, name in enumerate(("train", "val", "test"))]
    ignored = "" if data.times is None else " (times are not used)"
    leaks = (
        f"; {format_count(int(is_leak.sum()))} more not learnt from: near pictures that judge" if is_leak.any() else ""
    )
    return side, f"splits as given{ignored}: {', '.join(size for size in sizes if not size.endswith(' 0'))}{leaks}"


def _draw_test_split(
    data: Dataset, clusters: np.ndarray, job: Job, seed: int, screened: np.ndarray | None
) -> tuple[np.ndarray, str]:
    """The newest pictures, or every class by its share; classes left with fewer clusters than folds stay whole."""
    size = job.test_size
    side, strata = np.zeros(len(data.uris), np.int64), find_strata(data)
    targets = strata.labels
    if size == 0:
        return side, "no test split, as asked"
    is_kept = np.isin(clusters, clusters[np.asarray([] if screened is None else screened, np.int64)])
    needed = {c: min(job.folds, len(np.unique(clusters[targets == c]))) for c in np.unique(targets)}
    newest = find_newest(data, size)
    while True:
        if data.times is None:
            part = deal_clusters(targets, clusters, (1 - size, size), np.random.default_rng([seed, 1]), first=is_kept)
        else:
            part = (np.isin(clusters, clusters[newest]) & ~is_kept).astype(np.int64)
        unlike = {c: len(np.unique(clusters[(part == 0) & (targets == c)])) for c in needed}
        is_stuck = np.isin(targets, [c for c, count in unlike.items() if count < needed[c]]) & ~is_kept
        if not is_stuck.any():
            break
        is_kept |= np.isin(clusters, clusters[is_stuck])
    tested, counts = strata.count_rows(part == 1), strata.count_rows(part >= 0)
    few = [int(c) for c in np.flatnonzero(counts) if tested[c] < LEAST_TEST]
    if not _is_worth_testing(tested, counts):
        least = min(few, key=lambda c: tested[c])
        if data.times is not None and not newest.any():
            return side, "no test split: all pictures are of the same time"
        why = f"{strata.word} `{strata.names[least]}` {tested[least]} of the {LEAST_TEST} pictures it needs"
        return side, f"no test split: {size:.0%} would leave {why}"
    side[part == 1] = 2
    least_count = f"at least {tested[tested >= LEAST_TEST].min()} of each {'other ' if few else ''}{strata.word}"
    shortage = f"; few or none of {_format_counts(few, tested, strata)}: what is said of them is vague" if few else ""
    pictures = f"{int((part == 1).sum()):,} of {len(side):,} pictures"
    if data.times is not None:
        times = np.asarray(data.times)[part == 1]
        untimed = int(np.isnan(np.asarray(data.times)).sum())
        pictures = f"the newest {pictures}, of {_format_time(np.nanmin(times))} to {_format_time(np.nanmax(times))},"
        shortage += f"; {untimed:,} without a time count as old" if untimed else ""
    return side, f"{pictures} for the test, {least_count}{shortage}"


def _format_time(seconds: float) -> str:
    """A date where the seconds can be since 1970, else the number."""
    if not _YEARS[0] < seconds < _YEARS[1]:
        return f"{seconds:g} s"
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "minutes")[:16].removesuffix(" 00:00")


def _is_worth_testing(tested: np.ndarray, counts: np.ndarray) -> bool:
    """Whether classes with half of all pictures or more have enough for a test, given counts (C,) of it and of all.

    Classes with fewer are tested with what they have, but one class alone is no test.
    """
    return bool((tested > 0).sum() > 1 and 2 * counts[tested >= LEAST_TEST].sum() >= counts.sum())


def _format_counts(few: Sequence[int], tested: np.ndarray, strata: Strata) -> str:
    names = [f"`{strata.names[c]}` ({tested[c]})" for c in sorted(few, key=lambda c: tested[c])]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _draw_folds(
    data: Dataset, clusters: np.ndarray, train: np.ndarray, job: Job, *, tested: bool
) -> tuple[np.ndarray, str]:
    strata, train_clusters, most = find_strata(data), clusters[train], job.folds
    targets = strata.labels[train]
    cluster_counts = {int(c): len(np.unique(train_clusters[targets == c])) for c in np.unique(targets)}
    least = min(cluster_counts, key=lambda c: cluster_counts[c])
    asked = max(2, min(most, cluster_counts[least]))
    repeats = next((times for below, times in REPEATS if len(train) < below), 1)
    repeats = job.repeats or (repeats if tested else max(repeats, REPEATS_WITHOUT_TEST))
    folds = np.full((repeats, len(data.uris)), -1, np.int16)
    for count in range(asked, 1, -1):
        drawn = [_draw_folds_once(targets, train_clusters, count, [job.seed, 2, repeat]) for repeat in range(repeats)]
        fold_of_row = [draw for draw in drawn if draw is not None]
        if len(fold_of_row) == repeats:
            break
    else:
        raise DataError(
            f"{'groups' if data.groups else 'copies'} under several labels tie the classes together: no folds let "
            "every class be learnt in each",
            hint="give more groups" if data.groups else "keep each picture under its right label, remove other copies",
        )
    folds[:, train] = fold_of_row
    times = "once" if repeats == 1 else f"{repeats} times"
    sentence = f"{count}-fold cross-validation {times} inside {len(train):,} pictures"
    if count < most:
        unit = "groups" if data.groups else "unlike pictures"
        fewest = f"{strata.word} `{strata.names[least]}` has {cluster_counts[least]} {unit}"
        fewest = fewest if count == asked else "larger ones tie the classes together"
        sentence += f" ({most} folds asked for, {fewest})"
    return folds, sentence


def _draw_folds_once(targets: np.ndarray, clusters: np.ndarray, count: int, seed: Sequence[int]) -> np.ndarray | None:
    """(M,) folds, none empty and no class whole in one, so that all are learnt in every fold; None if none is drawn."""
    for attempt in range(_ATTEMPTS):
        folds = deal_clusters(targets, clusters, (1 / count,) * count, np.random.default_rng([*seed, attempt]))
        table = np.zeros((int(targets.max()) + 1, count), np.int64)
        np.add.at(table, (targets, folds), 1)
        if table.any(axis=0).all() and ((table > 0).sum(axis=1)[np.unique(targets)] > 1).all():
            return folds
    return None
