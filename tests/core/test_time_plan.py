import math

import pytest

from headstart.core import job
from headstart.core.run import time_plan


def plan(**settings):
    return time_plan.plan_time(job.make_job(data="x", budget="1000", **settings))


def test_passes_leave_the_budget_to_fine_tuning():
    assert plan().pass_s(500.0) == 300.0
    assert plan(strategy="auto").pass_s(500.0) == 100.0


def test_fine_tuning_has_what_is_left_without_the_reserve():
    of = plan(strategy="auto")
    assert of.fine_tuning_s(900.0) == 820.0 and of.fine_tuning_s(50.0) == 0.0
    ends = [of.phase_left_s(end, 820.0, 900.0) for end in (time_plan.TRYING_END, time_plan.JUDGING_END)]
    assert ends == [410.0, 615.0] and of.phase_left_s(time_plan.FINISHING_END, 820.0, 80.0) == 0.0


def test_a_step_that_is_only_estimated_has_a_margin():
    assert plan().has_room_for_combination(10.0, 31.0) and not plan().has_room_for_combination(10.0, 30.0)
    assert plan().has_room_for_nested(10.0, 96.0) and not plan().has_room_for_nested(10.0, 95.0)


def test_what_is_not_training_yields_to_it_where_networks_train():
    tuning = plan(strategy="auto")
    assert tuning.has_room_for_combination(10.0, 301.0) and not tuning.has_room_for_combination(10.0, 300.0)
    assert tuning.fine_tuning_s(80.0) == 0.0 and not tuning.has_room_for_nested(0.01, 80.0)


def test_measuring_augmentations_takes_a_small_part_of_the_time_that_training_has():
    tuning = plan(strategy="auto")
    assert tuning.augmentation_s(200.0) == pytest.approx(0.1 * tuning.fine_tuning_s(200.0))
    assert tuning.augmentation_s(1.0) == 0.0


def test_no_clock_has_a_say_in_the_heads_beside_a_given_recipe():
    given = plan(strategy="finetune", recipe="epochs=3")
    assert given.has_room_for_combination(10.0, 0.0) and given.has_room_for_nested(10.0, -5.0)


def test_a_given_recipe_is_said_to_have_no_bound():
    given = job.make_job(data="x", budget="2m", strategy="finetune", recipe="epochs=3")
    assert time_plan.format_unbounded(given) == "; a recipe is trained to its end, whatever `--budget 2m` says"
    assert time_plan.format_unbounded(job.make_job(data="x", budget="2m", strategy="finetune")) == ""


def test_the_smallest_budget_has_time_to_try_some_epochs():
    of = plan(strategy="finetune")
    least_s = of.smallest_budget_s(epoch_s=30.0, fine_tuning_s=800.0)
    assert math.isclose(time_plan.TRYING_END * (least_s - 200.0), time_plan.LEAST_EPOCHS * 30.0)


def test_adapting_trunks_to_another_domain_has_a_part_of_its_own():
    both, alone = plan(strategy="auto", unlabeled="y"), plan(strategy="auto")
    assert both.fine_tuning_s(800.0) == alone.fine_tuning_s(800.0) - 250
    assert both.phase_left_s(1.0, both.fine_tuning_s(800.0), 800.0) == both.fine_tuning_s(800.0)
    assert both.adaptation_s(330.0) == 250
    assert both.has_room_for_adaptation(100.0, 206.0) and not both.has_room_for_adaptation(100.0, 205.0)


@pytest.mark.parametrize(
    ("strategy", "adaptation", "part"),
    [
        ("finetune", "mmd", 0.25),
        ("finetune", "auto", 0.0),
        ("auto", "coral", 0.0),
        ("auto", "none", 0.0),
        ("probe", "auto", 0.0),
    ],
)
def test_what_cannot_adapt_a_trunk_sets_no_time_aside_for_it(strategy, adaptation, part):
    assert plan(strategy=strategy, unlabeled="y", adaptation=adaptation).adaptation_part == part
