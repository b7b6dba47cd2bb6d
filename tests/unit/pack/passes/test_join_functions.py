# SPDX-License-Identifier: Apache-2.0
"""f(x) * g(x) and f(x) + g(x) -> h(x)."""

import numpy as np
from graphs import Made, kinds, named, rewritten

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.ops import Apply, Clip
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.join_functions import join_functions

TANH = Activation((Function("tanh"),))
SIGMOID = Activation((Function("sigmoid"),))
POINTS = np.array([-2.0, -0.5, 0.0, 1.0, 3.0])


def test_a_sum_and_a_product_of_functions_of_one_tensor_are_one_function():
    made = Made(3)
    y = made.dense("fc", made.x, np.eye(3))
    a = made.add(Apply, "a", y, activation=TANH)
    b = made.add(Apply, "b", y, activation=SIGMOID)
    p = made.product("p", a, b)
    c = made.add(Clip, "c", y, clamp=Clamp(lo=0.0))
    graph = rewritten(join_functions, made.graph(made.sum("s", p, c, (1.0, -1.0))))
    assert kinds(graph) == ["fc Dense", "s Apply"]
    want = np.tanh(POINTS) / (1 + np.exp(-POINTS)) - np.maximum(POINTS, 0)
    assert np.allclose(named(graph, "s").activation.apply(POINTS), want)


def test_sums_of_other_tensors_and_linear_ones_stay():
    made = Made(2)
    y = made.dense("fc", made.x, np.eye(2))
    twice = made.scale("twice", y, 2.0)
    s = made.sum("s", twice, y)
    a = made.add(Apply, "a", made.x, activation=TANH)
    graph = made.graph(made.product("p", s, a))
    assert join_functions(graph) is graph
