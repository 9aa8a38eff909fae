"""Say what this machine has and what is missing: versions, engines, cache, disk, weights."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from headstart.cli import options, remote_fit
from headstart.cli.parser import parse_name
from headstart.cli.text_tables import format_table
from headstart.core.console import format_bytes
from headstart.core.errors import UsageError
from headstart.core.storage.files import format_printable


class Doctor:
    """Say what this machine has and what is missing: versions, engines, cache, disk, weights.

    Nothing is imported or fetched to find out, but with `--on`. Ends with 3 when something that is needed is missing.
    """

    name = "doctor"
    interruption_note = "nothing was changed"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the target and the output options."""
        on_help = "only what a target of `fit --on` needs: its options, what is missing, the least rights"
        parser.add_argument("--on", metavar="TARGET", type=parse_name, help=on_help)
        remote_fit.add_target_option(parser)
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Look, and print what was found."""
        from headstart.cli import machine_check

        if args.on:
            return remote_fit.describe_target(options.make_console(args), args.on, args.on_option)
        if args.on_option:
            raise UsageError("`--on-option` has no effect without --on", where="--on-option")
        findings = machine_check.check_machine()
        options.make_console(args).print_result(format_findings(findings), findings)
        return 3 if findings["missing"] else 0


def format_findings(findings: dict[str, Any]) -> str:
    """The findings for people, what is missing last."""
    cache = findings["cache"]
    parts = [_format_pairs(title, findings[title]) for title in ("machine", "packages", "extras", "engine", "gpu")]
    space = f"{format_bytes(cache['bytes'])} used, {format_bytes(cache['free_bytes'])} free"
    parts += [
        f"cache\n  {format_printable(cache['folder'])}\n  {space}",
        _format_pairs("settings", findings["settings"]),
    ]
    missing = [f"  {entry['what']}\n    {entry['fix']}" for entry in findings["missing"]]
    parts += [_format_weights(findings["weights"]), "\n".join(["missing", *missing])]
    return "\n\n".join(parts if missing else (*parts[:-1], "nothing that is needed is missing"))


def _format_pairs(title: str, pairs: dict[str, str]) -> str:
    rows = [(f"  {name}", format_printable(value)) for name, value in pairs.items()]
    return f"{title}\n{format_table(('', ''), rows)}".rstrip("\n")


def _format_weights(weights: dict[str, bool]) -> str:
    present = [name for name, is_present in weights.items() if is_present]
    absent = [name for name, is_present in weights.items() if not is_present]
    lines = [f"weights: {len(present)} of {len(weights)} backbones", *(f"  {name}" for name in present)]
    if absent:
        names = textwrap.wrap(", ".join(absent), 100, initial_indent="    ", subsequent_indent="    ")
        lines += ["  not here; `headstart backbones pull NAME` brings them, and `fit` when it needs them:", *names]
    return "\n".join(lines)


PLUGIN = Doctor()
