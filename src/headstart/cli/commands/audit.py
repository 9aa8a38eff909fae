"""Check a data set for what would spoil a result: unreadable files, doubles, leaks, thin classes."""

from __future__ import annotations

from typing import Any

from headstart.cli.step_command import Step
from headstart.core.storage.files import format_printable


class Audit(Step):
    """Check a data set for what would spoil a result: unreadable files, doubles, leaks, thin classes."""

    name = "audit"
    settings = ("backbones", "folds", "seed", "budget")

    def text(self, found: dict[str, Any]) -> str:
        """Counts, then one line a check, its findings below it."""
        lines = [f"{found['pictures']:,} pictures, {len(found['excused']):,} files skipped"]
        lines += [
            f"  {entry['uri']}: {entry['reason'].replace('_', ' ')}, {entry['detail']}" for entry in found["excused"]
        ]
        for outcome in found["outcomes"]:
            lines.append(
                f"{outcome['code']} {outcome['status'].replace('_', ' ')}: {outcome['name']}; {outcome['why']}"
            )
            lines += [f"  {finding['severity']}: {finding['sentence']}" for finding in outcome["findings"]]
        return show_lines(lines)


def show_lines(lines: list[str]) -> str:
    """Lines that any terminal can print, whatever bytes are in a file's name."""
    return "\n".join(format_printable(line) for line in lines)


PLUGIN = Audit()
