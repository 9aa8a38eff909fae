"""skada's deep methods on the features that `python -m benchmarks.domains --write FOLDER` wrote.

    python benchmarks/domain_rivals.py FOLDER

For an environment of its own that has skada 0.6, torch and skorch, and not headstart. Every method trains a network of
one hidden layer (128 units, Adam, 20 epochs, batches of 64) with its own weights of the losses as skada has them.
"""

import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from skada import deep

HIDDEN, METHODS = 128, ("SourceOnly", "DeepCoral", "DANN", "DeepJDOT", "MCC")


class Network(torch.nn.Module):
    """Two layers."""

    def __init__(self, columns: int, classes: int) -> None:
        super().__init__()
        self.hidden = torch.nn.Sequential(torch.nn.Linear(columns, HIDDEN), torch.nn.ReLU())
        self.out = torch.nn.Linear(HIDDEN, classes)

    def forward(self, x, sample_weight=None):
        """(B, C) logits."""
        return self.out(self.hidden(x))


def measure_accuracy(name: str, pair: dict[str, np.ndarray]) -> float:
    source, target = pair["source"], pair["target"]
    mean, deviation = source.mean(axis=0), source.std(axis=0) + 1e-6
    x = ((np.concatenate([source, target]) - mean) / deviation).astype(np.float32)
    y = np.concatenate([pair["y"], np.full(len(target), -1)]).astype(np.int64)
    domains = np.repeat([1, -2], [len(source), len(target)])
    torch.manual_seed(0)
    classes = int(max(pair["y"].max(), pair["truth"].max())) + 1
    settings = {"num_features": HIDDEN} if name == "DANN" else {}
    method = getattr(deep, name)(
        Network(x.shape[1], classes),
        layer_name="hidden",
        batch_size=64,
        max_epochs=20,
        lr=1e-3,
        optimizer=torch.optim.Adam,
        train_split=None,
        verbose=0,
        **settings,
    )
    method.fit(x, y, sample_domain=domains)
    answers = method.predict(x[len(source) :], sample_domain=domains[len(source) :])
    return float((np.asarray(answers) == pair["truth"]).mean())


def main() -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    gains: dict[str, list[float]] = {name: [] for name in METHODS}
    cpu_s = dict.fromkeys(METHODS, 0.0)
    for path in sorted(Path(sys.argv[1]).glob("*.npz")):
        pair = dict(np.load(path))
        for name in METHODS:
            started = time.process_time()
            gains[name].append(measure_accuracy(name, pair) - float(pair["none"]))
            cpu_s[name] += time.process_time() - started
        print(path.stem, " ".join(f"{name} {gains[name][-1]:+.3f}" for name in METHODS), flush=True)
    for name in METHODS:
        worst = min(gains[name])
        print(f"{name}: {np.mean(gains[name]):+.3f}, worst {worst:+.3f}, {cpu_s[name] / len(gains[name]):.1f} CPU s")


if __name__ == "__main__":
    main()
