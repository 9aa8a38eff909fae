"""A user's own network file: its kind, the files that belong to it, and its copy."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from headstart.backbones.imported.description import FILES
from headstart.core.errors import DataError, UsageError
from headstart.core.storage.cache import Store
from headstart.core.storage.files import translate_disk_errors
from headstart.core.storage.hashing import compute_digest, file_digest
from headstart.networks import openvino_engine
from headstart.networks.formats import keras_archive, openvino_reader
from headstart.networks.formats.safe_formats import PICKLES, may_be_pickle

_UNREADABLE = (".h5", ".hdf5", ".pb", ".tflite")
_KNOWN_KINDS = "known: a `.keras` file, an `.onnx` file, an OpenVINO `.xml` with its `.bin`, a SavedModel folder"


def detect_kind(path: Path) -> str:
    """`keras`, `onnx`, `ir` or `saved_model`.

    `DataError` where it is of another kind, a pickle above all; `UsageError` where nothing is there, or at an address.
    """
    suffix = path.suffix.lower()
    _require_local(path)
    if not path.exists():
        raise UsageError(f"there is no file `{path}`")
    if path.is_dir() and (path / "saved_model.pb").is_file():
        _require_no_pickle(path)
        return "saved_model"
    if suffix in (*PICKLES, ".bin"):
        why = f"`{suffix}` files may be pickles, and a pickle runs code when it is opened"
        hint = "export the network as ONNX, for instance with torch.onnx.export, and add that"
        raise DataError(f"`{path.name}` is refused: {why}", where=str(path), hint=hint)
    if suffix in _UNREADABLE:
        raise DataError(f"`{path.name}` is of a kind that headstart does not read", where=str(path), hint=_KNOWN_KINDS)
    kind = {".keras": "keras", ".onnx": "onnx", ".xml": "ir"}.get(suffix)
    if kind is None or not path.is_file():
        raise DataError(f"`{path.name}` is not a file that headstart can cut", where=str(path), hint=_KNOWN_KINDS)
    if kind == "ir" and not path.with_suffix(".bin").is_file():
        raise DataError(f"`{path.name}` needs `{path.stem}.bin` beside it", where=str(path))
    return kind


def _require_local(path: Path) -> None:
    """Refuse an address, of which a path keeps one slash: `s3:/bucket/net.onnx`."""
    scheme_match = re.match(r"([a-z][a-z0-9+.-]+):/+(.+)", path.as_posix(), re.IGNORECASE)
    if scheme_match is None:
        return
    scheme, path_part = scheme_match[1].lower(), scheme_match[2]
    address, file = f"{scheme}://{path_part}", path_part.rpartition("/")[2]
    copy = _COPY_COMMANDS.get(scheme, "copy it here with your own tools").format(address, file)
    what = f"`{address}` is an address; `backbones add` reads files of this machine"
    raise UsageError(what, hint=f"{copy}; then: headstart backbones add {file}")


_COPY_COMMANDS = {
    "s3": "aws s3 cp {0} {1}",
    "gs": "gcloud storage cp {0} {1}",
    "az": "azcopy copy {0} {1}",
    **dict.fromkeys(("http", "https", "ftp"), "curl --fail --location --output {1} {0}"),
}


def _require_no_pickle(folder: Path) -> None:
    """OpenVINO reads none, but whoever opens the folder next may be less careful."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and may_be_pickle(file.name):
            name = file.relative_to(folder).as_posix()
            what = f"`{folder.name}` holds the pickle `{name}`, which could run anything; nothing was opened"
            raise DataError(what, where=str(file), hint="take it out of the folder; a SavedModel needs none")


def _list_parts(path: Path, kind: str) -> dict[str, Path]:
    if kind == "saved_model":
        return {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*")) if file.is_file()}
    weights = {"model.bin": path.with_suffix(".bin")} if kind == "ir" else {}
    return {FILES[kind]: path, **weights}


@contextlib.contextmanager
def temporary_folder(store: Store) -> Iterator[Path]:
    """A folder on the store's disk that is gone afterwards; `SetupError` where the disk does not permit it."""
    with translate_disk_errors(store.root):
        store.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.root, prefix=".tmp-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def open_onnx_as_ir(path: Path, kind: str, store: Store) -> Iterator[Path | None]:
    """A folder for the while with an ONNX file as IR, which has its weights wherever they lay; None for other kinds."""
    if kind != "onnx":
        yield None
        return
    with temporary_folder(store) as folder:
        copy_file(path, folder, kind)
        yield folder


def compute_content(path: Path, kind: str, graph_folder: Path | None) -> str:
    """Digest of what belongs to a file; of ONNX also of the weights that were read, and of which layer has which."""
    parts = {name: file_digest(file) for name, file in _list_parts(path, kind).items()}
    if graph_folder is None:
        return compute_digest(parts)
    graph = (graph_folder / FILES[kind]).read_text(encoding="utf-8")
    places = re.findall(r'\boffset="(\d+)" size="(\d+)"', graph)  # the IR's other text changes with every reading
    weights = file_digest(graph_folder / "model.bin")
    return compute_digest(parts | {"weights": weights, "places": compute_digest(places)})


def copy_file(path: Path, folder: Path, kind: str) -> None:
    """Copy a file into an entry. ONNX and SavedModel become IR: OpenVINO numbers their layers anew at every reading."""
    if kind in ("keras", "ir"):
        for name, file in _list_parts(path, kind).items():
            shutil.copyfile(file, folder / name)
        return
    from headstart.networks.framework_state import silence_frameworks

    if kind == "lambda":
        with silence_frameworks():
            keras_archive.export_frozen(path, folder / FILES[kind])
        return
    graph = openvino_reader.read_model(path)
    openvino_engine.save_graph(graph, folder / FILES[kind], keep_names=True)
