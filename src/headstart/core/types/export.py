"""A model in other formats, and what the export changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A model on disk in one format, compared with the run it came from."""

    format: str
    path: str
    bytes: int
    precision: str
    parity_max_abs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreChange:
    """What a precision costs: a score before and after on the same pictures, and the paired difference."""

    metric: str  # `accuracy` or `exact_match`, the share of right answers, `unknown` being none; `r2` of numbers
    before: float  # of the run's model
    after: float  # of the export
    change: float  # `after - before`
    low: float  # of the 95 % interval
    high: float
    n: int  # pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A model in one format, as its own runtime answered in a process of its own."""

    format: str  # `keras`, `saved_model`, `onnx`, `openvino` or `litert`
    precision: str  # `f32`, `f16` or `int8`
    path: str  # of its folder
    bytes: int  # of the model's own files
    files: Mapping[str, str]  # path below the folder -> SHA-256, of all that was written
    compared: int  # pictures on which it was compared with the run's model
    compared_on: str  # which they are: `test`, `val`, `train` of the run, or `data`, pictures that were named for it
    parity_max_abs: float  # largest difference of a probability; of a number, in standard deviations of the target
    novelty_max_abs: float | None  # largest difference of a novelty; None where it is not in the graph
    label_agreement: float  # share of the pictures with the same answer, `unknown` being one
    p50_ms: float  # median time of the graph for one picture
    p95_ms: float  # 95 % are faster
    score: ScoreChange | None  # what the precision costs; None in f32, and where the pictures have no labels
    versions: Mapping[str, str]  # package -> version, of what made it and of what it was run by
    left_out: tuple[str, ...] = ()  # what the model has and the graph has not, with the reason
