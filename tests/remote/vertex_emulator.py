"""Vertex AI on this machine: its REST paths, and custom jobs, models and endpoints that really run.

Written after the service's reference: custom jobs with AIP_ variables and buckets below /gcs, spot jobs whose machine
is taken away and which begin again, SIGTERM and later SIGKILL; models, endpoints, long-running operations. Beside it
what a job needs: tokens for the key of a service account, permissions, buckets' regions, the logs. Objects are moto's.
"""

import base64
import contextlib
import http.server
import itertools
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from vertex_container import start_container

from object_servers import serve_google

PROJECT, NUMBER, REGION, BUCKET = "shop-project", "1234567890", "us-central1", "shop"
REGIONS = ("us-central1", "europe-west4")
MACHINES = ("n1-standard-2", "n1-standard-4", "n1-standard-8", "n1-standard-16", "g2-standard-8")
ACCELERATORS = ("NVIDIA_TESLA_T4", "NVIDIA_L4")
STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
STATUS |= {409: "ALREADY_EXISTS", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
_MOST_RESTARTS = 6


class ServiceError(Exception):
    """An answer that is none: its HTTP status and message."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = status, message


class VertexEmulator:
    """The service: jobs, models and endpoints by name.

    `image` are the variables of every image, `images` the names that can be pulled; `interrupt` is asked with a spot
    job whether its machine is taken away now; `permissions` are what the account may do, None for everything.
    """

    def __init__(self, folder, objects, image, *, interrupt=None, grace_s=20.0):
        self.folder, self.objects, self.image, self.interrupt, self.grace_s = folder, objects, image, interrupt, grace_s
        self.images = re.compile(r"(docker\.io/library|mirror\.gcr\.io/library|us-docker\.pkg\.dev/shop-project).*")
        self.cpu_quota, self.permissions, self.faults = 42, None, {}
        self.jobs, self.models, self.endpoints, self.operations = {}, {}, {}, {}
        self.bucket_regions = {BUCKET: "US-CENTRAL1"}
        self.requests, self.entries, self.tokens = [], [], set()
        self._ids, self._lock, self._threads = itertools.count(7001), threading.RLock(), []
        self.key = _make_key()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.service = self
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        """Stop what runs."""
        for thing in (*self.jobs.values(), *self.endpoints.values()):
            thing.stop_asked.set()
        for thread in self._threads:
            thread.join()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def write_key_file(self, path):
        """The key of a service account, as the console gives it."""
        from cryptography.hazmat.primitives import serialization as keys

        private = self.key.private_bytes(keys.Encoding.PEM, keys.PrivateFormat.PKCS8, keys.NoEncryption()).decode()
        fields = {"type": "service_account", "project_id": PROJECT, "private_key_id": "1", "private_key": private}
        fields |= {"client_email": f"tests@{PROJECT}.iam.gserviceaccount.com", "token_uri": f"{self.address}/token"}
        path.write_text(json.dumps(fields))

    def give_token(self, form):
        """A token for an assertion that the key of the account has signed."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        signed, _, signature = form["assertion"].rpartition(".")
        signature = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        self.key.public_key().verify(signature, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        token = f"token-{next(self._ids)}"
        self.tokens.add(token)
        return {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}

    def answer(self, method, path, query, body, token):
        """One request."""
        self.requests.append((method, path))
        if token not in self.tokens:
            raise ServiceError(401, "Request had invalid authentication credentials.")
        for part, fault in self.faults.items():
            if re.search(part, f"{method} {path}"):
                raise fault
        with self._lock:
            for verb, pattern, function in _ROUTES:
                if verb == method and (match := re.fullmatch(pattern, path)):
                    return function(self, query=query, body=body, **match.groupdict())
        raise ServiceError(404, f"Method not found: {method} {path}")

    def require_permission(self, permission):
        """Refuse what the account may not do."""
        if self.permissions is not None and permission not in self.permissions:
            where = f"//aiplatform.googleapis.com/projects/{PROJECT}/locations/{REGION}"
            raise ServiceError(403, f"Permission '{permission}' denied on resource '{where}' (or it may not exist).")

    def write_entry(self, kind, identity, text, severity="INFO"):
        """A line of the log of a job or endpoint."""
        labels = {"job_id": identity, "project_id": PROJECT} if kind == "ml_job" else {"endpoint_id": identity}
        entry = {"resource": {"type": kind, "labels": labels}, "jsonPayload": {"message": text}, "severity": severity}
        with self._lock:
            number = len(self.entries)
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{number:06d}Z"
            self.entries.append(entry | {"timestamp": moment, "insertId": f"{number:08d}"})

    def start_thread(self, function):
        """Run something beside the requests."""
        thread = threading.Thread(target=function, daemon=True)
        self._threads.append(thread)
        thread.start()

    def make_name(self, place, kind):
        """A resource's name; the service puts the project's number into it."""
        return f"projects/{NUMBER}/locations/{place}/{kind}/{next(self._ids)}"

    def make_operation(self, place, response):
        """An operation that is done when `response`, a function, gives something."""
        name = self.make_name(place, "operations")
        self.operations[name.rpartition("/")[2]] = (name, response)
        return {"name": name}


def _require_place(project, place):
    if project not in (PROJECT, NUMBER):
        raise ServiceError(403, f"Permission denied on resource project {project}.")
    if place not in REGIONS:
        raise ServiceError(400, f"Unsupported region '{place}' for Vertex AI.")


def _find(things, identity, kind):
    if identity not in things:
        raise ServiceError(404, f"The {kind} does not exist: {identity}")
    return things[identity]


def _check_machine(service, spec, count):
    machine = spec.get("machineType", "")
    if machine not in MACHINES:
        raise ServiceError(400, f'Machine type "{machine}" is not supported.')
    if spec.get("acceleratorType", ACCELERATORS[0]) not in ACCELERATORS:
        raise ServiceError(400, f'Accelerator type "{spec["acceleratorType"]}" is not supported.')
    used = sum(job.cpus for job in service.jobs.values() if job.ended is None)
    if used + count * int(machine.rpartition("-")[2]) > service.cpu_quota:
        metric = "aiplatform.googleapis.com/custom_model_training_cpus"
        raise ServiceError(429, f"The following quota metrics exceed quota limits: {metric}")


def _require_bucket(service, address):
    bucket = urllib.parse.urlsplit(address).netloc
    if not address.startswith("gs://") or bucket not in service.bucket_regions:
        raise ServiceError(400, f"The Cloud Storage bucket of `{address}` does not exist or is not accessible.")


def _create_job(service, *, project, place, query, body):
    _require_place(project, place)
    service.require_permission("aiplatform.customJobs.create")
    (pool,), scheduling = body["jobSpec"]["workerPoolSpecs"], body["jobSpec"].get("scheduling", {})
    _check_machine(service, pool["machineSpec"], int(pool.get("replicaCount", 1)))
    _require_bucket(service, body["jobSpec"]["baseOutputDirectory"]["outputUriPrefix"])
    if not re.fullmatch(r"\d+(\.\d+)?s", scheduling.get("timeout", "604800s")):
        raise ServiceError(400, "Invalid value at 'custom_job.job_spec.scheduling.timeout'")
    if scheduling.get("strategy", "STANDARD") not in ("STANDARD", "SPOT", "ON_DEMAND", "FLEX_START"):
        raise ServiceError(400, "Invalid value at 'custom_job.job_spec.scheduling.strategy'")
    if not body.get("displayName") or len(body["displayName"]) > 128:
        raise ServiceError(400, "displayName must be up to 128 characters")
    job = CustomJob(service, service.make_name(place, "customJobs"), body)
    service.jobs[job.identity] = job
    service.start_thread(job.run)
    return job.describe()


def _list_jobs(service, *, project, place, query, body):
    _require_place(project, place)
    service.require_permission("aiplatform.customJobs.list")
    wanted = re.search(r'display_?[nN]ame\s*=\s*"([^"]*)"', query.get("filter", ""))
    jobs = [job for job in service.jobs.values() if not wanted or job.body["displayName"] == wanted[1]]
    return {"customJobs": [job.describe() for job in jobs]} if jobs else {}


def _get_job(service, *, project, place, identity, query, body):
    _require_place(project, place)
    service.require_permission("aiplatform.customJobs.get")
    return _find(service.jobs, identity, "CustomJob").describe()


def _cancel_job(service, *, project, place, identity, query, body):
    service.require_permission("aiplatform.customJobs.cancel")
    job = _find(service.jobs, identity, "CustomJob")
    if job.ended is None:
        job.state = "JOB_STATE_CANCELLING"
    job.stop_asked.set()
    return {}


def _delete_job(service, *, project, place, identity, query, body):
    if _find(service.jobs, identity, "CustomJob").ended is None:
        raise ServiceError(400, "The CustomJob is not in a final state.")
    del service.jobs[identity]
    return service.make_operation(place, dict)


def _upload_model(service, *, project, place, query, body):
    _require_place(project, place)
    service.require_permission("aiplatform.models.upload")
    model, spec = body["model"], body["model"]["containerSpec"]
    if not re.match(rf"({place}|us|europe)-docker\.pkg\.dev/|gcr\.io/", spec["imageUri"]):
        raise ServiceError(400, f"Image {spec['imageUri']} is not in Artifact Registry.")
    _require_bucket(service, model["artifactUri"])
    bucket, prefix = model["artifactUri"].removeprefix("gs://").split("/", 1)
    if not _list_objects(service, bucket, prefix.rstrip("/") + "/"):
        raise ServiceError(400, f"There are no files under {model['artifactUri']}.")
    name = service.make_name(place, "models")
    service.models[name.rpartition("/")[2]] = model | {"name": name}
    return service.make_operation(place, lambda: {"model": name, "modelVersionId": "1"})


def _delete_model(service, *, project, place, identity, query, body):
    _find(service.models, identity, "Model")
    if any(endpoint.model and endpoint.model["name"].endswith(identity) for endpoint in service.endpoints.values()):
        raise ServiceError(400, "The Model is deployed at an Endpoint.")
    del service.models[identity]
    return service.make_operation(place, dict)


def _create_endpoint(service, *, project, place, query, body):
    _require_place(project, place)
    service.require_permission("aiplatform.endpoints.create")
    endpoint = Endpoint(service, service.make_name(place, "endpoints"), body)
    service.endpoints[endpoint.identity] = endpoint
    return service.make_operation(place, endpoint.describe)


def _get_endpoint(service, *, project, place, identity, query, body):
    return _find(service.endpoints, identity, "Endpoint").describe()


def _list_endpoints(service, *, project, place, query, body):
    wanted = re.search(r'display_name="([^"]*)"', query["filter"])[1]
    named = [endpoint.describe() for endpoint in service.endpoints.values() if endpoint.body["displayName"] == wanted]
    return {"endpoints": named} if named else {}


def _list_models(service, *, project, place, query, body):
    wanted = re.search(r'display_name="([^"]*)"', query["filter"])[1]
    named = [model for model in service.models.values() if model["displayName"] == wanted]
    return {"models": named} if named else {}


def _deploy(service, *, project, place, identity, query, body):
    service.require_permission("aiplatform.endpoints.deploy")
    endpoint, model = _find(service.endpoints, identity, "Endpoint"), body["deployedModel"]["model"]
    _check_machine(service, body["deployedModel"]["dedicatedResources"]["machineSpec"], 1)
    endpoint.model = _find(service.models, model.rpartition("/")[2], "Model")
    service.start_thread(endpoint.run)
    return service.make_operation(place, endpoint.read_deployment)


def _undeploy(service, *, project, place, identity, query, body):
    endpoint = _find(service.endpoints, identity, "Endpoint")
    if body.get("deployedModelId") != "1" or endpoint.model is None:
        raise ServiceError(404, "The DeployedModel does not exist.")
    endpoint.stop_asked.set()
    endpoint.model = None
    return service.make_operation(place, dict)


def _delete_endpoint(service, *, project, place, identity, query, body):
    if _find(service.endpoints, identity, "Endpoint").model is not None:
        raise ServiceError(400, "The Endpoint has deployed Models: undeploy them first.")
    del service.endpoints[identity]
    return service.make_operation(place, dict)


def _get_operation(service, *, project, place, identity, query, body):
    name, response = _find(service.operations, identity, "Operation")
    try:
        content = response()
    except ServiceError as err:
        return {"name": name, "done": True, "error": {"code": 9, "message": err.message}}
    return {"name": name} | ({} if content is None else {"done": True, "response": content})


def _list_entries(service, *, query, body):
    service.require_permission("logging.logEntries.list")
    if body["resourceNames"] != [f"projects/{PROJECT}"]:
        raise ServiceError(403, "The caller does not have permission")
    kind = re.search(r'resource\.type="([^"]+)"', body["filter"])[1]
    identity = re.search(r'resource\.labels\.(?:job_id|endpoint_id)="([^"]+)"', body["filter"])[1]
    after = re.search(r'timestamp>="([^"]+)"', body["filter"])
    entries = [
        entry
        for entry in service.entries
        if entry["resource"]["type"] == kind
        and identity in entry["resource"]["labels"].values()
        and (not after or entry["timestamp"] >= after[1])
    ]
    start, size = int(body.get("pageToken") or 0), min(int(body.get("pageSize", 50)), 1000)
    answer = {"entries": entries[start : start + size]}
    return answer | ({"nextPageToken": str(start + size)} if len(entries) > start + size else {})


def _get_bucket(service, *, bucket, query, body):
    service.require_permission("storage.buckets.get")
    if bucket not in service.bucket_regions:
        raise ServiceError(404, "The specified bucket does not exist.")
    location, *chosen = service.bucket_regions[bucket].split("+")
    kind = "region" if "-" in location else "dual-region" if chosen or location[-1].isdigit() else "multi-region"
    placement = {"customPlacementConfig": {"dataLocations": chosen}} if chosen else {}
    return {"name": bucket, "location": location, "locationType": kind} | placement


def _test_bucket_permissions(service, *, bucket, query, body):
    _get_bucket(service, bucket=bucket, query=query, body=body)
    wanted = query["permissions"] if isinstance(query["permissions"], list) else [query["permissions"]]
    return {"permissions": [name for name in wanted if service.permissions is None or name in service.permissions]}


def _test_permissions(service, *, project, query, body):
    if project != PROJECT:
        raise ServiceError(403, "The caller does not have permission")
    held = [name for name in body["permissions"] if service.permissions is None or name in service.permissions]
    return {"permissions": held} if held else {}


_PLACE = r"/v1/projects/(?P<project>[^/]+)/locations/(?P<place>[^/]+)"
_ROUTES = (
    ("POST", f"{_PLACE}/customJobs", _create_job),
    ("GET", f"{_PLACE}/customJobs", _list_jobs),
    ("GET", rf"{_PLACE}/customJobs/(?P<identity>\d+)", _get_job),
    ("POST", rf"{_PLACE}/customJobs/(?P<identity>\d+):cancel", _cancel_job),
    ("DELETE", rf"{_PLACE}/customJobs/(?P<identity>\d+)", _delete_job),
    ("POST", f"{_PLACE}/models:upload", _upload_model),
    ("GET", f"{_PLACE}/models", _list_models),
    ("GET", f"{_PLACE}/endpoints", _list_endpoints),
    ("DELETE", rf"{_PLACE}/models/(?P<identity>\d+)", _delete_model),
    ("POST", f"{_PLACE}/endpoints", _create_endpoint),
    ("GET", rf"{_PLACE}/endpoints/(?P<identity>\d+)", _get_endpoint),
    ("DELETE", rf"{_PLACE}/endpoints/(?P<identity>\d+)", _delete_endpoint),
    ("POST", rf"{_PLACE}/endpoints/(?P<identity>\d+):deployModel", _deploy),
    ("POST", rf"{_PLACE}/endpoints/(?P<identity>\d+):undeployModel", _undeploy),
    ("GET", rf"{_PLACE}/operations/(?P<identity>\d+)", _get_operation),
    ("POST", "/v2/entries:list", _list_entries),
    ("GET", "/storage/v1/b/(?P<bucket>[^/]+)", _get_bucket),
    ("GET", "/storage/v1/b/(?P<bucket>[^/]+)/iam/testPermissions", _test_bucket_permissions),
    ("POST", "/v1/projects/(?P<project>[^/:]+):testIamPermissions", _test_permissions),
)


class CustomJob:
    """A job and the folders of its container."""

    def __init__(self, service, name, body):
        self.service, self.name, self.body, self.identity = service, name, body, name.rpartition("/")[2]
        (self.pool,) = body["jobSpec"]["workerPoolSpecs"]
        self.cpus = int(self.pool["machineSpec"]["machineType"].rpartition("-")[2]) * int(self.pool["replicaCount"])
        self.created, self.started, self.ended = time.time(), None, None
        self.state, self.error, self.restarts = "JOB_STATE_PENDING", None, 0
        self.stop_asked = threading.Event()
        self.folder = service.folder / f"job-{self.identity}"

    def describe(self):
        """What a request for the job answers."""
        times = {"createTime": self.created, "startTime": self.started, "endTime": self.ended}
        answer = self.body | {"name": self.name, "state": self.state}
        answer |= {name: _format_time(moment) for name, moment in times.items() if moment}
        return answer | ({"error": self.error} if self.error else {})

    def run(self):
        """From the first start to the end, over every restart."""
        image = self.pool["containerSpec"]["imageUri"]
        if not self.service.images.fullmatch(image):
            return self._finish("JOB_STATE_FAILED", f"Unable to pull image {image}: it does not exist.")
        self.started, self.state = time.time(), "JOB_STATE_RUNNING"
        outcome = "restart"
        while outcome == "restart":
            outcome, code = self._run_container()
            if outcome == "restart":
                self.restarts += 1
                scheduling = self.body["jobSpec"].get("scheduling", {})
                if self.restarts > _MOST_RESTARTS or not scheduling.get("restartJobOnWorkerRestart"):
                    return self._finish("JOB_STATE_FAILED", "The machine was taken away too often.")
        reason = f"The replica workerpool0-0 exited with a non-zero status of {code}. To find out more about why your "
        reason += f"job exited please check the logs: resource.labels.job_id={self.identity}"
        state = {"cancelled": "JOB_STATE_CANCELLED", "too long": "JOB_STATE_EXPIRED"}.get(outcome)
        if outcome == "too long":
            return self._finish(state, "The job ran longer than its timeout.")
        return self._finish(state or ("JOB_STATE_FAILED" if code else "JOB_STATE_SUCCEEDED"), reason if code else "")

    def _finish(self, state, reason=""):
        if reason and state in ("JOB_STATE_FAILED", "JOB_STATE_EXPIRED"):
            self.error = {"code": 3, "message": reason}
        self.ended = time.time()
        self.state = state

    def _run_container(self):
        """One start, on a new machine: what ended it, and the exit code."""
        spec, scheduling = self.body["jobSpec"], self.body["jobSpec"].get("scheduling", {})
        container = self.pool["containerSpec"]
        argv = [*container.get("command", ()), *container.get("args", ())]
        assert argv, "the image has no entry point"
        folder = self.folder / f"start-{self.restarts}"
        self._mount_bucket(folder / "gcs", spec["baseOutputDirectory"]["outputUriPrefix"])
        process = start_container(argv, folder, self._make_environment(spec), self._write_line)
        is_spot = scheduling.get("strategy") == "SPOT" and self.service.interrupt
        limit_s = float(scheduling.get("timeout", "604800s")[:-1])
        while (code := process.wait(0.1)) is None:
            outcome = None
            if self.stop_asked.is_set():
                outcome = "cancelled"
            elif time.time() - self.started > limit_s:
                outcome = "too long"
            elif is_spot and self.service.interrupt(self):
                outcome = "restart"
            if outcome:
                return outcome, process.end(signal.SIGTERM, signal.SIGKILL, self.service.grace_s)
        return "ended", code

    def _mount_bucket(self, folder, base):
        """The objects of the job as files below /gcs, as they are now."""
        bucket, _, prefix = base.removeprefix("gs://").partition("/")
        client = self.service.objects.client()
        for key in _list_objects(self.service, bucket, prefix):
            path = folder / bucket / key
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, key, str(path))

    def _make_environment(self, spec):
        base = spec["baseOutputDirectory"]["outputUriPrefix"].rstrip("/")
        task = {"type": "workerpool0", "index": 0}
        environment = self.service.image | {
            "AIP_MODEL_DIR": f"{base}/model/",
            "AIP_CHECKPOINT_DIR": f"{base}/checkpoints/",
            "AIP_TENSORBOARD_LOG_DIR": f"{base}/logs/",
            "CLOUD_ML_PROJECT_ID": NUMBER,
            "CLOUD_ML_JOB_ID": self.identity,
            "CLUSTER_SPEC": json.dumps({"cluster": {"workerpool0": ["localhost:2222"]}, "task": task}),
        }
        return environment | {entry["name"]: entry["value"] for entry in self.pool["containerSpec"].get("env", ())}

    def _write_line(self, line):
        self.service.write_entry("ml_job", self.identity, line)


class Endpoint:
    """A name under which one model answers, once it is deployed."""

    def __init__(self, service, name, body):
        self.service, self.name, self.body, self.identity = service, name, body, name.rpartition("/")[2]
        self.model, self.status, self.lines = None, "DEPLOYING", []
        self.stop_asked, self.port = threading.Event(), _find_port()
        self.folder = service.folder / f"endpoint-{self.identity}"

    def describe(self):
        """What a request for the endpoint answers."""
        deployed = {"deployedModels": [{"id": "1", "model": self.model["name"]}]} if self.model else {}
        return self.body | {"name": self.name} | deployed

    def read_deployment(self):
        """The answer of the operation: None while the model is not ready."""
        if self.status == "FAILED":
            raise ServiceError(400, "Model server terminated: model server container terminated: exit_code: 1")
        return {"deployedModel": {"id": "1"}} if self.status == "READY" else None

    def run(self):
        """Until it is undeployed."""
        spec = self.model["containerSpec"]
        self.routes = {name: spec[f"{name}Route"] for name in ("health", "predict")}
        environment = self.service.image | {
            # The service chooses the first of `ports`; here each endpoint has a port of its own.
            "AIP_HTTP_PORT": str(self.port),
            "AIP_HEALTH_ROUTE": self.routes["health"],
            "AIP_PREDICT_ROUTE": self.routes["predict"],
            "AIP_STORAGE_URI": self.model["artifactUri"],
            "AIP_MODE": "PREDICTION",
            "AIP_VERSION_NAME": "1",
            "AIP_FRAMEWORK": "CUSTOM_CONTAINER",
        }
        environment |= {entry["name"]: entry["value"] for entry in spec.get("env", ())}
        argv = [*spec.get("command", ()), *spec.get("args", ())]
        process = start_container(argv, self.folder, environment, self._write_line)
        deadline = time.time() + 60
        while process.wait(0.2) is None and not self.stop_asked.is_set():
            if self.status == "DEPLOYING" and self._ask("health")[0] == 200:
                self.status = "READY"
            elif self.status == "DEPLOYING" and time.time() > deadline:
                break
        if self.status == "DEPLOYING":
            self.status = "FAILED"
        process.end(signal.SIGTERM, signal.SIGKILL, 30)

    def answer(self, body, raw):
        """`predict` or `rawPredict`: what the container answers."""
        if self.status != "READY" or self.model is None:
            raise ServiceError(400, "The Endpoint has no deployed Model.")
        status, content = self._ask("predict", body)
        if status != 200 and not raw:
            message = content.decode(errors="replace")
            raise ServiceError(status if status in STATUS else 400, f"The model server answered {status}: {message}")
        if raw:
            return status, content
        predictions = json.loads(content)["predictions"]
        return 200, json.dumps({"predictions": predictions, "deployedModelId": "1"}).encode()

    def _ask(self, route, body=None):
        headers = {"Content-Type": "application/json"} if body else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{self.routes[route]}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as err:
            with err:
                return err.code, err.read()
        except OSError:
            return 503, b""

    def _write_line(self, line):
        self.lines.append(line)
        self.service.write_entry("aiplatform.googleapis.com/Endpoint", self.identity, line)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _handle(self):
        service, place = self.server.service, urllib.parse.urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        query = {
            name: values[0] if len(values) == 1 else values
            for name, values in urllib.parse.parse_qs(place.query).items()
        }
        predict = re.fullmatch(rf"{_PLACE}/endpoints/(?P<identity>\d+):(?P<verb>predict|rawPredict)", place.path)
        try:
            if place.path == "/token":
                answer = service.give_token(dict(urllib.parse.parse_qsl(content.decode())))
            elif predict and token in service.tokens:
                endpoint = _find(service.endpoints, predict["identity"], "Endpoint")
                return self._answer(*endpoint.answer(content, predict["verb"] == "rawPredict"))
            else:
                body = json.loads(content) if content else {}
                answer = service.answer(self.command, urllib.parse.unquote(place.path), query, body, token)
        except ServiceError as err:
            error = {"code": err.status, "message": err.message, "status": STATUS[err.status]}
            return self._answer(err.status, json.dumps({"error": error}).encode())
        return self._answer(200, json.dumps(answer).encode())

    do_GET = do_POST = do_DELETE = _handle

    def _answer(self, status, content):
        self.send_response(status)
        for name, value in {"Content-Length": len(content), "Content-Type": "application/json"}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


def _list_objects(service, bucket, prefix):
    pages = service.objects.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def _make_key():
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _format_time(moment):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f"{moment % 1:.6f}"[1:] + "Z"


def _find_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def serve_vertex(folder, image, **settings):
    """The service with a bucket `shop`, and the environment that leads there.

    The containers get the same variables, but for the key of the account: theirs comes from the machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with serve_google(folder) as objects, pytest.MonkeyPatch.context() as patch:
        objects.client().create_bucket(Bucket=BUCKET)  # in moto, which keeps what an earlier server had
        names = ("GOOGLE_BASE_URL", "GOOGLE_SERVICE_ACCOUNT")
        image = image | {name: os.environ[name] for name in names}
        service = VertexEmulator(folder, objects, image, **settings)
        for key in _list_objects(service, BUCKET, ""):
            objects.client().delete_object(Bucket=BUCKET, Key=key)
        service.write_key_file(folder / "account.json")
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "account.json"))
        try:
            yield service
        finally:
            service.close()
