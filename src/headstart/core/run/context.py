"""What every stage gets besides its values: the run folder, the store, the output, the budget and the seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.job import Job
from headstart.core.run.folder import RunFolder
from headstart.core.run.reader import RunReader
from headstart.core.run.workers import Workers
from headstart.core.storage.cache import Store
from headstart.core.storage.files import write_json


@dataclass(kw_only=True)
class Context:
    """The surroundings of a run."""

    job: Job
    run: RunFolder
    store: Store
    console: Console
    started: float = field(default_factory=time.monotonic)  # `time.monotonic()` at the start of the run
    callbacks: tuple[Any, ...] = ()  # of Keras, for the final training; no part of the job
    reaches_out: bool = False  # `auto` may fetch recommended backbones
    tuned_heads: dict[bytes, Any] = field(default_factory=dict)  # so far in this process, by what they learnt from
    only_audits: bool = False  # what nothing can be learnt from is told and not refused
    workers: Workers | None = None  # None: all is done in this process
    keeps_times: bool = False  # of a finished run, whose steps are taken again to show them

    @property
    def seed(self) -> int:
        """The job's seed."""
        return self.job.seed

    def make_step_folder(self, stage: str) -> Path:
        """The stage's folder inside the run."""
        return self.run.make_step_folder(stage)

    def record_decision(self, name: str, make: Callable[[], Any], why: str = "") -> Any:
        """See `RunFolder.record_decision`."""
        return self.run.record_decision(name, make, why)

    def left_s(self) -> float:
        """Seconds of the budget that are left; may be negative."""
        return self.job.budget_s - (time.monotonic() - self.started)

    @contextmanager
    def time_step(self, stage: str) -> Iterator[dict[str, float]]:
        """Record a stage's wall and CPU seconds in `timings.json`, and what else of clocks the block puts in."""
        wall, cpu, entry = time.monotonic(), time.process_time(), dict[str, float]()
        yield entry
        path = self.run.path / "timings.json"
        timings = dict[str, Any]()
        with suppress(DataError):  # times of steps decide nothing: damaged ones are replaced
            timings |= RunReader(self.run.path).timings
        if self.keeps_times and stage in timings:
            return
        timings[stage] = {"wall_s": time.monotonic() - wall, "cpu_s": time.process_time() - cpu, **entry}
        write_json(path, timings)
