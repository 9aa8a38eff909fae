"""The run's head learns again, from what a method of adaptation gives, and answers raw target features.

A projection and changed odds of the classes are folded into the head's arrays, so that it is a linear head like any
other. Held-out answers are those of heads that had seen neither the source picture nor the labelled target picture.
Legend: M source pictures, T target pictures, L of them labelled, D columns, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from headstart.core import blas_threads, registry
from headstart.core.errors import NoOpError
from headstart.core.types import FittedHead, Head
from headstart.domain_adaptation.method_base import AdaptationMethod, FeatureMap, HeadTraining, LabelledFeatures
from headstart.heads import cross_validation, ensemble
from headstart.heads.prediction import predict_probabilities

TARGET_LABELS = "target_labels"  # the trial that learns from labelled target pictures and adapts nothing
NOTHING_HELD_OUT = "its trunk learnt from all of the source, and nothing was held out"
_MANY_NUMBERS = 400_000  # of the source
_MOST_WEIGHT = 5.0  # of a labelled target picture, in source pictures


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadSetting:
    """Which head learns, and how: `params` were tuned on `n_train` pictures of `dim` columns."""

    head: str
    params: Mapping[str, Any]
    n_train: int
    dim: int
    n_classes: int
    balanced: bool  # whether classes count alike, however frequent
    seed: int

    def fit(self, training: HeadTraining, tolerance: float | None = None) -> FittedHead:
        """A head of `training.x`, nothing folded in.

        Raises:
            NoOpError: An ensemble cannot read what a projection gives, for its members know their columns.
        """
        head = load_head(self.head)
        if training.projection is not None and self.head == ensemble.NAME:
            raise NoOpError("the head is an ensemble whose members read columns of their own")
        if tolerance is not None:
            head = ensemble.loosen_head(head, tolerance)
        x, y, weights = training.x, training.y, training.weights
        params = dict(cross_validation.resize_params(self.params, len(y), self.n_train))
        if "strength" in params:  # it is in parts of columns per picture
            params["strength"] *= x.shape[1] / self.dim
        settings: dict[str, Any] = {"n_classes": self.n_classes, "seed": self.seed, "params": [params]}
        settings["class_weight"] = cross_validation.balanced_class_weights(y, self.n_classes) if self.balanced else None
        with blas_threads.single_blas_thread():
            fitted = next(iter(cross_validation.fit_rows(head, x, y, slice(None), sample_weight=weights, **settings)))
        if not all(np.isfinite(values).all() for values in fitted.arrays.values()):
            raise NoOpError("the head's weights are not finite")
        return fitted


@dataclass(frozen=True, kw_only=True, eq=False)
class AdaptationProblem:
    """One source and one target as features, and the head as it is without adaptation.

    Attributes:
        folds: (M,) fold of each source picture, -1 where none holds it out.
        clusters: (M,) near-duplicates among them.
        target: (T, D) float32 raw features.
        target_y: (T,) int64, -1 without a label.
        target_clusters: (T,) near-duplicates among them.
        learns: Whether the head learns from labelled target pictures too; they judge by cross-fitting.
        knows_source: Whether a trunk of these features was trained on the labels of the source.
        expected_shares: (C,) float64 of the classes in the target, as estimated, be it by chance that they are others.
        fitted: The head that learnt from the source alone, on raw features.
        held_out: (M, C) float32 its held-out answers to source pictures, NaN where there is none.
        frozen: (M, E) and (T, E) float32 of a trunk that learnt from neither domain: what domains are compared by. None
            where `source` and `target` are of such a trunk.
    """

    source: LabelledFeatures
    folds: np.ndarray
    clusters: np.ndarray
    target: np.ndarray
    target_y: np.ndarray
    target_clusters: np.ndarray
    learns: bool
    knows_source: bool
    expected_shares: np.ndarray
    setting: HeadSetting
    fitted: FittedHead
    held_out: np.ndarray
    seed: int
    frozen: tuple[np.ndarray, np.ndarray] | None = None

    @cached_property
    def labelled(self) -> np.ndarray:
        """(L,) int64 rows of target pictures with a label."""
        return np.flatnonzero(self.target_y >= 0)

    @cached_property
    def label_folds(self) -> np.ndarray:
        """(L,) which of the source's folds holds a labelled target picture out.

        Near-duplicates share a fold, and the classes are spread over all.
        """
        numbers = np.unique(self.folds[self.folds >= 0])
        clusters, first, places = np.unique(self.target_clusters[self.labelled], return_index=True, return_inverse=True)
        drawn = np.random.default_rng([self.seed, 79_000]).permutation(len(clusters))
        order = drawn[np.argsort(self.target_y[self.labelled[first]][drawn], kind="stable")]
        folds = np.empty(len(order), np.int64)
        folds[order] = numbers[np.arange(len(order)) % len(numbers)]
        return folds[places]

    @cached_property
    def fold_answers(self) -> dict[bytes, FeatureMap]:
        """Answers of the head that learnt from the source without a fold, by its rows; filled as they are needed."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOutAnswers:
    """(M, C) float32 answers to source pictures, as they are and mapped, NaN where no fold holds one out.

    And (L, C) to labelled target pictures. `plain` are those of doing nothing by the same folds; None where these are
    the problem's own.
    """

    as_is: np.ndarray
    mapped: np.ndarray
    labelled: np.ndarray
    plain: HeldOutAnswers | None = None


def load_head(name: str) -> Head:
    """A head by its name, an ensemble too."""
    head: Head = ensemble.Ensemble() if name == ensemble.NAME else registry.load_plugin("heads", name)
    return head


def fold_into_head(fitted: FittedHead, training: HeadTraining) -> FittedHead:
    """The head of raw features that does what a projection, the head and changed odds do one after the other."""
    weights, bias = (np.asarray(fitted.arrays[name], np.float64) for name in ("weights", "bias"))
    if training.projection is not None:
        projection, offset = (part.astype(np.float64) for part in training.projection)
        weights, bias = projection @ weights, bias + offset @ weights
    if training.log_prior is not None:
        bias = bias + training.log_prior
    arrays = {"weights": weights.astype(np.float32), "bias": bias.astype(np.float32)}
    return dataclasses.replace(fitted, arrays=arrays)


def make_answer(fitted: FittedHead) -> FeatureMap:
    """A head as a function of raw features."""
    return lambda x: predict_probabilities(fitted.kind, fitted.arrays, x)


def adapt_source(
    method: AdaptationMethod,
    params: Mapping[str, Any],
    source: LabelledFeatures,
    answer: FeatureMap,
    problem: AdaptationProblem,
) -> HeadTraining:
    """What a method gives; raises NoOpError for numbers that are not finite too."""

    def fit(training: HeadTraining) -> FeatureMap:
        return make_answer(fold_into_head(problem.setting.fit(training, cross_validation.JUDGED), training))

    with blas_threads.single_blas_thread():
        training = method.adapt(source, problem.target, answer=answer, fit=fit, params=params, seed=problem.seed)
    if not np.isfinite(training.x).all():
        raise NoOpError("its features are not finite")
    return training


def fit_adapted(training: HeadTraining, problem: AdaptationProblem) -> FittedHead:
    """The head of all pictures, on raw features; of labelled target pictures too where the problem learns from them."""
    fitted = problem.setting.fit(_add_labels(training, problem, np.arange(len(problem.labelled))))
    return fold_into_head(fitted, training)


def hold_out(
    method: AdaptationMethod,
    params: Mapping[str, Any],
    training: HeadTraining,
    problem: AdaptationProblem,
    as_is_x: np.ndarray | None = None,
    coarse: bool = False,
) -> HeldOutAnswers:
    """Held-out answers; `training` is what the method gives for all source pictures.

    It stands for every fold where labels do not shape it, for then it is rows of the same table. `as_is_x` (M, D) are
    the source pictures as they are, where these are other features than the source's. `coarse` halves the pictures
    instead where every fold of many would adapt anew: enough to see whether a method breaks the source.
    """
    source, folds, label_folds = problem.source, problem.folds, problem.label_folds
    halves = coarse and method.uses_labels and source.x.size > _MANY_NUMBERS
    if halves:
        folds, label_folds = (np.where(each >= 0, each % 2, -1) for each in (folds, label_folds))
    as_is_x = source.x if as_is_x is None else as_is_x
    as_is, mapped = np.full((2, len(source.y), source.n_classes), np.nan, np.float32)
    labelled = np.full((len(problem.labelled), source.n_classes), np.nan, np.float32)
    for fold in np.unique(folds[folds >= 0]):
        learning, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if method.uses_labels:
            part = adapt_source(
                method, params, take_pictures(source, learning), _answer_without(held_out, problem), problem
            )
        else:
            part = take_training(training, learning)
        judged = np.flatnonzero(label_folds == fold)
        others = np.flatnonzero(label_folds != fold)
        fitted = problem.setting.fit(_add_labels(part, problem, others), cross_validation.JUDGED)
        folded, move = make_answer(fold_into_head(fitted, part)), part.map_source
        as_is[held_out] = folded(as_is_x[held_out])
        mapped[held_out] = make_answer(fitted)(source.x[held_out] if move is None else move(source.x[held_out]))
        labelled[judged] = folded(problem.target[problem.labelled[judged]])
    plain = _hold_out_plain(problem, folds, label_folds) if halves else None
    return HeldOutAnswers(as_is=as_is, mapped=mapped, labelled=labelled, plain=plain)


def _hold_out_plain(problem: AdaptationProblem, folds: np.ndarray, label_folds: np.ndarray) -> HeldOutAnswers:
    """Of heads that learn from the source as it is, without a fold of `folds` (M,) each."""
    as_is = np.full((len(folds), problem.source.n_classes), np.nan, np.float32)
    labelled = np.full((len(label_folds), problem.source.n_classes), np.nan, np.float32)
    for fold in np.unique(folds[folds >= 0]):
        held_out, judged = np.flatnonzero(folds == fold), np.flatnonzero(label_folds == fold)
        answer = _answer_without(held_out, problem)
        as_is[held_out] = answer(problem.source.x[held_out])
        labelled[judged] = answer(problem.target[problem.labelled[judged]])
    return HeldOutAnswers(as_is=as_is, mapped=as_is, labelled=labelled)


def take_pictures(source: LabelledFeatures, rows: np.ndarray) -> LabelledFeatures:
    """Some pictures of the source."""
    weights = None if source.weights is None else source.weights[rows]
    return dataclasses.replace(source, x=source.x[rows], y=source.y[rows], weights=weights)


def take_training(training: HeadTraining, rows: np.ndarray) -> HeadTraining:
    """Some rows of what the head learns from."""
    weights = None if training.weights is None else training.weights[rows]
    return dataclasses.replace(training, x=training.x[rows], y=training.y[rows], weights=weights)


def _answer_without(held: np.ndarray, problem: AdaptationProblem) -> FeatureMap:
    """Answers of the head that learnt from all of the source but the pictures `held` out."""
    key = held.tobytes()
    if key not in problem.fold_answers:
        source = take_pictures(problem.source, np.setdiff1d(np.arange(len(problem.source.y)), held))
        plain = HeadTraining(x=source.x, y=source.y, weights=source.weights)
        problem.fold_answers[key] = make_answer(problem.setting.fit(plain, cross_validation.JUDGED))
    return problem.fold_answers[key]


def _add_labels(training: HeadTraining, problem: AdaptationProblem, chosen: np.ndarray) -> HeadTraining:
    """With labelled target pictures; few of them count several times."""
    if not problem.learns or not len(chosen):
        return training
    rows = problem.labelled[chosen]
    x = problem.target[rows]
    if training.projection is not None:
        x = x @ training.projection[0] + training.projection[1]
    weight = float(np.clip(len(training.y) / len(rows), 1.0, _MOST_WEIGHT))
    weights = np.ones(len(training.y)) if training.weights is None else training.weights
    weights = np.concatenate([weights, np.full(len(rows), weight)])
    return dataclasses.replace(
        training,
        x=np.concatenate([training.x, x]),
        y=np.concatenate([training.y, problem.target_y[rows]]),
        weights=weights / weights.mean(),
    )


class LearnTargetLabels:
    """Adapts nothing: the labelled target pictures alone are added."""

    name = TARGET_LABELS
    title = "labelled target pictures added"
    extra = ""
    is_default = True
    uses_labels = False
    grid: Sequence[Mapping[str, Any]] = ({},)

    def adapt(self, source: LabelledFeatures, target: np.ndarray, **_: Any) -> HeadTraining:
        """See `headstart.domain_adaptation.method_base.AdaptationMethod`."""
        return HeadTraining(x=source.x, y=source.y, weights=source.weights)
