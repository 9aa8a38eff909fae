"""Exports of real architectures: what goes, what is named as impossible, and that a clean environment suffices."""

import json
import subprocess
import sys
import venv

import keras
import pytest

import export_runs
import official_files
from command_line import LITE0
from headstart.core.errors import SetupError
from headstart.core.storage.cache import Store
from headstart.exporting import export_run

pytestmark = pytest.mark.slow


@pytest.fixture
def family(tmp_path, monkeypatch):
    """A function that makes a source of a preset whose official file is drawn at random."""

    def make(preset):
        monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path / "mirror"))
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        official_files.write(preset, tmp_path / "mirror")
        (tmp_path / "run").mkdir()
        return export_runs.make_of(tmp_path / "run", f"keras_applications:{preset}", Store(tmp_path / "cache"))

    yield make
    keras.backend.clear_session()


@pytest.mark.parametrize("preset", ["resnet50", "vgg16", "mobilenet_v3_small"])
def test_a_family_answers_in_every_format(family, preset, tmp_path):
    source, pictures = family(preset)
    wanted = export_run.load_exporters(("openvino", "keras", "onnx", "litert"), "f32")
    for found in export_run.export_run(wanted, source, tmp_path / "out", "f32", pictures, 0.0):
        assert found.parity_max_abs < 1e-4, found.format
        assert found.label_agreement >= 0.95, found.format


@pytest.mark.parametrize("preset", ["convnext_tiny", "efficientnet_b0"])
def test_an_export_that_its_runtime_refuses_is_named_and_nothing_is_left(family, preset, tmp_path):
    source, pictures = family(preset)
    with pytest.raises(SetupError, match=r"the `onnx` export was written, but its runtime cannot answer"):
        export_run.export_run(
            export_run.load_exporters(["onnx"], "f32"), source, tmp_path / "out", "f32", pictures, 0.0
        )
    assert not (tmp_path / "out").exists()
    (found,) = export_run.export_run(
        export_run.load_exporters(["openvino"], "f32"), source, tmp_path / "out", "f32", pictures, 0.0
    )
    assert found.parity_max_abs < 1e-4


@pytest.fixture(scope="module")
def lite0(shared_store, tmp_path_factory):
    return export_runs.make_of(tmp_path_factory.mktemp("lite0"), LITE0, shared_store)


@pytest.mark.parametrize(
    ("name", "precision"), [("onnx", "f16"), ("onnx", "int8"), ("litert", "int8"), ("openvino", "int8")]
)
def test_lower_precisions_are_smaller_and_measured(lite0, name, precision, tmp_path):
    source, pictures = lite0
    wanted = export_run.load_exporters([name], precision)
    (found,) = export_run.export_run(wanted, source, tmp_path / "out", precision, pictures, 1.0)
    (full,) = export_run.export_run(
        export_run.load_exporters([name], "f32"), source, tmp_path / "full", "f32", pictures, 1.0
    )
    assert found.bytes < (0.55 if precision == "f16" else 0.4) * full.bytes
    assert found.score.n == len(pictures.files)
    assert found.score.low <= found.score.change <= found.score.high
    assert bool(found.left_out) == (precision == "int8")


@pytest.mark.parametrize("name", ["onnx", "openvino", "litert"])
def test_predict_py_runs_in_a_clean_environment(lite0, name, tmp_path):
    source, pictures = lite0
    export_run.export_run(export_run.load_exporters([name], "f32"), source, tmp_path / "out", "f32", pictures, 0.0)
    venv.create(tmp_path / "clean")
    python = tmp_path / "clean" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    words = ["install", "-q", "--no-compile", "-r", tmp_path / "out" / "requirements.txt"]
    subprocess.run([*pip, *words], check=True)
    listed = subprocess.run([*pip, "list", "--format", "json"], capture_output=True, check=True)
    assert not {"headstart", "tensorflow", "keras"} & {one["name"] for one in json.loads(listed.stdout)}
    command = [python, "-I", tmp_path / "out" / "predict.py", *pictures.files[:3]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answers = [json.loads(line)["likeliest"] for line in done.stdout.splitlines()]
    assert answers == [one.likeliest for one in source.model.predict(pictures.files[:3])]
