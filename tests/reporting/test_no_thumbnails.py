"""`--no-thumbnails`: nothing that a run, its page or an export holds can be shown as a picture of the data set."""

import base64
import io
import re
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.core import job as jobs
from headstart.core.console import Console
from headstart.core.types import Explained
from headstart.explanation.explain_image import Explainer

pytestmark = pytest.mark.medium
SIGNATURES = re.compile(
    rb"\xff\xd8\xff[\xc0-\xfe]|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*|BM", re.DOTALL
)
ENCODED = re.compile(rb"[A-Za-z0-9+/\\]{120,}={0,2}")
SETTINGS = {"backbones": "bundled:efficientnet_lite0", "budget": "2m", "console": Console(quiet=True)}


@pytest.fixture(scope="module")
def runs(textile, tmp_path_factory):
    """The same fit with and without small copies of pictures."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("global", "local", "nominal"):
        (folder / "data" / name).mkdir(parents=True)
        for picture in sorted((textile / name).glob("*.jpg"))[:24]:
            shutil.copy(picture, folder / "data" / name)
    for name, without in (("with", False), ("without", True)):
        headstart.fit(folder / "data", out=folder / name, no_thumbnails=without, **SETTINGS)
    return folder


def find_pictures(folder):
    """Files in which a picture can be opened anywhere, in bytes, in base64 or in an archive's member."""
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(map(holds_picture, read_contents(path)))
    ]


def read_contents(path):
    content = path.read_bytes()
    yield content
    for text in ENCODED.findall(content.replace(b"\\/", b"/")):
        yield base64.b64decode(text[: len(text) // 4 * 4], validate=False)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from map(archive.read, archive.namelist())


def holds_picture(content):
    return any(can_be_opened(content[match.start() :]) for match in SIGNATURES.finditer(content))


def can_be_opened(content):
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")) as image:
            image.load()
    except Exception:
        return False
    return min(image.size) > 7


def holds_pixels(path):
    array = np.load(path, allow_pickle=False)
    return array.dtype == np.uint8 and array.ndim > 2


def test_the_scan_finds_pictures_where_they_are_kept(runs):
    found = find_pictures(runs / "with")
    assert "report.html" in found and "explain/thumbnails.bin" in found
    assert sum(name.startswith("explain/map") for name in found) == len(
        list((runs / "with" / "explain").glob("map*.jpg"))
    )
    assert len(find_pictures(runs / "data")) == 72


def test_a_run_without_thumbnails_holds_no_picture(runs):
    run = headstart.load(runs / "without")
    assert find_pictures(run.path) == []
    assert not any(map(holds_pixels, run.path.rglob("*.npy")))
    assert (run.path / "explain" / "thumbnails.bin").stat().st_size == 0
    assert run.job.no_thumbnails and "no_thumbnails = true" in (run.path / "job.toml").read_text()
    explained = run.find(Explained)
    assert not explained.maps and explained.kept == headstart.load(runs / "with").find(Explained).kept
    assert [s.value for s in run.scores] == [s.value for s in headstart.load(runs / "with").scores]


def test_its_page_names_the_files_and_says_why(runs):
    page = (runs / "without" / "report.html").read_text(encoding="utf-8")
    assert "<img" not in page and "cannot be read any more" not in page
    assert "Pictures are left out, as <code>--no-thumbnails</code> asks" in page
    assert "No heat maps here: no small copies of pictures are kept" in page
    assert "--no-thumbnails</code></pre>" in page or "--no-thumbnails --seed 0" in page
    assert re.search(r'class="file" title="[^"]*\.jpg"', page)
    before = page
    headstart.report(runs / "without", console=Console(quiet=True))
    assert (runs / "without" / "report.html").read_text(encoding="utf-8") == before


def test_explanations_and_exports_hold_none_either(runs, tmp_path):
    picture = next((runs / "data" / "local").iterdir())
    explanation = Explainer(runs / "without").explain(picture)
    alike = (*explanation.neighbours, *explanation.prototypes)
    assert alike and all(neighbour.thumbnail is None and neighbour.uri for neighbour in alike)
    assert all(neighbour.thumbnail for neighbour in Explainer(runs / "with").explain(picture).neighbours)
    headstart.export(runs / "without", "openvino", tmp_path / "export", console=Console(quiet=True))
    assert find_pictures(tmp_path / "export") == []


def test_the_setting_is_the_same_in_toml_and_on_the_command_line(tmp_path):
    (tmp_path / "job.toml").write_text('data = "x"\nno_thumbnails = true\n')
    assert jobs.read_job(tmp_path / "job.toml").no_thumbnails
    assert jobs.format_flag("no_thumbnails") == "--no-thumbnails"
