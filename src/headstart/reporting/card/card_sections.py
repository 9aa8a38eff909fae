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


def format_card_body(card: CardInput) -> str:
    """All sections."""
    card_slices = slices.make_slices(card)
    parts = (
        _format_opening(card),
        _format_intended_use(card),
        _format_data(card),
        _format_results(card, card_slices),
        _format_uncertainty(card),
        "## Limits found\n\n" + markdown.format_bullets(limitations.list_limitations(card, card_slices)),
        _format_model(card),
        _format_how_to_use(),
    )
    return "\n".join(parts)


def _find_headline(card: CardInput, name: str) -> Score | None:
    split = card.evaluation.split
    return next((s for s in card.evaluation.scores if (s.split, s.name, s.subject) == (split, name, "")), None)


def _format_split(card: CardInput) -> str:
    return _SPLITS.get(card.evaluation.split, "held-out folds of the training pictures")


def _format_classes(card: CardInput) -> str:
    names = card.dataset.class_names
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(markdown.format_code, names[:_MOST_NAMED])) + more


def _format_opening(card: CardInput) -> str:
    accuracy, balanced = _find_headline(card, "accuracy"), _find_headline(card, "balanced_accuracy")
    assert accuracy is not None and balanced is not None
    verdict = next((v for v in card.evaluation.verdicts if v.code == "headline"), None)
    return (
        f"# Picture classifier {markdown.escape_markup(card.dataset.name)}\n\n"
        f"It tells {len(card.dataset.class_names):,} classes apart: {_format_classes(card)}. Accuracy "
        f"{markdown.format_interval(accuracy)}, balanced accuracy {markdown.format_interval(balanced)} on "
        f"{_format_split(card)} "
        f"(n = {accuracy.n:,}); brackets are 95 % intervals everywhere.\n"
        + (f"\n{_capitalise(markdown.format_sentence(verdict.sentence.rpartition('; ')[2]))}.\n" if verdict else "")
    )


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def _format_intended_use(card: CardInput) -> str:
    uncertainty = card.uncertainty
    abstains = uncertainty is not None and (
        uncertainty.novelty is not None or bool(np.isfinite(uncertainty.floors).any())
    )
    sentence = (
        "It may answer `unknown`; such pictures are for a person to look at."
        if abstains
        else "It always names one of its classes, whatever a picture shows: keep other pictures away from it."
    )
    lines = [
        "For single pictures that show one of its classes and were made as those of "
        f"{markdown.format_code(card.dataset.name)} were. {sentence}",
        "An answer is a suggestion with a probability, not a fact; the shares of wrong ones are below, class by class.",
        "Not for pictures of other things or from other sources without measuring it there first "
        "(`headstart evaluate RUN FOLDER`), and not for decisions about people without a person who decides.",
    ]
    return "## Intended use\n\n" + markdown.format_bullets(lines)


# ---------------------------------------------------------------- data


def _format_data(card: CardInput) -> str:
    data, splits = card.dataset, card.splits
    sides = {"training": splits.train, "validation": splits.val, "test": splits.test}
    filled_sides = {name: rows for name, rows in sides.items() if len(rows)}
    targets, names = np.asarray(data.targets), data.class_names
    counts = [np.bincount(targets[np.asarray(r)], minlength=len(names)) for r in filled_sides.values()]
    rarest = sorted(np.argsort(counts[0], kind="stable")[:_MOST_ROWS].tolist())
    rows = [[markdown.format_code(names[c]), *(f"{count[c]:,}" for count in counts)] for c in rarest]
    rows.append([f"all {len(names):,}", *(f"{len(r):,}" for r in filled_sides.values())])
    near_duplicates = len(data.uris) - len(np.unique(np.asarray(splits.clusters)))
    origin = (
        "The folder gave the splits."
        if splits.given
        else markdown.format_sentence(_capitalise(splits.why).rstrip(".")) + "."
    )
    lines = [
        f"Name {markdown.format_code(data.name)}, {len(data.uris):,} pictures, SHA-256 `{data.digest}`.",
        f"{origin} Near-duplicates stay on one side ({near_duplicates:,} pictures look like an earlier one).",
        f"{len(data.excused):,} files on disk were not used"
        + ("; the report names each with the reason." if data.excused else "."),
    ]
    return (
        "## Training data\n\n"
        + markdown.format_bullets(lines)
        + "\n"
        + _format_few(
            len(names), "with the fewest training pictures; `read/files.csv` beside this card lists every file"
        )
        + markdown.format_table(("class", *(f"{n} pictures" for n in filled_sides)), rows)
    )


def _format_few(count: int, ending: str) -> str:
    """A line above a table that does not hold all classes."""
    return f"The {_MOST_ROWS} of {count:,} classes {ending}:\n\n" if count > _MOST_ROWS else ""


# ---------------------------------------------------------------- results


def _format_results(card: CardInput, card_slices: list[Slice]) -> str:
    overall_scores = [score for name in _SCORES if (score := _find_headline(card, name)) is not None]
    parts = [
        f"## Results\n\nOn {_format_split(card)}.\n",
        markdown.format_table(("score", "value [95 % interval]", "n"), [_score_row(score) for score in overall_scores]),
        "Class by class:\n",
        _format_few(
            len(card.dataset.class_names), "that are found least; `evaluate/scores.csv` beside this card has all"
        )
        + markdown.format_table(("class", *(name.replace("_", " ") for name in _OF_CLASS), "n"), _class_rows(card)),
    ]
    if card_slices:
        head = ("slice", "accuracy", "n", "from the rest")
        heading = "Slices, cut by facts of the files and thirds of the training pictures, before any answer was seen:\n"
        parts += [heading, markdown.format_table(head, map(_slice_row, card_slices))]
    others = [s for s in card.evaluation.baselines if s.name == "balanced_accuracy"]
    if others:
        rows = [[markdown.escape_markup(s.subject), markdown.format_interval(s), f"{s.n:,}"] for s in others]
        parts += [
            "Baselines (some on other pictures than the table above: mind the n):\n",
            markdown.format_table(("baseline", "balanced accuracy", "n"), rows),
        ]
    return "\n".join(parts)


def _score_row(score: Score) -> list[str]:
    return [score.name.replace("_", " "), markdown.format_interval(score), f"{score.n:,}"]


def _class_rows(card: CardInput) -> Iterator[list[str]]:
    scores = {(s.subject, s.name): s for s in card.evaluation.scores if s.split == card.evaluation.split}
    classes = [(name, [scores[name, metric] for metric in _OF_CLASS]) for name in card.dataset.class_names]
    least = sorted((row[0].value if row[0].n else math.inf, position) for position, (_, row) in enumerate(classes))[
        :_MOST_ROWS
    ]
    for name, row in (classes[position] for position in sorted(position for _, position in least)):
        yield [markdown.format_code(name), *map(markdown.format_interval, row), f"{row[0].n:,}"]


def _slice_row(card_slice: Slice) -> list[str]:
    value, low, high = card_slice.apart
    return [
        f"{card_slice.by}: {markdown.escape_markup(card_slice.name)}",
        markdown.format_interval(card_slice.score),
        f"{card_slice.score.n:,}",
        f"{value:+.3f} [{low:+.3f}, {high:+.3f}]",
    ]


# ---------------------------------------------------------------- uncertainty


def _format_uncertainty(card: CardInput) -> str:
    uncertainty = card.uncertainty
    if uncertainty is None:
        return "## Calibration and uncertainty\n\nUncertainty was not measured in this run.\n"
    names = card.dataset.class_names
    many = set(names) if len(names) > _MOST_ROWS else ()  # one by one they are in the run folder
    lines = [
        f"Logits are divided by {card.model.calibration.temperature:.3f} (temperature scaling).",
        *_format_calibration_error(uncertainty.scores),
        f"Asked for: the true class in the prediction set of {100 * uncertainty.coverage:g} % of pictures. "
        f"{_capitalise(markdown.format_sentence(uncertainty.why.rstrip('.')))}.",
    ]
    rows = [
        [
            f"{_UNCERTAINTY[s.name]}{f' ({markdown.escape_markup(s.subject)})' if s.subject else ''}",
            markdown.format_interval(s),
            f"{s.n:,}",
        ]
        for s in uncertainty.scores
        if s.name in _UNCERTAINTY and s.subject not in many
    ]
    head = ("measured", "value [95 % interval]", "n")
    return (
        "## Calibration and uncertainty\n\n"
        + markdown.format_bullets(lines)
        + ("\n" + markdown.format_table(head, rows) if rows else "")
    )


def _format_calibration_error(scores: tuple[Score, ...]) -> Iterator[str]:
    by_subject = {s.subject: s for s in scores if s.name == "ece"}
    if {"before", "after"} <= by_subject.keys():
        yield (
            f"Calibration error {markdown.format_interval(by_subject['before'])} before that and "
            f"{markdown.format_interval(by_subject['after'])} after it (n = {by_subject['after'].n:,})."
        )


# ---------------------------------------------------------------- the model


def _format_model(card: CardInput) -> str:
    head = card.adapted.fitted
    trunks = [
        [
            markdown.format_code(t.name),
            ", ".join(markdown.format_code(depth.name) for depth in t.depths),
            f"{t.input.size_px} px",
            markdown.escape_markup(t.licence),
        ]
        for t in card.model.trunks
    ]
    lines = [
        f"{_capitalise(markdown.escape_markup(card.adapted.strategy))}: a head {markdown.format_code(head.head)} with "
        f"{head.trainable_params:,} "
        f"fitted numbers on features of {len(trunks)} trunk{'s' if len(trunks) > 1 else ''}.",
        f"Saved in `model/`, {format_bytes(card.exported.bytes)}, without executable parts; it answers with numpy, "
        "Pillow and "
        f"OpenVINO. Written by headstart {markdown.escape_markup(card.model.headstart)}.",
    ]
    return (
        "## Model and licence\n\n"
        + markdown.format_bullets(lines)
        + "\n"
        + markdown.format_table(("trunk", "read at", "input", "licence of the weights"), trunks)
        + "\n"
        + markdown.format_bullets(_format_licence_terms(card))
    )


def _format_licence_terms(card: CardInput) -> Iterator[str]:
    """What the licence of each trunk means for the model that holds it."""
    for trunk in card.model.trunks:
        name, licence = markdown.format_code(trunk.name), markdown.escape_markup(trunk.licence)
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
            note = markdown.format_sentence(trunk.licence_note.rstrip("."))
            yield f"{name}, what else to know of its licence: {note}."
    yield (
        "The licence of the weights says nothing of the rights in the pictures that the head learnt from: whoever "
        "passes the model on must have these."
    )


def _format_how_to_use() -> str:
    return (
        "## How to use\n\nRUN is the folder of this card.\n\n"
        "```sh\nheadstart predict RUN picture.jpg\n"
        "headstart explain RUN picture.jpg\nheadstart evaluate RUN other_labelled_pictures\n```\n\n"
        "```python\nimport headstart\n\nrun = headstart.load('RUN')\n"
        "for answer in run.predict(['picture.jpg']):\n    print(answer.answer, answer.probabilities)\n```\n\n"
        "`report.html` beside this card tells all of it, with pictures.\n"
    )
