# SPDX-License-Identifier: Apache-2.0
"""The output is one tensor of its own."""

import numpy as np
from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.graph.ops import is_exact
from bramcast.pack.graph.tensor import ZERO
from bramcast.pack.passes.own_output import own_output


def begun():
    made = Made(1)
    return made, made.dense("fc", made.x, [[1.0], [2.0], [3.0]])


def test_a_result_that_is_read_again_is_copied():
    made, y = begun()
    made.dense("next", y, [[1.0, 1.0, 1.0]])
    graph = rewritten(own_output, made.graph(y))
    assert kinds(graph) == ["fc Dense", "next Dense", "output Depthwise"]
    copy = named(graph, "output")
    assert is_exact(copy)
    same(copy.view, y)
    same(copy.weight.ravel(), [1.0, 1.0, 1.0])
    same(copy.bias, [0.0, 0.0, 0.0])
    same(graph.output, copy.out.ids)


def test_the_input_is_copied():
    made = Made(2)
    graph = rewritten(own_output, made.graph(made.x))
    assert kinds(graph) == ["output Depthwise"]
    same(graph.output, named(graph, "output").out.ids)


def test_parts_of_several_tensors_are_gathered():
    made, y = begun()
    z = made.dense("other", made.x, [[4.0]])
    shown = np.concatenate([z, y[[2]], y[[0]]])
    graph = rewritten(own_output, made.graph(shown))
    gather = named(graph, "output")
    assert is_exact(gather)
    same(gather.view, shown)
    same(gather.weight[:, :, 0, 0], np.eye(3))
    same(graph.output, gather.out.ids)


def test_what_is_shown_twice_is_read_once():
    made, y = begun()
    shown = np.stack([y[0], y[1], y[0]])
    gather = named(own_output(made.graph(shown)), "output")
    same(gather.view, y[:2])
    same(gather.weight[:, :, 0, 0], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])


def test_more_axes_than_three_are_gathered_as_three():
    made, y = begun()
    zeros = np.full((3, 1, 1), ZERO)
    graph = rewritten(own_output, made.graph(np.stack([y, zeros])))
    gather = named(graph, "output")
    same(gather.view, np.stack([y[:, 0], zeros[:, 0]]))
    same(graph.output, gather.out.ids.reshape(2, 3, 1, 1))


def test_an_order_that_strides_describe_stays():
    made = Made(1)
    y = made.dense("fc", made.x, np.arange(6.0)[:, None])
    graph = made.graph(y.reshape(2, 3, 1))
    assert own_output(graph) is graph


def test_channels_in_any_order_stay():
    made, y = begun()
    graph = made.graph(y[[1, 0, 2]])
    assert own_output(graph) is graph


def test_pixels_in_any_other_order_are_gathered():
    made = Made(1, 1, 4)
    y = made.dense("fc", made.x, [[1.0], [2.0]])
    graph = rewritten(own_output, made.graph(y[:, :, ::-1]))
    assert kinds(graph) == ["fc Dense", "output Dense"]
    same(named(graph, "output").view, y[:, :, ::-1])
    same(graph.output, named(graph, "output").out.ids)


def test_of_several_outputs_each_is_a_tensor_of_its_own():
    made, y = begun()
    z = made.dense("head", y, [[1.0, 1.0, 1.0]])
    graph = rewritten(own_output, made.graph(z, y, z))
    assert kinds(graph) == [
        "fc Dense", "head Dense", "output.o0 Depthwise", "output.o1 Depthwise",
        "output.o2 Depthwise",
    ]  # fmt: skip
    first, feature, last = (named(graph, f"output.o{i}") for i in range(3))
    same(first.view, z)
    same(feature.view, y)
    same(last.view, z)
    same(graph.output, np.concatenate([op.out.ids.ravel() for op in (first, feature, last)]))
    assert [view.shape for view in graph.results] == [(1, 1, 1), (3, 1, 1), (1, 1, 1)]


def test_several_outputs_are_made_in_their_order():
    made, y = begun()
    late = made.dense("late", y, [[1.0, 1.0, 1.0]])
    first = made.dense("first", y, [[2.0, 1.0, 1.0]])
    middle = made.dense("middle", y, [[3.0, 1.0, 1.0]])
    graph = rewritten(own_output, made.graph(first, middle, late))
    assert kinds(graph) == ["fc Dense", "first Dense", "middle Dense", "late Dense"]
    assert [graph.leaves(op) for op in graph.ops] == [False, True, True, True]
    assert [op.name for op in graph.ops if graph.is_wide(op)] == ["first", "middle", "late"]
    in_order = made.graph(late, first, middle)
    assert own_output(in_order) is in_order
