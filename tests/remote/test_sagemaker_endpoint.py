"""A finished run at an endpoint: deployed by the command, served from /opt/ml/model, removed."""

import json
import os

import pytest
from sagemaker_emulator import create_role, serve_sagemaker

from headstart.cli.commands.serve import PLUGIN as SERVE
from headstart.cli.main import main
from headstart.cli.parser import Parser
from headstart.serving.hosting import Hosting
from headstart.serving.server import _read_address
from headstart.testing.tiny_model import write_tiny_model
from serving_bench import GREEN, RED

pytestmark = pytest.mark.medium
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/headstart:1"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The service; its image is this machine's Python."""
    image = {name: os.environ[name] for name in ("PATH", "HEADSTART_CACHE")}
    with serve_sagemaker(tmp_path_factory.mktemp("sagemaker"), image) as service:
        create_role(service)
        yield service


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    write_tiny_model(folder / "model")
    return folder


def deploy(*words, **options):
    options = {"bucket": "shop/served", "role": "headstart-training", "image": IMAGE} | options
    pairs = [word for name, value in options.items() for word in ("--on-option", f"{name}={value}")]
    return main(["deploy", *map(str, words), "--on", "aws", *pairs])


def list_keys(service):
    return [entry["Key"] for entry in service.client("s3").list_objects_v2(Bucket="shop").get("Contents", ())]


def test_a_run_is_deployed_asked_and_removed(run, service, capsys):
    import boto3

    assert deploy(run, "--name", "colours", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["endpoint"] == "colours" and "--endpoint-name colours" in answer["ask"]
    assert list_keys(service) == ["served/models/colours/model.tar.gz"]
    runtime = boto3.client("sagemaker-runtime")
    for picture, colour in ((RED, "red"), (GREEN, "green")):
        content = runtime.invoke_endpoint(EndpointName="colours", ContentType="image/png", Body=picture)["Body"].read()
        assert [row["answer"] for row in json.loads(content)["answers"]] == [colour]
    with pytest.raises(runtime.exceptions.ModelError):
        runtime.invoke_endpoint(EndpointName="colours", ContentType="image/png", Body=b"no picture")
    assert deploy(run, "--name", "colours") == 3
    assert "named `colours` already" in capsys.readouterr().err
    assert list_keys(service) == ["served/models/colours/model.tar.gz"]  # a refusal removes nothing of others
    assert deploy("--name", "colours", "--remove") == 0
    assert not (service.endpoints or service.configs or service.models or list_keys(service))


@pytest.mark.parametrize(
    ("options", "words"),
    (
        ({"role": "nobody"}, "Could not assume role"),
        ({"image": "docker.io/headstart:1"}, "Invalid image URI"),
        ({"instance": "ml.c5.4xlarge"}, "the quota is used up"),
        ({"bucket": "no-such-bucket"}, "there is no bucket"),
        ({"imag": "x"}, "did you mean `image`"),
    ),
)
def test_what_is_refused_leaves_nothing(options, words, run, service, capsys):
    assert deploy(run, "--name", "refused", **options) in (2, 3)
    assert words in capsys.readouterr().err
    assert not (service.endpoints or service.configs or service.models or list_keys(service))


def test_serve_without_a_run_says_where_it_may(capsys):
    assert main(["serve"]) == 2
    assert "no run is named" in capsys.readouterr().err


def test_an_endpoint_chooses_address_and_port_itself_and_says_so(tmp_path, capsys):
    hosting = Hosting(model=tmp_path, port=8080, health_route="/ping", predict_route="/invocations")
    parser = Parser("headstart serve", None)
    SERVE.configure(parser)
    for words in ([], ["--port", "9000"], ["--host", "0.0.0.0"], ["--api-key-file", "keys"]):
        address = _read_address(parser.parse_words(words), hosting, ())
        assert (address.host, address.port) == ("0.0.0.0", 8080)
        assert ("have no effect in an endpoint" in capsys.readouterr().err) == bool(words)
