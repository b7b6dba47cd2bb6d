# SPDX-License-Identifier: Apache-2.0
"""Integers of tensors as memory words, for block RAMs of somebody's own core."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import InputError
from bramcast.pack.bundle.folder import is_stdout, named
from bramcast.pack.bundle.formats.table import TABLE, image_format
from bramcast.pack.bundle.formats.text import MAX_BITS, MAX_DEPTH, MAX_TOTAL_BITS
from bramcast.pack.bundle.images import write_checked
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.bundle.words import Words, pack_lanes


@dataclass(frozen=True, slots=True)
class Span:
    """Where a tensor lies in an image: its first word and how many words it takes."""

    address: int
    words: int


def image_suffix(name: str) -> str | None:
    """The image format that a file's name asks for; the longest suffix counts.

    >>> [image_suffix(n) for n in ("w.mem", "W.LATTICE.MEM", "w.memb", "w.txt")]
    ['mem', 'lattice', 'memb', None]
    """
    if name.lower().endswith(".memb"):
        return "memb"
    fitting = [f for f in TABLE if name.lower().endswith(f.suffix)]
    return max(fitting, key=lambda f: len(f.suffix)).name if fitting else None


def rows_of(tensor: NDArray[Any]) -> tuple[int, int]:
    """How many rows a tensor has, and how many values each: all that one first index holds.

    A row of a Linear's or a convolution's weights is what one output sums up.

    >>> rows_of(np.zeros((10, 3, 5, 5))), rows_of(np.zeros(7)), rows_of(np.zeros(()))
    ((10, 75), (1, 7), (1, 1))
    """
    if tensor.ndim < 2:
        return 1, tensor.size
    return len(tensor), tensor.size // max(1, len(tensor))


def tensor_words(
    tensors: Sequence[NDArray[np.int64]], fmt: QFormat, word_bits: int, pad_rows: bool = False
) -> tuple[Words, tuple[Span, ...]]:
    """Tensors one after another, each from a new word on; what is left of its last word is zero.

    Args:
        tensors: integers of ``fmt``, any shape, taken in C order (the last index is fastest).
        word_bits: a multiple of ``fmt.bits``; element 0 sits in the least significant bits.
        pad_rows: so begins each row (``rows_of``), not only each tensor.

    >>> words, spans = tensor_words([np.array([1, -2, 3]), np.array([4])], QFormat(8, 6), 16)
    >>> [f"{words.integer(i):04X}" for i in range(3)]
    ['FE01', '0003', '0004']
    >>> spans
    (Span(address=0, words=2), Span(address=2, words=1))
    >>> words, _ = tensor_words([np.array([[1, 2, 3], [4, 5, 6]])], QFormat(4, 0), 8, pad_rows=True)
    >>> [f"{words.integer(i):02X}" for i in range(4)]
    ['21', '03', '54', '06']
    """
    lanes = word_bits // fmt.bits
    rows, spans, at = [], [], 0
    for values in tensors:
        n = word_count(values, lanes, pad_rows)
        many, length = rows_of(values) if pad_rows else (1, values.size)
        padded = np.zeros((many, n // max(1, many) * lanes), np.int64)
        padded[:, :length] = values.reshape(many, length)
        rows.append(padded.reshape(n, lanes))
        spans.append(Span(at, n))
        at += n
    return pack_lanes(np.concatenate(rows), fmt.bits, fmt.signed), tuple(spans)


def word_count(tensor: NDArray[Any], lanes: int, pad_rows: bool) -> int:
    """Words that a tensor takes; see ``tensor_words``."""
    many, length = rows_of(tensor) if pad_rows else (1, tensor.size)
    return many * -(-length // lanes)


def image_bytes(
    output: Path,
    format: str,
    tensors: Sequence[NDArray[np.int64]],
    fmt: QFormat,
    word_bits: int | None,
    pad_rows: bool = False,
) -> tuple[bytes, Words, tuple[Span, ...]]:
    """An image file of tensors, read back before it is returned; its words, and each one's place.

    Args:
        output: the file, for messages.
        format: a choice of ``bundle.formats.table.NAMES``.
        word_bits: bits of a word; None is a word for each element.
        pad_rows: each row begins with a new word.

    Raises:
        InputError: a width that ``fmt`` does not fill, or a memory that the format can't hold.
    """
    made = image_format(format)
    bits = fmt.bits if word_bits is None else word_bits
    if bits % fmt.bits:
        less, more = bits // fmt.bits * fmt.bits, -(-bits // fmt.bits) * fmt.bits
        near = f"{less} or {more}" if less else f"{more}"
        raise InputError(
            f"{named(output)}: --word-bits {bits} is no multiple of {fmt}'s {fmt.bits} bits: {near}"
        )
    if bits > MAX_BITS:
        raise InputError(
            f"{named(output)}: words of {bits:,} bits; images have at most {MAX_BITS:,}"
        )
    depth = sum(word_count(t, bits // fmt.bits, pad_rows) for t in tensors)
    if not depth:
        raise InputError(f"{named(output)}: no values: an image has at least one word")
    if depth > MAX_DEPTH or depth * bits > MAX_TOTAL_BITS:
        raise InputError(
            f"{named(output)}: {depth:,} words of {bits:,} bits; images have at most {MAX_DEPTH:,} "
            f"words and {MAX_TOTAL_BITS:,} bits: export fewer tensors, or parts of them (--slice)"
        )
    complaint = made.complaint(bits, depth)
    if complaint:
        hint = (
            f"(write .mem, then: bramcast images F.mem --to {made.name} --bits {bits} "
            f"--bank-bits N -o {output})"
        )
        raise InputError(f"{named(output)}: {complaint.replace('(bank_bits)', hint)}")
    words, spans = tensor_words(tensors, fmt, bits, pad_rows)
    return write_checked(words, made, depth), words, spans


def integers_needed(
    path: Path, output: Path, format: str, name: str, word_bits: int | None, options: str = ""
) -> InputError:
    """The refusal of an image of floats: says what to write.

    Args:
        path, name: the checkpoint and a tensor of it.
        word_bits, options: what was said already, other options as they are written.
    """
    asked = "" if image_suffix(output.name) == format else f" --format {format}"
    place = "" if is_stdout(output) else f" -o {output}"
    return InputError(
        f"{named(output)}: {format} is a memory image, which holds integers: say their fixed-point "
        f"format (bramcast inspect proposes one) and how wide a word is: bramcast export {path} "
        f"{name}{options} --q Q1.6 --word-bits {word_bits or 64}{asked}{place}; or --format text "
        "for numbers to read"
    )
