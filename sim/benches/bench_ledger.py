# SPDX-License-Identifier: Apache-2.0
"""cocotb benches of the ledger: bramcast_axi is compared with golden, layer by layer, as a chip is.

tests/cosim/test_ledger.py builds the core and starts a bench; software is ``sim/board/verify.py``.

    LEDGER_BUNDLE  the core is initialised with it
    LEDGER_FRAMES  .npy: [n, beats]
    LEDGER_FOUND   written: what was found, a line each
    LEDGER_GOLDEN  .npz: crcs [n, nests], cycles [nests], beats [n, beats]
"""

import os
from collections.abc import Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import cocotb
import numpy as np
from cocotb.task import bridge, resume
from cocotb.triggers import with_timeout

from bramcast.golden.ledger import ledgers
from bramcast.golden.load import load
from bramcast.pack.axi.driver import Driver
from bramcast.pack.axi.link import Answer
from bramcast.pack.axi.registers import (
    SCRATCH_SLOT,
    bank_bits,
    mask,
    offset,
    stride,
    window_offset,
)
from bramcast.pack.bundle.program import Nest
from bramcast.sim.benches.bench_axi import CLOCK_NS, DECERR, LIMIT_MS, SLVERR, Bench
from bramcast.sim.board.verify import OUTPUT, LayerCheck, first_difference, verify

FRAME_CYCLES = 2_000_000
BUNDLE = Path(os.environ.get("LEDGER_BUNDLE", ""))


class StreamLink:
    """The two streams, for software in a thread of its own; ``flip`` is a bit of the way in or out.

    Attributes:
        flip: (sent or received, number, mask): of the elements of each frame, of the beats.
    """

    def __init__(self, bench: Bench) -> None:
        self.flip = ("", 0, 0)

        @resume
        async def send(elements: Sequence[int]) -> None:
            bench.source.send_nowait(bench.stored(np.array(elements)))

        @resume
        async def receive() -> Answer:
            got = await with_timeout(bench.sink.recv(compact=False), FRAME_CYCLES * CLOCK_NS, "ns")
            beats = [int(beat) for beat in got.tdata]
            user = int(got.tuser[-1])
            signed = tuple(beat - (1 << 32) if beat >> 31 else beat for beat in beats)
            return Answer(signed, user & 0xFFFF, bool(user >> 16))

        self._send, self._receive = send, receive

    def send(self, elements: Sequence[int]) -> None:
        way, number, bit = self.flip
        self._send([e ^ bit if (way, n) == ("sent", number) else e for n, e in enumerate(elements)])

    def receive(self) -> Answer:
        answer: Answer = self._receive()
        way, number, bit = self.flip
        beats = [
            b ^ bit if (way, n) == ("received", number) else b for n, b in enumerate(answer.beats)
        ]
        return Answer(tuple(beats), answer.top, answer.cut)


async def compared(bench: Bench, link: StreamLink, frames: np.ndarray) -> list[LayerCheck]:
    """What verify says, in a thread of its own."""

    def job() -> list[LayerCheck]:
        return verify(Driver(bench.bus()), link, BUNDLE, frames, load_images=False)

    return await bridge(job)()


async def begun(dut) -> tuple[Bench, StreamLink, np.ndarray]:
    bench = Bench(dut)
    await bench.begin()
    return bench, StreamLink(bench), np.load(os.environ["LEDGER_FRAMES"])


def equal(checks: list[LayerCheck], stalled: bool) -> None:
    """Every entry equals golden's; every layer has some, and cycles where the sink was ready."""
    first = first_difference(checks)
    assert first is None, str(first)
    for check in checks:
        assert check.layer == OUTPUT or check.checked == len(check.nests) > 0, str(check)
        assert check.layer == OUTPUT or stalled or check.cycles == check.predicted > 0, str(check)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def every_entry_is_goldens(dut):
    """Frames at full speed: CRC and cycles; back to back; with backpressure; behind an abort."""
    bench, link, frames = await begun(dut)
    checks = await compared(bench, link, frames)
    equal(checks, stalled=False)
    total = sum(c.cycles for c in checks if c.sample == len(frames) - 1)
    assert await bench.register("FRAMES") == len(frames)  # what it freezes belongs to that frame
    assert total == await bench.register("CYCLES")
    # Back to back: the ledger is that of the last one.
    machine = load(BUNDLE)
    (expected,) = ledgers(machine, machine.run(frames[-1:], keep_layers=True))
    await bench.control("RUN")
    for frame in (*frames, *frames):
        bench.source.send_nowait(bench.stored(frame))
    for _ in range(2 * len(frames)):
        await bench.results(FRAME_CYCLES)
    assert await bench.register("NEST") == len(expected)
    entries = await bench.software(lambda driver: driver.ledger())
    assert [(e.crc, e.cycles) for e in entries] == [(e.crc, e.cycles) for e in expected]
    assert await bench.register("FRAMES") == 3 * len(frames)
    assert await bench.register("CYCLES") == sum(e.cycles for e in expected)
    await bench.control()
    bench.sink.set_pause_generator(cycle([True] * 7 + [False]))
    equal(await compared(bench, link, frames[:1]), stalled=True)
    bench.sink.clear_pause_generator()
    bench.sink.pause = False
    assert await bench.register("FRAMES") == 3 * len(frames) + 1
    waited = await bench.register("WAITED")
    entries = await bench.software(lambda driver: driver.ledger())
    assert sum(e.cycles for e in entries) == await bench.register("CYCLES") - waited
    assert waited and any(e.stalled for e in entries)
    # An abort in the middle of a run leaves nothing in the next frame's ledger.
    await bench.control("START")
    bench.source.send_nowait(bench.stored(frames[0]))
    await bench.until("STATUS", "RUNNING", True)
    await bench.cycles(bench.rng.randint(0, total // 2))
    await bench.control("ABORT")
    await bench.until("STATUS", "ABORTING", False)
    nests = await bench.register("NEST")
    assert nests < len(entries)
    partial = await bench.software(lambda driver: driver.ledger())
    assert [e.crc for e in partial] == [e.crc for e in entries[:nests]]
    bench.sink.clear()
    equal(await compared(bench, link, frames[:1]), stalled=False)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def faults_are_found(dut):
    """A bit of the frame, of a beat, of a weight word: what verify finds goes into a file."""
    bench, link, frames = await begun(dut)
    found = []

    async def look() -> None:
        first = first_difference(await compared(bench, link, frames[:1]))
        found.append(f"{first.layer}: {first.found}" if first else "equal")

    await look()
    link.flip = ("sent", 3, 1)
    await look()
    link.flip = ("received", 1, 1 << 20)
    await look()
    link.flip = ("", 0, 0)
    for word in (0, int(os.environ["LEDGER_WORD"])):

        def plant(driver: Driver, word: int = word) -> None:
            bits = driver.core.word_bits("weights")
            at = window_offset("weights", driver._window_bits) + word * stride(bits)
            beats = [driver._bus.read(at + 4 * b) for b in range(-(-bits // 32))]
            for b, beat in enumerate(beats):
                driver._bus.write(at + 4 * b, beat ^ 0x40 * (b == 0))
            driver.write("VALID", 15)

        await bench.software(plant)
        await look()
        await bench.software(plant)
        await look()
    Path(os.environ["LEDGER_FOUND"]).write_text("".join(f"{line}\n" for line in found))


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def a_fault_of_the_core_is_found(dut):
    """What verify finds in a core that is not as it should be goes into a file."""
    bench, link, frames = await begun(dut)
    first = first_difference(await compared(bench, link, frames[:1]))
    text = f"{first.layer}: {first.found}\n" if first else "equal\n"
    Path(os.environ["LEDGER_FOUND"]).write_text(text)


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def a_run_holds_behind_any_nest(dut):
    """The scratchpad is what golden says; LIMIT does not count; the run goes on or is aborted."""
    bench, link, frames = await begun(dut)
    machine = load(BUNDLE)
    results = machine.run(frames[:1], keep_layers=True)
    (expected,) = ledgers(machine, results)
    total, bits = sum(e.cycles for e in expected), machine.core.data_bits
    window = SCRATCH_SLOT << await bench.software(lambda driver: driver._window_bits)
    numbers = [1, len(expected) - 1, *bench.rng.sample(range(1, len(expected)), 3)]
    await bench.write(offset("LIMIT"), total + 100)
    for number in numbers:
        await bench.write(offset("STOP_AFTER"), number)
        await bench.control("START")
        bench.source.send_nowait(bench.stored(frames[0]))
        await bench.until("STATUS", "RUNNING", True)
        assert expected[0].cycles < 100 or (await bench.read(window))[1] == SLVERR
        await bench.until("STATUS", "STOPPED", True)
        await bench.cycles(total + 200)
        assert await bench.register("NEST") == number
        entries = await bench.software(lambda driver: driver.ledger())
        assert [(e.crc, e.cycles) for e in entries] == [
            (e.crc, e.cycles) for e in expected[:number]
        ]
        core, bank = machine.core, 1 << bank_bits(machine.core)
        nowhere = {core.tiles * bank} | (
            {core.scratch_depth} if core.scratch_depth < bank else set()
        )
        for place in (window + word * stride(core.word * bits) for word in sorted(nowhere)):
            if place < window + (window // SCRATCH_SLOT):
                assert (await bench.read(place))[1] == DECERR
        result = results.nests[number - 1]
        nest = machine.program[number]
        if isinstance(nest, Nest) and not nest.stream:
            places = np.unique(result.addresses // machine.core.taps).tolist()
            words = await bench.software(partial(Driver.scratch, places=places))
            read = dict(zip(places, words, strict=True))
            for address, row in zip(result.addresses.tolist(), result.words[0], strict=True):
                word, sub = divmod(address, machine.core.taps)
                for lane, value in enumerate(row.tolist()):
                    at = bits * (sub * machine.core.lanes + lane)
                    assert read[word] >> at & (1 << bits) - 1 == value, (number, address, lane)
        follower = min(number + bench.rng.randint(0, 2), len(expected) - 1)
        if follower > number:  # from one nest to another
            await bench.write(offset("STOP_AFTER"), follower)
            await bench.until("STATUS", "STOPPED", True)
            assert await bench.register("NEST") == follower
        if bench.rng.random() < 0.5:
            await bench.write(offset("STOP_AFTER"), 0)
            assert await bench.results(FRAME_CYCLES) == results.beats[0].tolist()
            assert await bench.register("NEST") == len(expected)
            entries = await bench.software(lambda driver: driver.ledger())
            assert [e.crc for e in entries] == [e.crc for e in expected]
        else:
            await bench.control("ABORT")
            await bench.until("STATUS", "ABORTING", False)
            assert await bench.register("NEST") == follower
            bench.sink.clear()
    await bench.write(offset("STOP_AFTER"), len(expected))  # there is no nest to be held
    await bench.control("START")
    assert await bench.frame(frames[0], FRAME_CYCLES) == results.beats[0].tolist()
    expected_errors = mask("ERRORS", "LOCKED") | mask("ERRORS", "ADDRESS")
    assert await bench.register("ERRORS") & ~expected_errors == 0
    await bench.control("RESET")
    await bench.until("STATUS", "ABORTING", False)
    assert await bench.register("STOP_AFTER") == 0


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def entries_beyond_are_not_written(dut):
    """What does not fit is counted; what fits is right, and nothing wraps around."""
    bench, link, frames = await begun(dut)
    checks = await compared(bench, link, frames)
    assert first_difference(checks) is None
    depth = await bench.register("LEDGER_DEPTH")
    assert await bench.register("NEST") == max(n for c in checks for n in c.nests) > depth
    assert sum(c.checked for c in checks if c.sample == 0) == depth


@cocotb.test(timeout_time=LIMIT_MS, timeout_unit="ms")
async def every_entry_of_a_program_is_goldens(dut):
    """No bundle, only a program: at full speed, then with backpressure of several kinds.

    Cycles are golden's wherever STALLED is not set, whatever waited before.
    """
    bench = Bench(dut)
    await bench.begin()
    frames, golden = np.load(os.environ["LEDGER_FRAMES"]), np.load(os.environ["LEDGER_GOLDEN"])
    marked = 0
    for pattern in ("1", "1110", "0001", "1" * 20 + "0" * 30, "0" * 300 + "1" * 40):
        bench.sink.set_pause_generator(cycle([c == "0" for c in pattern]))
        for frame, crcs, beats in zip(frames, golden["crcs"], golden["beats"], strict=True):
            await bench.control("START")
            assert await bench.frame(frame, FRAME_CYCLES) == beats.tolist()
            entries = await bench.software(lambda driver: driver.ledger())
            assert [e.crc for e in entries] == crcs.tolist()
            for number, (entry, cycles) in enumerate(zip(entries, golden["cycles"], strict=True)):
                assert entry.stalled or entry.cycles == cycles, f"nest {number + 1}, {pattern}"
                assert not entry.stalled or pattern != "1"
                marked += entry.stalled
            await bench.register("FRAMES")
            waited = await bench.register("WAITED")
            assert sum(e.cycles for e in entries) == await bench.register("CYCLES") - waited
            assert any(e.stalled for e in entries) == bool(waited)
    dut._log.info("%d entries are marked", marked)
