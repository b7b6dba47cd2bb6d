"""Packed networks compute what PyTorch computes, and golden what the quantized graph computes."""

import networks
import numpy as np
import pytest
import torch
from support import MODELS, model_recipe, write_recipe

from bramcast.golden.machine import arrays_from_beats, frames_from_arrays, load
from bramcast.pack import execute
from bramcast.pack.calibrate import frame_values
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe import read_recipe
from bramcast.sim.agree import compare_with_graph

CORES = {"16x8": (16, 8), "1x8": (1, 8), "64x8": (64, 8), "4x16": (4, 16)}


def silent(what, done, of):
    pass


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", networks.SHAPES)
def test_folded_graph_equals_pytorch_and_golden_equals_the_quantized_graph(name, core, tmp_path):
    lanes, bits = CORES[core]
    extra = f"[core]\nlanes = {lanes}\n[quantize]\nactivation_bits = {bits}\n"
    bundle = tmp_path / "bundle"
    packed = pack(read_recipe(write_recipe(tmp_path, name, extra)), bundle)
    with torch.no_grad():
        want = networks.build(name)(torch.from_numpy(packed.inputs.x)).numpy()
    frame = frame_values(packed.graph, packed.inputs.x, packed.planes)
    *_, last = execute.run(packed.graph, frame, execute.real_compute)
    got = execute.output_array(packed.graph, last.result)
    # Two planes round the input to about 11 bits; otherwise only float32 against float64 differs.
    tolerance = 1e-5 if packed.planes is None else 2e-2
    assert np.abs(got - want).max() <= tolerance * np.abs(want).max()
    agreement = compare_with_graph(packed, bundle, silent)
    assert agreement.elements > 0 and agreement.mismatches == 0, agreement.text
    machine = load(bundle)
    beats = machine.run(frames_from_arrays(packed.inputs.x, machine.manifest.input)).beats
    integers, real = arrays_from_beats(beats, machine)
    assert integers.shape == want.shape
    noise = ((real - want) ** 2).sum() / (want**2).sum()
    assert 10 * np.log10(noise) < -25, "less than 25 dB between signal and quantization noise"


# Accuracy of the float network and how many points below it 8 bits may be.
REAL = {
    "kws_dscnn_mlperf": (0.9469, 0.5),
    "kws_mlp_dnn_m_arm": (0.8292, 0.5),
    "kws_cnn_m_arm": (0.8719, 0.5),
    "mnist_lenet": (0.9880, 0.5),
    "resnet8_mlperf": (0.7520, 0.5),
    "vww_mobilenet_mlperf": (0.7586, 1.73),  # 58 pictures: one is 1.72 points
}


@pytest.mark.parametrize("name", REAL)
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
        extra = "[quantize]\ninput_planes = 1\n"
        packed = pack(read_recipe(model_recipe(tmp_path, name, extra=extra)), tmp_path / name)
        expected = np.load(MODELS / name / "expected.npz")["out"][:20]
        frame = execute.input_tensor(packed.graph, packed.inputs.x[:20])
        *_, last = execute.run(packed.graph, frame, execute.real_compute)
        got = execute.output_array(packed.graph, last.result)
        assert np.abs(got - expected).max() < 1e-4
