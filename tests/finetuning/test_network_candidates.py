"""Trunks that are adapted to another camera compete, and a run that is taken up again has the same ones."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import tuning_bench
from headstart.backbones.earlier_runs import tuned_network
from headstart.core.recipe import Recipe
from headstart.core.types.domain import TargetDomain
from headstart.data.reading.read_dataset import read_dataset
from headstart.finetuning.domain import candidate_features
from headstart.finetuning.domain.network_candidates import make_network_candidates
from headstart.heads import prediction

EACH = 20  # pictures a class


@pytest.fixture
def domains(textile, tmp_path):
    """Folders with the same three classes: the textile pictures, and others of them by a dark and tinted camera."""
    source, shot = (tuning_bench.copies(textile, tmp_path / name, EACH, at) for name, at in (("a", 0), ("b", EACH)))
    for path in shot.glob("*/*.jpg"):
        pixels = np.asarray(Image.open(path).convert("RGB")) * np.array([0.7, 0.45, 0.4]) + 5
        Image.fromarray(pixels.astype(np.uint8)).save(path, quality=95)
    return source, shot


def _check_a_new_head(candidate, ctx):
    """The head that the guarded choice fits comes into the file, and the trunk is the run's own by its name."""
    head = candidate.network.fitted
    turned = dataclasses.replace(head, arrays={name: -array for name, array in head.arrays.items()})
    path, name = ctx.run.path, candidate.network.spec.name
    before = tuned_network.find_backbone(name, (), path).build(ctx.store).get_weights()
    network = candidate_features.write_head(candidate.network, turned, ctx=ctx)
    assert tuned_network.find_adapted(name, path).fitted.head == network.fitted.head
    model = tuned_network.load_network(path / network.file)
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], -head.arrays["weights"])
    after = tuned_network.find_backbone(name, (), path).build(ctx.store).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert tuned_network.find_adapted("tuned:other", path) is None


@pytest.mark.slow
def test_adapted_trunks_mend_another_camera_and_are_the_same_ones_again(domains, tmp_path, shared_store):
    source, shot = domains
    ctx = tuning_bench.surroundings(source, tmp_path / "run", shared_store, unlabeled=str(shot), adaptation="adabn,mmd")
    steps = tuning_bench.FitSteps(ctx)
    pictures = read_dataset(shot, ctx=ctx)
    target = TargetDomain(pictures=pictures, labels=np.full(len(pictures.uris), -1), copies=())
    recipe = Recipe(backbone=tuning_bench.LITE0, depths=("stage4",), epochs=2, batch=20, rate=1e-3, trunk_rate=0.1)
    recipe_alone = SimpleNamespace(network=SimpleNamespace(recipe=recipe, spec=SimpleNamespace(name="none")))
    adapted = dataclasses.replace(steps.probe, tuning=recipe_alone)

    def make(ctx=ctx):
        return make_network_candidates(steps.data, steps.splits, steps.embeddings, target, (), adapted, ctx=ctx)

    adabn, mmd = make()
    assert (adabn.method, mmd.method) == ("adabn", "mmd")
    y = np.asarray(pictures.targets)
    fitted = adabn.network.fitted
    answers = prediction.predict_probabilities(fitted.kind, fitted.arrays, adabn.target_x)
    assert (answers.argmax(1) == y).mean() > 0.5  # of three classes
    assert adabn.head_x.shape == adabn.source_x.shape and adabn.source_probabilities is None
    folds = np.asarray(steps.splits.folds)[0][steps.splits.train]
    np.testing.assert_array_equal(np.isnan(mmd.source_probabilities[:, 0]), folds != 0)
    _check_a_new_head(adabn, ctx)
    file = ctx.run.path / mmd.network.file
    before = file.read_bytes()
    file.unlink()
    again = make()
    assert file.read_bytes() == before
    np.testing.assert_array_equal(again[1].source_probabilities, mmd.source_probabilities)
    np.testing.assert_array_equal(again[0].target_x, adabn.target_x)
    auto = dataclasses.replace(ctx, job=dataclasses.replace(ctx.job, adaptation=("auto",)))
    assert [candidate.method for candidate in make(auto)] == ["adabn", "adabn_lower"]  # others only if named
