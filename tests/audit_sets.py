"""Data sets for tests of checks, audit and splits: from a folder of real pictures, or from classes alone."""

import hashlib
from pathlib import Path

import numpy as np

from headstart.core.types import MEASURES, Dataset, DatasetFacts, SkippedFile

# Of a picture that no check of quality has anything against.
SOUND_MEASURES = [{"grey_low": 30, "grey_high": 200, "taken_day": 0}.get(name, 1.0) for name in MEASURES]
SIDES = ("train", "val", "test")


def from_folder(root: Path, excused: tuple[SkippedFile, ...] = ()) -> Dataset:
    """Read `class/picture` or `split/class/picture`."""
    from headstart.images.descriptors import describe_picture

    files = sorted(p for p in root.rglob("*") if p.is_file())
    parts = [p.relative_to(root).parts for p in files]
    seen = [describe_picture(p.read_bytes()) for p in files]
    names = sorted({p.name for p in root.rglob("*") if p.is_dir() and p.name not in SIDES})
    return Dataset(
        name=root.name,
        root=str(root),
        modality="image",
        task="classification",
        uris=tuple("/".join(p) for p in parts),
        digests=tuple(hashlib.sha256(p.read_bytes()).hexdigest() for p in files),
        targets=np.array([names.index(p[-2]) for p in parts], np.int64),
        split=tuple(p[0] if len(p) == 3 else "" for p in parts),
        class_names=tuple(names),
        facts=DatasetFacts(
            width_px=np.array([s.width_px for s in seen], np.int32),
            height_px=np.array([s.height_px for s in seen], np.int32),
            file_bytes=np.array([p.stat().st_size for p in files], np.int64),
            phash=np.array([s.phash for s in seen], np.uint64),
            histogram=np.array([s.histogram for s in seen], np.float32).reshape(-1, 64),
            grey_std=np.array([s.grey_std for s in seen], np.float32),
            notes=tuple(s.note for s in seen),
            turned_phash=np.array([s.turned for s in seen], np.uint64).reshape(-1, 7),
            coefficients=np.array([s.coefficients for s in seen], np.float16).reshape(-1, 144),
            measures=np.array([s.measures for s in seen], np.float32).reshape(-1, len(MEASURES)),
            file_formats=tuple(s.file_format for s in seen),
            cameras=tuple(f"{s.camera:016x}" if s.camera else "" for s in seen),
        ),
        excused=excused,
        digest="0" * 64,
    )


def from_targets(targets, split=(), digests=(), **facts) -> Dataset:
    """A data set whose files do not exist: different random pictures of 250 x 250 px, unless `facts` say otherwise."""
    targets = np.asarray(targets, np.int64)
    n, classes = len(targets), int(targets.max()) + 1
    rng = np.random.default_rng(0)
    defaults = {
        "width_px": np.full(n, 250, np.int32),
        "height_px": np.full(n, 250, np.int32),
        "file_bytes": np.full(n, 10_000, np.int64),
        "phash": rng.integers(0, 2**64, n, dtype=np.uint64),
        "histogram": np.full((n, 64), 1 / 64, np.float32),
        "grey_std": np.full(n, 40, np.float32),
        "notes": ("",) * n,
        "turned_phash": rng.integers(0, 2**64, (n, 7), dtype=np.uint64),
        "coefficients": rng.normal(size=(n, 144)).astype(np.float16),
        "measures": np.tile(np.float32(SOUND_MEASURES), (n, 1)),
        "file_formats": ("PNG",) * n,
        "cameras": ("",) * n,
    }
    return Dataset(
        name="made",
        root="made",
        modality="image",
        task="classification",
        uris=tuple(f"class{t}/{row:05d}.png" for row, t in enumerate(targets)),
        digests=tuple(digests) or tuple(f"{row:064d}" for row in range(n)),
        targets=targets,
        split=tuple(split) or ("",) * n,
        class_names=tuple(f"class{c}" for c in range(classes)),
        facts=DatasetFacts(**(defaults | facts)),
        excused=(),
        digest="0" * 64,
    )
