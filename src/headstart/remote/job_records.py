"""The records of submitted jobs: one JSON file a job in the user's state folder, and a copy beside the job's own data.

A record holds all that a target needs to find its job, so a job can be followed from another folder, and by the copy
from another machine: `headstart jobs status s3://bucket/…/job.json`.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.errors import DataError, SetupError, UsageError, format_nearest
from headstart.core.settings import state_folder
from headstart.core.storage.files import read_json, write_json
from headstart.core.storage.locations.names import is_remote

if TYPE_CHECKING:
    from headstart.core.console import Console

FORMAT = 1
ADDRESS = "record"  # key of a state: the address where a copy of the record lies


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A submitted job."""

    name: str
    target: str
    state: dict[str, str]  # of the target
    submitted: float  # seconds since 1970
    data: str  # as the job names it
    out: str  # folder for the run on the submitter's machine


def save_record(record: JobRecord, console: Console) -> None:
    """Write a record, and its copy where the state says so; without the copy the job goes on all the same."""
    content = {"format": FORMAT, **dataclasses.asdict(record)}
    write_json(_record_file(record.name), content)
    if address := record.state.get(ADDRESS):
        from headstart.core.storage.locations.uploads import write_text_object

        try:
            write_text_object(address, json.dumps(content, indent=1) + "\n")
        except SetupError as err:
            console.print_warning(f"the job can be followed from this machine alone: {err.what}")


def find_record(name: str) -> JobRecord:
    """The record of a name, a file or an address.

    Raises:
        UsageError: There is none of this name.
        DataError: It is no record, or there is none at the address.
    """
    if is_remote(name):
        from headstart.core.storage.locations.uploads import read_text_object

        text = read_text_object(name)
        if text is None:
            raise DataError(f"there is no job at `{name}`", where=name, hint="check the spelling")
        return _parse_record(text, name)
    file = Path(name) if name.endswith(".json") else _record_file(name)
    if not file.is_file():
        names = [record.name for record in list_records()]
        hint = format_nearest(name, names) or "headstart jobs list shows the jobs; another machine's has an address"
        raise UsageError(f"no job is named `{name}` here", hint=hint)
    return _parse_record(file.read_text(encoding="utf-8", errors="replace"), str(file))


def list_records() -> list[JobRecord]:
    """All records of this user, the latest first; damaged ones are left out."""
    records = []
    for path in (state_folder() / "jobs").glob("*.json"):
        try:
            records.append(_make_record(read_json(path), str(path)))
        except (DataError, OSError, ValueError):
            continue
    return sorted(records, key=lambda record: (-record.submitted, record.name))


def has_record(name: str) -> bool:
    """Whether a job of this name was submitted by this user."""
    return _record_file(name).is_file()


def _record_file(name: str) -> Path:
    return state_folder() / "jobs" / f"{name}.json"


def _parse_record(text: str, where: str) -> JobRecord:
    try:
        return _make_record(json.loads(text), where)
    except ValueError as err:
        raise DataError(f"`{where}` is no record of a job", where=where) from err


def _make_record(content: Any, where: str) -> JobRecord:
    try:
        if content["format"] > FORMAT:
            raise DataError(f"`{where}` was written by a newer headstart", where=where, hint="update headstart")
        state = {str(name): str(value) for name, value in content["state"].items()}
        texts = {name: str(content[name]) for name in ("name", "target", "data", "out")}
        return JobRecord(state=state, submitted=float(content["submitted"]), **texts)
    except (KeyError, TypeError, AttributeError, ValueError) as err:
        raise DataError(f"`{where}` is no record of a job", where=where) from err
