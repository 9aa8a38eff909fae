"""What a file unpacks to is bounded before anything of it is unpacked: archives, weights, arrays, tensors."""

import dataclasses
import io
import json
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from headstart.cli.main import main
from headstart.core.errors import DataError
from headstart.core.storage import unpacking
from headstart.core.storage.serialization import find_value, save_value
from headstart.networks.formats import keras_archive
from headstart.networks.formats.safe_formats import require_weights

MEGABYTE = b" " * 1_000_000


def weights(fill=lambda file: file.create_dataset("w", data=np.ones(4, np.float32))):
    """Bytes of an HDF5 file."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return buffer.getvalue()


def write_archive(path, *, config_megabytes=0, hdf5=None, more=0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("config.json", "w") as config:
            config.write(b"{")
            for _ in range(config_megabytes):
                config.write(MEGABYTE)
            config.write(b"}")
        archive.writestr("model.weights.h5", weights() if hdf5 is None else hdf5)
        for number in range(more):
            archive.writestr(f"assets/{number}", b"")
    return path


def test_a_plain_archive_passes(tmp_path):
    assert keras_archive.require_safe(write_archive(tmp_path / "a.keras", config_megabytes=1), trust=False) == ""


def test_an_archive_that_unpacks_to_far_more_takes_no_memory(tmp_path):
    path = write_archive(tmp_path / "bomb.keras", config_megabytes=600)
    assert path.stat().st_size < 1_000_000
    code = (
        "import resource, sys\n"
        "from headstart.cli.main import main\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "code = main(['backbones', 'add', sys.argv[1]])\n"
        "print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    exit_code, rise_kb = map(int, done.stdout.split())
    assert exit_code == 3 and "`bomb.keras` unpacks to more than the 500,000,000 bytes" in done.stderr
    assert rise_kb < 100_000


@pytest.mark.parametrize(
    ("fill", "told"),
    [
        (lambda file: file.create_dataset("w", (10**6, 10**6), np.float32, chunks=(100, 100)), "unpacks to more than"),
        (
            lambda file: file.create_dataset("w", (10**10,), np.float32, chunks=True, compression="gzip"),
            "unpacks to more",
        ),
        (lambda file: file.__setitem__("w", h5py.ExternalLink("/etc/passwd", "w")), "`w` of .* lies elsewhere"),
        (lambda file: file.__setitem__("w", h5py.SoftLink("/v")), "`w` of .* lies elsewhere"),
        (lambda file: file.create_dataset("w", (4,), np.uint8, external="/etc/passwd"), "`w` of .* lies elsewhere"),
    ],
    ids=["chunks", "compressed", "another file", "link", "another file's bytes"],
)
def test_weights_that_state_too_much_or_lie_elsewhere_are_refused(tmp_path, fill, told):
    path = write_archive(tmp_path / "a.keras", hdf5=weights(fill))
    with pytest.raises(DataError, match=told):
        keras_archive.require_safe(path, trust=False)
    (tmp_path / "model.weights.h5").write_bytes(weights(fill))
    with pytest.raises(DataError, match=told):  # as the file of a preset
        require_weights("model.weights.h5", tmp_path / "model.weights.h5", "here")


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MEMBERS", 100)
    with pytest.raises(DataError, match="more than 100 members"):
        keras_archive.require_safe(write_archive(tmp_path / "a.keras", more=100), trust=False)


@pytest.mark.parametrize("config", [b"[" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
def test_a_deeply_nested_description_is_named(tmp_path, config, capsys):
    path = tmp_path / "deep.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", weights())
    assert main(["backbones", "add", str(path)]) == 3
    assert "`deep.keras` is no whole `.keras` file" in capsys.readouterr().err


def forge_array(shape):
    """A `.npy` of eight bytes that states another shape."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<i8", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + bytes(8)


@pytest.mark.parametrize("shape", [(10**13,), (2,), (0,), (2**40, 2**40)])
def test_an_array_is_as_large_as_it_states(tmp_path, shape):
    (tmp_path / "a.npy").write_bytes(forge_array((1,)))
    assert unpacking.load_array(tmp_path / "a.npy").tolist() == [0]
    (tmp_path / "a.npy").write_bytes(forge_array(shape))
    for mode in (None, "r"):
        with pytest.raises(ValueError, match="bytes, and 8 follow"):
            unpacking.load_array(tmp_path / "a.npy", mode)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", forge_array(shape))
    with pytest.raises(ValueError, match="8 follow"):
        unpacking.load_arrays(tmp_path / "a.npz")


@dataclasses.dataclass(frozen=True, eq=False)
class Values:
    """A value of a run."""

    numbers: np.ndarray


def test_a_forged_array_of_a_run_is_damage(tmp_path):
    save_value(Values(np.arange(1)), tmp_path)
    assert find_value(Values, tmp_path).numbers.tolist() == [0]
    [path] = tmp_path.glob("*.npy")
    path.write_bytes(forge_array((10**13,)))
    with pytest.raises(DataError, match="what the run holds is damaged"):
        find_value(Values, tmp_path)


def test_every_array_and_tensor_is_read_here():
    readers = re.compile(r"np\.load\(|numpy\.load\(|import load_file|from safetensors\.numpy import load\b")
    root = Path(unpacking.__file__).parents[2]
    files = {path.name for path in root.rglob("*.py") if readers.search(path.read_text(encoding="utf-8"))}
    # written by us a moment ago, of a pinned digest, or a user's picture of many bands, within its bounds
    written_by_us = {"decoded_cache.py", "conversion_process.py", "isolated_decoding.py"}
    assert files == {"unpacking.py", "sentence_encoder.py", "band_values.py", *written_by_us}


def test_a_file_of_arrays_unpacks_within_bounds(tmp_path):
    path = tmp_path / "weights-000.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("names.npy", "w") as member:
        for _ in range(600):
            member.write(MEGABYTE)
    with pytest.raises(DataError, match="unpacks to more than"):
        unpacking.load_arrays(path)


def tensors(header, data=bytes(8), length=None):
    """Bytes of a safetensors file."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


FORGED = {
    "header of exabytes": tensors(b"{}", length=2**62),
    "header beyond the end": tensors(b"{}", length=1000),
    "offset beyond the end": tensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}),
    "offsets too large": tensors({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    "offsets backwards": tensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}),
    "shape that does not fit": tensors({"a": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 8]}}),
    "unknown kind": tensors({"a": {"dtype": "F31", "shape": [2], "data_offsets": [0, 8]}}),
    "deep header": tensors(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "no JSON": tensors(b"{'a': 1}"),
    "empty": b"",
}


@pytest.mark.parametrize("content", FORGED.values(), ids=FORGED)
def test_forged_tensors_are_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(tensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}))
    require_weights(path.name, path, "here")
    assert unpacking.load_tensors(path)["a"].tolist() == [0, 0]
    path.write_bytes(content)
    with pytest.raises(DataError):
        require_weights(path.name, path, "here")
    with pytest.raises(DataError, match="no whole safetensors file"):
        unpacking.load_tensors(path)
