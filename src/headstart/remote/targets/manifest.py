"""Any other cloud: a folder with a SkyPilot `sky.yaml`, a Kubernetes Job, a Dockerfile and the code; you start it.

Nothing is started and nobody is asked. Local data are copied into the folder. The run ends at the address `run`, from
where `headstart jobs fetch` brings it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.errors import DataError, NoOpError, Problem, SetupError, UsageError
from headstart.core.extras import list_missing_packages
from headstart.core.storage.files import list_visible_names, translate_disk_errors, write_text
from headstart.core.storage.locations.names import is_remote
from headstart.remote.code_package import build_code_package, format_python_version
from headstart.remote.submit_job import find_price_problems, make_estimate, make_job_file
from headstart.remote.target import CostEstimate, JobRequest, JobStatus, TargetOption

if TYPE_CHECKING:
    from headstart.core.console import Console

_GRACE_S = 60  # from SIGTERM to the end of a pod
_SPARE_S = 1800  # over --max-hours until the cluster ends the job itself: fetching the image, the last upload
_IMAGE = "REGISTRY/NAME:TAG"  # to be replaced in job.yaml
_DOCKERFILE = """\
FROM python:{python}-slim
COPY code /code
RUN pip install --no-cache-dir --no-deps --requirement /code/requirements.txt /code/headstart-*.whl
ENTRYPOINT ["bash", "/code/start.sh"]
"""


class Manifest:
    """Any other cloud: a folder with a SkyPilot `sky.yaml`, a Kubernetes Job, a Dockerfile and the code."""

    name = "manifest"
    extra = ""
    options = (
        TargetOption(name="run", help="address where the run ends: s3://, gs:// or az://", required=True),
        TargetOption(name="image", help="name of your registry for the Dockerfile's image; job.yaml needs it"),
        TargetOption(name="cpus", help="cores", default="4"),
        TargetOption(name="memory_gb", help="memory in GB", default="16"),
        TargetOption(name="gpu", help="kind of GPU as SkyPilot names it, such as L4; none by default"),
        TargetOption(name="namespace", help="of Kubernetes", default="default"),
        TargetOption(name="secret", help="Kubernetes secret whose keys are variables with the bucket's credentials"),
        TargetOption(name="usd_per_hour", help="price of the machine; needed for --max-usd"),
    )

    def find_problems(self, request: JobRequest) -> list[Problem]:
        """Addresses, numbers and the folder; nobody is asked."""
        problems, options = list[Problem](), request.options
        if options["run"] and not options["run"].startswith(("s3://", "gs://", "az://")):
            problems.append(
                Problem("--on-option", f"run `{options['run']}` is no address of a bucket", "s3://BUCKET/RUN")
            )
        for name in ("cpus", "memory_gb", "usd_per_hour"):
            if (text := options[name]) and not _is_positive(text):
                problems.append(Problem("--on-option", f"{name} `{text}` is not a number above zero"))
        if not options["usd_per_hour"]:
            problems += find_price_problems(request, None, "target `manifest` knows no price")
        folder = _choose_folder(request)
        if list_visible_names(folder):
            problems.append(Problem("--out", f"the folder `{folder}` is not empty", "name a new one with --out"))
        return problems

    def estimate(self, request: JobRequest) -> CostEstimate:
        """The budget; no price is known but the one that is given."""
        price = float(request.options["usd_per_hour"]) if request.options["usd_per_hour"] else None
        words = "nothing is started here; the price is what you gave" if price else "nothing is started here"
        return make_estimate(request, overhead_s=600, usd_per_hour=price, assumptions=(words,))

    def submit(self, request: JobRequest, console: Console) -> dict[str, str]:
        """Write the folder."""
        import yaml

        folder, price = _choose_folder(request), request.options["usd_per_hour"]
        content, uploads = make_job_file(
            request, run=request.options["run"], usd_per_hour=float(price) if price else None
        )
        try:
            with translate_disk_errors(folder):
                build_code_package(folder / "code", content)
                for place, path in uploads.items():
                    _copy_input(path, folder / "code" / "inputs" / place)
            write_text(folder / "Dockerfile", _DOCKERFILE.format(python=format_python_version()))
            for name, manifest in (("job.yaml", make_kubernetes_job(request)), ("sky.yaml", make_sky_task(request))):
                write_text(folder / name, yaml.safe_dump(manifest, sort_keys=False))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if not request.options["secret"]:
            console.print_warning(
                "job.yaml has no credentials: unless the pod's own account may use the bucket, the job fails; name a "
                "Kubernetes secret with --on-option secret=NAME"
            )
        if not request.options["image"]:
            hint = "replace it by a name in your registry, or name that with --on-option image=NAME"
            console.print_warning(f"job.yaml has the image {_IMAGE}: {hint}; sky.yaml needs none")
        for line in _list_commands(folder, request.options["image"] or _IMAGE):
            console.print_line("manifest", line)
        return {"folder": str(folder.absolute()), "run": request.options["run"]}

    def read_status(self, state: Mapping[str, str]) -> JobStatus:
        """Done when the run at its address is; else nobody here knows."""
        from headstart.core.run.mirror.run_index import find_index

        if list_missing_packages("cloud"):
            return JobStatus(state="pending", reason="the extra `cloud` is needed to look at the run's address")
        try:
            index = find_index(state["run"])
        except SetupError as err:  # the job has credentials that its submitter may lack
            return JobStatus(state="pending", reason=f"{state['run']} cannot be looked at from here: {err.what}")
        if index is None:
            return JobStatus(state="pending", reason=f"start what is in {state['folder']}")
        if "report.html" in index.files:
            return JobStatus(state="done")
        return JobStatus(state="running", reason=f"{len(index.files)} files at {state['run']}")

    def read_logs(self, state: Mapping[str, str], *, follow: bool) -> Iterator[str]:
        """Say who has the log."""
        return iter(("`sky logs` or `kubectl logs` has the log: headstart only wrote the manifests",))

    def fetch(self, state: Mapping[str, str], out: Path, console: Console) -> Path:
        """Bring the run from its address."""
        from headstart.core.run.mirror.mirroring import bring_run
        from headstart.core.run.mirror.run_index import find_index

        if find_index(state["run"]) is None:
            raise DataError(f"there is no run at `{state['run']}` yet", where=state["run"])
        bring_run(state["run"], out, console)
        return out

    def cancel(self, state: Mapping[str, str]) -> None:
        """Nothing was started by headstart."""
        raise NoOpError("headstart only wrote the manifests", hint="end the job by `sky cancel` or `kubectl delete`")

    def describe_access(self, options: Mapping[str, str]) -> dict[str, Any]:
        """What the job itself needs; the submitter needs nothing."""
        rights = "list, read, write and delete objects below the address of the option `run`; read the data"
        return {"missing": [], "policy": {"job": rights}}


def make_kubernetes_job(request: JobRequest) -> dict[str, Any]:
    """A Job of Kubernetes that starts again after a disruption, and not after an error of its own."""
    options = request.options
    limits = {"cpu": options["cpus"], "memory": f"{options['memory_gb']}G"}
    if options["gpu"]:
        limits["nvidia.com/gpu"] = "1"
    container: dict[str, Any] = {
        "name": "headstart",
        "image": options["image"] or _IMAGE,
        "resources": {"limits": limits},
    }
    if options["secret"]:
        container["envFrom"] = [{"secretRef": {"name": options["secret"]}}]
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": _GRACE_S, "containers": [container]}
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": "headstart", "operator": "In", "values": [1, 2, 3, 70]},
        },
    ]
    spec: dict[str, Any] = {"backoffLimit": 6, "podFailurePolicy": {"rules": rules}, "template": {"spec": pod}}
    if request.max_hours is not None:
        spec["activeDeadlineSeconds"] = int(request.max_hours * 3600) + _SPARE_S
    metadata = {"name": request.name, "namespace": options["namespace"], "labels": {"app": "headstart"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def make_sky_task(request: JobRequest) -> dict[str, Any]:
    """A task of SkyPilot; `sky jobs launch` starts it again after its machine was taken back."""
    options = request.options
    resources: dict[str, Any] = {"cpus": f"{options['cpus']}+", "memory": f"{options['memory_gb']}+"}
    resources["use_spot"] = request.spot
    if options["gpu"]:
        resources["accelerators"] = f"{options['gpu']}:1"
    return {"name": request.name, "workdir": "code", "resources": resources, "run": "bash start.sh\n"}


def _choose_folder(request: JobRequest) -> Path:
    return request.out or Path("manifests") / request.name


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def _copy_input(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, place, dirs_exist_ok=True)
    else:
        shutil.copyfile(path, place)


def _list_commands(folder: Path, image: str) -> list[str]:
    if is_remote(str(folder)):
        raise UsageError("the manifests are written into a folder of this machine", where="--out")
    return [
        f"written to {folder}; one of these starts it:",
        f"cd {folder} && sky jobs launch sky.yaml",
        f"docker build -t {image} {folder} && docker push {image} && kubectl apply -f {folder / 'job.yaml'}",
    ]


PLUGIN = Manifest()
