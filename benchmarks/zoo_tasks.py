"""The tasks of the zoo: real pictures that packages carry, 32 x 32 px, four tasks to learn and five to transfer to.

No picture and no photograph is in both a source and a target. A target has the source in its name that it is related
to by making, which is known before anything is trained; the photographs have none.

| task | pictures from |
|---|---|
| textile | conformal-clip-data: weaves without and with defects |
| digits | scikit-learn's handwritten digits |
| letters | the font files of Matplotlib, turned, shifted and sized by chance |
| texture | patches of scikit-image's and photographs of materials, grey, brightness and contrast evened out |
| photos | colour crops of photographs of scikit-image and scikit-learn |
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store

SIDE = 32
_CELL = 96  # px of a photograph, of which all goes to learning or all to judging
_FORMAT = 2  # raise when pictures are made otherwise
_GREY_TEXTURES = ("brick.png", "grass.png", "gravel.png", "coins.png", "page.png")
_OTHER_TEXTURES = ("cell.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "retina.jpg")
_PHOTOS = (
    *("astronaut.png", "camera.png", "chelsea.png", "china.jpg", "clock_motion.png", "coffee.png", "flower.jpg"),
    *("motorcycle_left.png", "rocket.jpg"),
)
_FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Pictures with classes, in two parts that share nothing.

    Attributes:
        name: What it is called.
        related: Name of the source that it is related to by making; empty for none, and for sources.
        classes: Names of the C classes.
        x: (N, 32, 32, 3) uint8 pictures to learn from; a target's are a pool of which each seed draws a few.
        y: (N,) int64.
        test_x: (M, 32, 32, 3) uint8 pictures that judge, the same for every network and seed.
        test_y: (M,) int64.
    """

    name: str
    related: str
    classes: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray

    @cached_property
    def digest(self) -> str:
        """Of everything in it."""
        found = hashlib.sha256(repr((self.name, self.classes)).encode())
        for part in (self.x, self.y, self.test_x, self.test_y):
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()

    def draw(self, count: int, seed: int) -> np.ndarray:
        """(count,) positions of the pool, as many of each class as of any other, to within one."""
        rng, found = np.random.default_rng([seed, 11]), []
        pools = [rng.permutation(np.flatnonzero(self.y == c)) for c in range(len(self.classes))]
        for place in range(count):
            found.append(pools[place % len(pools)][place // len(pools)])
        return np.sort(np.array(found))


def sources() -> tuple[Task, ...]:
    """What the zoo's networks learnt."""
    return (
        _made("textile", "", ("nominal", "global"), _textile, learn=(0.0, 0.35), judge=(0.35, 0.5)),
        _made("digits", "", tuple("01234"), _digits, learn=(0.0, 0.75), judge=(0.75, 1.0)),
        _made("letters", "", tuple("ABCDEFGHIJKLM"), _letters, learn=(0.0, 0.8), judge=(0.8, 1.0)),
        _made("texture", "", _GREY_TEXTURES, _textures, learn=(0.0, 0.75), judge=(0.75, 1.0)),
    )


def targets() -> tuple[Task, ...]:
    """What they are transferred to."""
    half = {"learn": (0.0, 0.4), "judge": (0.4, 1.0)}
    return (
        _made("textile: kind of defect", "textile", ("local", "global"), _textile, learn=(0.5, 0.65), judge=(0.65, 1)),
        _made("digits: 5 to 9", "digits", tuple("56789"), _digits, learn=(0.0, 0.3), judge=(0.3, 1.0)),
        _made("letters: N to Z", "letters", tuple("NOPQRSTUVWXYZ"), _letters, learn=(0.0, 0.2), judge=(0.2, 0.7)),
        _made("texture: other materials", "texture", _OTHER_TEXTURES, partial(_textures, areas=_cells), **half),
        _made("photos: which of nine", "", _PHOTOS, _scenes, **half),
    )


# ---------------------------------------------------------------- from files to arrays

Part = tuple[float, float]
Box = tuple[int, int, int, int]
Areas = Callable[[Image.Image, Part], list[Box]]
Maker = Callable[[str, Part], Iterator[np.ndarray]]


def _made(name: str, related: str, classes: tuple[str, ...], make: Maker, *, learn: Part, judge: Part) -> Task:
    def write(draft: Path) -> None:
        for part, limits in (("", learn), ("test_", judge)):
            found = [list(make(one, limits)) for one in classes]
            np.save(draft / f"{part}x.npy", np.stack([picture for each in found for picture in each]))
            np.save(draft / f"{part}y.npy", np.repeat(np.arange(len(classes)), [len(each) for each in found]))

    key = {"task": name, "classes": classes, "learn": learn, "judge": judge, "format": _FORMAT}
    folder = Store(cache_folder()).make_entry("zoo", key, write)
    arrays = {part: np.load(folder / f"{part}.npy") for part in ("x", "y", "test_x", "test_y")}
    return Task(name=name, related=related, classes=classes, **arrays)


def _slice(found: list[Path], part: Part) -> list[Path]:
    return found[round(part[0] * len(found)) : round(part[1] * len(found))]


def _rgb(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=None))


def _rng(*place: object) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(repr(place).encode()).digest()[:8]))


@lru_cache(maxsize=1)
def _weaves() -> Path:
    from headstart.backbones.downloads.wheels import fetch_textile

    return fetch_textile(Store(cache_folder()), Console(quiet=True))


def _textile(kind: str, part: Part) -> Iterator[np.ndarray]:
    for path in _slice(sorted((_weaves() / kind).glob("*.jpg")), part):
        with Image.open(path) as image:
            yield _rgb(image.crop((77, 77, 173, 173)))


def _digits(name: str, part: Part) -> Iterator[np.ndarray]:
    from sklearn.datasets import load_digits

    found = load_digits()
    own = found.images[found.target == int(name)]
    for one in own[round(part[0] * len(own)) : round(part[1] * len(own))]:
        yield _rgb(Image.fromarray((one * 255 / 16).astype(np.uint8)))


def _letters(letter: str, part: Part) -> Iterator[np.ndarray]:
    """200 drawings of a letter, ten in each font, light on dark as the digits are."""
    import matplotlib

    folder, count = Path(matplotlib.get_data_path()) / "fonts" / "ttf", 10 * len(_FONTS)
    for at in range(round(part[0] * count), round(part[1] * count)):
        rng = _rng("letters", letter, at)
        font = ImageFont.truetype(folder / f"{_FONTS[at % len(_FONTS)]}.ttf", int(rng.integers(72, 112)))
        sheet = Image.new("L", (128, 128), 0)
        place = tuple(64 + rng.uniform(-12, 12, 2))
        ImageDraw.Draw(sheet).text(place, letter, fill=255, font=font, anchor="mm")
        sheet = sheet.rotate(rng.uniform(-20, 20), Image.Resampling.BILINEAR).resize((SIDE, SIDE), Image.Resampling.BOX)
        paper, ink = rng.uniform(0, 80), rng.uniform(160, 255)
        grey = paper + (ink - paper) * np.asarray(sheet, np.float32) / 255 + rng.normal(0, 6, (SIDE, SIDE))
        yield np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@lru_cache(maxsize=1)
def _files() -> dict[str, Path]:
    from headstart.testing.sample_photos import fetch_labelled_photos

    return {path.name: path for path in fetch_labelled_photos(Store(cache_folder()), Console(quiet=True))}


@lru_cache(maxsize=32)
def _photo(name: str, mode: str) -> Image.Image:
    with Image.open(_files()[name]) as image:
        return image.convert(mode)


def _columns(photo: Image.Image, part: Part) -> list[Box]:
    """The columns within a part of the width."""
    return [(round(part[0] * photo.width), 0, round(part[1] * photo.width), photo.height)]


def _cells(photo: Image.Image, part: Part) -> list[Box]:
    """Cells of a grid, some for learning and some for judging, all over the photograph: both see the same things."""
    across, down = photo.width // _CELL, photo.height // _CELL
    boxes = [(_CELL * i, _CELL * j, _CELL * (i + 1), _CELL * (j + 1)) for j in range(down) for i in range(across)]
    return [box for at, box in enumerate(boxes) if part[0] <= at * 3 % 5 / 5 < part[1]]


def _crops(
    name: str, mode: str, part: Part, count: int, sides: tuple[int, int], areas: Areas = _columns
) -> Iterator[Image.Image]:
    """Square crops of a photograph, each within one area and the one of four with the most to see."""
    photo, rng = _photo(name, mode), _rng("crops", name, part)
    boxes = areas(photo, part)
    for at in range(count):
        left, top, right, bottom = boxes[at % len(boxes)]
        side = int(min(rng.integers(sides[0], sides[1] + 1), right - left, bottom - top))
        corners = [
            (int(rng.integers(left, right - side + 1)), int(rng.integers(top, bottom - side + 1))) for _ in "1234"
        ]
        found = [photo.crop((x, y, x + side, y + side)) for x, y in corners]
        yield max(found, key=lambda crop: float(np.asarray(crop.convert("L")).std()))


def _textures(name: str, part: Part, areas: Areas = _columns) -> Iterator[np.ndarray]:
    for crop in _crops(name, "L", part, round(400 * (part[1] - part[0])), (48, 64), areas):
        grey = np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
        grey = 128 + 45 * (grey - grey.mean()) / max(float(grey.std()), 2.0)
        yield np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _scenes(name: str, part: Part) -> Iterator[np.ndarray]:
    yield from map(_rgb, _crops(name, "RGB", part, round(200 * (part[1] - part[0])), (64, _CELL), _cells))
