"""Wrong preprocessing is seen in the first layer, on any pictures; the right one is never accused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageFilter

from headstart.backbones import input_check, loading
from headstart.backbones.inventory import cache_inventory
from headstart.backbones.sources.bundled import Bundled
from headstart.core.console import Console
from headstart.core.storage.cache import Store
from headstart.core.types import InputSpec
from headstart.images import normalization, preprocessing
from headstart.images.normalization import USUAL
from small_nets import SIDE, conv, frozen, spec_of

LITES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
PIXELS, UNIT, SIGNED, IMAGENET, CAFFE = USUAL
KINDS = ("textile", "photos", "dark", "blurred", "bright", "digits", "noise")


class Misfed(Bundled):
    """The bundled source, with another scaling stated and built."""

    def __init__(self, how):
        self.how = how

    def spec(self, preset):
        right = super().spec(preset)
        return dataclasses.replace(right, input=dataclasses.replace(self.how, size_px=right.input.size_px))


@pytest.fixture(scope="module")
def sets(textile):
    """A function that makes eight pictures of a kind with a given side."""
    from sklearn.datasets import load_digits, load_sample_images

    def sized(pictures, side):
        return np.stack([np.asarray(Image.fromarray(one).convert("RGB").resize((side, side))) for one in pictures])

    def make(kind, side):
        if kind == "textile":
            files = sorted(textile.rglob("*.jpg"))[::250]
            return np.stack(
                [preprocessing.decode_picture(file.read_bytes(), InputSpec(size_px=side)) for file in files]
            )
        if kind == "digits":
            return sized([(16 * one).clip(0, 255).astype(np.uint8) for one in load_digits().images[:8]], side)
        if kind == "noise":
            return np.random.default_rng(0).integers(0, 256, (8, side, side, 3)).astype(np.uint8)
        photos = sized(load_sample_images().images, side)
        grey = photos.mean(-1, keepdims=True).repeat(3, -1)
        dark = (grey * 0.25).astype(np.uint8)
        blurred = [np.asarray(Image.fromarray(one).filter(ImageFilter.GaussianBlur(4))) for one in dark]
        return {"photos": photos, "dark": dark, "blurred": np.stack(blurred), "bright": (220 + grey / 10).astype("u1")}[
            kind
        ]

    return make


@pytest.fixture(scope="module")
def built(shared_store):
    """A function that gives a bundled trunk's model and spec, fed as it should be or as stated."""
    kept = {}

    def make(preset, how=None):
        if (preset, how) not in kept:
            source = Bundled() if how is None else Misfed(how)
            kept[preset, how] = source.build(preset, shared_store), source.spec(preset)
        return kept[preset, how]

    return make


@pytest.mark.medium
@pytest.mark.parametrize("preset", [*LITES, "vgg16_hed"])
def test_the_right_scaling_is_never_accused(preset, built, sets):
    model, spec = built(preset)
    for kind in KINDS:
        found = input_check.check_input(model, spec, sets(kind, spec.input.size_px))
        room = input_check.FITS / 5 - found.now if preset in LITES else found.now - input_check.SWITCHES - 0.1
        assert found.verdict == "fits" and (room > 0 or kind == "noise"), (kind, found)


MISFED = [(preset, wrong) for wrong in (PIXELS, UNIT, IMAGENET, CAFFE) for preset in LITES]
QUICK = {*((LITES[0], wrong) for wrong in USUAL), (LITES[1], UNIT), (LITES[2], CAFFE)}


@pytest.mark.parametrize(
    ("preset", "wrong"),
    [pytest.param(*one, marks=pytest.mark.medium if one in QUICK else pytest.mark.slow) for one in MISFED],
)
def test_a_wrong_scaling_is_found_and_the_right_one_named(preset, wrong, built, sets):
    model, spec = built(preset, USUAL[wrong])
    for kind in KINDS[:-1]:
        found = input_check.check_input(model, spec, sets(kind, spec.input.size_px))
        assert (found.verdict, found.best) == ("wrong", SIGNED), (kind, found)
        assert found.now > 2 * input_check.FITS and found.usual[SIGNED] < input_check.GOOD
        assert found.now == pytest.approx(found.usual[wrong], rel=0.02)  # rows at the border differ


@pytest.mark.medium
@pytest.mark.parametrize("wrong", [PIXELS, UNIT, SIGNED, IMAGENET])
def test_vgg_has_no_batch_norm_and_its_units_tell(wrong, built, sets):
    model, spec = built("vgg16_hed", USUAL[wrong])
    for kind in KINDS[:-1]:
        found = input_check.check_input(model, spec, sets(kind, spec.input.size_px))
        assert (found.verdict, found.best) == ("wrong", CAFFE), (kind, found)
        assert found.now < input_check.SWITCHES - 0.1
        assert "mean" in found.sentence and CAFFE in found.sentence


@pytest.mark.medium
def test_the_finding_is_kept_and_warned_of_once_when_a_trunk_is_made(shared_store, tmp_path, sets, capfd):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "weights").symlink_to(shared_store.root / "weights", target_is_directory=True)
    store, right = Store(tmp_path / "cache"), loading.find_backbone("bundled:efficientnet_lite0")
    pictures = sets("textile", right.spec.input.size_px)
    source = Misfed(USUAL[UNIT])
    wrong = dataclasses.replace(right, source=source, spec=source.spec(right.preset))
    for one, verdict, warnings in ((right, "fits", 0), (wrong, "wrong", 1), (wrong, "wrong", 0)):
        folder = loading.make_trunk_folder(one, store, Console(quiet=True), pictures)
        assert find_verdict(store, folder) == verdict
        said = capfd.readouterr().err  # of the process: what frameworks write while a trunk is made is held back
        assert said.count("warning:") == warnings
        assert not warnings or ("give its input the scaling `-1..1`" in said and right.name in said)
    twin = loading.make_trunk_folder(
        loading.find_backbone(f"random:{right.name}"), store, Console(quiet=True), pictures
    )
    assert find_verdict(store, twin) is None and capfd.readouterr().err == ""
    shutil.rmtree(store.find_entry("findings", {"first_layer": folder.name}))  # as of a version that did not look
    assert loading.make_trunk_folder(wrong, store, Console(quiet=True), pictures) == folder
    assert find_verdict(store, folder) == "wrong"
    assert capfd.readouterr().err.count("warning:") == 1
    assert cache_inventory.find_damage(folder) == []


def find_verdict(store, trunk):
    """What is kept of the first layer."""
    folder = store.find_entry("findings", {"first_layer": trunk.name})
    return folder and json.loads((folder / "value.json").read_text())["verdict"]


# ---------------------------------------------------------------- small networks


def some_pictures(seed=0):
    """Eight smooth pictures."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (8, 4, 4, 3)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((SIDE, SIDE))) for one in small])


def remembering(how, pad=False, pool=False, bias=False, activation=None):
    """A trunk whose batch norm saw natural pictures scaled in a way, and a model that hands them over unscaled."""
    import keras

    x = pictures = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.ZeroPadding2D(1)(x) if pad else x
    x = keras.layers.Conv2D(16, 3, padding="same", use_bias=bias, activation=activation)(x)
    x = keras.layers.MaxPooling2D(2)(x) if pool else x
    norm = keras.layers.BatchNormalization()
    model, spec = frozen(pictures, [keras.layers.ReLU()(norm(x))], ["last"])
    scaled = normalization.scale_pictures(normalization.match_photographs(some_pictures(1).astype(float)), how)
    before = np.asarray(keras.Model(pictures, norm.input)(scaled)).reshape(-1, 16)
    gamma, beta, *_ = norm.get_weights()
    norm.set_weights([gamma, beta, before.mean(0), before.var(0)])
    return model, spec


@pytest.mark.parametrize("shape", [{}, {"pad": True}, {"pool": True}, {"bias": True}], ids=str)
def test_paddings_poolings_and_biases_may_lie_between(shape):
    model, spec = remembering(USUAL[UNIT], **shape)
    found = input_check.check_input(model, spec, some_pictures())
    assert (found.verdict, found.best) == ("wrong", UNIT)
    model, spec = remembering(USUAL[PIXELS], **shape)
    assert input_check.check_input(model, spec, some_pictures()).verdict == "fits"


def test_a_scaling_that_is_none_of_the_usual_ones_is_still_wrong():
    model, spec = remembering(InputSpec(size_px=SIDE, scale=1 / 8000, mean=(3.0,) * 3))
    found = input_check.check_input(model, spec, some_pictures())
    assert (found.verdict, found.best) == ("wrong", "") and "none of the usual" in found.sentence


def test_pictures_of_one_colour_tell_nothing():
    model, spec = remembering(USUAL[UNIT])
    found = input_check.check_input(model, spec, np.full((8, SIDE, SIDE, 3), 7, np.uint8))
    assert found.verdict == "cannot tell" and "one colour" in found.sentence


def test_an_activation_before_the_batch_norm_cannot_be_told():
    model, spec = remembering(USUAL[UNIT], activation="relu")
    assert input_check.check_input(model, spec, some_pictures()).verdict == "cannot tell"


def without_norm(scale):
    """A trunk without batch norm that scales its input itself."""
    import keras

    x = pictures = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(scale)(x) if scale != 1 else x
    return frozen(pictures, [keras.layers.Conv2D(8, 3, activation="relu")(x)], ["last"])


def test_without_batch_norm_the_graph_is_held_against_the_spec():
    stated = InputSpec(size_px=SIDE, scale=1 / 255)
    for scale, verdict, words in ((1, "wrong", "`build` must scale"), (1 / 255, "cannot tell", "as the spec states")):
        model, spec = without_norm(scale)
        found = input_check.check_input(model, dataclasses.replace(spec, input=stated), some_pictures())
        assert found.verdict == verdict and words in found.sentence and found.now is None


def test_a_first_layer_that_is_no_convolution_cannot_be_told():
    import keras

    x = pictures = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(pictures, keras.layers.GlobalAveragePooling2D()(conv(keras.layers.Dense(8)(x), 8)))
    assert input_check.check_input(model, spec_of(model, ["last"]), some_pictures()).verdict == "cannot tell"


# ---------------------------------------------------------------- other families


@pytest.mark.medium
@pytest.mark.parametrize(
    ("preset", "right", "wrong"),
    [("resnet50", CAFFE, SIGNED), ("resnet50_v2", SIGNED, UNIT), ("mobilenet_v3_small", SIGNED, IMAGENET)],
)
def test_other_families_are_read_whatever_lies_around_their_first_layer(preset, right, wrong, store, sets):
    """Their weights cannot be had here: random ones, with a batch norm that saw photos on one scale or another."""
    from headstart.backbones.sources.keras_applications import PLUGIN

    model, spec = PLUGIN.build(preset, store, seed=0), PLUGIN.spec(preset)
    photos, other = (sets(kind, spec.input.size_px) for kind in ("photos", "textile"))
    for seen, verdict, best in ((right, "fits", ""), (wrong, "wrong", wrong)):
        stem = input_check._find_stem(model)
        inputs = input_check.scale_pictures(input_check.match_photographs(photos.astype(float)), USUAL[seen])
        answers = np.concatenate(list(input_check._stem_answers(stem, inputs)))
        stem.norm.moving_mean.assign(answers.mean(0))
        stem.norm.moving_variance.assign(answers.var(0))
        found = input_check.check_input(model, spec, other)
        assert (found.verdict, found.best) == (verdict, best), found


def test_a_trunk_without_any_layer_that_learns_cannot_be_told():
    assert input_check.check_input(object(), spec_of_nothing(), some_pictures()).verdict == "cannot tell"


def spec_of_nothing():
    """Of a trunk that is OpenVINO files alone."""
    return loading.find_backbone("bundled:efficientnet_lite0").spec
