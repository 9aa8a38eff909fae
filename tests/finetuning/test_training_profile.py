"""`--profile`: one line a training that tells which part of the step time was compute."""

import dataclasses
import io

import pytest

from headstart.core.console import Console
from headstart.finetuning.search.fold_training import print_profile
from headstart.finetuning.training.prefetch import Profile


@pytest.fixture
def told(context):
    """A function: what is said of a profile by a job with these settings."""

    def make(found, **settings):
        ctx = dataclasses.replace(context(strategy="auto", **settings), console=Console(err=io.StringIO()))
        print_profile(ctx, "trial 0, fold 1", found)
        return ctx.console.err.getvalue()

    return make


def test_a_line_tells_compute_wait_and_the_first_step(told):
    assert told(Profile(first_s=3.25, compute_s=24, wait_s=1), profile=True) == (
        "train       trial 0, fold 1: 96 % of the step time was compute, 1.0 s waited for pictures; "
        "the first step, which compiles, took 3.2 s and is left out\n"
    )


def test_nothing_is_told_unasked_or_of_a_single_step(told):
    assert told(Profile(first_s=3, compute_s=24, wait_s=1)) == ""
    assert told(Profile(first_s=3), profile=True) == ""
