"""What a threshold or costs came to: how the positive class is found, or what an answer costs on average."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core.storage.files import format_printable
from headstart.core.types import Evaluation, Score
from headstart.reporting.report_data import ReportInput
from headstart.statistics.intervals import mean_interval


def decision(given: ReportInput, found: Evaluation) -> dict[str, Any] | None:
    """A sentence and the scores it is about, named; None where the most probable class is answered."""
    if found.threshold is not None:
        return _threshold(given.job.positive, found.threshold, found)
    return _costs(given, found) if given.costs is not None else None


def _threshold(positive: str, threshold: float, found: Evaluation) -> dict[str, Any]:
    of = {s.name: s for s in found.scores if s.split == found.split and s.subject == positive}
    named = [(f"{name} of", format_printable(positive), of[name]) for name in ("precision", "recall") if name in of]
    says = (
        f"`{positive}` is answered wherever its probability reaches {threshold:.3f}, the threshold of the best F1 in "
        "cross-validation on the training pictures"
    )
    return {"sentence": says, "scores": named}


def _costs(given: ReportInput, found: Evaluation) -> dict[str, Any]:
    own = [s for s in found.scores if (s.split, s.name, s.subject) == (found.split, "mean_cost", "")]
    named = [("this model", "", score) for score in own]
    if given.splits is not None:
        most = int(np.argmax(np.bincount(np.asarray(given.dataset.targets)[given.splits.train])))
        named.append(
            ("always answering", format_printable(given.dataset.class_names[most]), _majority(given, found, most))
        )
    return {
        "sentence": "the answer is the class with the lowest expected cost; this is the mean cost a picture, "
        "lower is better",
        "scores": named,
    }


def _majority(given: ReportInput, found: Evaluation, most: int) -> Score:
    """The mean cost of one answer for all pictures that judge."""
    assert given.costs is not None and given.splits is not None
    rows = np.asarray(found.rows)
    paid = np.asarray(given.costs)[np.asarray(given.dataset.targets)[rows], most]
    value, low, high = mean_interval(paid, np.asarray(given.splits.clusters)[rows])
    return Score(split=found.split, name="mean_cost", value=value, low=low, high=high, n=len(rows), method="t")
