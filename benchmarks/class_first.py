"""Whether it pays to label one class first: balanced accuracy against as many pictures drawn as the set is.

    python -m benchmarks.class_first [--draws 40]

Logistic regression on EfficientNet-Lite0 learns from some pictures, then from `MORE` more: drawn at random, or half of
them of one class. That is `weakest`, the class with the lowest held-out recall, or `rising`, the one whose recall
gained most between half and all of the pictures. `apart` are draws in which the weakest is surely 0.2 behind the
others, as the verdict `uneven_classes` has it. Differences in points, with t intervals over the draws, which share
pictures; of fewer than `FEWEST` draws nothing is said.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import context
from benchmarks.suggest import write_sets
from headstart.core import blas_threads, registry
from headstart.data.reading.read_dataset import read_dataset
from headstart.evaluation.verdicts import FAR
from headstart.features.extraction import extract_features
from headstart.heads import prediction
from headstart.statistics.intervals import difference_interval, mean_interval, wilson_interval

BACKBONE, LEVELS = "bundled:efficientnet_lite0", {"textile": "stage5", "digits": "last"}
FIRST, MORE, FOLDS, FEWEST = (120, 240), 60, 5, 5


def measure_set(name: str, x: np.ndarray, y: np.ndarray, draws: int) -> None:
    """Lines of the table."""
    classes, head = int(y.max()) + 1, registry.load_plugin("heads", "logistic")

    def answer(rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
        params = head.grid(len(rows), x.shape[1], classes)[3]
        path = head.path(x[rows], y[rows], n_classes=classes, params=[params], class_weight=None, seed=0)
        fitted = next(iter(path))
        return prediction.predict_probabilities(fitted.kind, fitted.arrays, x[asked]).argmax(axis=1)

    def recall(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
        return np.array([(answers[truth == c] == c).mean() if (truth == c).any() else np.nan for c in range(classes)])

    for first in FIRST:
        gains: dict[tuple[str, str], list[np.ndarray]] = {}
        for draw in range(draws):
            rng = np.random.default_rng([draw, first])
            order = rng.permutation(len(y))
            test, few, rest = np.split(order, [len(y) // 3, len(y) // 3 + first])
            fold = np.arange(first) % FOLDS
            whole, half = np.empty(first, np.int64), np.empty(first, np.int64)
            for k in range(FOLDS):
                rows = few[fold != k]
                whole[fold == k] = answer(rows, few[fold == k])
                half[fold == k] = answer(rows[::2], few[fold == k])
            recalls = recall(y[few], whole)
            chosen = {
                "weakest": int(np.nanargmin(recalls)),
                "rising": int(np.nanargmax(recalls - recall(y[few], half))),
            }
            of_class, right = y[few] == chosen["weakest"], whole == y[few]
            others, own = (wilson_interval(right[part].sum(), part.sum()) for part in (~of_class, of_class))
            state = "apart" if difference_interval(others, own).low >= FAR else "ties"
            plain = recall(y[test], answer(np.append(few, rng.choice(rest, MORE, replace=False)), test))
            for arm, c in chosen.items():
                own_rows = rng.permutation(rest[y[rest] == c])[: MORE // 2]
                others_rows = rng.choice(np.setdiff1d(rest, own_rows), MORE - len(own_rows), replace=False)
                with_class = recall(y[test], answer(np.concatenate([few, own_rows, others_rows]), test))
                gain = 100 * (with_class - plain)
                gains.setdefault((arm, state), []).append(np.array([gain.mean(), gain[c]]))
        for (arm, state), differences in sorted(gains.items()):
            if len(differences) < FEWEST:
                continue
            cells = [mean_interval(column) for column in np.array(differences).T]
            words = " | ".join(f"{value:+.1f} [{low:+.1f}, {high:+.1f}]" for value, low, high in cells)
            print(f"| {name} | {first} | {arm} | {state} | {len(differences)} | {words} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40)
    args = parser.parse_args()
    print(
        "| set | pictures | class | weakest is | draws | balanced accuracy | recall of the class |\n" + "|---" * 7 + "|"
    )
    with tempfile.TemporaryDirectory() as folder, blas_threads.single_blas_thread():
        for name, location in write_sets(None, Path(folder)).items():
            ctx = context(Path(folder) / f"run-{name}")
            data = read_dataset(str(location), ctx=ctx)
            vectors = extract_features(data, BACKBONE, np.arange(len(data.uris)), ctx=ctx).vectors
            measure_set(name, np.array(vectors[LEVELS[name]]), np.asarray(data.targets), args.draws)


if __name__ == "__main__":
    main()
