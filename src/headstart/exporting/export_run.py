"""From a run's model to folders that are loaded, compared and only then put into place: all asked for, or none."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from headstart.core import registry
from headstart.core.errors import SetupError, UsageError
from headstart.core.extras import format_install_command
from headstart.core.provenance import list_versions
from headstart.core.settings import count_threads
from headstart.core.storage.files import translate_disk_errors, write_json
from headstart.core.storage.hashing import file_digest, to_plain
from headstart.core.types import Export
from headstart.exporting import export_files, parity
from headstart.exporting.export_source import PRECISIONS, Exporter, ExportSource, graph_inputs, reason_against
from headstart.exporting.parity import Answers, Pictures
from headstart.images import preprocessing
from headstart.networks.framework_state import silence_frameworks
from headstart.networks.openvino_conversion import CALIBRATION
from headstart.statistics.sampling import evenly_spaced

COMPARED = 32  # pictures in f32; in other precisions all that are held out, up to
MOST = 1000
_EXTRA = {"keras": "fit", "tensorflow": "fit"}


def load_exporters(names: Sequence[str], precision: str) -> list[Exporter]:
    """The formats by name, each once.

    Raises:
        UsageError: One is unknown, or none was named, or there is no such precision.
    """
    formats = registry.list_plugins("exporters")
    hint = f"known: {', '.join(formats)}"
    if not names:
        raise UsageError("no format is named", where="--to", hint=hint)
    if precision not in PRECISIONS:
        raise UsageError(f"there is no precision `{precision}`", where="--precision", hint=", ".join(PRECISIONS))
    for name in names:
        if name not in formats:
            raise UsageError(f"there is no format `{name}`", where="--to", hint=hint)
    return [registry.load_plugin("exporters", name) for name in dict.fromkeys(names)]


def require_possible(exporters: Sequence[Exporter], source: ExportSource, precision: str) -> None:
    """Refuse before any work what cannot come to an end, with every reason.

    Raises:
        UsageError: A format cannot take this model or precision.
        SetupError: What writes or runs it is not installed.
    """
    reasons = {exporter.name: reason_against(exporter, source, precision) for exporter in exporters}
    if any(reasons.values()):
        wrong = "; ".join(f"`{name}`: {reason}" for name, reason in reasons.items() if reason)
        possible = ",".join(name for name, reason in reasons.items() if not reason)
        openvino = registry.load_plugin("exporters", "openvino")
        fallback = "f32" if reason_against(openvino, source, precision) else precision
        hint = f"--to {possible}" if possible else f"--to openvino --precision {fallback}"
        raise UsageError(f"in {precision} this model cannot be written as {wrong}", where="--to", hint=hint)
    for exporter in exporters:
        quantiser = ("nncf",) if precision == "int8" and exporter.name in ("openvino", "onnx") else ()
        missing = next((name for name in (*exporter.making, *quantiser) if find_spec(name) is None), None)
        if missing:
            extra = "int8" if missing == "nncf" else _EXTRA.get(missing, "export")
            raise SetupError(
                f"`{exporter.name}` needs `{missing}`, which is not installed", hint=format_install_command(extra)
            )


def require_drop(max_drop: float) -> None:
    """Refuse a drop that is no share.

    Raises:
        UsageError: It is not within 0..1.
    """
    if not 0 <= max_drop <= 1:
        raise UsageError(f"`{max_drop:g}` is no share of right answers", where="--max-drop", hint="--max-drop 0.01")


def require_free(out: Path) -> None:
    """Refuse a place that holds something.

    Raises:
        UsageError: It is a file or a link, or a folder that is not empty.
    """
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise UsageError(f"`{out}` is not empty", where="--out", hint="name a folder that is not there yet")


@contextmanager
def draft_folder(out: Path) -> Iterator[Path]:
    """A folder that becomes an export when the block ends well, and is removed else.

    It lies beside the place; in it where that is there already, for it may be a mounted disk or where one works.

    Raises:
        UsageError: The place is a file, or a folder that is not empty.
        SetupError: The disk refuses.
    """
    require_free(out)
    with translate_disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        inside = out.exists()
        draft = (out if inside else out.parent) / f".tmp-export-{os.getpid()}-{threading.get_ident()}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        try:
            with translate_disk_errors(out):  # before the draft makes room again
                yield draft
            for one, to in [(path, out / path.name) for path in draft.iterdir()] if inside else [(draft, out)]:
                os.replace(one, to)  # noqa: PTH105
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def export_run(
    exporters: Sequence[Exporter], source: ExportSource, out: Path, precision: str, pictures: Pictures, max_drop: float
) -> list[Export]:
    """Write, load and compare every format: in `out` for one, one below it a format for several.

    Args:
        source: The run's model; its `draft` is replaced by a folder beside `out`.
        max_drop: Share of right answers, or R², that a precision below f32 may cost.

    Raises:
        SetupError: A format cannot be written, or does not answer as the run does; nothing is left.
        GateFailed: A precision costs more than `max_drop`; nothing is left.
    """
    pictures = _sample_pictures(pictures, COMPARED if precision == "f32" else MOST)
    expected = {exporter: parity.ask_run(source.model, pictures.files, declines=exporter) for exporter in (True, False)}
    calibration = _decode_calibration(source, pictures) if precision == "int8" else []
    exports = []
    with draft_folder(out) as draft:
        place = draft / ".work"
        place.mkdir()
        for exporter in exporters:
            folder = draft if len(exporters) == 1 else draft / exporter.name
            folder.mkdir(exist_ok=True)
            mine = replace(source, draft=place, with_uncertainty=f"{precision} uncertainty" not in exporter.cannot)
            export = _export_format(
                exporter, mine, folder, precision, (pictures, expected[mine.with_uncertainty], calibration), max_drop
            )
            exports.append(replace(export, path=(out if folder == draft else out / exporter.name).as_posix()))
            source.console.print_line("export", format_export(exports[-1]))
            for why in export.left_out:
                source.console.print_warning(f"`{exporter.name}` in {precision} is without {why}")
        shutil.rmtree(place)
    return exports


def _export_format(
    exporter: Exporter,
    source: ExportSource,
    folder: Path,
    precision: str,
    shown: tuple[Pictures, Answers, list[np.ndarray]],
    max_drop: float,
) -> Export:
    pictures, expected, calibration = shown
    content = export_files.describe_export(source, exporter, precision)
    with silence_frameworks(), redirect_stdout(sys.stderr):  # converters print, and results are on standard output
        exporter.write(source, folder, precision, calibration, json.dumps(content))
    size = sum(path.stat().st_size for path in _list_files(folder))
    export_files.write_export_files(folder, content, exporter)
    answers = parity.ask_export(folder, source.model.class_names, pictures.files, exporter.name)
    worst, agreement = parity.compare_answers(expected, answers, pictures.scale)
    score = None if precision == "f32" else parity.measure_change(expected, answers, pictures)
    if score is not None:
        parity.require_score(score, max_drop, exporter.name, precision)
    strange = parity.novelty_difference(expected, answers)
    parity.require_same(worst, strange, exporter.name, precision, source.manifest.head.kind)
    without_uncertainty = source.manifest.doubt and not source.with_uncertainty
    export = Export(
        format=exporter.name,
        precision=precision,
        path=".",
        bytes=size,
        files={path.relative_to(folder).as_posix(): file_digest(path) for path in _list_files(folder)},
        compared=len(pictures.files),
        compared_on=pictures.origin,
        parity_max_abs=worst,
        label_agreement=agreement,
        novelty_max_abs=strange,
        score=score,
        left_out=(exporter.cannot[f"{precision} uncertainty"],) if without_uncertainty else (),
        versions=list_versions(("headstart", "numpy", "pillow", *exporter.making, *exporter.packages)),
        p50_ms=float(answers.time["p50_ms"]),
        p95_ms=float(answers.time["p95_ms"]),
    )
    write_json(folder / "export.json", to_plain(export))
    return export


def _list_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and ".work" not in p.relative_to(folder).parts)


def _sample_pictures(pictures: Pictures, count: int) -> Pictures:
    at = evenly_spaced(len(pictures.files), count)
    clusters = None if pictures.clusters is None else pictures.clusters[at]
    return replace(pictures, files=tuple(pictures.files[i] for i in at), truth=pictures.truth[at], clusters=clusters)


def _decode_calibration(source: ExportSource, pictures: Pictures) -> list[np.ndarray]:
    """One array (n, H, W, 3) an input, of the pictures that an 8-bit version is calibrated on."""
    sample = evenly_spaced(len(pictures.calibration), CALIBRATION)
    files = [str(file) for file in pictures.calibration]
    batches = (
        preprocessing.decode_batches("", files, sample, entry.spec, batch=len(sample), threads=count_threads())
        for entry in graph_inputs(source.manifest)
    )
    return [next(pictures_of_input)[1] for pictures_of_input in batches]


def format_export(export: Export) -> str:
    """One line about an export."""
    text = f"{export.format} in {export.precision}, {export.bytes / 1e6:.1f} MB: "
    text += f"differs by {export.parity_max_abs:.1e} at most, "
    text += f"{export.label_agreement:.1%} of {export.compared} answers the same; {export.p50_ms:.1f} ms a picture"
    if export.score is not None:
        score = export.score
        text += f"; {score.metric} {score.change:+.3f} [{score.low:+.3f}, {score.high:+.3f}] (n = {score.n:,})"
    return text
