"""Pixels that only GDCM decodes, in a process of its own: on damaged data its C++ may end the process that it runs in.

Each of several threads has a process, as many as there are cores. One starts when it is needed, serves file after file,
ends with this process, and is made anew when it broke off. What it writes to standard error is dropped, for it may
repeat the file.
"""

from __future__ import annotations

import atexit
import functools
import io
import struct
import subprocess
import sys
import threading
from typing import Any

import numpy as np

from headstart.core.settings import count_threads
from headstart.images.medical_values import MedicalError, open_dicom

MOST_S = 60.0  # for one frame
_CODE = "from headstart.images.isolated_decoding import answer_requests; answer_requests()"
_HEAD = struct.Struct("<QQ")  # bytes, and the frame


class _Decoder:
    """A process and its pipes, for one thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, content: bytes, place: int) -> np.ndarray:
        """A frame (H, W) or (H, W, 3) of a DICOM file; raises MedicalError where the decoder breaks off."""
        try:
            answer = self._ask(content, place)
        except (OSError, struct.error):  # it broke off, perhaps for a reason of its own: a new one tries
            self.stop()
            try:
                answer = self._ask(content, place)
            except (OSError, struct.error):
                self.stop()
                answer = b""
        if not answer:
            raise MedicalError("unreadable", "its compressed pixels are damaged")
        return np.asarray(np.load(io.BytesIO(answer)))

    def _ask(self, content: bytes, place: int) -> bytes:
        """The frame as `.npy`, empty where it cannot be decoded; OSError or struct.error where the process ends."""
        if self._process is None:
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self._process = subprocess.Popen([sys.executable, "-c", _CODE], **pipes)
        process: Any = self._process
        alarm = threading.Timer(MOST_S, process.kill)
        alarm.start()
        try:
            process.stdin.write(_HEAD.pack(len(content), place) + content)
            process.stdin.flush()
            (size,) = struct.unpack("<Q", process.stdout.read(8))
            return bytes(process.stdout.read(size))
        finally:
            alarm.cancel()

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    try:
                        pipe.close()
                    except OSError:  # what was still to be written
                        continue
            self._process.wait()
            self._process = None


class _Pool:
    """The processes: a thread takes one that is idle."""

    def __init__(self) -> None:
        self._idle = list[_Decoder]()

    @functools.cached_property
    def _turns(self) -> threading.BoundedSemaphore:
        return threading.BoundedSemaphore(count_threads())

    def decode(self, content: bytes, place: int) -> np.ndarray:
        """See `_Decoder.decode`."""
        with self._turns:
            try:
                decoder = self._idle.pop()
            except IndexError:
                decoder = _Decoder()
            try:
                return decoder.decode(content, place)
            finally:
                self._idle.append(decoder)

    def stop(self) -> None:
        """End the processes."""
        while self._idle:
            self._idle.pop().stop()


_pool = _Pool()
atexit.register(_pool.stop)
decode_frame = _pool.decode


def answer_requests() -> None:
    """The process itself: frames in, arrays out, until nobody asks."""
    from pydicom import pixels

    decode: Any = vars(pixels)["pixel_array"]
    while len(head := sys.stdin.buffer.read(_HEAD.size)) == _HEAD.size:
        size, place = _HEAD.unpack(head)
        out = io.BytesIO()
        try:
            np.save(out, decode(open_dicom(sys.stdin.buffer.read(size)), index=place, decoding_plugin="gdcm"))
        except Exception:  # the other side says that it cannot be decoded
            out = io.BytesIO()
        sys.stdout.buffer.write(struct.pack("<Q", len(out.getvalue())) + out.getvalue())
        sys.stdout.buffer.flush()
