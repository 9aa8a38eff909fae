"""Limits that were found: what a user must know before an answer is believed, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from headstart.core.types import Finding, Verdict
from headstart.reporting.card import markdown, shortcut_learning, slices
from headstart.reporting.card.card_data import CardInput
from headstart.reporting.card.slices import Slice
from headstart.statistics.intervals import difference_interval
from headstart.uncertainty import ood_detection

_WIDE = 0.05  # half-width of the accuracy's interval from which few pictures are spoken of
_MOST = 8  # weak classes, weak slices, and findings of the audit that are listed
_FEWEST = 5  # unlike pictures of a class below which nothing is said of it: with one, a single miss would look sure
_NOTICED = 0.8  # ROC AUC of strange against known pictures below which a kind is spoken of
# the answers that are no limit; what stands here as empty is always told, what does not stand here never
_HOPED = {"uneven_classes": "", "overfitting": "", "enough_data": "", "transfer": "yes", "negative_transfer": "no"}


def found(of: CardInput, cut: list[Slice]) -> list[str]:
    """Sentences, the weightiest first."""
    return [
        *_judged_by(of),
        *_weak_classes(of),
        *_weak_slices(cut),
        *_shortcuts(of),
        *(f"{_heading(v.code)}: {markdown.said(v.sentence)}." for v in of.evaluation.verdicts if _limits(v)),
        *_unnoticed(of),
        *_suspects(of),
        *_audited(of),
        "Drift: nothing here tells of pictures that come later, from another camera, place or time. "
        "`headstart drift` tests whether what is asked in use still looks like what was learnt from.",
    ]


def _heading(code: str) -> str:
    return code.replace("_", " ").capitalize()


def _limits(verdict: Verdict) -> bool:
    """Whether a verdict tells of a limit, rather than of what was hoped for."""
    return verdict.answer != _HOPED.get(verdict.code, verdict.answer)


def _unnoticed(of: CardInput) -> Iterator[str]:
    """Kinds of pictures that the model was not shown and hardly takes for strange; first, whether it takes any so."""
    if of.uncertainty and (
        unable := ood_detection.format_inability(of.uncertainty.novelty is not None, of.uncertainty.floors)
    ):
        yield f"{markdown.said(unable[:1].upper() + unable[1:])}."
    for one in of.uncertainty.scores if of.uncertainty else ():
        if one.name == "novelty_auc" and one.value < _NOTICED:
            yield (
                f"Strange pictures may pass for known ones: {markdown.plain(one.subject)} is told with ROC AUC "
                f"{markdown.interval(one)} (n = {one.n:,}); 0.5 is guessing."
            )


def _judged_by(of: CardInput) -> Iterator[str]:
    accuracy = next(s for s in of.evaluation.scores if s.split == of.evaluation.split and s.name == "accuracy")
    if (accuracy.high - accuracy.low) / 2 > _WIDE:
        yield (
            f"Few pictures judge: {accuracy.n:,} of them tell the accuracy no closer than "
            f"{markdown.interval(accuracy)}. "
            "Measure it on more before much depends on it."
        )
    if of.evaluation.split == "cv":
        yield "No picture was held out for good: the scores are of cross-validation, which also chose the model."


def _weak_classes(of: CardInput) -> Iterator[str]:
    """Classes of which surely fewer are found than of the others together, the weakest first."""
    y, answers, names = of.truth, of.answers, of.dataset.class_names
    right, clusters, weak = y == answers, np.asarray(of.splits.clusters)[np.asarray(of.evaluation.rows)], []
    for c in np.unique(y).tolist():
        here = y == c
        if not here.all() and slices.unlike(clusters, here) >= _FEWEST:
            own, rest = (slices.share(right, clusters, part) for part in (here, ~here))
            apart = difference_interval(own, rest)
            if apart.high < 0:
                weak.append((apart.value, c, own, rest))
    for _, c, own, rest in sorted(weak, key=lambda one: one[:2])[:_MOST]:
        missed = np.bincount(answers[(y == c) & ~right], minlength=len(names))
        yield (
            f"Weak class: of {own.n:,} pictures of {markdown.code(names[c])} {int(right[y == c].sum()):,} are found "
            f"({markdown.interval(own)}; all others {markdown.interval(rest)}); {missed.max():,} are called "
            f"{markdown.code(names[int(missed.argmax())])}."
        )
    if weak and len(names) > _MOST:
        yield (
            f"Weak classes: {len(weak):,} of {len(names):,} are found surely less often than the others together, "
            "without a correction for the number of classes."
        )


def _weak_slices(cut: list[Slice]) -> Iterator[str]:
    weak = sorted((each for each in cut if each.weak), key=lambda one: one.apart.value)
    for one in weak[:_MOST]:
        value, low, high = one.apart
        yield (
            f"Weak slice: {one.by} {markdown.code(one.name)} has accuracy {markdown.interval(one.score)} "
            f"(n = {one.score.n:,}), {value:+.3f} [{low:+.3f}, {high:+.3f}] from the rest. {len(cut)} slices were "
            "looked at, without a correction for their number."
        )


def _shortcuts(of: CardInput) -> Iterator[str]:
    looked = shortcut_learning.look(of)
    for one in (each for each in looked if each.found):
        value, low, high = one.gain
        yield (
            f"Shortcut: {one.by} alone, without a look at the content, answers {one.accuracy:.3f} rightly "
            f"(n = {one.n:,}), {value:.3f} [{low:.3f}, {high:.3f}] more than the most frequent class. {one.note}"
        )
    if not any(one.found for one in looked):
        gains = "; ".join(
            f"{one.by} {one.gain.value:+.3f} [{one.gain.low:+.3f}, {one.gain.high:+.3f}]" for one in looked
        )
        yield f"No shortcut was found by file facts (accuracy over the most frequent class: {gains})."
    colours = shortcut_learning.colours(of)
    if colours is not None:
        chance = 1 / len(of.dataset.class_names)
        tells = "tell the classes to some degree" if colours.low > chance else "hardly tell the classes"
        yield (
            f"Mere colours {tells}: balanced accuracy {markdown.interval(colours)} (n = {colours.n:,}) "
            f"from a histogram, "
            f"{chance:.3f} is chance."
        )


def _suspects(of: CardInput) -> Iterator[str]:
    count = len(np.asarray(of.evaluation.suspects))
    if count:
        yield (
            f"Labels: {count:,} pictures carry a label that held-out predictions contradict; about half "
            "of these are truly wrong. The report shows them."
        )


def _audited(of: CardInput) -> Iterator[str]:
    """Issues of the audit, without the names of files beyond their last part."""
    found = [each for a in of.audits for o in a.outcomes if o.status == "issue" for each in o.findings]
    for one in found[:_MOST]:
        yield f"Data, {one.code}: {markdown.said(_without_folders(one))}."
    if len(found) > _MOST:
        yield f"Data: {len(found) - _MOST:,} more findings are in the report."


def _without_folders(of: Finding) -> str:
    sentence = of.sentence.rstrip(".")
    for uri in of.uris:
        sentence = sentence.replace(uri, PurePosixPath(uri).name)
    return sentence
