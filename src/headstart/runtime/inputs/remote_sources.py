"""Pictures of object stores and in archives, many fetched at the same time and handed out in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from headstart.core.storage.locations import list_location, require_address
from headstart.core.storage.locations.names import is_remote
from headstart.core.storage.locations.object_store import IN_FLIGHT
from headstart.images.file_formats import PictureError, has_picture_suffix
from headstart.runtime.inputs.decoded_batches import Content


def read_location(location: str) -> Iterator[Content]:
    """The picture at a location, or those below it or in the archive there, told by their suffix, in sorted order.

    Raises:
        DataError: There is nothing.
        HeadstartError: The address is none, or its store does not answer.
    """
    location = require_address(location) if is_remote(location) else location
    if has_picture_suffix(location):
        return fetch_ahead([Content(location, location)])
    places = (f"{location}/{uri}" for uri in list_location(location).uris if has_picture_suffix(uri))
    return fetch_ahead(Content(place, place) for place in places)


def fetch_ahead(pictures: Iterable[Content]) -> Iterator[Content]:
    """Pictures with their bytes, in their order; at most twice as many wait as are fetched at the same time."""
    waiting = deque[Future[Content]]()
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="fetch") as pool:
        try:
            for picture in pictures:
                waiting.append(pool.submit(_fetch_picture, picture))
                if len(waiting) > 2 * IN_FLIGHT:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch_picture(picture: Content) -> Content:
    try:
        return Content(picture.name, picture.read_bytes())
    except PictureError as err:
        return Content(picture.name, err)
