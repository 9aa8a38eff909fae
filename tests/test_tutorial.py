"""The tutorial is a sound notebook without outputs, and all of its cells run, in order, in one fresh process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.medium
def test_every_cell_of_the_notebook_runs(tmp_path, shared_store):
    sources = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    child = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg"},
        timeout=600,
    )
    assert child.returncode == 0, child.stderr
    assert f"cell {len(sources) - 1}" in child.stdout.splitlines()
    results = json.loads(child.stdout.splitlines()[-1])
    assert results["finished"] and results["picture_count"] == 240
    (judged,) = results["judged"]
    assert judged["n"] == 120 and judged["low"] > 1 / 3  # better than one class for all
    assert results["accuracy"][0] > 1 / 3 and results["cross_validated"] > 1 / 3
    *_, stranger = results["answers"]
    assert len(results["answers"]) == 7 and stranger == "unknown"
    assert results["explained"] in ("global", "local", "nominal")
    assert results["parity"] < 1e-4
    assert "did you mean `finetune`?" in child.stdout
    assert (tmp_path / "runs" / "first" / "report.html").is_file()
    assert (tmp_path / "why.png").is_file() and (tmp_path / "exported" / "predict.py").is_file()
