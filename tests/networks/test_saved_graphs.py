"""A graph that is saved tells nothing of the process that saves it: OpenVINO counts its objects, Keras its layers."""

import os
import subprocess
import sys

import numpy as np
import pytest

import small_nets
from headstart.exporting.runtime_model import cut_graph
from headstart.networks import openvino_conversion, openvino_engine
from headstart.testing.tiny_model import write_tiny_graph


def read_graph(folder, name="trunk"):
    """The bytes of both files."""
    return [(folder / f"{name}.{end}").read_bytes() for end in ("xml", "bin")]


def write_trunk(folder):
    """A small Keras trunk with a residual connection, converted."""
    folder.mkdir()
    model, spec = small_nets.small_trunk()
    openvino_conversion.convert_trunk(model, spec, small_nets.pictures().astype(np.uint8), folder)


def write_by_number(folder):
    """A graph that was built by hand, after as many objects as the folder's name says."""
    folder.mkdir()
    for _ in range(int(folder.name)):
        write_tiny_graph(folder / "trunk.xml", 8)
    write_tiny_graph(folder / "trunk.xml", 8)


def test_a_converted_network_has_the_same_bytes_after_another_conversion(tmp_path):
    for name in ("first", "second"):
        write_trunk(tmp_path / name)
        cut_graph(tmp_path / name / "trunk.xml", tmp_path / name / "cut.xml", [0, 2])
    assert read_graph(tmp_path / "first") == read_graph(tmp_path / "second")
    assert read_graph(tmp_path / "first", "cut") == read_graph(tmp_path / "second", "cut")
    engine = openvino_engine.Engine(tmp_path / "second" / "cut.xml", threads=1, outputs=["last"])
    assert engine.shape == (small_nets.SIDE, small_nets.SIDE, 3)


def test_two_processes_in_different_states_save_the_same_bytes(tmp_path):
    for count in ("0", "3"):
        code = "import sys, pathlib, test_saved_graphs as here; here.write_by_number(pathlib.Path(sys.argv[1]))"
        paths = {"PYTHONPATH": ":".join(sys.path)}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / count)], check=True, env={**os.environ, **paths})
    assert read_graph(tmp_path / "0") == read_graph(tmp_path / "3")


@pytest.mark.parametrize("keep_names", [False, True])
def test_names_that_a_file_gave_are_kept_where_they_are_asked_for(tmp_path, keep_names):
    ov = openvino_engine.load_openvino()
    for name in ("first", "second"):
        pictures = ov.opset13.parameter([1, 4], np.float32, name="pictures")
        inner = ov.opset13.relu(pictures, name="Relu_12")
        inner.output(0).tensor.set_names({"relu:0"})
        graph = ov.Model([ov.opset13.negative(inner)], [pictures], "graph")
        openvino_engine.save_graph(graph, tmp_path / f"{name}.xml", keep_names=keep_names)
    assert read_graph(tmp_path, "first") == read_graph(tmp_path, "second")
    text = (tmp_path / "first.xml").read_text()
    assert ("Relu_12" in text) is ("relu:0" in text) is keep_names
