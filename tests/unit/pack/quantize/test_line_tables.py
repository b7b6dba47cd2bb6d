# SPDX-License-Identifier: Apache-2.0
"""Activations of 16-bit data: what their lines compute, how near to the function, and what fits."""

import math

import numpy as np
import pytest
import torch
from support import DIGITS, write_recipe
from torch import nn

from bramcast.golden.frames import arrays_from_beats, frames_from_arrays
from bramcast.golden.load import load
from bramcast.pack.activations.formulas import FORMULAS
from bramcast.pack.bundle.errors import RangeError
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.ops import Add, Product
from bramcast.pack.pipeline import pack
from bramcast.pack.quantize.line_tables import line_table, look_up
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.regress.agree import compare_with_graph

SIXTEEN = "[quantize]\nactivation_bits = 16\n"
EVERY = np.arange(-32768, 32768)


def one(name, *parameters):
    return Activation((Function(name, parameters),))


def test_lines_of_a_parabola_by_hand():
    """x * x seen in steps of 1/256, results in steps of 1/16: each line spans a distance of 1.

    The chord from i to i + 1 lies 1/4 above the middle, so the line lies 1/8 below the chord: it
    starts at i * i - 1/8. Line -1 ends, and line 0 starts, at 0: nothing below is a square.
    """
    square = Activation((Function("gate", inner=one("scale", 1.0, 0.0)),))
    table = line_table(square, QFormat(16, 8), QFormat(16, 4))
    for i in (1, 2, 3, 44, -2, -3, -45):
        assert table[i].tolist() == [16 * i * i - 2, 16 * (2 * i + 1)]
    assert table[0].tolist() == [0, 14] and table[-1].tolist() == [14, -14]
    # 3.5: 142 + (112 * 128 + 128) // 256 = 142 + 56, that is 12.375; -2.25: 62 - 48 * 192 / 256
    got = look_up(table, np.array([0, 1, 255, 3 * 256 + 128, -1, -256, -3 * 256 + 192]))
    assert got.tolist() == [0, 0, 14, 198, 0, 14, 142 - 60]


def test_ties_go_up_and_negative_slopes_too():
    table = np.zeros((256, 2), np.int64)
    table[1], table[2] = (10, 1), (10, -1)
    assert look_up(table, np.array([256 + 127, 256 + 128])).tolist() == [10, 11]
    assert look_up(table, np.array([512 + 128, 512 + 129])).tolist() == [10, 9]


def test_an_unsigned_upper_byte_of_128_is_not_negative():
    root = one("scale", 0.5, 0.0)
    signed = line_table(root, QFormat(16, 0), QFormat(16, 0))
    unsigned = line_table(root, QFormat(16, 0, False), QFormat(16, 0))
    assert (signed[128, 0], unsigned[128, 0]) == (-16384, 16384)


# Half of the chord's error is h * h * max|f''| / 16, h being 256 LSB of what is seen; one LSB more
# is lost by rounding the line's ends and the result.
ACCURACY = {
    # seen in steps of 2**-12 (-8..8): h = 1/16. max|f''| of tanh is 4 / (3 * sqrt(3)) = 0.770
    "tanh": (math.tanh, QFormat(16, 15), 0.770 * 8 + 1),
    "sigmoid": (lambda x: 1 / (1 + math.exp(-x)), QFormat(16, 16, False), 0.0963 * 16 + 1),
    "silu": (lambda x: x / (1 + math.exp(-x)), QFormat(16, 12), 0.5 + 1),
    "gelu": (lambda x: x * math.erfc(-x / math.sqrt(2)) / 2, QFormat(16, 12), 0.798 + 1),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCURACY)
def test_the_largest_error_is_that_of_lines(name):
    function, out, limit = ACCURACY[name]
    table = line_table(one(name), QFormat(16, 12), out)
    got = look_up(table, EVERY)
    want = np.array([function(v / 4096) * 2.0**out.frac for v in EVERY])
    inside = (out.min <= want) & (want <= out.max)
    error = float(np.abs(got - want)[inside].max())
    assert 0.5 < error < limit


# All that have parameters by themselves.
FUNCTIONS = [n for n in FORMULAS if n not in ("leaky_relu", "clamp", "scale", "round")]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_result_leaves_the_format_whatever_is_seen(name, signed):
    """The core has no clamp behind the table."""
    out = QFormat(16, 16, False) if one(name).bounds[0] >= 0 else QFormat(16, 15)
    for frac in (16, 12, 8, 0, -4):
        values = EVERY if signed else EVERY + 32768
        table = line_table(one(name), QFormat(16, frac, signed), out)
        got = look_up(table, values)
        assert out.min <= got.min() and got.max() <= out.max
        assert np.abs(table[:, 1]).max() <= 32768 and table[:, 1].max() <= 32767


def test_no_line_leaves_the_range_between_its_ends():
    rng = np.random.default_rng(0)
    ends = rng.integers(-32768, 65536, (4096, 2))
    slopes = np.clip(ends[:, 1] - ends[:, 0], -32768, 32767)
    table = np.stack([ends[:, 0], slopes], axis=1)
    for first in range(0, 4096, 256):
        got = look_up(table[first : first + 256], EVERY % 65536).reshape(256, 256)
        low = np.roll(ends[first : first + 256].min(axis=1), 128)
        high = np.roll(ends[first : first + 256].max(axis=1), 128)
        assert (got >= low[:, None]).all() and (got <= high[:, None]).all()


def test_a_slope_of_17_bits_saturates():
    """A sigmoid that rises from 0 to 1 within line 0, 0 to 1024: 65535 steps."""
    step = Activation((Function("scale", (1.0, -512.0)), Function("sigmoid")))
    table = line_table(step, QFormat(16, -2), QFormat(16, 16, False))
    assert table[[255, 0, 1, 127]].tolist() == [[0, 0], [0, 32767], [65535, 0], [65535, 0]]
    assert look_up(table, np.array([0, 128, 255])).tolist() == [0, 16384, 32639]
    falling = Activation((*step.functions, Function("scale", (-1.0, 1.0))))
    table = line_table(falling, QFormat(16, -2), QFormat(16, 16, False))
    assert table[[255, 0, 1]].tolist() == [[65535, 0], [65535, -32768], [0, 0]]


class Steep(nn.Module):
    """A sigmoid that sees thousands; the weights are exact."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        with torch.no_grad():
            self.a.weight[:] = 1024 * torch.eye(3)
            self.b.weight[:] = torch.eye(3)
            self.a.bias.zero_()
            self.b.bias.zero_()

    def forward(self, x):
        return self.b(torch.sigmoid(self.a(x)))


def outputs(folder, module, x):
    """What golden and PyTorch make of ``x`` [N, ...] with 16-bit data, and the packed network."""
    folder.mkdir(exist_ok=True)
    module, x = module.eval(), np.asarray(x, np.float32)
    torch.export.save(torch.export.export(module, (torch.from_numpy(x[:2]),)), folder / "net.pt2")
    np.savez(folder / "inputs.npz", x=x)
    recipe = folder / "recipe.toml"
    recipe.write_text(f'[model]\nexported = "net.pt2"\ninputs = "inputs.npz"\n{SIXTEEN}')
    packed = pack(read_recipe(recipe), folder / "b")
    assert compare_with_graph(packed, folder / "b", lambda *_: None).mismatches == 0
    machine = load(folder / "b")
    beats = machine.run(frames_from_arrays(x, machine.manifest.input)).beats
    with torch.no_grad():
        want = module(torch.from_numpy(x)).numpy()
    return arrays_from_beats(beats, machine)[1], want, packed


def test_a_steep_function_is_seen_where_it_is_steep(tmp_path):
    """Seen as a whole (-4096..4096), the sigmoid's lines would be 32 long."""
    x = np.round(4 * np.random.default_rng(0).normal(size=(400, 3)) ** 3 * 256) / 2**15
    real, want, packed = outputs(tmp_path, Steep(), x)
    (frac,) = packed.formats.sees_frac.values()
    assert frac >= 9  # of -64..64 or less
    assert np.abs(real - want).max() < 1 / 64  # the input's last bit moves it by half as much


# ---------------------------------------------------------------- products of two tensors


class Pairs(nn.Module):
    """a * b + c * d of what two layers give, behind functions of their own."""

    def __init__(self, *functions, offset=0.0):
        super().__init__()
        self.fc, self.functions, self.out = nn.Linear(4, 16), functions, nn.Linear(4, 3)
        with torch.no_grad():  # everything as large as can be, of either sign
            self.fc.weight[:] = torch.eye(4).repeat(4, 1)
            self.fc.bias.zero_()
        self.offset = offset

    def forward(self, x):
        a, b, c, d = (f(y) for f, y in zip(self.functions, self.fc(x).chunk(4, 1), strict=True))
        return self.out(a * b + c * d)


def plain(x):
    return x


def corners():
    """Samples in which every product is the largest of its sign."""
    x = np.random.default_rng(0).uniform(-1, 1, (64, 4))
    return np.concatenate([x, -np.ones((2, 4)), np.ones((2, 4)), np.zeros((1, 4))]) * 8


@pytest.mark.parametrize(
    "functions, sums",
    [
        ((torch.sigmoid, plain, torch.sigmoid, plain), 0),  # as in a GRU: one nest
        ((torch.sigmoid, torch.relu, torch.relu, torch.sigmoid), 0),  # nothing is negative
        ((plain, plain, plain, torch.sigmoid), 0),  # one that isn't is enough
        ((plain, plain, plain, plain), 1),  # taken apart: two products and their sum
        ((torch.tanh, torch.tanh, torch.tanh, torch.tanh), 1),
    ],
)
def test_sums_of_products_fit_the_accumulator(functions, sums, tmp_path):
    torch.manual_seed(0)
    real, want, packed = outputs(tmp_path, Pairs(*functions), corners())
    products = [op for op in packed.graph.ops if isinstance(op, Product)]
    assert len(products) == 1 + sums
    assert sum(isinstance(op, Add) for op in packed.graph.ops) == sums
    assert 10 * np.log10((want**2).sum() / ((real - want) ** 2).sum()) > 35


def test_unsigned_factors_get_a_sign_where_both_have_none(tmp_path):
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.out(torch.relu(self.a(x)) * torch.sigmoid(self.b(x)))

    torch.manual_seed(0)
    real, want, packed = outputs(tmp_path, Gated(), corners())
    (product,) = (op for op in packed.graph.ops if isinstance(op, Product))
    operands = [packed.graph.owners(view)[0] for view in product.views]
    assert sorted(packed.formats.of(t).signed for t in operands) == [False, True]
    assert 10 * np.log10((want**2).sum() / ((real - want) ** 2).sum()) > 35


def test_what_may_wrap_is_refused_with_layer_and_advice(tmp_path):
    """A gate that is scaled for each channel has a sign, and -2**15 is not excluded any more."""
    scales = torch.tensor([0.5, 0.7, 0.9, 1.1])
    functions = (lambda x: torch.sigmoid(x) * scales, plain, plain, plain)
    with pytest.raises(RangeError, match=r"layer '.+': the product .*, up to 2147483648,"):
        outputs(tmp_path, Pairs(*functions), corners())


# ---------------------------------------------------------------- whole networks


def test_a_last_table_leaves_sixteen_bits(tmp_path):
    packed = pack(read_recipe(write_recipe(tmp_path, "SigmoidLast", SIXTEEN)), tmp_path / "b")
    last = packed.descriptors[-1]
    assert last.stream and last.table and last.y_unsigned
    assert packed.manifest.output.format.q == QFormat(16, 16, False)
    machine = load(tmp_path / "b")
    beats = machine.run(frames_from_arrays(packed.inputs.x, machine.manifest.input)).beats
    assert beats.min() >= 0 and beats.max() > 32767


def test_the_table_image_holds_slope_and_start(tmp_path):
    packed = pack(read_recipe(write_recipe(tmp_path, "SigmoidLast", SIXTEEN)), tmp_path / "b")
    assert packed.manifest.image("table").bits == 32
    lines = (tmp_path / "b" / "table.mem").read_text().split()
    # The sigmoid of the last layer sees -4..4 or less: from 1/2 up, slopes falling from one of
    # (1/4 * 256 LSB of what is seen) in steps of 2**-16.
    number = packed.descriptors[-1].table_base
    op = packed.graph.ops[-1]
    frac = packed.formats.sees_frac[packed.formats.sees.find(op.out.index)]
    word = lines[256 * number]
    assert len(word) == 8 and abs(int(word[4:], 16) - 32768) <= 1
    assert abs(int(word[:4], 16) - 2 ** (16 + 8 - 2 - frac)) <= 2 ** (16 + 8 - 2 - frac) // 64


def test_the_example_gru_keeps_its_accuracy(tmp_path):
    text = (DIGITS / "gru.toml").read_text()
    for key in ("python", "checkpoint", "inputs"):
        text = text.replace(f'{key} = "', f'{key} = "{DIGITS}/')
    recipe = tmp_path / "gru.toml"
    recipe.write_text(text + SIXTEEN)
    packed = pack(read_recipe(recipe), tmp_path / "b")
    assert compare_with_graph(packed, tmp_path / "b", lambda *_: None, 40).mismatches == 0
    machine = load(tmp_path / "b")
    beats = machine.run(frames_from_arrays(packed.inputs.x, machine.manifest.input)).beats
    right = (arrays_from_beats(beats, machine)[0].argmax(1) == packed.inputs.y).mean()
    assert right > packed.manifest.float_accuracy - 0.003
