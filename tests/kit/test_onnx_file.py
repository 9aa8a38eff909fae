"""Which files hold the weights of an ONNX file, told from its bytes."""

import pytest

from headstart.core.errors import DataError
from headstart.kit import onnx_file
from network_files import write_onnx


def test_weights_within_need_no_other_file(tmp_path):
    write_onnx(tmp_path / "net.onnx")
    assert onnx_file.beside(tmp_path / "net.onnx") == ()


def test_every_file_beside_is_named_once(tmp_path):
    write_onnx(tmp_path / "net.onnx", beside=True)
    assert onnx_file.beside(tmp_path / "net.onnx") == (
        "classes.data",
        "deep.data",
        "deeper.data",
        "down.data",
        "stem.data",
    )
    write_onnx(tmp_path / "net.onnx", beside="./parts/")
    assert onnx_file.beside(tmp_path / "net.onnx")[0] == "parts/classes.data"


@pytest.mark.parametrize("place", ["../", "/", "C:", "a/../../", "\\\\host\\", "x\n"])
def test_a_file_elsewhere_is_refused(tmp_path, place):
    write_onnx(tmp_path / "net.onnx", beside=place)
    with pytest.raises(DataError, match="leads elsewhere"):
        onnx_file.beside(tmp_path / "net.onnx")


def test_a_pickle_beside_is_refused(tmp_path):
    write_onnx(tmp_path / "net.onnx", beside="weights.pt")
    content = (tmp_path / "net.onnx").read_bytes()
    (tmp_path / "net.onnx").write_bytes(content.replace(b"weights.ptclasses.data", b"weights.ptclass.pickle"))
    with pytest.raises(DataError, match="may be a pickle"):
        onnx_file.beside(tmp_path / "net.onnx")


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_file_that_is_cut_off_is_refused(tmp_path, cut):
    write_onnx(tmp_path / "net.onnx")
    content = (tmp_path / "net.onnx").read_bytes()
    (tmp_path / "net.onnx").write_bytes(content[:-cut])
    with pytest.raises(DataError, match="cut off"):
        onnx_file.beside(tmp_path / "net.onnx")


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff" * 40, b"\x0b\x0c"])
def test_what_is_no_onnx_file_is_refused(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(DataError, match="no whole ONNX file"):
        onnx_file.beside(tmp_path / "net.onnx")
