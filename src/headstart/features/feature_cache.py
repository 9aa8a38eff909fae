"""Where a backbone's vectors lie in the cache: a folder named by all that they depend on besides the pictures.

In the folder a vector lies under the SHA-256 of its picture's bytes (`headstart.core.storage.row_cache`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headstart.core.storage.hashing import compute_digest
from headstart.core.types import EmbedKey, InputSpec
from headstart.images.preprocessing import decoder_revision
from headstart.networks import openvino_engine

if TYPE_CHECKING:
    from headstart.backbones.resolved_backbone import ResolvedBackbone


def make_embed_key(
    backbone: ResolvedBackbone, seen: InputSpec, *, precision: str = "f32", calibration: str = "", engine: str = ""
) -> EmbedKey:
    """All that a backbone's vectors depend on besides the pictures, which it sees as an input spec says.

    `calibration` is the digest of the pictures that an int8 trunk is calibrated on; `engine` computes, by default
    that of the processor.
    """
    return EmbedKey(
        backbone=backbone.name,
        revision=backbone.spec.revision,
        input=seen,
        depths=backbone.spec.depths,
        precision=precision,
        engine=engine or openvino_engine.engine_name(),
        calibration=calibration,
    )


def cache_address(key: EmbedKey) -> str:
    """Where in the cache the vectors of a key lie; `revision` tells how files become the pixels that a trunk sees."""
    return f"vectors/{compute_digest([key, decoder_revision()])}"
