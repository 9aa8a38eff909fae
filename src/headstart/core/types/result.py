"""What a fit hands over: the model, its evaluation and its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.core.types.head import CurvePoint, Feature, FittedHead, HeadRow
from headstart.core.types.score import CalibrationBin, Score, Verdict
from headstart.core.types.training import FineTuningResult, TunedNetwork

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """How sure the model may say that it is; fitted before anything is judged."""

    temperature: float  # by which log probabilities are divided (Guo 2017); 1 leaves them as they are
    before: float  # log loss of the held-out predictions as they are
    after: float  # the same, each picture tempered by what other pictures say
    n: int  # pictures with held-out predictions
    why: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitResult:
    """The head that won, fitted on all of `train`, and what was held out on the way.

    Probabilities here are as the head says them; what is measured and answered is tempered by `calibrated`, None in a
    run of before there was any.
    """

    strategy: str  # `probe`, or the strategy of the recipe that beat it
    features: tuple[Feature, ...]  # the head's input, concatenated in this order
    fitted: FittedHead
    tried: tuple[HeadRow, ...]  # all heads tried, best first
    why: str
    cv_rows: np.ndarray  # (M,) int64 rows with held-out predictions
    cv_probabilities: np.ndarray  # (M, C) float32 of one model, as is the saved one; a mean of several is surer
    train_probabilities: np.ndarray  # (M, C) float32 of the final head on its own training rows `splits.train`
    nested: tuple[Score, ...]  # scores by nested cross-validation when there is no test split, else empty
    curve: tuple[CurvePoint, ...]  # the learning curve of the frozen probe so far
    tuning: FineTuningResult | None = None  # all fine-tuning; None when none was asked for
    calibrated: Calibrated | None = None
    nested_probabilities: np.ndarray | None = None  # (M, C) float32 of `cv_rows`, tempered, that `nested` scores
    domain_network: TunedNetwork | None = None  # where a trunk was adapted to another domain and is handed over

    @property
    def networks(self) -> tuple[TunedNetwork, ...]:
        """Networks of the run itself whose features a head may read."""
        trained = self.tuning.network if self.tuning else None
        return tuple(network for network in (trained, self.domain_network) if network is not None)

    @property
    def temperature(self) -> float:
        """By which log probabilities are divided."""
        return self.calibrated.temperature if self.calibrated else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRow:
    """One line of the table "did it pay": a model and how far its accuracy is from the frozen probe's."""

    name: str  # `majority class`, `colour histogram`, `frozen probe`, `fine-tuned` or `from random weights`
    scores: tuple[Score, ...]  # accuracy, balanced accuracy and log loss, all rows on the same pictures
    difference: Score | None  # accuracy minus the frozen probe's, paired, bootstrapped by cluster; None for itself
    n_train: int  # pictures it learnt from
    trained: int  # weights that were fitted
    tuned_difference: Score | None = None  # likewise from the fine-tuned network's; None for itself, or without one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """The measured model."""

    split: str  # of the headline: `test`, `val`, `cv` when nothing could be held out, `none` when nothing can judge
    scores: tuple[Score, ...]  # all splits' scores of the model; per class with `subject`
    baselines: tuple[Score, ...]  # the same metrics of the baselines; `subject` names them
    confusion: np.ndarray  # (C, C) int64, true class by answered class, on `split`; (0, 0) of numbers
    rows: np.ndarray  # (M,) int64 rows judged in `split`
    probabilities: np.ndarray  # (M, C) float32 for `rows`; numbers are (M, 1)
    calibration: tuple[CalibrationBin, ...]  # reliability bins on `split`
    suspects: np.ndarray  # (P,) int64 rows whose label held-out predictions contradict, the likeliest wrong first
    threshold: float | None  # probability of the positive class above which it is answered; None without `positive`
    verdicts: tuple[Verdict, ...]  # in words
    paid: tuple[AblationRow, ...] = ()  # did fine-tuning and pre-training pay; empty without fine-tuning
    wrong_labels: tuple[float, ...] = ()  # how many of `suspects` are wrong: expected, low, high; empty if none
    rival_classes: tuple[int, ...] = ()  # of each of `suspects` the class that they say instead
    rival_probabilities: tuple[float, ...] = ()  # of these classes, held out; of numbers what they say instead
    nested: bool = False  # whether nested cross-validation judges: each fold by a search that did not see it

    @property
    def refusal(self) -> str:
        """Why nothing is claimed of the model; empty where it was judged."""
        return self.verdicts[0].sentence if self.split == "none" else ""

    @property
    def is_optimistic(self) -> bool:
        """Whether the pictures that judge also chose the model, so that its scores are optimistic."""
        return self.split == "cv" and not self.nested


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OodDetector:
    """How the strangeness of a picture is measured."""

    method: str  # one of `uncertainty.ood_detection.METHODS`
    neighbour: int  # which nearest reference tells the distance
    limit: float  # distance beyond which a picture is unknown
    familiar: float  # share of known pictures that lie within, as promised
    arrays: Mapping[str, np.ndarray]  # of `compute_distances`, and `known` (K,) float32 sorted held-out distances
    tried: tuple[Score, ...]  # mean area under the ROC curve by which pictures of a hidden class are recognised


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UncertaintyReport:
    """When the model should not be believed, and how well that is recognised.

    `scores` holds `ece`, `log_loss` and `brier` (subjects `before` and `after`); `coverage`, `set_size`, `singletons`,
    `empty_sets`, of labels `open_labels` and `coverage_where_present`, of numbers `interval_width`; `unknown`, the
    share declined; `novelty_auc` of foreign pictures and of hidden classes. Where folds judge each other,
    `coverage_of_folds` and `unknown_of_folds` are of those furthest apart (`lowest`, `highest`).
    """

    coverage: float  # share of pictures whose true class shall be among the plausible ones, as asked for
    promise: float  # the share that theory guarantees, 0 for none
    score: str  # one of `headstart.uncertainty.conformal.SCORES`, or `absolute_error` of numbers
    by_class: bool  # whether the promise is kept in each class rather than on average
    thresholds: np.ndarray  # (C,) float64 of the score; infinity makes the class always plausible; or a half width; of
    # labels (C, 2), absent and present
    floors: np.ndarray  # (C,) float64; where no class keeps its floor, no class is plausible
    kept: float  # share of known pictures, at least, whose true class keeps its floor
    n: int  # pictures that set the thresholds, one of each cluster of near-duplicates
    split: str  # where these are from: `cv`, in older runs `test` or `val` too
    why: str  # one sentence on how the promise is kept
    novelty: OodDetector | None  # None where the training pictures are too few
    scores: tuple[Score, ...]
    ordered: bool = False  # whether classes between two of a prediction set are in it too
    verdict: Verdict | None = None  # does `unknown` work here; None in older runs
    has_target: bool = (
        False  # whether the model is for another domain than the labelled pictures that are measured here
    )

    @property
    def has_labels(self) -> bool:
        """Whether each label has a set of its own."""
        return self.thresholds.ndim == 2


def list_verdicts(evaluation: Evaluation, uncertainty: UncertaintyReport | None) -> tuple[Verdict, ...]:
    """All answers in words of a run, that on `unknown` last."""
    verdict = uncertainty.verdict if uncertainty else None
    return (*evaluation.verdicts, *([verdict] if verdict else []))
