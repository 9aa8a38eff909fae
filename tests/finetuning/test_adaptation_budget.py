"""Which trunks are adapted to another domain is decided by the time left, once a run; nothing is trained here."""

import dataclasses
import time
from types import SimpleNamespace

import numpy as np
import pytest

import tuned_samples
from command_line import LITE0
from headstart.core.errors import DataError
from headstart.core.storage import serialization
from headstart.core.types import Feature
from headstart.finetuning.domain import adabn, candidate_features
from headstart.finetuning.domain.network_candidates import make_network_candidates

SPLITS = SimpleNamespace(train=np.arange(80))
TARGET = SimpleNamespace(pictures=SimpleNamespace(uris=("",) * 90))
LEVEL = Feature(backbone=LITE0, depth="stage4", dim=112)
PROBE = SimpleNamespace(strategy="probe", features=(LEVEL,), tuning=None)
RESERVE_S = 80.0
MEASURING_TOO_S, MAKING_S = 50.0, 30.0  # enough for statistics and a trunk; for a trunk of which they are known


@pytest.fixture
def adapt(context, store, monkeypatch):
    """A function that gives the methods which a run adapts with some seconds left, and the lines that it prints."""

    def make(left_s, *, cost_s=0.0, adapted=PROBE, name="run", **settings):
        methods, lines = [], []
        settings = {"unlabeled": "y", "budget": "1000", "strategy": "auto", **settings}
        console = SimpleNamespace(
            print_line=lambda _, line: lines.append(line), print_warning=lambda line: lines.append(f"warning: {line}")
        )
        ctx = dataclasses.replace(context(store=store, name=name, **settings), console=console)
        ctx.started = time.monotonic() - 1000.0 + RESERVE_S + left_s

        def pretend(method, last, data, splits, embeddings, target, adapted, measure, *, ctx):
            measure()
            methods.append(method)
            ctx.started -= cost_s
            network = SimpleNamespace(spec=SimpleNamespace(name=method))
            return SimpleNamespace(network=network, target_x=(), seconds=cost_s)

        monkeypatch.setattr(adabn, "make_adabn_candidate", pretend)
        monkeypatch.setattr(adabn, "measure_trunk", lambda *values, ctx: None)
        make_network_candidates(None, SPLITS, (), TARGET, (), adapted, ctx=ctx)
        return methods, lines

    return make


def test_what_has_no_room_is_left_out_with_its_line_and_a_resumed_run_decides_the_same(adapt):
    methods, lines = adapt(0.0)
    assert methods == []
    assert [line.partition(" it takes about ")[0] for line in lines] == ["adabn: left out:", "adabn_lower: left out:"]
    assert all(line.endswith(", and the budget has no room for it") for line in lines)
    assert adapt(9999.0)[0] == []


def test_what_had_room_is_adapted_by_a_resumed_run_whatever_time_is_left(adapt):
    assert adapt(9999.0)[0] == ["adabn", "adabn_lower"]
    assert adapt(-9999.0)[0] == ["adabn", "adabn_lower"]


def test_statistics_that_are_measured_count_once(adapt):
    assert adapt(MEASURING_TOO_S, cost_s=MEASURING_TOO_S - MAKING_S)[0] == ["adabn", "adabn_lower"]
    assert adapt(MAKING_S, adaptation="adabn_lower", name="lower")[0] == []


def test_with_a_given_recipe_no_clock_has_a_say(adapt):
    assert adapt(-9999.0, strategy="finetune", recipe="epochs=1")[0] == ["adabn", "adabn_lower"]


def test_a_named_method_that_cannot_be_done_is_told(adapt):
    first = SimpleNamespace(**vars(PROBE) | {"features": (dataclasses.replace(LEVEL, depth="stage3"),)})
    methods, lines = adapt(9999.0, adapted=first, adaptation="adabn_lower")
    assert methods == [] and lines == ["warning: adabn_lower: left out: the head reads the trunk's first level alone"]
    trained = SimpleNamespace(**vars(PROBE) | {"strategy": "finetune"})
    methods, (line,) = adapt(9999.0, adapted=trained)
    assert (
        methods == []
        and "the network has learnt all labelled pictures, so that none could judge other batch norms" in line
    )
    assert adapt(9999.0, adapted=trained, adaptation="coral") == ([], [])


def test_a_head_that_a_network_has_already_is_not_written_again(context):
    """There is no file here, so that reading one would fail."""
    ctx, network = context(), tuned_samples.network()
    network = dataclasses.replace(
        network, file="adapt/adabn.keras", spec=dataclasses.replace(network.spec, name="adabn:x")
    )
    serialization.save_value(network, ctx.make_step_folder("domains"), "adabn")
    same = dataclasses.replace(
        network.fitted, arrays={name: array.copy() for name, array in network.fitted.arrays.items()}
    )
    assert candidate_features.write_head(network, same, ctx=ctx).fitted is same
    other = dataclasses.replace(same, arrays={name: array + 1 for name, array in same.arrays.items()})
    with pytest.raises(DataError, match="adabn.keras"):
        candidate_features.write_head(network, other, ctx=ctx)
