"""The manifests, read by the parsers of those who will run them, in an environment of their own."""

import json
import subprocess
import sys

import pytest

from headstart.core.job import make_job
from headstart.remote.submit_job import make_request
from headstart.remote.targets.manifest import PLUGIN, make_kubernetes_job, make_sky_task

READ = """
import json, sys
import sky
from kubernetes.client import ApiClient
job, task = json.loads(sys.argv[1])
read = ApiClient().deserialize(json.dumps(job), "V1Job", "application/json")
assert ApiClient().sanitize_for_serialization(read) == job
task = sky.Task.from_yaml_config(task)
(resources,) = task.resources
print(task.name, resources.use_spot, resources.cpus, resources.memory, dict(resources.accelerators))
"""


@pytest.mark.slow
def test_kubernetes_and_skypilot_read_their_manifests(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    pip.append("--no-compile")  # most of it is never imported
    subprocess.run([*pip, "kubernetes==37.0.2", "skypilot==0.14.1"], check=True)
    options = {"run": "s3://shop/run", "gpu": "L4", "secret": "keys", "image": "example.com/a:1"}
    (tmp_path / "code").mkdir()
    request = make_request(
        PLUGIN,
        make_job(data=str(tmp_path)),
        options=options,
        name="one",
        max_hours=2.0,
        spot=True,
        out=tmp_path / "out",
    )
    texts = json.dumps([make_kubernetes_job(request), make_sky_task(request)])
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    done = subprocess.run([python, "-c", READ, texts], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:4] == ["one", "True", "4+", "16+"] and "'L4': 1" in done.stdout
