# SPDX-License-Identifier: Apache-2.0
"""Gowin GW1N and GW2A: block RAMs in .fs files.

A .fs file is text: a line of binary digits for each command, then one for each frame of the fabric,
then 256 for each row of block RAMs (Project Apicula). In these every bit column of the chip is a
bit of 256 words of 18 bits, four columns being a bit of a whole block. Ports of 9, 4, 2 and 1 bits
share the word, so that a column has every second, fourth .. word of one bit; ports of 36 bits take
two words, so that it has two bits of 128 words. Which column is which differs between devices and
need not be known.

Behind each frame stand its CRC and six bytes of FF, which the next CRC begins with. The USERCODE,
by default a checksum of the fabric alone, stays.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bramcast.pack.bitstream.blocks import Bits, Contents, Family, FileFormat, Shape
from bramcast.pack.bundle.errors import InputError

ROWS = 256  # of a column
_DEVICE, _OPTIONS, _FRAMES = 0x06, 0x10, 0x3B  # first byte of a command
_COMPRESSED = 1 << 13
_GAP = b"\xff" * 6
# Frames of the fabric, by the device's number.
_FABRIC = {
    0x0900281B: 274,  # GW1N-1
    0x0100681B: 274,  # GW1NZ-1
    0x0100381B: 494,  # GW1N-4
    0x0100981B: 494,  # GW1NS-4
    0x1100581B: 712,  # GW1N-9
    0x1100481B: 712,  # GW1N-9C
    0x0000081B: 1342,  # GW2A-18
}
_LINE = re.compile(rb"^[01]+", re.MULTILINE)


def _shapes() -> tuple[Shape, ...]:
    word = np.arange(ROWS)
    pair = np.arange(ROWS // 2) * 2 + np.arange(2)[:, None]
    return (Shape(pair), *(Shape(word[None], stride) for stride in (1, 2, 4, 8, 16)))


GOWIN = Family(name="Gowin", block="BSRAM columns", bits=ROWS, shapes=_shapes())

# Where in a row of block RAMs the words of a column stand, first to last.
_WORD = np.arange(ROWS)
_PLACE = ROWS - 1 - ((_WORD & 1) << 7 | (_WORD & 2) << 5 | _WORD >> 2)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The frames of block RAMs: where each line begins, and the bytes of its data."""

    lines: list[int]
    size: int


def _rows(path: Path, content: bytes) -> _Rows:
    """Raises InputError: an unknown device, compressed, cut off, or a CRC that does not fit."""
    lines = list(_LINE.finditer(content))
    device = frames = first = 0
    for number, line in enumerate(lines):
        if len(line[0]) % 8:
            raise InputError(f"{path}: line {number} of digits holds no whole bytes")
        command = int(line[0], 2).to_bytes(len(line[0]) // 8, "big")
        if command[0] == _DEVICE:
            device = int.from_bytes(command[-4:], "big")
        if command[0] == _OPTIONS and int.from_bytes(command, "big") & _COMPRESSED:
            raise InputError(f"{path}: is compressed: pack it without compression")
        if command[0] == _FRAMES:
            frames, first = int.from_bytes(command[2:], "big"), number + 1
            break
    if device not in _FABRIC:
        raise InputError(f"{path}: is for device {device:08X}, which is unknown")
    if first + frames > len(lines):
        raise InputError(f"{path}: {frames} frames are announced, it is cut off")
    ours = lines[first + _FABRIC[device] : first + frames]
    if len(ours) % ROWS or len({len(line[0]) for line in ours}) > 1:
        raise InputError(f"{path}: has {len(ours)} frames of block RAM, which is no whole row")
    size = len(ours[0][0]) // 8 - 2 - len(_GAP) if ours else 0
    for line in ours:
        raw = int(line[0], 2).to_bytes(len(line[0]) // 8, "big")
        if _crc(_GAP + raw[:size]) != raw[size : size + 2]:
            raise InputError(f"{path}: a frame's CRC does not fit: the file is damaged")
    return _Rows([line.start() for line in ours], size)


def _crc_table() -> list[int]:
    table = []
    for register in range(256):
        for _ in range(8):
            register = register >> 1 ^ (0xA001 if register & 1 else 0)
        table.append(register)
    return table


_CRC_TABLE = _crc_table()


def _crc(data: bytes) -> bytes:
    """CRC-16 with polynomial 0x8005, all bits reversed, from 0."""
    register = 0
    for byte in data:
        register = register >> 8 ^ _CRC_TABLE[(register ^ byte) & 255]
    return register.to_bytes(2, "little")


def _is_fs(content: bytes) -> bool:
    text = re.match(rb"(//[^\n]*\n|[01]+\r?\n)*", content[: 1 << 16])
    return text is not None and b"1010010111000011\n" in text[0].replace(b"\r", b"")


def _frames(rows: _Rows, content: bytes) -> Bits:
    """All digits: [rows of block RAMs, 256, columns]."""
    columns = 8 * rows.size
    digits = np.frombuffer(content, np.uint8)
    places = np.array(rows.lines, np.int64)[:, None] + np.arange(columns)
    frames: Bits = (digits[places] - np.uint8(ord("0"))).reshape(-1, ROWS, columns)
    return frames


def _read_fs(path: Path, content: bytes) -> Contents:
    rows = _rows(path, content)
    frames = _frames(rows, content)[:, _PLACE]
    bands, _, columns = frames.shape
    names = [f"column {column} of row {band}" for band in range(bands) for column in range(columns)]
    return Contents(names, np.ascontiguousarray(frames.transpose(0, 2, 1)).reshape(-1, ROWS))


def _write_fs(path: Path, content: bytes, contents: Contents) -> bytes:
    rows = _rows(path, content)
    columns = 8 * rows.size
    frames = np.empty((len(rows.lines) // ROWS, ROWS, columns), np.uint8)
    frames[:, _PLACE] = contents.bits.reshape(-1, columns, ROWS).transpose(0, 2, 1)
    out = bytearray(content)
    for start, row in zip(rows.lines, frames.reshape(-1, columns), strict=True):
        raw = np.packbits(row).tobytes()
        check = np.unpackbits(np.frombuffer(_crc(_GAP + raw), np.uint8))
        digits = np.concatenate([row, check]) + np.uint8(ord("0"))
        out[start : start + columns + 16] = digits.tobytes()
    return bytes(out)


FS = FileFormat("a bitstream of a Gowin GW1N or GW2A (.fs)", GOWIN, _is_fs, _read_fs, _write_fs)
