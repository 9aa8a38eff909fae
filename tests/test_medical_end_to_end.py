"""Real DICOM files from a folder to a served answer and a checked export, and no word of a patient on the way."""

import contextlib
import io
import itertools
import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest

import headstart
from headstart.core.model_manifest import read_manifest
from headstart.core.run.reader import RunReader
from headstart.core.types import Dataset, Splits
from headstart.images.preprocessing import decode_picture
from headstart.testing.medical_files import make_dicom, shipped_dicom
from serving_bench import Service

pytestmark = pytest.mark.medium
PLANTED = {
    "PatientName": "Zyxwvutson^Planted",
    "PatientBirthDate": "19370213",
    "PatientAddress": "Plantedstreet 7",
    "AccessionNumber": "ACC8887766",
    "ReferringPhysicianName": "Quuxman^Planted",
    "StudyDate": "20190817",
    "InstitutionName": "Plantedhospital",
    "OtherPatientIDs": "OTHER99118822",
    "StudyInstanceUID": "1.2.826.99887766.1",
}
IDENTITY = "PID5550123"
DOCS = Path(__file__).parents[1] / "docs" / "medical.md"
WORDS = (*PLANTED.values(), "Zyxwvutson", "Quuxman", IDENTITY, "Planted")
PATIENTS, PICTURES = 6, 3


def cut_scans(name):
    """For each patient a part of a real scan of its own, a little moved from file to file; bytes of files."""
    file = pydicom.dcmread(io.BytesIO(shipped_dicom(name)))
    values = file.pixel_array
    side, rows, columns = len(values) * 3 // 8, *((len(values) * 5 // 8 - 4) // np.array([1, 2]))
    for patient, number in itertools.product(range(PATIENTS), range(PICTURES)):
        top, left = rows * (patient // 3) + number, columns * (patient % 3) + number
        for word, value in PLANTED.items():
            setattr(file, word, value)
        file.PatientID = f"{IDENTITY}-{name}-{patient}"
        file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{patient + 1}.{number + 1}"
        file.Rows, file.Columns = side, side
        file.PixelData = np.ascontiguousarray(values[top : top + side, left : left + side]).tobytes()
        out = io.BytesIO()
        file.save_as(out)
        yield out.getvalue()


def list_new_files(folder, since):
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mtime >= since - 1]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the example of `docs/medical.md` can run."""
    root = tmp_path_factory.mktemp("clinic")
    for kind in ("CT_small.dcm", "MR_small.dcm"):
        folder = root / "scans" / kind[:2]
        folder.mkdir(parents=True)
        for number, content in enumerate(cut_scans(kind)):
            (folder / f"IM{number:04}").write_bytes(content)
    content = (root / "scans" / "CT" / "IM0000").read_bytes()
    (root / "scans" / "CT" / "cut.dcm").write_bytes(content[: len(content) * 2 // 3])
    (root / "scans" / "CT" / "plan.dcm").write_bytes(shipped_dicom("rtplan.dcm"))
    odd = make_dicom(np.zeros((8, 8), np.uint16), PatientID=IDENTITY, Rows=4, **PLANTED)
    (root / "scans" / "MR" / "odd.dcm").write_bytes(odd)
    (root / "new").mkdir()
    (root / "new" / "IM0003").write_bytes((root / "scans" / "MR" / "IM0003").read_bytes())
    return root


@pytest.fixture(scope="module")
def run(place):
    """The run of the example in the docs, what was said, and when it began."""
    [example] = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    began, said = time.time(), io.StringIO()
    with contextlib.chdir(place), contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        exec(compile(example, DOCS.name, "exec"), {})
    return place / "run", said.getvalue(), began


def test_pictures_are_deep_patients_are_whole_and_the_rest_is_told(run):
    path, said, _ = run
    data, splits = RunReader(path).find(Dataset), RunReader(path).find(Splits)
    assert len(data.uris) == 2 * PATIENTS * PICTURES and data.reading.ranges.precise
    reasons = {file.uri: (file.reason, file.detail) for file in data.excused}
    assert {uri: reason for uri, (reason, _) in reasons.items()} == {
        "CT/cut.dcm": "truncated",
        "CT/plan.dcm": "not_a_picture",
        "MR/odd.dcm": "unreadable",
    }
    assert len(set(data.groups)) == 2 * PATIENTS and f"{2 * PATIENTS} patients" in said
    clusters = {
        group: {splits.clusters[row] for row in np.flatnonzero(np.equal(data.groups, group))} for group in data.groups
    }
    assert all(len(labels) == 1 for labels in clusters.values()) and len(set.union(*clusters.values())) > PATIENTS
    assert "none lost" in said and re.search(r"new/IM0003 MR \{", said)


def test_nothing_of_a_patient_is_written_anywhere(run, place, monkeypatch, tmp_path, capfd):
    path, said, began = run
    monkeypatch.chdir(tmp_path)
    (row,) = headstart.predict(path, place / "scans" / "MR" / "odd.dcm", errors="rows")
    assert row.error
    from headstart.cli.main import main

    assert main(["predict", str(path), str(place / "scans" / "CT"), "--usage", "usage.jsonl"]) in (0, 1)
    assert main(["explain", str(path), str(place / "scans" / "CT" / "IM0000"), "--out", str(tmp_path / "page")]) == 0
    written = [
        file for root in (path, path.parent / "for-the-clinic", tmp_path) for file in root.rglob("*") if file.is_file()
    ]
    written += list_new_files(Path(os.environ["HEADSTART_CACHE"]), began)
    assert len(written) > 30
    texts = [(str(file), file.read_bytes()) for file in written] + [
        ("terminal", "".join([said, *capfd.readouterr()]).encode())
    ]
    assert all(word.encode() in (place / "scans" / "CT" / "IM0000").read_bytes() for word in WORDS)
    for word in WORDS:
        for name, content in texts:
            assert word.encode() not in content and word.encode("utf-16-le") not in content, f"{word} in {name}"


def test_a_served_answer_is_that_of_the_run(run, place):
    path, _, _ = run
    content = (place / "scans" / "MR" / "IM0003").read_bytes()
    (expected,) = headstart.predict(path, place / "scans" / "MR" / "IM0003")
    with Service(f"scans={path}") as service:
        [row] = service.predict(("IM0003", content)).json()["answers"]
    assert row["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    assert expected.likeliest == "MR"


def test_an_export_is_checked_on_the_scans(run, place):
    export = json.loads((place / "for-the-clinic" / "export.json").read_text())
    assert export["parity_max_abs"] < 1e-4 and export["compared"] > 5
    rules = json.loads((place / "for-the-clinic" / "model.json").read_text())["inputs"][0]["ranges"]
    assert rules["precise"] and rules["window"] == "none"
    assert f"{place}" not in (place / "for-the-clinic" / "predict.py").read_text()


def test_the_model_keeps_the_rules_of_reading(run, place):
    path, _, _ = run
    [trunk] = read_manifest(path / "model").trunks
    assert trunk.input.ranges.precise and trunk.input.ranges.window == "none"
    tensor = decode_picture((place / "scans" / "CT" / "IM0001").read_bytes(), trunk.input)
    assert tensor.dtype == np.float32 and (tensor != np.rint(tensor)).any()
