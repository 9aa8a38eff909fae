"""headstart as a scikit-learn classifier: `TransferClassifier` learns from pictures in memory, files, or flat pictures.

Cross-validation inside `fit` settles which depth of the frozen trunk is read and how strongly the head is held back, so
that whatever scores the estimator from outside judges all of it. Features are kept by content: further fits on the same
pictures, as in `GridSearchCV`, run no network. No run folder is written; `headstart.fit` makes a whole run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from headstart.core import extras, registry
from headstart.core.errors import SetupError

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_array, check_consistent_length, compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError as err:
    raise SetupError(f"scikit-learn cannot be loaded: {err}", hint=extras.format_install_command("fit")) from err

from headstart.core.types import CLASSIFICATION, OWN_RANGES, PixelRanges
from headstart.heads import prediction
from headstart.sklearn import depth_search, image_arrays, image_features

AUTO = "auto"
UNFIT = {CLASSIFICATION.name, "unordered"}  # what a head cannot that classes without an order need


class TransferClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A pre-trained trunk, frozen, and a head that is fitted.

    X is one of: an array (N, height, width, 3), or without the 3 for grey; a list of N such arrays without the N, of
    any sizes; a list of N paths of picture files (or an array or a column of them); an array or a data frame (N, F) of
    flat pictures. Numbers that are not uint8 are taken for 0..1 or 0..255 where they look it, else their range in `fit`
    becomes black to white. Of files beyond 8 bits a channel the range in `fit` does. No fraction is rounded.

    Args:
        backbone: `source:preset`, see `headstart backbones`.
        depths: `auto` for what cross-validation finds best (each alone, and all together), or names such as `stage4`.
        head: `logistic`, `ridge`, `lda`, `knn` or `nearest_mean`.
        folds: Of the cross-validation inside `fit`; fewer where a class has fewer pictures.
        class_weight: None, `balanced`, or class -> weight.
        image_shape: Of flat pictures: (height, width) or (height, width, 3). None takes a colour square if F is three
            times a square, else the smallest grey square that holds F numbers.
        size_px: Height and width of what the trunk sees; None for its own. Smaller is faster and mostly less exact.
        cache: Keep features in headstart's cache on the disk too.
        verbose: Tell what is fetched and made.

    Attributes:
        classes_: (C,) labels, sorted.
        depths_: Names of the depths that the head reads.
        head_: The fitted head, a `headstart.core.types.FittedHead`.
        cv_scores_: Accuracy, balanced accuracy and log loss in cross-validation, with intervals; empty where a class
            has a single picture. The setting was searched on the same folds, so they are a little too good.
        value_range_: Numbers that are black and white; None where paths were learnt from.
        ranges_: How values beyond 8 bits are read, a `headstart.core.types.PixelRanges`.
        n_features_in_: F, where flat pictures were learnt from.
    """

    __module__ = "headstart.sklearn"  # saved estimators name it

    def __init__(
        self,
        backbone: str = "bundled:efficientnet_lite0",
        *,
        depths: Any = AUTO,
        head: str = "logistic",
        folds: int = 5,
        class_weight: Any = None,
        image_shape: Any = None,
        size_px: int | None = None,
        seed: int = 0,
        cache: bool = True,
        verbose: bool = False,
    ) -> None:
        self.backbone = backbone
        self.depths = depths
        self.head = head
        self.folds = folds
        self.class_weight = class_weight
        self.image_shape = image_shape
        self.size_px = size_px
        self.seed = seed
        self.cache = cache
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> TransferClassifier:
        """Learn from N pictures, see the class, and their labels (N,).

        Args:
            sample_weight: (N,) how much each picture counts; one of 0 is not there.
            groups: (N,) what each picture is of (a patient, a site): pictures of one share a fold inside `fit`.

        Raises:
            ValueError: X, y or a parameter cannot be used.
            headstart.HeadstartError: The backbone is unknown, or its weights cannot be had.
        """
        if y is None:
            raise ValueError("This TransferClassifier estimator requires y to be passed, but the target y is None")
        plugin = self._head_plugin()
        pictures, y = self._training_images(X, y)
        check_classification_targets(y)
        sample_weight, is_used = self._check_weights(plugin, sample_weight, y)
        y = y[is_used]
        if groups is not None:
            groups = column_or_1d(groups)
            check_consistent_length(groups, is_used)
            groups = np.unique(groups[is_used], return_inverse=True)[1]
        self.classes_, labels = np.unique(y, return_inverse=True)
        weights = None
        if self.class_weight is not None:
            weights = np.asarray(compute_class_weight(self.class_weight, classes=self.classes_, y=y), np.float64)
        features = self._image_features().extract_features(pictures, use_cache=self.cache)
        features = {name: each[is_used] for name, each in features.items()}
        training: dict[str, Any] = {"n_classes": len(self.classes_), "class_weight": weights, "seed": int(self.seed)}
        training |= {"sample_weight": sample_weight, "groups": groups}
        candidates = self._depth_candidates(features)
        result = depth_search.search_depths(plugin, features, candidates, labels, int(self.folds), **training)
        self.depths_, self.head_, self.why_, self.cv_scores_ = result.depths, result.head, result.why, result.scores
        return self

    @staticmethod
    def _check_weights(plugin: Any, sample_weight: Any, y: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """Weights of mean 1 of the pictures that count at all, and which do, (N,) bool."""
        if sample_weight is None:
            return None, np.ones(len(y), bool)
        if "weights" in plugin.cannot:
            raise ValueError(f"the head `{plugin.name}` cannot weigh pictures: {plugin.cannot['weights']}")
        weights = np.full(len(y), sample_weight) if isinstance(sample_weight, Real) else sample_weight
        weights = check_array(weights, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
        if weights.shape != (len(y),) or (weights < 0).any() or not weights.any():
            wanted = f"a weight from 0 on for each of {len(y)} pictures, at least one non-zero"
            raise ValueError(f"sample_weight.shape == {weights.shape}: needed is {wanted}")
        is_used = weights > 0
        return weights[is_used] / weights[is_used].mean(), is_used

    def predict_proba(self, X: Any) -> np.ndarray:
        """(N, C) float64, one column a class in the order of `classes_`; each row sums to 1.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
            ValueError: X cannot be used.
        """
        check_is_fitted(self, "head_")
        features = self._image_features().extract_features(self._prediction_images(X), use_cache=self.cache)
        x = depth_search.join_depths(features, self.depths_)
        exact = prediction.predict_probabilities(self.head_.kind, self.head_.arrays, x).astype(np.float64)
        return np.asarray(exact / exact.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> np.ndarray:
        """(N,) labels: the most probable class of each picture; raises as `predict_proba`."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[np.argmax(probabilities, axis=1)])

    def keras_model(self) -> Any:
        """The classifier as a plain `keras.Model`: (B, H, W, 3) float32 RGB 0..255 to (B, C) probabilities.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` was not called.
            ValueError: The head is no layer (`knn`), or `size_px` is not the trunk's own.
        """
        check_is_fitted(self, "head_")
        trunk, arrays = self._image_features(), self.head_.arrays
        if self.head_.kind != "linear":
            raise ValueError(f"a head `{self.head_.head}` is no layer of Keras: fit with head='logistic'")
        if trunk.input.size_px != trunk.spec.input.size_px:
            raise ValueError(f"a Keras model sees {trunk.spec.input.size_px} px: fit with size_px=None")
        names = [depth.name for depth in trunk.spec.depths]
        return image_features.attach_head(trunk.keras_model(), names, self.depths_, arrays["weights"], arrays["bias"])

    def _image_features(self) -> image_features.ImageFeatures:
        return image_features.shared_image_features(self.backbone, self.size_px, self.ranges_, quiet=not self.verbose)

    def _head_plugin(self) -> Any:
        plugins = {name: registry.load_plugin("heads", name) for name in registry.list_plugins("heads")}
        heads = {name: plugin for name, plugin in plugins.items() if not plugin.cannot.keys() & UNFIT}
        if self.head not in heads:
            raise ValueError(f"no head is named {self.head!r}; known: {', '.join(heads)}")
        if int(self.folds) < 2:
            raise ValueError(f"folds={self.folds!r} is below 2")
        return heads[self.head]

    def _depth_candidates(self, features: Mapping[str, np.ndarray]) -> list[tuple[str, ...]]:
        if isinstance(self.depths, str) and self.depths == AUTO:
            return [*((name,) for name in features), tuple(features)]
        depths = (self.depths,) if isinstance(self.depths, str) else tuple(self.depths)
        unknown = [name for name in depths if name not in features]
        if unknown or not depths:
            raise ValueError(f"depths {self.depths!r}: {self.backbone} has {', '.join(features)}")
        return [depths]

    def _training_images(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        for attribute in ("n_features_in_", "feature_names_in_"):  # of an earlier fit on another kind of X
            self.__dict__.pop(attribute, None)
        paths = _find_paths(X)
        numbers: Any = paths or self._find_unequal_pictures(X)
        if numbers is None:
            if not isinstance(X, np.ndarray | list | tuple) or np.ndim(X) < 3:  # flat, or none: it says what is wrong
                numbers, y = validate_data(self, X, y, dtype="numeric")
            else:
                numbers = check_array(X, allow_nd=True, dtype="numeric", input_name="X")
        y = column_or_1d(y, warn=True)
        if len(numbers) != len(y):
            raise ValueError(f"X has {len(numbers)} pictures, y has {len(y)} labels")
        if paths:
            files = image_features.FileImages(paths, measured=True)
            self.value_range_, self.ranges_ = None, files.ranges
            return files, y
        self.value_range_ = ends = image_arrays.find_value_range(numbers)
        is_deep = image_arrays.needs_fractions(numbers, ends)
        self.ranges_ = PixelRanges(integers=ends, floats=ends, precise=True) if is_deep else OWN_RANGES
        return self._make_images(numbers), y

    def _prediction_images(self, X: Any) -> Any:
        paths = _find_paths(X)
        if paths is not None:
            return image_features.FileImages(paths)
        numbers: Any = self._find_unequal_pictures(X)
        if numbers is not None:
            return self._make_images(numbers)
        if hasattr(self, "n_features_in_"):
            numbers = validate_data(self, X, reset=False, dtype="numeric")
        else:
            numbers = check_array(X, allow_nd=True, dtype="numeric", input_name="X")
        return self._make_images(numbers)

    @staticmethod
    def _find_unequal_pictures(X: Any) -> list[np.ndarray] | None:
        pictures = image_arrays.find_unequal_pictures(X)
        return pictures and [
            check_array(picture, allow_nd=True, dtype="numeric", input_name="X") for picture in pictures
        ]

    def _make_images(self, numbers: np.ndarray | list[np.ndarray]) -> image_features.ArrayImages:
        ends, dtype = self.value_range_, numbers[0].dtype
        if ends is None:
            of_files = self.ranges_.floats if dtype.kind == "f" else self.ranges_.integers
            ends = image_arrays.BYTE if dtype == np.uint8 else of_files
        if ends is None:
            raise ValueError(f"after a fit on files without such values, pictures in memory must be uint8, not {dtype}")
        scale = image_arrays.to_levels if self.ranges_.precise else image_arrays.to_bytes
        if isinstance(numbers, list):
            rgb = (image_arrays.to_rgb(scale(picture[None], ends)) for picture in numbers)
            return image_features.ArrayImages([picture[0] for picture in rgb])
        if numbers.ndim == 2:
            shape = image_arrays.infer_shape(numbers.shape[1], self.image_shape)
            numbers = image_arrays.unflatten_images(numbers, shape)
        return image_features.ArrayImages(image_arrays.to_rgb(scale(numbers, ends)))


def _find_paths(X: Any) -> list[str] | None:
    if isinstance(X, str | bytes | os.PathLike):
        raise ValueError(f"X is one path, {X!r}: pass a list of paths")
    if isinstance(X, list | tuple):
        return [os.fspath(path) for path in X] if X and all(isinstance(path, str | os.PathLike) for path in X) else None
    array = np.asarray(X) if hasattr(X, "to_numpy") else X if isinstance(X, np.ndarray) else None  # of pandas, Polars
    if array is None or array.dtype.kind not in "OUT" or not (array.ndim == 1 or array.shape[1:] == (1,)):
        return None
    return _find_paths(array.ravel().tolist())
