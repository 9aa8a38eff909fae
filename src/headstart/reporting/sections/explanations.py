"""What it looks at: held-out pictures with heat maps, what they are like, and what stands for each class."""

from __future__ import annotations

import base64
from typing import Any

from headstart.core.storage.files import format_printable
from headstart.core.types import Dataset, Explained, MapRow
from headstart.reporting import formatting
from headstart.reporting.page_images import Thumbnails
from headstart.reporting.report_data import ReportInput

CLASSES = 24  # shown with the pictures that stand for them
HOW = {
    "cam": "Each map is exact: it is what the head would say if the whole picture were like that place, and its mean "
    "is the model's score.",
    "occlusion": "Each map tells how much more the model's score falls when a place is covered than when any is.",
}


def view(given: ReportInput, thumbs: Thumbnails) -> dict[str, Any] | None:
    """What the template `explanations.html` shows; None for a run that keeps nothing to explain by."""
    found = given.explained
    if found is None:
        return None
    names = sorted(found.prototypes)
    return {
        "held": given.evaluation is None or given.evaluation.split != "cv",
        "how": HOW.get(found.method, ""),
        "left_out": found.left_out,
        "maps": [one for row in found.maps if (one := _map(row, given, found, thumbs))],
        "kept": found.kept,
        "standing": [
            {"name": format_printable(name), "pictures": [thumbs.of(row) for row in found.prototypes[name]]}
            for name in names[:CLASSES]
        ],
        "more": max(0, len(names) - CLASSES),
        "run": format_printable(given.run_name),
    }


def _map(row: MapRow, given: ReportInput, found: Explained, thumbs: Thumbnails) -> dict[str, Any] | None:
    jpeg = given.overlays.get(row.file)
    if jpeg is None:
        return None
    data: Dataset = given.dataset
    return {
        "group": row.group,
        "src": "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"),
        "picture": thumbs.of(row.row),
        "alt": f"Heat map of {format_printable(row.class_name)} on {format_printable(data.uris[row.row])}",
        "truth": format_printable(data.class_names[int(data.targets[row.row])]),
        "answer": format_printable(row.answer),
        "class_name": format_printable(row.class_name),
        "chance": formatting.number(row.confidence, digits=2),
        "near": [
            thumbs.of(near, f"likeness {formatting.number(value, digits=2)}")
            for near, value in zip(row.neighbours, row.similarities, strict=True)
            if value > 0
        ],
    }
