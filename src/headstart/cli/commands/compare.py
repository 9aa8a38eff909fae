"""Compare finished runs: on the same pictures, in cost, class by class, and what was done otherwise."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.cli import options
from headstart.cli.parser import parse_name
from headstart.cli.text_tables import format_interval, format_table
from headstart.core.console import format_bytes, format_duration
from headstart.core.storage.files import format_printable

_BEFORE = "scores are of the labelled domain, before the model was adapted to the new one"
_MOST = 30  # classes above which only those that differ are shown


class Compare:
    """Compare finished runs: on the same pictures, in cost, class by class, and what was done otherwise.

    Every pair is tested on the pictures that judged both; what these do not tell apart is called a tie.
    """

    name = "compare"
    interruption_note = "nothing was changed; the same command starts again"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the runs and the output options."""
        parser.add_argument("runs", metavar="RUN", nargs="+", type=parse_name, help="run folders, two or more")
        options.add_output(parser)

    def __call__(self, args: argparse.Namespace) -> int:
        """Compare and print."""
        from headstart.api import actions

        comparison = actions.compare(args.runs)
        options.make_console(args).print_result(format_comparison(comparison), comparison)
        return 0


def format_comparison(comparison: Mapping[str, Any]) -> str:
    """Tables of scores, cost and pairs, then class by class, settings and data."""
    runs, pairs = comparison["runs"], map(_format_pair, comparison["pairs"])
    tables = (_format_scores(runs), _format_costs(runs), *pairs, _format_settings(comparison["settings"], runs))
    return "\n\n".join(part for part in (*tables, "\n".join(map(_format_data, comparison["data"]))) if part)


def _format_scores(runs: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for run in runs:
        name, model = format_printable(run["name"]), format_printable(run["model"])
        split = f"{run['split']}, optimistic" if run["optimistic"] else run["split"]
        rows.append((name, split, *map(format_interval, run["scores"]), model))
    names = [score["name"].replace("_", " ") for score in runs[0]["scores"]]
    table = format_table(("run", "split", *names, "model"), rows)
    adapted = [format_printable(run["name"]) for run in runs if run["adapted"]]
    return f"{table}\n{_BEFORE}: {', '.join(adapted)}" if adapted else table


def _format_costs(runs: Sequence[Mapping[str, Any]]) -> str:
    rows = [(format_printable(run["name"]), *_cost_cells(run["cost"])) for run in runs]
    head = ("run", "time", "model", "ms a picture", "GFLOPs", "weights", "fitted")
    return format_table(head, rows, right=range(1, len(head)))


def _cost_cells(cost: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        "-" if cost["seconds"] is None else format_duration(cost["seconds"]),
        format_bytes(cost["bytes"]),
        "-" if cost["latency_ms"] is None else f"{cost['latency_ms']:.1f}",
        "-" if cost["gflops"] is None else f"{cost['gflops']:.2f}",
        "-" if cost["params"] is None else f"{cost['params']:,}",
        f"{cost['trained']:,}",
    )


def _format_pair(pair: Mapping[str, Any]) -> str:
    classes = [each for each in pair["classes"] if len(pair["classes"]) <= _MOST or not each["tie"]]
    rows = [_difference_cells(each) for each in (*pair["scores"], *classes)]
    head = ("", "one", "other", "difference [95 %]", "n", "p", "")
    lines = [f"{format_printable(pair['one'])} against {format_printable(pair['other'])}: {pair['sentence']}"]
    if pair["relabelled"]:
        lines.append(f"{pair['relabelled']:,} pictures that judged both carry two labels and are left out")
    lines.append(format_table(head, rows, right=(1, 2, 4, 5)))
    if len(classes) < len(pair["classes"]):
        lines.append(f"{len(pair['classes']) - len(classes):,} more classes are ties; --json has them")
    return "\n".join(lines)


def _difference_cells(difference: Mapping[str, Any]) -> tuple[str, ...]:
    subject = f" of {format_printable(difference['subject'])}" if difference["subject"] else ""
    name, interval = difference["name"].replace("_", " ") + subject, "-"
    if difference["value"] == 0 and difference["low"] is None:
        interval = "the same answers"
    if difference["low"] is not None:
        interval = f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]"
    p = "" if difference["adjusted"] is None else f"{difference['adjusted']:.2g}"
    scores = (f"{difference['one']:.3f}", f"{difference['other']:.3f}")
    return name, *scores, interval, f"{difference['n']:,}", p, "tie" if difference["tie"] else "differs"


def _format_settings(settings: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]) -> str:
    if not settings:
        return "the same was asked for in all runs"
    rows = [(each["name"].replace("_", " "), *map(_format_value, each["values"])) for each in settings]
    return format_table(("asked for", *(format_printable(run["name"]) for run in runs)), rows)


def _format_value(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return format_printable(text) or "none"


def _format_data(change: Mapping[str, Any]) -> str:
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
