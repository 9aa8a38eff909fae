"""Downloads that break off, are gone on with, and are never taken for whole: against real servers on this machine."""

import hashlib
import http.server
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from canary import hdf5
from headstart.backbones.downloads import resumable, weights
from headstart.core.console import Console
from headstart.core.errors import SetupError
from headstart.core.storage.cache import Store

CONTENT, OTHER = hdf5(1_024_000), hdf5(4_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
QUIET = Console(quiet=True)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `content` in the way that the class's attributes say, and remembers what was asked."""

    content = CONTENT
    ranges = True  # honours Range
    tag = '"one"'  # ETag
    stop_after = ()  # bytes after which the first, second, … answer breaks off; None: it does not
    length = True  # says Content-Length
    asked: list

    def do_GET(self):
        first = self._first()
        self.asked.append(first)
        body = self.content[first:]
        self.send_response(206 if first else 200)
        if first:
            end = len(self.content)
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{end}")
        if self.tag:
            self.send_header("ETag", self.tag)
        if self.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        turn = len(self.asked) - 1
        stop = self.stop_after[turn] if turn < len(self.stop_after) else None
        self.wfile.write(body[:stop])

    def _first(self):
        wanted = self.headers.get("Range")
        if not wanted or not self.ranges or self.headers.get("If-Range", self.tag) != self.tag:
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def log_message(self, *given):
        pass


@contextmanager
def serving(**ways):
    """A server; gives (its address, the first byte of every answer)."""
    asked = []
    handler = type("Handler", (Server,), {**ways, "asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def official(md5="", file="weights.h5"):
    return weights.WeightsFile(
        name="source:preset", file=file, url="https://nowhere.invalid/x", bytes=len(CONTENT), md5=md5
    )


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """A function that sets the mirror."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return lambda address: monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(address))


@pytest.fixture
def bring(store, tmp_path, mirror):
    """A function that brings the file from an address."""

    def do(address, md5=MD5, console=QUIET):
        mirror(address)
        target = tmp_path / "target"
        store.root.mkdir(exist_ok=True)
        return weights.fetch_weights(official(md5), target, store, console), target

    return do


def parts(store):
    return sorted(path.name.rpartition(".")[2] for path in (store.root / "partial").glob("*"))


def test_a_whole_file_leaves_nothing_behind(bring, store):
    with serving() as (address, asked):
        origin, target = bring(address)
    assert target.read_bytes() == CONTENT
    assert origin.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert origin.as_pinned
    assert (asked, parts(store)) == ([0], [])


def test_a_break_is_gone_on_with_in_the_same_call(bring):
    with serving(stop_after=(300_000, 200_000)) as (address, asked):
        _, target = bring(address)
    assert target.read_bytes() == CONTENT
    assert asked == [0, 300_000, 500_000]


def test_a_break_is_gone_on_with_by_the_next_command(bring, store, tmp_path):
    with serving(stop_after=(300_000, 100_000, 100_000)) as (address, asked):
        with pytest.raises(SetupError, match=r"broken off after 500.0 kB of 1.0 MB"):
            bring(address)
        assert not (tmp_path / "target").exists()
        assert parts(store) == ["json", "part"]
        _, target = bring(address)
    assert target.read_bytes() == CONTENT
    assert asked == [0, 300_000, 400_000, 500_000]
    assert parts(store) == []


def test_a_server_without_ranges_starts_over(bring):
    with serving(ranges=False, stop_after=(300_000,)) as (address, asked):
        _, target = bring(address)
    assert target.read_bytes() == CONTENT
    assert asked == [0, 0]


def test_a_file_that_changed_meanwhile_starts_over(bring, tmp_path):
    new = CONTENT[::-1]
    with serving(stop_after=(300_000, 0)) as (address, _), pytest.raises(SetupError, match="broken off"):
        bring(address)
    port = int(address.rpartition(":")[2])
    asked = []
    handler = type("Handler", (Server,), {"content": new, "tag": '"two"', "asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        _, target = bring(address, hashlib.md5(new).hexdigest())
        server.shutdown()
    assert target.read_bytes() == new
    assert asked == [0]


def test_without_a_version_and_a_checksum_nothing_is_joined(bring):
    with serving(tag="", stop_after=(300_000,)) as (address, asked):
        _, target = bring(address, md5="")
    assert target.read_bytes() == CONTENT
    assert asked == [0, 0]


def test_joined_parts_that_are_wrong_are_fetched_whole_once(bring, store):
    with serving(tag="", stop_after=(300_000, 0)) as (address, asked):
        with pytest.raises(SetupError, match="broken off"):
            bring(address)
        [part] = (store.root / "partial").glob("*.part")
        part.write_bytes(bytes(300_000))  # what a crash of the machine may leave
        _, target = bring(address)
    assert target.read_bytes() == CONTENT
    assert asked == [0, 300_000, 300_000, 0]


def test_a_wrong_file_that_always_breaks_off_is_fetched_twice_and_no_more(bring, store):
    stops = (50_000, None) * 10
    wrong = {"content": CONTENT[:-1] + b"!", "stop_after": stops}
    with serving(**wrong) as (address, asked), pytest.raises(SetupError, match="not the file that Keras pins"):
        bring(address)
    assert asked == [0, 50_000, 0, 50_000]
    assert parts(store) == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:abc", "http://[::1", "http://user:pa@ss:wo@127.0.0.1:abc/x"])
def test_a_mirror_whose_address_is_none_is_told(bring, address):
    with pytest.raises(SetupError, match="cannot be had") as caught:
        bring(address)
    assert "HEADSTART_WEIGHTS_MIRROR" in caught.value.hint
    assert "ss:wo" not in caught.value.format_text()


def test_a_server_that_speaks_no_http_is_told(bring):
    class Mute(Server):
        def do_GET(self):
            self.wfile.write(b"220 mail ready\r\n")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mute) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        with pytest.raises(SetupError, match="cannot be had"):
            bring(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("https://user:p@ss@host/x?key=1", "https://…@host/x?…"),
        ("https://a@b:c@d@host", "https://…@host"),
        ("https://host/at@sign", "https://host/at@sign"),
        ("https://host?at@sign", "https://host?…"),
        ("/a/folder@home", "/a/folder@home"),
    ],
)
def test_no_part_of_a_password_is_shown(address, wanted):
    assert resumable.hide_credentials(address) == wanted


def test_a_bucket_is_named_without_its_password(bring):
    with pytest.raises(SetupError) as caught:
        bring("s3://user:p@ss@bucket/models")
    assert "s3://bucket/models/weights.h5" in caught.value.hint
    assert "ss@" not in caught.value.format_text()


def test_wrong_bytes_are_refused_and_thrown_away(bring, store, tmp_path):
    refused = pytest.raises(SetupError, match="not the file that Keras pins")
    with serving(content=CONTENT[:-1] + b"!") as (address, asked), refused:
        bring(address)
    assert not (tmp_path / "target").exists()
    assert (asked, parts(store)) == ([0], [])


@pytest.mark.parametrize(
    ("content", "match"),
    [(pickle.dumps(print), "is a pickle"), (b"<html>please log in</html>", "does not begin"), (b"", "does not begin")],
)
def test_what_is_no_weights_file_is_refused_where_nothing_is_pinned(bring, store, content, match):
    with serving(content=content) as (address, _), pytest.raises(SetupError, match=match):
        bring(address, md5="")
    assert parts(store) == []
    assert not (store.root / "recorded").exists()


def test_a_file_of_unknown_length_needs_a_checksum(bring, store):
    with serving(length=False) as (address, _):
        _, target = bring(address)
        assert target.read_bytes() == CONTENT
        with pytest.raises(SetupError, match="how long the file is"):
            bring(address, md5="")
    with serving(length=False, stop_after=(300_000,)) as (address, _), pytest.raises(SetupError, match="MD5 differs"):
        bring(address)
    assert parts(store) == []


def test_a_chunked_answer_that_breaks_off_is_gone_on_with(bring):
    seen = []

    class Chunked(Server):
        protocol_version = "HTTP/1.1"
        asked = seen

        def do_GET(self):
            if seen:
                super().do_GET()
                return
            seen.append(0)
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("ETag", self.tag)
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n" % (300_000, CONTENT[:300_000]))
            self.close_connection = True

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chunked) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        _, target = bring(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert target.read_bytes() == CONTENT
    assert seen == [0, 300_000]


def test_a_part_of_another_length_is_not_joined(bring, store):
    with serving(stop_after=(300_000, 0)) as (address, asked):
        with pytest.raises(SetupError, match="broken off"):
            bring(address)
        [part] = (store.root / "partial").glob("*.part")
        part.write_bytes(CONTENT * 2)
        _, target = bring(address)
    assert target.read_bytes() == CONTENT
    assert asked == [0, 300_000, 0]


def test_the_first_digest_is_recorded_and_the_next_must_be_the_same(bring, store, mirror, tmp_path):
    with serving() as (address, _):
        bring(address, md5="")
        bring(address, md5="")
    with (
        serving(content=OTHER) as (address, _),
        pytest.raises(SetupError, match="first used") as caught,
    ):
        bring(address, md5="")
    [record] = (store.root / "recorded").iterdir()
    assert str(record) in caught.value.hint
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "weights.h5").write_bytes(OTHER)
    with pytest.raises(SetupError, match="first used"):
        bring(tmp_path / "mirror", md5="")
    record.unlink()
    origin, _ = bring(tmp_path / "mirror", md5="")
    assert origin.as_pinned is None


@pytest.mark.parametrize("kind", ["s3", "ftp"])
def test_a_mirror_of_another_kind_says_what_to_do(bring, kind):
    with pytest.raises(SetupError, match=f"`{kind}://`") as caught:
        bring(f"{kind}://bucket/models")
    assert "HEADSTART_WEIGHTS_MIRROR=weights" in caught.value.hint
    assert "weights/weights.h5" in caught.value.hint


def test_a_mirror_that_is_no_folder_is_told_as_that(bring, tmp_path):
    for mirror in (tmp_path / "no_such", (tmp_path / "no_such").as_uri()):
        with pytest.raises(SetupError, match="there is no folder `.*no_such`, which HEADSTART_WEIGHTS_MIRROR names"):
            bring(mirror)
    (tmp_path / "no_such").mkdir()
    with pytest.raises(SetupError, match="the mirror `.*no_such` does not hold `weights.h5`"):
        bring(tmp_path / "no_such")


def test_a_mirror_with_a_password_and_a_query(bring, capsys):
    seen = []

    class Strict(Server):
        asked = seen

        def do_GET(self):
            seen.append((self.path, self.headers["Authorization"]))
            super().do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Strict) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        origin, _ = bring(f"http://user:se%20cret@127.0.0.1:{server.server_port}/models/?key=hidden", console=Console())
        server.shutdown()
    assert seen[0] == ("/models/weights.h5?key=hidden", "Basic dXNlcjpzZSBjcmV0")
    told = capsys.readouterr().err + origin.address
    assert "secret" not in told and "se%20cret" not in told and "hidden" not in told
    assert "1.0 MB" in told and "/s" in told


def test_a_server_that_leads_away_from_https_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("HEADSTART_OFFLINE")  # what is asked is no machine at all

    class Answer(io.BytesIO):
        url = "http://elsewhere/x"
        status = 200

    monkeypatch.setattr("urllib.request.urlopen", lambda *given, **named: Answer())
    with pytest.raises(ValueError, match="away from https"):
        resumable.download_file("https://official/x", tmp_path / "x.part", QUIET, pinned=True)
    assert not list(tmp_path.iterdir())


def test_a_terminal_sees_bytes_and_rate():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    with serving() as (address, _), Console(err=out).show_progress("fetch", 94_800_000, "bytes") as progress:
        progress.count_done(2_000_000, cached=True)
        assert address
    assert "2.0 MB of 94.8 MB, 0 B/s" in out.getvalue()


def test_two_at_once_take_turns(store, mirror, tmp_path):
    made = []
    with serving() as (address, asked):
        mirror(address)

        def pull():
            with weights.take_turn(official(MD5), store, QUIET):

                def write(folder):
                    weights.fetch_weights(official(MD5), folder / "weights.h5", store, QUIET)

                made.append(Store(store.root).make_entry("weights", "a" * 64, write))

        threads = [threading.Thread(target=pull) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(made)) == 1
    assert len(made) == 3
    assert asked == [0]


@pytest.mark.medium
def test_a_killed_pull_leaves_nothing_that_counts_and_is_gone_on_with(tmp_path):
    held = threading.Event()
    seen = []

    class Slow(Server):
        asked = seen

        def do_GET(self):
            if not self.asked:  # the first answer stops half way and waits for the killing
                self.asked.append(0)
                self.send_response(200)
                self.send_header("ETag", self.tag)
                self.send_header("Content-Length", str(len(CONTENT)))
                self.end_headers()
                self.wfile.write(CONTENT[:700_000])
                self.wfile.flush()
                held.wait(60)
                return
            super().do_GET()

    cache = tmp_path / "cache"
    words = [sys.executable, "-m", "headstart", "backbones", "pull", "keras_applications:mobilenet", "--json"]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        mirror = {"HEADSTART_WEIGHTS_MIRROR": f"http://127.0.0.1:{server.server_port}", "KERAS_HOME": str(tmp_path)}
        env = {**os.environ, **mirror, "HEADSTART_CACHE": str(cache)}
        process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        part = wait_for_part(cache)
        process.kill()
        process.wait()
        held.set()
        kept = part.stat().st_size
        assert not list((cache / "weights").glob("[0-9a-f]*"))
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
        server.shutdown()
    [pulled] = json.loads(done.stdout)["pulled"]
    assert Path(pulled["file"]).read_bytes() == CONTENT
    assert seen == [0, kept]
    assert "were here" in done.stderr
    assert not list((cache / "partial").glob("*.part*"))


def wait_for_part(cache):
    """The part, once something of it is on the disk."""
    for _ in range(1200):
        found = [path for path in (cache / "partial").glob("*.part") if path.stat().st_size]
        if found:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("nothing came")
