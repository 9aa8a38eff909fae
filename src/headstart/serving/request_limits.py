"""What a service takes at most, and the refusals of what goes beyond it.

What is held at once (pictures waiting, bytes being read) is counted in `Load`, by the event loop's thread alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

_BODIES = 8  # uploads of the largest size that may be held at once


class Refusal(Exception):
    """A request that is not answered; `rows` are answers picture by picture where there are any."""

    def __init__(
        self,
        status: int,
        what: str,
        *,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        rows: list[dict[str, object]] | None = None,
    ) -> None:
        super().__init__(what)
        self.status, self.what, self.hint, self.rows = status, what, hint, rows
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may be and how many may wait."""

    upload_bytes: int = 20_000_000  # of one request
    pixels: int = 50_000_000  # of one picture
    total_pixels: int = 500_000_000  # of all pictures of one request
    files: int = 256  # pictures of one request
    queue: int = 256  # pictures that wait for their answer
    timeout_s: float = 30.0  # for a request to arrive, and again for its answer


@dataclass(slots=True)
class Load:
    """What is held at this moment."""

    limits: Limits
    pictures: int = 0  # taken and not answered yet
    slots: int = 0  # of the queue that they take: a request takes half of it at most, since requests take turns
    body_bytes: int = 0  # of requests that are being read or answered
    picture_s: float = 0.01  # a picture takes, as measured when the model was loaded

    def admit_pictures(self, count: int = 1) -> None:
        """Raise `Refusal` 429 where the queue has no room; an idle service takes any request within its limits.

        A request of several pictures may take half of what is free, so that none of them keeps the others out.
        """
        free = self.limits.queue - self.slots
        if self.slots and min(count, self._most_slots) > max(free // 2, min(free, 1)):
            raise self._retry_later(f"{self.pictures:,} pictures are waiting")

    @property
    def _most_slots(self) -> int:
        return max(1, self.limits.queue // 2)

    def add_pictures(self, count: int) -> None:
        """Note the pictures of a request."""
        self.pictures += count
        self.slots += min(count, self._most_slots)

    def remove_picture(self, remaining: int) -> None:
        """Note that a picture is answered, and so many of its request are not."""
        self.pictures -= 1
        self.slots -= remaining < self._most_slots

    def reserve_bytes(self, count: int) -> None:
        """Reserve memory for a body; `release_bytes` gives it back.

        Raises:
            Refusal: 413 where no request may be so large, 429 where too much is held already.
        """
        limit = self.limits.upload_bytes
        if count > limit:
            raise too_large_error(limit)
        if self.body_bytes and self.body_bytes + count > _BODIES * limit:
            raise self._retry_later(f"{self.body_bytes:,} bytes of other requests are being read")
        self.body_bytes += count

    def release_bytes(self, count: int) -> None:
        """Give back what `reserve_bytes` reserved."""
        self.body_bytes -= count

    def _retry_later(self, problem: str) -> Refusal:
        wait = max(1, math.ceil(self.pictures * self.picture_s))
        return Refusal(429, f"{problem}; try again later", headers={"Retry-After": str(wait)})


def too_large_error(limit_bytes: int) -> Refusal:
    """The refusal of a body beyond the limit; the connection is closed, so that nobody goes on sending."""
    what, hint = f"the request has more than {limit_bytes:,} bytes", "send fewer or smaller pictures at a time"
    return Refusal(413, what, hint=hint, headers={"Connection": "close"})


def too_many_pixels_error(max_pixels: int) -> Refusal:
    """The refusal of pictures that have too many pixels together."""
    what = f"the request's pictures have more than {max_pixels / 1e6:g} megapixels together"
    return Refusal(413, what, hint="send fewer or smaller pictures at a time")


def too_many_error(max_files: int) -> Refusal:
    """The refusal of more pictures than a request may have."""
    return Refusal(413, f"the request has more than {max_files:,} pictures", hint="send them in several requests")
