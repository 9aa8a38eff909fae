"""Learn from a folder of labelled pictures: a measured, saved model and a report."""

from __future__ import annotations

import argparse
from typing import Any

from headstart.cli import options, remote_fit
from headstart.cli.main import INTERRUPTED
from headstart.cli.step_command import RESUME_NOTE
from headstart.core.console import format_bytes, format_duration
from headstart.core.storage.files import format_printable


class Fit:
    """Learn from a folder of labelled pictures: a measured, saved model and a report.

    read, audit, embed, rank, adapt, evaluate, export, report; the same command resumes a run that was cut short
    and opens one that is finished.
    """

    name = "fit"
    interruption_note = RESUME_NOTE

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add DATA, every setting of a job, and the output options."""
        options.add_data(parser)
        options.add_settings(parser)
        options.add_out(parser)
        options.add_offline(parser)
        options.add_output(parser)
        parser.add_argument("--again", action="store_true", help="do a run that is in --out anew, even a finished one")
        parser.add_argument("--dry-run", action="store_true", help="print the plan and what it will take, do nothing")
        remote_fit.add_options(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Fit, or with `--dry-run` plan."""
        from headstart.api import commands
        from headstart.core.run.termination import stop_orderly

        if remote_fit.is_remote_request(args):
            return remote_fit.fit_remotely(args)
        data, settings = options.read_request(args)
        console = options.make_console(args)
        if args.dry_run:
            plan = commands.plan(data, out=args.out, console=console, **settings)
            console.print_result(format_plan(plan), plan)
            return 0
        with stop_orderly():
            run = commands.fit(data, out=args.out, console=console, again=args.again, **settings)
        console.print_result(run.format_text(), run.summary())
        return INTERRUPTED if run.cut_short else 0


def format_plan(plan: dict[str, Any]) -> str:
    """The plan for people: what is measured, how long it takes, and what that rests on."""
    estimate = plan["estimate"]
    lines = [f"{plan['pictures']:,} pictures in {format_printable(plan['data'])}"]
    if target := plan["new_domain"]:
        labelled, count = target["labelled"], target["pictures"]
        lines += [f"{count:,} pictures of the new domain: {labelled:,} with a label, {count - labelled:,} without"]
    lines += ["candidates"]
    lines += [f"  {name}" for name in plan["candidates"]]
    lines += [f"about {format_duration(plan['seconds'])} for the whole run{plan['unbounded']}"]
    embedding_s = format_duration(estimate["seconds"])
    lines += [f"at most {embedding_s} of that for embedding, {format_bytes(estimate['bytes'])} of the disk"]
    lines += [f"  {assumption}" for assumption in estimate["assumptions"]]
    return "\n".join(lines)


PLUGIN = Fit()
