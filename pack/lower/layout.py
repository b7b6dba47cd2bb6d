# SPDX-License-Identifier: Apache-2.0
"""Decides how each tensor lies in words: which lane a channel has, which tensors share pixels.

Addresses here are relative to *buffers*; the planner places those in the scratchpad. Where an
operand does not lie as its nest needs it, a copy is inserted and the layout is made anew.

    op(view)     ->     copy = view,  op(copy)        where ``view`` can't be read where it lies

Where the copy can't read it in one walk either, it becomes one in any order (pieces.py).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import lcm
from typing import NoReturn

import numpy as np

from bramcast.pack.graph.draft import Draft
from bramcast.pack.graph.edit import copy_op, gather_op, rearrange, shown_by, without_pairs
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import (
    Add,
    Dense,
    Depthwise,
    MaxPool,
    Op,
    Product,
    Rearranged,
    Weighted,
    is_exact,
)
from bramcast.pack.graph.tensor import ZERO, IntArray, Tensor, strip_zeros
from bramcast.pack.graph.views import PixelView, is_flat, is_point, pixel_view
from bramcast.pack.lower.beside import (
    Unfit,
    check_words_beside,
    dense_parts,
    pixels_beside,
    widened,
)
from bramcast.pack.lower.dense import dense_cycles, dense_walks
from bramcast.pack.lower.fastest import fastest
from bramcast.pack.lower.pieces import pieces_of
from bramcast.pack.lower.strips import with_strips
from bramcast.pack.lower.upright import upright
from bramcast.pack.lower.walks import (
    Lanewise,
    Layout,
    Placement,
    Reading,
    groups_per_nest,
    is_lanewise,
    nest_inputs,
    read_view,
    round_up,
)
from bramcast.pack.passes.interleave import Interleaving, interleaving_of


@dataclass(frozen=True, slots=True, eq=False)
class LaidOut:
    """A graph with the copies that its layout needs, and the layout."""

    graph: Graph
    layout: Layout


class _Again(Exception):
    """It takes another graph: lay that out."""

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self.graph = draft.done()


class _NeedsCopy(Exception):
    """An operand of an op can't be read where it lies."""

    def __init__(self, op: Op, operand: int, dense: bool, reason: str) -> None:
        super().__init__(reason)
        self.op, self.operand, self.dense, self.reason = op, operand, dense, reason


class _NotAcross(Exception):
    """A row of phases can't lie pixel by pixel: what makes it leaves each channel in its lane."""

    def __init__(self, tensors: Iterable[int]) -> None:
        super().__init__()
        self.tensors = frozenset(tensors)


_Shape = tuple[int, int, int, bool]  # lanes, taps, tiles, pairs


def make_layout(
    graph: Graph, lanes: int, taps: int = 1, tiles: int = 1, pairs: bool = False
) -> LaidOut:
    """Place all tensors, inserting copies where an operand needs one."""
    graph = _with_padding(upright(graph) if tiles > 1 else graph)
    shape = lanes, taps, tiles, pairs
    first, found = _settled(graph, shape, {}, frozenset())
    plain = frozenset(index for index in found if index < len(graph.tensors))

    def settle(beside: Mapping[int, int]) -> tuple[Graph, Layout]:
        made, _ = _settled(graph, shape, beside, plain)
        return made.graph, made.layout

    rows = {
        tuple(group.tensors): group.interleaved.across
        for group in _interleaved_groups(graph, plain).values()
        if group.interleaved is not None
    }
    return LaidOut(*fastest(graph, rows, (first.graph, first.layout), settle))


def _settled(
    graph: Graph, shape: _Shape, beside: Mapping[int, int], plain: frozenset[int]
) -> tuple[LaidOut, frozenset[int]]:
    """A layout in which those tensors have so many pixels in a sub-word.

    Args:
        plain: tensors that are no rows of phases, whoever reads them so.

    Returns:
        The layout, and ``plain`` with those that it found to be such.

    Raises:
        Unfit: some can't be read like that.
    """
    for _ in range(4 * len(graph.ops) + 8):
        try:
            layout = _Attempt(graph, shape, beside, plain).layout()
            return LaidOut(graph, with_strips(graph, layout)), plain
        except _Again as again:
            graph = again.graph
        except _NotAcross as found:
            plain |= found.tensors
        except _NeedsCopy as need:
            draft = Draft(graph)
            _insert_copy(draft, need)
            graph = draft.done()
    if beside:
        raise Unfit
    raise AssertionError("layout does not settle")


def _with_padding(graph: Graph) -> Graph:
    """Zeros that a maximum or a sum has to see are stored; elsewhere they are masked taps."""
    draft = Draft(graph)
    for op in graph.ops:
        if not isinstance(op, MaxPool | Add | Product):
            continue
        reader: Op = op
        for operand, view in enumerate(op.views):
            zeros = view == ZERO
            if zeros.any():
                need = _NeedsCopy(reader, operand, bool(zeros.all(axis=(1, 2)).any()), "")
                reader = _insert_copy(draft, need)
    return draft.done()


def _insert_copy(draft: Draft, need: _NeedsCopy) -> Op:
    """Put a copy in before the operation that needs it; the operation that reads the copy."""
    op, view = need.op, need.op.views[need.operand]
    if op.label == "gather" and is_exact(op):
        assert isinstance(op, Dense), "a gather is dense"
        rearrange(draft, op, shown_by(op), by_channel=False)
        return op
    make = gather_op if need.dense else copy_op
    name = f"{op.name}.copy{sum(o.name.startswith(op.name + '.copy') for o in draft.ops) + 1}"
    copy = make(draft, view, name, op.source)
    reader = _reading(op, need.operand, copy.out.ids)
    draft.put(op, copy, reader)
    return reader


def _reading(op: Op, operand: int, view: IntArray) -> Op:
    """An operation with another view in the place of one of its operands."""
    return replace(op, views=(*op.views[:operand], view, *op.views[operand + 1 :]))


# --- one attempt -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    """Tensors that lie together: side by side in each pixel, or one behind the other."""

    tensors: list[int]
    by_pixel: bool
    gap: int = 0  # elements between two tensors behind each other
    stacked: bool = False  # pixels of one view, which only that view shows: the order must stay
    interleaved: Interleaving | None = None  # or into one another


@dataclass(frozen=True, slots=True)
class _Inner:
    """A tensor by itself: its channels' places in a pixel and the elements written there."""

    position: IntArray
    span: int


class _Attempt:
    """One try to lay a graph out."""

    def __init__(
        self,
        graph: Graph,
        shape: _Shape,
        beside: Mapping[int, int] | None = None,
        plain: frozenset[int] = frozenset(),
    ) -> None:
        lanes, taps, tiles, pairs = shape
        self.graph = graph
        self.groups = _find_groups(graph, plain)
        self.result = Layout(lanes, taps, tiles, beside or {}, pairs=pairs)
        for group in self.groups.values():
            if group.interleaved is not None:
                self.result.across.update(dict.fromkeys(group.tensors, group.interleaved.across))
            elif len(group.tensors) > 1 and self.result.beside.keys() & set(group.tensors):
                raise Unfit
        self.result.born = {op.out.index: i for i, op in enumerate(graph.ops)} | {0: -1}
        self.lanewise: set[int] = set()  # tensors that are read lane by lane
        self.stepped: set[int] = set()  # and over several pixels: each starts a word
        self.paired: set[int] = set()  # factors of joined products: each starts a word
        for op in graph.ops:
            if len(op.views) == 4:
                self.paired |= {t.index for view in op.views for t in graph.owners(view)}
            for view in op.views if is_lanewise(op) and not self._wide(op) else ():
                owners = {t.index for t in graph.owners(view)}
                self.lanewise |= owners
                self.stepped |= set() if is_point(view) else owners
        if taps > 1:  # with several parts in a word, what is read must be what is written already
            for group in self.groups.values():
                if not group.stacked:
                    group.tensors.sort(key=lambda index: self.result.born[index])
        self.inner = {0: self._input()}

    def layout(self) -> Layout:
        for op in self.graph.ops:
            self.inner[op.out.index] = self._of_result(op)
        self._align_pairs()
        for index in [0, *(op.out.index for op in self.graph.ops)]:
            if index not in self.result.placements:
                self._place(self._group(index))
        for op in self.graph.ops:
            _check_operands(self.graph, op, self.result)
        return self.result

    def _align_pairs(self) -> None:
        """Place the operands of joined products so that both distances are equal."""
        for op in self.graph.ops:
            if len(op.views) < 4:
                continue
            a, b, c, d = (self.graph.owners(view)[0].index for view in op.views)
            if len(self._group(a).tensors) > 2:
                a, b, c, d = b, a, d, c
            placed = self.result.placements
            if a in placed or c in placed:
                continue
            if b not in placed:
                self._place(self._group(b))
            distance = placed[d].base - placed[b].base
            group = self._group(a)
            group.tensors.sort(key=lambda index: index != (a if distance > 0 else c))
            part = self._part(group, self.graph.tensors[group.tensors[0]])
            group.gap = max(0, abs(distance) - part)
            self._place(group)

    def _wide(self, op: Op) -> bool:
        """Whether pixels of its result lie side by side in a sub-word."""
        return op.out.index in self.result.beside

    def _group(self, index: int) -> _Group:
        return self.groups.get(index, _Group([index], True))

    def _input(self) -> _Inner:
        """The frame is dense unless a lane-wise nest reads it."""
        channels = self.graph.input.channels
        span = round_up(channels, self.result.unit) if 0 in self.lanewise else channels
        return _Inner(np.arange(channels, dtype=np.int64), span)

    def _of_result(self, op: Op) -> _Inner:
        """Places of the result's channels within its own part of a pixel."""
        lanes, unit = self.result.lanes, self.result.unit
        across = self.result.across.get(op.out.index, 1)
        if self._wide(op) or across > 1:
            each, count = op.out.channels // across, self.result.beside.get(op.out.index, 1)
            pitch = round_up(-(-each // lanes) * lanes, unit) if count == 1 else lanes // count
            if each > pitch:
                raise Unfit
            pixel = np.arange(across, dtype=np.int64)[:, None] * pitch
            position = (pixel + np.arange(each)).ravel()
            if across > 1:
                self._check_across(op, position)
            return _Inner(position, across * pitch)
        if isinstance(op, Rearranged):
            channels = op.out.channels
            return _Inner(np.arange(channels, dtype=np.int64), round_up(channels, unit))
        if isinstance(op, Dense):
            per_nest = op.weight.shape[0] // op.groups * groups_per_nest(op, lanes)
            words = -(-per_nest // lanes)
            channel = np.arange(op.out.channels, dtype=np.int64)
            nest, lane = channel // per_nest, channel % per_nest
            span = words * -(-op.out.channels // per_nest) * lanes
            return _Inner(nest * words * lanes + lane, round_up(span, unit))
        return self._of_lanes(op)

    def _check_across(self, op: Op, position: IntArray) -> None:
        """A dense layer makes a row of phases, each by itself, but not where it has groups.

        A lane-wise nest makes one only if its results' lanes are those anyway.
        """
        made = op if isinstance(op, Add) else widened(op, pixels_beside(op, self.result))
        if is_lanewise(made):
            fits = np.array_equal(self._of_lanes(op).position, position)
        else:
            fits = not isinstance(made, Dense) or made.groups == 1
        if not fits:
            raise Unfit if self._wide(op) else _NotAcross(self._group(op.out.index).tensors)

    def _of_lanes(self, op: Op) -> _Inner:
        """Places of a lane-wise nest's results: the lanes of what it reads."""
        unit = self.result.unit
        source = self._lane_order(op)
        multiplier = op.out.channels // len(source)
        last = int(source.max()) // self.result.word * self.result.word
        extent = last + round_up(int(source.max()) - last + 1, unit)
        channel = np.arange(op.out.channels)
        position = channel % multiplier * extent + source[channel // multiplier]
        return _Inner(position, extent * multiplier)

    def _lane_order(self, op: Op) -> IntArray:
        """Where a lane-wise nest puts each of its operand's channels: in the lane it comes from."""
        word = self.result.word
        keys = []
        for operand, view in enumerate(op.views):
            if is_point(view):
                position = self._point_positions(view)
            else:
                pixels = pixel_view(self.graph, view)
                if pixels is None or (pixels.tensor < 0).any():
                    raise _NeedsCopy(op, operand, True, "its operand has no lane-wise order")
                position = self._lane_positions(pixels)
            if (position < 0).any():
                raise _NeedsCopy(op, operand, True, "some of its channels are constant zeros")
            if np.unique(position).size != position.size:
                raise _NeedsCopy(op, operand, True, "it reads a channel twice")
            _, rank = np.unique(position // word, return_inverse=True)
            keys.append(rank.astype(np.int64) * word + position % word)
        straight = np.arange(len(keys[0]))
        for operand, other in enumerate(keys[1:], 1):
            if (other != keys[0]).any():
                first_is_straight = bool((keys[0] == straight).all())
                raise _NeedsCopy(op, operand if first_is_straight else 0, True, "operands differ")
        if self.graph.leaves(op) and (keys[0] != straight).any():
            raise _NeedsCopy(op, 0, True, "the results must leave in the order of the channels")
        return keys[0]

    def _lane_positions(self, pixels: PixelView) -> IntArray:
        """Where each channel lies in a pixel, up to whole words."""
        position = np.empty(len(pixels.tensor), np.int64)
        for index in np.unique(pixels.tensor):
            mine = pixels.tensor == index
            own = self.inner[int(index)].position
            position[mine] = own[pixels.channel[mine]] + self._start(int(index))
        return position

    def _point_positions(self, view: IntArray) -> IntArray:
        """The same for the elements of a single pixel; -1 for constant zeros."""
        numbers = strip_zeros(view)[0].ravel()
        position = np.full(numbers.size, -1, np.int64)
        for tensor in self.graph.owners(numbers):
            mine = tensor.mine(numbers)
            channel, pixel = np.divmod(numbers[mine] - tensor.first, tensor.height * tensor.width)
            group = self._group(tensor.index)
            shared = group.by_pixel and len(group.tensors) > 1
            pitch = _PIXELS_APART if shared else self._own_pitch(tensor)
            own = self.inner[tensor.index].position[channel]
            position[mine] = own + pixel * pitch + self._start(tensor.index)
        return position

    def _start(self, index: int) -> int:
        """A tensor's distance from the first one of its group.

        At one tap, where every tensor starts a word, only a number that keeps the order: those
        before it may not have their places yet.
        """
        group = self._group(index)
        before = group.tensors[: group.tensors.index(index)]
        if self.result.taps == 1 or group.stacked:
            return len(before) * _APART
        return self._starts(group, len(before))[-1]

    def _starts(self, group: _Group, count: int) -> list[int]:
        """Distances of tensors from the first one, up to the one with number ``count``."""
        result = [0]
        for index, following in zip(
            group.tensors[:count], group.tensors[1 : count + 1], strict=True
        ):
            end = result[-1] + self._part(group, self.graph.tensors[index]) + group.gap
            result.append(round_up(end, self.result.word) if following in self.paired else end)
        return result

    def _part(self, group: _Group, tensor: Tensor) -> int:
        """From a tensor's start to that of the next one in its group."""
        if group.by_pixel:
            return self.inner[tensor.index].span
        return self._own_pitch(tensor) * tensor.height * tensor.width

    def _own_pitch(self, tensor: Tensor) -> int:
        """Distance of the pixels of a tensor that shares them with no other."""
        span = self.inner[tensor.index].span
        return round_up(span, self.result.word) if tensor.index in self.stepped else span

    def _place(self, group: _Group) -> None:
        buffer = len(self.result.buffer_elements)
        tensors = [self.graph.tensors[i] for i in group.tensors]
        if tensors[0].index == 0:
            self.result.buffer_elements.append(0)
            self._place_frame(buffer)
            return
        if group.interleaved is not None:
            self._place_interleaved(buffer, tensors, group.interleaved)
            return
        if tensors[0].index in self.result.beside:
            self._place_beside(buffer, tensors[0])
            return
        pitch = sum(self.inner[t.index].span for t in tensors)
        if len(tensors) == 1:
            pitch = self._own_pitch(tensors[0])
        elif self.lanewise.intersection(group.tensors):
            pitch = round_up(pitch, self.result.word)
        starts = self._starts(group, len(tensors) - 1)
        for tensor, offset in zip(tensors, starts, strict=True):
            inner = self.inner[tensor.index]
            step = pitch if group.by_pixel else self._own_pitch(tensor)
            pixels = tensor.height * tensor.width
            self.result.placements[tensor.index] = Placement(
                buffer, offset, step, tensor.width * step, tensor.width, inner.position, pixels,
                inner.span,
            )  # fmt: skip
        end = starts[-1] + self._part(group, tensors[-1])
        if group.by_pixel:
            end = pitch * tensors[0].height * tensors[0].width
        self.result.buffer_elements.append(end)

    def _place_beside(self, buffer: int, tensor: Tensor) -> None:
        """Several pixels of a row in a sub-word; a row's last sub-word may have some to spare."""
        inner = self.inner[tensor.index]
        row = round_up(tensor.width, self.result.lanes // inner.span) * inner.span
        self.result.placements[tensor.index] = Placement(
            buffer, 0, inner.span, row, tensor.width, inner.position, tensor.height, row
        )
        self.result.buffer_elements.append(tensor.height * row)

    def _place_interleaved(self, buffer: int, tensors: list[Tensor], found: Interleaving) -> None:
        """Phases of one picture: each pixel of a tensor lies between those of the others."""
        steps, across, width = found.steps, found.across, tensors[0].width
        pitch = max(self._own_pitch(t) for t in tensors)
        whole = pitch * steps[1] // across  # of a pixel of all phases of a row
        row = round_up(width * whole, lcm(whole, self.result.lanes))
        for number, tensor in enumerate(tensors):
            y, x = divmod(number, steps[1] // across)
            inner = self.inner[tensor.index]
            runs, span = tensor.height * width, inner.span
            if whole % self.result.lanes:  # several of these in a sub-word
                runs, span = tensor.height, row
            self.result.placements[tensor.index] = Placement(
                buffer, y * row + x * pitch, whole, steps[0] * row, width, inner.position, runs,
                span,
            )  # fmt: skip
        self.result.buffer_elements.append(tensors[0].height * steps[0] * row)

    def _place_frame(self, buffer: int) -> None:
        """The frame's runs are pixels, rows, or all of it."""
        frame, inner = self.graph.input, self.inner[0]
        word, unit = self.result.word, self.result.unit
        runs, span = 1, round_up(frame.elements, unit)
        pitch, row = frame.channels, frame.width * frame.channels
        readers = [op for op in self.graph.consumers(frame) if not isinstance(op, Rearranged)]
        if 0 in self.lanewise:
            runs, span = frame.height * frame.width, inner.span
            pitch = round_up(span, word)
            row = frame.width * pitch
        elif self.result.taps > 1 and not all(map(is_flat, readers)):
            self._place_rows(buffer, readers)
            return
        self._put_frame(Placement(buffer, 0, pitch, row, frame.width, inner.position, runs, span))

    def _place_rows(self, buffer: int, readers: list[Op]) -> None:
        """Rows that begin behind as many zeros as make the readers' windows the cheapest."""
        frame, result = self.graph.input, self.result
        costs = []
        for lead in range(result.taps):
            end = lead + frame.width * frame.channels
            place = Placement(
                buffer, 0, frame.channels, round_up(end, result.word), frame.width,
                self.inner[0].position, frame.height, round_up(end, result.unit), lead,
            )  # fmt: skip
            self._put_frame(place)
            cost = sum(dense_cycles(self.graph, result, part) for part in self._parts(readers))
            costs.append((cost, lead, place))
        self._put_frame(min(costs, key=lambda cost: cost[:2])[2])

    def _parts(self, ops: Iterable[Op]) -> Iterator[Dense]:
        """What the nests of some dense operations compute.

        Raises:
            Unfit: one is a sum with pixels side by side, which do not lie so in the frame.
        """
        for op in ops:
            if isinstance(op, Add):
                raise Unfit
            wide = widened(op, pixels_beside(op, self.result))
            assert isinstance(wide, Dense), "the others are lane-wise"
            yield from (part.op for part in dense_parts(wide, self.result))

    def _put_frame(self, place: Placement) -> None:
        self.result.placements[0] = place
        self.result.buffer_elements[place.buffer] = self.graph.input.height * place.row_pitch


_APART = 1 << 32  # more than any distance in a group
_PIXELS_APART = 1 << 44  # more than any number of tensors in a pixel


def _find_groups(graph: Graph, plain: frozenset[int]) -> dict[int, _Group]:
    groups = _interleaved_groups(graph, plain)
    for op in graph.ops:
        if isinstance(op, Rearranged):  # each of its nests reads one tensor
            continue
        for operand, view in enumerate(op.views if len(graph.operands(op)) > 1 else ()):
            owners = graph.owners(view)
            if len(owners) < 2:
                continue
            indices = [t.index for t in owners]
            interleaved = [i for i in indices if i in groups and groups[i].interleaved is not None]
            if interleaved and set(indices) == set(groups[interleaved[0]].tensors):
                continue  # as one picture, or flattened
            if interleaved:
                _copy_part(graph, op, operand, interleaved[0])
            sizes = {(t.height, t.width) for t in owners}
            if is_flat(op):
                _copy_pixels(graph, op, operand, owners)
            stacked = not is_flat(op) and len(sizes) == 1 and _stacked(graph, view)
            by_pixel = not is_flat(op) and len(sizes) == 1 and not stacked
            if 0 in indices:
                _copy_part(graph, op, operand, 0, stacked)
            if stacked:
                indices = [t.index for t in graph.owners(view.transpose(1, 2, 0))]
                shared = [i for i in indices if not _shows_only(graph, graph.tensors[i], view)]
                if shared:
                    _copy_part(graph, op, operand, shared[0], stacked)
            old = {id(groups[i]): groups[i] for i in indices if i in groups}
            foreign = [g for g in old.values() if not set(g.tensors) <= set(indices)]
            covering = [g for g in foreign if set(indices) <= set(g.tensors)]
            if covering and (covering[0].by_pixel or not by_pixel):
                continue
            if foreign or any(g.by_pixel != by_pixel for g in old.values()):
                first = next(i for i in indices if i in groups)
                _copy_part(graph, op, operand, first, stacked)
            tensors = [i for g in old.values() for i in g.tensors]
            tensors += [i for i in indices if i not in tensors]
            stacked |= any(g.stacked for g in old.values())
            merged = _Group(tensors, by_pixel, stacked=stacked)
            groups.update(dict.fromkeys(tensors, merged))
    for op in graph.ops:
        if isinstance(op, Product) and len(op.views) == 4:
            _group_pairs(graph, op, groups)
    return groups


def _interleaved_groups(graph: Graph, plain: frozenset[int]) -> dict[int, _Group]:
    """Phases of pictures that dense layers read, without rows of them that are ``plain``."""
    groups: dict[int, _Group] = {}
    for op in graph.ops:
        for view in op.views if isinstance(op, Dense) and not is_flat(op) else ():
            found = interleaving_of(graph, view)
            if found is None or plain & set(found.tensors):
                continue
            if found.across == 1 or _alone(graph, found):
                made = _Group(list(found.tensors), False, interleaved=found)
                groups.update(dict.fromkeys(found.tensors, made))
    return groups


def _alone(graph: Graph, found: Interleaving) -> bool:
    """Whether all that read these tensors see this picture."""
    for tensor in (graph.tensors[index] for index in found.tensors):
        for op in graph.consumers(tensor):
            views = [view for view in op.views if tensor.mine(view).any()]
            if not isinstance(op, Dense) or any(interleaving_of(graph, v) != found for v in views):
                return False
    return True


def _group_pairs(graph: Graph, op: Product, groups: dict[int, _Group]) -> None:
    """The factors of two joined products lie one behind the other, and so do what they multiply.

    Both distances must be equal, as taps are evenly spaced; ``_align_pairs`` sees to that.
    """
    indices = [graph.owners(view)[0].index for view in op.views]
    for pair in (indices[::2], indices[1::2]):
        old = [groups.get(i, _Group([i], False)) for i in pair]
        if any(g.by_pixel and len(g.tensors) > 1 for g in old) or 0 in pair:
            _take_apart(graph, op)
        tensors = list(dict.fromkeys(i for g in old for i in g.tensors))
        stacked = any(g.stacked for g in old)
        groups.update(dict.fromkeys(tensors, _Group(tensors, False, stacked=stacked)))


def _take_apart(graph: Graph, op: Product) -> NoReturn:
    draft = Draft(graph)
    without_pairs(draft, op)
    raise _Again(draft)


def _stacked(graph: Graph, view: IntArray) -> bool:
    """Whether the pixels of a channel belong to several tensors, as those of time steps do."""
    owner = np.searchsorted(graph.firsts, view.reshape(len(view), -1), side="right") - 1
    return bool((owner != owner[:, :1]).any() and (view != ZERO).all())


def _shows_only(graph: Graph, tensor: Tensor, view: IntArray) -> bool:
    """Whether a tensor is read through this view and no other."""
    views = [v for op in graph.consumers(tensor) for v in op.views]
    mine = [v for v in views if tensor.mine(v).any()]
    return all(np.array_equal(v, view) for v in mine)


def _copy_pixels(graph: Graph, op: Dense, operand: int, owners: list[Tensor]) -> None:
    """Copy some pixels of a larger tensor that a flat layer reads beside others; then start again.

    A time step reads a row of a picture beside its state. Walked where it lies, the layer would
    pass all other rows, too, with weights of zero and others in each step.
    """
    view, draft = op.views[operand], Draft(graph)
    for tensor in owners:
        mine = tensor.mine(view)
        pixels = _pixels(tensor, np.unique(view[mine])) if tensor.index else None
        if pixels is None or 2 * pixels.size > tensor.elements:
            continue
        copy = copy_op(draft, pixels, f"{op.name}.part_{tensor.name}", op.source)
        numbers = np.full(tensor.elements, ZERO, np.int64)
        numbers[pixels.ravel() - tensor.first] = copy.out.ids.ravel()
        moved = view.copy()
        moved[mine] = numbers[view[mine] - tensor.first]
        draft.ops = [
            replace(o, views=(moved,)) if is_flat(o) and np.array_equal(o.view, view) else o
            for o in graph.ops
        ]
        draft.ops.insert(graph.ops.index(op), copy)
        raise _Again(draft)


def _pixels(tensor: Tensor, numbers: IntArray) -> IntArray | None:
    """The rectangle of whole pixels that sorted element numbers are, [C, H, W], if they are one."""
    area = tensor.height * tensor.width
    y, x = np.divmod((numbers - tensor.first) % area, tensor.width)
    part = tensor.ids[:, int(y.min()) : int(y.max()) + 1, int(x.min()) : int(x.max()) + 1]
    return part if np.array_equal(part.ravel(), numbers) else None


def _copy_part(graph: Graph, op: Op, operand: int, index: int, stacked: bool = False) -> NoReturn:
    """Copy one tensor of a concatenation that can't lie beside the others; then start again.

    Of a frame of which only a part is read, as in a time step, only that part; other operations
    with the same operand read the same copy. Results of time steps are copied where they are made.
    """
    tensor, old, draft = graph.tensors[index], op.views[operand], Draft(graph)
    mine = tensor.mine(old)
    name = f"{op.name}.part_{tensor.name}"
    read = np.unique(old[mine])
    rows = mine.reshape(len(old), -1)
    copy: Weighted
    same: list[Op]
    if index == 0 and is_flat(op) and read.size < tensor.elements:
        copy = gather_op(draft, read[:, None, None], name, op.source)
        view = old.copy()
        view[mine] = copy.out.ids.ravel()[np.searchsorted(read, old[mine])]
        same = [o for o in graph.ops if is_flat(o) and np.array_equal(o.view, old)]
    elif index == 0 and read.size < tensor.elements and (rows.any(1) == rows.all(1)).all():
        copy = gather_op(draft, old[rows.any(axis=1)], name, op.source)
        view = old.copy()
        view[rows.any(axis=1)] = copy.out.ids
        same = [o for o in graph.ops if len(o.views) == 1 and np.array_equal(o.view, old)]
    else:
        copy = copy_op(draft, tensor.ids, name, op.source)
        view = old.copy()
        view[mine] = copy.out.ids.ravel()[old[mine] - tensor.first]
        equal = [o for o in graph.ops if len(o.views) == 1 and np.array_equal(o.view, old)]
        same = equal if stacked else [op]
    changed = {o: replace(o, views=(view,)) for o in same} | {op: _reading(op, operand, view)}
    draft.ops = [changed.get(o, o) for o in graph.ops]
    maker = graph.producer(tensor) if stacked and index else None
    draft.ops.insert(graph.ops.index(op) if maker is None else graph.ops.index(maker) + 1, copy)
    raise _Again(draft)


def _check_operands(graph: Graph, op: Op, layout: Layout) -> None:
    if isinstance(op, Rearranged):
        if pieces_of(graph, layout, op) is None:
            draft = Draft(graph)
            rearrange(draft, op, op.view, by_channel=True)
            raise _Again(draft)
        return
    if is_flat(op):
        if layout.taps > 1 and dense_walks(graph, layout, op, slice(None)) is None:
            _part_pairs(graph, op)
            _copy_with_holes(graph, op, layout)
        return
    dense = isinstance(op, Dense) or (isinstance(op, Depthwise) and op.out.index in layout.beside)
    if not dense and (graph.operands(op) | {op.out.index}) & layout.beside.keys():
        check_words_beside(graph, layout, op)
        return
    wide = widened(op, pixels_beside(op, layout))
    readings = []
    for operand, view in enumerate(op.views):
        reading = read_view(graph, layout, view)
        if reading is None:
            if _stacked(graph, view):
                _straighten(graph, view, layout)
            raise _NeedsCopy(op, operand, True, "its operand has no regular order")
        readings.append(reading)
        if is_lanewise(op) and not dense:
            _check_words(graph, op, operand, layout, reading)
    if isinstance(wide, Dense) and layout.taps > 1:
        for part in dense_parts(wide, layout):
            for inputs in nest_inputs(wide, layout.lanes):
                if dense_walks(graph, layout, part.op, inputs) is None:
                    raise _NeedsCopy(op, 0, True, "its window takes steps that are no whole blocks")
    if isinstance(op, Product):
        _check_products(graph, op, readings)
    if not isinstance(op, Add):
        return
    steps = [(r.sy, r.sx) for r in readings]
    if (op.out.height > 1 or op.out.width > 1) and steps[0] != steps[1]:
        # The broadcast one, or the one that lies in the wider pixels, if it is no copy already.
        wanted = steps.index(min(steps) if 0 in min(steps) else max(steps))
        sizes = op.out.height, op.out.width
        if any(n > 1 and step == 0 for n, step in zip(sizes, steps[wanted], strict=True)):
            raise _NeedsCopy(op, wanted, False, "it shows a pixel several times")
        _copy_either(graph, op, wanted)
    if len(np.unique(readings[1].offsets - readings[0].offsets)) > 1:
        spans = [int(r.offsets.max() - r.offsets.min()) for r in readings]
        raise _NeedsCopy(op, int(np.argmax(spans)), False, "its operands' words differ in spacing")


def _copy_either(graph: Graph, op: Add | Product, wanted: int) -> NoReturn:
    """Copy the wanted one of two operands that differ in pitch; if it is a copy, the other one.

    A copy of the operation's own is never copied again, as that would lie as it does. So this
    ends: two of them have their channels in the same lanes and pixels of the same pitch.
    """
    source = graph.producer(graph.owners(op.views[wanted])[0])
    if source is not None and is_exact(source):
        wanted = 1 - wanted
    if _is_own_copy(graph, op, op.views[wanted]):
        wanted = 1 - wanted
    raise _NeedsCopy(op, wanted, False, "its operands' pixels differ in pitch")


def _is_own_copy(graph: Graph, op: Op, view: IntArray) -> bool:
    """Whether a view is all of a lane-wise copy that nothing else reads, so that it lies alone."""
    tensor = graph.owners(view)[0]
    source = graph.producer(tensor)
    return (
        isinstance(source, Depthwise)
        and source.exact
        and graph.consumers(tensor) == [op]
        and np.array_equal(view, tensor.ids)
    )


def _check_products(graph: Graph, op: Product, readings: list[Reading]) -> None:
    """The operands of a product are walked alike, and two pairs lie a distance apart.

    A vector that multiplies all pixels is stored for the pixels of a row; then each row is a nest.
    """
    rows, columns = [r.sy for r in readings], [r.sx for r in readings]
    wide, tall = op.out.width > 1 and len(set(columns)) > 1, op.out.height > 1
    still = [i for i, r in enumerate(readings) if (r.sy, r.sx) == (0, 0)]
    if len(readings) == 4 and (wide or (tall and len(set(rows)) > 1)):
        _take_apart(graph, op)
    if wide and still:
        _copy_row(graph, op, still[0])
    if wide or (tall and len(set(rows)) > 1 and 0 not in rows):
        _copy_either(graph, op, columns.index(max(columns)) if wide else rows.index(max(rows)))
    spacing = [np.unique(r.offsets - readings[0].offsets).size for r in readings]
    if max(spacing) > 1:
        if len(readings) == 4:
            _take_apart(graph, op)
        spans = [int(r.offsets.max() - r.offsets.min()) for r in readings]
        raise _NeedsCopy(op, int(np.argmax(spans)), False, "its operands' words differ in spacing")
    if len(readings) == 4:
        a, b, c, d = (int(r.offsets[0]) for r in readings)
        buffers = [r.buffer for r in readings]
        if buffers[0] != buffers[2] or buffers[1] != buffers[3] or c - a != d - b:
            _take_apart(graph, op)


def _copy_row(graph: Graph, op: Product, operand: int) -> NoReturn:
    """Store a vector once for each pixel of a row; then start again."""
    view, draft = op.views[operand], Draft(graph)
    copy = copy_op(draft, view[:, :1].copy(), f"{op.name}.row", op.source)
    row = np.broadcast_to(copy.out.ids, view.shape).copy()
    draft.put(op, copy, _reading(op, operand, row))
    raise _Again(draft)


def _check_words(
    graph: Graph, op: Lanewise, operand: int, layout: Layout, reading: Reading
) -> None:
    """A lane-wise nest reads whole words, of the last one the sub-words with valid lanes."""
    word = layout.word
    words = np.unique(reading.offsets // word)
    if len(words) > 1 and len(np.unique(np.diff(words))) > 1:
        raise _NeedsCopy(op, operand, True, "its words are not evenly spaced")
    if layout.taps == 1:
        return
    written = layout.written(graph, reading.buffer, layout.born[op.out.index])
    needed = words[:, None] * word + np.arange(word)
    if not written[needed[needed <= reading.offsets.max()]].all():
        raise _NeedsCopy(op, operand, True, "its words are written in part")


def _straighten(graph: Graph, view: IntArray, layout: Layout) -> None:
    """Results of time steps that begin inside a word lie unevenly: copy one, densely."""
    for tensor in graph.owners(view):
        position = layout.placements[tensor.index].position
        source = graph.producer(tensor)
        if source is None or np.array_equal(position - position[0], position):
            continue
        draft = Draft(graph)
        copy = gather_op(draft, tensor.ids, f"{source.name}.copy", source.source)
        if isinstance(source, Depthwise) and source.exact:
            draft.put(source, replace(copy, views=source.views, out=source.out))
        else:
            draft.substitute(tensor, copy.out.ids)
            draft.ops.insert(graph.ops.index(source) + 1, copy)
        raise _Again(draft)


def _part_pairs(graph: Graph, op: Dense) -> None:
    """Factors of joined products start words, which leaves holes: do without where that matters."""
    owners = graph.owners(op.view)
    for other in graph.ops:
        if not isinstance(other, Product) or len(other.views) < 4:
            continue
        if len(owners) > 1 and any(other.reads(t) for t in owners):
            _take_apart(graph, other)


def _copy_with_holes(graph: Graph, op: Dense, layout: Layout) -> NoReturn:
    """Copy a tensor whose pixels end inside words, so that a flat layer can run over it."""
    for tensor in graph.owners(op.view):
        place = layout.placements[tensor.index]
        if place.runs > 1 and place.pitch > place.span:
            _copy_part(graph, op, 0, tensor.index)
    raise _NeedsCopy(op, 0, True, "it lies in words that are written in part")
