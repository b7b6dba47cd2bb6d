# SPDX-License-Identifier: Apache-2.0
"""The integers of single layers, by hand: clamps that hold a channel, gains of average pools."""

import numpy as np
import pytest
from support import golden_arrays, text_recipe

from bramcast.pack.bundle.errors import RangeError
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe

HEAD = "import torch.nn as nn\n\n"
PLAIN = '[quantize]\ninput = "Q7.0"\nrefine = false\n'

# --- channels that their clamp holds at one end ------------------------------------------------

CLAMPED = """
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(1, 8), {act}, nn.Linear(8, 8, bias=False))
"""
CLAMPS = {
    "Identity": ("nn.Identity()", "Q7.0", -128, 127),
    "ReLU": ("nn.ReLU()", "UQ8.0", 0, 255),
    "ReLU6": ("nn.ReLU6()", "UQ3.5", 0, 192),
    "Hardtanh": ("nn.Hardtanh(-20, 20)", "Q5.2", -80, 80),
}


@pytest.mark.parametrize("name", CLAMPS)
def test_a_channel_is_held_at_exactly_its_clamps_end_and_only_if_it_reaches_it(name, tmp_path):
    act, fmt, lo, hi = CLAMPS[name]
    lsb = 2.0 ** -int(fmt.split(".")[1])
    x = np.arange(-128, 128)[:, None]
    # Half an LSB for each step of the input: 64 LSBs down from the bias, 63.5 up. Channels that
    # come within one LSB of an end, and to one LSB beyond it, keep their weights.
    bias = np.array([30_000, -30_000, hi + 63, hi + 65, hi + 65.5, lo - 62.5, lo - 65, lo - 65.5])
    held = np.array([1, 1, 0, 0, 1, 0, 0, 1], bool)
    weight = np.full(8, 0.5)
    state = {"0.weight": weight[:, None] * lsb, "0.bias": bias * lsb, "2.weight": np.eye(8)}
    extra = f'{PLAIN}[quantize.layers]\n0 = {{ output = "{fmt}" }}\n'
    text = HEAD + CLAMPED.format(act=act)
    packed = pack(read_recipe(text_recipe(tmp_path, text, x, state, extra)), tmp_path / "b")
    assert str(packed.quantized["0"].out) == fmt
    assert (packed.quantized["0"].weight.reshape(8).astype(bool) == ~held).all()
    _, real = golden_arrays(tmp_path / "b", x)
    want = np.clip(np.floor(x * weight + bias + 0.5), lo, hi)
    assert (want[:, 0] == hi).all() and (want[:, 1] == lo).all()
    assert want[:, 2].min() == hi - 1 and want[:, 5].max() == lo + 1
    np.testing.assert_array_equal(real, want * lsb)


# --- average pools -----------------------------------------------------------------------------

POOLED = """
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.AvgPool2d({window}), {reader})
"""
# Windows whose reciprocals are a half of an LSB away from 7 bits: 2**12 / 55 = 74.47 becomes 74,
# 2**12 / 49 = 83.59 becomes 84. Seen without a correction these are 0.63 % too little and 0.49 %
# too much, with it the wrong way round twice as much.
WINDOWS = {(5, 11): 4096 / 55, (7, 7): 4096 / 49}
READERS = {
    "Linear": ("nn.Flatten(), nn.Linear(4 * 2, 64)", (64, 8)),
    "Conv2d": ("nn.Conv2d(4, 64, 1)", (64, 4, 1, 1)),
    "grouped": ("nn.Conv2d(4, 64, 1, groups=2)", (64, 2, 1, 1)),
    "depthwise": ("nn.Conv2d(4, 64, 1, groups=4)", (64, 1, 1, 1)),
}


@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: f"{w[0]}x{w[1]}")
@pytest.mark.parametrize("reader", READERS)
def test_the_layer_behind_an_average_pool_makes_up_for_its_reciprocal(reader, window, tmp_path):
    """Least squares over all results says by which factor they are too large."""
    call, shape = READERS[reader]
    rng = np.random.default_rng(0)
    h, w = window
    x = rng.integers(-128, 128, (400, 4, h, 2 * w)).astype(np.float64)
    x += 4 * rng.integers(-16, 16, (400, 4, 1, 2)).repeat(w, axis=3)  # averages of some size
    x = np.clip(x, -128, 127)
    weight = rng.uniform(0.5, 1.0, shape) * rng.choice([-1.0, 1.0], shape)
    name = "2" if reader == "Linear" else "1"
    state = {f"{name}.weight": weight, f"{name}.bias": np.zeros(len(weight))}
    text = HEAD + POOLED.format(window=window, reader=call)
    pack(read_recipe(text_recipe(tmp_path, text, x, state, PLAIN)), tmp_path / "b")
    pooled = x.reshape(400, 4, h, 2, w).mean(axis=(2, 4))  # n, c, position
    if reader == "Linear":
        want = pooled.reshape(400, 8) @ weight.T
    else:
        groups = 4 // shape[1]
        parts = pooled.reshape(400, groups, shape[1], 2)
        rows = weight.reshape(groups, -1, shape[1])
        want = np.einsum("ngip,goi->ngop", parts, rows).reshape(400, 64, 1, 2)
    _, real = golden_arrays(tmp_path / "b", x)
    factor = (real * want).sum() / (want**2).sum()
    assert abs(factor - 1) < 0.001
    exact = WINDOWS[window]
    assert abs(round(exact) / exact - 1) > 0.004  # there is something to make up for


# --- results in the format of what they are made of --------------------------------------------

JOINED = """
import torch


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(8, 2)

    def forward(self, x):
        return self.c(torch.cat([self.b({inner}), x], 1))
"""


@pytest.mark.parametrize("inner", ["x", "self.a(x)"])
def test_weights_too_large_for_a_shared_format_are_refused(inner, tmp_path):
    """The coarser the results, the coarser what they are made of: there is no end to it."""
    x = np.random.default_rng(0).integers(-100, 100, (20, 4))
    state = {f"{n}.weight": np.full((4, 4), 300) for n in "ab"} | {"c.weight": np.ones((2, 8))}
    state |= {"a.bias": np.zeros(4), "b.bias": np.zeros(4), "c.bias": np.zeros(2)}
    recipe = text_recipe(tmp_path, HEAD + JOINED.format(inner=inner), x, state)
    with pytest.raises(
        RangeError, match="layer '[ab]': its weights are too large.* joins both: scale"
    ):
        pack(read_recipe(recipe), tmp_path / "b")
