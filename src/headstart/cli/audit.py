"""Check a data set for what would spoil a result: unreadable files, doubles, leaks, thin classes."""

from __future__ import annotations

import argparse
from typing import Any

from headstart.cli import options
from headstart.cli.fit import KEPT
from headstart.core.files import show

SETTINGS = (
    "backbones",
    "folds",
    "seed",
    "budget",
)


class Audit:
    """Check a data set for what would spoil a result: unreadable files, doubles, leaks, thin classes."""

    name = "audit"
    kept = KEPT

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add DATA, the settings that matter here, and the output options."""
        options.add_data(parser)
        options.add_settings(parser, *SETTINGS)
        options.add_out(parser)
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Run the stages up to this one."""
        from headstart import pipeline

        data, settings = options.request(args)
        say = options.say(args)
        found = pipeline.audit(data, out=args.out, say=say, **settings)
        say.result(text(found), found)
        return 0


def text(found: dict[str, Any]) -> str:
    """Counts, then one line a check, its findings below it."""
    lines = [f"{found['pictures']:,} pictures, {len(found['excused']):,} files excused"]
    lines += [f"  {entry['uri']}: {entry['reason'].replace('_', ' ')}, {entry['detail']}" for entry in found["excused"]]
    for outcome in found["outcomes"]:
        lines.append(f"{outcome['code']} {outcome['status'].replace('_', ' ')}: {outcome['name']}; {outcome['why']}")
        lines += [f"  {finding['severity']}: {finding['sentence']}" for finding in outcome["findings"]]
    return show_lines(lines)


def show_lines(lines: list[str]) -> str:
    """Lines that any terminal can print, whatever bytes are in a file's name."""
    return "\n".join(show(line) for line in lines)


PLUGIN = Audit()
