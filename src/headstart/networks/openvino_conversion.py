"""A Keras trunk as OpenVINO files, and the proof that both give the same vectors.

Whatever the backend, Keras' own exporter converts the graph; the input becomes uint8 and the weights stay float32.
Parity on real pictures is asserted per output: max|a-b| / max|b| <= 1e-4 and cosine >= 0.99999.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import extras
from headstart.core.errors import SetupError
from headstart.core.provenance import list_versions
from headstart.core.settings import INFERENCE_BATCH
from headstart.core.storage.files import write_json
from headstart.core.types import BackboneSpec
from headstart.networks import openvino_engine
from headstart.networks.devices import CPU, Device, run_on
from headstart.networks.framework_state import silence_frameworks

PARITY_MAX = 1e-4
PARITY_COSINE = 0.99999
CALIBRATION = 256  # pictures NNCF sees at most
_BATCH = 8


def convert_trunk(
    model: Any, spec: BackboneSpec, pictures: np.ndarray, folder: Path, *, maps: Sequence[str] = ()
) -> None:
    """Write `trunk.xml`, `trunk.bin` and `parity.json`.

    Args:
        model: The frozen `keras.Model`: an unpooled output (B, h, w, c) for each of `maps`, then one (B, D) a depth.
        pictures: (n, H, W, 3) uint8 or float32 0..255, real ones; the first eight are used.

    Raises:
        SetupError: The backend cannot export, or the engines disagree.
    """
    names = [*maps, *(depth.name for depth in spec.depths)]
    probes = pictures[:_BATCH]
    raw, expected = _export_graph(model, spec, probes)
    openvino_engine.save_graph(_prepare_graph(raw, model, spec, names), folder / "trunk.xml")
    prove_parity(folder, spec, names, probes, expected, f"keras {openvino_engine.keras_backend()}")


def prove_parity(
    folder: Path,
    spec: BackboneSpec,
    names: Sequence[str],
    probes: np.ndarray,
    expected: Sequence[np.ndarray],
    other: str,
) -> None:
    """Hold `trunk.xml` on pictures (n, H, W, 3) against `other`'s vectors (n, D) an output, and write `parity.json`."""
    engine = openvino_engine.Engine(folder / "trunk.xml", threads=1, dtype=str(probes.dtype))
    vectors = next(v for _, v in engine.run([(None, probes)]))
    differences = {name: compare_vectors(a, b) for name, a, b in zip(names, vectors, expected, strict=True)}
    require_parity(spec, differences, other)
    facts = {"compared_with": other, "pictures": len(probes), "versions": list_versions()}
    write_json(folder / "parity.json", {**facts, "depths": differences})


def _export_graph(model: Any, spec: BackboneSpec, probes: np.ndarray) -> tuple[Any, list[np.ndarray]]:
    """The graph as OpenVINO reads it, and what Keras answers to probes (n, H, W, 3): traced once for both."""
    backend = openvino_engine.keras_backend()
    try:
        if backend == "tensorflow":
            return _trace_graph(model, probes)
        with tempfile.TemporaryDirectory() as place, openvino_engine.without_telemetry():
            path = Path(place) / "keras.xml"
            model.export(str(path), format="openvino", verbose=False)
            raw = openvino_engine.load_openvino().Core().read_model(path)
    except (ImportError, NotImplementedError, RuntimeError, ValueError, TypeError) as err:
        problem = f"Keras on {backend} cannot export `{spec.name}`"
        hint = "KERAS_BACKEND=tensorflow, which is the default"
        raise SetupError(f"{problem}: {type(err).__name__}: {err}", hint=hint) from err
    return raw, list(next(vectors for _, vectors in KerasEngine(model).run([(None, probes)])))


def _trace_graph(model: Any, probes: np.ndarray) -> tuple[Any, list[np.ndarray]]:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    pictures = tf.TensorSpec(model.inputs[0].shape, tf.float32, name="pictures")
    function = tf.function(lambda batch: model(batch, training=False), autograph=False)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(pictures))
    with tempfile.TemporaryDirectory() as place:  # from a file OpenVINO reads it without Python, in linear time
        path = Path(place) / "keras.pb"
        path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
        with openvino_engine.without_telemetry():
            raw = openvino_engine.load_openvino().convert_model(path, output=[output.name for output in frozen.outputs])
    return raw, [np.asarray(values) for values in frozen(tf.constant(probes, tf.float32))]


def _prepare_graph(raw: Any, model: Any, spec: BackboneSpec, names: Sequence[str]) -> Any:
    """The graph from uint8 pictures to the named outputs, each of the width that the spec tells."""
    ov = openvino_engine.load_openvino()
    # Behind the wanted outputs TensorFlow's frontend lists every custom-gradient node (swish), full maps all.
    kept = ov.Model([output.get_node() for output in raw.outputs[: len(names)]], raw.get_parameters(), "trunk")
    prepared = ov.preprocess.PrePostProcessor(kept)
    prepared.input(0).tensor().set_element_type(ov.Type.u8)
    prepared.input(0).preprocess().convert_element_type(ov.Type.f32)
    converted = prepared.build()
    side = spec.input.size_px
    converted.reshape({0: [-1, side, side, 3]})
    widths = {depth.name: (depth.dim,) for depth in spec.depths}
    for output, name, kept in zip(converted.outputs, names, model.outputs, strict=True):
        output.tensor.set_names({name})
        expected = widths.get(name, tuple(kept.shape[1:]))
        if tuple(output.partial_shape)[1:] != expected:
            raise SetupError(f"`{spec.name}` has {output.partial_shape} at {name}, expected {expected}")
    return converted


def compare_vectors(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """How far vectors (n, D) are from expected ones: the largest difference over the largest value, the lowest cosine.

    Vectors that are all zero on both sides count as equal; a feature map (n, h, w, c) counts as one vector.
    """
    a, b = (values.reshape(len(values), -1).astype(np.float64) for values in (a, b))
    largest = float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.where(lengths > 0, (a * b).sum(1) / np.maximum(lengths, 1e-30), (a == b).all(1))
    return {"max_relative": largest, "min_cosine": float(cosines.min())}


def require_parity(spec: BackboneSpec, rows: Mapping[str, Mapping[str, float]], other: str = "Keras") -> None:
    """Refuse, by a SetupError, a trunk with other vectors; `rows`: depth -> what `compare_vectors` gives."""
    for name, row in rows.items():
        # Written so that NaN fails.
        if not (row["max_relative"] <= PARITY_MAX and row["min_cosine"] >= PARITY_COSINE):
            raise SetupError(
                f"OpenVINO and {other} disagree on `{spec.name}` at {name}: largest difference "
                f"{row['max_relative']:.2e} of the largest value (limit {PARITY_MAX:.0e}), lowest cosine "
                f"{row['min_cosine']:.7f} (limit {PARITY_COSINE})",
                hint="headstart doctor shows both versions; another OpenVINO version may be right",
            )


def quantise_trunk(source: Path, pictures: np.ndarray, folder: Path) -> None:
    """An int8 version of a trunk, calibrated on up to 256 pictures (n, H, W, 3); SetupError without NNCF."""
    ov = openvino_engine.load_openvino()
    try:
        with openvino_engine.without_telemetry(), redirect_stdout(sys.stderr):  # its log is no result
            import nncf
    except ImportError as err:
        hint = extras.format_install_command("int8")
        raise SetupError("precision `int8` needs NNCF, which is not installed", hint=hint) from err
    used = pictures[:CALIBRATION]
    model, dtype = ov.Core().read_model(source), str(used.dtype)
    openvino_engine.set_input_type(model, dtype)
    with silence_frameworks(), os.fdopen(os.dup(2), "w", encoding="utf-8") as bars, redirect_stdout(bars):
        quantised = nncf.quantize(model, nncf.Dataset([picture[None] for picture in used]), subset_size=len(used))
    openvino_engine.save_graph(quantised, folder / "trunk.xml")
    batches = [(at, used[at : at + _BATCH]) for at in range(0, len(used), _BATCH)]
    both = [
        list(zip(*(v for _, v in openvino_engine.Engine(path, threads=1, dtype=dtype).run(batches)), strict=True))
        for path in (folder / "trunk.xml", source)
    ]
    names = [output.get_any_name() for output in model.outputs]
    rows = [compare_vectors(np.concatenate(a), np.concatenate(b)) for a, b in zip(*both, strict=True)]
    facts = {"compared_with": "openvino f32", "pictures": len(used), "versions": list_versions(("openvino", "nncf"))}
    write_json(folder / "parity.json", {**facts, "depths": dict(zip(names, rows, strict=True))})


class KerasEngine:
    """The trunk run by Keras, as `openvino_engine.Engine` does; short batches are padded to one size."""

    def __init__(self, model: Any, device: Device = CPU) -> None:
        self.model, self.device, self.batch = model, device, INFERENCE_BATCH

    def run(self, batches: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, tuple[np.ndarray, ...]]]:
        """See `headstart.networks.openvino_engine.Engine.run`; several views of a picture lie one below the other."""
        for key, pictures in batches:
            count, side = len(pictures), pictures.shape[2]
            views = pictures.reshape(-1, side, side, 3)
            parts = [self._predict_padded(views[at : at + self.batch]) for at in range(0, len(views), self.batch)]
            outputs = [np.concatenate(vectors) for vectors in zip(*parts, strict=True)]
            yield key, tuple(x.reshape(count, -1, *x.shape[1:]).mean(axis=1) for x in outputs)

    def _predict_padded(self, pictures: np.ndarray) -> list[np.ndarray]:
        padded = np.zeros((self.batch, *pictures.shape[1:]), np.float32)
        padded[: len(pictures)] = pictures
        with run_on(self.device):
            outputs = self.model.predict_on_batch(padded)  # Keras unpacks a list of one
        parts = outputs if isinstance(outputs, list) else [outputs]
        return [np.asarray(part, np.float32)[: len(pictures)] for part in parts]
