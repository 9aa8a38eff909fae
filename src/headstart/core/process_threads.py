"""One thread for numpy's linear algebra in a process that only answers.

A head's products are tiny, and a linear algebra that shares them among threads has these wait for each other in a loop,
on the very cores that the engine wants: 0.44 ms of CPU time a picture instead of 0.03 (EfficientNet-Lite0, 384
features, 2 cores). One thread besides makes the last bits of an answer independent of the machine's cores.
"""

from __future__ import annotations

import os
import sys

_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS")


def request_single_blas_thread() -> None:
    """Ask for one thread, where numpy is still to be loaded; what the user has set stays."""
    if "numpy" not in sys.modules:
        for name in _VARIABLES:
            os.environ.setdefault(name, "1")
