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
from typing import Any

import numpy as np

from headstart.core import registry
from headstart.core.errors import SetupError, UsageError
from headstart.core.extras import format_install_command
from headstart.core.provenance import list_versions
from headstart.core.storage.files import translate_disk_errors, write_json
from headstart.core.storage.hashing import file_digest, to_plain
from headstart.core.types import Export
from headstart.exporting import export_files, parity
from headstart.exporting.export_source import PRECISIONS, Exporter, Source, inputs, reason
from headstart.exporting.parity import Answers, Pictures
from headstart.images import preprocessing
from headstart.networks.openvino_conversion import CALIBRATION, silence_frameworks

COMPARED = 32  # pictures in f32; in other precisions all that are held out, up to
MOST = 1000
_EXTRA = {"keras": "fit", "tensorflow": "fit"}


def exporters(names: Sequence[str], precision: str) -> list[Exporter]:
    """The formats by name, each once.

    Raises:
        UsageError: One is unknown, or none was named, or there is no such precision.
    """
    known = registry.list_plugins("exporters")
    if not names:
        raise UsageError("no format is named", where="--to", hint=f"known: {', '.join(known)}")
    if precision not in PRECISIONS:
        raise UsageError(f"there is no precision `{precision}`", where="--precision", hint=", ".join(PRECISIONS))
    for name in names:
        if name not in known:
            hint = f"known: {', '.join(known)}"
            raise UsageError(f"there is no format `{name}`", where="--to", hint=hint)
    return [registry.load_plugin("exporters", name) for name in dict.fromkeys(names)]


def require_possible(wanted: Sequence[Exporter], source: Source, precision: str) -> None:
    """Refuse before any work what cannot come to an end, with every reason.

    Raises:
        UsageError: A format cannot take this model or precision.
        SetupError: What writes or runs it is not installed.
    """
    wrong = [f"`{one.name}`: {why}" for one in wanted if (why := reason(one, source, precision))]
    if wrong:
        left = [one.name for one in wanted if not reason(one, source, precision)]
        taken = precision if not reason(registry.load_plugin("exporters", "openvino"), source, precision) else "f32"
        hint = f"--to {','.join(left)}" if left else f"--to openvino --precision {taken}"
        told = f"in {precision} this model cannot be written as {'; '.join(wrong)}"
        raise UsageError(told, where="--to", hint=hint)
    for one in wanted:
        needed = [*one.making, *(["nncf"] if precision == "int8" and one.name in ("openvino", "onnx") else [])]
        missing = next((name for name in needed if find_spec(name) is None), None)
        if missing:
            extra = "int8" if missing == "nncf" else _EXTRA.get(missing, "export")
            raise SetupError(
                f"`{one.name}` needs `{missing}`, which is not installed", hint=format_install_command(extra)
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
def drafted(out: Path) -> Iterator[Path]:
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
            yield draft
            for one, to in [(path, out / path.name) for path in draft.iterdir()] if inside else [(draft, out)]:
                os.replace(one, to)  # noqa: PTH105
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def export_run(
    wanted: Sequence[Exporter], source: Source, out: Path, precision: str, pictures: Pictures, max_drop: float
) -> list[Export]:
    """Write, load and compare every format.

    Args:
        wanted: From `exporters`, possible ones.
        source: The run's model; its `draft` is replaced by a folder beside `out`.
        out: Where to: the folder itself for one format, one below it a format for several.
        precision: One of `PRECISIONS`.
        pictures: Real ones.
        max_drop: Share of right answers that a precision below f32 may cost.

    Raises:
        SetupError: A format cannot be written, or does not answer as the run does; nothing is left.
        GateFailed: A precision costs more than `max_drop`; nothing is left.
    """
    count = COMPARED if precision == "f32" else MOST
    pictures = _some(pictures, count)
    expected = {one: parity.of_run(source.model, pictures.files, declines=one) for one in (True, False)}
    seen = _seen(source, pictures) if precision == "int8" else []
    made = []
    with drafted(out) as draft:
        place = draft / ".work"
        place.mkdir()
        for one in wanted:
            folder = draft if len(wanted) == 1 else draft / one.name
            folder.mkdir(exist_ok=True)
            mine = replace(source, draft=place, doubting=f"{precision} doubt" not in one.cannot)
            found = _one(one, mine, folder, precision, (pictures, expected[mine.doubting], seen), max_drop)
            made.append(replace(found, path=(out if folder == draft else out / one.name).as_posix()))
            source.console.print_line("export", sentence(made[-1]))
            for why in found.left_out:
                source.console.print_warning(f"`{one.name}` in {precision} is without {why}")
        shutil.rmtree(place)
    return made


def _one(
    exporter: Exporter,
    source: Source,
    folder: Path,
    precision: str,
    shown: tuple[Pictures, Answers, list[np.ndarray]],
    max_drop: float,
) -> Export:
    """One format: written, its files beside it, run by itself, compared, and told in `export.json`."""
    pictures, expected, seen = shown
    content = export_files.told(source, exporter, precision)
    with silence_frameworks(), redirect_stdout(sys.stderr):  # converters print, and results are on standard output
        exporter.write(source, folder, precision, seen, json.dumps(content))
    size = sum(path.stat().st_size for path in _inside(folder))
    export_files.write(folder, content, exporter)
    got = parity.of_export(folder, source.model.class_names, pictures.files, exporter.name)
    worst, agreement = parity.difference(expected, got)
    accuracy = None if precision == "f32" else parity.change(expected, got, pictures)
    if accuracy is not None:
        parity.require_kept(accuracy, max_drop, exporter.name, precision)
    strange = parity.novelty_apart(expected, got)
    parity.require_same(worst, strange, exporter.name, precision, source.manifest.head.kind)
    found = Export(
        format=exporter.name,
        precision=precision,
        path=".",
        bytes=size,
        files={path.relative_to(folder).as_posix(): file_digest(path) for path in _inside(folder)},
        compared=len(pictures.files),
        compared_on=pictures.origin,
        parity_max_abs=worst,
        label_agreement=agreement,
        novelty_max_abs=strange,
        accuracy=accuracy,
        left_out=() if source.doubting or not source.manifest.doubt else (exporter.cannot[f"{precision} doubt"],),
        versions=list_versions(("headstart", "numpy", "pillow", *exporter.making, *exporter.packages)),
        **parity.shown(got.time),
    )
    write_json(folder / "export.json", to_plain(found))
    return found


def _inside(folder: Path) -> list[Path]:
    """Files of a folder, those of the work in between left out."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and ".work" not in p.relative_to(folder).parts)


def _some(pictures: Pictures, count: int) -> Pictures:
    """Evenly spaced ones, at most `count`."""
    at = np.unique(np.linspace(0, len(pictures.files) - 1, min(count, len(pictures.files))).astype(int))
    clusters = None if pictures.clusters is None else pictures.clusters[at]
    return replace(pictures, files=tuple(pictures.files[i] for i in at), truth=pictures.truth[at], clusters=clusters)


def _seen(source: Source, pictures: Pictures) -> list[np.ndarray]:
    """One array (n, H, W, 3) uint8 an input, of the pictures that an 8-bit version is calibrated on."""
    some = _some(
        replace(pictures, files=pictures.calibration, truth=np.zeros(len(pictures.calibration)), clusters=None),
        CALIBRATION,
    ).files
    contents = [preprocessing.read_bytes(os.fspath(file)) for file in some]
    return [
        np.stack([preprocessing.decode_picture(one, given.spec) for one in contents])
        for given in inputs(source.manifest)
    ]


def sentence(found: Export) -> str:
    """One line about an export."""
    text = f"{found.format} in {found.precision}, {found.bytes / 1e6:.1f} MB: "
    text += f"differs by {found.parity_max_abs:.1e} at most, "
    text += f"{found.label_agreement:.1%} of {found.compared} answers the same; {found.p50_ms:.1f} ms a picture"
    if found.accuracy is not None:
        one = found.accuracy
        text += f"; accuracy {one.change:+.3f} [{one.low:+.3f}, {one.high:+.3f}] (n = {one.n:,})"
    return text


def as_json(made: Sequence[Export]) -> list[dict[str, Any]]:
    """For `--json` and for pages."""
    return [to_plain(one) for one in made]
