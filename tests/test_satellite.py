"""GeoTIFF files of five bands from the folder to the served answer and to a checked export.

rasterio's package carries no GeoTIFF: the files are written with it, with a coordinate system, nodata and real textile
pictures in their bands. The example of the page is what is run.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.api.run import Run
from headstart.testing.band_files import N_BANDS, make_bands, write_geotiff
from serving_bench import Service

pytest.importorskip("rasterio")
pytestmark = pytest.mark.medium
PAGE = Path(__file__).resolve().parent.parent / "docs" / "satellite.md"
EACH = 8  # pictures of a class


@pytest.fixture(scope="module")
def example(textile, tmp_path_factory):
    """The folder in which the page's example ran, and the names that it left."""
    folder = tmp_path_factory.mktemp("satellite")
    for column, (name, source) in enumerate({"damaged": "global", "sound": "nominal"}.items()):
        (folder / "fields" / name).mkdir(parents=True)
        for at, file in enumerate(sorted((textile / source).glob("*.jpg"))[:EACH]):
            bands = make_bands(np.asarray(Image.open(file).convert("RGB"))[:128, :128])
            bands[:, :4] = 0
            content = write_geotiff(bands, nodata=0, origin=(400_000 + 5000 * at, 5_000_000 + 1280 * column))
            (folder / "fields" / name / f"{at:02d}.tif").write_bytes(content)
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    names: dict = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(code, "satellite.md", "exec"), names)
    return folder, names


def test_tiles_that_touch_are_split_together(example):
    data = Run(example[0] / "run").dataset
    ranges = data.reading.ranges
    assert (ranges.n_bands, ranges.bands) == (N_BANDS, (3, 2, 1))
    groups = dict(zip(data.uris, data.groups, strict=True))
    assert all(groups[f"damaged/{at:02d}.tif"] == groups[f"sound/{at:02d}.tif"] for at in range(EACH))
    assert len(set(data.groups)) == EACH


def test_the_saved_model_the_service_and_the_export_answer_alike(example):
    folder, names = example
    files = [folder / "fields" / name / "03.tif" for name in ("damaged", "sound")]
    answers = headstart.predict(folder / "run", files)
    assert names["prediction"].answer in ("damaged", "sound")
    [report] = [json.loads((folder / "exported" / "export.json").read_text())]
    assert report["parity_max_abs"] < 1e-4
    with Service(f"fields={folder / 'run'}") as service:
        for file, answer in zip(files, answers, strict=True):
            reply = service.client.post("/v1/predict", files={"files": (file.name, file.read_bytes(), "image/tiff")})
            [row] = reply.json()["answers"]
            assert row["answer"] == answer.answer
            assert row["probabilities"] == pytest.approx(answer.probabilities, abs=1e-5)
        refused = service.client.post(
            "/v1/predict", files={"files": ("a.tif", write_geotiff(np.ones((2, 9, 9), "u1")))}
        )
        assert "of 2 bands, the training pictures are of 5 bands" in refused.text
        assert service.stop() == 0, service.lines[-5:]
    command = [sys.executable, "predict.py", *map(str, files)]
    out = subprocess.run(command, cwd=folder / "exported", capture_output=True, text=True, check=True).stdout
    for line, answer in zip(out.splitlines(), answers, strict=True):
        assert json.loads(line)["probabilities"] == pytest.approx(answer.probabilities, abs=1e-5)
    assert "rasterio==" in (folder / "exported" / "requirements.txt").read_text()


def test_an_explanation_shows_the_mixed_bands(example):
    folder, _ = example
    file = folder / "fields" / "damaged" / "05.tif"
    [explanation] = headstart.explain(folder / "run", [file])
    assert explanation.size == (128, 128) and explanation.picture.std() > 10
    assert explanation.picture[:3].max() <= 40  # no data is black, but for what resizing mixes
