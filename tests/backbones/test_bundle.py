"""Packs of weights: the same bytes every time, a round trip with real weights, and everything that must be refused."""

import hashlib
import io
import json
import pickle
import tarfile

import numpy as np
import pytest

from headstart.backbones import loading
from headstart.backbones.inventory import bundle
from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.storage.cache import Store
from headstart.testing.backbones import vectors

LITE0 = "bundled:efficientnet_lite0"
MOBILENET, FILE = "keras_applications:mobilenet", "mobilenet_1_0_224_tf_no_top.h5"  # Keras pins no checksum of it
HDF5 = b"\x89HDF\r\n\x1a\n and so on"
QUIET = Console(quiet=True)
STOLEN = []


class Evil:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self):
        return STOLEN.append, ("run",)


@pytest.fixture(scope="session")
def real(shared_store, tmp_path_factory):
    """A pack of EfficientNet-Lite0, written once."""
    path = tmp_path_factory.mktemp("packs") / "pack.tar"
    bundle.make([LITE0], path, shared_store, QUIET)
    return path


def members(path):
    """(name, content) of a pack in its order."""
    with tarfile.open(path) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]


def small(path, *, of=MOBILENET, content=HDF5, name=FILE, lie=None, extra=(), fact=None, first=None):
    """Write a pack of one backbone as it is known today with other bytes.

    Args:
        of: The backbone.
        content: Of the one file.
        name: Of the one file, without its folder.
        lie: What the manifest says of the file besides path, bytes and digest.
        extra: More members: (TarInfo, content).
        fact: What the manifest says of the backbone besides the truth.
        first: A member before the manifest.
    """
    found = loading.find(of)
    entry = found.source.weights_folder(found.preset, Store(path.parent)).name
    place = f"weights/{entry}/{name}"
    listed = {"path": place, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} | (lie or {})
    told = {"name": of, "revision": found.spec.revision, "licence": "Apache-2.0", "entry": f"weights/{entry}"}
    manifest = {"format": 1, "backbones": [told | (fact or {})], "files": [listed]}
    with tarfile.open(path, "w") as tar:
        for member, data in [
            *([first] if first else []),
            (tarfile.TarInfo("manifest.json"), json.dumps(manifest).encode()),
            (tarfile.TarInfo(place), content),
            *extra,
        ]:
            member.size = len(data) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(data))
    return path


def refused(path, store, match):
    """The pack is refused, and the cache is as it was."""
    before = sorted(store.root.rglob("*"))
    with pytest.raises(DataError, match=match) as caught:
        bundle.unpack(path, store, QUIET)
    assert sorted(store.root.rglob("*")) == before
    assert not [one for one in path.parent.rglob("*") if one.name == "planted"]
    return caught.value


@pytest.fixture
def store(tmp_path):
    """An empty cache that exists."""
    (tmp_path / "cache").mkdir()
    return Store(tmp_path / "cache")


@pytest.mark.medium
def test_real_weights_travel_and_answer_the_same(real, store, shared_store):
    there = loading.find(LITE0)
    assert not there.source.available(there.preset, store)
    [placed] = bundle.unpack(real, store, QUIET)
    assert (placed["name"], placed["was_here"]) == (LITE0, False)
    assert there.source.available(there.preset, store)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    found, wanted = (vectors(there.build(one), pictures) for one in (store, shared_store))
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert bundle.unpack(real, store, QUIET)[0]["was_here"]
    assert [path.name for path in store.root.iterdir()] == ["weights"]


@pytest.mark.medium
def test_the_same_bytes_whatever_the_order(tmp_path, shared_store):
    names = [LITE0, "efficientnet_lite1"]
    bundle.make(names, tmp_path / "a.tar", shared_store, QUIET)
    made = bundle.make([*names[::-1], LITE0], tmp_path / "b.tar", shared_store, QUIET)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert [one["name"] for one in made["backbones"]] == [LITE0, "bundled:efficientnet_lite1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "b.tar"]


@pytest.mark.medium
def test_the_manifest_says_what_is_inside(real, shared_store):
    (name, content), *rest = members(real)
    assert name == "manifest.json"
    manifest = json.loads(content)
    [told] = manifest["backbones"]
    assert told["name"] == LITE0
    assert told["revision"] == loading.find(LITE0).spec.revision
    assert told["licence"] == "Apache-2.0"
    assert [(f["path"], f["bytes"], f["sha256"]) for f in manifest["files"]] == [
        (path, len(data), hashlib.sha256(data).hexdigest()) for path, data in rest
    ]
    with tarfile.open(real) as tar:
        assert {(one.mtime, one.uid, one.gid, one.uname, one.mode) for one in tar} == {(0, 0, 0, "", 0o644)}


@pytest.mark.medium
def test_one_changed_byte_is_found(real, store, tmp_path):
    content = bytearray(real.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "bent.tar").write_bytes(content)
    refused(tmp_path / "bent.tar", store, "the SHA-256 of")


@pytest.mark.medium
@pytest.mark.parametrize("keep", [0.9999, 0.5, 0.00002, 0])
def test_a_cut_off_pack_is_refused(real, store, tmp_path, keep):
    content = real.read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: int(len(content) * keep)])
    refused(tmp_path / "cut.tar", store, r"cut off|no whole tar|no pack")


def test_a_small_pack_is_taken(store, tmp_path):
    """The writer of the bad packs below writes good ones."""
    path = small(tmp_path / "good.tar")
    assert bundle.unpack(path, store, QUIET)[0]["name"] == MOBILENET


def test_a_cut_between_members_is_refused(store, tmp_path):
    path = small(tmp_path / "cut.tar")
    with tarfile.open(path) as tar:
        end = tar.getmembers()[1].offset
    path.write_bytes(path.read_bytes()[:end] + bytes(1024))  # ends like a tar does
    refused(path, store, "lacks `weights/")


@pytest.mark.parametrize("name", ["../planted", "/planted", "weights/../../planted", "C:planted", "..\\planted"])
def test_a_member_that_leads_elsewhere_is_refused(store, tmp_path, name):
    path = small(tmp_path / "slip.tar", extra=[(tarfile.TarInfo(name), b"{}")])
    assert name in refused(path, store, "leads elsewhere").what


@pytest.mark.parametrize("place", ["../planted", "/planted", "weights/x", "trunks/" + "a" * 64 + "/x.bin"])
def test_a_manifest_that_leads_elsewhere_is_refused(store, tmp_path, place):
    path = small(tmp_path / "slip.tar", lie={"path": place})
    assert place in refused(path, store, "no place for weights").what


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a link"),
        (tarfile.DIRTYPE, "is a folder"),
        (tarfile.CHRTYPE, "is a device"),
        (tarfile.FIFOTYPE, "is a device"),
        (tarfile.GNUTYPE_SPARSE, "is no plain file"),
        (tarfile.CONTTYPE, "is no plain file"),
    ],
)
def test_a_member_of_another_kind_is_refused(store, tmp_path, kind, match):
    member = tarfile.TarInfo("weights/x")
    member.type, member.linkname = kind, "/etc/passwd"
    refused(small(tmp_path / "odd.tar", extra=[(member, b"")]), store, match)


def test_a_member_that_is_not_listed_or_comes_twice_is_refused(store, tmp_path):
    path = small(tmp_path / "more.tar", extra=[(tarfile.TarInfo("weights/more.json"), b"{}")])
    assert "`weights/more.json`" in refused(path, store, "not in the manifest").what
    [_, (name, content)] = members(small(tmp_path / "one.tar"))
    path = small(tmp_path / "twice.tar", extra=[(tarfile.TarInfo(name), content)])
    refused(path, store, "there twice")


def test_a_wrong_digest_and_a_wrong_length_are_refused(store, tmp_path):
    assert FILE in refused(small(tmp_path / "a.tar", lie={"sha256": "0" * 64}), store, "SHA-256").what
    refused(small(tmp_path / "b.tar", lie={"bytes": 9}), store, "the manifest says `9`")


@pytest.mark.parametrize("name", ["x.pkl", "x.pth", "x.safetensors", "x.h5", "x.bin", "x.npy"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_is_refused_under_any_name_and_never_run(store, tmp_path, name, protocol):
    path = small(tmp_path / "evil.tar", content=pickle.dumps(Evil(), protocol), name=name)
    assert name in refused(path, store, "pickle").what
    assert STOLEN == []


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("x.safetensors", pickle.dumps(Evil(), 0), "does not begin"),
        ("x.h5", b"PK\x03\x04 a zip of a pickle", "pickle"),
        ("x.json", b"[]", "does not begin"),
        ("x.py", b"print()", "kind that is not taken"),
        ("x", b"{}", "kind that is not taken"),
    ],
)
def test_a_file_that_is_no_weights_is_refused(store, tmp_path, name, content, match):
    assert name in refused(small(tmp_path / "odd.tar", content=content, name=name), store, match).what


def test_another_backbone_and_another_revision_are_refused(store, tmp_path):
    assert "`1-old`" in refused(small(tmp_path / "a.tar", fact={"revision": "1-old"}), store, "revision").what
    refused(small(tmp_path / "b.tar", fact={"name": "bundled:nothing"}), store, "does not know")
    refused(small(tmp_path / "c.tar", fact={"name": "bundled:vgg16_hed"}), store, "revision")
    refused(small(tmp_path / "d.tar", fact={"name": f"random:{MOBILENET}"}), store, "cannot come from a pack")


@pytest.mark.parametrize(
    ("of", "name", "content", "match"),
    [
        ("keras_applications:resnet50", "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", HDF5, "MD5 differs"),
        ("keras_applications:resnet50", FILE, HDF5, "they are `resnet50_weights"),
        (MOBILENET, "other.h5", HDF5, f"they are `{FILE}`"),
        (LITE0, "efficientnet_lite0.safetensors", b"\x02\0\0\0\0\0\0\0{}", "not hold the pinned numbers"),
        (LITE0, "efficientnet_lite0.safetensors", b"\x02\0\0\0\0\0\0\0{x", "cannot be read"),
        (LITE0, "x.safetensors", b"\x02\0\0\0\0\0\0\0{}", "they are `efficientnet_lite0.safetensors`"),
    ],
)
def test_a_pack_that_is_true_to_itself_and_holds_other_weights_is_refused(store, tmp_path, of, name, content, match):
    path = small(tmp_path / "fake.tar", of=of, name=name, content=content)
    assert of in refused(path, store, match).what


def test_a_file_too_many_is_refused(store, tmp_path):
    folder = store.entry_path("weights", loading.find(MOBILENET).source._key("mobilenet"))
    store.make_entry(
        "weights", folder.name, lambda draft: [(draft / name).write_bytes(HDF5) for name in (FILE, "b.h5")]
    )
    with pytest.raises(DataError, match="they are `mobilenet"):
        bundle.make([MOBILENET], tmp_path / "x.tar", store, QUIET)


def test_other_bytes_than_those_here_already_are_refused(store, tmp_path):
    bundle.unpack(small(tmp_path / "one.tar"), store, QUIET)
    assert bundle.unpack(tmp_path / "one.tar", store, QUIET)[0]["was_here"]
    path = small(tmp_path / "two.tar", content=HDF5 + b"!")
    hint = refused(path, store, f"`{FILE}` of `{MOBILENET}` is in the cache already, with other bytes").hint
    [folder] = (store.root / "weights").iterdir()
    assert str(folder) in hint


def test_a_file_that_is_not_the_pinned_one_is_used_and_not_bundled(store, tmp_path, monkeypatch):
    name, file = "keras_applications:resnet50", "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path))
    (tmp_path / file).write_bytes(HDF5)
    with pytest.raises(DataError, match="MD5 differs") as caught:
        bundle.make([name], tmp_path / "pack.tar", store, QUIET)
    assert "HEADSTART_WEIGHTS_MIRROR=FOLDER" in caught.value.hint
    assert not (tmp_path / "pack.tar").exists()


@pytest.mark.medium
def test_bundled_weights_are_pinned_number_for_number(shared_store, tmp_path):
    from safetensors.numpy import load_file, save_file

    found = loading.find(LITE0)
    file = found.source.pull(found.preset, shared_store, QUIET)
    assert found.source.wrong_weights(found.preset, file.parent) == ""
    tensors = load_file(file)
    save_file(tensors, tmp_path / file.name)  # without the words on where it came from: other bytes, the same numbers
    assert (tmp_path / file.name).read_bytes() != file.read_bytes()
    assert found.source.wrong_weights(found.preset, tmp_path) == ""
    next(iter(tensors.values())).reshape(-1)[0] += 1
    save_file(tensors, tmp_path / file.name)
    assert "SHA-256 differs" in found.source.wrong_weights(found.preset, tmp_path)


def test_a_name_in_a_pack_is_never_opened_as_a_path(store, tmp_path, monkeypatch):
    (tmp_path / "share").mkdir()
    looked = []
    monkeypatch.setattr("headstart.backbones.sources.run.Run.opens", lambda self, preset: looked.append(preset) or "")
    for name in (f"run:{tmp_path}/share", "run://attacker/share", f"random:run:{tmp_path}/share"):
        refused(small(tmp_path / "run.tar", fact={"name": name}), store, "this version does not know")
    assert looked == []


@pytest.mark.parametrize("length", ["1e999", "-1e999", "NaN", "[]", '"many"'])
def test_a_length_that_is_no_number_is_refused(store, tmp_path, length):
    manifest = f'{{"format":1,"backbones":[],"files":[{{"path":"x","sha256":"","bytes":{length}}}]}}'
    with tarfile.open(tmp_path / "odd.tar", "w") as tar:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(manifest)
        tar.addfile(member, io.BytesIO(manifest.encode()))
    refused(tmp_path / "odd.tar", store, "cannot be read")


def test_what_is_no_pack_is_refused(store, tmp_path):
    (tmp_path / "text.tar").write_bytes(b"no tar" * 500)
    refused(tmp_path / "text.tar", store, "no whole tar")
    path = small(tmp_path / "late.tar", first=(tarfile.TarInfo("other.json"), b"{}"))
    refused(path, store, "does not begin with `manifest.json`")
    refused(tmp_path / "nowhere.tar", store, "there is no file")
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(member := tarfile.TarInfo("manifest.json"), io.BytesIO(b""))
        assert member.size == 0
    refused(tmp_path / "bad.tar", store, "cannot be read")


def test_the_digest_of_the_whole_can_be_asked_for(store, tmp_path):
    path = small(tmp_path / "good.tar")
    with pytest.raises(DataError, match="expected `00`"):
        bundle.unpack(path, store, QUIET, sha256="00")
    bundle.unpack(path, store, QUIET, sha256=hashlib.sha256(path.read_bytes()).hexdigest().upper())


def test_random_weights_are_not_bundled(store, tmp_path):
    with pytest.raises(UsageError, match="random weights"):
        bundle.make([f"random:{LITE0}"], tmp_path / "x.tar", store, QUIET)
    assert not (tmp_path / "x.tar").exists()


def test_weights_of_keras_applications_travel_too(store, tmp_path, monkeypatch):
    name = "keras_applications:mobilenet"
    found = loading.find(name)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path))
    file = tmp_path / "mobilenet_1_0_224_tf_no_top.h5"
    file.write_bytes(b"\x89HDF\r\n\x1a\n and so on")
    made = bundle.make([name], tmp_path / "pack.tar", store, QUIET)
    assert [fact["path"].rpartition("/")[2] for fact in made["files"]] == [file.name, "origin.json"]
    monkeypatch.delenv("HEADSTART_WEIGHTS_MIRROR")
    there = Store(tmp_path / "there")
    assert not found.source.available("mobilenet", there)
    bundle.unpack(tmp_path / "pack.tar", there, QUIET)
    assert found.source.pull("mobilenet", there, QUIET).read_bytes() == file.read_bytes()


def test_a_pickle_is_not_bundled_either(store, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path))
    (tmp_path / "mobilenet_1_0_224_tf_no_top.h5").write_bytes(pickle.dumps(Evil(), 5))
    with pytest.raises(SetupError, match="is a pickle"):
        bundle.make(["keras_applications:mobilenet"], tmp_path / "pack.tar", store, QUIET)
    assert not [one for one in store.root.rglob("*") if one.is_file()]
    place = loading.find(MOBILENET).source.weights_folder("mobilenet", store).name  # however it may have come there
    store.make_entry("weights", place, lambda draft: (draft / FILE).write_bytes(pickle.dumps(Evil(), 5)))
    with pytest.raises(DataError, match="is a pickle"):
        bundle.make([MOBILENET], tmp_path / "pack.tar", store, QUIET)
    assert not (tmp_path / "pack.tar").exists()
    assert STOLEN == []
