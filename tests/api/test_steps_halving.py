"""Halving over several rounds, as the story tells it: what each round embeds, and that a killed run ends alike.

The vectors are made up; the rounds, the probes, the decisions and the draw of the pictures are real.
"""

import dataclasses
from functools import cached_property
from types import SimpleNamespace

import numpy as np
import pytest

from headstart.api.fit_steps import FitSteps
from headstart.core.storage import serialization
from headstart.selection.successive_halving import Option
from judged_sets import dataset, embeddings, splits

KNOWN = {  # signal, prior and what the vectors are drawn by: the first three have the same ones
    "made:best": (1.5, 0.70, 0),
    "made:near": (1.5, 0.71, 0),
    "made:good": (1.5, 0.72, 0),
    "made:fair": (1.0, 0.73, 1),
    "made:poor": (0.3, 0.74, 2),
    "made:none": (0.0, 0.75, 3),
    "made:famous": (0.0, 0.90, 4),
}
FAMOUS = 3 * 10**9  # operations of the best by prior; the others have a third


def flops(name):
    return FAMOUS if name == "made:famous" else FAMOUS // 3


class Told(FitSteps):
    """A story of made-up backbones; `killed` ends the process before so many passes."""

    def __init__(self, ctx, data, killed=None):
        super().__init__(ctx)
        self.given, self.killed, self.passes = data, killed, []

    @cached_property
    def pictures(self):
        return self.given

    @cached_property
    def data(self):
        return self.given

    @cached_property
    def candidates(self):
        return tuple(KNOWN)

    def make_options(self, names):
        return [Option(name=n, expected=KNOWN[n][1], cost=flops(n)) for n in names]

    def _extract_features(self, name, rows, precision="f32"):
        if len(self.passes) == self.killed:
            raise SystemExit
        self.passes.append((name, len(rows)))
        signal, prior, seed = KNOWN[name]
        return embeddings(self.data, name, {"last": signal}, prior=prior, rows=rows, seed=seed, flops=flops(name))


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
    seen = {}
    for name, pictures in story.passes:
        seen.setdefault(pictures, set()).add(name)
    assert list(seen) == sorted(seen) and list(map(len, seen.values())) == [7, 4, 2]
    assert set(KNOWN) == seen[min(seen)] and set(survivors) < seen[max(seen)]
    assert survivors == ("made:best",), "ties go by name, and fame that nothing bears out ends with the last round"
    assert all("made:famous" in names for names in seen.values()), "the best by prior goes on to the last round"
    rows = {row.backbone: row for row in story.screening.rows}
    assert set(rows) | set(survivors) == set(KNOWN)
    assert all(row.status == "screened_out" and row.paired.n == row.rows_seen for row in rows.values())
    assert {row.rows_seen for row in rows.values()} == set(seen)
    looks = sum(row.rows_seen * row.flops for name, row in rows.items() if name != "made:famous")
    assert looks <= FAMOUS * 2600 / 3
    names = [entry["name"] for entry in story.ctx.run.read_decisions()]
    assert names == [f"rank/survivors/{n}/{len(of)}" for n, of in seen.items()]


def test_a_run_killed_in_any_round_ends_as_an_unbroken_one(data, context):
    whole = Told(context(budget="1h"), data)
    found = told(whole)
    for cut in (3, len(whole.passes) - 1):
        first = Told(context(name=f"killed{cut}", budget="1h"), data, killed=cut)
        with pytest.raises(SystemExit):
            told(first)
        decided = first.ctx.run.read_decisions()
        again = Told(context(name=f"killed{cut}", budget="1h"), data)
        assert told(again) == found
        assert again.passes == whole.passes
        assert decided == whole.ctx.run.read_decisions()[: len(decided)]
        assert again.ctx.run.read_decisions() == whole.ctx.run.read_decisions()


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
    assert story.survivors == tuple(KNOWN)
    assert [len(e.rows) for e in story.embed_all()] == [2600] * len(KNOWN)


def test_pictures_that_judge_go_once_through_what_the_head_reads_and_no_other(data, context, monkeypatch):
    monkeypatch.setattr("headstart.selection.candidates.backbone_for_audit", lambda names, best: "made:famous")
    for read in ("made:famous", "made:best"):
        story = Told(context(name=read), data)
        story.splits, story.survivors, story.tuned_embeddings = splits(data), ("made:best", "made:famous"), ()
        story.probe = SimpleNamespace(features=(SimpleNamespace(backbone=read),))
        rows = {each.spec.name: len(each.rows) for each in story.source_embeddings}
        first = [("made:famous", 2600), ("made:best", 1950)]  # the one that is audited, and the training pictures
        assert story.passes == (first if read == "made:famous" else [*first, ("made:best", 2600)])
        assert rows == {"made:famous": 2600, "made:best": 1950 if read == "made:famous" else 2600}
