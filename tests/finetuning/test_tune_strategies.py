"""Every strategy on real weights and real pictures: what moves, where it starts, and what is saved of it."""

import dataclasses
import re

import numpy as np
import pytest

from headstart.core.errors import NoOpError
from headstart.features.embeddings import join_columns
from headstart.finetuning import final_training, starting_points
from headstart.finetuning.network import lora
from headstart.finetuning.search import fold_novelty
from headstart.heads.prediction import softmax
from headstart.images import decoded_cache
from headstart.networks import blocks
from headstart.uncertainty import ood_detection
from tuning_bench import LITE0, copies, surroundings, tried, workbench

pytestmark = pytest.mark.medium

# Recipe, and the blocks of the trunk (up to `stage4`) that it must change.
STRATEGIES = {
    "probe": ({"strategy": "probe", "head": "mlp", "hidden": 16}, set()),
    "last": ({"part": "last"}, {"stage4"}),
    "gradual": ({"part": "all", "gradual": True}, {"stage3", "stage4"}),
    "lora": ({"strategy": "lora", "lora_rank": 2}, {"stage4"}),
    "norms": ({"strategy": "norms"}, {"stage4"}),
    "scratch": ({"strategy": "scratch", "start": "random", "part": "all", "batch_norm": "train"}, {"stage3", "stage4"}),
    "all": ({"part": "all", "batch_norm": "train"}, {"stage3", "stage4"}),
}
WHOLE = ("scratch", "all", "gradual")  # from pictures; others from kept maps, in float16


@pytest.fixture(scope="module")
def setup(textile, shared_store, tmp_path_factory):
    root = tmp_path_factory.mktemp("strategies")
    data = copies(textile, root / "textile", 8)
    return workbench(surroundings(data, root / "run", shared_store, test_size=0.0))


@pytest.fixture(scope="module", params=STRATEGIES)
def done(request, setup):
    """One strategy after the other: its name, and what came of it."""
    return request.param, tried(setup, **STRATEGIES[request.param][0])


def raw(made, rows):
    """(M, H, W, 3) float32 pictures, decoded as the network wants them."""
    found, _ = made.setup.networks.load_trunk(LITE0)
    own = made.setup
    return decoded_cache.load_decoded(
        own.training_set.data, rows, found.spec.input, store=own.ctx.store, console=own.ctx.console
    ).astype(np.float32)


def moved(made):
    """Block -> its weights that differ from the pre-trained ones, as (layer, variable, dimensions)."""
    found, trunk_model = made.setup.networks.load_trunk(LITE0)
    home = blocks.split_into_blocks(trunk_model, found.spec, made.network.recipe.depths).map_operations_to_blocks()
    different = {}
    for layer in trunk_model.layers:
        block = home.get(id(layer))
        if block in ("stage3", "stage4") and layer.weights:
            own = made.model.get_layer(layer.name)
            for before, after in zip(layer.weights, own.weights, strict=True):
                if not np.array_equal(before.numpy(), after.numpy()):
                    different.setdefault(block, []).append((layer.name, after.name, len(after.shape)))
    return different


def test_what_the_strategy_names_has_moved_and_nothing_else(done):
    name, made = done
    expected = STRATEGIES[name][1]
    found = moved(made)
    assert set(found) == expected
    kinds = {dimensions for one in found.values() for _, _, dimensions in one}
    statistics = {variable for one in found.values() for _, variable, _ in one if variable.startswith("moving")}
    assert kinds == {"lora": {4}, "norms": {1}, "probe": set()}.get(name, {1, 4})
    assert bool(statistics) == (name in ("all", "scratch")), "batch norm's statistics are kept unless asked"


def test_it_starts_from_the_probe(done):
    """The first logits are those of the logistic head of the fold; those of a random start are not."""
    name, made = done
    run, own = made.attempt.runs[0], made.setup
    learnt = own.training_set.training_positions(run.log.fold)
    base = own.recipe_space.find_starting_point(made.network.recipe)
    start = starting_points.fit_start(
        base,
        own.training_set.embeddings,
        own.training_set.rows[learnt],
        own.training_set.targets[learnt],
        own.training_set.problem,
        own.training_set.objective,
    )
    expected = join_columns(own.training_set.embeddings, base.features, run.rows) @ start.weights + start.bias
    apart = np.abs(run.logits[0] - expected).max()
    if name == "scratch":
        assert apart > 0.1
    else:
        assert apart < (1e-4 if name in WHOLE else 1e-3)


def test_the_saved_model_says_what_the_network_said(done):
    """LoRA merged, standardisation and temperature folded in, from pictures instead of kept maps."""
    name, made = done
    run, verdict = made.attempt.runs[0], made.attempt.verdict
    said = softmax(run.logits[verdict.epoch].astype(np.float64) / verdict.temperature)
    p = made.model.predict_on_batch(raw(made, run.rows))
    assert np.abs(p - said).max() < (1e-5 if name in WHOLE else 1e-3)


def test_the_description_is_true(done):
    name, made = done
    network, log = made.network, made.attempt.runs[0].log
    asked, strategy = STRATEGIES[name][0], made.network.recipe.strategy
    assert strategy == asked.get("strategy", "finetune")
    assert network.trainable_params == log.trainable_params
    assert network.n_train == log.n_train == len(made.setup.training_set.rows) - len(made.attempt.runs[0].rows)
    assert network.spec.flops > 2e8
    assert np.abs(network.fitted.arrays["weights"] - made.model.get_layer("logits").get_weights()[0]).max() == 0
    assert log.stopped == "all 2 epochs"
    assert [row.epoch for row in log.epochs] == [1, 2]


# ---------------------------------------------------------------- made again, broken off, refused


MLP = STRATEGIES["probe"][0]


def test_the_same_recipe_and_seed_give_the_same_bytes_in_another_run_folder(setup, tmp_path):
    other = dataclasses.replace(setup, ctx=surroundings(setup.ctx.job.data, tmp_path / "run", setup.ctx.store))
    random = {"dropout": 0.3, "mixup": 0.2, "ema": 0.5}
    one, again = tried(setup, **MLP, **random), tried(other, **MLP, **random)
    assert np.array_equal(one.attempt.runs[0].logits, again.attempt.runs[0].logits)
    assert one.bytes == again.bytes
    assert one.network.spec == again.network.spec
    assert tried(other, **MLP, **random, seed=1).bytes != one.bytes


def test_a_rate_that_destroys_is_named_and_the_first_weights_come_back(setup):
    made = tried(setup, rate=10.0, trunk_rate=10.0, decay=1.0, clip=0.0, optimiser="sgd", epochs=4)
    run = made.attempt.runs[0]
    assert "not finite" in run.log.stopped
    assert re.search(r"step \d+", run.log.stopped)
    assert "rate" in run.log.stopped
    assert np.isfinite(run.logits).all()
    assert made.attempt.why == run.log.stopped


def test_callbacks_hear_of_the_final_training_and_can_end_it(setup):
    import keras

    class Listener(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.heard = []

        def on_epoch_end(self, epoch, logs=None):
            self.heard.append((epoch, sorted(logs)))
            self.model.stop_training = True

    made, listener = tried(setup, **MLP, epochs=3), Listener()
    made.attempt.verdict = dataclasses.replace(made.attempt.verdict, epoch=3)
    _, _, log = final_training.train_on_all(made.setup, made.attempt, (listener,))
    assert log.stopped == "a callback stopped it"
    assert len(log.epochs) == 1
    assert listener.heard == [(0, ["accuracy", "balanced_accuracy", "learning_rate", "log_loss", "loss", *MACRO])]


MACRO = ["precision", "recall"]


def test_a_recipe_that_trains_nothing_of_the_trunk_is_refused(setup):
    with pytest.raises(NoOpError, match="trains nothing in stage4 of `bundled:efficientnet_lite0`"):
        tried(setup, trunk_rate=0.0)


def test_lora_without_a_kernel_names_what_the_blocks_have(setup, monkeypatch):
    monkeypatch.setattr(lora, "attach_updates", lambda layers, rank, rng: [])
    with pytest.raises(NoOpError) as caught:
        tried(setup, strategy="lora")
    assert "LoRA finds no kernel in the blocks stage4: they have " in caught.value.what
    assert "Conv2D" in caught.value.what


def test_distances_of_the_fold_are_those_of_what_its_network_answers_by(done):
    """Held-out pictures against those learnt from, in the features of the network that the fold trained."""
    import keras

    name, made = done
    training_set, run = made.setup.training_set, made.attempt.runs[0]
    distances = fold_novelty.measure_fold_distances(made.setup, made.attempt)
    trunk = keras.Model(made.model.inputs, made.model.get_layer("features").output)
    learnt = training_set.training_positions(run.log.fold)
    x, held_x = (trunk.predict(raw(made, rows), verbose=0) for rows in (training_set.rows[learnt], run.rows))
    assert set(distances) == set(ood_detection.METHODS)
    for method, told in distances.items():
        arrays, k = ood_detection.fit_references(x, training_set.targets[learnt], method)
        # kept maps are float16, and few pictures make far corners
        tolerance = {"rtol": 1e-4} if name in WHOLE else {"rtol": 0.05}
        np.testing.assert_allclose(told, ood_detection.compute_distances(arrays, k, held_x), **tolerance)
