# SPDX-License-Identifier: Apache-2.0
"""Tables, products of two tensors and recurrent cells: what they cost and what is refused."""

import networks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import DIGITS, text_recipe, write_recipe
from torch import nn

from bramcast.golden.frames import arrays_from_beats, frames_from_arrays
from bramcast.golden.load import load
from bramcast.pack.bundle.errors import RecipeError, UnsupportedLayer
from bramcast.pack.bundle.program import Loop, Nest
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.capture.capture import capture
from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.ops import Add, Dense, Product
from bramcast.pack.passes.fold import fold
from bramcast.pack.pipeline import pack
from bramcast.pack.quantize.formats import activation_table
from bramcast.pack.quantize.integers import parts_of
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.run.execute import input_tensor, output_array, real_compute, run
from bramcast.sim.regress.agree import compare_with_graph

ACTIVATIONS = {
    "sigmoid": torch.sigmoid,
    "tanh": nn.Tanh(),
    "silu": nn.SiLU(inplace=True),
    "gelu": F.gelu,
    "gelu_tanh": nn.GELU(approximate="tanh"),
    "leaky_relu": nn.LeakyReLU(0.3),
    "hardswish": nn.Hardswish(),
    "hardsigmoid": F.hardsigmoid,
    "elu": nn.ELU(0.7),
    "selu": F.selu,
    "celu": nn.CELU(2.0),
    "softplus": nn.Softplus(2.0, 5.0),
    "mish": nn.Mish(),
    "logsigmoid": F.logsigmoid,
    "prelu": nn.PReLU(),
    "method": lambda x: x.sigmoid().tanh(),
    "written-out silu": lambda x: x * torch.sigmoid(x),
    "written-out swish": lambda x: torch.sigmoid(1.7 * x) * x,
    "written-out hardswish": lambda x: x * F.relu6(x + 3) / 6,
    "written-out mish": lambda x: x * torch.tanh(F.softplus(x)),
    "square": lambda x: x * x,
    "clamp first": lambda x: torch.tanh(F.relu6(x)),
    "clamp last": lambda x: torch.clamp(F.gelu(x), 0.0, 0.4),
    "scale between": lambda x: torch.tanh(2 * torch.sigmoid(x) - 1),
}


def graph_of(module, shape):
    torch.manual_seed(0)
    return fold(capture(module.eval(), shape, "net"))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_part_of_the_layer_before_it_and_computes_what_pytorch_does(name):
    torch.manual_seed(1)
    module = networks.Between(ACTIVATIONS[name])
    graph = graph_of(module, (5,))
    assert [type(op) for op in graph.ops] == [Dense, Dense]
    x = 4 * np.random.default_rng(0).normal(size=(50, 5))
    with torch.no_grad():
        want = module(torch.from_numpy(x).float()).numpy()
    *_, last = run(graph, input_tensor(graph, x), real_compute)
    assert np.abs(output_array(graph, [last.result]) - want).max() < 1e-5
    # The table's numpy and the network's torch agree.
    values = np.linspace(-9, 9, 501)
    activation = graph.ops[0].activation
    assert np.allclose(activation.apply(values), activation.apply(torch.from_numpy(values), torch))


def test_a_tables_entry_is_the_function_of_the_number_with_these_bits():
    seen, out = QFormat(8, 5), QFormat(8, 8, False)
    table = activation_table(Activation((Function("sigmoid"),)), seen, out)
    for number in (-128, -37, -1, 0, 1, 64, 127):
        want = np.floor(256 / (1 + np.exp(-number / 32)) + 0.5)
        assert table[number & 255] == min(want, 255)
    assert QFormat(8, 8, False) == out and table.min() >= 0


def test_bounds_of_an_activation_say_whether_it_is_unsigned():
    sigmoid, silu = Function("sigmoid"), Function("silu")
    assert Activation((sigmoid, Function("scale", (-1.0, 1.0)))).bounds == (0.0, 1.0)
    assert -0.28 < Activation((silu,)).bounds[0] < -0.27
    assert Activation((silu, Function("clamp", (0.0, 6.0)))).bounds == (0.0, 6.0)


def test_equal_tables_are_stored_once(tmp_path):
    packed = pack(read_recipe(write_recipe(tmp_path, "HandGru")), tmp_path / "b")
    with_table = [n.nest.table_base for n in packed.program.nests if n.nest.table]
    assert len(with_table) == 3 * 7 - 1 and set(with_table) == set(range(max(with_table) + 1))
    assert packed.manifest.image("table").used == 256 * (max(with_table) + 1)


def test_a_last_table_leaves_unsigned_bytes(tmp_path):
    packed = pack(read_recipe(write_recipe(tmp_path, "SigmoidLast")), tmp_path / "b")
    last = packed.descriptors[-1]
    assert last.stream and last.table and last.y_unsigned
    assert packed.manifest.output.format.q == QFormat(8, 8, False)
    machine = load(tmp_path / "b")
    beats = machine.run(frames_from_arrays(packed.inputs.x, machine.manifest.input)).beats
    assert beats.min() >= 0 and beats.max() > 127


def test_products_need_gates(tmp_path):
    recipe = write_recipe(tmp_path, "GatedLast", "[core]\ngates = false\n")
    with pytest.raises(RecipeError, match="core.gates = false"):
        pack(read_recipe(recipe), tmp_path / "b")
    recipe = write_recipe(tmp_path, "Mlp96", "[core]\ngates = true\n")
    assert pack(read_recipe(recipe), tmp_path / "b").manifest.core.gates
    recipe = write_recipe(tmp_path, "Mlp96")
    assert not pack(read_recipe(recipe), tmp_path / "b").manifest.core.gates


def test_a_written_out_swish_needs_no_gates(tmp_path):
    packed = pack(read_recipe(write_recipe(tmp_path, "SiluBlock")), tmp_path / "b")
    assert not packed.manifest.core.gates and packed.manifest.image("table").used > 0


def test_squeeze_and_excite_stores_its_vector_for_one_row(tmp_path):
    packed = pack(read_recipe(write_recipe(tmp_path, "SqueezeExcite")), tmp_path / "b")
    nests = [n for n in packed.program.nests if n.op.name == "mul"]
    assert len(nests) == 9 and all(n.nest.counts == (2, 1, 7, 1, 2, 1) for n in nests)
    assert [n.walk.origin for n in nests] == [(y, 0) for y in range(9)]
    row = next(op for op in packed.graph.ops if op.name == "mul.row")
    assert (row.out.channels, row.out.height, row.out.width) == (20, 1, 7)


def test_a_gated_sum_is_one_nest_with_two_pairs(tmp_path):
    packed = pack(read_recipe(write_recipe(tmp_path, "HandGru")), tmp_path / "b")
    gates = [n.nest for n in packed.program.nests if n.nest.product and n.nest.taps == 4]
    assert len(gates) == 6  # the first of seven steps has no state
    assert all(g.factor_unsigned and not g.x_unsigned for g in gates)
    assert not any(isinstance(op, Add) for op in packed.graph.ops)


@pytest.mark.parametrize("lanes, taps", [(16, 1), (4, 2)])
def test_time_steps_share_weights_and_roll_up(lanes, taps, tmp_path):
    extra = f"[core]\nlanes = {lanes}\ntaps = {taps}\n"
    packed = pack(read_recipe(write_recipe(tmp_path, "HandGru", extra)), tmp_path / "b")
    bases: dict[str, set[int]] = {}
    for nest in packed.program.nests:
        op = nest.op
        if isinstance(op, Dense) and op.out.channels == 21 and len(op.weight[0]) > 25:
            part = nest.op.name.rpartition(".")[2] if "." in nest.op.name else ""
            bases.setdefault(nest.op.layer + part, set()).add(nest.nest.weight_base)
    assert len(bases) == 3 and all(len(found) == 1 for found in bases.values())
    loops = [d for d in packed.descriptors if isinstance(d, Loop)]
    assert [(d.count, d.length) for d in loops] == [(5, 8)]


def test_twins_share_their_formats(tmp_path):
    packed = pack(read_recipe(write_recipe(tmp_path, "GruNet")), tmp_path / "b")
    found: dict[str, set[QFormat]] = {}
    for op in packed.graph.ops:
        for twin in op.twins[op.passed :]:
            found.setdefault(twin, set()).add(packed.formats.of(op.out))
    assert len(found) > 10 and all(len(formats) == 1 for formats in found.values())


class Recurrent(nn.Module):
    def __init__(self, layer, forward):
        super().__init__()
        self.layer, self.code = layer, forward

    def forward(self, x):
        return self.code(self.layer, x)


def from_state(layer, x):
    first = torch.linspace(0, 1, 4 * len(x)).reshape(1, -1, 4)
    return layer(x, first)[0][:, -1]


REFUSED = {
    "differs between samples": (nn.GRU(3, 4, batch_first=True), from_state),
    "axis 0 must stay the batch": (nn.GRU(3, 4), lambda m, x: m(x)[0][:, -1]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_lowering_is_refused_by_name(what):
    layer, forward = REFUSED[what]
    with pytest.raises(UnsupportedLayer, match=what):
        capture(Recurrent(layer, forward).eval(), (5, 3), "net")


LAYERS = {
    "GRU": nn.GRU(3, 5, 2, batch_first=True, bidirectional=True),
    "LSTM": nn.LSTM(3, 5, 2, batch_first=True, bias=False),
    "projected LSTM": nn.LSTM(3, 5, 2, batch_first=True, bidirectional=True, proj_size=2),
    "RNN": nn.RNN(3, 5, nonlinearity="relu", batch_first=True),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("what", ["sequence", "state"])
def test_recurrent_layers_compute_what_pytorch_does(name, what):
    def forward(layer, x):
        y, state = layer(x)
        return y if what == "sequence" else (state[0] if "LSTM" in name else state)[-1]

    module = Recurrent(LAYERS[name], forward)
    graph = graph_of(module, (4, 3))
    x = np.random.default_rng(0).normal(size=(6, 4, 3))
    with torch.no_grad():
        want = module(torch.from_numpy(x).float()).numpy()
    *_, last = run(graph, input_tensor(graph, x), real_compute)
    assert np.abs(output_array(graph, [last.result]) - want).max() < 1e-6


def test_the_example_gru_keeps_its_accuracy(tmp_path):
    packed = pack(read_recipe(DIGITS / "gru.toml"), tmp_path / "b")
    assert compare_with_graph(packed, tmp_path / "b", lambda *_: None, 40).mismatches == 0
    machine = load(tmp_path / "b")
    beats = machine.run(frames_from_arrays(packed.inputs.x, machine.manifest.input)).beats
    right = (arrays_from_beats(beats, machine)[0].argmax(1) == packed.inputs.y).mean()
    assert packed.manifest.float_accuracy > 0.94 and right > packed.manifest.float_accuracy - 0.005
    (loop,) = (d for d in packed.descriptors if isinstance(d, Loop))  # time is not unrolled
    assert loop.count >= 5 and len(packed.descriptors) < len(machine.program) / 2


def test_an_input_beside_a_state_is_spread_over_copies(tmp_path):
    """A feature that is 100 times as large as the others must not cost the state its weights."""
    torch.manual_seed(0)
    recipe = write_recipe(tmp_path, "HandGru", samples=60)
    data = np.load(tmp_path / "inputs.npz")["x"]
    state = networks.build("HandGru").state_dict()
    for name in ("gates.weight", "candidate.weight"):
        state[name][:, 2] *= 0.1
    data[..., 2] *= 100.0
    torch.save(state, tmp_path / "weights.pth")
    np.savez(tmp_path / "inputs.npz", x=data)
    packed = pack(read_recipe(recipe), tmp_path / "b")
    spread = next(op for op in packed.graph.ops if op.name.endswith(".input"))
    copies = np.bincount(
        np.array(next(op.copies for op in packed.graph.ops if isinstance(op, Dense) and op.copies))
        + 1
    )[1:]
    assert spread.label == "scale" and copies[2] > 1 and copies.max() == copies[2]
    assert compare_with_graph(packed, tmp_path / "b", lambda *_: None).mismatches == 0
    machine = load(tmp_path / "b")
    _, real = arrays_from_beats(
        machine.run(frames_from_arrays(data, machine.manifest.input)).beats, machine
    )
    module = networks.build("HandGru")
    module.load_state_dict(state)
    with torch.no_grad():
        want = module(torch.from_numpy(data)).numpy()
    assert 10 * np.log10(((real - want) ** 2).sum() / (want**2).sum()) < -25


def test_glu_is_a_product_with_a_sigmoid():
    module = nn.Sequential(nn.Conv1d(3, 10, 3), nn.GLU(1), nn.Conv1d(5, 2, 1))
    graph = graph_of(module, (3, 9))
    assert [type(op) for op in graph.ops] == [Dense, Dense, Product, Dense]
    x = np.random.default_rng(0).normal(size=(4, 3, 9))
    with torch.no_grad():
        want = module(torch.from_numpy(x).float()).numpy()
    *_, last = run(graph, input_tensor(graph, x), real_compute)
    assert np.abs(output_array(graph, [last.result]) - want).max() < 1e-6


def test_every_product_nest_has_pairs(tmp_path):
    packed = pack(read_recipe(write_recipe(tmp_path, "TensorProducts")), tmp_path / "b")
    nests = [d for d in packed.descriptors if isinstance(d, Nest) and d.product]
    assert len(nests) >= 4 and {n.taps for n in nests} == {2, 4}


class ConvLstm(nn.Module):
    """Convolutions for picture and state; the state is zero at first, as is its maximum."""

    def __init__(self):
        super().__init__()
        self.x, self.h = nn.Conv2d(2, 12, 3, padding=1), nn.Conv2d(3, 12, 3, padding=1)
        self.out = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        h = c = x.new_zeros(x.shape[0], 3, 4, 5)
        for t in range(x.shape[1]):
            h = F.relu(F.max_pool2d(F.relu6(h), 3, 1, 1) + F.avg_pool2d(h, 3, 1, 1))
            i, f, o, g = (self.x(x[:, t]) + self.h(h)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.out(h)


def test_convolutions_and_pools_of_a_state_that_is_zero_at_first():
    torch.manual_seed(0)
    module, x = ConvLstm().eval(), torch.randn(3, 2, 2, 4, 5)
    graph = fold(capture(module, x.shape[1:], "net", "test"))
    with torch.no_grad():
        want = module(x).numpy()
    *_, last = run(graph, input_tensor(graph, x.numpy()), real_compute)
    assert np.abs(output_array(graph, [last.result]) - want).max() < 1e-5
    steps = [op.label for op in graph.ops if op.label in ("relu6", "max_pool2d", "avg_pool2d")]
    assert steps == ["relu6", "max_pool2d", "avg_pool2d"]  # of the second step only
    assert [op.name for op in graph.ops if op.views[0].shape[0] == 3 and op.macs] == ["h", "out"]


class Misshapen(nn.Module):
    """What a layer makes of zeros alone is taken apart with the batch's size."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv1d(2, 3, 1), nn.Linear(12, 4)

    def forward(self, x):
        zeros = F.pad(x[:, :, :0], (0, 4))
        return x.mean(2)[:, :1] + self.fc(self.conv(zeros).view(x.shape[0], -1))


def test_constants_that_do_not_fit_the_batch_are_refused():
    with pytest.raises(UnsupportedLayer, match="on constants fails"):
        capture(Misshapen().eval(), (2, 4), "net", "test")


class Returns(nn.Module):
    """Returns something that can't be packed."""

    def __init__(self, output):
        super().__init__()
        self.fc, self.output = nn.Linear(3, 4), output

    def forward(self, x):
        return self.output(self.fc(x), x)


@pytest.mark.parametrize(
    "output, message",
    [
        (lambda y, x: y.transpose(0, 1), "axis 0 must stay the batch"),
        (lambda y, x: F.pad(x[:, :0], (0, 4)) + 1, "does not depend on the input"),
    ],
)
def test_one_output_that_can_not_be_packed_is_not_counted(output, message):
    with pytest.raises(UnsupportedLayer, match=message):
        capture(Returns(output).eval(), (3,), "net", "test")


def test_padding_beyond_the_coordinates_is_refused_by_the_layers_name(tmp_path):
    (tmp_path / "model.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Conv1d(1, 1, 5, padding=4)\n"
    )
    torch.save({"weight": torch.ones(1, 1, 5), "bias": torch.ones(1)}, tmp_path / "w.pth")
    np.savez(tmp_path / "x.npz", x=np.ones((2, 1, 32767), np.float32))
    (tmp_path / "r.toml").write_text(
        '[model]\npython = "model.py:build"\ncheckpoint = "w.pth"\ninputs = "x.npz"\n'
    )
    with pytest.raises(UnsupportedLayer, match="'conv1d' reads pixels -4 to 32770 along x"):
        pack(read_recipe(tmp_path / "r.toml"), tmp_path / "b")


UNBIASED = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.{cell}(4, 12, bias=False, batch_first=True, bidirectional={both})
        self.head = nn.Linear({width}, 5)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])
"""


@pytest.mark.parametrize("cell, both", [("GRU", False), ("GRU", True), ("LSTM", True)])
def test_a_first_step_that_is_another_one_with_a_table_has_its_own_format(cell, both, tmp_path):
    # Without biases its candidate is a table behind what the others add up: -1..1, not -60..60.
    text = UNBIASED.format(cell=cell, both=both, width=24 if both else 12)
    torch.manual_seed(2)
    names: dict[str, object] = {}
    exec(text, names)
    net = names["Net"]()
    state = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    x = np.random.default_rng(2).normal(size=(64, 6, 4)) * 30
    recipe = text_recipe(tmp_path, text, x, state, "[quantize]\nrefine = false\n")
    packed = pack(read_recipe(recipe), tmp_path / "b")
    for op in packed.graph.ops:
        if op.activation is not None:  # sigmoid, 1 - sigmoid, tanh
            assert packed.formats.of(op.out).frac >= 6, op.name
    parts = parts_of(packed.graph)
    assert parts and packed.manifest.layers[-1].snr > 27
    for part in parts:  # and still shares the others' words
        mine, of = (packed.quantized[o.name].weight for o in (part.op, part.whole))
        assert np.array_equal(mine[:, part.used], of[:, part.columns])


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_a_first_state_may_be_a_constant(kind):
    first = torch.linspace(-1, 1, 10).reshape(2, 1, 5)  # the middle ones are near zero, one is 0
    first[0, 0, 2] = 0.0

    def forward(layer, x):
        h = first.expand(-1, len(x), -1).contiguous()
        return layer(x, h if kind is nn.GRU else (h, 2 * h))[0]

    module = Recurrent(kind(3, 5, 2, batch_first=True), forward)
    graph = graph_of(module, (4, 3))
    x = np.random.default_rng(0).normal(size=(6, 4, 3))
    with torch.no_grad():
        want = module(torch.from_numpy(x).float()).numpy()
    *_, last = run(graph, input_tensor(graph, x), real_compute)
    assert np.abs(output_array(graph, [last.result]) - want).max() < 1e-6
