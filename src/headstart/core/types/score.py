"""A score with its interval, a verdict on scores, a bin of a calibration curve."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A number that is never naked."""

    split: str  # `test`, `val`, `cv` (mean over held-out folds), `train`, or `screen` (folds of at most 256 pictures)
    name: str  # `accuracy`, `balanced_accuracy`, `log_loss`, …
    value: float  # the estimate; NaN when it cannot be computed (then `n` says why)
    low: float  # of the 95 % interval
    high: float
    n: int  # pictures it was measured on
    subject: str = ""  # a class name for per-class scores, a baseline's name for baselines, else empty
    method: str = ""  # of the interval, as in docs/evaluate.md and docs/compare.md, or `none`


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer in words to a question the user has: `transfer`, `overfitting`, `enough_data`, `headline`, …"""

    code: str
    answer: str  # "yes" | "no" | "unclear"
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """Pictures whose top probability falls into one bin."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
