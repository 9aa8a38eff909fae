"""What is installed: the wheel has every file, and the base package alone predicts where nothing else is installed."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import headstart
from headstart.core import extras
from headstart.testing.tiny_model import write_tiny_model

ROOT = Path(__file__).resolve().parent.parent
BASE = {"filelock", "numpy", "openvino", "pillow", "platformdirs", "safetensors"}
BARE = (  # as if nothing but the base package were installed
    "import sys\n"
    "sys.modules.update(dict.fromkeys({missing!r}))\n"
    "from headstart.cli.main import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of this tree; in the tree itself the making of a wheel would leave a `build` folder behind."""
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    return tree


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory):
    """The wheel that the tree makes."""
    made = tmp_path_factory.mktemp("wheel")
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(made), str(tree)]
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *words], check=True)
    return next(made.glob("*.whl"))


@pytest.mark.medium
def test_the_wheel_has_every_file_of_the_package_and_names_what_it_needs(tree, wheel):
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if name.startswith("headstart/")}
        info = f"headstart-{headstart.__version__}.dist-info"
        told, points = (packed.read(f"{info}/{name}").decode() for name in ("METADATA", "entry_points.txt"))
    files = [p for p in (tree / "src" / "headstart").rglob("*") if p.is_file()]
    assert names == {p.relative_to(tree / "src").as_posix() for p in files}
    assert "headstart = headstart.cli.main:main" in points
    needed = re.findall(r"^Requires-Dist: ([\w.-]+)[^;\n]*$", told, re.M)
    assert {name.lower() for name in needed} == BASE
    assert set(re.findall(r"^Provides-Extra: (\S+)$", told, re.M)) == set(extras.EXTRAS)
    assert f"\nVersion: {headstart.__version__}\n" in told and "\nLicense-Expression: Apache-2.0\n" in told


def bare(*words, code=0, more=(), **env):
    """Run the command line where only the base package, and what `more` names, can be imported."""
    kept = BASE | {"headstart", "openvino-telemetry", *more}
    missing = [name for name, made_by in packages_distributions().items() if not kept & {m.lower() for m in made_by}]
    missing = sorted(name for name in missing if name.isidentifier() and name not in sys.stdlib_module_names)
    done = subprocess.run(
        [sys.executable, "-c", BARE.format(missing=missing), *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.mark.medium
def test_the_base_package_alone_predicts_and_explains(saved, paint, tmp_path):
    red, blue = paint("a.png", "red"), paint("b.png", "blue")
    stdout, _ = bare("predict", saved, red, blue, "--format", "jsonl")
    assert [json.loads(line)["answer"] for line in stdout.splitlines()] == ["red", "blue"]
    stdout, _ = bare("predict", saved, red.parent)
    assert len(stdout.splitlines()) == 3
    bare("explain", saved, red, "--out", tmp_path / "why")
    assert (tmp_path / "why" / "a.png").is_file() and (tmp_path / "why" / "index.html").is_file()


@pytest.mark.medium
def test_the_base_package_alone_says_which_extra_is_missing(tmp_path):
    (tmp_path / "data").mkdir()
    for words in (["fit"], ["audit"], ["rank"], ["fit", "--dry-run"]):
        _, stderr = bare(words[0], tmp_path / "data", *words[1:], code=3)
        assert "error: learning from pictures needs the extra `fit`; not installed: `keras`" in stderr
        assert stderr.endswith(f"hint: {extras.format_install_command('fit')}\n")
    _, stderr = bare("serve", write_tiny_model(tmp_path / "model"), "--port", "0", code=3)
    assert "error: serving needs the extra `runtime`; not installed: `fastapi`" in stderr
    assert stderr.endswith(f"hint: {extras.format_install_command('runtime')}\n")
    assert not (tmp_path / "runs").exists()


@pytest.mark.medium
def test_the_base_package_alone_shows_what_there_is(tmp_path):
    assert "headstart COMMAND" in bare("--help")[0]
    found = json.loads(bare("doctor", "--json", HEADSTART_CACHE=str(tmp_path))[0])
    assert found["missing"] == [] and found["extras"].keys() == extras.EXTRAS.keys()
    assert "bundled:efficientnet_lite0" in bare("backbones", "list", HEADSTART_CACHE=str(tmp_path))[0]


@pytest.mark.slow
def test_a_clean_environment_with_the_runtime_alone(wheel, tmp_path):
    """A real one: what `pip install "headstart[runtime]"` brings, and not one package of the others."""
    place = tmp_path / "clean"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    scripts = place / ("Scripts" if os.name == "nt" else "bin")
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([scripts / "python", "-m", "pip", "install", *quiet, f"{wheel}[runtime]"], check=True)

    def run(*words, code=0):
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        env["HEADSTART_CACHE"] = str(tmp_path / "cache")
        done = subprocess.run([scripts / "headstart", *map(str, words)], capture_output=True, text=True, env=env)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    from PIL import Image

    model = write_tiny_model(tmp_path / "model")
    Image.new("RGB", (40, 36), "green").save(tmp_path / "a.png")
    assert json.loads(run("predict", model, tmp_path / "a.png", "--format", "jsonl")[0])["answer"] == "green"
    assert "headstart COMMAND" in run("--help")[0]
    found = json.loads(run("doctor", "--json")[0])
    assert found["missing"] == []
    absent = {name for name, told in found["extras"].items() if "not installed" in told}
    assert absent == extras.EXTRAS.keys() - {"runtime"}
    _, stderr = run("fit", tmp_path, code=3)
    assert f'hint: pip install "{wheel}[fit]"' in stderr  # the file it came from, which is still there
    words = [scripts / "headstart", "serve", model, "--port", "0"]
    service = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    try:
        url = re.search(r"http://\S+", service.stderr.readline())[0]
        body = json.dumps({"pictures": [{"base64": base64.b64encode((tmp_path / "a.png").read_bytes()).decode()}]})
        asked = urllib.request.Request(
            f"{url}/v1/predict", data=body.encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=60) as told:
            assert json.loads(told.read())["answers"][0]["answer"] == "green"
    finally:
        service.terminate()
        service.communicate(timeout=60)
