"""Kept activations: right values, once a picture and view, shared, resumed, refused when the disk is too small."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.backbones import loading
from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError
from headstart.data.reading.read_dataset import read_dataset as read
from headstart.finetuning.inputs import augmentation, cached_activations
from headstart.finetuning.inputs.augmentation import Policy
from headstart.finetuning.inputs.batches import HeldOutMaps
from headstart.images import decoded_cache, preprocessing
from headstart.networks import openvino_engine

NAME = "bundled:efficientnet_lite0"
QUIET = Console(quiet=True)
POLICY = Policy(domain="texture", strength=0.6)


class Quadrants:
    """Stands for the engine up to a cut: the mean colour of each quarter as a map, of the whole as features."""

    def __init__(self, factor=1.0, fail_after=None, depths=2):
        self.factor, self.fail_after, self.depths, self.seen = factor, fail_after, depths, 0

    def run(self, batches):
        for key, batch in batches:
            if self.fail_after is not None and self.seen >= self.fail_after:
                raise OSError("the power is gone")
            self.seen += len(batch)
            x = batch.reshape(len(batch), 2, batch.shape[1] // 2, 2, -1, 3).mean((2, 4)).astype(np.float32)
            features = x.mean((1, 2))
            yield key, (x * np.float32(self.factor), *(features + depth for depth in range(self.depths)))


@pytest.fixture
def found():
    return loading.find_backbone(NAME)


@pytest.fixture
def use(monkeypatch):
    """Put `Quadrants` in the place of the engine."""

    def make(**named):
        made = Quadrants(**named)
        monkeypatch.setattr(loading, "load_engine", lambda *args, **kept: made)
        return made

    return make


@pytest.fixture
def made(tmp_path, context):
    """A function that makes a data set of coloured noise, two classes of `count` pictures."""

    def make(count, name="data"):
        rng = np.random.default_rng(3)
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
            for number in range(count):
                noise = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
                Image.fromarray(noise).resize((96, 96), 3).save(tmp_path / name / label / f"{number}.png")
        return read(tmp_path / name, ctx=context(name=f"run-{name}"))

    return make


def decoded(data, rows, found):
    return next(preprocessing.decode_batches(data.root, data.uris, rows, found.spec.input, batch=len(rows), threads=1))[
        1
    ]


def expected(batch):
    return next(Quadrants().run([(0, batch)]))[1]


def plain(maps, low=()):
    """Of view 0."""
    return maps.read_inputs(np.arange(len(maps)), np.zeros(len(maps), int), low)


def ask(found, data, rows, store, views=0, cut="stage4", **named):
    named = {"policy": POLICY if views else None, **named}
    return cached_activations.cache_maps(found, cut, data, rows, store=store, console=QUIET, views=views, **named)


def test_view_0_is_the_picture_and_the_others_are_augmented(found, use, made, store):
    use()
    data = made(4)
    rows = np.array([5, 0, 3, 6])
    maps = ask(found, data, rows, store, views=2, seed=9)
    assert (maps.views, len(maps), maps.shape, maps.cut) == (3, 4, (2, 2, 3), "stage4")
    batch = decoded(data, rows, found)
    wanted, low, high = expected(batch)
    inputs = plain(maps, ("stage4", "stage3"))
    assert inputs["map"].dtype == inputs["pooled"].dtype == np.float32
    np.testing.assert_allclose(inputs["map"], wanted, rtol=2**-11)  # float16
    np.testing.assert_array_equal(inputs["pooled"], np.hstack([high, low]))  # not rounded
    for view in (1, 2):
        seeds = [(9, view, int(data.digests[row][:16], 16)) for row in rows]
        changed, low, _ = expected(augmentation.augment_pictures(batch, POLICY, seeds))
        inputs = maps.read_inputs(np.arange(4), np.full(4, view), ("stage3",))
        np.testing.assert_allclose(inputs["map"], changed, rtol=2**-11)
        np.testing.assert_array_equal(inputs["pooled"], low)
        assert np.abs(inputs["map"] - wanted).max() > 5


def test_only_what_is_missing_is_computed(found, use, made, store):
    counted, data = use(), made(6)
    sample = cached_activations.PARITY  # pictures on which shape and type are looked at, each time
    ask(found, data, np.arange(8), store)
    assert counted.seen == 8 + sample
    first = plain(ask(found, data, np.arange(8), store))["map"]
    assert counted.seen == 8 + 2 * sample
    more = ask(found, data, np.arange(12), store)
    assert counted.seen == 12 + 3 * sample
    np.testing.assert_array_equal(plain(more)["map"][:8], first)
    two = ask(found, data, np.arange(12), store, views=2)
    assert counted.seen == 12 + 24 + 4 * sample
    three = ask(found, data, np.arange(12), store, views=3)
    assert counted.seen == 12 + 36 + 5 * sample
    np.testing.assert_array_equal(three.at[:3], two.at)
    for other in (
        {"seed": 1},
        {"policy": Policy(domain="texture", strength=0.7)},
        {"policy": Policy(domain="photo", strength=0.6)},
    ):
        before = counted.seen
        changed = ask(found, data, np.arange(12), store, views=1, **other)
        assert counted.seen == before + 12 + sample
        assert not np.array_equal(changed.at[1], three.at[1]) and np.array_equal(changed.at[0], three.at[0])
    use(depths=1)
    ask(found, data, np.arange(8), store, cut="stage3")
    assert len(list((store.root / "maps").iterdir())) == 2


def test_a_view_does_not_depend_on_its_neighbours(found, use, made, store, tmp_path):
    use()
    data = made(5)
    whole = ask(found, data, np.arange(10), store, views=1)
    other = type(store)(tmp_path / "other")
    alone = ask(found, data, np.array([7]), other, views=1)
    one, view = np.array([0]), np.array([1])
    np.testing.assert_array_equal(alone.read_inputs(one, view)["map"], whole.read_inputs(np.array([7]), view)["map"])


def test_pictures_with_the_same_bytes_share_a_row(found, use, tmp_path, context, store, paint):
    counted = use()
    for label in ("x", "y"):
        for name in ("1", "2"):
            paint(f"{label}/{name}.png", "green" if label == "x" else "red")
    data = read(tmp_path / "pictures", ctx=context())
    maps = ask(found, data, np.arange(4), store, views=1)
    assert [len(set(view.tolist())) for view in maps.at] == [2, 2]
    assert counted.seen >= 2
    np.testing.assert_array_equal(plain(maps)["map"][0], plain(maps)["map"][1])


def test_an_interrupted_pass_goes_on_where_it_was(found, use, made, store, monkeypatch):
    monkeypatch.setattr(cached_activations, "_BLOCK", 4)
    data = made(10)
    use(fail_after=cached_activations.PARITY + 8)
    with pytest.raises(OSError, match="the power is gone"):
        ask(found, data, np.arange(20), store)
    counted = use()
    maps = ask(found, data, np.arange(20), store)
    assert counted.seen == cached_activations.PARITY + 12
    np.testing.assert_allclose(plain(maps)["map"], expected(decoded(data, np.arange(20), found))[0], rtol=2**-11)


def test_damaged_rows_are_reported_and_computed_again(found, use, made, tmp_path, store):
    use()
    data = made(3)
    before = plain(ask(found, data, np.arange(6), store))["map"]
    (file,) = (store.root / "maps").glob("*/map.f16")
    content = bytearray(file.read_bytes())
    content[7] ^= 64
    file.write_bytes(content)
    said = []
    again = ask(found, data, np.arange(6), type(store)(store.root, said.append))
    np.testing.assert_array_equal(plain(again)["map"], before)
    assert len(said) == 1 and "damaged" in said[0]


def test_too_little_disk_is_told_before_anything_is_computed(found, use, made, store, monkeypatch):
    counted, data = use(), made(3)
    monkeypatch.setattr(decoded_cache, "count_free_bytes", lambda folder: 200_000_600)
    with pytest.raises(SetupError, match=r"6 pictures in 3 views at stage4 need 864 B .* 200\.0 MB are free"):
        ask(found, data, np.arange(6), store, views=2)
    assert counted.seen == cached_activations.PARITY
    ask(found, data, np.arange(6), store, views=1)  # 576 B fit


def test_values_near_the_end_of_float16_are_kept_in_float32(found, use, made, store):
    data = made(3)
    use(factor=1000.0)
    maps = ask(found, data, np.arange(6), store)
    assert maps.columns["map"].dtype == np.float32
    np.testing.assert_allclose(plain(maps)["map"], 1000 * expected(decoded(data, np.arange(6), found))[0], rtol=1e-6)


def test_a_picture_that_gives_nonsense_is_named(found, use, made, store):
    data = made(2)
    counted = use()
    ready = cached_activations.load_lower_trunk(found, "stage4", data, np.arange(4), store=store, console=QUIET)
    assert ready.outputs == ("map", "stage3", "stage4")
    run = counted.run

    def spoilt(batches):
        for key, answers in run(batches):
            if isinstance(key, tuple):
                answers[1][-1] = np.nan
            yield key, answers

    counted.run = spoilt
    with pytest.raises(SetupError, match=r"numbers that are not finite for `b/1\.png`"):
        ask(found, data, np.arange(4), store)


def test_a_picture_that_changed_is_an_error(found, use, made, store):
    use()
    data = made(2)
    Image.new("RGB", (50, 50)).save(Path(data.root) / data.uris[2])
    with pytest.raises(DataError, match="changed while"):
        ask(found, data, np.arange(4), store)


def test_held_out_pictures_see_their_own_maps(found, use, made, store):
    use()
    data = made(4)
    maps = ask(found, data, np.arange(8), store, views=1)
    fold = np.array([6, 1, 2])
    (inputs,) = HeldOutMaps(maps=maps, positions=fold, y=data.targets[fold]).batches()
    np.testing.assert_allclose(inputs["map"], expected(decoded(data, fold, found))[0], rtol=2**-11)


def test_many_pictures_lie_in_a_file_of_the_cache(found, made, store, monkeypatch):
    data = made(4)
    rows = np.array([4, 1, 6])
    small = decoded_cache.load_decoded(data, rows, found.spec.input, store=store, console=QUIET)
    assert isinstance(small, np.ndarray) and not small.flags.writeable and not (store.root / "pictures").exists()
    np.testing.assert_array_equal(small, decoded(data, rows, found))
    monkeypatch.setattr(decoded_cache, "IN_MEMORY", 100_000)
    large = decoded_cache.load_decoded(data, rows, found.spec.input, store=store, console=QUIET)
    assert isinstance(large.base, np.memmap) or isinstance(large, np.memmap)
    assert not large.flags.writeable
    np.testing.assert_array_equal(large, small)
    calls = []
    monkeypatch.setattr(preprocessing, "decode_batches", lambda *args, **named: calls.append(1))
    again = decoded_cache.load_decoded(data, rows, found.spec.input, store=store, console=QUIET)
    np.testing.assert_array_equal(again, small)
    assert not calls
    monkeypatch.undo()
    monkeypatch.setattr(decoded_cache, "IN_MEMORY", 100_000)
    monkeypatch.setattr(decoded_cache, "count_free_bytes", lambda folder: 10_000)
    with pytest.raises(SetupError, match=r"2 decoded pictures need 301\.1 kB of disk"):
        decoded_cache.load_decoded(data, rows[:2], found.spec.input, store=store, console=QUIET)
    assert [path.name for path in (store.root / "pictures").glob(".tmp-*")] == []


# -- with the real engine, weights and pictures


@pytest.fixture
def fresh(tmp_path, shared_store):
    """A cache with the shared weights and trunks, but no activations."""
    root = tmp_path / "fresh"
    root.mkdir()
    for kind in ("weights", "trunks", "wheels"):
        (shared_store.root / kind).mkdir(parents=True, exist_ok=True)
        (root / kind).symlink_to(shared_store.root / kind, target_is_directory=True)
    return type(shared_store)(root)


@pytest.mark.medium
def test_maps_agree_with_keras_and_their_means_with_the_pooled_features(
    found, small_textile, context, fresh, monkeypatch
):
    """Without OpenVINO Keras computes the maps: both engines' are compared, and each keeps its own."""
    data = read(small_textile(3), ctx=context())
    rows, low = np.arange(9), ("stage5", "stage3")
    fast = plain(ask(found, data, rows, fresh, cut="stage5"), low)
    pooled = ask(found, data, rows, fresh, cut="")
    assert pooled.shape == () and plain(pooled, ("last",))["pooled"].shape == (9, 1280)
    np.testing.assert_allclose(fast["pooled"], plain(pooled, low)["pooled"], atol=1e-4)
    monkeypatch.setattr(openvino_engine, "find_openvino_version", lambda: None)
    kept = ask(found, data, rows, fresh, cut="stage5")
    slow = plain(kept, low)
    assert kept.columns["map"].dtype == np.float16 and kept.shape == (7, 7, 192)
    largest = np.abs(slow["map"]).max()
    assert np.abs(slow["map"] - fast["map"]).max() <= (1e-4 + 2**-10) * largest  # each is rounded to float16
    assert np.abs(slow["pooled"] - fast["pooled"]).max() <= 1e-4 * np.abs(slow["pooled"]).max()
    assert np.abs(slow["map"].mean((1, 2)) - slow["pooled"][:, :192]).max() <= 2**-11 * largest
    assert len(list((fresh.root / "maps").iterdir())) == 3


KILLED = """
import sys
from pathlib import Path
import numpy as np
from headstart.core.console import Console
from headstart.core.storage.cache import Store
from headstart.core.types import Dataset
from headstart.finetuning.inputs import cached_activations
from headstart.backbones import loading
from headstart.core.storage import serialization
cached_activations._BLOCK = 4
data = serialization.load_value(Dataset, Path(sys.argv[2]))
found = loading.find_backbone("bundled:efficientnet_lite0")
store, console = Store(Path(sys.argv[1])), Console(quiet=True)
maps = cached_activations.cache_maps(found, "stage5", data, np.arange(24), store=store, console=console)
np.save(sys.argv[3], maps.read_inputs(np.arange(24), np.zeros(24, int))["map"])
"""


@pytest.mark.medium
def test_a_pass_killed_at_any_moment_ends_with_the_same_bytes(found, small_textile, context, fresh, tmp_path):
    from headstart.core.storage import serialization

    data = read(small_textile(8), ctx=context())
    serialization.save_value(data, tmp_path / "value")
    cached_activations.load_lower_trunk(
        found, "stage5", data, np.arange(24), store=fresh, console=QUIET
    )  # the trunk itself is made before
    command = [sys.executable, "-c", KILLED, str(fresh.root), str(tmp_path / "value"), str(tmp_path / "found.npy")]
    killed = subprocess.Popen(command)
    while killed.poll() is None and not list((fresh.root / "maps").glob("*/blocks.jsonl")):
        time.sleep(0.005)
    killed.kill()
    killed.wait()
    blocks = (next((fresh.root / "maps").glob("*/blocks.jsonl"))).read_text().splitlines()
    subprocess.run(command, check=True)
    fewer = type(fresh)(tmp_path / "unbroken")
    fewer.root.mkdir()
    for kind in ("weights", "trunks"):
        (fewer.root / kind).symlink_to(fresh.root / kind)
    unbroken = ask(found, data, np.arange(24), fewer, cut="stage5")
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), plain(unbroken)["map"])
    assert 1 <= len(blocks) <= 6
