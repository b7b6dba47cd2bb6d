# SPDX-License-Identifier: Apache-2.0
"""Packed networks compute what PyTorch computes, and golden what the quantized graph computes."""

import re

import networks
import numpy as np
import pytest
import torch
from support import MODELS, golden_arrays, in_all, model_recipe, text_recipe, write_recipe

from bramcast.golden.frames import arrays_from_beats, frames_from_arrays
from bramcast.golden.load import load
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.bundle.program import Nest
from bramcast.pack.graph.ops import Weighted
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.run import execute
from bramcast.pack.run.calibrate import frame_values
from bramcast.sim.regress.agree import compare_with_graph

CORES = {"16x8": (16, 8, 1, 1), "1x8": (1, 8, 1, 1), "64x8": (64, 8, 1, 1),
         "4x16": (4, 16, 1, 1), "16x8 4 taps": (16, 8, 4, 1), "2x16 8 taps": (2, 16, 8, 1),
         "8x8 2 tiles": (8, 8, 1, 2), "4x8 2 taps 4 tiles": (4, 8, 2, 4),
         "2x16 4 taps 8 tiles": (2, 16, 4, 8)}  # fmt: skip
# These always run; `make test-all` and CI run all.
FEW = ("4x16", "16x8 4 taps", "4x8 2 taps 4 tiles")


def silent(what, done, of):
    pass


@pytest.mark.parametrize("core", [in_all(c, when=c not in FEW) for c in CORES])
@pytest.mark.parametrize("name", networks.SHAPES)
def test_folded_graph_equals_pytorch_and_golden_equals_the_quantized_graph(name, core, tmp_path):
    lanes, bits, taps, tiles = CORES[core]
    extra = f"[core]\nlanes = {lanes}\ntaps = {taps}\ntiles = {tiles}\n"
    extra += f"[quantize]\nactivation_bits = {bits}\n"
    bundle = tmp_path / "bundle"
    packed = pack(read_recipe(write_recipe(tmp_path, name, extra)), bundle)
    with torch.no_grad():
        want = networks.build(name)(torch.from_numpy(packed.inputs.x)).numpy()
    frame = frame_values(packed.graph, packed.inputs.x, packed.planes)
    *_, last = execute.run(packed.graph, frame, execute.real_compute)
    got = execute.output_array(packed.graph, [last.result])
    got = execute.with_softmax(packed.graph, torch.from_numpy(got)).numpy()  # as forward() has it
    # Two planes round the input to about 11 bits; otherwise only float32 against float64 differs.
    tolerance = 1e-5 if packed.planes is None else 2e-2
    assert np.abs(got - want).max() <= tolerance * np.abs(want).max()
    agreement = compare_with_graph(packed, bundle, silent)
    assert agreement.elements > 0 and agreement.mismatches == 0, agreement.text
    machine = load(bundle)
    beats = machine.run(frames_from_arrays(packed.inputs.x, machine.manifest.input)).beats
    integers, real = arrays_from_beats(beats, machine)
    assert integers.shape == want.shape
    real = execute.with_softmax(packed.graph, torch.from_numpy(real)).numpy()
    noise = ((real - want) ** 2).sum() / (want**2).sum()
    assert 10 * np.log10(noise) < -25, "less than 25 dB between signal and quantization noise"


@pytest.mark.slow
@pytest.mark.parametrize("taps", [2, 4, 8])
@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16, 32, 64])
def test_every_core_computes_the_quantized_graph(lanes, taps, tmp_path):
    for name in networks.SHAPES:
        extra = f"[core]\nlanes = {lanes}\ntaps = {taps}\n"
        packed = pack(read_recipe(write_recipe(tmp_path, name, extra)), tmp_path / "bundle")
        agreement = compare_with_graph(packed, tmp_path / "bundle", silent)
        assert agreement.mismatches == 0, f"{name}: {agreement.text}"


def test_what_copies_in_any_order_cost_is_said(tmp_path):
    packed = pack(read_recipe(write_recipe(tmp_path, "AnyOrder")), tmp_path / "bundle")
    (note,) = [note for note in packed.notes if "no steps over y, x and channels" in note]
    layers = packed.manifest.layers
    copies = [i for i, layer in enumerate(layers) if layer.op == "rearrange"]
    nests = sum(nest.layer in copies for nest in packed.manifest.nests)
    assert nests > 2 and f"copies in {nests} nests" in note and "'third'" in note
    spent, all_cycles = (
        int(n.replace(",", "")) for n in re.findall(r"([\d,]+)(?: of| cycles)", note)
    )
    taps = sum(cycles for name, cycles in tap_cycles(packed).items() if ".moved" in name)
    assert taps < spent < taps + 50 * nests
    machine = load(tmp_path / "bundle")
    assert spent < all_cycles == predict(machine.program, machine.core).total


@pytest.mark.slow
@pytest.mark.parametrize("lanes, taps", [(1, 1), (1, 8), (8, 2), (16, 1), (32, 8), (64, 4)])
@pytest.mark.parametrize("tiles", [2, 4, 8])
def test_every_number_of_tiles_computes_the_quantized_graph(tiles, lanes, taps, tmp_path):
    for name in networks.SHAPES:
        extra = f"[core]\nlanes = {lanes}\ntaps = {taps}\ntiles = {tiles}\n"
        packed = pack(read_recipe(write_recipe(tmp_path, name, extra)), tmp_path / "bundle")
        agreement = compare_with_graph(packed, tmp_path / "bundle", silent)
        assert agreement.mismatches == 0, f"{name}: {agreement.text}"


TILED = (
    "VggCeil",
    "Averages",
    "SignedUnsignedAdd",
    "UnalignedConcat",
    "Grouped",
    "Repeats",
    "GruNet",
)


@pytest.mark.parametrize("name", TILED)
def test_a_networks_integers_are_the_same_with_any_number_of_tiles(name, tmp_path):
    found, strips = [], set()
    for tiles in (1, 2, 4, 8):
        extra = f"[core]\nlanes = 8\ntiles = {tiles}\n"
        packed = pack(read_recipe(write_recipe(tmp_path, name, extra)), tmp_path / "bundle")
        found.append(golden_arrays(tmp_path / "bundle", packed.inputs.x)[0])
        strips.add(any(isinstance(d, Nest) and d.strips for d in packed.descriptors))
        np.testing.assert_array_equal(found[-1], found[0])
    assert strips == ({False} if name == "GruNet" else {False, True})


def test_products_are_in_no_strips_where_tiles_share_multipliers(tmp_path):
    found, strips = [], []
    for pairs in ("false", "true"):
        extra = f"[core]\nlanes = 4\ntaps = 2\ntiles = 4\npairs = {pairs}\n"
        recipe = write_recipe(tmp_path, "TensorProducts", extra)
        packed = pack(read_recipe(recipe), tmp_path / "bundle")
        found.append(golden_arrays(tmp_path / "bundle", packed.inputs.x)[0])
        products = [d for d in packed.descriptors if isinstance(d, Nest) and d.product]
        strips.append(any(d.strips for d in products))
    np.testing.assert_array_equal(*found)
    assert strips == [True, False]


def tap_cycles(packed):
    """Cycles that the taps of all layers take, by layer; nothing drains slower."""
    cycles = {}
    for lowered, nest in zip(packed.program.nests, packed.descriptors[1:], strict=True):
        cycles[lowered.op.name] = cycles.get(lowered.op.name, 0) + nest.pixels * nest.taps
    return cycles


def test_a_window_of_the_frame_is_read_in_blocks_along_its_rows(tmp_path):
    # Windows of 4 that start at 2 * ox - 1; behind one zero every other one is a single block.
    extra = "[core]\nlanes = 64\ntaps = 4\nrq = 8\n"
    packed = pack(
        read_recipe(model_recipe(tmp_path, "kws_dscnn_mlperf", extra=extra)), tmp_path / "b"
    )
    assert compare_with_graph(packed, tmp_path / "b", silent, 20).mismatches == 0
    assert packed.descriptors[0].lead == 1
    cycles = tap_cycles(packed)
    assert cycles["stem"] == 25 * 10 * (3 * 1 + 2 * 2) == 1750
    assert sum(cycles.values()) == 1750 + 4 * 125 * (9 + 16) + 125 + 16
    assert packed.manifest.macs / 256 / sum(cycles.values()) > 0.72


def test_phases_of_a_layer_share_its_pixels_out(tmp_path):
    extra = "[core]\nlanes = 8\ntaps = 4\n"
    packed = pack(read_recipe(write_recipe(tmp_path, "StridedLast", extra)), tmp_path / "bundle")
    pixels = np.zeros((5, 7), int)
    for info, nest in zip(packed.manifest.nests, packed.descriptors[1:], strict=True):
        (y, x), (step_y, step_x) = info.origin, info.stride
        _, height, width = nest.counts[:3]
        pixels[y : y + height * step_y : step_y, x : x + width * step_x : step_x] += 1
        assert nest.stream and nest.last == (nest is packed.descriptors[-1])
        assert nest.act_base % 4 == 0 and all(step % 4 == 0 for step in nest.act_steps)
    assert len(packed.manifest.nests) > 1 and (pixels == 1).all()


NARROW = {
    "Mlp96": {"0": 4, "2": 2, "4": 4},
    "VggCeil": {"features.0": 4, "features.4": 2},
    "Grouped": {"tiny": 4, "wide": 2, "multi": 4},
    "UnalignedConcat": {"depthwise": 2, "c": 4},
}


@pytest.mark.parametrize("taps", [1, 4])
@pytest.mark.parametrize("name", NARROW)
def test_narrow_weights_take_a_half_or_a_quarter_of_the_words(name, taps, tmp_path):
    core = f"[core]\ntaps = {taps}\n"
    layers = "".join(f'"{k}" = {{ weight_bits = {v} }}\n' for k, v in NARROW[name].items())
    full = pack(read_recipe(write_recipe(tmp_path / "a", name, core)), tmp_path / "full")
    recipe = write_recipe(tmp_path / "b", name, f"{core}[quantize.layers]\n{layers}")
    packed = pack(read_recipe(recipe), tmp_path / "narrow")
    assert compare_with_graph(packed, tmp_path / "narrow", silent).mismatches == 0
    words = {n.op.name: 0 for n in full.program.nests}
    for nest in full.program.nests:
        if isinstance(nest.op, Weighted):
            words[nest.op.name] += nest.nest.counts[0] * nest.nest.taps
    saved = sum(words[k] - -(-words[k] * v // 8) for k, v in NARROW[name].items())
    used = [p.manifest.image("weights").used for p in (full, packed)]
    # A nest's last word may stay partly empty; grouped layers have several nests.
    assert 0 <= used[1] - (used[0] - saved) <= len(packed.program.nests)
    assert packed.manifest.core.narrow and not full.manifest.core.narrow
    for op, bits in NARROW[name].items():
        weight = packed.quantized[op].weight
        assert weight.min() >= -(1 << (bits - 1)) and weight.max() < 1 << (bits - 1)


# Accuracy of the float network and how many points below it 8 bits may be.
REAL = {
    "kws_dscnn_mlperf": (0.9469, 0.5),
    "kws_mlp_dnn_m_arm": (0.8292, 0.5),
    "kws_cnn_m_arm": (0.8719, 0.5),
    "mnist_lenet": (0.9880, 0.5),
    "resnet8_mlperf": (0.7520, 0.5),
    "vww_mobilenet_mlperf": (0.7586, 1.73),  # 58 pictures: one is 1.72 points
    "kws_gru_s_arm": (0.8896, 1.0),
}


LONG = ("kws_gru_s_arm", "vww_mobilenet_mlperf", "kws_cnn_m_arm", "resnet8_mlperf")


@pytest.mark.parametrize("name", [in_all(name, when=name in LONG) for name in REAL])
def test_real_network_keeps_its_accuracy_and_golden_equals_the_graph_on_all_inputs(name, tmp_path):
    packed = pack(read_recipe(model_recipe(tmp_path, name)), tmp_path / "bundle")
    accuracy, points = REAL[name]
    assert packed.manifest.float_accuracy == pytest.approx(accuracy, abs=1e-4)
    agreement = compare_with_graph(packed, tmp_path / "bundle", silent)
    assert agreement.samples == len(packed.inputs.x) and agreement.mismatches == 0, agreement.text
    machine = load(tmp_path / "bundle")
    frames = frames_from_arrays(packed.inputs.x, machine.manifest.input)
    classes = arrays_from_beats(machine.run(frames).beats, machine)[0].argmax(axis=1)
    assert (classes == packed.inputs.y).mean() >= accuracy - points / 100


def test_autoencoder_keeps_its_reconstruction_error(tmp_path):
    packed = pack(read_recipe(model_recipe(tmp_path, "ad01_autoencoder_mlperf")), tmp_path / "b")
    assert compare_with_graph(packed, tmp_path / "b", silent).mismatches == 0
    machine = load(tmp_path / "b")
    frames = frames_from_arrays(packed.inputs.x, machine.manifest.input)
    _, real = arrays_from_beats(machine.run(frames).beats, machine)
    error = ((real - packed.inputs.x) ** 2).mean()
    assert error == pytest.approx(9.4913, rel=0.03)  # the README's figure for the float network


def test_folded_real_networks_give_the_original_frameworks_outputs(tmp_path):
    for name in ("kws_dscnn_mlperf", "resnet8_mlperf", "vww_mobilenet_mlperf", "mnist_lenet"):
        extra = "[quantize]\ninput_planes = 1\nrefine = false\n"
        packed = pack(read_recipe(model_recipe(tmp_path, name, extra=extra)), tmp_path / name)
        expected = np.load(MODELS / name / "expected.npz")["out"][:20]
        frame = execute.input_tensor(packed.graph, packed.inputs.x[:20])
        *_, last = execute.run(packed.graph, frame, execute.real_compute)
        got = execute.output_array(packed.graph, [last.result])
        assert np.abs(got - expected).max() < 1e-4


@pytest.mark.parametrize("size, named", [(1.0, False), (30.0, False), (1e6, True)])
def test_features_that_differ_too_much_for_two_planes_are_named(size, named, tmp_path):
    """As tables of measurements have them, with weights that make up for it."""
    (tmp_path / "model.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Linear(2, 2)\n"
    )
    (tmp_path / "recipe.toml").write_text(
        '[model]\npython = "model.py:build"\ncheckpoint = "w.pth"\ninputs = "inputs.npz"\n'
    )
    x = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    x[:, 0] *= size
    np.savez(tmp_path / "inputs.npz", x=x)
    weight = torch.tensor([[1 / size, 1.0], [-1 / size, 1.0]])
    torch.save({"weight": weight, "bias": torch.zeros(2)}, tmp_path / "w.pth")
    notes = pack(read_recipe(tmp_path / "recipe.toml"), tmp_path / "bundle").notes
    assert any("differ too much in size" in note for note in notes) == named


def test_an_input_that_needs_more_bits_and_cant_have_them_is_named(tmp_path):
    """Features of very different size in front of a depthwise layer."""
    (tmp_path / "model.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(2, 2, 1, groups=2), nn.Flatten(), nn.Linear(8, 3))\n"
    )
    (tmp_path / "recipe.toml").write_text(
        '[model]\npython = "model.py:build"\ncheckpoint = "w.pth"\ninputs = "inputs.npz"\n'
    )
    rng = np.random.default_rng(0)
    for size in (1.0, 300.0):
        x = rng.normal(size=(24, 2, 2, 2)).astype(np.float32)
        x[:, 0] *= size
        np.savez(tmp_path / "inputs.npz", x=x)
        torch.save(
            {
                "0.weight": torch.tensor([1 / size, 1.0]).reshape(2, 1, 1, 1),
                "0.bias": torch.zeros(2),
                "2.weight": torch.from_numpy(rng.normal(size=(3, 8)).astype(np.float32)),
                "2.bias": torch.zeros(3),
            },
            tmp_path / "w.pth",
        )
        notes = pack(read_recipe(tmp_path / "recipe.toml"), tmp_path / "bundle").notes
        if size == 1.0:
            assert not notes
    (note,) = (note for note in notes if "8 bits alone" in note)
    assert note.startswith("input: ") and "activation_bits = 16" in note
    assert notes[-1].startswith('what may help: quantize.input_exponents = "auto" (')


BESIDE = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv1d(2, 6, 1, groups=2), nn.Linear(30, 4), nn.Linear(34, 3)

    def forward(self, x):
        x = self.a(x).flatten(1)
        return self.c(torch.cat([self.b(x), x], 1))
"""


def test_a_linear_layer_reads_nothing_of_its_results_beside_its_operand(tmp_path):
    """Its operand starts behind them, in no whole number of its pixels."""
    rng = np.random.default_rng(0)
    shapes = {"a.weight": (6, 1, 1), "a.bias": (6,), "b.weight": (4, 30), "b.bias": (4,),
              "c.weight": (3, 34), "c.bias": (3,)}  # fmt: skip
    state = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    recipe = text_recipe(
        tmp_path, BESIDE, rng.normal(size=(20, 2, 5)), state, "[core]\nlanes = 8\n"
    )
    packed = pack(read_recipe(recipe), tmp_path / "b")
    assert compare_with_graph(packed, tmp_path / "b", silent).mismatches == 0
