# SPDX-License-Identifier: Apache-2.0
"""Turns nests over whole pictures into nests for a core with several tiles.

Up to here addresses are as if all rows of a picture lay in one bank. Where a picture lies in strips
of h rows, its row y is row y % h of bank y // h:

    strips   all tiles make the results of their own strip: row oy of tile t is row t * h + oy of
             the layer. Legal where the rows that it reads move on by a strip of the operand, too.
    whole    all tiles make the same. A layer in strips is then a nest for each bank.

What is not in strips lies in bank 0, or in all banks if a nest reads it beside strips.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.program import ALL_BANKS, Nest, Rows
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Add, Product
from bramcast.pack.graph.tensor import IntArray
from bramcast.pack.lower.lowered_nest import LoweredNest
from bramcast.pack.lower.walks import Layout

LARGEST_OFFSET = 1 << 22  # of a row in a bank, in elements
LARGEST_STRIP = 1 << 9


class NoStrips(Exception):
    """A nest can't read its operand in these strips."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """A buffer of strips: elements of a strip, and of a row."""

    span: int
    pitch: int


@dataclass(frozen=True, slots=True)
class Tiled:
    """Nests for several tiles, and the buffers that they read in every bank."""

    nests: list[LoweredNest]
    everywhere: frozenset[int]


def tiled(graph: Graph, layout: Layout, nests: Iterable[LoweredNest]) -> list[LoweredNest]:
    """The program's nests, for the tiles of the layout.

    Raises:
        NoStrips: the layout's strips are none that nests can read.
    """
    if layout.tiles == 1:
        return list(nests)
    found, everywhere = list[LoweredNest](), set[int]()
    for lowered in nests:
        made = tiled_nest(layout, lowered)
        found += made.nests
        everywhere |= made.everywhere
    frame = layout.placements[graph.input.index].buffer
    pictures = _pictures(layout)
    if frame in everywhere and frame not in pictures:
        raise NoStrips
    return [_in_all_banks(n) if n.result_buffer in everywhere else n for n in found]


def _in_all_banks(lowered: LoweredNest) -> LoweredNest:
    nest = lowered.nest
    if nest.stream or nest.strips:
        return lowered
    return replace(lowered, nest=replace(nest, bank=ALL_BANKS))


def _pictures(layout: Layout) -> dict[int, _Picture]:
    """The buffers that hold strips."""
    found = {}
    for index, h in layout.strips.items():
        place = layout.placements[index]
        found[place.buffer] = _Picture(h * place.row_pitch, place.row_pitch)
    return found


def tiled_nest(layout: Layout, lowered: LoweredNest) -> Tiled:
    """One nest as one or several for the tiles of the layout.

    Raises:
        NoStrips: its operand can't be read like that.
    """
    h, nest = layout.strips.get(lowered.op.out.index), lowered.nest
    rows, everywhere = _operand(layout, lowered)
    if nest.stream or h is None:
        whole = _piece(layout, lowered, rows, 0, nest.counts[1])
        return Tiled([whole], everywhere if rows is not None else frozenset())
    strips = _strips(layout, lowered, rows, h)
    if strips is not None:
        return Tiled(strips, everywhere)
    pitch = layout.placements[lowered.op.out.index].row_pitch
    first, stride, made = lowered.origin[0], lowered.stride[0], list[LoweredNest]()
    for bank in range(layout.tiles):
        start = max(0, -(-(bank * h - first) // stride))
        stop = min(nest.counts[1], -(-((bank + 1) * h - first) // stride))
        if start < stop:
            part = _piece(layout, lowered, rows, start, stop - start)
            base = part.nest.result_base - bank * h * pitch // layout.lanes
            made.append(replace(part, nest=replace(part.nest, result_base=base, bank=bank)))
    return Tiled(made, everywhere if rows is not None else frozenset())


def _row_by_row(lowered: LoweredNest) -> bool:
    """Whether each row of the layer is a nest, as where a vector multiplies it."""
    op = lowered.op
    return isinstance(op, Add | Product) and op.out.height > 1 and lowered.nest.counts[1] == 1


def _strips(
    layout: Layout, lowered: LoweredNest, rows: "_RowWalk | None", h: int
) -> list[LoweredNest] | None:
    """A nest whose tiles make the rows of their own strips; None where that is not legal."""
    nest, first, stride = lowered.nest, lowered.origin[0], lowered.stride[0]
    if nest.product and layout.pairs:  # the multipliers of two tiles make one product
        return None
    if _row_by_row(lowered):
        if rows is None or h * rows.unit != rows.picture.span:
            return None
        if first >= h:  # another tile makes it
            return []
        made = _piece(layout, lowered, rows, 0, 1, h)
        walk = replace(lowered.walk, stride=(h, lowered.walk.stride[1]))
        return [replace(made, walk=walk, nest=replace(made.nest, strips=True))]
    all_rows = -(-(lowered.op.out.height - first) // stride)
    if h % stride or first >= stride or nest.counts[1] != all_rows or nest.weight_steps[1]:
        return None
    count = h // stride
    if rows is None:
        _, valid = _coordinates(nest)
        if nest.act_steps[1] or not valid.all():
            return None
    elif count * rows.step_oy * rows.unit != rows.picture.span:
        return None
    try:
        made = _piece(layout, lowered, rows, 0, count, count)
    except NoStrips:
        return None
    return [replace(made, nest=replace(made.nest, strips=True))]


def _piece(
    layout: Layout,
    lowered: LoweredNest,
    rows: "_RowWalk | None",
    first: int,
    count: int,
    strip: int = 0,
) -> LoweredNest:
    """So many of a nest's rows of results, from number ``first`` on.

    Args:
        strip: rows from a tile to the next one; 0: all tiles make the same.

    Raises:
        NoStrips: the taps that count can't be told apart by one limit.
    """
    nest = replace(
        lowered.nest, counts=_with(lowered.nest.counts, 1, count),
        act_base=lowered.nest.act_base + first * lowered.nest.act_steps[1],
        weight_base=lowered.nest.weight_base + first * lowered.nest.weight_steps[1],
        result_base=lowered.nest.result_base + first * lowered.nest.result_steps[1],
        y_start=lowered.nest.y_start + first * lowered.nest.y_step_oy,
    )  # fmt: skip
    second = lowered.second
    if second is not None:
        second = second[0], second[1] + first * lowered.nest.act_steps[1]
    if rows is None and strip:  # each tile reads its own bank
        nest = _without_y(nest, Rows(limit=layout.tiles))
    elif rows is None:
        nest = _in_one_bank(layout, nest)
    else:
        taken = rows.of(first, count, nest.counts[3], strip, layout.tiles)
        steps = _with(nest.act_steps, 1, nest.act_steps[1] - taken.step_oy)
        if second is None:
            steps = _with(steps, 3, steps[3] - taken.step_ky)
        else:
            second = second[0], second[1] - taken.start
        nest = replace(nest, act_base=nest.act_base - taken.start, act_steps=steps)
        nest = _without_y(nest, taken)
    if count == 1:  # a loop that runs once has no steps
        assert nest.rows is not None
        nest = replace(
            nest, act_steps=_with(nest.act_steps, 1, 0),
            weight_steps=_with(nest.weight_steps, 1, 0),
            result_steps=_with(nest.result_steps, 1, 0), rows=replace(nest.rows, step_oy=0),
        )  # fmt: skip
    row = lowered.origin[0] + first * lowered.stride[0]
    return replace(lowered, nest=nest, second=second, first_row=row)


def _with(values: Sequence[int], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _without_y(nest: Nest, rows: Rows) -> Nest:
    reached = [rows.start, rows.limit, rows.span]
    reached += [abs(rows.step_oy), abs(rows.step_ky)]
    if max(map(abs, reached)) // rows.span >= LARGEST_STRIP or rows.span >= LARGEST_OFFSET:
        raise NoStrips
    return replace(nest, rows=rows, y_start=0, y_limit=1, y_step_oy=0, y_step_ky=0)


def _coordinates(nest: Nest) -> tuple[IntArray, NDArray[np.bool_]]:
    """Coordinate y of every tap [oy, ky], and which count."""
    oy, ky = (np.arange(nest.counts[n], dtype=np.int64) for n in (1, 3))
    y = nest.y_start + oy[:, None] * nest.y_step_oy + ky * nest.y_step_ky
    return y, (y >= 0) & (y < nest.y_limit)


def _in_one_bank(layout: Layout, nest: Nest) -> Nest:
    """Of an operand that lies in one bank: its rows serve as a mask, if it needs one."""
    _, valid = _coordinates(nest)
    if valid.all():
        return _without_y(nest, Rows())
    unit = layout.word if nest.lanewise else layout.taps
    steps = _with(nest.act_steps, 1, nest.act_steps[1] - nest.y_step_oy * unit)
    steps = _with(steps, 3, nest.act_steps[3] - nest.y_step_ky * unit)
    span, start = nest.y_limit * unit, nest.y_start * unit
    moved = replace(nest, act_base=nest.act_base - start, act_steps=steps)
    return _without_y(moved, Rows(span, start, nest.y_step_oy * unit, nest.y_step_ky * unit, span))


# --- the rows of an operand --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _RowWalk:
    """Which rows of a picture in strips a nest's taps are in.

    Element ``start`` + y * unit of the rows of all strips, with the coordinate y = first +
    oy * step_oy + ky * step_ky; the tap counts if that is 0..limit - 1.
    """

    picture: _Picture
    start: int
    unit: int
    first: int
    step_oy: int
    step_ky: int
    limit: int

    def of(self, first: int, count: int, taps: int, strip: int, tiles: int) -> Rows:
        """The rows of some results.

        Raises:
            NoStrips: no limit tells the taps that count from the others.
        """
        tile = np.arange(tiles if strip else 1)[:, None, None] * strip
        oy, ky = np.arange(count)[:, None], np.arange(taps)
        y = self.first + (first + oy + tile) * self.step_oy + ky * self.step_ky
        u, valid = self.start + y * self.unit, (y >= 0) & (y < self.limit)
        limit = int(u[valid].max()) + 1 if valid.any() else 1
        if (valid != ((u >= 0) & (u < limit))).any():
            raise NoStrips
        return Rows(
            self.picture.span, self.start + (self.first + first * self.step_oy) * self.unit,
            self.step_oy * self.unit, self.step_ky * self.unit, limit,
        )  # fmt: skip


def _operand(layout: Layout, lowered: LoweredNest) -> tuple[_RowWalk | None, frozenset[int]]:
    """The rows of a nest's operands, None if in one bank; and the buffers of those that are.

    Raises:
        NoStrips: they are in strips, and not so that a nest reads them.
    """
    pictures, nest = _pictures(layout), lowered.nest
    operands = [(lowered.walk.buffer, nest.act_base)]
    if lowered.second is not None:
        operands.append(lowered.second)
    still = frozenset(buffer for buffer, _ in operands if buffer not in pictures)
    moving = [(pictures[buffer], base) for buffer, base in operands if buffer in pictures]
    if not moving:
        return None, still
    picture = moving[0][0]
    if any(other != picture for other, _ in moving):
        raise NoStrips
    first, step_oy, step_ky = nest.y_start, nest.y_step_oy, nest.y_step_ky
    limit, unit = nest.y_limit, lowered.walk.unit
    if _row_by_row(lowered):
        first, step_oy, step_ky, limit = lowered.origin[0], 1, 0, lowered.op.out.height
        unit = picture.pitch
    elif nest.counts[1] > 1 and nest.act_steps[1] != step_oy * unit:
        raise NoStrips
    if nest.counts[3] > 1 and nest.act_steps[3] != step_ky * unit and lowered.second is None:
        raise NoStrips
    if lowered.second is not None and step_ky:
        raise NoStrips
    width = layout.word if nest.lanewise else layout.taps
    row = picture.pitch if not unit or abs(unit) % picture.pitch == 0 else abs(unit)
    if picture.pitch % row or picture.span % width or (unit * step_oy) % width:
        raise NoStrips
    low, high = _inside_rows(lowered)
    starts = set()
    for _, base in moving:
        zero = base - first * unit  # where coordinate 0 reads
        starts.add((zero + low) // row * row)
        starts.add((zero + high + width - 1) // row * row)
    if len(starts) > 1:  # it leaves a row, or the operands are in different ones
        raise NoStrips
    start = starts.pop()
    if start % width:
        raise NoStrips
    return _RowWalk(picture, start, unit, first, step_oy, step_ky, limit), still


def _inside_rows(lowered: LoweredNest) -> tuple[int, int]:
    """The lowest and the highest element that a nest's taps add to their rows."""
    nest = lowered.nest
    steps = list(nest.act_steps)
    if lowered.second is not None:
        steps[4 if nest.product else 3] = 0  # from an operand to the other
    ox, kx = (np.arange(nest.counts[n], dtype=np.int64) for n in (2, 4))
    x = nest.x_start + ox[:, None] * nest.x_step_ox + kx * nest.x_step_kx
    at = (ox[:, None] * steps[2] + kx * steps[4])[(x >= 0) & (x < nest.x_limit)]
    if not at.size:
        return 0, 0
    more = [(nest.counts[n] - 1) * steps[n] for n in (0, 5)]
    low, high = (sum(f(0, m) for m in more) for f in (min, max))
    return int(at.min()) + low, int(at.max()) + high
