"""One graph from pictures to calibrated probabilities and doubt: as the saved model answers, for every head."""

import json

import numpy as np
import pytest

import export_runs
from headstart.core import registry
from headstart.core.errors import DataError
from headstart.exporting import parity
from headstart.exporting.export_source import graph_inputs
from headstart.exporting.formats.openvino import _build_graph
from headstart.exporting.keras_graph import build_keras_graph
from headstart.images import preprocessing
from headstart.networks.formats import keras_archive
from headstart.networks.openvino_engine import load_openvino

HEADS = [
    name
    for name in registry.list_plugins("heads")
    if "classification" not in registry.load_plugin("heads", name).cannot
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function that makes a source once for each set of settings."""
    known = {}

    def get(**settings):
        key = json.dumps(settings, sort_keys=True)
        if key not in known:
            known[key] = export_runs.make(tmp_path_factory.mktemp("run"), **settings)
        return known[key]

    return get


def shown(source, files):
    """Input -> (M, H, W, 3)."""
    contents = [file.read_bytes() for file in files]
    return {
        one.name: np.stack([preprocessing.decode_picture(each, one.spec) for each in contents])
        for one in graph_inputs(source.manifest)
    }


def through_openvino(source, given):
    ov = load_openvino()
    files = [source.model.folder / entry.ir for entry in source.manifest.trunks]
    compiled = ov.Core().compile_model(_build_graph(source, files), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(given)
    return {output.any_name: found[output] for output in compiled.outputs}


def through_keras(source, given):
    floats = {name: one.astype(np.float32) for name, one in given.items()}
    return build_keras_graph(source).predict_on_batch(floats if len(floats) > 1 else next(iter(floats.values())))


SETTINGS = [{"head": head} for head in HEADS] + [
    {"head": "lda", "sizes": (32, 48)},
    {"head": "lda", "doubt": "mahalanobis"},
    {"head": "ridge", "doubt": ""},
    {"head": "ridge_regression", "task": "regression"},
    {"head": "lda", "sizes": (32, 48), "bands": 5},
    {"head": "binary_logistic", "task": "multilabel"},
]


@pytest.mark.parametrize("through", [through_openvino, through_keras])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_the_graph_answers_as_the_saved_model(made, settings, through):
    source, pictures = made(**settings)
    want = parity.ask_run(source.model, pictures.files, declines=True)
    got = through(source, shown(source, pictures.files))
    assert np.abs(got[source.output] - want.probabilities).max() / pictures.scale < 2e-5
    # else little would be compared; numbers lie far below 0, where no probability does
    assert len(np.unique(np.round(want.probabilities, 3), axis=0)) > 2
    if source.manifest.doubt is None:
        assert set(got) == {"probabilities"}
        return
    declined = (want.positions == -1).reshape(len(pictures.files), -1).any(axis=1)
    assert (got["unknown"][:, 0] > 0.5).tolist() == declined.tolist()
    assert np.abs(got["novelty"][:, 0] - want.novelty).max() < 1e-6
    assert 0 < np.mean(declined) < 1


def test_two_ways_of_decoding_are_two_inputs(made):
    source, _ = made(head="lda", sizes=(32, 48))
    assert [(one.name, one.spec.size_px, one.spec.resize) for one in graph_inputs(source.manifest)] == [
        ("pictures_1", 32, "crop"),
        ("pictures_2", 48, "squash"),
    ]
    assert [one.name for one in graph_inputs(made(head="lda")[0].manifest)] == ["pictures"]


@pytest.mark.parametrize("head", ["lda", "knn"])
def test_a_keras_file_holds_no_code(made, head, tmp_path):
    registry.load_plugin("exporters", "keras").write(made(head=head)[0], tmp_path, "f32", [], '{"headstart": "words"}')
    assert keras_archive.require_safe(tmp_path / "model.keras", trust=False) == ""


def test_a_trunk_of_another_revision_is_refused(made):
    source, _ = made(head="lda")
    other = export_runs.dataclasses.replace(source.manifest.trunks[0], revision="0")
    with pytest.raises(DataError, match="is revision `0`; here is `1`"):
        source.find_trunk(other)
