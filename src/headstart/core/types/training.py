"""The training of a network, epoch by epoch and trial by trial, and the protocol of a model check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from headstart.core.recipe import Recipe
from headstart.core.types.audit import Outcome
from headstart.core.types.backbone import BackboneSpec
from headstart.core.types.head import FittedHead
from headstart.core.types.score import Score

if TYPE_CHECKING:
    import numpy as np


class _Scores:
    """What a network says of some pictures at the end of an epoch.

    `drawn` names the fields that are shown: first the loss, then the skill, which is at most 1.
    """

    __slots__ = ()
    drawn: ClassVar[Mapping[str, str]]
    guess_name: ClassVar[str]  # what they do who look at no picture

    @property
    def loss(self) -> float:
        """What is lower where the network is better."""
        return float(getattr(self, next(iter(self.drawn))))

    @property
    def skill(self) -> float:
        """What is higher where it is."""
        return float(getattr(self, list(self.drawn)[1]))

    @property
    def names(self) -> tuple[str, str]:
        """What the loss and the skill are called."""
        loss, skill, *_ = self.drawn.values()
        return loss, skill

    def values(self) -> dict[str, float]:
        """All scores over all outputs, by the names of their fields."""
        by_name = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {name: float(value) for name, value in by_name.items() if not isinstance(value, tuple)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores(_Scores):
    """Of one class a picture; the class scores are in the order of the classes."""

    drawn: ClassVar[Mapping[str, str]] = {
        "log_loss": "log loss",
        "accuracy": "accuracy",
        "precision": "precision",
        "recall": "recall",
    }
    guess_name: ClassVar[str] = "always answering the largest class"
    log_loss: float
    accuracy: float
    balanced_accuracy: float
    precision: float  # macro
    recall: float  # macro
    class_precision: tuple[float, ...]
    class_recall: tuple[float, ...]

    @staticmethod
    def skill_deviation(skill: float, n: float) -> float:
        """How far chance moves the skill on n pictures, one standard deviation."""
        return float((skill * (1 - skill) / n) ** 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberScores(_Scores):
    """Of a number a picture."""

    drawn: ClassVar[Mapping[str, str]] = {"squared_error": "squared error", "r2": "R2", "mae": "mean absolute error"}
    guess_name: ClassVar[str] = "always answering the mean"
    squared_error: float  # mean, in parts of the variance of all training targets
    r2: float
    mae: float  # in the target's unit

    @staticmethod
    def skill_deviation(skill: float, n: float) -> float:
        """How far chance moves R2 on n pictures, one standard deviation (Olkin & Finn 1995)."""
        return float(2 * max(skill, 0.0) ** 0.5 * (1 - skill) / n**0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScores(_Scores):
    """Of any number of labels a picture; the class scores are in the order of the labels."""

    drawn: ClassVar[Mapping[str, str]] = {
        "binary_log_loss": "binary log loss",
        "micro_f1": "micro F1",
        "exact_match": "exact match",
    }
    guess_name: ClassVar[str] = "always answering the labels of most pictures"
    binary_log_loss: float
    micro_f1: float
    exact_match: float
    class_precision: tuple[float, ...]
    class_recall: tuple[float, ...]

    @staticmethod
    def skill_deviation(skill: float, n: float) -> float:
        """How far chance moves F1 on n pictures, one standard deviation: that of the share J = F1 / (2 - F1).

        J is the share of right ones among labels that are there or answered, taken as one a picture.
        """
        share = skill / (2 - skill)
        return float(2 / (1 + share) ** 2 * (share * (1 - share) / n) ** 0.5)


EpochScores = ClassScores | NumberScores | LabelScores


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """One epoch of one training."""

    epoch: int  # from 1
    rate: float  # learning rate of the head at the epoch's last step
    loss: float  # what was minimised, averaged over the steps
    train: EpochScores  # running scores over the epoch's own batches, as they were seen (augmented, mixed)
    val: EpochScores | None  # held-out, by the averaged weights where there are some; None when none was held out


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLog:
    """One training from start to end."""

    name: str  # `trial 3, fold 0`, `final`, `from random weights`
    trial: int  # number of the trial whose recipe it follows, -1 for the random-weight baseline
    recipe: Recipe  # with everything filled in
    fold: int  # which fold was held out; -1 when none was
    n_train: int  # pictures it learnt from
    start: EpochScores | None  # on the held-out pictures before the first step; None when nothing was held out
    epochs: tuple[EpochRow, ...]  # in order
    best: int  # the epoch whose weights count, 0 for the start; of a judged trial the one that all its folds share
    stopped: str  # why it ended, one clause: `all 15 epochs`, `no gain in 4 epochs`, `pruned`, …
    trainable_params: int  # weights that moved
    notes: tuple[str, ...] = ()  # choices with their numbers: cached or full path, batch halved, rate found, …


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One recipe that was tried."""

    number: int  # from 0, in the order of trying
    recipe: Recipe  # with everything filled in
    origin: str  # `given`, `prior`, `search`, or the code of the model check whose advice it follows
    folds: int  # how many folds it was judged on
    score: Score  # the job's metric on those folds' pictures; NaN value when it failed
    paired: Score | None  # metric of this trial minus the frozen probe's on the same pictures; None when it failed
    status: str  # `chosen`, `finalist`, `beaten`, `pruned` or `failed`
    why: str  # one clause


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TunedNetwork:
    """A trained network as a trunk and a linear head, so that it is measured and exported as a probe is."""

    spec: BackboneSpec  # `tuned:<backbone>` or `scratch:<backbone>`; revision: the weights' digest; one depth
    backbone: str  # the backbone it grew from
    recipe: Recipe  # with everything filled in
    file: str  # the `keras.Model` from (B, H, W, 3) float32 RGB 0..255 to (B, C) answers, relative to the run
    fitted: FittedHead  # linear head on the depth `features`
    epochs: int  # epochs trained, to the weights that count
    alpha: float  # part of the way from the first weights to the tuned ones (WiSE-FT)
    temperature: float  # by which the logits were divided; folded into the head
    soup: tuple[int, ...]  # numbers of the trials whose weights are averaged; one when there is no soup
    trainable_params: int  # weights that moved; 0 when it is untrained
    n_train: int  # pictures it learnt from
    flops: float  # operations spent on training, forward and backward

    @property
    def is_untrained(self) -> bool:
        """Whether nothing of the training was kept: no epoch helped, or the last training broke off."""
        return self.alpha == 0 and len(self.soup) == 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FineTuningResult:
    """All fine-tuning of a run."""

    trials: tuple[Trial, ...]  # in the order of trying
    logs: tuple[TrainingLog, ...]  # of every fold of every trial, the final training and the random-weight baseline
    outcomes: tuple[Outcome, ...]  # the model checks (`M2xx`) on the chosen recipe
    network: TunedNetwork | None  # the best recipe, trained on all of `train`; None when none could be trained
    scratch: TunedNetwork | None  # the same network from random weights; None when there was no time for it
    taken: bool  # whether the paired rule takes the network instead of the frozen probe
    why: str
    rows: np.ndarray  # (M,) int64 pictures that judged both
    probabilities: np.ndarray  # (M, C) float32 the network's held-out probabilities for them
    probe_probabilities: np.ndarray  # (M, C) float32 the probe's for the same pictures
    left_out: tuple[str, ...] = ()  # what the budget had no room for, one sentence each
    distances: Mapping[str, np.ndarray] = field(default_factory=dict)  # (M,) of `rows`, by method: how far each lies
    # from what its fold's network learnt from; empty where the probe stays


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingInput:
    """What a model check may look at: the trainings of one recipe, one a fold."""

    logs: tuple[TrainingLog, ...]  # those with held-out scores
    class_names: tuple[str, ...]  # C names
    guess: float  # the skill of who looks at no picture: the share of the most frequent class, 0 for numbers
    probe: EpochScores  # the frozen probe's scores on the held-out pictures of the same folds
    overlap: int = 0  # held-out pictures that look like one the network learnt from (clusters that straddle), counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a model check says, and the recipe fields that it would change (absolute values)."""

    outcome: Outcome
    change: Mapping[str, Any] = field(default_factory=dict)


class ModelCheck(Protocol):
    """A file in `headstart.finetuning.checks`: `PLUGIN` has these attributes and is called."""

    code: str
    name: str

    def __call__(self, training_input: TrainingInput) -> Diagnosis:
        """Look at the curves and say how it ended."""
