"""What the network of an earlier run learnt before, looked up in the run's folder while the pictures are still there.

Its head lies in the run. The vectors are made once, by Keras, since the trunk has not been compiled yet; they cost at
most a few seconds, and are left out with the reason where the pictures have gone or changed.
"""

from __future__ import annotations

import contextlib
import itertools

import numpy as np

from headstart.backbones.earlier_runs import source_task
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core.errors import DataError
from headstart.core.settings import count_threads
from headstart.core.storage.cache import Store
from headstart.core.types import Dataset, SourceTask, Splits, TunedNetwork
from headstart.images.preprocessing import batches
from headstart.networks.formats.keras_writer import FEATURES
from headstart.statistics.sampling import spread

_BATCH = 32
_GONE = "the pictures of its run are no longer where it read them, or have changed"


def look(
    network: TunedNetwork, of: ResolvedBackbone, store: Store, data: Dataset | None, splits: Splits | None
) -> SourceTask:
    """What a run's network learnt from.

    Args:
        network: As the run saved it.
        of: The trunk that was made of it.
        store: Holds its copy.
        data: The run's pictures; None where the run has lost them.
        splits: Who learnt.
    """
    head = {name: np.asarray(network.fitted.arrays[name], np.float32) for name in ("weights", "bias")}
    pictures, why = dict[str, np.ndarray](), _GONE
    if data is not None and splits is not None:
        with contextlib.suppress(DataError):
            pictures, why = _vectors(data, sample(data, splits, of.spec.flops), of, store), ""
    return SourceTask(head=head, depth=FEATURES, pictures=pictures, no_pictures=why)


def sample(data: Dataset, splits: Splits, flops: int) -> np.ndarray:
    """(S,) int64 rows of every class in its share, those of a class one after the other; equal pictures once.

    Args:
        data: The run's pictures.
        splits: Who learnt.
        flops: Of one picture: a dear trunk sees fewer, but 64.
    """
    first: dict[str, int] = {}
    for row in np.asarray(splits.train).tolist():
        first.setdefault(data.digests[row], row)
    rows = np.array(list(first.values()), np.int64)
    ordered = rows[np.argsort(np.asarray(data.targets)[rows], kind="stable")]
    most = int(np.clip(source_task.OPERATIONS / max(flops, 1), source_task.LEAST, source_task.MOST))
    return np.asarray(ordered[spread(len(ordered), most)])


def _vectors(data: Dataset, rows: np.ndarray, of: ResolvedBackbone, store: Store) -> dict[str, np.ndarray]:
    """Depth -> (S, D) float32."""
    from headstart.networks.openvino_conversion import KerasEngine, quiet

    given = batches(
        data.root, data.uris, rows, of.spec.input, batch=_BATCH, threads=count_threads(), digests=data.digests
    )
    first = next(given)  # a picture that has gone is found before Keras is loaded
    with quiet():
        engine = KerasEngine(of.build(store))
        found = [outputs for _, outputs in engine.run(itertools.chain([first], given))]
    joined = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return {depth.name: values for depth, values in zip(of.spec.depths, joined, strict=True)}
