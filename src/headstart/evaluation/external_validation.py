"""Judge a saved model on another labelled folder: nothing is trained, every file is accounted for.

The model answers as it would for `predict`, its own threshold or costs included.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from headstart.core.console import Console
from headstart.core.errors import DataError, UsageError, format_nearest
from headstart.core.job import Job
from headstart.core.run.reader import RunReader
from headstart.core.settings import count_threads
from headstart.core.storage.files import format_printable
from headstart.core.storage.locations.names import is_remote, split_archive
from headstart.core.types import PixelRanges, Score, Splits
from headstart.data.duplicates.copy_detection import match_pictures
from headstart.data.reading.folder_layout import find_judged_folder
from headstart.data.reading.records import FOLDERS, Listing, find_used_reader
from headstart.evaluation.held_out_scores import format_absent_classes
from headstart.images.descriptors import ImageDescriptors, describe_picture
from headstart.images.file_formats import PictureError, has_picture_suffix
from headstart.images.preprocessing import read_bytes
from headstart.runtime import model as runtime
from headstart.runtime.inputs.decoded_batches import Content, Source, walk_paths
from headstart.statistics import metrics
from headstart.statistics.intervals import make_score, make_share_score
from headstart.uncertainty.conformal import size_interval

_NO_PICTURE = "not a picture in a class folder"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExternalValidation:
    """A model's scores on a folder."""

    scores: tuple[Score, ...]
    class_names: tuple[str, ...]  # C names
    confusion: np.ndarray  # (C, C) int64, true class by answered class
    excused: tuple[tuple[str, str], ...]  # files that were not judged, with the reason
    absent: tuple[str, ...]  # classes without a judged picture: balanced accuracy and macro scores are of the others


def validate_externally(
    model: Path, folder: Path | str, *, job: Job | None = None, console: Console
) -> ExternalValidation:
    """Score a saved model on class folders, also of an archive or a bucket, or a table that `job` says how to read.

    Raises:
        DataError: The folder has no picture, or a class that the model does not know.
    """
    runtime_model = runtime.load(model)
    require_classes(runtime_model)
    files, y, excused = read_labelled_folder(folder, runtime_model.class_names, job)
    p, answers, read, uncertainties = [], [], [], []
    with console.show_progress("evaluate", len(files)) as progress:
        start = 0
        for chunk in runtime_model.extract_features(iter(files)):
            readable = [i for i in range(len(chunk.files)) if i not in chunk.errors]
            errors = sorted(chunk.errors.items())
            excused += [(_relative_name(str(folder), str(chunk.files[i])), why) for i, why in errors]
            if readable:
                chunk_probabilities = runtime_model.predict_probabilities(chunk)
                p.append(chunk_probabilities[readable])
                answers.append(runtime_model.choose_classes(p[-1]))
                uncertainty = runtime_model.assess_uncertainty(chunk, chunk_probabilities)
                if uncertainty is not None:
                    uncertainties.append((uncertainty.plausible[readable], uncertainty.unknown[readable]))
                read += [start + i for i in readable]
            start += len(chunk.files)
            progress.count_done(len(chunk.files))
    if not read:
        place = format_printable(str(folder))
        raise DataError(f"none of the {len(files):,} pictures in `{place}` can be read", where=str(folder))
    names, truth, answered = runtime_model.class_names, y[read], np.concatenate(answers)
    scores = metrics.compute_scores(truth, np.concatenate(p), split="test", class_names=names, answers=answered)
    if uncertainties:
        plausible, unknown = (np.concatenate(parts) for parts in zip(*uncertainties, strict=True))
        scores += tuple(_score_uncertainty(truth, plausible, unknown, names))
    absent = tuple(name for c, name in enumerate(names) if c not in truth)
    _print_summary(scores, excused, console)
    if absent:
        scored = "balanced accuracy and macro scores are of the other classes"
        console.print_warning(f"{format_absent_classes(absent)}: {scored}")
    table = metrics.confusion_matrix(truth, answered, len(names))
    return ExternalValidation(scores=scores, class_names=names, confusion=table, excused=tuple(excused), absent=absent)


def _score_uncertainty(
    y: np.ndarray, plausible: np.ndarray, unknown: np.ndarray, names: tuple[str, ...]
) -> Iterator[Score]:
    """How the model's promise is kept here, and how often it declines: over all classes, then in each."""
    hits, sizes = plausible[np.arange(len(y)), y], plausible.sum(axis=1)
    for c, subject in ((None, ""), *enumerate(names)):
        of_class = np.full(len(y), True) if c is None else y == c
        shares = {"coverage": hits, "singletons": sizes == 1, "unknown": unknown}
        for name, values in shares.items():
            yield make_share_score(name, "test", values[of_class], subject)
        interval = size_interval(sizes[of_class], len(names))
        yield make_score("set_size", "test", interval, int(of_class.sum()), subject=subject, method="t")


def _print_summary(scores: tuple[Score, ...], excused: list[tuple[str, str]], console: Console) -> None:
    by_name = {score.name: score for score in scores if not score.subject}

    def format_score(name: str, label: str) -> str:
        score = by_name[name]
        return f"{label} {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"

    parts = [f"{format_score('accuracy', 'accuracy')} (n = {by_name['accuracy'].n:,})"]
    if "coverage" in by_name:
        parts.append(format_score("coverage", "true class in the prediction set"))
        parts.append(format_score("unknown", "declined as unknown"))
    parts += [f"{len(excused):,} files skipped"] if excused else []
    console.print_line("evaluate", ", ".join(parts))


def require_classes(model: runtime.Model) -> None:
    """Refuse to judge a model of numbers, by a UsageError."""
    if model.layout.is_number:
        what = f"this model answers with a number, `{model.class_names[0]}`; only classes are judged here"
        raise UsageError(what, where="DATA", hint="compare the column `answer` of headstart predict with your numbers")


def read_labelled_folder(
    folder: Path | str, names: tuple[str, ...], job: Job | None = None
) -> tuple[list[Source], np.ndarray, list[tuple[str, str]]]:
    """Pictures of a labelled folder or table in sorted order with their classes, and files and rows that are not used.

    Where splits are given, `test` is taken, or `val` where there is no `test`. `job` says how a table is read.

    Raises:
        DataError: There is no picture, or a class that the model does not know.
    """
    job = job or Job(data=str(folder))
    if (reader := find_used_reader(job)).name != FOLDERS:
        return _read_annotated(reader.list_pictures(job.data, job, frozenset()), job.data, names)
    if is_remote(job.data) or split_archive(job.data):
        listing = reader.list_pictures(job.data, job, frozenset())
        no_pictures = [uri for uri in listing.uris if not has_picture_suffix(uri)]
        listing.uris = sorted(set(listing.uris) - set(no_pictures))
        pictures_inside, classes, excused = _read_annotated(listing, job.data, names)
        return pictures_inside, classes, excused + [(format_printable(uri), _NO_PICTURE) for uri in no_pictures]
    folder = Path(folder)
    if not folder.is_dir():
        hint = "give the folder that holds one sub-folder a class"
        raise DataError(f"there is no folder `{format_printable(str(folder))}`", hint=hint)
    root = find_judged_folder(folder, names)
    places = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files, y = list[Source](), list[int]()
    for place in places:
        pictures = list(walk_paths([place]))
        files += pictures
        y += [_class_position(place, names)] * len(pictures) if pictures else []
    if not files:
        for place in places:
            _class_position(place, names)
        hint = f"one sub-folder a class is needed: {', '.join(names)}"
        raise DataError(f"there is no picture in a sub-folder of `{format_printable(str(root))}`", hint=hint)
    others = sorted({p for p in root.rglob("*") if p.is_file()} - set(files))
    excused = [(_relative_name(str(folder), str(p)), _NO_PICTURE) for p in others]
    return files, np.array(y, np.int64), excused


def _read_annotated(
    listing: Listing, source: str, names: tuple[str, ...]
) -> tuple[list[Source], np.ndarray, list[tuple[str, str]]]:
    labelling = listing.label_pictures(listing.uris, listing.skipped)
    splits = {record.split for record in labelling.records}
    judged = next((split for split in ("test", "val") if split in splits), None)
    records = [record for record in labelling.records if judged is None or record.split == judged]
    places = {label: _class_position(Path(source) / label, names) for record in records for label in record.labels}
    paths = [os.path.join(listing.root, record.uri) for record in records]  # noqa: PTH118 - no file system's
    files: list[Source] = [Content(path, path) for path in paths]
    excused = [(format_printable(row.uri), f"{row.reason.replace('_', ' ')}: {row.detail}") for row in listing.skipped]
    return files, np.array([places[record.labels[0]] for record in records], np.int64), excused


def _class_position(place: Path, names: tuple[str, ...]) -> int:
    if place.name not in names:
        hint = format_nearest(place.name, names) or f"the model knows {', '.join(names)}"
        raise DataError(
            f"the model has no class `{format_printable(place.name)}`", where=format_printable(str(place)), hint=hint
        )
    return names.index(place.name)


def _relative_name(data: str, file: str) -> str:
    base = data if is_remote(data) or split_archive(data) or Path(data).is_dir() else os.path.dirname(data)  # noqa: PTH120
    return format_printable(file.removeprefix(f"{base.rstrip('/')}/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOverlap:
    """Judged pictures that a model has learnt from: scores on those are too good, whatever folder they come from."""

    copies: int  # of the bytes of a training picture
    look_alikes: int  # of other bytes, such as the same picture saved again


def find_training_overlap(
    run: Path, folder: Path | str, class_names: tuple[str, ...], job: Job | None = None
) -> TrainingOverlap:
    """Count judged pictures of a folder that are, or look like, a training picture; a model folder alone counts none.

    By the rule of the audit's near-duplicates: mirrored, turned and cropped copies are often not seen.
    """
    reader = RunReader(run)
    splits = reader.find(Splits)
    if splits is None:
        return TrainingOverlap(copies=0, look_alikes=0)
    data = reader.dataset
    files, _, _ = read_labelled_folder(folder, class_names, job)
    with ThreadPoolExecutor(count_threads()) as pool:
        pictures = list(filter(None, pool.map(partial(_describe_file, ranges=data.reading.ranges), files)))
    digests, facts = zip(*pictures, strict=True)
    copies, look_alikes = match_pictures(data, splits.train, digests, facts)
    return TrainingOverlap(copies=int(copies.sum()), look_alikes=int(look_alikes.sum()))


def _describe_file(file: Source, ranges: PixelRanges) -> tuple[str, ImageDescriptors] | None:
    try:
        content = read_bytes(str(file))
        return hashlib.sha256(content).hexdigest(), describe_picture(content, ranges)
    except PictureError:
        return None  # it was not judged either, and has its row with the reason
