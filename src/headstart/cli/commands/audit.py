"""Check a data set for what would spoil a result: unreadable files, doubles, leaks, thin classes."""

from __future__ import annotations

from typing import Any

from headstart.cli.step_command import StepCommand
from headstart.core.storage.files import format_printable


class Audit(StepCommand):
    """Check a data set for what would spoil a result: unreadable files, doubles, leaks, thin classes."""

    name = "audit"
    settings = ("backbones", "folds", "seed", "budget")

    def format_result(self, result: dict[str, Any]) -> str:
        """Counts, then one line a check, its findings below it."""
        lines = [f"{result['pictures']:,} pictures, {len(result['excused']):,} files skipped"]
        lines += [
            f"  {entry['uri']}: {entry['reason'].replace('_', ' ')}, {entry['detail']}" for entry in result["excused"]
        ]
        for outcome in result["outcomes"]:
            lines.append(
                f"{outcome['code']} {outcome['status'].replace('_', ' ')}: {outcome['name']}; {outcome['why']}"
            )
            lines += [f"  {finding['severity']}: {finding['sentence']}" for finding in outcome["findings"]]
        return format_lines(lines)


def format_lines(lines: list[str]) -> str:
    """Lines that any terminal can print, whatever bytes are in a file's name."""
    return "\n".join(format_printable(line) for line in lines)


PLUGIN = Audit()
