"""Every family of keras.applications from an official-layout file to features, on real pictures; two to answers.

The weights are random, since no official file can be had here: what is asserted is the way, not the accuracy. Each
preset has a cache and a mirror of its own, which are gone afterwards. Behind its graph a run knows no family: head,
evaluation and answers are the same for all, and two whole runs show them; `tests/backbones/test_backbones_keras_hub.py`
fine-tunes a small network with layer norms. Larger presets of a kind differ by their depth alone:
`tests/backbones/test_backbones_keras_applications.py` builds each. Where no whole run fine-tunes a kind,
`tests/finetuning/test_network_trunks.py` trains its network.
"""

import hashlib
import json
import resource
import shutil

import numpy as np
import pytest

import headstart
import official_files
from command_line import call
from headstart.backbones import loading
from headstart.core.console import Console
from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json
from headstart.images import preprocessing
from headstart.networks import blocks, openvino_conversion
from headstart.networks.openvino_conversion import PARITY_COSINE, PARITY_MAX
from headstart.networks.openvino_engine import Engine
from tuning_bench import copies

pytestmark = pytest.mark.slow
RECIPE = "epochs=1,batch=8,rate=1e-3,augment=0,blocks=1,part=last,depths=last,wise=false"
WHOLE = {"efficientnet_b0": False, "mobilenet_v2": True}  # fine-tuned?
COUNT = 7  # pictures of each of the three classes
MOST_BYTES = 8e9  # of one process


@pytest.fixture(scope="module")
def pictures(textile, tmp_path_factory):
    """Twenty-one textile pictures."""
    return copies(textile, tmp_path_factory.mktemp("pictures") / "textile", COUNT)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An environment with a mirror and a cache of its own, both empty at first and gone at the end."""
    import keras

    folder = tmp_path / "place"
    env = {"HEADSTART_CACHE": str(folder / "cache"), "HEADSTART_WEIGHTS_MIRROR": str(folder / "mirror")}
    env["KERAS_HOME"] = str(folder / "keras")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    yield folder
    keras.backend.clear_session()
    shutil.rmtree(tmp_path, ignore_errors=True)


def answers(out, file):
    """What the command line says of one file."""
    stdout, _ = call("predict", out, file, "--format", "jsonl", timeout=1800)
    [found] = map(json.loads, stdout.splitlines())
    return found


@pytest.mark.parametrize("preset", official_files.ONE_OF_EACH_KIND)
def test_an_official_file_becomes_the_graph_that_keras_would_make_of_it(preset, pictures, place, capsys):
    """Fetched, checked, loaded as Keras loads it, and compared with OpenVINO on real pictures."""
    import keras

    file, md5 = official_files.write(preset, place / "mirror"), official_files._read_table()[preset]["md5"]
    keras.backend.clear_session()
    found, store = loading.find_backbone(f"keras_applications:{preset}"), Store(place / "cache")
    assert len(found.spec.depths) >= 3
    files = sorted(pictures.rglob("*.jpg"))[::7]
    shown = np.stack([preprocessing.decode_picture(one.read_bytes(), found.spec.input) for one in files])
    found.source.pull(preset, store, Console())
    require_origin(file, md5, place / "cache", capsys.readouterr().err)
    folder = loading.make_trunk_folder(found, store, Console(quiet=True), shown)
    assert parities(place / "cache") == {found.name: {depth.name for depth in found.spec.depths}}
    _, vectors = next(iter(Engine(folder / "trunk.xml", threads=1).run([(None, shown)])))
    wanted = official_files.answer_as_keras(preset, file, shown)
    assert openvino_conversion.compare_vectors(vectors[-1], wanted)["max_relative"] < 1e-4


def require_origin(file, md5, cache, stderr):
    """The cache says where the weights come from, and whether they are the file that Keras pins was said."""
    [origin] = [read_json(path) for path in (cache / "weights").glob("*/origin.json")]
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert origin == {"from": "a folder", "sha256": sha256, "as_pinned_by_keras": False if md5 else None}
    assert ("not the file that Keras pins" in stderr) == bool(md5)


@pytest.mark.parametrize("preset", WHOLE)
def test_from_the_official_file_to_answers(preset, pictures, place):
    file, md5 = official_files.write(preset, place / "mirror"), official_files._read_table()[preset]["md5"]
    found = loading.find_backbone(f"keras_applications:{preset}")
    depths = {depth.name for depth in found.spec.depths}

    words = ("fit", pictures, "--backbones", found.name, "--folds", "2", "--out", place / "run")
    tuned = WHOLE[preset]
    words += ("--strategy", "finetune", "--recipe", RECIPE) if tuned else ("--strategy", "probe")
    _, stderr = call(*words, "--json", light=False, timeout=1800)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < MOST_BYTES
    require_origin(file, md5, place / "cache", stderr)

    fitted = headstart.load(place / "run")
    assert len(fitted.dataset.uris) == 3 * COUNT
    for name in (found.name, f"random:{found.name}"):
        assert {row.depth for row in fitted.ranking.rows if row.backbone == name} == depths
        assert parities(place / "cache")[name] == depths
    assert np.isfinite([score.value for row in fitted.ranking.rows for score in row.scores]).all()
    if tuned:
        require_moved(found, fitted, place)
    said = answers(place / "run", next((pictures / "local").glob("*.jpg")))
    assert said["answer"] in fitted.dataset.class_names
    assert np.isclose(sum(said["probabilities"].values()), 1, atol=1e-5)


def parities(cache):
    """Backbone -> depths at which Keras and OpenVINO were compared; every number within the limits."""
    seen = {}
    for path in (cache / "trunks").glob("*/parity.json"):
        rows = read_json(path)["depths"]
        for row in rows.values():
            assert row["max_relative"] <= PARITY_MAX and row["min_cosine"] >= PARITY_COSINE
        key = read_json(path.parent / "key.json")
        if not key.get("maps"):
            seen[key["backbone"]] = set(rows)
    return seen


def require_moved(found, tuned, place):
    """The last block was trained, what lies below is what the official file holds, and the network is handed over."""
    assert tuned.chosen == (f"tuned:{found.name}@features",)
    assert {f"tuned:{found.name}", f"scratch:{found.name}"} <= parities(place / "cache").keys()
    network = tuned.keras_model()
    trained = found.build(Store(place / "cache"))
    anatomy = blocks.split_into_blocks(trained, found.spec, ["last"])
    home, last = anatomy.map_operations_to_blocks(), anatomy.blocks[-1]
    moved, same = set(), set()
    for one in (one for one in trained.operations if blocks.is_trainable(one) and id(one) in home):
        there = network.get_layer(anatomy.names[id(one)]).weights
        equal = all(np.array_equal(a, b) for a, b in zip(one.weights, there, strict=True))
        (same if equal else moved).add(home[id(one)])
    assert moved == {last}
    assert same >= set(anatomy.blocks) - {last}
