"""Given splits whose sides can be told from each other by the features of pictures of the same class."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Dataset, Finding, Outcome
from headstart.data.check_base import Check, format_uris
from headstart.data.duplicates.clusters import find_clusters
from headstart.data.duplicates.copy_detection import find_copies, find_near_pairs, link_groups
from headstart.data.groups import find_groups, join_clusters
from headstart.data.split_drift import SideTest, compare_sides
from headstart.data.strata import find_strata
from headstart.statistics.paired_tests import holm_adjusted

ALPHA = 0.01  # how often a split drawn at random is called drifted, over all sides
LARGE = 0.7  # area under the ROC curve from which a warning, not a tip
LEAST_ROWS = 20  # independent pictures of each side
MOST_TELLING = 12  # pictures that are named


def _check_split_drift(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    if not any(data.split):
        return check.make_not_applicable("the folder gives no splits; those drawn are drawn at random")
    if not data.learning_task.is_learnt:
        return check.make_not_applicable("pictures of one label are compared, and there are no labels")
    if audit_input.vectors is None or audit_input.rows is None:
        return check.make_skipped("there are no vectors yet")
    places = _find_independent(data, audit_input.rows)
    rows, vectors = audit_input.rows[places], np.asarray(audit_input.vectors)[places]
    sides, strata = np.array(data.split)[rows], find_strata(data).labels[rows]
    tests = list[tuple[str, SideTest, np.ndarray]]()
    for name in ("val", "test"):
        compared = np.isin(sides, ("train", name))
        test = compare_sides(vectors[compared], strata[compared], sides[compared] == name)
        if test is not None and min(test.n_first, test.n_second) >= LEAST_ROWS:
            tests.append((name, test, rows[compared][test.order]))
    if not tests:
        return check.make_not_applicable(f"no two sides have {LEAST_ROWS} independent pictures of the same classes")
    ps = holm_adjusted([test.p for _, test, _ in tests])
    drifted = [each for each, p in zip(tests, ps, strict=True) if p <= ALPHA]
    if not drifted:
        scores = "; ".join(f"`{name}` {_format_score(test)}" for name, test, _ in tests)
        return check.make_passed(f"pictures of the same class do not tell which side they are of: {scores}")
    return check.make_outcome([_describe_drift(check, data, *each) for each in drifted])


def _find_independent(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """(B,) int64 positions in `rows`: the first of each group and of each cluster of copies that lie on one side."""
    links = np.concatenate(
        [np.array(link_groups(find_copies(data)), np.int64).reshape(-1, 2), find_near_pairs(data)[0]]
    )
    clusters, sides = join_clusters(find_clusters(len(data.uris), links), find_groups(data)), np.array(data.split)
    straddling = np.unique(clusters[sides != sides[clusters]])
    places = np.unique(clusters[rows], return_index=True)[1]
    independent: np.ndarray = np.sort(places[~np.isin(clusters[rows[places]], straddling)])
    return independent


def _describe_drift(check: Check, data: Dataset, name: str, test: SideTest, rows: np.ndarray) -> Finding:
    rows = rows[:MOST_TELLING]
    sentence = (
        f"pictures of `{name}` are told from pictures of `train` of the same class: {_format_score(test)}; the least "
        f"alike are {format_uris(data, rows)}"
    )
    fix = (
        "see how the sides were taken and saved; where later pictures will be like these, add such ones to `train`, "
        "else the score speaks for other pictures than yours"
    )
    return check.make_finding("warning" if test.auc.value >= LARGE else "info", sentence, fix, rows=rows)


def _format_score(test: SideTest) -> str:
    area, low, high = test.auc
    n = f"{test.n_first:,} and {test.n_second:,} pictures"
    return f"ROC AUC {area:.2f} [{low:.2f}, {high:.2f}], 0.5 is chance (p = {test.p:.3f}, {n})"


PLUGIN = Check("D204", "drift between given splits", "vectors", _check_split_drift)
