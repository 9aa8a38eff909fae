"""Report: one page that tells a run from its result to its last digest, in one file that needs nothing else.

Style, charts and small pictures are in it, and its content security policy forbids every outside address. It works
without its script. It says nothing of the machine's paths, and the same findings give the same bytes.
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
    errors,
    explanations,
    mistakes,
    next_steps,
    provenance,
    result,
    training,
    uncertainty,
)

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).resolve().parent / "templates"


def write_report(findings: ReportInput | None = None, *, ctx: Context, computed_now: bool = False) -> Path:
    """Write `<run>/report.html` from the findings, or from what the run folder holds.

    Raises:
        DataError: There is nothing to tell yet.
        SetupError: The disk refuses.
    """
    path = ctx.run.path / "report.html"
    page = format_page(findings or read_report_input(ctx, computed_now=computed_now))
    write_text(path, page)
    ctx.console.print_line("report", f"{path.as_posix()}, {format_bytes(path.stat().st_size)}")
    return path


def format_page(report: ReportInput) -> str:
    """The page as text; it depends on the findings and the bytes of the pictures alone."""
    script = (_HERE / "script.js").read_text(encoding="utf-8")
    with Thumbnails(report.dataset, report.job.no_thumbnails) as thumbs:
        page = _make_environment().get_template("page.html")
        return page.render(
            data=report.dataset,
            name=format_printable(report.dataset.name),
            style=(_HERE / "style.css").read_text(encoding="utf-8"),
            script=script,
            script_digest=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
            terms=formatting.TERMS,
            mistakes=mistakes.make_mistakes_view(report, thumbs),
            errors=errors.make_errors_view(report, thumbs),
            pictures=audit.make_audit_view(report, thumbs),
            result=result.make_result_view(report),
            next_steps=next_steps.list_next_steps(report),
            tried=candidates.make_candidates_view(report),
            classes=classes.make_classes_view(report),
            uncertainty=uncertainty.make_uncertainty_view(report),
            looks=explanations.make_explanations_view(report, thumbs),
            training=training.make_training_view(report),
            origin=provenance.make_provenance_view(report),
            adapted=report.adapted,
            left_out=report.job.no_thumbnails,
        )


def _make_environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
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
        short=candidates.shorten_candidate,
        shown=format_printable,
        slug=lambda term: "term-" + "".join(c if c.isalnum() else "-" for c in term.lower()),
        plural=formatting.format_plural,
        two=partial(formatting.format_number, digits=2),
    )
    return environment
