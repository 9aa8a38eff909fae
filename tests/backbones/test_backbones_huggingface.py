"""Frozen exports from a hub that this machine plays: fetched, checked, cut, refused, and equal to what they were."""

import io
import json
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

import hub_server
from headstart.backbones import loading
from headstart.backbones.huggingface import hub_api, import_model
from headstart.backbones.imported import description
from headstart.backbones.inventory import cache_inventory, catalogue
from headstart.backbones.sources.huggingface import PLUGIN
from headstart.cli.main import main
from headstart.core import extras
from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.storage.cache import Store
from headstart.networks import openvino_conversion, openvino_engine
from headstart.testing.backbones import check_backbone, compute_vectors
from network_files import write_onnx, write_onnx_of_tokens

PRESET = "acme/small-net"
NAME = f"huggingface:{PRESET}"
QUIET = Console(quiet=True)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A cache of this test's own, which is also the user's."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own"))
    return Store(tmp_path / "own")


@pytest.fixture
def hub(monkeypatch):
    """A hub without a repository."""
    monkeypatch.delenv("HEADSTART_WEIGHTS_MIRROR", raising=False)
    with hub_server.serving() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.address)
        yield found


@pytest.fixture
def small(hub, tmp_path):
    """A hub with `acme/small-net`; gives the hub, the folder is `small.repos[PRESET]`."""
    hub.repos[PRESET] = hub_server.repository(tmp_path / "repo")
    return hub


def bring(preset, store, console=QUIET, wish=None):
    return import_model.import_repository(hub_api.Repository.parse(preset), store, console, wish)


def weights_asked(hub):
    return [first for path, first in hub.asked if path.endswith((".onnx", ".data"))]


# ---------------------------------------------------------------- a trunk like any other


def test_it_keeps_the_contract(small, own):
    assert loading.find_backbone(NAME, fetching=True, console=QUIET).name == NAME
    check_backbone(PLUGIN, PRESET, own)


def test_what_is_stated_is_what_the_spec_says(small, own, capsys):
    spec = loading.find_backbone(NAME, fetching=True, console=QUIET).spec
    assert (spec.input.size_px, spec.input.resize, spec.input.interpolation) == (32, "squash", "bilinear")
    assert spec.input.scale == pytest.approx(1 / 255)
    assert (spec.input.mean, spec.input.std) == ((0.5, 0.4, 0.3), (0.5, 0.25, 0.2))
    assert (spec.licence, spec.pretrained_on, spec.family) == ("mit", "imagenet-1k", "smallnet")
    assert (spec.method, spec.domains) == ("supervised", ("photos",))
    assert [depth.name for depth in spec.depths] == ["map4", "last"]
    assert "warning" not in capsys.readouterr().err
    assert PLUGIN.is_users_own  # `auto` takes none unasked


@pytest.mark.medium
def test_it_gives_the_vectors_of_the_network_it_was_exported_from(hub, own, tmp_path):
    with openvino_conversion.silence_frameworks(), warnings.catch_warnings():
        net = hub_server.small_net()
        hub_server.export(net, tmp_path / "repo" / "model.onnx")
    hub.repos[PRESET] = hub_server.repository(tmp_path / "repo", onnx="")
    found = loading.find_backbone(NAME, fetching=True, console=QUIET)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    (tmp_path / "out").mkdir()
    PLUGIN.write_openvino(PRESET, own, pictures, tmp_path / "out")
    got = next(v for _, v in openvino_engine.Engine(tmp_path / "out" / "trunk.xml", threads=1).run([(None, pictures)]))
    import keras

    maps = keras.layers.GlobalAveragePooling2D()(net.get_layer("deep").output)
    part = keras.Model(net.input, [maps, net.get_layer("mean").output])
    scaled = (pictures / 255 - np.array([0.5, 0.4, 0.3])) / np.array([0.5, 0.25, 0.2])
    for mine, theirs in zip(got, compute_vectors(part, scaled), strict=True):
        assert np.abs(mine - theirs).max() <= 1e-5 * np.abs(theirs).max()
    assert found.spec.params == net.count_params() - 20 * 3  # without the classifier


@pytest.mark.medium
def test_fit_takes_it_from_a_mirror_and_predict_needs_neither(own, tmp_path, small_textile, monkeypatch, capsys):
    hub_server.repository(tmp_path / "mirror" / "huggingface" / PRESET)
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path / "mirror"))
    run, pictures = tmp_path / "run", small_textile(16)
    assert main(["fit", str(pictures), "--backbones", NAME, "--strategy", "probe", "--out", str(run), "--json"]) == 0
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path / "nothing"))
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "empty"))
    picture = next(pictures.rglob("*.jpg"))
    capsys.readouterr()
    assert main(["predict", str(run), str(picture)]) == 0
    assert picture.name in capsys.readouterr().out
    assert NAME in (run / "job.toml").read_text()


def test_it_is_fetched_once_and_then_asks_for_nothing(small, own):
    loading.find_backbone(NAME, fetching=True, console=QUIET)
    before = list(small.asked)
    assert (
        loading.find_backbone(NAME, fetching=True, console=QUIET).spec.name == NAME
        and loading.list_backbones().count(NAME) == 1
    )
    assert PLUGIN.pull(PRESET, own, QUIET).is_file() and small.asked == before
    assert catalogue.read_facts(NAME, own)["weights_here"]


def test_a_revision_is_a_backbone_of_its_own(small, own):
    assert loading.find_backbone(f"{NAME}@v1", fetching=True, console=QUIET).name == f"{NAME}@v1"
    assert PLUGIN.presets() == (f"{PRESET}@v1",)
    assert ("/api/models/acme/small-net/revision/v1", 0) in small.asked
    with pytest.raises(SetupError, match="no revision `v9`"):
        loading.find_backbone(f"{NAME}@v9", fetching=True, console=QUIET)


def test_a_lost_copy_is_fetched_again_as_it_was_described(small, own):
    file = PLUGIN.pull(loading.find_backbone(NAME, fetching=True, console=QUIET).preset, own, QUIET)
    spec = PLUGIN.spec(PRESET)
    for one in cache_inventory.list_entries(own):
        cache_inventory.remove_entry(one)
    assert not PLUGIN.available(PRESET, own)
    assert PLUGIN.pull(PRESET, own, QUIET) == file and file.is_file() and PLUGIN.spec(PRESET) == spec


def test_a_damaged_copy_is_told_by_verify_and_comes_again(small, own, capsys):
    file = PLUGIN.pull(loading.find_backbone(NAME, fetching=True, console=QUIET).preset, own, QUIET)
    file.write_bytes(file.read_bytes().replace(b"pixel", b"PIXEL").replace(b"stem", b"STEM"))
    assert main(["backbones", "verify"]) == 1
    assert f"headstart backbones pull {NAME}" in capsys.readouterr().out
    assert main(["backbones", "pull", NAME]) == 0 and main(["backbones", "verify"]) == 0


def test_a_damaged_description_stops_nothing(small, own, capsys):
    loading.find_backbone(NAME, fetching=True, console=QUIET)
    (path,) = (own.root / "named" / "huggingface").glob("*.json")
    path.write_text("{")
    assert PLUGIN.presets() == () and NAME not in loading.list_backbones()
    with pytest.raises(UsageError, match="the description of .* is damaged") as caught:
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert f"headstart backbones remove {NAME}" in caught.value.hint
    assert main(["backbones", "list"]) == 0 and "is damaged" in capsys.readouterr().err
    assert main(["backbones", "remove", NAME]) == 0 and not path.exists()
    assert loading.find_backbone(NAME, fetching=True, console=QUIET).name == NAME


def test_another_network_under_the_same_name_is_not_taken_silently(small, own):
    for one in (loading.find_backbone(NAME, fetching=True, console=QUIET), *cache_inventory.list_entries(own)):
        if isinstance(one, cache_inventory.CacheEntry):
            cache_inventory.remove_entry(one)
    write_onnx(small.repos[PRESET] / "onnx" / "model.onnx", side="side", channels="channels", seed=9)
    with pytest.raises(UsageError, match="another file already") as caught:
        PLUGIN.pull(PRESET, own, QUIET)
    assert caught.value.hint == f"headstart backbones remove {NAME}"


@pytest.mark.parametrize("whole", [False, True])
def test_a_transformer_gives_tokens_of_its_inner_blocks(hub, own, tmp_path, whole):
    hub.repos[PRESET] = root = hub_server.repository(tmp_path / "repo")
    write_onnx_of_tokens(root / "onnx" / "model.onnx", whole=whole)
    spec = loading.find_backbone(NAME, fetching=True, console=QUIET).spec
    assert [(depth.name, depth.dim) for depth in spec.depths] == [("tokens4", 12), ("tokens6", 12), ("last", 12)]
    cuts = description.read_description("huggingface", PRESET).cuts
    assert [cut.layer for cut in cuts] == ["sum4", "sum6", "last_hidden_state" if whole else "token"]
    check_backbone(PLUGIN, PRESET, own)


# ---------------------------------------------------------------- what can be said


def test_what_is_said_comes_before_what_is_stated(small, own):
    words = ("--size", "64", "--scale", "0.5", "--mean", "1,2,3", "--channels", "bgr", "--licence", "Apache-2.0")
    more = ("--resize", "crop", "--crop", "0.9", "--interpolation", "bicubic", "--depths", "down_relu,last")
    assert main(["backbones", "add", NAME, *words, *more, "--json"]) == 0
    spec = PLUGIN.spec(PRESET)
    assert (spec.input.size_px, spec.input.channels, spec.licence) == (64, "bgr", "Apache-2.0")
    assert (spec.input.scale, spec.input.mean, spec.input.std) == (0.5, (1.0, 2.0, 3.0), (0.5, 0.25, 0.2))
    assert (spec.input.resize, spec.input.crop_fraction, spec.input.interpolation) == ("crop", 0.9, "bicubic")
    assert [depth.name for depth in spec.depths] == ["down_relu", "last"]
    assert len(weights_asked(small)) == 1
    assert main(["backbones", "add", NAME, "--size", "32", "--json"]) == 0
    assert PLUGIN.spec(PRESET).input.size_px == 32 and len(weights_asked(small)) == 1  # the copy is of this commit
    assert main(["backbones", "add", NAME, "--name", "x"]) == 2


def test_a_processor_among_others_is_read(hub, own, tmp_path):
    within = json.dumps({"image_processor": hub_server.PROCESSOR, "processor_class": "SmallProcessor"})
    texts = {"preprocessor_config.json": None, "processor_config.json": within}
    hub.repos[PRESET] = hub_server.repository(tmp_path / "repo", texts=texts)
    assert loading.find_backbone(NAME, fetching=True, console=QUIET).spec.input.mean == (0.5, 0.4, 0.3)


def test_what_nothing_states_is_guessed_aloud(hub, own, tmp_path, capsys):
    texts = {"preprocessor_config.json": None, "README.md": None, "config.json": None}
    hub.repos[PRESET] = hub_server.repository(tmp_path / "repo", texts=texts)
    spec = loading.find_backbone(NAME, fetching=True, console=Console()).spec
    told = capsys.readouterr().err
    assert "a guess: ImageNet's mean and std" in told and "set it with --scale" in told and "set it with --size" in told
    assert (spec.input.size_px, spec.licence, spec.method, spec.domains) == (224, "not stated", "not stated", ())
    assert "does not state" in spec.pretrained_on and "a guess" in spec.prior_source


def test_weights_in_files_beside_the_network_come_too(hub, own, tmp_path):
    root = hub_server.repository(tmp_path / "repo")
    write_onnx(root / "onnx" / "model.onnx", side=32, beside=True)
    hub.repos[PRESET] = root
    assert loading.find_backbone(NAME, fetching=True, console=QUIET).spec.params == 5688
    assert sum(path.endswith(".data") for path, _ in hub.asked) == 5
    (root / "onnx" / "deep.data").unlink()
    description.remove_description(PRESET, own, "huggingface")
    with pytest.raises(DataError, match=r"weights in `deep.data`, which .* lacks"):
        loading.find_backbone(NAME, fetching=True, console=QUIET)


def test_the_picture_part_of_a_pair_comes_before_the_whole(small, own):
    root = small.repos[PRESET]
    write_onnx(root / "onnx" / "vision_model.onnx", side=32, classifier=False, seed=3)
    loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert [path.rpartition("/")[2] for path, _ in small.asked if ".onnx" in path] == ["vision_model.onnx"]


def test_remove_takes_the_name_away(small, own):
    loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert main(["backbones", "remove", NAME]) == 0
    assert PLUGIN.presets() == ()
    asked = list(small.asked)
    gone = {entry.name: why for entry, why in cache_inventory.list_prunable(own)}
    assert gone == {"": "no backbone of this installation has it"} and small.asked == asked


# ---------------------------------------------------------------- mirrors


def test_a_mirror_is_a_folder_or_an_address_and_comes_before_the_hub(hub, own, tmp_path, monkeypatch):
    hub_server.repository(tmp_path / "mirror" / "huggingface" / f"{PRESET}@v2", onnx="model.onnx")
    for mirror in (str(tmp_path / "mirror"), (tmp_path / "mirror").as_uri()):
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", mirror)
        assert loading.find_backbone(f"{NAME}@v2", fetching=True, console=QUIET).spec.licence == "mit"
        description.remove_description(f"{PRESET}@v2", own, "huggingface")
    assert hub.asked == []


def test_a_mirror_at_an_address_needs_no_api(own, tmp_path, monkeypatch, plain_server):
    hub_server.repository(tmp_path / "mirror" / "huggingface" / PRESET)
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", plain_server(tmp_path / "mirror"))
    assert loading.find_backbone(NAME, fetching=True, console=QUIET).spec.params == 5688
    write_onnx(tmp_path / "mirror" / "huggingface" / PRESET / "onnx" / "model.onnx", side="s", channels="c", seed=8)
    for entry in cache_inventory.list_entries(own):
        cache_inventory.remove_entry(entry)
    with pytest.raises(SetupError, match="not the file that was first used here"):
        PLUGIN.pull(PRESET, own, QUIET)


@pytest.fixture
def plain_server():
    """A function that serves a folder and gives its address."""
    import functools
    import http.server
    import threading

    held = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *given):
            pass

    def make(folder):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        held.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield make
    for server in held:
        server.shutdown()
        server.server_close()


def test_a_mirror_that_does_not_hold_it_says_so(hub, own, tmp_path, monkeypatch, plain_server):
    (tmp_path / "empty").mkdir()
    for mirror in (str(tmp_path / "empty"), (tmp_path / "empty").as_uri(), plain_server(tmp_path / "empty")):
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", mirror)
        with pytest.raises(SetupError, match=rf"`{NAME}` cannot be had: the mirror .* does not hold it") as caught:
            loading.find_backbone(NAME, fetching=True, console=QUIET)
        assert f"huggingface/{PRESET}/" in caught.value.hint
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path / "no_such"))
    with pytest.raises(SetupError, match=rf"`{NAME}` cannot be had: there is no folder `.*no_such`"):
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", "s3://bucket/weights")
    with pytest.raises(SetupError, match="`s3://` cannot be read") as caught:
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    copied = f"huggingface/{PRESET}/"  # where a mirror `weights` is looked into
    assert f"aws s3 cp --recursive s3://bucket/weights/{copied} weights/{copied}, then" in caught.value.hint
    assert hub.asked == []


def test_a_digest_that_a_mirror_states_holds_for_files_by_hand(own, tmp_path, monkeypatch):
    root = hub_server.repository(tmp_path / "mirror" / "huggingface" / PRESET)
    row = {"rfilename": "onnx/model.onnx", "lfs": {"sha256": "0" * 64, "size": 5, "pointerSize": 134}}
    (root / "api.json").write_text(json.dumps({"id": PRESET, "siblings": [row, {"rfilename": "config.json"}]}))
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(SetupError, match=r"the hub pins \(SHA-256 differs\)"):
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert PLUGIN.presets() == ()


# ---------------------------------------------------------------- refused


def nothing_is_left(store):
    left = [path for path in store.root.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return left == [] and PLUGIN.presets() == ()


def test_a_download_that_breaks_off_is_gone_on_with(small, own):
    whole = (small.repos[PRESET] / "onnx" / "model.onnx").stat().st_size
    small.stop_after = [9000, 7000]
    loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert weights_asked(small) == [0, 9000, 16000] and whole > 16000


def test_a_download_that_never_ends_is_refused_and_kept_for_the_next_try(small, own):
    small.stop_after = [6000, 6000, 6000]
    with pytest.raises(SetupError, match="broken off"):
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert PLUGIN.presets() == () and cache_inventory.list_entries(own) == []
    loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert weights_asked(small) == [0, 6000, 12000, 18000]


def test_a_wrong_digest_is_refused(small, own):
    small.digests["model.onnx"] = "f" * 64
    with pytest.raises(SetupError, match=r"not the file that the hub pins \(SHA-256 differs\)"):
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert nothing_is_left(own)


def test_a_file_cut_off_at_the_publishers_is_refused(small, own):
    path = small.repos[PRESET] / "onnx" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="no whole ONNX file: it is cut off"):
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert nothing_is_left(own)


def test_a_gated_repository_is_named_as_such(small, own):
    small.gated.add(PRESET)
    with pytest.raises(SetupError, match="is gated: its publisher asks for an account") as caught:
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert f"FOLDER/huggingface/{PRESET}/" in caught.value.hint and nothing_is_left(own)


def test_what_is_not_there_is_named(hub, own):
    with pytest.raises(SetupError, match="`huggingface:acme/absent` does not exist, or is private"):
        loading.find_backbone("huggingface:acme/absent", fetching=True, console=QUIET)


def test_without_an_onnx_file_it_says_what_there_is(hub, own, tmp_path):
    root = hub_server.repository(tmp_path / "repo", onnx="")
    (root / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    hub.repos[PRESET] = root
    with pytest.raises(DataError, match=r"it has .*`pytorch_model.bin`") as caught:
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert "optimum-cli export onnx" in caught.value.hint
    assert not any(path.endswith(".bin") for path, _ in hub.asked) and nothing_is_left(own)
    (root / "onnx").mkdir()
    write_onnx(root / "onnx" / "model_int8.onnx")
    with pytest.raises(DataError, match=r"it has `onnx/model_int8.onnx`$") as caught:
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert "backbones add FILE" in caught.value.hint


@pytest.mark.parametrize("place", ["../../", "/tmp/", "weights.pkl/../", "a/../../"])
def test_weights_that_lie_elsewhere_are_refused(hub, own, tmp_path, place):
    root = hub_server.repository(tmp_path / "repo")
    write_onnx(root / "onnx" / "model.onnx", beside=place)
    hub.repos[PRESET] = root
    with pytest.raises(DataError, match="which leads elsewhere"):
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert nothing_is_left(own)


def test_a_pickle_under_the_name_of_a_network_is_refused_unopened(hub, own, tmp_path):
    root = hub_server.repository(tmp_path / "repo")
    (root / "onnx" / "model.onnx").write_bytes(pickle.dumps(hub_server.Hub))
    hub.repos[PRESET] = root
    with pytest.raises(DataError, match="no whole ONNX file"):
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert nothing_is_left(own)


def test_a_processor_that_cannot_be_is_refused(hub, own, tmp_path):
    texts = {"preprocessor_config.json": json.dumps(hub_server.PROCESSOR | {"size": {"height": 32, "width": 64}})}
    hub.repos[PRESET] = hub_server.repository(tmp_path / "repo", texts=texts)
    with pytest.raises(DataError, match="32 x 64 px, not squares"):
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    hub.repos[PRESET] = hub_server.repository(tmp_path / "repo", texts={"preprocessor_config.json": "[1"})
    with pytest.raises(DataError, match=r"`preprocessor_config.json` of .* cannot be read"):
        loading.find_backbone(NAME, fetching=True, console=QUIET)


def test_without_a_network_it_says_so_and_what_is_here_stays_usable(own, small, monkeypatch):
    loading.find_backbone(NAME, fetching=True, console=QUIET)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert loading.find_backbone(NAME, fetching=True, console=QUIET).spec.name == NAME
    with pytest.raises(SetupError, match=r"`huggingface:acme/other` cannot be had: .*refused") as caught:
        loading.find_backbone("huggingface:acme/other", fetching=True, console=QUIET)
    assert "HEADSTART_WEIGHTS_MIRROR" in caught.value.hint


@pytest.mark.parametrize("words", [("list",), ("show",), ("verify",)], ids=" ".join)
def test_only_pull_fetches(words, small, own, capsys):
    assert main(["backbones", *words, NAME, "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert f"`{NAME}` is not here yet" in error["what"] and error["hint"] == f"headstart backbones pull {NAME}"
    assert small.asked == []
    assert main(["backbones", "pull", NAME, "huggingface:acme", "--json"]) == 2  # no name: nothing is fetched at all
    assert small.asked == []
    capsys.readouterr()
    assert main(["backbones", "pull", NAME, "--quiet"]) == 0
    assert "acme" not in capsys.readouterr().err
    assert main(["backbones", *words, NAME]) == 0


def test_a_plan_fetches_no_network(small, own, small_textile, capsys):
    data = str(small_textile(8))
    assert main(["fit", data, "--backbones", NAME, "--dry-run", "--json"]) == 2
    assert f"backbones pull {NAME}" in json.loads(capsys.readouterr().out)["error"]["hint"]
    assert small.asked == []


def test_a_password_in_the_address_of_the_hub_is_never_shown(small, own, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", small.address.replace("://", "://me:secret@"))
    err = io.StringIO()
    small.gated.add(PRESET)
    for name in (NAME, "huggingface:acme/absent"):
        with pytest.raises(SetupError) as caught:
            loading.find_backbone(name, fetching=True, console=Console(err=err))
        assert "secret" not in f"{caught.value.what} {caught.value.where} {caught.value.hint}"
    small.gated.clear()
    loading.find_backbone(NAME, fetching=True, console=Console(err=err))
    assert "acme" in err.getvalue() and "secret" not in err.getvalue()


@pytest.mark.parametrize("name", ["acme", "../x", "a/../b", "a/b/c", "a/b@", "a/b@../x", "a/b\x1b[31m", "-a/b"])
def test_what_can_be_no_name_is_never_asked_for(hub, own, name):
    with pytest.raises(UsageError, match="is no name on the hub"):
        loading.find_backbone(f"huggingface:{name}", fetching=True, console=QUIET)
    assert hub.asked == []


def test_the_users_token_goes_to_the_hub_alone(small, own, tmp_path, monkeypatch, plain_server):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert small.tokens == {"Bearer hf_mine"}
    description.remove_description(PRESET, own, "huggingface")
    with hub_server.serving() as other:
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", other.address)
        with pytest.raises(SetupError):
            loading.find_backbone(NAME, fetching=True, console=QUIET)
        assert other.asked and other.tokens == {""}


def test_without_the_package_it_says_what_installs_it(small, own, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SetupError, match="needs the extra `hub`") as caught:
        loading.find_backbone(NAME, fetching=True, console=QUIET)
    assert caught.value.hint == extras.format_install_command("hub") and small.asked == []


def test_nothing_of_the_package_is_printed_or_sent_for_statistics(small, own):
    code = (
        "import sys\nfrom headstart.cli.main import main\n"
        "from headstart.backbones.huggingface import hub_api\n"
        f"main(['backbones', 'pull', '{NAME}', '--quiet'])\n"
        "from huggingface_hub import constants\nassert constants.HF_HUB_DISABLE_TELEMETRY\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
