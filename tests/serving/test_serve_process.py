"""The service over time: it starts light, follows its run folder, drops nothing, and ends when everyone is answered."""

import asyncio
import dataclasses
import json
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import save_file

from command_line import LITE0
from headstart.backbones import loading
from headstart.core import model_manifest
from headstart.core.console import Console
from headstart.core.run.folder import RunFolder
from headstart.core.run.mirror.mirroring import mirror_run
from headstart.core.storage.hashing import file_digest
from headstart.core.storage.locations import object_store
from headstart.core.storage.locations.uploads import upload_folder
from headstart.core.types import Feature
from headstart.serving.http.access_log import AccessLog
from headstart.serving.inference.model_registry import ModelRegistry, open_model, parse_model_names
from headstart.serving.prometheus_metrics import Metrics
from headstart.serving.request_limits import Limits, Load
from headstart.testing.tiny_model import write_tiny_model
from object_servers import serve_s3
from serving_bench import BLUE, GREEN, KEY, RED, Service, picture

pytestmark = pytest.mark.medium


def again(folder, **changes):
    """Write a model's manifest anew, as another model."""
    model_manifest.write_manifest(dataclasses.replace(model_manifest.read_manifest(folder), **changes), folder)


def until(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


class Asking:
    """Clients that ask without a pause; what they were told."""

    def __init__(self, service, clients=3):
        self.answers, self.errors, self._ended = [], [], threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(service,)) for _ in range(clients)]

    def _ask(self, service):
        while not self._ended.is_set():
            found = service.predict(RED, BLUE)
            if found.status_code == 200:
                self.answers.append(tuple(row["answer"] for row in found.json()["answers"]))
            else:
                self.errors.append(found.text)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._ended.set()
        for thread in self._threads:
            thread.join()


def test_a_changed_run_is_served_without_a_lost_request(tmp_path):
    model = write_tiny_model(tmp_path / "model")
    with Service(f"m={model}", words=["--api-key-file", _keys(tmp_path)], key=KEY) as service:
        version = service.client.get("/v1/models/m").json()["version"]
        with Asking(service) as asking:
            for turn in range(3):
                again(model, headstart=f"0.{turn}")
                assert service.client.post("/v1/models/m/reload").json()["changed"] is True
            again(model, class_names=("sea", "grass", "fire"))
            until(lambda: ("fire", "sea") in asking.answers)  # found without being told
        assert asking.errors == [] and set(asking.answers) == {("red", "blue"), ("fire", "sea")}
        assert service.client.get("/v1/models/m").json()["version"] != version
        assert service.metric('headstart_loads_total{model="m",outcome="loaded"}') == 5


def test_a_damaged_new_model_is_refused_and_the_old_one_stays(tmp_path):
    model = write_tiny_model(tmp_path / "model")
    with Service(f"m={model}", words=["--api-key-file", _keys(tmp_path)], key=KEY) as service:
        whole = (model / "head.safetensors").read_bytes()
        again(model, headstart="0.1")
        (model / "head.safetensors").write_bytes(whole[:-4] + bytes(4) + b"x")
        found = service.client.post("/v1/models/m/reload")
        assert found.status_code == 409 and "the old one is still served" in found.json()["error"]["what"]
        until(lambda: service.metric('headstart_loads_total{model="m",outcome="refused"}') >= 2)
        assert service.predict(GREEN).json()["answers"][0]["answer"] == "green"
        assert any("is not as it was written" in line for line in service.lines)
        shutil.rmtree(model)  # even without its files the old one answers
        assert service.predict(GREEN).json()["answers"][0]["answer"] == "green"
        assert service.client.post("/v1/models/m/reload").status_code == 409


def test_a_run_in_a_bucket_is_looked_at_and_a_new_model_is_served(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    model, address = tmp_path / "run" / "model", "s3://shop/served"
    log = AccessLog("off")

    async def serve(server, names):
        load = Load(Limits())
        models = {name: open_model(name, place) for name, place in names.items()}
        with ThreadPoolExecutor(1) as pool:
            registry = ModelRegistry(models=models, pool=pool, load=load, metrics=Metrics(load), log=log)
            registry.start_workers()
            versions = [registry.models[name].version for name in names]
            watch = asyncio.create_task(registry.watch_places(0.05, remote=True))
            assert not await registry.reload_model("run")
            server.faults["manifest.json"] = "403 Forbidden"
            while not registry._refused:
                await asyncio.sleep(0.02)
            assert "is not permitted" in registry._refused["copy"]
            server.faults.clear()
            with mirror_run(f"{address}/run", tmp_path / "run", Console(quiet=True)):
                again(model, headstart="0.1")
            upload_folder(model, f"{address}/model", Console(quiet=True))
            while any(registry.models[name].version == old for name, old in zip(names, versions, strict=True)):
                await asyncio.sleep(0.02)
            watch.cancel()
            await registry.stop_workers()

    with serve_s3() as server:
        monkeypatch.setattr(object_store, "RETRIES", 0)
        object_store._make_store.cache_clear()
        server.put("shop", {})
        run = RunFolder(tmp_path / "run")
        with mirror_run(f"{address}/run", run.path, Console(quiet=True)), run.lock_folder():
            write_tiny_model(model)
        upload_folder(model, f"{address}/model", Console(quiet=True))
        names = parse_model_names([f"{address}/run", f"copy={address}/model"])
        asyncio.run(asyncio.wait_for(serve(server, names), 30))


def test_a_request_that_comes_slowly_outlives_the_model_that_it_began_with(tmp_path):
    model = write_tiny_model(tmp_path / "model")
    words = ["--api-key-file", _keys(tmp_path), "--timeout", "8s"]
    with Service(f"m={model}", words=words, key=KEY) as service:
        loads = 'headstart_loads_total{model="m",outcome="loaded"}'
        version = service.client.get("/v1/models/m").json()["version"]

        def body():
            yield RED[:10]
            again(model, headstart="0.1", class_names=("sea", "grass", "fire"))
            until(lambda: service.metric(loads) == 2)
            time.sleep(0.2)  # the old model has ended: nothing waited for it
            yield RED[10:]

        found = service.client.post("/v1/predict", content=body(), headers={"content-type": "image/png"})
        assert found.status_code == 200, found.text
        assert found.json()["answers"][0]["answer"] == "fire"
        assert service.client.get("/v1/models/m").json()["version"] != version
        assert service.metric("headstart_queue_pictures") == 0


def test_only_the_model_that_answers_is_explained(tmp_path):
    from headstart.runtime.inputs.decoded_batches import Content
    from headstart.serving.request_limits import Refusal
    from headstart.serving.routes.explanations import _explain_upload

    model = write_tiny_model(tmp_path / "model")
    served, picture = open_model("m", model), Content("red.png", RED)
    again(model, class_names=("sea", "grass", "fire"))
    with pytest.raises(Refusal, match="holds another one") as refused:
        _explain_upload(served, picture, 10**6)
    assert refused.value.status == 503 and served.explainer is None
    again(model, class_names=served.model.class_names)
    assert _explain_upload(served, picture, 10**6)["answer"]["answer"] == "red"


def test_counts_that_cannot_be_kept_are_told_at_the_start(tmp_path, capsys):
    from headstart.cli.main import main

    model = write_tiny_model(tmp_path / "model")
    (model / "usage.json").write_text("{}")
    assert main(["serve", str(model), "--port", "0", "--usage", str(tmp_path / "usage.jsonl")]) == 3
    assert "is no reference" in capsys.readouterr().err


def test_what_was_begun_is_answered_at_the_end(tiny, tmp_path):
    slow = picture("blue", (3000, 3000))
    with Service(tiny, env={"HEADSTART_THREADS": "1"}) as service:
        got = []
        asking = threading.Thread(target=lambda: got.append(service.predict(*[slow] * 12)))
        asking.start()
        until(lambda: service.metric("headstart_queue_pictures") > 0)
        assert service.stop() == 0
        asking.join()
        assert got[0].status_code == 200
        assert [row["answer"] for row in got[0].json()["answers"]] == ["blue"] * 12


def test_ctrl_c_ends_it_too_and_usage_is_written(tmp_path):
    model = write_tiny_model(tmp_path / "model")
    with Service(model, words=["--usage", tmp_path / "usage.jsonl", "--log", "off"]) as service:
        service.predict(("secret.png", RED), RED, b"no picture")
        assert service.stop(signal.SIGINT) == 0
        text = (tmp_path / "usage.jsonl").read_text()
        [line] = [json.loads(line) for line in text.splitlines()]
        assert line["model"] and "secret" not in text
        assert service.lines == []


def test_ipv6_and_other_names(tiny):
    with Service(tiny, words=["--host", "localhost", "--allow-host", "Cats.example"]) as service:
        assert service.client.get("/readyz", headers={"host": "cats.example"}).status_code == 200
        assert service.client.get("/readyz", headers={"host": "dogs.example"}).status_code == 403


def test_a_run_folder_names_its_model(tmp_path):
    (tmp_path / "my run (2)" / "model").mkdir(parents=True)
    assert list(parse_model_names([str(tmp_path / "my run (2)")])) == ["my-run-2"]
    assert list(parse_model_names([str(tmp_path / "my run (2)" / "model")])) == ["my-run-2"]
    assert list(parse_model_names(["a=x", "b=y"])) == ["a", "b"]


def test_weights_that_are_written_over_in_place_end_nothing(tmp_path, shared_store):
    model = _real(tmp_path / "model", shared_store)
    with Service(f"m={model}") as service:
        before = service.predict(RED).json()["answers"][0]["probabilities"]
        weights = model / "lite0" / "trunk.bin"
        assert weights.stat().st_size > 1_000_000
        weights.write_bytes(b"not the weights")
        for _ in range(3):
            assert service.predict(RED).json()["answers"][0]["probabilities"] == before


def _real(folder, store):
    """A model on a bundled trunk, whose weights are megabytes, with a head that was never fitted."""
    found = loading.find_backbone(LITE0)
    side, last = found.spec.input.size_px, found.spec.depths[-1]
    built = loading.make_trunk_folder(found, store, Console(quiet=True), np.zeros((4, side, side, 3), np.uint8))
    shutil.copytree(built, folder / "lite0")
    weights = np.random.default_rng(0).normal(0, 0.1, (last.dim, 3)).astype(np.float32)
    save_file({"weights": weights, "bias": np.zeros(3, np.float32)}, folder / "head.safetensors")
    entry = model_manifest.TrunkEntry(
        name=LITE0,
        revision="1",
        input=found.spec.input,
        depths=found.spec.depths,
        precision="f32",
        licence="Apache-2.0",
        licence_note="",
        ir="lite0/trunk.xml",
        files=model_manifest.entry_files(folder, "lite0"),
    )
    head = model_manifest.HeadEntry(
        name="ridge", kind="linear", arrays="head.safetensors", sha256=file_digest(folder / "head.safetensors")
    )
    told = model_manifest.read_manifest(write_tiny_model(folder.parent / "tiny"))
    features = (Feature(backbone=LITE0, depth=last.name, dim=last.dim),)
    model_manifest.write_manifest(dataclasses.replace(told, trunks=(entry,), features=features, head=head), folder)
    return folder


def _soak(tiny, seconds):
    """Ask for a while; memory in the middle and at the end."""
    with Service(tiny, words=["--log", "off"]) as service:
        with Asking(service, clients=4) as asking:
            time.sleep(seconds / 2)
            middle = service.memory_mb()
            time.sleep(seconds / 2)
        assert asking.errors == [] and set(asking.answers) == {("red", "blue")}
        return middle, service.memory_mb(), len(asking.answers)


def test_a_short_soak(tiny):
    middle, end, count = _soak(tiny, 6)
    assert count > 50 and end < middle + 8


@pytest.mark.slow
def test_a_long_soak(tiny):
    middle, end, count = _soak(tiny, 60)
    assert count > 500 and end < middle + 8


def _keys(folder):
    (folder / "keys").write_text(KEY)
    return folder / "keys"
