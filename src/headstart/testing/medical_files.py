"""Medical pictures for tests: DICOM files of any elements, NIfTI volumes, and real DICOM files that pydicom ships."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np


def shipped_dicom(name: str) -> bytes:
    """The bytes of one of the real files in pydicom's own package."""
    from pydicom import data

    folder = Path(str(data.__file__)).parent
    return next(path for path in folder.rglob(name)).read_bytes()


def make_dicom(values: np.ndarray, *, syntax: str = "1.2.840.10008.1.2.1", **elements: Any) -> bytes:
    """A DICOM file of (H, W) or (frames, H, W) integers, or of (H, W, 3) uint8 RGB; `elements` are set as named."""
    from pydicom.dataset import Dataset, FileMetaDataset

    file: Any = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = syntax
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = "1.2.3.4.5"
    is_colour = values.ndim == 3 and values.shape[2] == 3 and values.dtype == np.uint8
    file.SamplesPerPixel, file.PhotometricInterpretation = (3, "RGB") if is_colour else (1, "MONOCHROME2")
    if is_colour:
        file.PlanarConfiguration = 0
    if values.ndim == 3 and not is_colour:
        file.NumberOfFrames = len(values)
    file.Rows, file.Columns = values.shape[:2] if is_colour else values.shape[-2:]
    file.BitsAllocated = file.BitsStored = 8 * values.itemsize
    file.HighBit, file.PixelRepresentation = file.BitsStored - 1, int(values.dtype.kind == "i")
    file.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    for name, value in elements.items():
        setattr(file, name, value)
    out = io.BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()


def make_nifti(values: np.ndarray, affine: np.ndarray, *, slope: float = 1.0, inter: float = 0.0) -> bytes:
    """A NIfTI file of (X, Y, Z) values, which it stores as they are."""
    nibabel: Any = importlib.import_module("nibabel")
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_slope_inter(slope, inter)
    content = bytearray(image.to_bytes())
    content[112:120] = np.array([slope, inter], "<f4").tobytes()
    start = int(image.header["vox_offset"]) or 352
    content[start : start + values.nbytes] = values.astype(values.dtype.newbyteorder("<")).tobytes(order="F")
    return bytes(content)
