"""What this user's own runs came to: one small record a run, kept in the cache, from which later runs learn.

A record holds numbers and names of public backbones, and no picture, file, class or folder; a backbone of the user's
own is known by its content. Its address is the digest of the pictures and the job, so a run that is repeated or resumed
counts once. Nothing leaves the machine; another cache knows nothing of it, and `HEADSTART_HISTORY=off` neither reads
nor writes. Whoever lets a record decide anything does so inside `ctx.decide`, so that a killed run ends as it would
have ended.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.backbones import capabilities
from headstart.core import registry
from headstart.core.errors import SetupError
from headstart.core.job import Job
from headstart.core.settings import learns
from headstart.core.storage import serialization
from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json
from headstart.core.storage.hashing import compute_digest
from headstart.core.types import BackboneSpec, Score

FORMAT = 1
MOST = 200  # records, the latest
OWN = "own:"  # before the content of a backbone of the user's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one backbone came to in a run.

    Attributes:
        key: See `key`.
        prior: Its published accuracy, 0..1.
        published: False where `prior` is a guess, or of the backbone that it grew from.
        probe: Balanced accuracy of its best depth, of split `cv`, or `screen` where it came no further.
    """

    key: str
    prior: float
    published: bool = True
    probe: tuple[Score, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one run came to.

    Attributes:
        address: Digest of the pictures and the job.
        pictures_digest: Of the data set: runs of one set share what is easy or hard about it.
        made_s: When the run ended, seconds since 1970.
        classes: How many had pictures to learn from.
        counts: Training pictures of each of these classes, the largest first.
        strategy: Of the job.
        explicit: The job gave a recipe, so no budget ended the training.
        backbones: All that were measured.
        probe: Cross-validated scores of the head that won on frozen features.
        final: Scores of what was handed over, on the split that judged.
        planned_s: Seconds that were reckoned for it, before anything was learnt of earlier runs; NaN where unknown.
        taken_s: Seconds that it took; NaN where it was done in several goes.
        format: Version of this layout.
    """

    address: str
    pictures_digest: str
    made_s: float
    classes: int
    counts: tuple[int, ...]
    strategy: str
    explicit: bool = False
    backbones: tuple[Measured, ...] = ()
    probe: tuple[Score, ...] = ()
    final: tuple[Score, ...] = ()
    planned_s: float = math.nan
    taken_s: float = math.nan
    format: int = FORMAT


def own(spec: BackboneSpec) -> bool:
    """Whether a backbone is the user's own."""
    source = spec.name.partition(":")[0]
    return source in registry.list_plugins("backbones") and capabilities.own(registry.load_plugin("backbones", source))


def key(spec: BackboneSpec) -> str:
    """By what a backbone is known over runs: its name, or its content where the name is the user's own."""
    return f"{OWN}{spec.revision}" if own(spec) else spec.name


def address(pictures: str, job: Job) -> str:
    """The address of a run's record.

    Args:
        pictures: Digest of the data set; the folder's own name has no say.
        job: The request.
    """
    return compute_digest({"pictures": pictures, "job": replace(job, data="")})


def score(of: Sequence[Score], name: str) -> Score | None:
    """The score of this name, where it could be measured."""
    return next((s for s in of if s.name == name and not s.subject and s.n > 0 and math.isfinite(s.value)), None)


def keep(record: Record, store: Store) -> None:
    """Write a record, unless the setting forbids or the same run has left one: a repetition finds much in the cache.

    Where there are more than `MOST` then, the oldest go.

    Raises:
        SetupError: The disk refuses.
    """
    path = _folder(store) / f"{record.address}.json"
    if not learns() or (path.is_file() and _read(path, lambda sentence: None) is not None):
        return
    serialization.save_value(record, path.parent, path.stem)
    for old in _sound_ones(store, lambda sentence: None)[:-MOST]:
        with contextlib.suppress(OSError):  # another run may be at it
            (path.parent / f"{old.address}.json").unlink()


def records(store: Store, report: Callable[[str], None], *, but: str = "") -> tuple[Record, ...]:
    """The latest records, the oldest of them first; empty where the setting forbids.

    Args:
        store: The cache.
        report: Called with one sentence for each file that is passed over: damaged, or of another version.
        but: Address of the run that asks, which must not learn from itself.
    """
    if not learns():
        return ()
    return tuple(one for one in _sound_ones(store, report) if one.address != but)[-MOST:]


def _sound_ones(store: Store, report: Callable[[str], None]) -> list[Record]:
    """All that can be used, the oldest first."""
    found = [one for path in sorted(_folder(store).glob("*.json")) if (one := _read(path, report)) is not None]
    return sorted(found, key=lambda one: (one.made_s, one.address))


def _folder(store: Store) -> Path:
    return store.root / "history"


def _read(path: Path, report: Callable[[str], None]) -> Record | None:
    told = f"the record {path.stem[:12]} of an earlier run is passed over:"
    try:
        content: Any = read_json(path)
        if content["format"] != FORMAT:
            report(f"{told} it has format {content['format']}, this version reads {FORMAT}")
            return None
        return _sound(serialization.load_value(Record, path.parent, path.stem), path.stem)
    except (OSError, SetupError) as err:
        report(f"{told} it cannot be read ({err})")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        report(f"{told} it is damaged ({err!r})")
    return None


def _sound(found: Record, stem: str) -> Record:
    """Refuse what no run can have come to.

    Raises:
        ValueError: With what is wrong.
    """
    scores = [*(s for one in found.backbones for s in one.probe), *found.probe, *found.final]
    right = {
        "address": found.address == stem,
        "made_s": math.isfinite(found.made_s),
        "counts": 0 < len(found.counts) == found.classes and min(found.counts) > 0,
        "prior": all(0 <= one.prior <= 1 for one in found.backbones),
        "scores": all(0 <= s.value <= 1 and s.n > 0 if s.n else math.isnan(s.value) for s in scores),
        "seconds": not (found.planned_s <= 0 or found.taken_s <= 0),
    }
    wrong = [name for name, holds in right.items() if not holds]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} out of range")
    return found
