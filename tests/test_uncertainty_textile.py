"""On real pictures and a real trunk: sets cover what they promise, over many splits, and foreign pictures are told."""

import numpy as np
import pytest

from headstart.core import registry
from headstart.core.types import FeatureLevel
from headstart.data.reading.read_dataset import read_dataset as read
from headstart.features.extraction import extract_features as embed
from headstart.heads.prediction import predict_probabilities
from headstart.uncertainty import conformal, ood_detection, ood_images, ood_threshold

pytestmark = pytest.mark.medium
LITE0, DEPTH, EACH = "bundled:efficientnet_lite0", "stage5", 150


@pytest.fixture(scope="module")
def seen(textile, shared_store, tmp_path_factory):
    """Features and classes of 450 textile pictures, and features of the foreign ones."""
    import shutil

    from headstart.core import job
    from headstart.core.console import Console
    from headstart.core.run.context import Context
    from headstart.core.run.folder import RunFolder

    root = tmp_path_factory.mktemp("textile") / "textile"
    for place in sorted(p for p in textile.iterdir() if p.is_dir()):
        (root / place.name).mkdir(parents=True)
        for picture in sorted(place.glob("*.jpg"))[:EACH]:
            shutil.copy(picture, root / place.name)
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    ctx = Context(job=job.make_job(data=str(root)), run=folder, store=shared_store, console=Console(quiet=True))
    data, others = read(root, ctx=ctx), ood_images.make_ood_images(shared_store)
    own = embed(data, LITE0, np.arange(len(data.uris)), ctx=ctx)
    far = embed(others, LITE0, np.arange(len(others.uris)), ctx=ctx, below="doubt")
    assert FeatureLevel(name=DEPTH, dim=own.vectors[DEPTH].shape[1]) in own.spec.depths
    return np.asarray(own.vectors[DEPTH]), np.asarray(data.targets), np.asarray(far.vectors[DEPTH])


@pytest.fixture(scope="module")
def answered(seen):
    """Probabilities of 300 pictures that an LDA head did not learn from, and their classes."""
    x, y, _ = seen
    order = np.random.default_rng(0).permutation(len(y))
    learnt, held = order[:150], order[150:]
    head = registry.load_plugin("heads", "lda")
    params = list(head.grid(150, x.shape[1], 3))[-1:]
    fitted = next(iter(head.path(x[learnt], y[learnt], n_classes=3, params=params, class_weight=None, seed=0)))
    return predict_probabilities(fitted.kind, fitted.arrays, x[held]), y[held]


@pytest.mark.parametrize("kind", conformal.SCORES)
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_real_pictures_are_covered_over_repeated_splits(answered, kind, coverage):
    p, y = answered
    own, shares = conformal.compute_scores(p, kind)[np.arange(len(y)), y], []
    for seed in range(200):
        order = np.random.default_rng(seed).permutation(len(y))
        known, new = order[:150], order[150:]
        limits = conformal.compute_thresholds(own[known], y[known], 3, coverage, by_class=True)
        held = conformal.make_sets(p[new], kind, limits)
        shares.append([held[y[new] == c, c].mean() for c in range(3)])
    mean = np.mean(shares, axis=0)
    print(f"{kind}, {coverage:.0%} promised in each class: {np.round(mean, 3)} over 200 splits of 300 textile pictures")
    assert (mean >= coverage - 0.015).all(), mean
    if kind == "least_ambiguous":
        assert (mean <= coverage + 0.06).all(), mean


@pytest.mark.parametrize("method", ood_detection.METHODS)
def test_foreign_pictures_are_told_from_textile(seen, method):
    x, y, far = seen
    order = np.random.default_rng(1).permutation(len(y))
    arrays, k = ood_detection.fit_references(x[order[:300]], y[order[:300]], method)
    near = ood_detection.compute_distances(arrays, k, x[order[300:]])
    for kind, of in zip(ood_images.KINDS, (far[: ood_images.COUNTS[0]], far[ood_images.COUNTS[0] :]), strict=True):
        found = ood_threshold.novelty_auc(
            near, ood_detection.compute_distances(arrays, k, of), split="test", subject=kind
        )
        print(f"{method}: AUROC of {kind} {found.value:.3f} [{found.low:.3f}, {found.high:.3f}], n = {found.n}")
        assert found.value > 0.97
