# SPDX-License-Identifier: Apache-2.0
"""round(x) -> x where x is a multiple already."""

import numpy as np
import pytest
from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.graph.ops import Clip, MaxPool, RoundEven
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.settle_rounding import settle_rounding


def test_what_is_rounded_already_is_not_rounded_again():
    made = Made(1)
    y = made.scale("floor", made.x, 0.25, rounds=0)
    y = made.add(RoundEven, "round", y)
    y = made.scale("again", y, 1.0, 0.25, rounds=1)  # integers + 0.25, to halves: + 0.25 rounds up
    y = made.scale("idle", y, 1.0, 0.125, rounds=1)  # 0.125 is less than half a step
    graph = rewritten(settle_rounding, made.graph(y))
    assert kinds(graph) == ["floor Scale", "again Scale"]
    same(named(graph, "again").view, named(graph, "floor").out.ids)
    same(graph.output, named(graph, "again").out.ids)


@pytest.mark.parametrize("weight, bias, high", [(3.0, -1.0, 5.0), (2.0, 4.0, 6.0)])
def test_integers_times_integers_are_integers(weight, bias, high):
    made = Made(1)
    y = made.scale("floor", made.x, 1.0, rounds=0)
    y = made.dense("fc", y, [[weight]], [bias], clamp=Clamp(0.0, high))
    y = made.add(RoundEven, "round", y)
    assert kinds(settle_rounding(made.graph(y))) == ["floor Scale", "fc Dense"]


@pytest.mark.parametrize("weight, bias, high", [(0.5, 0.0, 5.0), (1.0, 0.5, 5.0), (1.0, 0.0, 0.5)])
def test_torch_round_of_anything_else_is_a_table(weight, bias, high):
    made = Made(1)
    y = made.scale("floor", made.x, 1.0, rounds=0)
    y = made.dense("fc", y, [[weight]], [bias], clamp=Clamp(0.0, high))
    y = made.add(RoundEven, "round", y)
    graph = rewritten(settle_rounding, made.graph(y))
    assert kinds(graph) == ["floor Scale", "fc Dense", "round Apply"]
    ties = np.array([-1.5, -0.5, 0.5, 1.5, 2.5])
    same(named(graph, "round").activation.apply(ties), [-2, 0, 0, 2, 2])


def test_a_maximum_of_integers_is_one_and_of_two_grids_the_finer():
    made = Made(1, 2, 2)
    y = made.scale("floor", made.x, 1.0, rounds=0)
    y = made.pool(MaxPool, "pool", y)
    halves = made.scale("half", y, 0.5)
    total = made.sum("sum", y, halves)
    wanted = made.scale("to halves", total, 1.0, rounds=1)  # is idle
    needed = made.scale("to integers", wanted, 1.0, rounds=0)  # is not
    graph = rewritten(settle_rounding, made.graph(needed))
    assert [op.name for op in graph.ops] == ["floor", "pool", "half", "sum", "to integers"]


def test_a_network_that_does_not_round_stays():
    made = Made(1)
    graph = made.graph(made.add(Clip, "relu", made.x, clamp=Clamp(lo=0.0)))
    assert settle_rounding(graph) is graph
