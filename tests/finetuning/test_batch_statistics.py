"""AdaBN: statistics of another domain put back what a change of camera took away."""

import dataclasses

import numpy as np
import pytest

from headstart.backbones import loading
from headstart.backbones.earlier_runs import tuned_network
from headstart.core.console import Console
from headstart.core.errors import NoOpError
from headstart.core.storage.cache import Store
from headstart.finetuning.domain import batch_statistics
from headstart.finetuning.network import plain_model
from headstart.networks import blocks
from headstart.networks.formats import keras_writer
from small_nets import SIDE, answer, frozen, small_trunk, spec_of
from tuned_samples import network

DEPTHS = ("low", "mid", "last")


def stripes(count, seed):
    """(count, SIDE, SIDE, 3) pictures of three directions of stripes in noise, and their classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    down, right = np.mgrid[:SIDE, :SIDE]
    angle = y[:, None, None] * np.pi / 3 + rng.normal(0, 0.1, (count, 1, 1))
    wave = np.sin(1.3 * (right * np.cos(angle) + down * np.sin(angle)) + rng.uniform(0, 6, (count, 1, 1)))
    pictures = 128 + 70 * wave[..., None] + rng.normal(0, 12, (count, SIDE, SIDE, 3))
    return pictures.clip(0, 255).round().astype(np.float32), y


def other_camera(pictures):
    """Dark and flat."""
    return (0.3 * pictures + 10).clip(0, 255).round()


@pytest.fixture(scope="module")
def trunk():
    model, spec = small_trunk()
    return model, spec, blocks.split_into_blocks(model, spec, DEPTHS)


@pytest.fixture(scope="module")
def head():
    """Weights and bias of a least-squares head on the source features of all depths."""
    model, _ = small_trunk()
    x, y = stripes(192, 0)
    features = np.concatenate(answer(model, x), axis=1)
    columns = np.column_stack([features, np.ones(len(x))])
    solved = np.linalg.lstsq(columns.T @ columns + 1e-3 * np.eye(columns.shape[1]), columns.T @ np.eye(3)[y])[0]
    return {"weights": solved[:-1].astype(np.float32), "bias": solved[-1].astype(np.float32)}


def adapted(trunk, head, target, last="last"):
    model, spec, anatomy = trunk
    statistics = batch_statistics.adapt_statistics(model, anatomy, last, stripes(192, 0)[0], target)
    return plain_model.make_adapted_model(model, anatomy, DEPTHS, statistics, head, spec.name)


def accuracy(model, head, pictures, y):
    features = answer(model, pictures)
    features = np.concatenate(features, axis=1) if isinstance(features, list) else features
    return float(((features @ head["weights"] + head["bias"]).argmax(1) == y).mean())


def test_a_dark_and_flat_camera_is_mended(trunk, head):
    x, y = stripes(96, 1)
    learnt_on, _ = stripes(64, 2)
    before, shifted = (accuracy(trunk[0], head, pictures, y) for pictures in (x, other_camera(x)))
    after = accuracy(adapted(trunk, head, other_camera(learnt_on)).trunk, head, other_camera(x), y)
    assert before > 0.9 and shifted < before - 0.25
    assert after > before - 0.1


def test_without_a_shift_hardly_anything_changes(trunk, head):
    x, _ = stripes(192, 0)
    features = answer(adapted(trunk, head, x).trunk, x)
    original = np.concatenate(answer(trunk[0], x), axis=1)
    assert np.abs(features - original).max() < 0.05 * original.std()


def test_only_levels_up_to_the_last_change(trunk):
    model, _, anatomy = trunk
    lower, every = (batch_statistics.list_batch_norms(anatomy, last) for last in ("low", "last"))
    statistics = batch_statistics.adapt_statistics(model, anatomy, "low", *(stripes(32, seed)[0] for seed in (0, 1)))
    assert set(statistics) == set(map(id, lower)) and len(lower) == 1 < len(every)
    again = batch_statistics.adapt_statistics(model, anatomy, "low", *(stripes(32, seed)[0] for seed in (0, 1)))
    np.testing.assert_array_equal(statistics[id(lower[0])], again[id(lower[0])])


def test_pictures_too_few_and_a_trunk_without_batch_norm_are_refused(trunk):
    import keras

    model, _, anatomy = trunk
    few, many = stripes(8, 0)[0], stripes(32, 0)[0]
    with pytest.raises(NoOpError, match="8 pictures of a domain are too few"):
        batch_statistics.adapt_statistics(model, anatomy, "last", many, few)
    pictures = keras.Input((SIDE, SIDE, 3))
    plain, spec = frozen(pictures, [keras.layers.Conv2D(4, 3)(pictures)], ("last",))
    with pytest.raises(NoOpError, match="has no batch norm up to its level `last`"):
        plain_anatomy = blocks.split_into_blocks(plain, spec, ("last",))
        batch_statistics.adapt_statistics(plain, plain_anatomy, "last", many, many)


@pytest.mark.medium
def test_the_adapted_trunk_is_a_backbone_that_openvino_runs_alike(trunk, head, tmp_path):

    target = other_camera(stripes(64, 2)[0])
    plain = adapted(trunk, head, target)
    (tmp_path / "adapt").mkdir()
    keras_writer.write_keras(plain.model, tmp_path / "adapt" / "adabn.keras")
    spec = dataclasses.replace(spec_of(plain.trunk, ("features",)), name="adabn:small:net", revision="2")
    backbone = tuned_network.make_backbone(
        dataclasses.replace(network(), spec=spec, file="adapt/adabn.keras"), tmp_path
    )
    sample = target[:8].astype(np.uint8)
    loading.make_trunk_folder(backbone, Store(tmp_path / "cache"), Console(quiet=True), sample)  # asserts parity
    rebuilt = backbone.build(Store(tmp_path / "cache"))
    alike = [np.asarray(model.predict_on_batch(target)) for model in (rebuilt, plain.trunk)]
    np.testing.assert_allclose(np.squeeze(alike[0]), alike[1], atol=1e-5)
