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
class AccuracyChange:
    """What a precision costs: accuracy before and after on the same pictures, and the paired difference.

    Attributes:
        before: Share of right answers of the run's model; `unknown` is none.
        after: Of the export.
        change: `after - before`.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: Pictures.
    """

    before: float
    after: float
    change: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A model in one format, as its own runtime answered in a process of its own.

    Attributes:
        format: `keras`, `saved_model`, `onnx`, `openvino` or `litert`.
        precision: `f32`, `f16` or `int8`.
        path: Its folder.
        bytes: Of the model's own files.
        files: Path below the folder -> SHA-256, of all that was written.
        compared: Pictures on which it was compared with the run's model.
        compared_on: Which they are: `test`, `val`, `train` of the run, or `data`, pictures that were named for it.
        parity_max_abs: Largest difference of a probability.
        novelty_max_abs: Largest difference of a novelty; None where it is not in the graph.
        label_agreement: Share of the pictures with the same answer, `unknown` being one.
        p50_ms: Median time of the graph for one picture.
        p95_ms: 95 % are faster.
        accuracy: What the precision costs; None in f32, and where the pictures have no labels.
        versions: Package -> version, of what made it and of what it was run by.
        left_out: What the model has and the graph has not, with the reason.
    """

    format: str
    precision: str
    path: str
    bytes: int
    files: Mapping[str, str]
    compared: int
    compared_on: str
    parity_max_abs: float
    novelty_max_abs: float | None
    label_agreement: float
    p50_ms: float
    p95_ms: float
    accuracy: AccuracyChange | None
    versions: Mapping[str, str]
    left_out: tuple[str, ...] = ()
