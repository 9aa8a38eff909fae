"""ImageNet's 1,000 names: whole, in order, unique, and cached as vectors."""

import json
import zipfile

import numpy as np
import pytest

from headstart.backbones.downloads import wheels
from headstart.core.console import Console
from headstart.core.errors import SetupError
from headstart.zero_shot import imagenet_classes, sentence_encoder

QUIET = Console(quiet=True)


@pytest.mark.medium
def test_the_names_stand_in_the_order_of_the_classifiers(shared_store):
    named = imagenet_classes.load_classes(shared_store, QUIET)
    assert len(named) == 1000
    assert len({one.name for one in named}) == 1000
    assert all(one.synonyms and len(set(one.synonyms)) == len(one.synonyms) for one in named)
    known = {0: "tench", 281: "tabby", 698: "palace", 967: "espresso", 985: "daisy", 999: "toilet tissue"}
    assert {at: named[at].name for at in known} == known
    assert "tabby cat" in named[281].synonyms


@pytest.mark.medium
def test_a_name_of_two_classes_is_told_apart(shared_store):
    named = imagenet_classes.load_classes(shared_store, QUIET)
    assert (named[134].name, named[517].name) == ("crane (crane bird)", "crane (construction crane)")
    assert named[134].synonyms == ("crane", "crane bird")


def test_a_package_that_lacks_names_is_refused(tmp_path, store, monkeypatch):
    wheel = tmp_path / "names.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("imagenet_classes/imagenet1k_label_to_names.json", json.dumps({"0": "tench"}))
        archive.writestr("imagenet_classes/imagenet1k_clean_names.json", json.dumps(["tench"]))
    monkeypatch.setattr(wheels, "fetch_wheel", lambda *given: wheel)
    with pytest.raises(SetupError, match="does not name ImageNet's 1,000 classes"):
        imagenet_classes.load_classes(store, QUIET)


@pytest.mark.medium
def test_vectors_are_made_once_for_the_names_they_are_of(shared_store, store):
    model = sentence_encoder.load_sentence_model(shared_store, QUIET)
    named = (
        imagenet_classes.ImageNetClass("cat", ("cat", "tabby")),
        imagenet_classes.ImageNetClass("espresso", ("espresso",)),
    )
    first = imagenet_classes.embed_classes(named, model, store, QUIET)
    assert first.shape == (2, sentence_encoder.WIDTH)
    assert np.linalg.norm(first, axis=1) == pytest.approx(1, abs=1e-6)
    assert np.array_equal(
        imagenet_classes.embed_classes(named, None, store, QUIET), first
    )  # no model is needed any more
    other = imagenet_classes.embed_classes((named[1], named[0]), model, store, QUIET)
    assert np.array_equal(other, first[::-1])
