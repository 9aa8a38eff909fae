"""The worked example of the page of tables, from files to an answer and a judged model."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.cli.main import main
from headstart.core.console import Console

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "tables.md").read_text()
CLASSES = {"benign": 40, "malignant": 200}  # grey level
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the example's table and its pictures, 24 rows with its columns."""
    root = tmp_path_factory.mktemp("tables")
    (root / "pictures").mkdir()
    header, *rows = re.search(r"```text\n(.*?)```", PAGE, re.S)[1].splitlines()
    rng = np.random.default_rng(0)
    for number in range(len(rows) + 1, 25):
        rows.append(f"scan{number}.png,{list(CLASSES)[number % 2]},p{number // 2}")
    for row in rows:
        name, label, _ = row.split(",")
        values = np.clip(rng.normal(CLASSES[label], 20, (48, 48, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(values).save(root / "pictures" / name)
    (root / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


@pytest.mark.medium
def test_the_example_of_the_page_runs_to_an_answer(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    command = re.search(r"```sh\nheadstart (fit .*?)\n", PAGE)[1].split()
    assert main([*command, "--backbones", "bundled:efficientnet_lite0", "--budget", "20s", "--out", "run"]) == 0
    assert "columns: path `file`, target `diagnosis`, group `patient`" in capsys.readouterr().err
    run = headstart.load("run")
    assert run.dataset.class_names == ("benign", "malignant") and len(set(run.dataset.groups)) == 12
    assert run.dataset.root == str(place / "pictures") and run.job.images == str(place / "pictures")
    assert (place / "run" / "job.toml").read_text().count(str(place)) == 0
    assert main(["predict", "run", "pictures/scan2.png", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "malignant"
    assert main(["evaluate", "run", "labels.csv", "--images", "pictures", "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)
    assert judged["learnt_from"] > 0 and sum(map(sum, judged["confusion"])) == 24
    assert main([*command, "--backbones", "bundled:efficientnet_lite0", "--budget", "20s", "--out", "run"]) == 0
    assert "this run is finished" in capsys.readouterr().err
