"""A saved model as MLflow's "python function": MLflow finds `_load_pyfunc` here by the name in the file `MLmodel`.

No class is pickled and no code travels with the model: MLflow imports this module of the installed headstart.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.core.types import Prediction
from headstart.runtime.inputs.decoded_batches import Content
from headstart.runtime.mlflow_model import COLUMN_TYPES, PICTURE
from headstart.runtime.model import Model, load


class PyfuncModel:
    """What MLflow calls."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Answer for picture files as bytes, in the column `picture` of a data frame or any number of them.

        Returns:
            A data frame where one came in, else a list of dicts: one row a picture, in order.

        Raises:
            TypeError: A cell holds no bytes.
        """
        is_frame = hasattr(model_input, "columns")
        cells = model_input[PICTURE] if is_frame or isinstance(model_input, Mapping) else model_input
        contents = (Content(f"{PICTURE} {at}", _cell_bytes(at, cell)) for at, cell in enumerate(cells))
        rows = [
            answer_row(prediction, self.model.class_names) for prediction in self.model.predict(contents, errors="rows")
        ]
        return type(model_input)(rows, columns=answer_columns(self.model.class_names)) if is_frame else rows


def _cell_bytes(at: int, cell: Any) -> bytes:
    if not isinstance(cell, bytes | bytearray | memoryview):  # of a number `bytes` would make as many zeros
        raise TypeError(f"`{PICTURE}` {at} is of type {type(cell).__name__}; pass the bytes of a picture file")
    return bytes(cell)


def answer_columns(class_names: tuple[str, ...]) -> list[str]:
    """Names of what an answer has: first the words, then a probability a class."""
    return [*COLUMN_TYPES, *(f"p {name}" for name in class_names)]


def answer_row(prediction: Prediction, class_names: tuple[str, ...]) -> dict[str, Any]:
    """An answer as a row; probabilities are 0 where the picture could not be read."""
    cells: dict[str, Any] = {name: getattr(prediction, name) for name in COLUMN_TYPES}
    return cells | {f"p {name}": float(prediction.probabilities.get(name, 0.0)) for name in class_names}


def _load_pyfunc(data_path: str) -> PyfuncModel:
    return PyfuncModel(load(Path(data_path)))
