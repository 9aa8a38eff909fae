"""The training of a network, epoch by epoch and trial by trial, and the protocol of a model check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from headstart.core.recipe import Recipe
from headstart.core.types.audit import Outcome
from headstart.core.types.backbone import BackboneSpec
from headstart.core.types.head import FittedHead
from headstart.core.types.score import Score

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochScores:
    """What a network says of some pictures at the end of an epoch; the class scores are in the order of the classes."""

    log_loss: float
    accuracy: float
    balanced_accuracy: float
    precision: float  # macro
    recall: float  # macro
    class_precision: tuple[float, ...]
    class_recall: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """One epoch of one training.

    Attributes:
        epoch: From 1.
        rate: Learning rate of the head at the epoch's last step.
        loss: What was minimised, averaged over the steps.
        train: Running scores over the epoch's own batches, as they were seen (augmented, mixed, with dropout).
        val: On the held-out pictures at the end of the epoch, with the averaged weights where there are some; None
            when nothing was held out.
    """

    epoch: int
    rate: float
    loss: float
    train: EpochScores
    val: EpochScores | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLog:
    """One training from start to end.

    Attributes:
        name: `trial 3, fold 0`, `final`, `from random weights`.
        trial: Number of the trial whose recipe it follows, -1 for the random-weight baseline.
        recipe: With everything filled in.
        fold: Which fold was held out; -1 when none was.
        n_train: Pictures it learnt from.
        start: On the held-out pictures before the first step; None when nothing was held out.
        epochs: In order.
        best: The epoch whose weights count, 0 for the start; of a judged trial the one that all its folds share.
        stopped: Why it ended, one clause: `all 15 epochs`, `no gain in 4 epochs`, `pruned`, …
        trainable_params: Weights that moved.
        notes: Choices with their numbers: cached or full path, batch halved, rate found, …
    """

    name: str
    trial: int
    recipe: Recipe
    fold: int
    n_train: int
    start: EpochScores | None
    epochs: tuple[EpochRow, ...]
    best: int
    stopped: str
    trainable_params: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One recipe that was tried.

    Attributes:
        number: From 0, in the order of trying.
        recipe: With everything filled in.
        origin: `given`, `prior`, `search`, or the code of the model check whose advice it follows.
        folds: How many folds it was judged on.
        score: The job's metric on those folds' pictures; NaN value when it failed.
        paired: Metric of this trial minus the frozen probe's on the same pictures; None when it failed.
        status: `chosen`, `finalist`, `beaten`, `pruned` or `failed`.
        why: One clause.
    """

    number: int
    recipe: Recipe
    origin: str
    folds: int
    score: Score
    paired: Score | None
    status: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TunedNetwork:
    """A trained network as a trunk and a linear head, so that it is measured and exported as a probe is.

    Attributes:
        spec: Of the tuned trunk: `tuned:<backbone>` (`scratch:<backbone>` for random weights), its revision a digest of
            the weights, one depth `features`.
        backbone: The backbone it grew from.
        recipe: With everything filled in.
        file: The `keras.Model` from (B, H, W, 3) float32 RGB 0..255 to (B, C) probabilities, relative to the run.
        fitted: Linear head on the depth `features`.
        epochs: Epochs trained, to the weights that count.
        alpha: Part of the way from the first weights to the tuned ones (WiSE-FT).
        temperature: By which the logits were divided; folded into the head.
        soup: Numbers of the trials whose weights are averaged; one when there is no soup.
        trainable_params: Weights that moved.
        n_train: Pictures it learnt from.
        flops: Operations spent on training, forward and backward.
    """

    spec: BackboneSpec
    backbone: str
    recipe: Recipe
    file: str
    fitted: FittedHead
    epochs: int
    alpha: float
    temperature: float
    soup: tuple[int, ...]
    trainable_params: int
    n_train: int
    flops: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FineTuningResult:
    """All fine-tuning of a run.

    Attributes:
        trials: In the order of trying.
        logs: Of every fold of every trial, of the final training and of the random-weight baseline.
        outcomes: The model checks (`M2xx`) on the chosen recipe.
        network: The best recipe, trained on all of `train`; None when none could be trained.
        scratch: The same network from random weights; None when there was no time for it.
        taken: Whether the paired rule takes the network instead of the frozen probe.
        why: One sentence.
        rows: (M,) int64 pictures that judged both.
        probabilities: (M, C) float32 the network's held-out probabilities for them.
        probe_probabilities: (M, C) float32 the probe's for the same pictures.
        left_out: What the budget had no room for, one sentence each.
    """

    trials: tuple[Trial, ...]
    logs: tuple[TrainingLog, ...]
    outcomes: tuple[Outcome, ...]
    network: TunedNetwork | None
    scratch: TunedNetwork | None
    taken: bool
    why: str
    rows: np.ndarray
    probabilities: np.ndarray
    probe_probabilities: np.ndarray
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingInput:
    """What a model check may look at: the trainings of one recipe, one a fold.

    Attributes:
        logs: Those with held-out scores.
        class_names: C names.
        majority: Share of the most frequent class among the training pictures.
        probe: The frozen probe's scores on the held-out pictures of the same folds.
        overlap: Held-out pictures that look like one the network learnt from (clusters that straddle), counted.
    """

    logs: tuple[TrainingLog, ...]
    class_names: tuple[str, ...]
    majority: float
    probe: EpochScores
    overlap: int = 0


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
        ...
