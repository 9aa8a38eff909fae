"""The studio driven as a person does: from a folder to a report, a picture and an export, without a command line."""

import threading
from pathlib import Path

import pytest

import pages
from headstart.core.run.reader import RunReader
from headstart.studio import access_control, app, state

LITE0 = "bundled:efficientnet_lite0"
pytestmark = pytest.mark.medium


class Serving:
    """The studio in a thread of this process, on a port of its own; its children are processes."""

    def __init__(self, runs, root):
        import uvicorn

        self.own, self.door, token = state.open_studio(runs, root), app.bind_loopback(0), "a-token-of-this-test"
        port = self.door.getsockname()[1]
        self.base, self.url = f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/?token={token}"
        entrance, code = access_control.write_entrance_file(self.own.home, port)
        self.entrance = entrance.as_uri()
        application = app.make_application(self.own, token=token, port=port, code=code)
        config = uvicorn.Config(application, log_level="error", timeout_graceful_shutdown=1, ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: self._server.run(sockets=[self.door]))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join()
        self.door.close()


@pytest.fixture(scope="module")
def folder(textile, tmp_path_factory):
    """Sixteen pictures of each of two classes."""
    import shutil

    made = tmp_path_factory.mktemp("studio")
    for name in ("global", "nominal"):
        (made / "cloth" / name).mkdir(parents=True)
        for picture in sorted((textile / name).glob("*.jpg"))[:16]:
            shutil.copy(picture, made / "cloth" / name)
    (made / "cloth" / "global" / "notes.txt").write_text("no picture")
    return made


@pytest.fixture(scope="module")
def serving(folder):
    with Serving(folder / "runs", folder) as started:
        yield started


@pytest.fixture(scope="module")
def chromium():
    with pages.opened() as started:
        yield started


@pytest.fixture(scope="module")
def fitted(serving, chromium, folder):
    """A run that was made by clicks; what was seen on the way."""
    seen = {}
    with pages.page(chromium, serving.url) as page:
        page.get_by_text("No runs yet").wait_for()
        page.get_by_role("main").get_by_role("link", name="New run").click()
        page.get_by_role("button", name="cloth").click()
        page.get_by_text("2 sub-folders with 32 pictures: each would be a class.").wait_for()
        page.get_by_role("button", name="Check the pictures").click()
        page.get_by_role("heading", name="32 pictures in 2 classes").wait_for()
        page.locator("summary", has_text="1 file left out").wait_for()
        page.get_by_text("What to do: repair these files or take them away").wait_for()
        page.get_by_role("heading", name="Learn from them").wait_for()
        page.locator(".classes img").nth(9).wait_for()
        page.get_by_text("1 minute").click()
        page.get_by_text("More settings").click()
        page.get_by_label("backbones", exact=True).fill(LITE0)
        shown = page.locator(".command code", has_text=f"--backbones {LITE0}")
        shown.wait_for()
        seen["command"] = shown.inner_text()
        page.get_by_role("button", name="Start learning").click()
        page.locator(".steps li.now").wait_for()
        page.locator(".steps .said").first.wait_for()
        seen["live"] = page.locator(".pill").first.inner_text()
        page.get_by_role("link", name="Read the report").wait_for(timeout=120_000)
        seen["tiles"] = page.locator(".tile .range").all_inner_texts()
        seen["ranking"] = page.locator(".ranking tbody th").all_inner_texts()
    return seen


def test_the_file_that_a_browser_is_pointed_to_leads_in_once(serving, chromium):
    for expected in ("headstart", "This page needs its key"):
        with chromium.new_context() as context:
            shown = context.new_page()
            shown.goto(serving.entrance)
            shown.wait_for_url(lambda address: address.startswith(serving.base))
            shown.get_by_role("heading", name=expected).or_(shown.get_by_role("link", name=expected)).first.wait_for(
                timeout=90_000
            )
            assert "token" not in shown.url or expected != "headstart"


def test_from_a_folder_to_a_result_by_clicks(fitted, folder, serving):
    run = folder / "runs" / "cloth"
    assert (
        fitted["command"]
        == f"headstart fit {folder / 'cloth'} --budget 1m --backbones {LITE0} --strategy probe --out {run}"
    )
    assert fitted["live"] in ("At work", "Finished")
    assert all("95 % interval" in text and "n = " in text for text in fitted["tiles"]) and len(fitted["tiles"]) == 3
    assert f"{LITE0}@last" in fitted["ranking"] and "colour histogram" in fitted["ranking"]
    assert (run / "report.html").is_file() and 'budget = "1m"' in (run / "job.toml").read_text()
    task = serving.own.tasks.list_tasks("runs/cloth")[0]
    assert f"headstart {' '.join(task.words)}" == fitted["command"]


def test_its_report_is_reached_and_cannot_reach_the_studio(fitted, serving, chromium):
    with pages.page(chromium, serving.url) as page:
        page.get_by_role("link", name="cloth").click()
        page.get_by_role("link", name="Report", exact=True).click()
        inside = page.frame_locator("iframe.report")
        inside.get_by_role("heading", level=1).wait_for()
        frame = next(one for one in page.frames if one.url.endswith("/runs/cloth/report"))
        assert frame.evaluate("origin") == "null"
        inside.get_by_text("Open the tab Map").wait_for()  # a link would lead nowhere from here
        page.get_by_role("link", name="Map", exact=True).click()
        board = page.frame_locator("iframe.report").get_by_role("application", name="Map of 32 pictures")
        board.press("Enter")
        page.frame_locator("iframe.report").locator("#card").get_by_text("label: ").wait_for()


def test_a_picture_is_tried_and_its_command_is_shown(fitted, serving, chromium, folder):
    with pages.page(chromium, serving.url) as page:
        page.goto(f"{serving.base}#/run/cloth/try")
        page.locator("input[type=file]").set_input_files(sorted((folder / "cloth" / "nominal").glob("*.jpg"))[0])
        page.locator(".try h2").wait_for(timeout=60_000)
        assert page.locator(".try h2").inner_text() in ("global", "nominal", "I do not know")
        assert page.locator(".bars li").count() == 2
        assert page.locator(".try .command code").first.inner_text().startswith("headstart predict ")
        page.evaluate("Promise.all([...document.querySelectorAll('.try img')].map((one) => one.decode()))")
        page.locator("input[type=file]").set_input_files(folder / "cloth" / "global" / "notes.txt")
        page.get_by_text("notes.txt: not a picture: the content is none of").wait_for(timeout=60_000)
        assert page.get_by_text("could be read").count() == 0
        assert pages.faults(page) == []


@pytest.mark.parametrize(("size", "scheme"), pages.LOOKS, ids=lambda value: str(value))
def test_every_view_is_accessible_and_fits_its_window(fitted, serving, chromium, size, scheme):
    views = {"#/": ".runs", "#/new": ".folders", "#/check/cloth": "#findings", "#/run/cloth": ".tiles"}
    views |= {"#/run/cloth/export": "form", "#/run/cloth/log": ".log span"}
    with pages.page(chromium, serving.url, size=size, scheme=scheme) as page:
        for view, ready in views.items():
            page.goto(f"{serving.base}{view}")
            page.locator(ready).first.wait_for()
            assert pages.overflows(page) == 0, view
            assert pages.faults(page) == [], view


def test_by_keyboard(fitted, serving, chromium):
    with pages.page(chromium, serving.url) as page:
        page.locator(".runs").wait_for()
        page.keyboard.press("Tab")
        for _ in range(12):
            if page.evaluate("document.activeElement.className") == "title":
                break
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.locator(".tiles").wait_for()
        assert page.evaluate("document.activeElement.id") == "main"
        assert page.title() == "cloth · headstart studio"


def test_a_table_of_labels_is_checked_and_offered_for_a_fit(serving, chromium, folder):
    pictures = sorted((folder / "cloth").rglob("*.jpg"))
    rows = "".join(f"{path.parent.name}/{path.name},{path.parent.name},{at}\n" for at, path in enumerate(pictures))
    (folder / "cloth.csv").write_text(f"file,label,kind\n{rows}")
    with pages.page(chromium, serving.url) as page:
        page.goto(f"{serving.base}#/new")
        page.get_by_role("button", name="cloth.csv").click()
        page.get_by_label("images", exact=True).fill("cloth")
        page.get_by_label("target", exact=True).fill("label")
        assert pages.faults(page) == [] and pages.overflows(page) <= 0
        page.get_by_role("button", name="Check the pictures").click()
        page.get_by_role("heading", name="32 pictures in 2 classes").wait_for(timeout=60_000)
        page.locator(".classes img").nth(9).wait_for()
        look = "(one) => { one.loading = 'eager'; return one.decode(); }"  # fails for one that cannot be shown
        page.evaluate(f"Promise.all([...document.querySelectorAll('.classes img')].map({look}))")
        shown = page.locator(".command code", has_text="headstart fit")
        shown.wait_for()
        assert (
            f"cloth.csv --budget 5m --strategy probe --images {folder / 'cloth'} --target label" in shown.inner_text()
        )


def test_a_dropped_folder_is_copied_and_checked(serving, chromium, folder):
    with pages.page(chromium, serving.url) as page:
        page.goto(f"{serving.base}#/new")
        page.locator("input[webkitdirectory]").set_input_files(folder / "cloth")
        page.get_by_role("heading", name="32 pictures in 2 classes").wait_for(timeout=60_000)
        assert "/.studio/uploads/" in page.locator(".under").inner_text()


def test_numbers_and_labels_are_told_in_words(serving, chromium):
    rows = [
        {"answer": 0, "low": -2.5, "high": 2.5, "reasons": []},
        {"answer": None, "low": None, "high": None, "reasons": ["it looks less like …"]},
        {"answer": "(none)", "labels": [], "open": ["rust"], "likeliest": "rust", "probabilities": {"rust": 0.4}},
        {"answer": "crack|rust", "labels": ["crack", "rust"], "open": [], "probabilities": {"rust": 0.9, "crack": 0.8}},
        {"answer": "a", "likeliest": "a", "confidence": 0.9, "plausible": ["a", "b"], "probabilities": {"a": 0.9}},
    ]
    told = """async (rows) => {
      const { describeAnswer } = await import("./static/studio-try.js");
      return rows.map((row) => Object.values(describeAnswer(row)).join(": "));
    }"""
    with pages.page(chromium, serving.url) as page:
        assert page.evaluate(told, rows) == [
            "0: Between -2.5 and 2.5.",
            "I do not know: It looks unlike what was learnt.",
            "None of the labels: May be there or absent: rust.",
            "crack, rust: ",
            "a: 90 % sure. Could also be b.",
        ]


def test_pictures_are_labelled_by_keys_and_learnt_from(fitted, serving, chromium, folder, textile):
    import shutil

    (folder / "new").mkdir()
    for picture in sorted((textile / "local").glob("*.jpg"))[:4]:
        shutil.copy(picture, folder / "new")
    table = folder / "runs" / ".studio" / "labels" / "cloth" / "next.csv"
    with pages.page(chromium, serving.url) as page:
        page.goto(f"{serving.base}#/run/cloth/label")
        page.get_by_label("Folder, archive or table of pictures without labels").fill("new")
        page.get_by_role("button", name="Choose pictures").click()
        page.locator(".labelling").wait_for(timeout=60_000)
        page.locator(".labelling img").evaluate("(image) => image.decode()")
        page.locator(".labelling:focus").wait_for()
        names = [row.split(",")[0] for row in table.read_text().splitlines()[1:]]
        for key in ("2", "s", "n"):
            page.keyboard.press(key)
        page.keyboard.type("local")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="local").wait_for()
        page.keyboard.press("3")
        page.get_by_text("4 of 4, 3 labelled. Labelled: local").wait_for()
        page.keyboard.press("u")
        page.get_by_text("4 of 4, 2 labelled. No label yet").wait_for()
        page.get_by_text("2 new labels in").wait_for()
        command = page.locator(".command code").inner_text()
        assert command == f"headstart suggest {folder / 'runs' / 'cloth'} {folder / 'new'} -n 50"
    with pages.page(chromium, serving.url, size=pages.PHONE, scheme="dark") as page:
        page.goto(f"{serving.base}#/run/cloth/label")
        page.locator(".labelling:focus").wait_for()
        page.get_by_text("2 of 4, 2 labelled. No label yet").wait_for()  # it goes on where it was
        assert pages.faults(page) == [] and pages.overflows(page) == 0
        page.get_by_role("button", name="local").click()
        page.get_by_text("4 of 4, 3 labelled").wait_for()
        page.get_by_role("button", name="Fit again").click()
        page.get_by_role("heading", name="cloth-2").wait_for()
        assert [row.rsplit(",", 1)[1] for row in table.read_text().splitlines()[1:]] == [
            "nominal",
            "local",
            "local",
            "",
        ]
        page.locator(".steps .said", has_text="cross-validation").wait_for(timeout=60_000)
        page.get_by_role("button", name="Stop").click()
        page.locator(".pill", has_text="Stopped").wait_for(timeout=60_000)
    second = RunReader(folder / "runs" / "cloth-2")
    learnt = {Path(second.dataset.uris[row]).name for row in second.splits.train}
    assert {Path(name).name for name in names[:3]} <= learnt and second.dataset.class_names[1] == "local"
