"""Records of runs that never were, for those who learn from records."""

from headstart.core.types import Score
from headstart.selection.forecast.history import Measured, Record

PUBLISHED = {"a": 0.70, "b": 0.75, "c": 0.80, "d": 0.85}


def scored(name, value, n, split="test"):
    """A score without an interval of its own."""
    return Score(split=split, name=name, value=value, low=value, high=value, n=n)


def record(number, *, accuracy=0.8, n=200, probes=None, counts=(50, 50, 50, 50), split="cv", **more):
    """A record; each number is a run of its own on pictures of its own.

    Args:
        number: Of the run.
        accuracy: Of what was handed over, balanced accuracy too.
        n: Pictures that judged.
        probes: Backbone of `PUBLISHED` -> balanced accuracy.
        counts: Training pictures of each class.
        split: Of the probes.
        more: Other fields.
    """
    backbones = tuple(
        Measured(
            key=f"x:{name}",
            prior=PUBLISHED[name],
            probe=(scored("balanced_accuracy", value, sum(counts), split),),
        )
        for name, value in (probes or {"b": accuracy}).items()
    )
    fields = {
        "address": f"{number:064d}",
        "pictures_digest": f"pictures {number}",
        "made_s": float(number),
        "strategy": "probe",
        **more,
    }
    return Record(
        classes=len(counts),
        counts=tuple(counts),
        backbones=backbones,
        final=tuple(scored(metric, accuracy, n) for metric in ("accuracy", "balanced_accuracy")),
        **fields,
    )
