"""Backbones of the user's own: `auto` takes none, and a run that goes on sees the same ones."""

import pytest

from headstart.backbones import loading
from headstart.backbones.imported import registration
from headstart.backbones.imported.registration import ImportRequest
from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.run.folder import RunFolder
from headstart.core.storage.cache import Store
from headstart.data.reading.read_dataset import read_dataset as read
from headstart.selection import candidates
from headstart.selection.candidates import backbone_for_audit
from network_files import write_onnx


@pytest.fixture
def own(tmp_path, monkeypatch, shared_store):
    """The user's cache, with the shared weights and one added file."""
    root = tmp_path / "own"
    root.mkdir()
    for kind in ("weights", "trunks", "wheels"):
        (root / kind).symlink_to(shared_store.root / kind, target_is_directory=True)
    monkeypatch.setenv("HEADSTART_CACHE", str(root))
    write_onnx(tmp_path / "mine.onnx")
    registration.add_file(ImportRequest(file=tmp_path / "mine.onnx"), Store(root), Console(quiet=True))
    return Store(root)


@pytest.fixture
def data(small_textile, context, store):
    folder = small_textile(8)
    return read(folder, ctx=context(data=folder, store=store, name="reading"))


def test_auto_takes_none_of_the_users_own(own, context, data):
    assert "saved_file:mine" in loading.list_backbones()
    assert not [name for name in candidates.list_candidates(context(store=own)) if name.startswith("saved_file:")]
    named = context(store=own, backbones=("auto", "saved_file:mine"))
    assert "saved_file:mine" in candidates.list_candidates(named)


def test_a_cheap_network_of_ones_own_does_not_say_what_is_near_to_what(own):
    lite, edges = "bundled:efficientnet_lite0", "bundled:vgg16_hed"
    flops = {name: loading.find_backbone(name).spec.flops for name in ("saved_file:mine", lite, edges)}
    assert flops["saved_file:mine"] < flops[lite] < flops[edges]
    assert backbone_for_audit(["saved_file:mine", edges, lite]) == lite
    assert backbone_for_audit(["saved_file:mine", edges]) == "saved_file:mine"  # of neither is an accuracy published


def test_a_run_refuses_a_file_that_changed_since_it_began(own, context, data, tmp_path):
    ctx = context(store=own, backbones=("saved_file:mine", "bundled:efficientnet_lite0"))

    def again():
        ctx.run = RunFolder(ctx.run.path)
        return candidates.choose_candidates(data, ctx=ctx)

    first = again()
    assert first == again() == ("saved_file:mine", "bundled:efficientnet_lite0")
    assert list(RunFolder(ctx.run.path).find_decision("own_backbones")) == ["saved_file:mine"]
    registration.add_file(ImportRequest(file=tmp_path / "mine.onnx", scale=2.0), own, Console(quiet=True))
    with pytest.raises(DataError, match="`saved_file:mine` is another network than when the run"):
        again()
    registration.add_file(ImportRequest(file=tmp_path / "mine.onnx"), own, Console(quiet=True))
    assert again() == first


def test_of_others_nothing_is_written_down(own, context, data):
    ctx = context(store=own, backbones=("bundled:efficientnet_lite0",))
    candidates.choose_candidates(data, ctx=ctx)
    assert ctx.run.find_decision("own_backbones") is None
