"""The map of the pictures as a page of its own, `map.html`: one file that opens without a network, as the report."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import numpy as np

from headstart.core.console import format_bytes
from headstart.core.run.context import Context
from headstart.core.storage.files import format_printable, write_text
from headstart.reporting.environment import TEMPLATES, make_environment
from headstart.reporting.picture_map.map_points import MISTAKE, OTHERS, SUSPECT, MapPoints, make_map_points
from headstart.reporting.picture_map.thumbnail_sheets import COLUMNS, make_sheets
from headstart.reporting.report_data import ReportInput

FILE = "map.html"
LISTED = 24  # label suspects and mistakes below the map


def write_map_page(report: ReportInput, *, ctx: Context) -> None:
    """Write `<run>/map.html`; nothing where a run has no map, as those of earlier releases."""
    if report.picture_map is None:
        return
    path = ctx.run.path / FILE
    write_text(path, format_map_page(report, make_map_points(report, report.picture_map)))
    ctx.console.print_line("report", f"{path.as_posix()}, {format_bytes(path.stat().st_size)}")


def format_map_page(report: ReportInput, points: MapPoints) -> str:
    """The page as text; it depends on the findings and the bytes of the pictures alone."""
    script = (TEMPLATES / "map_page.js").read_text(encoding="utf-8")
    side_px, sheets = (0, []) if report.job.no_thumbnails else make_sheets(report.dataset, points.rows)
    content = points.as_json() | {"tile": side_px, "columns": COLUMNS}
    style = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "map_page.css"))
    return (
        make_environment()
        .get_template("map_page.html")
        .render(
            name=format_printable(report.dataset.name),
            style=style,
            script=script,
            script_digest=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
            content=json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
            sheets=sheets,
            points=points,
            legend=list_legend(points),
            task=report.dataset.learning_task,
            left_out=len(report.dataset.uris) - len(points.rows),
            no_thumbnails=report.job.no_thumbnails,
            doubtful=_list_doubtful(report, points),
            marked={mark: int((points.marks & mark > 0).sum()) for mark in (MISTAKE, SUSPECT)},
        )
    )


def list_legend(points: MapPoints) -> list[tuple[str, int, int]]:
    """Name, colour and number of pictures of what has a colour of its own, then of all others."""
    shown = [(group.name, group.colour, group.count) for group in points.groups if group.colour != OTHERS]
    others = [group.count for group in points.groups if group.colour == OTHERS]
    return shown + ([(f"{len(others):,} others", OTHERS, sum(others))] if others else [])


def _list_doubtful(report: ReportInput, points: MapPoints) -> list[dict[str, Any]]:
    """Label suspects, the likeliest wrong first, then mistakes, the surest first."""
    suspects = np.asarray(report.evaluation.suspects if report.evaluation else (), np.int64)
    places = np.searchsorted(points.rows, suspects[np.isin(suspects, points.rows)])
    mistakes = np.flatnonzero(points.marks == MISTAKE)
    surest = mistakes[np.argsort(-np.array(points.chances)[mistakes], kind="stable")]
    return [
        {
            "place": place,
            "file": points.names[place].rpartition("/")[2],
            "label": points.labels[place],
            "answer": points.answers[place],
        }
        for place in [*places, *surest][:LISTED]
    ]
