"""Verdicts on transfer in words: does fine-tuning pay, is there negative transfer, what do pre-trained weights save."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.types import CLASSIFICATION, AblationRow, CurvePoint, FineTuningResult, Score, Task, Verdict
from headstart.evaluation.ablation import PROBE, RANDOM, TUNED
from headstart.evaluation.baselines import name_constant
from headstart.evaluation.verdicts import format_score_name, sign_answer
from headstart.statistics.intervals import Interval, Z

LEARNING = 0.02  # part of the training loss that the last epoch took off, from which a network is still learning
_DRAWS = 1_000  # of the bootstrap
_SEED = 78_000


def make_transfer_verdicts(
    rows: Sequence[AblationRow],
    tuning: FineTuningResult,
    curve: Sequence[CurvePoint],
    task: Task = CLASSIFICATION,
) -> tuple[Verdict, ...]:
    """Did fine-tuning pay, does pre-training help or harm, and what does it save."""
    by_name = {row.name: row for row in rows}
    verdicts = []
    if TUNED in by_name:
        verdicts.append(_judge_fine_tuning(by_name[TUNED], tuning))
    if RANDOM in by_name:
        verdicts.append(_judge_negative_transfer(by_name[RANDOM], tuning))
        guessing = next(s.value for s in by_name[name_constant(task)].scores if s.name == task.curve)
        verdicts.append(_judge_data_saved(by_name[RANDOM], curve, tuning, guessing, task.curve))
    return tuple(verdicts)


def _format_training(tuning: FineTuningResult) -> str:
    """For how long the network from random weights was trained: what is said of it holds within that bound."""
    scratch, tuned = tuning.scratch, tuning.network
    epochs = f"{scratch.epochs} epochs" if scratch else "at least as many operations"
    times = f", {scratch.flops / tuned.flops:.1f} times its operations" if scratch and tuned and tuned.flops else ""
    curve = next((log.epochs for log in tuning.logs if log.trial < 0), ())
    is_rising = len(curve) > 1 and curve[-1].train.loss < (1 - LEARNING) * curve[-2].train.loss
    bound = "; it was still learning, so longer training might tell more" if is_rising else ""
    return f"after {epochs}{times}{bound}"


def _format_difference(score: Score) -> str:
    return f"{score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}] (n = {score.n:,})"


def _judge_fine_tuning(row: AblationRow, tuning: FineTuningResult) -> Verdict:
    assert row.difference is not None
    answer = sign_answer(row.difference)
    claims = {"yes": "fine-tuning pays", "no": "fine-tuning loses", "unclear": "whether fine-tuning pays is unclear"}
    outcome = "the network is handed over" if tuning.taken else "the frozen probe is handed over"
    if tuning.network and tuning.network.is_untrained:
        ending = "" if tuning.taken else f"; {outcome}"
        return Verdict(code="fine_tuning", answer="no", sentence=f"fine-tuning gave nothing: {tuning.why}{ending}")
    gain = f"{format_score_name(row.difference.name)} {_format_difference(row.difference)}"
    sentence = f"{claims[answer]}: {gain} against the frozen probe; {outcome}: {tuning.why}"
    return Verdict(code="fine_tuning", answer=answer, sentence=sentence)


def _judge_negative_transfer(row: AblationRow, tuning: FineTuningResult) -> Verdict:
    """Against the better of what pre-training leads to, frozen probe and fine-tuned network, on the same pictures.

    Harm is only claimed where random weights surely beat both: what is handed over may be either.
    """
    rivals = {name: score for name, score in ((TUNED, row.tuned_difference), (PROBE, row.difference)) if score}
    taken = TUNED if tuning.taken and TUNED in rivals else PROBE
    better = min(rivals, key=lambda name: (rivals[name].value, name != taken))
    answer = sign_answer(rivals[better])
    claim = {
        "yes": "negative transfer: random weights, trained, do better than pre-trained ones",
        "no": "no negative transfer: the same network from random weights does worse",
        "unclear": "whether pre-trained weights help or harm is unclear",
    }[answer]
    gains = [
        f"{_format_difference(rivals[name])} against the {_format_rival(name, taken)}" for name in (taken, *rivals)
    ]
    name = format_score_name(rivals[better].name)
    sentence = f"{claim}, {name} {' and '.join(dict.fromkeys(gains))}, {_format_training(tuning)}"
    return Verdict(code="negative_transfer", answer=answer, sentence=sentence)


def _format_rival(name: str, taken: str) -> str:
    subject = f"{name} network" if name == TUNED else name
    return f"{subject}, which is handed over" if name == taken else subject


def _judge_data_saved(
    row: AblationRow, curve: Sequence[CurvePoint], tuning: FineTuningResult, guessing: float, score_name: str
) -> Verdict:
    """Which part of the labels, and of the operations, reach the score from random weights; each with its interval.

    What a network that is not surely better than `guessing` reaches, any probe reaches: nothing can be said then.
    """
    target, name = next(s for s in row.scores if s.name == score_name), format_score_name(score_name)
    if target.low <= guessing:
        sentence = (
            f"the network from random weights has {name} {target.value:.3f} [{target.low:.3f}, "
            f"{target.high:.3f}], {_format_training(tuning)}, and guessing has {guessing:.3f}: what it would need to "
            "learn the same cannot be said"
        )
        return Verdict(code="data_saved", answer="unclear", sentence=sentence)
    points = sorted((p for p in curve if np.isfinite(p.score.value)), key=lambda p: p.n_train)
    targets = _draw_scores(target, np.random.default_rng(_SEED))
    needed, draws = _count_needed(points, target.value, 0.0), np.array([])
    if points and np.isfinite(target.value):
        shifts = np.random.default_rng([_SEED, 1]).standard_normal(_DRAWS)
        draws = np.array([_count_needed(points, t, z) for t, z in zip(targets, shifts, strict=True)])
    if not np.isfinite(needed) or not len(draws):
        sentence = (
            f"no point of the probe's learning curve reaches the {target.value:.3f} "
            f"[{target.low:.3f}, {target.high:.3f}] from random weights"
        )
        return Verdict(code="data_saved", answer="no", sentence=sentence)
    times = Interval(row.n_train / needed, *(row.n_train / np.quantile(draws, [0.975, 0.025], method="nearest")))
    answer = "yes" if times.low > 1 else "no" if times.high < 1 else "unclear"
    more = "or fewer " if needed <= points[0].n_train else ""
    sentence = (
        f"the frozen probe reaches {name} {target.value:.3f} with {needed:,.0f} {more}pictures; "
        f"the network from random weights has {target.value:.3f} [{target.low:.3f}, {target.high:.3f}] with "
        f"{row.n_train:,}, {_format_training(tuning)}: {_format_parts(times)} of the labels"
        f"{_format_work_saved(target, targets, tuning)}"
    )
    return Verdict(code="data_saved", answer=answer, sentence=sentence)


def _draw_scores(score: Score, rng: np.random.Generator) -> np.ndarray:
    """(D,) draws of a score from its interval."""
    return score.value + (score.high - score.low) / (2 * Z) * rng.standard_normal(_DRAWS)


def _count_needed(points: Sequence[CurvePoint], target: float, shift: float) -> float:
    """Pictures with which a learning curve first reaches a score, linear in their logarithm; infinite where it never
    does. The points are moved together, by `shift` of their standard errors: the same pictures judge them."""
    values = [p.score.value + shift * (p.score.high - p.score.low) / (2 * Z) for p in points]
    for at, (point, value) in enumerate(zip(points, values, strict=True)):
        if value >= target:
            below = points[at - 1] if at else point
            part = 1.0 if not at else (target - values[at - 1]) / (value - values[at - 1])
            return float(below.n_train * (point.n_train / below.n_train) ** part)
    return float("inf")


def _format_work_saved(target: Score, targets: np.ndarray, tuning: FineTuningResult) -> str:
    """After which part of the operations the tuned network passes a held-out score; empty when it never does.

    The interval resamples the folds and draws the score.
    """
    tuned, scratch = tuning.network, tuning.scratch
    logs = [log for log in tuning.logs if tuned and log.trial == tuned.soup[0] and log.start is not None]
    if tuned is None or scratch is None or not logs:
        return ""
    # later epochs are not in the network
    count = min(tuned.epochs, *(len(log.epochs) for log in logs))
    curves = [[log.start, *(row.val for row in log.epochs[:count])] for log in logs if log.start]
    if not hasattr(curves[0][0], target.name):  # labels: their average precision is not measured epoch by epoch
        return ""
    scores = np.array([[getattr(held, target.name) for held in curve] for curve in curves])
    passed = _find_epoch(scores.mean(axis=0), target.value)
    if passed is None:
        return ""
    if passed == 0:
        return "; the tuned network is past it before its first step"
    epoch_flops = tuned.flops / max(tuned.epochs, 1)
    resampled = np.random.default_rng([_SEED, 2]).integers(0, len(scores), size=(len(targets), len(scores)))
    epochs = [_find_epoch(scores[rows].mean(axis=0), each) for rows, each in zip(resampled, targets, strict=True)]
    spent = [np.inf if epoch is None else max(epoch, 0.5) * epoch_flops for epoch in epochs]
    ends = (scratch.flops / np.quantile(spent, [0.975, 0.025], method="nearest")).tolist()
    times = Interval(scratch.flops / (passed * epoch_flops), *ends)
    part = f", {_format_parts(times)} of the operations" if times.value > 1 else ""
    return f"; the tuned network passes it after epoch {passed}{part}"


def _find_epoch(scores: np.ndarray, target: float) -> int | None:
    """The first epoch, 0 for the start, whose mean held-out score is a target or more."""
    reached = np.flatnonzero(scores >= target)
    return int(reached[0]) if len(reached) else None


def _format_parts(times: Interval) -> str:
    """What one is of so many with its interval: `1/9 [1/12, 1/6]`; the end is open where the score is not reached."""
    most = f"{_format_part(times.low)}]" if times.low > 0 else "no bound)"
    return f"{_format_part(times.value)} [{_format_part(times.high)}, {most}"


def _format_part(times: float) -> str:
    """`1/9`, and in per cent where halves are not reached."""
    return f"1/{times:.0f}" if times >= 2 else f"{100 / times:.0f} %"
