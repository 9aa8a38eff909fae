"""What the duplicate checks share: which pictures are copies, and which look like copies.

Near-duplicates have perceptual hashes that differ in few of 64 bits, fewer in a set whose pictures all look alike, and
colour histograms that do not contradict it. Figures: docs/evidence/audit.md (`python -m benchmarks.false_alarms`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from headstart.core.types import Dataset, DatasetFacts, Outcome
from headstart.data.check_base import Check, format_count, format_uris
from headstart.data.duplicates.clusters import (
    chain_cap,
    find_capped_clusters,
    find_clusters,
    find_spanning_links,
    group_rows,
)
from headstart.data.duplicates.near_duplicate_search import find_hash_pairs, find_turned_pairs, typical_bits
from headstart.data.strata import encode_targets
from headstart.images.descriptors import ImageDescriptors

# Bits that may differ: this part of what all but the closest 1 % of pairs keep, within these bounds. On 2,000 pictures
# of one cloth the limit is 8 and the two most alike differ in 12; on 1,797 tiny drawings of ten digits it is 6.
HASH_PART, HASH_LEAST, HASH_MOST = 0.4, 4, 8
COLOUR_LIMIT = 0.5  # share of pixels in other colours: a copy that is 8 % brighter moves up to 0.22 on the cloth
DOUBTFUL_COLOUR_LIMIT = 0.25  # beyond `HASH_LEAST` bits the colours must agree better
TURNED_LIMIT = 4  # seven times as many chances to be alike by accident, so fewer bits
UNLIKE_LIMIT = 2  # of a turned pair under two labels: a 6 that is turned is a 9
BLANK_STD = 2.0  # the hash of a blank picture is noise
UNSEEN = "for cropped ones see D108"


def find_copies(data: Dataset) -> list[np.ndarray]:
    """Rows of each group of files with equal bytes, in the order of their smallest row."""
    return group_rows(find_first_copies(data.digests))


def find_first_copies(digests: Sequence[str]) -> np.ndarray:
    """(N,) int64 smallest row with the same bytes; a dictionary takes a quarter of an array's memory for digests."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(digest, row) for row, digest in enumerate(digests)], np.int64)


def link_groups(groups: Iterable[np.ndarray]) -> list[tuple[int, int]]:
    """Links that tie each group together: each row to the group's first."""
    return [(int(group[0]), int(row)) for group in groups for row in group[1:]]


def find_near_pairs(data: Dataset) -> tuple[np.ndarray, np.ndarray, int]:
    """(P, 2) int64 files that look like copies, without blank ones; (P,) bool, mirrored or turned; the limit in bits.

    The closest come first, and those as they are before the mirrored and turned ones.
    """
    facts = data.facts
    targets = encode_targets(np.asarray(data.targets)) if data.learning_task.has_classes else None
    first_copies = find_first_copies(data.digests)
    return _pair_near_rows(first_copies, facts.phash, _get_turned(facts), facts.histogram, facts.grey_std, targets)


def _get_turned(facts: DatasetFacts) -> np.ndarray:
    """(N, 7) uint64; a run of an earlier release knows pictures as they are alone."""
    return facts.turned_phash if len(facts.turned_phash) else np.repeat(facts.phash[:, None], 7, axis=1)


def _pair_near_rows(
    first_copies: np.ndarray,
    phash: np.ndarray,
    turned: np.ndarray,
    histogram: np.ndarray,
    grey_std: np.ndarray,
    targets: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, int]:
    rows = np.unique(first_copies)
    rows = rows[np.asarray(grey_std)[rows] >= BLANK_STD]
    hashes = np.asarray(phash)[rows]
    limit = int(np.clip(HASH_PART * typical_bits(hashes), HASH_LEAST, HASH_MOST))
    local, bits = find_hash_pairs(hashes, limit)
    pairs: np.ndarray = rows[local]
    colour = measure_colour_distance(np.asarray(histogram), pairs)
    pairs = pairs[colour <= np.where(bits <= HASH_LEAST, COLOUR_LIMIT, DOUBTFUL_COLOUR_LIMIT)]
    local, bits = find_turned_pairs(hashes, np.asarray(turned)[rows], TURNED_LIMIT)
    turned_pairs = rows[local]
    near = measure_colour_distance(np.asarray(histogram), turned_pairs) <= DOUBTFUL_COLOUR_LIMIT
    if targets is not None:
        near &= (bits <= UNLIKE_LIMIT) | (targets[turned_pairs[:, 0]] == targets[turned_pairs[:, 1]])
    is_turned = np.repeat([False, True], [len(pairs), int(near.sum())])
    return np.concatenate([pairs, turned_pairs[near]]), is_turned, limit


def match_pictures(
    data: Dataset, rows: np.ndarray, digests: Sequence[str], pictures: Sequence[ImageDescriptors]
) -> tuple[np.ndarray, np.ndarray]:
    """Which of M other pictures have the bytes of one of some rows of a data set, and which only look like one.

    Both (M,) bool; clusters are made as the audit makes them, by hashes and colours.
    """
    facts, known_digests = data.facts, [data.digests[row] for row in rows.tolist()]
    first_copies = find_first_copies([*known_digests, *digests])
    pairs, _, _ = _pair_near_rows(
        first_copies,
        np.concatenate([facts.phash[rows], np.array([picture.phash for picture in pictures], np.uint64)]),
        np.concatenate([_get_turned(facts)[rows], np.array([picture.turned for picture in pictures], np.uint64)]),
        np.concatenate([facts.histogram[rows], np.stack([picture.histogram for picture in pictures])]),
        np.concatenate([facts.grey_std[rows], [picture.grey_std for picture in pictures]]),
    )
    n, n_known = len(first_copies), len(rows)
    exact = np.array(link_groups(group_rows(first_copies)), np.int64).reshape(-1, 2)
    clusters = find_capped_clusters(n, exact, pairs, cap=chain_cap(n))[0]
    is_copy = first_copies[n_known:] < n_known
    return is_copy, (clusters[n_known:] < n_known) & ~is_copy


def measure_colour_distance(histogram: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(P,) total variation distance of two histograms, 0..1."""
    parts = np.array_split(pairs, 1 + len(pairs) // 50_000)
    return np.concatenate([np.abs(histogram[p[:, 0]] - histogram[p[:, 1]]).sum(axis=1) / 2 for p in parts])


def group_pairs(n: int, pairs: np.ndarray) -> list[np.ndarray]:
    """Rows of each group that pairs tie together."""
    return group_rows(find_clusters(n, pairs))


def make_near_duplicate_issue(check: Check, data: Dataset, pairs: np.ndarray, rule: str) -> Outcome:
    """The issue of pairs (P, 2) int64, the closest first, P above 0; `rule` says what made them pairs, in figures."""
    pairs = find_spanning_links(len(data.uris), pairs)
    groups = group_pairs(len(data.uris), pairs)
    rows, targets = np.concatenate(groups), encode_targets(np.asarray(data.targets))
    mixed = sum(len(np.unique(targets[group])) > 1 for group in groups)
    labels = f", {mixed:,} of them under two labels" if mixed else ""
    kinds = format_count(len(groups), "near-duplicate group")
    sentence = f"{format_count(len(rows))} in {kinds}{labels}: {rule} (such as {format_uris(data, pairs[0])})"
    fix = "look at the groups; each stays on one side of every split that is drawn"
    return check.make_issue(sentence, fix, rows=rows, links=pairs)
