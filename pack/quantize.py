"""Chooses the formats and turns real weights into integers.

Activations get one format per tensor by least squared error on the calibration samples, weights
one fraction length per output channel. Where formats must be equal (concat, maximum, copies) the
tensors form a class that is chosen as one. ``quantize`` proves for every channel that the
accumulator can't wrap.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import floor, inf, log2

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.activations import Activation
from bramcast.pack.errors import RangeError
from bramcast.pack.fold import known_bounds
from bramcast.pack.graph import ZERO, FloatArray, Graph, IntArray, Op, Tensor
from bramcast.pack.qformat import QFormat

ACC_LIMIT = 1 << 31
BIAS_LIMIT = 1 << 30
MAX_SHIFT = 31
MIN_WEIGHT_BITS = 4
MAX_ADD_SHIFT = 6  # the largest power of two in 8 bits is 64
SAMPLES = 1 << 19  # values of a tensor that are kept for the choice of its format
SEEN_SAMPLES = 1 << 16  # values that an activation is tried on


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedOp:
    """The integers of one operation.

    Attributes:
        weight: int64, shape of Op.weight.
        bias, shift: int64 [C].
        lo, hi: clamp of the requantized value.
        out: the result's format (32 bits if wide).
        bound: largest possible |accumulator + bias|, over all channels.
        weight_bits: width of a stored weight.
        table: int64 [256], the result for each low byte of the clamped value; None without one.
    """

    weight: IntArray
    bias: IntArray
    shift: IntArray
    lo: int
    hi: int
    out: QFormat
    bound: int
    weight_bits: int = 8
    table: IntArray | None = None


@dataclass(slots=True)
class Statistics:
    """What calibration has seen of one tensor."""

    rng: np.random.Generator
    low: float = inf
    high: float = -inf
    kept: list[NDArray[np.float64]] = field(default_factory=list)
    count: int = 0

    def observe(self, values: NDArray[np.floating]) -> None:
        flat = np.asarray(values, np.float64).ravel()
        self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(flat.max()))
        if flat.size > SAMPLES // 8:
            flat = self.rng.choice(flat, SAMPLES // 8)
        if self.count + flat.size > SAMPLES:
            self.kept = [v[::2] for v in self.kept]
            self.count = sum(v.size for v in self.kept)
        self.kept.append(flat)
        self.count += flat.size

    @property
    def power(self) -> float:
        """Mean square."""
        return float(np.mean(np.concatenate(self.kept) ** 2))

    @property
    def values(self) -> NDArray[np.float64]:
        extremes = np.array([self.low, self.high])
        return np.concatenate([*self.kept, extremes])


def finest_fraction(magnitude: float, limit: int) -> int:
    """The largest frac for which ``magnitude`` * 2**frac rounds to at most ``limit``.

    >>> finest_fraction(1.0, 127), finest_fraction(0.99, 127), finest_fraction(300.0, 127)
    (6, 7, -2)
    """
    frac = floor(log2((limit + 0.499) / magnitude))
    while floor(magnitude * 2.0 ** (frac + 1) + 0.5) <= limit:
        frac += 1
    while floor(magnitude * 2.0**frac + 0.5) > limit:
        frac -= 1
    return frac


def squared_error(values: FloatArray, fmt: QFormat) -> float:
    """Mean squared error of quantizing ``values``."""
    return float(np.mean((fmt.real(fmt.quantize(values)) - values) ** 2))


class Classes:
    """Union-find over tensor indices."""

    def __init__(self, count: int) -> None:
        self.parent = list(range(count))

    def find(self, index: int) -> int:
        while self.parent[index] != index:
            index = self.parent[index]
        return index

    def join(self, indices: Iterable[int]) -> None:
        roots = [self.find(i) for i in indices]
        for root in roots[1:]:
            self.parent[self.find(root)] = self.find(roots[0])


@dataclass(slots=True)
class Formats:
    """The activations' formats while they are being chosen."""

    bits: int
    same: Classes
    signs: Classes
    frac: dict[int, int] = field(default_factory=dict)  # by class
    signed: dict[int, bool] = field(default_factory=dict)  # by sign class
    sees: Classes = field(default_factory=lambda: Classes(0))  # what activations see
    sees_frac: dict[int, int] = field(default_factory=dict)  # by that class
    power: dict[int, float] = field(default_factory=dict)  # mean squares of tensors

    def clamped(self, op: Op) -> QFormat:
        """The format of the clamp's result: what the activation sees, or the result itself."""
        if op.activation is None:
            return self.of(op.out)
        return QFormat(self.bits, self.sees_frac[self.sees.find(op.out.index)], op.clamp.lo < 0)

    def lower_clamped(self, op: Op, frac: int) -> bool:
        """``lower`` for the clamp's result."""
        if op.activation is None:
            return self.lower(op.out, frac)
        root = self.sees.find(op.out.index)
        if self.sees_frac[root] <= frac:
            return False
        self.sees_frac[root] = frac
        return True

    def of(self, tensor: Tensor) -> QFormat:
        return QFormat(
            self.bits,
            self.frac[self.same.find(tensor.index)],
            self.signed[self.signs.find(tensor.index)],
        )

    def lower(self, tensor: Tensor, frac: int) -> bool:
        """Make a tensor's LSB at least 2**-frac; true if that changed something."""
        root = self.same.find(tensor.index)
        if self.frac[root] <= frac:
            return False
        self.frac[root] = frac
        return True


def never_negative(
    graph: Graph, op: Op, known: dict[int, bool], bounds: dict[int, tuple[float, float]]
) -> bool:
    """Whether an operation's result can't be negative, whatever the input is."""
    if op.out.index in bounds:
        return bounds[op.out.index][0] >= 0
    if op.clamp.lo >= 0:
        return True
    operands = [known[t.index] for view in op.views for t in graph.owners(view)]
    if op.kind in ("maxpool", "avgpool") or op.exact:
        return all(operands)
    if op.kind == "product":
        return all(operands)
    return op.kind == "add" and all(operands) and bool((op.weight > 0).all())


def choose_formats(
    graph: Graph,
    statistics: dict[int, Statistics],
    bits: int,
    input_format: QFormat | None = None,
) -> Formats:
    """One format per class of tensors, by least squared error.

    Args:
        statistics: of every stored tensor, by index, and of what activations see (``Op.before``).
        bits: width of an activation.
        input_format: fixes the input's format (two-plane input).
    """
    stored = [graph.input, *(op.out for op in graph.ops)]
    same, signs = Classes(len(graph.tensors)), Classes(len(graph.tensors))
    positive = {graph.input.index: statistics[graph.input.index].low >= 0}
    bounds = known_bounds(graph)
    apart = has_gates(graph)
    for op in graph.ops:
        positive[op.out.index] = never_negative(graph, op, positive, bounds)
        for view in op.views:
            # Weights make up for different formats where cells join states and inputs.
            if not (apart and op.kind == "dense" and op.groups == 1 and not op.exact):
                same.join(t.index for t in graph.owners(view))
        if (op.kind == "maxpool" and op.activation is None) or op.exact:
            same.join([op.out.index, *(t.index for v in op.views for t in graph.owners(v))])
        for together in _one_sign(op):
            signs.join(t.index for view in together for t in graph.owners(view))
    sees = Classes(len(graph.tensors))
    for ops in _twins(graph):
        same.join(op.out.index for op in ops)
        first: dict[Activation, int] = {}
        for op in ops:
            if op.activation is not None:
                sees.join([first.setdefault(op.activation, op.out.index), op.out.index])
    for tensor in stored:
        signs.join([tensor.index, same.find(tensor.index)])
    formats = Formats(bits, same, signs, sees=sees)
    if apart:
        formats.power = {t.index: statistics[t.index].power for t in stored}
    for tensor in stored:
        root = signs.find(tensor.index)
        formats.signed[root] = formats.signed.get(root, False) or not positive[tensor.index]
    fixed = same.find(graph.input.index) if input_format is not None else None
    if input_format is not None:
        formats.signed[signs.find(graph.input.index)] = input_format.signed
        formats.frac[same.find(graph.input.index)] = input_format.frac
    members: dict[int, list[Tensor]] = {}
    for tensor in stored:
        members.setdefault(same.find(tensor.index), []).append(tensor)
    for root, tensors in members.items():
        if root != fixed:
            signed = formats.signed[signs.find(tensors[0].index)]
            values = [statistics[t.index].values for t in tensors]
            formats.frac[root] = best_fraction(values, bits, signed)
    _choose_seen(graph, formats, statistics)
    return formats


def has_gates(graph: Graph) -> bool:
    """Whether there are recurrent cells: products of two tensors, or time steps."""
    return any(op.kind == "product" for op in graph.ops) or bool(_twins(graph))


def _one_sign(op: Op) -> list[tuple[IntArray, ...]]:
    """Operands that a nest reads with the same signedness: factors and others in a product."""
    return [op.views[::2], op.views[1::2]] if op.kind == "product" else [op.views]


def _twins(graph: Graph) -> list[list[Op]]:
    """Operations that do the same in different time steps."""
    found: dict[str, list[Op]] = {}
    for op in graph.ops:
        for twin in op.twins:
            found.setdefault(twin, []).append(op)
    return [ops for ops in found.values() if len(ops) > 1]


def _choose_seen(graph: Graph, formats: Formats, statistics: Mapping[int, Statistics]) -> None:
    """The fraction of what an activation sees: the one with the least error of its result."""
    members: dict[int, list[Op]] = {}
    for op in graph.ops:
        if op.activation is not None:
            members.setdefault(formats.sees.find(op.out.index), []).append(op)
    for root, ops in members.items():
        activation, out = ops[0].activation, formats.of(ops[0].out)
        assert activation is not None
        rng = np.random.default_rng(0)
        each = max(64, SEEN_SAMPLES // len(ops))
        seen = [statistics[op.before].values for op in ops]
        values = np.concatenate([rng.choice(v, min(each, v.size), replace=False) for v in seen])
        values = np.concatenate([values, *(v[-2:] for v in seen)])
        probe = QFormat(formats.bits, 0, ops[0].clamp.lo < 0)
        start = finest_fraction(max(float(np.abs(values).max()), 2.0**-16), probe.max)
        exact = activation.apply(values)

        def error(
            frac: int, exact: FloatArray = exact, values: FloatArray = values,
            activation: Activation = activation, out: QFormat = out, signed: bool = probe.signed,
        ) -> float:  # fmt: skip
            fmt = QFormat(formats.bits, frac, signed)
            table = out.real(activation_table(activation, fmt, out))
            return float(((table[fmt.quantize(values) & 255] - exact) ** 2).sum())

        formats.sees_frac[root] = min(range(start, start + 8), key=error)


def activation_table(activation: Activation, seen: QFormat, out: QFormat) -> IntArray:
    """The activation's result for each of the 256 values that it can see, int64 [256].

    Entry i is that of the value whose low 8 bits are i.

    >>> from bramcast.pack.activations import Function
    >>> relu = Activation((Function("leaky_relu", (0.5,)),))
    >>> activation_table(relu, QFormat(8, 4), QFormat(8, 4))[[1, 127, 128, 254]]
    array([  1, 127, -64,  -1])
    """
    index = np.arange(256, dtype=np.int64)
    values = index - ((index >> 7) << 8) if seen.signed else index
    return out.quantize(np.asarray(activation.apply(seen.real(values))))


def best_fraction(values: list[FloatArray], bits: int, signed: bool) -> int:
    """The frac with the least squared error; outliers may saturate where that pays."""
    probe = QFormat(bits, 0, signed)
    magnitude = max(float(np.abs(v).max()) for v in values)
    if magnitude == 0:
        return bits - 1
    start = finest_fraction(magnitude, probe.max)

    def error(frac: int) -> float:
        fmt = QFormat(bits, frac, signed)
        return sum(squared_error(v, fmt) * v.size for v in values)

    return min(range(start, start + 4), key=error)


def quantize(
    graph: Graph, formats: Formats, weight_bits: Mapping[str, int], wide: Op
) -> dict[str, QuantizedOp]:
    """Integers for every operation; lowers formats until every shift is legal.

    Args:
        weight_bits: 2, 4 or 8 for each Linear or convolution that is named; 8 for the others.
        wide: the operation whose results leave at full width.

    Raises:
        RangeError: a channel for which no legal weight format is left; names layer and channel.
    """
    for _ in range(64 * len(graph.ops) + 64):
        gains = pooling_gains(graph, formats)
        result: dict[str, QuantizedOp] = {}
        changed = False
        for op in graph.ops:
            builder = _BUILDERS[op.kind]
            # A last table gives results of 8 bits.
            full = op is wide and op.activation is None
            made = builder(graph, formats, op, weight_bits.get(op.name, 8), full, gains)
            if made is None:
                changed = True
                break
            result[op.name] = _with_table(formats, op, made)
        if not changed:
            _share_steps(graph, formats, result)
            return result
    raise AssertionError("formats do not settle")


def _share_steps(graph: Graph, formats: Formats, made: dict[str, QuantizedOp]) -> None:
    """Give a time step that reads a part of what the others read, as the first one, their integers.

    Without a state its channels might take other formats, and its weights would be stored again.
    """
    for ops in _twins(graph):
        dense = [op for op in ops if op.kind == "dense" and op.groups == 1]
        if not dense:
            continue
        whole = max(dense, key=lambda op: op.weight.shape[1])
        of = made[whole.name]
        for op in dense:
            columns = _columns_of(op, whole)
            mine = made[op.name]
            if columns is None or not np.array_equal(op.bias, whole.bias):
                continue
            fractions = {formats.of(t).frac for o in (op, whole) for t in graph.owners(o.view)}
            same = (mine.lo, mine.hi, mine.out, mine.weight_bits) == (
                of.lo, of.hi, of.out, of.weight_bits
            )  # fmt: skip
            if len(fractions) > 1 or not same:
                continue
            weight = np.zeros(op.weight.shape, np.int64)
            used = np.flatnonzero((op.view != ZERO).any(axis=(1, 2)))
            weight[:, used] = of.weight[:, columns]
            made[op.name] = replace(
                mine, weight=weight, bias=of.bias, shift=of.shift, bound=of.bound
            )


def _columns_of(op: Op, whole: Op) -> slice | None:
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


def pool_scale(op: Op, magnitude: int) -> tuple[int, IntArray]:
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
        if op.kind != "avgpool" or (op.weight != op.weight.flat[0]).any():
            continue
        readers = graph.consumers(op.out)
        if not readers or graph.is_output(op.out) or abs(op.clamp.hi) not in (inf, 0.0):
            continue
        if op.activation is not None:
            continue
        if op.clamp.lo not in (-inf, 0.0):
            continue
        if all(r.kind in ("dense", "depthwise") and not r.exact for r in readers):
            frac, integers = pool_scale(op, formats.of(graph.owners(op.view)[0]).magnitude)
            gains[op.out.index] = float(integers.flat[0] / 2.0**frac / op.weight.flat[0])
    return gains


def _without_gain(graph: Graph, op: Op, gains: dict[int, float]) -> FloatArray:
    """The real weights with the gains of the operands divided out."""
    if not any(t.index in gains for t in graph.owners(op.view)):
        return op.weight
    factor = np.ones(op.view.shape[0])
    for tensor in graph.owners(op.view):
        mine = (op.view >= tensor.first) & (op.view < tensor.first + tensor.elements)
        factor[mine.any(axis=(1, 2))] = 1.0 / gains.get(tensor.index, 1.0)
    if op.kind == "depthwise":
        repeated = np.repeat(factor, op.weight.shape[0] // len(factor))
        return np.asarray(op.weight * repeated[:, None, None, None])
    outputs, fan_in = op.weight.shape[:2]
    index = (np.arange(outputs) // (outputs // op.groups))[:, None] * fan_in + np.arange(fan_in)
    return np.asarray(op.weight * factor[index][:, :, None, None])


# --- one builder for each kind -----------------------------------------------------------------


def _limits(op: Op, out: QFormat) -> tuple[int, int]:
    """The activation's clamp in the result's integers."""

    def integer(value: float) -> int:
        if value in (inf, -inf):
            return out.max if value > 0 else out.min
        return max(out.min, min(out.max, floor(value * 2.0**out.frac + 0.5)))

    lo, hi = integer(op.clamp.lo), integer(op.clamp.hi)
    return lo, max(lo, hi)


def _weighted(
    graph: Graph, formats: Formats, op: Op, weight_bits: int, wide: bool, gains: dict[int, float]
) -> QuantizedOp | None:
    """Dense and depthwise."""
    x, scaled = _one_lsb(graph, formats, op, _without_gain(graph, op, gains))
    real = scaled.reshape(op.weight.shape[0], -1)
    w = QFormat(weight_bits, 0)
    fractions = np.array([weight_fraction(row, w) for row in real])
    if wide:
        return _wide(op, real, x, w, fractions)
    out = formats.clamped(op)
    weight = np.zeros(real.shape, np.int64)
    bias = np.zeros(len(real), np.int64)
    shift = np.zeros(len(real), np.int64)
    lowest = out.frac
    for channel, row in enumerate(real):
        got = _channel(op, channel, row, int(fractions[channel]), x, out, w)
        lowest = min(lowest, got.frac + x.frac)
        weight[channel], bias[channel] = got.weight, got.bias
        shift[channel] = got.frac + x.frac - out.frac
    if lowest < out.frac:
        formats.lower_clamped(op, lowest)
        return None
    lo, hi = _limits(op, out)
    bound = _bound(weight, bias, x)
    shaped = weight.reshape(op.weight.shape)
    return QuantizedOp(shaped, bias, shift, lo, hi, out, bound, weight_bits)


def _one_lsb(
    graph: Graph, formats: Formats, op: Op, weight: FloatArray
) -> tuple[QFormat, FloatArray]:
    """Weights for operands that all count in the LSB of the finest one, and its format."""
    owners = graph.owners(op.view)
    operands = [formats.of(t) for t in owners]
    finest = max(operands, key=lambda x: x.frac)
    if all(x.frac == finest.frac for x in operands):
        return operands[0], weight
    assert op.kind == "dense" and op.groups == 1, "only these read operands of different formats"
    factor = np.ones(op.view.shape[0])
    for tensor, x in zip(owners, operands, strict=True):
        mine = (op.view >= tensor.first) & (op.view < tensor.first + tensor.elements)
        factor[mine.any(axis=(1, 2))] = 2.0 ** (finest.frac - x.frac)
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


def _bound(weight: IntArray, bias: IntArray, x: QFormat) -> int:
    total = np.abs(weight.reshape(len(weight), -1)).sum(axis=1) * x.magnitude + np.abs(bias)
    return int(total.max())


@dataclass(frozen=True, slots=True)
class _Channel:
    weight: IntArray
    bias: int
    frac: int


def _channel(
    op: Op, channel: int, row: FloatArray, frac: int, x: QFormat, out: QFormat, w: QFormat
) -> _Channel:
    """Integers of one output channel; lowers its fraction until every rule holds."""
    real_bias = float(op.bias[channel])
    if not row.any():
        frac = out.frac - x.frac  # nothing is multiplied: shift 0, the bias in the result's LSB
    frac = min(frac, MAX_SHIFT + out.frac - x.frac)
    constant = _saturated(op, row, real_bias, x, out)
    if constant is not None:
        return _Channel(np.zeros(row.size, np.int64), constant, out.frac - x.frac)
    start = frac
    while True:
        weight = _integers(op, row, QFormat(w.bits, frac))
        bias = floor(real_bias * 2.0 ** (frac + x.frac) + 0.5)
        total = int(np.abs(weight).sum()) * x.magnitude + abs(bias)
        if abs(bias) < BIAS_LIMIT and total < ACC_LIMIT:
            break
        frac -= 1
    least = min(MIN_WEIGHT_BITS, w.bits)
    if frac < start and int(np.abs(weight).max()) < 1 << (least - 1):
        lost = float(np.abs(row).sum()) * x.magnitude * x.lsb
        if lost > 0.5 * out.lsb:
            raise RangeError(
                f"{op.source}: layer {op.name!r}, output channel {channel}: its bias "
                f"({real_bias:.6g}) or fan-in leaves fewer than {MIN_WEIGHT_BITS} bits for its "
                f"weights (largest {np.abs(row).max():.6g}); rescale the layer before packing"
            )
    return _Channel(weight, bias, frac)


def _integers(op: Op, row: FloatArray, fmt: QFormat) -> IntArray:
    """One output channel's weights; a feature's copies share what is left of their sum."""
    weight = fmt.quantize(row)
    if not op.copies:
        return weight
    features = np.array(op.copies)
    for feature in np.unique(features[features >= 0]):
        mine = np.flatnonzero(features == feature)
        rest = floor(float(row[mine].sum()) / fmt.lsb + 0.5) - int(weight[mine].sum())
        weight[mine[: abs(rest)]] += 1 if rest > 0 else -1
    return np.clip(weight, fmt.min, fmt.max)


def _saturated(op: Op, row: FloatArray, bias: float, x: QFormat, out: QFormat) -> int | None:
    """The bias (in the result's LSB) of a channel that its clamp holds at one end for any input."""
    lo, hi = _limits(op, out)
    reach = float(np.abs(row).sum()) * x.magnitude * x.lsb
    if (bias + reach) * 2.0**out.frac < lo - 1 and abs(bias) > reach:
        return lo
    if (bias - reach) * 2.0**out.frac > hi + 1 and abs(bias) > reach:
        return hi
    return None


def _wide(op: Op, real: FloatArray, x: QFormat, w: QFormat, fractions: IntArray) -> QuantizedOp:
    """All channels share one fraction length; nothing is shifted."""
    used = fractions[np.abs(real).max(axis=1) > 0]
    first = int(used.min()) if used.size else w.bits - 1
    last = int(used.max()) if used.size else first
    frac = min(
        range(first, min(last, first + 4) + 1),
        key=lambda f: squared_error(real, QFormat(w.bits, f)),
    )
    while True:
        weight = QFormat(w.bits, frac).quantize(real)
        bias = np.floor(op.bias * 2.0 ** (frac + x.frac) + 0.5)
        if np.abs(bias).max(initial=0) < BIAS_LIMIT:
            bound = _bound(weight, bias.astype(np.int64), x)
            if bound < ACC_LIMIT:
                break
        frac -= 1
    least = min(MIN_WEIGHT_BITS, w.bits - 1)
    if int(np.abs(weight).max()) < 1 << (least - 1) and real.any():
        raise RangeError(
            f"{op.source}: layer {op.name!r}: its fan-in ({real.shape[1]}) or its biases (up to "
            f"{np.abs(op.bias).max():.6g}) leave fewer than {MIN_WEIGHT_BITS} bits for its "
            "weights; rescale the layer before packing"
        )
    out = QFormat(32, frac + x.frac)
    lo, hi = _limits(op, out)
    zeros = np.zeros(len(real), np.int64)
    return QuantizedOp(
        weight.reshape(op.weight.shape), bias.astype(np.int64), zeros, lo, hi, out, bound, w.bits
    )


def _unbiased(op: Op, weight: IntArray, shift: int, out: QFormat, bound: int) -> QuantizedOp:
    zeros = np.zeros(op.out.channels, np.int64)
    lo, hi = _limits(op, out)
    return QuantizedOp(weight, zeros, zeros + shift, lo, hi, out, bound)


def _product(
    graph: Graph, formats: Formats, op: Op, weight_bits: int, wide: bool, gains: dict[int, float]
) -> QuantizedOp | None:
    """a * b, or a * b + c * d, whose products need the same LSB."""
    owners = [graph.owners(view)[0] for view in op.views]
    operands = [formats.of(t) for t in owners]
    fractions = [a.frac + b.frac for a, b in zip(operands[::2], operands[1::2], strict=True)]
    if len(set(fractions)) > 1:
        finer = 2 * int(np.argmax(fractions))
        a, b = owners[finer : finer + 2]
        # The factor that loses a bit is the one whose rounding weighs less in the product.
        costs = [
            formats.power[other.index] * formats.of(mine).lsb ** 2
            for mine, other in ((a, b), (b, a))
        ]
        coarser = a if costs[0] <= costs[1] else b
        formats.lower(coarser, formats.of(coarser).frac - 1)
        return None
    frac = fractions[0]
    if not wide and formats.lower_clamped(op, frac):
        return None
    out = QFormat(32, frac) if wide else formats.clamped(op)
    pairs = zip(operands[::2], operands[1::2], strict=True)
    bound = sum(a.magnitude * b.magnitude for a, b in pairs)
    if frac - out.frac > MAX_SHIFT:
        raise RangeError(
            f"{op.source}: layer {op.name!r} multiplies numbers that are too small for its result; "
            "rescale them before packing"
        )
    return _unbiased(op, np.zeros(0, np.int64), frac - out.frac, out, bound)


def _average(
    graph: Graph, formats: Formats, op: Op, weight_bits: int, wide: bool, gains: dict[int, float]
) -> QuantizedOp | None:
    x = formats.of(graph.owners(op.view)[0])
    frac, weight = pool_scale(op, x.magnitude)
    taps = op.window.kernel[0] * op.window.kernel[1]
    bound = int(weight.max()) * taps * x.magnitude
    out = QFormat(32, frac + x.frac) if wide else formats.clamped(op)
    if not weight.all():
        raise RangeError(f"{op.source}: layer {op.name!r} averages {taps} elements: too many")
    if not wide and formats.lower_clamped(op, frac + x.frac):
        return None
    return _unbiased(op, weight, frac + x.frac - out.frac, out, bound)


def _maximum(
    graph: Graph, formats: Formats, op: Op, weight_bits: int, wide: bool, gains: dict[int, float]
) -> QuantizedOp | None:
    x = formats.of(graph.owners(op.view)[0])
    out = QFormat(32, x.frac) if wide else formats.of(op.out)
    seen = x if op.activation is not None else out  # a table sees what the maximum passes through
    return _unbiased(op, np.zeros(0, np.int64), 0, seen, x.magnitude)


def _sum(
    graph: Graph, formats: Formats, op: Op, weight_bits: int, wide: bool, gains: dict[int, float]
) -> QuantizedOp | None:
    owners = [graph.owners(view)[0] for view in op.views]
    operands = [formats.of(t) for t in owners]
    coarsest = min(x.frac for x in operands)
    reach = coarsest + MAX_ADD_SHIFT
    for tensor in owners:
        if formats.lower(tensor, reach):
            return None
    if not wide and formats.lower_clamped(op, reach):
        return None
    frac = max(x.frac for x in operands)
    if not wide:
        frac = max(frac, formats.clamped(op).frac)
    out = QFormat(32, frac) if wide else formats.clamped(op)
    weight = np.array(
        [int(s) << (frac - x.frac) for s, x in zip(op.weight, operands, strict=True)], np.int64
    )
    bound = sum(abs(int(v)) * x.magnitude for v, x in zip(weight, operands, strict=True))
    return _unbiased(op, weight, frac - out.frac, out, bound)


Builder = Callable[[Graph, Formats, Op, int, bool, dict[int, float]], QuantizedOp | None]
_BUILDERS: dict[str, Builder] = {
    "dense": _weighted,
    "depthwise": _weighted,
    "avgpool": _average,
    "maxpool": _maximum,
    "add": _sum,
    "product": _product,
}
