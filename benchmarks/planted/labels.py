"""Labels flipped at random: D203 beside cleanlab alone on the same held-out probabilities, and a random order.

Textile pictures, scikit-learn's digits, and the stamps. The vectors are of the last level of EfficientNet-Lite0, the
clusters those of the audit of the files. Sums over `DRAWS` draws. `random` names as many pictures as D203 does.
"""

import dataclasses
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.common import LITE0, context
from benchmarks.few_labels import stamps
from benchmarks.planted import DefectRow
from benchmarks.planted.sources import STAMPS
from benchmarks.tuned_accuracy import digits
from headstart.backbones.downloads.wheels import fetch_textile
from headstart.core import blas_threads
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.core.types import AuditInput
from headstart.data.audit import audit_dataset
from headstart.data.checks import d203_label_errors as d203
from headstart.data.reading.read_dataset import read_dataset
from headstart.features.extraction import extract_features

SHARES, DRAWS = (0.02, 0.05, 0.1), 5


def measure() -> Iterator[DefectRow]:
    """Rows of every set and share."""
    with tempfile.TemporaryDirectory() as folder, blas_threads.single_blas_thread():
        scratch = Path(folder)
        sets = {"textile": fetch_textile(Store(cache_folder()), Console(quiet=True))}
        sets["digits"] = digits(scratch / "digits", 10_000, 0)
        if STAMPS.is_dir():
            sets["stamps"] = stamps(STAMPS, scratch / "stamps")
        for name, source in sets.items():
            yield from measure_set(name, source, scratch / f"run-{name}")


def measure_set(name: str, source: Path, scratch: Path) -> Iterator[DefectRow]:
    """Rows of one set."""
    ctx = context(scratch)
    data = read_dataset(str(source), ctx=ctx)
    embeddings = extract_features(data, LITE0, np.arange(len(data.uris)), ctx=ctx)
    clusters = audit_dataset(data, ctx=ctx).clusters
    vectors = np.array(embeddings.vectors[embeddings.spec.depths[-1].name])
    truth, clean = np.asarray(data.targets), {}
    for share in (0.0, *SHARES):
        totals: dict[str, np.ndarray] = {}
        for draw in range(DRAWS):
            targets, wrong = flip(truth, len(data.class_names), share, draw)
            for tool, named in name_candidates(data, targets, vectors, clusters, draw).items():
                counts = np.array([wrong.sum(), wrong[named].sum(), len(named)])
                totals[tool] = totals.get(tool, 0) + counts
        if not share:
            clean = {tool: int(counts[2]) for tool, counts in totals.items()}
            continue
        for tool, (planted, hits, named) in totals.items():
            yield DefectRow(
                check="D203",
                defect=f"{share:.0%} of labels of {name}",
                tool=tool,
                planted=planted,
                found=hits,
                named=named,
                clean_named=clean[tool],
                clean=DRAWS * len(truth),
            )


def flip(truth: np.ndarray, classes: int, share: float, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) of which a share is another class's, and which (N,) bool."""
    rng, targets = np.random.default_rng([draw, int(1000 * share)]), truth.copy()
    rows = rng.choice(len(truth), round(share * len(truth)), replace=False)
    targets[rows] = (truth[rows] + rng.integers(1, classes, len(rows))) % classes
    return targets, targets != truth


def name_candidates(data, targets: np.ndarray, vectors: np.ndarray, clusters: np.ndarray, draw: int) -> dict:
    """Rows that each tool names."""
    flipped = dataclasses.replace(data, targets=targets)
    rows = np.arange(len(targets))
    outcome = d203.PLUGIN(AuditInput(data=flipped, folds=5, vectors=vectors, rows=rows, clusters=clusters))
    ours = np.array([row for finding in outcome.findings for row in finding.rows], np.int64)
    named = {"headstart": ours, "random": np.random.default_rng(draw).permutation(rows)[: len(ours)]}
    if find_spec("cleanlab"):
        from cleanlab.filter import find_label_issues

        p = d203._predict_held_out(d203._steady_columns(vectors), targets, clusters, int(targets.max()) + 1)
        named["cleanlab"] = np.flatnonzero(find_label_issues(targets, p.astype(np.float64), n_jobs=1))
    return named
