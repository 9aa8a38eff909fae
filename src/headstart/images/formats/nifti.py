"""NIfTI volumes, read by nibabel: one slice of a volume is the picture.

An axial slice is shown with the front up, the other two with the head up; columns run from left to right, or from back
to front.
"""

from __future__ import annotations

from headstart.images.codecs import Samples
from headstart.images.file_formats import PictureFormat
from headstart.images.medical_picture import SETTINGS, MedicalPicture
from headstart.images.medical_values import Volume, choose_place, find_medical_format, split_slice


class NiftiPicture(MedicalPicture):
    """An opened file; see `Picture`."""

    format, package = "NIfTI", "nibabel"

    def open_file(self, content: bytes) -> None:
        """Parse the header."""
        plane, place = split_slice(self.ranges.slice)
        self._volume = Volume(content, plane)
        self.size, self.frames = self._volume.size, self._volume.count
        self.frame = choose_place(self.frames, place)

    def read_values(self) -> Samples:
        """Read the slice."""
        values, kind, ends = self._volume.read_slice(self.frame, self.ranges.window)
        return Samples(values=values, kind=kind, ends=ends)


PLUGIN = PictureFormat(
    names=("NIfTI",),
    recognises=lambda head: find_medical_format(head) == "NIfTI",
    open=NiftiPicture,
    settings=SETTINGS,
)
