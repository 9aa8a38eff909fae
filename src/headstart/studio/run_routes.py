"""The studio's routes for files that a browser sends, and for what one does with runs: try, export, compare."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect

from headstart.core.errors import DataError, UsageError
from headstart.core.storage.files import format_printable, read_json, translate_disk_errors
from headstart.studio import command_lines as words
from headstart.studio.event_stream import follow
from headstart.studio.image_folders import MAX_FILE
from headstart.studio.routes import Own, finished, small, told
from headstart.studio.run_browser import RunBrowser, row_of
from headstart.studio.task_runner import Task

router = APIRouter()
_ANSWER_S = 180.0


# ---------------------------------------------------------------- uploads


@router.put("/api/uploads/{draft}/files/{name:path}")
async def receive(own: Own, draft: str, name: str, request: Request) -> dict[str, Any]:
    """Take one file of a dropped folder; written whole or not at all."""
    target = own.places.target(draft, name)
    count = await _stored(request, target, lambda size: own.places.take(draft, size))
    return {"file": name, "bytes": count}


async def _stored(request: Request, target: Path, allow: Any = None) -> int:
    """Stream a request's body into a file, beside its name first.

    Raises:
        UsageError: It has more bytes than one picture may have, or its size is not told.
        DataError: There is no room for it.
    """
    told = request.headers.get("content-length", "")
    if not told.isdigit() or int(told) > MAX_FILE:
        raise UsageError(f"a picture has {MAX_FILE:,} bytes at most", where="file")
    if allow is not None:
        await run_in_threadpool(allow, int(told))
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


# ---------------------------------------------------------------- trying


@router.post("/api/runs/{name}/tries")
async def attempt(own: Own, name: str, request: Request, file: str = "picture.jpg") -> dict[str, Any]:
    """Answer for one picture: `headstart predict`, and `headstart explain` where there is one."""
    run = own.runs.path(name)
    key = secrets.token_hex(8)
    folder = own.home / "tries" / key
    picture = folder / _plain(file)
    await _stored(request, picture)
    return await run_in_threadpool(_answers, own, run, picture, key)


def _answers(own: Any, run: Path, picture: Path, key: str) -> dict[str, Any]:
    asked = [own.desk.ask("predict", words.predict(str(run), str(picture)))]
    if "explain" in words.offered():
        out = picture.parent / "explained"
        asked.append(own.desk.ask("explain", words.explain(str(run), str(picture), str(out))))
    answer, *rest = (finished(own, task, _ANSWER_S) for task in asked)
    explained = _shown(run, rest[0]) if rest else None
    return {"try": key, "file": picture.name, "answer": answer, "explained": explained}


def _shown(run: Path, found: dict[str, Any]) -> dict[str, Any]:
    """An explanation with what the page needs to show its pictures: the overlay's name, the neighbours' rows."""
    last = (found["result"] or [{}])[-1]
    rows = row_of(run) if last.get("neighbours") else {}
    near = [one | {"row": rows.get(one["file"])} for one in last.get("neighbours", [])]
    kept = {name: last.get(name) for name in ("class", "method", "why", "compared", "error")}
    return found | {"result": kept | {"overlay": Path(last.get("overlay") or "").name, "neighbours": near}}


@router.get("/api/tries/{key}/picture")
def tried(own: Own, key: str) -> Response:
    """A small copy of a picture that was tried."""
    files = sorted(path for path in _tried(own, key).iterdir() if path.is_file())
    if not files:
        raise DataError("the picture is gone")
    return small(files[0])


@router.get("/api/tries/{key}/explained/{file}")
def explained(own: Own, key: str, file: str) -> FileResponse:
    """A picture that `headstart explain` wrote for a try: the heat map, or a neighbour."""
    there = {path.name: path for path in (_tried(own, key) / "explained").rglob("*") if path.suffix in (".png", ".jpg")}
    if file not in there:
        raise DataError(f"there is no `{format_printable(file[:100])}` among what was explained")
    return FileResponse(there[file])


def _tried(own: Any, key: str) -> Path:
    folder: Path = own.home / "tries" / key
    if len(key) != 16 or set(key) - set("0123456789abcdef") or not folder.is_dir():
        raise DataError("there is no such try", hint="drop the picture again")
    return folder


def _plain(name: str) -> str:
    """The last part of a file's name, so that its ending tells what it is; anything odd in it is replaced."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(c if c.isalnum() or c in "._-" else "_" for c in last).lstrip(".")
    return kept[-80:].lstrip(".") or "picture"


# ---------------------------------------------------------------- exporting


@router.post("/api/runs/{name}/exports")
def export(
    own: Own,
    name: str,
    to: Annotated[str, Body(embed=True)],
    precision: Annotated[str, Body(embed=True)] = "f32",
) -> dict[str, Any]:
    """Write the model in another format: `headstart export`."""
    run, folder = own.runs.path(name), RunBrowser(own.runs.folder / "exports")
    with own.desk.alone:
        asked = {_out(task).name for task in own.desk.tasks(f"runs/{name}") if task.kind == "export"}
        out = folder.folder / folder.free(f"{name}-{to}-{precision}", taken=asked)
        task = own.desk.ask("export", words.export(str(run), to, precision, str(out)), run=f"runs/{name}")
    return {"out": str(out)} | told(own, task)


@router.get("/api/runs/{name}/exports")
def exports(own: Own, name: str) -> dict[str, Any]:
    """Exports of a run that were asked for here, the newest first, with what they came to."""
    own.runs.path(name)
    found = []
    for task in reversed(own.desk.tasks(f"runs/{name}")):
        if task.kind == "export":
            out = _out(task)
            result = (own.desk.result(task) or [None])[-1] or _written(out)
            found.append(told(own, task) | {"to": task.words[3], "out": str(out), "result": result})
    return {"exports": found}


def _out(task: Task) -> Path:
    return Path(task.words[task.words.index("--out") + 1])


def _written(out: Path) -> Any:
    try:
        return read_json(out / "export.json")
    except (OSError, ValueError):
        return None


@router.get("/api/tasks/{task}/events")
def watched(own: Own, task: str, last_event_id: Annotated[str, Header()] = "") -> StreamingResponse:
    """What a command says while it works, such as an export."""
    found = own.desk.find(task)
    nowhere = own.home / "tasks" / task / "none"
    stream: AsyncIterator[str] = follow(own.desk, found, nowhere, last_event_id)
    return StreamingResponse(stream, media_type="text/event-stream")


# ---------------------------------------------------------------- comparing


@router.post("/api/comparisons")
def compare(own: Own, runs: Annotated[list[str], Body(embed=True)]) -> dict[str, Any]:
    """Compare runs: `headstart compare`."""
    line = words.compare([str(own.runs.path(name)) for name in runs])
    return finished(own, own.desk.ask("compare", line), _ANSWER_S)
