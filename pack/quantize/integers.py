# SPDX-License-Identifier: Apache-2.0
"""Turns real weights into integers.

Weights get one fraction length per output channel, or per tensor, or what the recipe gives.
``quantize`` lowers activation formats where shifts ask for it, and proves for every channel that
the accumulator can't wrap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import floor, inf
from typing import assert_never

import numpy as np

from bramcast.pack.bundle.errors import RangeError
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.border import Bands
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.grid import power_of_two
from bramcast.pack.graph.ops import (
    Add,
    AvgPool,
    Dense,
    Depthwise,
    Folded,
    MaxPool,
    Op,
    Product,
    Weighted,
    biases_of,
)
from bramcast.pack.graph.tensor import ZERO, FloatArray, IntArray, Tensor
from bramcast.pack.graph.twins import twins_of
from bramcast.pack.quantize.cache import IntegerCache
from bramcast.pack.quantize.formats import Formats, activation_table, finest_fraction, squared_error
from bramcast.pack.quantize.op import QuantizedOp

ACC_LIMIT = 1 << 31
BIAS_LIMIT = 1 << 30
MAX_SHIFT = 31
MIN_WEIGHT_BITS = 4
MAX_ADD_SHIFT = 6  # the largest power of two in 8 bits is 64
SPARED_GAIN = 16.0  # less squared error, by inputs' variance, that weights may saturate for
SPARED_MORE = 4.0  # where another channel of the layer has won that much
LEAST_FRACTION = -128  # a float32 is below 2**128
FINER = 16  # fraction bits more than the largest weight allows


def quantize(
    graph: Graph,
    formats: Formats,
    weight_bits: Mapping[str, int],
    known: IntegerCache | None = None,
) -> dict[str, QuantizedOp]:
    """Integers for every operation; lowers formats until every shift is legal.

    Args:
        weight_bits: 2, 4 or 8 for each Linear or convolution that is named; 8 for the others.
        known: what earlier calls have found, for callers that try many formats of one graph.

    Raises:
        RangeError: a channel for which no legal weight format is left; names layer and channel.
            Or a layer that needs coarser results than what it reads, and both have one format.
    """
    for _ in range(64 * len(graph.ops) + 64):
        lowered: Op | None = None
        gains = pooling_gains(graph, formats)
        result: dict[str, QuantizedOp] = {}
        for op in graph.ops:
            full = graph.is_wide(op)
            bits = weight_bits.get(op.name, 8)
            bound = None
            if isinstance(op, Product) and formats.bits > 8:
                bound = _product_bound(graph, formats, op, result)
            key = (
                (*known.key(graph, formats, op, bits, full, gains), bound)
                if known is not None
                else ()
            )
            before = known.get(key) if known is not None else None
            if before is not None:
                result[op.name] = before
                continue
            assert isinstance(op, Folded), "the passes have folded the others"
            made = _integers_of(graph, formats, op, bits, full, gains)
            if made is None:
                lowered = op
                break
            if bound is not None:
                made = replace(made, bound=bound)
            result[op.name] = _with_table(formats, op, made)
            if known is not None:
                known.add(key, result[op.name])
        if lowered is None:
            _share_steps(graph, formats, result, known)
            return result
        if formats.clamped(lowered).frac < LEAST_FRACTION:
            break
    assert lowered is not None
    raise RangeError(
        f"{lowered.source}: layer {lowered.name!r}: its weights are too large for results that "
        "have the same format as what they are made of, as a concat, maximum or the like joins "
        "both: scale its weights and bias down by a power of two, and up where its results are read"
    )


def quantize_copy(graph: Graph, formats: Formats, op: Op) -> QuantizedOp:
    """The integers of a copy, which has its operand's format."""
    assert isinstance(op, Weighted) and op.exact, f"{op.name} is a copy"
    made = _weighted(graph, formats, op, 8, False, {})
    assert made is not None, f"{op.name} has the format of what it reads"
    return made


def _share_steps(
    graph: Graph, formats: Formats, made: dict[str, QuantizedOp], known: IntegerCache | None
) -> None:
    """Give a time step that reads a part of what the others read, as the first one, their integers.

    Without a state its channels might take other formats, and its weights would be stored again.
    Its result may have another format, as what follows may differ: its shifts make up for that.
    """
    for part in parts_of(graph):
        op, whole = part.op, part.whole
        mine, of = made[op.name], made[whole.name]
        # What it reads must count in the same LSB there; that of the state may differ, as the
        # weights make up for it.
        same = all(formats.of(a).frac == formats.of(b).frac for a, b in part.read)
        wide = 32 in (mine.out.bits, of.out.bits) and mine.out != of.out
        if not same or mine.weight_bits != of.weight_bits or wide:
            continue
        finer = formats.clamped(op).frac - formats.clamped(whole).frac
        key = ("shared", op.name, mine, of)
        shared = known.get(key) if known is not None else None
        if shared is None:
            weight = np.zeros(op.weight.shape, np.int64)
            weight[:, part.used] = of.weight[:, part.columns]
            shared = _moved(mine, of, weight, 0 if mine.out.bits == 32 else finer)
            if shared is None:
                continue
            if known is not None:
                known.add(key, shared)
        made[op.name] = shared


@dataclass(frozen=True, slots=True, eq=False)
class PartialStep:
    """A time step ``op`` that multiplies its ``used`` inputs by ``columns`` of the weights of the
    ``whole``, which reads more, with the same biases; ``read``: the tensors of these, side by side.
    """

    op: Dense
    whole: Dense
    used: IntArray
    columns: slice
    read: tuple[tuple[Tensor, Tensor], ...]


def parts_of(graph: Graph) -> list[PartialStep]:
    """All time steps that are a part of others, as the first ones, which have no state."""
    found: dict[str, PartialStep] = {}
    for ops in twins_of(graph):
        dense = [op for op in ops if isinstance(op, Dense) and op.groups == 1]
        if not dense:
            continue
        whole = max(dense, key=lambda op: op.weight.shape[1])
        for op in dense:
            columns = None if op is whole else _columns_of(op, whole)
            if columns is None or not np.array_equal(op.bias, whole.bias) or op.tap_bias.size:
                continue
            used = np.flatnonzero((op.view != ZERO).any(axis=(1, 2)))
            mine, theirs = _owners(graph, op.view[used]), _owners(graph, whole.view[columns])
            read = {(graph.tensors[a], graph.tensors[b]) for a, b in zip(mine, theirs, strict=True)}
            found[op.name] = PartialStep(op, whole, used, columns, tuple(read))
    return list(found.values())


def _owners(graph: Graph, rows: IntArray) -> list[int]:
    """The tensor of the first element of each row that is no zero, by index."""
    flat = rows.reshape(len(rows), -1)
    firsts = flat[np.arange(len(flat)), (flat != ZERO).argmax(axis=1)]
    found: list[int] = (np.searchsorted(graph.firsts, firsts, side="right") - 1).tolist()
    return found


def _moved(mine: QuantizedOp, of: QuantizedOp, weight: IntArray, finer: int) -> QuantizedOp | None:
    """An operation with the weights of another one's columns, whose clamp's result is ``finer`` by
    so many bits; None if its shifts can't be."""
    bias, shift = of.bias, of.shift - finer
    if finer:
        # Channels without weights, whose bias counts in the result's LSB.
        still = ~of.weight.reshape(len(weight), -1).any(axis=1)
        if mine.weight.reshape(len(weight), -1)[still].any():
            return None
        bias, shift = np.where(still, mine.bias, bias), np.where(still, mine.shift, shift)
    if shift.min() < 0 or shift.max() > MAX_SHIFT:
        return None
    moved = shift - mine.shift
    fractions = tuple((np.array(mine.weight_frac) + moved).tolist())
    return replace(
        mine, weight=weight, bias=bias, shift=shift, bound=max(mine.bound, of.bound),
        weight_frac=fractions,
    )  # fmt: skip


def _columns_of(op: Dense, whole: Dense) -> slice | None:
    """Where ``whole`` has the weights of what ``op`` reads, if it has, and reads more."""
    used = np.flatnonzero((op.view != ZERO).any(axis=(1, 2)))
    more = whole.weight.shape[1] - used.size
    if op.weight.shape[0] != whole.weight.shape[0] or more <= 0 or not used.size:
        return None
    if op.weight.shape[2:] != whole.weight.shape[2:]:
        return None
    weight = op.weight[:, used]
    for first in range(more + 1):
        columns = slice(first, first + used.size)
        if np.array_equal(weight, whole.weight[:, columns]):
            return columns
    return None


def _with_table(formats: Formats, op: Op, made: QuantizedOp) -> QuantizedOp:
    """The operation with its activation's table; ``made.out`` is what the table sees."""
    if op.activation is None:
        return made
    out = formats.of(op.out)
    return replace(made, out=out, table=activation_table(op.activation, made.out, out))


# --- gains of average pooling ------------------------------------------------------------------


def pool_scale(op: AvgPool, magnitude: int) -> tuple[int, IntArray]:
    """Fraction length and integers of an average pool's reciprocal divisors.

    At most 7 bits; fewer where the sum of so many elements of ``magnitude`` could wrap.
    """
    frac = finest_fraction(float(op.weight.max()), 127)
    taps = op.window.kernel[0] * op.window.kernel[1]
    while True:
        integers = np.floor(op.weight * 2.0**frac + 0.5).astype(np.int64)
        if int(integers.max()) * taps * magnitude < ACC_LIMIT:
            return frac, integers
        frac -= 1


def pooling_gains(graph: Graph, formats: Formats) -> dict[int, float]:
    """By how much a pooled tensor is too large, where the next layer can make up for it."""
    gains: dict[int, float] = {}
    for op in graph.ops:
        if not isinstance(op, AvgPool) or (op.weight != op.weight.flat[0]).any():
            continue
        readers = graph.consumers(op.out)
        if not readers or graph.is_output(op.out) or abs(op.clamp.hi) not in (inf, 0.0):
            continue
        if op.activation is not None or op.rounds is not None:
            continue
        if any(r.name in formats.rules.weight_fractions for r in readers):
            continue
        if op.clamp.lo not in (-inf, 0.0):
            continue
        if all(isinstance(r, Weighted) and not r.exact for r in readers):
            frac, integers = pool_scale(op, formats.of(graph.owners(op.view)[0]).magnitude)
            gains[op.out.index] = float(integers.flat[0] / 2.0**frac / op.weight.flat[0])
    return gains


def _without_gain(graph: Graph, op: Weighted, gains: dict[int, float]) -> FloatArray:
    """The real weights with the gains of the operands divided out."""
    if not any(t.index in gains for t in graph.owners(op.view)):
        return op.weight
    factor = np.ones(op.view.shape[0])
    for tensor in graph.owners(op.view):
        factor[tensor.mine(op.view).any(axis=(1, 2))] = 1.0 / gains.get(tensor.index, 1.0)
    return np.asarray(op.weight * factor[op.inputs][:, :, None, None])


# --- one builder for each kind -----------------------------------------------------------------


def _integers_of(
    graph: Graph,
    formats: Formats,
    op: Folded,
    weight_bits: int,
    wide: bool,
    gains: dict[int, float],
) -> QuantizedOp | None:
    """An operation's integers without its table; None if a format has been lowered for them."""
    match op:
        case Dense() | Depthwise():
            return _weighted(graph, formats, op, weight_bits, wide, gains)
        case AvgPool():
            return _average(graph, formats, op, wide)
        case MaxPool():
            return _maximum(graph, formats, op, wide)
        case Add():
            return _sum(graph, formats, op, wide)
        case Product():
            return _product(graph, formats, op, wide)
        case _:
            assert_never(op)


def _limits(op: Op, out: QFormat) -> tuple[int, int]:
    """The activation's clamp in the result's integers."""

    def integer(value: float) -> int:
        if value in (inf, -inf):
            return out.max if value > 0 else out.min
        return max(out.min, min(out.max, floor(value * 2.0**out.frac + 0.5)))

    lo, hi = integer(op.clamp.lo), integer(op.clamp.hi)
    return lo, max(lo, hi)


def _weighted(
    graph: Graph,
    formats: Formats,
    op: Weighted,
    weight_bits: int,
    wide: bool,
    gains: dict[int, float],
) -> QuantizedOp | None:
    x, scaled = multiplied_weight(graph, formats, op, gains)
    real = scaled.reshape(op.weight.shape[0], -1)
    w = QFormat(weight_bits, 0)
    given = formats.rules.weight_fractions.get(op.name)
    met = _met(graph, formats, op, real, x, gains) if given is None else None
    if wide and op.rounds is None:
        return _wide(op, real, x, w, given, met)
    out = QFormat(32, op.rounds) if wide and op.rounds is not None else formats.clamped(op)
    channels = _channels(op, real, x, out, w, given, formats.rules.tensor_weights, met)
    lowest = min(c.frac + x.frac for c in channels)
    if lowest < out.frac and wide:
        out = QFormat(32, lowest)
        channels = _channels(op, real, x, out, w, given, formats.rules.tensor_weights, met)
    elif lowest < out.frac:
        formats.lower_clamped(op, lowest, f"adds up multiples of 2**{-lowest} only")
        return None
    weight = np.array([c.weight for c in channels], np.int64).reshape(real.shape)
    bias = np.array([c.bias for c in channels], np.int64)
    fractions = np.array([c.frac for c in channels], np.int64)
    spared = sum(c.spared for c in channels)
    made = _made(op, real, weight, bias, fractions, x, out, w)
    return replace(_with_border(made, [c.border for c in channels]), spared=spared)


def _with_border(made: QuantizedOp, borders: Sequence[IntArray]) -> QuantizedOp:
    """The operation with what its channels add along the border, int64 [rows, columns] each."""
    border = np.array(borders, np.int64)
    if border.shape[1:] == (1, 1):
        return made
    largest = np.abs(made.bias[:, None, None] + border).max(axis=(1, 2)) - np.abs(made.bias)
    return replace(made, border=border, bound=made.bound + max(0, int(largest.max())))


@dataclass(frozen=True, slots=True, eq=False)
class _Met:
    """What calibration has seen of the inputs of each weight, float64 [O, fan-in].

    ``real`` is the mean that the weights should meet, ``held`` the one that the integers do.
    """

    real: FloatArray
    held: FloatArray
    variance: FloatArray

    def of(self, channel: int) -> "_Met":
        """That of one output channel, float64 [fan-in]."""
        return _Met(self.real[channel], self.held[channel], self.variance[channel])

    def lost(self, weight: FloatArray, integers: IntArray, frac: int) -> FloatArray:
        """The mean of what the integers lack: what a bias must add for each weight."""
        return np.asarray(weight * self.real - integers * 2.0**-frac * self.held)


def _met(
    graph: Graph,
    formats: Formats,
    op: Weighted,
    weight: FloatArray,
    x: QFormat,
    gains: dict[int, float],
) -> _Met | None:
    """What the weights [O, fan-in] meet; None where they are what forward() or a copy wants, or
    count in different LSBs."""
    reads = formats.reads.get(op.name)
    copies = isinstance(op, Dense) and bool(op.copies)
    exact = op.rounds is not None or op.exact or copies or formats.rules.tensor_weights
    if reads is None or exact or any(formats.of(t) != x for t in graph.owners(op.view)):
        return None
    mean, variance = reads.by_tap(op)
    ones = replace(op, weight=np.ones(op.weight.shape))
    gain = 1.0 / _without_gain(graph, ones, gains).reshape(weight.shape)
    met = mean * gain
    # A constant is stored as the nearest number; of what moves the roundings cancel out.
    held = np.where(variance == 0, x.rounded(met), met)
    return _Met(met, held, variance * gain**2)


def spared_fractions(
    real: FloatArray, usual: Sequence[int], fmt: QFormat, variance: FloatArray
) -> list[int | None]:
    """Finer fractions than the ``usual`` ones, at which large weights saturate that meet inputs
    which hardly move; None for an output channel whose other weights would not gain much by it.

    Args:
        real: weights, float64 [O, fan-in].
        usual: ``weight_fraction`` of each output channel.
        variance: of each weight's input, float64 [O, fan-in].

    >>> rows, moves = np.array([[0.9, -0.5, 300.0]]), np.array([[1.0, 1.0, 0.0]])
    >>> spared_fractions(rows, [-2], QFormat(8, 0), moves)
    [7]
    >>> spared_fractions(rows, [-2], QFormat(8, 0), np.ones((1, 3)))
    [None]
    """
    errors = []
    for more in range(FINER):
        lsb = 2.0 ** -(np.array(usual)[:, None] + more)
        held = np.clip(np.floor(real / lsb + 0.5), fmt.min, fmt.max) * lsb
        errors.append(((held - real) ** 2 * variance).sum(axis=1))
    cost = np.array(errors)
    best, least = cost.argmin(axis=0), cost.min(axis=0)
    wanted = SPARED_MORE if (cost[0] > SPARED_GAIN * least).any() else SPARED_GAIN
    gains = (cost[0] > wanted * least).tolist()
    steps = zip(usual, best.tolist(), gains, strict=True)
    return [int(frac) + more if gain else None for frac, more, gain in steps]


def _made(
    op: Weighted,
    real: FloatArray,
    weight: IntArray,
    bias: IntArray,
    fractions: IntArray,
    x: QFormat,
    out: QFormat,
    w: QFormat,
) -> QuantizedOp:
    """The operation from its channels' weights [O, fan-in], biases and fraction lengths."""
    lo, hi = _limits(op, out)
    scaled = real * 2.0 ** fractions[:, None]
    nearest = np.floor(scaled + 0.5)
    lost = op.rounds is None and op.bias * 2.0 ** (fractions + x.frac) != bias
    constant = ~weight.any(axis=1)  # held at an end of its clamp, or without weights
    return QuantizedOp(
        weight.reshape(op.weight.shape),
        bias,
        fractions + x.frac - out.frac,
        lo,
        hi,
        out,
        _bound(weight, bias, x),
        w.bits,
        weight_frac=tuple(int(f) for f in fractions),
        saturated=int(((nearest < w.min) | (nearest > w.max))[~constant].sum()),
        inexact=int((weight != scaled)[~constant].sum()) + int(np.sum(lost)),
    )


def _channels(
    op: Weighted,
    real: FloatArray,
    x: QFormat,
    out: QFormat,
    w: QFormat,
    given: tuple[int, ...] | None,
    one_fraction: bool,
    met: _Met | None = None,
) -> list["_Channel"]:
    """Integers of all output channels, with the fractions given by hand if there are any."""
    if given is not None:
        rows = zip(real, given, strict=True)
        return [_channel_by_hand(op, c, row, f, x, out, w) for c, (row, f) in enumerate(rows)]
    if not one_fraction:
        usual = weight_fractions(real, w)
        if met is None:
            return _plain_channels(op, np.arange(len(real)), real, usual, x, out, w)
        spared = spared_fractions(real, usual, w, met.variance)
        # With a folded offset the mean of what it meets is far from zero.
        plain = [c for c, frac in enumerate(spared) if frac is None and not op.tap_bias.size]
        found = dict(
            zip(
                plain,
                _plain_channels(
                    op, np.array(plain, np.int64), real[plain], [usual[c] for c in plain], x, out, w
                ),
                strict=True,
            )
        )
        for c, frac in enumerate(spared):
            if frac is not None:
                found[c] = _channel(op, c, real[c], frac, x, out, w, met.of(c))
            elif c not in found:
                channel = _channel(op, c, real[c], usual[c], x, out, w, met.of(c))
                found[c] = replace(channel, spared=0)
        return [found[c] for c in range(len(real))]
    frac = min(weight_fraction(real.ravel(), w), MAX_SHIFT + out.frac - x.frac)
    while True:
        made = [_channel(op, c, row, frac, x, out, w) for c, row in enumerate(real)]
        used = [c.frac for c in made if c.weight.any()]
        if not used or min(used) == frac:
            return made
        frac = min(used)


def _channel_by_hand(
    op: Weighted, channel: int, row: FloatArray, frac: int, x: QFormat, out: QFormat, w: QFormat
) -> "_Channel":
    """Integers of one output channel in the format given by hand.

    Raises:
        RangeError: the core can't compute with it.
    """
    fmt = QFormat(w.bits, frac)
    where = f"{op.source}: layer {op.name!r}, output channel {channel}: weights in {fmt} by hand"
    if frac + x.frac - out.frac > MAX_SHIFT:
        raise RangeError(
            f"{where} need a shift of {frac + x.frac - out.frac}, it is 0 to {MAX_SHIFT}: give "
            f"at most {MAX_SHIFT + out.frac - x.frac} fraction bits (input {x}, result {out})"
        )
    weight = fmt.quantize(row)
    biases = _biases(op, _sums(op, channel), frac + x.frac, out)
    largest = int(np.abs(biases).max())
    if largest >= BIAS_LIMIT:
        raise RangeError(
            f"{where} make the bias {op.bias[channel]:.6g} {largest}, it must be below 2**30: give "
            "fewer fraction bits"
        )
    total = int(np.abs(weight).sum()) * x.magnitude + largest
    if total >= ACC_LIMIT:
        raise RangeError(
            f"{where} can add up to {total}, the accumulator holds less than 2**31: give fewer "
            "fraction bits"
        )
    return _Channel.of(weight, biases, frac)


def multiplied_weight(
    graph: Graph, formats: Formats, op: Weighted, gains: dict[int, float]
) -> tuple[QFormat, FloatArray]:
    """The format whose LSB the integers of a dense or depthwise operation's weights multiply, and
    the real weights that they stand for: without the operands' gains, in that LSB."""
    return _one_lsb(graph, formats, op, _without_gain(graph, op, gains))


def _one_lsb(
    graph: Graph, formats: Formats, op: Weighted, weight: FloatArray
) -> tuple[QFormat, FloatArray]:
    """Weights for operands that all count in the LSB of the finest one, and its format."""
    owners = graph.owners(op.view)
    operands = [formats.of(t) for t in owners]
    finest = max(operands, key=lambda x: x.frac)
    if all(x.frac == finest.frac for x in operands):
        return operands[0], weight
    assert isinstance(op, Dense) and op.groups == 1, "only these read operands of different formats"
    factor = np.ones(op.view.shape[0])
    for tensor, x in zip(owners, operands, strict=True):
        factor[tensor.mine(op.view).any(axis=(1, 2))] = 2.0 ** (finest.frac - x.frac)
    return finest, np.asarray(weight * factor[:, None, None])


def weight_fraction(row: FloatArray, fmt: QFormat) -> int:
    """The frac with the least squared error for one output channel's weights."""
    magnitude = float(np.abs(row).max())
    if magnitude == 0:
        return 0
    start = finest_fraction(magnitude, fmt.max)
    return min(
        range(start, start + 2), key=lambda f: squared_error(row, QFormat(fmt.bits, f, True))
    )


def weight_fractions(rows: FloatArray, fmt: QFormat) -> list[int]:
    """``weight_fraction`` of each row.

    >>> weight_fractions(np.array([[0.5, -0.25], [0.0, 0.0], [90.0, 1.0]]), QFormat(8, 0))
    [7, 0, 0]
    """
    magnitude = np.abs(rows).max(axis=1)
    start = np.array([finest_fraction(float(m), fmt.max) if m else 0 for m in magnitude])
    errors = []
    for more in (0, 1):
        scale = 2.0 ** (start + more)[:, None]
        integers = np.clip(np.floor(rows * scale + 0.5), fmt.min, fmt.max)
        errors.append(np.mean((integers * (1 / scale) - rows) ** 2, axis=1))
    found: list[int] = (start + ((errors[1] < errors[0]) & (magnitude > 0))).tolist()
    return found


def _bound(weight: IntArray, bias: IntArray, x: QFormat) -> int:
    total = np.abs(weight.reshape(len(weight), -1)).sum(axis=1) * x.magnitude + np.abs(bias)
    return int(total.max())


@dataclass(frozen=True, slots=True)
class _Channel:
    """Integers of one output channel; ``border`` is int64 [rows, columns], beside the bias."""

    weight: IntArray
    bias: int
    frac: int
    border: IntArray
    spared: int = 0

    @classmethod
    def of(cls, weight: IntArray, biases: IntArray, frac: int, spared: int = 0) -> "_Channel":
        """From the biases of all pairs of bands, of which the middle one is the channel's."""
        bias = int(biases[biases.shape[0] // 2, biases.shape[1] // 2])
        return cls(weight, bias, frac, biases - bias, spared)


def _channel(
    op: Weighted,
    channel: int,
    row: FloatArray,
    frac: int,
    x: QFormat,
    out: QFormat,
    w: QFormat,
    met: _Met | None = None,
) -> _Channel:
    """Integers of one output channel; lowers its fraction until every rule holds.

    Args:
        met: what its weights meet, where large ones saturate and the bias takes the mean.
    """
    real_bias = _sums(op, channel)
    if not row.any():
        frac = out.frac - x.frac  # nothing is multiplied: shift 0, the bias in the result's LSB
    frac = min(frac, MAX_SHIFT + out.frac - x.frac)
    constant = _saturated(op, row, real_bias, x, out)
    if constant is not None:
        return _Channel.of(
            np.zeros(row.size, np.int64), np.full(real_bias.shape, constant), out.frac - x.frac
        )
    start = frac
    while True:
        weight = _integers(op, row, QFormat(w.bits, frac))
        moved = real_bias
        if met is not None:
            moved = _sums(op, channel, met.lost(row, weight, frac))
        biases = _biases(op, moved, frac + x.frac, out)
        largest = int(np.abs(biases).max())
        total = int(np.abs(weight).sum()) * x.magnitude + largest
        if largest < BIAS_LIMIT and total < ACC_LIMIT:
            break
        frac -= 1
    least = min(MIN_WEIGHT_BITS, w.bits)
    if frac < start and int(np.abs(weight).max()) < 1 << (least - 1):
        lost = float(np.abs(row).sum()) * x.magnitude * x.lsb
        # Half an LSB of 8-bit data: other channels lose as much by the rounding of their weights.
        if lost > 0.5 * out.lsb * 2.0 ** (out.bits - 8):
            raise RangeError(
                f"{op.source}: layer {op.name!r}, output channel {channel}: its bias "
                f"({np.abs(real_bias).max():.6g}) or fan-in leaves fewer than {MIN_WEIGHT_BITS} "
                f"bits for its weights (largest {np.abs(row).max():.6g}); rescale the layer before "
                "packing"
            )
    spared = 0 if met is None else _spared(row, weight, frac)
    return _Channel.of(weight, biases, frac, spared)


def _plain_channels(
    op: Weighted,
    numbers: IntArray,
    real: FloatArray,
    fractions: Sequence[int],
    x: QFormat,
    out: QFormat,
    w: QFormat,
) -> list[_Channel]:
    """``_channel`` of some channels at once, which know nothing of what they meet.

    Args:
        numbers: of the channels, of which ``real`` are the rows and ``fractions`` the usual ones.
    """
    if op.tap_bias.size or not len(numbers):
        return [
            _channel(op, c, row, frac, x, out, w)
            for c, row, frac in zip(numbers.tolist(), real, fractions, strict=True)
        ]
    bias, most = op.bias[numbers], MAX_SHIFT + out.frac - x.frac
    frac = np.where(real.any(axis=1), np.array(fractions, np.int64), out.frac - x.frac)
    frac = np.minimum(frac, most)
    lo, hi = _limits(op, out)
    reach = np.abs(real).sum(axis=1) * x.magnitude * x.lsb
    beyond = np.abs(bias) > reach
    at_lo = ((bias + reach) * 2.0**out.frac < lo - 1) & beyond
    at_hi = ((bias - reach) * 2.0**out.frac > hi + 1) & beyond & ~at_lo
    held = at_lo | at_hi
    frac[held] = out.frac - x.frac
    weight, integer = np.zeros(real.shape, np.int64), np.where(at_lo, lo, hi)
    start, left = frac.copy(), np.flatnonzero(~held)
    while left.size:
        rows = _integer_rows(op, real[left], frac[left], w)
        exact = bias[left] * 2.0 ** (frac[left] + x.frac)
        down = (op.rounds is not None) & (frac[left] + x.frac > out.frac)
        limit = float(1 << 62)
        biases = np.floor(exact + np.where(down, 0.0, 0.5)).clip(-limit, limit).astype(np.int64)
        total = np.abs(rows).sum(axis=1) * x.magnitude + np.abs(biases)
        weight[left], integer[left] = rows, biases
        left = left[(np.abs(biases) >= BIAS_LIMIT) | (total >= ACC_LIMIT)]
        frac[left] -= 1
    nothing = np.zeros((1, 1), np.int64)
    made = [
        _Channel(row, int(b), int(f), nothing)
        for row, b, f in zip(weight, integer, frac, strict=True)
    ]
    for row in np.flatnonzero(frac < start).tolist():  # are enough bits left?
        made[row] = _channel(op, int(numbers[row]), real[row], fractions[row], x, out, w)
    return made


def _spared(row: FloatArray, weight: IntArray, frac: int) -> int:
    """How many weights saturate."""
    return int((np.floor(row * 2.0**frac + 0.5) != weight).sum())


def _sums(op: Weighted, channel: int, lost: FloatArray | None = None) -> FloatArray:
    """One channel's real biases, float64 [rows, columns]; 1 by 1 where all results have the same.

    Args:
        lost: what they must make up for, for each weight.
    """
    bias = float(op.bias[channel])
    if not op.tap_bias.size:
        return np.full((1, 1), bias if lost is None else bias + float(lost.sum()))
    taps = op.tap_bias[channel]
    if lost is not None:
        taps = taps + lost.reshape(-1, *taps.shape).sum(axis=0)
    return bias + Bands.of(op).totals(taps)


def _biases(op: Op, real: FloatArray, frac: int, out: QFormat) -> IntArray:
    """Biases in the accumulator's LSB, 2**-frac.

    Where forward() rounds, and bits are dropped, what lies below that LSB never counts:
    floor((acc + b + half) / 2**shift) is the same for b and floor(b).
    """
    exact = real * 2.0**frac
    half = 0.0 if op.rounds is not None and frac > out.frac else 0.5
    limit = float(1 << 62)  # far beyond what a bias may be
    return np.clip(np.floor(exact + half), -limit, limit).astype(np.int64)


def _integers(op: Weighted, row: FloatArray, fmt: QFormat) -> IntArray:
    """One output channel's weights; a feature's copies share what is left of their sum."""
    found: IntArray = _integer_rows(op, row[None], np.array([fmt.frac]), fmt)[0]
    return found


def _integer_rows(op: Weighted, rows: FloatArray, frac: IntArray, fmt: QFormat) -> IntArray:
    """The same of several channels, each with a fraction length of its own.

    Args:
        fmt: whose bits count.
    """
    scale = 2.0 ** frac[:, None]
    weight = np.clip(np.floor(rows * scale + 0.5), fmt.min, fmt.max).astype(np.int64)
    if not isinstance(op, Dense) or not op.copies:
        return weight
    for mine in _copies(op.copies):  # [features, copies of each]
        exact = rows[:, mine].sum(axis=2) / (1 / scale)
        rest = np.floor(exact + 0.5).astype(np.int64) - weight[:, mine].sum(axis=2)
        first = np.arange(mine.shape[1]) < np.abs(rest)[:, :, None]
        weight[:, mine] += first * np.where(rest > 0, 1, -1)[:, :, None]
    return np.clip(weight, fmt.min, fmt.max)


@lru_cache(maxsize=256)
def _copies(copies: tuple[int, ...]) -> tuple[IntArray, ...]:
    """Places of the copies of each feature, int64 [features, n], for every number n of copies.

    >>> [places.tolist() for places in _copies((0, 1, 0, -1, 1, 2))]
    [[[5]], [[0, 2], [1, 4]]]
    """
    features = np.array(copies)
    places = [np.flatnonzero(features == f) for f in np.unique(features[features >= 0])]
    counts = sorted({len(p) for p in places})
    return tuple(np.array([p for p in places if len(p) == n]) for n in counts)


def _saturated(op: Op, row: FloatArray, bias: FloatArray, x: QFormat, out: QFormat) -> int | None:
    """The bias (in the result's LSB) of a channel that its clamp holds at one end for any input."""
    lo, hi = _limits(op, out)
    reach = float(np.abs(row).sum()) * x.magnitude * x.lsb
    least, most = float(bias.min()), float(bias.max())
    if (most + reach) * 2.0**out.frac < lo - 1 and abs(most) > reach:
        return lo
    if (least - reach) * 2.0**out.frac > hi + 1 and abs(least) > reach:
        return hi
    return None


def _wide(
    op: Weighted,
    real: FloatArray,
    x: QFormat,
    w: QFormat,
    given: tuple[int, ...] | None,
    met: _Met | None = None,
) -> QuantizedOp:
    """All channels share one fraction length; nothing is shifted."""
    if given is not None:
        return _wide_by_hand(op, real, x, w, given)
    fractions = np.array(weight_fractions(real, w))
    used = fractions[np.abs(real).max(axis=1) > 0]
    first = int(used.min()) if used.size else w.bits - 1
    last = int(used.max()) if used.size else first
    frac = min(
        range(first, min(last, first + 4) + 1),
        key=lambda f: squared_error(real, QFormat(w.bits, f)),
    )
    if met is not None:
        flat = real.reshape(1, -1), met.variance.reshape(1, -1)
        (finer,) = spared_fractions(flat[0], [frac], w, flat[1])
        frac, met = (frac, None) if finer is None else (finer, met)
    while True:
        weight = QFormat(w.bits, frac).quantize(real)
        moved = op.bias if met is None else op.bias + met.lost(real, weight, frac).sum(axis=-1)
        bias = np.floor(moved * 2.0 ** (frac + x.frac) + 0.5)
        if np.abs(bias).max(initial=0) < BIAS_LIMIT:
            if _bound(weight, bias.astype(np.int64), x) < ACC_LIMIT:
                break
        frac -= 1
    least = min(MIN_WEIGHT_BITS, w.bits - 1)
    if int(np.abs(weight).max()) < 1 << (least - 1) and real.any():
        raise RangeError(
            f"{op.source}: layer {op.name!r}: its fan-in ({real.shape[1]}) or its biases (up to "
            f"{np.abs(op.bias).max():.6g}) leave fewer than {MIN_WEIGHT_BITS} bits for its "
            "weights; rescale the layer before packing"
        )
    out, shared = QFormat(32, frac + x.frac), np.full(len(real), frac, np.int64)
    made = _made(op, real, weight, bias.astype(np.int64), shared, x, out, w)
    return made if met is None else replace(made, spared=_spared(real, weight, frac))


def _wide_by_hand(
    op: Weighted, real: FloatArray, x: QFormat, w: QFormat, given: tuple[int, ...]
) -> QuantizedOp:
    if len(set(given)) > 1:
        raise RangeError(
            f"{op.source}: layer {op.name!r}: the last layer's results are compared with each "
            "other, so its channels share one fraction length: give weight_frac as one number"
        )
    out = QFormat(32, given[0] + x.frac)
    channels = _channels(op, real, x, out, w, given, False)
    weight = np.array([c.weight for c in channels], np.int64).reshape(real.shape)
    bias = np.array([c.bias for c in channels], np.int64)
    return _made(op, real, weight, bias, np.array(given, np.int64), x, out, w)


def _wide_format(op: Op, frac: int) -> QFormat:
    """Of results that leave at 32 bits: nothing is lost, but what forward() rounds away."""
    return QFormat(32, frac if op.rounds is None else min(frac, op.rounds))


def _unbiased(
    op: Op, weight: IntArray, shift: int, out: QFormat, bound: int, inexact: int = 0
) -> QuantizedOp:
    """Every channel has the same shift, and a bias only where forward() rounds with one."""
    bias, real = np.zeros(op.out.channels, np.int64), biases_of(op)
    if real.size:
        bias[:] = _biases(op, real, out.frac + shift, out)
        bound += int(np.abs(bias).max())
        if bound >= ACC_LIMIT or np.abs(bias).max() >= BIAS_LIMIT:
            raise RangeError(
                f"{op.source}: layer {op.name!r} adds {real[0]:.6g} before it rounds, which the "
                "accumulator can't hold: add it elsewhere"
            )
    lo, hi = _limits(op, out)
    shifts = np.full(op.out.channels, shift, np.int64)
    return QuantizedOp(weight, bias, shifts, lo, hi, out, bound, inexact=inexact)


def _product(graph: Graph, formats: Formats, op: Product, wide: bool) -> QuantizedOp | None:
    """a * b, or a * b + c * d, whose products need the same LSB."""
    owners = [graph.owners(view)[0] for view in op.views]
    operands = [formats.of(t) for t in owners]
    fractions = [a.frac + b.frac for a, b in zip(operands[::2], operands[1::2], strict=True)]
    if len(set(fractions)) > 1:
        finer = 2 * int(np.argmax(fractions))
        a, b = owners[finer : finer + 2]
        # The factor that loses a bit is the one whose rounding weighs less in the product.
        costs = [
            inf
            if formats.is_fixed(mine)
            else formats.power[other.index] * formats.of(mine).lsb ** 2
            for mine, other in ((a, b), (b, a))
        ]
        coarser = a if costs[0] <= costs[1] else b
        why = "adds two products, whose LSBs must be the same"
        formats.lower(op, coarser, formats.of(coarser).frac - 1, why)
        return None
    frac = fractions[0]
    if not wide and formats.lower_clamped(op, frac, f"adds up multiples of 2**{-frac} only"):
        return None
    out = _wide_format(op, frac) if wide else formats.clamped(op)
    pairs = zip(operands[::2], operands[1::2], strict=True)
    bound = sum(a.magnitude * b.magnitude for a, b in pairs)
    if frac - out.frac > MAX_SHIFT:
        raise RangeError(
            f"{op.source}: layer {op.name!r} multiplies numbers that are too small for its result; "
            "rescale them before packing"
        )
    return _unbiased(op, np.zeros(0, np.int64), frac - out.frac, out, bound)


def _product_bound(
    graph: Graph, formats: Formats, op: Product, made: Mapping[str, QuantizedOp]
) -> int:
    """Largest |a * b (+ c * d)|, from what the operations before let through.

    Raises:
        RangeError: the accumulator could wrap.
    """

    def largest(tensor: Tensor) -> int:
        source = graph.producer(tensor)
        if source is None:
            return formats.of(tensor).magnitude
        q = made[source.name]
        if q.table is None:
            return max(abs(q.lo), abs(q.hi))
        ends = q.table if q.table.ndim == 1 else np.cumsum(q.table, axis=1)
        return int(np.abs(ends).max())

    factors = [max(largest(t) for t in graph.owners(view)) for view in op.views]
    bound = sum(a * b for a, b in zip(factors[::2], factors[1::2], strict=True))
    if bound >= ACC_LIMIT:
        raise RangeError(
            f"{op.source}: layer {op.name!r}: the product of two 16-bit tensors, up to {bound}, "
            "does not fit the accumulator's 32 bits; set quantize.activation_bits = 8, or let one "
            "factor be a sigmoid or ReLU"
        )
    return bound


def _average(graph: Graph, formats: Formats, op: AvgPool, wide: bool) -> QuantizedOp | None:
    x = formats.of(graph.owners(op.view)[0])
    frac, weight = pool_scale(op, x.magnitude)
    taps = op.window.kernel[0] * op.window.kernel[1]
    bound = int(weight.max()) * taps * x.magnitude
    out = _wide_format(op, frac + x.frac) if wide else formats.clamped(op)
    if not weight.all():
        raise RangeError(f"{op.source}: layer {op.name!r} averages {taps} elements: too many")
    why = f"adds up multiples of 2**{-frac - x.frac} only"
    if not wide and formats.lower_clamped(op, frac + x.frac, why):
        return None
    inexact = int((weight != op.weight * 2.0**frac).sum())
    return _unbiased(op, weight, frac + x.frac - out.frac, out, bound, inexact)


def _maximum(graph: Graph, formats: Formats, op: MaxPool, wide: bool) -> QuantizedOp:
    x = formats.of(graph.owners(op.view)[0])
    out = QFormat(32, x.frac) if wide else formats.of(op.out)
    seen = x if op.activation is not None else out  # a table sees what the maximum passes through
    given = formats.rules.table_inputs.get(op.name, seen)
    if given != seen:
        raise RangeError(
            f"{op.source}: layer {op.name!r} looks up what the maximum passes through: its "
            f"table_input {given} must be the operand's format, {seen}"
        )
    return _unbiased(op, np.zeros(0, np.int64), 0, seen, x.magnitude)


def _sum(graph: Graph, formats: Formats, op: Add, wide: bool) -> QuantizedOp | None:
    owners = [graph.owners(view)[0] for view in op.views]
    operands = [formats.of(t) for t in owners]
    # A rounding behind the sum may have left powers of two as its weights.
    steps = [power_of_two(abs(float(v))) or 0 for v in op.weight]
    fractions = [x.frac - step for x, step in zip(operands, steps, strict=True)]
    reach = min(fractions) + MAX_ADD_SHIFT
    why = f"adds operands, which must be at most {MAX_ADD_SHIFT} bits apart"
    for tensor, step in zip(owners, steps, strict=True):
        if formats.lower(op, tensor, reach + step, why):
            return None
    why = f"adds up multiples of 2**{-reach} only"
    if not wide and formats.lower_clamped(op, reach, why):
        return None
    frac = max(fractions)
    if not wide:
        frac = max(frac, formats.clamped(op).frac)
    out = _wide_format(op, frac) if wide else formats.clamped(op)
    weight = np.array(
        [int(np.sign(s)) << (frac - f) for s, f in zip(op.weight, fractions, strict=True)], np.int64
    )
    bound = sum(abs(int(v)) * x.magnitude for v, x in zip(weight, operands, strict=True))
    return _unbiased(op, weight, frac - out.frac, out, bound)
