"""Networks from users' own files: found, cut, scaled, refused, and equal to what they were made from."""

import json
import shutil
import zipfile

import numpy as np
import pytest

from canary import Canary
from headstart.backbones import loading
from headstart.backbones.imported import description, file_copy, registration
from headstart.backbones.imported.registration import ImportRequest
from headstart.backbones.sources.saved_file import PLUGIN
from headstart.core.console import Console
from headstart.core.errors import DataError, NoOpError, SetupError, UsageError
from headstart.core.storage.cache import Store
from headstart.networks import openvino_conversion, openvino_engine
from headstart.testing.backbones import check_backbone, compute_vectors
from network_files import onnx_weights, save, small_keras, write_onnx

LITE0 = "bundled:efficientnet_lite0"
QUIET = Console(quiet=True)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A cache of this test's own, which is also the user's."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own"))
    return Store(tmp_path / "own")


@pytest.fixture(scope="module")
def files(tmp_path_factory, shared_store):
    """Lite0 and a small network as files of every kind."""
    root = tmp_path_factory.mktemp("files")
    lite = loading.find_backbone(LITE0)
    with openvino_conversion.silence_frameworks():
        save(lite.build(shared_store), root / "lite0.keras")
        small_keras(root / "small.keras").export(str(root / "small"), verbose=False)
        small_keras(root / "plain.keras", scaled=False, nested=False)
    made = loading.make_trunk_folder(lite, shared_store, QUIET, noise(8, 224))
    for name in ("trunk.xml", "trunk.bin"):
        shutil.copyfile(made / name, root / name.replace("trunk", "lite0"))
    write_onnx(root / "small.onnx")
    return root


def noise(count, side):
    """(count, side, side, 3) uint8."""
    coarse = np.random.default_rng(1).integers(0, 256, (count, side // 8, side // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def run_frozen(name, store, pictures, folder):
    """Vectors of a frozen preset by depth, and the spec."""
    found = loading.find_backbone(f"saved_file:{name}")
    folder.mkdir()
    found.source.write_openvino(name, store, pictures, folder)
    answers = next(v for _, v in openvino_engine.Engine(folder / "trunk.xml", threads=1).run([(None, pictures)]))
    return dict(zip((d.name for d in found.spec.depths), answers, strict=True))


def closeness(got, expected):
    return float(np.abs(got - expected).max() / np.abs(expected).max())


# ---------------------------------------------------------------- equal to what they were made from


@pytest.mark.medium
def test_a_built_in_trunk_saved_and_added_gives_its_vectors(files, own, shared_store, tmp_path):
    pictures = noise(8, 224)
    expected = compute_vectors(loading.find_backbone(LITE0).build(shared_store), pictures)
    registration.add_file(ImportRequest(file=files / "lite0.keras", name="k"), own, QUIET)
    registration.add_file(ImportRequest(file=files / "lite0.xml", name="x"), own, QUIET)
    by_keras = compute_vectors(PLUGIN.build("k", own), pictures)
    by_ir = list(run_frozen("x", own, pictures, tmp_path / "x").values())
    for name in ("k", "x"):
        assert [(d.name, d.dim) for d in PLUGIN.spec(name).depths] == [
            ("stage3", 80),
            ("stage4", 112),
            ("stage5", 192),
            ("last", 1280),
        ]
    for a, b, c in zip(expected, by_keras, by_ir, strict=True):
        assert closeness(b, a) <= 1e-4
        assert closeness(c, a) <= 1e-4


@pytest.mark.medium
def test_an_onnx_file_gives_what_numpy_computes_of_it(files, own, tmp_path):
    pictures = noise(4, 64)
    wish = ImportRequest(file=files / "small.onnx", scale=1 / 255, mean=(0.4, 0.5, 0.6), std=(0.2,), channels="bgr")
    made = registration.add_file(wish, own, QUIET)
    assert (made.kind, made.layout, made.guess, made.scaling) == ("onnx", "nchw", False, "given")
    got = run_frozen("small", own, pictures, tmp_path / "out")
    x = (pictures[..., ::-1].transpose(0, 3, 1, 2) / 255 - np.reshape((0.4, 0.5, 0.6), (1, 3, 1, 1))) / 0.2
    for name in ("stem", "down", "deep", "deeper"):
        x = strided(x, onnx_weights()[name])
        if name == "deep":
            assert closeness(got["map8"], x.mean((2, 3))) <= 1e-5
    assert closeness(got["last"], x.mean((2, 3))) <= 1e-5


def strided(x, kernel):
    """(n, c, h, w) through a 3 x 3 convolution with stride 2 and ReLU."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    return np.maximum(np.einsum("nchwij,ocij->nohw", windows, kernel), 0)


@pytest.mark.medium
def test_saved_model_and_keras_file_of_one_network_agree(files, own, tmp_path):
    pictures = noise(8, 64)
    registration.add_file(ImportRequest(file=files / "small.keras", name="k"), own, QUIET)
    made = registration.add_file(ImportRequest(file=files / "small", name="s"), own, QUIET)
    assert made.kind == "saved_model"
    assert not made.guess
    assert made.scaling.startswith("in the ")
    by_keras = dict(
        zip((d.name for d in PLUGIN.spec("k").depths), compute_vectors(PLUGIN.build("k", own), pictures), strict=True)
    )
    by_ov = run_frozen("s", own, pictures, tmp_path / "s")
    assert by_keras.keys() == by_ov.keys() == {"map4", "last"}
    for name, expected in by_keras.items():
        assert closeness(by_ov[name], expected) <= 1e-4


# ---------------------------------------------------------------- promises


@pytest.mark.medium
@pytest.mark.parametrize("name", ["small.keras", "small.onnx", "small", "lite0.xml"])
def test_an_added_file_keeps_the_promises_of_a_source(name, files, own):
    made = registration.add_file(ImportRequest(file=files / name), own, QUIET)
    check_backbone(PLUGIN, made.name, own)
    assert f"saved_file:{made.name}" in loading.list_backbones()


@pytest.mark.medium
def test_depths_are_found_at_the_ends_of_blocks_and_can_be_set(files, own, capsys):
    made = registration.add_file(ImportRequest(file=files / "plain.keras"), own, Console())
    assert [(c.name, c.layer, c.dim) for c in made.cuts] == [("map4", "deeper", 16), ("last", "drop", 20)]
    assert made.guess
    assert "a guess: -1..1" in capsys.readouterr().err
    again = registration.add_file(ImportRequest(file=files / "plain.keras", depths=("last", "after_sum")), own, QUIET)
    assert [(c.name, c.dim, c.side) for c in again.cuts] == [("after_sum", 12, 16), ("last", 20, 0)]
    assert PLUGIN.spec("plain").revision.split("-")[1] == made.content[:12]
    with pytest.raises(UsageError, match="no layer `after_sun`") as caught:
        registration.add_file(ImportRequest(file=files / "plain.keras", depths=("after_sun",)), own, QUIET)
    assert "`after_sum`" in caught.value.hint


@pytest.mark.medium
def test_a_frozen_file_has_no_twin_and_is_not_built(files, own):
    registration.add_file(ImportRequest(file=files / "small.onnx"), own, QUIET)
    with pytest.raises(
        UsageError, match=r"no random-init control: `saved_file:small` is kept as a graph for OpenVINO \(ONNX file\)"
    ):
        loading.find_backbone("random:saved_file:small")
    with pytest.raises(NoOpError, match="can be read but not trained"):
        loading.find_backbone("saved_file:small").build(own)


@pytest.mark.medium
def test_a_torch_style_file_gets_imagenets_scaling_as_a_guess(files, own):
    made = registration.add_file(ImportRequest(file=files / "small.onnx"), own, QUIET)
    assert made.guess
    assert made.input.mean == (0.485, 0.456, 0.406)
    given = registration.add_file(ImportRequest(file=files / "small.onnx", scale=2.0), own, QUIET)
    assert (given.input.scale, given.input.mean, given.guess) == (2.0, (0.0,) * 3, False)
    with pytest.raises(UsageError, match="not one number or three"):
        registration.add_file(ImportRequest(file=files / "small.onnx", mean=(1.0, 2.0)), own, QUIET)


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.pkl", "net.ckpt"])
def test_a_pickle_is_refused_by_name_and_not_opened(name, own, tmp_path):
    path, proof = tmp_path / name, tmp_path / "ran"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(proof).encode() + b"'\ntR.")
    with pytest.raises(DataError, match=f"`{name}` is refused.*pickle") as caught:
        registration.add_file(ImportRequest(file=path), own, QUIET)
    assert "ONNX" in caught.value.hint
    assert not proof.exists()
    assert not own.root.exists()


def test_a_pickle_within_a_keras_file_is_refused_by_name(own, tmp_path):
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(DataError, match=r"holds the pickle `archive/data.pkl`"):
        registration.add_file(ImportRequest(file=path), own, QUIET)
    assert description.list_names("saved_file", own) == ()


@pytest.mark.medium
def test_a_lambda_is_refused_with_the_reason_unless_trusted(own, tmp_path):
    import keras

    proof = tmp_path / "ran"
    given = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=4)(given)
    x = keras.layers.Lambda(lambda t: t * 2, output_shape=(8, 8, 8), name="twice")(x)
    path = tmp_path / "code.keras"
    save(keras.Model(given, keras.layers.GlobalAveragePooling2D()(x)), path)
    with pytest.raises(DataError, match="the layer `twice` of `code.keras` is a Lambda") as caught:
        registration.add_file(ImportRequest(file=path), own, QUIET)
    assert "--trust" in caught.value.hint
    assert not proof.exists()
    assert description.list_names("saved_file", own) == ()
    made = registration.add_file(ImportRequest(file=path, trust=True), own, QUIET)
    assert made.kind == "lambda"
    path.unlink()
    check_backbone(PLUGIN, "code", own)


@pytest.mark.medium
@pytest.mark.parametrize("name", ["small.keras", "small.onnx", "lite0.xml"])
def test_a_truncated_file_is_refused_and_leaves_nothing(name, files, own, tmp_path):
    path = tmp_path / name
    path.write_bytes((files / name).read_bytes()[: (files / name).stat().st_size // 2])
    if name == "lite0.xml":
        shutil.copyfile(files / "lite0.bin", tmp_path / "lite0.bin")
    with pytest.raises(DataError):
        registration.add_file(ImportRequest(file=path), own, QUIET)
    assert description.list_names("saved_file", own) == ()
    assert not [one for one in own.root.rglob("*") if one.is_file()]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "words"),
    [("assets/words.pkl", "holds the pickle `assets/words.pkl`"), ("variables/variables.data-00000-of-00001", "read")],
)
def test_a_saved_model_with_a_pickle_or_cut_off_is_refused(name, words, files, own, tmp_path):
    canary = Canary(tmp_path)
    shutil.copytree(files / "small", tmp_path / "net")
    file = tmp_path / "net" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(canary.pickled() if file.suffix == ".pkl" else file.read_bytes()[:-1000])
    with pytest.raises(DataError) as caught:
        registration.add_file(ImportRequest(file=tmp_path / "net"), own, QUIET)
    assert words in caught.value.what and "`net`" in caught.value.what
    assert not canary.sang
    assert not [one for one in own.root.rglob("*") if one.is_file()]


def test_what_is_no_network_is_refused(own, tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.h5").write_bytes(b"x")
    (tmp_path / "c.xml").write_text("x")
    for name, words in (("a.txt", "can cut"), ("b.h5", "does not read"), ("c.xml", "needs `c.bin`")):
        with pytest.raises(DataError, match=words):
            file_copy.detect_kind(tmp_path / name)
    with pytest.raises(UsageError, match="there is no file"):
        file_copy.detect_kind(tmp_path / "none.onnx")
    with pytest.raises(UsageError, match="no file was added as `saved_file:x`"):
        PLUGIN.spec("x")


@pytest.mark.medium
def test_a_name_is_one_file_and_a_missing_copy_is_said(files, own):
    made = registration.add_file(ImportRequest(file=files / "small.onnx", name="net"), own, QUIET)
    with pytest.raises(UsageError, match="`saved_file:net` is another file already"):
        registration.add_file(ImportRequest(file=files / "small.keras", name="net"), own, QUIET)
    shutil.rmtree(own.entry_path("added", description.copy_key(made.content)))
    assert not PLUGIN.available("net", own)
    with pytest.raises(SetupError, match="no longer in the cache"):
        PLUGIN.pull("net", own, QUIET)


def test_a_damaged_description_is_said(own):
    folder = own.root / "named" / "saved_file"
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(DataError, match="description of `saved_file:x` is damaged"):
        PLUGIN.spec("x")
