# SPDX-License-Identifier: Apache-2.0
"""Golden against the loops of docs/format.md, written out plainly, on random legal programs."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bramcast.golden.layers import layer_results
from bramcast.golden.machine import Machine
from bramcast.golden.validate import validate
from bramcast.pack.bundle.errors import ProgramError
from bramcast.pack.bundle.manifest import Core, Format, Frame, LayerInfo, Manifest, NestInfo
from bramcast.pack.bundle.program import (
    LOOPS,
    NEST_FIELDS,
    Input,
    Nest,
    encode_program,
    split_program,
)
from bramcast.pack.bundle.words import Words, from_uint32, pack_bias, pack_lanes, to_uint32
from bramcast.sim.run.compare import compare
from bramcast.sim.run.hdl_log import read_log

# ------------------------------------------------------------------ docs/format.md, step by step


def signed(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Plain:
    """The core as docs/format.md describes it: Python integers, jumps as the hardware adds them.

    What the program has not written is random, so that nothing can depend on it.
    """

    def __init__(self, images, core, seed=0):
        self.images, self.core = images, core
        self.words = [int(w) for w in to_uint32(images["program"])]
        self.program = split_program(to_uint32(images["program"]))
        self.rng = np.random.default_rng(seed)

    def field(self, index, name):
        f = NEST_FIELDS[name]
        value = self.words[32 * index + f.word] >> f.lsb & ((1 << f.bits) - 1)
        return signed(value, f.bits) if f.signed else value

    def weight(self, step, i, narrow):
        """Weight i of a step, from the bits of its word."""
        bits = 8 >> narrow
        word = self.images["weights"].integer(step >> narrow)
        return signed(word >> (8 * i) >> (step % 2**narrow * bits), bits)

    def bias(self, address, lane):
        entry = self.images["bias"].integer(address) >> (36 * (lane % self.core.rq)) & (2**36 - 1)
        return signed(entry, 31), entry >> 31

    def looked_up(self, table, v):
        """The result's bits: an entry, or a point on a line, where the low byte says."""
        bits = self.core.data_bits
        word = self.images["table"].integer(256 * table + (v >> (bits - 8) & 255))
        if bits == 8:
            return word
        rise = signed(word >> 16, 16) * (v & 255)
        return ((word & 0xFFFF) + rise // 256 + (rise % 256 >= 128)) % 2**16

    def run(self, frame):
        """Beats, and for each nest (sub-word address, its elements) in the order of writing."""
        core = self.core
        per_word = core.lanes * core.taps
        top = 2**core.data_bits
        scratch = self.rng.integers(0, top, core.scratch_depth * per_word).tolist()
        stream = iter(frame)
        head = self.program[0]
        word = head.result_base
        for _ in range(head.runs):
            row = [0] * head.lead + [int(next(stream)) % top for _ in range(head.run)]
            while len(row) % max(core.lanes, core.taps):
                row.append(0)
            scratch[word * per_word : word * per_word + len(row)] = row
            word += -(-(head.lead + head.run) // per_word)
        beats, logs = [], []
        for index in range(1, len(self.program)):
            logs.append(self.nest(index, scratch, beats))
        return beats, logs

    def nest(self, index, scratch, beats):
        core, lanes, taps = self.core, self.core.lanes, self.core.taps
        get = {name: self.field(index, name) for name in NEST_FIELDS}
        counts = [get[f"count_{n}"] + 1 for n in LOOPS]
        jumps = {
            s: [get[f"{s}_jump_{n}"] for n in LOOPS[: 3 if s == "result" else 6]]
            for s in ("act", "weight", "result")
        }
        a, w, r = get["act_base"], get["weight_base"], get["result_base"]
        tail, log = get["tail"] + 1, []
        width = lanes * taps if get["lanewise"] else lanes

        def element(address):
            raw = scratch[address]
            return raw if get["x_unsigned"] else signed(raw, core.data_bits)

        before = None
        for g, oy, ox in itertools.product(*(range(c) for c in counts[:3])):
            valid = tail if g == counts[0] - 1 else width
            acc, empty = [0] * valid, True
            for ky, kx, ci in itertools.product(*(range(c) for c in counts[3:])):
                now = (g, oy, ox, ky, kx, ci)
                if before is not None:
                    level = next(i for i in range(6) if now[i] != before[i])
                    a += jumps["act"][level]
                    w += jumps["weight"][level]
                    if level < 3:
                        r += jumps["result"][level]
                before = now
                y = get["y_start"] + oy * get["y_step_oy"] + ky * get["y_step_ky"]
                x = get["x_start"] + ox * get["x_step_ox"] + kx * get["x_step_kx"]
                if not (0 <= y < get["y_limit"] and 0 <= x < get["x_limit"]):
                    continue
                for lane in range(valid):
                    if get["max"]:
                        value = element(a + lane)
                        acc[lane] = value if empty else max(acc[lane], value)
                    elif get["lanewise"]:
                        acc[lane] += element(a + lane) * self.weight(w, lane, get["narrow"])
                    else:
                        for t in range(taps):
                            weight = self.weight(w, t * lanes + lane, get["narrow"])
                            acc[lane] += element(a + t) * weight
                empty = False
            values = []
            for lane in range(valid):
                address = get["bias_base"] + g * get["bias_step"] + lane // core.rq
                bias, shift = self.bias(address, lane)
                total = signed(acc[lane], 32) + bias + ((1 << shift) >> 1)
                v = min(max(total >> shift, get["lo"]), get["hi"])
                if get["table"]:
                    v = self.looked_up(get["table_base"], v)
                    if get["stream"] and not get["y_unsigned"]:
                        v = signed(v, core.data_bits)
                values.append(v)
            if get["stream"]:
                beats += values
            while len(values) % lanes:
                values.append(0)
            for i in range(len(values) // lanes):
                part = values[i * lanes : (i + 1) * lanes]
                if not get["stream"]:
                    part = [v & (2**core.data_bits - 1) for v in part]
                    scratch[(r + i) * lanes : (r + i + 1) * lanes] = part
                log.append((-1 if get["stream"] else r + i, part))
        return log


# ------------------------------------------------------------------------ random legal programs


class Tensor:
    """A picture in the scratchpad.

    ``at``: first element; ``c``, ``pitch``: channels and elements from pixel to pixel; ``written``:
    how many of these are written; ``flat``: elements from ``at`` on that are written without a gap.
    """

    def __init__(self, at, h, w, c, pitch, written, flat=0):
        self.at, self.h, self.w, self.c = at, h, w, c
        self.pitch, self.written = pitch, written
        self.flat = flat or (h * w * pitch if written == pitch else written)


class Draft:
    """Grows a program nest by nest; every nest is legal."""

    def __init__(self, rng, taps=(1, 1, 2, 4, 8)):
        self.rng = rng
        self.lanes = int(rng.choice([1, 2, 4, 8]))
        self.taps = int(rng.choice(taps))
        self.word = self.lanes * self.taps
        self.unit = max(self.lanes, self.taps)
        self.rq = int(rng.choice([r for r in (1, 2, 4) if r <= self.lanes]))
        self.data_bits = int(rng.choice([8, 8, 16]))
        self.narrow = bool(rng.integers(2))
        self.weights, self.bias, self.shift, self.free = [], [], [], 0
        self.tables = int(rng.integers(0, 3))
        h, w, c = (int(v) for v in rng.integers(1, (6, 6, 7)))
        c += int(rng.integers(0, 2 * self.word)) if rng.integers(3) == 0 else 0
        aligned = bool(rng.integers(2))
        run, runs = (c, h * w) if aligned else (h * w * c, 1)
        lead = int(rng.integers(self.taps)) if rng.integers(3) == 0 and not aligned else 0
        words = -(-(lead + run) // self.word)
        at = self.claim(runs * words * self.taps, self.taps) * self.lanes
        self.program = [Input(run, runs, at // self.word, lead)]
        written = self.up(lead + run, self.unit)
        if aligned:
            self.tensor = Tensor(at, h, w, c, words * self.word, written)
        else:
            self.tensor = Tensor(at, h, w, c, c, c, written)

    @staticmethod
    def up(value, unit):
        return -(-value // unit) * unit

    def claim(self, subs, unit):
        """Sub-words that nothing else uses, from a multiple of ``unit`` on."""
        start = self.up(self.free + int(self.rng.integers(0, 2)), unit)
        self.free = start + subs
        return start

    def pick(self, *options):
        return options[int(self.rng.integers(len(options)))]

    def add_weights(self, steps, narrow):
        """Words for so many steps; the first step, which need not begin a word."""
        first = int(self.rng.integers(1 << narrow))
        n = -(-(first + steps) >> narrow)
        self.weights.append(self.rng.integers(-128, 128, (n, self.word)))
        return (sum(len(w) for w in self.weights) - n << narrow) + first

    def add_bias(self, n, stream):
        start = len(self.bias) // self.rq
        self.bias += self.rng.integers(-3000, 3000, n).tolist()
        self.shift += [0] * n if stream else self.rng.integers(0, 14, n).tolist()
        return start

    def clamp(self, stream, table):
        half = 1 << (self.data_bits - 1)
        if table:
            return self.pick((-half, half - 1), (0, 2 * half - 1), (-7, half + half // 2))
        if stream:
            return -(2**31), 2**31 - 1
        return self.pick((-half, half - 1), (0, 2 * half - 1), (0, half - 1), (-5, 9))

    def window(self, size):
        """Kernel, stride, dilation, padding and number of outputs along one axis."""
        k = int(self.rng.integers(1, 4))
        stride, dilation = (int(v) for v in self.rng.integers(1, 3, 2))
        pad = int(self.rng.integers(0, 3))
        room = size + 2 * pad - dilation * (k - 1) - 1
        if room < 0:
            return 1, stride, 1, 0, size if stride == 1 else (size - 1) // stride + 1
        return k, stride, dilation, pad, room // stride + 1

    def kinds(self):
        """What the tensor lies right for."""
        t, kinds = self.tensor, []
        if t.at % self.taps == 0 and t.pitch % self.taps == 0 and t.written >= self.taps:
            kinds.append("dense")
        if t.at % self.word == 0 and t.pitch % self.word == 0 and t.written >= self.lanes:
            kinds += ["lanes", "max"]
        if t.at % self.taps == 0 and t.flat >= self.taps:
            kinds.append("flat")
        return kinds

    def nest(self, kind, last=False, slot=None):
        """Append a nest.

        ``slot``: (first sub-word, sub-words from pixel to pixel) of its results, if given.
        """
        t, rng = self.tensor, self.rng
        lane_wise = kind not in ("dense", "flat")
        if kind == "flat":  # everything as one row of channels
            t = Tensor(t.at, 1, 1, t.flat, 0, t.flat)
        ky, sy, dy, py, oy = self.window(t.h)
        kx, sx, dx, px, ox = self.window(t.w)
        width = self.word if lane_wise else self.lanes
        c_out = self.pick(t.c, t.written)
        if not lane_wise:
            c_out = int(rng.integers(1, self.pick(3 * width, 2 * self.word) + 1))
        groups = -(-c_out // width)
        ci = 1 if lane_wise else min(-(-t.c // self.taps), t.written // self.taps)
        counts = (groups, oy, ox, ky, kx, ci)

        def used(*steps):
            return tuple(0 if n == 1 else s for n, s in zip(counts, steps, strict=False))

        stream = last
        table = self.tables > 0 and bool(rng.integers(4) == 0)
        narrow = int(rng.integers(3)) if self.narrow and kind != "max" else 0
        lo, hi = self.clamp(stream, table)
        row, pixel = t.w * t.pitch, t.pitch
        weight_base, weight_steps = 0, (0,) * 6
        if not lane_wise:
            n = ky * kx * ci
            weight_base = self.add_weights(n * groups, narrow)
            weight_steps = used(n, 0, 0, kx * ci, ci, 1)
        elif kind == "lanes":
            per_pixel = bool(rng.integers(3) == 0)  # a word for each output position
            n = ky * kx * (oy * ox if per_pixel else 1)
            weight_base = self.add_weights(n * groups, narrow)
            steps = (n, ox * ky * kx, ky * kx) if per_pixel else (n, 0, 0)
            weight_steps = used(*steps, kx, 1, 0)
        subs = -(-c_out // self.lanes)  # of a pixel
        if slot is None:
            unit = self.pick(1, self.unit // self.lanes, self.taps)
            pitch = self.up(subs, unit)
            base = 0 if stream else self.claim(oy * ox * pitch, unit)
        else:
            base, pitch = slot
        nest = Nest(
            counts=counts,
            act_base=t.at - py * row - px * pixel,
            act_steps=used(
                *(self.word if lane_wise else 0, sy * row, sx * pixel),
                *(dy * row, dx * pixel, 0 if lane_wise else self.taps),
            ),
            weight_base=weight_base,
            weight_steps=weight_steps,
            result_base=base,
            result_steps=(0,) * 3 if stream else used(width // self.lanes, ox * pitch, pitch),
            lo=lo,
            hi=hi,
            bias_base=self.add_bias(groups * width, stream and not table),
            bias_step=width // self.rq if groups > 1 else 0,
            tail=c_out - (groups - 1) * width,
            y_start=-py,
            y_limit=t.h,
            y_step_oy=sy if oy > 1 else 0,
            y_step_ky=dy if ky > 1 else 0,
            x_start=-px,
            x_limit=t.w,
            x_step_ox=sx if ox > 1 else 0,
            x_step_kx=dx if kx > 1 else 0,
            table=table,
            table_base=int(rng.integers(self.tables)) if table else 0,
            narrow=narrow,
            lanewise=lane_wise,
            max=kind == "max",
            x_unsigned=bool(rng.integers(2)),
            y_unsigned=bool(table and stream and rng.integers(2)),
            stream=stream,
            last=last,
        )
        self.program.append(nest)
        lanes = self.lanes
        return Tensor(base * lanes, oy, ox, c_out, pitch * lanes, subs * lanes)

    def in_place(self):
        """A rescale that writes each sub-word where it read it."""
        t, word, lanes = self.tensor, self.word, self.lanes
        groups = -(-t.written // word)
        counts = (groups, t.h, t.w, 1, 1, 1)
        used = lambda *s: tuple(0 if n == 1 else v for n, v in zip(counts, s, strict=False))  # noqa: E731
        lo, hi = self.clamp(False, False)
        self.program.append(
            Nest(
                counts=counts,
                act_base=t.at,
                act_steps=(*used(word, t.w * t.pitch, t.pitch), 0, 0, 0),
                weight_base=self.add_weights(groups, 0),
                weight_steps=(*used(1), 0, 0, 0, 0, 0),
                result_base=t.at // lanes,
                result_steps=used(self.taps, t.w * t.pitch // lanes, t.pitch // lanes),
                lo=lo,
                hi=hi,
                bias_base=self.add_bias(groups * word, False),
                bias_step=word // self.rq if groups > 1 else 0,
                tail=t.written - (groups - 1) * word,
                lanewise=True,
            )
        )

    def grow(self):
        t, lanes, kinds = self.tensor, self.lanes, self.kinds()
        if "lanes" in kinds:
            kinds += ["concat", "in place"]
        kind = self.pick(*kinds)
        if kind == "in place":
            self.in_place()
        elif kind == "concat":  # two lane-wise results, the second right behind the first
            most = -(-t.written // lanes)
            pitch = self.up(2 * most, self.taps)
            base = self.claim(t.h * t.w * pitch, self.taps)
            self.window = lambda size: (1, 1, 1, 0, size)
            one = self.nest("lanes", slot=(base, pitch)).written // lanes
            two = self.nest(self.pick("lanes", "max"), slot=(base + one, pitch)).written // lanes
            del self.window
            width = (one + two) * lanes
            self.tensor = Tensor(base * lanes, t.h, t.w, width, pitch * lanes, width)
        else:
            self.tensor = self.nest(kind)
        if not self.kinds():  # too narrow to be read: TAPS elements need more sub-words
            self.tensor = t
            if kind == "in place":
                raise AssertionError("it lies where it lay")

    def build(self):
        rng = self.rng
        n = int(rng.integers(1, 3))
        for _ in range(n):
            self.grow()
        for _ in range(int(rng.integers(1, 3))):
            self.nest(self.pick(*self.kinds()), last=True)
            self.program[-1] = replace(self.program[-1], last=False)
        self.program[-1] = replace(self.program[-1], last=True)
        weights = (
            np.concatenate(self.weights) if self.weights else np.zeros((1, self.word), np.int64)
        )
        images = {
            "program": from_uint32(encode_program(self.program)),
            "weights": pack_lanes(weights, 8),
            "bias": pack_bias(np.array(self.bias), np.array(self.shift), self.rq),
        }
        if self.tables:
            values = rng.integers(0, 1 << self.data_bits, (256 * self.tables, self.data_bits // 8))
            images["table"] = pack_lanes(values, self.data_bits, signed=False)
        core = Core(
            *(self.lanes, self.taps, self.data_bits, 8, self.rq),
            *(len(images[i]) for i in ("program", "weights", "bias")),
            *(256 * self.tables, -(-self.free // self.taps) + int(rng.integers(0, 3))),
            self.narrow,
        )
        return images, core


def draft(seed):
    return Draft(np.random.default_rng(seed)).build()


def check_equal(images, core, seed, samples=3):
    machine = Machine(images, core)
    rng = np.random.default_rng(seed)
    top = 1 << core.data_bits
    frames = rng.integers(-top // 2, top // 2, (samples, machine.beats_in))
    results = machine.run(frames, keep_layers=True)
    for i in range(samples):
        beats, logs = Plain(images, core, seed + i).run(frames[i])
        for log, kept in zip(logs, results.nests, strict=True):
            assert [address for address, _ in log] == kept.addresses.tolist()
            assert [word for _, word in log] == kept.words[i].tolist(), f"nest {kept.descriptor}"
        assert beats == results.beats[i].tolist()
    assert np.array_equal(machine.run(frames).beats, results.beats)


slow_is_fine = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])


# ------------------------------------------------------------- rules 2 to 4, address by address


def broken_rule(program, images, core):
    """The field that the first broken rule is about, and its nest; None if the program is legal."""
    lanes, width = core.lanes, core.lanes * core.taps
    written = set()
    head = program[0]
    for run in range(head.runs):
        length = head.lead + head.run
        for i in range(length):
            element = (head.result_base + run * -(-length // width)) * width + i
            unit = max(lanes, core.taps)
            written |= {s for s in range(element // unit * unit // lanes, element // lanes + 1)}
            end = (element // unit + 1) * unit
            written |= {s for s in range(element // lanes, end // lanes)}
    for index, d in enumerate(program[1:], 1):
        n = width if d.lanewise else lanes
        reads, writes = {}, {}  # sub-word -> pixels
        wrong = set()

        def sum_of(steps, indices):
            return sum(s * i for s, i in zip(steps, indices, strict=False))

        for pixel in itertools.product(*(range(c) for c in d.counts[:3])):
            g, oy, ox = pixel
            valid = d.tail if g == d.counts[0] - 1 else n
            for lane in range(valid):
                word = d.bias_base + g * d.bias_step + lane // core.rq
                if word >= len(images["bias"]):
                    wrong.add("bias_base")
            first = d.result_base + sum_of(d.result_steps, pixel)
            for s in {first + lane // lanes for lane in range(valid)}:
                writes.setdefault(s, []).append(pixel)
            for tap in itertools.product(*(range(c) for c in d.counts[3:])):
                if not d.max:
                    step = d.weight_base + sum_of(d.weight_steps, (*pixel, *tap))
                    if not 0 <= step >> d.narrow < len(images["weights"]):
                        wrong.add("weight_base")
                y = d.y_start + oy * d.y_step_oy + tap[0] * d.y_step_ky
                x = d.x_start + ox * d.x_step_ox + tap[1] * d.x_step_kx
                if 0 <= y < d.y_limit and 0 <= x < d.x_limit:
                    a = d.act_base + sum_of(d.act_steps, (*pixel, *tap))
                    if not 0 <= a < core.scratch_depth * width:
                        wrong.add("act_base")
                    for i in range(valid if d.lanewise else core.taps):
                        reads.setdefault((a + i) // lanes, set()).add(pixel)
        if reads.keys() - written:
            wrong.add("act_base")
        if not d.stream:
            for s, pixels in writes.items():
                inside = 0 <= s < core.scratch_depth * core.taps
                alone = len(pixels) == 1
                hazard = s in reads and not (d.lanewise and reads[s] == set(pixels))
                if not inside or not alone or hazard:
                    wrong.add("result_base")
            written |= writes.keys()
        for name in ("weight_base", "bias_base", "act_base", "result_base"):
            if name in wrong:
                return name, index
    return None


def disturbed(program, core, rng):
    """The program with one or two fields changed, so that rules 1 and 5 to 8 still hold."""
    program = list(program)
    for _ in range(int(rng.integers(1, 3))):
        index = int(rng.integers(1, len(program)))
        d = program[index]
        unit = core.lanes * core.taps if d.lanewise else core.taps
        kind = str(rng.choice(["act", "result", "weight", "bias", "tail", "start", "limit"]))
        move = int(rng.choice([-3, -2, -1, 1, 2, 3, core.lanes, -core.lanes, core.taps]))
        name, fields = str(rng.choice(["x", "y"])), {}
        counted = [i for i in range(6) if d.counts[i] > 1]
        if kind == "tail":
            width = core.lanes * core.taps if d.lanewise else core.lanes
            fields["tail"] = int(rng.integers(1, width + 1))
        elif kind in ("start", "limit"):
            value = getattr(d, f"{name}_{kind}") + move
            fields[f"{name}_{kind}"] = value if kind == "start" else max(1, value)
        elif kind == "bias":
            fields["bias_base"] = max(0, d.bias_base + move)
        elif (kind == "weight" and d.max) or (kind == "result" and d.stream):
            continue
        else:
            steps = list(getattr(d, f"{kind}_steps"))
            counted = [i for i in counted if i < len(steps)]
            by = move * (unit if kind == "act" else 1)
            if counted and rng.integers(2):
                steps[int(rng.choice(counted))] += by
                fields[f"{kind}_steps"] = tuple(steps)
            else:
                base = getattr(d, f"{kind}_base") + by
                fields[f"{kind}_base"] = base if kind == "act" else max(0, base)
        program[index] = replace(d, **fields)
    return program


@slow_is_fine
@given(st.integers(0, 2**32))
def test_golden_equals_the_plain_loops(seed):
    images, core = draft(seed)
    check_equal(images, core, seed)


@pytest.mark.parametrize("seed", range(300))
def test_the_validator_refuses_what_a_plain_loop_finds_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    images, core = Draft(rng).build()
    program = disturbed(split_program(to_uint32(images["program"])), core, rng)
    expected = broken_rule(program, images, core)
    try:
        validate(images | {"program": from_uint32(encode_program(program))}, core)
        found = None
    except ProgramError as error:
        found = str(error)
    if expected is None:
        assert found is None
    else:
        name, index = expected
        assert found is not None and f", nest {index}, {name}: " in found


@slow_is_fine
@given(st.integers(0, 2**32), st.data())
def test_flipped_program_bits_are_refused_or_run_alike(seed, data):
    images, core = draft(seed)
    flipped = images["program"].data.copy()
    for _ in range(data.draw(st.integers(1, 2))):
        word = data.draw(st.integers(0, len(flipped) - 1))
        flipped[word, data.draw(st.integers(0, 3))] ^= 1 << data.draw(st.integers(0, 7))
    broken = images | {"program": Words(32, flipped)}
    try:
        program = validate(broken, core)
    except ProgramError as error:
        assert str(error).startswith(("program line", "the program has no nest"))
        return
    work = sum(d.pixels * d.taps for d in program if isinstance(d, Nest))
    assume(work * core.multipliers < 400_000)
    check_equal(broken, core, seed, samples=1)


@slow_is_fine
@given(st.integers(0, 2**32))
def test_any_garbage_program_is_judged_without_a_crash(seed):
    images, core = draft(seed)
    rng = np.random.default_rng(seed)
    words = to_uint32(images["program"]).copy()
    for name in rng.choice(sorted(NEST_FIELDS), 3):
        f = NEST_FIELDS[name]
        words[32 + f.word] &= ~np.uint32(((1 << f.bits) - 1) << f.lsb)
        words[32 + f.word] |= np.uint32(int(rng.integers(1 << f.bits)) << f.lsb)
    try:
        validate(images | {"program": from_uint32(words)}, core)
    except ProgramError:
        pass


@slow_is_fine
@given(st.integers(0, 2**32), st.data())
def test_any_weights_and_biases_run_alike(seed, data):
    """Accumulators may wrap here: nothing but the packer keeps them from it."""
    images, core = draft(seed)
    rng = np.random.default_rng(seed)
    extreme = data.draw(st.sampled_from([0, 0xFF, 0x7F, 0x80]))
    weights = images["weights"].data.copy()
    weights[rng.random(weights.shape) < 0.7] = extreme
    bias = rng.integers(0, 256, images["bias"].data.shape).astype(np.uint8)
    if core.rq == 1:
        bias[:, -1] &= 15
    images = images | {"weights": Words(images["weights"].bits, weights)}
    check_equal(images | {"bias": Words(images["bias"].bits, bias)}, core, seed, samples=2)


@pytest.mark.parametrize("seed", range(60))
def test_small_chunks_blocks_and_runs_of_taps_change_nothing(seed, monkeypatch):
    images, core = draft(seed)
    frames = np.random.default_rng(seed).integers(-128, 128, (5, Machine(images, core).beats_in))
    whole = Machine(images, core).run(frames).beats
    monkeypatch.setattr("bramcast.golden.sizes.TAPS_AT_ONCE", 3)
    monkeypatch.setattr("bramcast.golden.sizes.MAX_CHUNK", 2)
    monkeypatch.setattr("bramcast.golden.sizes.BLOCK_BYTES", 64)
    monkeypatch.setattr("bramcast.golden.sizes.CACHED_ENTRIES", 10)
    assert np.array_equal(Machine(images, core).run(frames).beats, whole)


def named(program, core):
    """A manifest in which every nest is a layer of its own."""
    frame = Frame([1], [1, 1, 1], [1, 1, 1], Format(8, 0, True))
    layers, nests = [], []
    for i, d in enumerate(program[1:]):
        width = core.lanes * core.taps if d.lanewise else core.lanes
        channels = (d.counts[0] - 1) * width + d.tail
        fmt = Format(32 if d.stream else core.data_bits, 0, d.stream)
        layers.append(LayerInfo(f"l{i}", "x", [*d.counts[1:3], channels], fmt, 0, ""))
        padding = [-1] * (d.counts[0] * width - channels)
        nests.append(NestInfo(i, [*range(channels), *padding]))
    return Manifest(1, "n", "0", core, [], frame, frame, layers, nests, 1, 1, 1)


def log_lines(logs, beats, program, core):
    """The log of docs/core.md, as the core would write it."""
    digits = max(8, -(-core.lanes * core.data_bits // 4))
    lines, position = [], 0
    for index, (d, log) in enumerate(zip(program[1:], logs, strict=True), 1):
        lines.append(f"2 {index:04x} 000000 {index:0{digits}x}")
        if d.stream:
            width = core.lanes * core.taps if d.lanewise else core.lanes
            count = ((d.counts[0] - 1) * width + d.tail) * d.counts[1] * d.counts[2]
            for beat in range(position, position + count):
                raw = beats[beat] & 0xFFFFFFFF
                lines.append(f"1 {index:04x} {beat:06x} {raw:0{digits}x}")
            position += count
        else:
            for address, part in log:
                raw = sum(v << (core.data_bits * i) for i, v in enumerate(part))
                lines.append(f"0 {index:04x} {address:06x} {raw:0{digits}x}")
    return [*lines, f"3 {len(program) - 1:04x} 000000 {99:0{digits}x}"]


@pytest.mark.parametrize("seed", range(60))
def test_layers_and_the_comparison_with_a_log_follow_the_plain_loops(seed, tmp_path):
    rng = np.random.default_rng(seed)
    images, core = Draft(rng, taps=(1, 2, 4)).build()
    program = split_program(to_uint32(images["program"]))
    machine = Machine(images, core, named(program, core))
    frame = rng.integers(-128, 128, (1, machine.beats_in))
    results = machine.run(frame, keep_layers=True)
    beats, logs = Plain(images, core).run(frame[0])
    # every valid element: layer, channel, y, x, its line of the log and where it stands there
    elements, lines, rows = {}, log_lines(logs, beats, program, core), []
    position = 1
    for layer, (d, log) in enumerate(zip(program[1:], logs, strict=True)):
        width = core.lanes * core.taps if d.lanewise else core.lanes
        line, log = position, iter(log)
        for g, y, x in itertools.product(*(range(c) for c in d.counts[:3])):
            valid = d.tail if g == d.counts[0] - 1 else width
            parts = [next(log)[1] for _ in range(0, valid, core.lanes)]
            for lane in range(valid):
                value = parts[lane // core.lanes][lane % core.lanes]
                elements[layer, g * width + lane, y, x] = value
                bit = 0 if d.stream else lane % core.lanes * core.data_bits
                rows.append((line + (lane if d.stream else lane // core.lanes), bit))
            line += valid if d.stream else len(parts)
        position = line + 1
    layers = list(layer_results(machine, results))
    found = {
        (i, int(c), int(y), int(x)): int(layer.values[0, c, y, x])
        for i, layer in enumerate(layers)
        for c, y, x in np.ndindex(*layer.values.shape[1:])
    }
    assert found == elements
    path = tmp_path / "hdl.log"
    path.write_text("\n".join(lines) + "\n")
    whole = compare(machine, results, read_log(path), None)
    assert whole.first is None and whole.elements == len(elements)
    # one bit of one element
    which = int(rng.integers(len(rows)))
    (layer, c, y, x), (line, bit) = list(elements)[which], rows[which]
    head, data = lines[line][:14], lines[line][14:]
    lines[line] = f"{head}{int(data, 16) ^ 1 << bit:0{len(data)}x}"
    path.write_text("\n".join(lines) + "\n")
    wrong = compare(machine, results, read_log(path), None)
    assert wrong.mismatches == 1 and wrong.first is not None
    assert (wrong.first.layer, wrong.first.channel, wrong.first.position) == (
        f"l{layer}",
        c,
        (y, x),
    )
