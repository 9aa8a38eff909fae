"""The job file of `fit --on` and `headstart run`: one TOML file with all that a job needs to know.

`[job]` holds the settings, `[remote]` how it runs (target, name, limits, `[remote.versions]` of the submitter and
`[remote.inputs]`, where paths of the job lie below the data that travel with it), `[target]` the target's options.
A plain `job.toml`, as a run has it, is a job file too.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.core import job as jobs
from headstart.core.errors import UsageError, format_nearest
from headstart.core.job import Job
from headstart.core.storage.files import write_text

NAME = "job.toml"
_TABLES = ("job", "remote", "target")
_NUMBERS = ("max_usd", "max_hours", "usd_per_hour")
_REMOTE = ("target", "name", "run", "shared_cache", *_NUMBERS, "versions", "inputs")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """A job with how it runs; of a plain `job.toml` only the job."""

    job: Job
    target: str = ""
    name: str = ""
    run: str = ""  # folder or address that survives the machine, for the run; where empty, that of the platform
    shared_cache: str = ""  # address of weights and vectors, where the machine names none itself
    max_usd: float | None = None
    max_hours: float | None = None
    usd_per_hour: float | None = None  # of the machine that runs it: turns `max_usd` into time
    versions: Mapping[str, str] = field(default_factory=dict)  # of the submitter; empty where nothing is compared
    inputs: Mapping[str, str] = field(default_factory=dict)  # setting -> path below the data that travel with the job
    options: Mapping[str, str] = field(default_factory=dict)  # of the target


def format_job_file(content: JobFile) -> str:
    """A job file as TOML."""
    import tomli_w

    job = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(content.job).items()}
    remote = {name: value for name in _REMOTE if (value := getattr(content, name)) not in (None, "", {})}
    remote = {name: dict(value) if isinstance(value, Mapping) else value for name, value in remote.items()}
    return tomli_w.dumps({"job": job, "remote": remote, "target": dict(content.options)})


def write_job_file(content: JobFile, path: Path) -> None:
    """Write a job file."""
    write_text(path, format_job_file(content))


def read_job_file(path: Path) -> JobFile:
    """Read a job file, or a plain `job.toml`.

    Raises:
        UsageError: It is not there, no TOML, or something in it is wrong; with every problem of the job at once.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no `{path}`", where=str(path), hint="name a job.toml") from None
    except (OSError, UnicodeDecodeError) as err:
        why = "it is no UTF-8 text" if isinstance(err, UnicodeDecodeError) else err.strerror
        raise UsageError(f"`{path}` cannot be read: {why}", where=str(path), hint="name a job.toml") from err
    except tomllib.TOMLDecodeError as err:
        raise UsageError(f"`{path}` is not TOML: {err}", where=str(path)) from err
    if not isinstance(content.get("job"), dict):
        return JobFile(job=jobs.read_job(path))
    _require_known(content, _TABLES, path)
    remote, options = content.get("remote", {}), content.get("target", {})
    if not isinstance(remote, dict) or not isinstance(options, dict):
        raise UsageError("[remote] and [target] are tables", where=str(path))
    _require_known(remote, _REMOTE, path)
    for name in ("versions", "inputs"):
        if not isinstance(remote.get(name, {}), dict):
            raise UsageError(f"[remote.{name}] is a table", where=str(path))
    for name in _NUMBERS:
        if name in remote and (isinstance(remote[name], bool) or not _is_positive(remote[name])):
            raise UsageError(f"{name} `{remote[name]}` is not a number above zero", where=str(path))
    try:
        job = jobs.make_job(**content["job"])
    except UsageError as err:
        raise UsageError(err.what, where=str(path), hint=err.hint) from err
    return JobFile(job=job, options={name: str(value) for name, value in options.items()}, **_as_texts(remote))


def require_job_name(name: str) -> str:
    """A job's name; raises UsageError for what some target would refuse."""
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", name):
        hint = "up to 63 small letters, digits and dashes, a letter or digit at both ends"
        raise UsageError(f"`{name}` is no name of a job", where="--name", hint=hint)
    return name


def _as_texts(remote: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(remote)
    for name in ("versions", "inputs"):
        values[name] = {str(key): str(value) for key, value in dict(values.get(name, {})).items()}
    return values


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < float("inf")


def _require_known(table: Mapping[str, Any], known: tuple[str, ...], path: Path) -> None:
    for name in table:
        if name not in known:
            hint = format_nearest(name, known) or f"known: {', '.join(known)}"
            raise UsageError(f"`{name}` is no key of a job file", where=str(path), hint=hint)
