"""Pictures that had to be converted to be read."""

from __future__ import annotations

from collections import Counter

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, count

# Conversions of this many pictures or more are told one by one, rarer ones together.
MOST_KINDS = 5


def _look(check: Check, given: AuditInput) -> Outcome:
    notes = given.data.facts.notes
    rows = [row for row, note in enumerate(notes) if note]
    if not rows:
        return check.passed(f"{count(len(notes))} read as they are")
    kinds = Counter(notes[row] for row in rows).most_common()
    named = ", ".join(f"{note} {n:,}" for note, n in kinds[:MOST_KINDS])
    rest = f", and {len(kinds) - MOST_KINDS} other kinds" if len(kinds) > MOST_KINDS else ""
    sentence = f"{count(len(rows))} converted to 8-bit RGB: {named}{rest}"
    return check.tip(sentence, "see that nothing is lost; predictions convert the same way", rows=rows)


PLUGIN = Check("D008", "converted pictures", "files", _look)
