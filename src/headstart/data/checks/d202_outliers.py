"""Pictures unlike all others: perhaps foreign to the set."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count, format_uris
from headstart.data.duplicates.near_duplicate_search import UnitVectors, measure_isolation

# Logarithm of the cosine distance to the fifth nearest picture, in spreads (1.48 median absolute deviations) above the
# set's median. Vectors are not centred: about their mean, pictures of a set lie as far apart as from foreign ones.
NEIGHBOUR, SPREADS, LEAST = 5, 7.0, 1e-6
LEAST_ROWS = 50


def _check_outliers(check: Check, audit_input: AuditInput) -> Outcome:
    if audit_input.vectors is None or audit_input.rows is None:
        return check.make_skipped("there are no vectors yet")
    if len(audit_input.rows) < LEAST_ROWS:
        return check.make_not_applicable(f"{format_count(len(audit_input.rows))} are too few to tell what is usual")
    far = measure_isolation(UnitVectors(audit_input.vectors, centred=False), NEIGHBOUR)
    log_far = np.log(np.maximum(far, LEAST))
    usual = float(np.median(log_far))
    limit = usual + SPREADS * max(1.4826 * float(np.median(np.abs(log_far - usual))), LEAST)
    order = np.argsort(-far, kind="stable")
    rows = audit_input.rows[order[log_far[order] > limit]]
    if not len(rows):
        return check.make_passed(
            f"the loneliest picture is {np.exp(log_far.max() - usual):.1f} times as far as is usual"
        )
    verb = "is" if len(rows) == 1 else "are"
    sentence = f"{format_count(len(rows))} {verb} unlike all others ({format_uris(audit_input.data, rows)})"
    return check.make_tip(sentence, "see whether they belong to the set", rows=rows)


PLUGIN = Check("D202", "outliers", "vectors", _check_outliers)
