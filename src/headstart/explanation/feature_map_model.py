"""A saved model that shows its maps: one pass gives the features of a picture and what lies under each of them.

Needs numpy, Pillow and OpenVINO only. Calls from several threads wait for each other.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from headstart.core.settings import INFERENCE_BATCH, count_threads
from headstart.explanation import map_arithmetic
from headstart.explanation.feature_maps import MapColumns, add_map_outputs
from headstart.explanation.map_arithmetic import Box
from headstart.heads import prediction
from headstart.images import preprocessing
from headstart.images.codecs import open_picture
from headstart.networks.openvino_engine import Engine
from headstart.runtime.inputs.decoded_batches import Chunk, Content
from headstart.runtime.model import Model

_SIDEWAYS = 5  # EXIF orientations from here on swap width and height


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrunkInputs:
    """A picture as a model's trunks see it."""

    name: str  # the file, or the name under which it came
    size: tuple[int, int]  # width and height in px, upright
    pictures: tuple[np.ndarray, ...]  # (V * S, S, 3) uint8 or float32 a trunk
    boxes: tuple[Box, ...]  # the part that each trunk sees, in px of the upright picture

    @property
    def box(self) -> Box:
        """The part that any trunk sees."""
        return map_arithmetic.surrounding_box(self.boxes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappedColumns:
    """Some of the head's columns and the map under them."""

    trunk: int  # its position
    columns: slice  # of the head's input
    source: MapColumns  # where the graph has their map
    values: np.ndarray | None  # (places, channels) float32, tokens that stand for no place first; None without a map


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureMapPass:
    """One picture's features (D,) float32, its parts, and the chunk from which the model answers."""

    features: np.ndarray
    parts: tuple[MappedColumns, ...]
    chunk: Chunk


class FeatureMapModel:
    """A model with its maps."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._lock = threading.Lock()

    @cached_property
    def _compiled(self) -> tuple[tuple[Engine, list[MapColumns]], ...]:
        """Each trunk's engine and what lies under its outputs; two threads that come first at once each make all."""
        trunks = []
        for trunk in self.model.manifest.trunks:
            columns: list[MapColumns] = []
            edit = partial(add_map_outputs, columns=columns)
            path = self.model.folder / trunk.ir
            options: Any = {"dtype": trunk.input.dtype, "views": trunk.input.views, "edit": edit, "mapped": False}
            trunks.append((Engine(path, threads=count_threads(), batch=INFERENCE_BATCH, **options), columns))
        return tuple(trunks)

    @property
    def exact(self) -> bool:
        """Whether every number that the head reads is the mean of a map."""
        return all(part.source.mean for part in self._list_columns(()))

    @property
    def mapped(self) -> bool:
        """Whether any number that the head reads has a map above it."""
        return any(part.source.at is not None for part in self._list_columns(()))

    def decode_picture(self, name: str, content: bytes) -> TrunkInputs:
        """Decode a picture for every trunk.

        Raises:
            PictureError: It cannot be read.
        """
        specs = [trunk.input for trunk in self.model.manifest.trunks]
        picture = open_picture(content, ranges=specs[0].ranges)
        decoded = tuple(preprocessing.decode_picture(content, spec) for spec in specs)
        width, height = picture.size
        size = (height, width) if picture.read_orientation() >= _SIDEWAYS else (width, height)
        return TrunkInputs(
            name=name, size=size, pictures=decoded, boxes=tuple(preprocessing.visible_box(size, spec) for spec in specs)
        )

    def compute_maps(self, maps: TrunkInputs) -> FeatureMapPass:
        """One pass: features and maps."""
        outputs = self._run_trunks([picture[None] for picture in maps.pictures])
        chunk = Chunk([Content(maps.name, b"")], [picture[None] for picture in maps.pictures])
        for trunk, vectors in zip(self.model.manifest.trunks, outputs, strict=True):
            for depth, vector in zip(trunk.depths, vectors, strict=False):
                chunk.features[trunk.name, depth.name] = vector
        return FeatureMapPass(features=self._join_features(outputs)[0], parts=self._list_columns(outputs), chunk=chunk)

    def class_margins(self, pictures: Sequence[np.ndarray], position: int) -> np.ndarray:
        """(B,) float64 logit margins of a class, log-odds of a label, or numbers, for (B, S, S, 3) pictures a trunk."""
        kind, arrays, features = self.model.manifest.head.kind, self.model.arrays, self.compute_features(pictures)
        if self.model.layout.task.has_classes:
            return map_arithmetic.logit_margin(prediction.predict_probabilities(kind, arrays, features), position)
        weights, bias = map_arithmetic.linear_form(kind, arrays, features[0], position)
        return np.asarray(features.astype(np.float64) @ weights + bias)

    def compute_features(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """(B, D) float32 of many pictures, (B, S, S, 3) a trunk."""
        return self._join_features(self._run_trunks(pictures))

    def _run_trunks(self, pictures: Sequence[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        with self._lock:
            return [
                next(outputs for _, outputs in engine.run([(None, batch)]))
                for (engine, _), batch in zip(self._compiled, pictures, strict=True)
            ]

    def _join_features(self, outputs: Sequence[tuple[np.ndarray, ...]]) -> np.ndarray:
        return np.concatenate([outputs[trunk][output] for trunk, output, _ in self._locate_features()], axis=1)

    def _locate_features(self) -> list[tuple[int, int, int]]:
        """For each of the head's features: its trunk, the trunk's output, and how many numbers it is."""
        trunks = self.model.manifest.trunks
        at = {(t.name, d.name): (i, o) for i, t in enumerate(trunks) for o, d in enumerate(t.depths)}
        return [(*at[f.backbone, f.depth], f.dim) for f in self.model.manifest.features]

    def _list_columns(self, outputs: Sequence[tuple[np.ndarray, ...]]) -> tuple[MappedColumns, ...]:
        """All columns that the head reads, in their order; with values where a picture was passed."""
        parts, start = [], 0
        for trunk, output, width in self._locate_features():
            for under in self._compiled[trunk][1]:
                if under.output == output:
                    columns, values = slice(start + under.start, start + under.stop), None
                    if outputs and under.at is not None:
                        values = under.arrange_places(outputs[trunk][under.at][0])
                    parts.append(MappedColumns(trunk=trunk, columns=columns, source=under, values=values))
            start += width
        return tuple(parts)
