# SPDX-License-Identifier: Apache-2.0
"""Scales go forwards, step by step until they are gone."""

import numpy as np
from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.graph.ops import MaxPool
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.fold_forward import fold_forward

RELU = Clamp(lo=0.0)


def test_behind_a_pool_and_into_the_layer_behind_it():
    made = Made(1, 2, 2)
    y = made.dense("first", made.x, [[1.0]], clamp=RELU)
    y = made.scale("norm", y, 3.0, 10.0)
    y = made.pool(MaxPool, "pool", y)
    graph = rewritten(fold_forward, made.graph(made.dense("last", y, [[2.0]], [0.5])))
    assert kinds(graph) == ["first Dense", "pool MaxPool", "last Dense"]
    last = named(graph, "last")
    same(last.weight.ravel(), [6.0])
    same(last.bias, [20.5])
    same(last.view, named(graph, "pool").out.ids)


def test_two_scales_in_a_row_are_taken_one_by_one():
    made = Made(1)
    y = made.dense("first", made.x, [[1.0]], clamp=RELU)
    y = made.scale("a", y, 3.0, 10.0)
    y = made.scale("b", y, 5.0, 1.0)
    graph = rewritten(fold_forward, made.graph(made.dense("last", y, [[2.0]])))
    assert kinds(graph) == ["first Dense", "last Dense"]
    same(named(graph, "last").weight.ravel(), [30.0])
    same(named(graph, "last").bias, [102.0])  # 2 * (5 * 10 + 1)


def test_a_scale_with_something_behind_it_stays():
    made = Made(1)
    y = made.dense("first", made.x, [[1.0]])
    a = made.dense("a", made.scale("clipped", y, 3.0, clamp=RELU), [[2.0]])
    b = made.dense("b", made.scale("rounded", y, 3.0, rounds=0), [[2.0]])
    graph = made.graph(np.concatenate([a, b]))
    assert fold_forward(graph) is graph
