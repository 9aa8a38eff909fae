"""Audit: run every data check, keep its outcome, and cluster the pictures that must stay together.

Near-duplicates are clustered first, and groups (patients, sites) joined with them.

Phase `files` runs on what the files tell, phase `vectors` on the embeddings and keeps the links of the first.
A finding of severity `error` stops the run, with all others of its kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import get_args

import numpy as np

from headstart.core import registry
from headstart.core.console import Console
from headstart.core.errors import DataError, UsageError
from headstart.core.job import Job
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.storage.files import format_printable
from headstart.core.types import Audit, AuditInput, DataCheck, Dataset, Embeddings, Finding, Outcome, Severity
from headstart.data.check_base import format_count
from headstart.data.duplicates.clusters import chain_cap, find_capped_clusters
from headstart.data.groups import find_groups, join_clusters
from headstart.data.reading.records import FOLDERS, find_reader

SEVERITIES: tuple[str, ...] = get_args(Severity)


def audit_dataset(
    data: Dataset, *, ctx: Context, embeddings: Embeddings | None = None, before: Audit | None = None
) -> Audit:
    """Run all checks of a phase: `vectors`, on the last feature level, where there are `embeddings`, else `files`.

    Raises:
        DataError: With every finding that makes fitting impossible; not where nothing but an audit is asked for.
    """
    phase = "files" if embeddings is None else "vectors"
    audit_input = _make_audit_input(data, ctx.job, embeddings, before)
    outcomes = tuple(check(audit_input) for check in load_checks(phase))
    outcomes_so_far = (*(before.outcomes if before else ()), *outcomes)
    clusters, refused = _cluster_rows(data, outcomes_so_far)
    audit = Audit(phase=phase, outcomes=outcomes, clusters=clusters)
    serialization.save_value(audit, ctx.make_step_folder("audit"), name=phase)
    _print_outcomes(audit, len(refused), ctx.console)
    if not ctx.only_audits:
        _require_no_error(outcomes)
    return audit


def require_severity(word: str) -> None:
    """Refuse a word that is no severity, by a UsageError."""
    if word not in SEVERITIES:
        raise UsageError(f"`{word}` is none of {', '.join(SEVERITIES)}", where="--fail-on")


def list_failed(outcomes: Iterable[Outcome], severity: Severity) -> list[str]:
    """Codes of the checks with a finding of a severity or worse, each once."""
    failing = SEVERITIES[: SEVERITIES.index(severity) + 1]
    return [each.code for each in outcomes if any(finding.severity in failing for finding in each.findings)]


def load_checks(phase: str) -> list[DataCheck]:
    """The checks of a phase, in the order of their codes."""
    every = [registry.load_plugin("data_checks", name) for name in registry.list_plugins("data_checks")]
    return sorted((check for check in every if check.phase == phase), key=lambda check: check.code)


def _make_audit_input(data: Dataset, job: Job, embeddings: Embeddings | None, before: Audit | None) -> AuditInput:
    folds = job.folds
    if embeddings is None:
        return AuditInput(data=data, folds=folds, has_class_folders=find_reader(job.data).name == FOLDERS)
    last = embeddings.spec.depths[-1].name
    clusters = before.clusters if before else None
    rows = np.asarray(embeddings.rows)
    return AuditInput(data=data, folds=folds, vectors=embeddings.vectors[last], rows=rows, clusters=clusters)


def _cluster_rows(data: Dataset, outcomes: Iterable[Outcome]) -> tuple[np.ndarray, np.ndarray]:
    links = [link for outcome in outcomes for link in outcome.links]
    same = [data.digests[a] == data.digests[b] for a, b in links]
    pairs, exact = np.array(links, np.int64).reshape(-1, 2), np.array(same, bool)
    n = len(data.uris)
    clusters, refused = find_capped_clusters(n, pairs[exact], pairs[~exact], cap=chain_cap(n))
    return (join_clusters(clusters, find_groups(data)) if data.groups else clusters), refused


def _print_outcomes(audit: Audit, refused: int, console: Console) -> None:
    counts = Counter(outcome.status for outcome in audit.outcomes)
    parts = [f"{len(audit.outcomes)} checks", *(format_count(counts[status], status) for status in ("issue", "tip"))]
    parts += [f"{counts['skipped']} skipped"] if counts["skipped"] else []
    console.print_line("audit", f"{audit.phase}: {', '.join(parts)}")
    for outcome in audit.outcomes:
        if outcome.status in ("issue", "skipped"):
            console.print_line("audit", f"{outcome.code} {outcome.why}")
    if refused:
        cap = chain_cap(len(audit.clusters))
        console.print_line(
            "audit", f"{refused:,} links of likeness would chain more than {cap:,} pictures: not followed"
        )


def _require_no_error(outcomes: Iterable[Outcome]) -> None:
    fatal = [finding for outcome in outcomes for finding in outcome.findings if finding.severity == "error"]
    if fatal:
        what = "; ".join(f"{finding.code} {finding.sentence}" for finding in fatal)
        hint = "; ".join(dict.fromkeys(finding.fix for finding in fatal))
        raise DataError(what, where=_format_files(fatal), hint=hint)


def _format_files(findings: Iterable[Finding]) -> str | None:
    files = [format_printable(uri) for finding in findings for uri in finding.uris]
    more = f" and {len(files) - 5:,} more" if len(files) > 5 else ""
    return ", ".join(files[:5]) + more or None
