"""Run a job file on this machine, as every target of `fit --on` does on its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from headstart.cli import options
from headstart.cli.main import INTERRUPTED
from headstart.cli.parser import parse_name, parse_number
from headstart.cli.step_command import RESUME_NOTE


class RunJob:
    """Run a job file on this machine, as every target of `fit --on` does on its own.

    SIGTERM and the limits of the job file stop it with its state kept; the same command goes on to the same files.
    """

    name = "run"
    interruption_note = RESUME_NOTE

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the job file and the output options."""
        parser.add_argument("job", metavar="JOB", type=parse_name, help="a job.toml, as `fit --on` or a run has it")
        out_help = "run folder or address (default: that of the platform, else runs/<date>-<name>)"
        parser.add_argument("--out", metavar="DIR", type=parse_name, help=out_help)
        started_help = "seconds since 1970 when this machine began to cost, for the limits (default: now)"
        parser.add_argument("--started", metavar="SECONDS", type=parse_number, help=started_help)
        options.add_offline(parser)
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Run the job."""
        from headstart.remote.run_job import run_job

        console = options.make_console(args)
        run = run_job(Path(args.job), out=args.out, started=args.started, console=console)
        console.print_result(run.format_text(), run.summary())
        return INTERRUPTED if run.cut_short else 0


PLUGIN = RunJob()
