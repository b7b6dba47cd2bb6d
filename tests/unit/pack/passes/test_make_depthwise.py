# SPDX-License-Identifier: Apache-2.0
"""g x + o, clip(x), f(x) -> a depthwise layer of its own."""

from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.ops import Apply, Clip
from bramcast.pack.graph.window import Clamp
from bramcast.pack.passes.make_depthwise import make_depthwise


def test_a_scale_has_a_weight_and_a_bias_for_each_channel():
    made = Made(2, 1, 2)
    y = made.scale("norm", made.x, [[[2.0]], [[3.0]]], [[[-1.0]], [[1.0]]], macs=4)
    graph = rewritten(make_depthwise, made.graph(y))
    assert kinds(graph) == ["norm Depthwise"]
    norm = named(graph, "norm")
    same(norm.weight, [[[[2.0]]], [[[3.0]]]])
    same(norm.bias, [-1.0, 1.0])
    same(norm.view, made.x)
    same(graph.output, y)
    assert norm.macs == 4


def test_clamps_and_functions_come_along():
    made = Made(2)
    y = made.add(Clip, "clip", made.x, clamp=Clamp(-1.0, 1.0))
    y = made.add(Apply, "tanh", y, activation=Activation((Function("tanh"),)))
    clip, tanh = rewritten(make_depthwise, made.graph(y)).ops
    same(clip.weight.ravel(), [1.0, 1.0])
    same(clip.bias, [0.0, 0.0])
    assert clip.clamp == Clamp(-1.0, 1.0)
    assert tanh.activation == Activation((Function("tanh"),))


def test_constants_that_differ_within_a_channel_make_each_element_a_channel():
    made = Made(1, 1, 2)
    y = made.scale("a", made.x, [[[2.0, 3.0]]], [[[0.0, 1.0]]])
    z = made.scale("b", y, 5.0)
    graph = rewritten(make_depthwise, made.graph(z))
    a, b = graph.ops
    same(a.weight.ravel(), [2.0, 3.0])
    same(a.bias, [0.0, 1.0])
    same(a.view, [[[0]], [[1]]])
    assert (a.out.channels, a.out.height, a.out.width) == (2, 1, 1)
    same(b.view, a.out.ids.reshape(1, 1, 2))
    same(b.weight.ravel(), [5.0])


def test_layers_stay():
    made = Made(1)
    graph = made.graph(made.dense("fc", made.x, [[1.0]]))
    assert make_depthwise(graph) is graph
