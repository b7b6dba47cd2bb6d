# SPDX-License-Identifier: Apache-2.0
"""How far the quantized results of random networks may be from the real ones, layer by layer."""

import networks
import pytest
import torch
from support import text_recipe, write_recipe

from bramcast.pack.bundle.judgement import EQUAL_DB
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe

# Decibels that every layer and the last one keep with 8 bits, not refined, seed 0, 24 samples:
# measured, rounded down, and one less. Networks differ, as sums of cancelling terms and gates lose
# more; a format that is two bits too coarse costs 12 dB, a pool's gain the wrong way round 2 to 8.
FLOORS: dict[str, tuple[int, int]] = {
    "Mlp96": (36, 37),
    "OneChannelDepthwise": (35, 48),
    "VggCeil": (33, 38),
    "NegativeMax": (36, 48),
    "Averages": (36, 44),
    "SignedUnsignedAdd": (30, 31),
    "UnalignedConcat": (28, 33),
    "NarrowPictures": (32, 32),
    "Grouped": (34, 36),
    "Conv1dNet": (29, 53),
    "Normalised": (31, 44),
    "NormBehind": (28, 52),
    "Slices": (33, 39),
    "FullyConvolutional": (38, 39),
    "AddLast": (34, 35),
    "ConcatLast": (32, 34),
    "FlatConcat": (26, 36),
    "DepthwiseFirst": (35, 44),
    "DeadChannels": (44, 48),
    "PreActivation": (32, 46),
    "TemporalResidual": (33, 38),
    "FrameMaximum": (33, 36),
    "Repeats": (34, 40),
    "LanewiseLast": (33, 36),
    "PerElement": (33, 33),
    "LinearThenConv": (33, 39),
    "TwoHeads": (35, 36),
    "FrameRows": (35, 36),
    "FrameCrops": (30, 30),
    "FrameFourWays": (30, 32),
    "GroupedFrame": (33, 43),
    "FrameTurned": (34, 34),
    "OutOfOrder": (34, 38),
    "FlatParts": (32, 41),
    "EqualParts": (29, 36),
    "StridedLast": (37, 37),
    "Decoder": (36, 42),
    "DecoderOfLatents": (45, 48),
    "DecoderOddSteps": (33, 55),
    "DecoderOfGroups": (35, 39),
    "DecoderOverTime": (35, 35),
    "UNet": (28, 47),
    "PyramidOfFeatures": (30, 33),
    "PixelShuffles": (33, 34),
    "Upsampled": (36, 41),
    "Probabilities": (38, 38),
    "SmoothActivations": (27, 46),
    "SiluBlock": (29, 39),
    "SqueezeExcite": (28, 53),
    "TensorProducts": (24, 30),
    "GatedLast": (39, 39),
    "SigmoidLast": (28, 46),
    "GruNet": (27, 39),
    "LstmNet": (30, 35),
    "RnnNet": (29, 40),
    "HandGru": (29, 36),
    "HandLstm": (28, 39),
    "ConvGru": (28, 40),
    "ConvThenGru": (18, 34),
    "PixelsBecomeChannels": (36, 38),
    "AnyOrder": (31, 31),
    "AnyFunctions": (29, 29),
    "Resized": (31, 43),
    "NormOverBands": (37, 42),
    "FoldedBatch": (32, 41),
    "FirstStates": (24, 48),
}


def signal_to_noise(packed):
    return {layer.name: layer.snr for layer in packed.manifest.layers}


@pytest.mark.parametrize("name", networks.SHAPES)
def test_no_layer_of_a_random_network_is_noisier_than_it_was(name, tmp_path):
    recipe = write_recipe(tmp_path, name, "[quantize]\nrefine = false\n", samples=24)
    packed = pack(read_recipe(recipe), tmp_path / "b")
    snr = signal_to_noise(packed)
    worst = min(snr, key=snr.__getitem__)
    last = packed.manifest.layers[-1].snr
    least, least_last = FLOORS[name]
    assert snr[worst] >= least, f"{worst}: {snr[worst]} dB"
    assert last >= least_last, f"the last layer: {last} dB"


def test_a_layer_whose_results_are_exactly_zero_has_no_noise(tmp_path):
    """0 dB would make it the network's worst layer."""
    text = "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
    text += "        super().__init__(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))\n"
    state = {
        "0.weight": torch.zeros(4, 3).numpy(),
        "0.bias": torch.zeros(4).numpy(),
        "2.weight": torch.eye(2, 4).numpy(),
        "2.bias": torch.tensor([0.5, -0.25]).numpy(),
    }
    x = torch.linspace(-1, 1, 60).reshape(20, 3).numpy()
    packed = pack(read_recipe(text_recipe(tmp_path, text, x, state)), tmp_path / "b")
    assert signal_to_noise(packed) == {"0": EQUAL_DB, "2": EQUAL_DB}
