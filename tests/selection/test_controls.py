"""The control with random weights: of the chosen backbone alone, and only where the budget has time for its pass."""

import io
from functools import cached_property
from types import SimpleNamespace

import pytest

import judged_sets
from headstart.api.fit_steps import FitSteps
from headstart.core.console import Console

LITES = tuple(f"bundled:efficientnet_lite{size}" for size in range(3))


class Ranked(FitSteps):
    """A fit whose ranking has chosen the second of three backbones; the passes that it asks for are listed."""

    def __init__(self, ctx):
        super().__init__(ctx)
        self.passes = []

    @cached_property
    def data(self):
        return judged_sets.dataset(900)

    @cached_property
    def splits(self):
        return judged_sets.splits(self.data)

    @cached_property
    def comparison(self):
        return SimpleNamespace(chosen=f"{LITES[1]}@stage5")

    def _extract_features(self, backbone, rows, precision="f32"):
        self.passes.append((backbone, len(rows)))
        return backbone


@pytest.fixture
def ranked(context, tmp_path):
    def make(**settings):
        ctx = context(**settings)
        ctx.console = Console(err=io.StringIO())
        return Ranked(ctx)

    return make


def test_only_the_chosen_backbone_has_a_control(ranked):
    steps = ranked(budget="1h", backbones=LITES)
    assert steps.controls == (f"random:{LITES[1]}",)
    assert steps.passes == [(f"random:{LITES[1]}", 112)], "a sixth of 675 training pictures"


def test_a_control_that_the_budget_has_no_time_for_is_left_out_and_a_resumed_run_decides_alike(ranked):
    steps = ranked(budget="0.001s", backbones=LITES)
    assert steps.controls == () and steps.passes == []
    said = steps.ctx.console.err.getvalue()
    assert f"random:{LITES[1]} is left out: its pass takes about" in said and "which the budget does not have" in said
    assert ranked(budget="1h", backbones=LITES).controls == ()
    assert ranked(budget="1h", backbones=LITES, name="other").controls != ()
