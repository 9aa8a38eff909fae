"""A training that can be killed at any moment: after each epoch a folder holds all that the next epoch starts from.

`state-003.npz` has the arrays and is written first; `state-003.json` has the facts and makes it count; only then is the
state before removed. `state-over` is what stays of a training that ended; `weights-003.npz` may be asked for later.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstart.core.errors import DataError
from headstart.core.storage import serialization
from headstart.core.storage.files import write_bytes
from headstart.core.storage.unpacking import load_arrays
from headstart.core.types import EpochRow, EpochScores
from headstart.finetuning.training.prefetch import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """What is known of a training after an epoch."""

    key: str  # digest of what the training depends on
    parts: int  # into which each batch is cut
    name: str = ""
    peak: float = 0.0
    epoch: int = 0
    scale: float = 1.0  # factor on all rates that callbacks asked for
    best: int = 0  # the epoch whose weights count
    stopped: str = ""  # why it ended; empty while it has not
    steps: int = 0
    profile: Profile = field(default_factory=Profile)
    start: EpochScores | None = None
    rows: tuple[EpochRow, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True, eq=False)
class TrainingArrays:
    """The arrays beside the facts: weights by path, of optimiser and draws, (E + 1, M, C) float32 logits if any."""

    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    state: list[np.ndarray] = field(default_factory=list)
    logits: np.ndarray | None = None


class CheckpointFolder:
    """The folder of one training; with None all is kept in memory, and a kill loses it."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._memory: dict[int, dict[str, np.ndarray]] = {}

    def load_state(self, key: str) -> tuple[TrainingFacts, TrainingArrays] | None:
        """The last whole state of this training, or None; another training's leavings are removed."""
        if self.path is None or not self.path.is_dir():
            return None
        for name in sorted((p.stem for p in self.path.glob("state-*.json")), reverse=True):
            with contextlib.suppress(DataError, OSError, ValueError, KeyError, zipfile.BadZipFile):
                facts = serialization.find_value(TrainingFacts, self.path, name)
                if facts is not None and facts.key == key:
                    arrays = _unpack_arrays(_read_arrays(self.path / f"{name}.npz"))
                    self._remove_other_states(name)
                    return facts, arrays
        self.clear_states()
        return None

    def save_state(self, facts: TrainingFacts, arrays: TrainingArrays) -> None:
        """Keep a state instead of all earlier ones.

        Raises:
            SetupError: The disk is full, read-only or not permitted.
        """
        if self.path is None:
            return
        name = "state-over" if facts.stopped else f"state-{facts.epoch:03d}"
        _write_arrays(self.path / f"{name}.npz", _pack_arrays(arrays))
        serialization.save_value(facts, self.path, name)
        self._remove_other_states(name)

    def keep_weights(self, epoch: int, weights: Mapping[str, np.ndarray]) -> None:
        """Keep the weights of an epoch."""
        if self.path is None:
            self._memory[epoch] = dict(weights)
        else:
            _write_arrays(self._weights_file(epoch), weights)

    def read_weights(self, epoch: int) -> dict[str, np.ndarray]:
        """The weights of an epoch; a KeyError where they were not kept."""
        if self.path is None:
            return self._memory[epoch]
        if not self._weights_file(epoch).is_file():
            raise KeyError(epoch)
        return _read_arrays(self._weights_file(epoch))

    def drop_weights(self, *, but: int) -> None:
        """Forget the weights of all epochs but the start and one more."""
        self._memory = {epoch: weights for epoch, weights in self._memory.items() if epoch in (0, but)}
        for file in self.path.glob("weights-*.npz") if self.path else ():
            if file not in (self._weights_file(0), self._weights_file(but)):
                file.unlink()

    def clear_states(self) -> None:
        """Forget everything."""
        self._memory = {}
        for file in (*self.path.glob("state-*"), *self.path.glob("weights-*.npz")) if self.path else ():
            file.unlink()

    def _remove_other_states(self, name: str) -> None:
        for old in self.path.glob("state-*") if self.path else ():
            if old.stem != name:
                old.unlink()

    def _weights_file(self, epoch: int) -> Path:
        assert self.path is not None
        return self.path / f"weights-{epoch:03d}.npz"


def _pack_arrays(arrays: TrainingArrays) -> dict[str, np.ndarray]:
    packed = {f"weight:{path}": value for path, value in arrays.weights.items()}
    packed |= {f"state:{number:05d}": value for number, value in enumerate(arrays.state)}
    return packed if arrays.logits is None else {**packed, "logits": arrays.logits}


def _unpack_arrays(packed: dict[str, np.ndarray]) -> TrainingArrays:
    return TrainingArrays(
        weights={name.removeprefix("weight:"): value for name, value in packed.items() if name.startswith("weight:")},
        state=[packed[name] for name in sorted(packed) if name.startswith("state:")],
        logits=packed.get("logits"),
    )


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Without names of files in it: a variable's path has slashes, and two may differ in case alone."""
    buffer = io.BytesIO()
    names = np.array(list(arrays), dtype=np.str_)
    np.savez(buffer, allow_pickle=False, names=names, **{f"a{i:05d}": array for i, array in enumerate(arrays.values())})
    write_bytes(path, buffer.getvalue())


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    content = load_arrays(path)
    return {str(name): content[f"a{i:05d}"] for i, name in enumerate(content["names"])}
