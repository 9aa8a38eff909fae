"""Labels of held-out pictures that the model contradicts beyond what its own mistakes explain."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headstart.evaluation.held_out_scores import JudgedSplit
from headstart.heads.label_errors import find_label_errors


class SuspectLabels(NamedTuple):
    """Rows (P,) int64, the likeliest wrong first, the classes (P,) int64 that are likelier than their labels, with the
    held-out probabilities (P,) of these, and how many are wrong: expected, low and high (95 %)."""

    rows: np.ndarray
    rivals: np.ndarray
    rival_probabilities: np.ndarray
    wrong: tuple[float, ...]


def find_suspect_labels(judged_splits: dict[str, JudgedSplit]) -> SuspectLabels:
    """Find them among all pictures that the model did not learn from."""
    parts = [part for split, part in judged_splits.items() if split != "train"]
    rows, y, p = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "y", "p"))
    errors = find_label_errors(p, y)
    rivals = p[errors.places, errors.likelier]
    return SuspectLabels(rows[errors.places].astype(np.int64), errors.likelier, rivals, errors.wrong_candidates)
