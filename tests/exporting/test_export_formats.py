"""Every format, written by the command and answered for by its own runtime in a process of its own."""

import ast
import json
import os
import pickletools
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import export_runs
import headstart
from headstart.core import registry
from headstart.core.console import Console
from headstart.core.provenance import find_version
from headstart.core.storage.hashing import file_digest
from headstart.runtime.model import load

FORMATS = ("keras", "litert", "onnx", "openvino", "saved_model")
QUIET = Console(quiet=True)
pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def exports(run, tmp_path_factory):
    """All formats at once: (folder, name -> what was told of it)."""
    out = tmp_path_factory.mktemp("out") / "all"
    found = headstart.export(run[0], FORMATS, out, console=QUIET)
    return out, {one["format"]: one for one in found}


def test_the_formats_are_those_that_are_documented():
    assert registry.list_plugins("exporters") == FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_answers_as_the_run(exports, name):
    out, told = exports
    one = told[name]
    assert one["parity_max_abs"] < 1e-4
    assert one["novelty_max_abs"] < 1e-6
    assert one["label_agreement"] == 1.0
    assert (one["compared"], one["compared_on"], one["score"], one["left_out"]) == (15, "test", None, [])
    assert 0 < one["p50_ms"] <= one["p95_ms"]
    written = json.loads((out / name / "export.json").read_text())
    assert {**written, "path": one["path"]} == one
    assert one["path"] == (out / name).as_posix()


@pytest.mark.parametrize("name", FORMATS)
def test_every_file_of_an_export_is_told_with_its_digest(exports, name):
    folder, files = exports[0] / name, exports[1][name]["files"]
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {"export.json"}
    assert set(files) == there
    assert {"model.json", "predict.py", "README.md", "requirements.txt"} < there
    assert all(file_digest(folder / path) == value for path, value in files.items())
    size = sum((folder / p).stat().st_size for p in there if p.startswith("model") and p != "model.json")
    assert exports[1][name]["bytes"] == size


def test_nothing_is_left_beside_the_exports(exports):
    assert sorted(p.name for p in exports[0].iterdir()) == list(FORMATS)
    assert [p.name for p in exports[0].parent.iterdir()] == ["all"]


@pytest.mark.parametrize("name", FORMATS)
def test_predict_py_needs_its_runtime_numpy_and_pillow_alone(exports, name):
    folder = exports[0] / name
    tree = ast.parse((folder / "predict.py").read_text())
    asked_late = [node for top in ast.walk(tree) if isinstance(top, ast.FunctionDef) for node in ast.walk(top)]
    of_formats = {"pydicom", "nibabel", "rasterio"}  # asked for by the first file of their kind alone
    assert not of_formats & {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import) and node not in asked_late
        for alias in node.names
    }
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {one.partition(".")[0] for one in names} - sys.stdlib_module_names
    runtime = {"saved_model": "tensorflow", "litert": "ai_edge_litert", "onnx": "onnxruntime"}.get(name, name)
    assert own - of_formats == {"numpy", "PIL", runtime}
    pins = dict(line.split("==") for line in (folder / "requirements.txt").read_text().splitlines())
    assert {"numpy", "pillow", runtime.replace("_", "-")} <= set(pins)
    assert all(find_version(package) == pin for package, pin in pins.items())


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_predict_py_prints_a_line_a_picture(exports, run, name, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    files = [*run[1].files[:5], broken]
    command = [sys.executable, "-I", exports[0] / name / "predict.py", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["file"] for row in rows] == [str(file) for file in files]
    assert rows[-1]["answer"] is None and "can be read" in rows[-1]["error"]
    for row, want in zip(rows, load(run[0]).predict(files[:5]), strict=False):
        assert (row["answer"], row["unknown"], tuple(row["plausible"])) == (want.answer, want.unknown, want.plausible)
        assert row["probabilities"] == pytest.approx(dict(want.probabilities), abs=1e-4)
    assert len({row["answer"] for row in rows}) > 2


@pytest.mark.parametrize("name", FORMATS)
def test_predict_py_says_nothing_besides_its_answers(exports, run, name):
    command = [sys.executable, "-I", exports[0] / name / "predict.py", run[1].files[0]]
    env = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_predict_py_ends_with_1_where_nothing_could_be_read(exports, tmp_path):
    command = [sys.executable, "-I", exports[0] / "openvino" / "predict.py", tmp_path / "gone.jpg"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "gone.jpg" in json.loads(done.stdout)["error"]


def words_of(folder, name):
    """What the format's own metadata holds."""
    if name == "keras":
        return zipfile.ZipFile(folder / "model.keras").read("headstart.json")
    if name == "saved_model":
        return (folder / "model" / "assets.extra" / "headstart.json").read_bytes()
    if name == "onnx":
        import onnx

        return next(p.value for p in onnx.load(folder / "model.onnx").metadata_props if p.key == "headstart")
    if name == "openvino":
        from headstart.networks.openvino_engine import load_openvino as openvino

        return openvino().Core().read_model(folder / "model.xml").get_rt_info(["headstart"]).value
    content = (folder / "model.tflite").read_bytes()  # the buffer lies in the file as it is
    text = content[content.index(b'{"format"') :].decode("ascii", "replace")
    return text[: json.JSONDecoder().raw_decode(text)[1]]


@pytest.mark.parametrize("name", FORMATS)
def test_the_classes_and_versions_are_in_the_file_itself(exports, name):
    folder = exports[0] / name
    told = json.loads(words_of(folder, name))
    assert told == json.loads((folder / "model.json").read_text())
    assert (told["class_names"], told["headstart"]) == (list(export_runs.CLASSES), headstart.__version__)
    assert told["calibration"] == {"temperature": export_runs.TEMPERATURE}
    assert told["inputs"][0]["in_words"].startswith("shorter side resized to 36.5714 px (bicubic)")
    assert told["doubt"]["thresholds"] and told["trunks"][0]["licence"] == "Apache-2.0"


def pickled(content):
    """Whether bytes are a pickle to their end."""
    try:
        return next(pickletools.genops(content))[0].name == "PROTO" and len(list(pickletools.genops(content))) > 1
    except (ValueError, StopIteration, IndexError, UnicodeDecodeError):
        return False


@pytest.mark.parametrize("name", FORMATS)
def test_no_file_holds_a_pickle_or_a_lambda(exports, name):
    parts = {p.name: p.read_bytes() for p in (exports[0] / name).rglob("*") if p.is_file()}
    if name == "keras":
        held = zipfile.ZipFile(exports[0] / name / "model.keras")
        parts |= {one: held.read(one) for one in held.namelist()}
        assert b"Lambda" not in parts["config.json"]
    assert not [one for one, content in parts.items() if pickled(content)]
    assert not [one for one in parts if Path(one).suffix in (".pkl", ".pickle", ".pt")]


@pytest.mark.parametrize("name", ["openvino", "onnx"])
def test_half_precision_is_half_the_size_and_tells_what_it_costs(run, exports, name, tmp_path):
    (found,) = headstart.export(run[0], name, tmp_path / "f16", precision="f16", max_drop=0.1, console=QUIET)
    assert found["precision"] == "f16"
    assert 0 < found["parity_max_abs"] < 0.05
    change = found["score"]
    assert change["n"] == found["compared"] == 15
    assert change["change"] == pytest.approx(change["after"] - change["before"])
    assert change["low"] <= change["change"] <= change["high"]
    told = json.loads((tmp_path / "f16" / "model.json").read_text())
    assert told["precision"] == "f16"


def answer_by_script(folder, files):
    """What `predict.py` prints."""
    done = subprocess.run(
        [sys.executable, "-I", folder / "predict.py", *files], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def label_exports(label_run, tmp_path_factory):
    """All formats at once: (folder, name -> what was told of it)."""
    out = tmp_path_factory.mktemp("labels") / "all"
    return out, {one["format"]: one for one in headstart.export(label_run[0], FORMATS, out, console=QUIET)}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_answers_with_the_labels_of_the_run(label_exports, name):
    found = label_exports[1][name]
    assert 0 < found["parity_max_abs"] < 1e-4 and found["novelty_max_abs"] < 1e-6 and found["label_agreement"] == 1.0


def test_predict_py_answers_with_labels_as_predict_does(label_exports, label_run):
    folder, files = label_exports[0] / "openvino", label_run[1].files
    rows = answer_by_script(folder, files)
    for row, want in zip(rows, load(label_run[0]).predict(files), strict=True):
        names = ("answer", "labels", "plausible", "open", "likeliest", "unknown")
        assert [row[name] for name in names] == [
            list(value) if isinstance(value := getattr(want, name), tuple) else value for name in names
        ]
        assert row["probabilities"] == pytest.approx(dict(want.probabilities), abs=1e-4)
    assert {"unknown", "(none)"} < {row["answer"] for row in rows} and any("|" in row["answer"] for row in rows)
    assert any(row["open"] for row in rows)
    assert "those that are there of `blue`, `green`, `red`" in (folder / "README.md").read_text()


def test_eight_bits_of_labels_are_judged_by_whole_sets(label_run, tmp_path):
    folder, pictures = label_run
    out = tmp_path / "out"
    (found,) = headstart.export(folder, "openvino", out, precision="int8", max_drop=0.2, console=QUIET)
    rows = answer_by_script(out, pictures.files[::2])
    right = [[name in row["labels"] for name in export_runs.CLASSES] for row in rows] == pictures.truth[::2]
    assert 0 < found["parity_max_abs"] < 0.1 and found["score"]["metric"] == "exact_match"
    assert found["score"]["after"] == pytest.approx(right.all(axis=1).mean()) and 0.2 < right.all(axis=1).mean() < 1


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("openvino", "f16"),
        ("openvino", "int8"),
        ("litert", "f16"),
    ],
)
def test_smaller_precisions_of_a_number_are_judged_in_its_spreads_and_by_r2(number_run, name, precision, tmp_path):
    folder, pictures = number_run
    out = tmp_path / "out"
    (found,) = headstart.export(folder, name, out, precision=precision, max_drop=0.1, console=QUIET)
    rows = answer_by_script(out, pictures.files)
    held_out = slice(0, None, 2)
    numbers, truth = np.array([row["number"] for row in rows])[held_out], pictures.truth[held_out]
    want = [one.number for one in load(folder).predict(pictures.files[held_out])]
    worst = np.abs(numbers - want).max() / np.std(pictures.truth)
    assert found["parity_max_abs"] == pytest.approx(worst, rel=1e-6) and 0 < worst < {"f16": 0.05, "int8": 1}[precision]
    assert found["score"]["metric"] == "r2" and found["score"]["n"] == 15
    answered = np.where([row.get("unknown", False) for row in rows[held_out]], truth.mean(), numbers)
    r2 = 1 - np.sum((answered - truth) ** 2) / np.sum((truth - truth.mean()) ** 2)
    assert found["score"]["after"] == pytest.approx(r2) and found["score"]["before"] > 0


@pytest.mark.parametrize("costs", [None, ((0.0, 1.0, 1.0), (9.0, 0.0, 1.0), (9.0, 1.0, 0.0))])
def test_exports_tell_why_they_answer_another_class_than_the_likeliest(tmp_path, costs):
    from headstart.core import model_manifest
    from headstart.exporting import export_run

    positive, threshold = ("", None) if costs else ("green", 0.02)
    rule = model_manifest.Decision(positive=positive, threshold=threshold, costs=costs)
    source, pictures = export_runs.make(tmp_path, decision=rule)
    formats = ["litert", "onnx"] if costs else ["openvino"]  # `predict.py` decides alike in all of them
    export_run.export_run(export_run.load_exporters(formats, "f32"), source, tmp_path / "out", "f32", pictures, 0.0)
    predictions = list(source.model.predict(pictures.files))
    assert sum(one.answer not in ("unknown", one.likeliest) for one in predictions) > 1
    for name in formats:
        folder = tmp_path / "out" / name if costs else tmp_path / "out"
        command = [sys.executable, "-I", folder / "predict.py", *pictures.files]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        for row, want in zip(map(json.loads, done.stdout.splitlines()), predictions, strict=True):
            assert (row["answer"], row["likeliest"], row["plausible"]) == (
                want.answer,
                want.likeliest,
                list(want.plausible),
            )
            assert row["confidence"] == pytest.approx(want.probabilities[want.likeliest], abs=1e-4)
            assert row["reasons"] == ([] if want.unknown else list(want.reasons))


def test_a_threshold_two_inputs_and_odd_names_are_answered_by_predict_py(tmp_path):
    from headstart.core import model_manifest
    from headstart.exporting import export_run

    names = ('bl"ue\n, `b`', "gr'een\r<&>", "röd 漢 \\ \udce9")
    rule = model_manifest.Decision(positive=names[1], threshold=0.05, costs=None)
    source, pictures = export_runs.make(tmp_path, sizes=(32, 48), doubt="", decision=rule, class_names=names)
    wanted = export_run.load_exporters(["openvino"], "f32")
    (found,) = export_run.export_run(wanted, source, tmp_path / "out", "f32", pictures, 0.0)
    assert found.label_agreement == 1.0 and found.parity_max_abs < 1e-4
    said = [one.answer for one in source.model.predict(pictures.files)]
    assert said.count(names[1]) > len(said) / 3 + 2  # the threshold is low, so that others are called green too
    told = json.loads((tmp_path / "out" / "model.json").read_text())
    assert [one["size_px"] for one in told["inputs"]] == [32, 48]
    assert told["class_names"] == list(names)
    assert json.loads(words_of(tmp_path / "out", "openvino")) == told
    first = (tmp_path / "out" / "README.md").read_text().splitlines()[2]  # all names on one line
    assert first == r"""Answers with one of `bl"ue\n, `b``, `gr'een\r<&>`, `röd 漢 \ \udce9`."""
    assert told["doubt"] is None and "unknown" not in told["outputs"]
    assert np.isclose(told["decision"]["threshold"], 0.05)
