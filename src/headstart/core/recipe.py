"""A recipe: everything that decides one fine-tuning, so that the same recipe and seed give the same weights."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headstart.core.errors import UsageError, format_nearest

STRATEGIES = ("probe", "finetune", "lora", "norms", "scratch")
PARTS, EARLIER_PARTS = ("last", "all"), ("first", "middle", "surgical")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
MONITORS = ("log_loss", "accuracy", "balanced_accuracy", "r2", "binary_log_loss", "ranked_probability_score")
DOMAINS = ("photo", "texture", "digits", "text", "microscopy", "satellite")
_RATES = "write rate=0.001, or rate=0 to have one found"
_UNDER = {  # values that are allowed and hardly ever meant, with what comes of them and what to write
    "rate": (1e-6, f"hardly anything will move; {_RATES}"),
    "batch": (4, "steps on so few pictures are noisy and slow; write batch=32, which is split where memory is short"),
}
_OVER = {
    "rate": (0.1, f"the loss will hardly stay finite; {_RATES}"),
    "trunk_rate": (1.0, "the trunk moves faster than its new head and forgets; write trunk_rate=1"),
    "epochs": (200, "few pictures are learnt by heart in so many; write epochs=40, or patience=10 to stop early"),
    "weight_decay": (1.0, "it pulls the weights to 0 faster than they learn; write weight_decay=0.01"),
    "dropout": (0.8, "hardly anything reaches the head; write dropout=0.3"),
    "label_smoothing": (0.5, "less than half of each label is left; write label_smoothing=0.1"),
    "stochastic_depth": (0.5, "most of the trunk is skipped; write stochastic_depth=0.1"),
    "focal": (5.0, "hardly any picture counts; write focal=2"),
    "ema": (0.999, "the mean stays near the first weights for thousands of steps; write ema=0.99"),
}
_SGD_FACTOR = 10.0  # what plain gradients bear, of the rate that adamw does
HINT = "headstart fit --help lists the fields of a recipe; docs/recipe.md explains them"
_KINDS = {int: "a whole number", float: "a number", str: "a text", tuple: "a list of names"}


def _option(
    default: Any,
    help: str,
    choices: Iterable[str] = (),
    low: float = 0.0,
    high: float = 1.0,
    earlier: Iterable[str] = (),
) -> Any:
    """A field of a recipe; `earlier` are choices that recipes in old run folders may hold, and nobody can ask for."""
    metadata = {"help": help, "choices": choices, "low": low, "high": high, "earlier": earlier}
    return field(default=default, metadata=metadata)


INLINE = {"inline": True}  # settings whose fields stand among those of the recipe, in text and on disk


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkSettings:
    """How a trunk trains; a probe leaves it as it is, from random weights all of it trains."""

    part: str = _option("last", "the last blocks of the trunk train, or all", PARTS, earlier=EARLIER_PARTS)
    blocks: int = _option(1, "how many of the last blocks train", low=1, high=1_000)
    gradual: bool = _option(False, "free one block after the other, the head first")
    batch_norm: str = _option("inference", "statistics of batch norm: kept, or learnt anew", ("inference", "train"))
    decay: float = _option(0.7, "factor on the rate for each block further from the head")
    trunk_rate: float = _option(1.0, "factor on the rate of all blocks, the head left out", high=10.0)
    l2_sp: float = _option(0.0, "decoupled decay of the trunk towards its pre-trained weights", high=10.0)
    stochastic_depth: float = _option(0.0, "part of residual branches that is skipped, rising with depth", high=0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """What the strategy `lora` adds to the kernels (Hu et al., ICLR 2022)."""

    lora_rank: int = _option(8, "rank of the low-rank updates of lora", low=1, high=1_024)


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSettings:
    """The head `mlp`."""

    hidden: int = _option(256, "units of the hidden layer of the head mlp", low=1, high=16_384)


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationSettings:
    """How pictures are changed before a network learns from them."""

    augment: float = _option(0.0, "strength of the augmentation, 0 for none")
    domain: str = _option("photo", "which augmentations keep the label", DOMAINS)
    views: int = _option(0, "augmented views of each picture to keep; 0 decides by cost", high=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragingSettings:
    """Which weights of one training are averaged (EMA; WiSE-FT, Wortsman et al., CVPR 2022)."""

    ema: float = _option(0.0, "decay of the running mean of the weights; 0 keeps none", high=0.99999)
    wise: bool = _option(True, "interpolate between first and tuned weights as validation says")


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Recipe:
    """One way to adapt one backbone; `backbone` and `depths` may be empty in a request.

    What belongs to one strategy lies in settings of its own, but in text, on disk and to the constructor all fields
    have plain names: `Recipe(blocks=2, augment=0.5).trunk.blocks` is 2.

    Raises:
        UsageError: There is no such field, or a value is out of place; all are told.
    """

    # what trains
    strategy: str = _option("finetune", "probe trains the head alone", STRATEGIES)
    backbone: str = _option("", "source:preset; empty takes the one whose logistic head is best")
    depths: tuple[str, ...] = _option((), "depths the head reads, + between them; empty takes the best logistic head's")
    head: str = _option(
        "linear", "the new layers: linear, or one hidden layer with norm and dropout", ("linear", "mlp")
    )
    mlp: MlpSettings = field(default_factory=MlpSettings, metadata=INLINE)
    start: str = _option("probe", "first weights of the head: of the fitted probe, or random", ("probe", "random"))
    trunk: TrunkSettings = field(default_factory=TrunkSettings, metadata=INLINE)
    lora: LoraSettings = field(default_factory=LoraSettings, metadata=INLINE)
    # how
    optimiser: str = _option("adamw", "how weights are updated", ("adamw", "sgd"))
    schedule: str = _option("cosine", "of the learning rate, after the warm-up", ("cosine", "one_cycle", "constant"))
    rate: float = _option(
        1e-3, "highest learning rate, that of the head; 0 has it found by a rising-rate test", high=10.0
    )
    warmup: float = _option(0.1, "part of the steps in which the rate rises", high=0.9)
    epochs: int = _option(15, "passes over the training pictures", low=1, high=10_000)
    batch: int = _option(32, "pictures a step", low=1, high=16_384)
    clip: float = _option(1.0, "largest norm of all gradients together; 0 clips nothing", high=1_000.0)
    precision: str = _option("float32", "of the training arithmetic", ("float32", "mixed_bfloat16", "mixed_float16"))
    # against overfitting
    weight_decay: float = _option(1e-4, "decoupled decay towards 0", high=10.0)
    dropout: float = _option(0.0, "part of the head's input that is dropped", high=0.95)
    label_smoothing: float = _option(0.0, "part of the truth spread over all classes", high=0.9)
    focal: float = _option(0.0, "gamma of the focal loss; 0 is cross-entropy", high=10.0)
    mixup: float = _option(0.0, "alpha of the Beta draw that mixes pictures; 0 mixes none", high=10.0)
    cutmix: float = _option(0.0, "alpha of the Beta draw that sizes pasted boxes; 0 pastes none", high=10.0)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings, metadata=INLINE)
    averaging: AveragingSettings = field(default_factory=AveragingSettings, metadata=INLINE)
    patience: int = _option(0, "epochs without gain after which training stops; 0 never stops early", high=10_000)
    monitor: str = _option("log_loss", "what gain is measured by", MONITORS)
    sampling: str = _option("natural", "how training pictures are drawn", ("natural", "balanced"))
    seed: int = _option(0, "of every draw", high=2**31 - 1)

    def __init__(self, **values: Any) -> None:
        plain = dict[str, Any]()
        for settings in filter(dataclasses.is_dataclass, values.values()):  # as `dataclasses.replace` gives them
            plain |= field_values(settings)
        plain |= {name: value for name, value in values.items() if not dataclasses.is_dataclass(value)}
        checked, wrong = _check_values(plain, "earlier")
        if wrong:
            raise UsageError("; ".join(wrong), where="headstart.Recipe", hint=HINT)
        for option in dataclasses.fields(Recipe):
            values_of_field = {one.name: checked[one.name] for one in _plain_fields(option) if one.name in checked}
            kind = _settings_class(option)
            value = kind(**values_of_field) if kind else values_of_field.get(option.name, option.default)
            object.__setattr__(self, option.name, value)

    def with_fields(self, **values: Any) -> Recipe:
        """The recipe with some fields changed, by their plain names."""
        return Recipe(**{**field_values(self), **values})


def list_recipe_options() -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a recipe by their plain names."""
    return tuple(one for option in dataclasses.fields(Recipe) for one in _plain_fields(option))


def _plain_fields(option: dataclasses.Field[Any]) -> tuple[dataclasses.Field[Any], ...]:
    kind = _settings_class(option)
    return dataclasses.fields(kind) if kind else (option,)


def _settings_class(option: dataclasses.Field[Any]) -> Any:
    """The class of settings in a recipe; None for a field that holds a value."""
    return option.default_factory if option.metadata.get("inline") else None


def field_values(settings: Any) -> dict[str, Any]:
    """The values of a recipe, or of settings in it, by plain name."""
    values = dict[str, Any]()
    for option in dataclasses.fields(settings):
        value = getattr(settings, option.name)
        values |= field_values(value) if option.metadata.get("inline") else {option.name: value}
    return values


def _find_unknown_fields(names: Iterable[str]) -> list[str]:
    fields = [option.name for option in list_recipe_options()]
    unknown = [name for name in names if name not in fields]
    return [f"recipe has no `{name}`; {format_nearest(name, fields)}".rstrip("; ") for name in unknown]


def _check_values(values: Mapping[str, Any], *more: str) -> tuple[dict[str, Any], list[str]]:
    """Values as their fields hold them, and what is wrong with them; `more` as in `_check_value`."""
    wrong, checked = _find_unknown_fields(values), dict[str, Any]()
    for option in list_recipe_options():
        if option.name in values:
            checked[option.name], problems = _check_value(option, values[option.name], *more)
            wrong += problems
    return checked, wrong


def _check_value(option: dataclasses.Field[Any], value: Any, *more: str) -> tuple[Any, list[str]]:
    """A value as its field holds it, and what is wrong with it; `more` names further choices of the field."""
    want: Any = type(option.default)
    metadata, name = option.metadata, f"recipe {option.name} `{format_value(value)}`"
    if want is tuple and isinstance(value, list):
        value = tuple(value)
    number = {int: numbers.Integral, float: numbers.Real}.get(want)  # those of numpy too
    if number and isinstance(value, number) and not isinstance(value, bool):
        value = want(value)
    if not isinstance(value, want) or (isinstance(value, bool) and want is not bool):
        return value, [f"{name} {format_wrong_kind(want)}"]
    if metadata["choices"] and value not in metadata["choices"] and all(value not in metadata[key] for key in more):
        return value, [f"{name} {format_unknown_choice(value, metadata['choices'])}"]
    if want in (int, float) and not metadata["low"] <= value <= metadata["high"]:
        return value, [f"{name} is not between {metadata['low']:g} and {format_value(metadata['high'])}"]
    return value, []


def format_wrong_kind(want: type) -> str:
    """`is not a whole number`: the end of a sentence about a value of another type."""
    return "is neither: write true or false" if want is bool else f"is not {_KINDS[want]}"


def format_unknown_choice(value: str, choices: Iterable[str]) -> str:
    """The end of a sentence about a value that is no choice: which there are, and which is nearest."""
    near = format_nearest(value, choices, count=1)
    return f"is not one of {', '.join(choices)}{f'; {near}' if near else ''}"


def find_recipe_problems(recipe: Recipe) -> list[str]:
    """What is wrong with a recipe whose values are all in place, one sentence each."""
    if recipe.strategy == "probe" and recipe.head == "linear" and recipe.start == "probe" and not recipe.rate:
        return ["recipe trains nothing: a linear probe that starts from the fitted one at rate 0"]
    return []


def find_recipe_doubts(recipe: Recipe) -> list[str]:
    """Values that are allowed and will probably not train well, one sentence each with what to write instead."""
    doubts, values = list[str](), field_values(recipe)
    factor = {"rate": _SGD_FACTOR} if recipe.optimiser == "sgd" else {}
    for name, (least, why) in _UNDER.items():
        if 0 < values[name] < least:
            doubts.append(f"recipe {name} `{format_value(values[name])}` is under {least:g}: {why}")
    for name, (bound, why) in _OVER.items():
        most = bound * factor.get(name, 1.0)
        if values[name] > most:
            doubts.append(f"recipe {name} `{format_value(values[name])}` is over {most:g}: {why}")
    return doubts


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """A checked recipe from values by name.

    Raises:
        UsageError: With every problem at once.
    """
    checked, wrong = _check_values(values)
    if not wrong:
        recipe = Recipe(**checked)
        wrong = find_recipe_problems(recipe)
    if wrong:
        raise UsageError("; ".join(wrong), where="--recipe", hint=HINT)
    return recipe


def parse_fields(parts: Iterable[str]) -> dict[str, Any]:
    """`name=value` texts as typed values by name; what is not named is not in the answer.

    Raises:
        UsageError: With every problem at once.
    """
    by_name = {option.name: option for option in list_recipe_options()}
    values: dict[str, Any] = {}
    wrong = []
    for part in parts:
        name, equals, text = (text_part.strip() for text_part in part.partition("="))
        if not equals or name not in by_name:
            wrong += _find_unknown_fields([name]) if equals else [_format_missing_value(part, by_name, values)]
            continue
        if name in values:
            wrong.append(f"recipe {name} is given twice")
        try:
            values[name], problem = _check_value(by_name[name], _convert_text(text, type(by_name[name].default)))
            wrong += problem
        except ValueError:
            wrong.append(f"recipe {name} `{text}` {format_wrong_kind(type(by_name[name].default))}")
    if wrong:
        raise UsageError("; ".join(wrong), where="--recipe", hint=HINT)
    return values


def _format_missing_value(part: str, by_name: Mapping[str, dataclasses.Field[Any]], values: Mapping[str, Any]) -> str:
    if part in by_name:
        advice = f": write `{part}={format_value(by_name[part].default) or '…'}`"
    else:
        advice = "; several depths are joined with `+`" if "depths" in values else ": write `name=value`"
    return f"`{part}` in --recipe has no `=`{advice}"


def is_backbone_named(requested: str, name: str) -> bool:
    """Whether a recipe's backbone names one: all of it, or its part after the colon; an empty one names all."""
    return not requested or f":{name}".endswith(f":{requested}")


def format_limits(option: dataclasses.Field[Any]) -> str:
    """`0 to 10`; empty for a field that holds no number."""
    if type(option.default) not in (int, float):
        return ""
    return f"{option.metadata['low']:g} to {format_value(option.metadata['high'])}"


def format_fields(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Values by name as `parse_fields` reads them; a list of depths is joined."""
    return tuple(f"{name}={format_value(value)}" for name, value in values.items())


def _convert_text(text: str, want: type) -> Any:
    if want is tuple:
        return tuple(name for name in text.split("+") if name)
    if want is bool:
        if text.lower() not in _WORDS:
            raise ValueError(text)
        return _WORDS[text.lower()]
    return want(text)


def format_recipe(recipe: Recipe) -> str:
    """The fields that differ from the defaults, as `parse_fields` reads them."""
    always = ("strategy", "rate", "epochs")
    parts = format_all_fields(recipe)
    return ",".join(part for part in parts if part.partition("=")[0] in always or part not in _DEFAULTS)


def format_all_fields(recipe: Recipe) -> tuple[str, ...]:
    """Every field but the empty ones, which are still to be filled in, as `parse_fields` reads them."""
    return format_fields({name: value for name, value in field_values(recipe).items() if value not in ("", ())})


def format_value(value: Any) -> str:
    """A value as `parse_fields` reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return "+".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


_DEFAULTS = format_all_fields(Recipe())
