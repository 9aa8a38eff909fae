"""What the names of the classes say of labelled pictures: a baseline that no label made, and where a head may start.

One backbone does it, on the features that the run has anyway: one with texts of its own, else the best by its prior of
those with a classifier. The guesses are measured on the training pictures at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from headstart.backbones import loading
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core.errors import UsageError
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Embeddings, Feature, NameInitialization, Score, Splits
from headstart.features.embeddings import find_positions
from headstart.statistics import metrics
from headstart.zero_shot import capability, class_names

OPTION = "--from-names"
RENAME = "rename the folder in English, or leave out --from-names"
FEW = 20  # labels a class below which a start from names is worth a try: docs/fit.md has the figures
_ROWS = 4096  # pictures at once
_TOLD = 5  # names in a warning


def list_name_backbones(candidates: Sequence[str], *, ctx: Context) -> list[str]:
    """The backbones that can guess by names: those with texts of their own, then the best prior first."""
    store = ctx.store
    backbones = [each for each in map(loading.find_backbone, candidates) if capability.can_guess_by_names(each, store)]
    backbones.sort(key=lambda each: (not capability.find_text_folder(each, store), -each.spec.prior, each.name))
    return [backbone.name for backbone in backbones]


def advise_start_from_names(data: Dataset, splits: Splits, embeddings: Sequence[Embeddings], *, ctx: Context) -> None:
    """One line where the start was not asked for and would be worth a try: few labels, names with words in them."""
    counts = np.bincount(np.asarray(data.targets)[splits.train])
    typical, names = int(np.median(counts[counts > 0])), data.class_names
    speaking = len(class_names.list_meaningless(names)) < len(names)
    if typical < FEW and speaking and list_name_backbones([each.spec.name for each in embeddings], ctx=ctx):
        advice = "`--from-names` would also try a head that starts from what the class names say"
        ctx.console.print_line("names", f"about {typical:,} labels a class: {advice}")


def keep_name_backbone(survivors: tuple[str, ...], candidates: Sequence[str], *, ctx: Context) -> tuple[str, ...]:
    """The backbones that go on, and where none of them can guess by names, the best candidate that can."""
    names = list_name_backbones(candidates, ctx=ctx)
    if set(names) & set(survivors):
        return survivors
    ctx.console.print_line("screen", f"{names[0]} goes on too: it can guess by the names of the classes")
    return (*survivors, names[0])


def require_name_backbone(classes: Sequence[str], candidates: Sequence[str], *, ctx: Context) -> list[str]:
    """Refuse what cannot work, as far as it is known without a model of language; else as `list_name_backbones`.

    Raises:
        UsageError: The names of the classes cannot be used, or no candidate can guess by names.
    """
    with _blame_folders():
        class_names.require_class_names(classes)
    names = list_name_backbones(candidates, ctx=ctx)
    if not names:
        problem = f"none of the backbones can guess by names: {', '.join(candidates)}"
        hint = "add bundled:efficientnet_lite2 to --backbones, or leave out --from-names"
        raise UsageError(problem, where=OPTION, hint=hint)
    return names


def require_start_from_names(classes: Sequence[str], candidates: Sequence[str], *, ctx: Context) -> None:
    """Refuse what cannot work before a picture is passed through a trunk; models that are missing are fetched.

    Raises:
        UsageError: The names of the classes cannot be used, or no candidate can guess by names.
        SetupError: A model that reads the names cannot be had.
    """
    backbones = require_name_backbone(classes, candidates, ctx=ctx)
    _make_scorer(loading.find_backbone(backbones[0]), classes, ctx)
    empty = class_names.list_meaningless(classes)
    if empty:
        examples = ", ".join(f"`{name}`" for name in empty[:_TOLD]) + (", …" if len(empty) > _TOLD else "")
        count = f"{len(empty):,} of {len(classes):,}"
        ctx.console.print_warning(f"no word in {count} class names says what a picture shows: {examples}")


def initialize_head_from_names(
    data: Dataset, splits: Splits, embeddings: Sequence[Embeddings], *, ctx: Context
) -> NameInitialization:
    """Guess by names from features of at least one backbone that can, and print the scores on the training pictures.

    Raises:
        UsageError: The names of the classes cannot be used.
        SetupError: A model that reads the names cannot be had.
    """
    backbone = loading.find_backbone(list_name_backbones([each.spec.name for each in embeddings], ctx=ctx)[0])
    features = next(each for each in embeddings if each.spec.name == backbone.name)
    scorer = _make_scorer(backbone, data.class_names, ctx)
    last = backbone.spec.depths[-1]
    vectors = features.vectors[last.name]
    chunks = (np.asarray(vectors[at : at + _ROWS], np.float32) for at in range(0, len(vectors), _ROWS))
    start = NameInitialization(
        feature=Feature(backbone=backbone.name, depth=last.name, dim=last.dim),
        weights=scorer.make_linear_weights(),
        rows=np.asarray(features.rows),
        similarities=np.concatenate([scorer.compute_similarities(chunk) for chunk in chunks]),
        how=capability.format_method(backbone, ctx.store),
    )
    serialization.save_value(start, ctx.make_step_folder("names"))
    _print_scores(start, data, splits, ctx)
    return start


def _make_scorer(backbone: ResolvedBackbone, classes: Sequence[str], ctx: Context) -> capability.NameScorer:
    with _blame_folders():
        return capability.make_name_scorer(backbone, classes, ctx.store, ctx.console)


@contextmanager
def _blame_folders() -> Iterator[None]:
    try:
        yield
    except UsageError as err:
        raise UsageError(err.what, where=OPTION, hint=RENAME) from err


def _print_scores(start: NameInitialization, data: Dataset, splits: Splits, ctx: Context) -> None:
    y = np.asarray(data.targets)[splits.train]
    similarities = np.asarray(start.similarities)[find_positions(start.rows, splits.train, "guessed by names")]
    clusters = np.asarray(splits.clusters)[splits.train]
    names = ("accuracy", "balanced_accuracy")
    plain, balanced = (metrics.compute_score(name, y, similarities, split="train", clusters=clusters) for name in names)
    scores = f"accuracy {_format_score(plain)}, balanced accuracy {_format_score(balanced)}"
    method = f"by the names of the classes alone, no label ({start.how})"
    ctx.console.print_line("names", f"{method}: {scores} on the {len(y):,} training pictures")
    chance = 1 / len(np.unique(y))
    if balanced.low <= chance:
        compared = f"balanced accuracy {_format_score(balanced)}, and guessing has {chance:.3f}"
        ctx.console.print_warning(f"the names of the classes say little of these pictures: {compared}")


def _format_score(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
