"""Batches made ahead of training; what a feed makes depends on the epoch's number alone, so only the speed changes."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

Batch = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]

_AHEAD = 3  # batches
_POLL_S = 0.1


class Feed(Protocol):
    """What trains: `n` pictures in so many batches an epoch."""

    n: int
    steps: int

    def epoch(self, number: int) -> Iterator[Batch]:
        """Of an epoch: inputs by name (b, …) float32, targets for the loss (b, T) float32, those scored (b, …)."""
        ...


class HeldOut(Protocol):
    """What is watched; `y` are the (M, …) targets."""

    y: np.ndarray

    def batches(self) -> Iterator[dict[str, np.ndarray]]:
        """Inputs by name (b, …) float32, in the order of `y`; only the last batch may be smaller."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Where the time of the steps went; the first, which compiles, is in neither of the others. It decides nothing."""

    first_s: float = 0.0
    compute_s: float = 0.0
    wait_s: float = 0.0

    @property
    def share(self) -> float:
        """Part of the steps' time that was compute, 0..1, the first step left out; NaN when there was no other."""
        total = self.compute_s + self.wait_s
        return self.compute_s / total if total else float("nan")

    def __add__(self, other: Profile) -> Profile:
        return Profile(
            first_s=self.first_s + other.first_s,
            compute_s=self.compute_s + other.compute_s,
            wait_s=self.wait_s + other.wait_s,
        )

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.first_s + self.compute_s + self.wait_s


class PrefetchedEpochs:
    """Epochs of a feed, made in a thread of their own while the block runs."""

    def __init__(self, feed: Feed, first: int, last: int) -> None:
        self._feed, self._numbers = feed, range(first, last + 1)
        self._made: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._make_batches, name="headstart-feed", daemon=True)
        self._wait_s, self._taken = 0.0, 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def epoch(self) -> Iterator[Batch]:
        """The batches of the next epoch; errors of the feed are raised here, also a wrong number of batches."""
        count = 0
        while True:
            began = time.perf_counter()
            batch = self._made.get()
            self._wait_s += time.perf_counter() - began if self._taken else 0.0
            self._taken += 1
            if isinstance(batch, BaseException):
                raise batch
            if batch is None:
                break
            count += 1
            yield batch
        if count != self._feed.steps:
            raise ValueError(f"the feed says {self._feed.steps} batches an epoch and made {count}")

    def waited_s(self) -> float:
        """Seconds since the last call in which a batch was wanted and not yet there; the first does not count."""
        waited, self._wait_s = self._wait_s, 0.0
        return waited

    def _make_batches(self) -> None:
        try:
            for number in self._numbers:
                for batch in self._feed.epoch(number):
                    if not self._put_item(batch):
                        return
                if not self._put_item(None):
                    return
        except BaseException as err:
            self._put_item(err)

    def _put_item(self, item: Any) -> bool:
        while not self._over.is_set():
            try:
                self._made.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False


def repeat_epochs(feed: Feed) -> Iterator[Batch]:
    """Batch after batch, over all epochs."""
    for number in itertools.count(1):
        yield from feed.epoch(number)
