"""Say what this machine has and what is missing: versions, engines, cache, disk, weights."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from headstart.cli import options
from headstart.cli.text_tables import format_table
from headstart.core.console import format_bytes
from headstart.core.storage.files import format_printable


class Doctor:
    """Say what this machine has and what is missing: versions, engines, cache, disk, weights.

    Nothing is imported or fetched to find out. Ends with 3 when something that is needed is missing.
    """

    name = "doctor"
    interruption_note = "nothing was changed"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the output options."""
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Look, and print what was found."""
        from headstart.cli import machine_check

        findings = machine_check.check_machine()
        options.make_console(args).print_result(format_findings(findings), findings)
        return 3 if findings["missing"] else 0


def format_findings(findings: dict[str, Any]) -> str:
    """The findings for people, what is missing last."""
    cache = findings["cache"]
    parts = [
        _format_pairs("machine", findings["machine"]),
        _format_pairs("packages", findings["packages"]),
        _format_pairs("extras", findings["extras"]),
        _format_pairs("engine", findings["engine"]),
        f"cache\n  {format_printable(cache['folder'])}\n  {format_bytes(cache['bytes'])} used, "
        f"{format_bytes(cache['free_bytes'])} free",
        _format_pairs("settings", findings["settings"]),
        _format_weights(findings["weights"]),
        _format_missing(findings["missing"]),
    ]
    return "\n\n".join(parts)


def _format_pairs(title: str, pairs: dict[str, str]) -> str:
    rows = [(name, format_printable(value)) for name, value in pairs.items()]
    lines = format_table(("", ""), rows).splitlines()
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _format_weights(weights: dict[str, bool]) -> str:
    present = [name for name, is_present in weights.items() if is_present]
    absent = [name for name, is_present in weights.items() if not is_present]
    lines = [f"weights: {len(present)} of {len(weights)} backbones", *(f"  {name}" for name in present)]
    if absent:
        names = textwrap.wrap(", ".join(absent), 100, initial_indent="    ", subsequent_indent="    ")
        lines += ["  not here; `headstart backbones pull NAME` brings them, and `fit` when it needs them:", *names]
    return "\n".join(lines)


def _format_missing(missing: list[dict[str, str]]) -> str:
    if not missing:
        return "nothing that is needed is missing"
    return "\n".join(["missing", *(f"  {entry['what']}\n    {entry['fix']}" for entry in missing)])


PLUGIN = Doctor()
