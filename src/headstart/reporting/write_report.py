"""Report: one page that tells a run from its result to its last digest, in one file that needs nothing else.

Style, charts and small pictures are in it, and its content security policy forbids every outside address. It works
without its script. It says nothing of the machine's paths, and the same findings give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from headstart.core.console import format_bytes
from headstart.core.run.context import Context
from headstart.core.storage.files import format_printable, write_text
from headstart.reporting import formatting
from headstart.reporting.environment import TEMPLATES, make_environment
from headstart.reporting.page_images import Thumbnails
from headstart.reporting.picture_map.map_page import write_map_page
from headstart.reporting.report_data import ReportInput, read_report_input
from headstart.reporting.sections import (
    audit,
    candidates,
    classes,
    domain,
    errors,
    explanations,
    mistakes,
    next_steps,
    picture_map,
    provenance,
    result,
    training,
    uncertainty,
)


def write_report(findings: ReportInput | None = None, *, ctx: Context, computed_now: bool = False) -> Path:
    """Write `<run>/report.html` and `map.html` from the findings, or from what the run folder holds.

    Raises:
        DataError: There is nothing to tell yet.
        SetupError: The disk refuses.
    """
    path = ctx.run.path / "report.html"
    findings = findings or read_report_input(ctx, computed_now=computed_now)
    write_map_page(findings, ctx=ctx)  # first: with the report a run is done
    page = format_page(findings)
    write_text(path, page)
    ctx.console.print_line("report", f"{path.as_posix()}, {format_bytes(path.stat().st_size)}")
    return path


def format_page(report: ReportInput) -> str:
    """The page as text; it depends on the findings and the bytes of the pictures alone."""
    script = (TEMPLATES / "script.js").read_text(encoding="utf-8")
    with Thumbnails(report.dataset, report.job.no_thumbnails) as thumbs:
        page = make_environment().get_template("page.html")
        return page.render(
            data=report.dataset,
            name=format_printable(report.dataset.name),
            style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
            script=script,
            script_digest=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
            terms=formatting.TERMS,
            mistakes=mistakes.make_mistakes_view(report, thumbs),
            errors=errors.make_errors_view(report, thumbs),
            map=picture_map.make_map_view(report),
            pictures=audit.make_audit_view(report, thumbs),
            result=result.make_result_view(report),
            next_steps=next_steps.list_next_steps(report),
            domain=domain.make_domain_view(report),
            tried=candidates.make_candidates_view(report),
            classes=classes.make_classes_view(report),
            uncertainty=uncertainty.make_uncertainty_view(report),
            looks=explanations.make_explanations_view(report, thumbs),
            training=training.make_training_view(report),
            origin=provenance.make_provenance_view(report),
            adapted=report.adapted,
            left_out=report.job.no_thumbnails,
        )
