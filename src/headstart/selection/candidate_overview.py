"""What `auto` would consider for a data set, and why, backbone by backbone; nothing is fetched.

`fetch_s` are seconds until a backbone is here and ready, `pass_s` those of all pictures that are not in the cache.
"""

from __future__ import annotations

from typing import Any

from headstart.backbones.recommended import list_recommendations
from headstart.core.run.context import Context
from headstart.core.storage.serialization import as_json
from headstart.core.types import Dataset
from headstart.features.extraction_time import count_missing_rows, estimate_pass_seconds
from headstart.selection import candidates, reach
from headstart.selection.published_accuracy import format_expected_accuracy


def describe_candidates(data: Dataset, *, ctx: Context) -> list[dict[str, Any]]:
    """Every backbone within `auto`'s sight as plain JSON, those that it would look at first, then the quickest."""
    field = candidates.choose_field(data, ctx=ctx)
    away = {row.backbone.name: row for row in reach.find_reach(ctx)}
    left_out = {name: row.why_not for name, row in away.items() if row.why_not}
    left_out |= dict(field.left_out) | candidates.find_excluded(ctx)
    backbones = [*candidates.list_available(ctx), *(row.backbone for row in away.values())]
    passes = count_missing_rows(data, [backbone.name for backbone in backbones], ctx.store)
    rows = []
    for backbone in backbones:
        name, spec, recommendation = backbone.name, backbone.spec, list_recommendations().get(backbone.name)
        is_here = bool(backbone.source.available(backbone.preset, ctx.store))
        why = recommendation.kind if recommendation else "its weights are here" if is_here else "comes by package"
        facts = {
            "name": name,
            "considered": name in field.names,
            "why": f"{why}; {format_expected_accuracy(spec)}" if name in field.names else left_out.get(name, ""),
            "weights_here": is_here,
            "fetch_bytes": 0 if is_here else spec.download_bytes,
            "fetch_s": away[name].fetch_s if name in away else 0.0,
            "pass_s": estimate_pass_seconds({name: passes[name]}, ctx.store),
            "prior": spec.prior,
            "flops": spec.flops,
            "licence": spec.licence,
        }
        rows.append(facts | ({"published": as_json(recommendation)} if recommendation else {}))
    return sorted(rows, key=lambda row: (not row["considered"], row["fetch_s"] + row["pass_s"], row["name"]))
