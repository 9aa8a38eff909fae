"""The engine: vectors that depend on their own picture only, in order, with nothing sent anywhere."""

import json
import subprocess
import sys

import numpy as np
import pytest

from headstart.core.errors import SetupError
from headstart.networks import openvino_engine


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small trunk made by OpenVINO alone: 8 x 8 pictures, a 3 x 3 convolution, two depths and the map."""
    ov = openvino_engine.load_openvino()
    from openvino import opset13 as ops

    rng = np.random.default_rng(0)
    pictures = ops.parameter([-1, 8, 8, 3], np.uint8, name="pictures")
    x = ops.transpose(ops.convert(pictures, np.float32), [0, 3, 1, 2])
    x = ops.convolution(x, rng.standard_normal((5, 3, 3, 3), np.float32), [1, 1], [1, 1], [1, 1], [1, 1])
    mean = ops.reduce_mean(x, [2, 3])
    wide = ops.matmul(mean, rng.standard_normal((5, 7), np.float32), False, False)
    path = tmp_path_factory.mktemp("tiny") / "trunk.xml"
    whole = ov.Model([mean, wide, ops.transpose(x, [0, 2, 3, 1])], [pictures], "tiny")
    for output, name in zip(whole.outputs, ("mean", "wide", "map"), strict=True):
        output.tensor.set_names({name})
    ov.save_model(whole, path, compress_to_fp16=False)
    return path


PICTURES = np.random.default_rng(1).integers(0, 256, (23, 8, 8, 3), dtype=np.uint8)


def all_vectors(found):
    return [np.concatenate(parts) for parts in zip(*(vectors for _, vectors in found), strict=True)]


def test_outputs_are_means_over_the_views_of_a_picture(tiny):
    views = PICTURES[:21].reshape(7, 24, 8, 3)  # three, one below the other
    single = all_vectors(openvino_engine.Engine(tiny, threads=1).run([(None, PICTURES[:21])]))
    engine = openvino_engine.Engine(tiny, threads=2, views=3)
    found = all_vectors(engine.run([(0, views[:5]), (1, views[5:])]))
    assert engine.shape == (24, 8, 3)
    for mean, each in zip(found, single, strict=True):
        np.testing.assert_allclose(mean, each.reshape(7, 3, *each.shape[1:]).mean(axis=1), rtol=1e-5, atol=1e-4)


def test_keys_and_order_are_kept_and_every_picture_gets_its_vectors(tiny):
    sizes = [1, 7, 16, 40]
    many = np.concatenate([PICTURES] * 3)[: sum(sizes)]
    starts = np.cumsum([0, *sizes])
    found = list(
        openvino_engine.Engine(tiny, threads=2).run(
            (f"k{n}", many[starts[n] : starts[n + 1]]) for n in range(len(sizes))
        )
    )
    assert [key for key, _ in found] == ["k0", "k1", "k2", "k3"]
    assert [vectors[0].shape for _, vectors in found] == [(size, 5) for size in sizes]
    assert [vectors[1].shape for _, vectors in found] == [(size, 7) for size in sizes]
    assert all(one.dtype == np.float32 and one.flags.owndata for _, vectors in found for one in vectors)


@pytest.mark.parametrize(("threads", "batch"), [(1, 16), (2, 16), (3, 4), (8, 32), (2, 1)])
def test_a_vector_does_not_depend_on_neighbours_position_or_threads(tiny, threads, batch):
    expected = all_vectors(openvino_engine.Engine(tiny, threads=1, batch=1).run([(None, PICTURES)]))
    order = np.random.default_rng(2).permutation(len(PICTURES))
    ready = openvino_engine.Engine(tiny, threads=threads, batch=batch)
    found = all_vectors(ready.run((at, PICTURES[order[at : at + 5]]) for at in range(0, len(order), 5)))
    for one, other in zip(found, expected, strict=True):
        assert one.tobytes() == other[order].tobytes()


def test_at_most_a_bounded_number_of_batches_is_taken_ahead(tiny):
    taken = 0

    def batches():
        nonlocal taken
        for at in range(1000):
            taken += 1
            yield at, PICTURES[:4]

    for seen, (key, _) in enumerate(openvino_engine.Engine(tiny, threads=2).run(batches())):
        assert key == seen
        assert taken - seen <= 4


def test_a_run_can_be_left_and_started_again(tiny):
    ready = openvino_engine.Engine(tiny, threads=2)
    stopped = ready.run((n, PICTURES) for n in range(10))
    next(stopped)
    stopped.close()
    expected = all_vectors(openvino_engine.Engine(tiny, threads=1).run([(None, PICTURES)]))
    for one, other in zip(all_vectors(ready.run([(None, PICTURES)])), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_error_of_the_decoder_comes_through(tiny):
    def batches():
        yield 0, PICTURES
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(openvino_engine.Engine(tiny, threads=2).run(batches()))


@pytest.mark.parametrize(
    "wrong", [PICTURES.astype(np.float32), PICTURES[:, :7], PICTURES[..., :1], PICTURES[:0]], ids=lambda a: str(a.shape)
)
def test_pictures_of_another_kind_are_refused(tiny, wrong):
    with pytest.raises(ValueError, match="the trunk takes uint8"):
        list(openvino_engine.Engine(tiny, threads=1).run([(0, wrong)]))


def test_a_view_that_is_not_contiguous_gives_the_same_vectors(tiny):
    wide = np.zeros((23, 8, 8, 6), np.uint8)
    wide[..., ::2] = PICTURES
    ready = openvino_engine.Engine(tiny, threads=1)
    expected = all_vectors(ready.run([(0, PICTURES)]))
    for one, other in zip(all_vectors(ready.run([(0, wide[..., ::2])])), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_feature_map_comes_whole_and_its_mean_is_the_vector(tiny):
    mean, _, feature_map = all_vectors(openvino_engine.Engine(tiny, threads=2).run([(0, PICTURES)]))
    assert feature_map.shape == (23, 8, 8, 5) and feature_map.dtype == np.float32
    np.testing.assert_allclose(feature_map.mean((1, 2)), mean, rtol=1e-4, atol=1e-4)


def test_only_the_outputs_that_are_asked_for_are_computed_in_their_order(tiny):
    every = dict(
        zip(
            ("mean", "wide", "map"),
            all_vectors(openvino_engine.Engine(tiny, threads=1).run([(0, PICTURES)])),
            strict=True,
        )
    )
    for names in (("map", "mean"), ("wide",)):
        part = openvino_engine.Engine(tiny, threads=2, outputs=names)
        for name, found in zip(names, all_vectors(part.run([(0, PICTURES)])), strict=True):
            assert found.tobytes() == every[name].tobytes()
    counts = [
        len(one._compiled.get_runtime_model().get_ops()) for one in (part, openvino_engine.Engine(tiny, threads=1))
    ]
    assert counts[0] < counts[1]


def test_pictures_that_may_not_be_written_to_are_taken(tiny):
    expected = all_vectors(openvino_engine.Engine(tiny, threads=1).run([(0, PICTURES)]))
    fixed = PICTURES.copy()
    fixed.flags.writeable = False
    for one, other in zip(
        all_vectors(openvino_engine.Engine(tiny, threads=1).run([(0, fixed)])), expected, strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_numbers_are_float32_whatever_the_processor_prefers(tiny):
    assert "float" in str(openvino_engine.Engine(tiny, threads=1)._compiled.get_property("INFERENCE_PRECISION_HINT"))


@pytest.mark.parametrize("content", [b"", b"<net", b"<?xml version='1.0'?><net name='x' version='11'/>"])
def test_a_broken_file_is_a_set_up_error(tmp_path, content):
    (tmp_path / "trunk.xml").write_bytes(content)
    with pytest.raises(SetupError, match="cannot compile"):
        openvino_engine.Engine(tmp_path / "trunk.xml", threads=1)


WATCH = """
import json, os, socket, sys
opened = []
def refuse(*given, **named):
    opened.append(repr(given))
    raise OSError("no network in this test")
class Watched(socket.socket):  # a library that only asks whether this machine has IPv6 may make one
    connect = connect_ex = sendto = sendmsg = refuse
socket.socket = Watched
socket.create_connection = socket.getaddrinfo = refuse
WORK
home = [os.path.join(d, f) for d, _, fs in os.walk(os.environ["HOME"]) for f in fs]
print(json.dumps({"opened": opened, "home": home}))
"""


@pytest.fixture
def watched(tmp_path):
    """Run code in a process of its own; tell the connections it asked for and the files it left in its home.

    A module `openvino_telemetry` of the test's own stands before the real one: it leaves a file when it is imported.
    """
    (tmp_path / "home").mkdir()
    (tmp_path / "front").mkdir()
    leave = "import os, pathlib\npathlib.Path(os.environ['HOME'], 'telemetry').touch()\nraise ImportError('stand-in')\n"
    (tmp_path / "front" / "openvino_telemetry.py").write_text(leave)

    def run(work, **environment):
        keep = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path / "front")}
        command = [sys.executable, "-c", WATCH.replace("WORK", work)]
        done = subprocess.run(command, env=keep | environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    return run


@pytest.mark.medium
def test_loading_the_engine_sends_nothing_and_leaves_no_file(watched):
    seen, _ = watched("from headstart.networks import openvino_engine\nopenvino_engine.load_openvino().Core()")
    assert seen == {"opened": [], "home": []}


@pytest.mark.medium
def test_importing_openvino_plainly_would_load_its_telemetry(watched):
    seen, _ = watched("import openvino")
    assert [path.rpartition("/")[2] for path in seen["home"]] == ["telemetry"]


@pytest.mark.medium
def test_making_a_trunk_sends_nothing_and_keeps_standard_error_clean(watched, tmp_path):
    work = """
import numpy as np
from pathlib import Path
from headstart.core.console import Console
from headstart.core.storage.cache import Store
from headstart.backbones import loading
pictures = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)
found = loading.find_backbone("random:bundled:efficientnet_lite0")
folder = loading.make_trunk_folder(found, Store(Path(os.environ["HEADSTART_CACHE"])), Console(), pictures)
assert (folder / "parity.json").is_file()
"""
    seen, said = watched(work, HEADSTART_CACHE=str(tmp_path / "cache"))
    assert seen["opened"] == []
    assert [path for path in seen["home"] if "telemetry" in path or "/intel/" in path] == []
    assert said.splitlines() == [
        f"trunk       random:bundled:efficientnet_lite0: made once for {openvino_engine.find_openvino_version()} in f32"
    ]


SIGNALLED = """
import gc, signal, sys, threading
from pathlib import Path
from headstart.networks.openvino_engine import Engine
engines = [Engine(Path(sys.argv[1]), threads=1)]
thread = threading.Thread(target=lambda: (engines.clear(), gc.collect()))
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda number, frame: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_is_handled_after_another_thread_dropped_the_engine(tiny):
    done = subprocess.run([sys.executable, "-c", SIGNALLED, tiny], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
