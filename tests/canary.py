"""Files that would leave a mark if anything in them were run, for tests of what must refuse them."""

import os
import pickle
import struct


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


def hdf5(length=4000, stated=None):
    """Bytes that begin as an HDF5 file of a length does (superblock version 0), and hold nothing."""
    versions = bytes([0, 0, 0, 0, 0, 8, 8, 0]) + struct.pack("<HHI", 4, 16, 0)
    head = b"\x89HDF\r\n\x1a\n" + versions + struct.pack("<QQQQ", 0, 2**64 - 1, stated or length, 2**64 - 1)
    return head + bytes(length - len(head))
