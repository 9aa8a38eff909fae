"""The rules of fine-tuning: what is recorded of a network, which epoch counts, how a user's recipe is read."""

import dataclasses
import types

import numpy as np
import pytest

from headstart.core import job as jobs
from headstart.core import recipe as recipes
from headstart.core.errors import UsageError
from headstart.core.recipe import Recipe
from headstart.core.types import CLASSIFICATION, REGRESSION, EpochRow, TrainingLog
from headstart.finetuning import final_training, fine_tune, objectives
from headstart.finetuning.search import fold_training, recipe_proposals, recipe_trial
from headstart.finetuning.search.fold_training import FoldRun
from headstart.finetuning.search.recipe_trial import FoldVerdict, RecipeTrial
from headstart.finetuning.search.training_set import TrainingSet
from headstart.finetuning.search.training_setup import make_training_setup
from headstart.finetuning.starting_points import StartingPoint
from headstart.heads import design_matrix
from headstart.heads.prediction import softmax
from headstart.networks import hardware
from headstart.statistics.losses import per_picture_loss
from judged_sets import dataset, splits
from small_nets import classes

BACKBONE, DEPTHS = "made:one", ("last",)
N = 300
Y = np.arange(N) % 3
SCORES = classes(3).score(Y, np.eye(3)[Y])


# ---------------------------------------------------------------- the final training


class Net:
    """Weights without a network."""

    trainable_params = 7

    def __init__(self):
        self.now = {"w": np.zeros(3, np.float32)}

    def get(self):
        return dict(self.now)

    def set(self, weights):
        self.now = dict(weights)

    def interpolate_weights(self, start, tuned, alpha):
        return {"w": start["w"] + np.float32(alpha) * (tuned["w"] - start["w"])}


def held_out(right, scale, seed=0):
    """(N, C) logits of which a part is right."""
    told = np.where(np.random.default_rng(seed).permutation(N) < right * N, Y, (Y + 1) % 3)
    return scale * np.eye(3)[told]


def row(epoch):
    return EpochRow(epoch=epoch, rate=0.1, loss=0.5, train=SCORES, val=None)


def training(number, asked, epochs, stopped="", fold=-1):
    return TrainingLog(
        name=f"trial {number}",
        trial=number,
        recipe=asked,
        fold=fold,
        n_train=200,
        start=None,
        epochs=tuple(row(1 + at) for at in range(epochs)),
        best=epochs,
        stopped=stopped or f"all {epochs} epochs",
        trainable_params=7,
    )


def attempt(number, *, epoch=4, alpha=0.5, temperature=1.5, first=None, **changes):
    asked = Recipe(backbone=BACKBONE, depths=DEPTHS, **changes)
    logits = np.stack([held_out(0.5, 1.0) if first is None else first, *([held_out(0.8, 2.0)] * 4)])
    verdict = FoldVerdict(
        epoch=epoch,
        alpha=alpha,
        temperature=temperature,
        rows=np.arange(N),
        targets=Y,
        probabilities=np.full((N, 3), 1 / 3, np.float32),
        losses=np.ones(N),
    )
    run = FoldRun(log=training(number, asked, 4, fold=0), rows=np.arange(N), logits=logits.astype(np.float32))
    return RecipeTrial(number=number, recipe=asked, origin="prior", runs=[run], verdict=verdict)


def pictures(metric):
    """N training pictures, all of which learn in every fold."""
    made = TrainingSet(
        data=types.SimpleNamespace(targets=Y),
        splits=types.SimpleNamespace(train=np.arange(N)),
        embeddings=(),
        probe=None,
        problem=types.SimpleNamespace(task=CLASSIFICATION, n_classes=3, metric=metric, class_weight=None),
    )
    made.training_positions = lambda fold: np.arange(N)
    return made


@pytest.fixture
def ending(monkeypatch):
    """A function that ends a search: what the soups of its finalists say is looked up by who is in them.

    Final weights of a trial are its number at place 0, after all epochs that it was trained for at place 1.
    """

    def end(best, told=None, *, metric="log_loss", stops=None):
        seen = types.SimpleNamespace(callbacks={}, warned=[])

        def fit(setup, job, name, epochs, callbacks=()):
            number = int(name.rpartition(" ")[2])
            seen.callbacks[number] = callbacks
            done, stopped = (stops or {}).get(number, (epochs, f"all {epochs} epochs"))
            log = training(number, job.recipe, done, stopped)
            weights = {"w": np.array([number, done, 0], np.float32)}
            return types.SimpleNamespace(
                rows=log.epochs, start=None, stopped=stopped, notes=(), weights=lambda epoch: weights
            )

        def saved(setup, job, result, prefix):
            return job, result

        def weights(setup, job, number, run, epoch, alpha):
            return {"w": np.eye(10, dtype=np.float32)[number]}

        def logits(setup, job, made, run):
            return told[tuple(np.flatnonzero(made["w"]))]

        for module, name, stand_in in (
            (final_training, "_train", fit),
            (final_training, "save_network", saved),
            (fold_training, "load_weights", weights),
            (fold_training, "predict_held_out", logits),
        ):
            monkeypatch.setattr(module, name, stand_in)
        setup = types.SimpleNamespace(
            training_set=pictures(metric),
            prepare=lambda asked, positions: types.SimpleNamespace(network=Net(), recipe=asked, feed=None, notes=()),
            ctx=types.SimpleNamespace(
                job=types.SimpleNamespace(profile=False),
                callbacks=("mine",),
                console=types.SimpleNamespace(print_warning=seen.warned.append),
            ),
        )
        made = final_training.train_final_network(setup, best)
        seen.job, seen.result, seen.logs = made.training, made.facts, list(made.logs)
        seen.setup = setup
        return seen

    return end


def test_the_soup_holds_the_chosen_recipe_and_has_a_temperature_of_its_own(ending):
    """Trial 2 is better alone; trial 4 was chosen, and their mean is better still."""
    together = held_out(0.9, 6.0)
    told = {(4,): held_out(0.7, 2.0), (2,): held_out(0.8, 2.0), (2, 4): together}
    seen = ending([attempt(4, rate=3e-3, epoch=3, alpha=1.0), attempt(2, alpha=1.0)], told)
    assert seen.result.members == (4, 2)
    assert seen.job.recipe.rate == 3e-3
    assert seen.result.temperature == pytest.approx(objectives.fit_temperature(together, Y), rel=1e-9)
    assert seen.result.temperature != pytest.approx(1.5, rel=0.1)
    assert seen.job.network.now["w"].tolist() == [3, 3.5, 0]
    assert (seen.result.epochs, seen.result.alpha, seen.result.n_train) == (7, 1.0, N)


@pytest.mark.parametrize(("metric", "members"), [("accuracy", (4,)), ("log_loss", (4, 2))])
def test_a_soup_is_judged_by_the_metric(ending, metric, members):
    """The mean of both errs more often, but where it errs it doubts."""
    alone, doubts = held_out(0.8, 5.0), held_out(0.79, 5.0)
    wrong = doubts.argmax(axis=1) != Y
    doubts[wrong] *= 0.02
    assert (alone.argmax(axis=1) == Y).mean() > (~wrong).mean()
    seen = ending([attempt(4), attempt(2)], {(4,): alone, (2, 4): doubts}, metric=metric)
    assert seen.result.members == members
    assert seen.result.temperature == (1.5 if len(members) == 1 else objectives.fit_temperature(doubts, Y))


def test_networks_of_different_starts_are_not_averaged(ending):
    told = {(4,): held_out(0.5, 1.0), (2, 4): held_out(1, 9)}
    assert ending([attempt(4), attempt(2)], told).result.members == (4, 2)
    assert ending([attempt(4), attempt(2, start="random")], told).result.members == (4,)


def test_callbacks_belong_to_the_chosen_recipe_alone(ending):
    told = {(4,): held_out(0.7, 2.0), (2, 4): held_out(0.9, 2.0)}
    seen = ending([attempt(4), attempt(2)], told)
    assert seen.callbacks == {4: ("mine",), 2: ()}


def test_a_final_training_that_breaks_off_leaves_the_start_and_says_so(ending):
    start = held_out(0.6, 4.0, seed=3)
    broken = {4: (1, "loss is not finite at step 31, rate 0.5")}
    seen = ending([attempt(4, first=start)], stops=broken)
    assert seen.job.network.now["w"].tolist() == [0, 0, 0]
    assert (seen.result.alpha, seen.result.epochs) == (0.0, 1)
    assert seen.result.temperature == pytest.approx(objectives.fit_temperature(start, Y), rel=1e-6)
    assert "loss is not finite at step 31" in seen.warned[0]
    assert "broke off" in seen.logs[0].notes[-1]


@pytest.mark.parametrize("broken", [2, 4])
def test_a_soup_whose_member_breaks_off_is_the_chosen_recipe_alone(ending, broken):
    told = {(4,): held_out(0.7, 2.0), (2, 4): held_out(0.9, 6.0)}
    seen = ending([attempt(4), attempt(2)], told, stops={broken: (2, "weights are not finite after step 9, rate 1")})
    assert seen.result.members == (4,)
    assert seen.job.network.now["w"].tolist() == ([2, 2, 0] if broken == 2 else [0, 0, 0])
    assert seen.result.alpha == (0.5 if broken == 2 else 0.0)
    assert (seen.result.temperature == 1.5) is (broken == 2)
    assert len(seen.logs) == 2


def test_a_training_that_a_callback_ended_counts_with_its_last_epoch(ending):
    seen = ending([attempt(4)], stops={4: (2, "a callback stopped it")})
    assert seen.job.network.now["w"].tolist() == [2, 1, 0], "alpha 0.5 of [4, 2, 0]"
    assert (seen.result.alpha, seen.result.epochs, seen.result.temperature) == (0.5, 2, 1.5)
    assert not seen.warned


# ---------------------------------------------------------------- the verdict


def judged_run(epochs, rows=slice(None), fold=0):
    """A fold of which the held-out logits after each epoch are given; the start knows nothing."""
    asked = Recipe(backbone=BACKBONE, depths=DEPTHS)
    logits = np.stack([np.zeros((N, 3)), *epochs])[:, rows].astype(np.float32)
    return FoldRun(log=training(0, asked, len(epochs), fold=fold), rows=np.arange(N)[rows], logits=logits)


def verdict(runs, metric, interpolated=None):
    return recipe_trial.judge_folds(runs, pictures(metric), interpolated)


def raw(logits):
    return per_picture_loss("log_loss", Y, softmax(logits)).mean()


def test_the_epoch_is_chosen_after_a_temperature():
    """The second epoch errs less but is far too sure; after the temperature it is the better one."""
    modest, sure = held_out(0.80, 2.5), held_out(0.95, 40.0)
    assert raw(modest) < raw(sure)
    found = verdict([judged_run([modest, sure])], "log_loss")
    assert found.epoch == 2
    assert found.loss < raw(modest)


def test_one_temperature_serves_all_folds_of_an_epoch():
    """Folds of which one is sure and one is not do not each get their own: then the second epoch would win."""
    even, odd = slice(0, None, 2), slice(1, None, 2)
    good, better = held_out(0.90, 3.0), held_out(0.92, 3.0)
    uneven = better.copy()
    uneven[even] *= 30
    uneven[odd] /= 30
    runs = [judged_run([good, uneven], rows, fold) for fold, rows in enumerate((even, odd))]
    assert verdict(runs, "log_loss").epoch == 1
    runs = [judged_run([good, better], rows, fold) for fold, rows in enumerate((even, odd))]
    assert verdict(runs, "log_loss").epoch == 2


@pytest.mark.parametrize(("metric", "epoch"), [("log_loss", 2), ("accuracy", 1), ("balanced_accuracy", 1)])
def test_the_epoch_is_chosen_by_the_metric(metric, epoch):
    often, doubting = held_out(0.8, 5.0), held_out(0.79, 5.0)
    doubting[doubting.argmax(axis=1) != Y] *= 0.02
    assert verdict([judged_run([often, doubting])], metric).epoch == epoch


def test_alpha_is_chosen_after_a_temperature_too():
    modest, sure = held_out(0.80, 2.5), held_out(0.95, 40.0)
    found = verdict([judged_run([sure])], "log_loss", lambda epoch, alpha: modest)
    assert found.alpha == 1.0


# ---------------------------------------------------------------- the recipe


@pytest.fixture
def setup(context, monkeypatch):
    """A function that makes a setup with one starting point of three blocks."""

    def make(recipe="", *, strategy="auto", **settings):
        data = dataset(120)
        ctx = context(strategy=strategy, recipe=recipe, **settings)
        split = splits(data, repeats=1, folds=4)
        on = types.SimpleNamespace(
            task=CLASSIFICATION, n_classes=3, metric=ctx.job.metric, seed=0, clusters=split.clusters
        )
        base = StartingPoint(
            backbone=BACKBONE, features=(types.SimpleNamespace(depth="last"),), params={}, pictures=90, loss=1
        )
        probe = types.SimpleNamespace(cv_rows=split.train)
        made = make_training_setup(data, split, (), [base], probe, on, ctx=ctx)
        made.recipe_space.domain, made.recipe_space.count_blocks = "texture", lambda point: 3
        return made

    return make


def queued(setup):
    return fine_tune._make_queue(setup, recipes.parse_fields(setup.ctx.job.recipe))


def test_a_recipe_object_is_trained_as_given(setup):
    """Also where its fields are the defaults and the job says otherwise, but for the monitor: it follows the job."""
    given = Recipe(blocks=2, rate=2e-3)
    made = setup(given, seed=7, metric="accuracy", domain="texture")
    (origin, found), *rest = queued(made)
    assert (origin, rest) == ("given", [])
    assert found == dataclasses.replace(given, backbone=BACKBONE, depths=DEPTHS, monitor="accuracy")
    (_, told), *_ = queued(setup("blocks=2,rate=2e-3", seed=7, metric="accuracy", domain="texture"))
    assert (told.seed, told.monitor, told.augmentation.domain, told.precision) == (7, "accuracy", "texture", "float32")


def test_networks_of_numbers_that_start_from_a_fitted_head_are_given_a_tenth_of_the_rate(setup):
    def rates(*settings, numbers, **more):
        made = setup(*settings, **more)
        made.cost = types.SimpleNamespace(inference_flops=lambda recipe: 1.0)
        if numbers:
            made.training_set.objective = objectives.make_objective(REGRESSION, np.arange(3.0), 1)
        return [recipe.rate for _, recipe in queued(made)]

    for settings in ((), ("epochs=3",)):
        usual, careful = (rates(*settings, numbers=numbers) for numbers in (False, True))
        assert careful == pytest.approx([rate / 10 for rate in usual])
    assert rates("rate=0.002", numbers=True) == [2e-3]
    assert rates(strategy="scratch", numbers=True) == rates(strategy="scratch", numbers=False)


@pytest.mark.parametrize("given", ["strategy=lora", Recipe(strategy="lora"), Recipe(strategy="probe", head="mlp")])
def test_strategies_that_contradict_each_other_are_refused(given):
    with pytest.raises(UsageError, match="contradict each other"):
        jobs.make_job(data="pictures", strategy="finetune", recipe=given)
    assert jobs.make_job(data="pictures", strategy="auto", recipe=given).recipe


def test_the_same_strategy_twice_or_once_is_no_contradiction():
    for given in ("strategy=lora", "lora_rank=4"):
        assert jobs.make_job(data="pictures", strategy="lora", recipe=given).strategy == "lora"


def test_a_given_recipe_from_random_weights_is_made_for_that_but_for_what_it_says(setup):
    ((_, found),) = queued(setup("epochs=3,decay=0.5", strategy="scratch"))
    assert (found.strategy, found.start, found.trunk.part, found.trunk.batch_norm) == (
        "scratch",
        "random",
        "all",
        "train",
    )
    assert (found.epochs, found.trunk.decay, found.averaging.wise, found.rate) == (3, 0.5, False, 1e-3)
    ((_, found),) = queued(setup("strategy=scratch,start=probe", strategy="auto"))
    assert (found.start, found.trunk.part) == ("probe", "all")


def test_proposals_from_random_weights_train_everything_at_the_proposed_rate(setup):
    proposer = recipe_proposals.Proposer("scratch", [BACKBONE], [], 0)
    made = [setup(strategy="scratch").recipe_space.complete_proposal(proposer.propose()) for _ in range(4)]
    assert {(one.trunk.part, one.start, one.trunk.decay, one.averaging.wise) for one in made} == {
        ("all", "random", 1.0, False)
    }
    assert len({one.rate for one in made}) == 4


def test_what_was_proposed_or_tried_first_lies_in_the_space(setup):
    """A first recipe of forty epochs and one from random weights teach the model of TPE."""
    for strategy in ("finetune", "scratch"):
        first = recipe_proposals.make_first_recipes(
            strategy, 50, 60, 3, setup(strategy=strategy).recipe_space.shared_fields | {"backbone": BACKBONE}
        )
        ended = [recipe_proposals.FinishedTrial(recipe=one, loss=1.0, course={}) for one in first]
        assert len(recipe_proposals.Proposer(strategy, [BACKBONE], ended, 0).study.trials) == len(first)
    assert recipe_proposals.make_first_recipes("finetune", 50, 60, 3, {})[0].epochs == 40


def test_proposals_have_the_arithmetic_of_the_first_recipes(setup, monkeypatch):
    monkeypatch.setattr(hardware, "choose_training_precision", lambda: "mixed_bfloat16")
    proposer = recipe_proposals.Proposer("finetune", [BACKBONE], [], 0)
    found = setup(seed=3).recipe_space.complete_proposal(proposer.propose())
    assert (found.precision, found.seed, found.augmentation.domain) == ("mixed_bfloat16", 3, "texture")


# ---------------------------------------------------------------- the backbone of a recipe

NAMES = ("bundled:efficientnet_lite0", "random:bundled:efficientnet_lite0", "bundled:efficientnet_lite2")


def test_a_backbone_is_named_in_whole_or_behind_a_colon():
    def named(wanted):
        return [name for name in NAMES if recipes.is_backbone_named(wanted, name)]

    assert named("") == list(NAMES)
    assert named("efficientnet_lite2") == [NAMES[2]]
    assert named("random:bundled:efficientnet_lite0") == [NAMES[1]]
    assert named("bundled:efficientnet_lite2") == [NAMES[2]]
    assert named("lite2") == named("efficientnet_lite3") == []


def test_a_class_that_was_not_learnt_is_impossible_and_finite():
    bias = classes(3).bound_bias(np.array([0.5, design_matrix.ABSENT, -1.0], np.float32))
    assert bias.tolist() == [0.5, -31.0, -1.0]
