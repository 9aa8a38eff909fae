"""Data files from packages: fetched by pip, checked before they are read, kept."""

import hashlib
import subprocess
import sys
import venv
import zipfile

import pytest

from headstart.backbones.downloads import wheels
from headstart.core.console import Console
from headstart.core.errors import SetupError

QUIET = Console(quiet=True)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder that stands for the package index, with one small real wheel in it."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    name = "headstart_test_data-1.0-py3-none-any.whl"
    info = "headstart_test_data-1.0.dist-info"
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("headstart_test_data/numbers.bin", b"\1\2\3")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: headstart-test-data\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder / name


@pytest.fixture(autouse=True)
def forgotten():
    """Which pip does it is looked up anew."""
    wheels._find_pip.cache_clear()
    yield
    wheels._find_pip.cache_clear()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.medium
def test_a_wheel_is_fetched_once_and_read(shelf, store, capsys):
    sha = digest(shelf)
    first = wheels.fetch_wheel("headstart-test-data", "1.0", sha, store, Console())
    assert "headstart-test-data==1.0" in capsys.readouterr().err
    assert wheels.read_member(first, "headstart_test_data/numbers.bin") == b"\1\2\3"
    shelf.unlink()
    assert wheels.fetch_wheel("headstart-test-data", "1.0", sha, store, Console()) == first
    assert capsys.readouterr().err == ""
    with pytest.raises(SetupError, match="not in the wheel"):
        wheels.read_member(first, "headstart_test_data/other.bin")


@pytest.mark.medium
def test_other_bytes_than_the_pinned_ones_are_refused_and_not_kept(shelf, store):
    with pytest.raises(SetupError, match="not the pinned ones"):
        wheels.fetch_wheel("headstart-test-data", "1.0", "0" * 64, store, QUIET)
    assert not [p for p in store.root.rglob("*") if p.is_file()]


@pytest.mark.medium
def test_a_package_that_cannot_be_had_says_how_to_bring_it(shelf, store):
    with pytest.raises(SetupError, match="pip could not bring") as caught:
        wheels.fetch_wheel("headstart-test-data", "9.9", "0" * 64, store, QUIET)
    assert "pip download --no-deps headstart-test-data==9.9" in caught.value.hint


@pytest.mark.medium
def test_a_python_without_pip_uses_the_one_that_it_carries(shelf, store, monkeypatch):
    """As in environments that uv makes."""
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    path = wheels.fetch_wheel("headstart-test-data", "1.0", digest(shelf), store, QUIET)
    assert path.read_bytes() == shelf.read_bytes()


def test_a_python_that_carries_no_pip_is_told(monkeypatch, store):
    def refuse(*given, **named):
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(venv, "create", refuse)  # as a system's Python does whose ensurepip is a package of its own
    with pytest.raises(SetupError, match="has no pip, and carries none") as caught:
        wheels.fetch_wheel("headstart-test-data", "1.0", "0" * 64, store, QUIET)
    assert "uv pip install pip" in caught.value.hint


@pytest.mark.medium
def test_offline_no_index_is_asked(shelf, store, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    assert wheels.fetch_wheel("headstart-test-data", "1.0", digest(shelf), store, QUIET).is_file()
    with pytest.raises(SetupError, match="pip could not bring") as caught:
        wheels.fetch_wheel("headstart-test-data", "9.9", "0" * 64, store, QUIET)
    assert "127.0.0.1" not in caught.value.what  # nobody was asked


@pytest.mark.medium
def test_the_textile_pictures_are_all_there(textile):
    assert {p.name: len(list(p.glob("*.jpg"))) for p in textile.iterdir()} == wheels.TEXTILE_COUNTS


def test_a_wheel_cannot_write_outside(tmp_path, monkeypatch):
    evil = tmp_path / "evil.whl"
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../../global/../global/x.jpg", b"x")
        archive.writestr("/global/y.jpg", b"y")
        archive.writestr("data/global/../../z.jpg", b"z")
    monkeypatch.setattr(wheels, "fetch_wheel", lambda *given: evil)
    target = tmp_path / "deep" / "er" / "target"
    with pytest.raises(SetupError, match="expected"):
        wheels._extract_pictures(target, None, QUIET)
    written = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.jpg")}
    assert written == {"deep/er/target/global/x.jpg", "deep/er/target/global/y.jpg"}


@pytest.mark.medium
def test_nothing_of_a_framework_is_loaded():
    code = "import sys, headstart.backbones.downloads.wheels\n"
    code += "print([m for m in ('numpy', 'keras', 'openvino') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
