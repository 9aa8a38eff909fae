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
NUMBERS = "image-regression"  # no pipeline of the hub answers with numbers: a tag alone
METRICS = (
    *("accuracy", "balanced_accuracy", "mean_average_precision", "macro_f1", "micro_f1", "log_loss", "binary_log_loss"),
    *("quadratic_weighted_kappa", "mean_rank_error", "ece", "mae", "rmse", "r2", "spearman"),
)
_KNOWN = re.compile(  # as the hub spells licences
    r"apache-2\.0|mit|bsd|bsd-2-clause|bsd-3-clause|cc0-1\.0|cc-by-2\.0|cc-by-3\.0|cc-by-4\.0|cc-by-sa-3\.0|"
    r"cc-by-sa-4\.0|cc-by-nc-2\.0|cc-by-nc-3\.0|cc-by-nc-4\.0|cc-by-nc-sa-4\.0|isc|unlicense|zlib|gpl-2\.0|gpl-3\.0|"
    r"agpl-3\.0|lgpl-2\.1|lgpl-3\.0|mpl-2\.0|openrail|wtfpl|ncsa|ms-pl|artistic-2\.0|afl-3\.0|bsl-1\.0|pddl|epl-2\.0"
)


def make_metadata(card: CardInput) -> dict[str, Any]:
    """What the hub reads of a card; its field `datasets` is left out, for it names data sets of the hub alone."""
    trunks, task = card.model.trunks, NUMBERS if card.dataset.learning_task.is_number else TASK
    kind = ["multi-label"] if card.dataset.learning_task.has_labels else []
    families = dict.fromkeys(_make_slug(trunk.name.rpartition(":")[2]) for trunk in trunks)
    metadata: dict[str, Any] = {
        **_make_licence(dict.fromkeys(trunk.licence for trunk in trunks)),
        "library_name": "headstart",
        **({"pipeline_tag": task} if task == TASK else {}),
        "tags": [task, *kind, "transfer-learning", "openvino", *families],
        "metrics": [name for name in METRICS if any(s.name == name for s in _headline_scores(card))],
    }
    bases = [trunk.name.partition(":")[2] for trunk in trunks if trunk.name.startswith("huggingface:")]
    if bases:
        metadata["base_model"] = bases
    return metadata | {"model-index": [{"name": format_printable(card.dataset.name), "results": [_make_result(card)]}]}


def _make_slug(name: str) -> str:
    """As the hub writes names: in small letters, with dashes between."""
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-") or "other"


def _make_licence(names: Iterable[str]) -> dict[str, Any]:
    """One that the hub knows, else `other` with a name made of its own words."""
    licences = list(names)
    if len(licences) == 1 and _KNOWN.fullmatch(licences[0].lower()):
        return {"license": licences[0].lower()}
    return {"license": "other", "license_name": _make_slug(" and ".join(licences))}


def _headline_scores(card: CardInput) -> list[Score]:
    split = card.evaluation.split
    return [s for s in card.evaluation.scores if s.split == split and not s.subject and math.isfinite(s.value)]


def _make_result(card: CardInput) -> dict[str, Any]:
    by_name = {score.name: score for score in _headline_scores(card)}
    return {
        "task": {"type": NUMBERS, "name": "Image regression"}
        if card.dataset.learning_task.is_number
        else {
            "type": TASK,
            "name": f"{'Multi-label i' if card.dataset.learning_task.has_labels else 'I'}mage classification",
        },
        "dataset": {"name": format_printable(card.dataset.name), "type": "imagefolder"}
        | {"split": card.evaluation.split, "revision": card.dataset.digest},
        "metrics": [_make_metric(by_name[name]) for name in METRICS if name in by_name],
    }


def _make_metric(score: Score) -> dict[str, Any]:
    """A score; the ends of its interval, where they are known, stand where the hub keeps what it was computed with."""
    ends = {"low": score.low, "high": score.high}
    args = {name: round(float(end), 6) for name, end in ends.items() if math.isfinite(end)}
    return {
        "type": score.name,
        "name": score.name.replace("_", " "),
        "value": round(float(score.value), 6),
        "args": args | {"confidence": 0.95, "n": int(score.n), "interval": score.method},
    }
