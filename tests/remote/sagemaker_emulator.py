"""SageMaker on this machine: its JSON protocol, and training jobs and endpoints that really run.

What a request may hold comes from boto3's own description of the service; the rest is written after its developer
guide: /opt/ml with channels, configuration, checkpoints, model and output; SIGTERM and later SIGKILL on stop; spot jobs
that are interrupted and begun again. S3, IAM, STS, ECR and the logs are moto's.
"""

import contextlib
import http.server
import io
import json
import re
import signal
import socket
import sys
import tarfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from sagemaker_container import start_container

from object_servers import S3_KEYS, S3Server

ACCOUNT, REGION = "123456789012", "us-east-1"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"


class ServiceError(Exception):
    """An answer that is none: its code and message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


class SageMakerEmulator:
    """The service: jobs, models and endpoints by name.

    `image` are the variables of the image; `quota` how many instances of a type may be used; `interrupt` is asked with
    the checkpoint folder of a spot job whether its machine is taken away now; `grace_s` stands for the service's 120 s.
    """

    def __init__(self, folder, image, *, quota=None, interrupt=None, grace_s=20.0):
        self.folder, self.image, self.interrupt, self.grace_s = folder, image, interrupt, grace_s
        self.quota = {"ml.m5.large": 4, "ml.m5.xlarge": 4} if quota is None else quota
        self.jobs, self.models, self.configs, self.endpoints = {}, {}, {}, {}
        self.aws = S3Server()
        self.requests, self.lost_answers = [], set()  # actions that are done, and answered by an error once
        self._lock, self._threads = threading.RLock(), []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.service = self
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.shapes = _load_service_model()

    def client(self, name, region=REGION):
        """moto's, by boto3."""
        import boto3

        keys = {"aws_access_key_id": "EMULATOR", "aws_secret_access_key": "emulator"}
        return boto3.client(name, endpoint_url=self.aws.address, region_name=region, **keys)

    def close(self):
        """Stop what runs."""
        for job in self.jobs.values():
            job.stop_asked.set()
        for endpoint in self.endpoints.values():
            endpoint.stop_asked.set()
        for thread in self._threads:
            thread.join()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.aws.close()

    def answer(self, action, request):
        """One request of the JSON protocol."""
        self.requests.append(action)
        self.check_shape(self.shapes.operation_model(action).input_shape, request, action)
        with self._lock:
            answer = getattr(self, "_" + re.sub(r"(?<!^)([A-Z])", r"_\1", action).lower())(request)
        if action in self.lost_answers:
            self.lost_answers.remove(action)
            raise ServiceError("ThrottlingException", "the answer is lost, the client asks again")
        return answer

    def check_shape(self, shape, value, where):
        """What the service's description says of a value; the client has checked types and required members only."""
        if shape.type_name == "structure":
            if unknown := set(value) - set(shape.members):
                raise ServiceError("ValidationException", f"unknown members {sorted(unknown)} at '{where}'")
            if missing := set(shape.required_members) - set(value):
                raise ServiceError("ValidationException", f"missing members {sorted(missing)} at '{where}'")
            for name, member in value.items():
                self.check_shape(shape.members[name], member, f"{where}.{name}")
        elif shape.type_name == "list":
            for member in value:
                self.check_shape(shape.member, member, where)
        elif shape.type_name == "map":
            for key, member in value.items():
                self.check_shape(shape.key, key, where)
                self.check_shape(shape.value, member, where)
        else:
            _check_scalar(shape.metadata, value, where)

    # Training jobs

    def _create_training_job(self, request):
        name = request["TrainingJobName"]
        if name in self.jobs:
            raise ServiceError("ResourceInUse", f"Training job names must be unique within an AWS account: {name}")
        self._check_training_job(request)
        job = self.jobs[name] = TrainingJob(self, request)
        self._start_thread(job.run)
        return {"TrainingJobArn": job.arn}

    def _check_training_job(self, request):
        stopping, resources = request.get("StoppingCondition", {}), request["ResourceConfig"]
        spot, wait_s = request.get("EnableManagedSpotTraining", False), stopping.get("MaxWaitTimeInSeconds")
        if spot and (wait_s is None or wait_s < stopping.get("MaxRuntimeInSeconds", 86400)):
            message = (
                "MaxWaitTimeInSeconds above MaxRuntimeInSeconds is required when EnableManagedSpotTraining is true"
            )
            raise ServiceError("ValidationException", message)
        if not spot and wait_s is not None:
            raise ServiceError("ValidationException", "MaxWaitTimeInSeconds without EnableManagedSpotTraining")
        self._check_role(request["RoleArn"])
        self._check_image(request["AlgorithmSpecification"]["TrainingImage"])
        addresses = [channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in request.get("InputDataConfig", ())]
        addresses.append(request["OutputDataConfig"]["S3OutputPath"])
        addresses += [request["CheckpointConfig"]["S3Uri"]] if "CheckpointConfig" in request else []
        for address in addresses:
            self._check_bucket(address)
        kind, running = resources["InstanceType"], 0
        running = sum(
            job.request["ResourceConfig"]["InstanceCount"]
            for job in self.jobs.values()
            if job.request["ResourceConfig"]["InstanceType"] == kind and job.ended is None
        )
        limit, usage = self.quota.get(kind, 0), "spot training job usage" if spot else "training job usage"
        if running + resources["InstanceCount"] > limit:
            message = (
                f"The account-level service limit '{kind} for {usage}' is {limit} Instances, with current utilization "
                f"of {running} Instances and a request delta of {resources['InstanceCount']} Instances. Please use AWS "
                "Service Quotas to request an increase for this quota."
            )
            raise ServiceError("ResourceLimitExceeded", message)

    def _check_role(self, arn):
        names = {role["Arn"]: role for role in self.client("iam").list_roles()["Roles"]}
        if arn not in names or "sagemaker.amazonaws.com" not in json.dumps(names[arn]["AssumeRolePolicyDocument"]):
            message = (
                f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
                "'sagemaker.amazonaws.com' to assume the role."
            )
            raise ServiceError("ValidationException", message)

    def _check_image(self, image):
        if not re.fullmatch(rf"\d{{12}}\.dkr\.ecr\.{REGION}\.amazonaws\.com/[^:@]+[:@].+", image):
            raise ServiceError(
                "ValidationException", f"Invalid image URI {image}. Please provide a valid image in {REGION}."
            )

    def _check_bucket(self, address):
        place = urllib.parse.urlsplit(address)
        s3 = self.client("s3")
        if place.netloc not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
            raise ServiceError("ValidationException", f"The S3 bucket '{place.netloc}' does not exist.")
        region = s3.get_bucket_location(Bucket=place.netloc)["LocationConstraint"] or "us-east-1"
        if region != REGION:
            message = f"The S3 bucket '{place.netloc}' is in region {region}, but this is {REGION}."
            raise ServiceError("ValidationException", message)

    def _describe_training_job(self, request):
        return self._find(self.jobs, request["TrainingJobName"], "Requested resource not found.").describe()

    def _stop_training_job(self, request):
        job = self._find(self.jobs, request["TrainingJobName"], "Requested resource not found.")
        if job.ended is not None:
            message = f"The request was rejected because the training job is in status {job.status}."
            raise ServiceError("ValidationException", message)
        job.status, job.secondary = "Stopping", "Stopping"
        job.stop_asked.set()
        return {}

    def _list_training_jobs(self, request):
        jobs = [job for name, job in self.jobs.items() if request.get("NameContains", "") in name]
        keys = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingJobStatus")
        return {"TrainingJobSummaries": [{key: job.describe()[key] for key in keys} for job in jobs]}

    # Models and endpoints

    def _create_model(self, request):
        name, container = request["ModelName"], request["PrimaryContainer"]
        if name in self.models:
            raise ServiceError("ValidationException", f'Cannot create already existing model "{name}".')
        self._check_role(request["ExecutionRoleArn"])
        self._check_image(container["Image"])
        bucket, key = _split_address(container["ModelDataUrl"])
        if not self.client("s3").list_objects_v2(Bucket=bucket, Prefix=key).get("Contents"):
            raise ServiceError("ValidationException", f"Could not find model data at {container['ModelDataUrl']}.")
        self.models[name] = request
        return {"ModelArn": _make_arn("model", name)}

    def _create_endpoint_config(self, request):
        name = request["EndpointConfigName"]
        if name in self.configs:
            raise ServiceError(
                "ValidationException", f'Cannot create already existing endpoint configuration "{name}".'
            )
        for variant in request["ProductionVariants"]:
            self._find(self.models, variant["ModelName"], f'Could not find model "{variant["ModelName"]}".')
        self.configs[name] = request
        return {"EndpointConfigArn": _make_arn("endpoint-config", name)}

    def _create_endpoint(self, request):
        name, config = request["EndpointName"], request["EndpointConfigName"]
        if name in self.endpoints:
            raise ServiceError("ValidationException", f'Cannot create already existing endpoint "{name}".')
        variant = self._find(self.configs, config, f'Could not find endpoint configuration "{config}".')
        variant = variant["ProductionVariants"][0]
        if self.quota.get(variant["InstanceType"], 0) < variant["InitialInstanceCount"]:
            kind = variant["InstanceType"]
            message = f"The account-level service limit '{kind} for endpoint usage' is 0 Instances."
            raise ServiceError("ResourceLimitExceeded", message)
        self.endpoints[name] = Endpoint(self, request, self.models[variant["ModelName"]])
        self._start_thread(self.endpoints[name].run)
        return {"EndpointArn": _make_arn("endpoint", name)}

    def _describe_endpoint(self, request):
        name = request["EndpointName"]
        return self._find(self.endpoints, name, f'Could not find endpoint "{name}".').describe()

    def _describe_model(self, request):
        return self._find(self.models, request["ModelName"], "Could not find model.")

    def _describe_endpoint_config(self, request):
        return self._find(self.configs, request["EndpointConfigName"], "Could not find endpoint configuration.")

    def _delete_endpoint(self, request):
        name = request["EndpointName"]
        self._find(self.endpoints, name, f'Could not find endpoint "{name}".').stop_asked.set()
        del self.endpoints[name]
        return {}

    def _delete_endpoint_config(self, request):
        return self._delete(self.configs, request["EndpointConfigName"])

    def _delete_model(self, request):
        return self._delete(self.models, request["ModelName"])

    def _delete(self, things, name):
        self._find(things, name, f'Could not find "{name}".')
        del things[name]
        return {}

    def _find(self, things, name, message):
        if name not in things:
            raise ServiceError("ValidationException", message)
        return things[name]

    def _start_thread(self, function):
        thread = threading.Thread(target=function, daemon=True)
        self._threads.append(thread)
        thread.start()


class TrainingJob:
    """A job and the folders of its container."""

    def __init__(self, service, request):
        self.service, self.request, self.name = service, request, request["TrainingJobName"]
        self.arn = _make_arn("training-job", self.name)
        self.created, self.started, self.ended = time.time(), None, None
        self.status, self.secondary, self.failure, self.interruptions = "InProgress", "Starting", "", 0
        self.stop_asked = threading.Event()
        self.folder = service.folder / self.name
        self.s3, self.logs = service.client("s3"), service.client("logs")
        self._synced = {}

    def describe(self):
        """What DescribeTrainingJob answers."""
        answer = {key: value for key, value in self.request.items() if key != "Tags"}
        answer |= {"TrainingJobArn": self.arn, "TrainingJobStatus": self.status, "SecondaryStatus": self.secondary}
        answer |= {"CreationTime": self.created, "LastModifiedTime": self.ended or self.started or self.created}
        output = f"{self.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output/model.tar.gz"
        answer["ModelArtifacts"] = {"S3ModelArtifacts": output}
        if self.failure:
            answer["FailureReason"] = self.failure
        if self.started:
            answer["TrainingStartTime"] = self.started
        if self.ended:
            billable = int(self.ended - (self.started or self.ended)) + 1
            answer |= {"TrainingEndTime": self.ended, "BillableTimeInSeconds": billable}
        return answer

    def run(self):
        """From the download of the channels to the upload of the model."""
        self.secondary = "Downloading"
        self._make_folders()
        self.started = time.time()
        outcome = "interrupted"
        while outcome == "interrupted":
            self.secondary = "Training"
            outcome = self._run_container(may_interrupt=not self.interruptions)
            if outcome == "interrupted":
                self.interruptions, self.secondary = self.interruptions + 1, "Interrupted"
        self.secondary = "Uploading"
        for folder in ("model", "output"):
            self._upload_packed(folder)
        final = {"done": "Completed", "failed": "Failed", "stopped": "Stopped", "too long": "Stopped"}[outcome]
        self.secondary = "MaxRuntimeExceeded" if outcome == "too long" else final
        self.ended = time.time()
        self.status = final

    @property
    def ml(self):
        """What the container sees as /opt/ml."""
        return self.folder / "opt" / "ml"

    def _make_folders(self):
        for name in ("input/config", "input/data", "model", "output/data", "checkpoints", "code"):
            (self.ml / name).mkdir(parents=True)
        channels = {channel["ChannelName"]: channel for channel in self.request.get("InputDataConfig", ())}
        for name, channel in channels.items():
            source = channel["DataSource"]["S3DataSource"]
            assert source["S3DataType"] == "S3Prefix"
            _download(self.s3, source["S3Uri"], self.ml / "input" / "data" / name)
        kind = self.request["ResourceConfig"]["InstanceType"]
        inputs = {name: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"} for name in channels}
        resources = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
        resources |= {"current_instance_type": kind, "current_group_name": "homogeneousCluster"}
        for name, content in {
            "hyperparameters": self.request.get("HyperParameters", {}),
            "inputdataconfig": inputs,
            "resourceconfig": resources,
        }.items():
            (self.ml / "input" / "config" / f"{name}.json").write_text(json.dumps(content))

    def _run_container(self, *, may_interrupt):
        """One start: `done`, `failed`, `stopped`, `interrupted` or `too long`."""
        checkpoints = self.ml / "checkpoints"
        _empty(checkpoints)  # a new machine
        if config := self.request.get("CheckpointConfig"):
            _download(self.s3, config["S3Uri"].rstrip("/") + "/", checkpoints)
        algorithm = self.request["AlgorithmSpecification"]
        argv = [*algorithm.get("ContainerEntrypoint", ["train"]), *algorithm.get("ContainerArguments", ())]
        environment = self.service.image | self.request.get("Environment", {})
        environment |= {"TRAINING_JOB_NAME": self.name, "TRAINING_JOB_ARN": self.arn, "AWS_REGION": REGION}
        container = start_container(argv, self.folder / "opt", environment, self.folder / "home", self._open_log())
        spot = self.request.get("EnableManagedSpotTraining", False) and may_interrupt and self.service.interrupt
        limit_s = self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400)
        outcome = None
        while (code := container.wait(0.1)) is None:
            self._upload_checkpoints()
            if self.stop_asked.is_set():
                outcome = "stopped"
            elif time.time() - self.started > limit_s:
                outcome = "too long"
            elif spot and self.service.interrupt(checkpoints):
                outcome = "interrupted"
            if outcome:
                code = container.end(signal.SIGTERM, signal.SIGKILL, self.service.grace_s)
                break
        self._upload_checkpoints()
        if outcome is None and code != 0:
            self._note_failure(code)
        return outcome or ("failed" if code else "done")

    def _note_failure(self, code):
        file = self.ml / "output" / "failure"
        text = file.read_text()[:1024] if file.is_file() else f"ExecuteUserScriptError: exit code: {code}"
        self.failure = f"AlgorithmError: {text}, exit code: {code}"

    def _open_log(self):
        """A function that adds a line to a new stream of the job."""
        stream = f"{self.name}/algo-1-{time.time_ns() // 1_000_000}"
        with contextlib.suppress(self.logs.exceptions.ResourceAlreadyExistsException):
            self.logs.create_log_group(logGroupName=LOG_GROUP)
        self.logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)

        def write_line(line):
            event = {"timestamp": int(time.time() * 1000), "message": line or " "}
            self.logs.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream, logEvents=[event])

        return write_line

    def _upload_checkpoints(self):
        """What is new or other than before, in no useful order; what was deleted stays in the bucket."""
        if not (config := self.request.get("CheckpointConfig")):
            return
        bucket, prefix = _split_address(config["S3Uri"].rstrip("/") + "/")
        for path in sorted((self.ml / "checkpoints").rglob("*"), reverse=True):
            with contextlib.suppress(FileNotFoundError):  # a file that was moved meanwhile
                if path.is_file() and self._synced.get(path) != (
                    mark := (path.stat().st_mtime_ns, path.stat().st_size)
                ):
                    name = path.relative_to(self.ml / "checkpoints").as_posix()
                    self.s3.put_object(Bucket=bucket, Key=prefix + name, Body=path.read_bytes())
                    self._synced[path] = mark

    def _upload_packed(self, folder):
        """model.tar.gz or output.tar.gz; none of an empty folder."""
        files = [path for path in (self.ml / folder).rglob("*") if path.is_file()]
        if folder == "output" and not [path for path in files if path.name != "failure"]:
            return
        if files:
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
                archive.add(self.ml / folder, arcname=".")
            bucket, prefix = _split_address(self.request["OutputDataConfig"]["S3OutputPath"].rstrip("/") + "/")
            key = f"{prefix}{self.name}/output/{folder}.tar.gz"
            self.s3.put_object(Bucket=bucket, Key=key, Body=content.getvalue())


class Endpoint:
    """A container that was started with `serve`, told a port that is free here instead of 8080."""

    def __init__(self, service, request, model):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.service, self.model, self.name = service, model, request["EndpointName"]
        self.request, self.status, self.failure = request, "Creating", ""
        self.stop_asked, self.lines, self.created = threading.Event(), [], time.time()
        self.folder = service.folder / f"endpoint-{self.name}"

    def describe(self):
        """What DescribeEndpoint answers."""
        answer = {"EndpointName": self.name, "EndpointArn": _make_arn("endpoint", self.name)}
        answer |= {"EndpointConfigName": self.request["EndpointConfigName"], "EndpointStatus": self.status}
        answer |= {"CreationTime": self.created, "LastModifiedTime": self.created}
        return answer | ({"FailureReason": self.failure} if self.failure else {})

    def run(self):
        """Until it is deleted."""
        ml, container = self.folder / "opt" / "ml", self.model["PrimaryContainer"]
        (ml / "model").mkdir(parents=True)
        bucket, key = _split_address(container["ModelDataUrl"])
        content = self.service.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            archive.extractall(ml / "model", filter="data")
        environment = self.service.image | container.get("Environment", {}) | {"AWS_REGION": REGION}
        environment["SAGEMAKER_BIND_TO_PORT"] = str(self.port)
        # The images' entry point is `headstart`.
        argv = [sys.executable, "-m", "headstart", "serve"]
        process = start_container(argv, self.folder / "opt", environment, self.folder / "home", self.lines.append)
        deadline = time.time() + 60
        while process.wait(0.2) is None and not self.stop_asked.is_set():
            if self.status == "Creating" and self._ping():
                self.status = "InService"
            elif self.status == "Creating" and time.time() > deadline:
                break
        if self.status == "Creating":
            self.status = "Failed"
            self.failure = "The primary container for production variant all did not pass the ping health check."
        process.signal(signal.SIGTERM)
        if process.wait(30) is None:
            process.signal(signal.SIGKILL)
            process.wait(30)

    def _ping(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def invoke(self, body, content_type, accept):
        """The answer of the container: status, content type, body."""
        headers = {"Content-Type": content_type, "Accept": accept}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/invocations", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as err:
            return err.code, err.headers["Content-Type"], err.read()


class _Handler(http.server.BaseHTTPRequestHandler):
    """The two protocols: `X-Amz-Target` with JSON, and the runtime's one route."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        service = self.server.service
        if place := re.fullmatch(r"/endpoints/([^/]+)/invocations", self.path):
            endpoint = service.endpoints.get(place[1])
            if endpoint is None or endpoint.status != "InService":
                return self._refuse("ValidationError", f"Endpoint {place[1]} of account {ACCOUNT} not found.")
            accept = self.headers.get("X-Amzn-SageMaker-Accept", self.headers.get("Accept", "*/*"))
            status, kind, content = endpoint.invoke(body, self.headers["Content-Type"], accept)
            if status >= 400:
                return self._answer(424, json.dumps({"OriginalStatusCode": status}).encode(), "ModelError")
            return self._answer(200, content, kind=kind)
        action = self.headers["X-Amz-Target"].removeprefix("SageMaker.")
        try:
            answer = service.answer(action, json.loads(body))
        except ServiceError as err:
            return self._refuse(err.code, err.message)
        return self._answer(200, json.dumps(answer).encode())

    def _refuse(self, code, message):
        self._answer(400, json.dumps({"__type": code, "message": message}).encode(), code)

    def _answer(self, status, content, code="", kind="application/x-amz-json-1.1"):
        self.send_response(status)
        headers = {"Content-Length": len(content), "Content-Type": kind} | ({"x-amzn-ErrorType": code} if code else {})
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


def _load_service_model():
    import botocore.session

    return botocore.session.get_session().get_service_model("sagemaker")


def _check_scalar(rules, value, where):
    text = f"Value '{value}' at '{where}' failed to satisfy constraint: Member must"
    if "enum" in rules and value not in rules["enum"]:
        raise ServiceError(
            "ValidationException", f"{text} satisfy enum value set: [{', '.join(rules['enum'][:5])}, ...]"
        )
    if "pattern" in rules and r"\p" not in rules["pattern"] and not re.fullmatch(rules["pattern"], value):
        raise ServiceError("ValidationException", f"{text} satisfy regular expression pattern: {rules['pattern']}")
    size = len(value) if isinstance(value, str) else value
    if size < rules.get("min", size) or size > rules.get("max", size):
        raise ServiceError("ValidationException", f"{text} be between {rules.get('min')} and {rules.get('max')}")


def _make_arn(kind, name):
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def _split_address(address):
    place = urllib.parse.urlsplit(address)
    return place.netloc, place.path.removeprefix("/")


def _download(s3, address, folder):
    """All objects whose key begins with the prefix; a key's place counts from the last slash of the prefix."""
    bucket, prefix = _split_address(address)
    folder.mkdir(parents=True, exist_ok=True)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            name = entry["Key"][len(prefix) :].removeprefix("/") or entry["Key"].rpartition("/")[2]
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, entry["Key"], str(target))


def _empty(folder: Path):
    import shutil

    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def serve_sagemaker(folder, image, **settings):
    """The service with a bucket `shop` and a role, and the environment that leads there."""
    service = SageMakerEmulator(folder, image, **settings)
    addresses = {"AWS_ENDPOINT_URL": service.aws.address, "AWS_ENDPOINT_URL_SAGEMAKER": service.address}
    addresses["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"] = service.address
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (S3_KEYS | {"AWS_DEFAULT_REGION": REGION} | addresses).items():
            patch.setenv(name, value)
        try:
            service.client("s3").create_bucket(Bucket="shop")
            yield service
        finally:
            service.close()


def create_role(service, name="headstart-training", principal="sagemaker.amazonaws.com"):
    """A role that the service may take on; its ARN."""
    statement = {"Effect": "Allow", "Principal": {"Service": principal}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return service.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
