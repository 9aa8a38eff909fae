"""Nested cross-validation of fine-tuning: every outer fold searches anew and answers for pictures it never saw.

Starting points, recipes, epochs, alpha and temperature are all chosen inside the other folds, so that nothing of the
search can flatter the score (Varma & Simon, 2006). It costs as many searches as there are folds.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.types import Embeddings, Ranking, Score
from headstart.kit import metrics, train, values
from headstart.kit.fitted import softmax
from headstart.stages.adapt import bases, contest, finish
from headstart.stages.adapt.search import Attempt, Search
from headstart.stages.adapt.workbench import Workbench

LEAST = 3  # folds: one is held out, and of the others one judges in turn


@dataclass(frozen=True, kw_only=True, eq=False)
class Outer:
    """One outer fold: (M,) int64 rows that it held out and their (M, C) float32 probabilities."""

    rows: np.ndarray
    probabilities: np.ndarray


def nested(bench: Workbench, search: Search, ranking: Ranking, embeddings: Sequence[Embeddings]) -> tuple[Score, ...]:
    """Scores of the whole search.

    Args:
        bench: Of the run.
        search: As it went on all folds: each outer fold tries as many recipes.
        ranking: Tells the best depths.
        embeddings: Features of all pictures.
    """
    if search.interrupted or len(bench.fold_numbers) < LEAST:
        why = "interrupted" if search.interrupted else f"{len(bench.fold_numbers)} folds, it takes {LEAST}"
        bench.left_out.append(f"nested cross-validation: {why}")
        return ()
    found = [_outer(bench, search, ranking, embeddings, fold) for fold in bench.fold_numbers]
    rows, p = np.concatenate([o.rows for o in found]), np.concatenate([o.probabilities for o in found])
    y = np.array([bench.y_of[row] for row in rows.tolist()], np.int64)
    clusters = np.asarray(bench.splits.clusters)[rows]
    made = metrics.scores(y, p, split="cv", class_names=bench.data.class_names, clusters=clusters, seed=bench.on.seed)
    told = ", ".join(f"{s.name.replace('_', ' ')} {s.value:.3f} [{s.low:.3f}, {s.high:.3f}]" for s in made[:2])
    bench.ctx.say.line("adapt", f"nested cross-validation of the search: {told} (n = {len(rows):,})")
    return made


def _outer(bench: Workbench, search: Search, ranking: Ranking, embeddings: Sequence[Embeddings], fold: int) -> Outer:
    name = f"{bench.name}/outer{fold}"
    known = values.stored(Outer, bench.ctx.folder(name))
    if known is not None:
        return known
    folds = np.array(bench.splits.folds)
    folds[:, folds[0] == fold] = -1
    held = bench.rows[bench.held_out(fold)]
    splits = dataclasses.replace(bench.splits, train=bench.rows[bench.learnt(fold)], folds=folds)
    on = contest.ring(bench.data, splits, bench.ctx)
    found = bases.bases(ranking, [e for e in embeddings if e.spec.name in bench.backbones], on)
    inner = dataclasses.replace(
        bench, splits=splits, bases=found, on=on, name=name, left_out=[], follow=None, _sources={}
    )
    again = Search(
        bench=inner,
        clock=search.clock,
        strategy=search.strategy,
        queue=[(a.origin, a.recipe) for a in search.attempts],
        most=len(search.attempts),
        unhurried=True,
    )
    again.run()
    best = again.judge()
    p = _answers(bench, inner, best[0], held) if best else np.asarray(bench.probe_of(held))
    made = Outer(rows=held, probabilities=p)
    values.save(made, bench.ctx.folder(name))
    shutil.rmtree(inner.work, ignore_errors=True)
    return made


def _answers(bench: Workbench, inner: Workbench, best: Attempt, held: np.ndarray) -> np.ndarray:
    """(M, C) of the recipe trained on all the inner pictures."""
    assert best.judged is not None
    job, weights, log = finish.trained(inner, best)
    job.network.set(weights)
    outer = bench.prepare(job.recipe, bench.learnt(bench.fold_numbers[0]))
    positions = np.searchsorted(bench.rows, held)
    logits = train.predict(job.network, outer.source.held(positions)).astype(np.float64)
    return softmax(logits / finish.temperature(best, log)).astype(np.float32)


__all__ = ["nested"]
