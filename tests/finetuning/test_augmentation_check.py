"""Auditions: classes that a mirror image, a turn or nothing takes away, and the domain that is left."""

import numpy as np
import pytest

from headstart.core.types import MULTILABEL, REGRESSION
from headstart.finetuning.inputs.augmentation_check import find_safe_domain
from headstart.finetuning.objectives import make_objective
from small_nets import classes

N, SIDE = 160, 16
Y = np.arange(N) % 2


def grid(pictures):
    """Stands for a trunk: brightness of each of 4 x 4 places, and how much neighbours differ."""
    x = pictures.astype(np.float32).mean(axis=3) / 255
    places = x.reshape(len(x), 4, SIDE // 4, 4, SIDE // 4).mean((2, 4)).reshape(len(x), -1)
    rough = [np.abs(np.diff(x, axis=axis)).mean((1, 2)) for axis in (1, 2)]
    return np.concatenate([places, np.stack(rough, axis=1)], axis=1)


def painted(brighter, noise=40):
    """(N, S, S, 3) uint8: noise, and for class 1 what `brighter` (S, S) says, for class 0 its opposite."""
    rng = np.random.default_rng(5)
    shape = np.where(Y[:, None, None] == 1, brighter, -brighter)
    return np.clip(128 + shape[..., None] + rng.normal(0, noise, (N, SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def halves(axis):
    side = np.where(np.arange(SIDE) < SIDE // 2, 12.0, -12.0)
    return np.broadcast_to(side[:, None] if axis == 0 else side[None, :], (SIDE, SIDE))


def test_left_and_right_are_not_mirrored():
    found = find_safe_domain(grid, painted(halves(1)), Y, objective=classes(2))
    assert found.domain == "digits"
    assert "mirroring left and right +" in found.why and "mirroring up and down" not in found.why


def test_up_and_down_are_mirrored_sideways_only():
    found = find_safe_domain(grid, painted(halves(0)), Y, objective=classes(2))
    assert found.domain == "photo"
    assert "mirroring up and down +" in found.why and "mirroring left and right" not in found.why


def test_what_no_change_takes_away_may_be_mirrored_both_ways():
    rng = np.random.default_rng(6)
    noise = np.where(Y[:, None, None, None] == 1, 60, 30) * rng.normal(0, 1, (N, SIDE, SIDE, 3))
    found = find_safe_domain(grid, np.clip(128 + noise, 0, 255).astype(np.uint8), Y, objective=classes(2))
    assert found.domain in ("texture", "microscopy") and "no change costs more" in found.why


@pytest.mark.parametrize("n", [30, N])
def test_where_nothing_can_be_heard_nothing_is_mirrored(n):
    """Few pictures, or classes that the head cannot tell apart."""
    pictures = painted(np.zeros((SIDE, SIDE))) if n == N else painted(halves(0))
    found = find_safe_domain(grid, pictures[:n], Y[:n], objective=classes(2))
    assert found.domain == "digits" and "too little to tell" in found.why


def test_it_is_heard_by_pairs_of_as_many_rows():
    """The head without copies learns each picture twice: copies that are the pictures cost nothing at all."""
    seen = []

    def deaf(pictures):
        seen.append(len(pictures))
        return grid(PICTURES)

    PICTURES = painted(halves(0))
    found = find_safe_domain(deaf, PICTURES, Y, objective=classes(2))
    assert "+0.000 [+0.000, +0.000]" in found.why
    assert seen == [N] * 6


def test_a_number_and_labels_say_themselves_what_may_be_mirrored():
    rng = np.random.default_rng(7)
    noise = rng.normal(0, 30, (N, SIDE, SIDE, 3))

    def show(strength, axis):
        """Pictures whose first half is brighter by so much."""
        return np.clip(128 + strength[:, None, None, None] * halves(axis)[..., None] + noise, 0, 255).astype(np.uint8)

    slope = rng.normal(0, 1, N)
    number = make_objective(REGRESSION, slope, 1)
    found = find_safe_domain(grid, show(slope, 0), slope, objective=number)
    assert found.domain == "photo" and "of a head's 1 - r2" in found.why
    assert "mirroring up and down +" in found.why and "mirroring left and right" not in found.why
    both = np.clip(show(slope, 0).astype(np.int16) + show(slope, 1) - 128, 0, 255).astype(np.uint8)
    found = find_safe_domain(grid, both, slope, objective=number)  # half of what tells the number outlives each mirror
    assert found.domain == "digits" and "more than 0.005" in found.why and "mirroring left and right +0.01" in found.why
    unseen = find_safe_domain(grid, show(np.zeros(N), 0), slope, objective=number)
    assert unseen.domain == "digits" and "R2" in unseen.why and "the mean 0.00" in unseen.why
    there = rng.random((N, 2)) < 0.5
    pictures = show(2.0 * there[:, 0] - 1, 0).astype(np.int16) + show(2.0 * there[:, 1] - 1, 1) - 128
    labels = make_objective(MULTILABEL, there, 2)
    found = find_safe_domain(grid, np.clip(pictures, 0, 255).astype(np.uint8), there, objective=labels)
    assert found.domain == "digits" and "of a head's binary log loss" in found.why
    assert "mirroring up and down +" in found.why and "mirroring left and right +" in found.why
