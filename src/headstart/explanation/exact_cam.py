"""Exact class activation maps (CAM): where features are means of maps and the head is linear in them, what each place
adds to a class's score is known, and nothing is left out or scaled (Zhou et al., CVPR 2016; HiResCAM, Draelos and Carin
2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headstart.explanation import map_arithmetic

if TYPE_CHECKING:
    from headstart.explanation.feature_map_model import FeatureMapPass, TrunkInputs
    from headstart.runtime.model import Model


def exact_class_map(
    model: Model, maps: TrunkInputs, map_pass: FeatureMapPass, position: int
) -> tuple[np.ndarray, float, float]:
    """The evidence (g, g) float64 for the class at a position, what no place adds, and the class's score."""
    weights, bias = map_arithmetic.linear_form(model.manifest.head.kind, model.arrays, map_pass.features, position)
    side = max(part.source.side for part in map_pass.parts)
    evidence, elsewhere = np.full((side, side), bias), 0.0
    for part in map_pass.parts:
        assert part.values is not None
        added = np.asarray(part.values, np.float64) @ weights[part.columns]
        count, cells = len(added), part.source.side
        ahead = count - cells * cells  # tokens that stand for no place
        places = added[ahead:].reshape(cells, cells) * (cells * cells / count)
        evidence += map_arithmetic.resample_map(places, maps.boxes[part.trunk], maps.box, (side, side))
        elsewhere += float(added[:ahead].sum() / count)
    return evidence, elsewhere, float(np.asarray(map_pass.features, np.float64) @ weights + bias)
