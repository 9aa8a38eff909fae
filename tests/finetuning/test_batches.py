"""Feeds: every picture as often as any other, labels with their pictures, draws that belong to the epoch."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.core.recipe import Recipe
from headstart.finetuning.inputs import augmentation
from headstart.finetuning.inputs.batches import (
    HeldOutMaps,
    HeldOutPictures,
    HeldOutPooled,
    MapFeed,
    PictureFeed,
    PooledFeed,
)
from headstart.finetuning.inputs.cached_activations import CachedMaps, LowerTrunk
from headstart.finetuning.training.prefetch import PrefetchedEpochs
from small_nets import classes

N, VIEWS, SHAPE = 50, 3, (2, 2, 5)
ROWS = np.random.default_rng(0).permutation(VIEWS * N)  # where each view of each picture lies
TOLD = np.arange(VIEWS * N, dtype=np.float32)  # view * N + picture, as all that a row holds
MAPS = CachedMaps(
    cut="stage1",
    shape=SHAPE,
    at=np.argsort(ROWS).reshape(VIEWS, N),
    columns={
        "map": np.tile(TOLD[ROWS][:, None], (1, 20)).astype(np.float16),
        "stage0": np.tile(TOLD[ROWS][:, None] + 1000, (1, 2)),
        "stage1": np.tile(TOLD[ROWS][:, None] + 2000, (1, 3)),
    },
)
Y = np.arange(N) % 3
PICTURES = np.random.default_rng(1).integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)
PLAIN = Recipe(batch=8, seed=4)


def feed(recipe=PLAIN, positions=None, low=(), maps=MAPS):
    positions = np.arange(N) if positions is None else positions
    return MapFeed(maps=maps, positions=positions, y=Y[positions], objective=classes(3), recipe=recipe, low=low)


def told(inputs):
    """Picture and view of each row of a batch."""
    number = inputs["map"][:, 0, 0, 0].astype(int)
    return number % N, number // N


def test_a_label_counts_as_much_as_its_picture_weighs():
    weights = np.linspace(0.1, 2, N).astype(np.float32)
    weighted = MapFeed(maps=MAPS, positions=np.arange(N), y=Y, objective=classes(3), recipe=PLAIN, weights=weights)
    for inputs, soft, hard in weighted.epoch(1):
        pictures, _ = told(inputs)
        assert np.array_equal(soft, np.eye(3, dtype=np.float32)[Y[pictures]] * weights[pictures, None])
        assert np.array_equal(hard, Y[pictures])


def test_labels_come_with_their_pictures_and_low_features_with_their_view():
    for inputs, soft, hard in feed(low=("stage1", "stage0")).epoch(1):
        picture, view = told(inputs)
        assert inputs["map"].shape == (8, *SHAPE) and inputs["map"].dtype == np.float32
        assert (inputs["map"] == inputs["map"][:, :1, :1, :1]).all()
        np.testing.assert_array_equal(hard, Y[picture])
        np.testing.assert_array_equal(soft, np.eye(3)[hard])
        assert soft.dtype == np.float32 and hard.dtype == np.int64
        row = (view * N + picture)[:, None]
        np.testing.assert_array_equal(inputs["pooled"], np.hstack([row + 2000] * 3 + [row + 1000] * 2))


@pytest.mark.parametrize("sampling", ["natural", "balanced"])
@pytest.mark.parametrize("batch", [7, 8, 50])
def test_batches_are_whole_and_what_is_left_over_opens_the_next_epoch(batch, sampling):
    made = feed(replace(PLAIN, batch=batch, sampling=sampling))
    assert (made.n, made.steps) == (N, N // batch)
    seen = []
    for number in range(1, 2 * batch + 1):
        batches = [told(inputs)[0] for inputs, _, _ in made.epoch(number)]
        assert [len(one) for one in batches] == [batch] * made.steps
        seen += [np.concatenate(batches)]
    row = np.concatenate(seen)
    whole = row[: len(row) // N * N].reshape(-1, N)  # each order of all pictures, one after the other
    if sampling == "natural":
        assert (np.sort(whole, axis=1) == np.arange(N)).all()
    else:
        assert all(abs(np.bincount(Y[order]) - N / 3).max() < 1 for order in whole)
    assert len({order.tobytes() for order in whole}) == len(whole)


def test_fewer_pictures_than_a_batch_are_one_batch():
    made = feed(PLAIN, positions=np.array([4, 9, 30]))
    assert (made.n, made.steps, made.batch) == (3, 1, 3)
    for number in (1, 2):
        ((inputs, _, hard),) = made.epoch(number)
        assert sorted(told(inputs)[0]) == [4, 9, 30] and len(hard) == 3


def test_a_feed_of_no_pictures_or_of_other_labels_is_refused():
    for positions, y in (([], []), ([1, 2], [0])):
        with pytest.raises(ValueError, match="as many"):
            MapFeed(maps=MAPS, positions=np.array(positions), y=np.array(y), objective=classes(3), recipe=PLAIN)


def test_folds_share_the_maps_and_see_their_own_pictures_only():
    for fold in (np.arange(0, N, 2), np.arange(1, N, 2)):
        seen = np.concatenate([told(inputs)[0] for inputs, _, _ in feed(positions=fold).epoch(1)])
        assert set(seen) <= set(fold) and len(set(seen)) == 24


def test_every_view_is_drawn_about_as_often():
    views = np.concatenate([told(inputs)[1] for e in range(1, 30) for inputs, _, _ in feed().epoch(e)])
    counts = np.bincount(views, minlength=VIEWS)
    assert counts.min() > 0.27 * counts.sum() and len(counts) == VIEWS


@pytest.mark.parametrize("low", [(), ("stage0",)])
def test_an_epoch_is_the_same_each_time_and_no_other(low):
    recipe = replace(PLAIN, mixup=0.4, cutmix=0.4)
    made = feed(recipe, low=low)
    once = list(made.epoch(3))
    again = list(feed(recipe, low=low).epoch(3))
    for (a, soft_a, hard_a), (b, soft_b, hard_b) in zip(once, again, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)
        assert np.array_equal(soft_a, soft_b) and np.array_equal(hard_a, hard_b)
    for other in (made.epoch(4), feed(replace(recipe, seed=5), low=low).epoch(3)):
        assert not np.array_equal(next(iter(other))[0]["map"], once[0][0]["map"])


def test_mixing_reaches_inputs_and_soft_labels_alike():
    recipe = replace(PLAIN, mixup=1.0)
    maps = replace(MAPS, at=MAPS.at[:1], columns={**MAPS.columns, "map": MAPS.columns["map"] % N % 3})
    for inputs, soft, hard in feed(recipe, maps=maps).epoch(1):
        assert np.allclose(soft.sum(1), 1) and ((soft > 0).sum(1) <= 2).all() and (soft.max(1) < 1).any()
        # A picture's values are its class: mixed, they are the mean of the soft label.
        np.testing.assert_allclose(inputs["map"][:, 0, 0, 0], soft @ np.arange(3), atol=1e-4)
        assert hard.dtype == np.int64


def test_the_hard_label_of_a_mixed_picture_is_what_most_of_it_is():
    """Drawn from a Beta, the share of the first picture is often below a half: its own label would be wrong."""
    maps = replace(MAPS, at=MAPS.at[:1])
    for recipe in (replace(PLAIN, mixup=1.0), replace(PLAIN, cutmix=1.0)):
        labels = [(soft, hard) for e in range(1, 6) for _, soft, hard in feed(recipe, maps=maps).epoch(e)]
        soft, hard = (np.concatenate(side) for side in zip(*labels, strict=True))
        assert (soft[np.arange(len(hard)), hard] >= 0.5).all() and (soft.max(axis=1) < 1).any()


def test_pooled_features_of_float_memmaps_become_float32(tmp_path):
    whole = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float16, shape=(N, 4))
    whole[:] = np.arange(N)[:, None]
    fold = np.arange(10, 40)
    made = PooledFeed(features=whole, positions=fold, y=Y[fold], objective=classes(3), recipe=PLAIN)
    seen = []
    for inputs, _, hard in made.epoch(1):
        assert inputs.keys() == {"pooled"} and inputs["pooled"].dtype == np.float32
        np.testing.assert_array_equal(hard, Y[inputs["pooled"][:, 0].astype(int)])
        seen += inputs["pooled"][:, 0].tolist()
    assert len(set(seen)) == 24 and set(seen) <= set(fold.tolist())


def pictures(recipe, **named):
    return PictureFeed(pictures=PICTURES, positions=np.arange(N), y=Y, objective=classes(3), recipe=recipe, **named)


def place(picture):
    return next(at for at, own in enumerate(PICTURES) if np.array_equal(own, picture))


def test_without_augmentation_pictures_come_as_they_are():
    for inputs, _, hard in pictures(PLAIN).epoch(2):
        assert inputs["pictures"].dtype == np.float32
        np.testing.assert_array_equal(hard, [Y[place(one)] for one in inputs["pictures"]])


def test_augmented_pictures_are_new_each_epoch_and_the_same_on_any_number_of_threads(monkeypatch):
    recipe = replace(PLAIN, batch=N, augment=0.8, domain="texture")
    ((once, _, hard),) = pictures(recipe).epoch(1)
    monkeypatch.setenv("HEADSTART_THREADS", "1")
    ((again, _, _),) = pictures(recipe).epoch(1)
    ((later, _, hard_later),) = pictures(recipe).epoch(2)
    np.testing.assert_array_equal(once["pictures"], again["pictures"])
    plain = [next(iter(pictures(replace(recipe, augment=0.0)).epoch(e)))[0]["pictures"] for e in (1, 2)]
    assert (once["pictures"] != plain[0]).any(axis=(1, 2, 3)).all()
    own = [np.argsort([place(one) for one in epoch]) for epoch in plain]
    np.testing.assert_array_equal(hard[own[0]], hard_later[own[1]])
    assert (once["pictures"][own[0]] != later["pictures"][own[1]]).any(axis=(1, 2, 3)).all()


class Means:
    """Stands for the engine: the picture's mean colour as a map of one place, its minimum and maximum as features.

    As the engine, it takes one `run` at a time.
    """

    def __init__(self):
        self.busy = False

    def run(self, batches):
        assert not self.busy, "one run at a time"
        self.busy = True
        for key, batch in batches:
            x = batch.astype(np.float32)
            yield key, (x.mean((1, 2), keepdims=True)[:, 0][:, None], x.min((1, 2)), x.max((1, 2)))
        self.busy = False


BELOW = LowerTrunk(engine=Means(), outputs=("map", "stage0", "stage1"))


def test_pictures_go_through_the_frozen_part_after_they_are_augmented():
    recipe = replace(PLAIN, augment=0.8, domain="texture")
    seen = list(pictures(recipe).epoch(1))
    through = list(pictures(recipe, below=BELOW, low=("stage1",)).epoch(1))
    for (raw, _, hard), (inputs, _, hard_through) in zip(seen, through, strict=True):
        np.testing.assert_array_equal(hard, hard_through)
        np.testing.assert_allclose(inputs["map"][:, 0, 0], raw["pictures"].mean((1, 2)), rtol=1e-5)
        np.testing.assert_array_equal(inputs["pooled"], raw["pictures"].max((1, 2)))


def test_pictures_are_watched_while_the_feed_is_at_work_ahead():
    """Both use the same compiled trunk: the feed's thread rests in the middle of an epoch, with the queue full."""
    made = pictures(PLAIN, below=BELOW, low=("stage1",))
    held = HeldOutPictures(pictures=PICTURES, positions=np.arange(N), y=Y, below=BELOW, low=("stage0",))
    with PrefetchedEpochs(made, 1, 2) as ahead:
        for _ in (1, 2):
            batches = ahead.epoch()
            next(batches)
            found = np.concatenate([inputs["pooled"] for inputs in held.batches()])
            np.testing.assert_array_equal(found, PICTURES.min((1, 2)))
            assert len(list(batches)) == made.steps - 1


def test_held_out_pictures_come_in_order_unchanged_and_from_view_0():
    fold = np.random.default_rng(2).permutation(N)
    for low in ((), ("stage0",)):
        held = HeldOutMaps(maps=MAPS, positions=fold, y=Y[fold], low=low)
        found = [told(inputs) for inputs in held.batches()]
        np.testing.assert_array_equal(np.concatenate([f[0] for f in found]), fold)
        assert not np.concatenate([f[1] for f in found]).any()
        assert all(("pooled" in inputs) == bool(low) for inputs in held.batches())
    features = np.arange(N, dtype=np.float32)[:, None]
    found = [inputs["pooled"] for inputs in HeldOutPooled(features=features, positions=fold, y=Y[fold]).batches()]
    np.testing.assert_array_equal(np.concatenate(found)[:, 0], fold)
    raw = HeldOutPictures(pictures=PICTURES, positions=fold, y=Y[fold])
    np.testing.assert_array_equal(np.concatenate([i["pictures"] for i in raw.batches()]), PICTURES[fold])
    through = HeldOutPictures(pictures=PICTURES, positions=fold, y=Y[fold], below=BELOW, low=("stage0",))
    found = np.concatenate([inputs["pooled"] for inputs in through.batches()])
    np.testing.assert_array_equal(found, PICTURES[fold].min((1, 2)))
    assert (raw.y == Y[fold]).all()


def test_held_out_batches_are_bounded(monkeypatch):
    monkeypatch.setattr("headstart.finetuning.inputs.batches.HELD_BATCH", 16)
    held = HeldOutPictures(pictures=PICTURES, positions=np.arange(N), y=Y)
    assert [len(inputs["pictures"]) for inputs in held.batches()] == [16, 16, 16, 2]


def test_no_two_kinds_of_draws_share_a_stream(monkeypatch):
    """Augmentation, views and mixing of one epoch would otherwise move together."""
    drawn = []
    real = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: drawn.append(tuple(np.ravel(seed))) or real(seed))
    recipe = replace(PLAIN, augment=0.5, mixup=0.2)
    list(feed(recipe).epoch(1))
    list(pictures(recipe).epoch(1))
    per_picture = [one for one in drawn if len(one) == 4]
    assert len(set(per_picture)) == len(per_picture) == 48
    assert len({one for one in drawn if len(one) == 3}) == 3  # order, views, mixing
    assert augmentation.Policy().strength == 0
