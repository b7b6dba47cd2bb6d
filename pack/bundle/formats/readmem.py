# SPDX-License-Identifier: Apache-2.0
"""Images for $readmemh and $readmemb: Vivado, Radiant, Efinity, Achronix, Yosys, every simulator.

Grammar: IEEE 1800-2017, 21.4. An address ``@`` counts words of the array, in hexadecimal. What
tools disagree about is refused on reading: digits x and z, commas, ``#``, the prefix 0x.
"""

from pathlib import Path

import numpy as np

from bramcast.pack.bundle.formats.text import (
    BIN,
    HEX,
    LF,
    Content,
    ImageSource,
    Radix,
    binary_columns,
    blame_digits,
    blame_lines,
    blank_comments,
    hex_columns,
    number,
    place_words,
    read_source,
    rows,
    split_tokens,
    words_from_columns,
    words_from_tokens,
)
from bramcast.pack.bundle.words import Words


def mem_text(words: Words, depth: int) -> bytes:
    r"""The .mem file for ``$readmemh``: ``depth`` lines, unused words zero.

    >>> mem_text(Words(12, np.array([[0xBC, 0x0A]], np.uint8)), 2)
    b'ABC\n000\n'
    """
    return rows(depth, hex_columns(words.padded(depth)), b"\n").tobytes()


def memb_text(words: Words, depth: int) -> bytes:
    r"""The same for ``$readmemb``: binary digits. Vivado's own .mif has this form, too.

    >>> memb_text(Words(3, np.array([[6]], np.uint8)), 2)
    b'110\n000\n'
    """
    return rows(depth, binary_columns(words.padded(depth)), b"\n").tobytes()


def updatemem_text(words: Words, depth: int) -> bytes:
    r"""The .mem file for updatemem: one block from byte address 0 (UG1580), one word a line.

    >>> updatemem_text(Words(32, np.array([[1, 0, 0, 0x80]], np.uint8)), 2)
    b'@00000000\n80000001\n00000000\n'
    """
    return b"@00000000\n" + mem_text(words, depth)


def read_mem(path: Path, bits: int, depth: int, what: str = "") -> Words:
    """Read a .mem file strictly: ``depth`` lines of ceil(bits / 4) upper-case hex digits.

    Args:
        what: how the word is divided, for the message, e.g. "16 lanes of 8 bits".

    Raises:
        InputError: names the file and the first wrong line.
    """
    raw = read_source(path).raw
    what = what or f"{bits} bits"
    width = -(-bits // 4)
    if len(raw) == depth * (width + 1):
        table = np.frombuffer(raw, np.uint8).reshape(depth, width + 1)
        if np.all(table[:, -1] == LF):
            words = words_from_columns(table[:, :-1], bits)
            if words is not None:
                return words
    blame_lines(path, raw, depth, lambda place, _, text: blame_digits(place, text, bits, what))
    raise AssertionError(f"{path}: the fast reader refused a file without a wrong line")


def parse_mem(source: ImageSource, bits: int | None) -> Content:
    """Read any file for ``$readmemh``."""
    return _parse(source, bits, HEX)


def parse_memb(source: ImageSource, bits: int | None) -> Content:
    """Read any file for ``$readmemb``."""
    return _parse(source, bits, BIN)


def _parse(source: ImageSource, bits: int | None, radix: Radix) -> Content:
    tokens = split_tokens(blank_comments(source, source.text(), "/"))
    marks = np.flatnonzero(tokens.first == ord("@"))
    data = np.flatnonzero(tokens.first != ord("@"))
    texts = [tokens.texts[i] for i in data] if len(marks) else tokens.texts
    if any(b"_" in text for text in texts[:1]) or b"_" in source.raw:
        texts = [text if text[:1] == b"_" else text.replace(b"_", b"") for text in texts]
    lines = tokens.lines[data]
    words = words_from_tokens(source, texts, lines, radix, bits)
    bases = np.array(
        [
            number(source, int(tokens.lines[i]), tokens.texts[i][1:], HEX, "an address behind @")
            for i in marks
        ],
        np.int64,
    )
    # a word lies as far behind its block's address as its token behind that of the address
    block = np.searchsorted(marks, data) - 1
    start = np.concatenate([np.array([-1], np.int64), marks])[block + 1]
    base = np.concatenate([np.array([0], np.int64), bases])[block + 1]
    addresses = base + (data - start - 1)
    detail = f"{len(marks)} addresses" if len(marks) else ""
    return place_words(source, words, lines, addresses, None, False, detail)
