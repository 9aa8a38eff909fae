"""A linear head for each setting of a grid: what the linear plugins do alike around their own solutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core import blas_threads
from headstart.core.types import FittedHead

FROM_NAMES_SUFFIX = "_from_names"  # after the name of a head that starts from the names of the classes


def fit_path(
    head: str,
    params: Sequence[Mapping[str, Any]],
    n_classes: int,
    solve: Callable[[Mapping[str, Any]], dict[str, np.ndarray]],
) -> Iterator[FittedHead]:
    """One linear head for each setting, in this order, solved on one BLAS thread when it is asked for.

    `solve` gives `weights` (D, C) and `bias` (C,) for a setting.
    """
    for setting in params:
        with blas_threads.single_blas_thread():
            arrays = solve(setting)
        size = arrays["weights"].size + n_classes
        yield FittedHead(head=head, kind="linear", params=dict(setting), arrays=arrays, trainable_params=size)
