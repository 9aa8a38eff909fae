"""How well doubt is told: calibration before and after, coverage of held-back pictures, foreign and hidden pictures.

`python -m benchmarks.doubt [COUNT]` fits a probe of EfficientNet-Lite0 on COUNT textile pictures (1,000), of which 0.3
are held back, and prints what its run measured; then vector scaling beside the temperature on the same out-of-fold
predictions.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import headstart
from benchmarks.common import LITE0, pictures
from headstart.api.run import Run
from headstart.core.console import Console
from headstart.uncertainty import temperature


def measured(run: Run) -> None:
    """Every figure of the run."""
    print(f"{run.adapted.fitted.head} on {' + '.join(f.depth for f in run.adapted.features)}: {run.uncertainty.why}")
    print(run.adapted.calibrated.why)
    for s in run.uncertainty.scores:
        name = f"{s.name} {s.subject}".strip()
        print(f"  {s.split:5} {name:45} {s.value:.3f} [{s.low:.3f}, {s.high:.3f}] n = {s.n:,}")
    if run.uncertainty.novelty:
        tried = ", ".join(f"{s.subject} {s.value:.3f}" for s in run.uncertainty.novelty.tried)
        print(f"  hidden classes on average: {tried}")


def vector_scaled(p: np.ndarray, y: np.ndarray, parts: int = 5) -> float:
    """Cross-fitted log loss of a factor and an offset a class (Guo 2017), against one temperature for all."""
    from scipy.optimize import minimize

    logits, found = np.log(np.maximum(p, 1e-30)), np.empty_like(p)
    part, classes = np.random.default_rng(0).permutation(len(y)) % parts, p.shape[1]

    def scaled(theta: np.ndarray, of: np.ndarray) -> np.ndarray:
        raised = of * theta[:classes] + theta[classes:]
        powers = np.exp(raised - raised.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    for one in range(parts):
        rest = part != one
        start = np.concatenate([np.ones(classes), np.zeros(classes)])
        best = minimize(lambda t, rest=rest: temperature.mean_log_loss(scaled(t, logits[rest]), y[rest]), start).x
        found[~rest] = scaled(best, logits[~rest])
    return temperature.mean_log_loss(found, y)


def main() -> None:
    """Fit, then print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as scratch:
        data = pictures(Path(scratch) / "pictures", count)
        out = Path(scratch) / "run"
        run = headstart.fit(data, out=out, backbones=(LITE0,), budget="10m", test_size=0.3, console=Console(quiet=True))
        measured(run)
        targets = np.asarray(run.dataset.targets)
        p, y = np.asarray(run.adapted.cv_probabilities, np.float64), targets[run.adapted.cv_rows]
        one = temperature.mean_log_loss(temperature.apply_cross_fitted_temperature(p, y, np.arange(len(y)), 0), y)
        print(
            f"log loss of {len(y):,} out-of-fold pictures, cross-fitted: "
            f"{temperature.mean_log_loss(p, y):.4f} as it is, ",
            end="",
        )
        print(f"{one:.4f} by a temperature, {vector_scaled(p, y):.4f} by vector scaling")


if __name__ == "__main__":
    main()
