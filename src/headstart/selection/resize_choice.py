"""How pictures that are no squares become the network's square input: cropped, padded or squashed, as measured.

Where a centre crop would lose little, nothing is measured and each backbone keeps its own way. Elsewhere the cheapest
candidate sees a few pictures in all three ways, and linear probes on its features are compared on the same folds. The
crop is left only for what is better beyond chance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core.types import Dataset
from headstart.data.groups import find_groups, find_learnable
from headstart.data.splits import estimate_training_count
from headstart.features.extraction import extract_features
from headstart.images.preprocessing import CROP_LOSS, RESIZES, measure_crop_loss
from headstart.selection.candidates import backbone_for_audit
from headstart.selection.ranking.probe_scores import ProbeScores, judge_levels
from headstart.selection.ranking.screening import draw_rows, make_screening_problem
from headstart.statistics.paired_selection import paired_difference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headstart.core.run.context import Context

PICTURES = 256  # that are looked at, at most
DECISION = "read/resize"


def find_resize_rows(data: Dataset, *, ctx: Context) -> np.ndarray | None:
    """(M,) int64 rows by which the way is chosen; None where the job names one or shapes make no difference."""
    learnable = find_learnable(data, ctx.job.test_size)
    loss = measure_crop_loss(data.facts.width_px[learnable], data.facts.height_px[learnable])
    if ctx.job.resize != "auto" or loss.sum() <= CROP_LOSS * len(loss):
        return None
    needs_test_split = estimate_training_count(data, ctx.job) < len(learnable)  # none is drawn from these rows
    usable = len(learnable) * (1 - ctx.job.test_size) / 2 if needs_test_split else len(learnable)
    return draw_rows(data, min(PICTURES, int(usable)), ctx.seed, learnable, find_groups(data))


def choose_resize(data: Dataset, backbones: Iterable[str], rows: np.ndarray, *, ctx: Context) -> Dataset:
    """The data set, read in the way that keeps most of what tells its classes apart."""
    backbone = backbone_for_audit(backbones)
    why = "which way of making pictures square keeps what tells the classes apart"
    choice = ctx.record_decision(DECISION, lambda: _measure_choice(data, backbone, rows, ctx), why)
    ctx.console.print_line("resize", f"{choice['resize']}: {choice['reason']}")
    return replace(data, reading=replace(data.reading, resize=choice["resize"], reason=choice["reason"]))


def _measure_choice(data: Dataset, backbone: str, rows: np.ndarray, ctx: Context) -> dict[str, Any]:
    problem = make_screening_problem(data, rows, ctx)

    def judge(resize: str) -> ProbeScores:
        seen = replace(data, reading=replace(data.reading, resize=resize))
        levels = judge_levels(extract_features(seen, backbone, rows, ctx=ctx), problem)
        return min(levels, key=lambda level: level.losses.mean_loss)

    by_resize = {resize: judge(resize) for resize in RESIZES}
    best = min(RESIZES, key=lambda resize: by_resize[resize].losses.mean_loss)
    gain = paired_difference(by_resize[best].losses, by_resize["crop"].losses, problem.clusters)
    scores = ", ".join(f"{resize} {scores.losses.mean_loss:.3f}" for resize, scores in by_resize.items())
    metric = problem.metric.replace("_", " ").replace("accuracy", "error")
    reason = f"{metric} {scores} on {len(rows):,} pictures through {backbone}"
    if gain.high < 0:
        return {"resize": best, "reason": reason}
    return {"resize": "crop", "reason": f"no other way is better beyond chance; {reason}"}
