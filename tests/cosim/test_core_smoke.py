# SPDX-License-Identifier: Apache-2.0
"""The whole core against a plain interpreter of docs/format.md, on random legal programs.

The interpreter and the cycle model here are written from the documents alone, loop by loop, so that
they share nothing with golden.
"""

import itertools
import math
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import need

from bramcast.golden.arith import requantize
from bramcast.golden.machine import Machine
from bramcast.pack.bundle.cycles import predict as golden_cycles
from bramcast.pack.bundle.manifest import Core
from bramcast.pack.bundle.program import (
    ALL_BANKS,
    MOST_PACKETS,
    Input,
    Loop,
    Nest,
    Rows,
    encode_program,
)
from bramcast.pack.bundle.words import Words, from_uint32, pack_bias, pack_lanes
from bramcast.sim.run.runner import Tests, build, run

pytestmark = pytest.mark.cosim


# ---------------------------------------------------------------- a core and its program


SubWord = tuple[int, int]  # bank, address there
Tap = tuple[int, int, int, bool]  # bank, element there, weight step, inside the limits


@dataclass(frozen=True)
class Shape:
    """The core's parameters, by the names that the HDL uses."""

    LANES: int
    RQ: int
    TAPS: int = 1
    DATA_BITS: int = 8
    TABLE_DEPTH: int = 512
    PROGRAM_DEPTH: int = 512
    WEIGHTS_DEPTH: int = 200
    BIAS_DEPTH: int = 100
    SCRATCH_DEPTH: int = 300
    FRAME_DEPTH: int = 0
    GATES: int = 0
    TILES: int = 1
    PAIRS: int = 0

    @property
    def name(self) -> str:
        frames = f"_frames{self.FRAME_DEPTH}" if self.FRAME_DEPTH else ""
        gates = "_gates" if self.GATES else ""
        tiles = f"_tiles{self.TILES}" if self.TILES > 1 else ""
        tiles += "_pairs" if self.PAIRS else ""
        return f"{self.LANES}x{self.TAPS}x{self.DATA_BITS}_rq{self.RQ}{frames}{gates}{tiles}"

    @property
    def word(self) -> int:
        """Elements of a scratchpad word and of a weight word."""
        return self.LANES * self.TAPS

    @property
    def unit(self) -> int:
        """Elements of the input frame that are written at once."""
        return max(self.LANES, self.TAPS)

    def group(self, nest: Nest) -> int:
        """Results of a whole group."""
        return self.word if nest.lanewise else self.LANES

    def valid(self, nest: Nest, g: int) -> int:
        """Valid lanes of group ``g``."""
        return nest.tail if g == nest.counts[0] - 1 else self.group(nest)

    def parts(self, nest: Nest, g: int) -> int:
        """Sub-words that a group's results fill."""
        return -(-self.valid(nest, g) // self.LANES)

    @property
    def subs(self) -> int:
        """Sub-words of a bank."""
        return self.SCRATCH_DEPTH * self.TAPS

    def scratch(self) -> np.ndarray:
        """All sub-words of all banks, zero: int64 [TILES * SCRATCH_DEPTH * TAPS, LANES]."""
        return np.zeros((self.TILES * self.subs, self.LANES), np.int64)

    def number(self, sub_word: SubWord) -> int:
        """Of a sub-word, counted behind those of the banks before."""
        bank, sub = sub_word
        assert 0 <= bank < self.TILES and 0 <= sub < self.subs
        return bank * self.subs + sub

    def frame(self, d: Input) -> list[list[SubWord]]:
        """The sub-words that each run of the input frame fills."""
        words = -(-(d.lead + d.run) // self.word)
        runs = []
        for i in range(d.runs):
            bank, place = divmod(i, d.strip_runs or d.runs)
            length = d.lead + (d.last_run if d.last_run and i == d.runs - 1 else d.run)
            units = -(-length // self.unit) * self.unit // self.LANES
            start = (d.result_base + place * words) * self.TAPS
            runs.append([(bank, start + n) for n in range(units)])
        return runs

    def read(self, nest: Nest, g: int, bank: int, element: int) -> list[SubWord]:
        """The sub-words that a tap reads."""
        first = element // self.LANES
        end = (element + self.TAPS - 1) // self.LANES + 1
        if nest.lanewise:
            end = first + self.parts(nest, g)
        return [(bank, sub) for sub in range(first, end)]

    def parameters(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass
class Case:
    """A program with its images, frames, and what must come out."""

    shape: Shape
    program: list[Input | Loop | Nest]
    weights: np.ndarray  # [WEIGHTS_DEPTH, LANES * TAPS]
    bias: np.ndarray  # [BIAS_DEPTH * RQ]
    shift: np.ndarray  # [BIAS_DEPTH * RQ]
    table: np.ndarray  # [TABLE_DEPTH] words
    frames: list[list[int]] = field(default_factory=list)

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the images; returns the plusargs."""
        shape = self.shape
        program = [int(w) for w in encode_program(self.program)]
        program += [0] * (shape.PROGRAM_DEPTH - len(program))
        weights = [
            sum((int(w) & 0xFF) << (8 * i) for i, w in enumerate(row)) for row in self.weights
        ]
        entries = [
            (int(s) << 31) | (int(b) & 0x7FFFFFFF)
            for b, s in zip(self.bias, self.shift, strict=True)
        ]
        bias = [
            sum(entries[i + j] << (36 * j) for j in range(shape.RQ))
            for i in range(0, len(entries), shape.RQ)
        ]
        images = {"program": (program, 32), "weights": (weights, 8 * shape.word)}
        images["bias"] = (bias, 36 * shape.RQ)
        if shape.TABLE_DEPTH:
            images["table"] = ([int(t) for t in self.table], 8 if shape.DATA_BITS == 8 else 32)
        paths = {}
        for name, (words, bits) in images.items():
            paths[name] = folder / f"{name}.mem"
            paths[name].write_text("".join(f"{w:0{(bits + 3) // 4}X}\n" for w in words))
        return paths


# ---------------------------------------------------------------- the interpreter


def executed(program: list[Input | Loop | Nest]) -> list[tuple[Nest, bool]]:
    """The nests that run, with the bases of their iteration; True: a LOOP has been read before."""
    result = []
    place = 1
    while place < len(program):
        loop = program[place]
        if isinstance(loop, Nest):
            result.append((loop, False))
            place += 1
            continue
        for i in range(loop.count):
            for j in range(loop.length):
                nest = program[place + 1 + j]
                act = nest.act_base + (i * loop.act_step if nest.act_moves else 0)
                out = nest.result_base + (i * loop.result_step if nest.result_moves else 0)
                moved = replace(nest, act_base=act, result_base=out)
                result.append((moved, i == 0 and j == 0))
        place += 1 + loop.length
    return result


def row(nest: Nest, oy: int, ky: int, tile: int) -> tuple[int, int, bool]:
    """Where a tap's row lies: bank, elements that it adds to the address; inside the limits?"""
    rows = nest.rows
    if rows is None:
        y = nest.y_start + oy * nest.y_step_oy + ky * nest.y_step_ky
        return 0, 0, 0 <= y < nest.y_limit
    u = rows.start + oy * rows.step_oy + ky * rows.step_ky + nest.strips * tile * rows.span
    return u // rows.span, u % rows.span, 0 <= u < rows.limit


def banks(nest: Nest, tile: int, tiles: int) -> list[int]:
    """The banks that a tile's results go to."""
    if nest.strips:
        return [tile]
    return list(range(tiles)) if nest.bank == ALL_BANKS else [nest.bank]


def points(
    nest: Nest, tiles: int
) -> Iterator[tuple[tuple[int, int, int], list[tuple[list[Tap], list[int]]], int]]:
    """Each pixel of a nest: (g, oy, ox), of each tile its taps and banks, result sub-word.

    One tile, where all compute the same.
    """
    c, sa, sw, sr = nest.counts, nest.act_steps, nest.weight_steps, nest.result_steps
    inner = list(itertools.product(*map(range, c[3:])))
    for pixel in itertools.product(*map(range, c[:3])):
        g, oy, ox = pixel
        made = []
        for tile in range(tiles if nest.strips else 1):
            taps = []
            for ky, kx, ci in inner:
                at = (*pixel, ky, kx, ci)
                bank, offset, inside = row(nest, oy, ky, tile)
                a = nest.act_base + offset + sum(i * s for i, s in zip(at, sa, strict=True))
                w = nest.weight_base + sum(i * s for i, s in zip(at, sw, strict=True))
                x = nest.x_start + ox * nest.x_step_ox + kx * nest.x_step_kx
                taps.append((bank, a, w, inside and 0 <= x < nest.x_limit))
            made.append((taps, banks(nest, tile, tiles)))
        word = nest.result_base + sum(i * s for i, s in zip(pixel, sr, strict=True))
        yield pixel, made, word


def interpret(case: Case, frame: list[int], scratch: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Run the program on one frame; returns the log's lines of kinds 0 and 1.

    ``scratch`` is int64 [TILES * SCRATCH_DEPTH * TAPS, LANES] of raw, unsigned elements, sub-word
    by sub-word, bank by bank, and is changed in place.
    """
    shape = case.shape
    lanes, taps_each, rq, bits = shape.LANES, shape.TAPS, shape.RQ, shape.DATA_BITS
    mask = (1 << bits) - 1
    lines = []
    beat = 0
    weights = case.weights.tolist()
    head = case.program[0]
    for i, places in enumerate(shape.frame(head)):
        run = [0] * head.lead
        run += [n & mask for n in frame[i * head.run : (i + 1) * head.run]]
        run += [0] * (len(places) * lanes - len(run))
        scratch[[shape.number(p) for p in places]] = np.array(run).reshape(len(places), lanes)
    bank_elements = shape.subs * lanes
    for number, (nest, _) in enumerate(executed(case.program), 1):
        raw = scratch.ravel().tolist()
        signed = np.where(scratch >> (bits - 1), scratch - mask - 1, scratch).ravel().tolist()
        flat = raw if nest.x_unsigned else signed
        factors = raw if nest.factor_unsigned else signed
        done = []
        group = shape.group(nest)
        tiles = (
            (g, taps, to, word, i == len(made) - 1)
            for (g, _, _), made, word in points(nest, shape.TILES)
            for i, (taps, to) in enumerate(made)
        )
        stored: dict[int, list[tuple[int, list[int]]]] = {}  # of a pixel, by its sub-words
        for g, taps, to, word, complete in tiles:
            acc = [0] * group
            first = True
            factor = [0] * group
            for i, (bank, a, w, inside) in enumerate(taps):
                a += bank * bank_elements
                if nest.product and i % 2 == 0:
                    factor = factors[a : a + group] if inside else [0] * group
                    continue
                if not inside:
                    continue
                row = flat[a : a + shape.word]
                if not nest.lanewise:
                    for t in range(taps_each):
                        x, part = flat[a + t], weights[w][t * lanes : (t + 1) * lanes]
                        acc = [s + x * k for s, k in zip(acc, part, strict=True)]
                elif nest.product:
                    acc = [s + x * k for s, x, k in zip(acc, row, factor, strict=True)]
                elif not nest.max:
                    acc = [s + x * k for s, x, k in zip(acc, row, weights[w], strict=True)]
                elif first:
                    acc = list(row)
                else:
                    acc = [max(s, x) for s, x in zip(acc, row, strict=True)]
                first = False
            acc = [(s + 2**31) % 2**32 - 2**31 for s in acc]
            valid = shape.valid(nest, g)
            base = (nest.bias_base + g * nest.bias_step) * rq
            values = []
            for lane in range(group):
                if lane >= valid:
                    values.append(0)
                    continue
                one = requantize(
                    np.array([acc[lane]], np.int64),
                    np.array([case.bias[base + lane]], np.int64),
                    np.array([case.shift[base + lane]], np.int64),
                    nest.lo,
                    nest.hi,
                )
                v = int(one[0])
                if nest.table:
                    v = looked_up(case.table[256 * nest.table_base :], v, bits)
                    if nest.stream and not nest.y_unsigned and v >> (bits - 1):
                        v -= 1 << bits
                values.append(v)
            if nest.stream:
                for v in values[:valid]:
                    lines.append((1, number, beat, v & 0xFFFFFFFF))
                    beat += 1
            else:
                for i in range(shape.parts(nest, g)):
                    part = values[i * lanes : (i + 1) * lanes]
                    stored.setdefault(i, []).extend((bank, part) for bank in to)
            if complete:  # all tiles write a sub-word at a time
                for i, parts in stored.items():
                    for bank, part in parts:
                        at = shape.number((bank, word + i))
                        done.append((at, part))
                        text = sum((v & mask) << (bits * i) for i, v in enumerate(part))
                        lines.append((0, number, at, text))
                stored = {}
        for word, values in done:
            scratch[word] = np.array(values) & mask
    return lines


def looked_up(table: np.ndarray, v: int, bits: int) -> int:
    """The result's bits: an entry, or the point on a line."""
    word = int(table[(v % 2**bits) >> (bits - 8)])
    if bits == 8:
        return word
    start, slope = word % 2**16, word // 2**16
    slope -= 2**16 if slope >= 2**15 else 0
    return math.floor(start + Fraction(slope * (v % 256), 256) + Fraction(1, 2)) % 2**16


# ---------------------------------------------------------------- the cycle model (docs/core.md)


def predict(program: list[Input | Loop | Nest], shape: Shape) -> tuple[list[int], int, int]:
    """First-tap cycle of each nest, the last nest's last tap and the cycles of the run.

    For a sink that is always ready.
    """
    filled = shape.LANES // shape.RQ  # chunks of a sub-word
    widest = shape.word // shape.RQ
    adding = shape.TAPS.bit_length() - 1
    fifo = max(16, 2 * widest)
    tiled = shape.TILES > 1  # a word more to fetch, two stages more
    starts, beat, last = [], 0, 0  # cycle of the last beat so far
    pops: list[int] = []  # cycles in which a credit comes back
    credit = fifo - widest
    start = 1
    gap = 0
    for nest, behind_loop in executed(program):
        if starts:
            fetch, loop = (36, 35) if tiled else (35, 34)
            start = max(last + gap, starts[-1] + fetch + (loop if behind_loop else 0))
        starts.append(start)
        late = adding + 2 * tiled + ((2 if shape.DATA_BITS == 8 else 4) if nest.table else 0)
        whole = shape.group(nest) // shape.RQ
        tail_chunks = -(-nest.tail // shape.RQ)
        last = start - 1
        drain = 0
        for pixel in range(nest.pixels):
            tail_group = pixel // (nest.counts[1] * nest.counts[2]) == nest.counts[0] - 1
            chunks = tail_chunks if tail_group else whole
            last = max(last + nest.taps, last + drain)
            drain = chunks
            if nest.stream:
                while pops and pops[0] < last:
                    pops.pop(0)
                    credit += 1
                while credit < 0:
                    last = max(last, pops.pop(0) + 1)
                    credit += 1
                credit -= chunks
                lanes = nest.tail if tail_group else shape.group(nest)
                for i in range(chunks):
                    for _ in range(min(shape.RQ, lanes - i * shape.RQ)):
                        beat = max(beat + 1, last + 15 + late + i)
                    pops.append(beat)
        gap = 13 + tail_chunks + (1 if tail_chunks % filled else 0) + late
    return starts, last, beat


def predict_ends(case: Case, accepted: list[list[int]]) -> list[int]:
    """When each frame's last beat leaves, from the cycles in which its elements were accepted.

    For a sink that is always ready; the cycles have any common origin.
    """
    starts, last_tap, cycles = predict(case.program, case.shape)
    tiled = case.shape.TILES > 1
    loop = 34 + tiled if isinstance(case.program[1], Loop) else 0
    frame = case.program[0]
    unit = case.shape.unit
    ends: list[int] = []
    for elements in accepted:
        if case.shape.FRAME_DEPTH == 0:
            first = elements[-1] + 3
        else:
            begin = ends[-1] - cycles if ends else -1  # the cycle before the last frame's cycle 1
            free = begin + last_tap + 3 + tiled if ends else 0
            read = 0
            for i, cycle in enumerate(elements):
                at = i % frame.run
                if (
                    i == len(elements) - 1
                    or at == frame.run - 1
                    or (frame.lead + at) % unit == unit - 1
                ):
                    read = max(read + 1, cycle + 3, free)
            resident = read + 3
            idle = ends[-1] + 1 if ends else 0
            fetched = begin + starts[-1] + 67 + 2 * tiled + loop if ends else 0
            first = max(resident, idle, fetched) + 2
        ends.append(first + cycles - 1)
    return ends


# ---------------------------------------------------------------- random legal programs


class _Again(Exception):
    """This draw gave no legal nest."""


def _spread(rng: random.Random, counts: list[int], limit: int, size: int) -> list[int]:
    """Steps that keep all combinations of indices ``size`` apart; 0 where a count is 1."""
    order = [i for i in range(len(counts)) if counts[i] > 1]
    rng.shuffle(order)
    steps = [0] * len(counts)
    reach = size
    for i in order:
        step = reach + rng.choice([0, 0, 0, 1, 2])
        steps[i] = step if rng.random() < 0.7 else -step
        reach = step * (counts[i] - 1) + reach
    if reach > limit:
        raise _Again
    return steps


def _base(rng: random.Random, counts, steps, depth: int, extra: int = 0) -> int:
    low = sum(min(0, (c - 1) * s) for c, s in zip(counts, steps, strict=True))
    high = sum(max(0, (c - 1) * s) for c, s in zip(counts, steps, strict=True)) + extra
    if high - low >= depth:
        raise _Again
    return rng.randrange(-low, depth - high)


def _limits(rng: random.Random, shape: Shape, stream: bool, table: bool) -> tuple[int, int]:
    if table:
        low, high = -(2 ** (shape.DATA_BITS - 1)), 2**shape.DATA_BITS - 1
    elif stream:
        choice = rng.random()
        if choice < 0.5:
            return -(2**31), 2**31 - 1
        low, high = -(2**31), 2**31 - 1
    elif rng.random() < 0.6:
        low, high = -(2 ** (shape.DATA_BITS - 1)), 2 ** (shape.DATA_BITS - 1) - 1
    else:
        low, high = 0, 2**shape.DATA_BITS - 1
    if rng.random() < 0.5:
        return low, high
    a, b = rng.randint(low, high), rng.randint(low, high)
    return min(a, b), max(a, b)


def _rows(rng: random.Random, shape: Shape, counts: list[int], unit: int) -> Rows | None:
    """How a nest of a core with several tiles walks over the rows of strips."""
    if shape.TILES == 1:
        return None
    if rng.random() < 0.1:  # no rows at all
        return Rows(rng.choice([1, 7]), limit=rng.choice([1, shape.TILES]))
    span = unit * rng.choice([1, 2, 3, 5, 8])

    def step(count: int) -> int:
        if count == 1:
            return 0
        return rng.choice([unit, -unit, span, -span, unit * rng.randint(-12, 12)])

    limit = rng.choice([shape.TILES * span, rng.randint(1, shape.TILES * span)])
    start = rng.choice([0, -unit, unit * rng.randint(-4, 4), span * rng.randint(-1, shape.TILES)])
    return Rows(span, start, step(counts[1]), step(counts[3]), limit)


def _nest(
    rng: random.Random, shape: Shape, written: set[SubWord], stream: bool, last: bool
) -> Nest:
    lanes = shape.LANES
    kind = rng.choice(["dense", "dense", "lanewise", "max", *["product"] * 2 * shape.GATES])
    small = rng.random() < 0.4
    counts = [rng.choice([1, 1, 2, 3]) for _ in range(6)]
    counts[5] = rng.choice([1, 2, 5, 9, 16])
    if small:
        counts[3:] = [1, 1, rng.choice([1, 1, 2, 3])]
        counts[1:3] = [rng.choice([1, 3, 5]), rng.choice([1, 2, 7])]
    group = lanes if kind == "dense" else shape.word
    if kind == "product" and counts[3] * counts[4] * counts[5] % 2:
        counts[rng.choice([3, 5])] = 2
    tail = rng.choice([group, group, rng.randint(1, group)])
    # activations: whatever addresses, as long as the valid taps read written sub-words
    unit = shape.TAPS if kind == "dense" else shape.word
    reach = rng.choice([1, 2, 4, lanes])
    act_steps = [0 if c == 1 else unit * rng.randint(-reach, reach) for c in counts]
    coordinates: dict[str, Any] = {"rows": _rows(rng, shape, counts, unit)}
    strips = shape.TILES > 1 and not stream and rng.random() < 0.6
    strips &= not (shape.PAIRS and kind == "product")
    if shape.TILES > 1 and not stream and not strips:
        coordinates["bank"] = rng.choice([rng.randrange(shape.TILES), ALL_BANKS])
    for axis, pixel, tap in (("y", 1, 3), ("x", 2, 4)):
        if rng.random() < 0.5 and (axis == "x" or shape.TILES == 1):
            limit = rng.choice([1, 2, 3, 5, 32767])
            coordinates[f"{axis}_limit"] = limit
            coordinates[f"{axis}_start"] = rng.randint(-3, min(limit, 4))
            coordinates[f"{axis}_step_o{axis}"] = rng.randint(-2, 2) if counts[pixel] > 1 else 0
            coordinates[f"{axis}_step_k{axis}"] = rng.randint(-2, 2) if counts[tap] > 1 else 0
    if kind in ("max", "product"):
        weight_steps, weight_base = [0] * 6, 0
    else:
        weight_steps = [0 if c == 1 else rng.randint(-3, 3) for c in counts]
        weight_steps[1] *= not strips
        weight_base = _base(rng, counts, weight_steps, shape.WEIGHTS_DEPTH)
    per_group = group // shape.RQ
    bias_step = rng.choice([0, per_group, 1]) if counts[0] > 1 else 0
    bias_base = _base(rng, counts[:1], [bias_step], shape.BIAS_DEPTH, per_group - 1)
    table = shape.TABLE_DEPTH > 0 and rng.random() < 0.3
    lo, hi = _limits(rng, shape, stream, table)
    nest = Nest(
        counts=tuple(counts),
        act_base=0,
        act_steps=tuple(act_steps),
        weight_base=weight_base,
        weight_steps=tuple(weight_steps),
        result_base=0,
        result_steps=(0, 0, 0),
        lo=lo,
        hi=hi,
        bias_base=bias_base,
        bias_step=bias_step,
        tail=tail,
        lanewise=kind != "dense",
        max=kind == "max",
        product=kind == "product",
        factor_unsigned=kind == "product" and rng.random() < 0.5,
        x_unsigned=rng.random() < 0.4,
        y_unsigned=stream and table and rng.random() < 0.5,
        table=table,
        table_base=rng.randrange(shape.TABLE_DEPTH // 256) if table else 0,
        stream=stream,
        last=last,
        strips=strips,
        **coordinates,
    )
    offsets = sorted(_taps(nest, shape))
    if not offsets and rng.random() < 0.95:
        raise _Again
    places = sorted(written)
    for _ in range(60):
        base = rng.choice(places)[1] * lanes + (rng.randrange(lanes) if kind == "dense" else 0)
        base = base // unit * unit - rng.choice(offsets or [(0, 0, 0)])[1]
        read = {sub for b, a, g in offsets for sub in shape.read(nest, g, b, base + a)}
        if base >= 0 and read <= written:
            break
    else:
        raise _Again
    nest = replace(nest, act_base=base)
    if stream:
        return nest
    depth, parts = shape.subs, max(shape.parts(nest, g) for g in range(counts[0]))
    for _ in range(60):
        steps = _spread(rng, counts[:3], depth, parts)
        start = _base(rng, counts[:3], steps, depth, parts - 1)
        placed = replace(nest, result_base=start, result_steps=tuple(steps))
        if not results(placed, shape) & read:
            return placed
    raise _Again


def results(nest: Nest, shape: Shape) -> set[SubWord]:
    """The sub-words that a nest writes."""
    return {
        (bank, sub + i)
        for (g, _, _), made, sub in points(nest, shape.TILES)
        for _, to in made
        for bank in to
        for i in range(shape.parts(nest, g))
    }


def _taps(nest: Nest, shape: Shape) -> set[tuple[int, int, int]]:
    """Bank, element and group of the valid taps."""
    return {
        (bank, a, g)
        for (g, _, _), made, _ in points(nest, shape.TILES)
        for taps, _ in made
        for bank, a, _, inside in taps
        if inside
    }


def _reads(nest: Nest, shape: Shape) -> set[SubWord]:
    """The sub-words that the valid taps read."""
    return {sub for bank, a, g in _taps(nest, shape) for sub in shape.read(nest, g, bank, a)}


def _loop(
    rng: random.Random, shape: Shape, body: list[Nest], before: set[SubWord]
) -> list[Loop | Nest]:
    """A LOOP around nests; ``before`` are the sub-words that are written when it begins."""
    loop = Loop(rng.randint(1, 4), len(body), 0, 0)
    for _ in range(8):
        act = rng.choice([0, shape.word]) * rng.randint(-2, 2)
        moving = Loop(loop.count, loop.length, act, rng.randint(-3, 3))
        moved = [
            replace(
                n, act_moves=rng.random() < 0.5, result_moves=not n.stream and rng.random() < 0.5
            )
            for n in body
        ]
        written = set(before)
        for nest, _ in executed([Input(1, 1, 0), moving, *moved]):
            reads, writes = _reads(nest, shape), set() if nest.stream else results(nest, shape)
            inside = all(0 <= sub < shape.subs for _, sub in writes)
            if not (reads <= written and inside) or reads & writes:
                break
            written |= writes
        else:
            before |= written
            return [moving, *moved]
    return [loop, *body]


def _in_place(rng: random.Random, shape: Shape, written: set[SubWord]) -> Nest:
    """A lane-wise nest that overwrites the words it reads, of a bank or of all."""
    tail = rng.randint(1, shape.word)
    parts = -(-tail // shape.LANES)
    where: dict[str, Any] = {}
    read = [0]
    if shape.TILES > 1 and rng.random() < 0.5:
        where = {"rows": Rows(limit=shape.TILES), "strips": True}
        read = list(range(shape.TILES))
    elif shape.TILES > 1:
        read = [rng.randrange(shape.TILES)]
        all_rows = shape.TILES * shape.word
        where = {"rows": Rows(shape.word, read[0] * shape.word, limit=all_rows), "bank": read[0]}

    def whole(word: int) -> bool:
        return all((bank, word * shape.TAPS + i) in written for bank in read for i in range(parts))

    words = [w for w in range(shape.SCRATCH_DEPTH) if whole(w)]
    if not words:
        raise _Again
    first, count = rng.choice(words), 1
    while whole(first + count) and count < 7:
        count += 1
    step = count > 1
    return Nest(
        counts=(1, 1, count, 1, 1, 1),
        act_base=first * shape.word,
        act_steps=(0, 0, shape.word * step, 0, 0, 0),
        weight_base=rng.randrange(shape.WEIGHTS_DEPTH),
        weight_steps=(0,) * 6,
        result_base=first * shape.TAPS,
        result_steps=(0, 0, shape.TAPS * step),
        lo=-(2 ** (shape.DATA_BITS - 1)),
        hi=2 ** (shape.DATA_BITS - 1) - 1,
        bias_base=rng.randrange(shape.BIAS_DEPTH - shape.word // shape.RQ + 1),
        bias_step=0,
        tail=tail,
        lanewise=True,
        **where,
    )


def random_case(rng: random.Random, shape: Shape) -> Case:
    """A legal program of 1..12 nests with images and 1..3 frames."""
    entries = shape.BIAS_DEPTH * shape.RQ
    size = 2 ** rng.choice([4, 10, 16, 30]) - 1
    bias = np.array([rng.randint(-size - 1, size) for _ in range(entries)])
    highest = rng.choice([0, 7, 10, 31])
    shift = np.array([rng.randint(0, highest) for _ in range(entries)])
    weights = np.array(
        [[rng.choice([-128, 127, rng.randint(-128, 127)]) for _ in range(shape.word)]
         for _ in range(shape.WEIGHTS_DEPTH)]
    )  # fmt: skip
    table = np.array(
        [rng.getrandbits(8 if shape.DATA_BITS == 8 else 32) for _ in range(shape.TABLE_DEPTH)]
    )
    run, runs = rng.choice([1, 2, rng.randint(1, 3 * shape.word)]), rng.choice([1, 2, 9])
    run += 8 if shape.LANES == 1 else 0
    lead = rng.randrange(shape.TAPS)
    strips: dict[str, int] = {}
    if shape.TILES > 1:
        strip_runs = rng.choice([-(-runs // shape.TILES), rng.randint(1, runs), runs])
        runs = min(runs, shape.TILES * strip_runs)
        strips = {"strip_runs": strip_runs, "last_run": rng.choice([run, rng.randint(1, run)])}
    words = strips.get("strip_runs", runs) * -(-(lead + run) // shape.word)
    first = Input(run, runs, rng.randrange(shape.SCRATCH_DEPTH - words + 1), lead, **strips)
    written = {sub_word for of_run in shape.frame(first) for sub_word in of_run}
    program: list[Input | Loop | Nest] = [first]
    nests = rng.randint(1, min(12, shape.PROGRAM_DEPTH // 32 - 1))
    looped: tuple[int, set[SubWord]] | None = None  # where a loop began, and what was written then
    while len(program) <= nests:
        last = len(program) == nests
        if looped and (last or rng.random() < 0.4) and len(program) > looped[0]:
            start, before = looped
            program[start:] = _loop(rng, shape, program[start:], before)
            written |= before
            looped = None
            nests += 1
            continue
        if shape.GATES and not looped and not last and rng.random() < 0.3:
            if nests + 1 < shape.PROGRAM_DEPTH // 32:
                looped = len(program), set(written)
        stream = last or rng.random() < 0.3
        try:
            if not stream and rng.random() < 0.15:
                program.append(_in_place(rng, shape, written))
                continue
            nest = _nest(rng, shape, written, stream, last)
        except _Again:
            continue
        if nest.pixels * nest.taps > (1500 if shape.TILES == 1 else 500):
            continue
        program.append(nest)
        if not stream:
            written |= results(nest, shape)
    low = -(2 ** (shape.DATA_BITS - 1))
    frames = [
        [rng.choice([low, -low - 1, rng.randint(low, -low - 1)]) for _ in range(first.elements)]
        for _ in range(rng.randint(1, 3))
    ]
    return Case(shape, program, weights, bias, shift, table, frames)


def in_packets(rng: random.Random, case: Case) -> Case:
    """The same with frames of several packets, and results that leave in several."""
    first, *rest = case.program
    count = rng.choice([1, 2, 3, MOST_PACKETS])
    borders = sorted(rng.sample(range(1, first.elements), min(count, first.elements) - 1))
    packets = tuple(b - a for a, b in itertools.pairwise([0, *borders]))
    program: list[Input | Loop | Nest] = [replace(first, packets=packets)]
    for d in rest:
        ends = isinstance(d, Nest) and d.stream and not d.last and rng.random() < 0.5
        program.append(replace(d, packet_end=True) if ends else d)
    return replace(case, program=program)


# ---------------------------------------------------------------- comparison


def packets_taken(case: Case) -> list[int]:
    """Beats of each packet of a frame, from the interpreter's lines."""
    lines = interpret(case, case.frames[0], case.shape.scratch())
    sizes, beats = [], 0
    for number, (nest, _) in enumerate(executed(case.program), 1):
        beats += sum(kind == 1 and of == number for kind, of, _, _ in lines)
        if nest.stream and (nest.packet_end or nest.last):
            sizes.append(beats)
            beats = 0
    return sizes


def read_log(path: Path) -> list[tuple[int, int, int, int]]:
    lines = path.read_text().splitlines()
    assert len({len(line) for line in lines}) == 1, "all lines of a log have one length"
    result = []
    for line in lines:
        kind, nest, address, data = line.split(" ")
        assert (len(kind), len(nest), len(address)) == (1, 4, 6)
        result.append((int(kind), int(nest, 16), int(address, 16), int(data, 16)))
    return result


def check_log(case: Case, log: list[tuple[int, int, int, int]], timed: bool) -> list[list[int]]:
    """Compare a log with the interpreter (and the cycle model); returns the beats of each frame."""
    scratch = case.shape.scratch()
    results = [line for line in log if line[0] in (0, 1)]
    ends = [line for line in log if line[0] == 3]
    assert len(ends) == len(case.frames)
    beats, place = [], 0
    for number, frame in enumerate(case.frames):
        expected = interpret(case, frame, scratch)
        got = results[place : place + len(expected)]
        place += len(expected)
        if got != expected:
            wrong = next(
                (pair for pair in zip(got, expected, strict=False) if pair[0] != pair[1]),
                "missing lines",
            )
            raise AssertionError(f"frame {number}: hdl, expected: {wrong}")
        beats.append([v for kind, _, _, v in expected if kind == 1])
    assert place == len(results), "the core wrote more than it should"
    if timed:
        starts, _, end = predict(case.program, case.shape)
        lines = [(2, i + 1, 0, start) for i, start in enumerate(starts)]
        lines.append((3, len(starts), 0, end))
        times = [line for line in log if line[0] in (2, 3)]
        assert times == lines * len(case.frames), (times, lines)
    return beats


def _numbers(path: Path) -> list[list[int]]:
    return [[int(n) for n in line.split()] for line in path.read_text().splitlines()]


def check_intake(case: Case, accepted: list[list[int]], ends: list[int]) -> None:
    """A source that never pauses is held up only where docs/core.md says so."""
    starts, _, cycles = predict(case.program, case.shape)
    first = case.program[0]
    units = first.runs * -(-(first.lead + first.run) // case.shape.unit)
    for number, elements in enumerate(accepted):
        if case.shape.FRAME_DEPTH == 0 or units * len(accepted) <= case.shape.FRAME_DEPTH - 8:
            assert elements == list(range(elements[0], elements[0] + len(elements)))
        if number == 0:
            continue
        if case.shape.FRAME_DEPTH == 0:
            tiled = case.shape.TILES > 1
            loop = 34 + tiled if isinstance(case.program[1], Loop) else 0
            fetched = ends[number - 1] - cycles + starts[-1] + 68 + 2 * tiled + loop
            assert elements[0] == max(ends[number - 1] + 2, fetched)
        elif units * len(accepted) <= case.shape.FRAME_DEPTH - 8:
            assert elements[0] == accepted[number - 1][-1] + 2


# ---------------------------------------------------------------- the tests

SHAPES = [
    Shape(LANES=1, RQ=1),
    Shape(LANES=2, RQ=1, DATA_BITS=16),
    Shape(LANES=4, RQ=2, TABLE_DEPTH=256, SCRATCH_DEPTH=128),
    Shape(LANES=4, RQ=4, DATA_BITS=16, TABLE_DEPTH=256),
    Shape(LANES=8, RQ=1, TABLE_DEPTH=768),
    Shape(LANES=16, RQ=2),
    Shape(LANES=16, RQ=16, TABLE_DEPTH=0),
    Shape(LANES=1, RQ=1, FRAME_DEPTH=16),
    Shape(LANES=2, RQ=2, DATA_BITS=16, FRAME_DEPTH=256),
    Shape(LANES=16, RQ=2, FRAME_DEPTH=32),
    Shape(LANES=4, RQ=1, TAPS=2),
    Shape(LANES=8, RQ=2, TAPS=4, TABLE_DEPTH=0),
    Shape(LANES=2, RQ=2, TAPS=4, DATA_BITS=16, TABLE_DEPTH=0),
    Shape(LANES=1, RQ=1, TAPS=8, BIAS_DEPTH=200),
    Shape(LANES=2, RQ=1, TAPS=2, FRAME_DEPTH=32),
    Shape(LANES=4, RQ=4, TAPS=8, TABLE_DEPTH=256, FRAME_DEPTH=64),
    Shape(LANES=8, RQ=2, GATES=1),
    Shape(LANES=4, RQ=2, TAPS=2, DATA_BITS=16, GATES=1, FRAME_DEPTH=32),
    Shape(LANES=4, RQ=2, TILES=2, FRAME_DEPTH=16),
    Shape(LANES=2, RQ=1, TAPS=2, DATA_BITS=16, TABLE_DEPTH=256, GATES=1, TILES=4),
    Shape(LANES=1, RQ=1, TAPS=8, BIAS_DEPTH=200, SCRATCH_DEPTH=128, TABLE_DEPTH=0, TILES=2),
    Shape(LANES=8, RQ=8, SCRATCH_DEPTH=90, GATES=1, FRAME_DEPTH=32, TILES=8),
    Shape(LANES=1, RQ=1, TAPS=1, GATES=1, SCRATCH_DEPTH=90, TILES=8),
    Shape(LANES=4, RQ=2, TAPS=2, GATES=1, TILES=2, PAIRS=1),
    Shape(LANES=2, RQ=1, FRAME_DEPTH=16, TILES=4, PAIRS=1),
]


# Verilator, which compiles each for some seconds, takes these, Icarus the others; in
# `make test-slow` both take all.
ON_VERILATOR = ("1x1x8_rq1", "4x1x16_rq4", "16x1x8_rq2_frames32", "8x4x8_rq2", "8x1x8_rq2_gates",
                "4x2x16_rq2_frames32_gates", "4x1x8_rq2_frames16_tiles2",
                "8x1x8_rq8_frames32_gates_tiles8")  # fmt: skip


@pytest.mark.parametrize(
    "simulator, shape",
    [
        pytest.param(
            simulator,
            shape,
            id=f"{simulator}-{shape.name}",
            marks=[pytest.mark.slow] * rare,
        )
        for shape in SHAPES
        for simulator, rare in (
            ("icarus", shape.name in ON_VERILATOR),
            ("verilator", shape.name not in ON_VERILATOR),
        )
    ],
)
def test_random_programs_give_what_the_format_says(
    simulator: str, shape: Shape, tmp_path: Path
) -> None:
    need(simulator)
    top = "bramcast_sim_top"
    parameters = {**shape.parameters(), "TLAST_ENDS": 2}
    folder = build(top, parameters, simulator, timing=True, ports_only=True)
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"SEED={seed}")
    rng = random.Random(seed)
    for number in range(4):
        case = in_packets(rng, random_case(rng, shape))
        timed = number % 2 == 0
        work = tmp_path / str(number)
        work.mkdir()
        frames, beats, log = work / "frames.txt", work / "beats.txt", work / "log.txt"
        frames.write_text("".join(" ".join(map(str, f)) + "\n" for f in case.frames))
        plusargs = {**case.write(work), "log": log}
        cycles = (predict(case.program, shape)[2] + 20 * len(case.frames[0]) + 500) * 12
        env = {
            "SMOKE_FRAMES": str(frames),
            "SMOKE_SENT": " ".join(map(str, case.program[0].packet_elements)),
            "SMOKE_TAKEN": " ".join(map(str, packets_taken(case))),
            "SMOKE_BEATS": str(beats),
            "SMOKE_TIMES": str(work / "times.txt"),
            "SMOKE_GAPS": "0" if timed else rng.choice(["0.1", "0.5", "0.8"]),
            "SMOKE_SEED": str(rng.randrange(2**32)),
            "SMOKE_LIMIT": str(cycles * len(case.frames)),
        }
        bench = "bramcast.sim.benches.bench_smoke"
        run(folder, top, simulator, Tests(bench, env=env, plusargs=plusargs), work=work).check()
        expected = check_log(case, read_log(log), timed)
        got = _numbers(beats)
        assert got == expected
        *accepted, ends = _numbers(work / "times.txt")
        if timed:
            assert ends == predict_ends(case, accepted)
            check_intake(case, accepted, ends)


def core_and_images(case: Case) -> tuple[Core, dict[str, Words]]:
    """A case as golden has it."""
    shape = case.shape
    program = np.zeros(shape.PROGRAM_DEPTH, np.uint32)
    words = encode_program(case.program)
    program[: len(words)] = words
    images = {
        "program": from_uint32(program),
        "weights": pack_lanes(case.weights, 8),
        "bias": pack_bias(case.bias, case.shift, shape.RQ),
    }
    if shape.TABLE_DEPTH:
        bits = 8 if shape.DATA_BITS == 8 else 32
        images["table"] = pack_lanes(case.table[:, None], bits, signed=False)
    core = Core(
        shape.LANES, shape.TAPS, shape.DATA_BITS, 8, shape.RQ, shape.PROGRAM_DEPTH,
        shape.WEIGHTS_DEPTH, shape.BIAS_DEPTH, shape.TABLE_DEPTH, shape.SCRATCH_DEPTH,
        gates=bool(shape.GATES), tiles=shape.TILES, pairs=bool(shape.PAIRS),
    )  # fmt: skip
    return core, images


def machine_of(case: Case) -> Machine:
    """Golden's machine for a case."""
    core, images = core_and_images(case)
    return Machine(images, core)


def of_bank(shape: Shape) -> Callable[[tuple[int, int, int, int]], tuple[int, int]]:
    """What sorts a log's lines by nests, and those of each by banks."""
    return lambda line: (line[1], line[2] // shape.subs)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "shape", [s for s in SHAPES if s.GATES or s.TAPS == 2 or s.TILES > 1], ids=lambda s: s.name
)
def test_golden_gives_what_the_format_says(shape: Shape, seed: int) -> None:
    case = random_case(random.Random(seed), shape)
    machine = machine_of(case)
    results = machine.run(np.array(case.frames, np.int64), keep_layers=True)
    mask = (1 << shape.DATA_BITS) - 1
    for number, frame in enumerate(case.frames):
        lines = interpret(case, frame, shape.scratch())
        beats = [v for kind, _, _, v in lines if kind == 1]
        assert (results.beats[number] & 0xFFFFFFFF).tolist() == beats
        got = [
            (0, nest.descriptor, int(address), sum(int(v) << (shape.DATA_BITS * i) for i, v in row))
            for nest in results.nests
            for address, row in zip(
                nest.addresses, map(enumerate, nest.words[number] & mask), strict=True
            )
            if address >= 0
        ]
        # Golden runs one tile after the other.
        stores = [line for line in lines if line[0] == 0]
        assert sorted(got, key=of_bank(shape)) == sorted(stores, key=of_bank(shape))
    starts, _, cycles = predict(case.program, shape)
    told = golden_cycles(machine.program, machine.core)
    assert (told.total, [n.start for n in told.nests]) == (cycles, starts)
