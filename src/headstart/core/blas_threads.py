"""One thread for numpy's linear algebra while heads are fitted.

A product's last bits depend on how many threads share it, so one thread makes results independent of the machine's
cores; several folds then run side by side instead. Left alone, every fold would start as many threads as there are
cores: the same 5-fold probe took 20 s of wall time that way and 2 s pinned (2 cores).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@cache
def _controller() -> Any:
    import numpy  # noqa: F401  (its library must be loaded before it can be found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Run the block with one BLAS thread; nesting is harmless."""
    with _controller().limit(limits=1, user_api="blas"):
        yield
