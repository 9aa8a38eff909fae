"""Pictures whose embeddings are far closer to each other than to the rest of their neighbourhood."""

from __future__ import annotations

import numpy as np

from headstart.core.extras import format_install_command, list_missing_packages
from headstart.core.types import AuditInput, Outcome
from headstart.data.check_base import Check, format_count
from headstart.data.duplicates.copy_detection import BLANK_STD, UNSEEN, make_near_duplicate_issue
from headstart.data.duplicates.near_duplicate_search import (
    UnitVectors,
    find_vector_pairs,
    measure_isolation,
    to_unit_vectors,
)
from headstart.data.duplicates.vector_index import find_indexed_pairs

# Cosine distance of centred vectors: this part of the distance to the tenth nearest picture, for both of a pair, within
# these bounds. A fixed distance, or one for the whole set, fails where all look alike: docs/evidence/audit.md.
NEIGHBOUR, PART, LEAST, MOST = 10, 0.25, 0.01, 0.15
MOST_ROWS = 50_000  # all pairs of so many vectors take about half a minute on two cores
LEAST_ROWS = 2 * NEIGHBOUR


def _check_near_duplicates(check: Check, audit_input: AuditInput) -> Outcome:
    if audit_input.vectors is None or audit_input.rows is None:
        return check.make_skipped("there are no vectors yet")
    n = len(audit_input.rows)
    if n > MOST_ROWS and list_missing_packages("neighbours"):
        what = f"{n:,} pictures are more than the {MOST_ROWS:,} whose vectors are compared all with all"
        return check.make_skipped(f"{what}; an index of them needs {format_install_command('neighbours')}")
    if n < LEAST_ROWS:
        return check.make_not_applicable(f"{format_count(n)} are too few to tell what is usual")
    exactness = ""
    if n > MOST_ROWS:
        vectors = UnitVectors(audit_input.vectors)
        local, _, recall = find_indexed_pairs(vectors, find_distance_limits(vectors))
        exactness = f" by an index that knows the nearest picture of {recall:.1%} of a sample"
    else:
        whole = to_unit_vectors(audit_input.vectors)
        local, _ = find_vector_pairs(whole, find_distance_limits(whole))
    digests, blank = audit_input.data.digests, np.asarray(audit_input.data.facts.grey_std) < BLANK_STD
    pairs = [
        (a, b) for a, b in audit_input.rows[local].tolist() if digests[a] != digests[b] and not (blank[a] or blank[b])
    ]
    rule = f"{1 / PART:g} times closer than their tenth nearest pictures{exactness}"
    if not pairs:
        return check.make_passed(f"no two different files of {format_count(n)} are {rule}; {UNSEEN}")
    return make_near_duplicate_issue(check, audit_input.data, np.array(pairs, np.int64), rule)


def find_distance_limits(vectors: np.ndarray | UnitVectors) -> np.ndarray:
    """(N,) the cosine distance below which another picture is a near-duplicate of each."""
    return np.clip(PART * measure_isolation(vectors, NEIGHBOUR), LEAST, MOST)


PLUGIN = Check("D201", "near-duplicates by embedding", "vectors", _check_near_duplicates)
