"""A trunk that an earlier run tuned, as the backbone of another; and added files through the whole product."""

import json
import shutil

import numpy as np
import pytest

import headstart
from command_line import LITE0, call, cold
from headstart.backbones import loading
from headstart.backbones.sources.run import PLUGIN
from headstart.core.console import Console
from headstart.core.errors import DataError, UsageError
from headstart.core.storage.cache import Store
from headstart.testing.backbones import check_backbone, compute_vectors
from network_files import write_onnx
from tuning_bench import copies

pytestmark = pytest.mark.slow
RECIPE = "epochs=1,batch=16,rate=2e-3,augment=0,blocks=1,depths=stage4+last"


@pytest.fixture(scope="module")
def few(textile, tmp_path_factory):
    """12 pictures of each class, twice: the tasks A and B."""
    root = tmp_path_factory.mktemp("few")
    return copies(textile, root / "a", 12), copies(textile, root / "b", 12, start=12)


@pytest.fixture(scope="module")
def cache(shared_store, tmp_path_factory):
    """A cache of these tests' own, with the bundled weights."""
    return cold(shared_store, tmp_path_factory.mktemp("cache"), kinds=("weights", "trunks", "wheels"))


@pytest.fixture(scope="module")
def tuned(few, cache, tmp_path_factory):
    """Run A: Lite0's last block tuned for one epoch."""
    out = tmp_path_factory.mktemp("runs") / "task a"
    words = ("fit", few[0], "--backbones", LITE0, "--strategy", "finetune", "--recipe", RECIPE, "--folds", "2")
    call(*words, "--out", out, "--json", env=cache, light=False, timeout=900)
    return out


@pytest.fixture
def own(cache, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", cache["HEADSTART_CACHE"])
    return Store(headstart.core.settings.cache_folder())


def test_a_run_is_a_backbone_without_its_path(tuned, own):
    found = loading.find_backbone(f"run:{tuned}")
    assert found.name.startswith("run:task_a-")
    assert str(tuned.parent) not in json.dumps([found.name, str(found.spec)])
    assert [d.name for d in found.spec.depths] == ["stage3", "stage4", "stage5", "last", "features"]
    assert found.name in loading.list_backbones()
    assert loading.find_backbone(found.name).spec == found.spec
    check_backbone(PLUGIN, found.preset, own)


def test_its_features_are_those_of_the_tuned_network(tuned, own):
    found = loading.find_backbone(f"run:{tuned}")
    network = headstart.load(tuned).keras_model()
    pictures = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    features = compute_vectors(found.build(own), pictures)[-1]
    head = headstart.load(tuned).adapted.tuning.network.fitted.arrays
    logits = features @ head["weights"] + head["bias"]
    answers = np.exp(logits - logits.max(1, keepdims=True))
    answers /= answers.sum(1, keepdims=True)
    np.testing.assert_allclose(network.predict_on_batch(pictures.astype(np.float32)), answers, atol=1e-4)


def test_one_task_helps_another_and_the_first_run_may_go(few, tuned, cache, tmp_path):
    copy = tmp_path / "earlier"
    shutil.copytree(tuned, copy)
    out = tmp_path / "b"
    words = ("fit", few[1], "--backbones", f"run:{copy}", "--strategy", "probe", "--folds", "2", "--out", out)
    stdout, _ = call(*words, "--json", env=cache, light=False, timeout=900)
    chosen = json.loads(stdout)["chosen"]
    assert all(one.startswith("run:earlier-") for one in chosen)
    assert str(copy.parent) not in (out / "rank" / "value.json").read_text()
    assert str(copy.parent) not in (out / "report.html").read_text()
    shutil.rmtree(copy)
    stdout, _ = call("backbones", "show", f"run:{copy}", "--json", env=cache)
    assert chosen[0].startswith(json.loads(stdout)["backbones"][0]["name"])
    picture = next((few[1] / "global").glob("*.jpg"))
    stdout, _ = call("predict", out, picture, "--format", "jsonl", env={"HEADSTART_CACHE": str(tmp_path / "empty")})
    assert json.loads(stdout.splitlines()[0])["answer"]
    words = ("rank", few[0], "--backbones", chosen[0].partition("@")[0], "--out", tmp_path / "r")
    _, stderr = call(*words, env=cache, light=False)
    assert f"{chosen[0].partition('@')[0]} learnt from" in stderr
    assert "of these 36 pictures: all its scores here are too good" in stderr


def test_a_tuned_trunk_is_tuned_again(few, tuned, cache, tmp_path):
    recipe = "epochs=1,batch=16,rate=2e-3,augment=0,blocks=1,depths=stage4"
    words = ("fit", few[1], "--backbones", f"run:{tuned}", "--strategy", "finetune", "--recipe", recipe, "--folds", "2")
    stdout, _ = call(*words, "--out", tmp_path / "b", "--json", env=cache, light=False, timeout=900)
    assert json.loads(stdout)["chosen"][0].startswith("tuned:run:task_a-")
    again = trunk_name(tmp_path / "b", cache)
    assert again.startswith("run:b-")


def trunk_name(run, cache):
    stdout, _ = call("backbones", "show", f"run:{run}", "--json", env=cache, light=False)
    return json.loads(stdout)["backbones"][0]["name"]


def test_a_file_of_ones_own_goes_through_fit_and_is_not_needed_to_predict(few, cache, tmp_path):
    write_onnx(tmp_path / "mine.onnx")
    call("backbones", "add", tmp_path / "mine.onnx", env=cache)
    (tmp_path / "mine.onnx").unlink()
    words = ("fit", few[0], "--backbones", "saved_file:mine", "--folds", "2", "--out", tmp_path / "run")
    _, stderr = call(*words, "--strategy", "auto", "--json", env=cache)
    assert "saved_file:mine is not fine-tuned: it is kept as a graph" in stderr
    empty = {"HEADSTART_CACHE": str(tmp_path / "empty")}
    picture = next((few[0] / "local").glob("*.jpg"))
    stdout, _ = call("predict", tmp_path / "run", picture, "--format", "jsonl", env=empty)
    assert json.loads(stdout.splitlines()[0])["answer"]
    words = ("fit", few[0], "--backbones", "saved_file:mine", "--strategy", "finetune", "--out", tmp_path / "no")
    _, stderr = call(*words, "--folds", "2", env=cache, code=3)
    assert "nothing can be fine-tuned: `saved_file:mine` is kept as a graph" in stderr
    _, stderr = call("backbones", "show", f"run:{tmp_path / 'run'}", env=cache, code=2)
    assert "kept a frozen probe" in stderr
    assert "`saved_file:mine`" in stderr


def test_what_is_no_run_is_said(own, tmp_path):
    assert PLUGIN.open_preset(str(tmp_path / "none"), Console(quiet=True)) == ""
    with pytest.raises(DataError):
        PLUGIN.open_preset(str(tmp_path), Console(quiet=True))
    with pytest.raises(UsageError, match="no backbone is named `run:none`"):
        loading.find_backbone("run:none")
