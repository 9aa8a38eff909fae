"""A saved model as a folder that `mlflow.pyfunc.load_model` opens: `MLmodel` with a signature, and the model beside it.

MLflow's own writer would pickle an object, or carry a script along. Here the file names a module of headstart that
loads the folder `model`, so nothing in it is executable; it is written as the format is documented, without MLflow.
"""

from __future__ import annotations

import base64
import io
import json
import platform
import shutil
from pathlib import Path
from typing import Any

from headstart.core import extras
from headstart.core.provenance import find_version
from headstart.core.storage.files import write_json, write_text
from headstart.core.storage.serialization import format_yaml

LOADER = "headstart.runtime.pyfunc"
EXAMPLE = "input_example.json"
PICTURE = "picture"  # the column whose cells are the bytes of picture files
COLUMN_TYPES = {"answer": "string", "likeliest": "string", "unknown": "boolean", "error": "string"}


def write_mlflow_model(model: Path, class_names: tuple[str, ...], folder: Path, *, made_with: str) -> None:
    """Write the folder, which must not exist; `made_with` is the version of headstart that made the model."""
    shutil.copytree(model, folder / "model")
    requirement = f"{extras.format_requirement('mlflow')}=={made_with}"  # whoever loads it needs MLflow too
    write_text(folder / "requirements.txt", f"{requirement}\n")
    env = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    write_text(folder / "python_env.yaml", format_yaml(env))
    example = base64.b64encode(_example_picture()).decode("ascii")
    write_json(folder / EXAMPLE, {"columns": [PICTURE], "data": [[example]]})
    write_text(folder / "MLmodel", format_yaml(_describe_model(class_names)))


def make_signature(class_names: tuple[str, ...]) -> dict[str, str]:
    """Inputs and outputs as MLflow writes them: columns with their types."""
    outputs = COLUMN_TYPES | {f"p {name}": "double" for name in class_names}
    return {
        side: json.dumps([{"type": kind, "name": name, "required": True} for name, kind in columns.items()])
        for side, columns in (("inputs", {PICTURE: "binary"}), ("outputs", outputs))
    }


def _describe_model(class_names: tuple[str, ...]) -> dict[str, Any]:
    flavour = {
        "loader_module": LOADER,
        "data": "model",
        "python_version": platform.python_version(),
        "env": {"virtualenv": "python_env.yaml"},
    }
    example = {"artifact_path": EXAMPLE, "type": "dataframe", "pandas_orient": "split"}
    mlflow = find_version("mlflow-skinny") or find_version("mlflow")
    return {
        "flavors": {"python_function": flavour},
        "signature": make_signature(class_names),
        "saved_input_example_info": example,
        **({"mlflow_version": mlflow} if mlflow else {}),
    }


def _example_picture() -> bytes:
    """A picture of nobody's: a grey slope, as PNG."""
    import numpy as np
    from PIL import Image

    out, slope = io.BytesIO(), np.linspace(0, 255, 64).astype(np.uint8)
    Image.fromarray(np.repeat(slope[None], 64, axis=0)).convert("RGB").save(out, format="PNG")
    return out.getvalue()
