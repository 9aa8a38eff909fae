"""Command lines as child processes, one folder each, with everything that is known of them on disk.

`task.json` is what was asked, `started.json` which process does it, `log` what it says on standard error, `result`
what it prints on standard output, `cancelled` that it was asked to stop. A studio that is started again finds the
children of before at work or done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.core.errors import DataError
from headstart.core.storage.files import read_json, write_json
from headstart.studio.process_identity import find_birth, is_alive

END_STATES = ("done", "failed", "cancelled", "cut short")
QUEUES = {"fit": 1, "other": 3}  # children at a time
INTERRUPTED = 130  # exit code of a command line that Ctrl-C ended
_POLL_S = 0.15
_ENVIRONMENT = {"HEADSTART_PROGRESS": "lines", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
_START = (  # a shell ignores Ctrl-C for what it runs in the background, and children would inherit that
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from headstart.cli.main import main; sys.exit(main(sys.argv[1:]))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One command line that was asked for."""

    name: str  # of its folder; in the order of asking
    kind: str
    words: tuple[str, ...]  # what follows `headstart`, without `--json`
    run: str = ""  # what it works on, as `runs/NAME` or `looks/NAME`

    @property
    def queue(self) -> str:
        """Which others it waits for."""
        return self.kind if self.kind in QUEUES else "other"


class _ChildProcess(subprocess.Popen[bytes]):
    def __del__(self) -> None:
        """Give no warning: a child may outlive the studio."""


class TaskRunner:
    """Starts, stops and remembers children."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()  # whoever chooses a name and asks for something under it
        self._children: dict[str, _ChildProcess] = {}  # only to collect their ends
        self._cached_tasks: dict[str, Task] = {}  # what was asked never changes
        self._ended_names: set[str] = set()  # nor does what has ended
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._run_loop, name="tasks", daemon=True)

    @contextlib.contextmanager
    def run_queue(self) -> Iterator[TaskRunner]:
        """Start what waits while the block runs; children outlive it."""
        self._watch.start()
        try:
            yield self
        finally:
            self._closed.set()
            self._watch.join()

    def _run_loop(self) -> None:
        while not self._closed.wait(_POLL_S):
            self.update_queue()

    def start_task(self, kind: str, words: Sequence[str], *, run: str = "") -> Task:
        """Note a command line; it starts at once or when those before it are done."""
        with self.lock:
            name = f"{time.time_ns():019d}-{secrets.token_hex(4)}"
            task = Task(name=name, kind=kind, words=tuple(words), run=run)
            write_json(self.folder / name / "task.json", dataclasses.asdict(task))
            self.update_queue()
        return task

    def update_queue(self) -> None:
        """Collect children that ended and start what waits and has room."""
        with self.lock:
            for name, child in list(self._children.items()):
                if child.poll() is not None:
                    del self._children[name]
            open_tasks = (task for task in self.list_tasks() if task.name not in self._ended_names)
            open_now = [(task, self.find_state(task)) for task in open_tasks]
            self._ended_names |= {task.name for task, state in open_now if state in END_STATES}
            for queue, room in QUEUES.items():
                busy = sum(1 for task, state in open_now if task.queue == queue and state == "running")
                waiting = [task for task, state in open_now if task.queue == queue and state == "queued"]
                for task in waiting[: max(0, room - busy)]:
                    self._start_child(task)

    def _start_child(self, task: Task) -> None:
        folder = self.folder / task.name
        with (folder / "log").open("wb") as log, (folder / "result").open("wb") as result:
            child = _ChildProcess(
                [sys.executable, "-c", _START, *task.words, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=result,
                stderr=log,
                env=os.environ | _ENVIRONMENT,
                start_new_session=True,  # Ctrl-C in the studio's terminal is not meant for it
            )
        self._children[task.name] = child
        write_json(folder / "started.json", {"pid": child.pid, "born": find_birth(child.pid), "at": time.time()})

    def stop_task(self, task: Task) -> None:
        """Ask a child to end as Ctrl-C does; asked again, more firmly. What waits never starts."""
        with self.lock:
            marker = self.folder / task.name / "cancelled"
            again = marker.exists()
            state = self.find_state(task)
            if state in ("queued", "running"):
                marker.touch()
            if state == "running":
                interrupt_process(self.read_start(task)["pid"], firmly=again)

    def clear_tasks(self, kinds: Sequence[str]) -> None:
        """Forget what is not at work of some kinds: answers that nobody waits for any more."""
        with self.lock:
            for task in self.list_tasks(None, *kinds):
                if self.find_state(task) != "running":
                    shutil.rmtree(self.folder / task.name, ignore_errors=True)
                    self._cached_tasks.pop(task.name, None)

    def list_tasks(self, run: str | None = None, *kinds: str) -> list[Task]:
        """Everything that was asked, oldest first; of one run or some kinds only, where they are named."""
        tasks = []
        for name in sorted(path.name for path in self.folder.iterdir()):
            if name not in self._cached_tasks:
                with contextlib.suppress(OSError, ValueError, TypeError):  # a folder that is half written or half gone
                    self._cached_tasks[name] = self._read_task(name)
            if name in self._cached_tasks:
                tasks.append(self._cached_tasks[name])
        return [task for task in tasks if run in (None, task.run) and (not kinds or task.kind in kinds)]

    def _read_task(self, name: str) -> Task:
        fields = read_json(self.folder / name / "task.json")
        return Task(**fields | {"words": tuple(fields["words"])})

    def require_task(self, name: str) -> Task:
        """A task by name; raises `DataError` where there is none."""
        is_name = re.fullmatch(r"[0-9]{19}-[0-9a-f]{8}", name)
        if not is_name or not (self.folder / name / "task.json").is_file():
            raise DataError(f"there is no task `{name}`", hint="reload the page: it may have been cleared away")
        return self._read_task(name)

    def read_start(self, task: Task) -> dict[str, Any]:
        """Process, its birth and the time at which it started; empty before that."""
        start: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            start = read_json(self.folder / task.name / "started.json")
        return start

    def find_state(self, task: Task) -> str:
        """`queued`, `running`, `done`, `failed`, `cancelled`; `cut short` when its process is gone without a word."""
        started, stopped = self.read_start(task), (self.folder / task.name / "cancelled").exists()
        if not started:
            return "cancelled" if stopped else "queued"
        child = self._children.get(task.name)
        if child.poll() is None if child else is_alive(started["pid"], started["born"]):
            return "running"
        error = self.find_error(task)
        if error is None:
            if (self.folder / task.name / "result").stat().st_size:
                return "done"
            return "cancelled" if stopped else "cut short"
        return "cancelled" if error.get("exit_code") == INTERRUPTED else "failed"

    def read_results(self, task: Task) -> list[Any]:
        """The JSON objects that it printed, one a line."""
        path, objects = self.folder / task.name / "result", []
        for line in path.read_bytes().splitlines() if path.is_file() else []:
            with contextlib.suppress(ValueError):
                objects.append(json.loads(line))
        return objects

    def find_error(self, task: Task) -> dict[str, Any] | None:
        """The error that the command line printed: what, where, hint; None without one."""
        last = (self.read_results(task) or [None])[-1]
        return last["error"] if isinstance(last, dict) and isinstance(last.get("error"), dict) else None

    def wait_for_end(self, task: Task, *, seconds: float) -> str:
        """Its state when it has ended or the time is over."""
        until = time.monotonic() + seconds
        while (state := self.find_state(task)) in ("queued", "running") and time.monotonic() < until:
            time.sleep(0.05)
        return state

    def read_lines(self, task: Task, start: int = 0) -> list[tuple[int, str]]:
        """Whole lines of its log from a byte on: where each ends, and its text; moving progress begins with CR."""
        path = self.folder / task.name / "log"
        if not path.is_file():
            return []
        with path.open("rb") as log:
            log.seek(start)
            content = log.read()
        lines, offset = [], start
        for line in content.split(b"\n")[:-1]:
            offset += len(line) + 1
            lines.append((offset, line.decode("utf-8", "backslashreplace")))
        return lines


def interrupt_process(pid: int, *, firmly: bool) -> None:
    """What Ctrl-C does; firmly it also ends what the child has started, which a signal to it alone would leave."""
    with contextlib.suppress(ProcessLookupError):
        if firmly and hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGTERM)  # it began a session, so the group is its own
        else:
            os.kill(pid, signal.SIGTERM if firmly else signal.SIGINT)
