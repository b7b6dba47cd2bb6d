# SPDX-License-Identifier: Apache-2.0
"""x * f(x) -> gate(x)."""

import numpy as np
import pytest
from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.ops import Apply, Clip
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.fold_self_products import fold_self_products

SIGMOID = Activation((Function("sigmoid"),))


def begun():
    made = Made(2)
    return made, made.dense("fc", made.x, [[1.0, 0.0], [0.0, 1.0]])


def at(graph, name, *values):
    """What an operation's function makes of numbers."""
    return named(graph, name).activation.apply(np.array(values))


@pytest.mark.parametrize("turned", [False, True])
def test_silu_is_one_function_whichever_factor_comes_first(turned):
    made, y = begun()
    s = made.add(Apply, "sigmoid", y, activation=SIGMOID)
    views = (s, y) if turned else (y, s)
    graph = rewritten(fold_self_products, made.graph(made.product("silu", *views)))
    assert kinds(graph) == ["fc Dense", "silu Apply"]
    same(named(graph, "silu").view, y)
    values = np.array([-2.0, 0.0, 1.0])
    np.testing.assert_allclose(at(graph, "silu", *values), values / (1 + np.exp(-values)))


def test_hardswish_as_written_out():
    made, y = begun()
    f = made.scale("shift", y, 1.0, 3.0)
    f = made.add(Clip, "relu6", f, clamp=Clamp(0.0, 6.0))
    p = made.product("times", y, f)
    graph = rewritten(fold_self_products, made.graph(made.scale("sixth", p, 1 / 6)))
    assert kinds(graph) == ["fc Dense", "times Apply", "sixth Scale"]
    same(at(graph, "times", -4.0, -1.0, 2.0, 5.0), [0.0, -2.0, 10.0, 30.0])  # x * relu6(x + 3)


def test_a_gate_of_a_gate():
    made, y = begun()
    square = made.product("square", y, y)
    graph = rewritten(fold_self_products, made.graph(made.product("cube", y, square)))
    assert kinds(graph) == ["fc Dense", "cube Apply"]
    same(at(graph, "cube", -2.0, 3.0), [-8.0, 27.0])


def test_what_others_read_stays_beside_the_gate():
    made, y = begun()
    s = made.add(Apply, "sigmoid", y, activation=SIGMOID)
    p = made.product("silu", y, s)
    graph = rewritten(fold_self_products, made.graph(made.sum("sum", p, s)))
    assert kinds(graph) == ["fc Dense", "sigmoid Apply", "silu Apply", "sum Add"]


def test_other_products_stay():
    made, y = begun()
    z = made.scale("by channel", y, [[[1.0]], [[2.0]]])  # no one function for both channels
    p = made.product("p", y, z)
    other = made.dense("other", made.x, [[1.0, 0.0], [0.0, 1.0]])
    graph = made.graph(made.product("q", p, other))
    assert fold_self_products(graph) is graph
