"""Ways to adapt a head, each against a formula of its own, and folded into a linear head."""

import dataclasses
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import made_domains
from headstart.core import registry
from headstart.core.errors import NoOpError
from headstart.domain_adaptation import density_ratio, feature_moments
from headstart.domain_adaptation.adapt_head import HeadSetting, fold_into_head, make_answer
from headstart.domain_adaptation.evaluate_candidates import KIND
from headstart.domain_adaptation.method_base import HeadTraining, LabelledFeatures
from headstart.domain_adaptation.methods import label_propagation, optimal_transport, self_training
from headstart.heads.cross_validation import balanced_class_weights
from headstart.heads.prediction import softmax

SETTING = HeadSetting(
    head="logistic",
    params={"strength": 0.02},
    n_train=210,
    dim=made_domains.D,
    n_classes=made_domains.C,
    balanced=False,
    seed=0,
)
METHODS = registry.list_plugins(KIND)
BELOW = {"importance", "label_shift", "transfer_components"}  # a camera is not what these can mend


def make_source():
    rng = np.random.default_rng(5)
    x, y = made_domains.draw_pictures(210, rng)
    target, truth = made_domains.draw_pictures(240, rng)
    shares = np.array([0.75, 0.15, 0.1])
    return LabelledFeatures(x=x, y=y, weights=None, n_classes=made_domains.C, target_shares=shares), target, truth


def fit_head(training):
    return make_answer(fold_into_head(SETTING.fit(training), training))


def adapt(name, source, target, **params):
    plugin = registry.load_plugin(KIND, name)
    answer = fit_head(HeadTraining(x=source.x, y=source.y))
    params = params or plugin.grid[0]
    return plugin.adapt(source, target, answer=answer, fit=fit_head, params=params, seed=0)


@pytest.mark.parametrize("name", METHODS)
def test_a_camera_is_mended_and_answers_are_those_of_one_linear_head(name):
    source, target, truth = make_source()
    target = made_domains.change_camera(target)
    plain = fit_head(HeadTraining(x=source.x, y=source.y))(target)
    training = adapt(name, source, target)
    again = adapt(name, source, target)
    assert np.array_equal(training.x, again.x)
    fitted = SETTING.fit(training)
    head = fold_into_head(fitted, training)
    shapes = {part: array.shape for part, array in head.arrays.items()}  # all that an export knows of it
    assert (head.kind, shapes) == (
        "linear",
        {"weights": (source.x.shape[1], source.n_classes), "bias": (source.n_classes,)},
    )
    folded = make_answer(head)(target)
    read = target if training.projection is None else target @ training.projection[0] + training.projection[1]
    scores = read.astype(np.float64) @ fitted.arrays["weights"] + fitted.arrays["bias"]
    scores += 0 if training.log_prior is None else training.log_prior
    np.testing.assert_allclose(folded, softmax(scores), atol=2e-5)
    if name not in BELOW:
        gain = (folded.argmax(axis=1) == truth).mean() - (plain.argmax(axis=1) == truth).mean()
        assert gain >= 0.05
    if training.map_source is not None and not registry.load_plugin(KIND, name).uses_labels:
        np.testing.assert_allclose(training.map_source(source.x), training.x, atol=1e-5)


def test_standardisation_gives_the_targets_moments():
    source, target, _ = make_source()
    target = made_domains.change_camera(target)
    mapped = adapt("standardise", source, target).x
    np.testing.assert_allclose(mapped.mean(axis=0), target.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(mapped.std(axis=0), target.std(axis=0), rtol=1e-4)


def matrix_power(matrix, power):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**power) @ vectors.T


@pytest.mark.parametrize("rows", [210, 12])  # more pictures than columns, and fewer
def test_coral_is_its_formula_on_standardised_columns(rows):
    source, target, _ = make_source()
    source = dataclasses.replace(source, x=source.x[:rows], y=source.y[:rows])
    target = made_domains.change_camera(target)[: rows + 2]
    parts = []
    for x in (source.x, target):
        mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        z = (x - mean) / deviation
        parts.append((mean, deviation, z, 0.9 * z.T @ z / len(z) + 0.1 * np.eye(z.shape[1])))
    (_, _, z, from_source), (mean, deviation, _, to_target) = parts
    expected = z @ matrix_power(from_source, -0.5) @ matrix_power(to_target, 0.5) * deviation + mean
    np.testing.assert_allclose(adapt("coral", source, target, shrinkage=0.1).x, expected, atol=1e-3)


def test_coral_leaves_a_constant_column_constant():
    source, target, _ = make_source()
    source.x[:, 3] = 0.7
    mapped = adapt("coral", source, target).x
    np.testing.assert_allclose(mapped[:, 3], target[:, 3].mean(), atol=1e-5)
    assert np.isfinite(mapped).all()


def test_subspace_alignment_is_its_formula():
    source, target, _ = make_source()
    target = made_domains.change_camera(target)
    training = adapt("subspace", source, target, directions=4)
    z, axes = [], []
    for x in (source.x.astype(np.float64), target.astype(np.float64)):
        z.append((x - x.mean(axis=0)) / x.std(axis=0))
        axes.append(np.linalg.svd(z[-1], full_matrices=False)[2][:4].T)
    expected = z[0] @ axes[0] @ axes[0].T @ axes[1]
    np.testing.assert_allclose(np.abs(training.x), np.abs(expected), atol=1e-3)
    read = target @ training.projection[0] + training.projection[1]
    np.testing.assert_allclose(np.abs(read), np.abs(z[1] @ axes[1]), atol=1e-3)


def test_transfer_components_solve_their_eigenproblem():
    source, target, _ = make_source()
    target = target + 0.5
    training = adapt("transfer_components", source, target, components=3)
    pooled = np.concatenate([source.x, target]).astype(np.float64)
    z = (pooled - pooled.mean(axis=0)) / pooled.std(axis=0)
    gap = z[: len(source.x)].mean(axis=0) - z[len(source.x) :].mean(axis=0)
    values, _ = np.linalg.eig(np.linalg.solve(np.eye(len(gap)) + np.outer(gap, gap), z.T @ z / len(z)))
    components = training.projection[0] * pooled.std(axis=0)[:, None]
    scatter = components.T @ (z.T @ z / len(z)) @ components
    penalty = components.T @ (np.eye(len(gap)) + np.outer(gap, gap)) @ components
    np.testing.assert_allclose(np.diag(scatter) / np.diag(penalty), np.sort(values.real)[::-1][:3], rtol=1e-3)


def test_label_shift_moves_the_odds_to_the_expected_shares():
    source, target, _ = make_source()
    plain = fit_head(HeadTraining(x=source.x, y=source.y))
    training = adapt("label_shift", source, target)
    expected = plain(target) * source.target_shares / np.bincount(source.y)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fit_head(training)(target), expected, atol=1e-4)
    with pytest.raises(NoOpError, match="in the source"):
        adapt("label_shift", dataclasses.replace(source, target_shares=None), target)


def test_label_shift_moves_the_odds_from_those_of_a_head_that_weighs_classes_alike():
    x, y = made_domains.draw_pictures(600, np.random.default_rng(8), [0.8, 0.1, 0.1])
    shares, weights = np.array([0.15, 0.7, 0.15]), balanced_class_weights(y, 3)
    source = LabelledFeatures(x=x, y=y, weights=None, n_classes=3, class_weight=weights, target_shares=shares)
    moved = np.exp(adapt("label_shift", source, x).log_prior)
    np.testing.assert_allclose(moved / moved.sum(), shares)
    with pytest.raises(NoOpError, match="the head takes"):
        adapt("label_shift", dataclasses.replace(source, target_shares=np.full(3, 1 / 3)), x)


def test_weights_follow_the_ratio_of_densities():
    rng = np.random.default_rng(7)
    source = rng.normal(size=(2_000, 2)).astype(np.float32)
    target = rng.normal([0.8, 0.0], 1.0, (2_000, 2)).astype(np.float32)
    truth = np.exp(0.8 * source[:, 0] - 0.32)
    estimate = density_ratio.estimate_ratio(source, target)
    assert np.corrcoef(np.log(estimate), np.log(truth))[0, 1] > 0.98
    flat = density_ratio.flatten_weights(np.array([100.0, 1, 1, 1, 1]), 0.6)
    assert flat.sum() ** 2 / np.square(flat).sum() >= 3
    assert flat.mean() == pytest.approx(1)


def test_transport_loads_no_training_framework():
    code = """
        import os, sys
        import numpy as np
        from headstart.domain_adaptation.methods.optimal_transport import plan_transport
        before = dict(os.environ)
        plan_transport(np.eye(4), np.array([0, 0, 1, 1]), 0.05)
        assert os.environ == before
        loaded = {"tensorflow", "torch", "jax"} & set(sys.modules)
        assert "ot" in sys.modules and not loaded, loaded
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_transport_goes_by_class_and_fills_the_target_evenly():
    ends = np.array([[0.0], [0.1], [1.0], [1.1]])
    plan = optimal_transport.plan_transport(np.square(ends - ends.T), np.array([0, 0, 1, 1]), 0.05)
    np.testing.assert_allclose(plan.sum(axis=1), 1)
    np.testing.assert_allclose(plan.sum(axis=0), 1, atol=0.02)
    assert plan[:2, :2].sum() > 1.99


def test_labels_spread_as_the_harmonic_function():
    points = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [0.4], [1.6], [10.4]])
    labels = np.eye(2)[[0, 0, 0, 1, 1]]
    graph = label_propagation.build_graph(points, 3)
    dense = graph.toarray()
    np.testing.assert_allclose(dense, dense.T)
    walk = dense / dense.sum(axis=1, keepdims=True)
    harmonic = np.linalg.solve(np.eye(3) - walk[5:, 5:], walk[5:, :5] @ labels)
    np.testing.assert_allclose(label_propagation.propagate(graph, labels), harmonic, atol=1e-3)


def test_the_surest_answers_of_every_class_are_taken():
    p = np.array([[0.99, 0.01], [0.9, 0.1], [0.6, 0.4], [0.05, 0.95], [0.45, 0.55]])
    assert self_training.choose_sure(p, 0.5).tolist() == [0, 1, 3]
    assert self_training.choose_sure(np.full((4, 2), 0.5), 1.0).tolist() == []


def test_moments_of_blocks_are_those_of_all(monkeypatch):
    monkeypatch.setattr(feature_moments, "_BLOCK_ROWS", 7)
    x = np.random.default_rng(8).normal(3, 2, (50, 4)).astype(np.float32)
    moments = feature_moments.measure_moments(x)
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(moments.deviation, x.std(axis=0), rtol=1e-5)
