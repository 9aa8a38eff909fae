"""Which backbones can guess by the names of classes, and how: the one place that asks a source for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core.console import Console
from headstart.core.storage.cache import Store
from headstart.zero_shot import clip, conse

NameScorer = clip.ClipScorer | conse.ConseScorer  # guesses among C classes from features (M, D) at the depth `last`


def can_guess_by_names(trunk: ResolvedBackbone, store: Store) -> bool:
    """Whether a trunk can guess by names."""
    classifier = trunk.preset in trunk.source.classifiers
    return trunk.seed is None and (classifier or find_text_folder(trunk, store) is not None)


def find_text_folder(trunk: ResolvedBackbone, store: Store) -> Path | None:
    """Where the text tower of a trunk lies; None where it has none."""
    return trunk.source.text_folder(trunk.preset, store) if trunk.seed is None else None


def format_method(trunk: ResolvedBackbone, store: Store) -> str:
    """In a few words, how a trunk that can does it."""
    if find_text_folder(trunk, store):
        return f"text tower of {trunk.name}"
    return f"ConSE, {conse.MODEL} over the ImageNet classes of {trunk.name}"


def make_name_scorer(trunk: ResolvedBackbone, classes: Sequence[str], store: Store, console: Console) -> NameScorer:
    """What guesses among C names that passed `require_class_names`; the models that it needs are fetched when missing.

    Raises:
        UsageError: A name cannot be read, or two read alike.
        SetupError: A model cannot be had.
        DataError: The trunk's text tower cannot be read.
    """
    if folder := find_text_folder(trunk, store):
        return clip.make_clip_scorer(classes, folder, trunk.spec.revision, store, console)
    dense, bias = trunk.source.classifier(trunk.preset, store)
    return conse.make_conse_scorer(classes, dense, bias, store, console)
