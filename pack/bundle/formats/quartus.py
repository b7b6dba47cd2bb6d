# SPDX-License-Identifier: Apache-2.0
"""Images for Quartus: .mif, and .hex with word addresses.

Quartus' .hex looks like Intel HEX, but its addresses count memory words: tools that know the usual
form, which counts bytes, refuse it or read it wrong where a word has more than 8 bits.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.formats.text import (
    BIN,
    DEC,
    HEX,
    OCT,
    Content,
    ImageSource,
    Radix,
    address_columns,
    blank_comments,
    check_extent,
    hex_columns,
    number,
    place_words,
    rows,
    words_from_tokens,
)
from bramcast.pack.bundle.words import Words

_MIF_RADICES = {"BIN": BIN, "OCT": OCT, "HEX": HEX, "UNS": DEC, "DEC": DEC}
_MIF_END = b"END;\n"


def mif_text(words: Words, depth: int) -> bytes:
    """The .mif file for Quartus.

    >>> print(mif_text(Words(12, np.array([[0xBC, 0x0A]], np.uint8)), 2).decode(), end="")
    WIDTH=12;
    DEPTH=2;
    ADDRESS_RADIX=HEX;
    DATA_RADIX=HEX;
    CONTENT BEGIN
    0 : ABC;
    1 : 000;
    END;
    """
    head = f"WIDTH={words.bits};\nDEPTH={depth};\nADDRESS_RADIX=HEX;\nDATA_RADIX=HEX;\n"
    body = rows(depth, address_columns(depth), b" : ", hex_columns(words.padded(depth)), b";\n")
    return head.encode() + b"CONTENT BEGIN\n" + body.tobytes() + _MIF_END


def parse_mif(source: ImageSource, bits: int | None) -> Content:
    """Read any .mif file: every radix, ranges, several words behind one address.

    Raises:
        InputError: also for a width that is not ``bits``, where that is given.
    """
    text = blank_comments(source, source.text(), "-")
    begin = re.search(rb"(?i)\bCONTENT\s+BEGIN\b", text)
    if begin is None:
        source.fail(text.rstrip().count(b"\n") + 1, "expected 'CONTENT BEGIN' before the data")
    header = _mif_header(source, text[: begin.start()], bits)
    width, depth = header.width, header.depth
    entries = text[begin.end() :].split(b";")
    line = text.count(b"\n", 0, begin.end()) + 1
    texts: list[bytes] = []
    lines: list[int] = []
    spans: list[tuple[int, int, int, int]] = []  # first address, words, first of texts, how many
    total = 0
    for index, entry in enumerate(entries):
        body = entry.strip()
        here = line + entry[: len(entry) - len(entry.lstrip())].count(b"\n")
        line += entry.count(b"\n")
        if body[:3].upper() == b"END" and body[3:].strip() == b"":
            _mif_tail(source, here, index, entries)
            break
        if index == len(entries) - 1:
            source.fail(here, "expected 'END;' at the end of the data")
        place, colon, data = body.partition(b":")
        values = data.split()
        if not colon or not values:
            shown = body.decode("latin-1")[:40]
            source.fail(here, f"expected 'address : word;', got {shown!r}")
        if place[:1] == b"[":
            first, last = _mif_range(source, here, place, header.addresses)
        else:
            first = number(source, here, place, header.addresses, "an address")
            last = first + len(values) - 1
        if last >= depth:
            source.fail(here, f"address {last:,} (0x{last:X}) is outside DEPTH={depth}")
        total += last - first + 1
        if total > 2 * depth + (1 << 20):
            source.fail(here, "the ranges give the same words over and over")
        spans.append((first, last - first + 1, len(texts), len(values)))
        texts += values
        lines += [here + n for n in _line_offsets(body, len(values))]
    at = np.array(lines, np.int64)
    words = _mif_words(source, texts, at, header)
    first_of, counts, base_of, given = np.array(spans, np.int64).reshape(-1, 4).T
    inner = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    where = np.repeat(first_of, counts) + inner
    chosen = np.repeat(base_of, counts) + inner % np.repeat(given, counts)
    picked = Words(width, words.data[chosen])
    detail = f"radix {header.data.base}"
    return place_words(source, picked, at[chosen], where, depth, True, detail)


def _line_offsets(body: bytes, n: int) -> list[int]:
    """Line of each of an entry's words, counted from the entry's own."""
    if b"\n" not in body:
        return [0] * n
    colon = body.index(b":")
    starts = [m.start() for m in re.finditer(rb"\S+", body[colon + 1 :])]
    breaks = np.flatnonzero(np.frombuffer(body, np.uint8) == ord("\n"))
    found: NDArray[np.int64] = np.searchsorted(breaks, np.array(starts) + colon + 1)
    return [int(i) for i in found]


def _mif_range(source: ImageSource, line: int, place: bytes, radix: Radix) -> tuple[int, int]:
    match = re.fullmatch(rb"\[\s*(\w+)\s*\.\.\s*(\w+)\s*\]\s*", place)
    if match is None:
        shown = place.decode("latin-1")[:40]
        source.fail(line, f"expected '[first..last]', got {shown!r}")
    first, last = (number(source, line, match.group(i), radix, "an address") for i in (1, 2))
    if last < first:
        source.fail(line, f"the range ends at {last}, before it begins at {first}")
    return first, last


def _mif_tail(source: ImageSource, line: int, index: int, entries: list[bytes]) -> None:
    if index == len(entries) - 1:
        source.fail(line, "END without a semicolon")
    if any(entry.strip() for entry in entries[index + 1 :]):
        source.fail(line, "text behind 'END;'")


@dataclass(frozen=True, slots=True)
class _MifHeader:
    """WIDTH, DEPTH and the radices; ``signed`` is DATA_RADIX=DEC."""

    width: int
    depth: int
    addresses: Radix
    data: Radix
    signed: bool


def _mif_header(source: ImageSource, text: bytes, bits: int | None) -> _MifHeader:
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    line = 1
    for statement in text.split(b";"):
        here = line + statement[: len(statement) - len(statement.lstrip())].count(b"\n")
        line += statement.count(b"\n")
        if not statement.strip():
            continue
        match = re.fullmatch(rb"\s*(\w+)\s*=\s*(\w+)\s*", statement)
        key = match.group(1).decode("latin-1").upper() if match else ""
        if match is None or key not in ("WIDTH", "DEPTH", "ADDRESS_RADIX", "DATA_RADIX"):
            shown = statement.strip().decode("latin-1")[:40]
            source.fail(
                here, f"expected WIDTH, DEPTH, ADDRESS_RADIX or DATA_RADIX = ..;, got {shown!r}"
            )
        if key in values:
            source.fail(here, f"{key} is given twice")
        values[key], lines[key] = match.group(2).decode("latin-1"), here
    sizes = []
    for key in ("WIDTH", "DEPTH"):
        if key not in values:
            source.fail(line, f"{key} is missing before CONTENT")
        value = number(source, lines[key], values[key].encode(), DEC, key)
        if value < 1:
            source.fail(lines[key], f"{key} must be at least 1")
        sizes.append(value)
    if bits is not None and bits != sizes[0]:
        source.fail(lines["WIDTH"], f"WIDTH is {sizes[0]}, expected {bits}")
    check_extent(source, lines["DEPTH"], sizes[1], sizes[0])
    radices = []
    for key in ("ADDRESS_RADIX", "DATA_RADIX"):
        name = values.get(key, "HEX").upper()
        if name not in _MIF_RADICES:
            source.fail(lines[key], f"{key} is BIN, OCT, DEC, UNS or HEX, got {name[:40]!r}")
        radices.append(_MIF_RADICES[name])
    signed = values.get("DATA_RADIX", "").upper() == "DEC"
    return _MifHeader(sizes[0], sizes[1], radices[0], radices[1], signed)


def _mif_words(
    source: ImageSource, texts: list[bytes], lines: NDArray[np.int64], header: _MifHeader
) -> Words:
    """The words; in radix DEC also negative ones, in two's complement."""
    if header.signed:
        top = 1 << header.width
        for index, text in enumerate(texts):
            if text[:1] == b"-" and text[1:].isdigit() and len(text) <= 4000:
                value = int(text)
                if value < -(top >> 1):
                    source.fail(int(lines[index]), f"{value} needs more than {header.width} bits")
                texts[index] = str(value % top).encode()
    return words_from_tokens(source, texts, lines, header.data, header.width)


# --- .hex

_RECORD_MAX = 255  # bytes
HEX_MAX_BITS = 8 * _RECORD_MAX


def hex_text(words: Words, depth: int) -> bytes:
    """The .hex file for Quartus: one record a word, big-endian, its address counted in words.

    Args:
        words: of a multiple of 8 bits, at most 2040.

    >>> print(hex_text(Words(16, np.array([[0xBC, 0x0A]], np.uint8)), 2).decode(), end="")
    :020000000ABC38
    :020001000000FD
    :00000001FF
    """
    padded = words.padded(depth).data
    n_bytes = padded.shape[1]
    records = np.zeros((depth, n_bytes + 5), np.uint8)
    index = np.arange(depth)
    records[:, 0] = n_bytes
    records[:, 1] = index >> 8 & 255
    records[:, 2] = index & 255
    records[:, 4:-1] = padded[:, ::-1]
    records[:, -1] = -records.sum(axis=1) & 255
    digits = hex_columns(Words(8 * records.shape[1], np.ascontiguousarray(records[:, ::-1])))
    lines = rows(depth, b":", digits, b"\n")
    parts = []
    for page in range(-(-depth // 65536)):
        if page:
            upper = bytes([2, 0, 0, 4, page >> 8, page & 255])
            parts.append(f":{upper.hex().upper()}{-sum(upper) & 255:02X}\n".encode())
        parts.append(lines[page << 16 : (page + 1) << 16].tobytes())
    return b"".join([*parts, b":00000001FF\n"])


def parse_hex(source: ImageSource, bits: int | None) -> Content:
    """Read a Quartus .hex file.

    Args:
        bits: the words' width; None takes the bytes by which addresses step.

    Raises:
        InputError: also for checksums, for words given twice, and for files whose addresses
            count bytes.
    """
    places: list[int] = []
    chunks: list[bytes] = []
    lines: list[int] = []
    upper, ended = 0, 0
    for line, text in enumerate(source.text().split(b"\n"), 1):
        record = text.strip()
        if not record:
            continue
        if ended:
            source.fail(line, f"text behind the end record of line {ended}")
        body = _record(source, line, record)
        kind, data = body[3], body[4:-1]
        if kind == 0:
            places.append(upper + (body[1] << 8 | body[2]))
            chunks.append(data)
            lines.append(line)
            if not data:
                source.fail(line, "a data record without data")
        elif kind == 1:
            ended = line
        elif kind in (2, 4) and len(data) == 2:
            upper = int.from_bytes(data, "big") << (16 if kind == 4 else 4)
        elif kind not in (3, 5):
            source.fail(line, f"unknown record type {kind:02X}")
    if not ended:
        source.fail(0, "the end record ':00000001FF' is missing; the file is cut off")
    step = -(-bits // 8) if bits is not None else _hex_step(places, chunks)
    for line, data in zip(lines, chunks, strict=True):
        if len(data) % step:
            source.fail(line, f"{len(data)} bytes are no whole number of words of {step} bytes")
    counts = np.array([len(data) // step for data in chunks], np.int64)
    at = np.repeat(np.array(lines, np.int64), counts)
    starts = np.repeat(np.array(places, np.int64), counts)
    inner = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
    addresses = starts + inner
    if step > 1 and len(places) > 1:
        gaps = np.diff(np.array(places, np.int64))
        if np.array_equal(gaps, counts[:-1] * step):
            source.fail(
                lines[1],
                f"addresses count bytes here; Quartus' .hex counts words of {8 * step} bits "
                "(convert the file, or read it with --bits 8)",
            )
    matrix = np.frombuffer(b"".join(chunks), np.uint8).reshape(-1, step)[:, ::-1]
    width = bits if bits is not None else 8 * step
    if width % 8 and len(matrix) and bool(np.any(matrix[:, -1] >> (width % 8))):
        index = int(np.argmax(matrix[:, -1] >> (width % 8) > 0))
        source.fail(int(at[index]), f"the word needs more than {width} bits")
    words = Words(width, np.ascontiguousarray(matrix))
    content = place_words(source, words, at, addresses, None, False, f"{step} bytes a word")
    if content.repeats:
        twice = np.flatnonzero(content.lines[addresses] != at)
        where = int(at[int(twice[0])]) if len(twice) else 0
        source.fail(where, "a word of this record is given again; addresses must count words")
    return content


def _record(source: ImageSource, line: int, text: bytes) -> bytes:
    if text[:1] != b":" or not re.fullmatch(rb":(?:[0-9A-Fa-f]{2}){5,260}", text):
        shown = text.decode("latin-1")[:40]
        source.fail(line, f"expected a record ':LLAAAATT..CC' of hex digits, got {shown!r}")
    body = bytes.fromhex(text[1:].decode("ascii"))
    if len(body) != body[0] + 5:
        source.fail(line, f"the record says {body[0]} bytes of data and has {len(body) - 5}")
    if sum(body) & 255:
        right = -sum(body[:-1]) & 255
        source.fail(line, f"checksum {body[-1]:02X}, expected {right:02X}")
    return body


def _hex_step(places: list[int], chunks: list[bytes]) -> int:
    """Bytes of a word: the first record's, divided by the addresses up to the next one."""
    if len(places) < 2:
        return len(chunks[0]) if chunks else 1
    distance = places[1] - places[0]
    length = len(chunks[0])
    return length // distance if distance > 0 and length % distance == 0 else length
