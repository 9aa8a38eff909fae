"""A user's own network file before anybody looks into it: of which kind it is, what belongs to it, and its copy."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from headstart.core.errors import DataError, UsageError
from headstart.core.files import disk_errors
from headstart.core.keys import digest, file_digest
from headstart.core.store import Store
from headstart.kit import engine, ir_file, keras_file
from headstart.kit.added import FILES

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".bin", ".npy", ".npz", ".dill", ".mar")
_OLD = (".h5", ".hdf5", ".pb", ".tflite")
_OTHERS = "known: a `.keras` file, an `.onnx` file, an OpenVINO `.xml` with its `.bin`, a SavedModel folder"


def kind_of(path: Path) -> str:
    """`keras`, `onnx`, `ir` or `saved_model`.

    Raises:
        DataError: It is of another kind, a pickle above all.
        UsageError: There is nothing.
    """
    suffix = path.suffix.lower()
    if not path.exists():
        raise UsageError(f"there is no file `{path}`")
    if path.is_dir() and (path / "saved_model.pb").is_file():
        return "saved_model"
    if suffix in _PICKLES:
        raise DataError(
            f"`{path.name}` is refused: `{suffix}` files may be pickles, and a pickle runs code when it is opened",
            where=str(path),
            hint="export the network as ONNX, for instance with torch.onnx.export, and add that",
        )
    if suffix in _OLD:
        raise DataError(f"`{path.name}` is of a kind that headstart does not read", where=str(path), hint=_OTHERS)
    found = {".keras": "keras", ".onnx": "onnx", ".xml": "ir"}.get(suffix)
    if found is None or not path.is_file():
        raise DataError(f"`{path.name}` is not a file that headstart can cut", where=str(path), hint=_OTHERS)
    if found == "ir" and not path.with_suffix(".bin").is_file():
        raise DataError(f"`{path.name}` needs `{path.stem}.bin` beside it", where=str(path))
    return found


def _parts(path: Path, kind: str) -> dict[str, Path]:
    """Name -> file of everything that belongs to it."""
    if kind == "saved_model":
        return {one.relative_to(path).as_posix(): one for one in sorted(path.rglob("*")) if one.is_file()}
    more = {"model.bin": path.with_suffix(".bin")} if kind == "ir" else {}
    return {FILES[kind]: path, **more}


@contextlib.contextmanager
def read_whole(path: Path, kind: str, store: Store) -> Iterator[Path | None]:
    """A folder for the while with an ONNX file as IR; None for other kinds.

    The weights of an ONNX file may lie in others beside it, and only its reader knows in which.
    """
    if kind != "onnx":
        yield None
        return
    with disk_errors(store.root):
        store.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.root, prefix=".tmp-", ignore_cleanup_errors=True) as folder:
        bring(path, Path(folder), kind)
        yield Path(folder)


def content_of(path: Path, kind: str, ready: Path | None) -> str:
    """Digest of what belongs to a file; of ONNX also of the weights that were read, and of which layer has which.

    The IR's other text changes with every reading.
    """
    parts = {name: file_digest(one) for name, one in _parts(path, kind).items()}
    if ready is None:
        return digest(parts)
    graph = (ready / FILES[kind]).read_text(encoding="utf-8")
    places = re.findall(r'\boffset="(\d+)" size="(\d+)"', graph)
    return digest(parts | {"weights": file_digest(ready / "model.bin"), "places": digest(places)})


def bring(path: Path, folder: Path, kind: str) -> None:
    """Copy a file into an entry. ONNX and SavedModel become IR: OpenVINO numbers their layers anew at every reading."""
    if kind in ("keras", "ir"):
        for name, one in _parts(path, kind).items():
            shutil.copyfile(one, folder / name)
        return
    from headstart.kit.export import quiet

    if kind == "lambda":
        with quiet():
            keras_file.freeze(path, folder / FILES[kind])
        return
    engine.load().save_model(ir_file.read(path), folder / FILES[kind], compress_to_fp16=False)
