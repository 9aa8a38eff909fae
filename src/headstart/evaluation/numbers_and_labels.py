"""The measured model of numbers or of several labels: against one answer for all, and what is suspect."""

from __future__ import annotations

import dataclasses

import numpy as np

from headstart.core.types import CLASSIFICATION, Evaluation, Score
from headstart.evaluation import baselines, verdicts
from headstart.evaluation.baselines import BaselineInputs
from headstart.evaluation.curve_forecast import count_classes
from headstart.evaluation.held_out_scores import JudgedSplit, list_caveats
from headstart.evaluation.suspect_labels import find_suspect_labels
from headstart.statistics.calibration_error import calibration_bins

FAR = 5.0  # robust standard deviations of held-out errors beyond which a number is suspected to be wrong
MOST = 200  # suspects


def measure_model(
    judged_splits: dict[str, JudgedSplit],
    scores: list[Score],
    feature_sets: dict[str, JudgedSplit],
    inputs: BaselineInputs,
    *,
    is_nested: bool,
) -> Evaluation:
    """What was measured of a model that answers so; `scores` are its own, the headline's split first."""
    headline, has_labels = next(iter(judged_splits.values())), inputs.data.learning_task.has_labels
    p_constant = baselines.answer_constantly(len(headline.y), inputs.splits.train, inputs.data)
    constant = baselines.name_constant(inputs.data.learning_task)
    baseline_scores = baselines.score_baseline(headline, p_constant, constant, inputs.seed)
    for subject, part in feature_sets.items():
        baseline_scores += baselines.score_baseline(part, part.p, subject, inputs.seed)
    caveats = list_caveats(headline, inputs.data, inputs.splits, scores)
    labels, wrong = np.empty(0, np.int64), tuple[float, ...]()
    pooled = pool_labels(headline) if has_labels else None
    if pooled:
        doubtful = find_suspect_labels(
            {split: pool_labels(part) for split, part in judged_splits.items() if split != "train"}
        )
        suspects, labels = np.divmod(doubtful.rows, headline.p.shape[1])
        answers, wrong = np.abs(1 - doubtful.rivals - doubtful.rival_probabilities), doubtful.wrong
    else:
        suspects, answers = find_far_numbers(judged_splits)
    return Evaluation(
        split=headline.split,
        scores=tuple(scores),
        baselines=tuple(baseline_scores),
        confusion=np.zeros((0, 0), np.int64),
        rows=headline.rows,
        probabilities=headline.p,
        calibration=calibration_bins(pooled.y, pooled.p) if pooled else (),
        suspects=suspects,
        wrong_labels=wrong,
        rival_classes=tuple(labels.tolist()),
        rival_probabilities=tuple(answers.tolist()),
        threshold=None,
        verdicts=(
            verdicts.judge_headline(headline, scores, p_constant[0], (), is_nested=is_nested, caveats=caveats),
            *(verdicts.find_uneven_labels(headline, inputs.data.class_names) if has_labels else ()),
            verdicts.judge_transfer(feature_sets, np.asarray(inputs.splits.clusters)),
            verdicts.judge_overfitting(judged_splits["train"], headline, is_nested=is_nested),
            verdicts.judge_enough_data(inputs.adapted, count_classes(inputs.data)),
        ),
        nested=is_nested,
    )


def find_far_numbers(judged_splits: dict[str, JudgedSplit]) -> tuple[np.ndarray, np.ndarray]:
    """Rows (P,) int64 whose number lies `FAR` from what held-out models say, the furthest first, and what these say.

    By the median absolute deviation of the held-out errors, in units of a normal standard deviation.
    """
    parts = [part for split, part in judged_splits.items() if split != "train"]
    rows, y, p = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "y", "p"))
    errors = np.asarray(p[:, 0], np.float64) - y
    centred = np.abs(errors - np.median(errors))
    spread = 1.4826 * float(np.median(centred))
    order = np.argsort(-centred, kind="stable")[:MOST]
    far = order[centred[order] > FAR * spread] if spread > 0 else order[:0]
    return rows[far].astype(np.int64), np.asarray(p[far, 0], np.float64)


def pool_labels(part: JudgedSplit) -> JudgedSplit:
    """Every label c of every picture as one of two classes, absent or present: (M C,); `rows` are row * C + c."""
    p, n_labels = part.p.reshape(-1).astype(np.float64), part.p.shape[1]
    return dataclasses.replace(
        part,
        rows=(part.rows[:, None] * n_labels + np.arange(n_labels)).reshape(-1),
        y=part.y.reshape(-1).astype(np.int64),
        p=np.stack([1 - p, p], axis=1),
        answers=part.answers.reshape(-1).astype(np.int64),
        clusters=np.repeat(part.clusters, n_labels),
        task=CLASSIFICATION,
    )
