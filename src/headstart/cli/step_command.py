"""What the commands share that take the steps of a fit up to their own: DATA, some settings, one result."""

from __future__ import annotations

import argparse
from typing import Any

from headstart.cli import options
from headstart.core.errors import GateFailed
from headstart.core.job import READING_SETTINGS
from headstart.core.storage.files import format_printable

RESUME_NOTE = "what is done is kept; run the same command again to resume"


class StepCommand:
    """A command of `headstart.api.commands` that is named like its function."""

    name: str
    settings: tuple[str, ...]  # of a job, those that matter here besides how DATA is read
    own_options: tuple[str, ...] = ()  # of the function, those that are no settings
    interruption_note = RESUME_NOTE

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add DATA, the settings that matter here, how DATA is read, and the output options."""
        options.add_data(parser)
        options.add_settings(parser, *self.settings, *READING_SETTINGS)
        options.add_out(parser)
        options.add_offline(parser)
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Run the steps up to this one; the result ends with the run folder, which holds all of it.

        Raises:
            GateFailed: The result does not pass, and is no JSON, which says so itself.
        """
        from headstart.api import commands

        data, settings = options.read_request(args)
        console = options.make_console(args)
        arguments = {name: getattr(args, name) for name in self.own_options}
        result = getattr(commands, self.name)(data, out=args.out, console=console, **arguments, **settings)
        console.print_result(f"{self.format_result(result)}\n\nrun  {format_printable(result['run'])}", result)
        try:
            self.require_passed(result)
        except GateFailed as err:
            if not args.json:
                raise
            return err.exit_code
        return 0

    def require_passed(self, result: dict[str, Any]) -> None:
        """Raise GateFailed where a result does not pass."""

    def format_result(self, result: dict[str, Any]) -> str:
        """The result for people."""
        raise NotImplementedError
