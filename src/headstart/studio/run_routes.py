"""The studio's routes for files that a browser sends, and for what one does with runs: try, export, compare."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect

from headstart.core.errors import DataError, UsageError
from headstart.core.storage.files import format_printable, read_json, translate_disk_errors
from headstart.core.storage.locations.names import is_archive
from headstart.core.storage.tables import is_table
from headstart.studio import command_lines
from headstart.studio.event_stream import stream_events
from headstart.studio.image_folders import MAX_FILE
from headstart.studio.routes import OwnStudio, Text, describe_task, make_thumbnail, wait_for_task
from headstart.studio.run_browser import RunBrowser, map_rows
from headstart.studio.task_runner import Task

router = APIRouter()
_ANSWER_S = 180.0


@router.put("/api/uploads/{draft}/files/{name:path}")
async def receive_file(studio: OwnStudio, draft: str, name: str, request: Request) -> dict[str, Any]:
    """Take one file of a dropped folder; written whole or not at all."""
    target = studio.places.require_target(draft, name)
    count = await _store_body(request, target, lambda size: studio.places.reserve_bytes(draft, size))
    return {"file": name, "bytes": count}


async def _store_body(request: Request, target: Path, allow: Any = None) -> int:
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_FILE:
        raise UsageError(f"a picture has {MAX_FILE:,} bytes at most", where="file")
    if allow is not None:
        await run_in_threadpool(allow, int(length))
    draft = target.with_name(f".tmp-{secrets.token_hex(8)}")
    count = 0
    try:
        draft.parent.mkdir(parents=True, exist_ok=True)
        with translate_disk_errors(target), draft.open("xb") as out:
            async for part in request.stream():
                count += len(part)
                if count > MAX_FILE:
                    raise UsageError(f"a picture has {MAX_FILE:,} bytes at most", where="file")
                out.write(part)
        draft.replace(target)
    except ClientDisconnect:  # nobody reads this
        raise UsageError("the upload was cut off", where="file") from None
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as err:
        raise UsageError(f"`{format_printable(target.name)}` is both a file and a folder", where="file") from err
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return count


@router.post("/api/runs/{name}/tries")
async def try_picture(studio: OwnStudio, name: str, request: Request, file: str = "picture.jpg") -> dict[str, Any]:
    """Answer for one picture: `headstart predict`, and `headstart explain` where there is one."""
    run, key = studio.runs.require_run(name), secrets.token_hex(8)
    picture = studio.home / "tries" / key / _plain_file_name(file)
    if is_table(picture) or is_archive(picture.name):  # `predict` would read all that it names
        raise DataError(f"`{format_printable(file[:100])}` is no picture", hint="drop the pictures themselves")
    await _store_body(request, picture)
    return await run_in_threadpool(_answer_try, studio, run, picture, key)


def _answer_try(studio: Any, run: Path, picture: Path, key: str) -> dict[str, Any]:
    tasks = [studio.tasks.start_task("predict", ["predict", str(run), str(picture)])]
    if "explain" in command_lines.list_commands():
        out = picture.parent / "explained"
        tasks.append(studio.tasks.start_task("explain", ["explain", str(run), str(picture), "--out", str(out)]))
    answer, *explanations = (wait_for_task(studio, task, _ANSWER_S) for task in tasks)
    explained = _describe_explanation(run, explanations[0]) if explanations else None
    return {"try": key, "file": picture.name, "answer": answer, "explained": explained}


def _describe_explanation(run: Path, finished_task: dict[str, Any]) -> dict[str, Any]:
    """An explanation with what the page needs to show its pictures: the overlay's name, the neighbours' rows."""
    explanation = (finished_task["result"] or [{}])[-1]
    rows = map_rows(run) if explanation.get("neighbours") else {}
    neighbours = [neighbour | {"row": rows.get(neighbour["file"])} for neighbour in explanation.get("neighbours", [])]
    fields = {name: explanation.get(name) for name in ("class", "method", "why", "compared", "error")}
    overlay = Path(explanation.get("overlay") or "").name
    return finished_task | {"result": fields | {"overlay": overlay, "neighbours": neighbours}}


@router.get("/api/runs/{name}/tries/{key}/picture")
def show_tried_picture(studio: OwnStudio, name: str, key: str) -> Response:
    """A small copy of a picture that was tried."""
    files = sorted(path for path in _require_try(studio, key).iterdir() if path.is_file())
    if not files:
        raise DataError("the picture is gone")
    return make_thumbnail(files[0], studio.runs.require_run(name))


@router.get("/api/tries/{key}/explained/{file}")
def show_explained_picture(studio: OwnStudio, key: str, file: str) -> FileResponse:
    """A picture that `headstart explain` wrote for a try: the heat map, or a neighbour."""
    paths = (_require_try(studio, key) / "explained").rglob("*")
    pictures = {path.name: path for path in paths if path.suffix in (".png", ".jpg")}
    if file not in pictures:
        raise DataError(f"there is no `{format_printable(file[:100])}` among what was explained")
    return FileResponse(pictures[file])


def _require_try(studio: Any, key: str) -> Path:
    folder: Path = studio.home / "tries" / key
    if len(key) != 16 or set(key) - set("0123456789abcdef") or not folder.is_dir():
        raise DataError("there is no such try", hint="drop the picture again")
    return folder


def _plain_file_name(name: str) -> str:
    """The last part of a file's name, with its ending; anything odd in it is replaced."""
    last = name.replace("\\", "/").rpartition("/")[2]
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in last).lstrip(".")
    return safe[-80:].lstrip(".") or "picture"


@router.post("/api/runs/{name}/exports")
def start_export(studio: OwnStudio, name: str, to: Text, precision: Text = "f32") -> dict[str, Any]:
    """Write the model in another format: `headstart export`."""
    run, folder = studio.runs.require_run(name), RunBrowser(studio.runs.folder / "exports")
    with studio.tasks.lock:
        taken_names = {_output_folder(task).name for task in studio.tasks.list_tasks(f"runs/{name}", "export")}
        out = folder.folder / folder.make_free_name(f"{name}-{to}-{precision}", taken=taken_names)
        line = command_lines.make_export(str(run), to, precision, str(out))
        task = studio.tasks.start_task("export", line, run=f"runs/{name}")
    return {"out": str(out)} | describe_task(studio, task)


@router.get("/api/runs/{name}/exports")
def list_exports(studio: OwnStudio, name: str) -> dict[str, Any]:
    """Exports of a run that were asked for here, the newest first, with what they came to."""
    studio.runs.require_run(name)
    entries = []
    for task in reversed(studio.tasks.list_tasks(f"runs/{name}", "export")):
        out = _output_folder(task)
        result = (studio.tasks.read_results(task) or [None])[-1] or _read_export(out)
        entries.append(describe_task(studio, task) | {"to": task.words[3], "out": str(out), "result": result})
    return {"exports": entries}


def _output_folder(task: Task) -> Path:
    return Path(task.words[task.words.index("--out") + 1])


def _read_export(out: Path) -> Any:
    try:
        return read_json(out / "export.json")
    except (OSError, ValueError):
        return None


@router.get("/api/tasks/{task}/events")
def stream_task(studio: OwnStudio, task: str, last_event_id: Annotated[str, Header()] = "") -> StreamingResponse:
    """What a command says while it works, such as an export."""
    watched_task = studio.tasks.require_task(task)
    no_folder = studio.home / "tasks" / task / "none"
    stream = stream_events(studio.tasks, watched_task, no_folder, last_event_id)
    return StreamingResponse(stream, media_type="text/event-stream")


@router.post("/api/comparisons")
def compare_runs(studio: OwnStudio, runs: Annotated[list[str], Body(embed=True)]) -> dict[str, Any]:
    """Compare runs: `headstart compare`."""
    line = ["compare", *(str(studio.runs.require_run(name)) for name in runs)]
    return wait_for_task(studio, studio.tasks.start_task("compare", line), _ANSWER_S)
