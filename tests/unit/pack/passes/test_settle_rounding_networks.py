# SPDX-License-Identifier: Apache-2.0
"""Networks that round for themselves are met exactly, and what can't be is refused or said."""

import re
import warnings

import numpy as np
import pytest
import torch
from support import MODELS, model_recipe, need

from bramcast.golden.frames import arrays_from_beats, frames_from_arrays
from bramcast.golden.load import load
from bramcast.pack.bundle.errors import RecipeError, UnsupportedLayer
from bramcast.pack.bundle.qformat import parse_format
from bramcast.pack.graph.ops import Dense, Depthwise, MaxPool, is_exact
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.regress.agree import compare_with_graph
from bramcast.sim.run.cosim import simulate

HEAD = """
import torch
import torch.nn as nn
import torch.nn.functional as F

def half_up(v, shift):
    return torch.floor(v / 2**shift + 0.5)

"""

# Everything that the tests' integer network does, on int8 data and weights.
INTEGERS = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.left = nn.Conv2d(8, 8, 3, padding=1)
        self.right = nn.Conv2d(8, 8, 1, bias=False)
        self.fc = nn.Linear(2 * 8 * 2 * 2, 5)
        self.register_buffer("output_shift", torch.tensor([-1.0]))

    def forward(self, x):
        acc = self.first(x) * torch.exp2(self.output_shift)
        x = torch.clamp(half_up(F.relu(acc), 7), -128, 127)
        x = F.max_pool2d(x, 2)
        left = torch.clamp(torch.floor(self.left(x) / 256 + 0.5), -128, 127)
        right = torch.clamp(self.right(x) // 2 ** 7, -128, 127)
        total = torch.clamp(left + right, -128, 127)
        mean = torch.clamp(torch.round(torch.floor((left - right) / 2 + 0.5)), -128, 127)
        pooled = torch.floor(F.avg_pool2d(torch.cat([total, mean], 1), 2))
        return self.fc(pooled.flatten(1))
"""


def shifted(values, shift):
    """(values + half) >> shift, as an accelerator's programmer writes it."""
    return (values + (1 << (shift - 1))) >> shift


def correlated(x, weight, pad):
    """Integer convolution: x [N, C, H, W], weight [O, C, K, K]."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    k = weight.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))
    return np.einsum("nchwkl,ockl->nohw", windows, weight)


def blocks(x):
    """2x2 blocks of [N, C, H, W] along a last axis."""
    n, c, h, w = x.shape
    return (
        x.reshape(n, c, h // 2, 2, w // 2, 2)
        .transpose(0, 1, 2, 4, 3, 5)
        .reshape(n, c, h // 2, w // 2, 4)
    )


def expected(p, x):
    """The integer network in numpy: shifts, no floats."""
    acc = correlated(x, p["first.weight"], 1) + p["first.bias"][:, None, None]
    x = np.clip(shifted(np.maximum(acc, 0), 8), 0, 127)
    x = blocks(x).max(axis=-1)
    acc = correlated(x, p["left.weight"], 1) + p["left.bias"][:, None, None]
    left = np.clip(shifted(acc, 8), -128, 127)
    right = np.clip(correlated(x, p["right.weight"], 0) >> 7, -128, 127)
    total, mean = np.clip(left + right, -128, 127), np.clip(shifted(left - right, 1), -128, 127)
    pooled = blocks(np.concatenate([total, mean], axis=1)).sum(axis=-1) >> 2
    return pooled.reshape(len(x), -1) @ p["fc.weight"].T + p["fc.bias"]


def integers(rng):
    """Random int8 parameters with a few at the ends, biases in the accumulators' unit."""
    shapes = {
        "first.weight": (8, 2, 3, 3), "left.weight": (8, 8, 3, 3), "right.weight": (8, 8, 1, 1),
        "fc.weight": (5, 64),
    }  # fmt: skip
    p = {name: rng.integers(-128, 128, shape) for name, shape in shapes.items()}
    p["first.weight"][0, 0, 0, 0], p["fc.weight"][0, 0], p["left.weight"][1] = -128, -128, 0
    p |= {"first.bias": rng.integers(-9000, 9000, 8), "left.bias": rng.integers(-9000, 9000, 8)}
    return p | {"fc.bias": rng.integers(-20000, 20000, 5)}


def write(folder, model, x, parameters=None, extra=""):
    """A recipe for a model's text with some parameters and samples."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(HEAD + model)
    state = {k: torch.from_numpy(v.astype(np.float32)) for k, v in (parameters or {}).items()}
    if "output_shift" in model:
        state["output_shift"] = torch.tensor([-1.0])
    torch.save(state, folder / "weights.pth")
    np.savez(folder / "inputs.npz", x=x.astype(np.float32))
    (folder / "recipe.toml").write_text(
        '[model]\npython = "model.py:Net"\ncheckpoint = "weights.pth"\n'
        f'inputs = "inputs.npz"\nname = "net"\n{extra}'
    )
    return folder / "recipe.toml"


def silent(what, done, of):
    pass


def golden(bundle, x):
    """Golden's results as integers and as real numbers."""
    machine = load(bundle)
    return arrays_from_beats(
        machine.run(frames_from_arrays(x.astype(np.float32), machine.manifest.input)).beats, machine
    )


def packed_and_checked(recipe, bundle):
    """Pack; golden and the quantized graph agree."""
    packed = pack(read_recipe(recipe), bundle)
    assert compare_with_graph(packed, bundle, silent).mismatches == 0
    return packed


# The weights of a folded layer: the divisor behind it is in them.
BY_HAND = """
[quantize]
input = "Q7.0"
[quantize.layers]
first = { weight = "Q-1.8", output = "UQ8.0" }
left = { weight = "Q-1.8", output = "Q7.0" }
right = { weight_frac = [7, 7, 7, 7, 7, 7, 7, 7], output = "Q7.0" }
fc = { weight = "Q7.0" }
"""


@pytest.mark.parametrize("taps", [1, 4])
@pytest.mark.parametrize("extra", ["", BY_HAND], ids=["as the graph says", "by hand"])
def test_an_integer_network_is_met_exactly(extra, taps, tmp_path):
    rng = np.random.default_rng(1)
    x, p = rng.integers(-128, 128, (40, 2, 8, 8)), integers(rng)
    recipe = write(tmp_path, INTEGERS, x, p, f"[core]\ntaps = {taps}\n{extra}")
    packed = packed_and_checked(recipe, tmp_path / "b")
    got, real = golden(tmp_path / "b", x)
    want = expected(p, x)
    assert np.abs(want).max() > 10000 and packed.notes == ()
    np.testing.assert_array_equal(real, want)
    if extra:
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("source", ["onnx", "exported"])
def test_an_integer_network_from_another_source_is_met_exactly(source, tmp_path):
    """Its power of two is a constant that is computed at pack time."""
    rng = np.random.default_rng(1)
    x, p = rng.integers(-128, 128, (20, 2, 8, 8)), integers(rng)
    recipe = write(tmp_path, INTEGERS, x, p)
    scope: dict = {}
    text = INTEGERS.replace("torch.exp2(", "torch.pow(2.0, ")  # the exporter knows no exp2, and
    text = text.replace("self.right(x) // 2 ** 7", "torch.floor(self.right(x) / 2 ** 7)")  # casts
    exec(HEAD + text, scope)
    net = scope["Net"]().eval()
    net.load_state_dict(torch.load(tmp_path / "weights.pth"))
    example = torch.zeros((2, 2, 8, 8))
    if source == "onnx":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(net, (example,), tmp_path / "net.onnx", dynamo=False,
                              do_constant_folding=False)  # fmt: skip
        line = 'onnx = "net.onnx"'
    else:
        torch.export.save(torch.export.export(net, (example,)), tmp_path / "net.pt2")
        line = 'exported = "net.pt2"'
    text = recipe.read_text().replace('python = "model.py:Net"\ncheckpoint = "weights.pth"', line)
    recipe.write_text(text)
    packed_and_checked(recipe, tmp_path / "b")
    np.testing.assert_array_equal(golden(tmp_path / "b", x)[1], expected(p, x))


ROUNDED_LAST = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = torch.clamp(half_up(F.relu(self.a(x)), 9), max=127)
        return torch.clamp(half_up(self.b(x), 3), -1000, 900)
"""


def test_results_that_are_rounded_and_leave_are_met_exactly(tmp_path):
    rng = np.random.default_rng(2)
    p = {"a.weight": rng.integers(-128, 128, (16, 6)), "a.bias": rng.integers(-999, 999, 16)}
    p |= {"b.weight": rng.integers(-128, 128, (3, 16)), "b.bias": np.array([9, -999, 0])}
    x = rng.integers(-128, 128, (64, 6))
    packed = packed_and_checked(write(tmp_path, ROUNDED_LAST, x, p), tmp_path / "b")
    hidden = np.clip(shifted(np.maximum(x @ p["a.weight"].T + p["a.bias"], 0), 9), 0, 127)
    want = np.clip(shifted(hidden @ p["b.weight"].T + p["b.bias"], 3), -1000, 900)
    assert want.min() == -1000 and want.max() > 127 and not packed.notes
    np.testing.assert_array_equal(golden(tmp_path / "b", x)[0], want)


FRACTIONS = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 3, bias=False)

    def forward(self, x):
        x = torch.clamp(torch.floor(self.a(x) * 4 + 0.5) / 4, -32, 31.75)
        return self.b(torch.sigmoid(x) if {smooth} else x)
"""


def test_rounding_to_fractions_fixes_the_format(tmp_path):
    """A bias far below the accumulator's LSB still moves the tie."""
    p = {"a.weight": np.eye(16, 6) * 0.5, "a.bias": np.linspace(-0.13, 0.13, 16),
         "b.weight": np.eye(3, 16)}  # fmt: skip
    x = np.random.default_rng(3).integers(-64, 64, (50, 6)) / 2
    model = FRACTIONS.format(smooth=False)
    packed = packed_and_checked(write(tmp_path, model, x, p), tmp_path / "b")
    assert str(packed.quantized["a"].out) == "Q5.2"
    inner = np.floor((x[:, :3] / 2 + p["a.bias"][:3].astype(np.float32)) * 4 + 0.5) / 4
    np.testing.assert_array_equal(golden(tmp_path / "b", x)[1], inner)


def test_what_lies_below_the_accumulators_lsb_decides_no_tie(tmp_path):
    """100 * 17 + 27.75 + 64 is below 14 * 128 = 1792; with the bias rounded to 28 it would not."""
    values = np.arange(-128, 128)
    p = {"fc.weight": np.full((1, 1), 100.0), "fc.bias": np.array([27.75])}
    layers = "self.fc, self.out = nn.Linear(1, 1), nn.Linear(1, 1, bias=False)"
    model = model_of("return self.out(half_up(self.fc(x), 7))", layers)
    x = values[:, None]
    recipe = write(tmp_path, model, x, p | {"out.weight": np.ones((1, 1))})
    packed_and_checked(recipe, tmp_path / "b")
    want = np.floor((100 * values + 27.75 + 64) / 128)
    assert want[128 + 17] == 13
    np.testing.assert_array_equal(golden(tmp_path / "b", x)[1][:, 0], want)


def model_of(forward, layers="self.fc = nn.Linear(16, 3, bias=False)"):
    """A network on [16] that ends with its Linear layer."""
    return (
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        {layers}\n\n    def forward(self, x):\n        {forward}\n"
    )


def packed_forward(folder, forward, values, **layers):
    rng = np.random.default_rng(4)
    p = {"fc.weight": rng.integers(-128, 128, (3, 16))}
    return packed_and_checked(write(folder, model_of(forward, **layers), values, p), folder / "b")


WHOLE = np.random.default_rng(5).integers(-128, 128, (32, 16))


ROUNDINGS = {
    "torch.round(x)": torch.round,
    "torch.ceil(x)": torch.ceil,
    "torch.trunc(x)": torch.trunc,
    "torch.div(x, 3, rounding_mode='trunc')": lambda x: torch.trunc(x / 3),
}


@pytest.mark.parametrize("call", ROUNDINGS)
def test_other_roundings_of_numbers_that_8_bits_hold_are_exact(call, tmp_path):
    x = WHOLE.clip(min=-127)
    packed_forward(tmp_path, f"return self.fc({call})", x)
    weight = np.random.default_rng(4).integers(-128, 128, (3, 16))
    want = ROUNDINGS[call](torch.from_numpy(x.astype(np.float64))).numpy() @ weight.T
    assert (golden(tmp_path / "b", x)[1] == want).all()


def test_ties_to_even_of_other_numbers_are_a_table_and_noted(tmp_path):
    call = "torch.clamp(torch.round(self.fc(x).repeat(1, 6)[:, :16] / 128), 0, 9)"
    p = {"fc.weight": np.random.default_rng(4).integers(-128, 128, (3, 16))}
    packed = pack(read_recipe(write(tmp_path, model_of(f"return self.fc({call})"), WHOLE, p)),
                  tmp_path / "b")  # fmt: skip
    (note,) = [note for note in packed.notes if "near a tie" in note]
    assert "layer 'round': round() is a table" in note and "torch.floor(x + 0.5) is exact" in note


def test_rounding_of_integers_is_nothing(tmp_path):
    idle = "torch.round(torch.floor(F.max_pool1d(y[:, None], 2)[:, 0]))"
    forward = f"y = torch.floor(x / 4); return self.fc(F.pad({idle}, (0, 8)))"
    packed = packed_forward(tmp_path, forward, WHOLE)
    kinds = [type(o) for o in packed.graph.ops if not is_exact(o)]
    assert kinds == [Depthwise, MaxPool, Dense]
    weight = np.random.default_rng(4).integers(-128, 128, (3, 16))[:, :8]
    pooled = (WHOLE >> 2).reshape(len(WHOLE), 8, 2).max(axis=2)
    np.testing.assert_array_equal(golden(tmp_path / "b", WHOLE)[1], pooled @ weight.T)


def test_an_average_that_can_not_be_exact_is_said(tmp_path):
    thirds = "torch.floor(F.avg_pool1d(x[:, None, :15], 3)[:, 0])"
    packed = packed_forward(tmp_path, f"return self.fc(F.pad({thirds}, (0, 11)))", WHOLE)
    assert len(packed.notes) == 1 and "'avg_pool1d': 5 of its weights" in packed.notes[0]


def test_rounded_values_that_do_not_fit_are_said(tmp_path):
    packed = packed_forward(tmp_path, "return self.fc(torch.floor(x * 2.5))", WHOLE)
    (note,) = packed.notes
    assert "to integers, but Q9.-2 is what reaches them all" in note


def test_integers_that_saturate_without_a_clamp_are_said(tmp_path):
    packed = packed_forward(tmp_path, "return self.fc(torch.floor(x + 3))", WHOLE)
    (note,) = packed.notes
    assert f" {(WHOLE + 3 > 127).sum()} of 512 results on calibration samples lie outside" in note
    assert "Q7.0" in note


def test_a_clamp_between_the_last_layers_numbers_is_said(tmp_path):
    # Weights up to 256 have LSBs of 2, as their sums have: there is no 127.
    forward = "return torch.clamp(torch.floor(self.fc(x) * 2 + 0.5), -128, 127)"
    packed = packed_forward(tmp_path, forward, WHOLE)
    (note,) = packed.notes
    assert "'fc'" in note and "of 96 results" in note and "Q32.-1" in note


def test_a_sum_that_8_bits_can_not_hold_is_said(tmp_path):
    forward = "return self.fc(torch.floor(x / 2) + torch.floor(x.flip(1)))"
    packed = packed_forward(tmp_path, forward, WHOLE)
    (note,) = packed.notes
    assert "'add'" in note and "of 512 results" in note


def test_integers_that_the_input_can_not_hold_are_said(tmp_path):
    """8 bits hold every second integer up to 254."""
    rng = np.random.default_rng(6)
    x = rng.integers(-127, 128, (32, 16)) * 2
    x[:, 3] += 1
    forward = "return self.fc(torch.clamp(torch.floor(x / 4), -128, 127))"
    packed = packed_forward(tmp_path, forward, x)
    assert packed.notes[0] == (
        "input: 32 of 512 values of calibration samples lie outside or between the numbers of "
        "Q8.-1, so results can differ from forward()'s"
    )


PLAIN_INTEGERS = "return self.fc(F.relu(self.wide(x))[:, :16])"
LAYERS = "self.wide, self.fc = nn.Linear(16, {0}), nn.Linear({0}, 3, bias=False)"


@pytest.mark.parametrize("scale", [1, 2.0**-9], ids=["integers", "fractions"])
def test_integers_that_nobody_rounds_and_8_bits_can_not_hold_are_said(scale, tmp_path):
    rng = np.random.default_rng(7)
    p = {"wide.weight": rng.integers(-2, 3, (16, 16)), "wide.bias": rng.integers(-9, 9, 16) * scale,
         "fc.weight": rng.integers(-128, 128, (3, 16))}  # fmt: skip
    model = model_of(PLAIN_INTEGERS, LAYERS.format(16))
    recipe = write(tmp_path, model, WHOLE * scale, p)
    (note,) = packed_and_checked(recipe, tmp_path / "b").notes
    real = np.maximum((WHOLE * scale) @ p["wide.weight"].T + p["wide.bias"], 0)
    fmt = parse_format(re.search("U?Q[-.0-9]+", note)[0])
    held = np.minimum(np.floor(real / fmt.lsb + 0.5), fmt.max) * fmt.lsb
    assert note.startswith(f"layer 'wide': {(held != real).sum()} of 512 results on calibration")
    assert "is met exactly if it rounds and clamps" in note


def test_integers_that_8_bits_hold_need_no_rounding(tmp_path):
    rng = np.random.default_rng(8)
    p = {"wide.weight": rng.integers(-1, 2, (16, 16)), "wide.bias": rng.integers(-3, 3, 16),
         "fc.weight": rng.integers(-128, 128, (3, 16))}  # fmt: skip
    x = rng.integers(-7, 8, (32, 16))
    recipe = write(tmp_path, model_of(PLAIN_INTEGERS, LAYERS.format(16)), x, p)
    packed = packed_and_checked(recipe, tmp_path / "b")
    want = np.maximum(x @ p["wide.weight"].T + p["wide.bias"], 0) @ p["fc.weight"].T
    np.testing.assert_array_equal(golden(tmp_path / "b", x)[1], want)
    assert packed.notes == ()


def test_weights_of_more_than_8_bits_are_said_without_any_rounding(tmp_path):
    packed = packed_forward(tmp_path, "return self.fc(x) * 5", WHOLE)
    (note,) = packed.notes
    assert re.match(r"layer 'fc': \d+ of its weights and biases have no exact integers", note)


@pytest.mark.parametrize(
    "layer, fmt, message",
    [("first", "UQ6.2", "first.*UQ6.2.* to integers, so the format must have 0 fraction bits"),
     ("max_pool2d", "UQ7.1", "1 fraction bits for 'max_pool2d', whose .*'first': .* to integers")],
)  # fmt: skip
def test_a_format_by_hand_that_is_not_what_forward_rounds_to_is_refused(
    layer, fmt, message, tmp_path
):
    rng = np.random.default_rng(1)
    extra = f'[quantize.layers]\n{layer} = {{ output = "{fmt}" }}\n'
    recipe = write(tmp_path, INTEGERS, rng.integers(-9, 9, (4, 2, 8, 8)), integers(rng), extra)
    with pytest.raises(RecipeError, match=message):
        pack(read_recipe(recipe), tmp_path / "b")


def test_different_roundings_in_one_tensor_are_refused(tmp_path):
    forward = "y = torch.floor(x[:, :8]); z = torch.floor(x[:, 8:] / 4) / 8;"
    forward += " return self.fc(torch.cat([y, z], 1))"
    with pytest.raises(UnsupportedLayer, match="multiples of 0.125, 'floor' to integers"):
        packed_forward(tmp_path, forward, WHOLE)


# --- an accelerator's own network --------------------------------------------------------------

AI8X = "mnist_ai8x_int8_small"
AI8X_BY_HAND = """
[quantize]
input = "Q7.0"
[quantize.layers]
"convs.0.conv2d" = { weight = "Q1.6", output = "UQ8.0" }
"convs.1.max_pool2d" = { output = "UQ8.0" }
"convs.1.conv2d" = { weight = "Q0.7", output = "UQ8.0" }
"convs.2.max_pool2d" = { output = "UQ8.0" }
"convs.2.conv2d" = { weight = "Q1.6", output = "UQ8.0" }
fc = { weight = "Q7.0" }
"""


@pytest.mark.parametrize("extra", ["", AI8X_BY_HAND], ids=["as the graph says", "by hand"])
def test_an_accelerators_network_is_met_exactly_on_all_samples(extra, tmp_path):
    recipe = model_recipe(tmp_path, AI8X, extra=extra)
    packed = packed_and_checked(recipe, tmp_path / "b")
    want = np.load(MODELS / AI8X / "expected.npz")["out_int"]
    got, _ = golden(tmp_path / "b", packed.inputs.x)
    assert got.shape == want.shape == (1000, 10) and not packed.notes
    np.testing.assert_array_equal(got, want)


@pytest.mark.cosim
@pytest.mark.slow
@pytest.mark.parametrize("simulator, samples", [("icarus", 2), ("verilator", 20)])
def test_the_core_meets_an_accelerators_network_exactly(simulator, samples, tmp_path):
    need(simulator)
    recipe = model_recipe(tmp_path, AI8X, extra=AI8X_BY_HAND)
    pack(read_recipe(recipe), tmp_path / "b")
    result = simulate(tmp_path / "b", read_inputs(recipe).x[:samples], simulator, seed=1)
    assert result.equal, str(result.comparison.first)
    want = np.load(MODELS / AI8X / "expected.npz")["out_int"][:samples]
    # What golden gives is what the core gave: their equality has just been shown.
    np.testing.assert_array_equal(golden(tmp_path / "b", read_inputs(recipe).x[:samples])[0], want)
