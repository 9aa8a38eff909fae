import numpy as np
import pytest

import small_network
from headstart.finetuning.training import epoch_metrics
from headstart.heads.prediction import softmax
from small_nets import classes


def test_scores_are_those_counted_by_hand():
    y = np.array([0, 0, 0, 0, 1, 1])
    p = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]])
    found = classes(3).score(y, p)
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.class_recall[:2] == pytest.approx((3 / 4, 1 / 2))
    assert found.class_precision[:2] == pytest.approx((3 / 4, 1 / 2))
    assert np.isnan(found.class_recall[2]) and np.isnan(found.class_precision[2])
    assert found.balanced_accuracy == found.recall == pytest.approx(5 / 8)
    assert found.precision == pytest.approx(5 / 8)
    assert found.log_loss == pytest.approx(-np.log([0.7, 0.6, 0.5, 0.2, 0.8, 0.3]).mean())


def test_a_class_that_is_never_answered_has_precision_0():
    found = classes(2).score(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    assert found.class_precision == (0.5, 0.0) and found.precision == 0.25


def test_running_scores_are_those_of_all_batches_together():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(20, 4)).astype(np.float32), rng.integers(0, 4, 20)
    seen = epoch_metrics.EpochPredictions(classes(4))
    for part in (slice(0, 5), slice(5, 20)):
        seen.add_batch(2.0 if part.start else 1.0, logits[part], y[part])
    whole = classes(4).score(y, softmax(logits.astype(np.float64)))
    assert seen.loss == 1.5
    assert seen.scores().accuracy == whole.accuracy
    found = seen.scores()
    assert found.log_loss == pytest.approx(whole.log_loss)
    assert (found.class_recall, found.class_precision) == (whole.class_recall, whole.class_precision)


@pytest.mark.parametrize(
    ("monitor", "losses"),
    [("log_loss", [np.log(2), np.log(1 + np.e)]), ("accuracy", [0.25, 0.75]), ("balanced_accuracy", [0.5, 0.5])],
)
def test_every_monitor_is_a_loss(monitor, losses):
    y = np.array([0, 0, 0, 1])
    logits = np.zeros((2, 4, 2), np.float32)
    if monitor == "log_loss":
        logits[1, np.arange(4), 1 - y] = 1
    else:
        logits[:, :, 0], logits[1, :, 1] = 0.5, 1  # always the first class, then always the second
    assert epoch_metrics.monitored_losses(monitor, y, logits, classes(2)) == pytest.approx(losses, rel=1e-6)


def test_a_short_batch_is_filled_up_and_cut_again():
    network = small_network.network(small_network.recipe())
    x, y = small_network.pictures(17)
    found = epoch_metrics.predict_logits(network, small_network.Held(x, y))  # 7, 7 and 3
    one_by_one = np.concatenate([np.asarray(network.model({"pictures": x[i : i + 1]})) for i in range(17)])
    assert found.shape == (17, 3) and found.dtype == np.float32
    assert np.abs(found - one_by_one).max() < 1e-5


def test_pictures_that_do_not_come_are_an_error():
    network = small_network.network(small_network.recipe())
    held = small_network.Held(*small_network.pictures(14))
    held.y = held.y[:13]
    with pytest.raises(ValueError, match="13 held-out pictures were announced and 14 came"):
        epoch_metrics.predict_logits(network, held)
