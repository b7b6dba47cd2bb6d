# SPDX-License-Identifier: Apache-2.0
"""cocotb benches of the core behind beats of several elements, for tests/cosim/test_beats.py.

BEATS_IN     .npz: data [beats, bytes], keep [beats, bytes], last [beats], alone [beats]:
             behind such a beat nothing is sent until a packet of results has come
BEATS_OUT    .npz to write: taken [beats], the cycle in which each was accepted; ends, the
             cycle of each packet's last beat; values, packet (of each value); cycles (cycles_o)
BEATS_COUNT  how many packets come; how many runs are ended
BEATS_GAPS   chance of a pause in each cycle, both streams, behind the beats that are alone
"""

import os
import random

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from bramcast.sim.benches.unit_benches import get, put, seeded_random, start

LIMIT = 30_000


@cocotb.test()
async def frames_of_beats(dut):
    """All beats in, all packets out."""
    given = np.load(os.environ["BEATS_IN"])
    count, gaps = int(os.environ["BEATS_COUNT"]), float(os.environ["BEATS_GAPS"])
    rng = seeded_random()
    alone = np.flatnonzero(given["alone"])
    words = [int.from_bytes(bytes(row), "little") for row in given["data"]]
    keeps = [sum(int(k) << i for i, k in enumerate(row)) for row in given["keep"]]
    put(dut, start_i=1, s_axis_tvalid=0, s_axis_tdata=0, s_axis_tkeep=0, s_axis_tlast=0)
    put(dut, m_axis_tready=0)
    await FallingEdge(dut.rst)
    sent, offered, held = 0, False, False
    taken: list[int] = []
    ends: list[int] = []
    values: list[int] = []
    packet: list[int] = []
    cycles: list[int] = []
    for now in range(10 * LIMIT):
        steady = len(ends) < len(alone)
        if sent < len(words) and not held:
            offered = offered or steady or rng.random() >= gaps
            put(dut, s_axis_tdata=words[sent], s_axis_tkeep=keeps[sent])
            put(dut, s_axis_tlast=int(given["last"][sent]))
        put(dut, s_axis_tvalid=int(offered), m_axis_tready=int(steady or rng.random() >= gaps))
        await RisingEdge(dut.clk)
        if offered and get(dut, "s_axis_tready"):
            taken.append(now)
            held = bool(given["alone"][sent])
            sent, offered = sent + 1, False
        if get(dut, "m_axis_tvalid") and get(dut, "m_axis_tready"):
            values.append(get(dut, "m_axis_tdata"))
            packet.append(len(ends))
            if get(dut, "m_axis_tlast"):
                ends.append(now)
        if get(dut, "done_o"):
            cycles.append(get(dut, "cycles_o"))
            held = False
        if len(cycles) == count and sent == len(words):
            break
    for _ in range(20):
        put(dut, s_axis_tvalid=0)
        await RisingEdge(dut.clk)
        assert not get(dut, "m_axis_tvalid")
    errors = get(dut, "frame_error_o")
    np.savez(
        os.environ["BEATS_OUT"],
        errors=np.array(errors),
        taken=np.array(taken, np.int64),
        ends=np.array(ends, np.int64),
        values=np.array(values, np.int64),
        packet=np.array(packet, np.int64),
        cycles=np.array(cycles, np.int64),
    )


class _Source:
    """Sends beats with gaps, and may stop in the middle of a frame."""

    def __init__(self, dut, rng: random.Random) -> None:
        self.dut, self.rng = dut, rng
        self.queue: list[tuple[int, int, int]] = []
        self.offered = self.stopped = False
        self.sent = 0  # beats of this frame

    def send(self, frame: list[tuple[int, int, int]]) -> None:
        assert not self.queue
        self.queue, self.sent = list(frame), 0

    async def cycle(self, **inputs: int) -> None:
        dut = self.dut
        go = bool(self.queue) and not self.stopped
        self.offered = go and (self.offered or self.rng.random() < 0.7)
        if self.offered:
            data, keep, last = self.queue[0]
            put(dut, s_axis_tdata=data, s_axis_tkeep=keep, s_axis_tlast=last)
        put(dut, s_axis_tvalid=int(self.offered), m_axis_tready=self.rng.randint(0, 1), **inputs)
        await RisingEdge(dut.clk)
        if self.offered and get(dut, "s_axis_tready"):
            self.queue.pop(0)
            self.offered, self.sent = False, self.sent + 1


@cocotb.test()
async def a_run_ends_between_beats(dut):
    """Aborts anywhere; where the source stops, a second one. The next frame is right."""
    given = np.load(os.environ["BEATS_IN"])
    rng = seeded_random()
    words = [int.from_bytes(bytes(row), "little") for row in given["data"]]
    keeps = [sum(int(k) << i for i, k in enumerate(row)) for row in given["keep"]]
    beats = list(zip(words, keeps, given["last"].tolist(), strict=True))
    size = int(np.argmax(given["last"])) + 1
    frames = [beats[i : i + size] for i in range(0, len(beats), size)]
    results = given["results"].tolist()
    borders = bool(int(given["borders"]))
    await start(dut, s_axis_tvalid=0, s_axis_tdata=0, s_axis_tkeep=0, s_axis_tlast=0, start_i=0)
    put(dut, m_axis_tready=0, abort_i=0, clear_error_i=0, host_read_i=0, host_we_i=0)
    put(dut, host_word_i=0, host_beat_i=0, host_data_i=0, start_i=1)
    source = _Source(dut, rng)
    packets: list[tuple[list[int], int]] = []  # values, mark
    values: list[int] = []

    async def cycle(**inputs: int) -> None:
        await source.cycle(**inputs)
        if get(dut, "m_axis_tvalid") and get(dut, "m_axis_tready"):
            value = get(dut, "m_axis_tdata")
            values.append(value - (1 << 32) if value >> 31 else value)
            if get(dut, "m_axis_tlast"):
                packets.append((values.copy(), get(dut, "m_axis_tuser") >> 16))
                values.clear()

    async def settled(limit: int = LIMIT) -> bool:
        for _ in range(limit):
            await cycle()
            if not get(dut, "aborting_o"):
                return True
        return False

    given_up = whole = 0
    for number in range(int(os.environ["BEATS_COUNT"])):
        index = number % len(frames)
        source.send(frames[index])
        if rng.random() < 0.3:  # behind another one: its first beat waits while that is computed
            source.queue[:0] = frames[number % 3]
            source.sent = -size
        after = rng.choice([1, rng.randint(1, size), size])
        for _ in range(LIMIT):
            if source.sent >= after:
                break
            await cycle()
        else:
            raise AssertionError("the source waits for ever")
        for _ in range(rng.choice([0, 1, 2, 3, 100, 600])):
            await cycle()
        stops = source.sent < size and (not borders or rng.random() < 0.5)
        source.stopped = stops
        if stops:
            put(dut, s_axis_tvalid=0)
        source.offered = source.offered and not stops
        await cycle(abort_i=1)
        await cycle(abort_i=0)
        if stops and (not borders or not await settled(100)):
            await cycle(abort_i=1)
            await cycle(abort_i=0)
            source.queue.clear()
            given_up += 1
        source.stopped = False
        assert await settled()
        for _ in range(LIMIT):  # the rest of a frame of which the core had taken nothing
            if not source.queue:
                break
            await cycle()
        else:
            raise AssertionError("the source waits for ever")
        packets.clear()
        other = (number + 1) % len(frames)
        source.send(frames[other])
        for _ in range(LIMIT):
            await cycle()
            if packets and not source.queue and packets[-1] == (results[other], 0):
                break
        else:
            raise AssertionError(f"frame {number + 1} is not answered")
        whole += len(packets) == 2
        assert packets[:-1] in ([], [(results[index], 0)])
    # With a frame FIFO nearly every frame has begun by then.
    fifo = int(given["fifo"]) > 0
    assert given_up > 3 and (whole or fifo or not borders), (given_up, whole)
