"""What is refused once it is known what is learnt."""

import pytest

from headstart.api.preflight import find_task_problems, find_unused_settings
from headstart.core.job import make_job
from headstart.core.recipe import Recipe
from headstart.core.types import CLASSIFICATION, MULTILABEL, ORDINAL, REGRESSION


@pytest.mark.parametrize(
    ("task", "metric", "refused"),
    [
        (CLASSIFICATION, "r2", True),
        (CLASSIFICATION, "accuracy", False),
        (REGRESSION, "accuracy", True),
        (REGRESSION, "r2", False),
        (REGRESSION, "log_loss", False),  # the default of a job that says nothing
    ],
)
def test_a_metric_of_another_task_is_refused(task, metric, refused):
    problems = find_task_problems(make_job(data="x", metric=metric), task)
    assert [problem.where for problem in problems] == (["--metric"] if refused else [])


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({"bands": "triples", "strategy": "auto"}, ["--strategy"]),
        ({"bands": "triples", "max_latency": "20ms"}, ["--max-latency"]),
        ({"bands": "triples"}, []),
        ({"bands": "4,3,2"}, []),
    ],
)
def test_bands_in_triples_go_with_frozen_trunks_alone(settings, refused):
    assert [problem.where for problem in find_unused_settings(make_job(data="x", **settings))] == refused


@pytest.mark.parametrize(
    ("task", "recipe", "refused"),
    [
        (REGRESSION, "label_smoothing=0.1,focal=2,cutmix=0.5,sampling=balanced", 4),
        (REGRESSION, "mixup=0.2,dropout=0.1,monitor=r2,sampling=natural,focal=0", 0),
        (MULTILABEL, "label_smoothing=0.1,focal=2,cutmix=0.5,mixup=0.2", 0),
        (MULTILABEL, "sampling=balanced,monitor=accuracy", 2),
        (CLASSIFICATION, "sampling=balanced,label_smoothing=0.1,monitor=accuracy", 0),
        (CLASSIFICATION, "monitor=r2", 1),
    ],
)
def test_fields_of_a_recipe_that_say_nothing_of_the_targets_are_refused(task, recipe, refused):
    problems = find_task_problems(make_job(data="x", strategy="auto", recipe=recipe), task)
    assert [problem.where for problem in problems] == ["--recipe"] * refused


@pytest.mark.parametrize(
    ("task", "refused"), [(REGRESSION, True), (MULTILABEL, True), (ORDINAL, False), (CLASSIFICATION, False)]
)
def test_a_new_domain_goes_with_classes_alone(task, refused):
    problems = find_task_problems(make_job(data="x", unlabeled="new"), task)
    assert [problem.where for problem in problems] == (["--unlabeled"] if refused else [])


@pytest.mark.parametrize("task", [REGRESSION, MULTILABEL, ORDINAL], ids=lambda task: task.name)
def test_a_whole_recipe_leaves_the_monitor_to_the_task(task):
    job = make_job(data="x", strategy="finetune", recipe=Recipe(blocks=2))
    assert "blocks=2" in job.recipe and not any(field.startswith("monitor=") for field in job.recipe)
    assert find_task_problems(job, task) == []
    assert find_task_problems(make_job(data="x", metric=task.metrics[0]), task) == []
