"""The answer of a model for one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headstart.core.types.task import CLASSIFICATION, Task

UNKNOWN = "unknown"  # the answer where the model says that it does not know; `Prediction.unknown` tells for sure
NO_LABEL = "(none)"  # the answer where no label is there
LABEL_SEPARATOR = "|"  # between the labels of an answer, as in tables
PRESENT = 0.5  # probability from which a label is there


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One answer, with its uncertainty."""

    uri: str  # the file, or the name under which the picture came
    answer: str  # a class, labels or a number; `unknown` where the model does not know; empty for an unreadable file
    probabilities: Mapping[str, float] = field(default_factory=dict)  # class -> calibrated probability
    error: str = ""  # why the file could not be read, else empty
    likeliest: str = ""  # the most probable class; empty where the file could not be read
    number: float | None = None  # of a model that answers with numbers; `probabilities` has it by what it measures
    low: float | None = None  # of the interval that holds the true number as often as promised; None without a promise
    high: float | None = None
    labels: tuple[str, ...] | None = None  # of a model of labels those that are there, also where it declines
    plausible: tuple[str, ...] = ()  # the prediction set, the class to answer first; empty without a promise
    open: tuple[str, ...] = ()  # labels that are neither surely there nor surely absent, the likeliest first
    novelty: float | None = None  # 0..1, share of known pictures that look more familiar; None where not measured
    unknown: bool = False  # whether the model declines to answer
    reasons: tuple[str, ...] = ()  # why it does, or why its answer is not the likeliest class, a sentence each


def format_labels(labels: Sequence[str]) -> str:
    """The answer of labels that are there."""
    return LABEL_SEPARATOR.join(labels) or NO_LABEL


@dataclass(frozen=True, slots=True)
class AnswerLayout:
    """What the rows of a model's answers have: `names` of its outputs (none of a bare backbone), and its task."""

    names: tuple[str, ...] = ()
    task: Task = CLASSIFICATION

    @property
    def is_number(self) -> bool:
        """Whether an answer is a number."""
        return self.task.is_number


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotPrediction:
    """One answer without labels, which nothing has measured.

    `cosines` are of each class name with what the source classifier sees, or of its texts with the picture where the
    network learnt pictures and texts together; the nearest first.
    """

    uri: str  # the picture
    answer: str  # the class whose name is nearest; empty when the file could not be read
    cosines: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)  # class -> 0..1 by an image-text network; else empty
    seen: Mapping[str, float] = field(default_factory=dict)  # the source classifier's likeliest classes -> probability
    error: str = ""  # why the file could not be read, else empty
