# SPDX-License-Identifier: Apache-2.0
"""Chooses the activations' formats: one for each tensor, or for each class that must share one.

A format comes from the recipe, from forward() where that rounds (see rounding.py), or from the
calibration samples. Where formats must be equal (concat, maximum, copies) the tensors form a class
that is chosen as one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import floor, inf, log2

import numpy as np
from numpy.typing import NDArray

from bramcast.pack.bundle.errors import RangeError, RecipeError, UnsupportedLayer
from bramcast.pack.bundle.qformat import QFormat
from bramcast.pack.graph.activations import Activation, Function
from bramcast.pack.graph.bounds import known_bounds, never_negative
from bramcast.pack.graph.classes import Classes
from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.grid import rounds_to
from bramcast.pack.graph.ops import Dense, Depthwise, MaxPool, Op, Product, is_exact, weights_of
from bramcast.pack.graph.tensor import FloatArray, IntArray, Tensor
from bramcast.pack.graph.twins import has_gates, twins_of
from bramcast.pack.graph.window import NO_CLAMP, Clamp, Window
from bramcast.pack.quantize.line_tables import line_table, look_up
from bramcast.pack.quantize.reads import Reads
from bramcast.pack.quantize.rules import Rules

SAMPLES = 1 << 19  # values of a tensor that are kept for the choice of its format
SEEN_SAMPLES = 1 << 16  # values that an activation is tried on


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
        if not np.isfinite(flat).all():
            flat = flat[np.isfinite(flat)] if np.isfinite(flat).any() else np.zeros(1)
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
    return float(np.mean((fmt.rounded(values) - values) ** 2))


@dataclass(slots=True)
class Formats:
    """The activations' formats while they are being chosen.

    ``fixed`` and ``fixed_sees`` are the classes whose format is given: nothing may change them.
    ``rounded`` are those that forward() itself rounds.
    """

    bits: int
    same: Classes
    signs: Classes
    frac: dict[int, int] = field(default_factory=dict)  # by class
    signed: dict[int, bool] = field(default_factory=dict)  # by sign class
    sees: Classes = field(default_factory=lambda: Classes(0))  # what activations see
    sees_frac: dict[int, int] = field(default_factory=dict)  # by that class
    power: dict[int, float] = field(default_factory=dict)  # mean squares of tensors
    rules: Rules = field(default_factory=Rules)
    fixed: dict[int, str] = field(default_factory=dict)  # by class: what it was given for
    fixed_sees: set[int] = field(default_factory=set)  # by that class
    rounded: set[int] = field(default_factory=set)  # by class
    reads: Mapping[str, Reads] = field(default_factory=dict)  # what weights meet, by operation

    def copy(self) -> "Formats":
        """Formats that may be changed without these; classes and what is given are the same."""
        return replace(self, frac=dict(self.frac), sees_frac=dict(self.sees_frac))

    def clamped(self, op: Op) -> QFormat:
        """The format of the clamp's result: what the activation sees, or the result itself."""
        if op.activation is None:
            return self.of(op.out)
        return QFormat(self.bits, self.sees_frac[self.sees.find(op.out.index)], op.clamp.lo < 0)

    def lower_clamped(self, op: Op, frac: int, why: str) -> bool:
        """``lower`` for the clamp's result."""
        if op.activation is None:
            return self.lower(op, op.out, frac, why)
        root = self.sees.find(op.out.index)
        if self.sees_frac[root] <= frac:
            return False
        if root in self.fixed_sees:
            raise _refusal(op, why, f"{op.name}, table_input", self.clamped(op), frac)
        self.sees_frac[root] = frac
        return True

    def of(self, tensor: Tensor) -> QFormat:
        return QFormat(
            self.bits,
            self.frac[self.same.find(tensor.index)],
            self.signed[self.signs.find(tensor.index)],
        )

    def is_fixed(self, tensor: Tensor) -> bool:
        """Whether a tensor's format is given."""
        return self.same.find(tensor.index) in self.fixed

    def lower(self, op: Op, tensor: Tensor, frac: int, why: str) -> bool:
        """Make a tensor's LSB at least 2**-frac; true if that changed something.

        Raises:
            RangeError: its format is given by hand; ``op`` says ``why`` that can't be.
        """
        root = self.same.find(tensor.index)
        if self.frac[root] <= frac:
            return False
        if root in self.fixed:
            raise _refusal(op, why, self.fixed[root], self.of(tensor), frac)
        self.frac[root] = frac
        return True


def _refusal(op: Op, why: str, label: str, fmt: QFormat, frac: int) -> RangeError:
    return RangeError(
        f"{op.source}: layer {op.name!r} {why}; the format {fmt} is given by hand for {label!r}: "
        f"give it at most {frac} fraction bits"
    )


def choose_formats(
    graph: Graph,
    statistics: dict[int, Statistics],
    bits: int,
    input_format: QFormat | None = None,
    rules: Rules | None = None,
    reads: Mapping[str, Reads] | None = None,
) -> Formats:
    """One format per class of tensors: given, what forward() rounds to, or from the samples.

    Args:
        statistics: of every stored tensor, by index, and of what activations see (``Op.before``).
        bits: width of an activation.
        input_format: fixes the input's format (two-plane input, or given by hand).
        rules: what the recipe says; nothing is given by hand if absent.
        reads: what calibration has seen of what weights meet, by operation.

    Raises:
        RecipeError: formats by hand that contradict each other or the network.
        UnsupportedLayer: results that are rounded to different multiples lie in one tensor.
    """
    rules = rules or Rules()
    stored = [graph.input, *(op.out for op in graph.ops)]
    same, signs = Classes(len(graph.tensors)), Classes(len(graph.tensors))
    positive = {graph.input.index: statistics[graph.input.index].low >= 0}
    bounds = known_bounds(graph)
    gates = has_gates(graph)
    # 16 bits of data can spare a few, and so can't weights of fewer than 8 bits.
    apart = {n for n in _joining(graph) if bits == 8 and rules.weight_bits.get(n, 8) == 8}
    for op in graph.ops:
        positive[op.out.index] = never_negative(graph, op, positive, bounds)
        for view in op.views:
            # Weights make up for different formats where cells join states and inputs.
            if op.name not in apart:
                same.join(t.index for t in graph.owners(view))
        if (isinstance(op, MaxPool) and op.activation is None) or is_exact(op):
            same.join([op.out.index, *(t.index for v in op.views for t in graph.owners(v))])
        for together in _one_sign(op):
            signs.join(t.index for view in together for t in graph.owners(view))
    sees = Classes(len(graph.tensors))
    for ops in twins_of(graph, passed=False):
        same.join(op.out.index for op in ops)
        _join_factors(graph, same, [op for op in ops if isinstance(op, Product)])
    for ops in twins_of(graph):
        first: dict[tuple[Function, Clamp], int] = {}
        for op in ops:
            if op.activation is not None:
                key = op.activation.functions[0], op.clamp
                sees.join([first.setdefault(key, op.out.index), op.out.index])
    for tensor in stored:
        signs.join([tensor.index, same.find(tensor.index)])
    formats = Formats(bits, same, signs, sees=sees, rules=rules, reads=reads or {})
    if gates:
        formats.power = {t.index: statistics[t.index].power for t in stored}
    for tensor in stored:
        root = signs.find(tensor.index)
        formats.signed[root] = formats.signed.get(root, False) or not positive[tensor.index]
    if bits > 8:
        _sign_factors(graph, formats)
    _fix(graph, formats, input_format)
    rounded = _rounded(graph, formats)
    members: dict[int, list[Tensor]] = {}
    for tensor in stored:
        members.setdefault(same.find(tensor.index), []).append(tensor)
    for root, tensors in members.items():
        if root in formats.fixed:
            continue
        signed = formats.signed[signs.find(tensors[0].index)]
        seen = [statistics[t.index] for t in tensors]
        if root in rounded and _fits(seen, QFormat(bits, rounded[root], signed)):
            formats.frac[root] = rounded[root]
            formats.rounded.add(root)
        else:
            formats.frac[root] = _calibrated([s.values for s in seen], bits, signed, rules)
    _for_tables_alone(graph, formats, statistics)
    _choose_seen(graph, formats, statistics)
    return formats


def _for_tables_alone(graph: Graph, formats: Formats, statistics: Mapping[int, Statistics]) -> None:
    """A tensor that only tables of unnamed functions read (the sign of the input) has the format
    with the least error of their results: what saturates may be as good as what does not."""
    for tensor in [graph.input, *(op.out for op in graph.ops)]:
        tables, root = only_tables(graph, tensor), formats.same.find(tensor.index)
        if not tables or root in {*formats.fixed, *formats.rounded}:
            continue
        if sum(formats.same.find(t.index) == root for t in graph.tensors) > 1:
            continue
        values = statistics[tensor.index].values
        some = min(SEEN_SAMPLES, values.size)
        values = np.random.default_rng(0).choice(values, some, replace=False)
        first = formats.of(tensor)
        errors = [_error(tables, replace(first, frac=first.frac + i), values) for i in range(8)]
        formats.frac[root] += int(np.argmin(errors))


def only_tables(graph: Graph, tensor: Tensor) -> list[Activation]:
    """The unnamed functions of a tensor's elements if nothing else reads it, else none."""
    found = [_plain_table(op, tensor) for op in graph.consumers(tensor)]
    known = [activation for activation in found if activation is not None]
    return known if len(known) == len(found) else []


def _error(tables: list[Activation], fmt: QFormat, values: FloatArray) -> float:
    """Squared error of functions that see values in a format; results end where those of the real
    values do, as their own format does."""
    rounded, error = fmt.rounded(values), 0.0
    for table in tables:
        want = table.numbers(values)
        got = np.clip(table.numbers(rounded), want.min(), want.max())
        error += float(((got - want) ** 2).sum())
    return error


def _plain_table(op: Op, tensor: Tensor) -> Activation | None:
    """The unnamed function that an operation is of each element of a tensor, and nothing else."""
    plain = isinstance(op, Depthwise) and op.window == Window() and not op.bias.any()
    if not plain or op.activation is None or not op.activation.operators:
        return None
    one = bool((weights_of(op) == 1).all()) and op.clamp == NO_CLAMP and op.rounds is None
    return op.activation if one and bool(tensor.mine(op.view).all()) else None


def _join_factors(graph: Graph, same: Classes, products: list[Product]) -> None:
    """A state has one format in all time steps, also the one that a first step without a state
    makes in its own way: then the steps behind it are all alike."""
    factors: dict[tuple[int, int], list[int]] = {}
    for op in products:
        for place, view in enumerate(op.views):
            owners = graph.owners(view)
            if len(owners) == 1 and graph.producer(owners[0]) is not None:
                factors.setdefault((len(op.views), place), []).append(owners[0].index)
    for indices in factors.values():
        same.join(indices)


def _fix(graph: Graph, formats: Formats, input_format: QFormat | None) -> None:
    """Take over the formats that are given by hand."""
    outputs = formats.rules.outputs
    given = [(op.name, op.out, outputs[op.name]) for op in graph.ops if op.name in outputs]
    if input_format is not None:
        given.insert(0, (graph.input.name, graph.input, input_format))
    path = formats.rules.path
    signs: dict[int, tuple[str, QFormat]] = {}
    for name, tensor, fmt in given:
        root, sign = formats.same.find(tensor.index), formats.signs.find(tensor.index)
        if formats.frac.setdefault(root, fmt.frac) != fmt.frac:
            raise RecipeError(
                f"{path}: quantize: {fmt} for {name!r} and {formats.frac[root]} fraction bits for "
                f"{formats.fixed[root]!r}: their values lie in one tensor or pass through, so they "
                "have one format"
            )
        formats.fixed.setdefault(root, name)
        other, its = signs.setdefault(sign, (name, fmt))
        if its.signed != fmt.signed:
            raise RecipeError(
                f"{path}: quantize: {fmt} for {name!r} and {its} for {other!r}: one layer reads "
                "both, so both are signed (Q) or neither is (UQ)"
            )
        if not fmt.signed and formats.signed[sign]:
            raise RecipeError(
                f"{path}: quantize: {fmt} for {name!r}, but its values, or others that are read "
                f"with them, can be negative: write {QFormat(fmt.bits, fmt.frac)}"
            )
    for sign, (_, fmt) in signs.items():
        formats.signed[sign] = fmt.signed


def _rounded(graph: Graph, formats: Formats) -> dict[int, int]:
    """The fraction length of classes that forward() itself rounds."""
    first: dict[int, Op] = {}
    for op in graph.ops:
        if op.rounds is None or graph.is_wide(op) or op.activation is not None:
            continue
        root = formats.same.find(op.out.index)
        other = first.setdefault(root, op)
        if other.rounds != op.rounds:
            raise UnsupportedLayer(
                f"{op.source}: layer {op.name!r} rounds to {rounds_to(op)}, {other.name!r} to "
                f"{rounds_to(other)}, and their results lie in one tensor: round both alike"
            )
        if root in formats.fixed and formats.frac[root] != op.rounds:
            raise RecipeError(
                f"{formats.rules.path}: quantize: {formats.frac[root]} fraction bits for "
                f"{formats.fixed[root]!r}, whose format is also that of {op.name!r}: forward() "
                f"rounds that to {rounds_to(op)} ({op.rounds} fraction bits)"
            )
    return {root: op.rounds for root, op in first.items() if op.rounds is not None}


def _fits(seen: list[Statistics], fmt: QFormat) -> bool:
    """Whether no value saturates."""
    low, high = min(s.low for s in seen), max(s.high for s in seen)
    return low >= fmt.min * fmt.lsb and high <= fmt.max * fmt.lsb


def _calibrated(values: list[FloatArray], bits: int, signed: bool, rules: Rules) -> int:
    """The fraction length of a class by what the recipe's ``calibration`` says."""
    if rules.calibration == "error":
        return best_fraction(values, bits, signed)
    magnitudes = np.abs(np.concatenate([v[:-2] for v in values]))  # without the two extremes
    reach = float(np.percentile(magnitudes, rules.percentile))
    if rules.calibration == "max" or reach == 0:
        reach = max(float(np.abs(v).max()) for v in values)
    return bits - 1 if reach == 0 else finest_fraction(reach, QFormat(bits, 0, signed).max)


def _joining(graph: Graph) -> set[str]:
    """Dense operations in which a cell joins states and inputs: they read what an earlier time
    step of theirs has led to, or read a product, or make the factor of one."""
    number: dict[str, int] = {}
    for family, ops in enumerate(twins_of(graph)):
        for op in ops:
            number[op.name] = number.get(op.name, 0) | 1 << family
    products = [op for op in graph.ops if isinstance(op, Product)]
    factors = {t for op in products for t in graph.operands(op)}
    results = {op.out.index for op in products}
    found: set[str] = set()
    past: dict[int, int] = {}  # by tensor: the families of time steps that have led to it
    for op in graph.ops:
        before, mine = 0, number.get(op.name, 0)
        for index in graph.operands(op):
            before |= past.get(index, 0)
        past[op.out.index] = before | mine
        reads = graph.operands(op)
        if isinstance(op, Dense) and op.groups == 1 and not op.exact and len(reads) > 1:
            if before & mine or op.out.index in factors or results & reads:
                found.add(op.name)
    return found


def _one_sign(op: Op) -> list[tuple[IntArray, ...]]:
    """Operands that a nest reads with the same signedness: factors and others in a product."""
    return [op.views[::2], op.views[1::2]] if isinstance(op, Product) else [op.views]


def _sign_factors(graph: Graph, formats: Formats) -> None:
    """16-bit data: two unsigned factors, and sums of two products with one, need over 32 bits."""
    products = [op for op in graph.ops if isinstance(op, Product)]
    for op in sorted(products, key=lambda op: -len(op.views)):
        factor, other = (formats.signs.find(graph.owners(view)[0].index) for view in op.views[:2])
        if len(op.views) > 2:
            formats.signed[factor] = formats.signed[other] = True
        elif not formats.signed[factor]:
            formats.signed[other] = True


def _choose_seen(graph: Graph, formats: Formats, statistics: Mapping[int, Statistics]) -> None:
    """The fraction of what an activation sees: the one with the least error of its result."""
    members: dict[int, list[Op]] = {}
    for op in graph.ops:
        if op.activation is not None:
            members.setdefault(formats.sees.find(op.out.index), []).append(op)
    given = formats.rules.table_inputs
    for root, ops in members.items():
        by_hand = {given[op.name].frac: op.name for op in ops if op.name in given}
        if len(by_hand) > 1:
            names = " and ".join(map(repr, by_hand.values()))
            raise RecipeError(
                f"{formats.rules.path}: quantize: {names} share their table, so their table_input "
                "is the same"
            )
        if by_hand:
            (formats.sees_frac[root],) = by_hand
            formats.fixed_sees.add(root)
            continue
        rng = np.random.default_rng(0)
        each = max(64, SEEN_SAMPLES // len(ops))
        drawn: dict[tuple[Activation, QFormat], list[FloatArray]] = {}
        for op in ops:
            assert op.activation is not None
            values = statistics[op.before].values
            some = rng.choice(values, min(each, values.size), replace=False)
            drawn.setdefault((op.activation, formats.of(op.out)), []).extend([some, values[-2:]])
        tables = [(act, out, np.concatenate(values)) for (act, out), values in drawn.items()]
        signed = ops[0].clamp.lo < 0
        largest = max(float(np.abs(values).max()) for _, _, values in tables)
        start = finest_fraction(max(largest, 2.0**-16), QFormat(formats.bits, 0, signed).max)
        errors = [_seen_error(tables, QFormat(formats.bits, start + i, signed)) for i in range(8)]
        formats.sees_frac[root] = start + int(np.argmin(errors))


def _seen_error(tables: list[tuple[Activation, QFormat, FloatArray]], fmt: QFormat) -> float:
    """Squared error of activations' results, each with their format, that see values in ``fmt``."""
    total = 0.0
    for activation, out, values in tables:
        got = look_up(activation_table(activation, fmt, out), fmt.quantize(values))
        want = np.asarray(activation.apply(values))
        if not np.isfinite(want).all():
            want = np.clip(activation.numbers(values), out.min * out.lsb, out.max * out.lsb)
        total += float(((out.real(got) - want) ** 2).sum())
    return total


def activation_table(activation: Activation, seen: QFormat, out: QFormat) -> IntArray:
    """The activation's result for each of the 256 values that it can see, int64 [256].

    Entry i is that of the value whose low 8 bits are i. For 16 bits: lines, int64 [256, 2].

    >>> from bramcast.pack.graph.activations import Function
    >>> relu = Activation((Function("leaky_relu", (0.5,)),))
    >>> activation_table(relu, QFormat(8, 4), QFormat(8, 4))[[1, 127, 128, 254]]
    array([  1, 127, -64,  -1])
    """
    if seen.bits > 8:
        return line_table(activation, seen, out)
    index = np.arange(256, dtype=np.int64)
    values = index - ((index >> 7) << 8) if seen.signed else index
    return out.quantize(activation.numbers(seen.real(values)))


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
