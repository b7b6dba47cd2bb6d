# SPDX-License-Identifier: Apache-2.0
"""cocotb benches of bramcast_core: runs that end before their time, at any moment.

tests/cosim/test_abort.py builds the core and starts the benches.

    ABORT_DATA   .npz: frames [n, elements] and results [n, beats], stored bits; cycles of a run;
                 legal, the program's words; programs [m, words], other ones; tlast_ends, the
                 core's parameter
    ABORT_COUNT  how many frames a stream has
"""

import os
from collections import deque

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, Timer

from bramcast.sim.benches.unit_benches import get, put, seeded_random, start, to_signed

CLOCK_NS = 10
LIMIT = 30_000  # cycles that any wait may take
FETCH = 120  # cycles until the first descriptors are here, and some more
LEAST = 5  # cycles of an abort that waits for nobody
NO_HOST = dict.fromkeys(("host_read_i", "host_we_i", "host_word_i", "host_beat_i"), 0)
QUIET = {
    **dict.fromkeys(("start_i", "abort_i", "clear_error_i", "host_data_i"), 0),
    **dict.fromkeys(("s_axis_tdata", "s_axis_tvalid", "s_axis_tlast", "m_axis_tready"), 0),
    **NO_HOST,
}
Frame = tuple[int, ...]


class Core:
    """Both streams and abort_i, a cycle at a time, and what docs/core.md says of them.

    ``wild``: the program is any, so that results, sizes and errors of frames are nobody's business;
    all rules of the streams and of an abort hold.
    """

    def __init__(self, dut) -> None:
        self.dut = dut
        self.rng = seeded_random()
        data = np.load(os.environ["ABORT_DATA"])
        self.borders = bool(data["tlast_ends"])
        self.frames: list[Frame] = [tuple(map(int, f)) for f in data["frames"]]
        self.results = dict(zip(self.frames, data["results"].tolist(), strict=True))
        self.cycles = int(data["cycles"])
        self.legal, self.programs = data["legal"].tolist(), data["programs"].tolist()
        self.size = len(self.frames[0])
        self.wild = False
        self.queue: deque[tuple[int, int]] = deque()  # elements that are still to be sent
        self.offered = False
        self.due: deque[Frame] = deque()  # whole frames that are not answered
        self.begun: list[int] = []  # elements of the frame that is coming
        self.packet: list[int] = []
        self.ended = False  # a packet has, and the run perhaps not
        self.held: tuple[int, ...] | None = None  # a beat that was not taken
        self.stalled = False  # ... in this run
        self.before: dict[str, int | None] = dict.fromkeys(
            ("abort", "broken", "aborting", "done", "dropped"), 0
        )
        self.errors = 0
        self.last = (0, 0)  # cycles_o and class_o of the last whole packet
        self.count = dict.fromkeys(
            ("whole", "timed", "marked", "lost", "dropped", "broken", "aborts", "given up"), 0
        )
        self.length = 0  # cycles that this abort takes
        self.left = 0  # elements that its frame still had
        self.helped = False  # sink ready, source sending, all the time
        self.gone = False  # the rest of the frame that was coming has been given up
        self.now = self.taken = 0  # this cycle, and that of the last whole frame's last element
        self.first = 0  # cycles from there to the first beat, at least

    async def begin(self) -> None:
        await start(self.dut, **QUIET)
        put(self.dut, start_i=1)

    def send(self, frame: Frame) -> None:
        self.queue += [(e, int(i == len(frame) - 1)) for i, e in enumerate(frame)]

    def remaining(self) -> int:
        """Elements up to the TLAST of the frame that is coming."""
        if not self.begun:
            return 0
        return 1 + next((i for i, (_, last) in enumerate(self.queue) if last), len(self.queue))

    async def cycle(self, offer: float = 1.0, take: float = 1.0, abort: int = 0) -> None:
        """One cycle: a new element is offered and a beat taken by chance; all rules."""
        dut, rng, before = self.dut, self.rng, self.before
        valid = self.offered = bool(self.queue) and (self.offered or rng.random() < offer)
        ready = int(rng.random() < take)
        inputs = {"abort_i": abort, "s_axis_tvalid": int(valid), "m_axis_tready": ready}
        if valid:
            inputs["s_axis_tdata"], inputs["s_axis_tlast"] = self.queue[0]
        put(dut, **inputs)
        await RisingEdge(dut.clk)
        self.now += 1
        aborting, broken = get(dut, "aborting_o"), get(dut, "broken_o")
        if before["abort"] or before["broken"]:
            assert aborting, "aborting_o is high in the next cycle"
        elif not before["aborting"]:
            assert not aborting, "nobody has asked for an abort"
        assert not (broken and aborting) and (not aborting or get(dut, "busy_o"))
        if before["aborting"] and not aborting:
            self.abort_ends()
        if aborting and not before["aborting"]:
            self.length, self.helped = 0, True
            self.count["aborts"] += 1
        if aborting:
            self.length += 1
            self.helped = self.helped and bool(ready) and (bool(valid) or not self.begun)
        self.count["broken"] += broken
        assert self.wild or not broken
        assert self.wild or get(dut, "dropped_o") == before["dropped"]

        done, dropped = self.output(bool(ready), aborting), 0
        if valid and get(dut, "s_axis_tready"):
            dropped = self.element(bool(aborting), bool(before["aborting"]), abort)
        if aborting and (abort or not self.borders):
            self.count["given up"] += bool(self.begun)
            self.begun, self.gone = [], True
            self.helped = self.helped and not abort
        if aborting and not before["aborting"]:
            self.left = self.remaining()
        self.before = {
            "abort": abort,
            "broken": broken,
            "aborting": aborting,
            "done": done,
            "dropped": dropped,
        }

    def output(self, ready: bool, aborting: int) -> int | None:
        """The stream of results in this cycle; whether a run ends, None if nobody knows."""
        dut = self.dut
        told = get(dut, "done_o")
        assert self.before["done"] in (None, told)
        if told:
            self.ended = False
            cycles = get(dut, "cycles_o")
            self.last = (cycles, get(dut, "class_o"))
            if not self.wild and not self.stalled:
                assert cycles == self.cycles
                self.count["timed"] += 1
            self.stalled = False
        if not get(dut, "m_axis_tvalid"):
            assert self.held is None, "a beat that waits must stay"
            return 0
        if self.taken and not self.packet:
            self.first = min(self.first or LIMIT, self.now - self.taken)
            self.taken = 0
        beat = tuple(get(dut, f"m_axis_t{n}") for n in ("data", "last", "user"))
        if self.wild:  # what is read from where nothing is, Icarus does not know
            beat = (beat[0] or 0, beat[1], int(dut.m_axis_tuser.value[16]) << 16)
        assert self.held in (None, beat), "a beat that waits must not change"
        self.held = None if ready else beat
        if not ready:
            self.stalled = True
            return 0
        data, last, user = beat
        self.packet.append(data)
        if not last:
            assert not user >> 16
            return 0
        packet, self.packet = self.packet, []
        if user >> 16:
            assert aborting and data == 0 and (len(packet) > 1 or self.ended)
            self.ended = False
            self.count["marked"] += 1
            if not self.wild:
                assert packet[:-1] == self.results[self.due[0]][: len(packet) - 1]
            return 0
        self.count["whole"] += 1
        if not self.wild:
            assert packet == self.results[self.due.popleft()]
            signed = [to_signed(n, 32) for n in packet]
            assert user == signed.index(max(signed))
            return 1
        self.ended = True  # any program: it may be one packet of several
        return None

    def element(self, aborting: bool, was_aborting: bool, abort: int) -> int:
        """An element is accepted; whether a frame ends that is dropped."""
        assert not self.gone, "the stream is closed"
        value, last = self.queue.popleft()
        self.offered = False
        self.begun.append(value)
        end = len(self.begun) == self.size
        if not self.borders:
            last = int(end)
        if not self.wild and not (aborting and was_aborting):
            self.errors |= int(bool(last) and len(self.begun) < self.size)
            self.errors |= 2 * int(end and not last)
        if not last:
            return 0
        frame, self.begun = tuple(self.begun), []
        if aborting:
            return 0
        if len(frame) == self.size:
            if not self.wild:
                self.taken = self.now if not self.due else 0
                self.due.append(frame)
            return 0
        self.count["dropped"] += 1
        return 1

    def abort_ends(self) -> None:
        dut = self.dut
        assert not self.packet and self.held is None and not self.begun
        self.gone = False
        if self.helped:
            assert self.length <= max(LEAST, self.left + 2), (self.length, self.left)
        self.count["lost"] += len(self.due)
        self.due.clear()
        self.stalled = False
        if self.before["done"] == 0:
            assert (get(dut, "cycles_o"), get(dut, "class_o")) == self.last
        if not self.borders:  # the source begins anew
            while self.queue and not self.offered_first():
                self.queue.popleft()
            self.offered = False

    def offered_first(self) -> bool:
        return len(self.queue) % self.size == 0

    async def until_idle(self, limit: int = LIMIT, offer: float = 1.0, take: float = 1.0) -> None:
        """All is sent and answered."""
        for _ in range(limit):
            if not (self.queue or self.due or self.before["done"]) and not get(self.dut, "busy_o"):
                return
            await self.cycle(offer, take)
        raise AssertionError(f"it hangs: {len(self.queue)} to send, {len(self.due)} to answer")

    async def abort(self) -> None:
        """An abort with all help; nothing is in work behind it."""
        await self.cycle(abort=1)
        await self.cycle()  # in which another frame may begin
        for _ in range(LEAST + 2 + self.remaining()):
            await self.cycle()
            if not get(self.dut, "aborting_o"):
                return
        raise AssertionError("the abort does not end")

    async def sleep(self, cycles: int) -> None:
        """Nothing is sent and nothing is taken; what the core does meanwhile is not looked at."""
        for _ in range(2):
            await self.cycle(0.0, 0.0)
        put(self.dut, s_axis_tvalid=0)
        self.offered = False
        await Timer(CLOCK_NS * cycles, "ns")
        await RisingEdge(self.dut.clk)
        self.before["aborting"] = get(self.dut, "aborting_o")
        self.before["broken"] = get(self.dut, "broken_o")
        self.helped = False

    async def load(self, program: list[int]) -> None:
        """Write the program memory as a host does; the core is idle."""
        dut = self.dut
        put(dut, start_i=0)
        for _ in range(3):
            await self.cycle()
        assert not get(dut, "busy_o")
        for word, value in enumerate(program):
            put(dut, host_we_i=1, host_word_i=word, host_data_i=value)
            await RisingEdge(dut.clk)
            put(dut, host_we_i=0)
            await RisingEdge(dut.clk)
        for _ in range(3):
            await RisingEdge(dut.clk)
        put(dut, start_i=1)


@cocotb.test()
async def frames_end_at_any_time(dut):
    """Frames of random lengths with gaps and backpressure, and aborts, two in a row, too.

    Every packet is whole and right or has the mark; the next frame is right, in its exact time.
    """
    core = Core(dut)
    rng = core.rng
    await core.begin()
    total = int(os.environ["ABORT_COUNT"])
    for number in range(total):
        frame = rng.choice(core.frames)
        kind = rng.random() if core.borders else 1.0
        if kind < 0.1 and core.size > 1:
            core.send(frame[: rng.randrange(1, core.size)])
        elif kind < 0.2:  # what an abort leaves of it may be whole
            core.send(tuple(rng.choice(frame) for _ in range(rng.randint(1, 9))) + frame)
        else:
            core.send(frame)
        full = rng.random() < 0.4
        offer = 1.0 if full else rng.choice([0.1, 0.5, 0.9])
        take = 1.0 if full or rng.random() < 0.3 else rng.choice([0.1, 0.5, 0.9])
        if number % 3 == 0:
            await core.until_idle(offer=offer, take=take)
            continue
        period = int((core.size / offer + core.cycles) * rng.choice([1.0, 1.5])) + 20
        at = rng.randrange(period)
        if rng.random() < 0.2:  # close to the frame's last element
            at = max(0, int(core.size / offer) + rng.randint(-4, 12))
        for _ in range(at):
            await core.cycle(offer, take)
        if rng.random() < 0.2:  # close to the first beat
            offer = take = 1.0
            await core.until_idle()
            core.send(frame)
            while not core.due:
                await core.cycle()
            for _ in range(core.first - rng.randint(0, 15)):
                await core.cycle()
        elif rng.random() < 0.3:  # inside a frame
            core.send(frame)
            while not core.begun:
                await core.cycle(offer, max(take, 0.2))
        if rng.random() < 0.3:  # beats are going to stand
            take = 0.0
            for _ in range(rng.randint(0, 40)):
                await core.cycle(offer, take)
        await core.cycle(offer, take, abort=1)
        again = rng.choice([0, 1, 1, 2, 3, 5, 20])
        for now in range(1, rng.choice([1, 5, 40])):
            await core.cycle(offer, take, abort=int(now == again))
        if full:
            take = 1.0
        for _ in range(LIMIT):
            if not (core.before["abort"] or core.before["aborting"]):
                break
            await core.cycle(offer, max(take, 0.2))
        else:
            raise AssertionError("the abort does not end")
        assert get(dut, "frame_error_o") == core.errors
        if rng.random() < 0.5:
            await core.until_idle()
            core.send(rng.choice(core.frames))
            whole, timed = core.count["whole"], core.count["timed"]
            await core.until_idle()
            await core.cycle()
            assert core.count["whole"] == whole + 1
            assert core.count["timed"] == timed + 1
    await core.until_idle()
    for _ in range(3):
        await core.cycle()
    dut._log.info("%s", core.count)
    assert get(dut, "frame_error_o") == core.errors
    if total >= 100:
        rare = ("dropped", "given up") if core.borders and total >= 1000 else ()
        missing = [n for n in ("whole", "timed", "marked", "lost", *rare) if not core.count[n]]
        assert not missing, f"this never happened: {missing}"


@cocotb.test()
async def any_program_can_be_ended(dut):
    """Programs of random fields; each ends by itself or by an abort, and the legal one is right."""
    core = Core(dut)
    rng = core.rng
    await core.begin()
    running = 0
    for program in core.programs:
        await core.load(program)
        core.wild = True
        for _ in range(rng.choice([1, 1, 3])):
            core.send(rng.choice(core.frames))
        for _ in range(FETCH + core.size + rng.choice([0, 300, 1500])):
            await core.cycle(take=rng.choice([1.0, 0.5]))
        await core.sleep(rng.randint(1, 4000))
        for _ in range(rng.randint(0, 60)):
            await core.cycle(take=0.7)
        running += get(dut, "running_o")
        await core.abort()
        core.queue.clear()
        core.offered = False
        await core.load(core.legal)
        core.wild = False
        core.send(rng.choice(core.frames))
        timed = core.count["timed"]
        await core.until_idle()
        await core.cycle()
        assert core.count["timed"] == timed + 1
    print(core.count, running)
    if len(core.programs) >= 50:
        assert running and core.count["broken"] and core.count["marked"]


@cocotb.test()
async def a_wrong_program_ends_its_run(dut):
    """A nest without its opcode: broken_o once, and the run is over without anybody's help."""
    core = Core(dut)
    await core.begin()
    for number, program in enumerate(core.programs):
        await core.load(program)
        core.wild = True
        core.send(core.frames[0])
        for _ in range(LIMIT):
            await core.cycle()
            if core.count["broken"]:
                break
        assert core.count["broken"] == 1
        assert not core.count["whole"] - number
        put(dut, start_i=0)
        for _ in range(LEAST + 1):
            await core.cycle()
        assert not get(dut, "aborting_o") and not get(dut, "busy_o")
        assert core.count["broken"] == 1
        core.count["broken"] = 0
        await core.load(core.legal)
        core.wild = False
        core.send(core.frames[-1])
        await core.until_idle()
        await core.cycle()
        assert core.count["whole"] == core.count["timed"] == number + 1
