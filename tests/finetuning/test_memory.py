import keras
import pytest

from headstart.finetuning.training import memory
from headstart.networks.hardware import is_out_of_memory


@pytest.fixture(scope="module")
def model():
    x = keras.Input((8, 8, 3))
    return keras.Model(x, keras.layers.Conv2D(4, 3, padding="same", name="only")(x))


def test_the_bound_counts_every_output_and_weight(model):
    outputs, weights = 8 * 8 * 3 + 8 * 8 * 4, 3 * 3 * 3 * 4 + 4
    assert memory.step_bytes(model, 10) == int(10 * 4 * outputs * 1.2 + 4 * weights * 5)


def test_half_precision_takes_half():
    x = keras.Input((8, 8, 3), dtype="bfloat16")
    model = keras.Model(x, keras.layers.Activation("relu", dtype="bfloat16")(x))
    assert memory.step_bytes(model, 10) == int(2 * 10 * 2 * 8 * 8 * 3 * 1.2)


def test_a_model_inside_is_counted_too(model):
    x = keras.Input((8, 8, 3))
    outer = keras.Model(x, model(x))
    assert memory.step_bytes(outer, 1) >= memory.step_bytes(model, 1)
    row = keras.Sequential([keras.layers.Conv2D(4, 3, padding="same"), keras.layers.ReLU()])
    outer = keras.Model(x, row(x))  # as the stem of ConvNeXt
    assert memory.step_bytes(outer, 1) == int(4 * (8 * 8 * 3 + 2 * 8 * 8 * 4) * 1.2 + 4 * row.count_params() * 5)


@pytest.mark.parametrize(("free", "parts"), [(10**9, 1), (47_000, 1), (35_000, 2), (20_000, 4), (1, 16)])
def test_a_batch_is_cut_until_it_fits(model, monkeypatch, free, parts):
    monkeypatch.setattr(memory, "count_available_bytes", lambda: free)
    count, note = memory.count_parts(model, 16)
    assert count == parts
    assert bool(note) == (parts > 1)
    if parts == 2:
        need = f"{memory.step_bytes(model, 16) / 1000:.1f} kB"
        assert note == f"16 pictures a step go through in parts of 8: at once they need about {need} of 28.0 kB"


def test_a_step_never_takes_more_than_its_share_whatever_is_free(model, monkeypatch):
    monkeypatch.setattr(memory, "count_available_bytes", lambda: None)
    assert memory.count_parts(model, 16) == (1, "")
    monkeypatch.setattr(memory, "_MOST", 20_000)
    assert memory.count_parts(model, 16)[0] == 2
    monkeypatch.setattr(memory, "count_available_bytes", lambda: 10**12)
    assert memory.count_parts(model, 16)[0] == 2


class ResourceExhaustedError(Exception):
    pass


@pytest.mark.parametrize("err", [MemoryError(), ResourceExhaustedError("x"), RuntimeError("RESOURCE_EXHAUSTED: 5 GB")])
def test_every_backend_says_that_memory_ran_out_in_its_own_way(err):
    assert is_out_of_memory(err)


def test_other_errors_are_not_about_memory():
    assert not is_out_of_memory(ValueError("shapes differ"))
