import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.api.fit_steps import FitSteps
from headstart.backbones import loading
from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError
from headstart.core.settings import INFERENCE_BATCH, count_threads
from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json
from headstart.data.reading.read_dataset import read_dataset as read
from headstart.features import extraction as stage
from headstart.images.preprocessing import decode_picture
from headstart.networks import openvino_engine
from headstart.networks.openvino_engine import Engine
from headstart.testing.image_files import encode_picture

NAME = "bundled:efficientnet_lite0"


class Plain:
    """Stands for an engine where only what is around it is looked at: the mean colour, over and over, as features."""

    def __init__(self, spoil=None):
        self.spoil = spoil
        self.seen = 0

    def run(self, batches):
        for key, pictures in batches:
            self.seen += len(pictures)
            mean = pictures.mean(axis=(1, 2), dtype=np.float32).repeat(500, axis=1)
            answers = [mean[:, : depth.dim].copy() for depth in loading.find_backbone(NAME).spec.depths]
            if self.spoil is not None:
                answers[self.spoil][-1, 0] = np.inf
            yield key, tuple(answers)


@pytest.fixture
def plain(monkeypatch):
    """Put `Plain` in the place of the engine."""

    def use(spoil=None):
        made = Plain(spoil)
        monkeypatch.setattr(loading, "load_engine", lambda *args, **named: made)
        return made

    return use


@pytest.fixture
def fresh_store(tmp_path, shared_store):
    """A function that makes a cache with the shared weights and trunks, but no vectors."""

    def make(name="fresh"):
        root = tmp_path / name
        root.mkdir()
        for kind in ("weights", "trunks", "wheels", "data"):
            (shared_store.root / kind).mkdir(parents=True, exist_ok=True)
            (root / kind).symlink_to(shared_store.root / kind, target_is_directory=True)
        return Store(root)

    return make


@pytest.fixture
def data(small_textile, context, store):
    """90 real pictures."""
    folder = small_textile(30)
    return read(folder, ctx=context(data=folder, store=store, name="reading"))


def vectors_equal(one, other):
    assert one.vectors.keys() == other.vectors.keys()
    for name in one.vectors:
        np.testing.assert_array_equal(one.vectors[name], other.vectors[name])


@pytest.mark.medium
def test_vectors_are_the_engines_own_and_come_back_from_the_cache(data, context, fresh_store):
    store = fresh_store()
    first = stage.extract_features(data, NAME, np.arange(85), ctx=context(store=store))
    made = stage.extract_features(data, NAME, np.arange(90), ctx=context(store=store))
    spec = made.spec
    assert first.cached == 0 and made.cached == 85
    assert made.latency_ms == first.latency_ms > 0  # five pictures tell nothing of the pace
    assert first.timed and not made.timed
    assert {name: v.shape for name, v in made.vectors.items()} == {d.name: (90, d.dim) for d in spec.depths}
    pictures = np.stack([decode_picture(Path(data.root, uri).read_bytes(), spec.input) for uri in data.uris[:20]])
    folder = loading.make_trunk_folder(loading.find_backbone(NAME), store, Console(quiet=True), pictures[:8])
    engine = Engine(folder / "trunk.xml", threads=count_threads(), batch=INFERENCE_BATCH)
    found = [parts for _, parts in engine.run([(0, pictures[7:20]), (1, pictures[:7])])]  # other neighbours, same bits
    for depth, parts in zip(spec.depths, zip(*found, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts[::-1]), made.vectors[depth.name][:20])
    again = stage.extract_features(data, NAME, np.arange(90), ctx=context(store=store, name="again"))
    assert again.cached == 90 and again.latency_ms == made.latency_ms and not again.timed
    vectors_equal(made, again)


@pytest.mark.medium
def test_an_interrupted_pass_goes_on_and_ends_bit_identical(data, context, fresh_store, monkeypatch):
    whole = stage.extract_features(data, NAME, np.arange(90), ctx=context(store=fresh_store("one"), name="whole"))
    store, finite, seen = fresh_store("two"), stage._require_finite, []

    def interrupt(*given):
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        finite(*given)

    monkeypatch.setattr(stage, "KEEP", 16)
    monkeypatch.setattr(stage, "_require_finite", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stage.extract_features(data, NAME, np.arange(90), ctx=context(store=store, name="broken"))
    monkeypatch.setattr(stage, "_require_finite", finite)
    resumed = stage.extract_features(data, NAME, np.arange(90), ctx=context(store=store, name="broken"))
    assert resumed.cached == 32
    vectors_equal(whole, resumed)
    roots = [context(name=name).run.path / "embed" for name in ("whole", "broken")]
    files = [{path.name: path.read_bytes() for path in root.iterdir()} for root in roots]
    assert files[0] == files[1] and len(files[0]) == 1


@pytest.mark.medium
def test_with_a_trunk_in_the_cache_tensorflow_is_not_loaded(data, context, fresh_store, small_textile, tmp_path):
    stage.extract_features(data, NAME, np.arange(16), ctx=context(store=fresh_store("warm")))
    script = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from headstart.core import job; from headstart.core.run.context import Context\n"
        "from headstart.core.run.folder import RunFolder; from headstart.core.console import Console\n"
        "from headstart.core.storage.cache import Store\n"
        "from headstart.data.reading.read_dataset import read_dataset\n"
        "from headstart.features.extraction import extract_features\n"
        "run, store = RunFolder(Path(sys.argv[2])), Store(Path(sys.argv[3]))\n"
        "ctx = Context(job=job.make_job(data='x'), run=run, store=store, console=Console())\n"
        "made = extract_features(read_dataset(sys.argv[1], ctx=ctx), sys.argv[4], np.arange(40), ctx=ctx)\n"
        "assert made.cached == 16, made.cached\n"
        "assert not {'tensorflow', 'keras', 'sklearn', 'scipy', 'openvino_telemetry'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script, data.root, tmp_path / "r", tmp_path / "warm", NAME], check=True)


def test_only_new_pictures_go_through(data, context, store, plain):
    engine = plain()
    first = stage.extract_features(data, NAME, np.arange(80), ctx=context(store=store))
    assert engine.seen == 80 and first.cached == 0
    second = stage.extract_features(data, NAME, np.arange(90), ctx=context(store=store))
    assert engine.seen == 90 and second.cached == 80
    np.testing.assert_array_equal(second.vectors["last"][:80], first.vectors["last"])


def test_rows_are_ascending_and_unique(data, context, store, plain):
    plain()
    every = stage.extract_features(data, NAME, np.arange(90), ctx=context(store=store))
    some = stage.extract_features(data, NAME, np.array([70, 3, 3, 50]), ctx=context(store=store))
    assert some.rows.tolist() == [3, 50, 70]
    np.testing.assert_array_equal(some.vectors["stage5"], every.vectors["stage5"][[3, 50, 70]])


def test_copies_are_embedded_once(data, context, store, plain, small_textile):
    engine = plain()
    folder = Path(data.root)
    shutil.copytree(folder / "local", folder / "copies")
    twice = read(folder, ctx=context(store=store, name="twice"))
    made = stage.extract_features(twice, NAME, np.arange(120), ctx=context(store=store))
    assert engine.seen == 90 and made.cached == 0
    names = [uri.split("/")[0] for uri in twice.uris]
    one, other = names.index("copies"), names.index("local")
    np.testing.assert_array_equal(made.vectors["last"][one : one + 30], made.vectors["last"][other : other + 30])


def test_the_run_folder_traces_the_vectors(data, context, store, plain):
    plain()
    ctx = context(store=store)
    made = stage.extract_features(data, NAME, np.arange(90), ctx=ctx)
    (path,) = (ctx.run.path / "embed").iterdir()
    told = json.loads(path.read_text())
    assert told["pictures"] == 90 and told["data"] == data.digest and told["key"]["backbone"] == NAME
    for name, values in made.vectors.items():
        digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
        assert told["vectors"][name] == {"dim": values.shape[1], "sha256": digest}
    assert (store.root / told["cache"] / "last.f32").is_file()
    assert "seconds" not in path.read_text()


def test_another_precision_or_backbone_has_its_own_vectors(data, context, store, plain):
    engine = plain()
    for backbone, precision in ((NAME, "f32"), (NAME, "int8"), (f"random:{NAME}", "f32")):
        assert (
            stage.extract_features(data, backbone, np.arange(5), ctx=context(store=store), precision=precision).cached
            == 0
        )
    assert engine.seen == 15


def test_a_damaged_cache_is_made_again(data, context, store, plain):
    engine, said = plain(), []
    store.report = said.append
    made = stage.extract_features(data, NAME, np.arange(90), ctx=context(store=store))
    expected = {name: np.array(values) for name, values in made.vectors.items()}
    (path,) = store.root.glob("vectors/*/last.f32")
    content = bytearray(path.read_bytes())
    content[5000] ^= 64
    path.write_bytes(content)
    again = stage.extract_features(data, NAME, np.arange(90), ctx=context(store=store))
    assert engine.seen == 180 and again.cached == 0 and "damaged" in said[0]
    for name, values in expected.items():
        np.testing.assert_array_equal(again.vectors[name], values)


def test_numbers_that_are_not_finite_name_picture_and_backbone(data, context, store, plain):
    plain(spoil=2)
    with pytest.raises(SetupError, match=r"efficientnet_lite0.*not finite.*\.jpg"):
        stage.extract_features(data, NAME, np.arange(5), ctx=context(store=store))
    plain()
    assert stage.extract_features(data, NAME, np.arange(5), ctx=context(store=store)).cached == 0


def test_a_picture_that_changed_since_it_was_read_is_named(data, context, store, plain):
    plain()
    shutil.copy(Path(data.root, data.uris[0]), Path(data.root, data.uris[44]))
    with pytest.raises(DataError, match=Path(data.uris[44]).name):
        stage.extract_features(data, NAME, np.arange(90), ctx=context(store=store))


def test_the_closing_line(data, context, store, plain, capsys):
    plain()
    ctx = context(store=store)
    ctx.console = Console()
    stage.extract_features(data, NAME, np.arange(30), ctx=ctx)
    stage.extract_features(data, NAME, np.arange(90), ctx=ctx)
    stage.extract_features(data, NAME, np.arange(90), ctx=ctx)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith(f"embed       {NAME}: 30 pictures, ") and "cache" not in first and "/s, " in first
    assert "90 pictures, 30 from cache, " in second and "/s, " in second
    assert "90 pictures, 90 from cache, " in third and "/s" not in third


def test_the_wanted_rows_may_be_none(data, context, store, plain):
    plain()
    made = stage.extract_features(data, NAME, np.empty(0, np.int64), ctx=context(store=store))
    assert made.vectors["last"].shape == (0, 1280)


_MEMORY = """
import sys, io, numpy as np
from pathlib import Path
from headstart.core import job
from headstart.core.run.context import Context
from headstart.core.run.folder import RunFolder
from headstart.core.console import Console
from headstart.core.storage.cache import Store
from headstart.backbones import loading
from headstart.features.extraction import extract_features
from headstart.data.reading.read_dataset import read_dataset

class Plain:
    def run(self, batches):
        for key, pictures in batches:
            mean = pictures[:, ::32, ::32].mean(axis=(1, 2), dtype=np.float32).repeat(500, axis=1)
            yield key, tuple(mean[:, : d.dim].copy() for d in loading.find_backbone(sys.argv[2]).spec.depths)

def anonymous_mb():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1000

loading.load_engine = lambda *args, **named: Plain()
tmp = Path(sys.argv[1])
run, console = RunFolder(tmp / "run"), Console(quiet=True)
ctx = Context(job=job.make_job(data="x"), run=run, store=Store(tmp / "cache"), console=console)
data = read_dataset(tmp / "data", ctx=ctx)
extract_features(data, sys.argv[2], np.arange(0, 400), ctx=ctx)
before = anonymous_mb()
shuffled = np.random.default_rng(0).permutation(len(data.uris))[:300]
extract_features(data, sys.argv[2], shuffled, ctx=ctx)  # now the cache's order is not that of the rows
made = extract_features(data, sys.argv[2], np.arange(len(data.uris)), ctx=ctx)
print(anonymous_mb() - before)
"""


@pytest.mark.medium
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_memory_does_not_grow_with_the_pictures(textile, tmp_path):
    """4,000 pictures: all their vectors are 27 MB, all their pixels 600 MB."""
    whole = Image.open(next((textile / "nominal").glob("*.jpg")))
    content = encode_picture(whole.resize((64, 64)), "JPEG")
    for number in range(4000):
        path = tmp_path / "data" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content + number.to_bytes(4, "big"))
    done = subprocess.run([sys.executable, "-c", _MEMORY, tmp_path, NAME], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 20


def test_keys_of_a_pass_are_what_the_vectors_depend_on(data, context, store, plain):
    plain()
    made = stage.extract_features(data, NAME, np.arange(3), ctx=context(store=store))
    spec = loading.find_backbone(NAME).spec
    assert dataclasses.asdict(made.key) == {
        "backbone": NAME,
        "revision": spec.revision,
        "input": dataclasses.asdict(spec.input),
        "depths": tuple(dataclasses.asdict(depth) for depth in spec.depths),
        "precision": "f32",
        "engine": openvino_engine.engine_name(),
        "calibration": "",
    }


@pytest.mark.medium
def test_a_run_tells_only_the_times_that_it_measured_itself(data, context, fresh_store):
    """The second run reads from the cache, which knows the first one's pace: another day, another load."""
    told, store = [], fresh_store()
    for name in ("first", "second"):
        story = FitSteps(context(store=store, name=name))
        vars(story)["data"] = data
        story._extract_features(NAME, np.arange(70))
        told.append(read_json(story.ctx.run.path / "timings.json")[f"embed {NAME} 70"])
    assert told[0]["latency_ms"] > 0
    assert "latency_ms" not in told[1] and told[1]["wall_s"] > 0
