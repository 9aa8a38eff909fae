"""When the model should not be believed: prediction sets that keep a promise, and the answer `unknown`.

The thresholds of the sets come from the part that was held back, where there is one; whether a picture is unknown, the
training pictures decide (`strange`), so that this is judged on the part held back and on real pictures of other things;
where a trunk was trained, or nothing held back, each picture is judged by the limit that the others set.
All that a saved model needs is in the value, and `headstart.uncertainty.selective_prediction` answers with it here as
it will there.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path

import numpy as np

from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Embeddings, Evaluation, FitResult, Score, Splits, UncertaintyReport
from headstart.features.embeddings import columns
from headstart.heads import decision_rule, prediction
from headstart.statistics import metrics
from headstart.statistics.calibration_error import calibration_bins
from headstart.statistics.intervals import wilson
from headstart.statistics.sampling import spread
from headstart.uncertainty import coverage as promise
from headstart.uncertainty import ood_detection, ood_threshold, selective_prediction
from headstart.uncertainty.coverage import Known
from headstart.uncertainty.ood_threshold import FAMILIAR, Learnt
from headstart.uncertainty.temperature import cross_fitted, tempered

CALIBRATION = ("ece", "log_loss", "brier")
CHUNK = 8192  # pictures answered at once
JUDGED = 5000  # pictures at most of which it is told how many are declined


def assess_uncertainty(
    data: Dataset,
    splits: Splits,
    embeddings: tuple[Embeddings, ...],
    adapted: FitResult,
    evaluation: Evaluation,
    *,
    ctx: Context,
    foreign: tuple[Dataset, tuple[Embeddings, ...]] | None = None,
) -> UncertaintyReport:
    """Set the thresholds and measure what they are worth.

    Args:
        data: The data set.
        splits: Who learnt and who judges.
        embeddings: Features of all pictures of every backbone that the head reads.
        adapted: The head and its held-out predictions.
        evaluation: The held-back predictions, tempered, and the decision threshold.
        ctx: The run; its job gives `coverage`.
        foreign: Pictures of other things, with their features.
    """
    at = _Surroundings(data, splits, embeddings, adapted, evaluation, ctx)
    learnt, held = at.cross_validated(), at.held_back()
    judged, coverage = held or learnt, ctx.job.coverage
    kind = promise.choose(learnt, coverage)
    made = promise.promise(judged, kind, coverage)
    floors = promise.floors(learnt, made, FAMILIAR)
    scores = at.calibration() + promise.measure(judged, made, floors, coverage, data.class_names, ctx.seed)
    scores += promise.check(learnt, judged, made, floors, coverage)
    pictures = at.learnt()
    some = judged.rows[spread(len(judged.rows), ood_detection.MOST)] if held else judged.rows[:0]
    apart = None if adapted.strategy == "probe" else at.features(some)
    measured, hidden, near = ood_threshold.measure(pictures, data.class_names, apart)
    found = UncertaintyReport(
        coverage=coverage,
        promise=made.guaranteed,
        score=kind,
        by_class=made.by_class,
        thresholds=made.thresholds,
        floors=floors,
        kept=FAMILIAR,
        n=len(judged.y),
        split=judged.split,
        why=made.why,
        novelty=measured,
        scores=tuple(scores + hidden),
        before=calibration_bins(at.y(evaluation.rows), at.untempered),
        after=evaluation.calibration,
    )
    found = _with_unknown(found, at, judged, near, foreign)
    serialization.save_value(found, ctx.make_step_folder("doubt"))
    ctx.console.print_line("uncertainty", _line(found))
    if unable := ood_detection.unable(measured is not None, floors):
        ctx.console.print_line("uncertainty", unable)
    return found


class _Surroundings:
    """What the parts ask of the run's values."""

    def __init__(
        self,
        data: Dataset,
        splits: Splits,
        embeddings: tuple[Embeddings, ...],
        adapted: FitResult,
        evaluation: Evaluation,
        ctx: Context,
    ) -> None:
        self.data, self.splits, self.embeddings, self.adapted = data, splits, embeddings, adapted
        self.evaluation, self.temperature, self.ctx = evaluation, adapted.temperature, ctx

    def y(self, rows: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.asarray(self.data.targets)[rows]
        return found

    def features(self, rows: np.ndarray) -> np.ndarray:
        return columns(self.embeddings, self.adapted.features, rows)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        fitted = self.adapted.fitted
        return tempered(prediction.probabilities(fitted.kind, fitted.arrays, x), self.temperature)

    def answers(self, p: np.ndarray) -> np.ndarray:
        """(M,) int64, as evaluation and the saved model answer."""
        job, names = self.ctx.job, self.data.class_names
        costs = decision_rule.read_costs(Path(job.costs), names) if job.costs else None
        positive = names.index(job.positive) if job.positive else None
        return decision_rule.decide(p, positive=positive, threshold=self.evaluation.threshold, costs=costs)

    def _firsts(self, rows: np.ndarray) -> np.ndarray:
        """(F,) positions in `rows`: one of each cluster, so that near-duplicates do not count as many."""
        return np.sort(np.unique(np.asarray(self.splits.clusters)[rows], return_index=True)[1])

    def _known(self, split: str, rows: np.ndarray, p: np.ndarray) -> Known:
        kept = self._firsts(rows)
        rows, p = np.asarray(rows, np.int64)[kept], np.asarray(p)[kept]
        return Known(split=split, rows=rows, y=self.y(rows), p=p, answers=self.answers(p))

    def cross_validated(self) -> Known:
        p = tempered(np.asarray(self.adapted.cv_probabilities), self.temperature)
        return self._known("cv", np.asarray(self.adapted.cv_rows), p)

    def held_back(self) -> Known | None:
        of = self.evaluation
        return None if of.split == "cv" else self._known(of.split, np.asarray(of.rows), np.asarray(of.probabilities))

    def learnt(self) -> Learnt:
        """Training pictures, thinned where they are many; each measure knows at most so many."""
        rows = np.asarray(self.splits.train, np.int64)
        rows = rows[self._firsts(rows)]
        if len(rows) > ood_detection.MOST:
            draw = np.random.default_rng(self.ctx.seed)
            rows = np.sort(draw.choice(rows, ood_detection.MOST, replace=False))
        fold = np.asarray(self.splits.folds[0])[rows].astype(np.int64)
        return Learnt(rows=rows, x=self.features(rows), y=self.y(rows), fold=fold)

    @cached_property
    def untempered(self) -> np.ndarray:
        """(M, C) probabilities of the judging pictures as they were before the temperature."""
        if self.evaluation.split == "cv":
            return np.asarray(self.adapted.cv_probabilities)
        fitted, rows = self.adapted.fitted, np.asarray(self.evaluation.rows)
        chunks = [rows[at : at + CHUNK] for at in range(0, len(rows), CHUNK)]
        return np.concatenate([prediction.probabilities(fitted.kind, fitted.arrays, self.features(c)) for c in chunks])

    def calibration(self) -> list[Score]:
        """How sure and how right, before and after; where the same pictures set the temperature, by that of others."""
        rows, split = np.asarray(self.evaluation.rows), self.evaluation.split
        y, clusters, before = self.y(rows), np.asarray(self.splits.clusters)[rows], self.untempered
        after = np.asarray(self.evaluation.probabilities)
        if split == "cv" and self.temperature != 1.0:
            after = cross_fitted(before, y, clusters, self.ctx.seed)
        return [
            metrics.score(name, y, p, split=split, subject=subject, clusters=clusters, seed=self.ctx.seed)
            for subject, p in (("before", before), ("after", after))
            for name in CALIBRATION
        ]


def _with_unknown(
    found: UncertaintyReport,
    at: _Surroundings,
    judged: Known,
    near: np.ndarray,
    foreign: tuple[Dataset, tuple[Embeddings, ...]] | None,
) -> UncertaintyReport:
    """The same with the share of known and of foreign pictures that are declined.

    Args:
        found: Without these.
        at: The run.
        judged: Known pictures.
        near: Distances that set the limit; what they say counts where nothing was held back.
        foreign: Pictures of other things, with their features.
    """
    entry, arrays = selective_prediction.entry_of(found, "", ""), selective_prediction.arrays_of(found)
    scores, measured = list(found.scores), found.novelty
    if judged.split != "cv":
        own = at.adapted.strategy != "probe" and measured is not None  # then some of these set the limit and judge it
        some = spread(len(judged.rows), ood_detection.MOST if own else JUDGED)
        x = at.features(judged.rows[some])
        told = selective_prediction.doubts(entry, arrays, judged.p[some], x, judged.answers[some])
        unknown = ood_threshold.beyond(near) | told.hopeless if own else told.unknown
        scores.append(_declined(unknown, judged.split, ""))
        near = ood_detection.distances(arrays, entry.neighbour, x) if measured else near
    elif measured:
        scores.append(_declined(ood_threshold.beyond(near), "cv", ""))
    if foreign:
        others, seen = foreign
        x = columns(seen, at.adapted.features, np.arange(len(others.uris)))
        p = at.probabilities(x)
        unknown = selective_prediction.doubts(entry, arrays, p, x, at.answers(p)).unknown
        for c, kind in enumerate(others.class_names):
            of = np.asarray(others.targets) == c
            scores.append(_declined(unknown[of], judged.split, kind))
            if measured and len(near):
                far = ood_detection.distances(arrays, entry.neighbour, x[of])
                scores.append(ood_threshold.area(near, far, split=judged.split, subject=kind))
    return dataclasses.replace(found, scores=tuple(scores))


def _declined(unknown: np.ndarray, split: str, subject: str) -> Score:
    value, low, high = wilson(float(unknown.sum()), len(unknown))
    return Score(
        split=split, name="unknown", value=value, low=low, high=high, n=len(unknown), subject=subject, method="wilson"
    )


def _line(found: UncertaintyReport) -> str:
    """`90 % promised, 93 % [90 %, 95 %] covered by 1.1 classes (n = 400); unknown: 1 % of known, 100 % of …`."""
    own = {(s.name, s.subject): s for s in found.scores}
    parts = []
    if ("coverage", "") in own:
        covered, size = own["coverage", ""], own["set_size", ""]
        parts.append(
            f"{covered.value:.1%} [{covered.low:.1%}, {covered.high:.1%}] of {covered.n:,} pictures have, on average "
            f"over re-draws, their class in the prediction set, {size.value:.2f} classes each; "
            f"{100 * found.coverage:g}% asked for"
        )
    shares = [f"{s.value:.1%} of {s.subject or 'known pictures'}" for s in found.scores if s.name == "unknown"]
    parts += [f"unknown: {', '.join(shares)}"] if shares else []
    return ("; ".join(parts) or found.why).replace("%", " %")
