"""The folder that travels with a job: a wheel of this headstart, the versions of its packages, the job, its files.

The wheel is zipped from the installed package, editable or not, with fixed dates: the same code gives the same bytes.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from headstart.core import extras, provenance
from headstart.core import job as jobs
from headstart.core.errors import SetupError
from headstart.core.job import Job
from headstart.core.storage.files import write_text
from headstart.core.storage.locations.names import is_remote, resolve_location
from headstart.remote import start_script
from headstart.remote.job_file import NAME, JobFile, write_job_file

REQUIREMENTS = "requirements.txt"
# What learning may use; `auto` chooses by what is installed, so the other side gets what is here.
_EXTRAS = ("fit", "cloud", "parquet", "medical", "geo", "hub", "int8", "neighbours", "adaptation")
_WHEEL = "Wheel-Version: 1.0\nGenerator: headstart\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can hold


def build_code_package(folder: Path, content: JobFile) -> Path:
    """Write the wheel, `requirements.txt`, `job.toml` and `start.sh` into a folder, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    write_wheel(folder)
    write_text(folder / REQUIREMENTS, "".join(f"{line}\n" for line in list_requirements(content.job)))
    write_text(folder / start_script.NAME, start_script.format_start_script(format_python_version()))
    write_job_file(content, folder / NAME)
    return folder


def describe_versions() -> dict[str, str]:
    """What results rest on, to be compared on the other side: versions of packages, and of Python its first two."""
    packages = ("headstart", "numpy", "pillow", "scikit-learn", "scipy", "openvino", "keras", "tensorflow")
    return {"python": format_python_version(), **provenance.list_versions(packages)}


def format_python_version() -> str:
    """The version of this Python without its last number: `3.11`."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def list_inputs(job: Job) -> dict[str, Path]:
    """Setting -> file or folder of this machine that must travel with a job; addresses stay where they are.

    Of a table whose pictures lie beside it, its whole folder travels.
    """
    paths = {name: getattr(job, name) for name in jobs.PATH_SETTINGS}
    return {name: Path(resolve_location(path)) for name, path in paths.items() if path and not is_remote(path)}


def place_inputs(job: Job) -> tuple[Job, dict[str, str], dict[str, Path]]:
    """A job for another machine: its settings, `inputs` for the job file, and what to upload, by its path there.

    The name of each file or folder stays: results hold it.
    """
    inputs, uploads = dict[str, str](), dict[str, Path]()
    for name, path in list_inputs(job).items():
        inputs[name] = f"{name}/{path.name}"
        if (
            name in ("data", "unlabeled")
            and path.is_file()
            and not job.images
            and path.suffix in (".csv", ".tsv", ".json", ".parquet")
        ):
            uploads[name] = path.parent
        else:
            uploads[f"{name}/{path.name}"] = path
    shipped = {name: Path(place).name for name, place in inputs.items()}
    return dataclasses.replace(job, **shipped), inputs, uploads  # type: ignore[arg-type]


def write_wheel(folder: Path) -> Path:
    """Zip this headstart as a wheel into a folder.

    Raises:
        SetupError: headstart is not installed, its source alone is on the path.
    """
    try:
        installed = metadata.distribution("headstart")
    except metadata.PackageNotFoundError as err:
        raise SetupError("headstart is not installed: its version is not known", hint="pip install headstart") from err
    info = f"headstart-{installed.version}.dist-info"
    files = {name: path.read_bytes() for name, path in _list_package_files()}
    files |= {f"{info}/{name}": (installed.read_text(name) or "").encode() for name in ("METADATA", "entry_points.txt")}
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    record = "".join(f"{name},sha256={_format_digest(body)},{len(body)}\n" for name, body in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"headstart-{installed.version}-py3-none-any.whl"
    path.unlink(missing_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, body in files.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            wheel.writestr(entry, body)
    return path


def _list_package_files() -> Iterator[tuple[str, Path]]:
    package = Path(__file__).resolve().parent.parent
    for path in sorted(package.rglob("*")):
        if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts:
            yield f"headstart/{path.relative_to(package).as_posix()}", path


def _format_digest(body: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()


def list_requirements(job: Job) -> list[str]:
    """`name==version` of every package that headstart needs here, those of its installed extras included."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    wished = {*_EXTRAS, *(("mlflow",) if job.track == "mlflow" else ())}
    chosen = {extra for extra in wished if not extras.list_missing_packages(extra)}
    waiting: list[tuple[str, frozenset[str]]] = [("headstart", frozenset(chosen))]
    versions, visited = dict[str, str](), set[tuple[str, frozenset[str]]]()
    while waiting:
        name, its_extras = entry = waiting.pop()
        if entry in visited or not (version := provenance.find_version(name)):
            continue
        visited.add(entry)
        versions[canonicalize_name(name)] = version
        for text in metadata.requires(name) or ():
            need = Requirement(text)
            if not need.marker or any(need.marker.evaluate({"extra": extra}) for extra in ("", *its_extras)):
                waiting.append((need.name, frozenset(need.extras)))
    del versions["headstart"]
    return [f"{name}=={version}" for name, version in sorted(versions.items())]
