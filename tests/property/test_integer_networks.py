# SPDX-License-Identifier: Apache-2.0
"""Networks of integers against torch in float64: equal element for element, or the pack says why.

Half of the networks are exact by construction: whatever a layer adds up is rounded and clamped to
8 bits before the next one reads it, and then nothing may be said. The others are anything: weights
and inputs of any few bits, sums that nobody rounds or clamps, averages, several fractions.
"""

import re

import networks
import numpy as np
import pytest
import torch
from support import golden_arrays, text_recipe, write_recipe

from bramcast.pack.bundle.errors import UserError
from bramcast.pack.pipeline import pack
from bramcast.pack.recipe.recipe import read_recipe

SAMPLES = 48
HEAD = """import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
"""


class Draft:
    """A random network as its author would write it, line by line.

    ``shape`` is that of ``x`` before the next line, without the batch axis.
    """

    def __init__(self, rng, tame):
        self.rng, self.tame = rng, tame
        dims = int(rng.integers(1, 4))
        self.shape = (int(rng.integers(2, 7)), *rng.integers(4, 8, dims - 1).tolist())
        self.input = self.shape
        self.layers, self.lines = [], []

    def pick(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share):
        return self.rng.random() < share

    # --- layers

    def layer(self, text):
        name = f"l{len(self.layers)}"
        self.layers.append(f"        self.{name} = {text}\n")
        return name

    def convolution(self, keep=False):
        """A call of a new convolution, or Linear layer, on x; ``keep`` the shape."""
        c, bias = self.shape[0], self.chance(0.7)
        if len(self.shape) == 1:
            out = c if keep else int(self.rng.integers(1, 9))
            self.shape = (out,)
            return self.layer(f"nn.Linear({c}, {out}, bias={bias})")
        kernel = self.pick(1, 3) if keep else int(self.rng.integers(1, min(3, *self.shape[1:]) + 1))
        stride = 1 if keep else self.pick(1, 1, 2)
        padding = kernel // 2 if keep else int(self.rng.integers(0, kernel))
        groups = self.pick(1, 1, c, *(g for g in (2, 3) if c % g == 0))
        out = c if keep else groups * self.pick(1, 2, 3)
        sides = [(n + 2 * padding - kernel) // stride + 1 for n in self.shape[1:]]
        self.shape = (out, *sides)
        return self.layer(
            f"nn.Conv{len(sides)}d({c}, {out}, {kernel}, stride={stride}, padding={padding}, "
            f"groups={groups}, bias={bias})"
        )

    # --- what stands between layers

    def narrow(self, text, floor=False):
        """``text`` as 8-bit integers, or as whatever comes."""
        lowest, highest = self.pick((-128, 127), (0, 127), (-128, 127), (-100, 63))
        shift = self.pick(*((0, 1) if floor else (6, 7, 9, 11)))
        divided = self.pick(
            f"torch.floor({text} / {2**shift} + 0.5)",
            f"({text} // {2**shift})",
            f"torch.floor(F.relu({text}) / {2**shift} + 0.5)",
        )
        rounded = f"torch.clamp({divided}, {lowest}, {highest})"
        if self.tame:
            return rounded
        return self.pick(
            text,
            rounded,
            divided,
            f"F.relu({text})",
            f"torch.clamp({text}, {lowest}, {highest})",
            f"(torch.floor({text} * 4 + 0.5) / 4)",
            f"F.relu6({text})",
            f"F.hardtanh({text} * {2.0**-shift}, -2.5, 4.0)",
        )

    def say(self, text):
        self.lines.append(f"        x = {text}\n")

    def step(self):
        kind = self.pick("layer", "layer", "layer", "pool", "average", "add", "concat", "flatten")
        if kind == "layer":
            self.say(self.narrow(f"self.{self.convolution()}(x)"))
        elif kind == "add":
            sign = self.pick("+", "-")
            branch = self.narrow(f"self.{self.convolution(keep=True)}(x)")
            self.say(self.narrow(f"({branch} {sign} x)", floor=True))
        elif kind == "concat":
            left = self.narrow(f"self.{self.convolution(keep=True)}(x)")
            self.shape = (2 * self.shape[0], *self.shape[1:])
            self.say(f"torch.cat([{left}, x], 1)")
        elif kind == "flatten" and len(self.shape) > 1:
            self.shape = (int(np.prod(self.shape)),)
            self.say("x.flatten(1)")
        elif len(self.shape) > 1 and min(self.shape[1:]) >= 2:
            dims = len(self.shape) - 1
            wide = self.pick(2, 2, 2, 3) if not self.tame and min(self.shape[1:]) > 2 else 2
            self.shape = (self.shape[0], *(n // wide for n in self.shape[1:]))
            if kind == "pool":
                self.say(f"F.max_pool{dims}d(x, {wide})")
            else:
                pooled = f"F.avg_pool{dims}d(x, {wide})"
                self.say(f"torch.floor({pooled})" if self.tame else self.narrow(pooled, True))

    def text(self):
        for _ in range(int(self.rng.integers(1, 5))):
            self.step()
        if len(self.shape) > 1 and self.chance(0.6):
            self.shape = (int(np.prod(self.shape)),)
            self.say("x.flatten(1)")
        if self.tame or self.chance(0.7):
            self.say(f"self.{self.convolution()}(x)")
        if self.chance(0.2):
            self.say("torch.clamp(torch.floor(x / 16 + 0.5), -1000, 1000)")
        forward = "\n    def forward(self, x):\n" + "".join(self.lines) + "        return x\n"
        return HEAD + "".join(self.layers) + forward

    # --- numbers

    def numbers(self, bits, shape):
        """Integers of so many bits with their sign, or multiples of a power of two."""
        values = self.rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), shape)
        return values if self.tame else values * 2.0 ** self.pick(0, 0, 0, -2, -6)

    def parameters(self, net):
        bits = self.pick(8, 4) if self.tame else self.pick(2, 3, 4, 6, 8, 8, 10)
        return {
            name: self.numbers(10 if name.endswith("bias") else bits, tuple(p.shape))
            for name, p in net.named_parameters()
        }

    def samples(self):
        """All 8 bits are used in the exact ones, so that the input is known to be integers."""
        shape = (SAMPLES, *self.input)
        x = self.numbers(8 if self.tame else self.pick(2, 4, 8, 8, 9), shape)
        if not self.tame and self.chance(0.2):
            x = np.abs(x)
        if self.tame:
            x.flat[:2] = -128, 127
        return x


def case(seed):
    """The network's text, its parameters and samples, forward()'s results in float64, and the
    core it is packed for."""
    draft = Draft(np.random.default_rng(seed), tame=seed % 2 == 0)
    text, scope = draft.text(), {}
    exec(text, scope)
    net = scope["Net"]().double().eval()
    parameters, x = draft.parameters(net), draft.samples()
    net.load_state_dict({k: torch.from_numpy(np.asarray(v, float)) for k, v in parameters.items()})
    with torch.no_grad():
        want = net(torch.from_numpy(x.astype(np.float64))).numpy()
    core = f"[core]\nlanes = {draft.pick(4, 8)}\ntaps = {draft.pick(1, 2)}\n"
    if not draft.tame and draft.chance(0.2):
        core += "[quantize]\nactivation_bits = 16\n"
    core = core.replace("[core]\n", f"[core]\ntiles = {draft.pick(1, 2, 4, 8)}\n")
    return text, parameters, x, want, core


NAMED = re.compile(r"(input|layer '[\w.]+'): .*(differ from forward|what reaches them all)")
REFUSED = re.compile(r"round both alike|too large for results that have the same format")


# Half a second each; seeds up to 1500 were run once.
# 132: a sum of a convolution and the frame, for which pixels side by side are tried.
@pytest.mark.parametrize("seed", [*range(48), 132])
def test_a_network_of_integers_is_met_exactly_or_the_pack_says_where_not(seed, tmp_path):
    text, parameters, x, want, core = case(seed)
    recipe = read_recipe(text_recipe(tmp_path, text, x, parameters, core))
    tame = seed % 2 == 0
    try:
        packed = pack(recipe, tmp_path / "b")
    except UserError as error:
        assert not tame and REFUSED.search(str(error))
        return
    _, got = golden_arrays(tmp_path / "b", x)
    if tame:
        assert packed.notes == ()
    if tame or not any(NAMED.match(note) for note in packed.notes):
        np.testing.assert_array_equal(got.reshape(want.shape), want)


@pytest.mark.parametrize("name", ["Mlp96", "Averages", "DeadChannels", "SignedUnsignedAdd"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_network_of_floats_is_told_nothing_of_integers(name, whole, tmp_path):
    """Not even on samples that are integers themselves, as pictures are."""
    recipe = write_recipe(tmp_path, name, samples=24)
    if whole:
        shape = (24, *networks.SHAPES[name])
        x = np.random.default_rng(1).integers(0, 256, shape).astype(np.float32)
        np.savez(tmp_path / "inputs.npz", x=x)
    notes = pack(read_recipe(recipe), tmp_path / "b").notes
    assert not [n for n in notes if "integers" in n or "forward()" in n]
