# SPDX-License-Identifier: Apache-2.0
"""A nest by itself, on a scratchpad filled by hand, and what Python's loops make of it."""

import itertools

import numpy as np

from bramcast.golden.arith import Workspace
from bramcast.golden.chunk import Chunk
from bramcast.golden.memories import Memories
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.program import Input, Nest
from bramcast.pack.bundle.words import pack_bias, pack_lanes

SAMPLES = 3


def core_of(lanes, taps=1, data_bits=8):
    return Core(lanes, taps, data_bits, 8, 1, 64, 64, 64, 256, 64)


def nest(counts, act=(0,) * 6, weight=(0,) * 6, result=(0, 0, 0), **fields):
    """By default all in the first word, results of 8 bits, all lanes valid."""
    defaults = {
        "act_base": 0, "weight_base": 0, "result_base": 0, "lo": -128, "hi": 127, "bias_base": 0,
        "bias_step": 0, "tail": 1,
    }  # fmt: skip
    return Nest(
        counts=counts, act_steps=act, weight_steps=weight, result_steps=result,
        **(defaults | fields),
    )  # fmt: skip


class Bench:
    """One nest, a scratchpad of random words with some samples, and random images.

    ``elements`` int64 [words * LANES * TAPS, samples] are what lies there as the nest reads it.
    """

    def __init__(self, core, one, words=8, seed=0, bias=None, shift=None, table=None):
        rng = np.random.default_rng(seed)
        self.core, self.nest = core, one
        self.weights = rng.integers(-128, 128, (40, core.multipliers))
        self.bias = rng.integers(-500, 500, 64) if bias is None else np.array(bias)
        self.shift = rng.integers(0, 6, 64) if shift is None else np.array(shift)
        images = {
            "weights": pack_lanes(self.weights, 8),
            "bias": pack_bias(self.bias, self.shift, core.rq),
        }
        if table is not None:
            images["table"] = table
        self.memories = Memories(images, core, [Input(words * core.multipliers, 1, 0), one])
        shape = (self.memories.zero_word + 1, core.multipliers, SAMPLES)
        kind = f"u{core.data_bits // 8}"
        raw = rng.integers(0, 1 << core.data_bits, shape).astype(kind)
        raw[self.memories.zero_word] = 0
        read = raw if one.x_unsigned else raw.view(kind.replace("u", "i"))
        self.elements = read.reshape(-1, SAMPLES).astype(np.int64)
        self.factors = raw if one.factor_unsigned else raw.view(kind.replace("u", "i"))
        self.factors = self.factors.reshape(-1, SAMPLES).astype(np.int64)
        self.chunk = Chunk(
            words=raw.copy(), subs=np.zeros(0), beats=np.full((200, SAMPLES), 99, np.int64),
            kept={}, work=Workspace(), samples=SAMPLES, frame=raw[:0], steps=[],
        )  # fmt: skip
        self.chunk.subs = self.chunk.words.reshape(-1, core.lanes, SAMPLES)

    def taps(self, g, oy, ox):
        """Address, step of the weights and whether it counts, of each tap in order."""
        n = self.nest
        for ky, kx, ci in itertools.product(*(range(count) for count in n.counts[3:])):
            loops = (g, oy, ox, ky, kx, ci)
            act = n.act_base + sum(i * s for i, s in zip(loops, n.act_steps, strict=True))
            step = n.weight_base + sum(i * s for i, s in zip(loops, n.weight_steps, strict=True))
            y = n.y_start + oy * n.y_step_oy + ky * n.y_step_ky
            x = n.x_start + ox * n.x_step_ox + kx * n.x_step_kx
            yield act, step, 0 <= y < n.y_limit and 0 <= x < n.x_limit

    def accumulators(self, g, oy, ox, sample):
        """The sums of a group's lanes, Python integers."""
        n, lanes, width = self.nest, self.core.lanes, self.core.group(self.nest.lanewise)
        x = self.elements[:, sample].tolist()
        found = list(self.taps(g, oy, ox))
        if n.max:
            return [max((x[a + i] for a, _, ok in found if ok), default=0) for i in range(width)]
        if n.product:
            f = self.factors[:, sample].tolist()
            pairs = list(zip(found[::2], found[1::2], strict=True))
            return [
                sum(f[a + i] * x[b + i] for (a, _, one), (b, _, two) in pairs if one and two)
                for i in range(width)
            ]
        acc = [0] * width
        for act, step, ok in found:
            for i in range(self.core.multipliers if ok else 0):
                weight = int(self.weights[step, i])
                if n.lanewise:
                    acc[i] += x[act + i] * weight
                else:
                    acc[i % lanes] += x[act + i // lanes] * weight
        return acc

    def results(self):
        """{(group, pixel): [width, samples]} of clamped results, zeros behind the tail."""
        n, width = self.nest, self.core.group(self.nest.lanewise)
        made = {}
        for g, oy, ox in itertools.product(*(range(count) for count in n.counts[:3])):
            mine = np.zeros((width, SAMPLES), np.int64)
            for sample in range(SAMPLES):
                for lane, acc in enumerate(self.accumulators(g, oy, ox, sample)):
                    if g == n.counts[0] - 1 and lane >= n.tail:
                        continue
                    mine[lane, sample] = self.requantized(acc, g, lane)
            made[g, oy * n.counts[2] + ox] = mine
        return made

    def requantized(self, acc, g, lane):
        n = self.nest
        entry = n.bias_base + g * n.bias_step + lane
        bias, shift = int(self.bias[entry]), int(self.shift[entry])
        return min(max((acc + bias + ((1 << shift) >> 1)) >> shift, n.lo), n.hi)

    def stored(self):
        """The scratchpad as the loops leave it, unsigned [sub-words, LANES, samples]."""
        n, lanes = self.nest, self.core.lanes
        subs = self.chunk.words.reshape(-1, lanes, SAMPLES).astype(np.int64)
        for (g, pixel), mine in self.results().items():
            oy, ox = divmod(pixel, n.counts[2])
            first = n.result_base + sum(
                i * s for i, s in zip((g, oy, ox), n.result_steps, strict=True)
            )
            valid = n.tail if g == n.counts[0] - 1 else len(mine)
            for sub in range(-(-valid // lanes)):
                subs[first + sub] = mine[sub * lanes :][:lanes] & ((1 << self.core.data_bits) - 1)
        return subs

    def sent(self):
        """The beats: group by group, pixel by pixel, valid lanes."""
        n = self.nest
        return np.concatenate(
            [m[: n.tail] if g == n.counts[0] - 1 else m for (g, _), m in self.results().items()]
        )

    def check(self, kind):
        """Run a machine for the nest and compare what it stores or sends, bit for bit."""
        expected = self.sent() if self.nest.stream else self.stored()
        made = kind(self.memories, 1, self.nest, 0)
        for step in made.bind(self.chunk):
            step()
        if self.nest.stream:
            np.testing.assert_array_equal(self.chunk.beats[: len(expected)], expected)
            assert (self.chunk.beats[len(expected) :] == 99).all()
        else:
            np.testing.assert_array_equal(self.chunk.subs, expected)
        return made
