# SPDX-License-Identifier: Apache-2.0
"""Lowers operations to loop nests over buffers, and lays their weights and biases into words.

Each kind of operation is a nest with counts and steps of its own, as docs/format.md says (NEST).
Addresses stay relative to buffers until the planner has placed those.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import UnsupportedLayer
from bramcast.pack.bundle.program import MOST_PACKETS, Descriptor, Input, Nest
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.border import Bands
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
    Weighted,
    biases_of,
    is_exact,
    weights_of,
)
from bramcast.pack.graph.tensor import IntArray
from bramcast.pack.lower.beside import (
    Part,
    dense_parts,
    pixels_beside,
    widened,
    widened_integers,
    widened_place,
)
from bramcast.pack.lower.dense import dense_walks
from bramcast.pack.lower.lowered_nest import LoweredNest
from bramcast.pack.lower.pieces import pieces_of
from bramcast.pack.lower.scratchpad import Lifetime, place
from bramcast.pack.lower.tiles import tiled
from bramcast.pack.lower.walks import (
    LARGEST_COORDINATE,
    LARGEST_COUNT,
    DenseWalk,
    Lanewise,
    Layout,
    Placement,
    Reading,
    Walk,
    groups_per_nest,
    nest_inputs,
    progression,
    read_view,
    round_up,
    window_walk,
)
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.integers import parts_of
from bramcast.pack.quantize.op import QuantizedOp


class RowTable:
    """Blocks of rows of one image; equal blocks of one owner are stored once.

    What is equal by chance is not: after the next training it would need more words.
    """

    def __init__(self) -> None:
        self.rows: list[IntArray] = []
        self.owners: list[str] = []
        self.words = 0
        self.known: dict[tuple[str, tuple[int, ...], bytes], int] = {}

    def add(self, rows: IntArray, owner: str) -> int:
        """Append rows (int64 [n, k]) and return the first one's number."""
        key = owner, rows.shape, rows.tobytes()
        if key not in self.known:
            self.known[key] = self.words
            self.rows.append(rows)
            self.owners.append(owner)
            self.words += len(rows)
        return self.known[key]

    def table(self, columns: int) -> IntArray:
        """All rows, int64 [words, columns]."""
        return np.concatenate(self.rows) if self.rows else np.zeros((0, columns), np.int64)


ANY = "any: "  # before a kind of operation, all of which share what is equal


@dataclass(frozen=True, slots=True)
class Owner:
    """Who may share an operation's words: equal ones of one owner are stored once.

    ``weights`` and ``bias`` are of all channels; each part of them has an owner of its own.
    """

    weights: str
    bias: str
    table: str

    def part(self, name: str, channels: IntArray) -> str:
        """The owner of what the given channels need."""
        return name if name.startswith(ANY) else f"{name} {channels.tolist()}"


def owners_of(graph: Graph, formats: Formats) -> dict[str, Owner]:
    """The owners of every operation's words, by its name.

    They follow from the network's structure alone, so that no training changes how many words are
    stored: weights belong to the operations that have the same parameters; biases, tables and the
    powers of two of an add to those that also have their formats in common, as time steps do.
    What pools and copies multiply by depends on their shape only.
    """
    same, sees = formats.same, formats.sees
    found: dict[str, Owner] = {}
    firsts: list[Op] = []
    alike: dict[tuple[object, ...], str] = {}
    for op in graph.ops:
        parameters, weight = op.name, weights_of(op)
        if weight.any():
            equal = (o.name for o in firsts if _same_parameters(o, op))
            parameters = next(equal, op.name)
        if parameters == op.name:
            firsts.append(op)
        operands = tuple(tuple(same.find(t.index) for t in graph.owners(v)) for v in op.views)
        seen = None if op.activation is None else sees.find(op.out.index)
        results = same.find(op.out.index), seen
        mine = (type(op), operands, *results, op.clamp, biases_of(op).tobytes())
        bias = alike.setdefault((parameters, *mine), op.name) if weight.any() else op.name
        if not weight.size:
            bias = alike.setdefault(mine, op.name)
        table = alike.setdefault((op.activation, *results), op.name)
        weights = bias if isinstance(op, Add) else parameters
        if is_exact(op) or isinstance(op, MaxPool):
            bias = f"{ANY}{type(op).__name__}"
        if is_exact(op) or isinstance(op, AvgPool):
            weights = f"{ANY}{type(op).__name__}"
        found[op.name] = Owner(weights, bias, table)
    for part in parts_of(graph):  # ``quantize`` gives them the others' integers
        tables = {o.activation is not None for o in (part.op, part.whole)}
        of = sees if tables == {True} else same
        pairs = [(of, part.op.out, part.whole.out), *((same, a, b) for a, b in part.read)]
        if len(tables) == 1 and all(c.find(a.index) == c.find(b.index) for c, a, b in pairs):
            shared = found[part.whole.name].bias
            found[part.op.name] = replace(found[part.op.name], bias=shared)
    return found


def _same_parameters(a: Op, b: Op) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, Dense) and isinstance(b, Dense) and a.groups != b.groups:
        return False
    return np.array_equal(weights_of(a), weights_of(b))


def store_steps(weights: RowTable, rows: IntArray, bits: int, owner: str) -> int:
    """Append one row of weights for each step, int64 [steps, n], and return the first step.

    Narrow weights share words: a lane's first step lies in its lowest bits.
    """
    per_word = 8 // bits
    if per_word == 1:
        return weights.add(rows, owner)
    filled = np.zeros((-(-len(rows) // per_word) * per_word, rows.shape[1]), np.int64)
    filled[: len(rows)] = rows & ((1 << bits) - 1)
    shifts = np.arange(per_word)[:, None] * bits
    raw = (filled.reshape(-1, per_word, rows.shape[1]) << shifts).sum(axis=1)
    return weights.add(raw - ((raw >> 7) << 8), owner) * per_word


@dataclass(slots=True)
class Program:
    """All nests with the contents of the weight and bias images.

    Rows of weights have LANES * TAPS elements.
    """

    word: int
    rq: int
    owners: dict[str, Owner] = field(default_factory=dict)
    nests: list[LoweredNest] = field(default_factory=list)
    weights: RowTable = field(default_factory=RowTable)
    biases: RowTable = field(default_factory=RowTable)  # rows (bias, shift) of RQ entries, flat
    tables: RowTable = field(default_factory=RowTable)  # 256 rows: an entry, or start and slope


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """An operation that becomes nests, and the program that they go to.

    Attributes:
        q: its integers.
        unsigned: whether what it reads is; of a product, the second factor.
        factors: whether the first factor of a product is unsigned.
        beside: how many pixels of the layer are one of ``op``.
    """

    graph: Graph
    layout: Layout
    program: Program
    op: Op
    q: QuantizedOp
    unsigned: bool
    factors: bool = False
    beside: int = 1

    @property
    def streams(self) -> bool:
        """Whether the results leave the core."""
        return self.graph.leaves(self.op)

    @property
    def place(self) -> Placement:
        """Where the results lie."""
        return widened_place(self.layout.placements[self.op.out.index], self.beside)

    @property
    def owner(self) -> Owner:
        return self.program.owners[self.op.name]


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where a nest's weights lie: the first step, and by how many each loop moves on."""

    base: int
    steps: tuple[int, ...]


def lower(
    graph: Graph, layout: Layout, formats: Formats, quantized: dict[str, QuantizedOp], rq: int
) -> Program:
    """Every operation as nests, in order of execution."""
    program = Program(layout.word, rq, owners_of(graph, formats))
    for op in graph.ops:
        signed = [formats.of(graph.owners(view)[0]).signed for view in op.views]
        product = isinstance(op, Product)
        unsigned, factors = not signed[1 if product else 0], product and not signed[0]
        _lower(_Task(graph, layout, program, op, quantized[op.name], unsigned, factors))
    share_parts(program)
    program.nests = tiled(graph, layout, program.nests)
    return program


def dry_nests(graph: Graph, layout: Layout) -> list[Nest]:
    """The nests that ``lower`` gives whatever the integers are: for their counts alone."""
    return [lowered.nest for lowered in tiled(graph, layout, dry_run(graph, layout))]


def dry_run(graph: Graph, layout: Layout) -> list[LoweredNest]:
    """The nests of one tile, with integers that are all zero."""
    nobody = Owner("", "", "")
    program = Program(layout.word, 1, {op.name: nobody for op in graph.ops})
    for op in graph.ops:
        _lower(_Task(graph, layout, program, op, _zeros(op), False))
    return program.nests


def _zeros(op: Op) -> QuantizedOp:
    """Integers of an operation that are all zero."""
    none = np.zeros(op.out.channels, np.int64)
    weight, table = np.zeros(weights_of(op).shape, np.int64), np.zeros(256, np.int64)
    made = QuantizedOp(
        weight, none, none, 0, 0, QFormat(8, 0), 0, table=None if op.activation is None else table
    )
    if not isinstance(op, Weighted) or not op.tap_bias.size:
        return made
    bands = Bands.of(op)
    border = np.zeros((op.out.channels, len(bands.rows), len(bands.columns)), np.int64)
    return replace(made, border=border)


def _lower(task: _Task) -> None:
    """One operation's nests."""
    if isinstance(task.op, Rearranged):
        _rearranged(task, task.op)
        return
    count = pixels_beside(task.op, task.layout)
    op = widened(task.op, count)
    task = replace(task, op=op, q=widened_integers(task.op, task.q, count), beside=count)
    if isinstance(op, Dense):
        _dense(task, op)
    else:
        assert isinstance(op, Lanewise), "the passes have folded the others"
        _lanewise(task, op)


# --- weights that are part of others -----------------------------------------------------------


def share_parts(program: Program) -> None:
    """Drop the weights of dense nests that are a part of every group of another one's.

    So the first step of a recurrent layer, which has no state, reads the words of the others.
    """
    blocks, owners = program.weights.rows, program.weights.owners
    twins: dict[int, set[str]] = {}  # of a block: what its results are in any time step
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in blocks])])
    number = {int(start): i for i, start in enumerate(starts[:-1])}
    groups: dict[int, int] = {}  # of a block that is read group by group, step by step
    for lowered in program.nests:
        nest = lowered.nest
        if _weightless(nest):
            continue
        index = number.get(nest.weight_base >> nest.narrow)
        assert index is not None, "weights are read from a block's beginning"
        whole = _steps(nest) * nest.counts[0] == len(blocks[index])
        # The ones of a copy may be found among any weights, but not after the next training.
        copy = is_exact(lowered.op)
        plain = whole and not (nest.lanewise or nest.narrow or copy)
        if not plain or groups.get(index, nest.counts[0]) != nest.counts[0]:
            groups[index] = 0
        else:
            groups[index] = nest.counts[0]
            twins.setdefault(index, set()).update(lowered.op.twins)
    home: dict[int, tuple[int, int]] = {}  # block: the one it is a part of, and from which step
    order = sorted((i for i in groups if groups[i]), key=lambda i: -len(blocks[i]))
    for place_, small in enumerate(order):
        for large in order[:place_]:
            related = bool(twins[large] & twins[small]) and groups[large] == groups[small]
            if related and large not in home:
                at = _inside(blocks[small], blocks[large], groups[small])
                if at is not None:
                    home[small] = (large, at)
                    break
    if not home:
        return
    kept = [i for i in range(len(blocks)) if i not in home]
    new = dict(zip(kept, np.cumsum([0] + [len(blocks[i]) for i in kept]).tolist(), strict=False))
    for n, lowered in enumerate(program.nests):
        nest = lowered.nest
        if _weightless(nest):
            continue
        index = number[nest.weight_base >> nest.narrow]
        large, at = home.get(index, (index, 0))
        steps = nest.weight_steps
        if index in home and nest.counts[0] > 1:
            steps = (len(blocks[large]) // groups[large], *steps[1:])
        moved = replace(nest, weight_base=(new[large] + at) << nest.narrow, weight_steps=steps)
        program.nests[n] = replace(lowered, nest=moved)
    program.weights = RowTable()
    for i in kept:
        program.weights.add(blocks[i], owners[i])


def _weightless(nest: Nest) -> bool:
    return nest.max or nest.product


def _steps(nest: Nest) -> int:
    """Weight words of one group of a dense nest."""
    return int(np.prod(nest.counts[3:]))


def _inside(small: IntArray, large: IntArray, groups: int) -> int | None:
    """From which step on every group of ``large`` has the words of ``small``'s, if it has."""
    parts = small.reshape(groups, -1, small.shape[1])
    whole = large.reshape(groups, -1, large.shape[1])
    more = whole.shape[1] - parts.shape[1]
    if more <= 0:
        return None
    firsts = np.flatnonzero((whole[0, : more + 1] == parts[0, 0]).all(axis=1))
    for at in firsts.tolist():
        if np.array_equal(whole[:, at : at + parts.shape[1]], parts):
            return at
    return None


# --- dense -------------------------------------------------------------------------------------


def _dense(task: _Task, op: Dense) -> None:
    for part in dense_parts(op, task.layout):
        _dense_part(task, op, part)


def _dense_part(task: _Task, op: Dense, part: Part) -> None:
    """The nests of some channels of a dense operation."""
    layout, q = task.layout, task.q
    lanes, taps = layout.lanes, layout.taps
    bundle = groups_per_nest(part.op, lanes)
    weights, place_ = part.of_weight(q.weight), task.place
    per_group = len(weights) // op.groups
    for first, inputs in zip(range(0, op.groups, bundle), nest_inputs(op, lanes), strict=True):
        count = min(bundle, op.groups - first)
        weight = _side_by_side(weights[first * per_group : (first + count) * per_group], count)
        walks = dense_walks(task.graph, layout, part.op, inputs)
        assert walks is not None, "the layout has checked it"
        channels = part.chosen[first * per_group : (first + count) * per_group]
        groups, at = -(-len(channels) // lanes), np.arange(len(channels))
        if not task.streams:
            start = int(place_.position[channels[0]])
            at = place_.position[channels] - start
            if first + count == op.groups:
                # Fewer lanes than taps: the last block of a pixel is filled up with zeros.
                last = channels[-1] == op.out.channels - 1
                end = place_.span if last else int(place_.position[channels[-1] + 1])
                groups = (end - start) // lanes
        for dense in walks:
            met = np.zeros((dense.walk.taps * taps, len(channels)), np.int64)
            _meet(met, dense, weight)
            table = np.zeros((len(met), groups * lanes), np.int64)
            table[:, at] = met
            words = table.reshape(-1, taps, groups, lanes).transpose(2, 0, 1, 3)
            _, _, _, ky, kx, ci = dense.walk.counts
            base = store_steps(
                task.program.weights,
                words.reshape(-1, taps * lanes),
                q.weight_bits,
                task.owner.part(task.owner.weights, channels),
            )
            stored = _Stored(base, (dense.walk.taps, 0, 0, kx * ci, ci, 1))
            placed = _placed(groups * lanes, at, channels)
            for same in _biases(op, q):
                walk = same.cut(dense.walk)
                if walk is not None:
                    _finish(task, _Results(walk, groups, placed, stored, same, lanewise=False))


def _side_by_side(weight: IntArray, count: int) -> IntArray:
    """The weights of ``count`` groups as one layer's: zeros for the other groups' inputs."""
    rows, fan_in = len(weight) // count, weight.shape[1]
    whole = np.zeros((len(weight), fan_in * count, *weight.shape[2:]), np.int64)
    for k in range(count):
        mine = slice(k * rows, (k + 1) * rows)
        whole[mine, k * fan_in : (k + 1) * fan_in] = weight[mine]
    return whole


def _meet(table: IntArray, dense: DenseWalk, weight: IntArray) -> None:
    """Add a nest's weights [O, I, KY, KX] to the elements of its taps, table [taps, O]."""
    slots = np.broadcast_to(dense.slots, (len(dense.used), *weight.shape[2:]))
    inside = slots >= 0
    # Groups side by side may read one channel each for itself: their outputs differ.
    np.add.at(table, slots[inside], weight[:, dense.used].transpose(1, 2, 3, 0)[inside])


# --- copies in any order -----------------------------------------------------------------------


def _rearranged(task: _Task, op: Rearranged) -> None:
    """Dense nests, each of a part of the pixels whose elements lie alike; every weight is the
    copy's one."""
    layout, q = task.layout, task.q
    lanes, taps = layout.lanes, layout.taps
    pieces = pieces_of(task.graph, layout, op)
    assert pieces is not None, "the layout has checked it"
    for piece in pieces:
        count = len(piece.channels)
        groups = round_up(count, layout.unit) // lanes
        table = np.zeros((piece.walk.taps * taps, groups * lanes), np.int64)
        at = np.flatnonzero(piece.slots >= 0)
        table[piece.slots[at], at] = q.weight.ravel()[piece.channels[at]]
        words = table.reshape(-1, taps, groups, lanes).transpose(2, 0, 1, 3)
        base = store_steps(
            task.program.weights, words.reshape(-1, taps * lanes), q.weight_bits,
            task.owner.part(task.owner.weights, piece.channels),
        )  # fmt: skip
        _, _, _, ky, kx, ci = piece.walk.counts
        stored = _Stored(base, (piece.walk.taps, 0, 0, kx * ci, ci, 1))
        placed = _placed(groups * lanes, np.arange(count), piece.channels)
        _finish(task, _Results(piece.walk, groups, placed, stored, _whole(op, q), lanewise=False))


# --- lane-wise ---------------------------------------------------------------------------------


def _lanewise(task: _Task, op: Lanewise) -> None:
    size = task.layout.word
    readings = [read_view(task.graph, task.layout, view) for view in op.views]
    found = [reading for reading in readings if reading is not None]
    assert len(found) == len(readings), "the layout has checked it"
    offsets = found[0].offsets
    low, step, groups = progression(offsets // size)
    walk = window_walk(op, found[0], low * size, 0, 1)
    walk = replace(walk, counts=(groups, *walk.counts[1:]), steps=(step * size, *walk.steps[1:]))
    lanes = (offsets // size - low) // step * size + offsets % size
    if isinstance(op, Add | Product):
        _two_operands(task, op, found, walk, lanes)
    else:
        _one_operand(task, op, walk, lanes)


def _one_operand(task: _Task, op: Lanewise, walk: Walk, lanes: IntArray) -> None:
    """One nest for each of the results that a channel has.

    Args:
        lanes: the place of each operand's channel in the groups, int64 [C].
    """
    groups, multiplier = walk.counts[0], op.out.channels // len(lanes)
    for copy in range(multiplier):
        numbers = np.arange(len(lanes)) * multiplier + copy
        channels = _placed(groups * task.layout.word, lanes, numbers)
        stored = _lanewise_weights(task, op, channels)
        for part in _biases(op, task.q):
            mine = part.cut(walk)
            assert mine is not None, "a lane-wise nest makes every result"
            _finish(task, _Results(mine, groups, channels, stored, part, lanewise=True))


def _two_operands(
    task: _Task, op: Add | Product, readings: Sequence[Reading], walk: Walk, lanes: IntArray
) -> None:
    """One nest whose second tap is the other operand.

    A vector that multiplies all pixels is stored for one row only: then each row is a nest.
    """
    first, other = readings[:2]
    size, groups = task.layout.word, walk.counts[0]
    counts, steps = list(walk.counts), list(walk.steps)
    counts[3 if isinstance(op, Add) else 4] = 2
    if len(readings) == 4:
        third = readings[2]
        assert third.buffer == first.buffer, "the layout has checked it"
        counts[3], steps[3] = 2, int(third.offsets[0] - first.offsets[0])
    alone = op.out.height > 1 and first.sy != other.sy
    if alone:
        counts[1], steps[1] = 1, 0
    start = int(other.offsets[0] - first.offsets[0] + first.offsets.min() // size * size)
    channels = _placed(groups * size, lanes, np.arange(len(lanes)))
    for y in range(op.out.height if alone else 1):
        row = replace(
            walk, base=walk.base + y * first.sy, counts=tuple(counts), steps=tuple(steps),
            coordinates=_no_taps(walk.coordinates), origin=(y, 0),
        )  # fmt: skip
        stored, second = _lanewise_weights(task, op, channels), start + y * other.sy
        whole = _whole(op, task.q)
        made = _Results(row, groups, channels, stored, whole, True, (other.buffer, second))
        _finish(task, made)


def _no_taps(coordinates: dict[str, int]) -> dict[str, int]:
    """The second tap of an add or product is another operand, not another pixel."""
    return {**coordinates, "y_step_ky": 0, "x_step_kx": 0}


def _lanewise_weights(task: _Task, op: Lanewise, channels: IntArray) -> _Stored:
    """Words of a lane-wise nest."""
    program, q, size = task.program, task.q, task.program.word
    owner = task.owner.part(task.owner.weights, channels)
    match op:
        case MaxPool() | Product():
            return _Stored(0, (0,) * 6)
        case Add():
            rows = np.repeat(q.weight[:, None], size, axis=1)
            return _Stored(program.weights.add(rows, owner), (0, 0, 0, 1, 0, 0))
        case AvgPool():
            values = q.weight.ravel()
            varies = bool((values != values[0]).any())
            rows = np.repeat((values if varies else values[:1])[:, None], size, axis=1)
            steps = (0, q.weight.shape[2], 1, 0, 0, 0) if varies else (0,) * 6
            return _Stored(program.weights.add(rows, owner), steps)
        case Depthwise():
            kernel = op.weight.shape[2] * op.weight.shape[3]
            table = np.zeros((len(channels), kernel), np.int64)
            valid = channels >= 0
            table[valid] = q.weight.reshape(-1, kernel)[channels[valid]]
            words = table.reshape(-1, size, kernel).transpose(0, 2, 1).reshape(-1, size)
            base = store_steps(program.weights, words, q.weight_bits, owner)
            return _Stored(base, (kernel, 0, 0, op.weight.shape[3], 1, 0))
        case _:
            assert_never(op)


# --- along the border --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _SameBias:
    """Results that have the same bias, int64 [C]: rows and columns from the first to the end.

    ``name`` tells parts of one operation apart.
    """

    bias: IntArray
    rows: tuple[int, int]
    columns: tuple[int, int]
    name: str = ""

    def cut(self, walk: Walk) -> Walk | None:
        """Those of a nest's results that lie here, None if there are none."""
        return walk.cut(self.rows, self.columns)


def _whole(op: Op, q: QuantizedOp) -> _SameBias:
    return _SameBias(q.bias, (0, op.out.height), (0, op.out.width))


def _biases(op: Op, q: QuantizedOp) -> list[_SameBias]:
    """All results with one bias, or one part for each pair of bands that have others."""
    if not q.border.size:
        return [_whole(op, q)]
    assert isinstance(op, Weighted)
    bands = Bands.of(op)
    return [
        _SameBias(
            q.bias + q.border[:, i, j],
            (row.first, row.end),
            (column.first, column.end),
            f" rows {row.first} columns {column.first}",
        )
        for i, row in enumerate(bands.rows)
        for j, column in enumerate(bands.columns)
    ]


# --- common ------------------------------------------------------------------------------------


def _placed(length: int, places: IntArray, channels: IntArray) -> IntArray:
    """Channels at some places, int64 [length], -1 at the others."""
    result = np.full(length, -1, np.int64)
    result[places] = channels
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Results:
    """What one nest of an operation computes.

    Attributes:
        groups: how many times so many channels as a nest computes side by side.
        channels: the channel of each lane of each group, -1 for none.
        second: buffer and base of the second operand of an add or product.
    """

    walk: Walk
    groups: int
    channels: IntArray
    weights: _Stored
    part: _SameBias
    lanewise: bool
    second: tuple[int, int] | None = None

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which lanes have a channel."""
        return self.channels >= 0


def _finish(task: _Task, made: _Results) -> None:
    """Biases, table, result addresses and the descriptor of one nest."""
    op, q, layout, walk = task.op, task.q, task.layout, made.walk
    size = layout.group(made.lanewise)
    counts = (made.groups, *walk.counts[1:])
    _check_counts(op, walk, counts)
    tail = _tail(layout, made.valid.reshape(made.groups, size)[-1], task.streams)
    bias_base, bias_step = _store_biases(task, made, size, tail)
    base, result_steps = (0, (0, 0, 0)) if task.streams else _result_addresses(task, made, size)

    def used(steps: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(s if n > 1 else 0 for s, n in zip(steps, counts, strict=False))

    nest = Nest(
        counts=counts,
        act_base=walk.base,
        act_steps=used(walk.steps),
        weight_base=made.weights.base,
        weight_steps=used(made.weights.steps),
        result_base=base,
        result_steps=used(result_steps),
        lo=q.lo,
        hi=q.hi,
        bias_base=bias_base,
        bias_step=bias_step,
        tail=tail,
        lanewise=made.lanewise,
        max=isinstance(op, MaxPool),
        narrow={8: 0, 4: 1, 2: 2}[q.weight_bits],
        x_unsigned=task.unsigned,
        stream=task.streams,
    )
    nest = replace(nest, **_coordinates(op, walk, counts))
    if isinstance(op, Product):
        nest = replace(nest, product=True, factor_unsigned=task.factors)
    if q.table is not None:
        entries = (q.table & ((1 << q.out.bits) - 1)).reshape(256, -1)
        table = task.program.tables.add(entries, task.owner.table) // 256
        unsigned = task.streams and not q.out.signed
        nest = replace(nest, table=True, table_base=table, y_unsigned=unsigned)
    channels, columns = made.channels, tuple[int, ...]()
    if task.beside > 1:
        each = op.out.channels // task.beside
        columns = tuple(np.where(made.valid, channels // each, 0).tolist())
        channels = np.where(made.valid, channels % each, -1)
    task.program.nests.append(
        LoweredNest(op, walk, nest, task.place.buffer, channels, made.second, task.beside, columns)
    )


def _store_biases(task: _Task, made: _Results, size: int, tail: int) -> tuple[int, int]:
    """The first word of a nest's biases and shifts, and the step from group to group.

    Args:
        size: results that it computes side by side; of the last ones, ``tail``.
    """
    op, program, valid, groups = task.op, task.program, made.valid, made.groups
    channels = made.channels[valid]
    entries = np.zeros((len(valid), 2), np.int64)
    entries[valid, 0], entries[valid, 1] = made.part.bias[channels], task.q.shift[channels]
    same = not isinstance(op, Weighted) or op.uniform  # for all channels
    if same:
        entries[:] = entries[valid][0]
    rows = entries.reshape(-1, 2 * program.rq)
    per_group = size // program.rq
    # Trained biases of two groups are never taken for the same, not even if they are.
    alike = groups == 1 or is_exact(op) or same
    uniform = alike and bool((rows.reshape(groups, -1) == rows[:per_group].reshape(1, -1)).all())
    stored = rows[:per_group] if uniform and groups > 1 else rows
    if groups == 1:  # no further than the sub-words that are written
        stored = rows[: round_up(tail, task.layout.lanes) // program.rq]
    owner = task.owner.part(task.owner.bias, made.channels) + made.part.name
    return program.biases.add(stored, owner), 0 if uniform else per_group


def _result_addresses(task: _Task, made: _Results, size: int) -> tuple[int, tuple[int, int, int]]:
    """Where a nest's first result lies, and the steps over groups, y and x, in sub-words."""
    lanes, place_ = task.layout.lanes, task.place
    lane = int(np.flatnonzero(made.valid)[0])  # of the first channel: back to the group's lane 0
    first = int(place_.base + place_.position[made.channels[lane]]) - lane
    first += int(np.dot(made.walk.origin, (place_.row_pitch, place_.pitch)))
    rows, columns = made.walk.stride
    pitches = (place_.row_pitch * rows // lanes, place_.pitch * columns // lanes)
    return first // lanes, (size // lanes, *pitches)


def _check_counts(op: Op, walk: Walk, counts: tuple[int, ...]) -> None:
    """Refuse what the core's counters don't hold.

    Raises:
        UnsupportedLayer: a loop is too long, or a picture too large.
    """
    if max(counts) > LARGEST_COUNT:
        raise UnsupportedLayer(
            f"{op.source}: layer {op.name!r} needs a loop of {max(counts)} steps, "
            f"the core counts to {LARGEST_COUNT}"
        )
    for axis in ("y", "x"):
        if walk.coordinates.get(f"{axis}_limit", 0) > LARGEST_COORDINATE:
            raise UnsupportedLayer(
                f"{op.source}: layer {op.name!r} reads {walk.coordinates[axis + '_limit']} pixels "
                f"along {axis}, the core's coordinates go up to {LARGEST_COORDINATE}"
            )


def _coordinates(op: Op, walk: Walk, counts: tuple[int, ...]) -> dict[str, Any]:
    """The fields of a nest that tell where in the picture it reads.

    Raises:
        UnsupportedLayer: they leave the core's range.
    """
    coordinates: dict[str, Any] = dict(walk.coordinates)
    for name, loop in (("y_step_oy", 1), ("x_step_ox", 2), ("y_step_ky", 3), ("x_step_kx", 4)):
        if name in coordinates and counts[loop] == 1:
            coordinates[name] = 0
    for axis, outer, inner in (("y", 1, 3), ("x", 2, 4)):
        start = coordinates.get(f"{axis}_start", 0)
        moves = [
            (counts[loop] - 1) * coordinates.get(f"{axis}_step_{name}{axis}", 0)
            for loop, name in ((outer, "o"), (inner, "k"))
        ]
        low = start + sum(min(0, move) for move in moves)
        high = start + sum(max(0, move) for move in moves)
        if low < -LARGEST_COORDINATE - 1 or high > LARGEST_COORDINATE:
            raise UnsupportedLayer(
                f"{op.source}: layer {op.name!r} reads pixels {low} to {high} along {axis}, with "
                f"its padding; the core's coordinates go up to {LARGEST_COORDINATE}"
            )
    return coordinates


def _tail(layout: Layout, valid: NDArray[np.bool_], streams: bool) -> int:
    """Valid lanes of a nest's last group; what stays ends with a whole block."""
    if not valid.any():  # a group of zeros that fills a block up
        return len(valid)
    tail = int(np.flatnonzero(valid)[-1]) + 1
    short = layout.lanes < layout.taps and not streams and len(valid) > layout.lanes
    return round_up(tail, layout.taps) if short else tail


def lifetimes(graph: Graph, layout: Layout) -> tuple[list[Lifetime], dict[int, int]]:
    """How long each buffer is needed; steps are operations, the input frame is born at -1.

    The second result says which buffer takes the place of which: the former counts for both.
    """
    born = [len(graph.ops)] * len(layout.buffer_elements)
    dies = [-1] * len(layout.buffer_elements)
    frame = layout.placements[graph.input.index].buffer
    born[frame] = dies[frame] = -1
    for step, op in enumerate(graph.ops):
        if not graph.leaves(op):
            buffer = layout.placements[op.out.index].buffer
            born[buffer], dies[buffer] = min(born[buffer], step), max(dies[buffer], step)
        for view in op.views:
            for tensor in graph.owners(view):
                buffer = layout.placements[tensor.index].buffer
                dies[buffer] = max(dies[buffer], step)
    successors = _in_place(graph, layout, born, dies)
    for old, new in successors.items():
        born[new], dies[new] = min(born[old], born[new]), max(dies[old], dies[new])
        born[old], dies[old] = len(graph.ops), -1
    alive = [
        Lifetime(layout.buffer_words(i) if dies[i] >= born[i] else 0, born[i], dies[i])
        for i in range(len(born))
    ]
    return alive, successors


def _in_place(
    graph: Graph, layout: Layout, born: Sequence[int], dies: Sequence[int]
) -> dict[int, int]:
    """Buffers and those that take their place, in order: a state's and its successor's.

    Only products of single pixels do that, whose results lie where a factor lay that nobody reads
    any more: each of its words is read and written by the same group.
    """
    found: dict[int, int] = {}
    for step, op in enumerate(graph.ops):
        if graph.leaves(op):
            continue
        to = layout.placements[op.out.index]
        if not isinstance(op, Product) or op.out.height * op.out.width > 1:
            continue
        if born[to.buffer] != step:
            continue
        mine = {layout.placements[t.index].buffer for v in op.views for t in graph.owners(v)}
        if to.buffer in mine:
            continue
        fitting = []
        for view in op.views:
            tensor = graph.owners(view)[0]
            place_ = layout.placements[tensor.index]
            same = (
                np.array_equal(view, tensor.ids)
                and place_.base == to.base
                and np.array_equal(place_.position, to.position)
                and layout.buffer_elements[place_.buffer] == layout.buffer_elements[to.buffer]
            )
            if same and dies[place_.buffer] == step:
                fitting.append((layout.born[tensor.index], place_.buffer))
        if fitting:  # the oldest factor is the state
            found[min(fitting)[1]] = to.buffer
    return found


def _input_of_strips(graph: Graph, layout: Layout, whole: Input) -> Input:
    """The frame for several tiles: in strips, or all of it in the first bank."""
    h, height = layout.strips.get(graph.input.index), graph.input.height
    if h is None:
        return replace(whole, strip_runs=whole.runs, last_run=whole.run)
    if whole.runs > 1:
        return replace(whole, strip_runs=h * whole.runs // height, last_run=whole.run)
    row = whole.run // height
    strips = -(-height // h)
    return replace(
        whole, run=h * row, runs=strips, strip_runs=1, last_run=(height - (strips - 1) * h) * row
    )


def _packets(graph: Graph, elements: int) -> tuple[int, ...]:
    """Elements of each of several inputs but the last: what has a TLAST of its own.

    A frame of more inputs than a descriptor has words for is one packet.
    """
    parts = graph.input_parts
    if not 0 < len(parts) <= MOST_PACKETS:
        return ()
    planes = elements // sum(part.elements for part in parts)
    return tuple(planes * part.elements for part in parts[:-1])


def link(graph: Graph, layout: Layout, program: Program) -> tuple[list[Descriptor], int]:
    """Place the buffers and make every address absolute: (descriptors, scratchpad words)."""
    alive, successors = lifetimes(graph, layout)
    bases, depth = place(alive)
    for old, new in reversed(successors.items()):
        bases[old] = bases[new]
    word = layout.word
    frame = layout.placements[graph.input.index]
    run = graph.input.elements // frame.runs
    first = Input(run, frame.runs, bases[frame.buffer], frame.lead)
    if layout.tiles > 1:
        first = _input_of_strips(graph, layout, first)
    descriptors: list[Descriptor] = [replace(first, packets=_packets(graph, run * frame.runs))]
    leaving = [n for n, lowered in enumerate(program.nests) if lowered.nest.stream]
    ends = {
        n for n, other in pairwise(leaving) if program.nests[n].op is not program.nests[other].op
    }
    for index, lowered in enumerate(program.nests):
        nest = lowered.nest
        base = bases[lowered.walk.buffer] * word + nest.act_base
        steps = nest.act_steps
        if lowered.second is not None:
            other, offset = lowered.second
            distance = bases[other] * word + offset - base
            loop = 4 if nest.product else 3
            steps = (*steps[:loop], distance, *steps[loop + 1 :])
        result = 0 if nest.stream else bases[lowered.result_buffer] * layout.taps + nest.result_base
        descriptors.append(
            replace(
                nest,
                act_base=base,
                act_steps=steps,
                result_base=result,
                last=index == len(program.nests) - 1,
                packet_end=index in ends,
            )
        )
    return descriptors, depth
