"""The report as text: what it tells, what it must never hold, and that the same findings give the same bytes."""

import dataclasses
import itertools
import re
import shutil
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import report_samples as samples
from headstart.core.errors import DataError
from headstart.core.storage import serialization
from headstart.core.types import Explained, Finding, MapRow, Outcome, Verdict
from headstart.evaluation.curve_forecast import format_more, list_forecasts, list_targets
from headstart.reporting import formatting
from headstart.reporting.sections import next_steps
from headstart.reporting.write_report import format_page, write_report

NO_LABEL_IS_WRONG = "No label is contradicted beyond what the model's own mistakes explain."
VOID = {"wbr", "meta", "img", "br", "link", "rect", "path", "use", "input", "hr"}


class Page(HTMLParser):
    """Headings, tables, pictures and names of a page; closing tags must fit."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.ids, self.links, self.images, self.cells = [], [], [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        if tag == "img":
            self.images.append(given)
        if tag == "th":
            self.cells.append(given)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append([int(tag[1]), ""])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            self.headings[-1][1] += data


@pytest.fixture
def dataset(tmp_path, context):
    """A function that reads a folder of small real-looking pictures: `dataset({"class": count})`."""
    from headstart.data.reading.read_dataset import read_dataset as read

    def make(classes):
        rng = np.random.default_rng(0)
        for name, count in classes.items():
            folder = tmp_path / "data" / name
            folder.mkdir(parents=True)
            for at in range(count):
                Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(folder / f"{at}.png")
        return read(str(tmp_path / "data"), ctx=context(data=tmp_path / "data", name="reading"))

    return make


@pytest.fixture
def three(dataset):
    return dataset({"global": 20, "local": 20, "nominal": 40})


def test_all_parts_are_there_in_order(three):
    page = Page(format_page(samples.findings(three, test=24)))
    assert [text for level, text in page.headings if level == 2] == [
        "The result",
        "What it means",
        "What to do next",
        "What was tried, and what it costs",
        "Right and wrong",
        "Mistakes and label suspects",
        "Class by class",
        "How sure is it",
        "The pictures",
        "Use the model",
        "Where it comes from",
        "Words used here",
    ]
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_every_link_leads_somewhere_and_names_are_unique(three):
    page = Page(format_page(samples.findings(three, test=24)))
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)


def test_pictures_have_words_and_headers_a_scope(three):
    page = Page(format_page(samples.findings(three, test=24)))
    assert page.images and all(image["alt"] for image in page.images)
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.images)
    assert all("scope" in cell for cell in page.cells)


def test_nothing_points_outside_and_no_path_of_the_machine_is_told(three, tmp_path):
    text = format_page(samples.findings(three, test=24))
    assert not re.search(
        r"https?:|//[a-z]|@import|url\((?!#)", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text).replace(" // ", "")
    )
    assert "default-src 'none'" in text
    assert str(tmp_path) not in text
    assert "/somewhere/private" not in text
    assert "headstart fit textile --seed 0" in text


def test_the_script_is_the_one_that_the_policy_allows(three):
    import base64
    import hashlib

    text = format_page(samples.findings(three, test=24))
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in text


def test_the_same_findings_give_the_same_bytes(three):
    assert format_page(samples.findings(three, test=24)) == format_page(samples.findings(three, test=24))


def test_every_score_is_shown_with_interval_and_n(three):
    given = samples.findings(three, test=24)
    text = format_page(given)
    shown = set(
        re.findall(r"<b>([^<]*)</b> (?:<span class=\"ci\">\[([^\]]*)\]</span> )?<span class=\"n\">n = ([0-9,]+)<", text)
    )
    rows = given.ranking.rows
    scores = [s for s in given.evaluation.scores if not s.subject or s.split == "test"]
    shown_names = (given.ranking.metric, "balanced_accuracy")
    scores += [s for row in rows for s in row.scores if s.name in shown_names]
    scores += [s for row in given.adapted.tried for s in row.scores]
    scores += [point.score for point in given.adapted.curve]
    for s in scores:
        ends = f"{formatting.format_number(s.low)}, {formatting.format_number(s.high)}" if np.isfinite(s.value) else ""
        assert (formatting.format_number(s.value), ends, f"{s.n:,}") in shown, s
    assert len(re.findall(r'class="score"', text)) == len(re.findall(r'<span class="n">n = ', text))


def test_the_curve_is_carried_on_with_what_the_next_score_takes(three):
    given = samples.findings(three, test=24)
    text, curve = format_page(given), given.adapted.curve
    for size, band in list_forecasts(curve, 3).items():
        ends = f"[{formatting.format_number(band.low)}, {formatting.format_number(band.high)}]"
        row = f'{size:,}, expected</td><td>{formatting.format_number(band.value)} <span class="ci">{ends}'
        assert row in text
    for target, more in list_targets(curve, len(given.adapted.train_probabilities), 3).items():
        assert f'<td class="num">{target:.2f}</td><td>{format_more(more)}</td>' in text
    assert "and what is expected of more; the tables below have the numbers" in text
    short = dataclasses.replace(given, adapted=dataclasses.replace(given.adapted, curve=curve[:2]))
    assert "What more would bring cannot be said below 20 pictures a class." in format_page(short)
    assert "expected</td>" not in format_page(short)


def test_the_headline_is_the_test_accuracy_of_never_seen_pictures(three):
    given = samples.findings(three, test=24)
    accuracy = next(s for s in given.evaluation.scores if (s.split, s.name, s.subject) == ("test", "accuracy", ""))
    assert (
        f"{formatting.format_percent(accuracy.value)} of 24 pictures it had never seen are answered rightly</h1>"
        in format_page(given)
    )


def test_without_a_test_split_it_speaks_of_held_out_pictures(three):
    text = format_page(samples.findings(three, test=0))
    assert re.search(r"<h1>[0-9.]+\u00a0% of 80 pictures, each held out in turn, are answered rightly", text)
    assert "pictures it had never seen" not in text


def test_pictures_like_those_of_another_split_are_not_called_unseen(three):
    given = samples.findings(three, test=24)
    pairs = np.stack([given.splits.train[:5], given.splits.test[:5]], axis=1)
    text = format_page(dataclasses.replace(given, splits=dataclasses.replace(given.splits, straddling=pairs)))
    assert re.search(r"<h1>[0-9.]+\u00a0% of 24 pictures, 5 of which look like a picture of another split, are", text)
    assert "pictures it had never seen" not in text


def test_nested_and_plain_cross_validation_are_told_apart(three):
    given = samples.findings(three, test=0)
    text = format_page(given)
    assert "are answered rightly (optimistic: the same folds chose the model)</h1>" in text
    assert "there are no nested scores" in text
    text = format_page(dataclasses.replace(given, evaluation=dataclasses.replace(given.evaluation, nested=True)))
    assert "What is told of this model comes from nested cross-validation" in text
    assert "Rows are what the 80 pictures (nested cross-validation) are" in text
    assert "optimistic" not in text
    assert "from nested cross-validation" not in format_page(samples.findings(three, test=24))


def _shown(text, name):
    """The score in the result's small table beside `name`."""
    row = re.search(rf'<table class="decision">.*?<th scope="row">{name}</th><td>(.*?)</td>', text, re.DOTALL)[1]
    return re.sub("<[^>]*>", "", row)


def test_a_threshold_is_told_with_precision_and_recall_of_its_class(three):
    given = samples.findings(three, test=24)
    job = dataclasses.replace(given.job, positive="local")
    found = dataclasses.replace(given.evaluation, threshold=0.312)
    text = format_page(dataclasses.replace(given, job=job, evaluation=found))
    assert "wherever its probability reaches 0.312" in text
    for name in ("precision", "recall"):
        own = next(s for s in found.scores if (s.split, s.subject, s.name) == ("test", "local", name))
        value, low, high = map(formatting.format_number, (own.value, own.low, own.high))
        told = f"{value} [{low}, {high}] n = {own.n}"
        assert _shown(text, f"{name} of <code>local</code>") == told
    assert 'class="decision"' not in format_page(given)


def _section(text, name):
    """A section without its tags."""
    return re.sub("<[^>]*>", "", re.search(rf'<section id="{name}".*?</section>', text, re.DOTALL)[0])


def test_costs_are_told_beside_those_of_the_cheapest_answer(three):
    given = samples.findings(three, test=24)
    cost = samples.sc("test", "mean_cost", 0.5, 24, 0.1, method="t")
    baseline = dataclasses.replace(cost, value=0.8, low=0.6, high=1.0, subject="always answering nominal")
    scores, others = (*given.evaluation.scores, cost), (*given.evaluation.baselines, baseline)
    found = dataclasses.replace(given.evaluation, scores=scores, baselines=others)
    costs = np.array([[0, 1, 3], [1, 0, 3], [1, 1, 0.0]])
    job = dataclasses.replace(given.job, costs="costs.csv")
    text = format_page(dataclasses.replace(given, job=job, costs=costs, evaluation=found))
    assert _shown(text, "this model") == "0.500 [0.400, 0.600] n = 24"
    assert _shown(text, "always answering <code>nominal</code>") == "0.800 [0.600, 1.000] n = 24"
    assert "always answering nominal" not in text  # nor among the baselines, whose columns it lacks


def test_a_doubtful_picture_that_lies_in_two_classes_says_so(three):
    given = samples.findings(three, test=24)
    row = int(given.evaluation.suspects[0])
    other = next(r for r in range(80) if three.targets[r] != three.targets[row])
    twins = Outcome(code="D102", name="two labels", status="issue", why="1 pair", links=((other, row),))
    audits = (dataclasses.replace(given.audits[0], outcomes=(twins,)),)
    name = three.class_names[int(three.targets[other])]
    told = f"also in class <b>{name}</b> (D102)"
    assert told in format_page(dataclasses.replace(given, audits=audits))
    assert "(D102)" not in format_page(given)


def test_suspects_are_shown_with_what_made_them_suspects(three):
    given = samples.findings(three, test=24)
    row = int(given.adapted.cv_rows[0])  # whatever these folds say of it
    rival = (int(three.targets[row]) + 1) % 3
    found = dataclasses.replace(
        given.evaluation, suspects=np.array([row]), rival_classes=(rival,), rival_probabilities=(0.87,)
    )
    text = format_page(dataclasses.replace(given, evaluation=found))
    label, seems = (three.class_names[at] for at in (int(three.targets[row]), rival))
    assert f"<span>label <b>{label}</b></span><span>seems <b>{seems}</b> 0.87</span>" in text
    of_older_run = dataclasses.replace(found, rival_classes=(), rival_probabilities=())
    text = format_page(dataclasses.replace(given, evaluation=of_older_run))
    assert "<span>seems" not in text and NO_LABEL_IS_WRONG not in text
    none = dataclasses.replace(found, suspects=np.empty(0, np.int64), rival_classes=(), rival_probabilities=())
    assert NO_LABEL_IS_WRONG in format_page(dataclasses.replace(given, evaluation=none))


def test_one_trunk_is_drawn_by_depth_and_the_key_holds_what_is_there(three):
    given = samples.findings(three, test=24)
    one = tuple(r for r in given.ranking.rows if r.backbone == "bundled:efficientnet_lite2")
    text = format_page(dataclasses.replace(given, ranking=dataclasses.replace(given.ranking, rows=one)))
    assert "Balanced accuracy by depth of 4 candidates" in text and "right is deeper" in text
    assert [c for c in ("chosen", "tied", "beaten", "control", "screened") if f'class="k {c}"' in text] == [
        "chosen",
        "tied",
        "beaten",
    ]


def test_five_candidates_are_seen_and_controls_are_behind_a_click(three):
    given = samples.findings(three, test=24)
    text = format_page(given)
    best = text[text.index('aria-label="Best candidates"') : text.index('aria-label="All other candidates"')]
    folded = text[text.index('aria-label="All other candidates"') :]
    assert best.count('<th scope="row"') == 5 and "control" not in re.findall(r'class="status">([^<]*)', best)
    assert "<summary>5 controls, 11 beaten and" not in text and "<summary>5 controls and 11 beaten</summary>" in text
    assert folded[: folded.index("</table>")].count('<th scope="row"') == len(given.ranking.rows) - 5
    few = dataclasses.replace(given.ranking, rows=given.ranking.rows[:4])
    assert "All other candidates" not in format_page(dataclasses.replace(given, ranking=few))


def test_what_to_do_next_follows_from_what_was_found(three):
    given = samples.findings(three, test=24)
    steps = next_steps.list_next_steps(given)
    assert [step.section for step in steps] == ["audit", "mistakes", "", "", "use"]
    assert "exact duplicates" in steps[0].sentence and "label" in steps[1].sentence
    assert steps[2].sentence == "Collect more pictures, drawn as these were: they would help"
    uneven = Verdict(code="uneven_classes", answer="yes", sentence="of 9 pictures of `a` 2 are found")
    lagging = dataclasses.replace(given.evaluation, verdicts=(*given.evaluation.verdicts, uneven))
    step = next_steps.list_next_steps(dataclasses.replace(given, evaluation=lagging))[2]
    recalls = {s.subject: s.value for s in given.evaluation.scores if s.name == "recall" and s.split == "test"}
    assert step.section == "classes" and f"above all of `{min(recalls, key=recalls.get)}`" in step.sentence
    commands = [step.command for step in steps]  # the names of run and pictures may be the same word
    assert commands[3:] == ["headstart fit DATA --strategy auto --budget 10m", "headstart predict RUN FOLDER"]
    assert "RUN is the folder of this page, DATA that of its pictures" in format_page(given)
    verdicts = tuple(v for v in given.evaluation.verdicts if v.code != "enough_data")
    calm = dataclasses.replace(given.evaluation, verdicts=verdicts, suspects=np.empty(0, np.int64))
    quiet = next_steps.list_next_steps(dataclasses.replace(given, evaluation=calm, audits=()))
    assert [step.section for step in quiet] == ["", "use"]
    few_wrong = dataclasses.replace(calm, suspects=given.evaluation.suspects, wrong_labels=(0.2, 0.0, 2.0))
    assert all(
        step.section != "mistakes"
        for step in next_steps.list_next_steps(dataclasses.replace(given, evaluation=few_wrong))
    )
    assert next_steps.list_next_steps(dataclasses.replace(given, evaluation=None)) == []


def test_a_picture_that_the_final_model_answers_otherwise_is_not_called_wrong(three):
    given = samples.findings(three, test=24)
    row = int(given.evaluation.rows[0])
    truth = three.class_names[three.targets[row]]
    maps = [
        MapRow(
            row=row,
            group=group,
            answer=answer,
            class_name=truth,
            confidence=0.5,
            file="map0.jpg",
            neighbours=(),
            similarities=(),
        )
        for group, answer in (
            ("wrong, least sure", truth),
            ("right, most sure", truth),
            ("right, least sure", "unknown"),
        )
    ]
    explained = Explained(method="cam", why="", kept=0, bytes=0, prototypes={}, maps=tuple(maps))
    text = format_page(dataclasses.replace(given, explained=explained, overlays={"map0.jpg": b"jpeg"}))
    headings = re.findall(r'<article class="look">\s*<h3>(.*?)</h3>', text)
    assert headings == [
        "wrong, least sure while held out, now right",
        "right, most sure",
        "right, least sure, and declined",
    ]


def test_names_are_shown_and_never_run(dataset, tmp_path):
    bad = "<script>alert(1)<&script>"
    three = dataset({bad: 10, '"onerror="x': 10, "new\nline": 10})
    wrong = Finding(code="D1", severity="warning", sentence=f"about `{bad}`", uris=(bad,), rows=(0,), fix=bad)
    audits = samples.audits(three)
    audits = (
        dataclasses.replace(
            audits[0], outcomes=(Outcome(code="D1", name=bad, status="issue", why=bad, findings=(wrong,)),)
        ),
    )
    odd = dataclasses.replace(
        three, name=bad, excused=(dataclasses.replace(samples.excused(1)[0], uri="caf\udce9.jpg", detail=bad),)
    )
    text = format_page(samples.findings(odd, test=9, audits=audits, run_name=bad))
    assert text.count("<script") == 1
    assert "&lt;script&gt;alert(1)&lt;&amp;script&gt;" in text
    assert 'onerror="x' not in text.replace("&#34;", "")
    assert "new\\nline" in text
    assert "caf\\udce9.jpg" in text
    Page(text)


def test_two_classes(dataset):
    page = Page(format_page(samples.findings(dataset({"no": 20, "yes": 20}), test=20)))
    assert "cell-0-0" in page.ids and "cell-1-1" in page.ids


@pytest.mark.medium
def test_a_hundred_classes_get_pairs_instead_of_a_grid(dataset):
    many = dataset({f"class {at:03d}": 5 for at in range(100)})
    given = samples.findings(many, test=200)
    text = format_page(given)
    page = Page(text)
    assert 'class="matrix' not in text
    pairs = [name for name in page.ids if name.startswith("cell-")]
    assert 10 < len(pairs) <= 30
    worst = np.argwhere(
        given.evaluation.confusion * (1 - np.eye(100, dtype=int))
        == given.evaluation.confusion[~np.eye(100, dtype=bool)].max()
    )
    assert any(f"cell-{t}-{a}" in pairs for t, a in worst)
    assert len(text) < 3_000_000


def test_the_cells_hold_at_most_twelve_and_count_the_rest(three):
    given = samples.findings(three, test=60)
    text = format_page(given)
    for truth, answer in np.argwhere(given.evaluation.confusion > 12):
        cell = re.search(rf'id="cell-{truth}-{answer}".*?</div>\n', text, re.DOTALL)[0]
        assert cell.count("<img") == 12
        rest = int(given.evaluation.confusion[truth, answer]) - 12
        assert re.search(rf'id="cell-{truth}-{answer}".*?and {rest} pictures? more', text, re.DOTALL)


def test_a_picture_that_is_gone_says_so(three, tmp_path):
    for path in (tmp_path / "data").rglob("*.png"):
        path.unlink()
    text = format_page(samples.findings(three, test=24))
    assert "<img" not in text
    assert "the file cannot be read any more" in text


def test_all_excused_files_are_listed(three):
    text = format_page(samples.findings(dataclasses.replace(three, excused=samples.excused(200)), test=24))
    assert len(set(re.findall(r"<code>(nominal/file_\d+\.jpg)</code>", text))) == 200


def test_costs_move_pictures_to_the_cell_of_their_answer(three):
    given = samples.findings(three, test=24)
    costs = np.array([[0, 1, 1], [1, 0, 1], [99, 99, 0.0]])
    answers = np.argmin(given.evaluation.probabilities @ costs, axis=1)
    from headstart.statistics.metrics import confusion_matrix

    table = confusion_matrix(np.asarray(three.targets)[given.evaluation.rows], answers, 3)
    moved = dataclasses.replace(given, costs=costs, evaluation=dataclasses.replace(given.evaluation, confusion=table))
    text = format_page(moved)
    for truth, answer in np.argwhere(table > 0):
        title = re.search(rf'id="cell-{truth}-{answer}".*?</p>', text, re.DOTALL)[0]
        assert f"· {formatting.format_plural(int(table[truth, answer]), 'picture')}" in title


def test_a_run_that_only_read_its_pictures(three):
    text = format_page(
        dataclasses.replace(
            samples.findings(three, test=24),
            audits=(),
            splits=None,
            backbones=(),
            ranking=None,
            adapted=None,
            evaluation=None,
            exported=None,
            decisions=(),
            timings={},
        )
    )
    assert "has not come to its result yet" in text
    Page(text)


def test_with_times_the_chart_is_of_milliseconds_and_without_of_operations(three):
    assert "milliseconds a picture" in format_page(samples.findings(three, test=24))
    assert (
        format_page(samples.findings(three, test=24)).count('data-label="ms a picture">4.1</td>') == 8
    )  # the random twin as its original
    text = format_page(samples.findings(three, test=24, timed=False))
    assert "milliseconds a picture" not in text and "GFLOPs a picture" in text
    assert "No time was measured" in text


def test_where_one_trunk_came_from_the_cache_the_chart_counts_operations(three):
    given = samples.findings(three, test=24)
    assert "not for features from the cache" not in format_page(given)
    first = given.backbones[0].name
    latencies_ms = {name: ms for name, ms in given.latencies_ms.items() if name != first}
    given = dataclasses.replace(given, latencies_ms=latencies_ms)
    text = format_page(given)
    assert "milliseconds a picture" not in text and "GFLOPs a picture" in text
    assert "only where this run measured them, not for features from the cache; so the chart counts operations" in text


def test_it_writes_what_the_run_folder_holds(three, context):
    given = samples.findings(three, test=24)
    ctx = context(data="textile", name="2026-11-24-textile")
    parts = {"read": three, "splits": given.splits, "rank": given.ranking, "adapt": given.adapted}
    parts |= {"evaluate": given.evaluation, "export": given.exported}
    for stage, value in parts.items():
        serialization.save_value(value, ctx.make_step_folder(stage))
    for audit in given.audits:
        serialization.save_value(audit, ctx.make_step_folder("audit"), name=audit.phase)
    with ctx.time_step("embed bundled:efficientnet_lite0 80") as entry:
        entry["latency_ms"] = 4.5
    ctx.record_decision("rank/chosen", lambda: given.ranking.chosen, "the best mean")
    path = write_report(ctx=ctx)
    text = path.read_text(encoding="utf-8")
    assert path == ctx.run.path / "report.html"
    assert "headstart predict 2026-11-24-textile picture.jpg" in text
    assert all(f"headstart {verb} 2026-11-24-textile" in text for verb in ("explain", "serve", "export", "drift"))
    assert "<code>README.md</code>" in text
    assert "the best mean" in text and three.digest in text
    assert ">4.5</td>" in text
    before = path.read_bytes()
    with ctx.time_step("report"):
        assert write_report(ctx=ctx).read_bytes() == before


def test_versions_are_those_of_the_fit_when_the_page_is_written_again(three, context):
    ctx = context(data="textile")
    serialization.save_value(three, ctx.make_step_folder("read"))
    write_report(ctx=ctx)
    kept = ctx.run.path / "report" / "provenance.json"
    kept.write_text(kept.read_text().replace('"numpy": "', '"numpy": "99.'))
    assert "<dt>numpy</dt><dd>99." in write_report(ctx=ctx).read_text(encoding="utf-8")
    assert "<dt>numpy</dt><dd>99." not in write_report(ctx=ctx, computed_now=True).read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["{", "[]", '{"decision": null}'])
def test_a_damaged_manifest_of_the_model_is_told(three, context, text):
    ctx = context(data="textile")
    serialization.save_value(three, ctx.make_step_folder("read"))
    (ctx.make_step_folder("model") / "manifest.json").write_text(text)
    with pytest.raises(DataError, match="manifest") as caught:
        write_report(ctx=ctx)
    assert "headstart fit" in caught.value.hint


def test_an_empty_run_is_told(context):
    with pytest.raises(DataError, match="has not read its pictures yet"):
        write_report(ctx=context())


def test_per_cent_and_three_digits_are_rounded_alike():
    assert formatting.format_number(0.8225) == "0.823" and formatting.format_percent(0.8225) == "82.3\u00a0%"
    for value in [at / 2000 for at in range(2001)]:
        assert formatting.format_percent(value) == f"{float(formatting.format_number(value)) * 100:.1f}\u00a0%"


def test_sentences_become_whole():
    assert formatting.format_sentence("accuracy 0.8 (n = 400)") == "Accuracy 0.8 (n\u00a0=\u00a0400)."
    assert formatting.format_sentence("bundled:a@b wins") == "bundled:a@b wins."
    assert formatting.format_sentence("always `<b>` ") == "Always <code>&lt;b&gt;</code>."


@pytest.mark.medium
def test_two_thousand_pictures_fit_in_three_megabytes_and_are_quick(textile, context):
    from headstart.data.reading.read_dataset import read_dataset as read

    data = read(str(textile), ctx=context(data=textile, name="reading"))
    given = samples.findings(data)
    format_page(given)  # the first one loads matplotlib
    started = time.process_time()
    text = format_page(given)
    assert len(text) < 3_000_000
    assert time.process_time() - started < 5  # 0.4 s alone on 2 cores; a bound against something quadratic


def test_only_the_run_folder_is_written(three, context, tmp_path):
    ctx = context(data="textile")
    shutil.rmtree(ctx.run.path, ignore_errors=True)
    write_report(samples.findings(three, test=24), ctx=ctx)
    assert [path.name for path in ctx.run.path.iterdir()] == ["report.html"]


def test_of_a_run_that_was_a_backbone_or_its_twin_only_the_name_is_told(three):
    given = samples.findings(three)
    names = ("run:/mnt/me/task a", "random:run:/mnt/me/task a", "random:bundled:efficientnet_lite0")
    text = format_page(dataclasses.replace(given, job=dataclasses.replace(given.job, backbones=names)))
    assert "/mnt/me" not in text
    assert "random:run:task a, random:bundled:efficientnet_lite0" in text.replace("<wbr>", "")
