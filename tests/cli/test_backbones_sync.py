"""`backbones sync` and what it leaves: lists of a hub that this machine plays, files, mirrors, and no network."""

import hashlib
import json
import subprocess
import sys
import time

import pytest

import hub_server
from headstart.backbones import remote_index
from headstart.backbones.huggingface import index_sync
from headstart.cli.main import main
from headstart.core.console import Console
from headstart.core.storage.cache import Store


def model(name, **other):
    row = {
        "id": name,
        "sha": "b" * 40,
        "lastModified": "2026-02-03T04:05:06.000Z",
        "pipeline_tag": "image-classification",
        "tags": ["onnx", "license:apache-2.0", "dataset:imagenet-1k"],
        "siblings": [{"rfilename": "onnx/model.onnx"}, {"rfilename": "config.json"}],
        "config": {"model_type": "vit", "architectures": ["ViTForImageClassification"]},
        "gated": False,
        "private": False,
    }
    return row | other


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's cache, of this test's own, and no mirror."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own"))
    monkeypatch.delenv("HEADSTART_WEIGHTS_MIRROR", raising=False)
    return Store(tmp_path / "own")


@pytest.fixture
def hub(cache, monkeypatch):
    with hub_server.serving() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.address)
        found.lists = {
            "image-classification": [[model("acme/one"), model("acme/gated", gated="auto")], [model("acme/two")]],
            "image-feature-extraction": [[model("acme/one"), model("acme/dino", config={"model_type": "dinov2"})]],
            "keras-hub": [[]],
            "keras": [[model("keras/resnet_9000_imagenet", siblings=[]), model("keras/gemma", pipeline_tag="text")]],
        }
        yield found


def answer(capsys, *words, code=0):
    """What the command prints with --json, and on standard error."""
    assert main(["backbones", *map(str, words), "--json"]) == code
    told = capsys.readouterr()
    return json.loads(told.out), told.err


NAMES = ["huggingface:acme/dino", "huggingface:acme/gated", "huggingface:acme/one", "huggingface:acme/two"]
ALL = [*NAMES, "keras_hub:resnet_9000_imagenet"]


def test_every_page_of_every_list_is_read_once(hub, cache, capsys):
    found, err = answer(capsys, "sync")
    assert found["new"] == ALL and (found["changed"], found["gone"], found["count"]) == ([], [], 5)
    assert [path for path, _ in hub.asked] == ["/api/models"] * 5
    assert "5 names; 1 rows" in err
    one = remote_index.read_index(cache)["huggingface:acme/one"]
    assert (one.licence, one.family, one.method, one.domains) == ("apache-2.0", "vit", "supervised", ("photos",))
    assert (one.updated, one.gated, one.revision) == ("2026-02-03", False, "b" * 40)
    assert remote_index.read_index(cache)["huggingface:acme/gated"].gated
    assert remote_index.read_index(cache)["huggingface:acme/dino"].method == "self-supervised"


def test_the_second_time_it_tells_what_is_different(hub, capsys):
    main(["backbones", "sync"])
    told = capsys.readouterr().out
    assert "new:\n  huggingface:acme/dino" in told and "5 names: 5 new, 0 changed, 0 gone" in told
    first = answer(capsys, "sync")[0]
    assert (first["new"], first["changed"], first["gone"]) == ([], [], [])
    hub.lists["image-classification"] = [[model("acme/one", sha="c" * 40), model("acme/three")]]
    found, _ = answer(capsys, "sync")
    assert found["new"] == ["huggingface:acme/three"] and found["changed"] == ["huggingface:acme/one"]
    assert found["gone"] == ["huggingface:acme/gated", "huggingface:acme/two"] and found["sha256"] != first["sha256"]


def test_search_shows_it_and_say_what_is_not_known(hub, capsys):
    main(["backbones", "sync"])
    capsys.readouterr()
    assert main(["backbones", "search", "acme"]) == 0
    line = next(one for one in capsys.readouterr().out.splitlines() if "acme/two" in one)
    assert line.split() == ["huggingface:acme/two", "vit", "-", "-", "-", "-", "-", "-", "pull", "apache-2.0"]
    found, _ = answer(capsys, "search", "huggingface:acme")
    assert [one["name"] for one in found["backbones"]] == NAMES and found["backbones"][0]["params"] is None
    assert all(not one["indexed"] for one in answer(capsys, "list")[0]["backbones"])
    asked = len(hub.asked)
    assert main(["backbones", "show", "huggingface:acme/gated"]) == 0
    told = capsys.readouterr().out
    assert "backbones pull huggingface:acme/gated; its publisher asks for an account first" in told
    assert "0.000" not in told and len(hub.asked) == asked


def test_a_preset_that_only_the_index_knows_is_asked_for_where_it_was_found(hub, capsys):
    answer(capsys, "sync")
    found, _ = answer(capsys, "pull", "keras_hub:resnet_9000_imagenet", code=3)
    assert "`resnet_9000_imagenet` cannot be had" in found["error"]["what"]
    assert any(path.startswith("/keras/resnet_9000_imagenet/resolve/main/") for path, _ in hub.asked)


def test_rows_that_can_be_no_backbone_are_left_out_and_counted(hub, cache, capsys):
    bad = ["../../etc", "acme/../x", "acme/a\x1b[2J", "acme/a\nb", "acme", "x" * 500, ""]
    rows = [
        *(model(name) for name in bad),
        model("acme/no_file", siblings=[{"rfilename": "model.safetensors"}]),
        model("acme/private", private=True),
        model("acme/words", tags=["license:mit\x1b[31m", 7], cardData={"license": ["a" * 999]}, config="x"),
    ]
    hub.lists = {"image-classification": [rows]}
    found, err = answer(capsys, "sync")
    assert found["new"] == ["huggingface:acme/words"] and "1 names; 9 rows" in err and "\x1b" not in err
    assert len(remote_index.read_index(cache)["huggingface:acme/words"].licence) <= 300


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (["junk", None], "no list of models"),
        (b"<html>", "no list of models"),
        ([], "nothing that headstart knows"),
    ],
)
def test_an_answer_that_is_no_list_leaves_the_old_index(hub, cache, capsys, page, why):
    answer(capsys, "sync")
    hub.lists = {key: [page] for key in hub.lists}
    found, _ = answer(capsys, "sync", code=3)
    assert why in found["error"]["what"] and "stays" in found["error"]["what"]
    assert list(remote_index.read_index(cache)) == ALL


def test_without_a_network_it_says_so_at_once_and_the_index_stays(hub, cache, capsys, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    found, _ = answer(capsys, "sync", code=3)
    assert "there is no earlier index" in found["error"]["what"] and "MIRROR" in found["error"]["hint"]
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    answer(capsys, "sync")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    found, _ = answer(capsys, "sync", code=3)
    assert "refused" in found["error"]["what"] and "the index of 20" in found["error"]["what"]
    assert [one["name"] for one in answer(capsys, "search", "acme")[0]["backbones"]] == NAMES
    assert time.monotonic() - started < 5


def test_from_a_file_an_address_and_a_mirror(hub, cache, tmp_path, capsys, monkeypatch):
    answer(capsys, "sync")
    path = next(one for one in (cache.root / "index").glob("*.json") if one.name != "current.json")
    content = path.read_bytes()
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "index.json").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    asked = len(hub.asked)
    for number, given in enumerate((mirror / "index.json", (mirror / "index.json").as_uri(), None)):
        monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / f"other{number}"))
        if given is None:
            monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(mirror))
        words = ("--from", given) if given else ()
        assert answer(capsys, "sync", *words, "--sha256", sha256)[0]["new"] == ALL
    found, _ = answer(capsys, "sync", "--from", mirror / "index.json", "--sha256", "0" * 64, code=3)
    assert "the one before stays" in found["error"]["what"]
    found, _ = answer(capsys, "sync", "--from", mirror / "absent.json", code=3)
    assert "absent.json" in found["error"]["what"] and "stays" in found["error"]["what"]
    found, _ = answer(capsys, "sync", "--from", "s3://bucket/index.json", code=2)
    assert "`s3://`" in found["error"]["what"]
    for given, why in ((str(tmp_path / "no_such"), "there is no folder"), ("s3://bucket", "`s3://` cannot be read")):
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", given)
        found, _ = answer(capsys, "sync", code=3)
        assert why in found["error"]["what"] and "stays" in found["error"]["what"]
    assert len(hub.asked) == asked and "acme/one" in str(answer(capsys, "search", "acme"))


def test_an_index_that_breaks_off_or_never_ends_is_not_taken(cache, tmp_path):
    """By the real client against a real server: fewer bytes than announced, then more than are allowed."""
    import http.server
    import threading

    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000" if self.path == "/short" else str(10**9))
            self.end_headers()
            self.wfile.write(b"x" * (10 if self.path == "/short" else remote_index.MAX_BYTES + 1))

        def log_message(self, *given):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        for path, why in (("short", "broken off"), ("long", "more than 20.0 MB came")):
            with pytest.raises(Exception, match=why):
                index_sync.sync_index(cache, Console(quiet=True), given=f"http://127.0.0.1:{server.server_port}/{path}")
        server.shutdown()
    assert remote_index.read_index(cache) == {} and not (cache.root / "index").exists()


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("sync", "x"), "takes no NAME"),
        (("list", "--from", "x"), "no option `--from`"),
        (("measure", "bundled:efficientnet_lite9"), "efficientnet_lite9"),
        (("measure", "keras_applications:nosuchnet"), "no backbone is named"),
        (("measure", "keras_applications:vgg19"), "was not used on this machine yet"),
    ],
)
def test_what_makes_no_sense_is_told(cache, capsys, words, word):
    assert word in answer(capsys, *words, code=2)[0]["error"]["what"]


def test_with_no_trunk_there_is_nothing_to_measure(cache, capsys):
    assert answer(capsys, "measure")[0] == {"measured": []}


def test_the_list_of_a_long_index_loads_nothing_heavy(cache):
    rows = [_row(number) for number in range(3000)]
    remote_index.install_index(json.dumps({"format": 1, "entries": rows}).encode(), cache, origin="a test")
    code = (
        "import sys\nfrom headstart.cli.main import main\n"
        "main(['backbones', 'search', 'huggingface:', '--json'])\n"
        "print(*{m.partition('.')[0] for m in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["backbones"]) == 3000
    assert not {"keras", "tensorflow", "openvino", "PIL"} & set(done.stderr.split())


def _row(number):
    texts = ("family", "revision", "licence", "pretrained_on", "method", "task", "updated")
    return dict.fromkeys(texts, "x") | {"name": f"huggingface:acme/net-{number}", "domains": [], "gated": False}
