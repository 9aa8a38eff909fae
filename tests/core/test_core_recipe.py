"""A recipe is explicit: what is written is read back exactly, and what is wrong is told, all at once."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core import job as jobs
from headstart.core import recipe as recipes
from headstart.core.errors import UsageError
from headstart.core.recipe import Recipe

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
        recipes.make(recipes.parse(given))
    assert caught.value.where == "--recipe"
    return caught.value.what


@given(st.fixed_dictionaries({f.name: values(f) for f in dataclasses.fields(Recipe)}))
def test_what_is_shown_is_read_back_to_the_last_bit(fields):
    recipe = Recipe(**fields)
    again = Recipe(**recipes.parse(recipes.shown(recipe).split(",")))
    assert again == recipe


@given(st.floats(1e-9, 1.0))
def test_a_recipe_given_to_fit_is_the_one_that_is_trained(rate):
    job = jobs.make(data="pictures", strategy="finetune", recipe=Recipe(rate=rate, gradual=True))
    assert recipes.make(recipes.parse(job.recipe)) == Recipe(rate=rate, gradual=True)


def test_short_numbers_are_shown_short():
    assert recipes.shown(Recipe(rate=2e-3, wise=False)) == "strategy=finetune,rate=0.002,epochs=15,wise=false"


def test_texts_become_what_the_fields_hold():
    found = recipes.parse(["rate=1e-3", "blocks=2", "depths=stage3+last", "gradual=yes", "head=mlp", "wise=No"])
    assert found == {
        "rate": 1e-3,
        "blocks": 2,
        "depths": ("stage3", "last"),
        "gradual": True,
        "head": "mlp",
        "wise": False,
    }


def test_all_problems_are_told_at_once():
    said = wrong(["ratee=1", "epochs=many", "blocks"])
    assert "recipe has no `ratee`; did you mean `rate`" in said
    assert "recipe epochs `many` is not of type int" in said
    assert "`blocks` has no `=`" in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rate=-1", "recipe rate `-1` is not between 0 and inf"),
        ("rate=nan", "recipe rate `nan` is not between"),
        ("rate=inf", "recipe rate `inf` is not between"),
        ("decay=1.5", "recipe decay `1.5` is not between 0 and 1"),
        ("epochs=0", "recipe epochs `0` is not between 1 and inf"),
        ("dropout=0.99", "recipe dropout `0.99` is not between 0 and 0.95"),
        ("strategy=tune", "recipe strategy `tune` is not one of probe, finetune, lora, norms, scratch"),
        ("gradual=perhaps", "recipe gradual `perhaps` is not of type bool"),
    ],
)
def test_a_value_out_of_place_is_refused(text, told):
    assert told in wrong([text])


def test_a_field_given_twice_is_refused():
    assert wrong(["rate=1e-3", "rate=1e-2"]) == "recipe rate is given twice"


def test_a_recipe_that_trains_nothing_is_refused():
    assert "trains nothing" in wrong(["strategy=probe", "rate=0"])
    assert recipes.make(recipes.parse(["strategy=probe", "rate=0", "head=mlp"])).rate == 0


def test_plain_values_of_the_wrong_kind_are_refused():
    with pytest.raises(UsageError, match="recipe blocks `True` is not of type int"):
        recipes.make({"blocks": True})
    with pytest.raises(UsageError, match="recipe wise `1` is not of type bool"):
        recipes.make({"wise": 1})
    assert recipes.make({"rate": 1, "depths": ["last"]}) == Recipe(rate=1.0, depths=("last",))


def test_a_job_tells_what_is_wrong_with_its_recipe_among_the_rest():
    with pytest.raises(UsageError) as caught:
        jobs.make(data="pictures", strategy="finetune", recipe="epochs=0,batch=x", folds=1)
    assert "folds `1`" in caught.value.what
    assert "recipe batch `x` is not of type int" in caught.value.what


def test_a_recipe_needs_a_strategy_that_trains():
    with pytest.raises(UsageError, match="a recipe needs a strategy that trains"):
        jobs.make(data="pictures", recipe="epochs=2")
