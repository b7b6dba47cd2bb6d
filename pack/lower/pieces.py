# SPDX-License-Identifier: Apache-2.0
"""Copies in any order: the pixels of a view in parts that nests can walk.

A dense nest takes several taps for each pixel, and each lane picks one of their elements. So the
elements of a pixel may lie anywhere, as long as they lie alike, relative to the first one, in all
pixels of the nest, and those pixels are evenly spaced where they come from and where they go:

    view        pixels whose elements lie alike       nests
    a b a b     a . a .   . b . b                     (0, 0) and every 2nd,  (0, 1) and every 2nd
    a b a b     a . a .   . b . b

Each pixel by itself is the last resort: then a picture takes as many nests as pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Rearranged
from bramcast.pack.graph.tensor import ZERO, IntArray
from bramcast.pack.lower.walks import (
    LARGEST_COUNT,
    Layout,
    Nested,
    Walk,
    element_offsets,
    nested,
)

NEIGHBOURS = 4  # pixels of one kind that are tried as the next one of a row or column
NOTHING = -1


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One nest of such a copy.

    Attributes:
        channels: those that it computes, int64 [n], a sub-word or block of them.
        slots: which element of its taps each of them is, -1 for a constant zero.
    """

    walk: Walk
    channels: IntArray
    slots: IntArray


def pieces_of(graph: Graph, layout: Layout, op: Rearranged) -> list[Piece] | None:
    """The nests of a copy; None where the taps of a pixel would run over what is not written."""
    owners = graph.owners(op.view)
    if not owners:
        return None
    offsets, buffers = np.full(op.view.shape, NOTHING), np.full(op.view.shape, NOTHING)
    for tensor in owners:
        mine = tensor.mine(op.view)
        buffer, found = element_offsets(graph, layout, np.where(mine, op.view, ZERO))
        offsets[mine] = found.reshape(op.view.shape)[mine]
        buffers[mine] = buffer
    before = layout.born[op.out.index]
    written = {
        buffer: layout.written(graph, buffer, before)[:: layout.taps]
        for buffer in np.unique(buffers[buffers >= 0]).tolist()
    }
    strides = _strides(graph, layout, op)
    pieces: list[Piece] = []
    for first in range(0, len(op.view), layout.unit):
        channels = np.arange(first, min(first + layout.unit, len(op.view)))
        for kind in _kinds(offsets[channels], buffers[channels], layout.taps):
            if kind.buffer == NOTHING:  # zeros: any element that is written, times zero
                buffer = min(written)
                base = int(np.flatnonzero(written[buffer])[0])
                kind = _Kind(buffer, kind.pixels, np.full_like(kind.base, base), kind.tap)
            for grid in _grids(kind.pixels, kind.base):
                made = _piece(layout, kind, grid, channels, strides, written[kind.buffer])
                if made is None:
                    return None
                pieces.append(made)
    return pieces


def _strides(graph: Graph, layout: Layout, op: Rearranged) -> list[tuple[int, ...]]:
    """By what the loops over a pixel's taps may advance outside the innermost one, in blocks."""
    found: list[tuple[int, ...]] = [()]
    for tensor in graph.owners(op.view):
        place = layout.placements[tensor.index]
        steps = place.row_pitch, place.pitch
        for choice in (steps[1:], steps[:1], steps):
            whole = all(step and step % layout.taps == 0 for step in choice)
            blocks = tuple(step // layout.taps for step in choice)
            if whole and blocks not in found:
                found.append(blocks)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Kind:
    """Pixels whose elements lie alike.

    Attributes:
        pixels: which they are, bool [H, W].
        base: the block from which on each one's elements lie, int64 [H, W].
        tap: of each channel, its block from there and its place in that; -1 for a zero: [2, n].
    """

    buffer: int
    pixels: NDArray[np.bool_]
    base: IntArray
    tap: IntArray


def _kinds(offsets: IntArray, buffers: IntArray, taps: int) -> Iterator[_Kind]:
    """The pixels of some channels, sorted by how their elements lie: [n, H, W] each."""
    size, shape = len(offsets), offsets.shape[1:]
    filled = offsets >= 0
    block, element = np.divmod(offsets, taps)
    base = np.where(filled, block, np.iinfo(np.int64).max).min(axis=0)
    base = np.where(filled.any(axis=0), base, 0)
    block, element = (np.where(filled, v, NOTHING) for v in (block - base, element))
    keys = np.concatenate([block, element, buffers.max(axis=0)[None]]).reshape(2 * size + 1, -1)
    found, inverse = np.unique(keys, axis=1, return_inverse=True)
    inverse = np.asarray(inverse).reshape(shape)
    for number, key in enumerate(found.T):
        yield _Kind(int(key[-1]), inverse == number, base, key[:-1].reshape(2, size))


@dataclass(frozen=True, slots=True)
class _Grid:
    """Evenly spaced pixels: the first one, steps, counts, and the source's first block and steps;
    (y, x) each."""

    first: tuple[int, int]
    step: tuple[int, int]
    count: tuple[int, int]
    base: int
    moves: tuple[int, int]

    @property
    def pixels(self) -> tuple[IntArray, IntArray]:
        """Indices of rows and columns, to be broadcast."""
        rows, columns = (
            np.arange(n) * step + first
            for first, step, n in zip(self.first, self.step, self.count, strict=True)
        )
        return rows[:, None], columns[None, :]


def _grids(pixels: NDArray[np.bool_], base: IntArray) -> Iterator[_Grid]:
    """Pixels in as large grids as their first one belongs to, one after the other."""
    left = pixels.copy()
    while left.any():
        y, x = divmod(int(np.flatnonzero(left)[0]), left.shape[1])
        grids = [
            _grown(left, base, (y, x), dx, dy)
            for dx in _next(left[y], x)
            for dy in _next(left[:, x], y)
        ]
        best = max(grids, key=lambda grid: grid.count[0] * grid.count[1])
        left[best.pixels] = False
        yield best


def _next(line: NDArray[np.bool_], at: int) -> list[int]:
    """Distances that are tried from a pixel to the next one of its line."""
    return (np.flatnonzero(line[at + 1 :])[:NEIGHBOURS] + 1).tolist() or [1]


def _grown(left: NDArray[np.bool_], base: IntArray, at: tuple[int, int], dx: int, dy: int) -> _Grid:
    """The largest grid from a pixel on with these steps: as wide as its row, then as high."""
    y, x = at
    columns, move_x = _run(left[y, x::dx], base[y, x::dx])
    rows = slice(x, x + (columns - 1) * dx + 1, dx)
    starts = base[y::dy, x]
    shifted = base[y::dy, rows] - base[y, rows] == (starts - starts[0])[:, None]
    whole = left[y::dy, rows].all(axis=1) & shifted.all(axis=1)
    height, move_y = _run(whole, starts)
    return _Grid(at, (dy, dx), (height, columns), int(base[at]), (move_y, move_x))


def _run(inside: NDArray[np.bool_], values: IntArray) -> tuple[int, int]:
    """How many of the first ones are inside and evenly spaced, and by how much."""
    outside = np.flatnonzero(~inside)
    count = min(int(outside[0]) if outside.size else len(inside), LARGEST_COUNT)
    if count < 2:
        return 1, 0
    moves = np.diff(values[:count])
    other = np.flatnonzero(moves != moves[0])
    return (int(other[0]) + 1 if other.size else count), int(moves[0])


def _piece(
    layout: Layout,
    kind: _Kind,
    grid: _Grid,
    channels: IntArray,
    strides: list[tuple[int, ...]],
    written: NDArray[np.bool_],
) -> Piece | None:
    filled = kind.tap[0] >= 0
    blocks = kind.tap[0][filled] if filled.any() else np.zeros(1, np.int64)
    starts = kind.base[grid.pixels].ravel()
    best: Nested | None = None
    for stride in strides:
        loops = nested(blocks, stride, 0)
        visited = starts[:, None] + loops.visited
        inside = visited.min() >= 0 and visited.max() < len(written)
        if not inside or not (layout.taps == 1 or written[visited].all()):
            continue
        if best is None or np.prod(loops.counts) < np.prod(best.counts):
            best = loops
    if best is None or max(best.counts) > LARGEST_COUNT:
        return None
    taps, none = layout.taps, 3 - len(best.counts)
    counts = (1, *grid.count, *(1,) * none, *best.counts)
    steps = (0, *(m * taps for m in grid.moves), *(0,) * none, *(s * taps for s in best.steps))
    base = (grid.base + best.low) * taps
    walk = Walk(kind.buffer, base, counts, steps, origin=grid.first, stride=grid.step)
    slots = np.full(len(channels), NOTHING)
    if filled.any():
        slots[filled] = best.tap * taps + kind.tap[1][filled]
    return Piece(walk, channels, slots)
