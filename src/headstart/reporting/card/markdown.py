"""Names and numbers as Markdown: what comes from files cannot become markup."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from headstart.core.storage.files import format_printable
from headstart.core.types import Score

_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~&])")


def escape_markup(text: str) -> str:
    """A text in which nothing is markup."""
    return _MARKUP.sub(r"\\\1", format_printable(text))


def format_sentence(sentence: str) -> str:
    """A sentence of ours, whose backticks are code; the rest is no markup."""
    parts = format_printable(sentence).split("`")
    if len(parts) % 2 == 0:
        return escape_markup(sentence)
    return "".join(format_code(part) if place % 2 else _MARKUP.sub(r"\\\1", part) for place, part in enumerate(parts))


def format_code(text: str) -> str:
    """A name as code, also where it holds backticks; in a table a bar would end the cell."""
    shown = format_printable(text).replace("|", "¦")
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def format_interval(score: Score) -> str:
    """`0.767 [0.646, 0.856]`; a dash for what is not known."""
    value, low, high = (f"{x:.3f}" if math.isfinite(x) else "–" for x in (score.value, score.low, score.high))
    return value if value == "–" else f"{value} [{low}, {high}]"


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, the first column of text and the others of numbers."""
    lines = [f"| {' | '.join(header)} |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def format_bullets(lines: Iterable[str]) -> str:
    """A list."""
    return "".join(f"- {line}\n" for line in lines)
