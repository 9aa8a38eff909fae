"""The measured model of numbers: against the mean of the training pictures, and which numbers are suspect."""

from __future__ import annotations

import numpy as np

from headstart.core.types import Evaluation, Score, Verdict
from headstart.evaluation import baselines, verdicts
from headstart.evaluation.baselines import BaselineInputs
from headstart.evaluation.held_out_scores import JudgedSplit, list_caveats
from headstart.statistics.intervals import cross_validation_effect, mean_interval

MEAN = "mean of the training pictures"
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
    mean = float(np.mean(np.asarray(inputs.data.targets)[inputs.splits.train]))
    p_mean = np.full_like(headline.p, mean)
    baseline_scores = baselines.score_baseline(headline, p_mean, MEAN, inputs.seed)
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
            judge_numbers(headline, scores, mean, is_nested=is_nested, caveats=caveats),
            verdicts.judge_transfer(feature_sets, np.asarray(inputs.splits.clusters)),
            verdicts.judge_overfitting(judged_splits["train"], headline, is_nested=is_nested),
            verdicts.judge_enough_data(inputs.adapted.curve),
        ),
        nested=is_nested,
    )


def judge_numbers(
    part: JudgedSplit, scores: list[Score], mean: float, *, is_nested: bool, caveats: tuple[str, ...]
) -> Verdict:
    """Better than always answering the mean of the training pictures? Compared picture by picture."""
    r2, mae = (verdicts.find_score(scores, part.split, name) for name in ("r2", "mae"))
    errors, plain = np.abs(part.p[:, 0] - part.y), np.abs(mean - part.y)
    gain = mean_interval(plain - errors, part.clusters, cross_validation_effect(part.n_folds))
    judged_on = {"test": "the test pictures", "val": "the validation pictures"}.get(part.split, "nested held-out folds")
    optimism = ""
    if part.split == "cv" and not is_nested:
        judged_on, optimism = "held-out folds", f", {verdicts.OPTIMISM}"
    answer = verdicts.sign_answer(gain)
    against = {"yes": "which it beats", "no": "which is better", "unclear": "a tie"}[answer]
    sentence = (
        f"mean absolute error {verdicts.format_interval(mae)} on {judged_on} (n = {mae.n:,}{optimism}), "
        f"R2 {verdicts.format_interval(r2)}; {''.join(f'{caveat}; ' for caveat in caveats)}"
        f"always answering {mean:.4g}, the {MEAN}, is off by {plain.mean():.3f}, {against}"
    )
    return Verdict(code="headline", answer=answer, sentence=sentence)


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


def format_line(evaluation: Evaluation) -> str:
    """`test MAE 1.20 [1.00, 1.40] (n = 400), R2 0.910 [0.880, 0.940], mean of the training pictures 15.200`."""
    r2, mae = (verdicts.find_score(evaluation.scores, evaluation.split, name) for name in ("r2", "mae"))
    plain = next(s for s in evaluation.baselines if (s.name, s.subject) == ("mae", MEAN))
    split = "nested cv" if evaluation.nested else evaluation.split
    optimism = f", {verdicts.OPTIMISM}" if evaluation.is_optimistic else ""
    return (
        f"{split} MAE {verdicts.format_interval(mae)} (n = {mae.n:,}), R2 {verdicts.format_interval(r2)}, "
        f"{MEAN} {plain.value:.3f}{optimism}"
    )
