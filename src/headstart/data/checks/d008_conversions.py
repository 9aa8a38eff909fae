"""Pictures that had to be converted to be read."""

from __future__ import annotations

from collections import Counter

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count
from headstart.images.descriptors import format_ranges

MOST_KINDS = 5  # of conversions that are told one by one, rarer ones together


def _check_conversions(check: Check, audit_input: AuditInput) -> Outcome:
    notes = audit_input.data.facts.notes
    rows = [row for row, note in enumerate(notes) if note]
    if not rows:
        return check.make_passed(f"{format_count(len(notes))} read as they are")
    kinds = Counter(notes[row] for row in rows).most_common()
    conversions = ", ".join(f"{note} {n:,}" for note, n in kinds[:MOST_KINDS])
    ranges = audit_input.data.reading.ranges
    scaled = f"; {format_ranges(ranges)}" if ranges.integers or ranges.floats else ""
    others = f", and {len(kinds) - MOST_KINDS} other kinds" if len(kinds) > MOST_KINDS else ""
    sentence = f"{format_count(len(rows))} are no plain 8-bit RGB: {conversions}{others}{scaled}"
    return check.make_tip(sentence, "see that nothing is lost; predictions convert the same way", rows=rows)


PLUGIN = Check("D008", "converted pictures", "files", _check_conversions)
