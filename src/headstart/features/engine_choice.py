"""Which engine embeds: OpenVINO on the processor, or Keras on a GPU.

`auto` times both on the first pictures and takes the faster one, if the vectors agree within the parity of
`headstart.networks.openvino_conversion`. The choice is a decision of the run. Vectors of the two do not mix: the engine
is a part of what they are cached by. Without a GPU nothing is measured and nothing recorded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones import loading
from headstart.core.errors import SetupError
from headstart.core.settings import INFERENCE_BATCH, count_threads
from headstart.images.preprocessing import decode_batches
from headstart.networks import devices, openvino_engine
from headstart.networks.devices import Device

if TYPE_CHECKING:
    from headstart.backbones.resolved_backbone import ResolvedBackbone
    from headstart.core.run.context import Context
    from headstart.core.types import Dataset

_PICTURES = 64  # the first ones
_MEASURE_S = 0.5  # each
_SAMPLE = 8  # on which a new trunk is compared with Keras


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """An engine by its name, and the device it runs on."""

    name: str
    device: Device = devices.CPU


def choose_engine(
    data: Dataset, backbone: ResolvedBackbone, rows: np.ndarray, *, ctx: Context, precision: str = "f32"
) -> EngineChoice:
    """What embeds rows (M,) by a backbone in this run; `int8` and graphs of other programs stay on the processor.

    Raises:
        SetupError: The run needs a GPU that is not here, or its vectors are not within the parity.
    """
    device = devices.choose_device(ctx)
    on_processor = EngineChoice(name=openvino_engine.engine_name())
    if not device.is_gpu or precision != "f32" or not len(rows):
        return on_processor
    if backbone.frozen_reason:
        ctx.console.print_line("engine", f"{backbone.name}: on the processor; {backbone.frozen_reason}")
        return on_processor
    on_device = EngineChoice(name=devices.engine_name(device), device=device)
    name, why = f"engine/{backbone.name}", "the faster engine of those whose vectors agree; pictures a second, decoded"
    decision = ctx.record_decision(name, lambda: _measure_engines(data, backbone, rows, device, ctx), why)
    for choice in (on_processor, on_device):
        if choice.name == decision["engine"]:
            return choice
    raise SetupError(
        f"the run embedded with `{decision['engine']}`, which is not here: there is {on_device.name}",
        where=str(ctx.run.path),
        hint="end it with that version, or begin another run with --out",
    )


def _measure_engines(
    data: Dataset, backbone: ResolvedBackbone, rows: np.ndarray, device: Device, ctx: Context
) -> dict[str, Any]:
    processor, name = openvino_engine.engine_name(), devices.engine_name(device)
    ctx.console.print_line("engine", f"{backbone.name}: made ready on {device.name}, to be compared")
    keras = loading.load_device_engine(backbone, ctx.store, ctx.console, device)
    if openvino_engine.find_openvino_version() is None:
        return {"engine": name}
    pictures = _decode_first(data, backbone, rows)
    sample = np.resize(pictures, (_SAMPLE, *pictures.shape[1:]))
    openvino = loading.load_engine(backbone, ctx.store, ctx.console, sample, threads=count_threads())
    disagreement = _find_disagreement(backbone, keras, openvino, pictures, device)
    if disagreement and ctx.job.device == "gpu":
        raise disagreement
    paces = {processor: _measure_pace(openvino, pictures), name: _measure_pace(keras, pictures)}
    is_taken = ctx.job.device == "gpu" or (disagreement is None and paces[name] > paces[processor])
    chosen = name if is_taken else processor
    reason = f"; {disagreement.what}" if disagreement else ""
    figures = ", ".join(f"{pace:,.0f}/s by {engine}" for engine, pace in paces.items())
    ctx.console.print_line("engine", f"{backbone.name}: {figures}; {chosen} embeds{reason}")
    return {"engine": chosen, "images_per_s": {engine: round(pace, 1) for engine, pace in paces.items()}}


def _decode_first(data: Dataset, backbone: ResolvedBackbone, rows: np.ndarray) -> np.ndarray:
    first = rows[:_PICTURES]
    spec, threads = data.adapt_input(backbone.spec.input), count_threads()
    batches = decode_batches(data.root, data.uris, first, spec, batch=len(first), threads=threads, digests=data.digests)
    return next(batches)[1]


def _find_disagreement(
    backbone: ResolvedBackbone, keras: Any, openvino: Any, pictures: np.ndarray, device: Device
) -> SetupError | None:
    from headstart.networks.openvino_conversion import compare_vectors, require_parity

    answers = [list(engine.run(_cut_batches(pictures))) for engine in (keras, openvino)]
    columns = [zip(*(vectors for _, vectors in answer), strict=True) for answer in answers]
    rows = {
        depth.name: compare_vectors(np.concatenate(theirs), np.concatenate(ours))
        for depth, theirs, ours in zip(backbone.spec.depths, *columns, strict=True)
    }
    try:
        require_parity(backbone.spec, rows, f"Keras on {device.name}")
    except SetupError as err:
        return err
    return None


def _measure_pace(engine: Any, pictures: np.ndarray) -> float:
    """Pictures a second of an engine that has run already; at least once through all of them."""
    count, started = 0, time.perf_counter()
    for _, vectors in engine.run(_repeat_batches(pictures, started + _MEASURE_S)):
        count += len(vectors[0])
    return count / (time.perf_counter() - started)


def _repeat_batches(pictures: np.ndarray, until: float) -> Iterator[tuple[int, np.ndarray]]:
    yield from _cut_batches(pictures)
    while time.perf_counter() < until:
        yield from _cut_batches(pictures)


def _cut_batches(pictures: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(pictures), INFERENCE_BATCH):
        yield start, pictures[start : start + INFERENCE_BATCH]
