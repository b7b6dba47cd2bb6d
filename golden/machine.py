"""The machine that executes a bundle: what the core computes, from the images alone.

``load`` reads a bundle and prepares every nest once; ``Machine.run`` executes frames. Semantics are
those of docs/format.md, whose order of nests, blocks and bits is kept; within a nest all pixels are
independent (a rule of the validator), so they are computed many at a time.

How it gets its speed: the samples of a chunk lie side by side in the last axis of the scratchpad,
``[elements, samples]``, so that every address of the hardware is one contiguous row here, and dense
as well as lane-wise nests become exact matrix products of gathered rows. For a number of samples
the program's addresses become a list of numpy calls on views of one scratchpad, which is kept: as
many frames again cost these calls and little else.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from bramcast.golden.arith import (
    FLOAT32_EXACT,
    FLOAT64_EXACT,
    Workspace,
    exact_product,
    product_dtype,
    requantize_in_place,
    requantizing_matrix,
    wrap32,
)
from bramcast.golden.groups import Groups, layer_pixels
from bramcast.golden.validate import validate
from bramcast.pack.descriptor import Input, Nest
from bramcast.pack.errors import InputError, ProgramError
from bramcast.pack.images import load_images
from bramcast.pack.manifest import (
    MANIFEST_NAME,
    Core,
    Frame,
    LayerInfo,
    Manifest,
    NestInfo,
    read_manifest,
)
from bramcast.pack.words import Words, unpack_bias, unpack_lanes

Progress = Callable[[int], None]
_Step = Callable[[], object]  # a call on views of a chunk

_CHUNK_BYTES = 1 << 22  # scratchpads of one chunk of samples
_BLOCK_BYTES = 1 << 21  # intermediate arrays of one block of pixels
_MAX_CHUNK = 512
_CACHED_ENTRIES = 1 << 23  # gather indices and weights that are kept ready, per machine
_TAPS_AT_ONCE = 1 << 12
_KEPT_CHUNKS = 2  # numbers of samples whose steps are kept


@dataclass(frozen=True, slots=True)
class NestResult:
    """What one nest produced, a row for each sub-word; ``Groups`` gives their order.

    Attributes:
        descriptor: index in the program.
        addresses: sub-word of the scratchpad, int64 [rows]; -1 for a stream nest.
        words: int32 [samples, rows, LANES]: the bits in the scratchpad (0..2**DATA_BITS - 1), or
            the numbers on the stream (32 bits signed; lanes that don't leave are 0).
    """

    descriptor: int
    addresses: NDArray[np.int64]
    words: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Results:
    """``beats`` int64 [samples, beats]: the output stream; ``nests`` only with ``keep_layers``."""

    beats: NDArray[np.int64]
    nests: tuple[NestResult, ...]


@dataclass(slots=True)
class _Budget:
    """Gather indices and weights that may still be kept ready."""

    left: int


@dataclass(slots=True)
class _Chunk:
    """State of one chunk of samples: the scratchpad and where results go."""

    words: NDArray[np.integer]  # [words + 1, elements of a word, samples], the last word is zero
    subs: NDArray[np.integer]  # the same by sub-words, [(words + 1) * TAPS, LANES, samples]
    beats: NDArray[np.int64]  # [beats, samples]
    kept: dict[int, NDArray[np.int32]]  # descriptor -> [samples, rows, LANES]
    work: Workspace
    samples: int
    frame: NDArray[np.integer]  # where the frames go, [samples, runs, run]
    steps: list[_Step]


def _affine(counts: tuple[int, ...], steps: tuple[int, ...]) -> NDArray[np.int64]:
    """Sum of index * step over nested loops, flattened in loop order: int64 [prod(counts)]."""
    total = np.zeros(1, np.int64)
    for count, step in zip(counts, steps, strict=True):
        total = (total[:, None] + np.arange(count, dtype=np.int64) * step).reshape(-1)
    return total


def _progression(index: NDArray[np.int64]) -> slice | None:
    """The slice that selects ``index`` [n], if there is one."""
    first = int(index[0])
    step = int(index[1]) - first if len(index) > 1 else 1
    if step < 1 or not np.array_equal(index, first + step * np.arange(len(index))):
        return None
    return slice(first, int(index[-1]) + 1, step)


def _points(words: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """All points on 256 lines {slope[15:0], start[15:0]}, words uint8 [256, 4]: uint16 [65536]."""
    start, slope = np.ascontiguousarray(words).view("<i2").T.astype(np.int32)
    rest = np.arange(256, dtype=np.int32)
    points: NDArray[np.int32] = start[:, None] + ((slope[:, None] * rest + 128) >> 8)
    return points.astype(np.uint16).reshape(-1)


@dataclass(frozen=True, slots=True)
class _Place:
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


class _Epilogue:
    """From accumulators to results: requantize, table, tail, and where they go."""

    def __init__(self, machine: "Machine", index: int, nest: Nest, bound: int, beat: int) -> None:
        core = machine.core
        self.nest, self.index, self.beat = nest, index, beat
        self.groups = Groups.of(nest, core)
        width, count = self.groups.width, self.groups.count
        start = nest.bias_base + nest.bias_step * np.arange(count, dtype=np.int64)
        entry = start[:, None] * core.rq + np.arange(width)
        # Lanes behind the tail are zeroed in the end, so their entries may be missing.
        entry = np.minimum(entry, len(machine.bias) - 1)
        bias, shift = machine.bias[entry], machine.shift[entry]
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
            table = machine.results_of_table(nest.table_base)
            signed = nest.stream and not nest.y_unsigned
            self.lookup = table.view(f"i{table.itemsize}") if signed else table
        first = nest.result_base + _affine(nest.counts[:3], nest.result_steps)
        self.first = first.reshape(count, self.groups.pixels)  # a group's first sub-word

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
        yield from _ranges(last if self.groups.ragged else last + 1, at_once)
        if self.groups.ragged:
            yield slice(last, last + 1)

    def place(self, pixels: slice, groups: slice) -> _Place:
        first = np.ascontiguousarray(self.first[groups, pixels].T).reshape(-1)
        run = None if self.nest.stream else _progression(first)
        subs, lanes = self.groups.subs_of(groups.stop - 1), self._lanes(groups.stop - 1)
        return _Place(pixels, groups, lanes, subs, first if run is None else run)

    def finish(self, chunk: _Chunk, acc: NDArray[np.integer], place: _Place) -> None:
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

    def floats(self, chunk: _Chunk, values: NDArray[np.floating], place: _Place) -> Iterator[_Step]:
        """Steps that take (acc + offset) * 2**-shift [pixels, groups, lanes, samples] on."""
        nest, kind = self.nest, values.dtype.type
        # Bounds that a float rounds are beyond every number here.
        yield partial(values.clip, kind(nest.lo), kind(nest.hi), values)
        if nest.lo < 0:  # else the conversion to integers rounds down as well
            yield partial(np.floor, values, values)
        if place.groups.stop == nest.counts[0] and nest.tail < place.lanes:
            yield partial(values[:, -1, nest.tail :].fill, 0)
        yield from self._put(chunk, values, place)

    def _put(self, chunk: _Chunk, values: NDArray[np.number], place: _Place) -> Iterator[_Step]:
        """Steps that take results [pixels, groups, lanes, samples] to their place."""
        if self.nest.stream:
            yield from self._send(chunk, values, place)
        else:
            yield self._write(chunk, values, place)
        if chunk.kept:
            yield partial(self._keep, chunk, values, place)

    def _write(self, chunk: _Chunk, values: NDArray[np.number], place: _Place) -> _Step:
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

    def _send(self, chunk: _Chunk, values: NDArray[np.number], place: _Place) -> Iterator[_Step]:
        """Steps that take results to the stream."""
        for i, g in enumerate(range(place.groups.start, place.groups.stop)):
            lanes = self.groups.valid(g)
            first = self.beat + g * self.groups.pixels * self.groups.width
            run = slice(first + place.pixels.start * lanes, first + place.pixels.stop * lanes)
            target = chunk.beats[run].reshape(-1, lanes, chunk.samples)
            yield partial(np.copyto, target, values[:, i, :lanes], casting="unsafe")

    def _keep(self, chunk: _Chunk, values: NDArray[np.number], place: _Place) -> None:
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


class _Taps:
    """Addresses and masks of a nest's taps, as docs/format.md writes them.

    A dense tap of the hardware is TAPS taps here: element a + t, and lanes t * LANES and up of the
    weight word, which ``Machine.steps`` gives as a row of its own.
    """

    def __init__(self, nest: Nest, core: Core) -> None:
        self.nest = nest
        self.parts = 1 if nest.lanewise else core.taps
        self.count = nest.taps * self.parts
        _, oy, ox, ky, kx, _ = (np.arange(n, dtype=np.int64) for n in nest.counts)
        y = nest.y_start + oy[:, None] * nest.y_step_oy + ky * nest.y_step_ky
        x = nest.x_start + ox[:, None] * nest.x_step_ox + kx * nest.x_step_kx
        self.valid_y = (y >= 0) & (y < nest.y_limit)  # [oy, ky]
        self.valid_x = (x >= 0) & (x < nest.x_limit)  # [ox, kx]
        self.masked = not (bool(np.all(self.valid_y)) and bool(np.all(self.valid_x)))
        self.one_weight = nest.weight_steps[1] == 0 and nest.weight_steps[2] == 0

    def _loops(self, taps: slice) -> list[NDArray[np.int64]]:
        """ky, kx, ci and t of each tap."""
        tap, t = np.divmod(np.arange(taps.start, taps.stop), self.parts)
        k, ci = np.divmod(tap, self.nest.counts[5])
        return [*np.divmod(k, self.nest.counts[4]), ci, t]

    def acts(self, pixels: slice, taps: slice) -> NDArray[np.int64]:
        """Element addresses of group 0: [pixels, taps]."""
        oy, ox = np.divmod(np.arange(pixels.start, pixels.stop), self.nest.counts[2])
        ky, kx, ci, t = self._loops(taps)
        s = self.nest.act_steps
        base = self.nest.act_base + oy * s[1] + ox * s[2]
        rows: NDArray[np.int64] = base[:, None] + (ky * s[3] + kx * s[4] + ci * s[5] + t)
        return rows

    def valid(self, pixels: slice, taps: slice) -> NDArray[np.bool_]:
        """Which taps count: [pixels, taps]."""
        oy, ox = np.divmod(np.arange(pixels.start, pixels.stop), self.nest.counts[2])
        ky, kx, _, _ = self._loops(taps)
        both: NDArray[np.bool_] = self.valid_y[oy[:, None], ky] & self.valid_x[ox[:, None], kx]
        return both

    def weights(self, groups: slice, pixels: slice, taps: slice) -> NDArray[np.int64]:
        """Rows of ``Machine.steps`` [groups, pixels, taps]; one pixel if all have the same."""
        pixels = slice(0, 1) if self.one_weight else pixels
        g = np.arange(groups.start, groups.stop)
        oy, ox = np.divmod(np.arange(pixels.start, pixels.stop), self.nest.counts[2])
        ky, kx, ci, t = self._loops(taps)
        s = self.nest.weight_steps
        base = self.nest.weight_base + g[:, None] * s[0] + oy * s[1] + ox * s[2]
        steps: NDArray[np.int64] = base[:, :, None] + (ky * s[3] + kx * s[4] + ci * s[5])
        return steps * self.parts + t


def _largest_sum(machine: "Machine", taps: _Taps) -> int:
    """A bound on any lane's |sum of products|: from the weights where they are few, else coarse."""
    nest, core = taps.nest, machine.core
    largest = (1 << core.data_bits) - 1 if nest.x_unsigned else 1 << (core.data_bits - 1)
    coarse = largest * taps.count << (core.weight_bits - 1)
    if coarse < FLOAT32_EXACT or not taps.one_weight:
        return coarse
    total = 0
    for g in range(nest.counts[0] if nest.weight_steps[0] else 1):
        column = np.zeros(core.group(nest.lanewise), np.int64)
        for run in _ranges(taps.count, 1 << 20):
            address = taps.weights(slice(g, g + 1), slice(0, 1), run)[0, 0]
            column += np.abs(machine.steps(nest)[address].astype(np.int64)).sum(axis=0)
        total = max(total, int(column.max()))
    return max(1, total * largest)


def _ranges(total: int, step: int) -> Iterator[slice]:
    for start in range(0, total, step):
        yield slice(start, min(start + step, total))


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
    ) -> tuple[NDArray[np.integer], _Step | None]:
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
class _Block:
    """Some results and the runs of taps behind them; ``products`` is None if made when needed."""

    place: _Place
    taps: list[slice]
    products: list[_Product] | None


class _Multiply:
    """A multiply-add nest. Subclasses say which rows and weights stand behind a block."""

    def __init__(self, machine: "Machine", index: int, nest: Nest, beat: int) -> None:
        self.machine, self.nest, self.taps = machine, nest, _Taps(nest, machine.core)
        self.bound = _largest_sum(machine, self.taps)
        self.dtype = product_dtype(self.bound)
        self.out = _Epilogue(machine, index, nest, self.bound, beat)
        self._matrices: dict[tuple[int | bytes, ...], NDArray[np.floating]] = {}
        pixels_at_once, groups_at_once = self._block_shape()
        taps = list(_ranges(self.taps.count, _TAPS_AT_ONCE))
        self.fused = self.out.fused and len(taps) == 1
        self.blocks: list[_Block] = []
        for groups in self.out.ranges(groups_at_once):
            for pixels in _ranges(nest.counts[1] * nest.counts[2], pixels_at_once):
                place = self.out.place(pixels, groups)
                products = None
                if machine.budget.left > 0:
                    products = [self._product(place, run) for run in taps]
                self.blocks.append(_Block(place, taps, products))
        self._matrices.clear()

    def _block_shape(self) -> tuple[int, int]:
        """Pixels and groups of a block."""
        raise NotImplementedError

    def _product(self, place: _Place, taps: slice) -> _Product:
        raise NotImplementedError

    def _source(self, chunk: _Chunk, place: _Place) -> NDArray[np.integer]:
        """The scratchpad in the rows that products name."""
        raise NotImplementedError

    def _arranged(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        """Rows as the product's right side [..., taps, samples]; a view."""
        raise NotImplementedError

    def _results(self, total: NDArray[Any], place: _Place) -> NDArray[Any]:
        """A product as [pixels, groups, lanes, samples]; a view."""
        raise NotImplementedError

    def _multiply(self, chunk: _Chunk, place: _Place, product: _Product) -> NDArray[np.integer]:
        """Accumulators [pixels, groups, lanes, samples], valid until the next call."""
        x, gather = product.rows.bind(self._source(chunk, place), chunk.work)
        if gather is not None:
            gather()
        acc = exact_product(self._arranged(x), product.matrix, self.bound, chunk.work)
        return self._results(acc, place)

    def _fused(self, chunk: _Chunk, place: _Place, product: _Product) -> Iterator[_Step]:
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
        self.machine.budget.left -= entries
        return product

    def bind(self, chunk: _Chunk) -> Iterator[_Step]:
        for block in self.blocks:
            if self.fused and block.products:
                yield from self._fused(chunk, block.place, block.products[0])
            else:
                yield partial(self._run, chunk, block)

    def _run(self, chunk: _Chunk, block: _Block) -> None:
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


class _Dense(_Multiply):
    """Gather the elements behind each pixel, then [groups * LANES, taps] @ [taps, samples]."""

    def _block_shape(self) -> tuple[int, int]:
        lanes, n = self.machine.core.lanes, self.machine.chunk
        groups = self.nest.counts[0] if self.nest.act_steps[0] == 0 else 1
        per_pixel = n * (5 * min(self.taps.count, _TAPS_AT_ONCE) + 8 * lanes * groups)
        return max(1, _BLOCK_BYTES // per_pixel), groups

    def _product(self, place: _Place, taps: slice) -> _Product:
        rows = self.taps.acts(place.pixels, taps) + place.groups.start * self.nest.act_steps[0]
        if self.taps.masked:
            zero = self.machine.zero_word * self.machine.core.multipliers
            rows = np.where(self.taps.valid(place.pixels, taps), rows, zero)
        pixel = 0 if self.taps.one_weight else place.pixels.start
        key = (place.groups.start, pixel, taps.start)
        matrix = self._matrices.get(key)
        new = matrix is None
        if matrix is None:
            address = self.taps.weights(place.groups, place.pixels, taps)
            chosen = np.moveaxis(self.machine.steps(self.nest)[address], (1, 3), (0, 2))
            flat = chosen.reshape(len(chosen), -1, chosen.shape[3])  # [pixels, rows, taps]
            matrix = self._matrix(flat[0] if self.taps.one_weight else flat, place)
            self._matrices[key] = matrix
        return self._kept(_Product(_Rows.of(rows), matrix), new)

    def _matrix(self, weights: NDArray[np.integer], place: _Place) -> NDArray[np.floating]:
        """Weights [..., groups * LANES, taps] as the left side of the product."""
        if not self.fused:
            return np.ascontiguousarray(weights, self.dtype)
        out = self.out
        offset = out.offset[place.groups].reshape(-1, 1)
        shift = out.shift[place.groups].reshape(-1, 1)
        return requantizing_matrix(weights, offset, shift, out.largest)

    def _source(self, chunk: _Chunk, place: _Place) -> NDArray[np.integer]:
        return self.machine.readable(chunk, self.nest, 1)[:, 0]

    def _arranged(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        return x

    def _results(self, total: NDArray[Any], place: _Place) -> NDArray[Any]:
        groups = place.groups.stop - place.groups.start
        return total.reshape(len(total), groups, place.lanes, -1)


class _LaneWise(_Multiply):
    """Gather the words behind a block; then for each lane [pixels, words] @ [words, samples].

    Where a group has few valid results, a word is only the first part of the scratchpad's word.

    Neighbouring windows overlap, so a block of pixels reads few different words, and a small
    matrix with a zero wherever a pixel does not use a word takes the place of a loop over taps.
    """

    def _block_shape(self) -> tuple[int, int]:
        groups, n_oy, n_ox = self.nest.counts[:3]
        lanes, n = self.out.lanes, self.machine.chunk
        run = slice(0, min(self.nest.taps, _TAPS_AT_ONCE))
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
        return best, max(1, min(groups, _BLOCK_BYTES // per_group))

    def _product(self, place: _Place, taps: slice) -> _Product:
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
            chosen = self.machine.steps(self.nest)[weights[:, of_pixel, tap], :lanes]
            np.add.at(cells, (pixel, column), np.moveaxis(chosen.astype(self.dtype), 1, 0))
            matrix = self._matrix(np.moveaxis(cells, (0, 1), (2, 3)), place)
            self._matrices[key] = matrix
        return self._kept(_Product(_Rows.of(rows), matrix), new)

    def _matrix(self, weights: NDArray[np.floating], place: _Place) -> NDArray[np.floating]:
        """Weights [groups, lanes, pixels, words] as the left side of the product."""
        if not self.fused:
            return np.ascontiguousarray(weights)
        out, lanes = self.out, place.lanes
        offset = out.offset[place.groups, :lanes, :, None]
        shift = out.shift[place.groups, :lanes, :, None]
        return requantizing_matrix(weights, offset, shift, out.largest)

    def _source(self, chunk: _Chunk, place: _Place) -> NDArray[np.integer]:
        return self.machine.readable(chunk, self.nest, place.lanes)

    def _arranged(self, x: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.swapaxes(x, 1, 2)  # [groups, lanes, words, samples]

    def _results(self, total: NDArray[Any], place: _Place) -> NDArray[Any]:
        return np.moveaxis(total, 2, 0)


class _Maximum:
    """A max nest: word by word, the highest number of each lane."""

    def __init__(self, machine: "Machine", index: int, nest: Nest, beat: int) -> None:
        self.machine, self.nest, self.taps = machine, nest, _Taps(nest, machine.core)
        self.out = _Epilogue(machine, index, nest, 1 << machine.core.data_bits, beat)
        per_pixel = machine.chunk * self.out.lanes * 8
        self.places = [
            self.out.place(pixels, groups)
            for groups in self.out.ranges(1)
            for pixels in _ranges(
                nest.counts[1] * nest.counts[2], max(1, _BLOCK_BYTES // per_pixel)
            )
        ]

    def bind(self, chunk: _Chunk) -> Iterator[_Step]:
        yield partial(self._run, chunk)

    def _run(self, chunk: _Chunk) -> None:
        for place in self.places:
            lanes = place.lanes
            source = self.machine.readable(chunk, self.nest, lanes)
            n_pixels = place.pixels.stop - place.pixels.start
            acc = np.full((n_pixels, lanes, chunk.samples), np.iinfo(source.dtype).min, np.int32)
            none = np.ones(n_pixels, np.bool_)
            for taps in _ranges(self.nest.taps, max(1, (1 << 20) // n_pixels)):
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


class _Gate:
    """A product nest: the sum over pairs of taps, first element times second."""

    def __init__(self, machine: "Machine", index: int, nest: Nest, beat: int) -> None:
        self.machine, self.nest, self.taps = machine, nest, _Taps(nest, machine.core)
        bound = nest.taps // 2 << (2 * machine.core.data_bits)
        self.out = _Epilogue(machine, index, nest, bound, beat)
        per_pixel = machine.chunk * self.out.lanes * 24
        self.places = [
            self.out.place(pixels, groups)
            for groups in self.out.ranges(1)
            for pixels in _ranges(
                nest.counts[1] * nest.counts[2], max(1, _BLOCK_BYTES // per_pixel)
            )
        ]

    def bind(self, chunk: _Chunk) -> Iterator[_Step]:
        yield partial(self._run, chunk)

    def _run(self, chunk: _Chunk) -> None:
        machine = self.machine
        factors = replace(self.nest, x_unsigned=self.nest.factor_unsigned)
        for place in self.places:
            lanes = place.lanes
            zero = machine.zero_word * machine.core.multipliers // lanes
            source = machine.readable(chunk, self.nest, lanes)
            factor = machine.readable(chunk, factors, lanes)
            n_pixels = place.pixels.stop - place.pixels.start
            acc = np.zeros((n_pixels, lanes, chunk.samples), np.int64)
            for pair in _ranges(self.nest.taps, 2):
                group = place.groups.start * self.nest.act_steps[0]
                word = (self.taps.acts(place.pixels, pair) + group) // lanes
                word = np.where(self.taps.valid(place.pixels, pair), word, zero)
                acc += factor[word[:, 0]].astype(np.int64) * source[word[:, 1]]
            self.out.finish(chunk, acc[:, None], place)


class Machine:
    """A program and its images, ready to run.

    Attributes:
        core: parameters of the core.
        program: what runs, LOOPs unrolled; the first is the input frame.
        beats_in, beats_out: elements of one frame and of its result.
        manifest: names and formats, for people; None if there is none.
    """

    def __init__(
        self, images: dict[str, Words], core: Core, manifest: Manifest | None = None
    ) -> None:
        """Decode, validate and prepare.

        Raises:
            ProgramError: a rule of docs/format.md is broken; names the line of program.mem.
        """
        self.core, self.manifest = core, manifest
        self.program: list[Input | Nest] = validate(images, core)
        narrow = np.int8 if core.weight_bits <= 8 else np.int16
        self.weights = unpack_lanes(images["weights"], core.weight_bits).astype(narrow)
        self._narrow_weights: dict[int, NDArray[np.int8]] = {0: self.weights.astype(np.int8)}
        self.bias, self.shift = unpack_bias(images["bias"])
        table = images.get("table")
        self.table = np.zeros((0, 1), np.uint8) if table is None else table.data
        self._tables: dict[int, NDArray[np.unsignedinteger]] = {}
        first = self.program[0]
        assert isinstance(first, Input)
        self.frame = first
        self.beats_in = first.run * first.runs
        self.zero_word = _words_used(self.program, core)
        streams = [d for d in self.program if isinstance(d, Nest) and d.stream]
        sent = sum(d.pixels * core.group(d.lanewise) for d in streams)
        bytes_each = (self.zero_word + 1) * core.multipliers * (core.data_bits // 8)
        bytes_each += sent * 8
        fitting = _CHUNK_BYTES // bytes_each
        self.chunk = max(
            1, 32 if 8 <= fitting < 32 else min(fitting // 64 * 64 or fitting, _MAX_CHUNK)
        )
        self.budget = _Budget(_CACHED_ENTRIES)
        self.beats_out = 0
        self._nests: list[_Executed] = []
        for index, nest in enumerate(self.program):
            if isinstance(nest, Nest):
                self._nests.append(_kind(nest)(self, index, nest, self.beats_out))
                self.beats_out += self._nests[-1].out.beats
        self._work = Workspace()
        self._chunks: dict[int, _Chunk] = {}

    def results_of_table(self, number: int) -> NDArray[np.unsignedinteger]:
        """Results for each value's low DATA_BITS bits: uint8 [256] or uint16 [65536]."""
        if number not in self._tables:
            words = self.table[256 * number : 256 * number + 256]
            self._tables[number] = words[:, 0] if self.core.data_bits == 8 else _points(words)
        return self._tables[number]

    def steps(self, nest: Nest) -> NDArray[np.int8]:
        """Weights as a nest reads them: [steps, LANES * TAPS], dense [steps * TAPS, LANES].

        A word holds 2**narrow steps, the first one lowest.
        """
        narrow = nest.narrow
        if narrow not in self._narrow_weights:
            bits = self.core.weight_bits >> narrow
            spare = self.core.weight_bits - bits
            up = np.arange(spare, -1, -bits, dtype=np.int8)[:, None]
            raw = self.weights.astype(np.int8)[:, None, :] << up
            steps = raw >> np.int8(spare)  # arithmetic: keeps the sign
            self._narrow_weights[narrow] = steps.reshape(-1, self.core.multipliers)
        return self._narrow_weights[narrow].reshape(-1, self.core.group(nest.lanewise))

    def readable(self, chunk: _Chunk, nest: Nest, lanes: int) -> NDArray[np.integer]:
        """The scratchpad as the nest reads it, signed or unsigned: [n, lanes, samples]."""
        kind = f"{'u' if nest.x_unsigned else 'i'}{self.core.data_bits // 8}"
        return chunk.words.view(kind).reshape(-1, lanes, chunk.samples)

    def run(
        self,
        frames: NDArray[np.integer],
        keep_layers: bool = False,
        progress: Progress | None = None,
    ) -> Results:
        """Execute the program for each frame.

        Args:
            frames: [samples, beats] in stream order; as in hardware the low DATA_BITS count.
            keep_layers: also return every result sub-word of every nest.
            progress: called with the number of samples that are finished.

        Raises:
            InputError: a frame has the wrong number of elements.
        """
        if frames.ndim != 2 or frames.shape[1] != self.beats_in:
            raise InputError(
                f"a frame has {self.beats_in} elements ({self.frame.runs} runs of "
                f"{self.frame.run}), got an array of shape {frames.shape}"
            )
        samples = len(frames)
        beats = np.empty((samples, self.beats_out), np.int64)
        kept: dict[int, NDArray[np.int32]] = {}
        if keep_layers:
            for nest in self._nests:
                shape = (samples, nest.out.groups.rows, self.core.lanes)
                kept[nest.out.index] = np.empty(shape, np.int32)
        for part in _ranges(samples, self.chunk):
            chunk = self._chunk(len(frames[part]), {i: k[part] for i, k in kept.items()})
            cut = frames[part].reshape(chunk.frame.shape)
            np.copyto(chunk.frame, cut, casting="unsafe")
            for step in chunk.steps:
                step()
            beats[part] = chunk.beats.T
            if progress is not None:
                progress(part.stop)
        results = []
        for nest in self._nests if keep_layers else []:
            address = nest.out.groups.addresses(nest.nest)
            address = np.full_like(address, -1) if nest.nest.stream else address
            results.append(NestResult(nest.out.index, address, kept[nest.out.index]))
        return Results(beats, tuple(results))

    def _chunk(self, samples: int, kept: dict[int, NDArray[np.int32]]) -> _Chunk:
        """A scratchpad for so many samples and the program's steps on it."""
        chunk = None if kept else self._chunks.get(samples)
        if chunk is not None:
            return chunk
        width = self.core.multipliers
        raw: type[np.integer] = np.uint8 if self.core.data_bits == 8 else np.uint16
        words: NDArray[np.integer] = np.empty((self.zero_word + 1, width, samples), raw)
        words[self.zero_word] = 0
        subs = words.reshape(-1, self.core.lanes, samples)
        run, runs, lead = self.frame.run, self.frame.runs, self.frame.lead
        per_run = self.frame.span(width)
        target = words[self.frame.result_base :][: runs * per_run]
        rows = target.reshape(runs, per_run * width, samples)
        frame = rows[:, lead : lead + run].transpose(2, 0, 1)
        beats = np.empty((self.beats_out, samples), np.int64)
        chunk = _Chunk(words, subs, beats, kept, self._work, samples, frame, [])
        unit = max(self.core.lanes, self.core.taps)
        # What is behind the last element's word stays as it was.
        for zeros in (rows[:, :lead], rows[:, lead + run : self.frame.span(unit) * unit]):
            if zeros.size:
                chunk.steps.append(partial(zeros.fill, 0))
        for nest in self._nests:
            chunk.steps.extend(nest.bind(chunk))
        if not kept:
            while len(self._chunks) >= _KEPT_CHUNKS:
                del self._chunks[next(iter(self._chunks))]
            self._chunks[samples] = chunk
        return chunk


_Executed = _Multiply | _Maximum | _Gate


def _kind(nest: Nest) -> Callable[["Machine", int, Nest, int], _Executed]:
    if nest.max:
        return _Maximum
    if nest.product:
        return _Gate
    return _LaneWise if nest.lanewise else _Dense


def _words_used(program: list[Input | Nest], core: Core) -> int:
    """One more than the highest scratchpad word that the program writes, or a little more."""
    top = 0
    for d in program:
        if isinstance(d, Input):
            top = max(top, d.result_base + d.runs * d.span(core.multipliers))
        elif not d.stream:
            moves = zip(d.counts[:3], d.result_steps, strict=True)
            subs = d.result_base + sum((c - 1) * s for c, s in moves if s > 0)
            subs += core.group(d.lanewise) // core.lanes
            top = max(top, -(-subs // core.taps))
    return top


def load(bundle: Path, allow_modified: bool = False) -> Machine:
    """Read a bundle from disk and prepare it.

    Raises:
        InputError: a missing or malformed file, or images that are not the packed ones.
        ProgramError: the program breaks a rule; names the line of program.mem.
    """
    manifest = read_manifest(bundle)
    images = load_images(bundle, manifest, allow_modified)
    try:
        machine = Machine(images, manifest.core, manifest)
    except ProgramError as error:
        raise ProgramError(f"{bundle / 'program.mem'}: {error}") from None
    try:
        _check_manifest(machine, manifest)
    except InputError as error:
        raise InputError(f"{bundle / MANIFEST_NAME}: {error}; repack the network") from None
    return machine


def _check_manifest(machine: Machine, manifest: Manifest) -> None:
    """What the manifest says of the program must fit it.

    Raises:
        InputError: names the manifest's key.
    """
    nests = [d for d in machine.program if isinstance(d, Nest)]
    if len(manifest.nests) != len(nests):
        raise InputError(
            f"nests: {len(manifest.nests)} entries, the program has {len(nests)} nests"
        )
    for index, (nest, info) in enumerate(zip(nests, manifest.nests, strict=True)):
        if info.layer >= len(manifest.layers):
            raise InputError(f"nests.{index}.layer: {info.layer}, there is no such layer")
        layer, groups = manifest.layers[info.layer], Groups.of(nest, machine.core)
        good = (
            len(layer.shape) == 3
            and all(
                pixels.stop <= size
                for pixels, size in zip(layer_pixels(nest, info), layer.shape, strict=False)
            )
            and len(info.channels) == groups.count * groups.width
            and -1 <= min(info.channels)
            and max(info.channels) < layer.shape[2]
            and all(channel == -1 for channel in info.channels[groups.results // groups.pixels :])
        )
        if not good:
            raise InputError(f"nests.{index}: does not fit layer {layer.name!r} and the program")
    for index, layer in enumerate(manifest.layers):
        mine = [pair for pair in zip(nests, manifest.nests, strict=True) if pair[1].layer == index]
        if not _covers(layer, mine):
            raise InputError(
                f"nests: those of layer {layer.name!r} don't give each of its elements once"
            )
    for name, frame, beats in (
        ("input", manifest.input, machine.beats_in),
        ("output", manifest.output, machine.beats_out),
    ):
        elements = int(np.prod(frame.shape))
        dims, strides = frame.dims, frame.strides
        if len(dims) != 3 or len(strides) != 3 or frame.planes > 2:
            raise InputError(f"{name}: dims and strides need y, x and c; planes 1 or 2")
        order = _affine(tuple(dims), tuple(strides))
        if order.size * frame.planes != beats or not np.array_equal(
            np.sort(order), np.arange(elements)
        ):
            raise InputError(f"{name}: dims and strides don't fit the program's {beats} elements")


def _covers(layer: LayerInfo, nests: list[tuple[Nest, NestInfo]]) -> bool:
    """Whether the nests of a layer, which fit it, give each of its elements once."""
    channels = [np.array(info.channels, np.int64) for _, info in nests]
    channels = [c[c >= 0] for c in channels]
    sizes = [n.counts[1] * n.counts[2] * len(c) for (n, _), c in zip(nests, channels, strict=True)]
    if sum(sizes) != math.prod(layer.shape):
        return False
    seen = np.zeros(layer.shape, np.bool_)
    for (nest, info), mine in zip(nests, channels, strict=True):
        y, x = layer_pixels(nest, info)
        seen[y, x, mine] = True
    return bool(np.all(seen))


# ------------------------------------------------------------------------------ frames and arrays


def frames_from_arrays(samples: NDArray[np.generic], frame: Frame) -> NDArray[np.int64]:
    """Arrays of samples as stream frames.

    Floats are quantized to ``frame.format`` (nearest, ties towards +inf, saturated); integers
    are taken to be in that format already. With two planes a feature becomes two elements: hi =
    the nearest integer, lo = what is missing in units of lsb * 2**-plane_shift.

    Args:
        samples: [n, *frame.shape], float or integer.

    Returns:
        int64 [n, beats], beats = y * x * c * planes.

    Raises:
        InputError: wrong shape, NaN, or integers outside the format.
    """
    if list(samples.shape[1:]) != list(frame.shape):
        raise InputError(
            f"inputs have shape {list(samples.shape)}, expected "
            f"[samples, {', '.join(str(n) for n in frame.shape)}]"
        )
    flat = samples.reshape(len(samples), -1)
    order = _affine(tuple(frame.dims), tuple(frame.strides))
    if order.size != flat.shape[1] or not np.array_equal(order, np.arange(order.size)):
        flat = flat[:, order]
    q = frame.format.q
    if not np.issubdtype(flat.dtype, np.floating):
        if frame.planes != 1:
            raise InputError(f"an input of {frame.planes} planes is quantized from floats only")
        whole = flat.astype(np.int64)
        if whole.size and (whole.min() < q.min or whole.max() > q.max):
            raise InputError(
                f"integer inputs must lie in {q.min}..{q.max} ({q}), "
                f"got {whole.min()}..{whole.max()}"
            )
        return whole
    real = flat.astype(np.float64)
    if not np.all(np.isfinite(real)):
        sample = int(np.flatnonzero(~np.all(np.isfinite(real), axis=1))[0])
        raise InputError(f"input sample {sample} has values that are not finite")
    high = q.quantize(real)
    if frame.planes == 1:
        return high
    if frame.planes != 2:
        raise InputError(f"an input has one or two planes, the manifest says {frame.planes}")
    rest = real / q.lsb - high
    low = np.floor(rest * 2.0**frame.plane_shift + 0.5)
    low = np.clip(low, q.min, q.max).astype(np.int64)
    return np.stack([high, low], axis=2).reshape(len(flat), -1)


def output_order(machine: Machine) -> NDArray[np.int64]:
    """Where each beat of the output stream belongs in the flat output array: int64 [beats].

    Raises:
        InputError: the manifest does not fit the program.
    """
    manifest = machine.manifest
    if manifest is None:
        raise ValueError("the machine was made without a manifest")
    parts = []
    frame = manifest.output
    for index, d in enumerate(machine.program):
        if not isinstance(d, Nest) or not d.stream:
            continue
        info, groups = manifest.nests[index - 1], Groups.of(d, machine.core)
        channels = np.array(info.channels, np.int64)
        y, x = (np.arange(s.start, s.stop, s.step) for s in layer_pixels(d, info))
        pixel = (y[:, None] * frame.strides[0] + x * frame.strides[1]).reshape(-1)
        for g in range(groups.count):
            c = channels[g * groups.width :][: groups.valid(g)]
            parts.append((pixel[:, None] + c * frame.strides[2]).reshape(-1))
    order = np.concatenate(parts)
    if not np.array_equal(np.sort(order), np.arange(int(np.prod(frame.shape)))):
        raise InputError(
            f"manifest.json: output: the program's {order.size} results do not fill an array of "
            f"shape {frame.shape}"
        )
    return order


def arrays_from_beats(
    beats: NDArray[np.int64], machine: Machine
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The output stream as arrays in the network's own shape.

    Args:
        beats: int64 [samples, beats].

    Returns:
        (integers, real values), both [samples, *output.shape].

    Raises:
        InputError: the manifest does not fit the program.
    """
    order = output_order(machine)
    assert machine.manifest is not None
    frame = machine.manifest.output
    flat = np.empty_like(beats)
    flat[:, order] = beats
    integers = flat.reshape(len(beats), *frame.shape)
    return integers, frame.format.q.real(integers)
