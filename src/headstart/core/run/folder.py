"""A run folder: one sub-folder a stage, written atomically, owned by one process at a time, resumable.

`job.toml` is the request, `format.json` the version of this layout, `decisions.jsonl` every choice that a clock or a
measurement influenced. A decision is on disk before it acts; the same job on the same folder replays the decisions,
so a killed run ends as it would have ended unbroken. Times of steps are in `timings.json`, measured times that decide
something in `decisions.jsonl`; all other files of two such runs are equal byte for byte.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from headstart.core.errors import BusyError, DataError
from headstart.core.storage.files import read_json, remove_drafts, require_format, translate_disk_errors, write_json
from headstart.core.storage.hashing import compute_digest

FORMAT = 1
_FOLDERS = (
    *(
        "adapt",
        "audit",
        "doubt",
        "embed",
        "evaluate",
        "explain",
        "export",
        "forecast",
        "map",
        "mlflow",
        "model",
        "names",
    ),
    *("domains", "rank", "read", "report", "splits", "tensorboard"),
)
PROBLEMS = "problems.csv"  # of data that was refused
_FILES = (
    "decisions.jsonl",
    "timings.json",
    "job.toml",
    "README.md",
    "report.html",
    "map.html",
    ".local.json",
    PROBLEMS,
)


class RunFolder:
    """An opened run folder; it need not exist before `lock_folder`."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._decisions: dict[str, Any] | None = None

    @contextlib.contextmanager
    def lock_folder(self) -> Iterator[None]:
        """Own the folder while the block runs; what a killed owner left half written is gone.

        Raises:
            BusyError: Another process owns it.
            SetupError: It cannot be written.
        """
        import filelock

        with translate_disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock", timeout=0)
            try:
                lock.acquire()
            except filelock.Timeout:
                what = f"another process is working on the run `{self.path}`{self._format_owner()}"
                raise BusyError(what, hint="wait for it, or choose another folder with `--out`") from None
        try:
            with translate_disk_errors(self.path):
                remove_drafts(self.path)
            write_json(self.path / ".owner.json", {"pid": os.getpid()})
            self._check_format(write=True)
            yield
        finally:
            with contextlib.suppress(OSError):
                (self.path / ".owner.json").unlink()
            lock.release()

    def _format_owner(self) -> str:
        try:
            return f" (process {read_json(self.path / '.owner.json')['pid']})"
        except (OSError, ValueError, KeyError):
            return ""

    def require_run(self) -> None:
        """Refuse a folder that is no run, or that a newer version wrote, by a DataError."""
        if not self.path.is_dir():
            raise DataError(f"there is no run folder `{self.path}`", hint="headstart fit DATA --out RUN makes one")
        if not (self.path / "format.json").is_file():
            raise DataError(f"`{self.path}` is not a run folder: it has no format.json")
        self._check_format(write=False)

    def _check_format(self, *, write: bool) -> None:
        path = self.path / "format.json"
        if path.is_file():
            try:
                version = int(read_json(path)["format"])
            except (ValueError, KeyError, TypeError, OverflowError) as err:
                raise DataError(f"`{self.path}` is not a run folder: its format.json is damaged") from err
            require_format(version, FORMAT, f"the run `{self.path}`")
        elif write:
            write_json(path, {"format": FORMAT})

    def make_step_folder(self, stage: str) -> Path:
        """The folder of a stage, made when missing."""
        path = self.path / stage
        with translate_disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def forget_decisions(self) -> None:
        """Begin anew in the same folder, and forget what the audit said."""
        with translate_disk_errors(self.path):
            shutil.rmtree(self.path / "audit", ignore_errors=True)
            (self.path / "decisions.jsonl").unlink(missing_ok=True)
        self._decisions = None

    def remove_contents(self) -> None:
        """Remove what headstart wrote here; other files stay."""
        with translate_disk_errors(self.path):
            for name in _FOLDERS:
                shutil.rmtree(self.path / name, ignore_errors=True)
            for name in _FILES:
                (self.path / name).unlink(missing_ok=True)
        self._decisions = None

    def remove_folder(self) -> None:
        """Remove the folder of an owner that has written nothing but what headstart writes."""
        self.remove_contents()
        with contextlib.suppress(OSError):
            for name in ("format.json", ".owner.json", ".lock"):
                (self.path / name).unlink(missing_ok=True)
            self.path.rmdir()

    # -- decisions

    def _read_decision_values(self) -> dict[str, Any]:
        if self._decisions is None:
            self._decisions = {entry["name"]: entry["value"] for entry in self.read_decisions()}
        return self._decisions

    def read_decisions(self) -> list[dict[str, Any]]:
        """All entries of `decisions.jsonl` with `name`, `value` and `why`; a line that a kill cut short never acted.

        Raises:
            DataError: A whole line is damaged: what it decided is lost, and nothing may be decided in its place.
        """
        path, decisions = self.path / "decisions.jsonl", []
        for number, line in enumerate((line for line in _read_lines(path) if line.endswith(b"\n")), 1):
            try:
                entry = json.loads(line)
                decision = {"name": str(entry["name"]), "value": entry["value"], "why": str(entry["why"])}
                if entry.get("digest", digest := compute_digest(decision)) != digest:  # older runs have none
                    raise ValueError("it was changed after it was written")
                decisions.append(decision)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
                hint = "choose another folder with `--out`: what is cached is not done again"
                what = f"a decision of the run is damaged: {err!r}"
                raise DataError(what, where=f"{path}:{number}", hint=hint) from err
        return decisions

    def find_decision(self, name: str) -> Any:
        """The recorded decision of this name; None when there is none."""
        return self._read_decision_values().get(name)

    def record_decision(self, name: str, make: Callable[[], Any], why: str = "") -> Any:
        """The recorded decision of this name, or the plain JSON that `make` gives, recorded before it is returned."""
        values = self._read_decision_values()
        if name not in values:
            value = json.loads(json.dumps(make(), allow_nan=False))
            decision = {"name": name, "value": value, "why": why}
            self._append_decision({**decision, "digest": compute_digest(decision)})
            values[name] = value
        return values[name]

    def _append_decision(self, entry: dict[str, Any]) -> None:
        path = self.path / "decisions.jsonl"
        with translate_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            finished = b"".join(line for line in _read_lines(path) if line.endswith(b"\n"))
            with path.open("r+b" if path.exists() else "wb") as out:
                out.truncate(len(finished))
                out.seek(0, os.SEEK_END)
                out.write(json.dumps(entry, ensure_ascii=True).encode("ascii") + b"\n")
                out.flush()
                os.fsync(out.fileno())


def _read_lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []
