"""Whether a run is finished: only one with pictures of a new domain has to know anything of it."""

import dataclasses

import numpy as np
import pytest

from headstart.api.run import Run
from headstart.core.job import make_job, write_job
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


def make_shift():
    """A value that says little."""
    score = Score(split="target", name="accuracy", value=0.5, low=0.4, high=0.6, n=3, subject="", method="")
    verdict = Verdict(code="shift", answer="no", sentence="no sign of a shift")
    return DomainShift(
        levels=(FeatureShift(feature=f"{TRUNK}@stage4", auc=score, p=0.5),),
        verdict=verdict,
        label_verdict=verdict,
        source_shares=np.full(3, 1 / 3),
        target_shares=(score,) * 3,
        accuracy=(score,),
        source_accuracy=score,
        farthest=np.arange(1),
        strangeness=np.zeros(3, np.float32),
        n_source=150,
        n_target=3,
    )
