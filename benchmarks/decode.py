"""What it costs to decode DICOM and 16-bit TIFF to float32 levels, against the field's own library alone.

python -m benchmarks.decode
"""

import io
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from headstart.core.types import PixelRanges
from headstart.images.codecs import open_picture
from headstart.testing.image_files import encode_picture
from headstart.testing.medical_files import make_dicom, shipped_dicom

TURNS = 31
RANGES = PixelRanges(integers=(0.0, 4095.0), precise=True)


def read_by_pydicom(content: bytes) -> np.ndarray:
    """The displayed values, as pydicom's documentation gets them."""
    file = pydicom.dcmread(io.BytesIO(content))
    return apply_voi_lut(apply_modality_lut(file.pixel_array, file), file, index=0)


def read_by_pillow(content: bytes) -> np.ndarray:
    """The values, and the same scaled to 0..255 in float32, as a line of NumPy does it."""
    values = np.asarray(Image.open(io.BytesIO(content))).astype(np.float32)
    return values * np.float32(255 / 4095)


def time_ms(*functions: Callable[[], object]) -> list[float]:
    """Least milliseconds of each, of wall time; they take turns, so that a busy machine slows all alike."""
    for function in functions:
        function()
    times = [[] for _ in functions]
    for _ in range(TURNS):
        for function, spent in zip(functions, times, strict=True):
            started = time.perf_counter()
            function()
            spent.append(1000 * (time.perf_counter() - started))
    return [min(spent) for spent in times]


def compress_jpeg_ls(content: bytes) -> bytes:
    """A DICOM file with its pixels as JPEG-LS, by GDCM."""
    import gdcm

    with tempfile.TemporaryDirectory() as scratch:
        plain, packed = Path(scratch) / "plain.dcm", Path(scratch) / "packed.dcm"
        plain.write_bytes(content)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(plain))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLSLossless))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(packed))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return packed.read_bytes()


def time_threads_ms(function: Callable[[], object]) -> float:
    """Wall milliseconds of one call, where two threads share 100."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: function(), range(8)))
        started = time.perf_counter()
        list(pool.map(lambda _: function(), range(100)))
        return 10 * (time.perf_counter() - started)


def main() -> None:
    """Print one line a kind of file."""
    rng = np.random.default_rng(0)
    small, large = (rng.integers(0, 4096, (side, side)).astype(np.uint16) for side in (512, 2048))
    window = {"WindowCenter": 1000, "WindowWidth": 2000, "RescaleSlope": 1, "RescaleIntercept": -1024}
    files = {
        "DICOM 512 px": (make_dicom(small, **window), read_by_pydicom),
        "DICOM 2,048 px": (make_dicom(large, **window), read_by_pydicom),
        "DICOM JPEG 2000 512 px": (shipped_dicom("693_J2KI.dcm"), read_by_pydicom),
        "DICOM JPEG-LS 64 px, in a process of its own": (
            shipped_dicom("MR_small_jpeg_ls_lossless.dcm"),
            read_by_pydicom,
        ),
        "TIFF of 16 bits 512 px": (encode_picture(Image.fromarray(small), "TIFF"), read_by_pillow),
        "TIFF of 16 bits 2,048 px": (encode_picture(Image.fromarray(large), "TIFF"), read_by_pillow),
        "TIFF of 16 bits, LZW, 2,048 px": (
            encode_picture(Image.fromarray(large), "TIFF", compression="tiff_lzw"),
            read_by_pillow,
        ),
    }
    y, x = np.mgrid[:512, :512]
    smooth = (1500 + 800 * np.sin(x / 40) + 600 * np.cos(y / 30) + rng.normal(0, 30, x.shape)).clip(0, 4095)
    packed = compress_jpeg_ls(make_dicom(smooth.astype(np.uint16), **window))
    files["DICOM JPEG-LS 512 px, in a process of its own"] = packed, read_by_pydicom
    for name, (content, library) in files.items():
        ours_ms, theirs_ms = time_ms(
            lambda content=content: open_picture(content, ranges=RANGES).decode_levels(),
            lambda content=content, library=library: library(content),
        )
        print(f"{name}: {ours_ms:.2f} ms, the library alone {theirs_ms:.2f} ms, ratio {ours_ms / theirs_ms:.2f}")
    ours_ms = time_threads_ms(lambda: open_picture(packed, ranges=RANGES).decode_levels())
    theirs_ms = time_threads_ms(lambda: read_by_pydicom(packed))
    print(f"the same by two threads: {ours_ms:.2f} ms, the library alone {theirs_ms:.2f} ms, {ours_ms / theirs_ms:.2f}")


if __name__ == "__main__":
    main()
