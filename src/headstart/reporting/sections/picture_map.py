"""The map of the pictures: a small picture of it, and the way to the page where each can be looked at."""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.reporting import charts
from headstart.reporting.picture_map.map_page import FILE, list_legend
from headstart.reporting.picture_map.map_points import SUSPECT, make_map_points
from headstart.reporting.report_data import ReportInput
from headstart.statistics.sampling import evenly_spaced

POINTS = 800  # of the small picture


def make_map_view(report: ReportInput) -> dict[str, Any] | None:
    """What the template `map.html` shows; None where a run has no map."""
    if report.picture_map is None:
        return None
    points = make_map_points(report, report.picture_map)
    some = evenly_spaced(len(points.rows), POINTS)
    suspects = points.marks & SUSPECT > 0
    title = "Map of the pictures: each point is one, coloured by its label; those with a ring are label suspects."
    values = points.places[some], np.array(points.list_colours())[some], suspects[some]
    return {
        "chart": charts.draw_picture_map(*values, name="map", title=title),
        "file": FILE,
        "drawn": len(some),
        "count": len(points.rows),
        "has_suspects": bool(suspects.any()),
        "ordered": report.dataset.learning_task.ordered or report.dataset.learning_task.is_number,
        "legend": list_legend(points),
    }
