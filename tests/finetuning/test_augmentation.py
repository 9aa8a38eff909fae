"""Augmentation: what operations do to pixels, what a domain leaves alone, and draws that belong to the picture."""

import numpy as np
import pytest
from PIL import Image

from headstart.core.recipe import DOMAINS
from headstart.finetuning.inputs import augmentation
from headstart.finetuning.inputs.augmentation import Policy, augment_pictures, list_operations

RNG = np.random.default_rng(0)
# Smooth, so that resampling moves pixels without changing their values much.
PICTURES = np.stack(
    [
        np.asarray(Image.fromarray(RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((64, 64), 3))
        for _ in range(24)
    ]
)
SEEDS = [(7, place) for place in range(len(PICTURES))]


def only(domain, *names, strength=1.0):
    return Policy(domain=domain, strength=strength, only=names)


def mean_difference(a, b):
    return np.abs(a.astype(float) - b.astype(float)).mean(axis=(1, 2, 3))


def test_strength_zero_leaves_pictures_as_they_are():
    for domain in DOMAINS:
        assert list_operations(domain, 0.0) == {}
        np.testing.assert_array_equal(augment_pictures(PICTURES, Policy(domain=domain), SEEDS), PICTURES)


def test_the_same_seeds_give_the_same_pictures_and_others_give_others():
    for domain in DOMAINS:
        policy = Policy(domain=domain, strength=0.7)
        once = augment_pictures(PICTURES, policy, SEEDS)
        assert once.dtype == np.uint8 and once.shape == PICTURES.shape
        np.testing.assert_array_equal(augment_pictures(PICTURES, policy, SEEDS), once)
        other = augment_pictures(PICTURES, policy, [(8, place) for place in range(len(PICTURES))])
        assert (mean_difference(once, other) > 0).mean() > 0.9


def test_a_picture_does_not_depend_on_its_batch_or_on_threads():
    policy = Policy(domain="photo", strength=1.0)
    whole = augment_pictures(PICTURES, policy, SEEDS)
    order = RNG.permutation(len(PICTURES))
    parts = [order[at : at + 5] for at in range(0, len(order), 5)]
    for threads in (1, 3):
        jobs = ((part, PICTURES[part], [SEEDS[place] for place in part]) for part in parts)
        found = list(augmentation.augment_batches(jobs, policy, threads=threads))
        assert [key.tolist() for key, _ in found] == [part.tolist() for part in parts]
        for key, pictures in found:
            np.testing.assert_array_equal(pictures, whole[key])


def test_a_stream_takes_few_batches_ahead_and_leaves_those_without_seeds():
    taken = []

    def jobs():
        for at in range(50):
            taken.append(at)
            yield at, PICTURES[:4], None if at % 2 else SEEDS[:4]

    for key, pictures in augmentation.augment_batches(jobs(), Policy(domain="texture", strength=1.0), threads=2):
        assert len(taken) - key <= 4
        assert np.array_equal(pictures, PICTURES[:4]) == bool(key % 2)


def test_an_error_of_a_stream_comes_through():
    with pytest.raises(TypeError):
        list(
            augmentation.augment_batches(
                [(0, PICTURES[:1], [object()])], Policy(domain="photo", strength=1.0), threads=1
            )
        )


@pytest.mark.parametrize(("name", "axis"), [("flip_x", 2), ("flip_y", 1)])
def test_half_of_the_pictures_are_mirrored_exactly(name, axis):
    found = augment_pictures(PICTURES, only("texture", name), SEEDS)
    mirrored = [np.array_equal(one, other) for one, other in zip(found, np.flip(PICTURES, axis), strict=True)]
    same = [np.array_equal(one, other) for one, other in zip(found, PICTURES, strict=True)]
    assert all(a or b for a, b in zip(mirrored, same, strict=True))
    assert 6 <= sum(mirrored) <= 18


def test_turns_are_exact_quarters_and_all_four_come():
    found = augment_pictures(PICTURES, only("texture", "turn"), SEEDS)
    quarters = [
        next(turn for turn in range(4) if np.array_equal(one, np.rot90(other, turn)))
        for one, other in zip(found, PICTURES, strict=True)
    ]
    assert set(quarters) == {0, 1, 2, 3}


@pytest.mark.parametrize("domain", ["digits", "text"])
def test_nothing_is_mirrored_where_writing_is_read(domain):
    names = {*list_operations(domain, 1.0)}
    assert not names & {"flip_x", "flip_y", "turn", "erase"}
    found = augment_pictures(PICTURES, Policy(domain=domain, strength=0.5), SEEDS)
    own = mean_difference(found, PICTURES)
    for axis in (1, 2):
        assert (own < mean_difference(found, np.flip(PICTURES, axis))).all()


@pytest.mark.parametrize("domain", ["microscopy", "satellite"])
def test_seen_from_above_every_direction_is_as_good(domain):
    names = {*list_operations(domain, 1.0)}
    assert names >= {"flip_x", "flip_y", "turn", "rotate"}


def test_photographs_are_not_turned_upside_down():
    assert not {*list_operations("photo", 1.0)} & {"flip_y", "turn"}


def test_strength_scales_every_measure():
    for domain in DOMAINS:
        half, full = list_operations(domain, 0.5), list_operations(domain, 1.0)
        assert half == {name: most / 2 for name, most in full.items()}
    changed = [
        mean_difference(augment_pictures(PICTURES, Policy(domain="digits", strength=s), SEEDS), PICTURES)
        for s in (0.1, 1)
    ]
    assert changed[0].mean() < changed[1].mean() / 2


@pytest.mark.parametrize("name", ["rotate", "zoom", "shift", "shear"])
def test_moving_pixels_brings_their_place_and_keeps_their_colours(name):
    """A bright dot off the middle ends within the reach of the operation, and no dark edge comes in from outside."""
    domain = "photo" if name in ("zoom", "shift") else "digits"
    dots = np.full((40, 64, 64, 3), 90, np.uint8)
    dots[:, 14:18, 30:34] = 220  # 16 px above the middle
    found = augment_pictures(dots, only(domain, name), [(1, place) for place in range(40)]).astype(int)
    assert found.min() >= 60  # bicubic rings a little; black corners would be 0
    places = []
    for one in found:
        weights = np.clip(one[..., 0] - 100, 0, None)
        grid = np.mgrid[:64, :64] + 0.5
        places.append([(weights * axis).sum() / weights.sum() for axis in grid])
    y, x = np.array(places).T - 32
    limits = {
        "rotate": (16 * np.sin(np.radians(15)), 16 * (1 - np.cos(np.radians(15)))),
        "zoom": (0.1, 16 * (np.exp(0.3) - 1)),
        "shift": (6.4, 6.4),
        "shear": (16 * np.tan(np.radians(15)), 0.1),
    }[name]
    assert np.abs(x).max() <= limits[0] + 0.3 and np.abs(y + 16).max() <= limits[1] + 0.3
    assert max(np.abs(x).max() / limits[0], np.abs(y + 16).max() / limits[1]) > 0.7  # and it uses its reach
    assert (np.diff(np.sort(x + y)) > 0).sum() > 30  # every picture its own


def test_a_shift_of_nothing_and_a_turn_of_nothing_change_nothing():
    for name, domain in (("shift", "photo"), ("rotate", "digits"), ("brightness", "photo"), ("hue", "photo")):
        found = augment_pictures(PICTURES, Policy(domain=domain, strength=1e-9, only=(name,)), SEEDS)
        assert np.abs(found.astype(int) - PICTURES).max() <= 1


def test_what_comes_in_is_a_mirror_image_or_for_writing_more_background():
    ramp = np.zeros((1, 64, 64, 3), np.uint8)
    ramp[0] = np.arange(64)[:, None, None] * 4  # bright below
    for domain, seeds in (("photo", range(20)), ("digits", range(20))):
        outs = np.concatenate([augment_pictures(ramp, only(domain, "shift"), [(3, s)]) for s in seeds]).astype(int)
        rows = outs[:, :, 32, 0]
        down = rows[rows[:, 32] < 4 * 32 - 8]  # moved down: new rows came in at the top
        assert len(down)
        if domain == "photo":
            assert (down[:, 0] > down[:, 3] - 1).all() and (down[:, 0] >= 8).any()
        else:
            assert (down[:, 0] <= 2).all()


def test_colours_change_and_places_do_not():
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None, None], (24, 1, 64, 3))
    bright = augment_pictures(grey, only("photo", "brightness"), SEEDS).astype(float)
    factors = bright[:, 32, 0, 0] / grey[:, 32, 0, 0]
    assert factors.min() >= 0.69 and factors.max() <= 1.31 and factors.std() > 0.1
    contrast = augment_pictures(grey, only("photo", "contrast"), SEEDS).astype(float)
    assert np.abs(contrast.mean(axis=(1, 2, 3)) - grey[0].mean()).max() < 6  # about the mean grey level
    assert contrast.std(axis=(1, 2, 3)).std() > 3
    for name in ("saturation", "hue"):  # grey stays grey
        assert np.abs(augment_pictures(grey, only("photo", name), SEEDS).astype(int) - grey).max() <= 1
    red = np.tile(np.uint8([200, 60, 60]), (24, 8, 8, 1))
    luma = np.array([0.299, 0.587, 0.114])
    for name in ("saturation", "hue"):
        found = augment_pictures(red, only("photo", name), SEEDS).astype(float)
        assert mean_difference(found, red).mean() > 3
        assert np.abs(found @ luma - red[0, 0, 0] @ luma).max() < 2  # as bright as before


def test_half_of_the_pictures_lose_a_box_of_limited_area():
    noise = RNG.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    found = augment_pictures(noise, only("photo", "erase"), [(5, place) for place in range(40)])
    lost = (found != noise).any(axis=3).mean(axis=(1, 2))
    assert 10 <= (lost > 0).sum() <= 30
    assert lost.max() <= 0.21 and lost.max() > 0.1


def test_an_unknown_domain_is_refused():
    with pytest.raises(ValueError, match="no domain is named `poetry`"):
        list_operations("poetry", 0.5)


def test_pictures_given_are_not_changed():
    before = PICTURES.copy()
    augment_pictures(PICTURES, Policy(domain="photo", strength=1.0), SEEDS)
    np.testing.assert_array_equal(PICTURES, before)
