"""A backbone that was found by its name: what is known of it, and the source that builds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headstart.core.storage.cache import Store
from headstart.core.types import BackboneSource, BackboneSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedBackbone:
    """A backbone by its name.

    Attributes:
        name: `source:preset`, or `random:source:preset` for its random-init control.
        preset: The source's name for it.
        seed: Of the random weights; None for the trained ones.
    """

    name: str
    spec: BackboneSpec
    source: BackboneSource
    preset: str
    seed: int | None = None

    @property
    def frozen_reason(self) -> str:
        """Why it can neither be fine-tuned nor have a random-init control; empty where it can."""
        return self.source.frozen_reason(self.preset)

    def build(self, store: Store) -> Any:
        """The frozen `keras.Model`."""
        return self.source.build(self.preset, store, seed=self.seed)
