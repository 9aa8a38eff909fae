"""Sets whose pictures have many bands: which bands are read, and what is the low and high end of each.

The count that most pictures have is the set's; files of another count are skipped. Ends are percentiles over a sample
of all pictures but those of a given test split, so that every picture is scaled alike.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from headstart.core.console import Console
from headstart.core.job import Job
from headstart.core.quantities import TRIPLES
from headstart.core.settings import count_threads
from headstart.core.types import PixelRanges, SkippedFile
from headstart.images.bands import BandPicture, format_count, make_mix, make_triples, measure_ranges
from headstart.images.codecs import open_picture
from headstart.images.file_formats import PictureError
from headstart.images.preprocessing import read_bytes
from headstart.statistics.sampling import evenly_spaced

SAMPLED = 200  # pictures whose values are measured
OFTEN = 0.5  # of the sampled pictures must have data in a band


def find_band_count(counts: Iterable[int]) -> int:
    """The bands of most pictures, 0 for grey and colour; the larger of two that are as frequent."""
    frequency = Counter(counts)
    return max(frequency, key=lambda count: (frequency[count], count), default=0)


def skip_other_counts(uris: Iterable[str], counts: Iterable[int], n_bands: int) -> list[SkippedFile]:
    """Files that do not have the set's count of bands."""
    own = f"most pictures of the set have {n_bands}" if n_bands else "most pictures of the set are grey or colour"
    return [
        SkippedFile(
            uri=uri,
            reason="unreadable",
            detail=f"it {f'has {format_count(count)}' if count else 'is grey or colour'}, {own}",
        )
        for uri, count in zip(uris, counts, strict=True)
    ]


def choose_bands(root: str, uris: Sequence[str], n_bands: int, job: Job, console: Console) -> PixelRanges:
    """How pictures of `n_bands` are read; the bands of the job, or where it names none all that carry something.

    A band that has data in few pictures, or is of one value, is left out, and said so.
    """
    chosen = job.chosen_bands
    bands = chosen or tuple(range(1, n_bands + 1))
    rows = evenly_spaced(len(uris), SAMPLED)
    with ThreadPoolExecutor(count_threads()) as pool:
        paths = [os.path.join(root, uris[at]) for at in rows]  # noqa: PTH118 - any bytes
        samples = [x for x in pool.map(lambda path: _sample_file(path, bands), paths) if x is not None]
    if not samples:
        return PixelRanges(n_bands=n_bands, precise=True)
    ends = measure_ranges(samples)
    filled = np.mean([~np.isnan(values).all(axis=0) for values in samples], axis=0)
    why = {
        band: "hardly any data" if not share >= OFTEN or math.isnan(low) else "one value alone"
        for band, (low, high), share in zip(bands, ends, filled, strict=True)
        if not (share >= OFTEN and high > low)
    }
    taken = [at for at, band in enumerate(bands) if chosen or band not in why] or list(range(len(bands)))
    for band, reason in why.items():
        line = f"band {band} has {reason} in the pictures"
        console.print_line("read", f"{line}; as asked for, it is read" if chosen else f"{line} and is left out")
    names = tuple(bands[at] for at in taken)
    listed = f"band{'s' if len(names) > 1 else ''} {', '.join(map(str, names))} of {n_bands}"
    scaled = "the 2nd to 98th percentile of each over the set is black to white"
    console.print_line("read", f"{listed}, {'as asked for' if chosen else 'all that vary'}; {scaled}")
    mix = make_triples(len(names)) if job.bands == TRIPLES else make_mix(len(names))
    if job.bands == TRIPLES:
        times = f"the trunk runs {len(mix) // 3} times a picture, and its features are averaged"
        console.print_line("read", f"three bands at a time: {times}")
    return PixelRanges(
        precise=True,
        n_bands=n_bands,
        bands=names,
        band_ranges=tuple(ends[at] if not math.isnan(ends[at][0]) else (0.0, 0.0) for at in taken),
        mix=mix,
    )


def _sample_file(path: str, bands: tuple[int, ...]) -> np.ndarray | None:
    """(n, B) float64 values of a picture, NaN what is no data; None where it cannot be read or has too few bands."""
    try:
        picture = open_picture(read_bytes(path), ranges=PixelRanges(bands=bands))
        return picture.sample_values(bands) if isinstance(picture, BandPicture) else None
    except PictureError:
        return None
