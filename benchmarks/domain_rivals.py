"""skada's deep methods, or ADAPT's, on the features that `python -m benchmarks.domains --write FOLDER` wrote.

    python benchmarks/domain_rivals.py FOLDER skada|adapt

For an environment of its own without headstart: skada 0.6, torch and skorch; or adapt 0.4.5, tensorflow 2.15.1,
scikit-learn 1.3.2 and numpy 1.26. Deep methods train a network of one hidden layer (128 units, Adam, 20 epochs, batches
of 64); ADAPT's others a logistic head. Weights of the losses and all else are the library's defaults.
"""

import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np

HIDDEN, EPOCHS, BATCH, RATE = 128, 20, 64, 1e-3
METHODS = {
    "skada": ("SourceOnly", "DeepCoral", "DANN", "DeepJDOT", "MCC"),
    "adapt": ("DeepCORAL", "DANN", "MCD", "CORAL", "SA", "TCA", "KMM"),
}
OF_HEADS = ("CORAL", "SA", "TCA", "KMM")


def answer_by_skada(name: str, x: np.ndarray, y: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """(T,) classes."""
    import torch
    from skada import deep

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = torch.nn.Sequential(torch.nn.Linear(x.shape[1], HIDDEN), torch.nn.ReLU())
            self.out = torch.nn.Linear(HIDDEN, classes)

        def forward(self, x, sample_weight=None):
            """(B, C) logits."""
            return self.out(self.hidden(x))

    torch.set_num_threads(1)
    torch.manual_seed(0)
    domains = np.repeat([1, -2], [len(x), len(target)])
    method = getattr(deep, name)(
        Network(),
        layer_name="hidden",
        batch_size=BATCH,
        max_epochs=EPOCHS,
        lr=RATE,
        optimizer=torch.optim.Adam,
        train_split=None,
        verbose=0,
        **({"num_features": HIDDEN} if name == "DANN" else {}),
    )
    both, known = np.concatenate([x, target]), np.concatenate([y, np.full(len(target), -1)])
    method.fit(both, known.astype(np.int64), sample_domain=domains)
    return np.asarray(method.predict(target, sample_domain=domains[len(x) :]))


def answer_by_adapt(name: str, x: np.ndarray, y: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """(T,) classes."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import adapt.feature_based
    import adapt.instance_based
    import tensorflow as tf
    from sklearn.linear_model import LogisticRegression

    kind = getattr(adapt.feature_based, name, None) or getattr(adapt.instance_based, name)
    if name in OF_HEADS:
        method = kind(LogisticRegression(max_iter=500), Xt=target.astype(np.float64), verbose=0, random_state=0)
        return method.fit(x.astype(np.float64), y).predict(target.astype(np.float64))
    tf.config.threading.set_intra_op_parallelism_threads(1)
    encoder = tf.keras.Sequential([tf.keras.layers.Dense(HIDDEN, "relu", input_shape=(x.shape[1],))])
    task = tf.keras.Sequential([tf.keras.layers.Dense(classes, "softmax", input_shape=(HIDDEN,))])
    settings = {"loss": "categorical_crossentropy", "optimizer": tf.keras.optimizers.legacy.Adam(RATE)}
    method = kind(encoder, task, Xt=target, verbose=0, random_state=0, **settings)
    method.fit(x, np.eye(classes, dtype=np.float32)[y], epochs=EPOCHS, batch_size=BATCH, verbose=0)
    return np.asarray(method.predict(target)).argmax(axis=1)


ANSWERS = {"skada": answer_by_skada, "adapt": answer_by_adapt}


def measure_accuracy(library: str, name: str, pair: dict[str, np.ndarray]) -> float:
    """On the target, by features that are standardised by the source; NaN where a method fails."""
    mean, deviation = pair["source"].mean(axis=0), pair["source"].std(axis=0) + 1e-6
    x, target = (((pair[domain] - mean) / deviation).astype(np.float32) for domain in ("source", "target"))
    classes = int(max(pair["y"].max(), pair["truth"].max())) + 1
    try:
        answers = ANSWERS[library](name, x, pair["y"], target, classes)
    except Exception as err:  # of a library that is judged, whatever it raises
        print(f"{name}: {type(err).__name__}: {err}", flush=True)
        return float("nan")
    return float((answers == pair["truth"]).mean())


def main() -> None:
    warnings.filterwarnings("ignore")
    library = sys.argv[2]
    gains: dict[str, list[float]] = {name: [] for name in METHODS[library]}
    cpu_s = dict.fromkeys(gains, 0.0)
    for path in sorted(Path(sys.argv[1]).glob("*.npz")):
        pair = dict(np.load(path))
        for name, of_method in gains.items():
            started = time.process_time()
            of_method.append(measure_accuracy(library, name, pair) - float(pair["none"]))
            cpu_s[name] += time.process_time() - started
        print(path.stem, " ".join(f"{name} {of_method[-1]:+.3f}" for name, of_method in gains.items()), flush=True)
    for name, of_method in gains.items():
        mean, failed = np.nanmean(of_method), int(np.isnan(of_method).sum())
        seconds = cpu_s[name] / len(of_method)
        print(f"{name}: {mean:+.3f}, worst {np.nanmin(of_method):+.3f}, {failed} failed, {seconds:.1f} CPU s")


if __name__ == "__main__":
    main()
