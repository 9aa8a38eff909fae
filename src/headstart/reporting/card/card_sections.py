"""The card's text, section by section, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from headstart.backbones.licences import is_permissive
from headstart.core.console import format_bytes
from headstart.core.types import Score
from headstart.reporting.card import limitations, markdown, slices
from headstart.reporting.card.card_data import CardInput
from headstart.reporting.card.slices import Slice

_SPLITS = {"test": "the test pictures, held out and looked at once", "val": "the given validation pictures"}
_SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss", "brier", "ece", "mean_cost")
_OF_CLASS = ("recall", "precision", "f1")
_MOST_NAMED = 20  # classes named in the first sentence
_MOST_ROWS = 100  # classes that a table holds
_UNCERTAINTY = {
    "coverage": "share of pictures whose true class is in the prediction set, on average over re-draws",
    "set_size": "classes in the prediction set, on average",
    "singletons": "share with one class in the set",
    "empty_sets": "share with an empty set",
    "unknown": "share answered `unknown`",
    "novelty_auc": "ROC AUC of telling strange pictures from known ones",
}


def body(of: CardInput) -> str:
    """All sections."""
    cut = slices.cut(of)
    parts = (
        _opening(of),
        _use(of),
        _data(of),
        _results(of, cut),
        _format_uncertainty(of),
        "## Limits found\n\n" + markdown.bullets(limitations.found(of, cut)),
        _model(of),
        _how(),
    )
    return "\n".join(parts)


def _headline(of: CardInput, name: str) -> Score | None:
    split = of.evaluation.split
    return next((s for s in of.evaluation.scores if (s.split, s.name, s.subject) == (split, name, "")), None)


def _split(of: CardInput) -> str:
    return _SPLITS.get(of.evaluation.split, "held-out folds of the training pictures")


def _classes(of: CardInput) -> str:
    names = of.dataset.class_names
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(markdown.code, names[:_MOST_NAMED])) + more


def _opening(of: CardInput) -> str:
    accuracy, balanced = _headline(of, "accuracy"), _headline(of, "balanced_accuracy")
    assert accuracy is not None and balanced is not None
    verdict = next((v for v in of.evaluation.verdicts if v.code == "headline"), None)
    return (
        f"# Picture classifier {markdown.plain(of.dataset.name)}\n\n"
        f"It tells {len(of.dataset.class_names):,} classes apart: {_classes(of)}. Accuracy "
        f"{markdown.interval(accuracy)}, balanced accuracy {markdown.interval(balanced)} on {_split(of)} "
        f"(n = {accuracy.n:,}); brackets are 95 % intervals everywhere.\n"
        + (f"\n{_capital(markdown.said(verdict.sentence.rpartition('; ')[2]))}.\n" if verdict else "")
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _use(of: CardInput) -> str:
    found = of.uncertainty
    declines = found is not None and (found.novelty is not None or bool(np.isfinite(found.floors).any()))
    says = (
        "It may answer `unknown`; such pictures are for a person to look at."
        if declines
        else "It always names one of its classes, whatever a picture shows: keep other pictures away from it."
    )
    lines = [
        "For single pictures that show one of its classes and were made as those of "
        f"{markdown.code(of.dataset.name)} were. {says}",
        "An answer is a suggestion with a probability, not a fact; the shares of wrong ones are below, class by class.",
        "Not for pictures of other things or from other sources without measuring it there first "
        "(`headstart evaluate RUN FOLDER`), and not for decisions about people without a person who decides.",
    ]
    return "## Intended use\n\n" + markdown.bullets(lines)


# ---------------------------------------------------------------- data


def _data(of: CardInput) -> str:
    data, splits = of.dataset, of.splits
    sides = {"training": splits.train, "validation": splits.val, "test": splits.test}
    kept = {name: rows for name, rows in sides.items() if len(rows)}
    targets, names = np.asarray(data.targets), data.class_names
    counts = [np.bincount(targets[np.asarray(r)], minlength=len(names)) for r in kept.values()]
    shown = sorted(np.argsort(counts[0], kind="stable")[:_MOST_ROWS].tolist())
    rows = [[markdown.code(names[c]), *(f"{count[c]:,}" for count in counts)] for c in shown]
    rows.append([f"all {len(names):,}", *(f"{len(r):,}" for r in kept.values())])
    alike = len(data.uris) - len(np.unique(np.asarray(splits.clusters)))
    given = "The folder gave the splits." if splits.given else markdown.said(_capital(splits.why).rstrip(".")) + "."
    lines = [
        f"Name {markdown.code(data.name)}, {len(data.uris):,} pictures, SHA-256 `{data.digest}`.",
        f"{given} Near-duplicates stay on one side ({alike:,} pictures look like an earlier one).",
        f"{len(data.excused):,} files on disk were not used"
        + ("; the report names each with the reason." if data.excused else "."),
    ]
    return (
        "## Training data\n\n"
        + markdown.bullets(lines)
        + "\n"
        + _few(len(names), "with the fewest training pictures; `read/files.csv` beside this card lists every file")
        + markdown.table(("class", *(f"{n} pictures" for n in kept)), rows)
    )


def _few(count: int, which: str) -> str:
    """A line above a table that does not hold all classes."""
    return f"The {_MOST_ROWS} of {count:,} classes {which}:\n\n" if count > _MOST_ROWS else ""


# ---------------------------------------------------------------- results


def _results(of: CardInput, cut: list[Slice]) -> str:
    whole = [score for name in _SCORES if (score := _headline(of, name)) is not None]
    parts = [
        f"## Results\n\nOn {_split(of)}.\n",
        markdown.table(("score", "value [95 % interval]", "n"), [_row(score) for score in whole]),
        "Class by class:\n",
        _few(len(of.dataset.class_names), "that are found least; `evaluate/scores.csv` beside this card has all")
        + markdown.table(("class", *(name.replace("_", " ") for name in _OF_CLASS), "n"), _by_class(of)),
    ]
    if cut:
        head = ("slice", "accuracy", "n", "from the rest")
        told = "Slices, cut by facts of the files and thirds of the training pictures, before any answer was seen:\n"
        parts += [told, markdown.table(head, map(_slice, cut))]
    others = [s for s in of.evaluation.baselines if s.name == "balanced_accuracy"]
    if others:
        rows = [[markdown.plain(s.subject), markdown.interval(s), f"{s.n:,}"] for s in others]
        parts += [
            "Baselines (some on other pictures than the table above: mind the n):\n",
            markdown.table(("baseline", "balanced accuracy", "n"), rows),
        ]
    return "\n".join(parts)


def _row(score: Score) -> list[str]:
    return [score.name.replace("_", " "), markdown.interval(score), f"{score.n:,}"]


def _by_class(of: CardInput) -> Iterator[list[str]]:
    scores = {(s.subject, s.name): s for s in of.evaluation.scores if s.split == of.evaluation.split}
    each = [(name, [scores[name, metric] for metric in _OF_CLASS]) for name in of.dataset.class_names]
    least = sorted((row[0].value if row[0].n else math.inf, at) for at, (_, row) in enumerate(each))[:_MOST_ROWS]
    for name, row in (each[at] for at in sorted(at for _, at in least)):
        yield [markdown.code(name), *map(markdown.interval, row), f"{row[0].n:,}"]


def _slice(one: Slice) -> list[str]:
    value, low, high = one.apart
    return [
        f"{one.by}: {markdown.plain(one.name)}",
        markdown.interval(one.score),
        f"{one.score.n:,}",
        f"{value:+.3f} [{low:+.3f}, {high:+.3f}]",
    ]


# ---------------------------------------------------------------- uncertainty


def _format_uncertainty(of: CardInput) -> str:
    found = of.uncertainty
    if found is None:
        return "## Calibration and uncertainty\n\nUncertainty was not measured in this run.\n"
    names = of.dataset.class_names
    many = set(names) if len(names) > _MOST_ROWS else ()  # one by one they are in the run folder
    lines = [
        f"Logits are divided by {of.model.calibration.temperature:.3f} (temperature scaling).",
        *_ece(found.scores),
        f"Asked for: the true class in the prediction set of {100 * found.coverage:g} % of pictures. "
        f"{_capital(markdown.said(found.why.rstrip('.')))}.",
    ]
    rows = [
        [
            f"{_UNCERTAINTY[s.name]}{f' ({markdown.plain(s.subject)})' if s.subject else ''}",
            markdown.interval(s),
            f"{s.n:,}",
        ]
        for s in found.scores
        if s.name in _UNCERTAINTY and s.subject not in many
    ]
    head = ("measured", "value [95 % interval]", "n")
    return (
        "## Calibration and uncertainty\n\n"
        + markdown.bullets(lines)
        + ("\n" + markdown.table(head, rows) if rows else "")
    )


def _ece(scores: tuple[Score, ...]) -> Iterator[str]:
    by_subject = {s.subject: s for s in scores if s.name == "ece"}
    if {"before", "after"} <= by_subject.keys():
        yield (
            f"Calibration error {markdown.interval(by_subject['before'])} before that and "
            f"{markdown.interval(by_subject['after'])} after it (n = {by_subject['after'].n:,})."
        )


# ---------------------------------------------------------------- the model


def _model(of: CardInput) -> str:
    head = of.adapted.fitted
    trunks = [
        [
            markdown.code(t.name),
            ", ".join(markdown.code(depth.name) for depth in t.depths),
            f"{t.input.size_px} px",
            markdown.plain(t.licence),
        ]
        for t in of.model.trunks
    ]
    lines = [
        f"{_capital(markdown.plain(of.adapted.strategy))}: a head {markdown.code(head.head)} with "
        f"{head.trainable_params:,} "
        f"fitted numbers on features of {len(trunks)} trunk{'s' if len(trunks) > 1 else ''}.",
        f"Saved in `model/`, {format_bytes(of.exported.bytes)}, without executable parts; it answers with numpy, "
        "Pillow and "
        f"OpenVINO. Written by headstart {markdown.plain(of.model.headstart)}.",
    ]
    return (
        "## Model and licence\n\n"
        + markdown.bullets(lines)
        + "\n"
        + markdown.table(("trunk", "read at", "input", "licence of the weights"), trunks)
        + "\n"
        + markdown.bullets(_follows(of))
    )


def _follows(of: CardInput) -> Iterator[str]:
    """What the licence of each trunk means for the model that holds it."""
    for trunk in of.model.trunks:
        name, licence = markdown.code(trunk.name), markdown.plain(trunk.licence)
        if is_permissive(trunk.licence):
            yield (
                f"{name} ({licence}): the model holds its weights, so it may be used, changed and passed on, also for "
                "money, as long as the licence and its notices go with it."
            )
        else:
            yield (
                f"{name} ({licence}): this is on no list of permissive licences. The model holds its weights, so the "
                "same terms hold for the model: read them before it is used for money or passed on."
            )
        if trunk.licence_note:
            yield f"{name}, what else to know of its licence: {markdown.said(trunk.licence_note.rstrip('.'))}."
    yield (
        "The licence of the weights says nothing of the rights in the pictures that the head learnt from: whoever "
        "passes the model on must have these."
    )


def _how() -> str:
    return (
        "## How to use\n\nRUN is the folder of this card.\n\n"
        "```sh\nheadstart predict RUN picture.jpg\n"
        "headstart explain RUN picture.jpg\nheadstart evaluate RUN other_labelled_pictures\n```\n\n"
        "```python\nimport headstart\n\nrun = headstart.load('RUN')\n"
        "for answer in run.predict(['picture.jpg']):\n    print(answer.answer, answer.probabilities)\n```\n\n"
        "`report.html` beside this card tells all of it, with pictures.\n"
    )
