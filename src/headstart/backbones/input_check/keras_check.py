"""Whether a trunk's first layer sees what it was trained on: the detector of wrong preprocessing.

A batch norm remembers mean and variance of what came out of the first convolution in training. The same numbers on
pictures of today tell whether the scaling is the one of the training. The pictures may be dark, flat, grey or rough, so
their fine structure is smoothed, their brightness and contrast are brought to those of photographs, and filters that
answer to plain brightness count most: then only the scaling is left to differ. The distance is the Kullback-Leibler
divergence of two normal distributions, averaged over filters. On EfficientNet-Lite0/1/2 and photographs, textiles, dark
and blurred X-ray-like pictures, flat bright ones and digits it is at most 0.04 with the right scaling and at least 0.6
with any other usual one; on white noise at most 0.22 with the right one.

The published VGG weights have no batch norm. They were trained on centred numbers of about -128..128, and there nearly
every first unit switches between on and off: their mean entropy is 0.93 bits or more on the sets above, 0.66 or less
with another scaling. Of other trunks it is only told whether their graph scales as their spec states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from headstart.core.console import Console
from headstart.core.types import BackboneSpec
from headstart.images.normalization import USUAL, flat, natural, scaled

FITS, GOOD, FAR = 0.25, 0.1, 5.0  # distances: below it fits; a better scaling must reach; no pictures explain
SWITCHES, SWITCHING, STEP = 0.82, 0.9, 0.1  # bits: above it fits; a better scaling must reach, and gain
_VGG = ("bundled:vgg16_hed", "keras_applications:vgg16", "keras_applications:vgg19")
_PASSIVE = ("ZeroPadding2D", "MaxPooling2D", "AveragePooling2D")
_DEAD, _BRIGHT = 1e-2, 0.02  # variance over the median's; gain for brightness that some filter must have
_MOST = 1e6  # distances are cut off here


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the first layer tells.

    Attributes:
        verdict: `fits`, `wrong` or `cannot tell`.
        how: What it rests on.
        now: The present scaling's distance (batch norm) or entropy in bits (switching units); None without.
        usual: The same of the usual scalings.
        best: The usual scaling that fits where the present one does not, or empty.
        sentence: All of it in words.
    """

    verdict: str
    how: str
    sentence: str
    now: float | None = None
    usual: Mapping[str, float]
    best: str = ""


def examine(model: Any, spec: BackboneSpec, pictures: np.ndarray) -> Finding:
    """Look at what reaches a trunk's first convolution.

    Args:
        model: The trained `keras.Model` from (B, H, W, 3) float32 RGB 0..255, its scaling inside.
        spec: What is stated of it.
        pictures: (n, H, W, 3) uint8, real ones.
    """
    if flat(pictures):
        return silent("pictures", "the pictures are of one colour, which tells nothing of the scaling")
    stem = _stem(model)
    if stem is None:
        return silent("none", "the first layer that learns is no plain convolution of three channels")
    x = natural(pictures.astype(np.float64))
    seen, tried = _seen(stem, x), {name: scaled(x, one) for name, one in USUAL.items()}
    if stem.norm is not None:
        return by_norm(lambda given: distance(stem, given), seen, tried)
    if spec.name in _VGG:
        return _by_switching(stem, seen, tried)
    return _by_spec(seen, x, spec)


def warn(finding: Finding, name: str, console: Console) -> None:
    """Warn of a wrong preprocessing, with the fix."""
    if finding.verdict == "wrong":
        fix = f"; give its input the scaling `{finding.best}`" if finding.best else ""
        console.print_warning(f"{name}: {finding.sentence}{fix}, or its features are worth little")


# ---------------------------------------------------------------- the graph


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stem:
    """The first convolution, what leads to it, and the batch norm behind it if there is one."""

    front: Any
    conv: Any
    between: tuple[Any, ...]
    norm: Any


def _stem(model: Any) -> _Stem | None:
    """The first layer with weights, if it is a plain convolution of three channels."""
    import keras

    from headstart.networks import blocks

    first = next((one for one in getattr(model, "operations", ()) if blocks.learnt(one)), None)
    if not isinstance(first, keras.layers.Conv2D) or first.groups != 1 or first.kernel.shape[2] != 3:
        return None
    norm = next((one for one in model.operations if isinstance(one, keras.layers.BatchNormalization)), None)
    between = _between(first, norm, blocks.producing(model)) if norm is not None else None
    plain = first.activation is keras.activations.linear and between is not None
    front = None if first.input is model.inputs[0] else keras.Model(model.inputs[0], first.input)
    return _Stem(front=front, conv=first, between=tuple(between or ()), norm=norm if plain else None)


def _between(first: Any, norm: Any, producers: Mapping[int, Any]) -> list[Any] | None:
    """Paddings and poolings that lie between the convolution and the batch norm; None if anything else does."""
    found: list[Any] = []
    above = producers[id(norm.input)]
    while type(above).__name__ in _PASSIVE:
        found.insert(0, above)
        above = producers[id(above.input)]
    return found if above is first else None


def _seen(stem: _Stem, x: np.ndarray) -> np.ndarray:
    """What the convolution gets of pictures (n, H, W, 3) 0..255."""
    return x.astype(np.float32) if stem.front is None else _numpy(stem.front(x.astype(np.float32)))


def _answers(stem: _Stem, seen: np.ndarray) -> Iterator[np.ndarray]:
    """(h * w, C) what comes out before the batch norm or the activation, picture by picture to spare memory."""
    import keras

    for one in seen:
        if stem.norm is None:
            settings = {"strides": stem.conv.strides, "padding": stem.conv.padding}
            found = keras.ops.conv(one[None], stem.conv.kernel, **settings)
            found = found if stem.conv.bias is None else found + stem.conv.bias
        else:
            found = stem.conv(one[None])
            for layer in stem.between:
                found = layer(found)
        yield _numpy(found).reshape(-1, found.shape[-1])


def _numpy(of: Any) -> np.ndarray:
    """Of a tensor or a variable."""
    import keras

    variable = isinstance(of, keras.Variable)
    found: np.ndarray = np.asarray(of.numpy() if variable else keras.ops.convert_to_numpy(of))
    return found


# ---------------------------------------------------------------- by batch norm


def distance(stem: _Stem, seen: np.ndarray) -> float | None:
    """How far the answers are from those that the batch norm remembers.

    Args:
        stem: With a batch norm.
        seen: (n, H, W, 3) float32 what the convolution gets.

    Returns:
        As `apart`.
    """
    mean, var = (_numpy(one).astype(np.float64) for one in (stem.norm.moving_mean, stem.norm.moving_variance))
    return apart(mean, var, _numpy(stem.conv.kernel).astype(np.float64), _answers(stem, seen))


def apart(mean: np.ndarray, var: np.ndarray, kernel: np.ndarray, answers: Iterator[np.ndarray]) -> float | None:
    """How far answers are from those that a batch norm remembers.

    Args:
        mean: (C,) float64.
        var: (C,) float64.
        kernel: (h, w, 3, C) float64 of the convolution.
        answers: (places, C) a picture, what it gives.

    Returns:
        Mean Kullback-Leibler divergence of normal distributions over the filters that are alive, weighted by their
        gain for plain brightness; None where no filter answers to brightness.
    """
    power = np.maximum((kernel**2).sum(axis=(0, 1, 2)), 1e-30)
    gain = kernel.sum(axis=(0, 1, 2)) ** 2 / kernel[..., 0].size / power
    gain = np.where(var > _DEAD * np.median(var), gain, 0.0)
    if not gain.max() >= _BRIGHT:
        return None
    count, total, squares = 0, np.zeros(len(mean)), np.zeros(len(mean))
    for one in answers:
        count += len(one)
        total += one.sum(axis=0, dtype=np.float64)
        squares += np.square(one, dtype=np.float64).sum(axis=0)
    found = total / count
    ratio = np.maximum(squares / count - found**2, 1e-12) / np.maximum(var, 1e-30)
    far = 0.5 * (ratio + (found - mean) ** 2 / np.maximum(var, 1e-30) - 1 - np.log(ratio))
    return min(float((gain * far).sum() / gain.sum()), _MOST)


def by_norm(far: Callable[[np.ndarray], float | None], seen: np.ndarray, tried: Mapping[str, np.ndarray]) -> Finding:
    """What the distances of the present scaling and of the usual ones tell.

    Args:
        far: `apart` of what the convolution gets, (n, H, W, 3).
        seen: What it gets now.
        tried: The same by the names of the usual scalings.
    """
    how = "batch norm behind the first convolution"
    now = far(seen)
    if now is None:
        return silent(how, "no filter of the first convolution answers to plain brightness")
    usual = {name: far(one) or 0.0 for name, one in tried.items()}
    best = min(usual, key=lambda name: usual[name])
    got = f"it gets numbers of mean {seen.mean():.3g} and deviation {seen.std():.3g}"
    told = f"its answers are {now:.3g} from what its batch norm remembers (below {FITS} fits)"
    made = partial(Finding, how=how, now=now, usual=usual)
    if now < FITS:
        return made(verdict="fits", sentence=f"the first layer sees what it was trained on: {told}")
    if usual[best] <= GOOD:
        said = f"the first layer does not see what it was trained on: {got}, and {told}; scaled to `{best}`"
        return made(verdict="wrong", best=best, sentence=f"{said} it is {usual[best]:.2g}")
    if now >= FAR:
        said = f"the first layer does not see what it was trained on: {got}, and {told}"
        return made(verdict="wrong", sentence=f"{said}; none of the usual scalings fits")
    return made(verdict="cannot tell", sentence=f"{told}, and no usual scaling is clearly better")


# ---------------------------------------------------------------- without batch norm


def switching(stem: _Stem, seen: np.ndarray) -> float:
    """Mean entropy, in bits, of whether a unit of the first layer is on.

    Args:
        stem: Of a convolution with a rectifier.
        seen: (n, H, W, 3) float32 what it gets.
    """
    parts = [(answers > 0).mean(axis=0) for answers in _answers(stem, seen)]
    on = np.clip(np.mean(parts, axis=0), 1e-9, 1 - 1e-9)
    return float(-(on * np.log2(on) + (1 - on) * np.log2(1 - on)).mean())


def _by_switching(stem: _Stem, seen: np.ndarray, tried: Mapping[str, np.ndarray]) -> Finding:
    now, usual = switching(stem, seen), {name: switching(stem, one) for name, one in tried.items()}
    best = max(usual, key=lambda name: usual[name])
    made = partial(Finding, how="how often the first units switch", now=now, usual=usual)
    told = f"its units switch with an entropy of {now:.2f} bits (above {SWITCHES} fits)"
    if now > SWITCHES:
        said = f"the first layer sees what it was trained on: {told}; the order of the channels cannot be told"
        return made(verdict="fits", sentence=said)
    if usual[best] >= SWITCHING and usual[best] - now >= STEP:
        got = f"it gets numbers of mean {seen.mean():.3g} and deviation {seen.std():.3g}"
        said = f"the first layer does not see what it was trained on: {got}, and {told}; scaled to `{best}`"
        return made(verdict="wrong", best=best, sentence=f"{said} it is {usual[best]:.2f}")
    return made(verdict="cannot tell", sentence=f"{told}, and no usual scaling is clearly better")


def _by_spec(seen: np.ndarray, x: np.ndarray, spec: BackboneSpec) -> Finding:
    """Whether the graph does what is stated; what the weights want cannot be seen."""
    how = "what the spec states"
    want, raw = scaled(x, spec.input), x.astype(np.float32)
    if not _equal(want, raw) and _equal(seen, raw):
        said = "the spec states a scaling, but the graph hands pictures on as they are: `build` must scale them"
        return Finding(verdict="wrong", how=how, usual={}, sentence=said)
    done = "the graph scales as the spec states; " if _equal(seen, want) else ""
    return silent(how, f"{done}there is no batch norm behind the first layer, so what it was trained on cannot be seen")


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max() <= 1e-3 * np.abs(b).max())


def silent(how: str, why: str) -> Finding:
    """That nothing can be told, and why."""
    return Finding(verdict="cannot tell", how=how, usual={}, sentence=why)
