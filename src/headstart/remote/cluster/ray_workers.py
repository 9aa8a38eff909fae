"""Chunks of rows as Ray tasks: sized to seconds by the measured pace, tried again when a worker or machine is lost.

Ray's own retries are off, so that every lost chunk is told. One worker process has its share of threads, and Ray starts
no more of them than a machine has cores for. A lost machine costs the chunks that were open on it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.console import format_duration
from headstart.core.errors import SetupError
from headstart.core.run.workers import ChunkAnswer
from headstart.core.settings import count_threads
from headstart.networks.hardware import describe_processor
from headstart.remote.cluster.chunk_task import TaskAnswer, describe_software, run_chunk
from headstart.remote.cluster.options import THREADS

if TYPE_CHECKING:
    from headstart.core.console import Console
    from headstart.core.run.workers import ChunkWork
    from headstart.remote.cluster.options import ClusterOptions

START_S = 8.0  # until a worker process has loaded what it needs and compiled a trunk
_POLL_S = 0.5
_NO_MEMORY = "its machine has too little memory"
_OVERDUE = 10  # times the seconds that a chunk should take, or is expected to


@dataclass(slots=True, kw_only=True, eq=False)
class _Chunk:
    """Rows that are on their way, or were lost and wait."""

    rows: np.ndarray
    attempts: int = 0
    since: float = 0.0
    reason: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class _Pass:
    """How far some work is: rows that were never sent, lost chunks, chunks that are open, by task, and paces seen."""

    work: ChunkWork
    shared: Any
    rows: np.ndarray
    threads: int
    lost: deque[_Chunk] = field(default_factory=deque)
    open: dict[Any, _Chunk] = field(default_factory=dict)
    paces_s: deque[float] = field(default_factory=lambda: deque(maxlen=16))

    @property
    def row_s(self) -> float:
        """Core seconds a row: measured, or as far as known."""
        return statistics.median(self.paces_s) if self.paces_s else self.work.row_s


def estimate_cluster_seconds(seconds: float, cores: int) -> float:
    """What takes so many seconds on this machine takes on so many cores of a cluster, the start of workers included."""
    return START_S + seconds * count_threads() / max(cores, 1)


class RayWorkers:
    """The workers of a cluster that this process is connected to."""

    def __init__(self, ray: Any, options: ClusterOptions, console: Console) -> None:
        self.options, self.console = options, console
        self._ray = ray
        self._threads = options.threads or min(THREADS, *(self._list_cores() or [THREADS]))
        self._software, self._processor = describe_software(), describe_processor()["processor"]
        self._warned: set[str] = set()
        self._task = ray.remote(num_cpus=self._threads, max_retries=0)(run_chunk)
        if not self.count_slots():
            most = max(self._list_cores(), default=0)
            what = f"no machine of the cluster has the {self._threads} cores of a worker: at most {most}"
            raise SetupError(what, where="--on-option threads", hint=f"--on-option threads={max(most, 1)}")

    def _list_cores(self) -> list[int]:
        """Cores that each living machine gives to tasks."""
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        return [cores for node in nodes if (cores := int(node["Resources"].get("CPU", 0)))]

    def count_slots(self, threads: int = 0) -> int:
        """See `headstart.core.run.workers.Workers`."""
        return sum(cores // (threads or self._threads) for cores in self._list_cores())

    def count_cores(self) -> int:
        """Cores that all workers together use."""
        return self.count_slots() * self._threads

    def describe(self) -> str:
        """The cluster in words."""
        machines, slots = len(self._list_cores()), self.count_slots()
        threads = "1 thread" if self._threads == 1 else f"{self._threads} threads"
        return f"{machines} machine{'s'[: machines != 1]}, {slots} worker{'s'[: slots != 1]} with {threads} each"

    def explain_staying(self, seconds: float) -> str:
        """See `headstart.core.run.workers.Workers`."""
        if seconds < 2 * self.options.chunk_s:
            return f"{format_duration(seconds)} are too few to send away"
        return ""

    def estimate_task_seconds(self, seconds: float, count: int, threads: int) -> float:
        """See `headstart.core.run.workers.Workers`."""
        return START_S + seconds / count * math.ceil(count / max(self.count_slots(threads), 1))

    def compare_with_here(self, seconds: float) -> str:
        """Why so many seconds of this machine's work end later on the cluster; empty where they do not."""
        there_s = estimate_cluster_seconds(seconds, self.count_cores())
        pair = f"about {format_duration(there_s)} on the cluster, {format_duration(seconds)} on this machine alone"
        return f"{pair}: a fit without --on ray is faster" if there_s >= seconds else ""

    def run_chunks(self, work: ChunkWork, rows: np.ndarray) -> Iterator[ChunkAnswer]:
        """See `headstart.core.run.workers.Workers`."""
        slower = "" if work.threads else self.compare_with_here(work.row_s * len(rows) / count_threads())
        if slower:
            self.console.print_line("ray", f"{work.name}: {slower}")
        shared = self._ray.put(work.shared)
        running = _Pass(work=work, shared=shared, rows=rows, threads=work.threads or self._threads)
        try:
            while len(running.rows) or running.lost or running.open:
                self._send_chunks(running)
                if not running.open:
                    raise SetupError("no machine of the cluster takes work", hint="look at it by `ray status`")
                ready, _ = self._ray.wait(list(running.open), num_returns=1, timeout=_POLL_S)
                for task in ready:
                    chunk = running.open.pop(task)
                    answer = self._read_answer(task, chunk, running)
                    if answer is not None:
                        running.paces_s.append(answer.core_s / len(chunk.rows))
                        self._send_chunks(running)  # before the caller keeps the answer
                        yield answer
                self._give_up_overdue(running)
        finally:
            for task in running.open:
                self._ray.cancel(task, force=True)

    def _send_chunks(self, running: _Pass) -> None:
        """Send as many chunks as there are workers: one that waited behind another would look as if it hung."""
        while len(running.open) < self.count_slots(running.threads) and (running.lost or len(running.rows)):
            if running.lost:
                chunk = running.lost.popleft()
            else:
                count = self._choose_count(running)
                chunk, running.rows = _Chunk(rows=running.rows[:count]), running.rows[count:]
            chunk.attempts, chunk.since = chunk.attempts + 1, time.monotonic()
            part, work = running.work.take_part(chunk.rows), running.work
            task = self._task.options(num_cpus=running.threads).remote(
                self._software, work.prepare, work.function, running.shared, part, running.threads
            )
            running.open[task] = chunk

    def _choose_count(self, running: _Pass) -> int:
        """Rows of the next chunk: seconds of work, but at the end an equal share for all workers."""
        share = math.ceil(len(running.rows) / max(self.count_slots(running.threads), 1))
        return max(1, min(share, round(self.options.chunk_s * running.threads / max(running.row_s, 1e-6))))

    def _read_answer(self, task: Any, chunk: _Chunk, running: _Pass) -> ChunkAnswer | None:
        """A finished task's answer; None where the chunk was lost and will be tried again."""
        errors = self._ray.exceptions
        try:
            outcome: TaskAnswer = self._ray.get(task, timeout=self.options.timeout_s)
        except errors.RayTaskError as err:
            raise _explain_task_error(err) from err
        except errors.OutOfMemoryError:
            self._lose(chunk, running, _NO_MEMORY)
        except errors.OutOfDiskError:
            self._lose(chunk, running, "its machine has too little disk space for answers")
        except errors.NodeDiedError:
            self._lose(chunk, running, "its machine is gone")
        except errors.WorkerCrashedError:
            self._lose(chunk, running, "its worker process or machine is gone")
        except errors.RayError as err:
            self._lose(chunk, running, f"{type(err).__name__}")
        else:
            if outcome.error is not None:
                raise outcome.error
            self._compare_processor(outcome)
            return ChunkAnswer(rows=chunk.rows, answer=outcome.answer, core_s=outcome.seconds * running.threads)
        return None

    def _lose(self, chunk: _Chunk, running: _Pass, reason: str) -> None:
        count, name = len(chunk.rows), running.work.name
        if chunk.attempts >= self.options.attempts:
            what = f"{count:,} rows of {name} were lost {chunk.attempts} times on the cluster, at last since {reason}"
            hint = "what is done is kept; `ray status` and `ray memory` show the cluster, then run the command again"
            if reason == _NO_MEMORY:
                hint = f"what is done is kept; fewer workers a machine: --on-option threads={2 * self._threads}"
            raise SetupError(what, hint=hint)
        chunk.reason = reason
        running.lost.append(chunk)
        self.console.print_line("ray", f"{name}: a chunk of {count:,} is done again, since {reason}")

    def _give_up_overdue(self, running: _Pass) -> None:
        """Take back chunks without an answer for too long: a worker hangs, or its machine does not answer."""
        core_s = max(running.work.row_s, running.row_s)
        for task, chunk in list(running.open.items()):
            expected_s = max(self.options.chunk_s, core_s * len(chunk.rows) / running.threads)
            limit_s = max(self.options.timeout_s, _OVERDUE * expected_s)
            if time.monotonic() - chunk.since <= limit_s:
                continue
            del running.open[task]
            self._ray.cancel(task, force=True)
            self._lose(chunk, running, f"no answer came for {format_duration(limit_s)}")

    def _compare_processor(self, outcome: TaskAnswer) -> None:
        if outcome.processor != self._processor and outcome.processor not in self._warned:
            self._warned.add(outcome.processor)
            what = f"the worker `{outcome.machine}` has another processor ({outcome.processor})"
            self.console.print_warning(f"{what}: vectors may differ from this machine's in their last bits")


def _explain_task_error(err: Any) -> Exception:
    """What an exception in a worker means; one that nobody expects stays as it is."""
    cause = getattr(err, "cause", None)
    text = " ".join(str(err).split())
    if isinstance(cause, ImportError) or "failed to import" in text or "No module named" in text:
        what = f"a worker cannot load headstart: {text[-200:]}"
        return SetupError(what, hint="install headstart with the same extras on all machines of the cluster")
    return cause if isinstance(cause, Exception) else err
