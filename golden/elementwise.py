# SPDX-License-Identifier: Apache-2.0
"""Nests without weights: the highest of some elements, sums of products of two."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from bramcast.golden import sizes
from bramcast.golden.chunk import Chunk, ViewCall
from bramcast.golden.epilogue import Epilogue
from bramcast.golden.loops import ranges
from bramcast.golden.memories import Memories
from bramcast.golden.taps import Taps
from bramcast.pack.bundle.program import Nest


class _Wordwise:
    """A nest that goes through its taps word by word, all lanes side by side."""

    def __init__(
        self, memories: Memories, index: int, nest: Nest, beat: int, bound: int, lane_bytes: int
    ) -> None:
        """
        Args:
            bound: of any lane's |accumulator|.
            lane_bytes: of the arrays between, for one lane of one sample.
        """
        self.memories, self.nest, self.taps = (
            memories,
            nest,
            Taps(nest, memories.core, memories.bank_words * memories.core.word),
        )
        self.out = Epilogue(memories, index, nest, bound, beat)
        per_pixel = memories.chunk * self.out.lanes * lane_bytes
        pixels_at_once = max(1, sizes.BLOCK_BYTES // per_pixel)
        self.places = [
            self.out.place(pixels, groups)
            for groups in self.out.ranges(1)
            for pixels in ranges(self.out.groups.pixels, pixels_at_once)
        ]

    def bind(self, chunk: Chunk) -> Iterator[ViewCall]:
        yield partial(self._run, chunk)

    def _run(self, chunk: Chunk) -> None:
        raise NotImplementedError


class Maximum(_Wordwise):
    """A max nest: the highest number of each lane."""

    def __init__(self, memories: Memories, index: int, nest: Nest, beat: int) -> None:
        super().__init__(memories, index, nest, beat, 1 << memories.core.data_bits, 8)

    def _run(self, chunk: Chunk) -> None:
        for place in self.places:
            lanes = place.lanes
            source = self.memories.readable(chunk, self.nest, lanes)
            n_pixels = place.pixels.stop - place.pixels.start
            acc = np.full((n_pixels, lanes, chunk.samples), np.iinfo(source.dtype).min, np.int32)
            none = np.ones(n_pixels, np.bool_)
            for taps in ranges(self.nest.taps, max(1, (1 << 20) // n_pixels)):
                group = place.groups.start * self.nest.act_steps[0]
                address = (self.taps.acts(place.pixels, taps) + group) // lanes
                valid = self.taps.valid(place.pixels, taps)
                none &= ~np.any(valid, axis=1)
                for t in range(address.shape[1]):
                    counts = valid[:, t]
                    if np.all(counts):
                        np.maximum(acc, source[address[:, t]], out=acc)
                    else:
                        acc[counts] = np.maximum(acc[counts], source[address[counts, t]])
            acc[none] = 0
            self.out.finish(chunk, acc[:, None], place)


class Gate(_Wordwise):
    """A product nest: the sum over pairs of taps, first element times second."""

    def __init__(self, memories: Memories, index: int, nest: Nest, beat: int) -> None:
        bound = nest.taps // 2 << (2 * memories.core.data_bits)
        super().__init__(memories, index, nest, beat, bound, 24)

    def _run(self, chunk: Chunk) -> None:
        memories = self.memories
        factors = replace(self.nest, x_unsigned=self.nest.factor_unsigned)
        for place in self.places:
            lanes = place.lanes
            zero = memories.zero_word * memories.core.word // lanes
            source = memories.readable(chunk, self.nest, lanes)
            factor = memories.readable(chunk, factors, lanes)
            n_pixels = place.pixels.stop - place.pixels.start
            acc = np.zeros((n_pixels, lanes, chunk.samples), np.int64)
            for pair in ranges(self.nest.taps, 2):
                group = place.groups.start * self.nest.act_steps[0]
                word = (self.taps.acts(place.pixels, pair) + group) // lanes
                word = np.where(self.taps.valid(place.pixels, pair), word, zero)
                acc += factor[word[:, 0]].astype(np.int64) * source[word[:, 1]]
            self.out.finish(chunk, acc[:, None], place)
