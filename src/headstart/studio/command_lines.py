"""The command line behind every click: the words that follow `headstart`, and the text to copy."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from headstart.core import registry
from headstart.core.errors import UsageError
from headstart.core.job import READING_SETTINGS, Job, format_flag, list_options
from headstart.studio.image_folders import is_data_file

FORMATS = ("keras", "saved_model", "onnx", "openvino", "litert")
PRECISIONS = ("f32", "f16", "int8")
SIMPLE = ("budget", "strategy")  # shown at once; the other settings of a job are for those who look for them


def format_command(words: Sequence[str]) -> str:
    """A command line as one pastes it into a terminal."""
    return shlex.join(["headstart", *words])


def list_commands() -> list[str]:
    """Commands that this installation has: what is not among them is not shown."""
    return list(registry.list_plugins("commands"))


def make_fit(job: Job, out: str) -> list[str]:
    """Learn, with the settings that are not as by default."""
    return ["fit", job.data, *_format_options(job), "--out", out]


def make_audit(job: Job, out: str) -> list[str]:
    """Check pictures, with the settings that say how they are read."""
    return ["audit", job.data, *_format_options(job, READING_SETTINGS), "--out", out]


def make_resume(run: str) -> list[str]:
    """Go on with an interrupted run: the job that it holds, in its own folder."""
    return ["fit", f"{run}/job.toml", "--out", run]


def make_export(run: str, to: str, precision: str, out: str) -> list[str]:
    """Write a model in another format. Raises `UsageError`: there is no such format or precision."""
    for name, value, choices in (("--to", to, FORMATS), ("--precision", precision, PRECISIONS)):
        if value not in choices:
            raise UsageError(f"`{value}` is none of {', '.join(choices)}", where=name)
    precision_words = [] if precision == PRECISIONS[0] else ["--precision", precision]
    return ["export", run, "--to", to, *precision_words, "--out", out]


def _format_options(job: Job, names: Collection[str] = ()) -> list[str]:
    """Flags of the settings, of all or of some, that are not as by default."""
    words: list[str] = []
    for option in list_options():
        value = getattr(job, option.name)
        if names and option.name not in names:
            continue
        if option.name in SIMPLE or value != option.default:
            words.append(format_flag(option.name))
            if not isinstance(value, bool):
                words.append(str(_join_tuple(value)))
    return words


def _join_tuple(value: Any) -> Any:
    return ",".join(value) if isinstance(value, tuple) else value


def describe_options() -> list[dict[str, Any]]:
    """Every setting of a job as the page shows it: name, help, choices, default, kind of value."""
    return [
        {
            "name": option.name,
            "flag": format_flag(option.name),
            "help": option.metadata["help"],
            "choices": list(option.metadata["choices"]),
            "default": _join_tuple(option.default),
            "kind": "list" if isinstance(option.default, tuple) else type(option.default).__name__,
            "simple": option.name in SIMPLE,
            "reading": READING_SETTINGS.index(option.name) + 1 if option.name in READING_SETTINGS else 0,
        }
        for option in list_options()
    ]


def parse_settings(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a page sends them; those that are empty or as they are by default are left out."""
    defaults = {field.name: _join_tuple(field.default) for field in dataclasses.fields(Job)}
    return {
        name: value
        for name, value in sent.items()
        if name != "data" and value not in (None, "") and value != defaults.get(name)
    }


def make_run_name(data: str) -> str:
    """A name for a run on some pictures, as a folder can have it."""
    last = re.split(r"[/\\]", data.rstrip("/\\"))[-1]
    last = re.sub(r"(\.tar)?\.\w+$", "", last) if is_data_file(last) else last
    return re.sub(r"[^\w.-]+", "-", last).strip("-.")[:60] or "pictures"
