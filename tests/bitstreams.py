# SPDX-License-Identifier: Apache-2.0
"""Bitstream files with nothing but block RAMs in them, written and read word by word.

After Project Trellis ("Bitstream format", .config of nextpnr), Project IceStorm and Project
Apicula, with none of the code of pack/bitstream. A block is a list of raw integers: 2,048 of 9 bits
(ECP5), 256 of 16 (iCE40) or 1,024 of 18 (Gowin).
"""

import re
from collections.abc import Iterator, Mapping

from bramcast.pack.bundle.words import Words

Raw = list[int]


# --- words into blocks and back


def ecp5_block(words: list[int], width: int) -> Raw:
    raw = [0] * 2048
    for address, word in enumerate(words):
        if width < 9:
            raw[address * width // 8] |= word << address * width % 8
        else:
            for part in range(width // 9):
                raw[address * (width // 9) + part] = word >> 9 * part & 0x1FF
    return raw


def ecp5_words(raw: Raw, width: int) -> list[int]:
    if width < 9:
        mask, per = (1 << width) - 1, 8 // width
        return [value >> width * i & mask for value in raw for i in range(per)]
    parts = width // 9
    chunks = [raw[i : i + parts] for i in range(0, 2048, parts)]
    return [sum(value << 9 * i for i, value in enumerate(chunk)) for chunk in chunks]


def _turned(number: int, bits: int) -> int:
    return int(f"{number:0{bits}b}"[::-1], 2) if bits else 0


def _ice40_bits(address: int, width: int, low_first: bool) -> tuple[int, list[int]]:
    """Row and bits of a word: Yosys takes the lowest address bits turned, others the highest."""
    log = {16: 0, 8: 1, 4: 2, 2: 3}[width]
    if low_first:
        row, one = address >> log, _turned(address % (1 << log), log)
    else:
        row, one = address % 256, address // 256
    return row, [(lane << log) + one for lane in range(width)]


def ice40_block(words: list[int], width: int, low_first: bool = True) -> Raw:
    raw = [0] * 256
    for address, word in enumerate(words):
        row, bits = _ice40_bits(address, width, low_first)
        for lane, bit in enumerate(bits):
            raw[row] |= (word >> lane & 1) << bit
    return raw


def ice40_words(raw: Raw, width: int, low_first: bool = True) -> list[int]:
    words = []
    for address in range(4096 // width):
        row, bits = _ice40_bits(address, width, low_first)
        words.append(sum((raw[row] >> bit & 1) << lane for lane, bit in enumerate(bits)))
    return words


def _gowin_bits(address: int, width: int) -> list[tuple[int, int]]:
    """Word and bit of a word's bits; bits 8 and 17 are there for widths of 9 and more only."""
    if width >= 9:
        return [divmod(address * width + lane, 18) for lane in range(width)]
    places = [divmod(address * width + lane, 16) for lane in range(width)]
    return [(word, bit + bit // 8) for word, bit in places]


def gowin_block(words: list[int], width: int) -> Raw:
    raw = [0] * 1024
    for address, word in enumerate(words):
        for lane, (row, bit) in enumerate(_gowin_bits(address, width)):
            raw[row] |= (word >> lane & 1) << bit
    return raw


def gowin_words(raw: Raw, width: int) -> list[int]:
    return [
        sum((raw[row] >> bit & 1) << lane
            for lane, (row, bit) in enumerate(_gowin_bits(address, width)))
        for address in range((18432 if width >= 9 else 16384) // width)
    ]  # fmt: skip


def pieces(words: Words, width: int, depth: int) -> Iterator[list[int]]:
    """An image cut into blocks of ``depth`` words of ``width`` bits: bits first, then words."""
    values = [words.integer(i) for i in range(len(words))]
    for base in range(0, len(values), depth):
        for low in range(0, words.bits, width):
            yield [value >> low & ((1 << width) - 1) for value in values[base : base + depth]]


def joined(blocks: list[list[int]], words: int, bits: int, width: int, depth: int) -> list[int]:
    """The inverse of ``pieces``."""
    across = -(-bits // width)
    return [
        sum(blocks[address // depth * across + i][address % depth] << width * i
            for i in range(across))
        for address in range(words)
    ]  # fmt: skip


# --- files


def _crc(data: bytes, polynomial: int, register: int) -> int:
    for byte in data:
        for bit in range(7, -1, -1):
            top = register >> 15 ^ byte >> bit & 1
            register = (register << 1 & 0xFFFF) ^ (polynomial if top else 0)
    return register


def ecp5_bit(blocks: Mapping[int, Raw], in_one: bool = False) -> bytes:
    """``in_one``: blocks that follow each other are written by one command."""
    out = b"\xff\x00Part: LFE5U-25F-6CABGA256\x00\xff" + b"\xff\xff\xbd\xb3" + b"\xff" * 4
    out += bytes.fromhex("3b000000 e2000000 41111043 22000000 40000000 46000000")
    out += bytes.fromhex("82910001") + bytes(range(74)) + bytes.fromhex("abcdff")
    usercode = bytes.fromhex("c2800000 00000000")
    out += usercode + _crc(usercode, 0x8005, 0).to_bytes(2, "big")
    runs: list[list[int]] = []
    for number in sorted(blocks):
        if in_one and runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    for run in runs:
        text = "".join(f"{value:09b}" for number in run for value in blocks[number])
        command = b"\xf6\0\0\0" + (run[0] << 11).to_bytes(4, "big")
        command += b"\xb2\xd0" + (256 * len(run)).to_bytes(2, "big")
        command += int(text, 2).to_bytes(len(text) // 8, "big")
        out += command + _crc(command, 0x8005, 0).to_bytes(2, "big")
    return out + bytes.fromhex("5e000000") + b"\xff" * 4


def ecp5_bit_blocks(content: bytes) -> dict[int, Raw]:
    """Of a file with a command for each block."""
    blocks = {}
    for match in re.finditer(rb"\xf6\0\0\0(....)\xb2\xd0\x01\x00", content, re.DOTALL):
        data = content[match.end() : match.end() + 2304]
        command = content[match.start() : match.end() + 2304]
        found = content[match.end() + 2304 : match.end() + 2306]
        assert _crc(command, 0x8005, 0).to_bytes(2, "big") == found
        text = f"{int.from_bytes(data, 'big'):018432b}"
        blocks[int.from_bytes(match[1], "big") >> 11] = [
            int(text[i : i + 9], 2) for i in range(0, len(text), 9)
        ]
    return blocks


def ecp5_config(blocks: Mapping[int, Raw]) -> bytes:
    lines = [".device LFE5U-25F", "", ".tile R2C2:PLC2", "word: SLICEA.K0.INIT 1010101010101010"]
    for number, raw in blocks.items():
        lines += ["", f".bram_init {number}"]
        lines += [" ".join(f"{v:03x}" for v in raw[i : i + 8]) for i in range(0, 2048, 8)]
    return "\n".join([*lines, ""]).encode()


def ecp5_config_blocks(content: bytes) -> dict[int, Raw]:
    parts = content.decode().split(".bram_init ")[1:]
    return {int(p.split()[0]): [int(v, 16) for v in p.split()[1:]] for p in parts}


BANKS, BANK_BLOCKS = 4, 16


def ice40_bin(blocks: Mapping[int, Raw]) -> bytes:
    """Block n lies in bank n // BANK_BLOCKS."""
    out = bytes.fromhex("51 00 01 05")
    start = len(out)
    out += bytes.fromhex("92 00 20 62 03 67 72 00 08 82 00 00 11 00 01 01")
    out += bytes(i % 251 for i in range(872)) + b"\0\0"
    out += b"\x62" + (BANK_BLOCKS * 16 - 1).to_bytes(2, "big") + b"\x72\x00\x80"
    for bank in range(BANKS):
        out += bytes([0x11, bank])
        for offset in (0, 128):
            out += b"\x82" + offset.to_bytes(2, "big") + b"\x01\x03"
            for row in range(offset, offset + 128):
                for n in range(BANK_BLOCKS):
                    raw = blocks.get(bank * BANK_BLOCKS + n, [0] * 256)
                    out += raw[row].to_bytes(2, "big")
            out += b"\0\0"
    out += b"\x22"
    out += _crc(out[start:], 0x1021, 0xFFFF).to_bytes(2, "big")
    return b"\xff\x00\x00\xff\x7e\xaa\x99\x7e" + out + bytes.fromhex("01 06 00")


def ice40_bin_blocks(content: bytes) -> dict[int, Raw]:
    size = 128 * BANK_BLOCKS * 2
    at = content.index(b"\x72\x00\x80") + 3
    raws: dict[int, Raw] = {n: [] for n in range(BANKS * BANK_BLOCKS)}
    for bank in range(BANKS):
        at += 2
        for _ in range(2):
            at += 5
            for i in range(0, size, 2):
                n = bank * BANK_BLOCKS + i // 2 % BANK_BLOCKS
                raws[n].append(int.from_bytes(content[at + i : at + i + 2], "big"))
            at += size + 2
    start = content.index(b"\x01\x05") + 2
    assert content[at] == 0x22
    assert (
        _crc(content[start : at + 1], 0x1021, 0xFFFF).to_bytes(2, "big")
        == (content[at + 1 : at + 3])
    )
    return {n: raw for n, raw in raws.items() if any(raw)}


def ice40_asc(blocks: Mapping[int, Raw]) -> bytes:
    lines = [".comment from a test", ".device 8k", ".io_tile 1 0", "0" * 18, ""]
    for number, raw in blocks.items():
        lines.append(f".ram_data 8 {number}")
        for y in range(16):
            line = sum(raw[16 * y + i] << 16 * i for i in range(16))
            lines.append(f"{line:064x}")
        lines.append("")
    return "\n".join(lines).encode()


def ice40_asc_blocks(content: bytes) -> dict[int, Raw]:
    blocks = {}
    for part in content.decode().split(".ram_data 8 ")[1:]:
        number, *lines = part.split()
        rows = [int(line, 16) for line in lines[:16]]
        blocks[int(number)] = [row >> 16 * i & 0xFFFF for row in rows for i in range(16)]
    return blocks


FABRIC, PER_ROW, COLUMNS = 274, 24, 24 * 72 + 8  # of a GW1N-1, as wide as it must be here


def _digits(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


def _reversed_crc(data: bytes) -> int:
    """CRC-16/ARC: the polynomial 0x8005, data and result from bit 0 on."""
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
    return int(f"{_crc(turned, 0x8005, 0):016b}"[::-1], 2)


def _gowin_place(word: int, bit: int) -> tuple[int, int]:
    """Row of 256 and column of 72; which column is which is made up, devices differ."""
    low = word % 256
    row = (low % 2) * 128 + (low // 2 % 2) * 64 + low // 4
    return 255 - row, (bit * 4 + word // 256) * 29 % 72


def gowin_fs(blocks: Mapping[int, Raw]) -> bytes:
    rows = -(-(max(blocks) + 1) // PER_ROW)
    frames = [[1] * 8 + [0] * (COLUMNS - 8) for _ in range(256 * rows)]
    for number, raw in blocks.items():
        band, across = divmod(number, PER_ROW)
        for word in range(1024):
            for bit in range(18):
                if raw[word] >> bit & 1:
                    row, column = _gowin_place(word, bit)
                    frames[band * 256 + row][8 + across * 72 + column] = 1
    total = FABRIC + len(frames)
    lines = ["//Part: made by a test", "1" * 160, "1" * 16, _digits(b"\xa5\xc3")]
    lines += [_digits(bytes.fromhex("060000000900281b1000000000ae0000")[i : i + 8]) for i in (0, 8)]
    lines += [_digits(b"\x3b\x80" + total.to_bytes(2, "big"))]
    lines += ["01" * (COLUMNS // 2) + "10" * 8 + "1" * 48 for _ in range(FABRIC)]
    for frame in frames:
        data = int("".join(map(str, frame)), 2).to_bytes(COLUMNS // 8, "big")
        check = _reversed_crc(b"\xff" * 6 + data).to_bytes(2, "little")
        lines.append(_digits(data + check) + "1" * 48)
    return "\n".join([*lines, "1" * 160, _digits(bytes.fromhex("0a00000000001234")), ""]).encode()


def gowin_fs_blocks(content: bytes) -> dict[int, Raw]:
    lines = [line for line in content.decode().split("\n") if line[:2] != "//"]
    first = next(i for i, line in enumerate(lines) if line.startswith("0011101110000000")) + 1
    frames = lines[first + FABRIC :][: int(lines[first - 1][16:], 2) - FABRIC]
    blocks = {}
    for frame in frames:
        data = int(frame[:COLUMNS], 2).to_bytes(COLUMNS // 8, "big")
        check = _reversed_crc(b"\xff" * 6 + data).to_bytes(2, "little")
        assert frame[COLUMNS:] == _digits(check) + "1" * 48
    for number in range(len(frames) // 256 * PER_ROW):
        band, across = divmod(number, PER_ROW)
        raw = [0] * 1024
        for word in range(1024):
            for bit in range(18):
                row, column = _gowin_place(word, bit)
                raw[word] |= int(frames[band * 256 + row][8 + across * 72 + column]) << bit
        if any(raw):
            blocks[number] = raw
    return blocks
