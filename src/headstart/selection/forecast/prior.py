"""What to expect of a backbone on new pictures before anything is run: published results, and this user's own runs.

Kornblith, Shlens and Le (CVPR 2019) found, over 16 networks and 12 data sets, the log-odds of transfer accuracy to be
linear in those of ImageNet accuracy: r = 0.99 for logistic regression on features, 0.96 for fine-tuning. So

    log-odds(accuracy of backbone b on set t) = set_t + slope * z_b + effect_b + noise

with z_b the standardised log-odds of the published accuracy, Gaussian beliefs of all coefficients, and what a backbone
came to on an earlier set of pictures a case to learn from (`headstart.selection.forecast.bayesian_regression`): one
case, however many runs looked at that set, for the noise is of the set and the backbone together and more runs do not
average it away. Accuracy is balanced and counted above chance, so that sets of few and many classes can be laid side
by side. The answer is told on the scale of the published figure: without any run of one's own it is that figure, and
a backbone that did better in one's own runs than its figure promised stands higher.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headstart.core.types import BackboneSpec, Expected
from headstart.selection.forecast import bayesian_regression, history, log_odds
from headstart.selection.forecast.history import Measured, Record

if TYPE_CHECKING:
    from headstart.core.run.context import Context

WHOLE = "cv"  # the split of a probe that all pictures took part in
UNPUBLISHED = ("a guess", "that of")  # how `prior_source` begins where no figure is of the backbone itself
CENTRE, SPREAD = 1.35, 0.29  # of the log-odds of the 40 figures in keras_applications.json: mean, standard deviation
# Beliefs in log-odds, before anything was seen. The slope is that of equal gains here and there. A backbone's own
# effect is what r = 0.96 leaves; on a single set the scatter is several times that. Assumptions, not published.
SLOPE, SLOPE_SD, LEAST_SLOPE = SPREAD, 0.15, 0.05
EFFECT_SD = 0.10
UNKNOWN = -2.0  # standing of a network of one's own of which nothing is published: among the weakest that are
UNKNOWN_SD = 0.5  # of a backbone without a figure: about two figures' spread
SET_SD = 10.0  # so wide that backbones are compared within a set alone
NOISE_SD = 0.25


def expected(specs: Sequence[BackboneSpec], records: Sequence[Record] = ()) -> dict[str, Expected]:
    """What each backbone is expected to be worth on pictures that nobody has looked at yet.

    Args:
        specs: Backbones, in any order.
        records: Earlier runs (`headstart.selection.forecast.history.records`).

    Returns:
        Name -> a value on the scale of published ImageNet top-1 accuracy, its 95 % interval and one sentence.
    """
    asked = {spec.name: measured(spec) for spec in specs}
    found = worth(list(asked.values()), records)
    return {name: replace(found[one.key], name=name) for name, one in asked.items()}


def of_run(specs: Sequence[BackboneSpec], ctx: Context, *, pictures: str) -> dict[str, Expected]:
    """The same for a run that has begun, decided when first asked: earlier runs as they were then.

    Runs on these very pictures are left out, with whatever seed or budget they were made: they learnt from pictures
    that may be drawn to judge now, and what chooses by them would have looked at the test split.

    Args:
        specs: Backbones; those that it was not asked for at first are told without earlier runs.
        ctx: The run.
        pictures: Digest of the data set.
    """
    from headstart.core.storage.serialization import as_json

    def made() -> dict[str, Any]:
        known = history.records(ctx.store, ctx.console.print_warning)
        others = [one for one in known if one.pictures_digest != pictures]
        return {name: as_json(one) for name, one in expected(specs, others).items()}

    why = "what each backbone is expected to be worth, by its published accuracy and by earlier runs"
    kept = {name: Expected(**entry) for name, entry in ctx.record_decision("prior", made, why).items()}
    plain = expected([spec for spec in specs if spec.name not in kept])
    return {spec.name: kept.get(spec.name) or plain[spec.name] for spec in specs}


def measured(spec: BackboneSpec) -> Measured:
    """A backbone as records know it, without scores."""
    return Measured(key=history.key(spec), prior=spec.prior, published=not spec.prior_source.startswith(UNPUBLISHED))


def best(of: Collection[Expected]) -> float:
    """The most that is expected of any; networks of which nothing is known count only among themselves."""
    return max((one.value for one in of if one.known), default=max(one.value for one in of))


def standing(value: float) -> float:
    """A value on the published scale as its distance from the average backbone, in their standard deviations."""
    return (log_odds.log_odds(value) - CENTRE) / SPREAD


def worth(asked: Sequence[Measured], records: Sequence[Record]) -> dict[str, Expected]:
    """Key -> what is expected of a backbone, as `expected`; of all in the records, too."""
    cases = _cases(records)
    known = {case.of.key: case.of for case in cases} | {one.key: one for one in asked}
    sets = list(dict.fromkeys(case.group for case in cases))
    at = {key: 1 + len(sets) + place for place, key in enumerate(known)}
    believed = _learnt(cases, known, sets, at)
    runs = {key: sum(case.runs for case in cases if case.of.key == key) for key in known}
    return {key: _told(one, at[key], believed, runs[key]) for key, one in known.items()}


class _Case(NamedTuple):
    """What a backbone came to on one set of pictures: its log-odds above chance, and their scatter."""

    runs: int
    group: tuple[str, str]  # the pictures, and whether all of them or a few for screening
    of: Measured
    value: float
    noise: float


def _cases(records: Sequence[Record]) -> list[_Case]:
    """One for each backbone and set of pictures."""
    probes: dict[tuple[str, str], list[_Case]] = {}
    for one in (case for record in records for case in _probes(record)):
        probes.setdefault((one.group[0], one.of.key), []).append(one)
    return [_joined(same) for same in probes.values()]


def _probes(record: Record) -> Iterator[_Case]:
    name = "balanced_accuracy"
    for one in record.backbones:
        score = history.score(one.probe, name)
        if score is not None and record.classes > 1:
            floor = log_odds.chance(name, record.counts)
            value, spread = log_odds.seen(score.value, floor, log_odds.effective(name, score.n, record.counts))
            yield _Case(1, (record.pictures_digest, score.split), one, value, spread)


def _joined(same: Sequence[_Case]) -> _Case:
    """The mean of what several runs measured, all pictures before a few; mostly the same pictures scatter as one."""
    whole = [one for one in same if one.group[1] == WHOLE] or same
    value = float(np.mean([one.value for one in whole]))
    spread = min(one.noise for one in whole)
    return whole[-1]._replace(runs=len(same), value=value, noise=math.hypot(spread, NOISE_SD))


def _unknown(of: Measured) -> bool:
    """Whether it is one of the user's own of which nothing is published: worth little until it has shown more."""
    return of.key.startswith(history.OWN) and not of.published


def _z(of: Measured) -> float:
    return UNKNOWN if _unknown(of) else standing(of.prior)


def _learnt(
    cases: Sequence[_Case],
    known: Mapping[str, Measured],
    sets: Sequence[tuple[str, str]],
    at: Mapping[str, int],
) -> bayesian_regression.Belief:
    """Coefficients: the slope, one of each set, one of each backbone."""
    effects = [EFFECT_SD if one.published else UNKNOWN_SD for one in known.values()]
    mean = np.array([SLOPE, *[0.0] * (len(sets) + len(known))])
    first = bayesian_regression.start(mean, np.array([SLOPE_SD, *[SET_SD] * len(sets), *effects]))
    x = np.zeros((len(cases), len(mean)))
    place = {name: 1 + number for number, name in enumerate(sets)}
    for row, case in enumerate(cases):
        x[row, 0] = _z(case.of)
        x[row, place[case.group]] = x[row, at[case.of.key]] = 1.0
    y, noise = np.array([case.value for case in cases]), np.array([case.noise for case in cases])
    return bayesian_regression.held(bayesian_regression.learn(first, x, y, noise), 0, LEAST_SLOPE)


def _told(of: Measured, at: int, believed: bayesian_regression.Belief, runs: int) -> Expected:
    """On the published scale: the figure of a backbone that keeps just what its figure promises, and is as good."""
    reach = SPREAD / float(believed.mean[0])
    middle = CENTRE + SPREAD * _z(of) + reach * float(believed.mean[at])
    spread = math.hypot(math.sqrt(max(float(believed.cov[at, at]), 0.0)), NOISE_SD)
    low, value, high = (
        log_odds.share(middle + side * bayesian_regression.GAUSSIAN * reach * spread) for side in (-1, 0, 1)
    )
    known = not _unknown(of) or runs > 0
    return Expected(name=of.key, value=value, low=low, high=high, runs=runs, why=_why(of, value, runs), known=known)


def _why(of: Measured, value: float, runs: int) -> str:
    if _unknown(of):
        weakest = log_odds.share(CENTRE + SPREAD * UNKNOWN)
        first, figure, than = "nothing is published of it here", weakest, "the weakest that are published"
    else:
        first, figure, than = f"{'published' if of.published else 'guessed'} top-1 {of.prior:.3f}", of.prior, "that"
    if not runs:
        return first
    points = 100 * (value - figure)
    if abs(points) < 0.05:
        return f"{first}; {f'{runs} of your runs bear' if runs > 1 else 'one of your runs bears'} that out"
    whose = f"{runs} of your runs put it" if runs > 1 else "one of your runs puts it"
    return f"{first}; {whose} {abs(points):.1f} points {'above' if points >= 0 else 'below'} {than}"
