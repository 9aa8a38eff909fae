"""Networks on real trunks: pre-trained weights and real pictures, and the families of keras.applications."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from headstart.backbones import loading as trunks
from headstart.core.recipe import Recipe
from headstart.core.storage.cache import Store
from headstart.finetuning.network import trainable_network
from headstart.finetuning.network.plain_model import make_plain_model
from headstart.finetuning.network.trainable_network import require_moved
from headstart.images import preprocessing
from headstart.networks import blocks
from small_nets import answer, classes, descend, features, fitted, inputs_of, logits_of, raw, softmax

Y = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2, 2]]


@pytest.fixture(scope="module")
def lite(shared_store, textile):
    """EfficientNet-Lite0 with its weights, its spec, and two textile pictures a class."""
    trunk = trunks.find_backbone("bundled:efficientnet_lite0")
    files = [path for folder in sorted(Path(textile).iterdir()) for path in sorted(folder.glob("*.jpg"))[:2]]
    x = np.stack([preprocessing.decode_picture(path.read_bytes(), trunk.spec.input) for path in files])
    return trunk.build(shared_store), trunk.spec, x.astype(np.float32)


def check(model, spec, x, asked, y=Y):
    """From the probe's logits over two steps that move what they should to a plain model that answers the same."""
    probe = raw(features(model, spec, x), asked.depths)
    start = fitted(probe, n_classes=y.shape[1])
    tame = min(1.0, 10 / np.abs(probe @ start.weights).max())  # features of random weights may be in the hundreds
    start = dataclasses.replace(start, weights=start.weights * np.float32(tame))
    net = trainable_network.build_network(
        model, spec, asked, start=None if asked.strategy == "scratch" else start, objective=classes(y.shape[1])
    )
    given = inputs_of(net, model, spec, x)
    first, before = logits_of(net, given), net.get(frozen=True)
    if asked.strategy != "scratch":
        np.testing.assert_allclose(first, probe @ start.weights + start.bias, atol=1e-4)
    descend(net, given, y, rate=1e-2, steps=2, clip=1.0)
    require_moved(net, before, net.get(frozen=True), net.rate_factors())
    made = make_plain_model(net, model, spec)
    probabilities = answer(made.model, x)
    np.testing.assert_allclose(probabilities, softmax(logits_of(net, given)), atol=1e-4)
    vectors = answer(made.trunk, x)
    np.testing.assert_allclose(softmax(vectors @ made.weights + made.bias), probabilities, atol=1e-4)
    return net


@pytest.mark.medium
@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "probe", "depths": ("stage4", "last"), "head": "mlp"},
        {"strategy": "finetune", "depths": ("stage3", "stage5", "last"), "blocks": 2},
        {"strategy": "lora", "blocks": 1},
        {"strategy": "norms", "blocks": 2},
    ],
    ids=lambda changes: changes["strategy"],
)
def test_pretrained_weights_start_from_the_probe_and_end_as_a_plain_model(lite, changes):
    net = check(*lite, Recipe(**{"depths": ("last",), **changes}))
    expected = {"probe": "", "finetune": "stage4", "lora": "stage5", "norms": "stage4"}
    assert net.cut == expected[net.recipe.strategy]


# preset -> whether it has residual sums that can be skipped, and batch norms
FAMILIES = {
    "vgg16": (False, False),
    "resnet50": (True, True),
    "resnet50_v2": (True, True),
    "inception_v3": (False, True),
    "inception_resnet_v2": (False, True),
    "xception": (False, True),
    "mobilenet": (False, True),
    "mobilenet_v2": (True, True),
    "mobilenet_v3_small": (True, True),
    "densenet121": (False, True),
    "efficientnet_b0": (True, True),
    "efficientnet_v2_b0": (True, True),
    "convnext_tiny": (True, False),
    "nasnet_mobile": (True, True),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """A random trunk of each family with its spec, two pictures, and what the table says of it."""
    import keras

    keras.backend.clear_session()
    store = Store(tmp_path_factory.mktemp("cache"))
    trunk = trunks.find_backbone(f"random:keras_applications:{request.param}")
    side = trunk.spec.input.size_px
    x = np.random.default_rng(0).integers(0, 256, (2, side, side, 3)).astype(np.float32)
    return trunk.build(store), trunk.spec, x, *FAMILIES[request.param]


def trained(net):
    """Names of the blocks that trained, the head left out; `check` has seen that they moved and no others."""
    return [block.name for block in net.blocks[:-1]]


TWO = np.eye(2, dtype=np.float32)


@pytest.mark.slow
def test_every_family_is_freed_by_stages(family):
    model, spec, x, sums, _ = family
    stages = list(blocks.split_into_blocks(model, spec, ["last"]).blocks)
    lowest = spec.depths[0].name
    drop = 0.2 if sums else 0.0
    net = check(model, spec, x, Recipe(depths=(lowest, "last"), blocks=2, stochastic_depth=drop), TWO)
    assert trained(net) == stages[-2:] and not net.statistics
    assert bool(net.cut) == (spec.family != "nasnet")  # its cells read the last two maps: nothing narrow to cut at


@pytest.mark.slow
def test_every_family_learns_norms_alone_and_statistics_where_it_has_batch_norms(family):
    model, spec, x, _, norms = family
    net = check(model, spec, x, Recipe(depths=("last",), strategy="norms", part="all"), TWO)
    assert trained(net)[0] == spec.depths[0].name and not net.statistics
    assert all(len(v.shape) == 1 for v in net.blocks[0].variables)

    net = trainable_network.build_network(
        model, spec, Recipe(depths=("last",), batch_norm="train"), start=None, objective=classes(2)
    )
    given, before = inputs_of(net, model, spec, x), net.get(frozen=True)
    descend(net, given, TWO, rate=1e-2, steps=1, clip=1.0)
    after, statistics = net.get(frozen=True), {v.path for v in net.statistics}
    assert bool(statistics) == norms
    assert all(np.any(after[path] != before[path]) for path in statistics)
    require_moved(net, before, after, net.rate_factors())


@pytest.mark.slow
def test_every_family_takes_low_rank_updates_and_merges_them(family):
    model, spec, x, sums, _ = family
    drop = 0.2 if sums else 0.0
    asked = Recipe(depths=("last",), strategy="lora", part="all", stochastic_depth=drop)
    net = check(model, spec, x, asked, TWO)
    assert trained(net) == list(blocks.split_into_blocks(model, spec, ["last"]).blocks)
    free = {v.path for block in net.blocks[:-1] for v in block.variables}
    assert free == {v.path for one in net.updates for v in (one.a, one.b)}
    assert any(np.any(np.asarray(one.b)) for one in net.updates)
    other = trainable_network.build_network(model, spec, net.recipe, start=None, objective=classes(2))
    assert list(other.get(frozen=True)) == list(net.get(frozen=True))
