"""A table with patients, days and weights, from the files to the answer: whole patients, the newest are the test."""

import csv
import shutil

import numpy as np
import pytest

import headstart
from command_line import LITE0
from headstart.core.types import Dataset

DAYS = 20


@pytest.fixture(scope="module")
def run(shared_store, textile, tmp_path_factory):
    """Three pictures of each class a patient, one patient a day; the first has a copy of the last one's picture."""
    root = tmp_path_factory.mktemp("clinic")
    (root / "pictures").mkdir()
    with (root / "labels.csv").open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["file", "label", "patient", "day", "weight"])
        for folder in sorted(p for p in textile.iterdir() if p.is_dir()):
            for number, path in enumerate(sorted(folder.glob("*.jpg"))[: 3 * DAYS]):
                name, day = f"{folder.name}_{path.name}", number // 3 + 1
                shutil.copy(path, root / "pictures" / name)
                weight = 0.5 if number % 2 else 1.5
                rows.writerow([f"pictures/{name}", folder.name, f"p{day:02}", f"2024-05-{day:02}", weight])
        copy = root / "pictures" / "copy.jpg"
        shutil.copy(path, copy)  # of the last patient
        rows.writerow(["pictures/copy.jpg", folder.name, "p01", "2024-05-01", 1])
    columns = {"target": "label", "group": "patient", "time": "day", "weight": "weight"}
    return headstart.fit(root / "labels.csv", backbones=LITE0, out=root / "run", **columns)


@pytest.mark.medium
def test_whole_patients_are_dealt_out_the_newest_to_the_test(run):
    data, splits = run.find(Dataset), run.splits
    patients, times = np.array(data.groups), np.asarray(data.times)
    side = np.zeros(len(patients), int)
    side[splits.test] = 1
    # The copy ties the first patient to the last, who is of the test: both are judged by.
    assert set(patients[splits.test]) == {"p01", "p17", "p18", "p19", "p20"}
    for patient in np.unique(patients):
        of_patient = patients == patient
        assert len(set(side[of_patient])) == 1 and all(len(set(fold[of_patient])) == 1 for fold in splits.folds)
    assert times[splits.train].max() < np.sort(np.unique(times))[16]
    assert "20 groups kept whole, 1 of them joined to another by near-duplicates" in splits.why
    assert "the newest 46 of 181 pictures, of 2024-05-01 to 2024-05-20, for the test" in splits.why


@pytest.mark.medium
def test_weights_reach_the_heads_and_the_page_tells_of_groups(run):
    assert np.isclose(np.mean(run.find(Dataset).weights), 1)
    tried = {row.head for row in run.adapted.tried}
    assert "logistic" in tried and "knn" not in tried
    assert "Groups and near-duplicates that stay together" in (run.path / "report.html").read_text()
    assert "are of a group with an earlier one or look like it" in (run.path / "README.md").read_text()
