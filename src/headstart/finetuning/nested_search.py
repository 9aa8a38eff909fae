"""Nested cross-validation of fine-tuning: every outer fold searches anew and answers for pictures it never saw.

Starting points, recipes, epochs, alpha and temperature are chosen inside the other folds, and so is whether the network
or the frozen probe answers (Varma & Simon, 2006). It costs as many searches as there are folds. What is not repeated:
the choice of backbones, of the domain of augmentation and of the probe's head, which saw all training pictures, the
number of trials, and the averaging of several recipes' weights: each fold answers by the winner alone.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.core.storage import serialization
from headstart.core.types import Embeddings, Ranking, Score
from headstart.features.embeddings import places
from headstart.finetuning import final_training, starting_points
from headstart.finetuning.search import trial_comparison
from headstart.finetuning.search.recipe_search import RecipeTrial, Search
from headstart.finetuning.search.training_setup import Workbench
from headstart.finetuning.training import trainer
from headstart.heads.prediction import softmax
from headstart.selection.probe import head_selection
from headstart.statistics import metrics

BEGUN = ("given", "prior")  # origins of recipes that no held-out picture had a say in
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
        search: As it went on all folds: each outer fold tries as many recipes, and of its own only those that it
            began with, for advice and proposals came from pictures that are held out now.
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
    bench.ctx.console.line("adapt", f"nested cross-validation of the search: {told} (n = {len(rows):,})")
    return made


def _outer(bench: Workbench, search: Search, ranking: Ranking, embeddings: Sequence[Embeddings], fold: int) -> Outer:
    name = f"{bench.name}/outer{fold}"
    known = serialization.stored(Outer, bench.ctx.folder(name))
    if known is not None:
        return known
    folds = np.array(bench.splits.folds)
    folds[:, folds[0] == fold] = -1
    held = bench.rows[bench.held_out(fold)]
    splits = dataclasses.replace(bench.splits, train=bench.rows[bench.learnt(fold)], folds=folds)
    on = head_selection.ring(bench.data, splits, bench.ctx)
    found = starting_points.bases(ranking, [e for e in embeddings if e.spec.name in bench.backbones], on)
    inner = dataclasses.replace(
        bench, splits=splits, bases=found, on=on, name=name, left_out=[], follow=None, _sources={}
    )
    again = Search(
        bench=inner,
        clock=search.clock,
        strategy=search.strategy,
        queue=[(a.origin, a.recipe) for a in search.attempts if a.origin in BEGUN],
        most=len(search.attempts),
        unhurried=True,
    )
    again.run()
    best = again.judge()
    made = Outer(rows=held, probabilities=_answers(bench, inner, best, held))
    serialization.save(made, bench.ctx.folder(name))
    shutil.rmtree(inner.work, ignore_errors=True)
    return made


def _answers(bench: Workbench, inner: Workbench, best: Sequence[RecipeTrial], held: np.ndarray) -> np.ndarray:
    """(M, C) of the winner trained on all the inner pictures, or of the probe, which was cross-validated by these."""
    _, chosen, taken = trial_comparison.settled(inner, best) if best else (None, None, False)
    if chosen is None or not taken:
        return bench.probe_of(held)
    job, weights, log = final_training.trained(inner, chosen)
    job.network.set(weights)
    outer = bench.prepare(job.recipe, bench.learnt(bench.fold_numbers[0]))
    positions = places(bench.rows, held, "training pictures")
    logits = trainer.predict(job.network, outer.source.held(positions)).astype(np.float64)
    return softmax(logits / final_training.temperature(chosen, log)).astype(np.float32)
