# SPDX-License-Identifier: Apache-2.0
"""Dense and lane-wise nests as exact matrix products of rows of the scratchpad."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from bramcast.golden import sizes
from bramcast.golden.arith import Workspace, exact_product, product_dtype, requantizing_matrix
from bramcast.golden.chunk import Chunk, ViewCall
from bramcast.golden.epilogue import Epilogue, Place
from bramcast.golden.loops import ranges
from bramcast.golden.memories import Memories
from bramcast.golden.taps import Taps, largest_sum
from bramcast.pack.bundle.program import Nest


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of the scratchpad, [m, n]: a strided view where possible, else indices."""

    shape: tuple[int, int]
    start: int
    step: int  # from m to m + 1; n are neighbours
    index: NDArray[np.int64] | None

    @classmethod
    def of(cls, rows: NDArray[np.int64]) -> "_Rows":
        m, n = rows.shape
        start = int(rows[0, 0])
        step = int(rows[1, 0]) - start if m > 1 else 0
        plain = start + step * np.arange(m)[:, None] + np.arange(n)
        return cls((m, n), start, step, None if np.array_equal(rows, plain) else rows)

    def bind(
        self, source: NDArray[np.integer], work: Workspace
    ) -> tuple[NDArray[np.integer], ViewCall | None]:
        """[m, n, ...] from ``source`` [rows, ...], and the step that brings it up to date."""
        shape = (*self.shape, *source.shape[1:])
        if self.index is None:
            row = source.strides[0]
            strides = (self.step * row, *source.strides)
            return as_strided(source[self.start :], shape, strides, writeable=False), None
        out: NDArray[np.integer] = work.array("gather", shape, source.dtype.type)
        return out, partial(source.take, self.index, 0, out, "clip")


@dataclass(frozen=True, slots=True)
class _Product:
    """One exact product: the rows it reads and the weights it multiplies them with."""

    rows: _Rows
    matrix: NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Some results and the runs of taps behind them; ``products`` is None if made when needed."""

    place: Place
    taps: list[slice]
    products: list[_Product] | None


class Multiply:
    """A multiply-add nest. Subclasses say which rows and weights stand behind a block."""

    def __init__(self, memories: Memories, index: int, nest: Nest, beat: int) -> None:
        self.memories, self.nest, self.taps = (
            memories,
            nest,
            Taps(nest, memories.core, memories.bank_words * memories.core.word),
        )
        self.bound = largest_sum(memories, self.taps)
        self.dtype = product_dtype(self.bound)
        self.out = Epilogue(memories, index, nest, self.bound, beat)
        self._matrices: dict[tuple[int | bytes, ...], NDArray[np.floating]] = {}
        pixels_at_once, groups_at_once = self._block_shape()
        taps = list(ranges(self.taps.count, sizes.TAPS_AT_ONCE))
        self.fused = self.out.fused and len(taps) == 1
        self.blocks: list[_Stretch] = []
        for groups in self.out.ranges(groups_at_once):
            for pixels in ranges(self.out.groups.pixels, pixels_at_once):
                place = self.out.place(pixels, groups)
                products = None
                if memories.budget.left > 0:
                    products = [self._product(place, run) for run in taps]
                self.blocks.append(_Stretch(place, taps, products))
        self._matrices.clear()

    def _block_shape(self) -> tuple[int, int]:
        """Pixels and groups of a block."""
        raise NotImplementedError

    def _product(self, place: Place, taps: slice) -> _Product:
        raise NotImplementedError

    def _source(self, chunk: Chunk, place: Place) -> NDArray[np.integer]:
        """The scratchpad in the rows that products name."""
        raise NotImplementedError

    def _arranged(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        """Rows as the product's right side [..., taps, samples]; a view."""
        raise NotImplementedError

    def _results(self, total: NDArray[Any], place: Place) -> NDArray[Any]:
        """A product as [pixels, groups, lanes, samples]; a view."""
        raise NotImplementedError

    def _multiply(self, chunk: Chunk, place: Place, product: _Product) -> NDArray[np.integer]:
        """Accumulators [pixels, groups, lanes, samples], valid until the next call."""
        x, gather = product.rows.bind(self._source(chunk, place), chunk.work)
        if gather is not None:
            gather()
        acc = exact_product(self._arranged(x), product.matrix, self.bound, chunk.work)
        return self._results(acc, place)

    def _fused(self, chunk: Chunk, place: Place, product: _Product) -> Iterator[ViewCall]:
        """Steps from the scratchpad to the results, bias and shift within the product."""
        work, matrix = chunk.work, product.matrix
        x, gather = product.rows.bind(self._source(chunk, place), work)
        if gather is not None:
            yield gather
        x = self._arranged(x)
        floats = work.array(
            "product.x", (*x.shape[:-2], x.shape[-2] + 1, chunk.samples), matrix.dtype.type
        )
        lead = np.broadcast_shapes(matrix.shape[:-2], x.shape[:-2])
        shape = (*lead, matrix.shape[-2], chunk.samples)
        total = work.array("product.y", shape, matrix.dtype.type)
        yield partial(np.copyto, floats[..., :-1, :], x, casting="unsafe")
        yield partial(floats[..., -1, :].fill, 1)
        yield partial(np.matmul, matrix, floats, total)
        yield from self.out.floats(chunk, self._results(total, place), place)

    def _kept(self, product: _Product, new_matrix: bool) -> _Product:
        entries = product.matrix.size if new_matrix else 0
        if product.rows.index is not None:
            entries += product.rows.index.size
        self.memories.budget.left -= entries
        return product

    def bind(self, chunk: Chunk) -> Iterator[ViewCall]:
        for block in self.blocks:
            if self.fused and block.products:
                yield from self._fused(chunk, block.place, block.products[0])
            else:
                yield partial(self._run, chunk, block)

    def _run(self, chunk: Chunk, block: _Stretch) -> None:
        total: NDArray[np.integer] | None = None
        for i, taps in enumerate(block.taps):
            ready = block.products[i] if block.products else self._product(block.place, taps)
            if self.fused:
                for step in self._fused(chunk, block.place, ready):
                    step()
                continue
            acc = self._multiply(chunk, block.place, ready)
            if len(block.taps) > 1:
                acc = acc.copy() if total is None else np.add(total, acc, out=total)
            total = acc
        self._matrices.clear()
        if total is not None:
            self.out.finish(chunk, total, block.place)


class Dense(Multiply):
    """Gather the elements behind each pixel, then [groups * LANES, taps] @ [taps, samples]."""

    def _block_shape(self) -> tuple[int, int]:
        lanes, n = self.memories.core.lanes, self.memories.chunk
        groups = self.nest.counts[0] if self.nest.act_steps[0] == 0 else 1
        per_pixel = n * (5 * min(self.taps.count, sizes.TAPS_AT_ONCE) + 8 * lanes * groups)
        return max(1, sizes.BLOCK_BYTES // per_pixel), groups

    def _product(self, place: Place, taps: slice) -> _Product:
        rows = self.taps.acts(place.pixels, taps) + place.groups.start * self.nest.act_steps[0]
        if self.taps.masked:
            zero = self.memories.zero_word * self.memories.core.word
            rows = np.where(self.taps.valid(place.pixels, taps), rows, zero)
        pixel = 0 if self.taps.one_weight else place.pixels.start
        key = (place.groups.start, pixel, taps.start)
        matrix = self._matrices.get(key)
        new = matrix is None
        if matrix is None:
            address = self.taps.weights(place.groups, place.pixels, taps)
            chosen = np.moveaxis(self.memories.steps(self.nest)[address], (1, 3), (0, 2))
            flat = chosen.reshape(len(chosen), -1, chosen.shape[3])  # [pixels, rows, taps]
            matrix = self._matrix(flat[0] if self.taps.one_weight else flat, place)
            self._matrices[key] = matrix
        return self._kept(_Product(_Rows.of(rows), matrix), new)

    def _matrix(self, weights: NDArray[np.integer], place: Place) -> NDArray[np.floating]:
        """Weights [..., groups * LANES, taps] as the left side of the product."""
        if not self.fused:
            return np.ascontiguousarray(weights, self.dtype)
        out = self.out
        offset = out.offset[place.groups].reshape(-1, 1)
        shift = out.shift[place.groups].reshape(-1, 1)
        return requantizing_matrix(weights, offset, shift, out.largest)

    def _source(self, chunk: Chunk, place: Place) -> NDArray[np.integer]:
        return self.memories.readable(chunk, self.nest, 1)[:, 0]

    def _arranged(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        return x

    def _results(self, total: NDArray[Any], place: Place) -> NDArray[Any]:
        groups = place.groups.stop - place.groups.start
        return total.reshape(len(total), groups, place.lanes, -1)


class LaneWise(Multiply):
    """Gather the words behind a block; then for each lane [pixels, words] @ [words, samples].

    Where a group has few valid results, a word is only the first part of the scratchpad's word.

    Neighbouring windows overlap, so a block of pixels reads few different words, and a small
    matrix with a zero wherever a pixel does not use a word takes the place of a loop over taps.
    """

    def _block_shape(self) -> tuple[int, int]:
        groups, n_oy, n_ox = self.nest.counts[:3]
        lanes, n = self.out.lanes, self.memories.chunk
        run = slice(0, min(self.nest.taps, sizes.TAPS_AT_ONCE))
        first = n_oy // 2 * n_ox  # the middle row is a typical one
        best, best_cost = 1, float("inf")
        for rows_or_pixels in (1, 2, 3, 4, 6, 8, 12, 16):
            for size in (rows_or_pixels, rows_or_pixels * n_ox):
                pixels = slice(first, first + size)
                if size > 64 or pixels.stop > n_oy * n_ox:
                    continue
                words = len(np.unique(self.taps.acts(pixels, run)[self.taps.valid(pixels, run)]))
                # ns per result: multiply-adds, conversion of the words, overhead of numpy's calls
                cost = 0.022 * words + 0.09 * words / size + 15000 / (n * lanes * groups * size)
                if cost < best_cost:
                    best, best_cost, best_words = size, cost, words
        per_group = n * lanes * (5 * max(1, best_words) + 8 * best)
        return best, max(1, min(groups, sizes.BLOCK_BYTES // per_group))

    def _product(self, place: Place, taps: slice) -> _Product:
        lanes = place.lanes
        address = self.taps.acts(place.pixels, taps) // lanes
        pixel, tap = np.nonzero(self.taps.valid(place.pixels, taps))
        words, column = np.unique(address[pixel, tap], return_inverse=True)
        groups = np.arange(place.groups.start, place.groups.stop)
        rows = words + groups[:, None] * (self.nest.act_steps[0] // lanes)
        if not words.size:
            rows = np.zeros((len(groups), 1), np.int64)  # any word: its weights are 0
        weights = self.taps.weights(place.groups, place.pixels, taps)
        key = (
            *(len(address), place.groups.start),
            *(pixel.tobytes(), tap.tobytes(), column.tobytes(), weights.tobytes()),
        )
        matrix = self._matrices.get(key)
        new = matrix is None
        if matrix is None:
            cells = np.zeros((len(address), rows.shape[1], len(groups), lanes), self.dtype)
            of_pixel = np.zeros_like(pixel) if self.taps.one_weight else pixel
            chosen = self.memories.steps(self.nest)[weights[:, of_pixel, tap], :lanes]
            np.add.at(cells, (pixel, column), np.moveaxis(chosen.astype(self.dtype), 1, 0))
            matrix = self._matrix(np.moveaxis(cells, (0, 1), (2, 3)), place)
            self._matrices[key] = matrix
        return self._kept(_Product(_Rows.of(rows), matrix), new)

    def _matrix(self, weights: NDArray[np.floating], place: Place) -> NDArray[np.floating]:
        """Weights [groups, lanes, pixels, words] as the left side of the product."""
        if not self.fused:
            return np.ascontiguousarray(weights)
        out, lanes = self.out, place.lanes
        offset = out.offset[place.groups, :lanes, :, None]
        shift = out.shift[place.groups, :lanes, :, None]
        return requantizing_matrix(weights, offset, shift, out.largest)

    def _source(self, chunk: Chunk, place: Place) -> NDArray[np.integer]:
        return self.memories.readable(chunk, self.nest, place.lanes)

    def _arranged(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.swapaxes(x, 1, 2)  # [groups, lanes, words, samples]

    def _results(self, total: NDArray[Any], place: Place) -> NDArray[Any]:
        return np.moveaxis(total, 2, 0)
