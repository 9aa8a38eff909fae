"""Every family of keras.applications from an official-layout file to answers, on real pictures, as a user calls it.

The weights are random, since no official file can be had here: what is asserted is the way, not the accuracy. Each
preset has a cache and a mirror of its own, which are gone afterwards. Minutes each for the largest.
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
from headstart.core.files import read_json
from headstart.core.store import Store
from headstart.kit import blocks, trunk
from headstart.kit.export import PARITY_COSINE, PARITY_MAX
from tuning_bench import copies

pytestmark = pytest.mark.slow
NAMED = [
    *("vgg16", "vgg19"),
    *(f"resnet{layers}{version}" for version in ("", "_v2") for layers in (50, 101, 152)),
    *("inception_v3", "inception_resnet_v2"),
]
OTHERS = ["xception", "mobilenet", "mobilenet_v2", "mobilenet_v3_small", "densenet121"]
OTHERS += ["efficientnet_b0", "efficientnet_v2_b0", "convnext_tiny"]
TUNED = ["vgg16", "resnet50", "resnet50_v2", "inception_v3", "inception_resnet_v2", *OTHERS]  # one of each kind
RECIPE = "epochs=1,batch=8,rate=1e-3,augment=0,blocks=1,part=last,depths=last,wise=false"
COUNT = 10  # pictures of each of the three classes
MOST_BYTES = 8e9  # of one process, the largest preset included


@pytest.fixture(scope="module")
def pictures(textile, tmp_path_factory):
    """Thirty textile pictures."""
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


def run(preset, pictures, out, *more):
    """`headstart fit` in a process of its own that loads its weights from the mirror; returns the opened run."""
    words = ("fit", pictures, "--backbones", f"keras_applications:{preset}", "--folds", "2", "--out", out, *more)
    _, stderr = call(*words, "--json", light=False, timeout=1800)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < MOST_BYTES
    return headstart.load(out), stderr


def answers(out, file):
    """What the command line says of one file."""
    stdout, _ = call("predict", out, file, "--format", "jsonl")
    [found] = map(json.loads, stdout.splitlines())
    return found


@pytest.mark.parametrize("preset", NAMED + OTHERS)
def test_from_the_official_file_to_answers(preset, pictures, place):
    file = official_files.write(preset, place / "mirror")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    found, name = trunk.find(f"keras_applications:{preset}"), f"keras_applications:{preset}"
    depths = {depth.name for depth in found.spec.depths}
    assert len(depths) >= 3

    fitted, stderr = run(preset, pictures, place / "run")
    [origin] = [read_json(path) for path in (place / "cache" / "weights").glob("*/origin.json")]
    assert origin["sha256"] == sha256
    assert origin["as_pinned_by_keras"] is (False if read_md5(preset) else None)
    assert ("not the file that Keras pins" in stderr) == bool(read_md5(preset))
    assert {row.depth for row in fitted.ranking.rows if row.backbone == name} == depths
    assert {row.depth for row in fitted.ranking.rows if row.backbone == f"random:{name}"} == depths
    assert parities(place / "cache") == {name: depths, f"random:{name}": depths}
    assert len(fitted.dataset.uris) == 3 * COUNT

    picture = next((pictures / "local").glob("*.jpg"))
    said = answers(place / "run", picture)
    assert said["answer"] in fitted.dataset.class_names
    assert np.isclose(sum(said["probabilities"].values()), 1, atol=1e-5)
    if preset in TUNED:
        require_tuning(found, pictures, place)


def read_md5(preset):
    """The checksum that Keras pins; empty where none is."""
    return official_files._table()[preset]["md5"]


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


def require_tuning(found, pictures, place):
    """Fine-tune the last block for one epoch: it moved, and what lies below is what the official file holds."""
    tuned, _ = run(found.preset, pictures, place / "tuned", "--strategy", "finetune", "--recipe", RECIPE)
    assert tuned.chosen == (f"tuned:{found.name}@features",)
    network = tuned.keras_model()
    trained = found.build(Store(place / "cache"))
    anatomy = blocks.look(trained, found.spec, ["last"])
    home, last = anatomy.block_of(), anatomy.blocks[-1]
    moved, same = set(), set()
    for one in (one for one in trained.operations if blocks.learnt(one) and id(one) in home):
        there = network.get_layer(anatomy.names[id(one)]).weights
        equal = all(np.array_equal(a, b) for a, b in zip(one.weights, there, strict=True))
        (same if equal else moved).add(home[id(one)])
    assert moved == {last}
    assert same >= set(anatomy.blocks) - {last}
    said = answers(place / "tuned", next((pictures / "global").glob("*.jpg")))
    assert said["answer"] in tuned.dataset.class_names
