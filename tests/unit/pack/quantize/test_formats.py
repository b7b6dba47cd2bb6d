# SPDX-License-Identifier: Apache-2.0
"""Formats by hand are obeyed or refused, and how the others are chosen."""

import json

import networks
import numpy as np
import pytest
import torch
from support import DIGITS, bramcast, text_recipe, write_recipe

from bramcast.golden.load import load
from bramcast.pack.bundle.errors import RangeError, RecipeError, UserError
from bramcast.pack.bundle.qformat import QFormat, parse_format
from bramcast.pack.graph.ops import MaxPool
from bramcast.pack.pipeline import pack
from bramcast.pack.quantize.formats import _joining
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.sim.regress.agree import compare_with_graph


def silent(what, done, of):
    pass


@pytest.mark.parametrize(
    "text, bits, frac, signed",
    [("Q7.0", 8, 0, True), ("UQ8.0", 8, 0, False), ("Q-2.9", 8, 9, True), ("UQ10.-2", 8, -2, False),
     ("Q31.0", 32, 0, True), ("UQ-1.9", 8, 9, False)],
)  # fmt: skip
def test_a_format_is_read_as_it_is_printed(text, bits, frac, signed):
    assert parse_format(text) == QFormat(bits, frac, signed)
    assert str(parse_format(text)) == text


@pytest.mark.parametrize("text", ["", "Q", "Q1", "q1.6", "Q1.6 ", "Q+1.6", "SQ1.6", "Q1,6", "Q0.0"])
def test_what_is_no_format_is_refused(text):
    with pytest.raises(ValueError, match=r"is no format: write Qm.n|bits \(the sign counts\)"):
        parse_format(text)


def test_a_format_has_as_many_bits_as_are_asked_for():
    assert parse_format("Q31.16").bits == parse_format("Q31.16", 48).bits == 48
    with pytest.raises(ValueError, match="has 33 bits .* 2 to 32"):
        parse_format("Q32.0", 32)


def recipe_of(folder, name, quantize, samples=12):
    return read_recipe(write_recipe(folder, name, f"[quantize]\n{quantize}", samples))


def packed_by(folder, name, quantize):
    packed = pack(recipe_of(folder, name, quantize), folder / "b")
    assert compare_with_graph(packed, folder / "b", silent).mismatches == 0
    return packed


def layers(**sections):
    """[quantize.layers] with one line for each layer; "__" stands for a dot in its name."""
    names = {key: key.strip("_").replace("__", ".") for key in sections}
    lines = [f'"{names[key]}" = {{ {keys} }}\n' for key, keys in sections.items()]
    return "[quantize.layers]\n" + "".join(lines)


def images(bundle):
    return [p.read_bytes() for p in sorted(bundle.glob("*.mem"))]


# --- obeyed ------------------------------------------------------------------------------------


def test_every_format_by_hand_is_what_the_bundle_has(tmp_path):
    packed = packed_by(
        tmp_path, "Mlp96", 'input = "Q4.3"\n' + layers(
            _0='weight = "Q0.7", output = "UQ6.2"',
            _2='weight_frac = 6, output = "Q5.2"', _4='weight = "Q1.6"'),
    )  # fmt: skip
    manifest = load(tmp_path / "b").manifest
    assert str(manifest.input.format.q) == "Q4.3" and manifest.input.planes == 1
    formats = {layer.name: layer.format.q for layer in manifest.layers}
    assert str(formats["0"]) == "UQ6.2"
    assert str(formats["2"]) == "Q5.2"  # signed, although behind a ReLU
    shift = {name: set(q.shift.tolist()) for name, q in packed.quantized.items()}
    assert shift["0"] == {7 + 3 - 2} and shift["2"] == {6 + 2 - 2}
    assert formats["4"] == QFormat(32, 6 + 2)
    weight = networks.build("Mlp96", 0).state_dict()["0.weight"].double().numpy()
    want = np.clip(np.floor(weight * 128 + 0.5), -128, 127)
    np.testing.assert_array_equal(packed.quantized["0"].weight[:, :, 0, 0], want)


def test_each_channel_can_have_its_own_fraction(tmp_path):
    given = [5 + c % 3 for c in range(networks.build("Mlp96", 0)[0].out_features)]
    packed = packed_by(tmp_path, "Mlp96", 'input = "Q4.3"\n' + layers(_0=f"weight_frac = {given}"))
    q = packed.quantized["0"]
    assert [int(s) + q.out.frac - 3 for s in q.shift] == given


def test_weights_of_a_tensor_share_a_fraction_if_asked(tmp_path):
    apart = packed_by(tmp_path / "a", "VggCeil", "")
    packed = packed_by(tmp_path / "b", "VggCeil", 'weight_formats = "tensor"')
    assert any(len(set(q.shift.tolist())) > 1 for q in apart.quantized.values())
    assert all(len(set(q.shift.tolist())) == 1 for q in packed.quantized.values())


def test_a_narrow_weight_format_makes_narrow_weights(tmp_path):
    packed = packed_by(tmp_path, "Mlp96", layers(_0='weight = "Q-1.4"'))
    assert packed.quantized["0"].weight_bits == 4 and packed.manifest.core.narrow


def test_input_by_hand_in_two_planes(tmp_path):
    given = 'input = "Q3.4"\ninput_planes = 2\nplane_shift = 5\n'
    packed = packed_by(tmp_path, "Mlp96", given)
    frame = packed.manifest.input
    assert (str(frame.format.q), frame.planes, frame.plane_shift) == ("Q3.4", 2, 5)


def whole_recipe(packed):
    """Every format of a bundle as the lines of a recipe."""
    frame = packed.manifest.input
    lines = [f'input = "{frame.format.q}"']
    if frame.planes == 2:
        lines += ["input_planes = 2", f"plane_shift = {frame.plane_shift}"]
    lines.append("[quantize.layers]")
    for op in packed.graph.ops[: None if packed.graph.ops[-1].activation else -1]:
        keys = [f'output = "{packed.formats.of(op.out)}"']
        if op.activation is not None and not isinstance(op, MaxPool):
            keys.append(f'table_input = "{packed.formats.clamped(op)}"')
        lines.append(f'"{op.name}" = {{ {", ".join(keys)} }}')
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", [*networks.SHAPES, "two planes"])
def test_all_formats_by_hand_give_the_same_images_whatever_the_calibration(name, tmp_path):
    planes = "input_planes = 2\n" if name == "two planes" else ""
    name = "Mlp96" if planes else name
    first = packed_by(tmp_path / "a", name, planes)
    again = whole_recipe(first)
    packed = packed_by(tmp_path / "b", name, f'calibration = "max"\n{again}')
    assert images(tmp_path / "a" / "b") == images(tmp_path / "b" / "b")
    assert whole_recipe(packed) == again


def test_by_hand_with_refine_keeps_what_is_given(tmp_path):
    given = 'refine = true\ninput = "Q4.3"\n' + layers(_0='output = "UQ6.2"', _2='output = "UQ7.1"')
    packed = pack(recipe_of(tmp_path, "Mlp96", given, samples=20), tmp_path / "b")
    formats = [str(layer.format.q) for layer in packed.manifest.layers[:2]]
    assert formats == ["UQ6.2", "UQ7.1"] and str(packed.manifest.input.format.q) == "Q4.3"


# --- how the others are chosen -----------------------------------------------------------------


def chosen(folder, values, quantize):
    """The format of an input with such values."""
    write_recipe(folder, "Mlp96")
    x = np.zeros((8, *networks.SHAPES["Mlp96"]), np.float32).reshape(8, -1)
    x.ravel()[: len(values)] = values
    np.savez(folder / "inputs.npz", x=x.reshape(8, *networks.SHAPES["Mlp96"]))
    text = (folder / "recipe.toml").read_text() + f"[quantize]\ninput_planes = 1\n{quantize}"
    (folder / "recipe.toml").write_text(text)
    packed = pack(read_recipe(folder / "recipe.toml"), folder / "b")
    return str(packed.manifest.input.format.q)


def test_calibration_chooses_the_range(tmp_path):
    """750 of 768 values fill -0.9..0.9, one reaches 100."""
    values = np.append(np.tile([0.9, -0.9, 0.5], 250), 100.0)
    assert chosen(tmp_path / "a", values, 'calibration = "max"') == "Q7.0"
    assert chosen(tmp_path / "b", values, 'calibration = "percentile"\npercentile = 99.0') == "Q0.7"
    assert chosen(tmp_path / "c", values, 'calibration = "percentile"\npercentile = 100') == "Q7.0"
    # 0.9 misses by 0.1 at most in Q7.0; saturating 100 costs thousands.
    assert chosen(tmp_path / "d", values, "") == "Q7.0"


# --- refused -----------------------------------------------------------------------------------

KEYS = [
    ('input = "Q1.7"', "quantize.input: Q1.7 has 9 bits"),
    ('input = "Q7"', "quantize.input: 'Q7' is no format"),
    ('activation_bits = 16\ninput = "Q3.4"', "activation_bits is 16"),
    ('input = "Q3.4"\ninput_planes = 2', "two planes by hand need plane_shift"),
    ('input = "UQ4.4"\ninput_planes = 2\nplane_shift = 4', "two planes are signed"),
    ("plane_shift = 4", "plane_shift: only with input and input_planes = 2"),
    ("percentile = 99", 'percentile: only with calibration = "percentile"'),
    ('calibration = "percentile"\npercentile = 0', "greater than 0"),
    ('calibration = "mean"', "quantize.calibration"),
    (layers(_0='weight = "Q1.6", weight_frac = 6'), 'layers."0".weight and weight_frac are both'),
    (layers(_0='weight = "Q1.6", weight_bits = 4'), "Q1.6 has 8 bits .* weight_bits is 4"),
    (layers(_0='weight = "Q1.4"'), "Q1.4 has 6 bits .* weight_bits is 2 or 4 or 8"),
    (layers(_0='weight = "UQ2.6"'), "weights are signed: write Q1.6"),
    (layers(_0='output = "Q1.7"'), 'layers."0".output: Q1.7 has 9 bits'),
    (layers(_0='table_input = "Q"'), "layers.\"0\".table_input: 'Q' is no format"),
]


@pytest.mark.parametrize("quantize, message", KEYS)
def test_a_wrong_key_is_refused(quantize, message, tmp_path):
    with pytest.raises(RecipeError, match=message):
        recipe_of(tmp_path, "Mlp96", quantize)


NETWORK = [
    (
        "Mlp96",
        layers(nobody='output = "Q7.0"'),
        "nobody.: no such layer; there are 0, 2, 4",
    ),
    ("VggCeil", layers(features__3="weight_frac = 3"), "no such layer with weights; there are fea"),
    ("Mlp96", layers(_4='output = "Q7.0"'), "last layer's results leave at 32 bits"),
    ("Mlp96", layers(_0='table_input = "Q7.0"'), "'0' has no activation that is a table"),
    ("Mlp96", layers(_0="weight_frac = [1, 2]"), r"weight_frac: 2 numbers for \d+ output channels"),
    ("Mlp96", 'input = "UQ4.4"', "go down to -.*: write Q3.4"),
]


@pytest.mark.parametrize("name, quantize, message", NETWORK)
def test_a_format_that_the_network_can_not_have_is_refused(name, quantize, message, tmp_path):
    with pytest.raises(RecipeError, match=message):
        pack(recipe_of(tmp_path, name, quantize), tmp_path / "b")
    assert not (tmp_path / "b").exists()


MODEL = """
import torch
import torch.nn as nn
import torch.nn.functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 1)
        self.fc = nn.Linear(8 * 16, 3)

    def forward(self, x):
        a, b = F.relu(self.a(x)), self.b(x)
        {joined}
        return self.fc(x.flatten(1))
"""
CONCAT = "x = torch.cat([a, b], 1)"
BOTH = "x = torch.cat([a, F.relu(b)], 1)"
ADD = "x = F.relu(a + b); x = torch.cat([x, x], 1)"
POOL = "x = F.max_pool2d(torch.cat([a, a], 1), 1)"
FOLDED = "x = torch.sigmoid(b); x = torch.cat([x, x], 1)"
TABLE = "x = torch.cat([torch.sigmoid(a), torch.sigmoid(a)], 1)"

JOINED = [
    (CONCAT, layers(a='output = "Q3.4"', b='output = "Q2.5"'), RecipeError, "Q2.5 for 'b.*for 'a'"),
    (BOTH, layers(a='output = "UQ3.5"', b='output = "Q2.5"'), RecipeError, "both are signed"),
    (
        CONCAT,
        layers(a='output = "UQ3.5"'),
        RecipeError,
        "UQ3.5 for 'a'.*can be negative: write Q2.5",
    ),
    (
        CONCAT,
        layers(b='output = "UQ4.4"'),
        RecipeError,
        "UQ4.4 for 'b', but its values.*write Q3.4",
    ),
    (
        ADD,
        layers(a='output = "Q7.0"', b='output = "Q0.7"'),
        RangeError,
        "at most 6 bits apart; the format Q0.7 .* for 'b': give it at most 6",
    ),
    (POOL, layers(a='output = "UQ4.4"', max_pool2d='output = "UQ5.3"'), RecipeError, "one format"),
    (TABLE, layers(a='output = "UQ4.4"'), None, ""),
    (FOLDED, layers(b='table_input = "Q2.5"'), None, ""),
    (FOLDED, layers(b='table_input = "UQ4.4"'), RecipeError, "table sees can be neg.*write Q3.4"),
    (
        TABLE,
        layers(a='table_input = "Q3.4"'),
        RecipeError,
        "'a' has no activation|can't be negative",
    ),
]


def model_recipe_of(folder, joined, quantize):
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    text = MODEL.format(joined=joined)
    (folder / "model.py").write_text(text)
    scope = {}
    exec(text, scope)
    torch.save(scope["Net"]().state_dict(), folder / "weights.pth")
    np.savez(folder / "inputs.npz", x=np.random.default_rng(0).normal(size=(8, 2, 4, 4)))
    (folder / "recipe.toml").write_text(
        '[model]\npython = "model.py:Net"\ncheckpoint = "weights.pth"\ninputs = "inputs.npz"\n'
        f"[quantize]\n{quantize}"
    )
    return read_recipe(folder / "recipe.toml")


@pytest.mark.parametrize("joined, quantize, error, message", JOINED)
def test_formats_that_contradict_each_other_are_refused(joined, quantize, error, message, tmp_path):
    recipe = model_recipe_of(tmp_path, joined, quantize)
    if error is None:  # the same with formats that agree
        packed = pack(recipe, tmp_path / "b")
        given = {str(packed.formats.of(op.out)) for op in packed.graph.ops}
        given |= {str(packed.formats.clamped(op)) for op in packed.graph.ops}
        assert quantize.split('"')[3] in given
        return
    with pytest.raises(error, match=message):
        pack(recipe, tmp_path / "b")


RANGES = [
    (layers(_0='weight = "Q-32.39"'), "'0', output channel 0.*need a shift of"),
    (layers(_0='weight_frac = 0, output = "UQ0.8"'), "adds up multiples of .*; the format UQ0.8"),
    (
        'input = "Q0.7"\n' + layers(_0='weight_frac = 29, output = "UQ0.8"'),
        r"below 2\*\*30",
    ),
    (layers(_4="weight_frac = [" + ", ".join("67" * 5) + ", 6, 7]"), "share one fraction length"),
]


@pytest.mark.parametrize("quantize, message", RANGES)
def test_formats_that_the_core_can_not_compute_with_are_refused(quantize, message, tmp_path):
    with pytest.raises(RangeError, match=message):
        pack(recipe_of(tmp_path, "Mlp96", quantize), tmp_path / "b")


def test_a_sum_by_hand_that_the_accumulator_can_not_hold_is_refused(tmp_path):
    """600 weights of 127 times -32768 are more than 2**31; Q0.7 is as fine as 1.0 allows."""
    torch.save({"fc.weight": torch.ones(2, 600)}, tmp_path / "weights.pth")
    np.savez(tmp_path / "inputs.npz", x=np.random.default_rng(0).normal(size=(4, 600)))
    (tmp_path / "recipe.toml").write_text(
        '[model]\ncheckpoint = "weights.pth"\ninputs = "inputs.npz"\n[quantize]\n'
        'activation_bits = 16\n[quantize.layers]\nfc = { weight = "Q0.7" }\n'
    )
    with pytest.raises(RangeError, match=f"'fc'.*add up to {600 * 127 * 32768}, the accumulator"):
        pack(read_recipe(tmp_path / "recipe.toml"), tmp_path / "b")


def test_saturating_weights_and_inputs_are_said_on_standard_error(tmp_path):
    given = 'input = "Q-2.9"\n' + layers(_0='weight = "Q-5.12"')
    path = write_recipe(tmp_path, "Mlp96", f"[quantize]\n{given}")
    weight = networks.build("Mlp96", 0).state_dict()["0.weight"].double().numpy()
    nearest = np.floor(weight * 4096 + 0.5)
    cut = int(((nearest > 127) | (nearest < -128)).sum())
    done = bramcast("pack", path, "-o", tmp_path / "b", "--json")
    document = json.loads(done.stdout)
    notes = document["notes"]
    assert document["layers"][0]["weight_formats"] == ["Q-5.12"]
    assert cut > 10 and f"layer '0': {cut:,} of {weight.size:,} weights saturate" in notes[1]
    assert notes[0].startswith("input: ") and "saturate in Q-2.9" in notes[0]
    assert all(f"bramcast: {note}" in done.stderr.replace("\n", " ") for note in notes)


def test_the_examples_have_nothing_to_say(tmp_path):
    packed = pack(read_recipe(DIGITS / "mlp.toml"), tmp_path / "b")
    assert packed.notes == ()
    assert issubclass(RecipeError, UserError)


GATE_ELSEWHERE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.small, self.large = nn.Linear(8, 6, bias=False), nn.Linear(8, 6, bias=False)
        self.behind, self.gate = nn.Linear(12, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.out = nn.Linear(8, 3, bias=False)

    def forward(self, x):
        both = torch.cat([torch.relu(self.small(x)), torch.relu(self.large(x))], 1)
        return self.out(torch.relu(self.behind(both)) * torch.sigmoid(self.gate(x)))
"""


@pytest.mark.parametrize("bits", [2, 8])
def test_a_gate_elsewhere_leaves_the_formats_of_a_concat_alone(bits, tmp_path):
    rng = np.random.default_rng(3)
    state = {
        "small.weight": rng.normal(size=(6, 8)) / 8,
        "large.weight": rng.normal(size=(6, 8)) * 4,
        "behind.weight": rng.integers(-1, 2, (8, 12)).astype(float),
        "gate.weight": rng.normal(size=(8, 8)) / 3,
        "out.weight": rng.normal(size=(3, 8)),
    }
    x = rng.normal(size=(64, 8))
    plain = f'[quantize]\nrefine = false\n[quantize.layers."behind"]\nweight_bits = {bits}\n'
    recipe = text_recipe(tmp_path, GATE_ELSEWHERE, x, state, plain)
    packed = pack(read_recipe(recipe), tmp_path / "b")
    fmt = {layer.name: layer.format for layer in packed.manifest.layers}
    # Weights of 8 bits that make a factor can make up for another format, those of 2 bits can't.
    assert (fmt["small"] == fmt["large"]) == (bits == 2)
    assert packed.manifest.core.gates


def test_cells_alone_join_states_and_inputs(tmp_path):
    packed = pack(recipe_of(tmp_path, "HandGru", "input_planes = 1"), tmp_path / "b")
    joins = {name.split(".")[0].split("_")[0] for name in _joining(packed.graph)}
    assert joins == {"gates", "candidate"}
    packed = pack(recipe_of(tmp_path / "c", "GruNet", "input_planes = 1"), tmp_path / "d")
    assert {"gru.l1.r_2", "fc"} <= _joining(packed.graph)  # fc reads the last state
    packed = pack(recipe_of(tmp_path / "e", "SqueezeExcite", ""), tmp_path / "f")
    assert not _joining(packed.graph)
