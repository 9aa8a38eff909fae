"""Check a data set for what would spoil a result: unreadable files, doubles, leaks, thin classes."""

from __future__ import annotations

import argparse
from typing import Any

from headstart.cli.parser import parse_path
from headstart.cli.step_command import StepCommand
from headstart.core.errors import GateFailed
from headstart.core.storage.files import format_printable


class Audit(StepCommand):
    """Check a data set for what would spoil a result: unreadable files, doubles, leaks, thin classes.

    Pictures without labels are checked too, by what needs none.
    """

    name = "audit"
    settings = ("backbones", "folds", "seed", "budget")
    own_options = ("fail_on", "fix_list")

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add what fails the audit, and where fixes go, to the options of every step."""
        super().configure(parser)
        help_text = "exit code 1 where a finding is as severe or worse (default: error)"
        parser.add_argument("--fail-on", choices=("error", "warning"), default="error", help=help_text)
        help_text = "new table of fixes that are offered, to be edited, for `fit --exclude CSV`"
        parser.add_argument("--fix-list", metavar="CSV", type=parse_path, help=help_text)

    def require_passed(self, result: dict[str, Any]) -> None:
        """Raise GateFailed where a finding is severe enough."""
        if result["failed"]:
            codes = ", ".join(result["failed"])
            raise GateFailed(f"findings of severity {result['fail_on']} or worse: {codes}", where="--fail-on")

    def format_result(self, result: dict[str, Any]) -> str:
        """Counts, then one line a check, its findings below it with what to do."""
        skipped, outcomes = result["excused"], result["outcomes"]
        lines = [f"{result['pictures']:,} pictures, {len(skipped):,} files skipped"]
        lines += [f"  {file['uri']}: {file['reason'].replace('_', ' ')}, {file['detail']}" for file in skipped]
        for check in outcomes:
            why = "" if check["findings"] else f"; {check['why']}"
            lines.append(f"{check['code']} {check['status'].replace('_', ' ')}: {check['name']}{why}")
            next_fixes = [*(finding["fix"] for finding in check["findings"][1:]), ""]
            for finding, next_fix in zip(check["findings"], next_fixes, strict=False):
                fix = (
                    f"; {finding['fix']}" if finding["fix"] not in ("", next_fix) else ""
                )  # what several share is said once
                lines.append(f"  {finding['severity']}: {finding['sentence']}{fix}")
        findings = [finding for check in outcomes for finding in check["findings"]]
        offers = any(finding.get("remove_rows") or finding.get("likelier_classes") for finding in findings)
        if offers and not result["fix_list"]:
            lines += ["", "--fix-list fixes.csv writes what can be done about these as a table to edit"]
        return "\n".join(map(format_printable, lines))


PLUGIN = Audit()
