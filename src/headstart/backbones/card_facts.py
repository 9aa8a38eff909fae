"""What a repository of the Hugging Face hub says of itself: its card, its tags, its configuration. Pure reading.

It is somebody else's text: cut short, made printable, and never believed beyond what it states.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.backbones.remote_index import clean_text

Facts = Mapping[str, Any]
# how an architecture is trained -> parts of the names of those that are
_METHODS = {
    "image-text": ("clip", "siglip", "align", "blip"),
    "self-supervised": ("dino", "ijepa", "mae", "msn", "hiera", "moco", "simclr"),
}
# domain -> words that name it, in data sets' names and in tags
_DOMAINS = {
    "photos": "imagenet in1k in21k in22k coco laion food101 places365 inaturalist cifar lvd webli yfcc",
    "medical": "medical radiology histopathology pathology xray chest mri dermatology retina",
    "text": "ocr document documents handwriting mnist rvl iam",
    "satellite": "satellite remotesensing eurosat sentinel aerial",
    "faces": "faces celeba face fairface vggface",
    "drawings": "anime sketch drawing drawings comics",
    "plants": "plant plants plantvillage agriculture crops",
}
# names of ImageNet-1k without signs; Tiny ImageNet, Imagenette, -A, -R, V2 and the like are other sets
_IMAGENET = ("imagenet", "imagenet1k", "in1k", "ilsvrc2012", "imagenetilsvrc2012", "imagenet2012")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What is stated of a network.

    Attributes:
        family: Its architecture as its configuration names it.
        method: `supervised`, `self-supervised`, `image-text`, of both also `…, then supervised`; or `not stated`.
        domains: What its pictures show, as far as names of data sets and tags tell.
        prior: Published accuracy on ImageNet-1k, 0..1; None where none is published.
    """

    family: str
    licence: str
    pretrained_on: str
    method: str
    domains: tuple[str, ...]
    prior: float | None = None
    prior_source: str = ""


def read_card(card: Facts, tags: Sequence[str] = (), config: Facts | None = None) -> CardFacts:
    """What a card (front matter of `README.md`, or the hub's `cardData`), the hub's tags and `config.json` say."""
    config = config or {}
    tags = [tag for tag in tags if isinstance(tag, str)]
    datasets = _clean_texts(card.get("datasets")) or _values_of_tags(tags, "dataset:")
    tagged_bases = [tag.rpartition(":")[2] for tag in _values_of_tags(tags, "base_model:")]
    base_models = _clean_texts(card.get("base_model")) or tagged_bases[:1]
    data = ", ".join(datasets) or "data that the card does not state"
    family = clean_text(config.get("model_type") or config.get("architecture"))
    prior = _find_imagenet_accuracy(card.get("model-index"))
    parts = {part for word in (*datasets, *tags, *_clean_texts(card.get("tags"))) for part in _split_words(word)}
    return CardFacts(
        family=family,
        licence=_find_licence(card, tags),
        pretrained_on=clean_text(f"{data}; made of {', '.join(base_models)}" if base_models else data),
        method=_guess_method(family, config),
        domains=tuple(domain for domain, names in _DOMAINS.items() if parts & set(names.split())),
        prior=prior,
        prior_source="ImageNet-1k accuracy by the card's model-index" if prior else "",
    )


def guess_training(family: str, *words: str) -> tuple[str, tuple[str, ...]]:
    """Method and domains as far as an architecture's name and a description tell them."""
    card = read_card({}, words, {"model_type": family})
    return card.method, card.domains


def _clean_texts(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [text for raw in values if (text := clean_text(raw, ""))]


def _values_of_tags(tags: Sequence[str], prefix: str) -> list[str]:
    return [clean_text(tag.removeprefix(prefix)) for tag in tags if tag.startswith(prefix)]


def _find_licence(card: Facts, tags: Sequence[str]) -> str:
    """An SPDX identifier as the hub writes it; with `other`, the name that the card gives."""
    licences = _clean_texts(card.get("license")) or _values_of_tags(tags, "license:")[:1]
    names = _clean_texts(card.get("license_name"))
    if licences == ["other"] and names:
        return f"other: {names[0]}"
    return " AND ".join(licences) or "not stated"


def _guess_method(family: str, config: Facts) -> str:
    lower = family.lower()
    method = next((how for how, words in _METHODS.items() if any(word in lower for word in words)), "")
    if any(name.endswith("ForImageClassification") for name in _clean_texts(config.get("architectures"))):
        return f"{method}, then supervised" if method else "supervised"
    return method or "not stated"


def _split_words(word: str) -> Iterator[str]:
    """A name's own words, and each two neighbours as one: `chest-x-ray` has `xray`."""
    parts = [part for part in re.split(r"[^a-z0-9]+", word.lower()) if part]
    yield from parts
    yield from (first + second for first, second in itertools.pairwise(parts))


def _find_imagenet_accuracy(index: Any) -> float | None:
    """Top-1 accuracy on ImageNet-1k in a `model-index`, as a share; None where there is none."""
    for result in _iterate_dicts(index, "results"):
        data = result.get("dataset")
        names = _clean_texts([data.get("name") or data.get("type")]) if isinstance(data, dict) else []
        if not names or re.sub(r"[^a-z0-9]", "", names[0].lower().rpartition("/")[2]) not in _IMAGENET:
            continue
        for metric in _iterate_dicts([result], "metrics"):
            value = metric.get("value")
            if metric.get("type") in ("accuracy", "acc", "top1") and isinstance(value, int | float):
                share = float(value) / 100 if value > 1 else float(value)
                return share if 0 < share < 1 else None
    return None


def _iterate_dicts(rows: Any, field: str) -> Iterator[dict[str, Any]]:
    for row in rows if isinstance(rows, list) else []:
        values = row.get(field) if isinstance(row, dict) else None
        yield from (value for value in (values if isinstance(values, list) else []) if isinstance(value, dict))


def parse_front_matter(readme: str) -> dict[str, Any]:
    """The YAML head of a `README.md`; empty where there is none, or none that can be read."""
    import yaml

    head = re.match(r"\A\ufeff?---\s*\n(.*?)\n---\s*(?:\n|\Z)", readme, re.S)
    try:
        card = yaml.safe_load(head[1]) if head else {}
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}
