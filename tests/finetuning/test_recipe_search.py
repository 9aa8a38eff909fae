"""The search over recipes, with trainings that are made up: what is tried, pruned, judged further, and repeated.

Nothing here trains. A made training's held-out logits say how good its recipe is: `rate` is how fast it learns.
"""

import dataclasses
import io
import types

import numpy as np
import pytest

from headstart.core.console import Console
from headstart.core.recipe import Recipe
from headstart.core.run.folder import RunFolder
from headstart.core.types import CLASSIFICATION, EpochRow, TrainingLog
from headstart.finetuning.search import diagnosis, recipe_search
from headstart.finetuning.search.fold_training import FoldRun
from headstart.finetuning.search.recipe_search import JUDGING_IT, TRAINING, TRYING_IT, Search
from headstart.finetuning.search.training_cost import TimeBudget
from headstart.finetuning.search.training_setup import make_training_setup
from headstart.finetuning.starting_points import StartingPoint
from headstart.heads.prediction import softmax
from judged_sets import dataset, splits
from small_nets import classes

BACKBONE, DEPTHS = "made:one", ("last",)
SHARED = {"backbone": BACKBONE, "depths": DEPTHS, "wise": False, "epochs": 4}


def recipe(rate, **changes):
    return Recipe(**{**SHARED, "rate": rate, **changes})


def made(setup, asked, trial, fold, on_epoch):
    """A training whose held-out pictures are told the better the higher the rate; at a rate above 1 it breaks off."""
    held = setup.training_set.held_out_positions(fold)
    y = setup.training_set.targets[held]
    noise = np.random.default_rng([fold, 7]).normal(size=(len(held), 3))
    epochs = 0 if asked.rate > 1 else asked.epochs
    logits = [noise + 100 * asked.rate * epoch * np.eye(3)[y] for epoch in range(epochs + 1)]
    seen = [classes(3).score(y, softmax(one)) for one in logits]
    rows, stopped = [], f"all {epochs} epochs" if epochs else "loss is not finite at step 1, rate 2"
    for epoch in range(1, epochs + 1):
        rows.append(EpochRow(epoch=epoch, rate=asked.rate, loss=0.5, train=seen[epoch], val=seen[epoch]))
        if on_epoch is not None and on_epoch(rows[-1]):
            stopped = "pruned"
            break
    log = TrainingLog(
        name=f"trial {trial}, fold {fold}",
        trial=trial,
        recipe=asked,
        fold=fold,
        n_train=len(setup.training_set.rows) - len(held),
        start=seen[0],
        epochs=tuple(rows),
        best=len(rows),
        stopped=stopped,
        trainable_params=1,
    )
    return FoldRun(
        log=log, rows=setup.training_set.rows[held], logits=np.stack(logits[: len(rows) + 1]).astype(np.float32)
    )


class Trainings:
    """Stands in for `run_fold`; Ctrl-C comes in the call numbered `cut`."""

    def __init__(self, cut=None):
        self.calls, self.cut, self.done = [], cut, {}

    def __call__(self, setup, asked, trial, fold, on_epoch=None):
        if (trial, fold) not in self.done:
            if len(self.calls) == self.cut:
                raise KeyboardInterrupt
            self.calls.append((trial, fold))
            self.done[trial, fold] = made(setup, asked, trial, fold, on_epoch)
        return self.done[trial, fold]


@pytest.fixture
def begin(context, monkeypatch):
    """A function that makes a search on the run folder `name`, as a process would that starts or goes on."""
    monkeypatch.setattr(diagnosis, "find_advice", lambda setup, runs: None)

    def make(queue, trainings=None, *, name="run", most=3, left_s=1e9, seconds=lambda asked: 1.0, explicit=False):
        trainings = trainings or Trainings()
        monkeypatch.setattr(recipe_search, "run_fold", trainings)
        data = dataset(120)
        ctx = context(name=name, strategy="auto", recipe="epochs=4" if explicit else "")
        split = splits(data, repeats=1, folds=4)
        on = types.SimpleNamespace(task=CLASSIFICATION, n_classes=3, metric="log_loss", seed=0, clusters=split.clusters)
        base = StartingPoint(
            backbone=BACKBONE, features=(types.SimpleNamespace(depth="last"),), params={}, pictures=90, loss=1
        )
        probe = types.SimpleNamespace(cv_rows=split.train)  # it was judged by all of them
        setup = make_training_setup(data, split, (), [base], probe, on, ctx=ctx)
        setup.cost = types.SimpleNamespace(fold_seconds=seconds)
        setup.recipe_space.count_blocks = lambda point: 3
        fields = {"backbone": base.backbone, "depths": base.depths, "wise": False}
        monkeypatch.setattr(StartingPoint, "recipe_fields", fields)
        budget = TimeBudget(ctx=ctx, total_s=1.0)
        found = Search(
            setup=setup,
            budget=budget,
            strategy="auto",
            queue=[("prior", one) for one in queue],
            max_trials=most,
        )
        object.__setattr__(budget, "ctx", types.SimpleNamespace(left_s=lambda: left_s, job=ctx.job))
        monkeypatch.setattr(TimeBudget, "left_s", lambda self, until: left_s)
        return found

    return make


def went(found):
    """What a search came to: recipes with the folds they were judged on and their losses, and the finalists."""
    found.try_recipes()
    best = found.judge_finalists()
    tried = [(a.recipe, a.origin, [run.log.fold for run in a.runs], a.loss) for a in found.trials]
    return tried, [a.number for a in best], found.interrupted


def test_the_queue_is_tried_in_its_order_and_the_two_best_are_judged_on_all_folds(begin):
    queue = [recipe(0.001), recipe(0.005), recipe(0.003)]
    tried, best, interrupted = went(begin(queue))
    assert [one[0] for one in tried] == queue
    assert [one[1] for one in tried] == ["prior"] * 3
    assert [one[2] for one in tried] == [[0], [0, 1, 2, 3], [0, 1, 2, 3]]
    assert best == [1, 2]
    assert not interrupted


def test_a_recipe_is_tried_once(begin):
    tried, _, _ = went(begin([recipe(0.001), recipe(0.001), recipe(0.002)], most=2))
    assert [one[0].rate for one in tried] == [0.001, 0.002]


def test_after_the_queue_optuna_proposes_within_the_space(begin):
    tried, _, _ = went(begin([recipe(0.001)], most=4))
    proposed = [one for one in tried if one[1] == "search"]
    assert len(proposed) == 3
    for asked, *_ in proposed:
        assert 3e-5 <= asked.rate <= 1e-2
        assert asked.rate == float(f"{asked.rate:.3g}")
        assert (asked.backbone, asked.depths, asked.seed) == (BACKBONE, DEPTHS, 0)
        assert 1 <= asked.trunk.blocks <= 3
    assert len({asked for asked, *_ in proposed}) == 3


def test_a_recipe_without_room_is_passed_over(begin):
    dear = recipe(0.005, epochs=40)
    tried, _, _ = went(begin([dear, recipe(0.001)], most=1, left_s=10, seconds=lambda asked: asked.epochs))
    assert [one[0] for one in tried] == [recipe(0.001)]


def test_when_no_recipe_has_room_the_one_of_most_epochs_is_shortened(begin):
    def seconds(asked):
        return 3.0 + asked.epochs * (4.0 if asked.trunk.blocks == 2 else 2.0)

    queue = [recipe(0.005, epochs=40, blocks=2), recipe(0.001, epochs=40)]
    tried, _, _ = went(begin(queue, most=1, left_s=12, seconds=seconds))
    assert [one[0] for one in tried] == [recipe(0.001, epochs=4)], "3 + 4 * 2 = 11 of 12 s"
    tried, best, _ = went(begin(queue, most=1, left_s=4, seconds=seconds, name="short"))
    assert (tried, best) == ([], [])


def test_a_recipe_that_falls_behind_is_pruned_and_not_judged_further(begin):
    found = begin([recipe(0.005), recipe(0.006), recipe(3e-5, epochs=9)])
    tried, best, _ = went(found)
    assert best == [1, 0]
    assert tried[2][2] == [0]
    assert found.trials[2].pruned
    assert len(found.trials[2].runs[0].log.epochs) == 2, "the median rule has a say from the second epoch on"


def test_a_training_that_breaks_off_is_told_and_the_others_go_on(begin):
    found = begin([recipe(2.0), recipe(0.004)], most=2)
    tried, best, _ = went(found)
    assert found.trials[0].verdict is None
    assert found.trials[0].why == "loss is not finite at step 1, rate 2"
    assert best == [1]
    assert tried[1][2] == [0, 1, 2, 3]


def test_a_fold_that_breaks_off_counts_with_its_start(begin, monkeypatch):
    """Of one recipe the second fold diverges: it is judged all the same, there with what it started from."""
    found = begin([recipe(0.005)], most=1)

    def run(setup, asked, trial, fold, on_epoch=None):
        return made(setup, dataclasses.replace(asked, rate=2.0) if fold == 1 else asked, trial, fold, None)

    monkeypatch.setattr(recipe_search, "run_fold", run)
    found.try_recipes()
    (best,) = found.judge_finalists()
    rows = best.runs[1].rows
    at = np.searchsorted(np.sort(best.verdict.rows), rows)
    order = np.argsort(best.verdict.rows)
    told = best.verdict.probabilities[order[at]]
    assert told == pytest.approx(softmax(best.runs[1].logits[0].astype(float) / best.verdict.temperature), abs=1e-6)
    assert len(best.verdict.rows) == len(found.setup.training_set.rows)
    assert "not finite" in best.why


def turning(setup, asked, trial, fold, on_epoch=None):
    """Held-out answers of ever better order and ever more certainty: raw, the first epoch is the best of all."""
    run, y = (
        made(setup, asked, trial, fold, on_epoch),
        setup.training_set.targets[setup.training_set.held_out_positions(fold)],
    )
    noise = np.random.default_rng([fold, 9]).normal(size=(len(y), 3))
    logits = [noise + 2 * np.eye(3)[y], *(30 * (noise + (2 + at + fold) * np.eye(3)[y]) for at in range(4))]
    logits.insert(1, noise + 2.01 * np.eye(3)[y])
    seen = [classes(3).score(y, softmax(one)) for one in logits[:5]]
    rows = [EpochRow(epoch=at, rate=0.1, loss=0.5, train=seen[at], val=seen[at]) for at in range(1, 5)]
    log = dataclasses.replace(run.log, epochs=tuple(rows), best=int(np.argmin([one.log_loss for one in seen])))
    return dataclasses.replace(run, log=log, logits=np.stack(logits[:5]).astype(np.float32))


def test_checks_and_logs_speak_of_the_epoch_that_is_judged(begin, monkeypatch):
    found, advised = begin([recipe(0.005)], most=1), []
    monkeypatch.setattr(recipe_search, "run_fold", turning)

    def advice(setup, runs):
        advised.extend(run.log.best for run in runs)

    monkeypatch.setattr(diagnosis, "find_advice", advice)
    assert [turning(found.setup, recipe(0.005), 0, fold).log.best for fold in range(4)] != [4] * 4
    found.try_recipes()
    assert advised == [found.trials[0].verdict.epoch] == [4], "one fold, before any other is judged"
    (best,) = found.judge_finalists()
    assert [run.log.best for run in best.runs] == [best.verdict.epoch] * 4


def test_every_number_of_a_finalist_says_what_it_is_and_the_last_is_the_compared_one(begin, monkeypatch):
    found, err = begin([recipe(0.005, wise=True)], most=1), io.StringIO()
    object.__setattr__(found.setup.ctx, "console", Console(err=err))
    monkeypatch.setattr(found.setup, "prepare", lambda *_: None)
    monkeypatch.setattr(
        recipe_search.fold_training, "load_weights", lambda setup, job, number, run, epoch, alpha: alpha
    )
    monkeypatch.setattr(recipe_search, "run_fold", lambda *given: worse(made(*given)))
    monkeypatch.setattr(
        recipe_search.fold_training,
        "predict_held_out",
        lambda setup, job, alpha, run: run.logits[0 if alpha == 0 else 1],
    )
    found.try_recipes()
    (best,) = found.judge_finalists()
    *lines, last = [line for line in err.getvalue().splitlines() if "trial 0" in line]
    assert len(lines) == 4 and best.verdict.alpha == 0
    assert all(", after temperature, before interpolation; epoch 1 counts so far" in line for line in lines)
    assert last.split(None, 1)[1] == (
        f"trial 0 is compared by log loss {best.loss:.3f} (n = 90, 4 folds): epoch 1, 0% of the way from the first "
        f"weights to the tuned ones, for none of the training helped, temperature {best.verdict.temperature:.2f}"
    )


def worse(run):
    """A training after which nothing is known any more."""
    return dataclasses.replace(run, logits=np.stack([run.logits[-1], *np.zeros_like(run.logits[1:])]))


def test_advice_is_tried_next(begin, monkeypatch):
    found = begin([recipe(0.001), recipe(0.005)])

    def advice(setup, runs):
        return ("M202", recipe(0.002)) if runs[0].log.recipe.rate == 0.001 else None

    monkeypatch.setattr(diagnosis, "find_advice", advice)
    tried, _, _ = went(found)
    assert [(one[0].rate, one[1]) for one in tried] == [(0.001, "prior"), (0.002, "M202"), (0.005, "prior")]


def test_advice_that_did_not_pay_is_not_followed_further(begin, monkeypatch):
    """Each trial is told to take a tenth of its rate; the one that does is worse, and that ends it."""
    found = begin([recipe(0.001), recipe(0.005)], most=5)
    monkeypatch.setattr(
        diagnosis, "find_advice", lambda setup, runs: ("M203", recipe(runs[0].log.recipe.rate / 10, dropout=0.1))
    )
    tried, _, _ = went(found)
    assert [(one[0].rate, one[1]) for one in tried][:4] == [
        (0.001, "prior"),
        (0.0001, "M203"),
        (0.005, "prior"),
        (0.0005, "M203"),
    ]
    assert tried[4][1] == "search"


def test_of_a_recipe_that_diverges_the_check_advises_a_lower_rate(begin, monkeypatch):
    monkeypatch.undo()
    found = begin([recipe(2.0)], most=2)
    monkeypatch.setattr(recipe_search, "run_fold", Trainings())
    monkeypatch.setattr(TimeBudget, "left_s", lambda self, until: 1e9)
    found.setup.training_set.probe_probabilities = lambda rows: np.full((len(rows), 3), 1 / 3)
    tried, _, _ = went(found)
    assert [(one[0].rate, one[1]) for one in tried] == [(2.0, "prior"), (0.2, "M203")]


QUEUE = [recipe(0.001), recipe(0.005), recipe(0.003)]


@pytest.mark.parametrize("cut", range(9))
def test_after_ctrl_c_the_next_process_ends_as_this_one_did(begin, cut):
    """Three trials on a fold, then two on three more: Ctrl-C in each of the nine trainings."""
    trainings = Trainings(cut)
    first = went(begin(QUEUE, trainings))
    assert first[2]
    done = list(trainings.calls)
    assert len(done) == cut
    trainings.cut = cut  # one more training would be a second Ctrl-C
    found = begin(QUEUE, trainings)
    assert went(found) == first
    assert trainings.calls == done
    assert found.is_stopped(TRAINING)


def test_ctrl_c_after_the_time_was_over_is_repeated_too(begin, monkeypatch):
    """The last decision is that there is no time; then Ctrl-C while judging on the third fold."""
    trainings = Trainings(cut=4)
    first = went(begin(QUEUE[:2], trainings, most=200, left_s=10, seconds=lambda asked: 1 if asked in QUEUE else 99))
    assert first[1:] == ([1, 0], True)
    assert [one[2] for one in first[0]] == [[0, 1], [0, 1]]
    again = went(begin(QUEUE[:2], trainings, most=200, left_s=10, seconds=lambda asked: 1 if asked in QUEUE else 99))
    assert again == first


def test_nothing_is_done_again_and_nothing_asked_again_by_the_next_process(begin, monkeypatch):
    trainings = Trainings()
    first = went(begin([recipe(0.001)], trainings, most=4))
    done = list(trainings.calls)

    def refuse(*_):
        raise AssertionError("decisions are replayed")

    again = begin([], trainings, most=4, left_s=-1)
    monkeypatch.setattr(recipe_search.recipe_proposals.Proposer, "propose", refuse)
    assert went(again) == first
    assert trainings.calls == done


def test_a_killed_search_goes_on_where_it_was(begin):
    trainings = Trainings()
    whole = went(begin(QUEUE, trainings, name="whole"))
    for cut in range(9):
        killed = Trainings()
        found = begin(QUEUE, killed, name=f"killed{cut}")
        with pytest.raises(SystemExit):
            stop_in(found, killed, cut)
        assert went(begin(QUEUE, killed, name=f"killed{cut}")) == whole
        assert sorted(killed.calls) == sorted(trainings.calls)


def stop_in(found, trainings, cut):
    plain = recipe_search.run_fold

    def run(*given):
        if len(trainings.calls) == cut:
            raise SystemExit
        return plain(*given)

    recipe_search.run_fold = run
    try:
        went(found)
    finally:
        recipe_search.run_fold = plain


def test_what_ctrl_c_ended_is_on_disk(begin):
    found = begin(QUEUE, Trainings(cut=4))
    went(found)
    stop = RunFolder(found.setup.ctx.run.path).find_decision("adapt/interrupted")
    assert stop == {"during": JUDGING_IT, "trials": 3, "folds": 1}
    early = begin(QUEUE, Trainings(cut=1), name="early")
    went(early)
    stop = RunFolder(early.setup.ctx.run.path).find_decision("adapt/interrupted")
    assert stop == {"during": TRYING_IT, "trials": 1, "folds": 1}


def test_a_given_recipe_is_the_only_one_and_no_clock_has_a_say(begin):
    found = begin([recipe(0.005)], most=1, left_s=-5, seconds=lambda asked: 1e9, explicit=True)
    tried, best, _ = went(found)
    assert best == [0]
    assert tried[0][2] == [0, 1, 2, 3]
