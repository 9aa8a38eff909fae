"""Halving over several rounds, as the story tells it: what each round embeds, and that a killed run ends alike.

The vectors are made up; the rounds, the probes, the decisions and the draw of the pictures are real.
"""

import dataclasses
from functools import cached_property

import numpy as np
import pytest

from headstart.api.fit_steps import FitSteps
from headstart.core.storage import serialization
from judged_sets import dataset, embeddings

KNOWN = {  # signal, prior and what the vectors are drawn by: the first three have the same ones
    "made:best": (1.5, 0.70, 0),
    "made:near": (1.5, 0.71, 0),
    "made:good": (1.5, 0.72, 0),
    "made:fair": (1.0, 0.73, 1),
    "made:poor": (0.3, 0.74, 2),
    "made:none": (0.0, 0.75, 3),
    "made:famous": (0.0, 0.90, 4),
}


class Told(FitSteps):
    """A story of made-up backbones; `killed` ends the process before so many passes."""

    def __init__(self, ctx, data, killed=None, pace=1.0):
        super().__init__(ctx)
        self.given, self.killed, self.pace, self.passes = data, killed, pace, []

    @cached_property
    def pictures(self):
        return self.given

    @cached_property
    def data(self):
        return self.given

    @cached_property
    def candidates(self):
        return tuple(KNOWN)

    def _count_missing_rows(self, data, names, rows=None):
        return dict.fromkeys(names, len(self.data.uris) if rows is None else len(rows))

    def _extract_features(self, name, rows, precision="f32"):
        if len(self.passes) == self.killed:
            raise SystemExit
        self.passes.append((name, len(rows)))
        signal, prior, seed = KNOWN[name]
        made = embeddings(self.data, name, {"last": signal}, prior=prior, rows=rows, seed=seed)
        return dataclasses.replace(made, latency_ms=self.pace)


@pytest.fixture(scope="module")
def data():
    return dataset(2600)


def told(story):
    found = story.screening
    return (
        found.pictures.tolist(),
        found.survivors,
        [serialization.as_json(dataclasses.replace(r, seconds=0)) for r in found.rows],
    )


def test_every_round_looks_at_more_pictures_of_fewer_backbones(data, context):
    story = Told(context(), data)
    _, survivors, _ = told(story)
    seen = [{name for name, pictures in story.passes if pictures == count} for count in (96, 256, 1024)]
    assert seen[0] == set(KNOWN) > seen[1] > seen[2] >= set(survivors)
    assert survivors == ("made:best", "made:famous", "made:good"), "ties go by name, the best by prior always goes on"
    assert "made:none" not in seen[1]
    rows = {row.backbone: row for row in story.screening.rows}
    assert set(rows) | set(survivors) == set(KNOWN)
    assert all(row.status == "screened_out" and row.paired.n == row.rows_seen for row in rows.values())
    assert {row.rows_seen for row in rows.values()} <= {96, 256, 1024}
    assert len(story.embeddings) == len(survivors)
    names = [entry["name"] for entry in story.ctx.run.read_decisions()]
    assert names == [f"rank/survivors/{n}" for n in (96, 256, 1024)]


def test_a_run_killed_in_any_round_ends_as_an_unbroken_one(data, context):
    whole = Told(context(budget="1h"), data)
    found = told(whole)
    sizes = [pictures for _, pictures in whole.passes]
    for cut in (3, sizes.index(1024) + 1):
        first = Told(context(name=f"killed{cut}", budget="1h"), data, killed=cut)
        with pytest.raises(SystemExit):
            told(first)
        decided = first.ctx.run.read_decisions()
        again = Told(context(name=f"killed{cut}", budget="1h"), data)
        assert told(again) == found
        assert again.passes == whole.passes
        assert decided == whole.ctx.run.read_decisions()[: len(decided)]
        assert again.ctx.run.read_decisions() == whole.ctx.run.read_decisions()
    slow = Told(context(budget="1h"), data, pace=1e9)
    assert told(slow) == found, "by its pace nothing but the best would go on now"


def test_no_round_looks_at_pictures_that_are_given_for_judging(context):
    data = dataset(2600, split=("train", "train", "val", "test") * 650)
    story = Told(context(), data)
    assert {data.split[row] for row in story.screening.pictures} == {"train"}
    first, targets = told(story), np.array(data.targets)
    apart = np.array([split in ("val", "test") for split in data.split])
    targets[apart] = np.random.default_rng(1).integers(0, 3, int(apart.sum()))
    other = Told(context(name="other"), dataclasses.replace(data, targets=targets))
    other._extract_features = story._extract_features  # the vectors are those of the right labels
    assert told(other) == first


def test_backbones_that_are_named_see_all_pictures_at_once(data, context):
    story = Told(context(backbones=tuple(KNOWN)), data)
    assert story.screening is None
    assert [len(e.rows) for e in story.embeddings] == [2600] * len(KNOWN)
