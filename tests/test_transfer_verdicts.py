"""Whether pre-training pays, told end to end: `yes` to negative transfer on a set made for it, `no` on textiles.

Both sets go through the same command with the same settings: 400 pictures, 240 of them to learn from, one pass over
them. Augmentation stays off: a mirrored or shifted checkerboard is of the other phase. The table of each run is printed
(`-s` shows it).
"""

import json
import shutil
from pathlib import Path

import pytest

import headstart
from command_line import call
from negative_set import phases

pytestmark = pytest.mark.slow
COUNT = 400
RECIPE = "depths=stage3,part=all,epochs=1,batch=8,rate=2e-3,augment=0"
SETTINGS = ("--backbones", "bundled:efficientnet_lite0", "--strategy", "finetune", "--recipe", RECIPE)
SPLITS = ("--test-size", "0.4", "--folds", "2")


def fit(pictures, out):
    """Run the command line offline; return the verdicts by code and the rows of the table by name."""
    words = ["fit", pictures, *SETTINGS, *SPLITS, "--out", out, "--json"]
    stdout, _ = call(*words, timeout=1200, light=False)
    rows = {row.name: row for row in headstart.load(out).evaluation.paid}
    print(f"\n{Path(pictures).name}")
    for name, row in rows.items():
        apart = f", minus the probe {told(row.difference)}" if row.difference else ""
        print(f"{name:20}{told(accuracy(row))}{apart}")
    return {one["code"]: one["answer"] for one in json.loads(stdout)["verdicts"]}, rows


def accuracy(row):
    return next(score for score in row.scores if score.name == "accuracy")


def told(score):
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}] (n = {score.n})"


def test_where_transfer_does_not_pay_it_is_said(textile, shared_store, tmp_path):
    verdicts, rows = fit(phases(textile, tmp_path / "phases", COUNT, seed=0), tmp_path / "run")
    assert verdicts["negative_transfer"] == "yes"
    assert accuracy(rows["from random weights"]).low > accuracy(rows["frozen probe"]).high
    assert accuracy(rows["colour histogram"]).value < 0.6  # the histogram does not give the class away
    assert {accuracy(row).n for row in rows.values()} == {160}


def test_where_transfer_pays_it_is_not(textile, shared_store, tmp_path):
    for folder in sorted(p for p in textile.iterdir() if p.is_dir()):
        (tmp_path / "textile" / folder.name).mkdir(parents=True)
        for picture in sorted(folder.glob("*.jpg"))[:40]:
            shutil.copy(picture, tmp_path / "textile" / folder.name)
    verdicts, rows = fit(tmp_path / "textile", tmp_path / "run")
    assert verdicts["negative_transfer"] == "no"
    assert rows["from random weights"].n_train == rows["frozen probe"].n_train
