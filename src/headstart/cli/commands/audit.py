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
        """Counts, then one line a check, its findings below it with what to do."""
        skipped, outcomes = result["excused"], result["outcomes"]
        lines = [f"{result['pictures']:,} pictures, {len(skipped):,} files skipped"]
        lines += [f"  {file['uri']}: {file['reason'].replace('_', ' ')}, {file['detail']}" for file in skipped]
        for check in outcomes:
            why = "" if check["findings"] else f"; {check['why']}"
            lines.append(f"{check['code']} {check['status'].replace('_', ' ')}: {check['name']}{why}")
            for finding in check["findings"]:
                fix = f"; {finding['fix']}" if finding["fix"] else ""
                lines.append(f"  {finding['severity']}: {finding['sentence']}{fix}")
        return "\n".join(map(format_printable, lines))


PLUGIN = Audit()
