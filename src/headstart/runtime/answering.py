"""Many pictures answered into a table: in order, whole chunks at a time, and gone on with after a kill."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.kit.engine import BATCH
from headstart.runtime import rows
from headstart.runtime.output import Table, skipped

if TYPE_CHECKING:
    from headstart.runtime.model import Model
    from headstart.runtime.predict import Source
    from headstart.runtime.usage import Usage


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


def answer_all(
    model: Model,
    sources: Iterator[Source],
    table: Table,
    *,
    batch: int,
    unknown: bool = True,
    usage: Usage | None = None,
) -> Answered:
    """Answer for every picture that has no row yet, and finish the table.

    Args:
        model: Answers.
        sources: Pictures, from the first row on.
        table: Where rows go.
        batch: Pictures answered at once.
        unknown: Whether the model may decline to answer.
        usage: Counts what was answered, if at all.

    Raises:
        DataError: The table to go on with has rows of other pictures.
    """
    done = Answered(before=skipped(sources, table))
    for chunk in model.featured(sources, batch=batch):
        found = model.answers(chunk)
        if usage is not None:
            usage.count(found, model.columns(chunk))
        if not unknown:
            found = [rows.answered_anyway(one) for one in found]
        table.write(found)
        unread = len(chunk.errors)
        done.answered, done.unread = done.answered + len(found) - unread, done.unread + unread
        done.unknown += sum(one.unknown for one in found)
    table.finish()
    return done
