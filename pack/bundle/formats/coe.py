# SPDX-License-Identifier: Apache-2.0
"""Images for Vivado's Block Memory Generator: .coe (UG896).

``keyword = value ;`` twice, the vector last. What follows a semicolon in its line is a comment.
"""

import re
from dataclasses import replace

import numpy as np

from bramcast.pack.bundle.formats.text import (
    HEX,
    RADICES,
    Content,
    ImageSource,
    Radix,
    hex_columns,
    place_words,
    rows,
    split_tokens,
    words_from_tokens,
)
from bramcast.pack.bundle.words import Words

_HEAD = b"memory_initialization_radix=16;\nmemory_initialization_vector=\n"
_RADIX = "memory_initialization_radix"
_VECTOR = "memory_initialization_vector"
_STATEMENT = re.compile(rb"\s*([A-Za-z_]\w*)\s*=")
_BARE = re.compile(rb"[0-9A-Fa-f][0-9A-Fa-f,\s]*(?:;|\Z)")


def coe_text(words: Words, depth: int) -> bytes:
    """The .coe file for Vivado's Block Memory Generator.

    >>> print(coe_text(Words(12, np.array([[0xBC, 0x0A]], np.uint8)), 2).decode(), end="")
    memory_initialization_radix=16;
    memory_initialization_vector=
    ABC,
    000;
    """
    body = rows(depth, hex_columns(words.padded(depth)), b",\n")
    body[-1, -2] = ord(";")
    return _HEAD + body.tobytes()


def parse_coe(source: ImageSource, bits: int | None) -> Content:
    """Read any .coe file: radix 2, 10 or 16; values separated by a comma, blanks or line ends.

    Read with a warning, as they are found: a comma behind the last value, no semicolon at the end,
    and hexadecimal values without the two keywords.

    Raises:
        InputError: also for data behind the vector's semicolon, which Vivado ignores.
    """
    text = source.text()
    warnings: list[str] = []

    def line_of(place: int) -> int:
        return text.count(b"\n", 0, place) + 1

    def warn(place: int, message: str) -> None:
        warnings.append(f"{source.path}:{line_of(place)}: {message}")

    at = _skip_comments(text, 0)
    if _BARE.match(text, at):
        radix, start = HEX, at
        warn(at, f"no {_RADIX} and no {_VECTOR}: read as hexadecimal words")
    else:
        radix, start = _header(source, text)
    end = text.find(b";", start)
    if end < 0:
        end = len(text)
        warn(len(text.rstrip()), "no semicolon behind the last word; is the file cut off here?")
    rest = _skip_comments(text, _behind(text, end)) if end < len(text) else end
    if rest < len(text):
        source.fail(line_of(rest), "text behind the vector's semicolon, which ends it")
    value = text[start:end].rstrip()
    if value.endswith(b",") and value[:-1].strip():
        value = value[:-1]
        warn(start + len(value), "a comma behind the last word, with none after it")
    stray = re.search(rb"\A\s*,|,\s*,|,\s*\Z", value)
    if stray:
        source.fail(line_of(start + stray.end() - 1), "a comma without a value beside it")
    tokens = split_tokens(value.replace(b",", b" "), line_of(start))
    words = words_from_tokens(source, tokens.texts, tokens.lines, radix, bits)
    addresses = np.arange(len(words), dtype=np.int64)
    detail = f"radix {radix.base}"
    content = place_words(source, words, tokens.lines, addresses, None, False, detail)
    return replace(content, warnings=tuple(warnings))


def _header(source: ImageSource, text: bytes) -> tuple[Radix, int]:
    """The radix, and where the vector's values begin."""
    radix: Radix | None = None
    at = 0
    while True:
        at = _skip_comments(text, at)
        line = text.count(b"\n", 0, at) + 1
        match = _STATEMENT.match(text, at)
        if match is None:
            shown = text[at : at + 40].split(b"\n")[0].decode("latin-1")
            expected = f"'{_VECTOR} = ...;'" if radix else f"'{_RADIX} = 16;'"
            source.fail(line, f"expected {expected}, got {shown!r}")
        line = text.count(b"\n", 0, match.start(1)) + 1
        key = match.group(1).decode("ascii").lower()
        if key == _VECTOR:
            if radix is None:
                source.fail(line, f"{_RADIX} must stand before {_VECTOR}")
            return radix, match.end()
        if key != _RADIX:
            source.fail(line, f"unknown keyword {key[:40]!r}; known are {_RADIX}, {_VECTOR}")
        if radix is not None:
            source.fail(line, f"{_RADIX} is given twice")
        end = text.find(b";", match.end())
        if end < 0:
            source.fail(line, f"{key} has no semicolon at its end")
        base = text[match.end() : end].strip().decode("latin-1")
        if base not in ("2", "10", "16"):
            source.fail(line, f"{_RADIX} is 2, 10 or 16, got {base[:40]!r}")
        radix = RADICES[int(base)]
        at = _behind(text, end)


def _skip_comments(text: bytes, at: int) -> int:
    """The next place that is neither blank nor in a line that begins with a semicolon."""
    match = re.compile(rb"(?:\s+|;[^\n]*)*").match(text, at)
    assert match is not None
    return match.end()


def _behind(text: bytes, semicolon: int) -> int:
    """Where reading goes on behind a statement: its comment, if any, is skipped."""
    if _STATEMENT.match(text, semicolon + 1):
        return semicolon + 1
    newline = text.find(b"\n", semicolon)
    return len(text) if newline < 0 else newline
