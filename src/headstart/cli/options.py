"""Options that commands share; those of a job are generated from its fields."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headstart.cli.parser import parse_name, parse_names, parse_number, parse_run_place, parse_whole_number
from headstart.core import job as jobs
from headstart.core import recipe as recipes
from headstart.core.console import Console

flag = jobs.format_flag  # `test_size` -> `--test-size`
_ALSO = {"license": ("--licence",)}  # other spellings of an option
_TYPES: dict[type, Callable[[str], Any]] = {int: parse_whole_number, float: parse_number, str: str, tuple: parse_names}


def add_settings(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add the job's settings of these names, or all; a setting that is not given stays out of the namespace.

    Where a recipe can be given, the help ends with its fields.
    """
    if not names or "recipe" in names:
        parser.epilog = _format_recipe_fields()
    group = parser.add_argument_group("settings")
    for option in jobs.list_options():
        if names and option.name not in names:
            continue
        form: dict[str, Any] = {"action": "store_true", "help": option.metadata["help"]}
        if option.type != "bool":
            default, choices = option.default, option.metadata["choices"]
            default_text = ",".join(default) if isinstance(default, tuple) else str(default)
            form = {
                "type": _TYPES[type(default)],
                "metavar": "{" + ",".join(choices) + "}" if choices else option.name.rpartition("_")[2].upper(),
                "help": f"{option.metadata['help']} (default: {default_text or 'none'})",
            }
        spellings = (flag(option.name), *_ALSO.get(option.name, ()))
        group.add_argument(*spellings, dest=option.name, default=argparse.SUPPRESS, **form)


def _format_recipe_fields() -> str:
    """Every field of a recipe as a line: what it may be, what it is by default, what it means."""
    lines = ["fields of a recipe, for --recipe name=value,name=value (docs/recipe.md explains them):"]
    for option in recipes.list_recipe_options():
        choices, default = option.metadata["choices"], recipes.format_value(option.default)
        allowed = ", ".join(choices) or recipes.format_limits(option)
        meaning = f"{option.metadata['help']}{': ' if allowed else ''}{allowed}"
        lines.append(f"  {option.name:<18}{meaning} (default: {default or 'none'})")
    return "\n".join(lines)


def read_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given on the command line, and no others."""
    option_names = {option.name for option in jobs.list_options()}
    return {name: value for name, value in vars(args).items() if name in option_names}


def read_request(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The data folder and the settings: a `job.toml` as DATA is read, and options win over it."""
    if args.data.endswith(".toml") and Path(args.data).is_file():
        from headstart.remote.job_file import read_job_file

        stored = dataclasses.asdict(read_job_file(Path(args.data)).job)
        return stored.pop("data"), stored | read_settings(args)
    return args.data, read_settings(args)


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add DATA, the first argument of every command that learns."""
    help_text = "folder, archive or s3:// address with one sub-folder a class, a table of labels, or a job.toml"
    parser.add_argument("data", metavar="DATA", type=parse_name, help=help_text)


def add_out(
    parser: argparse.ArgumentParser, help: str = "the run folder, or s3://BUCKET/RUN (default: runs/<date>-<name>)"
) -> None:
    """Add `--out`."""
    parser.add_argument("--out", metavar="DIR", type=parse_run_place, help=help)


def add_offline(parser: Any) -> None:
    """Add `--offline`, which sets `HEADSTART_OFFLINE` for this process and what it starts."""
    parser.add_argument("--offline", action="store_true", help="ask no other machine: nothing is fetched")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add `--json` and `--quiet`."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr, only warnings and errors")


def make_console(args: argparse.Namespace) -> Console:
    """The terminal as the options want it."""
    return Console(quiet=args.quiet, json=args.json)
