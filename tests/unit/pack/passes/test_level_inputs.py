# SPDX-License-Identifier: Apache-2.0
"""Several inputs of one frame come as large as the largest of them."""

from dataclasses import replace

import numpy as np
from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.graph.graph import Part
from bramcast.pack.graph.verify import verify
from bramcast.pack.passes.level_inputs import level_inputs

SAMPLES = np.array([[1.0, -0.5, 9.0], [0.25, 0.0, -4.0]])  # of (2,) and of (1,)


def two(made, graph):
    """The graph with its three elements as two inputs."""
    assert graph.input.elements == 3
    return replace(graph, input_parts=(Part("x", (2,)), Part("z", (1,))))


def test_weights_make_up_for_a_smaller_input():
    """x reaches 1, z 9: x comes 8 times as large."""
    made = Made(3)
    y = made.dense("fc", made.x, [[1.0, 2.0, 3.0]], [0.5])
    graph = rewritten(lambda g: level_inputs(g, SAMPLES), two(made, made.graph(y)))
    same(graph.input_exponents, [3, 3, 0])
    same(named(graph, "fc").weight.ravel(), [0.125, 0.25, 3.0])
    same(named(graph, "fc").bias, [0.5])
    same(graph.framed(SAMPLES), [[8.0, -4.0, 9.0], [2.0, 0.0, -4.0]])


def test_what_has_no_weights_reads_a_copy_as_large_as_before():
    made = Made(3)
    y = made.sum("sum", made.x[[0]], made.x[[2]])
    graph = rewritten(lambda g: level_inputs(g, SAMPLES), two(made, made.graph(y)))
    assert kinds(graph) == ["sum.input Depthwise", "sum Add"]
    same(named(graph, "sum.input").weight.ravel(), [0.125])
    same(named(graph, "sum").views[0], named(graph, "sum.input").out.ids)
    same(named(graph, "sum").views[1], made.x[[2]])


def test_inputs_that_share_a_channel_share_the_least_exponent():
    made = Made(3)
    y = made.dense("fc", made.x.reshape(1, 3, 1), [[1.0]])
    graph = two(made, made.graph(y))
    assert level_inputs(graph, SAMPLES) is graph


def test_exponents_may_be_given_and_one_input_stays():
    made = Made(3)
    plain = made.graph(made.dense("fc", made.x, [[1.0, 2.0, 3.0]]))
    assert level_inputs(plain, SAMPLES) is plain
    graph = level_inputs(two(made, plain), SAMPLES, np.array([0, 2]))
    verify(graph, "level_inputs")
    same(named(graph, "fc").weight.ravel(), [1.0, 2.0, 0.75])
    same(graph.input_exponents, [0, 0, 2])
