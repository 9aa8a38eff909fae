"""What a person would write without headstart: frozen trunk by Keras `predict`, then scikit-learn's regression.

The same weights, the same pictures, the same input rules; one split, one fit, one accuracy.
"""

import sys
from pathlib import Path

import numpy as np

from benchmarks.common import LITE0
from headstart.backbones import loading
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.images import preprocessing


def main() -> None:
    """Run it and print its accuracy."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    files = sorted(Path(sys.argv[1]).rglob("*.jpg"))
    found = loading.find_backbone(LITE0)
    model = found.source.build(found.preset, Store(cache_folder()))
    pictures = np.stack([preprocessing.decode_picture(file.read_bytes(), found.spec.input) for file in files])
    features = np.asarray(model.predict(pictures.astype(np.float32), batch_size=32, verbose=0)[-1])
    labels = [file.parent.name for file in files]
    x_train, x_test, y_train, y_test = train_test_split(
        features, labels, test_size=0.2, stratify=labels, random_state=0
    )
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(x_train, y_train)
    print(f"accuracy {head.score(x_test, y_test):.3f}")


if __name__ == "__main__":
    main()
