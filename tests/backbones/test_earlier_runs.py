"""A run folder is a file of somebody: what it names is looked at before it is read."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import headstart
import tuned_samples as samples
from headstart.backbones.earlier_runs import run_backbone, tuned_network
from headstart.backbones.imported import description
from headstart.core.errors import DataError
from headstart.core.storage import serialization
from headstart.core.storage.cache import Store
from headstart.core.storage.files import write_json
from headstart.core.types import NETWORK_METHODS, FitResult
from headstart.finetuning.final_training import SCRATCH, TUNED, network_file_name


@pytest.fixture
def run_naming(tmp_path, context):
    """A function that writes a run whose network is the named file."""
    from headstart.data.reading.read_dataset import read_dataset as read

    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for at in range(40):
            pixels = np.random.default_rng(at).integers(0, 256, (24, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{at}.png")
    adapted = samples.findings(read(str(tmp_path / "data"), ctx=context(data=tmp_path / "data"))).adapted

    def make(file):
        network = dataclasses.replace(samples.network(), file=file)
        tuning = dataclasses.replace(adapted.tuning, network=network)
        serialization.save_value(dataclasses.replace(adapted, tuning=tuning), tmp_path / "run" / "adapt")
        write_json(tmp_path / "run" / "format.json", {"format": 1})
        return tmp_path / "run"

    return make


def test_a_run_that_names_a_file_elsewhere_is_refused(run_naming, tmp_path):
    store = Store(tmp_path / "own")
    (tmp_path / "secret.keras").write_text("x")
    for file in (str(tmp_path / "secret.keras"), "../secret.keras", "adapt/../../secret.keras", "adapt\\model.keras"):
        run = run_naming(file)
        network = serialization.find_value(FitResult, run / "adapt").tuning.network
        for way in (
            lambda run=run: run_backbone.open_run(run, store),
            lambda run=run: headstart.load(run).keras_model(),
            lambda run=run, network=network: tuned_network.make_backbone(network, run),
        ):
            with pytest.raises(DataError, match="as its network"):
                way()
    assert not store.root.exists()
    prefixes = (TUNED, SCRATCH, *(f"{method}:" for method in NETWORK_METHODS))
    assert set(tuned_network.MODELS) == set(map(network_file_name, prefixes))


def test_pictures_are_read_of_names_in_the_cache_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own"))
    write_json(tmp_path / "own" / "named" / "run" / "mine-1.0.pictures", ["a"])
    write_json(tmp_path / "own" / "named" / "x.pictures", ["b"])
    assert description.read_training_digests("run", "mine-1.0") == {"a"}
    for name in ("../x", str(tmp_path / "own" / "named" / "x"), "", "none"):
        assert description.read_training_digests("run", name) == frozenset()
