"""TensorBoard's event files, written by TensorFlow alone: TensorBoard itself need not be installed."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from headstart.core.recipe import Recipe
from headstart.core.types import EpochRow
from headstart.finetuning.tracking.epoch_values import epoch_numbers, recipe_fields

_DATA_CLASS = {"scalars": "DATA_CLASS_SCALAR", "text": "DATA_CLASS_TENSOR"}  # by TensorBoard's plugin


class EventFiles:
    """`<folder>/<training>/train` and `…/val`, written by TensorFlow alone: TensorBoard need not be installed."""

    def __init__(self, folder: Path, class_names: tuple[str, ...]) -> None:
        self._folder, self._classes = folder, class_names
        self._writers: dict[Path, Any] = {}

    def params(self, log_name: str, recipe: Recipe) -> None:
        """Write the recipe as a table, shown under TEXT."""
        import tensorflow as tf

        rows = [f"| {name} | {value} |" for name, value in recipe_fields(recipe).items()]
        lines = ["| field | value |", "|---|---|", *rows]
        text = tf.make_tensor_proto("\n".join(lines).encode(), dtype=tf.string)
        self._write_event(log_name, "train", 0, [_make_value("recipe", "text", text)])

    def log(self, log_name: str, row: EpochRow) -> None:
        """Write an epoch's scores; they are on disk when this returns."""
        import tensorflow as tf

        for side, scores in epoch_numbers(row, self._classes).items():
            values = [_make_value(name, "scalars", tf.make_tensor_proto(v, tf.float32)) for name, v in scores.items()]
            self._write_event(log_name, side, row.epoch, values)

    def close(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _write_event(self, log_name: str, side: str, step: int, values: list[Any]) -> None:
        import tensorflow as tf

        folder = self._folder / re.sub(r"\W+", "-", log_name).strip("-") / side
        if folder not in self._writers:
            folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{len(list(folder.iterdir())):010d}.headstart"  # read in the order of names
            self._writers[folder] = tf.io.TFRecordWriter(str(folder / name))
            first = tf.compat.v1.Event(wall_time=time.time(), file_version="brain.Event:2")
            self._writers[folder].write(first.SerializeToString())
        event = tf.compat.v1.Event(wall_time=time.time(), step=step, summary=tf.compat.v1.Summary(value=values))
        self._writers[folder].write(event.SerializeToString())
        self._writers[folder].flush()


def _make_value(tag: str, plugin: str, tensor: Any) -> Any:
    import tensorflow as tf

    plugin_data = tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin)
    metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin_data, data_class=_DATA_CLASS[plugin])
    return tf.compat.v1.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)
