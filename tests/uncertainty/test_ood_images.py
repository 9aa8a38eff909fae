"""The foreign pictures: real, few, the same every time, and a data set like any other."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

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


def test_digits_are_known_to_a_model_that_reads_them_and_strange_to_any_other(store):
    digits, found = load_digits(), ood_images.make_ood_images(store)
    small = [Image.open(Path(found.root) / uri).convert("L").resize((8, 8)) for uri in found.uris]
    x, names = 255 - np.stack([np.asarray(one, float).ravel() for one in small]), tuple("0123456789")
    model = LogisticRegression(max_iter=200).fit(digits.data[100:] * 16, digits.target[100:])
    assert ood_images.find_known_kinds(found, names, model.predict(x)) == (ood_images.DIGITS,)
    assert ood_images.find_known_kinds(found, tuple("abcdefghij"), model.predict(x)) == ()
    grades = np.digitize(x.mean(axis=1), np.quantile(x.mean(axis=1), [0.25, 0.5, 0.75]))  # another thing called 0 to 3
    assert ood_images.find_known_kinds(found, ("0", "1", "2", "3"), grades) == ()
