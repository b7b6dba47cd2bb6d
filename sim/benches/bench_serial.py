# SPDX-License-Identifier: Apache-2.0
"""cocotb benches of what drives a core over a serial line, and of what a board has around it.

tests/cosim/test_serial.py builds a module and runs its bench. The packets are made here from
docs/board.md, not by the host's own code.
"""

import random
import struct
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from bramcast.sim.benches.unit_benches import get, play, put, seeded_random, start

LIMIT = 20_000  # cycles that an answer may take


# ---------------------------------------------------------------- uart


def line_of(value: int, divisor: int, stop: int = 1) -> list[int]:
    """The line's level in each cycle of a byte."""
    bits = [0, *(value >> i & 1 for i in range(8)), stop]
    return [bit for bit in bits for _ in range(divisor)]


@cocotb.test()
async def uart_sends_start_data_stop(dut):
    """Every cycle of tx, bytes with and without pauses between them."""
    rng = seeded_random()
    divisor = int(dut.DIVISOR.value)
    await start(dut, rx=1, send_i=0, byte_i=0)
    expected, seen = [], []
    values = [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, *(rng.getrandbits(8) for _ in range(20))]
    for value in values:
        pause = rng.choice([0, 0, 1, 5, divisor])
        seen += await play(dut, [{"send_i": 0}] * pause, ["tx", "ready_o"])
        expected += [(1, 1)] * pause
        seen += await play(dut, [{"send_i": 1, "byte_i": value}], ["tx", "ready_o"])
        expected.append((1, 1))
        others = [{"send_i": rng.getrandbits(1), "byte_i": rng.getrandbits(8)} for _ in range(9)]
        cycles = [others[i % 9] for i in range(10 * divisor - 1)] + [{"send_i": 0}]
        seen += await play(dut, cycles, ["tx", "ready_o"])
        expected += [(level, 0) for level in line_of(value, divisor)]
    assert [(s["tx"], s["ready_o"]) for s in seen] == expected


@cocotb.test()
async def uart_receives_what_is_on_the_line(dut):
    """Bytes with and without pauses, glitches, bad stop bits, breaks, clocks that differ."""
    rng = seeded_random()
    divisor = int(dut.DIVISOR.value)
    await start(dut, rx=1, send_i=0)
    levels = [1] * 8
    expected: list[tuple[int, int | None]] = []
    slack = divisor // 25  # a byte's last bit is read 9.5 bits behind its beginning
    for _ in range(200):
        kind = rng.random()
        value = rng.getrandbits(8)
        if kind < 0.75:
            levels += line_of(value, rng.randint(divisor - slack, divisor + slack))
            expected.append((0, value))
        elif kind < 0.85 and divisor >= 8:
            levels += [1] * divisor + [0] * (divisor // 2 - 2) + [1] * (2 * divisor)
        elif kind < 0.95:  # no stop bit: one error, and nothing until the line is high again
            levels += line_of(value, divisor, 0) + [0] * rng.randrange(30 * divisor)
            levels += [1] * (2 * divisor)
            expected.append((1, None))
        else:
            levels += [1] * rng.randrange(5 * divisor)
    levels += [1] * (2 * divisor)
    outputs = ["valid_o", "error_o", "byte_o"]
    seen = await play(dut, [{"rx": level} for level in levels], outputs)
    got = [(s["error_o"], None if s["error_o"] else s["byte_o"]) for s in seen[4:] if s["valid_o"]]
    assert got == expected


# ---------------------------------------------------------------- bridge

IDENTIFY, WRITE, READ, PUSH, PULL, SCATTER = range(6)
OKAY, DAMAGED, COMMAND, LENGTH, STALLED, SLVERR, DECERR = 0, 1, 2, 3, 4, 6, 7
SLVERR_FROM, DECERR_FROM = 0x400, 0x800  # where the bench's slave refuses


def escaped(body: bytes) -> bytes:
    table = {0xC0: b"\xdb\xdc", 0xDB: b"\xdb\xdd"}
    return b"".join(table.get(value, bytes([value])) for value in body)


def summed(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


def packet(sequence: int, command: int, address: int, count: int, payload: bytes = b"") -> bytes:
    head = struct.pack("<BBHI", sequence, command, count, address)
    return b"\xc0" + escaped(summed(head + payload)) + b"\xc0"


def answer_of(sequence: int, status: int, words: list[int]) -> bytes:
    head = struct.pack("<BBH", sequence, status, len(words))
    return b"\xc0" + escaped(summed(head + struct.pack(f"<{len(words)}I", *words))) + b"\xc0"


def words_of(payload: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(payload) // 4}I", payload))


@dataclass
class Surroundings:
    """Everything around a bridge, a cycle at a time: bytes, a slave, two streams."""

    dut: Any
    rng: random.Random
    memory: dict[int, int] = field(default_factory=dict)
    writes: list[tuple[int, int]] = field(default_factory=list)
    reads: list[int | None] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)  # elements and TLAST on s_axis
    results: deque[tuple[int, int, int]] = field(default_factory=deque)  # data, last, user
    out: bytearray = field(default_factory=bytearray)
    open_: bool = True  # the sink of s_axis takes elements
    pace: int = 0
    offered: bool = False
    aw: int | None = None
    w: int | None = None
    b: int | None = None
    ar: int | None = None
    held: dict[str, object] = field(default_factory=dict)

    async def cycle(self, byte: int | None = None, error: int = 0) -> None:
        rng, dut = self.rng, self.dut
        self.offered = self.offered or bool(self.results and rng.random() < 0.5)
        data, last, user = self.results[0] if self.offered else (rng.getrandbits(32), 0, 0)
        self.pace = max(0, self.pace - 1)
        b, r = self.b is not None, self.ar is not None and rng.random() < 0.4
        inputs = {
            "rx_valid_i": int(byte is not None),
            "rx_error_i": error,
            "rx_byte_i": rng.getrandbits(8) if byte is None else byte,
            "tx_ready_i": int(self.pace == 0),
            "m_axil_awready": int(self.aw is None and rng.random() < 0.4),
            "m_axil_wready": int(self.w is None and rng.random() < 0.4),
            "m_axil_bvalid": int(b),
            "m_axil_bresp": self.b or 0,
            "m_axil_arready": int(self.ar is None and rng.random() < 0.4),
            "m_axil_rvalid": int(r),
            "m_axil_rresp": _response(self.ar) if r else rng.getrandbits(2),
            "m_axil_rdata": self.memory.get(self.ar or 0, 0) if r else rng.getrandbits(32),
            "s_axis_tready": int(self.open_ and rng.random() < 0.5),
            "m_axis_tvalid": int(self.offered),
            "m_axis_tdata": data,
            "m_axis_tlast": last,
            "m_axis_tuser": user,
        }
        put(dut, **inputs)
        await RisingEdge(dut.clk)
        self._hold("m_axil_awvalid", "m_axil_awready", ["m_axil_awaddr"], inputs)
        self._hold("m_axil_wvalid", "m_axil_wready", ["m_axil_wdata"], inputs)
        self._hold("m_axil_arvalid", "m_axil_arready", ["m_axil_araddr"], inputs)
        self._hold("s_axis_tvalid", "s_axis_tready", ["s_axis_tdata", "s_axis_tlast"], inputs)
        if get(dut, "tx_send_o") and inputs["tx_ready_i"]:
            self.out.append(int(get(dut, "tx_byte_o")))
            self.pace = rng.choice([4, 4, 5, 20])
        if b and get(dut, "m_axil_bready"):
            self.b = None
        elif self.aw is not None and self.w is not None and rng.random() < 0.4:
            self.writes.append((self.aw, self.w))
            self.b = _response(self.aw)
            if not self.b:
                self.memory[self.aw] = self.w
            self.aw = self.w = None
        if get(dut, "m_axil_awvalid") and inputs["m_axil_awready"]:
            self.aw = get(dut, "m_axil_awaddr")
        if get(dut, "m_axil_wvalid") and inputs["m_axil_wready"]:
            self.w = get(dut, "m_axil_wdata")
        if r and get(dut, "m_axil_rready"):
            self.reads.append(self.ar)
            self.ar = None
        if get(dut, "m_axil_arvalid") and inputs["m_axil_arready"]:
            self.ar = get(dut, "m_axil_araddr")
        if get(dut, "s_axis_tvalid") and inputs["s_axis_tready"]:
            self.sent.append((get(dut, "s_axis_tdata"), get(dut, "s_axis_tlast")))
        if self.offered and get(dut, "m_axis_tready"):
            self.results.popleft()
            self.offered = False

    def _hold(self, valid: str, ready: str, payload: list[str], inputs: dict[str, int]) -> None:
        """What is offered and not taken stays as it is."""
        now = tuple(get(self.dut, name) for name in payload) if get(self.dut, valid) else None
        if self.held.get(valid) is not None:
            assert now == self.held[valid], f"{valid}: {now} behind {self.held[valid]}"
        self.held[valid] = None if now is None or inputs[ready] else now

    def forget(self) -> None:
        """What has happened so far."""
        self.writes.clear()
        self.reads.clear()
        self.sent.clear()

    async def line(self, data: bytes) -> None:
        """Bytes come in, with pauses."""
        for value in data:
            for _ in range(self.rng.choice([4, 4, 5, 9])):
                await self.cycle()
            await self.cycle(value)

    async def settle(self, ends: int = 1) -> bytes:
        """What has gone out, when so many answers and a while have passed."""
        for _ in range(LIMIT):
            if self.out.count(0xC0) >= 2 * ends:
                break
            await self.cycle()
        for _ in range(8):
            await self.cycle()
        found = bytes(self.out)
        self.out.clear()
        answers = [part for part in found.split(b"\xc0") if part]
        if answers:
            status = answers[-1].replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")[1]
            assert get(self.dut, "error_o") == (status != OKAY)
        return found

    async def ask(self, request: bytes) -> bytes:
        await self.line(request)
        return await self.settle()


def _response(address: int | None) -> int:
    address = address or 0
    return 3 if address >= DECERR_FROM else 2 if address >= SLVERR_FROM else 0


async def _begin(dut) -> Surroundings:
    around = Surroundings(dut, seeded_random())
    idle = ["rx_valid_i", "tx_ready_i", "m_axil_awready", "m_axil_wready", "m_axil_bvalid"]
    idle += ["m_axil_arready", "m_axil_rvalid", "s_axis_tready", "m_axis_tvalid"]
    await start(dut, **dict.fromkeys(idle, 0))
    return around


@cocotb.test()
async def bridge_executes_what_docs_board_says(dut):
    """Every command, its corners and refusals, each answer to the byte."""
    around = await _begin(dut)
    rng = around.rng
    most, bits = int(dut.PAYLOAD.value), int(dut.DATA_BITS.value)
    address_bits, per_word = int(dut.AXI_ADDRESS_BITS.value), 32 // bits
    identity = [0x534D5242, most << 16 | 1, address_bits << 8 | bits]
    assert await around.ask(packet(9, IDENTIFY, 0, 0)) == answer_of(9, OKAY, identity)
    number = 0

    async def check(
        command: int, address: int, count: int, payload: bytes, status: int, words: list[int]
    ) -> None:
        nonlocal number
        number = (number + 1) % 256
        got = await around.ask(packet(number, command, address, count, payload))
        assert got == answer_of(number, status, words), (command, hex(address), count)

    edges = [0xC0, 0xDB, 0xDC, 0xDD, 0xC0C0C0C0, 0xDBDBDBDB, 0xDCDBC0DD]
    for _ in range(60):
        count = rng.choice([1, 2, most, rng.randint(1, most)])
        values = [rng.choice([*edges, rng.getrandbits(32)]) for _ in range(count)]
        address = 4 * rng.randrange(SLVERR_FROM // 4 - most)
        payload = struct.pack(f"<{count}I", *values)
        places = [address + 4 * i for i in range(count)]
        kind = rng.randrange(5)
        around.forget()
        if kind == 0:
            await check(WRITE, address, count, payload, OKAY, [count])
            assert around.writes == list(zip(places, values, strict=True))
        elif kind == 1:
            await check(READ, address, count, b"", OKAY, [around.memory.get(a, 0) for a in places])
            assert around.reads == places
        elif kind == 2:
            pairs = [(4 * rng.randrange(SLVERR_FROM // 4), v) for v in values[: most // 2]]
            flat = [number for pair in pairs for number in pair]
            payload = struct.pack(f"<{len(flat)}I", *flat)
            await check(SCATTER, rng.getrandbits(32), len(flat), payload, OKAY, [len(flat)])
            assert around.writes == pairs
        elif kind == 3:
            count = rng.choice([1, per_word, most * per_word, rng.randint(1, most * per_word)])
            payload = rng.randbytes(4 * -(-count // per_word))
            last = rng.getrandbits(1)
            await check(PUSH, last, count, payload, OKAY, [count])
            for _ in range(40):
                await around.cycle()
            size = bits // 8
            elements = [
                int.from_bytes(payload[size * i : size * i + size], "little") for i in range(count)
            ]
            lasts = [0] * (count - 1) + [last]
            assert around.sent == list(zip(elements, lasts, strict=True))
        else:
            beats = [(v, 0, rng.getrandbits(17)) for v in values[: most - 1]]
            cut = rng.randint(1, len(beats))
            ended = rng.getrandbits(1)
            beats[cut - 1] = (*beats[cut - 1][:1], ended, beats[cut - 1][2])
            around.results.extend(beats[:cut])
            trailer = ended << 31 | beats[cut - 1][2]
            wanted = cut if rng.getrandbits(1) and not ended else most - 1
            await check(PULL, 0, wanted, b"", OKAY, [v for v, _, _ in beats[:cut]] + [trailer])
            assert not around.results
    await check(PULL, 0, 3, b"", OKAY, [0])  # nothing is there
    # What the slave refuses ends a command; what is done is told.
    edge, four = SLVERR_FROM - 8, struct.pack("<4I", 1, 2, 3, 4)
    around.forget()
    await check(WRITE, edge, 4, four, SLVERR, [2])
    assert around.writes == [(edge, 1), (edge + 4, 2), (SLVERR_FROM, 3)]
    await check(READ, edge, 4, b"", SLVERR, [1, 2])
    await check(WRITE, DECERR_FROM, 4, four, DECERR, [0])
    await check(READ, DECERR_FROM, 4, b"", DECERR, [])
    await check(SCATTER, 0, 4, struct.pack("<4I", edge, 7, SLVERR_FROM, 8), SLVERR, [3])
    around.forget()
    await check(WRITE, 1 << address_bits, 1, four[:4], DECERR, [0])
    await check(READ, 1 << 31, 1, b"", DECERR, [])
    await check(SCATTER, 0, 2, struct.pack("<2I", 1 << address_bits, 8), DECERR, [1])
    assert not around.writes and not around.reads
    # Lengths that do not fit, unknown commands.
    for command, count, words in [
        (WRITE, 2, 1), (WRITE, 1, 2), (WRITE, 0, 0), (WRITE, most + 1, most + 1), (READ, 1, 1),
        (READ, 0, 0), (READ, most + 1, 0), (PULL, most, 0), (PULL, 0, 0), (PUSH, 0, 0),
        (PUSH, per_word + 1, 1), (PUSH, most * per_word + 1, most + 1), (IDENTIFY, 1, 0),
        (IDENTIFY, 0, 1), (SCATTER, 1, 1), (SCATTER, 3, 3), (WRITE, 2, most + 9),
    ]:  # fmt: skip
        await check(command, 0, count, rng.randbytes(4 * words), LENGTH, [])
    for command in (6, 7, 0x80, 255):
        await check(command, 0, 1, b"", COMMAND, [])
    assert not around.writes and not around.reads
    # A sink that takes nothing: the element that stands there counts as sent, and stays.
    around.open_ = False
    around.sent.clear()
    await check(PUSH, 1, 3, bytes([1, 0, 2, 0, 3, 0, 0, 0]) if bits == 16 else b"\1\2\3\0", 4, [1])
    identity[2] |= 1 << 31
    number = 40
    assert await around.ask(packet(40, IDENTIFY, 0, 0)) == answer_of(40, OKAY, identity)
    await check(PUSH, 1, 2, struct.pack("<HH", 2, 3) if bits == 16 else b"\2\3\0\0", STALLED, [0])
    around.open_ = True
    await check(PUSH, 1, 2, struct.pack("<HH", 2, 3) if bits == 16 else b"\2\3\0\0", OKAY, [2])
    for _ in range(40):
        await around.cycle()
    assert around.sent == [(1, 0), (2, 0), (3, 1)]


@cocotb.test()
async def bridge_executes_nothing_that_is_damaged(dut):
    """Flipped, lost, doubled bytes, bad stop bits, noise between packets; then all is well."""
    around = await _begin(dut)
    rng = around.rng
    most = int(dut.PAYLOAD.value)
    expected: list[tuple[int, int]] = []
    for number in range(48):
        count = rng.randint(1, most)
        values = [rng.getrandbits(32) for _ in range(count)]
        whole = packet(number, WRITE, 0x40, count, struct.pack(f"<{count}I", *values))
        damaged = bytearray(whole)
        at = rng.randrange(1, len(whole) - 1)
        kind = rng.randrange(6)
        error = None
        if kind == 0:
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del damaged[at]
        elif kind == 2:
            damaged.insert(at, damaged[at])
        elif kind == 3:
            damaged = damaged[:at] + damaged[-1:]
        elif kind == 4:
            at = max(at, 2)  # not beside the first one
            damaged[at:at] = b"\xc0"
        else:
            error = at
        for place, value in enumerate(damaged):
            for _ in range(rng.choice([4, 5])):
                await around.cycle()
            await around.cycle(value, int(place == error))
        # What answers there are say DAMAGED, or the damage left a packet as it was.
        for _ in range(600):
            await around.cycle()
        for part in bytes(around.out).split(b"\xc0"):
            assert not part or part == answer_of(0, DAMAGED, [])[1:-1]
        around.out.clear()
        assert around.writes == expected
        await around.line(b"\xc0")  # the line's other end gives up waiting
        for _ in range(600):
            await around.cycle()
        around.out.clear()
        assert await around.ask(whole) == answer_of(number, OKAY, [count])
        expected += [(0x40 + 4 * i, value) for i, value in enumerate(values)]
        assert around.writes == expected


@cocotb.test()
async def bridge_repeats_an_answer(dut):
    """The same sequence number again: the same answer, and nothing is executed twice."""
    around = await _begin(dut)
    rng = around.rng
    most = int(dut.PAYLOAD.value)
    for number in range(1, 25):
        count = rng.randint(1, most)
        values = [rng.getrandbits(32) for _ in range(count)]
        around.memory = {0x20 + 4 * i: v for i, v in enumerate(values)}
        request, answer = packet(number, READ, 0x20, count), answer_of(number, OKAY, values)
        if rng.getrandbits(1):
            payload = struct.pack(f"<{count}I", *values)
            request = packet(number, WRITE, 0x80, count, payload)
            answer = answer_of(number, OKAY, [count])
        assert await around.ask(request) == answer
        done = len(around.writes), len(around.reads)
        for _ in range(rng.randrange(4)):
            if rng.getrandbits(1):  # something damaged between
                bad = bytearray(packet(number + 1, WRITE, 0, most, rng.randbytes(4 * most)))
                bad[-3] ^= 0x04
                for _ in range(8):
                    await around.cycle()
                await around.line(bytes(bad))
                assert DAMAGED in (await around.settle())[2:3]
            around.memory.clear()
            assert await around.ask(request) == answer
        assert (len(around.writes), len(around.reads)) == done
        if rng.random() < 0.3:  # bytes while it is busy are lost, up to the next delimiter
            await around.line(request + rng.randbytes(3).replace(b"\xc0", b"\xc1"))
            await around.settle()
            await around.line(b"\xc0")
            assert not around.out
            assert await around.ask(request) == answer
    # IDENTIFY forgets: the same number is executed anew behind it.
    fresh = 0x5000_0000  # no number of words
    around.memory = {0x20: fresh}
    assert await around.ask(packet(24, READ, 0x20, 1)) != answer_of(24, OKAY, [fresh])
    await around.ask(packet(24, IDENTIFY, 0, 0))
    assert await around.ask(packet(24, READ, 0x20, 1)) == answer_of(24, OKAY, [fresh])


# ---------------------------------------------------------------- board


@cocotb.test()
async def board_resets_and_lights(dut):
    """Resets at power-on and by awake_i at any time; lamps for every class, busy ones held."""
    rng = seeded_random()
    lamps, power_on, hold = (int(getattr(dut, n).value) for n in ("LAMPS", "POWER_ON", "HOLD"))
    put(dut, awake_i=0, class_i=0xFFFF, busy_i=0, error_i=0)
    Clock(dut.clk, 10, "ns", impl="gpi").start()
    asleep, lit = 0, 0  # cycles since awake_i was low the last time, that busy stays lit
    awake = 0
    for cycle in range(20 * (power_on + hold)):
        if cycle >= 20 * power_on:
            awake = 1
        elif rng.random() < (0.5 if cycle < 8 else 0.3 / power_on):
            awake = 1 - awake
        inputs = {"class_i": rng.getrandbits(16), "error_i": rng.getrandbits(1)}
        inputs |= {"busy_i": int(rng.random() < 0.5 / hold), "awake_i": awake}
        put(dut, **inputs)
        await RisingEdge(dut.clk)
        reset, shown = get(dut, "rst_o"), get(dut, "lamp_o")
        # Two edges of bramcast_reset, one that sees the count's end.
        assert reset == int(asleep < power_on + 3), (cycle, asleep)
        if not reset:
            low = inputs["class_i"] & ((1 << (lamps - 2)) - 1)
            assert shown == inputs["error_i"] << (lamps - 1) | (lit > 0) << (lamps - 2) | low
        asleep = asleep + 1 if awake else 0
        lit = 0 if reset else hold - 1 if inputs["busy_i"] else max(0, lit - 1)
    assert asleep > power_on + hold
