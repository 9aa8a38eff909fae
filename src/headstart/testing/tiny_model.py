"""A saved model made by hand: a real OpenVINO graph and a linear head, no weights needed.

Its features are the mean red, green and blue of a picture (`shallow`) and of its upper half (`deep`), and it answers
`blue`, `green` or `red`, so that what it must say is known without asking it. With the task `multilabel` it answers
with those whose mean is above 120.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import model_manifest
from headstart.core.storage.hashing import file_digest
from headstart.core.types import MULTILABEL, Feature, FeatureLevel, InputSpec
from headstart.networks.openvino_engine import load_openvino, save_graph

CLASSES = ("blue", "green", "red")
DEPTHS = (FeatureLevel(name="shallow", dim=3), FeatureLevel(name="deep", dim=3))


def write_tiny_model(folder: Path, **changes: Any) -> Path:
    """Write the model into a new folder, with other fields of the manifest by `changes`."""
    trunk = write_tiny_trunk(folder, "trunk0", size_px=32)
    manifest = model_manifest.Manifest(
        format=model_manifest.FORMAT,
        headstart="0",
        task="classification",
        class_names=CLASSES,
        trunks=(trunk,),
        features=tuple(Feature(backbone=trunk.name, depth=depth.name, dim=3) for depth in reversed(DEPTHS)),
        head=_write_head(folder, labels=changes.get("task") == MULTILABEL.name),
        decision=model_manifest.Decision(positive="", threshold=None, costs=None),
        calibration=model_manifest.Calibration(temperature=1.0),
    )
    model_manifest.write_manifest(dataclasses.replace(manifest, **changes), folder)
    return folder


def write_tiny_trunk(folder: Path, below: str, *, size_px: int) -> model_manifest.TrunkEntry:
    """Write a trunk `tiny:<size_px>` into a sub-folder of a model and return its entry."""
    (folder / below).mkdir(parents=True)
    write_tiny_graph(folder / below / "trunk.xml", size_px)
    return model_manifest.TrunkEntry(
        name=f"tiny:{size_px}",
        revision="1",
        input=InputSpec(size_px=size_px),
        depths=DEPTHS,
        precision="f32",
        licence="Apache-2.0",
        licence_note="",
        ir=f"{below}/trunk.xml",
        files=model_manifest.entry_files(folder, below),
    )


def write_tiny_graph(path: Path, size_px: int) -> None:
    """Write the graph alone: (B, size_px, size_px, 3) uint8 -> two outputs (B, 3) float32."""
    ov = load_openvino()
    from openvino import opset13 as ops

    pictures = ops.parameter([-1, size_px, size_px, 3], np.uint8, name="pictures")
    floats = ops.convert(pictures, np.float32)
    upper = ops.slice(floats, [0], [size_px // 2], [1], axes=[1])
    means = [ops.reduce_mean(x, np.array([1, 2]), keep_dims=False) for x in (floats, upper)]
    save_graph(ov.Model(means, [pictures], "tiny"), path)


def _write_head(folder: Path, *, labels: bool) -> model_manifest.HeadEntry:
    from safetensors.numpy import save_file

    weights = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]] * 2, np.float32) / 20
    path, bias = folder / "head.safetensors", np.full(3, -12 if labels else 0, np.float32)
    save_file({"weights": weights, "bias": bias}, path)
    name, kind = ("binary_logistic", "linear_sigmoid") if labels else ("ridge", "linear")
    return model_manifest.HeadEntry(name=name, kind=kind, arrays=path.name, sha256=file_digest(path))
