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
from headstart.reporting.sections.candidates import plain

LONG = 120  # signs of a decision that are shown


def view(given: ReportInput) -> dict[str, Any]:
    """What the templates `use.html` and `provenance.html` show."""
    name = shlex.quote(format_printable(given.run_name))
    return {
        "run": name,
        "lines": _usage(name),
        "parity": _parity(given.exported.parity_max_abs) if given.exported else "",
        "run_literal": json.dumps(format_printable(given.run_name)),
        "data": format_printable(redaction.redact_setting(given.job, "data")),
        "command": _command(given),
        "settings": [
            (o.name.replace("_", " "), _setting(given, o.name), o.metadata["help"]) for o in jobs.list_options()
        ],
        "decisions": [_decision(entry) for entry in given.decisions],
        "timings": [(_step(step), format_duration(seconds)) for step, seconds in given.timings.items()],
        "total": format_duration(sum(given.timings.values())) if given.timings else "",
        "provenance": {head: dict(rows) for head, rows in given.provenance.items() if rows},
        "backbones": given.backbones,
        "exported": given.exported,
        "exported_size": format_bytes(given.exported.bytes) if given.exported else "",
        "fitted": given.adapted.fitted if given.adapted else None,
        "seed": given.job.seed,
    }


def _usage(run: str) -> list[str]:
    """Commands for the saved model, with what each is for."""
    commands = {
        f"headstart predict {run} picture.jpg": "answer and probabilities",
        f"headstart predict {run} folder --json": "any number of pictures, one JSON object a line",
        f"headstart explain {run} picture.jpg --out why": "heat map and the pictures it is like",
        f"headstart serve {run}": "answer over HTTP, with a page for people",
        f"headstart export {run} --to onnx --out model": "the same model in another format",
        f"headstart evaluate {run} folder": "score it on other labelled pictures",
        f"headstart drift {run} usage.jsonl": "have inputs moved, by the counts of --usage",
        f"headstart report {run}": "write this page again",
    }
    width = max(map(len, commands))
    return [f"{command:<{width}}  # {purpose}" for command, purpose in commands.items()]


def _step(name: str) -> str:
    """A step as `timings.json` names it, in words; names of trunks stay as they are."""
    return format_printable(name if ":" in name else name.replace("_", " "))


def _parity(apart: float) -> str:
    """The largest difference of a probability, rounded up to seven digits; empty when there is none."""
    return f"{math.ceil(apart * 1e7) / 1e7:.7f}".rstrip("0") if apart else ""


def _setting(given: ReportInput, name: str) -> str:
    value = redaction.redact_setting(given.job, name)
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _command(given: ReportInput) -> str:
    """The command that makes this run again, with every setting that is not the default."""
    parts = ["headstart", "fit", shlex.quote(format_printable(redaction.redact_setting(given.job, "data")))]
    for option in jobs.list_options():
        value = redaction.redact_setting(given.job, option.name)
        if value != option.default:
            text = ",".join(value) if isinstance(value, tuple) else _setting(given, option.name)
            parts += [f"--{option.name.replace('_', '-')}", shlex.quote(format_printable(text))]
    if given.job.seed == next(f.default for f in dataclasses.fields(given.job) if f.name == "seed"):
        parts += ["--seed", str(given.job.seed)]
    return " ".join(parts)


def _decision(entry: Any) -> dict[str, str]:
    value = entry["value"]
    text = ", ".join(map(str, value)) if isinstance(value, list) else plain(value)
    if len(text) > LONG:
        text = f"{text[:LONG]} …"
    return {
        "name": format_printable(str(entry["name"])),
        "value": format_printable(text),
        "why": format_printable(str(entry.get("why", ""))),
    }
