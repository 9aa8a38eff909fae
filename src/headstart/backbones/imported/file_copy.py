"""A user's own network file before anybody looks into it: of which kind it is, what belongs to it, and its copy."""

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

_OLD = (".h5", ".hdf5", ".pb", ".tflite")
_OTHERS = "known: a `.keras` file, an `.onnx` file, an OpenVINO `.xml` with its `.bin`, a SavedModel folder"


def kind_of(path: Path) -> str:
    """`keras`, `onnx`, `ir` or `saved_model`.

    Raises:
        DataError: It is of another kind, a pickle above all.
        UsageError: There is nothing.
    """
    suffix = path.suffix.lower()
    _require_local(path)
    if not path.exists():
        raise UsageError(f"there is no file `{path}`")
    if path.is_dir() and (path / "saved_model.pb").is_file():
        _require_no_pickle(path)
        return "saved_model"
    if suffix in (*PICKLES, ".bin"):
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


def _require_local(path: Path) -> None:
    """Refuse an address, of which a path keeps one slash: `s3:/bucket/net.onnx`.

    Raises:
        UsageError: It is one.
    """
    found = re.match(r"([a-z][a-z0-9+.-]+):/+(.+)", path.as_posix(), re.IGNORECASE)
    if found is None:
        return
    scheme, rest = found[1].lower(), found[2]
    address, file = f"{scheme}://{rest}", rest.rpartition("/")[2]
    copy = _COPIES.get(scheme, "copy it here with your own tools").format(address, file)
    raise UsageError(
        f"`{address}` is an address; `backbones add` reads files of this machine",
        hint=f"{copy}; then: headstart backbones add {file}",
    )


_COPIES = {
    "s3": "aws s3 cp {0} {1}",
    "gs": "gcloud storage cp {0} {1}",
    "az": "azcopy copy {0} {1}",
    **dict.fromkeys(("http", "https", "ftp"), "curl --fail --location --output {1} {0}"),
}


def _require_no_pickle(folder: Path) -> None:
    """OpenVINO reads none, but whoever opens the folder next may be less careful.

    Raises:
        DataError: There is one; it is named.
    """
    for one in sorted(folder.rglob("*")):
        if one.is_file() and may_be_pickle(one.name):
            name = one.relative_to(folder).as_posix()
            raise DataError(
                f"`{folder.name}` holds the pickle `{name}`, which could run anything; nothing was opened",
                where=str(one),
                hint="take it out of the folder; a SavedModel needs none",
            )


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
    with translate_disk_errors(store.root):
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
        return compute_digest(parts)
    graph = (ready / FILES[kind]).read_text(encoding="utf-8")
    places = re.findall(r'\boffset="(\d+)" size="(\d+)"', graph)
    return compute_digest(parts | {"weights": file_digest(ready / "model.bin"), "places": compute_digest(places)})


def bring(path: Path, folder: Path, kind: str) -> None:
    """Copy a file into an entry. ONNX and SavedModel become IR: OpenVINO numbers their layers anew at every reading."""
    if kind in ("keras", "ir"):
        for name, one in _parts(path, kind).items():
            shutil.copyfile(one, folder / name)
        return
    from headstart.networks.openvino_conversion import silence_frameworks

    if kind == "lambda":
        with silence_frameworks():
            keras_archive.export_frozen(path, folder / FILES[kind])
        return
    openvino_engine.load_openvino().save_model(
        openvino_reader.read_model(path), folder / FILES[kind], compress_to_fp16=False
    )
