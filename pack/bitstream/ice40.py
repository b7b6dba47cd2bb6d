# SPDX-License-Identifier: Apache-2.0
"""Lattice iCE40: block RAMs in .bin files and in nextpnr's text (.asc).

A block (SB_RAM40_4K) has 256 rows of 16 bits. Ports of 8, 4 and 2 bits see 2, 4 and 8 words in a
row: bit ``lane`` of word k of the row is bit lane * words + k. Which address bits choose k is up to
the synthesis: Yosys takes the lowest ones, turned round. If it is the highest ones, a block is the
same as one of 16 bits that holds other bits of the word.

A .bin file is a list of commands; those that bring block RAMs write half a bank's rows, of all its
blocks side by side, bit 15 first (Project IceStorm, "Bitstream File Format Documentation").
"""

import re
from binascii import crc_hqx
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bitstream.blocks import Contents, Family, FileFormat, Shape
from bramcast.pack.bundle.errors import InputError

ROWS, ROW_BITS = 256, 16


def _shape(log: int) -> Shape:
    """2**log words in a row."""
    words, lane = 1 << log, np.arange(ROW_BITS >> log)[:, None]
    word = np.arange(ROWS << log)
    low = word % words
    turned = sum((low >> i & 1) << (log - 1 - i) for i in range(log)) + 0 * low
    return Shape((word // words) * ROW_BITS + lane * words + turned)


ICE40 = Family(
    name="iCE40",
    block="SB_RAM40_4K",
    bits=ROWS * ROW_BITS,
    shapes=tuple(_shape(log) for log in range(4)),
)

# ------------------------------------------------------------------ .bin

_PREAMBLE = b"\x7e\xaa\x99\x7e"
_SPECIAL, _BANK, _CRC, _WIDTH, _HEIGHT, _OFFSET = 0, 1, 2, 6, 7, 8  # upper half of a command
_CONFIGURE, _FILL, _RESET_CRC, _WAKE = 1, 3, 5, 6  # what a special one does


@dataclass(frozen=True, slots=True)
class _Fill:
    """A command that writes rows ``offset`` and up of a bank; its data begin at ``start``."""

    bank: int
    offset: int
    rows: int
    blocks: int
    start: int

    @property
    def end(self) -> int:
        return self.start + self.rows * self.blocks * ROW_BITS // 8


@dataclass(frozen=True, slots=True)
class _Check:
    """A CRC at ``place`` over all bytes from ``start`` on."""

    start: int
    place: int


def _commands(path: Path, content: bytes) -> tuple[list[_Fill], list[_Check]]:
    """What a file does, up to the end of the configuration.

    Raises:
        InputError: it is cut off, has an unknown command, or a CRC does not fit.
    """
    fills, checks = [], []
    at = content.index(_PREAMBLE) + len(_PREAMBLE)
    bank = width = rows = offset = 0
    since: int | None = None
    while True:
        if at >= len(content):
            raise InputError(f"{path}: ends before the configuration does: it is cut off")
        start, code = at, content[at] >> 4
        at += 1 + (content[at] & 15)
        value = int.from_bytes(content[start + 1 : at], "big")
        if code == _BANK:
            bank = value
        elif code == _WIDTH:
            width = value + 1
        elif code == _HEIGHT:
            rows = value
        elif code == _OFFSET:
            offset = value
        elif code == _CRC:
            if since is None or crc_hqx(content[since:at], 0xFFFF):
                raise InputError(f"{path}: its CRC does not fit: the file is damaged")
            checks.append(_Check(since, start + 1))
        elif code == _SPECIAL and value == _RESET_CRC:
            since = at
        elif code == _SPECIAL and value in (_CONFIGURE, _FILL):
            if value == _FILL:
                fills.append(_Fill(bank, offset, rows, width // ROW_BITS, at))
            at += width * rows // 8 + 2
        elif code == _SPECIAL and value == _WAKE:
            return fills, checks
        elif code not in (5, 9, 4):  # oscillator, boot
            raise InputError(f"{path}: command {content[start]:02X} at byte {start} is unknown")


def _is_bin(content: bytes) -> bool:
    return content[:1] in (b"\xff", b"\x7e") and _PREAMBLE in content[: 1 << 16]


def _words(content: bytes, fill: _Fill) -> NDArray[np.uint8]:
    """Bits of a command's rows, lowest first: [rows, blocks, 16]."""
    raw = np.frombuffer(content, np.uint8, fill.end - fill.start, fill.start)
    return np.unpackbits(raw).reshape(fill.rows, fill.blocks, ROW_BITS)[:, :, ::-1]


def _read_bin(path: Path, content: bytes) -> Contents:
    banks: dict[int, NDArray[np.uint8]] = {}
    for fill in _commands(path, content)[0]:
        bank = banks.setdefault(fill.bank, np.zeros((ROWS, fill.blocks, ROW_BITS), np.uint8))
        if fill.offset + fill.rows > ROWS or fill.blocks != bank.shape[1]:
            raise InputError(f"{path}: block RAMs of bank {fill.bank} have an unknown size")
        bank[fill.offset : fill.offset + fill.rows] = _words(content, fill)
    names = [f"bank {n}, block RAM {k}" for n in sorted(banks) for k in range(banks[n].shape[1])]
    parts = [banks[n].transpose(1, 0, 2).reshape(-1, ICE40.bits) for n in sorted(banks)]
    return Contents(names, np.concatenate([np.zeros((0, ICE40.bits), np.uint8), *parts]))


def _write_bin(path: Path, content: bytes, contents: Contents) -> bytes:
    out = bytearray(content)
    fills, checks = _commands(path, content)
    widths = {fill.bank: fill.blocks for fill in fills}
    first = {bank: sum(n for other, n in widths.items() if other < bank) for bank in widths}
    for fill in fills:
        block = first[fill.bank]
        rows = contents.bits[block : block + fill.blocks].reshape(-1, ROWS, ROW_BITS)
        rows = rows[:, fill.offset : fill.offset + fill.rows].transpose(1, 0, 2)[:, :, ::-1]
        out[fill.start : fill.end] = np.packbits(rows.reshape(-1)).tobytes()
    for check in checks:
        crc = crc_hqx(bytes(out[check.start : check.place]), 0xFFFF)
        out[check.place : check.place + 2] = crc.to_bytes(2, "big")
    return bytes(out)


BIN = FileFormat("a bitstream of an iCE40 (.bin)", ICE40, _is_bin, _read_bin, _write_bin)

# ------------------------------------------------------------------ .asc

_DIGITS = ROWS * ROW_BITS // 16 // 4  # of a line, which has 16 rows, the last one first
_SECTION = re.compile(
    rb"^\.ram_data +(\d+) +(\d+)[ \t]*\r?\n((?:[0-9a-fA-F]+[ \t]*\r?\n?)*)", re.MULTILINE
)


def _is_asc(content: bytes) -> bool:
    device = re.search(rb"^\.device +(384|\w*k)\b", content[: 1 << 16], re.MULTILINE)
    return device is not None and not content[: device.start()].strip().startswith(b"\xff")


def _read_asc(path: Path, content: bytes) -> Contents:
    names, blocks = [], []
    for section in _SECTION.finditer(content):
        name = f".ram_data {int(section[1])} {int(section[2])}"
        lines = section[3].split()
        if len(lines) != 16 or any(len(line) != _DIGITS for line in lines):
            raise InputError(
                f"{path}: {name} has {len(lines)} lines, expected 16 of {_DIGITS} hex digits"
            )
        names.append(name)
        raw = np.frombuffer(bytes.fromhex(b"".join(lines).decode()), np.uint8)
        blocks.append(np.unpackbits(raw).reshape(16, -1)[:, ::-1].reshape(-1))
    return Contents(names, np.array(blocks, np.uint8).reshape(-1, ICE40.bits))


def _write_asc(path: Path, content: bytes, contents: Contents) -> bytes:
    lines = np.packbits(contents.bits.reshape(-1, 16 * ROW_BITS)[:, ::-1], axis=1)
    texts = iter([line.tobytes().hex().encode() for line in lines])

    def section(found: re.Match[bytes]) -> bytes:
        head = found[0][: found.start(3) - found.start()]
        return head + re.sub(rb"[0-9a-fA-F]+", lambda _: next(texts), found[3])

    return _SECTION.sub(section, content)


ASC = FileFormat("nextpnr's text for an iCE40 (.asc)", ICE40, _is_asc, _read_asc, _write_asc)
