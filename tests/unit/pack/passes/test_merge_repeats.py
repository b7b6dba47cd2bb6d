# SPDX-License-Identifier: Apache-2.0
"""V x + W x -> (V + W) x."""

import numpy as np
from graphs import Made, named, rewritten, same

from bramcast.pack.passes.merge_repeats import merge_repeats


def test_weights_of_equal_channels_are_added():
    made = Made(2)
    seen = np.concatenate([made.x[[1]], made.x, made.x[[1]]])  # features 1 0 1 1
    y = made.dense("fc", seen, [[1.0, 2.0, 4.0, 8.0], [1.0, 1.0, -1.0, 0.5]], [3.0, 4.0])
    graph = rewritten(merge_repeats, made.graph(y))
    fc = named(graph, "fc")
    same(fc.view, made.x[[1, 0]])
    same(fc.weight[:, :, 0, 0], [[13.0, 2.0], [0.5, 1.0]])
    same(fc.bias, [3.0, 4.0])


def test_layers_that_see_each_channel_once_stay():
    made = Made(2)
    graph = made.graph(made.dense("fc", made.x[::-1], [[1.0, 2.0]]))
    assert merge_repeats(graph) is graph
