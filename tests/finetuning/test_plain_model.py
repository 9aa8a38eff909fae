"""A trained network as plain layers: the same answers, the same bytes."""

import zipfile

import numpy as np
import pytest

from headstart.core.recipe import Recipe
from headstart.finetuning.network import trainable_network
from headstart.finetuning.network.plain_model import make_plain_model
from headstart.networks.formats.keras_writer import write_keras
from small_nets import classes, descend, features, fitted, inputs_of, logits_of, pictures, raw, small_trunk, softmax

X = pictures()
Y = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]


@pytest.fixture(scope="module")
def trunk():
    return small_trunk()


def trained(trunk, steps=2, **changes):
    model, spec = trunk
    asked = Recipe(**{"backbone": spec.name, "depths": ("last",), **changes})
    start = fitted(raw(features(model, spec, X), asked.depths))
    net = trainable_network.build_network(model, spec, asked, start=start, objective=classes(3))
    given = inputs_of(net, model, spec, X)
    first = logits_of(net, given)
    descend(net, given, Y, rate=0.02, steps=steps)
    assert np.abs(logits_of(net, given) - first).max() > 1e-2
    return net, given


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "probe", "depths": ("last", "low"), "head": "mlp", "hidden": 5, "dropout": 0.2},
        {"blocks": 2, "depths": ("last", "low", "mid"), "head": "mlp", "hidden": 5},
        {"strategy": "lora", "part": "all", "depths": ("mid", "last"), "stochastic_depth": 0.3},
        {"strategy": "norms", "blocks": 2},
        {"strategy": "scratch"},
        {"strategy": "lora", "batch_norm": "train"},
    ],
    ids=lambda changes: "-".join(str(one) for one in changes.values()),
)
def test_the_finished_model_answers_as_the_network(trunk, changes):
    net, given = trained(trunk, **changes)
    made = make_plain_model(net, *trunk)
    expected = softmax(logits_of(net, given))
    probabilities = np.asarray(made.model.predict_on_batch(X))
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    found = np.asarray(made.trunk.predict_on_batch(X))
    np.testing.assert_allclose(softmax(found @ made.weights + made.bias), probabilities, atol=1e-5)


def test_features_are_the_depths_in_the_recipes_order_then_hidden_units(trunk):
    net, _ = trained(trunk, strategy="probe", depths=("last", "low"), head="mlp", hidden=5)
    found = np.asarray(make_plain_model(net, *trunk).trunk.predict_on_batch(X))
    assert found.shape == (6, 12 + 8 + 5)
    np.testing.assert_allclose(found[:, :20], raw(features(*trunk, X), ("last", "low")), atol=1e-5)
    assert (found[:, 20:] >= 0).all() and found[:, 20:].std() > 0.1


def test_temperature_divides_the_logits(trunk):
    net, given = trained(trunk, strategy="probe", head="mlp", hidden=5)
    got = np.asarray(make_plain_model(net, *trunk, temperature=2.5).model.predict_on_batch(X))
    np.testing.assert_allclose(got, softmax(logits_of(net, given) / 2.5), atol=1e-5)


def test_a_saved_model_is_of_plain_layers_and_loads_safely(trunk, tmp_path):
    import keras

    net, _ = trained(trunk, strategy="lora", part="all", stochastic_depth=0.2, head="mlp", dropout=0.1)
    made = make_plain_model(net, *trunk)
    assert {type(layer).__module__.partition(".")[0] for layer in made.model.layers} == {"keras"}
    assert not [v.path for v in made.model.weights if "lora" in v.path]
    write_keras(made.model, tmp_path / "tuned.keras")
    loaded = keras.models.load_model(tmp_path / "tuned.keras", safe_mode=True)
    expected = made.model.predict_on_batch(X)
    np.testing.assert_array_equal(loaded.predict_on_batch(X), expected)
    found = keras.Model(loaded.inputs, loaded.get_layer("features").output).predict_on_batch(X)
    np.testing.assert_array_equal(found, made.trunk.predict_on_batch(X))


def test_equal_weights_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        trunk = small_trunk()  # Keras has counted on
        net, _ = trained(trunk, blocks=2, depths=("low", "last"), head="mlp", hidden=5)
        write_keras(make_plain_model(net, *trunk).model, tmp_path / f"{name}.keras")
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "two.keras").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.keras") as file:
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"date" not in file.read("metadata.json")
    net, _ = trained(trunk, steps=3, blocks=2, depths=("low", "last"), head="mlp", hidden=5)
    write_keras(make_plain_model(net, *trunk).model, tmp_path / "three.keras")
    assert (tmp_path / "one.keras").read_bytes() != (tmp_path / "three.keras").read_bytes()
