"""Answers without any label, by a network's own texts (`clip`) or else by ConSE; every output says it is unmeasured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from headstart.backbones import loading
from headstart.backbones.downloads.shared_weights import pull_weights
from headstart.core.console import Console
from headstart.core.storage.cache import Store
from headstart.core.types import ZeroShotPrediction
from headstart.zero_shot import capability, class_names, conse
from headstart.zero_shot.clip import ClipScorer
from headstart.zero_shot.source_classifier import PictureVector, extract_last_level, load_source_classifier

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
        pull_weights(trunk, store, console)
    if capability.find_text_folder(trunk, store):
        texts = capability.make_name_scorer(trunk, classes, store, console)
        assert isinstance(texts, ClipScorer)
        console.print_warning(UNMEASURED)
        pictures = extract_last_level(files, trunk, store, console)
        return _guess_classes(pictures, classes, lambda vector: _score_by_texts(vector, texts))
    source = load_source_classifier(backbone, store, console)
    names = conse.make_conse_scorer(classes, source.weights, source.bias, store, console)
    console.print_warning(UNMEASURED)
    return _guess_classes(
        source.run_classifier(files),
        classes,
        lambda seen: (names.compute_cosines(seen, top), np.empty(0), source.list_likeliest(seen)),
    )


_Scores = tuple[np.ndarray, np.ndarray, dict[str, float]]  # cosines (C,), scores (C,) or (0,), classes of the source


def _score_by_texts(vector: np.ndarray, texts: ClipScorer) -> _Scores:
    cosines = texts.compute_similarities(vector[None])
    return cosines[0], texts.compute_scores(cosines)[0], {}


def _guess_classes(
    pictures: Iterable[PictureVector], classes: Sequence[str], score: Callable[[np.ndarray], _Scores]
) -> Iterator[ZeroShotPrediction]:
    """The nearest class first; ties in the order of the classes."""
    for picture in pictures:
        if picture.error:
            yield ZeroShotPrediction(uri=picture.uri, answer="", error=picture.error)
            continue
        cosines, scores, seen = score(picture.vector)
        order = np.argsort(-cosines, kind="stable").tolist()
        yield ZeroShotPrediction(
            uri=picture.uri,
            answer=classes[order[0]],
            cosines={classes[at]: float(cosines[at]) for at in order},
            scores={classes[at]: float(scores[at]) for at in order} if len(scores) else {},
            seen=seen,
        )
