# SPDX-License-Identifier: Apache-2.0
"""f(x[order]) -> f(x'), x' = x[order]."""

from dataclasses import replace

import numpy as np
from graphs import Made, named, rewritten, same

from bramcast.pack.graph.tensor import ZERO
from bramcast.pack.passes.shape_input import shape_input


def flat(*shape):
    """As capture binds a sample: every element a channel; beside it, as the author shows it."""
    made = Made(int(np.prod(shape)))
    return made, made.x.reshape(shape)


def test_the_first_reader_of_a_picture_decides():
    made, x = flat(3, 1, 2)
    seen = x.transpose(2, 1, 0)  # elements 0 2 4 | 1 3 5
    y = made.dense("conv", seen, np.ones((1, 2, 1, 1)))
    z = made.dense("other", x, np.ones((1, 3, 1, 1)))
    graph = rewritten(shape_input, made.graph(np.concatenate([y.ravel(), z.ravel()])))
    tensor = graph.input
    assert (tensor.channels, tensor.height, tensor.width) == (2, 1, 3)
    same(graph.input_order, [0, 2, 4, 1, 3, 5])
    same(named(graph, "conv").view, tensor.ids)
    same(named(graph, "other").view, [[[0, 3]], [[1, 4]], [[2, 5]]])
    sample = np.array([[[10.0, 11.0]], [[12.0, 13.0]], [[14.0, 15.0]]])
    same(graph.framed(sample[None]), [[10.0, 12.0, 14.0, 11.0, 13.0, 15.0]])


def test_a_border_of_zeros_is_no_part_of_it():
    made, x = flat(1, 1, 2)
    seen = np.pad(x, ((0, 0), (1, 1), (0, 1)), constant_values=ZERO)
    graph = rewritten(shape_input, made.graph(made.dense("conv", seen, np.ones((1, 1, 3, 2)))))
    tensor = graph.input
    assert (tensor.channels, tensor.height, tensor.width) == (1, 1, 2)
    same(named(graph, "conv").view, seen)


def test_a_picture_that_is_read_in_parts_has_the_authors_shape():
    made, x = flat(2, 1, 2)
    made.draft.graph = replace(made.draft.graph, input_shape=(2, 1, 2))
    graph = rewritten(shape_input, made.graph(made.dense("conv", x[:1], [[1.0]])))
    tensor = graph.input
    assert (tensor.channels, tensor.height, tensor.width) == (2, 1, 2)
    same(named(graph, "conv").view, tensor.ids[:1])


def test_features_stay_as_they_are():
    made, x = flat(3, 1, 1)
    graph = made.graph(made.dense("fc", x, [[1.0, 2.0, 3.0]]))
    assert shape_input(graph) is graph


def test_an_order_that_no_strides_describe_is_the_authors():
    made, x = flat(1, 2, 2)
    made.draft.graph = replace(made.draft.graph, input_shape=(1, 2, 2))
    seen = np.stack([x[0, :, [0]], x[0, :, [1]]]).reshape(2, 2, 1)[[1, 0]]  # columns, last first
    graph = rewritten(shape_input, made.graph(made.dense("conv", seen, np.ones((1, 2, 1, 1)))))
    assert (graph.input.channels, graph.input.height, graph.input.width) == (1, 2, 2)
    same(graph.input_order, [0, 1, 2, 3])
    same(named(graph, "conv").view, seen)
