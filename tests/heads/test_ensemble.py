"""Linear heads pooled by the geometric mean of their probabilities are one linear head; folds choose honestly."""

import numpy as np
import pytest

from headstart.core import registry
from headstart.heads import cross_validation, ensemble, prediction
from headstart.statistics.losses import log_losses
from headstart.testing.heads import make_sample

MEMBERS = [
    {"name": "ridge on a", "head": "ridge", "columns": [[0, 3]], "share": 0.25, "params": {"strength": 0.5}},
    {"name": "lda on a+b", "head": "lda", "columns": [[4, 6], [0, 2]], "share": 0.75, "params": {"shrinkage": 0.5}},
]


@pytest.fixture(scope="module")
def sample():
    return make_sample(120, apart=1.0)


def fit(head, x, y, params):
    return next(iter(head.path(x, y, n_classes=3, params=[params], class_weight=None, seed=0)))


def test_the_pool_of_linear_heads_is_one_linear_head(sample):
    """Its probabilities are the weighted geometric mean of those of its members, each fitted on its columns."""
    pooled = fit(ensemble.Ensemble(), sample.x, sample.y, {"members": MEMBERS})
    log_p, size = 0.0, 0
    for member in MEMBERS:
        columns = [column for first, last in member["columns"] for column in range(first, last)]
        single = fit(registry.load_plugin("heads", member["head"]), sample.x[:, columns], sample.y, member["params"])
        p = prediction.predict_probabilities(single.kind, single.arrays, sample.x[:, columns])
        log_p = log_p + member["share"] * np.log(p.astype(np.float64))
        size += single.trainable_params
    answers = prediction.predict_probabilities(pooled.kind, pooled.arrays, sample.x)
    assert np.allclose(answers, prediction.softmax(log_p), atol=1e-5)
    assert (pooled.head, pooled.kind, pooled.trainable_params) == ("ensemble", "linear", size)
    read = np.flatnonzero(np.any(pooled.arrays["weights"], axis=1))
    assert read.tolist() == [0, 1, 2, 4, 5]


def test_heads_that_err_on_different_pictures_are_taken_together():
    """Two heads are each sure of one half and guess on the other; the third is worse than both everywhere."""
    y = np.arange(80) % 2
    sure, guess = np.where(np.eye(2)[y] > 0, 0.9, 0.1), np.full((80, 2), 0.5)
    first_half = (np.arange(80) < 40)[:, None]
    heads = [np.where(first_half, sure, guess), np.where(first_half, guess, sure), np.where(np.eye(2)[y] > 0, 0.4, 0.6)]
    log_p = np.log(np.stack(heads))
    shares = ensemble.select_members(log_p, y)
    assert shares == pytest.approx([0.5, 0.5, 0.0])
    single = log_losses(y, np.exp(log_p[0])).mean()
    assert log_losses(y, ensemble.pool_probabilities(log_p, shares)).mean() < single


def test_the_best_head_stays_alone_where_no_other_helps():
    y = np.arange(60) % 3
    log_p = np.log(np.stack([np.where(np.eye(3)[y] > 0, p, (1 - p) / 2) for p in (0.5, 0.8, 0.34)]))
    assert ensemble.select_members(log_p, y).tolist() == [0.0, 1.0, 0.0]


def test_the_labels_of_a_fold_do_not_choose_the_members_that_answer_for_it():
    rng = np.random.default_rng(0)
    y, folds = rng.integers(0, 3, 90), np.arange(90) % 4 - (np.arange(90) >= 84)
    folds[-3:] = -1
    log_p = np.log(rng.dirichlet(np.ones(3), (5, 90)))
    pooled = ensemble.pool_held_out(log_p, y, folds)
    other = ensemble.pool_held_out(log_p, np.where(folds == 1, (y + 1) % 3, y), folds)
    assert np.array_equal(pooled[folds == 1], other[folds == 1])
    assert not np.array_equal(pooled[folds == 0], other[folds == 0])
    assert np.isnan(pooled[folds == -1]).all()
    assert np.allclose(pooled[folds >= 0].sum(axis=1), 1, atol=1e-5)


def test_members_are_resized_with_the_pictures_they_learn_from():
    resized = cross_validation.resize_params({"members": MEMBERS}, 50, 200)["members"]
    assert resized[0]["params"] == {"strength": 2.0}
    assert resized[1] == MEMBERS[1]
    assert ensemble.format_params({"members": MEMBERS}) == "25% ridge on a, 75% lda on a+b"
