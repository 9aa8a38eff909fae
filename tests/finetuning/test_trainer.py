import dataclasses
import io
import os
import re
import time

import keras
import numpy as np
import pytest

import small_network
from headstart.core.console import Console
from headstart.core.errors import DataError, NoOpError, SetupError
from headstart.finetuning.network.trainable_network import require_moved
from headstart.finetuning.training import memory, schedules, trainer
from headstart.finetuning.training.epoch_metrics import predict_logits
from headstart.finetuning.training.train_step import TrainStep
from headstart.heads.prediction import softmax
from small_nets import classes

X, Y = small_network.pictures(120)
HELD = small_network.Held(*small_network.pictures(60, seed=1))


def fit(recipe=None, *, network=None, feed=None, held=HELD, **given):
    recipe = recipe or small_network.recipe()
    network = network or small_network.network(recipe)
    feed = feed or small_network.Feed(X, Y, recipe)
    given = {"class_weight": None, "folder": None, "console": Console(quiet=True), "name": "final", **given}
    return trainer.train_network(network, recipe, feed, held=held, **given)


def good(whole, recipe):
    """A network that has learnt already."""
    network = small_network.network(recipe)
    network.set(whole[0].weights(5))
    return network


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole():
    """An unbroken training with all epochs kept, and its network."""
    recipe = small_network.recipe(epochs=5)
    network = small_network.network(recipe)
    return fit(recipe, network=network, keep_epochs=True), network, recipe


# ---------------------------------------------------------------- what a training gives


def test_training_learns_and_says_so_in_every_row(whole):
    made, _, recipe = whole
    assert [row.epoch for row in made.rows] == [1, 2, 3, 4, 5] and made.stopped == "all 5 epochs"
    assert made.steps == 5 * 7
    assert made.rows[-1].val.log_loss < 0.6 * made.start.log_loss and made.rows[-1].val.accuracy > 0.8
    assert made.rows[-1].train.log_loss < made.rows[0].train.log_loss
    assert made.rows[-1].loss == pytest.approx(made.rows[-1].train.log_loss, rel=1e-5)  # neither mixed nor smoothed
    rates = schedules.schedule_rates(recipe, 35)
    assert [row.rate for row in made.rows] == [rates[7 * epoch - 1] for epoch in range(1, 6)]


def test_logits_are_of_the_start_and_of_each_epoch(whole):
    made, network, _ = whole
    assert made.logits.shape == (6, 60, 3)
    for epoch in (0, 3):
        network.set(made.weights(epoch))
        assert np.array_equal(predict_logits(network, HELD), made.logits[epoch])
    assert made.start == classes(3).score(HELD.y, softmax(made.logits[0].astype(np.float64)))
    assert made.rows[2].val == classes(3).score(HELD.y, softmax(made.logits[3].astype(np.float64)))


def test_the_same_recipe_gives_the_same_bits(whole):
    made, _, recipe = whole
    again = fit(recipe, keep_epochs=True)
    assert np.array_equal(again.logits, made.logits) and again.rows == made.rows
    assert all(same(again.weights(epoch), made.weights(epoch)) for epoch in range(6))


def test_another_seed_gives_others(whole):
    made, _, recipe = whole
    other = fit(dataclasses.replace(recipe, seed=1), network=small_network.network(recipe))
    assert np.array_equal(other.logits[0], made.logits[0]) and not np.array_equal(other.logits[1], made.logits[1])


def test_stop_after_is_the_beginning_of_the_same_training(whole):
    made, _, recipe = whole
    cut = fit(recipe, stop_after=3)
    assert np.array_equal(cut.logits, made.logits[:4])
    assert cut.rows == made.rows[:3] and cut.stopped == "after epoch 3, as asked"


def test_stop_after_0_trains_nothing(whole):
    made = fit(whole[2], stop_after=0)
    assert (made.best, made.steps, made.rows) == (0, 0, ()) and len(made.logits) == 1


def test_without_held_out_pictures_the_last_epoch_counts(whole):
    made, _, recipe = whole
    network = small_network.network(recipe)
    blind = fit(recipe, network=network, held=None)
    assert (blind.best, blind.start, blind.logits) == (5, None, None)
    assert all(row.val is None for row in blind.rows)
    assert same(blind.weights(5), made.weights(5)) and same(network.get(), made.weights(5))


def test_only_weights_that_were_kept_can_be_had():
    made = fit(stop_after=2)
    assert same(made.weights(2), made.weights(made.best)) and made.weights(0)
    with pytest.raises(KeyError):
        made.weights(1)


def test_class_weights_move_the_answers():
    recipe = small_network.recipe(epochs=1)
    answers = [
        predict_logits(network, HELD).argmax(axis=1)
        for weight in (None, np.array([5.0, 0.1, 0.1]))
        for network in [small_network.network(recipe)]
        if fit(recipe, network=network, held=None, class_weight=weight)
    ]
    assert (answers[1] == 0).sum() > (answers[0] == 0).sum() + 10


def test_the_terminal_is_told_the_end_in_one_line():
    err = io.StringIO()
    made = fit(stop_after=2, console=Console(err=err), name="trial 3, fold 0")
    line = err.getvalue()
    assert (
        line.startswith("train       trial 3, fold 0: after epoch 2, as asked, 14 steps in ") and line.count("\n") == 1
    )
    told = f"best at epoch 2: raw log loss {made.rows[1].val.log_loss:.3f} (was {made.start.log_loss:.3f})"
    assert f"on {len(HELD.y):,} held-out pictures {told}" in line


def test_where_no_epoch_beats_the_start_it_is_said_and_no_number_is_told_twice(whole):
    err, recipe = io.StringIO(), small_network.recipe(rate=1.0, epochs=2, clip=0.0)
    made = fit(recipe, network=good(whole, recipe), console=Console(err=err))
    assert made.best == 0
    told = f"no epoch is better than the start: raw log loss {made.start.log_loss:.3f}, accuracy"
    assert told in err.getvalue() and "(was" not in err.getvalue()


def test_a_moving_terminal_sees_where_training_is(monkeypatch):
    err = io.StringIO()
    err.isatty = lambda: True
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("headstart.finetuning.training.epoch_loop._REDRAW_S", 0.0)
    err.fileno = lambda: 2
    with monkeypatch.context() as patch:  # pytest itself asks for the size when the test has ended
        patch.setattr("os.get_terminal_size", lambda *_: os.terminal_size((200, 50)))
        made = fit(stop_after=2, console=Console(err=err))
    parts = err.getvalue().split("\r\x1b[K")
    drawn, lines = [part for part in parts if " step " in part], "".join(parts).splitlines()
    assert "final: epoch 1 of 2, step 1 of 7, loss 1." in drawn[0] and "left" in drawn[0]
    assert "epoch 2 of 2, step 7 of 7" in drawn[13] and "accuracy 0." in drawn[13]
    assert all(any(line.endswith(f"final, epoch {r.epoch} of 2: {told(r)}") for line in lines) for r in made.rows)


def told(row):
    """All scores of an epoch, on both sides."""
    sides = [
        f"accuracy {scores.accuracy:.3f}, precision {scores.precision:.3f}, recall {scores.recall:.3f}"
        for scores in (row.train, row.val)
    ]
    return f"training {sides[0]}; held out {sides[1]}, log loss {row.val.log_loss:.3f}"


def test_the_log_of_the_studio_has_a_line_an_epoch(monkeypatch):
    from headstart.studio.event_stream import _parse_line

    err = io.StringIO()
    monkeypatch.setenv("HEADSTART_PROGRESS", "lines")
    made = fit(stop_after=2, console=Console(err=err))
    lines = [_parse_line(line) for line in err.getvalue().split("\n")]
    still = [line["text"] for line in lines if line["stage"] == "train" and not line["moving"]]
    assert still[:2] == [f"final, epoch {row.epoch} of 2: {told(row)}" for row in made.rows]


# ---------------------------------------------------------------- when it stops


def worse_from(epoch, feed):
    """A feed whose labels are wrong from an epoch on."""

    class Spoilt(small_network.Feed):
        def epoch(self, number):
            for inputs, soft, hard in super().epoch(number):
                yield inputs, np.roll(soft, number >= epoch, axis=1), hard

    return Spoilt(feed.x, feed.y, feed.recipe)


@pytest.mark.parametrize("monitor", ["log_loss", "accuracy"])
def test_it_stops_without_gain_and_gives_back_the_best(monitor):
    recipe = small_network.recipe(epochs=20, patience=2, monitor=monitor, schedule="constant")
    network = small_network.network(recipe)
    feed = worse_from(5, small_network.Feed(X, Y, recipe))
    made = fit(recipe, network=network, feed=feed)
    watched = [row.val.log_loss if monitor == "log_loss" else -row.val.accuracy for row in made.rows]
    assert made.best == 1 + int(np.argmin(watched)) and made.best < 6
    assert made.stopped == "no gain in 2 epochs" and len(made.rows) == made.best + 2
    assert np.array_equal(predict_logits(network, HELD), made.logits[made.best])


def test_patience_0_never_stops_early(whole):
    recipe = small_network.recipe(epochs=6, patience=0)
    made = fit(recipe, network=good(whole, recipe), feed=worse_from(1, small_network.Feed(X, Y, recipe)))
    assert len(made.rows) == 6 and made.best == 0  # no epoch was better than the start


def test_the_start_counts_when_no_epoch_is_better(whole):
    recipe = small_network.recipe(patience=2)
    network = good(whole, recipe)
    first = network.get()
    made = fit(recipe, network=network, feed=worse_from(1, small_network.Feed(X, Y, recipe)))
    assert made.best == 0 and len(made.rows) == 2 and same(network.get(), first)


def test_a_pruned_training_stops_at_once():
    rows = []
    made = fit(on_epoch=lambda row: bool(rows.append(row)) or row.epoch == 2)
    assert made.stopped == "pruned" and made.rows == tuple(rows) and len(rows) == 2


@pytest.mark.parametrize("held", [HELD, None])
def test_a_loss_that_is_not_finite_gives_back_the_best_so_far(held):
    recipe = small_network.recipe(clip=0.0)
    network = small_network.network(recipe)

    class Exploding(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                self.model.optimizer.learning_rate = 1e30

    made = fit(recipe, network=network, held=held, callbacks=[Exploding()])
    found = re.fullmatch(r"loss is not finite at step 1[67], rate (\S+)", made.stopped)  # it may take a step more
    assert float(found[1]) == pytest.approx(1e30, rel=0.1)
    assert len(made.rows) == made.best == 2
    assert all(np.isfinite(one).all() for one in network.get().values())
    assert same(network.get(), made.weights(2))


def test_weights_that_are_not_finite_at_the_end_of_an_epoch_do_not_count():
    recipe = small_network.recipe(clip=0.0, batch=120, rate=1e39)  # one step an epoch: the loss itself is still finite
    made = fit(recipe, held=None)
    assert made.stopped.startswith("weights are not finite after step 1, rate ") and (made.best, made.rows) == (0, ())


def test_a_start_that_is_not_finite_is_an_error():
    recipe = small_network.recipe()
    network = small_network.network(recipe)
    network.set({path: np.full_like(one, np.nan) for path, one in network.get().items()})
    with pytest.raises(DataError, match="not finite before the first step"):
        fit(recipe, network=network)
    with pytest.raises(DataError, match="final: the loss is not finite at the first step"):
        fit(recipe, network=network, held=None)


def test_an_error_of_the_feed_is_told_as_it_is():
    def fail(number):
        if number == 2:
            raise OSError("the disk is gone")

    recipe = small_network.recipe()
    with pytest.raises(OSError, match="the disk is gone"):
        fit(recipe, feed=small_network.Feed(X, Y, recipe, each=fail))


def test_ctrl_c_keeps_the_best_so_far_and_goes_on_later(tmp_path, whole):
    full, _, recipe = whole
    network, rows = small_network.network(recipe), []

    class Press(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 3 and len(rows) == 3:
                raise KeyboardInterrupt  # real signals are sent to processes of their own

    given = {"folder": tmp_path, "keep_epochs": True}
    with pytest.raises(trainer.TrainingInterrupted) as caught:
        fit(recipe, network=network, callbacks=[Press()], on_epoch=lambda row: bool(rows.append(row)), **given)
    made = caught.value.trained
    assert isinstance(caught.value, KeyboardInterrupt) and made.stopped == "interrupted in epoch 4"
    assert made.rows == full.rows[:3] and np.array_equal(made.logits, full.logits[:4])
    assert made.best == 3 and same(network.get(), full.weights(3))
    on = fit(recipe, **given)
    assert on.rows == full.rows and same(on.weights(5), full.weights(5))


# ---------------------------------------------------------------- callbacks


class Diary(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.epochs, self.batches, self.told = [], [], []

    def on_train_begin(self, logs=None):
        self.told.append("begin")

    def on_train_end(self, logs=None):
        self.told.append("end")

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((batch, logs["loss"], logs["accuracy"]))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, logs))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras' own saving
def test_plain_keras_callbacks_see_the_model_and_real_logs(tmp_path):
    diary, table = Diary(), keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    keep = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.weights.h5"), save_weights_only=True)
    recipe = small_network.recipe(epochs=2)
    network = small_network.network(recipe)
    made = fit(recipe, network=network, callbacks=[diary, table, keep])
    assert diary.told == ["begin", "end"] and [batch for batch, *_ in diary.batches] == [*range(7), *range(7)]
    assert diary.params["epochs"] == 2 and diary.params["steps"] == 7
    for (epoch, logs), row in zip(diary.epochs, made.rows, strict=True):
        assert epoch == row.epoch - 1  # Keras counts from 0
        assert logs["loss"] == row.loss and logs["val_loss"] == row.val.log_loss
        assert logs["accuracy"] == row.train.accuracy and logs["val_accuracy"] == row.val.accuracy
    assert diary.batches[6][1:] == pytest.approx((made.rows[0].loss, made.rows[0].train.accuracy))
    assert (tmp_path / "log.csv").read_text().count("\n") == 3
    diary.model.load_weights(str(tmp_path / "1.weights.h5"))
    assert np.array_equal(predict_logits(network, HELD), made.logits[1])


def test_a_callback_can_stop_training():
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=0, min_delta=10.0)
    made = fit(callbacks=[stop])
    assert made.stopped == "a callback stopped it" and len(made.rows) == 2


def test_a_callback_can_stop_within_an_epoch():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 2

    made = fit(callbacks=[Stop()])
    assert made.stopped == "a callback stopped it" and (len(made.rows), made.steps) == (1, 3)


def test_a_callback_that_changes_the_rate_scales_the_rest_of_the_schedule():
    seen = []

    class Halve(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.optimizer.learning_rate = 0.5 * float(self.model.optimizer.learning_rate)

        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))

    recipe = small_network.recipe(epochs=3)
    made = fit(recipe, callbacks=[Halve()])
    rates = schedules.schedule_rates(recipe, 21) * np.repeat([1.0, 0.5, 0.5], 7)
    assert seen == pytest.approx(rates, rel=1e-6)
    assert [row.rate for row in made.rows] == pytest.approx(rates[6::7], rel=1e-6)


# ---------------------------------------------------------------- what a step moves


def test_a_step_that_leaves_a_block_is_an_error(monkeypatch):
    monkeypatch.setattr(TrainStep, "take_step", lambda self, *_: (1.0, np.zeros((16, 3), np.float32)))
    with pytest.raises(NoOpError, match="after one step nothing has moved in early, last, head"):
        fit()


def test_a_step_that_moves_what_is_frozen_is_an_error(monkeypatch):
    step = TrainStep.take_step

    def careless(self, *given):
        found = step(self, *given)
        kernel = next(v for v in self.network.model.non_trainable_weights if v.name == "kernel")
        kernel.assign_add(np.ones(kernel.shape, np.float32))
        return found

    monkeypatch.setattr(TrainStep, "take_step", careless)
    with pytest.raises(NoOpError, match="1 frozen weights have moved"):
        fit(small_network.recipe(strategy="norms"))


def test_gradual_unfreezing_frees_one_block_after_the_other(monkeypatch):
    recipe = small_network.recipe(gradual=True, epochs=6, patience=1)
    network, checked = small_network.network(recipe), []

    def watch(network, before, after, factors):
        checked.append(sorted({path.split("/")[0] for path, factor in factors.items() if factor > 0}))
        require_moved(network, before, after, factors)

    monkeypatch.setattr("headstart.finetuning.training.epoch_loop.require_moved", watch)
    made = fit(recipe, network=network, keep_epochs=True)
    moved = []
    for epoch in range(1, 4):
        now, before = made.weights(epoch), made.weights(epoch - 1)
        moved.append(
            [b.name for b in network.blocks if any((now[v.path] != before[v.path]).any() for v in b.variables)]
        )
    assert moved == [["head"], ["last", "head"], ["early", "last", "head"]]
    assert [len(one) for one in checked] == [1, 3, 4]  # in the first step of each phase; last has a norm too


def test_patience_waits_until_all_blocks_are_free(whole):
    recipe = small_network.recipe(gradual=True, epochs=12, patience=2, schedule="constant")
    made = fit(recipe, network=good(whole, recipe), feed=worse_from(1, small_network.Feed(X, Y, recipe)))
    assert made.best == 0 and len(made.rows) == 4 + 2  # all are free from epoch 5 on


def test_the_running_mean_is_what_counts():
    recipe = small_network.recipe(ema=0.9, epochs=3)
    network, raw = small_network.network(recipe), []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raw.append(network.get())

    made = fit(recipe, network=network, keep_epochs=True, callbacks=[Look()])
    plain = fit(small_network.recipe(epochs=3), keep_epochs=True)
    assert all(same(raw[epoch], plain.weights(epoch + 1)) for epoch in range(3))  # training itself goes on unaveraged
    kernel = next(path for path in raw[0] if path.endswith("kernel"))
    assert not np.allclose(made.weights(3)[kernel], raw[2][kernel], atol=1e-5)
    assert np.array_equal(predict_logits(network, HELD), made.logits[made.best])


def test_learnt_batch_norm_statistics_are_part_of_the_weights():
    recipe = small_network.recipe(batch_norm="train", epochs=2)
    network = small_network.network(recipe)
    made = fit(recipe, network=network, keep_epochs=True)
    mean = network.statistics[0].path
    assert not np.array_equal(made.weights(1)[mean], made.weights(0)[mean])
    network.set(made.weights(1))
    assert np.array_equal(predict_logits(network, HELD), made.logits[1])


def test_dropout_draws_by_the_seed_alone():
    recipe = small_network.recipe(dropout=0.5, epochs=2)
    network = small_network.network(recipe)
    first = network.get()
    made = fit(recipe, network=network)
    network.set(first)
    again = fit(recipe, network=network)  # the draws of the first training are forgotten
    assert np.array_equal(again.logits, made.logits)


# ---------------------------------------------------------------- the rate, memory, time


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_rate_0_has_a_good_one_found_and_said(optimiser):
    recipe = small_network.recipe(rate=0.0, optimiser=optimiser)
    network = small_network.network(recipe)
    first = network.get()
    found = fit(recipe, network=network)
    words = found.notes[0].split()
    assert words[:2] == ["learning", "rate"] and words[3:] == "found by a rising-rate test of up to 60 steps".split()  # noqa: SIM905
    rates = schedules.schedule_rates(recipe, 8 * 7, float(words[2]))
    assert [row.rate for row in found.rows] == pytest.approx(rates[6::7][: len(found.rows)], rel=0.06)
    assert 1e-4 < float(words[2]) < 1 and min(row.val.log_loss for row in found.rows) < 0.5
    network.set(first)
    assert np.array_equal(fit(recipe, network=network).logits, found.logits)  # nothing else is left of the test


@pytest.mark.parametrize(
    "how", [{}, {"optimiser": "sgd", "label_smoothing": 0.1, "focal": 2.0, "clip": 0.1, "ema": 0.9}]
)
def test_a_batch_in_parts_takes_the_steps_of_the_whole(monkeypatch, how):
    recipe, weight = small_network.recipe(epochs=2, batch=15, **how), np.array([1.0, 2.0, 0.5])
    whole = fit(recipe, class_weight=weight)
    network = small_network.network(recipe)
    monkeypatch.setattr(memory, "count_available_bytes", lambda: int(memory.step_bytes(network.model, 5) / 0.8))
    parts = fit(recipe, network=network, class_weight=weight)  # of 4, 4, 4 and 3 pictures
    assert parts.notes[0].startswith("15 pictures a step go through in parts of 4: at once they need about ")
    assert parts.steps == whole.steps and [r.rate for r in parts.rows] == [r.rate for r in whole.rows]
    assert np.abs(parts.logits - whole.logits).max() < 1e-4 < np.abs(whole.logits[2] - whole.logits[0]).max()
    assert [row.loss for row in parts.rows] == pytest.approx([row.loss for row in whole.rows], rel=1e-4)
    assert [row.train.accuracy for row in parts.rows] == [row.train.accuracy for row in whole.rows]


def test_callbacks_see_the_rate_of_a_batch_in_parts(monkeypatch):
    monkeypatch.setattr(memory, "count_parts", lambda *_: (2, ""))
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))
            self.model.optimizer.learning_rate = 0.5 * seen[-1]

    recipe = small_network.recipe(epochs=2)
    fit(recipe, callbacks=[Look()])
    assert seen == pytest.approx(schedules.schedule_rates(recipe, 14)[6::7] * [1, 0.5], rel=1e-6)


def test_a_batch_is_cut_when_memory_runs_out_in_training(monkeypatch):
    class ResourceExhaustedError(Exception):
        pass

    part, done = TrainStep._train_part, []

    def full(self, inputs, soft):
        if len(soft) > 4 and len(done) > 8:
            raise ResourceExhaustedError("OOM when allocating a tensor")
        done.append(len(soft))
        return part(self, inputs, soft)

    recipe = small_network.recipe(epochs=2)
    monkeypatch.setattr(TrainStep, "_train_part", full)
    err = io.StringIO()
    made = fit(recipe, console=Console(err=err))
    monkeypatch.undo()
    assert made.notes == ("16 pictures a step go through in parts of 4: memory ran out in training",)
    assert "warning: final: 16 pictures a step go through in parts of 8" in err.getvalue()
    monkeypatch.setattr(memory, "count_parts", lambda *_: (4, ""))
    assert made.steps == 14 and np.array_equal(fit(recipe).logits, made.logits)  # nothing is left of the first attempts


def test_a_picture_that_does_not_fit_is_an_error(monkeypatch):
    def full(self, *_):
        raise MemoryError

    monkeypatch.setattr(TrainStep, "take_step", full)
    with pytest.raises(SetupError, match="one picture at a time does not fit into memory"):
        fit()


def test_a_feed_that_is_slower_than_a_step_shows_in_the_profile(monkeypatch):
    """Slower by a factor, for on a busy machine no step has a time of its own."""
    step, took = TrainStep.take_step, []

    def timed(self, *given):
        began = time.perf_counter()
        found = step(self, *given)
        took.append(time.perf_counter() - began)
        return found

    monkeypatch.setattr(TrainStep, "take_step", timed)
    recipe = small_network.recipe(epochs=2)
    feed = small_network.Feed(
        X, Y, recipe, each=lambda _: time.sleep(min(1, max(0.03, 0, *(5 * one for one in took[1:]))))
    )
    made = fit(recipe, feed=feed, held=None)
    assert made.profile.share < 0.4 and made.profile.wait_s > 0.15


def test_a_feed_that_is_as_fast_as_a_step_costs_nothing(monkeypatch):
    step = TrainStep.take_step

    def slow(self, *given):
        time.sleep(0.06)
        return step(self, *given)

    monkeypatch.setattr(TrainStep, "take_step", slow)
    recipe = small_network.recipe(epochs=2)
    made = fit(recipe, feed=small_network.Feed(X, Y, recipe, each=lambda _: time.sleep(0.04)), held=None)
    assert made.profile.share > 0.8


def test_measuring_changes_nothing():
    recipe = small_network.recipe(batch_norm="train", dropout=0.2)
    network = small_network.network(recipe)
    first = network.get(frozen=True)
    seconds = trainer.measure_step_s(network, recipe, small_network.Feed(X, Y, recipe))
    assert seconds > 0 and same(network.get(frozen=True), first)
    given = {"stop_after": 1}
    assert np.array_equal(fit(recipe, network=network, **given).logits, fit(recipe, **given).logits)


def test_a_slow_feed_is_part_of_the_measure():
    recipe = small_network.recipe()
    feed = small_network.Feed(X, Y, recipe, each=lambda _: time.sleep(0.2))
    assert trainer.measure_step_s(small_network.network(recipe), recipe, feed, steps=1) >= 0.2
