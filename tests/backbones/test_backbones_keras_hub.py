"""The source `keras_hub` as users meet it: folders, mirrors, what is not here, whole runs."""

import importlib.util
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import hub_presets
from command_line import call
from headstart.backbones import loading
from headstart.backbones.imported import description
from headstart.backbones.inventory import cache_inventory, catalogue
from headstart.backbones.keras_hub import import_preset
from headstart.backbones.sources.keras_hub import PLUGIN
from headstart.cli.main import main
from headstart.core import extras
from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.settings import cache_folder
from headstart.core.storage.cache import Store
from headstart.selection import limits
from headstart.testing.backbones import check_backbone, compute_vectors

pytestmark = [  # of what the tests ask of KerasHub itself
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning"),
]
NAMED = "vgg_11_imagenet"
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Family -> folder of a small preset, written once."""
    if importlib.util.find_spec("keras_hub") is None:
        pytest.skip("KerasHub is not installed")
    root, made = tmp_path_factory.mktemp("presets"), {}

    def get(family, seed=3):
        name = f"my_{family}_{seed}"
        if name not in made:
            hub_presets.save(family, root / name, seed)
            made[name] = root / name
        return made[name]

    return get


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HEADSTART_WEIGHTS_MIRROR", raising=False)
    return Store(cache_folder())


# ---------------------------------------------------------------- what is not here


def test_what_kerashub_ships_is_known_without_it():
    """Names, licences and numbers of weights stand in a table; nothing heavy is imported to search it."""
    code = (
        "import sys\n"
        "sys.modules['keras_hub'] = None\n"
        "from headstart.cli.main import main\n"
        "code = main(['backbones', 'search', 'dinov3', '--json'])\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["backbones"]
    assert {row["name"] for row in rows} >= {"keras_hub:dinov3_vit_small_lvd1689m"}
    assert not any(row["permissive"] for row in rows)
    assert all(row["params"] > 1e6 and row["input"] is None and row["depths"] == [] for row in rows)  # never 0


def test_without_kerashub_the_error_says_what_to_install(cache):
    code = (
        "import sys\n"
        "sys.modules['keras_hub'] = None\n"
        "from headstart.cli.main import main\n"
        "sys.exit(main(['backbones', 'pull', 'keras_hub:vit_base_patch16_224_imagenet']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "KerasHub" in done.stderr and extras.format_install_command("hub") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_preset_alone_names_where_it_can_be_had(cache):
    with pytest.raises(UsageError, match=r"`vit_base_patch16_224_imagenet` is not here yet") as caught:
        loading.find_backbone("vit_base_patch16_224_imagenet")
    assert "keras_hub:vit_base_patch16_224_imagenet" in caught.value.hint


def test_a_misspelt_preset_names_the_nearest(cache):
    with pytest.raises(UsageError, match=r"no preset `vit_base_patch16_244_imagenet`") as caught:
        loading.find_backbone("keras_hub:vit_base_patch16_244_imagenet")
    assert "vit_base_patch16_224_imagenet" in caught.value.hint


def test_licences_are_stated_only_where_somebody_states_them():
    table = PLUGIN.shipped_presets()
    assert len(table) > 130
    assert all(row["params"] > 0 and row["handle"].startswith("kaggle://") for row in table.values())
    stated = {row["family"]: row["licence"] for row in table.values() if not row["licence"].startswith("unknown")}
    assert stated == dict.fromkeys(("vit", "dinov2", "siglip"), "Apache-2.0") | {
        "dinov3": "DINOv3 License",
        "mit": "NVIDIA Source Code License for SegFormer",
    }
    assert table["medsiglip_900m_448"]["licence"].startswith("unknown")
    assert all(row["licence_note"] for row in table.values())


def test_numbers_of_weights_are_known_before_the_weights_are_here(cache, capsys):
    assert main(["backbones", "search", "keras_hub", "dinov2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["backbones"]
    assert len(rows) > 3 and all(row["params"] > 20e6 for row in rows)
    assert main(["backbones", "show", "keras_hub:dinov2_base"]) == 0
    assert f"{PLUGIN.shipped_presets()['dinov2_base']['params']:,}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["keras_hub:hf://org/name", "keras_hub:kaggle://keras/vit/keras/vit_base/2"])
def test_what_is_not_here_is_not_fetched_to_be_shown(name, cache, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # an attempt would be another error
    with pytest.raises(UsageError, match=f"`{name}` is not here yet") as caught:
        catalogue.read_facts(name, cache)
    assert caught.value.hint == f"headstart backbones pull {name}"


@pytest.mark.skipif(importlib.util.find_spec("keras_hub") is None, reason="KerasHub is not installed")
def test_a_mirror_without_it_is_told(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path))
    with pytest.raises(SetupError, match=rf"`{NAMED}` cannot be had"):
        loading.find_backbone(f"keras_hub:{NAMED}", fetching=True, console=QUIET)
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path / "no_such"))
    with pytest.raises(SetupError, match="there is no folder `.*no_such`"):
        loading.find_backbone(f"keras_hub:{NAMED}", fetching=True, console=QUIET)
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", "s3://bucket/x")
    with pytest.raises(SetupError, match="`s3://` cannot be read") as caught:
        loading.find_backbone(f"keras_hub:{NAMED}", fetching=True, console=QUIET)
    copied = f"keras_hub/{NAMED}/"  # where a mirror `weights` is looked into
    assert f"aws s3 cp --recursive s3://bucket/x/{copied} weights/{copied}, then" in caught.value.hint
    assert not list((cache.root / "added").glob("*")) and not description.list_names("keras_hub")


# ---------------------------------------------------------------- folders and mirrors


@pytest.mark.medium
def test_a_folder_becomes_a_backbone_without_its_path(cache, folders, tmp_path, capsys):
    folder = folders("vgg")
    found = loading.find_backbone(f"keras_hub:{folder}")
    assert found.name.startswith("keras_hub:my_vgg_3-") and str(folder) not in json.dumps([found.name, str(found.spec)])
    assert found.name in loading.list_backbones() and loading.find_backbone(found.name).spec == found.spec
    assert loading.find_backbone(f"keras_hub:{folder}").name == found.name
    assert found.spec.licence.startswith("unknown")
    check_backbone(PLUGIN, found.preset, cache)
    entry = next(one for one in cache_inventory.list_entries(cache) if one.name == found.name)
    assert not cache_inventory.find_damage(entry.path) and not entry.gone
    (next(entry.path.glob("*.keras"))).write_bytes(b"damaged")
    assert main(["backbones", "verify"]) == 1
    assert f"then: --backbones {found.name}, or keras_hub:PATH" in capsys.readouterr().out
    description.remove_description(found.preset, cache, "keras_hub")
    assert [why for _, why in cache_inventory.list_prunable(cache)] == ["no backbone of this installation has it"]


@pytest.mark.medium
def test_a_published_preset_comes_from_a_mirror_and_comes_again(cache, folders, tmp_path, monkeypatch):
    place = tmp_path / "mirror" / "keras_hub" / NAMED
    shutil.copytree(folders("vgg"), place)
    monkeypatch.setenv("HEADSTART_WEIGHTS_MIRROR", str(tmp_path / "mirror"))
    assert catalogue.read_facts(f"keras_hub:{NAMED}", cache)["indexed"]
    found = loading.find_backbone(f"keras_hub:{NAMED}", fetching=True, console=QUIET)
    facts = catalogue.read_facts(found.name, cache)
    assert found.name == f"keras_hub:{NAMED}" and found.spec.family == "vgg"
    assert not facts["indexed"] and facts["weights_here"] and facts["params"] == found.spec.params
    assert found.name not in {row["name"] for row in catalogue.list_index_facts(cache)}
    x = hub_presets.pictures()
    before = compute_vectors(found.build(cache), x)
    shutil.rmtree(cache.root / "added")
    assert not found.source.available(found.preset, cache)
    found.source.pull(found.preset, cache, QUIET)
    assert all(np.array_equal(a, b) for a, b in zip(before, compute_vectors(found.build(cache), x), strict=True))
    shutil.rmtree(place)
    shutil.copytree(folders("vgg", seed=4), place)
    shutil.rmtree(cache.root / "added")
    with pytest.raises(
        SetupError, match=r"`keras_hub/vgg_11_imagenet/model.weights.h5` is not the file that was first"
    ):
        found.source.pull(found.preset, cache, QUIET)


@pytest.mark.medium
def test_a_bad_preset_leaves_nothing_behind(cache, folders, tmp_path):
    shutil.copytree(folders("vgg"), tmp_path / "bad")
    (tmp_path / "bad" / "note.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match=r"`note.pkl` is refused"):
        loading.find_backbone(f"keras_hub:{tmp_path / 'bad'}")
    assert not cache.root.exists() or not list(cache.root.glob("added/*"))


@pytest.mark.medium
def test_texts_of_a_preset_of_pictures_and_texts(cache, folders):
    """The half that reads texts is kept beside the trunk; `last` is the picture's vector in the same space."""
    from headstart.backbones.keras_hub import preset

    found = loading.find_backbone(f"keras_hub:{folders('clip')}")
    folder = import_preset.find_text_folder(found.preset, cache)
    whole = preset.open_preset(folder).backbone
    x = hub_presets.pictures()
    wanted = np.asarray(whole.get_vision_embeddings(hub_presets.converter()(x.astype(np.float32))))
    np.testing.assert_allclose(compute_vectors(found.build(cache), x)[-1], wanted, atol=1e-5)
    assert np.asarray(whole.get_text_embeddings(np.array([[3, 5, 7, 59, 0, 0, 0, 0]]))).shape == (1, wanted.shape[1])
    assert import_preset.find_text_folder(loading.find_backbone(f"keras_hub:{folders('vgg')}").preset, cache) is None


def test_what_its_licence_does_not_tell_is_not_permissive():
    from headstart.core import job

    wanted = job.make_job(data="x", license="permissive")
    found = description.ImportedBackbone(**_facts()).spec("keras_hub")
    assert "is not permissive" in limits.format_broken_limits((found,), wanted, {})


def _facts():
    from headstart.core.types import InputSpec
    from headstart.networks.cut_points import Cut

    cuts = (Cut(name="last", layer="a", dim=1, side=1),)
    shape = {"layout": "nhwc", "scaling": "", "guess": False, "cuts": cuts, "params": 1, "flops": 1, "bytes": 1}
    told = {"licence": "unknown: see where the weights come from", "licence_note": "", "pretrained_on": "x"}
    return {
        "name": "a",
        "kind": "keras",
        "content": "0" * 64,
        "input": InputSpec(size_px=8),
        "family": "x",
        **shape,
        **told,
    }


# ---------------------------------------------------------------- whole runs


@pytest.mark.medium
def test_nothing_of_tensorflow_starting_is_seen(cache, folders):
    words = ("backbones", "pull", f"keras_hub:{folders('vgg')}", "--quiet")
    stdout, stderr = call(*words, env={"HEADSTART_CACHE": str(cache.root)}, light=False)
    assert " is here: " in stdout
    assert [line for line in stderr.splitlines() if not line.startswith("warning: ")] == []


@pytest.mark.slow
@pytest.mark.parametrize("family", ["resnet", "vit"])
@pytest.mark.parametrize("strategy", ["probe", "finetune"])
def test_fit_from_a_folder(family, strategy, cache, folders, small_textile, tmp_path):
    """A run copies what it needs: it answers when cache, preset and KerasHub are gone."""
    data, out = small_textile(8), tmp_path / "run"
    words = ["fit", data, "--backbones", f"keras_hub:{folders(family)}", "--strategy", strategy, "--folds", "2"]
    if strategy == "finetune":
        words += ["--recipe", "epochs=1,batch=8,rate=1e-3,augment=0,blocks=1,part=last,depths=last,wise=false"]
    env = {"HEADSTART_CACHE": str(cache.root)}
    stdout, stderr = call(*words, "--out", out, "--json", "--quiet", env=env, light=False, timeout=900)
    assert all(line.startswith("warning: ") for line in stderr.splitlines()), stderr
    assert json.loads(stdout)["chosen"]
    shutil.rmtree(cache.root)
    file = next(data.rglob("*.jpg"))
    answer, _ = call("predict", out, file, "--json", env={"HEADSTART_CACHE": str(tmp_path / "none")})
    assert json.loads(answer.splitlines()[0])["answer"] in {"global", "local", "nominal"}
