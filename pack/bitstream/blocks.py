# SPDX-License-Identifier: Apache-2.0
"""Block RAMs as a bitstream has them: bits of initial contents, read in one of several shapes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]  # 0 or 1


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A way to read a block: int64 [lanes, words], which of its bits is bit ``lane`` of a word.

    ``stride``: how many words of the memory it is from one word to the next.
    """

    places: NDArray[np.int64]
    stride: int = 1

    @property
    def words(self) -> int:
        return int(self.places.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Block RAMs of an FPGA family: what they are called, their bits and their shapes."""

    name: str
    block: str
    bits: int
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """The block RAMs of a file: uint8 0 or 1 [blocks, bits], each with its name in the file."""

    names: list[str]
    bits: Bits


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A kind of bitstream file.

    Attributes:
        name: what it is, with its suffix.
        family: of its block RAMs.
        mine: whether a file's content is of this kind.
        read: the block RAMs that a file has contents for; raises InputError, which names the file.
        write: the same file with other contents in the same block RAMs; nothing else alters but
            checksums.
    """

    name: str
    family: Family
    mine: Callable[[bytes], bool]
    read: Callable[[Path, bytes], Contents]
    write: Callable[[Path, bytes, Contents], bytes]
