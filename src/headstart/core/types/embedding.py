"""Features of pictures through one backbone, and what they are cached by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.core.types.backbone import BackboneSpec, FeatureLevel, InputSpec

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedKey:
    """Everything the vectors depend on besides the bytes of the pictures."""

    backbone: str
    revision: str
    input: InputSpec
    depths: tuple[FeatureLevel, ...]
    precision: str  # "f32" | "int8"
    engine: str  # "openvino 2026.4.1" | "keras 3.15.1 tensorflow"
    calibration: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embeddings:
    """Pooled features of one backbone."""

    key: EmbedKey
    spec: BackboneSpec
    rows: np.ndarray  # (M,) int64 rows of the data set, ascending, that `vectors` speak of
    vectors: Mapping[str, np.ndarray]  # depth name -> (M, D) float32, memory-mapped where large
    seconds: float  # wall time of the pass
    cached: int  # how many of the M rows came from the cache
    latency_ms: float  # wall milliseconds a picture, decoding included, as last measured; NaN when never
    timed: bool = False  # whether this pass measured it; else an earlier one, perhaps under another load
