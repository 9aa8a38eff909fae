"""One picture a class is enough for a fit, and for no claim: a prototype head whose report and card say so."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import audit_sets
import headstart
from command_line import LITE0
from headstart.core.errors import DataError, UsageError
from headstart.data.audit import audit_dataset
from headstart.data.groups import can_judge
from headstart.data.splits import draw_splits

REFUSAL = "how good this model is, is not known"


@pytest.mark.parametrize(
    ("counts", "judged"), [([1, 1], False), ([1, 3, 4], False), ([2, 2], True), ([1, 9, 9], True), ([1, 30], True)]
)
def test_a_lone_picture_is_refused_only_where_the_others_could_be_judged(context, counts, judged):
    data = audit_sets.from_targets(np.repeat(np.arange(len(counts)), counts))
    assert can_judge(data) == judged
    if min(counts) == 1 and judged:
        with pytest.raises(DataError, match="D003 class `class0` has 1 picture"):
            audit_dataset(data, ctx=context())
        return
    audit = audit_dataset(data, ctx=context())
    splits = draw_splits(data, audit.clusters, ctx=context(name="split"))
    assert (splits.folds >= 0).any() == judged and len(splits.train) == sum(counts)
    assert judged or "none judges: a class has a single one" in splits.why


def test_the_mean_of_a_class_weighs_its_pictures(context):
    from headstart.selection.probe.prototypes import choose_by_prior, fit_prototypes
    from judged_sets import embeddings

    plain = audit_sets.from_targets([0, 0, 0, 1])
    weights = []
    for weight in (None, np.array([1.8, 0.6, 0.6, 1.0])):
        data, ctx = replace(plain, weights=weight), context(name=f"run{len(weights)}")
        features = embeddings(data, "test:made", {"last": 1.0})
        splits = draw_splits(data, np.arange(4), ctx=ctx)
        fit = fit_prototypes(data, splits, choose_by_prior(features, ctx=ctx), features, ctx=ctx)
        weights.append(fit.fitted.arrays["weights"])
    assert np.abs(weights[0] - weights[1]).max() > 1e-3


@pytest.fixture(scope="module")
def folder(textile, tmp_path_factory):
    """One picture of each of three classes."""
    root = tmp_path_factory.mktemp("one") / "cloth"
    for name in ("global", "local", "nominal"):
        (root / name).mkdir(parents=True)
        shutil.copy(min((textile / name).glob("*.jpg")), root / name)
    return root


@pytest.fixture(scope="module")
def run(shared_store, folder):
    return headstart.fit(folder, backbones=LITE0, out=folder.parent / "run")


@pytest.mark.medium
def test_one_picture_a_class_is_fitted_and_nothing_is_claimed(run, folder, textile):
    path = folder.parent / "run"
    assert run.finished and run.adapted.fitted.head == "nearest_mean" and run.scores == () and run.adapted.nested == ()
    assert run.evaluation.split == "none" and REFUSAL in run.evaluation.verdicts[0].sentence
    assert run.manifest.doubt is None  # `unknown` and prediction sets are not promised
    for name in ("global", "local", "nominal"):
        (answer,) = run.predict([next((folder / name).glob("*.jpg"))])
        assert answer.answer == name and not answer.unknown and answer.plausible == ()
    card, page = (path / "README.md").read_text(), (path / "report.html").read_text()
    assert REFUSAL in card.lower() and "95 %" not in card and "how often it is wrong is not known" in card
    assert "nothing is claimed of it" in page and REFUSAL in page.lower()
    assert not (path / "model" / "usage.json").exists()


@pytest.mark.medium
def test_what_needs_judged_pictures_is_refused_in_plain_words(run, folder):
    path = folder.parent / "run"
    with pytest.raises(DataError, match="no picture judged the run"):
        headstart.compare([path, shutil.copytree(path, path.with_name("copy"))])
    for settings in ({"strategy": "finetune"}, {"positive": "local"}, {"from_names": True}):
        with pytest.raises(UsageError, match="a class has one picture to learn from"):
            headstart.fit(folder, backbones=LITE0, out=path.with_name("other"), **settings)


@pytest.mark.medium
def test_labelled_pictures_measure_it_afterwards_and_an_export_answers_alike(run, small_textile, tmp_path):
    measured = headstart.evaluate(run, small_textile(4))
    [accuracy] = [s for s in measured["scores"] if s["name"] == "accuracy" and not s["subject"]]
    assert accuracy["n"] == 12
    (exported,) = headstart.export(run, to="onnx", out=tmp_path / "onnx")
    assert exported["parity_max_abs"] < 1e-4
