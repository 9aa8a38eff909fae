"""What training a network for numbers, and for several labels, is: losses, answers and scores counted by hand."""

import numpy as np
import pytest

import small_network
from headstart.core.console import Console
from headstart.core.recipe import Recipe
from headstart.core.types import MULTILABEL, REGRESSION
from headstart.finetuning.inputs.batch_mixing import mix_batch
from headstart.finetuning.inputs.batches import HeldOutPictures, PictureFeed
from headstart.finetuning.network.plain_model import make_plain_model
from headstart.finetuning.objectives import make_objective
from headstart.finetuning.training import trainer
from headstart.finetuning.training.epoch_metrics import predict_logits
from headstart.heads.prediction import predict_probabilities, sigmoid

ANGLES = np.array([10.0, 20.0, 60.0, 90.0])
NUMBERS = make_objective(REGRESSION, ANGLES, 1)
LABELS = np.array([[1, 0], [1, 1], [0, 0]], bool)
SEVERAL = make_objective(MULTILABEL, LABELS, 2)
LOGITS = np.array([[2.0, -1.0], [0.5, 1.5], [-3.0, 0.2]], np.float32)
WEIGHTS = np.array([0.5, 2.0, 0.5])


def minimised(objective, y, logits, weights=None, **recipe):
    """The loss of a batch as Keras takes it."""
    encoded = objective.encode_targets(y, weights)
    return float(objective.make_loss(Recipe(**recipe))(encoded, logits))


def test_the_loss_of_numbers_is_the_weighted_squared_error_in_parts_of_the_variance():
    logits = np.array([[0.5], [-1.0], [0.0], [2.0]], np.float32)
    errors = (NUMBERS.answer(logits)[:, 0] - ANGLES) / ANGLES.std()
    assert minimised(NUMBERS, ANGLES, logits) == pytest.approx(np.mean(errors**2), rel=1e-5)
    weights = np.array([1.0, 3.0, 0.2, 0.8])
    assert minimised(NUMBERS, ANGLES, logits, weights) == pytest.approx(np.mean(weights * errors**2), rel=1e-5)
    always = np.zeros((4, 1), np.float32)  # the mean of the targets
    assert minimised(NUMBERS, ANGLES, always) == pytest.approx(1.0) and (NUMBERS.answer(always) == 45.0).all()
    scores = NUMBERS.score(ANGLES, NUMBERS.answer(always))
    assert (scores.squared_error, scores.r2, scores.mae) == pytest.approx((1.0, 0.0, 30.0))


def test_mixed_pictures_have_the_mean_of_their_numbers_and_labels_by_share_and_weight():
    weights = np.array([1.0, 1.0, 1.0, 1.0])
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    partner, share = again.permutation(4), np.float32(again.beta(0.4, 0.4))
    _, mixed = mix_batch({}, NUMBERS.encode_targets(ANGLES, weights), Recipe(mixup=0.4), rng)
    expected = share * ANGLES + (1 - share) * ANGLES[partner]
    np.testing.assert_allclose(NUMBERS.decode_targets(mixed), expected, rtol=1e-5)
    heavy = np.stack([NUMBERS.encode_targets(ANGLES, np.array([3.0, 1, 1, 1]))[:2].mean(axis=0)])
    assert NUMBERS.decode_targets(heavy)[0] == pytest.approx((3 * 10 + 20) / 4, rel=1e-5)
    both = SEVERAL.encode_targets(LABELS, np.array([3.0, 1.0, 1.0]))[[0, 2]].mean(axis=0, keepdims=True)
    assert SEVERAL.decode_targets(both).tolist() == [[True, False]]


@pytest.mark.parametrize("recipe", [{}, {"label_smoothing": 0.2}, {"focal": 2.0}], ids=["plain", "smoothed", "focal"])
def test_the_loss_of_labels_is_binary_cross_entropy_averaged_over_them(recipe):
    p, truth = sigmoid(LOGITS.astype(np.float64)), LABELS * (1 - recipe.get("label_smoothing", 0)) + 0.0
    truth += recipe.get("label_smoothing", 0) / 2
    gamma = recipe.get("focal", 0)
    terms = truth * (1 - p) ** gamma * np.log(p) + (1 - truth) * p**gamma * np.log(1 - p)
    expected = -(WEIGHTS[:, None] * terms).mean()
    assert minimised(SEVERAL, LABELS, LOGITS, WEIGHTS, **recipe) == pytest.approx(expected, rel=1e-5)


def test_scores_of_labels_are_those_counted_by_hand():
    scores = SEVERAL.score(LABELS, np.array([[0.9, 0.6], [0.4, 0.7], [0.1, 0.2]]))
    assert scores.micro_f1 == pytest.approx(2 * 2 / (3 + 3)) and scores.exact_match == pytest.approx(1 / 3)
    assert scores.class_precision == (1.0, 0.5) and scores.class_recall == (0.5, 1.0)
    losses = -np.log([0.9, 0.4, 0.4, 0.7, 0.9, 0.8])
    assert scores.binary_log_loss == scores.loss == pytest.approx(losses.mean())


def test_one_temperature_cools_all_labels_and_numbers_have_none():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(400, 3))
    y = rng.random((400, 3)) < sigmoid(truth)
    objective = make_objective(MULTILABEL, y, 3)
    assert objective.fit_temperature(3 * truth, y) == pytest.approx(3.0, rel=0.2)
    assert NUMBERS.fit_temperature(truth[:, :1], truth[:, 0]) == 1.0


@pytest.mark.medium
@pytest.mark.parametrize("task", [REGRESSION, MULTILABEL], ids=lambda task: task.name)
def test_a_network_learns_and_its_folded_head_answers_in_the_targets_own_unit(task, tmp_path):
    """Colours in noise: how red a picture is, or which of three colours it has; and a resumed training is the same."""
    rng = np.random.default_rng(5)
    y = rng.random((160, 3)) < 0.4
    targets = 500.0 + 90 * y[:, 0] + rng.normal(0, 5, 160) if task is REGRESSION else y
    x = np.clip(rng.normal(110, 40, (160, 8, 8, 3)) + 60 * y[:, None, None, :], 0, 255).astype(np.float32)
    objective = make_objective(task, targets, 1 if task is REGRESSION else 3)
    recipe = small_network.recipe(rate=1e-2, epochs=6, mixup=0.1, monitor=objective.metric)
    learns, held = np.arange(100), np.arange(100, 160)

    def train(**settings):
        network, trunk = small_network.build(recipe, objective)
        feed = PictureFeed(pictures=x, positions=learns, y=targets[learns], objective=objective, recipe=recipe)
        watched = HeldOutPictures(pictures=x, positions=held, y=targets[held])
        shared = {"held": watched, "class_weight": None, "console": Console(quiet=True), "name": "net"}
        return network, trunk, watched, trainer.train_network(network, recipe, feed, **shared, **settings)

    network, trunk, watched, trained = train(folder=tmp_path / "whole")
    best = trained.rows[trained.best - 1].val
    assert trained.best and best.skill > max(trained.start.skill, 0.5) and best.loss < trained.start.loss
    logits = predict_logits(network, watched)
    plain = make_plain_model(network, trunk, small_network.SPEC, temperature=1.0)
    answers = np.asarray(plain.model(x[held]))
    np.testing.assert_allclose(answers, objective.answer(logits), rtol=1e-4, atol=1e-4)
    arrays = {"weights": plain.weights, "bias": plain.bias}
    features = np.asarray(plain.trunk(x[held]))
    np.testing.assert_allclose(predict_probabilities(objective.kind, arrays, features), answers, rtol=1e-4, atol=1e-4)

    def die(row):
        if row.epoch == 4:
            raise RuntimeError("the machine goes")

    with pytest.raises(RuntimeError, match="the machine goes"):
        train(folder=tmp_path / "cut", on_epoch=die)
    resumed = train(folder=tmp_path / "cut")[3]
    assert resumed.rows == trained.rows and resumed.best == trained.best
    np.testing.assert_array_equal(resumed.logits, trained.logits)
