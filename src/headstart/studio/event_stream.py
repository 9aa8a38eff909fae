"""A run as it happens, as server-sent events: lines that it says, its state, and what its folder holds by now.

An event's id is the place in the log up to which lines were sent, so that a client that lost the line goes on there
(`Last-Event-ID`), even with a studio that was started again meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from headstart.studio import run_browser as shelf
from headstart.studio.task_runner import ENDED, Task, TaskRunner

_EVERY_S, _BEAT_S = 0.4, 15.0


async def follow(desk: TaskRunner, task: Task | None, folder: Path, last: str) -> AsyncIterator[str]:
    """Events of a task and its run folder until it has ended.

    Args:
        desk: Knows the task.
        task: What makes the run; None for one that was started elsewhere.
        folder: The run folder; it need not be there yet.
        last: Id of the last event that the client has, or empty.
    """
    place, before, seen, quiet = _place(task, last), None, None, 0.0
    while True:
        lines, state, mark = await asyncio.to_thread(_look, desk, task, folder, place)
        sent = []
        for end, line in lines:
            place = end
            sent.append(_event("line", _parsed(line), f"{task.name}.{end}" if task else ""))
        if mark != seen:
            seen = mark
            sent.append(_event("facts", await asyncio.to_thread(shelf.facts, folder)))
        if state != before:
            before = state
            error = desk.error(task) if task else None
            started = desk.started(task).get("at") if task else None
            sent.append(_event("state", {"state": state, "error": error, "started": started}))
        quiet = 0.0 if sent else quiet + _EVERY_S
        if quiet >= _BEAT_S:
            sent, quiet = [": still here\n\n"], 0.0
        for one in sent:
            yield one
        if state in ENDED:
            yield _event("end", {"state": state})
            return
        await asyncio.sleep(_EVERY_S)


def _place(task: Task | None, last: str) -> int:
    """Where in the log to go on: after what was sent of this very task, else at its beginning."""
    name, _, place = last.partition(".")
    return int(place) if task and name == task.name and re.fullmatch("[0-9]{1,15}", place) else 0


def _look(
    desk: TaskRunner, task: Task | None, folder: Path, place: int
) -> tuple[list[tuple[int, str]], str, tuple[Any, ...] | None]:
    """New lines, the state, and a mark that changes when the folder's content does; None while there is none.

    The state is read first: of a task that has ended all lines are there.
    """
    if task:
        state = desk.state(task)
    else:
        state = "running" if shelf.owner(folder) else "done" if (folder / "report.html").is_file() else "cut short"
    return desk.lines(task, place) if task else [], state, shelf.mark(folder)


def _parsed(line: str) -> dict[str, Any]:
    """A line of the log: its stage, its text, whether it is progress that the next one replaces, or a warning."""
    text = line.lstrip("\r")
    if text.startswith(("warning: ", "error: ", "hint: ", "at: ")):
        kind, _, text = text.partition(": ")
        return {"stage": kind, "text": text, "moving": False}
    return {"stage": text[:9].strip(), "text": text[9:].strip(), "moving": line.startswith("\r")}


def _event(name: str, data: Any, mark: str = "") -> str:
    told = f"id: {mark}\n" if mark else ""
    return f"{told}event: {name}\ndata: {json.dumps(data)}\n\n"
