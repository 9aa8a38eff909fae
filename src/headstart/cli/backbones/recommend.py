"""`headstart backbones recommend`: what `auto` would consider for a data set, and why."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from headstart.cli import options
from headstart.cli.parser import parse_name
from headstart.cli.text_tables import format_table
from headstart.core.console import format_bytes, format_duration
from headstart.core.errors import UsageError

if TYPE_CHECKING:
    from headstart.core.console import Console
    from headstart.core.storage.cache import Store

OWN = ("budget", "strategy", "max_latency", "max_size")
_HEAD = ("backbone", "auto", "fetch", "seconds", "pass", "GFLOPs", "licence", "why")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `recommend`, which are those of a fit."""
    group = parser.add_argument_group("recommend", "settings of the fit that is meant, beside --licence")
    for name in OWN:
        metavar, help_text = name.rpartition("_")[2].upper(), "as `fit` takes it"
        group.add_argument(options.flag(name), metavar=metavar, type=parse_name, help=help_text)


def recommend_backbones(args: argparse.Namespace, store: Store, console: Console) -> int:
    """Print what `auto` would consider for DATA.

    Raises:
        UsageError: There is more than one DATA, or a setting is wrong.
        DataError: The pictures cannot be used as they are.
    """
    from headstart.api import commands

    if len(args.names) != 1:
        raise UsageError(f"backbones recommend takes one DATA, not {len(args.names)}")
    settings = {name: value for name in OWN if (value := getattr(args, name)) is not None}
    settings |= {"license": args.licence} if args.licence else {}
    answer = commands.recommend_backbones(args.names[0], console=console, **settings)
    console.print_result(_format_answer(answer), answer)
    return 0


def _format_answer(answer: dict[str, Any]) -> str:
    rows = [
        (
            row["name"],
            "yes" if row["considered"] else "no",
            format_bytes(row["fetch_bytes"]) if row["fetch_bytes"] else "here",
            format_duration(row["fetch_s"]) if row["fetch_s"] else "-",
            format_duration(row["pass_s"]),
            f"{row['flops'] / 1e9:.2f}",
            row["licence"],
            row["why"],
        )
        for row in answer["backbones"]
    ]
    sources = [
        f"{published['name']}: {published['transfer']} ({published['source']})"
        for row in answer["backbones"]
        if (published := row.get("published"))
    ]
    head = f"{answer['pictures']:,} pictures; seconds until a backbone is here and ready, and of passing all through it"
    table = format_table(_HEAD, rows, right=range(2, 6))
    return "\n".join([head, "", table, "", "published of the recommended:", *sources])
