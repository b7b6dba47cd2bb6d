# SPDX-License-Identifier: Apache-2.0
"""Images by which a bitstream's block RAMs tell what they are: the pattern.

Synthesis spreads an image over block RAMs as it likes, a few bits of every word into each, and
place and route puts these anywhere. A core that is built with the pattern can be patched: no two
bit columns of its images are equal, none is zero, and each says what it is. A column is cut into
runs of 32 words, and a run is a number of 32 bits, the first word its bit 0:

    bits 0..14   digits of the column's number: the word's bit plus 1, and the image times 2**13
    bits 15..31  a hash of the column and the run, so that every second, fourth .. word tells, too;
                 in the first two runs the run's number, mixed with the column's

In the program's first run a parameter of the core stands in the number's place, with bit 31 set:
two columns for each, lower and upper half, in the order of ``Core``. Nothing is random and nothing
has to be kept: the pattern follows from the core.
"""

from dataclasses import MISSING, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import InputError, RecipeError
from bramcast.pack.bundle.manifest import IMAGES, Core
from bramcast.pack.bundle.words import Words

RUN = 32  # words
SMALLEST_BLOCK = 256  # words
_IMAGE = 13  # the image's number in the column's
_COLUMN = 15  # bits of the column's number
_HALF = 16  # bits of a run's number, or of a parameter's half


def _mixed(columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """17 bits of each column, without rhyme: a run is no counter that others might have, too."""
    return (columns * 0x9E3779B1 >> 9) & 0x1FFFF


def _hash(columns: NDArray[np.int64], runs: NDArray[np.int64]) -> NDArray[np.int64]:
    """17 bits for each column of each run: int64 [runs, columns]."""
    mixed = columns.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = mixed + (runs.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F))[:, None]
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(47)).astype(np.int64)


def _digits(columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bit i is the sum of the number's bits 0..i: no word has the same bit in all columns.

    As many words as the number of columns has bits suffice to tell them apart.
    """
    for shift in (1, 2, 4, 8):
        columns = columns ^ (columns << shift)
    return columns & ((1 << _COLUMN) - 1)


def _halves(core: Core) -> NDArray[np.int64]:
    """The core's parameters, int64 [2 * parameters]: lower half, upper half."""
    values = np.array([int(getattr(core, field.name)) for field in fields(core)], np.int64)
    return np.stack([values & 0xFFFF, values >> _HALF], axis=1).reshape(-1)


def pattern(core: Core) -> dict[str, Words]:
    """The pattern of all images that a core has memories for.

    Raises:
        RecipeError: a memory is so small that its columns can't differ.

    >>> words = pattern(Core(4, 1, 8, 8, 1, 96, 40, 10, 0, 64))
    >>> [(name, w.bits, len(w)) for name, w in words.items()]
    [('program', 32, 96), ('weights', 32, 40), ('bias', 36, 10)]
    >>> f"{words['program'].integer(0):08X} {words['program'].integer(1):08X}"
    '55555555 33333333'
    """
    return {
        name: _image(name, core, core.word_bits(name), core.depth(name))
        for name in IMAGES
        if core.depth(name)
    }


def short_rests(core: Core) -> dict[str, int]:
    """Images that may leave a few words for a block RAM of their own, and depths that do not.

    Their columns may be too short to differ; whether there is such a block, synthesis decides.

    >>> short_rests(Core(4, 1, 8, 8, 1, 96, 1030, 512, 0, 64))
    {'weights': 1056}
    """
    rests = {name: core.depth(name) % SMALLEST_BLOCK for name in IMAGES}
    return {
        name: core.depth(name) - rest + RUN
        for name, rest in rests.items()
        if 0 < rest < RUN and core.depth(name) > SMALLEST_BLOCK
    }


def _image(name: str, core: Core, bits: int, depth: int) -> Words:
    least = 2 * RUN if name == "program" else bits.bit_length()
    if depth < least:
        raise RecipeError(
            f"{name}_depth = {depth}: bit columns of so few words can't tell which they are, and "
            f"the bitstream could not be patched: give core.{name}_depth = {least} in the recipe"
        )
    columns = (IMAGES.index(name) << _IMAGE) + 1 + np.arange(bits, dtype=np.int64)
    upper = _hash(columns, np.arange(max(2, -(-depth // RUN))))  # [runs, bits]
    first = np.array([[0], [1]]) + np.zeros(bits, np.int64)
    if name == "program":
        halves = _halves(core)
        first[0, : len(halves)] = halves | 1 << _HALF
    upper[:2] = first ^ _mixed(columns)
    numbers = _digits(columns) | upper << _COLUMN
    rows = np.empty((len(numbers), RUN, bits), np.uint8)
    for row in range(RUN):
        rows[:, row] = (numbers >> row) & 1
    flat = rows.reshape(-1, bits)[:depth]
    return Words(bits, np.packbits(flat, axis=1, bitorder="little"))


def core_of(runs: NDArray[np.int64]) -> Core | None:
    """The core whose pattern a file holds.

    Args:
        runs: the first two runs of whatever may be a column, as numbers: int64 [n, 2].

    Returns:
        None if the program's first runs are not among them.

    Raises:
        InputError: there are parameters that this version does not know.

    >>> core = Core(4, 1, 8, 8, 1, 96, 4000, 10, 0, 64, gates=True)
    >>> columns = bit_columns(pattern(core)["program"])[:, :64].astype(np.int64)
    >>> core_of((columns.reshape(32, 2, 32) << np.arange(32)).sum(axis=2)) == core
    True
    """
    lower = runs & ((1 << _COLUMN) - 1)
    columns = (lower ^ (lower << 1)) & ((1 << _COLUMN) - 1)
    first, second = ((runs >> _COLUMN) ^ _mixed(columns)).T
    ours = (columns[:, 0] >= 1) & (columns[:, 0] <= 32)
    ours &= (first >> _HALF == 1) & (second == 1)
    numbers, values = columns[ours, 0] - 1, first[ours] & 0xFFFF
    halves = dict(zip(numbers.tolist(), values.tolist(), strict=True))
    found: dict[str, Any] = {}
    for number, field in enumerate(fields(Core)):
        low, high = halves.pop(2 * number, None), halves.pop(2 * number + 1, None)
        if low is not None and high is not None:
            found[field.name] = low | high << _HALF
        elif field.default is MISSING:
            return None
    if halves:
        raise InputError("its core has parameters that this version of bramcast does not know")
    return Core(**found)


def bit_columns(words: Words) -> NDArray[np.uint8]:
    """An image's bits, uint8 0 or 1 [bits, words].

    >>> bit_columns(Words(3, np.array([[1], [6]], np.uint8)))
    array([[1, 0],
           [0, 1],
           [0, 1]], dtype=uint8)
    """
    bits = np.unpackbits(words.data, axis=1, count=words.bits, bitorder="little")
    return np.ascontiguousarray(bits.T)


def from_columns(columns: NDArray[np.uint8]) -> Words:
    """The inverse of ``bit_columns``."""
    packed = np.packbits(np.ascontiguousarray(columns.T), axis=1, bitorder="little")
    return Words(len(columns), packed)
