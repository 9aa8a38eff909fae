"""The map of the pictures: what it costs, how soon it opens, and how many neighbours a projection keeps.

    python -m benchmarks.picture_map [--counts 200 2000 20000] [--peers]

Pictures are textile pictures; beyond 2,000, crops of 128 px of them, ten of each. Each set is fitted on
EfficientNet-Lite0; then its `map.html` is opened in Chromium without a window, from the request to the first drawing
of the points, at a width of 1,280 and of 390 px. `steps` is the CPU time of the map and of the whole fit.

Neighbourhoods are of the features that the model reads: trustworthiness for 10 neighbours (Venna and Kaski 2001), on
3,000 pictures at most, and how many of the 10 nearest are among the 100 nearest on the map. With `--peers`
openTSNE and umap-learn are measured too (`pip install openTSNE==1.0.4 umap-learn==0.5.12`).
"""

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors
from tests.browser import find
from threadpoolctl import threadpool_limits

import headstart
from benchmarks.common import LITE0, context, fetch_textile, pictures
from headstart.core.console import Console
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.core.storage.files import read_json
from headstart.explanation.picture_map import project_vectors
from headstart.features.embeddings import join_columns
from headstart.features.extraction import extract_features

COUNTS, CROP_PX, CROPS, WIDTHS, BUDGET = (200, 2_000, 20_000), 128, 10, (1280, 390), "2m"
JUDGED, NEAREST, SHOWN = 3_000, 10, 100
DRAWN = "document.getElementById('map').width > 300 && performance.now()"


def write_pictures(folder: Path, count: int) -> Path:
    """So many textile pictures, or crops of them."""
    if count < 2_000:
        return pictures(folder, count)
    rng, source = np.random.default_rng(0), fetch_textile(Store(cache_folder()), Console(quiet=True))
    if count == 2_000:
        return source
    for number, path in enumerate(sorted(source.rglob("*.jpg"))[: count // CROPS]):
        picture = Image.open(path).convert("RGB")
        for crop in range(CROPS):
            left, top = (int(rng.integers(side - CROP_PX)) for side in picture.size)
            target = folder / "textile" / path.parent.name / f"{number:04}_{crop}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            picture.crop((left, top, left + CROP_PX, top + CROP_PX)).save(target, quality=80)
    return folder / "textile"


def measure_page(browser: Browser, path: Path, width: int) -> str:
    """How long a map takes to open and to answer a key, and what is wider than the window."""
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.goto(path.as_uri())
    opened_ms = page.wait_for_function(DRAWN).json_value()
    started = time.monotonic()
    page.press("#map", "Enter")
    page.press("#map", "ArrowRight")
    key_ms = (time.monotonic() - started) * 500
    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    said = page.inner_text("#said")
    page.close()
    return f"{width:>6} px: opened in {opened_ms:,.0f} ms, a key {key_ms:,.0f} ms, {wider} px wider; says {said!r}"


def list_projections(with_peers: bool) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """What puts vectors (M, D) on a plane, by name."""

    def reduce(x: np.ndarray, count: int = 50) -> np.ndarray:
        scale = np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
        return np.asarray(PCA(count, random_state=0).fit_transform((x - x.mean(axis=0)) / scale))

    projections: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "headstart": lambda x: project_vectors(x, 0),
        "two components": lambda x: reduce(x, 2),
        "scikit-learn, all": lambda x: np.asarray(TSNE(random_state=0, n_jobs=1).fit_transform(reduce(x))),
    }
    if with_peers and importlib.util.find_spec("openTSNE"):
        import openTSNE

        projections["openTSNE"] = lambda x: np.asarray(openTSNE.TSNE(n_jobs=1, random_state=0).fit(reduce(x)))
    if with_peers and importlib.util.find_spec("umap"):
        import umap

        projections["UMAP"] = lambda x: np.asarray(umap.UMAP(random_state=0, n_jobs=1).fit_transform(reduce(x)))
    return projections


def find_nearest(x: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """(R, count) the nearest others of some rows (R,) of x (M, D)."""
    nearest = NearestNeighbors(n_neighbors=count + 1).fit(x).kneighbors(x[rows], return_distance=False)
    return np.asarray(nearest[:, 1:])


def measure_projection(name: str, project: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> str:
    """CPU seconds of a projection of vectors (M, D), and the neighbours that it keeps."""
    started = time.process_time()
    with threadpool_limits(1):
        places = project(x)
    cpu_s = time.process_time() - started
    standard = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    rows = np.sort(np.random.default_rng(0).permutation(len(x))[:JUDGED])
    trust = trustworthiness(standard[rows], places[rows], n_neighbors=NEAREST)
    pairs = zip(find_nearest(standard, rows, NEAREST), find_nearest(places, rows, SHOWN), strict=True)
    share = np.mean([len(np.intersect1d(near, shown)) / NEAREST for near, shown in pairs])
    return f"    {name:<20}{cpu_s:>8.1f} s CPU{trust:>8.3f} trustworthiness{share:>8.2f} of {NEAREST} in {SHOWN}"


def measure_set(count: int, browser: Browser, projections: dict[str, Callable[[np.ndarray], np.ndarray]]) -> None:
    """Fit so many pictures, open the map, and project their vectors."""
    with tempfile.TemporaryDirectory() as scratch:
        data, out = write_pictures(Path(scratch, "data"), count), Path(scratch, "run")
        run = headstart.fit(data, out=out, backbones=LITE0, budget=BUDGET, console=Console(quiet=True))
        timings = read_json(out / "timings.json")
        steps = {name: timings[name]["cpu_s"] for name in ("map", "report")}
        total = sum(step["cpu_s"] for step in timings.values())
        page = out / "map.html"
        print(f"{count:,} pictures: {page.stat().st_size / 1e6:.1f} MB, steps {steps}, fit {total:.0f} s", flush=True)
        for width in WIDTHS:
            print(measure_page(browser, page, width), flush=True)
        rows = np.arange(len(run.dataset.uris))
        embeddings = extract_features(run.dataset, LITE0, rows, ctx=context(Path(scratch, "again")))
        x = join_columns([embeddings], run.adapted.features, rows)
        for name, project in projections.items() if count > min(COUNTS) else ():
            print(measure_projection(name, project, x), flush=True)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="pictures of each set")
    parser.add_argument("--peers", action="store_true", help="measure other libraries too")
    args = parser.parse_args()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find(), args=["--no-sandbox", "--disable-gpu"])
        for count in args.counts:
            measure_set(count, browser, list_projections(args.peers))
        browser.close()


if __name__ == "__main__":
    main()
