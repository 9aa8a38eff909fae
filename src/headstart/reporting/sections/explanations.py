"""What it looks at: held-out pictures with heat maps, what they are like, and what stands for each class."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from headstart.core.storage.files import format_printable
from headstart.core.types import Explained, MapRow
from headstart.data.strata import find_strata
from headstart.reporting import formatting
from headstart.reporting.page_images import Thumbnails, format_target
from headstart.reporting.report_data import ReportInput

CLASSES = 24  # shown with the pictures that stand for them
HOW = {
    "cam": "Each map is exact: it is what the head would say if the whole picture were like that place, and its mean "
    "is the model's score.",
    "occlusion": "Each map tells how much more the model's score falls when a place is covered than when any is.",
}


def make_explanations_view(report: ReportInput, thumbs: Thumbnails) -> dict[str, Any] | None:
    """What the template `explanations.html` shows; None for a run that keeps nothing to explain by."""
    explained = report.explained
    if explained is None:
        return None
    names = sorted(explained.prototypes)
    return {
        "classes": report.dataset.learning_task.has_classes,
        "word": find_strata(report.dataset).word,
        "held": report.evaluation is None or report.evaluation.split != "cv",
        "how": HOW.get(explained.method, ""),
        "left_out": explained.left_out,
        "maps": [heat_map for row in explained.maps if (heat_map := _heat_map_view(row, report, explained, thumbs))],
        "kept": explained.kept,
        "standing": [
            (format_printable(name), [thumbs.make_thumbnail(row) for row in explained.prototypes[name]])
            for name in names[:CLASSES]
        ],
        "more": max(0, len(names) - CLASSES),
        "run": format_printable(report.run_name),
    }


def _heat_map_view(row: MapRow, report: ReportInput, explained: Explained, thumbs: Thumbnails) -> dict[str, Any] | None:
    jpeg = report.overlays.get(row.file)
    if jpeg is None:
        return None
    data = report.dataset
    truth = format_printable(format_target(data, row.row))
    group = _format_group(row, truth, data.class_names) if data.learning_task.has_classes else row.group
    return {
        "group": group,
        "src": "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"),
        "picture": thumbs.make_thumbnail(row.row),
        "alt": f"Heat map of {format_printable(row.class_name)} on {format_printable(data.uris[row.row])}",
        "truth": truth,
        "answer": format_printable(row.answer),
        "class_name": format_printable(row.class_name),
        "chance": formatting.format_number(row.confidence, digits=2),
        "near": [
            thumbs.make_thumbnail(near, f"likeness {formatting.format_number(value, digits=2)}")
            for near, value in zip(row.neighbours, row.similarities, strict=True)
            if value > 0
        ],
    }


def _format_group(row: MapRow, truth: str, class_names: Sequence[str]) -> str:
    """What the picture is an example of; where the final model answers otherwise than when it was held out, so too."""
    if row.answer not in class_names:
        return f"{row.group}, and declined"
    is_right = format_printable(row.answer) == truth
    if is_right == row.group.startswith("right"):
        return row.group
    return f"{row.group} while held out, now {'right' if is_right else 'wrong'}"
