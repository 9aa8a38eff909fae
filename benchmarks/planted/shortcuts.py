"""Shortcuts, one kind at a time, in draws of 60 pictures of each of three textile classes that are saved anew.

In 19 of 20 pictures a property of the file goes by the class, in the others by another. What is planted is the set: the
recall is over draws, found where a warning, or for the order of names a tip, names the property. A false alarm is a
warning on the same draw without a mark. Datalab's spurious correlations are asked of the same files; they look at
light, sharpness, shape and size.
"""

import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import context, pictures
from benchmarks.planted import DefectRow
from headstart.core.types import AuditInput, Dataset, Outcome
from headstart.data.checks.d107_shortcuts import PLUGIN
from headstart.data.reading.read_dataset import read_dataset

DRAWS, EACH, STRAY = 5, 60, 0.05
MAKE, MODEL, TAKEN = 271, 272, 306  # tags of EXIF
COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200))


def save(picture: Image.Image, file_format: str = "JPEG", **settings: object) -> bytes:
    """The file's bytes."""
    content = io.BytesIO()
    picture.save(content, file_format, **({"quality": 92} if file_format == "JPEG" else {}) | settings)
    return content.getvalue()


def _resize(picture: Image.Image, c: int, rng: np.random.Generator) -> bytes:
    return save(picture.resize((250 - 10 * c, 250 - 10 * c)))


def _draw_border(picture: Image.Image, c: int, rng: np.random.Generator) -> bytes:
    framed = Image.new("RGB", picture.size, COLOURS[c])
    framed.paste(picture.crop((4, 4, picture.width - 4, picture.height - 4)), (4, 4))
    return save(framed)


def _mark_corner(picture: Image.Image, c: int, rng: np.random.Generator) -> bytes:
    picture.putpixel((0, 0), COLOURS[c])
    return save(picture, "PNG")


def _set_exif(picture: Image.Image, **tags: str) -> bytes:
    exif = Image.Exif()
    exif.update({{"make": MAKE, "model": MODEL, "taken": TAKEN}[name]: text for name, text in tags.items()})
    return save(picture, exif=exif)


def _cast(picture: Image.Image, c: int, rng: np.random.Generator) -> bytes:
    factors = np.ones(3) + 0.08 * np.eye(3)[c]
    return save(Image.fromarray(np.clip(np.asarray(picture) * factors, 0, 255).astype(np.uint8)))


def _date(picture: Image.Image, c: int, rng: np.random.Generator) -> bytes:
    return _set_exif(picture, taken=f"2024:0{1 + c}:{1 + rng.integers(28):02d} 12:00:00")


MARKS: dict[str, tuple[str, Callable[[Image.Image, int, np.random.Generator], bytes]]] = {
    "size": ("width and height", _resize),
    "format": ("file format", lambda picture, c, rng: save(picture, ("PNG", "JPEG", "BMP")[c])),
    "JPEG quality": ("JPEG quality", lambda picture, c, rng: save(picture, quality=95 - 5 * c)),
    "camera": ("camera", lambda picture, c, rng: _set_exif(picture, make="Maker", model=f"Model {c}")),
    "day taken": ("day taken", _date),
    "border": ("colour of the border", _draw_border),
    "corner pixel": ("pixel in the corner top left", _mark_corner),
    "colour cast of 8 %": ("mean colour", _cast),
    "order of names": ("number in the file's name", lambda picture, c, rng: save(picture)),
}


def plant(source: Path, target: Path, kind: str, seed: int, each: int = EACH) -> Path:
    """A draw of the pictures in folders of classes, saved with the marks of a kind, or with none for an empty one."""
    rng = np.random.default_rng(seed)
    mark = MARKS[kind][1] if kind else MARKS["order of names"][1]
    files = [
        (c, file)
        for c, folder in enumerate(sorted(source.iterdir()))
        for file in rng.permutation(sorted(folder.glob("*.jpg")))[:each]
    ]
    for place, (c, file) in enumerate(files):
        seen = c if rng.random() >= STRAY else (c + 1) % 3
        content = mark(Image.open(file).convert("RGB"), seen, rng)
        number = place + 1 if kind == "order of names" else rng.integers(10**6, 10**7)
        path = target / file.parent.name / f"{number:07d}{Image.open(io.BytesIO(content)).format.lower():.>5}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return target


def names_property(outcome: Outcome, kind: str) -> bool:
    """Whether a finding is of the kind: a warning, or a tip of what no model sees."""
    severities = {"warning", "info"} if kind == "order of names" else {"warning"}
    return any(f.severity in severities and f.sentence.startswith(MARKS[kind][0]) for f in outcome.findings)


def _find_by_datalab(data: Dataset, root: Path) -> int:
    """How many properties Datalab calls correlated with the class."""
    from cleanlab import Datalab
    from datasets import Dataset as Table
    from datasets import Image as Picture

    table = {"picture": [str(root / uri) for uri in data.uris], "label": np.asarray(data.targets).tolist()}
    lab = Datalab(
        Table.from_dict(table).cast_column("picture", Picture()), verbosity=0, label_name="label", image_key="picture"
    )
    with redirect_stdout(sys.stderr):  # it tells its steps
        lab.find_issues()
    scores = lab.get_info("spurious_correlations")
    return int((scores["correlations_df"]["score"] < scores["threshold"]).sum())


def measure() -> Iterator[DefectRow]:
    """A row for each kind and tool."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = pictures(scratch / "source", 2_000)
        ctx = context(scratch / "read")

        def read(kind: str, draw: int) -> tuple[Dataset, Path]:
            root = plant(source, scratch / f"{kind} {draw}", kind, draw)
            return read_dataset(str(root), ctx=ctx), root

        tools: dict[str, Callable[[Dataset, Path, str], tuple[bool, int]]] = {"headstart": _judge}
        try:
            import cleanlab  # noqa: F401
            import cleanvision  # noqa: F401
            import datasets  # noqa: F401

            tools["cleanlab"] = lambda data, root, kind: ((n := _find_by_datalab(data, root)) > 0, n)
        except ImportError:
            pass
        sets = {kind: [read(kind, draw) for draw in range(DRAWS)] for kind in ("", *MARKS)}
        for tool, judge in tools.items():
            clean = sum(judge(*each, "")[1] > 0 for each in sets[""])
            for kind in MARKS:
                answers = [judge(*each, kind) for each in sets[kind]]
                yield DefectRow(
                    check="D107",
                    defect=kind,
                    tool=tool,
                    planted=DRAWS,
                    found=sum(hit for hit, _ in answers),
                    named=sum(n > 0 for _, n in answers),
                    clean_named=clean,
                    clean=DRAWS,
                )


def _judge(data: Dataset, root: Path, kind: str) -> tuple[bool, int]:
    """Whether the planted property is named, and how many are warned of or rightly named."""
    outcome = PLUGIN(AuditInput(data=data, folds=5))
    hit = bool(kind) and names_property(outcome, kind)
    return hit, max(int(hit), sum(finding.severity == "warning" for finding in outcome.findings))
