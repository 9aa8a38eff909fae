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
    """Everything the vectors depend on besides the bytes of the pictures.

    `calibration` is the digest of the pictures that an int8 trunk was calibrated on, empty for f32.
    """

    backbone: str
    revision: str
    input: InputSpec
    depths: tuple[FeatureLevel, ...]
    precision: str  # "f32" | "int8"
    engine: str  # "openvino 2026.4.1" | "keras 3.15.1 tensorflow"
    calibration: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embeddings:
    """Pooled features of one backbone.

    Attributes:
        key: What they depend on.
        spec: Of the backbone.
        rows: (M,) int64 rows of the data set, ascending, that `vectors` speak of.
        vectors: Depth name -> (M, D) float32, memory-mapped where large.
        seconds: Wall time of the pass.
        cached: How many of the M rows came from the cache.
        latency_ms: Wall milliseconds a picture, decoding included, as last measured with this cache; NaN when never.
        timed: Whether this pass measured it. Else it is of an earlier pass, perhaps under another load.
    """

    key: EmbedKey
    spec: BackboneSpec
    rows: np.ndarray
    vectors: Mapping[str, np.ndarray]
    seconds: float
    cached: int
    latency_ms: float
    timed: bool = False
