"""A finished run that the tests of exports share; nobody may change it."""

import pytest

import export_runs


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """(folder, pictures) of a run with a small network of its own."""
    return export_runs.write_run(tmp_path_factory.mktemp("finished"))
