"""Which way pictures take into a network: by operations and disk, with the numbers told."""

import pytest

from headstart.core.recipe import Recipe
from headstart.finetuning.inputs.data_path import VIEWS, plan_data_path

FACTS = {"n": 1000, "trainings": 1, "lower_flops": 5e8, "view_bytes": 44_000, "free_bytes": 10**11}
AUGMENTED = Recipe(augment=0.5, epochs=15)


def test_without_augmentation_activations_are_kept():
    found = plan_data_path(Recipe(epochs=1), **FACTS)
    assert (found.kind, found.views, found.bytes, found.flops) == ("cached", 0, 44_000_000, 5e11)
    assert found.why == (
        "cached: keeping 1,000 pictures takes 44.0 MB and 500 GFLOP (about 5.0 s) of the frozen part; "
        "sending them through it each time takes 500 GFLOP (about 5.0 s)"
    )


def test_with_augmentation_the_cheaper_way_is_taken():
    many = plan_data_path(AUGMENTED, **FACTS)
    assert (many.kind, many.views, many.bytes) == ("cached views", VIEWS, 1000 * (1 + VIEWS) * 44_000)
    assert many.flops == (1 + VIEWS) * 5e11
    assert "in 5 views" in many.why and "220.0 MB" in many.why and "7,500 GFLOP (about 75 s)" in many.why
    few = plan_data_path(Recipe(augment=0.5, epochs=VIEWS), **FACTS)
    assert (few.kind, few.views, few.bytes, few.flops) == ("full path", 0, 0, VIEWS * 5e11)
    shared = plan_data_path(Recipe(augment=0.5, epochs=VIEWS), **{**FACTS, "trainings": 2})
    assert shared.kind == "cached views"


def test_a_recipe_that_names_views_gets_them():
    found = plan_data_path(Recipe(augment=0.5, epochs=2, views=9), **FACTS)
    assert (found.kind, found.views) == ("cached views", 9)
    assert (
        plan_data_path(Recipe(epochs=2, views=9), **FACTS).views == 0
    )  # nothing is augmented: all views would be the same


@pytest.mark.parametrize("recipe", [Recipe(), AUGMENTED, Recipe(augment=0.5, views=9)])
def test_without_room_pictures_go_the_full_path_and_both_numbers_are_told(recipe):
    found = plan_data_path(recipe, **{**FACTS, "free_bytes": 210_000_000})
    assert (found.kind, found.views, found.bytes) == ("full path", 0, 0)
    assert "210.0 MB of disk are free" in found.why
