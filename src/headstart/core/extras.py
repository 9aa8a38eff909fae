"""Which optional package belongs to which extra: the one place that says what to install for what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from headstart.core.errors import SetupError

# Extra -> the names under which its packages are imported; they are installed under those of `pyproject.toml`.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "fit": (
        "keras",
        "tensorflow",
        "sklearn",
        "scipy",
        "optuna",
        "matplotlib",
        "jinja2",
        "h5py",
        "threadpoolctl",
        "tomli_w",
        "yaml",
    ),
    "runtime": ("fastapi", "uvicorn", "prometheus_client", "python_multipart", "httptools"),
    "export": ("onnx", "onnxruntime", "tf2onnx", "ai_edge_litert"),
    "parquet": ("pyarrow",),
    "cloud": ("obstore",),
    "medical": ("pydicom", "nibabel", "gdcm"),
    "hub": ("keras_hub", "huggingface_hub"),
    "int8": ("nncf",),
    "neighbours": ("usearch",),
    "adaptation": ("ot",),
    "ray": ("ray",),
    "aws": ("boto3", "obstore"),
    "gcp": ("google.auth", "obstore", "requests"),
    "geo": ("rasterio",),
    "mlflow": ("mlflow", "pandas", "sqlalchemy", "alembic"),
}
_CHOSEN = {"tensorflow"}  # which backend Keras has is the user's choice; Keras itself tells when it is not there


def format_requirement(extra: str) -> str:
    """headstart with an extra, as an installer wants it named."""
    return f"headstart[{extra}]"


def format_install_command(extra: str) -> str:
    """What installs an extra, to paste: from where headstart itself came from, while that is there (PEP 610)."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        origin = json.loads(distribution("headstart").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:  # its source alone is on the path
        origin = {}
    address = urlsplit(origin.get("url", ""))
    source = Path(url2pathname(address.path))
    if address.scheme != "file" or not source.exists():
        return f'pip install "{format_requirement(extra)}"'
    editable = "--editable " if origin.get("dir_info", {}).get("editable") else ""
    return f'pip install {editable}"{source}[{extra}]"'


def list_missing_packages(extra: str) -> list[str]:
    """Packages of an extra that are not installed, by the names under which they are imported."""
    return [name for name in EXTRAS[extra] if not _is_installed(name)]


def require_extra(extra: str, what: str) -> None:
    """Refuse what cannot work without one of `EXTRAS`; `what` begins the sentence: `learning from pictures`.

    Raises:
        SetupError: A package of it is not installed.
    """
    missing = [name for name in list_missing_packages(extra) if name not in _CHOSEN]
    if missing:
        shown = ", ".join(f"`{name}`" for name in missing[:3]) + (
            f" and {len(missing) - 3} more" if missing[3:] else ""
        )
        what = f"{what} needs the extra `{extra}`; not installed: {shown}"
        raise SetupError(what, hint=format_install_command(extra))


def find_missing_extra(err: ImportError) -> SetupError | None:
    """The fact behind a failed import: a package of an extra that is not installed; None for any other failure."""
    package = err.name or ""
    for extra, names in EXTRAS.items():
        name = next((name for name in names if f"{package}.".startswith(f"{name}.")), "")
        if name and not _is_installed(name):
            what = f"this needs `{name}` of the extra `{extra}`, which is not installed"
            return SetupError(what, hint=format_install_command(extra))
    return None


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ValueError, ModuleNotFoundError):  # something has shut it out, or what it would be a part of is not there
        return False
