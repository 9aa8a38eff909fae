"""What a fit on its way offers to the modules that take some of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from headstart.core import types
    from headstart.core.run.context import Context
    from headstart.selection.successive_halving import Option

T = TypeVar("T")


class FitProtocol(Protocol):
    """Steps of `headstart.api.fit_steps.FitSteps`, and its ways to take one."""

    ctx: Context

    @property
    def pictures(self) -> types.Dataset:
        """The pictures as they were read."""

    @property
    def data(self) -> types.Dataset:
        """The pictures as the backbones see them."""

    @property
    def splits(self) -> types.Splits:
        """Which pictures train and which test."""

    @property
    def embeddings(self) -> tuple[types.Embeddings, ...]:
        """Features of the training pictures through the survivors."""

    @property
    def probe(self) -> types.FitResult:
        """The head that won on frozen features."""

    @property
    def source_fit(self) -> types.FitResult:
        """What the labelled pictures say."""

    @property
    def source_embeddings(self) -> tuple[types.Embeddings, ...]:
        """Features of the labelled pictures through the trunks of `source_fit`."""

    def take_step(self, name: str, run: Callable[..., T], *values: Any, **options: Any) -> T:
        """Take a step in its room: timed, with the run's context."""

    def embed_pictures(
        self, pictures: types.Dataset, model: types.FitResult, name: str, *, below: str
    ) -> tuple[types.Embeddings, ...]:
        """Features of other pictures than the labelled ones through the trunks that a model reads."""

    def embed_foreign(self, model: types.FitResult) -> tuple[types.Dataset, tuple[types.Embeddings, ...]]:
        """Pictures of other things, and their features through the trunks that a model reads."""

    def count_missing_rows(self, data: types.Dataset, names: Iterable[str], rows: Any = None) -> dict[str, int]:
        """How many of some pictures have to go through each backbone, since the store lacks them."""

    def make_options(self, names: Iterable[str]) -> list[Option]:
        """Candidates of the screening, with what is published of them."""
