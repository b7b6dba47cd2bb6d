# SPDX-License-Identifier: Apache-2.0
"""Whose pixels views show: regular ones by hand, and what makes them irregular."""

import numpy as np
import pytest
from graphs import Made, same

from bramcast.pack.graph.tensor import ZERO
from bramcast.pack.graph.views import grid_steps, is_flat, is_point, pixel_view
from bramcast.pack.graph.window import Window


@pytest.fixture(scope="module")
def graph():
    """The input of 2 channels of 4x6 (numbers 0..47), ``a`` of the same shape (48..95), and ``b``
    of one channel of 3x5 (96..110)."""
    made = Made(2, 4, 6)
    a = made.dense("a", made.x, [[1.0, 0.0], [0.0, 1.0]])
    b = made.dense("b", a, np.ones((1, 2, 2, 2)))
    return made.graph(b)


def test_a_view_of_every_second_pixel_turned_round(graph):
    view = graph.input.ids[:, ::2, ::-3]
    found = pixel_view(graph, view)
    same(found.tensor, [0, 0])
    same(found.channel, [0, 1])
    same(found.numbers, [[5, 2], [17, 14]])
    assert found.border == (0, 0, 0, 0)
    assert grid_steps(found.numbers) == (12, -3)


def test_channels_of_two_tensors_with_an_empty_one_between_and_a_border(graph):
    x, a = graph.tensors[0].ids, graph.tensors[1].ids
    view = np.full((3, 6, 9), ZERO)
    view[0, 2:, 1:7] = a[1]
    view[2, 2:, 1:7] = x[1]
    found = pixel_view(graph, view)
    same(found.tensor, [1, -1, 0])
    same(found.channel, [1, -1, 1])
    same(found.numbers, np.arange(24).reshape(4, 6))
    assert found.border == (2, 1, 0, 2)


def irregular(graph):
    x, a, b = (tensor.ids for tensor in graph.tensors)
    hole = x.copy()
    hole[0, 1, 1] = ZERO
    skewed = x[:1].copy()
    skewed[0, 3, 5] = x[0, 0, 0]
    mixed = x.copy()
    mixed[0, 0, 0] = x[1, 0, 0]  # another channel's pixel
    torn = x.copy()
    torn[0, 0, 0] = a[0, 0, 0]  # another tensor's pixel
    return {
        "nothing": np.full((1, 2, 2), ZERO),
        "a hole": hole,
        "unevenly spaced": skewed,
        "channels mixed": mixed,
        "tensors mixed": torn,
        "channels at different pixels": np.stack([x[0, :2], x[1, 1:3]]),
        "tensors of different sizes": np.concatenate([x[:1, :1, :2], b[:, :1, :2]]),
    }


def test_a_view_without_structure_has_none(graph):
    views = irregular(graph)
    assert [name for name, view in views.items() if pixel_view(graph, view) is not None] == []


def test_steps_of_rows_columns_and_single_pixels():
    assert grid_steps(np.array([[7]])) == (0, 0)
    assert grid_steps(np.array([[7, 4]])) == (0, -3)
    assert grid_steps(np.array([[7], [9]])) == (2, 0)
    assert grid_steps(np.array([[1, 2], [4, 6]])) is None


def test_a_point_is_one_pixel_whatever_zeros_stand_around_it(graph):
    x = graph.input.ids
    assert is_point(x[:, 1:2, 1:2])
    assert not is_point(x[:, 1:3, 1:2])
    padded = np.full((1, 3, 3), ZERO)
    padded[0, 2, 0] = 5
    assert is_point(padded)


def test_a_dense_operation_is_flat_only_on_one_pixel_with_one_tap():
    made = Made(2)
    y = made.dense("flat", made.x, [[1.0, 2.0]])
    made.dense("padded", y, [[1.0]], window=Window(padding=(0, 1, 0, 0)))
    made.dense("taps", y, np.ones((1, 1, 3, 3)), window=Window((3, 3), padding=(1, 1, 1, 1)))
    made.dense("groups", made.x, [[1.0], [2.0]], groups=2)
    made.scale("scale", made.x, 1.0)
    wide = Made(2, 1, 2)
    wide.dense("wide", wide.x, [[1.0, 2.0]])
    ops = [*made.draft.ops, *wide.draft.ops]
    assert [op.name for op in ops if is_flat(op)] == ["flat"]
