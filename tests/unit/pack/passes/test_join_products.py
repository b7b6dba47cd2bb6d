# SPDX-License-Identifier: Apache-2.0
"""p = a b, q = c d, p + q -> a b + c d."""

import numpy as np
import pytest
from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.join_products import join_products

SIGMOID, TANH = (Activation((Function(name),)) for name in ("sigmoid", "tanh"))


def factors(*functions):
    """Four layers with two results each, with functions behind them."""
    made = Made(1)
    views = [
        made.dense(name, made.x, [[1.0], [2.0]], activation=function)
        for name, function in zip("abcd", functions or [None] * 4, strict=True)
    ]
    return made, *views


def test_a_sum_of_two_products_is_one():
    made, a, b, c, d = factors()
    p, q = made.product("p", a, b), made.product("q", c, d)
    y = made.sum("sum", p, q)
    graph = rewritten(join_products, made.graph(y))
    assert kinds(graph)[4:] == ["sum Product"]
    same(named(graph, "sum").views, [a, b, c, d])
    same(graph.output, y)


def test_factors_follow_the_order_in_which_the_sum_reads_them():
    made, a, b, c, d = factors()
    p, q = made.product("p", a, b), made.product("q", c, d)
    graph = join_products(made.graph(made.sum("sum", p, q[::-1])))
    same(named(graph, "sum").views, [a, b, c[::-1], d[::-1]])


def test_a_factor_that_is_never_negative_comes_first():
    made, a, b, c, d = factors(TANH, SIGMOID, SIGMOID, TANH)
    p, q = made.product("p", a, b), made.product("q", c, d)
    graph = join_products(made.graph(made.sum("sum", p, q)))
    same(named(graph, "sum").views, [b, a, c, d])


@pytest.mark.parametrize("why", ["difference", "read again", "shared factor", "clamped", "input"])
def test_other_sums_stay(why):
    made, a, b, c, d = factors()
    if why == "shared factor":
        d = a
    if why == "input":
        d = np.concatenate([made.x, made.x])
    p = made.product("p", a, b)
    q = made.product("q", c, d)
    if why == "clamped":
        made.draft.put(op := made.draft.ops[-1], type(op)(**{**op.common, "clamp": Clamp(lo=0.0)}))
    y = made.sum("sum", p, q, (1.0, -1.0 if why == "difference" else 1.0))
    if why == "read again":
        y = np.concatenate([y, q])
    graph = made.graph(y)
    assert join_products(graph) is graph
