"""How long the same network from random weights trains, and what Ctrl-C leaves of the end of a fine-tuning."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from headstart.core.recipe import Recipe
from headstart.finetuning import final_training, fine_tune, random_init_control
from headstart.finetuning.search.recipe_search import BASELINE, TRAINING

TUNED = SimpleNamespace(flops=4e9, epochs=2, recipe=Recipe(epochs=10, backbone="made:net"))


class Price:
    """One epoch of the recipe takes 2 GFLOP, of the whole network 1 GFLOP; a second does `guess` until measured."""

    def __init__(self, guess=1e9, measured=1e9):
        self.guess, self.measured, self.learnt = guess, measured, False

    def recall_pace(self, recipe):
        pass

    def epoch_flops(self, recipe):
        return 1e9 if recipe.strategy == "scratch" else 2e9

    def flops_per_s(self, recipe):
        return self.measured if self.learnt else self.guess

    def measure_pace(self, training, places=()):
        self.learnt = True


@pytest.fixture
def ending(monkeypatch):
    """A function that runs the control: `ending(left_s=…)`; what it trained for is in `epochs`."""

    def end(left_s=math.inf, explicit=False, stops=False, **price):
        seen = SimpleNamespace(epochs=None, said=[], left_out=[], interrupted=[])

        def from_random(setup, tuned, epochs, positions):
            seen.epochs = epochs
            if stops:
                raise KeyboardInterrupt
            return "network", "log"

        monkeypatch.setattr(final_training, "train_from_random", from_random)
        setup = SimpleNamespace(
            cost=Price(**price),
            recipe_space=SimpleNamespace(is_given=explicit),
            left_out=seen.left_out,
            training_set=SimpleNamespace(positions=np.arange(4), splits=SimpleNamespace(test=[1], val=[])),
            prepare=lambda recipe, positions: None,
            ctx=SimpleNamespace(
                record_decision=lambda name, make, why: make(),
                console=SimpleNamespace(print_line=lambda *said: seen.said.append(said)),
            ),
        )
        search = SimpleNamespace(
            budget=SimpleNamespace(left_s=lambda until: left_s),
            is_stopped=lambda during: False,
            interrupted=stops,
            interrupt=seen.interrupted.append,
        )
        seen.result = random_init_control.train_random_init_control(setup, search, TUNED)
        return seen

    return end


def test_it_trains_for_as_many_operations_as_all_epochs_of_the_recipe(ending):
    found = ending(explicit=True)
    assert found.epochs == 20  # 2 epochs took 4 GFLOP, the 8 that were not needed 16 more
    assert found.result == ("network", ["log"])


@pytest.mark.parametrize(("left_s", "epochs"), [(100, 20), (9, 9), (4, 4), (3.9, None)])
def test_a_short_time_gives_fewer_but_never_less_than_the_tuned_network_had(ending, left_s, epochs):
    found = ending(left_s=left_s)
    assert found.epochs == epochs
    assert bool(found.left_out) == (epochs is None)


def test_its_pace_is_measured_before_it_begins(ending):
    assert ending(left_s=100, guess=1e9, measured=1e8).epochs == 10
    refused = ending(left_s=30, guess=1e9, measured=1e8)
    assert refused.epochs is None
    assert refused.left_out == ["the same network from random weights: it takes at least 40 s"]
    assert "20 epochs, about 20 s" in ending(left_s=100).said[0][1]


def test_ctrl_c_in_it_leaves_it_out_and_says_so(ending):
    found = ending(explicit=True, stops=True)
    assert found.interrupted == [BASELINE]
    assert found.result == (None, [])
    assert found.left_out == ["the same network from random weights: interrupted"]


def test_ctrl_c_while_the_final_network_is_written_keeps_it(monkeypatch):
    made, calls, interrupted = SimpleNamespace(logs=("log",)), [], []

    def handed_over(setup, final):
        calls.append(final)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return "whole"

    monkeypatch.setattr(final_training, "train_final_network", lambda setup, order: made)
    monkeypatch.setattr(final_training, "save_final_network", handed_over)
    search = SimpleNamespace(is_stopped=lambda during: False, interrupt=interrupted.append)
    assert fine_tune._train_network(None, search, ["chosen"]) == ("whole", ["log"])
    assert interrupted == [BASELINE]


def test_ctrl_c_in_the_final_training_hands_over_the_first_fold(monkeypatch):
    def final(setup, order):
        raise KeyboardInterrupt

    monkeypatch.setattr(final_training, "train_final_network", final)
    monkeypatch.setattr(final_training, "save_first_fold", lambda setup, attempt: f"first fold of {attempt}")
    interrupted = []
    search = SimpleNamespace(is_stopped=lambda during: False, interrupt=interrupted.append)
    assert fine_tune._train_network(None, search, ["chosen"]) == ("first fold of chosen", [])
    assert interrupted == [TRAINING]
