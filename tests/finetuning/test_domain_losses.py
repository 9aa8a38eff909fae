"""Losses on unlabelled pictures of another domain, and a training that has one of them."""

import numpy as np
import pytest

from headstart.core.console import Console
from headstart.core.recipe import Recipe
from headstart.finetuning.domain import losses
from headstart.finetuning.domain.paired_feed import PairedFeed
from headstart.finetuning.network import trainable_network
from headstart.finetuning.training import trainer
from headstart.finetuning.training.train_step import TrainStep
from small_nets import classes, features, fitted, inputs_of, pictures, raw, small_trunk

COUNT = 6
rng = np.random.default_rng(0)


def test_a_reversed_gradient_has_the_other_sign():
    import tensorflow as tf

    x = tf.Variable([1.0, -2.0, 3.0])
    with tf.GradientTape() as tape:
        y = losses.reverse_gradient(x, 0.25)
        loss = tf.reduce_sum(y * [1.0, 2.0, 3.0])
    np.testing.assert_allclose(y, x, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, x), -0.25 * np.array([1.0, 2.0, 3.0]), atol=1e-6)


def test_weights_rise_from_nothing_to_all():
    assert float(losses.ramp(0.0)) == pytest.approx(0.0)
    assert float(losses.ramp(1.0)) == pytest.approx(1.0, abs=1e-4)


def test_discrepancy_is_nothing_for_equal_samples_and_grows_with_the_distance():
    x = rng.normal(size=(16, 5)).astype(np.float32)
    values = [float(losses.squared_discrepancy(x, x + np.float32(by))) for by in (0.0, 0.5, 1.0, 2.0)]
    assert values[0] == pytest.approx(0.0, abs=1e-6)
    assert values == sorted(values) and values[-1] > 0.3


def test_consistency_learns_from_confident_answers_alone():
    loss = losses.ConsistencyLoss(steps=1)
    logits = np.zeros((2, 3, 3), np.float32)
    logits[:, 2] = [[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]]  # of the changed pictures
    logits[:, 1] = [[1.0, 0.0, 0.0], [1.0, 0.5, 0.0]]  # nobody is sure
    assert float(loss(None, logits, 1.0)) == 0
    logits[0, 1] = [9.0, 0.0, 0.0]
    expected = -np.log(np.exp(0.0) / np.exp(logits[0, 2]).sum()) / 2  # of two pictures one counts
    assert float(loss(None, logits, 1.0)) == pytest.approx(expected, rel=1e-3)


class Rows:
    """A feed of fixed rows."""

    steps = 2

    def __init__(self, inputs, y):
        self.inputs, self.y, self.n = inputs, y, len(y)

    def epoch(self, number):
        for _ in range(self.steps):
            yield self.inputs, np.eye(3, dtype=np.float32)[self.y], self.y


@pytest.fixture(scope="module")
def trunk():
    return small_trunk()


def prepare(trunk, groups):
    """A network and a feed of both domains."""
    model, spec = trunk
    recipe = Recipe(backbone=spec.name, depths=("last",), epochs=3, batch=COUNT, seed=4)
    source = pictures(COUNT)
    start = fitted(raw(features(model, spec, source), recipe.depths))
    network = trainable_network.build_network(model, spec, recipe, start=start, objective=classes(3))
    y = np.arange(COUNT) % 3
    feeds = [Rows(inputs_of(network, model, spec, 0.4 * pictures(COUNT, seed)), y) for seed in range(2, 1 + groups)]
    labelled = Rows(inputs_of(network, model, spec, source), y)
    return network, recipe, PairedFeed(source=labelled, others=feeds, n=COUNT, steps=Rows.steps)


@pytest.mark.medium
@pytest.mark.parametrize("method", ["dann", "consistency"])
def test_a_batch_in_parts_makes_the_step_of_the_whole_batch(trunk, method):
    """As it is where the loss is a mean over pictures; the discrepancy is one of pairs."""
    kind, results = losses.LOSSES[method], []
    for parts in (1, 2):
        network, recipe, feed = prepare(trunk, kind.groups)
        step = TrainStep(network, recipe, None, parts, kind(steps=100, seed=1))
        inputs, targets, _ = next(iter(feed.epoch(1)))
        loss, logits = step.take_step(inputs, targets, 1e-2)
        assert logits.shape == (COUNT, 3)
        results.append((loss, network.get()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-4)
    for path, value in results[0][1].items():
        np.testing.assert_allclose(value, results[1][1][path], atol=1e-4)


@pytest.mark.medium
def test_a_killed_training_on_both_domains_ends_in_equal_bytes(trunk, tmp_path):
    def train(folder, kill=False):
        network, recipe, feed = prepare(trunk, 2)

        def stop(row):
            if kill and row.epoch == 2:
                raise RuntimeError("killed")
            return False

        trainer.train_network(
            network,
            recipe,
            feed,
            held=None,
            class_weight=None,
            folder=folder,
            on_epoch=stop,
            domain=losses.AdversarialLoss(steps=6, seed=1),
            console=Console(quiet=True),
            name="both",
        )
        return network.get()

    whole = train(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "cut", kill=True)
    resumed = train(tmp_path / "cut")
    for path, value in whole.items():
        np.testing.assert_array_equal(value, resumed[path])


@pytest.mark.medium
def test_the_discrepancy_falls_where_it_is_learnt_from(trunk):
    """A discriminator that trains on and on, as against one whose gradient does not reach the trunk."""
    gaps = {}
    for method in ("mmd", "none"):
        network, recipe, feed = prepare(trunk, 2)
        step = TrainStep(network, recipe, None, 1, losses.DiscrepancyLoss(steps=1 if method == "mmd" else 10**9))
        inputs, targets, _ = next(iter(feed.epoch(1)))
        for _ in range(40):
            step.take_step(inputs, targets, 1e-2)
        _, z = (np.asarray(values) for values in step.model.predict_on_batch(inputs))
        gaps[method] = float(losses.squared_discrepancy(z[0::2], z[1::2]))
    assert gaps["mmd"] < 0.7 * gaps["none"]
