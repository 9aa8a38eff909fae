"""Compare finished runs: on the same pictures, in cost, class by class, and what was done otherwise."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.cli import options
from headstart.cli.parser import filled
from headstart.cli.text_tables import interval, table
from headstart.core.console import format_bytes, format_duration
from headstart.core.storage.files import format_printable

_MOST = 30  # classes above which only those that differ are shown


class Compare:
    """Compare finished runs: on the same pictures, in cost, class by class, and what was done otherwise.

    Every pair is tested on the pictures that judged both; what these do not tell apart is called a tie.
    """

    name = "compare"
    kept = "nothing was changed; the same command starts again"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the runs and the output options."""
        parser.add_argument("runs", metavar="RUN", nargs="+", type=filled, help="run folders, two or more")
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Compare and print."""
        from headstart.api import actions

        found = actions.compare(args.runs)
        options.make_console(args).print_result(text(found), found)
        return 0


def text(found: Mapping[str, Any]) -> str:
    """Tables of scores, cost and pairs, then class by class, settings and data."""
    parts = [_scores(found["runs"]), _costs(found["runs"]), *map(_pair, found["pairs"])]
    parts += [_settings(found["settings"], found["runs"]), "\n".join(map(_data, found["data"]))]
    return "\n\n".join(part for part in parts if part)


def _scores(runs: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            format_printable(one["name"]),
            one["split"],
            *(interval(score) for score in one["scores"]),
            format_printable(one["model"]),
        )
        for one in runs
    ]
    return table(("run", "split", "accuracy", "balanced accuracy", "log loss", "model"), rows)


def _costs(runs: Sequence[Mapping[str, Any]]) -> str:
    rows = [(format_printable(one["name"]), *_cost(one["cost"])) for one in runs]
    head = ("run", "time", "model", "ms a picture", "GFLOPs", "weights", "fitted")
    return table(head, rows, right=range(1, len(head)))


def _cost(cost: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        "-" if cost["seconds"] is None else format_duration(cost["seconds"]),
        format_bytes(cost["bytes"]),
        "-" if cost["latency_ms"] is None else f"{cost['latency_ms']:.1f}",
        "-" if cost["gflops"] is None else f"{cost['gflops']:.2f}",
        "-" if cost["params"] is None else f"{cost['params']:,}",
        f"{cost['trained']:,}",
    )


def _pair(pair: Mapping[str, Any]) -> str:
    classes = [each for each in pair["classes"] if len(pair["classes"]) <= _MOST or not each["tie"]]
    rows = [_difference(each) for each in (*pair["scores"], *classes)]
    head = ("", "one", "other", "difference [95 %]", "n", "p", "")
    lines = [f"{format_printable(pair['one'])} against {format_printable(pair['other'])}: {pair['sentence']}"]
    if pair["relabelled"]:
        lines.append(f"{pair['relabelled']:,} pictures that judged both carry two labels and are left out")
    lines.append(table(head, rows, right=(1, 2, 4, 5)))
    if len(classes) < len(pair["classes"]):
        lines.append(f"{len(pair['classes']) - len(classes):,} more classes are ties; --json has them")
    return "\n".join(lines)


def _difference(of: Mapping[str, Any]) -> tuple[str, ...]:
    subject = f" of {format_printable(of['subject'])}" if of["subject"] else ""
    reach = f"{of['value']:+.3f} [{of['low']:+.3f}, {of['high']:+.3f}]" if of["low"] is not None else "-"
    p = "" if of["adjusted"] is None else f"{of['adjusted']:.2g}"
    name = of["name"].replace("_", " ") + subject
    return name, f"{of['one']:.3f}", f"{of['other']:.3f}", reach, f"{of['n']:,}", p, "tie" if of["tie"] else "differs"


def _settings(found: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return "the same was asked for in all runs"
    rows = [(each["name"].replace("_", " "), *map(_value, each["values"])) for each in found]
    return table(("asked for", *(format_printable(one["name"]) for one in runs)), rows)


def _value(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return format_printable(text) or "none"


def _data(change: Mapping[str, Any]) -> str:
    whose = f"{format_printable(change['first'])} and {format_printable(change['other'])}"
    if change["same"]:
        return f"data: {whose} learnt from the same data set"
    lines = [
        f"data: {whose} differ: {change['both']:,} pictures in both, {change['only_first']:,} in the first alone, "
        f"{change['only_other']:,} in the other alone, {change['relabelled']:,} with another label"
    ]
    if change["examples"]:
        lines.append(f"  in one alone: {', '.join(change['examples'])}")
    if change["classes"]:
        lines.append(f"  classes in one alone: {', '.join(map(format_printable, change['classes']))}")
    return "\n".join(lines)


PLUGIN = Compare()
