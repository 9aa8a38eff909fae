"""Which changes keep the label, measured: does a head that learns from changed pictures too still know unchanged ones?

It is judged by the cross-validated loss on unchanged pictures, against a head that learnt every picture twice.
Accuracy is coarser: turned copies of 300 digits cost it 1.7 points [-0.7, 4.0], and the log loss 0.14 [0.12, 0.16]. Of
the domains whose changes all keep the label the one whose changes help most is taken; where the head is hardly better
than guessing, the strictest is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headstart.core import blas_threads, registry
from headstart.finetuning.inputs import augmentation
from headstart.finetuning.inputs.augmentation import Policy
from headstart.finetuning.objectives import Objective
from headstart.heads.prediction import predict_probabilities
from headstart.statistics.intervals import Interval, mean_interval
from headstart.statistics.losses import is_gain

MOST = 320  # pictures are enough
_PART = 0.8  # strength of the head over columns per picture
_LEAST = 40  # pictures
_FOLDS = 4
_BETTER = 0.1  # than guessing
_STRICTEST = "digits"
_TOO_LITTLE = "too little to tell what keeps the label"
CHANGES = {
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
class TransformEffect:
    """One change: the loss that it costs, picture by picture, with its 95 % interval; and what it may cost."""

    name: str
    lost: Interval
    tolerance: float

    @property
    def keeps_label(self) -> bool:
        """Whether the label survives it, as far as can be told."""
        return self.lost.value <= self.tolerance or self.lost.low <= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationCheck:
    """The domain, and why in one sentence with numbers."""

    domain: str
    why: str


def find_safe_domain(
    features: Callable[[np.ndarray], np.ndarray],
    pictures: np.ndarray,
    y: np.ndarray,
    *,
    objective: Objective,
    clusters: np.ndarray | None = None,
    seed: int = 0,
) -> AugmentationCheck:
    """Choose the domain of the augmentation by what keeps the label.

    `features` are of a frozen trunk: pictures (n, S, S, 3) -> (n, D) float32; inner feature levels tell most, for
    the last one was taught that a mirror image is the same. `y` are the (n, …) targets; no fold tears one of
    `clusters` (n,) apart.
    """
    n, labels = len(y), np.unique(np.arange(len(y)) if clusters is None else clusters, return_inverse=True)[1]
    fold = (np.random.default_rng([seed, 31]).permutation(int(labels.max(initial=0)) + 1) % _FOLDS)[labels]
    if n < _LEAST:
        return AugmentationCheck(domain=_STRICTEST, why=f"{_STRICTEST}, the strictest: {n} pictures are {_TOO_LITTLE}")
    plain = features(pictures)
    p = _held_out_answers(plain, plain, y, fold, objective)
    skill, guess = objective.measure_skill(y, p)
    if skill.value < guess + _BETTER or skill.low <= guess:
        skill_name, guess_name = objective.skill_names
        how = f"on {n} pictures a head has {skill_name} {skill.value:.2f} and {guess_name} {guess:.2f}, {_TOO_LITTLE}"
        return AugmentationCheck(domain=_STRICTEST, why=f"{_STRICTEST}, the strictest: {how}")
    losses = objective.list_losses(y, p)
    tolerance, effects = objective.find_tolerance(y), []
    for name in CHANGES:
        q = _held_out_answers(plain, features(_change_pictures(pictures, name, seed)), y, fold, objective)
        effects.append(
            TransformEffect(name=name, lost=mean_interval(objective.list_losses(y, q) - losses), tolerance=tolerance)
        )
    domain = _best_domain(effects)
    return AugmentationCheck(
        domain=domain, why=_format_reason(domain, effects, objective.metric, float(losses.mean()), n)
    )


def _best_domain(effects: list[TransformEffect]) -> str:
    losses = {effect.name: effect.lost.value for effect in effects if effect.keeps_label}
    gains = {
        name: float(np.mean([losses[n] for n in needs]))
        for name, needs in _NEEDS.items()
        if needs and {*needs} <= {*losses}
    }
    return min(gains, key=lambda name: gains[name]) if gains else _STRICTEST


def _held_out_answers(
    plain: np.ndarray, copies: np.ndarray, y: np.ndarray, fold: np.ndarray, objective: Objective
) -> np.ndarray:
    """(n, C) answers for unchanged pictures by the heads of the other folds, which learnt from copies too."""
    p = np.zeros((len(y), objective.outputs))
    with blas_threads.single_blas_thread():
        for k in range(_FOLDS):
            learnt = fold != k
            x, truth = np.concatenate([plain[learnt], copies[learnt]]), np.concatenate([y[learnt]] * 2)
            params = [{"strength": _PART * x.shape[1] / len(x)}]
            heads = registry.load_plugin("heads", objective.start).path(
                x, truth, n_classes=objective.outputs, params=params, class_weight=None, seed=0
            )
            head = next(iter(heads))
            p[~learnt] = predict_probabilities(head.kind, head.arrays, plain[~learnt])
    return p


def _change_pictures(pictures: np.ndarray, name: str, seed: int) -> np.ndarray:
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
    return augmentation.augment_pictures(pictures, policy, [(seed, place) for place in range(len(pictures))])


def _format_reason(domain: str, effects: list[TransformEffect], metric: str, loss: float, n: int) -> str:
    lost = [effect for effect in effects if not effect.keeps_label]
    shown = lost or sorted(effects, key=lambda effect: -effect.lost.value)[:1]
    costs = ", ".join(f"{CHANGES[effect.name]} {_format_interval(effect.lost)}" for effect in shown)
    limit = f"more than {effects[0].tolerance:.2g}"
    costly = f"learning from these costs {limit}" if lost else f"no change costs {limit} for certain"
    name = f"{'1 - ' if is_gain(metric) else ''}{metric.replace('_', ' ')}"
    return f"{domain}: of a head's {name} {loss:.2f} (n = {n}, cross-validated) {costly}: {costs}"


def _format_interval(lost: Interval) -> str:
    return f"{lost.value:+.3f} [{lost.low:+.3f}, {lost.high:+.3f}]"
