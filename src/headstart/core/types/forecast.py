"""What a run is expected to come to."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headstart.core.types.score import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a backbone is expected to be worth before anything is run, on the scale of ImageNet top-1 accuracy.

    Attributes:
        name: `source:preset`.
        value: Its published figure, moved by how it did in this user's own runs.
        low: Lower end of the 95 % interval.
        high: Upper end.
        runs: How many of the user's own runs measured it.
        why: One sentence.
        known: Whether a figure or a run of the user's own speaks of it; else `value` is that of the weakest.
    """

    name: str
    value: float
    low: float
    high: float
    runs: int
    why: str
    known: bool = True

    @property
    def merit(self) -> float:
        """What it is compared by: NaN where nothing is known, so that no unknown network is best by prior."""
        return self.value if self.known else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The accuracy that a run is expected to hand over.

    Attributes:
        phase: `before` anything was spent, or `probed`: the frozen probe is measured, networks are not trained yet.
        name: `accuracy` or `balanced_accuracy`.
        value: The middle of what is expected.
        low: Lower end of the 95 % interval of the score that will be measured.
        high: Upper end.
        rests_on: What it rests on, one clause each.
    """

    phase: str
    name: str
    value: float
    low: float
    high: float
    rests_on: tuple[str, ...]

    def holds(self, score: Score) -> bool:
        """Whether the interval holds what came out."""
        return self.low <= score.value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasts:
    """All forecasts of a run, and the score that came out; None before the end."""

    forecasts: tuple[Forecast, ...]
    outcome: Score | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeForecast:
    """The seconds that a run is expected to take; kept in `timings.json` alone.

    Attributes:
        phase: As in `Forecast`.
        planned_s: Reckoned from measured paces, counted operations and the budget; nothing is learnt from earlier runs.
        value_s: The middle of what is expected.
        low_s: Lower end of the 95 % interval.
        high_s: Upper end.
        taken_s: What it took up to the report; NaN before the end, and where it was done in several goes.
    """

    phase: str
    planned_s: float
    value_s: float
    low_s: float
    high_s: float
    taken_s: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a job will take, and what that rests on."""

    seconds: float
    bytes: int
    assumptions: tuple[str, ...]
