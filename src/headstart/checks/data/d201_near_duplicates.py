"""Pictures whose embeddings are far closer than is usual in this data set."""

from __future__ import annotations

import numpy as np

from headstart.checks.data._check import Check, count
from headstart.checks.data._near import alike
from headstart.core.types import AuditInput, Outcome
from headstart.kit.neighbours import typical_distance, unit, vector_pairs

# Cosine distance of centred vectors: this part of what all but the closest 1 % of pairs keep, within these bounds.
# Measured on pictures of one cloth with planted copies: see docs/audit.md.
PART, LEAST, MOST = 0.25, 0.02, 0.15
# All pairs of 50,000 vectors take about half a minute on two cores.
MOST_ROWS = 50_000
LEAST_ROWS = 10


def _look(check: Check, given: AuditInput) -> Outcome:
    if given.vectors is None or given.rows is None:
        return check.skipped("there are no vectors yet")
    n = len(given.rows)
    if n > MOST_ROWS:
        return check.skipped(f"{n:,} pictures are more than the {MOST_ROWS:,} whose vectors are compared all with all")
    if n < LEAST_ROWS:
        return check.not_applicable(f"{count(n)} are too few to tell what is usual")
    vectors = unit(given.vectors)
    limit = float(np.clip(PART * typical_distance(vectors), LEAST, MOST))
    local, _ = vector_pairs(vectors, limit)
    pairs = [(a, b) for a, b in given.rows[local].tolist() if given.data.digests[a] != given.data.digests[b]]
    rule = f"within cosine distance {limit:.3f}"
    if not pairs:
        return check.passed(f"no two different files of {count(n)} are {rule}")
    return alike(check, given.data, np.array(pairs, np.int64), rule)


PLUGIN = Check("D201", "near-duplicates by embedding", "vectors", _look)
