"""What to expect of a backbone on new pictures before anything is run: published results, and this user's own runs.

Kornblith, Shlens and Le (CVPR 2019) found, over 16 networks and 12 data sets, the log-odds of transfer accuracy to be
linear in those of ImageNet accuracy: r = 0.99 for logistic regression on features, 0.96 for fine-tuning. So

    log-odds(accuracy of backbone b on set t) = set_t + slope * z_b + effect_b + noise

with z_b the standardised log-odds of the published accuracy, Gaussian beliefs of all coefficients, and every probe of
an earlier run a case to learn from (`headstart.kit.belief`). Accuracy is balanced and counted above chance, so that
sets of few and many classes can be laid side by side. The answer is told on the scale of the published figure: without
any run of one's own it is that figure, and a backbone that did better in one's own runs than its figure promised stands
higher.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headstart.core.types import BackboneSpec, Expected, Score
from headstart.kit import belief, history
from headstart.kit.history import Measured, Record

if TYPE_CHECKING:
    from headstart.core.context import Context

GUESSED = "a guess"  # how `prior_source` begins where nothing is published
CENTRE, SPREAD = 1.35, 0.29  # of the log-odds of the 38 figures in keras_applications.json: mean, standard deviation
# Beliefs in log-odds, before anything was seen. The slope is that of equal gains here and there. A backbone's own
# effect is what r = 0.96 leaves; on a single set the scatter is several times that. Assumptions, not published.
SLOPE, SLOPE_SD, LEAST_SLOPE = SPREAD, 0.15, 0.05
EFFECT_SD = 0.10
UNKNOWN_SD = 0.5  # of a backbone without a figure: about two figures' spread
SET_SD = 2.0
NOISE_SD = 0.25
EDGE = 0.005  # log-odds are taken this far from 0 and 1: beyond, they tell of single pictures


def log_odds(share: float) -> float:
    """log(p / (1 - p)), p held inside by `EDGE`."""
    share = min(max(share, EDGE), 1 - EDGE)
    return math.log(share / (1 - share))


def share(odds: float) -> float:
    """The inverse of `log_odds`."""
    return 1 / (1 + math.exp(-odds))


def above_chance(accuracy: float, chance: float) -> float:
    """Accuracy as log-odds of what lies between chance and 1."""
    return log_odds((accuracy - chance) / (1 - chance))


def scatter(score: Score, chance: float) -> float:
    """Standard deviation of `above_chance` of a score, from the number of its pictures."""
    q = share(above_chance(score.value, chance))
    p = chance + (1 - chance) * q
    return math.sqrt(p * (1 - p) / max(score.n, 1)) / ((1 - chance) * q * (1 - q))


def expected(specs: Sequence[BackboneSpec], records: Sequence[Record] = ()) -> dict[str, Expected]:
    """What each backbone is expected to be worth on pictures that nobody has looked at yet.

    Args:
        specs: Backbones, in any order.
        records: Earlier runs (`headstart.kit.history.records`).

    Returns:
        Name -> a value on the scale of published ImageNet top-1 accuracy, its 95 % interval and one sentence.
    """
    asked = {spec.name: _asked(spec) for spec in specs}
    cases = [case for record in records for case in _cases(record)]
    known = {case.of.key: case.of for case in cases} | {one.key: one for one in asked.values()}
    sets = list(dict.fromkeys(case.group for case in cases))
    at = {name: 1 + len(sets) + place for place, name in enumerate(known)}
    believed = _learnt(cases, known, sets, at)
    seen = {name: len({case.run for case in cases if case.of.key == name}) for name in known}
    return {name: _told(name, one, at[one.key], believed, seen[one.key]) for name, one in asked.items()}


def of_run(specs: Sequence[BackboneSpec], ctx: Context, *, pictures: str) -> dict[str, Expected]:
    """The same for a run that has begun, decided when first asked: earlier runs as they were then.

    Args:
        specs: Backbones; those that it was not asked for at first are told without earlier runs.
        ctx: The run.
        pictures: Digest of the data set: what this very run came to before is no earlier run.
    """
    from headstart.kit.values import as_json

    def made() -> list[dict[str, Any]]:
        known = history.records(ctx.store, ctx.say.warn, but=history.address(pictures, ctx.job))
        return [as_json(one) for one in expected(specs, known).values()]

    why = "what each backbone is expected to be worth, by its published accuracy and by earlier runs"
    kept = {entry["name"]: Expected(**entry) for entry in ctx.decide("prior", made, why)}
    return expected([spec for spec in specs if spec.name not in kept]) | {
        spec.name: kept[spec.name] for spec in specs if spec.name in kept
    }


class _Case(NamedTuple):
    """One probe of an earlier run: of which backbone, its log-odds above chance, and their scatter."""

    run: str
    group: tuple[str, str]  # the pictures, and whether all of them or a few for screening
    of: Measured
    value: float
    noise: float


def _cases(record: Record) -> list[_Case]:
    found, chance = [], 1 / record.classes
    for one in record.backbones:
        score = history.score(one.probe, "balanced_accuracy")
        if score is not None and record.classes > 1:
            noise = math.hypot(scatter(score, chance), NOISE_SD)
            group = (record.pictures_digest, score.split)
            found.append(_Case(record.address, group, one, above_chance(score.value, chance), noise))
    return found


def _asked(spec: BackboneSpec) -> Measured:
    published = not history.own(spec) and not spec.prior_source.startswith(GUESSED)
    return Measured(key=history.key(spec), prior=spec.prior, published=published)


def _z(of: Measured) -> float:
    """Of a file of one's own nothing is published: it is taken for an average backbone."""
    if of.key.startswith(history.OWN):
        return 0.0
    return (log_odds(of.prior) - CENTRE) / SPREAD


def _learnt(
    cases: Sequence[_Case],
    known: Mapping[str, Measured],
    sets: Sequence[tuple[str, str]],
    at: Mapping[str, int],
) -> belief.Belief:
    """Coefficients: the slope, one of each set, one of each backbone."""
    effects = [EFFECT_SD if one.published else UNKNOWN_SD for one in known.values()]
    mean = np.array([SLOPE, *[0.0] * (len(sets) + len(known))])
    first = belief.start(mean, np.array([SLOPE_SD, *[SET_SD] * len(sets), *effects]))
    x = np.zeros((len(cases), len(mean)))
    place = {name: 1 + number for number, name in enumerate(sets)}
    for row, case in enumerate(cases):
        x[row, 0] = _z(case.of)
        x[row, place[case.group]] = x[row, at[case.of.key]] = 1.0
    y, noise = np.array([case.value for case in cases]), np.array([case.noise for case in cases])
    return belief.held(belief.learn(first, x, y, noise), 0, LEAST_SLOPE)


def _told(name: str, of: Measured, at: int, believed: belief.Belief, runs: int) -> Expected:
    """On the published scale: the figure of a backbone that keeps just what its figure promises, and is as good."""
    slope, z = float(believed.mean[0]), _z(of)
    reach = SPREAD / slope
    odds = CENTRE + SPREAD * z + reach * float(believed.mean[at])
    half = belief.GAUSSIAN * reach * math.hypot(math.sqrt(max(float(believed.cov[at, at]), 0.0)), NOISE_SD)
    value = share(odds)
    return Expected(
        name=name, value=value, low=share(odds - half), high=share(odds + half), runs=runs, why=_why(of, value, runs)
    )


def _why(of: Measured, value: float, runs: int) -> str:
    if of.key.startswith(history.OWN):
        first, figure, than = "nothing is published of a backbone of your own", share(CENTRE), "an average one"
    else:
        first, figure, than = f"{'published' if of.published else 'guessed'} top-1 {of.prior:.3f}", of.prior, "that"
    if not runs:
        return first
    points = 100 * (value - figure)
    whose = f"{runs} of your runs put it" if runs > 1 else "one of your runs puts it"
    return f"{first}; {whose} {abs(points):.1f} points {'above' if points >= 0 else 'below'} {than}"
