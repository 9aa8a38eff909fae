import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.duplicates import near_duplicate_search, vector_index
from headstart.data.duplicates.clusters import (
    chain_cap,
    find_capped_clusters,
    find_clusters,
    find_spanning_links,
    group_rows,
)


def planted(n, distances, seed=0):
    """Random hashes; row n + i is row i with `distances[i]` bits flipped."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
    flips = [sum(1 << int(bit) for bit in rng.choice(64, d, replace=False)) for d in distances]
    return np.concatenate([hashes, hashes[: len(flips)] ^ np.array(flips, np.uint64)])


@pytest.mark.parametrize("exact_rows", [10_000, 0])
def test_planted_hash_pairs_are_found_with_their_distance(exact_rows):
    hashes = planted(3_000, [0, 1, 2, 3, 4, 5, 6, 7, 7, 7])
    pairs, distances = near_duplicate_search.find_hash_pairs(hashes, 8, exact_rows=exact_rows)
    found = {tuple(pair): int(d) for pair, d in zip(pairs.tolist(), distances, strict=True)}
    assert found == {(i, 3_000 + i): d for i, d in enumerate([0, 1, 2, 3, 4, 5, 6, 7, 7, 7])}
    assert distances.tolist() == sorted(distances.tolist())


def test_chunked_search_finds_nine_of_ten_pairs_at_distance_8():
    hashes = planted(2_000, [8] * 1_000)
    exact, _ = near_duplicate_search.find_hash_pairs(hashes, 8)
    chunked, _ = near_duplicate_search.find_hash_pairs(hashes, 8, exact_rows=0)
    assert set(map(tuple, chunked.tolist())) <= set(map(tuple, exact.tolist()))
    assert len(exact) >= 1_000 and len(chunked) >= 0.9 * len(exact)


def test_pairs_of_many_equal_hashes_are_linear_in_their_number():
    pairs, _ = near_duplicate_search.find_hash_pairs(np.full(5_000, 7, np.uint64), 8)
    assert len(pairs) < 8 * 5_000
    assert not find_clusters(5_000, pairs).any()


def test_too_many_pairs_are_thinned_to_a_forest_with_the_same_clusters(monkeypatch):
    monkeypatch.setattr(near_duplicate_search, "_MOST_PAIRS", 50)
    hashes = np.array([1 << (i % 20) for i in range(20)] + [(2**64 - 1) ^ (1 << i) for i in range(20)], np.uint64)
    pairs, _ = near_duplicate_search.find_hash_pairs(hashes, 4)
    assert len(pairs) < 380
    assert find_clusters(40, pairs).tolist() == [0] * 20 + [20] * 20


def brute(vectors, limits):
    distance = 1 - vectors @ vectors.T
    near = distance <= np.minimum(limits[:, None], limits[None, :])
    return {(i, j) for i in range(len(vectors)) for j in range(i + 1, len(vectors)) if near[i, j]}


@pytest.mark.parametrize("dim", [16, 200])
def test_vector_pairs_equal_brute_force(dim):
    rng = np.random.default_rng(1)
    base = rng.normal(size=(150, dim))
    near = base[:60] + rng.normal(size=(60, dim)) * rng.uniform(0, 0.6, (60, 1))
    vectors = near_duplicate_search.to_unit_vectors(np.concatenate([base, near]).astype(np.float32))
    for limits in (np.full(210, 0.1), rng.uniform(0, 0.2, 210)):
        pairs, distances = near_duplicate_search.find_vector_pairs(vectors, limits)
        assert set(map(tuple, pairs.tolist())) == brute(vectors, limits)
        assert (np.diff(distances) >= 0).all()


def test_an_index_finds_the_pairs_of_all_with_all_and_says_how_exact_it_is():
    pytest.importorskip("usearch")
    rng = np.random.default_rng(2)
    base = (rng.normal(size=(400, 96)) * 0.95 ** np.arange(96)).astype(np.float32)
    vectors = np.concatenate([base, base[:90] + 0.05 * rng.normal(size=(90, 96)).astype(np.float32)])
    limits = np.full(490, 0.1)
    pairs, _, recall = vector_index.find_indexed_pairs(near_duplicate_search.UnitVectors(vectors), limits)
    exact, _ = near_duplicate_search.find_vector_pairs(near_duplicate_search.to_unit_vectors(vectors), limits)
    assert len(exact) >= 80 and set(map(tuple, pairs.tolist())) == set(map(tuple, exact.tolist()))
    assert recall > 0.95
    blind = np.tile(np.arange(9), (490, 1))
    assert vector_index._measure_recall(near_duplicate_search.UnitVectors(vectors), blind) < 0.2


def test_the_index_is_the_same_with_any_number_of_threads(monkeypatch):
    pytest.importorskip("usearch")
    rng = np.random.default_rng(5)
    vectors = near_duplicate_search.UnitVectors(rng.normal(size=(3_000, 48)).astype(np.float32))
    answers = []
    for threads in (1, 4):
        monkeypatch.setattr(vector_index, "count_threads", lambda threads=threads: threads)
        answers.append(vector_index.find_indexed_pairs(vectors, np.ones(3_000)))
    assert len(answers[0][0]) > 10_000 and np.array_equal(answers[0][0], answers[1][0])
    assert answers[0][2] == answers[1][2]


def test_vectors_are_projected_without_an_eigen_decomposition_and_nearly_as_well(monkeypatch):
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(300, 400)) * 0.97 ** np.arange(400)
    unit = near_duplicate_search.to_unit_vectors(vectors.astype(np.float32))
    widths = np.linalg.eigvalsh(unit.T.astype(float) @ unit)
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: pytest.fail("ten times the time"))
    small = near_duplicate_search._project_vectors(unit)
    assert small.shape == (300, 64)
    assert np.sum(small**2) / widths.sum() > 0.98 * widths[-64:].sum() / widths.sum()
    assert (np.linalg.norm(small, axis=1) <= np.linalg.norm(unit, axis=1) + 1e-6).all()  # it lengthens none


def test_loneliness_counts_neighbours_not_itself():
    vectors = near_duplicate_search.to_unit_vectors(np.eye(12, dtype=np.float32))
    far = near_duplicate_search.measure_isolation(vectors, 1)
    assert far == pytest.approx(np.full(12, 1 - vectors[0] @ vectors[1]), abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_sets_have_typical_distances(n):
    assert near_duplicate_search.typical_bits(np.arange(n, dtype=np.uint64)) >= 0
    assert len(near_duplicate_search.find_vector_pairs(np.eye(n, 4, dtype=np.float32), np.full(n, 0.1))[0]) == 0


links = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=60)


@settings(deadline=None, max_examples=60)
@given(links)
def test_clusters_are_the_connected_components(pairs):
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a = np.array(pairs, np.int64).reshape(-1, 2)
    _, label = connected_components(coo_array((np.ones(len(a)), (a[:, 0], a[:, 1])), shape=(30, 30)), directed=False)
    expected = [int(np.flatnonzero(label == label[row])[0]) for row in range(30)]
    assert find_clusters(30, a).tolist() == expected
    kept = find_spanning_links(30, a)
    assert len(kept) <= 29 and find_clusters(30, kept).tolist() == expected


@settings(deadline=None, max_examples=60)
@given(links, links, st.integers(1, 12))
def test_near_links_never_make_a_cluster_beyond_the_cap(exact, near, cap):
    e, n = (np.array(pairs, np.int64).reshape(-1, 2) for pairs in (exact, near))
    found, refused = find_capped_clusters(30, e, n, cap=cap)
    alone = find_clusters(30, e)
    largest_exact = {int(root): int((alone == root).sum()) for root in alone}
    for rows in group_rows(found):
        if len({int(alone[row]) for row in rows}) > 1:
            assert len(rows) <= cap
        else:
            assert len(rows) == largest_exact[int(alone[rows[0]])]
    assert all(found[a] == found[b] for a, b in exact)
    stay_apart = {tuple(pair) for pair in refused.tolist()}
    assert all(found[a] == found[b] or (a, b) in stay_apart for a, b in near)


def test_a_long_chain_is_cut_at_the_cap():
    n = 400
    chain = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)
    found, refused = find_capped_clusters(n, chain[:0], chain, cap=chain_cap(n))
    assert chain_cap(n) == 50 and len(refused) == 7
    assert np.unique(found, return_counts=True)[1].tolist() == [50] * 8
    assert len(np.unique(find_clusters(n, chain))) == 1
