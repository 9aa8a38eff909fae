"""How to use the model, and where every number comes from: commands, versions, seed, digests, decisions, times."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from typing import Any

from headstart.core import job as jobs
from headstart.core import redaction
from headstart.core.console import format_bytes, format_duration
from headstart.core.storage.files import format_printable
from headstart.reporting.report_data import ReportInput
from headstart.reporting.sections.candidates import format_value

LONG = 120  # signs of a decision that are shown


def make_provenance_view(report: ReportInput) -> dict[str, Any]:
    """What the templates `use.html` and `provenance.html` show."""
    name = shlex.quote(format_printable(report.run_name))
    return {
        "run": name,
        "lines": _list_commands(name),
        "parity": _format_parity(report.exported.parity_max_abs) if report.exported else "",
        "run_literal": json.dumps(format_printable(report.run_name)),
        "data": format_printable(redaction.redact_setting(report.job, "data")),
        "command": _format_command(report),
        "settings": [
            (o.name.replace("_", " "), _format_setting(report, o.name), o.metadata["help"]) for o in jobs.list_options()
        ],
        "decisions": [_decision_view(entry) for entry in report.decisions],
        "timings": [  # names of trunks stay as they are
            (format_printable(step if ":" in step else step.replace("_", " ")), format_duration(seconds))
            for step, seconds in report.timings.items()
        ],
        "total": format_duration(sum(report.timings.values())) if report.timings else "",
        "provenance": {head: dict(rows) for head, rows in report.provenance.items() if rows},
        "backbones": report.backbones,
        "exported": report.exported,
        "exported_size": format_bytes(report.exported.bytes) if report.exported else "",
        "fitted": report.adapted.fitted if report.adapted else None,
        "seed": report.job.seed,
    }


def _list_commands(run: str) -> list[str]:
    commands = {
        f"headstart predict {run} picture.jpg": "answer and probabilities",
        f"headstart predict {run} folder --json": "any number of pictures, one JSON object a line",
        f"headstart explain {run} picture.jpg --out why": "heat map and the pictures it is like",
        f"headstart serve {run}": "answer over HTTP, with a page for people",
        f"headstart export {run} --to onnx --out model": "the same model in another format",
        f"headstart evaluate {run} DATA": "score it on other labelled pictures",
        f"headstart suggest {run} folder": "which pictures to label next",
        f"headstart drift {run} usage.jsonl": "have inputs moved, by the counts of --usage",
        f"headstart report {run}": "write this page again",
    }
    width = max(map(len, commands))
    return [f"{command:<{width}}  # {purpose}" for command, purpose in commands.items()]


def _format_parity(difference: float) -> str:
    """The largest difference of a probability, rounded up to seven digits; empty when there is none."""
    return f"{math.ceil(difference * 1e7) / 1e7:.7f}".rstrip("0") if difference else ""


def _format_setting(report: ReportInput, name: str) -> str:
    value = redaction.redact_setting(report.job, name)
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _format_command(report: ReportInput) -> str:
    parts = ["headstart", "fit", shlex.quote(format_printable(redaction.redact_setting(report.job, "data")))]
    for option in jobs.list_options():
        value = redaction.redact_setting(report.job, option.name)
        if value != option.default:
            text = ",".join(value) if isinstance(value, tuple) else _format_setting(report, option.name)
            parts.append(jobs.format_flag(option.name))
            parts += [] if value is True else [shlex.quote(format_printable(text))]
    if report.job.seed == next(f.default for f in dataclasses.fields(report.job) if f.name == "seed"):
        parts += ["--seed", str(report.job.seed)]
    return " ".join(parts)


def _decision_view(entry: Any) -> dict[str, str]:
    value = entry["value"]
    text = ", ".join(map(str, value)) if isinstance(value, list) else format_value(value)
    if len(text) > LONG:
        text = f"{text[:LONG]} …"
    facts = {"name": entry["name"], "value": text, "why": entry.get("why", "")}
    return {key: format_printable(str(fact)) for key, fact in facts.items()}
