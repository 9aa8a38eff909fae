"""Whether the forecast of a learning curve holds: its band, and how many labels the next round score takes.

    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb stamps
    python -m benchmarks.learning_curve [--stamps stamps/usr/share/tuxpaint/stamps] [--draws 4] [--only NAME ...]

A quarter of the clusters of near-duplicates is the test. From some pictures of the others the curve of a head is
measured as a fit does, and carried on; then up to four times as many pictures learn, four draws of each number. Classes
of textile, digits and stamps; cloth that was blurred by a known amount, as grades and as a number; cloth that was
blurred, faded or turned, as labels. Levels `stage5` and `last` of EfficientNet-Lite0.

A forecast holds where the mean score on the test lies in its band, and `within` where it lies there or no further off
than one standard error of the test. `gain` is the forecast gain over the gain that there was, both from today's score.
For labels the truth is the number at which the mean score first reaches the round one; cases for which the pictures do
not suffice to tell are left out.
"""

import argparse
import csv
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import context
from benchmarks.ordinal import CHANGES, crop_middle, write_set
from benchmarks.suggest import write_sets
from headstart.core import blas_threads, registry
from headstart.core.types import CurvePoint, Dataset, Feature
from headstart.data.audit import audit_dataset
from headstart.data.reading.read_dataset import read_dataset
from headstart.data.strata import label_strata
from headstart.data.stratified_group_split import deal_clusters
from headstart.evaluation.curve_forecast import FURTHEST, LEAST, forecast_score, list_targets
from headstart.features.extraction import extract_features
from headstart.heads import cross_validation, prediction
from headstart.selection.cv_problem import make_cv_problem
from headstart.selection.probe.head_selection import HeadResult
from headstart.selection.probe.learning_curve import learning_curve
from headstart.statistics import metrics

BACKBONE, LEVELS = "bundled:efficientnet_lite0", ("stage5", "last")
FIRST, FACTORS, LATER_DRAWS, FOLDS, PICTURES = (100, 150, 250, 400, 650), (1, 1.41, 2, 2.83, 4), 4, 5, 700
HEADS = {"regression": "ridge_regression", "multilabel": "binary_logistic"}


@dataclass(frozen=True)
class BackTest:
    """A curve from few pictures, and mean scores on the test by number of pictures, with the test's standard error."""

    curve: tuple[CurvePoint, ...]
    labelled: int
    n_outputs: int
    truth: dict[int, float]
    error: float

    def judge_scores(self) -> Iterator[tuple[int, tuple[float, ...]]]:
        """Times as many pictures: holds, within, width, forecast minus truth, forecast gain, true gain."""
        last = self.curve[-1]
        start = self.truth[last.n_train]
        for factor in (2, 4):
            size = factor * last.n_train
            band = forecast_score(self.curve, size, self.n_outputs)
            if band is None or size not in self.truth:
                continue
            value = self.truth[size]
            holds = band.low <= value <= band.high
            within = band.low - self.error <= value <= band.high + self.error
            gains = band.value - last.score.value, value - start
            yield factor, (holds, within, band.high - band.low, band.value - value, *gains)

    def judge_labels(self) -> Iterator[tuple[str, tuple[bool, bool]]]:
        """The kind of answer: whether it holds, and within one standard error of the test."""
        end, furthest = max(self.truth), FURTHEST * self.curve[-1].n_train
        for score, more in list_targets(self.curve, self.labelled, self.n_outputs).items():
            low, high = (more.low, more.high) if more else (furthest - self.labelled, math.inf)
            ends = (low + self.labelled if low else 0, high + self.labelled)
            needed = self.find_needed(score)
            if math.isinf(needed) and end < furthest and (more is None or end < ends[1] < math.inf):
                continue
            kind = "out of reach" if more is None else "at least" if math.isinf(high) else "from and to"
            kind = "cannot be said" if (low, high) == (0, math.inf) else kind
            early, late = (self.find_needed(score + side * self.error) for side in (-1, 1))
            yield kind, (ends[0] <= needed <= ends[1], early <= ends[1] and late >= ends[0])

    def find_needed(self, score: float) -> float:
        """Pictures at which the mean reaches a score, linear in their logarithm; 0 where it does from the start."""
        sizes, values = np.log([*self.truth]), np.maximum.accumulate([*self.truth.values()])
        if values[-1] < score:
            return math.inf
        return math.exp(np.interp(score, values, sizes)) if values[0] < score else 0.0


def back_test(data: Dataset, levels: dict[str, np.ndarray], clusters: np.ndarray, draws: int) -> Iterator[BackTest]:
    """Curves from ever more pictures of a set, on both levels."""
    y, task = np.asarray(data.targets), data.learning_task
    strata, head = label_strata(task, y), registry.load_plugin("heads", HEADS.get(task.name, "logistic"))
    ctx = context(Path(tempfile.mkdtemp()))
    for level, x in levels.items():
        for draw in range(draws):
            rng = np.random.default_rng([draw, 4])
            part = deal_clusters(strata, clusters, (0.75, 0.25), rng)
            pool, test = rng.permutation(np.flatnonzero(part == 0)), np.flatnonzero(part == 1)
            for count in FIRST:
                expected = count * (FOLDS - 1) // FOLDS
                if 2 * expected > len(pool) or expected < LEAST * len(data.output_names):
                    continue
                few = np.sort(pool[:count])
                folds = np.full((1, len(y)), -1, np.int16)
                folds[0, few] = deal_clusters(strata[few], clusters[few], (1 / FOLDS,) * FOLDS, rng)
                problem = make_cv_problem(few, data, folds, clusters, ctx=ctx)
                tuned, seconds = problem.tune_head(head, x[few])
                feature = Feature(backbone=BACKBONE, depth=level, dim=x.shape[1])
                entry = HeadResult(head=head.name, features=(feature,), flops=0, tuned=tuned, seconds=seconds)
                curve = learning_curve(entry, x[few], problem)
                n_train, truth = curve[-1].n_train, dict[int, float]()
                for size in (int(factor * n_train) for factor in FACTORS if factor * n_train <= len(pool)):
                    scores = []
                    for _ in range(LATER_DRAWS):
                        rows = rng.choice(pool, size, replace=False)
                        settings = problem.make_settings(rows) | {
                            "params": [cross_validation.resize_params(tuned.params, size, n_train)]
                        }
                        fitted = next(iter(cross_validation.fit_rows(head, x, y, rows, **settings)))
                        p = prediction.predict_probabilities(fitted.kind, fitted.arrays, x[test])
                        scores.append(metrics.compute_score(task.curve, y[test], p, split="test"))
                    truth[size] = float(np.mean([score.value for score in scores]))
                error = (scores[0].high - scores[0].low) / 3.92
                yield BackTest(curve, count, len(data.output_names), truth, error)


def measure_set(name: str, location: Path, settings: dict[str, str], draws: int, scratch: Path) -> list[str]:
    """Prints lines of the first table, and returns those of the second."""
    ctx = context(scratch, data=str(location), **settings)
    data = read_dataset(str(location), ctx=ctx)
    embeddings = extract_features(data, BACKBONE, np.arange(len(data.uris)), ctx=ctx)
    files = audit_dataset(data, ctx=ctx)
    clusters = audit_dataset(data, ctx=ctx, embeddings=embeddings, before=files).clusters
    tests = list(back_test(data, {level: np.array(embeddings.vectors[level]) for level in LEVELS}, clusters, draws))
    by_factor, by_kind = dict[int, list[tuple[float, ...]]](), dict[str, list[tuple[bool, bool]]]()
    for test in tests:
        for factor, outcome in test.judge_scores():
            by_factor.setdefault(factor, []).append(outcome)
        for kind, case in test.judge_labels():
            by_kind.setdefault(kind, []).append(case)
    name = f"{name}, {data.task}"
    for factor, outcomes in sorted(by_factor.items()):
        holds, within, width, bias, expected, gained = np.mean(outcomes, axis=0)
        cells = f"{holds:.0%} | {within:.0%} | {width:.3f} | {bias:+.3f} | {expected / gained:.2f}"
        print(f"| {name} | {factor} | {len(outcomes)} | {cells} |", flush=True)
    if not tests:
        print(f"| {name} | nothing is said of so few pictures |" + " |" * 6, flush=True)
    return [
        "| {} | {} | {} | {:.0%} | {:.0%} |".format(name, kind, len(cases), *np.mean(cases, axis=0))
        for kind, cases in sorted(by_kind.items())
    ]


def write_labelled(source: Path, folder: Path) -> Path:
    """Pictures of cloth with any of the `CHANGES`, by random amounts, and a table of their labels."""
    rng, rows = np.random.default_rng(1), [("file", "labels")]
    folder.mkdir()
    files = sorted((source / "nominal").glob("*.jpg"))
    for place in rng.permutation(len(files))[:PICTURES].tolist():
        image, labels = Image.open(files[place]).convert("RGB"), []
        for label, change in CHANGES.items():
            if rng.random() < 0.4:
                image, labels = change(image, float(rng.uniform(0.3, 2))), [*labels, label]
        rows.append((f"{len(rows):04d}.png", "|".join(labels)))
        crop_middle(image).save(folder / rows[-1][0])
    with (folder / "labels.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)
    return folder / "labels.csv"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--only", nargs="+", help="names of sets")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, blas_threads.single_blas_thread():
        scratch = Path(folder)
        sets = {name: (place, dict[str, str]()) for name, place in write_sets(args.stamps, scratch).items()}
        textile = sets["textile"][0]
        blurred = write_set(CHANGES["blurred"], textile, scratch / "blurred", PICTURES)
        sets["blurred cloth"] = blurred, {"target": "grade", "task": "ordinal"}
        sets["blurred cloth by amount"] = blurred, {"target": "amount", "task": "regression"}
        changed = write_labelled(textile, scratch / "changed")
        sets["changed cloth"] = changed, {"target": "labels", "task": "multilabel"}
        if unknown := {*(args.only or ())} - {*sets}:
            parser.error(f"no set {', '.join(sorted(unknown))}: the sets are {', '.join(sets)}")
        print("| set | times as many | forecasts | hold | within | width of the band | forecast minus truth | gain |")
        print("|---" * 8 + "|")
        of_labels = []
        for number, (name, (place, settings)) in enumerate(sets.items()):
            if args.only and name not in args.only:
                continue
            of_labels += measure_set(name, place, settings, args.draws, scratch / f"run-{number}")
    print("\n| set | answer | cases | hold | within |\n|---|---|---|---|---|", *of_labels, sep="\n")


if __name__ == "__main__":
    main()
