"""Which files hold the weights of an ONNX file, told from its bytes."""

import pytest

import network_files
from headstart.core.errors import DataError
from headstart.networks.formats import onnx_external_data
from network_files import write_onnx


def test_weights_within_need_no_other_file(tmp_path):
    write_onnx(tmp_path / "net.onnx")
    assert onnx_external_data.list_external_files(tmp_path / "net.onnx") == ()


def test_every_file_beside_is_named_once(tmp_path):
    write_onnx(tmp_path / "net.onnx", beside=True)
    assert onnx_external_data.list_external_files(tmp_path / "net.onnx") == (
        "classes.data",
        "deep.data",
        "deeper.data",
        "down.data",
        "stem.data",
    )
    write_onnx(tmp_path / "net.onnx", beside="./parts/")
    assert onnx_external_data.list_external_files(tmp_path / "net.onnx")[0] == "parts/classes.data"


@pytest.mark.parametrize("place", ["../", "/", "C:", "a/../../", "\\\\host\\", "x\n"])
def test_a_file_elsewhere_is_refused(tmp_path, place):
    write_onnx(tmp_path / "net.onnx", beside=place)
    with pytest.raises(DataError, match="leads elsewhere"):
        onnx_external_data.list_external_files(tmp_path / "net.onnx")


def test_a_pickle_beside_is_refused(tmp_path):
    write_onnx(tmp_path / "net.onnx", beside="weights.pt")
    content = (tmp_path / "net.onnx").read_bytes()
    (tmp_path / "net.onnx").write_bytes(content.replace(b"weights.ptclasses.data", b"weights.ptclass.pickle"))
    with pytest.raises(DataError, match="may be a pickle"):
        onnx_external_data.list_external_files(tmp_path / "net.onnx")


def held(kind, place):
    """A model whose one tensor lies at a place, in each of the messages that may hold one."""
    import numpy as np

    tensor = network_files._tensor("w", np.zeros(2, np.float32), place)
    field, graph = network_files._field, network_files._field(5, tensor)
    inner = {
        "branch of an If": field(5, field(1, "then_branch") + field(6, graph) + field(20, 5)),
        "many graphs": field(5, field(1, "bodies") + field(11, graph) + field(20, 10)),
        "many tensors": field(5, field(1, "values") + field(10, tensor) + field(20, 9)),
        "sparse attribute": field(5, field(1, "value") + field(22, field(1, tensor)) + field(20, 11)),
        "branch within a branch": field(5, field(6, field(1, field(5, field(6, graph))))),
    }
    whole = {"sparse": field(7, field(15, field(1, tensor))), "training": field(20, field(2, graph))}
    whole["function"] = field(25, field(7, inner["many tensors"]))
    return whole[kind] if kind in whole else field(7, field(1, inner[kind]))


@pytest.mark.parametrize(
    "kind",
    [
        *("branch of an If", "many graphs", "many tensors", "sparse attribute", "branch within a branch"),
        *("sparse", "training", "function"),
    ],
)
def test_no_tensor_is_overlooked(tmp_path, kind):
    (tmp_path / "net.onnx").write_bytes(held(kind, "near.data"))
    assert onnx_external_data.list_external_files(tmp_path / "net.onnx") == ("near.data",)
    (tmp_path / "net.onnx").write_bytes(held(kind, "../../secret.data"))
    with pytest.raises(DataError, match="leads elsewhere"):
        onnx_external_data.list_external_files(tmp_path / "net.onnx")


def test_graphs_without_end_are_refused(tmp_path):
    graph = b""
    for _ in range(100):
        graph = network_files._field(1, network_files._field(5, network_files._field(6, graph)))
    (tmp_path / "net.onnx").write_bytes(network_files._field(7, graph))
    with pytest.raises(DataError, match="too deep"):
        onnx_external_data.list_external_files(tmp_path / "net.onnx")


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_file_that_is_cut_off_is_refused(tmp_path, cut):
    write_onnx(tmp_path / "net.onnx")
    content = (tmp_path / "net.onnx").read_bytes()
    (tmp_path / "net.onnx").write_bytes(content[:-cut])
    with pytest.raises(DataError, match="cut off"):
        onnx_external_data.list_external_files(tmp_path / "net.onnx")


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff" * 40, b"\x0b\x0c"])
def test_what_is_no_onnx_file_is_refused(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(DataError, match="no whole ONNX file"):
        onnx_external_data.list_external_files(tmp_path / "net.onnx")
