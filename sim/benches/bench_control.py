# SPDX-License-Identifier: Apache-2.0
"""cocotb benches of how software rules bramcast_axi: aborts, limits, interrupts, images, locks.

tests/cosim/test_control.py builds the core and starts the benches, with the environment of
bramcast.sim.benches.bench_axi, whose core and bundles these are. AXI_COUNT is how often what is
random is tried.
"""

import itertools
import os
import zlib
from collections.abc import Callable

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, with_timeout

from bramcast.pack.axi.driver import Driver, LastFrame
from bramcast.pack.axi.registers import beats, mask, offset, stride, window_offset
from bramcast.pack.bundle.errors import DeviceError
from bramcast.pack.bundle.manifest import IMAGES, read_manifest
from bramcast.pack.bundle.program import OPCODE
from bramcast.pack.bundle.words import Words
from bramcast.sim.benches.bench_axi import (
    CLOCK_NS,
    DECERR,
    LIMIT_MS,
    OKAY,
    SLVERR,
    Bench,
    Network,
    send,
)
from bramcast.sim.benches.unit_benches import get, put


class Taker:
    """A sink that may be slow or asleep: the packets that came, and whether beats stood still.

    Attributes:
        chance: of TREADY in a cycle.
        packets: results, TUSER of the last beat, cycles in which the packet's beats waited.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.chance = 1.0
        self.packets: list[tuple[list[int], int, int]] = []

    async def run(self) -> None:
        dut = self.bench.dut
        held: tuple[int, ...] | None = None
        taken: list[int] = []
        waits = 0
        while True:
            ready = int(self.bench.rng.random() < self.chance)
            put(dut, m_axis_tready=ready)
            await RisingEdge(dut.clk)
            valid = get(dut, "m_axis_tvalid")
            assert valid is not None, "TVALID is X"
            if not valid:
                assert held is None, "a beat that waited has gone"
                continue
            value, last, user = (get(dut, f"m_axis_{n}") for n in ("tdata", "tlast", "tuser"))
            assert last is not None, "TLAST is X"
            if value is None:  # a wrong program has read words that nothing has written
                value = UNKNOWN
            beat = (value, last, user if last else 0)
            assert held in (None, beat), f"a beat that waited was {held}, is {beat}"
            held = None if ready else beat
            waits += 1 - ready
            if ready:
                taken.append(value - (1 << 32) if value >> 31 else value)
            if ready and last:
                self.packets.append((taken, user, waits))
                taken, waits = [], 0

    async def arrives(self, count: int, limit: int) -> None:
        for _ in range(limit):
            if len(self.packets) >= count:
                return
            await RisingEdge(self.bench.dut.clk)
        raise AssertionError(f"{len(self.packets)} packets after {limit} cycles, not {count}")


MARK = 1 << 16  # of TUSER: the packet was cut
UNKNOWN = 1 << 40  # a beat that is X: no result
OPCODE_MASK = ((1 << OPCODE.bits) - 1) << OPCODE.lsb


def judge_packet(network: Network, packet: tuple[list[int], int, int]) -> int | None:
    """The sample whose results a packet has, or None if it is marked; anything else is wrong."""
    beats_, user, _ = packet
    if user & MARK:
        assert beats_[-1] == 0, "the beat with the mark is no result"
        assert len(beats_) > 1, "nothing is sent where no packet was open"
        assert any(beats_[:-1] == r[: len(beats_) - 1] for r in network.results), beats_
        return None
    assert beats_ in network.results, beats_
    sample: int = network.results.index(beats_)
    assert user == int(np.argmax(beats_))
    return sample


async def with_taker(dut) -> tuple[Bench, Network, Taker, list[list[int]]]:
    bench = Bench(dut)
    network = Network(0)
    await bench.begin(streams=False)
    taker = Taker(bench)
    cocotb.start_soon(taker.run())
    return bench, network, taker, [bench.stored(f) for f in network.frames]


async def is_right(bench: Bench, network: Network, taker: Taker, sample: int = 0) -> None:
    """START, a frame: its results, its cycles, nothing else."""
    taker.packets.clear()
    taker.chance = 1.0
    frames = await bench.register("FRAMES")
    await bench.control("START")
    await with_timeout(
        cocotb.start_soon(send(bench, bench.stored(network.frames[sample]))),
        network.limit * CLOCK_NS,
        "ns",
    )
    await taker.arrives(1, network.limit)
    await bench.until("STATUS", "BUSY", False)
    assert judge_packet(network, taker.packets.pop()) == sample
    assert await bench.register("FRAMES") == frames + 1
    assert await bench.register("CYCLES") == network.cycles
    assert await bench.register("WAITED") == 0
    assert await bench.register("CONTROL") == 0


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def aborts_in_the_middle_of_anything(dut):
    """ABORT, ABORT twice and RESET at random times: packets end by the rules, the next is right."""
    bench, network, taker, frames = await with_taker(dut)
    rng = bench.rng
    total = len(frames[0]) + network.cycles + len(network.results[0])
    marked = 0
    for number in range(int(os.environ["AXI_COUNT"])):
        how = rng.choice(["ABORT", "RESET", "twice"])
        taker.chance = rng.choice([1.0, 0.5, 0.1])
        samples = [rng.randrange(len(frames)) for _ in range(2)]

        async def source(samples: list[int] = samples) -> None:
            for sample in samples:
                await send(bench, frames[sample])

        taker.packets.clear()
        await bench.control("RUN")
        sender = cocotb.start_soon(source())
        if rng.random() < 0.5:
            await bench.cycles(rng.randint(0, 2 * total))
        else:  # while results leave
            while not get(dut, "m_axis_tvalid"):
                await RisingEdge(dut.clk)
            await bench.cycles(rng.randint(0, len(network.results[0])))
        dut._log.info("number %d: %s", number, how)
        await bench.control("RESET" if how == "RESET" else "ABORT")
        if how == "twice":
            await bench.control("ABORT")
        await bench.until("STATUS", "ABORTING", False)
        assert await bench.register("CONTROL") == 0
        if how == "RESET":
            for register in ("FRAMES", "DROPPED", "ERRORS", "PENDING"):
                assert await bench.register(register) == 0, register
            assert await bench.register("STATUS") & ~mask("STATUS", "READY") == 0
        else:
            assert await bench.register("STATUS") & mask("STATUS", "BUSY") == 0
        # what the source still has: a whole frame, or the rest of one
        await bench.control("RUN")
        await with_timeout(sender, 20 * network.limit * CLOCK_NS, "ns")
        await bench.until("STATUS", "BUSY", False)
        seen = [judge_packet(network, packet) for packet in taker.packets]
        marked += seen.count(None)
        assert seen.count(None) <= 1
        left = iter(samples)
        assert all(s in left for s in seen if s is not None), f"sent {samples}, came {seen}"
        if how != "twice":
            assert await bench.register("ERRORS") == 0, "what was discarded is no error"
        await bench.control("RESET")
        await bench.until("STATUS", "ABORTING", False)
        await is_right(bench, network, taker, rng.randrange(len(frames)))
    dut._log.info("%d packets were cut", marked)
    assert marked or int(os.environ["AXI_COUNT"]) < 20


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def a_run_ends_at_its_limit(dut):
    """LIMIT: cycles that are enough, and such that are not; SINK_LIMIT for a sink that sleeps."""
    bench, network, taker, frames = await with_taker(dut)
    assert await bench.register("LIMIT") == 1 << 27
    assert await bench.register("SINK_LIMIT") == 0
    await bench.write(offset("INTERRUPT"), mask("INTERRUPT", "TIMEOUT"))

    async def limit(cycles: int) -> None:
        assert await bench.write(offset("LIMIT"), cycles) == OKAY
        assert await bench.register("LIMIT") == cycles

    async def ends(error: str, start: str) -> None:
        """The run that has been started ends by itself: an interrupt, one error, nothing more."""
        for _ in range(network.limit):
            if int(dut.irq_o.value):
                break
            await RisingEdge(dut.clk)
        assert int(dut.irq_o.value), f"{error}, {start}: no interrupt"
        assert await bench.register("CONTROL") == 0
        assert await bench.register("ERRORS") == mask("ERRORS", error)
        assert await bench.register("PENDING") == mask("PENDING", "TIMEOUT")
        if error == "SINK":
            await bench.cycles(200)
            status = await bench.register("STATUS")
            assert status & mask("STATUS", "ABORTING"), "the beat that stands must be taken"
            assert status & mask("STATUS", "LOCKED") and status & mask("STATUS", "BUSY")
            taker.chance = 1.0
        await bench.until("STATUS", "ABORTING", False)
        assert await bench.register("STATUS") & ~mask("STATUS", "READY") == 0
        assert await bench.register("FRAMES") == before
        assert await bench.write(offset("PENDING"), mask("PENDING", "TIMEOUT")) == OKAY
        assert await bench.write(offset("ERRORS"), mask("ERRORS", error)) == OKAY
        await bench.cycles(2)
        assert int(dut.irq_o.value) == 0
        assert [judge_packet(network, p) for p in taker.packets] in ([], [None])

    before = 0
    for begin, cycles in itertools.product(
        ("START", "RUN"), (1, network.cycles // 2, network.cycles - 10)
    ):
        await limit(cycles)
        await bench.write(offset("PENDING"), mask("PENDING", "DONE"))
        await bench.control(begin)
        taker.packets.clear()
        cocotb.start_soon(send(bench, frames[1]))
        await ends("TIMEOUT", begin)
        await limit(network.cycles)
        await is_right(bench, network, taker)
        before += 1
    await limit(0)
    await is_right(bench, network, taker)
    before += 1

    # A sink that sleeps: its cycles count for SINK_LIMIT alone.
    await limit(network.cycles)
    taker.chance = 0.0
    await bench.control("START")
    cocotb.start_soon(send(bench, frames[0]))
    await bench.cycles(3 * network.cycles + len(frames[0]))
    assert await bench.register("STATUS") & mask("STATUS", "RUNNING")
    taker.chance = 0.3
    await taker.arrives(1, network.limit)
    await bench.until("STATUS", "BUSY", False)
    assert judge_packet(network, taker.packets[0]) == 0
    waited = taker.packets.pop()[2]
    assert waited > 2 * network.cycles
    assert await bench.register("PENDING") == mask("PENDING", "DONE")
    before += 1
    assert await bench.register("FRAMES") == before
    assert await bench.register("WAITED") == waited
    for start in ("START", "RUN"):
        assert await bench.write(offset("SINK_LIMIT"), 100) == OKAY
        assert await bench.register("SINK_LIMIT") == 100
        taker.packets.clear()
        taker.chance = 0.0
        await bench.write(offset("PENDING"), mask("PENDING", "DONE"))
        await bench.control(start)
        cocotb.start_soon(send(bench, frames[0]))
        await ends("SINK", start)
        assert await bench.write(offset("SINK_LIMIT"), 1) == OKAY
        await is_right(bench, network, taker)
        before += 1


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def interrupts_come_where_they_are_enabled(dut):
    """Each cause sets its bit of PENDING, raises irq_o where enabled, and is cleared alone."""
    bench, network, taker, frames = await with_taker(dut)
    window = await bench.software(lambda driver: driver._window_bits)
    program = window_offset("program", window)
    word = network.images["program"].integer(0)

    async def done() -> None:
        await is_right(bench, network, taker)

    async def frame(elements: list[int]) -> None:
        await bench.control("START")
        await send(bench, elements)
        await bench.until("STATUS", "BUSY", False)
        await bench.control()
        await bench.until("STATUS", "LOCKED", False)

    async def short() -> None:
        await frame(frames[0][:-1])

    async def long() -> None:
        await frame(frames[0] * 2)

    async def broken() -> None:
        assert await bench.write(program, 0) == OKAY
        assert await bench.write(offset("VALID"), 0xF) == OKAY
        await bench.control("START")
        await bench.until("ERRORS", "PROGRAM", True)
        assert await bench.write(program, word) == OKAY
        assert await bench.write(offset("VALID"), 0xF) == OKAY

    async def timeout() -> None:
        assert await bench.write(offset("LIMIT"), 5) == OKAY
        await bench.control("START")
        await send(bench, frames[0])
        await bench.until("STATUS", "BUSY", False)
        assert await bench.write(offset("LIMIT"), 0) == OKAY

    causes = (("DONE", done), ("FRAME", short), ("FRAME", long), ("PROGRAM", broken))
    for name, cause in (*causes, ("TIMEOUT", timeout)):
        own = mask("PENDING", name)
        for enabled in (own, 0xF & ~own, 0xF, 0):
            assert await bench.write(offset("INTERRUPT"), enabled) == OKAY
            assert await bench.register("INTERRUPT") == enabled
            await cause()
            assert await bench.register("PENDING") == own, (name, cause)
            status = await bench.register("STATUS")
            assert bool(status & mask("STATUS", "DONE")) == (name == "DONE")
            assert int(dut.irq_o.value) == int(bool(enabled & own)), (name, enabled)
            assert await bench.write(offset("PENDING"), 0xF & ~own) == OKAY
            assert await bench.register("PENDING") == own, "cleared by another bit"
            assert await bench.write(offset("PENDING"), own) == OKAY
            assert await bench.register("PENDING") == 0
            assert int(dut.irq_o.value) == 0
            await bench.write(offset("ERRORS"), 0x3FF)
    # A long frame tells where its TLAST was missed: that may never come.
    assert await bench.write(offset("INTERRUPT"), mask("INTERRUPT", "FRAME")) == OKAY
    dropped = await bench.register("DROPPED")
    await bench.control("START")
    put(dut, s_axis_tvalid=1, s_axis_tlast=0)
    for _ in range(network.limit):
        await RisingEdge(dut.clk)
        if int(dut.irq_o.value):
            break
    assert int(dut.irq_o.value) and await bench.register("DROPPED") == dropped
    put(dut, s_axis_tvalid=0)
    await bench.control("ABORT")
    await bench.control("ABORT")
    await bench.until("STATUS", "LOCKED", False)
    await is_right(bench, network, taker)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def only_valid_images_are_run(dut):
    """VALID falls with a write, rises with a CHECK that finds EXPECT; GUARD leaves no other way."""
    bench, network, taker, _ = await with_taker(dut)
    window = await bench.software(lambda driver: driver._window_bits)
    core = read_manifest(network.path).core
    guard = mask("VALID", "GUARD")
    used = [name for name in IMAGES if core.depth(name)]

    async def refused() -> None:
        for field in ("RUN", "START"):
            assert await bench.write(offset("CONTROL"), mask("CONTROL", field)) == SLVERR
            assert await bench.register("CONTROL") == 0
        assert await bench.register("ERRORS") == mask("ERRORS", "INVALID")
        assert await bench.write(offset("ERRORS"), mask("ERRORS", "INVALID")) == OKAY

    async def spoil(name: str, words: int = 1) -> None:
        """Write the first words of an image, half of the last one's beats."""
        data = beats_of(network.images[name], words)
        at = window_offset(name, window)
        step = stride(core.word_bits(name))
        for number, values in enumerate(data):
            parts = values if number + 1 < len(data) else values[: -(-len(values) // 2)]
            for beat, value in enumerate(parts):
                assert await bench.write(at + number * step + 4 * beat, value) == OKAY

    async def check(name: str, words: int, expect: int, reset: bool = False) -> int:
        assert await bench.write(offset("EXPECT"), expect) == OKAY
        assert await bench.register("EXPECT") == expect
        value = (IMAGES.index(name) << 24) | words
        assert await bench.write(offset("CHECK"), value) == OKAY
        if reset:
            await bench.control("RESET")
        await bench.until("STATUS", "CHECKING", False)
        return await bench.register("VALID") & 0xF

    assert await bench.register("VALID") == 0xF, "the memories hold what they were configured with"
    await is_right(bench, network, taker)
    for name in used:
        bit = mask("VALID", name.upper())
        whole = network.images[name]
        good = zlib.crc32(np.array(beats_of(whole, len(whole)), "<u4").tobytes())
        await spoil(name)
        assert await bench.register("VALID") == 0xF & ~bit
        await refused()
        await spoil(name, len(whole) // 2 + 1)  # the line fails
        await refused()
        await bench.software(writer(name, whole))
        await refused()
        assert await check(name, len(whole), good ^ 1) == 0xF & ~bit
        assert await check(name, len(whole) - 1, good) == 0xF & ~bit
        assert await check(name, 0, 0) == 0xF & ~bit, "no word is no proof"
        assert await check(name, len(whole), good, reset=True) == 0xF & ~bit
        await refused()
        assert await check(name, len(whole), good) == 0xF
        await is_right(bench, network, taker)
    assert await check("bias", 1, 0) == 0xF, "a CHECK that finds another sum takes nothing back"

    # software's own word, until GUARD
    assert await bench.write(offset("VALID"), 0) == OKAY
    assert await bench.register("VALID") == (0 if core.table_depth else mask("VALID", "TABLE"))
    await refused()
    assert await bench.write(offset("VALID"), 0xF | guard) == OKAY
    await is_right(bench, network, taker)
    await spoil("weights")
    bit = mask("VALID", "WEIGHTS")
    for value in (0xF, 0xF | guard, bit):
        assert await bench.write(offset("VALID"), value) == OKAY
        assert not await bench.register("VALID") & bit
        await refused()
    await bench.control("RESET")
    assert await bench.write(offset("VALID"), 0xF) == OKAY
    await refused()
    await bench.software(lambda driver: driver.load(network.path))
    assert await bench.register("VALID") == 0xF | guard
    await is_right(bench, network, taker)
    await spoil("weights")
    put(dut, rst=1)
    await bench.cycles(3)
    put(dut, rst=0)
    await bench.cycles(3)
    assert await bench.register("VALID") == 0xF & ~bit, "a reset leaves memories, and what they are"
    assert await bench.write(offset("VALID"), 0xF) == OKAY
    assert await bench.register("VALID") == 0xF, "GUARD has gone"


def writer(name: str, words: Words) -> Callable[[Driver], None]:
    return lambda driver: driver.write_image(name, words)


def checker(name: str, words: int) -> Callable[[Driver], int]:
    return lambda driver: driver.checksum(name, words)


def beats_of(words: Words, count: int) -> list[list[int]]:
    """The beats of the first words."""
    parts = beats(words.bits)
    return [
        [(words.integer(i) >> (32 * b)) & 0xFFFFFFFF for b in range(parts)] for i in range(count)
    ]


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def locked_images_can_be_run_and_checked(dut):
    """LOCK: no access to a window until a hardware reset; CHECK and frames go on."""
    bench, network, taker, _ = await with_taker(dut)
    window = await bench.software(lambda driver: driver._window_bits)
    core = read_manifest(network.path).core
    used = [name for name in IMAGES if core.depth(name)]
    lock, locked = mask("CONTROL", "LOCK"), mask("ERRORS", "LOCKED")
    assert await bench.write(offset("CONTROL"), lock) == OKAY
    for after in ("", "RESET", "ABORT", "0"):
        if after == "0":
            assert await bench.write(offset("CONTROL"), 0) == OKAY
        elif after:
            await bench.control(after)
            await bench.until("STATUS", "ABORTING", False)
        assert await bench.register("CONTROL") == lock
        assert await bench.register("STATUS") & mask("STATUS", "LOCKED") == 0
        for name in used:
            at = window_offset(name, window)
            assert await bench.read(at) == (0, SLVERR)
            assert await bench.write(at, 0) == SLVERR
            assert await bench.register("ERRORS") == locked
            assert await bench.write(offset("ERRORS"), locked) == OKAY
            words = network.images[name]
            data = np.array(beats_of(words, len(words)), "<u4").tobytes()
            crc = await bench.software(checker(name, len(words)))
            assert crc == zlib.crc32(data), "none of the refused writes has changed anything"

    def load(driver: Driver) -> str:
        try:
            driver.load(network.path)
        except DeviceError as error:
            return str(error)
        return ""

    assert "locked" in await bench.software(load)
    await bench.control("START")
    taker.packets.clear()
    await send(bench, bench.stored(network.frames[1]))
    await taker.arrives(1, network.limit)
    assert judge_packet(network, taker.packets[0]) == 1
    await bench.until("STATUS", "BUSY", False)
    put(dut, rst=1)
    await bench.cycles(3)
    put(dut, rst=0)
    await bench.cycles(3)
    assert await bench.register("CONTROL") == 0
    assert await bench.read(window_offset("program", window)) == (
        network.images["program"].integer(0),
        OKAY,
    )


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def images_that_cant_be_read_back_can_be_loaded(dut):
    """READBACK = 0, COUNTERS = 1: windows take writes alone; CHECK tells; three more counters."""
    bench, network, taker, frames = await with_taker(dut)
    window = await bench.software(lambda driver: driver._window_bits)
    core = read_manifest(network.path).core
    assert await bench.register("OPTIONS") == mask("OPTIONS", "COUNTERS")
    for name in IMAGES:
        if core.depth(name):
            assert await bench.read(window_offset(name, window)) == (0, DECERR)
            assert await bench.register("ERRORS") == mask("ERRORS", "ADDRESS")
            assert await bench.write(offset("ERRORS"), mask("ERRORS", "ADDRESS")) == OKAY

    def load(driver: Driver) -> str:
        driver.load(network.path)
        try:
            driver.read_image("weights", 1)
        except DeviceError as error:
            return str(error)
        return ""

    assert "READBACK" in await bench.software(load)
    await is_right(bench, network, taker)

    async def counters() -> list[int]:
        return [await bench.register(n) for n in ("STALL_IN", "STALL_OUT", "OCCUPANCY")]

    await bench.control("RESET")
    assert await counters() == [0, 0, 0]
    counted = [0, 0]

    async def count() -> None:
        while True:
            await RisingEdge(dut.clk)
            counted[0] += int(get(dut, "s_axis_tready") and not get(dut, "s_axis_tvalid"))
            counted[1] += int(get(dut, "m_axis_tvalid") and not get(dut, "m_axis_tready"))

    counting = cocotb.start_soon(count())
    taker.chance = 0.4
    taker.packets.clear()
    await bench.control("RUN")
    for number in range(3):
        await bench.cycles(10 * number)
        await send(bench, frames[number])
        await taker.arrives(number + 1, network.limit)
    await bench.control()
    await bench.until("STATUS", "LOCKED", False)
    counting.cancel()
    found = await counters()
    assert found[:2] == counted and all(counted), (found, counted)
    least = 3 * (network.cycles + len(frames[0])) + sum(p[2] for p in taker.packets)
    assert least - 20 <= found[2] <= least + 20, (found, least)
    for name in ("STALL_IN", "STALL_OUT", "OCCUPANCY"):
        assert await bench.write(offset(name), 0) == DECERR
    await bench.control("RESET")
    assert await counters() == [0, 0, 0]


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def what_is_read_with_frames_is_of_one_frame(dut):
    """FRAMES, CYCLES, CLASS and WAITED while frames stream through a sink that is often slow."""
    bench, network, taker, frames = await with_taker(dut)
    rng = bench.rng
    taker.chance = 0.6
    count = int(os.environ["AXI_COUNT"])

    async def source() -> None:
        for _ in range(count):
            await send(bench, frames[rng.randrange(len(frames))])

    await bench.control("RUN")
    sender = cocotb.start_soon(source())
    seen = set()
    while not sender.done() or len(taker.packets) < count:
        last = await bench.software(lambda driver: driver.last())
        if not last.frames:
            assert last == LastFrame(0, 0, 0, 0)
            continue
        _, user, waited = taker.packets[last.frames - 1]
        assert (last.top, last.waited) == (user, waited), last
        assert last.cycles >= network.cycles
        seen.add(last.frames)
        await bench.cycles(rng.randint(0, 50))
    assert len(seen) > count // 2


@cocotb.test(timeout_time=20 * LIMIT_MS, timeout_unit="ms")
async def programs_of_random_fields_end_by_themselves(dut):
    """Legal opcodes, random fields: each ends by an interrupt; then a legal frame is right."""
    bench, network, taker, frames = await with_taker(dut)
    rng = bench.rng
    window = await bench.software(lambda driver: driver._window_bits)
    base = window_offset("program", window)
    legal = [row[0] for row in beats_of(network.images["program"], 96)]
    limit = 2 * network.cycles
    assert await bench.write(offset("LIMIT"), limit) == OKAY
    assert await bench.write(offset("INTERRUPT"), 0xF) == OKAY
    seen = {name: 0 for name in ("DONE", "FRAME", "PROGRAM", "TIMEOUT")}

    async def write(words: list[int], number: int) -> None:
        at = base + 4 * 32 * number
        for i, value in enumerate(words):
            assert await bench.write(at + 4 * i, value) == OKAY

    for number in range(int(os.environ["AXI_COUNT"])):
        which = [d for d in range(3) if rng.random() < (0.1, 0.6, 0.6)[d]] or [1]
        for d in which:
            words = list(legal[32 * d : 32 * d + 32])
            opcode = words[0]
            some = rng.random() < 0.5
            for i in range(32):
                if not some or rng.random() < 0.2:
                    words[i] = rng.getrandbits(32)
            words[0] = (words[0] & ~OPCODE_MASK) | (opcode & OPCODE_MASK)
            await write(words, d)
        assert await bench.write(offset("VALID"), 0xF) == OKAY
        taker.chance = rng.choice([1.0, 0.5])
        await bench.control("START")
        sender = cocotb.start_soon(send(bench, frames[0]))
        for _ in range(20 * limit):
            if int(dut.irq_o.value):
                break
            await RisingEdge(dut.clk)
        pending = await bench.register("PENDING")
        names = [n for n in seen if pending & mask("PENDING", n)]
        assert names, f"program {number} hangs: {which}"
        for name in names:
            seen[name] += 1
        if not sender.done():
            await bench.until("STATUS", "ABORTING", False)
            sender.cancel()
            put(dut, s_axis_tvalid=0)
        await bench.control("ABORT")
        await bench.control("RESET")
        await bench.until("STATUS", "ABORTING", False)
        for d in which:
            await write(legal[32 * d : 32 * d + 32], d)
        assert await bench.write(offset("VALID"), 0xF) == OKAY
        await bench.until("STATUS", "READY", True)
        await is_right(bench, network, taker, rng.randrange(len(frames)))
        await bench.write(offset("PENDING"), 0xF)
    dut._log.info("%s", seen)
    assert seen["TIMEOUT"]
