"""The root of a rising function is found in a few steps, and an end of the bracket where it lies beyond."""

import numpy as np
import pytest

from headstart.statistics.root_finding import find_root


@pytest.mark.parametrize("root", [0.3, 1.0, 4.0, 70.0])
def test_a_root_is_found_in_few_steps(root):
    asked = []

    def measure(at):
        asked.append(at)
        return float(np.tanh(at / root - 1)), float((1 - np.tanh(at / root - 1) ** 2) / root)

    assert find_root(measure, 1e-6, 1e6) == pytest.approx(root, rel=1e-9)
    assert len(asked) <= 14  # 20 while a step had to take off nine tenths


def test_an_end_is_given_where_the_root_lies_beyond():
    assert find_root(lambda at: (at - 50, 1.0), 0.05, 20.0) == 20.0
    assert find_root(lambda at: (at - 0.01, 1.0), 0.05, 20.0) == 0.05


def test_a_function_that_never_reaches_0_does_not_creep():
    asked = []
    assert find_root(lambda at: asked.append(at) or (-float(np.exp(-at)), float(np.exp(-at))), 0.05, 20.0) == 20.0
    assert len(asked) <= 30
