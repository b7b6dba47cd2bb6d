# SPDX-License-Identifier: Apache-2.0
"""Bench of the whole core for tests/cosim/test_core_smoke.py: frames in, beats out, pauses.

The images and the log go by plusargs, the rest by environment:

    SMOKE_FRAMES  text file, a line of integers per frame
    SMOKE_SENT    elements of each packet of a frame
    SMOKE_TAKEN   beats of each packet of its results: where TLAST must come, and nowhere else
    SMOKE_BEATS   text file to write, a line of integers per frame
    SMOKE_GAPS    chance of a pause in each cycle, both streams, 0..1
    SMOKE_SEED    seed of the pauses
    SMOKE_LIMIT   cycles that the whole test may take
    SMOKE_TIMES   text file to write: a line per frame with the cycles in which its elements were
                  accepted, then a line with the cycles of the last beats of each frame

Frames are sent back to back. The caller compares the beats, and the log that the core writes.
"""

import os
import random
from itertools import accumulate, pairwise
from pathlib import Path

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge, with_timeout
from cocotbext.axi import AxiStreamBus, AxiStreamSink, AxiStreamSource

from bramcast.sim.benches.streams import ElementBus, pauses

CLOCK_NS = 10


async def _watch(dut, elements: list[int], ends: list[int]) -> None:
    """Note the clock cycles in which elements, and beats with TLAST, are accepted."""
    cycle = 0
    while True:
        await RisingEdge(dut.clk)
        cycle += 1
        if dut.s_axis_tvalid.value == 1 and dut.s_axis_tready.value == 1:
            elements.append(cycle)
        if dut.m_axis_tvalid.value == 1 and dut.m_axis_tready.value == 1:
            if dut.m_axis_tlast.value == 1:
                ends.append(cycle)


@cocotb.test()
async def frames_through(dut):
    """Send all frames back to back, collect the beats of each."""
    seed = int(os.environ["SMOKE_SEED"])
    dut._log.info("seed %d", seed)
    rng = random.Random(seed)
    gaps = float(os.environ["SMOKE_GAPS"])
    text = Path(os.environ["SMOKE_FRAMES"]).read_text()
    frames = [[int(n) for n in line.split()] for line in text.splitlines()]
    bits = len(dut.s_axis_tdata)

    dut.start_i.value = 1
    dut.s_axis_tvalid.value = 0
    dut.m_axis_tready.value = 0
    await FallingEdge(dut.rst)
    source = AxiStreamSource(ElementBus.from_prefix(dut, "s_axis"), dut.clk, byte_size=bits)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, byte_size=32)
    for stream in (source, sink):
        stream.log.setLevel("ERROR")
        if gaps:
            stream.set_pause_generator(pauses(rng, gaps))

    sent = [0, *accumulate(map(int, os.environ["SMOKE_SENT"].split()))]
    taken = [int(n) for n in os.environ["SMOKE_TAKEN"].split()]
    results: list[list[int]] = []
    elements: list[int] = []
    ends: list[int] = []
    cocotb.start_soon(_watch(dut, elements, ends))

    async def work() -> None:
        for frame in frames:
            for first, end in pairwise(sent):
                source.send_nowait([n & ((1 << bits) - 1) for n in frame[first:end]])
        for _ in frames:
            packets = [[int(n) for n in (await sink.recv()).tdata] for _ in taken]
            assert [len(packet) for packet in packets] == taken
            results.append([n for packet in packets for n in packet])

    await with_timeout(work(), int(os.environ["SMOKE_LIMIT"]) * CLOCK_NS, "ns")
    for _ in range(3):
        await RisingEdge(dut.clk)
    assert int(dut.frame_error_o.value) == 0
    lines = "".join(" ".join(map(str, beats)) + "\n" for beats in results)
    Path(os.environ["SMOKE_BEATS"]).write_text(lines)
    size = len(frames[0])
    times = [elements[i : i + size] for i in range(0, len(elements), size)]
    times.append(ends[len(taken) - 1 :: len(taken)])
    text = "".join(" ".join(map(str, cycles)) + "\n" for cycles in times)
    Path(os.environ["SMOKE_TIMES"]).write_text(text)
