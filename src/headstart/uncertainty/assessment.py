"""When the model should not be believed: prediction sets that keep a promise, and the answer `unknown`.

Pictures held back set the thresholds of the sets, where there are any; training pictures decide what is unknown.
Where a trunk was trained, or nothing held back, each picture is judged by the limit that the others set.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from headstart.core.job import Job
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Embeddings, Evaluation, FitResult, Score, Splits, UncertaintyReport
from headstart.features.embeddings import join_columns
from headstart.features.feature_matrix import predict_rows
from headstart.heads.decision_rule import apply_decision, make_decision
from headstart.statistics import metrics
from headstart.statistics.intervals import make_share_score
from headstart.statistics.sampling import evenly_spaced
from headstart.uncertainty import coverage as coverage_judging
from headstart.uncertainty import ood_detection, ood_threshold
from headstart.uncertainty.coverage import HeldOutPredictions
from headstart.uncertainty.ood_threshold import FAMILIAR, TrainingSample
from headstart.uncertainty.selective_prediction import collect_arrays, make_entry, measure_uncertainty
from headstart.uncertainty.temperature import apply_cross_fitted_temperature, apply_temperature

CALIBRATION = ("ece", "log_loss", "brier")
JUDGED = 5000  # pictures at most whose share of `unknown` is measured


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
        embeddings: Features of all pictures of every backbone that the head reads.
        foreign: Pictures of other things, with their features.
    """
    inputs = _AssessmentInputs(data, splits, embeddings, adapted, evaluation, ctx.job)
    cross_validated, held_back = inputs.make_cross_validated(), inputs.find_held_back()
    judged, coverage = held_back or cross_validated, ctx.job.coverage
    kind = coverage_judging.choose_score(cross_validated, coverage)
    coverage_promise = coverage_judging.set_thresholds(judged, kind, coverage)
    floors = coverage_judging.compute_floors(cross_validated, coverage_promise, FAMILIAR)
    scores = inputs.score_calibration() + coverage_judging.measure_coverage(
        judged, coverage_promise, floors, coverage, data.class_names, ctx.seed
    )
    scores += coverage_judging.check_thresholds(cross_validated, judged, coverage_promise, floors, coverage)
    training_sample = inputs.draw_training_sample()
    judged_rows = judged.rows[evenly_spaced(len(judged.rows), ood_detection.MOST)] if held_back else judged.rows[:0]
    held_back_features = None if adapted.strategy == "probe" else inputs.load_features(judged_rows)
    measured, hidden, near = ood_threshold.fit_detector(training_sample, data.class_names, held_back_features)
    report = UncertaintyReport(
        coverage=coverage,
        promise=coverage_promise.guaranteed,
        score=kind,
        by_class=coverage_promise.by_class,
        thresholds=coverage_promise.thresholds,
        floors=floors,
        kept=FAMILIAR,
        n=len(judged.y),
        split=judged.split,
        why=coverage_promise.why,
        novelty=measured,
        scores=tuple(scores + hidden),
    )
    report = add_unknown_scores(report, inputs, judged, near, foreign)
    serialization.save_value(report, ctx.make_step_folder("doubt"))
    ctx.console.print_line("uncertainty", _format_line(report))
    if unable := ood_detection.format_inability(measured is not None, floors):
        ctx.console.print_line("uncertainty", unable)
    return report


@dataclasses.dataclass(frozen=True, eq=False)
class _AssessmentInputs:
    data: Dataset
    splits: Splits
    embeddings: tuple[Embeddings, ...]
    adapted: FitResult
    evaluation: Evaluation
    job: Job

    def get_labels(self, rows: np.ndarray) -> np.ndarray:
        labels: np.ndarray = np.asarray(self.data.targets)[rows]
        return labels

    def load_features(self, rows: np.ndarray) -> np.ndarray:
        return join_columns(self.embeddings, self.adapted.features, rows)

    def decide_answers(self, p: np.ndarray) -> np.ndarray:
        names = self.data.class_names
        return apply_decision(make_decision(self.job, names, self.evaluation.threshold), names, p)

    def _first_of_each_cluster(self, rows: np.ndarray) -> np.ndarray:
        """(F,) positions in `rows`, so that near-duplicates do not count as many."""
        return np.sort(np.unique(np.asarray(self.splits.clusters)[rows], return_index=True)[1])

    def _make_held_out(self, split: str, rows: np.ndarray, p: np.ndarray) -> HeldOutPredictions:
        firsts = self._first_of_each_cluster(rows)
        rows, p = np.asarray(rows, np.int64)[firsts], np.asarray(p)[firsts]
        return HeldOutPredictions(split=split, rows=rows, y=self.get_labels(rows), p=p, answers=self.decide_answers(p))

    def make_cross_validated(self) -> HeldOutPredictions:
        p = apply_temperature(np.asarray(self.adapted.cv_probabilities), self.adapted.temperature)
        return self._make_held_out("cv", self.adapted.cv_rows, p)

    def find_held_back(self) -> HeldOutPredictions | None:
        evaluation = self.evaluation
        if evaluation.split == "cv":
            return None
        return self._make_held_out(evaluation.split, evaluation.rows, evaluation.probabilities)

    def draw_training_sample(self) -> TrainingSample:
        rows = np.asarray(self.splits.train, np.int64)
        rows = rows[self._first_of_each_cluster(rows)]
        if len(rows) > ood_detection.MOST:
            draw = np.random.default_rng(self.job.seed)
            rows = np.sort(draw.choice(rows, ood_detection.MOST, replace=False))
        fold = np.asarray(self.splits.folds[0])[rows].astype(np.int64)
        return TrainingSample(rows=rows, x=self.load_features(rows), y=self.get_labels(rows), fold=fold)

    def score_calibration(self) -> list[Score]:
        """Before and after the temperature; where the same pictures set it, by that of others."""
        rows, split, adapted = np.asarray(self.evaluation.rows), self.evaluation.split, self.adapted
        untempered = np.asarray(adapted.cv_probabilities)
        if split != "cv":
            untempered = predict_rows(adapted.fitted, self.embeddings, adapted.features, rows)
        y, clusters = self.get_labels(rows), np.asarray(self.splits.clusters)[rows]
        after = np.asarray(self.evaluation.probabilities)
        if split == "cv":
            after = untempered
            if adapted.temperature != 1.0:
                after = apply_cross_fitted_temperature(untempered, y, clusters, self.job.seed)
        return [
            metrics.compute_score(name, y, p, split=split, subject=subject, clusters=clusters, seed=self.job.seed)
            for subject, p in (("before", untempered), ("after", after))
            for name in CALIBRATION
        ]


def add_unknown_scores(
    report: UncertaintyReport,
    inputs: _AssessmentInputs,
    judged: HeldOutPredictions,
    known_distances: np.ndarray,
    foreign: tuple[Dataset, tuple[Embeddings, ...]] | None,
) -> UncertaintyReport:
    """The same with the share of known and of foreign pictures that are declined.

    Where nothing was held back, `known_distances`, which set the limit, tell the share of known ones.
    """
    entry, arrays = make_entry(report, "", ""), collect_arrays(report)
    scores, measured = list(report.scores), report.novelty
    if judged.split != "cv":
        # then some of these set the limit and judge it
        sets_limit = inputs.adapted.strategy != "probe" and measured is not None
        sample = evenly_spaced(len(judged.rows), ood_detection.MOST if sets_limit else JUDGED)
        x = inputs.load_features(judged.rows[sample])
        uncertainty = measure_uncertainty(entry, arrays, judged.p[sample], x, judged.answers[sample])
        strange = ood_threshold.flag_beyond_others(known_distances) if sets_limit else uncertainty.strange
        scores.append(make_share_score("unknown", judged.split, strange | uncertainty.hopeless))
        known_distances = ood_detection.compute_distances(arrays, entry.neighbour, x) if measured else known_distances
    elif measured:
        scores.append(make_share_score("unknown", "cv", ood_threshold.flag_beyond_others(known_distances)))
    if foreign:
        ood_data, ood_embeddings = foreign
        adapted, rows = inputs.adapted, np.arange(len(ood_data.uris))
        x = join_columns(ood_embeddings, adapted.features, rows)
        p = apply_temperature(predict_rows(adapted.fitted, ood_embeddings, adapted.features, rows), adapted.temperature)
        unknown = measure_uncertainty(entry, arrays, p, x, inputs.decide_answers(p)).unknown
        for c, kind in enumerate(ood_data.class_names):
            of_kind = np.asarray(ood_data.targets) == c
            scores.append(make_share_score("unknown", judged.split, unknown[of_kind], kind))
            if measured and len(known_distances):
                far = ood_detection.compute_distances(arrays, entry.neighbour, x[of_kind])
                scores.append(ood_threshold.novelty_auc(known_distances, far, split=judged.split, subject=kind))
    return dataclasses.replace(report, scores=tuple(scores))


def _format_line(report: UncertaintyReport) -> str:
    """`90 % promised, 93 % [90 %, 95 %] covered by 1.1 classes (n = 400); unknown: 1 % of known, 100 % of …`."""
    scores = {(s.name, s.subject): s for s in report.scores}
    parts = []
    if ("coverage", "") in scores:
        covered, size = scores["coverage", ""], scores["set_size", ""]
        parts.append(
            f"{covered.value:.1%} [{covered.low:.1%}, {covered.high:.1%}] of {covered.n:,} pictures have, on average "
            f"over re-draws, their class in the prediction set, {size.value:.2f} classes each; "
            f"{100 * report.coverage:g}% asked for"
        )
    shares = [f"{s.value:.1%} of {s.subject or 'known pictures'}" for s in report.scores if s.name == "unknown"]
    parts += [f"unknown: {', '.join(shares)}"] if shares else []
    return ("; ".join(parts) or report.why).replace("%", " %")
