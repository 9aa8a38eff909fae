"""Other processes that take a part of a run: chunks of rows go out, answers come back as they are done.

A run without workers does all in its own process. Which chunk goes where, and in which order answers come, decides
nothing: what they give is kept by content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkWork:
    """What is done with chunks of rows.

    Attributes:
        name: What is done, for messages: the backbone that pictures pass.
        prepare: `prepare(shared, threads)` makes ready what all chunks use, once a process; a function of a module.
        function: `function(prepared, part, threads)` gives the answer for a part; a function of a module.
        shared: What all chunks need; it travels once.
        take_part: What the rows (m,) of one chunk need; it travels with the chunk.
        row_s: Seconds that a row takes on one core, as far as known before the first answer.
        threads: Of a task, where the bits of its answer depend on them; 0: as many as a worker has.
    """

    name: str
    prepare: Callable[[Any, int], Any]
    function: Callable[[Any, Any, int], Any]
    shared: Any
    take_part: Callable[[np.ndarray], Any]
    row_s: float
    threads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkAnswer:
    """The answer for rows (m,), and the core seconds it took."""

    rows: np.ndarray
    answer: Any
    core_s: float


class Workers(Protocol):
    """Processes beside this one, perhaps on other machines."""

    def count_slots(self, threads: int = 0) -> int:
        """How many tasks of so many threads run side by side; 0: as many threads as a worker has."""

    def explain_staying(self, seconds: float) -> str:
        """Why work that takes so many seconds in this process is not worth sending away; empty where it is."""

    def estimate_task_seconds(self, seconds: float, count: int, threads: int) -> float:
        """Seconds until `count` tasks of so many threads are done that take `seconds` one after the other here."""

    def run_chunks(self, work: ChunkWork, rows: np.ndarray) -> Iterator[ChunkAnswer]:
        """Answers for all rows (M,), in any order, each row once.

        Raises:
            HeadstartError: What the work raises; or a chunk was lost again and again.
        """
