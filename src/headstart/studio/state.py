"""What the studio's routes work on; what it keeps beside the runs lies in `.studio` of their folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headstart.core.errors import BusyError
from headstart.core.storage.files import translate_disk_errors
from headstart.studio.image_folders import ImageFolders
from headstart.studio.run_browser import RunBrowser
from headstart.studio.task_runner import TaskRunner

STATIC = Path(__file__).resolve().parent / "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """All that the routes need; `audits` holds folders of audits, laid out as runs."""

    home: Path
    runs: RunBrowser
    audits: RunBrowser
    tasks: TaskRunner
    places: ImageFolders

    def browser_of(self, name: str) -> RunBrowser:
        """`runs` or `looks`."""
        return self.audits if name == "looks" else self.runs


def open_studio(runs: Path, root: Path) -> Studio:
    """A studio on a folder of runs; raises `SetupError` where it cannot be written."""
    runs = runs.resolve()
    home = runs / ".studio"
    with translate_disk_errors(home):
        for folder in ("tasks", "looks", "uploads", "tries"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)  # uploads, logs and results are nobody else's
    return Studio(
        home=home,
        runs=RunBrowser(runs),
        audits=RunBrowser(home / "looks"),
        tasks=TaskRunner(home / "tasks"),
        places=ImageFolders(root, home / "uploads", runs),
    )


@contextlib.contextmanager
def lock_studio(studio: Studio) -> Iterator[None]:
    """Be the only studio on a folder of runs, or raise `BusyError`; pictures that were tried before are gone."""
    import filelock

    lock = filelock.FileLock(studio.home / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        hint = "open the address that it printed, or choose another folder with `--runs`"
        raise BusyError(f"another studio works on `{studio.runs.folder}`", hint=hint) from None
    try:
        studio.tasks.clear_tasks(("predict", "explain", "plan", "compare"))
        for folder in (studio.home / "tries").iterdir():
            shutil.rmtree(folder, ignore_errors=True)
        yield
    finally:
        lock.release()
