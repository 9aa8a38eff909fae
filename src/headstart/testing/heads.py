"""What every head must do: `check_head(head)` raises AssertionError with the sentence that does not hold.

It fits the head on small made-up sets; warnings count as failures. For heads of this package and of others alike.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from headstart.core.types import FittedHead, Head
from headstart.heads import prediction

ARRAYS = {
    "linear": {"weights", "bias"},
    "linear_identity": {"weights", "bias"},
    "linear_sigmoid": {"weights", "bias"},
    "neighbours": {"points", "labels", "centre", "scale", "k", "vote", "prior"},
}


class Sample(NamedTuple):
    """Features (M, D) float32, classes (M,) int64, number of classes."""

    x: np.ndarray
    y: np.ndarray
    n_classes: int


def make_sample(
    n: int = 120, dim: int = 12, n_classes: int = 3, *, apart: float = 3.0, seed: int = 0, ordered: bool = False
) -> Sample:
    """Gaussian classes `apart` standard deviations from each other, in columns of different size.

    `ordered` ones lie on a line, in their order.
    """
    rng = np.random.default_rng([seed, n, dim])
    y = np.arange(n) % n_classes
    centres = rng.normal(size=(n_classes, dim))
    centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
    if ordered:
        centres = centres[0] * np.arange(n_classes)[:, None]
    x = (rng.normal(size=(n, dim)) + centres[y]) * rng.uniform(0.5, 20, dim) + rng.uniform(-30, 30, dim)
    return Sample(x.astype(np.float32), y.astype(np.int64), n_classes)


def shape_targets(head: Head, y: np.ndarray, n_classes: int) -> np.ndarray:
    """Classes (M,) as the head takes them: (M, C) bool where it answers with several labels."""
    return np.eye(n_classes, dtype=bool)[y] if "one_label" in head.cannot else y


def fit_grid(head: Head, on: Sample, *, class_weight: np.ndarray | None = None, seed: int = 0) -> list[FittedHead]:
    """One fitted head for each entry of the head's own grid."""
    grid = head.grid(len(on.x), on.x.shape[1], on.n_classes)
    y = shape_targets(head, on.y, on.n_classes)
    fitted = head.path(on.x, y, n_classes=on.n_classes, params=grid, class_weight=class_weight, seed=seed)
    return list(fitted)


def predict_probabilities(fitted: FittedHead, x: np.ndarray) -> np.ndarray:
    """(B, C) what the runtime answers."""
    return prediction.predict_probabilities(fitted.kind, fitted.arrays, x)


def check_head(head: Head) -> None:
    """Run the whole suite on a plugin of the kind `heads`; raises AssertionError with what does not hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for check in list_checks(head):
            check(head)


def _expect(holds: Any, head: Head, sentence: str) -> None:
    if not holds:
        raise AssertionError(f"head `{head.name}`: {sentence}")


def _expect_sound(head: Head, fitted: FittedHead, x: np.ndarray, n_classes: int, case: str) -> np.ndarray:
    p = predict_probabilities(fitted, x)
    _expect(p.shape == (len(x), n_classes) and p.dtype == np.float32, head, f"{case}: not (B, C) float32")
    _expect(np.isfinite(p).all() and (p >= 0).all(), head, f"{case}: a probability is negative or not finite")
    _expect(np.allclose(p.sum(axis=1), 1, atol=1e-5), head, f"{case}: probabilities do not sum to 1")
    return p


def check_grid(head: Head) -> None:
    """Settings exist for any size, differ from each other, and are plain JSON."""
    import json

    for n, dim, classes in ((4, 3, 2), (100, 2000, 10), (50_000, 64, 3)):
        grid = [dict(params) for params in head.grid(n, dim, classes)]
        _expect(grid, head, f"the grid is empty for {n} pictures")
        _expect(len({json.dumps(p, sort_keys=True) for p in grid}) == len(grid), head, "the grid repeats a setting")


def check_order_and_arrays(head: Head) -> None:
    """One fitted head a setting, in order; arrays are float32 and complete; the parameters are counted."""
    on = make_sample()
    fitted_heads, grid = fit_grid(head, on), list(head.grid(len(on.x), on.x.shape[1], on.n_classes))
    is_ordered = [dict(fitted.params) for fitted in fitted_heads] == list(map(dict, grid))
    _expect(is_ordered, head, "the path is not in the grid's order")
    for each in fitted_heads:
        _expect(each.head == head.name, head, f"it signs as `{each.head}`")
        _expect(set(each.arrays) == ARRAYS.get(each.kind), head, f"its arrays are {sorted(each.arrays)}")
        kinds = {str(a.dtype) for a in each.arrays.values() if a.dtype.kind == "f"}
        _expect(kinds == {"float32"}, head, f"its numbers are {kinds}, not float32")
        _expect(each.trainable_params > 0, head, "it counts no trainable parameters")
        y = shape_targets(head, on.y, 3)
        alone = next(iter(head.path(on.x, y, n_classes=3, params=[each.params], class_weight=None, seed=0)))
        gap = np.abs(predict_probabilities(alone, on.x) - predict_probabilities(each, on.x)).max()
        _expect(gap < 2e-3, head, f"with {dict(each.params)} alone it differs by {gap:.1e} from the path's")


def check_separable(head: Head) -> None:
    """Some setting learns classes that are far apart, on pictures it has not seen, and is sure of them.

    One that cannot learn `unordered` classes gets ordered ones.
    """
    on = make_sample(240, apart=7.0, ordered="unordered" in head.cannot)
    train, test = Sample(on.x[:120], on.y[:120], 3), Sample(on.x[120:], on.y[120:], 3)
    right, sure = 0.0, 0.0
    for fitted in fit_grid(head, train):
        p = _expect_sound(head, fitted, test.x, 3, "separable classes")
        right = max(right, float((p.argmax(axis=1) == test.y).mean()))
        sure = max(sure, float(np.exp(np.log(np.maximum(p[np.arange(120), test.y], 1e-9)).mean())))
    _expect(right > 0.95, head, f"{right:.2f} right on classes that are 7 deviations apart")
    _expect(sure > 0.6, head, f"it gives the truth {sure:.2f} on classes that are 7 deviations apart")


def check_noise(head: Head) -> None:
    """On noise some setting is about as honest as the classes' shares."""
    on = make_sample(400, apart=0.0)
    losses = []
    for fitted in fit_grid(head, Sample(on.x[:200], on.y[:200], 3)):
        p = predict_probabilities(fitted, on.x[200:])
        losses.append(-np.log(np.maximum(p[np.arange(200), on.y[200:]], 1e-7)).mean())
    _expect(min(losses) < np.log(3) + 0.1, head, f"its best log loss on noise is {min(losses):.2f}, chance is 1.10")


def check_scale(head: Head) -> None:
    """Other units of a column change nothing."""
    on = make_sample()
    rng = np.random.default_rng(1)
    other = (on.x * rng.uniform(0.1, 10, on.x.shape[1]) + rng.uniform(-5, 5, on.x.shape[1])).astype(np.float32)
    for a, b in zip(fit_grid(head, on), fit_grid(head, on._replace(x=other)), strict=True):
        gap = np.abs(predict_probabilities(a, on.x) - predict_probabilities(b, other)).max()
        _expect(gap < 2e-3, head, f"other units of the columns change probabilities by {gap:.1e}")


def check_missing_class(head: Head) -> None:
    """A class that is not there to be learnt gets probability 0; a lone class gets all."""
    on = make_sample()
    for fitted in fit_grid(head, Sample(on.x, np.where(on.y == 1, 3, on.y), 5)):
        p = _expect_sound(head, fitted, on.x, 5, "missing classes")
        _expect(p[:, [1, 4]].max() < 1e-6, head, "a class that was never seen gets probability")
    for fitted in fit_grid(head, Sample(on.x, np.full(len(on.y), 2), 3)):
        p = _expect_sound(head, fitted, on.x, 3, "one class")
        _expect(p[:, 2].min() > 0.999, head, "the only class does not get all probability")


def check_odd_shapes(head: Head) -> None:
    """More columns than rows, constant, repeated and dead columns, repeated rows, two pictures a class."""
    wide, on = make_sample(30, 200), make_sample()
    dead = on.x.copy()
    dead[:, 0], dead[:, 1], dead[:, 2] = 7.25, on.x[:, 3], 0.0
    dead[5, 2] = 1e-3
    cases: dict[str, Sample] = {
        "more columns than rows": wide,
        "constant and repeated columns": on._replace(x=dead),
        "only constant columns": on._replace(x=np.full_like(on.x, 3.0)),
        "repeated rows": Sample(np.repeat(on.x[:6], 5, axis=0), np.repeat(on.y[:6], 5), 3),
        "two pictures a class": Sample(on.x[:6], on.y[:6], 3),
        "one picture a class": Sample(on.x[:3], on.y[:3], 3),
        "large numbers": on._replace(x=on.x * 1e6),
        "small numbers": on._replace(x=on.x * 1e-6),
    }
    for name, sample in cases.items():
        for fitted in fit_grid(head, sample):
            _expect_sound(head, fitted, sample.x, sample.n_classes, name)


def check_class_weight(head: Head) -> None:
    """More weight on a class raises its recall among overlapping classes, or leaves it where it is."""
    on = make_sample(300, 6, 2, apart=0.7)
    for plain, weighted in zip(fit_grid(head, on), fit_grid(head, on, class_weight=np.array([1.0, 8.0])), strict=True):
        unweighted, after = (predict_probabilities(fitted, on.x)[:, 1].mean() for fitted in (plain, weighted))
        fall = f"8 times the weight takes a class from {unweighted:.3f} to {after:.3f} on average"
        _expect(after >= unweighted, head, fall)
    _expect(after > unweighted + 0.01 or plain.params.get("k") == 1, head, "class weights change nothing")


def check_sample_weight(head: Head) -> None:
    """A picture of weight 3 counts as three pictures, unless the head says that it cannot weigh pictures."""
    if "weights" in head.cannot:
        return
    on = make_sample(300, 5, 3, apart=1.5)
    weight = np.where((on.y == 0) | (on.x[:, 0] > np.median(on.x[:, 0])), 3, 1)
    copies = Sample(np.repeat(on.x, weight, axis=0), np.repeat(on.y, weight), 3)
    shared: dict[str, Any] = {"n_classes": 3, "params": head.grid(300, 5, 3), "class_weight": None, "seed": 0}
    y, y_copies = (shape_targets(head, each.y, 3) for each in (on, copies))
    weighted = head.path(on.x, y, sample_weight=weight / weight.mean(), **shared)
    for fits in zip(weighted, head.path(copies.x, y_copies, **shared), fit_grid(head, on), strict=True):
        p, of_copies, unweighted = (predict_probabilities(fitted, on.x) for fitted in fits)
        gap, change = np.abs(p - of_copies).max(), np.abs(p - unweighted).max()
        _expect(change > 0.1, head, "sample weights change nothing")
        _expect(gap < 0.2 * change, head, f"weights move an answer by {change:.3f}, copies by {gap:.3f} more or less")


def check_determinism(head: Head) -> None:
    """The same features and seed give the same arrays, bit for bit; nothing given is changed."""
    on = make_sample(90, 40)
    copies = on.x.copy(), on.y.copy()
    for a, b in zip(fit_grid(head, on, seed=3), fit_grid(head, on, seed=3), strict=True):
        is_same = a.arrays.keys() == b.arrays.keys() and all(np.array_equal(a.arrays[n], b.arrays[n]) for n in a.arrays)
        _expect(is_same, head, "two fits differ")
    _expect(np.array_equal(copies[0], on.x) and np.array_equal(copies[1], on.y), head, "it changed what it was given")
    on.x.flags.writeable = False
    fit_grid(head, on)


def check_batches(head: Head) -> None:
    """One picture gets the answer that it gets among others, and settings answered together answer as alone."""
    on = make_sample()
    fitted_heads = fit_grid(head, on)
    for fitted, together in zip(fitted_heads, prediction.predict_many(fitted_heads, on.x), strict=True):
        batched = predict_probabilities(fitted, on.x)
        alone = np.concatenate([predict_probabilities(fitted, on.x[i : i + 1]) for i in range(8)])
        _expect(np.allclose(batched[:8], alone, atol=1e-5), head, "a picture alone is answered otherwise")
        _expect(np.allclose(batched, together, atol=1e-5), head, "settings answered together differ")


CHECKS: tuple[Callable[[Head], None], ...] = (
    check_grid,
    check_order_and_arrays,
    check_separable,
    check_noise,
    check_scale,
    check_missing_class,
    check_odd_shapes,
    check_class_weight,
    check_sample_weight,
    check_determinism,
    check_batches,
)
OF_CLASSES = (check_separable, check_noise, check_missing_class, check_odd_shapes, check_class_weight)


def list_checks(head: Head) -> tuple[Callable[[Head], None], ...]:
    """The checks that a head is asked: one that answers with numbers is not asked what is true of classes alone."""
    return tuple(check for check in CHECKS if "classification" not in head.cannot or check not in OF_CLASSES)
