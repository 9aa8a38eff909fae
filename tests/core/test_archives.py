"""Zip and tar archives as data folders: what is read, what is put aside, and what is refused."""

import io
import random
import stat
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headstart.core.errors import DataError
from headstart.core.storage.locations import archives, list_location
from headstart.images import preprocessing
from headstart.images.file_formats import PictureError
from headstart.images.preprocessing import read_bytes
from headstart.testing.image_files import encode_picture

FORMS = ("set.zip", "set.tar", "set.tar.gz", "set.tgz", "set.tar.bz2", "set.tar.xz")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


def picture(shade):
    return encode_picture(Image.new("RGB", (9, 7), (shade, 90, 30)), "PNG")


PICTURES = {f"{name}/{at}.png": picture(40 * at + len(name)) for name in ("cat", "dog") for at in range(4)}


def pack(path, files, *, odd=()):
    """An archive of names and bytes, in its own order, with headers of `odd` as they are."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in (*files.items(), *odd):
                archive.writestr(name, content)
    else:
        mode = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[path.suffix]
        with tarfile.open(path, mode) as archive:
            for name, content in files.items():
                header = tarfile.TarInfo(name)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
            for header in odd:
                archive.addfile(header, io.BytesIO(b"\0" * header.size))
    return path


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_is_listed_and_read_as_its_folder(form, tmp_path):
    path = pack(tmp_path / form, {f"./{name}": content for name, content in PICTURES.items()} | {"cat/.DS_Store": b"x"})
    listing = list_location(str(path))
    assert listing.uris == sorted(PICTURES) and listing.folders == ["cat", "dog"]
    assert [(file.uri, file.reason) for file in listing.skipped] == [("cat/.DS_Store", "hidden")]
    assert {uri: read_bytes(f"{path}/{uri}") for uri in listing.uris} == PICTURES
    below = list_location(f"{path}/dog")
    assert below.uris == ["0.png", "1.png", "2.png", "3.png"] and not below.skipped
    with pytest.raises(PictureError, match="the archive has no such member"):
        read_bytes(f"{path}/cat/9.png")
    with pytest.raises(DataError, match="there is no folder `bird`"):
        list_location(f"{path}/bird")


@pytest.mark.parametrize("form", ("set.zip", "set.tar"))
def test_many_threads_read_one_archive(form, tmp_path):
    contents = {f"{at}.png": picture(at % 250) + random.Random(at).randbytes(3000) for at in range(200)}
    path, names = pack(tmp_path / form, contents), list(contents) * 5
    random.Random(0).shuffle(names)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda name: read_bytes(f"{path}/{name}"), names))
    assert answers == [contents[name] for name in names]


def tar_header(name, kind, size=0, target=""):
    header = tarfile.TarInfo(name)
    header.type, header.size, header.linkname = kind, size, target
    return header


def test_members_that_reach_outside_are_put_aside_with_a_reason_and_nothing_is_written(tmp_path):
    link = zipfile.ZipInfo("cat/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    both = {"../evil.png": picture(1), "/etc/evil.png": picture(2), "cat/../../evil.png": picture(3)}
    odd = [(link, "../../etc/passwd")]
    zipped = pack(tmp_path / "set.zip", PICTURES | both | {"C:\\evil.png": picture(4)}, odd=odd)
    odd = [
        tar_header("cat/link.png", tarfile.SYMTYPE, target="/etc/passwd"),
        tar_header("cat/hard.png", tarfile.LNKTYPE, target="cat/0.png"),
        tar_header("cat/device.png", tarfile.CHRTYPE),
        tar_header("cat/pipe.png", tarfile.FIFOTYPE),
    ]
    tarred, before = pack(tmp_path / "set.tar", PICTURES | both, odd=odd), set(tmp_path.rglob("*"))
    leads_out, linked = "its name leads out of the archive: it is not read", "it is a link: it is not read"
    outside = {"../evil.png": leads_out, "etc/evil.png": leads_out, "cat/../../evil.png": leads_out}
    device = "it is a device or a pipe: it is not read"
    expected = {
        zipped: outside | {"C:/evil.png": leads_out, "cat/link.png": linked},
        tarred: outside
        | {"cat/link.png": linked, "cat/hard.png": linked}
        | {"cat/device.png": device, "cat/pipe.png": device},
    }
    for path, reasons in expected.items():
        listing = list_location(str(path))
        assert listing.uris == sorted(PICTURES)
        assert {file.uri: file.detail for file in listing.skipped} == reasons
        for name in reasons:
            with pytest.raises(PictureError):
                read_bytes(f"{path}/{name}")
    assert set(tmp_path.rglob("*")) == before


def test_an_archive_in_an_archive_an_encrypted_and_a_repeated_member_are_put_aside(tmp_path):
    inner = pack(tmp_path / "inner.zip", PICTURES).read_bytes()
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = pack(tmp_path / "set.zip", PICTURES | {"more.zip": inner}, odd=[("cat/0.png", picture(200))])
    content = bytearray(path.read_bytes())
    first = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)  # of the second member in the table
    content[first + 8] |= 1
    path.write_bytes(content)
    listing = list_location(str(path))
    assert {file.uri: file.detail for file in listing.skipped} == {
        "more.zip": "it is an archive in an archive: unpack it beside the pictures",
        "cat/1.png": "it is encrypted: it is not read",
        "cat/0.png": "a later member of the archive has the same name",
    }
    assert read_bytes(f"{path}/cat/0.png") == picture(200)


def test_what_unpacks_to_far_too_much_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    zeros = picture(0) + bytes(2_000_000)
    path = pack(tmp_path / "one.zip", {"0.png": zeros})
    assert path.stat().st_size < 3_000
    monkeypatch.setattr(preprocessing, "MAX_BYTES", 1_000_000)
    with pytest.raises(PictureError, match="2,000,0.. bytes are more than 1,000,000"):
        read_bytes(f"{path}/0.png")
    monkeypatch.setattr(archives, "count_allowed_bytes", lambda path: 5_000_000)
    with pytest.raises(DataError, match="would unpack to more than the 5,000,000 bytes"):
        list_location(str(pack(tmp_path / "set.zip", {f"{at}.png": zeros for at in range(3)})))
    with pytest.raises(DataError, match="unpacks to more than the 5,000,000 bytes"):
        list_location(str(pack(tmp_path / "set.tar.gz", {f"{at}.png": zeros for at in range(3)})))
    assert not list((tmp_path / "cache" / "archives").iterdir())


@given(cut=st.integers(1, 8 * 1024 - 1))
def test_a_tar_cut_anywhere_tells_after_which_member(cut):
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, content in PICTURES.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    path = Path(archives.cache_folder()) / "cut.tar"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(whole.getvalue()[:cut])  # 8 members of a block each after a header of a block
    count, rest = divmod(cut, 1024)
    names = list(PICTURES)
    size = len(PICTURES[names[count]])
    if rest == 0:  # between two members: nothing says that there were more
        assert list_location(str(path)).uris == sorted(names[:count])
        return
    usable = count + (rest >= 512 + size)
    after = f"after `{names[usable - 1]}`: " if usable else "before its first member: "
    expected = f"is cut short or damaged {after}{usable} picture"
    with pytest.raises(DataError) as error:
        list_location(str(path))
    assert expected in error.value.what and "pack the pictures anew" in error.value.hint


@pytest.mark.parametrize("form", ("set.tar.gz", "set.tar.bz2", "set.tar.xz"))
def test_a_compressed_tar_cut_short_tells_how_much_of_it_is_whole(form, tmp_path):
    contents = {f"cat/{at}.png": picture(at) + random.Random(at).randbytes(50_000) for at in range(30)}
    path = pack(tmp_path / form, contents)
    path.write_bytes(path.read_bytes()[:-150_000])
    with pytest.raises(DataError, match=r"is cut short or damaged after `cat/\d+.png`: \d+ pictures before") as error:
        list_location(str(path))
    assert not list((tmp_path / "cache" / "archives").iterdir()) and str(path) == error.value.where


def test_a_damaged_header_of_a_tar_is_no_end_of_it(tmp_path):
    path = pack(tmp_path / "set.tar", PICTURES)
    content = bytearray(path.read_bytes())
    content[5 * 1024 + 100 : 5 * 1024 + 150] = b"\xff" * 50
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"after `dog/0.png`: 5 pictures before that can be read"):
        list_location(str(path))


def test_damaged_members_and_what_is_no_archive_are_told(tmp_path):
    path = pack(tmp_path / "set.zip", PICTURES)
    content = bytearray(path.read_bytes())
    content[30 + len("cat/0.png") + len(PICTURES["cat/0.png"]) // 2] ^= 0xFF  # after the header of the first member
    path.write_bytes(content)
    with pytest.raises(PictureError, match="the archive does not give it: "):
        read_bytes(f"{path}/cat/0.png")
    assert read_bytes(f"{path}/cat/1.png") == PICTURES["cat/1.png"]
    for form in FORMS:
        (tmp_path / form).write_bytes(b"no archive " * 100)
        with pytest.raises(DataError, match="is no whole zip archive|is cut short or damaged"):
            list_location(str(tmp_path / form))


def test_a_compressed_tar_is_unpacked_once_and_an_archive_of_other_bytes_anew(tmp_path):
    path = pack(tmp_path / "set.tar.gz", PICTURES)
    list_location(str(path))
    (entry,) = (tmp_path / "cache" / "archives").iterdir()
    made = (entry / "plain.tar").stat().st_mtime_ns
    archives._opened.clear()
    assert list_location(str(path)).uris == sorted(PICTURES)
    assert (entry / "plain.tar").stat().st_mtime_ns == made
    pack(path, {"cat/0.png": picture(77)})
    assert list_location(str(path)).uris == ["cat/0.png"] and read_bytes(f"{path}/cat/0.png") == picture(77)
