"""`fit --on TARGET`: the options, the estimate of `--dry-run`, and the way from a submitted job to its fetched run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.cli import options
from headstart.cli.main import INTERRUPTED
from headstart.cli.parser import parse_name, parse_number
from headstart.core import job as jobs
from headstart.core.console import Console, format_bytes, format_duration
from headstart.core.errors import HeadstartError, Problem, UsageError, make_problem
from headstart.core.storage.locations.names import is_remote

if TYPE_CHECKING:
    from headstart.remote.job_records import JobRecord
    from headstart.remote.target import CostEstimate, JobRequest, Target

_OWN = ("on_option", "name", "detach", "max_usd", "max_hours", "spot")  # only with `--on`


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--on` and what goes with it."""
    group = parser.add_argument_group("on another machine (docs/scale.md)")
    group.add_argument("--on", metavar="TARGET", type=parse_name, help="where the job runs: ray, aws, gcp, manifest")
    add_target_option(group)
    group.add_argument("--name", metavar="NAME", type=parse_name, help="of the job (default: DATA's and the time)")
    group.add_argument("--detach", action="store_true", help="do not wait; `headstart jobs` goes on from any folder")
    group.add_argument("--max-usd", metavar="USD", type=parse_number, help="the job ends itself before it costs more")
    group.add_argument("--max-hours", metavar="HOURS", type=parse_number, help="the job ends itself after so long")
    group.add_argument("--spot", action="store_true", help="on cheaper machines that may be taken back; it goes on")


def add_target_option(group: Any) -> None:
    """Add `--on-option`."""
    help_text = "option of the target, repeatable; `headstart doctor --on TARGET` lists them"
    group.add_argument("--on-option", metavar="NAME=VALUE", action="append", default=[], help=help_text)


def is_remote_request(args: argparse.Namespace) -> bool:
    """Whether the job runs elsewhere; raises UsageError for an option that has no effect without `--on`."""
    if args.on is None:
        for name in _OWN:
            if getattr(args, name) not in (None, False, []):
                raise UsageError(f"`{options.flag(name)}` has no effect without --on", where=options.flag(name))
        return False
    if args.again:
        raise UsageError("`--again` is about a run that is here", where="--again", hint="name the job anew with --name")
    return True


def fit_remotely(args: argparse.Namespace) -> int:
    """Estimate or submit, and unless detached follow and fetch."""
    from headstart.core.settings import state_folder
    from headstart.remote import job_actions, submit_job

    console = options.make_console(args)
    target = submit_job.find_target(args.on)
    request = _make_request(args, target)
    estimate = target.estimate(request)
    if args.dry_run:
        facts = describe_estimate(target, request, estimate)
        console.print_result(format_estimate(facts), facts)
        return 0
    console.print_line(target.name, format_estimate(describe_estimate(target, request, estimate)).splitlines()[1])
    job_file = state_folder() / "jobs" / f"{request.name}.toml"
    submit_job.write_request(target, request, job_file)
    try:
        record = submit_job.submit_job(target, request, console)
    except BaseException:
        job_file.unlink(missing_ok=True)
        raise
    console.print_line(target.name, f"known as {record.name}; its job file is {job_file}")
    if not args.detach:
        try:
            status = job_actions.follow_job(record, console)
        except KeyboardInterrupt:
            what = f"no longer followed; the job `{record.name}` goes on"
            goes_on = f"headstart jobs logs {record.name} --follow goes on following"
            stop = HeadstartError(what, hint=f"{goes_on}, headstart jobs cancel {record.name} ends it")
            stop.exit_code = INTERRUPTED
            raise stop from None
        if status.state == "done":
            run = job_actions.fetch_job(record, None, console)
            console.print_result(run.format_text(), run.summary())
            return 0
    facts = {"name": record.name, "target": record.target, "state": record.state}
    console.print_result(_format_next(record), facts)
    return 0


def _make_request(args: argparse.Namespace, target: Target) -> JobRequest:
    """The options of the command line; a job file of the same target as DATA has the ones that are not given."""
    from headstart.remote.job_file import read_job_file
    from headstart.remote.submit_job import make_request, parse_options

    problems, named = list[Problem](), dict[str, str]()
    if args.out and is_remote(str(args.out)):
        what = f"the run is fetched into a folder, `{args.out}` is an address"
        problems.append(Problem("--out", what, "name a folder; the targets have options for buckets"))
    try:
        named = parse_options(args.on_option)
    except UsageError as err:
        problems.append(make_problem(err))
    data, settings = options.read_request(args)
    stored, limits = dict[str, str](), {"max_usd": args.max_usd, "max_hours": args.max_hours}
    if args.data.endswith(".toml") and Path(args.data).is_file():
        content = read_job_file(Path(args.data))
        stored = dict(content.options) if content.target in ("", target.name) else {}
        limits = {name: getattr(content, name) if value is None else value for name, value in limits.items()}
    return make_request(
        target,
        jobs.read_settings({"data": data, **settings}),
        options=stored | named,
        name=args.name or "",
        spot=args.spot,
        out=args.out,
        problems=problems,
        **limits,
    )


def describe_estimate(target: Target, request: JobRequest, estimate: CostEstimate) -> dict[str, Any]:
    """An estimate as plain JSON."""
    limits = {"max_usd": request.max_usd, "max_hours": request.max_hours}
    figures = {"seconds": estimate.seconds, "usd": estimate.usd, "usd_per_hour": estimate.usd_per_hour}
    figures |= {"upload_bytes": estimate.upload_bytes}
    return {"target": target.name, "name": request.name, **figures, **limits, "assumptions": [*estimate.assumptions]}


def format_estimate(facts: dict[str, Any]) -> str:
    """An estimate for people: the job, the figures, what they rest on."""
    money = "no price is known" if facts["usd"] is None else f"about {facts['usd']:.2f} USD"
    figures = f"about {format_duration(facts['seconds'])}, {money}, {format_bytes(facts['upload_bytes'])} up at most"
    limits = [f"at most {facts['max_usd']:g} USD"] if facts["max_usd"] is not None else []
    limits += [f"at most {facts['max_hours']:g} hours"] if facts["max_hours"] is not None else []
    lines = [f"{facts['name']} on {facts['target']}", figures, *limits]
    return "\n".join([*lines, *(f"  {assumption}" for assumption in facts["assumptions"])])


def _format_next(record: JobRecord) -> str:
    return "\n".join(f"headstart jobs {action} {record.name}" for action in ("status", "logs", "fetch", "cancel"))


def describe_target(console: Console, name: str, texts: list[str]) -> int:
    """Print what a target needs, for `doctor --on`; 3 where something is missing."""
    from headstart.remote.submit_job import find_target, parse_options

    target, values = find_target(name), parse_options(texts)
    known = {option.name: option.default for option in target.options}
    if unknown := sorted(values.keys() - known.keys()):
        raise UsageError(
            f"target `{name}` has no option `{unknown[0]}`", where="--on-option", hint=f"known: {', '.join(known)}"
        )
    access = target.describe_access(known | values)
    rows = {option.name: _format_option(option) for option in target.options}
    facts = {"target": name, "options": rows, **access}
    console.print_result(format_access(facts), facts)
    return 3 if access.get("missing") else 0


def _format_option(option: Any) -> str:
    if option.required:
        return f"{option.help} (required)"
    return f"{option.help} (default: {option.default})" if option.default else str(option.help)


def format_access(facts: dict[str, Any]) -> str:
    """What a target needs for people: values as they are, lists a line each, what is nested as JSON to paste."""
    import json

    parts = []
    for title, value in facts.items():
        if value == {}:
            continue
        if isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values()):
            parts.append("\n".join([title, *(f"  {name}: {text}" for name, text in value.items())]))
        elif isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            parts.append("\n".join([title, *(f"  {entry}" for entry in value or ["nothing"])]))
        elif isinstance(value, dict | list):
            parts.append(f"{title}\n{json.dumps(value, indent=2)}")
        else:
            parts.append(f"{title}\n  {value}")
    return "\n\n".join(parts)
