"""Synthetic data sets with features of known worth, for the tests of rank and evaluate."""

import numpy as np

from headstart.core.types import (
    BackboneSpec,
    Dataset,
    DatasetFacts,
    Embeddings,
    EmbedKey,
    FeatureLevel,
    InputSpec,
    Splits,
)

NAMES = ("ash", "beech", "cedar")


def dataset(n=240, *, seed=0, split=None, shares=(0.5, 0.3, 0.2)) -> Dataset:
    """N pictures that exist only as labels and facts; the histogram tells the classes a little."""
    rng = np.random.default_rng(seed)
    targets = np.sort(rng.choice(len(shares), n, p=shares))
    histogram = rng.dirichlet(np.ones(64), n).astype(np.float32)
    histogram[:, :3] += 0.01 * np.eye(3)[targets]
    facts = DatasetFacts(
        width_px=np.full(n, 250, np.int32),
        height_px=np.full(n, 250, np.int32),
        file_bytes=np.full(n, 9000, np.int64),
        phash=rng.integers(0, 2**63, n).astype(np.uint64),
        histogram=histogram,
        grey_std=np.full(n, 50, np.float32),
        notes=("",) * n,
    )
    return Dataset(
        name="trees",
        root="trees",
        modality="image",
        task="classification",
        uris=tuple(f"{NAMES[t]}/{i:05d}.jpg" for i, t in enumerate(targets)),
        digests=tuple(f"{i:064x}" for i in range(n)),
        targets=targets.astype(np.int64),
        split=split or ("",) * n,
        class_names=NAMES,
        facts=facts,
        excused=(),
        digest="0" * 64,
    )


def splits(data: Dataset, *, test=0.25, val=0.0, repeats=2, folds=4, seed=0, clusters=None, straddling=()) -> Splits:
    """A random split and random folds."""
    n, rng = len(data.uris), np.random.default_rng([seed, 5])
    order = rng.permutation(n)
    cut, cut2 = int(n * test), int(n * (test + val))
    train = np.sort(order[cut2:])
    fold = np.full((repeats, n), -1, np.int16)
    for repeat in range(repeats):
        fold[repeat, rng.permutation(train)] = np.arange(len(train)) % folds
    return Splits(
        train=train,
        val=np.sort(order[cut:cut2]),
        test=np.sort(order[:cut]),
        folds=fold,
        clusters=np.arange(n) if clusters is None else clusters,
        given=False,
        straddling=np.array(straddling, np.int64).reshape(-1, 2),
        seed=seed,
        why="drawn for a test",
    )


def embeddings(
    data: Dataset, name: str, signal: dict[str, float], *, flops=10**9, prior=0.7, rows=None, dim=12, seed=0
):
    """One backbone whose depths carry so much signal each."""
    rows = np.arange(len(data.uris)) if rows is None else rows
    vectors = {}
    for number, (depth, strength) in enumerate(signal.items()):
        x = np.random.default_rng([seed, number, len(name)]).normal(size=(len(data.uris), dim))
        x[:, :3] += strength * np.eye(3)[np.asarray(data.targets)]
        vectors[depth] = x[rows].astype(np.float32)
    depths = tuple(FeatureLevel(name=depth, dim=dim) for depth in signal)
    spec = BackboneSpec(
        name=name,
        family="made",
        revision="1",
        input=InputSpec(size_px=8),
        depths=depths,
        params=10,
        flops=flops,
        licence="Apache-2.0",
        licence_note="",
        pretrained_on="nothing",
        download_bytes=0,
        prior=prior,
        prior_source="made up",
    )
    key = EmbedKey(backbone=name, revision="1", input=spec.input, depths=depths, precision="f32", engine="made")
    return Embeddings(key=key, spec=spec, rows=rows, vectors=vectors, seconds=0.0, cached=0, latency_ms=1.0)
