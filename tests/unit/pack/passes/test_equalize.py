# SPDX-License-Identifier: Apache-2.0
"""Channels are made larger where they are computed, and their readers divide by as much."""

import numpy as np
import pytest
from graphs import Made, named, same

from bramcast.pack.graph.verify import verify
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.equalize import equalize

RELU = Clamp(0.0, np.inf)
MAXIMA = {1: np.array([8.0, 1.0]), 2: np.array([1.0])}


def two_layers(clamp=RELU):
    made = Made(1)
    first = made.dense("first", made.x, [[8], [1]], [0.5, 0.25], clamp=clamp)
    return made.graph(made.dense("second", first, [[1, 2]]))


def test_a_small_channel_fills_its_grid_and_its_reader_divides():
    scaled = equalize(two_layers(), MAXIMA, 1.0)
    verify(scaled, "equalize", folded=True)
    first, second = scaled.ops
    gains = first.weight.ravel() / [8, 1]
    assert gains[0] == pytest.approx(1.0, rel=0.01) and gains[1] == pytest.approx(8.0, rel=0.01)
    np.testing.assert_allclose(first.bias, gains * [0.5, 0.25])
    np.testing.assert_allclose(second.weight.ravel(), [1, 2] / gains)


def test_no_channel_grows_more_than_it_may():
    scaled = equalize(two_layers(), MAXIMA, 1.0, largest_factor=4.0)
    same(named(scaled, "first").weight.ravel()[1], 4.0)


@pytest.mark.parametrize("clamp, keep", [(Clamp(0.0, 6.0), ()), (RELU, (1,))])
def test_what_clips_or_is_kept_stays_as_it_is(clamp, keep):
    graph = two_layers(clamp)
    assert equalize(graph, MAXIMA, 1.0, keep=frozenset(keep)) is graph
