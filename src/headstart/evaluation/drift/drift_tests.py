"""Whether what a model is asked now is still what it was measured on: logs of its use against pictures of its run.

A thing *moved* when chance hardly gives such a difference (permutation test, corrected for their number) and the
difference is large enough to matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headstart.runtime.usage_counts import DIRECTIONS, Counts
from headstart.runtime.usage_log import UsageLog, UsageReference
from headstart.statistics import paired_tests, two_sample_tests

ALPHA, EFFECT = 0.05, 0.1
LEAST_ALPHA = 0.01  # the smallest p that so many permutations, corrected for all comparisons, can give
FEW = 30  # pictures below which nothing is said
LABELS = 64  # the most frequent ones, that are compared
SEED = 0
TARGET = "target"  # split of a reference of the new domain
FAMILIAR = "the pictures look more familiar than held-out ones did: they may be those that the model learnt from"
TITLES = {
    "features": "where the pictures lie in feature space",
    "novelty": "how unfamiliar the pictures look",
    "classes": "shares of the classes",
    "labels": "shares of the labels",
    "numbers": "how large the answers are",
    "confidence": "confidence of the answers",
    "plausible": "how large the prediction sets are",
    "unknown": "share of unknown",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftTest:
    """One thing that was compared."""

    name: str
    p: float  # corrected for the number of things looked at
    effect: float  # population stability index beyond chance
    least: float  # the smallest effect that differs from chance at these sizes
    moved: bool  # whether it moved
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftDay:
    """A day's pictures: answered, unread, declined, and the largest difference with the thing that shows it."""

    day: str
    answered: int
    errors: int
    unknown: int
    effect: float
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What logs say of a model in use."""

    verdict: str  # `moved`, `moved a little`, `not moved`, `too few pictures`
    sentence: str  # the verdict with numbers
    advice: tuple[str, ...]  # what to do, a sentence each
    answered: int  # pictures of the logs
    errors: int  # files that could not be read
    unknown: int  # answers that were declined
    reference: int  # held-out pictures, or those of the new domain, that they are compared with
    split: str  # of the run: `test`, `val` or `cv`; `target` for the new domain
    alpha: float  # level of the test, after correction
    threshold: float  # effect from which a difference matters
    tests: tuple[DriftTest, ...]  # everything that was compared, the most moved first
    days: tuple[DriftDay, ...]  # by day
    foreign: int  # lines of other models, which were left out
    damaged: int  # lines that could not be read

    @property
    def drifted(self) -> bool:
        """Whether inputs moved."""
        return self.verdict == "moved"


class _BinCounts(NamedTuple):
    before: np.ndarray
    now: np.ndarray
    ordered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftCommands:
    """What the advice names: by default with words for the run, its job file and the pictures."""

    run: str = "RUN"  # as a shell takes it
    fit: str = "headstart fit DATA"  # fits the labelled pictures of the run


def test_drift(
    reference: UsageReference,
    log: UsageLog,
    *,
    alpha: float = ALPHA,
    effect: float = EFFECT,
    commands: DriftCommands = DriftCommands(),
) -> Drift:
    """Compare logs with a model's reference.

    `alpha` is how often chance alone may say that something moved, `effect` the population stability index from which a
    difference matters.
    """
    now = Counts()
    for counts in log.days.values():
        now += counts
    enough = now.answered >= FEW and reference.counts.answered >= FEW
    tests = _run_tests(reference, now, alpha, effect) if enough else ()
    verdict = _decide_verdict(tests, alpha) if enough else "too few pictures"
    return Drift(
        verdict=verdict,
        sentence=_format_verdict(verdict, tests, reference, now, len(log.days)),
        advice=_make_advice(verdict, tests, now, reference, commands),
        answered=now.answered,
        errors=now.errors,
        unknown=now.unknown,
        reference=reference.counts.answered,
        split=reference.split,
        alpha=alpha,
        threshold=effect,
        tests=tests,
        days=tuple(_summarise_day(day, reference.counts, counts_of_day) for day, counts_of_day in log.days.items()),
        foreign=log.foreign,
        damaged=log.damaged,
    )


def _pair_counts(reference: Counts, now: Counts) -> dict[str, list[_BinCounts]]:
    """What can be compared: both sides have counted it."""
    names = sorted(reference.labels.keys() | now.labels.keys())
    of_class = [np.array([side.labels[name] for name in names], np.int64) for side in (reference, now)]
    declined = [np.array([side.unknown, side.answered - side.unknown]) for side in (reference, now)]
    bin_counts = {
        "features": [_BinCounts(reference.features[k], now.features[k]) for k in range(DIRECTIONS)],
        "novelty": [_BinCounts(reference.novelty, now.novelty)],
        "classes": [_BinCounts(of_class[0], of_class[1], False)],
        "labels": _count_states(reference, now),
        "numbers": [_BinCounts(reference.numbers, now.numbers)],
        "confidence": [_BinCounts(reference.confidence, now.confidence)],
        "plausible": [_BinCounts(reference.sizes, now.sizes)],
    }
    if reference.novelty.any() or reference.sizes.any():  # else the model never declines
        bin_counts["unknown"] = [_BinCounts(declined[0], declined[1], False)]
    return {
        name: pairs
        for name, pairs in bin_counts.items()
        if pairs and all(pair.before.any() and pair.now.any() for pair in pairs)
    }


def _count_states(reference: Counts, now: Counts) -> list[_BinCounts]:
    """Of each label the pictures that have it and that lack it, of both sides."""
    names = [name for name, _ in (reference.present + now.present).most_common(LABELS)]
    before, after = (
        [np.array([side.present[name], side.answered - side.present[name]], np.int64) for name in names]
        for side in (reference, now)
    )
    return [_BinCounts(*pair, False) for pair in zip(before, after, strict=True)]


def _run_tests(reference: UsageReference, now: Counts, alpha: float, effect: float) -> tuple[DriftTest, ...]:
    results = {}
    for name, pairs in _pair_counts(reference.counts, now).items():
        draws = two_sample_tests.DRAWS * max(1, len(pairs) // DIRECTIONS)  # many tests need smaller p values
        gauges = [
            two_sample_tests.compare_counts(p.before, p.now, ordered=p.ordered, seed=SEED + number, draws=draws)
            for number, p in enumerate(pairs)
        ]
        first = min(gauges, key=lambda one: (one.p, -one.effect))
        results[name] = (min(1.0, first.p * len(gauges)), first.effect, first.least)
    corrected = paired_tests.holm_adjusted([p for p, _, _ in results.values()])
    tests = [
        DriftTest(
            name=name,
            p=p,
            effect=size,
            least=least,
            moved=bool(p <= alpha and size >= effect),
            sentence=_format_numbers(reference, now) if name == "numbers" else _format_change(name, reference, now),
        )
        for p, (name, (_, size, least)) in zip(corrected, results.items(), strict=True)
    ]
    return tuple(sorted(tests, key=lambda one: (not one.moved, one.p, -one.effect)))


def _decide_verdict(tests: tuple[DriftTest, ...], alpha: float) -> str:
    if any(test.moved for test in tests):
        return "moved"
    return "moved a little" if any(test.p <= alpha for test in tests) else "not moved"


def _summarise_day(day: str, reference: Counts, now: Counts) -> DriftDay:
    """No test, for there may be many days."""
    sizes = {}
    for name, pairs in _pair_counts(reference, now).items():
        sizes[name] = max(
            two_sample_tests.compare_counts(*p[:2], ordered=p.ordered, seed=SEED, draws=199).effect for p in pairs
        )
    largest = max(sizes, key=lambda name: sizes[name], default="")
    effect = sizes.get(largest, 0.0)
    return DriftDay(
        day=day,
        answered=now.answered,
        errors=now.errors,
        unknown=now.unknown,
        effect=effect,
        what=largest if effect else "",
    )


# ---------------------------------------------------------------- in words


def _format_change(name: str, usage_reference: UsageReference, now: Counts) -> str:
    reference = usage_reference.counts
    if name in ("classes", "labels"):
        before, after = (side.labels if name == "classes" else side.present for side in (reference, now))
        shares = {
            label: (before[label] / reference.answered, after[label] / now.answered)
            for label in before.keys() | after.keys()
        }
        label = max(sorted(shares), key=lambda one: abs(shares[one][1] - shares[one][0]))
        then, share = shares[label]
        verb = "is the likeliest class of" if name == "classes" else "is there in"
        return f"`{label}` {verb} {share:.1%} instead of {then:.1%}"
    if name == "unknown":
        return f"{now.unknown / now.answered:.1%} unknown instead of {reference.unknown / reference.answered:.1%}"
    if name == "confidence":
        mean, usual = _histogram_mean(now.confidence), _histogram_mean(reference.confidence)
        return f"mean confidence {mean:.2f} instead of {usual:.2f}"
    if name == "novelty":
        return f"mean novelty {_histogram_mean(now.novelty):.2f} instead of {_histogram_mean(reference.novelty):.2f}"
    if name == "plausible":
        sizes = np.arange(len(now.sizes))
        means = [float(side.sizes @ sizes) / max(1, side.sizes.sum()) for side in (now, reference)]
        what = "labels are plausible" if now.present else "classes in the prediction set"
        return f"{means[0]:.2f} {what} instead of {means[1]:.2f}"
    shares = (now.features / np.maximum(1, now.features.sum(axis=1, keepdims=True))).ravel()
    whose = "new domain's" if usage_reference.split == TARGET else "held-out pictures'"
    return f"a tenth of the {whose} range holds up to {shares.max():.0%} of these instead of 10%"


def _format_numbers(reference: UsageReference, now: Counts) -> str:
    """Where the shares of answers below differ most, as in Kolmogorov and Smirnov's statistic."""
    assert reference.number_edges is not None
    then, share = (np.cumsum(numbers[:-1]) / numbers.sum() for numbers in (reference.counts.numbers, now.numbers))
    at = int(np.argmax(np.abs(share - then)))
    return f"{share[at]:.1%} of the answers are below {reference.number_edges[at]:.4g} instead of {then[at]:.1%}"


def _histogram_mean(histogram: np.ndarray) -> float:
    middles = (np.arange(len(histogram)) + 0.5) / len(histogram)
    return float(histogram @ middles) / max(1, int(histogram.sum()))


def _format_verdict(
    verdict: str, tests: tuple[DriftTest, ...], reference: UsageReference, now: Counts, days: int
) -> str:
    over = f"{now.answered:,} picture{'s' if now.answered != 1 else ''} of {days:,} day{'s' if days != 1 else ''}"
    is_target, count = reference.split == TARGET, reference.counts.answered
    origin = "the new domain" if is_target else "training"
    of_split = f"held-out pictures of the run, split `{reference.split}`"
    against = f"{count:,} {'pictures of the new domain' if is_target else of_split}"
    if verdict == "too few pictures":
        return f"too few pictures to tell: {over} against {against}; at least {FEW} of each are needed"
    first = tests[0] if tests else None
    if verdict == "moved" and first:
        count = sum(test.moved for test in tests)
        more = f", and {count - 1} other thing{'s' if count > 2 else ''}" if count > 1 else ""
        if _looks_familiar(tests, now, reference.counts):
            return f"{FAMILIAR}{more} ({over} against {against})"
        return f"inputs moved away from {origin}: {TITLES[first.name]}{more} ({over} against {against})"
    if verdict == "moved a little" and first:
        change = f"{TITLES[first.name]} changed by {first.effect:.3f}"
        return f"inputs moved measurably, but by too little to matter: {change} ({over} against {against})"
    return f"no sign that inputs moved away from {origin} ({over} against {against})"


def _looks_familiar(tests: tuple[DriftTest, ...], now: Counts, reference: Counts) -> bool:
    """Whether the novelty moved down: away from held-out pictures, but not from those of training."""
    return any(test.name == "novelty" and test.moved for test in tests) and _histogram_mean(
        now.novelty
    ) < _histogram_mean(reference.novelty)


def _make_advice(
    verdict: str, tests: tuple[DriftTest, ...], now: Counts, usage_reference: UsageReference, commands: DriftCommands
) -> tuple[str, ...]:
    reference, run = usage_reference.counts, commands.run
    evaluate = f"measure: `headstart evaluate {run} FOLDER`"
    moved = {test.name for test in tests if test.moved}
    sentences = []
    if _looks_familiar(tests, now, reference):
        sentences.append("judge drift by pictures that the model has not learnt from: give it the log of those alone")
    elif moved & {"features", "novelty", "unknown", "plausible", "confidence"}:
        sentences += [
            "look at recent pictures: are they taken, cut or lit otherwise, or of something else?",
            f"put about a hundred of them with labels into FOLDER and {evaluate}",
            "if the score fell, add them to the training pictures and fit again",
        ]
        if not (now.numbers.any() or now.present):  # one class a picture
            adapt = f"`{commands.fit} --unlabeled FOLDER`"
            sentences.append(f"or adapt to recent pictures without labels, where that pays: {adapt}")
    elif moved:
        anew = "; a threshold or costs (`fit --positive`, `--costs`) may have to be chosen anew"
        sentences += [
            "only the answers changed: they may still be right",
            f"put about a hundred recent pictures with labels into FOLDER and {evaluate}"
            f"{anew if 'classes' in moved else ''}",
        ]
    elif verdict == "not moved" and tests:
        least = max(test.least for test in tests)
        sentences.append(f"differences under {least:.2f} cannot be distinguished from chance with so many pictures")
    elif verdict == "too few pictures":
        sentences.append(
            f"go on collecting: `headstart predict {run} FILES --usage LOG` or `headstart serve {run} --usage LOG`"
        )
    if (now.sizes.any() or now.novelty.any()) and not (reference.sizes.any() or reference.novelty.any()):
        sets = "" if now.numbers.any() else ", prediction sets"
        why = "the run held back no pictures to compare with"
        if usage_reference.split == TARGET:
            why = "their limits are set by the pictures of the new domain themselves"
        sentences.append(f"novelty{sets} and `unknown` are not compared: {why}")
    if now.errors > 0.01 * (now.answered + now.errors):
        sentences.append(f"{now.errors:,} files could not be read: see the column `error` of the rows")
    return tuple(sentences)
