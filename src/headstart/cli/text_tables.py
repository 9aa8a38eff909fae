"""Plain tables for people: columns as wide as their widest cell, numbers to the right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Lines of a table.

    Args:
        head: Names of the columns; all empty for none.
        rows: Cells as text.
        right: Columns that are set to the right.
    """
    lines = [row for row in (head, *rows) if any(row)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))] if lines else []
    to_right = frozenset(right)
    return "\n".join(_format_line(line, widths, to_right) for line in lines)


def _format_line(cells: Sequence[str], widths: Sequence[int], right: frozenset[int]) -> str:
    set_cells = (c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True)))
    return "  ".join(set_cells).rstrip()


def format_interval(score: dict[str, object]) -> str:
    """A score with its interval and n: `0.812 [0.770, 0.848] n=400`; one that could not be computed is `-`."""
    value, low, high = score["value"], score["low"], score["high"]
    if not isinstance(value, float | int):
        return f"- n={score['n']}"
    ends = f" [{low:.3f}, {high:.3f}]" if isinstance(low, float | int) and isinstance(high, float | int) else ""
    return f"{value:.3f}{ends} n={score['n']:,}"
