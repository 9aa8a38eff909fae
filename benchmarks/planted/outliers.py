"""Foreign pictures: 20 of one source among 400 of another, by D202 and by Datalab's outliers on the same vectors.

The vectors are of the last level of EfficientNet-Lite0. Clean are the pictures without the foreign ones.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path

import numpy as np

from benchmarks.common import LITE0, context
from benchmarks.planted import DefectRow
from benchmarks.planted.sources import write_sources
from headstart.core.types import AuditInput, Dataset
from headstart.data.checks.d202_outliers import PLUGIN
from headstart.data.reading.read_dataset import read_dataset
from headstart.features.extraction import extract_features

PICTURES, FOREIGN, PREFIX = 400, 20, "foreign_"


def find_by_headstart(data: Dataset, vectors: np.ndarray) -> np.ndarray:
    """Rows that D202 names."""
    outcome = PLUGIN(AuditInput(data=data, folds=5, vectors=vectors, rows=np.arange(len(vectors))))
    return np.array([row for finding in outcome.findings for row in finding.rows], np.int64)


def find_by_datalab(data: Dataset, vectors: np.ndarray) -> np.ndarray:
    """Rows that Datalab calls outliers."""
    from cleanlab import Datalab

    lab = Datalab({"file": list(data.uris)}, verbosity=0)
    lab.find_issues(features=vectors, issue_types={"outlier": {}})
    return np.flatnonzero(lab.get_issues("outlier")["is_outlier_issue"])


def read_vectors(folder: Path, scratch: Path) -> tuple[Dataset, np.ndarray]:
    """The set in a folder, and (N, D) its vectors."""
    ctx = context(scratch)
    data = read_dataset(str(folder), ctx=ctx)
    embeddings = extract_features(data, LITE0, np.arange(len(data.uris)), ctx=ctx)
    return data, np.array(embeddings.vectors[embeddings.spec.depths[-1].name])


def measure() -> Iterator[DefectRow]:
    """A row for each pair of sources and tool."""
    tools: dict[str, Callable[[Dataset, np.ndarray], np.ndarray]] = {"headstart": find_by_headstart}
    try:
        import cleanlab  # noqa: F401

        tools["cleanlab"] = find_by_datalab
    except ImportError:
        pass
    with tempfile.TemporaryDirectory() as folder:
        scratch, rng = Path(folder), np.random.default_rng(0)
        files = {
            name: rng.permutation(sorted(file for file in source.rglob("*") if file.is_file())).tolist()
            for name, source in write_sources(scratch)
        }
        for name, other in permutations(files, 2):
            root = scratch / f"{other} among {name}"
            for file in files[name][:PICTURES]:
                (root / file.parent.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, root / file.parent.name)
            clean = read_vectors(root, scratch / f"{root.name}, clean")
            classes = sorted(root.iterdir())
            for number, file in enumerate(files[other][:FOREIGN]):
                shutil.copy(file, classes[number % len(classes)] / f"{PREFIX}{file.name}")
            mixed = read_vectors(root, scratch / f"{root.name}, mixed")
            for tool, find in tools.items():
                named = find(*mixed)
                yield DefectRow(
                    check="D202",
                    defect=root.name,
                    tool=tool,
                    planted=FOREIGN,
                    found=sum(PREFIX in mixed[0].uris[row] for row in named),
                    named=len(named),
                    clean_named=len(find(*clean)),
                    clean=len(clean[1]),
                )
