# SPDX-License-Identifier: Apache-2.0
"""Operators on two tensors, sums over axes and einsum compute what PyTorch computes."""

import numpy as np
import pytest
import torch
from torch import nn

from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.capture.capture import capture
from bramcast.pack.graph.bounds import known_bounds
from bramcast.pack.graph.ops import Add, AvgPool, Dense, Depthwise, MaxPool, Product
from bramcast.pack.passes.fold import fold
from bramcast.pack.run.execute import input_tensor, output_array, real_compute, run

C = torch.tensor([0.5, -0.25, 1.0, 2.0, -1.0, 0.75])[:, None]
W = torch.linspace(-1, 1, 24).reshape(6, 4)


class Two(nn.Module):
    """Two convolutions, what is made of their results, and a Linear."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b = nn.Conv1d(3, 6, 3, padding=1), nn.Conv1d(3, 6, 3, padding=1)
        self.function = function
        x = torch.zeros(2, 3, 8)
        self.last = nn.Linear(function(self.a(x), self.b(x))[0].numel(), 3)

    def forward(self, x):
        return self.last(self.function(self.a(x), self.b(x)).flatten(1))


def captured(function):
    module = Two(function).eval()
    return module, fold(capture(module, (3, 8), "net"))


def agrees(module, graph):
    x = 2 * np.random.default_rng(0).normal(size=(20, 3, 8))
    with torch.no_grad():
        want = module(torch.from_numpy(x).float()).numpy()
    *_, last = run(graph, input_tensor(graph, x), real_compute)
    return bool(np.abs(output_array(graph, [last.result]) - want).max() < 1e-4)


PAIRS = {
    "maximum": (torch.maximum, [Add, Add]),
    "minimum": (torch.min, [Add, Add]),
    "clamp": (lambda a, b: torch.clamp(a, max=b), [Add, Add]),
    "quotient": (lambda a, b: a / (1 + b * b), [Product]),
    "comparison": (lambda a, b: (a <= b).float(), [Add]),
    "both": (lambda a, b: ((a > 0) & (b > 0)).float(), [Product]),
    "either": (lambda a, b: ((a > 0) | (b > 0)).float(), [Add, Add]),
    "a mask of another": (lambda a, b: a.masked_fill(b < 0, 0.5), [Product]),
    "a constant mask": (lambda a, b: torch.where(C > 0, a, b), [Add]),
    "a choice": (lambda a, b: torch.where(a > 0, b, a), [Depthwise, Product, Depthwise, Add]),
    "lerp": (lambda a, b: torch.lerp(a, b, 0.3), [Add]),
    "lerp by channel": (lambda a, b: torch.lerp(a, b, C), [Add]),
    "lerp by data": (lambda a, b: torch.lerp(a, b, torch.sigmoid(a + b)), [Add, Add, Product, Add]),
    "addcmul": (lambda a, b: torch.addcmul(a, a, b), [Product, Add]),
    "addcdiv": (lambda a, b: torch.addcdiv(a, b, 1 + a * a), [Depthwise, Product, Add]),
}


@pytest.mark.parametrize("name", PAIRS)
def test_two_tensors_are_spelled_out_in_sums_products_and_tables(name):
    function, kinds = PAIRS[name]
    module, graph = captured(function)
    made = [type(op) for op in graph.ops if type(op) is not Dense]
    assert made == kinds and agrees(module, graph)


REDUCED = {
    "sum over channels": (lambda a, b: a.sum(1), Dense),
    "sum over time": (lambda a, b: a.sum(2), AvgPool),
    "sum over both": (lambda a, b: a.sum((1, 2))[:, None], Dense),
    "mean over both": (lambda a, b: a.mean((1, 2))[:, None], Dense),
    "sum of a comparison": (lambda a, b: (a > 0).sum(-1, keepdim=True).float(), AvgPool),
    "least of time": (lambda a, b: a.amin(2), MaxPool),
    "least of both": (lambda a, b: a.amin((1, 2))[:, None], MaxPool),
    "twice the largest": (lambda a, b: (a.amax((1, 2)) * 2)[:, None], MaxPool),
    "largest of both": (lambda a, b: a.amax((1, 2), keepdim=True), MaxPool),
    "least with its index": (lambda a, b: a.min(2)[0], MaxPool),
    "einsum: Linear": (lambda a, b: torch.einsum("bct,co->bot", a, W), Dense),
    "einsum: constant first": (lambda a, b: torch.einsum("oc,bct->bto", W.T, a), Dense),
    "einsum: no letter of its own": (lambda a, b: torch.einsum("bct,c->bt", a, C[:, 0]), Dense),
    "einsum: one operand": (lambda a, b: torch.einsum("bct->bc", a), Dense),
    "einsum: all is summed": (
        lambda a, b: torch.einsum("bct,cot->bo", a, W.reshape(6, 2, 2).repeat(1, 1, 4)), Dense,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCED)
def test_sums_over_axes_and_einsum_are_one_layer(name):
    function, kind = REDUCED[name]
    module, graph = captured(function)
    assert [type(op) for op in graph.ops] == [Dense, kind, Dense] and agrees(module, graph)


def test_an_einsum_of_shared_letters_alone_is_a_scale_of_the_layer_before():
    module, graph = captured(lambda a, b: torch.einsum("bct,c->btc", a, C[:, 0]))
    assert [type(op) for op in graph.ops] == [Dense, Dense] and agrees(module, graph)


def test_a_sum_of_numbers_between_0_and_1_is_as_large_as_they_are_many():
    graph = captured(lambda a, b: torch.sigmoid(a).sum(2))[1]
    pool = next(op for op in graph.ops if isinstance(op, AvgPool))
    assert known_bounds(graph)[pool.out.index] == (0.0, 8.0)


REFUSED = {
    "einsum.*of several tensors of data": lambda a, b: torch.einsum("bct,bdt->bcd", a, b),
    "write a Conv1d with groups": lambda a, b: torch.einsum("bct,cto->bco", a, torch.ones(6, 8, 2)),
    "moves elements between samples": lambda a, b: torch.einsum("bct->ct", a).expand(2, 6, 8),
    "pow has no lowering: write torch.exp": lambda a, b: a.abs() ** b,
    "rounded .'trunc'.": lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    "over all axes and the batch: give dim": lambda a, b: a - a.max(),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_two_tensors_can_not_be_is_refused_by_name(message):
    with pytest.raises(UnsupportedLayer, match=message):
        capture(Two(REFUSED[message]).eval(), (3, 8), "net")
