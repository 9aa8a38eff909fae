"""From a name to a trunk that runs: names, the cached export, parity, the fall-back to Keras."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from headstart.backbones import loading
from headstart.core.console import Console
from headstart.core.errors import SetupError, UsageError
from headstart.images import preprocessing
from headstart.networks import openvino_conversion, openvino_engine

LITE0 = "bundled:efficientnet_lite0"


@pytest.fixture(scope="module")
def lite0():
    return loading.find_backbone(LITE0)


@pytest.fixture(scope="session")
def eight(textile):
    """Eight real pictures as Lite0 takes them, and 40 more."""
    files = sorted(textile.rglob("*.jpg"))[::41]
    return np.stack(
        [
            preprocessing.decode_picture(file.read_bytes(), loading.find_backbone(LITE0).spec.input)
            for file in files[:48]
        ]
    )


def test_a_name_alone_is_enough_where_it_is_unique(lite0):
    assert loading.find_backbone("efficientnet_lite0") == lite0
    assert lite0.name == lite0.spec.name == LITE0 and lite0.seed is None


def test_every_name_is_found():
    names = loading.list_backbones()
    assert len(names) == len(set(names)) > 40
    assert names[0] == LITE0
    assert [loading.find_backbone(name).name for name in names] == list(names)
    assert len({json.dumps(loading.trunk_key(loading.find_backbone(name)), default=str) for name in names}) == len(
        names
    )


def test_the_random_twin_is_another_trunk_of_the_same_shape(lite0):
    twin = loading.find_backbone("random:efficientnet_lite0")
    assert twin.name == twin.spec.name == f"random:{LITE0}"
    assert twin.seed == 0 and twin.spec.prior == 0.0 and twin.spec.revision.endswith("random0")
    assert twin.spec.depths == lite0.spec.depths and twin.spec.flops == lite0.spec.flops
    assert loading.trunk_key(twin) != loading.trunk_key(lite0)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("efficientnet_lite", "efficientnet_lite0"),
        ("bundled:efficientnet_lite3", "bundled:efficientnet_lite"),
        ("effnet", "did you mean `bundled:efficientnet_lite0`"),
        ("resnet5", "resnet50"),
        ("keras_applications:resnet5", "keras_applications:resnet50"),
        ("qqqqq", "headstart backbones list"),
        ("random:vgg61", "vgg16"),
        ("", "headstart backbones list"),
        ("dinov2", "keras_hub:dinov2_small"),  # presets that are not here are named too
        ("DINOv3_vitb16", "dinov3_vit"),
        ("vit_base", "keras_hub:vit_base_patch16"),
        ("clip-vit-b-32", "keras_hub:clip_vit_b_32"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name, hint):
    with pytest.raises(UsageError, match="no backbone is named") as caught:
        loading.find_backbone(name)
    assert hint in caught.value.hint


@pytest.mark.medium
def test_the_export_agrees_with_keras_and_is_kept(lite0, eight, shared_store):
    folder = loading.make_trunk_folder(lite0, shared_store, Console(quiet=True), eight[:8])
    facts = json.loads((folder / "parity.json").read_text())
    assert list(facts["depths"]) == [depth.name for depth in lite0.spec.depths]
    assert all(row["max_relative"] <= 1e-4 and row["min_cosine"] >= 0.99999 for row in facts["depths"].values())
    # Measured again here, on pictures that the making did not see, with the shared engine settings.
    with openvino_conversion.silence_frameworks():
        keras_engine = openvino_conversion.KerasEngine(lite0.build(shared_store))
    (_, expected), (_, found) = (
        next(one.run([(0, eight[8:])]))
        for one in (keras_engine, openvino_engine.Engine(folder / "trunk.xml", threads=2))
    )
    for a, b, depth in zip(found, expected, lite0.spec.depths, strict=True):
        assert a.shape == b.shape == (40, depth.dim)
        row = openvino_conversion.compare_vectors(a, b)
        assert row["max_relative"] <= 1e-4 and row["min_cosine"] >= 0.99999
    views = eight[8:24].reshape(8, -1, *eight.shape[2:])  # two a picture, one below the other
    engine = loading.load_engine(lite0, shared_store, Console(quiet=True), views, threads=2)
    for one in (keras_engine, engine):
        [(_, means)] = one.run([(0, views)])
        for mean, each in zip(means, found, strict=True):
            row = openvino_conversion.compare_vectors(mean, each[:16].reshape(8, 2, -1).mean(axis=1))
            assert row["max_relative"] <= 1e-4


@pytest.mark.medium
def test_a_kept_trunk_loads_no_framework(lite0, eight, shared_store, tmp_path):
    loading.make_trunk_folder(lite0, shared_store, Console(quiet=True), eight[:8])
    np.save(tmp_path / "eight.npy", eight[:8])
    code = (
        "import sys, numpy as np\n"
        "from headstart.core.console import Console\n"
        "from headstart.core.settings import cache_folder\n"
        "from headstart.core.storage.cache import Store\n"
        "from headstart.backbones import loading\n"
        f"pictures = np.load({str(tmp_path / 'eight.npy')!r})\n"
        f"trunk = loading.find_backbone({LITE0!r})\n"
        f"ready = loading.load_engine(trunk, Store(cache_folder()), Console(), pictures, threads=1)\n"
        "print([v.shape for v in next(ready.run([(0, pictures)]))[1]])\n"
        "print([m for m in ('keras', 'tensorflow', 'h5py', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[(8, 80), (8, 112), (8, 192), (8, 1280)]", "[]"]
    assert done.stderr == ""


@pytest.mark.medium
def test_a_damaged_trunk_is_made_again(eight, store, shared_store):
    said = []
    store.report = said.append
    twin = loading.find_backbone(f"random:{LITE0}")
    made = loading.make_trunk_folder(twin, shared_store, Console(quiet=True), eight[:8])
    shutil.copytree(made, store.root / "trunks" / made.name)
    folder = loading.make_trunk_folder(twin, store, Console(quiet=True), eight[:8])
    weights = (folder / "trunk.bin").read_bytes()
    (folder / "trunk.bin").write_bytes(weights[:1000] + b"\0\0\0\0" + weights[1004:])
    again = loading.make_trunk_folder(twin, store, Console(quiet=True), eight[:8])
    assert again == folder and (again / "trunk.bin").read_bytes() == weights
    assert len(said) == 1 and "damaged" in said[0]


@pytest.mark.medium
def test_without_openvino_keras_does_it_and_says_so(lite0, eight, shared_store, monkeypatch, capsys):
    folder = loading.make_trunk_folder(lite0, shared_store, Console(quiet=True), eight[:8])
    expected = next(openvino_engine.Engine(folder / "trunk.xml", threads=2).run([(0, eight[:8])]))[1]
    monkeypatch.setattr(openvino_engine, "find_openvino_version", lambda: None)
    ready = loading.load_engine(lite0, shared_store, Console(), eight[:8], threads=2)
    assert "without OpenVINO Keras computes" in capsys.readouterr().err
    assert openvino_engine.engine_name().startswith("keras 3.")
    pairs = list(ready.run([("a", eight[:3]), ("b", eight[3:8])]))
    assert [key for key, _ in pairs] == ["a", "b"]
    for place, wanted in enumerate(expected):
        found = np.concatenate([vectors[place] for _, vectors in pairs])
        assert openvino_conversion.compare_vectors(found, wanted)["max_relative"] <= 1e-4
    alone = next(ready.run([(0, eight[4:5])]))[1]
    assert all(np.array_equal(a[0], b[1]) for a, b in zip(alone, pairs[1][1], strict=True))
    with pytest.raises(SetupError, match="needs OpenVINO"):
        loading.load_engine(lite0, shared_store, Console(), eight[:8], threads=2, precision="int8")


@pytest.mark.medium
def test_int8_is_near_and_its_distance_is_written_down_without_a_word(lite0, eight, tmp_path, shared_store, capfd):
    pytest.importorskip("nncf")
    source = loading.make_trunk_folder(lite0, shared_store, Console(quiet=True), eight[:8]) / "trunk.xml"
    folder = tmp_path
    capfd.readouterr()
    openvino_conversion.quantise_trunk(source, eight, folder)
    assert capfd.readouterr() == ("", "")
    facts = json.loads((folder / "parity.json").read_text())
    assert facts["compared_with"] == "openvino f32"
    for row in facts["depths"].values():
        assert 0.7 < row["min_cosine"] < 1.0  # 0.78 to 0.9, by the instructions of the processor
    found = next(openvino_engine.Engine(folder / "trunk.xml", threads=2).run([(0, eight[:4])]))[1]
    assert [one.shape[1] for one in found] == [depth.dim for depth in lite0.spec.depths]


def test_int8_without_nncf_names_the_extra(eight, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(SetupError) as caught:
        openvino_conversion.quantise_trunk(tmp_path / "trunk.xml", eight, tmp_path)
    assert "[int8]" in caught.value.hint


@pytest.mark.parametrize("wrong", ["scaled", "noise", "nan"])
def test_engines_that_disagree_are_an_error_with_numbers(lite0, wrong):
    rng = np.random.default_rng(0)
    good = rng.standard_normal((8, 50)).astype(np.float32)
    bad = {"scaled": good * 1.001, "noise": good + 1e-2 * rng.standard_normal((8, 50)), "nan": good * np.nan}[wrong]
    same = {depth.name: openvino_conversion.compare_vectors(good, good) for depth in lite0.spec.depths}
    with pytest.raises(SetupError, match=r"disagree on `bundled:efficientnet_lite0` at last: .*limit 1e-04"):
        openvino_conversion.require_parity(lite0.spec, same | {"last": openvino_conversion.compare_vectors(bad, good)})
    openvino_conversion.require_parity(lite0.spec, same)


def test_noise_on_standard_error_is_held_back_unless_the_work_fails(capfd):
    import os

    with openvino_conversion.silence_frameworks():
        os.write(2, b"noise\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(RuntimeError), openvino_conversion.silence_frameworks():
        os.write(2, b"noise\n")
        raise RuntimeError
    assert capfd.readouterr().err == "noise\n"
