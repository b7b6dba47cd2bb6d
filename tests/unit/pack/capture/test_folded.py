# SPDX-License-Identifier: Apache-2.0
"""Networks whose batch is not axis 0, or shares an axis with others, compute what PyTorch does."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.capture.capture import capture
from bramcast.pack.graph.ops import Dense
from bramcast.pack.passes.fold import fold
from bramcast.pack.run import execute

CASES = {
    "a convolution over each picture": (
        (3, 2, 5, 6),
        {"a": nn.Conv2d(2, 4, 3), "bn": nn.BatchNorm2d(4)},
        lambda m, x: F.relu(m.bn(m.a(x.flatten(0, 1)))).mean((2, 3)).view(-1, 12),
    ),
    "pools and a Linear over each": (
        (3, 2, 6, 6),
        {"fc": nn.Linear(18, 5)},
        lambda m, x: m.fc(F.max_pool2d(x.reshape(-1, 2, 6, 6), 2).flatten(1)).view(-1, 3, 5),
    ),
    "time first, both as one axis": (
        (3, 2, 5, 6),
        {"a": nn.Conv2d(2, 4, 3)},
        lambda m, x: m.a(x.transpose(0, 1).reshape(-1, 2, 5, 6)).unflatten(0, (3, -1))[2],
    ),
    "rows as samples": (
        (4, 3, 9),
        {"a": nn.Conv1d(1, 5, 3, stride=2), "bn": nn.BatchNorm1d(5), "p": nn.PReLU(5)},
        lambda m, x: F.max_pool1d(m.p(m.bn(m.a(x.reshape(-1, 1, 9)))), 2).view(-1, 12, 5, 2),
    ),
    "a recurrent layer with time first": (
        (5, 3),
        {"r": nn.LSTM(3, 4, bidirectional=True), "fc": nn.Linear(8, 2)},
        lambda m, x: m.fc(torch.tanh(m.r(x.transpose(0, 1))[0]) * 2 + 1).mean(0),
    ),
    "its largest, least and last": (
        (5, 3),
        {"r": nn.GRU(3, 4)},
        lambda m, x: last(*m.r(x.transpose(0, 1))),
    ),
    "two paths": (
        (3, 4, 5),
        {"a": nn.GRU(5, 6, batch_first=True), "b": nn.GRU(6, 2)},
        lambda m, x: m.b(
            m.a(x.reshape(-1, 4, 5))[0].reshape(-1, 3, 4, 6).permute(1, 2, 0, 3).reshape(3, -1, 6)
        )[0].reshape(3, 4, -1, 2).permute(2, 0, 1, 3),
    ),
    "cells over all places": (
        (3, 4),
        {"r": nn.GRUCell(4, 3)},
        lambda m, x: m.r(x.reshape(-1, 4), x.new_zeros(3 * len(x), 3)).view(-1, 9),
    ),
    "a shuffle over five axes": (
        (8, 2, 3),
        {},
        lambda m, x: halves(x.reshape(len(x) * 4, 2, 6).permute(1, 0, 2).reshape(2, -1, 4, 2, 3)),
    ),
    "a sum and a constant for each place": (
        (3, 4),
        {},
        lambda m, x: (x.t() + torch.arange(4.0)[:, None] if x.ndim == 2 else by_place(x)),
    ),
    "zeros beside it": (
        (3, 2, 4),
        {"a": nn.Conv1d(2, 3, 2)},
        lambda m, x: m.a(F.pad(x.flatten(0, 1), (1, 1))).unflatten(0, (-1, 3)).sum(1),
    ),
    "an integer and a boolean": (
        (3, 4),
        {},
        lambda m, x: ((x.reshape(-1, 2) > 0.2).float() * x.reshape(-1, 2).int()).view(-1, 12),
    ),
}  # fmt: skip


def last(states, end):
    return torch.cat([states.amax(0), states.amin(0), states.sum(0), end[0]], 1)


def halves(x):
    return torch.cat((x[1], -x[0]), 1)


def by_place(x):
    places = x.transpose(0, 1) * torch.arange(1.0, 4.0)[:, None, None]  # [3, N, 4]
    return torch.maximum(places, places.flip(2)).transpose(0, 1)


class Net(nn.Module):
    def __init__(self, parts, forward):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.code = forward

    def forward(self, x):
        return self.code(self, x)


def both(shape, parts, forward, samples=3):
    """The captured graph, its results and PyTorch's."""
    torch.manual_seed(0)
    module = Net(copy.deepcopy(parts), forward).eval()
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            layer.running_mean.uniform_(-0.5, 0.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    graph = fold(capture(module, shape, "net"))
    x = np.random.default_rng(0).normal(size=(samples, *shape))
    *_, end = execute.run(graph, execute.input_tensor(graph, x), execute.real_compute)
    with torch.no_grad():
        want = module.double()(torch.from_numpy(x)).numpy()
    return graph, execute.output_array(graph, [end.result]), want


@pytest.mark.parametrize("name", CASES)
def test_what_is_folded_computes_what_pytorch_does(name):
    _, got, want = both(*CASES[name])
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_places_of_a_picture_share_weights_and_formats():
    graph, _, _ = both(*CASES["a convolution over each picture"])
    layers = [op for op in graph.ops if isinstance(op, Dense)]
    assert [op.layer for op in layers] == ["a", "a", "a"] and len(graph.ops) == 4  # and a mean
    assert all(op.clamp.lo == 0 for op in layers)
    assert len({op.twins for op in layers}) == 1


def test_rows_are_one_convolution():
    graph, _, _ = both(*CASES["rows as samples"])
    assert sum(isinstance(op, Dense) for op in graph.ops) == 1


MIXED = {
    "a mean over samples": lambda m, x: x - x.reshape(-1, 4).mean(0),
    "samples of another size": lambda m, x: m.fc(x.reshape(-1, 6)),
    "a sample beside another": lambda m, x: x + x.flip(0),
    "the output itself": lambda m, x: x.reshape(-1, 4),
    "other constants for other samples": lambda m, x: x.t() * torch.tensor([1.0, 2.0]),
}


@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_samples_is_refused(name):
    module = Net({"fc": nn.Linear(6, 2)}, MIXED[name]).eval()
    with pytest.raises(UnsupportedLayer, match="between samples|over all axes"):
        capture(module, (3, 4) if name != "other constants for other samples" else (3,), "net")
