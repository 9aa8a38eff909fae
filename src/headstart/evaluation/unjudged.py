"""What is said of a model that no picture judged: nothing, in a plain sentence."""

from __future__ import annotations

import numpy as np

from headstart.core.run.context import Context
from headstart.core.storage import serialization
from headstart.core.types import Dataset, Evaluation, Splits, Verdict
from headstart.data.check_base import format_names

REFUSAL = "how good this model is, is not known"


def refuse_claims(data: Dataset, splits: Splits, *, ctx: Context) -> Evaluation:
    """An evaluation without any score, split `none`."""
    classes, n = len(data.class_names), len(splits.train)
    counts = np.bincount(np.asarray(data.targets)[np.asarray(splits.train)], minlength=classes)
    names = format_names(data.class_names[c] for c in np.flatnonzero(counts == 1))
    sentence = (
        f"{REFUSAL}: it learnt from {n:,} pictures, and {names} had one, which cannot both be learnt "
        "from and judge. No accuracy, probability or `unknown` is promised; `headstart evaluate` with labelled "
        "pictures measures them"
    )
    evaluation = Evaluation(
        split="none",
        scores=(),
        baselines=(),
        confusion=np.zeros((classes, classes), np.int64),
        rows=np.empty(0, np.int64),
        probabilities=np.empty((0, classes), np.float32),
        calibration=(),
        suspects=np.empty(0, np.int64),
        threshold=None,
        verdicts=(Verdict(code="headline", answer="unclear", sentence=sentence),),
    )
    serialization.save_value(evaluation, ctx.make_step_folder("evaluate"))
    ctx.console.print_line("evaluate", sentence)
    return evaluation
