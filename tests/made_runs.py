"""Finished run folders made by hand: a tiny saved model, and answers that the test chooses."""

import hashlib

import numpy as np

from headstart.core import job
from headstart.core.storage import serialization
from headstart.core.storage.files import write_json
from headstart.core.types import (
    Audit,
    Dataset,
    DatasetFacts,
    DomainAdaptation,
    Evaluation,
    Exported,
    Feature,
    FitResult,
    FittedHead,
    Splits,
    Verdict,
)
from headstart.statistics import metrics
from headstart.testing.tiny_model import CLASSES, write_tiny_model

TRUNK = "bundled:efficientnet_lite0"
N, TEST = 150, 90
TARGETS = np.arange(N) % 3
TRUTH = TARGETS[-TEST:]


def wrong(*places):
    """Answers to the last pictures that are right but at some places."""
    answers = TRUTH.copy()
    answers[list(places)] = (answers[list(places)] + 1) % 3
    return answers


def facts(count, **changes):
    """All pictures alike."""
    given = {
        "width_px": np.full(count, 64, np.int32),
        "height_px": np.full(count, 48, np.int32),
        "file_bytes": np.full(count, 900, np.int64),
        "phash": np.arange(count).astype(np.uint64),
        "histogram": np.tile(np.eye(64, dtype=np.float32)[21], (count, 1)),
        "grey_std": np.full(count, 30.0, np.float32),
        "notes": ("",) * count,
    }
    return DatasetFacts(**given | changes)


def dataset(targets, *, names=CLASSES, content=None, uris=None, name="blocks", root="/nowhere", **changes):
    """Pictures that need not be anywhere; `content` are numbers that stand for their bytes."""
    targets = np.asarray(targets, np.int64)
    content = np.arange(len(targets)) if content is None else content
    digests = tuple(hashlib.sha256(f"picture {one}".encode()).hexdigest() for one in content)
    uris = uris or tuple(f"{names[t]}/{at:04d}.jpg" for at, t in enumerate(targets))
    whole = hashlib.sha256("".join((*digests, *names, *map(str, targets))).encode()).hexdigest()
    return Dataset(
        name=name,
        root=root,
        modality="image",
        task="classification",
        uris=uris,
        digests=digests,
        targets=targets,
        split=("",) * len(targets),
        class_names=tuple(names),
        facts=facts(len(targets), **changes),
        excused=(),
        digest=whole,
    )


def probabilities(answers, n_classes=3, sure=0.8):
    """(M, C) float32 that say `answers`."""
    p = np.full((len(answers), n_classes), (1 - sure) / (n_classes - 1), np.float32)
    p[np.arange(len(answers)), answers] = sure
    return p


def splits(count, test, clusters=None):
    """The first rows learn in two folds, the last `test` judge."""
    folds = np.full((1, count), -1, np.int16)
    folds[0, : count - test] = np.arange(count - test) % 2
    return Splits(
        train=np.arange(count - test),
        val=np.empty(0, np.int64),
        test=np.arange(count - test, count),
        folds=folds,
        clusters=np.arange(count) if clusters is None else np.asarray(clusters, np.int64),
        given=False,
        straddling=np.empty((0, 2), np.int64),
        seed=0,
        why=f"{test} of {count} pictures for the test",
    )


def adapted(data, drawn):
    """A linear head on one depth."""
    count = len(data.class_names)
    head = FittedHead(
        head="ridge",
        kind="linear",
        params={"strength": 0.5},
        arrays={"weights": np.zeros((3, count), np.float32), "bias": np.zeros(count, np.float32)},
        trainable_params=4 * count,
    )
    truth = np.asarray(data.targets)[drawn.train]
    return FitResult(
        strategy="probe",
        features=(Feature(backbone=TRUNK, depth="stage4", dim=3),),
        fitted=head,
        tried=(),
        why="the only one",
        cv_rows=np.asarray(drawn.train),
        cv_probabilities=probabilities(truth, count),
        train_probabilities=probabilities(truth, count),
        nested=(),
        curve=(),
    )


def adaptation(fit, method="coral"):
    """What was adapted to three pictures of a new domain."""
    p = np.zeros((3, 3), np.float32)
    return DomainAdaptation(
        method=method,
        params={},
        rule="labels",
        why="",
        trials=(),
        features=fit.features,
        fitted=fit.fitted,
        source_rows=np.arange(3),
        mapped_probabilities=p,
        train_probabilities=p,
        target_before=p,
        target_after=p,
    )


def evaluation(data, drawn, answers, sure=0.8):
    """The test split, answered as told."""
    y, p = np.asarray(data.targets)[drawn.test], probabilities(answers, len(data.class_names), sure)
    groups = np.asarray(drawn.clusters)[drawn.test]
    answers = np.asarray(answers)
    return Evaluation(
        split="test",
        scores=metrics.compute_scores(y, p, split="test", class_names=data.class_names, clusters=groups),
        baselines=(),
        confusion=metrics.confusion_matrix(y, answers, len(data.class_names)),
        rows=np.asarray(drawn.test),
        probabilities=p,
        calibration=(),
        suspects=np.empty(0, np.int64),
        threshold=None,
        verdicts=(
            Verdict(code="headline", answer="yes", sentence="accuracy is known; always answering `blue` gives 0.333"),
        ),
    )


def write(path, data, answers, *, clusters=None, sure=0.8, timings=None, **settings):
    """A run folder whose last pictures were answered by `answers`; returns its path."""
    drawn = splits(len(data.uris), len(answers), clusters)
    write_json(path / "format.json", {"format": 1})
    job.write_job(job.make_job(data="/somewhere/private/blocks", **settings), path / "job.toml")
    serialization.save_value(data, path / "read")
    serialization.save_value(Audit(phase="files", outcomes=(), clusters=drawn.clusters), path / "audit", "files")
    serialization.save_value(drawn, path / "splits")
    serialization.save_value(adapted(data, drawn), path / "adapt")
    serialization.save_value(evaluation(data, drawn, answers, sure), path / "evaluate")
    serialization.save_value(
        Exported(format="openvino", path="model", bytes=1_500_000, precision="f32", parity_max_abs=0.0), path / "export"
    )
    write_tiny_model(path / "model", class_names=tuple(data.class_names))
    write_json(path / "timings.json", timings or {"read": {"wall_s": 1.5, "cpu_s": 1.0}})
    return path
