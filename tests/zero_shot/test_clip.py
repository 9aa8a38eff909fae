"""Texts of a network that learnt pictures and texts: KerasHub's own forward to the last digits, tokens, bad names."""

import sys

import numpy as np
import pytest

import two_towers
from headstart.core import extras
from headstart.core.console import Console
from headstart.core.errors import SetupError, UsageError
from headstart.core.storage.cache import Store
from headstart.zero_shot import clip

pytestmark = pytest.mark.medium

QUIET = Console(quiet=True)
CLASSES = ("red", "green striped", "checked")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Kind -> network, preprocessor and the folder that they were saved to."""
    root = tmp_path_factory.mktemp("towers")
    found = {kind: getattr(two_towers, kind)() for kind in ("clip", "siglip")}
    return {kind: (*pair, two_towers.save(pair, root / kind)) for kind, pair in found.items()}


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_scores_are_those_of_kerashubs_own_forward(made, kind, store, monkeypatch):
    network, preprocessor, folder = made[kind]
    monkeypatch.setattr(clip, "TEMPLATES", ("a photo of a {}.",))
    found = clip.make_clip_scorer(CLASSES, folder, "first", store, QUIET)
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (5, 32, 32, 3)).astype(np.float32)
    given = preprocessor({"images": pictures, "prompts": [f"a photo of a {name}." for name in CLASSES]})
    inputs = {"images": given["images"], "token_ids": given["token_ids"]}
    theirs = np.asarray(network(inputs)["vision_logits"], np.float64)
    cosines = found.compute_similarities(np.asarray(network.get_vision_embeddings(given["images"])))
    assert cosines * found.scale + (found.bias or 0) == pytest.approx(theirs, abs=2e-5)
    powers = np.exp(theirs - theirs.max(axis=1, keepdims=True))
    wanted = powers / powers.sum(axis=1, keepdims=True) if kind == "clip" else 1 / (1 + np.exp(-theirs))
    assert found.compute_scores(cosines) == pytest.approx(wanted, abs=1e-5)
    assert (found.bias is None) == (kind == "clip")


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_class_is_the_mean_of_its_texts_each_of_length_one(made, kind, store):
    network, preprocessor, folder = made[kind]
    found = clip.make_clip_scorer(CLASSES, folder, "first", store, QUIET)
    for name, text in zip(CLASSES, found.texts, strict=True):
        tokens = clip.tokenize(preprocessor, [template.format(name) for template in clip.TEMPLATES])
        assert tokens.shape == (len(clip.TEMPLATES), two_towers.LENGTH)
        each = np.asarray(network.get_text_embeddings(tokens), np.float64)
        mean = (each / np.linalg.norm(each, axis=1, keepdims=True)).mean(axis=0)
        assert text == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    assert found.make_linear_weights().shape == (found.texts.shape[1], len(CLASSES))


def test_texts_are_made_once_for_a_list_of_classes_and_a_network(made, store, monkeypatch):
    folder = made["clip"][2]
    first = clip.make_clip_scorer(CLASSES, folder, "first", store, QUIET)
    monkeypatch.setattr(clip, "_open_preset", lambda folder: pytest.fail("the text tower is opened again"))
    again = clip.make_clip_scorer(CLASSES, folder, "first", Store(store.root), QUIET)
    assert np.array_equal(first.texts, again.texts) and (first.scale, first.bias) == (again.scale, again.bias)
    for others, revision in ((CLASSES[::-1], "first"), (CLASSES, "second")):
        with pytest.raises(pytest.fail.Exception):
            clip.make_clip_scorer(others, folder, revision, store, QUIET)


def test_without_kerashub_the_error_says_what_to_install_and_kept_texts_still_do(made, store, monkeypatch):
    folder = made["clip"][2]
    clip.make_clip_scorer(CLASSES, folder, "first", store, QUIET)
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    assert len(clip.make_clip_scorer(CLASSES, folder, "first", store, QUIET).texts) == len(CLASSES)
    with pytest.raises(SetupError) as caught:
        clip.make_clip_scorer(("red", "blue"), folder, "first", store, QUIET)
    assert caught.value.hint == extras.format_install_command("hub")


@pytest.mark.parametrize(
    ("kind", "classes", "said"),
    [
        ("clip", ("red", "Red"), "the class `Red` is named twice: it reads as `red`"),
        ("clip", ("red", "green " * 40), "pieces, the text tower reads 22"),
        ("siglip", ("red", "\u1401"), "can read nothing of the class name"),
    ],
)
def test_names_that_the_text_tower_cannot_use_are_refused(made, kind, classes, said, store):
    with pytest.raises(UsageError) as caught:
        clip.make_clip_scorer(classes, made[kind][2], "first", store, QUIET)
    assert said in caught.value.what
    assert caught.value.where == "--classes"
