"""Many pictures answered into a table: in order, whole chunks at a time, and gone on with after a kill."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.core.settings import INFERENCE_BATCH
from headstart.runtime.outputs.resumable_table import Table, skip_written_rows

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from headstart.core.types import Prediction
    from headstart.runtime.inputs.decoded_batches import Source
    from headstart.runtime.model import Model
    from headstart.runtime.usage_log import UsageCounter

WRITE_EVERY_S = 60.0  # a kill loses no more of the counts


@dataclass(slots=True)
class AnswerCounts:
    """How many rows came to what; `unread` are files that could not be read, `resumed_rows` from an earlier call."""

    answered: int = 0
    unread: int = 0
    unknown: int = 0
    resumed_rows: int = 0


def choose_batch(sources: Iterator[Source]) -> tuple[int, Iterator[Source]]:
    """How many pictures are answered at once, and the pictures still to come."""
    first = list(itertools.islice(sources, INFERENCE_BATCH))
    return (INFERENCE_BATCH if len(first) == INFERENCE_BATCH else 1), itertools.chain(first, sources)


class UsageWriter:
    """Counts of what is answered, appended to a file about every minute, and never of rows that a kill would undo."""

    def __init__(self, usage: UsageCounter, file: Path) -> None:
        self._usage, self._file = usage, file
        self._next, self._safe = time.monotonic() + WRITE_EVERY_S, True

    def count_answers(self, predictions: Sequence[Prediction], features: np.ndarray, *, safe: bool) -> None:
        """Count B answers with their (B, D) features; `safe` where the rows of all answers so far outlast a kill."""
        self._usage.count_answers(predictions, features)
        self._safe = safe
        if safe and time.monotonic() >= self._next:
            self.write_counts()
            self._next = time.monotonic() + WRITE_EVERY_S

    def write_counts(self, *, finished: bool = False) -> None:
        """Append what was counted, unless rows of an unfinished table are lost: those come again."""
        if self._safe or finished:
            self._usage.append_counts(self._file)


def answer_all(
    model: Model,
    sources: Iterator[Source],
    table: Table,
    *,
    batch: int,
    unknown: bool = True,
    usage_writer: UsageWriter | None = None,
) -> AnswerCounts:
    """Answer for every picture that has no row yet, and finish the table.

    Args:
        sources: Pictures, from the first row on.
        unknown: Whether the model may decline to answer.
        usage_writer: Its counts are appended here however this ends.

    Raises:
        DataError: The table to go on with has rows of other pictures.
    """
    counts, finished = AnswerCounts(resumed_rows=skip_written_rows(sources, table)), False
    try:
        for chunk in model.extract_features(sources, batch=batch):
            predictions = model.predict_chunk(chunk)
            rows = predictions if unknown else [model.answer_declined(row) for row in predictions]
            safe = table.write_rows(rows)
            if usage_writer is not None:
                usage_writer.count_answers(predictions, model.join_features(chunk), safe=safe)
            unread = len(chunk.errors)
            counts.answered, counts.unread = counts.answered + len(predictions) - unread, counts.unread + unread
            counts.unknown += sum(row.unknown for row in rows)
        table.finish()
        finished = True
    finally:
        if usage_writer is not None:
            usage_writer.write_counts(finished=finished)
    return counts
