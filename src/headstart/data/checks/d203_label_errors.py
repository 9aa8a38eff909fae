"""Label-error candidates: labels that models which did not see the picture contradict."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count, format_uris
from headstart.data.duplicates.near_duplicate_search import to_unit_vectors
from headstart.data.stratified_group_split import deal_clusters
from headstart.statistics.sampling import draw_rows

FOLDS = 5  # a class needs as many clusters of near-duplicates (or groups): each fold judges it by the others
LEAST_ROWS = 100
MOST_ROWS = 50_000  # of 1,280 columns half a minute
# A column that a few pictures alone move makes a linear model absurdly sure of them: values are cut at so many standard
# deviations, and columns left out of which little is left.
FAR, LEFT = 4.0, 0.5


def _check_label_errors(check: Check, audit_input: AuditInput) -> Outcome:
    from headstart.heads.label_errors import find_label_errors

    if audit_input.vectors is None or audit_input.rows is None:
        return check.make_skipped("there are no vectors yet")
    data, some = audit_input.data, draw_rows(len(audit_input.rows), MOST_ROWS)
    rows = np.asarray(audit_input.rows)[some]
    targets = np.asarray(data.targets)[rows]
    clusters = rows if audit_input.clusters is None else audit_input.clusters[rows]
    few = _find_small_classes(targets, clusters)
    judged = np.flatnonzero(~np.isin(targets, few))
    left_out = f"; {format_count(len(few), 'class')} of fewer than {FOLDS} pictures or groups left out" if few else ""
    if len(judged) < LEAST_ROWS or len(np.unique(targets[judged])) < 2:
        return check.make_skipped(
            f"{format_count(len(judged))} of two classes or more are too few to tell wrong labels from the model's own "
            f"mistakes: {LEAST_ROWS} are needed{left_out}"
        )
    rows, classes = rows[judged], np.unique(targets[judged])
    labels = np.searchsorted(classes, targets[judged])
    x = _steady_columns(np.asarray(audit_input.vectors)[some[judged]])
    errors = find_label_errors(_predict_held_out(x, labels, clusters[judged], len(classes)), labels)
    expected, low, high = (round(number) for number in errors.wrong)
    pictures = format_count(len(rows)) + (f" of {len(audit_input.rows):,}" if len(some) < len(audit_input.rows) else "")
    if not len(errors.places):
        return check.make_passed(
            f"no label of {pictures} is contradicted beyond what the model's own mistakes explain: at most {high:,} "
            f"wrong{left_out}"
        )
    doubtful = rows[errors.places]
    right = len(doubtful) - round(errors.wrong_candidates[0])
    sentence = (
        f"{format_count(len(doubtful), 'label-error candidate')} ({format_uris(data, doubtful)}): about {expected:,} "
        f"({low:,} to {high:,}) labels of {pictures} are likely to be wrong{left_out}"
    )
    fix = f"look at each, the likeliest wrong first: about {right:,} of these may be right"
    likelier = tuple(data.class_names[classes[label]] for label in errors.likelier)
    return check.make_issue(sentence, fix, rows=doubtful, likelier_classes=likelier)


def _find_small_classes(targets: np.ndarray, clusters: np.ndarray) -> list[int]:
    """Classes with pictures, but in too few clusters for every fold to learn them from the others."""
    pairs = np.unique(np.stack([targets, clusters], axis=1), axis=0)
    return [int(c) for c in np.unique(targets) if (pairs[:, 0] == c).sum() < FOLDS]


def _steady_columns(vectors: np.ndarray) -> np.ndarray:
    """(M, Q) float32 columns of the unit vectors, without what a few pictures alone move."""
    columns = to_unit_vectors(vectors)
    spread = columns.std(axis=0)
    columns = np.clip((columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1), -FAR, FAR)
    moving = columns.std(axis=0) > LEFT
    return np.asarray(columns[:, moving] if moving.any() else columns, np.float32)


def _predict_held_out(x: np.ndarray, labels: np.ndarray, clusters: np.ndarray, n_classes: int) -> np.ndarray:
    """(M, C) float32 by logistic regression of the other folds, its strength searched; clusters are dealt out whole."""
    from headstart.core import registry
    from headstart.heads.cross_validation import tune_head

    folds = deal_clusters(labels, clusters, [1 / FOLDS] * FOLDS, np.random.default_rng(0))
    head = registry.load_plugin("heads", "logistic")
    held_out: np.ndarray = tune_head(head, x, labels, folds, n_classes=n_classes).held_out[0]
    return held_out


PLUGIN = Check("D203", "label-error candidates", "vectors", _check_label_errors, of_classes=True)
