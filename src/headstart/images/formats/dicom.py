"""DICOM, read by pydicom: single pictures and multi-frame files, of which one frame counts.

Values are rescaled to what they measure (Hounsfield units, say); the file's own window, or one that is asked for, makes
black and white of them. Of who is shown only a digest is kept, as the group of the picture.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

from headstart.images import isolated_decoding
from headstart.images.codecs import Origin, Samples, digest_camera
from headstart.images.file_formats import PictureFormat
from headstart.images.medical_picture import SETTINGS, MedicalPicture
from headstart.images.medical_values import (
    choose_place,
    count_dicom_frames,
    find_medical_format,
    open_dicom,
    read_dicom_values,
    split_slice,
)

_OWNERS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")  # the first that is there is the group
_SCANNER = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions")


class DicomPicture(MedicalPicture):
    """An opened file; see `Picture`."""

    format, package = "DICOM", "pydicom"

    def open_file(self, content: bytes) -> None:
        """Parse the header."""
        self._file, self._content = open_dicom(content), content
        self.size = (int(self._file.Columns), int(self._file.Rows))
        self.frames = count_dicom_frames(self._file)
        self.frame = choose_place(self.frames, split_slice(self.ranges.slice)[1])
        self.group = _digest_owner(self._file)

    def read_values(self) -> Samples:
        """Decode the frame."""
        by_gdcm = partial(isolated_decoding.decode_frame, self._content, self.frame)
        values, kind, ends = read_dicom_values(self._file, self.frame, self.ranges.window, by_gdcm)
        return Samples(values=values, kind=kind, ends=ends)

    def read_origin(self) -> Origin:
        """The scanner; dates of patients are not read."""
        return Origin(digest_camera(str(self._file.get(name) or "") for name in _SCANNER))


def _digest_owner(file: Any) -> int:
    """64 bits of the SHA-256 of the patient, study or series: the same for all pictures of one, and no name."""
    for name in _OWNERS:
        if value := str(file.get(name) or "").strip():
            issuer = str(file.get("IssuerOfPatientID") or "").strip() if name == "PatientID" else ""
            return int.from_bytes(hashlib.sha256(f"{name}\0{issuer}\0{value}".encode()).digest()[:8], "big")
    return 0


PLUGIN = PictureFormat(
    names=("DICOM",),
    recognises=lambda head: find_medical_format(head) == "DICOM",
    open=DicomPicture,
    settings=SETTINGS,
)
