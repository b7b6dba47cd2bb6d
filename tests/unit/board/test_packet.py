# SPDX-License-Identifier: Apache-2.0
"""docs/board.md and board/packet.py say the same bytes; here they are taken apart by hand."""

import random
import re

import pytest
from support import ROOT

from bramcast.board.packet import Answer, Command, Request, Splitter, Status, answer, encode

PAGE = (ROOT / "docs" / "board.md").read_text()
SENT = [bytes.fromhex(line) for line in re.findall(r"^    > ([0-9A-F ]+)$", PAGE, re.M)]
HEARD = [bytes.fromhex(line) for line in re.findall(r"^    < ([0-9A-F ]+)$", PAGE, re.M)]


def crc(data):
    """As docs/board.md tells it, bit by bit."""
    total = 0xFFFFFFFF
    for value in data:
        total ^= value
        for _ in range(8):
            total = total >> 1 ^ (0xEDB88320 if total & 1 else 0)
    return total ^ 0xFFFFFFFF


def unescaped(packet):
    """What stands between the delimiters, its CRC-32 taken off and found right."""
    assert packet[0] == packet[-1] == 0xC0 and 0xC0 not in packet[1:-1]
    body = packet[1:-1].replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
    assert crc(body[:-4]) == int.from_bytes(body[-4:], "little")
    return body[:-4]


def test_the_pages_example_is_what_the_host_sends():
    requests = [
        Request(1, Command.READ, 0x44, 1),
        Request(2, Command.WRITE, 0x68, 1, (0x0000DBC0).to_bytes(4, "little")),
        Request(3, Command.PUSH, 1, 3, bytes([5, 255, 7, 0])),
    ]
    assert [encode(request) for request in requests] == SENT
    bodies = [
        "01 02 0100 44000000",
        "02 01 0100 68000000 c0db0000",
        "03 03 0300 01000000 05ff0700",
    ]
    assert [unescaped(packet) for packet in SENT] == [bytes.fromhex(body) for body in bodies]
    assert f"is {crc(bytes.fromhex('0102010044000000')):08X}" in PAGE


def test_the_pages_example_is_what_the_host_understands():
    answers = [Answer(1, 0, (4,)), Answer(2, 0, (1,)), Answer(3, 0, (3,)), Answer(0, 1, ())]
    assert list(Splitter().feed(b"".join(HEARD))) == answers
    assert [unescaped(packet)[4:] for packet in HEARD[:2]] == [b"\4\0\0\0", b"\1\0\0\0"]


@pytest.mark.parametrize("kind", [Command, Status])
def test_the_pages_numbers_are_the_programs(kind):
    table = "command" if kind is Command else "status"
    rows = PAGE.split(f"| | {table} |")[1].split("\n\n")[0]
    found = {name: int(n) for n, name in re.findall(r"^\| (\d) \| \**([A-Z]+)", rows, re.M)}
    assert found == {member.name: member.value for member in kind}


def test_every_byte_passes():
    rng = random.Random(5)
    for count in range(40):
        words = [rng.choice([0xC0DBDCDD, 0xDBDBC0C0, rng.getrandbits(32)]) for _ in range(count)]
        head = bytes([count, 0, count, 0])
        body = head + b"".join(word.to_bytes(4, "little") for word in words)
        whole = body + crc(body).to_bytes(4, "little")
        line = whole.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        got = list(Splitter().feed(b"\xc0" + line + b"\xc0\xc0"))
        assert got == [Answer(count, 0, tuple(words))]
        payload = body[4:]
        sent = encode(Request(count, Command.WRITE, 0xDBC0, count, payload))
        want = bytes([count, 1, count, 0, 0xC0, 0xDB, 0, 0]) + payload
        assert unescaped(sent) == want


def test_no_damage_passes():
    rng = random.Random(6)
    good = HEARD[0][1:-1]
    assert answer(good) == Answer(1, 0, (4,))
    for at in range(len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            assert answer(bytes(bad)) is None
        assert answer(good[:at]) is None
        assert answer(good[:at] + good[at + 1 :]) is None
        assert answer(good[:at] + bytes([rng.getrandbits(8)]) + good[at:]) is None
    for wrong in (b"\xdb", b"\xdb\xc1" + good, good + b"\xdb", b""):
        assert answer(wrong) is None


def test_a_count_that_does_not_fit_is_damage():
    body = bytes([1, 0, 2, 0, 4, 0, 0, 0])
    assert answer(body + crc(body).to_bytes(4, "little")) is None
