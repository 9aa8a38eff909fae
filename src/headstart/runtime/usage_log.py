"""A model in use: counts by day that `predict` and `serve` keep, and what they are compared with.

`usage.json` in a model's folder holds the same counts of pictures that the model never learnt from. A log is JSON
Lines, one object a day and call; several logs simply add up. A line that a kill cut short is passed over.
"""

from __future__ import annotations

import datetime
import errno
import json
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.errors import DataError, UsageError
from headstart.core.storage.files import read_json, translate_disk_errors, write_json
from headstart.core.storage.hashing import compute_digest, file_digest
from headstart.core.types import Prediction
from headstart.runtime import usage_counts
from headstart.runtime.usage_counts import Counts

if TYPE_CHECKING:
    from headstart.runtime.model import Model

FORMAT = 1
NAME = "usage.json"
_MAKES = "headstart predict RUN FILES --usage LOG makes one"
_BEGIN = f'{{"format": {FORMAT}, "model": "'.encode()  # of every line of a log
_LONGEST = 1 << 24  # bytes of a line that are looked at


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UsageReference:
    """What a model's answers to pictures that it never learnt from come to."""

    model: str  # digest of the manifest
    split: str  # which pictures: `target`, `test`, `val` or `cv`
    counts: Counts
    edges: np.ndarray  # (DIRECTIONS, TENTHS - 1) float64 ends of the tenths of the features' sketch
    number_edges: np.ndarray | None = None  # (TENTHS - 1,) float64 of the answers, where these are numbers


def model_digest(folder: Path) -> str:
    """What a model is known by in logs."""
    return file_digest(folder / "manifest.json")


def write_reference(reference: UsageReference, folder: Path) -> None:
    """Write `usage.json` into a model's folder, with its own digest."""
    content = {"format": FORMAT, "model": reference.model, "split": reference.split, "edges": reference.edges.tolist()}
    content["counts"] = reference.counts.as_json()
    if reference.number_edges is not None:
        content["number_edges"] = reference.number_edges.tolist()
    write_json(folder / NAME, content | {"digest": compute_digest(content)})


def read_reference(folder: Path) -> UsageReference | None:
    """The reference in a model's folder; None where there is none, as of an older run.

    Raises:
        DataError: It is damaged, of another model, or of a newer version.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    hint = "copy the whole model folder again, or run the `headstart fit` that made the run again"
    try:
        content = read_json(path)
        if int(content["format"]) > FORMAT:
            raise DataError(f"`{path}` has format {content['format']}; this version reads up to {FORMAT}")
        if content.pop("digest") != compute_digest(content):
            raise DataError(f"`{path}` was changed after it was written", where=str(path), hint=hint)
        edges = np.array(content["edges"], np.float64).reshape(usage_counts.DIRECTIONS, usage_counts.TENTHS - 1)
        reference = UsageReference(
            model=content["model"],
            split=content["split"],
            counts=usage_counts.from_json(content["counts"]),
            edges=edges,
            number_edges=np.array(content["number_edges"], np.float64) if "number_edges" in content else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise DataError(f"`{path}` is no reference: {err!r}", where=str(path), hint=hint) from err
    if reference.model != model_digest(folder):
        raise DataError(f"`{path}` belongs to another model", where=str(path), hint=hint)
    return reference


class UsageCounter:
    """Counts of a model in use, by day (UTC); any thread may count; without `reference` no features are counted."""

    def __init__(
        self,
        model: str,
        reference: UsageReference | None,
        *,
        has_sets: bool = True,
        today: Callable[[], str] = lambda: datetime.datetime.now(datetime.UTC).date().isoformat(),
    ) -> None:
        self._model, self._has_sets = model, has_sets
        self._edges = None if reference is None else reference.edges
        self._number_edges = None if reference is None else reference.number_edges
        self._today = today
        self._days: dict[str, Counts] = {}
        self._lock, self._writing = threading.Lock(), threading.Lock()

    @classmethod
    def from_model(cls, model: Model) -> UsageCounter:
        """For a loaded model. Raises `DataError`: its reference is damaged."""
        reference = read_reference(model.folder)
        return cls(model_digest(model.folder), reference, has_sets=model.manifest.doubt is not None)

    def count_answers(self, predictions: Sequence[Prediction], features: np.ndarray | None = None) -> None:
        """Count B answers, with their (B, D) features if at hand."""
        new_counts = usage_counts.count_predictions(
            predictions, features, self._edges, number_edges=self._number_edges, has_sets=self._has_sets
        )
        day = self._today()
        with self._lock:
            _add_counts(self._days, day, new_counts)

    def append_counts(self, path: Path) -> None:
        """Append what was counted since the last time, a line a day, and begin anew; nothing counted writes nothing.

        Raises:
            SetupError: The disk refuses; the counts are kept for the next time.
        """
        with self._writing:
            with self._lock:
                days, self._days = self._days, {}
            try:
                _append_lines(path, [self._format_line(day, days[day]) for day in sorted(days)])
            except BaseException:
                with self._lock:
                    for day, day_counts in days.items():
                        _add_counts(self._days, day, day_counts)
                raise

    def _format_line(self, day: str, day_counts: Counts) -> str:
        head = {"format": FORMAT, "model": self._model, "day": day}
        return json.dumps({**head, **day_counts.as_json()}, ensure_ascii=True, allow_nan=False) + "\n"


def require_log(path: Path) -> None:
    """Refuse to append to a file that is no log or cannot be written, before there is work to lose.

    Raises:
        UsageError: The file holds something else.
        DataError: A newer version wrote it.
        SetupError: It cannot be written.
    """
    with translate_disk_errors(path):
        if path.is_file():  # a device or a pipe holds nothing
            with path.open("rb") as handle:
                first = handle.readline(_LONGEST)
            start = first.rstrip(b"\n")
            is_log = len(start) > 1 and (start.startswith(_BEGIN) or _BEGIN.startswith(start))  # a kill may have cut it
            if first and not is_log and _read_entry(first, path) is None:
                problem = f"the file `{path}` holds something else than counts of answers"
                raise UsageError(problem, where="--usage", hint="name a new file, such as `--usage usage.jsonl`")
        with path.open("ab"):
            pass


def _add_counts(days: dict[str, Counts], day: str, new_counts: Counts) -> None:
    so_far = days.setdefault(day, Counts())
    so_far += new_counts


def _append_lines(path: Path, lines: Sequence[str]) -> None:
    if not lines:
        return
    with translate_disk_errors(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            size = os.lseek(handle, 0, os.SEEK_END)
            if size:
                os.lseek(handle, size - 1, os.SEEK_SET)
                if os.read(handle, 1) != b"\n":
                    lines = ["\n", *lines]  # a kill cut the last line short: it stays alone
            content = "".join(lines).encode("ascii")
            if os.write(handle, content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UsageLog:
    """What some logs say of one model, by day; `foreign` counts lines of other models, `damaged` unreadable ones."""

    days: dict[str, Counts]
    foreign: int
    damaged: int


def read_logs(paths: Iterable[Path], model: str) -> UsageLog:
    """Add up logs, as far as they speak of a model.

    Raises:
        DataError: A log cannot be read, or a newer version wrote it.
    """
    days: dict[str, Counts] = {}
    foreign = damaged = 0
    for path in paths:
        try:
            with path.open("rb") as handle:
                for line in filter(bytes.strip, handle):
                    entry = _read_entry(line, path)
                    if entry is None:
                        damaged += 1
                    elif entry["model"] != model:
                        foreign += 1
                    else:
                        _add_counts(days, entry["day"], entry["counts"])
        except OSError as err:
            problem = f"the log `{path}` cannot be read: {err.strerror or err}"
            if isinstance(err, FileNotFoundError):
                problem = f"there is no log `{path}`: nothing was counted there yet"
            raise DataError(problem, where=str(path), hint=_MAKES) from err
    return UsageLog(days=dict(sorted(days.items())), foreign=foreign, damaged=damaged)


def explain_empty_logs(paths: Sequence[Path], log: UsageLog, model: Path) -> DataError:
    """Why logs hold no picture of a model: they are of others, are no logs, or nothing was counted yet."""
    names = ", ".join(f"`{path}`" for path in paths)
    if log.foreign:
        sentence = f"the logs say nothing of the model `{model}`; {log.foreign:,} lines are of other models"
        return DataError(sentence, where=str(paths[0]))
    if log.damaged:
        problem = f"{names} is no usage log" if len(paths) == 1 else f"none of {names} is a usage log"
    else:
        problem = f"{names} {'is' if len(paths) == 1 else 'are'} empty: nothing was counted there yet"
    return DataError(problem, where=str(paths[0]), hint=_MAKES)


def _read_entry(line: bytes, path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
        format_number, model = int(content["format"]), str(content["model"])
        day = datetime.date.fromisoformat(content["day"]).isoformat()
        if format_number <= FORMAT:
            return {"model": model, "day": day, "counts": usage_counts.from_json(content)}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    raise DataError(f"the log `{path}` has format {format_number}; this version reads up to {FORMAT}", where=str(path))
