"""Which engine embeds where there are two. The second one is Keras on the processor, shown as a GPU."""

import numpy as np
import pytest

from headstart.backbones import loading
from headstart.core.console import Console
from headstart.core.errors import SetupError
from headstart.core.storage.cache import Store
from headstart.data.reading.read_dataset import read_dataset as read
from headstart.features import engine_choice, extraction
from headstart.networks import openvino_conversion, openvino_engine
from headstart.networks.devices import Device
from headstart.testing.devices import replace_gpus

pytestmark = pytest.mark.medium
NAME = "bundled:efficientnet_lite0"
GPU = Device(name="Bench GPU", place="cpu:0")
ROWS = np.arange(10)


@pytest.fixture
def store(tmp_path, shared_store):
    """The shared weights and trunks, but no vectors."""
    root = tmp_path / "cache"
    root.mkdir()
    for kind in ("weights", "trunks", "paces"):
        (shared_store.root / kind).mkdir(exist_ok=True)
        (root / kind).symlink_to(shared_store.root / kind, target_is_directory=True)
    return Store(root)


@pytest.fixture(scope="module")
def built():
    """Engines by backbone, built once for the tests here."""
    return {}


@pytest.fixture(autouse=True)
def device_engines(monkeypatch, built):
    load = loading.load_device_engine

    def load_once(trunk, *surroundings):
        if trunk.name not in built:
            built[trunk.name] = load(trunk, *surroundings)
        return built[trunk.name]

    monkeypatch.setattr(loading, "load_device_engine", load_once)


@pytest.fixture
def data(small_textile, context, store):
    folder = small_textile(4)
    return read(folder, ctx=context(data=folder, store=store, name="reading"))


def test_the_engine_is_measured_recorded_and_a_part_of_the_cache_key(data, context, store, monkeypatch, capfd):
    plain = context(store=store, name="plain")
    ours = extraction.extract_features(data, NAME, ROWS, ctx=plain)
    assert ours.key.engine == openvino_engine.engine_name() and plain.run.read_decisions() == []
    with replace_gpus(GPU):
        ctx = context(store=store, name="gpu", device="gpu")
        ctx.console = Console()
        theirs = extraction.extract_features(data, NAME, ROWS, ctx=ctx)
        name = theirs.key.engine
        assert name.startswith("keras 3.") and name.endswith("on Bench GPU") and theirs.cached == 0
        assert f"by {name}; {name} embeds" in capfd.readouterr().err
        for depth in ours.vectors:
            row = openvino_conversion.compare_vectors(theirs.vectors[depth], ours.vectors[depth])
            assert row["max_relative"] <= openvino_conversion.PARITY_MAX
        _, decision = ctx.run.read_decisions()
        assert decision["value"]["engine"] == name and len(decision["value"]["images_per_s"]) == 2
        monkeypatch.setattr(engine_choice, "_measure_engines", None)  # nothing is measured again
        again = extraction.extract_features(data, NAME, ROWS, ctx=context(store=store, name="gpu", device="gpu"))
        assert again.cached == len(ROWS) and again.key == theirs.key
    with pytest.raises(SetupError, match="no GPU can be used"):
        extraction.extract_features(data, NAME, ROWS, ctx=context(store=store, name="gpu", device="gpu"))


def test_auto_takes_the_faster_engine_if_their_vectors_agree(data, context, store, monkeypatch, capfd):
    paces = {"Engine": 100.0, "DeviceEngine": 50.0}
    monkeypatch.setattr(engine_choice, "_measure_pace", lambda engine, _: paces[type(engine).__name__])
    monkeypatch.setattr(engine_choice, "_PICTURES", 8)

    def embed(name, **settings):
        ctx = context(store=store, name=name, **settings)
        ctx.console = Console()
        return extraction.extract_features(data, NAME, ROWS[:8], ctx=ctx).key.engine

    with replace_gpus(GPU):
        assert embed("slower") == openvino_engine.engine_name()
        paces["DeviceEngine"] = 500.0
        assert embed("slower") == openvino_engine.engine_name()  # a run that goes on repeats its choice
        assert embed("faster").endswith("on Bench GPU")
        monkeypatch.setattr(openvino_conversion, "PARITY_MAX", 0.0)
        assert embed("apart") == openvino_engine.engine_name()
        assert "OpenVINO and Keras on Bench GPU disagree" in capfd.readouterr().err
        with pytest.raises(SetupError, match="disagree"):
            embed("insists", device="gpu")
