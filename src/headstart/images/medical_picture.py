"""What DICOM and NIfTI have in common: a library of the extra `medical` reads them, one frame or slice counts."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator

from headstart.core import extras
from headstart.core.types import PixelRanges
from headstart.images.codecs import BITS_16, FLOAT, Picture, Samples, require_few_pixels, require_finite_value
from headstart.images.file_formats import PictureError
from headstart.images.medical_values import MedicalError
from headstart.images.quiet_reading import silence_readers

SETTINGS = frozenset({"window", "slice"})


class MedicalPicture(Picture):
    """An opened file of one of the two; `frames` is how many frames or slices it has."""

    package: str  # that reads it
    frames: int

    def __init__(self, content: bytes, max_pixels: int, ranges: PixelRanges) -> None:
        super().__init__(ranges)
        with self._translate_errors():
            try:
                importlib.import_module(self.package)
            except ImportError:
                detail = f"{self.format} needs `{self.package}` of the extra `medical`, which is not installed"
                raise PictureError("unreadable", f"{detail}: {extras.format_install_command('medical')}") from None
            self.open_file(content)
        require_few_pixels(*self.size, max_pixels)
        self.extent = self.size

    def open_file(self, content: bytes) -> None:
        """Parse the header: `size`, `frames`, `frame`, `group`."""
        raise NotImplementedError

    def read_values(self) -> Samples:
        """Decode the frame or slice."""
        raise NotImplementedError

    def count_frames(self) -> int:
        """How many frames or slices the file has."""
        return self.frames

    def decode_samples(self, least: int = 0) -> Samples:
        """See `Picture.decode_samples`."""
        with self._translate_errors():
            samples = self.read_values()
        if samples.kind:
            require_finite_value(samples.values)
            self.notes.add(FLOAT if samples.kind == "floats" else BITS_16)
        return samples

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """A `PictureError` without what caused it, whose text may repeat the file's."""
        try:
            with silence_readers():
                yield
        except PictureError:
            raise
        except MedicalError as err:
            raise PictureError(err.reason, str(err)) from None
        except Exception as err:
            raise PictureError("unreadable", f"damaged {self.format}: {type(err).__name__}") from None
