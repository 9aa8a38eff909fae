"""`fit --from-names`: names alone as a baseline, a head that starts from them, and names that cannot be used."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import headstart
from command_line import LITE0, call, differing
from headstart.api import commands
from headstart.core.console import Console
from headstart.core.errors import UsageError
from headstart.core.types import Feature, NameInitialization
from headstart.evaluation.baselines import NAMES
from headstart.selection.cv_problem import CvProblem
from headstart.selection.probe import candidate_heads, head_selection
from headstart.testing.sample_photos import fetch_labelled_photos
from headstart.zero_shot import class_names, head_from_names

SHOWN = {"cat": "cat", "espresso": "espresso", "palace": "grand_palace", "motorcycle": "motorcycle"}
STAGE5 = Feature(backbone=LITE0, depth="stage5", dim=3)
LAST = Feature(backbone=LITE0, depth="last", dim=2)


@pytest.fixture(scope="module")
def crops(shared_store, tmp_path_factory):
    """Four photographs in seven crops each, in folders that say what they show."""
    root, rng = tmp_path_factory.mktemp("crops") / "photos", np.random.default_rng(0)
    for file, label in fetch_labelled_photos(shared_store, Console(quiet=True)).items():
        if label in SHOWN:
            (root / SHOWN[label]).mkdir(parents=True)
            picture = Image.open(file).convert("RGB")
            for number in range(7):
                wide, high = (round(side * rng.uniform(0.6, 0.95)) for side in picture.size)
                left, top = (int(rng.integers(0, room + 1)) for room in (picture.width - wide, picture.height - high))
                picture.crop((left, top, left + wide, top + high)).save(root / SHOWN[label] / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def fitted(crops, tmp_path_factory):
    """A run from the names, made without a network and without a training framework, and what it printed."""
    out = tmp_path_factory.mktemp("names") / "run"
    both = (LITE0, f"random:{LITE0}")
    headstart.embed(
        crops, backbones=both, out=out.parent / "before", console=Console(quiet=True)
    )  # trunks are compiled
    _, said = call("fit", crops, "--from-names", "--backbones", LITE0, "--out", out)
    return out, said


def names_start(**more):
    weights = np.array([[1, 2], [3, 4]], np.float32)
    given = {"feature": LAST, "weights": weights, "rows": np.arange(3), "similarities": np.eye(3, 2), "how": "by hand"}
    return NameInitialization(**given | more)


@pytest.mark.medium
def test_names_alone_are_measured_beside_the_model(fitted):
    out, said = fitted
    [line] = [line for line in said.splitlines() if line.startswith("names") and "no label" in line]
    assert "no label (ConSE, all-MiniLM-L6-v2 over the ImageNet classes of bundled:efficientnet_lite0)" in line
    run = headstart.Run(out)
    alone = {s.name: s for s in run.evaluation.baselines if s.subject == NAMES}
    assert alone.keys() == {"accuracy", "balanced_accuracy", "macro_f1", "roc_auc"}
    assert alone["accuracy"].n == 28 and alone["accuracy"].low <= alone["accuracy"].value <= alone["accuracy"].high
    assert alone["accuracy"].value > 0.9  # these four are known by name in docs/zeroshot.md
    assert NAMES in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.medium
def test_the_head_from_names_competes_on_the_same_folds_and_is_one_linear_head(fitted):
    out, _ = fitted
    adapted = headstart.Run(out).adapted
    rows = {(row.head, row.features): row for row in adapted.tried}
    assert (candidate_heads.FROM_NAMES, (f"{LITE0}@last",)) in rows
    assert {row.scores[0].n for row in adapted.tried} == {28}
    assert adapted.fitted.kind == "linear"


@pytest.mark.medium
def test_the_model_answers_without_the_sentence_model(fitted, crops, tmp_path):
    out, _ = fitted
    stdout, _ = call("predict", out, crops / "cat" / "0.png", "--json", env={"HEADSTART_CACHE": str(tmp_path)})
    assert json.loads(stdout)["answer"] == "cat"


@pytest.mark.medium
def test_a_run_that_stopped_after_the_names_ends_as_it_would_have(fitted, crops, tmp_path):
    out, _ = fitted
    shutil.copytree(out, tmp_path / "run")
    for later in ("names", "adapt", "evaluate", "model"):
        shutil.rmtree(tmp_path / "run" / later)
    (tmp_path / "run" / "report.html").unlink()
    call("fit", crops, "--from-names", "--backbones", LITE0, "--out", tmp_path / "run")
    assert differing(tmp_path / "run", out) == []


@pytest.mark.parametrize(
    ("names", "each", "backbone", "told"),
    [
        (("cat", "class_2"), 19, LITE0, "about 19 labels a class"),
        (("cat", "class_2"), 20, LITE0, ""),
        (("class_1", "b"), 5, LITE0, ""),
        (("cat", "dog"), 5, "bundled:vgg16_hed", ""),
    ],
)
def test_few_labels_are_told_that_names_may_help_but_not_where_they_cannot(
    names, each, backbone, told, context, capsys
):
    ctx = context()
    ctx.console = Console()
    data = SimpleNamespace(class_names=names, targets=np.arange(2 * each) % 2)
    splits = SimpleNamespace(train=np.arange(2 * each))
    embedded = [SimpleNamespace(spec=SimpleNamespace(name=backbone))]
    head_from_names.advise_start_from_names(data, splits, embedded, ctx=ctx)
    said = capsys.readouterr().err
    assert (told in said and "--from-names" in said) if told else said == ""


# ---------------------------------------------------------------- features


def test_the_start_is_zero_for_columns_of_which_names_say_nothing():
    on = CvProblem(
        rows=np.arange(3),
        y=np.arange(3) % 2,
        folds=np.zeros((1, 3)),
        clusters=np.arange(3),
        n_classes=2,
        metric="log_loss",
        prefer="accurate",
        class_weight=None,
        seed=0,
        names=names_start(),
    )
    head = head_selection.load_head(candidate_heads.FROM_NAMES, (STAGE5, LAST), on)
    assert head.name == candidate_heads.FROM_NAMES
    assert head.start.tolist() == [[0, 0], [0, 0], [0, 0], [1, 2], [3, 4]]
    assert head_selection.load_head("ridge", (STAGE5, LAST), on).start is None
    assert head_selection.load_head("ridge", (STAGE5,), dataclasses.replace(on, names=None)).name == "ridge"


def test_a_head_from_names_sees_their_features_and_the_chosen_ones_beside():
    names = names_start()
    assert candidate_heads.features_with_names(LAST, None) == []
    assert candidate_heads.features_with_names(LAST, names) == [(LAST,)]
    assert candidate_heads.features_with_names(STAGE5, names) == [(LAST,), (STAGE5, LAST)]


# ---------------------------------------------------------------- names that cannot be used


def folders(root, names):
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for other in range(4):
            pixels = np.random.default_rng([number, other]).integers(0, 255, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{other}.png")
    return root


@pytest.mark.medium
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("Brick_wall", "brick wall"), "is named twice: it reads as `Brick_wall`"),
        (("cafe", "café"), "is named twice: it reads as `cafe`"),
        (("cat", "\u1401\u1402"), "can read nothing of the class name `\u1401\u1402`"),
    ],
)
def test_names_that_cannot_be_used_are_refused_before_a_picture_is_embedded(names, said, tmp_path):
    data = folders(tmp_path / "data", names)
    with pytest.raises(UsageError) as caught:
        headstart.fit(data, from_names=True, backbones=LITE0, out=tmp_path / "run", console=Console(quiet=True))
    assert said in caught.value.what
    assert (caught.value.where, caught.value.hint) == ("--from-names", head_from_names.RENAME)
    assert not (tmp_path / "run" / "rank").exists()


@pytest.mark.medium
def test_without_a_source_classifier_among_the_candidates_the_error_says_what_to_add(tmp_path):
    data = folders(tmp_path / "data", ("cat", "dog"))
    with pytest.raises(UsageError) as caught:
        headstart.fit(
            data, from_names=True, backbones="bundled:vgg16_hed", out=tmp_path / "run", console=Console(quiet=True)
        )
    assert "none of the backbones can guess by names: bundled:vgg16_hed" in caught.value.what
    assert "bundled:efficientnet_lite2" in caught.value.hint
    with pytest.raises(UsageError) as planned:  # a dry run refuses what the fit would
        commands.plan(data, from_names=True, backbones="bundled:vgg16_hed", console=Console(quiet=True))
    assert planned.value.what == caught.value.what


def test_where_no_survivor_can_guess_by_names_one_that_can_goes_on_too(context):
    ctx, blind = context(), "bundled:vgg16_hed"
    every = (LITE0, "bundled:efficientnet_lite2", blind)
    assert head_from_names.list_name_backbones(every, ctx=ctx) == ["bundled:efficientnet_lite2", LITE0]
    assert head_from_names.keep_name_backbone((blind,), every, ctx=ctx) == (
        blind,
        "bundled:efficientnet_lite2",
    )  # the best prior
    assert head_from_names.keep_name_backbone((blind, LITE0), every, ctx=ctx) == (blind, LITE0)


@pytest.mark.medium
def test_names_that_say_nothing_are_noticed(context, capsys):
    ctx = context()
    ctx.console = Console()
    head_from_names.require_start_from_names(("class_07", "b", "espresso"), (LITE0,), ctx=ctx)
    said = capsys.readouterr().err
    assert "no word in 2 of 3 class names says what a picture shows: `class_07`, `b`" in said
    assert "espresso" not in said


@pytest.mark.parametrize("name", ["class_07", "b", "2024", "IMG-3", "label 1", "ok", "type_a", "猫"])
def test_a_name_without_a_word_says_nothing(name):
    assert class_names.list_meaningless([name, "cat"]) == [name]


@pytest.mark.parametrize("name", ["cat", "class_cat", "Grand_Palace", "t-shirt", "cell2", "Straße", "other birds"])
def test_a_name_with_a_word_may_say_something(name):
    assert class_names.list_meaningless([name]) == []
