"""The tutorial is a sound notebook without outputs, and all of its cells run, in order, in one fresh process."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from headstart.cli.main import main

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "tutorial.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]
DRIVER = """
import json, sys
namespace = {"__name__": "__main__"}
for number, source in enumerate(json.load(sys.stdin)):
    print(f"cell {number}", flush=True)
    exec(compile(source, f"cell {number}", "exec"), namespace)
run, predictions = namespace["run"], namespace["predictions"]
results = {
    "finished": run.finished,
    "picture_count": len(run.dataset.uris),
    "accuracy": [score.value for score in run.headline() if score.name == "accuracy"],
    "judged": [score for score in namespace["judged"]["scores"] if score["name"] == "accuracy"],
    "answers": [prediction.answer for prediction in predictions],
    "explained": namespace["explanation"].class_name,
    "parity": namespace["export"]["parity_max_abs"],
    "cross_validated": namespace["scores"].mean(),
}
print(json.dumps(results))
"""
EXAMPLES = (
    "compare",
    "drift",
    "evaluate",
    "explain",
    "export",
    "predict",
    "rank",
    "reference/adapt",
    "report",
    "uncertainty",
)
EXAMPLE_DRIVER = """
import json, sys
sources = json.load(sys.stdin)
for source in sources:
    exec(compile(source, source, "exec"), {"__name__": "__main__"})
print(len(sources), "examples")
"""


def test_the_notebook_is_sound_and_carries_no_outputs():
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in CELLS]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each) for each in ids)
    for cell in CELLS:
        assert all(line.endswith("\n") for line in cell["source"][:-1])
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


def test_links_of_the_notebook_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", "".join(line for cell in CELLS for line in cell["source"]))
    assert len(targets) > 5
    assert [target for target in targets if not (NOTEBOOK.parent / target).exists()] == []


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory, shared_store):
    """The folder in which all cells were run, and what the process said."""
    folder = tmp_path_factory.mktemp("tutorial")
    sources = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    return folder, run_python(DRIVER, sources, folder)


def run_python(driver, sources, folder):
    """Standard output of a fresh process that takes sources from its standard input."""
    command, env = [sys.executable, "-c", driver], {**os.environ, "MPLBACKEND": "agg"}
    text = json.dumps(sources)
    child = subprocess.run(command, input=text, capture_output=True, text=True, cwd=folder, env=env, timeout=600)
    assert child.returncode == 0, child.stdout + child.stderr
    return child.stdout


@pytest.mark.medium
def test_every_cell_of_the_notebook_runs(tutorial):
    folder, stdout = tutorial
    results = json.loads(stdout.splitlines()[-1])
    assert results["finished"] and results["picture_count"] == 240
    (judged,) = results["judged"]
    assert judged["n"] == 120 and judged["low"] > 1 / 3  # better than one class for all
    assert results["accuracy"][0] > 1 / 3 and results["cross_validated"] > 1 / 3
    *_, stranger = results["answers"]
    assert len(results["answers"]) == 7 and stranger == "unknown"
    assert results["explained"] in ("global", "local", "nominal")
    assert results["parity"] < 1e-4
    assert "did you mean `finetune`?" in stdout
    assert (folder / "runs" / "first" / "report.html").is_file()
    assert (folder / "why.png").is_file() and (folder / "exported" / "predict.py").is_file()


@pytest.mark.medium
def test_examples_of_the_pages_run(tutorial):
    """In the tutorial's folder, with the names that the pages use; those that train or start a server run elsewhere."""
    folder, _ = tutorial
    shutil.copytree(folder / "runs" / "first", folder / "runs" / "second")
    (folder / "more").rename(folder / "more_pictures")
    for name in ("picture.jpg", "a.jpg", "b.jpg", "new/a.jpg", "folder/a.jpg", "photos/a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.open(next((folder / "more_pictures" / "local").iterdir())).save(folder / name)
    main(
        [
            "predict",
            f"{folder}/runs/first",
            f"{folder}/pictures",
            "--out",
            f"{folder}/a.csv",
            "--quiet",
            "--usage",
            f"{folder}/usage.jsonl",
        ]
    )
    texts = {name: (NOTEBOOK.parent / f"{name}.md").read_text() for name in EXAMPLES}
    blocks = [block for text in texts.values() for block in re.findall(r"```python\n(.*?)```", text, re.S)]
    blocks = [block for block in blocks if "headstart.export(" not in block]  # the notebook exports
    assert len(blocks) >= len(EXAMPLES)
    stdout = run_python(EXAMPLE_DRIVER, blocks, folder)
    assert f"{len(blocks)} examples" in stdout.splitlines()
