"""Where the pages' templates lie, and how they write numbers and names."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.storage.files import format_printable
from headstart.reporting import formatting
from headstart.reporting.sections.candidates import shorten_candidate

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).resolve().parent / "templates"


def make_environment() -> Environment:
    """Templates that escape all they are given and refuse what they are not."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=formatting.format_number,
        signed=formatting.format_signed,
        percent=formatting.format_percent,
        big=formatting.format_count,
        label=formatting.format_label,
        head=formatting.format_head,
        meaning=formatting.find_meaning,
        breakable=formatting.format_breakable,
        prose=formatting.format_prose,
        sentence=formatting.format_sentence,
        split_word=lambda split: formatting.SPLITS.get(split, split),
        split_note=lambda split: formatting.SPLIT_NOTES.get(split, ""),
        short=shorten_candidate,
        shown=format_printable,
        slug=lambda term: "term-" + "".join(c if c.isalnum() else "-" for c in term.lower()),
        plural=formatting.format_plural,
        two=partial(formatting.format_number, digits=2),
    )
    return environment
