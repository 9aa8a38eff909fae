"""Report: one page that tells a run from its result to its last digest, in one file that needs nothing else.

The page holds its own style, charts and small pictures, so it opens from a disk, a mail or a memory stick, without a
network: its content security policy forbids every outside address. It works without its script. It says nothing of
the machine's paths, and the same findings give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.console import format_bytes
from headstart.core.run.context import Context
from headstart.core.storage.files import format_printable, write_text
from headstart.reporting import formatting
from headstart.reporting.page_images import Thumbnails
from headstart.reporting.report_data import ReportInput, read_report_input
from headstart.reporting.sections import (
    audit,
    candidates,
    classes,
    explanations,
    mistakes,
    provenance,
    result,
    training,
    uncertainty,
)

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).resolve().parent / "templates"


def write_report(findings: ReportInput | None = None, *, ctx: Context, computed_now: bool = False) -> Path:
    """Write `<run>/report.html`.

    Args:
        findings: What to tell; when None, what the run folder holds.
        ctx: The run.
        computed_now: See `read_report_input`.

    Raises:
        DataError: There is nothing to tell yet.
        SetupError: The disk refuses.
    """
    path = ctx.run.path / "report.html"
    page = render(findings or read_report_input(ctx, computed_now=computed_now))
    write_text(path, page)
    ctx.console.print_line("report", f"{path.as_posix()}, {format_bytes(path.stat().st_size)}")
    return path


def render(findings: ReportInput) -> str:
    """The page as text; it depends on the findings and the bytes of the pictures alone."""
    data = findings.dataset
    script = (_HERE / "script.js").read_text(encoding="utf-8")
    with Thumbnails(data) as thumbs:
        return (
            _environment()
            .get_template("page.html")
            .render(
                data=data,
                name=format_printable(data.name),
                style=(_HERE / "style.css").read_text(encoding="utf-8"),
                script=script,
                script_digest=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
                terms=formatting.TERMS,
                mistakes=mistakes.view(findings, thumbs),
                pictures=audit.view(findings, thumbs),
                result=result.view(findings),
                tried=candidates.view(findings),
                classes=classes.view(findings),
                uncertainty=uncertainty.view(findings),
                looks=explanations.view(findings, thumbs),
                training=training.view(findings),
                origin=provenance.view(findings),
                adapted=findings.adapted,
            )
        )


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters.update(
        number=formatting.number,
        signed=formatting.signed,
        percent=formatting.percent,
        big=formatting.count,
        label=formatting.label,
        head=formatting.head,
        meaning=formatting.meaning,
        prose=formatting.prose,
        sentence=formatting.sentence,
        split_word=lambda split: formatting.SPLITS.get(split, split),
        split_note=lambda split: formatting.SPLIT_NOTES.get(split, ""),
        short=candidates.short,
        shown=format_printable,
        slug=lambda term: "term-" + "".join(c if c.isalnum() else "-" for c in term.lower()),
        plural=formatting.plural,
        two=partial(formatting.number, digits=2),
    )
    return made
