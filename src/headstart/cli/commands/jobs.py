"""List, follow, fetch and cancel the jobs that `fit --on` submitted."""

from __future__ import annotations

import argparse
import time
from typing import Any

from headstart.cli import options
from headstart.cli.parser import parse_folder
from headstart.cli.text_tables import format_table
from headstart.core.console import Console, format_duration
from headstart.core.errors import UsageError, format_nearest

ACTIONS = ("list", "status", "logs", "fetch", "cancel")


class Jobs:
    """List, follow, fetch and cancel the jobs that `fit --on` submitted.

    list          all jobs of this user and how they are, from any folder
    status NAME   how a job is, and why
    logs NAME     its log; --follow until it ends
    fetch NAME    bring its run, of an unfinished job as far as it came
    cancel NAME   end it; what it has done can be fetched

    NAME may be the address of a job's record, s3://bucket/…/job.json, on a machine that did not submit it.
    """

    name = "jobs"
    interruption_note = "the job goes on"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the action, the name and the options."""
        parser.add_argument("action", metavar=f"{{{','.join(ACTIONS)}}}", help="what to do")
        parser.add_argument("job", metavar="NAME", nargs="?", help="name of a job, or address of its record")
        parser.add_argument("--follow", action="store_true", help="logs: until the job ends")
        out_help = "fetch: folder for the run (default: that of the submission)"
        parser.add_argument("--out", metavar="DIR", type=parse_folder, help=out_help)
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Do it."""
        if args.action not in ACTIONS:
            hint = format_nearest(args.action, ACTIONS) or f"known: {', '.join(ACTIONS)}"
            raise UsageError(f"there is no action `{args.action}`", hint=hint)
        for name, action in (("follow", "logs"), ("out", "fetch")):
            if getattr(args, name) and args.action != action:
                raise UsageError(f"jobs {args.action} has no option `--{name}`", hint=f"it is of {action}")
        if (args.job is None) != (args.action == "list"):
            fault = "takes no NAME" if args.job else "needs a NAME"
            raise UsageError(f"jobs {args.action} {fault}", hint="headstart jobs list")
        console = options.make_console(args)
        if args.action == "list":
            return _print_jobs(console)
        return _act(args, console)


def _print_jobs(console: Console) -> int:
    from headstart.remote import job_actions

    jobs = job_actions.list_jobs()
    rows = [(job["name"], job["target"], job["state"], _format_age(job), job["reason"]) for job in jobs]
    text = format_table(("job", "on", "state", "submitted", ""), rows) if rows else "no job was submitted"
    console.print_result(text, {"jobs": jobs})
    return 0


def _act(args: argparse.Namespace, console: Console) -> int:
    from headstart.remote import job_actions
    from headstart.remote.job_records import find_record

    record = find_record(args.job)
    if args.action == "status":
        facts = job_actions.describe_job(record)
        console.print_result(_format_status(facts), facts)
        return 0
    if args.action == "logs":
        lines = []
        for line in job_actions.read_logs(record, follow=args.follow):
            lines.append(line)
            if not args.json:
                print(line, file=console.out, flush=True)
        if args.json:
            console.print_result("", {"name": record.name, "lines": lines})
        return 0
    if args.action == "fetch":
        run = job_actions.fetch_job(record, args.out, console)
        facts = {"name": record.name, "run": run.path.as_posix(), "finished": run.finished}
        state = "finished" if facts["finished"] else "unfinished: the same job goes on with it"
        console.print_result(f"{run.path} ({state})", facts)
        return 0
    job_actions.cancel_job(record)
    console.print_result(f"{record.name} is being ended", {"name": record.name, "cancelled": True})
    return 0


def _format_age(job: dict[str, Any]) -> str:
    return f"{format_duration(max(0.0, time.time() - job['submitted']))} ago"


def _format_status(job: dict[str, Any]) -> str:
    rows = [("job", job["name"]), ("on", job["target"]), ("state", job["state"]), ("submitted", _format_age(job))]
    if job["started"]:
        seconds = (job["ended"] or time.time()) - job["started"]
        rows.append(("ran" if job["ended"] else "runs", format_duration(max(0.0, seconds))))
    rows += [("why", job["reason"])] if job["reason"] else []
    return format_table(("", ""), [*rows, ("data", job["data"]), ("out", job["out"])])


PLUGIN = Jobs()
