# SPDX-License-Identifier: Apache-2.0
"""W (g x + o) + b -> (W g) x + (b + W o), with a share of o for each tap where a layer pads."""

import numpy as np
from graphs import Made, same

from bramcast.pack.graph.ops import Depthwise
from bramcast.pack.graph.tensor import ZERO
from bramcast.pack.graph.window import Window
from bramcast.pack.passes.absorb import absorbed, lifted

GAINS, OFFSETS = [[[2.0]], [[3.0]]], [[[10.0]], [[100.0]]]


def pair(reader, channels=2, height=1, width=1, offset=OFFSETS):
    """A scale of the input, and what an operation behind it is without it."""
    made = Made(channels, height, width)
    s = made.scale("norm", made.x, GAINS, offset)
    y = reader(made, s)
    graph = made.graph(made.dense("last", y, np.ones((1, len(y)))))
    return absorbed(graph, graph.ops[1], graph.ops[0])


def test_a_layer_takes_gains_and_offsets():
    op = pair(lambda made, s: made.dense("fc", s, [[1.0, 4.0], [5.0, 6.0]], [0.5, 0.25]))
    same(op.weight[:, :, 0, 0], [[2.0, 12.0], [10.0, 18.0]])
    same(op.bias, [410.5, 650.25])  # 1 * 10 + 4 * 100, 5 * 10 + 6 * 100
    same(op.view, [[[0]], [[1]]])
    assert not op.tap_bias.size


WEIGHT = [[[[1.0, 2.0]], [[3.0, 4.0]]]]
SHARES = [[[310.0, 420.0]]]  # 1 * 10 + 3 * 100, 2 * 10 + 4 * 100


def test_a_layer_that_pads_has_a_share_for_each_tap():
    window = Window((1, 2), padding=(0, 1, 0, 0))
    op = pair(lambda made, s: made.dense("conv", s, WEIGHT, window=window), width=3)
    same(op.weight, [[[[2.0, 4.0]], [[9.0, 12.0]]]])
    same(op.bias, [0.0])
    same(op.tap_bias, SHARES)


def test_a_border_of_zeros_is_padding_then():
    def reader(made, s):
        seen = np.pad(s, ((0, 0), (0, 0), (1, 0)), constant_values=ZERO)
        return made.dense("conv", seen, WEIGHT)

    op = pair(reader, width=3)
    assert (op.view.shape, op.window.padding) == ((2, 1, 3), (0, 1, 0, 0))
    same(op.tap_bias, SHARES)
    gains = pair(reader, width=3, offset=0.0)  # gains alone need no padding
    assert (gains.view.shape, gains.window.padding) == ((2, 1, 4), (0, 0, 0, 0))


def test_a_depthwise_layer_has_a_channel_of_the_scale_each():
    def reader(made, s):
        weight, bias = np.array([4.0, 5.0])[:, None, None, None], np.array([1.0, 2.0])
        return made.add(Depthwise, "dw", s, weight=weight, bias=bias)

    op = pair(reader)
    same(op.weight.ravel(), [8.0, 15.0])
    same(op.bias, [41.0, 502.0])


def test_channels_that_are_not_the_scales_stay():
    def reader(made, s):
        return made.dense("fc", np.concatenate([made.x[:1], s[1:]]), [[4.0, 5.0]])

    op = pair(reader)
    same(op.weight.ravel(), [4.0, 15.0])
    same(op.bias, [500.0])


def test_a_channel_of_two_gains_is_not_taken():
    def reader(made, s):
        return made.dense("conv", s.transpose(1, 2, 0), np.ones((1, 1, 1, 2)))

    assert pair(reader) is None


def test_a_channel_of_the_scales_elements_and_others_is_not_taken():
    def reader(made, s):
        return made.dense("fc", np.concatenate([s, made.x], axis=2), [[4.0, 5.0]])

    assert pair(reader) is None


def test_copies_and_results_on_the_stream_are_not_lifted():
    assert pair(lambda made, s: made.dense("copy", s, np.eye(2), exact=True)) is None
    made = Made(1, 1, 3)
    y = made.dense("conv", made.x, [[[[1.0, 2.0]]]], window=Window((1, 2), padding=(0, 1, 0, 0)))
    graph = made.graph(y)
    assert lifted(graph, graph.ops[0], np.array([1.0])) is None


def test_too_many_nests_are_not_lifted():
    def reader(edge):
        window = Window((edge, edge), padding=(edge // 2,) * 4)
        return lambda made, s: made.dense("conv", s, np.ones((1, 2, edge, edge)), window=window)

    assert pair(reader(5), height=9, width=9) is not None  # 25 bands
    assert pair(reader(7), height=9, width=9) is None
