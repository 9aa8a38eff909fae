"""What a run will come to, told before it is made: an accuracy and seconds, each with a 95 % interval.

Three small linear models (`headstart.selection.forecast.bayesian_regression`), each with a belief that is stated here
and a case to learn from in every earlier run of this user:

- before anything is spent: log-odds above chance of the final accuracy, by pictures a class, classes, what the best
  candidate is expected to be worth, whether networks are trained, and how these very pictures came out earlier;
- when the probes are done: what fine-tuning adds to the probe's log-odds;
- seconds: the logarithm of what runs took over what was reckoned.

How far each model's own forecasts missed widens or narrows the interval. To what is believed of the pictures the
scatter of the ones that will judge is added, so the interval is of the score, not of the truth behind it. The beliefs
are wide guesses of ours, nothing published fits a user's pictures; docs/fit.md tells what real sets came to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.storage.files import read_json
from headstart.core.types import Forecast, Score, TimeForecast
from headstart.selection.forecast import bayesian_regression, history, log_odds, prior
from headstart.selection.forecast.history import Record

BEFORE, PROBED = "before", "probed"
STEPS = {BEFORE: "forecast", PROBED: "forecast probed"}  # as seconds are kept in timings.json
CHECK = "forecast check"
USUAL_COUNT, USUAL_CLASSES = 50, 8  # where the level is believed
_SECONDS = ("planned_s", "value_s", "low_s", "high_s")
_GRID = 201  # quantiles of what is believed, over which the judging pictures scatter

# coefficient: mean, standard deviation
LEVEL = {"level": (1.6, 0.6), "doubled pictures": (0.3, 0.1), "doubled classes": (-0.2, 0.15), "worth": (0.29, 0.1)}
TUNED, SCRATCH = (0.4, 0.3), (-1.4, 0.7)  # what training the trunk adds, and what forgetting its weights takes
LEAST_PER_DOUBLING = 0.02  # more pictures are never expected to harm
SET_SD, NOISE_SD = 1.8, 0.35  # what pictures have of their own, and what two runs on them still differ by
ADDED_SD = 0.5  # what the gain of fine-tuning differs by from set to set
KINDS = ("probe", "budget", "recipe")  # what the time of a run hangs on
RATIO_SD = {"probe": 0.6, "budget": 0.3, "recipe": 0.9}  # of the logarithm of seconds taken over seconds reckoned
AGAIN = (-0.5, 0.5)  # the same for pictures whose features lie in the cache
RATIO_NOISE_SD = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is known of a run before it begins.

    Attributes:
        pictures: Digest of the data set.
        name: What is forecast: `accuracy` or `balanced_accuracy`.
        counts: Pictures to learn from, of each class.
        n: Pictures that will judge.
        strategy: Of the job.
        explicit: The job gives a recipe.
        worth: What the best candidate is expected to be worth, on the scale of `Expected`.
    """

    pictures: str
    name: str
    counts: tuple[int, ...]
    n: int
    strategy: str
    explicit: bool
    worth: float

    @property
    def floor(self) -> float:
        """What guessing comes to."""
        return log_odds.chance(self.name, self.counts)


def before(task: Task, records: Sequence[Record]) -> Forecast:
    """The accuracy of what will be handed over, before anything is spent.

    Misses are those of forecasts from the runs before, but that what a backbone is worth is told by all runs. They
    count where they are of the same kind, of a first run on its pictures or of a further one, which misses by less.
    """
    worth = {key: one.value for key, one in prior.worth([], records).items()}
    cases = [(_task(one, task.name, worth), score) for one, score in _finals(records, task.name)]
    sets = list(dict.fromkeys(one.pictures for one, _ in cases))
    terms = [*LEVEL.values(), TUNED, SCRATCH, *[(0.0, SET_SD)] * (len(sets) + 1)]
    first = bayesian_regression.start(*np.array(terms).T)
    x = np.array([_level(one, sets) for one, _ in cases]).reshape(-1, len(terms))
    found = [_seen(one, score) for one, score in cases]
    y = np.array([value for value, _ in found])
    noise = np.array([math.hypot(NOISE_SD, spread) for _, spread in found])
    known = bayesian_regression.held(bayesian_regression.learn(first, x, y, noise), 1, LEAST_PER_DOUBLING)
    mean, sd = bayesian_regression.told(known, _level(task, sets))
    further = np.array(
        [one.pictures in {other.pictures for other, _ in cases[:at]} for at, (one, _) in enumerate(cases)]
    )
    wide = bayesian_regression.width(bayesian_regression.misses(first, x, y, noise)[further == (task.pictures in sets)])
    same = sum(one.pictures == task.pictures for one, _ in cases)
    rests = [f"{len(task.counts)} classes, about {_typical(task.counts):,} pictures of each to learn from"]
    rests += [f"the best candidate's expected worth, {task.worth:.3f} on the scale of ImageNet top-1"]
    return _forecast(BEFORE, task, mean, math.hypot(sd, NOISE_SD), wide, (*rests, _runs(len(cases), same)))


def probed(task: Task, probe: Score, records: Sequence[Record]) -> Forecast:
    """The same when the frozen probe is measured and networks are about to be trained.

    Args:
        task: The run.
        probe: Its cross-validated score by the name of the task.
        records: Earlier runs.
    """
    cases = [
        (_task(one, task.name, {}), score, began)
        for one, score in _finals(records, task.name)
        if one.strategy != "probe" and (began := history.score(one.probe, task.name)) is not None
    ]
    first = bayesian_regression.start(*np.array([TUNED, SCRATCH]).T)
    x = np.array([_gain(one) for one, _, _ in cases]).reshape(-1, 2)
    ends = [(_seen(one, score), _seen(one, began)) for one, score, began in cases]
    y = np.array([after[0] - at[0] for after, at in ends])
    noise = np.array([math.hypot(ADDED_SD, after[1], at[1]) for after, at in ends])
    mean, sd = bayesian_regression.told(bayesian_regression.learn(first, x, y, noise), _gain(task))
    wide = bayesian_regression.width(bayesian_regression.misses(first, x, y, noise))
    value, spread = _seen(task, probe)
    rests = (f"the frozen probe's {probe.value:.3f} in cross-validation", _runs(len(cases), 0, "that trained networks"))
    return _forecast(PROBED, task, value + mean, math.hypot(sd, ADDED_SD, spread), wide, rests)


def seconds(task: Task, phase: str, planned_s: float, records: Sequence[Record], spent_s: float = 0.0) -> TimeForecast:
    """How long a run will take.

    Args:
        task: The run.
        phase: `before` or `probed`.
        planned_s: What is reckoned for all that is to come.
        records: Earlier runs.
        spent_s: What has passed already.
    """
    timed = [one for one in records if math.isfinite(one.planned_s) and math.isfinite(one.taken_s)]
    seen: set[str] = set()
    rows = []
    for one in timed:
        rows.append(_ratio(_kind(one.strategy, one.explicit), one.pictures_digest in seen))
        seen.add(one.pictures_digest)
    first = bayesian_regression.start(*np.array([*[(0.0, RATIO_SD[kind]) for kind in KINDS], AGAIN]).T)
    x = np.array(rows).reshape(-1, len(KINDS) + 1)
    y, noise = np.log([one.taken_s / one.planned_s for one in timed]), np.full(len(timed), RATIO_NOISE_SD)
    mean, sd = bayesian_regression.told(
        bayesian_regression.learn(first, x, y, noise),
        _ratio(_kind(task.strategy, task.explicit), task.pictures in seen),
    )
    half = bayesian_regression.width(bayesian_regression.misses(first, x, y, noise)) * math.hypot(sd, RATIO_NOISE_SD)
    low, value, high = (spent_s + planned_s * math.exp(mean + side * half) for side in (-1, 0, 1))
    return TimeForecast(phase=phase, planned_s=spent_s + planned_s, value_s=value, low_s=low, high_s=high)


# ---------------------------------------------------------------- cases


def _finals(records: Sequence[Record], name: str) -> list[tuple[Record, Score]]:
    return [
        (one, score)
        for one in records
        if one.classes > 1 and max(one.counts) < sum(one.counts) and (score := history.score(one.final, name))
    ]


def _task(of: Record, name: str, worth: dict[str, float]) -> Task:
    best = max((worth.get(one.key, one.prior) for one in of.backbones), default=log_odds.share(prior.CENTRE))
    return Task(
        pictures=of.pictures_digest,
        name=name,
        counts=of.counts,
        n=0,
        strategy=of.strategy,
        explicit=of.explicit,
        worth=best,
    )


def _seen(task: Task, score: Score) -> tuple[float, float]:
    return log_odds.seen(score.value, task.floor, log_odds.effective(task.name, score.n, task.counts))


def _doublings(task: Task) -> float:
    """Doublings of `USUAL_COUNT` pictures a class, on the mean; classes count as the score counts them."""
    counts = np.array(task.counts, np.float64)
    weights = counts if task.name == "accuracy" else np.ones(len(counts))
    return float(np.average(np.log2(counts / USUAL_COUNT), weights=weights))


def _gain(task: Task) -> np.ndarray:
    """(2,) whether a network is trained, and whether from random weights."""
    return np.array([task.strategy != "probe", task.strategy == "scratch"], np.float64)


def _level(task: Task, sets: Sequence[str]) -> np.ndarray:
    """(P,) as in `LEVEL`, then what is trained, then one for each set of pictures and one for a new one."""
    own = np.zeros(len(sets) + 1)
    own[sets.index(task.pictures) if task.pictures in sets else -1] = 1.0
    classes = math.log2(len(task.counts) / USUAL_CLASSES)
    return np.concatenate([[1.0, _doublings(task), classes, prior.standing(task.worth)], _gain(task), own])


def _kind(strategy: str, explicit: bool) -> str:
    return "probe" if strategy == "probe" else "recipe" if explicit else "budget"


def _ratio(kind: str, again: bool) -> np.ndarray:
    return np.array([*(kind == one for one in KINDS), again], np.float64)


# ---------------------------------------------------------------- what is told


def _forecast(phase: str, task: Task, mean: float, sd: float, wide: float, rests_on: Sequence[str]) -> Forecast:
    low, high = reach(
        mean, sd * wide / bayesian_regression.GAUSSIAN, task.floor, log_odds.effective(task.name, task.n, task.counts)
    )
    value = log_odds.back(mean, task.floor)
    return Forecast(
        phase=phase,
        name=task.name,
        value=value,
        low=min(low, value),
        high=max(high, value),
        rests_on=tuple(rests_on),
    )


def reach(mean: float, sd: float, floor: float, n: float) -> tuple[float, float]:
    """Ends of the interval of a score that n pictures will measure, where its log-odds are believed Gaussian."""
    from scipy.special import bdtr, ndtri

    p = np.array([log_odds.back(mean + sd * z, floor) for z in ndtri((np.arange(_GRID) + 0.5) / _GRID)])
    whole = max(1, round(n))

    def least(rank: float) -> float:
        """The smallest score that is reached or fallen short of in so many cases."""
        low, high = 0, whole
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if float(np.mean(bdtr(middle, whole, p))) >= rank else (middle + 1, high)
        return low / whole

    return least((1 - bayesian_regression.LEVEL) / 2), least((1 + bayesian_regression.LEVEL) / 2)


def _typical(counts: Sequence[int]) -> int:
    return int(np.median(counts))


def _runs(count: int, same: int, which: str = "") -> str:
    if not count:
        told = f"no earlier run {which}".rstrip()
        return f"{told}: a first guess, and sets of pictures differ widely"
    if count == 1:
        return f"one earlier run of yours {which}".rstrip() + (", on these very pictures" if same else "")
    of_same = f", {same} of them on these very pictures" if same else ""
    return f"{count} earlier runs of yours {which}".rstrip() + of_same


# ---------------------------------------------------------------- seconds on disk


def entry(of: TimeForecast) -> dict[str, float]:
    """What `timings.json` keeps of it beside the step's own seconds."""
    return {name: getattr(of, name) for name in _SECONDS}


def timed(run: Path, phase: str) -> TimeForecast | None:
    """The forecast of seconds that a run keeps, with what it took; None where there is none.

    Args:
        run: The run folder.
        phase: `before` or `probed`.
    """
    path = run / "timings.json"
    steps = read_json(path) if path.is_file() else {}
    kept = steps.get(STEPS[phase], {})
    if not kept.keys() >= set(_SECONDS):
        return None
    taken_s = float(steps.get(CHECK, {}).get("taken_s", math.nan))
    return TimeForecast(phase=phase, **{name: float(kept[name]) for name in _SECONDS}, taken_s=taken_s)
