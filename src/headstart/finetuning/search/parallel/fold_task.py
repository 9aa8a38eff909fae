"""A fold that trains in another process: all that it needs, and the files that its training leaves.

TensorFlow's sums depend on its number of threads, so a task has as many as the process that sends it.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.console import Console
from headstart.core.errors import HeadstartError, SetupError
from headstart.core.recipe import Recipe
from headstart.core.storage.files import translate_disk_errors
from headstart.core.types import BackboneSpec
from headstart.finetuning.network import trainable_network
from headstart.finetuning.network.trainable_head import HeadStart
from headstart.finetuning.search.training_source import Source
from headstart.finetuning.training import trainer
from headstart.networks.framework_state import isolate_keras, silence_frameworks

TRUNK_FILE = "trunk.keras"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentTrunk:
    """A trunk as Keras packs it; equal where what it computes is equal."""

    digest: str
    spec: BackboneSpec = field(compare=False)
    content: bytes = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedTraining:
    """What all folds share: trunks by backbone, sources by recipe, and weights of classes (C,) float64 or None."""

    trunks: Mapping[str, SentTrunk]
    sources: Mapping[Recipe, Source]
    class_weight: np.ndarray | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoldPart:
    """A recipe on one fold: positions (n,) int64 that train and (m,) that are held out, and the head to start from."""

    recipe: Recipe
    fold: int
    start: HeadStart | None
    training: np.ndarray
    held_out: np.ndarray


def prepare_training(shared: SharedTraining, threads: int) -> SharedTraining:
    """Give TensorFlow its threads, and the processor alone, as the process has that sends folds.

    Raises:
        SetupError: Keras has another backend in this process.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    with silence_frameworks():
        import keras
        import tensorflow as tf

    if keras.config.backend() != "tensorflow":
        raise SetupError(f"Keras computes by {keras.config.backend()}, not by TensorFlow")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.set_visible_devices([], "GPU")
    return shared


def train_parts(shared: SharedTraining, parts: Sequence[FoldPart], threads: int) -> list[dict[str, np.ndarray] | None]:
    """Train folds: for each the bytes (n,) uint8 of its files by name; None where this process cannot train it."""
    return [_train_part(shared, part) for part in parts]


def _train_part(shared: SharedTraining, part: FoldPart) -> dict[str, np.ndarray] | None:
    place, recipe, source = Path(tempfile.gettempdir()), part.recipe, shared.sources[part.recipe]
    trunk = shared.trunks[recipe.backbone]
    with translate_disk_errors(place), tempfile.TemporaryDirectory(dir=place) as name, isolate_keras():
        try:
            trainer.train_network(
                trainable_network.build_network(
                    _load_trunk(trunk), trunk.spec, recipe, start=part.start, objective=source.objective
                ),
                recipe,
                source.make_feed(part.training, recipe),
                held=source.make_held_out(part.held_out),
                class_weight=shared.class_weight,
                folder=Path(name),
                keep_epochs=True,
                console=Console(quiet=True),
                name=f"fold {part.fold}",
            )
        except HeadstartError:  # it is raised where the search comes to this fold
            return None
        return {path.name: np.fromfile(path, np.uint8) for path in sorted(Path(name).iterdir())}


@functools.lru_cache(maxsize=2)
def _load_trunk(trunk: SentTrunk) -> Any:
    with silence_frameworks():
        return read_trunk(trunk.content)


def read_trunk(content: bytes) -> Any:
    """The Keras model of a packed trunk, frozen."""
    import keras

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / TRUNK_FILE
        path.write_bytes(content)
        model = keras.saving.load_model(path, compile=False)
    model.trainable = False
    return model
