"""What checks of the data find, how pictures are split, and the protocol of a data check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from headstart.core.types.dataset import Dataset

if TYPE_CHECKING:
    import numpy as np

Severity: TypeAlias = Literal["error", "warning"]  # of findings that may fail an audit, the worst first


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a check found: a sentence with numbers, the rows or files it is about, and what to do."""

    code: str
    severity: str  # "error" | "warning" | "info"
    sentence: str
    rows: tuple[int, ...] = ()
    uris: tuple[str, ...] = ()
    fix: str = ""
    remove_rows: tuple[int, ...] = ()  # those of `rows` that are offered to be left out
    likelier_classes: tuple[str, ...] = ()  # of labels in doubt: one for each of `rows`


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one check ended; `links` are pairs of rows that must stay on one side of every split."""

    code: str  # `D101`, …
    name: str  # a few words
    status: str  # `issue`, `tip`, `passed`, `not_applicable`, `skipped` or `ignored`
    why: str  # one sentence; for `passed` what was looked at, with numbers
    findings: tuple[Finding, ...] = ()  # empty unless `issue` or `tip`
    links: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audit:
    """All outcomes of one pass (`files` before embed, `vectors` after it) and the clusters known so far."""

    phase: str  # `files` or `vectors`
    outcomes: tuple[Outcome, ...]  # in the order of their codes
    clusters: np.ndarray  # (N,) int64, the smallest row of each row's cluster; clusters never straddle a split


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splits:
    """Who learns and who judges."""

    train: np.ndarray  # (M,) int64 rows for learning; all cross-validation happens inside them
    val: np.ndarray  # (M,) int64 rows of a given `val/`, never trained on, scored once; else empty
    test: np.ndarray  # (M,) int64 rows of the test split, scored once at the end; empty when too few pictures
    folds: np.ndarray  # (R, N) int16, the fold in which a row is validated in each repeat, -1 outside `train`
    clusters: np.ndarray  # (N,) int64 as in `Audit`
    given: bool  # True when the folder gave the splits
    straddling: np.ndarray  # (P, 2) int64 pairs of one cluster that given splits put on two sides
    seed: int  # of the draw
    why: str  # one sentence on how the splits came to be


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AuditInput:
    """What a data check may look at."""

    data: Dataset
    folds: int  # folds that cross-validation wants: every class needs at least this many pictures
    vectors: np.ndarray | None = None  # (M, D) float32 of the cheapest backbone, by `rows`; None before embed
    rows: np.ndarray | None = None  # (M,) int64; None before embed
    clusters: np.ndarray | None = None  # (N,) int64 of phase `files`, as in `Audit`; None before embed
    has_class_folders: bool = True  # whether folders say the classes, not a table or another list


class DataCheck(Protocol):
    """A file in `headstart.data.checks`: `PLUGIN` has these attributes and is called."""

    code: str
    name: str
    phase: str  # "files" | "vectors"

    def __call__(self, audit_input: AuditInput) -> Outcome:
        """Look at the data and say how it ended."""
