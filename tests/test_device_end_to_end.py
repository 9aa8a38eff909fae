"""A whole fit on two devices beside the processor: Keras on the processor is shown as GPUs, for there is none here."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import headstart
from command_line import call
from drawn_pictures import write_stripes
from headstart.core.console import Console
from headstart.core.errors import SetupError
from headstart.finetuning.training import trainer
from headstart.networks.devices import Device
from headstart.testing.devices import replace_gpus
from network_files import tiny_keras

pytestmark = pytest.mark.medium
GPU = Device(name="Bench GPU", place="cpu:0", memory_bytes=2**31, capability=(7, 5))
SECOND = dataclasses.replace(GPU, place="cpu:1")  # TensorFlow puts it on the one processor there is
SETTINGS = {"backbones": "saved_file:tiny", "strategy": "finetune", "folds": 2, "resize": "crop"}
SETTINGS |= {"recipe": "epochs=2,batch=16,precision=mixed_float16"}


def test_a_run_embeds_and_trains_on_the_devices_and_ends_where_it_began(tmp_path, monkeypatch):
    tiny_keras(tmp_path / "tiny.keras")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    call("backbones", "add", tmp_path / "tiny.keras", light=False)
    pictures, quiet = write_stripes(tmp_path / "stripes", 6), Console(quiet=True)
    monkeypatch.setattr(trainer, "measure_step_s", lambda *_, places: 1 / (1 + len(places)))
    with replace_gpus(GPU, SECOND):
        run = headstart.fit(pictures, out=tmp_path / "run", device="gpu", console=quiet, **SETTINGS)
    decisions = [json.loads(line) for line in (run.path / "decisions.jsonl").read_text().splitlines()]
    assert decisions[0]["name"] == "device" and decisions[0]["value"] == "Bench GPU"
    (steps,) = (entry["value"] for entry in decisions if entry["name"].startswith("adapt/devices/"))
    assert steps["count"] == 2
    engines = {entry["value"]["engine"] for entry in decisions if entry["name"].startswith("engine/")}
    records = [json.loads(path.read_text())["key"]["engine"] for path in (run.path / "embed").glob("*.json")]
    assert set(records) == engines and all(name.endswith("on Bench GPU") for name in engines)
    assert run.adapted.tuning.network.recipe.precision == "mixed_float16"
    assert 'device = "gpu"' in (run.path / "job.toml").read_text()
    stdout, _ = call("predict", run.path, *sorted(pictures.rglob("*.png"))[:2], "--format", "jsonl")
    assert len(stdout.splitlines()) == 2  # by OpenVINO, from the exported model

    cut = tmp_path / "cut"  # as a kill in the training leaves it
    shutil.copytree(run.path, cut)
    shutil.rmtree(cut / "adapt")
    (cut / "report.html").unlink()
    with pytest.raises(SetupError, match="no GPU can be used: there is no driver"):
        headstart.fit(pictures, out=cut, device="gpu", console=quiet, **SETTINGS)
    monkeypatch.setattr(trainer, "measure_step_s", None)  # nothing is measured again
    with replace_gpus(GPU, SECOND):
        again = headstart.fit(pictures, out=cut, device="gpu", console=quiet, **SETTINGS)
    assert (cut / "decisions.jsonl").read_bytes() == (run.path / "decisions.jsonl").read_bytes()
    for first, second in zip(run.adapted.tuning.logs, again.adapted.tuning.logs, strict=True):
        assert [row.loss for row in first.epochs] == [row.loss for row in second.epochs]
    np.testing.assert_array_equal(run.evaluation.probabilities, again.evaluation.probabilities)
