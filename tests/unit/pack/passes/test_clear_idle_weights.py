# SPDX-License-Identifier: Apache-2.0
"""W[:, c] -> 0 where x[c] is constant zero, in networks that round for themselves."""

import numpy as np
import pytest
from graphs import Made, named, rewritten, same

from bramcast.pack.graph.tensor import ZERO
from bramcast.pack.passes.clear_idle_weights import clear_idle_weights


def padded(rounds, channels=(0, ZERO, 1, ZERO), groups=1):
    """A layer that sees two features between channels of zeros."""
    made = Made(2)
    view = np.array(channels)[:, None, None]
    weight = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]] if groups == 1 else [[1.0, 2.0]] * 2
    y = made.dense("fc", view, weight, rounds=rounds, groups=groups)
    return made.graph(y)


def test_weights_of_zeros_are_cleared():
    graph = rewritten(clear_idle_weights, padded(rounds=0))
    same(named(graph, "fc").weight[:, :, 0, 0], [[1.0, 0.0, 3.0, 0.0], [5.0, 0.0, 7.0, 0.0]])


def test_each_group_has_zeros_of_its_own():
    graph = rewritten(clear_idle_weights, padded(rounds=0, channels=(0, 1, ZERO, 1), groups=2))
    same(named(graph, "fc").weight[:, :, 0, 0], [[1.0, 2.0], [0.0, 2.0]])


@pytest.mark.parametrize("rounds, channels", [(None, (0, ZERO, 1, ZERO)), (0, (0, 1, 0, 1))])
def test_others_stay(rounds, channels):
    graph = padded(rounds, channels)
    assert clear_idle_weights(graph) is graph
