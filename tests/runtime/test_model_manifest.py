"""A model folder is read whole or refused with the name of what is wrong."""

import json
import shutil

import pytest
from PIL import Image

from headstart.core import model_manifest
from headstart.core.errors import DataError
from headstart.core.storage.hashing import compute_digest
from headstart.runtime.model import load
from headstart.testing.tiny_model import write_tiny_model


@pytest.fixture
def saved(tmp_path):
    """The tiny model in a fresh folder."""
    return write_tiny_model(tmp_path / "model")


def edit(folder, **changes):
    """Change the manifest as somebody with an editor would, with a fitting digest."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text()) | changes
    content.pop("digest")
    path.write_text(json.dumps(content | {"digest": compute_digest(content)}))


def test_what_is_written_is_read_back(saved):
    found = model_manifest.read_manifest(saved)
    assert found.class_names == ("blue", "green", "red")
    assert found.trunks[0].input.size_px == 32
    assert [depth.name for depth in found.trunks[0].depths] == ["shallow", "deep"]
    assert set(found.list_files()) == {"trunk0/trunk.xml", "trunk0/trunk.bin", "head.safetensors"}
    model_manifest.write_manifest(found, saved)
    assert model_manifest.read_manifest(saved) == found


def test_paths_are_relative_with_forward_slashes(saved):
    content = json.loads((saved / "manifest.json").read_text())
    paths = [*content["trunks"][0]["files"], content["trunks"][0]["ir"], content["head"]["arrays"]]
    assert not [path for path in paths if path.startswith("/") or "\\" in path or ".." in path]


def test_a_moved_folder_is_the_same_model(saved, tmp_path):
    shutil.move(saved, tmp_path / "elsewhere")
    assert load(tmp_path / "elsewhere").class_names == ("blue", "green", "red")


RULE = {"positive": "", "threshold": None, "costs": None}
FORGED = [
    ({"decision": RULE | {"positive": "purple"}}, "no class is named `purple`"),
    ({"task": "singing"}, "this version knows no task `singing`"),
    ({"decision": RULE | {"costs": [[0.0, 1.0], [1.0, 0.0]]}}, "the costs are not of 3 classes"),
    ({"decision": RULE | {"costs": [[0.0], [1.0], [2.0]]}}, "the costs are not of 3 classes"),
    ({"decision": RULE | {"threshold": [0.5]}}, "is not a model's manifest"),
    ({"decision": RULE | {"positive": 3}}, "is not a model's manifest"),
    ({"decision": []}, "is not a model's manifest"),
    ({"class_names": "red"}, "is not a model's manifest"),
    ({"class_names": []}, "it has no classes"),
    ({"features": []}, "it has no classes or no features"),
    ({"features": [{"backbone": "tiny", "depth": "nowhere", "dim": 2}]}, "no trunk has the feature `tiny@nowhere`"),
    ({"head": {"name": "x", "kind": "linear", "arrays": ["a"], "sha256": ""}}, "is not a model's manifest"),
]


@pytest.mark.parametrize(("changes", "told"), FORGED, ids=[told for _, told in FORGED])
def test_a_forged_manifest_with_a_fitting_digest_is_refused(saved, changes, told):
    edit(saved, **changes)
    with pytest.raises(DataError, match=told):
        load(saved)


@pytest.mark.parametrize("change", [{"class_names": ["blue", "green"]}, {"class_names": ["a", "b", "c", "d"]}])
def test_a_head_that_does_not_fit_its_manifest_is_named(saved, change, tmp_path):
    Image.new("RGB", (40, 36), "red").save(tmp_path / "a.png")
    edit(saved, **change)
    with pytest.raises(DataError, match="the head of the model answers for 3 of"):
        list(load(saved).predict(tmp_path / "a.png"))


def test_a_newer_format_is_refused_first(saved):
    edit(saved, format=model_manifest.FORMAT + 1, task={"something": "new"})
    with pytest.raises(DataError, match=f"format {model_manifest.FORMAT + 1}") as caught:
        model_manifest.read_manifest(saved)
    assert "newer" in caught.value.hint


@pytest.mark.parametrize("name", ["trunk0/trunk.xml", "trunk0/trunk.bin", "head.safetensors"])
def test_every_damaged_or_missing_file_is_named(saved, name):
    path = saved / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"`{name}` is not as it was written"):
        load(saved)
    path.unlink()
    with pytest.raises(DataError, match=f"`{name}` is missing"):
        load(saved)


def test_an_edited_manifest_is_detected(saved):
    path = saved / "manifest.json"
    path.write_text(path.read_text().replace('"blue"', '"beige"'))
    with pytest.raises(DataError, match="was changed after it was written"):
        load(saved)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a\\b", "C:/x", "trunk0/../../x"])
def test_no_path_leads_out_of_the_folder(saved, name):
    content = json.loads((saved / "manifest.json").read_text())
    edit(saved, head=content["head"] | {"arrays": name})
    with pytest.raises(DataError, match="lies outside the folder"):
        load(saved)


@pytest.mark.parametrize("name", ["../outside.xml", "trunk0/other.xml"])
def test_no_graph_is_compiled_that_has_no_digest(saved, name):
    [trunk] = json.loads((saved / "manifest.json").read_text())["trunks"]
    edit(saved, trunks=[trunk | {"ir": name}])
    with pytest.raises(DataError, match="has no digest"):
        load(saved)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"format": 1}', '{"format": "x"}', "\x00"])
def test_what_is_no_manifest_is_refused(saved, content):
    (saved / "manifest.json").write_text(content)
    with pytest.raises(DataError, match="manifest"):
        load(saved)


def test_a_manifest_with_a_part_missing_is_refused(saved):
    path = saved / "manifest.json"
    content = json.loads(path.read_text())
    del content["head"], content["digest"]
    path.write_text(json.dumps(content | {"digest": compute_digest(content)}))
    with pytest.raises(DataError, match="is not a model's manifest"):
        load(saved)


def test_an_unfinished_run_has_no_model_yet(tmp_path):
    (tmp_path / "format.json").write_text('{"format": 1}')
    with pytest.raises(DataError, match="there is no model"):
        load(tmp_path)
