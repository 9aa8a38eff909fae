"""Judge a saved model on another labelled folder: nothing is trained, every file is accounted for.

The folder has one sub-folder a class, named as in the model; where it has `test/`, that is judged. The model answers as
it would for `predict`, its own threshold or costs included.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.errors import DataError, nearest
from headstart.core.files import show
from headstart.core.say import Say
from headstart.core.types import Score
from headstart.kit import metrics
from headstart.runtime import model as runtime
from headstart.runtime.predict import walk


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judgement:
    """A model's scores on a folder.

    Attributes:
        scores: As in `Evaluation`, split `test`.
        class_names: C names.
        confusion: (C, C) int64, true class by answered class.
        excused: Files that were not judged, with the reason.
    """

    scores: tuple[Score, ...]
    class_names: tuple[str, ...]
    confusion: np.ndarray
    excused: tuple[tuple[str, str], ...]


def run(model: Path, folder: Path, *, say: Say) -> Judgement:
    """Score a saved model.

    Args:
        model: Its folder.
        folder: One sub-folder a class.
        say: Where to speak.

    Raises:
        DataError: The folder has no picture, or a class that the model does not know.
    """
    found = runtime.load(model)
    files, y, excused = labelled(folder, found.class_names)
    p, answers, kept = [], [], []
    with say.progress("evaluate", len(files)) as progress:
        at = 0
        for chunk in found.featured(iter(files)):
            good = [i for i in range(len(chunk.files)) if i not in chunk.errors]
            excused += [(_inside(folder, Path(str(chunk.files[i]))), why) for i, why in sorted(chunk.errors.items())]
            if good:
                p.append(found.probabilities(chunk)[good])
                answers.append(found.decide(p[-1]))
                kept += [at + i for i in good]
            at += len(chunk.files)
            progress.add(len(chunk.files))
    if not kept:
        raise DataError(f"none of the {len(files):,} pictures in `{show(str(folder))}` can be read", where=str(folder))
    return _judged(found.class_names, y[kept], np.concatenate(p), np.concatenate(answers), excused, say)


def _judged(
    names: tuple[str, ...], y: np.ndarray, p: np.ndarray, answers: np.ndarray, excused: list[tuple[str, str]], say: Say
) -> Judgement:
    scores = metrics.scores(y, p, split="test", class_names=names, answers=answers)
    accuracy = scores[0]
    say.line(
        "evaluate",
        f"accuracy {accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}] (n = {accuracy.n:,})"
        + (f", {len(excused):,} files excused" if excused else ""),
    )
    table = metrics.confusion(y, answers, len(names))
    return Judgement(scores=scores, class_names=names, confusion=table, excused=tuple(excused))


def labelled(folder: Path, names: tuple[str, ...]) -> tuple[list[Path], np.ndarray, list[tuple[str, str]]]:
    """Pictures of a labelled folder in sorted order with their classes, and the files that are no pictures.

    Args:
        folder: One sub-folder a class; where it has `test/`, that is taken.
        names: The model's classes.

    Raises:
        DataError: There is no picture, or a class that the model does not know.
    """
    if not folder.is_dir():
        raise DataError(
            f"there is no folder `{show(str(folder))}`", hint="give the folder that holds one sub-folder a class"
        )
    root = folder / "test" if (folder / "test").is_dir() and "test" not in names else folder
    places = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files: list[Path] = []
    y: list[int] = []
    for place in places:
        pictures = list(walk([place]))
        files += pictures
        y += [_position(place, names)] * len(pictures) if pictures else []
    if not files:
        for place in places:
            _position(place, names)
        raise DataError(
            f"there is no picture in a sub-folder of `{show(str(root))}`",
            hint=f"one sub-folder a class is needed: {', '.join(names)}",
        )
    taken = set(files)
    others = sorted(p for p in root.rglob("*") if p.is_file() and p not in taken)
    return files, np.array(y, np.int64), [(_inside(folder, p), "not a picture in a class folder") for p in others]


def _position(place: Path, names: tuple[str, ...]) -> int:
    if place.name not in names:
        hint = nearest(place.name, names) or f"the model knows {', '.join(names)}"
        raise DataError(f"the model has no class `{show(place.name)}`", where=show(str(place)), hint=hint)
    return names.index(place.name)


def _inside(folder: Path, file: Path) -> str:
    return show(file.relative_to(folder).as_posix())
