"""What `fit --json` prints: a leak of given splits has the scores without it, apart from those of all pictures."""

import dataclasses

from headstart.api.run import Run
from headstart.core.storage.serialization import load_value, save_value
from headstart.core.types import Evaluation
from headstart.evaluation.held_out_scores import WITHOUT_STRADDLING
from made_runs import TARGETS, TEST, TRUTH, dataset, write


def test_scores_without_a_leak_stand_apart(tmp_path):
    path = write(tmp_path / "run", dataset(TARGETS), TRUTH[-TEST:])
    evaluation = load_value(Evaluation, path / "evaluate")
    assert Run(path).summary()["scores_without_leak"] == []
    accuracy = next(score for score in evaluation.scores if score.name == "accuracy" and not score.subject)
    apart = dataclasses.replace(accuracy, n=accuracy.n - 4, value=0.75, subject=WITHOUT_STRADDLING)
    save_value(dataclasses.replace(evaluation, scores=(*evaluation.scores, apart)), path / "evaluate")
    summary = Run(path).summary()
    assert [(score["name"], score["value"], score["n"]) for score in summary["scores_without_leak"]] == [
        ("accuracy", 0.75, accuracy.n - 4)
    ]
    assert WITHOUT_STRADDLING not in {score["subject"] for score in summary["scores"]}
