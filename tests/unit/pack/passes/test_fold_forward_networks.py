# SPDX-License-Identifier: Apache-2.0
"""Normalisations behind ReLU, adds and pools: folded into the layers that read them."""

from copy import deepcopy

import networks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import DIGITS, golden_arrays, text_recipe
from torch import nn

from bramcast.pack.bundle.manifest import read_manifest
from bramcast.pack.capture.capture import capture
from bramcast.pack.graph import ops
from bramcast.pack.passes.fold import fold
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.run import execute

HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n\n"
ONE = (
    HEAD
    + '''class Net(nn.Module):
    """One channel: 3x3 of ones behind x * 2 + 1 behind a ReLU."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 1, 1)
        self.norm = nn.BatchNorm2d(1, eps=0.0)
        self.second = nn.Conv2d(1, 1, 3, padding=1)
        self.last = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        x = self.norm(F.relu(self.first(x)))
        return self.last(F.relu(self.second(x)))
'''
)


def folded(module, shape):
    torch.manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(layer.running_mean, 0.2, 1.0)
            nn.init.uniform_(layer.running_var, 0.1, 2.0)
            nn.init.uniform_(layer.weight, 0.3, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    graph = fold(capture(module.eval(), shape, "net"))
    module = deepcopy(module)
    x = np.random.default_rng(0).normal(size=(3, *shape))
    *_, last = execute.run(graph, execute.input_tensor(graph, x), execute.real_compute)
    with torch.no_grad():
        expected = module.double()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(execute.output_array(graph, [last.result]), expected, atol=1e-12)
    return {op.name: op for op in graph.ops}


class Chain(nn.Module):
    """Conv-ReLU-BatchNorm-``middle``-Conv."""

    def __init__(self, reader, *middle, after=()):
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.middle, self.reader = nn.Sequential(*middle), reader
        self.after = nn.Sequential(*after)

    def forward(self, x):
        return self.after(self.reader(self.middle(self.norm(F.relu(self.first(x))))))


TAIL = (nn.ReLU(), nn.Conv2d(8, 3, 1))
AVERAGE = nn.AvgPool2d(3, 2, 1, count_include_pad=False)


@pytest.mark.parametrize(
    "reader, middle, kept, taps",
    [
        (nn.Conv2d(8, 8, 3, padding=1), (), False, True),
        (nn.Conv2d(8, 8, 3, padding="same", dilation=2), (), False, True),
        (nn.Conv2d(8, 8, (1, 4), stride=(2, 3), padding=(0, 2)), (), False, True),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), (), False, True),
        (nn.Conv2d(8, 8, 3, padding=1, groups=2), (), False, True),
        (nn.Conv2d(8, 8, 3), (nn.ZeroPad2d((2, 0, 1, 0)),), False, True),
        (nn.Conv2d(8, 8, 3), (), False, False),
        (nn.Conv2d(8, 8, 3, padding=1), (nn.MaxPool2d(2),), False, True),
        (nn.Conv2d(8, 8, 3, padding=1), (AVERAGE,), False, True),
        (nn.Conv2d(8, 8, 3, padding=1), (nn.AvgPool2d(3, 2, 1),), True, False),  # averages zeros
        (nn.Conv2d(8, 8, 7, padding=3), (), True, False),  # 49 nests would be too many
    ],
)
def test_what_reads_a_normalisation_takes_it(reader, middle, kept, taps):
    ops = folded(Chain(reader, *middle, after=TAIL), (2, 12, 13))
    assert ("norm" in ops) == kept
    assert bool(ops["reader"].tap_bias.size) == taps


def test_a_pool_of_the_largest_can_not_turn_signs():
    module = Chain(nn.Conv2d(8, 8, 3, padding=1), nn.MaxPool2d(2), after=TAIL)
    assert "norm" not in folded(module, (2, 8, 8))
    with torch.no_grad():
        module.norm.weight[3] = -1.0
    kinds = [type(op) for op in fold(capture(module, (2, 8, 8), "net")).ops]
    assert kinds == [ops.Dense, ops.Depthwise, ops.MaxPool, ops.Dense, ops.Dense]


def test_results_that_leave_on_the_stream_stay_one_nest():
    ops = folded(Chain(nn.Conv2d(8, 8, 3, padding=1)), (2, 6, 5))
    assert "norm" in ops and not ops["reader"].tap_bias.size


class Gained(nn.Module):
    """A gain behind a ReLU, in front of a concat."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(2, 3, 1)
        self.c = nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x):
        return self.c(torch.cat([F.relu(self.a(x)), 12 * F.relu(self.b(x))], 1))


def test_a_positive_gain_goes_back_through_a_relu_and_leaves_the_reader_alone():
    module = Gained()
    ops = folded(module, (2, 6, 5))
    assert [*ops] == ["a", "b", "c"]
    np.testing.assert_array_equal(ops["c"].weight, module.c.weight.detach().double().numpy())


class Stream(nn.Module):
    """A normalised stream that a convolution and an add read."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.branch, self.last = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 3, 1)

    def forward(self, x):
        x = self.norm(F.relu(self.first(x)))
        return self.last(F.relu(x + self.branch(x)))


def test_a_branch_takes_it_and_the_stream_keeps_it():
    ops = folded(Stream(), (2, 7, 6))
    assert "norm" in ops and ops["branch"].tap_bias.size


class Dense(nn.Module):
    """A concat of a tensor and a normalised one that is 1,000 times smaller before."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.last = nn.BatchNorm2d(8), nn.Conv2d(16, 3, 3, padding=1)
        self.end = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        x = F.relu(self.first(x))
        y = self.norm(F.relu(self.second(x)) * 1e-3)
        return self.end(F.relu(self.last(torch.cat([x, y], 1))))


def test_parts_of_a_concat_stay_of_their_size():
    module = Dense()
    ops = folded(module, (2, 7, 6))
    assert "norm" not in ops and ops["last"].tap_bias.size
    gains = module.norm.weight / (module.norm.running_var + 1e-5).sqrt()
    size = np.abs(ops["second"].weight).max() / float(module.second.weight.detach().abs().max())
    # The 1e-3 goes back through the ReLU, and a power of two so that the gains lie around 1.
    step = np.log2(size / 1e-3)
    assert abs(step - round(step)) < 1e-6
    assert 0.25 < float(gains.detach().median()) / 2**step < 4.0


def biases_by_hand(x):
    """ONE's result for a picture of integers, in integers."""
    seen = np.maximum(x, 0) * 2 + 1
    padded = np.pad(seen, 1)
    height, width = x.shape
    sums = [[int(padded[i : i + 3, j : j + 3].sum()) for j in range(width)] for i in range(height)]
    return np.maximum(np.array(sums) - 30, 0)


def test_along_the_border_the_offset_counts_for_what_is_there(tmp_path):
    one = np.ones((1, 1, 1, 1))
    state = {
        "first.weight": one, "first.bias": np.zeros(1),
        "norm.weight": np.full(1, 4.0), "norm.bias": np.full(1, 3.0),
        "norm.running_mean": np.ones(1), "norm.running_var": np.full(1, 4.0),
        "norm.num_batches_tracked": np.zeros(()),
        "second.weight": np.ones((1, 1, 3, 3)), "second.bias": np.full(1, -30.0),
        "last.weight": one, "last.bias": np.zeros(1),
    }  # fmt: skip
    x = np.random.default_rng(2).integers(-3, 8, size=(40, 1, 5, 4)).astype(np.float64)
    recipe = text_recipe(tmp_path, ONE, x, state, '[quantize]\ninput = "Q7.0"\n'
                         '[quantize.layers."first"]\noutput = "UQ8.0"\n'
                         '[quantize.layers."second"]\noutput = "UQ8.0"\n')  # fmt: skip
    pack(read_recipe(recipe), tmp_path / "b")
    _, real = golden_arrays(tmp_path / "b", x)
    expected = np.array([biases_by_hand(picture[0]) for picture in x])
    np.testing.assert_array_equal(real[:, 0], expected)
    assert expected.min() == 0 and expected.max() > 60
    # One nest, three by three, and one.
    assert [n.layer for n in read_manifest(tmp_path / "b").nests] == [0, *[1] * 9, 2]


DEAD = (
    HEAD
    + '''class Net(nn.Module):
    """Two blocks as of a keyword spotter: BatchNorm behind the residual add; a channel is dead."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(1 if i == 0 else 16, 16, 3, padding=1, bias=False) for i in range(5)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(16, affine=False) for _ in range(4))
        self.last = nn.Linear(16, 6)

    def forward(self, x):
        x = F.relu(self.convs[0](x))
        for i in range(1, 5, 2):
            y = self.norms[i - 1](F.relu(self.convs[i](x)))
            x = self.norms[i](F.relu(self.convs[i + 1](y)) + x)
        return self.last(x.mean((2, 3)))
'''
)


def test_a_dead_channel_behind_a_residual_add_costs_nothing(tmp_path):
    scope = {}
    exec(compile(DEAD, "model.py", "exec"), scope)  # as a user's file
    torch.manual_seed(4)
    module = scope["Net"]()
    x = np.random.default_rng(3).normal(size=(64, 1, 12, 10)).astype(np.float32)
    with torch.no_grad():
        module.convs[0].weight[5] = 0.0
        module.convs[2].weight[5] = 0.0
        module.convs[1].weight[7] = 0.0
        module.train()
        for norm in module.norms:
            norm.momentum = 1.0
        module(torch.from_numpy(x))
        module.eval()
        exact = module.double()(torch.from_numpy(x).double()).numpy()
    assert float(module.norms[1].running_var[5]) == 0.0  # a gain of 316
    state = {k: v.numpy() for k, v in module.state_dict().items()}
    packed = pack(read_recipe(text_recipe(tmp_path, DEAD, x, state)), tmp_path / "b")
    assert not [op.name for op in packed.graph.ops if op.label == "BatchNorm2d"][1:]
    _, real = golden_arrays(tmp_path / "b", x)
    moves = exact - exact.mean(axis=0)
    decibels = 10 * np.log10((moves**2).sum() / ((real - exact) ** 2).sum())
    assert decibels > 26  # 20.4 with a nest for each normalisation


def test_the_example_has_no_border(tmp_path):
    assert DIGITS.is_dir()
    packed = pack(read_recipe(DIGITS / "dscnn.toml"), tmp_path / "b")
    assert not any(q.border.size for q in packed.quantized.values())


def test_the_network_for_all_this_has_all_of_it():
    graph = fold(capture(networks.build("NormBehind"), networks.SHAPES["NormBehind"], "net"))
    padded = [op.name for op in graph.ops if isinstance(op, ops.Weighted) and op.tap_bias.size]
    assert padded == ["strided", "tall", "depthwise", "joined"]
