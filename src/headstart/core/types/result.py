"""What a fit hands over: the model, its evaluation and its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.core.types.head import CurvePoint, Feature, FittedHead, HeadRow
from headstart.core.types.score import CalibrationBin, Score, Verdict
from headstart.core.types.training import FineTuningResult

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """How sure the model may say that it is; fitted before anything is judged.

    Attributes:
        temperature: By which log probabilities are divided (Guo 2017); 1 leaves them as they are.
        before: Log loss of the held-out predictions as they are.
        after: The same, each picture tempered by what other pictures say.
        n: Pictures with held-out predictions.
        why: One sentence.
    """

    temperature: float
    before: float
    after: float
    n: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitResult:
    """The head that won, fitted on all of `train`, and what was held out on the way.

    Attributes:
        strategy: `probe`, or the strategy of the recipe that beat it.
        features: The head's input, concatenated in this order.
        fitted: The head.
        tried: All heads tried, best first.
        why: One sentence.
        cv_rows: (M,) int64 rows with held-out predictions.
        cv_probabilities: (M, C) float32, the mean over repeats of the held-out probabilities.
        train_probabilities: (M, C) float32 of the final head on its own training rows `splits.train`.
        nested: Scores by nested cross-validation when there is no test split, else empty.
        curve: The learning curve of the frozen probe so far.
        tuning: All fine-tuning; None when none was asked for.
        calibrated: How sure the model may say that it is; None in a run of before there was any. The probabilities
            here are as the head says them, all that is measured and answered is tempered.
    """

    strategy: str
    features: tuple[Feature, ...]
    fitted: FittedHead
    tried: tuple[HeadRow, ...]
    why: str
    cv_rows: np.ndarray
    cv_probabilities: np.ndarray
    train_probabilities: np.ndarray
    nested: tuple[Score, ...]
    curve: tuple[CurvePoint, ...]
    tuning: FineTuningResult | None = None
    calibrated: Calibrated | None = None

    @property
    def temperature(self) -> float:
        """By which log probabilities are divided."""
        return self.calibrated.temperature if self.calibrated else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRow:
    """One line of the table "did it pay": a model and how far its accuracy is from the frozen probe's.

    Attributes:
        name: `majority class`, `colour histogram`, `frozen probe`, `fine-tuned` or `from random weights`.
        scores: Accuracy, balanced accuracy and log loss, all rows on the same pictures.
        difference: Accuracy minus the frozen probe's, picture by picture, bootstrapped by cluster; None for itself.
        n_train: Pictures it learnt from.
        trained: Weights that were fitted.
    """

    name: str
    scores: tuple[Score, ...]
    difference: Score | None
    n_train: int
    trained: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """The measured model.

    Attributes:
        split: Which split the headline is of: `test`, `val`, or `cv` when nothing could be held out.
        scores: All splits' scores of the model; per class with `subject`.
        baselines: The same metrics of the baselines; `subject` names them.
        confusion: (C, C) int64, true class by answered class, on `split`.
        rows: (M,) int64 rows judged in `split`.
        probabilities: (M, C) float32 for `rows`.
        calibration: Reliability bins on `split`.
        suspects: (P,) int64 rows whose label the held-out predictions doubt most, worst first: candidates only.
        threshold: Probability of the positive class above which it is answered; None without `positive`.
        verdicts: In words.
        paid: Did fine-tuning and pre-training pay; empty without fine-tuning.
    """

    split: str
    scores: tuple[Score, ...]
    baselines: tuple[Score, ...]
    confusion: np.ndarray
    rows: np.ndarray
    probabilities: np.ndarray
    calibration: tuple[CalibrationBin, ...]
    suspects: np.ndarray
    threshold: float | None
    verdicts: tuple[Verdict, ...]
    paid: tuple[AblationRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OodDetector:
    """How the strangeness of a picture is measured.

    Attributes:
        method: One of `headstart.uncertainty.ood_detection.METHODS`.
        neighbour: Which nearest reference tells the distance.
        limit: Distance beyond which a picture is unknown.
        familiar: Share of known pictures that lie within, as promised.
        arrays: What `headstart.uncertainty.ood_detection.compute_distances` takes, and `known` (K,) float32 sorted
        distances of held-out
            pictures of the known classes.
        tried: Mean area under the ROC curve by which pictures of a class that was hidden are told, a method each.
    """

    method: str
    neighbour: int
    limit: float
    familiar: float
    arrays: Mapping[str, np.ndarray]
    tried: tuple[Score, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UncertaintyReport:
    """When the model should not be believed, and how well that is told.

    Attributes:
        coverage: Share of pictures whose true class shall be among the plausible ones, as asked for.
        promise: The share that theory guarantees, 0 for none.
        score: One of `headstart.uncertainty.conformal.SCORES`.
        by_class: Whether the promise is kept in each class rather than on average.
        thresholds: (C,) float64 of the score; infinity makes the class always plausible.
        floors: (C,) float64; where no class keeps its floor, no class is plausible.
        kept: Share of known pictures, at least, whose true class keeps its floor.
        n: Pictures that set the thresholds, one of each cluster of near-duplicates.
        split: Where these are from: `test`, `val` or `cv`.
        why: One sentence on how the promise is kept.
        novelty: None where the training pictures are too few.
        scores: `ece`, `log_loss` and `brier` with the subjects `before` and `after`; `coverage`, `set_size`,
            `singletons` and `empty_sets`; `unknown`, the share declined, of known pictures and with the subject of
            foreign ones; `novelty_auc` of these and of hidden classes.
    """

    coverage: float
    promise: float
    score: str
    by_class: bool
    thresholds: np.ndarray
    floors: np.ndarray
    kept: float
    n: int
    split: str
    why: str
    novelty: OodDetector | None
    scores: tuple[Score, ...]
