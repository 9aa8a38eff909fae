"""The studio's routes: each turns a click into a command line, or a folder into what the page shows."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Header, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from headstart import __version__
from headstart.core.errors import DataError, UsageError
from headstart.core.storage.files import format_printable
from headstart.studio import command_lines as words
from headstart.studio import run_browser as shelf
from headstart.studio.access_control import REPORT_POLICY
from headstart.studio.event_stream import follow
from headstart.studio.state import STATIC, Studio
from headstart.studio.task_runner import Task

router = APIRouter()
_PLAN_S, _SIDE_PX = 120.0, 192


def of(request: Request) -> Studio:
    """The studio that this application shows."""
    found: Studio = request.app.state.studio
    return found


Own = Annotated[Studio, Depends(of)]
Text = Annotated[str, Body(embed=True)]
Kind = Literal["runs", "looks"]
Settings = Annotated[dict[str, Any], Body(embed=True)]


@router.get("/")
def page() -> FileResponse:
    """The page itself."""
    return FileResponse(STATIC / "studio.html", media_type="text/html; charset=utf-8")


@router.get("/api/start")
def start(own: Own) -> dict[str, Any]:
    """What the page needs first: version, commands there are, settings of a job, where it may look."""
    return {
        "version": __version__,
        "commands": words.offered(),
        "options": words.options(),
        "formats": words.FORMATS,
        "precisions": words.PRECISIONS,
        "root": str(own.places.root),
        "runs": str(own.runs.folder),
    }


# ---------------------------------------------------------------- pictures


@router.get("/api/folders")
def folders(own: Own, path: str = "") -> dict[str, Any]:
    """A folder's sub-folders."""
    return own.places.look(path)


@router.post("/api/uploads")
def upload(own: Own) -> dict[str, Any]:
    """A new draft for files that the browser sends."""
    return {"upload": own.places.draft()}


@router.post("/api/uploads/{draft}/done")
def uploaded(own: Own, draft: str) -> dict[str, Any]:
    """Where the files of a draft lie."""
    return {"path": str(own.places.data(draft))}


@router.post("/api/looks")
def look(own: Own, data: Text) -> dict[str, Any]:
    """Check pictures: `headstart audit`."""
    found = str(own.places.inside(data))
    with own.desk.alone:
        name = own.looks.free(words.run_name(found))
        (own.looks.folder / name).mkdir()  # the name is taken before its process has begun
    task = own.desk.ask("audit", words.audit(found, str(own.looks.folder / name)), run=f"looks/{name}")
    return {"look": name, "data": found} | told(own, task)


# ---------------------------------------------------------------- fits


@router.post("/api/commands/fit")
def fit_command(own: Own, data: Text, settings: Settings) -> dict[str, Any]:
    """The command line of a fit, and nothing done."""
    line, name = _fit(own, data, settings)
    return {"command": words.shown(line), "run": name}


@router.post("/api/plans")
def plan(own: Own, data: Text, settings: Settings) -> dict[str, Any]:
    """What a fit would take: `headstart fit --dry-run`."""
    line, _ = _fit(own, data, settings)
    task = own.desk.ask("plan", [*line, "--dry-run"])
    return finished(own, task, _PLAN_S)


@router.post("/api/fits")
def fit(own: Own, data: Text, settings: Settings) -> dict[str, Any]:
    """Learn: `headstart fit`."""
    with own.desk.alone:
        line, name = _fit(own, data, settings)
        task = own.desk.ask("fit", line, run=f"runs/{name}")
    return {"run": name} | told(own, task)


def _fit(own: Studio, data: str, settings: Mapping[str, Any]) -> tuple[list[str], str]:
    found = str(own.places.inside(data))
    asked = {task.run.partition("/")[2] for task in own.desk.tasks() if task.kind == "fit"}
    name = own.runs.free(words.run_name(found), taken=asked)
    return words.fit(found, words.settings(settings), str(own.runs.folder / name)), name


@router.post("/api/runs/{name}/resume")
def resume(own: Own, name: str) -> dict[str, Any]:
    """Go on with a run that was cut short."""
    run = own.runs.path(name)
    with own.desk.alone:
        if _state(own, name) in ("running", "queued"):
            raise UsageError(f"the run `{name}` is at work or waits already")
        task = own.desk.ask("fit", words.resume(str(run)), run=f"runs/{name}")
    return {"run": name} | told(own, task)


@router.post("/api/runs/{name}/cancel")
def cancel(own: Own, name: str) -> dict[str, Any]:
    """Stop what works on a run, as Ctrl-C does."""
    fits = [task for task in own.desk.tasks(f"runs/{name}") if task.kind == "fit"]
    if not fits:
        raise DataError(
            f"no fit of `{format_printable(name[:100])}` was started here", hint="press Ctrl-C where it was started"
        )
    own.desk.stop(fits[-1])
    return told(own, fits[-1])


# ---------------------------------------------------------------- looking at runs


@router.get("/api/runs")
def runs(own: Own) -> dict[str, Any]:
    """All runs and those that wait, the newest first."""
    names = own.runs.names()
    waiting = [
        {"name": task.run.partition("/")[2], "state": own.desk.state(task), "waits": True, "data": task.words[1]}
        for task in reversed(own.desk.tasks())
        if task.kind == "fit" and task.run.partition("/")[2] not in names
    ]
    there = [shelf.brief(own.runs.path(name)) | {"state": _state(own, name)} for name in names]
    return {"runs": [*waiting, *there], "folder": str(own.runs.folder)}


@router.get("/api/{kind}/{name}/facts")
def facts(own: Own, kind: Kind, name: str) -> dict[str, Any]:
    """All that is shown of a run; of one that has no folder yet, what was asked."""
    tasks = _of(own, name, kind)
    folder = own.shelf(kind).folder / name if tasks else own.shelf(kind).path(name)
    found = shelf.facts(folder)
    data = found["data"] or (tasks[0].words[1] if tasks else "")  # what was asked, of one that has not begun
    return found | {"data": data, "state": _state(own, name, kind), **_latest(own, name, kind)}


@router.get("/api/{kind}/{name}/pictures/{row}")
def thumbnail(own: Own, kind: Kind, name: str, row: int) -> Response:
    """A small copy of one of a run's pictures; no other file can be asked for."""
    return small(shelf.picture(own.shelf(kind).path(name), row))


@router.get("/api/{kind}/{name}/events")
def events(own: Own, kind: Kind, name: str, last_event_id: Annotated[str, Header()] = "") -> StreamingResponse:
    """What happens to a run, as server-sent events; a client that comes back goes on where it was."""
    task = next(iter(reversed(_of(own, name, kind))), None)
    folder = own.shelf(kind).folder / name
    if task is None:
        folder = own.shelf(kind).path(name)
    return StreamingResponse(follow(own.desk, task, folder, last_event_id), media_type="text/event-stream")


@router.get("/runs/{name}/report")
def report(own: Own, name: str) -> Response:
    """A run's report, apart from the studio's own page."""
    path = own.runs.path(name) / "report.html"
    if not path.is_file():
        raise DataError(f"the run `{name}` has no report yet", hint="wait until it is finished, or resume it")
    headers = {"content-security-policy": REPORT_POLICY}
    return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)


# ---------------------------------------------------------------- shared


def _of(own: Studio, name: str, kind: str = "runs") -> list[Task]:
    """Tasks that made a run, oldest first."""
    return [task for task in own.desk.tasks(f"{kind}/{name}") if task.kind in ("fit", "audit")]


def _state(own: Studio, name: str, kind: str = "runs") -> str:
    """The state of a run: of the last task that made it, else as its folder tells."""
    tasks = _of(own, name, kind)
    state = own.desk.state(tasks[-1]) if tasks else ""
    folder = own.shelf(kind).folder / name
    if state in ("queued", "running", "done", "failed", "cancelled"):
        return state if state != "cancelled" or not (folder / "report.html").is_file() else "done"
    if shelf.owner(folder) is not None:
        return "running"
    return "done" if (folder / "report.html").is_file() else "cut short"


def _latest(own: Studio, name: str, kind: str) -> dict[str, Any]:
    tasks = _of(own, name, kind)
    resumes = words.shown(words.resume(str(own.shelf(kind).folder / name)))
    return told(own, tasks[-1]) if tasks else {"command": resumes, "error": None, "task": None}


def told(own: Studio, task: Task) -> dict[str, Any]:
    """A task as the page sees it."""
    return {
        "task": task.name,
        "state": own.desk.state(task),
        "command": words.shown(task.words),
        "error": own.desk.error(task),
        "started": own.desk.started(task).get("at"),
    }


def finished(own: Studio, task: Task, seconds: float) -> dict[str, Any]:
    """A task that is waited for, with what it printed."""
    own.desk.wait(task, seconds=seconds)
    return told(own, task) | {"result": own.desk.result(task)}


def small(path: Path) -> Response:
    """A picture file as a small JPEG; 404 where it cannot be read any more."""
    from headstart.images.codecs import Picture, PictureError
    from headstart.images.preprocessing import read_bytes

    try:
        picture = Picture(read_bytes(str(path)))
        image = picture.decode_rgb(least=_SIDE_PX)
        image.thumbnail((_SIDE_PX, _SIDE_PX))
        image = picture.turn_upright(image)
    except PictureError as err:
        return JSONResponse({"error": {"type": "DataError", "what": str(err), "where": path.name, "hint": None}}, 404)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return Response(out.getvalue(), media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})
