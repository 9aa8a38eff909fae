"""Medical pictures for tests: DICOM files of any elements, NIfTI volumes, and real DICOM files that pydicom ships."""

from __future__ import annotations

import gzip
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
    if file.PixelData is None:
        del file.PixelData
    elif file.file_meta.TransferSyntaxUID.is_encapsulated:
        file["PixelData"].is_undefined_length = True
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


def make_medical_files(scene: np.ndarray) -> dict[str, tuple[bytes, str]]:
    """File name -> bytes and the reason for which it must be excused, empty for pictures, of the grey scene (H, W)."""
    grey = scene.astype(np.uint16)
    volume = np.repeat(scene.T[:, ::-1, None], 5, axis=2)
    bare = make_dicom(grey * 16, syntax="1.2.840.10008.1.2")
    nifti = make_nifti(volume.astype(np.int16), np.eye(4))
    sound = {
        "IM0001": make_dicom(grey * 16),
        "no-preamble": bare[132:],
        "eight-bits.dcm": make_dicom(scene),
        "signed.dcm": make_dicom(grey.astype(np.int16) * 8 - 1024, RescaleSlope=1, RescaleIntercept=-1024),
        "windowed.dcm": make_dicom(grey * 16, WindowCenter=2048, WindowWidth=4096),
        "monochrome1.dcm": make_dicom(4080 - grey * 16, PhotometricInterpretation="MONOCHROME1"),
        "frames.dcm": make_dicom(np.stack([grey * 16] * 3)),
        "colour.dcm": make_dicom(np.repeat(scene[..., None], 3, axis=-1)),
        "implicit.dcm": bare,
        "palette.dcm": shipped_dicom("examples_palette.dcm"),
        "rle.dcm": shipped_dicom("MR_small_RLE.dcm"),
        "jpeg-ls.dcm": shipped_dicom("MR_small_jpeg_ls_lossless.dcm"),
        "jpeg-2000.dcm": shipped_dicom("MR_small_jp2klossless.dcm"),
        "ybr-jpeg.dcm": shipped_dicom("SC_rgb_jpeg_dcmtk.dcm"),
        "big-endian.dcm": shipped_dicom("MR_small_bigendian.dcm"),
        "volume.nii": nifti,
        "packed.nii.gz": gzip.compress(nifti),
        "floats.nii": make_nifti(volume.astype(np.float32) / 7, np.eye(4)),
    }
    packed = gzip.compress(nifti)
    broken = {
        "plan.dcm": (shipped_dicom("rtplan.dcm"), "not_a_picture"),
        "report.dcm": (shipped_dicom("reportsi.dcm"), "not_a_picture"),
        "DICOMDIR": (shipped_dicom("DICOMDIR"), "not_a_picture"),
        "stripped.dcm": (make_dicom(grey, PixelData=None), "truncated"),
        "cut.dcm": (sound["IM0001"][:-4000], "truncated"),
        "cut-in-header.dcm": (sound["IM0001"][:400], "truncated"),
        "too-long.dcm": (make_dicom(grey, Rows=4), "unreadable"),
        "no-size.dcm": (make_dicom(grey, Rows=0), "unreadable"),
        "huge.dcm": (make_dicom(grey, Rows=60_000, Columns=60_000), "too_many_pixels"),
        "video.dcm": (_compress(grey, "1.2.840.10008.1.2.4.102"), "unreadable"),
        "private-syntax.dcm": (
            sound["IM0001"].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.9.9.9\0"),
            "unreadable",
        ),
        "no-jpeg.dcm": (_compress(grey, "1.2.840.10008.1.2.4.70"), "unreadable"),
        "twelve-bit-jpeg.dcm": (shipped_dicom("JPGExtended.dcm"), "unreadable"),
        "cut.nii": (nifti[:-200], "truncated"),
        "cut.nii.gz": (packed[: len(packed) // 2], "truncated"),
        "flat.nii": (make_nifti(volume[..., 0].astype(np.int16), np.eye(4)), "unreadable"),
        "complex.nii": (make_nifti(volume.astype(np.complex64), np.eye(4)), "unreadable"),
        "no-number.nii": (make_nifti(np.full((4, 4, 4), np.nan, np.float32), np.eye(4)), "unreadable"),
    }
    return {name: (content, "") for name, content in sound.items()} | broken


def _compress(values: np.ndarray, syntax: str) -> bytes:
    """A DICOM file that says how it is compressed, and holds something else."""
    from pydicom.encaps import encapsulate

    return make_dicom(values, syntax=syntax, PixelData=encapsulate([b"not a picture at all"]))
