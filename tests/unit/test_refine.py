"""Equalization leaves the real network alone; refinement leaves less error at the output."""

from pathlib import Path

import networks
import numpy as np
import pytest
import torch
from torch import nn

from bramcast.pack import execute
from bramcast.pack.by_hand import Rules
from bramcast.pack.calibrate import channel_maxima, frame_values
from bramcast.pack.capture import capture
from bramcast.pack.equalize import equalize
from bramcast.pack.fold import fold
from bramcast.pack.inputs import Inputs
from bramcast.pack.layout import make_layout
from bramcast.pack.refine import refine


def silent(what: str, done: int, of: int) -> None:
    pass


def graph_of(module, shape):
    return fold(capture(module, shape, "net", "model.py"))


def inputs_of(shape, samples=96, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, *shape)).astype(np.float32)
    return Inputs(Path("inputs.npz"), x, None, x)


def output(graph, samples):
    with torch.no_grad():
        frame = frame_values(graph, samples, None)
        *_, last = execute.run(graph, frame, execute.real_compute)
    return last.result.numpy()


class Uneven(nn.Module):
    """Depthwise layers whose channels differ by factors up to 64, made up for behind."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 3, padding=1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.pointwise = nn.Conv2d(12, 8, 1)
        self.fc = nn.Linear(8 * 9, 5)
        factor = 2.0 ** (torch.arange(12) % 7).float()
        with torch.no_grad():
            self.stem.weight *= factor[:, None, None, None]
            self.stem.bias *= factor
            self.depthwise.weight /= factor.flip(0)[:, None, None, None]
            self.depthwise.bias /= factor.flip(0)
            self.pointwise.weight *= (factor.flip(0) / factor)[None, :, None, None]

    def forward(self, x):
        x = self.depthwise(self.stem(x).relu()).relu()
        return self.fc(nn.functional.max_pool2d(self.pointwise(x).relu(), 2).flatten(1))


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("name", networks.SHAPES)
def test_equalization_keeps_the_real_results(name, power):
    shape = networks.SHAPES[name]
    graph = graph_of(networks.build(name), shape)
    x = inputs_of(shape, 5).x
    maxima = channel_maxima(graph, x, None)
    before, after = output(graph, x), output(equalize(graph, maxima, power), x)
    assert np.abs(after - before).max() <= 1e-9 * max(1.0, np.abs(before).max())


def test_every_channel_reaches_the_top_of_the_grid():
    torch.manual_seed(1)
    graph, x = graph_of(Uneven(), (1, 6, 6)), inputs_of((1, 6, 6)).x
    maxima = channel_maxima(graph, x, None)
    same = channel_maxima(equalize(graph, maxima, 1.0), x, None)
    for op in graph.ops[:3]:
        old, new = maxima[op.out.index], same[op.out.index]
        expected = np.minimum(old * 16, 2.0 ** np.ceil(np.log2(old.max())) * 255 / 256)
        assert np.allclose(new, np.maximum(expected, old), rtol=1e-9), op.name
    last = graph.ops[-1].out.index
    assert np.allclose(same[last], maxima[last], rtol=1e-9)


def test_uneven_channels_are_won_back():
    torch.manual_seed(1)
    graph = graph_of(Uneven(), (1, 6, 6))
    make_layout(graph, 16)
    inputs = inputs_of((1, 6, 6))
    refined = refine(graph, inputs, None, 8, None, Rules(), silent)
    assert refined.after_db > refined.before_db + 6
    held_out = inputs_of((1, 6, 6), 20, seed=7).x
    assert np.allclose(output(refined.graph, held_out), output(graph, held_out), atol=0.05)


@pytest.mark.parametrize("name", ["VggCeil", "SignedUnsignedAdd", "Averages", "UnalignedConcat"])
def test_refinement_is_never_worse(name):
    shape = networks.SHAPES[name]
    graph = graph_of(networks.build(name), shape)
    make_layout(graph, 8)
    refined = refine(graph, inputs_of(shape, 24), None, 8, None, Rules(), silent)
    assert refined.after_db >= refined.before_db
    assert [op.name for op in refined.graph.ops] == [op.name for op in graph.ops]
