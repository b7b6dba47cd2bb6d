# SPDX-License-Identifier: Apache-2.0
"""Where the words of images lie in block RAMs: found by the contents of bit columns.

Nothing is known of the synthesis but that a block holds, in one of its shapes, up to so many words
of a few bits of an image, from a multiple of its depth on, and zeros behind the image's last word.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bitstream.blocks import Bits, Contents, Shape
from bramcast.pack.bitstream.pattern import RUN


class Ambiguous(Exception):
    """Two columns are equal, so that it is not known which is where."""


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """What each bit of the block RAMs is: int64 [blocks, bits], -1: none of ours.

    All columns of all images behind each other are numbered through; ``starts`` has the number of
    the first bit of each image's first column, and at the end how many there are.
    """

    owners: NDArray[np.int64]
    starts: dict[str, tuple[int, int]]

    @property
    def found(self) -> bool:
        """Whether there is anything."""
        return bool((self.owners >= 0).any())

    def copies(self) -> dict[str, tuple[int, int]]:
        """How often each image's bits are there: of each image the rarest and the most frequent."""
        total = max(end for _, end in self.starts.values())
        counts = np.bincount(self.owners[self.owners >= 0], minlength=total)
        return {
            image: (int(counts[start:end].min()), int(counts[start:end].max()))
            for image, (start, end) in self.starts.items()
        }

    def blocks(self, image: str) -> int:
        """Blocks that hold a part of an image."""
        start, end = self.starts[image]
        return int(((self.owners >= start) & (self.owners < end)).any(axis=1).sum())

    def replaced(self, contents: Contents, columns: Mapping[str, Bits]) -> Contents:
        """The same block RAMs with other columns in the places."""
        new = np.concatenate([columns[image].reshape(-1) for image in self.starts])
        return Contents(contents.names, np.where(self.owners >= 0, new[self.owners], contents.bits))

    def holds(self, contents: Contents, columns: Mapping[str, Bits]) -> bool:
        """Whether every bit of the columns stands in all its places."""
        wanted = np.concatenate([columns[image].reshape(-1) for image in self.starts])
        ours = self.owners >= 0
        return np.array_equal(contents.bits[ours], wanted[self.owners[ours]])


def first_runs(contents: Contents, shapes: Sequence[Shape]) -> NDArray[np.int64]:
    """The first two runs of all that may be a column, as numbers: int64 [n, 2]."""
    found = [np.zeros((0, 2), np.int64)]
    weights = np.int64(1) << np.arange(RUN, dtype=np.int64)
    for shape in shapes:
        if shape.stride > 1:
            continue
        heads = contents.bits[:, shape.places[:, : 2 * RUN]].reshape(-1, 2, RUN)
        found.append(heads @ weights)
    return np.concatenate(found)


def find(contents: Contents, shapes: Sequence[Shape], columns: Mapping[str, Bits]) -> Places:
    """All places of all columns.

    Args:
        columns: of each image, uint8 0 or 1 [bits, words].

    Raises:
        Ambiguous: a bit may be two things; says which.
    """
    sizes = np.cumsum([0, *(bits.size for bits in columns.values())]).tolist()
    starts = {image: (sizes[i], sizes[i + 1]) for i, image in enumerate(columns)}
    owners = np.full(contents.bits.shape, -1, np.int64)
    sure: list[_Hit] = []
    short: list[_Hit] = []
    for shape in shapes:
        for hit in _hits(contents, shape, columns):
            (sure if hit.sure else short).append(hit)
    # A few words are like those of others, too: they lie as the words before them do.
    used = {(hit.image, id(hit.shape)) for hit in sure}
    for hit in [*sure, *(hit for hit in short if (hit.image, id(hit.shape)) in used)]:
        depth = columns[hit.image].shape[1]
        if hit.bit < 0:
            raise Ambiguous(f"words {hit.base} and up of {hit.image}: two bits are the same")
        numbers = np.arange(hit.base, depth, hit.shape.stride)[: hit.shape.words]
        places = hit.shape.places[hit.lane, : len(numbers)]
        numbers = numbers + starts[hit.image][0] + hit.bit * depth
        before = owners[hit.block, places]
        if np.any((before >= 0) & (before != numbers)):
            raise Ambiguous(f"{contents.names[hit.block]} can be read in two ways")
        owners[hit.block, places] = numbers
    return Places(owners, starts)


@dataclass(frozen=True, slots=True)
class _Hit:
    """A lane of a block that may hold words ``base`` and up of an image's bit."""

    image: str
    bit: int
    base: int
    shape: Shape
    block: int
    lane: int
    sure: bool  # they are many, or the image's first ones


def _hits(contents: Contents, shape: Shape, columns: Mapping[str, Bits]) -> Iterator[_Hit]:
    packed = np.packbits(contents.bits[:, shape.places], axis=2)
    used = [
        (block, lane, packed[block, lane].tobytes())
        for block, lane in np.argwhere(packed.any(axis=2)).tolist()
    ]
    for image, bits in columns.items():
        known = _pieces(bits, shape.words, shape.stride)
        for block, lane, content in used:
            if content in known:
                bit, base = known[content]
                words = (bits.shape[1] - base) // shape.stride
                sure = words >= RUN or (base == 0 and shape.stride == 1)
                yield _Hit(image, bit, base, shape, block, lane, sure)


def _pieces(bits: Bits, words: int, stride: int) -> dict[bytes, tuple[int, int]]:
    """Bit and first word of each piece of ``words`` words; bit -1: it is there twice."""
    pieces: dict[bytes, tuple[int, int]] = {}
    span = words * stride
    padded = np.zeros((len(bits), -(-bits.shape[1] // span) * span), np.uint8)
    padded[:, : bits.shape[1]] = bits
    cut = padded.reshape(len(bits), -1, words, stride).transpose(0, 1, 3, 2)
    packed = np.packbits(cut, axis=3)  # [bits, spans, stride, bytes]
    for bit, spans in enumerate(packed):
        for number, phases in enumerate(spans):
            for phase, piece in enumerate(phases):
                key = piece.tobytes()
                pieces[key] = (-1 if key in pieces else bit, number * span + phase)
    return pieces
