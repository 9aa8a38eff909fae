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
COSTS = st.floats(0.01, 100)
EXPECTED = st.one_of(st.sampled_from([0.5, 0.7, math.nan]), st.floats(0, 1))
OPTIONS = st.lists(st.tuples(EXPECTED, COSTS), min_size=1, max_size=14).map(
    lambda found: [Option(name=f"made:{at}", expected=e, cost=c) for at, (e, c) in enumerate(found)]
)


def option(name, expected=0.7, cost=1.0):
    return Option(name=name, expected=expected, cost=cost)


def cost(options, names):
    return sum(one.cost for one in options if one.name in names)


def promise(one):
    return -math.inf if math.isnan(one.expected) else one.expected


# ---------------------------------------------------------------- who is looked at

LITES = [option("lite0", 0.751, 0.77), option("lite1", 0.767, 1.20), option("lite2", 0.776, 1.72)]
VGG16 = option("vgg16", 0.5, 30.7)
STRONG = [option("resnet50", 0.76, 7.7), option("convnext", 0.82, 9.0), option("dino", 0.81, 11.0)]


def field(options, pictures, classes=3, required=()):
    sizes = successive_halving.list_sizes(int(pictures / 2.5), classes)
    return successive_halving.choose_field(options, pictures, sizes, free=required)


@pytest.mark.parametrize(
    ("options", "pictures", "chosen"),
    [
        ([*LITES, VGG16], 2_000, ("lite0", "lite1", "lite2")),
        ([*LITES, VGG16], 20_000, ("lite0", "lite1", "lite2")),
        ([*LITES, VGG16], 300_000, ("lite0", "lite1", "lite2", "vgg16")),
        ([*LITES, VGG16], 200, ("lite0", "lite2")),
        ([*LITES, VGG16], 60, ("lite2",)),
        ([LITES[0], VGG16], 2_000, ("lite0",)),
        ([VGG16], 20, ("vgg16",)),
        ([*LITES, VGG16, *STRONG], 2_000, ("lite0", "lite1", "lite2", "resnet50", "convnext", "dino")),
    ],
)
def test_a_backbone_is_looked_at_where_its_chance_is_worth_its_cost(options, pictures, chosen):
    found = field(options, pictures)
    assert found.names == chosen
    assert set(found.left_out) == {one.name for one in options} - set(chosen)


def test_what_is_left_out_is_told_with_its_cost_and_its_chance():
    why = field([*LITES, VGG16], 1_300).left_out["vgg16"]
    assert why == "32 pictures through it cost 44% of all through lite2, and its chance to be better is 0.6%"
    few = field(LITES, 60).left_out
    assert few["lite0"] == "60 pictures are too few to tell it from lite2"


@given(OPTIONS, st.integers(1, 100_000), st.integers(1, 400), st.data(), st.randoms())
def test_the_field_keeps_what_is_named_and_the_best_by_prior_in_any_order(options, pictures, classes, data, random):
    must = data.draw(st.sets(st.sampled_from([one.name for one in options])))
    found = field(options, pictures, classes, must)
    assert must | {successive_halving.best_by_prior(options)} <= set(found.names)
    assert len(set(found.names) - must) <= 8
    assert set(found.names) | set(found.left_out) == {one.name for one in options}
    assert field(random.sample(options, len(options)), pictures, classes, must) == found


@settings(deadline=None)
@given(OPTIONS, st.integers(80, 100_000), st.integers(1, 100), st.integers(0, 2**31))
def test_by_plan_at_most_a_quarter_of_all_passes_is_of_backbones_not_handed_over(options, pictures, classes, seed):
    """Looks at all but the best by prior against its pass, whoever wins the rounds."""
    by_name = {one.name: one for one in options}
    sizes = successive_halving.list_sizes(int(pictures / 2.5), classes)
    names = successive_halving.choose_field(options, pictures, sizes).names
    leader, seen, lost = successive_halving.best_by_prior(options), 0, 0.0
    while count := successive_halving.plan_round(
        [by_name[name] for name in names], pictures, pictures, sizes, seen=seen, lost=lost
    ):
        looks = lost + count * math.fsum(by_name[name].cost for name in names if name != leader)
        assert looks <= (looks + pictures * by_name[leader].cost) / 4 * (1 + 1e-9)
        assert count >= seen and count in sizes and leader in names
        if len(names) == 2:
            break
        ours = [by_name[name] for name in names]
        survivors = successive_halving.halve_options(ours, contenders(ours, seed)).survivors
        assert len(survivors) < len(names)
        lost += count * math.fsum(by_name[name].cost for name in names if name not in survivors)
        names, seen = survivors, count
    assert len(names) <= 2


@pytest.mark.parametrize(
    ("options", "settings", "count"),
    [
        (LITES, {}, 128),
        (LITES[1:], {"seen": 128, "lost": 128 * 0.77}, 0),  # 300 training pictures through both cost little
        (LITES[1:], {"seen": 128, "lost": 128 * 0.77, "training": 1_000}, 512),
        (LITES[1:], {"seen": 128, "lost": 590.0, "training": 1_000}, 128),
        (LITES[:1], {}, 0),
        ([*LITES, VGG16], {"free": ("vgg16",)}, 128),
        ([LITES[2], VGG16], {"free": ("vgg16",)}, 0),
    ],
)
def test_the_next_round_has_an_equal_part_of_what_is_left(options, settings, count):
    settings = {"pictures": 1_300, "training": 300, "sizes": successive_halving.list_sizes(520, 3), **settings}
    assert successive_halving.plan_round(options, **settings) == count


def test_unknown_worth_is_no_chance_beside_a_published_one():
    known, unknown = option("known", 0.7), option("unknown", math.nan)
    assert successive_halving.estimate_chance(unknown, known) == 0
    assert (
        successive_halving.estimate_chance(unknown, unknown) == successive_halving.estimate_chance(known, known) == 0.5
    )
    assert 0 < successive_halving.estimate_chance(VGG16, LITES[2]) < 0.01


@pytest.mark.parametrize(
    ("most", "classes", "first"), [(800, 3, 32), (800, 10, 48), (800, 100, 256), (200, 100, None), (31, 3, None)]
)
def test_a_round_has_some_pictures_of_each_class(most, classes, first):
    assert next(iter(successive_halving.list_sizes(most, classes)), None) == first


# ---------------------------------------------------------------- halving


def contender(name, losses):
    return CandidateLosses(name=name, rows=np.arange(len(losses)), losses=np.asarray(losses, float), cost=1.0)


def contenders(options, seed, pictures=30):
    """Losses drawn for each option: some far apart, some alike."""
    rng = np.random.default_rng(seed)
    base = rng.normal(1, 0.3, pictures)
    return [contender(one.name, base + rng.choice([0, 0, 1]) + rng.normal(0, 0.3, pictures)) for one in options]


@settings(deadline=None)
@given(OPTIONS, st.integers(0, 2**31), st.randoms())
def test_halving_keeps_the_best_two_ways_and_at_most_the_better_half(options, seed, random):
    judged = contenders(options, seed)
    found = successive_halving.halve_options(options, judged)
    best = min(judged, key=lambda c: (c.mean_loss, cost(options, [c.name]), c.name))
    prior = successive_halving.best_by_prior(options)
    assert found.survivors[0] == best.name and prior in found.survivors
    assert set(found.survivors) | set(found.dropped) == {one.name for one in options}
    assert not set(found.survivors) & set(found.dropped)
    assert len(found.survivors) <= max(2, (len(options) + 1) // 2)
    for name in found.survivors[1:]:
        assert name == prior or paired_difference(next(c for c in judged if c.name == name), best).low <= 0
    again = successive_halving.halve_options(random.sample(options, len(options)), random.sample(judged, len(judged)))
    assert again == found


def test_each_that_is_dropped_is_told_why():
    options = [option(name) for name in "abcd"] + [option("famous", expected=0.9, cost=5.0), option("bad")]
    noise = np.random.default_rng(0).normal(size=(4, 60)) / 10
    losses = {name: 1 + noise[at] for at, name in enumerate("abcd")}
    judged = [contender(name, x) for name, x in losses.items()]
    judged += [contender("famous", losses["a"] + 1), contender("bad", losses["a"] + 2)]
    order = sorted("abcd", key=lambda name: losses[name].mean())
    found = successive_halving.halve_options(options, judged)
    assert found.survivors == (order[0], "famous", order[1])
    assert list(found.dropped) == [*order[2:], "bad"]
    assert found.dropped["bad"].startswith("its loss is 2.0")
    assert found.dropped[order[2]].endswith("not among the better half")


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
        lambda: field([], 100),
        lambda: successive_halving.best_by_prior([option("a"), option("a")]),
        lambda: field([option("a")], 100, required=("b",)),
        lambda: successive_halving.halve_options([option("a")], [contender("b", [1.0])]),
        lambda: successive_halving.choose_finalists([option("a")], {}),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValueError, match=r"options|losses"):
        wrong()
