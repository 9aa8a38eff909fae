"""Model checks on made-up curves whose truth is known, and on many healthy ones that must raise nothing."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core import recipe as recipes
from headstart.core import registry
from headstart.core.recipe import Recipe
from headstart.core.types import ClassScores, EpochRow, NumberScores, TrainingInput, TrainingLog

CHECKS = {
    name[:4].upper(): registry.load_plugin("model_checks", name) for name in registry.list_plugins("model_checks")
}
STEADY = 0.31 + 0.09 * np.exp(-np.arange(12) / 3)  # a training that does what it should
FALLING = np.linspace(0.45, 0.20, 12)


def scores(loss, right):
    return ClassScores(
        log_loss=float(loss),
        accuracy=float(right),
        balanced_accuracy=float(right),
        precision=float(right),
        recall=float(right),
        class_precision=(float(right),) * 2,
        class_recall=(float(right),) * 2,
    )


def log(
    val, train=FALLING, *, val_right=None, train_right=None, start=(0.41, 0.82), loss=None, fold=0, best=None, **more
):
    """A training of which only the losses, or the accuracies too, are told."""
    val, train = np.asarray(val, float), np.asarray(train, float)[: len(val)]
    val_right = 1 - 0.45 * val if val_right is None else np.asarray(val_right)
    train_right = 1 - 0.45 * train if train_right is None else np.asarray(train_right)
    rows = tuple(
        EpochRow(
            epoch=at + 1,
            rate=1e-3,
            loss=float(train[at] if loss is None else loss[at]),
            train=scores(train[at], train_right[at]),
            val=scores(val[at], val_right[at]),
        )
        for at in range(len(val))
    )
    told = {
        "recipe": Recipe(backbone="b", epochs=max(len(val), 1)),
        "n_train": 800,
        "stopped": f"all {len(val)} epochs",
    }
    return TrainingLog(
        name=f"trial 0, fold {fold}",
        trial=0,
        fold=fold,
        start=scores(*start) if start else None,
        epochs=rows,
        best=int(np.argmin(val)) + 1 if best is None else best,
        trainable_params=1000,
        **told | more,
    )


def ask(code, *logs, probe=(0.41, 0.82), overlap=0):
    given = TrainingInput(logs=logs, class_names=("a", "b"), guess=0.5, probe=scores(*probe), overlap=overlap)
    return CHECKS[code](given)


def said(code, *logs, **more):
    found = ask(code, *logs, **more).outcome
    return found.status, found.why


TURNING = np.concatenate([np.linspace(0.40, 0.30, 4), np.linspace(0.32, 0.50, 8)])


def with_recipe(**fields):
    return Recipe(backbone="b", **fields)


def test_all_codes_are_there():
    assert list(CHECKS) == ["M201", "M202", "M203", "M204", "M205"]
    assert all(check.code == code for code, check in CHECKS.items())


@pytest.mark.parametrize("code", CHECKS)
def test_a_sound_training_passes_with_numbers(code):
    status, why = said(code, *(log(STEADY, fold=fold) for fold in range(5)))
    assert status == "passed" and any(c.isdigit() for c in why)


@pytest.mark.parametrize("code", CHECKS)
def test_without_trainings_the_question_stays_open(code):
    found = ask(code)
    assert found.outcome.status == "skipped" and found.change == {}


def test_overfitting_is_named_with_its_epoch_and_numbers():
    found = ask("M201", *(log(TURNING, fold=fold) for fold in range(4)), log(STEADY, fold=4))
    assert found.outcome.status == "issue"
    assert found.outcome.why == (
        "overfits from epoch 5: held-out log loss rises from 0.30 to 0.50 while training log loss falls from 0.38 to "
        "0.20, in 4 of 5 folds; held-out accuracy 0.865 to 0.775"
    )
    assert found.change == {"augment": 0.5, "weight_decay": 1e-3}


@pytest.mark.parametrize(
    "logs",
    [
        [log(TURNING), log(STEADY)],  # half of the folds is not most
        [log([*STEADY[:11], 0.40])],  # one bad last epoch
        [log(STEADY[0] - 0.09 + 0.02 * np.arange(12) ** 0.5 / 4)],  # a rise of less than a tenth
        [log(TURNING, train=np.full(12, 0.6))],  # training does not fall: not by heart
    ],
    ids=["half", "last", "small", "training"],
)
def test_what_is_not_overfitting(logs):
    assert said("M201", *logs)[0] == "passed"


def test_overconfidence_is_told_from_overfitting():
    found = ask("M201", log(TURNING, val_right=np.linspace(0.82, 0.90, 12)))
    assert found.outcome.status == "tip" and found.outcome.why.startswith("grows over-confident from epoch 5")
    assert found.change == {"label_smoothing": 0.1}


def test_learning_by_heart_without_gain_is_a_tip():
    flat, by_heart = np.full(12, 0.42), np.linspace(0.82, 1.0, 12)
    found = ask("M201", log(flat, val_right=np.full(12, 0.81), train_right=by_heart, best=12))
    assert found.outcome.status == "tip"
    assert "accuracy 1.00 on training pictures, 0.81 on held-out ones" in found.outcome.why
    better = log(flat - 0.1, val_right=np.full(12, 0.84), train_right=by_heart, best=12)
    assert said("M201", better)[0] == "passed", "a gap alone is no fault where held-out pictures gain"


def test_advice_against_overfitting_goes_on_and_ends():
    recipe, seen = with_recipe(part="all", blocks=3), []
    for _ in range(8):
        change = ask("M201", log(TURNING, recipe=recipe)).change
        if not change:
            break
        recipe = dataclasses.replace(recipe, **change)
        seen.append(change)
    assert seen[0]["augment"] == 0.5 and seen[1]["mixup"] == 0.2 and seen[2] == {"part": "last", "blocks": 1}
    assert seen[-1] == {"dropout": 0.5, "epochs": 5}
    assert ask("M201", log(TURNING, recipe=recipe)).change == {}


def test_underfitting_is_worse_than_the_probe_on_both_sides():
    poor = log(np.linspace(0.7, 0.60, 12), np.linspace(0.72, 0.61, 12), start=(0.69, 0.5))
    found = ask("M202", poor)
    assert found.outcome.why == (
        "underfits: accuracy 0.73 on training pictures and 0.73 on held-out ones at the epoch that counts, and the "
        "frozen probe has 0.82, always answering the largest class 0.50"
    )
    assert found.change == {"rate": 3e-3, "epochs": 24}
    held_back = dataclasses.replace(poor, recipe=with_recipe(mixup=0.4, dropout=0.5))
    assert ask("M202", held_back).change == {"mixup": 0.0, "dropout": 0.0}


def test_training_that_hardly_moves_wants_a_higher_rate():
    found = ask("M202", log(np.full(12, 0.409), np.linspace(0.35, 0.348, 12), train_right=np.full(12, 0.84)))
    assert found.outcome.status == "tip" and "hardly moves: training log loss 0.350" in found.outcome.why
    assert found.change == {"rate": 3e-3}


def test_training_that_still_gains_wants_more_epochs():
    gaining = log(np.linspace(0.60, 0.30, 12), np.linspace(0.62, 0.33, 12), start=(0.69, 0.5))
    found = ask("M202", gaining)
    assert found.outcome.status == "tip"
    assert "held-out log loss 0.409 after two thirds of 12 epochs, 0.300 after all, in 1 of 1 fold" in found.outcome.why
    assert found.change == {"rate": 3e-3}
    fast = dataclasses.replace(gaining, recipe=with_recipe(epochs=12, rate=5e-3))
    assert ask("M202", fast).change == {"epochs": 24}
    stopped = dataclasses.replace(gaining, recipe=with_recipe(epochs=30), stopped="pruned")
    assert said("M202", stopped)[0] == "passed", "a training that was cut short could have gone on"


@pytest.mark.parametrize(
    ("lost", "how"),
    [
        (
            log(STEADY[:0], stopped="loss is not finite at step 31, rate 0.5", best=0),
            "loss is not finite at step 31, rate 0.5",
        ),
        (log(STEADY, loss=[*FALLING[:6], *np.full(6, np.nan)]), "the loss is not finite at epoch 7"),
        (log(STEADY, loss=np.linspace(0.4, 0.9, 12)), "the training loss rises from 0.40 to 0.88"),
        (
            log(np.linspace(1.3, 0.7, 12), val_right=np.linspace(0.4, 0.7, 12)),
            "held-out log loss jumps from 0.41 to 1.30 and comes back to 0.70 at best",
        ),
    ],
    ids=["step", "epoch", "rising", "start"],
)
def test_divergence_asks_for_a_tenth_of_the_rate(lost, how):
    found = ask("M203", log(STEADY), dataclasses.replace(lost, name="trial 3, fold 1"))
    assert found.outcome.why == f"diverges in 1 of 2 folds: trial 3, fold 1: {how}, highest rate 0.001"
    assert found.outcome.status == "issue" and found.change == {"rate": 1e-4}
    for code in ("M201", "M202", "M205"):
        assert said(code, lost)[0] == "skipped", "a lost training shows nothing else"


@pytest.mark.parametrize("code", ["M201", "M202", "M204", "M205"])
def test_a_lost_training_is_not_called_short(code):
    gone = log(STEADY, loss=np.linspace(0.4, 0.9, 12))
    assert said(code, gone, gone)[1].endswith("every training is lost: M203 says how")
    assert said(code, gone, log(STEADY[:2]))[1].endswith("no training is long enough, it takes three epochs")


def test_a_start_that_is_won_back_is_no_divergence():
    assert said("M203", log(np.linspace(1.3, 0.38, 12)))[0] == "passed"
    assert said("M203", log(np.linspace(1.3, 0.7, 12), start=None))[0] == "passed"
    assert said("M203", log([1.3], val_right=[0.4]))[0] == "passed", "one epoch is no trend"


def test_divergence_turns_on_what_tames():
    wild = log(
        STEADY, recipe=with_recipe(clip=0.0, warmup=0.0, precision="mixed_bfloat16", rate=0.2), stopped="not finite"
    )
    assert ask("M203", wild).change == {"rate": 0.02, "clip": 1.0, "warmup": 0.1, "precision": "float32"}


def test_look_alikes_on_both_sides_are_a_leak():
    assert said("M204", log(STEADY), overlap=1) == (
        "issue",
        "1 held-out picture looks like one that the network learnt from: held-out scores are too good",
    )


def test_held_out_scores_far_above_training_scores_are_a_leak_unless_the_recipe_explains_them():
    easy = {"val_right": np.full(12, 0.99), "train_right": np.full(12, 0.75)}
    logs = [log(STEADY, fold=fold, **easy) for fold in range(4)]
    status, why = said("M204", *logs, probe=(0.5, 0.76))
    assert status == "issue" and "held-out accuracy 0.99, training accuracy 0.75 in the last epoch" in why
    assert said("M204", *logs, probe=(0.1, 0.95))[0] == "passed", "the frozen probe finds them as easy"
    for fields in ({"mixup": 0.2}, {"dropout": 0.3}, {"sampling": "balanced"}):
        hampered = [dataclasses.replace(each, recipe=with_recipe(**fields)) for each in logs]
        status, why = said("M204", *hampered, probe=(0.5, 0.76))
        assert status == "passed" and "not compared" in why
    few = [dataclasses.replace(each, n_train=40) for each in logs[:1]]
    assert said("M204", *few, probe=(0.5, 0.76))[0] == "passed", "with 4 held-out pictures it may be chance"


def test_folds_that_end_far_apart_are_unstable():
    logs = [log(STEADY, fold=f, val_right=np.full(12, r)) for f, r in enumerate((0.85, 0.86, 0.55, 0.84, 0.86))]
    found = ask("M205", *logs)
    assert found.outcome.why.startswith("unstable across folds: held-out accuracy 0.55 to 0.86 over 5 folds")
    assert found.change == {"ema": 0.96, "rate": 3.33e-4}
    few = [dataclasses.replace(each, n_train=80) for each in logs]
    assert said("M205", *few)[0] == "passed", "with 20 held-out pictures a fold it may be chance"


def test_jumps_from_epoch_to_epoch_are_unstable():
    zigzag = STEADY * np.where(np.arange(12) % 2, 1.3, 0.8)
    status, why = said("M205", log(zigzag))
    assert status == "issue" and "held-out log loss jumps by 4" in why
    steep = [log(np.linspace(2.0, 0.1, 12), train=np.linspace(2, 0.1, 12), fold=fold) for fold in range(3)]
    assert said("M205", *steep)[0] == "passed", "a steep fall"


@pytest.mark.parametrize(
    ("logs", "why"),
    [
        ([log(STEADY)], "here is 1 fold; its held-out loss does not jump from epoch to epoch"),
        (
            [log(STEADY), log(STEADY, fold=1)],
            "here are 2 folds; their held-out loss does not jump from epoch to epoch",
        ),
        ([log(STEADY[:4])], "here is 1 fold"),
    ],
    ids=["one", "two", "short"],
)
def test_few_folds_cannot_be_called_stable(logs, why):
    assert said("M205", *logs) == ("not_applicable", f"how far folds lie apart is judged from three on, {why}")


@pytest.mark.parametrize(
    ("epochs", "told"),
    [
        ((20, 20), "20 epochs in each of 2 folds"),
        ((7, 12, 12), "7 to 12 epochs in each of 3 folds"),
        ((1,), "1 epoch in 1 fold"),
    ],
)
def test_epochs_are_counted_by_fold(epochs, told):
    curve, falling = np.linspace(0.4, 0.3, 20), np.linspace(0.45, 0.2, 20)
    logs = [log(curve[:n], falling[:n], fold=fold) for fold, n in enumerate(epochs)]
    assert said("M203", *logs) == ("passed", f"the loss is finite and does not run away in {told}")


def simulated(rng, folds, n_val, *, start):
    """Healthy trainings: a probe's start, a gain that levels off, the noise of finite held-out pictures."""
    epochs, floor = int(rng.integers(5, 25)), rng.uniform(0.05, 0.35)
    first = floor + rng.uniform(0.0, 0.25)
    base = floor + (first - floor) * np.exp(-np.arange(1, epochs + 1) / (epochs / 4))
    logs = []
    for fold in range(folds):
        level = 1 + rng.normal(0, 1.2 / np.sqrt(n_val))  # some folds are harder
        val = base * level * (1 + rng.normal(0, 0.02, epochs))
        right = rng.binomial(n_val, np.clip(1 - 0.45 * base, 0, 1)) / n_val
        train = base * rng.uniform(0.6, 0.95) * (1 + rng.normal(0, 0.02, epochs))
        begin = (first * level, 1 - 0.45 * first) if start else None
        logs.append(log(val, train, val_right=right, start=begin, fold=fold, n_train=n_val * 4))
    return logs, (first, 1 - 0.45 * first)


@pytest.mark.parametrize("n_val", [20, 60, 300])
@pytest.mark.parametrize("folds", [1, 3, 5])
def test_healthy_trainings_raise_no_issue(folds, n_val):
    rng, issues = np.random.default_rng(n_val + folds), []
    for number in range(100):
        logs, probe = simulated(rng, folds, n_val, start=bool(number % 2))
        issues += [o.outcome.why for code in CHECKS if (o := ask(code, *logs, probe=probe)).outcome.status == "issue"]
    assert issues == []


def any_recipe():
    def of(option):
        known = option.metadata
        if known["choices"]:
            return st.sampled_from(known["choices"])
        if isinstance(option.default, bool):
            return st.booleans()
        if isinstance(option.default, int):
            return st.integers(int(known["low"]), int(min(known["high"], 60)))
        return (
            st.floats(known["low"], min(known["high"], 10.0))
            if isinstance(option.default, float)
            else st.just(("last",))
        )

    fields = {f.name: of(f) for f in recipes.list_recipe_options() if f.name not in ("backbone", "rate", "strategy")}
    return st.builds(
        Recipe, strategy=st.sampled_from(("finetune", "lora", "norms", "scratch")), rate=st.floats(1e-6, 1.0), **fields
    )


@given(recipe=any_recipe(), batch=st.integers(1, 5000))
@settings(max_examples=100, deadline=None)
def test_advice_is_a_valid_recipe_that_differs(recipe, batch):
    recipe = dataclasses.replace(recipe, batch=batch)
    bad = [
        log(TURNING, recipe=recipe),
        log(np.full(12, 0.8), np.linspace(0.9, 0.8, 12), recipe=recipe),
        log(STEADY * np.where(np.arange(12) % 2, 1.3, 0.8), recipe=recipe),
        log(STEADY, recipe=recipe, stopped="loss is not finite at step 3"),
    ]
    for code, each in ((code, each) for code in CHECKS for each in bad):
        change = ask(code, each).change
        changed = dataclasses.replace(recipe, **change)
        assert recipes.find_recipe_problems(changed) == []
        assert not change or changed != recipe
        assert all(type(value) is type(recipes.field_values(recipe)[name]) for name, value in change.items())


# ---------------------------------------------------------------- numbers


def as_numbers(log):
    """The same training as one of numbers: R2 is what its squared error leaves of 1."""

    def convert(scores):
        return scores and NumberScores(squared_error=scores.log_loss, r2=1 - scores.log_loss, mae=scores.log_loss)

    rows = tuple(dataclasses.replace(row, train=convert(row.train), val=convert(row.val)) for row in log.epochs)
    return dataclasses.replace(log, start=convert(log.start), epochs=rows)


def ask_numbers(code, *logs, probe=0.41):
    scores = NumberScores(squared_error=probe, r2=1 - probe, mae=probe)
    return CHECKS[code](TrainingInput(logs=tuple(map(as_numbers, logs)), class_names=(), guess=0.0, probe=scores))


def test_checks_read_r2_and_squared_errors_of_numbers():
    turned = ask_numbers("M201", log(TURNING))
    assert turned.outcome.status == "issue" and "label_smoothing" not in turned.change
    assert "held-out squared error rises" in turned.outcome.why and "held-out R2 0.700 to" in turned.outcome.why
    weak = ask_numbers("M202", log(np.full(6, 0.9), np.full(6, 0.9), start=(0.95, 0.5)), probe=0.3)
    assert weak.outcome.status == "issue" and "always answering the mean 0.00" in weak.outcome.why
    assert ask_numbers("M203", log(STEADY, loss=[0.4, 0.5, 0.9, 2.0, 5.0, 9.0, *[20.0] * 6])).outcome.status == "issue"
    easy = ask_numbers("M204", *(log(np.full(6, 0.1), np.full(6, 0.9), fold=k) for k in range(3)), probe=0.5)
    assert easy.outcome.status == "issue" and "held-out R2 0.90, training R2 0.10" in easy.outcome.why


def test_folds_of_numbers_may_differ_as_far_as_chance_moves_r2():
    """One standard deviation of R2 is 2 R (1 - R2) / root n (Olkin & Finn 1995): more in the middle than at its end."""

    def judge(spread, n_train):
        steady = [log(np.full(6, 0.4 + shift), fold=k, n_train=n_train) for k, shift in enumerate((-spread, 0, spread))]
        return ask_numbers("M205", *steady).outcome.status

    assert judge(0.06, 180) == "passed" and judge(0.06, 9000) == "issue"
    assert NumberScores.skill_deviation(0.6, 100) == pytest.approx(2 * 0.6**0.5 * 0.4 / 10)
