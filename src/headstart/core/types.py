"""Every value that crosses a stage's border, and the protocols of the plugins.

Values are frozen, slotted, keyword-only dataclasses; those that hold arrays are compared by identity and known by a
digest. On disk they are JSON and `.npy` (`headstart.core.storage.serialization`), never pickle. Shapes use one
alphabet: N samples, M rows of a subset, D embedding width, C classes, B batch, H W px, K folds, R repeats. A
picture's *row* is its position in `Dataset.uris`; every `rows` field holds such positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from headstart.core.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from headstart.core.storage.cache import Store

# ---------------------------------------------------------------- read


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedFile:
    """A file that is on disk and not used, with the reason.

    Attributes:
        uri: Path relative to the data set's root, `/` between parts.
        reason: A fixed word: `empty_file`, `not_a_picture`, `truncated`, `too_many_pixels`, `permission`,
            `symlink_loop`, `hidden`, `outside_a_class`, `unreadable`.
        detail: One sentence.
    """

    uri: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DatasetFacts:
    """What one decode at reduced scale tells about each picture.

    Attributes:
        width_px: (N,) int32, after EXIF orientation.
        height_px: (N,) int32.
        file_bytes: (N,) int64.
        phash: (N,) uint64, perceptual hash (DCT of a 32 x 32 grey picture).
        histogram: (N, 64) float32, 4 x 4 x 4 RGB colour histogram; each row sums to 1.
        grey_std: (N,) float32, standard deviation of the grey levels 0..255 (0 = a blank picture).
        notes: N strings, empty or what was done to read the picture ("alpha on white", "first of 12 frames", …).
    """

    width_px: np.ndarray
    height_px: np.ndarray
    file_bytes: np.ndarray
    phash: np.ndarray
    histogram: np.ndarray
    grey_std: np.ndarray
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A labelled set of pictures, every file on disk accounted for.

    Attributes:
        name: The folder's name.
        root: Absolute path of the folder.
        modality: `image`.
        task: `classification`.
        uris: N paths relative to `root`, `/` between parts, sorted; undecodable bytes as surrogate escapes.
        digests: N SHA-256 hex digests of the files' bytes.
        targets: (N,) int64, positions in `class_names`.
        split: N words: `train`, `val` or `test` where the folder gives splits, else empty.
        class_names: C names, sorted; classes without a usable picture included.
        facts: One entry a picture.
        excused: Files on disk that are not used.
        digest: SHA-256 over uris, digests, targets, splits and class names.
    """

    name: str
    root: str
    modality: str
    task: str
    uris: tuple[str, ...]
    digests: tuple[str, ...]
    targets: np.ndarray
    split: tuple[str, ...]
    class_names: tuple[str, ...]
    facts: DatasetFacts
    excused: tuple[SkippedFile, ...]
    digest: str


# ---------------------------------------------------------------- audit


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a check found: a sentence with numbers, the rows or files it is about, and what to do."""

    code: str
    severity: str  # "error" | "warning" | "info"
    sentence: str
    rows: tuple[int, ...] = ()
    uris: tuple[str, ...] = ()
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one check ended.

    Attributes:
        code: `D101`, …
        name: A few words.
        status: `issue`, `tip`, `passed`, `not_applicable`, `skipped` or `ignored`.
        why: One sentence; for `passed` what was looked at, with numbers.
        findings: Empty unless `issue` or `tip`.
        links: Pairs of rows that show the same thing and must stay on one side of every split.
    """

    code: str
    name: str
    status: str
    why: str
    findings: tuple[Finding, ...] = ()
    links: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audit:
    """All outcomes of one pass (`files` before embed, `vectors` after it) and the clusters known so far.

    Attributes:
        phase: `files` or `vectors`.
        outcomes: In the order of their codes.
        clusters: (N,) int64, the smallest row of the cluster each row belongs to; clusters never straddle a split.
    """

    phase: str
    outcomes: tuple[Outcome, ...]
    clusters: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splits:
    """Who learns and who judges.

    Attributes:
        train: (M,) int64 rows for learning; all cross-validation happens inside them.
        val: (M,) int64 rows of a given `val/`, never trained on, scored once; else empty.
        test: (M,) int64 rows of the test split, scored once at the end; empty when too few pictures.
        folds: (R, N) int16, the fold in which a row is validated in each repeat, -1 outside `train`.
        clusters: (N,) int64 as in `Audit`.
        given: True when the folder gave the splits.
        straddling: (P, 2) int64 pairs of one cluster that given splits put on two sides.
        seed: Of the draw.
        why: One sentence on how the splits came to be.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    folds: np.ndarray
    clusters: np.ndarray
    given: bool
    straddling: np.ndarray
    seed: int
    why: str


# ---------------------------------------------------------------- backbones and embed


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """How a picture becomes a trunk's input: (B, size_px, size_px, 3) uint8, RGB.

    Scaling is part of the trunk's own graph: `x = (channels(x) * scale - mean) / std`.

    Attributes:
        size_px: Height and width.
        resize: `crop` (shorter side to `size_px / crop_fraction`, then centre crop) or `squash`.
        interpolation: `bilinear` or `bicubic`, Pillow's antialiased filters.
        crop_fraction: Of the resized picture's side that the centre crop keeps.
        channels: `rgb` or `bgr`, the order in which the trunk's first layer was trained.
        scale: Factor on 0..255 before the mean is taken off.
        mean: Three numbers, in the order of `channels`.
        std: Three numbers, in the order of `channels`.
    """

    size_px: int
    resize: str = "crop"
    interpolation: str = "bicubic"
    crop_fraction: float = 0.875
    channels: str = "rgb"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLevel:
    """One place where features are taken, pooled over the picture: `stage3` … `last`, and how many numbers."""

    name: str
    dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """All that is known of a trunk before it is built.

    Attributes:
        name: `source:preset`.
        family: `efficientnet_lite`, `vgg`, `resnet`, …
        revision: Changes when weights, graph or pooling change.
        input: See `InputSpec`.
        depths: From shallow to deep; the last one is the penultimate layer of the source classifier.
        params: Weights in the trunk, without the source classifier.
        flops: Floating-point operations for one picture (two for a multiply-add).
        licence: SPDX identifier, or the words of the source.
        licence_note: What else to know (data sets' own terms), or empty.
        pretrained_on: Data and task of the source.
        download_bytes: Of the weights.
        prior: Published accuracy of the source on its own task, 0..1 (ImageNet top-1), or a stated guess.
        prior_source: Where `prior` comes from.
        method: How it was trained: `supervised`, `self-supervised`, `image-text`, or the words of the source.
        domains: What its training pictures show, as a filter's words: `photos`, `edges`, `medical`, `text`, …
    """

    name: str
    family: str
    revision: str
    input: InputSpec
    depths: tuple[FeatureLevel, ...]
    params: int
    flops: int
    licence: str
    licence_note: str
    pretrained_on: str
    download_bytes: int
    prior: float
    prior_source: str
    method: str = "not stated"
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedKey:
    """Everything the vectors depend on besides the bytes of the pictures.

    `calibration` is the digest of the pictures that an int8 trunk was calibrated on, empty for f32.
    """

    backbone: str
    revision: str
    input: InputSpec
    depths: tuple[FeatureLevel, ...]
    precision: str  # "f32" | "int8"
    engine: str  # "openvino 2026.4.1" | "keras 3.15.1 tensorflow"
    calibration: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embeddings:
    """Pooled features of one backbone.

    Attributes:
        key: What they depend on.
        spec: Of the backbone.
        rows: (M,) int64 rows of the data set, ascending, that `vectors` speak of.
        vectors: Depth name -> (M, D) float32, memory-mapped where large.
        seconds: Wall time of the pass.
        cached: How many of the M rows came from the cache.
        latency_ms: Wall milliseconds a picture, decoding included, as last measured with this cache; NaN when never.
        timed: Whether this pass measured it. Else it is of an earlier pass, perhaps under another load.
    """

    key: EmbedKey
    spec: BackboneSpec
    rows: np.ndarray
    vectors: Mapping[str, np.ndarray]
    seconds: float
    cached: int
    latency_ms: float
    timed: bool = False


# ---------------------------------------------------------------- scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A number that is never naked.

    Attributes:
        split: `test`, `val`, `cv` (mean over held-out folds), `train`, or `screen` (folds of at most 256 pictures).
        name: `accuracy`, `balanced_accuracy`, `log_loss`, …
        value: The estimate; NaN when it cannot be computed (then `n` says why).
        low: Lower end of the 95 % interval.
        high: Upper end.
        n: Pictures it was measured on.
        subject: A class name for per-class scores, a baseline's name for baselines, else empty.
        method: How the interval was made: `wilson`, `t`, `paired t`, `newcombe`, `mover`, `bootstrap`, or `none`.
    """

    split: str
    name: str
    value: float
    low: float
    high: float
    n: int
    subject: str = ""
    method: str = ""


# ---------------------------------------------------------------- what is expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a backbone is expected to be worth before anything is run, on the scale of ImageNet top-1 accuracy.

    Attributes:
        name: `source:preset`.
        value: Its published figure, moved by how it did in this user's own runs.
        low: Lower end of the 95 % interval.
        high: Upper end.
        runs: How many of the user's own runs measured it.
        why: One sentence.
        known: Whether a figure or a run of the user's own speaks of it; else `value` is that of the weakest.
    """

    name: str
    value: float
    low: float
    high: float
    runs: int
    why: str
    known: bool = True

    @property
    def merit(self) -> float:
        """What it is compared by: NaN where nothing is known, so that no unknown network is best by prior."""
        return self.value if self.known else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The accuracy that a run is expected to hand over.

    Attributes:
        phase: `before` anything was spent, or `probed`: the frozen probe is measured, networks are not trained yet.
        name: `accuracy` or `balanced_accuracy`.
        value: The middle of what is expected.
        low: Lower end of the 95 % interval of the score that will be measured.
        high: Upper end.
        rests_on: What it rests on, one clause each.
    """

    phase: str
    name: str
    value: float
    low: float
    high: float
    rests_on: tuple[str, ...]

    def holds(self, score: Score) -> bool:
        """Whether the interval holds what came out."""
        return self.low <= score.value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasts:
    """All forecasts of a run, and the score that came out; None before the end."""

    forecasts: tuple[Forecast, ...]
    outcome: Score | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeForecast:
    """The seconds that a run is expected to take; kept in `timings.json` alone.

    Attributes:
        phase: As in `Forecast`.
        planned_s: Reckoned from measured paces, counted operations and the budget; nothing is learnt from earlier runs.
        value_s: The middle of what is expected.
        low_s: Lower end of the 95 % interval.
        high_s: Upper end.
        taken_s: What it took up to the report; NaN before the end, and where it was done in several goes.
    """

    phase: str
    planned_s: float
    value_s: float
    low_s: float
    high_s: float
    taken_s: float = math.nan


# ---------------------------------------------------------------- rank


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSimilarity:
    """How near a candidate's source is to the pictures; nothing here decides.

    What is None is not known, and `unknown` says why.

    Attributes:
        leep: What the source head's probabilities tell of the labels, at most 0 (Nguyen 2020).
        nce: What its likeliest class tells of them, at most 0 (Tran 2019).
        cka: Whether its probabilities and the labels call the same pictures alike, at most 1 (Kornblith 2019).
        frechet: Squared distance of source and target features over their variance, 0 for the same pictures.
        two_sample: How often a classifier tells source and target pictures apart (Lopez-Paz and Oquab 2017).
        unknown: Why values are missing; empty where none is, or nobody asked.
    """

    leep: float | None = None
    nce: float | None = None
    cka: float | None = None
    frechet: float | None = None
    two_sample: Score | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRow:
    """One candidate: a backbone at one depth, judged by probes on the same folds as all others.

    Attributes:
        candidate: `backbone@depth`.
        probe: The better of the linear probes: `logistic` or `ridge`; for a histogram `logistic`.
        scores: The metric, balanced accuracy and accuracy of `probe`, and each probe's metric (`knn_log_loss`, …).
        paired: Metric of this row minus the best row's, on the same pictures and folds; None where not comparable.
        status: `chosen`, `tied`, `beaten`, `screened_out` or `control`.
        rows_seen: Pictures it was judged on.
        flops: Of one picture through the trunk.
        seconds: Of the probes (embedding not counted).
        prior: Of the backbone.
        logme: Log evidence per picture (You 2021), rank-truncated.
        h_score: Shrunk H-score (Ibrahim 2022).
        over_random: Metric of the backbone's best depth minus that of its twin with random weights at the twin's best,
            on the pictures that the twin saw; None where there is no twin.
        beats_random: Whether the interval of that says that pre-training helps; None where there is no twin.
        likeness: Of its source and these pictures.
    """

    candidate: str
    backbone: str
    depth: str
    probe: str
    scores: tuple[Score, ...]
    paired: Score | None
    status: str
    rows_seen: int
    flops: int
    seconds: float
    prior: float
    logme: float
    h_score: float
    over_random: Score | None = None
    beats_random: bool | None = None
    likeness: SourceSimilarity = SourceSimilarity()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """All candidates, best first, and which one is taken and why.

    Attributes:
        best_by_probe: The candidate with the lowest mean loss.
        best_by_prior: The backbone of which most is expected before anything is measured; empty where nothing is known.
        prior_why: What that rests on.
    """

    metric: str
    rows: tuple[RankRow, ...]
    chosen: str
    why: str
    ties: tuple[str, ...]
    survivors: tuple[str, ...]  # backbones whose features of all pictures go on to adapt
    best_by_probe: str = ""
    best_by_prior: str = ""
    prior_why: str = ""


# ---------------------------------------------------------------- adapt


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One block of the head's input: a backbone at a depth."""

    backbone: str
    depth: str
    dim: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NameInitialization:
    """What the names of the classes say without any label: a baseline, and where a head may start.

    Attributes:
        feature: What it is on.
        weights: (D, C) float32 on that feature, much as the guesses; of no particular size.
        rows: (M,) int64 rows of the data set.
        similarities: (M, C) float32 of each picture with each name; the largest is the guess.
        how: A few words.
    """

    feature: Feature
    weights: np.ndarray
    rows: np.ndarray
    similarities: np.ndarray
    how: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedHead:
    """A head as plain arrays, so that the runtime can answer with numpy alone.

    Attributes:
        head: Name of the plugin that fitted it.
        kind: How `headstart.heads.saved_head` turns features into probabilities: `linear` or `neighbours`.
        params: What was tuned (`{"strength": 0.01}`) and fixed.
        arrays: For `linear`: `weights` (D, C) and `bias` (C,) float32 on the raw features, standardisation folded in.
            For `neighbours`: `points` (M, D) float32, standardised by `centre` (D,) and `scale` (D,), `labels` (M,)
            int64, `k` (), `vote` (C,) what a vote for each class counts, `prior` (C,) what is added to the votes.
        trainable_params: Numbers that were fitted.
    """

    head: str
    kind: str
    params: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    trainable_params: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRow:
    """One head on one set of features, judged on the same folds as all others."""

    head: str
    features: tuple[str, ...]  # candidates, `backbone@depth`
    params: Mapping[str, Any]
    scores: tuple[Score, ...]
    paired: Score | None
    status: str  # "chosen" | "tied" | "beaten"
    flops: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The chosen head's score when it learns from `n_train` pictures."""

    n_train: int
    score: Score


# ---------------------------------------------------------------- fine-tuning


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochScores:
    """What a network says of some pictures at the end of an epoch; the class scores are in the order of the classes."""

    log_loss: float
    accuracy: float
    balanced_accuracy: float
    precision: float  # macro
    recall: float  # macro
    class_precision: tuple[float, ...]
    class_recall: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """One epoch of one training.

    Attributes:
        epoch: From 1.
        rate: Learning rate of the head at the epoch's last step.
        loss: What was minimised, averaged over the steps.
        train: Running scores over the epoch's own batches, as they were seen (augmented, mixed, with dropout).
        val: On the held-out pictures at the end of the epoch, with the averaged weights where there are some; None
            when nothing was held out.
    """

    epoch: int
    rate: float
    loss: float
    train: EpochScores
    val: EpochScores | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLog:
    """One training from start to end.

    Attributes:
        name: `trial 3, fold 0`, `final`, `from random weights`.
        trial: Number of the trial whose recipe it follows, -1 for the random-weight baseline.
        recipe: With everything filled in.
        fold: Which fold was held out; -1 when none was.
        n_train: Pictures it learnt from.
        start: On the held-out pictures before the first step; None when nothing was held out.
        epochs: In order.
        best: The epoch whose weights count, 0 for the start; of a judged trial the one that all its folds share.
        stopped: Why it ended, one clause: `all 15 epochs`, `no gain in 4 epochs`, `pruned`, …
        trainable_params: Weights that moved.
        notes: Choices with their numbers: cached or full path, batch halved, rate found, …
    """

    name: str
    trial: int
    recipe: Recipe
    fold: int
    n_train: int
    start: EpochScores | None
    epochs: tuple[EpochRow, ...]
    best: int
    stopped: str
    trainable_params: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One recipe that was tried.

    Attributes:
        number: From 0, in the order of trying.
        recipe: With everything filled in.
        origin: `given`, `prior`, `search`, or the code of the model check whose advice it follows.
        folds: How many folds it was judged on.
        score: The job's metric on those folds' pictures; NaN value when it failed.
        paired: Metric of this trial minus the frozen probe's on the same pictures; None when it failed.
        status: `chosen`, `finalist`, `beaten`, `pruned` or `failed`.
        why: One clause.
    """

    number: int
    recipe: Recipe
    origin: str
    folds: int
    score: Score
    paired: Score | None
    status: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TunedNetwork:
    """A trained network as a trunk and a linear head, so that it is measured and exported as a probe is.

    Attributes:
        spec: Of the tuned trunk: `tuned:<backbone>` (`scratch:<backbone>` for random weights), its revision a digest of
            the weights, one depth `features`.
        backbone: The backbone it grew from.
        recipe: With everything filled in.
        file: The `keras.Model` from (B, H, W, 3) float32 RGB 0..255 to (B, C) probabilities, relative to the run.
        fitted: Linear head on the depth `features`.
        epochs: Epochs trained, to the weights that count.
        alpha: Part of the way from the first weights to the tuned ones (WiSE-FT).
        temperature: By which the logits were divided; folded into the head.
        soup: Numbers of the trials whose weights are averaged; one when there is no soup.
        trainable_params: Weights that moved.
        n_train: Pictures it learnt from.
        flops: Operations spent on training, forward and backward.
    """

    spec: BackboneSpec
    backbone: str
    recipe: Recipe
    file: str
    fitted: FittedHead
    epochs: int
    alpha: float
    temperature: float
    soup: tuple[int, ...]
    trainable_params: int
    n_train: int
    flops: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FineTuningResult:
    """All fine-tuning of a run.

    Attributes:
        trials: In the order of trying.
        logs: Of every fold of every trial, of the final training and of the random-weight baseline.
        outcomes: The model checks (`M2xx`) on the chosen recipe.
        network: The best recipe, trained on all of `train`; None when none could be trained.
        scratch: The same network from random weights; None when there was no time for it.
        taken: Whether the paired rule takes the network instead of the frozen probe.
        why: One sentence.
        rows: (M,) int64 pictures that judged both.
        probabilities: (M, C) float32 the network's held-out probabilities for them.
        probe_probabilities: (M, C) float32 the probe's for the same pictures.
        left_out: What the budget had no room for, one sentence each.
        nested: Scores of the whole search by nested cross-validation, when it was asked for.
    """

    trials: tuple[Trial, ...]
    logs: tuple[TrainingLog, ...]
    outcomes: tuple[Outcome, ...]
    network: TunedNetwork | None
    scratch: TunedNetwork | None
    taken: bool
    why: str
    rows: np.ndarray
    probabilities: np.ndarray
    probe_probabilities: np.ndarray
    left_out: tuple[str, ...] = ()
    nested: tuple[Score, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingInput:
    """What a model check may look at: the trainings of one recipe, one a fold.

    Attributes:
        logs: Those with held-out scores.
        class_names: C names.
        majority: Share of the most frequent class among the training pictures.
        probe: The frozen probe's scores on the held-out pictures of the same folds.
        overlap: Held-out pictures that look like one the network learnt from (clusters that straddle), counted.
    """

    logs: tuple[TrainingLog, ...]
    class_names: tuple[str, ...]
    majority: float
    probe: EpochScores
    overlap: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a model check says, and the recipe fields that it would change (absolute values)."""

    outcome: Outcome
    change: Mapping[str, Any] = field(default_factory=dict)


class ModelCheck(Protocol):
    """A file in `headstart.finetuning.checks`: `PLUGIN` has these attributes and is called."""

    code: str
    name: str

    def __call__(self, given: TrainingInput) -> Diagnosis:
        """Look at the curves and say how it ended."""
        ...


# ---------------------------------------------------------------- adapt, its result


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """How sure the model may say that it is; fitted before anything is judged.

    Attributes:
        temperature: By which log probabilities are divided (Guo 2017); 1 leaves them as they are.
        before: Log loss of the held-out predictions as they are.
        after: The same, each picture tempered by what other pictures say.
        n: Pictures with held-out predictions.
        why: One sentence.
    """

    temperature: float
    before: float
    after: float
    n: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitResult:
    """The head that won, fitted on all of `train`, and what was held out on the way.

    Attributes:
        strategy: `probe`, or the strategy of the recipe that beat it.
        features: The head's input, concatenated in this order.
        fitted: The head.
        tried: All heads tried, best first.
        why: One sentence.
        cv_rows: (M,) int64 rows with held-out predictions.
        cv_probabilities: (M, C) float32, the mean over repeats of the held-out probabilities.
        train_probabilities: (M, C) float32 of the final head on its own training rows `splits.train`.
        nested: Scores by nested cross-validation when there is no test split, else empty.
        curve: The learning curve of the frozen probe so far.
        tuning: All fine-tuning; None when none was asked for.
        calibrated: How sure the model may say that it is; None in a run of before there was any. The probabilities
            here are as the head says them, all that is measured and answered is tempered.
    """

    strategy: str
    features: tuple[Feature, ...]
    fitted: FittedHead
    tried: tuple[HeadRow, ...]
    why: str
    cv_rows: np.ndarray
    cv_probabilities: np.ndarray
    train_probabilities: np.ndarray
    nested: tuple[Score, ...]
    curve: tuple[CurvePoint, ...]
    tuning: FineTuningResult | None = None
    calibrated: Calibrated | None = None

    @property
    def temperature(self) -> float:
        """By which log probabilities are divided."""
        return self.calibrated.temperature if self.calibrated else 1.0


# ---------------------------------------------------------------- evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer in words to a question the user has: `transfer`, `overfitting`, `enough_data`, `headline`, …"""

    code: str
    answer: str  # "yes" | "no" | "unclear"
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationBin:
    """Pictures whose top probability falls into one bin."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRow:
    """One line of the table "did it pay": a model and how far its accuracy is from the frozen probe's.

    Attributes:
        name: `majority class`, `colour histogram`, `frozen probe`, `fine-tuned` or `from random weights`.
        scores: Accuracy, balanced accuracy and log loss, all rows on the same pictures.
        difference: Accuracy minus the frozen probe's, picture by picture, bootstrapped by cluster; None for itself.
        n_train: Pictures it learnt from.
        trained: Weights that were fitted.
    """

    name: str
    scores: tuple[Score, ...]
    difference: Score | None
    n_train: int
    trained: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """The measured model.

    Attributes:
        split: Which split the headline is of: `test`, `val`, or `cv` when nothing could be held out.
        scores: All splits' scores of the model; per class with `subject`.
        baselines: The same metrics of the baselines; `subject` names them.
        confusion: (C, C) int64, true class by answered class, on `split`.
        rows: (M,) int64 rows judged in `split`.
        probabilities: (M, C) float32 for `rows`.
        calibration: Reliability bins on `split`.
        suspects: (P,) int64 rows whose label the held-out predictions doubt most, worst first: candidates only.
        threshold: Probability of the positive class above which it is answered; None without `positive`.
        verdicts: In words.
        paid: Did fine-tuning and pre-training pay; empty without fine-tuning.
    """

    split: str
    scores: tuple[Score, ...]
    baselines: tuple[Score, ...]
    confusion: np.ndarray
    rows: np.ndarray
    probabilities: np.ndarray
    calibration: tuple[CalibrationBin, ...]
    suspects: np.ndarray
    threshold: float | None
    verdicts: tuple[Verdict, ...]
    paid: tuple[AblationRow, ...] = ()


# ---------------------------------------------------------------- doubt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OodDetector:
    """How the strangeness of a picture is measured.

    Attributes:
        method: One of `headstart.uncertainty.ood_detection.METHODS`.
        neighbour: Which nearest reference tells the distance.
        limit: Distance beyond which a picture is unknown.
        familiar: Share of known pictures that lie within, as promised.
        arrays: What `headstart.uncertainty.ood_detection.distances` takes, and `known` (K,) float32 sorted distances
        of held-out
            pictures of the known classes.
        tried: Mean area under the ROC curve by which pictures of a class that was hidden are told, a method each.
    """

    method: str
    neighbour: int
    limit: float
    familiar: float
    arrays: Mapping[str, np.ndarray]
    tried: tuple[Score, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UncertaintyReport:
    """When the model should not be believed, and how well that is told.

    Attributes:
        coverage: Share of pictures whose true class shall be among the plausible ones, as asked for.
        promise: The share that theory guarantees, 0 for none.
        score: One of `headstart.uncertainty.conformal.SCORES`.
        by_class: Whether the promise is kept in each class rather than on average.
        thresholds: (C,) float64 of the score; infinity makes the class always plausible.
        floors: (C,) float64; where no class keeps its floor, no class is plausible.
        kept: Share of known pictures, at least, whose true class keeps its floor.
        n: Pictures that set the thresholds, one of each cluster of look-alikes.
        split: Where these are from: `test`, `val` or `cv`.
        why: One sentence on how the promise is kept.
        novelty: None where the training pictures are too few.
        scores: `ece`, `log_loss` and `brier` with the subjects `before` and `after`; `coverage`, `set_size`,
            `singletons` and `empty_sets`; `unknown`, the share declined, of known pictures and with the subject of
            foreign ones; `novelty_auc` of these and of hidden classes.
        before: Reliability bins without temperature.
        after: Reliability bins with it.
    """

    coverage: float
    promise: float
    score: str
    by_class: bool
    thresholds: np.ndarray
    floors: np.ndarray
    kept: float
    n: int
    split: str
    why: str
    novelty: OodDetector | None
    scores: tuple[Score, ...]
    before: tuple[CalibrationBin, ...]
    after: tuple[CalibrationBin, ...]


# ---------------------------------------------------------------- answers


UNKNOWN = "unknown"  # the answer where the model says that it does not know; `Prediction.unknown` tells for sure


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One answer, with its doubt.

    Attributes:
        uri: The file, or the name under which the picture came.
        answer: A class; `unknown` where the model does not know; empty where the file could not be read.
        probabilities: Class -> calibrated probability.
        error: Why the file could not be read, else empty.
        likeliest: The class that would be answered if something had to be; empty where the file could not be read.
        plausible: Classes of the prediction set that holds the true one with the promised coverage, the likeliest
            first; empty where the model promises nothing, or where no class is plausible.
        novelty: 0..1, share of known pictures that look more familiar than this one; None where it is not measured.
        unknown: Whether the model declines to answer.
        reasons: Why it does, a sentence each.
    """

    uri: str
    answer: str
    probabilities: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    likeliest: str = ""
    plausible: tuple[str, ...] = ()
    novelty: float | None = None
    unknown: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotPrediction:
    """One answer without labels, which nothing has measured.

    Attributes:
        uri: The picture.
        answer: The class whose name is nearest; empty when the file could not be read.
        cosines: Class -> cosine, -1..1, of its name with what the source classifier sees; the nearest first. Of a
            network that learnt pictures and texts together, of its texts with the picture.
        seen: The source classifier's likeliest classes -> probability, the likeliest first; else empty.
        scores: Class -> 0..1, what a network that learnt pictures and texts together makes of the cosines; else empty.
        error: Why the file could not be read, else empty.
    """

    uri: str
    answer: str
    cosines: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    seen: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A model on disk in one format, compared with the run it came from."""

    format: str
    path: str
    bytes: int
    precision: str
    parity_max_abs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyChange:
    """What a precision costs: accuracy before and after on the same pictures, and the paired difference.

    Attributes:
        before: Share of right answers of the run's model; `unknown` is none.
        after: Of the export.
        change: `after - before`.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: Pictures.
    """

    before: float
    after: float
    change: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A model in one format, as its own runtime answered in a process of its own.

    Attributes:
        format: `keras`, `saved_model`, `onnx`, `openvino` or `litert`.
        precision: `f32`, `f16` or `int8`.
        path: Its folder.
        bytes: Of the model's own files.
        files: Path below the folder -> SHA-256, of all that was written.
        compared: Pictures on which it was compared with the run's model.
        compared_on: Which they are: `test`, `val`, `train` of the run, or `data`, pictures that were named for it.
        parity_max_abs: Largest difference of a probability.
        novelty_max_abs: Largest difference of a novelty; None where it is not in the graph.
        label_agreement: Share of the pictures with the same answer, `unknown` being one.
        p50_ms: Median time of the graph for one picture.
        p95_ms: 95 % are faster.
        accuracy: What the precision costs; None in f32, and where the pictures have no labels.
        versions: Package -> version, of what made it and of what it was run by.
        left_out: What the model has and the graph has not, with the reason.
    """

    format: str
    precision: str
    path: str
    bytes: int
    files: Mapping[str, str]
    compared: int
    compared_on: str
    parity_max_abs: float
    novelty_max_abs: float | None
    label_agreement: float
    p50_ms: float
    p95_ms: float
    accuracy: AccuracyChange | None
    versions: Mapping[str, str]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a job will take, and what that rests on."""

    seconds: float
    bytes: int
    assumptions: tuple[str, ...]


# ---------------------------------------------------------------- explain


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRow:
    """A held-out picture with a heat map in the run folder.

    Attributes:
        row: The picture.
        group: What it is an example of: `right, most sure`, …
        answer: What the model answers.
        class_name: The class that the map speaks of.
        confidence: Probability of that class.
        file: The picture with its heat map, in the stage's folder.
        neighbours: Rows of the training pictures most like it, the likest first.
        similarities: Their cosines.
    """

    row: int
    group: str
    answer: str
    class_name: str
    confidence: float
    file: str
    neighbours: tuple[int, ...]
    similarities: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What a run keeps to explain its answers by.

    Attributes:
        method: How heat maps of this model are made: `cam` or `occlusion`.
        why: Why so, in a sentence.
        kept: Training pictures kept to compare with.
        bytes: Size of what is kept.
        prototypes: Class -> rows of the pictures that stand for it, the best first.
        maps: Held-out pictures with their heat maps.
        left_out: Why there are no heat maps, else empty.
    """

    method: str
    why: str
    kept: int
    bytes: int
    prototypes: Mapping[str, tuple[int, ...]]
    maps: tuple[MapRow, ...]
    left_out: str = ""


# ---------------------------------------------------------------- plugins


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuditInput:
    """What a data check may look at.

    Attributes:
        data: The data set.
        folds: Folds that cross-validation wants: every class needs at least this many pictures.
        vectors: (M, D) float32 features of the cheapest backbone, in the order of `rows`; None before embed.
        rows: (M,) int64; None before embed.
    """

    data: Dataset
    folds: int
    vectors: np.ndarray | None = None
    rows: np.ndarray | None = None


class DataCheck(Protocol):
    """A file in `headstart.data.checks`: `PLUGIN` has these attributes and is called."""

    code: str
    name: str
    phase: str  # "files" | "vectors"

    def __call__(self, given: AuditInput) -> Outcome:
        """Look at the data and say how it ended."""
        ...


class BackboneSource(Protocol):
    """A file in `headstart.backbones`. Everything but `build` answers without importing a framework."""

    name: str
    cannot: Mapping[str, str]

    def presets(self) -> tuple[str, ...]:
        """Names without the source's prefix."""
        ...

    def spec(self, preset: str) -> BackboneSpec:
        """What is known of a preset; raises UsageError with the nearest names."""
        ...

    def available(self, preset: str, store: Store) -> bool:
        """Whether `build` would work without any download."""
        ...

    def pull(self, preset: str, store: Store, console: Any) -> Path:
        """Bring the weights into the store and return their file; raises SetupError."""
        ...

    def build(self, preset: str, store: Store, *, seed: int | None = None) -> Any:
        """A frozen `keras.Model`.

        Input (B, H, W, 3) float32 RGB 0..255; a list of outputs, one (B, D) for each of `spec.depths` in order,
        scaling and pooling inside the graph. With `seed`, random weights of the same architecture instead.
        """
        ...


class OpeningSource(Protocol):
    """What a `BackboneSource` may have besides: names that `presets` cannot list, such as a path."""

    def opens(self, preset: str, console: Any, *, fetching: bool = False) -> str:
        """The preset under which it is known from now on, empty for what the source does not know.

        Whatever `build` needs is in the cache afterwards; without `fetching` only what is on this machine is opened.
        Raises UsageError for what it knows and cannot open.
        """
        ...

    def learnt_from(self, preset: str) -> frozenset[str]:
        """SHA-256 digests of the pictures it is known to have learnt from; `fit` warns where it is measured on them."""
        ...

    def past(self, preset: str, store: Store) -> Any:
        """Its own head and vectors of some of the pictures it learnt from, as a
        `headstart.backbones.earlier_runs.source_task.SourceTask`."""
        ...


class OwnSource(Protocol):
    """What a `BackboneSource` may have besides: backbones that the user brought, which may have learnt from anything.

    `auto` takes none of them, a preset's name alone means the other sources' first, and a run that goes on refuses one
    whose revision has changed.
    """

    own: bool


class FrozenSource(Protocol):
    """What a `BackboneSource` may have besides: presets that are a graph for OpenVINO and no `keras.Model`."""

    def frozen(self, preset: str) -> str:
        """Why a preset can neither be fine-tuned nor have a random twin; empty where `build` works."""
        ...

    def convert(self, preset: str, store: Store, pictures: np.ndarray, folder: Path) -> None:
        """Write a frozen preset as `trunk.xml`, `trunk.bin` and `parity.json`.

        The graph takes (1, H, W, 3) uint8 RGB and gives one (1, D) float32 output for each of `spec.depths`, scaling
        and pooling inside; `pictures` (n, H, W, 3) uint8 are real ones, for a proof that its numbers are right.
        """
        ...


class TextSource(Protocol):
    """What a `BackboneSource` may have besides: networks that learnt pictures and texts together."""

    def text_folder(self, preset: str, store: Store) -> Path | None:
        """The preset as KerasHub opens it, text tower and tokenizer in it; None where it has none.

        The trunk's depth `last` is then the picture's vector in the space of texts.
        """
        ...


class Head(Protocol):
    """A file in `headstart.heads`."""

    name: str
    cannot: Mapping[str, str]

    def grid(self, n_train: int, dim: int, n_classes: int) -> Sequence[Mapping[str, Any]]:
        """Settings to try, from the strongest to the weakest regularisation; one entry means nothing to tune."""
        ...

    def path(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        n_classes: int,
        params: Sequence[Mapping[str, Any]],
        class_weight: np.ndarray | None,
        seed: int,
    ) -> Iterator[FittedHead]:
        """Fit one head for each of `params`, in their order, sharing work (a decomposition, a warm start).

        Args:
            x: (M, D) float32 raw features.
            y: (M,) int64 in 0..C-1; a class may be missing.
            n_classes: C.
            params: Entries of `grid`.
            class_weight: (C,) float64 or None.
            seed: For what is drawn.
        """
        ...


class StartingHead(Protocol):
    """What a `Head` may have besides: it can start from weights that something else knows of the classes."""

    def starting(self, weights: np.ndarray) -> Head:
        """The same head, drawn towards a multiple of `weights`, (D, C) on raw features, chosen from the pictures."""
        ...


class Command(Protocol):
    """A file in `headstart.cli`: its docstring's first line is its help."""

    name: str

    def configure(self, parser: Any) -> None:
        """Add the command's options."""
        ...

    def __call__(self, args: Any) -> int:
        """Run and return the exit code."""
        ...
