"""Every way in for weights refuses what is no weights, by name: nothing is run, nothing half-written is left.

| way in | planted pickle | leads elsewhere | wrong digest | cut off |
|---|---|---|---|---|
| `pull`, http | `backbones/test_downloads` | - | `backbones/test_downloads` | `backbones/test_downloads`, here |
| `pull`, a folder | here | - | here | here |
| `pull`, a wheel | `networks/test_torch_state_dict`, here | `backbones/test_wheels` | `backbones/test_wheels` | here |
| `add` .keras | here | here | - | `backbones/test_backbones_saved_file` |
| `add` .onnx | `backbones/test_backbones_saved_file` | here | - | here, `…_saved_file` |
| `add` SavedModel | `backbones/test_backbones_saved_file` | - | - | `backbones/test_backbones_saved_file` |
| `add` IR | here | - | - | here, `…_saved_file` |
| `run:PATH` | here | here, `backbones/test_earlier_runs` | - | here |
| `huggingface:` | `backbones/test_backbones_huggingface` | there, `networks/test_onnx_external_data` | there | there |
| `keras_hub:` | `backbones/test_hub_preset` | there | there | there (`…goes_on_after_a_break`), here |
| `sync` | - (JSON alone) | `cli/test_backbones_sync` | there | there |

A file of the user's own has no digest that it could miss.
"""

import http.server
import json
import shutil
import tarfile
import threading
import zipfile

import numpy as np
import pytest

import network_files
from canary import Canary, hdf5
from headstart.backbones import loading
from headstart.backbones.downloads import weights, wheels
from headstart.backbones.earlier_runs import tuned_network
from headstart.backbones.imported import description, registration
from headstart.backbones.imported.registration import ImportRequest
from headstart.cli.main import main
from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.storage.cache import Store

QUIET = Console(quiet=True)
MOBILENET, FILE = (
    loading.find_backbone("keras_applications:mobilenet"),
    "mobilenet_1_0_224_tf_no_top.h5",
)  # nobody pins it
RESNET = loading.find_backbone("keras_applications:resnet50")  # Keras pins an MD5


@pytest.fixture
def canary(tmp_path):
    """Whether anything was run is looked at in the end."""
    found = Canary(tmp_path)
    yield found
    assert not found.sang


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A cache of this test's own, which is also the user's."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own"))
    return Store(tmp_path / "own")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder with official files, empty at first; Keras' own cache is elsewhere."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror").mkdir()
    return tmp_path / "mirror"


def kept(store):
    """Names of the files in a cache, locks apart."""
    return [one.name for one in store.root.rglob("*") if one.is_file() and one.suffix != ".lock"]


def test_the_canary_sings(tmp_path):
    assert Canary(tmp_path).lives()


# ---------------------------------------------------------------- pull


@pytest.mark.parametrize("of", [MOBILENET, RESNET], ids=lambda of: of.preset)
@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("pickle", "is a pickle"),
        ("old pickle", "does not begin as a .h5 file does"),
        ("zip", "is a pickle or may hold one"),
        ("cut", "is cut off: it has 2,000 bytes of 4,000"),
        ("nothing", "does not begin"),
    ],
)
def test_a_folder_gives_no_weights(of, content, match, mirror, own, canary):
    file = of.source._find_row(of.preset)["file"]
    made = {"pickle": canary.pickled(), "old pickle": canary.pickled(0), "zip": b"PK\x03\x04" + bytes(90)}
    (mirror / file).write_bytes((made | {"cut": hdf5(4000)[:2000], "nothing": b""})[content])
    with pytest.raises(SetupError, match=match) as caught:
        of.source.pull(of.preset, own, QUIET)
    assert f"`{file}`" in caught.value.what
    assert kept(own) == []


def test_a_folder_gives_another_file_than_at_first(mirror, own):
    (mirror / FILE).write_bytes(hdf5(4000))
    first = MOBILENET.source.pull("mobilenet", own, QUIET)
    shutil.rmtree(first.parent)
    (mirror / FILE).write_bytes(hdf5(5000))
    with pytest.raises(SetupError, match=f"`{FILE}` is not the file that was first used here"):
        MOBILENET.source.pull("mobilenet", own, QUIET)
    assert kept(own) == [weights.recorded_digest_file(FILE, own).name]


def test_a_server_gives_a_file_that_was_cut_off_before(mirror, own, monkeypatch, tmp_path):
    """Its length is as announced, so that only the file itself tells."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2000")
            self.end_headers()
            self.wfile.write(hdf5(4000)[:2000])

        def log_message(self, *given):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(SetupError, match=f"`{FILE}` is cut off: it has 2,000 bytes of 4,000"):
            MOBILENET.source.pull("mobilenet", own, QUIET)
        server.shutdown()
    assert kept(own) == []


def test_of_two_that_find_a_damaged_file_one_fetches(mirror, own, monkeypatch):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "4000")
            self.end_headers()
            self.wfile.write(hdf5(4000))

        def log_message(self, *given):
            pass

    (mirror / FILE).write_bytes(hdf5(4000))
    file = MOBILENET.source.pull("mobilenet", own, QUIET)
    file.write_bytes(b"damaged")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", f"http://127.0.0.1:{server.server_port}")
        pulls = [threading.Thread(target=MOBILENET.source.pull, args=("mobilenet", own, QUIET)) for _ in range(3)]
        for one in pulls:
            one.start()
        for one in pulls:
            one.join()
        server.shutdown()
    assert asked == [f"/{FILE}"]
    assert file.read_bytes() == hdf5(4000)


@pytest.mark.medium
@pytest.mark.parametrize("form", ["source archive", "wheel cut off"])
def test_pip_brings_what_could_run_or_is_cut_off(form, tmp_path, monkeypatch, own, canary):
    """Nothing is built, so that no `setup.py` runs; a whole wheel with other contents has another digest."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shelf"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "shelf").mkdir()
    if form == "source archive":
        code = f"open({str(canary.mark)!r}, 'w')\nfrom setuptools import setup\nsetup(name='hs-data', version='1.0')\n"
        (tmp_path / "setup.py").write_text(code)
        with tarfile.open(tmp_path / "shelf" / "hs_data-1.0.tar.gz", "w:gz") as tar:
            tar.add(tmp_path / "setup.py", "hs_data-1.0/setup.py")
    else:
        wheel = tmp_path / "shelf" / "hs_data-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("hs_data/weights.pth", canary.pickled() * 9)
            archive.writestr("hs_data-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: hs-data\nVersion: 1.0\n")
        wheel.write_bytes(wheel.read_bytes()[:-60])
    with pytest.raises(SetupError, match="`hs-data==1.0`"):
        wheels.fetch_wheel("hs-data", "1.0", "0" * 64, own, QUIET)
    assert kept(own) == []


# ---------------------------------------------------------------- what is written down of a file


def test_no_path_of_this_machine_is_written_down(own, mirror, tmp_path):
    (mirror / FILE).write_bytes(hdf5(4000))
    folder = MOBILENET.source.pull("mobilenet", own, QUIET).parent
    assert str(tmp_path) not in (folder / "origin.json").read_text()
    origin = json.loads((folder / "origin.json").read_text())
    assert origin["from"] == "a folder"


# ---------------------------------------------------------------- add


def zipped(path, **more):
    """A `.keras` file of nothing, with more members."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {"config.json": "{}", "model.weights.h5": hdf5(), "metadata.json": "{}", **more}.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["weights.PKL", "assets/table.npy", "assets/words.txt", "archive/data.pkl"])
def test_a_keras_file_holds_a_pickle(name, own, tmp_path, canary):
    with pytest.raises(DataError, match=f"holds the pickle `{name}`"):
        registration.add_file(
            ImportRequest(file=zipped(tmp_path / "net.keras", **{name: canary.pickled()})), own, QUIET
        )
    assert kept(own) == []


@pytest.mark.parametrize("name", ["../planted", "/planted", "assets/../../planted", "C:planted"])
def test_a_member_of_a_keras_file_leads_elsewhere(name, own, tmp_path):
    with pytest.raises(DataError, match="leads elsewhere") as caught:
        registration.add_file(ImportRequest(file=zipped(tmp_path / "net.keras", **{name: "x"})), own, QUIET)
    assert f"`{name}`" in caught.value.what
    assert kept(own) == []
    assert not list(tmp_path.rglob("planted"))


@pytest.mark.medium
def test_a_keras_file_names_a_function_to_call(own, tmp_path, canary):
    """Keras looks a layer up by module and name: it must not find, and call, what is no layer."""
    given = {"class_name": "InputLayer", "module": "keras.layers", "config": {"batch_shape": [None, 8, 8, 3]}}
    evil = {"class_name": "system", "module": "os", "config": {"command": f"touch {canary.mark}"}, "name": "x"}
    config = {"class_name": "Sequential", "module": "keras", "config": {"name": "s", "layers": [given, evil]}}
    path = zipped(tmp_path / "net.keras", **{"config.json": json.dumps(config)})
    with pytest.raises(DataError) as caught:
        registration.add_file(ImportRequest(file=path), own, QUIET)
    assert "Keras cannot read `net.keras`" in caught.value.what
    assert kept(own) == []


@pytest.mark.parametrize("place", ["../secret.data", "sub/../../secret.data", "link"])
def test_an_onnx_file_keeps_weights_elsewhere(place, own, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.data").write_bytes(network_files.onnx_weights()["down"].tobytes())
    plain = network_files._tensor
    wanted = "down.data" if place == "link" else place
    monkeypatch.setattr(
        network_files, "_tensor", lambda name, values, at="": plain(name, values, wanted if name == "down_w" else at)
    )
    network_files.write_onnx(folder / "net.onnx", beside=True)
    if place == "link":
        (folder / "down.data").unlink()
        (folder / "down.data").symlink_to(tmp_path / "secret.data")
    with pytest.raises(DataError, match=r"cannot read `net.onnx`: Path '.*' resolves to .* outside"):
        registration.add_file(ImportRequest(file=folder / "net.onnx"), own, QUIET)
    assert kept(own) == []


def test_weights_beside_an_onnx_file_are_cut_off(own, tmp_path):
    network_files.write_onnx(tmp_path / "net.onnx", beside=True)
    (tmp_path / "down.data").write_bytes((tmp_path / "down.data").read_bytes()[:99])
    with pytest.raises(DataError, match=r"cannot read `net.onnx`: .*'down_w'"):
        registration.add_file(ImportRequest(file=tmp_path / "net.onnx"), own, QUIET)
    assert kept(own) == []


@pytest.mark.parametrize("form", ["numbers cut off", "pickle for numbers", "pickle for the graph"])
def test_an_ir_is_damaged(form, own, tmp_path, canary):
    network_files.write_onnx(tmp_path / "net.onnx")
    made = description.find_copy(
        registration.add_file(ImportRequest(file=tmp_path / "net.onnx", name="whole"), own, QUIET), own
    )
    before = sorted(kept(own))
    for end in (".xml", ".bin"):
        shutil.copyfile(made.with_suffix(end), tmp_path / f"net{end}")
    if form == "pickle for the graph":
        (tmp_path / "net.xml").write_bytes(canary.pickled())
    else:
        whole = (tmp_path / "net.bin").read_bytes()
        (tmp_path / "net.bin").write_bytes(whole[:-999] if form == "numbers cut off" else canary.pickled())
    with pytest.raises(DataError) as caught:
        registration.add_file(ImportRequest(file=tmp_path / "net.xml"), own, QUIET)
    assert "OpenVINO cannot read `net.xml`" in caught.value.what
    assert sorted(kept(own)) == before


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        (
            "s3://bucket/models/net.onnx",
            "aws s3 cp s3://bucket/models/net.onnx net.onnx; then: headstart backbones add",
        ),
        ("gs://bucket/net.keras", "gcloud storage cp gs://bucket/net.keras net.keras"),
        ("https://host/net.onnx", "curl --fail --location --output net.onnx https://host/net.onnx"),
        ("hdfs://host/net.onnx", "copy it here with your own tools; then: headstart backbones add net.onnx"),
    ],
)
def test_an_address_is_no_file(address, hint, own, capsys):
    assert main(["backbones", "add", address]) == 2
    told = capsys.readouterr().err
    assert f"`{address}` is an address" in told
    assert hint in told
    assert not own.root.exists()


def test_a_drive_is_no_address(own):
    with pytest.raises(UsageError, match="there is no file"):
        registration.add_file(ImportRequest(file=Store(own.root).root / "C:" / "net.onnx"), own, QUIET)


# ---------------------------------------------------------------- keras_hub:


def test_the_weights_of_a_preset_are_cut_off(own, mirror, tmp_path):
    from headstart.backbones.keras_hub import preset_download, preset_files

    wanted = preset_download.PublishedPreset(
        name="some_vit", place="some_vit", handle="kaggle://keras/vit/keras/some_vit/1"
    )
    folder = mirror / "keras_hub" / "some_vit"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.weights.h5").write_bytes(hdf5(4000)[:3000])
    with pytest.raises(SetupError, match=r"`some_vit` cannot be had: .*cut off"):
        preset_download.fetch_preset(wanted, tmp_path / "got", own, QUIET)
    (tmp_path / "got" / "model.weights.h5").write_bytes(hdf5(4000)[:3000])  # as a folder of the user's may have it
    with pytest.raises(DataError, match="cut off"):
        preset_files.list_files(tmp_path / "got")


# ---------------------------------------------------------------- run:PATH


CODE = {"code": "Lambda", "code, dotted": "layers.Lambda", "another framework": "TFSMLayer"}


@pytest.mark.parametrize("form", ["pickle", "pickle within", "leads elsewhere", "cut off", *CODE])
def test_the_network_of_a_run_is_none(form, tmp_path, canary):
    file = tmp_path / "run" / "adapt" / "model.keras"
    file.parent.mkdir(parents=True)
    layer = {"module": "keras", "class_name": CODE.get(form), "config": {"name": "evil"}}
    described = {"config.json": json.dumps({"config": {"layers": [layer]}})}
    more = {
        "pickle within": {"weights.pkl": canary.pickled()},
        "leads elsewhere": {"../planted": "x"},
    }
    zipped(file, **more.get(form, described if form in CODE else {}))
    if form == "pickle":
        file.write_bytes(canary.pickled())
    if form == "cut off":
        file.write_bytes(file.read_bytes()[:-80])
    named = "the layer `evil` of " if form in CODE else ""
    with pytest.raises(DataError, match=rf"{named}`model\.keras`"):
        tuned_network.load_network(file)
    assert not list(tmp_path.rglob("planted"))


def test_an_array_of_a_run_is_a_pickle(tmp_path, canary):
    from headstart.core.storage import serialization as values
    from headstart.core.types import Splits

    folder = tmp_path / "run" / "splits"
    folder.mkdir(parents=True)
    np.save(folder / "evil.npy", np.array([canary], object), allow_pickle=True)
    content = {field: {"npy": "evil.npy"} for field in Splits.__dataclass_fields__}
    (folder / "value.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="Python objects"):
        values.load_value(Splits, folder)
