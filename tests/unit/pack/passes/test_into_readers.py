# SPDX-License-Identifier: Apache-2.0
"""s = g x + o, W s + b -> (W g) x + (b + W o); a power of two goes back in front of a concat."""

import numpy as np
from graphs import Made, kinds, named, same

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.verify import verify
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.into_readers import into_readers

RELU = Clamp(lo=0.0)


def begun(gain=3.0, offset=10.0, **fields):
    """A layer with a ReLU and a scale behind it."""
    made = Made(1)
    y = made.dense("first", made.x, [[7.0]], [1.0], clamp=RELU, **fields)
    return made, y, made.scale("norm", y, gain, offset)


def taken(graph):
    """Whether the scale went anywhere, and the graph then."""
    draft = Draft(graph)
    done = into_readers(draft, named(graph, "norm"))
    verify(draft.done(), "into_readers")
    return done, draft.done()


def test_all_readers_take_it():
    made, y, s = begun()
    a = made.dense("a", s, [[1.0]], [0.5])
    b = made.dense("b", s, [[2.0]])
    done, graph = taken(made.graph(np.concatenate([a, b])))
    assert done and kinds(graph) == ["first Dense", "a Dense", "b Dense"]
    same(named(graph, "a").weight.ravel(), [3.0])
    same(named(graph, "a").bias, [10.5])
    same(named(graph, "b").weight.ravel(), [6.0])
    same(named(graph, "b").bias, [20.0])
    same(named(graph, "a").view, y)


def test_it_stays_for_those_that_can_not_take_it():
    made, y, s = begun()
    a = made.dense("a", s, [[1.0]])
    done, graph = taken(made.graph(made.sum("sum", a, s)))
    assert done and kinds(graph) == ["first Dense", "norm Scale", "a Dense", "sum Add"]
    same(named(graph, "a").view, y)
    same(named(graph, "sum").views[1], s)


def test_nobody_takes_it():
    made, y, s = begun()
    graph = made.graph(made.sum("sum", y, s))
    assert taken(graph) == (False, graph)


def beside_another(**fields):
    made, y, s = begun(gain=5.0, **fields)  # 2**2 is the nearest power of two
    other = made.dense("other", made.x, [[1.0]])
    last = made.dense("last", np.concatenate([s, other]), [[2.0, 9.0]], [0.5])
    return made.graph(last)


def test_beside_others_a_power_of_two_goes_back_through_the_relu():
    done, graph = taken(beside_another())
    assert done and kinds(graph) == ["first Dense", "other Dense", "last Dense"]
    first, last = named(graph, "first"), named(graph, "last")
    same(first.weight.ravel(), [28.0])
    same(first.bias, [4.0])
    assert first.clamp == RELU
    same(last.weight.ravel(), [2.5, 9.0])  # 2 * 5 / 4
    same(last.bias, [20.5])


def test_beside_others_it_stays_if_nothing_can_take_the_power():
    graph = beside_another(exact=True)
    assert taken(graph) == (False, graph)


def test_steps_of_a_loop_take_it_all_or_not_at_all():
    made, y, s = begun()
    a = made.dense("a", s, [[1.0]], twins=("step",))
    b = made.dense("b", a, [[1.0]], twins=("step",))
    graph = made.graph(made.sum("sum", b, s))
    assert taken(graph) == (False, graph)
