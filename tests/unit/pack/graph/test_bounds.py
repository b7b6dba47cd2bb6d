# SPDX-License-Identifier: Apache-2.0
"""Least and largest values behind tables, worked out by hand."""

import numpy as np
import pytest
from graphs import Made, named

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.bounds import known_bounds, never_negative
from bramcast.pack.graph.ops import Apply, AvgPool, Clip, Depthwise, MaxPool, Product
from bramcast.pack.graph.window import Clamp

SIGMOID = Activation((Function("sigmoid"),))
TANH = Activation((Function("tanh"),))


def bounds_of(made, *names):
    graph = made.draft
    bounds = known_bounds(graph)
    return [bounds.get(named(graph, name).out.index) for name in names]


def depthwise(made, name, view, weight, bias, **fields):
    weight = np.array(weight, float).reshape(-1, 1, 1, 1)
    return made.add(Depthwise, name, view, weight=weight, bias=np.array(bias, float), **fields)


def test_tables_bound_what_pools_copies_scales_and_clamps_make_of_them():
    made = Made(2, 2, 2)
    t = made.add(Apply, "tanh", made.x, activation=TANH)
    made.pool(MaxPool, "max", t)
    made.pool(AvgPool, "avg", t)
    made.add(MaxPool, "clamped", t, clamp=Clamp(-0.25, 0.5))
    depthwise(made, "copy", t, [1.0, 1.0], [0.0, 0.0], exact=True)
    s = made.add(Apply, "sigmoid", made.x, activation=SIGMOID)
    made.add(MaxPool, "joined", np.concatenate([s, t]))
    # -3 t + 1 lies in -2..4, 2 t + 0.5 in -1.5..2.5.
    depthwise(made, "scale", t, [-3.0, 2.0], [1.0, 0.5])
    found = bounds_of(made, "tanh", "max", "avg", "joined", "clamped", "copy", "scale")
    assert found == [(-1, 1)] * 4 + [(-0.25, 0.5), (-1, 1), (-2, 4)]


def test_products_take_the_corners_and_add_up_in_pairs():
    made = Made(1)
    t = made.add(Apply, "tanh", made.x, activation=TANH)
    s = made.add(Apply, "sigmoid", made.x, activation=SIGMOID)
    d = depthwise(made, "wide", t, [2.0], [1.0])  # -1..3
    made.product("st", s, t)
    made.product("dd", d, d)  # as if they were two: -3..9
    made.add(Product, "both", s, d, t, d)  # 0..1 times -1..3, -1..1 times -1..3
    found = bounds_of(made, "sigmoid", "st", "dd", "both")
    assert found == [(0, 1), (-1, 1), (-3, 9), (-4, 6)]


def test_what_no_table_bounds_has_no_bounds():
    made = Made(1, 2, 2)
    t = made.add(Apply, "tanh", made.x, activation=TANH)
    made.pool(MaxPool, "input", made.x)
    made.dense("dense", t, [[1.0]])
    made.sum("sum", t, t)
    made.product("half", t, made.x)
    made.pool(AvgPool, "rounded", t, rounds=0)
    assert bounds_of(made, "input", "dense", "sum", "half", "rounded") == [None] * 5


@pytest.mark.parametrize(
    "weight, operands, expected",
    [((1.0, 1.0), (True, True), True), ((1.0, -1.0), (True, True), False),
     ((1.0, 1.0), (True, False), False)],
)  # fmt: skip
def test_sums_are_never_negative_if_nothing_is_subtracted(weight, operands, expected):
    made = Made(1)
    y = made.add(Clip, "relu", made.x)
    made.sum("sum", made.x, y, weight)
    graph = made.draft
    known = dict(enumerate(operands))
    assert never_negative(graph, named(graph, "sum"), known, {}) is expected


@pytest.mark.parametrize("bias, rounds, expected", [
    (-0.5, None, False), (0.0, None, True), (-0.5, 0, True), (-0.75, 0, False),
])  # fmt: skip
def test_a_bias_below_zero_counts_unless_rounding_takes_it_away(bias, rounds, expected):
    made = Made(2, 2, 2)
    made.pool(AvgPool, "avg", made.x, bias=np.array([1.0, bias]), rounds=rounds)
    graph = made.draft
    assert never_negative(graph, named(graph, "avg"), {0: True}, {}) is expected


def test_bounds_and_clamps_say_it_before_operands_do():
    made = Made(1)
    made.dense("fc", made.x, [[1.0]])
    made.dense("relu", made.x, [[1.0]], clamp=Clamp(lo=0.0))
    made.product("square", made.x, made.x)
    graph = made.draft
    fc, relu, square = graph.ops
    known = {0: False}
    assert never_negative(graph, relu, known, {})
    assert never_negative(graph, fc, known, {fc.out.index: (0.0, 1.0)})
    assert not never_negative(graph, relu, known, {relu.out.index: (-0.5, 1.0)})
    assert not never_negative(graph, fc, {0: True}, {})
    assert not never_negative(graph, square, known, {})
    assert never_negative(graph, square, {0: True}, {})
