"""The whole request as one value that is written once and drives `--help`, `job.toml` and the docs.

Every field carries its help; unknown keys are refused with the nearest known one, and all problems are told at once.
"""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from headstart.core import recipe as recipes
from headstart.core.errors import Problem, UsageError, format_nearest, make_error
from headstart.core.picture_settings import PARSERS
from headstart.core.quantities import parse_bands, parse_bytes, parse_duration_s, parse_latency_ms
from headstart.core.storage.files import read_json, write_json, write_text
from headstart.core.storage.locations.names import is_absolute, resolve_location

Metric = Literal["log_loss", "accuracy", "balanced_accuracy", "r2", "ranked_probability_score", "binary_log_loss"]
Strategy = Literal["probe", "auto", "finetune", "lora", "norms", "scratch"]
Tracker = Literal["none", "tensorboard", "mlflow"]
TaskName = Literal["auto", "classification", "multilabel", "ordinal", "regression"]
Preference = Literal["accurate", "fast"]
Precision = Literal["f32", "int8"]
Device = Literal["auto", "cpu", "gpu"]
ClassWeight = Literal["none", "balanced"]
License = Literal["any", "permissive"]
Resize = Literal["auto", "crop", "pad", "squash"]
TargetLabels = Literal["judge", "learn"]
Domain = Literal["auto", "photo", "texture", "digits", "text", "microscopy", "satellite"]
FilePath: TypeAlias = str  # a setting of this type names a file; who answers for others checks it
STRATEGIES: tuple[str, ...] = get_args(Strategy)
PATH_SETTINGS = ("data", "costs", "exclude", "images", "more", "test_of", "unlabeled")
TABLE_SETTINGS = ("images", "path", "target", "split", "group", "weight", "time", "merge_labels")
# What every command that reads DATA takes.
READING_SETTINGS = (*TABLE_SETTINGS, "task", "order", "resize", "window", "slice", "bands", "exclude")
LOCAL_FILE = ".local.json"  # beside a run's job.toml: where its paths lead on this machine, for nobody else
_ROOTS = {"data": "pictures", "unlabeled": "target_pictures"}  # in it, where these start away from their table
HINT = "headstart fit --help lists the settings"
_RANGES = ("test_size", 0, 0.9), ("coverage", 0.5, 0.999), ("folds", 2, 50), ("repeats", 0, 50), ("seed", 0, 2**31 - 1)


def _option(default: Any, help: str, kind: Any = None) -> Any:
    return field(default=default, metadata={"help": help, "choices": get_args(kind)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request: what to learn from, with what, for how long, and how to judge."""

    data: str = field(metadata={"help": "folder of class folders, or with train/ val/ test/ above them; or a table"})
    budget: str = _option("5m", "time to spend: 90s, 5m, 1h; a bare number is seconds")
    backbones: tuple[str, ...] = _option(("auto",), "auto, or names with commas between them")
    strategy: Strategy = _option(
        "probe", "how to adapt: a new head on frozen features, or what else to train; auto spends the budget", Strategy
    )
    metric: Metric = _option("log_loss", "what candidates are compared by", Metric)
    prefer: Preference = _option("accurate", "fast takes a cheaper one if it ties and loses under 0.02", Preference)
    seed: int = _option(0, "of every draw")
    test_size: float = _option(0.2, "part held out for the final score, 0 for none")
    folds: int = _option(5, "of the cross-validation")
    repeats: int = _option(0, "of the cross-validation, at most; 0 for more the fewer pictures there are")
    precision: Precision = _option("f32", "of the screening pass; the final score is always of f32", Precision)
    device: Device = _option("auto", "where networks compute: auto takes a GPU where one is seen and is faster", Device)
    class_weight: ClassWeight = _option("none", "balanced gives rare classes more weight", ClassWeight)
    positive: str = _option("", "class of interest: a decision threshold is tuned for it")
    coverage: float = _option(0.9, "part of pictures whose true class is to be among the plausible ones")
    recipe: tuple[str, ...] = _option((), "fields of one recipe, name=value with commas between: trained as given")
    trials: int = _option(0, "recipes to try at most, 0 for as many as the budget has room for")
    domain: Domain = _option("auto", "what augmentation may do; auto measures what keeps the label", Domain)
    track: Tracker = _option("none", "where training curves also go", Tracker)
    profile: bool = _option(False, "tell which part of the step time is compute")
    license: License = _option("any", "permissive leaves out backbones whose weights may not be used freely", License)
    max_latency: str = _option("", "time that the trunks may take for one picture on this machine: 20ms, 0.5s")
    max_size: str = _option("", "bytes that the trunks' weights may have in float32: 50MB, 1GB")
    from_names: bool = _option(False, "also try a head that starts from the class names; fetches a sentence model")
    resize: Resize = _option("auto", "how pictures become square; auto measures which loses less", Resize)
    window: str = _option(
        "", "of DICOM and NIfTI values: CENTER,WIDTH, none, a preset such as lung; that of each picture by default"
    )
    slice: str = _option(
        "", "of NIfTI [PLANE:]PLACE, of DICOM frames PLACE: first, last or a number; axial:middle by default"
    )
    bands: str = _option(
        "auto",
        "bands of every picture that are read, by number: 4,3,2 for red, green and blue; triples: three at a time",
    )
    no_thumbnails: bool = _option(False, "keep no small copies of pictures: not in the run, its page or its heat maps")
    costs: FilePath = _option("", "CSV file: first row and column class names, cell = cost of answering column for row")
    exclude: FilePath = _option("", "CSV file of pictures to leave out, as `audit --fix-list` offers them")
    images: FilePath = _option("", "folder where the relative paths of a table start; its own folder when empty")
    path: str = _option("", "column of a table with the paths of pictures; found by its name when empty")
    target: str = _option("", "column of a table with labels, or several of yes and no: a,b; by its name when empty")
    split: str = _option("", "column of a table with train, val or test; found by its name when empty")
    group: str = _option("", "column of a table with what belongs together (patient); name:REGEX finds it in paths")
    weight: str = _option("", "column of a table with how much a picture counts in training")
    time: str = _option("", "column of a table with dates or numbers that grow with time; found by its name when empty")
    task: TaskName = _option("auto", "what is learnt from the labels; auto tells it by them", TaskName)
    order: tuple[str, ...] = _option((), "grades from the lowest to the highest, with commas: makes the task ordinal")
    merge_labels: bool = _option(False, "labels that differ by spaces, case or number format alone are one class")
    more: FilePath = _option("", "table of more labelled pictures, as suggest writes it: learnt from, never tested on")
    test_of: FilePath = _option("", "run of the same pictures: what judged it judges again, so that scores compare")
    unlabeled: FilePath = _option(
        "", "pictures of the domain that the model is for: a folder, archive or table of paths"
    )
    target_labels: TargetLabels = _option(
        "judge", "use of labels that some of them have; learn adds them", TargetLabels
    )
    adaptation: tuple[str, ...] = _option(("auto",), "to these pictures: auto, none, or methods with commas between")

    @property
    def budget_s(self) -> float:
        """The budget in seconds."""
        return parse_duration_s(self.budget)

    @property
    def chosen_bands(self) -> tuple[int, ...]:
        """The bands that are read, the first is 1; empty for all that vary."""
        return parse_bands(self.bands)

    @property
    def max_latency_ms(self) -> float:
        """The limit of `max_latency` in milliseconds; infinity when there is none."""
        return parse_latency_ms(self.max_latency) if self.max_latency else math.inf

    @property
    def max_size_bytes(self) -> float:
        """The limit of `max_size` in bytes; infinity when there is none."""
        return parse_bytes(self.max_size) if self.max_size else math.inf


class Settings(TypedDict, total=False):
    """What may be given for the settings of a job; `Job` has their meanings and defaults."""

    budget: str | float
    backbones: str | Sequence[str]
    strategy: Strategy
    metric: Metric
    prefer: Preference
    seed: int
    test_size: float
    folds: int
    repeats: int
    precision: Precision
    device: Device
    class_weight: ClassWeight
    positive: str
    coverage: float
    recipe: str | Sequence[str] | Mapping[str, Any] | recipes.Recipe
    trials: int
    domain: Domain
    track: Tracker
    profile: bool
    license: License
    max_latency: str | float
    max_size: str | float
    from_names: bool
    resize: Resize
    window: str
    slice: str
    bands: str | Sequence[int]
    no_thumbnails: bool
    costs: str | Path
    exclude: str | Path
    images: str | Path
    path: str
    target: str
    split: str
    group: str
    weight: str
    time: str
    task: TaskName
    order: str | Sequence[str]
    merge_labels: bool
    more: str | Path
    test_of: str | Path
    unlabeled: Any
    target_labels: TargetLabels
    adaptation: str | Sequence[str]


_NAMES = [option.name for option in dataclasses.fields(Job)]


_QUANTITIES = {"budget": parse_duration_s, "max_latency": parse_latency_ms, "max_size": parse_bytes}  # text -> number
_TEXTS: dict[str, Any] = {**_QUANTITIES, **PARSERS, "bands": parse_bands}


def list_options() -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a job besides `data`, in the order in which they are shown."""
    return tuple(f for f in dataclasses.fields(Job) if f.name != "data")


def list_path_options() -> tuple[str, ...]:
    """Settings that name a file, by their type."""
    return tuple(option.name for option in list_options() if option.type == "FilePath")


def recipe_strategy(strategy: str) -> str:
    """The strategy of a recipe that does not name one."""
    return "finetune" if strategy == "auto" else strategy


def format_flag(name: str) -> str:
    """`test_size` -> `--test-size`."""
    return "--" + name.replace("_", "-")


def find_problems(job: Job) -> list[Problem]:
    """Everything that is wrong with a job, one sentence each."""
    wrong = [
        (option.name, f"`{value}` {recipes.format_unknown_choice(value, option.metadata['choices'])}")
        for option in list_options()
        if option.metadata["choices"] and (value := getattr(job, option.name)) not in option.metadata["choices"]
    ]
    for name, low, high in _RANGES:
        if not low <= getattr(job, name) <= high:
            wrong.append((name, f"`{getattr(job, name)}` is not between {low} and {high}"))
    wrong += [(name, "is empty") for name in ("backbones", "adaptation") if not getattr(job, name)]
    if job.order and job.task != "ordinal":
        wrong.append(("order", f"has no effect with task `{job.task}`"))
    wrong += [("order", f"names `{name}` twice") for name in sorted({n for n in job.order if job.order.count(n) > 1})]
    wrong += [("trials", f"`{job.trials}` is below zero")] if job.trials < 0 else []
    problems = [Problem(format_flag(name), f"{name} {why}", HINT) for name, why in wrong]
    return problems + _find_recipe_problems(job) + _find_quantity_problems(job)


def find_recipe_doubts(job: Job) -> list[str]:
    """What will probably not train well in the recipe of a job that has no problems."""
    return recipes.find_recipe_doubts(recipes.make_recipe(recipes.parse_fields(job.recipe)))


def _find_recipe_problems(job: Job) -> list[Problem]:
    where, is_known = format_flag("recipe"), job.strategy in STRATEGIES  # an unknown one is told as what it is
    if job.recipe and job.strategy == "probe":
        what = "a recipe needs a strategy that trains: write strategy finetune, lora, norms, scratch or auto"
        return [Problem(where, what, recipes.HINT)]
    try:
        default = {"strategy": recipe_strategy(job.strategy)} if is_known else {}
        recipe = recipes.make_recipe({**default, **recipes.parse_fields(job.recipe)})
    except UsageError as err:
        return [Problem(where, err.what, recipes.HINT)]
    if is_known and job.strategy not in ("probe", "auto", recipe.strategy):
        what = f"strategy `{job.strategy}` and recipe strategy `{recipe.strategy}` contradict each other"
        return [Problem(where, what, recipes.HINT)]
    return []


def _find_quantity_problems(job: Job) -> list[Problem]:
    problems = []
    for name, parse in _TEXTS.items():
        text = getattr(job, name)
        try:
            if text or name in ("budget", "bands"):
                parse(text)
        except UsageError as err:
            problems.append(Problem(format_flag(name), f"{name}: {err.what}: {err.hint}", HINT))
    return problems


def make_job(**settings: Any) -> Job:
    """A checked job; raises UsageError with every problem at once."""
    job = read_settings(settings)
    if problems := find_problems(job):
        raise make_error(problems)
    return job


def read_settings(settings: Mapping[str, Any]) -> Job:
    """A job whose settings are all known and of their types; raises UsageError with every one that is not."""
    problems = [
        Problem(f"setting {name}", f"unknown setting `{name}`; {format_nearest(name, _NAMES)}".rstrip("; "), HINT)
        for name in settings
        if name not in _NAMES
    ]
    if "data" not in settings:
        problems.append(Problem("DATA", "data is missing", HINT))
    values = _take_known(settings)
    for name in ("backbones", "recipe", "order", "adaptation"):
        if isinstance(values.get(name), str):
            values[name] = tuple(part.strip() for part in values[name].split(",") if part.strip())
    for name in set(_QUANTITIES) & set(values):
        values[name] = _format_quantity(values[name])
    values |= {name: str(values[name]) for name in PATH_SETTINGS if isinstance(values.get(name), Path)}
    if isinstance(values.get("bands"), tuple):
        values["bands"] = ",".join(map(str, values["bands"]))
    if isinstance(values.get("recipe"), recipes.Recipe):
        default_monitor = f"monitor={recipes.Recipe().monitor}"  # comes from the metric of the job
        values["recipe"] = tuple(p for p in recipes.format_all_fields(values["recipe"]) if p != default_monitor)
    elif isinstance(values.get("recipe"), Mapping):
        values["recipe"] = recipes.format_fields(values["recipe"])
    if isinstance(values.get("order"), tuple) and values["order"]:
        values["order"] = tuple(map(str, values["order"]))
        values["task"] = "ordinal" if values.get("task", "auto") == "auto" else values["task"]
    problems += _find_type_problems(values)
    if problems:
        raise make_error(problems)
    return Job(**values)


def take_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a job among the arguments of a function that has each as a parameter."""
    return {option.name: values[option.name] for option in list_options()}


def _format_quantity(value: Any) -> Any:
    """A number as its text, for settings that carry a unit: `budget=120` is 120 seconds; all else stays as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return format(Decimal(str(value)), "f")


def _take_known(settings: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in settings.items() if name in _NAMES}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}


def _find_type_problems(values: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for option in list_options():
        if option.name in values:
            kind, value = type(option.default), values[option.name]
            fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
            if not fits or (isinstance(value, bool) and kind is not bool):
                why, hint = recipes.format_wrong_kind(kind), HINT
                if option.name == "recipe":
                    why = "is no recipe: pass a headstart.Recipe, a dict or text of name=value parts"
                    hint = recipes.HINT
                problems.append(Problem(format_flag(option.name), f"{option.name} `{value}` {why}", hint))
    return problems


def format_differences(here: Job, other: Job) -> list[str]:
    """Settings in which two jobs differ, as `seed` 7 here, 0 there; a folder may be named from another place."""
    first, second = (
        {**dataclasses.asdict(job), **_resolve_paths(job), "recipe": tuple(sorted(job.recipe)), "budget": job.budget_s}
        for job in (here, other)
    )
    return [
        f"`{name}` {_format_value(getattr(here, name))} here, {_format_value(getattr(other, name))} there"
        for name, value in first.items()
        if value != second[name]
    ]


def _resolve_paths(job: Job) -> dict[str, str]:
    return {name: resolve_location(path) for name in PATH_SETTINGS if (path := getattr(job, name))}


def _format_value(value: Any) -> str:
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return text or "none"


def write_job(job: Job, path: Path) -> None:
    """Write a job as TOML."""
    import tomli_w

    content = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(job).items()}
    write_text(path, tomli_w.dumps(content))


def write_run_job(job: Job, run: Path) -> None:
    """Write a job into a run folder: absolute paths by their last part, for they tell of the machine."""
    names: dict[str, Any] = {
        name: Path(path).name or "data" for name, path in _resolve_paths(job).items() if is_absolute(getattr(job, name))
    }
    write_job(dataclasses.replace(job, **names), run / "job.toml")


def write_local_paths(job: Job, run: Path) -> None:
    """Note beside a run's job where its paths lead on this machine."""
    write_json(run / LOCAL_FILE, _read_local_json(run) | _resolve_paths(job))


def write_picture_root(root: str, run: Path, setting: str = "data") -> None:
    """Note where the pictures of `data` or `unlabeled` start on this machine: a table's may lie away from it."""
    if (paths := _read_local_json(run)).get(setting) not in (None, root, os.path.realpath(root)):
        write_json(run / LOCAL_FILE, paths | {_ROOTS[setting]: root})


def read_local_paths(run: Path) -> dict[str, str]:
    """Where the paths of a run's job lead on this machine; empty where nothing says so, as after the run was moved."""
    return {name: path for name, path in _read_local_json(run).items() if name in PATH_SETTINGS}


def read_picture_root(run: Path, setting: str = "data") -> str | None:
    """Where the pictures of `data` or `unlabeled` start on this machine; None where nothing says so."""
    paths = _read_local_json(run)
    return paths.get(_ROOTS[setting], paths.get(setting))


def _read_local_json(run: Path) -> dict[str, str]:
    try:
        return {name: str(path) for name, path in read_json(run / LOCAL_FILE).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def read_job(path: Path) -> Job:
    """Read a job from TOML; in a run folder, whose job was checked, settings that have gone since are skipped.

    Raises:
        UsageError: The file is no TOML, or the job is wrong; with every problem at once.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as err:
        raise UsageError(f"`{path}` is not TOML: {err}", where=str(path)) from err
    if (path.parent / "format.json").is_file() and "data" in content:
        return Job(**_take_known({**content, **read_local_paths(path.parent)}))
    try:
        return make_job(**content)
    except UsageError as err:
        raise UsageError(err.what, where=str(path), hint=err.hint) from err
