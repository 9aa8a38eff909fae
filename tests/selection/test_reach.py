"""How far `auto` reaches: the recommended backbones, what bars them, what is said, and that nobody waits for long."""

import io
import json
import os
import socket
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

import headstart
import hub_presets
import judged_sets
import official_files
from command_line import cold
from headstart.api import commands
from headstart.backbones import loading
from headstart.backbones.downloads import resumable, wheels
from headstart.backbones.licences import is_permissive
from headstart.backbones.recommended import list_recommendations
from headstart.backbones.sources.keras_applications import _read_table
from headstart.cli.main import main
from headstart.core.console import Console
from headstart.core.errors import SetupError
from headstart.core.storage.cache import Store
from headstart.data.reading.read_dataset import read_dataset
from headstart.selection import candidates, reach
from headstart.selection.published_accuracy import is_published
from plain_server import serving

EFFICIENT, DINO = "keras_applications:efficientnet_v2_b0", "keras_hub:dinov2_small"

pytestmark = [  # of what the tests ask of KerasHub itself
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning"),
]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, no Keras home, no mirror, and a memory of nobody's answers."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("HEADSTART_WEIGHTS_MIRROR", raising=False)
    reach._ask_address.cache_clear()
    return Store(tmp_path / "cache")


@pytest.fixture
def ctx(context, cache):
    """A context that may reach out; its words are kept."""

    def make(**settings):
        ctx = context(store=cache, **settings)
        ctx.console, ctx.reaches_out = Console(err=io.StringIO()), True
        return ctx

    return make


def reasons(ctx, **how):
    return {row.backbone.name: row.why_not for row in reach.find_reach(ctx, **how)}


# ---------------------------------------------------------------- the list


def test_the_list_is_short_permissive_of_several_kinds_and_tells_its_sources():
    listed = list_recommendations()
    specs = [loading.find_backbone(name).spec for name in listed]
    assert 4 <= len(listed) <= 8 and len({spec.family for spec in specs}) == len(listed)
    assert {spec.method for spec in specs} == {"supervised", "self-supervised", "image-text"}
    costs = [spec.flops for spec in specs]
    assert min(costs) < 2e9 and max(costs) > 3e10
    for spec, one in zip(specs, listed.values(), strict=True):
        assert is_permissive(spec.licence) and is_published(spec) and 0.7 < spec.prior < 0.9
        assert spec.download_bytes > 2e7 and one.transfer and ("arXiv" in one.source)
    ours = {name.partition(":")[2] for name in listed if name.startswith("keras_applications:")}
    assert ours <= set(
        official_files.ONE_OF_EACH_KIND
    )  # from the official file to features: test_families_end_to_end.py


def test_a_recommended_preset_is_known_before_it_is_here(cache):
    spec = loading.find_backbone("dinov2_small").spec
    assert spec.name == DINO and spec.input.size_px == 224 and spec.prior == 0.811
    assert [depth.name for depth in spec.depths] == ["block3", "block6", "block9", "last"]
    assert not loading.find_backbone(DINO).source.available("dinov2_small", cache)
    assert loading.find_backbone(f"random:{DINO}").spec.prior == 0


# ---------------------------------------------------------------- what bars a backbone


def test_offline_nobody_is_asked_and_one_line_says_so(ctx, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *given: pytest.fail("somebody was asked"))
    made = ctx()
    lites = tuple(name for name in loading.list_backbones() if "bundled:efficientnet" in name)
    assert candidates.list_candidates(made, judged_sets.dataset(1000)) == lites
    said = made.console.err.getvalue()
    assert (
        said.count("not considered") == 1
        and f"{len(list_recommendations())} recommended backbones are not considered" in said
    )
    assert "HEADSTART_OFFLINE is set" in said and "headstart backbones recommend DATA" in said
    assert set(reasons(made).values()) != {""}


def test_only_who_may_reaches_out(ctx, monkeypatch):
    made = ctx()
    made.reaches_out = False  # as for an audit
    candidates.list_candidates(made, judged_sets.dataset(1000))
    assert "recommended" not in made.console.err.getvalue()


def test_a_fit_reaches_out_and_the_demo_does_not(cache, monkeypatch, capsys):
    """Whose figures are of the bundled backbones; both end where the pictures cannot be had."""
    asked = []
    monkeypatch.setattr(
        commands, "_open_steps", lambda *given, reaching=False, **how: asked.append(reaching) or _stop()
    )
    monkeypatch.setattr(wheels, "fetch_textile", lambda *given: "pictures")
    for run in (commands.demo, lambda: commands.fit("pictures"), lambda: commands.rank("pictures")):
        with pytest.raises(SetupError, match="far enough"):
            run()
    for run in (commands.audit, commands.embed):
        with pytest.raises(SetupError, match="far enough"):
            run("pictures")
    assert asked == [False, True, True, False, False]


def _stop():
    raise SetupError("far enough")


def test_limits_and_budget_bar_before_anybody_is_asked(ctx, cache, tmp_path, monkeypatch):
    with serving(tmp_path) as (address, requests):
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", address)
        assert "of weights, --max-size 1MB" in reasons(ctx(max_size="1MB"))[EFFICIENT]
        assert "for one picture, --max-latency 1ms" in reasons(ctx(max_latency="1ms"))[EFFICIENT]
        short = reasons(ctx(budget="10s"))[EFFICIENT]
        assert short == "17 s until it is here and ready, the budget has 2.0 s for that"
        assert requests == []
        assert reasons(ctx(), bounded=False)[EFFICIENT].endswith("answers 404") and requests


def test_the_budget_takes_the_cheapest_and_what_promises_most(ctx, cache, tmp_path, monkeypatch):
    for name in list_recommendations():
        if name.startswith("keras_applications:"):
            (tmp_path / _read_table()[name.partition(":")[2]]["file"]).write_bytes(b"as good as any here")
    with serving(tmp_path) as (address, _):
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", address)
        told = {budget: reasons(ctx(budget=budget, name=budget)) for budget in ("5m", "1h")}
    tiny = "keras_applications:convnext_tiny"
    assert {name for name, why in told["5m"].items() if not why} == {EFFICIENT, tiny}
    barred = "there is no time to fetch it too, and more is expected of others"
    assert told["5m"]["keras_applications:resnet50"] == barred
    assert {name for name, why in told["1h"].items() if not why} == {n for n in told["1h"] if "applications" in n}


def test_a_mirror_gives_what_it_holds(ctx, cache, tmp_path, monkeypatch):
    file = tmp_path / "mirror" / _read_table()["efficientnet_v2_b0"]["file"]
    file.parent.mkdir()
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(file.parent))
    assert f"does not hold `{file.name}`" in reasons(ctx())[EFFICIENT]
    file.write_bytes(b"as good as any here")
    with serving(file.parent) as (address, requests):  # on this machine, so that no switch bars it
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", address)
        told = reasons(ctx(budget="2h"))
        assert told.pop(EFFICIENT) == "" and all("answers 404" in why for why in told.values())
        asked = len(requests)
        assert reasons(ctx())[EFFICIENT] == "" and len(requests) == asked  # remembered
        assert all(line.startswith("HEAD ") for line in requests)
    assert not list(cache.root.rglob("*.h5"))


def test_a_named_preset_that_breaks_a_limit_is_refused_before_it_is_fetched(cache, small_textile, tmp_path, capsys):
    words = ["fit", str(small_textile(8)), "--backbones", "dinov2_small", "--out", str(tmp_path / "run")]
    assert main([*words, "--max-size", "20MB"]) == 2
    assert f"`{DINO}` was named and breaks a limit: 86.5 MB of weights" in capsys.readouterr().err
    assert main(words) == 3  # within the limits it is fetched, before anything starts
    assert "www.kaggle.com is not asked: HEADSTART_OFFLINE is set" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_who_does_not_answer_holds_nobody_up(ctx, monkeypatch):
    monkeypatch.setattr(reach, "_ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        assert all("does not answer: timed out" in why for why in reasons(ctx(budget="2h")).values())
        assert time.monotonic() - started < 2


def test_no_network_is_told_at_once(ctx, monkeypatch):
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", "http://127.0.0.1:9")
    assert all("127.0.0.1:9 does not answer: [Errno 111]" in why for why in reasons(ctx(budget="2h")).values())


def test_what_is_fetched_is_named_before_it_is_and_what_fails_is_left_out(
    ctx, context, small_textile, tmp_path, monkeypatch, shared_store, cache
):
    folder = small_textile(8)
    data = read_dataset(folder, ctx=context(data=folder, store=cache, name="reading"))
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    with h5py.File(mirror / _read_table()["efficientnet_v2_b0"]["file"], "w") as file:
        file["other"] = np.zeros(3, np.float32)
    for kind in ("weights", "wheels"):
        cache.root.mkdir(exist_ok=True)
        (cache.root / kind).symlink_to(shared_store.root / kind, target_is_directory=True)
    with serving(mirror) as (address, _):
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", address)
        made = ctx(data=folder)
        chosen = candidates.choose_candidates(data, ctx=made)
    said = made.console.err.getvalue()
    line = f"to be fetched: {EFFICIENT} (24.3 MB), about 2.4 s at 10.0 MB/s; --offline does without"
    assert said.index(line) < said.index("fetch  ")
    assert "is not the file that Keras pins" in said  # over a network the pinned file alone will do
    assert EFFICIENT not in chosen and f"{EFFICIENT} is left out" in said
    assert chosen == ("bundled:efficientnet_lite2",), "the best by prior of those that are here"


# ---------------------------------------------------------------- offline


@pytest.mark.parametrize("address", ["https://nowhere.invalid/x", "http://user:secret@10.0.0.1/x"])
def test_the_switch_bars_every_other_machine(address, monkeypatch, tmp_path):
    monkeypatch.setenv("HEADSTART_OFFLINE", "1")
    for ask in (
        lambda: resumable.download_small(address, most_bytes=10),
        lambda: resumable.download_file(address, tmp_path / "x.part", Console(quiet=True), pinned=True),
        lambda: resumable.explain_unreachable(address, 1),
    ):
        with pytest.raises(SetupError, match="is not asked: HEADSTART_OFFLINE is set") as caught:
            ask()
        assert "secret" not in f"{caught.value.what} {caught.value.where}" and "--offline" in caught.value.hint


def test_the_switch_reaches_every_source(cache, monkeypatch, capsys):
    for name in ("keras_applications:resnet50", "keras_hub:vgg_11_imagenet", "huggingface:org/name"):
        assert main(["backbones", "pull", name, "--offline"]) == 3
        assert "HEADSTART_OFFLINE is set" in capsys.readouterr().err


def test_the_option_sets_the_switch(cache, monkeypatch, capsys):
    monkeypatch.setenv("HEADSTART_OFFLINE", "0")
    assert main(["backbones", "pull", "keras_applications:resnet50", "--offline"]) == 3
    assert "HEADSTART_OFFLINE is set" in capsys.readouterr().err


# ---------------------------------------------------------------- the command


def recommend(capsys, *words, code=0):
    assert main(["backbones", "recommend", *map(str, words), "--json", "--quiet"]) == code
    return json.loads(capsys.readouterr().out)


def test_recommend_tells_each_with_reason_bytes_and_seconds(cache, small_textile, tmp_path, monkeypatch, capsys):
    folder = small_textile(8)
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / _read_table()["efficientnet_v2_b0"]["file"]).write_bytes(b"as good as any here")
    with serving(tmp_path / "mirror") as (address, requests):
        monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", address)
        answer = recommend(capsys, folder)
        tight = recommend(capsys, folder, "--max-size", "20MB", "--licence", "permissive", "--budget", "2m")
    rows = {row["name"]: row for row in answer["backbones"]}
    assert answer["pictures"] == 24
    assert set(rows) == {*list_recommendations(), *(n for n in loading.list_backbones() if n.startswith("bundled:"))}
    row = rows[EFFICIENT]
    assert row["considered"] and row["why"] == "cheap convolutions; published top-1 0.787"
    assert row["fetch_bytes"] > 2e7 and row["fetch_s"] > 15 and row["pass_s"] > 0 and row["licence"] == "Apache-2.0"
    assert row["published"]["source"] and row["published"]["transfer"]
    assert not rows[DINO]["considered"] and "answers 404" in rows[DINO]["why"]
    assert rows["bundled:efficientnet_lite2"]["considered"], "should the other not come"
    assert "are too few to tell it from" in rows["bundled:efficientnet_lite0"]["why"]
    assert "--max-size 20MB" in {r["name"]: r for r in tight["backbones"]}[EFFICIENT]["why"]
    assert not list((cache.root / "weights").glob("*")) and not any("GET" in line for line in requests)


def test_recommend_prints_a_table(cache, small_textile, capsys):
    assert main(["backbones", "recommend", str(small_textile(8)), "--offline"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("24 pictures; seconds until") and lines[2].split()[:2] == ["backbone", "auto"]
    assert any(line.startswith(DINO) and " no " in line and "HEADSTART_OFFLINE" in line for line in lines)
    assert any(line.startswith(f"{DINO}: frozen features on ImageNet") for line in lines)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ([], "needs a DATA"),
        (["a", "b"], "takes one DATA, not 2"),
        (["no_such_folder"], "no_such_folder"),
        (["DATA", "--budget", "soon"], "`soon` is not a time"),
        (["DATA", "--licence", "open"], "`open`"),
        (["DATA", "--depths", "last"], "has no option `--depths`"),
    ],
)
def test_what_recommend_cannot_take_is_told(words, wrong, cache, small_textile, capsys):
    folder = str(small_textile(8))
    words = [folder if word == "DATA" else word for word in words]
    assert main(["backbones", "recommend", *words]) in (2, 3)
    assert wrong in capsys.readouterr().err


# ---------------------------------------------------------------- fetched, opened, used


@pytest.mark.slow
def test_fit_fetches_a_recommended_preset_and_uses_it(shared_store, small_textile, tmp_path):
    """From an HTTP mirror: a small network in the layout of the official preset, at the side of the recommendation."""
    pytest.importorskip("keras_hub")
    env = (
        os.environ
        | cold(shared_store, tmp_path / "cache", ("weights", "trunks", "findings"))
        | {"KERAS_HOME": str(tmp_path / "keras")}
    )
    hub_presets.save("dinov2", tmp_path / "mirror" / "keras_hub" / "dinov2_small")
    words = ("fit", small_textile(8), "--folds", "2", "--budget", "10m", "--out", tmp_path / "run")
    words += ("--max-latency", "150ms")  # without the dearest of the bundled
    with serving(tmp_path / "mirror") as (address, requests):
        env["HEADSTART_WEIGHTS_MIRROR"] = address
        command = [sys.executable, "-m", "headstart", *map(str, words)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    weights = f"{address}/keras_hub/dinov2_small/model.weights.h5"
    assert done.stderr.index(f"to be fetched: {DINO} (90.3 MB), about 9.0 s") < done.stderr.index(weights)
    run = headstart.load(tmp_path / "run")
    rows = [row for row in run.ranking.rows if row.backbone == DINO]
    assert {row.depth for row in rows} == {"block1", "block2", "block3", "last"}
    assert all(np.isfinite(score.value) for row in rows for score in row.scores)
    assert len([line for line in requests if line.endswith("model.weights.h5")]) == 1


@pytest.mark.slow
def test_a_preset_of_the_official_size_becomes_what_was_foreseen(cache, tmp_path, monkeypatch):
    """With drawn weights, saved by KerasHub at 518 px, and read at the side that its figures were published with."""
    pytest.importorskip("keras_hub")
    hub_presets.save_official("dinov2_small", tmp_path / "mirror" / "keras_hub" / "dinov2_small")
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path / "mirror"))
    foreseen, quiet = loading.find_backbone(DINO).spec, Console(quiet=True)
    fetched = loading.find_backbone(DINO, fetching=True, console=quiet)
    same = ("name", "family", "depths", "params", "flops", "licence", "prior", "prior_source", "method", "domains")
    assert [getattr(fetched.spec, one) for one in same] == [getattr(foreseen, one) for one in same]
    assert fetched.spec.input.size_px == foreseen.input.size_px == 224 and fetched.spec.revision != foreseen.revision
    assert 0.9 < fetched.spec.download_bytes / foreseen.download_bytes < 1.1
    folder = loading.make_trunk_folder(fetched, cache, quiet, hub_presets.pictures(8, side=224))
    parity = json.loads((folder / "parity.json").read_text())["depths"]
    assert set(parity) == {depth.name for depth in fetched.spec.depths}


@pytest.mark.slow
def test_a_tower_for_pictures_of_the_official_size_has_what_was_foreseen():
    """SigLIP; in a small size it is fetched, opened and converted by test_hub_families.py."""
    pytest.importorskip("keras_hub")
    from headstart.backbones.keras_hub import trunk
    from headstart.networks import flops

    spec = loading.find_backbone("keras_hub:siglip_base_patch16_224").spec
    network, side = hub_presets.official("siglip_base_patch16_224")
    model, cuts = trunk.flatten_backbone(network, spec.input, {})
    assert (side, model.count_params(), flops.count_flops(model)) == (spec.input.size_px, spec.params, spec.flops)
    assert tuple(cut.level for cut in cuts) == spec.depths
