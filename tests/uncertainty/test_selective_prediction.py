"""A saved model tells which classes are plausible, how strange a picture is, and declines with its reasons."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from headstart.core import model_manifest
from headstart.core.errors import DataError
from headstart.core.storage.files import read_json
from headstart.core.storage.hashing import file_digest
from headstart.core.storage.serialization import as_json
from headstart.runtime.model import load
from headstart.runtime.outputs.answer_rows import row_object
from headstart.testing.tiny_model import write_tiny_model
from headstart.uncertainty import ood_detection, selective_prediction

ENTRY = model_manifest.UncertaintyEntry(
    coverage=0.9,
    promise=0.9,
    score="least_ambiguous",
    kept=0.99,
    novelty="nearest",
    neighbour=1,
    limit=1.0,
    familiar=0.99,
    arrays="doubt.safetensors",
    sha256="",
)


def doubting(folder, floors=np.inf, thresholds=0.8, **changes):
    """The tiny model, which knows pictures of strong colours: red, green, blue and what lies between."""
    write_tiny_model(folder)
    known = np.array([np.roll([255, g, 0], turn) for g in range(0, 256, 15) for turn in range(3)] * 2, np.float32)
    arrays, _ = ood_detection.fit_references(np.hstack([known, known]), np.zeros(len(known), int), "nearest")
    arrays |= {"thresholds": np.full(3, thresholds), "floors": np.full(3, floors)}
    arrays["known"] = np.linspace(0, 1, 101, dtype=np.float32)
    save_file(arrays, folder / "doubt.safetensors")
    entry = dataclasses.replace(ENTRY, sha256=file_digest(folder / "doubt.safetensors"), **changes)
    model_manifest.write_manifest(dataclasses.replace(model_manifest.read_manifest(folder), doubt=entry), folder)
    return folder


def test_what_is_known_is_answered_with_its_set(tmp_path, paint):
    sure, between = load(doubting(tmp_path / "model")).predict([paint("a.png", "red"), paint("b.png", (255, 250, 0))])
    assert (sure.answer, sure.likeliest, sure.plausible) == ("red", "red", ("red",))
    assert (sure.unknown, sure.reasons) == (False, ())
    assert sure.novelty == pytest.approx(0, abs=0.02)
    assert between.plausible == ("red", "green")  # several are plausible: that is told, and answered all the same
    assert (between.answer, between.unknown) == ("red", False)


def test_what_is_strange_is_unknown_and_still_tells_what_it_would_be(tmp_path, paint):
    file = paint("grey.png", (40, 40, 90))
    [found] = load(doubting(tmp_path / "model")).predict([file])
    assert (found.answer, found.unknown, found.likeliest, found.novelty) == ("unknown", True, "blue", 1.0)
    assert found.plausible[0] == "blue"
    assert found.reasons == ("it looks less like the pictures learnt from than all known pictures do",)
    [answered] = load(tmp_path / "model", declines=False).predict([file])
    assert (answered.answer, answered.unknown, answered.reasons, answered.novelty) == ("blue", False, (), 1.0)
    assert json.loads(json.dumps(as_json(found)))["reasons"] == list(found.reasons)


def test_a_share_is_told_where_some_known_ones_are_stranger(tmp_path, paint):
    [found] = load(doubting(tmp_path / "model", limit=1e-6)).predict([paint("a.png", (255, 4, 3))])
    assert found.unknown
    assert 0 < found.novelty < 0.5
    assert f"than {100 * found.novelty:.1f} % of the known pictures do" in found.reasons[0]


def test_no_plausible_class_is_unknown(tmp_path, paint):
    folder = doubting(tmp_path / "model", floors=0.3, thresholds=0.3, limit=1e9)
    [found] = load(folder).predict([paint("b.png", (255, 250, 0))])
    assert (found.answer, found.plausible, found.likeliest) == ("unknown", (), "red")
    assert "the prediction set is empty: `red`, the likeliest, has a probability of 0." in found.reasons[0]
    assert "99 % of known pictures" in found.reasons[0]


def test_the_likeliest_is_told_right_where_costs_answer_another_class(tmp_path, paint):
    folder = doubting(tmp_path / "model", floors=0.3, thresholds=0.3, limit=1e9)
    costs = ((0.0, 1.0, 1.0),) * 3  # to answer blue, the first class, costs nothing
    made = dataclasses.replace(
        model_manifest.read_manifest(folder), decision=model_manifest.Decision(positive="", threshold=None, costs=costs)
    )
    model_manifest.write_manifest(made, folder)
    [found] = load(folder).predict([paint("b.png", (255, 250, 0))])
    assert (found.answer, found.likeliest, found.plausible) == ("unknown", "red", ())
    assert f"`red`, the likeliest, has a probability of {found.probabilities['red']:.2f}" in found.reasons[0]


RULES = {
    "`blue` has the lowest expected cost": model_manifest.Decision(
        positive="", threshold=None, costs=((0.0, 1.0, 1.0),) * 3
    ),
    "the threshold of `blue` is 0": model_manifest.Decision(positive="blue", threshold=0.0, costs=None),
}


@pytest.mark.parametrize(("reason", "rule"), RULES.items())
def test_an_answer_that_is_not_the_likeliest_class_tells_why(tmp_path, paint, reason, rule):
    """Red and green are far likelier than blue, which the rule answers all the same."""
    files = [paint("known.png", (255, 200, 30)), paint("blue.png", "blue"), paint("strange.png", (40, 90, 40))]
    for folder in (write_tiny_model(tmp_path / "plain", decision=rule), doubting(tmp_path / "doubting")):
        made = dataclasses.replace(model_manifest.read_manifest(folder), decision=rule)
        model_manifest.write_manifest(made, folder)
        model = load(folder, declines=False)
        for prediction in model.predict(files):
            row = row_object(prediction, model.layout)
            top = max(prediction.probabilities, key=prediction.probabilities.get)
            assert (row["answer"], row["likeliest"]) == ("blue", top)
            assert row["confidence"] == pytest.approx(prediction.probabilities[top], abs=1e-6)
            assert row["reasons"] == ([] if top == "blue" else [reason])
    declining = load(folder)
    known, _, strange = declining.predict(files)
    assert (known.answer, known.likeliest, known.reasons, known.plausible[0]) == ("blue", "red", (reason,), "blue")
    assert (strange.answer, strange.likeliest, strange.plausible[0]) == ("unknown", "green", "blue")
    assert reason not in strange.reasons
    answered = declining.answer_declined(strange)
    assert (answered.answer, answered.unknown) == ("blue", False)  # by the rule, and not the likeliest
    assert answered.reasons == (*strange.reasons, reason)


def test_what_is_hopeless_has_an_empty_set_wherever_it_is_counted():
    p = np.array([[0.5, 0.5], [0.9, 0.1]])
    arrays = {"thresholds": np.full(2, 0.3), "floors": np.full(2, 0.4)}
    found = selective_prediction.measure_uncertainty(
        dataclasses.replace(ENTRY, novelty=""), arrays, p, np.zeros((2, 1)), np.zeros(2, int)
    )
    assert found.hopeless.tolist() == [True, False]
    assert found.plausible.tolist() == [[False, False], [True, False]]


def test_a_model_that_measures_no_novelty_still_has_sets(tmp_path, paint):
    [found] = load(doubting(tmp_path / "model", novelty="")).predict([paint("a.png", (40, 40, 90))])
    assert (found.novelty, found.unknown, found.answer) == (None, False, "blue")
    assert found.plausible


def test_files_that_cannot_be_read_have_no_doubt(tmp_path, paint):
    bad, good = load(doubting(tmp_path / "model")).predict(
        [tmp_path / "none.png", paint("a.png", "red")], errors="rows"
    )
    assert (bad.answer, bad.plausible, bad.novelty, bad.unknown, bad.likeliest) == ("", (), None, False, "")
    assert good.answer == "red"


def test_damaged_or_missing_arrays_are_refused(tmp_path):
    folder = doubting(tmp_path / "model")
    content = bytearray((folder / "doubt.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "doubt.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"`doubt.safetensors` is not as it was written"):
        load(folder)
    (folder / "doubt.safetensors").unlink()
    with pytest.raises(DataError, match=r"`doubt.safetensors` is missing"):
        load(folder)


def test_the_manifest_holds_all_that_an_export_needs(tmp_path):
    found = read_json(doubting(tmp_path / "model") / "manifest.json")
    assert found["format"] == 2
    assert found["doubt"] == as_json(model_manifest.read_manifest(tmp_path / "model").doubt)
