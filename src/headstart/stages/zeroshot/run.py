"""Answers without any label: ConSE (`headstart.kit.conse`), picture by picture.

Nothing here is measured on the user's pictures, and every output says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from headstart.core.say import Say
from headstart.core.store import Store
from headstart.core.types import Guess
from headstart.kit import class_names, conse
from headstart.kit.conse import Conse
from headstart.stages.zeroshot.look import Classifier, Seen, classifier

UNMEASURED = "unmeasured: none of these pictures has a label; a few labels and `headstart fit` measure it"


def run(
    files: Iterable[Path], classes: Sequence[str], *, backbone: str, store: Store, say: Say, top: int = conse.TOP
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
    class_names.require(classes)
    source = classifier(backbone, store, say)
    named = conse.of_names(classes, source.weights, source.bias, store, say)
    say.warn(UNMEASURED)
    return (_guess(seen, source, named, tuple(classes), top) for seen in source.look(files))


def _guess(seen: Seen, source: Classifier, named: Conse, classes: tuple[str, ...], top: int) -> Guess:
    if seen.error:
        return Guess(uri=seen.uri, answer="", error=seen.error)
    cosines = named.cosines(seen.probabilities, top)
    order = np.argsort(-cosines, kind="stable").tolist()
    ranked = {classes[at]: float(cosines[at]) for at in order}
    return Guess(uri=seen.uri, answer=classes[order[0]], cosines=ranked, seen=source.top(seen.probabilities))
