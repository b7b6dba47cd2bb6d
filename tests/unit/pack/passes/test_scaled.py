# SPDX-License-Identifier: Apache-2.0
"""What an operation is with a scale behind it: through clamps, tables and rounding."""

import numpy as np
import pytest
from graphs import Made, same

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.ops import AvgPool, Clip, Scale
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.scaled import scaled


def layer(weight=2.0, bias=1.0, **fields):
    made = Made(1)
    return made, made.dense("fc", made.x, [[weight]], [bias], **fields)


def behind(made, view, factor, offset=0.0, **fields):
    """What the last operation is with a scale behind it."""
    made.scale("scale", view, factor, offset, **fields)
    source, scale = made.draft.ops[-2:]
    return scaled(source, scale)


def test_a_positive_gain_goes_through_a_relu():
    op = behind(*layer(clamp=Clamp(lo=0.0)), 3.0)
    same(op.weight.ravel(), [6.0])
    same(op.bias, [3.0])
    assert op.clamp == Clamp(lo=0.0)


@pytest.mark.parametrize("factor, offset", [(-3.0, 0.0), (3.0, 1.0)])
def test_a_turned_or_moved_relu_is_none(factor, offset):
    assert behind(*layer(clamp=Clamp(lo=0.0)), factor, offset) is None
    assert behind(*layer(clamp=Clamp(0.0, 6.0)), 3.0) is None


def test_a_table_takes_one_factor_and_a_rounding():
    tanh = Activation((Function("tanh"),))
    ends = np.array([-99.0, 0.0, 99.0])
    op = behind(*layer(activation=tanh), 3.0, 0.25)
    same(op.activation.apply(ends), [-2.75, 0.25, 3.25])
    op = behind(*layer(activation=tanh), 3.0, 0.25, rounds=0)
    same(op.activation.apply(ends), [-3.0, 0.0, 3.0])
    made = Made(1)
    y = made.dense("fc", made.x, [[1.0], [1.0]], activation=tanh)
    assert behind(made, y, [[[3.0]], [[4.0]]]) is None


def test_limits_in_front_of_a_rounding_are_rounded():
    op = behind(*layer(clamp=Clamp(0.0, 3.0)), 0.5, rounds=0)
    same(op.weight.ravel(), [1.0])
    same(op.bias, [0.5])
    assert (op.clamp, op.rounds) == (Clamp(0.0, 2.0), 0)  # 1.5 rounds up


def test_powers_of_two_behind_a_rounding_move_its_grid():
    op = behind(*layer(clamp=Clamp(-8.0, 7.0), rounds=0), 4.0, 8.0)
    same(op.weight.ravel(), [8.0])
    same(op.bias, [12.0])
    assert (op.clamp, op.rounds) == (Clamp(-24.0, 36.0), -2)  # multiples of 4
    assert behind(*layer(rounds=0), 4.0, 2.0) is None  # between the multiples
    assert behind(*layer(rounds=0), 3.0) is None
    assert behind(*layer(rounds=0), 0.5, rounds=0) is None  # rounded twice is not once


def test_a_clip_takes_a_rounding_as_a_scale():
    made = Made(1)
    y = made.add(Clip, "clip", made.x, clamp=Clamp(-1.0, 1.0))
    op = behind(made, y, 2.0, 1.0, rounds=0)
    assert isinstance(op, Scale)
    same(op.weight.ravel(), [2.0])
    same(op.bias.ravel(), [1.0])
    assert op.clamp == Clamp(-1.0, 3.0)


def test_sums_and_averages_take_the_scale_of_a_rounding():
    made = Made(1)
    y = made.sum("sum", made.x, made.x, (1.0, -1.0))
    op = behind(made, y, 0.25, 0.5, rounds=0)
    same(op.weight, [0.25, -0.25])
    same(op.bias, [0.5])
    assert behind(made, made.sum("other", made.x, made.x), 3.0, rounds=0) is None
    assert behind(made, made.sum("third", made.x, made.x), 0.5) is None  # nobody rounds
    made = Made(1, 2, 2)
    op = behind(made, made.pool(AvgPool, "pool", made.x), 3.0, rounds=0)
    same(op.weight.ravel(), [0.75])
    same(op.bias, [0.0])


def test_factors_that_differ_within_a_channel_are_nobodys():
    made = Made(1, 1, 2)
    y = made.dense("fc", made.x, [[1.0]])
    assert behind(made, y, [[[1.0, 2.0]]]) is None
    assert behind(made, y, [[[2.0, 2.0]]]) is not None
