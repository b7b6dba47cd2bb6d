# SPDX-License-Identifier: Apache-2.0
"""y = W x, f(y[:k]), g(y[k:]) -> f(W[:k] x), g(W[k:] x)."""

import numpy as np
from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.ops import Apply
from bramcast.pack.passes.split_by_use import split_by_use

SIGMOID, TANH = (Activation((Function(name),)) for name in ("sigmoid", "tanh"))
WEIGHT = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


def begun(**fields):
    made = Made(2)
    return made, made.dense("fc", made.x, WEIGHT, [0.1, 0.2, 0.3], **fields)


def test_each_part_that_functions_read_is_a_layer():
    made, y = begun(macs=6, twins=("fc +0",))
    a = made.add(Apply, "gate", y[:2], activation=SIGMOID)
    b = made.add(Apply, "new", y[2:], activation=TANH)
    graph = rewritten(split_by_use, made.graph(np.concatenate([a, b])))
    assert kinds(graph) == ["fc.part1 Dense", "fc.part2 Dense", "gate Apply", "new Apply"]
    first, second = graph.ops[:2]
    same(first.weight[:, :, 0, 0], WEIGHT[:2])
    same(second.weight[:, :, 0, 0], WEIGHT[2:])
    same(first.bias, [0.1, 0.2])
    same(second.bias, [0.3])
    assert (first.macs, second.macs) == (4, 2)
    assert (first.twins, second.twins) == (("fc +0 part 1",), ("fc +0 part 2",))
    same(named(graph, "gate").view, first.out.ids)
    same(named(graph, "new").view, second.out.ids)


def test_channels_that_nobody_reads_are_a_part():
    made, y = begun()
    graph = rewritten(split_by_use, made.graph(made.add(Apply, "f", y[1:2], activation=TANH)))
    assert [op.name for op in graph.ops] == ["fc.part1", "fc.part2", "fc.part3", "f"]


def test_one_layer_at_a_time():
    made, y = begun()
    z = made.dense("second", y, [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    a = made.add(Apply, "a", y[:1], activation=TANH)
    b = made.add(Apply, "b", z[:1], activation=TANH)
    graph = rewritten(split_by_use, made.graph(np.concatenate([a, b])))
    assert "second" in [op.name for op in graph.ops]
    graph = rewritten(split_by_use, graph)
    assert "second.part2" in [op.name for op in graph.ops]
    assert split_by_use(graph) is graph


def test_what_is_read_whole_or_by_layers_stays():
    made, y = begun()
    a = made.add(Apply, "f", y, activation=TANH)
    b = made.dense("next", y[:1], [[1.0]])
    graph = made.graph(np.concatenate([a, b]))
    assert split_by_use(graph) is graph


def test_what_is_read_here_and_there_stays():
    made = Made(1)
    y = made.dense("fc", made.x, [[1.0]] * 10)
    graph = made.graph(made.add(Apply, "f", y[::2], activation=TANH))  # nine edges, one reader
    assert split_by_use(graph) is graph


def test_the_output_stays_one_layer():
    made, y = begun()
    made.add(Apply, "f", y[:1], activation=TANH)
    graph = made.graph(y)
    assert split_by_use(graph) is graph
