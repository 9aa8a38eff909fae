"""The stage `export`: the run's model as a folder that answers with numpy, Pillow and OpenVINO alone.

Only the trunks and depths that the head reads are taken. The folder is written beside its place, loaded back by the
runtime and compared with the run on real pictures, and only then moved into place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart import __version__
from headstart.core import model_manifest
from headstart.core.errors import SetupError
from headstart.core.model_manifest import Calibration, HeadEntry, Manifest, TrunkEntry
from headstart.core.storage import serialization
from headstart.core.storage.files import translate_disk_errors, write_bytes
from headstart.core.storage.hashing import file_digest
from headstart.core.types import Exported, InputSpec
from headstart.exporting.parity import TOLERANCE, measure_scale
from headstart.features.feature_matrix import predict_rows
from headstart.heads.decision_rule import make_decision
from headstart.images.preprocessing import make_change_error
from headstart.statistics.sampling import evenly_spaced
from headstart.uncertainty import selective_prediction
from headstart.uncertainty.temperature import apply_temperature

if TYPE_CHECKING:
    from headstart.core.run.context import Context
    from headstart.core.types import (
        BackboneSpec,
        Dataset,
        Embeddings,
        Evaluation,
        FitResult,
        FittedHead,
        UncertaintyReport,
    )

COMPARED = 8  # pictures
HEAD_FILE, DOUBT_FILE = "head.safetensors", "doubt.safetensors"


def export_runtime_model(
    data: Dataset,
    embeddings: tuple[Embeddings, ...],
    fit_result: FitResult,
    evaluation: Evaluation,
    *,
    ctx: Context,
    uncertainty: UncertaintyReport | None = None,
) -> Exported:
    """Write `<run>/model/`, load it back and compare it with the run.

    `embeddings` are of all pictures; without `uncertainty` the model always answers.

    Raises:
        SetupError: The saved model and the run differ by more than 1e-4, or the disk refuses.
    """
    with translate_disk_errors(ctx.run.path):
        draft = ctx.run.path / ".model-draft"  # ours alone: one process owns a run
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            with translate_disk_errors(draft):  # before the draft makes room again
                _write_model(draft, data, embeddings, fit_result, evaluation, uncertainty, ctx)
            worst = _require_parity(draft, data, embeddings, fit_result)
            size = sum(p.stat().st_size for p in draft.rglob("*") if p.is_file())
            shutil.rmtree(ctx.run.path / "model", ignore_errors=True)
            os.replace(draft, ctx.run.path / "model")  # noqa: PTH105
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    exported = Exported(format="openvino", path="model", bytes=size, precision="f32", parity_max_abs=worst)
    serialization.save_value(exported, ctx.make_step_folder("export"))
    count = len({feature.backbone for feature in fit_result.features})
    trunks = f"{count} trunk{'s' if count > 1 else ''}, {size / 1e6:.1f} MB"
    ctx.console.print_line("export", f"model/: {trunks}; differs from the run by {worst:.1e} at most")
    return exported


def _write_model(
    draft: Path,
    data: Dataset,
    embeddings: tuple[Embeddings, ...],
    fit_result: FitResult,
    evaluation: Evaluation,
    uncertainty: UncertaintyReport | None,
    ctx: Context,
) -> None:
    names = tuple(dict.fromkeys(feature.backbone for feature in fit_result.features))
    by_name = {e.spec.name: e for e in embeddings}
    trunks = [_write_trunk(draft, at, by_name[name].spec, data, fit_result, ctx) for at, name in enumerate(names)]
    doubt = None
    if uncertainty is not None:
        doubt_sha256 = _save_arrays(draft / DOUBT_FILE, selective_prediction.collect_arrays(uncertainty))
        doubt = selective_prediction.make_entry(uncertainty, DOUBT_FILE, doubt_sha256)
    manifest = Manifest(
        format=model_manifest.FORMAT,
        headstart=__version__,
        task=data.task,
        class_names=data.output_names,
        trunks=tuple(trunks),
        features=fit_result.features,
        head=_write_head(draft, fit_result.fitted),
        decision=make_decision(ctx.job, data.class_names, evaluation.threshold, data.learning_task),
        calibration=Calibration(temperature=fit_result.temperature),
        resize_reason=data.reading.reason,
        doubt=doubt,
    )
    model_manifest.write_manifest(manifest, draft)


def _write_trunk(
    draft: Path, at: int, spec: BackboneSpec, data: Dataset, fit_result: FitResult, ctx: Context
) -> TrunkEntry:
    from headstart.backbones import loading
    from headstart.backbones.earlier_runs import tuned_network

    read = {feature.depth for feature in fit_result.features if feature.backbone == spec.name}
    pictures = _decode_sample(data, spec)
    networks = fit_result.networks
    trunk = tuned_network.find_backbone(spec.name, networks, ctx.run.path)
    source = loading.make_trunk_folder(trunk, ctx.store, ctx.console, pictures, "f32")
    below = f"trunk{at}"
    (draft / below).mkdir()
    keep = [position for position, depth in enumerate(spec.depths) if depth.name in read]
    cut_graph(source / "trunk.xml", draft / below / "trunk.xml", keep)
    return TrunkEntry(
        name=spec.name,
        revision=spec.revision,
        input=_input_for_new_pictures(data, spec),
        depths=tuple(spec.depths[position] for position in keep),
        precision="f32",
        licence=spec.licence,
        licence_note=spec.licence_note,
        ir=f"{below}/trunk.xml",
        files=model_manifest.entry_files(draft, below),
    )


def _input_for_new_pictures(data: Dataset, spec: BackboneSpec) -> InputSpec:
    """As the set was read; values beyond 8 bits that none of its pictures has are scaled by their format's range."""
    seen = data.adapt_input(spec.input)
    integers, floats = seen.ranges.integers or (0.0, 65535.0), seen.ranges.floats or (0.0, 1.0)
    return replace(seen, ranges=replace(seen.ranges, integers=integers, floats=floats))


def cut_graph(source: Path, target: Path, keep: list[int]) -> None:
    """Copy an OpenVINO `.xml` and its `.bin` with the outputs at `keep` only; layers that lead nowhere are left out."""
    from headstart.networks.openvino_engine import load_openvino, save_graph

    ov = load_openvino()
    model = ov.Core().read_model(source)
    results = [model.get_results()[position] for position in keep]
    save_graph(ov.Model(results, model.get_parameters(), "trunk"), target)


def _write_head(draft: Path, fitted: FittedHead) -> HeadEntry:
    sha256 = _save_arrays(draft / HEAD_FILE, fitted.arrays)
    return HeadEntry(name=fitted.head, kind=fitted.kind, arrays=HEAD_FILE, sha256=sha256)


def _save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Gives the SHA-256 of the file."""
    from safetensors.numpy import save

    # asarray, for ascontiguousarray would turn a single number into a row of one
    write_bytes(path, save({name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}))
    return file_digest(path)


# ---------------------------------------------------------------- comparison


def _decode_sample(data: Dataset, spec: BackboneSpec) -> np.ndarray:
    from headstart.images import preprocessing

    rows, seen = evenly_spaced(len(data.uris), COMPARED), data.adapt_input(spec.input)
    batches = preprocessing.decode_batches(
        data.root, data.uris, rows, seen, batch=COMPARED, threads=1, digests=data.digests
    )
    return next(batches)[1]


def _require_parity(draft: Path, data: Dataset, embeddings: tuple[Embeddings, ...], fit_result: FitResult) -> float:
    """The largest difference of a probability between the saved model and the run's own features and head."""
    from headstart.runtime.inputs.decoded_batches import Content
    from headstart.runtime.model import load

    rows, model = evenly_spaced(len(data.uris), COMPARED), load(draft)
    files = [os.path.join(data.root, data.uris[row]) for row in rows]  # noqa: PTH118 - no file system's
    chunks = list(model.extract_features([Content(file, file) for file in files], batch=COMPARED))
    for at, detail in (error for chunk in chunks for error in chunk.errors.items()):
        raise make_change_error(data.root, data.uris[rows[at]], detail)
    saved = np.concatenate([model.predict_probabilities(chunk) for chunk in chunks])
    untempered = predict_rows(fit_result.fitted, embeddings, fit_result.features, rows)
    task = data.learning_task
    scale = measure_scale(task, data.targets)
    worst = float(np.abs(saved - apply_temperature(untempered, fit_result.temperature, task)).max()) / scale
    unit = " standard deviations" if task.is_number else ""
    if not worst <= TOLERANCE["f32"]:
        raise SetupError(
            f"the saved model and the run differ by {worst:.2g}{unit}, more than {TOLERANCE['f32']:g}",
            hint="headstart doctor shows the engines; run the same command again",
        )
    return worst
