"""Errors of the disk: a wrong place is told as one, and a file that was only read is not called unwritable."""

import pytest

from headstart.core.errors import SetupError
from headstart.core.storage.files import translate_disk_errors, write_text


def test_a_file_where_a_folder_is_to_be_made(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(SetupError, match="a file is in its place") as caught, translate_disk_errors(tmp_path / "run"):
        (tmp_path / "run").mkdir(exist_ok=True)
    assert "--out" in caught.value.hint


def test_a_folder_where_a_file_is_to_be_written(tmp_path):
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(SetupError, match=r"cannot write `.*rows\.csv`: it is a folder"):
        write_text(tmp_path / "rows.csv", "text")


def test_a_missing_folder_and_a_name_that_is_too_long(tmp_path):
    with pytest.raises(SetupError, match="there is no folder for it"), translate_disk_errors(tmp_path / "none" / "x"):
        (tmp_path / "none" / "x").write_text("")
    with pytest.raises(SetupError, match="too long"):
        write_text(tmp_path / ("x" * 300), "text")


def test_what_was_only_read_is_not_called_unwritable(tmp_path):
    with pytest.raises(FileNotFoundError), translate_disk_errors(tmp_path / "cache"):
        (tmp_path / "pictures" / "gone.png").read_bytes()
    with pytest.raises(FileNotFoundError), translate_disk_errors(tmp_path / "run"):
        (tmp_path / "beside.png").read_bytes()
    (tmp_path / "pictures").mkdir()
    source = tmp_path / "pictures" / ("x" * 300)
    with pytest.raises(SetupError, match="cannot use `") as caught, translate_disk_errors(tmp_path / "cache"):
        source.read_bytes()
    assert "write" not in caught.value.what
