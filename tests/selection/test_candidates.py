"""Limits leave candidates out with their numbers; a named one that breaks a limit contradicts the request."""

import dataclasses
import io
import json

import numpy as np
import pytest

import judged_sets
from headstart.api.fit_steps import FitSteps
from headstart.api.run_forecast import foresee_passes
from headstart.backbones import latency, loading
from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.core.settings import count_threads
from headstart.core.storage.cache import Store
from headstart.core.storage.row_cache import RowStore, parse_keys
from headstart.core.types import Feature
from headstart.data.reading.read_dataset import read_dataset as read
from headstart.features import extraction_time, feature_cache
from headstart.features.feature_cache import cache_address
from headstart.networks import openvino_engine
from headstart.selection import candidates
from headstart.selection.probe import candidate_heads

LITE0, LITE1, LITE2, HED = (f"bundled:{name}" for name in (*(f"efficientnet_lite{n}" for n in range(3)), "vgg16_hed"))


@pytest.fixture
def warm(tmp_path, shared_store):
    """A cache with the shared weights and trunks, and no paces."""
    root = tmp_path / "cache"
    root.mkdir()
    for kind in ("weights", "trunks", "wheels"):
        (root / kind).symlink_to(shared_store.root / kind, target_is_directory=True)
    return Store(root)


@pytest.fixture
def asked(context, warm):
    """A function that makes a context whose words are kept: `asked(max_size="20MB").said`."""

    def make(**settings):
        ctx = context(**{"store": warm, **settings})
        ctx.console = Console(err=io.StringIO())
        return ctx

    return make


@pytest.fixture
def data():
    return judged_sets.dataset(1000)


def times(store, **ms):
    """Write down latencies, and paces of 1,000 / ms pictures a second, as if they had been measured."""
    for preset, taken in ms.items():
        spec = loading.find_backbone(preset).spec
        key = latency.latency_key(spec, threads=count_threads(), engine=openvino_engine.engine_name())
        content = json.dumps({"images_per_s": 1000 / taken, "latency_ms": taken})
        store.make_entry("paces", key, lambda draft, content=content: (draft / "pace.json").write_text(content))


EVERY = {"efficientnet_lite0": 3.0, "efficientnet_lite1": 4.0, "efficientnet_lite2": 6.0, "vgg16_hed": 80.0}


def test_size_leaves_out_and_says_the_number(asked, data):
    ctx = asked(max_size="18MB", budget="3h")
    assert candidates.choose_candidates(data, ctx=ctx) == (LITE0, LITE1)
    said = ctx.console.err.getvalue()
    assert f"{LITE2} is left out: 19.5 MB of weights, --max-size 18MB" in said
    assert f"{HED} is left out: 58.9 MB of weights, --max-size 18MB" in said
    assert set(ctx.run.find_decision("limits")) == {LITE2, HED}


def test_latency_is_looked_up_decided_and_the_same_on_a_resumed_run(asked, data, warm):
    times(warm, **EVERY)
    ctx = asked(max_latency="5ms", backbones=("auto",))
    assert candidates.choose_candidates(data, ctx=ctx) == (LITE0, LITE1)
    assert f"{LITE2} is left out: 6 ms for one picture, --max-latency 5ms" in ctx.console.err.getvalue()
    assert ctx.run.find_decision("latency_ms") == {LITE0: 3.0, LITE1: 4.0}
    for entry in (warm.root / "paces").iterdir():  # measured anew, the machine would now be too slow
        (entry / "pace.json").write_text("{}")
    times(warm, **{name: 10 * ms for name, ms in EVERY.items()})
    assert candidates.choose_candidates(data, ctx=asked(max_latency="5ms")) == (LITE0, LITE1)


def test_licence_bars_what_is_not_permissive(asked, data, monkeypatch):
    monkeypatch.setattr("headstart.selection.limits.is_permissive", lambda licence: licence != "MIT")
    ctx = asked(license="permissive", budget="3h")
    assert candidates.choose_candidates(data, ctx=ctx) == (LITE0, LITE1, LITE2)
    assert f"{HED} is left out: its licence `MIT` is not permissive" in ctx.console.err.getvalue()


def test_a_named_backbone_that_breaks_a_limit_is_an_error_before_anything_starts(context):
    job = context(backbones=(LITE0, "random:vgg16_hed"), max_size="20MB").job
    with pytest.raises(UsageError, match="`random:bundled:vgg16_hed` was named and breaks a limit: 58.9 MB"):
        for name in job.backbones:
            candidates.require_within_limits(loading.find_backbone(name), job, {})


def test_a_named_backbone_that_is_too_slow_is_an_error(asked, data, warm):
    times(warm, **EVERY)
    ctx = asked(max_latency="5ms", backbones=("auto", "efficientnet_lite2"))
    with pytest.raises(UsageError, match=r"lite2` was named and breaks a limit: 6 ms .* --max-latency 5ms"):
        candidates.choose_candidates(data, ctx=ctx)


def test_when_nothing_is_left_the_numbers_are_told(asked, data):
    with pytest.raises(UsageError, match=r"no backbone obeys the limits: bundled:efficientnet_lite0: 13.7 MB"):
        candidates.choose_candidates(data, ctx=asked(max_size="1MB"))


def test_when_none_is_quick_enough_all_numbers_are_told(asked, data, warm):
    times(warm, **EVERY)
    with pytest.raises(UsageError, match=r"lite0: 3 ms for one picture, --max-latency 1ms; .*lite1: 4 ms"):
        candidates.choose_candidates(data, ctx=asked(max_latency="1ms"))


def test_without_limits_nothing_is_decided_about_them(asked, data):
    ctx = asked(budget="3h")
    assert candidates.choose_candidates(data, ctx=ctx) == (LITE0, LITE1, LITE2)
    assert ctx.run.find_decision("limits") is None and ctx.run.find_decision("latency_ms") is None
    said = ctx.console.err.getvalue()
    assert f"{HED} is left out: 32 pictures through it cost 57% of all through {LITE2}, and its chance" in said
    assert f"3 backbones are looked at: {LITE0}, {LITE1}, {LITE2}" in said


def test_by_name_whatever_it_costs_is_taken(asked, data):
    names = (LITE0, HED)
    assert candidates.choose_candidates(data, ctx=asked(backbones=names, budget="2s")) == names
    beside = asked(backbones=("auto", "vgg16_hed"), budget="3h", name="beside")
    assert candidates.choose_candidates(data, ctx=beside) == (LITE0, LITE1, LITE2, HED)


def test_what_has_too_few_pictures_to_be_told_apart_is_the_best_by_prior_alone(asked):
    few = judged_sets.dataset(60)
    assert candidates.choose_candidates(few, ctx=asked(budget="3h")) == (LITE2,)
    training = asked(budget="3h", strategy="auto", name="training")
    assert candidates.choose_candidates(few, ctx=training) == (LITE0, LITE2), "and the cheapest to train"


def test_what_the_budget_has_no_room_for_is_no_candidate_and_a_resumed_run_keeps_its_list(asked, data, warm):
    times(warm, **EVERY)
    ctx = asked(budget="9s")
    assert candidates.choose_candidates(data, ctx=ctx) == (LITE0, LITE1)
    assert f"{LITE2} is left out: its pass does not fit the budget" in ctx.console.err.getvalue()
    assert candidates.choose_candidates(data, ctx=asked(budget="3h")) == (LITE0, LITE1)
    assert candidates.choose_candidates(data, ctx=asked(budget="3h", name="other")) == (LITE0, LITE1, LITE2)
    assert candidates.choose_candidates(data, ctx=asked(budget="0.1s", name="none")) == (LITE0,), "one there must be"


def test_the_most_promising_are_looked_at_and_no_more_than_eight(asked, data, monkeypatch):
    """As if the weights of all of Keras' networks were on this machine."""
    ctx = asked(budget="1000h")
    every = [
        one
        for one in map(loading.find_backbone, loading.list_backbones())
        if one.name.startswith(("bundled:", "keras_applications:"))
    ]
    monkeypatch.setattr(candidates, "list_available", lambda ctx: every)
    found = candidates.list_candidates(ctx, judged_sets.dataset(20_000))
    by_prior = sorted(every, key=lambda one: (-one.spec.prior, one.spec.flops))
    assert len(found) == 8 and by_prior[0].name in found
    assert HED not in found
    assert f"{len(every) - 11} more backbones are left out for their cost" in ctx.console.err.getvalue()
    assert len(candidates.list_candidates(asked())) == len(every), "without pictures all are listed"


def test_the_estimate_rests_on_the_measured_pace_where_there_is_one(asked, warm, data):
    ctx, chosen = asked(), {LITE0: 1000, HED: 1000}
    many = dataclasses.replace(data, digests=tuple(f"{number:064x}" for number in range(1000)))
    guessed = extraction_time.estimate_extraction(chosen, many, ctx)
    assert "90 GFLOP/s" in guessed.assumptions[0] and "measured" not in guessed.assumptions[0]
    times(warm, vgg16_hed=80.0)
    mixed = extraction_time.estimate_extraction(chosen, many, ctx)
    assert "the pace of 1 of 2 backbones as measured on this machine, the others at 90" in mixed.assumptions[0]
    times(warm, efficientnet_lite0=3.0)
    measured = extraction_time.estimate_extraction(chosen, many, ctx)
    assert "GFLOP" not in measured.assumptions[0]
    assert measured.seconds == pytest.approx(83 + 2 * 1000 / (extraction_time.DECODE_PER_S * count_threads()))


def keep(store, backbone, digests):
    """Put vectors into the cache, as if pictures had gone through a backbone."""
    found = loading.find_backbone(backbone)
    key = feature_cache.make_embed_key(found, found.spec.input)
    widths = {depth.name: depth.dim for depth in key.depths}
    vectors = {name: np.zeros((len(digests), width), np.float32) for name, width in widths.items()}
    RowStore(store.root / cache_address(key), widths).add_rows(parse_keys(list(digests)), vectors)


def test_pictures_whose_vectors_are_in_the_cache_take_no_time_and_change_no_choice(asked, data, warm):
    times(warm, **EVERY)
    keep(warm, HED, data.digests)
    keep(warm, LITE2, data.digests)
    assert candidates.choose_candidates(data, ctx=asked(budget="9s")) == (LITE0, LITE1, LITE2)
    keep(warm, LITE0, data.digests[:900])
    assert extraction_time.count_missing_rows(data, (LITE0, LITE1, HED), warm) == {LITE0: 100, LITE1: 1000, HED: 0}
    assert extraction_time.count_missing_rows(data, (LITE0,), warm, np.arange(890, 910)) == {LITE0: 10}


def test_a_plan_counts_looks_and_one_pass_of_all_pictures(asked, data, warm):
    names = (LITE0, LITE1, LITE2)
    story, named = FitSteps(asked(budget="3h")), FitSteps(asked(backbones=(LITE0, HED), name="named"))
    story.pictures = named.pictures = data
    assert foresee_passes(story, names) == {LITE0: 128, LITE1: 128, LITE2: 1000}
    assert foresee_passes(named, (LITE0, HED)) == {LITE0: 1000, HED: 1000}
    keep(warm, LITE1, data.digests)
    assert foresee_passes(story, names) == {LITE0: 128, LITE1: 0, LITE2: 1000}


@pytest.mark.medium
def test_an_unknown_latency_is_measured_before_anything_is_embedded(asked, small_textile, context, store, warm):
    folder = small_textile(8)
    data = read(folder, ctx=context(data=folder, store=store, name="reading"))
    ctx = asked(max_latency="10s", backbones=(LITE0,))
    assert candidates.choose_candidates(data, ctx=ctx) == (LITE0,)
    assert 0.1 < ctx.run.find_decision("latency_ms")[LITE0] < 10_000
    assert (
        latency.read_latency_ms(loading.find_backbone(LITE0).spec, warm) == ctx.run.find_decision("latency_ms")[LITE0]
    )
    tight = asked(max_latency="0.001ms", backbones=(LITE0,), name="tight")
    with pytest.raises(UsageError, match="was named and breaks a limit"):
        candidates.choose_candidates(data, ctx=tight)


class Seen:
    """As much of embeddings as a plan looks at."""

    def __init__(self, name):
        self.spec = loading.find_backbone(name).spec


def test_trunks_that_would_answer_together_obey_the_limits_too(asked):
    one, other, deep = (
        Feature(backbone=name, depth=depth, dim=80)
        for name, depth in ((LITE0, "stage3"), (LITE1, "stage3"), (LITE0, "last"))
    )
    listed, seen = [(one, deep), (one, other)], (Seen(LITE0), Seen(LITE1))
    ctx = asked(max_size="20MB")
    assert candidate_heads.filter_by_limits(listed, seen, ctx) == [(one, deep)]
    assert "is not tried together: 30.4 MB of weights, --max-size 20MB" in ctx.console.err.getvalue()
    assert candidate_heads.filter_by_limits(listed, seen, asked(max_size="31MB")) == listed
    slow = asked(max_latency="6ms", name="slow")
    slow.record_decision("latency_ms", lambda: {LITE0: 3.0, LITE1: 4.0})
    assert candidate_heads.filter_by_limits(listed, seen, slow) == [(one, deep)]
    assert "7 ms for one picture" in slow.console.err.getvalue()
