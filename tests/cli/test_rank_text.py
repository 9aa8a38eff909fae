"""What `rank` prints of a ranking, beside its table."""

from headstart.cli.commands.rank import PLUGIN
from headstart.core.storage.serialization import as_json
from headstart.core.types import Ranking, RankRow, Score

GAIN = Score(split="screen", name="log_loss", value=0.011, low=-0.009, high=0.031, n=256)
LITE0, LITE1 = "bundled:efficientnet_lite0", "bundled:efficientnet_lite1"


def row(backbone, depth, status, beats_random=None):
    scores = tuple(
        Score(split="cv", name=name, value=0.5, low=0.4, high=0.6, n=400) for name in ("log_loss", "balanced_accuracy")
    )
    return RankRow(
        candidate=f"{backbone}@{depth}",
        backbone=backbone,
        depth=depth,
        probe="ridge",
        scores=scores,
        paired=None,
        status=status,
        rows_seen=400,
        flops=1,
        seconds=0.0,
        prior=0.7,
        logme=0.0,
        over_random=None if beats_random is None else GAIN,
        beats_random=beats_random,
    )


def printed(*rows, **told):
    found = Ranking(metric="log_loss", rows=rows, chosen=rows[0].candidate, why="it is", ties=(), survivors=(), **told)
    return PLUGIN.format_result({"run": "runs/one", "ranking": as_json(found)}).splitlines()


def test_who_is_best_by_what_is_said_where_there_is_a_choice():
    rows = (row(LITE0, "last", "chosen"), row(LITE1, "last", "beaten"))
    told = printed(*rows, best_by_probe=f"{LITE0}@last", best_by_prior=LITE1, prior_why="published top-1 0.766")
    assert told[-1] == f"best by probe: {LITE0}@last; best by prior: {LITE1} (published top-1 0.766)"
    assert printed(*rows, best_by_probe=f"{LITE0}@last")[-1] == f"best by probe: {LITE0}@last"
    assert printed(rows[0], row("random:x", "last", "control"), best_by_probe="a", best_by_prior="b")[-1] == "it is"


def test_a_backbone_that_gains_nothing_over_random_weights_is_named_once_with_the_difference():
    rows = (row(LITE0, "last", "chosen", beats_random=True), *(row(LITE1, d, "beaten", False) for d in ("one", "two")))
    lines = [line for line in printed(*rows, best_by_probe="a") if "random weights" in line]
    assert lines == [f"no better than random weights: {LITE1}, difference in log loss 0.011 [-0.009, 0.031] n=256"]
