# SPDX-License-Identifier: Apache-2.0
"""Packets on the serial line, docs/board.md: bytes between delimiters, with a CRC-32.

HDL twin: hw/bramcast_bridge.sv.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

DELIMITER, ESCAPE, ESCAPED_DELIMITER, ESCAPED_ESCAPE = 0xC0, 0xDB, 0xDC, 0xDD
IDENTIFICATION = 0x534D5242  # the bytes "BRMS"
PROTOCOL = 1
TLAST = 1  # in a PUSH's address


class Command(IntEnum):
    """What a request asks for."""

    IDENTIFY = 0
    WRITE = 1
    READ = 2
    PUSH = 3
    PULL = 4
    SCATTER = 5


class Status(IntEnum):
    """What an answer says."""

    OKAY = 0
    DAMAGED = 1
    COMMAND = 2
    LENGTH = 3
    STALLED = 4
    SLVERR = 6
    DECERR = 7


@dataclass(frozen=True, slots=True)
class Request:
    """What the host sends.

    Attributes:
        sequence: 0..255; the bridge executes no two in a row with the same one.
        address: of the first word, a multiple of 4; of a PUSH: TLAST or 0.
        count: words, of a PUSH elements; of IDENTIFY 0.
        payload: whole 32-bit words.
    """

    sequence: int
    command: Command
    address: int = 0
    count: int = 0
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the bridge sends; ``words`` are those of its payload."""

    sequence: int
    status: int
    words: tuple[int, ...]


def encode(request: Request) -> bytes:
    """The bytes of a request on the line.

    >>> encode(Request(1, Command.READ, 0x40, 1)).hex(" ")
    'c0 01 02 01 00 40 00 00 00 46 45 5f 6e c0'
    >>> encode(Request(2, Command.WRITE, 0x60, 1, bytes.fromhex("c0db0000"))).hex(" ")
    'c0 02 01 01 00 60 00 00 00 db dc db dd 00 00 62 78 d8 9e c0'
    """
    head = struct.pack("<BBHI", request.sequence, request.command, request.count, request.address)
    return delimited(head + request.payload)


def delimited(body: bytes) -> bytes:
    """A body with its CRC-32, escaped, between delimiters.

    >>> delimited(bytes([0xC0, 0xDB, 0, 0])).hex(" ")
    'c0 db dc db dd 00 00 cb eb d5 d6 c0'
    """
    body += struct.pack("<I", zlib.crc32(body))
    body = body.replace(bytes([ESCAPE]), bytes([ESCAPE, ESCAPED_ESCAPE]))
    body = body.replace(bytes([DELIMITER]), bytes([ESCAPE, ESCAPED_DELIMITER]))
    return bytes([DELIMITER]) + body + bytes([DELIMITER])


class Splitter:
    """Cuts what comes over the line at its delimiters.

    >>> splitter = Splitter()
    >>> list(splitter.feed(bytes.fromhex("55 c0 07 00 00 00")))
    [None]
    >>> list(splitter.feed(bytes.fromhex("a5 e7 93 bc c0 c0")))
    [Answer(sequence=7, status=0, words=())]
    """

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Answer | None]:
        """For each packet that ends in ``data``, its answer; None if it is damaged."""
        for value in data:
            if value != DELIMITER:
                self._held.append(value)
            elif self._held:
                packet = bytes(self._held)
                self._held.clear()
                yield answer(packet)


def answer(packet: bytes) -> Answer | None:
    """The answer between two delimiters, None if it is damaged.

    >>> answer(bytes.fromhex("07 00 00 00 a4 e7 93 bc"))
    """
    body = bytearray()
    escaped = False
    for value in packet:
        if escaped:
            if value not in (ESCAPED_DELIMITER, ESCAPED_ESCAPE):
                return None
            body.append(DELIMITER if value == ESCAPED_DELIMITER else ESCAPE)
            escaped = False
        elif value == ESCAPE:
            escaped = True
        else:
            body.append(value)
    if escaped or len(body) < 8 or len(body) % 4:
        return None
    (crc,) = struct.unpack_from("<I", body, len(body) - 4)
    if zlib.crc32(body[:-4]) != crc:
        return None
    sequence, status, count = struct.unpack_from("<BBH", body)
    if len(body) != 8 + 4 * count:
        return None
    return Answer(sequence, status, struct.unpack_from(f"<{count}I", body, 4))
