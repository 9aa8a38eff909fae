"""When the model should not be believed: prediction sets that keep a promise, and the answer `unknown`.

Training pictures set all thresholds, each by models that had not learnt from it; pictures held back measure what these
are worth and set nothing. Where nothing was held back, each fold is judged by the thresholds of the others.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from headstart.core import blas_threads, registry
from headstart.core.job import Job
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import (
    AdaptedTarget,
    Dataset,
    Embeddings,
    Evaluation,
    FitResult,
    Score,
    Splits,
    Task,
    UncertaintyReport,
)
from headstart.core.types.domain import ENOUGH_LABELS
from headstart.data.strata import find_strata
from headstart.features.embeddings import join_columns
from headstart.features.feature_matrix import predict_rows
from headstart.heads import cross_validation, ensemble
from headstart.heads.decision_rule import apply_decision, make_decision
from headstart.statistics import metrics
from headstart.statistics.intervals import make_share_score
from headstart.statistics.sampling import evenly_spaced
from headstart.uncertainty import coverage as coverage_judging
from headstart.uncertainty import hidden_classes, label_sets, ood_detection, ood_threshold, prediction_intervals
from headstart.uncertainty.coverage import CoveragePromise, HeldOutPredictions, score_share
from headstart.uncertainty.ood_images import find_known_kinds
from headstart.uncertainty.ood_threshold import FAMILIAR, KnownDistances, TrainingSample
from headstart.uncertainty.selective_prediction import collect_arrays, make_entry, measure_uncertainty
from headstart.uncertainty.summary import NEW_DOMAIN, format_coverage, format_unknown, judge_unknown
from headstart.uncertainty.temperature import apply_cross_fitted_temperature, apply_temperature, pair_probabilities

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
    target: AdaptedTarget | None = None,
) -> UncertaintyReport:
    """Set the thresholds and measure what they are worth.

    Args:
        embeddings: Features of all pictures of every backbone that the head reads.
        foreign: Pictures of other things, with their features.
        target: Pictures of the domain that the model is for, where these are others than `data`: they are not strange.
    """
    inputs = _AssessmentInputs(data, splits, embeddings, adapted, evaluation, ctx.job, target)
    cross_validated, coverage = inputs.make_cross_validated(), ctx.job.coverage
    promise, floors = _make_promise(cross_validated, coverage, data.learning_task)
    training_sample = inputs.draw_training_sample()
    familiar = inputs.add_target(training_sample)
    detector, known_distances = ood_threshold.fit_detector(familiar, inputs.find_trained_distances())
    report = UncertaintyReport(
        coverage=coverage,
        promise=promise.guaranteed,
        score=promise.score,
        by_class=promise.by_class,
        thresholds=promise.thresholds,
        floors=floors,
        kept=FAMILIAR,
        ordered=data.learning_task.ordered,
        n=len(cross_validated.y),
        split=cross_validated.split,
        why=promise.why if target is None else f"{promise.why}; this is of the labelled domain, not of the new one",
        novelty=detector,
        scores=(),
        has_target=target is not None,
    )
    judged = inputs.find_held_back() or cross_validated
    scores, hopeless = score_promise(inputs, judged, promise, floors)
    if data.learning_task.has_classes and (of_target := inputs.find_labelled_target()) is not None:
        hits = coverage_judging.judge_sets(of_target, promise, floors).hits
        scores.append(make_share_score("coverage", "target", hits, NEW_DOMAIN))
    if detector and adapted.strategy == "probe" and data.learning_task.has_classes:
        rule = hidden_classes.SetRule(score=promise.score, coverage=coverage)
        predict = inputs.predict_held_out
        scores += hidden_classes.score_hidden_classes(training_sample, detector.method, predict, rule, data.class_names)
    scores += score_unknown(report, inputs, judged, hopeless, known_distances)
    if foreign:
        of_others = score_foreign(report, inputs, judged, known_distances, foreign)
        for kind in set(foreign[0].class_names) - {score.subject for score in of_others}:
            ctx.console.print_line("uncertainty", f"{kind} do not count as strange: the model knows them by name")
        scores += of_others
    report = dataclasses.replace(report, scores=tuple(scores))
    verdict = judge_unknown(report, trained=adapted.strategy != "probe")
    report = dataclasses.replace(report, verdict=verdict)
    serialization.save_value(report, ctx.make_step_folder("doubt"))
    ctx.console.print_line("uncertainty", format_coverage(report))
    if declined := format_unknown(report):
        ctx.console.print_line("uncertainty", f"unknown: {declined}")
    ctx.console.print_line("uncertainty", verdict.sentence)
    return report


def _make_promise(
    cross_validated: HeldOutPredictions, coverage: float, task: Task
) -> tuple[CoveragePromise, np.ndarray]:
    """What is promised of prediction sets, or of intervals, and the floors (C,) that only sets of classes have."""
    no_floors = np.full(cross_validated.p.shape[1], np.inf)
    if task.has_labels:
        return label_sets.promise_label_sets(cross_validated, coverage), no_floors
    if not task.has_classes:
        return prediction_intervals.promise_intervals(cross_validated, coverage), no_floors
    kind = coverage_judging.choose_score(cross_validated, coverage)
    promise = coverage_judging.set_thresholds(cross_validated, kind, coverage)
    return promise, coverage_judging.compute_floors(cross_validated, promise, FAMILIAR)


def _judge_sets(
    judged: HeldOutPredictions, promise: CoveragePromise, floors: np.ndarray, coverage: float
) -> coverage_judging.SetOutcomes:
    if judged.split == "cv":
        return coverage_judging.judge_sets_by_fold(judged, promise, coverage, FAMILIAR)
    return coverage_judging.judge_sets(judged, promise, floors)


@dataclasses.dataclass(frozen=True, eq=False)
class _AssessmentInputs:
    data: Dataset
    splits: Splits
    embeddings: tuple[Embeddings, ...]
    adapted: FitResult
    evaluation: Evaluation
    job: Job
    target: AdaptedTarget | None

    def get_labels(self, rows: np.ndarray) -> np.ndarray:
        labels: np.ndarray = np.asarray(self.data.targets)[rows]
        return labels

    def load_features(self, rows: np.ndarray) -> np.ndarray:
        return join_columns(self.embeddings, self.adapted.features, rows)

    def decide_answers(self, p: np.ndarray) -> np.ndarray:
        names = self.data.class_names
        return apply_decision(
            make_decision(self.job, names, self.evaluation.threshold, self.data.learning_task), names, p
        )

    def _first_of_each_cluster(self, rows: np.ndarray) -> np.ndarray:
        """(F,) positions in `rows`, so that near-duplicates do not count as many."""
        return np.sort(np.unique(np.asarray(self.splits.clusters)[rows], return_index=True)[1])

    def _make_held_out(self, split: str, rows: np.ndarray, p: np.ndarray) -> HeldOutPredictions:
        firsts = self._first_of_each_cluster(rows)
        rows, p = np.asarray(rows, np.int64)[firsts], np.asarray(p)[firsts]
        return HeldOutPredictions(
            split=split,
            rows=rows,
            y=self.get_labels(rows),
            p=p,
            answers=self.decide_answers(p),
            fold=np.asarray(self.splits.folds[0])[rows].astype(np.int64),
            ordered=self.data.learning_task.ordered,
        )

    def make_cross_validated(self) -> HeldOutPredictions:
        """Training pictures, answered by models (where nested, by whole searches) that had not learnt from them."""
        adapted = self.adapted
        if adapted.nested_probabilities is not None:
            return self._make_held_out("cv", adapted.cv_rows, np.asarray(adapted.nested_probabilities))
        p = apply_temperature(np.asarray(adapted.cv_probabilities), adapted.temperature, self.data.learning_task)
        return self._make_held_out("cv", adapted.cv_rows, p)

    def find_held_back(self) -> HeldOutPredictions | None:
        evaluation = self.evaluation
        if evaluation.split == "cv":
            return None
        return self._make_held_out(evaluation.split, evaluation.rows, evaluation.probabilities)

    def find_labelled_target(self) -> HeldOutPredictions | None:
        """Pictures of the new domain with a label; None where they are fewer than `ENOUGH_LABELS`."""
        target, adapted = self.target, self.adapted
        if target is None or len(target.judged) < ENOUGH_LABELS:
            return None
        rows = target.judged
        if target.probabilities is None:
            p = predict_rows(adapted.fitted, target.embeddings, adapted.features, rows)
        else:
            p = target.probabilities[rows]
        p = apply_temperature(p, adapted.temperature, self.data.learning_task)
        return HeldOutPredictions(
            split="target",
            rows=rows,
            y=target.domain.labels[rows],
            p=p,
            answers=self.decide_answers(p),
            fold=np.zeros(len(rows), np.int64),
            ordered=self.data.learning_task.ordered,
        )

    def find_trained_distances(self) -> dict[str, KnownDistances] | None:
        """By method, how far pictures lay from what their fold's network learnt from; None for a frozen trunk."""
        tuning = self.adapted.tuning
        if self.adapted.strategy == "probe":
            return None
        if tuning is None or self.adapted.domain_network is not None:  # no fold of that network was measured
            return {}
        firsts = self._first_of_each_cluster(tuning.rows)
        rows = np.asarray(tuning.rows, np.int64)[firsts]
        fold = np.asarray(self.splits.folds[0])[rows].astype(np.int64)
        return {
            method: KnownDistances(rows=rows, values=np.asarray(values)[firsts], fold=fold)
            for method, values in tuning.distances.items()
        }

    def draw_training_sample(self) -> TrainingSample:
        rows = np.asarray(self.splits.train, np.int64)
        rows = rows[self._first_of_each_cluster(rows)]
        if len(rows) > ood_detection.MOST:
            draw = np.random.default_rng(self.job.seed)
            rows = np.sort(draw.choice(rows, ood_detection.MOST, replace=False))
        fold = np.asarray(self.splits.folds[0])[rows].astype(np.int64)
        return TrainingSample(rows=rows, x=self.load_features(rows), y=find_strata(self.data).labels[rows], fold=fold)

    def add_target(self, sample: TrainingSample) -> TrainingSample:
        """The sample, and at most as many pictures of the new domain, each of the class that it is answered with.

        Their `rows` are negative, so that they are no training pictures; half of `ood_detection.MOST` are of each.
        """
        if self.target is None:
            return sample
        draw, count = np.random.default_rng(self.job.seed), len(self.target.domain.labels)
        most = min(len(sample.rows), ood_detection.MOST // 2)
        sample = sample.select(np.sort(draw.choice(len(sample.rows), most, replace=False)))
        rows = np.sort(draw.choice(count, min(count, most), replace=False))
        p = predict_rows(self.adapted.fitted, self.target.embeddings, self.adapted.features, rows)
        return TrainingSample(
            rows=np.concatenate([sample.rows, -1 - rows]),
            x=np.concatenate([sample.x, join_columns(self.target.embeddings, self.adapted.features, rows)]),
            y=np.concatenate([sample.y, p.argmax(axis=1)]),
            fold=np.concatenate([sample.fold, draw.permutation(len(rows)) % (int(sample.fold.max()) + 1)]),
        )

    def predict_held_out(self, sample: TrainingSample, learnt: np.ndarray, answered: np.ndarray) -> np.ndarray:
        """(B, C) tempered answers of the run's head, fitted anew on other pictures; see `PredictHeldOut`.

        A head that starts from the names of the classes starts from nothing.
        """
        y, fitted = sample.y, self.adapted.fitted
        count, weights = int(y[learnt].max()) + 1, self.data.weights
        name = fitted.head if fitted.head in registry.list_plugins("heads") else "ridge"
        head = ensemble.Ensemble() if fitted.head == ensemble.NAME else registry.load_plugin("heads", name)
        head = cross_validation.loosen_head(head)
        params = cross_validation.resize_params(fitted.params, len(learnt), len(self.splits.train))
        balanced = self.job.class_weight == "balanced"
        settings: dict[str, Any] = {
            "class_weight": cross_validation.balanced_class_weights(y[learnt], count) if balanced else None,
            "sample_weight": None if weights is None else np.asarray(weights)[sample.rows],
        }
        with blas_threads.single_blas_thread():
            [p] = cross_validation.fit_and_predict(
                head, sample.x, y, learnt, answered, grid=[params], n_classes=count, seed=self.job.seed, **settings
            )
        return apply_temperature(p, self.adapted.temperature)

    def score_calibration(self) -> list[Score]:
        """Before and after the temperature; where the same pictures set it, by that of others.

        A label counts as a choice of two, absent or present; those of one picture go together.
        """
        rows, split, adapted = np.asarray(self.evaluation.rows), self.evaluation.split, self.adapted
        task = self.data.learning_task
        untempered = np.asarray(adapted.cv_probabilities)
        if split != "cv":
            untempered = predict_rows(adapted.fitted, self.embeddings, adapted.features, rows)
        y, clusters = self.get_labels(rows), np.asarray(self.splits.clusters)[rows]
        after = np.asarray(self.evaluation.probabilities)
        if self.evaluation.nested:
            after = untempered
            if adapted.temperature != 1.0:
                after = apply_cross_fitted_temperature(untempered, y, clusters, self.splits.seed, task)
        n_folds = cross_validation.count_folds(self.splits.folds) if split == "cv" else 0
        if task.has_labels:
            untempered, after = pair_probabilities(untempered), pair_probabilities(after)
            clusters, y = np.repeat(clusters, y.shape[1]), y.ravel().astype(np.int64)
        shared: dict[str, Any] = {"clusters": clusters, "seed": self.job.seed, "n_folds": n_folds}
        scores = [
            metrics.compute_score(name, y, p, split=split, subject=subject, **shared)
            for subject, p in (("before", untempered), ("after", after))
            for name in CALIBRATION
        ]
        return [dataclasses.replace(score, n=len(rows)) for score in scores]


def score_promise(
    inputs: _AssessmentInputs, judged: HeldOutPredictions, promise: CoveragePromise, floors: np.ndarray
) -> tuple[list[Score], np.ndarray]:
    """Calibration and what sets or intervals cover, and (M,) bool of pictures whose set is empty."""
    names, coverage = inputs.data.class_names, inputs.job.coverage
    no_empty = np.zeros(len(judged.y), bool)
    if inputs.data.learning_task.has_classes:
        outcomes = _judge_sets(judged, promise, floors, coverage)
        scores = inputs.score_calibration() + coverage_judging.score_sets(judged, outcomes, names)
        return scores, outcomes.hopeless
    if inputs.data.learning_task.has_labels:
        of_labels = label_sets.judge_label_sets(judged, promise, coverage)
        return inputs.score_calibration() + label_sets.score_label_sets(judged, of_labels, names), no_empty
    return prediction_intervals.score_intervals(judged, promise, coverage), no_empty


def score_unknown(
    report: UncertaintyReport,
    inputs: _AssessmentInputs,
    judged: HeldOutPredictions,
    hopeless: np.ndarray,
    known_distances: KnownDistances | None,
) -> list[Score]:
    """The share of known pictures that is declined, by thresholds that these had no part in; `hopeless` (M,) of them.

    Where nothing was held back, of the pictures whose distances are known, by the limits of the other folds.
    """
    if judged.split == "cv":
        strange = np.zeros(len(judged.rows), bool)
        if known_distances is not None:
            _, at, known_at = np.intersect1d(judged.rows, known_distances.rows, return_indices=True)
            judged, hopeless, strange = judged.select(at), hopeless[at], known_distances.flag_strange()[known_at]
        return score_share("unknown", judged, strange | hopeless) if len(judged.rows) else []
    sample = evenly_spaced(len(judged.rows), JUDGED)
    entry, arrays = make_entry(report, "", ""), collect_arrays(report)
    x = inputs.load_features(judged.rows[sample])
    uncertainty = measure_uncertainty(entry, arrays, judged.p[sample], x, judged.answers[sample])
    return score_share("unknown", judged, uncertainty.unknown)


def score_foreign(
    report: UncertaintyReport,
    inputs: _AssessmentInputs,
    judged: HeldOutPredictions,
    known_distances: KnownDistances | None,
    foreign: tuple[Dataset, tuple[Embeddings, ...]],
) -> list[Score]:
    """The share of pictures of other things that is declined, and how far these lie from known ones, for each kind.

    Without kinds that are classes of the set.
    """
    entry, arrays = make_entry(report, "", ""), collect_arrays(report)
    ood_data, ood_embeddings = foreign
    adapted, rows = inputs.adapted, np.arange(len(ood_data.uris))
    x = join_columns(ood_embeddings, adapted.features, rows)
    p = predict_rows(adapted.fitted, ood_embeddings, adapted.features, rows)
    p = apply_temperature(p, adapted.temperature, inputs.data.learning_task)
    unknown = measure_uncertainty(entry, arrays, p, x, inputs.decide_answers(p)).unknown
    near = np.empty(0) if known_distances is None else known_distances.values
    if known_distances is not None and judged.split != "cv":
        sample = evenly_spaced(len(judged.rows), JUDGED)
        near = ood_detection.compute_distances(arrays, entry.neighbour, inputs.load_features(judged.rows[sample]))
    scores, known_kinds = [], find_known_kinds(ood_data, inputs.data.class_names, p.argmax(axis=-1))
    for c, kind in enumerate(ood_data.class_names):
        if kind in known_kinds:
            continue
        of_kind = np.asarray(ood_data.targets) == c
        scores.append(make_share_score("unknown", judged.split, unknown[of_kind], kind))
        if len(near):
            far = ood_detection.compute_distances(arrays, entry.neighbour, x[of_kind])
            scores.append(ood_threshold.novelty_auc(near, far, split=judged.split, subject=kind))
    return scores
