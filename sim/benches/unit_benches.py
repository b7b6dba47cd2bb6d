# SPDX-License-Identifier: Apache-2.0
"""cocotb benches of the core's modules, one for each file of hw/ that has a rule of its own.

tests/cosim/test_units.py builds a module and runs its bench. A bench plays inputs cycle by cycle
and compares outputs, in the cycle in which they are due, with the module's golden twin.
"""

import itertools
import math
import os
import random
import zlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from bramcast.golden.arith import requantize
from bramcast.golden.beats import elements_of
from bramcast.pack.bundle.program import (
    ALL_BANKS,
    DESCRIPTOR_WORDS,
    LOOPS,
    MOST_PACKETS,
    Input,
    Nest,
    Rows,
    encode,
    jumps_from_steps,
    split_program,
    unrolled,
)

LIMIT = 20_000  # cycles that any wait may take
NO_HOST = {"host_read_i": 0, "host_we_i": 0, "host_word_i": 0, "host_beat_i": 0, "host_data_i": 0}
Cycle = dict[str, int]


def seeded_random() -> random.Random:
    """cocotb's seed, which it logs; the environment variable SEED sets it."""
    return random.Random(cocotb.RANDOM_SEED)


def put(dut, **inputs: int) -> None:
    """Set inputs, negative numbers as two's complement."""
    for name, value in inputs.items():
        signal = getattr(dut, name)
        signal.value = value & ((1 << len(signal)) - 1)


def get(dut, name: str) -> Any:
    """An output's bits as a number, None if one is undefined."""
    value = getattr(dut, name).value
    return int(value) if value.is_resolvable else None


def to_signed(value: Any, bits: int) -> int:
    return int(value - (1 << bits) if value >> (bits - 1) else value)


async def start(dut, **inputs: int) -> None:
    """Start the clock with these inputs and, where there is one, go through a reset."""
    put(dut, **inputs)
    has_reset = hasattr(dut, "rst")
    if has_reset:
        dut.rst.value = 1
    Clock(dut.clk, 10, "ns", impl="gpi").start()
    for _ in range(3):
        await RisingEdge(dut.clk)
    if has_reset:
        dut.rst.value = 0


async def play(dut, cycles: Sequence[Cycle], outputs: Sequence[str]) -> list[dict[str, int | None]]:
    """Apply each cycle's inputs; returns what the outputs were in the same cycle.

    An input that a cycle does not name keeps its value.
    """
    seen = []
    for inputs in cycles:
        put(dut, **inputs)
        await RisingEdge(dut.clk)
        seen.append({name: get(dut, name) for name in outputs})
    return seen


def levels(counts: Sequence[int]) -> list[int]:
    """The loop (1 = g .. 6 = ci) that advances behind each tap; 0 behind the last."""
    result = []
    for at in itertools.product(*(range(c) for c in counts)):
        inner = [i == c - 1 for i, c in zip(at, counts, strict=True)]
        result.append(next((n + 1 for n in range(5, -1, -1) if not inner[n]), 0))
    return result


def random_counts(rng: random.Random) -> list[int]:
    return [rng.choice([1, 1, 2, 3, 4]) for _ in range(6)]


# ---------------------------------------------------------------- memory and table


@cocotb.test()
async def memory_is_an_array(dut):
    """Random reads and writes, never of the same word in one cycle; zeros at the start."""
    rng = seeded_random()
    depth, bits = int(dut.DEPTH.value), int(dut.WORD_BITS.value)
    await start(dut, we_i=0, raddr_i=0)
    array = [0] * depth
    cycles, expected = [], []
    for _ in range(1000):
        read, write = rng.randrange(depth), rng.randrange(depth)
        we = int(read != write and rng.random() < 0.5)
        word = rng.getrandbits(bits)
        expected.append(array[read])
        cycles.append({"raddr_i": read, "waddr_i": write, "we_i": we, "wdata_i": word})
        if we:
            array[write] = word
    seen = await play(dut, [*cycles, {"we_i": 0}, {}], ["word_o"])
    assert [s["word_o"] for s in seen[2:]] == expected


@cocotb.test()
async def scratch_takes_sub_words_and_units(dut):
    """Random units and sub-words, words read between them; zeros at the start."""
    rng = seeded_random()
    lanes, taps, bits = (int(getattr(dut, n).value) for n in ("LANES", "TAPS", "DATA_BITS"))
    depth, word, unit = int(dut.DEPTH.value), lanes * taps, max(lanes, taps)
    await start(dut, we_i=0, raddr_i=0)
    elements = [0] * (depth * word)

    def pack(values: Sequence[int]) -> int:
        return sum(v << (bits * i) for i, v in enumerate(values))

    cycles, expected = [], []
    for _ in range(1500):
        size = rng.choice([lanes, unit])
        number = rng.randrange(depth * word // size)
        values = [rng.getrandbits(bits) for _ in range(size)]
        filler = [rng.getrandbits(bits) for _ in range(unit - size)]
        read = rng.randrange(depth)
        we = int(read != number * size // word and rng.random() < 0.6)
        expected.append(pack(elements[read * word : (read + 1) * word]))
        is_unit = int(size == unit and (size > lanes or rng.getrandbits(1)))
        other = rng.randrange(depth)
        cycles.append({"raddr_i": read, "we_i": we, "unit_i": is_unit})
        cycles[-1].update(data_i=pack([*values, *filler]))
        cycles[-1].update(unit_address_i=number if is_unit else other)
        cycles[-1].update(address_i=other if is_unit else number)
        if we:
            elements[number * size : (number + 1) * size] = values
    seen = await play(dut, [*cycles, {"we_i": 0}, {}], ["word_o"])
    assert [s["word_o"] for s in seen[2:]] == expected


@cocotb.test()
async def table_looks_up_every_lane(dut):
    """Random values against the image that the plusarg names."""
    rng = seeded_random()
    rq, bits = int(dut.RQ.value), int(dut.DATA_BITS.value)
    words = [int(line, 16) for line in Path(os.environ["UNIT_IMAGE"]).read_text().split()]
    edge = 2 if bits == 8 else 4  # clock edges from value_i to result_o

    def result(number: int, value: int) -> int:
        word = words[256 * number + (value >> (bits - 8))]
        if bits == 8:
            return word
        start, slope = word & 0xFFFF, (word >> 16) - ((word >> 31) << 16)
        return (start + math.floor(slope * (value & 255) / 256 + 0.5)) & 0xFFFF

    await start(dut, number_i=0, value_i=0, **NO_HOST)
    cycles, expected = [], []
    for _ in range(500):
        number = rng.randrange(len(words) // 256)
        values = [rng.getrandbits(bits) | rng.choice([0, 0, 255]) for _ in range(rq)]
        cycles.append(
            {"number_i": number, "value_i": sum(v << (bits * i) for i, v in enumerate(values))}
        )
        looked_up = [result(number, v) for v in values]
        expected.append(sum(v << (bits * i) for i, v in enumerate(looked_up)))
    seen = await play(dut, [*cycles, *[{}] * edge], ["result_o"])
    assert [s["result_o"] for s in seen[edge:]] == expected


# ---------------------------------------------------------------- arithmetic


@cocotb.test()
async def requantize_matches_golden(dut):
    """Corner values with every shift, then random ones, for several clamps."""
    rng = seeded_random()
    await start(dut, acc_i=0, entry_i=0, lo_i=0, hi_i=0)
    top = 2**31 - 1
    corners = [-top - 1, -top, -1, 0, 1, top - 1, top]
    biases = [-(2**30), -1, 0, 1, 2**30 - 1]
    clamps = [(-128, 127), (0, 255), (0, 127), (-32768, 32767), (0, 65535), (-top - 1, top), (5, 5)]
    for lo, hi in clamps:
        acc = [a for a in corners for _ in biases for _ in range(32)]
        bias = [b for _ in corners for b in biases for _ in range(32)]
        shift = [s for _ in corners for _ in biases for s in range(32)]
        for _ in range(500):
            wide = rng.choice([8, 12, 20, 32])
            acc.append(rng.randrange(-(2 ** (wide - 1)), 2 ** (wide - 1)))
            bias.append(rng.randrange(-(2 ** (wide - 2)), 2 ** (wide - 2)))
            shift.append(rng.randrange(min(wide, 32)))
        expected = requantize(
            np.array(acc, np.int64), np.array(bias, np.int64), np.array(shift, np.int64), lo, hi
        )
        cycles = [
            {"acc_i": a, "entry_i": (s << 31) | (b & 0x7FFFFFFF), "lo_i": lo, "hi_i": hi}
            for a, b, s in zip(acc, bias, shift, strict=True)
        ]
        seen = await play(dut, [*cycles, *({} for _ in range(4))], ["value_o"])
        got = [to_signed(s["value_o"], 32) for s in seen[4:]]
        wrong = [i for i, (a, b) in enumerate(zip(got, expected.tolist(), strict=True)) if a != b]
        assert not wrong, (acc[wrong[0]], bias[wrong[0]], shift[wrong[0]], lo, hi, got[wrong[0]])


@cocotb.test()
async def sum_adds_what_is_used(dut):
    """Random terms and masks, one a cycle; sums wrap modulo 2**32."""
    rng = seeded_random()
    taps = int(dut.TAPS.value)
    latency = {1: 0, 2: 1, 4: 2, 8: 3}[taps]
    await start(dut, terms_i=0, use_i=0)
    cycles, expected = [], []
    for _ in range(2000):
        terms = [rng.choice([rng.getrandbits(32), 2**32 - 1, 2**31, 1]) for _ in range(taps)]
        use = 1 if taps == 1 else rng.choice([2**taps - 1, 1 << rng.randrange(taps), 0])
        cycles.append({"terms_i": sum(v << (32 * i) for i, v in enumerate(terms)), "use_i": use})
        expected.append(sum(v for i, v in enumerate(terms) if use >> i & 1) % 2**32)
    seen = await play(dut, [*cycles, *({} for _ in range(latency))], ["sum_o"])
    assert [s["sum_o"] for s in seen[latency:]] == expected


@cocotb.test()
async def lane_accumulates_and_keeps_the_maximum(dut):
    """Pixels of random taps, some outside, with bubbles; both results of every pixel."""
    rng = seeded_random()
    bits, weight_bits = int(dut.DATA_BITS.value), int(dut.WEIGHT_BITS.value)
    low, high = -(2 ** (weight_bits - 1)), 2 ** (weight_bits - 1) - 1
    await start(dut, clear_i=1, max_load_i=0, max_try_i=0, max_capture_i=0, acc_step_i=0)
    for unsigned in (0, 1):
        cycles: list[Cycle] = []

        def at(n: int, cycles: list[Cycle] = cycles, **inputs: int) -> None:
            while len(cycles) <= n:
                idle = {"clear_i": 1, "max_load_i": 0, "max_try_i": 0, "max_capture_i": 0}
                cycles.append({**idle, "acc_step_i": 0, "acc_capture_i": 0})
            cycles[n].update(inputs)

        expected = []  # cycle, accumulator, maximum
        n = 0
        for _ in range(150):
            taps = rng.choice([1, 1, 2, 5, 20])
            x = np.array([rng.choice([0, 2**bits - 1, rng.getrandbits(bits)]) for _ in range(taps)])
            x = x if unsigned else np.where(x >> (bits - 1), x - 2**bits, x)
            w = np.array([rng.choice([low, high, rng.randint(low, high)]) for _ in range(taps)])
            inside = np.array([rng.random() < 0.7 for _ in range(taps)])
            seen = False
            for i in range(taps):
                while rng.random() < 0.2:
                    n += 1
                lanewise = rng.getrandbits(1)
                other = rng.getrandbits(bits)
                at(n, clear_i=int(not inside[i]), lanewise_i=lanewise, weight_i=int(w[i]))
                at(n, own_signed_i=int(lanewise and not unsigned))
                at(n, broadcast_signed_i=int(not lanewise and not unsigned))
                at(n, own_i=int(x[i]) if lanewise else other)
                at(n, broadcast_i=other if lanewise else int(x[i]))
                load = i == 0 or (bool(inside[i]) and not seen)
                at(n + 1, max_load_i=int(load), max_try_i=int(inside[i]))
                at(n + 2, acc_step_i=1, acc_load_i=int(i == 0))
                seen = seen or bool(inside[i])
                n += 1
            at(n + 1, max_capture_i=1)
            at(n + 2, acc_capture_i=1)
            total = int((x * w)[inside].sum())
            best = int(x[inside].max()) if inside.any() else 0
            expected.append((n + 2, n + 3, (total + 2**31) % 2**32 - 2**31, best))
        at(n + 4)
        outputs = await play(dut, cycles, ["acc_o", "max_o"])
        for max_cycle, acc_cycle, acc, best in expected:
            assert to_signed(outputs[max_cycle]["max_o"], bits + 1) == best
            assert to_signed(outputs[acc_cycle]["acc_o"], 32) == acc


@cocotb.test()
async def pair_is_two_lanes(dut):
    """Pixels of random taps, some outside one tile or both, with bubbles; both results of every
    pixel for both tiles. With GATES every other nest is of products, with the same elements."""
    rng = seeded_random()
    bits, weight_bits = int(dut.DATA_BITS.value), int(dut.WEIGHT_BITS.value)
    low, high = -(2 ** (weight_bits - 1)), 2 ** (weight_bits - 1) - 1
    idle = {"clear_i": 3, "max_load_i": 0, "max_try_i": 0, "max_capture_i": 0, "hold_i": 0}
    idle |= {"acc_step_i": 0, "acc_capture_i": 0}
    await start(dut, product_i=0, **idle)

    def both(values: Sequence[Any] | np.ndarray, width: int) -> int:
        """A value of each tile, side by side."""
        return sum((int(v) & ((1 << width) - 1)) << (width * t) for t, v in enumerate(values))

    for nest in range(8):
        unsigned, product = nest & 1, (nest >> 1 & 1) * int(dut.GATES.value)
        cycles: list[Cycle] = []

        def at(n: int, cycles: list[Cycle] = cycles, **inputs: int) -> None:
            while len(cycles) <= n:
                cycles.append(dict(idle))
            cycles[n].update(inputs)

        at(0, product_i=product)
        expected = []  # cycle, accumulators, maxima
        n = 2
        for _ in range(60):
            taps = rng.choice([2, 4, 10] if product else [1, 1, 2, 5, 20])
            bounds = [0, 2 ** (bits - 1), 2**bits - 1]
            x = np.array([[rng.choice([*bounds, rng.getrandbits(bits)]) for _ in range(taps)]] * 2)
            inside = np.array([[rng.random() < 0.7 for _ in range(taps)] for _ in range(2)])
            if product:
                inside[1] = inside[0]
            else:
                x[1] = [rng.choice([*bounds, rng.getrandbits(bits)]) for _ in range(taps)]
            x = x if unsigned else np.where(x >> (bits - 1), x - 2**bits, x)
            w = np.array([rng.choice([low, high, rng.randint(low, high)]) for _ in range(taps)])
            for i in range(taps):
                while rng.random() < 0.2:
                    n += 1
                lanewise = rng.getrandbits(1)
                other = rng.getrandbits(2 * bits)
                at(n, clear_i=both(~inside[:, i], 1), lanewise_i=lanewise, weight_i=int(w[i]))
                at(n, own_signed_i=int(lanewise and not unsigned))
                at(n, broadcast_signed_i=int(not lanewise and not unsigned))
                at(n, own_i=both(x[:, i], bits) if lanewise else other)
                at(n, broadcast_i=other if lanewise else both(x[:, i], bits))
                seen = inside[:, :i].any(axis=1)
                load = inside[:, i] & ~seen if i else np.array([True, True])
                at(n + 1, max_load_i=both(load, 1), max_try_i=both(inside[:, i], 1))
                if product and i % 2 == 0:
                    at(n + 1, hold_i=1)
                else:
                    at(n + 2, acc_step_i=1, acc_load_i=int(i == product))
                n += 1
            at(n + 1, max_capture_i=1)
            at(n + 2, acc_capture_i=1)
            x = np.where(inside, x, 0)
            total = (x[:, ::2] * x[:, 1::2]).sum(axis=1) if product else x @ w
            best = [row[i].max() if i.any() else 0 for row, i in zip(x, inside, strict=True)]
            expected.append((n + 2, n + 3, both(total, 32), both(best, bits + 1)))
        at(n + 4)
        outputs = await play(dut, cycles, ["acc_o", "max_o"])
        for max_cycle, acc_cycle, accs, maxima in expected:
            assert product or outputs[max_cycle]["max_o"] == maxima
            assert outputs[acc_cycle]["acc_o"] == accs


@cocotb.test()
async def lane_control_knows_what_becomes_of_a_tap(dut):
    """Pixels of random taps with bubbles, in nests with and without products: every flag of a tap
    in its cycle."""
    rng = seeded_random()
    gates = int(dut.GATES.value)
    quiet = {"s1_tap_i": 0, "s1_step_i": 0, "s1_level_i": 0, "s4_y_inside_i": 0, "s4_x_inside_i": 0}
    await start(dut, product_i=0, **quiet)
    for product in (0, gates, 0):
        cycles: list[Cycle] = []
        expected: list[tuple[int, str, int]] = []

        def at(n: int, cycles: list[Cycle] = cycles, **inputs: int) -> None:
            while len(cycles) <= n:
                cycles.append(dict(quiet))
            cycles[n].update(inputs)

        def due(n: int, expected: list[tuple[int, str, int]] = expected, **outputs: int) -> None:
            expected.extend((n, f"{name}_o", value) for name, value in outputs.items())

        at(0, product_i=product)
        n = 0
        for _ in range(100):
            taps = rng.choice([2, 4, 10] if product else [1, 1, 2, 5])
            level, tail, end = rng.randint(0, 3), rng.getrandbits(1), rng.getrandbits(1)
            seen = False
            for i in range(taps):
                while rng.random() < 0.2:
                    due(n + 3, s4_hit=0)
                    due(n + 4, s5_max_load=0, s5_max_try=0)
                    due(n + 5, s6_pixel=0, s6_factor=0, s6_sum=0)
                    n += 1
                first, last = i == 0, i == taps - 1
                y, x = rng.random() < 0.8, rng.random() < 0.8
                hit, factor = y and x, bool(product) and i % 2 == 0
                step = level if last else rng.randint(4, 6)
                at(n, s1_tap_i=1, s1_step_i=1, s1_level_i=step, s1_first_i=first, s1_last_i=last)
                at(n, s1_tail_group_i=tail, s1_end_i=end)
                at(n + 3, s4_y_inside_i=y, s4_x_inside_i=x)
                due(n + 2, s3_step=1, s3_level=step)
                due(n + 3, s4_hit=hit)
                due(n + 4, s5_factor=factor, s5_max_try=hit)
                due(n + 4, s5_max_load=first or (hit and not seen))
                due(n + 5, s6_factor=factor, s6_sum=not factor, s6_pixel=last)
                if last:
                    due(n + 5, s6_level=level, s6_tail_group=tail, s6_end=end)
                if not factor:
                    due(n + 5, s6_first=i == product)
                seen = seen or hit
                n += 1
        at(n + 6)
        outputs = await play(dut, cycles, sorted({name for _, name, _ in expected}))
        for n, name, value in expected:
            assert outputs[n][name] == value, f"cycle {n}: {name} is not {value}"


@cocotb.test()
async def delay_hands_tokens_on(dut):
    """Random tokens; those inside when clear_i comes lose their lowest bit."""
    rng = seeded_random()
    bits, stages = int(dut.BITS.value), int(dut.STAGES.value)
    await start(dut, clear_i=0, token_i=0)
    cycles, expected, inside = [], [], [0] * stages
    for _ in range(500):
        token, clear = rng.getrandbits(bits), int(rng.random() < 0.1)
        cycles.append({"token_i": token, "clear_i": clear})
        inside.insert(0, token)
        expected.append(inside.pop() if stages else token)
        if clear:
            inside = [t & ~1 for t in inside]
        if not stages:
            inside = []
    seen = await play(dut, cycles, ["token_o"])
    assert [s["token_o"] for s in seen[stages:]] == expected[stages:]


# ---------------------------------------------------------------- loops, addresses, coordinates


@cocotb.test()
async def nest_counts_like_six_for_loops(dut):
    """Random counts with random stalls: every tap's level and flags, and no bubble of its own; the
    steps of the activations in the same cycles or two later."""
    rng = seeded_random()
    steps = [(0, 0)] * 3  # of this cycle and the two before: whether, level

    def check_activations(late: int) -> None:
        steps.append((get(dut, "s1_step_o"), get(dut, "s1_level_o")))
        step, level = steps[-3 if late else -1]
        assert get(dut, "act_step_o") == step
        if step:
            assert get(dut, "act_level_o") == level

    await start(dut, prime_i=0, stall_i=0, counts_i=0, late_i=0)
    for number in range(40):
        counts = random_counts(rng)
        if number == 0:
            counts = [1] * 6
        packed = sum((c - 1) << (16 * i) for i, c in enumerate(counts))
        taps = levels(counts)
        pixel = counts[3] * counts[4] * counts[5]
        flags = []
        for i, level in enumerate(taps):
            group = i // (len(taps) // counts[0])
            flags.append((level, i % pixel == 0, (i + 1) % pixel == 0, group == counts[0] - 1))
        slow = rng.choice([0.0, 0.0, 0.5])
        late = rng.getrandbits(1)
        stall = int(rng.random() < slow)  # of the next cycle's tap
        put(dut, prime_i=1, counts_i=packed, stall_i=stall, late_i=late)
        await RisingEdge(dut.clk)
        check_activations(late)
        put(dut, prime_i=0)
        seen: list[tuple[Any, ...]] = []
        cycles, stalled = 0, 0
        while len(seen) < len(taps):
            stall = int(rng.random() < slow)
            put(dut, stall_i=stall)
            await RisingEdge(dut.clk)
            check_activations(late)
            if cycles == 0:  # S1 of the base
                assert (get(dut, "s1_step_o"), get(dut, "s1_tap_o")) == (1, 0)
                assert get(dut, "s1_level_o") == 0
            elif get(dut, "s1_tap_o"):
                assert get(dut, "s1_step_o") == 1
                names = ("s1_level_o", "s1_first_o", "s1_last_o", "s1_tail_group_o")
                seen.append(tuple(get(dut, name) for name in names))
                assert get(dut, "s1_end_o") == int(len(seen) == len(taps))
            else:
                stalled += 1
            cycles += 1
            assert cycles < LIMIT
        assert seen == flags, f"counts {counts}"
        assert cycles == 1 + len(taps) + stalled
        if slow == 0.0:
            assert stalled == 0
        put(dut, stall_i=0)
        for _ in range(3):
            await RisingEdge(dut.clk)
            check_activations(late)
            assert (get(dut, "s1_tap_o"), get(dut, "pixel_end_o")) == (0, 0)


@cocotb.test()
async def address_is_base_plus_steps(dut):
    """The jumps of random steps give the sum over all loops; the other bank fills meanwhile."""
    rng = seeded_random()
    bits = int(dut.ADDRESS_BITS.value)
    await start(dut, we_i=0, clear_i=1, step_i=0, bank_i=0)

    def table(bank: int, base: int, jumps: Sequence[int]) -> list[Cycle]:
        words = [base, *jumps]
        common = {"we_i": 1, "write_bank_i": bank}
        return [{**common, "write_level_i": i, "jump_i": w} for i, w in enumerate(words)]

    def draw() -> tuple[list[int], list[int], int]:
        counts = random_counts(rng)
        steps = [0 if c == 1 else rng.randint(-300, 300) for c in counts]
        return counts, steps, rng.getrandbits(bits)

    bank, nest = 0, draw()
    await play(dut, [*table(0, nest[2], jumps_from_steps(*nest[:2])), {"we_i": 0}], [])
    for _ in range(20):
        counts, steps, base = nest
        following = draw()
        writes = table(1 - bank, following[2], jumps_from_steps(*following[:2]))
        cycles: list[Cycle] = [{"bank_i": bank, "clear_i": 1, "step_i": 0}]
        cycles.append({"clear_i": 0, "step_i": 1, "level_i": 0})
        due = [len(cycles)]
        for level in levels(counts)[:-1]:
            while rng.random() < 0.2:
                cycles.append({"step_i": 0})
            cycles.append({"step_i": 1, "level_i": level})
            due.append(len(cycles))
        cycles.append({"step_i": 0})
        while len(cycles) < len(writes) + 1:
            cycles.append({})
        cycles = [
            {**c, **(writes[i] if i < len(writes) else {"we_i": 0})} for i, c in enumerate(cycles)
        ]
        seen = await play(dut, cycles, ["address_o"])
        expected = [
            (base + sum(i * s for i, s in zip(at, steps, strict=True))) % (1 << bits)
            for at in itertools.product(*(range(c) for c in counts))
        ]
        assert [seen[n]["address_o"] for n in due] == expected
        bank, nest = 1 - bank, following


@cocotb.test()
async def coordinate_knows_what_lies_inside(dut):
    """Random start, steps and limit over all loops of random counts."""
    rng = seeded_random()
    pixel = int(dut.PIXEL_LEVEL.value) - 1  # index of the loop: 1 = oy, 2 = ox
    await start(dut, step_i=0)
    for _ in range(60):
        counts = random_counts(rng)
        reach = rng.choice([3, 3, 2000])
        first, move, tap = (rng.randint(-reach, reach) for _ in range(3))
        limit = rng.choice([1, 2, 5, reach, 32767])
        cycles: list[Cycle] = [
            {"step_i": 0, "start_i": first, "pixel_step_i": move, "tap_step_i": tap},
            {"limit_i": limit, "step_i": 1, "level_i": 0},
        ]
        due = [len(cycles) + 1]
        for level in levels(counts)[:-1]:
            while rng.random() < 0.2:
                cycles.append({"step_i": 0})
            cycles.append({"step_i": 1, "level_i": level})
            due.append(len(cycles) + 1)
        cycles += [{"step_i": 0}, {}]
        seen = await play(dut, cycles, ["inside_o"])
        expected = []
        for at in itertools.product(*(range(c) for c in counts)):
            value = first + at[pixel] * move + at[pixel + 2] * tap
            expected.append(int(0 <= value < limit))
        assert [seen[n]["inside_o"] for n in due] == expected


@cocotb.test()
async def rows_walk_over_strips(dut):
    """Random strips and steps over all loops of random counts: strip, row, and the limit's row."""
    rng = seeded_random()
    row_bits, strip_bits = (int(getattr(dut, n).value) for n in ("ROW_BITS", "STRIP_BITS"))
    await start(dut, step_i=0)
    for _ in range(60):
        counts = random_counts(rng)
        span = rng.choice([1, 2, 1 << row_bits, rng.randint(1, 1 << row_bits)])
        far = span * rng.choice([1, 1, 8, (1 << strip_bits - 1) // 16])
        first, oy, ky = (rng.choice([0, span, -span, rng.randint(-far, far)]) for _ in range(3))
        limit = rng.randrange(span)
        cycles: list[Cycle] = [{"step_i": 0, "span_i": span, "row_limit_i": limit}]
        for name, value in (("start", first), ("step_oy", oy), ("step_ky", ky)):
            strip, row = divmod(value, span)
            cycles[0] |= {f"row_{name}_i": row, f"strip_{name}_i": strip}
        cycles += [{}, {"step_i": 1, "level_i": 0}]
        due = [len(cycles)]
        for level in levels(counts)[:-1]:
            while rng.random() < 0.2:
                cycles.append({"step_i": 0})
            cycles.append({"step_i": 1, "level_i": level})
            due.append(len(cycles))
        cycles += [{"step_i": 0}, {}]
        seen = await play(dut, cycles, ["row_o", "strip_o", "below_o"])
        for at, n in zip(itertools.product(*(range(c) for c in counts)), due, strict=True):
            strip, row = divmod(first + at[1] * oy + at[3] * ky, span)
            mine = seen[n]["strip_o"]
            assert mine is not None and to_signed(mine, strip_bits) == strip
            assert seen[n]["row_o"] == row
            assert seen[n + 1]["below_o"] == int(row < limit)


# ---------------------------------------------------------------- pace and drain


@cocotb.test()
async def pace_waits_for_drain_and_room(dut):
    """Against the rules of docs/core.md, with random chunks and a FIFO that empties at random."""
    rng = seeded_random()
    whole, room = int(dut.CHUNKS.value), int(dut.FIFO_CHUNKS.value)
    await start(dut, stream_i=0, pixel_end_i=0, chunks_i=0, pop_i=0)
    free, held = room, 0  # chunks; held: taken and not yet given back
    last, drain, waited = -100, 0, 0
    stream, told = 0, None
    for now in range(5000):
        looked = stream  # stall_o speaks of the next cycle, by this cycle's stream_i
        if now % 500 == 0:
            stream = rng.getrandbits(1)
            give = rng.choice([0.1, 0.5, 1.0])
        pop = int(held > 0 and rng.random() < give)
        chunks = rng.randint(1, whole)
        put(dut, stream_i=stream, pop_i=pop, chunks_i=chunks - 1, pixel_end_i=0)
        stall = now < last + drain or (looked == 1 and free < whole)
        end = int(not stall and stream == looked and rng.random() < 0.7)
        put(dut, pixel_end_i=end)
        await RisingEdge(dut.clk)
        assert now == 0 or told == int(stall), f"cycle {now}"
        told = get(dut, "stall_o")
        waited += stall
        if end:
            last, drain = now, chunks
            if stream:
                free, held = free - chunks, held + chunks
        free, held = free + pop, held - pop
    assert waited or whole == 1


@cocotb.test()
async def drain_walks_over_chunks(dut):
    """Random pixels of several groups: bias address, index and flags of every chunk."""
    rng = seeded_random()
    lanes_dense, taps, rq = (int(getattr(dut, n).value) for n in ("LANES", "TAPS", "RQ"))
    bits = int(dut.BIAS_BITS.value)
    await start(dut, load_i=0, pixel_i=0, lanewise_i=0)
    names = ["chunk_valid_o", "chunk_index_o", "chunk_last_o", "chunk_level_o", "chunk_lanes_o"]
    names += ["chunk_end_o", "bias_address_o"]
    for _ in range(40):
        lanewise = rng.getrandbits(1)
        lanes = lanes_dense * taps if lanewise else lanes_dense
        tail, whole = rng.randint(1, lanes), lanes // rq
        base, step = rng.getrandbits(bits - 1), rng.choice([0, 1, whole])
        groups, pixels = rng.randint(1, 3), rng.randint(1, 4)
        ends = rng.getrandbits(1)
        cycles: list[Cycle] = [
            {"load_i": 1, "bias_base_i": base, "pixel_i": 0},
            {"load_i": 0, "bias_step_i": step, "tail_i": tail - 1, "lanewise_i": lanewise},
        ]
        expected: dict[int, tuple[int, ...]] = {}
        for g, p in itertools.product(range(groups), range(pixels)):
            final = g == groups - 1 and p == pixels - 1
            level = 0 if final else 1 if p == pixels - 1 else rng.choice([2, 3])
            valid = tail if g == groups - 1 else lanes
            cycles.append(
                {
                    "pixel_i": 1,
                    "pixel_level_i": level,
                    "pixel_tail_i": int(g == groups - 1),
                    "pixel_end_i": int(final and ends),
                }
            )
            first = len(cycles)
            for i in range(-(-valid // rq)):
                last = (i + 1) * rq >= valid
                in_chunk = min(rq, valid - i * rq)
                address = (base + g * step + i) % (1 << bits)
                row = (1, i, int(last), level, in_chunk - 1, int(final and ends and last), address)
                expected[first + i] = row
                if i:
                    cycles.append({"pixel_i": 0})
            for _ in range(rng.choice([0, 0, 1, 3])):
                cycles.append({"pixel_i": 0})
        cycles += [{"pixel_i": 0}] * 2
        seen = await play(dut, cycles, names)
        for n, outputs in enumerate(seen):
            if n in expected:
                assert tuple(outputs[name] for name in names) == expected[n], f"cycle {n}"
            else:
                assert outputs["chunk_valid_o"] == 0


# ---------------------------------------------------------------- streams and words


async def send(
    dut, frame: Sequence[int], gap: float, rng: random.Random, last: Collection[int]
) -> None:
    """One frame on s_axis; TLAST with the elements of these numbers."""
    for i, element in enumerate(frame):
        while rng.random() < gap:
            put(dut, s_axis_tvalid=0)
            await RisingEdge(dut.clk)
        put(dut, s_axis_tvalid=1, s_axis_tdata=element, s_axis_tlast=int(i in last))
        for _ in range(LIMIT):
            await RisingEdge(dut.clk)
            if get(dut, "s_axis_tready"):
                break
        else:
            raise AssertionError("s_axis_tready stays low")
    put(dut, s_axis_tvalid=0)


async def describe(dut, frame: Input) -> None:
    """The words of an INPUT descriptor, as the fetcher brings them."""
    for i, word in enumerate(encode(frame)):
        put(dut, we_i=1, index_i=i, word_i=word)
        await RisingEdge(dut.clk)
    put(dut, we_i=0)


@cocotb.test()
async def input_follows_its_descriptor(dut):
    """Random INPUT descriptors and gaps: every element, its lane, its unit's address, the end.

    Whole frames come behind short and long ones, which leave nothing but a mark.
    """
    rng = seeded_random()
    lanes, units, bits = (int(getattr(dut, n).value) for n in ("LANES", "UNITS", "DATA_BITS"))
    taps, borders = int(dut.TAPS.value), bool(int(dut.TLAST_ENDS.value))
    tiles, space = int(dut.TILES.value), 1 << int(dut.ADDRESS_BITS.value)
    await start(dut, we_i=0, start_i=0, s_axis_tvalid=0, s_axis_tlast=0, written_i=0)
    put(dut, withdraw_i=0, clear_error_i=0, room_i=1, flush_i=0, give_up_i=0, none_i=0)
    seen: list[tuple[int, ...]] = []
    addresses: list[tuple[int, int]] = []
    counts = dict.fromkeys(("done_o", "dropped_o", "taken_o"), 0)

    async def watch() -> None:
        ended = 0
        while True:
            put(dut, written_i=ended)  # the word goes to memory one cycle after its last element
            await RisingEdge(dut.clk)
            if ended:
                addresses.append((get(dut, "bank_o"), get(dut, "address_o")))
            ended = 0
            if get(dut, "valid_o"):
                end, wrong = get(dut, "word_end_o"), get(dut, "wrong_o")
                ended = int(end and not wrong)
                ends = get(dut, "run_end_o"), get(dut, "strip_end_o")
                flags = get(dut, "first_o"), end, *ends, wrong
                take = get(dut, "take_o")
                assert take.bit_count() == 1
                seen.append((get(dut, "element_o"), take.bit_length() - 1, *flags))
            for name in counts:
                counts[name] += get(dut, name)

    cocotb.start_soon(watch())
    errors = 0
    for _ in range(20):
        run, runs = rng.randint(1, 3 * lanes * units), rng.randint(1, 4 * tiles)
        lead = rng.randrange(taps)
        words_each = -(-(lead + run) // (lanes * units))
        strip = rng.randint(-(-runs // tiles), runs) if tiles > 1 else 0
        last_run = rng.choice([run, rng.randint(1, run)]) if tiles > 1 else 0
        base = rng.randrange(space - words_each * (strip or runs) + 1)
        await describe(dut, Input(run, runs, base, lead, strip, last_run))
        await RisingEdge(dut.clk)
        assert get(dut, "s_axis_tready") == 0
        put(dut, start_i=1)
        await RisingEdge(dut.clk)
        put(dut, start_i=0)
        seen.clear()
        addresses.clear()
        counts = dict.fromkeys(counts, 0)
        size = run * (runs - 1) + (last_run or run)
        wrong_sizes = [n for n in (1, size - 1, size + 1, 2 * size, size + rng.randint(1, 20)) if n]
        wrong_sizes = [n for n in wrong_sizes if n != size] if borders else []
        sizes = [*rng.choices(wrong_sizes, k=rng.randint(0, 4) if wrong_sizes else 0), size]
        expected: list[tuple[int, ...]] = []
        expected_addresses: list[tuple[int, int]] = []
        for length in sizes:
            frame = [rng.getrandbits(bits) for _ in range(length)]
            last = length - 1 if borders else rng.randrange(-1, length)
            await send(dut, frame, rng.choice([0.0, 0.3, 0.8]), rng, [last])
            errors |= int(length < size) | 2 * int(length > size)
            for i, e in enumerate(frame[:size]):
                number, at = i // run, lead + i % run
                wrong = length != size and i == min(length, size) - 1
                run_end = i % run == run - 1 or i == size - 1
                unit_end = at % lanes == lanes - 1 or run_end
                bank, place = divmod(number, strip or runs)
                strip_end = tiles > 1 and run_end and place == strip - 1
                flags = (at % lanes == 0 or at == lead), (unit_end or wrong)
                expected.append((e, at % lanes, *map(int, (*flags, run_end, strip_end, wrong))))
                if unit_end and not wrong:
                    unit = (base + place * words_each) * units + at // lanes
                    expected_addresses.append((bank, unit))
        for _ in range(3):
            await RisingEdge(dut.clk)
        assert seen == expected, f"run {run}, runs {runs}, frames of {sizes}"
        assert addresses == expected_addresses, f"run {run}, runs {runs}, frames of {sizes}"
        assert counts == {"done_o": 1, "dropped_o": len(sizes) - 1, "taken_o": 1}
        assert get(dut, "s_axis_tready") == 0
        assert get(dut, "frame_error_o") == errors
        clear = rng.getrandbits(2)
        put(dut, clear_error_i=clear)
        await RisingEdge(dut.clk)
        put(dut, clear_error_i=0)
        await RisingEdge(dut.clk)
        errors &= ~clear
        assert get(dut, "frame_error_o") == errors


@cocotb.test()
async def input_takes_packets(dut):
    """Frames of several packets, whole ones and some of which a packet is too short or too long.

    A spoiled frame is dropped with the last of its packets, and the next one is whole. Now and then
    a frame is given up in the middle, or between two packets: the rest of it is discarded.
    """
    rng = seeded_random()
    lanes, bits = int(dut.LANES.value), int(dut.DATA_BITS.value)
    await start(dut, we_i=0, start_i=0, s_axis_tvalid=0, s_axis_tlast=0, written_i=0)
    put(dut, withdraw_i=0, clear_error_i=0, room_i=1, flush_i=0, give_up_i=0, none_i=0)
    took: list[int] = []
    told = dict.fromkeys(("taken_o", "dropped_o"), 0)

    async def watch() -> None:
        while True:
            await RisingEdge(dut.clk)
            for name in told:
                told[name] += int(get(dut, name))
            if get(dut, "valid_o"):
                took.append(int(get(dut, "element_o")))

    cocotb.start_soon(watch())
    cut = 0
    for _ in range(40):
        count = rng.choice([1, 2, 2, 3, 5, MOST_PACKETS])
        run, runs = rng.randint(count, 3 * lanes + count), rng.randint(1, 3)
        borders = sorted(rng.sample(range(1, run * runs), count - 1)) if count > 1 else []
        sizes = [b - a for a, b in pairwise([0, *borders, run * runs])]
        await describe(dut, Input(run, runs, 0, packets=tuple(sizes[:-1])))
        put(dut, clear_error_i=3)
        await RisingEdge(dut.clk)
        put(dut, clear_error_i=0, start_i=1)
        await RisingEdge(dut.clk)
        put(dut, start_i=0)
        gap = rng.choice([0.0, 0.3, 0.8])
        errors = 0
        told.update(taken_o=0, dropped_o=0)
        spoiled = rng.randint(0, 3)
        for _ in range(spoiled):
            lengths = sizes.copy()
            which = rng.randrange(count)
            others = [n for n in (1, sizes[which] - 1, sizes[which] + 1, 3 * sizes[which]) if n]
            lengths[which] = rng.choice([n for n in others if n != sizes[which]])
            errors |= 1 if lengths[which] < sizes[which] else 2
            ends = [int(n) - 1 for n in np.cumsum(lengths)]
            await send(dut, [rng.getrandbits(bits) for _ in range(sum(lengths))], gap, rng, ends)
        frame = [rng.getrandbits(bits) for _ in range(run * runs)]
        ends = [int(n) - 1 for n in np.cumsum(sizes)]
        if rng.random() < 0.4 and run * runs > 1:
            # Given up behind an element; what is left comes as it would have.
            at = rng.choice([rng.randrange(1, run * runs), *(n + 1 for n in ends[:-1])])
            await send(dut, frame[:at], gap, rng, [n for n in ends if n < at])
            for _ in range(2):
                await RisingEdge(dut.clk)
            put(dut, flush_i=1)
            for _ in range(2):
                await RisingEdge(dut.clk)
            assert get(dut, "open_o") == 1
            before = len(took)
            await send(dut, frame[at:], gap, rng, [n - at for n in ends if n >= at])
            for _ in range(2):
                await RisingEdge(dut.clk)
            assert get(dut, "open_o") == 0 and len(took) == before
            put(dut, flush_i=0, start_i=1)
            await RisingEdge(dut.clk)
            put(dut, start_i=0)
            cut += 1
        await send(dut, frame, gap, rng, ends)
        for _ in range(3):
            await RisingEdge(dut.clk)
        assert took[-len(frame) :] == frame, f"packets of {sizes}"
        assert told == {"taken_o": 1, "dropped_o": spoiled}, f"packets of {sizes}"
        assert get(dut, "frame_error_o") == errors
        assert get(dut, "s_axis_tready") == 0
    assert cut


@cocotb.test()
async def input_gives_a_frame_up(dut):
    """flush_i in any cycle of frames of any length: the rest is taken up to its TLAST, or not at
    all with give_up_i; the next frame is whole."""
    rng = seeded_random()
    lanes, units, bits = (int(getattr(dut, n).value) for n in ("LANES", "UNITS", "DATA_BITS"))
    borders = bool(int(dut.TLAST_ENDS.value))
    await start(dut, we_i=0, start_i=0, s_axis_tvalid=0, s_axis_tlast=0, written_i=0)
    put(dut, withdraw_i=0, clear_error_i=0, room_i=1, flush_i=0, give_up_i=0, none_i=0)
    run, runs = rng.randint(1, 2 * lanes * units), rng.randint(2, 4)
    size = run * runs
    await describe(dut, Input(run, runs, 0, 0))
    queue: list[tuple[int, int]] = []  # elements to be sent
    coming = 0  # elements of the frame that is coming
    took: list[int] = []  # what has left
    told = dict.fromkeys(("taken_o", "dropped_o"), 0)
    offered = False

    def add(length: int) -> list[int]:
        frame = [rng.getrandbits(bits) for _ in range(length)]
        queue.extend((e, int(i == length - 1)) for i, e in enumerate(frame))
        return frame

    async def cycle(gap: float, **inputs: int) -> None:
        nonlocal coming, offered
        offered = bool(queue) and (offered or rng.random() >= gap)
        put(dut, s_axis_tvalid=int(offered), **inputs)
        if offered:
            put(dut, s_axis_tdata=queue[0][0], s_axis_tlast=queue[0][1])
        await RisingEdge(dut.clk)
        for name in told:
            told[name] += get(dut, name)
        if get(dut, "valid_o"):
            took.append(get(dut, "element_o"))
        if offered and get(dut, "s_axis_tready"):
            coming = 0 if queue.pop(0)[1] else coming + 1
            offered = False

    rest = drained = 0  # how often
    for _ in range(150):
        add(rng.choice([size, size, rng.randint(1, size), size + rng.randint(1, 9)]))
        gap = rng.choice([0.0, 0.0, 0.3, 0.8])
        await cycle(gap, start_i=1, flush_i=0)
        for _ in range(rng.randint(0, 2 * size)):
            await cycle(gap, start_i=0, room_i=int(rng.random() < 0.9))
        give_up = rng.choice([None, None, 0, 1, 3])
        for now in range(LIMIT):
            if now == 1:
                told = dict.fromkeys(told, 0)
            if now >= 2 and not get(dut, "open_o"):
                break
            await cycle(gap, start_i=0, flush_i=1, give_up_i=int(now == give_up), room_i=0)
        else:
            raise AssertionError("open_o stays high")
        assert told["dropped_o"] == 0 or now == 2, "only of what was before"
        await cycle(gap, flush_i=0)
        assert get(dut, "s_axis_tready") == 0 and get(dut, "open_o") == 0
        if borders and give_up is None:
            assert coming == 0, "a frame is taken to its end"
            drained += 1
        if not borders:
            queue, offered = [], False
        rest += bool(coming)
        # What is left is a frame of its own.
        told, took = dict.fromkeys(told, 0), []
        await cycle(0.0, start_i=1, room_i=1)
        put(dut, start_i=0)
        expected, dropped, begun = [], 0, 0
        for _, last in queue:
            begun += 1
            if last:
                dropped, begun = dropped + (begun != size), 0
        wholes = sum(last for _, last in queue) - dropped
        coming = 0
        if not wholes:
            expected = add(size)
        for _ in range(len(queue) + 8):
            await cycle(0.0)
            if told["taken_o"]:
                break
        await cycle(0.0)
        assert told == {"taken_o": 1, "dropped_o": dropped if not wholes else told["dropped_o"]}
        if expected:
            assert took[-size:] == expected
        queue, offered = [], False
        put(dut, s_axis_tvalid=0)
        await cycle(0.0)
    assert not borders or (drained and rest)


@cocotb.test()
async def beats_hand_on_every_element(dut):
    """Frames of all lengths, empty beats, borders without elements; gaps and backpressure."""
    rng = seeded_random()
    beat, bits = int(dut.BEAT.value), int(dut.DATA_BITS.value)
    borders, width = bool(int(dut.TLAST_ENDS.value)), beat * bits // 8
    beats: list[tuple[list[int], list[int], int]] = []  # bytes, TKEEP, TLAST
    for _ in range(150):
        size = rng.choice([0, 1, beat, rng.randint(1, 4 * beat)])
        for start_at in range(0, max(size, 1), beat):
            count = min(beat, size - start_at) * bits // 8
            if beat > 1 and rng.random() < 0.2:  # a beat of nothing, or of half an element
                few = rng.randrange(bits // 8)
                beats.append((list(rng.randbytes(width)), [int(i < few) for i in range(width)], 0))
            keep = [int(i < count or beat == 1) for i in range(width)]
            if keep[0] == 0 and bits == 16 and rng.random() < 0.5:
                keep[0] = 1
            beats.append((list(rng.randbytes(width)), keep, int(start_at + beat >= size)))
    data = np.array([d for d, _, _ in beats], np.uint8)
    keeps = np.array([k for _, k, _ in beats], bool)
    ends = np.array([e for _, _, e in beats], bool)
    expected = elements_of(data, keeps, ends, bits, borders or beat == 1)
    seen: list[tuple[int | None, bool]] = []
    await start(dut, s_axis_tvalid=0, s_axis_tdata=0, s_axis_tkeep=0, s_axis_tlast=0, ready_i=0)
    put(dut, clear_i=0)
    await RisingEdge(dut.clk)
    sent, offered, held = 0, False, None
    gap, stop = 0.0, 0.0
    for now in range(LIMIT):
        if now % 100 == 0:
            gap, stop = rng.choice([0.0, 0.3, 0.8]), rng.choice([0.0, 0.3, 0.8])
        if sent < len(beats):
            offered = offered or rng.random() >= gap
            word = int.from_bytes(bytes(beats[sent][0]), "little")
            kept = sum(k << i for i, k in enumerate(beats[sent][1]))
            put(dut, s_axis_tdata=word, s_axis_tkeep=kept, s_axis_tlast=beats[sent][2])
        put(dut, s_axis_tvalid=int(offered), ready_i=int(rng.random() >= stop))
        await RisingEdge(dut.clk)
        valid, ready = get(dut, "valid_o"), get(dut, "ready_i")
        if valid:
            none = bool(get(dut, "none_o"))
            offer = None if none else get(dut, "element_o"), bool(get(dut, "last_o"))
            assert held in (None, offer), f"element {len(seen)} changes while it waits"
            held = None if ready else offer
            if ready:
                seen.append(offer)
        else:
            assert held is None, "an element that waits is gone"
        if offered and get(dut, "s_axis_tready"):
            sent, offered = sent + 1, False
        if len(seen) == len(expected) and sent == len(beats):
            break
    assert seen == expected


@cocotb.test()
async def beats_lose_no_cycle(dut):
    """At full speed an element leaves in every cycle; what is given up leaves no more."""
    rng = seeded_random()
    beat, bits = int(dut.BEAT.value), int(dut.DATA_BITS.value)
    ones = (1 << (beat * bits // 8)) - 1
    await start(dut, s_axis_tvalid=0, s_axis_tkeep=ones, s_axis_tlast=0, ready_i=1, clear_i=0)
    await play(dut, [{}] * 2, [])
    words = [rng.getrandbits(beat * bits) for _ in range(40)]
    seen: list[int] = []
    cycles = 0
    for word in words:
        put(dut, s_axis_tvalid=1, s_axis_tdata=word)
        for _ in range(LIMIT):
            await RisingEdge(dut.clk)
            cycles += 1
            if get(dut, "valid_o"):
                seen.append(get(dut, "element_o"))
            if get(dut, "s_axis_tready"):
                break
    put(dut, s_axis_tvalid=0)
    for _ in range(beat - 1 if beat > 1 else 0):
        await RisingEdge(dut.clk)
        seen.append(get(dut, "element_o"))
    mask = (1 << bits) - 1
    wide = [(w >> (bits * i)) & mask for w in words for i in range(beat)]
    assert cycles == (1 + beat * (len(words) - 1) if beat > 1 else len(words))
    assert seen == wide[: len(seen)] and len(seen) >= len(wide) - 1
    if beat > 1:
        await play(dut, [{}] * 3, [])
        put(dut, ready_i=0, s_axis_tvalid=1)
        await RisingEdge(dut.clk)
        put(dut, s_axis_tvalid=0)
        rows = await play(dut, [{"clear_i": 1}, {"clear_i": 0}], ["valid_o", "s_axis_tready"])
        assert rows[0] == {"valid_o": 1, "s_axis_tready": 0}
        assert rows[1] == {"valid_o": 0, "s_axis_tready": 0}
        assert (await play(dut, [{}], ["s_axis_tready"])) == [{"s_axis_tready": 1}]
        rows = await play(dut, [{"rst": 1}] * 2, ["valid_o", "s_axis_tready"])
        assert rows[1] == {"valid_o": 0, "s_axis_tready": 0}


@cocotb.test()
async def assemble_puts_lane_0_first(dut):
    """Groups from chunks and units from elements: contents, cycle and origin of every write."""
    rng = seeded_random()
    lanes, rq, bits = (int(getattr(dut, n).value) for n in ("LANES", "RQ", "DATA_BITS"))
    unit = int(dut.UNIT.value)
    most = rng.choice([1, 4])  # sub-words of a group
    idle = {"chunk_valid_i": 0, "element_valid_i": 0, "element_take_i": 0}
    await start(dut, **idle)
    cycles: list[Cycle] = []
    expected: dict[int, tuple[int, int]] = {}

    def pack(values: Sequence[int]) -> int:
        return sum(v << (bits * i) for i, v in enumerate(values))

    for _ in range(60):
        from_input = rng.getrandbits(1)
        for _ in range(rng.randint(1, 5)):
            size = unit if from_input else lanes * rng.randint(1, most)
            valid = rng.choice([size, rng.randint(1, size)])
            values = [rng.getrandbits(bits) for _ in range(valid)]
            if from_input:
                for i, v in enumerate(values):
                    cycles.append({**idle, "element_valid_i": 1, "element_i": v})
                    cycles[-1].update(element_take_i=1 << i, element_end_i=int(i == valid - 1))
                    cycles[-1].update(element_first_i=int(i == 0))
                    if rng.random() < 0.2:
                        cycles.append(idle)
                        late = 1
                    else:
                        late = 0
                expected[len(cycles) - late] = (pack(values), 1)
            else:
                chunks = -(-valid // rq)
                whole = lanes // rq
                for i in range(chunks):
                    cycles.append({**idle, "chunk_valid_i": 1, "chunk_index_i": i % whole})
                    cycles[-1].update(chunk_i=pack(values[i * rq : (i + 1) * rq]))
                    cycles[-1].update(chunk_last_i=int(i == chunks - 1))
                    if i % whole == whole - 1:
                        first = i // whole * lanes
                        expected[len(cycles) - 1] = (pack(values[first : first + lanes]), 0)
                direct = chunks % whole == 0
                if not direct:
                    expected[len(cycles)] = (pack(values[chunks // whole * lanes :]), 0)
                if direct or rng.getrandbits(1):
                    # a shorter group is never followed by a whole one without a pause
                    cycles += [idle] * rng.choice([0, 1])
                if not direct:
                    cycles += [idle] * 2
        cycles += [idle] * 2
    seen = await play(dut, cycles, ["we_o", "word_o", "from_input_o"])
    for n, row in enumerate(seen):
        assert row["we_o"] == int(n in expected), f"cycle {n}"
        if n in expected:
            sub = (1 << (bits * (unit if row["from_input_o"] else lanes))) - 1
            word = row["word_o"]
            assert word is not None
            assert (word & sub, row["from_input_o"]) == expected[n], f"cycle {n}"


def tops_of_packets(beats: Sequence[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """The number of each packet's largest beat, the first of equals, and whether it ends a run."""
    tops, packet = [], []
    for value, last, end in beats:
        packet.append(to_signed(value, 32))
        if last:
            tops.append((packet.index(max(packet)), end))
            packet = []
    return tops


def random_chunk(
    rng: random.Random, rq: int, often: float
) -> tuple[Cycle, list[tuple[int, int, int]]]:
    """A chunk as bramcast_output takes it, and its beats: value, TLAST, the run's end."""
    lanes, last = rng.randint(1, rq), int(rng.random() < often)
    end = int(last and rng.random() < 0.6)
    values = [rng.choice([rng.getrandbits(32), 0, 5, 2**31]) for _ in range(lanes)]
    chunk: Cycle = {"chunk_valid_i": 1, "chunk_lanes_i": lanes - 1, "chunk_end_i": end}
    chunk |= {"chunk_tlast_i": last, "chunk_i": sum(v << (32 * i) for i, v in enumerate(values))}
    top = lanes - 1
    return chunk, [(v, int(last and i == top), int(end and i == top)) for i, v in enumerate(values)]


@cocotb.test()
async def output_sends_every_lane_once(dut):
    """Random chunks while there is room, random TREADY: the beats, TLAST, the pops, stable data."""
    rng = seeded_random()
    rq, room = int(dut.RQ.value), int(dut.FIFO_CHUNKS.value)
    await start(dut, chunk_valid_i=0, m_axis_tready=0, flush_i=0)
    expected: list[tuple[int, int, int]] = []
    got: list[tuple[int, int, int]] = []
    held, sent, pops = 0, 0, 0
    waiting: tuple[int, ...] | None = None
    tops: list[tuple[int, int]] = []  # TUSER with TLAST, whether a run ends
    classes: list[tuple[int, int]] = []  # TUSER at a run's end, class_o one cycle later
    ended: int | None = None
    first_cycle = None
    for now in range(4000):
        if now % 400 == 0:
            load, take = rng.choice([0.1, 0.6, 1.0]), rng.choice([0.1, 0.6, 1.0])
        inputs: Cycle = {"chunk_valid_i": 0, "m_axis_tready": int(rng.random() < take)}
        if held < room and rng.random() < load and now < 3500:
            chunk, beats = random_chunk(rng, rq, 0.2)
            inputs |= chunk
            expected += beats
            held, sent = held + 1, sent + 1
            if first_cycle is None:
                first_cycle = now
        if now >= 3500:
            inputs["m_axis_tready"] = 1
        put(dut, **inputs)
        await RisingEdge(dut.clk)
        data, last, end = (int(get(dut, n)) for n in ("m_axis_tdata", "m_axis_tlast", "run_end_o"))
        beat = (data, last, end)
        if ended is not None:
            classes.append((ended, int(get(dut, "class_o"))))
            ended = None
        valid = get(dut, "m_axis_tvalid")
        if first_cycle is not None and now <= first_cycle + 2:
            assert valid == int(now == first_cycle + 2), "the first beat comes after two cycles"
        if waiting is not None:
            assert valid == 1 and beat == waiting, "a beat that waits must not change"
        waiting = None
        if valid and inputs["m_axis_tready"]:
            got.append(beat)
            if beat[1]:
                tops.append((int(get(dut, "m_axis_tuser")), beat[2]))
                ended = tops[-1][0] if beat[2] else None
        elif valid:
            waiting = beat
        if get(dut, "pop_o"):
            held, pops = held - 1, pops + 1
    assert got == expected
    assert (pops, held) == (sent, 0)
    assert tops == tops_of_packets(expected)
    assert classes and all(one == other for one, other in classes)


@cocotb.test()
async def output_closes_what_is_cut(dut):
    """flush_i at random: an open run gets one beat with the mark, no other one does; nothing of
    the FIFO leaves but one beat; the next run is right, and class_o is a whole run's."""
    rng = seeded_random()
    rq, room = int(dut.RQ.value), int(dut.FIFO_CHUNKS.value)
    await start(dut, chunk_valid_i=0, m_axis_tready=0, flush_i=0)
    expected: list[tuple[int, int, int]] = []
    packet: list[int] = []  # beats of the one that is open
    begun = False  # a run has had a beat, not its last one
    waiting: tuple[int, ...] | None = None
    held = flush = late = helped = 0  # flush: cycles so far
    top = ended = 0  # class_o; a whole run's last beat was taken in the cycle before
    marks = wholes = silent = between = 0
    for now in range(6000):
        if now % 300 == 0:
            load, take = rng.choice([0.1, 0.6, 1.0]), rng.choice([0.1, 0.6, 1.0])
        ready = int(rng.random() < take)
        if flush == 0 and rng.random() < 0.03:
            flush, late, helped, marked = 1, 0, 0, marks
        inputs: Cycle = {"chunk_valid_i": 0, "m_axis_tready": ready, "flush_i": int(flush > 0)}
        if held < room and flush <= 1 and rng.random() < load:
            chunk, beats = random_chunk(rng, rq, 0.4)
            inputs |= chunk
            if flush == 0:
                expected += beats
            held += 1
        put(dut, **inputs)
        await RisingEdge(dut.clk)
        if ended:
            assert get(dut, "class_o") == top
        ended = 0
        valid = get(dut, "m_axis_tvalid")
        assert get(dut, "busy_o") == int(bool(valid or begun))
        if valid:
            names = ("m_axis_tdata", "m_axis_tlast", "run_end_o", "m_axis_tuser")
            data, last, end, user = (int(get(dut, name)) for name in names)
            assert waiting in (None, (data, last, end, user)), "a beat that waits must not change"
            waiting = None if ready else (data, last, end, user)
        else:
            assert waiting is None, "a beat that waits must stay"
        if valid and ready:
            if user >> 16:
                assert flush and begun and (data, last, end) == (0, 1, 0)
                between += not packet
                packet, begun, marks = [], False, marks + 1
                ended = 1  # class_o stays
            else:
                assert (data, last, end) == expected.pop(0)
                packet.append(to_signed(data, 32))
                begun = not end
                late += flush > 0
                if last:
                    assert user == packet.index(max(packet))
                    top, ended, wholes = (user, 1, wholes + 1) if end else (top, 0, wholes)
                    packet = []
        held -= get(dut, "pop_o")
        if flush:
            helped = helped + 1 if ready else 0
            assert late <= 2 and marks - marked <= 1
            busy = begun or waiting is not None
            if flush >= 2 and not busy and not get(dut, "busy_o"):
                silent += marks == marked
                flush, held = 0, 0
                expected.clear()
            else:
                assert helped <= 4, "four cycles with TREADY are enough"
                flush += 1
    assert marks and wholes and silent and between


# ---------------------------------------------------------------- program


def _front(nest: Nest) -> dict[str, int]:
    counts = sum((c - 1) << (16 * i) for i, c in enumerate(nest.counts))
    plain: tuple[str, ...] = ("x_start", "x_limit", "x_step_ox", "x_step_kx")
    rows = {}
    if nest.rows is None:
        plain += ("y_start", "y_limit", "y_step_oy", "y_step_ky")
    else:
        rows = {"span_o": nest.rows.span, "front_strips_o": int(nest.strips)}
        for name in ("start", "step_oy", "step_ky", "limit"):
            strip, row = divmod(getattr(nest.rows, name), nest.rows.span)
            rows |= {f"strip_{name}_o": strip, f"row_{name}_o": row}
    return {
        **rows,
        "counts_o": counts,
        "front_stream_o": int(nest.stream),
        "front_table_o": int(nest.table),
        "front_last_o": int(nest.last),
        "front_lanewise_o": int(nest.lanewise),
        "front_tail_o": nest.tail - 1,
        **{f"{name}_o": getattr(nest, name) for name in plain},
    }


def _back(nest: Nest, tiles: int = 1) -> dict[str, int]:
    every = nest.strips or nest.bank == ALL_BANKS
    flags = ("lanewise", "max", "x_unsigned", "y_unsigned", "stream", "table", "last")
    return {
        **{f"{name}_o": int(getattr(nest, name)) for name in flags},
        "tail_o": nest.tail - 1,
        "lo_o": nest.lo,
        "hi_o": nest.hi,
        "bias_step_o": nest.bias_step,
        "table_number_o": nest.table_base,
        "banks_o": (1 << tiles) - 1 if every else 1 << nest.bank,
    }


def _random_nest(rng: random.Random, bias_bits: int = 8, table_bits: int = 2) -> Nest:
    half: dict[str, Any] = {
        name: rng.randint(-(2**15), 2**15 - 1)
        for name in (f.name for f in fields(Nest))
        if name[:2] in ("y_", "x_") and "unsigned" not in name
    }
    flags = ("lanewise", "max", "x_unsigned", "y_unsigned", "table", "stream")
    set_flags: dict[str, Any] = {name: bool(rng.getrandbits(1)) for name in flags}
    return Nest(
        counts=tuple(rng.randint(1, 65536) for _ in LOOPS),
        act_base=rng.getrandbits(10),
        act_steps=(0,) * 6,
        weight_base=rng.getrandbits(10),
        weight_steps=(0,) * 6,
        result_base=rng.getrandbits(10),
        result_steps=(0,) * 3,
        lo=rng.randint(-(2**31), 2**31 - 1),
        hi=rng.randint(-(2**31), 2**31 - 1),
        bias_base=rng.getrandbits(bias_bits),
        bias_step=rng.getrandbits(bias_bits),
        tail=rng.randint(1, 512),
        table_base=rng.getrandbits(table_bits),
        **set_flags,
        **half,
    )


def _with_rows(rng: random.Random, nest: Nest, tiles: int, row_bits: int) -> Nest:
    """The nest with random rows in the place of y."""
    span = rng.choice([1, 1 << row_bits, rng.randint(1, 1 << row_bits)])
    start, step_oy, step_ky = (rng.randrange(-512 * span, 512 * span) for _ in range(3))
    strips = bool(rng.getrandbits(1))
    bank = 0 if strips else rng.choice([*range(tiles), ALL_BANKS])
    rows = Rows(span, start, step_oy, step_ky, rng.randint(1, tiles * span))
    plain = replace(nest, y_start=0, y_limit=1, y_step_oy=0, y_step_ky=0)
    return replace(plain, rows=rows, strips=strips, bank=bank)


@cocotb.test()
async def settings_hand_over_front_before_back(dut):
    """Random descriptors: each half changes with its own signal only."""
    rng = seeded_random()
    tiles, row_bits = int(dut.TILES.value), int(dut.ROW_BITS.value)
    await start(dut, we_i=0, take_front_i=0, take_back_i=0)

    def check(expected: dict[str, int]) -> None:
        for name, value in expected.items():
            assert get(dut, name) == value & ((1 << len(getattr(dut, name))) - 1), name

    old: Nest | None = None
    for _ in range(30):
        nest = _random_nest(rng, int(dut.BIAS_BITS.value), int(dut.TABLE_BITS.value))
        nest = replace(nest, last=bool(rng.getrandbits(1)))
        nest = _with_rows(rng, nest, tiles, row_bits) if tiles > 1 else nest
        words = [{"we_i": 1, "index_i": i, "word_i": w} for i, w in enumerate(encode(nest))]
        await play(dut, [*words, {"we_i": 0}, {"take_front_i": 1}, {"take_front_i": 0}], [])
        check(_front(nest))
        if old is not None:
            check(_back(old, tiles))
        put(dut, take_back_i=1)
        await RisingEdge(dut.clk)
        assert get(dut, "next_bias_base_o") == nest.bias_base
        await play(dut, [{"take_back_i": 0}], [])
        check(_front(nest))
        check(_back(nest, tiles))
        old = nest


@cocotb.test()
async def fetch_delivers_one_descriptor_ahead(dut):
    """Three times through a program: words, order and the cycle of everything behind a take."""
    rng = seeded_random()
    words = [int(line, 16) for line in Path(os.environ["UNIT_IMAGE"]).read_text().split()]
    program = split_program(np.array(words, np.uint32))
    used = DESCRIPTOR_WORDS - (int(dut.TILES.value) == 1)  # the last one holds nothing then
    await start(dut, take_input_i=0, take_nest_i=0, restart_i=0, **NO_HOST)
    got: list[tuple[int, int, int]] = []
    now = 0

    async def cycle() -> None:
        nonlocal now
        await RisingEdge(dut.clk)
        now += 1
        if get(dut, "we_o") and get(dut, "index_o") < used:
            got.append((get(dut, "input_o"), get(dut, "index_o"), get(dut, "word_o")))

    async def until(name: str) -> None:
        for _ in range(LIMIT):
            if get(dut, name):
                return
            await cycle()
        raise AssertionError(f"{name} stays low")

    def expect(number: int) -> list[tuple[int, int, int]]:
        first = number * DESCRIPTOR_WORDS
        return [(int(number == 0), i, words[first + i]) for i in range(used)]

    for _ in range(3):
        await until("input_ready_o")
        await until("nest_ready_o")
        for _ in range(3):
            await cycle()
        assert got == expect(0) + expect(1)
        put(dut, take_input_i=1)
        await cycle()
        put(dut, take_input_i=0)
        for number in range(1, len(program)):
            for _ in range(rng.choice([0, 5, 50])):
                await cycle()
                assert get(dut, "nest_ready_o") == 1
            await until("nest_ready_o")
            await cycle()
            got.clear()
            put(dut, take_nest_i=1)
            await cycle()
            put(dut, take_nest_i=0)
            if number + 1 < len(program):
                for n in range(1, used + 4):  # cycles after the take
                    await cycle()
                    assert len(got) == max(0, n - 3)
                    assert get(dut, "nest_ready_o") == 0
                await cycle()
                assert get(dut, "nest_ready_o") == 1
                await cycle()
                assert got == expect(number + 1)


@cocotb.test()
async def fetch_begins_again_at_any_time(dut):
    """A program with LOOPs: runs that end, and runs that a restart of any kind cuts off anywhere.

    After a restart the descriptors come from the first one on, with all iterations and with bases
    that have not moved, as if nothing had been before.
    """
    rng = seeded_random()
    words = [int(line, 16) for line in Path(os.environ["UNIT_IMAGE"]).read_text().split()]
    program = unrolled(split_program(np.array(words, np.uint32)))
    # Word 31 holds nothing.
    expected = [[w & 0xFFFFFFFF for w in encode(d)[:-1]] for _, d in program]
    assert len(expected) > len({i for i, _ in program}), "a program with LOOPs"
    await start(dut, take_input_i=0, take_nest_i=0, restart_i=0, **NO_HOST)
    got: list[int] = []

    async def cycle(**inputs: int) -> None:
        put(dut, **inputs)
        await RisingEdge(dut.clk)
        if get(dut, "we_o") and get(dut, "index_o") < DESCRIPTOR_WORDS - 1:
            got.append(get(dut, "word_o"))
        for name in inputs:
            put(dut, **{name: 0})

    async def deliver(number: int) -> None:
        """Descriptor ``number`` comes; a LOOP's words may come before it."""
        ready = "nest_ready_o" if number else "input_ready_o"
        for _ in range(150):
            if get(dut, ready):
                break
            assert get(dut, "error_o") == 0, f"descriptor {number}"
            await cycle()
        assert get(dut, ready) == 1, f"descriptor {number} does not come"
        if number != 1:  # INPUT and the first nest come one after another
            assert got[-len(expected[number]) :] == expected[number], f"descriptor {number}"

    async def run() -> None:
        await deliver(0)
        await deliver(1)
        assert got[: len(expected[0])] == expected[0]
        assert got[-len(expected[1]) :] == expected[1]
        await cycle(take_input_i=1)
        for number in range(1, len(expected)):
            await deliver(number) if number > 1 else None
            for _ in range(rng.choice([0, 0, 3, 40])):
                await cycle()
            got.clear()
            await cycle(take_nest_i=1)
            await cycle()

    for kind in ["none", *["rst", "restart_i", "host_read_i"] * 6]:
        if kind != "none":
            task = cocotb.start_soon(run())
            for _ in range(rng.randrange(1, 60 * len(expected))):
                await RisingEdge(dut.clk)
                if task.done():
                    break
            task.cancel()
            put(dut, take_input_i=0, take_nest_i=0, **{kind: 1})
            await RisingEdge(dut.clk)
            put(dut, **{kind: 0})
            await RisingEdge(dut.clk)
            got.clear()
        await run()


# ---------------------------------------------------------------- check sums


@cocotb.test()
async def checksum_is_that_of_the_words(dut):
    """Images of random words, read as bramcast_registers reads them; some checks are stopped."""
    rng = seeded_random()
    beats = (1, int(dut.WEIGHTS_BEATS.value), int(dut.BIAS_BEATS.value), 1)
    await start(dut, stop_i=0, start_i=0, turn_i=0)
    assert (get(dut, "words_o"), get(dut, "image_o"), get(dut, "crc_o")) == (0, 0, 0)
    for number in range(40):
        image = number % 4
        words = rng.choice([0, 1, 2, 7])
        data = [[rng.getrandbits(32) for _ in range(beats[image])] for _ in range(words)]
        await play(dut, [{"start_i": 1, "words_i": words, "image_i": image}], [])
        put(dut, start_i=0, words_i=rng.getrandbits(24), image_i=rng.getrandbits(2))
        stop = rng.randrange(4 * words * beats[image] + 4) if rng.random() < 0.3 else None
        place, cycle = [0, 0], 0  # word, beat; cycles behind start_i
        while True:
            turn = cycle % 4 == 3
            word, beat = place
            value = data[word][beat] if word < words else rng.getrandbits(32)
            inputs = {"turn_i": int(turn), "data_i": value if turn else rng.getrandbits(32)}
            outputs = ("busy_o", "step_o", "more_o", "last_o", "ended_o")
            here = {**inputs, "word_i": word, "beat_i": beat, "stop_i": int(cycle == stop)}
            (seen,) = await play(dut, [here], outputs)
            if not seen["busy_o"]:
                break
            assert seen["step_o"] == turn
            last = turn and word == words
            assert seen["last_o"] == last and seen["ended_o"] == (last and words > 0)
            if turn and word < words:
                more = beat < beats[image] - 1
                assert seen["more_o"] == more
                place = [word, beat + 1] if more else [word + 1, 0]
            cycle += 1
        put(dut, stop_i=0, turn_i=0)
        assert (get(dut, "words_o"), get(dut, "image_o")) == (words, image)
        if stop is None:
            assert cycle == 4 * (words * beats[image] + 1)
            sequence = b"".join(beat.to_bytes(4, "little") for word in data for beat in word)
            assert get(dut, "crc_o") == zlib.crc32(sequence)
        else:
            assert cycle == min(stop + 1, 4 * (words * beats[image] + 1))


# ---------------------------------------------------------------- ledger


@cocotb.test()
async def ledger_holds_what_nests_made(dut):
    """Runs of random nests; beats wait, the core is held and released, aborts end runs."""
    rng = seeded_random()
    rq, bits = int(dut.RQ.value), int(dut.DATA_BITS.value)
    depth, peek = int(dut.LEDGER_DEPTH.value), int(dut.PEEK.value)
    pulses = ("run_start_i", "nest_start_i", "done_i", "chunk_valid_i", "held_i", "flush_i")
    quiet = dict.fromkeys((*pulses, "m_axis_tvalid", "host_read_i"), 0)
    still = {"host_word_i": 0, "host_beat_i": 0, "stop_after_i": 0, "m_axis_tready": 0}
    await start(dut, **quiet, **still, chunk_banks_i=1)
    memory: dict[tuple[int, int], int] = {}
    for _ in range(60):
        nests = rng.choice([1, 2, 5, depth + 3])
        stop = peek * rng.choice([0, rng.randint(1, nests), nests])
        plan: defaultdict[int, Cycle] = defaultdict(dict)
        plan[0] = {"run_start_i": 1, "stop_after_i": stop}
        hold = dict[int, int]()  # hold_o, in the cycles in which it matters
        spans, data, first = list[tuple[int, int]](), list[bytes](), 2
        for n in range(1, nests + 1):
            begin, end = first, first + rng.randint(34, 60)
            stream, made = rng.getrandbits(1), b""
            plan[begin]["nest_start_i"] = 1
            for at in range(begin + 11, end + 1 if n < nests else end - 2):
                lanes, values = rng.randint(1, rq), [rng.getrandbits(32) for _ in range(rq)]
                if rng.random() < 0.6:
                    beats = sum(v << (32 * i) for i, v in enumerate(values))
                    plan[at] |= {"chunk_valid_i": 1, "chunk_stream_i": stream, "beats_i": beats}
                    plan[at]["chunk_lanes_i"] = lanes - 1
                    kept = [v if stream else v % 2**bits for v in values[:lanes]]
                    made += np.array(kept + [0] * (rq - lanes), "<u4").tobytes()
            first, hold[end - 2] = end, int(n == stop)
            if n == stop and n < nests:
                wish = rng.choice([1, 2, 3, 5, 9, 30])
                stop = rng.choice([0, rng.randint(n + 1, nests)])
                plan[end - 3 + wish]["stop_after_i"] = stop
                held = wish if wish < 3 else max(wish, 7)  # its entry is completed first
                for at in range(end - 2, end - 2 + held):
                    plan[at]["held_i"] = hold[at] = 1
                hold[end - 2 + held] = 0
                first = end + held
                end = end if held > 2 else first
            spans.append((begin, end))
            data.append(made)
        plan[end]["done_i"] = 1
        cut = rng.randrange(3, end) if rng.random() < 0.2 else end + 6
        plan[cut]["flush_i"] = 1

        ready, offered = rng.choice([1.0, 0.98, 0.9, 0.3]), rng.choice([0.05, 0.5])
        waits, behind, valid = [False], [False], False
        for at in range(cut + 1):
            behind.append(waits[-1] or (behind[-1] and valid))
            chance = 0.97 if valid else offered  # beats come one behind the other
            valid = waits[-1] or (2 < at < end - 1 and rng.random() < chance)
            taken = rng.random() < ready or at >= end - 2
            plan[at] |= {"m_axis_tvalid": int(valid), "m_axis_tready": int(taken)}
            waits.append(valid and not taken)
        late = [w or b for w, b in zip(waits, behind, strict=True)][1:]
        ended = 0
        for n, ((begin, end), made) in enumerate(zip(spans, data, strict=True)):
            if end <= cut and n < depth:
                counted = sum(not w for w in waits[1:][begin:end])
                memory[n, 1] = counted | any(late[begin:end]) << 31
            if end + (3 if n < nests - 1 else 1) <= cut:
                ended = n + 1
                memory |= {(n, 0): zlib.crc32(made)} if n < depth else {}
        script = [quiet | plan[at] for at in range(cut + 1)]
        seen = await play(dut, [*script, quiet, quiet], ["hold_o", "nests_o"])
        for at, value in hold.items():
            assert at > cut or seen[at]["hold_o"] == value, at
        assert seen[-1]["nests_o"] == ended
        for (entry, beat), value in memory.items():
            read = {"host_read_i": 1, "host_word_i": entry, "host_beat_i": beat}
            seen = await play(dut, [quiet | read] * 4, ["host_data_o"])
            assert seen[3]["host_data_o"] == value, (entry, beat)
        seen = await play(dut, [quiet] * 2, ["host_data_o"])
        assert seen[1]["host_data_o"] == 0
