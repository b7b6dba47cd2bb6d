"""Golden against the loops of docs/format.md, written out plainly, on random legal programs."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bramcast.golden.machine import Machine
from bramcast.golden.validate import validate
from bramcast.pack.descriptor import (
    LOOPS,
    NEST_FIELDS,
    Input,
    Nest,
    encode_program,
    split_program,
)
from bramcast.pack.errors import ProgramError
from bramcast.pack.manifest import Core
from bramcast.pack.words import Words, from_uint32, pack_bias, pack_lanes, to_uint32

# ------------------------------------------------------------------ docs/format.md, step by step


def signed(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Plain:
    """The core as docs/format.md describes it: Python integers, jumps as the hardware adds them."""

    def __init__(self, images, core):
        self.images, self.core = images, core
        self.words = [int(w) for w in to_uint32(images["program"])]
        self.program = split_program(to_uint32(images["program"]))

    def field(self, index, name):
        f = NEST_FIELDS[name]
        value = self.words[32 * index + f.word] >> f.lsb & ((1 << f.bits) - 1)
        return signed(value, f.bits) if f.signed else value

    def weight(self, address, lane):
        bits = self.core.weight_bits
        return signed(self.images["weights"].integer(address) >> (bits * lane), bits)

    def bias(self, address, lane):
        entry = self.images["bias"].integer(address) >> (36 * (lane % self.core.rq)) & (2**36 - 1)
        return signed(entry, 31), entry >> 31

    def run(self, frame):
        core, lanes = self.core, self.core.lanes
        scratch = [[0] * lanes for _ in range(core.scratch_depth)]
        stream = iter(frame)
        head = self.program[0]
        word = head.result_base
        for _ in range(head.runs):
            for start in range(0, head.run, lanes):
                for lane in range(min(lanes, head.run - start)):
                    scratch[word][lane] = int(next(stream)) & (2**core.data_bits - 1)
                for lane in range(min(lanes, head.run - start), lanes):
                    scratch[word][lane] = 0
                word += 1
        beats, logs = [], []
        for index in range(1, len(self.program)):
            logs.append(self.nest(index, scratch, beats))
        return beats, logs

    def nest(self, index, scratch, beats):
        core, lanes = self.core, self.core.lanes
        get = lambda name: self.field(index, name)  # noqa: E731
        counts = [get(f"count_{n}") + 1 for n in LOOPS]
        jumps = {
            s: [get(f"{s}_jump_{n}") for n in LOOPS[: 3 if s == "result" else 6]]
            for s in ("act", "weight", "result")
        }
        a, w, r = get("act_base"), get("weight_base"), get("result_base")
        tail, log = get("tail") + 1, []

        def element(address, lane=None):
            raw = scratch[address // lanes][address % lanes if lane is None else lane]
            return raw if get("x_unsigned") else signed(raw, core.data_bits)

        before = None
        for g, oy, ox in itertools.product(*(range(c) for c in counts[:3])):
            acc, empty = [0] * lanes, True
            for ky, kx, ci in itertools.product(*(range(c) for c in counts[3:])):
                now = (g, oy, ox, ky, kx, ci)
                if before is not None:
                    level = next(i for i in range(6) if now[i] != before[i])
                    a += jumps["act"][level]
                    w += jumps["weight"][level]
                    if level < 3:
                        r += jumps["result"][level]
                before = now
                y = get("y_start") + oy * get("y_step_oy") + ky * get("y_step_ky")
                x = get("x_start") + ox * get("x_step_ox") + kx * get("x_step_kx")
                if not (0 <= y < get("y_limit") and 0 <= x < get("x_limit")):
                    continue
                for lane in range(lanes):
                    if get("max"):
                        value = element(a, lane)
                        acc[lane] = value if empty else max(acc[lane], value)
                    elif get("lanewise"):
                        acc[lane] += element(a, lane) * self.weight(w, lane)
                    else:
                        acc[lane] += element(a) * self.weight(w, lane)
                empty = False
            last_group = g == counts[0] - 1
            values = []
            for lane in range(tail if last_group else lanes):
                bias, shift = self.bias(
                    get("bias_base") + g * get("bias_step") + lane // core.rq, lane
                )
                total = signed(acc[lane], 32) + bias + ((1 << shift) >> 1)
                v = min(max(total >> shift, get("lo")), get("hi"))
                if get("table"):
                    v = self.images["table"].integer(get("table_base") * 256 + (v & 255))
                    if get("stream") and not get("y_unsigned"):
                        v = signed(v, 8)
                values.append(v)
            values += [0] * (lanes - len(values))
            if get("stream"):
                beats += values[: tail if last_group else lanes]
                log.append((-1, values))
            else:
                scratch[r] = [v & (2**core.data_bits - 1) for v in values]
                log.append((r, scratch[r]))
        return log


# ------------------------------------------------------------------------ random legal programs


class Tensor:
    """A picture in the scratchpad: first word, height, width, channels, pitch in elements."""

    def __init__(self, word, h, w, c, pitch):
        self.word, self.h, self.w, self.c, self.pitch = word, h, w, c, pitch


class Draft:
    """Grows a program nest by nest; every nest is legal."""

    def __init__(self, rng):
        self.rng = rng
        self.lanes = int(rng.choice([1, 2, 4, 8]))
        self.rq = int(rng.choice([r for r in (1, 2, 4) if r <= self.lanes]))
        self.data_bits = int(rng.choice([8, 8, 16]))
        self.weights, self.bias, self.shift, self.free = [], [], [], 0
        self.tables = int(rng.integers(1, 3)) if self.data_bits == 8 else 0
        h, w, c = (int(v) for v in rng.integers(1, (6, 6, 7)))
        aligned = bool(rng.integers(2))
        pitch = -(-c // self.lanes) * self.lanes if aligned else c
        run, runs = (c, h * w) if aligned else (h * w * c, 1)
        self.program = [Input(run, runs, self.claim(runs * -(-run // self.lanes)))]
        self.tensor = Tensor(self.program[0].result_base, h, w, c, pitch)

    def claim(self, words):
        self.free += int(self.rng.integers(0, 2)) + words
        return self.free - words

    def pick(self, *options):
        return options[int(self.rng.integers(len(options)))]

    def add_weights(self, n):
        self.weights.append(self.rng.integers(-128, 128, (n, self.lanes)))
        return sum(len(w) for w in self.weights) - n

    def add_bias(self, groups, stream):
        n = groups * self.lanes
        start = len(self.bias) // self.rq
        self.bias += self.rng.integers(-3000, 3000, n).tolist()
        self.shift += [0] * n if stream else self.rng.integers(0, 14, n).tolist()
        return start

    def clamp(self, stream, table):
        half = 1 << (self.data_bits - 1)
        if table:
            return self.pick((-128, 127), (0, 255), (-7, 200))
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

    def nest(self, kind, last=False, slot=None):
        t, lanes, rng = self.tensor, self.lanes, self.rng
        lane_wise = kind != "dense"
        ky, sy, dy, py, oy = self.window(t.h)
        kx, sx, dx, px, ox = self.window(t.w)
        if kind == "dense":
            c_out = int(rng.integers(1, 3 * lanes + 1))
            groups, ci = -(-c_out // lanes), t.c
        else:
            c_out, groups, ci = t.c, -(-t.c // lanes), 1
        counts = (groups, oy, ox, ky, kx, ci)

        def used(*steps):
            return tuple(0 if n == 1 else s for n, s in zip(counts, steps, strict=False))

        stream = last
        table = self.tables > 0 and bool(rng.integers(4) == 0)
        lo, hi = self.clamp(stream, table)
        row, pixel = t.w * t.pitch, t.pitch
        weight_base, weight_steps = 0, (0,) * 6
        if kind == "dense":
            n = ky * kx * ci
            weight_base = self.add_weights(n * groups)
            weight_steps = used(n, 0, 0, kx * ci, ci, 1)
        elif kind == "lanes":
            per_pixel = bool(rng.integers(3) == 0)  # a word for each output position
            n = ky * kx * (oy * ox if per_pixel else 1)
            weight_base = self.add_weights(n * groups)
            steps = (n, ox * ky * kx, ky * kx) if per_pixel else (n, 0, 0)
            weight_steps = used(*steps, kx, 1, 0)
        pitch = groups if slot is None else slot[1]
        base = 0
        if not stream:
            base = self.claim(oy * ox * pitch) if slot is None else slot[0]
        nest = Nest(
            counts=counts,
            act_base=t.word * lanes - py * row - px * pixel,
            act_steps=used(
                lanes if lane_wise else 0, sy * row, sx * pixel, dy * row, dx * pixel, 1 - lane_wise
            ),
            weight_base=weight_base,
            weight_steps=weight_steps,
            result_base=base,
            result_steps=(0, 0, 0) if stream else used(1, ox * pitch, pitch),
            lo=lo,
            hi=hi,
            bias_base=self.add_bias(groups, stream and not table),
            bias_step=lanes // self.rq if groups > 1 else 0,
            tail=c_out - (groups - 1) * lanes,
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
            lanewise=lane_wise,
            max=kind == "max",
            x_unsigned=bool(rng.integers(2)),
            y_unsigned=bool(table and stream and rng.integers(2)),
            stream=stream,
            last=last,
        )
        self.program.append(nest)
        return Tensor(base, oy, ox, c_out, pitch * lanes)

    def in_place(self):
        """A rescale that writes each word where it read it."""
        t, lanes = self.tensor, self.lanes
        groups = t.pitch // lanes
        counts = (groups, t.h, t.w, 1, 1, 1)
        used = lambda *s: tuple(0 if n == 1 else v for n, v in zip(counts, s, strict=False))  # noqa: E731
        lo, hi = self.clamp(False, False)
        self.program.append(
            Nest(
                counts=counts,
                act_base=t.word * lanes,
                act_steps=(*used(lanes, t.w * t.pitch, t.pitch), 0, 0, 0),
                weight_base=self.add_weights(groups),
                weight_steps=(*used(1), 0, 0, 0, 0, 0),
                result_base=t.word,
                result_steps=used(1, t.w * groups, groups),
                lo=lo,
                hi=hi,
                bias_base=self.add_bias(groups, False),
                bias_step=lanes // self.rq if groups > 1 else 0,
                tail=lanes,
                lanewise=True,
            )
        )

    def grow(self):
        t, lanes = self.tensor, self.lanes
        whole = t.pitch % lanes == 0
        kind = self.pick(
            *(("dense", "lanes", "max", "concat", "in place") if whole else ("dense",))
        )
        if kind == "in place":
            self.in_place()
        elif kind == "concat":  # two lane-wise results side by side
            groups = -(-t.c // lanes)
            base = self.claim(t.h * t.w * 2 * groups)
            self.window = lambda size: (1, 1, 1, 0, size)
            self.nest("lanes", slot=(base, 2 * groups))
            self.nest(self.pick("lanes", "max"), slot=(base + groups, 2 * groups))
            del self.window
            self.tensor = Tensor(base, t.h, t.w, 2 * groups * lanes, 2 * groups * lanes)
        else:
            self.tensor = self.nest(kind)

    def build(self):
        rng = self.rng
        n = int(rng.integers(1, 3))
        for _ in range(n):
            self.grow()
        for _ in range(int(rng.integers(1, 3))):
            whole = self.tensor.pitch % self.lanes == 0
            kind = self.pick("dense", "lanes", "max") if whole else "dense"
            self.nest(kind, last=True)
            self.program[-1] = replace(self.program[-1], last=False)
        self.program[-1] = replace(self.program[-1], last=True)
        weights = (
            np.concatenate(self.weights) if self.weights else np.zeros((1, self.lanes), np.int64)
        )
        images = {
            "program": from_uint32(encode_program(self.program)),
            "weights": pack_lanes(weights, 8),
            "bias": pack_bias(np.array(self.bias), np.array(self.shift), self.rq),
        }
        if self.tables:
            values = rng.integers(-128, 128, (256 * self.tables, 1))
            images["table"] = pack_lanes(values, 8)
        core = Core(
            *(self.lanes, 1, self.data_bits, 8, self.rq),
            *(len(images[i]) for i in ("program", "weights", "bias")),
            *(256 * self.tables, self.free + int(rng.integers(0, 3))),
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
        beats, logs = Plain(images, core).run(frames[i])
        for log, kept in zip(logs, results.nests, strict=True):
            assert [address for address, _ in log] == kept.addresses.tolist()
            assert [word for _, word in log] == kept.words[i].tolist(), f"nest {kept.descriptor}"
        assert beats == results.beats[i].tolist()
    assert np.array_equal(machine.run(frames).beats, results.beats)


slow_is_fine = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)


@slow_is_fine
@given(st.integers(0, 2**32))
def test_golden_equals_the_plain_loops(seed):
    images, core = draft(seed)
    check_equal(images, core, seed)


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
    assume(work * core.lanes < 200_000)
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


@pytest.mark.parametrize("seed", range(40))
def test_small_chunks_blocks_and_runs_of_taps_change_nothing(seed, monkeypatch):
    images, core = draft(seed)
    frames = np.random.default_rng(seed).integers(-128, 128, (5, Machine(images, core).beats_in))
    whole = Machine(images, core).run(frames).beats
    monkeypatch.setattr("bramcast.golden.machine._TAPS_AT_ONCE", 3)
    monkeypatch.setattr("bramcast.golden.machine._MAX_CHUNK", 2)
    monkeypatch.setattr("bramcast.golden.machine._BLOCK_BYTES", 64)
    monkeypatch.setattr("bramcast.golden.machine._CACHED_ENTRIES", 10)
    assert np.array_equal(Machine(images, core).run(frames).beats, whole)
