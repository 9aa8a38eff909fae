"""A trunk from a KerasHub backbone: scaling in front, laid flat, cut at several feature levels.

Of convolutional networks, Swin and MiT these are the maps at strides 8 and 16 (`stage3`, `stage4`) and the last, all
mean-pooled. Of transformers in columns it is the mean of the patches after a quarter, a half and three quarters of the
blocks: the class token gathers the picture only in the last. `last` is what the network's own classifier reads: the
class token after the last norm, the mean where there is none or the preset's task says so, and of CLIP and SigLIP the
picture's vector in the space of texts.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from headstart.backbones.keras_hub import flattening, layer_rules
from headstart.core.errors import DataError
from headstart.core.types import InputSpec
from headstart.networks import blocks, cut_points
from headstart.networks.cut_points import LAST, Cut
from headstart.networks.formats import keras_archive
from headstart.networks.nested_layers import list_nested_layers

_TOKEN_BLOCKS = (
    *("ViTEncoderBlock", "DeiTEncoderBlock", "DINOV2Layer", "DINOV3Layer", "SigLIPEncoderLayer", "CLIPEncoderLayer"),
    "MetaCLIP2EncoderLayer",
)
_WINDOW_BLOCK = "SwinTransformerBlock"
_STRIDES = {8: "stage3", 16: "stage4"}
_QUARTERS = (0.25, 0.5, 0.75)
_TOLERANCE = 1e-3  # of the answer's largest number; the order of sums in float32 makes hundreds of times less


def flatten_backbone(backbone: Any, spec: InputSpec, task: Mapping[str, Any]) -> tuple[Any, tuple[Cut, ...]]:
    """Lay a `keras_hub.models.Backbone` flat, with its weights; `task` has the settings of the preset's own classifier.

    Gives the `keras.Model` from pictures (B, H, W, 3) float32 RGB 0..255 to one map (B, h, w, c) a cut, and the cuts,
    shallow to deep. `DataError` where it does not take such pictures, or does what cannot be laid flat.
    """
    scaled_pictures = flattening.make_input(spec.size_px)
    collector = CutCollector(backbone, spec.size_px)
    with _convert_errors(backbone):
        end = _run_backbone(backbone, scaled_pictures, collector)
        collector.maps[LAST] = collector.make_last_map(end, task)
        maps = list(collector.maps.values())
        model = flattening.open_batch(scaled_pictures, maps, lambda pictures: _scale(pictures, spec), "flat")
    names = list(collector.maps)
    if len(names) == 1:
        model, names = _find_stages(model, spec.size_px)
    _require_same_answer(backbone, model, spec)
    producers = blocks.map_producers(model)
    cuts = tuple(
        Cut(name=name, layer=producers[id(output)].name, dim=output.shape[-1], side=output.shape[1])
        for name, output in zip(names, model.outputs, strict=True)
    )
    return model, cuts


def _scale(pictures: Any, spec: InputSpec) -> Any:
    import keras

    scale = [spec.scale / std for std in spec.std]
    offset = [-mean / std for mean, std in zip(spec.mean, spec.std, strict=True)]
    if scale == [1.0] * 3 and offset == [0.0] * 3:
        return pictures
    return keras.layers.Rescaling(scale, offset, name="scaling")(pictures)


@contextlib.contextmanager
def _convert_errors(backbone: Any) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            for beginning in ("The structure of `inputs`", "When providing `inputs` as a dict"):
                warnings.filterwarnings("ignore", beginning)  # names of inputs are KerasHub's own
            yield
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, RuntimeError) as err:
        why = str(err).strip().partition("\n")[0]
        raise DataError(f"`{type(backbone).__name__}` cannot be laid flat: {type(err).__name__}: {why}") from err


def _require_same_answer(backbone: Any, model: Any, spec: InputSpec) -> None:
    """Refuse a flat network whose answer to noise is not KerasHub's: a newer one may have layers unknown here."""
    shape = (1, spec.size_px, spec.size_px, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)  # as pictures are
    scaled = ((noise * spec.scale - np.asarray(spec.mean)) / np.asarray(spec.std)).astype(np.float32)
    with _convert_errors(backbone):
        if hasattr(backbone, "get_vision_embeddings"):
            answer = backbone.get_vision_embeddings(scaled)
        else:
            answer = _split_maps(backbone.call(_name_inputs(backbone, scaled)))[1]
    actual, expected = (
        layer_rules.to_numpy(values).reshape(-1, values.shape[-1])  # (places, channels)
        for values in (model(noise, training=False)[-1], answer)
    )
    expected = expected[: len(actual)]  # of tokens the class token alone, which comes first
    difference = float(np.abs(actual - expected).max()) if actual.shape == expected.shape else math.inf
    if not difference <= _TOLERANCE * float(np.abs(expected).max()):
        what = f"`{type(backbone).__name__}` laid flat does not give what KerasHub gives: {difference:.2g} apart"
        raise DataError(what, hint="export it to ONNX and add that: headstart backbones add FILE")


def _run_backbone(backbone: Any, scaled_pictures: Any, collector: CutCollector) -> Any:
    """The symbolic end of a backbone; maps at strides 8 and 16 go to the collector where it says which they are."""
    import keras

    trace = collector.trace
    if hasattr(backbone, "get_vision_embeddings"):
        return flattening.LayerView(backbone, trace).get_vision_embeddings(scaled_pictures)
    pyramid = {} if collector.n_blocks else dict(getattr(backbone, "pyramid_outputs", {}))
    graph = keras.Model(backbone.input, {"end": backbone.output, "pyramid": pyramid})
    answers = trace.run_graph(graph, _name_inputs(backbone, scaled_pictures))
    stages, end = _split_maps(answers["end"])
    for tensor in stages or answers["pyramid"].values():
        collector.add_map(tensor)
    return end


def _name_inputs(backbone: Any, pictures: Any) -> Any:
    return {next(iter(backbone.input)): pictures} if isinstance(backbone.input, dict) else pictures


def _split_maps(output: Any) -> tuple[list[Any], Any]:
    """All stages and the last of them, where a backbone gives all (HGNet); else none and what it gives."""
    stages = list(output.values()) if isinstance(output, dict) else []
    return stages, stages[-1] if stages else output


class CutCollector:
    """Collects symbolic maps (BATCH, h, w, c) by feature level; `n_blocks` counts transformer blocks in a column."""

    def __init__(self, backbone: Any, side: int) -> None:
        self.trace = flattening.LayerTrace(replaced=layer_rules.REPLACED, after=self.after)
        self.maps: dict[str, Any] = {}
        self._side, self._blocks_done = side, 0
        layers = list_nested_layers(getattr(backbone, "vision_encoder", backbone))
        self.n_blocks = sum(type(layer).__name__ in _TOKEN_BLOCKS for layer in layers)
        numbers = {round(part * self.n_blocks) for part in _QUARTERS}
        self._cut_blocks = {number for number in numbers if 0 < number < self.n_blocks}
        stages = [layer for layer in layers if type(layer).__name__ == "SwinTransformerStage"]
        self._stage_ends = {id(stage.blocks[-1]) for stage in stages[:-1]}

    def after(self, layer: Any, outputs: Any) -> Any:
        """Called with what each layer of KerasHub's gave; a block's tokens go on as a map that can be cut."""
        kind = type(layer).__name__
        if kind in _TOKEN_BLOCKS:
            self._blocks_done += 1
            if self._blocks_done in self._cut_blocks:
                tokens, *rest = outputs if isinstance(outputs, tuple) else (outputs,)
                tokens = self._cut_tokens(tokens, f"block{self._blocks_done}")
                return (tokens, *rest) if isinstance(outputs, tuple) else tokens
        if kind == _WINDOW_BLOCK and id(layer) in self._stage_ends:
            return self._cut_windows(layer, outputs)
        return outputs

    def add_map(self, tensor: Any) -> None:
        """Take a map (B, h, w, c), if it is of a stride that is wanted."""
        name = _STRIDES.get(round(self._side / tensor.shape[1])) if len(tensor.shape) == 4 else None
        if name:
            self.maps[name] = tensor

    def _cut_windows(self, layer: Any, tokens: Any) -> Any:
        import keras

        height, width = layer.input_resolution
        name = _STRIDES.get(round(self._side / height))
        if name is None:
            return tokens
        self.maps[name] = keras.layers.Reshape((height, width, tokens.shape[2]), name=f"{name}_map")(tokens)
        return keras.layers.Reshape(tokens.shape[1:], name=f"{name}_row")(self.maps[name])

    def _cut_tokens(self, tokens: Any, name: str) -> Any:
        """Tokens (B, T, D) as a map (B, 1, T, D) that all that follows reads, the patches in it as the level."""
        import keras

        row = keras.layers.Reshape((1, *tokens.shape[1:]), name=f"{name}_map")(tokens)
        front = tokens.shape[1] - math.prod(self.trace.grid)
        self.maps[name] = keras.layers.Cropping2D(((0, 0), (front, 0)), name=name)(row) if front else row
        return keras.layers.Reshape(tokens.shape[1:], name=f"{name}_row")(row)

    def make_last_map(self, end: Any, task: Mapping[str, Any]) -> Any:
        """What the classifier reads, as a map whose mean it is."""
        import keras

        if len(end.shape) == 4:
            return end
        if len(end.shape) == 2:
            return keras.layers.Reshape((1, 1, end.shape[1]), name="vector")(end)
        row = keras.layers.Reshape((1, *end.shape[1:]), name=f"{LAST}_map")(end)
        front = end.shape[1] - math.prod(self.trace.grid) if self.n_blocks else 0
        if not front or task.get("pooling") == "gap":
            return row
        return keras.layers.Cropping2D(((0, 0), (0, end.shape[1] - 1)), name=LAST)(row)


def _find_stages(model: Any, side: int) -> tuple[Any, list[str]]:
    """Maps at strides 8 and 16 told from the graph alone, where a backbone does not say which they are."""
    import keras

    cuts = cut_points.choose_cuts(*keras_archive.list_nodes(model))[:-1]
    by_stride = {_STRIDES.get(round(side / cut.side)): cut for cut in cuts if cut.side}
    by_depth = sorted(by_stride.items(), key=lambda item: -item[1].side)
    layers = {name: cut.layer for name, cut in by_depth if name}
    by_name = {operation.name: operation for operation in model.operations}
    ends = [by_name[layer].output for layer in layers.values()]
    return keras.Model(model.inputs[0], [*ends, model.outputs[0]]), [*layers, LAST]
