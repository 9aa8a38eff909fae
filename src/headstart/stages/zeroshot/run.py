"""Answers without any label: ConSE, the convex combination of semantic embeddings (Norouzi et al. 2013).

The source classifier says what it sees among ImageNet's classes; the vectors of the names of the ten likeliest are
averaged by their probabilities; the user's class whose name has the largest cosine with that mean is the answer.
Nothing here is measured on the user's pictures, and every output says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from headstart.core.errors import UsageError
from headstart.core.say import Say
from headstart.core.store import Store
from headstart.core.types import Guess
from headstart.kit import imagenet, sentences
from headstart.stages.zeroshot.look import Classifier, Seen, classifier, likeliest

TOP = 10  # classes of the source that are averaged: T of the paper, which found little between 10 and 1,000
UNMEASURED = "unmeasured: none of these pictures has a label; a few labels and `headstart fit` measure it"


def run(
    files: Iterable[Path], classes: Sequence[str], *, backbone: str, store: Store, say: Say, top: int = TOP
) -> Iterator[Guess]:
    """Guess the class of each picture, in order, as they are made.

    Args:
        files: Picture files; consumed as needed. One that cannot be read gives a `Guess` with `error`.
        classes: C names in English, at least two.
        backbone: `source:preset` of a source with an ImageNet classifier.
        store: The cache.
        say: The terminal.
        top: Classes of the source that are averaged.

    Raises:
        UsageError: The class names cannot be used, or the backbone has no classifier; before any picture is read.
        SetupError: Weights, names or OpenVINO cannot be had.
    """
    require_classes(classes)
    source = classifier(backbone, store, say)
    model = sentences.model(store, say)
    _require_apart(classes, model)
    targets = model.embed(map(as_words, classes))  # (C, 384)
    names = imagenet.vectors(source.named, model, store, say)  # (1000, 384)
    say.warn(UNMEASURED)
    return (_guess(seen, source, names, targets, tuple(classes), top) for seen in source.look(files))


def _guess(
    seen: Seen, source: Classifier, names: np.ndarray, targets: np.ndarray, classes: tuple[str, ...], top: int
) -> Guess:
    if seen.error:
        return Guess(uri=seen.uri, answer="", error=seen.error)
    cosines = np.einsum("cd,d->c", targets, combined(seen.probabilities, names, top))
    order = np.argsort(-cosines, kind="stable").tolist()
    ranked = {classes[at]: float(cosines[at]) for at in order}
    return Guess(uri=seen.uri, answer=classes[order[0]], cosines=ranked, seen=source.top(seen.probabilities))


def combined(probabilities: np.ndarray, names: np.ndarray, top: int) -> np.ndarray:
    """The paper's f(x), of length 1.

    Args:
        probabilities: (1000,) of the source's classes.
        names: (1000, 384) vectors of their names.
        top: How many of the likeliest are averaged.

    Returns:
        (384,) float32.
    """
    chosen = likeliest(probabilities, top)
    mean = np.einsum("t,td->d", probabilities[chosen], names[chosen])
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


# ---------------------------------------------------------------- class names


def as_words(name: str) -> str:
    """A class name as the sentence model reads it: underscores are spaces."""
    return " ".join(name.replace("_", " ").split())


def require_classes(classes: Sequence[str]) -> None:
    """Refuse class names that cannot be compared.

    Raises:
        UsageError: There are fewer than two, one has neither letter nor digit, or one is there twice.
    """
    hint = 'name at least two, as in --classes "cat,espresso,palace"'
    if isinstance(classes, str):
        raise UsageError(f"the classes are one text, `{classes}`", hint='a list of names: ["cat", "espresso"]')
    empty = [name for name in classes if not re.search(r"[^\W_]", name)]
    if empty:
        raise UsageError(f"the class name `{empty[0]}` has no letter and no digit", where="--classes", hint=hint)
    if not classes:
        raise UsageError("no class is named", where="--classes", hint=hint)
    if len(classes) == 1:
        raise UsageError(f"with one class, `{classes[0]}`, there is nothing to choose", where="--classes", hint=hint)
    before: dict[str, str] = {}
    for name in classes:
        if (word := as_words(name).casefold()) in before:
            raise _twice(name, before[word])
        before[word] = name


def _require_apart(classes: Sequence[str], model: sentences.Sentences) -> None:
    """Refuse names that the sentence model cannot read or cannot tell apart."""
    before: dict[tuple[int, ...], str] = {}
    for name in classes:
        pieces = tuple(model.pieces.numbers(as_words(name)))
        if set(pieces) == {model.pieces.unknown}:
            what = f"the sentence model can read nothing of the class name `{name}`"
            raise UsageError(what, where="--classes", hint="name it in English")
        if pieces in before:
            raise _twice(name, before[pieces])
        before[pieces] = name


def _twice(name: str, before: str) -> UsageError:
    also = f": it reads as `{before}`" if before != name else ""
    return UsageError(f"the class `{name}` is named twice{also}", where="--classes", hint="name each class once")
