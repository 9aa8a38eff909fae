"""The service's page in Chromium: a picture is dropped, an answer is seen; by keyboard, on a phone, light and dark."""

from dataclasses import replace

import numpy as np
import pytest

import pages
from headstart.core.types import MULTILABEL, REGRESSION, AnswerLayout, Prediction
from headstart.serving.routes.response_rows import answer_row
from headstart.uncertainty.selective_prediction import PredictionUncertainty, format_reasons
from serving_bench import GREEN, KEY, RED

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def chromium():
    with pages.opened() as started:
        yield started


def give(shown, *pictures):
    """Choose files, as a click on the field does."""
    files = [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in pictures]
    shown.locator("#files").set_input_files(files)


DROP = """([name, bytes]) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], name, { type: 'image/png' }));
  document.dispatchEvent(new DragEvent('drop', { dataTransfer: given, bubbles: true, cancelable: true }));
}"""
PASTE = """(bytes) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], 'pasted.png', { type: 'image/png' }));
  document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: given, bubbles: true }));
}"""


def test_a_dropped_and_a_pasted_picture_are_answered(chromium, service):
    with pages.page(chromium, f"{service.url}/") as shown:
        shown.get_by_text("tells 3 classes apart").wait_for()
        shown.evaluate(DROP, ["dropped.png", list(RED)])
        shown.get_by_text("1 answered.").wait_for()
        assert shown.get_by_role("heading", name="dropped.png").is_visible()
        shown.evaluate(PASTE, list(GREEN))
        shown.get_by_text("2 answered.").wait_for()
        verdicts = shown.locator(".verdict").all_inner_texts()
        assert [text.split()[0] for text in verdicts] == ["red", "green"]
        widths = shown.locator("article").first.locator(".rail span").evaluate_all("all => all.map(e => e.style.width)")
        assert float(widths[0].rstrip("%")) > 99


def test_an_answer_tells_what_it_rests_on(chromium, service):
    with pages.page(chromium, f"{service.url}/", size=pages.PHONE) as shown:
        shown.locator("#drop").wait_for()
        give(shown, ("red.png", RED))
        shown.get_by_role("button", name="Why? red.png").click()
        shown.get_by_role("heading", name="What the answer rests on").wait_for()
        assert shown.get_by_role("img", name="Heat map").evaluate("image => image.naturalWidth") > 0
        assert shown.evaluate("document.activeElement.className") == "why"
        assert pages.faults(shown) == [] and pages.overflows(shown) <= 0


def test_what_was_cleared_away_is_not_counted(chromium, service):
    with pages.page(chromium, f"{service.url}/") as shown:
        shown.locator("#drop").wait_for()
        held = []
        shown.route("**/v1/predict*", lambda route: held.append(route))
        give(shown, ("late.png", RED))
        shown.get_by_text("0 of 1 answered").wait_for()
        shown.get_by_role("button", name="Clear the answers").click()
        with shown.expect_response("**/v1/predict*") as late:
            held[0].continue_()
        late.value.finished()
        shown.unroute("**/v1/predict*")
        give(shown, ("next.png", GREEN))
        shown.get_by_text("1 answered.", exact=True).wait_for()
        assert shown.locator("article").count() == 1


def test_many_pictures_with_a_bad_one_and_clearing(chromium, service):
    with pages.page(chromium, f"{service.url}/") as shown:
        shown.locator("#drop").wait_for()
        given = [(f"{at}.png", RED) for at in range(20)]
        give(shown, *given[:10], ("notes.png", b"no picture"), *given[10:])
        shown.get_by_text("20 answered, 1 could not be read.").wait_for()
        assert shown.locator(".problem").all_inner_texts()[-1].startswith("not a picture")
        order = shown.locator("article h2").all_inner_texts()
        assert order[10] == "notes.png" and order[20] == "19.png"
        shown.get_by_role("button", name="Clear the answers").click()
        assert shown.locator("article").count() == 0


def test_it_works_by_keyboard_alone(chromium, service):
    with pages.page(chromium, f"{service.url}/") as shown:
        shown.on("filechooser", lambda _: None)  # long before the key: a chooser is only caught once the browser knows
        shown.locator("#drop").wait_for()
        focused = []
        for _ in range(3):
            shown.keyboard.press("Tab")
            focused.append(shown.evaluate("document.activeElement.id || document.activeElement.className"))
        assert focused == ["skip", "model", "files"]
        shown.locator("#files").focus()
        with shown.expect_file_chooser() as chooser:
            shown.keyboard.press("Enter")
        chooser.value.set_files([{"name": "key.png", "mimeType": "image/png", "buffer": GREEN}])
        shown.get_by_text("1 answered.").wait_for()
        shown.locator("#model").select_option("other")
        assert "“other”" in shown.locator("#about").inner_text()


def test_the_key_is_asked_for_and_kept_in_memory_alone(chromium, strict):
    with pages.page(chromium, f"{strict.url}/") as shown:
        shown.get_by_label("This service asks for a key").wait_for()
        assert pages.faults(shown) == []
        shown.keyboard.type(KEY)
        shown.keyboard.press("Enter")
        shown.locator("#drop").wait_for()
        give(shown, ("red.png", RED), ("large.png", bytes(400_000)))
        shown.get_by_text("1 answered, 1 could not be read.").wait_for()
        assert shown.get_by_text("larger than the 0.3 MB").is_visible()
        assert shown.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


@pytest.mark.parametrize(("size", "scheme"), pages.LOOKS)
def test_it_is_accessible_and_fits(chromium, service, size, scheme, tmp_path):
    with pages.page(chromium, f"{service.url}/", size=size, scheme=scheme) as shown:
        shown.locator("#drop").wait_for()
        assert pages.faults(shown) == []
        give(shown, ("a picture with a rather long name that has to be broken somewhere.png", RED), ("bad.png", b"x"))
        shown.get_by_text("1 answered, 1 could not be read.").wait_for()
        assert pages.faults(shown) == []
        assert pages.overflows(shown) <= 0
        light = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (light == "rgb(251, 250, 247)") == (scheme == "light")


def test_novelty_is_rounded_as_in_the_reasons(chromium, service):
    shares = [0.99649, 0.9966, 0.4, 0.99999, 1.0]
    strange, none = np.ones(len(shares), bool), np.zeros(len(shares), bool)
    uncertainty = PredictionUncertainty(none[:, None], np.array(shares), strange, none, none[:, None])
    reasons = [format_reasons(None, uncertainty, row, "red", 0.5)[0] for row in range(len(shares))]
    with pages.page(chromium, f"{service.url}/") as shown:
        words = shown.evaluate("(shares) => shares.map(formatNovelty)", shares)
    numbers = ["99.6 %", "99.6 %", "40.0 %", "99.9 %", "all"]
    assert [text.split(" known")[0].removesuffix(" of") for text in words] == numbers
    assert [reason.split("than ")[1].split(" known")[0].removesuffix(" of the") for reason in reasons] == numbers


SHOW = """(row) => {
  const file = new File([], "a.png"), card = makeCard(file);
  byId("answers").append(card);
  showAnswer(card, file, row);
  return card.innerText;
}"""


def test_numbers_and_labels_are_shown_as_what_they_are(chromium, service):
    number = Prediction(uri="a.png", answer="16.5", number=16.5, low=14.0, high=19.0, novelty=0.2, likeliest="angle")
    labels = Prediction(
        uri="a.png",
        answer="(none)",
        labels=(),
        likeliest="rust",
        plausible=("rust",),
        open=("rust",),
        probabilities={"rust": 0.4},
    )
    rows = [
        answer_row(number, AnswerLayout(("angle",), REGRESSION)),
        answer_row(replace(number, number=None, labels=None, unknown=True, low=None), AnswerLayout(("a",), REGRESSION)),
        answer_row(labels, AnswerLayout(("rust",), MULTILABEL)),
        answer_row(replace(labels, answer="rust", labels=("rust",)), AnswerLayout(("rust",), MULTILABEL)),
    ]
    with pages.page(chromium, f"{service.url}/") as shown:
        shown.locator("#drop").wait_for()
        texts = [shown.evaluate(SHOW, row) for row in rows]
        verdicts = [text.strip() for text in shown.locator(".verdict").all_inner_texts()]
        assert pages.faults(shown) == []
    assert verdicts == ["16.5 between 14 and 19", "unknown", "no label", "rust"]
    assert "more novel than" in texts[0] and "there or absent" in texts[2] and "40.0 %" in texts[3]
