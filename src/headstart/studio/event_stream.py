"""A run as it happens, as server-sent events: lines that it says, its state, and what its folder holds by now.

An event's id is the place in the log up to which lines were sent: a client goes on there after `Last-Event-ID`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from headstart.core.console import STAGE_WIDTH
from headstart.studio import run_browser
from headstart.studio.task_runner import END_STATES, Task, TaskRunner

_EVERY_S, _BEAT_S = 0.4, 15.0


async def stream_events(tasks: TaskRunner, task: Task | None, folder: Path, last: str) -> AsyncIterator[str]:
    """Events of a task (None where the run was started elsewhere) and its run folder until it has ended.

    The folder need not be there yet; `last` is the id of the last event that the client has, or empty.
    """
    log_offset, last_state, last_stamp, quiet = _log_offset(task, last), None, None, 0.0
    while True:
        lines, state, stamp = await asyncio.to_thread(_read_progress, tasks, task, folder, log_offset)
        sent = []
        for end, line in lines:
            log_offset = end
            sent.append(_format_event("line", _parse_line(line), f"{task.name}.{end}" if task else ""))
        if stamp != last_stamp:
            last_stamp = stamp
            sent.append(_format_event("facts", await asyncio.to_thread(run_browser.describe_run, folder)))
        if state != last_state:
            last_state = state
            error = tasks.find_error(task) if task else None
            started = tasks.read_start(task).get("at") if task else None
            sent.append(_format_event("state", {"state": state, "error": error, "started": started}))
        quiet = 0.0 if sent else quiet + _EVERY_S
        if quiet >= _BEAT_S:
            sent, quiet = [": still here\n\n"], 0.0
        for event in sent:
            yield event
        if state in END_STATES:
            yield _format_event("end", {"state": state})
            return
        await asyncio.sleep(_EVERY_S)


def _log_offset(task: Task | None, last: str) -> int:
    name, _, offset = last.partition(".")
    return int(offset) if task and name == task.name and re.fullmatch("[0-9]{1,15}", offset) else 0


def _read_progress(
    tasks: TaskRunner, task: Task | None, folder: Path, log_offset: int
) -> tuple[list[tuple[int, str]], str, tuple[Any, ...] | None]:
    """New lines, the state, and a mark that changes when the folder's content does; None while there is none."""
    state = tasks.find_state(task) if task else run_browser.find_state(folder)  # first: later, all lines are there
    return tasks.read_lines(task, log_offset) if task else [], state, run_browser.stamp_run(folder)


def _parse_line(line: str) -> dict[str, Any]:
    """A line of the log: its stage or `warning`, its text, and whether it is progress that the next one replaces."""
    text = line.lstrip("\r")
    if text.startswith(("warning: ", "error: ", "hint: ", "at: ")):
        kind, _, text = text.partition(": ")
        return {"stage": kind, "text": text, "moving": False}
    return {"stage": text[:STAGE_WIDTH].strip(), "text": text[STAGE_WIDTH:].strip(), "moving": line.startswith("\r")}


def _format_event(name: str, data: Any, event_id: str = "") -> str:
    id_line = f"id: {event_id}\n" if event_id else ""
    return f"{id_line}event: {name}\ndata: {json.dumps(data)}\n\n"
