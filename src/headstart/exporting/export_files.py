"""What lies beside an exported model: `model.json`, `predict.py`, `README.md` and `requirements.txt`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from headstart import __version__
from headstart.core.provenance import find_version
from headstart.core.storage.files import format_printable, write_text
from headstart.core.storage.hashing import to_plain
from headstart.core.types import TASKS, InputSpec
from headstart.exporting import graph_answers
from headstart.exporting.export_source import Exporter, ExportSource, decoding_rule, graph_inputs
from headstart.images import band_values, medical_values

FORMAT = 1
_MARKS = re.compile(r"# ---- the runtime\n.*?# ---- the runtime ends here\n", re.S)
_VALUES = re.compile(r"# ---- values\n.*?# ---- values end here\n", re.S)
_OURS = "# mypy: ignore-errors\n"
_READING = (
    "a JPEG may be decoded at 1/2, 1/4 or 1/8 as long as its shorter side stays at least twice what the resize needs",
    "the first frame counts; EXIF orientation is applied; transparency is laid on white; no colour profile is used",
    "more than 8 bits a channel: the two values in `ranges` become black and white; without them, the file's own",
    "a picture of many bands: each of `bands` is scaled by its own two values, and `mix` sums them to red, green, blue",
    "with `precise` levels are float32 with fractions; without, the high byte of colour of 0 to 65535 is taken",
    "DICOM, NIfTI: `window` and `slice` say which values and which frame or slice; empty is the file's own, the middle",
    "resizing is antialiased, by Pillow's filter of the name",
)


def describe_export(source: ExportSource, exporter: Exporter, precision: str) -> dict[str, Any]:
    """`model.json`: all that one must know to use the graph."""
    manifest = source.manifest
    return {
        "format": FORMAT,
        "headstart": __version__,
        "file": exporter.file,
        "written_as": exporter.name,
        "precision": precision,
        "task": manifest.task,
        "class_names": list(manifest.class_names),
        "reading": list(_READING),
        "inputs": [
            {
                "name": entry.name,
                "shape": [None, *entry.spec.shape],
                "values": "RGB 0..255; rescaling is part of the graph",
                **decoding_rule(entry.spec),
                "in_words": format_decoding(entry.spec),
            }
            for entry in graph_inputs(manifest)
        ],
        "outputs": _describe_outputs(source),
        "calibration": to_plain(manifest.calibration),
        "decision": to_plain(manifest.decision),
        "doubt": _describe_uncertainty(source),
        "head": {"name": manifest.head.name, "kind": manifest.head.kind},
        "trunks": [
            {name: to_plain(getattr(entry, name)) for name in ("name", "revision", "depths", "licence", "licence_note")}
            for entry in manifest.trunks
        ],
    }


def _describe_outputs(source: ExportSource) -> dict[str, str]:
    by_itself = "each by itself, " if source.model.layout.task.has_labels else ""
    of_names = f"(B, C), calibrated, {by_itself}in the order of class_names"
    outputs = {source.output: "(B, 1), the answer" if source.model.layout.is_number else of_names}
    doubt = source.manifest.doubt if source.with_uncertainty else None
    if doubt is not None:
        outputs["unknown"] = "(B, 1), 1 where the model declines to answer"
    if doubt is not None and doubt.novelty:
        outputs["novelty"] = "(B, 1), 0..1, share of known pictures that look more familiar"
    return outputs


def _describe_uncertainty(source: ExportSource) -> dict[str, Any] | None:
    entry, arrays = source.manifest.doubt, source.model.uncertainty_arrays
    if entry is None:
        return None
    promises = {
        name: to_plain(getattr(entry, name)) for name in ("coverage", "promise", "score", "kept", "familiar", "ordered")
    }
    limits = {name: _describe_limits(arrays[name]) for name in ("thresholds", "floors")}
    return {**promises, **limits, "novelty": entry.novelty, "limit": entry.limit}


def _describe_limits(values: np.ndarray) -> list[Any]:
    """Numbers of any shape, None for no limit."""
    limits = values.astype(object)
    limits[~np.isfinite(values)] = None
    return list(limits.tolist())


def format_decoding(spec: InputSpec) -> str:
    """How a picture becomes the input."""
    side = spec.size_px
    if spec.resize == "squash":
        return f"resized to {side} x {side} px ({spec.interpolation}), whatever its shape"
    if spec.resize == "pad":
        beside = f"RGB {', '.join(map(str, spec.pad_rgb))} beside it"
        return f"longer side resized to {side} px ({spec.interpolation}), in the middle of {side} x {side} px, {beside}"
    shorter = side / spec.crop_fraction
    return f"shorter side resized to {shorter:g} px ({spec.interpolation}), the middle {side} x {side} px taken"


def write_export_files(folder: Path, content: dict[str, Any], exporter: Exporter) -> None:
    """Write the files beside the model."""
    write_text(folder / "model.json", json.dumps(content, indent=2) + "\n")
    template = Path(__file__).with_name("predict_template.py").read_text(encoding="utf-8")
    texts = [
        Path(str(module.__file__)).read_text(encoding="utf-8")
        for module in (medical_values, band_values, graph_answers)
    ]
    values = "".join(text.split('"""', 2)[2] for text in texts)  # without their docstrings
    script = _VALUES.sub(lambda _: values, _MARKS.sub(lambda _: exporter.runtime, template.removeprefix(_OURS)))
    write_text(folder / "predict.py", script)
    bands = ("rasterio",) if any(entry["ranges"]["n_bands"] for entry in content["inputs"]) else ()
    pins = [f"{name}=={find_version(name)}" for name in ("numpy", "pillow", *bands, *exporter.packages)]
    write_text(folder / "requirements.txt", "\n".join(pins) + "\n")
    write_text(folder / "README.md", _format_readme(content, exporter))


def _format_readme(content: dict[str, Any], exporter: Exporter) -> str:
    licences = "\n".join(f"- `{entry['name']}`: {entry['licence'] or 'unknown'}" for entry in content["trunks"])
    rules = "\n".join(f"- `{entry['name']}`: {entry['in_words']}" for entry in content["inputs"])
    names = ", ".join(f"`{format_printable(name)}`" for name in content["class_names"])
    task = TASKS[content["task"]]
    answers = "a number:" if task.is_number else "those that are there of" if task.has_labels else "one of"
    return f"""# A picture {"measure" if task.is_number else "classifier"} ({exporter.name}, {content["precision"]})

Answers with {answers} {names}.

```sh
pip install -r requirements.txt
python predict.py picture.jpg
```

`predict.py` prints one JSON object a picture. It reads pictures as the model's training did; whoever feeds
`{content["file"]}` otherwise finds the rules in `model.json`. In short:

{rules}

Scaling, head and calibration are part of the graph. `export.json` tells how this export was compared with the run that
it came from, and the SHA-256 of every file.

Weights that it grew from, and their licences:

{licences}

Written by headstart {content["headstart"]}.
"""
