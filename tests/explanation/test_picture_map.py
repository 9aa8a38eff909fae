"""The map of the pictures: neighbours stay neighbours, the same vectors give the same bytes, few or alike ones too."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness

from headstart.explanation import picture_map
from headstart.explanation.picture_map import project_vectors


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:150].astype(np.float32)


def test_pictures_keep_their_neighbours_and_the_same_vectors_the_same_bytes(digits):
    places = project_vectors(digits, 0)
    assert places.dtype == np.float32 and places.min() == 0 and places.max() == 1
    assert trustworthiness(digits, places) > 0.93 > trustworthiness(digits, np.linalg.svd(digits)[0][:, :2])
    assert project_vectors(digits, 0).tobytes() == places.tobytes()


def test_of_many_pictures_some_are_laid_out_and_the_others_lie_beside_those_most_like_them(digits, monkeypatch):
    monkeypatch.setattr(picture_map, "LAID_OUT", 100)
    twins = np.repeat(digits[:75], 2, axis=0)
    places = project_vectors(twins, 0)
    apart = np.linalg.norm(places[::2] - places[1::2], axis=1)
    assert np.median(apart) < 0.02 and trustworthiness(twins, places) > 0.9


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6])
def test_few_pictures_have_places_of_their_own(digits, count):
    places = project_vectors(digits[:count], 0)
    assert len(np.unique(places, axis=0)) == count and np.isfinite(places).all()


@pytest.mark.parametrize("vectors", [np.ones((30, 5)), np.arange(30.0)[:, None], np.repeat(np.eye(3), 20, axis=0)])
def test_vectors_of_little_variety_have_finite_places(vectors):
    places = project_vectors(vectors.astype(np.float32), 0)
    assert places.shape == (len(vectors), 2) and np.isfinite(places).all()
