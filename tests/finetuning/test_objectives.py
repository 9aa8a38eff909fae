"""The loss on soft labels, mixed pictures and labels, and the order of an epoch."""

import math

import numpy as np
import pytest

from headstart.core.recipe import Recipe
from headstart.finetuning.inputs import batch_mixing
from headstart.heads.cross_validation import balanced_class_weights
from small_nets import classes

Y = np.array([0, 0, 0, 0, 1, 1, 2])
EYE = np.eye(3, dtype=np.float32)
RNG = np.random.default_rng(5)
LOGITS = RNG.normal(size=(7, 3)).astype(np.float32) * 3
SOFT = RNG.dirichlet(np.ones(3), 7).astype(np.float32)


def loss(y, logits, weight=None, **recipe):
    return float(classes(3).make_loss(Recipe(**recipe), weight)(y, logits))


def gradient(y, logits, weight=None, **recipe):
    import tensorflow as tf

    at = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(at)
        value = classes(3).make_loss(Recipe(**recipe), weight)(y, at)
    return tape.gradient(value, at).numpy()


def logs(logits):
    z = logits.astype(np.float64)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


# ---------------------------------------------------------------- loss


def test_without_more_it_is_the_cross_entropy_of_soft_labels():
    assert loss(SOFT, LOGITS) == pytest.approx(-(SOFT * logs(LOGITS)).sum(axis=1).mean(), rel=1e-6)


def test_it_stays_exact_where_probabilities_underflow():
    assert loss(EYE[[1]], np.array([[200, 0, 0]], np.float32)) == pytest.approx(200.0)


def test_focal_is_that_of_the_paper():
    ours = loss(EYE[Y], LOGITS, focal=2.0)
    own = logs(LOGITS)[np.arange(7), Y]
    assert ours == pytest.approx(np.mean(-((1 - np.exp(own)) ** 2) * own), rel=1e-5)


def test_focal_is_that_of_keras():
    import keras

    theirs = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=1.5, from_logits=True)
    assert loss(SOFT, LOGITS, focal=1.5) == pytest.approx(float(theirs(SOFT, LOGITS)), rel=1e-5)


def test_focal_with_gamma_0_is_cross_entropy_and_nearly_0_nearly_so():
    assert loss(SOFT, LOGITS, focal=0.0) == loss(SOFT, LOGITS)
    assert loss(SOFT, LOGITS, focal=1e-5) == pytest.approx(loss(SOFT, LOGITS), rel=1e-4)


def test_focal_weighs_sure_pictures_less():
    sure, unsure = np.array([[5, 0, 0]], np.float32), np.array([[0.1, 0, 0]], np.float32)
    shares = [
        np.abs(gradient(EYE[[0]], z, focal=2.0)).sum() / np.abs(gradient(EYE[[0]], z)).sum() for z in (sure, unsure)
    ]
    assert shares[0] < 1e-2 < 0.5 < shares[1]


@pytest.mark.parametrize("focal", [0.5, 1.0, 2.0])
def test_gradients_are_finite_at_certainty(focal):
    far = np.array([[90, -90, 0], [-90, 90, 0], [0, 0, 0]], np.float32)
    assert np.isfinite(gradient(EYE[[0, 0, 0]], far, focal=focal, label_smoothing=0.1)).all()
    assert np.abs(gradient(EYE[[0, 0, 0]], far, focal=focal)[1]).sum() > 0.1  # what is wrong still learns


def test_smoothing_is_least_at_the_smoothed_label():
    """The best probabilities are 1 - s + s / C and s / C: there the gradient is 0, and nowhere near."""
    best = np.log(np.array([[0.8 + 0.2 / 3, 0.2 / 3, 0.2 / 3]], np.float32))
    assert np.abs(gradient(EYE[[0]], best, label_smoothing=0.2)).max() < 1e-7
    assert np.abs(gradient(EYE[[0]], best)).max() > 0.1
    truth = np.array([0.8 + 0.2 / 3, 0.2 / 3, 0.2 / 3])
    assert loss(EYE[[0]], best, label_smoothing=0.2) == pytest.approx(-(truth * np.log(truth)).sum(), rel=1e-6)


@pytest.mark.parametrize("more", [{}, {"label_smoothing": 0.2}, {"focal": 2.0}, {"focal": 1.0, "label_smoothing": 0.1}])
def test_a_class_weight_is_as_many_copies(more):
    """Weights 1 : 2 : 4 are one, two and four copies of each picture; the mean over the copies."""
    times = np.array([1.0, 2.0, 4.0])
    copies = np.repeat(np.arange(7), times[Y].astype(int))
    weight = times * 7 / len(copies)  # 1 on average over the pictures
    assert (weight == balanced_class_weights(Y, 3)).all()
    assert loss(EYE[Y], LOGITS, weight, **more) == pytest.approx(loss(EYE[Y][copies], LOGITS[copies], **more), rel=1e-6)
    alone = gradient(EYE[Y], LOGITS, weight, **more)
    copied = gradient(EYE[Y][copies], LOGITS[copies], **more)
    summed = np.stack([copied[copies == at].sum(axis=0) for at in range(7)])
    np.testing.assert_allclose(alone, summed, atol=1e-7)


def test_class_weights_act_on_each_share_of_a_mixed_label():
    mixed, weight = np.array([[0.25, 0.75, 0]], np.float32), np.array([1.0, 3.0, 9.0])
    parts = [loss(EYE[[c]], LOGITS[:1], weight, label_smoothing=0.1) for c in (0, 1)]
    assert loss(mixed, LOGITS[:1], weight, label_smoothing=0.1) == pytest.approx(0.25 * parts[0] + 0.75 * parts[1])


# ---------------------------------------------------------------- mixing


def batch(n=8, size=12, seed=0):
    """Pictures of one colour each, so that every pixel tells whose it is."""
    own = np.arange(n, dtype=np.float32)
    pictures = np.broadcast_to(own[:, None, None, None], (n, size, size + 4, 3)).copy()
    return {"pictures": pictures, "pooled": np.stack([own, -own], axis=1)}, np.eye(n, dtype=np.float32)


def mixed(seed, given=None, **recipe):
    inputs, y = given or batch()
    return batch_mixing.mix_batch(inputs, y, Recipe(**recipe), np.random.default_rng(seed))


def test_without_alpha_nothing_is_mixed():
    inputs, y = batch()
    made, labels = mixed(0, (inputs, y))
    assert made is inputs and labels is y


def shares(labels):
    """Of each row's own picture, and its partner."""
    partner = np.argmax(labels - 2 * np.eye(len(labels)) * labels, axis=1)
    return np.diag(labels), np.where(np.diag(labels) > 1 - 1e-6, np.arange(len(labels)), partner)


def test_mixup_adds_inputs_and_labels_in_one_share():
    for seed in range(20):
        inputs, y = batch()
        before = {name: x.copy() for name, x in inputs.items()}
        made, labels = mixed(seed, (inputs, y), mixup=0.4)
        share, partner = shares(labels)
        assert labels.sum(axis=1) == pytest.approx(np.ones(8), abs=1e-6)
        assert len(set(np.round(share[partner != np.arange(8)], 5))) <= 1  # one share for the batch
        for name, x in made.items():
            wide = share.reshape(-1, *[1] * (x.ndim - 1))
            np.testing.assert_allclose(x, wide * before[name] + (1 - wide) * before[name][partner], atol=1e-5)
            assert x.dtype == np.float32 and (inputs[name] == before[name]).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_is_drawn_from_the_beta_distribution(alpha):
    given = {"pooled": np.zeros((2, 1), np.float32)}, np.eye(2, dtype=np.float32)
    drawn = np.array([mixed(seed, given, mixup=alpha)[1][0, 0] for seed in range(6000)])
    drawn = drawn[drawn < 1]  # where the partner is another picture: half of the draws
    assert 2500 < len(drawn) < 3500
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)
    assert drawn.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_cutmix_pastes_one_box_and_labels_have_its_share_of_the_area():
    kept, pasted = [], np.zeros((12, 16), bool)
    for seed in range(200):
        inputs, y = batch()
        made, labels = mixed(seed, (inputs, y), cutmix=1.0)
        share, partner = shares(labels)
        for at in range(8):
            foreign = made["pictures"][at, :, :, 0] != at
            assert 1 - foreign.mean() == pytest.approx(share[at], abs=1e-6)
            assert (made["pictures"][at][foreign] == partner[at]).all()
            pasted |= foreign
            rows, columns = foreign.any(axis=1), foreign.any(axis=0)
            assert (foreign == rows[:, None] & columns[None, :]).all()  # a box,
            assert (np.diff(np.flatnonzero(rows)) == 1).all() and (np.diff(np.flatnonzero(columns)) == 1).all()
        np.testing.assert_allclose(made["pooled"], made["pictures"].mean(axis=(1, 2))[:, :1] * [[1, -1]], atol=1e-5)
        assert (inputs["pictures"][1] == 1).all()
        kept.append(share.min())
    assert min(kept) < 0.2 and max(kept) > 0.95
    assert pasted.all()  # no pixel is out of reach


def test_cutmix_on_a_small_map_labels_whole_cells():
    own = np.broadcast_to(np.arange(4, dtype=np.float32)[:, None, None, None], (4, 4, 4, 2)).copy()
    seen = set()
    for seed in range(60):
        made, labels = mixed(seed, ({"map": own}, np.eye(4, dtype=np.float32)), cutmix=1.0)
        share = np.diag(labels)
        assert [float((made["map"][at] == at).mean()) for at in range(4)] == pytest.approx(share.tolist())
        seen.update(np.round(share * 16, 4))
    assert seen <= set(range(17)) and len(seen) > 6


def test_features_without_an_area_are_added_by_cutmix():
    given = {"pooled": np.arange(4, dtype=np.float32)[:, None]}, np.eye(4, dtype=np.float32)
    made, labels = mixed(3, given, cutmix=1.0)
    assert (np.diag(labels) < 1).any()
    np.testing.assert_allclose(made["pooled"][:, 0], labels @ np.arange(4), atol=1e-6)


def test_with_both_each_batch_has_one_of_them():
    pasted = []
    for seed in range(300):
        made, labels = mixed(seed, mixup=1.0, cutmix=1.0)
        if labels.max() < 1 and np.diag(labels).min() > 0:
            pasted.append(bool((made["pictures"] == np.rint(made["pictures"])).all()))
    assert 0.35 < np.mean(pasted) < 0.65


def test_equal_generators_mix_equally():
    one, other, third = (mixed(seed, cutmix=1.0, mixup=0.2) for seed in (4, 4, 5))
    assert (one[1] == other[1]).all() and all((one[0][name] == other[0][name]).all() for name in one[0])
    assert (one[1] != third[1]).any()


# ---------------------------------------------------------------- order


def test_natural_order_sees_each_once_and_anew_each_epoch():
    y, recipe = np.arange(50) % 3, Recipe(seed=4)
    first, second = batch_mixing.draw_order(y, recipe, 1), batch_mixing.draw_order(y, recipe, 2)
    assert sorted(first) == sorted(second) == list(range(50)) and first.dtype == np.int64
    assert (first != second).any() and (first != np.arange(50)).any()
    assert (first == batch_mixing.draw_order(y, recipe, 1)).all()
    assert (first != batch_mixing.draw_order(y, Recipe(seed=5), 1)).any()


def test_balanced_order_has_as_many_of_each_class():
    y = np.repeat([0, 1, 3], [60, 30, 12])
    seen, rest = np.zeros(102, int), np.zeros(4, int)
    for epoch in range(1, 31):
        drawn = batch_mixing.draw_order(y, Recipe(sampling="balanced"), epoch)
        assert drawn.shape == (102,)
        assert np.bincount(y[drawn], minlength=4).tolist() == [34, 34, 0, 34]
        times = np.bincount(drawn, minlength=102)
        assert times[:60].max() == 1  # the frequent class never repeats a picture,
        assert set(times[60:90]) <= {1, 2} and set(times[90:]) <= {2, 3}  # the others go round as evenly as can be
        seen += times
        rest += np.bincount(y[drawn[:51]], minlength=4)
    assert seen[:60].min() >= 8  # of 17 on average: all get their turn
    assert rest / rest.sum() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], abs=0.05)  # and the classes are shuffled


def test_what_does_not_divide_goes_to_any_class():
    y, extra = np.repeat([0, 1, 2], [5, 3, 3]), np.zeros(3)
    for epoch in range(300):
        counts = np.bincount(y[batch_mixing.draw_order(y, Recipe(sampling="balanced"), epoch)])
        assert counts.sum() == 11 and set(counts) == {3, 4}
        extra += counts - 3
    assert extra / 300 == pytest.approx(np.full(3, 2 / 3), abs=5 * math.sqrt(2 / 9 / 300))
