"""What of a request to train can be refused before anything starts: by the names and depths of backbones alone.

What only the pictures can tell, such as which backbone survives the screening, is checked where it is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headstart.backbones import loading
from headstart.backbones.resolved_backbone import ResolvedBackbone
from headstart.core import extras
from headstart.core import recipe as recipes
from headstart.core.errors import NoOpError, SetupError, UsageError, format_nearest
from headstart.core.job import Job
from headstart.core.run.context import Context

_NEEDED = {"mlflow": "mlflow"}  # `--track` -> extra


def require(job: Job, candidates: Sequence[str]) -> None:
    """Refuse a training that no candidate can have.

    Args:
        job: With a strategy that trains.
        candidates: Canonical names of the backbones that would be measured.

    Raises:
        UsageError: The recipe wants a backbone, depths or blocks that are not there.
        NoOpError: No candidate can be trained, and a strategy was asked for by name.
        SetupError: What the job wants to track with is not installed.
    """
    found = [loading.find_backbone(name) for name in candidates]
    frozen = [one.frozen_reason for one in found if one.frozen_reason]
    if len(frozen) == len(found) and job.strategy != "auto":
        raise NoOpError(f"nothing can be fine-tuned: {'; '.join(frozen)}", hint="--strategy probe takes it frozen")
    if job.recipe:
        _require_fitting(recipes.parse(job.recipe), found)
    missing = extras.list_missing_packages(_NEEDED[job.track]) if job.track in _NEEDED else []
    if missing:
        raise SetupError(
            f"MLflow cannot be loaded: there is no `{missing[0]}`",
            where=f"--track {job.track}",
            hint=extras.format_install_command("mlflow"),
        )


def fitting(job: Job, candidates: Sequence[str]) -> list[str]:
    """Candidates that the recipe can be trained on, in their order; without one, all that can be trained at all."""
    given = recipes.parse(job.recipe)
    named = [loading.find_backbone(name) for name in candidates if recipes.meant(str(given.get("backbone", "")), name)]
    return [one.name for one in named if not one.frozen_reason and _has(one, tuple(given.get("depths", ())))]


def going_on(survivors: tuple[str, ...], candidates: Sequence[str], *, ctx: Context) -> tuple[str, ...]:
    """The survivors; where networks train also the cheapest candidate that can be, for tuning it costs a fraction;
    with a recipe the cheapest that it can be trained on, where no survivor is one.
    """
    if ctx.job.strategy == "probe":
        return survivors
    fit = fitting(ctx.job, candidates)
    if not fit or (set(fit) & set(survivors) if ctx.job.recipe else fit[0] in survivors):
        return survivors
    why = "the recipe asks for it" if ctx.job.recipe else "the cheapest to fine-tune"
    ctx.console.print_line("screen", f"{fit[0]} goes on too: {why}")
    return (*survivors, fit[0])


def _has(one: ResolvedBackbone, depths: Sequence[str]) -> bool:
    return set(depths) <= {depth.name for depth in one.spec.depths}


def _require_fitting(given: dict[str, Any], found: Sequence[ResolvedBackbone]) -> None:
    among = _named(str(given.get("backbone", "")), found)
    depths = tuple(given.get("depths", ()))
    fit = [one for one in among if _has(one, depths)]
    if not fit:
        raise _no_depths(depths, among)
    most = max(_below(depths, one) for one in fit)
    if given.get("blocks", 1) > most and given.get("part") != "all" and given.get("strategy") != "scratch":
        up_to = f"up to `{depths[-1]}`" if depths else f"in `{max(fit, key=lambda one: len(one.spec.depths)).name}`"
        told = f"the recipe wants to train {given['blocks']} blocks of the {most} {up_to}"
        raise UsageError(told, where="--recipe", hint="part=all trains all of them")


def _named(wanted: str, found: Sequence[ResolvedBackbone]) -> list[ResolvedBackbone]:
    """Those that the recipe's backbone names."""
    among = [one for one in found if recipes.meant(wanted, one.name)]
    if among:
        return among
    names = [one.name for one in found]
    near = format_nearest(wanted, [*names, *(name.rpartition(":")[2] for name in names)])
    if not near:
        loading.find_for_option(
            "--recipe", wanted
        )  # its error names the nearest of all, where there is none of this name
    hint = f"{near} measured: {', '.join(names)}; choose others with --backbones".strip()
    raise UsageError(f"the recipe wants backbone `{wanted}`, which is not measured", where="--recipe", hint=hint)


def _no_depths(depths: Sequence[str], among: Sequence[ResolvedBackbone]) -> UsageError:
    every = list(dict.fromkeys(depth.name for one in among for depth in one.spec.depths))
    unknown = [name for name in depths if name not in every]
    wrong = unknown[0] if unknown else "+".join(depths)
    whose = f"`{among[0].name}` does not have" if len(among) == 1 else "no backbone to be measured has"
    told = f"the recipe wants {'depths' if '+' in wrong else 'depth'} `{wrong}`, which {whose}"
    listed = "; ".join(f"{one.name} at {', '.join(depth.name for depth in one.spec.depths)}" for one in among)
    hint = f"{format_nearest(wrong, every)} there are: {listed}".strip()
    return UsageError(told, where="--recipe", hint=hint)


def _below(depths: Sequence[str], one: ResolvedBackbone) -> int:
    """Blocks up to the deepest depth that is read; some trunks have one less, where a depth is a lone pooling."""
    names = [depth.name for depth in one.spec.depths]
    return 1 + max(map(names.index, depths)) if depths else len(names)
