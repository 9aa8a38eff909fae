"""headstart as a scikit-learn classifier: scikit-learn's own checks, its tools around it, all kinds of pictures."""

import pickle
from collections import Counter

import numpy as np
import pyarrow
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from headstart.sklearn import TransferClassifier, depth_search, image_arrays, image_features

EXPECTED_FAILURES = {  # name of a check -> why it fails
    "check_sample_weight_equivalence_on_dense_data": "repeated pictures change folds and strengths of the search"
}
SMALL = {"size_px": 64, "cache": False}


@pytest.fixture(scope="module")
def digits():
    """200 handwritten digits, flat: (N, 64) floats 0..16."""
    x, y = load_digits(return_X_y=True)
    return x[:200], y[:200]


@pytest.fixture(scope="module")
def shots(textile):
    """40 textile pictures of two classes: paths, arrays (N, 250, 250, 3) uint8, labels as words."""
    paths = [str(p) for name in ("global", "nominal") for p in sorted((textile / name).glob("*.jpg"))[:20]]
    arrays = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    return paths, arrays, np.repeat(["bad", "good"], 20)


@pytest.mark.medium
def test_scikit_learns_own_checks_pass():
    results = check_estimator(
        TransferClassifier(**SMALL, depths="stage4"),
        expected_failed_checks=EXPECTED_FAILURES,
        on_fail=None,
        on_skip=None,
    )
    failed = {one["check_name"]: one["exception"] for one in results if one["status"] == "failed"}
    counts = Counter(one["status"] for one in results)
    assert failed == {}
    assert counts["passed"] >= 40, counts
    assert counts["xfail"] == len(EXPECTED_FAILURES)
    assert {one["check_name"] for one in results if one["status"] == "passed"} >= {
        "check_classifiers_train",
        "check_classifiers_classes",
        "check_methods_subset_invariance",
        "check_estimators_pickle",
        "check_n_features_in_after_fitting",
    }


@pytest.mark.medium
def test_it_learns_digits_that_are_laid_out_flat(digits):
    x, y = digits
    scores = cross_val_score(TransferClassifier(**SMALL, image_shape=(8, 8)), x, y, cv=2)
    assert scores.mean() > 0.8  # 0.1 is chance
    made = TransferClassifier(**SMALL).fit(x, y)
    assert made.n_features_in_ == 64
    assert made.value_range_ == (0.0, 16.0)
    assert [score.name for score in made.cv_scores_] == ["accuracy", "balanced_accuracy", "log_loss"]
    accuracy = made.cv_scores_[0]
    assert accuracy.low < accuracy.value < accuracy.high
    assert accuracy.n == 200


@pytest.mark.medium
def test_a_grid_search_around_a_pipeline_runs_each_picture_through_the_trunk_once(digits, monkeypatch):
    x, y = digits[0][:90], digits[1][:90]
    image_features.shared_image_features.cache_clear()
    passed = []
    monkeypatch.setattr(
        image_features.ImageFeatures, "_run_trunk", _counting(image_features.ImageFeatures._run_trunk, passed)
    )
    line = make_pipeline(FunctionTransformer(), TransferClassifier(**SMALL, folds=3))
    grid = {"transferclassifier__head": ["logistic", "ridge"], "transferclassifier__depths": ["stage4", "last"]}
    search = GridSearchCV(line, grid, cv=3).fit(x, y)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_score_ > 0.6
    assert sum(passed) == 90


def _counting(real, passed):
    def wrapped(self, pictures, rows):
        passed.append(len(rows))
        return real(self, pictures, rows)

    return wrapped


@pytest.mark.medium
def test_paths_and_arrays_are_the_same_pictures_up_to_decoding(shots):
    paths, arrays, y = shots
    of_files = TransferClassifier(depths="last", cache=False).fit(paths[::2], y[::2])
    of_arrays = TransferClassifier(depths="last", cache=False).fit(arrays[::2], y[::2])
    assert list(of_files.classes_) == ["bad", "good"]
    assert of_files.value_range_ is None
    assert of_files.score(paths[1::2], y[1::2]) > 0.8
    np.testing.assert_array_equal(of_files.predict(np.array(paths)), of_arrays.predict(arrays))
    np.testing.assert_allclose(of_files.predict_proba(paths), of_arrays.predict_proba(arrays), atol=0.05)
    np.testing.assert_allclose(of_arrays.predict_proba(arrays), of_files.predict_proba(arrays), atol=0.05)
    column = np.array(paths, dtype=object)[:, None]
    np.testing.assert_array_equal(of_files.predict(column), of_files.predict(paths))
    np.testing.assert_array_equal(of_files.predict(pyarrow.array(paths)), of_files.predict(paths))  # as a data frame's
    with pytest.raises(ValueError, match="must be uint8"):
        of_files.predict(arrays / 255.0)


@pytest.fixture(scope="module")
def deep():
    """24 arrays (32, 32) uint16 whose two classes differ by a stripe that 8 bits do not hold."""
    pictures = np.full((24, 32, 32), 20_000, np.uint16)
    pictures[:, 0, 0], pictures[:, 0, 1] = 0, 65_535
    pictures[1::2, 10:22] += 100
    pictures += np.random.default_rng(0).integers(0, 4, pictures.shape, np.uint16) * (pictures < 60_000)
    return pictures, np.tile(["plain", "striped"], 12)


@pytest.mark.medium
def test_values_beyond_8_bits_are_not_rounded(deep, tmp_path):
    pictures, y = deep
    assert len(np.unique(image_arrays.to_bytes(pictures[:, 1:], (0.0, 65535.0)))) == 1  # 8 bits show nothing
    paths = [tmp_path / f"{at}.png" for at in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    forms = (pictures, pictures / 65_535.0, [picture[:, : 32 - at % 2] for at, picture in enumerate(pictures)], paths)
    for shown in forms:
        model = TransferClassifier(**SMALL, depths="stage3").fit(shown[:16], y[:16])
        assert model.ranges_.precise and model.score(shown[16:], y[16:]) == 1.0
    np.testing.assert_allclose(model.predict_proba(pictures[16:]), model.predict_proba(paths[16:]), atol=1e-6)
    bytes_only = pictures[:4] // 257
    for shown in (bytes_only.astype(float), (bytes_only / 255).astype(np.float32), bytes_only // 16):
        assert not TransferClassifier(**SMALL).fit(shown, y[:4]).ranges_.precise
    np.save(tmp_path / "bands.npy", np.zeros((9, 9, 5)))
    with pytest.raises(ValueError, match="5 bands, which `headstart.fit` reads"):
        model.fit([*paths[:3], tmp_path / "bands.npy"], y[:4])


@pytest.mark.medium
def test_pictures_of_a_group_share_a_fold():
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(24), 5)
    x = draw.normal(128, 60, (24, 64))[groups] + draw.normal(0, 4, (120, 64))  # a group looks alike, a class does not
    y = draw.permutation(np.arange(24) % 2)[groups]
    alone, together = (
        TransferClassifier(**SMALL, depths="stage4").fit(x, y, groups=each).cv_scores_[0] for each in (None, groups)
    )
    assert alone.value > 0.9 > 0.75 > together.value and together.high - together.low > alone.high - alone.low
    folds = depth_search.deal_folds(y, 5, 0, groups)
    assert len(np.unique(folds)) == 5 and all(len(np.unique(folds[groups == at])) == 1 for at in range(24))
    assert depth_search.deal_folds(y, 5, 0, y) is None  # each class is one group
    with pytest.raises(ValueError, match="inconsistent numbers"):
        TransferClassifier(**SMALL).fit(x, y, groups=groups[:7])


@pytest.mark.medium
def test_pictures_count_as_much_as_they_weigh(digits):
    x, y = digits[0][:60], digits[1][:60] % 2
    weight = np.where(np.arange(60) % 3 == 0, 0.0, 2.0)
    made = TransferClassifier(**SMALL, depths="stage4").fit(x, y, sample_weight=weight)
    fewer = TransferClassifier(**SMALL, depths="stage4").fit(x[weight > 0], y[weight > 0])
    np.testing.assert_allclose(made.predict_proba(x), fewer.predict_proba(x), atol=1e-6)
    doubled = TransferClassifier(**SMALL, depths="stage4").fit(x, y, sample_weight=np.where(y == 1, 20.0, 1.0))
    plain = TransferClassifier(**SMALL, depths="stage4").fit(x, y)
    assert doubled.predict_proba(x)[:, 1].mean() > plain.predict_proba(x)[:, 1].mean()
    routed = GridSearchCV(TransferClassifier(**SMALL, depths="stage4"), {"head": ["logistic"]}, cv=2)
    assert routed.fit(x, y, sample_weight=weight).best_score_ > 0.5
    with pytest.raises(ValueError, match="at least one non-zero"):
        plain.fit(x, y, sample_weight=np.zeros(60))
    with pytest.raises(ValueError, match="`knn` cannot weigh pictures: votes count by class"):
        TransferClassifier(**SMALL, head="knn").fit(x, y, sample_weight=weight)


@pytest.mark.medium
def test_arrays_of_unequal_sizes_are_pictures_like_any(shots):
    _, arrays, y = shots
    unequal = [picture[: 250 - at, at:] for at, picture in enumerate(arrays)]
    model = TransferClassifier(**SMALL, depths="last").fit(unequal[::2], y[::2])
    assert model.score(unequal[1::2], y[1::2]) > 0.7
    objects = np.empty(len(unequal), dtype=object)
    objects[:] = unequal
    np.testing.assert_array_equal(model.predict_proba(objects), model.predict_proba(unequal))
    np.testing.assert_array_equal(model.predict_proba(arrays[:3]), model.predict_proba(list(arrays[:3])))
    np.testing.assert_array_equal(model.predict_proba([arrays[0], unequal[5]])[0], model.predict_proba(arrays[:1])[0])
    assert cross_val_score(TransferClassifier(**SMALL, depths="last"), unequal, y, cv=2).mean() > 0.7
    floats = TransferClassifier(**SMALL, depths="last").fit([picture / 255 for picture in unequal[::2]], y[::2])
    assert floats.value_range_ == (0.0, 1.0)
    np.testing.assert_allclose(floats.predict_proba([unequal[1] / 255]), model.predict_proba([unequal[1]]), atol=1e-6)
    grey = [picture[..., 0] for picture in unequal]
    assert TransferClassifier(**SMALL, depths="last").fit(grey, y).score(grey, y) > 0.7


@pytest.mark.medium
def test_vectors_of_files_are_those_of_a_fit(shots, store, monkeypatch):
    """What `headstart embed` keeps of a file is found, not made again."""
    from headstart.core.settings import cache_folder
    from headstart.core.storage.row_cache import RowStore, parse_keys

    describer = image_features.ImageFeatures("bundled:efficientnet_lite0", None, image_features.Console(quiet=True))
    files = image_features.FileImages(shots[0][:4])
    found = describer.extract_features(files)
    rows = RowStore(describer._cache_folder(), describer._column_widths())
    assert describer._cache_folder().is_relative_to(cache_folder())
    at = rows.find_rows(parse_keys(files.digests))
    assert at.min() >= 0
    np.testing.assert_array_equal(rows.map_column("last")[at], found["last"])
    again = image_features.ImageFeatures("bundled:efficientnet_lite0", None, image_features.Console(quiet=True))
    monkeypatch.setattr(again, "_ready_engine", lambda *_: pytest.fail("the trunk was asked"))
    np.testing.assert_array_equal(again.extract_features(files)["stage4"], found["stage4"])


@pytest.mark.medium
def test_the_result_is_a_plain_keras_model(shots):
    import keras

    _, arrays, y = shots
    made = TransferClassifier(depths=("stage5", "last"), cache=False).fit(arrays[::4], y[::4])
    model = made.keras_model()
    assert type(model).__module__.startswith("keras.")
    assert isinstance(model, keras.Model)
    describer = made._image_features()
    seen = np.concatenate(
        [p for _, p in image_features.ArrayImages(arrays[:6]).decode_rows(np.arange(6), describer.input)]
    )
    np.testing.assert_allclose(
        model.predict(seen.astype(np.float32), verbose=0), made.predict_proba(arrays[:6]), atol=1e-4
    )


def test_what_is_no_layer_or_not_fitted_is_told():
    with pytest.raises(NotFittedError, match="not fitted"):
        TransferClassifier().predict(np.zeros((2, 4)))
    with pytest.raises(NotFittedError, match="not fitted"):
        TransferClassifier().keras_model()


@pytest.mark.medium
def test_a_neighbours_head_has_probabilities_and_no_keras_model(digits):
    x, y = digits[0][:60], digits[1][:60]
    made = TransferClassifier(**SMALL, head="knn", depths="stage4").fit(x, y)
    np.testing.assert_allclose(made.predict_proba(x).sum(axis=1), 1.0)
    with pytest.raises(ValueError, match="`knn` is no layer"):
        made.keras_model()
    linear = TransferClassifier(**SMALL, depths="stage4").fit(x, y)
    with pytest.raises(ValueError, match="size_px=None"):
        linear.keras_model()


@pytest.mark.medium
def test_a_clone_and_a_pickled_copy_answer_the_same(digits):
    x, y = digits[0][:60], digits[1][:60]
    made = TransferClassifier(**SMALL, depths="stage4", seed=3).fit(x, y)
    twin = clone(made).fit(x, y)
    np.testing.assert_array_equal(twin.predict_proba(x), made.predict_proba(x))
    stored = pickle.dumps(made)
    assert len(stored) < 100_000  # a head, no trunk
    np.testing.assert_array_equal(pickle.loads(stored).predict_proba(x), made.predict_proba(x))


@pytest.mark.medium
def test_a_class_with_one_picture_and_a_single_class_are_learnt_without_claims(digits):
    x, y = digits[0][:30], digits[1][:30].copy()
    y[:] = 0
    assert set(TransferClassifier(**SMALL).fit(x, y).predict(x)) == {0}
    y[5] = 1
    made = TransferClassifier(**SMALL).fit(x, y)
    assert made.cv_scores_ == ()
    assert "nothing could be held out" in made.why_
    assert made.depths_ == ("last",)


@pytest.mark.medium
def test_a_rare_class_that_weighs_more_is_answered_more(digits):
    x, y = digits
    rare = (y == 8).astype(int)
    plain = TransferClassifier(**SMALL, depths="last").fit(x, rare).predict(x).sum()
    heavy = TransferClassifier(**SMALL, depths="last", class_weight={0: 1, 1: 1000}).fit(x, rare).predict(x).sum()
    assert heavy > plain


@pytest.mark.medium
@pytest.mark.parametrize(
    ("settings", "x", "match"),
    [
        ({"head": "forest"}, np.zeros((4, 4)), "no head is named 'forest'; known: knn"),
        ({"folds": 1}, np.zeros((4, 4)), "folds=1 is below 2"),
        ({"depths": "stage9"}, np.zeros((4, 4)), "stage3, stage4, stage5, last"),
        ({"image_shape": (3, 3)}, np.zeros((4, 4)), "holds 9 numbers; a row of X has 4"),
        ({"image_shape": (2,)}, np.zeros((4, 4)), "is not \\(height, width\\)"),
        ({}, np.zeros((4, 5, 5, 2)), "neither \\(N, height, width\\)"),
        ({}, np.full((4, 5, 5, 3), np.nan), "contains NaN"),
        ({}, ["a.png", "b.png", "c.png", "d.png"], "4 of 4 files are no pictures: `a.png`"),
        ({}, "a.png", "X is one path"),
        ({}, ["a.png"], "X has 1 pictures, y has 4 labels"),
        ({}, [[1, 2, 3], [1, 2], [1], [2]], "unequal sizes \\(X\\[0\\] has 3 numbers, X\\[1\\] has 2\\): pass"),
        ({}, [np.zeros(3), np.zeros(2), np.zeros(3), np.zeros(3)], "rows of X are of unequal sizes"),
        ({}, [np.zeros((4, 5)), np.zeros((4, 5), np.uint8)] * 2, "several types, float64, uint8: convert all to uint8"),
        ({}, [np.zeros((4, 5)), np.full((5, 5), np.nan)] * 2, "contains NaN"),
        ({}, [np.zeros((4, 5, 2)), np.zeros((5, 5, 2))] * 2, "neither \\(N, height, width\\)"),
    ],
    ids=lambda value: str(value)[:20].replace("\n", " "),
)
def test_what_cannot_be_used_is_a_value_error(settings, x, match):
    with pytest.raises(ValueError, match=match):
        TransferClassifier(**SMALL, **settings).fit(x, [0, 1, 0, 1])


def test_an_unknown_backbone_is_told_with_the_nearest():
    from headstart import HeadstartError

    with pytest.raises(HeadstartError, match="no backbone is named `bundled:efficientnet_light0`"):
        TransferClassifier("bundled:efficientnet_light0").fit(np.zeros((4, 4)), [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("width", "shape"),
    [
        (1, (1, 1, 1)),
        (3, (1, 1, 3)),
        (4, (2, 2, 1)),
        (5, (3, 3, 1)),
        (64, (8, 8, 1)),
        (192, (8, 8, 3)),
        (11, (4, 4, 1)),
    ],
)
def test_flat_pictures_get_a_square(width, shape):
    assert image_arrays.infer_shape(width) == shape
    assert image_arrays.unflatten_images(np.ones((2, width)), shape).sum() == 2 * width


def test_numbers_become_bytes_by_what_they_look_like():
    assert image_arrays.find_value_range(np.array([3, 200], np.uint8)) == (0.0, 255.0)
    assert image_arrays.find_value_range(np.array([0.2, 0.9])) == (0.0, 1.0)
    assert image_arrays.find_value_range(np.array([0.0, 254.0])) == (0.0, 255.0)
    assert image_arrays.find_value_range(np.array([0.0, 16.0])) == (0.0, 16.0)
    assert image_arrays.find_value_range(np.array([-3.0, 1.0])) == (-3.0, 1.0)
    np.testing.assert_array_equal(
        image_arrays.to_bytes(np.array([-9.0, 0.0, 8.0, 16.0, 99.0]), (0, 16)), [0, 0, 128, 255, 255]
    )
    assert image_arrays.to_bytes(np.array([7.0, 7.0]), (7.0, 7.0)).tolist() == [0, 0]


def test_a_picture_is_known_by_its_shape_and_bytes():
    flat = np.arange(24, dtype=np.uint8)
    wide, high = flat.reshape(1, 2, 4, 3), flat.reshape(1, 4, 2, 3)
    assert image_features.ArrayImages(wide).digests != image_features.ArrayImages(high).digests
    assert image_features.ArrayImages(wide).digests == image_features.ArrayImages(wide.copy()).digests
