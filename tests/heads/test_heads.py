"""Every head keeps the promises of the conformance suite, and each one's own promise is held against a reference."""

import warnings

import numpy as np
import pytest

from headstart.core import registry
from headstart.heads import cross_validation, design_matrix, prediction, softmax_regression
from headstart.testing import heads as suite

HEADS = registry.list_plugins("heads")


CASES = [(name, check) for name in HEADS for check in suite.list_checks(registry.load_plugin("heads", name))]


@pytest.mark.parametrize(("name", "check"), CASES, ids=lambda part: getattr(part, "__name__", part))
def test_conformance(name, check):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(registry.load_plugin("heads", name))


def test_the_whole_suite_fails_a_head_that_lies():
    class Liar:
        name, cannot = "liar", {}

        def grid(self, n_train, dim, n_classes):
            return ({},)

        def path(self, x, y, *, n_classes, params, class_weight, seed):
            for _ in params:
                zeros = {
                    "weights": np.zeros((x.shape[1], n_classes), np.float32),
                    "bias": np.zeros(n_classes, np.float32),
                }
                yield suite.FittedHead(head="liar", kind="linear", params={}, arrays=zeros, trainable_params=1)

    with pytest.raises(AssertionError, match="7 deviations apart"):
        suite.check_head(Liar())


# ---------------------------------------------------------------- against scikit-learn


def textured(n, dim, seed=0, n_classes=3):
    """Correlated, skewed columns as pooled features are, with classes that overlap."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    mix = rng.normal(size=(dim, dim)) * np.exp(-np.arange(dim) / (dim / 8))[:, None]
    x = rng.normal(size=(n, dim)) @ mix
    x += 0.6 * np.abs(x).mean() * rng.normal(size=(n_classes, dim))[y] * (rng.random(dim) < 0.2)
    return np.maximum(x, 0).astype(np.float32), y.astype(np.int64)


def reference(x, y, strength, weight=None):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(C=1 / (strength * len(y)), tol=1e-8, max_iter=20_000, class_weight=weight)
    return make_pipeline(StandardScaler(), model).fit(x.astype(np.float64), y)


@pytest.mark.parametrize(("n", "dim"), [(200, 20), (80, 120), (60, 60)])
@pytest.mark.parametrize("weights", [None, {0: 1.0, 1: 3.0, 2: 0.5}])
def test_logistic_is_the_optimum_that_scikit_learn_finds(n, dim, weights):
    x, y = textured(n, dim)
    head = registry.load_plugin("heads", "logistic")
    given = None
    if weights:  # ours are scaled to 1 on average over the pictures
        weights = {c: w / np.mean([weights[c] for c in y]) for c, w in weights.items()}
        given = np.array(list(weights.values()))
    grid = head.grid(n, dim, 3)
    for params, found in zip(grid, head.path(x, y, n_classes=3, params=grid, class_weight=given, seed=0), strict=True):
        asked, _ = textured(100, dim, seed=1)
        wanted = reference(x, y, params["strength"], weights).predict_proba(asked.astype(np.float64))
        assert np.abs(suite.predict_probabilities(found, asked) - wanted).max() < 1e-3


def test_large_sets_run_in_blocks_to_the_same_optimum(monkeypatch):
    x, y = textured(900, 30)
    head = registry.load_plugin("heads", "logistic")
    grid = head.grid(900, 30, 3)

    def answers():
        found = head.path(x, y, n_classes=3, params=grid, class_weight=None, seed=0)
        return np.stack([suite.predict_probabilities(f, x) for f in found])

    whole = answers()
    monkeypatch.setattr(design_matrix, "DENSE_NUMBERS", 0)
    held = answers()
    monkeypatch.setattr(design_matrix, "HELD_NUMBERS", 0)
    monkeypatch.setattr(design_matrix, "_BLOCK_NUMBERS", 3000)
    blocks = answers()
    monkeypatch.setattr(design_matrix, "_THREADED_NUMBERS", 0)
    threads = answers()
    monkeypatch.setattr("headstart.heads.covariance.APPROXIMATE_ROWS", 100)
    approximate = answers()
    assert np.abs(held - whole).max() < 1e-3
    assert np.abs(blocks - whole).max() < 1e-3
    assert np.array_equal(threads, blocks)  # bit for bit
    assert np.abs(approximate - whole).max() < 1e-3


@pytest.mark.parametrize("name", ["ridge", "lda", "nearest_mean"])
def test_other_linear_heads_in_blocks(name, monkeypatch):
    x, y = textured(700, 20)
    head = registry.load_plugin("heads", name)
    whole = [suite.predict_probabilities(f, x) for f in suite.fit_grid(head, suite.Sample(x, y, 3))]
    monkeypatch.setattr(design_matrix, "DENSE_NUMBERS", 0)
    monkeypatch.setattr(design_matrix, "HELD_NUMBERS", 0)
    monkeypatch.setattr(design_matrix, "_BLOCK_NUMBERS", 3000)
    blocks = [suite.predict_probabilities(f, x) for f in suite.fit_grid(head, suite.Sample(x, y, 3))]
    assert np.abs(np.stack(blocks) - np.stack(whole)).max() < 1e-3


@pytest.mark.parametrize("dim", [10, 80])
def test_ridge_leaves_one_out_as_if_it_had_been_refitted(dim):
    from headstart.heads.classifiers.ridge import _Problem

    x, y = textured(40, dim)
    problem, strength = _Problem(x, y, None), 0.7
    shrunk = problem.covariance.shrink(1.0, strength)
    inner, leverages = shrunk.regress(problem.target), shrunk.compute_leverages(problem.rows)
    closed = np.eye(3)[y] - problem._leave_one_out_errors(np.eye(3)[y] - problem.mean, inner, leverages)
    z = (x - problem.moments.centre) * problem.moments.inverse
    target = np.eye(3)[y]
    for i in (0, 7, 39):
        rest = np.arange(40) != i
        mean = z[rest].mean(axis=0)
        a = z[rest] - mean
        w = np.linalg.solve(a.T @ a + 40 * strength * np.eye(dim), a.T @ (target[rest] - target[rest].mean(axis=0)))
        assert np.allclose(closed[i], (z[i] - mean) @ w + target[rest].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dim", [10, 80])
def test_lda_leaves_one_out_as_if_it_had_been_refitted(dim, weighted):
    from headstart.heads.classifiers.lda import _Problem

    x, y = textured(40, dim)
    weight = np.random.default_rng(1).uniform(0.2, 3, 40) if weighted else np.ones(40)
    weight /= weight.mean()
    problem, g = _Problem(x, y, None, weight if weighted else None), 0.4
    floor = g * problem.covariance.mean_power
    shrunk = problem.covariance.shrink(1 - g, floor)
    scores, known = problem._leave_one_out_scores(shrunk, shrunk.solve(problem.means.T), problem.y)
    z = (x - problem.moments.centre) * problem.moments.inverse
    assert known.all()
    for i in (0, 7, 39):
        rest = np.arange(40) != i
        means = np.stack([np.average(z[rest & (y == c)], axis=0, weights=weight[rest & (y == c)]) for c in range(3)])
        within = z[rest] - means[y[rest]]
        covariance = (1 - g) * (within.T * weight[rest]) @ within / 40 + floor * np.eye(dim)
        gap = z[i] - means
        wanted = -0.5 * np.einsum("cd,cd->c", gap, np.linalg.solve(covariance, gap.T).T)
        # a common term of all classes does not matter
        assert np.allclose(scores[i] - scores[i].mean(), wanted - wanted.mean(), rtol=1e-6, atol=1e-6)


def test_lda_without_shrinkage_agrees_with_scikit_learn_on_the_answers():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    x, y, _ = suite.make_sample(400, 8, apart=2.5)
    head = registry.load_plugin("heads", "lda")
    found = next(iter(head.path(x, y, n_classes=3, params=[{"shrinkage": 1e-6}], class_weight=None, seed=0)))
    wanted = LinearDiscriminantAnalysis().fit(x.astype(np.float64), y)
    assert (suite.predict_probabilities(found, x).argmax(axis=1) == wanted.predict(x)).mean() > 0.98


def test_neighbours_agree_with_scikit_learn():
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    x, y = textured(300, 12)
    head = registry.load_plugin("heads", "knn")
    scaler = StandardScaler().fit(x[:200].astype(np.float64))
    for found in suite.fit_grid(head, suite.Sample(x[:200], y[:200], 3)):
        k = found.params["k"]
        votes = KNeighborsClassifier(k).fit(scaler.transform(x[:200]), y[:200]).predict_proba(scaler.transform(x[200:]))
        wanted = (k * votes + 1 / 3) / (k + 1)
        assert np.abs(suite.predict_probabilities(found, x[200:]) - wanted).max() < 1e-5


def test_neighbours_that_are_equal_count_by_their_order():
    x = np.zeros((4, 2), np.float32)
    arrays = {
        "points": x,
        "labels": np.array([2, 0, 1, 0]),
        "centre": np.zeros(2, np.float32),
        "scale": np.ones(2, np.float32),
        "k": np.array(1),
        "vote": np.ones(3, np.float32),
        "prior": np.full(3, 1 / 3, np.float32),
    }
    assert prediction.predict_probabilities("neighbours", arrays, x[:1]).argmax() == 2


# ---------------------------------------------------------------- cost


@pytest.mark.parametrize("dim", [40, 300])
@pytest.mark.parametrize("name", ["ridge", "lda", "logistic"])
def test_no_head_takes_an_eigen_decomposition(name, dim, monkeypatch):
    x, y = textured(200, dim)
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: pytest.fail("ten times the time of a Cholesky factor"))
    assert suite.fit_grid(registry.load_plugin("heads", name), suite.Sample(x, y, 3))


def test_logistic_takes_few_steps_to_each_strength(monkeypatch):
    steps, take = [], softmax_regression._lbfgs_direction
    monkeypatch.setattr(softmax_regression, "_lbfgs_direction", lambda *args: steps.append(1) or take(*args))
    x, y = textured(600, 150)
    assert suite.fit_grid(registry.load_plugin("heads", "logistic"), suite.Sample(x, y, 3))
    assert len(steps) <= 50  # 59 when all rows weighed alike and each strength began where the last one ended


def test_a_step_of_logistic_takes_two_softmaxes_at_most(monkeypatch):
    count = {"steps": 0, "softmaxes": 0}

    def counted(name, function):
        def call(*args):
            count[name] += 1
            return function(*args)

        return call

    monkeypatch.setattr(softmax_regression, "_lbfgs_direction", counted("steps", softmax_regression._lbfgs_direction))
    monkeypatch.setattr(softmax_regression, "softmax_rows", counted("softmaxes", softmax_regression.softmax_rows))
    x, y = textured(600, 150)
    assert suite.fit_grid(registry.load_plugin("heads", "logistic"), suite.Sample(x, y, 3))
    assert count["softmaxes"] < 2 * count["steps"]  # 3.6 when slope and gradient took their own


def test_one_search_for_neighbours_serves_all_settings(monkeypatch):
    searches, find = [], prediction._find_nearest
    monkeypatch.setattr(prediction, "_find_nearest", lambda *args: searches.append(1) or find(*args))
    x, y = textured(300, 12)
    folds = (np.arange(300) % 3)[None]
    tuned = cross_validation.tune_head(registry.load_plugin("heads", "knn"), x, y, folds, n_classes=3)
    assert len(tuned.grid_losses) > 1
    assert len(searches) == 3


# ---------------------------------------------------------------- temperature


@pytest.mark.parametrize("t", [0.05, 1.0, 30.0])
def test_temperature_is_found(t):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4000, 3)) / t
    p = softmax_regression.softmax_rows(t * 1.5 * scores)
    y = np.array([rng.choice(3, p=row) for row in p])
    assert softmax_regression.fit_temperature(scores, y) == pytest.approx(1.5 * t, rel=0.1)


def test_temperature_stays_finite_without_an_error_and_is_low_on_noise():
    y = np.arange(60) % 3
    sure = softmax_regression.fit_temperature(np.eye(3)[y], y)
    rng = np.random.default_rng(0)
    noise = softmax_regression.fit_temperature(rng.normal(size=(60, 3)), y)
    assert 2 < sure < 50
    assert noise < 0.5
    assert softmax_regression.fit_temperature(np.zeros((5, 3)), y[:5]) == 1.0


def test_softmax_does_not_overflow():
    arrays = {"weights": np.array([[1e4, -1e4]], np.float32), "bias": np.zeros(2, np.float32)}
    p = prediction.predict_probabilities("linear", arrays, np.array([[1e3], [-1e3]], np.float32))
    assert p.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_a_wrong_width_or_kind_is_refused():
    arrays = {"weights": np.zeros((4, 2), np.float32), "bias": np.zeros(2, np.float32)}
    with pytest.raises(ValueError, match="width 4"):
        prediction.predict_probabilities("linear", arrays, np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="tree"):
        prediction.predict_probabilities("tree", arrays, np.zeros((1, 4), np.float32))


# ---------------------------------------------------------------- grades


@pytest.mark.parametrize("dim", [6, 90])
def test_adjacent_category_is_the_optimum_along_one_direction(dim):
    from scipy.optimize import minimize

    on = suite.make_sample(70, dim, 4, apart=1.0, ordered=True)
    z, ranks, strength = (on.x - on.x.mean(axis=0)) / on.x.std(axis=0), np.arange(4) - 1.5, 0.05
    ranks /= np.linalg.norm(ranks)

    def scores(theta):
        return np.outer(z @ theta[:dim], ranks) + theta[dim:]

    def objective(theta):
        p = prediction.softmax(scores(theta))
        return strength / 2 * theta[:dim] @ theta[:dim] - np.log(p[np.arange(70), on.y]).mean()

    want = prediction.softmax(scores(minimize(objective, np.zeros(dim + 4), method="BFGS").x))
    head = registry.load_plugin("heads", "adjacent_category")
    setting = {"n_classes": 4, "params": [{"strength": strength}], "class_weight": None, "seed": 0}
    fitted = next(iter(head.path(on.x, on.y, **setting)))
    np.testing.assert_allclose(suite.predict_probabilities(fitted, on.x), want, atol=2e-4)
    assert np.linalg.matrix_rank(fitted.arrays["weights"], tol=1e-4 * np.abs(fitted.arrays["weights"]).max()) == 1


def test_of_two_grades_adjacent_category_is_logistic_regression():
    on = suite.make_sample(80, 9, 2, apart=1.0)
    logistic, adjacent = (registry.load_plugin("heads", name) for name in ("logistic", "adjacent_category"))
    for one, other in zip(suite.fit_grid(logistic, on), suite.fit_grid(adjacent, on), strict=True):
        p, q = (suite.predict_probabilities(fitted, on.x) for fitted in (one, other))
        np.testing.assert_allclose(p, q, atol=2e-4)
