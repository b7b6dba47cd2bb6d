# SPDX-License-Identifier: Apache-2.0
"""How nests read tensors where they lie: placements, views as regular walks, dense nests' loops.

A dense tap reads TAPS neighbours, aligned, here called a *block*. Where the pixels of a layer start
at different places within their blocks, the layer is split into phases: one nest for each place,
with weights of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import (
    Add,
    AvgPool,
    Dense,
    Depthwise,
    MaxPool,
    Op,
    Product,
    Rearranged,
    window_of,
)
from bramcast.pack.graph.tensor import ZERO, IntArray, strip_zeros
from bramcast.pack.graph.views import PixelView, grid_steps, is_point, pixel_view

Lanewise = Depthwise | AvgPool | MaxPool | Add | Product  # each lane computes with its own


def is_lanewise(op: Op) -> TypeGuard[Lanewise]:
    """Whether its nests read words; a copy in any order reads element by element."""
    return isinstance(op, Lanewise) and not isinstance(op, Rearranged)


LARGEST_COUNT = 1 << 16
LARGEST_COORDINATE = (1 << 15) - 1
NEST_CYCLES = 40  # what one nest more costs, about


def round_up(value: int, step: int) -> int:
    """The next multiple of ``step``.

    >>> round_up(7, 4), round_up(8, 4)
    (8, 8)
    """
    return -(-value // step) * step


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a tensor's elements lie in its buffer.

    Element (c, y, x) is at element offset base + lead + y * row_pitch + x * pitch + position[c].
    The tensor is written in ``runs`` runs of as many pixels each (a result pixel by pixel; the
    input frame also row by row or all at once): ``span`` elements, the first ``lead`` of them zero.
    """

    buffer: int
    base: int
    pitch: int
    row_pitch: int
    width: int
    position: IntArray
    runs: int
    span: int
    lead: int = 0

    def pixels(self, numbers: IntArray) -> IntArray:
        """Element offsets of pixels by their numbers y * width + x."""
        y, x = np.divmod(numbers, self.width)
        return np.asarray(self.base + self.lead + y * self.row_pitch + x * self.pitch)


@dataclass(slots=True)
class Layout:
    """Placements by tensor index, buffer depths in elements.

    ``born`` is the number of the operation that writes a tensor, -1 for the input frame; ``beside``
    how many pixels of a row lie in a sub-word, where these are several, and ``across`` how many a
    tensor has in each of its own, where it is a row of phases (beside.py). ``strips`` is how many
    rows of a tensor each tile has, where they are shared out (strips.py): bases and pitches are
    then as if all rows lay in one bank, as they do with one tile. With ``pairs`` products of two
    tensors are computed in no strips.
    """

    lanes: int
    taps: int = 1
    tiles: int = 1
    beside: Mapping[int, int] = field(default_factory=dict)
    across: dict[int, int] = field(default_factory=dict)
    placements: dict[int, Placement] = field(default_factory=dict)
    buffer_elements: list[int] = field(default_factory=list)
    born: dict[int, int] = field(default_factory=dict)
    strips: Mapping[int, int] = field(default_factory=dict)
    pairs: bool = False

    @property
    def word(self) -> int:
        """Elements of a word."""
        return self.lanes * self.taps

    @property
    def unit(self) -> int:
        """What a pixel's elements are filled up to: whole sub-words and whole blocks."""
        return max(self.lanes, self.taps)

    def group(self, lanewise: bool) -> int:
        """Results that a nest computes side by side."""
        return self.word if lanewise else self.lanes

    def buffer_words(self, index: int) -> int:
        """Words of a buffer, of each bank if it is one of strips."""
        spans = [
            h * self.placements[i].row_pitch
            for i, h in self.strips.items()
            if self.placements[i].buffer == index
        ]
        return -(-max(spans, default=self.buffer_elements[index]) // self.word)

    def written(self, graph: Graph, buffer: int, before: int) -> NDArray[np.bool_]:
        """Which elements of a buffer have been written before operation ``before``."""
        result = np.zeros(round_up(self.buffer_elements[buffer], self.word), bool)
        for index, place in self.placements.items():
            if place.buffer == buffer and self.born[index] < before:
                tensor = graph.tensors[index]
                step = tensor.height * tensor.width // place.runs
                starts = place.pixels(np.arange(place.runs) * step) - place.lead
                result[starts[:, None] + np.arange(place.span)] = True
        return result


# --- views -------------------------------------------------------------------------------------


def groups_per_nest(op: Dense, lanes: int) -> int:
    """How many groups of a grouped convolution one nest computes side by side in its lanes."""
    per_group = op.weight.shape[0] // op.groups
    if op.groups == 1 or per_group >= lanes:
        return 1
    best = max(1, lanes // per_group)
    return int(min(best, op.groups))


def nest_inputs(op: Dense, lanes: int) -> list[slice]:
    """The input channels of each of a dense layer's nests."""
    bundle, fan_in = groups_per_nest(op, lanes), op.weight.shape[1]
    starts = range(0, op.groups, bundle)
    return [slice(g * fan_in, min(g + bundle, op.groups) * fan_in) for g in starts]


def _positions(layout: Layout, pixels: PixelView) -> IntArray:
    """Element offset of each channel at the view's pixel (0, 0), from the buffer's start."""
    result = np.full(len(pixels.tensor), -1, np.int64)
    for index in np.unique(pixels.tensor):
        if index < 0:
            continue
        place = layout.placements[int(index)]
        mine = pixels.tensor == index
        start = place.pixels(pixels.numbers[0, 0])
        result[mine] = start + place.position[pixels.channel[mine]]
    return result


@dataclass(frozen=True, slots=True)
class Reading:
    """How a nest walks a view: steps over y and x and each channel's offset, in elements.

    ``offsets`` are those of the first pixel, from the buffer's start; -1 for a channel of zeros.
    ``height`` and ``width`` count pixels without ``border`` (top, left, bottom, right).
    """

    buffer: int
    sy: int
    sx: int
    offsets: IntArray
    height: int
    width: int
    border: tuple[int, int, int, int]


def read_view(graph: Graph, layout: Layout, view: IntArray) -> Reading | None:
    """The walk over a [C, H, W] view, or None where it is not regular or in several buffers."""
    if is_point(view):
        inner, border = strip_zeros(view)
        buffers = {layout.placements[t.index].buffer for t in graph.owners(inner)}
        if len(buffers) != 1:
            return None
        buffer, offsets = element_offsets(graph, layout, inner)
        return Reading(buffer, 0, 0, offsets, 1, 1, border)
    pixels = pixel_view(graph, view)
    if pixels is None:
        return _affine_view(graph, layout, view)
    places = [layout.placements[int(i)] for i in np.unique(pixels.tensor) if i >= 0]
    if len({(p.buffer, p.pitch, p.row_pitch) for p in places}) != 1:
        return None
    steps = grid_steps(places[0].pixels(pixels.numbers))
    if steps is None:
        return None
    offsets = _positions(layout, pixels)
    height, width = pixels.numbers.shape
    return Reading(places[0].buffer, *steps, offsets, height, width, pixels.border)


def _affine_view(graph: Graph, layout: Layout, view: IntArray) -> Reading | None:
    """A view whose channels are not the stored ones, but whose addresses are evenly spaced."""
    inner, border = strip_zeros(view)
    channels, height, width = inner.shape
    filled = ~(inner == ZERO).all(axis=(1, 2))
    inner = inner[filled]
    if (inner == ZERO).any() or not filled.any():
        return None
    if len({layout.placements[t.index].buffer for t in graph.owners(inner)}) != 1:
        return None
    buffer, flat = element_offsets(graph, layout, inner)
    offsets = flat.reshape(inner.shape)
    steps = grid_steps(offsets[0])
    if steps is None or (offsets - offsets[:, :1, :1] != offsets[0] - offsets[0, 0, 0]).any():
        return None
    result = np.full(channels, -1, np.int64)
    result[filled] = offsets[:, 0, 0]
    return Reading(buffer, *steps, result, height, width, border)


def element_offsets(graph: Graph, layout: Layout, view: IntArray) -> tuple[int, IntArray]:
    """Buffer and element offset of every element of a flat view (-1 for a constant zero)."""
    offsets = np.full(view.size, -1, np.int64)
    numbers = view.ravel()
    buffer = -1
    for tensor in graph.owners(view):
        place = layout.placements[tensor.index]
        mine = tensor.mine(numbers)
        local = numbers[mine] - tensor.first
        channel, pixel = np.divmod(local, tensor.height * tensor.width)
        offsets[mine] = place.pixels(pixel) + place.position[channel]
        buffer = place.buffer
    return buffer, offsets


# --- walks -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Walk:
    """The loops of a nest over its operand: counts, steps in elements, coordinates.

    The nest's pixel (oy, ox) is the layer's origin + (oy, ox) * stride. A step of coordinate y is
    one of ``unit`` elements, if y has anything to do with rows (else 0).
    """

    buffer: int
    base: int
    counts: tuple[int, ...]
    steps: tuple[int, ...]
    coordinates: dict[str, int] = field(default_factory=dict)
    origin: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (1, 1)
    unit: int = 0

    @property
    def taps(self) -> int:
        return self.counts[3] * self.counts[4] * self.counts[5]

    def cut(self, rows: tuple[int, int], columns: tuple[int, int]) -> "Walk | None":
        """The part of the walk that makes these results of the layer, None if it makes none.

        Args:
            rows, columns: the first one and the end.
        """
        walk = self
        for axis, (first, end) in enumerate((rows, columns)):
            loop, name = 1 + axis, "yx"[axis]
            origin, stride = walk.origin[axis], walk.stride[axis]
            start = max(0, -(-(first - origin) // stride))
            stop = min(walk.counts[loop], -(-(end - origin) // stride))
            if start >= stop:
                return None
            counts, moved = list(walk.counts), list(walk.origin)
            counts[loop], moved[axis] = stop - start, origin + start * stride
            coordinates = dict(walk.coordinates)
            if coordinates:
                step = coordinates[f"{name}_step_o{name}"]
                coordinates[f"{name}_start"] += start * step
            walk = replace(
                walk, base=walk.base + start * walk.steps[loop], counts=tuple(counts),
                coordinates=coordinates, origin=(moved[0], moved[1]),
            )  # fmt: skip
        return walk

    @property
    def cycles(self) -> int:
        """About the cycles of one group of results over all pixels."""
        return self.counts[1] * self.counts[2] * self.taps + NEST_CYCLES


@dataclass(frozen=True, slots=True, eq=False)
class DenseWalk:
    """A dense nest's loops and what its weights meet.

    The weight of input channel used[i] at (ky, kx) belongs to element slots[i, ky, kx] % TAPS of
    tap slots[i, ky, kx] // TAPS; to none if that is -1, as it meets nothing but padding.
    """

    walk: Walk
    used: IntArray
    slots: IntArray


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a window over a view; ``step`` in elements, all else in pixels of the view."""

    step: int
    size: int
    before: int
    kernel: int
    stride: int
    dilation: int
    out: int

    @property
    def out_step(self) -> int:
        return self.stride * self.step

    @property
    def tap_step(self) -> int:
        return self.dilation * self.step

    def phases(self, taps: int) -> int:
        """After how many results a window starts at the same place within a block again."""
        return min(self.out, taps // gcd(taps, self.out_step))

    def inside(self) -> bool:
        """Whether no tap lies outside the view."""
        last = (self.out - 1) * self.stride + (self.kernel - 1) * self.dilation
        return self.before == 0 and last < self.size


@dataclass(frozen=True, slots=True)
class Loops:
    """What a nest does along one axis: results from ``origin``, every ``stride``-th.

    ``first`` is the offset of the first tap, ``start`` its coordinate.
    """

    origin: int
    stride: int
    outs: int
    out_step: int
    taps: int
    tap_step: int
    first: int
    start: int
    limit: int
    coordinate_out: int
    coordinate_tap: int
    unit: int = 0


def window_axes(op: Op, reading: Reading) -> tuple[Axis, Axis]:
    """The window over y and over x."""
    window = window_of(op)
    sizes, steps = (reading.height, reading.width), (reading.sy, reading.sx)
    outs = (op.out.height, op.out.width)
    y, x = (
        Axis(
            steps[i], sizes[i], window.padding[i] + reading.border[i], window.kernel[i],
            window.stride[i], window.dilation[i], outs[i],
        )
        for i in (0, 1)
    )  # fmt: skip
    return y, x


def window_walk(op: Op, reading: Reading, low: int, step: int, count: int) -> Walk:
    """The whole window in one nest: ``count`` reads in each pixel from offset ``low`` on."""
    y, x = (pixel_loops(axis, 0, 1) for axis in window_axes(op, reading))
    return walk_of(reading.buffer, low + y.first + x.first, y, x, count, step)


def pixel_loops(axis: Axis, phase: int, phases: int) -> Loops:
    """Along an axis whose coordinates are pixels."""
    return Loops(
        origin=phase,
        stride=phases,
        outs=-(-(axis.out - phase) // phases),
        out_step=phases * axis.out_step,
        taps=axis.kernel,
        tap_step=axis.tap_step,
        first=phase * axis.out_step - axis.before * axis.step,
        start=phase * axis.stride - axis.before,
        limit=axis.size,
        coordinate_out=phases * axis.stride,
        coordinate_tap=axis.dilation,
        unit=axis.step,
    )


def walk_of(buffer: int, base: int, y: Loops, x: Loops, count: int, step: int) -> Walk:
    coordinates: dict[str, int] = {}
    for name, loops in (("y", y), ("x", x)):
        coordinates[f"{name}_start"] = loops.start
        coordinates[f"{name}_limit"] = loops.limit
        coordinates[f"{name}_step_o{name}"] = loops.coordinate_out
        coordinates[f"{name}_step_k{name}"] = loops.coordinate_tap
    return Walk(
        buffer,
        base,
        (1, y.outs, x.outs, y.taps, x.taps, count),
        (0, y.out_step, x.out_step, y.tap_step, x.tap_step, step),
        coordinates,
        (y.origin, x.origin),
        (y.stride, x.stride),
        y.unit,
    )


def progression(offsets: IntArray) -> tuple[int, int, int]:
    """Start, step and count of the shortest arithmetic progression through all offsets.

    >>> progression(np.array([4, 10, 7]))
    (4, 3, 3)
    """
    low, high = int(offsets.min()), int(offsets.max())
    step = int(np.gcd.reduce(offsets - low)) or 1
    return low, step, (high - low) // step + 1


def walk_cycles(walks: Iterable[DenseWalk]) -> int:
    """About the cycles of one group of results."""
    return sum(w.walk.cycles for w in walks)


def flat_walk(graph: Graph, layout: Layout, op: Dense) -> list[DenseWalk] | None:
    """A Linear reads elements wherever they lie: over one range, or over rows and pixels.

    The shortest loops that run over nothing unwritten. At one tap everything is written.
    """
    taps = layout.taps
    buffer, offsets = element_offsets(graph, layout, op.view)
    used = np.flatnonzero(offsets >= 0)
    block, element = np.divmod(offsets[used], taps)
    start, choices = _strides(graph, layout, op)
    found = [nested(block, strides, start) for strides in choices]
    if taps > 1:
        written = written_blocks(graph, layout, op, buffer)
        inside = [loops for loops in found if (loops.visited < len(written)).all()]
        found = [loops for loops in inside if written[loops.visited].all()]
    if not found:
        return None
    best = min(found, key=lambda n: (max(n.counts) > LARGEST_COUNT, int(np.prod(n.counts))))
    slots = (best.tap * taps + element)[:, None, None]
    rows = _by_rows(graph, layout, op, best, found)
    if rows is not None:
        best, pitch = rows
        slots = (best.tap * taps + element)[:, None, None]
        first, low = divmod(best.low * taps, pitch)
        none = 3 - len(best.counts)
        counts = (1, 1, 1, best.counts[0], *(1,) * none, *best.counts[1:])
        steps = (0, 0, 0, pitch, *(0,) * none, *(s * taps for s in best.steps[1:]))
        seen = {"y_start": first, "y_limit": first + best.counts[0], "y_step_ky": 1}
        coordinates = {
            **seen,
            "y_step_oy": 0,
            "x_start": 0,
            "x_limit": 1,
            "x_step_ox": 0,
            "x_step_kx": 0,
        }
        walk = Walk(buffer, first * pitch + low, counts, steps, coordinates, unit=pitch)
        return [DenseWalk(walk, used, slots)]
    none = 3 - len(best.counts)
    counts = (1,) * (3 + none) + best.counts
    steps = (0,) * (3 + none) + tuple(s * taps for s in best.steps)
    walk = Walk(buffer, best.low * taps, counts, steps)
    return [DenseWalk(walk, used, slots)]


def _by_rows(
    graph: Graph, layout: Layout, op: Dense, best: "Nested", found: "list[Nested]"
) -> "tuple[Nested, int] | None":
    """With several tiles: loops with rows outermost, if they are about as short as the shortest.

    The rows of the picture that they run over may be strips then.
    """
    owners = graph.owners(op.view)
    pitch = layout.placements[owners[0].index].row_pitch
    if layout.tiles == 1 or len(owners) > 1 or owners[0].height == 1 or pitch % layout.taps:
        return None
    rows = [n for n in found if n.counts[0] > 1 and n.steps[0] * layout.taps == pitch]
    least = min(rows, key=lambda n: int(np.prod(n.counts)), default=None)
    if least is None or int(np.prod(least.counts)) > 1.1 * int(np.prod(best.counts)):
        return None
    return least, pitch


def _strides(graph: Graph, layout: Layout, op: Dense) -> tuple[int, list[tuple[int, ...]]]:
    """First block of an operand, and by what its loops may advance outside the innermost one."""
    taps = layout.taps
    places = [layout.placements[t.index] for t in graph.owners(op.view)]
    pitch, row_pitch = places[0].pitch, places[0].row_pitch
    if taps == 1 and len(places) == 1 and layout.tiles > 1:
        return places[0].base, [(), (pitch,), (row_pitch,), (row_pitch, pitch)]
    if taps == 1:
        return (places[0].base, [(), (pitch,)]) if len(places) == 1 else (0, [()])
    if len({(p.pitch, p.row_pitch) for p in places}) > 1:
        return 0, [()]
    choices = ((), (pitch,), (row_pitch,), (row_pitch, pitch))
    whole = [c for c in choices if all(s % taps == 0 for s in c)]
    return min(p.base for p in places) // taps, [tuple(s // taps for s in c) for c in whole]


@dataclass(frozen=True, slots=True, eq=False)
class Nested:
    """Numbers as nested loops, outermost first; tap[i] is the turn in which number i comes."""

    low: int
    counts: tuple[int, ...]
    steps: tuple[int, ...]
    tap: IntArray

    @property
    def visited(self) -> IntArray:
        """All numbers that the loops run over."""
        numbers = np.array([self.low])
        for count, step in zip(self.counts, self.steps, strict=True):
            numbers = (numbers[:, None] + step * np.arange(count)).ravel()
        return numbers


def nested(numbers: IntArray, strides: Sequence[int], start: int) -> Nested:
    """Loops over ``numbers``: one for each stride, then the rest."""
    low, rest, tap = start, numbers - start, np.zeros_like(numbers)
    counts: tuple[int, ...] = ()
    for stride in strides:
        outer, rest = np.divmod(rest, stride)
        first = int(outer.min())
        low += first * stride
        counts += (int(outer.max()) - first + 1,)
        tap = tap * counts[-1] + outer - first
    first, step, count = progression(rest)
    tap = tap * count + (rest - first) // step
    return Nested(low + first, (*counts, count), (*strides, step), tap)


def written_blocks(graph: Graph, layout: Layout, op: Dense, buffer: int) -> NDArray[np.bool_]:
    """Which blocks of a buffer are written when ``op`` starts."""
    return layout.written(graph, buffer, layout.born[op.out.index])[:: layout.taps]


def window_walks(
    graph: Graph, layout: Layout, op: Dense, reading: Reading
) -> list[DenseWalk] | None:
    """Each tap is a block of one pixel's channels."""
    taps = layout.taps
    y_axis, x_axis = window_axes(op, reading)
    if any(a.kernel > 1 and a.tap_step % taps for a in (y_axis, x_axis)):
        return None
    used = np.flatnonzero(reading.offsets >= 0)
    kernel = np.arange(y_axis.kernel)[:, None] * x_axis.kernel + np.arange(x_axis.kernel)
    walks = []
    for y in _phases(y_axis, taps):
        for x in _phases(x_axis, taps):
            shift = y.first + x.first
            block, element = np.divmod(reading.offsets[used] + shift, taps)
            low, step, count = progression(block)
            if taps > 1 and len(np.unique(block)) < count:  # it runs over blocks with no weights
                written = written_blocks(graph, layout, op, reading.buffer)
                inside = (reading.offsets[used] + shift % taps).min() // taps
                if not written[inside : inside + step * count : step].all():
                    return None
            tap = kernel * count + ((block - low) // step)[:, None, None]
            walk = walk_of(reading.buffer, low * taps, y, x, count, step * taps)
            walks.append(DenseWalk(walk, used, tap * taps + element[:, None, None]))
    return walks


def _phases(axis: Axis, taps: int) -> list[Loops]:
    count = axis.phases(taps)
    return [pixel_loops(axis, phase, count) for phase in range(count)]


def merged_walks(
    graph: Graph, layout: Layout, op: Dense, view: IntArray, reading: Reading, along: str
) -> list[DenseWalk] | None:
    """Each tap is a block of a stored row: a window's pixels in that row are read as one run.

    For the input frame, where it is stored row by row; ``along`` is the axis of the view that lies
    in rows. Its coordinates count blocks: those outside a row are masked, and what a row's first
    and last block hold beside the row is zero, so both stand for the padding.
    """
    taps, frame, place = layout.taps, graph.input, layout.placements[graph.input.index]
    used = np.flatnonzero(reading.offsets >= 0)
    y_axis, x_axis = window_axes(op, reading)
    axis, across = (x_axis, y_axis) if along == "x" else (y_axis, x_axis)
    if graph.owners(view) != [frame] or place.runs != frame.height:
        return None
    if place.pitch != frame.channels or not axis.step or axis.step % place.pitch:
        return None
    rows, offsets = np.divmod(reading.offsets[used], place.row_pitch)
    columns = (offsets - place.lead) // place.pitch
    if across.step % place.row_pitch or len(np.unique(rows)) > 1 or len(np.unique(columns)) > 1:
        return None
    far = int(columns[0]) * place.pitch + (axis.size - 1) * axis.step
    if not 0 <= far < place.width * place.pitch:
        return None  # the axis leaves the row
    whole = abs(axis.step) == place.pitch and axis.size == place.width
    if not whole and not axis.inside():
        return None
    limit = -(-(place.lead + frame.width * place.pitch) // taps)
    row = _Row(axis, offsets, int(rows[0]) * place.row_pitch, limit)
    other = pixel_loops(across, 0, 1)
    walks = []
    for phase in range(axis.phases(taps)):
        choices = [
            [
                _merged_walk(reading.buffer, row, nest, other, along, taps, used)
                for nest in _row_nests(row, phase, taps, split)
            ]
            for split in (False, True)
        ]
        walks += min(choices, key=walk_cycles)
    return walks


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """A window along a stored row: its channels' offsets at pixel 0, where the row starts."""

    axis: Axis
    offsets: IntArray
    start: int
    limit: int


@dataclass(frozen=True, slots=True, eq=False)
class _RowNest:
    """Loops along a row; block [used, kernel] is the tap that holds each element, -1 for none."""

    loops: Loops
    block: IntArray
    element: IntArray


def _row_nests(row: _Row, phase: int, taps: int, split: bool) -> list[_RowNest]:
    """One nest for a phase, or several if ``split``: one for each set of blocks inside the row."""
    axis = row.axis
    count = axis.phases(taps)
    start = phase * axis.out_step - axis.before * axis.step
    block, element = np.divmod(
        row.offsets[:, None] + start + np.arange(axis.kernel) * axis.tap_step, taps
    )
    outs = -(-(axis.out - phase) // count)
    advance = count * axis.out_step // taps
    at = block[None] + advance * np.arange(outs)[:, None, None]
    seen = (at >= 0) & (at < row.limit) if split else np.ones(at.shape, bool)
    changes = (seen[1:] != seen[:-1]).any(axis=(1, 2))
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), outs]
    nests = []
    for first, end in zip(edges[:-1], edges[1:], strict=True):
        mine = seen[first]
        low, step, number = progression(at[first][mine] if mine.any() else at[first].ravel()[:1])
        loops = Loops(
            origin=phase + count * first,
            stride=count,
            outs=end - first,
            out_step=count * axis.out_step,
            taps=number,
            tap_step=step * taps,
            first=low * taps,
            start=low,
            limit=row.limit,
            coordinate_out=advance,
            coordinate_tap=step,
            unit=taps,
        )
        nests.append(_RowNest(loops, np.where(mine, (at[first] - low) // step, -1), element))
    return nests


def _merged_walk(
    buffer: int, row: _Row, nest: _RowNest, other: Loops, along: str, taps: int, used: IntArray
) -> DenseWalk:
    across = np.arange(other.taps)
    if along == "x":
        y, x = other, nest.loops
        tap = across[None, :, None] * x.taps + nest.block[:, None, :]
        block, element = nest.block[:, None, :], nest.element[:, None, :]
    else:
        y, x = nest.loops, other
        tap = nest.block[:, :, None] * x.taps + across
        block, element = nest.block[:, :, None], nest.element[:, :, None]
    walk = walk_of(buffer, row.start + y.first + x.first, y, x, 1, 0)
    return DenseWalk(walk, used, np.where(block >= 0, tap * taps + element, -1))
