"""Answers without any label, by a network's own texts (`clip`) or else by ConSE; every output says it is unmeasured."""

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
from headstart.zero_shot.conse import ConseScorer
from headstart.zero_shot.source_classifier import (
    ClassifierOutput,
    ClassifierPass,
    SourceClassifier,
    extract_last_level,
    load_source_classifier,
)

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
        classes: C names in English, at least two.
        backbone: `source:preset` of a network that learnt pictures and texts, or with an ImageNet classifier.
        top: Classes of the source that are averaged.

    Raises:
        UsageError: The class names cannot be used, or the backbone has no classifier; before any picture is read.
        SetupError: Weights, names, KerasHub or OpenVINO cannot be had.
    """
    class_names.require_class_names(classes)
    trunk = loading.find_backbone(backbone, fetching=True, console=console)
    if trunk.source.has_text_towers:
        trunk.source.pull(trunk.preset, store, console)
    if capability.find_text_folder(trunk, store):
        texts = capability.make_name_scorer(trunk, classes, store, console)
        assert isinstance(texts, ClipScorer)
        console.print_warning(UNMEASURED)
        return (
            _guess_by_texts(each, texts, tuple(classes)) for each in extract_last_level(files, trunk, store, console)
        )
    source = load_source_classifier(backbone, store, console)
    names = conse.make_conse_scorer(classes, source.weights, source.bias, store, console)
    console.print_warning(UNMEASURED)
    return (_guess_by_conse(output, source, names, tuple(classes), top) for output in source.run_classifier(files))


def _guess_by_texts(picture: ClassifierPass, texts: ClipScorer, classes: tuple[str, ...]) -> ZeroShotPrediction:
    if picture.error:
        return ZeroShotPrediction(uri=picture.uri, answer="", error=picture.error)
    cosines = texts.compute_similarities(picture.features[None])
    scores = texts.compute_scores(cosines)[0]
    ranked = _rank_classes(cosines[0], classes)
    by_class = dict(zip(classes, scores.tolist(), strict=True))
    return ZeroShotPrediction(
        uri=picture.uri, answer=next(iter(ranked)), cosines=ranked, scores={name: by_class[name] for name in ranked}
    )


def _rank_classes(cosines: np.ndarray, classes: tuple[str, ...]) -> dict[str, float]:
    """Class -> cosine, the nearest first; ties in the order of the classes."""
    return {classes[at]: float(cosines[at]) for at in np.argsort(-cosines, kind="stable").tolist()}


def _guess_by_conse(
    output: ClassifierOutput, source: SourceClassifier, names: ConseScorer, classes: tuple[str, ...], top: int
) -> ZeroShotPrediction:
    if output.error:
        return ZeroShotPrediction(uri=output.uri, answer="", error=output.error)
    cosines = names.compute_cosines(output.probabilities, top)
    ranked = _rank_classes(cosines, classes)
    return ZeroShotPrediction(
        uri=output.uri, answer=next(iter(ranked)), cosines=ranked, seen=source.list_likeliest(output.probabilities)
    )
