"""The studio's routes: each turns a click into a command line, or a folder into what the page shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Header, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from headstart import __version__
from headstart.core.errors import DataError, UsageError
from headstart.core.job import Job, make_job
from headstart.core.storage.files import format_printable
from headstart.studio import command_lines, run_browser
from headstart.studio.access_control import REPORT_POLICY
from headstart.studio.event_stream import stream_events
from headstart.studio.state import STATIC, Studio
from headstart.studio.task_runner import Task

router = APIRouter()
_PLAN_S, _SIDE_PX, _QUALITY = 120.0, 192, 80


def get_studio(request: Request) -> Studio:
    """The studio that this application shows."""
    studio: Studio = request.app.state.studio
    return studio


OwnStudio = Annotated[Studio, Depends(get_studio)]
Text = Annotated[str, Body(embed=True)]
Kind = Literal["runs", "looks"]
Settings = Annotated[dict[str, Any], Body(embed=True)]


@router.get("/")
def show_page() -> FileResponse:
    """The page itself."""
    return FileResponse(STATIC / "studio.html", media_type="text/html; charset=utf-8")


@router.get("/api/start")
def describe_start(studio: OwnStudio) -> dict[str, Any]:
    """What the page needs first: version, commands there are, settings of a job, where it may look."""
    return {
        "version": __version__,
        "commands": command_lines.list_commands(),
        "options": command_lines.describe_options(),
        "formats": command_lines.FORMATS,
        "precisions": command_lines.PRECISIONS,
        "root": str(studio.places.root),
        "runs": str(studio.runs.folder),
    }


@router.get("/api/folders")
def list_folders(studio: OwnStudio, path: str = "") -> dict[str, Any]:
    """A folder's sub-folders, and its files that hold or name pictures."""
    return studio.places.list_folder(path)


@router.post("/api/uploads")
def start_upload(studio: OwnStudio) -> dict[str, Any]:
    """A new draft for files that the browser sends."""
    return {"upload": studio.places.make_draft()}


@router.post("/api/uploads/{draft}/done")
def finish_upload(studio: OwnStudio, draft: str) -> dict[str, Any]:
    """Where the files of a draft lie."""
    return {"path": str(studio.places.find_data(draft))}


@router.post("/api/looks")
def start_audit(
    studio: OwnStudio, data: Text, settings: Annotated[dict[str, Any] | None, Body(embed=True)] = None
) -> dict[str, Any]:
    """Check pictures: `headstart audit`."""
    job = _make_confined_job(studio, data, settings or {})
    with studio.tasks.lock:
        name = studio.audits.make_free_name(command_lines.make_run_name(job.data))
        (studio.audits.folder / name).mkdir()  # the name is taken before its process has begun
    line = command_lines.make_audit(job, str(studio.audits.folder / name))
    task = studio.tasks.start_task("audit", line, run=f"looks/{name}")
    return {"look": name, "data": job.data} | describe_task(studio, task)


@router.post("/api/commands/fit")
def show_fit_command(studio: OwnStudio, data: Text, settings: Settings) -> dict[str, Any]:
    """The command line of a fit, and nothing done."""
    line, name = _prepare_fit(studio, data, settings)
    return {"command": command_lines.format_command(line), "run": name}


@router.post("/api/plans")
def plan_fit(studio: OwnStudio, data: Text, settings: Settings) -> dict[str, Any]:
    """What a fit would take: `headstart fit --dry-run`."""
    line, _ = _prepare_fit(studio, data, settings)
    return wait_for_task(studio, studio.tasks.start_task("plan", [*line, "--dry-run"]), _PLAN_S)


@router.post("/api/fits")
def start_fit(studio: OwnStudio, data: Text, settings: Settings) -> dict[str, Any]:
    """Learn: `headstart fit`."""
    with studio.tasks.lock:
        line, name = _prepare_fit(studio, data, settings)
        task = studio.tasks.start_task("fit", line, run=f"runs/{name}")
    return {"run": name} | describe_task(studio, task)


def _prepare_fit(studio: Studio, data: str, settings: Mapping[str, Any]) -> tuple[list[str], str]:
    job = _make_confined_job(studio, data, settings)
    name = make_free_name(studio, job.data)
    return command_lines.make_fit(job, str(studio.runs.folder / name)), name


def make_free_name(studio: Studio, data: str) -> str:
    """A name for a fit that no run has, nor one that waits."""
    taken_names = {task.run.partition("/")[2] for task in studio.tasks.list_tasks(None, "fit")}
    return studio.runs.make_free_name(command_lines.make_run_name(data), taken=taken_names)


def _make_confined_job(studio: Studio, data: str, settings: Mapping[str, Any]) -> Job:
    location = studio.places.require_data(data)
    return studio.places.confine_job(make_job(data=location, **command_lines.parse_settings(settings)))


@router.post("/api/runs/{name}/resume")
def resume_fit(studio: OwnStudio, name: str) -> dict[str, Any]:
    """Go on with a run that was cut short."""
    run = studio.runs.require_run(name)
    with studio.tasks.lock:
        if _find_state(studio, name) in ("running", "queued"):
            raise UsageError(f"the run `{name}` is at work or waits already")
        task = studio.tasks.start_task("fit", command_lines.make_resume(str(run)), run=f"runs/{name}")
    return {"run": name} | describe_task(studio, task)


@router.post("/api/runs/{name}/cancel")
def cancel_fit(studio: OwnStudio, name: str) -> dict[str, Any]:
    """Stop what works on a run, as Ctrl-C does."""
    fits = studio.tasks.list_tasks(f"runs/{name}", "fit")
    if not fits:
        problem = f"no fit of `{format_printable(name[:100])}` was started here"
        raise DataError(problem, hint="press Ctrl-C where it was started")
    studio.tasks.stop_task(fits[-1])
    return describe_task(studio, fits[-1])


@router.get("/api/runs")
def list_runs(studio: OwnStudio) -> dict[str, Any]:
    """All runs and those that wait, the newest first."""
    names = studio.runs.list_runs()
    waiting = [
        {"name": name, "state": studio.tasks.find_state(task), "waits": True, "data": task.words[1]}
        for task in reversed(studio.tasks.list_tasks(None, "fit"))
        if (name := task.run.partition("/")[2]) not in names
    ]
    summaries = (run_browser.summarize_run(studio.runs.require_run(name)) for name in names)
    started = [summary | {"state": _find_state(studio, summary["name"])} for summary in summaries]
    return {"runs": [*waiting, *started], "folder": str(studio.runs.folder)}


@router.get("/api/{kind}/{name}/facts")
def show_facts(studio: OwnStudio, kind: Kind, name: str) -> dict[str, Any]:
    """All that is shown of a run; of one that has no folder yet, what was asked."""
    tasks = _tasks_of_run(studio, name, kind)
    folder = studio.browser_of(kind).folder / name if tasks else studio.browser_of(kind).require_run(name)
    facts = run_browser.describe_run(folder)
    data = facts["data"] or (tasks[0].words[1] if tasks else "")  # what was asked, of one that has not begun
    return facts | {"data": data, "state": _find_state(studio, name, kind), **_describe_latest(studio, name, kind)}


@router.get("/api/{kind}/{name}/pictures/{row}")
def show_thumbnail(studio: OwnStudio, kind: Kind, name: str, row: int) -> Response:
    """A small copy of one of a run's pictures; no other file can be asked for."""
    run = studio.browser_of(kind).require_run(name)
    return make_thumbnail(run_browser.find_picture(run, row), run)


@router.get("/api/{kind}/{name}/events")
def stream_run(
    studio: OwnStudio, kind: Kind, name: str, last_event_id: Annotated[str, Header()] = ""
) -> StreamingResponse:
    """What happens to a run, as server-sent events; a client that comes back goes on where it was."""
    browser, task = studio.browser_of(kind), next(iter(reversed(_tasks_of_run(studio, name, kind))), None)
    folder = browser.folder / name if task else browser.require_run(name)
    return StreamingResponse(stream_events(studio.tasks, task, folder, last_event_id), media_type="text/event-stream")


@router.get("/runs/{name}/{page}")
def show_run_page(studio: OwnStudio, name: str, page: Literal["report", "map"]) -> Response:
    """A run's report, or its map of the pictures, apart from the studio's own page."""
    path = studio.runs.require_run(name) / f"{page}.html"
    if not path.is_file():
        raise DataError(f"the run `{name}` has no {page} yet", hint="wait until it is finished, or resume it")
    headers = {"content-security-policy": REPORT_POLICY}
    return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)


def _tasks_of_run(studio: Studio, name: str, kind: str = "runs") -> list[Task]:
    return studio.tasks.list_tasks(f"{kind}/{name}", "fit", "audit")


def _find_state(studio: Studio, name: str, kind: str = "runs") -> str:
    """The state of a run: of the last task that made it, else by its folder."""
    tasks, folder = _tasks_of_run(studio, name, kind), studio.browser_of(kind).folder / name
    state = studio.tasks.find_state(tasks[-1]) if tasks else "cut short"
    if state == "cut short":
        return run_browser.find_state(folder)
    return "done" if state == "cancelled" and run_browser.is_finished(folder) else state


def _describe_latest(studio: Studio, name: str, kind: str) -> dict[str, Any]:
    if tasks := _tasks_of_run(studio, name, kind):
        return describe_task(studio, tasks[-1])
    resume_words = command_lines.make_resume(str(studio.browser_of(kind).folder / name))
    return {"command": command_lines.format_command(resume_words), "error": None, "task": None}


def describe_task(studio: Studio, task: Task) -> dict[str, Any]:
    """A task as the page sees it."""
    return {
        "task": task.name,
        "state": studio.tasks.find_state(task),
        "command": command_lines.format_command(task.words),
        "error": studio.tasks.find_error(task),
        "started": studio.tasks.read_start(task).get("at"),
    }


def wait_for_task(studio: Studio, task: Task, seconds: float) -> dict[str, Any]:
    """A task that is waited for, with what it printed."""
    studio.tasks.wait_for_end(task, seconds=seconds)
    return describe_task(studio, task) | {"result": studio.tasks.read_results(task)}


def make_thumbnail(path: str | Path, run: Path, most_px: int = _SIDE_PX) -> Response:
    """A picture as a small JPEG, its values read as those of the run; 404 where it cannot be read any more."""
    from headstart.images.thumbnails import make_jpeg_thumbnail

    content = make_jpeg_thumbnail(str(path), most_px, _QUALITY, run_browser.find_ranges(run))
    if not content:
        raise DataError(f"the picture `{format_printable(Path(path).name)}` cannot be read")
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})
