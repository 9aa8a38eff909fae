"""CSV for people: no cell is a formula, nothing is lost."""

import csv
import io
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import headstart
from headstart.core.storage.csv_tables import format_csv, restore_cell

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
texts = st.text(st.characters(codec="utf-8") | st.sampled_from("'=+-@\t\r\n\","), max_size=8)


@given(st.lists(st.lists(texts, min_size=2, max_size=4), min_size=1, max_size=4))
def test_no_text_is_a_formula_and_every_text_comes_back(rows):
    read = list(csv.reader(io.StringIO(format_csv(rows).decode(), newline="")))
    assert not any(cell.startswith(FORMULAS) for row in read for cell in row)
    assert [[restore_cell(cell) for cell in row] for row in read] == rows


def test_numbers_stay_numbers():
    assert format_csv([[-1.5, -2, None, "-1.5", "it's", "'quoted'"]]) == b"-1.5,-2,,'-1.5,it's,'quoted'\n"


def test_every_csv_is_written_here():
    root = Path(headstart.__file__).parent
    writers = [
        path for path in root.rglob("*.py") if "csv.writer" in path.read_text() or "DictWriter" in path.read_text()
    ]
    assert writers == [root / "core" / "storage" / "csv_tables.py"]
