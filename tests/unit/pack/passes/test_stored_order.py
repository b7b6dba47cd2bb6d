# SPDX-License-Identifier: Apache-2.0
"""f(x[order]) -> f(x)[order]."""

import numpy as np
from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.graph.ops import Clip
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.stored_order import stored_order

RELU = Clamp(lo=0.0)


def layer(made, name="fc"):
    """A tensor of two channels of 1x2 elements behind the input, a frame of 1x2."""
    return made.dense(name, made.x, [[1.0], [2.0]])


def test_a_scale_of_a_permuted_tensor_takes_its_constants_along():
    made = Made(1, 1, 2)
    y = layer(made)  # elements 2 3 | 4 5
    seen = y.transpose(2, 1, 0)  # 2 4 | 3 5
    z = made.scale("scale", seen, [[[10.0, 20.0]], [[30.0, 40.0]]], [[[1.0, 2.0]], [[3.0, 4.0]]])
    graph = rewritten(stored_order, made.graph(z))
    scale = named(graph, "scale")
    same(scale.view, y)
    same(scale.weight, [[[10.0, 30.0]], [[20.0, 40.0]]])
    same(scale.bias, [[[1.0, 3.0]], [[2.0, 4.0]]])
    first = scale.out.first
    same(graph.output, np.array([[[0, 2]], [[1, 3]]]) + first)


def test_a_chain_settles_in_one_pass():
    made = Made(1, 1, 2)
    y = layer(made)
    a = made.add(Clip, "a", y.transpose(2, 0, 1), clamp=RELU)
    b = made.add(Clip, "b", a.reshape(4, 1, 1), clamp=RELU)
    graph = rewritten(stored_order, made.graph(b))
    assert kinds(graph) == ["fc Dense", "a Clip", "b Clip"]
    same(named(graph, "a").view, y)
    same(named(graph, "b").view, named(graph, "a").out.ids)
    same(graph.output.ravel() - named(graph, "b").out.first, [0, 2, 1, 3])


def test_a_sum_of_two_tensors_in_one_order_is_reordered():
    made = Made(1, 1, 2)
    y, z = layer(made), layer(made, "other")
    total = made.sum("sum", y.transpose(2, 1, 0), z.transpose(2, 1, 0))
    graph = rewritten(stored_order, made.graph(total))
    same(named(graph, "sum").views, [y, z])


def test_what_stands_in_order_or_in_two_orders_stays():
    made = Made(1, 1, 2)
    y, z = layer(made), layer(made, "other")
    made.add(Clip, "in order", y, clamp=RELU)
    total = made.sum("two orders", y.transpose(2, 1, 0), z.reshape(2, 1, 2))
    graph = made.graph(total)
    assert stored_order(graph) is graph


def test_the_input_is_shaped_by_its_readers():
    made = Made(2, 1, 2)
    y = made.add(Clip, "relu", made.x.transpose(2, 1, 0), clamp=RELU)
    graph = made.graph(y)
    assert stored_order(graph) is graph
