"""Gradients through nested networks: of convolutions and of attention, and where they must equal the exact map."""

import numpy as np
import pytest

import export_runs
import headstart
from headstart.core.errors import DataError
from headstart.core.types import MULTILABEL, REGRESSION
from headstart.explanation.gradcam import GradientModel

SIDE = 16
pytestmark = pytest.mark.medium


def drawn(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if not weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(0.4 * rng.standard_normal(weight.shape))
    return model


def nested(inner, classes=3, activation="softmax"):
    """A transfer model as people write it: the trunk is one layer of it."""
    import keras

    pictures = keras.Input((SIDE, SIDE, 3))
    x = inner(keras.layers.Rescaling(1 / 128, -1.0)(pictures))
    return drawn(keras.Model(pictures, keras.layers.Dense(classes, activation=activation)(x)))


def convolutions():
    import keras

    pictures = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(pictures)
    x = keras.layers.Conv2D(10, 3, strides=2, padding="same", activation="relu", name="deepest")(x)
    return keras.Model(pictures, keras.layers.GlobalAveragePooling2D()(x), name="trunk")


def attention(*, token):
    """Patches of 4 px, two blocks of attention; the answer reads the class token, or the mean of the patches."""
    import keras

    class Ahead(keras.layers.Layer):
        def build(self, shape):
            self.token = self.add_weight(shape=(1, 1, shape[-1]), name="token")

        def call(self, x):
            return keras.ops.concatenate([keras.ops.repeat(self.token, keras.ops.shape(x)[0], axis=0), x], axis=1)

    pictures = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(12, 4, strides=4)(pictures)
    x = keras.layers.Reshape((16, 12))(x)
    x = Ahead(name="ahead")(x) if token else x
    for number in (1, 2):
        y = keras.layers.LayerNormalization()(x)
        x = keras.layers.Add(name=f"block{number}")([x, keras.layers.MultiHeadAttention(2, 6)(y, y)])
    answer = x[:, 0] if token else keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(pictures, answer, name="trunk")


def picture(seed=1):
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def exact(model, inner_layer, x, of):
    """The contribution of each place, from the network's own map and last weights."""
    import keras

    inner = model.get_layer("trunk")
    values = keras.Model(inner.inputs[0], inner.get_layer(inner_layer).output)(x[None] / 128.0 - 1.0)
    weights = model.layers[-1].get_weights()[0].astype(np.float64)
    others = np.delete(weights, of, axis=1).mean(axis=1)
    found = np.asarray(values[0], np.float64) @ (weights[:, of] - others)
    side = int(np.sqrt(found.size))
    return found.reshape(side, side)


def test_over_convolutions_it_is_the_exact_map_where_means_feed_a_linear_head():
    model, x = nested(convolutions()), picture()
    wanted = exact(model, "deepest", x.astype(np.float32), 1)
    heat = GradientModel(model).compute_map(x, 1)
    assert heat.layer == "deepest"
    assert heat.evidence == pytest.approx(wanted, abs=1e-4 * np.abs(wanted).max())


def test_over_mean_tokens_it_is_the_exact_map_too():
    model, x = nested(attention(token=False)), picture()
    wanted = exact(model, "block2", x.astype(np.float32), 2)
    heat = GradientModel(model).compute_map(x, 2)
    assert heat.evidence.shape == (4, 4)
    assert heat.evidence == pytest.approx(wanted, abs=1e-4 * np.abs(wanted).max())


def test_behind_a_class_token_it_goes_back_to_where_places_matter():
    model, x = nested(attention(token=True)), picture()
    heat = GradientModel(model).compute_map(x, 0)
    assert heat.layer != "block2"  # nothing reads the patches that come out of the last block
    assert heat.evidence.shape == (4, 4)
    assert heat.evidence.std() > 0


def test_a_random_network_gives_another_map():
    x = picture()
    one, other = (
        GradientModel(drawn(nested(convolutions()), seed)).compute_map(x, 0).evidence.ravel() for seed in (3, 4)
    )
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    assert abs(np.corrcoef(*ranks)[0, 1]) < 0.7
    again = GradientModel(drawn(nested(convolutions()), 3)).compute_map(x, 0).evidence.ravel()
    assert np.array_equal(one, again)


def test_the_score_is_the_logit_against_the_others():
    model, x = nested(convolutions()), picture()
    logs = np.log(np.asarray(model(x[None].astype(np.float32)))[0].astype(np.float64))
    assert GradientModel(model).compute_map(x, 1).score == pytest.approx(logs[1] - (logs[0] + logs[2]) / 2, abs=1e-4)


@pytest.mark.parametrize(("task", "activation"), [(MULTILABEL, "sigmoid"), (REGRESSION, "linear")])
def test_of_a_label_and_of_a_number_it_is_the_map_of_their_own_weights(task, activation):
    """The evidence of one column: other labels take no part, and a number is no probability."""
    model, x = nested(convolutions(), activation=activation), picture()
    inner = model.get_layer("trunk")
    import keras

    values = keras.Model(inner.inputs[0], inner.get_layer("deepest").output)(x[None] / 128.0 - 1.0)
    weights, bias = (part.astype(np.float64) for part in model.layers[-1].get_weights())
    evidence = np.asarray(values[0], np.float64) @ weights[:, 1]
    heat = GradientModel(model, task).compute_map(x, 1)
    np.testing.assert_allclose(heat.evidence, evidence, atol=1e-3 * np.abs(evidence).max())
    assert heat.score == pytest.approx(evidence.mean() + bias[1], abs=1e-3)


def test_a_network_without_a_map_is_refused():
    import keras

    pictures = keras.Input((SIDE, SIDE, 3))
    made = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(pictures))
    with pytest.raises(DataError, match="no map"):
        GradientModel(keras.Model(pictures, made))


def test_a_run_that_trained_a_network_is_explained_through_it(tmp_path):
    run, shown = export_runs.write_run(tmp_path)
    (found,) = headstart.explain(run, shown.files[:1], method="gradcam", class_name="green")
    assert found.method == "gradcam"
    assert "`conv`" in found.why
    model = headstart.load(run).keras_model()
    seen = model.get_layer("conv").output
    import keras

    from headstart.images.preprocessing import decode_picture
    from headstart.runtime.model import load

    spec = load(run).manifest.trunks[0].input
    x = decode_picture(shown.files[0].read_bytes(), spec)[None].astype(np.float32)
    values = np.asarray(keras.Model(model.inputs[0], seen)(x)[0], np.float64)
    weights = model.get_layer("answer").get_weights()[0].astype(np.float64)
    wanted = values @ (weights[:, 1] - weights[:, [0, 2]].mean(axis=1))
    assert found.evidence == pytest.approx(wanted, abs=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(("head", "bands"), [("lda", 0), ("knn", 0), ("lda", 5)])
def test_heads_of_both_kinds_on_two_trunks_add_up(tmp_path, head, bands):
    from headstart.explanation.explain_image import Explainer

    _, shown = export_runs.make(tmp_path, head=head, sizes=(32, 48), bands=bands)
    explainer = Explainer(tmp_path / "model")
    assert explainer.automatic[0] == "cam"
    assert ("held fixed" in explainer.automatic[1]) == (head == "knn")
    for file in shown.files[:6]:
        found = explainer.explain(file)
        assert found.evidence.mean() + found.elsewhere == pytest.approx(found.score, abs=1e-3 + 1e-4 * abs(found.score))
        assert found.box == (0, 0, *found.size)  # the second trunk sees all of the picture
