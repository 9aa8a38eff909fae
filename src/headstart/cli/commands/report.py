"""Write a finished run's report again, from what its folder holds."""

from __future__ import annotations

import argparse

from headstart.cli import options
from headstart.cli.parser import parse_name


class Report:
    """Write a finished run's report again, from what its folder holds; nothing is computed anew."""

    name = "report"
    interruption_note = "the run is unchanged; the same command writes the report"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add RUN and the output options."""
        parser.add_argument("run", metavar="RUN", type=parse_name, help="a run folder")
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Write the page and name it."""
        from headstart.api import commands

        console = options.make_console(args)
        path = commands.report(args.run, console=console).as_posix()
        console.print_result(path, {"run": args.run, "report": path})
        return 0


PLUGIN = Report()
