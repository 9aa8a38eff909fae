"""Chunks on a real Ray cluster of two machines on this one: the same bits as here, and what is lost is done again."""

import dataclasses
import hashlib
import io
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

from drawn_pictures import write_stripes
from headstart.backbones.imported import registration
from headstart.backbones.imported.registration import ImportRequest
from headstart.core import recipe as recipes
from headstart.core.console import Console
from headstart.core.errors import DataError, SetupError, UsageError
from headstart.core.run.folder import RunFolder
from headstart.core.run.workers import ChunkWork
from headstart.core.settings import count_cores
from headstart.core.storage.cache import Store
from headstart.data.reading.read_dataset import read_dataset
from headstart.features.extraction import extract_features
from headstart.finetuning.search.parallel.parallel_folds import KIND
from headstart.finetuning.search.recipe_search import Search
from headstart.finetuning.search.training_cost import TimeBudget
from headstart.finetuning.training.epoch_loop import TrainingLoop
from headstart.remote.cluster.chunk_task import describe_software, require_same_software, run_chunk
from headstart.remote.cluster.connection import connect_workers, load_ray, require_answer
from headstart.remote.cluster.options import ClusterOptions, read_options
from headstart.remote.cluster.ray_workers import RayWorkers
from network_files import tiny_keras
from tuning_bench import surroundings, workbench

NAME, TINY = "bundled:efficientnet_lite0", "saved_file:tiny"
SMALL = {"threads": 1, "chunk_s": 0.05, "timeout_s": 60.0}
MEMORY = {"object_store_memory": 100_000_000}


@pytest.fixture(scope="module")
def cluster():
    """A cluster of a head, to which tests add machines."""
    load_ray()
    from ray.cluster_utils import Cluster

    head = {"num_cpus": count_cores(), "include_dashboard": False, **MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def workers(cluster):
    """Workers of the cluster, for chunks that are soon done, and what their console wrote."""
    err = io.StringIO()
    with connect_workers(ClusterOptions(address=cluster.address, **SMALL), Console(err=err)) as workers:
        yield workers, err


@pytest.fixture
def fresh_store(tmp_path, shared_store):
    """A function that makes a cache with the shared weights and trunks, but no vectors."""

    def make(name):
        root = tmp_path / name
        root.mkdir()
        for kind in ("weights", "trunks", "paces"):
            (shared_store.root / kind).mkdir(parents=True, exist_ok=True)
            (root / kind).symlink_to(shared_store.root / kind, target_is_directory=True)
        return Store(root)

    return make


class LosingWorkers:
    """Workers of which a machine is killed by -9 once the first chunk is there, while others are open."""

    def __init__(self, workers, cluster, cores=1):
        self.workers, self.cluster = workers, cluster
        self.doomed = cluster.add_node(num_cpus=cores, **MEMORY)
        self.count_slots, self.explain_staying = workers.count_slots, workers.explain_staying
        self.estimate_task_seconds = workers.estimate_task_seconds

    def run_chunks(self, work, rows):
        for answer in self.workers.run_chunks(work, rows):
            yield answer
            if self.doomed:
                self.cluster.remove_node(self.doomed, allow_graceful=False)
                self.doomed = None


def embedded(ctx):
    """Name -> digest of what a run folder says of its vectors."""
    folder = ctx.run.path / "embed"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.medium
def test_a_machine_killed_while_chunks_are_open_costs_its_chunk_and_no_bit(
    small_textile, context, fresh_store, cluster, workers
):
    folder = small_textile(12)
    data = read_dataset(folder, ctx=context(data=folder, store=fresh_store("reading"), name="reading"))
    rows = np.arange(len(data.uris))
    here = context(store=fresh_store("here"), name="here")
    alone = extract_features(data, NAME, rows, ctx=here)
    there = context(store=fresh_store("there"), name="there")
    there.workers = LosingWorkers(workers[0], cluster)
    together = extract_features(data, NAME, rows, ctx=there)
    for level, vectors in alone.vectors.items():
        np.testing.assert_array_equal(vectors, together.vectors[level])
    assert embedded(here) == embedded(there)
    assert together.cached == 0 and there.workers.doomed is None
    again = context(store=there.store, name="again")
    again.workers = workers[0]
    assert extract_features(data, NAME, rows, ctx=again).cached == len(rows)


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.medium
def test_folds_of_the_cluster_are_those_of_this_machine_though_a_machine_is_killed(
    tmp_path, cluster, workers, monkeypatch
):
    store = Store(tmp_path / "cache")
    monkeypatch.setenv("HEADSTART_CACHE", str(store.root))
    tiny_keras(tmp_path / "tiny.keras")
    tiny = registration.add_file(ImportRequest(file=tmp_path / "tiny.keras"), store, Console(quiet=True))
    depth = tiny.cuts[-1].name
    data, settings = write_stripes(tmp_path / "stripes", count=6), {"test_size": 0.0, "folds": 5, "backbones": TINY}
    setup = workbench(surroundings(data, tmp_path / "run", store, **settings), depth)
    plain = {"backbone": TINY, "depths": (depth,), "epochs": 1, "batch": 6, "rate": 2e-3}

    def search(name, workers=None):
        """A search of one recipe in a run folder of its own, and what its console writes."""
        err = io.StringIO()
        around = {"run": RunFolder(tmp_path / name), "workers": workers, "console": Console(err=err)}
        own = dataclasses.replace(setup, ctx=dataclasses.replace(setup.ctx, **around))
        own.cost.fold_seconds = lambda recipe: 30.0
        queue = [("given", recipes.make_recipe(plain))]
        budget = TimeBudget(ctx=own.ctx, total_s=0.0)
        return Search(setup=own, budget=budget, strategy="finetune", queue=queue, max_trials=1), err

    here, _ = search("here")
    here.try_recipes()
    alone = here.judge_finalists()
    monkeypatch.setattr(TrainingLoop, "run_epochs", None)  # from here on nothing trains in this process
    there, lines = search("there", LosingWorkers(workers[0], cluster, count_cores()))
    there.try_recipes()
    together = there.judge_finalists()
    assert there.setup.ctx.workers.doomed is None
    assert "5 folds train side by side on the cluster: about" in lines.getvalue()
    assert "training: a chunk of 1 is done again, since" in workers[1].getvalue()
    trials = [digests(each.setup.ctx.run.path / "adapt" / "trials") for each in (here, there)]
    assert trials[0] == trials[1] and len(trials[0]) >= 5
    for fold in here.setup.training_set.fold_numbers:
        weights = [digests(each.setup.work_folder / f"trial000-fold{fold}") for each in (here, there)]
        kept = [{name: digest for name, digest in each.items() if name.startswith("weights")} for each in weights]
        assert kept[0] == kept[1] and len(kept[0]) == 2
    np.testing.assert_array_equal(alone[0].verdict.probabilities, together[0].verdict.probabilities)
    assert len([entry for entry in (store.root / KIND).iterdir() if store.find_entry(KIND, entry.name)]) == 5
    monkeypatch.setattr(RayWorkers, "count_slots", lambda self, threads=0: 2)
    monkeypatch.setattr(RayWorkers, "run_chunks", None)  # nothing is sent again
    again, lines = search("again", workers[0])
    again.try_recipes()
    assert "side by side" not in lines.getvalue() and again.trials[0].runs


@pytest.mark.medium
def test_a_chunk_that_hangs_or_whose_worker_dies_is_done_again(workers, tmp_path):
    mark, options = tmp_path / "seen", ClusterOptions(threads=1, chunk_s=0.05, timeout_s=15.0, attempts=3)

    def fail_once(prepared, part, threads):
        if part[0] == 0 and not mark.exists():
            mark.touch()
            os._exit(9)
        if part[0] == 1 and not mark.with_suffix(".hung").exists():
            mark.with_suffix(".hung").touch()
            time.sleep(600)
        return part * 2

    def end_always(prepared, part, threads):
        os._exit(9)

    def fill_memory(prepared, part, threads):
        raise MemoryError

    work = {"name": "numbers", "prepare": lambda shared, threads: shared, "shared": None, "row_s": 0.05}
    ray_workers, err = workers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_workers, "options", options)
        rows, take = np.arange(3), {"take_part": lambda rows: rows}
        answers = list(ray_workers.run_chunks(ChunkWork(function=fail_once, **work, **take), rows))
        assert sorted(np.concatenate([answer.rows for answer in answers]).tolist()) == [0, 1, 2]
        assert all(np.array_equal(answer.answer, answer.rows * 2) for answer in answers)
        assert "numbers: a chunk of 1 is done again, since its worker process or machine is gone" in err.getvalue()
        assert "since no answer came for 15 s" in err.getvalue()
        with pytest.raises(SetupError, match="1 rows of numbers were lost 3 times on the cluster"):
            list(ray_workers.run_chunks(ChunkWork(function=end_always, **work, **take), rows[:1]))
        with pytest.raises(SetupError, match="too little memory"):
            list(ray_workers.run_chunks(ChunkWork(function=fill_memory, **work, **take), rows[:1]))
        patch.setattr(ray_workers, "_software", {**describe_software(), "openvino": "1.0"})
        with pytest.raises(SetupError, match=r"has other software than this machine: openvino .*, here 1\.0"):
            list(ray_workers.run_chunks(ChunkWork(function=end_always, **work, **take), rows[:1]))


def test_small_work_stays_and_a_slow_cluster_is_told(workers):
    ray_workers, err = workers
    assert ray_workers.explain_staying(0.01) == "0.0 s are too few to send away"
    assert not ray_workers.explain_staying(100)
    assert "worker" in err.getvalue() and "with 1 thread each" in err.getvalue()
    assert ray_workers.compare_with_here(0.1).endswith("0.1 s on this machine alone: a fit without --on ray is faster")


def test_what_stops_the_work_comes_back_with_the_machine(paint, tmp_path):
    def refuse(prepared, part, threads):
        raise DataError("`a.png` changed", hint="run it again")

    outcome = run_chunk(describe_software(), lambda shared, threads: None, refuse, None, None, 1)
    assert isinstance(outcome.error, DataError) and outcome.error.hint == "run it again"
    assert outcome.error.what == f"on the worker `{outcome.machine}`: `a.png` changed"
    with pytest.raises(SetupError, match="numpy none, here"):
        without = {name: version for name, version in describe_software().items() if name != "numpy"}
        require_same_software(describe_software(), without, "other")
    require_same_software({**describe_software(), "pydicom": "9"}, {**describe_software(), "pydicom": "9"}, "other")


def test_an_address_without_a_cluster_is_refused_before_anything_starts():
    with pytest.raises(SetupError, match=r"the Ray cluster `127\.0\.0\.1:9` does not answer"):
        require_answer("127.0.0.1:9")
    for wrong in ("ray://head:10001", "head", "head:port"):
        with pytest.raises(UsageError, match="is no address of a cluster"):
            require_answer(wrong)


def test_options_are_read_and_the_address_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert read_options({}) == ClusterOptions(address="head:6379")
    assert read_options({"address": "auto", "threads": "4"}) == ClusterOptions(address="auto", threads=4)
    for name, text in (("threads", "1.5"), ("threads", "-1"), ("chunk_s", "long"), ("timeout_s", "inf")):
        with pytest.raises(UsageError, match=f"{name} `{text}` is not"):
            read_options({name: text})


def test_a_chunk_that_a_machine_has_no_memory_for_says_so_and_what_to_do(monkeypatch):
    """Ray's memory monitor ends the worker's process; which cannot be brought about here without harm."""
    ray = load_ray()

    def refuse(task, timeout):
        raise ray.exceptions.OutOfMemoryError("killed")

    err = io.StringIO()
    nodes = [{"Alive": True, "Resources": {"CPU": 1}}]
    for name, function in (
        ("nodes", lambda: nodes),
        ("put", lambda shared: shared),
        ("wait", lambda tasks, num_returns, timeout: (tasks, [])),
        ("get", refuse),
        ("remote", lambda **how: lambda function: SimpleNamespace(options=lambda **more: _Task)),
    ):
        monkeypatch.setattr(ray, name, function)
    ray_workers = RayWorkers(ray, ClusterOptions(threads=1, attempts=2), Console(err=err))
    work = ChunkWork(
        name="numbers", prepare=print, function=print, shared=None, take_part=lambda rows: rows, row_s=0.05
    )
    with pytest.raises(SetupError, match="lost 2 times .* since its machine has too little memory") as error:
        list(ray_workers.run_chunks(work, np.arange(3)))
    assert "fewer workers a machine: --on-option threads=2" in error.value.hint
    assert "a chunk of 3 is done again, since its machine has too little memory" in err.getvalue()


class _Task:
    @staticmethod
    def remote(*parts):
        return object()
