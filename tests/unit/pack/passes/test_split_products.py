# SPDX-License-Identifier: Apache-2.0
"""a * b + c * d becomes two products and their sum, unless a factor is never negative."""

from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.ops import Product
from bramcast.pack.passes.split_products import split_products


def pairs(**fields):
    """Two layers, and the first with the frame plus the second with itself."""
    made = Made(2)
    a = made.dense("a", made.x, [[1, 0], [0, 1]], **fields)
    b = made.dense("b", made.x, [[0, 1], [1, 0]])
    return made.graph(made.add(Product, "mix", a, made.x, b, b))


def test_two_products_and_their_sum_take_its_place():
    graph = pairs()
    split = rewritten(split_products, graph)
    assert kinds(split) == [
        "a Dense", "b Dense", "mix.first Product", "mix.second Product", "mix Add",
    ]  # fmt: skip
    a, b = (named(split, name).out.ids for name in "ab")
    same(named(split, "mix.first").views, [a, graph.input.ids])
    same(named(split, "mix.second").views, [b, b])
    assert split.last.out == graph.last.out and split.last.weight.tolist() == [1, 1]


def test_one_factor_that_is_never_negative_is_enough():
    graph = pairs(activation=Activation((Function("sigmoid"),)))
    assert split_products(graph) is graph


def test_a_single_product_stays():
    made = Made(2)
    graph = made.graph(made.product("square", made.x, made.x))
    assert split_products(graph) is graph
