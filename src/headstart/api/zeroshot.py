"""Guesses by class names, without a run: zero-shot prediction, and the classifier that a backbone was trained with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.console import Console
from headstart.core.storage.cache import default_store

if TYPE_CHECKING:
    from headstart.core.types import ZeroShotPrediction
    from headstart.zero_shot.source_classifier import SourceClassifier


def zeroshot(
    pictures: str | Path | Iterable[str | Path],
    classes: Sequence[str],
    *,
    backbone: str = "bundled:efficientnet_lite2",
    console: Console | None = None,
) -> Iterator[ZeroShotPrediction]:
    """Guess the class of pictures, files or folders, by the English names of two or more classes; nothing is measured.

    The backbone learnt pictures and texts, or has an ImageNet classifier. Guesses come in order, as they are made; one
    that cannot be read has `error`.

    Raises:
        UsageError: The class names cannot be used, or the backbone has neither a text tower nor a classifier.
        SetupError: Weights, names, KerasHub or OpenVINO cannot be had.
    """
    from headstart.runtime.inputs.decoded_batches import walk_paths
    from headstart.zero_shot.prediction import predict_zero_shot as guess

    console = console or Console()
    paths = walk_paths(map(Path, [pictures] if isinstance(pictures, str | Path) else pictures))
    return guess(paths, classes, backbone=backbone, store=default_store(console), console=console)


def source_classifier(backbone: str, *, console: Console | None = None) -> SourceClassifier:
    """A backbone with the classifier that it was trained with; its `predict` answers with ImageNet's classes.

    Raises:
        UsageError: There is no such backbone, or it has no classifier.
        SetupError: Weights or names cannot be had.
    """
    from headstart.zero_shot.source_classifier import load_source_classifier

    console = console or Console()
    return load_source_classifier(backbone, default_store(console), console)
