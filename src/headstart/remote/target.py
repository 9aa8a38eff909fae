"""What a place where jobs run must be able to do, and the values that pass between it and the commands.

A target is one file of `remote/targets/` that ends in `PLUGIN = …`. What `submit` returns is all that the other
functions get: plain strings, enough to find the job from another machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from headstart.core.console import Console
    from headstart.core.errors import Problem
    from headstart.core.job import Job

StateName = Literal["pending", "running", "done", "failed", "cancelled", "interrupted"]
ENDED: frozenset[StateName] = frozenset(("done", "failed", "cancelled"))  # an interrupted one may start again


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOption:
    """One thing that a target must or may be told: `--on-option NAME=VALUE`, or a key of `[target]` in a job file."""

    name: str
    help: str
    default: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """A job and how it is to run on a target."""

    name: str  # of the job: letters, digits and dashes
    job: Job  # `data` and the other paths as they are on the submitter's machine
    options: Mapping[str, str] = field(default_factory=dict)  # of the target, defaults filled in
    max_usd: float | None = None
    max_hours: float | None = None
    spot: bool = False
    out: Path | None = None  # where the run is to lie on the submitter's machine


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate:
    """What a job will take; `assumptions` are sentences, those about prices with their date."""

    seconds: float
    usd: float | None  # None where nobody asks for money, or the price is not known
    upload_bytes: int
    assumptions: tuple[str, ...] = ()
    usd_per_hour: float | None = None  # of all machines of the job: what `--max-usd` is divided by


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """How a submitted job is; times are seconds since 1970, None where it has not come to that."""

    state: StateName
    reason: str = ""
    started: float | None = None
    ended: float | None = None


class Target(Protocol):
    """A place where a job can run."""

    name: str
    extra: str  # of `core.extras.EXTRAS`; empty for none
    options: tuple[TargetOption, ...]

    def find_problems(self, request: JobRequest) -> list[Problem]:
        """What stands in the way: credentials, region, bucket, a name that is taken, an image, a limit.

        Options may be missing or unknown: their absence is told already, and what rests on them is not asked.
        """

    def estimate(self, request: JobRequest) -> CostEstimate:
        """What the job will take; nothing is started, nothing costs money."""

    def submit(self, request: JobRequest, console: Console) -> dict[str, str]:
        """Start the job and return its state; where that fails, remove what was made, or list what stays."""

    def read_status(self, state: Mapping[str, str]) -> JobStatus:
        """How the job is."""

    def read_logs(self, state: Mapping[str, str], *, follow: bool) -> Iterator[str]:
        """Lines of its log so far; with `follow` until it ends."""

    def fetch(self, state: Mapping[str, str], out: Path, console: Console) -> Path:
        """Bring the run folder, of an unfinished job as far as it came, to `out`."""

    def cancel(self, state: Mapping[str, str]) -> None:
        """End the job; what it has done stays and can be fetched."""

    def describe_access(self, options: Mapping[str, str]) -> dict[str, Any]:
        """For `doctor --on NAME`: what is seen, `missing`, and the least `policy` that a job needs."""
