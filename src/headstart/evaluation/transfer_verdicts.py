"""Verdicts on transfer in words: does fine-tuning pay, is there negative transfer, what do pre-trained weights save."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.types import AblationRow, CurvePoint, FineTuningResult, Score, Verdict
from headstart.evaluation.ablation import RANDOM, TUNED
from headstart.evaluation.verdicts import sign_answer


def make_transfer_verdicts(
    rows: Sequence[AblationRow], tuning: FineTuningResult, curve: Sequence[CurvePoint]
) -> tuple[Verdict, ...]:
    """Did fine-tuning pay, does pre-training help or harm, and what does it save."""
    by_name = {row.name: row for row in rows}
    verdicts = []
    if TUNED in by_name:
        verdicts.append(_judge_fine_tuning(by_name[TUNED], tuning))
    if RANDOM in by_name:
        verdicts.append(_judge_negative_transfer(by_name[RANDOM]))
        verdicts.append(_judge_data_saved(by_name[RANDOM], curve, tuning))
    return tuple(verdicts)


def _format_difference(score: Score) -> str:
    return f"{score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}] (n = {score.n:,})"


def _judge_fine_tuning(row: AblationRow, tuning: FineTuningResult) -> Verdict:
    assert row.difference is not None
    answer = sign_answer(row.difference)
    claims = {"yes": "fine-tuning pays", "no": "fine-tuning loses", "unclear": "whether fine-tuning pays is unclear"}
    outcome = "the network is handed over" if tuning.taken else "the frozen probe is handed over"
    gain = _format_difference(row.difference)
    sentence = f"{claims[answer]}: accuracy {gain} against the frozen probe; {outcome}: {tuning.why}"
    return Verdict(code="fine_tuning", answer=answer, sentence=sentence)


def _judge_negative_transfer(row: AblationRow) -> Verdict:
    assert row.difference is not None
    answer = sign_answer(row.difference)
    claim = {
        "yes": "negative transfer: random weights, trained, do better than frozen pre-trained ones",
        "no": "no negative transfer: the same network from random weights does worse",
        "unclear": "whether pre-trained weights help or harm is unclear",
    }[answer]
    gain = _format_difference(row.difference)
    sentence = f"{claim}, accuracy {gain} against the frozen probe after at least as many operations"
    return Verdict(code="negative_transfer", answer=answer, sentence=sentence)


def _judge_data_saved(row: AblationRow, curve: Sequence[CurvePoint], tuning: FineTuningResult) -> Verdict:
    target = next(s for s in row.scores if s.name == "balanced_accuracy")
    points = sorted((p for p in curve if np.isfinite(p.score.value)), key=lambda p: p.n_train)
    reached = [p for p in points if p.score.value >= target.value]
    if not reached or not np.isfinite(target.value):
        sentence = f"no point of the probe's learning curve reaches the {target.value:.3f} from random weights"
        return Verdict(code="data_saved", answer="no", sentence=sentence)
    first = reached[0]
    part = row.n_train / first.n_train
    more = "or fewer " if first is points[0] else ""
    sentence = (
        f"the frozen probe reaches balanced accuracy {first.score.value:.3f} with {first.n_train:,} {more}pictures; "
        f"the network from random weights has {target.value:.3f} [{target.low:.3f}, {target.high:.3f}] with "
        f"{row.n_train:,}: {_format_part(part)} of the labels{_format_work_saved(target.value, tuning)}"
    )
    return Verdict(code="data_saved", answer="yes" if part > 1 else "no", sentence=sentence)


def _format_work_saved(target: float, tuning: FineTuningResult) -> str:
    """After which part of the operations the tuned network passes a held-out score; empty when it never does."""
    tuned, scratch = tuning.network, tuning.scratch
    logs = [log for log in tuning.logs if tuned and log.trial == tuned.soup[0] and log.start is not None]
    if tuned is None or scratch is None or not logs:
        return ""
    if np.mean([log.start.balanced_accuracy for log in logs if log.start]) >= target:
        return "; the tuned network is past it before its first step"
    for epoch in range(min(tuned.epochs, *(len(log.epochs) for log in logs))):  # later ones are not in the network
        scores = [row.val.balanced_accuracy for log in logs if (row := log.epochs[epoch]).val is not None]
        if scores and np.mean(scores) >= target:
            spent = tuned.flops * (epoch + 1) / max(tuned.epochs, 1)
            part = f", {_format_part(scratch.flops / spent)} of the operations" if spent < scratch.flops else ""
            return f"; the tuned network passes it after epoch {epoch + 1}{part}"
    return ""


def _format_part(times: float) -> str:
    """What one is of so many: `1/9`, and in per cent where halves are not reached."""
    return f"1/{times:.0f}" if times >= 2 else f"{100 / times:.0f} %"
