"""The clock of fine-tuning: what is left of its part of the budget, by `headstart.core.run.time_plan`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headstart.core.run.context import Context
from headstart.core.run.time_plan import plan_time


@dataclass(frozen=True, kw_only=True)
class TimeBudget:
    """Of the `total_s` seconds that fine-tuning may take."""

    ctx: Context
    total_s: float

    def left_s(self, until: float) -> float:
        """Seconds until a part of the time is over, on this machine's clock; only for recorded decisions."""
        if math.isinf(self.total_s):
            return math.inf
        return plan_time(self.ctx.job).phase_left_s(until, self.total_s, self.ctx.left_s())


def make_time_budget(ctx: Context) -> TimeBudget:
    """What is left now, decided once a run; endless where the recipe is given, so that two runs of one are equal."""
    if ctx.job.recipe:
        return TimeBudget(ctx=ctx, total_s=math.inf)
    plan = plan_time(ctx.job)
    total_s = ctx.record_decision(
        "adapt/time", lambda: plan.fine_tuning_s(ctx.left_s()), "seconds left for fine-tuning"
    )
    return TimeBudget(ctx=ctx, total_s=float(total_s))
