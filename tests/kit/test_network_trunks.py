"""Networks on real trunks: pre-trained weights and real pictures, and the families of keras.applications."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from headstart.core.recipe import Recipe
from headstart.kit import network, pixels
from headstart.kit import trunk as trunks
from headstart.kit.finish import finish
from headstart.kit.movement import gradient_norms, require_moved
from small_nets import descend, features, fitted, inputs_of, logits_of, raw, softmax

Y = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2, 2]]


@pytest.fixture(scope="module")
def lite(shared_store, textile):
    """EfficientNet-Lite0 with its weights, its spec, and two textile pictures a class."""
    trunk = trunks.find("bundled:efficientnet_lite0")
    files = [path for folder in sorted(Path(textile).iterdir()) for path in sorted(folder.glob("*.jpg"))[:2]]
    x = np.stack([pixels.decode(path.read_bytes(), trunk.spec.input) for path in files])
    return trunk.build(shared_store), trunk.spec, x.astype(np.float32)


def check(model, spec, x, asked, y=Y):
    """From the probe's logits over two steps that move what they should to a plain model that answers the same."""
    probe = raw(features(model, spec, x), asked.depths)
    start = fitted(probe, n_classes=y.shape[1])
    tame = min(1.0, 10 / np.abs(probe @ start.weights).max())  # features of random weights may be in the hundreds
    start = dataclasses.replace(start, weights=start.weights * np.float32(tame))
    net = network.build(model, spec, asked, start=None if asked.strategy == "scratch" else start, n_classes=y.shape[1])
    given = inputs_of(net, model, spec, x)
    first, before = logits_of(net, given), net.get(frozen=True)
    if asked.strategy != "scratch":
        np.testing.assert_allclose(first, probe @ start.weights + start.bias, atol=1e-4)
    descend(net, given, y, rate=1e-2, steps=2, clip=1.0)
    require_moved(net, before, net.get(frozen=True), net.factors())
    made = finish(net, model, spec)
    probabilities = np.asarray(made.model.predict_on_batch(x))
    np.testing.assert_allclose(probabilities, softmax(logits_of(net, given)), atol=1e-4)
    vectors = np.asarray(made.trunk.predict_on_batch(x))
    np.testing.assert_allclose(softmax(vectors @ made.weights + made.bias), probabilities, atol=1e-4)
    return net


@pytest.mark.medium
@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "probe", "depths": ("stage4", "last"), "head": "mlp"},
        {"strategy": "finetune", "depths": ("stage3", "stage5", "last"), "blocks": 2},
        {"strategy": "lora", "blocks": 1},
        {"strategy": "norms", "part": "middle", "blocks": 2},
    ],
    ids=lambda changes: changes["strategy"],
)
def test_pretrained_weights_start_from_the_probe_and_end_as_a_plain_model(lite, changes):
    net = check(*lite, Recipe(**{"depths": ("last",), **changes}))
    expected = {"probe": "", "finetune": "stage4", "lora": "stage5", "norms": "stage3"}
    assert net.cut == expected[net.recipe.strategy]


@pytest.mark.medium
def test_relative_gradient_norms_of_a_pretrained_trunk(lite):
    model, spec, x = lite
    net = network.build(model, spec, Recipe(depths=("last",), part="all"), start=None, n_classes=3)
    found = gradient_norms(net, {"pictures": x}, Y)
    assert list(found) == ["stage3", "stage4", "stage5", "last"]
    assert all(0 < norm < np.inf for norm in found.values()) and len(set(found.values())) == 4


FAMILIES = {
    "vgg16": False,
    "resnet50": True,
    "resnet50_v2": True,
    "inception_v3": False,
    "inception_resnet_v2": False,
    "xception": False,
    "mobilenet": False,
    "mobilenet_v2": True,
    "mobilenet_v3_small": True,
    "densenet121": False,
    "efficientnet_b0": True,
    "efficientnet_v2_b0": True,
    "convnext_tiny": True,
}


@pytest.mark.slow
@pytest.mark.parametrize("preset", FAMILIES)
def test_every_family_of_keras_applications(preset, store):
    trunk = trunks.find(f"random:keras_applications:{preset}")
    model, spec = trunk.build(store), trunk.spec
    side = spec.input.size_px
    x = np.random.default_rng(0).integers(0, 256, (2, side, side, 3)).astype(np.float32)
    y = np.eye(2, dtype=np.float32)
    depths = (spec.depths[0].name, "last")
    drop = 0.2 if FAMILIES[preset] else 0.0
    check(model, spec, x, Recipe(depths=depths, blocks=1), y)
    check(model, spec, x, Recipe(depths=("last",), strategy="norms", part="first"), y)
    net = check(model, spec, x, Recipe(depths=("last",), strategy="lora", part="all", stochastic_depth=drop), y)
    other = network.build(trunk.build(store), spec, net.recipe, start=None, n_classes=2)
    assert list(other.get(frozen=True)) == list(net.get(frozen=True))
