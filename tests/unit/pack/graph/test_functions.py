# SPDX-License-Identifier: Apache-2.0
"""Of which tensor a view is a function."""

import numpy as np
from graphs import Made

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.functions import common_root, function_of, is_linear
from bramcast.pack.graph.ops import Apply, Clip
from bramcast.pack.graph.window import Clamp

TANH = Activation((Function("tanh"),))
POINTS = np.array([-2.0, -0.5, 0.0, 1.0, 3.0])


def test_branches_meet_at_the_nearest_view_that_makes_them_all():
    made = Made(3)
    y = made.dense("fc", made.x, np.eye(3))
    a = made.scale("a", y, 2.0, -1.0)
    b = made.add(Apply, "b", a, activation=TANH)
    c = made.add(Clip, "c", a, clamp=Clamp(lo=0.0))
    d = made.product("d", b, c)
    root, functions = common_root(made.draft, [d, c])
    assert np.array_equal(root, a)
    want = np.tanh(POINTS) * np.maximum(POINTS, 0)
    assert np.allclose(functions[0].apply(POINTS), want)
    assert np.allclose(functions[1].apply(POINTS), np.maximum(POINTS, 0))
    whole = function_of(made.draft, d, y)
    assert np.allclose(whole.apply(POINTS), np.tanh(2 * POINTS - 1) * np.maximum(2 * POINTS - 1, 0))


def test_other_elements_constants_and_layers_are_no_functions_of_it():
    made = Made(4)
    y = made.dense("fc", made.x, np.eye(4))
    shifted = made.add(Apply, "shifted", y[::-1], activation=TANH)
    assert function_of(made.draft, shifted, y) is None
    assert function_of(made.draft, shifted[::-1], y) == TANH  # each element from its own place
    each = made.scale("each", y, [[[1.0]], [[2.0]], [[3.0]], [[4.0]]])
    assert common_root(made.draft, [y, each]) is None
    assert common_root(made.draft, [y, made.x]) is None


def test_factors_and_sums_alone_are_linear():
    scale = Activation((Function("scale", (2.0, 1.0)),))
    total = Activation((Function("sum", (1.0, -1.0), branches=(scale, Activation(()))),))
    assert is_linear(total) and total.apply(POINTS).tolist() == (POINTS + 1).tolist()
    assert not is_linear(total.then(TANH))
    assert not is_linear(Activation((Function("sum", (1.0, 1.0), branches=(TANH, scale)),)))
