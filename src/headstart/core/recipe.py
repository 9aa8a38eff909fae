"""A recipe: everything that decides one fine-tuning, explicit, so that the same recipe and seed give the same weights.

Every field carries its help; `parse` reads `rate=1e-3,blocks=2` and `shown` writes it back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from headstart.core.errors import UsageError, nearest

STRATEGIES = ("probe", "finetune", "lora", "norms", "scratch")
PARTS = ("last", "first", "middle", "all", "surgical")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
DOMAINS = ("photo", "texture", "digits", "text", "microscopy", "satellite")


def _option(
    default: Any, help: str, choices: tuple[str, ...] = (), low: float = 0.0, high: float = float("inf")
) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices, "low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way to adapt one backbone.

    `backbone` and `depths` may be empty in a request; what is trained always has them filled in.
    """

    # what trains
    strategy: str = _option("finetune", "probe trains the head alone", STRATEGIES)
    backbone: str = _option("", "source:preset; empty takes the one whose logistic head is best")
    depths: tuple[str, ...] = _option((), "depths the head reads, + between them; empty takes the best logistic head's")
    head: str = _option(
        "linear", "the new layers: linear, or one hidden layer with norm and dropout", ("linear", "mlp")
    )
    hidden: int = _option(256, "units of the hidden layer of the head mlp", low=1)
    start: str = _option("probe", "first weights of the head: of the fitted probe, or random", ("probe", "random"))
    part: str = _option("last", "which blocks of the trunk train", PARTS)
    blocks: int = _option(1, "how many of them", low=1)
    gradual: bool = _option(False, "free one block after the other, the head first")
    lora_rank: int = _option(8, "rank of the low-rank updates of lora", low=1)
    batch_norm: str = _option("inference", "statistics of batch norm: kept, or learnt anew", ("inference", "train"))
    # how
    optimiser: str = _option("adamw", "how weights are updated", ("adamw", "sgd"))
    schedule: str = _option("cosine", "of the learning rate, after the warm-up", ("cosine", "one_cycle", "constant"))
    rate: float = _option(1e-3, "highest learning rate, that of the head; 0 has it found by a rising-rate test")
    decay: float = _option(0.7, "factor on the rate for each block further from the head", high=1.0)
    trunk_rate: float = _option(1.0, "factor on the rate of all blocks, the head left out")
    warmup: float = _option(0.1, "part of the steps in which the rate rises", high=0.9)
    epochs: int = _option(15, "passes over the training pictures", low=1)
    batch: int = _option(32, "pictures a step", low=1)
    clip: float = _option(1.0, "largest norm of all gradients together; 0 clips nothing")
    precision: str = _option("float32", "of the training arithmetic", ("float32", "mixed_bfloat16"))
    # against overfitting
    weight_decay: float = _option(1e-4, "decoupled decay towards 0")
    l2_sp: float = _option(0.0, "decoupled decay of the trunk towards its pre-trained weights")
    dropout: float = _option(0.0, "part of the head's input that is dropped", high=0.95)
    stochastic_depth: float = _option(0.0, "part of residual branches that is skipped, rising with depth", high=0.9)
    label_smoothing: float = _option(0.0, "part of the truth spread over all classes", high=0.9)
    focal: float = _option(0.0, "gamma of the focal loss; 0 is cross-entropy")
    mixup: float = _option(0.0, "alpha of the Beta draw that mixes pictures; 0 mixes none")
    cutmix: float = _option(0.0, "alpha of the Beta draw that sizes pasted boxes; 0 pastes none")
    augment: float = _option(0.0, "strength of the augmentation, 0 for none", high=1.0)
    domain: str = _option("photo", "which augmentations keep the label", DOMAINS)
    views: int = _option(0, "augmented views of each picture to keep; 0 decides by cost")
    ema: float = _option(0.0, "decay of the running mean of the weights; 0 keeps none", high=0.99999)
    wise: bool = _option(True, "interpolate between first and tuned weights as validation says")
    patience: int = _option(0, "epochs without gain after which training stops; 0 never stops early")
    monitor: str = _option("log_loss", "what gain is measured by", ("log_loss", "accuracy", "balanced_accuracy"))
    sampling: str = _option("natural", "how training pictures are drawn", ("natural", "balanced"))
    seed: int = _option(0, "of every draw", high=2**31 - 1)


def problems(recipe: Recipe) -> list[str]:
    """Everything that is wrong with a recipe, one sentence each."""
    found = []
    for option in dataclasses.fields(Recipe):
        given, known = getattr(recipe, option.name), option.metadata
        if known["choices"] and given not in known["choices"]:
            found.append(f"recipe {option.name} `{given}` is not one of {', '.join(known['choices'])}")
        elif isinstance(given, (int, float)) and not (known["low"] <= given <= known["high"] and isfinite(given)):
            found.append(f"recipe {option.name} `{given:g}` is not between {known['low']:g} and {known['high']:g}")
    if recipe.strategy == "probe" and recipe.head == "linear" and recipe.start == "probe" and not recipe.rate:
        found.append("recipe trains nothing: a linear probe that starts from the fitted one at rate 0")
    return found


def make(given: Mapping[str, Any]) -> Recipe:
    """A checked recipe from values by name.

    Raises:
        UsageError: With every problem at once.
    """
    known = {f.name: f for f in dataclasses.fields(Recipe)}
    wrong = [f"recipe has no `{name}`; {nearest(name, known)}".rstrip("; ") for name in given if name not in known]
    kept: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items() if name in known}
    for name, value in kept.items():
        want = type(known[name].default)
        if want is float and isinstance(value, int) and not isinstance(value, bool):
            kept[name] = float(value)
        elif not isinstance(value, want) or (isinstance(value, bool) and want is not bool):
            wrong.append(f"recipe {name} `{value}` is not of type {want.__name__}")
    if not wrong:
        recipe = Recipe(**kept)
        wrong = problems(recipe)
    if wrong:
        raise UsageError("; ".join(wrong), where="--recipe", hint="docs/adapt.md lists the fields of a recipe")
    return recipe


def parse(parts: Iterable[str]) -> dict[str, Any]:
    """`name=value` texts as typed values by name; what is not named is not in the answer.

    Raises:
        UsageError: With every problem at once.
    """
    known = {f.name: f for f in dataclasses.fields(Recipe)}
    found: dict[str, Any] = {}
    wrong = []
    for part in parts:
        name, equals, text = part.partition("=")
        name = name.strip()
        if not equals or name not in known:
            wrong.append(
                f"recipe has no `{name}`; {nearest(name, known)}".rstrip("; ") if equals else f"`{part}` has no `=`"
            )
            continue
        if name in found:
            wrong.append(f"recipe {name} is given twice")
        try:
            found[name] = _typed(text.strip(), type(known[name].default))
        except ValueError:
            wrong.append(f"recipe {name} `{text.strip()}` is not of type {type(known[name].default).__name__}")
    if wrong:
        raise UsageError("; ".join(wrong), where="--recipe", hint="write --recipe blocks=2,rate=1e-3")
    return found


def _typed(text: str, want: type) -> Any:
    if want is tuple:
        return tuple(one for one in text.split("+") if one)
    if want is bool:
        if text.lower() not in _WORDS:
            raise ValueError(text)
        return _WORDS[text.lower()]
    return want(text)


def shown(recipe: Recipe) -> str:
    """The fields that differ from the defaults, as `parse` reads them."""
    told = ("strategy", "rate", "epochs")
    return ",".join(part for part in whole(recipe) if part.partition("=")[0] in told or part not in _DEFAULTS)


def whole(recipe: Recipe) -> tuple[str, ...]:
    """Every field but the empty ones, which are still to be filled in, as `parse` reads them."""
    values = {option.name: getattr(recipe, option.name) for option in dataclasses.fields(Recipe)}
    return tuple(f"{name}={_text(value)}" for name, value in values.items() if value not in ("", ()))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "+".join(value) if isinstance(value, tuple) else str(value)


_DEFAULTS = whole(Recipe())
