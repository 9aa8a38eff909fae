"""The rule of choice: what it always keeps, never exceeds, and that the order of what comes in does not matter."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.selection import successive_halving
from headstart.selection.successive_halving import Option
from headstart.statistics.paired_selection import CandidateLosses, paired_difference

NUMBERS = st.floats(0, 100)
EXPECTED = st.one_of(st.sampled_from([0.5, 0.7, math.nan]), st.floats(0, 1))
OPTIONS = st.lists(st.tuples(EXPECTED, NUMBERS), min_size=1, max_size=14).map(
    lambda found: [Option(name=f"made:{at}", expected=e, cost=c) for at, (e, c) in enumerate(found)]
)


def option(name, expected=0.7, cost=1.0):
    return Option(name=name, expected=expected, cost=cost)


def cost(options, names):
    return sum(one.cost for one in options if one.name in names)


def promise(one):
    return -math.inf if math.isnan(one.expected) else one.expected


# ---------------------------------------------------------------- shortlist


@given(OPTIONS, st.floats(0, 300), st.integers(1, 5), st.integers(5, 9), st.randoms())
def test_a_shortlist_keeps_to_room_and_length_and_is_the_same_in_any_order(options, room, fewest, most, random):
    found = successive_halving.make_shortlist(options, room, fewest=fewest, most=most)
    assert 1 <= len(found) <= most and len(set(found)) == len(found)
    assert cost(options, found) <= room * (1 + 1e-12) or len(found) == 1
    cheap = sorted(one.cost for one in options)
    fits = max((n for n in range(len(cheap) + 1) if math.fsum(cheap[:n]) <= room), default=0)
    assert len(found) >= min(fewest, fits)
    assert min(options, key=lambda one: one.cost).cost == min(one.cost for one in options if one.name in found)
    shuffled = random.sample(options, len(options))
    assert successive_halving.make_shortlist(shuffled, room, fewest=fewest, most=most) == found


@given(OPTIONS)
def test_with_room_for_all_the_most_promising_are_taken_and_the_cheapest(options):
    found = successive_halving.make_shortlist(options)
    by_prior = sorted(options, key=lambda one: (-promise(one), one.cost, one.name))
    assert len(found) == min(8, len(options))
    assert {one.name for one in by_prior[:7]} <= set(found)
    assert successive_halving.best_by_prior(options) == found[0] == by_prior[0].name


@given(OPTIONS, st.floats(0, 300), st.data())
def test_what_must_be_taken_is_whatever_it_costs(options, room, data):
    must = data.draw(st.sets(st.sampled_from([one.name for one in options])))
    found = successive_halving.make_shortlist(options, room, required=must)
    assert must <= set(found)
    if set(found) - must and must:
        assert cost(options, found) <= room * (1 + 1e-12)


def test_a_dear_backbone_does_not_stand_for_all():
    cheap = [option(f"cheap{at}", expected=0.6 + at / 100, cost=10) for at in range(6)]
    options = [option("dear", expected=0.9, cost=75), *cheap]
    assert successive_halving.make_shortlist(options, 100) == (
        "cheap5",
        "cheap4",
        "cheap3",
        "cheap2",
        "cheap1",
        "cheap0",
    )
    assert successive_halving.make_shortlist(options, 105) == ("dear", "cheap5", "cheap4", "cheap3")
    assert successive_halving.make_shortlist(options, 24) == ("cheap5", "cheap4")
    assert successive_halving.make_shortlist(options, 3) == ("cheap5",)


@given(OPTIONS, st.floats(0, 300))
def test_foreseen_is_the_better_half_by_what_is_expected_as_far_as_it_fits(options, room):
    every, found = successive_halving.predict_survivors(options), successive_halving.predict_survivors(options, room)
    assert len(every) == (len(options) + 1) // 2
    assert every[: len(found)] == found and found[0] == successive_halving.best_by_prior(options)
    assert cost(options, found) <= room * (1 + 1e-12) or len(found) == 1
    assert successive_halving.predict_survivors(options[::-1], room) == found


# ---------------------------------------------------------------- halving


def contender(name, losses):
    return CandidateLosses(name=name, rows=np.arange(len(losses)), losses=np.asarray(losses, float), cost=1.0)


def contenders(options, seed, pictures=30):
    """Losses drawn for each option: some far apart, some alike."""
    rng = np.random.default_rng(seed)
    base = rng.normal(1, 0.3, pictures)
    return [contender(one.name, base + rng.choice([0, 0, 1]) + rng.normal(0, 0.3, pictures)) for one in options]


@settings(deadline=None)
@given(OPTIONS, st.integers(0, 2**31), st.one_of(st.just(math.inf), st.floats(0, 300)), st.randoms())
def test_halving_keeps_the_best_two_ways_and_at_most_the_better_half(options, seed, room, random):
    judged = contenders(options, seed)
    found = successive_halving.halve_options(options, judged, room=room)
    best = min(judged, key=lambda c: (c.mean_loss, cost(options, [c.name]), c.name))
    assert found.survivors[0] == best.name
    assert set(found.survivors) | set(found.dropped) == {one.name for one in options}
    assert not set(found.survivors) & set(found.dropped)
    assert len(found.survivors) <= (len(options) + 1) // 2 + 1
    prior = successive_halving.best_by_prior(options)
    if room == math.inf:
        assert prior in found.survivors
    else:
        assert len(found.survivors) == 1 or cost(options, found.survivors) <= room * (1 + 1e-12)
        assert prior in found.survivors or len(found.survivors) == 1
    for name in found.survivors[1:]:
        assert name == prior or paired_difference(next(c for c in judged if c.name == name), best).low <= 0
    again = successive_halving.halve_options(
        random.sample(options, len(options)), random.sample(judged, len(judged)), room=room
    )
    assert again == found


def test_each_that_is_dropped_is_told_why():
    options = [option("a"), option("b"), option("c"), option("famous", expected=0.9, cost=5.0), option("bad")]
    noise = np.random.default_rng(0).normal(size=(3, 60)) / 10
    losses = {name: 1 + noise[at] for at, name in enumerate("abc")}
    judged = [contender(name, x) for name, x in losses.items()]
    judged += [contender("famous", losses["a"] + 1), contender("bad", losses["a"] + 2)]
    order = sorted("abc", key=lambda name: losses[name].mean())
    found = successive_halving.halve_options(options, judged)
    assert found.survivors == (order[0], "famous", *order[1:])
    assert list(found.dropped) == ["bad"]
    assert found.dropped["bad"].startswith("its loss is 2.0")
    tight = successive_halving.halve_options(options, judged, room=7)
    assert tight.survivors == (order[0], "famous", order[1])
    assert tight.dropped[order[2]] == successive_halving.NO_ROOM
    assert successive_halving.halve_options(options, judged, room=2).survivors == (order[0],)
    four = successive_halving.halve_options(options[:3], judged[:3])
    assert len(four.survivors) == 2 or successive_halving.best_by_prior(options[:3]) in four.survivors
    assert all(why.endswith("not among the better half") for why in four.dropped.values())


@pytest.mark.parametrize(
    ("backbones", "pictures", "classes", "rounds"),
    [
        (2, 10**6, 3, ()),
        (8, 639, 3, ()),
        (3, 640, 3, (256,)),
        (5, 2_000, 3, (256,)),
        (6, 2_000, 3, (96, 256)),
        (6, 2_000, 30, (256,)),
        (6, 2_000, 300, (256,)),
        (4, 2_560, 3, (256, 1_024)),
        (8, 10**6, 10, (96, 256, 1_024)),
        (8, 10**6, 1_000, (1_024,)),
    ],
)
def test_rounds_are_as_many_as_pictures_backbones_and_classes_make_worth_it(backbones, pictures, classes, rounds):
    assert successive_halving.plan_rounds(backbones, pictures, classes) == rounds


# ---------------------------------------------------------------- finalists


@given(OPTIONS, st.data(), st.integers(1, 3), st.integers(1, 3), st.randoms())
def test_finalists_are_the_best_two_ways_and_none_is_worse_in_all(options, data, fewest, most, random):
    drawn = data.draw(st.lists(NUMBERS, min_size=len(options), max_size=len(options)))
    losses = {one.name: loss for one, loss in zip(options, drawn, strict=True)}
    found = successive_halving.choose_finalists(options, losses, fewest=fewest, most=most)
    names = [one.name for one in found]
    assert 1 <= len(names) == len(set(names)) <= most
    assert losses[names[0]] == min(losses.values()) and "best by probe" in found[0].why
    if most > 1:
        assert max(map(promise, options)) in {promise(one) for one in options if one.name in names}
        known = any(not math.isnan(one.expected) for one in options)
        assert sum("best by prior" in one.why for one in found) == known
    of = {one.name: one for one in options}
    for name in names:
        mine = (losses[name], -promise(of[name]), of[name].cost)
        for other in options:
            its = (losses[other.name], -promise(other), other.cost)
            assert not (its != mine and all(a <= b for a, b in zip(its, mine, strict=True)))
    shuffled = random.sample(options, len(options))
    assert successive_halving.choose_finalists(shuffled, losses, fewest=fewest, most=most) == found


def test_finalists_say_why():
    options = [option("cheap", 0.7, 1.0), option("famous", 0.9, 9.0), option("fit", 0.8, 3.0), option("none", 0.6, 4.0)]
    losses = {"cheap": 0.4, "famous": 0.5, "fit": 0.3, "none": 0.9}
    found = successive_halving.choose_finalists(options, losses)
    assert [(one.name, one.why) for one in found] == [
        ("fit", "best by probe"),
        ("famous", "best by prior"),
        ("cheap", "cheapest to train"),
    ]
    assert successive_halving.choose_finalists(options, losses, most=2) == found[:2]
    (one,) = successive_halving.choose_finalists(options[:1], losses, fewest=3)
    assert one.why == "best by probe and best by prior and cheapest to train"


def test_places_that_are_free_go_to_the_next_by_probe_unless_it_is_no_better_in_anything():
    options = [option("best", 0.9, 3.0), option("cheap", 0.6, 1.0), option("worse", 0.7, 4.0), option("next", 0.7, 2.0)]
    losses = {"best": 0.2, "worse": 0.3, "next": 0.4, "cheap": 0.5}
    assert [one.name for one in successive_halving.choose_finalists(options, losses)] == ["best", "cheap"]
    found = successive_halving.choose_finalists(options, losses, fewest=3)
    assert [(one.name, one.why) for one in found] == [
        ("best", "best by probe and best by prior"),
        ("cheap", "cheapest to train"),
        ("next", "next by probe"),
    ]


def test_of_backbones_of_which_nothing_is_known_none_is_best_by_prior():
    options = [option("dear", math.nan, 2.0), option("cheap", math.nan, 1.0)]
    found = successive_halving.choose_finalists(options, {"dear": 0.1, "cheap": 0.2})
    assert [(one.name, one.why) for one in found] == [("dear", "best by probe"), ("cheap", "cheapest to train")]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: successive_halving.make_shortlist([]),
        lambda: successive_halving.best_by_prior([option("a"), option("a")]),
        lambda: successive_halving.make_shortlist([option("a")], required=("b",)),
        lambda: successive_halving.halve_options([option("a")], [contender("b", [1.0])]),
        lambda: successive_halving.choose_finalists([option("a")], {}),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValueError, match=r"options|losses"):
        wrong()
