"""Files on disk that are not used, by reason."""

from __future__ import annotations

from collections import Counter

from headstart.core.types import AuditInput, Outcome, SkippedFile
from headstart.data.check_base import Check, format_count, format_names

HARMLESS = ("hidden", "excluded")  # nobody expects these to be pictures of the set


def _check_skipped_files(check: Check, audit_input: AuditInput) -> Outcome:
    skipped = audit_input.data.excused
    if not skipped:
        return check.make_passed(f"all {format_count(len(audit_input.data.uris), 'file')} are used")
    findings = []
    for severity, is_harmless, fix in (
        ("warning", False, "repair these files or take them away; the run goes on without them"),
        ("info", True, "nothing, if they are no pictures of the set"),
    ):
        if files := [file for file in skipped if (file.reason in HARMLESS) == is_harmless]:
            uris = [file.uri for file in files]
            findings.append(check.make_finding(severity, _format_sentence(files), fix, uris=uris))
    return check.make_outcome(findings)


def _format_sentence(files: list[SkippedFile]) -> str:
    reasons = Counter(file.reason for file in files)
    parts = [f"{n:,} {reason.replace('_', ' ')}" for reason, n in sorted(reasons.items())]
    verb = "is" if len(files) == 1 else "are"
    return (
        f"{format_count(len(files), 'file')} {verb} not used: {', '.join(parts)} "
        f"({format_names(file.uri for file in files)})"
    )


PLUGIN = Check("D001", "files not used", "files", _check_skipped_files)
