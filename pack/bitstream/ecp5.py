# SPDX-License-Identifier: Apache-2.0
"""Lattice ECP5: block RAMs in .bit files and in nextpnr's text (.config).

A block (DP16KD) has 2,048 values of 9 bits. Ports of 9, 18 and 36 bits take 1, 2 and 4 of them a
word; narrower ones leave bit 8 of every value alone. In a .bit file each command LSC_EBR_WRITE
brings the values of one or more blocks, most significant bit first, and a CRC over all bytes since
the last one (Lattice, FPGA-TN-02039; Project Trellis, "Bitstream format").
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bramcast.pack.bitstream.blocks import Contents, Family, FileFormat, Shape
from bramcast.pack.bundle.errors import InputError

VALUES, VALUE_BITS = 2048, 9
BYTES = VALUES * VALUE_BITS // 8


def _shape(width: int) -> Shape:
    lane = np.arange(width)[:, None]
    if width >= VALUE_BITS:
        return Shape(np.arange(VALUES * VALUE_BITS // width) * width + lane)
    bit = np.arange(VALUES * 8 // width) * width + lane
    return Shape(bit // 8 * VALUE_BITS + bit % 8)


ECP5 = Family(
    name="ECP5",
    block="DP16KD",
    bits=VALUES * VALUE_BITS,
    shapes=tuple(_shape(width) for width in (36, 18, 9, 4, 2, 1)),
)

# ------------------------------------------------------------------ .bit

_PREAMBLE = b"\xff\xff\xbd\xb3"
# The preamble, and VERIFY_ID with the number of an ECP5.
_START = re.compile(
    _PREAMBLE + rb".{,64}\xe2\0\0\0[\x01\x21\x41\x81]\x11[\x10\x20\x30]\x43", re.DOTALL
)
# LSC_EBR_ADDRESS with a block's number and the first value in it; LSC_EBR_WRITE with flags and
# how many groups of 8 values follow.
_COMMANDS = re.compile(rb"\xf6\0\0\0\0(...)\xb2(.)(..)", re.DOTALL)
_CRC_FOLLOWS = 0x80


@dataclass(frozen=True, slots=True)
class _Write:
    """A pair of commands at ``start``: data of whole blocks from ``data`` to ``end``, a CRC."""

    start: int
    data: int
    end: int
    first: int  # the first block's number

    @property
    def blocks(self) -> int:
        return (self.end - self.data) // BYTES


def _writes(path: Path, content: bytes) -> list[_Write]:
    """All commands that write block RAMs.

    Raises:
        InputError: one is cut off, or its CRC does not fit.
    """
    writes: list[_Write] = []
    place = content.find(_PREAMBLE)
    while match := _COMMANDS.search(content, place):
        place = match.start() + 1
        address, groups = int.from_bytes(match[1], "big"), int.from_bytes(match[3], "big")
        if not groups or groups % (VALUES // 8) or address % VALUES:
            continue  # configuration that looks like it
        number, end = address // VALUES, match.end() + groups * VALUE_BITS
        if not match[2][0] & _CRC_FOLLOWS:
            raise InputError(f"{path}: block RAM {number} has no CRC of its own, which is unknown")
        if end + 2 > len(content):
            raise InputError(f"{path}: ends within block RAM {number}: it is cut off")
        if _crc(content[match.start() : end]) != content[end : end + 2]:
            raise InputError(
                f"{path}: the CRC of block RAM {number} does not fit its data: the file is damaged"
            )
        writes.append(_Write(match.start(), match.end(), end, number))
        place = end + 2
    return writes


def _crc(data: bytes) -> bytes:
    """CRC-16 with polynomial 0x8005, no bit reversed, from 0."""
    register = 0
    for byte in data:
        register = (register << 8 & 0xFF00) ^ _CRC_TABLE[register >> 8 ^ byte]
    return register.to_bytes(2, "big")


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        register = byte << 8
        for _ in range(8):
            register = (register << 1) ^ (0x18005 if register & 0x8000 else 0)
        table.append(register)
    return table


_CRC_TABLE = _crc_table()


def _is_bit(content: bytes) -> bool:
    return bool(_START.search(content, 0, 1 << 16))


def _read_bit(path: Path, content: bytes) -> Contents:
    names, parts = [], [np.zeros((0, ECP5.bits), np.uint8)]
    for write in _writes(path, content):
        names += [f"block RAM {write.first + i}" for i in range(write.blocks)]
        raw = np.frombuffer(content, np.uint8, write.end - write.data, write.data)
        values = np.unpackbits(raw).reshape(-1, VALUE_BITS)[:, ::-1]
        parts.append(values.reshape(-1, ECP5.bits))
    return Contents(names, np.concatenate(parts))


def _write_bit(path: Path, content: bytes, contents: Contents) -> bytes:
    out = bytearray(content)
    block = 0
    for write in _writes(path, content):
        values = contents.bits[block : block + write.blocks].reshape(-1, VALUE_BITS)[:, ::-1]
        out[write.data : write.end] = np.packbits(values.reshape(-1)).tobytes()
        out[write.end : write.end + 2] = _crc(bytes(out[write.start : write.end]))
        block += write.blocks
    return bytes(out)


BIT = FileFormat("a bitstream of an ECP5 (.bit)", ECP5, _is_bit, _read_bit, _write_bit)

# ------------------------------------------------------------------ .config

_SECTION = re.compile(rb"^\.bram_init +(\d+)[ \t]*\r?\n((?:[ \t0-9a-fA-F]+\r?\n)*)", re.MULTILINE)
_VALUE = re.compile(rb"[0-9a-fA-F]+")


def _is_config(content: bytes) -> bool:
    return bool(re.match(rb"\s*\.device +LFE5U", content))


def _read_config(path: Path, content: bytes) -> Contents:
    names, blocks = [], []
    for section in _SECTION.finditer(content):
        texts = section[2].split()
        values = np.array([int(text, 16) for text in texts], np.int64)
        if len(values) != VALUES or values.max() >> VALUE_BITS:
            raise InputError(
                f"{path}: .bram_init {int(section[1])} has {len(values)} values up to "
                f"{values.max(initial=0):X}, expected {VALUES} up to 1FF"
            )
        names.append(f".bram_init {int(section[1])}")
        blocks.append((values[:, None] >> np.arange(VALUE_BITS) & 1).reshape(-1))
    return Contents(names, np.array(blocks, np.uint8).reshape(-1, ECP5.bits))


def _write_config(path: Path, content: bytes, contents: Contents) -> bytes:
    values = contents.bits.reshape(-1, VALUE_BITS).astype(np.int64) << np.arange(VALUE_BITS)
    texts = iter([b"%03x" % value for value in values.sum(axis=1).tolist()])

    def section(found: re.Match[bytes]) -> bytes:
        head = found[0][: found.start(2) - found.start()]
        return head + _VALUE.sub(lambda _: next(texts), found[2])

    return _SECTION.sub(section, content)


CONFIG = FileFormat(
    "nextpnr's text for an ECP5 (.config)", ECP5, _is_config, _read_config, _write_config
)
