"""A fit to too few pictures to judge anything by: each class is the mean of its pictures.

Where a class has one picture, no fold can both learn and judge it. So nothing is compared and nothing is promised: the
last level of the backbone of which most is expected, and the nearest class mean (Snell, Swersky, Zemel, NeurIPS 2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.core import registry
from headstart.core.errors import UsageError
from headstart.core.job import Job
from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Embeddings, FitResult, Ranking, Splits
from headstart.features.embeddings import join_columns
from headstart.heads import cross_validation, prediction
from headstart.selection.probe.candidate_heads import make_feature

WHY = "nothing can be judged: a class has one picture to learn from"


def require_possible(job: Job) -> None:
    """Refuse settings that need judged pictures; raises UsageError."""
    asked = {
        f"--strategy {job.strategy}": job.strategy not in ("probe", "auto"),
        "--positive": bool(job.positive),
        "--from-names": job.from_names,
    }
    refused = [option for option, is_asked in asked.items() if is_asked]
    if refused:
        hint = "leave it out, or give every class two pictures or more"
        raise UsageError(f"`{refused[0]}` is not possible: {WHY}", hint=hint)


def choose_by_prior(embeddings: Embeddings, *, ctx: Context) -> Ranking:
    """A ranking that measured nothing: the last level of the one backbone that the pictures went through."""
    spec = embeddings.spec
    ranking = Ranking(
        metric="",
        rows=(),
        chosen=f"{spec.name}@{spec.depths[-1].name}",
        why=f"best by what is published of it; {WHY}",
        ties=(),
        survivors=(spec.name,),
        best_by_prior=spec.name,
    )
    serialization.save_value(ranking, ctx.make_step_folder("rank"))
    ctx.console.print_line("rank", f"{ranking.chosen}: {ranking.why}")
    return ranking


def fit_prototypes(
    data: Dataset, splits: Splits, ranking: Ranking, embeddings: Embeddings, *, ctx: Context
) -> FitResult:
    """The nearest class mean of the training pictures, and no held-out answer."""
    feature = make_feature((embeddings,), ranking.chosen)
    rows, classes = np.asarray(splits.train), len(data.class_names)
    x, y = join_columns((embeddings,), (feature,), rows), np.asarray(data.targets)[rows]
    head = registry.load_plugin("heads", "nearest_mean")
    balanced = ctx.job.class_weight == "balanced"
    settings: dict[str, Any] = {"params": [{}], "n_classes": classes, "seed": ctx.seed}
    settings["class_weight"] = cross_validation.balanced_class_weights(y, classes) if balanced else None
    weight = None if data.weights is None else np.asarray(data.weights)[rows]
    fitted = next(cross_validation.fit_rows(head, x, y, slice(None), sample_weight=weight, **settings))
    adapted = FitResult(
        strategy="probe",
        features=(feature,),
        fitted=fitted,
        tried=(),
        why=f"nearest class mean; {WHY}",
        cv_rows=rows[:0],
        cv_probabilities=np.empty((0, classes), np.float32),
        train_probabilities=prediction.predict_probabilities(fitted.kind, fitted.arrays, x),
        nested=(),
        curve=(),
    )
    serialization.save_value(adapted, ctx.make_step_folder("adapt"))
    ctx.console.print_line("adapt", f"nearest_mean on {feature.backbone}@{feature.depth}: {WHY}")
    return adapted
