"""The measured model of numbers: against the mean of the training pictures, and which numbers are suspect."""

from __future__ import annotations

import numpy as np

from headstart.core.types import Evaluation, Score
from headstart.evaluation import baselines, verdicts
from headstart.evaluation.baselines import BaselineInputs
from headstart.evaluation.held_out_scores import JudgedSplit, list_caveats

FAR = 5.0  # robust standard deviations of held-out errors beyond which a number is suspected to be wrong
MOST = 200  # suspects


def measure_numbers(
    judged_splits: dict[str, JudgedSplit],
    scores: list[Score],
    feature_sets: dict[str, JudgedSplit],
    inputs: BaselineInputs,
    *,
    is_nested: bool,
) -> Evaluation:
    """What was measured of a model that answers with a number; `scores` are its own, the headline's split first."""
    headline = next(iter(judged_splits.values()))
    p_mean = baselines.answer_constantly(len(headline.y), inputs.splits.train, inputs.data)
    baseline_scores = baselines.score_baseline(headline, p_mean, baselines.MEAN, inputs.seed)
    for subject, part in feature_sets.items():
        baseline_scores += baselines.score_baseline(part, part.p, subject, inputs.seed)
    caveats = list_caveats(headline, inputs.data, inputs.splits, scores)
    suspects, answers = find_far_numbers(judged_splits)
    return Evaluation(
        split=headline.split,
        scores=tuple(scores),
        baselines=tuple(baseline_scores),
        confusion=np.zeros((0, 0), np.int64),
        rows=headline.rows,
        probabilities=headline.p,
        calibration=(),
        suspects=suspects,
        rival_probabilities=tuple(answers.tolist()),
        threshold=None,
        verdicts=(
            verdicts.judge_headline(headline, scores, p_mean[0], (), is_nested=is_nested, caveats=caveats),
            verdicts.judge_transfer(feature_sets, np.asarray(inputs.splits.clusters)),
            verdicts.judge_overfitting(judged_splits["train"], headline, is_nested=is_nested),
            verdicts.judge_enough_data(inputs.adapted.curve),
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
