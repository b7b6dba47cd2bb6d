# SPDX-License-Identifier: Apache-2.0
"""Channels that are constant leave, and what they gave goes into the readers' biases."""

from graphs import Made, named, rewritten, same

from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.shrink import Removed, shrink


def layers(first, second, bias):
    made = Made(2)
    hidden = made.dense("first", made.x, first, bias, clamp=Clamp(0.0, float("inf")))
    return made.graph(made.dense("second", hidden, second, [10]))


def test_a_constant_channel_goes_into_the_bias():
    graph = layers([[1, 1], [0, 0], [1, 2]], [[1, 2, 3]], [0, 5, 0])
    shrunk = shrink(graph)
    small = rewritten(lambda graph: shrunk.graph, graph)
    same(named(small, "first").weight[:, :, 0, 0], [[1, 1], [1, 2]])
    same(named(small, "second").weight[:, :, 0, 0], [[1, 3]])
    same(named(small, "second").bias, [10 + 2 * 5])
    assert shrunk.removed == (
        Removed("first", channels=1, of=3, inputs=0, of_inputs=2),
        Removed("second", channels=0, of=1, inputs=1, of_inputs=3),
    )


def test_a_channel_that_nobody_reads_goes():
    shrunk = shrink(layers([[1, 1], [2, 2]], [[1, 0]], [0, 0]))
    assert named(shrunk.graph, "first").out.channels == 1


def test_where_all_is_needed_the_graph_is_the_same():
    graph = layers([[1, 1], [2, 1]], [[1, 2]], [0, 0])
    shrunk = shrink(graph)
    assert shrunk.graph is graph and shrunk.removed == ()
