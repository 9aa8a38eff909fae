"""Findings for reports: real pictures and the real read stage, with made-up but consistent answers of a model."""

import numpy as np

from headstart.core import provenance
from headstart.core.job import make_job
from headstart.core.types import (
    Audit,
    BackboneSpec,
    Calibrated,
    CurvePoint,
    Evaluation,
    Exported,
    Feature,
    Finding,
    FitResult,
    FittedHead,
    HeadRow,
    InputSpec,
    OodDetector,
    Outcome,
    Ranking,
    RankRow,
    Score,
    SkippedFile,
    Splits,
    UncertaintyReport,
    Verdict,
)
from headstart.reporting.report_data import ReportInput
from headstart.statistics import metrics


def sc(split, name, value, n, half=0.03, subject="", method="wilson"):
    return Score(
        split=split, name=name, value=value, low=value - half, high=value + half, n=n, subject=subject, method=method
    )


def probabilities(targets, n_classes, rng, sharp=2.2):
    """Logits with a signal, as a decent model would give."""
    logits = rng.normal(size=(len(targets), n_classes))
    logits[np.arange(len(targets)), targets] += sharp
    p = np.exp(1.5 * logits)
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def ranking(n, metric="log_loss"):
    trunks = [
        ("bundled:efficientnet_lite0", 0.77e9, 0.75),
        ("bundled:efficientnet_lite1", 1.2e9, 0.766),
        ("bundled:efficientnet_lite2", 1.7e9, 0.775),
        ("bundled:vgg16_hed", 30.7e9, 0.7),
        ("random:bundled:efficientnet_lite0", 0.77e9, 0.0),
    ]
    rows = []
    for t, (name, flops, prior) in enumerate(trunks):
        control = name.startswith("random")
        for d, depth in enumerate(("stage3", "stage4", "stage5", "last")):
            value = 0.55 - 0.03 * t - 0.03 * d + 0.1 * (d == 3) + 0.35 * control + 0.1 * (t == 3)
            status = (
                "control"
                if control
                else "chosen"
                if (t, d) == (2, 2)
                else "tied"
                if (t, d) in ((2, 1), (1, 2))
                else "beaten"
            )
            seen = 256 if control else n
            where = "screen" if control else "cv"
            rows.append(
                RankRow(
                    candidate=f"{name}@{depth}",
                    backbone=name,
                    depth=depth,
                    probe="logistic",
                    scores=(
                        sc(where, metric, value, seen, method="t"),
                        sc(where, "balanced_accuracy", 1 - 0.62 * value, seen, 0.025, method="mover"),
                        sc(where, "accuracy", 1.05 - 0.62 * value, seen, 0.02),
                        sc(where, f"knn_{metric}", value + 0.1, seen),
                    ),
                    paired=sc(where, metric, value - 0.43, seen, 0.02, method="paired t"),
                    status=status,
                    rows_seen=seen,
                    flops=int(flops),
                    seconds=0.0,
                    prior=prior,
                    logme=-0.4 - value,
                )
            )
    rows.sort(key=lambda r: (r.status == "control", r.scores[0].value))
    histogram = RankRow(
        candidate="colour histogram",
        backbone="colour histogram",
        depth="",
        probe="logistic",
        scores=(
            sc("screen", metric, 0.93, 256),
            sc("screen", "balanced_accuracy", 0.45, 256),
            sc("screen", "accuracy", 0.58, 256),
        ),
        paired=sc("screen", metric, 0.5, 256),
        status="control",
        rows_seen=256,
        flops=0,
        seconds=0.0,
        prior=0.0,
        logme=-1.1,
    )
    return Ranking(
        metric=metric,
        rows=(*rows, histogram),
        chosen="bundled:efficientnet_lite2@stage5",
        why="bundled:efficientnet_lite2@stage5 has the best mean log loss, 0.430 [0.400, 0.460], n = 1,600; 2 tie.",
        ties=("bundled:efficientnet_lite2@stage4", "bundled:efficientnet_lite1@stage5"),
        survivors=("bundled:efficientnet_lite1", "bundled:efficientnet_lite2"),
    )


def splits(data, test, val=0):
    n = len(data.uris)
    order = np.random.default_rng(0).permutation(n)
    held, given, rest = np.sort(order[:test]), np.sort(order[test : test + val]), np.sort(order[test + val :])
    folds = np.full((2, n), -1, np.int16)
    folds[:, rest] = np.arange(len(rest)) % 5
    clusters = np.arange(n)
    clusters[1] = 0
    return Splits(
        train=rest,
        val=given,
        test=held,
        folds=folds,
        clusters=clusters,
        given=False,
        straddling=np.zeros((0, 2), np.int64),
        seed=0,
        why=f"{test} of {n} pictures are held out for the final score, drawn by class.",
    )


def adapted(data, drawn, rng):
    p = probabilities(data.targets[drawn.train], len(data.class_names), rng)
    curve = tuple(
        CurvePoint(n_train=m, score=sc("cv", "balanced_accuracy", 0.86 - 1.8 / m**0.5, len(drawn.train), 0.04))
        for m in (25, 50, 100, 200, 400, 800, 1600)
    )
    heads = [("logistic", "chosen", 0.43), ("lda", "tied", 0.44), ("ridge", "beaten", 0.52), ("knn", "beaten", 0.61)]
    fitted = FittedHead(
        head="logistic",
        kind="linear",
        params={"strength": 0.01, "standardise": True},
        trainable_params=579,
        arrays={"weights": np.zeros((192, 3), np.float32), "bias": np.zeros(3, np.float32)},
    )
    tried = tuple(
        HeadRow(
            head=head,
            features=("bundled:efficientnet_lite2@stage4", "bundled:efficientnet_lite2@stage5"),
            params={"strength": 0.01},
            status=status,
            flops=int(1.7e9),
            seconds=0.0,
            scores=(
                sc("cv", "log_loss", value, len(drawn.train)),
                sc("cv", "balanced_accuracy", 1 - value / 2, len(drawn.train)),
            ),
            paired=sc("cv", "log_loss", value - 0.43, len(drawn.train), 0.02),
        )
        for head, status, value in heads
    )
    return FitResult(
        strategy="probe",
        features=(
            Feature(backbone="bundled:efficientnet_lite2", depth="stage4", dim=120),
            Feature(backbone="bundled:efficientnet_lite2", depth="stage5", dim=208),
        ),
        fitted=fitted,
        tried=tried,
        why="logistic on two depths has the best mean log loss; lda ties with it.",
        cv_rows=np.asarray(drawn.train),
        cv_probabilities=p,
        train_probabilities=probabilities(data.targets[drawn.train], len(data.class_names), rng, 4.0),
        nested=(),
        curve=curve,
        calibrated=Calibrated(
            temperature=0.8,
            before=0.51,
            after=0.5,
            n=len(drawn.train),
            why="probabilities are made surer by the temperature 0.800: log loss of held-out pictures is lower",
        ),
    )


def evaluation(data, drawn, done, rng):
    split = "test" if len(drawn.test) else "cv"
    rows = drawn.test if len(drawn.test) else drawn.train
    y = data.targets[rows]
    p = probabilities(y, len(data.class_names), rng)
    found = metrics.compute_scores(y, p, split=split, class_names=data.class_names)
    found += metrics.compute_scores(
        data.targets[drawn.train], done.train_probabilities, split="train", class_names=data.class_names
    )
    if split != "cv":
        found += metrics.compute_scores(
            data.targets[done.cv_rows], done.cv_probabilities, split="cv", class_names=data.class_names
        )
    baselines = []
    few = np.asarray(drawn.train)[:256]
    for name, sharp, rows_of, where in (
        ("majority class", 0.0, rows, split),
        ("kNN", 1.8, rows, split),
        ("model on the same pictures", 1.6, few, "screen"),
        ("random trunk", 0.7, few, "screen"),
        ("colour histogram", 0.5, few, "screen"),
    ):
        truth = data.targets[rows_of]
        q = probabilities(truth, len(data.class_names), rng, sharp)
        baselines += [metrics.compute_score(m, truth, q, split=where, subject=name) for m in metrics.NAMES]
    said = (
        (
            "headline",
            "yes",
            "accuracy 0.895 [0.861, 0.921] on the test pictures (n = 400), balanced accuracy 0.900 "
            "[0.860, 0.924]; always answering `nominal` gives 0.540",
        ),
        ("transfer", "yes", "pre-trained features pay: on the same 256 pictures the log loss is 0.52 against 0.93"),
        ("overfitting", "unclear", "perhaps: a gap of 0.092 [0.060, 0.124] (called overfitting above 0.10)"),
        (
            "enough_data",
            "no",
            "more pictures would help, the curve still rises: accuracy is 0.86 with 800 pictures and 0.88 with 1,600",
        ),
    )
    verdicts = tuple(Verdict(code=code, answer=answer, sentence=sentence) for code, answer, sentence in said)
    doubt = done.cv_probabilities[np.arange(len(done.cv_rows)), data.targets[done.cv_rows]]
    doubtful = np.argsort(doubt)[:30]
    rivals = np.array(done.cv_probabilities)[doubtful]
    rivals[np.arange(len(doubtful)), data.targets[done.cv_rows[doubtful]]] = -1
    return Evaluation(
        split=split,
        scores=found,
        baselines=tuple(baselines),
        confusion=metrics.confusion_matrix(y, p.argmax(axis=1), len(data.class_names)),
        rows=np.asarray(rows),
        probabilities=p,
        calibration=metrics.calibration_bins(y, p),
        suspects=done.cv_rows[doubtful],
        rival_classes=tuple(rivals.argmax(axis=1).tolist()),
        rival_probabilities=tuple(rivals.max(axis=1).tolist()),
        threshold=None,
        verdicts=verdicts,
    )


def audits(data):
    n = len(data.uris)
    outcomes = (
        Outcome(code="D001", name="files not used", status="passed", why="every file on disk is used"),
        Outcome(
            code="D101",
            name="exact duplicates",
            status="issue",
            why="1 pair of files has equal bytes",
            links=((0, 1),),
            findings=(
                Finding(
                    code="D101",
                    severity="warning",
                    sentence="2 files are the same",
                    rows=(0, 1),
                    fix="keep one of them",
                ),
            ),
        ),
        Outcome(
            code="D004",
            name="imbalance",
            status="tip",
            why="the largest class has 2.0 times the pictures of the smallest",
            findings=(
                Finding(
                    code="D004",
                    severity="info",
                    sentence=f"{n} pictures, not spread evenly",
                    rows=tuple(range(min(n, 50))),
                    fix="try --class-weight balanced",
                ),
            ),
        ),
        Outcome(
            code="D104", name="duplicates across splits", status="not_applicable", why="the folder gives no splits"
        ),
    )
    more = (Outcome(code="D202", name="outliers", status="skipped", why="fewer than 10 pictures a class"),)
    return (
        Audit(phase="files", outcomes=outcomes, clusters=np.arange(n)),
        Audit(phase="vectors", outcomes=more, clusters=np.arange(n)),
    )


def doubted(data, drawn, made):
    """Sets, temperature and novelty, as measured on the split that judges."""
    n, split = len(made.rows), made.split
    scores = [
        *(
            sc(split, name, value, n, subject=when)
            for when, value in (("before", 0.08), ("after", 0.04))
            for name in ("ece", "log_loss", "brier")
        ),
        sc(split, "coverage", 0.931, n),
        sc(split, "set_size", 1.27, n, half=0.06, method="t"),
        sc(split, "singletons", 0.74, n),
        sc(split, "empty_sets", 0.02, n, half=0.01),
        *(sc(split, "coverage", 0.91 + c / 100, n // 3, subject=name) for c, name in enumerate(data.class_names)),
        sc(split, "coverage", 0.922, n, subject="thresholds of cross-validation"),
        *(sc("train", "novelty_auc", 0.71, n, subject=f"hidden class {name}") for name in data.class_names),
        sc(split, "unknown", 0.02, n, half=0.01),
        sc(split, "unknown", 0.95, 40, subject="handwritten digits"),
        sc(split, "novelty_auc", 0.93, n + 40, subject="handwritten digits"),
    ]
    tried = tuple(
        sc("train", "novelty_auc", value, n, subject=name) for name, value in (("nearest", 0.71), ("mahalanobis", 0.69))
    )
    return UncertaintyReport(
        coverage=0.9,
        promise=0.9,
        score="least_ambiguous",
        by_class=True,
        thresholds=np.full(len(data.class_names), 0.7),
        floors=np.full(len(data.class_names), 0.95),
        kept=0.99,
        n=n,
        split=split,
        why=f"{n:,} held-out pictures set the thresholds, for 90 % in each class",
        novelty=OodDetector(method="nearest", neighbour=5, limit=9.0, familiar=0.991, arrays={}, tried=tried),
        scores=tuple(scores),
    )


def findings(data, *, test=400, val=0, timed=True, **changes):
    """Everything a report may tell about a data set."""
    rng = np.random.default_rng(7)
    drawn = splits(data, test, val)
    done = adapted(data, drawn, rng)
    names = (
        "bundled:efficientnet_lite0",
        "bundled:efficientnet_lite1",
        "bundled:efficientnet_lite2",
        "bundled:vgg16_hed",
    )
    backbones = tuple(
        BackboneSpec(
            name=name,
            family="efficientnet_lite",
            revision="1",
            input=InputSpec(size_px=224),
            depths=(),
            download_bytes=0,
            prior=0.7,
            prior_source="its authors",
            licence="Apache-2.0",
            licence_note="ImageNet has terms of its own" * (at == 3),
            pretrained_on="ImageNet-1k classification",
            params=3_400_000 + at,
            flops=int(0.8e9),
        )
        for at, name in enumerate(names)
    )
    judged = evaluation(data, drawn, done, rng)
    given = {
        "job": make_job(data="/somewhere/private/textile"),
        "run_name": "2026-11-24-textile",
        "dataset": data,
        "audits": audits(data),
        "splits": drawn,
        "backbones": backbones,
        "latencies_ms": dict(zip(names, (4.1, 5.6, 8.2, 71.0), strict=True)) if timed else {},
        "ranking": ranking(len(drawn.train)),
        "adapted": done,
        "evaluation": judged,
        "uncertainty": doubted(data, drawn, judged),
        "exported": Exported(format="openvino", path="model", bytes=14_200_000, precision="f32", parity_max_abs=3.1e-7),
        "decisions": ({"name": "rank/chosen", "value": "bundled:efficientnet_lite2@stage5", "why": "the best mean"},),
        "timings": {"read": 0.46, "embed bundled:efficientnet_lite0 2000": 19.7, "rank": 14.2, "evaluate": 1.1},
        "provenance": {
            "Versions": provenance.list_versions(),
            "Machine": provenance.describe_machine(),
            "Digests": {
                "data set (SHA-256)": data.digest,
                "bundled:efficientnet_lite2@stage5, 2,000 pictures": "a1" * 32,
            },
        },
    }
    return ReportInput(**given | changes)


def excused(count):
    reasons = ("truncated", "not_a_picture", "hidden")
    return tuple(
        SkippedFile(uri=f"nominal/file_{i}.jpg", reason=reasons[i % 3], detail="the JPEG data ends early")
        for i in range(count)
    )
