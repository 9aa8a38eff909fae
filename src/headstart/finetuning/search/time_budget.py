"""The time that fine-tuning may take.

What a clock says enters a run only through recorded decisions, so that a resumed run repeats them. Half of the time is
for trying recipes on one fold, a quarter for judging the best on more folds, the rest for the final training and the
same network from random weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headstart.core.run.context import Context

TRYING, JUDGING, FINISHING = 0.5, 0.75, 1.0  # parts of the time by whose end each must be over
RESERVE = 0.08  # of the whole budget, for measuring and exporting the result


@dataclass(frozen=True, kw_only=True)
class TimeBudget:
    """What is left of the budget.

    Attributes:
        ctx: The run.
        total_s: Seconds that fine-tuning may take.
    """

    ctx: Context
    total_s: float

    def left_s(self, until: float) -> float:
        """Seconds until a part of the time is over, on this machine's clock; only for `ctx.decide`."""
        if math.isinf(self.total_s):
            return math.inf
        spent = self.total_s - (self.ctx.left_s() - RESERVE * self.ctx.job.budget_s)
        return until * self.total_s - spent


def clock(ctx: Context) -> TimeBudget:
    """A clock over what is left now, decided once a run; over endless time where the recipe is given.

    Two runs of one recipe are then equal, their decisions included.
    """
    if ctx.job.recipe:
        return TimeBudget(ctx=ctx, total_s=math.inf)
    reserve = RESERVE * ctx.job.budget_s
    total = ctx.record_decision("adapt/time", lambda: max(ctx.left_s() - reserve, 0.0), "seconds left for fine-tuning")
    return TimeBudget(ctx=ctx, total_s=float(total))
