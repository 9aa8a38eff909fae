"""Files whose format is not the one that their suffix promises."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count, format_uris
from headstart.images.file_formats import SUFFIXES


def _check_wrong_suffixes(check: Check, audit_input: AuditInput) -> Outcome:
    data = audit_input.data
    suffixes = [PurePath(uri).suffix.lower() for uri in data.uris]
    pairs = list(zip(suffixes, data.facts.file_formats, strict=True))
    rows = [row for row, (suffix, file_format) in enumerate(pairs) if SUFFIXES.get(suffix, file_format) != file_format]
    if not rows:
        n = sum(suffix in SUFFIXES for suffix in suffixes)
        return check.make_passed(f"{format_count(n)} of the format that the suffix promises")
    kinds = Counter(pairs[row] for row in rows).most_common(3)
    counts = ", ".join(f"{n:,} `{suffix}` {'is' if n == 1 else 'are'} {kind}" for (suffix, kind), n in kinds)
    sentence = f"{format_count(len(rows))} of another format than the suffix promises: {counts} "
    fix = "nothing for headstart, which reads the bytes; rename them for other programs, and ask how they came about"
    return check.make_tip(f"{sentence}({format_uris(data, rows)})", fix, rows=rows)


PLUGIN = Check("D010", "wrong suffixes", "files", _check_wrong_suffixes)
