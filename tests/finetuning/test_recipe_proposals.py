"""Which recipes are tried first, and what is proposed after them."""

import dataclasses

import pytest

from headstart.core import recipe as recipes
from headstart.core.recipe import Recipe
from headstart.finetuning.search import recipe_proposals
from headstart.finetuning.search.recipe_proposals import FinishedTrial, Proposer

SHARED = {"backbone": "bundled:efficientnet_lite0", "depths": ("stage5",), "domain": "texture", "seed": 5}


def priors(strategy="auto", per_class=50, blocks=3, n_train=150):
    return recipe_proposals.make_first_recipes(strategy, per_class, n_train, blocks, SHARED)


@pytest.mark.parametrize("strategy", ["auto", "finetune", "lora", "norms", "scratch"])
@pytest.mark.parametrize("per_class", [5, 50, 500])
@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_every_first_recipe_can_be_trained(strategy, per_class, blocks):
    listed = priors(strategy, per_class, blocks)
    assert listed
    assert len(set(listed)) == len(listed)
    for one in listed:
        assert recipes.find_recipe_problems(one) == []
        assert one.trunk.blocks <= blocks
        assert {name: recipes.field_values(one)[name] for name in SHARED} == SHARED
        assert strategy == "auto" or one.strategy == strategy


def test_the_more_pictures_the_more_of_the_network_trains():
    few, some, many = (priors("finetune", per_class) for per_class in (5, 50, 500))
    assert {one.trunk.blocks for one in few} == {1}
    assert max(one.trunk.blocks for one in some) == 2
    assert "all" not in {one.trunk.part for one in some}
    assert many[-1].trunk.part == "all"
    assert few[0].rate < some[0].rate


def test_auto_tries_the_plain_kinds_of_change():
    assert {one.strategy for one in priors("auto", 5)} == {"finetune", "lora", "probe"}
    probe = next(one for one in priors("auto", 5) if one.strategy == "probe")
    assert probe.head == "mlp", "a linear head on frozen features is the probe that is to be beaten"


@pytest.mark.parametrize(("n_train", "epochs"), [(60, 40), (512, 20), (5_000, 10)])
def test_few_pictures_are_seen_more_often(n_train, epochs):
    assert priors(n_train=n_train)[0].epochs == epochs


def test_the_network_from_random_weights_is_the_same_but_for_its_start():
    tuned = Recipe(
        **SHARED, strategy="lora", gradual=True, l2_sp=0.1, decay=0.5, trunk_rate=0.1, head="mlp", hidden=64, augment=1
    )
    made = recipe_proposals.make_scratch_recipe(tuned)
    assert (made.strategy, made.start, made.trunk.part, made.trunk.batch_norm) == ("scratch", "random", "all", "train")
    assert (made.trunk.gradual, made.trunk.l2_sp, made.averaging.wise, made.patience) == (False, 0.0, False, 0)
    kept = ("backbone", "depths", "head", "hidden", "batch", "epochs", "augment", "domain", "seed")
    assert [recipes.field_values(made)[name] for name in kept] == [recipes.field_values(tuned)[name] for name in kept]
    assert recipes.find_recipe_problems(made) == []


# ---------------------------------------------------------------- proposals


def ended(count, loss=lambda rate: rate, course=None):
    """Trials along the range of rates."""
    listed = []
    for number in range(count):
        rate = 3.1e-5 * (300 ** (number / max(count - 1, 1)))
        recipe = Recipe(**SHARED, rate=rate, epochs=10, dropout=0.01 * number)
        listed.append(FinishedTrial(recipe=recipe, loss=loss(rate), course=course or {1: loss(rate)}))
    return listed


def proposed(strategy="finetune", made=(), seed=0, count=1):
    proposer = Proposer(strategy, (SHARED["backbone"],), made, seed)
    return [proposer.propose() for _ in range(count)]


@pytest.mark.parametrize("strategy", ["auto", "finetune", "lora", "norms", "scratch"])
def test_proposals_are_recipes(strategy):
    for values in proposed(strategy, count=8):
        blocks = values.pop("blocks")
        recipe = recipes.make_recipe({**values, "blocks": blocks})
        assert 3e-5 <= recipe.rate <= 1e-2
        assert recipe.strategy == strategy or strategy == "auto"


def test_the_seed_and_what_ended_decide():
    assert proposed(made=ended(5)) == proposed(made=ended(5))
    assert proposed(made=ended(5)) != proposed(made=ended(5), seed=1)
    assert proposed(made=ended(5)) != proposed(made=ended(6))


def test_proposals_go_where_losses_were_low():
    low = proposed(made=ended(20), count=20)
    high = proposed(made=ended(20, loss=lambda rate: -rate), count=20)
    assert median(low) < 3e-4 < 1e-3 < median(high)


def median(values):
    return sorted(one["rate"] for one in values)[len(values) // 2]


def test_a_recipe_outside_the_space_is_not_learnt_from():
    odd = [
        FinishedTrial(recipe=dataclasses.replace(one.recipe, **change), loss=one.loss, course=one.course)
        for one, change in zip(ended(3), ({"rate": 5.0}, {"strategy": "probe"}, {"epochs": 1}), strict=True)
    ]
    assert len(Proposer("finetune", (SHARED["backbone"],), odd, 0).study.trials) == 0
    assert len(Proposer("finetune", (SHARED["backbone"],), [*odd, *ended(4)], 0).study.trials) == 4


def test_the_median_rule():
    made = [*ended(3, course={1: 1.0, 2: 0.8, 3: 0.5, 4: 0.4})]
    proposer = Proposer("finetune", (SHARED["backbone"],), made, 0)
    assert not proposer.is_behind({1: 9.0}), "too early"
    assert proposer.is_behind({1: 0.9, 2: 0.9, 3: 0.6})
    assert not proposer.is_behind({1: 2.0, 2: 0.9, 3: 0.45})
    alone = Proposer("finetune", (SHARED["backbone"],), made[:1], 0)
    assert not alone.is_behind({1: 9.0, 2: 9.0, 3: 9.0}), "one trial makes no median"
