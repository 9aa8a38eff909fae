"""What checks of the data find, how pictures are split, and the protocol of a data check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from headstart.core.types.dataset import Dataset

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a check found: a sentence with numbers, the rows or files it is about, and what to do."""

    code: str
    severity: str  # "error" | "warning" | "info"
    sentence: str
    rows: tuple[int, ...] = ()
    uris: tuple[str, ...] = ()
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one check ended.

    Attributes:
        code: `D101`, …
        name: A few words.
        status: `issue`, `tip`, `passed`, `not_applicable`, `skipped` or `ignored`.
        why: One sentence; for `passed` what was looked at, with numbers.
        findings: Empty unless `issue` or `tip`.
        links: Pairs of rows that show the same thing and must stay on one side of every split.
    """

    code: str
    name: str
    status: str
    why: str
    findings: tuple[Finding, ...] = ()
    links: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audit:
    """All outcomes of one pass (`files` before embed, `vectors` after it) and the clusters known so far.

    Attributes:
        phase: `files` or `vectors`.
        outcomes: In the order of their codes.
        clusters: (N,) int64, the smallest row of the cluster each row belongs to; clusters never straddle a split.
    """

    phase: str
    outcomes: tuple[Outcome, ...]
    clusters: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splits:
    """Who learns and who judges.

    Attributes:
        train: (M,) int64 rows for learning; all cross-validation happens inside them.
        val: (M,) int64 rows of a given `val/`, never trained on, scored once; else empty.
        test: (M,) int64 rows of the test split, scored once at the end; empty when too few pictures.
        folds: (R, N) int16, the fold in which a row is validated in each repeat, -1 outside `train`.
        clusters: (N,) int64 as in `Audit`.
        given: True when the folder gave the splits.
        straddling: (P, 2) int64 pairs of one cluster that given splits put on two sides.
        seed: Of the draw.
        why: One sentence on how the splits came to be.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    folds: np.ndarray
    clusters: np.ndarray
    given: bool
    straddling: np.ndarray
    seed: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuditInput:
    """What a data check may look at.

    Attributes:
        data: The data set.
        folds: Folds that cross-validation wants: every class needs at least this many pictures.
        vectors: (M, D) float32 features of the cheapest backbone, in the order of `rows`; None before embed.
        rows: (M,) int64; None before embed.
    """

    data: Dataset
    folds: int
    vectors: np.ndarray | None = None
    rows: np.ndarray | None = None


class DataCheck(Protocol):
    """A file in `headstart.data.checks`: `PLUGIN` has these attributes and is called."""

    code: str
    name: str
    phase: str  # "files" | "vectors"

    def __call__(self, audit_input: AuditInput) -> Outcome:
        """Look at the data and say how it ended."""
        ...
