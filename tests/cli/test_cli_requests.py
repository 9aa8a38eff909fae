"""What of a request to fine-tune is wrong is told before anything starts, and the mended request gets the folder."""

import json

import keras
import pytest
from PIL import Image

import headstart
import judged_sets
from headstart.api import preflight
from headstart.cli.main import main
from headstart.core import extras
from headstart.core import job as jobs
from headstart.core.console import Console
from headstart.core.errors import NoOpError, UsageError
from headstart.core.run.opening import open_run, require_same_job
from headstart.finetuning import trainable_candidates
from headstart.selection import candidates

LITE0, LITE1 = "bundled:efficientnet_lite0", "bundled:efficientnet_lite1"
TUNE = ("--strategy", "finetune", "--backbones", LITE0)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Three pictures of each of two classes; runs without `--out` go beside them."""
    monkeypatch.chdir(tmp_path)
    for name, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (40 + i, 40), colour).save(tmp_path / "data" / name / f"{i}.png")
    return str(tmp_path / "data")


def failed(capsys, *words, code=2):
    """The error of a command, as JSON."""
    assert main([*words, "--json"]) == code
    [line] = capsys.readouterr().out.splitlines()
    return json.loads(line)["error"]


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("recipe", "told", "hint"),
    [
        ("depths=stage9", f"depth `stage9`, which `{LITE0}` does not have", "did you mean `stage5`"),
        ("backbone=efficientnet_lite1", "backbone `efficientnet_lite1`, which is not measured", "choose others with"),
        ("backbone=efficientnet_lite0,blocks=90", f"to train 90 blocks of the 4 in `{LITE0}`", "part=all"),
        ("depths=stage3,blocks=90", "to train 90 blocks of the 1 up to `stage3`", "part=all"),
    ],
)
def test_a_recipe_that_no_candidate_fits_is_told_at_the_start(pictures, recipe, told, hint, more, tmp_path, capsys):
    err = failed(capsys, "fit", pictures, *TUNE, "--recipe", recipe, "--out", str(tmp_path / "run"), *more)
    assert told in err["what"]
    assert hint in err["hint"]
    assert err["where"] == "--recipe"
    assert not (tmp_path / "run").exists()


def asked(recipe, *names, strategy="finetune"):
    job = jobs.make_job(data="x", strategy=strategy, recipe=recipe)
    with pytest.raises(UsageError) as caught:
        preflight.require_trainable(job, names)
    return caught.value


def test_nobody_wrote_any():
    found = asked("depths=stage9", LITE0, LITE1)
    assert found.what == "the recipe wants depth `stage9`, which no backbone to be measured has"
    assert LITE0 in found.hint and LITE1 in found.hint and "any" not in found.hint.split()


def test_an_unknown_backbone_names_the_nearest_of_those_measured_else_of_all():
    assert f"`{LITE0}`" in asked(f"backbone={LITE0}x", LITE0).hint
    found = asked("backbone=resnet50v3", LITE0)
    assert "resnet" in found.hint and found.where == "--recipe"


def test_what_fits_passes():
    for recipe in ("", "depths=stage3+last,blocks=2", "backbone=efficientnet_lite0", "part=all,blocks=90"):
        preflight.require_trainable(jobs.make_job(data="x", strategy="finetune", recipe=recipe), [LITE0, LITE1])


def test_mlflow_that_is_not_there_is_told_before_anything_starts(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(headstart.HeadstartError, match="there is no `mlflow`") as caught:
        preflight.require_tracker("mlflow")
    assert caught.value.where == "--track mlflow"


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"trials": 3}, "--trials"),
        ({"trials": 3, "profile": True}, "--trials, --profile"),
        ({"track": "tensorboard", "domain": "photo"}, "--domain, --track"),
        ({"strategy": "finetune", "recipe": "blocks=2", "trials": 3}, "--trials"),
    ],
)
def test_settings_without_effect_are_refused(given, where):
    unused = preflight.find_unused_settings(jobs.make_job(data="x", **given))
    assert ", ".join(problem.where for problem in unused) == where


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"track": "mlflow"},
        {"strategy": "auto", "trials": 2, "track": "mlflow", "profile": True},
        {"strategy": "lora", "recipe": "blocks=2", "track": "tensorboard"},
    ],
)
def test_settings_with_effect_pass(given):
    assert not preflight.find_unused_settings(jobs.make_job(data="x", **given))


def test_all_that_is_wrong_with_a_request_is_told_in_one_pass(tmp_path, capsys):
    words = ["--trials", "3", "--backbones", "efficientnet_lite9,bundled:vgg16_hed,other9", "--max-size", "20MB"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    err = failed(capsys, "fit", str(tmp_path / "none"), *words, "--out", str(tmp_path / "out"))
    for what in (
        "there is no folder",
        "is not empty and is no run",
        "trials has no effect",
        "no backbone is named `efficientnet_lite9`",
        "`bundled:vgg16_hed` was named and breaks a limit",
        "no backbone is named `other9`",
    ):
        assert what in err["what"]
    assert err["where"].startswith(str(tmp_path / "none")) and "--out, --trials, --backbones" in err["where"]


def test_a_wrong_value_and_a_wrong_folder_are_told_together(tmp_path, capsys):
    err = failed(capsys, "fit", str(tmp_path / "none"), "--folds", "1")
    assert "folds `1` is not between 2 and 50" in err["what"] and "there is no folder" in err["what"]


def test_nothing_is_fetched_for_a_request_that_is_wrong_elsewhere(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("headstart.backbones.huggingface.import_model.import_repository", pytest.fail)
    job = jobs.make_job(data=pictures, backbones="huggingface:some/model", trials=3)
    problems = preflight.preflight(job, tmp_path / "run", Console(quiet=True), training=True)
    assert [problem.where for problem in problems] == ["--trials"]


def test_a_setting_without_effect_stops_fit_and_dry_run(pictures, tmp_path, capsys):
    for more in ((), ("--dry-run",)):
        err = failed(capsys, "fit", pictures, "--trials", "3", "--out", str(tmp_path / "run"), *more)
        assert err["what"] == "trials has no effect with strategy `probe`: it trains no network"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["-4m", "0s", "-4"])
def test_a_budget_below_zero_is_told_in_our_words(pictures, text, capsys):
    err = failed(capsys, "fit", pictures, "--budget", text)
    assert err["what"] == f"budget: `{text}` is not a time above zero: write 90s, 5m or 1h"
    assert err["where"] == "--budget"


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_folder_of_another_job_and_one_in_a_run_are_refused(pictures, more, tmp_path, capsys):
    out = tmp_path / "run"
    with open_run(out, jobs.make_job(data=pictures, seed=3), Console(quiet=True)) as ctx:
        ctx.record_decision("data", lambda: 1)
    err = failed(capsys, "fit", pictures, "--out", str(out), *more)
    assert "belongs to another job: `seed` 0 here, 3 there" in err["what"]
    err = failed(capsys, "fit", pictures, "--out", str(out / "deep" / "er"), *more)
    assert f"lies in the run `{out}`" in err["what"]
    assert err["where"] == "--out"
    assert not (out / "deep").exists()


@pytest.mark.parametrize("wrong", [UsageError, NoOpError])
def test_a_run_that_ends_before_anything_was_trained_frees_its_folder(pictures, wrong, tmp_path):
    small, large = (jobs.make_job(data=pictures, strategy="finetune", budget=budget) for budget in ("20s", "2m"))
    with pytest.raises(wrong), open_run(tmp_path / "run", small, Console(quiet=True)) as ctx:
        ctx.record_decision("adapt/time", lambda: 3.0)
        (ctx.make_step_folder("adapt") / "value.json").write_text("{}")
        raise wrong("the budget is too small")
    with open_run(tmp_path / "run", large, Console(quiet=True)) as ctx:
        assert ctx.record_decision("adapt/time", lambda: 100.0) == 100.0
        assert not (tmp_path / "run" / "adapt").exists()
        assert jobs.read_job(tmp_path / "run" / "job.toml") == large


def test_a_run_that_goes_on_keeps_what_was_decided_when_it_ends_in_an_error(pictures, tmp_path):
    job = jobs.make_job(data=pictures, strategy="finetune")
    with open_run(tmp_path / "run", job, Console(quiet=True)) as ctx:
        ctx.record_decision("adapt/time", lambda: 3.0)
    with pytest.raises(UsageError), open_run(tmp_path / "run", job, Console(quiet=True)):
        raise UsageError("HEADSTART_THREADS is no number")
    with open_run(tmp_path / "run", job, Console(quiet=True)) as ctx:
        assert ctx.record_decision("adapt/time", lambda: 9.0) == 3.0


@pytest.mark.parametrize("kept", ["adapt/trials/trial000-fold0.json", "adapt/tuning.json", "report.html"])
def test_what_was_trained_is_never_forgotten(pictures, kept, tmp_path):
    job = jobs.make_job(data=pictures, strategy="finetune")
    with pytest.raises(UsageError), open_run(tmp_path / "run", job, Console(quiet=True)) as ctx:
        ctx.record_decision("adapt/time", lambda: 3.0)
        (tmp_path / "run" / kept).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / kept).write_text("{}")
        raise UsageError("the costs are gone")
    assert (tmp_path / "run" / kept).is_file()
    with pytest.raises(UsageError, match="belongs to another job"):
        require_same_job(tmp_path / "run", jobs.make_job(data=pictures))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"callbacks": [keras.callbacks.TerminateOnNaN()]}, "need a strategy that trains"),
        ({"strategy": "probe", "callbacks": [1]}, "need a strategy that trains"),
        ({"strategy": "auto", "callbacks": [1]}, "`1` is no keras.callbacks.Callback"),
        ({"strategy": "auto", "callbacks": [keras.callbacks.TerminateOnNaN]}, "is no keras.callbacks.Callback"),
        ({"strategy": "auto", "callbacks": keras.callbacks.TerminateOnNaN()}, "is no list"),
    ],
)
def test_callbacks_that_nothing_can_call_are_refused(pictures, given, told, tmp_path):
    with pytest.raises(UsageError, match=told):
        headstart.fit(pictures, out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_the_plan_of_a_recipe_does_not_speak_of_the_clock(pictures, capsys):
    assert main(["fit", pictures, *TUNE, "--recipe", "blocks=2", "--dry-run"]) == 0
    assert "then fine-tuning by the recipe on all folds, as long as it takes" in capsys.readouterr().out
    assert main(["fit", pictures, *TUNE, "--dry-run"]) == 0
    assert "then fine-tuning, for what is left of `5m`" in capsys.readouterr().out


def test_the_help_lists_the_fields_of_a_recipe(capsys):
    assert main(["fit", "--help"]) == 0
    said = capsys.readouterr().out
    assert "rate              highest learning rate" in said
    assert "a rising-rate test: 0 to 10 (default: 0.001)" in said
    assert main(["embed", "--help"]) == 0
    assert "fields of a recipe" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (("--backbones", "efficientnet_lite9"), "--backbones"),
        (("--seed", "one"), "--seed"),
        (("--out", ""), "--out"),
        (("--bugdet", "5m"), "--bugdet"),
        (("--budget",), "--budget"),
    ],
)
def test_a_wrong_option_is_the_place(pictures, words, where, capsys):
    assert failed(capsys, "fit", pictures, *words)["where"] == where


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"strategy": "probe"}, ()),
        ({"strategy": "finetune"}, (LITE0,)),
        ({"strategy": "finetune", "recipe": "backbone=efficientnet_lite0"}, (LITE0,)),
        ({"strategy": "finetune", "recipe": "backbone=efficientnet_lite1"}, (LITE1,)),
        ({"strategy": "finetune", "recipe": "depths=block4"}, ("bundled:vgg16_hed",)),
    ],
)
def test_what_the_recipe_asks_for_survives_the_screening(context, given, kept):
    survivor = "bundled:efficientnet_lite2"
    listed = (LITE0, LITE1, survivor, "bundled:vgg16_hed")
    assert trainable_candidates.add_trainable((survivor,), listed, ctx=context(**given)) == (survivor, *kept)


def test_the_budget_does_not_leave_out_the_backbone_of_the_recipe(context, store):
    tight = {"strategy": "finetune", "budget": "0.001s", "store": store}  # no pace measured here has a say
    data = judged_sets.dataset(1000)
    assert candidates.list_candidates(context(**tight), data) == (LITE0,)
    ctx = context(name="wanted", recipe="backbone=efficientnet_lite2", **tight)
    assert candidates.list_candidates(ctx, data) == ("bundled:efficientnet_lite2",)
    ctx = context(name="levels", recipe="depths=block4", **tight)
    assert candidates.list_candidates(ctx, data) == ("bundled:vgg16_hed",)
