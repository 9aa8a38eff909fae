"""Folds on a real Ray cluster of two machines on this one: the files of folds that train here, whatever is killed."""

import dataclasses
import hashlib
import io

import numpy as np
import pytest

from headstart.core import recipe as recipes
from headstart.core.console import Console
from headstart.core.run.folder import RunFolder
from headstart.core.settings import count_cores
from headstart.finetuning.search import parallel_folds
from headstart.finetuning.search.recipe_search import Search
from headstart.finetuning.search.training_cost import TimeBudget
from headstart.finetuning.training.epoch_loop import TrainingLoop
from headstart.remote.cluster.connection import connect_workers, load_ray
from headstart.remote.cluster.options import ClusterOptions
from tuning_bench import PLAIN, copies, surroundings, workbench

MEMORY = {"object_store_memory": 100_000_000}


@pytest.fixture(scope="module")
def setup(textile, shared_store, tmp_path_factory):
    root = tmp_path_factory.mktemp("folds")
    data = copies(textile, root / "textile", 6)
    return workbench(surroundings(data, root / "run", shared_store, test_size=0.0, folds=3))


@pytest.fixture
def search(setup, tmp_path):
    """A function that makes a search of one recipe in a run folder of its own, and what its console writes."""

    def make(name, workers=None):
        err = io.StringIO()
        surroundings = {"run": RunFolder(tmp_path / name), "workers": workers, "console": Console(err=err)}
        own = dataclasses.replace(setup, ctx=dataclasses.replace(setup.ctx, **surroundings))
        own.cost.fold_seconds = lambda recipe: 5.0
        queue = [("given", recipes.make_recipe(PLAIN))]
        budget = TimeBudget(ctx=own.ctx, total_s=0.0)
        return Search(setup=own, budget=budget, strategy="finetune", queue=queue, max_trials=1), err

    return make


class LosingWorkers:
    """Workers of which a machine is killed by -9 once the first fold is there, while others are open."""

    def __init__(self, workers, cluster, doomed):
        self.workers, self.cluster, self.doomed = workers, cluster, doomed

    def count_slots(self, threads=0):
        return self.workers.count_slots(threads)

    def explain_staying(self, seconds):
        return self.workers.explain_staying(seconds)

    def run_chunks(self, work, rows):
        for answer in self.workers.run_chunks(work, rows):
            yield answer
            if self.doomed:
                self.cluster.remove_node(self.doomed, allow_graceful=False)
                self.doomed = None


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.slow
def test_folds_of_the_cluster_are_those_of_this_machine_though_a_machine_is_killed(search, monkeypatch):
    load_ray()
    from ray.cluster_utils import Cluster

    here, _ = search("here")
    here.try_recipes()
    alone = here.judge_finalists()
    cores, err = count_cores(), io.StringIO()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cores, "include_dashboard": False, **MEMORY})
    try:
        doomed = cluster.add_node(num_cpus=cores, **MEMORY)
        options = ClusterOptions(address=cluster.address, threads=1, chunk_s=0.05)
        with connect_workers(options, Console(err=err)) as workers:
            there, lines = search("there", LosingWorkers(workers, cluster, doomed))
            monkeypatch.setattr(TrainingLoop, "run_epochs", None)  # nothing trains in this process
            there.try_recipes()
            together = there.judge_finalists()
    finally:
        cluster.shutdown()
    assert "3 folds train side by side on the cluster" in lines.getvalue()
    assert "training: a chunk of 1 is done again, since" in err.getvalue()
    trials = [each.setup.ctx.run.path / "adapt" / "trials" for each in (here, there)]
    assert digests(trials[0]) == digests(trials[1]) and len(digests(trials[0])) >= 3
    for fold in here.setup.training_set.fold_numbers:
        weights = [digests(each.setup.work_folder / f"trial000-fold{fold}") for each in (here, there)]
        kept = [{name: digest for name, digest in each.items() if name.startswith("weights")} for each in weights]
        assert kept[0] == kept[1] and len(kept[0]) == PLAIN["epochs"] + 1
    np.testing.assert_array_equal(alone[0].verdict.probabilities, together[0].verdict.probabilities)


class FewWorkers:
    """Workers of so many slots to which nothing may be sent."""

    def __init__(self, slots, reason=""):
        self.slots, self.reason = slots, reason

    def count_slots(self, threads=0):
        return self.slots

    def explain_staying(self, seconds):
        return self.reason


@pytest.mark.medium
def test_folds_stay_where_sending_them_is_not_worth_it_and_why_is_told(search, monkeypatch):
    own, err = search("run", FewWorkers(1))
    recipe, folds = own.queue[0][1], own.setup.training_set.fold_numbers
    wanted = [(recipe, fold) for fold in folds]
    parallel_folds.train_folds_ahead(own.setup, wanted[:1])
    assert not err.getvalue()
    parallel_folds.train_folds_ahead(own.setup, wanted)
    assert "3 folds train in this process: fewer than two machines of the cluster have the" in err.getvalue()
    own.setup.ctx.workers = FewWorkers(2, "5 s are too few to send away")
    parallel_folds.train_folds_ahead(own.setup, wanted)
    assert "in this process: 5 s are too few to send away" in err.getvalue()
    own.setup.ctx.workers = FewWorkers(2)
    monkeypatch.setattr(parallel_folds, "_BYTES_PER_S", 1.0)
    parallel_folds.train_folds_ahead(own.setup, wanted)
    assert "takes longer, or more memory than is free" in err.getvalue()
    monkeypatch.setattr(parallel_folds, "_BYTES_PER_S", 1e12)
    monkeypatch.setattr(parallel_folds, "write_keras", lambda model, path: path.write_bytes(b""))
    parallel_folds.train_folds_ahead(own.setup, wanted)
    assert "in this process: Keras cannot pack bundled:efficientnet_lite0" in err.getvalue()
