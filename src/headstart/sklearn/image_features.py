"""Pictures from anywhere -> a trunk's features, each picture once: from memory, from the cache, or through the trunk.

The compiled trunk and the latest vectors stay in the process, so that a second fit on the same pictures runs no
network. A file's vectors lie where `headstart fit` keeps them; those of arrays lie beside them, by shape and bytes.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones import loading
from headstart.backbones.downloads.shared_weights import pull_weights
from headstart.core.console import Console
from headstart.core.settings import INFERENCE_BATCH, count_threads
from headstart.core.storage.cache import default_store
from headstart.core.storage.row_cache import RowStore, parse_keys
from headstart.core.types import OWN_RANGES, InputSpec, PixelRanges
from headstart.features.feature_cache import cache_address, make_embed_key
from headstart.images import preprocessing
from headstart.images.descriptors import ImageDescriptors, describe_picture, measure_ranges
from headstart.images.file_formats import PictureError
from headstart.networks.openvino_engine import Engine

MEMORY_BYTES = 256_000_000  # of vectors in memory, of each trunk
_JPEG = b"\xff\xd8\xff"  # has 8 bits
_BLOCK = 256  # pictures whose vectors go to the cache together
_PARITY = 8  # pictures on which a new trunk is compared with Keras


class ArrayImages:
    """Pictures in memory: N of (h, w, 3) uint8 or float32 RGB 0..255, of one size or several."""

    def __init__(self, arrays: Sequence[np.ndarray] | np.ndarray) -> None:
        self.arrays = arrays
        heads = (b"array " + repr(picture.shape).encode() for picture in arrays)
        self.digests = [hashlib.sha256(head + p.tobytes()).hexdigest() for head, p in zip(heads, arrays, strict=True)]

    def decode_rows(self, rows: np.ndarray, spec: InputSpec) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows (b,) and their pictures (b, size_px, size_px, 3) of `spec.dtype`, batch by batch."""
        with ThreadPoolExecutor(count_threads(), thread_name_prefix="resize") as pool:
            for at in range(0, len(rows), INFERENCE_BATCH):
                batch_rows = rows[at : at + INFERENCE_BATCH]
                pictures = [self.arrays[row] for row in batch_rows]
                resized = pool.map(functools.partial(preprocessing.fit_array, spec=spec), pictures)
                yield batch_rows, np.stack(list(resized))


class FileImages:
    """Picture files; raises ValueError with the reasons where some cannot be read as pictures.

    If `measured`, `ranges` say which of their values beyond 8 bits are black and white.
    """

    def __init__(self, paths: Sequence[str], *, measured: bool = False) -> None:
        self.paths = list(paths)
        self.digests: list[str] = []
        problems, facts = [], list[ImageDescriptors]()
        for path in self.paths:
            try:
                content = preprocessing.read_bytes(path)
                self.digests.append(hashlib.sha256(content).hexdigest())
                if measured and not content.startswith(_JPEG):
                    facts.append(describe_picture(content))
                    if facts[-1].n_bands:
                        raise PictureError("unreadable", f"{facts[-1].n_bands} bands, which `headstart.fit` reads")
            except PictureError as err:
                problems.append(f"`{path}`: {err.detail}")
        self.ranges = measure_ranges(facts)
        if problems:
            shown = "; ".join(problems[:3]) + (f" (and {len(problems) - 3} more)" if problems[3:] else "")
            raise ValueError(f"{len(problems)} of {len(self.paths)} files are no pictures: {shown}")

    def decode_rows(self, rows: np.ndarray, spec: InputSpec) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As of `ArrayImages`."""
        return preprocessing.decode_batches(
            "", self.paths, rows, spec, batch=INFERENCE_BATCH, threads=count_threads(), digests=self.digests
        )


class ImageFeatures:
    """One trunk that describes pictures; with another `size_px` than its own it is faster and less exact.

    Raises:
        UsageError: There is no such backbone, or it cannot see pictures of that size.
        SetupError: Weights or OpenVINO are missing.
    """

    def __init__(self, name: str, size_px: int | None, console: Console, ranges: PixelRanges = OWN_RANGES) -> None:
        self.trunk = loading.find_backbone(name, fetching=True, console=console)
        self.spec = self.trunk.spec
        self.input = replace(self.spec.input, size_px=size_px or self.spec.input.size_px, ranges=ranges)
        self._console = console
        self._engine: Any = None
        self._memory: OrderedDict[bytes, tuple[np.ndarray, ...]] = OrderedDict()
        self._memory_rows = MEMORY_BYTES // (4 * sum(depth.dim for depth in self.spec.depths))
        self._lock = threading.RLock()  # an engine runs one thing at a time

    def extract_features(self, pictures: ArrayImages | FileImages, *, use_cache: bool = True) -> dict[str, np.ndarray]:
        """Depth name -> (N, D) float32; `use_cache` of the disk, where what is new is kept too."""
        keys = [bytes.fromhex(digest) for digest in pictures.digests]
        new_keys = dict.fromkeys(keys)
        with self._lock:
            features = {key: self._memory[key] for key in new_keys if key in self._memory}
            rows = RowStore(self._cache_folder(), self._column_widths()) if use_cache else None
            if rows is not None:
                features |= self._read_cached(rows, [key for key in new_keys if key not in features])
            first_places = {key: at for at, key in reversed(list(enumerate(keys)))}
            missing = [at for key, at in first_places.items() if key not in features]
            for block in self._run_trunk(pictures, np.array(missing, np.int64)):
                if rows is not None:
                    stacked = zip(self._column_widths(), map(np.stack, zip(*block.values(), strict=True)), strict=True)
                    rows.add_rows(_pack_keys(list(block)), dict(stacked))
                features |= block
            self._keep_in_memory(features)
        blocks = zip(*(features[key] for key in keys), strict=True)
        return {depth.name: np.stack(each) for depth, each in zip(self.spec.depths, blocks, strict=True)}

    def keras_model(self) -> Any:
        """The trunk as a frozen `keras.Model`: (B, H, W, 3) float32 RGB 0..255 to its depths, each (B, D)."""
        return self.trunk.build(default_store(self._console))

    def _column_widths(self) -> dict[str, int]:
        return {depth.name: depth.dim for depth in self.spec.depths}

    def _cache_folder(self) -> Path:
        key = make_embed_key(self.trunk, self.input)
        return default_store(self._console).root / cache_address(key)

    def _read_cached(self, rows: RowStore, keys: list[bytes]) -> dict[bytes, tuple[np.ndarray, ...]]:
        places = rows.find_rows(_pack_keys(keys)).tolist() if keys else []
        columns = [rows.map_column(name) for name in self._column_widths()]
        cached = [(key, place) for key, place in zip(keys, places, strict=True) if place >= 0]
        return {key: tuple(np.array(column[place]) for column in columns) for key, place in cached}

    def _run_trunk(
        self, pictures: ArrayImages | FileImages, rows: np.ndarray
    ) -> Iterator[dict[bytes, tuple[np.ndarray, ...]]]:
        for at in range(0, len(rows), _BLOCK):
            block: dict[bytes, tuple[np.ndarray, ...]] = {}
            flow = pictures.decode_rows(rows[at : at + _BLOCK], self.input)
            for part, outputs in self._ready_engine(pictures, rows).run(flow):
                for place, row in enumerate(part.tolist()):
                    block[bytes.fromhex(pictures.digests[row])] = tuple(values[place].copy() for values in outputs)
            yield block

    def _ready_engine(self, pictures: ArrayImages | FileImages, rows: np.ndarray) -> Any:
        if self._engine is None:
            store = default_store(self._console)
            if not self.trunk.source.available(self.trunk.preset, store):
                pull_weights(self.trunk, store, self._console)
            sample_rows = np.resize(rows, _PARITY)
            full_size = replace(self.input, size_px=self.spec.input.size_px)
            sample = np.concatenate([p for _, p in pictures.decode_rows(sample_rows, full_size)])
            if self.input == full_size:
                self._engine = loading.load_engine(self.trunk, store, self._console, sample, threads=count_threads())
            else:
                path = loading.make_trunk_folder(self.trunk, store, self._console, sample) / "trunk.xml"
                self._engine = Engine(path, threads=count_threads(), size_px=self.input.size_px, dtype=self.input.dtype)
        return self._engine

    def _keep_in_memory(self, features: dict[bytes, tuple[np.ndarray, ...]]) -> None:
        for key, value in features.items():
            self._memory[key] = value
            self._memory.move_to_end(key)
        while len(self._memory) > self._memory_rows:
            self._memory.popitem(last=False)


@functools.lru_cache(maxsize=4)
def shared_image_features(
    name: str, size_px: int | None, ranges: PixelRanges = OWN_RANGES, quiet: bool = True
) -> ImageFeatures:
    """The `ImageFeatures` of a trunk and of how values are read, one a process."""
    return ImageFeatures(name, size_px, Console(quiet=quiet), ranges)


def _pack_keys(keys: Sequence[bytes]) -> np.ndarray:
    """(M, 32) uint8."""
    return parse_keys([key.hex() for key in keys])


def attach_head(
    trunk_model: Any, spec_depths: Sequence[str], depths: Sequence[str], weights: np.ndarray, bias: Any
) -> Any:
    """A trunk and a linear head as one `keras.Model`: (B, H, W, 3) float32 RGB 0..255 to (B, C) probabilities.

    The head has `weights` (D, C) and reads `depths` in its order; `spec_depths` name the trunk's outputs in theirs.
    """
    import keras

    by_name = dict(zip(spec_depths, trunk_model.outputs, strict=True))
    parts = [by_name[depth] for depth in depths]
    joined = keras.layers.Concatenate(name="depths")(parts) if len(parts) > 1 else parts[0]
    dense = keras.layers.Dense(weights.shape[1], name="logits")
    answer = keras.layers.Softmax(name="probabilities")(dense(joined))
    dense.set_weights([weights, bias])
    return keras.Model(trunk_model.inputs, answer, name="transfer_classifier")
