"""From the outputs of an exported graph to an answer, as `headstart.runtime.model` makes it.

Nothing of headstart is needed here: exports carry this file's text in their `predict.py`. `content` is `model.json`.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def make_answer(outputs: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one picture, from outputs of one row."""
    values: dict[str, Any] = {name: float(np.ravel(outputs[name])[0]) for name in outputs if name != "probabilities"}
    if "unknown" in values:  # the graph declines by itself
        values["unknown"] = values["unknown"] > 0.5
    if "number" in values:
        return _make_number(values, content["doubt"])
    p, names = np.ravel(outputs["probabilities"]).astype(np.float32), content["class_names"]
    top = int(np.argmax(p))
    shared = {"confidence": float(p[top]), "likeliest": names[top], "reasons": [], **values}
    make = _make_labels if content["task"] == "multilabel" else _make_class
    answer = make(p, content) if not values.get("unknown") else {**make(p, content), "answer": "unknown", "reasons": []}
    return {**shared, **answer, "probabilities": dict(zip(names, p.tolist(), strict=True))}


def _make_number(values: Mapping[str, Any], doubt: Mapping[str, Any] | None) -> dict[str, Any]:
    """With the ends of its interval, null where it declines to answer."""
    number, half = values["number"], doubt["thresholds"][0] if doubt else None
    unknown = values.get("unknown", False)
    ends = (None, None) if half is None or unknown else (number - half, number + half)
    return {"answer": None if unknown else number, "low": ends[0], "high": ends[1], **values}


def _make_labels(p: np.ndarray, content: Mapping[str, Any]) -> dict[str, Any]:
    """Labels of a half and more; `plausible` cannot be ruled out, `open` may be there or absent."""
    names = content["class_names"]
    labels = [name for name, value in zip(names, p, strict=True) if value >= 0.5]
    answer: dict[str, Any] = {"answer": "|".join(labels) or "(none)", "labels": labels}
    if not content["doubt"]:
        return answer
    states = np.stack([1 - p, p], axis=1).astype(np.float64)
    inside = 1.0 - states <= read_limits(content["doubt"]["thresholds"])
    inside[np.arange(len(p)), (p >= 0.5).astype(int)] = True
    order = np.argsort(-p, kind="stable").tolist()
    answer["plausible"] = [names[at] for at in order if inside[at, 1]]
    return answer | {"open": [names[at] for at in order if inside[at].all()]}


def _make_class(p: np.ndarray, content: Mapping[str, Any]) -> dict[str, Any]:
    names, chosen = content["class_names"], decide(p, content)
    reasons = format_reasons(names[chosen], names[int(np.argmax(p))], content["decision"])
    answer: dict[str, Any] = {"answer": names[chosen], "reasons": reasons}
    return answer | ({"plausible": list_plausible(p, chosen, content)} if content["doubt"] else {})


def format_reasons(answer: str, likeliest: str, rule: Mapping[str, Any]) -> list[str]:
    """Why the costs or the threshold decide for another class than the likeliest."""
    if answer == likeliest:
        return []
    if rule["costs"] is not None:
        is_median = np.array_equal(rule["costs"], np.abs(np.subtract(*np.indices(np.shape(rule["costs"])))))
        return [f"`{answer}` has the {'fewest ranks off on average' if is_median else 'lowest expected cost'}"]
    return [f"the threshold of `{rule['positive']}` is {rule['threshold']:.3g}"]


def decide(p: np.ndarray, content: Mapping[str, Any]) -> int:
    """Position of the answer: by costs, by the threshold of one class, or the likeliest."""
    rule = content["decision"]
    if rule["costs"] is not None:
        return int(np.argmin(p.astype(np.float64) @ np.asarray(rule["costs"], np.float64)))
    if not rule["positive"] or rule["threshold"] is None:
        return int(np.argmax(p))
    at: int = content["class_names"].index(rule["positive"])
    return at if p[at] >= rule["threshold"] else int(np.argmax(np.where(np.arange(len(p)) == at, -1.0, p)))


def list_plausible(p: np.ndarray, first: int, content: Mapping[str, Any]) -> list[str]:
    """Names of the classes among which the true one is with the promised coverage, the answer first."""
    doubt, wide = content["doubt"], p.astype(np.float64)
    odd = 1.0 - wide
    if not (odd <= read_limits(doubt["floors"])).any():
        return []
    order = np.argsort(-wide, kind="stable")
    if doubt["score"] == "adaptive":  # the probability of all likelier classes, and more for long sets
        likelier = np.concatenate([[0.0], np.cumsum(wide[order])[:-1]])
        odd[order] = likelier + 0.01 * np.maximum(np.arange(len(wide)) - 1, 0)
    inside = odd <= read_limits(doubt["thresholds"])
    if doubt["ordered"]:  # grades between two plausible ones are plausible too
        ends = [first, *np.flatnonzero(inside)]
        inside[min(ends) : max(ends) + 1] = True
    return [content["class_names"][at] for at in (first, *(c for c in order.tolist() if inside[c] and c != first))]


def read_limits(values: Any) -> np.ndarray:
    """Numbers of `model.json`, where null is no limit."""
    limits = np.array(values, np.float64)
    return np.where(np.isnan(limits), math.inf, limits)
