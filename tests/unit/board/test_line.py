# SPDX-License-Identifier: Apache-2.0
"""The host's end of the line against a bridge in Python, its bytes damaged on the way."""

import random
import struct
import sys
import zlib

import numpy as np
import pytest

from bramcast.board import line as line_module
from bramcast.board.line import Line, open_port
from bramcast.pack.bundle.errors import DeviceError, InputError, ToolError

CORE = 0x1000  # bytes that can be written; behind them SLVERR, from twice as many DECERR


class Bridge:
    """docs/board.md once more: what a port with a bridge behind it answers.

    Attributes:
        damage: called with what passes, in both directions.
        executed: the requests, without those that were sent again.
    """

    def __init__(self, words=16, bits=8, damage=lambda data: data):
        self.words, self.bits, self.damage = words, bits, damage
        self.memory, self.executed = {}, []
        self.pushed, self.results = [], []
        self.room = None  # elements that the core still takes; None: all
        self.identity = [0x534D5242, words << 16 | 1, 24 << 8 | bits]
        self._held, self._out = bytearray(), bytearray()
        self._last = None

    def close(self):
        self.closed = True

    def read(self, size):
        found = bytes(self._out[:size])
        del self._out[:size]
        return found

    def write(self, data):
        for value in self.damage(data):
            if value != 0xC0:
                self._held.append(value)
            elif self._held:
                packet, self._held = bytes(self._held), bytearray()
                self._out += self.damage(self._answer(packet))

    def _answer(self, packet):
        body = packet.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
        if len(body) < 12 or len(body) % 4 or zlib.crc32(body) != 0x2144DF1C:
            return self._packet(0, 1, [])
        sequence, command, count, address = struct.unpack_from("<BBHI", body)
        if self._last is None or self._last[0] != sequence or command == 0:
            payload = body[8:-4]
            self.executed.append((command, address, count, payload))
            status, words = self._execute(command, address, count, payload)
            self._last = (sequence, self._packet(sequence, status, words))
        return self._last[1]

    def _packet(self, sequence, status, words):
        body = struct.pack(f"<BBH{len(words)}I", sequence, status, len(words), *words)
        body += struct.pack("<I", zlib.crc32(body))
        return b"\xc0" + body.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"

    def _execute(self, command, address, count, payload):
        words = struct.unpack(f"<{len(payload) // 4}I", payload)
        if command == 0:
            return 0, self.identity
        assert 0 < count <= self.words * (4 if command == 3 else 1)
        if command in (1, 5):
            pairs = list(zip(words[::2], words[1::2], strict=True)) if command == 5 else None
            pairs = pairs or [(address + 4 * i, word) for i, word in enumerate(words)]
            for number, (at, word) in enumerate(pairs):
                if at >= CORE:
                    return 7 if at >= 2 * CORE else 6, [2 * number + 1 if command == 5 else number]
                self.memory[at] = word
            return 0, [count]
        if command == 2:
            places = range(address, address + 4 * count, 4)
            good = [at for at in places if at < CORE]
            return (0 if len(good) == count else 6), [self.memory.get(at, 0) for at in good]
        if command == 3:
            room = count if self.room is None else min(count, self.room)
            if self.room is not None:
                self.room -= room
            size = self.bits // 8
            elements = [payload[size * i : size * i + size] for i in range(room)]
            last = [0] * (count - 1) + [address & 1]
            self.pushed += zip((int.from_bytes(e, "little") for e in elements), last, strict=False)
            return (0 if room == count else 4), [room]
        beats = []
        while self.results and len(beats) < count and (not beats or not beats[-1][1]):
            beats.append(self.results.pop(0))
        trailer = beats[-1][1] << 31 | beats[-1][2] if beats else 0
        return 0, [data & 0xFFFFFFFF for data, _, _ in beats] + [trailer]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(line_module, "FIRST_WAIT", 0.005)
    monkeypatch.setattr(line_module, "SILENCE", 0.0)
    monkeypatch.setattr(line_module, "NO_PROGRESS", 0.05)


def line_to(bridge):
    return Line(bridge, "port", 10_000_000)


def damaging(seed, rate):
    rng = random.Random(seed)

    def damage(data):
        made = bytearray()
        for value in data:
            kind = rng.random() / rate
            if kind < 1 / 3:
                made.append(value ^ 1 << rng.randrange(8))
            elif kind < 2 / 3:
                made += bytes([value, value])
            elif kind > 1:
                made.append(value)
        return bytes(made)

    return damage


def traffic(bridge):
    """Some of everything; what must be in memory, on the stream, and what came back."""
    rng = random.Random(1)
    line = line_to(bridge)
    accesses = [(4 * i, rng.getrandbits(32)) for i in range(100)]
    line.write_many(accesses)  # runs
    holes = [(0x400 + 16 * i + 4 * j, rng.getrandbits(32)) for i in range(9) for j in range(3)]
    line.write_many(holes)
    line.write(0x800, -1)
    want = {at: value & 0xFFFFFFFF for at, value in [*accesses, *holes, (0x800, -1)]}
    assert bridge.memory == want
    assert line.read_many([at for at, _ in [*holes, *accesses]]) == [
        value for _, value in [*holes, *accesses]
    ]
    assert line.read(0x800) == 0xFFFFFFFF
    frame = [rng.randrange(-(1 << bridge.bits - 1), 1 << bridge.bits - 1) for _ in range(203)]
    line.send(frame)
    line.send(frame[:1])
    low = [element & (1 << bridge.bits) - 1 for element in frame]
    assert bridge.pushed == [*zip(low, [0] * 202 + [1], strict=True), (low[0], 1)]
    beats = [rng.randrange(-(2**31), 2**31) for _ in range(77)]
    for cut in (0, 1):
        bridge.results += [(b, int(i == 76), cut << 16 | 5 + i) for i, b in enumerate(beats)]
        answer = line.receive()
        assert answer.beats == tuple(beats) and answer.top == 81 and answer.cut == bool(cut)
    return line


@pytest.mark.parametrize("words, bits", [(4, 8), (16, 16), (256, 8)])
def test_a_good_line_carries_everything_once(words, bits, monkeypatch):
    monkeypatch.setattr(line_module, "FIRST_WAIT", 60.0)  # however busy this machine is
    bridge = Bridge(words, bits)
    with traffic(bridge) as line:
        assert line.repeated == 0 and line.identity.words == words
    assert bridge.closed


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rate", [0.001, 0.02])
def test_a_bad_line_carries_everything_once(seed, rate):
    traffic(Bridge(64, 8, damaging(seed, rate)))


def test_images_with_gaps_take_few_packets():
    bridge = Bridge(256)
    line = line_to(bridge)
    line.write_many([(16 * i + 4 * j, 7) for i in range(50) for j in range(3)])
    assert {command for command, *_ in bridge.executed[1:]} == {5}
    assert len(bridge.executed) < 20


def test_what_the_core_refuses_is_told():
    line = line_to(Bridge())
    with pytest.raises(DeviceError, match=r"port: the core refused to write 0x1000 \(SLVERR\)"):
        line.write_many([(at, 0) for at in range(0xF80, 0x1010, 4)])
    with pytest.raises(DeviceError, match=r"refused to write 0x2000 \(DECERR\)"):
        line.write_many([(0x10, 1), (0x2000, 2), (0x20, 3)])
    with pytest.raises(DeviceError, match=r"refused to read 0x1000 \(SLVERR\)"):
        line.read_many([0xFF8, 0xFFC, 0x1000, 0x1004])


def test_a_core_that_takes_no_element_is_told():
    bridge = Bridge()
    line = line_to(bridge)
    bridge.room = 5
    with pytest.raises(DeviceError, match="has taken no element for 0.05 s; is it started"):
        line.send(range(9))
    assert bridge.pushed == [(i, 0) for i in range(5)]


def test_a_core_that_sends_nothing_is_told():
    with pytest.raises(DeviceError, match="has sent no result for 0.05 s"):
        line_to(Bridge()).receive()


def test_silence_is_told():
    with pytest.raises(DeviceError, match="port: no answer at 10,000,000 baud; is the board"):
        line_to(Bridge(damage=lambda data: b""))


def test_a_wrong_baud_rate_is_told():
    with pytest.raises(DeviceError, match="port: garbled answers only at"):
        line_to(Bridge(damage=lambda data: data.replace(b"\0", b"\1")))


@pytest.mark.parametrize(
    "words, message",
    [
        ([1, 2, 3], "no bramcast bridge"),
        ([0x534D5242], "no bramcast bridge"),
        ([0x534D5242, 16 << 16 | 2, 8], "speaks protocol 2, this program 1"),
    ],
)
def test_something_else_is_told(words, message):
    bridge = Bridge()
    bridge.identity = words
    with pytest.raises(DeviceError, match=message):
        line_to(bridge)


def test_a_port_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match=r"none: can't be opened at 9,600 baud: .*No such file"):
        open_port(str(tmp_path / "none"), 9600)


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(ToolError, match=r"pip install '\.\[board\]'"):
        open_port("/dev/ttyUSB0", 9600)


def test_numbers_of_numpy_are_taken():
    bridge = Bridge()
    line = line_to(bridge)
    line.write_many([(np.int64(4), np.uint32(0xFFFFFFFF))])
    assert bridge.memory == {4: 0xFFFFFFFF}
