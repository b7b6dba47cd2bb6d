# SPDX-License-Identifier: Apache-2.0
"""Digits of memory words as text: what all image writers and readers are made of.

Writing and reading work on whole arrays; only the search for an offending line looks at single
lines. Every limit stands here, so that a hostile file costs neither time nor memory without end.
"""

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.words import Words

MAX_FILE_BYTES = 1 << 26
MAX_DEPTH = 1 << 24
MAX_BITS = 1 << 14  # of one word
MAX_TOTAL_BITS = 1 << 30

_HEX = np.frombuffer(b"0123456789ABCDEF", np.uint8)
_PAIRS = np.stack([_HEX.repeat(16), np.tile(_HEX, 16)], axis=1).view(np.uint16).reshape(256)
_BAD = 255
_NIBBLES = np.full(256, _BAD, np.uint8)  # what we write: upper case only
_NIBBLES[_HEX] = np.arange(16)
_DIGITS = _NIBBLES.copy()  # what others write
_DIGITS[np.frombuffer(b"abcdef", np.uint8)] = np.arange(10, 16)
_SOLID = np.ones(256, bool)
_SOLID[list(b" \t\n\r\x0b\x0c")] = False
LF = ord("\n")

# --- writing


def hex_columns(words: Words) -> NDArray[np.uint8]:
    """ASCII hex digits of each word, most significant first: uint8 [n, digits]."""
    digits = _PAIRS.take(words.data[:, ::-1]).view(np.uint8)
    return digits[:, digits.shape[1] - words.digits :]


def binary_columns(words: Words) -> NDArray[np.uint8]:
    """ASCII binary digits of each word, most significant first: uint8 [n, bits]."""
    bits = np.unpackbits(words.data, axis=1, count=words.bits, bitorder="little")
    return bits[:, ::-1] + np.uint8(ord("0"))


def address_columns(depth: int) -> NDArray[np.uint8]:
    """Hex addresses 0..depth-1, all as wide as the last one: uint8 [depth, digits]."""
    bits = max(4, (depth - 1).bit_length())
    index = np.arange(depth, dtype="<u4").view(np.uint8).reshape(depth, 4)
    return hex_columns(Words(bits, np.ascontiguousarray(index[:, : -(-bits // 8)])))


def rows(n: int, *parts: NDArray[np.uint8] | bytes) -> NDArray[np.uint8]:
    """Text columns side by side; bytes repeat in every row. uint8 [n, width]."""
    widths = [len(p) if isinstance(p, bytes) else p.shape[1] for p in parts]
    text = np.empty((n, sum(widths)), np.uint8)
    at = 0
    for part, width in zip(parts, widths, strict=True):
        column = np.frombuffer(part, np.uint8) if isinstance(part, bytes) else part
        text[:, at : at + width] = column
        at += width
    return text


# --- reading what we wrote


def words_from_columns(digits: NDArray[np.uint8], bits: int) -> Words | None:
    """Words from ASCII hex columns [n, ceil(bits / 4)]; None if a digit is wrong or too large."""
    nibbles = np.take(_NIBBLES, digits)
    if np.any(nibbles == _BAD):
        return None
    data = _bytes_from_nibbles(nibbles)
    if bits % 8 and np.any(data[:, -1] >> (bits % 8)):
        return None
    return Words(bits, data)


def _bytes_from_nibbles(nibbles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes of each word, least significant first, from nibbles, most significant first."""
    n, width = nibbles.shape
    even = nibbles
    if width % 2:
        even = np.zeros((n, width + 1), np.uint8)
        even[:, 1:] = nibbles
    return np.ascontiguousarray((even[:, ::2] << 4 | even[:, 1::2])[:, ::-1])


def blame_digits(place: str, text: str, bits: int, what: str) -> None:
    """Raise for the first thing that is wrong with one word's digits; return if nothing is."""
    width = -(-bits // 4)
    if len(text) != width:
        raise InputError(f"{place}: expected {width} hex digits ({what}), got {len(text)}")
    for column, char in enumerate(text):
        if char not in "0123456789ABCDEF":
            hint = "; digits are upper case here" if char in "abcdef" else ""
            raise InputError(f"{place}: {char!r} in column {column + 1} is not a hex digit{hint}")
    if int(text, 16) >> bits:
        raise InputError(f"{place}: {text} needs more than {bits} bits ({what})")


def blame_lines(
    path: Path,
    raw: bytes,
    expected: int,
    check: Callable[[str, int, str], None],
) -> None:
    """Find the first wrong line of a text file that should be just as we write it.

    Args:
        expected: lines that the file must have.
        check: called with "path:line", the line's index and its text; raises if it is wrong.
    """
    if b"\r" in raw:
        line = raw[: raw.index(b"\r")].count(b"\n") + 1
        raise InputError(
            f"{path}:{line}: carriage return; lines end in a single line feed here "
            "(was the file changed by an editor or git on Windows?)"
        )
    lines = raw.split(b"\n")
    for index, line_bytes in enumerate(lines[:-1][:expected]):
        check(f"{path}:{index + 1}", index, line_bytes.decode("ascii", "backslashreplace"))
    if lines[-1] and len(lines) <= expected:
        raise InputError(
            f"{path}:{len(lines)}: the last line does not end in a line feed; the file is cut off"
        )
    if lines[-1]:
        lines.append(b"")
    if len(lines) - 1 != expected:
        raise InputError(f"{path}: {len(lines) - 1} lines, expected {expected}; repack the bundle")


# --- reading what others wrote


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A file to read: its name for messages and its bytes."""

    path: Path
    raw: bytes

    def fail(self, line: int, message: str) -> NoReturn:
        """Refuse the file at a line (0: as a whole)."""
        raise InputError(f"{self.path}:{line}: {message}" if line else f"{self.path}: {message}")

    def text(self) -> bytes:
        """The bytes with line feeds only and without a byte order mark.

        Raises:
            InputError: UTF-16, or control characters, as binary files have them.
        """
        if self.raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            self.fail(1, "UTF-16 text; image files are ASCII, save it as ASCII or UTF-8")
        text = self.raw.removeprefix(b"\xef\xbb\xbf")
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        control = re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", text)
        if control:
            line = text.count(b"\n", 0, control.start()) + 1
            byte = control.group()[0]
            self.fail(line, f"byte 0x{byte:02X}: not a text file (--from says which format)")
        return text


def read_source(path: Path) -> ImageSource:
    """Read a file, if it is one and not too large.

    Raises:
        InputError: missing, not a regular file, or larger than ``MAX_FILE_BYTES``.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise InputError(f"{path}: not a regular file")
        if state.st_size > MAX_FILE_BYTES:
            raise InputError(
                f"{path}: {state.st_size:,} bytes; images have at most {MAX_FILE_BYTES:,}"
            )
        return ImageSource(path, path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """What stands between blanks.

    Attributes:
        texts: n tokens.
        lines: int64 [n], the line of each, from 1.
        first: uint8 [n], the first character of each.
    """

    texts: list[bytes]
    lines: NDArray[np.int64]
    first: NDArray[np.uint8]


def split_tokens(text: bytes, line: int = 1) -> Tokens:
    r"""The tokens of a text whose first line has the number ``line``.

    >>> tokens = split_tokens(b"@0 12\n\n 3F", 7)
    >>> tokens.texts, tokens.lines.tolist(), bytes(tokens.first)
    ([b'@0', b'12', b'3F'], [7, 7, 9], b'@13')
    """
    raw = np.frombuffer(text, np.uint8)
    solid = _SOLID[raw]
    solid[1:] &= _SOLID[raw[1:]] & ~_SOLID[raw[:-1]]
    starts = np.flatnonzero(solid)
    breaks = np.flatnonzero(raw == LF)
    lines = np.searchsorted(breaks, starts) + line
    return Tokens(text.split(), lines.astype(np.int64), raw[starts])


@dataclass(frozen=True, slots=True)
class Radix:
    """A number base of image files."""

    base: int
    name: str
    digit_bits: int  # 0: decimal, digits don't stand for bits


HEX = Radix(16, "hexadecimal", 4)
BIN = Radix(2, "binary", 1)
OCT = Radix(8, "octal", 3)
DEC = Radix(10, "decimal", 0)
RADICES = {radix.base: radix for radix in (BIN, OCT, DEC, HEX)}
_ALLOWED = {2: b"01", 8: b"01234567", 10: b"0123456789", 16: b"0123456789abcdefABCDEF"}

_HINTS = {
    "x": "an undefined digit: every bit of an image must be 0 or 1",
    "z": "a high-impedance digit: every bit of an image must be 0 or 1",
    "?": "an undefined digit: every bit of an image must be 0 or 1",
    ",": "words are separated by blanks or line ends here",
    "#": "no comment of this format",
    "-": "words are written as unsigned numbers here",
    "@": "an address needs white space before it and digits right behind it",
}


def _blame_token(source: ImageSource, line: int, text: bytes, radix: Radix) -> NoReturn:
    shown = text.decode("latin-1")
    shown = shown if len(shown) <= 40 else shown[:37] + "..."
    if text[:2] in (b"0x", b"0X"):
        source.fail(line, f"{shown!r}: words have no prefix 0x in this format")
    values = _DIGITS[np.frombuffer(text, np.uint8)]
    at = int(np.argmax(values >= radix.base))
    char = chr(text[at])
    hint = _HINTS.get(char.lower(), "")
    source.fail(
        line,
        f"{char!r} in {shown!r} is not a {radix.name} digit" + (f" ({hint})" if hint else ""),
    )


def words_from_tokens(
    source: ImageSource,
    texts: list[bytes],
    lines: NDArray[np.int64],
    radix: Radix,
    bits: int | None,
) -> Words:
    """One word per token, upper or lower case digits, most significant first.

    Args:
        bits: the words' width; None takes that of the longest token (decimal: largest number).

    Raises:
        InputError: a digit that is none, or a number that needs more than ``bits`` bits.
    """
    if bits is not None and not 1 <= bits <= MAX_BITS:
        source.fail(0, f"words of {bits} bits; 1..{MAX_BITS} are read")
    if not texts:
        return Words(bits or 1, np.zeros((0, -(-(bits or 1) // 8)), np.uint8))
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    longest = int(sizes.max())
    worst = int(lines[int(np.argmax(sizes))])
    digits_limit = MAX_BITS // max(1, radix.digit_bits) if radix.digit_bits else 4000
    if longest > digits_limit:
        source.fail(worst, f"a word of {longest:,} digits; at most {digits_limit:,} are read")
    check_extent(source, worst, len(texts), longest * max(1, radix.digit_bits))
    columns = np.frombuffer(b"".join([t.rjust(longest, b"0") for t in texts]), np.uint8)
    values = _DIGITS[columns].reshape(len(texts), longest)
    wrong = values >= radix.base
    if wrong.any():
        index = int(np.argmax(wrong.any(axis=1)))
        _blame_token(source, int(lines[index]), texts[index], radix)
    data = _decimal_bytes(texts) if radix is DEC else _bytes_from_digits(values, radix)
    if bits is None:
        bits = _used_bits(data) if radix is DEC else longest * radix.digit_bits
    n_bytes = -(-bits // 8)
    top = data[:, n_bytes:].any(axis=1)
    if bits % 8 and data.shape[1] >= n_bytes:
        top |= (data[:, n_bytes - 1] >> (bits % 8)) > 0
    if top.any():
        index = int(np.argmax(top))
        shown = texts[index].decode("latin-1")[:60]
        source.fail(int(lines[index]), f"{shown} needs more than {bits} bits")
    fit = np.zeros((len(texts), n_bytes), np.uint8)
    width = min(n_bytes, data.shape[1])
    fit[:, :width] = data[:, :width]
    return Words(bits, fit)


def _bytes_from_digits(values: NDArray[np.uint8], radix: Radix) -> NDArray[np.uint8]:
    if radix is HEX:
        return _bytes_from_nibbles(values)
    n, width = values.shape
    bits = values[:, ::-1, None] >> np.arange(radix.digit_bits, dtype=np.uint8) & 1
    return np.packbits(bits.reshape(n, width * radix.digit_bits), axis=1, bitorder="little")


def _decimal_bytes(texts: list[bytes]) -> NDArray[np.uint8]:
    numbers = [int(text) for text in texts]
    n_bytes = -(-max(1, max(numbers).bit_length()) // 8)
    joined = b"".join([number.to_bytes(n_bytes, "little") for number in numbers])
    return np.frombuffer(joined, np.uint8).reshape(len(texts), n_bytes)


def _used_bits(data: NDArray[np.uint8]) -> int:
    """Bits of the largest word, at least 1."""
    whole = np.bitwise_or.reduce(data, axis=0)
    return max(1, int.from_bytes(whole.tobytes(), "little").bit_length())


def check_extent(source: ImageSource, line: int, depth: int, bits: int) -> None:
    """Refuse what no FPGA holds, before memory is taken for it."""
    if depth > MAX_DEPTH:
        source.fail(line, f"{depth:,} words; images have at most {MAX_DEPTH:,}")
    if depth * bits > MAX_TOTAL_BITS:
        source.fail(
            line, f"{depth:,} words of {bits:,} bits; images have at most {MAX_TOTAL_BITS:,} bits"
        )


def number(source: ImageSource, line: int, text: bytes, radix: Radix, what: str) -> int:
    """One small number, such as an address or a depth.

    Raises:
        InputError: no number of this radix, or one beyond any memory.
    """
    digits = text.strip()
    if not digits or digits.translate(None, _ALLOWED[radix.base]):
        shown = digits.decode("latin-1")[:40]
        source.fail(line, f"expected {what} ({radix.name}), got {shown!r}")
    if len(digits.lstrip(b"0")) > 64 or int(digits, radix.base) >> 32:
        shown = digits.decode("latin-1")[:40]
        source.fail(line, f"{what} {shown} is beyond any memory")
    return int(digits, radix.base)


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What an image file says.

    Attributes:
        words: from address 0 to the last one that is given, or to the declared depth.
        lines: int64 [n], the line that gives each word (in binary files the word's number, from
            1); 0 where the file gives none: the word is zero then.
        declared: the file itself states the width.
        repeats: words that are given again later; the last one counts, as in every tool.
        detail: what the file says about its form, e.g. "radix 16".
        warnings: what is against the format's book and was read all the same, with file and line.
    """

    words: Words
    lines: NDArray[np.int64]
    declared: bool
    repeats: int = 0
    detail: str = ""
    warnings: tuple[str, ...] = ()


def place_words(
    source: ImageSource,
    words: Words,
    lines: NDArray[np.int64],
    addresses: NDArray[np.int64],
    depth: int | None,
    declared: bool,
    detail: str = "",
) -> Content:
    """Put words at their addresses; where one is given twice, the last one stays.

    Args:
        words: n words, ``lines`` [n] and ``addresses`` [n] theirs.
        depth: words of the memory as declared; None ends it behind the highest address.

    Raises:
        InputError: an address outside the memory.
    """
    highest = int(addresses.max()) if len(addresses) else -1
    where = int(lines[int(np.argmax(addresses))]) if len(addresses) else 0
    if depth is not None and highest >= depth:
        where = int(lines[int(np.argmax(addresses >= depth))])
        source.fail(where, f"address {highest:,} (0x{highest:X}) is outside a depth of {depth:,}")
    end = highest + 1 if depth is None else depth
    check_extent(source, where, end, words.bits)
    data = np.zeros((end, words.data.shape[1]), np.uint8)
    given = np.zeros(end, np.int64)
    # numpy does not promise which of two equal indices wins, so earlier ones are left out
    keep = np.zeros(end, np.int64)
    np.maximum.at(keep, addresses, np.arange(1, len(addresses) + 1))
    chosen = keep[keep > 0] - 1
    data[addresses[chosen]] = words.data[chosen]
    given[addresses[chosen]] = lines[chosen]
    repeats = len(addresses) - len(chosen)
    return Content(Words(words.bits, data), given, declared, repeats, detail)


def blank_comments(source: ImageSource, text: bytes, comments: str) -> bytes:
    """The text with comments as blanks, line ends kept.

    Args:
        comments: which kinds: ``/`` is // to the end of the line and /* to */, ``-`` is -- to the
            end of the line and % to %, ``#`` is # to the end of the line.
    """
    kinds = {
        "/": rb"//[^\n]*|/\*(?:.*?\*/|.*)",
        "-": rb"--[^\n]*|%(?:[^%]*%|[^%]*)",
        "#": rb"#[^\n]*",
    }
    marks = {"/": b"/", "-": b"-%", "#": b"#"}
    kinds = {k: v for k, v in kinds.items() if k in comments and any(m in text for m in marks[k])}
    if not kinds:
        return text

    def blank(match: re.Match[bytes]) -> bytes:
        found = match.group()
        closed = found.endswith(b"*/") and len(found) > 3 if found[:2] == b"/*" else True
        if found[:1] == b"%":
            closed = len(found) > 1 and found.endswith(b"%")
        if not closed:
            line = text.count(b"\n", 0, match.start()) + 1
            source.fail(line, "a comment begins here and does not end")
        return b" " + b"\n" * found.count(b"\n")

    return re.sub(b"|".join(kinds.values()), blank, text, flags=re.DOTALL)
