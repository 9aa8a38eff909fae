"""What one cheap decode tells about a picture: size, perceptual hash, colour histogram, blankness.

The whole file is decoded, so that a truncated one is found. `to_row` and `from_row` are exact both ways.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from headstart.core.storage.hashing import compute_digest
from headstart.core.types import MEASURES, OWN_RANGES, DatasetFacts, PixelRanges
from headstart.images.codecs import DEEP, FLOAT, NOTES, open_picture

REVISION = 7
BINS = 64
DIGESTS = ("phash", "group", "camera", "file_format")  # 64 bits each, as turned hashes are
TURNS = 7
_INTEGERS = len(DIGESTS) + TURNS
WAVES = 12  # lowest frequencies each way
_NUMBERS = 10
_WAVES_AT = BINS + 4 * _INTEGERS
ROW_WIDTH = _WAVES_AT + WAVES**2 + len(MEASURES) + _NUMBERS
_SHIFTS = (48, 32, 16, 0)
_SMALL = 64
_ROWS_AT_ONCE = 4096
_HASH_SIDE = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageDescriptors:
    """Facts of one picture; sizes are those after EXIF orientation.

    Attributes:
        phash: 64-bit perceptual hash.
        histogram: (64,) float32, 4 x 4 x 4 RGB colour histogram, sums to 1.
        grey_std: Standard deviation of the grey levels 0..255.
        frames: Frames, pages or slices in the file.
        notes: Bit `i` set: `codecs.NOTES[i]` was done.
        frame: The one that is used, from 0.
        group: What the file says that it belongs to (a patient), as a 64-bit digest; 0 where it says nothing.
        turned: The 7 hashes of the picture mirrored and turned.
        camera: 64-bit digest of what took and wrote it; 0 where the file says nothing.
        file_format: `JPEG`, `DICOM`, …; at most 8 ASCII letters.
        measures: (M,) float32 of `MEASURES`.
        coefficients: (144,) float32, the 12 x 12 lowest cosine coefficients of the 32 x 32 grey picture.
        n_bands: Bands of a file of many; 0 for grey and colour.
        value_range: Smallest and largest value beyond 8 bits a channel, but for a stray few; None without such.
    """

    width_px: int
    height_px: int
    phash: int
    histogram: np.ndarray
    grey_std: float
    frames: int
    notes: int
    frame: int = 0
    group: int = 0
    turned: tuple[int, ...] = (0,) * TURNS
    camera: int = 0
    file_format: str = ""
    measures: np.ndarray = field(default_factory=lambda: np.zeros(len(MEASURES), np.float32))
    coefficients: np.ndarray = field(default_factory=lambda: np.zeros(WAVES**2, np.float32))
    value_range: tuple[float, float] | None = None
    n_bands: int = 0

    @property
    def note(self) -> str:
        """What was done to read the picture; empty when nothing."""
        parts = [text for bit, text in enumerate(NOTES) if self.notes >> bit & 1]
        parts += [f"{self.n_bands} bands"] if self.n_bands else []
        return "; ".join(parts + ([self._frame_note] if self.frames > 1 else []))

    @property
    def _frame_note(self) -> str:
        return f"number {self.frame + 1} of {self.frames} frames" if self.frame else f"first of {self.frames} frames"


def describe_picture(content: bytes, ranges: PixelRanges = OWN_RANGES) -> ImageDescriptors:
    """Facts of a picture from the bytes of its file; PictureError where it cannot be read to its end."""
    picture = open_picture(content, ranges=ranges)
    image = picture.turn_upright(picture.decode_rgb(least=_SMALL))
    factor = min(image.size) // _SMALL
    small = image.reduce(factor) if factor > 1 else image
    width, height = picture.size[::-1] if picture.read_orientation() >= 5 else picture.size
    grey, pixels = small.convert("L"), np.asarray(small)
    waves, origin = transform_picture(grey), picture.read_origin()
    phash, *turned = hash_coefficients(waves)
    counts = np.array(grey.histogram(), np.float64)
    return ImageDescriptors(
        width_px=width,
        height_px=height,
        phash=phash,
        turned=tuple(turned),
        camera=origin.camera,
        file_format=picture.format,
        measures=np.array(
            [
                *np.searchsorted(counts.cumsum(), (0.05 * counts.sum(), 0.95 * counts.sum())),
                _measure_sharpness(np.asarray(grey)),
                origin.jpeg_quality,
                origin.taken_day,
                *_average_border(pixels),
                *_read_corners(image),
            ],
            np.float32,
        ),
        coefficients=waves.astype(np.float32).ravel(),
        histogram=colour_histogram(pixels),
        grey_std=_deviate_levels(counts),
        frames=picture.count_frames(),
        notes=sum(1 << bit for bit in picture.notes),
        frame=picture.frame,
        group=picture.group,
        value_range=picture.measure_range(),
        n_bands=picture.n_bands,
    )


def colour_histogram(pixels: np.ndarray) -> np.ndarray:
    """Share of the pixels (H, W, 3) uint8 in each of 4 x 4 x 4 colour cells, red slowest: (64,) float32."""
    cells = pixels >> 6
    flat = (cells[..., 0] << 4 | cells[..., 1] << 2 | cells[..., 2]).ravel()
    return (np.bincount(flat, minlength=BINS) / flat.size).astype(np.float32)


@functools.cache
def _dct_rows() -> np.ndarray:
    """The 12 lowest rows of the orthonormal DCT-II of 32 points: (12, 32) float64."""
    k, n = np.mgrid[0:WAVES, 0:_HASH_SIDE]
    rows: np.ndarray = np.sqrt(2 / _HASH_SIDE) * np.cos(np.pi * k * (2 * n + 1) / (2 * _HASH_SIDE))
    rows[0] /= np.sqrt(2)
    return rows


def transform_picture(grey: Image.Image) -> np.ndarray:
    """(12, 12) float64, the lowest cosine coefficients of the picture at 32 x 32."""
    small = np.asarray(grey.resize((_HASH_SIDE, _HASH_SIDE), Image.Resampling.BILINEAR), dtype=np.float64)
    # a blank picture's coefficients are rounding noise: rounding makes them exactly zero
    waves: np.ndarray = np.round(_dct_rows() @ small @ _dct_rows().T, 6)
    return waves


def hash_coefficients(waves: np.ndarray) -> list[int]:
    """Eight times 64 bits, of `transform_picture`: the picture, mirrored, turned by 180, upside down, these transposed.

    A bit says which of the 8 x 8 lowest cosine coefficients of the 32 x 32 picture lie above their median. The constant
    coefficient takes no part in the median, so that brightness does not matter (Zauner 2010). A mirrored picture has
    the same coefficients, those of odd frequencies with the other sign.
    """
    coefficients, odd = waves[:8, :8], (-1.0) ** np.arange(8)
    mirrored, flipped = coefficients * odd, coefficients * odd[:, None]
    every = np.stack([coefficients, mirrored, mirrored * odd[:, None], flipped])
    medians = np.sort(every.reshape(4, -1)[:, 1:])[:, 31, None, None]
    above = every > medians
    bits = np.packbits(np.concatenate([above, above.transpose(0, 2, 1)]).reshape(8, -1), axis=1)
    return bits.view(">u8").ravel().tolist()


def _read_corners(image: Image.Image) -> np.ndarray:
    """(12,) channels of the pixels in the corners."""
    right, bottom = image.width - 1, image.height - 1
    corners = (image.getpixel(corner) for corner in ((0, 0), (right, 0), (0, bottom), (right, bottom)))
    return np.array(list(corners), np.float32).ravel()


def _average_border(pixels: np.ndarray) -> np.ndarray:
    """(3,) mean of the outermost ring of (H, W, 3) uint8."""
    ring = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    return np.asarray(ring.sum(axis=0) / len(ring))


def _deviate_levels(counts: np.ndarray) -> float:
    """Standard deviation of the levels of a histogram (256,)."""
    levels, total = np.arange(256.0), counts.sum()
    mean = counts @ levels / total
    return float(np.sqrt(counts @ (levels - mean) ** 2 / total))


def _measure_sharpness(levels: np.ndarray) -> float:
    """Energy of the Laplacian over that of the gradient (Subbarao & Tyan 1998 compare both) of (H, W) uint8.

    It says at which spatial frequency the detail lies, whatever the contrast: 8 for a chessboard, about 5 for noise,
    2 to 3 for most photographs, under 1 for what is blurred.
    """
    values = levels.astype(np.float32)
    down, right = np.diff(values, axis=0), np.diff(values, axis=1)
    curvature = np.diff(down[:, 1:-1], axis=0) + np.diff(right[1:-1], axis=1)
    slope = float(np.vdot(down, down) / max(down.size, 1) + np.vdot(right, right) / max(right.size, 1))
    return float(np.vdot(curvature, curvature)) / curvature.size / slope if curvature.size and slope else 0.0


def cache_key(ranges: PixelRanges) -> str:
    """SHA-256 hex of what a picture's facts depend on besides its bytes."""
    import PIL

    return compute_digest(["facts", REVISION, "pillow", PIL.__version__, ranges])


def to_row(facts: ImageDescriptors) -> np.ndarray:
    """Facts as (ROW_WIDTH,) float32; integers in parts of 16 bits, which float32 holds exactly."""
    kind = int.from_bytes(facts.file_format.encode("ascii", "replace")[:8], "big")
    integers = (facts.phash, facts.group, facts.camera, kind, *facts.turned)
    parts = [integer >> shift & 0xFFFF for integer in integers for shift in _SHIFTS]
    numbers = [facts.width_px, facts.height_px, facts.grey_std, facts.frames, facts.frame, facts.notes]
    numbers += [facts.value_range is not None, *(facts.value_range or (0.0, 0.0)), facts.n_bands]
    return np.concatenate([facts.histogram, parts, facts.coefficients, facts.measures, numbers], dtype=np.float32)


def read_band_counts(rows: np.ndarray) -> np.ndarray:
    """(N,) int64 bands in the facts (N, ROW_WIDTH) that `to_row` wrote, of files of many; 0 for grey and colour."""
    return rows[:, -1].astype(np.int64)


def has_notes(rows: np.ndarray) -> np.ndarray:
    """(N,) bool: whether anything was done to read each picture whose facts (N, ROW_WIDTH) `to_row` wrote."""
    return np.asarray(rows[:, -5] > 0)


def find_deep(rows: np.ndarray) -> np.ndarray:
    """(N,) bool: which of the facts (N, ROW_WIDTH) that `to_row` wrote tell of values beyond 8 bits a channel."""
    return np.asarray(rows[:, -4] > 0)


def read_columns(rows: np.ndarray, file_bytes: np.ndarray) -> tuple[DatasetFacts, tuple[str, ...]]:
    """The facts (N, ROW_WIDTH) that `to_row` wrote as columns, with bytes of files (N,); and N groups, empty where
    a file says nothing."""
    integers = _read_integers(rows)
    phash, group, camera, file_format = integers[:, : len(DIGESTS)].T
    width, height, grey_std, frames, _, notes, _, _, _, n_bands = rows[:, -_NUMBERS:].T
    texts = [""] * len(rows)
    for at in np.flatnonzero((notes > 0) | (frames > 1) | (n_bands > 0)).tolist():
        texts[at] = sys.intern(from_row(rows[at]).note)
    facts = DatasetFacts(
        width_px=width.astype(np.int32),
        height_px=height.astype(np.int32),
        file_bytes=file_bytes,
        phash=phash,
        histogram=rows[:, :BINS],
        grey_std=grey_std.copy(),
        notes=tuple(texts),
        turned_phash=integers[:, len(DIGESTS) :],
        coefficients=rows[:, _WAVES_AT : _WAVES_AT + WAVES**2],
        measures=rows[:, -_NUMBERS - len(MEASURES) : -_NUMBERS],
        file_formats=tuple(sys.intern(_read_name(name)) for name in file_format.tolist()),
        cameras=_format_digests(camera),
    )
    return facts, _format_digests(group)


def _read_integers(rows: np.ndarray) -> np.ndarray:
    """(N, `_INTEGERS`) uint64; a part of the rows at a time is in memory twice."""
    integers, shifts = np.empty((len(rows), _INTEGERS), np.uint64), np.array(_SHIFTS, np.uint64)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE, BINS : BINS + 4 * _INTEGERS]
        sixteens = part.astype(np.uint64).reshape(len(part), _INTEGERS, 4)
        (sixteens << shifts).sum(axis=2, dtype=np.uint64, out=integers[start : start + len(part)])
    return integers


def _read_name(integer: int) -> str:
    return integer.to_bytes(8, "big").lstrip(b"\0").decode("ascii")


def _format_digests(digests: np.ndarray) -> tuple[str, ...]:
    return tuple(sys.intern(f"{digest:016x}") if digest else "" for digest in digests.tolist())


def from_row(row: np.ndarray) -> ImageDescriptors:
    """The facts that `to_row` wrote."""
    phash, group, camera, file_format, *turned = _read_integers(row[None])[0].tolist()
    width, height, grey_std, frames, frame, notes, is_deep, low, high, n_bands = row[-_NUMBERS:].tolist()
    return ImageDescriptors(
        width_px=int(width),
        height_px=int(height),
        phash=phash,
        histogram=np.array(row[:BINS], dtype=np.float32),
        grey_std=grey_std,
        frames=int(frames),
        frame=int(frame),
        group=group,
        turned=tuple(turned),
        camera=camera,
        file_format=_read_name(file_format),
        coefficients=np.array(row[_WAVES_AT : _WAVES_AT + WAVES**2]),
        measures=np.array(row[-_NUMBERS - len(MEASURES) : -_NUMBERS]),
        notes=int(notes),
        value_range=(low, high) if is_deep else None,
        n_bands=int(n_bands),
    )


def measure_ranges(facts: Iterable[ImageDescriptors], rules: PixelRanges = OWN_RANGES) -> PixelRanges:
    """Black and white of a set's pictures beyond 8 bits a channel, so that all are scaled alike.

    Whole numbers take the smallest of 8, 10, 12, 14 and 16 bits that holds every picture, floats 0..1 or 0..255;
    where those do not hold them, from the smallest to the largest value of the set. `rules` say what was asked for.
    """
    is_precise, ends = False, dict[bool, tuple[float, float]]()
    for fact in facts:
        is_precise = is_precise or any(fact.notes >> bit & 1 for bit in DEEP)
        if fact.value_range:
            is_float, (low, high) = bool(fact.notes >> FLOAT & 1), fact.value_range
            least, most = ends.get(is_float, fact.value_range)
            ends[is_float] = min(low, least), max(high, most)
    floats, integers = ends.get(True), ends.get(False)
    return replace(
        rules,
        precise=is_precise,
        integers=_widen_range(integers, [2.0**bits - 1 for bits in (8, 10, 12, 14, 16)]),
        floats=_widen_range(floats, [1.0, 255.0]),
    )


def _widen_range(ends: tuple[float, float] | None, usual_ends: Sequence[float]) -> tuple[float, float] | None:
    if ends is None or ends[0] < 0:
        return ends
    return next(((0.0, end) for end in usual_ends if ends[1] <= end), ends)


def format_ranges(ranges: PixelRanges) -> str:
    """`0 to 4,095 is black to white`."""
    ends = [f"{low:,.6g} to {high:,.6g}" for low, high in filter(None, (ranges.integers, ranges.floats))]
    measured = f"{' and of floats '.join(ends)} is black to white" if ends else ""
    windows = {"": "", "none": "no window of a file is applied"}
    window = windows.get(ranges.window, f"the window {ranges.window.replace(',', ', ')} (center, width) is applied")
    return "; ".join(filter(None, (measured, window))) or "the windows of the files are black to white"
