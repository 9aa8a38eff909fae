"""Settings that would be taken and do nothing: a fit refuses them before it starts.

They are no part of `headstart.core.job.find_problems`, so that the job of an older run can still be read.
"""

from __future__ import annotations

from headstart.core.errors import UsageError
from headstart.core.job import Job, Problem, format_flag

OF_TRAINING = ("trials", "domain", "track", "profile")  # a probe looks at none of them


def require_effect(job: Job) -> None:
    """Refuse settings without effect, all at once.

    Raises:
        UsageError: With every such setting and why.
    """
    found = find_unused_settings(job)
    if found:
        hint = "--strategy auto trains networks" if job.strategy == "probe" else f"leave out {found[0].where}"
        told = "; ".join(one.what for one in found)
        raise UsageError(told, where=", ".join(one.where for one in found), hint=hint)


def find_unused_settings(job: Job) -> list[Problem]:
    """Every setting that changes nothing beside the others, one sentence each."""
    usual = Job(data=job.data)
    found = []
    if job.strategy == "probe":
        given = [name for name in OF_TRAINING if getattr(job, name) != getattr(usual, name)]
        if job.track == "mlflow":  # it gets the result and the model too
            given.remove("track")
        return [
            Problem(format_flag(name), f"{name} has no effect with strategy `probe`: it trains no network")
            for name in given
        ]
    if job.recipe and job.trials:
        found.append(Problem(format_flag("trials"), "trials has no effect with a recipe: that one is trained as given"))
    return found
