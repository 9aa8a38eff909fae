"""The card's metadata: what the Hugging Face hub reads of a model, with the scores as a model index."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from headstart.core.storage.files import format_printable
from headstart.core.types import Score
from headstart.reporting.card.card_data import CardInput

TASK = "image-classification"
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")
_KNOWN = re.compile(  # as the hub spells licences
    r"apache-2\.0|mit|bsd|bsd-2-clause|bsd-3-clause|cc0-1\.0|cc-by-2\.0|cc-by-3\.0|cc-by-4\.0|cc-by-sa-3\.0|"
    r"cc-by-sa-4\.0|cc-by-nc-2\.0|cc-by-nc-3\.0|cc-by-nc-4\.0|cc-by-nc-sa-4\.0|isc|unlicense|zlib|gpl-2\.0|gpl-3\.0|"
    r"agpl-3\.0|lgpl-2\.1|lgpl-3\.0|mpl-2\.0|openrail|wtfpl|ncsa|ms-pl|artistic-2\.0|afl-3\.0|bsl-1\.0|pddl|epl-2\.0"
)


def metadata(of: CardInput) -> dict[str, Any]:
    """What the hub reads of a card; its field `datasets` is left out, for it names data sets of the hub alone."""
    trunks = of.model.trunks
    families = dict.fromkeys(_slug(trunk.name.rpartition(":")[2]) for trunk in trunks)
    found: dict[str, Any] = {
        **_licence(dict.fromkeys(trunk.licence for trunk in trunks)),
        "library_name": "headstart",
        "pipeline_tag": TASK,
        "tags": [TASK, "transfer-learning", "openvino", *families],
        "metrics": [name for name in METRICS if any(s.name == name for s in _headline(of))],
    }
    bases = [trunk.name.partition(":")[2] for trunk in trunks if trunk.name.startswith("huggingface:")]
    if bases:
        found["base_model"] = bases
    return found | {"model-index": [{"name": format_printable(of.dataset.name), "results": [_result(of)]}]}


def _slug(name: str) -> str:
    """As the hub writes names: in small letters, with dashes between."""
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-") or "other"


def _licence(names: Iterable[str]) -> dict[str, Any]:
    """One that the hub knows, else `other` with a name made of its own words."""
    told = list(names)
    if len(told) == 1 and _KNOWN.fullmatch(told[0].lower()):
        return {"license": told[0].lower()}
    return {"license": "other", "license_name": _slug(" and ".join(told))}


def _headline(of: CardInput) -> list[Score]:
    split = of.evaluation.split
    return [s for s in of.evaluation.scores if s.split == split and not s.subject and math.isfinite(s.value)]


def _result(of: CardInput) -> dict[str, Any]:
    by_name = {score.name: score for score in _headline(of)}
    return {
        "task": {"type": TASK, "name": "Image classification"},
        "dataset": {
            "name": format_printable(of.dataset.name),
            "type": "imagefolder",
            "split": of.evaluation.split,
            "revision": of.dataset.digest,
        },
        "metrics": [_metric(by_name[name]) for name in METRICS if name in by_name],
    }


def _metric(score: Score) -> dict[str, Any]:
    """A score; the ends of its interval, where they are known, stand where the hub keeps what it was computed with."""
    ends = {name: round(float(at), 6) for name, at in (("low", score.low), ("high", score.high)) if math.isfinite(at)}
    return {
        "type": score.name,
        "name": score.name.replace("_", " "),
        "value": round(float(score.value), 6),
        "args": ends | {"confidence": 0.95, "n": int(score.n), "interval": score.method},
    }
