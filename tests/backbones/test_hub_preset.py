"""Presets that must not be opened are refused by name; where files come from; what is said without KerasHub."""

import contextlib
import http.server
import json
import threading

import numpy as np
import pytest

import hub_server
from headstart.backbones.keras_hub import preset_download, preset_files
from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError, UsageError

QUIET = Console(quiet=True)
CONFIG = {
    "module": "keras_hub.src.models.vit.vit_backbone",
    "class_name": "ViTBackbone",
    "config": {"name": "vit", "image_shape": [32, 32, 3]},
    "registered_name": "keras_hub>ViTBackbone",
}


@pytest.fixture
def preset(tmp_path):
    """A preset as far as files go: a description and an HDF5 file."""
    import h5py

    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    with h5py.File(folder / "model.weights.h5", "w") as file:
        file["a"] = np.zeros((64, 64), np.float32)
    return folder


def change(folder, **changes):
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))


def test_what_belongs_to_a_preset(preset):
    (preset / "README.md").write_text("a card")
    (preset / "task.json").write_text("{}")
    assert set(preset_files.list_files(preset)) == {"config.json", "task.json", "model.weights.h5"}


@pytest.mark.parametrize(
    ("foreign", "named"),
    [
        ({"module": "os", "class_name": "system", "registered_name": None}, "os.system"),
        ({"module": "evil.layers", "registered_name": "Mine>Layer"}, "evil.layers.ViTBackbone"),
        ({"module": "", "registered_name": "Mine>Layer"}, "Mine.ViTBackbone"),
        ({"module": "builtins", "class_name": "eval"}, "builtins.eval"),
        ({"module": "keras.layers", "class_name": "Lambda"}, "keras.layers.Lambda"),
        ({"module": "keras", "class_name": "layers.Lambda"}, "keras.layers.Lambda"),
        ({"module": "keras.layers", "class_name": "TFSMLayer"}, "keras.layers.TFSMLayer"),
        ({"module": "keras", "class_name": "src.utils.torch_utils.TorchModuleWrapper"}, "TorchModuleWrapper"),
        ({"config": {"inner": [{"module": "keras.layers", "class_name": "JaxLayer", "config": {}}]}}, "JaxLayer"),
        ({"config": {"inner": [{"class_name": "__lambda__", "config": {"value": "gA=="}}]}}, "__lambda__"),
        ({"config": {"activation": {"module": "subprocess", "class_name": "run", "config": {}}}}, "subprocess.run"),
    ],
)
def test_foreign_code_is_refused_by_name(preset, foreign, named):
    change(preset, **foreign)
    with pytest.raises(DataError, match=r"is not of Keras or KerasHub") as caught:
        preset_files.list_files(preset)
    assert named in caught.value.what and caught.value.where.endswith("config.json")


@pytest.mark.parametrize("name", ["task.json", "preprocessor.json", "image_converter.json", "tokenizer.json"])
def test_every_description_is_looked_into(preset, name):
    (preset / name).write_text(json.dumps({"module": "posix", "class_name": "kill", "config": {}}))
    with pytest.raises(DataError, match=r"posix.kill"):
        preset_files.list_files(preset)


@pytest.mark.parametrize("name", ["extra.pkl", "model.bin", "inner/code.py", "weights.pt", "model.keras"])
def test_files_that_may_run_are_refused_by_name(preset, name):
    (preset / name).parent.mkdir(exist_ok=True)
    (preset / name).write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match=f"`{name.rpartition('/')[2]}` is refused"):
        preset_files.list_files(preset)


@pytest.mark.parametrize("content", [b"\x80\x04\x95 a pickle", b"PK\x03\x04 a zip", b"<html>not found</html>"])
def test_weights_are_what_their_name_says(preset, content):
    (preset / "model.weights.h5").write_bytes(content)
    with pytest.raises(DataError, match=r"model.weights.h5"):
        preset_files.list_files(preset)


@pytest.mark.parametrize(
    "named", ["../../other.weights.h5", "/etc/passwd", "a/b.weights.h5", "..\\x.h5", "C:x.h5", "model.pkl", 7, None]
)
def test_a_list_of_weights_leads_nowhere_else(preset, named):
    (preset / "model.weights.h5").unlink()
    (preset / "model.weights.json").write_text(json.dumps({"weight_map": {"/a": [named]}}))
    with pytest.raises(DataError, match=r"which is no file beside it"):
        preset_files.list_files(preset)


def test_a_link_out_of_the_folder_is_refused(preset, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    (preset / "task.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(DataError, match=r"`task.json` of `mine` leads out of its folder"):
        preset_files.list_files(preset)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_what_is_missing_is_named(preset, name):
    (preset / name).unlink()
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        preset_files.list_files(preset)


def test_a_shard_that_is_missing_is_named(preset):
    (preset / "model.weights.h5").rename(preset / "model_00000.weights.h5")
    by_weight = {"/a": ["model_00000.weights.h5"], "/b": "model_00001.weights.h5"}
    (preset / "model.weights.json").write_text(json.dumps({"weight_map": by_weight}))
    with pytest.raises(DataError, match=r"lacks `model_00001.weights.h5`"):
        preset_files.list_files(preset)


@pytest.mark.parametrize(
    "text", ["hf://a", "hf://a/../b", "kaggle://x", "s3://a/b", "gs://a/b", "kaggle://a/b/keras/../d"]
)
def test_handles_that_are_none(text):
    with pytest.raises(UsageError):
        preset_download.PublishedPreset.parse(text)


# ---------------------------------------------------------------- mirrors


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder with ranges; breaks the large file off once, in the middle."""

    asked: list[tuple[str, str | None]]
    broken: bool

    def do_GET(self):
        type(self).asked.append((self.path, self.headers.get("Range")))
        path = self.translate_path(self.path)
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                content = file.read()
        except OSError:
            self.send_error(404)
            return
        first = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        if self.path.endswith(".h5") and not type(self).broken:
            type(self).broken = True
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.wfile.write(content[first:])

    def log_message(self, *given):
        pass


@contextlib.contextmanager
def serving(folder):
    handler = type("Handler", (Server,), {"asked": [], "broken": False})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *given: handler(*given, directory=str(folder))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/weights", handler
        server.shutdown()


WANTED = preset_download.PublishedPreset(
    name="some_vit", place="some_vit", handle="kaggle://keras/vit/keras/some_vit/1"
)


@pytest.fixture
def mirrored(preset, tmp_path):
    """A mirror that holds the preset as `some_vit`."""
    (tmp_path / "weights" / "keras_hub").mkdir(parents=True)
    preset.rename(tmp_path / "weights" / "keras_hub" / "some_vit")
    return tmp_path / "weights"


def test_a_mirror_that_is_a_folder(mirrored, store, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(mirrored))
    preset_download.fetch_preset(WANTED, tmp_path / "got", store, QUIET)
    assert set(preset_files.list_files(tmp_path / "got")) == {"config.json", "model.weights.h5"}


def test_a_mirror_over_http_goes_on_after_a_break(mirrored, store, tmp_path, monkeypatch):
    whole = (mirrored / "keras_hub/some_vit/model.weights.h5").read_bytes()
    with serving(mirrored.parent) as (address, handler):
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", address)
        preset_download.fetch_preset(WANTED, tmp_path / "got", store, QUIET)
    assert (tmp_path / "got/model.weights.h5").read_bytes() == whole
    ranges = [given for path, given in handler.asked if path.endswith("model.weights.h5")]
    assert ranges == [None, f"bytes={len(whole) // 2}-"]


def test_sharded_weights_come_by_their_list(mirrored, store, tmp_path, monkeypatch):
    place = mirrored / "keras_hub/some_vit"
    (place / "model.weights.h5").rename(place / "model_00000.weights.h5")
    (place / "model.weights.json").write_text(json.dumps({"weight_map": {"/a": ["model_00000.weights.h5"]}}))
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", f"file://{mirrored}")
    preset_download.fetch_preset(WANTED, tmp_path / "got", store, QUIET)
    assert (tmp_path / "got/model_00000.weights.h5").is_file()


def test_a_mirror_that_does_not_have_it(store, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path / "empty"))
    with pytest.raises(SetupError, match=r"`some_vit` cannot be had: the mirror .* does not have it") as caught:
        preset_download.fetch_preset(WANTED, tmp_path / "got", store, QUIET)
    assert "FOLDER/keras_hub/some_vit/" in caught.value.hint


def test_another_file_than_was_first_used_keeps_its_own_hint(mirrored, store, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(mirrored))
    preset_download.fetch_preset(WANTED, tmp_path / "got", store, QUIET)
    weights = mirrored / "keras_hub/some_vit/model.weights.h5"
    import h5py

    with h5py.File(weights, "w") as file:
        file["a"] = np.ones((64, 64), np.float32)
    with pytest.raises(SetupError, match=r"is not the file that was first used here") as caught:
        preset_download.fetch_preset(WANTED, tmp_path / "again", store, QUIET)
    assert "to take the new one, delete" in caught.value.hint and caught.value.where == str(weights)


def test_a_gated_preset_of_the_hub_is_named_as_such_and_asked_for_with_the_users_token(store, tmp_path, monkeypatch):
    wanted = preset_download.PublishedPreset.parse("hf://facebook/dinov3-vits16-pretrain-lvd1689m")
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    with hub_server.serving() as hub:
        hub.gated.add("facebook/dinov3-vits16-pretrain-lvd1689m")
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        with pytest.raises(SetupError, match="is gated: its publisher asks for an account") as caught:
            preset_download.fetch_preset(wanted, tmp_path / "got", store, QUIET)
    assert "hf auth login" in caught.value.hint and hub.tokens == {"Bearer hf_mine"}


def test_a_password_of_the_hub_is_not_told(store, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://me:secret@127.0.0.1:9")
    with pytest.raises(SetupError) as caught:
        preset_download.fetch_preset(
            preset_download.PublishedPreset.parse("hf://org/name"), tmp_path / "got", store, QUIET
        )
    assert "secret" not in f"{caught.value.what} {caught.value.where} {caught.value.hint}"


def test_without_a_network_the_hub_is_told_at_once(store, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(SetupError, match=r"`hf://org/name` cannot be had: http://127.0.0.1:9"):
        preset_download.fetch_preset(
            preset_download.PublishedPreset.parse("hf://org/name"), tmp_path / "got", store, QUIET
        )


def test_why_nobody_answers_is_told_in_whole_words():
    requests = pytest.importorskip("requests")  # what KerasHub's loader asks with
    with pytest.raises(requests.ConnectionError) as caught:
        requests.get("http://127.0.0.1:9/keras", timeout=5)
    assert "HTTPConnectionPool" in str(caught.value)
    assert preset_download._find_reason(caught.value) == "Connection refused"
    told = preset_download._find_reason(ValueError("somewhat " * 100 + "\nmore"))
    assert 100 < len(told) <= 200 and set(told.split()) == {"somewhat", "…"}
