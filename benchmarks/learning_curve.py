"""Whether the forecast of a learning curve holds: its band against scores with twice and four times as many pictures.

    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb stamps
    python -m benchmarks.learning_curve [--stamps stamps/usr/share/tuxpaint/stamps] [--draws 4]

A quarter of the clusters of near-duplicates is the test. From some pictures of the others the curve of logistic
regression is measured as a fit does, and carried on; then as many pictures as were forecast learn, four draws of them.
A forecast holds where their mean balanced accuracy on the test lies in the band, and `within` where it lies there or no
further off than one standard error of the test. Levels `stage5` and `last` of EfficientNet-Lite0.
"""

from pathlib import Path

import numpy as np

from benchmarks.common import context
from benchmarks.suggest import measure_sets
from headstart.core import registry
from headstart.core.types import Feature
from headstart.data.audit import audit_dataset
from headstart.data.reading.read_dataset import read_dataset
from headstart.data.stratified_group_split import deal_clusters
from headstart.evaluation.curve_forecast import forecast_score
from headstart.features.extraction import extract_features
from headstart.heads import cross_validation, prediction
from headstart.selection.cv_problem import make_cv_problem
from headstart.selection.probe.head_selection import HeadResult
from headstart.selection.probe.learning_curve import learning_curve
from headstart.statistics import metrics

BACKBONE, LEVELS = "bundled:efficientnet_lite0", ("stage5", "last")
FIRST, FACTORS, LATER_DRAWS, FOLDS = (100, 150, 250, 375, 500, 700), (2, 4), 4, 5


def measure_set(name: str, folder: Path, draws: int, scratch: Path) -> None:
    """One line of the table for each factor."""
    ctx = context(scratch / "read")
    data = read_dataset(str(folder), ctx=ctx)
    embeddings = extract_features(data, BACKBONE, np.arange(len(data.uris)), ctx=ctx)
    files = audit_dataset(data, ctx=ctx)
    clusters = audit_dataset(data, ctx=ctx, embeddings=embeddings, before=files).clusters
    y, rows = np.asarray(data.targets), dict[int, list[tuple[bool, bool, float, float]]]()
    for level in LEVELS:
        x = np.array(embeddings.vectors[level])
        for draw in range(draws):
            rng = np.random.default_rng([draw, 4])
            part = deal_clusters(y, clusters, (0.75, 0.25), rng)
            pool, test = rng.permutation(np.flatnonzero(part == 0)), np.flatnonzero(part == 1)
            for count in FIRST:
                few = np.sort(pool[:count])
                folds = np.full((1, len(y)), -1, np.int16)
                folds[0, few] = deal_clusters(y[few], clusters[few], (1 / FOLDS,) * FOLDS, rng)
                problem = make_cv_problem(few, data, folds, clusters, ctx=ctx)
                tuned, seconds = problem.tune_head(registry.load_plugin("heads", "logistic"), x[few])
                feature = Feature(backbone=BACKBONE, depth=level, dim=x.shape[1])
                entry = HeadResult(head="logistic", features=(feature,), flops=0, tuned=tuned, seconds=seconds)
                curve = learning_curve(entry, x[few], problem)
                for factor in FACTORS:
                    size = factor * curve[-1].n_train
                    forecast = forecast_score(curve, size, len(data.class_names))
                    if size > len(pool) or forecast is None:
                        continue
                    params = cross_validation.resize_params(tuned.params, size, curve[-1].n_train)
                    later = [
                        score_later(x, y, rng.choice(pool, size, replace=False), test, params)
                        for _ in range(LATER_DRAWS)
                    ]
                    value = float(np.mean([score.value for score in later]))
                    error = (later[0].high - later[0].low) / 3.92
                    holds = forecast.low <= value <= forecast.high
                    within = forecast.low - error <= value <= forecast.high + error
                    outcome = (holds, within, forecast.high - forecast.low, forecast.value - value)
                    rows.setdefault(factor, []).append(outcome)
    for factor, outcomes in rows.items():
        holds, within, width, bias = np.mean(outcomes, axis=0)
        print(
            f"| {name} | {factor} | {len(outcomes)} | {holds:.0%} | {within:.0%} | {width:.3f} | {bias:+.3f} |",
            flush=True,
        )


def score_later(x: np.ndarray, y: np.ndarray, rows: np.ndarray, test: np.ndarray, params: dict) -> metrics.Score:
    """Balanced accuracy on the test of a head that learnt from some rows."""
    classes = int(y.max()) + 1
    path = registry.load_plugin("heads", "logistic").path(
        x[rows], y[rows], n_classes=classes, params=[params], class_weight=None, seed=0
    )
    fitted = next(iter(path))
    p = prediction.predict_probabilities(fitted.kind, fitted.arrays, x[test])
    return metrics.compute_score("balanced_accuracy", y[test], p, split="test")


def main() -> None:
    """Print the table."""
    header = "| set | times as many | forecasts | hold | within | width of the band | forecast minus truth |"
    measure_sets(measure_set, header, 4, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
