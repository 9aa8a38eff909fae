from dataclasses import replace

import numpy as np
import pytest

from headstart.backbones import loading
from headstart.selection.forecast import history, log_odds, prior
from run_records import PUBLISHED, record

LITE0 = loading.find("bundled:efficientnet_lite0").spec
SPECS = [replace(LITE0, name=f"x:{name}", prior=value) for name, value in PUBLISHED.items()]


def runs(count, shift, seed=0):
    """Records in which each backbone does as its figure promises, `shift` log-odds apart, on easy and hard sets."""
    draw = np.random.default_rng(seed)
    found = []
    for number in range(count):
        level = draw.normal(1.0, 0.8)
        probes = {
            name: log_odds.back(level + log_odds.log_odds(value) - prior.CENTRE + shift.get(name, 0.0), 0.25)
            for name, value in PUBLISHED.items()
        }
        found.append(record(number, probes=probes, counts=(250,) * 4))
    return found


def test_without_any_run_it_is_the_published_figure():
    for spec, one in zip(SPECS, prior.expected(SPECS).values(), strict=True):
        assert one.value == pytest.approx(spec.prior)
        assert 0 < one.low < one.value < one.high < 1
        assert (one.runs, one.why) == (0, f"published top-1 {spec.prior:.3f}")


def test_a_backbone_that_does_better_in_ones_own_runs_stands_higher():
    few, many = (prior.expected(SPECS, runs(count, {"b": 1.0})) for count in (2, 12))
    first = prior.expected(SPECS)
    assert first["x:b"].value < few["x:b"].value < many["x:b"].value
    assert max(many.values(), key=lambda one: one.value).name == "x:b"  # of the second lowest figure
    assert many["x:b"].why.startswith("published top-1 0.750; 12 of your runs put it ")
    assert many["x:b"].why.endswith(" points above that")
    assert prior.expected(SPECS, runs(1, {"b": -1.0}))["x:b"].why.endswith(" points below that")


def test_how_easy_the_pictures_are_says_nothing_of_the_backbones():
    for level in (-0.5, 3.0):  # sets that were all hard or all easy, each measured with one backbone alone
        seen = [record(number, probes={"b": log_odds.back(level, 0.25)}, counts=(250,) * 4) for number in range(20)]
        assert prior.expected(SPECS, seen)["x:b"].value == pytest.approx(0.75, abs=0.01)


def test_runs_as_the_figures_promise_leave_the_figures_and_narrow_the_intervals():
    first = prior.expected(SPECS)
    for name, one in prior.expected(SPECS, runs(8, {})).items():
        assert one.value == pytest.approx(PUBLISHED[name[2:]], abs=0.02)
        assert one.high - one.low < first[name].high - first[name].low


def test_a_run_that_changes_nothing_is_told_as_that():
    few = [replace(one, backbones=one.backbones[:1]) for one in runs(2, {})]  # nothing to compare it with in its set
    [told] = prior.expected(SPECS[:1], few).values()
    assert told.value == pytest.approx(SPECS[0].prior, abs=5e-4)
    assert told.why.endswith("; 2 of your runs bear that out")


def test_figures_that_do_not_transfer_here_count_less():
    """Where the published order is turned round, own runs win in the end."""
    turned = {name: -2 * (log_odds.log_odds(value) - prior.CENTRE) for name, value in PUBLISHED.items()}
    found = prior.expected(SPECS, runs(30, turned))
    assert found["x:a"].value - found["x:d"].value > PUBLISHED["a"] - PUBLISHED["d"]


def test_what_has_no_figure_is_wide_and_learns_fast():
    guess = replace(LITE0, name="x:b", prior=0.75, prior_source="a guess: nothing is published")
    mine = replace(LITE0, name="saved_file:mine", prior=0.5, prior_source=guess.prior_source)
    known = replace(LITE0, name="x:c", prior=0.75)
    found = prior.expected([guess, mine, known])
    assert found["x:b"].high - found["x:b"].low > 1.5 * (found["x:c"].high - found["x:c"].low)
    assert found["saved_file:mine"].value == pytest.approx(log_odds.share(prior.CENTRE + prior.UNKNOWN * prior.SPREAD))
    assert found["saved_file:mine"].value < LITE0.prior  # until it has shown more, the weakest published one is above
    assert found["saved_file:mine"].why == "nothing is published of it here"
    assert np.isnan(found["saved_file:mine"].merit)
    assert found["x:c"].merit == found["x:c"].value
    assert prior.best([found["saved_file:mine"], found["x:c"]]) == found["x:c"].value
    assert prior.best([found["saved_file:mine"]]) == found["saved_file:mine"].value
    assert found["x:b"].why == "guessed top-1 0.750"
    card = replace(mine, name="huggingface:some", prior=0.8, prior_source="ImageNet-1k accuracy by the card")
    assert prior.expected([card])["huggingface:some"].value == pytest.approx(0.8)
    [one] = runs(1, {"b": 0.8})
    unsure = [replace(each, published=each.key != "x:b") for each in one.backbones]
    guessed = prior.expected([guess], [replace(one, backbones=tuple(unsure))])["x:b"]
    published = prior.expected([SPECS[1]], [one])["x:b"]
    assert guessed.value > published.value + 0.01


def test_a_run_goes_on_with_what_it_knew_when_it_first_asked(context, tmp_path, store, monkeypatch):
    monkeypatch.setenv("HEADSTART_HISTORY", "on")
    ctx = context(store=store)
    for one in runs(5, {"b": 1.0}):
        history.keep(one, store)
    first = prior.of_run(SPECS, ctx, pictures="p")
    for one in runs(9, {"b": -1.0}, seed=3)[5:]:
        history.keep(one, store)
    again = context(store=store)
    assert prior.of_run(SPECS[:2], again, pictures="p") == {name: first[name] for name in ("x:a", "x:b")}
    fresh = prior.of_run(SPECS, context(store=store, name="other"), pictures="p")
    assert fresh["x:b"].value < first["x:b"].value


def test_more_runs_on_the_same_pictures_tell_no_more_of_other_pictures():
    """The scatter of a backbone on one set of pictures is not averaged away by looking at that set again."""

    def again(count):
        more = {"probes": {"b": 0.90, "c": 0.95}, "counts": (250,) * 4, "pictures_digest": "p"}
        return [record(number, **more) for number in range(count)]

    once, often = (prior.expected(SPECS, again(count)) for count in (1, 100))
    for name, one in often.items():
        assert (one.value, one.low, one.high) == pytest.approx((once[name].value, once[name].low, once[name].high))
    assert often["x:c"].runs == 100
    elsewhere = [replace(one, pictures_digest=one.address) for one in again(100)]
    assert prior.expected(SPECS, elsewhere)["x:c"].value > often["x:c"].value + 0.005


def test_where_all_pictures_were_probed_a_probe_of_a_few_adds_nothing():
    one = {"pictures_digest": "p", "counts": (250,) * 4}
    whole = [record(0, probes={"b": 0.90, "c": 0.95}, **one), record(1, probes={"a": 0.9}, **one)]
    screened = record(2, probes={"b": 0.99, "c": 0.5}, split="screen", **one)
    alone, beside = prior.expected(SPECS, whole), prior.expected(SPECS, [*whole, screened])
    assert {name: found.value for name, found in beside.items()} == {name: found.value for name, found in alone.items()}
    assert beside["x:b"].runs == 2
    assert prior.expected(SPECS, [screened])["x:b"].value > 0.75


def test_runs_on_these_very_pictures_choose_nothing_for_them(context, store, monkeypatch):
    """They learnt from pictures that another seed draws to judge."""
    monkeypatch.setenv("HEADSTART_HISTORY", "on")
    others = runs(3, {"b": 1.0})
    for one in others:
        history.keep(one, store)
    for number in range(7, 10):
        history.keep(record(number, probes={"a": 0.99, "d": 0.3}, pictures_digest="p"), store)
    found = prior.of_run(SPECS, context(store=store), pictures="p")
    assert found == prior.expected(SPECS, others)
    assert prior.of_run(SPECS, context(store=store, name="new"), pictures="q")["x:d"].value < found["x:d"].value
