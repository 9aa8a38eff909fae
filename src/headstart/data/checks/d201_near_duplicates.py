"""Pictures whose embeddings are far closer to each other than to the rest of their neighbourhood."""

from __future__ import annotations

import numpy as np

from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, count
from headstart.data.duplicates.duplicate_checks import BLANK_STD, alike
from headstart.data.duplicates.near_neighbours import loneliness, unit, vector_pairs

# Cosine distance of centred vectors: this part of the distance to the tenth nearest picture, for both of a pair, within
# these bounds. A fixed distance, or one for the whole set, fails where all pictures look alike: see docs/audit.md.
NEIGHBOUR, PART, LEAST, MOST = 10, 0.25, 0.01, 0.15
# All pairs of 50,000 vectors take about half a minute on two cores.
MOST_ROWS = 50_000
LEAST_ROWS = 2 * NEIGHBOUR


def _look(check: Check, given: AuditInput) -> Outcome:
    if given.vectors is None or given.rows is None:
        return check.skipped("there are no vectors yet")
    n = len(given.rows)
    if n > MOST_ROWS:
        return check.skipped(f"{n:,} pictures are more than the {MOST_ROWS:,} whose vectors are compared all with all")
    if n < LEAST_ROWS:
        return check.not_applicable(f"{count(n)} are too few to tell what is usual")
    vectors = unit(given.vectors)
    local, _ = vector_pairs(vectors, limits(vectors))
    digests, blank = given.data.digests, np.asarray(given.data.facts.grey_std) < BLANK_STD
    pairs = [(a, b) for a, b in given.rows[local].tolist() if digests[a] != digests[b] and not (blank[a] or blank[b])]
    rule = f"{1 / PART:g} times closer than their tenth nearest pictures"
    if not pairs:
        return check.passed(f"no two different files of {count(n)} are {rule}")
    return alike(check, given.data, np.array(pairs, np.int64), rule)


def limits(vectors: np.ndarray) -> np.ndarray:
    """(N,) the cosine distance below which another picture is a near-duplicate of each."""
    return np.clip(PART * loneliness(vectors, NEIGHBOUR), LEAST, MOST)


PLUGIN = Check("D201", "near-duplicates by embedding", "vectors", _look)
