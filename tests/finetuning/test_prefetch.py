import threading
import time

import numpy as np
import pytest

from headstart.finetuning.training.prefetch import PrefetchedEpochs, Profile, repeat_epochs


class Numbers:
    """Batches that say their epoch and place."""

    def __init__(self, steps=3, size=4, make=lambda epoch, place: None):
        self.n, self.steps, self.size, self.make = steps * size, steps, size, make
        self.threads = set()

    def epoch(self, number):
        for place in range(self.steps):
            self.make(number, place)
            self.threads.add(threading.get_ident())
            hard = 100 * number + 10 * place + np.arange(self.size)
            yield {"x": hard[:, None] * 1.0}, hard[:, None] * 2.0, hard


def _hard(batches):
    return [hard.tolist() for _, _, hard in batches]


def test_epochs_come_in_order_from_another_thread():
    feed = Numbers(steps=2, size=1)
    with PrefetchedEpochs(feed, 2, 4) as ahead:
        found = [_hard(ahead.epoch()) for _ in range(3)]
    assert found == [[[200], [210]], [[300], [310]], [[400], [410]]]
    assert feed.threads and threading.get_ident() not in feed.threads


def test_the_next_epoch_is_made_while_the_last_one_is_used():
    made = []
    feed = Numbers(steps=2, make=lambda epoch, place: made.append(epoch))
    with PrefetchedEpochs(feed, 1, 3) as ahead:
        list(ahead.epoch())
        until = time.monotonic() + 5
        while 2 not in made and time.monotonic() < until:
            time.sleep(0.01)
    assert 2 in made


def test_a_feed_does_not_run_away():
    made = []
    with PrefetchedEpochs(Numbers(steps=100, make=lambda epoch, place: made.append(place)), 1, 1) as ahead:
        next(ahead.epoch())
        time.sleep(0.3)
    assert len(made) <= 6


def test_an_error_of_the_feed_is_raised_where_the_batch_is_wanted():
    def fail(epoch, place):
        if place == 1:
            raise OSError("the disk is gone")

    with PrefetchedEpochs(Numbers(make=fail), 1, 1) as ahead, pytest.raises(OSError, match="the disk is gone"):
        list(ahead.epoch())


def test_too_few_batches_are_an_error():
    feed = Numbers(steps=2)
    feed.steps = 2
    short = Numbers(steps=2)
    short.epoch = lambda number: iter(list(feed.epoch(number))[:1])
    with PrefetchedEpochs(short, 1, 1) as ahead, pytest.raises(ValueError, match="says 2 batches an epoch and made 1"):
        list(ahead.epoch())


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    with PrefetchedEpochs(Numbers(steps=1000), 1, 5) as ahead:
        next(ahead.epoch())
    assert threading.active_count() == before


def test_waiting_is_counted_but_for_the_first_batch():
    def slow(epoch, place):
        time.sleep({0: 1.0, 2: 0.2}.get(place, 0))

    with PrefetchedEpochs(Numbers(steps=3, make=slow), 1, 1) as ahead:
        list(ahead.epoch())
        waited = ahead.waited_s()
        assert ahead.waited_s() == 0
    assert 0.15 < waited < 0.9


def test_the_share_leaves_out_the_first_step():
    whole = Profile(first_s=5.0) + Profile(compute_s=0.9) + Profile(wait_s=0.1)
    assert whole.share == pytest.approx(0.9) and whole.total_s == pytest.approx(6.0)
    assert np.isnan(Profile(first_s=1.0).share)


def test_endless_goes_on_with_the_next_epoch():
    batches = repeat_epochs(Numbers(steps=2, size=1))
    assert _hard(next(batches) for _ in range(5)) == [[100], [110], [200], [210], [300]]
