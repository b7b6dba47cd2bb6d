# SPDX-License-Identifier: Apache-2.0
"""The end of a nest: requantize, table, tail, and where the results go."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from bramcast.golden.arith import (
    FLOAT32_EXACT,
    FLOAT64_EXACT,
    product_dtype,
    requantize_in_place,
    wrap32,
)
from bramcast.golden.chunk import Chunk, ViewCall
from bramcast.golden.groups import Groups
from bramcast.golden.loops import progression, ranges
from bramcast.golden.memories import Memories
from bramcast.pack.bundle.program import Nest


@dataclass(frozen=True, slots=True)
class Place:
    """A block of results: flattened pixels (oy, ox) and groups, and where they are put.

    Attributes:
        lanes: results of a group that are computed: those of its valid sub-words, or some more.
        subs: sub-words of a group that are kept.
        to: their addresses in the scratchpad, pixel by pixel, group by group; where ``subs`` is
            more than 1, that of a group's first one.
    """

    pixels: slice
    groups: slice
    lanes: int
    subs: int
    to: slice | NDArray[np.int64]


class Epilogue:
    """From accumulators to results: requantize, table, tail, and where they go."""

    def __init__(self, memories: Memories, index: int, nest: Nest, bound: int, beat: int) -> None:
        core = memories.core
        self.nest, self.index, self.beat = nest, index, beat
        self.groups = Groups.of(nest, core)
        width, count = self.groups.width, self.groups.count
        start = nest.bias_base + nest.bias_step * np.arange(count, dtype=np.int64)
        entry = start[:, None] * core.rq + np.arange(width)
        # Lanes behind the tail are zeroed in the end, so their entries may be missing.
        entry = np.minimum(entry, len(memories.bias) - 1)
        bias, shift = memories.bias[entry], memories.shift[entry]
        half = (np.int64(1) << shift) >> 1
        largest = bound + int(np.abs(bias).max()) + int(half.max())
        self.wraps = bound >= 1 << 31
        # Are floats exact up to the clamped result? A table needs integers.
        self.fused = (
            largest < FLOAT64_EXACT
            and product_dtype(largest) == product_dtype(bound)
            and not (self.wraps or nest.table)
            and nest.lo < FLOAT32_EXACT
            and nest.hi > -FLOAT32_EXACT
        )
        self.largest = largest
        self.dtype: type[np.integer] = np.int32 if largest < 1 << 31 else np.int64
        self.offset = (bias + half).astype(self.dtype)[:, :, None]  # [groups, width, 1]
        self.shift = shift.astype(self.dtype)[:, :, None]
        self.one_shift = bool(np.all(shift == shift[0, 0]))
        self.lookup: NDArray[np.integer] | None = None
        if nest.table:
            table = memories.results_of_table(nest.table_base)
            signed = nest.stream and not nest.y_unsigned
            self.lookup = table.view(f"i{table.itemsize}") if signed else table
        pixel = self.groups.pixel_addresses(nest, core, memories.bank_words * core.taps)
        group = np.arange(count, dtype=np.int64) * nest.result_steps[0]
        self.first = group[:, None] + pixel  # a group's first sub-word, [groups, pixels]

    @property
    def beats(self) -> int:
        """Beats that the nest sends."""
        return self.groups.results if self.nest.stream else 0

    @property
    def lanes(self) -> int:
        """Results of a typical group that are computed."""
        return self._lanes(0)

    def _lanes(self, group: int) -> int:
        # A power of two, so that a word of the scratchpad is a whole number of such parts.
        subs = self.groups.subs_of(group)
        return self.groups.lanes << (subs - 1).bit_length()

    def ranges(self, at_once: int) -> Iterator[slice]:
        """All groups, some at once; the last one alone if it has fewer sub-words."""
        last = self.groups.count - 1
        yield from ranges(last if self.groups.ragged else last + 1, at_once)
        if self.groups.ragged:
            yield slice(last, last + 1)

    def place(self, pixels: slice, groups: slice) -> Place:
        first = np.ascontiguousarray(self.first[groups, pixels].T).reshape(-1)
        run = None if self.nest.stream else progression(first)
        subs, lanes = self.groups.subs_of(groups.stop - 1), self._lanes(groups.stop - 1)
        return Place(pixels, groups, lanes, subs, first if run is None else run)

    def finish(self, chunk: Chunk, acc: NDArray[np.integer], place: Place) -> None:
        """Take accumulators [pixels, groups, lanes, samples] to their place; may overwrite them."""
        nest, lanes = self.nest, place.lanes
        if self.wraps:
            acc = wrap32(acc.astype(np.int64))
        if acc.dtype != self.dtype:
            acc = acc.astype(self.dtype)
        shift = self.shift[0, 0, 0] if self.one_shift else self.shift[place.groups, :lanes]
        offset = self.offset[place.groups, :lanes]
        values = requantize_in_place(acc, offset, shift, nest.lo, nest.hi)
        if self.lookup is not None:
            values = self.lookup[values.astype(f"u{self.lookup.itemsize}")]
        if place.groups.stop == nest.counts[0] and nest.tail < lanes:
            values[:, -1, nest.tail :] = 0
        for step in self._put(chunk, values, place):
            step()

    def floats(
        self, chunk: Chunk, values: NDArray[np.floating], place: Place
    ) -> Iterator[ViewCall]:
        """Steps that take (acc + offset) * 2**-shift [pixels, groups, lanes, samples] on."""
        nest, kind = self.nest, values.dtype.type
        # Bounds that a float rounds are beyond every number here.
        yield partial(values.clip, kind(nest.lo), kind(nest.hi), values)
        if nest.lo < 0:  # else the conversion to integers rounds down as well
            yield partial(np.floor, values, values)
        if place.groups.stop == nest.counts[0] and nest.tail < place.lanes:
            yield partial(values[:, -1, nest.tail :].fill, 0)
        yield from self._put(chunk, values, place)

    def _put(self, chunk: Chunk, values: NDArray[np.number], place: Place) -> Iterator[ViewCall]:
        """Steps that take results [pixels, groups, lanes, samples] to their place."""
        if self.nest.stream:
            yield from self._send(chunk, values, place)
        else:
            yield self._write(chunk, values, place)
        if chunk.kept:
            yield partial(self._keep, chunk, values, place)

    def _write(self, chunk: Chunk, values: NDArray[np.number], place: Place) -> ViewCall:
        """The step that takes results to the scratchpad."""
        # Integers may go to any type; of floats only those that it holds have defined bits.
        signed = self.nest.lo < 0 and np.issubdtype(values.dtype, np.floating)
        subs = chunk.subs.view(f"{'i' if signed else 'u'}{chunk.subs.itemsize}")
        if place.subs > 1:
            shape = (*values.shape[:2], -1, self.groups.lanes, chunk.samples)
            values = values.reshape(shape)[:, :, : place.subs]
        if not isinstance(place.to, slice):
            to = place.to.reshape(values.shape[:2])
            if place.subs > 1:
                to = to[:, :, None] + np.arange(place.subs)
            return partial(_scatter, subs, to, values)
        target = subs[place.to.start :]
        step = place.to.step * target.strides[0]
        strides = (values.shape[1] * step, step, *target.strides[place.subs == 1 :])
        return partial(
            np.copyto, as_strided(target, values.shape, strides), values, casting="unsafe"
        )

    def _send(self, chunk: Chunk, values: NDArray[np.number], place: Place) -> Iterator[ViewCall]:
        """Steps that take results to the stream."""
        for i, g in enumerate(range(place.groups.start, place.groups.stop)):
            lanes = self.groups.valid(g)
            first = self.beat + g * self.groups.pixels * self.groups.width
            run = slice(first + place.pixels.start * lanes, first + place.pixels.stop * lanes)
            target = chunk.beats[run].reshape(-1, lanes, chunk.samples)
            yield partial(np.copyto, target, values[:, i, :lanes], casting="unsafe")

    def _keep(self, chunk: Chunk, values: NDArray[np.number], place: Place) -> None:
        kept, lanes, subs = chunk.kept[self.index], self.groups.lanes, place.subs
        if np.issubdtype(values.dtype, np.floating):
            values = values.astype(np.int64)
        if not self.nest.stream:
            values = values.astype(chunk.words.dtype)  # the bits, as they lie in the word
        for i, g in enumerate(range(place.groups.start, place.groups.stop)):
            first = g * self.groups.pixels * self.groups.subs
            run = slice(first + place.pixels.start * subs, first + place.pixels.stop * subs)
            rows = values[:, i, : subs * lanes].reshape(-1, lanes, chunk.samples)
            kept[:, run] = np.moveaxis(rows, 2, 0)


def _scatter(
    target: NDArray[np.integer], rows: NDArray[np.int64], values: NDArray[np.number]
) -> None:
    target[rows] = values.astype(target.dtype)
