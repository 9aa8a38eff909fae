"""The answer of a model for one picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

UNKNOWN = "unknown"  # the answer where the model says that it does not know; `Prediction.unknown` tells for sure


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One answer, with its doubt.

    Attributes:
        uri: The file, or the name under which the picture came.
        answer: A class; `unknown` where the model does not know; empty where the file could not be read.
        probabilities: Class -> calibrated probability.
        error: Why the file could not be read, else empty.
        likeliest: The class that would be answered if something had to be; empty where the file could not be read.
        plausible: Classes of the prediction set that holds the true one with the promised coverage, the likeliest
            first; empty where the model promises nothing, or where no class is plausible.
        novelty: 0..1, share of known pictures that look more familiar than this one; None where it is not measured.
        unknown: Whether the model declines to answer.
        reasons: Why it does, a sentence each.
    """

    uri: str
    answer: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    likeliest: str = ""
    plausible: tuple[str, ...] = ()
    novelty: float | None = None
    unknown: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotPrediction:
    """One answer without labels, which nothing has measured.

    Attributes:
        uri: The picture.
        answer: The class whose name is nearest; empty when the file could not be read.
        cosines: Class -> cosine, -1..1, of its name with what the source classifier sees; the nearest first. Of a
            network that learnt pictures and texts together, of its texts with the picture.
        seen: The source classifier's likeliest classes -> probability, the likeliest first; else empty.
        scores: Class -> 0..1, what a network that learnt pictures and texts together makes of the cosines; else empty.
        error: Why the file could not be read, else empty.
    """

    uri: str
    answer: str
    cosines: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    seen: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
