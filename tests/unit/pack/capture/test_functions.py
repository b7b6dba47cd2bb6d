# SPDX-License-Identifier: Apache-2.0
"""Whatever stands between one tensor and the next is one table, run on its codes."""

import networks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.capture.capture import capture
from bramcast.pack.graph.activations import Activation
from bramcast.pack.graph.ops import Add, Dense, Depthwise
from bramcast.pack.passes.fold import fold
from bramcast.pack.quantize.formats import activation_table
from bramcast.pack.run.execute import input_tensor, output_array, real_compute, run


def assigned(x):
    y = x.clone()
    y[y < 0] = 0.25
    return y


FUNCTIONS = {
    "abs": torch.abs,
    "sign": torch.sign,
    "root": lambda x: torch.sqrt(x.abs()),
    "exp": torch.exp,
    "log": lambda x: torch.log(x * x + 1),
    "sin": torch.sin,
    "power": lambda x: x**3,
    "power of a constant": lambda x: 2**x,
    "threshold": lambda x: F.threshold(x, 0.1, 0.2),
    "softsign": F.softsign,
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "tanhshrink": F.tanhshrink,
    "rrelu behind eval": F.rrelu,
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "where of where": lambda x: torch.where(x.le(0.2).logical_or(x > 0.8), torch.zeros(()), x),
    "times its sign": lambda x: x * (x > 0),
    "written-out sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "leaky by hand": lambda x: F.relu(x) - 0.2 * F.relu(-x),
    "two branches": lambda x: torch.sin(x) * torch.cos(x) + torch.tanh(x),
    "quotient of branches": lambda x: torch.sigmoid(x) / (1 + torch.exp(x)),
    "larger branch": lambda x: torch.maximum(x, torch.sin(3 * x)),
    "lerp": lambda x: torch.lerp(x, torch.tanh(x), 0.3),
    "addcmul": lambda x: torch.addcmul(x, x, torch.tanh(x), value=0.5),
    "addcdiv": lambda x: torch.addcdiv(x, x, 1 + x * x),
    "masked": lambda x: x.masked_fill(x < 0, 0.5),
    "assigned": assigned,
    "in place": lambda x: (x + 0).abs_(),
    "integers": lambda x: (x * 4).int().float() / 4,
    "booleans": lambda x: (~(x > 0) & (x > -1)).float() + x.relu().bool().float(),
    "either": lambda x: ((x > 0) ^ (x > 1)).float(),
    "fake-quantize": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127),
    "buckets": lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.0, 0.5])).float(),
    "round": lambda x: torch.round(x * 3) / 3,
    "trunc": torch.trunc,
    "remainder": lambda x: x % 0.7,
    "truncated quotient": lambda x: torch.div(x, 0.3, rounding_mode="trunc"),
}


def graph_of(function, shape=(5,)):
    torch.manual_seed(1)
    module = networks.Between(function).eval()
    return module, fold(capture(module, shape, "net"))


def error_of(module, graph, x):
    """The largest difference between a graph's real results and PyTorch's."""
    with torch.no_grad():
        want = module(torch.from_numpy(x).float()).numpy()
    *_, last = run(graph, input_tensor(graph, x), real_compute)
    return np.abs(output_array(graph, [last.result]) - want).max()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_chain_is_one_table_of_the_layer_before_it(name):
    module, graph = graph_of(FUNCTIONS[name])
    assert [type(op) for op in graph.ops] == [Dense, Dense]
    assert graph.ops[0].activation is not None
    assert error_of(module, graph, 2 * np.random.default_rng(0).normal(size=(50, 5))) < 1e-4


def test_a_tables_entries_are_what_pytorch_gives_for_the_codes():
    def function(x):
        return torch.where(x > 0.5, torch.log(x), x * torch.sin(x))

    seen, out = QFormat(8, 5), QFormat(8, 6)
    activation = graph_of(function)[1].ops[0].activation
    table = activation_table(activation, seen, out)
    for code in range(-128, 128):
        real = float(function(torch.tensor(code / 32, dtype=torch.float64)))
        assert table[code & 255] == min(max(int(np.floor(real * 64 + 0.5)), -128), 127)


def test_codes_without_a_finite_result_have_the_end_or_what_the_nearest_has():
    seen, out = QFormat(8, 4), QFormat(8, 4)
    log, root, inverse = (
        activation_table(graph_of(f)[1].ops[0].activation, seen, out)
        for f in (torch.log, torch.sqrt, lambda x: 1 / x)
    )
    assert (log[128:] == -128).all() and log[0] == -128  # -inf at zero, none below
    assert (root[128:] == 0).all() and root[64] == 32
    assert inverse[0] == 127 and inverse[255] == -128  # +inf at zero, -16 at the code below


def test_two_equal_calls_are_equal_functions_and_others_are_not():
    one, same, other = (
        Activation(graph_of(f)[1].ops[0].activation.functions)
        for f in (lambda x: x**3, lambda x: x**3, lambda x: x**2)
    )
    assert one == same and hash(one) == hash(same) and one != other


def test_ceil_is_an_exact_rounding_and_no_table():
    module, graph = graph_of(torch.ceil)
    assert [op.activation for op in graph.ops] == [None, None]
    assert graph.ops[0].rounds == 0
    assert error_of(module, graph, 2 * np.random.default_rng(0).normal(size=(50, 5))) < 1e-5


class Bent(nn.Module):
    """A function with constants for each of 6 channels behind a convolution."""

    def __init__(self, function, constants):
        super().__init__()
        self.a, self.b = nn.Conv1d(3, 6, 3, padding=1), nn.Conv1d(6, 4, 1)
        self.c, self.function = nn.Parameter(torch.tensor(constants)), function

    def forward(self, x):
        return self.b(self.function(self.a(x), self.c))


BELOW, ABOVE = [0.25, 0.5, -0.5, 1.0, 0.0, 0.75], [1.5, 1.0, 2.0, 1.25, 3.0, 1.75]
BY_CHANNEL = {
    "prelu": (F.prelu, BELOW, [Dense, Depthwise, Add, Dense]),
    "prelu above one": (F.prelu, ABOVE, [Dense, Depthwise, Add, Dense]),
    "maximum": (lambda x, c: torch.maximum(x, c[:, None]), BELOW, [Dense, Dense]),
    "comparison": (lambda x, c: (x > c[:, None]).float(), BELOW, [Dense, Dense]),
    "limits": (lambda x, c: torch.clamp(x, -c[:, None], c[:, None]), ABOVE,
               [Dense, Depthwise, Dense]),
    "factor in front": (lambda x, c: torch.sin(x * c[:, None]), ABOVE, [Dense, Dense]),
    "masks": (lambda x, c: torch.where(c[:, None] > 0.3, x, torch.tensor(2.0)), BELOW,
              [Dense, Dense]),
}  # fmt: skip


def bent(function, constants):
    torch.manual_seed(1)
    module = Bent(function, constants).eval()
    return module, fold(capture(module, (3, 8), "net"))


@pytest.mark.parametrize("name", BY_CHANNEL)
def test_constants_for_each_channel_cost_no_tables(name):
    function, constants, kinds = BY_CHANNEL[name]
    module, graph = bent(function, constants)
    assert [type(op) for op in graph.ops] == kinds
    assert error_of(module, graph, 2 * np.random.default_rng(0).normal(size=(20, 3, 8))) < 1e-4


def test_slopes_on_both_sides_of_one():
    module, graph = bent(F.prelu, [0.25, 1.5, 1.0, -1.0, 2.0, 0.0])
    assert sum(isinstance(op, Add) for op in graph.ops) == 1
    assert error_of(module, graph, 2 * np.random.default_rng(0).normal(size=(20, 3, 8))) < 1e-4


def test_other_constants_have_a_table_each_and_there_are_not_too_many(monkeypatch):
    module, graph = bent(lambda x, c: x.abs() ** c[:, None], [1.5, 1.5, 2.0, 2.0, 2.0, 2.0])
    assert len({op.activation for op in graph.ops if op.activation is not None}) == 2
    assert error_of(module, graph, 2 * np.random.default_rng(0).normal(size=(20, 3, 8))) < 1e-4
    monkeypatch.setattr("bramcast.pack.capture.functions.MOST_TABLES", 11)
    with pytest.raises(UnsupportedLayer, match="pow with 12 constants.*at most 11"):
        capture(networks.Between(lambda x: x.abs() ** torch.linspace(1, 2, 12)), (5,), "net")


REFUSED = {
    "bernoulli is random": lambda x: torch.bernoulli(torch.sigmoid(x)),
    "rand_like is random": lambda x: x + torch.rand_like(x),
    "rand is random": lambda x: x + torch.rand(12),
    r"cumsum has no lowering: write x @ torch.triu": lambda x: x.cumsum(1),
    r"sort has no lowering: sorting depends on data": lambda x: x.sort(1)[0],
    "layer_norm has no lowering: it divides by": lambda x: F.layer_norm(x, x.shape[1:]),
    "prod has no lowering: write the product of its slices": lambda x: x * x.prod(1, True),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_random_or_mixes_elements_is_refused_by_name_with_the_nearest(message):
    with pytest.raises(UnsupportedLayer, match=message):
        capture(networks.Between(REFUSED[message]).eval(), (5,), "net")
