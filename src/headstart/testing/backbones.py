"""The conformance suite of a backbone source: what every trunk must do before headstart will lean on it.

from headstart.testing.backbones import check_backbone
check_backbone(MySource(), "my_preset", store)
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.console import Console
from headstart.core.errors import NoOpError, UsageError
from headstart.core.storage.cache import Store
from headstart.core.types import BackboneSource, BackboneSpec
from headstart.networks.openvino_engine import Engine


def check_backbone(source: BackboneSource, preset: str, store: Store) -> None:
    """Assert everything that `BackboneSource` promises of a preset whose weights are within reach of `pull`.

    Raises:
        AssertionError: Something does not hold; the message says what.
    """
    spec = source.spec(preset)
    _check_spec(source, preset, spec)
    _check_weights(source, preset, store)
    if source.frozen_reason(preset):
        _check_frozen(source, preset, store, spec)
        return
    model = source.build(preset, store)
    _check_model(model, spec)
    pictures = _make_pictures(spec.input.size_px)
    trained = compute_vectors(model, pictures)
    _check_vectors(trained, spec)
    again = compute_vectors(source.build(preset, store), pictures)
    assert _are_same(trained, again), "two builds give different vectors"
    controls = [compute_vectors(source.build(preset, store, seed=seed), pictures) for seed in (0, 0, 1)]
    _check_vectors(controls[0], spec)
    assert _are_same(controls[0], controls[1]), "one seed gives two random-init controls"
    assert not _are_same(controls[0], controls[2]), "two seeds give the same random-init control"
    assert not _are_same(controls[0], trained), "the random-init control is the trained trunk"
    if preset in source.classifiers:
        _check_classifier(source, preset, store, spec)


def compute_vectors(model: Any, pictures: np.ndarray) -> list[np.ndarray]:
    """A trunk's outputs for (n, H, W, 3) uint8 pictures, by Keras: one (n, D) float32 array a depth."""
    import keras

    outputs = model(pictures.astype(np.float32), training=False)
    return [keras.ops.convert_to_numpy(vectors) for vectors in (outputs if isinstance(outputs, list) else [outputs])]


def _check_frozen(source: Any, preset: str, store: Store, spec: BackboneSpec) -> None:
    pictures = _make_pictures(spec.input.size_px)
    conversions = []
    with tempfile.TemporaryDirectory() as place:
        for name in ("one", "two"):
            folder = Path(place) / name
            folder.mkdir()
            source.write_openvino(preset, store, pictures, folder)
            assert (folder / "parity.json").is_file(), "write_openvino leaves no parity.json"
            engine = Engine(folder / "trunk.xml", threads=1)
            conversions.append(list(next(vectors for _, vectors in engine.run([(None, pictures)]))))
    _check_vectors(conversions[0], spec)
    assert _are_same(*conversions), "two conversions give different vectors"
    try:
        source.build(preset, store)
    except NoOpError as err:
        assert err.what == source.frozen_reason(preset), "build does not give the reason that frozen_reason gives"
    else:
        raise AssertionError("a frozen preset is built all the same")


def _make_pictures(side: int) -> np.ndarray:
    """Three pictures (3, side, side, 3) uint8: a slope, stripes, noise."""
    y, x = np.mgrid[:side, :side] / side
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3))
    slope = np.stack([255 * x, 255 * y, 255 * (1 - x)], -1)
    stripes = np.repeat((127 + 120 * np.sin(40 * (x + y)))[..., None], 3, -1)
    return np.stack([slope, stripes, noise]).astype(np.uint8)


def _are_same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(vectors, other) for vectors, other in zip(a, b, strict=True))


def _check_spec(source: BackboneSource, preset: str, spec: BackboneSpec) -> None:
    assert preset in source.presets(), f"`{preset}` is not among presets()"
    assert spec.name == f"{source.name}:{preset}", f"the name is `{spec.name}`"
    for field in ("family", "revision", "licence", "pretrained_on", "prior_source"):
        assert getattr(spec, field), f"{field} is empty"
    for field in ("params", "flops", "download_bytes"):
        assert getattr(spec, field) > 0, f"{field} is not above zero"
    assert 0 < spec.prior < 1, f"prior is {spec.prior}"
    names = [depth.name for depth in spec.depths]
    assert names and len(set(names)) == len(names), f"depths are {names}"
    assert all(name.isidentifier() and name.isascii() for name in names), f"depths are {names}"
    if not source.is_users_own:  # in a network of their own users may cut anywhere
        assert len(names) >= 2 and names[-1] == "last", f"the deepest of several depths is not `last`: {names}"
    assert spec == source.spec(preset), "two calls of spec() differ"
    try:
        source.spec(preset + "_x")
    except UsageError as err:
        assert preset in (err.hint or ""), "the hint does not name the nearest preset"
    else:
        raise AssertionError("an unknown preset is not refused")


def _check_weights(source: BackboneSource, preset: str, store: Store) -> None:
    path = source.pull(preset, store, Console(quiet=True))
    assert path.is_file() and store.root in path.parents, f"{path} is no file in the store"
    assert source.available(preset, store), "not available after pull"
    assert source.pull(preset, store, Console(quiet=True)) == path, "a second pull gives another file"


def _check_model(model: Any, spec: BackboneSpec) -> None:
    side = spec.input.size_px
    assert tuple(model.input.shape) == (None, side, side, 3), f"the input is {model.input.shape}"
    assert not model.trainable_weights, "the trunk is not frozen"
    assert model.count_params() == spec.params, f"{model.count_params()} weights, the spec says {spec.params}"
    assert isinstance(model.outputs, list) and len(model.outputs) == len(spec.depths), "not one output a depth"


def _check_vectors(outputs: list[np.ndarray], spec: BackboneSpec) -> None:
    for vectors, depth in zip(outputs, spec.depths, strict=True):
        assert vectors.shape == (3, depth.dim), f"{depth.name} is {vectors.shape}, the spec says {depth.dim}"
        assert vectors.dtype == np.float32, f"{depth.name} is {vectors.dtype}"
        assert np.isfinite(vectors).all(), f"{depth.name} has values that are not finite"
        assert np.ptp(vectors, axis=0).max() > 0, f"{depth.name} is the same for every picture"


def _check_classifier(source: Any, preset: str, store: Store, spec: BackboneSpec) -> None:
    weights, bias = source.classifier(preset, store)
    shapes, expected_shapes = (weights.shape, bias.shape), ((spec.depths[-1].dim, 1000), (1000,))
    assert shapes == expected_shapes, f"the classifier is {weights.shape} and {bias.shape}"
    assert weights.dtype == bias.dtype == np.float32, f"the classifier is {weights.dtype} and {bias.dtype}"
    assert np.isfinite(weights).all() and np.isfinite(bias).all(), "the classifier has values that are not finite"
