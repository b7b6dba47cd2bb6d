# SPDX-License-Identifier: Apache-2.0
"""f(x[part]) -> f(x)[part] where nothing else reads x."""

import numpy as np
from graphs import Made, named, rewritten, same

from bramcast.pack.graph.ops import Clip
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.whole_tensors import whole_tensors

RELU = Clamp(lo=0.0)


def layer(made):
    """Three channels of 1x2 elements behind the input, a frame of 1x2: elements 2 3 | 4 5 | 6 7."""
    return made.dense("fc", made.x, [[1.0], [2.0], [3.0]])


def test_a_function_of_a_part_takes_the_whole():
    made = Made(1, 1, 2)
    y = layer(made)
    graph = rewritten(whole_tensors, made.graph(made.add(Clip, "relu", y[1:2], clamp=RELU)))
    relu = named(graph, "relu")
    same(relu.view, y)
    same(graph.output, relu.out.ids[1:2])


def test_repeated_elements_are_computed_once():
    made = Made(1, 1, 2)
    y = layer(made)
    seen = np.concatenate([y, y[::-1]])
    graph = rewritten(whole_tensors, made.graph(made.add(Clip, "relu", seen, clamp=RELU)))
    ids = named(graph, "relu").out.ids
    same(graph.output, np.concatenate([ids, ids[::-1]]))


def test_a_scales_constants_stay_with_their_channels():
    made = Made(1, 1, 2)
    y = layer(made)
    z = made.scale("scale", y[[2, 1]], [[[7.0]], [[5.0]]], [[[-1.0]], [[1.0]]])
    graph = rewritten(whole_tensors, made.graph(z))
    scale = named(graph, "scale")
    same(scale.weight[1:, 0], [[5.0, 5.0], [7.0, 7.0]])  # channel 0 may have anything
    same(scale.bias[1:, 0], [[1.0, 1.0], [-1.0, -1.0]])
    same(graph.output, scale.out.ids[[2, 1]])


def test_constants_that_differ_within_a_channel_stay():
    made = Made(1, 1, 2)
    graph = made.graph(made.scale("scale", layer(made)[:1], [[[7.0, 5.0]]]))
    assert whole_tensors(graph) is graph


def test_a_tensor_that_others_read_stays():
    made = Made(1, 1, 2)
    y = layer(made)
    a = made.add(Clip, "a", y[:1], clamp=RELU)
    b = made.add(Clip, "b", y[1:], clamp=RELU)
    graph = made.graph(np.concatenate([a, b]))
    assert whole_tensors(graph) is graph
