"""Files on disk that are not used, by reason."""

from __future__ import annotations

from collections import Counter

from headstart.core.types import AuditInput, Outcome, SkippedFile
from headstart.data.check_base import Check, count, some

# Nobody expects these to be pictures of the set.
HARMLESS = ("hidden",)


def _look(check: Check, given: AuditInput) -> Outcome:
    excused = given.data.excused
    if not excused:
        return check.passed(f"all {count(len(given.data.uris), 'file')} are used")
    bad = [file for file in excused if file.reason not in HARMLESS]
    quiet = [file for file in excused if file.reason in HARMLESS]
    findings = []
    if bad:
        fix = "repair these files or take them away; the run goes on without them"
        findings.append(check.finding("warning", _sentence(bad), fix, uris=[file.uri for file in bad]))
    if quiet:
        fix = "nothing, if they are no pictures of the set"
        findings.append(check.finding("info", _sentence(quiet), fix, uris=[file.uri for file in quiet]))
    return check.found(findings)


def _sentence(files: list[SkippedFile]) -> str:
    reasons = Counter(file.reason for file in files)
    parts = [f"{n:,} {reason.replace('_', ' ')}" for reason, n in sorted(reasons.items())]
    verb = "is" if len(files) == 1 else "are"
    return f"{count(len(files), 'file')} {verb} not used: {', '.join(parts)} ({some(file.uri for file in files)})"


PLUGIN = Check("D001", "files not used", "files", _look)
