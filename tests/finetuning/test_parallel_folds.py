"""Which folds stay in this process; those of a real cluster are in `tests/remote/test_ray_workers.py`."""

import io

import numpy as np
import pytest

from headstart.core import recipe as recipes
from headstart.core.console import Console
from headstart.finetuning.search.parallel import parallel_folds
from tuning_bench import PLAIN, copies, surroundings, workbench


class FewWorkers:
    """Workers of so many slots to which nothing may be sent."""

    def __init__(self, slots, reason="", there_s=0.0):
        self.slots, self.reason, self.there_s = slots, reason, there_s

    def count_slots(self, threads=0):
        return self.slots

    def explain_staying(self, seconds):
        return self.reason

    def estimate_task_seconds(self, seconds, count, threads):
        return self.there_s


@pytest.mark.medium
def test_folds_stay_where_sending_them_is_not_worth_it_and_why_is_told(textile, shared_store, tmp_path, monkeypatch):
    data, err = copies(textile, tmp_path / "textile", 6), io.StringIO()
    setup = workbench(surroundings(data, tmp_path / "run", shared_store, test_size=0.0, folds=3))
    setup.ctx.console = Console(err=err)
    setup.cost.fold_seconds = lambda recipe: 5.0
    recipe = recipes.make_recipe(PLAIN)
    wanted = [(recipe, fold) for fold in setup.training_set.fold_numbers]

    def explain(workers, count=3):
        err.seek(0), err.truncate()
        setup.ctx.workers = workers
        parallel_folds.train_folds_ahead(setup, wanted[:count])
        return err.getvalue()

    assert not explain(FewWorkers(1), 1) and not explain(None)
    assert "folds train in this process: fewer than two machines of the cluster have the" in explain(FewWorkers(1))
    assert not explain(FewWorkers(1))  # once is enough
    few = "5 s are too few to send away"
    assert f"in this process: {few}" in explain(FewWorkers(2, few))
    assert "in this process: about 16 s on the cluster, 15 s here" in explain(FewWorkers(2, there_s=16.0))
    monkeypatch.setattr(parallel_folds, "_BYTES_PER_S", 1.0)
    assert "takes longer, or more memory than is free" in explain(FewWorkers(2))
    monkeypatch.setattr(parallel_folds, "_BYTES_PER_S", 1e12)
    monkeypatch.setattr(parallel_folds, "write_keras", lambda model, path: path.write_bytes(b""))
    assert "in this process: Keras cannot pack bundled:efficientnet_lite0" in explain(FewWorkers(2))


def test_content_has_one_description_and_another_value_has_another():
    def describe(array, name="a"):
        return parallel_folds._describe_content({name: (array, None, 1.5), "recipe": recipes.make_recipe(PLAIN)})

    numbers = np.arange(6.0).reshape(2, 3)
    assert describe(numbers) == describe(np.asfortranarray(numbers.copy()))
    others = [describe(numbers.astype(np.float32)), describe(numbers.T), describe(numbers + 1), describe(numbers, "b")]
    assert all(other != describe(numbers) for other in others)
