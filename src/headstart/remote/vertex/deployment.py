"""A finished run as a model at an endpoint: what the service gets, and how all of it is removed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from headstart.core.console import Console
from headstart.core.errors import DataError, HeadstartError, SetupError
from headstart.core.storage.locations import uploads
from headstart.remote.vertex.client import VertexClient

PORT, HEALTH_ROUTE, PREDICT_ROUTE = 8080, "/health", "/predict"
_UPLOAD_BYTES = 1_500_000  # the service's own limit of a request


def deploy_run(client: VertexClient, run: Path, name: str, console: Console) -> str:
    """Upload a run's model, and deploy it to an endpoint of its own; the endpoint's full name.

    Raises:
        DataError: There is no saved model.
        SetupError: The name is taken, or the service refuses; what was made is removed, or listed.
    """
    model = run / "model" if (run / "model").is_dir() else run
    if not (model / "manifest.json").is_file():
        raise DataError(f"there is no saved model in `{run}`", where=str(run), hint="headstart fit makes one")
    if _list_named(client, name) or uploads.exists_below(make_model_address(client, name)):
        hint = f"another --name, or headstart deploy --on gcp --name {name} --remove"
        raise SetupError(f"an endpoint or model named `{name}` is there already", hint=hint)
    with _removing_on_failure(client, name):
        address = make_model_address(client, name)
        console.print_line("deploy", f"{uploads.upload_folder(model, address, console):,} bytes to {address}")
        uploaded = client.wait_for(
            client.ask("POST", f"v1/{client.place}/models:upload", {"model": _make_model(client, name)})
        )
        endpoint = client.wait_for(client.ask("POST", f"v1/{client.place}/endpoints", {"displayName": name}))["name"]
        console.print_line("deploy", f"{name}: waits for a machine of type {client.settings.machine}")
        request = _make_deployment(client, name, uploaded["model"])
        client.wait_for(client.ask("POST", f"v1/{endpoint}:deployModel", request))
    return str(endpoint)


def make_model_address(client: VertexClient, name: str) -> str:
    """Where the files of a deployed model lie."""
    return f"{client.settings.bucket}/models/{name}"


def _make_model(client: VertexClient, name: str) -> dict[str, Any]:
    container = {
        "imageUri": client.settings.image,
        "command": ["headstart", "serve", "--max-upload", f"{_UPLOAD_BYTES}", "--log", "json"],
        "ports": [{"containerPort": PORT}],
        "healthRoute": HEALTH_ROUTE,
        "predictRoute": PREDICT_ROUTE,
    }
    return {"displayName": name, "artifactUri": make_model_address(client, name), "containerSpec": container}


def _make_deployment(client: VertexClient, name: str, model: str) -> dict[str, Any]:
    settings = client.settings
    machine: dict[str, Any] = {"machineType": settings.machine}
    resources = {"machineSpec": machine, "minReplicaCount": 1, "maxReplicaCount": 1}
    deployed = {"model": model, "displayName": name, "dedicatedResources": resources}
    deployed |= {"serviceAccount": settings.service_account} if settings.service_account else {}
    return {"deployedModel": deployed, "trafficSplit": {"0": 100}}


def remove_deployment(client: VertexClient, name: str) -> list[str]:
    """Undeploy and remove endpoints, models and files of a name; what could not be removed."""
    left = list[str]()
    for kind, entry in _list_named(client, name):
        try:
            for deployed in entry.get("deployedModels", ()):
                body = {"deployedModelId": deployed["id"]}
                client.wait_for(client.ask("POST", f"v1/{entry['name']}:undeployModel", body))
            client.wait_for(client.ask("DELETE", f"v1/{entry['name']}"))
        except HeadstartError:
            left.append(f"{kind} {entry['name']}")
    address = make_model_address(client, name)
    try:
        uploads.delete_below(address)
    except HeadstartError:
        left.append(address)
    return left


def _list_named(client: VertexClient, name: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Endpoints, then models: a deployed model cannot be removed."""
    pattern = quote(f'display_name="{name}"')
    return [
        (kind, entry)
        for kind in ("endpoints", "models")
        for entry in client.ask_pages(f"v1/{client.place}/{kind}?filter={pattern}", kind)
    ]


@contextmanager
def _removing_on_failure(client: VertexClient, name: str) -> Iterator[None]:
    try:
        yield
    except BaseException as err:
        try:
            left = remove_deployment(client, name)
        except HeadstartError:
            left = [f"endpoint, model and files of {name}"]
        if left and isinstance(err, HeadstartError):
            err.problems = [(part, "left", "it could not be removed") for part in left]
            err.hint = f"{err.hint or 'the log of the endpoint says why'}; left: {', '.join(left)}"
        raise
