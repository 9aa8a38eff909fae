"""Answers without any label, picture by picture: by a network's own texts (`headstart.zero_shot.clip`), where the
backbone learnt pictures and texts together, else by ConSE (`headstart.zero_shot.conse`).

Nothing here is measured on the user's pictures, and every output says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from headstart.backbones import loading
from headstart.core.console import Console
from headstart.core.storage.cache import Store
from headstart.core.types import ZeroShotPrediction
from headstart.zero_shot import capability, class_names, conse
from headstart.zero_shot.clip import ClipScorer
from headstart.zero_shot.conse import Conse
from headstart.zero_shot.source_classifier import Classifier, ClassifierOutput, ClassifierPass, classifier, look

UNMEASURED = "unmeasured: none of these pictures has a label; a few labels and `headstart fit` measure it"


def predict_zero_shot(
    files: Iterable[Path],
    classes: Sequence[str],
    *,
    backbone: str,
    store: Store,
    console: Console,
    top: int = conse.TOP,
) -> Iterator[ZeroShotPrediction]:
    """Guess the class of each picture, in order, as they are made.

    Args:
        files: Picture files; consumed as needed. One that cannot be read gives a `ZeroShotPrediction` with `error`.
        classes: C names in English, at least two.
        backbone: `source:preset` of a network that learnt pictures and texts, or with an ImageNet classifier.
        store: The cache.
        console: The terminal.
        top: Classes of the source that are averaged.

    Raises:
        UsageError: The class names cannot be used, or the backbone has no classifier; before any picture is read.
        SetupError: Weights, names, KerasHub or OpenVINO cannot be had.
    """
    class_names.require(classes)
    one = loading.find_backbone(backbone, fetching=True, console=console)
    if one.source.has_text_towers:
        one.source.pull(one.preset, store, console)
    if capability.text_folder(one, store):
        texts = capability.of(one, classes, store, console)
        assert isinstance(texts, ClipScorer)
        console.print_warning(UNMEASURED)
        return (_matched(each, texts, tuple(classes)) for each in look(files, one, store, console))
    source = classifier(backbone, store, console)
    named = conse.of_names(classes, source.weights, source.bias, store, console)
    console.print_warning(UNMEASURED)
    return (_guess(seen, source, named, tuple(classes), top) for seen in source.look(files))


def _matched(one: ClassifierPass, texts: ClipScorer, classes: tuple[str, ...]) -> ZeroShotPrediction:
    """By the texts of a network that learnt pictures and texts together."""
    if one.error:
        return ZeroShotPrediction(uri=one.uri, answer="", error=one.error)
    cosines = texts.similarities(one.features[None])
    scores = texts.scores(cosines)[0]
    ranked = _ranked(cosines[0], classes)
    by_class = dict(zip(classes, scores.tolist(), strict=True))
    return ZeroShotPrediction(
        uri=one.uri, answer=next(iter(ranked)), cosines=ranked, scores={name: by_class[name] for name in ranked}
    )


def _ranked(cosines: np.ndarray, classes: tuple[str, ...]) -> dict[str, float]:
    """Class -> cosine, the nearest first; ties in the order of the classes."""
    return {classes[at]: float(cosines[at]) for at in np.argsort(-cosines, kind="stable").tolist()}


def _guess(
    seen: ClassifierOutput, source: Classifier, named: Conse, classes: tuple[str, ...], top: int
) -> ZeroShotPrediction:
    if seen.error:
        return ZeroShotPrediction(uri=seen.uri, answer="", error=seen.error)
    cosines = named.cosines(seen.probabilities, top)
    ranked = _ranked(cosines, classes)
    return ZeroShotPrediction(
        uri=seen.uri, answer=next(iter(ranked)), cosines=ranked, seen=source.top(seen.probabilities)
    )
