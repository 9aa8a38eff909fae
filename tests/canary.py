"""Files that would leave a mark if anything in them were run, for tests of what must refuse them."""

import io
import os
import pickle

import h5py
import numpy as np


class Canary:
    """A pickle of it leaves a file behind when it is opened; `sang` tells."""

    def __init__(self, folder):
        self.mark = folder / "sang"

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)

    @property
    def sang(self):
        """Whether anything opened it."""
        return self.mark.exists()

    def pickled(self, protocol=4):
        """The bytes of the pickle."""
        return pickle.dumps(self, protocol)

    def lives(self):
        """Prove that the mark is left by whoever does open it; it is taken away again."""
        pickle.loads(self.pickled())
        lives = self.sang
        self.mark.unlink()
        return lives


def hdf5(length=4000):
    """Bytes of an HDF5 file of a length: one array of zeros."""

    def write(count):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.create_dataset("zeros", data=np.zeros(count, np.uint8))
        return buffer.getvalue()

    content = write(length - len(write(1)) + 1)
    assert len(content) == length
    return content
