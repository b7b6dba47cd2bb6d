# SPDX-License-Identifier: Apache-2.0
"""Every input channel becomes a coarse and a fine one, with weights 2**-shift as large."""

import numpy as np
from graphs import Made, named, same

from bramcast.pack.graph.verify import verify
from bramcast.pack.passes.two_planes import can_split, split_input


def two_layers():
    made = Made(2)
    first = made.dense("first", made.x, [[1, 2], [3, 4], [5, 6]], [1, 0, 0])
    return made.graph(made.dense("second", first, [[1, 1, 1]]))


def test_weights_come_twice_and_tensors_move():
    graph = two_layers()
    split = split_input(graph, 3)
    verify(split, "split_input", folded=True)
    assert [(t.name, t.channels, t.first) for t in split.tensors] == [
        ("input", 4, 0), ("first", 3, 4), ("second", 1, 7),
    ]  # fmt: skip
    first = named(split, "first")
    same(first.weight[:, :, 0, 0], np.array([[1, 1 / 8, 2, 2 / 8], [3, 3 / 8, 4, 4 / 8],
                                             [5, 5 / 8, 6, 6 / 8]]))  # fmt: skip
    same(first.view.ravel(), [0, 1, 2, 3])
    same(named(split, "second").view.ravel(), [4, 5, 6])
    same(split.output.ravel(), [7])
    assert [t.first for t in graph.tensors] == [0, 2, 5]  # it is as it was


def test_only_dense_layers_that_read_nothing_else_can_take_it():
    assert can_split(two_layers())
    made = Made(2)
    assert not can_split(made.graph(made.sum("twice", made.x, made.x)))
    made = Made(2)
    first = made.dense("first", made.x, [[1, 2]])
    both = np.concatenate([made.x, first])
    assert not can_split(made.graph(made.dense("second", both, [[1, 1, 1]])))
