"""What the names of the classes say of labelled pictures: a baseline that no label made, and where a head may start.

One backbone does it, on the features that the run has anyway: one with texts of its own, else the best by its published
accuracy of those with a classifier.
Here, where there are labels, the guesses are measured: on the training pictures at once, on the test split with the
other baselines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.backbones import loading
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


def fitting(candidates: Sequence[str], *, ctx: Context) -> list[str]:
    """The backbones that can guess by names: those with texts of their own, then the best prior first."""
    able = [one for one in map(loading.find_backbone, candidates) if capability.can(one, ctx.store)]
    texts = {one.name: capability.text_folder(one, ctx.store) is not None for one in able}
    return [one.name for one in sorted(able, key=lambda one: (not texts[one.name], -one.spec.prior, one.name))]


def advise(data: Dataset, splits: Splits, embeddings: Sequence[Embeddings], *, ctx: Context) -> None:
    """One line where the start was not asked for and would be worth a try: few labels, names with words in them."""
    counts = np.bincount(np.asarray(data.targets)[splits.train])
    typical, names = int(np.median(counts[counts > 0])), data.class_names
    speaking = len(class_names.says_nothing(names)) < len(names)
    if typical < FEW and speaking and fitting([each.spec.name for each in embeddings], ctx=ctx):
        said = "`--from-names` would also try a head that starts from what the class names say"
        ctx.console.print_line("names", f"about {typical:,} labels a class: {said}")


def with_naming(survivors: tuple[str, ...], candidates: Sequence[str], *, ctx: Context) -> tuple[str, ...]:
    """The backbones that go on, and where none of them can guess by names, the best candidate that can."""
    able = fitting(candidates, ctx=ctx)
    if set(able) & set(survivors):
        return survivors
    ctx.console.print_line("screen", f"{able[0]} goes on too: it can guess by the names of the classes")
    return (*survivors, able[0])


def require_possible(classes: Sequence[str], candidates: Sequence[str], *, ctx: Context) -> list[str]:
    """Refuse what cannot work, as far as it is known without a model of language.

    Returns:
        As `fitting`.

    Raises:
        UsageError: The names of the classes cannot be used, or no candidate can guess by names.
    """
    class_names.require(classes, where=OPTION, hint=RENAME)
    able = fitting(candidates, ctx=ctx)
    if not able:
        what = f"none of the backbones can guess by names: {', '.join(candidates)}"
        hint = "add bundled:efficientnet_lite2 to --backbones, or leave out --from-names"
        raise UsageError(what, where=OPTION, hint=hint)
    return able


def require(classes: Sequence[str], candidates: Sequence[str], *, ctx: Context) -> None:
    """Refuse what cannot work before a picture is passed through a trunk; models that are missing are fetched.

    Raises:
        UsageError: The names of the classes cannot be used, or no candidate can guess by names.
        SetupError: A model that reads the names cannot be had.
    """
    able = require_possible(classes, candidates, ctx=ctx)
    capability.of(loading.find_backbone(able[0]), classes, ctx.store, ctx.console, where=OPTION, hint=RENAME)
    empty = class_names.says_nothing(classes)
    if empty:
        told = ", ".join(f"`{name}`" for name in empty[:_TOLD]) + (", …" if len(empty) > _TOLD else "")
        ctx.console.print_warning(
            f"no word in {len(empty):,} of {len(classes):,} class names says what a picture shows: {told}"
        )


def initialize_head_from_names(
    data: Dataset, splits: Splits, embeddings: Sequence[Embeddings], *, ctx: Context
) -> NameInitialization:
    """Guess by names from features that are at hand, and say how good that is.

    Args:
        data: Its class names, and labels to measure by.
        splits: The training pictures.
        embeddings: Features of all pictures; of at least one backbone that can guess by names.
        ctx: The run.

    Raises:
        UsageError: The names of the classes cannot be used.
        SetupError: A model that reads the names cannot be had.
    """
    one = loading.find_backbone(fitting([each.spec.name for each in embeddings], ctx=ctx)[0])
    own = next(each for each in embeddings if each.spec.name == one.name)
    named = capability.of(one, data.class_names, ctx.store, ctx.console, where=OPTION, hint=RENAME)
    last = one.spec.depths[-1]
    vectors = own.vectors[last.name]
    chunks = (np.asarray(vectors[at : at + _ROWS], np.float32) for at in range(0, len(vectors), _ROWS))
    found = NameInitialization(
        feature=Feature(backbone=one.name, depth=last.name, dim=last.dim),
        weights=named.linear(),
        rows=np.asarray(own.rows),
        similarities=np.concatenate([named.similarities(chunk) for chunk in chunks]),
        how=capability.how(one, ctx.store),
    )
    serialization.save_value(found, ctx.make_step_folder("names"))
    _say(found, data, splits, ctx)
    return found


def _say(found: NameInitialization, data: Dataset, splits: Splits, ctx: Context) -> None:
    """One line with the scores on the training pictures; a warning where they are those of guessing."""
    y = np.asarray(data.targets)[splits.train]
    given = np.asarray(found.similarities)[find_positions(found.rows, splits.train, "guessed by names")]
    clusters = np.asarray(splits.clusters)[splits.train]
    names = ("accuracy", "balanced_accuracy")
    plain, balanced = (metrics.compute_score(name, y, given, split="train", clusters=clusters) for name in names)
    ctx.console.print_line(
        "names",
        f"by the names of the classes alone, no label ({found.how}): accuracy {_shown(plain)}, balanced accuracy "
        f"{_shown(balanced)} on the {len(y):,} training pictures",
    )
    chance = 1 / len(np.unique(y))
    if balanced.low <= chance:
        told = f"balanced accuracy {_shown(balanced)}, and guessing has {chance:.3f}"
        ctx.console.print_warning(f"the names of the classes say little of these pictures: {told}")


def _shown(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
