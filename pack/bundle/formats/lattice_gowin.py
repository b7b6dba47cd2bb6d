# SPDX-License-Identifier: Apache-2.0
"""Images with a header of ``#Key=value`` lines: Lattice .mem and Gowin .mi.

Both know three forms: a word a line in binary or hexadecimal digits, or ``address: word word ..``.
Lattice's files share the suffix .mem with those for $readmemh, which can't read them: ours are
called .lattice.mem.
"""

import re
from dataclasses import dataclass

import numpy as np

from bramcast.pack.bundle.formats.text import (
    BIN,
    DEC,
    HEX,
    Content,
    ImageSource,
    address_columns,
    binary_columns,
    blank_comments,
    check_extent,
    hex_columns,
    number,
    place_words,
    rows,
    split_tokens,
    words_from_tokens,
)
from bramcast.pack.bundle.words import Words


@dataclass(frozen=True, slots=True)
class HeaderKeys:
    """How a vendor calls the keys of the header; ``comments`` as for ``blank_comments``."""

    vendor: str
    form: str
    depth: str
    width: str
    others: tuple[str, ...]
    comments: str


LATTICE = HeaderKeys("Lattice", "Format", "Depth", "Width", ("AddrRadix", "DataRadix"), "#/")
GOWIN = HeaderKeys("Gowin", "File_format", "Address_depth", "Data_width", (), "")
FORMS = ("Hex", "Bin", "AddrHex")
_HEADER_LINE = re.compile(rb"[ \t]*(?:#[ \t]*(\w+)[ \t]*=[ \t]*(\S*)[ \t]*)?\n")


def headed_text(family: HeaderKeys, form: str, words: Words, depth: int) -> bytes:
    """A Lattice .mem or Gowin .mi file in one of ``FORMS``.

    >>> words = Words(12, np.array([[0xBC, 0x0A]], np.uint8))
    >>> print(headed_text(GOWIN, "AddrHex", words, 2).decode(), end="")
    #File_format=AddrHex
    #Address_depth=2
    #Data_width=12
    0:ABC
    1:000
    >>> print(headed_text(LATTICE, "Bin", words, 1).decode(), end="")
    #Format=Bin
    #Depth=1
    #Width=12
    #AddrRadix=3
    #DataRadix=0
    #Data
    101010111100
    """
    head = f"#{family.form}={form}\n#{family.depth}={depth}\n#{family.width}={words.bits}\n"
    if family is LATTICE:
        head += f"#AddrRadix=3\n#DataRadix={0 if form == 'Bin' else 3}\n#Data\n"
    padded = words.padded(depth)
    digits = binary_columns(padded) if form == "Bin" else hex_columns(padded)
    if form == "AddrHex":
        digits = rows(depth, address_columns(depth), b":", digits)
    return head.encode() + rows(depth, digits, b"\n").tobytes()


def parse_lattice(source: ImageSource, bits: int | None) -> Content:
    """Read any .mem file of Diamond or Radiant; words that are not given are zero."""
    return _parse(source, bits, LATTICE)


def parse_gowin(source: ImageSource, bits: int | None) -> Content:
    """Read any .mi file of Gowin's tools."""
    return _parse(source, bits, GOWIN)


def _parse(source: ImageSource, bits: int | None, family: HeaderKeys) -> Content:
    text = source.text()
    keys = {k.lower(): k for k in (family.form, family.depth, family.width, *family.others)}
    values: dict[str, bytes] = {}
    lines: dict[str, int] = {}
    at, line = 0, 1
    while match := re.compile(rb"[ \t]*(?:#[ \t]*(\w+)[ \t]*=[ \t]*(\S*)[ \t]*)?\n").match(
        text, at
    ):
        if match.group(1) is not None:
            key = match.group(1).decode("latin-1").lower()
            if key not in keys:
                source.fail(line, f"unknown key {key[:40]!r} of a {family.vendor} header")
            if key in values:
                source.fail(line, f"{keys[key]} is given twice")
            values[key], lines[key] = match.group(2), line
        at, line = match.end(), line + 1
    for key in (family.form, family.depth, family.width):
        if key.lower() not in values:
            source.fail(line, f"expected '#{key}=...' in the header of a {family.vendor} file")
    given = values[family.form.lower()].decode("latin-1")
    form = next((f for f in FORMS if f.lower() == given.lower()), None)
    if form is None:
        where = lines[family.form.lower()]
        source.fail(where, f"{family.form} is Bin, Hex or AddrHex, got {given[:40]!r}")
    sizes = []
    for key in (family.depth, family.width):
        value = number(source, lines[key.lower()], values[key.lower()], DEC, key)
        if value < 1:
            source.fail(lines[key.lower()], f"{key} must be at least 1")
        sizes.append(value)
    depth, width = sizes
    check_extent(source, lines[family.depth.lower()], depth, width)
    if bits is not None and bits != width:
        source.fail(lines[family.width.lower()], f"{family.width} is {width}, expected {bits}")
    body = text[at:]
    if family is LATTICE:
        data = re.match(rb"(?i)#[ \t]*data[ \t]*(?:\n|\Z)", body)
        body = b"\n" + body[data.end() :] if data else body
    body = blank_comments(source, body, family.comments)
    if form == "AddrHex":
        return _addressed(source, body, line, depth, width)
    tokens = split_tokens(body, line)
    if len(tokens.lines) > 1 and not np.all(np.diff(tokens.lines)):
        where = int(tokens.lines[int(np.argmin(np.diff(tokens.lines)))])
        source.fail(where, f"more than one word in a line of a {form} file")
    if len(tokens.texts) > depth:
        source.fail(int(tokens.lines[depth]), f"more words than {family.depth}={depth}")
    radix = BIN if form == "Bin" else HEX
    words = words_from_tokens(source, tokens.texts, tokens.lines, radix, width)
    addresses = np.arange(len(words), dtype=np.int64)
    return place_words(source, words, tokens.lines, addresses, depth, True, form)


def _addressed(source: ImageSource, body: bytes, line: int, depth: int, width: int) -> Content:
    texts: list[bytes] = []
    lines: list[int] = []
    addresses: list[int] = []
    for row in body.split(b"\n"):
        place, colon, data = row.partition(b":")
        if row.strip():
            values = data.split()
            if not colon or not values:
                shown = row.strip().decode("latin-1")[:40]
                source.fail(line, f"expected 'address:word', got {shown!r}")
            first = number(source, line, place, HEX, "an address")
            texts += values
            lines += [line] * len(values)
            addresses += range(first, first + len(values))
        line += 1
    at = np.array(lines, np.int64)
    words = words_from_tokens(source, texts, at, HEX, width)
    where = np.array(addresses, np.int64)
    content = place_words(source, words, at, where, depth, True, "AddrHex")
    if content.repeats:
        twice = int(np.flatnonzero(content.lines[where] != at)[0])
        source.fail(int(at[twice]), f"address {addresses[twice]:X} is given again later")
    return content
