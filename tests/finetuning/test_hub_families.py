"""Every image family of KerasHub laid flat: its numbers, OpenVINO's, and what its fine-tuning moves."""

import dataclasses
import importlib.util

import numpy as np
import pytest
from test_network_trunks import check

import hub_presets
from headstart.backbones import loading as trunks
from headstart.backbones.keras_hub import layer_rules, trunk
from headstart.core.errors import DataError, NoOpError
from headstart.core.recipe import Recipe
from headstart.core.types import FeatureLevel, InputSpec
from headstart.finetuning.network import trainable_network
from headstart.networks import openvino_conversion
from hub_presets import FAMILIES, OFFSET, SCALE, SIDE, pictures
from small_nets import answer, classes

pytestmark = [  # warnings of what the tests ask of KerasHub itself
    pytest.mark.skipif(importlib.util.find_spec("keras_hub") is None, reason="KerasHub is not installed"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*was passed an input with a mask:UserWarning"),
]
FAST = ("vgg", "vit")
STRIDES = {8: "stage3", 16: "stage4"}
NORMS = ("resnet", "vit", "swin")  # trained by their norms alone too: batch norm, layer norm, and that of windows
CLASS_TOKEN = ("vit", "deit", "dinov2", "dinov3")
PLAIN = InputSpec(
    size_px=SIDE,
    resize="crop",
    interpolation="bilinear",
    crop_fraction=1.0,
    mean=tuple(-o / s for o, s in zip(OFFSET, SCALE, strict=True)),
    std=tuple(1 / s for s in SCALE),
)


def families():
    return [pytest.param(name, marks=pytest.mark.medium if name in FAST else pytest.mark.slow) for name in FAMILIES]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Family -> KerasHub's backbone, and the trunk of its preset by way of a folder."""
    root = tmp_path_factory.mktemp("hub")
    made = {}
    patch = pytest.MonkeyPatch()
    patch.setenv("HEADSTART_CACHE", str(root / "cache"))

    def get(family):
        if family not in made:
            whole = hub_presets.save(family, root / family)
            made[family] = whole, trunks.find_backbone(f"keras_hub:{root / family}")
        return made[family]

    yield get
    patch.undo()


def store_of():
    from headstart.core.settings import cache_folder
    from headstart.core.storage.cache import Store

    return Store(cache_folder())


def own_features(family, whole, x):
    """What KerasHub's own backbone and preprocessor give for pictures: depth -> (n, D)."""
    import keras

    given = hub_presets.converter()(x.astype(np.float32))
    if family in ("clip", "siglip"):
        return {"last": np.asarray(whole.get_vision_embeddings(given))}
    named = {next(iter(whole.input)): given} if isinstance(whole.input, dict) else given
    pyramid = getattr(whole, "pyramid_outputs", {})
    answers = keras.Model(whole.input, {"end": whole.output, **pyramid})(named)
    end = answers.pop("end")
    end = np.asarray(list(end.values())[-1] if isinstance(end, dict) else end)
    found = {"last": end[:, 0] if family in CLASS_TOKEN else end.mean(axis=tuple(range(1, end.ndim - 1)))}
    front = {"dinov2": 3, "dinov3": 3}.get(family)
    for name, one in answers.items():
        if front and name[5:].isdigit():
            found[f"block{name[5:]}"] = np.asarray(one)[:, front:].mean(1)
        elif name.startswith("P") and (stage := STRIDES.get(SIDE // one.shape[1])):
            found[stage] = np.asarray(one).mean((1, 2))
    return found


@pytest.mark.parametrize("family", families())
def test_features_are_those_of_kerashub(family, opened):
    whole, found = opened(family)
    spec, x = found.spec, pictures()
    assert tuple(depth.name for depth in spec.depths) == FAMILIES[family][2]
    assert spec.input.size_px == SIDE and spec.input.crop_fraction == 1.0
    np.testing.assert_allclose((spec.input.mean, spec.input.std), (PLAIN.mean, PLAIN.std), rtol=1e-6)
    vectors = answer(found.build(store_of()), x.astype(np.float32))
    got = {depth.name: one for depth, one in zip(spec.depths, vectors, strict=True)}
    wanted = own_features(family, whole, x)
    assert wanted
    for depth in wanted.keys() & got.keys():
        np.testing.assert_allclose(got[depth], wanted[depth], atol=2e-5 * np.abs(wanted[depth]).max(), err_msg=depth)


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=pytest.mark.medium if name == "vgg" else pytest.mark.slow) for name in FAMILIES]
)
def test_openvino_gives_the_same(family, opened, tmp_path):
    _, found = opened(family)
    openvino_conversion.convert_trunk(found.build(store_of()), found.spec, pictures(8), tmp_path)
    assert (tmp_path / "parity.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_fine_tuning_moves_what_it_should(family, opened):
    _, found = opened(family)
    model, spec = found.build(store_of()), found.spec
    x = pictures(2).astype(np.float32)
    y = np.eye(2, dtype=np.float32)
    depths = (spec.depths[0].name, "last")
    check(model, spec, x, Recipe(depths=depths, blocks=1), y)
    if family in NORMS:
        check(model, spec, x, Recipe(depths=("last",), strategy="norms", part="all"), y)
    # KerasHub's own enable_lora attaches nothing to ResNet, Swin and DINOv3, and says nothing
    net = check(model, spec, x, Recipe(depths=("last",), strategy="lora", part="all"), y)
    assert len(net.updates) > 2
    other = trainable_network.build_network(found.build(store_of()), spec, net.recipe, start=None, objective=classes(2))
    assert list(other.get(frozen=True)) == list(net.get(frozen=True))


@pytest.mark.slow
def test_kerashubs_own_lora_attaches_nothing_where_ours_does(opened):
    for family in ("resnet", "swin", "dinov3"):
        whole = hub_presets.backbone(family)
        whole.enable_lora(4)
        assert not whole.trainable_weights
        model, spec = opened(family)[1].build(store_of()), opened(family)[1].spec
        recipe = Recipe(depths=("last",), strategy="lora", part="all", lora_rank=4)
        assert trainable_network.build_network(model, spec, recipe, start=None, objective=classes(2)).updates


@pytest.mark.medium
def test_a_network_that_comes_out_otherwise_is_refused(opened, monkeypatch):
    """As a layer of a newer KerasHub would be that has weights of its own and is not known here."""
    real = layer_rules.REPLACED["DINOV2LayerScale"]
    monkeypatch.setitem(layer_rules.REPLACED, "DINOV2LayerScale", lambda layer, trace, x, **how: x)
    made = hub_presets.backbone("dinov2")
    with pytest.raises(DataError, match=r"`DINOV2Backbone` laid flat does not give what KerasHub gives") as caught:
        trunk.flatten_backbone(made, PLAIN, {})
    assert "headstart backbones add FILE" in caught.value.hint
    monkeypatch.setitem(layer_rules.REPLACED, "DINOV2LayerScale", real)
    assert trunk.flatten_backbone(made, PLAIN, {})[1]


@pytest.mark.medium
def test_lora_where_nothing_can_take_it_is_an_error(opened):
    """The last block of a network that ends in a pooling of its own has no kernel."""
    import keras

    pictures = keras.Input((8, 8, 3))
    first = keras.layers.Conv2D(4, 3, name="conv")(pictures)
    last = keras.layers.BatchNormalization(name="norm")(first)
    pool = keras.layers.GlobalAveragePooling2D
    model = keras.Model(pictures, [pool(name="a")(first), pool(name="b")(last)])
    model.trainable = False
    spec = dataclasses.replace(
        opened("vgg")[1].spec, depths=(FeatureLevel(name="first", dim=4), FeatureLevel(name="last", dim=4))
    )
    with pytest.raises(NoOpError, match="LoRA finds no kernel"):
        trainable_network.build_network(
            model, spec, Recipe(depths=("last",), strategy="lora", blocks=1), start=None, objective=classes(2)
        )


@pytest.mark.medium
def test_the_class_token_stays_out_of_inner_depths(opened):
    """Inner depths are means of the patches: a picture of one colour gives patches alike, whatever the token is."""
    _, found = opened("vit")
    model = found.build(store_of())
    anatomy_cut = trainable_network.build_network(
        model, found.spec, Recipe(depths=("last",), blocks=1), start=None, objective=classes(2)
    ).cut
    assert anatomy_cut == "block3"  # the whole row of tokens is kept there, the class token with it
    shape = trainable_network.build_lower_trunk(model, found.spec, "block3").output.shape
    assert tuple(shape[1:]) == (1, 17, 32)
