# SPDX-License-Identifier: Apache-2.0
"""Whole networks on the HDL core: every element of every layer equals golden, twice simulated."""

import networks
import numpy as np
import pytest
import torch
from support import COMMON_CORE, DIGITS, common_core, in_all, model_recipe, need, write_recipe

from bramcast.golden.load import load
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run.cosim import simulate

pytestmark = pytest.mark.cosim

SIMULATORS = ["icarus", "verilator"]


def on_both(*cases):
    """Each case on both simulators."""
    return [(simulator, case) for case in cases for simulator in SIMULATORS]


def mostly_on_verilator(*cases):
    """Each case on Verilator and, in `make test-all`, on Icarus."""
    return [c for case in cases for c in (("verilator", case), in_all("icarus", case))]


def check(recipe, bundle, simulator, samples):
    """Pack, simulate, and demand equality and the predicted number of cycles."""
    pack(read_recipe(recipe), bundle)
    result = simulate(bundle, read_inputs(recipe).x[:samples], simulator, seed=1)
    assert result.equal, str(result.comparison.first)
    assert result.comparison.elements > 0
    assert all(layer.elements > 0 for layer in result.comparison.layers)
    machine = load(bundle)
    assert result.comparison.cycles == predict(machine.program, machine.core).total
    return result


# Icarus takes these and, where slow tests run, all: one for each kind of nest and of time step.
ON_ICARUS = ("Mlp96", "VggCeil", "NegativeMax", "Averages", "SignedUnsignedAdd", "UnalignedConcat",
             "Grouped", "PreActivation", "NarrowPictures", "SmoothActivations", "TensorProducts",
             "GruNet", "HandLstm")  # fmt: skip


@pytest.mark.parametrize(
    "name, simulator",
    [
        pytest.param(name, simulator, marks=[pytest.mark.slow] * rare)
        for name in networks.SHAPES
        for simulator, rare in (("icarus", name not in ON_ICARUS), ("verilator", False))
        if not (simulator == "verilator" and name in ON_ICARUS)
    ]
    + [in_all(name, "verilator") for name in ON_ICARUS],
)
def test_every_layer_equals_golden(name, simulator, tmp_path):
    need(simulator)
    recipe = write_recipe(tmp_path, name, common_core(name, 16))
    check(recipe, tmp_path / "bundle", simulator, 3 if simulator == "verilator" else 1)


@pytest.mark.parametrize(
    "simulator, name",
    on_both("VggCeil", "UnalignedConcat") + mostly_on_verilator("SignedUnsignedAdd", "Slices"),
)
def test_four_lanes_of_sixteen_bits_equal_golden(name, simulator, tmp_path):
    need(simulator)
    extra = COMMON_CORE.format(lanes=4) + "[quantize]\nactivation_bits = 16\n"
    check(write_recipe(tmp_path, name, extra), tmp_path / "bundle", simulator, 2)


@pytest.mark.parametrize(
    "simulator, case", on_both(("VggCeil", 1)) + mostly_on_verilator(("Mlp96", 1), ("Mlp96", 2))
)
def test_frames_less_an_offset_equal_golden(case, simulator, tmp_path):
    """The first layer of VggCeil pads: its biases are others along the border."""
    need(simulator)
    name, planes = case
    extra = common_core(name, 16)
    extra += f'[quantize]\ninput_offsets = "auto"\ninput_planes = {planes}\n'
    recipe = write_recipe(tmp_path, name, extra, samples=32)
    x = np.load(tmp_path / "inputs.npz")["x"]
    features = np.arange(x.shape[1]).reshape(-1, *[1] * (x.ndim - 2)) % 3
    np.savez(tmp_path / "inputs.npz", x=x + np.float32(300.0) * features)
    check(recipe, tmp_path / "bundle", simulator, 3)
    frame = load(tmp_path / "bundle").manifest.input
    assert frame.planes == planes and all(frame.offsets[1::3]) and not any(frame.offsets[::3])


@pytest.mark.parametrize("simulator", [pytest.param("icarus", marks=pytest.mark.slow), "verilator"])
@pytest.mark.parametrize("name", networks.SMOOTH)
def test_tables_and_products_of_sixteen_bits_equal_golden(name, simulator, tmp_path):
    need(simulator)
    extra = common_core(name, 4) + "[quantize]\nactivation_bits = 16\n"
    check(write_recipe(tmp_path, name, extra), tmp_path / "bundle", simulator, 2)


@pytest.mark.slow
def test_a_real_gru_of_sixteen_bits_equals_golden(tmp_path):
    need("verilator")
    extra = "[quantize]\nactivation_bits = 16\n"
    recipe = model_recipe(tmp_path, "kws_gru_s_arm", extra=extra)
    assert check(recipe, tmp_path / "bundle", "verilator", 1).utilisation > 0.8


@pytest.mark.parametrize(
    "simulator, name",
    on_both("SignedUnsignedAdd") + mostly_on_verilator("VggCeil", "UnalignedConcat", "Grouped"),
)
def test_networks_without_their_dead_channels_equal_golden(name, simulator, tmp_path):
    need(simulator)
    recipe = write_recipe(tmp_path, name, common_core(name, 16))
    state = torch.load(tmp_path / "weights.pth")
    for value in state.values():
        if value.ndim > 1:
            value[::3] = 0
    torch.save(state, tmp_path / "weights.pth")
    recipe.write_text(recipe.read_text().replace("[model]", "[model]\nshrink = true"))
    check(recipe, tmp_path / "bundle", simulator, 2)


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 2, 8, 32, pytest.param(64, marks=pytest.mark.ci)])
@pytest.mark.parametrize("name", ["Mlp96", "VggCeil", "Averages", "Grouped", "UnalignedConcat"])
def test_every_number_of_lanes_equals_golden(name, lanes, tmp_path):
    need("verilator")
    extra = COMMON_CORE.format(lanes=lanes).replace("8192", "32768").replace("4096", "16384")
    check(write_recipe(tmp_path, name, extra), tmp_path / "bundle", "verilator", 2)


def with_taps(lanes, taps, name=""):
    """The common core with TAPS; layers that share their pixels out take more descriptors."""
    core = common_core(name, lanes).replace("program_depth = 1024", "program_depth = 4096")
    return core.replace("scratch_depth = 4096", "scratch_depth = 16384") + f"taps = {taps}\n"


@pytest.mark.parametrize("name", [in_all(n, when=n not in ON_ICARUS) for n in networks.SHAPES])
def test_every_layer_equals_golden_with_four_taps(name, tmp_path):
    need("verilator")
    recipe = write_recipe(tmp_path, name, with_taps(8, 4, name))
    check(recipe, tmp_path / "bundle", "verilator", 2)


@pytest.mark.parametrize("lanes, taps, bits", [(4, 2, 16), (2, 8, 8)])
@pytest.mark.parametrize("name", ["VggCeil", "UnalignedConcat", "Averages"])
def test_more_taps_equal_golden_on_icarus(name, lanes, taps, bits, tmp_path):
    need("icarus")
    extra = with_taps(lanes, taps) + f"[quantize]\nactivation_bits = {bits}\n"
    check(write_recipe(tmp_path, name, extra), tmp_path / "bundle", "icarus", 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "lanes, taps",
    [(1, 2), (1, 8), (4, 4), (16, 2), pytest.param(16, 8, marks=pytest.mark.ci), (64, 4)],
)
@pytest.mark.parametrize("name", ["Mlp96", "VggCeil", "Averages", "Grouped", "UnalignedConcat"])
def test_every_number_of_taps_equals_golden(name, lanes, taps, tmp_path):
    need("verilator")
    extra = with_taps(lanes, taps).replace("weights_depth = 8192", "weights_depth = 32768")
    check(write_recipe(tmp_path, name, extra), tmp_path / "bundle", "verilator", 2)


def with_tiles(lanes, taps, tiles, name=""):
    """The common core with TILES, some of whose layers take several descriptors."""
    core = with_taps(lanes, taps, name).replace("scratch_depth = 16384", "scratch_depth = 8192")
    return core + f"tiles = {tiles}\n"


# One for each kind of nest, some of them in strips; all others on one core, in `make test-all`.
IN_STRIPS = ("VggCeil", "Averages", "Grouped", "UnalignedConcat")


@pytest.mark.parametrize("name", [in_all(n, when=n not in IN_STRIPS) for n in networks.SHAPES])
def test_every_layer_equals_golden_with_four_tiles(name, tmp_path):
    need("verilator")
    recipe = write_recipe(tmp_path, name, with_tiles(4, 2, 4, name))
    check(recipe, tmp_path / "bundle", "verilator", 2)


@pytest.mark.parametrize(
    "name", ["UnalignedConcat", "TensorProducts", *map(in_all, ("VggCeil", "Averages", "Grouped"))]
)
def test_pairs_of_tiles_equal_golden(name, tmp_path):
    need("verilator")
    recipe = write_recipe(tmp_path, name, with_tiles(4, 2, 4, name) + "pairs = true\n")
    check(recipe, tmp_path / "bundle", "verilator", 2)


@pytest.mark.parametrize(
    "name, lanes, taps, tiles, bits",
    [
        ("NegativeMax", 2, 2, 8, 16),
        ("SignedUnsignedAdd", 4, 1, 2, 8),
        in_all("UnalignedConcat", 4, 1, 2, 8),
        in_all("TensorProducts", 4, 1, 2, 8),
    ],
)
def test_tiles_equal_golden_on_icarus(name, lanes, taps, tiles, bits, tmp_path):
    need("icarus")
    extra = with_tiles(lanes, taps, tiles, name) + f"[quantize]\nactivation_bits = {bits}\n"
    check(write_recipe(tmp_path, name, extra), tmp_path / "bundle", "icarus", 1)


@pytest.mark.slow
@pytest.mark.parametrize("lanes, taps", [(1, 1), (1, 8), (16, 1), (8, 4), (32, 2)])
@pytest.mark.parametrize("tiles", [2, pytest.param(4, marks=pytest.mark.ci), 8])
@pytest.mark.parametrize("name", ["VggCeil", "Averages", "Grouped", "UnalignedConcat"])
def test_every_number_of_tiles_equals_golden(name, tiles, lanes, taps, tmp_path):
    need("verilator")
    extra = with_tiles(lanes, taps, tiles).replace("weights_depth = 8192", "weights_depth = 32768")
    check(write_recipe(tmp_path, name, extra), tmp_path / "bundle", "verilator", 2)


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("name", ["dscnn", "mlp", "gru"])
def test_example_equals_golden(name, simulator, tmp_path):
    need(simulator)
    check(DIGITS / f"{name}.toml", tmp_path / "bundle", simulator, 3)


# Real networks: multiply-adds, and the least utilisation of 16 multipliers with one input plane.
REAL = {
    "kws_dscnn_mlperf": (2_656_768, 0.99),
    "kws_mlp_dnn_m_arm": (198_144, 0.95),
    "kws_cnn_m_arm": (8_633_856, 0.90),
    "mnist_lenet": (2_293_000, 0.75),
    "ad01_autoencoder_mlperf": (264_192, 0.97),
    "resnet8_mlperf": (12_501_632, 0.97),
    "vww_mobilenet_mlperf": (7_489_664, 0.90),
    "kws_gru_s_arm": (1_870_792, 0.80),
}


@pytest.mark.slow
@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.ci] * (name == "kws_dscnn_mlperf")) for name in REAL],
)
def test_real_network_equals_golden_and_keeps_the_multipliers_busy(name, simulator, tmp_path):
    need(simulator)
    recipe = model_recipe(tmp_path, name, extra="[quantize]\ninput_planes = 1\n")
    result = check(recipe, tmp_path / "bundle", simulator, 4 if simulator == "verilator" else 1)
    macs, least = REAL[name]
    assert result.macs == macs
    assert result.utilisation >= least


# Two dimensions: lanes, taps, RQ and the least utilisation of all multipliers.
WIDE = {
    "kws_dscnn_mlperf": (64, 4, 8, 0.70),
    "resnet8_mlperf": (16, 4, 4, 0.80),
    "kws_cnn_m_arm": (16, 4, 4, 0.60),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDE)
def test_real_network_equals_golden_with_taps(name, tmp_path):
    need("verilator")
    lanes, taps, rq, least = WIDE[name]
    extra = f"[quantize]\ninput_planes = 1\n[core]\nlanes = {lanes}\ntaps = {taps}\nrq = {rq}\n"
    recipe = model_recipe(tmp_path, name, extra=extra)
    result = check(recipe, tmp_path / "bundle", "verilator", 2)
    assert result.utilisation >= least


# Several tiles: lanes, taps, tiles, RQ, input planes (None: as the packer has it), and the cycles.
TILED = {
    "resnet8 16x2x8": ("resnet8_mlperf", (16, 2, 8, 16), 1, 49_774),
    "vww 8x8x4": ("vww_mobilenet_mlperf", (8, 8, 4, 8), 1, 43_770),
    "vww 8x4x2": ("vww_mobilenet_mlperf", (8, 4, 2, 8), 1, 134_211),
    "dscnn 32x2x4": ("kws_dscnn_mlperf", (32, 2, 4, 16), 1, 11_986),
    "dscnn 32x2x4, planes as they are": ("kws_dscnn_mlperf", (32, 2, 4, 16), None, None),
    "dscnn 32x2x1, planes as they are": ("kws_dscnn_mlperf", (32, 2, 1, 16), None, None),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", TILED)
def test_real_network_equals_golden_with_tiles_in_so_many_cycles(case, tmp_path):
    need("verilator")
    name, (lanes, taps, tiles, rq), planes, cycles = TILED[case]
    extra = f"[core]\nlanes = {lanes}\ntaps = {taps}\ntiles = {tiles}\nrq = {rq}\n"
    extra += f"[quantize]\ninput_planes = {planes}\n" if planes else ""
    result = check(model_recipe(tmp_path, name, extra=extra), tmp_path / "b", "verilator", 2)
    assert cycles in (None, result.comparison.cycles)


@pytest.mark.slow
def test_second_training_needs_no_compilation(tmp_path, monkeypatch):
    need("verilator")
    cache = tmp_path / "cache"
    monkeypatch.setenv("BRAMCAST_CACHE", str(cache))
    for name in ("dscnn", "dscnn_retrained"):
        check(DIGITS / f"{name}.toml", tmp_path / name, "verilator", 1)
        assert len([p for p in cache.iterdir() if p.is_dir()]) == 1


# Layers with weights of 4 and 2 bits: their words hold two and four steps.
NARROW = {
    "Mlp96": {"0": 4, "2": 2, "4": 4},
    "VggCeil": {"features.0": 4, "features.4": 2},
    "Grouped": {"tiny": 4, "wide": 2, "multi": 4},
    "UnalignedConcat": {"depthwise": 2, "c": 4},
}


def narrow_layers(name):
    layers = "".join(f'"{k}" = {{ weight_bits = {v} }}\n' for k, v in NARROW[name].items())
    return f"narrow = true\n[quantize.layers]\n{layers}"


@pytest.mark.parametrize("name", NARROW)
def test_narrow_weights_with_taps_equal_golden(name, tmp_path):
    need("verilator")
    recipe = write_recipe(tmp_path, name, with_taps(4, 4) + narrow_layers(name))
    check(recipe, tmp_path / "bundle", "verilator", 2)


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("name", NARROW)
def test_narrow_weights_equal_golden_in_as_many_cycles(name, simulator, tmp_path):
    need(simulator)
    extra = COMMON_CORE.format(lanes=16)
    narrow = write_recipe(tmp_path / "a", name, extra + narrow_layers(name))
    full = write_recipe(tmp_path / "b", name, extra + "narrow = true\n")
    result = check(narrow, tmp_path / "a" / "bundle", simulator, 2)
    pack(read_recipe(full), tmp_path / "b" / "bundle")
    machine = load(tmp_path / "b" / "bundle")  # its cycles are those of the HDL in all tests above
    assert result.comparison.cycles == predict(machine.program, machine.core).total
