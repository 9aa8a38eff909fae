"""What a reader gives: the files of a data set, and what is said of each: labels, split, group, weight, time.

A reader is a file in `headstart.data.readers`. It knows one form of data, and opens no picture; `read_dataset` does.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import NamedTuple, Protocol, cast

from headstart.core import registry
from headstart.core.errors import DataError, UsageError
from headstart.core.job import TABLE_SETTINGS, Job, TaskName, format_flag
from headstart.core.picture_settings import BY_NAME
from headstart.core.storage import tables
from headstart.core.storage.locations import localize, require_address
from headstart.core.storage.locations.names import is_remote
from headstart.core.types import CLASSIFICATION, UNLABELLED, SkippedFile

_FETCHED = (*tables.SUFFIXES, ".json", ".xml")  # single files, which are fetched before they are read
FOLDERS = "class_folders"  # reads whatever no other reader recognises
TABLE = "table"  # reads rows with columns


class NoLabelsError(DataError):
    """No picture has a label, and a model is to learn; a reader raises it unless the task is `unlabelled`."""


class Record(NamedTuple):
    """One picture."""

    uri: str  # relative to the root, `/` between parts
    labels: tuple[str, ...]  # as texts; several for several labels, none where the label is missing
    split: str = ""  # `train`, `val`, `test` or empty
    group: str = ""  # what it belongs to, such as a patient; empty where nothing says so
    weight: float = 1.0
    time_s: float = math.nan  # seconds since 1970, or any number that grows with time


@dataclass(slots=True, kw_only=True)
class Labelling:
    """What is said of the usable pictures."""

    records: list[Record]
    class_names: tuple[str, ...] = ()  # classes that are there without a picture too
    skipped: list[SkippedFile] = field(default_factory=list)  # usable pictures that nothing can be learnt from
    unlabelled: list[str] = field(default_factory=list)  # uris of pictures without a label
    task: str = CLASSIFICATION.name  # what is learnt from the labels
    order: tuple[str, ...] = ()  # grades from the lowest to the highest, where they are no numbers
    target_name: str = ""  # what a number measures
    notes: list[str] = field(default_factory=list)  # what else a person should know, a line each
    added: frozenset[str] = frozenset()  # uris whose label is of `--more`
    split_names: dict[str, str] = field(default_factory=dict)  # `test` -> how the data set calls it


@dataclass(slots=True, kw_only=True)
class Listing:
    """The files of a data set, before any is opened."""

    name: str  # of the data set
    root: str  # absolute; root + "/" + uri is where a picture lies
    uris: list[str]  # files to be inspected, sorted by bytes, each once
    skipped: list[SkippedFile]  # files, or rows of a table, that are not
    # From the uris that are usable pictures and all skipped files to what is said of them; raises DataError.
    label_pictures: Callable[[Sequence[str], Sequence[SkippedFile]], Labelling]


class Reader(Protocol):
    """A file in `headstart.data.readers`: `PLUGIN` has these attributes."""

    name: str
    settings: frozenset[str]  # of a job, those that say how this form is read; refused where another is

    def recognises(self, location: str) -> bool:
        """Whether a location holds this form; told by names and first bytes, and False where there is nothing."""

    def require_readable(self, location: str, job: Job) -> None:
        """Refuse what cannot be read, before anything starts; raises DataError or UsageError."""

    def list_pictures(self, location: str, job: Job, leave_out: frozenset[str]) -> Listing:
        """List the files, but for folders whose real paths are in `leave_out`; raises DataError."""


class _FetchedReader:
    """Reads a copy of a file in an object store; relative paths in it start from its own folder there."""

    def __init__(self, address: str) -> None:
        self._path, self._folder = localize(require_address(address)), address.rpartition("/")[0]
        self._reader = find_reader(self._path)
        self.name, self.settings = self._reader.name, self._reader.settings

    def recognises(self, location: str) -> bool:
        return self._reader.recognises(self._path)

    def require_readable(self, location: str, job: Job) -> None:
        self._reader.require_readable(self._path, replace(job, images=job.images or self._folder))

    def list_pictures(self, location: str, job: Job, leave_out: frozenset[str]) -> Listing:
        job = replace(job, images=job.images or self._folder)
        return self._reader.list_pictures(self._path, job, leave_out)


def find_reader(location: str) -> Reader:
    """The reader that recognises a location; that of class folders where no other does."""
    if is_remote(location) and PurePosixPath(location).suffix.lower() in _FETCHED:
        return _FetchedReader(location)
    names = sorted(registry.list_plugins("readers"), key=lambda name: name == FOLDERS)
    readers: Iterable[Reader] = (registry.load_plugin("readers", name) for name in names)
    return next(reader for reader in readers if reader.name == FOLDERS or _recognises(reader, location))


def _recognises(reader: Reader, location: str) -> bool:
    try:
        return reader.recognises(location)
    except OSError:  # a folder that may not be read; the last reader says so
        return False


def list_pictures(location: str, job: Job, leave_out: frozenset[str], *, needs_labels: bool) -> Listing:
    """The files of a data set as its reader lists them; raises `NoLabelsError` only where labels are needed."""
    reader, unlabelled = find_reader(location), replace(job, task=cast(TaskName, UNLABELLED.name))
    try:
        listing = reader.list_pictures(location, job, leave_out)
    except NoLabelsError:
        if needs_labels:
            raise
        return reader.list_pictures(location, unlabelled, leave_out)

    def label_pictures(pictures: Sequence[str], skipped: Sequence[SkippedFile]) -> Labelling:
        try:
            return listing.label_pictures(pictures, skipped)
        except NoLabelsError:
            if needs_labels:
                raise
            return reader.list_pictures(location, unlabelled, leave_out).label_pictures(pictures, skipped)

    return replace(listing, label_pictures=label_pictures)


def require_readable(job: Job) -> None:
    """Refuse data that no reader can read, and settings that its form does not have; raises DataError or UsageError."""
    find_used_reader(job).require_readable(job.data, job)


def find_used_reader(job: Job) -> Reader:
    """The reader of a job's data; raises UsageError for settings that its form does not have."""
    reader = find_reader(job.data)
    of_tables = set(TABLE_SETTINGS) - ({"group"} if job.group.startswith(BY_NAME) else set())
    used = reader.settings
    if job.unlabeled:  # pictures of a new domain may be a table where DATA is none
        used |= find_reader(job.unlabeled).settings & {"images", "path", "target"}
    idle = [name for name in TABLE_SETTINGS if getattr(job, name) and name in of_tables - used]
    if idle:
        flags = ", ".join(f"`{format_flag(name)}`" for name in idle)
        problem = f"{flags} would do nothing: `{job.data}` is read as {reader.name.replace('_', ' ')}"
        raise UsageError(problem, where=format_flag(idle[0]), hint="leave it out, or give a table of labels as DATA")
    return reader


def sort_by_bytes(uris: Iterable[str]) -> list[str]:
    """Uris in the order of their bytes, which no locale and no file system changes."""
    return sorted(uris, key=os.fsencode)
