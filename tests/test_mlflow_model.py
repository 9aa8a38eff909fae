"""A run in MLflow: what it came to, and a model that MLflow itself loads and that answers as the run does."""

import base64
import importlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

from headstart.api.preflight import find_unused_settings
from headstart.core import job
from headstart.core.errors import DataError
from headstart.reporting.mlflow_run import log_to_mlflow
from headstart.runtime import mlflow_model, pyfunc
from headstart.runtime.model import load
from made_runs import TRUNK, dataset, write

# mlflow 3.17 uses a loader that SQLAlchemy 2.1 calls deprecated
FOREIGN = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
TARGETS = np.arange(60) % 3
LOADS = """
import json, sys
import mlflow, pandas
uri, model, *pictures = sys.argv[1:]
mlflow.set_tracking_uri(uri)
loaded = mlflow.pyfunc.load_model(model)
contents = [open(path, "rb").read() for path in pictures]
found = loaded.predict(pandas.DataFrame({"picture": contents}))
example = loaded.predict(loaded.input_example)
try:
    loaded.predict(pandas.DataFrame({"file": contents}))
    refused = ""
except mlflow.exceptions.MlflowException as err:
    refused = str(err)
told = {"rows": found.to_dict("records"), "example": example.to_dict("records"), "refused": refused}
told["inputs"] = [one.name for one in loaded.metadata.signature.inputs.inputs]
told["framework"] = sorted({"tensorflow", "keras"} & set(sys.modules))
print(json.dumps(told))
"""


@pytest.fixture
def folder(saved, tmp_path):
    """The tiny model as MLflow reads it."""
    mlflow_model.write_mlflow_model(saved, load(saved).class_names, tmp_path / "for_mlflow", made_with="0.1.0")
    return tmp_path / "for_mlflow"


@pytest.fixture
def finished(tmp_path):
    """A finished run with the tiny model in it."""
    path = write(tmp_path / "run", dataset(TARGETS), TARGETS[-30:], track="mlflow")
    (path / "README.md").write_text("a card")
    return path


def test_the_description_names_a_module_and_no_object(folder):
    told = yaml.safe_load((folder / "MLmodel").read_text())
    assert told["flavors"]["python_function"]["loader_module"] == "headstart.runtime.pyfunc"
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert files >= {"MLmodel", "requirements.txt", "python_env.yaml", "input_example.json", "manifest.json"}
    assert not [name for name in files if name.endswith((".pkl", ".py", ".joblib"))]
    assert (folder / "requirements.txt").read_text() == "headstart[mlflow]==0.1.0\n"


def test_the_named_module_loads_it_and_answers_as_the_model_does(folder, saved, paint):
    flavour = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]["python_function"]
    loaded = importlib.import_module(flavour["loader_module"])._load_pyfunc(str(folder / flavour["data"]))
    files = [paint(f"{name}.png", name) for name in ("red", "blue", "green")]
    rows = loaded.predict({"picture": [path.read_bytes() for path in files] + [b"no picture"]})
    for row, wanted in zip(rows, load(saved).predict(files), strict=False):
        assert row["answer"] == wanted.answer
        assert [row[f"p {name}"] for name in ("blue", "green", "red")] == list(wanted.probabilities.values())
    assert [row["answer"] for row in rows] == ["red", "blue", "green", ""]
    assert rows[3]["error"]
    assert rows[3]["p red"] == 0.0
    assert loaded.predict([files[0].read_bytes()])[0]["answer"] == "red"


@pytest.mark.parametrize("cell", ["a.png", 7, None, float("nan")])
def test_a_cell_that_holds_no_bytes_is_refused_by_its_number(saved, paint, cell):
    picture = paint("red.png", "red").read_bytes()
    with pytest.raises(TypeError, match=r"`picture` 1 is of type \w+; pass the bytes of a picture file"):
        pyfunc.PyfuncModel(load(saved)).predict([picture, cell])


def test_the_signature_names_what_goes_in_and_comes_out(folder, saved, paint):
    told = yaml.safe_load((folder / "MLmodel").read_text())["signature"]
    inputs, outputs = json.loads(told["inputs"]), json.loads(told["outputs"])
    assert inputs == [{"type": "binary", "name": "picture", "required": True}]
    [row] = pyfunc.PyfuncModel(load(saved)).predict([paint("red.png", "red").read_bytes()])
    assert [one["name"] for one in outputs] == list(row) == pyfunc.answer_columns(("blue", "green", "red"))
    kinds = {"string": str, "boolean": bool, "double": float}
    assert all(type(row[one["name"]]) is kinds[one["type"]] for one in outputs)


def test_the_example_is_a_picture_of_nobodys(folder, saved):
    example = json.loads((folder / "input_example.json").read_text())
    assert example["columns"] == ["picture"]
    [row] = pyfunc.PyfuncModel(load(saved)).predict([base64.b64decode(example["data"][0][0])])
    assert row["answer"] in ("blue", "green", "red")
    assert row["error"] == ""


def test_mlflow_has_an_effect_with_a_probe_and_tensorboard_has_none():
    assert not find_unused_settings(job.make_job(data="x", track="mlflow"))
    [problem] = find_unused_settings(job.make_job(data="x", track="tensorboard"))
    assert problem.what.startswith("track has no effect with strategy `probe`")


@pytest.mark.medium
@FOREIGN
def test_mlflow_is_told_once_however_often_it_is_told(finished, context, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    ctx = context(data="/somewhere/private/blocks", track="mlflow", backbones=("run:/somewhere/private/a",))
    log_to_mlflow(ctx=ctx)
    log_to_mlflow(ctx=ctx)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{(finished / 'mlflow' / 'mlflow.db').as_posix()}")
    [found] = client.search_runs([client.get_experiment_by_name("headstart").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["chosen.features"] == f"{TRUNK}@stage4"
    assert found.data.params["chosen.strength"] == "0.5"
    assert found.data.params["seed"] == "0"
    assert not [value for value in found.data.params.values() if "private" in value]
    assert found.data.metrics["test/accuracy"] == 1.0
    assert 0.85 < found.data.metrics["test/accuracy.low"] < 1.0
    assert found.data.metrics["test/accuracy.n"] == 30
    assert found.data.metrics["test/recall/red"] == 1.0
    assert found.data.tags["headstart.data"] == dataset(TARGETS).digest
    [pictures] = [one.dataset for one in found.inputs.dataset_inputs]
    assert (pictures.name, pictures.digest) == ("blocks", dataset(TARGETS).digest[:36])
    artifacts = {one.path for one in client.list_artifacts(found.info.run_id)}
    assert artifacts == {"README.md", "model"}
    assert {one.path for one in client.list_artifacts(found.info.run_id, "model")} >= {"model/MLmodel", "model/model"}


def test_an_unfinished_run_is_not_told(finished, context):
    (finished / "adapt" / "value.json").unlink()
    with pytest.raises(DataError, match="has not come to `adapt` yet"):
        log_to_mlflow(ctx=context(track="mlflow"))


@pytest.mark.medium
@FOREIGN
def test_mlflow_itself_loads_the_model(finished, context, paint):
    log_to_mlflow(ctx=context(track="mlflow"))
    number = json.loads((finished / "mlflow" / "runs.json").read_text())[""]
    uri = f"sqlite:///{(finished / 'mlflow' / 'mlflow.db').as_posix()}"
    files = [paint(f"{name}.png", name) for name in ("green", "red")]
    done = subprocess.run(
        [sys.executable, "-c", LOADS, uri, f"runs:/{number}/model", *map(str, files)],
        env={**os.environ, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["inputs"] == ["picture"]
    assert told["framework"] == []
    assert "missing inputs ['picture']" in told["refused"]
    assert told["example"][0]["error"] == ""
    for row, wanted in zip(told["rows"], load(finished).predict(files), strict=True):
        assert row["answer"] == wanted.answer
        assert [row[f"p {name}"] for name in ("blue", "green", "red")] == pytest.approx(
            list(wanted.probabilities.values())
        )
