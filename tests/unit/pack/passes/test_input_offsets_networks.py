# SPDX-License-Identifier: Apache-2.0
"""A number that is subtracted from each input feature (pack/passes/input_offsets.py)."""

import json
import shutil
import subprocess
import warnings

import numpy as np
import pytest
import torch
from axi_support import code_block
from support import bramcast, golden_arrays, text_recipe, write_recipe

from bramcast.golden.frames import frames_from_arrays
from bramcast.golden.load import load
from bramcast.pack.bundle.errors import InputError, RecipeError
from bramcast.pack.bundle.manifest import Format, Frame, read_manifest
from bramcast.pack.pipeline import pack
from bramcast.pack.read.network import read_model
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.regress.agree import compare_with_graph
from bramcast.sim.regress.referee import scale_doubt

AUTO = '[quantize]\ninput_offsets = "auto"\n'
BOTH = AUTO + 'input_exponents = "auto"\n'

LINEAR = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 2))
"""
WEIGHT = np.array([[0.5, -1.25, 2.0], [1.0, 0.75, -0.5]])
BIAS = np.array([0.5, -3.0])
NEAR = np.array([300.0, -40.0, 0.0])  # what the three features stay near
MOVES = np.array([[1, -5, 3], [-8, 2, 0], [7, 7, -7], [0, -1, -2]]) / 16  # 4 samples

SENSORS = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.BatchNorm1d(8), nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(),
            nn.Linear(24, 4),
        )
"""


def linear(folder, extra, near=NEAR):
    state = {"0.weight": WEIGHT, "0.bias": BIAS}
    return text_recipe(folder, LINEAR, near + MOVES, state, extra)


def model(folder, text, x, extra, change=lambda state: None, seed=0):
    """A recipe for a model's text with random parameters, which ``change`` may set."""
    names = {}
    exec(text, names)
    torch.manual_seed(seed)
    state = {k: v.numpy().astype(np.float64) for k, v in names["Net"]().state_dict().items()}
    change(state)
    return text_recipe(folder, text, x, state, extra)


def sensors(folder, extra="", middle=300.0, spread=1.0, seed=0):
    """Eight features that read ``middle`` +- ``spread``, BatchNorm first, and random weights."""
    rng = np.random.default_rng(seed)
    x = (middle + spread * rng.normal(size=(256, 8))).astype(np.float32)

    def statistics(state):
        state["0.running_mean"] = x.mean(axis=0, dtype=np.float64)
        state["0.running_var"] = x.var(axis=0, dtype=np.float64)

    return model(folder, SENSORS, x, extra, statistics)


def packed_in(recipe, checked=8):
    """Pack beside the recipe; golden must equal the quantized graph."""
    bundle = recipe.parent / "bundle"
    packed = pack(read_recipe(recipe), bundle)
    agreement = compare_with_graph(packed, bundle, lambda *_: None, checked)
    assert agreement.elements and not agreement.mismatches
    return packed


def real_answers(recipe, x):
    module = read_model(read_recipe(recipe), x.shape[1:]).module.double()
    with torch.no_grad():
        return module(torch.from_numpy(x.astype(np.float64))).numpy()


def centred_db(recipe):
    """Of the outputs, counted on what varies between samples."""
    packed = packed_in(recipe)
    real = real_answers(recipe, packed.inputs.x)
    got = golden_arrays(recipe.parent / "bundle", packed.inputs.x)[1].reshape(real.shape)
    signal = ((real - real.mean(axis=0)) ** 2).mean()
    return 10 * np.log10(signal / ((real - got) ** 2).mean())


def files(recipe):
    pack(read_recipe(recipe), recipe.parent / "bundle")
    names = ("weights.mem", "bias.mem", "program.mem")
    return [(recipe.parent / "bundle" / name).read_bytes() for name in names]


@pytest.mark.parametrize("bits, fmt", [(8, "Q3.4"), (16, "Q3.12")])
def test_a_linear_layer_is_exact_by_hand(bits, fmt, tmp_path):
    extra = (
        f'[quantize]\nactivation_bits = {bits}\ninput = "{fmt}"\n'
        "input_offsets = [300, -40.0, 0.0]\n"
    )
    packed = packed_in(linear(tmp_path, extra))
    frame = packed.manifest.input
    assert frame.offsets == NEAR.tolist() and frame.planes == 1
    frames = frames_from_arrays((NEAR + MOVES).astype(np.float32), frame)
    assert frames.tolist() == (MOVES * 2**frame.format.frac).astype(int).tolist()
    got = golden_arrays(tmp_path / "bundle", NEAR + MOVES)[1]
    assert got.tolist() == ((NEAR + MOVES) @ WEIGHT.T + BIAS).tolist()


PICTURE = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 1, bias=False))
"""


def test_a_padded_layer_is_exact_at_its_border(tmp_path):
    rng = np.random.default_rng(0)
    near = np.array([20.0, -7.0])[:, None, None]
    x = near + rng.integers(-30, 31, size=(16, 2, 5, 4)) / 16
    state = {
        "0.weight": rng.integers(-4, 5, size=(3, 2, 3, 3)) / 4,
        "0.bias": np.array([1.0, -2.0, 0.5]),
        "1.weight": np.eye(3)[:, :, None, None],
    }
    extra = (
        '[quantize]\nactivation_bits = 16\ninput = "Q3.12"\ninput_offsets = [20, -7]\n'
        '[quantize.layers]\n"0" = { output = "Q9.6" }\n'
    )
    recipe = text_recipe(tmp_path, PICTURE, x, state, extra)
    packed_in(recipe)
    got = golden_arrays(tmp_path / "bundle", x)[1]
    assert np.array_equal(got, real_answers(recipe, x))  # all are multiples of 1 / 64 below 512


def test_one_number_stands_for_all_features(tmp_path):
    one = linear(tmp_path / "a", "[quantize]\ninput_offsets = 300\n", np.full(3, 300.0))
    each = linear(tmp_path / "b", "[quantize]\ninput_offsets = [300, 300, 300]\n", np.full(3, 300))
    assert files(one) == files(each)
    assert read_manifest(tmp_path / "a" / "bundle").input.offsets == [300.0] * 3


def test_auto_takes_short_numbers_where_they_pay(tmp_path):
    # low, high, offset: that with the fewest bits a twelfth of the range around the middle
    lies = [
        (299.0, 301.0, 300.0),
        (-1.0, 1.0, 0.0),
        (0.0, 255.0, 0.0),  # half the range from zero: unsigned, it has all bits already
        (1000.25, 1008.25, 1004.0),
        (-70.0, -69.0, -69.5),
        (2048.5, 2048.5, 2048.5),  # never moves, and would widen the range of the others
        (12.0, 12.0, 0.0),
    ]
    low, high, wanted = (np.array(column) for column in zip(*lies, strict=True))
    x = np.where(np.arange(64)[:, None] % 2, high, low)
    text = LINEAR.replace("3, 2", "7, 2")
    packed = packed_in(model(tmp_path, text, x, AUTO))
    assert packed.manifest.input.offsets == wanted.tolist()


def test_offsets_are_float32_numbers_whatever_the_samples_are(tmp_path):
    rng = np.random.default_rng(0)
    x = 1e6 / 3 + 1e-2 * rng.normal(size=(64, 3))

    def trained(state):
        state["0.bias"] = -1e6 / 3 * state["0.weight"].sum(axis=1)

    recipe = model(tmp_path, LINEAR, x, AUTO, trained)
    np.savez(tmp_path / "inputs.npz", x=x)  # float64
    offsets = packed_in(recipe).manifest.input.offsets
    assert all(offsets) and np.array_equal(np.float32(offsets), offsets)


def test_another_draw_of_the_samples_keeps_the_offsets(tmp_path):
    a, b = (
        packed_in(sensors(tmp_path / str(seed), AUTO, 4096.0, 1.5, seed)).manifest.input.offsets
        for seed in (1, 2)
    )
    assert a == b == [4096.0] * 8


@pytest.mark.parametrize("extra", ["input_offsets = 0\n", "input_offsets = [0, 0, 0]\n", "auto"])
def test_nothing_to_subtract_changes_nothing(extra, tmp_path):
    extra = AUTO if extra == "auto" else f"[quantize]\n{extra}"
    assert files(linear(tmp_path / "a", extra, 0.0)) == files(linear(tmp_path / "b", "", 0.0))
    assert read_manifest(tmp_path / "a" / "bundle").input.offsets == []


def test_what_varies_keeps_its_signal(tmp_path):
    plain = centred_db(sensors(tmp_path / "a"))
    moved = centred_db(sensors(tmp_path / "b", AUTO))
    by_hand = centred_db(sensors(tmp_path / "c", "[quantize]\ninput_offsets = 300\n"))
    assert plain + 10 < min(moved, by_hand)


def test_pascals_have_moderate_biases(tmp_path):
    """101,325 times a folded gain would cost the weights their bits; BatchNorm takes it away."""
    recipe = sensors(tmp_path / "a", AUTO, 101_325.0, 100.0)
    near_zero = sensors(tmp_path / "b", "", 0.0, 100.0)
    moved, alike = packed_in(recipe), packed_in(near_zero)
    first = next(iter(moved.quantized))
    assert moved.quantized[first].weight_frac == alike.quantized[first].weight_frac
    assert centred_db(recipe) > centred_db(near_zero) - 1


@pytest.mark.parametrize("exponents", ['"auto"', "[0, 3, 5]"])
def test_powers_of_two_come_after_the_offset(exponents, tmp_path):
    near, moves = np.array([300.0, -40.0, 0.0]), MOVES * [16, 2, 0.5]
    extra = f"[quantize]\ninput_offsets = [300, -40, 0]\ninput_exponents = {exponents}\n"
    state = {"0.weight": WEIGHT, "0.bias": BIAS}
    packed = packed_in(text_recipe(tmp_path, LINEAR, near + moves, state, extra))
    frame = packed.manifest.input
    # the largest of each feature are 8, 7 / 8 and 7 / 32, all that counts is how they differ
    assert frame.exponents == [0, 3, 5] and frame.offsets == near.tolist()
    scaled = moves * [1, 8, 32] * 2.0**frame.format.frac
    frames = frames_from_arrays((near + moves).astype(np.float32), frame)
    assert frames.tolist() == np.clip(np.floor(scaled + 0.5), -128, 127).tolist()
    assert np.allclose(golden_arrays(tmp_path / "bundle", near + moves)[1],
                       (near + moves) @ WEIGHT.T + BIAS, atol=0.1)  # fmt: skip


def test_two_planes_split_what_the_offset_leaves(tmp_path):
    extra = (
        "[quantize]\ninput_offsets = [300, -40, 0]\n"
        'input = "Q1.6"\ninput_planes = 2\nplane_shift = 4\n'
    )
    moves = MOVES + np.array([3, -5, 2]) / 1024
    state = {"0.weight": WEIGHT, "0.bias": BIAS}
    packed = packed_in(text_recipe(tmp_path, LINEAR, NEAR + moves, state, extra))
    frame = packed.manifest.input
    assert frame.planes == 2 and frame.offsets == NEAR.tolist()
    frames = frames_from_arrays(NEAR + moves, frame)
    assert frames[:, ::2].tolist() == (MOVES * 64).astype(int).tolist()
    assert frames[:, 1::2].tolist() == [[3, -5, 2]] * 4
    got = golden_arrays(tmp_path / "bundle", NEAR + moves)[1]
    assert np.allclose(got, (NEAR + moves) @ WEIGHT.T + BIAS, atol=0.02)


@pytest.mark.parametrize(
    "extra", ["input_planes = 2\n", "activation_bits = 16\n", 'input_exponents = "auto"\n']
)
def test_sensors_with_more_bits(extra, tmp_path):
    assert centred_db(sensors(tmp_path, AUTO + extra)) > 25


FIRST = {
    "padded": "nn.Conv1d(4, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)",
    "padded grouped": "nn.Conv1d(4, 6, 5, 2, 2, groups=2), nn.Flatten(), nn.Linear(24, 3)",
    "padded depthwise": "nn.Conv1d(4, 8, 3, 1, 2, 2, groups=4), nn.Flatten(), nn.Linear(64, 3)",
    "causal": "nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(4, 6, 3), nn.Flatten(), nn.Linear(48, 3)",
    "grouped": "nn.Conv1d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(36, 3)",
    "depthwise": "nn.Conv1d(4, 8, 3, stride=2, groups=4), nn.Flatten(), nn.Linear(24, 3)",
    "flattened": "nn.Flatten(), nn.Linear(32, 3)",
    "smooth": "nn.Sigmoid(), nn.Flatten(), nn.Linear(32, 3)",
}


@pytest.mark.parametrize("first", FIRST)
def test_first_layers_of_all_kinds_take_them(first, tmp_path):
    text = (
        "from torch import nn\nclass Net(nn.Sequential):\n"
        f"    def __init__(self):\n        super().__init__({FIRST[first]})\n"
    )
    near = np.repeat([[40.0], [-30.0], [0.0], [7.0]], 8, axis=1)
    x = near + np.random.default_rng(0).normal(size=(64, 4, 8)) * (first != "smooth")
    given = [40, -30, 0, 7] if first != "flattened" else near.ravel().tolist()
    extra = f"[quantize]\nactivation_bits = 16\ninput_offsets = {given}\n"
    packed = packed_in(model(tmp_path, text, x, extra))
    assert packed.manifest.input.offsets == list(map(float, given))
    real = real_answers(tmp_path / "recipe.toml", packed.inputs.x)
    got = golden_arrays(tmp_path / "bundle", packed.inputs.x)[1]
    assert np.abs(got - real).max() < 0.01 * np.abs(real).max()
    if "groups" in FIRST[first] or first == "smooth":
        return  # no two planes
    recipe = model(tmp_path, text, x, f"[quantize]\ninput_planes = 2\ninput_offsets = {given}\n")
    packed_in(recipe)
    got = golden_arrays(tmp_path / "bundle", packed.inputs.x)[1]
    assert np.abs(got - real).max() < 0.03 * np.abs(real).max()


def test_several_readers_and_a_concat_of_channels(tmp_path):
    text = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 6), nn.Linear(5, 4), nn.Linear(15, 3)
    def forward(self, x):
        return self.c(torch.cat([self.a(x).relu(), x, self.b(x)], 1))
"""
    x = 200 + np.random.default_rng(0).normal(size=(256, 5))

    def trained(state):
        for name in ("a", "b"):
            state[f"{name}.bias"] -= 200 * state[f"{name}.weight"].sum(axis=1)
        state["c.bias"] -= 200 * state["c.weight"][:, 6:11].sum(axis=1)

    one = "[quantize]\ninput_planes = 1\n"
    plain = centred_db(model(tmp_path / "a", text, x, one, trained))
    moved = centred_db(model(tmp_path / "b", text, x, AUTO, trained))
    assert plain + 10 < moved


MIXED = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv1d(3, 3, 1), nn.Conv1d(3, 2, 3), nn.Linear(28, 2)
    def forward(self, x):
        return self.c(self.b(torch.cat([x, self.a(x)], 2)).flatten(1))
"""
PADDED = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv1d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(32, 2))
"""
ZEROS_BEHIND = PADDED.replace("nn.Conv1d(3, 4, 3, padding=1)",
                              "nn.ConstantPad1d((2, 0), 0.0), nn.Conv1d(3, 4, 3)")  # fmt: skip
POOLED = PADDED.replace("nn.Conv1d(3, 4, 3, padding=1)", "nn.MaxPool1d(1), nn.Conv1d(3, 4, 1)")
LEAVES = MIXED.replace("self.c(self.b(torch.cat([x, self.a(x)], 2)).flatten(1))",
                       "torch.cat([x, self.a(x)], 1)")  # fmt: skip
CAUSAL_LAST = ZEROS_BEHIND.replace(", nn.Flatten(), nn.Linear(32, 2)", "")
STREAMED = PADDED.replace(", nn.Flatten(), nn.Linear(32, 2)", "")
STUCK = {
    "mixed": (MIXED, r"'b' \(Conv1d\) has no bias for each feature"),
    "streamed": (STREAMED, r"'0' \(Conv1d\) pads with zeros"),
    "causal, streamed": (CAUSAL_LAST, r"'1' \(Conv1d\) pads with zeros"),
    "leaves": (LEAVES, r"'output' \(gather\) has no bias for each feature"),
    "pooled": (POOLED, r"'0' \(MaxPool1d\) has no bias for each feature"),
}


@pytest.mark.parametrize("text", [PADDED, ZEROS_BEHIND], ids=["padded", "zeros"])
def test_along_a_border_of_zeros_the_biases_are_others(text, tmp_path):
    x = np.array([[200.0], [0.0], [90.0]]) + np.random.default_rng(0).normal(size=(64, 3, 8))
    text = text.replace("__init__(nn.", "__init__(nn.BatchNorm1d(3), nn.")

    def trained(state):
        state["0.running_mean"] += np.array([200.0, 0.0, 90.0])

    one = "[quantize]\ninput_planes = 1\n"
    plain = centred_db(model(tmp_path / "a", text, x, one, trained))
    given = one + "input_offsets = [200, 0, 90]\n"
    assert plain + 20 < centred_db(model(tmp_path / "b", text, x, given, trained))
    packed = packed_in(model(tmp_path / "c", text, x, AUTO, trained))
    assert packed.manifest.input.offsets == [200, 0, 90]
    assert packed.graph.ops[0].tap_bias.size


@pytest.mark.parametrize("kind", STUCK)
def test_what_has_no_bias_for_them_is_named(kind, tmp_path):
    text, message = STUCK[kind]
    x = np.array([[200.0], [0.0], [90.0]]) + np.random.default_rng(0).normal(size=(64, 3, 8))
    recipe = model(tmp_path / "a", text, x, "[quantize]\ninput_offsets = [200, 0, 90]\n")
    with pytest.raises(RecipeError, match=rf"input_offsets: layer {message}.* \(features 0, 2\)"):
        pack(read_recipe(recipe), tmp_path / "a" / "bundle")
    assert not (tmp_path / "a" / "bundle").exists()
    packed = packed_in(model(tmp_path / "b", text, x, AUTO))
    assert packed.manifest.input.offsets == []
    (note,) = [n for n in packed.notes if n.startswith("input: 2 of 3 features stay far from")]
    assert "subtract them in the samples" in note and '"auto"' not in note


def test_auto_leaves_only_the_features_that_nobody_can_take(tmp_path):
    text = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv1d(4, 5, 2, stride=2), nn.Linear(32, 2)
        self.pool = nn.MaxPool1d(2)
    def forward(self, x):
        return self.b(torch.cat([self.a(x), self.pool(x[:, :3])], 1).flatten(1))
"""
    x = 200 + np.random.default_rng(0).normal(size=(64, 4, 8))
    packed = packed_in(model(tmp_path, text, x, AUTO))
    assert packed.manifest.input.offsets == [0.0, 0.0, 0.0, 200.0]


def gru(folder, extra):
    """GruNet on a feature that reads 500 more than the network was made for."""
    recipe = write_recipe(folder, "GruNet", extra, samples=32)
    x = np.load(folder / "inputs.npz")["x"]
    x[..., 0] += 500.0
    np.savez(folder / "inputs.npz", x=x)
    state = torch.load(folder / "weights.pth", weights_only=True)
    for name in [n for n in state if "weight_ih_l0" in n]:
        state[name.replace("weight", "bias")] -= 500.0 * state[name][:, 0]
    torch.save(state, folder / "weights.pth")
    return recipe


@pytest.mark.slow
@pytest.mark.ci
def test_time_steps_share_offsets_and_weights(tmp_path):
    shifted = packed_in(gru(tmp_path / "a", AUTO), 4)
    usual = packed_in(write_recipe(tmp_path / "b", "GruNet", "", samples=32), 4)
    rows = np.array(shifted.manifest.input.offsets).reshape(6, 7)  # step, feature
    assert (rows == rows[0]).all() and not rows[0, 1:].any()
    assert abs(rows[0, 0] - 500) < 1
    for image in ("weights", "program", "bias"):
        assert shifted.manifest.image(image).used <= 1.2 * usual.manifest.image(image).used


def test_time_steps_may_have_offsets_of_their_own(tmp_path):
    offsets = np.zeros((6, 7))
    offsets[:, 0] = [500, 499, 501, 500.5, 500, 499.5]
    same = offsets * 0
    same[:, 0] = 500
    # without these samples, which BatchNorm's absence makes all alike, nothing would be left
    both = [
        centred_db(gru(tmp_path / name, f"[quantize]\ninput_offsets = {o.ravel().tolist()}\n"))
        for name, o in (("a", offsets), ("b", same))
    ]
    assert abs(both[0] - both[1]) < 6 and min(both) > 15


@pytest.mark.parametrize("given", ["[nan, 1, 2]", "inf", "true", '"mean"', "[]", '["a", "b"]'])
def test_what_is_no_number_is_refused(given, tmp_path):
    recipe = linear(tmp_path, f"[quantize]\ninput_offsets = {given}\n")
    with pytest.raises(RecipeError, match='quantize.input_offsets: .*"auto", a finite number, or'):
        read_recipe(recipe)


def test_another_number_of_offsets_is_refused(tmp_path):
    recipe = linear(tmp_path, "[quantize]\ninput_offsets = [1.0, 2.0]\n")
    done = bramcast("pack", recipe, "-o", tmp_path / "bundle")
    assert done.returncode == 2 and not (tmp_path / "bundle").exists()
    assert "input_offsets: 2 numbers, the network has 3 input features" in done.stderr


@pytest.mark.parametrize("x_goes, signed", [(298.0, True), (299.0, False)])
def test_the_sign_is_that_of_what_is_left(x_goes, signed, tmp_path):
    recipe = linear(tmp_path, "[quantize]\ninput_offsets = 299\n", 0.0)
    seen = 300 + np.abs(MOVES).astype(np.float32)
    np.savez(tmp_path / "inputs.npz", x=np.full((1, 3), x_goes), x_cal=np.tile(seen, (8, 1)))
    assert packed_in(recipe, 1).manifest.input.format.signed == signed


def test_an_unsigned_format_by_hand_must_hold_what_is_left(tmp_path):
    extra = '[quantize]\ninput = "UQ9.-1"\ninput_offsets = 300\n'
    with pytest.raises(RecipeError, match="go down to -0.5: write Q8.-1"):
        pack(read_recipe(linear(tmp_path, extra, np.full(3, 300.0))), tmp_path / "bundle")


def test_a_manifest_with_too_few_is_refused(tmp_path):
    packed_in(linear(tmp_path, "[quantize]\ninput_offsets = 300\n"))
    path = tmp_path / "bundle" / "manifest.json"
    document = json.loads(path.read_text())
    document["input"]["offsets"].pop()
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="input: offsets: 2, but c has 3"):
        load(tmp_path / "bundle")
    document["input"]["offsets"] = [1.0, 2.0, float("nan")]
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="input.offsets.2"):
        load(tmp_path / "bundle")


def test_pack_names_the_line_where_offsets_hurt(tmp_path):
    done = bramcast("pack", sensors(tmp_path), "-o", tmp_path / "bundle")
    assert done.returncode == 0
    assert "8 of 8 features stay far from zero" in done.stderr
    assert 'set quantize.input_offsets = "auto"' in done.stderr
    assert read_manifest(tmp_path / "bundle").input.offsets == []
    done = bramcast("pack", sensors(tmp_path, AUTO), "-o", tmp_path / "bundle")
    assert "far from zero" not in done.stderr
    assert "input Q2.5, less an offset for each feature\n" in done.stdout


@pytest.mark.parametrize("case", ["a coarse format", "exponents"])
def test_it_is_named_with_formats_by_hand(case, tmp_path):
    if case == "exponents":
        recipe = sensors(tmp_path, f"[quantize]\ninput_exponents = {[4] * 8}\n")
    else:  # eighths, which a format of 8 bits could hold
        x = 20 + np.random.default_rng(0).integers(-8, 9, size=(64, 3)) / 8
        recipe = model(tmp_path, LINEAR, x, '[quantize]\ninput = "UQ8.0"\n')
    assert 'input_offsets = "auto"' in packed_in(recipe).notes[-1]


def test_uneven_features_need_exponents_as_well(tmp_path):
    x = np.random.default_rng(0).normal(size=(256, 3)) * [1, 200, 200] + [3000, 0, 0]

    def important(state):
        state["0.weight"][:, 0] *= 200

    one = "[quantize]\ninput_planes = 1\n"
    notes = packed_in(model(tmp_path / "a", LINEAR, x, one, important)).notes
    (note,) = [n for n in notes if "far from zero" in n]
    assert note.startswith("input: 1 of 3 features stay far from zero (feature 0: 299")
    assert note.endswith('input_offsets = "auto" and quantize.input_exponents = "auto"')
    assert packed_in(model(tmp_path / "b", LINEAR, x, BOTH, important)).notes == ()


def test_features_that_hardly_matter_are_not_named(tmp_path):
    x = np.random.default_rng(0).normal(size=(256, 3)) * [1, 200, 200] + [600, 0, 0]
    assert packed_in(model(tmp_path, LINEAR, x, "")).notes == ()


def test_offsets_that_would_not_help_are_not_named(tmp_path):
    x = np.random.default_rng(0).normal(size=(256, 3)) * [1, 1, 500] + [600, 0, 0]

    def important(state):
        state["0.weight"][:] = [[1e-3, 100.0, 1e-3], [1e-3, -50.0, 1e-3]]

    one = "[quantize]\ninput_planes = 1\n"
    packed = packed_in(model(tmp_path, LINEAR, x, one, important))
    assert not [n for n in packed.notes if "far from zero" in n]


@pytest.mark.parametrize("case", ["subtracted", "sixteen bits", "exact integers"])
def test_nothing_is_named_where_nothing_is_lost(case, tmp_path):
    if case == "exact integers":
        x = np.random.default_rng(0).integers(100, 128, size=(64, 3)).astype(float)
        packed = packed_in(model(tmp_path, LINEAR, x, '[quantize]\ninput = "Q7.0"\n'))
    else:
        extra = AUTO if case == "subtracted" else "[quantize]\nactivation_bits = 16\n"
        packed = packed_in(sensors(tmp_path, extra))
    assert not [n for n in packed.notes if "far from zero" in n]


def test_a_retrained_network_keeps_the_old_offsets(tmp_path):
    recipe = sensors(tmp_path, AUTO)
    pack(read_recipe(recipe), tmp_path / "old")
    state = torch.load(tmp_path / "weights.pth", weights_only=True)
    torch.manual_seed(1)
    state["1.weight"] *= 1 + 0.003 * torch.randn_like(state["1.weight"])
    torch.save(state, tmp_path / "new.pth")
    call = ("regress", tmp_path / "old", tmp_path / "new.pth", "--recipe", recipe, "--json")
    call += ("--inputs", recipe, "--keep", tmp_path / "kept")
    x = np.load(tmp_path / "inputs.npz")["x"]
    np.savez(tmp_path / "inputs.npz", x=x + np.float32(0.75))  # other samples of calibration
    done = bramcast(*call)
    assert json.loads(done.stdout)["verdict"] in ("drop-in", "undecided"), done.stdout
    kept = read_manifest(next((tmp_path / "kept").glob("*/manifest.json")).parent)
    assert kept.input.offsets == read_manifest(tmp_path / "old").input.offsets


def test_other_offsets_are_no_drop_in(tmp_path):
    for name, offsets in (("a", 300), ("b", 299.5), ("c", None)):
        extra = '[quantize]\ninput = "Q3.4"\n'
        near = np.full(3, 300.0 if offsets else 0.0)
        extra += f"input_offsets = {offsets}\n" if offsets else ""
        pack(read_recipe(linear(tmp_path / name, extra, near)), tmp_path / name / "bundle")
    a, b = (tmp_path / name / "bundle" for name in ("a", "b"))
    done = bramcast("regress", a, b, "--inputs", tmp_path / "a" / "recipe.toml", "--json")
    said = json.loads(done.stdout)
    assert said["verdict"] not in ("drop-in", None)
    assert any("input offsets [300.0, 300.0, 300.0] -> [299.5" in r for r in said["reasons"])


def test_samples_without_their_offset_are_doubted(tmp_path):
    frame = packed_in(sensors(tmp_path, AUTO)).manifest.input
    x = np.load(tmp_path / "inputs.npz")["x"]
    assert scale_doubt(x, frame) == ""
    assert scale_doubt(x - np.float32(300.0), frame).startswith("100.00 % of x is outside")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_pages_c_gives_the_same_elements(dtype, tmp_path):
    fmt = Format(8, 5, True)
    frame = Frame([3], [1, 1, 3], [3, 3, 1], fmt, exponents=[0, -1, 3], offsets=[300.0, 2.1, 0.0])
    rng = np.random.default_rng(0)
    x = np.array([300.0, 2.1, 0.0]) + rng.normal(size=(1000, 3)) * [2, 4, 0.3]
    x[:400] = np.array([300, 2, 0]) + rng.integers(-300, 300, size=(400, 3)) / 64  # many ties
    x[0, 1:] = [2.1 + 0.5, np.nextafter(0.5 / 256, 0)]
    x = x.astype(dtype)
    numbers = ", ".join(float(v).hex() for v in x.ravel())
    main = (
        f"#include <stdio.h>\n{code_block('docs/manifest.md', 'c')}\n"
        f"static const double x[] = {{{numbers}}}, o[] = {{300.0, 2.1, 0.0}};\n"
        "static const int e[] = {0, -1, 3};\n"
        "int main(void) {\n"
        "  for (int i = 0; i < 3000; ++i)\n"
        '    printf("%d\\n", element(x[i], o[i % 3], e[i % 3], 5, -128, 127));\n'
        "  return 0;\n}\n"
    )
    (tmp_path / "t.c").write_text(main)
    flags = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", "t", "t.c", "-lm"], cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "t"], capture_output=True, text=True, check=True).stdout
    assert list(map(int, said.split())) == frames_from_arrays(x, frame).ravel().tolist()


def test_the_project_for_vendors_says_what_the_sender_does(tmp_path):
    extra = "[quantize]\ninput_offsets = [300, -40, 0]\ninput_exponents = [0, 1, 0]\n"
    packed_in(linear(tmp_path, extra))
    done = bramcast("hdl", tmp_path / "bundle", "-o", tmp_path / "hdl")
    assert done.returncode == 0, done.stderr
    said = "feature c minus [300.0, -40.0, 0.0][c], then times 2 to the power of [0, 1, 0][c]"
    assert any(said in p.read_text(errors="replace") for p in (tmp_path / "hdl").iterdir())


@pytest.mark.parametrize("source", ["onnx", "exported"])
def test_other_sources_give_the_same_images(source, tmp_path):
    recipe = sensors(tmp_path, AUTO)
    wanted = files(recipe)
    module = read_model(read_recipe(recipe), (8,)).module
    x = torch.zeros(2, 8)
    if source == "onnx":
        training = torch.onnx.TrainingMode.PRESERVE  # BatchNorm stays
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (x,), str(tmp_path / "net.onnx"), dynamo=False,
                              opset_version=13, training=training)  # fmt: skip
        line = 'onnx = "net.onnx"'
    else:
        torch.export.save(torch.export.export(module, (x,)), tmp_path / "net.pt2")
        line = 'exported = "net.pt2"'
    rows = recipe.read_text().splitlines()
    kept = [row for row in rows if not row.startswith(("python", "checkpoint"))]
    recipe.write_text("\n".join([kept[0], line, *kept[1:]]) + "\n")
    assert files(recipe) == wanted
    assert read_manifest(tmp_path / "bundle").input.offsets == [300.0] * 8
