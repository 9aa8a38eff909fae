"""A pre-trained backbone's specification, and the protocols of the sources of backbones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from headstart.core.errors import NoOpError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from headstart.core.storage.cache import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelRanges:
    """How values of pictures are read: which become black and white beyond 8 bits a channel, and of which part.

    Ends that are None scale each file by its own.
    """

    integers: tuple[float, float] | None = None
    floats: tuple[float, float] | None = None
    precise: bool = field(default=False, metadata={"digest": "unless default"})  # levels keep their fractions
    window: str = field(default="", metadata={"digest": "unless default"})  # `CENTER,WIDTH`, `none`, or the file's own
    slice: str = field(default="", metadata={"digest": "unless default"})  # of a volume or a file of many frames
    n_bands: int = field(default=0, metadata={"digest": "unless default"})  # of every file; 0 for grey and colour
    bands: tuple[int, ...] = field(default=(), metadata={"digest": "unless default"})  # B of them, the first is 1
    band_ranges: tuple[tuple[float, float], ...] = field(default=(), metadata={"digest": "unless default"})  # B ends
    mix: tuple[tuple[float, ...], ...] = field(default=(), metadata={"digest": "unless default"})  # 3 V x B weights


OWN_RANGES = PixelRanges()
NOT_HERE = "not here"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """How a picture becomes a trunk's input: (B, size_px, size_px, 3) RGB 0..255, of `dtype`.

    Of several views, each three bands, one lies below the other: `shape`. The trunk sees each; features are averaged.

    Scaling is part of the trunk's own graph: `x = (channels(x) * scale - mean) / std`.
    """

    size_px: int  # height and width
    resize: str = "crop"  # `crop` (shorter side to `size_px / crop_fraction`, then centre crop), `pad` or `squash`
    interpolation: str = "bicubic"  # `bilinear` or `bicubic`, Pillow's antialiased filters
    crop_fraction: float = 0.875  # of the resized picture's side that the centre crop keeps
    channels: str = "rgb"  # `rgb` or `bgr`, the order in which the trunk's first layer was trained
    scale: float = 1.0  # factor on 0..255 before the mean is taken off
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # three numbers, in the order of `channels`
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)  # three numbers, in the order of `channels`
    ranges: PixelRanges = field(default=OWN_RANGES, metadata={"digest": "unless default"})

    @property
    def dtype(self) -> str:
        """`uint8`, or for a set with pictures beyond 8 bits `float32`."""
        return "float32" if self.ranges.precise else "uint8"

    @property
    def views(self) -> int:
        """V, how often the trunk runs for a picture."""
        return max(1, len(self.ranges.mix) // 3)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a decoded picture: (V * size_px, size_px, 3)."""
        return self.views * self.size_px, self.size_px, 3

    @property
    def pad_rgb(self) -> tuple[int, int, int]:
        """The colour beside a padded picture: what the trunk takes for nothing, or grey where its zero is black."""
        values = [min(255, max(0, round(mean / self.scale))) for mean in self.mean] if any(self.mean) else [127] * 3
        red, green, blue = values[::-1] if self.channels == "bgr" else values
        return red, green, blue


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLevel:
    """One place where features are taken, pooled over the picture: `stage3` … `last`, and how many numbers."""

    name: str
    dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """All that is known of a trunk before it is built."""

    name: str  # `source:preset`
    family: str  # `efficientnet_lite`, `vgg`, `resnet`, …
    revision: str  # changes when weights, graph or pooling change; `NOT_HERE` where that is foreseen alone
    input: InputSpec
    depths: tuple[FeatureLevel, ...]  # from shallow to deep; the last is the penultimate layer of the source classifier
    params: int  # weights in the trunk, without the source classifier
    flops: int  # floating-point operations for one picture (two for a multiply-add)
    licence: str  # SPDX identifier, or the words of the source
    licence_note: str  # what else to know (data sets' own terms), or empty
    pretrained_on: str  # data and task of the source
    download_bytes: int  # of the weights
    prior: float  # published accuracy of the source on its own task, 0..1 (ImageNet top-1), or a stated guess
    prior_source: str  # where `prior` comes from
    method: str = "not stated"  # `supervised`, `self-supervised`, `image-text`, or the words of the source
    domains: tuple[str, ...] = ()  # what its training pictures show: `photos`, `edges`, `medical`, `text`, …


class Capabilities(Protocol):
    """What a source of backbones may be able to do besides building them; the defaults say that it is not.

    Where it `is_users_own` its backbones may have learnt from anything: `auto` takes none of them, a preset's name
    alone means the other sources' first, and a run that goes on refuses one whose revision has changed.
    """

    is_users_own: bool = False
    classifiers: tuple[str, ...] = ()  # presets with a `classifier`
    opens_paths: bool = False  # what is in no list may be the path of a folder
    has_text_towers: bool = False  # some presets have a `text_folder` once their weights are here

    def open_preset(self, text: str, console: Any, *, fetching: bool = False) -> str:
        """The preset of what `presets` cannot list, such as a path; empty for what the source does not know.

        Whatever `build` needs is in the cache afterwards; without `fetching` only what is on this machine is opened.
        Raises UsageError for what it knows and cannot open.
        """
        return ""

    def shipped_presets(self) -> Mapping[str, Mapping[str, Any]]:
        """What `open_preset` would fetch: preset -> `family`, `description`, `params`, `licence`, `handle`."""
        return {}

    def weights_folder(self, preset: str, store: Store) -> Path | None:
        """Where the weights lie or would lie in the store; None where the source keeps them elsewhere."""
        return None

    def find_address(self, preset: str, store: Store) -> str:
        """What `pull` would ask for its first file; empty where everything is on this machine, `SetupError` where
        nothing can give it."""
        return ""

    def frozen_reason(self, preset: str) -> str:
        """Why a preset is a graph for OpenVINO alone, without fine-tuning and random-init control; empty if not."""
        return ""

    def write_openvino(self, preset: str, store: Store, pictures: np.ndarray, folder: Path) -> None:
        """Write a frozen preset as `trunk.xml`, `trunk.bin` and `parity.json`, proved on pictures (n, H, W, 3) uint8.

        The graph takes (1, H, W, 3) uint8 RGB and gives one (1, D) float32 output for each of `spec.depths`, scaling
        and pooling inside.
        """
        raise NoOpError(f"`{preset}` gives no graph for OpenVINO")

    def classifier(self, preset: str, store: Store) -> tuple[np.ndarray, np.ndarray]:
        """The layer behind `last`: weights (D, 1000), bias (1000,) of ImageNet, float32; else SetupError."""
        raise NoOpError(f"`{preset}` has no classifier")

    def text_folder(self, preset: str, store: Store) -> Path | None:
        """The preset with its text tower for KerasHub, `last` being in the space of texts; None where it has none."""
        return None

    def learnt_from(self, preset: str) -> frozenset[str]:
        """SHA-256 digests of the pictures it is known to have learnt from; `fit` warns where it is measured on them."""
        return frozenset()


class BackboneSource(Capabilities, Protocol):
    """A file in `headstart.backbones.sources`; only `build` and `write_openvino` may import a framework."""

    name: str

    def presets(self) -> tuple[str, ...]:
        """Names without the source's prefix."""

    def spec(self, preset: str) -> BackboneSpec:
        """What is known of a preset; raises UsageError with the nearest names."""

    def available(self, preset: str, store: Store) -> bool:
        """Whether `build` would work without any download."""

    def pull(self, preset: str, store: Store, console: Any) -> Path:
        """Bring the weights into the store and return their file; raises SetupError."""

    def build(self, preset: str, store: Store, *, seed: int | None = None) -> Any:
        """A frozen `keras.Model`: (B, H, W, 3) float32 RGB 0..255 to a list of (B, D), one for each of `spec.depths`.

        Scaling and pooling are inside the graph. With `seed`, random weights of the same architecture instead.
        """
