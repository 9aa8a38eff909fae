"""Two domains as features that are drawn: the classes are the same, a camera changes what the columns say."""

import dataclasses

import numpy as np

import made_runs
from headstart.core import registry
from headstart.core.types import BackboneSpec, Embeddings, Feature, FeatureLevel, InputSpec, TargetDomain
from headstart.heads.cross_validation import tune_head

C, D, LEVEL = 3, 16, "stage4"
FEATURES = (Feature(backbone=made_runs.TRUNK, depth=LEVEL, dim=D),)


def draw_pictures(count, rng, shares=None):
    """Features (N, D) whose columns go together, and classes."""
    y = rng.choice(C, count, p=shares) if shares is not None else rng.permutation(np.arange(count) % C)
    mixing = np.random.default_rng(99).normal(size=(D, D)) / np.sqrt(D)
    return ((1.5 * np.eye(C, D)[y] + rng.normal(size=(count, D)) * 0.5) @ (np.eye(D) + mixing)).astype(np.float32), y


def change_camera(x):
    """Each column paler and brighter, by its own amounts."""
    rng = np.random.default_rng(98)
    return (x * rng.uniform(0.3, 1.2, D) + rng.normal(0, 1.2, D)).astype(np.float32)


def embed(x):
    """The features as a trunk gave them."""
    spec = BackboneSpec(
        name=made_runs.TRUNK,
        family="made",
        revision="1",
        input=InputSpec(size_px=8),
        depths=(FeatureLevel(name=LEVEL, dim=D),),
        params=10,
        flops=10,
        licence="Apache-2.0",
        licence_note="",
        pretrained_on="nothing",
        download_bytes=0,
        prior=0.5,
        prior_source="made up",
    )
    rows = np.arange(len(x))
    return (Embeddings(key=None, spec=spec, rows=rows, vectors={LEVEL: x}, seconds=0.0, cached=0, latency_ms=1.0),)


def make_domains(camera=change_camera, *, labelled=0, shares=None, count=240, test=30, seed=3):
    """What `adapt_to_target` takes but for the context, and the target's true classes."""
    rng = np.random.default_rng(seed)
    x, y = draw_pictures(count, rng)
    target_x, truth = draw_pictures(count, rng, shares)
    hashes = rng.integers(0, 2**63, 2 * count, dtype=np.uint64)
    data, drawn = made_runs.dataset(y, phash=hashes[:count]), made_runs.splits(count, test)
    train, folds = drawn.train, drawn.folds[:, drawn.train]
    head = registry.load_plugin("heads", "logistic")
    tuned = tune_head(head, x[train], y[train], folds, n_classes=C)
    fitted = next(head.path(x[train], y[train], n_classes=C, params=[tuned.params], class_weight=None, seed=0))
    adapted = dataclasses.replace(
        made_runs.adapted(data, drawn), features=FEATURES, fitted=fitted, cv_probabilities=tuned.held_out[0]
    )
    labels = np.where(np.arange(count) < labelled, truth, -1)
    new = made_runs.dataset(np.zeros(count), phash=hashes[count:], content=1000 + np.arange(count), name="new")
    target = TargetDomain(pictures=dataclasses.replace(new, targets=labels), labels=labels, copies=())
    return (data, drawn, embed(x), target, embed(camera(target_x)), adapted), truth
