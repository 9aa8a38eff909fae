"""Say what this machine has and what is missing: versions, engines, cache, disk, weights."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from headstart.cli import options
from headstart.cli.text_tables import table
from headstart.core.console import format_bytes
from headstart.core.storage.files import format_printable


class Doctor:
    """Say what this machine has and what is missing: versions, engines, cache, disk, weights.

    Nothing is imported or fetched to find out. Ends with 3 when something that is needed is missing.
    """

    name = "doctor"
    kept = "nothing was changed"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the output options."""
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Look, and print what was found."""
        from headstart.cli import machine_check

        found = machine_check.everything()
        options.make_console(args).print_result(text(found), found)
        return 3 if found["missing"] else 0


def text(found: dict[str, Any]) -> str:
    """The findings for people, what is missing last."""
    cache = found["cache"]
    parts = [
        _pairs("machine", found["machine"]),
        _pairs("packages", found["packages"]),
        _pairs("extras", found["extras"]),
        _pairs("engine", found["engine"]),
        f"cache\n  {format_printable(cache['folder'])}\n  {format_bytes(cache['bytes'])} used, "
        f"{format_bytes(cache['free_bytes'])} free",
        _pairs("settings", found["settings"]),
        _weights(found["weights"]),
        _missing(found["missing"]),
    ]
    return "\n\n".join(parts)


def _pairs(title: str, pairs: dict[str, str]) -> str:
    rows = [(name, format_printable(value)) for name, value in pairs.items()]
    lines = table(("", ""), rows).splitlines()
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _weights(found: dict[str, bool]) -> str:
    here = [name for name, there in found.items() if there]
    absent = [name for name, there in found.items() if not there]
    lines = [f"weights: {len(here)} of {len(found)} backbones", *(f"  {name}" for name in here)]
    if absent:
        names = textwrap.wrap(", ".join(absent), 100, initial_indent="    ", subsequent_indent="    ")
        lines += ["  not here; `headstart backbones pull NAME` brings them, and `fit` when it needs them:", *names]
    return "\n".join(lines)


def _missing(missing: list[dict[str, str]]) -> str:
    if not missing:
        return "nothing that is needed is missing"
    return "\n".join(["missing", *(f"  {entry['what']}\n    {entry['fix']}" for entry in missing)])


PLUGIN = Doctor()
