"""Limits that were found: what a user must know before an answer is believed, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from headstart.core.types import list_verdicts
from headstart.reporting.card import markdown as md
from headstart.reporting.card import slices
from headstart.reporting.card.card_data import CardInput
from headstart.reporting.card.slices import Slice
from headstart.reporting.formatting import format_wrong_labels
from headstart.statistics.intervals import difference_interval
from headstart.uncertainty import ood_detection

_WIDE = 0.05  # half-width of the accuracy's interval from which few pictures are spoken of
_MOST = 8  # weak classes, weak slices, and findings of the audit that are listed
_FEWEST = 5  # unlike pictures of a class below which nothing is said of it: with one, a single miss would look sure
_RARE = 10  # judging pictures with a label below which this is said
_SHORTCUTS = "D107"  # the check of the audit that looks for them
_NOTICED = 0.8  # ROC AUC of strange against known pictures below which a kind is spoken of
# the answers that are no limit; what stands here as empty is always named, what does not stand here never
_HOPED = {
    "uneven_classes": "",
    "overfitting": "",
    "enough_data": "",
    "transfer": "yes",
    "negative_transfer": "no",
    "unknown": "yes",
}


def list_limitations(card: CardInput, card_slices: list[Slice]) -> list[str]:
    """Sentences, the weightiest first."""
    if card.evaluation.refusal:
        judged = [f"Not measured: {md.format_sentence(card.evaluation.refusal)}."]
    else:
        judged = [
            *_format_judging_pictures(card),
            *_format_shortcomings(card, card_slices),
            *_format_verdicts(card),
            *_format_unnoticed_kinds(card),
            *_format_label_suspects(card),
        ]
    return [
        *judged,
        *_format_audit_issues(card),
        "Drift: nothing here speaks for pictures that come later, from another camera, place or time. "
        "`headstart drift` tests whether what is asked in use still looks like what was learnt from.",
    ]


def _format_shortcomings(card: CardInput, card_slices: list[Slice]) -> list[str]:
    if card.dataset.learning_task.is_number:
        return []
    has_classes = card.dataset.learning_task.has_classes
    shortcuts, measured = (_format_shortcuts(card), "accuracy") if has_classes else ((), "a share of labels right of")
    return [*_format_weak_classes(card), *_format_weak_slices(card_slices, measured), *shortcuts]


def _format_verdicts(card: CardInput) -> Iterator[str]:
    """Those that name a limit, rather than what was hoped for."""
    for verdict in list_verdicts(card.evaluation, card.uncertainty):
        if verdict.answer != _HOPED.get(verdict.code, verdict.answer):
            yield f"{verdict.code.replace('_', ' ').capitalize()}: {md.format_sentence(verdict.sentence)}."


def _format_unnoticed_kinds(card: CardInput) -> Iterator[str]:
    """Kinds of pictures that the model was not shown and hardly takes for strange; in older runs whether any."""
    if (
        card.uncertainty
        and card.uncertainty.verdict is None
        and (unable := ood_detection.format_inability(card.uncertainty.novelty is not None, card.uncertainty.floors))
    ):
        yield f"{md.format_sentence(unable[:1].upper() + unable[1:])}."
    for score in card.uncertainty.scores if card.uncertainty else ():
        if score.name == "novelty_auc" and score.value < _NOTICED:
            yield (
                f"Strange pictures may pass for known ones: {md.escape_markup(score.subject)} is told with "
                f"ROC AUC {md.format_interval(score)} (n = {score.n:,}); 0.5 is guessing."
            )


def _format_judging_pictures(card: CardInput) -> Iterator[str]:
    accuracy = next(
        (s for s in card.evaluation.scores if s.split == card.evaluation.split and s.name == "accuracy"), None
    )
    if accuracy and (accuracy.high - accuracy.low) / 2 > _WIDE:
        yield (
            f"Few pictures judge: {accuracy.n:,} of them tell the accuracy no closer than "
            f"{md.format_interval(accuracy)}. Measure it on more before much depends on it."
        )
    rare = np.flatnonzero(card.truth.sum(axis=0) < _RARE) if card.dataset.learning_task.has_labels else ()
    if len(rare):
        names = ", ".join(md.format_code(card.dataset.class_names[c]) for c in rare[:_MOST])
        yield f"Few pictures judge {len(rare):,} labels: fewer than {_RARE} have {names}{', …' * (len(rare) > _MOST)}."
    if card.evaluation.is_optimistic:
        yield (
            "No picture was held out for good: the scores are of cross-validation, which also chose the model. "
            "They are optimistic."
        )
    elif card.evaluation.nested:
        yield "No picture was held out for good: the scores are of nested cross-validation."


def _format_weak_classes(card: CardInput) -> Iterator[str]:
    """Classes or labels of which surely fewer are found than of the others together, the weakest first."""
    y, answers, names = card.truth, card.decided_answers, card.dataset.class_names
    word, plural, places = "class", "classes", np.arange(len(y))
    if card.dataset.learning_task.has_labels:  # each label of each picture by itself
        word, plural, (places, y) = "label", "labels", np.nonzero(y)
        answers = np.where(answers[places, y], y, len(names))
    right, clusters, weak = y == answers, np.asarray(card.splits.clusters)[np.asarray(card.evaluation.rows)[places]], []
    for c in np.unique(y).tolist():
        of_class = y == c
        if not of_class.all() and slices.count_unlike(clusters, of_class) >= _FEWEST:
            class_score, other_score = (
                slices.accuracy_of_part(right, clusters, part) for part in (of_class, ~of_class)
            )
            gap = difference_interval(class_score, other_score)
            if gap.high < 0:
                weak.append((gap.value, c, class_score, other_score))
    for _, c, class_score, other_score in sorted(weak, key=lambda one: one[:2])[:_MOST]:
        missed = np.bincount(answers[(y == c) & ~right], minlength=len(names) + 1)[: len(names)]
        called = f"; {missed.max():,} are called {md.format_code(names[int(missed.argmax())])}" if missed.any() else ""
        yield (
            f"Weak {word}: of {class_score.n:,} pictures of {md.format_code(names[c])} {int(right[y == c].sum()):,} "
            f"are found ({md.format_interval(class_score)}; all others {md.format_interval(other_score)}){called}."
        )
    if weak and len(names) > _MOST:
        yield (
            f"Weak {plural}: {len(weak):,} of {len(names):,} are found surely less often than the others "
            "together, without a correction for their number."
        )


def _format_weak_slices(card_slices: list[Slice], measured: str) -> Iterator[str]:
    weak = sorted((each for each in card_slices if each.is_weak), key=lambda weak_slice: weak_slice.apart.value)
    for weak_slice in weak[:_MOST]:
        value, low, high = weak_slice.apart
        yield (
            f"Weak slice: {weak_slice.by} {md.format_code(weak_slice.name)} has {measured} "
            f"{md.format_interval(weak_slice.score)} (n = {weak_slice.score.n:,}), {value:+.3f} "
            f"[{low:+.3f}, {high:+.3f}] from the rest. {len(card_slices)} slices were looked at, without a correction "
            "for their number."
        )


def _format_shortcuts(card: CardInput) -> Iterator[str]:
    """What the audit says of properties of the files; nothing in runs of earlier releases."""
    for outcome in (each for audit in card.audits for each in audit.outcomes if each.code == _SHORTCUTS):
        for finding in outcome.findings:
            yield f"Shortcut: {md.format_sentence(finding.sentence)}."
        if outcome.status == "passed":
            yield f"Shortcuts: {md.format_sentence(outcome.why)}. `headstart explain` shows what the model looks at."


def _format_label_suspects(card: CardInput) -> Iterator[str]:
    count = len(np.asarray(card.evaluation.suspects))
    if count and card.dataset.learning_task.is_number:
        yield f"Numbers: {count:,} lie far from what held-out predictions say. The report shows them."
    elif count:
        pictures = len(np.unique(np.asarray(card.evaluation.suspects)))
        verb = "picture carries" if pictures == 1 else "pictures carry"
        or_lack = " or lack" if card.dataset.learning_task.has_labels else ""
        yield (
            f"Labels: {pictures:,} {verb}{or_lack} a label that held-out predictions contradict. "
            f"{format_wrong_labels(card.evaluation)} The report shows them, the likeliest wrong first."
        )


def _format_audit_issues(card: CardInput) -> Iterator[str]:
    """Issues of the audit, without the names of files beyond their last part."""
    outcomes = [each for audit in card.audits for each in audit.outcomes if each.status == "issue"]
    findings = [finding for each in outcomes if each.code != _SHORTCUTS for finding in each.findings]
    for finding in findings[:_MOST]:
        sentence = finding.sentence.rstrip(".")
        for uri in finding.uris:
            sentence = sentence.replace(uri, PurePosixPath(uri).name)
        yield f"Data, {finding.code}: {md.format_sentence(sentence)}."
    if len(findings) > _MOST:
        yield f"Data: {len(findings) - _MOST:,} more findings are in the report."
