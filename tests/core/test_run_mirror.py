"""Runs in buckets: whole at any moment, one writer, and the same after a kill on another machine."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from headstart.core.console import Console
from headstart.core.errors import BusyError, DataError, SetupError, UsageError
from headstart.core.run.folder import RunFolder
from headstart.core.run.mirror import lease as leases
from headstart.core.run.mirror.fetching import locate_run
from headstart.core.run.mirror.lease import LEASE, take_lease
from headstart.core.run.mirror.mirroring import bring_run, mirror_run
from headstart.core.run.mirror.run_index import INDEX, find_index
from headstart.core.storage.files import write_bytes, write_json
from headstart.core.storage.locations import object_store, uploads
from object_servers import serve_azure, serve_google, serve_s3

CONSOLE = Console(quiet=True)
BUCKETS = (f"mirror-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server():
    with serve_s3() as server:
        yield server


@pytest.fixture
def address(server, monkeypatch):
    monkeypatch.setattr(object_store, "RETRIES", 1)
    monkeypatch.setattr(object_store, "_BACKOFF", {"init_backoff": object_store.timedelta(milliseconds=1)})
    object_store._make_store.cache_clear()
    server.write_faults.clear()
    server.put(name := next(BUCKETS), {})
    return f"s3://{name}/run"


def read_folder(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in uploads.list_files(folder)}


def bring(address, folder):
    bring_run(address, folder, CONSOLE)
    return read_folder(folder)


def test_what_changes_is_sent_and_a_finished_run_lies_under_its_plain_names(server, address, tmp_path):
    run = RunFolder(tmp_path / "here" / "run")
    with mirror_run(address, run.path, CONSOLE, every_s=60) as mirror, run.lock_folder():
        run.record_decision("pace", lambda: 1)
        write_bytes(run.path / "adapt" / ".work" / "1" / "state-1.json", b"1")
        assert mirror.send_changes()
        first = read_folder(run.path)
        assert bring(address, tmp_path / "other" / "run").items() <= first.items()
        run.record_decision("backbone", lambda: 2)
        write_bytes(run.path / "adapt" / ".work" / "1" / "state-1.json", b"2")
        assert mirror.send_changes()
        assert any(name.startswith(".headstart/versions/") for name in uploads.list_below(address))
        server.requests.clear()
        assert mirror.send_changes() and not server.requests["PUT"]  # nothing changed
    names = set(uploads.list_below(address))
    assert names == set(read_folder(run.path)) - {".lock"} | {INDEX}
    objects = tmp_path / "objects"
    uploads.download_folder(address, objects, CONSOLE)
    assert (objects / "decisions.jsonl").read_bytes() == (run.path / "decisions.jsonl").read_bytes()
    back = bring(address, tmp_path / "other" / "run")
    assert back == {name: content for name, content in read_folder(run.path).items() if name != ".lock"}


def test_changes_are_sent_while_the_run_is_at_work(address, tmp_path):
    with mirror_run(address, tmp_path / "run", CONSOLE, every_s=0.05):
        write_bytes(tmp_path / "run" / "job.toml", b"job")
        for _ in range(100):
            if (index := find_index(address)) and "job.toml" in index.files:
                break
            time.sleep(0.05)
        assert "job.toml" in find_index(address).files


def test_a_second_writer_is_refused_and_an_abandoned_lease_ends(address, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_S", 0.2)
    monkeypatch.setattr(leases, "LEASE_S", 1.0)
    with (
        mirror_run(address, tmp_path / "run", CONSOLE),
        pytest.raises(BusyError, match=rf"another process is writing the run `{address}` \(process {os.getpid()} on"),
        mirror_run(address, tmp_path / "second", CONSOLE),
    ):
        pass
    take_lease(address, CONSOLE)  # and never renewed
    begin = time.monotonic()
    with mirror_run(address, tmp_path / "run", CONSOLE):
        assert time.monotonic() - begin > 0.9


def test_a_writer_that_was_away_too_long_does_not_overwrite_its_successor(address, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_S", 0.3)
    with pytest.raises(BusyError), mirror_run(address, tmp_path / "a" / "run", CONSOLE, every_s=60) as old:
        write_bytes(old.local / "decisions.jsonl", b"old")
        uploads.delete_objects(address, [LEASE])  # as its end
        with mirror_run(address, tmp_path / "b" / "run", CONSOLE, every_s=60) as new:
            write_bytes(new.local / "decisions.jsonl", b"new")
        time.sleep(0.4)
        with pytest.raises(BusyError):
            old.send_changes()
    assert bring(address, tmp_path / "c" / "run") == {"decisions.jsonl": b"new"}


WRITER = """
import sys, time
from pathlib import Path
from headstart.core.console import Console
from headstart.core.run.folder import RunFolder
from headstart.core.run.mirror.mirroring import mirror_run
from headstart.core.storage.files import write_json
run = RunFolder(Path(sys.argv[2]))
with mirror_run(sys.argv[1], run.path, Console(quiet=True), every_s=0.0):
    for number in range(10_000):
        run.record_decision(f"step {number}", lambda: number)
        write_json(run.path / "state" / "last.json", {"step": number})
        write_json(run.path / "state" / f"{number % 7}.json", {"step": number})
        if number == 40:
            print("at work", flush=True)
"""


@pytest.mark.medium
def test_a_killed_writer_leaves_a_state_in_which_no_file_is_ahead_of_its_decision(address, tmp_path):
    begun = 0
    for attempt in range(2):
        local = tmp_path / str(attempt) / "run"
        child = subprocess.Popen([sys.executable, "-c", WRITER, address, local], stdout=subprocess.PIPE)
        late = threading.Timer(120, child.kill)  # a writer that is starved is killed all the same
        late.start()
        child.stdout.readline()
        late.cancel()
        time.sleep(0.2 * attempt)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        state = bring(address, tmp_path / f"{attempt}-back" / "run")
        decisions = RunFolder(tmp_path / f"{attempt}-back" / "run").read_decisions()
        steps = [json.loads(content)["step"] for name, content in state.items() if name.startswith("state/")]
        if steps:
            begun += 1
            assert max(steps) <= decisions[-1]["value"] and len(decisions) == decisions[-1]["value"] + 1
    assert begun
    with mirror_run(address, tmp_path / "last" / "run", CONSOLE):
        pass  # the killed process of this machine is seen at once
    names = set(uploads.list_below(address))
    assert names == set(bring(address, tmp_path / "last" / "run")) | {INDEX}


def test_a_folder_that_is_ahead_stays_and_one_that_is_behind_is_replaced(address, tmp_path):
    here, other = tmp_path / "a" / "run", tmp_path / "b" / "run"
    with mirror_run(address, here, CONSOLE, every_s=60):
        write_bytes(here / "decisions.jsonl", b"1\n")
    write_bytes(here / "decisions.jsonl", b"1\n2\n")
    assert bring(address, here) == {"decisions.jsonl": b"1\n2\n"}
    with mirror_run(address, other, CONSOLE, every_s=60):
        write_bytes(other / "decisions.jsonl", b"1\n3\n")
    write_bytes(here / "stray.json", b"")
    assert bring(address, here) == {"decisions.jsonl": b"1\n3\n"}


def test_a_block_that_fails_leaves_its_state_and_one_that_left_nothing_leaves_nothing(address, tmp_path):
    with pytest.raises(KeyboardInterrupt), mirror_run(address, tmp_path / "run", CONSOLE, every_s=60):
        write_bytes(tmp_path / "run" / "decisions.jsonl", b"1\n")
        raise KeyboardInterrupt
    assert bring(address, tmp_path / "b" / "run") == {"decisions.jsonl": b"1\n"}
    with pytest.raises(UsageError), mirror_run(f"{address}-2", tmp_path / "2" / "run", CONSOLE, every_s=60) as mirror:
        write_bytes(tmp_path / "2" / "run" / "job.toml", b"1")
        mirror.send_changes()
        (tmp_path / "2" / "run" / "job.toml").unlink()
        raise UsageError("no")
    assert not uploads.exists_below(f"{address}-2")


@pytest.mark.parametrize("address", ("gs://gshop/run", "az://photos/run"))
def test_buckets_of_google_and_containers_of_azure_hold_runs(address, tmp_path, monkeypatch):
    """Changes, a second writer, a kill, an end under plain names, and the run as commands open it."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(uploads, "_PART_BYTES", 5_242_880)
    monkeypatch.setattr(leases, "RENEW_S", 0.2)
    object_store._make_store.cache_clear()
    large = bytes(range(256)) * 21_000  # in parts
    with serve_google(tmp_path) as google, serve_azure({"photos": {}}):
        google.put("gshop", {})
        run = RunFolder(tmp_path / "here" / "run")
        with pytest.raises(KeyboardInterrupt), mirror_run(address, run.path, CONSOLE, every_s=60) as mirror:
            with run.lock_folder():
                run.record_decision("pace", lambda: 1)
                write_bytes(run.path / "adapt" / "weights.bin", large)
            assert mirror.send_changes()
            with pytest.raises(BusyError), mirror_run(address, tmp_path / "second" / "run", CONSOLE):
                pass
            write_bytes(run.path / "adapt" / "weights.bin", large[:-1])
            raise KeyboardInterrupt
        assert any(name.startswith(".headstart/versions/") for name in uploads.list_below(address))
        with mirror_run(address, tmp_path / "other" / "run", CONSOLE, every_s=60) as mirror:
            assert (mirror.local / "adapt" / "weights.bin").read_bytes() == large[:-1]
            write_bytes(mirror.local / "adapt" / "weights.bin", b"2")
        names = set(uploads.list_below(address))
        assert names == {"decisions.jsonl", "format.json", "adapt/weights.bin", INDEX}
        assert (locate_run(address) / "adapt" / "weights.bin").read_bytes() == b"2"
    object_store._make_store.cache_clear()


def test_a_store_that_stops_answering_for_a_while_is_told_and_the_run_goes_on(server, address, tmp_path, capsys):
    with mirror_run(address, tmp_path / "run", Console(), every_s=0.05):
        server.write_faults = {"run/": ("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>")}
        write_bytes(tmp_path / "run" / "decisions.jsonl", b"1\n")
        time.sleep(0.5)
        server.write_faults = {}
    assert capsys.readouterr().err.count("is not permitted; the run goes on in") == 1
    assert bring(address, tmp_path / "b" / "run") == {"decisions.jsonl": b"1\n"}


def test_damage_and_places_that_are_no_run_are_refused(server, address, tmp_path):
    bucket = address.split("/")[2]
    with pytest.raises(SetupError, match="there is no bucket"), mirror_run("s3://no-such/run", tmp_path, CONSOLE):
        pass
    server.client().put_object(Bucket=bucket, Key="pictures/1.png", Body=b"1")
    with pytest.raises(UsageError, match="is not empty and is no run"):
        bring_run(f"s3://{bucket}/pictures", tmp_path / "pictures", CONSOLE)
    with mirror_run(address, tmp_path / "run", CONSOLE, every_s=60):
        write_json(tmp_path / "run" / "a.json", 1)
    server.client().put_object(Bucket=bucket, Key="run/a.json", Body=b"2\n")
    with pytest.raises(DataError, match="has another SHA-256"):
        bring_run(address, tmp_path / "b" / "run", CONSOLE)
    assert not (tmp_path / "b" / "run" / "a.json").exists()
    server.client().put_object(Bucket=bucket, Key=f"run/{INDEX}", Body=b"{")
    with pytest.raises(DataError, match="the index of the run .* is damaged"):
        find_index(address)
