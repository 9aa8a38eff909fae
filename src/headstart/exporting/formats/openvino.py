"""OpenVINO IR: the run's own trunks with the head behind them, one `.xml` and its `.bin`.

In f16 weights are stored in 16 bits and computed in f32. For int8, NNCF quantises each trunk; the head stays f32,
novelty and `unknown` are left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headstart.exporting import openvino_uncertainty
from headstart.exporting.export_source import STRANGE_IN_8_BITS, Exporter, ExportSource, graph_inputs
from headstart.exporting.openvino_uncertainty import float_constant
from headstart.networks.openvino_conversion import quantise_trunk
from headstart.networks.openvino_engine import average_views, load_openvino, save_graph, split_views

_RUNTIME = '''\
def load(path, told):
    """A function from named inputs to named outputs, run by OpenVINO."""
    sys.modules.setdefault("openvino_telemetry", None)  # nothing is sent
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    names = [output.any_name for output in compiled.outputs]

    def run(inputs):
        found = compiled(inputs)
        return {name: found[name] for name in names}

    return run
'''


_FILE = "model.xml"


def write_graph(source: ExportSource, folder: Path, precision: str, pictures: list[np.ndarray], metadata: str) -> None:
    """Write `model.xml` and its `.bin`; the graph takes pictures as the run's trunks do: uint8 or float32."""
    with tempfile.TemporaryDirectory(dir=source.draft) as place:
        graph = _build_graph(source, _trunk_files(source, Path(place), precision, pictures))
        graph.set_rt_info(metadata, ["headstart"])
        save_graph(graph, folder / _FILE, half_precision=precision == "f16")


def _trunk_files(source: ExportSource, place: Path, precision: str, pictures: list[np.ndarray]) -> list[Path]:
    files = [source.model.folder / entry.ir for entry in source.manifest.trunks]
    if precision != "int8":
        return files
    entries = graph_inputs(source.manifest)
    for at, entry in enumerate(source.manifest.trunks):
        (place / f"trunk{at}").mkdir()
        calibration = next(shown for each, shown in zip(entries, pictures, strict=True) if entry.name in each.trunks)
        side = entry.input.size_px
        quantise_trunk(files[at], calibration.reshape(-1, side, side, 3), place / f"trunk{at}")
        files[at] = place / f"trunk{at}" / "trunk.xml"
    return files


def _build_graph(source: ExportSource, files: list[Path]) -> Any:
    """One `openvino.Model`: pictures -> `probabilities` (B, C), and uncertainty."""
    ov = load_openvino()
    from openvino import opset13 as ops

    entries = graph_inputs(source.manifest)
    parameters = {}
    for graph_input in entries:
        parameters[graph_input.name] = ops.parameter(
            [-1, *graph_input.spec.shape],
            np.dtype(graph_input.spec.dtype).type,
            name=graph_input.name,
        )
        parameters[graph_input.name].output(0).set_names({graph_input.name})
    features: dict[tuple[str, str], Any] = {}
    for entry, file in zip(source.manifest.trunks, files, strict=True):
        trunk = ov.Core().read_model(file)
        pictures = parameters[next(graph_input.name for graph_input in entries if entry.name in graph_input.trunks)]
        views = entry.input.views
        views_of_pictures = split_views(pictures, entry.input.size_px) if views > 1 else pictures
        for target in trunk.input(0).get_target_inputs():
            target.replace_source_output(views_of_pictures.output(0))
        for depth, output in zip(entry.depths, trunk.outputs, strict=True):
            vectors = output.node.input_value(0)
            features[entry.name, depth.name] = average_views(vectors, views) if views > 1 else vectors
    blocks = [features[feature.backbone, feature.depth] for feature in source.manifest.features]
    joined = ops.concat(blocks, 1) if len(blocks) > 1 else blocks[0]
    arrays, temperature = source.model.arrays, source.manifest.calibration.temperature
    p, doubt = _HEADS[source.manifest.head.kind](joined, arrays, temperature), source.manifest.doubt
    out = {source.output: p}
    if source.with_uncertainty and doubt:
        out |= openvino_uncertainty.uncertainty_outputs(joined, p, doubt, source.model.uncertainty_arrays)
    for name, node in out.items():
        node.output(0).set_names({name})
    return ov.Model([ops.result(node, name=name) for name, node in out.items()], list(parameters.values()), "headstart")


# ---------------------------------------------------------------- heads


def _linear_head(x: Any, arrays: Mapping[str, np.ndarray], temperature: float) -> Any:
    from openvino import opset13 as ops

    return ops.softmax(_number_head(x, arrays, temperature), 1)


def _labels_head(x: Any, arrays: Mapping[str, np.ndarray], temperature: float) -> Any:
    from openvino import opset13 as ops

    return ops.sigmoid(_number_head(x, arrays, temperature))


def _number_head(x: Any, arrays: Mapping[str, np.ndarray], temperature: float) -> Any:
    from openvino import opset13 as ops

    weights, bias = (np.asarray(arrays[name], np.float64) / temperature for name in ("weights", "bias"))
    return ops.add(ops.matmul(x, float_constant(weights), False, False), float_constant(bias[None]))


def _neighbours_head(x: Any, arrays: Mapping[str, np.ndarray], temperature: float) -> Any:
    from openvino import opset13 as ops

    points = np.asarray(arrays["points"], np.float64)
    z = ops.divide(ops.subtract(x, float_constant(arrays["centre"][None])), float_constant(arrays["scale"][None]))
    lengths = np.einsum("md,md->m", points, points)
    far = ops.subtract(float_constant(lengths[None]), ops.matmul(z, float_constant(2 * points.T), False, False))
    k = ops.constant(np.asarray(min(int(arrays["k"]), len(points)), np.int64))
    places = ops.topk(far, k, 1, "min", "value", stable=True).output(1)
    table = np.eye(len(arrays["prior"]))[arrays["labels"]] * np.asarray(arrays["vote"], np.float64)
    votes = ops.gather(float_constant(table), places, ops.constant(np.int64(0)))
    counted = ops.add(ops.reduce_sum(votes, ops.constant(np.array([1])), False), float_constant(arrays["prior"][None]))
    shares = ops.divide(counted, ops.reduce_sum(counted, ops.constant(np.array([1])), True))
    if temperature == 1.0:
        return shares
    floor = ops.maximum(shares, float_constant(np.full((1, 1), np.finfo(np.float32).tiny)))
    return ops.softmax(ops.divide(ops.log(floor), float_constant(np.full((1, 1), temperature))), 1)


_HEADS = {
    "linear": _linear_head,
    "linear_sigmoid": _labels_head,
    "linear_identity": _number_head,
    "neighbours": _neighbours_head,
}
PLUGIN = Exporter(
    name="openvino",
    file=_FILE,
    packages=("openvino",),
    making=("openvino",),
    frozen=True,
    cannot={"int8 uncertainty": STRANGE_IN_8_BITS},
    runtime=_RUNTIME,
    write=write_graph,
)
