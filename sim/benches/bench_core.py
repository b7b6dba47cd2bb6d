# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the whole core: sends frames, takes results, records what came back.

Started by sim/run/cosim.py with these variables: BRAMCAST_FRAMES (.npy, int64 [frames, beats]),
BRAMCAST_SENT and BRAMCAST_TAKEN (elements, and beats, of each packet of a frame, with commas),
BRAMCAST_BEATS (.npy to write, int64 [frames, beats]), BRAMCAST_CYCLES (limit for one frame) and
BRAMCAST_STALL (probability of a gap on the input and, from the second frame on, of backpressure on
the output; the first frame leaves with TREADY high, so that its cycle count is the core's own).
The comparison is made from the log that the HDL writes, not here.
"""

import logging
import os
import random
from itertools import pairwise

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge, with_timeout
from cocotbext.axi import AxiStreamBus, AxiStreamSink, AxiStreamSource

from bramcast.sim.benches.streams import ElementBus

CLOCK_NS = 10


async def stall(clk, stream, probability: float, rng: random.Random, finished) -> None:
    """Pause a stream in random cycles until ``finished`` says so."""
    while not finished():
        stream.pause = rng.random() < probability
        await RisingEdge(clk)
    stream.pause = False


async def press(dut, sink, probability: float, rng: random.Random, finished) -> None:
    """Random backpressure, from the first beat on; until then Python sleeps."""
    sink.pause = True
    await RisingEdge(dut.m_axis_tvalid)
    await stall(dut.clk, sink, probability, rng, finished)


@cocotb.test()
async def frames_through_the_core(dut):
    """Every frame in, every result out, with gaps and backpressure."""
    frames = np.load(os.environ["BRAMCAST_FRAMES"])
    probability = float(os.environ["BRAMCAST_STALL"])
    limit = int(os.environ["BRAMCAST_CYCLES"]) * CLOCK_NS
    sent = [0, *np.cumsum([int(n) for n in os.environ["BRAMCAST_SENT"].split(",")]).tolist()]
    taken = [int(n) for n in os.environ["BRAMCAST_TAKEN"].split(",")]
    rng = random.Random(cocotb.RANDOM_SEED)
    bits = len(dut.s_axis_tdata)
    for signal in (dut.start_i, dut.s_axis_tvalid, dut.s_axis_tlast, dut.m_axis_tready):
        signal.value = 0
    dut.s_axis_tdata.value = 0
    await FallingEdge(dut.rst)  # before that Icarus shows X on the handshakes
    await RisingEdge(dut.clk)
    source = AxiStreamSource(ElementBus.from_prefix(dut, "s_axis"), dut.clk, byte_size=bits)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, byte_size=32)
    for stream in (source, sink):
        stream.log.setLevel(logging.ERROR)
    dut.start_i.value = 1
    results: list[np.ndarray] = []
    for number, frame in enumerate(frames):
        stored = [int(v) & ((1 << bits) - 1) for v in frame]
        for start, end in pairwise(sent):
            source.send_nowait(stored[start:end])
        if probability > 0:
            cocotb.start_soon(stall(dut.clk, source, probability, rng, source.idle))
            if number > 0:
                count = len(results)
                cocotb.start_soon(
                    press(dut, sink, probability, rng, lambda n=count: len(results) > n)
                )
        packets = []
        for size in taken:
            answer = await with_timeout(sink.recv(), limit, "ns")
            assert len(answer.tdata) == size, (
                f"a packet of {len(answer.tdata)} beats where TLAST was expected behind {size}"
            )
            packets.append(np.array(answer.tdata, np.int64))
        results.append(np.concatenate(packets))
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    assert not int(dut.frame_error_o.value), "the core saw TLAST at the wrong beat"
    signed = [np.where(r >= 1 << 31, r - (1 << 32), r) for r in results]
    widths = {len(r) for r in signed}
    assert len(widths) == 1, f"frames gave different numbers of beats: {sorted(widths)}"
    np.save(os.environ["BRAMCAST_BEATS"], np.stack(signed))
