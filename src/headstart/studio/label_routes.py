"""The studio's routes for labelling: `headstart suggest`, the table of labels, and `headstart fit` with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import Response

from headstart.core.errors import DataError, UsageError
from headstart.core.job import read_job
from headstart.core.storage.locations.names import is_remote
from headstart.core.storage.tables import is_table
from headstart.studio import command_lines, label_table
from headstart.studio.label_table import FILE, LABEL
from headstart.studio.routes import OwnStudio, Text, describe_task, make_free_name, make_thumbnail
from headstart.studio.state import Studio
from headstart.studio.task_runner import Task

router = APIRouter()
_MOST, _SIDE_PX = 1000, 1024  # pictures of a request, and their longer side


@router.get("/api/runs/{name}/labels")
def show_labels(studio: OwnStudio, name: str) -> dict[str, Any]:
    """The pictures to label with what they have, and what is known of the last `headstart suggest`."""
    run = studio.runs.require_run(name)
    rows, task = _read_rows(studio, name), _find_task(studio, name)
    shown = [row | {"name": Path(row[FILE]).name} for row in rows]
    latest = describe_task(studio, task) if task else None
    return label_table.describe_labels(run) | {"rows": shown, "last": latest, "table": str(_find_table(studio, name))}


@router.post("/api/runs/{name}/suggestions")
def start_suggestion(studio: OwnStudio, name: str, data: Text, count: Annotated[int, Body(embed=True)]) -> Any:
    """Name pictures to label: `headstart suggest`; those that are in the table already come on top of `count`."""
    run = studio.runs.require_run(name)
    if not 1 <= count <= _MOST:
        raise UsageError(f"{count} pictures cannot be asked for", where="count", hint=f"1 to {_MOST:,}")
    words = ["suggest", str(run), *([_require_pictures(studio, data)] if data.strip() else [])]
    with studio.tasks.lock:
        total = count + len(_read_rows(studio, name))
        task = studio.tasks.start_task("suggest", [*words, "-n", str(total)], run=f"runs/{name}")
    return describe_task(studio, task)


def _require_pictures(studio: Studio, data: str) -> str:
    """A folder, archive or table of pictures that all may be read; raises as `ImageFolders.require_path`."""
    from headstart.runtime.inputs.picture_inputs import read_pictures

    location = studio.places.require_data(data)
    for picture in read_pictures(location) if is_table(Path(location)) else ():
        if is_remote(str(picture)):
            raise UsageError(f"`{Path(location).name}` names pictures elsewhere, and the studio reads this machine")
        studio.places.require_path(str(picture), Path(location).name)
    return location


@router.post("/api/runs/{name}/labels")
def save_label(studio: OwnStudio, name: str, row: Annotated[int, Body(embed=True)], label: Text) -> dict[str, Any]:
    """Note the label of one picture; empty takes it back."""
    text = label_table.require_label(label, studio.runs.require_run(name))
    with studio.tasks.lock:
        rows = _read_rows(studio, name)
        _require_row(rows, row)[LABEL] = text
        label_table.write_label_rows(_find_table(studio, name), rows)
    return {"row": row, "label": text, "labelled": sum(bool(each[LABEL]) for each in rows)}


@router.get("/api/runs/{name}/labels/{row}/picture")
def show_large_picture(studio: OwnStudio, name: str, row: int) -> Response:
    """A picture to label; no other file can be asked for."""
    run = studio.runs.require_run(name)
    return make_thumbnail(_require_row(_read_rows(studio, name), row)[FILE], run, most_px=_SIDE_PX)


@router.post("/api/runs/{name}/refits")
def fit_again(studio: OwnStudio, name: str) -> dict[str, Any]:
    """Learn anew, from the labels of the table too; what judged the run judges again: `headstart fit`."""
    run = studio.runs.require_run(name)
    job = read_job(run / "job.toml")
    with studio.tasks.lock:
        new_name = make_free_name(studio, job.data)
        table = _find_table(studio, new_name).with_name("learnt.csv")  # a copy: the run must see the same to be resumed
        label_table.write_learnt_labels(table, _read_rows(studio, name), job)
        job = dataclasses.replace(job, more=str(table), test_of=str(run))
        line = command_lines.make_fit(job, str(studio.runs.folder / new_name))
        task = studio.tasks.start_task("fit", line, run=f"runs/{new_name}")
    return {"run": new_name} | describe_task(studio, task)


def _find_table(studio: Studio, name: str) -> Path:
    return studio.home / "labels" / name / "next.csv"


def _find_task(studio: Studio, name: str) -> Task | None:
    return next(iter(reversed(studio.tasks.list_tasks(f"runs/{name}", "suggest"))), None)


def _read_rows(studio: Studio, name: str) -> list[label_table.Row]:
    """The table of a run, to which what was suggested last is added once."""
    with studio.tasks.lock:
        path, task = _find_table(studio, name), _find_task(studio, name)
        rows = label_table.read_label_rows(path)
        if task and studio.tasks.find_state(task) == "done":
            most = int(task.words[task.words.index("-n") + 1])
            added = label_table.add_suggestions(rows, studio.tasks.read_results(task), most)
            if len(added) > len(rows):
                label_table.write_label_rows(path, added)
            return added
        return rows


def _require_row(rows: list[label_table.Row], row: int) -> label_table.Row:
    if not 0 <= row < len(rows):
        raise DataError(f"there is no picture {row} to label", hint="reload the page")
    return rows[row]
