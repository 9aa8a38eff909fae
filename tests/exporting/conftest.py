"""A finished run that the tests of exports share; nobody may change it."""

import pytest

import export_runs


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """(folder, pictures) of a run with a small network of its own."""
    return export_runs.write_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def label_run(tmp_path_factory):
    """(folder, pictures) of a run that answers with several labels."""
    return export_runs.write_run(tmp_path_factory.mktemp("labels"), head="binary_logistic", task="multilabel")


@pytest.fixture(scope="session")
def number_run(tmp_path_factory):
    """(folder, pictures) of a run that answers with numbers far below zero."""
    return export_runs.write_run(tmp_path_factory.mktemp("numbers"), head="ridge_regression", task="regression")
