"""From a job and a target to a submitted job: what is wrong is told before anything is started."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.core import extras, registry
from headstart.core import job as jobs
from headstart.core.console import Console
from headstart.core.errors import DataError, HeadstartError, Problem, SetupError, UsageError, format_nearest, make_error
from headstart.core.job import Job
from headstart.core.settings import read_setting
from headstart.core.storage.files import list_visible_names, make_portable_name
from headstart.core.storage.locations.names import is_remote, resolve_location
from headstart.remote.code_package import describe_versions, list_inputs, place_inputs
from headstart.remote.job_file import JobFile, require_job_name, write_job_file
from headstart.remote.job_records import JobRecord, has_record, save_record
from headstart.remote.target import CostEstimate, JobRequest, Target


def find_target(name: str) -> Target:
    """The target of a name.

    Raises:
        UsageError: There is none.
        SetupError: Its extra is not installed.
    """
    if name not in registry.list_plugins("targets"):
        names = registry.list_plugins("targets")
        hint = format_nearest(name, names) or f"known: {', '.join(names)}"
        raise UsageError(f"there is no target `{name}`", where="--on", hint=hint)
    target: Target = registry.load_plugin("targets", name)
    if target.extra:
        extras.require_extra(target.extra, f"running on {name}")
    return target


def parse_options(texts: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` texts as a mapping; raises UsageError with each that is none."""
    values, problems = dict[str, str](), list[Problem]()
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            problems.append(Problem("--on-option", f"`{text}` is not NAME=VALUE", "--on-option bucket=my-bucket"))
        elif name in values:
            problems.append(Problem("--on-option", f"`{name}` is there twice"))
        values[name] = value
    if problems:
        raise make_error(problems)
    return values


def make_request(
    target: Target,
    job: Job,
    *,
    options: Mapping[str, str],
    name: str = "",
    max_usd: float | None = None,
    max_hours: float | None = None,
    spot: bool = False,
    out: Path | None = None,
    problems: Sequence[Problem] = (),
) -> JobRequest:
    """A request with which nothing is wrong, as far as it can be known before the job is submitted.

    Raises:
        HeadstartError: An option is unknown or missing, a limit, the name or the job is wrong, or the target refuses
            it; all at once, with the `problems` that the caller knows already.
    """
    from headstart.api.preflight import find_domain_problems

    name = name or _make_name(job)
    problems = [*problems, *_find_option_problems(target, options), *jobs.find_problems(job), *_find_path_problems(job)]
    problems += find_domain_problems(job, reading=not is_remote(job.unlabeled))
    for flag, limit in (("--max-usd", max_usd), ("--max-hours", max_hours)):
        if limit is not None and not 0 < limit < float("inf"):
            problems.append(Problem(flag, f"`{limit:g}` is not above zero"))
    try:
        require_job_name(name)
    except UsageError as err:
        problems.append(Problem("--name", err.what, err.hint or ""))
    if has_record(name):
        hint = f"name it otherwise with --name; headstart jobs status {name} shows the one that is there"
        problems.append(Problem("--name", f"a job named `{name}` was submitted before", hint))
    values = {option.name: option.default for option in target.options} | dict(options)
    limits: dict[str, Any] = {"max_usd": max_usd, "max_hours": max_hours}
    request = JobRequest(name=name, job=job, options=values, spot=spot, out=out, **limits)
    problems += target.find_problems(request)
    if problems:
        raise make_error(problems)
    return request


def find_price_problems(request: JobRequest, usd_per_hour: float | None, why: str) -> list[Problem]:
    """A limit of money needs a price; `why` there is none."""
    if request.max_usd is None or usd_per_hour is not None:
        return []
    hint = "use --max-hours, or --on-option usd_per_hour=0.20"
    return [Problem("--max-usd", f"{why}, so --max-usd cannot be kept", hint)]


def submit_job(target: Target, request: JobRequest, console: Console) -> JobRecord:
    """Start a job, and note it for `headstart jobs`.

    Raises:
        HeadstartError: The target refuses the request, or could not start it; then nothing of it is left, or the error
            lists what is.
    """
    _share_named_weights(request.job, console)
    state = target.submit(request, console)
    out = str(_choose_run_folder(request).absolute())
    record = JobRecord(
        name=request.name, target=target.name, state=state, submitted=time.time(), data=request.job.data, out=out
    )
    try:
        save_record(record, console)
    except BaseException as err:  # what nobody could find again is not left running
        try:
            target.cancel(state)
        except HeadstartError:
            raise list_leftovers(err, [f"the job {request.name}: {state}"]) from err
        raise
    return record


def _share_named_weights(job: Job, console: Console) -> None:
    """Put weights that are here into the shared cache, where the job looks for them."""
    if not read_setting("HEADSTART_SHARED_CACHE"):
        return
    from headstart.backbones import loading
    from headstart.backbones.downloads.shared_weights import share_weights
    from headstart.core.storage.cache import default_store

    for name in job.backbones:
        if loading.is_listed(name):
            share_weights(loading.find_backbone(name), default_store(console), console)


def _choose_run_folder(request: JobRequest) -> Path:
    """Where the run is to be fetched: not into a folder that the target has filled with something else."""
    names = list_visible_names(request.out) if request.out else set()
    is_free = not names or "format.json" in names
    return request.out if request.out and is_free else Path("runs") / request.name


def make_estimate(
    request: JobRequest, *, overhead_s: float, usd_per_hour: float | None, assumptions: Sequence[str]
) -> CostEstimate:
    """An estimate as targets make it: the budget and what the platform needs before and after, at most the limits."""
    seconds = request.job.budget_s + overhead_s
    words = [f"{request.job.budget} of --budget and {overhead_s:.0f} s for start, installation and transfer"]
    if request.max_hours is not None:
        seconds = min(seconds, request.max_hours * 3600)
    usd = None if usd_per_hour is None else seconds / 3600 * usd_per_hour
    if usd is not None and request.max_usd is not None:
        usd = min(usd, request.max_usd)
    return CostEstimate(
        seconds=seconds,
        usd=usd,
        upload_bytes=count_upload_bytes(request.job),
        assumptions=(*words, *assumptions),
        usd_per_hour=usd_per_hour,
    )


def count_upload_bytes(job: Job) -> int:
    """Bytes of the files that must travel with a job."""
    paths = place_inputs(job)[2].values()
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else (path,))]
    return sum(file.stat().st_size for file in files if file.is_file())


def make_job_file(
    request: JobRequest, *, run: str = "", inputs_address: str = "", usd_per_hour: float | None = None
) -> tuple[JobFile, dict[str, Path]]:
    """The job file that travels, and what else must: path below the inputs -> file or folder here.

    Args:
        request: The job.
        run: Address or folder that survives the machine, where the platform gives none.
        inputs_address: Where the inputs will lie, where the platform brings them to no folder by itself.
        usd_per_hour: Of the machine; needed for `max_usd`.
    """
    job, inputs, uploads = place_inputs(request.job)
    if inputs_address:
        inputs = {name: f"{inputs_address.rstrip('/')}/{place}" for name, place in inputs.items()}
    content = JobFile(
        job=job,
        name=request.name,
        run=run,
        shared_cache=read_setting("HEADSTART_SHARED_CACHE") or "",
        max_usd=request.max_usd,
        max_hours=request.max_hours,
        usd_per_hour=usd_per_hour,
        versions=describe_versions(),
        inputs=inputs,
        options=request.options,
    )
    return content, uploads


def write_request(target: Target, request: JobRequest, path: Path) -> None:
    """Write the job file of a request as its user would: paths of this machine, for `headstart run` and `fit --on`."""
    content = JobFile(
        job=request.job,
        target=target.name,
        name=request.name,
        max_usd=request.max_usd,
        max_hours=request.max_hours,
        options=request.options,
    )
    write_job_file(content, path)


def _make_name(job: Job) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", make_portable_name(Path(resolve_location(job.data)).name).lower()).strip("-")
    return f"{stem[:40].strip('-') or 'job'}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"


def _find_option_problems(target: Target, options: Mapping[str, str]) -> list[Problem]:
    names = [option.name for option in target.options]
    problems = []
    for name in options:
        if name not in names:
            hint = format_nearest(name, names) or f"known: {', '.join(names) or 'none'}"
            problems.append(Problem("--on-option", f"target `{target.name}` has no option `{name}`", hint))
    for option in target.options:
        if option.required and not options.get(option.name):
            hint = f"--on-option {option.name}=…: {option.help}"
            problems.append(Problem("--on-option", f"target `{target.name}` needs the option `{option.name}`", hint))
    return problems


def _find_path_problems(job: Job) -> list[Problem]:
    absent = [(name, path) for name, path in list_inputs(job).items() if name != "unlabeled" and not path.exists()]
    problems = [
        Problem("DATA" if name == "data" else jobs.format_flag(name), f"there is no `{path}`", "", DataError)
        for name, path in absent
    ]
    hint = "put the table into a folder with its pictures, or name theirs with --images"
    for folder in place_inputs(job)[2].values():
        if Path.home().resolve().is_relative_to(folder.resolve()):  # with keys and letters
            problems.append(Problem("DATA", f"the whole folder `{folder}` would travel with the job", hint))
    return problems


def explain_exit_code(code: int) -> str:
    """What an exit code of a job's container means, for the reason of a failure."""
    words = {
        1: "a limit was reached or a check did not pass; its state is kept",
        2: "the job is wrong",
        3: "its data, the set-up or the disk stand in the way; the log names it",
        70: "a bug of headstart; the log names the file",
        137: "it was killed, most often because the memory was used up: choose a machine with more",
        143: "it was stopped by SIGTERM; its state is kept",
    }
    return f"exit code {code}: {words.get(code, 'the log tells more')}"


def list_leftovers(error: BaseException, leftovers: Sequence[str]) -> SetupError:
    """The error of a failed submit with what could not be removed."""
    what = getattr(error, "what", str(error))
    hint = (
        f"remove it by hand, it may cost money: {', '.join(leftovers)}" if leftovers else getattr(error, "hint", None)
    )
    return SetupError(what, where=getattr(error, "where", None), hint=hint)
