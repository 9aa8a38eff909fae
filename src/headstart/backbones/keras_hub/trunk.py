"""A trunk from a KerasHub backbone: scaling in front, laid flat, cut at several depths.

Where features come out depends on what a network is. Of convolutional ones, and of Swin and MiT, it is the map at
strides 8 and 16 (`stage3`, `stage4`) and the last map, all mean-pooled. Of transformers in columns (ViT, DeiT, DINO,
CLIP, SigLIP) it is what comes out of the block at a quarter, a half and three quarters of the depth, as the mean of
the picture's patches: the class token gathers the picture only in the last blocks. `last` is what the network's own
classifier reads: the class token after the last norm, the mean where there is none or where the preset's task says so,
and of CLIP and SigLIP the picture's vector in the space of texts.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from headstart.backbones.keras_hub import flattening, layer_rules
from headstart.core.errors import DataError
from headstart.core.types import InputSpec
from headstart.networks import blocks, cut_points
from headstart.networks.cut_points import LAST, Cut
from headstart.networks.formats import keras_archive

_COLUMN = (
    *("ViTEncoderBlock", "DeiTEncoderBlock", "DINOV2Layer", "DINOV3Layer", "SigLIPEncoderLayer", "CLIPEncoderLayer"),
    "MetaCLIP2EncoderLayer",
)
_WINDOWS = "SwinTransformerBlock"
_STRIDES = {8: "stage3", 16: "stage4"}
_QUARTERS = (0.25, 0.5, 0.75)
_APART = 1e-3  # of the largest number of the answer; what the order of sums in float32 makes is hundreds of times less


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlatBackbone:
    """A flat trunk.

    Attributes:
        model: `keras.Model`, pictures (B, H, W, 3) float32 RGB 0..255 -> one map (B, h, w, c) a cut.
        cuts: Where they come out, shallow to deep.
    """

    model: Any
    cuts: tuple[Cut, ...]


def lay(backbone: Any, spec: InputSpec, task: Mapping[str, Any]) -> FlatBackbone:
    """Lay a backbone flat.

    Args:
        backbone: `keras_hub.models.Backbone`, with the weights it shall have.
        spec: How pictures go in.
        task: Settings of the preset's own classifier; empty where it has none.

    Raises:
        DataError: It does not take such pictures, or does what cannot be laid flat.
    """
    import keras

    pictures = flattening.pictures(spec.size_px)
    watch = CutCollector(backbone=backbone, side=spec.size_px)
    trace = flattening.LayerTrace(replaced=layer_rules.REPLACED, after=watch.after)
    watch.trace = trace
    with _told(backbone):
        with trace.watching():
            scale = [spec.scale / std for std in spec.std]
            offset = [-mean / std for mean, std in zip(spec.mean, spec.std, strict=True)]
            plain = scale == [1.0] * 3 and offset == [0.0] * 3
            scaling = keras.layers.Rescaling(scale, offset, name="scaling")
            end = _answered(backbone, pictures if plain else trace.call(scaling, pictures), watch)
            watch.maps[LAST] = watch.last(end, task)
        model = flattening.open_batch(pictures, list(watch.maps.values()), "flat")
    model, names = (model, list(watch.maps)) if len(watch.maps) > 1 else _found(model, spec.size_px)
    _require_same(backbone, model, spec)
    return FlatBackbone(model=model, cuts=_cuts(model, names))


@contextlib.contextmanager
def _told(backbone: Any) -> Iterator[None]:
    """What KerasHub and Keras raise on the way becomes a fact about the backbone.

    Raises:
        DataError: They raised something.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The structure of `inputs`")  # names of inputs are KerasHub's own
            yield
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, RuntimeError) as err:
        why = str(err).strip().partition("\n")[0]
        raise DataError(f"`{type(backbone).__name__}` cannot be laid flat: {type(err).__name__}: {why}") from err


def _require_same(backbone: Any, model: Any, spec: InputSpec) -> None:
    """Refuse a flat network that gives another answer than KerasHub itself for one picture of noise.

    A newer KerasHub may have layers with weights of their own that nothing here knows of.

    Raises:
        DataError: Its last map is another.
    """
    side = (1, spec.size_px, spec.size_px, 3)
    noise = np.random.default_rng(0).integers(0, 256, side).astype(np.float32)  # as pictures are
    scaled = ((noise * spec.scale - np.asarray(spec.mean)) / np.asarray(spec.std)).astype(np.float32)
    with _told(backbone):
        wanted = _plain(_whole(backbone, scaled)["end"])
    got = _plain(model(noise, training=False)[-1])
    wanted = wanted[: len(got)]  # of tokens the class token alone, which comes first
    apart = float(np.abs(got - wanted).max()) if got.shape == wanted.shape else math.inf
    if not apart <= _APART * float(np.abs(wanted).max()):
        raise DataError(
            f"`{type(backbone).__name__}` laid flat does not give what KerasHub gives: {apart:.2g} apart",
            hint="export it to ONNX and add that: headstart backbones add FILE",
        )


def _plain(answer: Any) -> np.ndarray:
    """(places, channels) of one picture's map, row of tokens or vector."""
    import keras

    found: np.ndarray = np.asarray(keras.ops.convert_to_numpy(answer), np.float32)
    return found.reshape(-1, found.shape[-1])


def _cuts(model: Any, names: list[str]) -> tuple[Cut, ...]:
    givers = blocks.producing(model)
    return tuple(
        Cut(name=name, layer=givers[id(one)].name, dim=one.shape[-1], side=one.shape[1])
        for name, one in zip(names, model.outputs, strict=True)
    )


def _answered(backbone: Any, pictures: Any, watch: CutCollector) -> Any:
    """What a backbone gives; maps at strides 8 and 16 where it says itself which they are."""
    answers = _whole(backbone, pictures, {} if watch.columns else dict(getattr(backbone, "pyramid_outputs", {})))
    for one in answers["maps"]:
        watch.keep(one)
    return answers["end"]


def _whole(backbone: Any, pictures: Any, pyramid: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """What KerasHub gives for scaled pictures: its `end`, and its `maps` on the way."""
    import keras

    if hasattr(backbone, "get_vision_embeddings"):
        return {"end": backbone.get_vision_embeddings(pictures), "maps": []}
    given = {next(iter(backbone.input)): pictures} if isinstance(backbone.input, dict) else pictures
    answers = keras.Model(backbone.input, {"end": backbone.output, "pyramid": dict(pyramid)}).call(given)
    end, maps = answers["end"], list(answers["pyramid"].values())
    if isinstance(end, dict):  # HGNet gives all of its stages
        maps, end = list(end.values()), list(end.values())[-1]
    return {"end": end, "maps": maps}


@dataclass(kw_only=True, eq=False)
class CutCollector:
    """Takes maps on the way through a backbone."""

    backbone: Any
    side: int

    def __post_init__(self) -> None:
        self.trace: flattening.LayerTrace = flattening.LayerTrace(replaced={})
        self.maps: dict[str, Any] = {}
        self.seen = 0
        tower = getattr(self.backbone, "vision_encoder", self.backbone)
        kinds = [type(one).__name__ for one in tower._flatten_layers()]
        self.columns = sum(kind in _COLUMN for kind in kinds)
        places = {round(part * self.columns): part for part in _QUARTERS}
        self.wanted = {place for place in places if 0 < place < self.columns}
        stages = [one for one in tower._flatten_layers() if type(one).__name__ == "SwinTransformerStage"]
        self.ends = {id(one.blocks[-1]) for one in stages[:-1]}

    def after(self, layer: Any, given: Any) -> Any:
        """Called with what each layer of KerasHub's gave; a block's tokens go on as a map that can be cut."""
        kind = type(layer).__name__
        if kind in _COLUMN:
            self.seen += 1
            if self.seen in self.wanted:
                tokens, *rest = given if isinstance(given, tuple) else (given,)
                through = self._column(tokens, f"block{self.seen}")
                return (through, *rest) if isinstance(given, tuple) else through
        if kind == _WINDOWS and id(layer) in self.ends:
            return self._window(layer, given)
        return given

    def keep(self, tensor: Any) -> None:
        """Take a map (B, h, w, c), if it is of a stride that is wanted."""
        name = _STRIDES.get(round(self.side / tensor.shape[1])) if len(tensor.shape) == 4 else None
        if name:
            self.maps[name] = tensor

    def _window(self, layer: Any, tokens: Any) -> Any:
        import keras

        height, width = layer.input_resolution
        name = _STRIDES.get(round(self.side / height))
        if name is None:
            return tokens
        shape = (height, width, tokens.shape[2])
        self.maps[name] = self.trace.call(keras.layers.Reshape(shape, name=f"{name}_map"), tokens)
        return self.trace.call(keras.layers.Reshape(tokens.shape[1:], name=f"{name}_row"), self.maps[name])

    def _column(self, tokens: Any, name: str) -> Any:
        """Tokens (B, T, D) as a map (B, 1, T, D) that all that follows reads, the patches in it as the depth."""
        import keras

        row = self._row(tokens, name)
        front = tokens.shape[1] - math.prod(self.trace.grid)
        self.maps[name] = self._crop(row, front, 0, name) if front else row
        return self.trace.call(keras.layers.Reshape(tokens.shape[1:], name=f"{name}_row"), row)

    def _row(self, tokens: Any, name: str) -> Any:
        import keras

        return self.trace.call(keras.layers.Reshape((1, *tokens.shape[1:]), name=f"{name}_map"), tokens)

    def _crop(self, row: Any, front: int, back: int, name: str) -> Any:
        import keras

        return self.trace.call(keras.layers.Cropping2D(((0, 0), (front, back)), name=name), row)

    def last(self, end: Any, task: Mapping[str, Any]) -> Any:
        """What the classifier reads, as a map whose mean it is."""
        import keras

        if len(end.shape) == 4:
            return end
        if len(end.shape) == 2:
            return self.trace.call(keras.layers.Reshape((1, 1, end.shape[1]), name="vector"), end)
        row = self._row(end, LAST)
        front = end.shape[1] - math.prod(self.trace.grid) if self.columns else 0
        if not front or task.get("pooling") == "gap":
            return row
        return self._crop(row, 0, end.shape[1] - 1, LAST)


def _found(model: Any, side: int) -> tuple[Any, list[str]]:
    """Maps at strides 8 and 16 told from the graph alone, where a backbone does not say which they are."""
    import keras

    nodes, outputs = keras_archive.nodes(model)
    cuts = {_STRIDES.get(round(side / cut.side)): cut for cut in cut_points.choose(nodes, outputs)[:-1] if cut.side}
    inner = {name: cut.layer for name, cut in sorted(cuts.items(), key=lambda one: -one[1].side) if name}
    by_name = {one.name: one for one in model.operations}
    ends = [by_name[layer].output for layer in inner.values()]
    return keras.Model(model.inputs[0], [*ends, model.outputs[0]]), [*inner, LAST]
