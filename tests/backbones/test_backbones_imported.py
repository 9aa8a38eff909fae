"""What comes from a user's own disk is checked: names, numbers, places and descriptions."""

import json

import numpy as np
import pytest

from headstart.backbones import loading
from headstart.backbones.imported import description, registration
from headstart.backbones.imported.registration import ImportRequest
from headstart.cli.main import main
from headstart.core.console import Console
from headstart.core.errors import DataError, UsageError
from headstart.core.storage.cache import Store
from network_files import write_onnx

QUIET = Console(quiet=True)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A cache of this test's own, which is also the user's."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "own"))
    return Store(tmp_path / "own")


@pytest.mark.parametrize("wish", [{"scale": np.nan}, {"mean": (0.0, np.inf, 0.0)}, {"std": (np.nan,)}])
def test_a_scaling_that_is_no_number_is_refused(wish, own, tmp_path):
    write_onnx(tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="leaves no number of the pictures") as caught:
        registration.add_file(ImportRequest(file=tmp_path / "net.onnx", **wish), own, QUIET)
    assert caught.value.where == f"--{next(iter(wish))}"
    assert description.list_names("saved_file", own) == ()


def call(capsys, *words, code=0):
    """Standard output and error of `headstart backbones`."""
    assert main(["backbones", *map(str, words)]) == code
    return capsys.readouterr()


BUNDLED = [
    f"bundled:{preset}" for preset in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "vgg16_hed")
]


def damage(own, name, text='{"name": '):
    path = own.root / "named" / "saved_file" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_one_damaged_description_stops_no_list_and_is_told(own, capsys):
    damage(own, "bad")
    found = call(capsys, "list", *BUNDLED, "--json")
    assert len(json.loads(found.out)["backbones"]) == 4
    assert "the description of `saved_file:bad` is damaged" in found.err
    assert "headstart backbones remove bad" in found.err
    assert "saved_file:bad" not in loading.list_backbones()
    found = call(capsys, "show", "saved_file:bad", code=2)
    assert "the description of `saved_file:bad` is damaged" in found.err
    assert json.loads(call(capsys, "verify", "--json").out)["checked"] == []


def test_a_damaged_description_is_written_anew(own, tmp_path):
    write_onnx(tmp_path / "net.onnx")
    made = registration.add_file(ImportRequest(file=tmp_path / "net.onnx"), own, QUIET)
    for text in ("", "[]", "{}", json.dumps({"name": "net"})):
        damage(own, "net", text)
        with pytest.raises(DataError, match="description of `saved_file:net` is damaged") as caught:
            description.read_description("saved_file", "net")
        assert "headstart backbones add FILE --name net" in caught.value.hint
        assert registration.add_file(ImportRequest(file=tmp_path / "net.onnx"), own, QUIET) == made
        assert description.list_names("saved_file", own) == ("net",)


def test_a_description_that_cannot_be_used_counts_as_damaged(own, tmp_path):
    write_onnx(tmp_path / "net.onnx")
    registration.add_file(ImportRequest(file=tmp_path / "net.onnx"), own, QUIET)
    path = own.root / "named" / "saved_file" / "net.json"
    whole = json.loads(path.read_text())
    for wrong in ({"cuts": []}, {"kind": "pickle"}, {"name": "other"}, {"input": whole["input"] | {"scale": None}}):
        path.write_text(json.dumps(whole | wrong))
        assert description.list_damaged("saved_file", own) == ("net",)
    path.write_text(json.dumps(whole))
    assert description.list_damaged("saved_file", own) == ()


def test_names_are_removed_damaged_or_not_and_no_others(own, tmp_path, capsys):
    write_onnx(tmp_path / "net.onnx")
    registration.add_file(ImportRequest(file=tmp_path / "net.onnx"), own, QUIET)
    damage(own, "bad")
    for name in ("bundled:efficientnet_lite0", "run:x", "../net", "bda"):
        assert "no file that was added" in call(capsys, "remove", "net", name, code=2).err
    assert description.list_names("saved_file", own) == ("net",)
    found = call(capsys, "remove", "bad", "saved_file:net", "--json")
    assert json.loads(found.out)["removed"] == ["saved_file:bad", "saved_file:net"]
    assert not list((own.root / "named" / "saved_file").iterdir())
    call(capsys, "prune")
    assert not list((own.root / "added").iterdir())
    assert "another file" not in call(capsys, "add", tmp_path / "net.onnx").err


@pytest.mark.parametrize(
    ("file", "words"), [("网络", "no letter or digit"), ("con", "on every system"), ("COM1", "every")]
)
def test_a_name_that_is_none_is_refused_and_can_be_given(file, words, own, tmp_path):
    write_onnx(tmp_path / f"{file}.onnx")
    with pytest.raises(UsageError, match=words) as caught:
        registration.add_file(ImportRequest(file=tmp_path / f"{file}.onnx"), own, QUIET)
    assert caught.value.where == "--name"
    assert registration.add_file(ImportRequest(file=tmp_path / f"{file}.onnx", name="Mine"), own, QUIET).name == "mine"


def test_a_bare_name_is_that_of_the_source_which_ships_it(own, tmp_path):
    write_onnx(tmp_path / "resnet50.onnx")
    write_onnx(tmp_path / "mine.onnx")
    registration.add_file(ImportRequest(file=tmp_path / "resnet50.onnx"), own, QUIET)
    registration.add_file(ImportRequest(file=tmp_path / "mine.onnx"), own, QUIET)
    assert loading.find_backbone("resnet50").name == "keras_applications:resnet50"
    assert loading.find_backbone("saved_file:resnet50").name == "saved_file:resnet50"
    assert loading.find_backbone("mine").name == "saved_file:mine"


def test_an_onnx_file_is_known_by_its_weights_beside_it_too(own, tmp_path):
    path = tmp_path / "net.onnx"
    write_onnx(path, beside=True)
    graph, made = path.read_bytes(), registration.add_file(ImportRequest(file=path), own, QUIET)
    assert registration.add_file(ImportRequest(file=path), own, QUIET) == made
    assert made.bytes > 4 * made.params
    write_onnx(path, beside=True, seed=6)
    assert path.read_bytes() == graph
    with pytest.raises(UsageError, match="`saved_file:net` is another file already"):
        registration.add_file(ImportRequest(file=path), own, QUIET)
    other = registration.add_file(ImportRequest(file=path, name="other"), own, QUIET)
    assert other.content != made.content
    kept = [(description.find_copy(one, own).parent / "model.bin").read_bytes() for one in (made, other)]
    assert kept[0] != kept[1]
    assert not list(own.root.glob(".tmp-*"))


def test_a_weights_file_that_is_missing_leaves_nothing(own, tmp_path):
    write_onnx(tmp_path / "net.onnx", beside=True)
    (tmp_path / "down.data").unlink()
    with pytest.raises(DataError, match=r"cannot read `net.onnx`"):
        registration.add_file(ImportRequest(file=tmp_path / "net.onnx"), own, QUIET)
    assert not [one for one in own.root.rglob("*") if one.is_file()]
