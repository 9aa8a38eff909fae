"""All of a request that can be refused before anything starts; its problems are told in one pass.

Nothing is trained and no run folder is made; what only the pictures can tell is checked where it is known. That a
setting has no effect is no problem of the job itself (`headstart.core.job.find_problems`): an older run's can still be
read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core import extras
from headstart.core import job as jobs
from headstart.core import recipe as recipes
from headstart.core.errors import (
    HeadstartError,
    NoOpError,
    Problem,
    SetupError,
    UsageError,
    format_nearest,
    make_error,
    make_problem,
)
from headstart.core.job import Job, format_flag
from headstart.core.quantities import TRIPLES
from headstart.core.registry import list_plugins, load_plugin
from headstart.core.run.context import Context
from headstart.core.run.folder import RunFolder
from headstart.core.run.opening import require_free_folder, require_outside, require_same_job
from headstart.core.storage.cache import default_store
from headstart.core.types import NETWORK_METHODS, NO_ADAPTATION, TRAINED_METHODS
from headstart.finetuning.trainable_candidates import has_levels, list_trainable
from headstart.networks.devices import require_gpu

if TYPE_CHECKING:
    from headstart.backbones.resolved_backbone import ResolvedBackbone
    from headstart.core.console import Console
    from headstart.core.types import Dataset, Task

TRAINING_SETTINGS = ("trials", "domain", "track", "profile")  # a probe looks at none of them
_IDLE_DOMAIN = Problem("--unlabeled", "unlabeled has no effect here: only a fit looks at a new domain", "leave it out")


def preflight(
    job: Job,
    run: Path,
    console: Console,
    *,
    training: bool = False,
    fetching: bool = True,
    reaching: bool = False,
    needs_labels: bool = True,
) -> list[Problem]:
    """Everything that is wrong with a request; `training` looks at what only a whole fit uses too.

    With `fetching` a named backbone of which nothing is known before it is here may be fetched, if nothing else is
    wrong. With `reaching` the recommended backbones count as candidates.
    """
    from headstart.data.fix_list import read_fix_list
    from headstart.data.reading.more_labels import require_more_labels
    from headstart.data.reading.records import NoLabelsError, require_readable

    unreadable = _catch(require_readable, job)
    problems = [
        *jobs.find_problems(job),
        *(problem for problem in unreadable if needs_labels or problem.kind is not NoLabelsError),
        *(_catch(read_fix_list, Path(job.exclude)) if job.exclude else []),
        *_catch(require_more_labels, job),
        *_catch(require_outside, run, job.data),
        *_catch(require_free_folder, run),
        *_find_device_problems(job),
        *(_catch(require_outside, run, job.unlabeled) if job.unlabeled else []),
        *(find_domain_problems(job) if training or not job.unlabeled else [_IDLE_DOMAIN]),
    ]
    if jobs.find_problems(job):  # the rest is asked by these values
        return problems
    problems += _catch(require_same_job, run, job)
    if training:
        problems += find_unused_settings(job)
    unknown = _find_backbone_problems(job, console, fetching=fetching, only_here=bool(problems))
    problems += unknown
    if training and job.strategy != "probe" and not unknown:
        problems += _find_training_problems(job, run, console, reaching=reaching)
    return problems


def _find_device_problems(job: Job) -> list[Problem]:
    if job.device == "gpu" and job.precision != "f32":
        sentence = f"precision `{job.precision}` is computed on the processor alone, and device `gpu` was asked for"
        return [Problem("--precision", sentence, "leave out --precision, or write --device auto")]
    return _catch(require_gpu, job.device)


def find_domain_problems(job: Job, *, reading: bool = True) -> list[Problem]:
    """What is wrong with the settings of a new domain, and with `reading` with where its pictures lie."""
    from headstart.domain_adaptation.target_domain import require_target

    if not job.unlabeled:
        default, hint = Job(data=job.data), "--unlabeled NEW names them"
        return [
            Problem(format_flag(name), f"{name} has no effect without pictures of a new domain", hint)
            for name in ("target_labels", "adaptation")
            if getattr(job, name) != getattr(default, name)
        ]
    problems = _catch(require_target, job) if reading else []
    if NO_ADAPTATION not in job.adaptation:
        return problems + [problem for name in job.adaptation for problem in _find_method_problems(name, job)]
    if len(job.adaptation) > 1:
        problems.append(Problem("--adaptation", f"`{NO_ADAPTATION}` excludes other methods", "name either"))
    if job.target_labels == "learn":
        what = f"labels of a new domain are learnt by adapting to it, and adaptation `{NO_ADAPTATION}` does nothing"
        problems.append(Problem("--target-labels", what, "leave out --target-labels, or --adaptation"))
    return problems


def _find_method_problems(name: str, job: Job) -> list[Problem]:
    """What is wrong with one method that adapts, and is named."""
    plugins = list_plugins("adaptation_methods")
    if name in plugins:
        extra = load_plugin("adaptation_methods", name).extra
        return _catch(extras.require_extra, extra, f"adaptation `{name}`") if extra else []
    known = ("auto", NO_ADAPTATION, *plugins, *NETWORK_METHODS)
    if name not in known:
        hint = format_nearest(name, known) or f"known: {', '.join(known)}"
        return [Problem("--adaptation", f"there is no way to adapt `{name}`", hint)]
    if name in TRAINED_METHODS and job.strategy == "probe":
        what = f"`{name}` trains a network, and strategy `probe` trains none"
        return [Problem("--adaptation", what, "--strategy auto trains networks")]
    return []


def _catch(require: Callable[..., Any], *values: Any) -> list[Problem]:
    try:
        require(*values)
    except HeadstartError as err:
        return [make_problem(err)]
    return []


def find_unused_settings(job: Job) -> list[Problem]:
    """Every setting that would be taken and do nothing, one sentence each."""
    default = Job(data=job.data)
    problems = _find_triple_problems(job)
    if job.strategy == "probe":
        changed = [name for name in TRAINING_SETTINGS if getattr(job, name) != getattr(default, name)]
        if job.track == "mlflow":  # it gets the result and the model too
            changed.remove("track")
        why = "has no effect with strategy `probe`: it trains no network"
        problems += [Problem(format_flag(name), f"{name} {why}", "--strategy auto trains networks") for name in changed]
    elif job.recipe and job.trials:
        message = "trials has no effect with a recipe: that one is trained as given"
        problems.append(Problem(format_flag("trials"), message, "leave out --trials"))
    return problems


def _find_triple_problems(job: Job) -> list[Problem]:
    if job.bands != TRIPLES:
        return []
    problems = []
    if job.strategy != "probe":
        sentence = f"strategy `{job.strategy}` trains networks on three channels, and bands come in triples"
        problems.append(Problem("--strategy", sentence, "--strategy probe fits a head on frozen features"))
    if job.max_latency:
        sentence = "max latency is measured on one run of a trunk, and it runs several times for bands in triples"
        problems.append(Problem("--max-latency", sentence, "leave out --max-latency"))
    return problems


def require_fitting_settings(job: Job, data: Dataset) -> None:
    """Refuse settings that do not go with the labels: an error with all of them."""
    from headstart.data.groups import can_judge
    from headstart.heads.decision_rule import require_rule
    from headstart.selection.probe.prototypes import require_possible

    if not data.learning_task.is_learnt:
        return
    if problems := find_task_problems(job, data.learning_task):
        raise make_error(problems)
    require_rule(job, data.class_names)
    if job.more and not job.test_of and not any(data.split):
        message = "nothing says which pictures judge, and those of `--more` may not"
        raise UsageError(message, where="--more", hint="--test-of RUN keeps the test of the run that named them")
    if not can_judge(data):
        require_possible(job)


def find_task_problems(job: Job, task: Task) -> list[Problem]:
    """Every setting that does not go with what the targets are, one sentence each."""
    default, why = Job(data=job.data), f"is about classes, and the targets are {task.answers}"
    problems = []
    if job.metric not in (default.metric, *task.metrics):
        sentence = f"metric `{job.metric}` does not judge {task.answers}"
        problems.append(Problem("--metric", sentence, f"--metric {' or '.join(task.metrics)}"))
    problems += _find_recipe_problems(job, task)
    if task.has_classes:
        return problems
    problems += [
        Problem(format_flag(name), f"{name} {why}", f"leave out {format_flag(name)}")
        for name in ("class_weight", "positive", "costs", "from_names", "unlabeled")
        if getattr(job, name) != getattr(default, name)
    ]
    return problems


def _find_recipe_problems(job: Job, task: Task) -> list[Problem]:
    """Every field of a recipe that does not go with what the targets are."""
    fields = recipes.parse_fields(job.recipe)
    wrong = [name for name in task.unused_fields if fields.get(name) not in (None, 0.0, "natural")]
    if fields.get("monitor", task.metrics[0]) not in task.metrics:
        wrong.append("monitor")
    hint = f"leave it out; they are compared by {' or '.join(task.metrics)}"
    return [
        Problem(
            "--recipe", f"recipe {name} `{recipes.format_value(fields[name])}` says nothing of {task.answers}", hint
        )
        for name in wrong
    ]


def find_callback_problems(callbacks: Any, strategy: str) -> list[Problem]:
    """What is wrong with the Keras callbacks of a fit."""
    if not isinstance(callbacks, Sequence):
        return [Problem("callbacks", f"callbacks `{callbacks!r}` is no list", "callbacks=[…]")]
    if callbacks and strategy == "probe":
        message = "callbacks need a strategy that trains: a probe calls none"
        return [Problem("callbacks", message, 'pass strategy="auto", or leave callbacks out')]
    keras = sys.modules.get("keras")  # not imported: nothing can be a callback of it
    return [
        Problem("callbacks", f"`{callback!r}` is no keras.callbacks.Callback", "pass instances")
        for callback in callbacks
        if keras is None or not isinstance(callback, keras.callbacks.Callback)
    ]


def _find_backbone_problems(job: Job, console: Console, *, fetching: bool, only_here: bool) -> list[Problem]:
    from headstart.backbones import loading, source_lookup
    from headstart.selection.candidates import require_within_limits

    def require(name: str) -> None:
        try:
            known_backbone = loading.find_backbone(name, opening=False)
        except UsageError:  # it is in no list, and has to be opened
            pass
        else:  # a limit that it breaks is told before it is fetched
            require_within_limits(known_backbone, job, {})
        try:
            may_fetch = fetching and not only_here
            backbone = loading.find_for_option("--backbones", name, fetching=may_fetch, console=console)
        except source_lookup.NotHere:
            if fetching:
                return
            raise
        require_within_limits(backbone, job, {})

    return [problem for name in job.backbones if name != "auto" for problem in _catch(require, name)]


def _find_training_problems(job: Job, run: Path, console: Console, *, reaching: bool) -> list[Problem]:
    """What is wrong between the recipe and the candidates, unless the run has chosen them: they may be others now."""
    from headstart.selection.candidates import list_candidates

    ctx = Context(job=job, run=RunFolder(run), store=default_store(console), console=console, reaches_out=reaching)
    if ctx.run.find_decision("candidates") is not None:
        return []
    return [*_catch(lambda: require_trainable(job, list_candidates(ctx))), *_catch(require_tracker, job.track)]


def require_tracker(track: str) -> None:
    """Refuse to log to what is not installed, by a SetupError with the command that installs it."""
    missing = extras.list_missing_packages("mlflow") if track == "mlflow" else []
    if missing:
        message, hint = f"MLflow cannot be loaded: there is no `{missing[0]}`", extras.format_install_command("mlflow")
        raise SetupError(message, where=f"--track {track}", hint=hint)


def require_trainable(job: Job, candidates: Sequence[str]) -> None:
    """Refuse a training that none of the candidates can have.

    Raises:
        UsageError: The recipe wants a backbone, feature levels or blocks that are not there.
        NoOpError: No candidate can be trained, and a strategy was asked for by name, or other candidates can.
    """
    from headstart.backbones import loading

    backbones = [loading.find_backbone(name) for name in candidates]
    if job.recipe:
        _require_recipe_fits(recipes.parse_fields(job.recipe), backbones)
    frozen = [backbone.frozen_reason for backbone in backbones if backbone.frozen_reason]
    if not list_trainable(job, candidates) and (job.strategy != "auto" or len(frozen) < len(backbones)):
        raise NoOpError(f"nothing can be fine-tuned: {'; '.join(frozen)}", hint="--strategy probe takes it frozen")


def _require_recipe_fits(recipe: Mapping[str, Any], backbones: Sequence[ResolvedBackbone]) -> None:
    named_backbones = _find_named(str(recipe.get("backbone", "")), backbones)
    levels = tuple(recipe.get("depths", ()))
    fit = [backbone for backbone in named_backbones if has_levels(backbone, levels)]
    if not fit:
        raise _make_level_error(levels, named_backbones)
    most = max(_count_blocks(levels, backbone) for backbone in fit)
    if recipe.get("blocks", 1) > most and recipe.get("part") != "all" and recipe.get("strategy") != "scratch":
        largest = max(fit, key=lambda backbone: len(backbone.spec.depths)).name
        up_to = f"up to `{levels[-1]}`" if levels else f"in `{largest}`"
        message = f"the recipe wants to train {recipe['blocks']} blocks of the {most} {up_to}"
        raise UsageError(message, where="--recipe", hint="part=all trains all of them")


def _find_named(name: str, backbones: Sequence[ResolvedBackbone]) -> list[ResolvedBackbone]:
    from headstart.backbones import loading

    named_backbones = [backbone for backbone in backbones if recipes.is_backbone_named(name, backbone.name)]
    if named_backbones:
        return named_backbones
    measured = [backbone.name for backbone in backbones]
    near = format_nearest(name, [*measured, *(full_name.rpartition(":")[2] for full_name in measured)])
    if not near:  # the error of an unknown name says the nearest of all
        loading.find_for_option("--recipe", name)
    hint = f"{near} measured: {', '.join(measured)}; choose others with --backbones".strip()
    raise UsageError(f"the recipe wants backbone `{name}`, which is not measured", where="--recipe", hint=hint)


def _make_level_error(levels: Sequence[str], backbones: Sequence[ResolvedBackbone]) -> UsageError:
    level_names = list(dict.fromkeys(level.name for backbone in backbones for level in backbone.spec.depths))
    unknown = [name for name in levels if name not in level_names]
    wrong = unknown[0] if unknown else "+".join(levels)
    whose = f"`{backbones[0].name}` does not have" if len(backbones) == 1 else "no backbone to be measured has"
    message = f"the recipe wants {'depths' if '+' in wrong else 'depth'} `{wrong}`, which {whose}"
    levels_of = [f"{each.name} at {', '.join(level.name for level in each.spec.depths)}" for each in backbones]
    hint = f"{format_nearest(wrong, level_names)} there are: {'; '.join(levels_of)}".strip()
    return UsageError(message, where="--recipe", hint=hint)


def _count_blocks(levels: Sequence[str], backbone: ResolvedBackbone) -> int:
    """Blocks up to the deepest level that is read; some trunks have one less, where a level is a lone pooling."""
    names = [level.name for level in backbone.spec.depths]
    return 1 + max(map(names.index, levels)) if levels else len(names)
