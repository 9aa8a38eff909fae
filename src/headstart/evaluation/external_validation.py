"""Judge a saved model on other labelled pictures: nothing is trained, every file is accounted for and read once.

The model answers as it would for `predict`, its own threshold or costs included.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.console import Console, Progress
from headstart.core.errors import DataError, UsageError, format_nearest
from headstart.core.job import Job, format_flag
from headstart.core.run.reader import RunReader
from headstart.core.storage.files import format_printable
from headstart.core.storage.locations.names import is_remote, split_archive
from headstart.core.types import (
    NO_ADAPTATION,
    OWN_RANGES,
    PRESENT,
    AnswerLayout,
    DomainAdaptation,
    PixelRanges,
    Score,
    Splits,
    TargetDomain,
    Task,
)
from headstart.core.types.domain import TRAINED_METHODS
from headstart.data.check_base import format_names
from headstart.data.duplicates.copy_detection import match_pictures
from headstart.data.reading.folder_layout import find_judged_folder, is_unlabelled
from headstart.data.reading.label_texts import parse_number
from headstart.data.reading.records import FOLDERS, Listing, find_used_reader
from headstart.evaluation import baselines
from headstart.evaluation.held_out_scores import JudgedSplit, format_absent_classes
from headstart.evaluation.verdicts import format_interval, format_score_name, list_main_scores
from headstart.images.descriptors import ImageDescriptors, describe_picture
from headstart.images.file_formats import has_picture_suffix
from headstart.runtime import model as runtime
from headstart.runtime.inputs.decoded_batches import Chunk, Content, walk_paths
from headstart.statistics import metrics
from headstart.statistics.intervals import make_score, make_share_score, mean_interval
from headstart.uncertainty import label_sets
from headstart.uncertainty.conformal import size_interval
from headstart.uncertainty.coverage import HeldOutPredictions

_NO_PICTURE = "not a picture in a class folder"
_NO_LABEL = "it has no label"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExternalValidation:
    """A model's scores on other pictures."""

    scores: tuple[Score, ...]
    baselines: tuple[Score, ...]  # of always giving one answer, by the pictures learnt from; none of a bare model
    class_names: tuple[str, ...]  # C names, or what the number measures
    confusion: np.ndarray  # (C, C) int64, true class by answered class; empty for numbers and labels
    excused: tuple[tuple[str, str], ...]  # files that were not judged, with the reason
    absent: tuple[str, ...]  # classes or labels without a judged picture: averages over them are of the others
    learnt_from: int = 0  # pictures with the bytes of one that the model learnt from; 0 of a bare model
    look_alikes: int = 0  # others that look like one, such as the same picture saved again


@dataclass(frozen=True, slots=True, eq=False)
class _FingerprintedPicture(Content):
    """A picture that is described when the model reads it, to be known again among those that it learnt from."""

    ranges: PixelRanges = OWN_RANGES
    fingerprints: dict[str, tuple[str, ImageDescriptors]] = field(default_factory=dict)

    def read_bytes(self) -> bytes:
        content = Content.read_bytes(self)
        self.fingerprints[self.name] = hashlib.sha256(content).hexdigest(), describe_picture(content, self.ranges)
        return content


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answers:
    """What a model says of M pictures; where it makes no promise, `sets` and `unknown` are (M, 0)."""

    p: np.ndarray  # (M, C) float32
    answers: np.ndarray  # (M,) int64; labels (M, C) bool
    sets: np.ndarray  # (M, C) bool, of labels (M, C, 2): absent and present; or (M, 2) float64 ends of intervals
    unknown: np.ndarray  # (M, 1) bool, whether it declines


def validate_externally(
    model: Path, folder: Path | str, *, job: Job | None = None, console: Console
) -> ExternalValidation:
    """Score a saved model on pictures in any form that is read; `job` says how.

    A run knows what it learnt from: copies of that are counted, by the rule of the audit's near-duplicates, which
    misses cropped ones; and always giving one answer is scored.

    Raises:
        DataError: There is no picture, or a label that the model does not know.
    """
    runtime_model = runtime.load(model)
    layout, task = runtime_model.layout, runtime_model.layout.task
    files, y, excused = read_labelled_pictures(folder, layout, job)
    reader = RunReader(model)
    splits, fingerprints = reader.find(Splits), dict[str, tuple[str, ImageDescriptors]]()
    if splits is not None:
        ranges = reader.dataset.reading.ranges
        files = [_FingerprintedPicture(file.name, file.content, ranges, fingerprints) for file in files]
    with console.show_progress("evaluate", len(files)) as progress:
        positions, answers, errors = _collect_answers(runtime_model, files, progress)
    excused += [(_relative_name(str(folder), name), why) for name, why in errors]
    if answers is None:
        place = format_printable(str(folder))
        raise DataError(f"none of the {len(files):,} pictures in `{place}` can be read", where=str(folder))
    rows = np.arange(len(positions))
    judged = JudgedSplit(
        split="test", rows=rows, y=y[positions], p=answers.p, answers=answers.answers, clusters=rows, task=task
    )
    scores, constants, is_copy, is_alike = (
        judged.compute_scores(layout.names, seed=0),
        list[Score](),
        rows[:0],
        rows[:0],
    )
    if answers.sets.size:
        scores += tuple(_score_uncertainty(judged, answers, layout.names))
    if splits is not None:
        p_constant = baselines.answer_constantly(len(rows), splits.train, reader.dataset)
        constants = baselines.score_baseline(judged, p_constant, baselines.name_constant(task), seed=0)
        digests, facts = zip(*(fingerprints[files[at].name] for at in positions), strict=True)
        is_copy, is_alike = _match_learnt_pictures(reader, splits, digests, facts)
    confusion, counts = np.zeros((0, 0), np.int64), judged.y.sum(axis=0) if task.has_labels else rows[:0]
    if task.has_classes:
        confusion = metrics.confusion_matrix(judged.y, judged.answers, len(layout.names))
        counts = confusion.sum(axis=1)
    validation = ExternalValidation(
        scores=scores,
        baselines=tuple(constants),
        class_names=layout.names,
        confusion=confusion,
        excused=tuple(excused),
        absent=tuple(name for name, count in zip(layout.names, counts, strict=False) if not count),
        learnt_from=int(is_copy.sum()),
        look_alikes=int(is_alike.sum()),
    )
    _print_summary(validation, task, console)
    return validation


def _match_learnt_pictures(
    reader: RunReader, splits: Splits, digests: Sequence[str], facts: Sequence[ImageDescriptors]
) -> tuple[np.ndarray, np.ndarray]:
    """(M,) bool, copies of what the model learnt from and what only looks like it; labels of a new domain count too."""
    is_copy, is_alike = match_pictures(reader.dataset, splits.train, digests, facts)
    target, adaptation = reader.find(TargetDomain), reader.find(DomainAdaptation)
    if reader.job.target_labels != "learn" or target is None or adaptation is None:
        return is_copy, is_alike
    if adaptation.method in (NO_ADAPTATION, *TRAINED_METHODS):  # these learn from no label of it
        return is_copy, is_alike
    of_target = match_pictures(target.pictures, target.labelled, digests, facts)
    is_copy = is_copy | of_target[0]
    return is_copy, (is_alike | of_target[1]) & ~is_copy


def _collect_answers(
    model: runtime.Model, files: Sequence[Content], progress: Progress
) -> tuple[list[int], _Answers | None, list[tuple[str, str]]]:
    """Positions of the files that could be read, their answers, None without any; the others with the reason."""
    positions, parts, errors, start = list[int](), list[_Answers](), list[tuple[str, str]](), 0
    for chunk in model.extract_features(iter(files)):
        readable = [at for at in range(len(chunk.files)) if at not in chunk.errors]
        errors += [(str(chunk.files[at]), why) for at, why in sorted(chunk.errors.items())]
        if readable:
            parts.append(_answer_chunk(model, chunk, readable))
        positions += [start + at for at in readable]
        start += len(chunk.files)
        progress.count_done(len(chunk.files))
    names = ("p", "answers", "sets", "unknown")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names} if parts else {}
    return positions, _Answers(**columns) if parts else None, errors


def _answer_chunk(model: runtime.Model, chunk: Chunk, readable: Sequence[int]) -> _Answers:
    predictions, names, task = model.predict_chunk(chunk), model.class_names, model.layout.task
    rows = [predictions[at] for at in readable]
    p = np.array([[row.probabilities[name] for name in names] for row in rows], np.float32)
    if model.manifest.doubt is None:
        sets = unknown = np.zeros((len(rows), 0), bool)
    else:
        unknown = np.array([[row.unknown] for row in rows])
        if task.is_number:
            sets = np.array([[row.low, row.high] for row in rows], np.float64)
        else:
            sets = _mark_names([row.plausible for row in rows], names)
        if task.has_labels:
            is_open = _mark_names([row.open for row in rows], names)
            sets = np.stack([~sets | is_open, sets], axis=2)
    return _Answers(
        p=p, answers=p >= PRESENT if task.has_labels else model.choose_classes(p), sets=sets, unknown=unknown
    )


def _score_uncertainty(judged: JudgedSplit, answers: _Answers, names: tuple[str, ...]) -> Iterator[Score]:
    """How the model's promise is kept here, and how often it declines."""
    if judged.task.has_labels:
        yield from _score_label_sets(judged, answers, names)
    else:
        yield from _score_sets(judged, answers, names) if judged.task.has_classes else _score_intervals(judged, answers)


def _score_label_sets(judged: JudgedSplit, answers: _Answers, names: tuple[str, ...]) -> Iterator[Score]:
    fold = np.zeros(len(judged.y), np.int64)
    predictions = HeldOutPredictions(
        split="test", rows=judged.rows, y=judged.y, p=judged.p, answers=judged.answers, fold=fold
    )
    hits = np.take_along_axis(answers.sets, judged.y.astype(np.int64)[:, :, None], axis=2)[:, :, 0]
    outcomes = label_sets.LabelOutcomes(hits=hits, open=np.all(answers.sets, axis=2))
    yield from label_sets.score_label_sets(predictions, outcomes, names)
    yield make_share_score("unknown", "test", answers.unknown[:, 0])


def _score_sets(judged: JudgedSplit, answers: _Answers, names: tuple[str, ...]) -> Iterator[Score]:
    """Over all classes, then in each."""
    hits, sizes = answers.sets[np.arange(len(judged.y)), judged.y], answers.sets.sum(axis=1)
    for c, subject in ((None, ""), *enumerate(names)):
        of_class = np.full(len(hits), True) if c is None else judged.y == c
        shares = {"coverage": hits, "singletons": sizes == 1, "unknown": answers.unknown[:, 0]}
        for name, values in shares.items():
            yield make_share_score(name, "test", values[of_class], subject)
        interval = size_interval(sizes[of_class], len(names))
        yield make_score("set_size", "test", interval, int(of_class.sum()), subject=subject, method="t")


def _score_intervals(judged: JudgedSplit, answers: _Answers) -> Iterator[Score]:
    low, high = answers.sets.T
    yield make_share_score("coverage", "test", (low <= judged.y) & (judged.y <= high))
    yield make_share_score("unknown", "test", answers.unknown[:, 0])
    if np.isfinite(answers.sets).all():
        yield make_score("interval_width", "test", mean_interval(high - low), len(judged.y), method="t")


def _print_summary(validation: ExternalValidation, task: Task, console: Console) -> None:
    by_name = {score.name: score for score in reversed(validation.scores) if not score.subject}
    main, other = list_main_scores(task)
    outcome = "class in the prediction set" if task.has_classes else "number in the interval"
    words = {
        main: format_score_name(main),
        other: format_score_name(other),
        "coverage": f"true {'state of each label in its set' if task.has_labels else outcome}",
        "open_labels": "labels that stay open",
        "unknown": "declined as unknown",
    }
    parts = [f"{text} {format_interval(by_name[name])}" for name, text in words.items() if name in by_name]
    parts[0] += f" (n = {by_name[main].n:,})"
    parts += [f"{score.subject} {score.value:.3f}" for score in validation.baselines if score.name == main]
    parts += [f"{len(validation.excused):,} files skipped"] if validation.excused else []
    console.print_line("evaluate", ", ".join(parts))
    if validation.absent:
        others = "labels" if task.has_labels else "classes"
        scored = f"{'mean' if task.has_labels else 'balanced accuracy'} and macro scores are of the other {others}"
        console.print_warning(f"{format_absent_classes(validation.absent)}: {scored}")
    if validation.learnt_from or validation.look_alikes:
        console.print_warning(
            f"the model learnt from {validation.learnt_from:,} of these pictures, and {validation.look_alikes:,} "
            "others look like one that it learnt from: the scores are too good"
        )


def read_labelled_pictures(
    folder: Path | str, layout: AnswerLayout, job: Job | None = None
) -> tuple[list[Content], np.ndarray, list[tuple[str, str]]]:
    """Pictures in any form that is read, in sorted order, with their targets, and files and rows that are not used.

    Where splits are given, `test` is taken, or `val` where there is no `test`. `job` says how a table is read. Targets
    are (M,) int64 positions in the names of `layout`, (M, C) bool labels, or (M,) float64 numbers.

    Raises:
        DataError: There is no picture, or a label that a model of this layout does not know.
        UsageError: Columns of labels are named, and one of the model's labels has none.
    """
    as_learnt: Any = layout.task.name
    job = replace(job or Job(data=str(folder)), task=as_learnt)
    columns = {name.strip() for name in job.target.split(",")}
    if layout.task.has_labels and len(columns) > 1 and (missing := [n for n in layout.names if n not in columns]):
        what = f"the labels {format_names(missing)} of the model are in no column that is named"
        raise UsageError(what, where=format_flag("target"), hint=f"--target {','.join(layout.names)}")
    reader = find_used_reader(job)
    if reader.name != FOLDERS:
        return _read_listing(reader.list_pictures(job.data, job, frozenset()), job.data, layout)
    if is_remote(job.data) or split_archive(job.data):
        listing = reader.list_pictures(job.data, job, frozenset())
        no_pictures = [uri for uri in listing.uris if not has_picture_suffix(uri)]
        listing.uris = sorted(set(listing.uris) - set(no_pictures))
        files, targets, excused = _read_listing(listing, job.data, layout)
        return files, targets, excused + [(format_printable(uri), _NO_PICTURE) for uri in no_pictures]
    return _read_folders(Path(folder), layout)


def _read_folders(folder: Path, layout: AnswerLayout) -> tuple[list[Content], np.ndarray, list[tuple[str, str]]]:
    """Unlike in `fit`, one class is enough, and a folder of another name without pictures does no harm."""
    if not folder.is_dir():
        hint = "give the folder that holds one sub-folder a class"
        raise DataError(f"there is no folder `{format_printable(str(folder))}`", hint=hint)
    root = find_judged_folder(folder, layout.names)
    places = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    places = [place for place in places if place.name in layout.names or not is_unlabelled(place.name)]
    paths = {place: list(walk_paths([place])) for place in places}
    pictures = [path for below in paths.values() for path in below]
    targets = _parse_targets([(p, (p.name,)) for p in places if paths[p] or not pictures], layout)
    if not pictures:
        hint = f"one sub-folder a class is needed: {', '.join(layout.names)}"
        raise DataError(f"there is no picture in a sub-folder of `{format_printable(str(root))}`", hint=hint)
    others = sorted({p for p in root.rglob("*") if p.is_file()} - set(pictures))
    excused = [(_relative_name(str(folder), str(p)), _NO_PICTURE) for p in others]
    counts = [len(below) for below in paths.values() if below]
    return [Content(str(path), path) for path in pictures], np.repeat(targets, counts, axis=0), excused


def _read_listing(
    listing: Listing, source: str, layout: AnswerLayout
) -> tuple[list[Content], np.ndarray, list[tuple[str, str]]]:
    labelling = listing.label_pictures(listing.uris, listing.skipped)
    splits = {record.split for record in labelling.records}
    judged = next((split for split in ("test", "val") if split in splits), None)
    records = [record for record in labelling.records if judged is None or record.split == judged]
    paths = [os.path.join(listing.root, record.uri) for record in records]  # noqa: PTH118 - no file system's
    targets = _parse_targets([(Path(source), record.labels) for record in records], layout)
    excused = [(format_printable(row.uri), f"{row.reason.replace('_', ' ')}: {row.detail}") for row in listing.skipped]
    excused += [(format_printable(uri), _NO_LABEL) for uri in labelling.unlabelled]
    return [Content(path, path) for path in paths], targets, excused


def _parse_targets(labels: Sequence[tuple[Path, tuple[str, ...]]], layout: AnswerLayout) -> np.ndarray:
    """Targets (M,), or labels (M, C), of labels as texts, each with where they are from; an empty text says of none."""
    known = {name: position for position, name in enumerate(layout.names)}
    parse: Callable[[str], float | None] = parse_number if layout.is_number else known.get
    wrong = {text: place for place, texts in labels for text in texts if text and parse(text) is None}
    if wrong:
        text, place = next(iter(wrong.items()))
        word = "label" if layout.task.has_labels else "class"
        what, hint = f"the model has no {word} `{format_printable(text)}`", format_nearest(text, layout.names)
        hint = hint or f"the model knows {', '.join(layout.names)}"
        if layout.is_number:
            hint = "name the column of numbers with --target"
            what = f"`{format_printable(text)}` is no number, and the model answers with one, `{layout.names[0]}`"
        more = f", nor {len(wrong) - 1:,} more of these labels" if len(wrong) > 1 else ""
        raise DataError(what + more, where=format_printable(str(place)), hint=hint)
    if layout.task.has_labels:
        return _mark_names([texts for _, texts in labels], layout.names)
    return np.array([parse(texts[0]) for _, texts in labels], np.float64 if layout.is_number else np.int64)


def _mark_names(lists: Sequence[Sequence[str]], names: tuple[str, ...]) -> np.ndarray:
    """(M, C) bool, which of the names are in each list; a list may hold what is no name."""
    positions, marks = {name: position for position, name in enumerate(names)}, np.zeros((len(lists), len(names)), bool)
    for row, texts in enumerate(lists):
        marks[row, [positions[text] for text in texts if text in positions]] = True
    return marks


def _relative_name(data: str, file: str) -> str:
    base = data if is_remote(data) or split_archive(data) or Path(data).is_dir() else os.path.dirname(data)  # noqa: PTH120
    return format_printable(file.removeprefix(f"{base.rstrip('/')}/"))
