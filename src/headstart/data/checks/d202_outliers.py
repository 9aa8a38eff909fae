"""Pictures unlike all others: perhaps foreign to the set."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, count, uris
from headstart.data.duplicates.near_neighbours import loneliness, unit

# Distance to the fifth nearest picture, in spreads (1.48 median absolute deviations) above the set's median.
NEIGHBOUR, SPREADS = 5, 6.0
LEAST_ROWS = 50


def _look(check: Check, given: AuditInput) -> Outcome:
    if given.vectors is None or given.rows is None:
        return check.skipped("there are no vectors yet")
    if len(given.rows) < LEAST_ROWS:
        return check.not_applicable(f"{count(len(given.rows))} are too few to tell what is usual")
    far = loneliness(unit(given.vectors), NEIGHBOUR)
    usual = float(np.median(far))
    limit = usual + SPREADS * max(1.4826 * float(np.median(np.abs(far - usual))), 1e-6)
    order = np.argsort(-far, kind="stable")
    rows = given.rows[order[far[order] > limit]]
    if not len(rows):
        return check.passed(f"the loneliest picture is {far.max() / max(usual, 1e-9):.1f} times as far as is usual")
    verb = "is" if len(rows) == 1 else "are"
    sentence = f"{count(len(rows))} {verb} unlike all others ({uris(given.data, rows)})"
    return check.tip(sentence, "see whether they belong to the set", rows=rows)


PLUGIN = Check("D202", "outliers", "vectors", _look)
