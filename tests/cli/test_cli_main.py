"""The door: words in, text and exit codes out. What can run in this process does; pipes and signals need another."""

import argparse
import ast
import json
import os
import subprocess
import sys

import pytest

from headstart.cli import options
from headstart.cli.commands import fit as fit_module
from headstart.cli.main import main
from headstart.cli.parser import Parser
from headstart.core import job, registry
from headstart.core.errors import DataError, GateFailed, SetupError, UsageError

COMMANDS = (
    *(
        "audit",
        "backbones",
        "compare",
        "demo",
        "deploy",
        "doctor",
        "drift",
        "embed",
        "evaluate",
        "explain",
        "export",
        "fit",
    ),
    *("jobs", "predict", "rank", "report", "run", "serve", "studio", "suggest", "zeroshot"),
)


def test_every_command_is_found():
    assert set(registry.list_plugins("commands")) == set(COMMANDS)


def test_the_overview_has_every_command_and_its_summary(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in said
        assert registry.read_summary("commands", name) in said
    assert main([]) == 0
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: headstart {name}")
    assert "--json" in said or name == "serve"  # which has no result, only a log
    assert registry.read_summary("commands", name).rstrip(".") in said


def test_the_version(capsys):
    from headstart import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"headstart {__version__}\n"


def test_an_unknown_command_names_the_nearest(capsys):
    assert main(["fti"]) == 2
    said = capsys.readouterr()
    assert "`fti`" in said.err
    assert "`fit`" in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("words", "wrong", "near"),
    [
        (["fit", "--bugdet", "5m", "data"], "--bugdet", "--budget"),
        (["fit", "data", "--test-sise=0.3"], "--test-sise", "--test-size"),
        (["predict", "--fromat", "csv", "run", "a.jpg"], "--fromat", "--format"),
    ],
)
def test_an_unknown_option_names_the_nearest(words, wrong, near, capsys):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert f"`{wrong}`" in said
    assert f"`{near}`" in said


@pytest.mark.parametrize("word", ["--gpu", "--threads", "--verbose", "--patient", "--config", "--image-size"])
def test_a_far_option_is_not_suggested(word, capsys):
    assert main(["fit", "data", word, "1"]) == 2
    said = capsys.readouterr().err
    assert f"there is no option `{word}`" in said and "did you mean" not in said and "headstart fit --help" in said


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("--output", "did you mean `--out`?"),
        ("--testsize", "did you mean `--test-size`?"),
        ("--bugdet", "did you mean `--budget`?"),
        ("--epochs", "it is a field of the recipe: --recipe epochs=…"),
    ],
)
def test_a_near_option_is_suggested(word, hint, capsys):
    assert main(["fit", "data", word, "1"]) == 2
    assert hint in capsys.readouterr().err


def test_options_are_not_abbreviated(capsys):
    assert main(["fit", "data", "--bud", "5m"]) == 2
    assert "`--bud`" in capsys.readouterr().err


def test_a_missing_argument_is_named(capsys):
    assert main(["fit"]) == 2
    assert "DATA" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "fault"),
    [
        ("--seed", "one", "`one` is not a whole number"),
        ("--test-size", "fifth", "`fifth` is not a number"),
        ("--budget", "soon", "`soon` is not a time"),
        ("--metric", "acuracy", "`acuracy` is not one of"),
        ("--folds", "1", "`1` is not between 2 and 50"),
    ],
)
def test_a_wrong_value_is_told_with_the_value(option, value, fault, tmp_path, capsys):
    assert main(["fit", str(tmp_path), option, value]) == 2
    assert fault in capsys.readouterr().err


def test_several_wrong_values_are_told_at_once(tmp_path, capsys):
    assert main(["fit", str(tmp_path), "--budget", "soon", "--folds", "1", "--metric", "x"]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in ("soon", "folds", "metric"))


def test_options_of_fit_are_the_fields_of_a_job():
    parser = Parser(prog="headstart fit", description=None)
    fit_module.PLUGIN.configure(parser)
    words = [
        *("DATA", "--budget", "90s", "--backbones", "a, b,", "--strategy", "auto", "--metric", "accuracy"),
        *(
            "--prefer",
            "fast",
            "--seed",
            "3",
            "--test-size",
            "0",
            "--folds",
            "4",
            "--repeats",
            "2",
            "--precision",
            "int8",
        ),
        *("--class-weight", "balanced", "--positive", "bad", "--costs", "c.csv", "--recipe", "blocks=2, rate=1e-3"),
        *("--trials", "4", "--domain", "digits", "--track", "tensorboard", "--profile", "--from-names"),
        *("--license", "permissive", "--max-latency", "20ms", "--max-size", "50MB", "--coverage", "0.8"),
        *("--resize", "pad", "--no-thumbnails", "--window", "lung", "--slice", "middle", "--images", "pictures"),
        *("--exclude", "fixes.csv", "--device", "cpu"),
        *("--path", "file", "--target", "kind", "--split", "part", "--group", "patient", "--weight", "w"),
        *("--time", "date", "--merge-labels", "--bands", "4,3,2", "--task", "auto", "--order", "low,high"),
        *("--more", "next.csv", "--test-of", "runs/first"),
        *("--unlabeled", "new", "--target-labels", "learn", "--adaptation", "coral,standardise"),
    ]
    data, settings = options.read_request(parser.parse_words(words))
    assert data == "DATA"
    assert settings.keys() == {option.name for option in job.list_options()}
    assert settings["backbones"] == ("a", "b")
    assert settings["recipe"] == ("blocks=2", "rate=1e-3")
    assert settings["profile"] is True and settings["from_names"] is True
    assert settings["seed"] == 3
    assert settings["test_size"] == 0.0
    assert job.make_job(data=data, **settings).budget_s == 90


@pytest.mark.parametrize("command", ["audit", "embed", "rank"])
def test_commands_that_read_data_take_the_settings_of_reading(command):
    parser = Parser(prog=f"headstart {command}", description=None)
    registry.load_plugin("commands", command).configure(parser)
    words = ["labels.csv", "--images", "pictures", "--target", "kind", "--window", "lung", "--bands", "4,3,2"]
    data, settings = options.read_request(parser.parse_words(words))
    assert (data, settings) == (
        "labels.csv",
        {"images": "pictures", "target": "kind", "window": "lung", "bands": "4,3,2"},
    )


def test_what_is_not_given_is_left_to_the_job():
    parser = Parser(prog="headstart fit", description=None)
    fit_module.PLUGIN.configure(parser)
    assert options.read_request(parser.parse_words(["DATA"])) == ("DATA", {})


def test_a_job_file_is_read_and_options_win_over_it(tmp_path):
    job.write_job(job.make_job(data="pictures", seed=5, folds=4, backbones=("a",)), tmp_path / "job.toml")
    parser = Parser(prog="headstart fit", description=None)
    fit_module.PLUGIN.configure(parser)
    data, settings = options.read_request(parser.parse_words([str(tmp_path / "job.toml"), "--seed", "6"]))
    assert data == "pictures"
    assert job.make_job(data=data, **settings) == job.make_job(data="pictures", seed=6, folds=4, backbones=("a",))


def test_a_job_file_with_an_unknown_key_names_the_nearest(tmp_path, capsys):
    (tmp_path / "job.toml").write_text('data = "pictures"\nbugdet = "5m"\n')
    assert main(["fit", str(tmp_path / "job.toml")]) == 2
    assert "`budget`" in capsys.readouterr().err


class Failing:
    """Fails as it was told to."""

    name = "failing"
    interruption_note = "half of it is kept"

    def __init__(self, err):
        self.err = err

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true")

    def __call__(self, args):
        raise self.err


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """Put a command that fails in the registry's place, and work in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def make(err):
        names, load = registry.list_plugins, registry.load_plugin
        monkeypatch.setattr(registry, "list_plugins", lambda kind: (*names(kind), "failing"))
        monkeypatch.setattr(registry, "load_plugin", lambda kind, n: Failing(err) if n == "failing" else load(kind, n))

    return make


@pytest.mark.parametrize(
    ("err", "code"),
    [
        (UsageError("u"), 2),
        (DataError("d", where="here", hint="do this"), 3),
        (SetupError("s"), 3),
        (GateFailed("g"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_have_their_exit_codes_and_one_json_object(failing, err, code, capsys):
    failing(err)
    assert main(["failing", "--json"]) == code
    said = capsys.readouterr()
    [line] = said.out.splitlines()
    fact = json.loads(line)["error"]
    assert fact["exit_code"] == code
    assert fact["what"] in said.err
    assert said.err.startswith("error: ")
    assert main(["failing"]) == code
    assert capsys.readouterr().out == ""


def test_an_error_says_where_and_what_to_do(failing, capsys):
    failing(DataError("the fact", where="file.jpg", hint="do this"))
    main(["failing"])
    assert capsys.readouterr().err == "error: the fact\nat: file.jpg\n\nhint: do this\n"


def test_an_interruption_says_what_is_kept(failing, capsys):
    failing(KeyboardInterrupt())
    assert main(["failing"]) == 130
    assert "half of it is kept" in capsys.readouterr().err


@pytest.mark.parametrize("command", registry.list_plugins("commands"))
def test_every_command_says_what_an_interruption_leaves(command):
    assert registry.load_plugin("commands", command).interruption_note


def test_a_bug_leaves_its_traceback_in_a_named_file(failing, tmp_path, capsys):
    failing(ZeroDivisionError("nobody expected this"))
    assert main(["failing"]) == 70
    said = capsys.readouterr().err
    [kept] = tmp_path.glob("headstart-crash-*.txt")
    assert str(kept) in said
    assert "Traceback" not in said
    text = kept.read_text()
    assert "Traceback" in text
    assert "nobody expected this" in text
    assert "headstart failing" in text
    assert "numpy" in text  # versions


def test_two_bugs_of_one_second_leave_two_files(failing, tmp_path, monkeypatch):
    from headstart.cli import crash_report

    monkeypatch.setattr(crash_report.time, "strftime", lambda form: "20300101-000000")
    for name in ("first", "second"):
        failing(ZeroDivisionError(name))
        assert main(["failing"]) == 70
    texts = [path.read_text() for path in sorted(tmp_path.glob("headstart-crash-*.txt"))]
    assert len(texts) == 2
    assert {name for name in ("first", "second") if any(name in text for text in texts)} == {"first", "second"}


def test_a_bug_in_an_unwritable_folder_goes_to_the_temporary_one(failing, tmp_path, monkeypatch, capsys):
    from headstart.cli import crash_report

    write, gone = crash_report.write_new, tmp_path / "elsewhere"
    gone.mkdir()
    monkeypatch.setattr(crash_report.tempfile, "gettempdir", lambda: str(gone))

    def refuse(folder, stem, text):
        if folder == tmp_path:
            raise PermissionError("read-only")
        return write(folder, stem, text)

    monkeypatch.setattr(crash_report, "write_new", refuse)
    failing(ZeroDivisionError())
    assert main(["failing"]) == 70
    [kept] = gone.glob("headstart-crash-*.txt")
    assert str(kept) in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
@pytest.mark.parametrize(
    ("words", "said"), [("predict none a.png --json", "there is no model"), ("--help", "no space")]
)
def test_a_full_disk_behind_standard_output_is_told_on_the_other_stream(words, said):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        command = [sys.executable, "-m", "headstart", *words.split()]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_control_characters_in_an_error_cannot_reach_the_terminal(failing, capsys):
    failing(DataError("a name \x1b[31m and \udcff"))
    assert main(["failing"]) == 3
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\\x1b" in said


def test_no_such_folder(tmp_path, capsys):
    assert main(["fit", str(tmp_path / "none"), "--out", str(tmp_path / "run")]) == 3
    said = capsys.readouterr().err
    assert str(tmp_path / "none") in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["report", "predict", "evaluate"])
def test_a_run_that_does_not_exist(command, tmp_path, capsys):
    words = {"report": [], "predict": ["a.jpg"], "evaluate": [str(tmp_path)]}[command]
    assert main([command, str(tmp_path / "none"), *words]) == 3
    assert str(tmp_path / "none") in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "predict", "evaluate"])
def test_a_run_of_a_newer_version_is_refused(command, tmp_path, capsys):
    (tmp_path / "format.json").write_text('{"format": 99}')
    words = {"report": [], "predict": ["a.jpg"], "evaluate": [str(tmp_path)]}[command]
    assert main([command, str(tmp_path), *words]) == 3
    said = capsys.readouterr().err
    assert "99" in said
    assert "newer" in said


def test_the_module_runs_and_a_closed_pipe_is_quiet():
    code = f"{sys.executable} -m headstart fit --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() in {"0", "141"}  # 0 when all was written before the reader left
    assert done.stderr == ""


def test_a_reader_that_left_before_the_first_word():
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "headstart", "--help"]
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 141
    assert done.stderr == ""


def test_only_the_chosen_command_is_imported():
    code = "import sys\nfrom headstart.cli.main import main\nmain(['report', '--help'])\n"
    code += "print(sorted(m for m in sys.modules if m.startswith('headstart.cli.')), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.rpartition(".")[2] for name in ast.literal_eval(done.stderr)}
    assert "report" in loaded
    assert not loaded & (set(COMMANDS) - {"report"})
