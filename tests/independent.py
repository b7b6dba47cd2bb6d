# SPDX-License-Identifier: Apache-2.0
"""A second machine for bundles, written from docs/format.md and docs/arithmetic.md alone.

It imports nothing of bramcast and takes the descriptors' fields from the table in docs/format.md,
so a change of that page changes what it computes. Slow and plain: one group of results at a time,
numpy over taps and lanes only.
"""

import itertools
import json
import re
from pathlib import Path

import numpy as np

FORMAT = Path(__file__).resolve().parents[1] / "docs" / "format.md"
LOOPS = ("g", "oy", "ox", "ky", "kx", "ci")
NUMBERS = {"INPUT": 1, "NEST": 2, "LOOP": 3}
MINUS_ONE = {"tail", "run", "runs", "count", "length", *(f"count_{n}" for n in LOOPS)}
MINUS_ONE |= {"strip_runs", "last_run"}
EVERY_BANK = 8


def signed(value, bits):
    """The low bits of Python integers or int64 arrays as two's complement."""
    return (value & ((1 << bits) - 1)) - ((value >> (bits - 1) & 1) << bits)


def fields_of_the_page(tiled=False):
    """{opcode: {name: (word, lsb, bits, signed)}} from the tables of docs/format.md.

    Those of a core with TILES > 1, if ``tiled``.
    """
    layouts = {}
    row = r"^\| (\w+)(\+?) \| (\d+) \| (`.*) \|$"
    for op, plus, word, cell in re.findall(row, FORMAT.read_text(), re.M):
        for name, high, low, sign in re.findall(r"`(\w+)` (\d+)(?::(\d+))?( signed)?", cell):
            lsb = int(low or high)
            layout = layouts.setdefault(NUMBERS[op], {})
            if name.startswith("y_") and name != "y_unsigned" and tiled:
                continue
            if tiled or not plus:
                layout[name] = (int(word), lsb, int(high) - lsb + 1, bool(sign))
    return layouts


class Independent:
    """A bundle and what runs it.

    ``run`` gives the beats of one frame, and for each nest that ran its stores: (sub-word, its
    LANES elements as unsigned numbers) in the order of docs/format.md; beats for a stream nest.
    With TILES > 1 all tiles store before the next pixel does, tile 0 first; sub-words are counted
    behind those of the banks before.
    """

    def __init__(self, bundle):
        bundle = Path(bundle)
        core = json.loads((bundle / "manifest.json").read_text())["core"]
        self.lanes, self.taps, self.rq = core["lanes"], core["taps"], core["rq"]
        self.bits, self.depth = core["data_bits"], core["scratch_depth"]
        self.word, self.tiles = self.lanes * self.taps, core.get("tiles", 1)

        def lines(name):
            path = bundle / f"{name}.mem"
            return [int(line, 16) for line in path.read_text().split()] if path.exists() else []

        raw = (w.to_bytes(self.word, "little") for w in lines("weights"))
        self.weights = np.frombuffer(b"".join(raw), np.uint8).reshape(-1, self.word)
        self.weights = self.weights.astype(np.int64)
        entries = [e >> 36 * i & (1 << 36) - 1 for e in lines("bias") for i in range(self.rq)]
        self.bias = signed(np.array(entries, np.int64), 31)
        self.shift = np.array(entries, np.int64) >> 31
        self.table = np.array(lines("table"), np.int64)
        self.program = self.unrolled(lines("program"))

    def unrolled(self, words):
        """The descriptors that run, one after another, LOOPs written out."""
        layouts, descriptors = fields_of_the_page(self.tiles > 1), []
        for start in range(0, len(words), 32):
            d = {}
            for name, (word, lsb, bits, sign) in layouts[words[start] & 15].items():
                value = words[start + word] >> lsb & ((1 << bits) - 1)
                d[name] = (signed(value, bits) if sign else value) + (name in MINUS_ONE)
            descriptors.append(d)
            if d.get("last"):
                break
        run, todo = [], iter(descriptors)
        for d in todo:
            if d["opcode"] != NUMBERS["LOOP"]:
                run.append(d)
                continue
            body = list(itertools.islice(todo, d["length"]))
            for i in range(d["count"]):
                for nest in body:
                    act = nest["act_base"] + i * d["act_step"] * nest["act_moves"]
                    result = nest["result_base"] + i * d["result_step"] * nest["result_moves"]
                    run.append(nest | {"act_base": act, "result_base": result})
        return run

    def run(self, frame, seed=0):
        # What nobody has written is anything.
        rng = np.random.default_rng(seed)
        self.bank = self.depth * self.word  # elements
        self.scratch = rng.integers(0, 1 << self.bits, self.tiles * self.bank)
        self.take(self.program[0], np.asarray(frame, np.int64) & ((1 << self.bits) - 1))
        beats, stores = [], []
        for d in self.program[1:]:
            stores.append(self.nest(d, beats))
        return beats, stores

    def take(self, d, elements):
        """INPUT."""
        unit, left = max(self.lanes, self.taps), elements
        strip, last = d.get("strip_runs", d["runs"]), d.get("last_run", d["run"])
        for number in range(d["runs"]):
            if number % strip == 0:
                at = number // strip * self.bank + d["result_base"] * self.word
            size = last if number == d["runs"] - 1 else d["run"]
            assert len(left) >= size, "the frame is too short"
            row = np.concatenate([np.zeros(d["lead"], np.int64), left[:size]])
            left = left[size:]
            row = np.pad(row, (0, -len(row) % unit))
            self.scratch[at : at + len(row)] = row
            at += -(-len(row) // self.word) * self.word
        assert not len(left), "the frame is too long"

    def tile_banks(self, d):
        """Each tile that makes results of its own, with the banks that it writes."""
        if d.get("strips"):
            return [(tile, [tile]) for tile in range(self.tiles)]
        bank = d.get("bank", 0)
        return [(0, range(self.tiles) if bank == EVERY_BANK and not d["stream"] else [bank])]

    def rows(self, d, tile, oy, ky):
        """The bank of each tap, what its row adds to the address there, and whether it counts."""
        if self.tiles == 1:
            y = d["y_start"] + oy * d["y_step_oy"] + ky * d["y_step_ky"]
            return 0 * y, 0 * y, (0 <= y) & (y < d["y_limit"])
        span = d["span"]
        start, limit, step_oy, step_ky = (
            d[f"strip_{n}"] * span + d[f"row_{n}"] for n in ("start", "limit", "step_oy", "step_ky")
        )
        u = start + oy * step_oy + ky * step_ky + tile * span * d["strips"]
        return u // span, u % span, (0 <= u) & (u < limit)

    def steps(self, d, stream, counts):
        """Steps from jumps: jump[l] = step[l] - sum of (count[m] - 1) * step[m], m inside l."""
        steps, inside = [], 0
        for loop, count in reversed(list(zip(LOOPS, counts, strict=False))):
            steps.append(d[f"{stream}_jump_{loop}"] + inside)
            inside += (count - 1) * steps[-1]
        return steps[::-1]

    def nest(self, d, beats):
        counts = [d[f"count_{n}"] for n in LOOPS]
        act, weight = (self.steps(d, s, counts) for s in ("act", "weight"))
        result = self.steps(d, "result", counts[:3])
        width = self.word if d["lanewise"] else self.lanes
        ky, kx, ci = (a.ravel() for a in np.indices(counts[3:]))
        act_taps = ky * act[3] + kx * act[4] + ci * act[5]
        weight_taps = ky * weight[3] + kx * weight[4] + ci * weight[5]
        stores = []
        for g, oy, ox in itertools.product(*map(range, counts[:3])):
            at = (g, oy, ox)
            x = d["x_start"] + ox * d["x_step_ox"] + kx * d["x_step_kx"]
            w = d["weight_base"] + sum(i * s for i, s in zip(at, weight[:3], strict=True))
            valid = d["tail"] if g == counts[0] - 1 else width
            for tile, banks in self.tile_banks(d):
                bank, row, inside = self.rows(d, tile, oy, ky)
                inside = inside & (0 <= x) & (x < d["x_limit"])
                a = d["act_base"] + sum(i * s for i, s in zip(at, act[:3], strict=True))
                a = np.where(inside, a + act_taps + row, 0)
                end = a.max() + (valid if d["lanewise"] else self.taps)
                assert 0 <= a.min() and end <= self.bank, "an address outside the scratchpad"
                acc = self.sums(d, a + bank * self.bank, w + weight_taps, inside, valid)
                entry = (d["bias_base"] + g * d["bias_step"]) * self.rq + np.arange(valid)
                shift = self.shift[entry]
                half = (1 << shift) >> 1
                v = np.clip((signed(acc, 32) + self.bias[entry] + half) >> shift, d["lo"], d["hi"])
                if d["table"]:
                    v = self.looked_up(d, v)
                if d["stream"]:
                    beats += v.tolist()
                    stores += v.tolist()
                    continue
                v = np.pad(v & ((1 << self.bits) - 1), (0, -valid % self.lanes))
                r = d["result_base"] + sum(i * s for i, s in zip(at, result, strict=True))
                parts = enumerate(v.reshape(-1, self.lanes), r)
                for to, (at_bank, part) in itertools.product(banks, parts):
                    sub = to * self.depth * self.taps + at_bank
                    self.scratch[sub * self.lanes : (sub + 1) * self.lanes] = part
                    stores.append((sub, part.tolist()))
        return stores

    def elements(self, a, inside, count, unsigned):
        """``count`` elements from each address on: [taps, count], 0 outside the limits."""
        where = np.where(inside, a, 0)[:, None] + np.arange(count)
        raw = np.where(inside[:, None], self.scratch[where], 0)
        return raw if unsigned else signed(raw, self.bits)

    def weight(self, d, w, count):
        """Weights 0 .. count - 1 of each step: [taps, count]."""
        bits = 8 >> d["narrow"]
        raw = self.weights[w >> d["narrow"], :count]
        return signed(raw >> (w % (1 << d["narrow"]) * bits)[:, None], bits)

    def sums(self, d, a, w, inside, valid):
        """acc of the valid lanes, before it wraps."""
        if not d["lanewise"]:
            x = self.elements(a, inside, self.taps, d["x_unsigned"])
            lanes = self.weight(d, w, self.word).reshape(-1, self.taps, self.lanes)
            return (x[:, :, None] * lanes).sum(axis=(0, 1))[:valid]
        x = self.elements(a, inside, valid, d["x_unsigned"])
        if d["max"]:
            return x[inside].max(axis=0) if inside.any() else np.zeros(valid, np.int64)
        if d["product"]:
            factor = self.elements(a, inside, valid, d["factor_unsigned"])
            return (factor[::2] * x[1::2]).sum(axis=0)
        return (x * self.weight(d, w, valid)).sum(axis=0)

    def looked_up(self, d, v):
        """A table's result; as the stream shows it if it leaves there."""
        line = self.table[d["table_base"] * 256 + (v >> (self.bits - 8) & 255)]
        if self.bits == 16:
            rise = signed(line >> 16, 16) * (v & 255)
            line = (line + ((rise + 128) >> 8)) & 0xFFFF
        return line if d["y_unsigned"] or not d["stream"] else signed(line, self.bits)
