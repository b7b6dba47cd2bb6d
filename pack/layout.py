"""Decides how each tensor lies in words: which lane a channel has, which tensors share pixels.

Addresses here are relative to *buffers*; the planner places those in the scratchpad. Where an
operand does not lie as its nest needs it, a copy is inserted and the layout is made anew.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from bramcast.pack.errors import UnsupportedLayer
from bramcast.pack.fold import copy_op, gather_op
from bramcast.pack.graph import ZERO, Graph, IntArray, Op, Tensor, strip_zeros

LANEWISE = ("depthwise", "avgpool", "maxpool", "add")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a tensor's elements lie in its buffer.

    Element (c, y, x) is at element offset base + (y * width + x) * pitch + position[c].
    ``words`` is the number of words of a pixel that belong to this tensor.
    """

    buffer: int
    base: int
    pitch: int
    position: IntArray
    words: int


@dataclass(frozen=True, slots=True)
class PixelView:
    """A [C, H, W] view whose channels all move together over the pixels of stored tensors.

    View pixel (i, j) reads pixel number start + i * sy + j * sx (y * width + x in the stored
    tensor), channel ``channel[c]`` of ``tensor[c]``; tensor[c] is -1 where the whole channel is
    constant zero. ``border`` is what was cut off (top, left, bottom, right).
    """

    tensor: IntArray
    channel: IntArray
    start: int
    sy: int
    sx: int
    height: int
    width: int
    border: tuple[int, int, int, int]


@dataclass(slots=True)
class Layout:
    """Placements by tensor index, buffer depths in elements."""

    lanes: int
    placements: dict[int, Placement] = field(default_factory=dict)
    buffer_elements: list[int] = field(default_factory=list)

    def buffer_words(self, index: int) -> int:
        return -(-self.buffer_elements[index] // self.lanes)


class _Again(Exception):
    """The graph has changed: lay it out anew."""


class _NeedsCopy(Exception):
    """An operand of an op can't be read where it lies."""

    def __init__(self, op: Op, operand: int, dense: bool, reason: str) -> None:
        super().__init__(reason)
        self.op, self.operand, self.dense, self.reason = op, operand, dense, reason


def pixel_view(graph: Graph, view: IntArray) -> PixelView | None:
    """The regular structure of a [C, H, W] view, or None where it has none."""
    inner, border = strip_zeros(view)
    channels, height, width = inner.shape
    flat = inner.reshape(channels, -1)
    empty = (flat == ZERO).all(axis=1)
    if (flat[~empty] == ZERO).any() or empty.all():
        return None
    firsts = np.array([t.first for t in graph.tensors], dtype=np.int64)
    owner = np.where(empty[:, None], -1, np.searchsorted(firsts, flat, side="right") - 1)
    if (owner != owner[:, :1]).any():
        return None
    tensor = owner[:, 0]
    sizes = np.array([(t.height, t.width) for t in graph.tensors], dtype=np.int64)
    if len({(int(h), int(w)) for h, w in sizes[tensor[~empty]]}) != 1:
        return None
    tall, wide = (int(v) for v in sizes[tensor[~empty][0]])
    local = flat[~empty] - firsts[tensor[~empty]][:, None]
    channel = np.full(channels, -1, np.int64)
    channel[~empty] = local[:, 0] // (tall * wide)
    pixel = local % (tall * wide)
    if (local // (tall * wide) != channel[~empty][:, None]).any() or (pixel != pixel[:1]).any():
        return None
    numbers = pixel[0].reshape(height, width)
    start = int(numbers[0, 0])
    sy = int(numbers[1, 0]) - start if height > 1 else 0
    sx = int(numbers[0, 1]) - start if width > 1 else 0
    grid = start + sy * np.arange(height)[:, None] + sx * np.arange(width)[None, :]
    if (numbers != grid).any():
        return None
    return PixelView(tensor, channel, start, sy, sx, height, width, border)


def is_point(view: IntArray) -> bool:
    """Whether a view is one pixel (beside constant zeros): its elements may lie anywhere."""
    return strip_zeros(view)[0].shape[1:] == (1, 1)


def is_flat(op: Op) -> bool:
    """Whether a dense op sees one pixel only: it may read elements wherever they lie."""
    window = op.window
    return (
        op.kind == "dense"
        and op.view.shape[1:] == (1, 1)
        and window.kernel == (1, 1)
        and not any(window.padding)
        and op.groups == 1
    )


def groups_per_nest(op: Op, lanes: int) -> int:
    """How many groups of a grouped convolution one nest computes side by side in its lanes."""
    per_group = op.weight.shape[0] // op.groups
    if op.groups == 1 or per_group >= lanes:
        return 1
    best = max(1, lanes // per_group)
    return int(min(best, op.groups))


def make_layout(graph: Graph, lanes: int) -> Layout:
    """Place all tensors, inserting copies into ``graph`` where an operand needs one.

    Raises:
        UnsupportedLayer: an operand can't be brought into any readable order.
    """
    for op in list(graph.ops):
        _materialize_padding(graph, op)
    for _ in range(4 * len(graph.ops) + 8):
        try:
            return _try_layout(graph, lanes)
        except _Again:
            continue
        except _NeedsCopy as need:
            _insert_copy(graph, need)
    raise AssertionError("layout does not settle")


def _materialize_padding(graph: Graph, op: Op) -> None:
    """Zeros that a maximum or a sum has to see are stored; elsewhere they are masked taps."""
    if op.kind not in ("maxpool", "add"):
        return
    for operand, view in enumerate(op.views):
        if (view == ZERO).any():
            _insert_copy(graph, _NeedsCopy(op, operand, (view == ZERO).all(axis=(1, 2)).any(), ""))


def _insert_copy(graph: Graph, need: _NeedsCopy) -> None:
    op = next(o for o in graph.ops if o.name == need.op.name)
    view = op.views[need.operand]
    if op.label == "gather" and op.exact:
        raise UnsupportedLayer(
            f"{op.source}: layer {op.name.split('.copy')[0]!r} reads its operand in an order that "
            f"no steps over y, x and channels reach ({need.reason}); store it in another order "
            "before, or leave the rearrangement out"
        )
    make = gather_op if need.dense else copy_op
    name = f"{op.name}.copy{sum(o.name.startswith(op.name + '.copy') for o in graph.ops) + 1}"
    copy = make(graph, view, name, op.source)
    views = list(op.views)
    views[need.operand] = copy.out.ids
    at = graph.ops.index(op)
    graph.ops[at : at + 1] = [copy, replace(op, views=tuple(views))]


# --- one attempt -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    """Tensors that lie together: side by side in each pixel, or one behind the other."""

    tensors: list[int]
    by_pixel: bool


def _try_layout(graph: Graph, lanes: int) -> Layout:
    groups = _find_groups(graph)
    inner: dict[int, tuple[IntArray, int]] = {}  # tensor -> (position, words of a pixel)
    inner[0] = _input_positions(graph, lanes)
    for op in graph.ops:
        inner[op.out.index] = _result_positions(graph, op, lanes, inner, groups)
    layout = Layout(lanes)
    used = [0, *(op.out.index for op in graph.ops)]
    done: set[int] = set()
    for index in used:
        if index in done:
            continue
        group = groups.get(index, _Group([index], True))
        _place_group(graph, layout, group, inner)
        done.update(group.tensors)
    for op in graph.ops:
        _check_operands(graph, op, layout)
    return layout


def _find_groups(graph: Graph) -> dict[int, _Group]:
    groups: dict[int, _Group] = {}
    for op in graph.ops:
        for operand, view in enumerate(op.views):
            owners = graph.owners(view)
            if len(owners) < 2:
                continue
            indices = [t.index for t in owners]
            sizes = {(t.height, t.width) for t in owners}
            by_pixel = not is_flat(op) and len(sizes) == 1
            if 0 in indices:
                _copy_part(graph, op, operand, 0)
            old = {id(groups[i]): groups[i] for i in indices if i in groups}
            foreign = [g for g in old.values() if not set(g.tensors) <= set(indices)]
            covering = [g for g in foreign if set(indices) <= set(g.tensors)]
            if covering and (covering[0].by_pixel or not by_pixel):
                continue
            if foreign or any(g.by_pixel != by_pixel for g in old.values()):
                shared = next(i for i in indices if i in groups)
                _copy_part(graph, op, operand, shared)
            tensors = [i for g in old.values() for i in g.tensors]
            tensors += [i for i in indices if i not in tensors]
            merged = _Group(tensors, by_pixel)
            groups.update(dict.fromkeys(tensors, merged))
    return groups


def _copy_part(graph: Graph, op: Op, operand: int, index: int) -> None:
    """Copy one tensor of a concatenation that can't lie beside the others; then start again."""
    tensor = graph.tensors[index]
    copy = copy_op(graph, tensor.ids, f"{op.name}.part_{tensor.name}", op.source)
    view = op.views[operand].copy()
    mine = (view >= tensor.first) & (view < tensor.first + tensor.elements)
    view[mine] = copy.out.ids.ravel()[view[mine] - tensor.first]
    views = list(op.views)
    views[operand] = view
    at = graph.ops.index(op)
    graph.ops[at : at + 1] = [copy, replace(op, views=tuple(views))]
    raise _Again


def _input_positions(graph: Graph, lanes: int) -> tuple[IntArray, int]:
    """The frame is dense unless a lane-wise nest reads it."""
    channels = graph.input.channels
    lanewise = any(op.kind in LANEWISE for op in graph.consumers(graph.input))
    words = -(-channels // lanes) if lanewise else 0
    return np.arange(channels, dtype=np.int64), words


def _result_positions(
    graph: Graph,
    op: Op,
    lanes: int,
    inner: dict[int, tuple[IntArray, int]],
    groups: dict[int, _Group],
) -> tuple[IntArray, int]:
    """Positions of the result's channels within its own words of a pixel."""
    if op.kind == "dense":
        bundle = groups_per_nest(op, lanes)
        per_nest = op.weight.shape[0] // op.groups * bundle
        words = -(-per_nest // lanes)
        channel = np.arange(op.out.channels, dtype=np.int64)
        nest, lane = channel // per_nest, channel % per_nest
        return nest * words * lanes + lane, words * -(-op.out.channels // per_nest)
    keys = []
    for operand, view in enumerate(op.views):
        if is_point(view):
            position = _point_positions(graph, view, lanes, inner, groups)
        else:
            pixels = pixel_view(graph, view)
            if pixels is None or (pixels.tensor < 0).any():
                raise _NeedsCopy(op, operand, True, "its operand has no lane-wise order")
            position = _lane_positions(pixels, inner, groups)
        if (position < 0).any():
            raise _NeedsCopy(op, operand, True, "some of its channels are constant zeros")
        if np.unique(position).size != position.size:
            raise _NeedsCopy(op, operand, True, "it reads a channel twice")
        words, rank = np.unique(position // lanes, return_inverse=True)
        keys.append((rank.astype(np.int64), position % lanes, len(words)))
    word, lane, count = keys[0]
    for operand, (other_word, other_lane, _) in enumerate(keys[1:], 1):
        if (other_word != word).any() or (other_lane != lane).any():
            straight = np.arange(len(lane))
            first_is_straight = bool((word * lanes + lane == straight).all())
            raise _NeedsCopy(op, operand if first_is_straight else 0, True, "operands differ")
    if op is graph.ops[-1] and (word * lanes + lane != np.arange(len(lane))).any():
        raise _NeedsCopy(op, 0, True, "the results must leave in the order of the channels")
    multiplier = op.out.channels // len(lane)
    channel = np.arange(op.out.channels)
    source, copy = channel // multiplier, channel % multiplier
    return (copy * count + word[source]) * lanes + lane[source], count * multiplier


_APART = 1 << 32  # between tensors of a group, before their places are known


def _order(groups: dict[int, _Group], index: int) -> int:
    return groups[index].tensors.index(index) if index in groups else 0


def _lane_positions(
    pixels: PixelView, inner: dict[int, tuple[IntArray, int]], groups: dict[int, _Group]
) -> IntArray:
    """Where each channel lies in a pixel, up to the distances between a group's tensors."""
    position = np.empty(len(pixels.tensor), np.int64)
    for index in np.unique(pixels.tensor):
        mine = pixels.tensor == index
        own, _ = inner[int(index)]
        position[mine] = own[pixels.channel[mine]] + _order(groups, int(index)) * _APART
    return position


def _point_positions(
    graph: Graph,
    view: IntArray,
    lanes: int,
    inner: dict[int, tuple[IntArray, int]],
    groups: dict[int, _Group],
) -> IntArray:
    """The same for the elements of a single pixel; -1 for constant zeros."""
    numbers = strip_zeros(view)[0].ravel()
    position = np.full(numbers.size, -1, np.int64)
    for tensor in graph.owners(numbers):
        mine = (numbers >= tensor.first) & (numbers < tensor.first + tensor.elements)
        channel, pixel = np.divmod(numbers[mine] - tensor.first, tensor.height * tensor.width)
        own = inner[tensor.index]
        pitch = _own_pitch(tensor, own, lanes)
        position[mine] = own[0][channel] + pixel * pitch + _order(groups, tensor.index) * _APART
    return position


def _place_group(
    graph: Graph, layout: Layout, group: _Group, inner: dict[int, tuple[IntArray, int]]
) -> None:
    buffer = len(layout.buffer_elements)
    tensors = [graph.tensors[i] for i in group.tensors]
    pitches = [_own_pitch(t, inner[t.index], layout.lanes) for t in tensors]
    offset = 0
    for tensor, own in zip(tensors, pitches, strict=True):
        position, words = inner[tensor.index]
        pitch = sum(pitches) if group.by_pixel else own
        layout.placements[tensor.index] = Placement(buffer, offset, pitch, position, words)
        offset += own if group.by_pixel else own * tensor.height * tensor.width
    if group.by_pixel:
        offset *= tensors[0].height * tensors[0].width
    layout.buffer_elements.append(offset)


def _own_pitch(tensor: Tensor, inner: tuple[IntArray, int], lanes: int) -> int:
    return inner[1] * lanes if inner[1] else tensor.channels


def _check_operands(graph: Graph, op: Op, layout: Layout) -> None:
    if is_flat(op):
        return
    readings = []
    for operand, view in enumerate(op.views):
        reading = read_view(graph, layout, view)
        if reading is None:
            raise _NeedsCopy(op, operand, True, "its operand has no regular order")
        readings.append(reading)
        if op.kind in LANEWISE:
            words = np.unique(reading.offsets // layout.lanes)
            if len(words) > 1 and len(np.unique(np.diff(words))) > 1:
                raise _NeedsCopy(op, operand, True, "its words are not evenly spaced")
    if op.kind != "add":
        return
    steps = [(r.sy, r.sx) for r in readings]
    if (op.out.height > 1 or op.out.width > 1) and steps[0] != steps[1]:
        # The broadcast one, or the one that lies in the wider pixels, if it is no copy already.
        wanted = steps.index(min(steps) if 0 in min(steps) else max(steps))
        source = graph.producer(graph.owners(op.views[wanted])[0])
        if source is not None and source.exact:
            wanted = 1 - wanted
        raise _NeedsCopy(op, wanted, False, "its operands' pixels differ in pitch")
    if len(np.unique(readings[1].offsets - readings[0].offsets)) > 1:
        spans = [int(r.offsets.max() - r.offsets.min()) for r in readings]
        raise _NeedsCopy(op, int(np.argmax(spans)), False, "its operands' words differ in spacing")


def _positions(layout: Layout, pixels: PixelView) -> IntArray:
    """Element offset of each channel at the view's pixel (0, 0), from the buffer's start."""
    result = np.full(len(pixels.tensor), -1, np.int64)
    for index in np.unique(pixels.tensor):
        if index < 0:
            continue
        place = layout.placements[int(index)]
        mine = pixels.tensor == index
        result[mine] = place.base + place.position[pixels.channel[mine]]
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
    if len({(p.buffer, p.pitch) for p in places}) != 1:
        return None
    position = _positions(layout, pixels)
    pitch = places[0].pitch
    offsets = np.where(position >= 0, position + pixels.start * pitch, -1)
    return Reading(
        places[0].buffer, pixels.sy * pitch, pixels.sx * pitch, offsets,
        pixels.height, pixels.width, pixels.border,
    )  # fmt: skip


def _affine_view(graph: Graph, layout: Layout, view: IntArray) -> Reading | None:
    """A view whose channels are not the stored ones, but whose addresses are evenly spaced."""
    inner, border = strip_zeros(view)
    channels, height, width = inner.shape
    if (inner == ZERO).any():
        return None
    if len({layout.placements[t.index].buffer for t in graph.owners(inner)}) != 1:
        return None
    buffer, flat = element_offsets(graph, layout, inner)
    offsets = flat.reshape(inner.shape)
    sy = int(offsets[0, 1, 0] - offsets[0, 0, 0]) if height > 1 else 0
    sx = int(offsets[0, 0, 1] - offsets[0, 0, 0]) if width > 1 else 0
    steps = sy * np.arange(height)[:, None] + sx * np.arange(width)
    if (offsets != offsets[:, :1, :1] + steps).any():
        return None
    return Reading(buffer, sy, sx, offsets[:, 0, 0].copy(), height, width, border)


def element_offsets(graph: Graph, layout: Layout, view: IntArray) -> tuple[int, IntArray]:
    """Buffer and element offset of every element of a flat view (-1 for a constant zero)."""
    offsets = np.full(view.size, -1, np.int64)
    numbers = view.ravel()
    buffer = -1
    for tensor in graph.owners(view):
        place = layout.placements[tensor.index]
        mine = (numbers >= tensor.first) & (numbers < tensor.first + tensor.elements)
        local = numbers[mine] - tensor.first
        channel, pixel = np.divmod(local, tensor.height * tensor.width)
        offsets[mine] = place.base + pixel * place.pitch + place.position[channel]
        buffer = place.buffer
    return buffer, offsets
