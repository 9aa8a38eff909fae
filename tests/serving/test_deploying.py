"""The examples of the page on deploying: units, files and manifests that are what they say, with options that exist."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from headstart.cli.commands.serve import PLUGIN
from headstart.cli.parser import Parser

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "deploying.md").read_text()


def example(kind):
    return re.search(rf"```{kind}\n(.*?)```", PAGE, re.S)[1]


def parsed(words):
    parser = Parser("headstart serve", None)
    PLUGIN.configure(parser)
    return parser.parse_words(words)


def unit():
    lines = [line for line in example("ini").splitlines() if "=" in line]
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines}


def test_the_unit_starts_serve_with_options_that_exist():
    words = shlex.split(unit()["ExecStart"])
    assert words[0].endswith("/headstart") and words[1] == "serve"
    args = parsed(words[2:])
    assert args.runs == ["model=/srv/headstart/run"] and args.log == "json"
    assert int(unit()["TimeoutStopSec"]) > 30  # longer than requests are given to end


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    tool = shutil.which("systemd-analyze")
    text = example("ini").replace("/opt/headstart/bin/headstart", shutil.which("true"))
    (tmp_path / "headstart.service").write_text(text)
    if tool is None:
        sections = re.findall(r"^\[(\w+)\]$", text, re.M)
        assert sections == ["Unit", "Service", "Install"]
        return
    done = subprocess.run([tool, "verify", str(tmp_path / "headstart.service")], capture_output=True, text=True)
    assert "headstart.service" not in done.stderr, done.stderr


def test_the_container_file_starts_serve():
    lines = [line.partition(" ") for line in example("dockerfile").splitlines()]
    known = {"FROM", "RUN", "COPY", "USER", "ENV", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT"}
    assert {word for word, _, _ in lines} == known
    told = {word: rest for word, _, rest in lines}
    words = json.loads(told["ENTRYPOINT"])
    assert words[:2] == ["headstart", "serve"]
    args = parsed(words[2:])
    assert (args.host, args.runs, args.port) == ("0.0.0.0", ["model=/model"], int(told["EXPOSE"]))
    assert any('"headstart[runtime]"' in rest for word, _, rest in lines if word == "RUN")


def test_the_kserve_manifest_asks_routes_that_exist(service):
    told = yaml.safe_load(example("yaml"))
    assert (told["apiVersion"], told["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    [container] = told["spec"]["predictor"]["containers"]
    words = json.loads(dict(line.split(" ", 1) for line in example("dockerfile").splitlines())["ENTRYPOINT"])
    args = parsed([*words[2:], *container["args"]])
    assert args.port == container["ports"][0]["containerPort"] and args.no_key
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == args.port
        assert service.client.get(container[probe]["httpGet"]["path"]).status_code == 200


def test_the_inference_request_is_understood(service):
    found = service.client.post("/v2/models/tiny/infer", json=json.loads(example("json")))
    assert found.status_code == 400 and "truncated" in found.json()["error"]  # a picture cut short, but a picture


@pytest.mark.parametrize("name", ["requests_total", "request_seconds_count", "queue_pictures", "answers_total"])
def test_the_metrics_that_are_named_exist(service, name):
    assert f"headstart_{name}" in service.client.get("/metrics").text
    assert f"headstart_{name.removesuffix('_count')}" in PAGE
