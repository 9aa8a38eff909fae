"""PyTorch files without PyTorch: right numbers, and nothing a file says is ever run."""

import io
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from headstart.core.errors import DataError
from headstart.networks.formats import torch_state_dict


class Global:
    """Pickles as a bare global of any module."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __reduce__(self):
        raise AssertionError("only saved by Writer")


class Writer(pickle._Pickler):
    """Writes globals and storages as PyTorch does, without PyTorch."""

    def persistent_id(self, thing):
        return thing[1:] if isinstance(thing, tuple) and thing[:1] == ("<storage>",) else None

    def save(self, thing, save_persistent_id=True):
        if isinstance(thing, Global):
            self.write(pickle.GLOBAL + f"{thing.module}\n{thing.name}\n".encode())
            return
        super().save(thing, save_persistent_id)


class Call:
    """Pickles as a call of a global."""

    def __init__(self, module, name, *args):
        self.function, self.args = Global(module, name), args


def dumps(thing):
    out = io.BytesIO()
    writer = Writer(out, 2)

    def call(pickler, one):
        pickler.save(one.function)
        pickler.save(one.args)
        pickler.write(pickle.REDUCE)

    writer.dispatch = {**pickle._Pickler.dispatch, Call: call}
    writer.dump(thing)
    return out.getvalue()


KINDS = {"f4": "FloatStorage", "i8": "LongStorage", "f2": "HalfStorage"}


def tensor(key, array, *, offset=0, shape=None, strides=None, count=None, kind=None):
    storage = ("<storage>", "storage", Global("torch", kind or KINDS[array.dtype.str[1:]]), key, "cpu")
    shape = array.shape if shape is None else shape
    strides = tuple(s // array.itemsize for s in array.strides) if strides is None else strides
    size = array.size if count is None else count
    return lambda *view: Call(
        "torch._utils", "_rebuild_tensor_v2", (*storage, size, *view), offset, shape, strides, False, OrderedDict()
    )


def legacy(tensors, arrays, body=None):
    made = OrderedDict((name, make(None)) for name, make in tensors.items()) if body is None else body
    head = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})
    parts = [pickle.dumps(one, 2) for one in head]
    parts += [dumps(made), pickle.dumps(list(arrays), 2)]
    for array in arrays.values():
        parts.append(array.size.to_bytes(8, "little") + array.tobytes())
    return b"".join(parts)


FLOATS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
COUNT = np.array(7, dtype=np.int64)
ARRAYS = {"1": FLOATS, "2": COUNT}
TENSORS = {
    "whole": tensor("1", FLOATS),
    "turned": tensor("1", FLOATS, shape=(4, 3), strides=(1, 4), offset=12),
    "count": tensor("2", COUNT),
}


def test_tensors_come_back_exactly():
    found = torch_state_dict.parse_state_dict(legacy(TENSORS, ARRAYS), where="x")
    assert list(found) == ["whole", "turned", "count"]
    np.testing.assert_array_equal(found["whole"], FLOATS)
    np.testing.assert_array_equal(found["turned"], FLOATS[1].T)
    assert found["count"] == 7 and found["count"].dtype == np.int64 and found["count"].shape == ()
    assert all(array.flags.owndata for array in found.values())


PLANTED = [
    ("os", "system", ("touch {place}",)),
    ("posix", "system", ("touch {place}",)),
    ("builtins", "eval", ("open({place!r}, 'w')",)),
    ("builtins", "getattr", (1, "real")),
    ("subprocess", "Popen", (["touch", "{place}"],)),
    ("torch", "load", ("{place}",)),
    ("numpy.core.multiarray", "_reconstruct", ()),
    ("collections", "defaultdict", ()),
]


@pytest.mark.parametrize(("module", "name", "args"), PLANTED, ids=[f"{m}.{n}" for m, n, _ in PLANTED])
@pytest.mark.parametrize("write", ["legacy", "header"])
def test_a_planted_call_is_refused_by_name_and_not_run(module, name, args, write, tmp_path):
    place = tmp_path / "was_run"
    args = tuple(a.format(place=place) if isinstance(a, str) else a for a in args)
    planted = dumps(OrderedDict(weights=Call(module, name, *args)))
    content = {"legacy": legacy({}, {}, body=OrderedDict(w=Call(module, name, *args))), "header": planted}
    with pytest.raises(DataError, match=rf"{module}\.{name}") as caught:
        torch_state_dict.parse_state_dict(content[write], where="model.pth")
    assert caught.value.where == "model.pth"
    assert not place.exists()


def test_the_planted_files_would_run_under_plain_pickle(tmp_path):
    place = tmp_path / "was_run"
    pickle.loads(dumps(Call("os", "system", f"touch {place}")))
    assert place.exists()


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_an_error(kept):
    content = legacy(TENSORS, ARRAYS)
    with pytest.raises(DataError, match="cut off"):
        torch_state_dict.parse_state_dict(content[: int(len(content) * kept)], where="x")


@pytest.mark.parametrize(
    "bad",
    [
        {"shape": (5, 5), "strides": (5, 1)},
        {"shape": (2,), "strides": (23,), "offset": 1},
        {"shape": (10**9, 10**9), "strides": (0, 0)},
        {"shape": (2,), "strides": (-1,), "offset": 1},
        {"shape": (-1,), "strides": (1,)},
        {"shape": (1,), "strides": (1,), "offset": -1},
        {"shape": (1,), "strides": (1, 1)},
        {"count": 10**12},
        {"count": -1},
    ],
    ids=str,
)
def test_a_view_beyond_its_storage_is_an_error(bad):
    tensors = {"w": tensor("1", FLOATS, **bad)}
    with pytest.raises(DataError):
        torch_state_dict.parse_state_dict(legacy(tensors, {"1": FLOATS}), where="x")


@pytest.mark.parametrize("body", [{"a": 1}, [1, 2], OrderedDict(a={"b": 1}), 5])
def test_anything_but_named_tensors_is_an_error(body):
    with pytest.raises(DataError, match="something else"):
        torch_state_dict.parse_state_dict(legacy({}, {}, body=body), where="x")


def test_noise_is_an_error():
    for seed in range(200):
        with pytest.raises(DataError):
            torch_state_dict.parse_state_dict(np.random.default_rng(seed).bytes(300), where="x")


@pytest.mark.parametrize("at", range(0, 400, 7))
def test_a_flipped_byte_never_escapes(at):
    content = bytearray(legacy(TENSORS, ARRAYS))
    content[at % len(content)] ^= 0x55
    try:
        found = torch_state_dict.parse_state_dict(bytes(content), where="x")
    except DataError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())
