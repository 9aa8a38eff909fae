"""Requests to Google's services by REST: credentials as google-auth finds them, and refusals in our words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from headstart.core import extras
from headstart.core.errors import HeadstartError, SetupError, UsageError
from headstart.core.settings import is_offline
from headstart.remote.vertex.settings import VertexSettings

TIMEOUT_S = 60
POLL_S = 5.0  # between two looks at an operation, a job or its log; the log may be read 60 times a minute
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_HOSTS = {
    "logging": "https://logging.googleapis.com",
    "storage": "https://storage.googleapis.com",
    "cloudresourcemanager": "https://cloudresourcemanager.googleapis.com",
}
_LOGIN = "gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to the path of a key file"


class NotThereError(HeadstartError):
    """The service has nothing of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexClient:
    """A session with the project and region that requests are about."""

    session: Any
    project: str
    settings: VertexSettings
    account: str  # whose credentials these are, as far as they say it

    @property
    def place(self) -> str:
        """The path of everything in the region."""
        return f"projects/{self.project}/locations/{self.settings.region}"

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, host: str = "") -> dict[str, Any]:
        """The answer of Vertex AI, or of another service by `host`.

        Raises:
            NotThereError: There is nothing of that name.
            SetupError: It is not permitted, there is no quota, or the service does not answer.
            UsageError: The service refuses the request for what is in it.
        """
        import google.auth.exceptions
        import requests

        base = self.settings.endpoint or _HOSTS.get(host, f"https://{self.settings.region}-aiplatform.googleapis.com")
        try:
            answer = self.session.request(method, f"{base}/{path}", json=body, timeout=TIMEOUT_S)
        except google.auth.exceptions.RefreshError as err:
            raise SetupError("Google does not accept the credentials", where=self.account or None, hint=_LOGIN) from err
        except (google.auth.exceptions.GoogleAuthError, requests.RequestException) as err:
            hint = f"check the network, and that the region `{self.settings.region}` exists"
            raise SetupError(f"{base} does not answer", where=base, hint=hint) from err
        if answer.status_code >= 400:
            raise _make_error(answer, self)
        return answer.json() if answer.content else {}

    def ask_pages(self, path: str, name: str) -> list[dict[str, Any]]:
        """All entries of a list, page by page."""
        entries, token = list[dict[str, Any]](), ""
        while True:
            page = self.ask("GET", f"{path}{'&' if '?' in path else '?'}pageToken={token}" if token else path)
            entries += page.get(name, [])
            if not (token := page.get("nextPageToken", "")):
                return entries

    def wait_for(self, operation: Mapping[str, Any], limit_s: float = 1800) -> dict[str, Any]:
        """What a long-running operation gives.

        Raises:
            SetupError: It failed, or takes longer than the limit.
        """
        deadline, current = time.monotonic() + limit_s, dict(operation)
        while not current.get("done"):
            if time.monotonic() > deadline:
                raise SetupError("Vertex AI did not finish in time", where=current["name"])
            time.sleep(POLL_S)
            current = self.ask("GET", f"v1/{current['name']}")
        if "error" in current:
            raise SetupError(f"Vertex AI: {current['error'].get('message', 'failed')}", where=current["name"])
        return dict(current.get("response", {}))


def open_client(settings: VertexSettings) -> VertexClient:
    """A client with the credentials of this machine.

    Raises:
        SetupError: A package or the credentials are missing, or HEADSTART_OFFLINE is set.
        UsageError: No project is named, and the credentials name none.
    """
    extras.require_extra("gcp", "Google Cloud")
    if is_offline() and urlsplit(settings.endpoint).hostname not in ("localhost", "127.0.0.1"):
        raise SetupError("Google Cloud is not asked: HEADSTART_OFFLINE is set", hint="unset HEADSTART_OFFLINE")
    import google.auth
    import google.auth.exceptions
    from google.auth.transport.requests import AuthorizedSession
    from google.oauth2 import service_account
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    try:
        credentials, project = google.auth.default(scopes=[_SCOPE])
    except google.auth.exceptions.DefaultCredentialsError as err:
        raise SetupError("there are no credentials of Google Cloud", hint=_LOGIN) from err
    project = settings.project or project or ""
    if not project:
        raise UsageError("no project of Google Cloud is named", where="--on-option", hint="--on-option project=NAME")
    session: Any = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    facts: dict[str, Any] = {"total": 4, "backoff_factor": 0.5, "status_forcelist": (502, 503, 504)}
    repeated = HTTPAdapter(
        max_retries=Retry(**facts, raise_on_status=False)
    )  # what changes nothing when it comes twice
    for scheme in ("https://", "http://"):
        session.mount(scheme, repeated)
    reading = HTTPAdapter(max_retries=Retry(**facts, raise_on_status=False, allowed_methods=None))
    session.mount(f"{settings.endpoint or _HOSTS['logging']}/v2/entries:list", reading)  # a POST that only reads
    account = credentials.service_account_email if isinstance(credentials, service_account.Credentials) else ""
    return VertexClient(session=session, project=project, settings=settings, account=account)


def _make_error(answer: Any, client: VertexClient) -> HeadstartError:
    try:
        error = answer.json()["error"]
        text, status = str(error["message"]), str(error.get("status", ""))
    except (ValueError, KeyError, TypeError):
        text, status = answer.text[:200].strip() or answer.reason, ""
    place = f"project {client.project}, region {client.settings.region}"
    make: Callable[..., HeadstartError] = SetupError
    if answer.status_code == 401:
        problem, hint = "Google does not accept the credentials", _LOGIN
    elif answer.status_code == 403 and "SERVICE_DISABLED" in answer.text:
        service = re.search(r"[a-z]+\.googleapis\.com", text)
        problem = f"a service of Google Cloud is not switched on: {text}"
        hint = f"gcloud services enable {service[0] if service else 'aiplatform.googleapis.com'}"
    elif answer.status_code == 403:
        permission = re.search(r"ermission '?([a-z]+\.[\w.]+)'?", text)
        detail = f": `{permission[1]}` is missing" if permission else f": {text}"
        problem, hint = (
            f"Google Cloud does not permit it{detail}",
            "headstart doctor --on gcp shows the role that is needed",
        )
    elif answer.status_code == 404:
        make, problem, hint = NotThereError, f"Google Cloud: {text}", "check project, region and name"
    elif answer.status_code == 429 or status == "RESOURCE_EXHAUSTED":
        metric = re.search(r"aiplatform\.googleapis\.com/(\w+)", text)
        problem = f"there is no quota left for it: {metric[1] if metric else text}"
        hint = "ask for more on the project's page of quotas, or take a smaller machine or another region"
    elif answer.status_code >= 500:
        problem, hint = f"Google Cloud answers {answer.status_code}: {text}", "try again later"
    else:
        make, problem, hint = UsageError, f"Vertex AI refuses: {text}", "check the options of the target"
    return make(problem, where=place, hint=hint)
