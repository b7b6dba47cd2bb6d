# SPDX-License-Identifier: Apache-2.0
"""A third of the published architectures on the HDL core: every element of every layer."""

import architectures
import pytest
from support import need

from bramcast.golden.load import load
from bramcast.pack.bundle.cycles import predict
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe
from bramcast.pack.samples.inputs import read_inputs
from bramcast.sim.run.cosim import simulate

pytestmark = [pytest.mark.cosim, pytest.mark.slow]

# One core that all of them fit, so that the simulator is compiled once.
CORE = """
[core]
lanes = 16
program_depth = 8192
weights_depth = 16384
bias_depth = 4096
scratch_depth = 8192
table_depth = 4096
gates = true
"""
NAMES = (
    "Tiny YOLOv2", "YOLOX", "SSDLite", "BlazeFace", "CRNN", "ConvLSTM", "LSTNet", "QRNN", "U-Net",
    "ESPNet", "DeepLabV3", "PSPNet", "EDSR", "RNNoise", "CRN", "BC-ResNet", "Conv-TasNet",
    "DeepSleepNet", "EEG-TCNet", "U-Sleep", "ShuffleNetV2", "GhostNet", "CBAM", "N-BEATS",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_equals_golden(name, tmp_path):
    need("verilator")
    recipe = architectures.write_recipe(tmp_path, name, CORE)
    pack(read_recipe(recipe), tmp_path / "bundle")
    result = simulate(tmp_path / "bundle", read_inputs(recipe).x[:1], "verilator", seed=1)
    assert result.equal, str(result.comparison.first)
    assert all(layer.elements > 0 for layer in result.comparison.layers)
    machine = load(tmp_path / "bundle")
    assert result.comparison.cycles == predict(machine.program, machine.core).total
