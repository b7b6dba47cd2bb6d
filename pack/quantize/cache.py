# SPDX-License-Identifier: Apache-2.0
"""Remembers the integers of operations for callers that quantize one network many times."""

from weakref import WeakKeyDictionary

from bramcast.pack.graph.graph import Graph
from bramcast.pack.graph.ops import Dense, Op, Weighted, biases_of, is_exact, weights_of, window_of
from bramcast.pack.graph.tensor import Tensor
from bramcast.pack.quantize.formats import Formats
from bramcast.pack.quantize.op import QuantizedOp

Key = tuple[object, ...]


class IntegerCache:
    """Integers by all that they depend on; time steps with the same weights share them."""

    def __init__(self) -> None:
        self._made: dict[Key, QuantizedOp] = {}
        self._numbers: dict[Key, int] = {}  # of operations with the same content
        self._of_op: WeakKeyDictionary[Op, tuple[int, list[Tensor]]] = WeakKeyDictionary()

    def fork(self) -> "IntegerCache":
        """Knows the same; what it learns of integers stays its own."""
        other = IntegerCache()
        other._made = dict(self._made)
        other._numbers, other._of_op = self._numbers, self._of_op
        return other

    def key(
        self,
        graph: Graph,
        formats: Formats,
        op: Op,
        bits: int,
        full: bool,
        gains: dict[int, float],
    ) -> Key:
        """All that the integers of an operation depend on."""
        found = self._of_op.get(op)
        if found is None:
            owners = [t for view in op.views for t in graph.owners(view)]
            number = self._numbers.setdefault(_content(op, owners), len(self._numbers))
            found = self._of_op[op] = number, owners
        number, owners = found
        reads = tuple((formats.of(t), gains.get(t.index)) for t in owners)
        results = () if full else (formats.of(op.out), formats.clamped(op))
        by_hand = formats.rules.weight_fractions.get(op.name)
        seen = formats.reads.get(op.name)
        return number, bits, full, reads, results, by_hand, -1 if seen is None else seen.number

    def get(self, key: Key) -> QuantizedOp | None:
        return self._made.get(key)

    def add(self, key: Key, made: QuantizedOp) -> None:
        self._made[key] = made


def _content(op: Op, owners: list[Tensor]) -> Key:
    """What an operation computes, apart from formats and from where its operands lie."""
    channels = tuple(t.mine(view).any(axis=(1, 2)).tobytes() for t in owners for view in op.views)
    weight = weights_of(op)
    own: Key = ()
    if isinstance(op, Dense):
        own = (op.groups, op.copies)
    if isinstance(op, Weighted) and op.tap_bias.size:
        own += (op.tap_bias.tobytes(), op.view.shape[1:])
    return (
        type(op), weight.shape, weight.tobytes(), biases_of(op).tobytes(), own, op.clamp,
        op.activation, op.rounds, is_exact(op), op.out.channels, window_of(op), channels,
    )  # fmt: skip
