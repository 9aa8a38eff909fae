"""Many pictures answered into a table: in order, whole chunks at a time, and gone on with after a kill."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.networks.openvino_engine import BATCH
from headstart.runtime.outputs import answer_rows
from headstart.runtime.outputs.resumable_table import Table, skipped

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from headstart.core.types import Prediction
    from headstart.runtime.inputs.decoded_batches import Source
    from headstart.runtime.model import Model
    from headstart.runtime.usage_log import Usage


EVERY_S = 60.0  # a kill loses no more of the counts


@dataclass(slots=True)
class Answered:
    """How many rows came to what: answers, files that could not be read, `unknown`, and rows from an earlier call."""

    answered: int = 0
    unread: int = 0
    unknown: int = 0
    before: int = 0


def batch_of(sources: Iterator[Source]) -> tuple[int, Iterator[Source]]:
    """How many pictures are answered at once, as `Model.featured` chooses it, and the pictures still to come."""
    first = list(itertools.islice(sources, BATCH))
    return (BATCH if len(first) == BATCH else 1), itertools.chain(first, sources)


class Counting:
    """Counts of what is answered, appended to a file about every minute, and never of rows that a kill would undo."""

    def __init__(self, usage: Usage, file: Path) -> None:
        self._usage, self._file = usage, file
        self._next, self._safe = time.monotonic() + EVERY_S, True

    def add(self, found: Sequence[Prediction], features: np.ndarray, *, safe: bool) -> None:
        """Count answers.

        Args:
            found: B answers.
            features: (B, D) of them.
            safe: Whether the rows of all answers so far outlast a kill.
        """
        self._usage.count(found, features)
        self._safe = safe
        if safe and time.monotonic() >= self._next:
            self.end()
            self._next = time.monotonic() + EVERY_S

    def end(self, *, finished: bool = False) -> None:
        """Append what was counted; while the table is unfinished not where rows of it are lost, for they come again."""
        if self._safe or finished:
            self._usage.write(self._file)


def answer_all(
    model: Model,
    sources: Iterator[Source],
    table: Table,
    *,
    batch: int,
    unknown: bool = True,
    counting: Counting | None = None,
) -> Answered:
    """Answer for every picture that has no row yet, and finish the table.

    Args:
        model: Answers.
        sources: Pictures, from the first row on.
        table: Where rows go.
        batch: Pictures answered at once.
        unknown: Whether the model may decline to answer.
        counting: Of what was answered, if at all; the last of it is appended here however this ends.

    Raises:
        DataError: The table to go on with has rows of other pictures.
    """
    done, finished = Answered(before=skipped(sources, table)), False
    try:
        for chunk in model.featured(sources, batch=batch):
            found = model.answers(chunk)
            told = found if unknown else [answer_rows.answered_anyway(one) for one in found]
            safe = table.write(told)
            if counting is not None:
                counting.add(found, model.columns(chunk), safe=safe)
            unread = len(chunk.errors)
            done.answered, done.unread = done.answered + len(found) - unread, done.unread + unread
            done.unknown += sum(one.unknown for one in told)
        table.finish()
        finished = True
    finally:
        if counting is not None:
            counting.end(finished=finished)
    return done
