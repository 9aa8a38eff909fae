"""A pre-trained backbone's specification, and the protocols of the sources of backbones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from headstart.core.storage.cache import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """How a picture becomes a trunk's input: (B, size_px, size_px, 3) uint8, RGB.

    Scaling is part of the trunk's own graph: `x = (channels(x) * scale - mean) / std`.

    Attributes:
        size_px: Height and width.
        resize: `crop` (shorter side to `size_px / crop_fraction`, then centre crop) or `squash`.
        interpolation: `bilinear` or `bicubic`, Pillow's antialiased filters.
        crop_fraction: Of the resized picture's side that the centre crop keeps.
        channels: `rgb` or `bgr`, the order in which the trunk's first layer was trained.
        scale: Factor on 0..255 before the mean is taken off.
        mean: Three numbers, in the order of `channels`.
        std: Three numbers, in the order of `channels`.
    """

    size_px: int
    resize: str = "crop"
    interpolation: str = "bicubic"
    crop_fraction: float = 0.875
    channels: str = "rgb"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLevel:
    """One place where features are taken, pooled over the picture: `stage3` … `last`, and how many numbers."""

    name: str
    dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """All that is known of a trunk before it is built.

    Attributes:
        name: `source:preset`.
        family: `efficientnet_lite`, `vgg`, `resnet`, …
        revision: Changes when weights, graph or pooling change.
        input: See `InputSpec`.
        depths: From shallow to deep; the last one is the penultimate layer of the source classifier.
        params: Weights in the trunk, without the source classifier.
        flops: Floating-point operations for one picture (two for a multiply-add).
        licence: SPDX identifier, or the words of the source.
        licence_note: What else to know (data sets' own terms), or empty.
        pretrained_on: Data and task of the source.
        download_bytes: Of the weights.
        prior: Published accuracy of the source on its own task, 0..1 (ImageNet top-1), or a stated guess.
        prior_source: Where `prior` comes from.
        method: How it was trained: `supervised`, `self-supervised`, `image-text`, or the words of the source.
        domains: What its training pictures show, as a filter's words: `photos`, `edges`, `medical`, `text`, …
    """

    name: str
    family: str
    revision: str
    input: InputSpec
    depths: tuple[FeatureLevel, ...]
    params: int
    flops: int
    licence: str
    licence_note: str
    pretrained_on: str
    download_bytes: int
    prior: float
    prior_source: str
    method: str = "not stated"
    domains: tuple[str, ...] = ()


class BackboneSource(Protocol):
    """A file in `headstart.backbones`. Everything but `build` answers without importing a framework."""

    name: str
    cannot: Mapping[str, str]

    def presets(self) -> tuple[str, ...]:
        """Names without the source's prefix."""
        ...

    def spec(self, preset: str) -> BackboneSpec:
        """What is known of a preset; raises UsageError with the nearest names."""
        ...

    def available(self, preset: str, store: Store) -> bool:
        """Whether `build` would work without any download."""
        ...

    def pull(self, preset: str, store: Store, console: Any) -> Path:
        """Bring the weights into the store and return their file; raises SetupError."""
        ...

    def build(self, preset: str, store: Store, *, seed: int | None = None) -> Any:
        """A frozen `keras.Model`.

        Input (B, H, W, 3) float32 RGB 0..255; a list of outputs, one (B, D) for each of `spec.depths` in order,
        scaling and pooling inside the graph. With `seed`, random weights of the same architecture instead.
        """
        ...


class OpeningSource(Protocol):
    """What a `BackboneSource` may have besides: names that `presets` cannot list, such as a path."""

    def opens(self, preset: str, console: Any, *, fetching: bool = False) -> str:
        """The preset under which it is known from now on, empty for what the source does not know.

        Whatever `build` needs is in the cache afterwards; without `fetching` only what is on this machine is opened.
        Raises UsageError for what it knows and cannot open.
        """
        ...

    def learnt_from(self, preset: str) -> frozenset[str]:
        """SHA-256 digests of the pictures it is known to have learnt from; `fit` warns where it is measured on them."""
        ...


class OwnSource(Protocol):
    """What a `BackboneSource` may have besides: backbones that the user brought, which may have learnt from anything.

    `auto` takes none of them, a preset's name alone means the other sources' first, and a run that goes on refuses one
    whose revision has changed.
    """

    own: bool


class FrozenSource(Protocol):
    """What a `BackboneSource` may have besides: presets that are a graph for OpenVINO and no `keras.Model`."""

    def frozen(self, preset: str) -> str:
        """Why a preset can neither be fine-tuned nor have a random twin; empty where `build` works."""
        ...

    def convert(self, preset: str, store: Store, pictures: np.ndarray, folder: Path) -> None:
        """Write a frozen preset as `trunk.xml`, `trunk.bin` and `parity.json`.

        The graph takes (1, H, W, 3) uint8 RGB and gives one (1, D) float32 output for each of `spec.depths`, scaling
        and pooling inside; `pictures` (n, H, W, 3) uint8 are real ones, for a proof that its numbers are right.
        """
        ...


class TextSource(Protocol):
    """What a `BackboneSource` may have besides: networks that learnt pictures and texts together."""

    def text_folder(self, preset: str, store: Store) -> Path | None:
        """The preset as KerasHub opens it, text tower and tokenizer in it; None where it has none.

        The trunk's depth `last` is then the picture's vector in the space of texts.
        """
        ...
