# SPDX-License-Identifier: Apache-2.0
"""cocotb benches of what lies between bus and core: the units, then bramcast_axi as a whole.

tests/cosim/test_axi.py builds the modules and starts the benches. The whole core is driven as
software drives it: by bramcast.pack.axi.driver, whose reads and writes become AXI4-Lite
transactions.

    AXI_BUNDLES  bundles, separated by colons; the core is initialised with the first one
    AXI_FRAMES   .npz: frames_0 [n, beats], results_0 [n, beats], cycles_0, and so on
    AXI_EXAMPLE  the Python example of docs/axi.md
    AXI_COUNT    how many frames of random lengths a stream has
"""

import itertools
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.task import Task, bridge, resume
from cocotb.triggers import Combine, RisingEdge, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamSink,
    AxiStreamSource,
)

from bramcast.golden.frames import whole_frames
from bramcast.pack.axi.driver import Bus, Driver
from bramcast.pack.axi.registers import REGISTERS, beats, mask, offset, stride, window_offset
from bramcast.pack.bundle.images import load_images
from bramcast.pack.bundle.manifest import IMAGES, read_manifest
from bramcast.pack.bundle.words import Words, from_axi
from bramcast.sim.benches.streams import ElementBus, pauses
from bramcast.sim.benches.unit_benches import get, play, put, seeded_random, start

CLOCK_NS = 10
LIMIT_MS = 50  # 5 million cycles
T = TypeVar("T")
OKAY, SLVERR, DECERR = AxiResp.OKAY, AxiResp.SLVERR, AxiResp.DECERR

# ---------------------------------------------------------------- units


@cocotb.test()
async def crc_is_that_of_zlib(dut):
    """Random bytes with gaps, several sums."""
    rng = seeded_random()
    await start(dut, start_i=0, valid_i=0)
    for _ in range(20):
        data = rng.randbytes(rng.choice([0, 1, 4, 100]))
        cycles = [{"start_i": 1, "valid_i": 0}]
        for byte in data:
            gap = [{"start_i": 0, "valid_i": 0}] * rng.choice([0, 0, 1, 3])
            cycles += [*gap, {"start_i": 0, "valid_i": 1, "byte_i": byte}]
        seen = await play(dut, [*cycles, {"start_i": 0, "valid_i": 0}], ["crc_o"])
        assert seen[-1]["crc_o"] == zlib.crc32(data)


@cocotb.test()
async def image_is_written_in_beats_and_read_from_both_sides(dut):
    """Random words by beats; the host reads them by beats, the core as whole words."""
    rng = seeded_random()
    bits, depth = int(dut.WORD_BITS.value), int(dut.DEPTH.value)
    parts = beats(bits)
    await start(dut, raddr_i=0, host_read_i=0, host_we_i=0, host_word_i=0, host_beat_i=0)
    array = [0] * depth
    for _ in range(300):
        word = rng.randrange(depth)
        choice = rng.random()
        if choice < 0.5:
            value = rng.getrandbits(bits)
            for beat in range(parts):
                at = {"host_word_i": word, "host_beat_i": beat}
                data = (value >> (32 * beat)) & 0xFFFFFFFF
                await play(dut, [{"host_we_i": 1, "host_data_i": data, **at}], [])
                pause = rng.choice([1, 1, 4])  # address and data stay for a cycle
                await play(dut, [{"host_we_i": 0}] * pause, [])
            array[word] = value
        elif choice < 0.75:
            beat = rng.randrange(parts)
            at = {"host_read_i": 1, "host_word_i": word, "host_beat_i": beat}
            at["raddr_i"] = rng.randrange(depth)
            seen = await play(dut, [at] * 4, ["host_data_o"])
            assert seen[3]["host_data_o"] == (array[word] >> (32 * beat)) & 0xFFFFFFFF
            put(dut, host_read_i=0)
        else:
            seen = await play(dut, [{"raddr_i": word}] * 3, ["word_o", "host_data_o"])
            assert seen[2] == {"word_o": array[word], "host_data_o": 0}


@cocotb.test()
async def lite_answers_every_request_once(dut):
    """Random gaps on all five channels and in the answers; order, data, stability."""
    rng = seeded_random()
    await start(
        dut,
        s_axil_awvalid=0,
        s_axil_wvalid=0,
        s_axil_arvalid=0,
        s_axil_bready=0,
        s_axil_rready=0,
        s_axil_awprot=0,
        s_axil_arprot=0,
        done_i=0,
    )
    bits = int(dut.ADDRESS_BITS.value)
    total = 300
    strobes = [rng.choice([15, 15, 7, 0]) for _ in range(total)]
    writes = [(rng.getrandbits(bits), rng.getrandbits(32), int(s == 15)) for s in strobes]
    reads = [rng.getrandbits(bits) for _ in range(total)]
    sent = dict.fromkeys(("aw", "w", "ar"), 0)
    offered = dict.fromkeys(sent, False)
    handled = {"read": 0, "write": 0}
    due: dict[str, list[tuple[int, ...]]] = {"b": [], "r": []}
    answers: dict[str, list[tuple[int, ...]]] = {"b": [], "r": []}
    held: dict[str, tuple[int, ...]] = {}
    request: tuple[int, ...] | None = None
    delay = 0
    for now in range(60_000):
        if now % 200 == 0:
            chance = {n: rng.choice([0.1, 0.5, 1.0]) for n in (*sent, "b", "r", "done")}
        for name in sent:
            if not offered[name] and sent[name] < total:
                offered[name] = rng.random() < chance[name]
        inputs = {f"s_axil_{name}valid": int(offered[name]) for name in offered}
        if offered["aw"]:
            inputs["s_axil_awaddr"] = writes[sent["aw"]][0]
        if offered["w"]:
            inputs["s_axil_wdata"] = writes[sent["w"]][1]
            inputs["s_axil_wstrb"] = strobes[sent["w"]]
        if offered["ar"]:
            inputs["s_axil_araddr"] = reads[sent["ar"]]
        for name in due:
            inputs[f"s_axil_{name}ready"] = int(rng.random() < chance[name])
        done = request is not None and delay == 0
        inputs["done_i"] = int(done)
        if done:
            inputs["rdata_i"], inputs["resp_i"] = rng.getrandbits(32), rng.choice([0, 2, 3])
        put(dut, **inputs)
        await RisingEdge(dut.clk)

        for name in sent:
            if offered[name] and get(dut, f"s_axil_{name}ready"):
                offered[name] = False
                sent[name] += 1
        for name, ports in (("b", ("bresp",)), ("r", ("rdata", "rresp"))):
            valid = get(dut, f"s_axil_{name}valid")
            answer = tuple(get(dut, f"s_axil_{port}") for port in ports)
            if name in held:
                assert valid and answer == held.pop(name), "an answer that waits must not change"
            if valid and inputs[f"s_axil_{name}ready"]:
                answers[name].append(answer)
            elif valid:
                held[name] = answer

        if not get(dut, "valid_o"):
            assert request is None, "a request stays until it is answered"
            continue
        kind = "write" if get(dut, "write_o") else "read"
        if kind == "write":
            shown = tuple(get(dut, n) for n in ("address_o", "wdata_o", "whole_o"))
            assert shown == writes[handled[kind]]
        else:
            shown = (get(dut, "address_o"),)
            assert shown == (reads[handled[kind]],)
        if request is None:
            request, delay = shown, 0 if rng.random() < chance["done"] else rng.randint(1, 9)
        elif not done:
            assert shown == request, "a request that waits must not change"
            delay -= 1
        else:
            request = None
            handled[kind] += 1
            if kind == "write":
                due["b"].append((inputs["resp_i"],))
            else:
                due["r"].append((inputs["rdata_i"], inputs["resp_i"]))
        if len(answers["b"]) == len(answers["r"]) == total:
            break
    assert handled == {"read": total, "write": total}
    assert answers == due


QUIET = {
    **dict.fromkeys(("s_axil_awvalid", "s_axil_wvalid", "s_axil_arvalid"), 0),
    **dict.fromkeys(("s_axil_awaddr", "s_axil_wdata", "s_axil_wstrb", "s_axil_araddr"), 0),
    **dict.fromkeys(("s_axil_awprot", "s_axil_arprot"), 0),
    **dict.fromkeys(("s_axil_bready", "s_axil_rready"), 1),
    **dict.fromkeys(("done_i", "rdata_i", "resp_i"), 0),
}


@cocotb.test()
async def lite_reads_and_writes_take_turns(dut):
    """Neither kind waits for more than one request of the other, however steadily that comes."""
    rng = seeded_random()
    await start(dut, **QUIET)
    kinds: list[str] = []  # of the requests that have been answered
    waits = False  # a request, since the cycle before at least

    async def cycle(offer: str, answer: float) -> None:
        """Offer writes (W), reads (R) or both; a request is answered by chance."""
        nonlocal waits
        write, read = int("W" in offer), int("R" in offer)
        done = waits and rng.random() < answer
        put(dut, s_axil_awvalid=write, s_axil_wvalid=write, s_axil_arvalid=read, done_i=int(done))
        await RisingEdge(dut.clk)
        if done:
            kinds.append("W" if get(dut, "write_o") else "R")
        waits = bool(get(dut, "valid_o")) and not done

    await cycle("", 1.0)
    for answer in (1.0, 0.2):
        kinds.clear()
        for _ in range(400):
            await cycle("WR", answer)
        assert len(kinds) > 30
        assert all(a != b for a, b in itertools.pairwise(kinds)), "".join(kinds)
        for _ in range(60):
            await cycle("", 1.0)
    # Both come in the same cycle, behind one of them alone.
    for before, first in (("W", "R"), ("R", "W")):
        for answer in (1.0, 0.2):
            for offer in (before, "WR"):
                kinds.clear()
                await cycle(offer, answer)
                for _ in range(60):
                    await cycle("", answer)
            assert kinds == [first, before], f"behind {before} alone came {kinds}"


# What the registers' module sees of a core that is idle, and of a bus without a request.
IDLE_CORE = {
    **dict.fromkeys(("taken_i", "dropped_i", "busy_i", "done_i", "ready_i"), 0),
    **dict.fromkeys(("program_error_i", "frame_error_i", "cycles_i", "class_i"), 0),
    **dict.fromkeys(("aborting_i", "running_i", "broken_i", "timeout_i", "sink_i"), 0),
    **dict.fromkeys(("stopped_i", "nests_i"), 0),
    **dict.fromkeys(("limit_i", "sink_limit_i", "waited_i"), 0),
    **dict.fromkeys(("stall_in_i", "stall_out_i", "occupancy_i"), 0),
    **dict.fromkeys(("valid_i", "write_i", "address_i", "wdata_i", "host_data_i"), 0),
    "whole_i": 1,
}


@cocotb.test()
async def a_frame_that_ends_while_done_is_cleared_is_not_lost(dut):
    """A frame ends in each cycle around the write that clears STATUS.DONE.

    irq_o shows when the bit changes. A frame that ends before the write is cleared with the one
    before it; one that ends in the cycle of the write, or later, leaves the bit set.
    """
    await start(dut, **IDLE_CORE)
    await play(dut, [{}] * 4, [])

    async def request(write: bool, register: str, data: int = 0, ends: int | None = None) -> int:
        """A request; a frame ends ``ends`` cycles behind its first one. Returns what is read."""
        put(dut, valid_i=1, write_i=int(write), address_i=offset(register), wdata_i=data)
        for now in range(12):
            put(dut, done_i=int(now == ends))
            await RisingEdge(dut.clk)
            if now < 10 and get(dut, "done_o"):
                assert get(dut, "resp_o") == 0
                answer = get(dut, "rdata_o")
                put(dut, valid_i=0)
            trace.append(int(get(dut, "irq_o")))
        put(dut, done_i=0)
        return int(answer)

    done = mask("STATUS", "DONE")
    frames = 0
    trace: list[int] = []
    await request(True, "INTERRUPT", mask("INTERRUPT", "DONE"))

    async def around(ends: int | None) -> bool:
        """DONE is set, then cleared while another frame ends; whether it is set behind that."""
        nonlocal frames
        await request(False, "FRAMES", ends=2)
        assert await request(False, "STATUS") & done
        trace.clear()
        await request(True, "STATUS", done, ends)
        frames += 1 + (ends is not None)
        assert await request(False, "FRAMES") == frames
        return bool(await request(False, "STATUS") & done)

    assert not await around(None)
    cleared = trace.index(0) - 2  # done_q falls behind the write, irq_o a cycle later
    assert 0 < cleared < 6
    for ends in range(8):
        assert await around(ends) == (ends >= cleared), f"{ends} cycles, the write comes {cleared}"


@cocotb.test()
async def a_snapshot_is_of_one_frame(dut):
    """Frames end in each cycle around a read of FRAMES, and behind it: all is of one frame."""
    rng = seeded_random()
    await start(dut, **IDLE_CORE)
    await play(dut, [{}] * 4, [])
    told = [(0, 0)]  # cycles and class of each frame
    snaps: list[int] = []  # the frame whose WAITED is taken, see bramcast_watch

    async def read(register: str, *ends: int) -> int:
        """A read; frames end in some of its cycles, cycles_i and class_i are new with done_i."""
        put(dut, valid_i=1, address_i=offset(register))
        answer = None
        known = len(told) - 1
        for now in range(14):
            if now in ends:
                told.append((rng.getrandbits(32), rng.getrandbits(16)))
                put(dut, cycles_i=told[-1][0], class_i=told[-1][1])
            put(dut, done_i=int(now in ends))
            await RisingEdge(dut.clk)
            if answer is None and get(dut, "snap_o"):
                snaps[:] = [known]
            known = len(told) - 1  # in bramcast_watch from the cycle behind done_i on
            if answer is None and get(dut, "done_o"):
                answer = get(dut, "rdata_o")
                put(dut, valid_i=0)
        put(dut, done_i=0)
        assert answer is not None
        return int(answer)

    for ends in [(n,) for n in range(10)] + [(n, n + 3) for n in range(8)]:
        frames = await read("FRAMES", *ends)
        assert snaps == [frames], f"{ends}: WAITED is of {snaps}, FRAMES {frames}"
        for between in ((), (2,), (1, 4)):
            seen = (await read("CYCLES", *between), await read("CLASS", *between))
            assert seen == told[frames], f"{ends}: {seen} of frame {told.index(seen)}, not {frames}"
    assert await read("FRAMES") == len(told) - 1


QUIET_CORE = {
    **dict.fromkeys(("put_limit_i", "put_sink_limit_i", "data_i", "snap_i", "clear_i"), 0),
    **dict.fromkeys(("running_i", "busy_i", "done_i", "s_axis_tvalid", "s_axis_tready"), 0),
    **dict.fromkeys(("m_axis_tvalid", "m_axis_tready", "stopped_i"), 0),
}


@cocotb.test()
async def watch_counts_cycles_and_ends_runs(dut):
    """Random runs under random limits: one pulse where a count meets its limit, three cycles late.

    What is expected is counted here, cycle by cycle: a run that goes on three cycles behind the one
    in which its count got to the limit gets a pulse in the third.
    """
    rng = seeded_random()
    await start(dut, **QUIET_CORE)
    assert get(dut, "limit_o") == int(dut.LIMIT.value)
    counters = bool(int(dut.COUNTERS.value))
    totals = {"stall_in_o": 0, "stall_out_o": 0, "occupancy_o": 0}
    pulses = {"timeout_o": 0, "sink_o": 0}
    completed = kept = 0  # cycles that waited: in the last completed run, and what is shown of it

    async def cycle(**inputs: int) -> tuple[int, int]:
        s_valid, s_ready = rng.getrandbits(1), rng.getrandbits(1)
        busy = rng.getrandbits(1)
        put(dut, s_axis_tvalid=s_valid, s_axis_tready=s_ready, busy_i=busy, **inputs)
        await RisingEdge(dut.clk)
        totals["stall_in_o"] += s_ready & (1 - s_valid)
        totals["stall_out_o"] += inputs.get("m_axis_tvalid", 0) & (
            1 - inputs.get("m_axis_tready", 0)
        )
        totals["occupancy_o"] += busy
        return get(dut, "timeout_o"), get(dut, "sink_o")

    still = {"m_axis_tvalid": 0, "m_axis_tready": 0}
    for number in range(150):
        limits = [rng.choice([0, 1, 5, 30, 200]), rng.choice([0, 1, 4, 20, 100])]
        for name, value in zip(("limit", "sink_limit"), limits, strict=True):
            await cycle(**{f"put_{name}_i": 1}, data_i=value, **still)
            await cycle(**{f"put_{name}_i": 0}, **still)
            assert get(dut, f"{name}_o") == value
        for _ in range(rng.choice([1, 3])):  # runs one cycle apart
            length = rng.randint(1, 80)
            slow, holds = rng.choice([0.0, 0.3, 0.9]), rng.choice([0.0, 0.3])
            counts: list[int] = [0, 0]
            due: list[int | None] = [None, None]
            met = False  # a limit, in this run
            for now in range(length):
                # the first cycle's beat would be that of the run before, the last one is accepted
                waits = int(0 < now < length - 1 and rng.random() < slow)
                snap = int(now > 1 and rng.random() < 0.1)
                stopped = int(rng.random() < holds)
                wire = {"m_axis_tvalid": 1, "m_axis_tready": 1 - waits, "stopped_i": stopped}
                seen = await cycle(running_i=1, done_i=0, snap_i=snap, **wire)
                wanted = [int(d == now and not met) for d in due]
                assert seen == tuple(wanted), f"run {number}, cycle {now}, limits {limits}: {seen}"
                assert get(dut, "waited_o") == kept
                if snap:
                    kept = completed
                met = met or any(wanted)
                for kind, name in enumerate(pulses):
                    pulses[name] += wanted[kind]
                if not now or (stopped and not waits):
                    continue
                counts[waits] += 1
                if limits[waits] and counts[waits] == limits[waits]:
                    due[waits] = now + 3
            whole = rng.random() < 0.8  # else an abort has ended it
            assert await cycle(running_i=0, done_i=int(whole), snap_i=0, **still) == (0, 0)
            if whole:
                completed = counts[1]
        await cycle(done_i=0, **still)
        for _ in range(rng.choice([0, 0, 5])):
            assert await cycle(**still) == (0, 0)
    assert all(pulses.values()), pulses
    await play(dut, [{"s_axis_tready": 0, "busy_i": 0, **still}] * 3, [])
    for name, total in totals.items():
        assert get(dut, name) == (total if counters else 0), name


# ---------------------------------------------------------------- the whole core


class Bench:
    """The core with a bus master and both streams, in and out of reset."""

    def __init__(self, dut) -> None:
        self.dut = dut
        self.rng = seeded_random()
        self.bits = len(dut.s_axis_tdata)

    async def begin(self, streams: bool = True) -> None:
        dut = self.dut
        put(dut, rst=1, s_axis_tvalid=0, s_axis_tdata=0, s_axis_tlast=0, m_axis_tready=0)
        put(dut, s_axil_awvalid=0, s_axil_wvalid=0, s_axil_arvalid=0)
        put(dut, s_axil_bready=0, s_axil_rready=0)
        Clock(dut.clk, CLOCK_NS, "ns", impl="gpi").start()
        await self.cycles(4)  # before that Icarus shows X on the handshakes
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        for part in (self.master.write_if, self.master.read_if):
            part.log.setLevel("ERROR")
        if streams:
            self.source = AxiStreamSource(
                ElementBus.from_prefix(dut, "s_axis"), dut.clk, dut.rst, byte_size=self.bits
            )
            self.sink = AxiStreamSink(
                AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, dut.rst, byte_size=32
            )
            for stream in (self.source, self.sink):
                stream.log.setLevel("ERROR")
        await self.cycles(4)
        put(dut, rst=0)
        await self.cycles(2)

    async def cycles(self, count: int) -> None:
        for _ in range(count):
            await RisingEdge(self.dut.clk)

    def randomize(self, chance: float) -> None:
        """Gaps and backpressure on all channels of the bus and on both streams."""
        write, read = self.master.write_if, self.master.read_if
        bus = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
        for channel in (*bus, self.source, self.sink):
            if chance:
                channel.set_pause_generator(pauses(self.rng, chance))
            else:
                channel.clear_pause_generator()
                channel.pause = False

    async def read(self, at: int) -> tuple[int, AxiResp]:
        answer = await self.master.read(at, 4)
        return int.from_bytes(answer.data, "little"), answer.resp

    async def write(self, at: int, value: int) -> AxiResp:
        return (await self.master.write(at, value.to_bytes(4, "little"))).resp

    async def register(self, name: str) -> int:
        value, resp = await self.read(offset(name))
        assert resp == OKAY
        return value

    async def control(self, *fields: str) -> None:
        value = sum(mask("CONTROL", f) for f in fields)
        assert await self.write(offset("CONTROL"), value) == OKAY

    async def until(self, register: str, field: str, high: bool, limit: int = 20_000) -> None:
        for _ in range(limit):
            if bool(await self.register(register) & mask(register, field)) == high:
                return
        raise AssertionError(f"{register}.{field} never becomes {high}")

    def bus(self) -> Bus:
        """What software sees: blocking reads and writes, to be called from another thread."""
        bench = self

        @resume
        async def read(at: int) -> int:
            value, resp = await bench.read(at)
            assert resp == OKAY, f"read of 0x{at:X}: {resp!r}"
            return value

        @resume
        async def write(at: int, value: int) -> None:
            resp = await bench.write(at, value)
            assert resp == OKAY, f"write of 0x{at:X}: {resp!r}"

        class Blocking:
            def read(self, at: int) -> int:
                return read(at)

            def write(self, at: int, value: int) -> None:
                write(at, value)

        return Blocking()

    async def software(self, job: Callable[[Driver], T]) -> T:
        """Run ``job(driver)``, ordinary blocking code, in a thread of its own."""
        return await bridge(lambda: job(Driver(self.bus())))()

    async def frame(self, elements: np.ndarray, limit: int) -> list[int]:
        """Send a frame, take its results."""
        self.source.send_nowait(self.stored(elements))
        return await self.results(limit)

    def stored(self, elements: np.ndarray) -> list[int]:
        """Elements as they lie on the stream: two's complement."""
        return [int(e) & ((1 << self.bits) - 1) for e in elements]

    async def results(self, limit: int) -> list[int]:
        """The results of the next frame that is answered, within ``limit`` cycles."""
        answer = await with_timeout(self.sink.recv(compact=False), limit * CLOCK_NS, "ns")
        self.tuser = int(answer.tuser[-1])
        return [v - (1 << 32) if v >> 31 else v for v in (int(n) for n in answer.tdata)]


class Network:
    """A bundle with frames, and what the core must answer."""

    def __init__(self, number: int) -> None:
        self.path = Path(os.environ["AXI_BUNDLES"].split(":")[number])
        data = np.load(os.environ["AXI_FRAMES"])
        self.frames = data[f"frames_{number}"]
        self.results = data[f"results_{number}"].tolist()
        self.cycles = int(data[f"cycles_{number}"])
        self.images = load_images(self.path, read_manifest(self.path))
        self.limit = 10 * (self.cycles + self.frames.shape[1]) + 10_000


async def check_frames(bench: Bench, network: Network, count: int, timed: bool) -> None:
    for number in range(count):
        await bench.software(lambda driver: driver.start())
        got = await bench.frame(network.frames[number], network.limit)
        assert got == network.results[number], f"frame {number}: {got}"

        def finish(driver: Driver) -> tuple[int, int, int, list[str]]:
            driver.wait()
            return driver.cycles, driver.top, driver.frames, driver.errors()

        cycles, top, frames, errors = await bench.software(finish)
        assert (frames, errors) == (number + 1, [])
        assert top == bench.tuser == int(np.argmax(network.results[number]))
        assert not timed or cycles == network.cycles


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def another_network_is_loaded_and_runs(dut):
    """A as initialised; B over the bus, B read back; A again with gaps everywhere."""
    bench = Bench(dut)
    first, second = Network(0), Network(1)
    await bench.begin()
    await check_frames(bench, first, 2, timed=True)
    await bench.software(lambda driver: driver.load(second.path))
    await check_frames(bench, second, 3, timed=True)

    def read_back(driver: Driver) -> dict[str, Words]:
        return {name: driver.read_image(name, len(w)) for name, w in second.images.items()}

    assert await bench.software(read_back) == second.images
    await check_frames_after_reading(bench, second)
    bench.randomize(0.3)
    await bench.software(lambda driver: driver.load(first.path))
    await check_frames(bench, first, 1, timed=False)


async def check_frames_after_reading(bench: Bench, network: Network) -> None:
    """Reading the program makes the core fetch it again; that must not disturb the next run."""
    await bench.software(lambda driver: driver.start())
    assert await bench.frame(network.frames[0], network.limit) == network.results[0]
    await bench.until("STATUS", "BUSY", False)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def software_learns_what_it_does_wrong(dut):
    """Every refusal: its answer, its bit in ERRORS, and that nothing changed."""
    bench = Bench(dut)
    network = Network(0)
    rng = bench.rng
    await bench.begin()
    core = read_manifest(network.path).core

    def make(driver: Driver) -> int:
        assert driver.core == core
        return driver._window_bits

    window = await bench.software(make)

    async def expect(*names: str) -> None:
        value = await bench.register("ERRORS")
        assert value == sum(mask("ERRORS", n) for n in names), (hex(value), names)
        for name in names:  # each bit on its own
            assert await bench.write(offset("ERRORS"), mask("ERRORS", name)) == OKAY
        assert await bench.register("ERRORS") == 0

    # registers: every one reads; read-only ones refuse writes; holes are refused
    here = [r for r in REGISTERS if not r.needs]
    known = {r.offset for r in here}
    for r in here:
        assert (await bench.read(r.offset))[1] == OKAY, r.name
        if r.access == "R":
            before = await bench.register(r.name)
            assert await bench.write(r.offset, 0xFFFFFFFF) == DECERR, r.name
            assert await bench.register(r.name) == before
    await expect("ADDRESS")
    for at in sorted(set(range(0, 0x100, 4)) - known) + [0x100, 0x140, (1 << window) - 4]:
        assert await bench.read(at) == (0, DECERR), hex(at)
        assert await bench.write(at, 0) == DECERR, hex(at)
    await expect("ADDRESS")

    # windows: the last word is there, nothing behind it; slots without a memory
    for index, name in enumerate(IMAGES):
        base, depth = window_offset(name, window), core.depth(name)
        parts, step = beats(core.word_bits(name)), stride(core.word_bits(name))
        if depth:
            assert (await bench.read(base + (depth - 1) * step + 4 * (parts - 1)))[1] == OKAY
            if 4 * parts < step:
                assert (await bench.read(base + step - 4))[1] == DECERR, "no such beat"
                await expect("ADDRESS")
        if depth * step < 1 << window:
            assert (await bench.read(base + depth * step))[1] == DECERR
            assert (await bench.write(base + depth * step, 0)) == DECERR
            await expect("ADDRESS")
        check = (index << 24) | (depth + 1)
        assert await bench.write(offset("CHECK"), check) == DECERR
        await expect("ADDRESS")
    for slot in (5, 6, 7):
        assert (await bench.read(slot << window))[1] == DECERR
    await expect("ADDRESS")

    # strobes and order of beats
    base = window_offset("weights", window)
    answer = await bench.master.write(base, b"\x55")
    assert answer.resp == SLVERR
    answer = await bench.master.write(offset("CONTROL") + 1, b"\x01")
    assert answer.resp == SLVERR
    await expect("STROBE")
    parts = beats(core.word_bits("weights"))
    if parts > 2:
        assert await bench.write(base, 1) == OKAY
        assert await bench.write(base + 8, 1) == SLVERR
        assert await bench.write(base + 4, 1) == OKAY  # goes on where it was
        assert await bench.write(base + stride(core.word_bits("weights")) + 8, 1) == SLVERR
        await expect("ORDER")
    assert await bench.write(offset("VALID"), 0xF) == OKAY  # beats have been written

    # locked: RUN or START is set, a frame is in work, CHECK is at work
    async def locked() -> None:
        assert await bench.register("STATUS") & mask("STATUS", "LOCKED")
        assert await bench.read(base) == (0, SLVERR)
        assert await bench.write(base, 0) == SLVERR
        assert await bench.write(offset("CHECK"), 1) == SLVERR
        await expect("LOCKED")

    for field in ("RUN", "START"):
        await bench.control(field)
        assert not await bench.register("STATUS") & mask("STATUS", "BUSY")
        await locked()
        await bench.control()
        assert not await bench.register("STATUS") & mask("STATUS", "LOCKED")
    assert await bench.write(offset("CHECK"), (1 << 24) | core.weights_depth) == OKAY
    await locked()
    await bench.control("RUN")
    assert dut.s_axis_tready.value == 0, "no frame while memories are read"
    await bench.until("STATUS", "CHECKING", False)
    await bench.control()
    await bench.until("STATUS", "LOCKED", False)
    put(dut, m_axis_tready=0)
    bench.sink.pause = True
    await bench.control("START")
    bench.source.send_nowait([int(e) & ((1 << bench.bits) - 1) for e in network.frames[0]])
    await bench.until("STATUS", "BUSY", True)
    await bench.until("CONTROL", "START", False)
    await locked()
    bench.sink.pause = False
    got = await with_timeout(bench.sink.recv(), network.limit * CLOCK_NS, "ns")
    signed = [v - (1 << 32) if v >> 31 else v for v in (int(n) for n in got.tdata)]
    assert signed == network.results[0], "none of the refused accesses has changed anything"
    await bench.until("STATUS", "DONE", True)

    # DONE and the interrupt
    assert int(dut.irq_o.value) == 0
    assert await bench.write(offset("INTERRUPT"), 1) == OKAY
    await bench.cycles(2)
    assert int(dut.irq_o.value) == 1
    assert await bench.write(offset("STATUS"), mask("STATUS", "DONE")) == OKAY
    await bench.cycles(2)
    assert int(dut.irq_o.value) == 0
    assert not await bench.register("STATUS") & mask("STATUS", "DONE")

    # frames with TLAST in the wrong place
    await bench.control("START")
    elements = [int(e) & ((1 << bench.bits) - 1) for e in network.frames[0]]
    cut = rng.randrange(1, len(elements))
    for wrong, error in ((elements[:cut], "SHORT_FRAME"), (elements * 2, "LONG_FRAME")):
        bench.source.send_nowait(wrong)
        for _ in range(1000):
            if await bench.register("ERRORS"):
                break
        await expect(error)
    bench.source.send_nowait(elements)
    got = await with_timeout(bench.sink.recv(), network.limit * CLOCK_NS, "ns")
    await bench.until("STATUS", "BUSY", False)

    # a program that is none: not valid, and where software says that it is, in error
    program = window_offset("program", window)
    assert await bench.write(program, 0) == OKAY
    await bench.cycles(10)
    assert await bench.register("STATUS") & mask("STATUS", "PROGRAM_ERROR")
    for field in ("RUN", "START"):
        assert await bench.write(offset("CONTROL"), mask("CONTROL", field)) == SLVERR
        assert await bench.register("CONTROL") == 0
        await expect("INVALID")
    assert await bench.write(offset("VALID"), 0xF) == OKAY
    await bench.write(offset("PENDING"), 0xF)
    for field in ("RUN", "START"):
        await bench.control(field)
        await bench.cycles(100)
        assert int(dut.s_axis_tready.value) == 0, "a core without a program takes no frame"
        assert await bench.register("CONTROL") == 0, "... and waits for none"
        assert await bench.register("PENDING") == mask("PENDING", "PROGRAM")
        assert await bench.write(offset("PENDING"), mask("PENDING", "PROGRAM")) == OKAY
        await expect("PROGRAM")
    word = network.images["program"].integer(0)
    assert await bench.write(program, word) == OKAY
    assert await bench.register("VALID") == 0xE
    assert await bench.write(offset("VALID"), 0xF) == OKAY
    await bench.until("STATUS", "READY", True)
    assert not await bench.register("STATUS") & mask("STATUS", "PROGRAM_ERROR")
    await check_frames_after_reading(bench, network)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def frames_keep_their_borders(dut):
    """Lost beats, lost TLASTs, frames of any length: every whole frame is answered, no other.

    Golden's ``whole_frames`` says which frames are whole; the sink gets their results in order.
    """
    bench = Bench(dut)
    network = Network(0)
    rng = bench.rng
    await bench.begin()
    size = network.frames.shape[1]
    good = [bench.stored(frame) for frame in network.frames]

    async def answer(number: int) -> None:
        got = await bench.results(network.limit)
        assert got == network.results[number], f"{got} is not that of sample {number}"

    count = int(os.environ["AXI_COUNT"])
    lost_beat = [size - 1, size, size]
    lost_tlast = [2 * size, size]
    others = [1, size + 1, size, 1, 1, size, 3 * size - 1, 1, size]
    for gaps in (0.0, 0.4):
        bench.randomize(gaps)
        choices = [size, size, size, 1, size - 1, size + 1, 2 * size]
        lengths = [*lost_beat, *lost_tlast, *others]
        lengths += [rng.choice([*choices, rng.randint(1, 3 * size)]) for _ in range(count)]
        lengths += [size]
        samples = [rng.randrange(len(good)) for _ in lengths]
        await bench.control("RESET")
        await bench.control("RUN")
        last = np.zeros(sum(lengths), bool)
        sample_at: dict[int, int] = {}  # a frame's, by its first element
        place = 0
        for length, sample in zip(lengths, samples, strict=True):
            bench.source.send_nowait((good[sample] * 3)[:length])
            sample_at[place] = sample
            place += length
            last[place - 1] = True
        starts, short, long = whole_frames(last, size)
        for first in starts.tolist():
            await answer(sample_at[first])
        await bench.until("STATUS", "BUSY", False)
        assert await bench.register("FRAMES") == len(starts)
        assert await bench.register("DROPPED") == short + long
        errors = mask("ERRORS", "SHORT_FRAME"), mask("ERRORS", "LONG_FRAME")
        assert await bench.register("ERRORS") == sum(errors)
        for number, bit in enumerate(errors):
            assert await bench.write(offset("ERRORS"), bit) == OKAY
            assert await bench.register("ERRORS") == sum(errors[number + 1 :])
        assert bench.sink.empty()
    bench.randomize(0.0)

    # A reset in the middle of a frame: its rest is discarded.
    bench.source.send_nowait(good[0])
    await bench.cycles(size // 3)
    await bench.control("RESET")
    await bench.control("RUN")
    bench.source.send_nowait(good[1])
    await answer(1)
    assert await bench.register("DROPPED") == 0
    assert await bench.register("ERRORS") == 0
    assert bench.sink.empty()


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def without_borders_frames_are_counted(dut):
    """TLAST_ENDS = 0: TLAST in any place, and every frame is answered, without an error."""
    bench = Bench(dut)
    network = Network(0)
    rng = bench.rng
    await bench.begin()
    assert await bench.register("SHAPE") & mask("SHAPE", "TLAST_ENDS") == 0
    size = network.frames.shape[1]
    samples = [rng.randrange(len(network.frames)) for _ in range(12)]
    stream = np.concatenate([network.frames[sample] for sample in samples])
    elements = bench.stored(stream)
    await bench.control("RUN")
    place = 0
    while place < len(elements):
        length = rng.choice([1, size - 1, size, size + 1, rng.randint(1, 3 * size)])
        bench.source.send_nowait(elements[place : place + length])
        place += length
    for sample in samples:
        assert await bench.results(network.limit) == network.results[sample]
    await bench.until("STATUS", "BUSY", False)
    for register, value in (("FRAMES", len(samples)), ("DROPPED", 0), ("ERRORS", 0)):
        assert await bench.register(register) == value
    await bench.control()
    await bench.control("START")
    bench.source.send_nowait(elements[:size])
    assert await bench.results(network.limit) == network.results[samples[0]]
    assert await bench.register("CONTROL") == 0, "START falls with a counted frame"


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def start_waits_for_a_whole_frame(dut):
    """START stays set while frames are dropped; taken back behind one, it takes nothing."""
    bench = Bench(dut)
    network = Network(0)
    await bench.begin()
    good = bench.stored(network.frames[0])

    async def dropped(count: int) -> None:
        """Wait until so many frames have been dropped."""
        for _ in range(1000):
            if await bench.register("DROPPED") == count:
                return
        raise AssertionError(f"DROPPED never becomes {count}")

    async def pending(busy: bool = False) -> None:
        status = await bench.register("STATUS") & ~mask("STATUS", "READY")
        wanted = mask("STATUS", "LOCKED") | (mask("STATUS", "BUSY") if busy else 0)
        assert (await bench.register("CONTROL"), status) == (mask("CONTROL", "START"), wanted)

    for number in range(3):
        await bench.control("RESET")
        await bench.control("START")
        bench.source.send_nowait(good[:-1])
        await dropped(1)
        await pending()
        bench.source.send_nowait([*good, *good])
        await dropped(2)
        await pending()
        if number == 1:  # taken back: the images are software's
            await bench.control()
            await bench.until("STATUS", "LOCKED", False)
            assert await bench.register("ERRORS") == mask("ERRORS", "SHORT_FRAME") | mask(
                "ERRORS", "LONG_FRAME"
            )
            await bench.control("START")
        if number == 2:  # taken back in the middle of a frame that will be dropped
            bench.source.send_nowait(good * 3)
            await bench.until("STATUS", "BUSY", True)
            await bench.control()
            await dropped(3)
            await bench.until("STATUS", "LOCKED", False)
            bench.source.send_nowait(good)
            await bench.cycles(200)
            assert not bench.source.idle(), "nothing is taken without START"
            await bench.control("START")
        else:
            bench.source.send_nowait(good)
        bench.source.send_nowait(good)
        assert await bench.results(network.limit) == network.results[0]
        await bench.until("STATUS", "BUSY", False)
        assert await bench.register("CONTROL") == 0, "START falls with the whole frame"
        assert await bench.register("FRAMES") == 1
        assert await bench.register("CYCLES") == network.cycles
        await bench.cycles(200)
        assert int(dut.s_axis_tready.value) == 0 and not bench.source.idle(), "one frame alone"
        await bench.control("START")
        assert await bench.results(network.limit) == network.results[0]
        await bench.until("STATUS", "BUSY", False)
        assert bench.source.idle()


async def send(bench: Bench, elements: list[int]) -> None:
    """A frame, without the queue of AxiStreamSource: the task may be cancelled."""
    dut = bench.dut
    for i, element in enumerate(elements):
        put(dut, s_axis_tvalid=1, s_axis_tdata=element, s_axis_tlast=int(i == len(elements) - 1))
        await RisingEdge(dut.clk)
        while not get(dut, "s_axis_tready"):
            await RisingEdge(dut.clk)
    put(dut, s_axis_tvalid=0)


async def receive(bench: Bench, count: int, pause: float) -> list[int]:
    dut = bench.dut
    got: list[int] = []
    last = 0
    while len(got) < count:
        ready = int(bench.rng.random() >= pause)
        put(dut, m_axis_tready=ready)
        await RisingEdge(dut.clk)
        if ready and get(dut, "m_axis_tvalid"):
            got.append(get(dut, "m_axis_tdata"))
            last = get(dut, "m_axis_tlast")
            assert last == int(len(got) == count)
    put(dut, m_axis_tready=0)
    return [v - (1 << 32) if v >> 31 else v for v in got]


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def a_reset_in_the_middle_of_anything_leaves_a_working_core(dut):
    """Hardware resets at random times, with bus and streams at work; then a clean run.

    RESET stops a CHECK, and leaves a word of which not all beats have come.
    """
    bench = Bench(dut)
    network = Network(0)
    rng = bench.rng
    await bench.begin(streams=False)
    frames = [[int(e) & ((1 << bench.bits) - 1) for e in f] for f in network.frames]
    count = len(network.results[0])
    core = read_manifest(network.path).core
    window = await bench.software(lambda driver: driver._window_bits)
    weights = window_offset("weights", window)
    spare = weights + (core.weights_depth - 1) * stride(core.word_bits("weights"))
    ends = {
        "intake": len(frames[0]),
        "nest": len(frames[0]) + network.cycles,
        "streaming": len(frames[0]) + network.cycles + count,
    }
    edges = [0, *ends.values()]

    async def fiddle() -> None:
        """A bus that never rests: reads, and beats that are refused while the core is busy."""
        while True:
            await bench.read(offset(rng.choice(["STATUS", "CYCLES", "ERRORS"])))
            await bench.read(spare)
            await bench.cycles(rng.randint(1, 20))

    phases = [("hard", phase) for phase in (*ends, "bus write", "check") + ("nest",) * 12]
    for number, (kind, phase) in enumerate([("soft", "bus write"), ("soft", "check"), *phases]):
        working: list[Task[object]] = []
        if phase in ends:
            index = list(ends).index(phase)
            delay = rng.randint(edges[index], edges[index + 1])
            await bench.control("RUN")
            working += [
                cocotb.start_soon(send(bench, frames[number % len(frames)])),
                cocotb.start_soon(receive(bench, count, 0.5)),
            ]
            working.append(cocotb.start_soon(fiddle()))
            await bench.cycles(delay)
        elif phase == "bus write":
            # a word that is half written must not be finished by later writes
            await bench.write(spare, rng.getrandbits(32))
            if kind == "hard":
                working.append(cocotb.start_soon(bench.write(spare + 4, rng.getrandbits(32))))
                await bench.cycles(rng.randint(1, 8))
        else:
            await bench.write(offset("CHECK"), (1 << 24) | core.weights_depth)
            await bench.cycles(rng.randint(1, 4 * core.weights_depth))
        dut._log.info("reset number %d: %s during %s", number, kind, phase)
        if kind == "hard":
            put(dut, rst=1)
            for task in working:
                task.cancel()
            put(dut, s_axis_tvalid=0, m_axis_tready=0)
            await bench.cycles(rng.randint(1, 3))
            put(dut, rst=0)
            await bench.cycles(2)
        else:
            await bench.control("RESET")
            await bench.cycles(2)
        assert await bench.register("STATUS") & ~mask("STATUS", "READY") == 0
        assert await bench.register("FRAMES") == 0
        if phase == "bus write":
            assert await bench.write(spare + 4, 0) == (SLVERR if kind == "hard" else OKAY)
            await bench.write(offset("ERRORS"), 0x3FF)
            at = spare
            for beat in range(beats(core.word_bits("weights"))):
                word = network.images["weights"].integer(core.weights_depth - 1)
                value = (word >> (32 * beat)) & 0xFFFFFFFF
                assert await bench.write(at, value) == OKAY
                at += 4
            assert await bench.register("VALID") == 0xD
            assert await bench.write(offset("VALID"), 0xF) == OKAY
        # a clean run
        await bench.control("START")
        sender = cocotb.start_soon(send(bench, frames[0]))
        taker = cocotb.start_soon(receive(bench, count, 0.0))
        await with_timeout(Combine(sender, taker), network.limit * CLOCK_NS, "ns")
        assert taker.result() == network.results[0], f"after a {kind} reset during {phase}"
        await bench.until("STATUS", "DONE", True)
        assert await bench.register("FRAMES") == 1
        assert await bench.register("CYCLES") == network.cycles
        assert await bench.register("ERRORS") == 0
        await bench.write(offset("STATUS"), mask("STATUS", "DONE"))


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def an_unloaded_core_waits_for_a_program(dut):
    """Memories of zeros: nothing starts; every memory holds random words; then a network runs."""
    bench = Bench(dut)
    network = Network(0)
    rng = bench.rng
    await bench.begin()
    await bench.cycles(100)
    status = await bench.register("STATUS")
    assert status == mask("STATUS", "PROGRAM_ERROR"), hex(status)
    tables = read_manifest(network.path).core.table_depth > 0
    assert await bench.register("VALID") == (0 if tables else mask("VALID", "TABLE"))
    assert await bench.write(offset("CONTROL"), mask("CONTROL", "RUN")) == SLVERR
    assert await bench.register("ERRORS") == mask("ERRORS", "INVALID")
    await bench.cycles(200)
    assert int(dut.s_axis_tready.value) == 0
    bench.randomize(0.5)

    def fill(driver: Driver) -> None:
        for name in IMAGES:
            depth, bits = driver.core.depth(name), driver.core.word_bits(name)
            if not depth:
                continue
            parts = beats(bits)
            values = [
                [rng.getrandbits(min(32, bits - 32 * b)) for b in range(parts)]
                for _ in range(min(depth, 40))
            ]
            words = from_axi(np.array(values, np.uint32), bits)
            driver.write_image(name, words)
            assert driver.read_image(name, len(words)) == words
            raw = np.array(values, "<u4").tobytes()
            for count in (0, 1, len(words)):
                got = driver.checksum(name, count)
                assert got == zlib.crc32(raw[: 4 * parts * count]), (name, count)
        driver.load(network.path)

    await bench.software(fill)
    bench.randomize(0.0)
    await check_frames(bench, network, 1, timed=True)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def the_example_of_the_docs_runs(dut):
    """Word for word, with ``bus``, ``bundle`` and ``send_frame``; what it prints is true."""
    bench = Bench(dut)
    network = Network(0)
    await bench.begin()
    printed: list[object] = []
    elements = [int(e) & ((1 << bench.bits) - 1) for e in network.frames[0]]
    names = {
        "bus": bench.bus(),
        "bundle": network.path,
        "send_frame": lambda: bench.source.send_nowait(elements),
        "print": lambda *values: printed.extend(values),
    }
    await bridge(lambda: exec(os.environ["AXI_EXAMPLE"], names))()
    assert printed == [int(np.argmax(network.results[0])), network.cycles, []]
