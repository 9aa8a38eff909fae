"""A CLIP that is trained here until it is right: `zeroshot`, and a `fit` that starts from its texts."""

import json

import numpy as np
import pytest
from PIL import Image

import headstart
import two_towers
from command_line import call
from headstart.backbones import loading
from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.core.storage.cache import default_store
from headstart.evaluation.baselines import NAMES
from headstart.selection.probe import candidate_heads
from headstart.zero_shot import head_from_names

pytestmark = pytest.mark.slow

QUIET = Console(quiet=True)
CLASSES = ("red_striped", "green plain", "blue checked", "yellow dotted")
EACH = 6


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """A cache of these tests' own: what is trained here is nobody else's backbone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """The folder that `save_to_preset` wrote, as a backbone's name; and the network itself."""
    made = two_towers.trained()
    return f"keras_hub:{two_towers.save(made, tmp_path_factory.mktemp('clip') / 'small')}", made


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    """New drawings in one folder a class."""
    root, rng = tmp_path_factory.mktemp("drawings") / "drawings", np.random.default_rng(99)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for number in range(EACH):
            colour, pattern = name.replace("_", " ").split()
            Image.fromarray(two_towers.drawing(rng, colour, pattern)).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def guesses(preset, drawings):
    return list(headstart.zeroshot(drawings, CLASSES, backbone=preset[0], console=QUIET))


def test_it_is_right_about_drawings_that_it_has_not_seen(guesses):
    assert len(guesses) == EACH * len(CLASSES)
    right = [one.answer == one.uri.split("/")[-2] for one in guesses]
    assert np.mean(right) > 0.9  # chance is 0.25
    for one in guesses:
        assert list(one.scores) == list(one.cosines) == sorted(CLASSES, key=lambda name: -one.cosines[name])
        assert sum(one.scores.values()) == pytest.approx(1, abs=1e-6)
        assert one.seen == {} and not one.error


def test_the_cosines_are_those_of_kerashub_and_do_not_depend_on_other_pictures(preset, guesses, drawings):
    name, (network, preprocessor) = preset
    alone = next(headstart.zeroshot(guesses[7].uri, CLASSES, backbone=name, console=QUIET))
    assert alone.cosines == guesses[7].cosines
    pictures = np.stack([np.asarray(Image.open(one.uri)) for one in guesses]).astype(np.float32) / 127.5 - 1
    vectors = np.asarray(network.get_vision_embeddings(pictures), np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    from headstart.zero_shot import clip

    texts = [t.format(c.replace("_", " ")) for c in CLASSES for t in clip.TEMPLATES]
    each = np.asarray(network.get_text_embeddings(clip.tokenize(preprocessor, texts)), np.float64)
    each = (each / np.linalg.norm(each, axis=1, keepdims=True)).reshape(len(CLASSES), -1, each.shape[1]).mean(axis=1)
    theirs = vectors @ (each / np.linalg.norm(each, axis=1, keepdims=True)).T
    ours = np.array([[one.cosines[name] for name in CLASSES] for one in guesses])
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_rows_of_the_command_line_come_without_a_framework_once_all_is_made(preset, guesses, drawings):
    words = (
        "zeroshot",
        drawings / "green plain",
        "--classes",
        ",".join(CLASSES),
        "--backbone",
        loading.find_backbone(preset[0]).name,
    )
    stdout, stderr = call(*words, "--json")
    rows = [json.loads(line) for line in stdout.splitlines()]
    assert [row["answer"] for row in rows].count("green plain") >= EACH - 1
    assert all(row["measured"] is False and set(row["scores"]) == set(CLASSES) for row in rows)
    assert "unmeasured" in stderr


def test_fit_starts_from_the_texts(preset, guesses, drawings, tmp_path):
    run = headstart.fit(drawings, from_names=True, backbones=preset[0], out=tmp_path / "run", console=QUIET)
    alone = {s.name: s for s in run.evaluation.baselines if s.subject == NAMES}
    right = np.mean([one.answer == one.uri.split("/")[-2] for one in guesses])
    assert alone["accuracy"].value == pytest.approx(right)
    assert alone["accuracy"].n == EACH * len(CLASSES)
    name = loading.find_backbone(preset[0]).name
    assert (candidate_heads.FROM_NAMES, (f"{name}@last",)) in {(row.head, row.features) for row in run.adapted.tried}


def test_a_network_with_texts_of_its_own_comes_before_a_classifier(preset, context):
    name = loading.find_backbone(preset[0]).name
    assert (
        head_from_names.list_name_backbones(
            ("bundled:efficientnet_lite2", name), ctx=context(store=default_store(QUIET))
        )[0]
        == name
    )


def test_a_network_without_texts_says_what_has_some(preset, drawings):
    with pytest.raises(UsageError) as caught:
        list(headstart.zeroshot(drawings, CLASSES, backbone="bundled:vgg16_hed", console=QUIET))
    assert "has no ImageNet classifier" in caught.value.what
