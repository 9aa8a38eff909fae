"""The foreign pictures: real, few, the same every time, and a data set like any other."""

from pathlib import Path

import numpy as np
from PIL import Image

from headstart.core.storage.cache import Store
from headstart.uncertainty import ood_images


def test_digits_and_photographs_lie_in_the_cache_as_a_small_data_set(store):
    found = ood_images.make_ood_images(store)
    assert found.class_names == ood_images.KINDS
    np.testing.assert_array_equal(np.bincount(found.targets), ood_images.COUNTS)
    assert len(set(found.digests)) == len(found.uris) == sum(ood_images.COUNTS)
    shown = [np.asarray(Image.open(Path(found.root) / uri)) for uri in found.uris]
    assert {one.shape for one in shown} == {(160, 160, 3)}
    ink = [one.mean() for one, target in zip(shown, found.targets, strict=True) if target == 0]
    assert min(ink) > 128  # dark on white
    coloured = [one.std(axis=2).mean() for one, target in zip(shown, found.targets, strict=True) if target == 1]
    assert min(coloured) > 2
    assert len(found.facts.phash) == len(found.uris)


def test_they_are_the_same_in_every_cache(store, tmp_path):
    one, other = ood_images.make_ood_images(store), ood_images.make_ood_images(Store(tmp_path / "other"))
    assert one.digests == other.digests
    assert one.digest == other.digest
    assert one.root != other.root
