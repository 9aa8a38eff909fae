"""A design is an operator on standardised rows; what it holds is computed once and copied as little as can be."""

import numpy as np
import pytest

from headstart.core import registry
from headstart.heads import design_matrix
from headstart.statistics.sampling import spread_rows
from headstart.testing import heads as suite


@pytest.mark.parametrize("dim", [12, 90])
@pytest.mark.parametrize("weighted", [False, True])
def test_deviations_from_class_means_are_the_same_bits_as_when_computed_anew(dim, weighted):
    on = suite.make_sample(60, dim)
    root = np.linspace(0.5, 2, 60) if weighted else None
    design = design_matrix.Design(on.x, design_matrix.column_moments(on.x))
    means = design_matrix.class_means(design, on.y, 3)
    anew = design_matrix.Design(on.x, design.moments, root=root, labels=on.y, means=means)
    assert np.array_equal(design.subtract_means(on.y, means, root).standardized, anew.standardized)
    assert np.array_equal(design.standardized, design_matrix.Design(on.x, design.moments).standardized)


def test_lda_standardises_its_rows_once(monkeypatch):
    blocks, take = [], design_matrix.Design.take_rows

    def counted(design, rows, dtype=np.float64):
        blocks.append("standardized" not in design.__dict__)
        return take(design, rows, dtype)

    monkeypatch.setattr(design_matrix.Design, "take_rows", counted)
    suite.fit_grid(registry.load_plugin("heads", "lda"), suite.make_sample(60, 90))
    assert sum(blocks) == 1  # the class means and the deviations each had their own


def test_all_rows_are_a_slice_that_copies_nothing():
    values = np.arange(12.0)
    assert np.shares_memory(values[spread_rows(12, 20)], values)
    assert values[spread_rows(12, 3)].tolist() == [0.0, 5.0, 11.0]
