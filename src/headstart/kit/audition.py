"""Which changes keep the label, measured: does a head that learns from changed pictures too still know unchanged ones?

A class may be what its mirror image is not (a 2, an arrow, the left hand), and nobody need say so: then a head that
learnt mirror images under the same label is worse on pictures as they are. It is fitted on the features of pictures
and of their changed copies, and judged by cross-validation on unchanged pictures, each against the head without
copies. (That a frozen head answers otherwise for a mirror image proves nothing: on cloth it does, and mirroring helps.)
Of the domains whose changes all keep the label the one whose changes help the head's log loss most is taken; where the
head is hardly better than guessing, nothing can be heard and the strictest is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headstart.core import registry
from headstart.kit import augment, blas
from headstart.kit.augment import Policy
from headstart.kit.fitted import probabilities
from headstart.kit.intervals import Interval, mean_interval
from headstart.kit.losses import log_losses

MOST = 320  # pictures are enough
LOST = 0.01  # of the accuracy; more and a change does not keep the label
_HEAD, _PART = "logistic", 0.8  # strength over columns per picture
_LEAST = 40  # pictures
_FOLDS = 4
_BETTER = 0.1  # than always answering the most frequent class
_STRICTEST = "digits"
_WORDS = {
    "flip_x": "mirroring left and right",
    "flip_y": "mirroring up and down",
    "turn": "quarter turns",
    "rotate": "turns by up to 45 degrees",
    "colour": "other colours",
}
# What must keep the label in a domain.
_NEEDS = {
    "microscopy": ("flip_x", "flip_y", "turn", "rotate", "colour"),
    "texture": ("flip_x", "flip_y", "turn"),
    "photo": ("flip_x", "colour"),
    _STRICTEST: (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One change: the accuracy that it costs, picture by picture, with its 95 % interval, and the log loss."""

    name: str
    lost: Interval
    log_loss: float

    @property
    def keeps(self) -> bool:
        """Whether the label survives it."""
        return self.lost.value <= LOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Audition:
    """What was heard.

    Attributes:
        domain: One of `headstart.core.recipe.DOMAINS`.
        why: One sentence with numbers.
        heard: Every change that was tried.
        n: Pictures.
    """

    domain: str
    why: str
    heard: tuple[Heard, ...]
    n: int


def audition(
    features: Callable[[np.ndarray], np.ndarray], pictures: np.ndarray, y: np.ndarray, *, n_classes: int, seed: int = 0
) -> Audition:
    """Choose the domain of the augmentation by what keeps the label.

    Args:
        features: Pictures (n, S, S, 3) uint8 -> (n, D) float32 of a frozen trunk.
        pictures: (n, S, S, 3) uint8; some `MOST` are enough.
        y: (n,) int64 classes.
        n_classes: C.
        seed: Of the folds and of the draws of turns and colours.
    """
    n, fold = len(y), np.random.default_rng([seed, 31]).permutation(len(y)) % _FOLDS
    guess = float(np.bincount(y).max() / n) if n else 1.0
    plain = features(pictures) if n >= _LEAST else np.empty((0, 0), np.float32)
    p = _held_out(plain, None, y, fold, n_classes) if n >= _LEAST else np.empty((0, n_classes))
    right = p.argmax(axis=1) == y[: len(p)]
    if n < _LEAST or right.mean() < guess + _BETTER:
        told = f"accuracy {right.mean():.2f}" if len(right) else "no accuracy"
        why = (
            f"{_STRICTEST}, the strictest: on {n} pictures a head has {told} and the most frequent class {guess:.2f}, "
            "too little to hear what keeps the label"
        )
        return Audition(domain=_STRICTEST, why=why, heard=(), n=n)
    heard = []
    for name in _WORDS:
        q = _held_out(plain, features(_changed(pictures, name, seed)), y, fold, n_classes)
        lost = mean_interval(right * 1.0 - (q.argmax(axis=1) == y))
        heard.append(Heard(name=name, lost=lost, log_loss=float(np.mean(log_losses(y, q) - log_losses(y, p)))))
    domain = _best(heard)
    return Audition(domain=domain, why=_told(domain, heard, float(right.mean()), n), heard=tuple(heard), n=n)


def _best(heard: list[Heard]) -> str:
    """Of the domains whose changes all keep the label the one whose changes help the head's log loss most."""
    kept = {one.name: one.log_loss for one in heard if one.keeps}
    gains = {
        name: float(np.mean([kept[n] for n in needs]))
        for name, needs in _NEEDS.items()
        if needs and {*needs} <= {*kept}
    }
    return min(gains, key=lambda name: gains[name]) if gains else _STRICTEST


def _held_out(
    plain: np.ndarray, copies: np.ndarray | None, y: np.ndarray, fold: np.ndarray, n_classes: int
) -> np.ndarray:
    """(n, C) what the head of the other folds, which may have learnt from copies too, says of unchanged pictures."""
    found = np.zeros((len(y), n_classes))
    with blas.single():
        for k in range(_FOLDS):
            learnt = fold != k
            x, truth = plain[learnt], y[learnt]
            if copies is not None:
                x, truth = np.concatenate([x, copies[learnt]]), np.concatenate([truth, truth])
            params = [{"strength": _PART * x.shape[1] / len(x)}]
            made = registry.load("heads", _HEAD).path(
                x, truth, n_classes=n_classes, params=params, class_weight=None, seed=0
            )
            head = next(iter(made))
            found[~learnt] = probabilities(head.kind, head.arrays, plain[~learnt])
    return found


def _changed(pictures: np.ndarray, name: str, seed: int) -> np.ndarray:
    """Every picture changed, as far as a domain would at most."""
    if name == "flip_x":
        return np.ascontiguousarray(pictures[:, :, ::-1])
    if name == "flip_y":
        return np.ascontiguousarray(pictures[:, ::-1])
    if name == "turn":
        return np.ascontiguousarray(np.rot90(pictures, axes=(1, 2)))
    domain, only = {
        "rotate": ("microscopy", ("rotate",)),
        "colour": ("photo", ("brightness", "contrast", "saturation", "hue")),
    }[name]
    policy = Policy(domain=domain, strength=1.0, only=only)
    return augment.apply(pictures, policy, [(seed, place) for place in range(len(pictures))])


def _told(domain: str, heard: list[Heard], accuracy: float, n: int) -> str:
    lost = [one for one in heard if not one.keeps]
    shown = lost or sorted(heard, key=lambda one: -one.lost.value)[:1]
    costs = ", ".join(f"{_WORDS[one.name]} {_points(one.lost)}" for one in shown)
    limit = f"{100 * LOST:.0f} point"
    said = f"learning from these costs more than {limit}" if lost else f"no change costs more than {limit}"
    return f"{domain}: of a head's accuracy {accuracy:.2f} (n = {n}, cross-validated) {said}: {costs}"


def _points(lost: Interval) -> str:
    return f"{100 * lost.value:.1f} ({100 * lost.low:.1f} to {100 * lost.high:.1f})"
