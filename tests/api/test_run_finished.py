"""Whether a run is finished: only one with pictures of a new domain has to know anything of it."""

import dataclasses

import numpy as np
import pytest

import headstart
from drawn_pictures import draw_picture
from headstart.api.fit_steps import FitSteps
from headstart.api.run import Run
from headstart.core.console import Console
from headstart.core.errors import DataError
from headstart.core.job import make_job, write_job, write_local_paths, write_run_job
from headstart.core.run.reader import AUDIT_PHASES, FOLDERS
from headstart.core.storage.files import write_json
from headstart.core.storage.serialization import load_value, save_value
from headstart.core.types import (
    Audit,
    DomainShift,
    Evaluation,
    Explained,
    FeatureShift,
    PictureMap,
    Ranking,
    Score,
    TargetDomain,
    Verdict,
)
from made_runs import TARGETS, TRUNK, TRUTH, dataset, write


@pytest.fixture
def path(tmp_path):
    """A run that claims nothing of its model, with all that the steps of a fit leave."""
    path = write(tmp_path / "run", dataset(TARGETS), TRUTH)
    judged = load_value(Evaluation, path / "evaluate")
    refusal = (Verdict(code="headline", answer="unclear", sentence="nothing is known"),)
    values = (
        dataclasses.replace(judged, split="none", scores=(), verdicts=refusal),
        Ranking(metric="log_loss", rows=(), chosen=f"{TRUNK}@stage4", why="", ties=(), survivors=(TRUNK,)),
        Explained(method="cam", why="", kept=0, bytes=0, prototypes={}, maps=()),
        PictureMap(rows=np.arange(2), places=np.zeros((2, 2), np.float32)),
    )
    for value in values:
        save_value(value, path / FOLDERS[type(value)])
    for phase in AUDIT_PHASES:
        save_value(Audit(phase=phase, outcomes=(), clusters=np.arange(len(TARGETS))), path / "audit", phase)
    write_json(path / "embed/trunk.json", {})
    for name in ("README.md", "report.html"):
        (path / name).write_text("words")
    return path


def test_a_run_without_a_new_domain_needs_none(path):
    assert Run(path).finished
    (path / "rank/value.json").unlink()
    assert not Run(path).finished


def test_a_run_with_a_new_domain_needs_what_is_known_of_it(path, tmp_path):
    write_job(make_job(data="/somewhere", unlabeled=str(tmp_path), adaptation="none"), path / "job.toml")
    assert not Run(path).finished
    pictures = dataset(np.zeros(3), name="new")
    save_value(TargetDomain(pictures=pictures, labels=np.full(3, -1), copies=()), path / FOLDERS[TargetDomain])
    assert not Run(path).finished
    save_value(make_shift(), path / FOLDERS[DomainShift])
    assert Run(path).finished
    write_job(make_job(data="/somewhere", unlabeled=str(tmp_path)), path / "job.toml")
    assert not Run(path).finished  # nothing was adapted yet


def test_a_finished_run_is_opened_only_while_the_pictures_of_the_new_domain_are_the_same(path, tmp_path, context):
    for number in range(12):
        draw_picture(tmp_path / "old" / "ab"[number % 2] / f"{number}.png", number)
    for number in range(100, 130):
        draw_picture(tmp_path / "new" / f"{number}.png", number)
    settings = {"unlabeled": str(tmp_path / "new"), "adaptation": "none"}
    ctx = context(data=tmp_path / "old", **settings)
    write_run_job(ctx.job, path)
    write_local_paths(ctx.job, path)
    _ = FitSteps(ctx).files_audit  # reads both, and records what they are
    save_value(make_shift(), path / FOLDERS[DomainShift])

    def fit_again():
        return headstart.fit(tmp_path / "old", out=path, console=Console(quiet=True), **settings)

    assert fit_again().finished
    draw_picture(tmp_path / "new" / "200.png", 200)
    (tmp_path / "new" / "100.png").write_bytes((tmp_path / "new" / "200.png").read_bytes())
    before = {file: file.read_bytes() for file in path.rglob("*.*") if file.is_file()}
    with pytest.raises(DataError, match=r"new` changed since the run .* began: 1 new, 1 of other content") as caught:
        fit_again()
    assert "`--again` does it anew" in caught.value.hint
    assert {file: file.read_bytes() for file in path.rglob("*.*") if file.is_file()} == before


def make_shift():
    """A value that says little."""
    score = Score(split="target", name="accuracy", value=0.5, low=0.4, high=0.6, n=3, subject="", method="")
    verdict = Verdict(code="shift", answer="no", sentence="no sign of a shift")
    return DomainShift(
        levels=(FeatureShift(feature=f"{TRUNK}@stage4", auc=score, p=0.5),),
        verdict=verdict,
        label_verdict=verdict,
        label_p=0.5,
        source_shares=np.full(3, 1 / 3),
        target_shares=(score,) * 3,
        accuracy=(score,),
        source_accuracy=score,
        farthest=np.arange(1),
        strangeness=np.zeros(3, np.float32),
        n_source=150,
        n_target=3,
    )
