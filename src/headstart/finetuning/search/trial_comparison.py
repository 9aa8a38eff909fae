"""The paired rule between the frozen probe and the recipes, and what is told of each trial."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.core.types import Score, Trial
from headstart.features.embeddings import find_positions
from headstart.finetuning.search.recipe_search import RecipeTrial
from headstart.finetuning.search.training_setup import Workbench
from headstart.heads import repeated_cv
from headstart.statistics.intervals import Z
from headstart.statistics.losses import per_picture_loss
from headstart.statistics.paired_selection import CandidateLosses, PairedChoice, choose_candidate, paired_difference

GUARD = 0.5  # standard errors by which a network must beat the probe
PROBE, NETWORK = "frozen probe", "fine-tuned"


def name(attempt: RecipeTrial) -> str:
    """Of a finalist."""
    return f"{NETWORK} (trial {attempt.number})"


def picked(bench: Workbench, best: Sequence[RecipeTrial]) -> PairedChoice:
    """The paired rule between the probe and the finalists, on the pictures that all of them answered for."""
    rows = best[0].judged.rows if best[0].judged else np.empty(0, np.int64)
    for attempt in best:
        assert attempt.judged is not None
        rows = np.intersect1d(rows, attempt.judged.rows)
    listed = [contender(PROBE, rows, bench.probe_of(rows), bench, bench.price.probe_flops)]
    for attempt in best:
        assert attempt.judged is not None
        p = attempt.judged.probabilities[find_positions(attempt.judged.rows, rows, "judged")]
        listed.append(contender(name(attempt), rows, p, bench, bench.price.answering_flops(attempt.recipe)))
    return choose_candidate(listed, prefer=bench.on.prefer, clusters=bench.on.clusters, metric=bench.on.metric)


def convincing(found: PairedChoice) -> bool:
    """Whether a network won, and by more than half a standard error: of several that tie with the probe one always
    leads by luck, and then the probe, which needs no trust, stays."""
    apart = found.paired[PROBE]
    return found.winner != PROBE and apart.value >= GUARD * (apart.high - apart.low) / (2 * Z)


def settled(bench: Workbench, best: Sequence[RecipeTrial]) -> tuple[PairedChoice, RecipeTrial, bool]:
    """The pick, the finalist that is trained on all pictures, and whether it is handed over."""
    found = picked(bench, best)
    chosen = next((a for a in best if name(a) == found.winner), best[0])
    return found, chosen, convincing(found) or bench.ctx.job.strategy != "auto"


def contender(name: str, rows: np.ndarray, p: np.ndarray, bench: Workbench, cost: float) -> CandidateLosses:
    """Losses of (M, C) probabilities of some rows of the data set."""
    y = np.array([bench.y_of[row] for row in rows.tolist()], np.int64)
    return CandidateLosses(name=name, rows=rows, losses=per_picture_loss(bench.on.metric, y, p), cost=cost)


def trial(bench: Workbench, attempt: RecipeTrial, found: PairedChoice | None, chosen: RecipeTrial | None) -> Trial:
    """What is told of a trial, next to the frozen probe on the same pictures."""
    nan = float("nan")
    metric, done = bench.on.metric, attempt.judged
    status = "failed" if done is None else "pruned" if attempt.pruned else "beaten"
    if attempt is chosen:
        status = "chosen"
    elif found is not None and name(attempt) in found.paired:
        status = "finalist"
    if done is None:
        score, apart = Score(split="cv", name=metric, value=nan, low=nan, high=nan, n=0, method="none"), None
    else:
        clusters = np.asarray(bench.on.clusters)[done.rows]
        held = done.probabilities[None]
        score = repeated_cv.average_scores(metric, done.y, held, split="cv", clusters=clusters, seed=bench.on.seed)
        probe = contender(PROBE, done.rows, bench.probe_of(done.rows), bench, 0.0)
        own = CandidateLosses(name=NETWORK, rows=done.rows, losses=done.losses, cost=0.0)
        apart = repeated_cv.make_difference_score(
            paired_difference(own, probe, bench.on.clusters), metric, split="cv", n=len(done.rows)
        )
    return Trial(
        number=attempt.number,
        recipe=attempt.runs[0].log.recipe if attempt.runs else attempt.recipe,
        origin=attempt.origin,
        folds=len(attempt.runs),
        score=score,
        paired=apart,
        status=status,
        why=attempt.why or (attempt.runs[-1].log.stopped if attempt.runs else ""),
    )
