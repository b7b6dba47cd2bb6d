# SPDX-License-Identifier: Apache-2.0
"""g[band] W x + o[band] -> (g[i] W) x[rows i] + o[i]."""

from math import inf

import numpy as np
import torch
from graphs import Made, kinds, named, rewritten, same

from bramcast.pack.graph.ops import Clip, Dense, Scale
from bramcast.pack.graph.window import Clamp, Window
from bramcast.pack.passes.fold_back import fold_back
from bramcast.pack.passes.make_depthwise import make_depthwise
from bramcast.pack.passes.split_bands import split_bands
from bramcast.pack.run import execute

X = np.random.default_rng(0).normal(size=(2, 3, 9, 4))


def whole(graph):
    """The output's real numbers, also where several operations make it."""
    graph = make_depthwise(fold_back(graph))  # which leave nothing that no nest computes
    found = {r.op.out.index: r.result for r in execute.run(
        graph, execute.input_tensor(graph, X), execute.real_compute)}  # fmt: skip
    flat = np.zeros((len(X), graph.tensors[-1].end))
    for index, value in found.items():
        tensor = graph.tensors[index]
        flat[:, tensor.first : tensor.end] = torch.as_tensor(value).numpy().reshape(len(X), -1)
    return flat[:, graph.output]


def banded(values, heights):
    """[bands] x [channels] as constants [C, H, 1]."""
    return np.repeat(np.array(values, np.float64), heights, axis=0).T[:, :, None]


def begun(stride=1, **fields):
    made = Made(3, 9, 4)
    weight = np.random.default_rng(1).normal(size=(2, 3, 3, 1))
    rows = (9 + 2 - 3) // stride + 1
    window = Window((3, 1), (stride, 1), padding=(1, 0, 1, 0))
    y = made.add(
        Dense, "conv", made.x, out=(2, rows, 4), weight=weight, bias=np.array([0.5, -0.25]),
        window=window, macs=900, **fields,
    )  # fmt: skip
    return made, y


def test_each_band_is_a_layer_that_takes_its_scale():
    made, y = begun()
    z = made.scale("norm", y, banded([[1, 2], [3, 4]], [4, 5]), banded([[0, 1], [1, 0]], [4, 5]))
    clip = made.add(Clip, "relu", z, clamp=Clamp(0.0, inf))
    before = made.graph(clip)
    graph = rewritten(split_bands, before)
    assert [k for k in kinds(graph) if "conv" in k] == ["conv.band1 Dense", "conv.band2 Dense"]
    np.testing.assert_allclose(whole(graph), whole(before))
    folded = rewritten(fold_back, graph)
    assert kinds(folded) == ["conv.band1 Dense", "conv.band2 Dense"]
    first, second = folded.ops
    assert (first.macs, second.macs) == (400, 500) and first.clamp.lo == second.clamp.lo == 0
    assert first.window.padding == (1, 0, 0, 0) and second.window.padding == (0, 0, 1, 0)
    same(first.view, made.x[:, :5])
    same(second.view, made.x[:, 3:])
    same(second.weight, before.ops[0].weight * np.array([3.0, 4.0])[:, None, None, None])
    np.testing.assert_allclose(whole(folded), whole(before))


def test_rows_of_a_strided_layer_read_theirs():
    made, y = begun(stride=2)
    z = made.scale("norm", y, banded([[1, 2], [3, 4]], [2, 3]))
    before = made.graph(z)
    graph = rewritten(split_bands, before)
    same(named(graph, "conv.band2").view, made.x[:, 3:])
    np.testing.assert_allclose(whole(graph), whole(before))


def test_what_clips_before_stays_and_the_scale_is_split():
    made, y = begun(clamp=Clamp(0.0, inf))
    before = made.graph(made.scale("norm", y, banded([[1, 2], [3, 4]], [4, 5])))
    graph = rewritten(split_bands, before)
    assert kinds(graph) == ["conv Dense", "norm.band1 Scale", "norm.band2 Scale"]
    same(named(graph, "norm.band2").view, y[:, 4:])
    np.testing.assert_allclose(whole(graph), whole(before))


def test_one_constant_for_each_channel_stays():
    made, y = begun()
    graph = made.graph(made.scale("norm", y, np.array([1.0, 2.0])[:, None, None]))
    assert split_bands(graph) is graph


def test_constants_for_each_pixel_stay():
    made, y = begun()
    z = made.scale("norm", y, np.arange(72.0).reshape(2, 9, 4))
    graph = made.graph(
        made.add(Scale, "next", z, weight=np.ones(z.shape), bias=np.arange(72.0).reshape(2, 9, 4))
    )
    assert split_bands(graph) is graph
