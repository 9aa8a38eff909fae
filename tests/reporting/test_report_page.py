"""The report in a real browser: no error, nothing wider than the screen, the matrix by mouse, keyboard and link."""

import numpy as np
import pytest
from PIL import Image

import browser
import report_samples as samples
from headstart.core.types import PictureMap
from headstart.reporting.write_report import write_report

pytestmark = pytest.mark.medium
WIDE = "({page: document.documentElement.scrollWidth, screen: innerWidth})"


UNFOLD = "document.querySelectorAll('details').forEach((part) => { part.open = true; });"


@pytest.fixture
def page(small_textile, context):
    """The report on some real pictures."""
    from headstart.data.reading.read_dataset import read_dataset as read

    folder = small_textile(30)
    data = read(str(folder), ctx=context(data=folder, name="reading"))
    picture_map = PictureMap(rows=np.arange(90), places=np.random.default_rng(0).random((90, 2), np.float32))
    return write_report(samples.findings(data, test=45, picture_map=picture_map), ctx=context(data=folder))


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen_and_nothing_goes_wrong(page, tmp_path, width):
    found, errors = browser.ask(page, WIDE, tmp_path, width=width)
    assert found == {"page": width, "screen": width}
    assert errors == []


@pytest.mark.parametrize("width", [320, 390])
def test_charts_and_captions_are_whole_on_a_phone(page, tmp_path, width):
    script = f"""(() => {{
      {UNFOLD}
      const right = (part) => part.getBoundingClientRect().right;
      const boxes = [...document.querySelectorAll('.scroll')].filter((box) => box.querySelector('caption'));
      boxes.forEach((box) => {{ box.scrollLeft = 1000; }});
      return {{
        charts: [...document.querySelectorAll('svg.chart')].map((chart) => right(chart)),
        ends: boxes.map((box) => right(box.querySelector('caption'))),
        starts: boxes.map((box) => box.querySelector('caption').getBoundingClientRect().left),
        moved: boxes.filter((box) => box.scrollLeft > 0).length,
      }};
    }})()"""
    found, _ = browser.ask(page, script, tmp_path, width=width)
    assert found["moved"] >= 3  # tables that are wider than the screen
    assert len(found["charts"]) >= 3 and max(found["charts"]) <= width
    assert min(found["starts"]) >= 0 and max(found["ends"]) <= width


@pytest.mark.parametrize(("width", "least"), [(320, 280), (390, 350), (1280, 900)])
def test_tables_of_what_was_tried_need_no_side_scroll(page, tmp_path, width, least):
    labels = ["Best candidates", "All other candidates", "All heads"]
    sizes = "(box) => [box.scrollWidth, box.clientWidth, box.querySelector('tbody td').dataset.label]"
    boxes = f'{labels}.map((label) => document.querySelector(`.scroll[aria-label="${{label}}"]`))'
    found, _ = browser.ask(page, f"(() => {{ {UNFOLD} return {boxes}.map({sizes}); }})()", tmp_path, width=width)
    for holds, shows, label in found:
        assert holds <= shows and shows > least and label in ("status", "features")


def test_long_names_do_not_widen_the_page(tmp_path, context):
    from headstart.data.reading.read_dataset import read_dataset as read

    rng = np.random.default_rng(0)
    for name in ("a" * 120, "Donaudampfschifffahrtsgesellschaft " * 4, "c"):
        (tmp_path / "data" / name.strip()).mkdir(parents=True)
        for at in range(8):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(
                tmp_path / "data" / name.strip() / f"{at}{'x' * 90}.png"
            )
    data = read(str(tmp_path / "data"), ctx=context(data="data", name="reading"))
    found, _ = browser.ask(write_report(samples.findings(data, test=12), ctx=context()), WIDE, tmp_path, width=390)
    assert found == {"page": 390, "screen": 390}


def test_a_cell_opens_by_click_and_closes_by_key(page, tmp_path):
    script = """(() => {
      const seen = () => [...document.querySelectorAll('.cell')].filter((c) => c.offsetHeight).map((c) => c.id);
      const rows = [...document.querySelectorAll('.matrix tbody tr')].map((row) => [...row.querySelectorAll('a')]);
      const [link, next] = rows.find((row) => row.length > 1);
      link.click(); const opened = seen();
      document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'})); const closed = seen();
      const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
      const back = document.activeElement === link; press('ArrowRight');
      return {opened, closed, back, moved: document.activeElement === next, asked: link.hash.slice(1)};
    })()"""
    found, errors = browser.ask(page, script, tmp_path)
    assert found["opened"] == [found["asked"]] and found["closed"] == []
    assert found["back"] and found["moved"]
    assert errors == []


def test_a_link_opens_its_cell_without_the_script(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    bare = tmp_path / "bare.html"
    bare.write_text(text[: text.index("<script>")] + "</body></html>", encoding="utf-8")
    script = "[...document.querySelectorAll('.cell')].filter((c) => c.offsetHeight).map((c) => c.id)"
    assert browser.ask(bare, script, tmp_path)[0] == []
    assert browser.ask(bare, script, tmp_path, fragment="#cell-1-1")[0] == ["cell-1-1"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_stand_out_from_their_ground(page, tmp_path, dark):
    """WCAG contrast of all text that is seen, at least 4.5; grounds laid over each other are added up."""
    script = """(() => {
      const parse = (c) => { const v = c.match(/[0-9.]+/g).map(Number); return [...v.slice(0, 3), v[3] ?? 1]; };
      const linear = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
      const ground = (e) => {
        const over = [];
        for (; e; e = e.parentElement) over.unshift(parse(getComputedStyle(e).backgroundColor));
        const lay = (a, b) => [0, 1, 2].map((i) => a[i] * (1 - b[3]) + b[i] * b[3]);
        return over.reduce(lay, [255, 255, 255]);
      };
      document.querySelectorAll('details').forEach((part) => { part.open = true; });
      let worst = {ratio: 99}, seen = 0;
      for (const e of document.querySelectorAll('body *')) {
        const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        if (!own || e.closest('script, .skip') || !e.getClientRects().length) continue;
        const style = getComputedStyle(e), b = light(ground(e));
        const a = light(parse(e.closest('svg') ? style.fill : style.color));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        seen += 1;
        if (ratio < worst.ratio) worst = {ratio, tag: e.tagName, text: e.textContent.trim().slice(0, 40)};
      }
      return {worst, seen, dark: matchMedia('(prefers-color-scheme: dark)').matches};
    })()"""
    found, _ = browser.ask(page, script, tmp_path, dark=dark)
    assert found["dark"] == dark and found["seen"] > 300
    assert found["worst"]["ratio"] >= 4.5, found["worst"]


@pytest.mark.parametrize(("width", "most"), [(1280, 8_000), (390, 13_000)])
def test_it_is_not_tall(page, tmp_path, width, most):
    script = "({page: document.documentElement.scrollHeight, words: document.querySelectorAll('details').length})"
    found, _ = browser.ask(page, script, tmp_path, width=width)
    assert found["page"] < most
    assert found["words"] > 10


def test_the_first_screen_holds_result_verdicts_and_what_to_do_next(page, tmp_path):
    bottoms = "['.tiles', '#verdicts', '#next'].map((at) => document.querySelector(at).getBoundingClientRect().bottom)"
    found, _ = browser.ask(page, bottoms, tmp_path, width=1280)
    assert max(found) < 900


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_word_is_broken(page, tmp_path, width):
    script = """(() => {
      UNFOLD
      const broken = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      let seen = 0;
      while (walk.nextNode()) {
        const node = walk.currentNode, parent = node.parentElement;
        if (!parent.getClientRects().length || parent.closest('script, style, .hidden, .skip, svg')) continue;
        for (const word of node.textContent.matchAll(/[A-Za-z0-9.]{2,18}/g)) {
          const range = document.createRange();
          range.setStart(node, word.index);
          range.setEnd(node, word.index + word[0].length);
          const boxes = [...range.getClientRects()].filter((box) => box.width);
          seen += 1;
          if (new Set(boxes.map((box) => Math.round(box.top))).size > 1) broken.push(node.textContent.trim());
        }
      }
      return {broken, seen};
    })()""".replace("UNFOLD", UNFOLD)
    found, _ = browser.ask(page, script, tmp_path, width=width)
    digests = [text for text in found["broken"] if len(text) == 64]
    assert found["seen"] > 1000
    assert [text for text in found["broken"] if text not in digests] == []


def test_a_picture_of_it_can_be_taken(page, tmp_path):
    browser.screenshot(page, tmp_path / "report.png", width=1280, height=900)
    with Image.open(tmp_path / "report.png") as image:
        assert image.size == (1280, 900)
        assert image.convert("L").getextrema()[0] < 60 < 230 < image.convert("L").getextrema()[1]
