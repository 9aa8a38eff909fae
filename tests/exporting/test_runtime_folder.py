"""The saved model of real features: small, equal to the run, and whole or not there."""

import dataclasses
import json
import stat

import numpy as np
import pytest

from headstart.core import model_manifest
from headstart.core.errors import SetupError
from headstart.core.storage import serialization
from headstart.core.types import Evaluation, Feature, FitResult, FittedHead
from headstart.data.reading.read_dataset import read_dataset as read
from headstart.exporting.runtime_model import export_runtime_model as export
from headstart.features.extraction import extract_features as embed
from headstart.runtime.model import load

pytestmark = pytest.mark.medium
LITE0 = "bundled:efficientnet_lite0"


def adapted(spec, depths, classes=3):
    """A head on some depths of a trunk; its weights are drawn, since only their use is tested."""
    dims = {depth.name: depth.dim for depth in spec.depths}
    features = tuple(Feature(backbone=spec.name, depth=depth, dim=dims[depth]) for depth in depths)
    draw = np.random.default_rng(0)
    arrays = {
        "weights": draw.normal(size=(sum(dims[d] for d in depths), classes)).astype(np.float32),
        "bias": draw.normal(size=classes).astype(np.float32),
    }
    head = FittedHead(head="ridge", kind="linear", params={}, arrays=arrays, trainable_params=0)
    nothing = np.zeros(0)
    return FitResult(
        strategy="probe",
        features=features,
        fitted=head,
        tried=(),
        why="",
        cv_rows=nothing,
        cv_probabilities=nothing,
        train_probabilities=nothing,
        nested=(),
        curve=(),
    )


def evaluation(threshold=None):
    nothing = np.zeros(0)
    return Evaluation(
        split="test",
        scores=(),
        baselines=(),
        confusion=nothing,
        rows=nothing,
        probabilities=nothing,
        calibration=(),
        suspects=nothing,
        threshold=threshold,
        verdicts=(),
    )


@pytest.fixture
def embedded(small_textile, context):
    """A function that reads and embeds 18 pictures: (data, embeddings, ctx)."""

    def make(**settings):
        folder = small_textile(6, name=f"textile{len(settings)}")
        ctx = context(folder, **settings)
        data = read(str(folder), ctx=ctx)
        return data, (embed(data, LITE0, np.arange(len(data.uris)), ctx=ctx),), ctx

    return make


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_saved_model_is_the_run(embedded):
    data, embeddings, ctx = embedded()
    spec = embeddings[0].spec
    middle, last = spec.depths[-2].name, spec.depths[-1].name
    made = export(data, embeddings, adapted(spec, (last, middle)), evaluation(), ctx=ctx)
    assert made.parity_max_abs <= 1e-4
    assert serialization.load_value(type(made), ctx.make_step_folder("export")) == made
    found = model_manifest.read_manifest(ctx.run.path / "model")
    assert found.class_names == ("global", "local", "nominal")
    assert [depth.name for depth in found.trunks[0].depths] == [middle, last]  # the graph's order, not the head's
    assert [feature.depth for feature in found.features] == [last, middle]
    assert found.trunks[0].licence == spec.licence
    assert made.bytes == sum(len(content) for content in contents(ctx.run.path / "model").values())
    assert not list(ctx.run.path.glob(".model*"))
    answers = list(load(ctx.run.path / "model").predict([ctx.run.path.parent / "textile0" / uri for uri in data.uris]))
    assert not [answer for answer in answers if answer.error]
    assert len({answer.answer for answer in answers}) > 1


def test_only_what_the_head_reads_is_taken(embedded):
    data, embeddings, ctx = embedded()
    spec = embeddings[0].spec
    export(data, embeddings, adapted(spec, [spec.depths[-1].name]), evaluation(), ctx=ctx)
    whole = (ctx.run.path / "model" / "trunk0" / "trunk.bin").stat().st_size
    export(data, embeddings, adapted(spec, [spec.depths[0].name]), evaluation(), ctx=ctx)  # replaces the first
    part = (ctx.run.path / "model" / "trunk0" / "trunk.bin").stat().st_size
    assert part < whole / 2
    assert [d.name for d in model_manifest.read_manifest(ctx.run.path / "model").trunks[0].depths] == [
        spec.depths[0].name
    ]


def test_twice_is_equal_byte_for_byte(embedded):
    data, embeddings, ctx = embedded()
    head = adapted(embeddings[0].spec, [embeddings[0].spec.depths[-1].name])
    export(data, embeddings, head, evaluation(), ctx=ctx)
    first = contents(ctx.run.path / "model")
    export(data, embeddings, head, evaluation(), ctx=ctx)
    assert contents(ctx.run.path / "model") == first
    assert set(first) == {"manifest.json", "head.safetensors", "trunk0/trunk.xml", "trunk0/trunk.bin"}


def test_a_model_that_differs_from_the_run_is_refused_and_not_left(embedded):
    data, [embedding], ctx = embedded()
    last = embedding.spec.depths[-1].name
    wrong = dataclasses.replace(embedding, vectors={**embedding.vectors, last: embedding.vectors[last] * 1.1})
    with pytest.raises(SetupError, match="differ by"):
        export(data, (wrong,), adapted(embedding.spec, [last]), evaluation(), ctx=ctx)
    assert not (ctx.run.path / "model").exists()
    assert not list(ctx.run.path.glob(".model*"))


def test_a_threshold_and_costs_go_with_the_model(embedded, tmp_path):
    (tmp_path / "costs.csv").write_text("truth,global,local,nominal\nglobal,0,1,2\nlocal,3,0,4\nnominal,5,6,0\n")
    data, embeddings, ctx = embedded(positive="local", costs=str(tmp_path / "costs.csv"))
    head = adapted(embeddings[0].spec, [embeddings[0].spec.depths[-1].name])
    export(data, embeddings, head, evaluation(threshold=0.3), ctx=ctx)
    rule = json.loads((ctx.run.path / "model" / "manifest.json").read_text())["decision"]
    assert rule == {"positive": "local", "threshold": 0.3, "costs": [[0, 1, 2], [3, 0, 4], [5, 6, 0]]}


def test_others_may_read_the_folder(embedded):
    data, embeddings, ctx = embedded()
    head = adapted(embeddings[0].spec, [embeddings[0].spec.depths[-1].name])
    export(data, embeddings, head, evaluation(), ctx=ctx)
    folder = ctx.run.path / "model"
    plain = ctx.run.path / "plain"
    plain.write_text("")
    mode = stat.S_IMODE(plain.stat().st_mode)
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*") if p.is_file()} == {mode}
