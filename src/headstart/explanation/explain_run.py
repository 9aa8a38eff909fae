"""The stage `explain`: training pictures kept to compare with, and heat maps of some held-out ones.

`<run>/explain/` holds vectors and small copies of up to 500 training pictures, or two of each class where that is more.
The heat maps are those of the report: right and wrong answers, the surest and the least sure.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.core.console import format_bytes, format_duration
from headstart.core.storage import serialization
from headstart.core.storage.files import write_bytes
from headstart.core.storage.serialization import array_bytes
from headstart.core.types import Explained, MapRow, format_labels
from headstart.data.strata import find_strata
from headstart.explanation import example_selection, example_store, heatmap_overlay
from headstart.explanation.explain_image import CAM, NAMES, Explainer, draw_explanation
from headstart.features.embeddings import join_columns
from headstart.images.file_formats import PictureError
from headstart.statistics.losses import per_picture_loss

if TYPE_CHECKING:
    from headstart.core.run.context import Context
    from headstart.core.types import Dataset, Embeddings, Evaluation, FitResult, Splits

A_GROUP = 2  # heat maps
WORK = 4e11  # operations that heat maps may take where the model is asked again; some seconds
PASSES = 81  # of occlusion, for one picture
SHOWN_PX = 256
NEIGHBOURS = 3
LOSS_GROUPS = ("nearest to the truth", "furthest from the truth")
GROUPS = ("right, most sure", "right, least sure", "wrong, most sure", "wrong, least sure")


def explain_run(
    data: Dataset,
    splits: Splits,
    embeddings: tuple[Embeddings, ...],
    fit_result: FitResult,
    evaluation: Evaluation,
    *,
    ctx: Context,
) -> Explained:
    """Write `<run>/explain/`; the model must be saved already. `embeddings` are of all pictures."""
    started, folder = time.monotonic(), ctx.make_step_folder(example_store.FOLDER)
    rows = _keep_examples(data, splits, embeddings, fit_result, folder, with_thumbnails=not ctx.job.no_thumbnails)
    explainer = Explainer(ctx.run.path / "model")
    method, why = explainer.automatic
    backbones = {feature.backbone for feature in fit_result.features}
    flops = sum(embedding.spec.flops for embedding in embeddings if embedding.spec.name in backbones)
    most = len(GROUPS) * A_GROUP if method == CAM else int(WORK // (PASSES * max(flops, 1)))
    left_out = "" if most else "this backbone would need long for them: headstart explain makes them one by one"
    if ctx.job.no_thumbnails:
        most, left_out = 0, "no small copies of pictures are kept, as `--no-thumbnails` asks"
    answers = explainer.model.choose_classes(np.asarray(evaluation.probabilities))
    examples = _choose_held_out(data, evaluation, answers)[:most]
    places = {uri: place for place, uri in enumerate(data.uris)}
    maps = [
        _write_heat_map(explainer, data, places, row, group, number, folder)
        for number, (row, group) in enumerate(examples)
    ]
    explained = Explained(
        method=method,
        why=why,
        kept=len(rows),
        bytes=sum(path.stat().st_size for path in folder.iterdir() if path.name != "value.json"),
        prototypes=_prototype_rows(explainer, places),
        maps=tuple(heat_map for heat_map in maps if heat_map is not None),
        left_out=left_out,
    )
    serialization.save_value(explained, folder)
    count = len(explained.maps)
    heat_maps = f"{count} heat maps by {NAMES[method]}" if count else "no heat maps"
    pictures = f"{len(rows)} training pictures to compare with ({format_bytes(explained.bytes)})"
    ctx.console.print_line("explain", f"{pictures}, {heat_maps}, {format_duration(time.monotonic() - started)}")
    return explained


def _keep_examples(
    data: Dataset,
    splits: Splits,
    embeddings: tuple[Embeddings, ...],
    fit_result: FitResult,
    folder: Path,
    *,
    with_thumbnails: bool,
) -> np.ndarray:
    targets, names, *_ = find_strata(data)
    rows = example_selection.choose_rows(np.asarray(splits.train), targets, len(names))
    vectors, scale = example_selection.make_vectors(join_columns(embeddings, fit_result.features, rows))
    standing = example_selection.choose_prototypes(vectors, targets[rows])
    jpegs = example_selection.make_thumbnails(data, rows) if with_thumbnails else [b""] * len(rows)
    ends = np.cumsum([len(jpeg) for jpeg in jpegs]).tolist()
    entries = tuple(
        example_store.ExampleEntry(
            uri=data.uris[row],
            class_name=_format_labels(data, row) if data.learning_task.has_labels else names[targets[row]],
            stands_for=names[targets[row]],
            start=end - len(jpeg),
            stop=end,
            prototype=int(place),
        )
        for row, jpeg, end, place in zip(rows.tolist(), jpegs, ends, standing, strict=True)
    )
    contents = {
        example_store.VECTORS: array_bytes(vectors),
        example_store.SCALE: array_bytes(scale),
        example_store.THUMBNAILS: b"".join(jpegs),
    }
    example_store.write_examples(folder, folder.parent / "model", entries, contents)
    return rows


def _format_labels(data: Dataset, row: int) -> str:
    return format_labels(
        [name for name, is_present in zip(data.class_names, data.targets[row], strict=True) if is_present]
    )


def _choose_held_out(data: Dataset, evaluation: Evaluation, answers: np.ndarray) -> list[tuple[int, str]]:
    """Held-out rows to explain, with their groups; the first of each group before the second of any."""
    rows = np.asarray(evaluation.rows)
    if not data.learning_task.has_classes:
        return _choose_by_loss(data, evaluation)
    sure = np.asarray(evaluation.probabilities)[np.arange(len(rows)), answers]
    right = answers == np.asarray(data.targets)[rows]
    order = np.lexsort((rows, -np.round(sure, 6)))
    sides = [order[right[order]], order[right[order]][::-1], order[~right[order]], order[~right[order]][::-1]]
    groups: dict[int, str] = {}
    for place in range(A_GROUP):
        for group, side in zip(GROUPS, sides, strict=True):
            if place < len(side):
                groups.setdefault(int(rows[side[place]]), group)
    return list(groups.items())


def _choose_by_loss(data: Dataset, evaluation: Evaluation) -> list[tuple[int, str]]:
    """Held-out rows whose answers lie nearest to the truth and furthest from it, in turn."""
    rows, metric = np.asarray(evaluation.rows), data.learning_task.metrics[0]
    errors = per_picture_loss(metric, np.asarray(data.targets)[rows], np.asarray(evaluation.probabilities))
    order = rows[np.lexsort((rows, np.round(errors, 9)))].tolist()
    count = min(len(GROUPS) * A_GROUP, len(order)) // len(LOSS_GROUPS)
    pairs = zip(order[:count], reversed(order[len(order) - count :]), strict=True)
    return [(row, group) for pair in pairs for row, group in zip(pair, LOSS_GROUPS, strict=True)]


def _write_heat_map(
    explainer: Explainer, data: Dataset, places: dict[str, int], row: int, group: str, number: int, folder: Path
) -> MapRow | None:
    """None where the file cannot be read any more."""
    uri = data.uris[row]
    path = os.path.join(data.root, uri)  # noqa: PTH118 - names of any bytes
    try:
        explanation = explainer.explain(path, neighbours=NEIGHBOURS + 1)
    except PictureError:
        return None
    name, image = f"map{number}.jpg", draw_explanation(explanation)
    image.thumbnail((SHOWN_PX, SHOWN_PX))
    write_bytes(folder / name, heatmap_overlay.encode_image(image, "JPEG"))
    alike = [near for near in explanation.neighbours if near.uri != uri][:NEIGHBOURS]
    return MapRow(
        row=row,
        group=group,
        answer=explanation.prediction.answer,
        class_name=explanation.class_name,
        confidence=explanation.prediction.probabilities[explanation.class_name],
        file=name,
        neighbours=tuple(places[near.uri] for near in alike),
        similarities=tuple(round(near.similarity, 4) for near in alike),
    )


def _prototype_rows(explainer: Explainer, places: dict[str, int]) -> dict[str, tuple[int, ...]]:
    assert isinstance(explainer.examples, example_store.ExampleStore)
    prototypes: dict[str, list[tuple[int, int]]] = {}
    for entry in explainer.examples.index.entries:
        if entry.prototype:
            prototypes.setdefault(entry.stratum, []).append((entry.prototype, places[entry.uri]))
    return {name: tuple(row for _, row in sorted(prototypes[name])) for name in sorted(prototypes)}
