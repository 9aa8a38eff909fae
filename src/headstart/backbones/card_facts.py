"""What a repository of the Hugging Face hub says of itself: its card, its tags, its configuration. Pure reading.

Everything here is somebody else's text: it is cut short, made printable, and never believed beyond what it states.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.backbones.remote_index import text

Facts = Mapping[str, Any]
# how an architecture is trained -> parts of the names of those that are
_METHODS = {
    "image-text": ("clip", "siglip", "align", "blip"),
    "self-supervised": ("dino", "ijepa", "mae", "msn", "hiera", "moco", "simclr"),
}
# domain -> words that name it, in data sets' names and in tags
_DOMAINS = {
    "photos": (
        "imagenet",
        "in1k",
        "in21k",
        "in22k",
        "coco",
        "laion",
        "food101",
        "places365",
        "inaturalist",
        "cifar",
        "lvd",
        "webli",
        "yfcc",
    ),
    "medical": ("medical", "radiology", "histopathology", "pathology", "xray", "chest", "mri", "dermatology", "retina"),
    "text": ("ocr", "document", "documents", "handwriting", "mnist", "rvl", "iam"),
    "satellite": ("satellite", "remotesensing", "eurosat", "sentinel", "aerial"),
    "faces": ("faces", "celeba", "face", "fairface", "vggface"),
    "drawings": ("anime", "sketch", "drawing", "drawings", "comics"),
    "plants": ("plant", "plants", "plantvillage", "agriculture", "crops"),
}
# names of ImageNet-1k without signs; Tiny ImageNet, Imagenette, -A, -R, V2 and the like are other sets
_IMAGENET = ("imagenet", "imagenet1k", "in1k", "ilsvrc2012", "imagenetilsvrc2012", "imagenet2012")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is stated of a network.

    Attributes:
        family: Its architecture as its configuration names it.
        licence: Of the weights.
        pretrained_on: Data sets, and the network that it was made of.
        method: `supervised`, `self-supervised`, `image-text`, of both also `…, then supervised`; or `not stated`.
        domains: What its pictures show, as far as names of data sets and tags tell.
        prior: Published accuracy on ImageNet-1k, 0..1; None where none is published.
        prior_source: Where that stands.
    """

    family: str
    licence: str
    pretrained_on: str
    method: str
    domains: tuple[str, ...]
    prior: float | None = None
    prior_source: str = ""


def read(card: Facts, tags: Sequence[str] = (), config: Facts | None = None) -> Card:
    """What a card, the hub's tags and `config.json` say.

    Args:
        card: Front matter of `README.md`, or what the hub made of it (`cardData`).
        tags: The hub's own.
        config: `config.json`, or the hub's digest of it.
    """
    config = config or {}
    tags = [one for one in tags if isinstance(one, str)]
    sets = _texts(card.get("datasets")) or _tagged(tags, "dataset:")
    base = _texts(card.get("base_model")) or [one.rpartition(":")[2] for one in _tagged(tags, "base_model:")][:1]
    stated = ", ".join(sets) or "data that the card does not state"
    family = _family(config)
    prior = _accuracy(card.get("model-index"))
    return Card(
        family=family,
        licence=_licence(card, tags),
        pretrained_on=text(f"{stated}; made of {', '.join(base)}" if base else stated),
        method=_method(family, config),
        domains=_domains([*sets, *tags, *_texts(card.get("tags"))]),
        prior=prior,
        prior_source="ImageNet-1k accuracy by the card's model-index" if prior else "",
    )


def told_by_words(family: str, *words: str) -> tuple[str, tuple[str, ...]]:
    """Method and domains as far as an architecture's name and a description tell them."""
    said = read({}, words, {"model_type": family})
    return said.method, said.domains


def _texts(value: Any) -> list[str]:
    found = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [one for raw in found if (one := text(raw, ""))]


def _tagged(tags: Sequence[str], prefix: str) -> list[str]:
    return [text(one.removeprefix(prefix)) for one in tags if one.startswith(prefix)]


def _licence(card: Facts, tags: Sequence[str]) -> str:
    """An SPDX identifier as the hub writes it; with `other`, the name that the card gives."""
    found = _texts(card.get("license")) or _tagged(tags, "license:")[:1]
    named = _texts(card.get("license_name"))
    if found == ["other"] and named:
        return f"other: {named[0]}"
    return " AND ".join(found) or "not stated"


def _family(config: Facts) -> str:
    return text(config.get("model_type") or config.get("architecture"))


def _method(family: str, config: Facts) -> str:
    low = family.lower()
    first = next((how for how, words in _METHODS.items() if any(word in low for word in words)), "")
    if any(one.endswith("ForImageClassification") for one in _texts(config.get("architectures"))):
        return f"{first}, then supervised" if first else "supervised"
    return first or "not stated"


def _domains(words: Sequence[str]) -> tuple[str, ...]:
    parts = {part for word in words for part in _parts(word)}
    return tuple(name for name, known in _DOMAINS.items() if parts & set(known))


def _parts(word: str) -> Iterator[str]:
    """A name's own words, and each two neighbours as one: `chest-x-ray` has `xray`."""
    found = [part for part in re.split(r"[^a-z0-9]+", word.lower()) if part]
    yield from found
    yield from (first + second for first, second in itertools.pairwise(found))


def _accuracy(index: Any) -> float | None:
    """Top-1 accuracy on ImageNet-1k in a `model-index`, as a share; None where there is none."""
    for result in _within(index, "results"):
        data = result.get("dataset")
        named = _texts([data.get("name") or data.get("type")]) if isinstance(data, dict) else []
        if not named or re.sub(r"[^a-z0-9]", "", named[0].lower().rpartition("/")[2]) not in _IMAGENET:
            continue
        for metric in _within([result], "metrics"):
            value = metric.get("value")
            if metric.get("type") in ("accuracy", "acc", "top1") and isinstance(value, int | float):
                share = float(value) / 100 if value > 1 else float(value)
                return share if 0 < share < 1 else None
    return None


def _within(rows: Any, field: str) -> Iterator[dict[str, Any]]:
    for row in rows if isinstance(rows, list) else []:
        found = row.get(field) if isinstance(row, dict) else None
        yield from (one for one in (found if isinstance(found, list) else []) if isinstance(one, dict))


# ---------------------------------------------------------------- front matter


def front_matter(readme: str) -> dict[str, Any]:
    """The head of a `README.md`: texts and lists of texts of its first level.

    Only this much of YAML is read; whatever is nested deeper is left out.
    """
    found = re.match(r"\A\ufeff?---\s*\n(.*?)\n---\s*(?:\n|\Z)", readme, re.S)
    held: dict[str, Any] = {}
    name = ""
    for line in found[1].splitlines() if found else ():
        pair = re.fullmatch(r"([A-Za-z_][\w-]*):(?:\s+(.*?))?\s*", line)
        item = re.fullmatch(r"\s*-\s+((?:[^:]|:(?!\s|$))*?)\s*", line)
        if pair:
            name = pair[1]
            held[name] = _value(pair[2] or "")
        elif item and name and isinstance(held[name], list):
            held[name].append(_bare(item[1]))
    return {key: value for key, value in held.items() if value}


def _value(words: str) -> Any:
    if not words:
        return []
    if words.startswith("[") and words.endswith("]"):
        return [_bare(one) for one in words[1:-1].split(",") if one.strip()]
    return _bare(words)


def _bare(word: str) -> str:
    word = re.sub(r"\s+#.*$", "", word).strip()
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"" else word
