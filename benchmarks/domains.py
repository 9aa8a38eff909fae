"""What adaptation to another domain gains, on fifteen pairs of real domains whose truth is known.

    python -m benchmarks.domains [--seeds 0,1,2] [--pairs NAME,NAME] [--part methods|accuracy|few]

Features are of EfficientNet-Lite0 at the depth of two that cross-validation on the source prefers, the head is
logistic. A seed draws up to 400 source pictures, as many a class, and up to 400 target pictures; their labels judge.
Gains are accuracy less that of doing nothing on the same target pictures, with t intervals over pictures that go
through all seeds. The oracle is a head that is cross-validated on the target's labels. Pairs that tune chose the rule,
its guards and which methods compete; the others confirm.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.common import LITE0, context
from benchmarks.domain_pairs import Pair, draw_rows, write_pair
from headstart.core import registry
from headstart.data.reading.read_dataset import read_dataset
from headstart.domain_adaptation.adapt_head import AdaptationProblem, HeadSetting
from headstart.domain_adaptation.choice.rules import RULES
from headstart.domain_adaptation.evaluate_candidates import KIND, Candidate, evaluate_candidates
from headstart.domain_adaptation.method_base import LabelledFeatures
from headstart.domain_adaptation.shift.label_shift import Answers, estimate_label_shift
from headstart.features.extraction import extract_features
from headstart.heads import cross_validation, prediction
from headstart.statistics.intervals import mean_interval

DEPTHS, FOLDS, HEAD = ("stage5", "last"), 4, "logistic"
NOTHING = "none"


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One pair and seed: candidates, the first of which does nothing, and what is true."""

    problem: AdaptationProblem
    candidates: tuple[Candidate, ...]
    cpu_s: dict[str, float]  # of each method
    pictures: np.ndarray  # (T,) which pictures of the pair the target's rows are
    y: np.ndarray  # (T,) their labels
    oracle: np.ndarray  # (T,) bool, whether the oracle is right
    depth: str

    def is_right(self, candidate: Candidate) -> np.ndarray:
        """(T,) bool."""
        return candidate.target.argmax(axis=1) == self.y


@dataclass(kw_only=True, eq=False)
class Gains:
    """Differences from doing nothing, picture by picture, over seeds."""

    of: dict[str, list[np.ndarray]] = field(default_factory=dict)
    pictures: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, name: str, difference: np.ndarray, pictures: np.ndarray) -> None:
        self.of.setdefault(name, []).append(difference.astype(np.float64))
        self.pictures.setdefault(name, []).append(pictures)

    def interval(self, name: str):
        return mean_interval(np.concatenate(self.of[name]), np.concatenate(self.pictures[name]))


def read_pair(pair: Pair, scratch: Path) -> tuple:
    """Files, (N,) labels and the vectors of both depths."""
    files = write_pair(pair)
    ctx = context(scratch, data=str(files.table), target="label")
    data = read_dataset(str(files.table), ctx=ctx)
    vectors = extract_features(data, LITE0, np.arange(len(data.uris)), ctx=ctx).vectors
    return files, np.asarray(data.targets), {depth: np.array(vectors[depth]) for depth in DEPTHS}


def make_folds(y: np.ndarray, seed: int) -> np.ndarray:
    """(M,) folds, each class spread over all."""
    rng, folds = np.random.default_rng([seed, 3]), np.empty(len(y), np.int64)
    for c in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == c))
        folds[rows] = (np.arange(len(rows)) + int(c)) % FOLDS
    return folds


def pose_problem(files, labels: np.ndarray, vectors: dict[str, np.ndarray], seed: int) -> tuple:
    """The problem of a seed, the target's rows, and the depth."""
    source, target = draw_rows(files, labels, seed)
    classes = np.unique(labels)
    y = np.searchsorted(classes, labels)
    folds, head = make_folds(y[source], seed), registry.load_plugin("heads", HEAD)
    tuned = {
        depth: cross_validation.tune_head(head, vectors[depth][source], y[source], folds, n_classes=len(classes))
        for depth in DEPTHS
    }
    depth = min(tuned, key=lambda name: float(np.nanmean(tuned[name].losses)))
    x, best = vectors[depth], tuned[depth]
    shared = {"n_classes": len(classes), "class_weight": None, "seed": seed}
    fitted = next(iter(head.path(x[source], y[source], params=[best.params], **shared)))
    p = prediction.predict_probabilities(fitted.kind, fitted.arrays, x[target])
    known = Answers(p=best.held_out[0], y=y[source], clusters=np.arange(len(source)))
    asked = Answers(p=p, y=np.empty(0, np.int64), clusters=np.arange(len(target)))
    names = tuple(map(str, classes))
    shares = estimate_label_shift(known, asked, names, seed).shares
    dim = x.shape[1]
    problem = AdaptationProblem(
        source=LabelledFeatures(x=x[source], y=y[source], weights=None, n_classes=len(classes)),
        folds=folds,
        clusters=np.arange(len(source)),
        target=x[target],
        target_y=np.full(len(target), -1),
        learns=False,
        expected_shares=shares,
        setting=HeadSetting(
            head=HEAD,
            params=best.params,
            n_train=len(source),
            dim=dim,
            n_classes=len(classes),
            balanced=False,
            seed=seed,
        ),
        fitted=fitted,
        held_out=best.held_out[0],
        seed=seed,
    )
    return problem, target, y[target], depth


def try_methods(files, labels: np.ndarray, vectors: dict[str, np.ndarray], seed: int) -> Trial:
    """Every method on one draw."""
    problem, rows, y, depth = pose_problem(files, labels, vectors, seed)
    candidates, cpu_s = [], {}
    for name in registry.list_plugins(KIND):
        started = time.process_time()
        tried = evaluate_candidates(problem, [registry.load_plugin(KIND, name)], rules=tuple(RULES))
        cpu_s[name] = time.process_time() - started
        candidates += tried[bool(candidates) :]
    folds, head = make_folds(y, seed), registry.load_plugin("heads", HEAD)
    oracle = cross_validation.tune_head(head, problem.target, y, folds, n_classes=problem.source.n_classes)
    return Trial(
        problem=problem,
        candidates=tuple(candidates),
        cpu_s=cpu_s,
        pictures=rows,
        y=y,
        oracle=oracle.held_out[0].argmax(axis=1) == y,
        depth=depth,
    )


def name_candidate(candidate: Candidate) -> str:
    settings = " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in candidate.params.values())
    return f"{candidate.method} {settings}".strip()
