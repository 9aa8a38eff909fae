"""The values of DICOM pictures by pydicom and of NIfTI volumes by nibabel, and what makes black and white of them.

Nothing of headstart is needed here: exports carry this file's text in their `predict.py`. No message repeats a value of
the file, for it may tell of a patient.
"""

import gzip
import importlib
import io
import re
import zlib
from typing import Any

import numpy as np

MEDICAL_HEAD = 352  # bytes of a file's beginning tell what it is
MEDICAL_BYTES = 1_000_000_000  # of an unpacked volume
PLANES = ("sagittal", "coronal", "axial")  # in the order of the axes that stand upright on them: right, front, up
DICOMDIR = "1.2.840.10008.1.3.10"
BY_PILLOW = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 90, 91))  # JPEG, JPEG 2000
BY_GDCM = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (57, 70, 80, 81))  # lossless JPEG, JPEG-LS


_BARE = re.compile(rb"\x02\0\0\0UL\x04\0|\x08\0[\0\x05\x08\x12-\x18]\0(CS|UI|DA|UL|LO|[^\0]\0\0\0)")  # no preamble
_GZIP = b"\x1f\x8b\x08"
_SIZES = tuple(size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big"))  # of a header


class MedicalError(ValueError):
    """A file without a picture that can be read; `reason` is one of the words of `SkippedFile.reason`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def find_medical_format(head: bytes) -> str:
    """`DICOM` or `NIfTI` where a file's first `MEDICAL_HEAD` bytes announce it, else empty."""
    if head[128:132] == b"DICM" or _BARE.match(head):
        return "DICOM"
    if head.startswith(_GZIP):
        try:
            return "NIfTI" if zlib.decompressobj(31).decompress(head, 4) in _SIZES else ""
        except zlib.error:
            return ""
    return "NIfTI" if (head[:4] in _SIZES and head[344:348] == b"n+1\0") or head[4:7] == b"n+2" else ""


def choose_place(count: int, where: str) -> int:
    """The place, from 0, of `first`, `middle`, `last` or a number from 1 among so many frames or slices."""
    places = {"first": 0, "middle": count // 2, "last": count - 1}
    place = places[where] if where in places else int(where) - 1
    if not 0 <= place < count:
        raise MedicalError("unreadable", f"it has {count} frames or slices, and number {where} is asked for")
    return place


def split_slice(text: str) -> tuple[str, str]:
    """Plane and place of `[PLANE:]PLACE`; empty is `axial:middle`."""
    plane, _, place = (text or "middle").rpartition(":")
    return plane or "axial", place


# ---------------------------------------------------------------- DICOM


def open_dicom(content: bytes) -> Any:
    """Parse a DICOM file's bytes; the pixels stay encoded."""
    try:
        from pydicom import dcmread
        from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
    except ImportError:
        raise MedicalError("unreadable", "DICOM needs pydicom: pip install pydicom python-gdcm") from None
    try:
        file = dcmread(io.BytesIO(content), force=True)
        meta = file.file_meta
        if DICOMDIR in (meta.get("MediaStorageSOPClassUID"), file.get("SOPClassUID")):
            raise MedicalError("not_a_picture", "a DICOMDIR lists files and holds no picture")
        if not any(name in file for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            kind = _name_uid(file.get("SOPClassUID"), "")
            if "Rows" in file or "Image Storage" in kind:
                raise MedicalError("truncated", "it describes a picture, and has no pixels")
            raise MedicalError("not_a_picture", f"{kind or 'DICOM without a picture'}: it has no pixels")
        if "TransferSyntaxUID" not in meta:
            implicit, little = file.original_encoding
            plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            meta.TransferSyntaxUID = plain
        if not (file.get("Rows") and file.get("Columns")):
            raise MedicalError("unreadable", "the DICOM header names no size of the picture")
    except MedicalError:
        raise
    except EOFError:
        raise MedicalError("truncated", "the DICOM data ends early") from None
    except Exception as err:
        raise MedicalError("unreadable", f"damaged DICOM: {type(err).__name__}") from None
    return file


def _name_uid(uid: Any, otherwise: str) -> str:
    """What DICOM calls it; one that it does not know is a value of the file."""
    name = str(getattr(uid, "name", ""))
    return otherwise if not name or name == str(uid) else name


def count_dicom_frames(file: Any) -> int:
    """How many frames a file has; one where it does not say."""
    try:
        return max(1, int(file.get("NumberOfFrames") or 1))
    except (TypeError, ValueError):
        return 1


def read_dicom_values(file: Any, place: int, window: str, by_gdcm: Any = None) -> tuple[Any, str, Any]:
    """What the sensor saw: values (H, W, B), their kind and their ends, as `headstart.images.codecs.Samples` has them.

    `window` is empty for the file's own, `none`, or `CENTER,WIDTH`. `by_gdcm()` decodes what only GDCM can.
    """
    pixels: Any = importlib.import_module("pydicom.pixels")
    try:
        _require_pixels(file)
        plugin = _choose_plugin(file.file_meta.TransferSyntaxUID)
        values = (
            by_gdcm() if plugin == "gdcm" and by_gdcm else pixels.pixel_array(file, index=place, decoding_plugin=plugin)
        )
        if file.PhotometricInterpretation == "PALETTE COLOR":
            values = pixels.apply_color_lut(values, file)
            return (values, "", None) if values.dtype == np.uint8 else (values, "integers", (0.0, 65535.0))
        if values.ndim == 3:
            return (values, "", None) if values.dtype == np.uint8 else (values, "integers", None)
        return _read_grey(file, place, window, values)
    except MedicalError:
        raise
    except Exception as err:
        name = _name_uid(file.file_meta.TransferSyntaxUID, "of an unknown kind")
        raise MedicalError("unreadable", f"its pixels ({name}) cannot be decoded: {type(err).__name__}") from None


def _choose_plugin(syntax: Any) -> str:
    """Which of pydicom's decoders: those that damaged data cannot bring down come first; empty without compression."""
    if syntax in importlib.import_module("pydicom.uid").UncompressedTransferSyntaxes:
        return ""
    if syntax == "1.2.840.10008.1.2.5":  # RLE
        return "pydicom"
    return "pillow" if syntax in BY_PILLOW else "gdcm" if syntax in BY_GDCM else ""


def _require_pixels(file: Any) -> None:
    """Refuse pixels that are fewer or more than announced, and a compression that nothing installed reads."""
    pixels: Any = importlib.import_module("pydicom.pixels")
    syntax = file.file_meta.TransferSyntaxUID
    if syntax in importlib.import_module("pydicom.uid").UncompressedTransferSyntaxes:
        name = next(name for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if name in file)
        try:
            expected, length = int(pixels.utils.get_expected_length(file)), len(file[name].value)
        except Exception:
            raise MedicalError("unreadable", "the DICOM header does not describe its pixels") from None
        if length < expected:
            raise MedicalError("truncated", f"its pixels are {length:,} bytes, and the header announces {expected:,}")
        if length > expected + 1:  # one byte makes the length even
            raise MedicalError("unreadable", f"its pixels are {length:,} bytes, and the header announces {expected:,}")
        return
    try:
        available = pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        package = "python-gdcm" if syntax in BY_GDCM else "pylibjpeg-openjpeg"
        remedy = f"pip install {package}" if syntax in BY_GDCM or syntax.startswith("1.2.840.10008.1.2.4.20") else ""
        detail = f"its pixels are compressed as {_name_uid(syntax, 'nothing known')}, and no installed package reads it"
        raise MedicalError("unreadable", f"{detail}: {remedy}" if remedy else detail)
    if syntax in BY_PILLOW[:2] and int(file.get("BitsStored") or 8) > 8:
        detail = "its pixels are a JPEG of 12 bits, and 8 are read: store it uncompressed, as JPEG 2000 or JPEG-LS"
        raise MedicalError("unreadable", detail)


def _read_grey(file: Any, place: int, window: str, values: Any) -> tuple[Any, str, Any]:
    pixels: Any = importlib.import_module("pydicom.pixels")
    inverted, bits = file.PhotometricInterpretation == "MONOCHROME1", int(file.get("BitsStored") or 8)
    is_plain = values.dtype == np.uint8 and bits == 8
    group = "PixelValueTransformationSequence"
    slope, offset = (_find_element(file, place, group, name) for name in ("RescaleSlope", "RescaleIntercept"))
    slope, offset = float(1 if slope is None else slope), float(offset or 0)
    if "ModalityLUTSequence" in file:
        values, is_plain = pixels.apply_modality_lut(values, file), False
    elif (slope, offset) != (1.0, 0.0):
        is_whole = values.dtype.kind in "iu" and slope.is_integer() and offset.is_integer()
        number = np.int32 if is_whole and values.itemsize <= 2 else np.float32 if values.itemsize <= 2 else np.float64
        values, is_plain = values.astype(number), False
        values *= number(slope)
        values += number(offset)
    if not window and "VOILUTSequence" in file:
        table = file.VOILUTSequence[0]
        values, ends = pixels.apply_voi(values, file), (0.0, 2.0 ** int(table.LUTDescriptor[2]) - 1)
    else:
        values, ends = _find_window(file, place, window, values)
    if ends is None and is_plain:
        return (255 - values if inverted else values)[..., None], "", None
    if ends is None and bits < 8 and values.dtype == np.uint8:
        ends = (0.0, 2.0**bits - 1)
    if ends is None and inverted:  # its own ends, for the range of a set has no sides
        ends = (float(values.min()), float(values.max()))
    if ends == (0.0, 255.0) and values.dtype == np.uint8:
        return (255 - values if inverted else values)[..., None], "", None
    kind = "floats" if values.dtype.kind == "f" else "integers"
    return values[..., None], kind, ends[::-1] if ends is not None and inverted else ends


def _find_window(file: Any, place: int, window: str, values: Any) -> tuple[Any, Any]:
    """Values, for a sigmoid bends them, and their black and white; no ends where neither file nor setting has any."""
    if window == "none":
        return values, None
    if window:
        center, width = map(float, window.split(","))
        return values, (center - width / 2, center + width / 2)
    names = ("WindowCenter", "WindowWidth", "VOILUTFunction")
    center, width, shape = (_find_element(file, place, "FrameVOILUTSequence", name) for name in names)
    if center is None or width is None or float(width) <= 0:
        return values, None
    center, width = float(center), float(width)
    if shape == "SIGMOID":
        bent = 255 / (1 + np.exp(np.float32(-4 / width) * (values.astype(np.float32) - np.float32(center))))
        return bent, (0.0, 255.0)
    if shape == "LINEAR_EXACT":
        return values, (center - width / 2, center + width / 2)
    low = center - 0.5 - (width - 1) / 2  # DICOM PS3.3 C.11.2.1.2.1
    return values, (low, low + max(width - 1, 1e-6))


def _find_element(file: Any, place: int, sequence: str, name: str) -> Any:
    """The first value of an element at the top, of all frames or of one frame; None without any."""
    shared = list(file.get("SharedFunctionalGroupsSequence") or ())[:1]
    frames = list(file.get("PerFrameFunctionalGroupsSequence") or ())[place : place + 1]
    holders: list[Any] = [next(iter(group.get(sequence) or ()), {}) for group in (*shared, *frames)]
    for holder in (file, *holders):
        value = holder.get(name)
        if value is not None and value != "":
            return value if isinstance(value, int | float | str) else value[0]
    return None


# ---------------------------------------------------------------- NIfTI


class Volume:
    """An opened NIfTI file in one plane: `count` slices of `size` (width, height); nothing but its header is read.

    The affine turns it to RAS+ (right, front, up). Of several volumes the first counts.
    """

    def __init__(self, content: bytes, plane: str) -> None:
        try:
            nibabel: Any = importlib.import_module("nibabel")
        except ImportError:
            raise MedicalError("unreadable", "NIfTI needs nibabel: pip install nibabel") from None
        content = _unpack_volume(content)
        try:
            kind = nibabel.Nifti2Image if content[:4] in _SIZES[2:] else nibabel.Nifti1Image
            self._image: Any = kind.from_bytes(content)
            turns = nibabel.io_orientation(self._image.affine)
        except Exception as err:  # nibabel has no common class for it, and may repeat what the header says
            raise MedicalError("unreadable", f"damaged NIfTI: {type(err).__name__}") from None
        shape = self._image.shape
        if len(shape) < 3 or min(shape) < 1 or np.isnan(turns).any():
            raise MedicalError("unreadable", "the NIfTI file is no volume of three dimensions")
        needed = self._image.dataobj.offset + int(np.prod(shape)) * self._image.get_data_dtype().itemsize
        if len(content) < needed:
            raise MedicalError("truncated", f"it has {len(content):,} bytes, and the header announces {needed:,}")
        self._axis, self._turns = PLANES.index(plane), turns.astype(int)
        across, up = (shape[self._find_axis(axis)] for axis in range(3) if axis != self._axis)
        self.size = (across, up)
        self.count = int(shape[self._find_axis(self._axis)])

    def _find_axis(self, axis: int) -> int:
        """Where the file has an axis of RAS+."""
        return int(np.flatnonzero(self._turns[:, 0] == axis)[0])

    def read_slice(self, place: int, window: str) -> tuple[Any, str, Any]:
        """Values (H, W, B), their kind and their ends, as `read_dicom_values`: the front, or the head, is up."""
        cut: list[Any] = [0] * len(self._image.shape)
        for at, (axis, flip) in enumerate(self._turns):
            cut[at] = slice(None, None, int(flip))
            if axis == self._axis:
                cut[at] = place if flip > 0 else self.count - 1 - place
        try:
            values = np.asarray(self._image.dataobj[tuple(cut)])
        except Exception as err:
            raise MedicalError("unreadable", f"damaged NIfTI values: {type(err).__name__}") from None
        axes = [axis for axis, _ in self._turns if axis != self._axis]
        values = (values.T if axes[0] < axes[1] else values)[::-1]
        if values.dtype.names:  # RGB
            return np.stack([values[name] for name in values.dtype.names[:3]], axis=-1), "", None
        if values.dtype.kind not in "iuf":
            raise MedicalError("unreadable", f"NIfTI of {values.dtype} is not read; grey and RGB are")
        _, ends = _find_window({}, 0, window, values)
        kind = "floats" if values.dtype.kind == "f" else "" if values.dtype == np.uint8 and not ends else "integers"
        return values[..., None], kind, ends


def _unpack_volume(content: bytes) -> bytes:
    """A `.nii.gz` unpacked, as far as `MEDICAL_BYTES`."""
    if not content.startswith(_GZIP):
        return content
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            unpacked = packed.read(MEDICAL_BYTES + 1)
    except EOFError:
        raise MedicalError("truncated", "the gzip data ends early") from None
    except (OSError, zlib.error):
        raise MedicalError("unreadable", "damaged gzip data") from None
    if len(unpacked) > MEDICAL_BYTES:
        raise MedicalError("unreadable", f"unpacked it has more than {MEDICAL_BYTES:,} bytes")
    return unpacked
