# SPDX-License-Identifier: Apache-2.0
"""g (W x + b) + o -> (g W) x + (g b + o); f(W x + b) -> one operation."""

import numpy as np
from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.ops import Apply, Clip
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.fold_back import fold_back

TANH = Activation((Function("tanh"),))
RELU = Clamp(lo=0.0)


def begun():
    made = Made(1)
    return made, made.dense("fc", made.x, [[2.0], [3.0]], [1.0, -1.0])


def test_a_scale_a_clamp_and_a_function_in_a_row_are_one_layer():
    made, y = begun()
    z = made.scale("norm", y, [[[10.0]], [[100.0]]], [[[0.0]], [[5.0]]])
    z = made.add(Clip, "relu", z, clamp=RELU)
    z = made.add(Apply, "tanh", z, activation=TANH)
    graph = rewritten(fold_back, made.graph(z))
    assert kinds(graph) == ["fc Dense"]
    fc = named(graph, "fc")
    same(fc.weight.reshape(2, 1), [[20.0], [300.0]])
    same(fc.bias, [10.0, -95.0])
    assert (fc.clamp, fc.activation) == (RELU, TANH)
    same(graph.output, fc.out.ids)


def test_readers_see_what_is_folded_in_the_order_in_which_it_saw_it():
    made, y = begun()
    z = made.scale("swapped", y[::-1], [[[10.0]], [[100.0]]])  # 10 for channel 1
    graph = rewritten(fold_back, made.graph(z))
    same(named(graph, "fc").weight.reshape(2, 1), [[200.0], [30.0]])
    same(graph.output, y[::-1])


def test_limits_behind_a_function_are_a_function():
    made, y = begun()
    z = made.add(Apply, "tanh", y, activation=TANH)
    z = made.add(Clip, "clip", z, clamp=Clamp(-0.5, 0.25))
    (fc,) = rewritten(fold_back, made.graph(z)).ops
    same(fc.activation.apply(np.array([-9.0, 0.0, 9.0])), [-0.5, 0.0, 0.25])
    assert fc.clamp == Clamp()


def test_limits_that_are_no_multiples_stay_behind_a_rounding():
    made = Made(1)
    y = made.dense("fc", made.x, [[2.0]], rounds=0)
    z = made.add(Clip, "clip", y, clamp=Clamp(0.0, 1.5))
    graph = made.graph(z)
    assert fold_back(graph) is graph


def test_twins_of_what_is_folded_are_passed():
    made = Made(1)
    y = made.dense("fc", made.x, [[2.0]], twins=("fc",))
    z = made.add(Clip, "relu", y, clamp=RELU, twins=("relu",))
    (fc,) = fold_back(made.graph(z)).ops
    assert (fc.twins, fc.passed) == (("fc", "relu"), 1)


def test_what_others_read_stays():
    made, y = begun()
    z = made.add(Clip, "relu", y, clamp=RELU)
    graph = made.graph(made.sum("sum", y, z))
    assert fold_back(graph) is graph


def test_what_the_output_shows_stays():
    made, y = begun()
    z = made.add(Clip, "relu", y, clamp=RELU)
    graph = made.graph(np.concatenate([y, z]))
    assert fold_back(graph) is graph
