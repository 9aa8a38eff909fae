"""One thread for numpy's linear algebra, so that the last bits of a result do not depend on the machine's cores.

A process that only answers asks for it before numpy is loaded: 0.03 ms of CPU time a picture instead of 0.44
(EfficientNet-Lite0, 384 features, 2 cores). While heads are fitted several folds run side by side instead: a 5-fold
probe takes 2 s of wall time with one thread each, 20 s without the limit (2 cores).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS")


def request_single_blas_thread() -> None:
    """Ask for one thread, where numpy is still to be loaded; what the user has set stays."""
    if "numpy" not in sys.modules:
        for name in _VARIABLES:
            os.environ.setdefault(name, "1")


@cache
def _make_controller() -> Any:
    import scipy.linalg  # noqa: F401  (its library and numpy's must be loaded before they can be found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Run the block with one BLAS thread; nesting is harmless."""
    with _make_controller().limit(limits=1, user_api="blas"):
        yield
