"""A recipe is explicit: what is written is read back exactly, and what is wrong is told, all at once."""

import copy
import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core import job as jobs
from headstart.core import recipe as recipes
from headstart.core.errors import UsageError
from headstart.core.recipe import Recipe
from headstart.core.storage import serialization

NAMES = st.text("abcdefgh:_0123456789", min_size=1, max_size=12)


def values(option):
    """Every value that a field may have."""
    known, default = option.metadata, option.default
    if known["choices"]:
        return st.sampled_from(known["choices"])
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return st.integers(int(known["low"]), int(min(known["high"], 10**6)))
    if isinstance(default, float):
        return st.floats(known["low"], min(known["high"], 1e6))
    return st.lists(NAMES, max_size=3, unique=True).map(tuple) if isinstance(default, tuple) else NAMES


def wrong(given):
    with pytest.raises(UsageError) as caught:
        recipes.make_recipe(recipes.parse_fields(given))
    assert caught.value.where == "--recipe"
    return caught.value.what


@given(st.fixed_dictionaries({f.name: values(f) for f in recipes.list_recipe_options()}))
def test_what_is_shown_is_read_back_to_the_last_bit(fields):
    recipe = Recipe(**fields)
    again = Recipe(**recipes.parse_fields(recipes.format_recipe(recipe).split(",")))
    assert again == recipe


@given(st.floats(1e-9, 1.0))
def test_a_recipe_given_to_fit_is_the_one_that_is_trained(rate):
    job = jobs.make_job(data="pictures", strategy="finetune", recipe=Recipe(rate=rate, gradual=True))
    assert recipes.make_recipe(recipes.parse_fields(job.recipe)) == Recipe(rate=rate, gradual=True)


def test_short_numbers_are_shown_short():
    assert recipes.format_recipe(Recipe(rate=2e-3, wise=False)) == "strategy=finetune,rate=0.002,epochs=15,wise=false"


def test_texts_become_what_the_fields_hold():
    found = recipes.parse_fields(["rate=1e-3", "blocks=2", "depths=stage3+last", "gradual=yes", "head=mlp", "wise=No"])
    assert found == {
        "rate": 1e-3,
        "blocks": 2,
        "depths": ("stage3", "last"),
        "gradual": True,
        "head": "mlp",
        "wise": False,
    }


def test_all_problems_are_told_at_once():
    said = wrong(["ratee=1", "epochs=many", "blocks", "decay=2"])
    assert "recipe decay `2` is not between 0 and 1" in said
    assert "recipe has no `ratee`; did you mean `rate`" in said
    assert "recipe epochs `many` is not a whole number" in said
    assert "`blocks` in --recipe has no `=`: write `blocks=1`" in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rate=-1", "recipe rate `-1` is not between 0 and 10"),
        ("rate=nan", "recipe rate `nan` is not between"),
        ("rate=inf", "recipe rate `inf` is not between"),
        ("decay=1.5", "recipe decay `1.5` is not between 0 and 1"),
        ("epochs=0", "recipe epochs `0` is not between 1 and 10000"),
        ("dropout=0.99", "recipe dropout `0.99` is not between 0 and 0.95"),
        ("rate=100", "recipe rate `100` is not between 0 and 10"),
        ("lora_rank=100000", "recipe lora_rank `100000` is not between 1 and 1024"),
        ("domain=foto", "satellite; did you mean `photo`?"),
        ("strategy=tune", "recipe strategy `tune` is not one of probe, finetune, lora, norms, scratch"),
        ("gradual=perhaps", "recipe gradual `perhaps` is neither: write true or false"),
    ],
)
def test_a_value_out_of_place_is_refused(text, told):
    assert told in wrong([text])


def test_a_field_given_twice_is_refused():
    assert wrong(["rate=1e-3", "rate=1e-2"]) == "recipe rate is given twice"


def test_a_recipe_that_trains_nothing_is_refused():
    assert "trains nothing" in wrong(["strategy=probe", "rate=0"])
    assert recipes.make_recipe(recipes.parse_fields(["strategy=probe", "rate=0", "head=mlp"])).rate == 0


def test_plain_values_of_the_wrong_kind_are_refused():
    with pytest.raises(UsageError, match="recipe blocks `true` is not a whole number"):
        recipes.make_recipe({"blocks": True})
    with pytest.raises(UsageError, match="recipe wise `1` is neither: write true or false"):
        recipes.make_recipe({"wise": 1})
    assert recipes.make_recipe({"rate": 1, "depths": ["last"]}) == Recipe(rate=1.0, depths=("last",))


def test_a_job_tells_what_is_wrong_with_its_recipe_among_the_rest():
    with pytest.raises(UsageError) as caught:
        jobs.make_job(data="pictures", strategy="finetune", recipe="epochs=0,batch=x", folds=1)
    assert "folds `1`" in caught.value.what
    assert "recipe batch `x` is not a whole number" in caught.value.what


def test_a_recipe_needs_a_strategy_that_trains():
    with pytest.raises(UsageError, match="a recipe needs a strategy that trains"):
        jobs.make_job(data="pictures", recipe="epochs=2")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"rate": -1}, "recipe rate `-1` is not between 0 and 10"),
        ({"rate": "fast", "epochs": 2.5}, "recipe rate `fast` is not a number; recipe epochs `2.5` is not a whole"),
        ({"strategy": "nix"}, "recipe strategy `nix` is not one of"),
        ({"bloks": 2}, "recipe has no `bloks`; did you mean `blocks`?"),
    ],
)
def test_the_public_constructor_refuses_what_no_recipe_is(given, told):
    with pytest.raises(UsageError) as caught:
        Recipe(**given)
    assert told in caught.value.what and caught.value.where == "headstart.Recipe"
    assert "fields of a recipe" in caught.value.hint


def test_numbers_of_numpy_become_plain_ones_and_replacing_checks_too():
    made = Recipe(rate=np.float32(0.5), blocks=np.int64(2), depths=["last"], decay=1)
    assert made == Recipe(rate=0.5, blocks=2, depths=("last",), decay=1.0)
    assert [type(value) for value in (made.rate, made.trunk.blocks, made.trunk.decay)] == [float, int, float]
    assert dataclasses.replace(made, epochs=3).epochs == 3
    with pytest.raises(UsageError, match="epochs `0`"):
        dataclasses.replace(made, epochs=0)
    assert copy.deepcopy(made) == made


def test_every_number_has_limits_that_can_be_reached():
    for option in recipes.list_recipe_options():
        if isinstance(option.default, (int, float)) and not isinstance(option.default, bool):
            assert option.metadata["low"] <= option.default <= option.metadata["high"] < float("inf"), option.name


def test_depths_with_commas_are_told_how_to_be_joined():
    assert "`stage4` in --recipe has no `=`; several depths are joined with `+`" in wrong(["depths=stage3", "stage4"])


def test_a_mapping_is_a_recipe_too():
    job = jobs.make_job(
        data="pictures", strategy="auto", recipe={"blocks": 2, "depths": ["stage3", "last"], "wise": False}
    )
    assert recipes.parse_fields(job.recipe) == {"blocks": 2, "depths": ("stage3", "last"), "wise": False}
    for wanted, told in (
        ({"blocks": 2.5}, "recipe blocks `2.5` is not a whole"),
        ({"bloks": 2}, "`blocks`"),
        (5, "dict"),
    ):
        with pytest.raises(UsageError, match=told) as caught:
            jobs.make_job(data="pictures", strategy="finetune", recipe=wanted)
        assert caught.value.where == "--recipe"


def test_settings_of_a_strategy_have_plain_names_in_text_and_on_disk(tmp_path):
    recipe = Recipe(strategy="lora", lora_rank=4, blocks=2, augment=0.5, wise=False)
    assert (recipe.lora.lora_rank, recipe.trunk.blocks, recipe.averaging.wise) == (4, 2, False)
    assert dataclasses.replace(recipe, blocks=3) == recipe.with_fields(blocks=3) != recipe
    serialization.save_value(recipe, tmp_path)
    stored = json.loads((tmp_path / "value.json").read_text())
    assert stored.keys() == recipes.field_values(recipe).keys() and stored["lora_rank"] == 4
    assert serialization.load_value(Recipe, tmp_path) == recipe


def test_a_recipe_of_an_earlier_run_folder_is_read_but_cannot_be_asked_for(tmp_path):
    (tmp_path / "value.json").write_text('{"strategy": "lora", "lora_rank": 2, "part": "surgical", "gone": 1}')
    found = serialization.load_value(Recipe, tmp_path)
    assert (found.trunk.part, found.lora.lora_rank, found.epochs) == ("surgical", 2, 15)
    assert "recipe part `surgical` is not one of last, all" in wrong(["part=surgical"])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"rate": 5.0}, "recipe rate `5` is over 0.1: the loss will hardly stay finite; write rate=0.001, or rate=0"),
        ({"rate": 1e-9}, "recipe rate `1e-09` is under 1e-06: hardly anything will move; write rate=0.001"),
        ({"rate": 5.0, "optimiser": "sgd"}, "recipe rate `5` is over 1: the loss will hardly stay finite"),
        ({"batch": 1}, "recipe batch `1` is under 4: steps on so few pictures are noisy and slow; write batch=32"),
        (
            {"epochs": 5000},
            "recipe epochs `5000` is over 200: few pictures are learnt by heart in so many; write epochs=40",
        ),
        ({"dropout": 0.95}, "recipe dropout `0.95` is over 0.8: hardly anything reaches the head; write dropout=0.3"),
        ({"trunk_rate": 9.0}, "recipe trunk_rate `9` is over 1: the trunk moves faster than its new head and forgets"),
    ],
)
def test_what_is_allowed_but_will_hardly_train_is_doubted(fields, sentence):
    [doubt] = recipes.find_recipe_doubts(Recipe(**fields))
    assert doubt.startswith(sentence)


def test_what_a_doubt_advises_and_what_is_usual_is_not_doubted():
    usual = (Recipe(), Recipe(rate=0.0), Recipe(rate=0.5, optimiser="sgd"), Recipe(rate=0.01, batch=8, ema=0.99))
    assert [recipes.find_recipe_doubts(recipe) for recipe in usual] == [[], [], [], []]
    worst = Recipe(rate=5.0, batch=1, trunk_rate=9.0, epochs=5000, weight_decay=9.0, dropout=0.9)
    worst = worst.with_fields(label_smoothing=0.9, stochastic_depth=0.9, focal=9.0, ema=0.9999)
    doubts = recipes.find_recipe_doubts(worst)
    assert len(doubts) == 10
    advice = [re.search(r"write (\w+=[\d.]+)", doubt)[1] for doubt in doubts]
    assert recipes.find_recipe_doubts(worst.with_fields(**recipes.parse_fields(advice))) == []
