"""An endpoint of Vertex AI on Google Cloud."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.errors import SetupError, make_error
from headstart.remote.endpoint import complete_options
from headstart.remote.target import TargetOption
from headstart.remote.vertex import deployment
from headstart.remote.vertex.client import VertexClient, open_client
from headstart.remote.vertex.settings import OPTIONS, find_option_problems, read_options

if TYPE_CHECKING:
    from headstart.core.console import Console

_SHARED = ("bucket", "project", "region", "service_account", "endpoint")


class VertexEndpoint:
    """An endpoint of Vertex AI on Google Cloud.

    A model and an endpoint of one name, and the files of the model below `models/NAME` in the bucket.
    """

    name = "gcp"
    extra = "gcp"
    options = (
        *(option for option in OPTIONS if option.name in _SHARED),
        TargetOption(name="image", help="image of Artifact Registry that has headstart in it", required=True),
        TargetOption(name="machine", help="machine type", default="n1-standard-2"),
    )

    def deploy(self, run: Path, name: str, options: Mapping[str, str], console: Console) -> dict[str, str]:
        """Serve a run and wait until it answers."""
        client = _open(complete_options(options, self.options))
        endpoint = deployment.deploy_run(client, run, name, console)
        host = client.settings.endpoint or f"https://{client.settings.region}-aiplatform.googleapis.com"
        return {
            "endpoint": endpoint,
            "region": client.settings.region,
            "ask": (
                'curl -H "Authorization: Bearer $(gcloud auth print-access-token)" -H "Content-Type: application/json" '
                f"-d @instances.json {host}/v1/{endpoint}:predict"
            ),
        }

    def remove(self, name: str, options: Mapping[str, str], console: Console) -> None:
        """Stop serving, and remove all that `deploy` made."""
        client = _open({**complete_options(options, self.options, required=False), "image": "none"})
        if left := deployment.remove_deployment(client, name):
            raise SetupError(f"not all of `{name}` could be removed", where=", ".join(left), hint="try it again")
        console.print_line("deploy", f"{name} is removed")


def _open(options: Mapping[str, str]) -> VertexClient:
    if problems := find_option_problems(options):
        raise make_error([*problems.values()])
    return open_client(read_options(options))


PLUGIN = VertexEndpoint()
