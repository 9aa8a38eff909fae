"""Whether a trunk's first layer sees what it was trained on: the detector of wrong preprocessing.

A batch norm remembers mean and variance of what the first convolution gave in training. Pictures are smoothed and
brought to photographs' brightness and contrast, so that only the scaling can differ. The distance is the
Kullback-Leibler divergence of two normal distributions, averaged over filters, those that answer to plain brightness
most. On EfficientNet-Lite0/1/2 and photographs, textiles, dark and blurred X-ray-like pictures, flat bright ones and
digits it is at most 0.04 with the right scaling, at least 0.6 with any other usual one; on white noise at most 0.22.

VGG has no batch norm; with its centred numbers of about -128..128 nearly every first unit switches between on and off:
their mean entropy is 0.93 bits or more on the sets above, 0.66 or less with another scaling. Of other trunks it is only
told whether their graph scales as their spec states. Frozen graphs and random weights are not checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core.console import Console
from headstart.core.storage.cache import Store
from headstart.core.storage.serialization import save_value
from headstart.core.types import BackboneSpec
from headstart.images.normalization import USUAL, are_one_colour, match_photographs, scale_pictures

FITS, GOOD, FAR = 0.25, 0.1, 5.0  # distances: below it fits; a better scaling must reach; no pictures explain
SWITCHES, SWITCHING, STEP = 0.82, 0.9, 0.1  # bits: above it fits; a better scaling must reach, and gain
_VGG = ("bundled:vgg16_hed", "keras_applications:vgg16", "keras_applications:vgg19")
_PASSIVE = ("ZeroPadding2D", "MaxPooling2D", "AveragePooling2D")
_DEAD, _BRIGHT = 1e-2, 0.02  # variance over the median's; gain for brightness that some filter must have
_LARGEST_DISTANCE = 1e6
_PICTURES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFinding:
    """What the first layer tells.

    Attributes:
        verdict: `fits`, `wrong` or `cannot tell`.
        how: What it rests on.
        now: The present scaling's distance (batch norm) or entropy in bits (switching units); None without.
        usual: The same of the usual scalings.
        best: The usual scaling that fits where the present one does not, or empty.
    """

    verdict: str
    how: str
    sentence: str
    now: float | None = None
    usual: Mapping[str, float]
    best: str = ""


def check_cached_trunk(
    trunk: ResolvedBackbone, model: Any, folder: Path, store: Store, pictures: np.ndarray, console: Console
) -> None:
    """Check the first layer of a source's trained trunk in the cache, once; a wrong preprocessing is warned of.

    Without a `model` it is built, where its weights are at hand. The finding is kept under the name of `folder`, a
    digest; `pictures` are (n, H, W, 3) uint8, real ones.
    """
    key = {"first_layer": folder.name}
    if store.find_entry("findings", key) or (model is None and not trunk.source.available(trunk.preset, store)):
        return
    from headstart.networks.framework_state import silence_frameworks

    with silence_frameworks():
        finding = check_input(model or trunk.build(store), trunk.spec, pictures)
    store.make_entry("findings", key, lambda draft: save_value(finding, draft))
    warn_of_wrong_input(finding, trunk.name, console)


def check_input(model: Any, spec: BackboneSpec, pictures: np.ndarray) -> InputFinding:
    """Look at what reaches the first convolution of a trained `keras.Model` from (B, H, W, 3) float32 RGB 0..255.

    Of `pictures`, (n, H, W, 3) uint8 and real ones, the first eight are used.
    """
    pictures = pictures[:_PICTURES]
    if are_one_colour(pictures):
        return _cannot_tell("pictures", "the pictures are of one colour, which tells nothing of the scaling")
    stem = _find_stem(model)
    if stem is None:
        return _cannot_tell("none", "the first layer that learns is no plain convolution of three channels")
    x = match_photographs(pictures.astype(np.float64))
    raw = x.astype(np.float32)
    stem_input = raw if stem.front is None else _to_numpy(stem.front(raw))
    usual_inputs = {name: scale_pictures(x, how) for name, how in USUAL.items()}
    if stem.norm is not None:
        return _judge_by_norm(stem, stem_input, usual_inputs)
    if spec.name in _VGG:
        return _judge_by_switching(stem, stem_input, usual_inputs)
    return _judge_by_spec(stem_input, x, spec)


def warn_of_wrong_input(finding: InputFinding, name: str, console: Console) -> None:
    """Warn of a wrong preprocessing, with the fix."""
    if finding.verdict == "wrong":
        fix = f"; give its input the scaling `{finding.best}`" if finding.best else ""
        console.print_warning(f"{name}: {finding.sentence}{fix}, or its features are worth little")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stem:
    """The first convolution, what leads to it, and the batch norm behind it if there is one."""

    front: Any
    conv: Any
    between: tuple[Any, ...]
    norm: Any


def _find_stem(model: Any) -> _Stem | None:
    """The first layer with weights, if it is a plain convolution of three channels."""
    import keras

    from headstart.networks import blocks

    first = next((layer for layer in getattr(model, "operations", ()) if blocks.is_trainable(layer)), None)
    if not isinstance(first, keras.layers.Conv2D) or first.groups != 1 or first.kernel.shape[2] != 3:
        return None
    norm = next((layer for layer in model.operations if isinstance(layer, keras.layers.BatchNormalization)), None)
    between = _layers_between(first, norm, blocks.map_producers(model)) if norm is not None else None
    plain = first.activation is keras.activations.linear and between is not None
    front = None if first.input is model.inputs[0] else keras.Model(model.inputs[0], first.input)
    return _Stem(front=front, conv=first, between=tuple(between or ()), norm=norm if plain else None)


def _layers_between(first: Any, norm: Any, producers: Mapping[int, Any]) -> list[Any] | None:
    """Paddings and poolings between the convolution and the batch norm; None if anything else lies there."""
    layers: list[Any] = []
    above = producers[id(norm.input)]
    while type(above).__name__ in _PASSIVE:
        layers.insert(0, above)
        above = producers[id(above.input)]
    return layers if above is first else None


def _stem_answers(stem: _Stem, stem_input: np.ndarray) -> Iterator[np.ndarray]:
    """(h * w, C) what comes out before the batch norm or the activation, picture by picture to spare memory."""
    import keras

    for picture in stem_input:
        if stem.norm is None:
            settings = {"strides": stem.conv.strides, "padding": stem.conv.padding}
            answers = keras.ops.conv(picture[None], stem.conv.kernel, **settings)
            answers = answers if stem.conv.bias is None else answers + stem.conv.bias
        else:
            answers = stem.conv(picture[None])
            for layer in stem.between:
                answers = layer(answers)
        yield _to_numpy(answers).reshape(-1, answers.shape[-1])


def _to_numpy(tensor: Any) -> np.ndarray:
    import keras

    return np.asarray(tensor.numpy() if isinstance(tensor, keras.Variable) else keras.ops.convert_to_numpy(tensor))


def _norm_distance(stem: _Stem, stem_input: np.ndarray) -> float | None:
    """How far the answers to (n, H, W, 3) float32 are from those that the batch norm remembers.

    It is the mean Kullback-Leibler divergence of normal distributions over the filters that are alive, weighted by
    their gain for plain brightness; None where no filter answers to brightness.
    """
    mean, var = (_to_numpy(moment).astype(np.float64) for moment in (stem.norm.moving_mean, stem.norm.moving_variance))
    kernel = _to_numpy(stem.conv.kernel).astype(np.float64)  # (h, w, 3, C)
    power = np.maximum((kernel**2).sum(axis=(0, 1, 2)), 1e-30)
    gain = kernel.sum(axis=(0, 1, 2)) ** 2 / kernel[..., 0].size / power
    gain = np.where(var > _DEAD * np.median(var), gain, 0.0)
    if not gain.max() >= _BRIGHT:
        return None
    count, total, squares = 0, np.zeros(len(mean)), np.zeros(len(mean))
    for answers in _stem_answers(stem, stem_input):
        count += len(answers)
        total += answers.sum(axis=0, dtype=np.float64)
        squares += np.square(answers, dtype=np.float64).sum(axis=0)
    mean_now = total / count
    ratio = np.maximum(squares / count - mean_now**2, 1e-12) / np.maximum(var, 1e-30)
    divergence = 0.5 * (ratio + (mean_now - mean) ** 2 / np.maximum(var, 1e-30) - 1 - np.log(ratio))
    return min(float((gain * divergence).sum() / gain.sum()), _LARGEST_DISTANCE)


def _judge_by_norm(stem: _Stem, stem_input: np.ndarray, usual_inputs: Mapping[str, np.ndarray]) -> InputFinding:
    how = "batch norm behind the first convolution"
    now = _norm_distance(stem, stem_input)
    if now is None:
        return _cannot_tell(how, "no filter of the first convolution answers to plain brightness")
    usual = {name: _norm_distance(stem, pixels) or 0.0 for name, pixels in usual_inputs.items()}
    best = min(usual, key=lambda name: usual[name])
    distance = f"its answers are {now:.3g} from what its batch norm remembers (below {FITS} fits)"
    finding = partial(InputFinding, how=how, now=now, usual=usual)
    if now < FITS:
        return finding(verdict="fits", sentence=f"the first layer sees what it was trained on: {distance}")
    problem = f"{_format_mismatch(stem_input)}, and {distance}"
    if usual[best] <= GOOD:
        return finding(verdict="wrong", best=best, sentence=f"{problem}; scaled to `{best}` it is {usual[best]:.2g}")
    if now >= FAR:
        return finding(verdict="wrong", sentence=f"{problem}; none of the usual scalings fits")
    return finding(verdict="cannot tell", sentence=f"{distance}, and no usual scaling is clearly better")


def _format_mismatch(stem_input: np.ndarray) -> str:
    numbers = f"it gets numbers of mean {stem_input.mean():.3g} and deviation {stem_input.std():.3g}"
    return f"the first layer does not see what it was trained on: {numbers}"


def _switching_entropy(stem: _Stem, stem_input: np.ndarray) -> float:
    """Mean entropy, in bits, of whether a unit of the first layer, a convolution with a rectifier, is on."""
    parts = [(answers > 0).mean(axis=0) for answers in _stem_answers(stem, stem_input)]
    on = np.clip(np.mean(parts, axis=0), 1e-9, 1 - 1e-9)
    return float(-(on * np.log2(on) + (1 - on) * np.log2(1 - on)).mean())


def _judge_by_switching(stem: _Stem, stem_input: np.ndarray, usual_inputs: Mapping[str, np.ndarray]) -> InputFinding:
    now = _switching_entropy(stem, stem_input)
    usual = {name: _switching_entropy(stem, pixels) for name, pixels in usual_inputs.items()}
    best = max(usual, key=lambda name: usual[name])
    finding = partial(InputFinding, how="how often the first units switch", now=now, usual=usual)
    entropy = f"its units switch with an entropy of {now:.2f} bits (above {SWITCHES} fits)"
    if now > SWITCHES:
        fits = f"the first layer sees what it was trained on: {entropy}; the order of the channels cannot be told"
        return finding(verdict="fits", sentence=fits)
    if usual[best] >= SWITCHING and usual[best] - now >= STEP:
        problem = f"{_format_mismatch(stem_input)}, and {entropy}"
        return finding(verdict="wrong", best=best, sentence=f"{problem}; scaled to `{best}` it is {usual[best]:.2f}")
    return finding(verdict="cannot tell", sentence=f"{entropy}, and no usual scaling is clearly better")


def _judge_by_spec(stem_input: np.ndarray, x: np.ndarray, spec: BackboneSpec) -> InputFinding:
    """Whether the graph does what is stated; what the weights want cannot be seen."""
    how = "what the spec states"
    stated, raw = scale_pictures(x, spec.input), x.astype(np.float32)
    if not _are_equal(stated, raw) and _are_equal(stem_input, raw):
        problem = "the spec states a scaling, but the graph hands pictures on as they are: `build` must scale them"
        return InputFinding(verdict="wrong", how=how, usual={}, sentence=problem)
    agreement = "the graph scales as the spec states; " if _are_equal(stem_input, stated) else ""
    why = "there is no batch norm behind the first layer, so what it was trained on cannot be seen"
    return _cannot_tell(how, agreement + why)


def _are_equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max() <= 1e-3 * np.abs(b).max())


def _cannot_tell(how: str, why: str) -> InputFinding:
    return InputFinding(verdict="cannot tell", how=how, usual={}, sentence=why)
