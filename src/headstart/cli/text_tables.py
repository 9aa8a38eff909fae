"""Plain tables for people: columns as wide as their widest cell, numbers to the right."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Container[int] = ()) -> str:
    """Lines of a table; a head of empty names is left out, columns in `right` are set to the right."""
    lines = [row for row in (head, *rows) if any(row)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))] if lines else []
    align = [str.rjust if column in right else str.ljust for column in range(len(head))]
    return "\n".join("  ".join(a(c, w) for a, c, w in zip(align, line, widths, strict=True)).rstrip() for line in lines)


def format_interval(score: dict[str, object]) -> str:
    """A score with its interval and n: `0.812 [0.770, 0.848] n=400`; one that could not be computed is `-`."""
    value, low, high = score["value"], score["low"], score["high"]
    if not isinstance(value, float | int):
        return f"- n={score['n']}"
    ends = f" [{low:.3f}, {high:.3f}]" if isinstance(low, float | int) and isinstance(high, float | int) else ""
    return f"{value:.3f}{ends} n={score['n']:,}"
